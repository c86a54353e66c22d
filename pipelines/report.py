"""`congener report`: write a self-contained page about a run, and its table of rates.

Both depend only on the manifest and its files, so `congener verify` can make them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

import polars as pl
from jinja2 import Template

from pipelines.certifying.drawings import describe_certificate
from pipelines.certifying.histories import read_history
from pipelines.certifying.records import read_certificate
from pipelines.display.charts import (
    PLOT,
    Histogram,
    lay_out_histogram,
    lay_out_waterfall,
)
from pipelines.display.definitions import describe_scope, describe_signals
from pipelines.display.excerpts import escape_name
from pipelines.display.highlights import describe_words
from pipelines.display.page_templates import build_environment
from pipelines.library_precision import SAMPLE
from pipelines.loss_summary import summarise_losses
from pipelines.quotations import TURN_CHARACTERS, Quotation, quote, quote_row
from pipelines.removals_read import list_doubtful
from pipelines.removed_rows import (
    FOLDED,
    LISTED,
    MASKED_LISTED,
    list_flagged_rows,
    list_masked_rows,
    list_removed_rows,
)
from pipelines.runs.alterations import require_unaltered
from pipelines.runs.finished import MISFITS, list_outputs, report_damage
from pipelines.runs.manifest_file import load_decided
from pipelines.runs.own_actions import OwnCounts, count_own
from pipelines.runs.rates import CONFIDENCE, LEAST_ROWS, Omitted, Rates, compare_groups
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.report_examples import (
    ShownExample,
    TraitExamples,
    find_examples,
    find_row_of_each_decision,
)
from pipelines.runs.summaries import ScoreCounts, count_scores
from pipelines.runs.wrong_removals import count_bounding
from pipelines.sentences import (
    describe_joined_files,
    describe_scope_share,
    describe_title,
    describe_unread,
    summarise_rows,
)
from pipelines.sign_off import summarise_for_signing
from pipelines.swap_summary import summarise_swap
from pipelines.teacher_pairs import FEWEST_ALONE, LEAST_SHARED, TeacherPairs, compare_pairs
from pipelines.version import name_code
from schemas.cards import TraitCard
from schemas.certificates import Certificate
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest, SettledThreshold
from schemas.mixes import LOTS_SHOWN
from schemas.notices import DONOR_PREFIX, format_count
from schemas.policies import FILTERED, LotException, Policy
from schemas.receipts import ExceptionEffect
from schemas.runs import PAIRS_TABLE, RATES_TABLE, REPORT_PAGE
from schemas.scores import NEAR_MISS, SCORE_DECIMALS, TEXTS_OF_SIDES, Side
from schemas.shares import (
    format_bound,
    format_exact,
    format_interval,
    format_limit,
    format_percent,
)
from transforms.files import storage
from transforms.rules import Rule

EXAMPLES = 3
"""The largest number of examples of each kind per trait."""

GROUPS_SHOWN = 50
"""The largest number of groups in a table."""

RATES_SHOWN = 6
"""The largest number of groups beside a trait."""

TEACHERS_SHOWN = 4
"""The largest number of teachers in a line of the first table."""

GROUPINGS = ("teacher", "lot", "source")
"""The groupings on the page."""


class RateRow(NamedTuple):
    """A group's labelled names, its number of rows, and how many have a finding (`fired`).

    The decisions count rows with a finding, and `replaced` those whose old answer had one. `q` is
    the adjusted p-value of the test against all other rows, or None.
    """

    names: list[tuple[str, str]]
    rows: int
    fired: int
    share: float
    low: float
    high: float
    kept: int
    flagged: int
    masked: int
    removed: int
    replaced: int
    q: float | None = None

    @property
    def differs(self) -> bool:
        """Return whether the group's rate is another one than that of the other rows."""
        return self.q is not None and self.q <= 1 - CONFIDENCE


class RateTable(NamedTuple):
    """A table of groups.

    `scale` is the highest upper bound of the intervals.
    """

    kind: str
    rows: list[RateRow]
    unlisted: int
    omitted: Omitted
    scale: float


class TraitSection(NamedTuple):
    """The contents of a trait's section.

    `allowed` is the number of held-out clean texts to which the threshold's bound belongs. For each
    side, `fired` is the number of rows on which the trait fired. In `decided_by_another`
    of these rows, another trait decided. `overall` is the rate in all rows, or None without
    readable rows. `teachers` are the rates of the teachers, if there are few.
    """

    rule: SettledThreshold
    card: TraitCard
    allowed: int
    scope: str
    signals: list[tuple[str, str]]
    fired: dict[Side, int]
    decided_by_another: int
    counts: ScoreCounts
    histogram: Histogram
    overall: RateRow | None
    rates: list[RateTable]
    teachers: list[RateRow]
    highest: list[Quotation]
    nearest: list[Quotation]
    unshown: int

    @property
    def has_fired(self) -> bool:
        """Return whether the trait fired on any side."""
        return any(self.fired.values())


