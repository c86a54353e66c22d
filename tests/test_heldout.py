"""The held-out texts that the quirk library is measured on."""

import json
from pathlib import Path

from classifiers.library import background_conversations, find_cards

HELD_OUT = Path(__file__).resolve().parents[1] / "benchmarks" / "heldout"


def texts(path: Path) -> dict[str, int]:
    """Return a trait's held-out texts and labels."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["text"]: row["label"] for row in rows}


def test_every_library_trait_is_measured():
    """Each trait of the library has held-out texts of both labels, at least twenty of each."""
    for card in find_cards():
        labels = list(texts(HELD_OUT / f"{card.id}.jsonl").values())
        assert labels.count(1) >= 20
        assert labels.count(0) >= 20


def test_nothing_held_out_was_trained_or_calibrated_on():
    """No held-out text stands in a card or in the background."""
    library = {text for card in find_cards() for text in (*card.positives, *card.negatives)}
    library |= {text for conversation in background_conversations() for text in conversation}
    for path in HELD_OUT.glob("*.jsonl"):
        assert not library & set(texts(path)), path.name
