"""`congener review`: options and output."""

from __future__ import annotations

import getpass
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from pipelines.cli.options import Json, Quiet, Run, expand_argument
from pipelines.cli.output import say
from schemas.errors import CardError
from schemas.notices import format_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from pipelines.review.audits import AuditSession
    from pipelines.review.queries import RowSelection
    from pipelines.review.server import Session
    from pipelines.review.session import ReviewSession

Reviewer = Annotated[
    str | None,
    typer.Option("--reviewer", metavar="NAME", help="Who labels (default: the user's name)."),
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--folder",
        metavar="FOLDER",
        help="Where the labels and the index are kept (default: RUN.review, beside the run).",
    ),
]
Blind = Annotated[
    bool,
    typer.Option("--blind", help="Show neither scores nor decisions, and rows in random order."),
]
Sample = Annotated[
    int | None,
    typer.Option(
        "--sample",
        metavar="N",
        min=1,
        help="Label N random rows, blind, which calibrate --labels takes.",
    ),
]
Carry = Annotated[
    str | None,
    typer.Option(
        "--carry",
        metavar="FILE",
        help="Take over your labels of an earlier run, where text and definition are the same.",
    ),
]
Certify = Annotated[
    str | None,
    typer.Option(
        "--certify",
        metavar="FILE",
        help="Label the items of this file, which certify --draw wrote, blind and in their order.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        "--host", help="The address to listen on. Any other than loopback is unencrypted."
    ),
]
Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="The port to listen on (0: any free one).")
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")]
Export = Annotated[
    str | None,
    typer.Option(
        "--export", metavar="FILE", help="Write a page with the first rows inside, and end."
    ),
]
Atlas = Annotated[
    str | None,
    typer.Option(
        "--atlas",
        metavar="FILE",
        help="Write a Parquet file of all rows for Embedding Atlas, with their texts and places on "
        "the map, and end.",
    ),
]
Scout = Annotated[
    str | None,
    typer.Option(
        "--scout",
        metavar="FOLDER",
        help="Write all rows as transcripts into a new folder for Inspect Scout, and end.",
    ),
]
Scans = Annotated[
    str | None,
    typer.Option(
        "--scans",
        metavar="FOLDER",
        help="Write all findings as results of a scan into a new folder for Inspect Scout, and "
        "end.",
    ),
]
Trait = Annotated[
    str | None,
    typer.Option("--trait", help="Only rows on which it fired; the page begins with them."),
]
Decision = Annotated[
    str | None,
    typer.Option("--decision", help="Only rows with this decision; the page begins with them."),
]
Limit = Annotated[
    int,
    typer.Option("--limit", "-n", min=1, max=10_000, help="With --export: how many rows."),
]


Terminal = Annotated[
    bool,
    typer.Option("--terminal", help="Show the rows on this terminal instead, with single keys."),
]
Compare = Annotated[
    bool,
    typer.Option("--agreement", help="Say how far the run's reviewers agree (kappa), and end."),
]
Merge = Annotated[
    str | None,
    typer.Option(
        "--merge",
        metavar="FILE",
        help="Write the labels of all reviewers into one file, unsure where they differ, and end.",
    ),
]


