"""What changed in a generation: in all rows, or within the teachers of several generations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from classifiers.lots.drift import Drift, Drifts, find_drifts
from classifiers.lots.plain_words import is_plain
from classifiers.lots.trends import WINDOW
from pipelines.monitoring.history import Generation
from pipelines.monitoring.teacher_counts import FEWEST_TEXTS, MOST_TEACHERS
from pipelines.teacher_shares import describe_shares, list_incomparable, name_teacher
from schemas.notices import format_count, list_names

NAMED = 4
"""How many compared teachers a sentence names."""


class Changed(NamedTuple):
    """A change, the teacher within which it was found, and the generations that were compared.

    `teacher` is None if all rows were compared. The counts of `drift` are those of `generations`,
    whose inventories are the teacher's.
    """

    drift: Drift
    teacher: str | None
    generations: tuple[Generation, ...]

    @property
    def is_plain(self) -> bool:
        """Return whether it is of small words, marks or numbers alone, which say little.

        One that appeared isn't plain: it is as rare before as a phrase.
        """
        return self.drift.change != "appeared" and is_plain(self.drift.kind, self.drift.text)


class Reach(NamedTuple):
    """How small a rise the tests of all rows, or of a teacher's, would have found.

    `texts` and `earlier` are the tested texts of the newest generation, and of all earlier ones.
    `rate` is that of a phrase that no earlier text has, None if no rate suffices.
    """

    teacher: str | None
    texts: int
    earlier: int
    rate: float | None


class GenerationComparison(NamedTuple):
    """All changes, the most telling ones first, and how many candidates were tested.

    Changes of small words, marks and numbers come last. `teachers` are those within which was
    compared, or None if all rows were compared; `reach` has an item for each of them, or one.
    """

    changes: list[Changed]
    candidates: int
    teachers: tuple[str, ...] | None
    reach: tuple[Reach, ...]


def sum_teachers(generations: Sequence[Generation]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the texts of each teacher in the earlier generations, and in the newest.

    The earlier ones are those that are compared. Both are empty where the history doesn't know.
    """
    *earlier, newest = generations[-WINDOW:]
    before: Counter[str] = Counter()
    for item in earlier:
        before.update(item.teachers or {})
    return dict(before), newest.teachers or {}


def compare_generations(generations: Sequence[Generation], level: float) -> GenerationComparison:
    """Return what changed in the newest of at least two generations.

    If the teachers' shares of the texts differ from those of the earlier ones, each teacher's texts
    are compared with its earlier ones, and the teachers share the level (Bonferroni). A history
    that doesn't have the counts of each teacher is compared as a whole.
    """
    recent = tuple(generations[-WINDOW:])
    if describe_shares(*sum_teachers(recent)) is None or not _has_counts(recent):
        found = find_drifts([item.inventory for item in recent], level)
        changes = [Changed(item, None, recent) for item in found.changes]
        reach = (_measure_reach(None, found),)
        return GenerationComparison(_order(changes), found.candidates, None, reach)
    series = {name: take_teacher(recent, name) for name in recent[-1].by_teacher or {}}
    shared = {name: own for name, own in series.items() if len(own) > 1}
    changes, candidates, reached = [], 0, []
    for name, own in shared.items():
        drifts = find_drifts([item.inventory for item in own], level / len(shared))
        changes += [Changed(item, name, own) for item in drifts.changes]
        candidates += drifts.candidates
        reached.append(_measure_reach(name, drifts))
    return GenerationComparison(_order(changes), candidates, tuple(shared), tuple(reached))


def _order(changes: Sequence[Changed]) -> list[Changed]:
    """Return the most telling changes first, and those that say little last."""
    return sorted(
        changes,
        key=lambda item: (item.is_plain, -item.drift.rank, item.drift.kind, item.drift.text),
    )


def _measure_reach(teacher: str | None, found: Drifts) -> Reach:
    *earlier, newest = found.totals
    return Reach(teacher, newest, sum(earlier), found.detectable)


def take_teacher(generations: Sequence[Generation], teacher: str) -> tuple[Generation, ...]:
    """Return the generations that have a teacher's counts, with these as their inventories."""
    return tuple(
        item._replace(inventory=item.by_teacher[teacher])
        for item in generations
        if item.by_teacher and teacher in item.by_teacher
    )


def _has_counts(recent: Sequence[Generation]) -> bool:
    """Return whether the newest generation and an earlier one have counts by teacher."""
    *earlier, newest = (item.by_teacher is not None for item in recent)
    return newest and any(earlier)


def describe_teachers(generations: Sequence[Generation], chosen: Sequence[str] = ()) -> list[str]:
    """Say if the newest generation has other shares of teachers, which are new, and what follows.

    `chosen` are the only teachers whose rows were read, if not all were. Return nothing if the
    shares are alike, or if the history doesn't say who wrote any earlier one.
    """
    recent = generations[-WINDOW:]
    before, now = sum_teachers(recent)
    compared = _describe_compared(recent, before, now)
    shares = describe_shares(before, now, result=compared)
    if shares is None:
        return []
    if chosen:
        names = list_names([name_teacher(name) for name in chosen], NAMED)
        return [f"only rows of {names} were read", compared]
    return [shares, *list_incomparable(before, now)]


def _describe_compared(
    recent: Sequence[Generation], before: Mapping[str, int], now: Mapping[str, int]
) -> str:
    """Say which teachers' texts were compared."""
    if not _has_counts(recent):
        return (
            "a change may be one of teachers: all rows were compared together, because no earlier "
            "generation was recorded with counts of each teacher"
        )
    own = recent[-1].by_teacher or {}
    unknown = sum(item.by_teacher is None for item in recent)
    compared = [name for name in own if len(take_teacher(recent, name)) > 1]
    left = len([name for name in now if name in before and name not in compared])
    few = (
        f"; {format_count(left, 'teacher')} with fewer than {FEWEST_TEXTS} texts, or beyond the "
        f"{MOST_TEACHERS} largest, weren't compared"
        if left
        else ""
    )
    if unknown:
        few += f"; {format_count(unknown, 'generation')} without counts of each teacher left out"
    if not compared:
        return f"nothing was tested: no teacher's texts are in both{few}"
    names = list_names([name_teacher(name) for name in compared], NAMED)
    return f"each teacher was compared with its own earlier texts: {names}{few}"
