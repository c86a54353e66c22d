"""`congener certify`: options, questions and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Options, Run, expand_argument, spread_groups
from pipelines.cli.output import print_result, style
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError
from schemas.notices import choose_form, format_count
from schemas.shares import format_bound, format_exact, format_interval, format_percent

if TYPE_CHECKING:
    from rich.text import Text

    from pipelines.certify import DrawnSample
    from pipelines.certifying.reviews import ReviewCount
    from schemas.certificates import (
        Certificate,
        PastStatement,
        ShareBound,
        ShareEstimate,
        TraitStatement,
    )

NOT_MET = 5
"""The exit code for a bound above its target."""

RISK = 0.05

METHODS = {"its errors": "rogan_gladen", "and labels": "predictions", "labels": "audit"}
"""How the share of rows with a trait is estimated, in a few words: from the filter's findings and
its known errors, from its findings and the labels, and from the labels alone."""


@dataclass(frozen=True)
class DrawOptions(Options):
    """The rows to draw."""

    heading = "Drawing rows"

    draw: Annotated[
        int | None,
        typer.Option(
            "--draw",
            min=1,
            help="Draw this many rows of the run; seeded texts are read, too (see --seeded). "
            "A larger number later adds rows.",
        ),
    ] = None
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="The label file to write."),
    ] = None
    traits: Annotated[
        list[str] | None,
        typer.Option("--trait", help="Only this trait; repeatable (default: all of the run)."),
    ] = None
    positives: Annotated[
        list[str] | None,
        typer.Option(
            "--positives",
            metavar="FILE",
            help="Texts with the traits to mix in, with trait, text and prompt (default: the "
            "positives of the cards, without prompts); repeatable.",
        ),
    ] = None
    seeded: Annotated[
        int | None,
        typer.Option(
            "--seeded",
            min=0,
            help="How many such texts to mix in (default: 30 for each trait, at most a third of "
            "--draw); 0 leaves the raters' sensitivity open.",
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="FILE",
            help="Labels that set a threshold, whose rows aren't drawn; repeatable.",
        ),
    ] = None
    seed: Annotated[
        str | None,
        typer.Option("--seed", help="The seed of the draw (default: the manifest's digest)."),
    ] = None
    risk: Annotated[
        float | None,
        typer.Option(
            "--risk", help=f"How likely each bound may be wrong, whoever looks when ({RISK})."
        ),
    ] = None
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget an earlier sample of RUN, and draw a new one.")
    ] = False

    def require_consistent(self, has_labels: bool) -> None:
        """Refuse options that contradict each other.

        Raises: CardError: they do.
        """
        others = {
            "--output": self.output,
            "--trait": self.traits,
            "--positives": self.positives,
            "--seeded": self.seeded is not None,
            "--exclude": self.exclude,
            "--seed": self.seed,
            "--risk": self.risk is not None,
            "--restart": self.restart,
        }
        given = [name for name, value in others.items() if value]
        if self.draw is None and given:
            raise CardError(
                "belongs to a draw", where=given[0], remedy="add --draw N, or leave it out"
            )
        if self.draw is not None and has_labels:
            raise CardError("--draw draws rows, and --labels reads them", remedy="give one of them")
        if self.draw is not None and not self.output:
            raise CardError("a draw needs a label file to write", remedy="add --output FILE")
        if self.risk is not None and not 0 < self.risk < 1:
            raise CardError(
                f"{self.risk} isn't between 0 and 1", where="--risk", remedy="give 0.05, say"
            )


Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="A label file that was read, or a reviewer's file of congener review; one per rater.",
    ),
]
AtMost = Annotated[
    str | None,
    typer.Option(
        "--at-most",
        metavar="SHARE",
        help="Exit with 5 unless at most this share of the kept rows shows a trait, as in 0.5%.",
    ),
]
Operator = Annotated[
    str | None,
    typer.Option(
        "--operator", help="The person responsible for the statement (default: the user)."
    ),
]
Ask = Annotated[
    bool, typer.Option("--ask", help="Ask about the items of --labels that have no label yet.")
]


class DrawResult(NamedTuple):
    """A sample that was drawn, and the options that decide its seeded texts."""

    run: str
    drawn: DrawnSample
    positives: tuple[str, ...] = ()
    seeded: int | None = None

    def render(self) -> Iterator[str | Text]:
        """Say what was drawn, what it can show at best, and what to do with the file."""
        sample, path = self.drawn.sample, self.drawn.path
        counts = {
            kind: sum(item.kind == kind for item in sample.items)
            for kind in ("kept", "removed", "seeded")
        }
        yield (
            f"sample: {counts['kept']:,} of {format_count(sample.kept, 'kept row')}, "
            f"{counts['removed']:,} of {sample.removed:,} removed, {counts['seeded']:,} seeded; "
            f"digest {sample.digest[:16]}"
        )
        rows = counts["kept"] + counts["removed"]
        yield (
            f"in all {format_count(rows + counts['seeded'], 'item')}: "
            f"{format_count(rows, 'row')} of the run and "
            f"{format_count(counts['seeded'], 'seeded text')}, known to show a trait"
        )
        yield from self._describe_prospect()
        if sample.pool and not sample.shows_prompts:
            yield (
                "no prompts are shown, because the seeded texts have none and would stand out; "
                "--positives FILE gives texts with prompts"
            )
        yield (
            f"{format_count(len(self.drawn.added), 'item')} written to {path}, in the order of "
            "reading. Set each `label`: the traits that it shows, none or unsure"
        )
        run, file = shlex.quote(self.run), shlex.quote(path)
        yield Verbatim(
            f"next: congener review {run} --certify {file}\n"
            f"  or: congener certify {run} --labels {file} --ask"
        )

    def _describe_prospect(self) -> Iterator[str | Text]:
        """Say which bound the draw can show at best, and how many rows its target needs."""
        found, target = self.drawn.prospect, self.drawn.sample.at_most
        finds = ", and raters find every seeded text" if self.drawn.sample.pool else ""
        yield (
            f"at best, this draw shows at most {format_bound(found.best)}: if no drawn kept row "
            f"shows a trait{finds}"
        )
        if target is None or found.best <= target:
            return
        share = format_exact(target)
        if found.rows is None:
            text = f"that isn't at most {share}: even a draw of {found.tried:,} rows is too small"
        else:
            run, file = shlex.quote(self.run), shlex.quote(self.drawn.path)
            text = (
                f"that isn't at most {share}, so this draw can't reach the target: draw at least "
                f"{format_count(found.rows, 'row')} ({format_count(found.items or 0, 'item')}), "
                f"and more if mistakes are likely: congener certify {run} --draw {found.rows} "
                f"--output {file}{self._repeat_options()}"
            )
        yield style(text, "yellow")

    def _repeat_options(self) -> str:
        """Return the options without which a larger draw would have other seeded texts."""
        words = [word for path in self.positives for word in ("--positives", shlex.quote(path))]
        if self.seeded is not None:
            words += ["--seeded", str(self.seeded)]
        return "".join(f" {word}" for word in words)

    def to_json(self) -> dict[str, Any]:
        """Return the sample without its items, which a rater mustn't know."""
        fields = self.drawn.sample.model_dump(mode="json", exclude={"items", "pool", "excluded"})
        prospect = self.drawn.prospect._asdict()
        own = {"added": len(self.drawn.added), "labels": self.drawn.path, "prospect": prospect}
        return {**fields, **own}


