"""Which labels may calibrate a run: those of rows that were drawn, and that no fit has learnt from.

A label that taught a trait says nothing about how the trait does on new rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from classifiers.labelled_rows import JudgedRow, is_kept_out
from pipelines.banks import load_bank
from pipelines.config import FilterConfig
from pipelines.labelled_rows import find_in_run
from pipelines.labels import Label, RowKey
from schemas.cards import TraitCard
from schemas.notices import format_count
from schemas.runs import BANK
from transforms.files import storage


class LabelSplit(NamedTuple):
    """The labels that may calibrate a trait, and how many may not.

    `picked` are on rows that a reader chose. `fitted` are on rows whose prompts are in the half
    from which a fit with labels learns, or whose text the run doesn't hold, so that nobody can say.
    """

    labels: list[Label]
    picked: int = 0
    fitted: int = 0

    def describe_unused(self) -> Iterator[str]:
        """Yield each reason why labels aren't used, with their number."""
        if self.picked:
            yield f"{format_count(self.picked, 'label')} of rows that a reader chose"
        if self.fitted:
            yield (
                f"{format_count(self.fitted, 'label')} of rows in the half from which the run's "
                "traits were fitted with labels"
            )


def split_for_calibration(
    run: str, trait: str, card: TraitCard, labels: Sequence[Label]
) -> LabelSplit:
    """Choose the labels of a trait that may calibrate a run.

    If the run's trait was fitted with labels, rows are divided by their prompts as in a fit, and
    only the half that no fit learns from is used, whichever labels the fit had.

    Raises: RunError: the run's bank or a file of rows is damaged.
    """
    drawn = [label for label in labels if not label.is_picked]
    picked = len(labels) - len(drawn)
    if not has_learnt_from_labels(run, trait):
        return LabelSplit(drawn, picked)
    keys = {label.key for label in drawn if label.key is not None}
    kept_out = set(_find_kept_out(run, card, keys))
    free = [label for label in drawn if label.key in kept_out]
    return LabelSplit(free, picked, len(drawn) - len(free))


def has_learnt_from_labels(run: str, trait: str) -> bool:
    """Return whether labels were in the fit of a run's trait.

    Raises: ModelError: the run's bank is damaged.
    """
    found = load_bank(storage.join(run, BANK)).traits[trait]
    learns = found.card.learns_from_exemplars
    return learns and found.labels is not None and any(found.labels["fitting"].values())


def _find_kept_out(run: str, card: TraitCard, keys: Collection[RowKey]) -> Iterator[RowKey]:
    """Yield the rows that are in the half that no fit learns from."""
    for key, rows in find_in_run(run, FilterConfig(), keys).items():
        judged = (JudgedRow(row.select_texts(card.scope), row.prompt, None) for row in rows)
        if all(map(is_kept_out, judged)):
            yield key
