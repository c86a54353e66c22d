"""The history of a run's statements: a new one appends a line, and none is ever removed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pydantic import ValidationError

from pipelines.certifying.records import read_certificate
from schemas.certificates import CarriedRows, Certificate, PastStatement
from schemas.errors import InputError, RunError
from schemas.notices import choose_form, format_count
from schemas.problems import describe_problems
from schemas.runs import AUDIT_HISTORY
from schemas.shares import format_bound
from transforms.files import storage


def read_history(run: str) -> tuple[PastStatement, ...]:
    """Read all statements that were made about a run, the first one first.

    Raises: RunError: the file can't be read, or a line was changed, moved or removed.
    """
    uri = storage.join(run, AUDIT_HISTORY)
    if not storage.exists(uri):
        return ()
    try:
        data = storage.read_bytes(uri)
    except InputError as error:
        raise _report_damage(run, error.problem) from error
    history: list[PastStatement] = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        history.append(_parse_line(run, line, number, history))
    return tuple(history)


def _parse_line(
    run: str, line: bytes, number: int, before: Sequence[PastStatement]
) -> PastStatement:
    """Return the statement of a line that follows the lines before it.

    Raises: RunError: the line was changed, or another one was removed or moved.
    """
    place = f"line {number}"
    try:
        found = PastStatement.model_validate_json(line)
    except ValidationError as error:
        raise _report_damage(run, f"{place} {describe_problems(error)}") from error
    if found.digest != found.compute_digest() or found.to_line() != line:
        raise _report_damage(run, f"{place} doesn't match its own digest: it was edited")
    if (found.number, found.previous) != (number, before[-1].digest if before else None):
        raise _report_damage(run, f"{place} doesn't follow the line before: one was removed")
    return found


def _report_damage(run: str, problem: str) -> RunError:
    return RunError(
        f"{AUDIT_HISTORY} {problem[:300]}",
        where=run,
        remedy="restore it from a copy: the run's earlier statements are in it",
    )


def append_statement(run: str, certificate: Certificate, operator: str | None) -> None:
    """Append a certificate to the history of a run, unless it is the last one there.

    A certificate that the run has without a line of its own gets one first, without a date.

    Raises: RunError: the history or the run's certificate is damaged.
    Raises: StorageError: the file can't be written.
    """
    before = read_history(run)
    history, earlier = list(before), read_certificate(run)
    if earlier is not None and all(line.certificate != earlier.digest for line in history):
        history.append(record_statement(earlier, history, None, None))
    if not history or history[-1].certificate != certificate.digest:
        date = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        history.append(record_statement(certificate, history, date, operator))
    if len(history) > len(before):
        data = b"".join(line.to_line() for line in history)
        storage.write_bytes(storage.join(run, AUDIT_HISTORY), data)


def record_statement(
    certificate: Certificate,
    before: Sequence[PastStatement],
    date: str | None,
    operator: str | None,
) -> PastStatement:
    """Return the line of a certificate that follows other lines."""
    residual, carried = certificate.together.residual, certificate.carried
    return PastStatement(
        number=len(before) + 1,
        date=date,
        operator=operator,
        raters=certificate.raters,
        traits=tuple(item.trait or "" for item in certificate.traits),
        rows=residual.rows,
        read=residual.read,
        counted=residual.counted,
        bound=certificate.together.decisive,
        risk=certificate.risk,
        at_most=certificate.at_most,
        manifest=certificate.manifest,
        sample=certificate.sample,
        labels=certificate.labels,
        certificate=certificate.digest,
        previous=before[-1].digest if before else None,
        carried=carried and carried.statement,
        added=residual.carried and residual.carried.added,
    ).seal()


def ends_with(history: Sequence[PastStatement], certificate: Certificate) -> bool:
    """Return whether the last statement of a history is a certificate's, with its numbers."""
    if not history:
        return False
    *before, last = history
    return record_statement(certificate, before, last.date, last.operator) == last


def describe_history(
    certificate: Certificate | None, history: Sequence[PastStatement]
) -> str | None:
    """Say in a sentence which statements came before, or return None if there were none."""
    if certificate is None:
        return _describe_earlier(history) if history else None
    if not ends_with(history, certificate):
        return "The history of statements doesn't end with this one; run congener verify."
    if len(history) == 1:
        return None
    first = history[0]
    draw = "" if first.sample == certificate.sample else ", about an earlier draw,"
    return (
        f"Statement {len(history):,} of {len(history):,} about this run; "
        f"the first{draw} said at most {format_bound(first.bound)}."
    )


def _describe_earlier(history: Sequence[PastStatement]) -> str:
    count, verb = len(history), choose_form(len(history), "was", "were")
    return (
        f"{format_count(count, 'statement')} {verb} made about the run before; "
        f"the last said at most {format_bound(history[-1].bound)}."
    )


def describe_carried(found: Certificate) -> str:
    """Say in sentences whose certificate was carried over, or return an empty text."""
    carried, rows = found.carried, found.together.residual.carried
    if carried is None or rows is None:
        return ""
    earlier = (
        ""
        if carried.number == 1
        else f" It is statement {carried.number:,} about that run; the first said at most "
        f"{format_bound(carried.first)}."
    )
    show, kept = choose_form(rows.decisive, "shows", "show"), format_count(rows.rows, "kept row")
    return (
        f"Carried over from the certificate of run {carried.run_id}: at most {rows.decisive:,} of "
        f"its {kept} {show} a trait{_describe_gone(rows)}, and {_describe_added(rows)}. People "
        f"read {format_count(found.together.residual.read, 'kept row')} of that run.{earlier}"
    )


def _describe_gone(rows: CarriedRows) -> str:
    """Say how many rows in which raters saw a trait the later run doesn't keep, if any."""
    if not rows.gone:
        return ""
    return f", this run doesn't keep {rows.gone:,} in which raters saw one"


def _describe_added(rows: CarriedRows) -> str:
    """Say how many kept rows are new, and how many of them count as showing a trait."""
    if not rows.added:
        return "this run keeps no other row"
    verb = choose_form(rows.added, "wasn't", "weren't")
    read, count, missed = "", choose_form(rows.added, "counts", "count"), ""
    if rows.added_ruled_out and rows.most is None:
        read = f", people saw no trait in {rows.added_ruled_out:,} of them"
        count = f"the other {rows.new:,} {choose_form(rows.new, 'counts', 'count')}"
    elif rows.added_ruled_out:
        missed = f", also {rows.added_ruled_out:,} in which people saw none and may have missed it"
    return (
        f"{format_count(rows.added, 'kept row')} of this run {verb} among them with the same "
        f"text unmasked{read}, and {count} as showing every trait{missed}"
    )