class CertificateResult(NamedTuple):
    """What a certificate states."""

    certificate: Certificate
    waiting: int = 0
    reviews: tuple[ReviewCount, ...] = ()
    history: tuple[PastStatement, ...] = ()

    def render(self) -> Iterator[str | Table | Text]:
        """Return the statements, their tables and their limits."""
        found = self.certificate
        statements = (found.together, *found.traits) if len(found.traits) > 1 else found.traits
        yield from describe_residual(found)
        yield from self.describe_earlier()
        table = build_table("trait", "read>", "show it>", "seen ≤>", "raters find>", "adjusted ≤>")
        for item in statements:
            table.add_row(*tabulate_residual(item))
        yield table
        yield from self.describe_shares(statements)
        for item in statements:
            yield describe_clean(name_statement(item), item.clean_removed)
        for item in statements:
            if item.agreement is not None:
                yield describe_agreement(item)
        for review in self.reviews:
            yield Verbatim(review.describe())
        if self.waiting:
            yield (
                f"{format_count(self.waiting, 'label')} after the first unread item of a kind "
                "don't count yet"
            )
        yield from found.limits
        last = self.history[-1].digest[:16] if self.history else "missing"
        yield (
            f"certificate {found.digest[:16]} about the run {found.run_id}; "
            f"its line in the history: {last}"
        )
        if found.met is not None:
            words = "at most" if found.met else "not shown to be at most"
            share = format_exact(found.at_most or 0)
            text = f"the share of kept rows with a trait is {words} {share}"
            yield style(text, "green" if found.met else "red")

    def describe_shares(self, statements: Sequence[TraitStatement]) -> Iterator[str | Table]:
        """Return the table of shares before and after, and which rows "before" leaves out."""
        table = build_table("share with the trait", "estimated by", "before", "after")
        for item in statements:
            for cells in tabulate_prevalence(item):
                table.add_row(*cells)
        yield table
        if self.certificate.unread:
            yield describe_left_out(self.certificate.unread)

    def describe_earlier(self) -> Iterator[Text]:
        """Say which statements came before this one, if any did."""
        from pipelines.certifying.histories import describe_history

        if sentence := describe_history(self.certificate, self.history):
            yield style(sentence, "yellow")

    def to_json(self) -> dict[str, Any]:
        """Return the certificate."""
        fields = self.certificate.model_dump(mode="json")
        return {
            **fields,
            "met": self.certificate.met,
            "waiting": self.waiting,
            "reviews": [review._asdict() for review in self.reviews],
            "history": [line.model_dump(mode="json") for line in self.history],
        }