class TraitOutcome(NamedTuple):
    """What happened to the rows on which a trait fired in one kind of text (`texts`).

    `rates` counts rows that the trait's own action (`own`) keeps as kept, also if they have a flag
    or masks because of another trait.
    """

    section: TraitSection
    texts: str
    action: str
    rates: RateRow
    own: OwnCounts


class ExceptionRow(NamedTuple):
    """An exception of the policy, and its effect on the rows in its lots."""

    exception: LotException
    lot: list[tuple[str, str]]
    effect: ExceptionEffect


def write_report(run: str) -> str:
    """Write a run's page and rates, and return the page's path or URI.

    Raises: RunError: the run is neither finished nor stopped by a budget, or one of its files was
        changed or is missing.
    """
    with report_damage(run, *MISFITS):
        manifest = load_decided(run)
        require_unaltered(run, manifest)
        rates = compare_groups(run, manifest)
        pairs = compare_pairs(run, manifest)
        page = render_report(run, manifest, rates, pairs)
    _write_table(rates.table, storage.join(run, RATES_TABLE))
    if pairs is not None and pairs.table.height:
        _write_table(pairs.table, storage.join(run, PAIRS_TABLE))
    storage.write_bytes(storage.join(run, REPORT_PAGE), page.encode())
    return storage.join(run, REPORT_PAGE)


def _write_table(table: pl.DataFrame, path: str) -> None:
    stream = BytesIO()
    table.write_parquet(stream)
    storage.write_bytes(path, stream.getvalue())


def render_report(
    run: str, manifest: Manifest, rates: Rates | None = None, pairs: TeacherPairs | None = None
) -> str:
    """Return the page.

    `rates` are the run's rates, and `pairs` its teachers on the same prompts, if known.

    Raises: RunError: a file that the manifest lists is missing or damaged.
    """
    found = compare_groups(run, manifest) if rates is None else rates
    shared = compare_pairs(run, manifest) if pairs is None else pairs
    return _load_template().render(
        **gather_contents(run, manifest, found),
        pairs=shared,
        least_shared=LEAST_SHARED,
        fewest_alone=FEWEST_ALONE,
    )


@cache
def _load_template() -> Template:
    environment = build_environment()
    environment.filters |= {
        "count": "{:,}".format,
        "percent": format_percent,
        "bound": format_bound,
        "interval": lambda share: format_interval(share.low, share.high),
        "whole_interval": lambda ends: format_interval(ends[0], ends[1], 0),
        "exact": format_exact,
        "limit": format_limit,
        "score": f"{{:.{SCORE_DECIMALS}f}}".format,
        "rows": lambda count: format_count(count, "row"),
        "escape_name": escape_name,
        "words": describe_words,
        "in_words": lambda name: name.replace("_", " "),
        "coordinate": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
    }
    return environment.get_template("report.html.j2")


def gather_contents(run: str, manifest: Manifest, rates: Rates) -> dict[str, Any]:
    """Gather the page's contents under the template's names."""
    rows_in, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    policy = read_recorded_policy(manifest)
    traits = describe_traits(run, manifest, rates)
    outcomes = list_outcomes(traits, manifest, rates)
    certificate = _find_certificate(run, manifest)
    section = certificate and describe_certificate(certificate, read_history(run))
    history = section.history if section else None
    return {
        "manifest": manifest,
        "warnings": _list_notices(manifest, "warning"),
        "messages": _list_notices(manifest, "info"),
        "remarks": manifest.list_remarks(),
        "swap": summarise_swap(manifest),
        "removed": list_removed_rows(run, manifest, rates),
        "masked": list_masked_rows(run, manifest, rates),
        "flagged": list_flagged_rows(run, manifest, rates),
        "sign_off": summarise_for_signing(run, manifest, rates, certificate, history),
        "certificate": section,
        "sample": SAMPLE,
        "losses": summarise_losses(run, manifest),
        "listed": LISTED,
        "masked_listed": MASKED_LISTED,
        "folded": FOLDED,
        "doubtful": list_doubtful(manifest, certificate),
        "version": name_code(),
        "title": describe_title(manifest),
        "rows_in": rows_in,
        "summary": summarise_rows(manifest),
        "absent": [name for name in FILTERED if not by_decision.get(name)],
        "waiting": sum(output.rows for output in list_outputs(manifest, "swaplist")),
        "rejected": by_decision.get("reject", 0),
        "unread": describe_unread(manifest),
        "bars": lay_out_waterfall(rows_in, by_decision),
        "decided": quote_decisions(run, manifest),
        "traits": traits,
        "outcomes": outcomes,
        "unlisted": len(traits) - len({item.section.rule.trait for item in outcomes}),
        "joined": describe_joined_files(manifest),
        "scope": describe_scope_share(manifest),
        "sides": {side: TEXTS_OF_SIDES[side] for side in manifest.list_found_sides()},
        "groups": [tabulate_rates(rates, kind, None, GROUPS_SHOWN) for kind in GROUPINGS],
        "policy": policy,
        "has_policy": policy != Policy(),
        "exceptions": describe_exceptions(manifest, policy),
        "confidence": CONFIDENCE,
        "least_rows": LEAST_ROWS,
        "examples": EXAMPLES,
        "lots_shown": LOTS_SHOWN,
        "near_miss": NEAR_MISS,
        "turn_characters": TURN_CHARACTERS,
        "plot": PLOT,
    }