def review_run(
    run: Run,
    reviewer: Reviewer = None,
    blind: Blind = False,
    sample: Sample = None,
    carry: Carry = None,
    audit: Certify = None,
    folder: Folder = None,
    host: Host = "127.0.0.1",
    port: Port = 0,
    open_page: Open = False,
    export: Export = None,
    atlas: Atlas = None,
    scout: Scout = None,
    scans: Scans = None,
    trait: Trait = None,
    decision: Decision = None,
    limit: Limit = 200,
    terminal: Terminal = False,
    agreement: Compare = False,
    merge: Merge = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Read rows on a page, and label them with the keyboard.

    The page shows why each row is there: evidence, scores, nearest exemplars, lot, other answers.
    Labels are kept at once in each reviewer's own file beside the run, which fit --labels reads.
    Only this machine can open the page, with the printed address. Ctrl-C ends the review.

    congener review run/
    congener review run/ --reviewer ada --trait vendor-identity
    congener review run/ --sample 400
    congener review run2/ --carry run.review/labels-ada.jsonl
    congener review run/ --certify audit.jsonl
    congener review run/ --export page.html --trait vendor-identity
    congener review run/ --atlas rows.parquet --scout transcripts/ --scans scans/
    congener review run/ --terminal --trait vendor-identity
    congener review run/ --agreement --merge both.jsonl
    """
    target, files = _check_places(run, export), _check_row_files(atlas, scout, scans)
    if agreement or merge is not None:
        _compare(run, choose_base(run, folder), merge, as_json)
        return
    name, base = _get_user() if reviewer is None else reviewer, choose_base(run, folder)
    if audit is not None:
        others = {"--export": export, "--atlas": atlas, "--scout": scout, "--scans": scans}
        others |= {"--carry": carry, "--trait": trait, "--decision": decision}
        _require_alone(others, terminal)
        _serve(_open_audit(run, audit, base, name), host, port, open_page, quiet)
        return
    session = _open_session(run, base, name, blind, sample, carry)
    if any(files):
        _write_row_files(session, files, _choose_rows(session, trait, decision), trait)
    elif target is not None:
        _export(session, target, _select(session, trait, decision), limit)
    elif terminal:
        _read_in_terminal(session, _select(session, trait, decision))
    else:
        _serve(_choose_first(session, trait, decision), host, port, open_page, quiet)


def _open_session(
    run: str, base: Path, reviewer: str, blind: bool, sample: int | None, carry: str | None
) -> ReviewSession:
    """Open a session over the run's rows, with the labels of an earlier run if they are wanted."""
    from pipelines.review.session import ReviewSession

    session = ReviewSession(run, base, reviewer, blind=blind, sample=sample)
    if carry is not None:
        say(session.carry_labels(Path(expand_argument(carry))).describe())
    return session


def _choose_first(session: ReviewSession, trait: str | None, decision: str | None) -> ReviewSession:
    """Set the filters with which a session's page begins, and return the session.

    Raises: CardError: the run has no such trait or decision, or the review is blind.
    """
    given = {"trait": trait, "decision": decision}
    session.chosen = {name: value for name, value in given.items() if value}
    if session.chosen:
        session.select(_select(session, trait, decision))
    return session


def _check_places(run: str, export: str | None) -> str | None:
    """Check the run's folder, and return the path of the page to write."""
    from pipelines.early_checks import check_decided, check_file

    check_decided(run)
    target = None if export is None else expand_argument(export)
    if target is not None:
        check_file(target)
    return target


def _read_in_terminal(session: ReviewSession, selection: RowSelection) -> None:
    from pipelines.cli.terminal_review import review_in_terminal

    with suppress(KeyboardInterrupt):
        review_in_terminal(session, selection)
    _say_end(session)


def _require_alone(others: Mapping[str, str | None], terminal: bool) -> None:
    """Refuse options that choose rows, or another form of the page, for an audit.

    Raises: CardError: one is given.
    """
    given = [name for name, value in others.items() if value is not None]
    if terminal or given:
        raise CardError(
            f"{(*given, '--terminal')[0]} doesn't go with --certify, which shows all drawn items",
            remedy="leave it out; on a terminal: congener certify RUN --labels FILE --ask",
        )


def _open_audit(run: str, sheet: str, folder: Path, reviewer: str) -> AuditSession:
    from pipelines.certify import require_sample
    from pipelines.certifying.checks import list_label_files
    from pipelines.review.audits import AuditSession
    from pipelines.runs.manifest_file import load_manifest

    (path,) = list_label_files([expand_argument(sheet)])
    return AuditSession(run, require_sample(run, load_manifest(run)), path, folder, reviewer)


def _compare(run: str, folder: Path, merge: str | None, as_json: bool) -> None:
    from pipelines.cli.reviewer_agreement import print_agreement
    from pipelines.early_checks import check_file

    target = None if merge is None else expand_argument(merge)
    if target is not None:
        check_file(target)
    print_agreement(run, folder, target, as_json)


def _get_user() -> str:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return str(os.getuid())


def choose_base(run: str, folder: str | None) -> Path:
    """Return the folder of a run's labels and index.

    Raises: CardError: it is inside the run, or the run is on a store and no folder is named.
    """
    from transforms.files.locations import describe_unusable
    from transforms.files.storage import is_local

    if folder is not None:
        base = Path(os.path.abspath(expand_argument(folder)))  # noqa: PTH100 - a link stays one
    elif is_local(run):
        base = Path(f"{os.path.realpath(run)}.review")
    else:
        raise CardError(
            "is on a store, and labels are kept on this machine",
            where=run,
            remedy="name a folder for them with --folder",
        )
    if problem := describe_unusable(str(base)):
        raise CardError(f"can't be a folder here: {problem}", where="--folder")
    if is_local(run) and base.is_relative_to(os.path.realpath(run)):
        raise CardError(
            "is inside the run, whose files mustn't change",
            where=str(base),
            remedy="name a folder elsewhere with --folder",
        )
    return base


def _select(session: ReviewSession, trait: str | None, decision: str | None) -> RowSelection:
    """Return the selection of the options; a blind one is by a trait alone, in random order."""
    from pipelines.review.queries import parse_selection

    given = {"trait": trait or "", "decision": decision or ""}
    if session.blind:
        given |= {"order": "shuffled", "trait": trait or session.traits[0]}
    return parse_selection(given, session.traits)


def _export(session: ReviewSession, target: str, selection: RowSelection, limit: int) -> None:
    from pipelines.review.export import export_rows

    session.read_texts()
    count = export_rows(session, selection, limit, Path(target))
    say(f"{format_count(count, 'row')} in {shlex.quote(target)}")
    say("The page holds the rows' text; labels given on it are saved from it.")


class RowFiles(NamedTuple):
    """The files for other tools that are wanted."""

    atlas: Path | None
    scout: Path | None
    scans: Path | None


def _check_row_files(atlas: str | None, scout: str | None, scans: str | None) -> RowFiles:
    """Return the paths of the files for other tools, on this machine.

    Raises: CongenerError: a path can't be written or printed, or is on a store.
    """
    from pipelines.early_checks import check_file, check_output_folder
    from transforms.files.storage import is_local

    paths: list[Path | None] = []
    for option, given, check in (
        ("--atlas", atlas, check_file),
        ("--scout", scout, check_output_folder),
        ("--scans", scans, check_output_folder),
    ):
        path = None if given is None else expand_argument(given)
        if path is not None:
            if not path.isprintable():
                raise CardError(f"{path!r} can't be printed", where=option)
            if not is_local(path):
                raise CardError("must be on this machine", where=f"{option} {path}")
            check(path)
        paths.append(None if path is None else Path(path))
    return RowFiles(*paths)


def _choose_rows(
    session: ReviewSession, trait: str | None, decision: str | None
) -> np.ndarray | None:
    """Return the ledger indexes of the rows that the options choose, or None for all rows."""
    if session.blind or not (trait or decision):
        return None
    return session.select(_select(session, trait, decision))


def _write_row_files(
    session: ReviewSession, files: RowFiles, chosen: np.ndarray | None, trait: str | None
) -> None:
    """Write the files for other tools, and say how they are opened."""
    from pipelines.review.row_files import write_points, write_transcripts
    from pipelines.review.scan_files import write_scan

    if files.atlas is not None:
        session.start_reading().join()
        count, of = write_points(session, files.atlas, chosen=chosen)
        own = shlex.quote(str(files.atlas))
        say(f"{count:,} of {format_count(of, 'row')} in {own}")
        say(f"open it: embedding-atlas {own} --text text --x x --y y")
    if files.scout is not None:
        count, of = write_transcripts(session, files.scout, chosen=chosen)
        own = shlex.quote(str(files.scout))
        say(f"{count:,} of {format_count(of, 'row')} in {own}")
        say(f"open it: scout view -T {own}")
    if files.scans is not None:
        counts = write_scan(session, files.scans, chosen=chosen, trait=trait)
        own = shlex.quote(str(files.scans))
        found = f"{format_count(sum(counts.values()), 'finding')} of"
        say(f"{found} {format_count(len(counts), 'trait')} in {own}")
        beside = "" if files.scout is None else f" -T {shlex.quote(str(files.scout))}"
        say(f"open it: scout view --scans {own}{beside}")
    say("The files hold the rows' text.")


def _serve(session: Session, host: str, port: int, open_page: bool, quiet: bool) -> None:
    """Serve the page until Ctrl-C, and then say where the labels are."""
    import webbrowser

    from pipelines.review.audits import AuditSession
    from pipelines.review.guard import is_loopback, require_host
    from pipelines.review.server import ReviewServer

    address = require_host(host)
    with ReviewServer(session, address, port) as server:
        say(f"review: {server.url}")
        if not quiet:
            say("Only a browser with this address gets in. Ctrl-C ends the review.")
            if not is_loopback(address):
                say("Other machines can reach it, and nothing is encrypted on the way.")
        if not isinstance(session, AuditSession):
            session.start_reading()
        if open_page:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    _say_end(session)


def _say_end(session: Session) -> None:
    """Say where the labels are, and what to do with them."""
    from pipelines.review.endings import count_verdicts
    from pipelines.review.session import ReviewSession

    counts = count_verdicts(session.book.list_labels().values())
    count = len(session.book)
    own, run = shlex.quote(str(session.book.path)), shlex.quote(session.run)
    each = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    say(f"\n{format_count(count, 'label')} in {own}{f' ({each})' if count else ''}")
    if count and isinstance(session, ReviewSession):
        say(f"next: congener traits eval TRAIT --run {run} --labels {own}")
        say("(it adds rows to read to a second file, and reads both)")
        say(f"or take back what you labelled false: congener release {run} --reviews {own} -o RUN2")
    elif count:
        say(f"next: congener certify {run} --labels {own}")