def name_statement(item: TraitStatement) -> str:
    """Return the trait's name, or `any trait`."""
    return item.trait or "any trait"


def describe_residual(found: Certificate) -> Iterator[str]:
    """Say in a sentence what share of the kept rows shows a trait at most."""
    residual, sure = found.together.residual, format_exact(1 - found.risk)
    names = [item.trait or "" for item in found.traits]
    what = f"any of the {len(names)} traits of the audit ({', '.join(names)})"
    what = names[0] if len(names) == 1 else what
    yield (
        f"With {sure} confidence, at most {format_bound(found.together.decisive)} of the "
        f"{residual.rows:,} kept rows show {what}"
        + (", as far as raters see it." if residual.adjusted is None else ".")
        + f" {residual.read:,} of them were read. You may stop at any time, or read on."
    )


def tabulate_residual(item: TraitStatement) -> tuple[str, ...]:
    """Return the table cells of a residual rate."""
    residual, finds = item.residual, item.sensitivity
    unsure = f" ({residual.unsure} in doubt)" if residual.unsure else ""
    return (
        name_statement(item),
        f"{residual.read:,}",
        f"{residual.counted:,}{unsure}",
        format_bound(residual.bound),
        "not measured"
        if finds is None
        else f"{finds.found}/{finds.read} (≥ {format_percent(finds.lowest, 0)})",
        "-" if residual.adjusted is None else format_bound(residual.adjusted),
    )


def tabulate_prevalence(item: TraitStatement) -> Iterator[tuple[str, ...]]:
    """Yield the table rows of a trait's share of rows, estimated in three ways."""
    for number, (name, field) in enumerate(METHODS.items()):
        pair = (getattr(item.before, field), getattr(item.after, field))
        yield ("" if number else name_statement(item), name, *map(describe_estimate, pair))


def describe_left_out(unread: int) -> str:
    """Say that the shares before the filter leave dropped rows out."""
    rows, are = format_count(unread, "dropped row"), choose_form(unread, "isn't", "aren't")
    return (
        f"before: of the rows whose text the run holds; {rows} {are} among them, so the true "
        "shares before the filter may be higher. With the action quarantine, a run holds the text"
    )


def describe_estimate(found: ShareEstimate | None) -> str:
    """Return an estimate and its interval, or a dash."""
    if found is None:
        return "-"
    return f"{format_percent(found.estimate)} ({format_interval(found.low, found.high)})"


def describe_clean(name: str, found: ShareBound) -> str:
    """Say what share of the removed rows was clean at most."""
    if not found.rows:
        return f"{name}: the run holds no removed row that could be read"
    if not found.read:
        return f"{name}: none of the {found.rows:,} removed rows was read"
    return (
        f"{name}: {found.counted} of {found.read} removed rows that were read are clean, so at "
        f"most {format_bound(found.bound)} of the {found.rows:,} are"
    )


