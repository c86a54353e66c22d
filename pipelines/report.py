"""`congener report`: write a self-contained page about a run; equal runs give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from pipelines.display.charts import (
    PLOT,
    Histogram,
    lay_out_histogram,
    lay_out_waterfall,
)
from pipelines.display.excerpts import Piece, build_excerpt, escape_name
from pipelines.display.terminal import escape_controls
from pipelines.runs.finished import list_outputs, report_damage
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.report_examples import Example, TraitExamples, find_examples
from pipelines.runs.summaries import (
    CONFIDENCE,
    GroupShare,
    ScoreCounts,
    count_scores,
    share_by_group,
)
from schemas.coverage import UnreadText
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.manifests import Manifest, SettledThreshold
from schemas.policies import DECISIONS, PUBLISHED
from schemas.runs import REPORT_PAGE
from schemas.scores import SCORE_DECIMALS, TEXTS_OF_SIDES, Side
from schemas.shares import (
    format_bound,
    format_exact,
    format_interval,
    format_limit,
    format_percent,
)
from transforms.files import storage

EXAMPLES = 5
"""The maximum number of examples of each kind shown per trait."""

GROUPS_SHOWN = 50
"""The maximum number of teachers, and of lots, listed on the page."""

GROUPINGS = {"teacher": ("teacher",), "lot": LOT_FIELDS}
"""Each grouping on the page, with the ledger columns that rows are grouped by."""

FATES = {
    "quarantine": ("is in quarantine", "are in quarantine"),
    "drop": ("was dropped", "were dropped"),
    "duplicate": ("repeats an earlier row", "repeat an earlier row"),
    "reject": ("couldn't be read", "couldn't be read"),
}
"""For each decision that removes rows, how one row and how several rows are described."""


class Quotation(NamedTuple):
    """An example, and the pieces of its text around the span."""

    example: Example
    pieces: list[Piece]


class TraitSection(NamedTuple):
    """The contents of a trait's section of the page.

    `fired` is the number of rows on which the trait fired, for each side of the texts.
    """

    rule: SettledThreshold
    fired: dict[Side, int]
    counts: ScoreCounts
    histogram: Histogram
    nearest: list[Quotation]
    highest: list[Quotation]
    unshown: int

    @property
    def has_fired(self) -> bool:
        """Return whether the trait fired on any side."""
        return any(self.fired.values())


class GroupRow(NamedTuple):
    """A line in a table of groups: a group's labelled names, and its share of removed rows."""

    names: list[tuple[str, str]]
    share: GroupShare


class GroupTable(NamedTuple):
    """A table of groups; `scale` is the highest upper bound of the intervals in it."""

    kind: str
    rows: list[GroupRow]
    omitted: int
    scale: float


def write_report(run: str) -> str:
    """Write a finished run's page, and return the page's path or URI.

    Raises: RunError: the run isn't finished, or a file that its manifest lists is missing or
        damaged.
    """
    page = storage.join(run, REPORT_PAGE)
    with report_damage(run):
        rendered = render_report(run, load_manifest(run))
    storage.write_bytes(page, rendered.encode())
    return page


def render_report(run: str, manifest: Manifest) -> str:
    """Return the page, which depends only on the manifest and its files, not on time or machine."""
    return _load_template().render(**gather_contents(run, manifest))


