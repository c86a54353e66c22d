"""The page of `congener diff`: two runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Template

from pipelines.diff import RunComparison, ShownChange
from pipelines.display.page_templates import build_environment
from pipelines.rate_shifts import RateShifts, describe_tests
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.shard_checks import is_by_person
from pipelines.teacher_shares import name_teacher
from pipelines.version import name_code
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count
from schemas.policies import DECISIONS
from schemas.shares import format_percent
from transforms.files import storage

LOTS_SHOWN = 30
TEACHERS_SHOWN = 6
"""How many lots, and how many teachers of each rate, the page has."""


class RowShare(NamedTuple):
    """Rows of one run: their number, their share of the run, and the width of their bar."""

    rows: int
    share: float
    width: float


class Pair(NamedTuple):
    """A decision or a trait in both runs; `lost` and `found` are those of a trait."""

    name: str
    before: RowShare
    after: RowShare
    lost: int = 0
    found: int = 0

    @property
    def change(self) -> str:
        """Return the difference of the rows, with its sign."""
        difference = self.after.rows - self.before.rows
        return f"{difference:+,}" if difference else "-"


def write_page(runs: tuple[str, str], found: RunComparison, path: str) -> None:
    """Write the page of a comparison. It quotes no text of rows.

    Raises: RunError: a run isn't finished. Raises: StorageError: the file can't be written.
    """
    manifests = load_manifest(runs[0]), load_manifest(runs[1])
    storage.write_bytes(path, render_page(runs, manifests, found).encode())


def render_page(
    runs: tuple[str, str], manifests: tuple[Manifest, Manifest], found: RunComparison
) -> str:
    """Return the page of a comparison."""
    return _load_template().render(
        version=name_code(),
        title=_describe(found),
        runs=list(zip(("first run", "second run"), runs, manifests, strict=True)),
        settings=found.settings,
        by_content=found.by_content,
        decisions=list(pair_decisions(manifests)),
        traits=list(pair_traits(found, manifests)),
        rates=None if found.shifts is None else list_rates(found.shifts),
        moves=found.moves,
        most=max((move.rows for move in found.moves), default=1),
        lots=found.lots[:LOTS_SHOWN],
        unlisted=max(0, len(found.lots) - LOTS_SHOWN),
        examples=[_show(item) for item in found.examples],
    )


@cache
def _load_template() -> Template:
    environment = build_environment()
    environment.filters["percent"] = format_percent
    return environment.get_template("diff.html.j2")


def _describe(found: RunComparison) -> str:
    rows = format_count(found.rows, "row")
    if not found.changed:
        return f"No difference in {rows}"
    verb = choose_form(found.changed, "differs", "differ")
    return f"{found.changed:,} of {rows} {verb} ({format_percent(found.changed / found.rows)})"


def pair_decisions(manifests: tuple[Manifest, Manifest]) -> Iterator[Pair]:
    """Yield the decisions that either run has, in the usual order."""
    counts = [manifest.conservation.by_decision for manifest in manifests]
    names = [name for name in DECISIONS if any(name in part for part in counts)]
    given = [(name, counts[0].get(name, 0), counts[1].get(name, 0)) for name in names]
    yield from _pair(given, manifests)


def pair_traits(found: RunComparison, manifests: tuple[Manifest, Manifest]) -> Iterator[Pair]:
    """Yield the traits that fire in either run, those with most changed rows first."""
    given = [(item.trait, item.before, item.after) for item in found.traits]
    for item, pair in zip(found.traits, _pair(given, manifests), strict=True):
        yield pair._replace(lost=item.lost, found=item.found)


WITHIN = (
    "q of all rows: Cochran-Mantel-Haenszel test within the teachers in both runs, adjusted for "
    "all traits; q of a teacher: Fisher's exact test, adjusted for all traits and teachers"
)
"""What is said of the tests if rates were compared within teachers."""


class RateLine(NamedTuple):
    """A rate in both runs: its name, the hits and the rows of each run, and q or None."""

    name: str
    sides: tuple[tuple[int, int], tuple[int, int]]
    q: float | None


class RateSection(NamedTuple):
    """How often traits fire on two corpora, in lines, and what is said of it."""

    sentences: list[str]
    lines: list[RateLine]


def list_rates(shifts: RateShifts) -> RateSection:
    """Return the removed rows and the rate of each trait that fires, with those of each teacher.

    Where rates were compared within teachers, the q of all rows is that of this test.
    """
    lines = []
    for item in (shifts.removed, *shifts.traits):
        if not item.before and not item.after:
            continue
        sides = (item.before, item.rows_before), (item.after, item.rows_after)
        lines.append(RateLine(item.trait or "removed rows", sides, item.q))
        lines += [
            RateLine(
                f"– {name_teacher(own.teacher)}",
                ((own.before, own.rows_before), (own.after, own.rows_after)),
                own.q,
            )
            for own in item.teachers[:TEACHERS_SHOWN]
        ]
    test = (
        describe_tests(shifts)
        if shifts.removed.within is None or shifts.removed.p is None
        else WITHIN
    )
    return RateSection([*shifts.notes, test], lines)


def _pair(
    given: Sequence[tuple[str, int, int]], manifests: tuple[Manifest, Manifest]
) -> Iterator[Pair]:
    """Yield pairs whose longest bar fills the width."""
    totals = [max(1, manifest.conservation.rows_in) for manifest in manifests]
    shares = [(one / totals[0], two / totals[1]) for _, one, two in given]
    longest = max((max(pair) for pair in shares), default=0) or 1
    for (name, one, two), (before, after) in zip(given, shares, strict=True):
        parts = (
            RowShare(one, before, 100 * before / longest),
            RowShare(two, after, 100 * after / longest),
        )
        yield Pair(name, *parts)


def _show(item: ShownChange) -> dict[str, Any]:
    sides = ((item.before, item.reasons_before), (item.after, item.reasons_after))
    return {
        "place": f"{item.source}:{item.row}",
        "kind": item.kind,
        "sides": [
            (decision or "not there", [describe_reason(reason) for reason in reasons])
            for decision, reasons in sides
        ],
    }


def describe_reason(reason: Mapping[str, Any]) -> str:
    """Return a finding with score and threshold; no score led to that of a named row."""
    if is_by_person(reason):
        return f"{reason['trait']}, by a person"
    return f"{reason['trait']} {reason['score']:.4f} ≥ {reason['threshold']:.4f}"