def _find_certificate(run: str, manifest: Manifest) -> Certificate | None:
    """Return a run's certificate, unless it is about another run."""
    found = read_certificate(run)
    return None if found is None or found.manifest != manifest.digest else found


def _list_notices(manifest: Manifest, severity: str) -> list[tuple[str, list[str]]]:
    """Group what the run said by the run that it is about, leaving out donors."""
    groups: dict[str, list[str]] = {}
    for notice in manifest.list_notices():
        if notice.severity == severity and not notice.about.startswith(DONOR_PREFIX):
            groups.setdefault(notice.about, []).append(notice.text)
    return list(groups.items())


def quote_decisions(run: str, manifest: Manifest) -> list[Quotation]:
    """Quote a row of each decision, with the best finding or the nearest miss.

    A run that a budget stopped holds no text to quote.
    """
    if manifest.withdrawn is not None:
        return []
    rows, policy = find_row_of_each_decision(run, manifest), read_recorded_policy(manifest)
    return [quote_row(row, policy) for row in rows.values()]


def describe_traits(run: str, manifest: Manifest, rates: Rates) -> list[TraitSection]:
    """Gather every trait's section, in the order of the manifest's thresholds."""
    examples = find_examples(run, manifest, EXAMPLES)
    return [
        _describe_trait(rule, manifest, counts, examples.get(rule.trait, TraitExamples()), rates)
        for rule, counts in zip(manifest.thresholds, count_scores(run, manifest), strict=True)
    ]


def list_outcomes(
    sections: Sequence[TraitSection], manifest: Manifest, rates: Rates
) -> list[TraitOutcome]:
    """List what happened to the rows on which each trait fired, by kind of text."""
    rules = {rule.trait: rule for rule in read_recorded_rules(manifest)}
    has_rows = (pl.col("fired") > 0) | (pl.col("swap") > 0)
    whole = rates.table.filter(pl.col("grouping") == "all", has_rows)
    return [
        _describe_outcome(section, line, rules[section.rule.trait], rates.actions)
        for section in sections
        for line in whole.filter(pl.col("trait") == section.rule.trait).to_dicts()
    ]


def _describe_outcome(
    section: TraitSection, line: Mapping[str, Any], rule: Rule, actions: pl.DataFrame
) -> TraitOutcome:
    row, own = _build_rate_row(line), count_own(actions, line["trait"], line["side"])
    row = row._replace(
        kept=row.kept + own.unmasked + own.unflagged,
        masked=row.masked - own.unmasked,
        flagged=row.flagged - own.unflagged,
    )
    texts, action = TEXTS_OF_SIDES[line["side"]], rule.get_action(line["side"])
    return TraitOutcome(section, texts, action, row, own)


def _describe_trait(
    rule: SettledThreshold,
    manifest: Manifest,
    counts: ScoreCounts,
    examples: TraitExamples,
    rates: Rates,
) -> TraitSection:
    card, policy = (
        TraitCard.model_validate(manifest.cards[rule.trait]),
        read_recorded_policy(manifest),
    )
    tables = [tabulate_rates(rates, kind, rule.trait, RATES_SHOWN) for kind in GROUPINGS]
    whole, sides = _select(rates, "all", rule.trait), manifest.list_found_sides()
    return TraitSection(
        rule,
        card,
        count_bounding(rule),
        describe_scope(card),
        list(describe_signals(card)),
        {side: rates.count_fired(rule.trait, side) for side in sides},
        int(whole["decided_by_another"].sum()),
        counts,
        lay_out_histogram(counts.below, counts.above, rule.threshold),
        next((_build_rate_row(line) for line in whole.to_dicts()), None),
        list(map(_leave_out_silent, _drop_repeated(tables))),
        _list_few_teachers(rates, rule.trait),
        _quote_examples(examples.highest, policy),
        _quote_examples(examples.nearest, policy),
        examples.unshown,
    )