def _escape_hidden(value: object) -> object:
    """Escape control characters in every value on the page, except the template's own markup."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_controls(value)
    return value


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=PackageLoader("pipelines.display"),
        autoescape=True,
        finalize=_escape_hidden,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": format_percent,
        "bound": format_bound,
        "interval": lambda share: format_interval(share.low, share.high),
        "exact": format_exact,
        "limit": format_limit,
        "score": f"{{:.{SCORE_DECIMALS}f}}".format,
        "rows": format_row_count,
        "escape_name": escape_name,
        "coordinate": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
    }
    return environment.get_template("report.html.j2")


def gather_contents(run: str, manifest: Manifest) -> dict[str, Any]:
    """Gather the page's contents, under the names that the template uses."""
    rows_in, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    return {
        "manifest": manifest,
        "rows_in": rows_in,
        "summary": summarise_rows(manifest),
        "absent": [name for name in DECISIONS if not by_decision.get(name)],
        "waiting": sum(output.rows for output in list_outputs(manifest, "swaplist")),
        "rejected": by_decision.get("reject", 0),
        "unread": describe_unread(manifest),
        "bars": lay_out_waterfall(rows_in, by_decision),
        "traits": describe_traits(run, manifest),
        "sides": {side: TEXTS_OF_SIDES[side] for side in manifest.list_found_sides()},
        "groups": [tabulate_groups(run, manifest, kind) for kind in GROUPINGS],
        "confidence": CONFIDENCE,
        "examples": EXAMPLES,
        "plot": PLOT,
    }


class UnreadRow(NamedTuple):
    """A line in the table of text that no trait looks at."""

    text: UnreadText
    is_trained: bool


def describe_unread(manifest: Manifest) -> list[UnreadRow]:
    """List the text that no trait looks at, and say whether the policy counts it as trained on."""
    names = {item.where for item in manifest.coverage.select_trained().list_unread()}
    return [UnreadRow(item, item.where in names) for item in manifest.coverage.list_unread()]


def format_row_count(count: int) -> str:
    """Return a number of rows with its unit: `1 row` or `1,200 rows`."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def summarise_rows(manifest: Manifest) -> str:
    """Return a sentence that accounts for all rows."""
    total, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    out = _sum_decisions(by_decision, PUBLISHED)
    share, verb = format_percent(out / max(total, 1)), "is" if out == 1 else "are"
    parts = [f"{out:,} ({share}) {verb} in the clean corpus"]
    parts += [
        f"{count:,} {one if count == 1 else many}"
        for name, (one, many) in FATES.items()
        if (count := by_decision.get(name, 0))
    ]
    listed = f"{', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}"
    return f"Of {format_row_count(total)} read, {listed}."


def _sum_decisions(by_decision: Mapping[str, int], names: Iterable[str]) -> int:
    return sum(by_decision.get(name, 0) for name in names)


def describe_traits(run: str, manifest: Manifest) -> list[TraitSection]:
    """Gather every trait's section, in the order of the manifest's thresholds."""
    examples = find_examples(run, manifest, EXAMPLES)
    return [
        _describe_trait(rule, manifest, counts, examples.get(rule.trait, TraitExamples()))
        for rule, counts in zip(manifest.thresholds, count_scores(run, manifest), strict=True)
    ]


def _describe_trait(
    rule: SettledThreshold, manifest: Manifest, counts: ScoreCounts, examples: TraitExamples
) -> TraitSection:
    return TraitSection(
        rule,
        {side: manifest.count_fired(rule.trait, side) for side in manifest.list_found_sides()},
        counts,
        lay_out_histogram(counts.below, counts.above, rule.threshold),
        _quote(examples.nearest),
        _quote(examples.highest),
        examples.unshown,
    )


def _quote(examples: Sequence[Example]) -> list[Quotation]:
    return [Quotation(example, _cut_text(example)) for example in examples]


def _cut_text(example: Example) -> list[Piece]:
    if example.text is None:
        return [Piece("(the field isn't in the row)", added=True)]
    return build_excerpt(example.text, example.start, example.end)


def tabulate_groups(run: str, manifest: Manifest, kind: str) -> GroupTable:
    """Tabulate the teachers or lots that lost the most rows."""
    shares = share_by_group(run, manifest, GROUPINGS[kind], GROUPS_SHOWN)
    rows = [GroupRow(_label_names(shares.fields, share.names), share) for share in shares.shown]
    return GroupTable(
        kind, rows, shares.omitted, max((share.high for share in shares.shown), default=1.0)
    )


def _label_names(fields: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return a group's known names, each with a label if there are several fields."""
    if len(fields) == 1:
        return [("", names[0])]
    return [
        (field.replace("_", " "), name)
        for field, name in zip(fields, names, strict=True)
        if name != UNKNOWN
    ] or [("", UNKNOWN)]