def describe_agreement(item: TraitStatement) -> str:
    """Say how raters agree."""
    found = item.agreement
    if found is None:
        return ""
    kappa, alpha = (
        "undefined" if value is None else f"{value:.2f}" for value in (found.kappa, found.alpha)
    )
    return (
        f"{name_statement(item)}: {len(found.raters)} raters on {found.items} shared items, kappa "
        f"{kappa}, Krippendorff's alpha {alpha}"
    )


def read_share(text: str | None) -> float | None:
    """Return a share that is given as 0.005 or as 0.5%.

    Raises: CardError: it isn't a share between 0 and 1.
    """
    if text is None:
        return None
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = 0
    if not 0 < value < 1:
        raise CardError(
            f"{text[:40]!r} isn't a share between 0 and 1",
            where="--at-most",
            remedy="write 0.005 or 0.5%",
        )
    return value


@spread_groups
def certify(
    run: Run,
    drawing: DrawOptions,
    labels: Labels = None,
    ask: Ask = False,
    at_most: AtMost = None,
    operator: Operator = None,
    as_json: Json = False,
) -> None:
    """State what a run lost and left, from rows that people read.

    First, --draw writes a label file: rows of clean/ and quarantine/ at random, and texts that show
    the traits, in random order and without scores. Then, --labels states an upper bound on the
    share of kept rows that show a trait, and on the share of removed rows that are clean. The
    bounds hold at every moment, so stop reading whenever they suffice. The certificate is in
    RUN/certificate/, where congener verify checks it. Without options, it is shown.

    congener certify run/ --draw 1000 --at-most 0.5% -o audit.jsonl
    congener certify run/ --labels audit.jsonl --ask
    congener review run/ --certify audit.jsonl
    congener certify run/ --labels run.review/audit-ada.jsonl
    congener certify run/ --labels audit.jsonl --labels second.jsonl
    congener certify run/
    """
    drawing.require_consistent(bool(labels))
    target = read_share(at_most)
    if ask and (not labels or len(labels) > 1):
        raise CardError("--ask asks about one label file", remedy="give one --labels FILE")

    from pipelines.early_checks import check_manifest

    check_manifest(run)
    if drawing.draw is not None:
        drawn = _draw(run, drawing, target)
        result = DrawResult(run, drawn, tuple(drawing.positives or ()), drawing.seeded)
        print_result(result, as_json)
        return
    stated = _state(run, [expand_argument(path) for path in labels or ()], ask, target, operator)
    print_result(stated, as_json)
    if stated.certificate.met is False:
        raise typer.Exit(NOT_MET)


def _draw(run: str, drawing: DrawOptions, target: float | None) -> DrawnSample:
    from pipelines.certify import DrawSettings, draw_audit
    from pipelines.config import require_local_path

    settings = DrawSettings(
        rows=drawing.draw or 0,
        traits=tuple(drawing.traits or ()),
        positives=tuple(map(expand_argument, drawing.positives or ())),
        seeded=drawing.seeded,
        seed=drawing.seed,
        exclude=tuple(map(expand_argument, drawing.exclude or ())),
        risk=RISK if drawing.risk is None else drawing.risk,
        at_most=target,
        restart=drawing.restart,
    )
    return draw_audit(run, settings, require_local_path(expand_argument(drawing.output or "")))


def _state(
    run: str, labels: list[str], ask: bool, target: float | None, operator: str | None
) -> CertificateResult:
    """Read labels and state what they show, or return what was stated before."""
    from pipelines.certify import certify_run, find_stated, require_sample
    from pipelines.certifying.checks import list_label_files
    from pipelines.certifying.histories import read_history
    from pipelines.runs.manifest_file import load_manifest

    if not labels:
        return CertificateResult(find_stated(run), history=read_history(run))
    paths: list[Path] = list_label_files(labels)
    if ask:
        from pipelines.cli.audit_questions import ask_about_items

        ask_about_items(paths[0], require_sample(run, load_manifest(run)))
    return CertificateResult(*certify_run(run, paths, target, operator))
