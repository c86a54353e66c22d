"""`congener audit`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from pipelines.cli.filter import CorpusOptions, EngineOptions
from pipelines.cli.options import (
    BeamOptions,
    Config,
    Json,
    Options,
    Quiet,
    apply_settings,
    expand_argument,
    expand_arguments,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError

if TYPE_CHECKING:
    from classifiers.lots.meanings import MeaningCluster
    from classifiers.models.encoders import Encoder
    from pipelines.audit import Audit
    from pipelines.auditing.findings import AuditFinding

FOUND = 1
"""The exit code if the corpus differs from the reference."""

SHOWN = 20
"""How many findings are printed. The files have all of them."""

EXPLAINED_SHOWN = 5
"""How many findings are printed at most that format may explain, after all others."""

RARER_SHOWN = 8
"""How many findings that the corpus has less often are printed."""

FORMATS_SHOWN = 3
"""How many measures of format are named."""

VIEWS_READ = (
    "told apart by: the chance that a text, or a bag of 4, 16 or 64 texts, looks",
    "more like the corpus than one of the reference (0.50: not at all, 1.00: always);",
    "p: the chance to see this if both were alike. If length and format alone do as",
    "well as the whole text, and words don't, the difference is one of format.",
)

RATES_READ = (
    "format: the reference's rate if its texts were as long, as formatted and as",
    "difficult as the corpus's",
)

UNSHOWN = "*"
"""What follows the rate expected by format where the difference isn't shown beyond it."""

UNSHOWN_READ = (
    "*: not shown among texts of like length, format and difficulty, where q is",
    "{values}; there may be too few such texts to show a difference of this size.",
)

OVER, RARER = "over-represented", "rarer in the corpus"
"""The titles of the two tables of findings."""

LONGEST_SHOWN = 40
"""The longest text of a finding in the table, in characters."""


@dataclass(frozen=True)
class AuditOptions(Options):
    """The two corpora."""

    heading = "Input and output"

    corpus: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            help="The corpus to audit: a file, folder or glob, local or a URI; repeatable.",
        ),
    ] = None
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            help="Texts without the trait, best with the same prompts; repeatable.",
        ),
    ] = None
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="The folder for the report and its tables."),
    ] = None
    level: Annotated[
        float,
        typer.Option(
            "--level",
            min=0.0001,
            max=0.5,
            help="The chance of finding anything where nothing differs.",
        ),
    ] = 0.05
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="MODEL",
            help="Compare texts by their meaning, too, with this encoder: `default`, a hub id or "
            "a folder.",
        ),
    ] = None


class AuditResult(NamedTuple):
    """A finished audit."""

    audit: Audit

    def render(self) -> Iterator[Table | str]:
        """Return the verdict, the tests and the first findings."""
        from pipelines.auditing.cards import choose_finding
        from pipelines.auditing.pages import count_beyond, describe_compared, list_sentences

        audit = self.audit
        summary = audit.to_json()
        yield from list_sentences(summary)
        yield from describe_compared(summary)
        if audit.differs or audit.meanings:
            yield tabulate_views(audit)
            yield from VIEWS_READ
        if audit.differs and audit.comparison.differences:
            yield describe_formats(audit)
        if shown := choose_shown(audit.findings):
            yield tabulate_findings(shown, OVER)
            yield from RATES_READ
            yield from explain_unshown(shown)
            yield count_beyond(summary)
        if audit.meanings and audit.meanings.clusters:
            yield tabulate_clusters(audit.meanings.clusters)
        if audit.rarer.findings:
            yield tabulate_findings(audit.rarer.findings[:RARER_SHOWN], RARER)
            yield from explain_unshown(audit.rarer.findings[:RARER_SHOWN])
        yield Verbatim(f"report: {audit.config.output.rstrip('/')}/report.html")
        if audit.findings and (number := choose_finding(audit.config.output)):
            folder = shlex.quote(audit.config.output)
            yield Verbatim(f"a trait card: congener traits from-audit {folder} --finding {number}")

    def to_json(self) -> dict[str, Any]:
        """Return everything that the audit found."""
        return self.audit.to_json()


def tabulate_views(audit: Audit) -> Table:
    """Tabulate how well the corpus can be told from the reference in each view."""
    table = build_table("told apart by", "a text>", "4>", "16>", "64>", "p>")
    views = audit.comparison.views
    rows = {
        "the whole text": views["raw"],
        "words alone": views["canonical"],
        "length and format alone": views["baseline"],
    }
    if audit.meanings:
        rows["the encoder's vectors"] = audit.meanings.viewed
    for name, found in rows.items():
        bags = ["-" if value is None else f"{value:.2f}" for value in found.bags.values()]
        table.add_row(name, f"{found.separation.auroc:.2f}", *bags, f"{found.separation.p:.2g}")
    return table


def load_chosen_encoder(model: str, config: str | None) -> Encoder:
    """Load the encoder that --encoder names.

    Raises: ModelError: it can't be loaded.
    """
    from classifiers.models.encoders import load_encoder

    chosen = {} if model == "default" else {"encoder.model": model}
    return load_encoder(apply_settings(config, chosen).build_encoder_config())


