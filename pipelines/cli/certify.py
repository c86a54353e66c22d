"""`congener certify`: options, questions and output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.certify_results import CertificateResult, DrawResult
from pipelines.cli.options import Json, Options, Run, expand_argument, spread_groups
from pipelines.cli.output import print_result
from schemas.errors import INTERRUPTED, CardError

if TYPE_CHECKING:
    from pipelines.certify import DrawnSample

NOT_MET = 5
"""The exit code for a bound above its target."""

RISK = 0.05


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
            "positives of the cards that have prompts); repeatable.",
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
    short_of_target: Annotated[
        bool,
        typer.Option("--short-of-target", help="Draw even if the rows can't reach --at-most."),
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
            "--short-of-target": self.short_of_target,
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
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="RUN0",
        help="Carry the certificate of RUN0 over, a run of the same rows that RUN was decided "
        "from, say; new rows count as showing a trait.",
    ),
]
Operator = Annotated[
    str | None,
    typer.Option(
        "--operator", help="The person responsible for the statement (default: the user)."
    ),
]
Ask = Annotated[
    bool,
    typer.Option(
        "--ask",
        help="Ask about the items of --labels that have no label yet; the bound is stated once all "
        "of them have one.",
    ),
]


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
    earlier: From = None,
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
    congener certify run2/ --from run/          (after decide or release)
    """
    if earlier and (labels or ask or drawing.draw is not None):
        raise CardError("--from needs no labels", remedy="leave --draw, --labels and --ask out")
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
    if earlier:
        stated = _carry(run, expand_argument(earlier), target, operator)
    else:
        paths = [expand_argument(path) for path in labels or ()]
        if ask:
            _ask(run, paths[0], as_json)
        stated = _state(run, paths, target, operator)
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
        must_reach=not drawing.short_of_target,
    )
    return draw_audit(run, settings, require_local_path(expand_argument(drawing.output or "")))


def _carry(run: str, earlier: str, target: float | None, operator: str | None) -> CertificateResult:
    """Carry the certificate of an earlier run over."""
    from pipelines.certify import carry_over
    from pipelines.early_checks import check_manifest

    check_manifest(earlier)
    carried = carry_over(run, earlier, target, operator)
    return CertificateResult(*carried[:4], files=_list_files(run), shown=carried.shown, run=run)


def _ask(run: str, path: str, as_json: bool) -> None:
    """Ask about the items of a label file, and end the command unless all of them are labelled.

    A bound is only stated by accident otherwise: each statement is in the history for good.
    """
    from pipelines.certify import require_sample
    from pipelines.certifying.checks import list_label_files
    from pipelines.cli.audit_questions import AskedResult, ask_about_items
    from pipelines.runs.manifest_file import load_manifest

    (file,) = list_label_files([path])
    asked = ask_about_items(file, require_sample(run, load_manifest(run)))
    if asked.left:
        print_result(AskedResult(run, path, asked), as_json)
        raise typer.Exit(INTERRUPTED if asked.is_interrupted else 0)


def _state(
    run: str, labels: list[str], target: float | None, operator: str | None
) -> CertificateResult:
    """Read labels and state what they show, or return what was stated before."""
    from pipelines.certify import (
        certify_run,
        find_clean_rows,
        find_shown_rows,
        find_stated,
        foresee_more,
    )
    from pipelines.certifying.checks import list_label_files
    from pipelines.certifying.histories import read_history

    if not labels:
        found, history = find_stated(run), read_history(run)
        return CertificateResult(
            found,
            history=history,
            files=_list_files(run),
            shown=find_shown_rows(run),
            clean=find_clean_rows(run),
            run=run,
            further=foresee_more(run, found),
        )
    paths: list[Path] = list_label_files(labels)
    stated = certify_run(run, paths, target, operator)
    return CertificateResult(
        *stated[:4],
        files=_list_files(run),
        shown=find_shown_rows(run),
        clean=find_clean_rows(run),
        run=run,
        further=foresee_more(run, stated.certificate),
    )


def _list_files(run: str) -> tuple[str, ...]:
    """Return the files of a run in which its certificate is written: its own, and the report."""
    from schemas.runs import AUDIT_STATEMENT, REPORT_PAGE
    from transforms.files import storage

    files = [storage.join(run, name) for name in (AUDIT_STATEMENT, REPORT_PAGE)]
    return tuple(path for path in files if storage.exists(path))
