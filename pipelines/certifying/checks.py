"""What `congener verify` checks of an audit: the draw, the digests, the statements and history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.certifying.answers import digest_answers
from pipelines.certifying.carrying import (
    Origin,
    carry_certificate,
    describe_origin,
    restate_bound,
)
from pipelines.certifying.draws import build_sample
from pipelines.certifying.histories import ends_with, read_history
from pipelines.certifying.populations import read_drawn_from
from pipelines.certifying.records import read_certificate, read_sample, read_stored_answers
from pipelines.certifying.statements import state
from pipelines.runs.alterations import require_unaltered
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.shard_checks import Finding
from pipelines.version import name_code
from schemas.certificates import AuditSample, CarriedFrom, Certificate, PastStatement
from schemas.errors import CardError, RunError
from schemas.manifests import Manifest
from schemas.runs import (
    AUDIT_FILES,
    AUDIT_HISTORY,
    AUDIT_LABELS,
    AUDIT_SAMPLE,
    AUDIT_STATEMENT,
    MANIFEST,
)
from transforms.files import storage


def redraw(run: str, manifest: Manifest, sample: AuditSample) -> AuditSample:
    """Draw a sample again from its seed, its settings and the run."""
    return build_sample(
        manifest,
        read_drawn_from(run, manifest, sample),
        sample.traits,
        sample.pool,
        sample.blocks,
        sample.seed,
        sample.risk,
        sample.at_most,
    )


def check_certificate(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that a run's sample was drawn as it says, and that its certificate follows from it."""
    there = [path for path in AUDIT_FILES if storage.exists(storage.join(run, path))]
    if not there:
        return
    for path in there:
        if storage.find_link(run, path):
            yield Finding(path, "is a link, so its content isn't part of the run")
            return
    try:
        yield from _check_records(run, manifest)
    except RunError as error:
        yield Finding(AUDIT_SAMPLE.split("/")[0], error.problem)


def check_statement(run: str, recorded: str | None) -> Iterator[Finding]:
    """Check that the history has the line whose digest was recorded elsewhere, or its first digits.

    The digest of the run's certificate does as well, because the other checks compare it with the
    last line. That of an earlier certificate doesn't: the run no longer holds it.

    Without the line, nobody sees that the whole folder of the certificate was removed.
    """
    if recorded is None:
        return
    statement = recorded.lower()
    try:
        history, certificate = read_history(run), read_certificate(run)
    except RunError:  # the other checks name the damage
        return
    known = [line.digest for line in history]
    if certificate is not None and ends_with(history, certificate):
        known.append(certificate.digest)
    if not any(digest.startswith(statement) for digest in known):
        yield Finding(
            AUDIT_HISTORY,
            f"has no statement with the digest {statement}, which was recorded: the certificate "
            "was removed or replaced",
        )


def _check_records(run: str, manifest: Manifest) -> Iterator[Finding]:
    sample, certificate, history = read_sample(run), read_certificate(run), read_history(run)
    if certificate is not None and certificate.carried is not None:
        yield from _check_carried(run, manifest, certificate, history)
        return
    if sample is None:
        yield Finding(AUDIT_SAMPLE, "is missing")
        return
    if sample.manifest != manifest.digest:
        yield Finding(AUDIT_SAMPLE, "was drawn from a run with another manifest")
        return
    if redraw(run, manifest, sample) != sample:
        yield Finding(AUDIT_SAMPLE, "isn't what its seed draws from this run: rows were exchanged")
        return
    if certificate is None:
        return
    answers = read_stored_answers(run, sample)
    sample = sample.find_part(certificate.sample) or sample
    for name, stated, found in (
        ("manifest", certificate.manifest, manifest.digest),
        ("sample", certificate.sample, sample.digest),
        ("labels", certificate.labels, digest_answers(answers)),
    ):
        if stated != found:
            yield Finding(AUDIT_STATEMENT, f"its digest of the {name} is {stated}, not {found}")
            return
    expected = state(manifest, sample, answers, certificate.at_most)
    if certificate.code == name_code() and expected != certificate:
        yield Finding(AUDIT_STATEMENT, "isn't what the labels state about this run")
    elif not ends_with(history, certificate):
        yield Finding(AUDIT_HISTORY, "doesn't end with the certificate: a statement is missing")