def _list_few_teachers(rates: Rates, trait: str) -> list[RateRow]:
    """Return the rates of several teachers on whose rows a trait fired, if they are few."""
    lines = tabulate_rates(rates, "teacher", trait, GROUPS_SHOWN).rows
    fired = [line for line in lines if line.fired]
    return fired if len(lines) > 1 and len(fired) <= TEACHERS_SHOWN else []


def _quote_examples(examples: Sequence[ShownExample], policy: Policy) -> list[Quotation]:
    """Quote examples, the highest score first."""
    ordered = sorted(examples, key=lambda example: -example.finding.score)
    return [quote(example.row, example.finding, policy) for example in ordered]


def _drop_repeated(tables: Sequence[RateTable]) -> list[RateTable]:
    """Leave out tables of a single group, and repeated tables of the same groups."""
    kept: dict[tuple[tuple[int, int], ...], RateTable] = {}
    for table in tables:
        if len(table.rows) > 1:
            kept.setdefault(tuple(sorted((row.rows, row.fired) for row in table.rows)), table)
    return list(kept.values())


def _leave_out_silent(table: RateTable) -> RateTable:
    """Leave out the lots and sources on which a trait didn't fire. Teachers are few, and stay."""
    if table.kind == "teacher":
        return table
    shown = [row for row in table.rows if row.fired]
    unlisted = table.unlisted + len(table.rows) - len(shown)
    scale = max((row.high for row in shown), default=1.0)
    return table._replace(rows=shown, unlisted=unlisted, scale=scale)


def _select(rates: Rates, kind: str, trait: str | None) -> pl.DataFrame:
    """Return a grouping's lines about one trait's findings in trained text, or about all traits."""
    chosen = pl.col("trait").eq_missing(pl.lit(trait)) & (pl.col("grouping") == kind)
    return rates.table.filter(chosen, pl.col("side").is_null() | (pl.col("side") == "trained"))


def tabulate_rates(rates: Rates, kind: str, trait: str | None, most: int) -> RateTable:
    """Tabulate the groups with the highest lower bounds."""
    lines = _select(rates, kind, trait).sort("low", "share", descending=True, maintain_order=True)
    shown = [_build_rate_row(line) for line in lines.head(most).to_dicts()]
    unlisted = lines.height - len(shown)
    scale = max((row.high for row in shown), default=1.0)
    return RateTable(kind, shown, unlisted, rates.omitted[kind], scale)


def _build_rate_row(line: Mapping[str, Any]) -> RateRow:
    removed = sum(line[name] for name in ("quarantine", "drop", "duplicate"))
    numbers = {name: line[name] for name in ("rows", "fired", "share", "low", "high")}
    return RateRow(
        _label_names(line),
        **numbers,
        kept=line["keep"],
        flagged=line["flag"],
        masked=line["mask"],
        removed=removed,
        replaced=line["swap"],
        q=line["q"],
    )


def _label_names(line: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a group's known names, with labels if there are several fields."""
    fields = ("teacher", "prompt_source", "system_prompt", "source")
    names = [(field.replace("_", " "), line[field]) for field in fields if line[field] is not None]
    if not names:
        return [("", "all rows")]
    if len(names) == 1:
        return [("", names[0][1])]
    return [(field, name) for field, name in names if name != UNKNOWN] or [("", UNKNOWN)]


def describe_exceptions(manifest: Manifest, policy: Policy) -> list[ExceptionRow]:
    """Describe the policy's exceptions, and what each of them did."""
    return [
        ExceptionRow(
            item,
            _name_rows(item),
            effect,
        )
        for item, effect in zip(policy.exceptions, manifest.exceptions, strict=True)
    ]


def _name_rows(item: LotException) -> list[tuple[str, str]]:
    """Return the names that rows of an exception have in common."""
    names = [] if item.row is None else [("row", item.row.describe())]
    lot = item.lot.model_dump(exclude_none=True).items()
    return names + [(field.replace("_", " "), value) for field, value in lot]
