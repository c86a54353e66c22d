"""What `congener verify` checks of an audit: the draw, the digests, the statements and history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.certifying.answers import digest_answers
from pipelines.certifying.draws import build_sample
from pipelines.certifying.histories import ends_with, read_history
from pipelines.certifying.populations import read_drawn_from
from pipelines.certifying.records import read_certificate, read_sample, read_stored_answers
from pipelines.certifying.statements import state
from pipelines.runs.shard_checks import Finding
from pipelines.version import name_code
from schemas.certificates import AuditSample
from schemas.errors import CardError, RunError
from schemas.manifests import Manifest
from schemas.runs import AUDIT_FILES, AUDIT_HISTORY, AUDIT_SAMPLE, AUDIT_STATEMENT
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


def describe_audit_check(run: str, statement: str | None = None) -> str:
    """Say whether the certificate was compared, or why not, and with which recorded statement."""
    found = _describe_records(run)
    return f"{found}, its history has the recorded statement" if statement else found


def _describe_records(run: str) -> str:
    certificate = read_certificate(run)
    if certificate is None:
        return "none" if read_sample(run) is None else "sample drawn, nothing stated yet"
    if certificate.code != name_code():
        return "digests compared (stated by another version)"
    return "compared"


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
