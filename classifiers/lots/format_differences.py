"""Which measures of length, format and difficulty differ between two sets of texts."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from classifiers.lots.formats import COUNTED, MEASURES

MOST = 10
"""How many differences are listed, the largest first."""

FEWEST = 20
"""With fewer texts of a set, nothing is listed."""

NOISE = 4.0
"""How many standard errors an AUROC must be from 0.5. With 47 measures, chance reaches 3 often."""

SMALLEST = 0.03
"""How far an AUROC must be from 0.5, however many texts there are."""

Unit = Literal["number", "share"]
"""How values are written: as numbers, or in percent."""

LENGTHS = {
    "log words": "words",
    "word length": "characters a word",
    "words a sentence": "words a sentence",
}
"""Measures of length and difficulty, by the names that people read. Medians are stated."""

IN_LOGARITHMS = ("log words", "words a sentence")

SHARES = {"share of long words": "words of 8 letters or more"}


class FormatDifference(NamedTuple):
    """A measure that differs: the value in the first set and in the second.

    `auroc` is the chance that a text of the first set has more of it than one of the second.
    """

    name: str
    unit: Unit
    own: float
    other: float
    auroc: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with the sets named as an audit names them."""
        return {
            "name": self.name,
            "unit": self.unit,
            "corpus": self.own,
            "reference": self.other,
            "auroc": self.auroc,
        }


def compare_formats(measures: np.ndarray, own: np.ndarray) -> list[FormatDifference]:
    """Return the measures that differ, the most different first.

    `measures` are those of `measure_formats`, and `own` says which texts are of the first set. Of
    two measures of one mark, such as its rate and whether a text has it, the more different one is
    listed. Values are medians of lengths, and means of everything else.
    """
    sizes = int(own.sum()), int((~own).sum())
    if min(sizes) < FEWEST:
        return []
    error = np.sqrt((sum(sizes) + 1) / (12 * sizes[0] * sizes[1]))
    limit = max(SMALLEST, NOISE * error)
    found: dict[str, FormatDifference] = {}
    for column, measure in enumerate(MEASURES):
        subject = _find_subject(measure)
        if subject is None:
            continue
        values = measures[:, column]
        auroc = compute_auroc(values, own)
        known = found.get(subject)
        if abs(auroc - 0.5) >= max(limit, abs(known.auroc - 0.5) if known else 0.0):
            found[subject] = _describe(measure, values, own, auroc)
    return sorted(found.values(), key=lambda item: (-abs(item.auroc - 0.5), item.name))[:MOST]


def _find_subject(measure: str) -> str | None:
    """Return what a measure is about, or None if another measure says the same."""
    if measure in LENGTHS or measure in SHARES:
        return measure
    subject = measure.removeprefix("any ").removesuffix(" a word")
    return subject if subject in COUNTED and subject != "long words" else None


def compute_auroc(values: np.ndarray, own: np.ndarray) -> float:
    """Return the chance that a value of the first set is larger than one of the second."""
    from scipy.stats import rankdata  # noqa: PLC0415 - it takes a tenth of a second to load

    owns, others = int(own.sum()), int((~own).sum())
    ranks = rankdata(values)
    return float((ranks[own].sum() - owns * (owns + 1) / 2) / (owns * others))


def _describe(measure: str, values: np.ndarray, own: np.ndarray, auroc: float) -> FormatDifference:
    sets = values[own], values[~own]
    if measure in LENGTHS:
        medians = [float(np.median(part)) for part in sets]
        if measure in IN_LOGARITHMS:
            medians = [float(np.exp(value)) for value in medians]
        return FormatDifference(LENGTHS[measure], "number", medians[0], medians[1], auroc)
    one, other = (float(part.mean()) for part in sets)
    if measure in SHARES:
        return FormatDifference(SHARES[measure], "share", one, other, auroc)
    if measure.startswith("any "):
        name = f"texts with {measure.removeprefix('any ')}"
        return FormatDifference(name, "share", one, other, auroc)
    name = f"{measure.removesuffix(' a word')} in 100 words"
    return FormatDifference(name, "number", 100 * one, 100 * other, auroc)