def describe_formats(audit: Audit) -> str:
    """Name the measures of format that differ most, with their values in both corpora."""
    from pipelines.auditing.pages import format_value

    shown = [
        f"{item.name} {format_value(item.own, item.unit)} against "
        f"{format_value(item.other, item.unit)}"
        for item in audit.comparison.differences[:FORMATS_SHOWN]
    ]
    return f"formats that differ most, corpus against reference: {'; '.join(shown)}"


def tabulate_findings(findings: Sequence[AuditFinding], title: str) -> Table:
    """Tabulate the first findings with their rates in percent.

    What the corpus has more often is numbered, as `traits from-audit` takes it.
    """
    is_numbered = title == OVER
    table = build_table(*["#>"] * is_numbered, "kind", title, "corpus>", "ref.>", "format>", "q>")
    for number, item in enumerate(findings, 1):
        table.add_row(
            *[str(number)] * is_numbered,
            item.kind,
            Text(name_finding(item)),
            f"{item.rates[0]:.1%}",
            f"{item.rates[1]:.1%}",
            f"{item.rate_expected:.1%}{'' if item.beyond_format else UNSHOWN}",
            f"{item.q_value:.0e}",
        )
    return table


def choose_shown(findings: Sequence[AuditFinding]) -> list[AuditFinding]:
    """Return the findings to print: those beyond format, and a few others that can be looked for.

    These are the first ones, so their numbers are those of the files.
    """
    from pipelines.auditing.findings import EXPLAINED_TIER, find_tier

    tiers = [find_tier(item.kind, item.text, not item.beyond_format) for item in findings]
    beyond = sum(tier < EXPLAINED_TIER for tier in tiers)
    readable = sum(tier <= EXPLAINED_TIER for tier in tiers)
    most = min(SHOWN, beyond + EXPLAINED_SHOWN)
    return list(findings[: min(most, readable or most)])


def explain_unshown(findings: Sequence[AuditFinding]) -> Iterator[str]:
    """Explain the mark of differences that aren't shown beyond format, with their q-values."""
    values = [item.adjusted_q_value for item in findings if not item.beyond_format]
    if not values:
        return
    low, high = (format_q(value) for value in (min(values), max(values)))
    shown = low if low == high else f"{low} to {high}"
    yield from (line.format(values=shown) for line in UNSHOWN_READ)


def format_q(value: float) -> str:
    """Return a q-value with two digits."""
    return f"{value:.2g}"


def tabulate_clusters(clusters: Sequence[MeaningCluster]) -> Table:
    """Tabulate the kinds of text in excess, each with the text nearest to its centre."""
    table = build_table("in excess: texts like", "corpus>", "ref.>", "q>")
    for item in clusters[:SHOWN]:
        rates = (f"{rate:.1%}" for rate in item.rates)
        table.add_row(Text(shorten("".join(item.examples[:1]))), *rates, f"{item.q_value:.0e}")
    return table


def name_finding(item: AuditFinding) -> str:
    """Return a finding for the table, with the teacher that nearly all of its texts are from."""
    from pipelines.teacher_shares import name_teacher

    teacher = f" ({name_teacher(item.teacher)})" if item.teacher else ""
    return f"{shorten(item.text)}{teacher}"


def shorten(text: str, most: int = LONGEST_SHOWN) -> str:
    """Return a text for the table, with its end cut off if it is long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@spread_groups
def audit_corpus(
    given: AuditOptions,
    reading: CorpusOptions,
    engine: EngineOptions,
    config: Config = None,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Find out what sets a corpus apart from a reference.

    A classifier is tested on prompts that it hasn't seen. Phrases, openings, closings, patterns,
    grammar and formats are looked for in one half of the prompts and confirmed in the other, and
    each is compared with what length, format and difficulty alone would give. Exit code 1 means
    that the corpus differs, 0 that it isn't shown to.

    congener audit --corpus new.parquet --reference clean.parquet -o audit/
    congener audit --corpus "student/*.jsonl" --reference others/ -o audit/ --json
    """
    reading.refuse_run_options("congener audit")
    settings = apply_settings(config, reading.to_settings() | engine.to_settings())
    if not (given.corpus and given.reference and given.output):
        raise CardError(
            "--corpus, --reference and --output are needed",
            where="congener audit",
            remedy="congener audit --corpus CORPUS --reference CLEAN --output AUDIT",
        )

    from pipelines.early_checks import check_output, require_matches

    output = expand_argument(given.output)
    corpus, reference = expand_arguments(given.corpus), expand_arguments(given.reference)
    require_matches([*corpus, *reference])
    check_output(output)

    from pipelines.audit import run_audit
    from pipelines.auditing.corpora import AuditConfig
    from pipelines.display.progress import TerminalReporter

    audited = AuditConfig(
        corpus=tuple(corpus),
        reference=tuple(reference),
        output=output,
        level=given.level,
        layout=settings.corpus,
        shards=settings.shards,
        engine=settings.engine,
    )
    with TerminalReporter(quiet) as listener:
        encoder = load_chosen_encoder(given.encoder, config) if given.encoder else None
        audit = run_audit(audited, listener, tuple(beam_options or ()), encoder)
    if as_json or not quiet:
        print_result(AuditResult(audit), as_json)
    if audit.differs:
        raise typer.Exit(FOUND)