def find_origin(run: str) -> Origin:
    """Return a run whose rows people read: a certified run, or the one its certificate is from.

    The run's manifest, its files and its certificate are checked.

    Raises: RunError: the run isn't certified, was changed, or isn't where it was.
    """
    manifest, certificate = load_manifest(run), read_certificate(run)
    if certificate is not None and certificate.carried is not None:
        folder = certificate.carried.folder
        if not _holds(folder, certificate.carried):
            raise RunError(
                f"its certificate was carried over from run {certificate.carried.run_id}, which "
                f"isn't in {folder} any more",
                where=run,
                remedy="name the folder with that run: --from FOLDER",
            )
        return find_origin(folder)
    sample, history = read_sample(run), read_history(run)
    if certificate is None or sample is None:
        raise RunError(
            "has no certificate that could be carried over",
            where=run,
            remedy=f"state one first: congener certify {run} --labels FILE",
        )
    for folder in ("ledger", "scores", "clean"):
        require_unaltered(run, manifest, folder)
    for where, problem in check_certificate(run, manifest):
        raise RunError(
            f"{where} {problem}",
            where=run,
            remedy=f"congener verify {run} lists all differences",
        )
    sample = sample.find_part(certificate.sample) or sample
    answers = tuple(read_stored_answers(run, sample))
    return Origin(run, manifest, sample, certificate, history, answers)


def _holds(folder: str, carried: CarriedFrom) -> bool:
    """Return whether a folder still has the run whose certificate was carried over."""
    if not storage.exists(storage.join(folder, MANIFEST)):
        return False
    return load_manifest(folder).digest == carried.manifest


def _check_carried(
    run: str, manifest: Manifest, certificate: Certificate, history: tuple[PastStatement, ...]
) -> Iterator[Finding]:
    """Check the figures of a certificate that was carried over, and the run it is from."""
    for path in (AUDIT_SAMPLE, AUDIT_LABELS):
        if storage.exists(storage.join(run, path)):
            yield Finding(path, "is beside a certificate that was carried over from another run")
            return
    statements = (certificate.together, *certificate.traits)
    bounds = [bound for item in statements for bound in (item.residual, item.clean_removed)]
    if certificate.manifest != manifest.digest:
        yield Finding(AUDIT_STATEMENT, "is about a run with another manifest")
    elif any(bound.carried is None or restate_bound(bound) != bound for bound in bounds):
        yield Finding(AUDIT_STATEMENT, "its bounds don't follow from the rows that it counts")
    elif not ends_with(history, certificate):
        yield Finding(AUDIT_HISTORY, "doesn't end with the certificate: a statement is missing")
    elif certificate.carried is not None and _holds(
        certificate.carried.folder, certificate.carried
    ):
        yield from _check_origin(run, manifest, certificate, certificate.carried)


def _check_origin(
    run: str, manifest: Manifest, certificate: Certificate, carried: CarriedFrom
) -> Iterator[Finding]:
    """Carry a certificate over again, if the run it is from has the same one."""
    if all(line.digest != carried.statement for line in read_history(carried.folder)):
        problem = "has no statement any more from which the certificate was carried over"
        yield Finding(f"{carried.folder}/{AUDIT_HISTORY}", problem)
        return
    try:
        origin = find_origin(carried.folder)
    except RunError as error:
        yield Finding(carried.folder, error.problem)
        return
    if describe_origin(origin) != carried or certificate.code != name_code():
        return
    if carry_certificate(origin, run, manifest, certificate.at_most) != certificate:
        problem = f"isn't what the certificate of run {carried.run_id} says about this run"
        yield Finding(AUDIT_STATEMENT, problem)


def describe_audit_check(run: str, statement: str | None = None) -> str:
    """Say whether the certificate was compared, or why not, and with which recorded statement."""
    found = _describe_records(run)
    return f"{found}, its history has the recorded statement" if statement else found


def _describe_records(run: str) -> str:
    certificate, sample = read_certificate(run), read_sample(run)
    if certificate is None:
        return "none" if sample is None else "sample drawn, nothing stated yet"
    if certificate.carried is not None and not _is_current(certificate.carried):
        return (
            f"figures compared alone (run {certificate.carried.run_id} isn't in "
            f"{certificate.carried.folder} with the same statement any more; to compare its rows, "
            f"carry over again: congener certify {run} --from FOLDER)"
        )
    if certificate.code != name_code():
        return "digests compared (stated by another version)"
    if certificate.carried is not None:
        return f"compared with that of run {certificate.carried.run_id}, from which it is carried"
    if sample is not None and sample.digest != certificate.sample:
        return "compared (rows were added to the draw since)"
    return "compared"


def _is_current(carried: CarriedFrom) -> bool:
    """Return whether the run of a carried certificate is there, with no newer statement."""
    if not _holds(carried.folder, carried):
        return False
    return read_history(carried.folder)[-1].digest == carried.statement


def list_label_files(paths: list[str]) -> list[Path]:
    """Return the paths of label files.

    Raises: CardError: one of them doesn't exist.
    """
    found = [Path(path) for path in paths]
    for path in found:
        if not path.is_file():
            raise CardError(
                "doesn't exist", where=str(path), remedy="name a file that certify --draw wrote"
            )
    return found
