"""Which words made a wording score, computed from the run's own bank when a row is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from classifiers.banks import INDEX_FILE, read_bank
from classifiers.phrase_weights import weigh_phrases
from classifiers.signals.wording import Wording
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow
from schemas.digests import digest_bytes
from schemas.errors import ModelError
from schemas.runs import BANK
from schemas.scores import split_side
from transforms.files import storage


def add_words(run: str, rows: Sequence[ShownRow]) -> list[ShownRow]:
    """Return rows whose findings by wording have the phrases that made the score.

    A finding whose strongest signal is another one has none, and neither has any if the run has no
    bank that this version reads: `verify` says what is wrong with a bank.
    """
    if not any(map(_is_by_wording, (item for row in rows for item in (*row.reasons, *row.near)))):
        return list(rows)
    models = _read_models(run)
    return [
        row._replace(
            reasons=tuple(_add(item, models) for item in row.reasons),
            near=tuple(_add(item, models) for item in row.near),
        )
        for row in rows
    ]


def _is_by_wording(finding: TraitFinding) -> bool:
    scores = {split_side(name)[0]: score or 0 for name, score in finding.signals.items()}
    return 0 < scores.get("wording", 0) >= max(scores.values())


@dataclass(frozen=True)
class _StoredBank:
    """A run's bank. Banks with the same index are the same, whichever run they are read from."""

    index: str
    folder: str = field(compare=False)


def _read_models(run: str) -> dict[str, Wording]:
    """Return a run's wording classifiers, or none if it has no bank that can be read."""
    folder = storage.join(run, BANK)
    index = storage.join(folder, INDEX_FILE)
    if not storage.exists(index):
        return {}
    try:
        return _load_models(_StoredBank(digest_bytes(storage.read_bytes(index)), folder))
    except ModelError:
        return {}


@lru_cache(2)
def _load_models(stored: _StoredBank) -> dict[str, Wording]:
    """Read the wording classifiers of a bank, whose index has the digests of all its files.

    Raises: ModelError: the bank is damaged, or another version wrote it.
    """
    bank = read_bank(
        lambda name: storage.read_bytes(storage.join(stored.folder, name)),
        stored.folder,
        indexes=False,
    )
    return {name: trait.wording for name, trait in bank.traits.items() if trait.wording}


def _add(finding: TraitFinding, models: dict[str, Wording]) -> TraitFinding:
    model = models.get(finding.trait)
    if model is None or finding.text is None or not _is_by_wording(finding):
        return finding
    found = weigh_phrases(model, finding.text[finding.start : finding.end])
    return finding if found is None else finding._replace(words=found.phrases)
