"""The rows of a corpus whose text is an exemplar of the card that is measured on them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from pipelines.card_versions import load_named
from pipelines.evaluation import Population, read_texts
from pipelines.labelled_costs import read_trait

LEAST_CHARACTERS = 40
"""A shorter exemplar may be part of a row by chance, so it must be the row's whole text."""


def mark_taught(population: Population, labelled: Container[int], name: str) -> Population:
    """Return a population that knows which labelled rows have an exemplar of the trait, verbatim.

    The exemplars are those of the run's bank, and those of the card in the folder `name`, because a
    bank keeps them only for the signal `exemplars`. Rows that left the run's folders can't be told.

    Raises: RunError: a file of the run is missing or damaged. Raises: CardError: the card has a
    mistake.
    """
    sources = (read_trait(population), load_named(name))
    exemplars = {
        _flatten(text) for item in sources if item for text in (*item.positives, *item.negatives)
    }
    long = [text for text in exemplars if len(text) >= LEAST_CHARACTERS]
    kept = (row for item in population.ranges for row in item.rows.tolist())
    rows = sorted(row for row in kept if row in labelled)
    texts = [_flatten(item.text) for item in read_texts(population, rows)]
    taught = frozenset(
        row
        for row, text in zip(rows, texts, strict=True)
        if text in exemplars or any(part in text for part in long)
    )
    return replace(population, taught=taught)


def _flatten(text: str) -> str:
    return " ".join(text.split())
