"""Rows that a reader labelled for a trait: one half for fitting, and one half for measuring."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from schemas.digests import digest_bytes, digest_config

Texts: TypeAlias = tuple[str, ...]
"""A row's texts in the scope of a trait."""


class JudgedRow(NamedTuple):
    """A row that a reader judged for a trait.

    `prompt` is the user's first turn, or empty if it isn't known. `shows` is None if the reader was
    unsure.
    """

    texts: Texts
    prompt: str
    shows: bool | None


class Half(NamedTuple):
    """The rows of one half that show the trait, and those that don't."""

    positives: tuple[Texts, ...] = ()
    negatives: tuple[Texts, ...] = ()

    def describe(self) -> dict[str, int]:
        """Return the number of rows with each label."""
        return {"yes": len(self.positives), "no": len(self.negatives)}


NO_ROWS = Half()


@dataclass(frozen=True)
class CardLabels:
    """A trait's labels.

    The fitting half has more exemplars for the fit. The calibration half takes no part in it, and
    measures the fitted trait. `unsure` counts the rows that are in neither.
    """

    fitting: Half = NO_ROWS
    calibration: Half = NO_ROWS
    unsure: int = 0

    @cached_property
    def digest(self) -> str:
        """Return the digest of all labels and their texts."""
        return digest_config([self.fitting, self.calibration, self.unsure])

    def describe(self) -> dict[str, Any]:
        """Return the digest and the counts, without any text."""
        return {
            "digest": self.digest,
            "fitting": self.fitting.describe(),
            "calibration": self.calibration.describe(),
            "unsure": self.unsure,
        }

    def list_texts(self) -> set[str]:
        """Return the texts of all rows with a yes or a no."""
        return set(chain.from_iterable(chain(*self.fitting, *self.calibration)))

    @cached_property
    def _shown(self) -> frozenset[Texts]:
        return frozenset((*self.fitting.positives, *self.calibration.positives))

    def is_shown_by(self, texts: Texts) -> bool:
        """Return whether a labelled row with just these texts shows the trait."""
        return texts in self._shown


def split_labels(rows: Iterable[JudgedRow], measured: Collection[str] = ()) -> CardLabels:
    """Split a trait's rows into halves by the digest of their prompts.

    A row without a prompt is split by its texts. A prompt's rows are all in the same half, and stay
    there when more labels are added. Prompts of
    rows with one of the `measured` texts are in the calibration half, because thresholds are
    calibrated on these texts. Of several rows with the same texts, the first counts. The order of
    the rows makes no difference otherwise.
    """
    distinct: dict[Texts, JudgedRow] = {}
    for row in rows:
        distinct.setdefault(row.texts, row)
    known = set(measured)
    groups = {row.texts: _name_group(row) for row in distinct.values()}
    kept_out = {groups[texts] for texts in distinct if known.intersection(texts)}
    halves: tuple[list[JudgedRow], list[JudgedRow]] = ([], [])
    for texts in sorted(distinct, key=digest_config):
        group = groups[texts]
        halves[group in kept_out or _is_measured(group)].append(distinct[texts])
    unsure = sum(row.shows is None for row in distinct.values())
    return CardLabels(_build_half(halves[0]), _build_half(halves[1]), unsure)


def is_kept_out(row: JudgedRow) -> bool:
    """Return whether a row's prompt is in the half that no fit with labels learns from.

    `split_labels` may put further prompts into that half, but never takes one out of it.
    """
    return _is_measured(_name_group(row))


def _is_measured(group: str) -> bool:
    return bool(int(group[:8], 16) % 2)


def _name_group(row: JudgedRow) -> str:
    """Return the digest of a row's prompt, however it is spaced, or else of its texts."""
    text = " ".join(row.prompt.split()) or "\n".join(row.texts)
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def _build_half(rows: Sequence[JudgedRow]) -> Half:
    return Half(
        tuple(row.texts for row in rows if row.shows),
        tuple(row.texts for row in rows if row.shows is False),
    )
