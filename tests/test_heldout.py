"""The held-out texts for measuring the quirk library."""

import json
from collections import defaultdict
from pathlib import Path

from classifiers.library import (
    HELD_OUT,
    LIBRARY,
    find_cards,
    find_optional_cards,
    read_background,
)

MORE = Path(__file__).resolve().parents[1] / "benchmarks" / "heldout"
"""Held-out texts in other languages and more varied wordings."""


def read_labels(path: Path) -> dict[str, int]:
    """Return the labels of a trait's held-out texts."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["text"]: row["label"] for row in rows}


def test_every_library_trait_is_measured():
    """Each library trait has at least twenty held-out texts of each label."""
    cards = [*find_cards(), *find_optional_cards()]
    assert len(cards) > 10
    for card in cards:
        labels = list(read_labels(card.folder / HELD_OUT).values())
        assert labels.count(1) >= 20
        assert labels.count(0) >= 20


def test_nothing_held_out_was_trained_or_calibrated_on():
    """No held-out text is in a card or the background."""
    cards = [*find_cards(), *find_optional_cards()]
    library = {text for card in cards for text in (*card.positives, *card.negatives)}
    library |= {text for conversation in read_background() for text in conversation}
    paths = [*LIBRARY.rglob(HELD_OUT), *MORE.rglob("*.jsonl")]
    held_out = {text for path in paths for text in read_labels(path)}
    assert len(library) > len(held_out) > 400
    assert library & held_out == set()


def test_other_languages_are_measured_with_both_labels():
    """Each language of a trait has texts that show it and texts that don't."""
    for path in sorted((MORE / "languages").glob("*.jsonl")):
        labels = defaultdict(set)
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            labels[row["language"]].add(row["label"])
        assert len(labels) >= 10
        assert all(found == {0, 1} for found in labels.values())
