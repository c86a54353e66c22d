"""The files of an audit in a run's folder: the sample, the answers and the certificate."""

from __future__ import annotations

import io
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from pipelines.certifying.answers import AuditAnswer, encode_answers, parse_label
from pipelines.label_files import parse_line
from pipelines.runs.manifest_file import load_manifest
from schemas.certificates import AuditSample, Certificate, SealedRecord
from schemas.errors import CardError, InputError, RunError, StorageError
from schemas.manifests import Manifest
from schemas.problems import describe_problems
from schemas.runs import AUDIT_LABELS, AUDIT_SAMPLE, AUDIT_STATEMENT
from schemas.swaps import PARENT_FOLDER
from transforms.files import storage

T = TypeVar("T", bound=SealedRecord)


def read_sample(run: str) -> AuditSample | None:
    """Read the sample that was drawn from a run, or return None without one.

    Raises: RunError: the file can't be read.
    """
    return _read_record(run, AUDIT_SAMPLE, AuditSample)


def is_stated(run: str) -> bool:
    """Return whether a run has the file of a certificate, intact or not."""
    return storage.exists(storage.join(run, AUDIT_STATEMENT))


def read_certificate(run: str) -> Certificate | None:
    """Read a run's certificate, or return None without one.

    Raises: RunError: the file can't be read.
    """
    return _read_record(run, AUDIT_STATEMENT, Certificate)


def _read_record(run: str, path: str, kind: type[T]) -> T | None:
    uri = storage.join(run, path)
    if not storage.exists(uri):
        return None
    try:
        record = kind.model_validate_json(storage.read_bytes(uri))
    except ValidationError as error:
        raise _report_damage(path, describe_problems(error), run) from error
    except InputError as error:
        raise _report_damage(path, error.problem, run) from error
    if record.digest != record.compute_digest():
        raise _report_damage(path, "doesn't match its own digest: it was edited", run)
    return record


def _report_damage(path: str, problem: str, run: str) -> RunError:
    return RunError(
        f"{path} {problem[:300]}",
        where=run,
        remedy="restore it from a copy, or draw a new sample: congener certify --draw N --restart",
    )


def write_sample(run: str, sample: AuditSample, *, is_larger: bool = False) -> None:
    """Write a sample beside a run, and remove what was stated from another one.

    What was stated from a part of a sample that `is_larger` now stays until the next statement.

    Raises: StorageError: a file can't be written.
    """
    for path in () if is_larger else (AUDIT_STATEMENT, AUDIT_LABELS):
        storage.remove_tree(storage.join(run, path))
    storage.write_bytes(storage.join(run, AUDIT_SAMPLE), sample.to_bytes())


def write_certificate(
    run: str, certificate: Certificate, answers: list[AuditAnswer] | None
) -> None:
    """Write a certificate and the answers behind it, which come first.

    A certificate that was carried over has no answers of its own (None).

    Raises: StorageError: a file can't be written.
    """
    if answers is not None:
        storage.write_bytes(storage.join(run, AUDIT_LABELS), encode_answers(answers))
    storage.write_bytes(storage.join(run, AUDIT_STATEMENT), certificate.to_bytes())


def read_stored_answers(run: str, sample: AuditSample) -> list[AuditAnswer]:
    """Read the answers that a run's folder holds.

    Raises: RunError: the file is missing or damaged.
    """
    uri, answers = storage.join(run, AUDIT_LABELS), []
    try:
        lines = io.StringIO(storage.read_bytes(uri).decode())
        for number, line in enumerate(lines, 1):
            fields = parse_line(line, f"{AUDIT_LABELS} line {number}")
            said = parse_label(fields, sample.traits, AUDIT_LABELS)
            answers.append(AuditAnswer(str(fields["id"]), str(fields["rater"]), *said))
    except (InputError, CardError, KeyError, ValueError) as error:
        raise _report_damage(AUDIT_LABELS, f"can't be read: {error}", run) from error
    return answers


class CertifiedAncestor(NamedTuple):
    """The folder of an earlier run that was certified; `is_stated` is False for a bare sample."""

    folder: str
    is_stated: bool


def find_certified_ancestor(manifest: Manifest) -> CertifiedAncestor | None:
    """Find the nearest run before this one that has a certificate or a sample, if it is there.

    Only runs that `decide` and `release` decided again are followed.
    """
    seen: set[str] = set()
    while manifest.circumstances.get("decided_from") and manifest.digest not in seen:
        seen.add(manifest.digest)
        folder = manifest.circumstances.get(PARENT_FOLDER)
        if not isinstance(folder, str):
            return None
        try:
            for path in (AUDIT_STATEMENT, AUDIT_SAMPLE):
                if storage.exists(storage.join(folder, path)):
                    return CertifiedAncestor(folder, path == AUDIT_STATEMENT)
            manifest = load_manifest(folder)
        except (InputError, RunError, StorageError):
            return None  # the folder can't be reached, or holds no run any more
    return None


def require_current(run: str, sample: AuditSample, manifest: Manifest) -> None:
    """Refuse a sample of another run.

    Raises: RunError: the sample was drawn from a run with another manifest.
    """
    if sample.manifest != manifest.digest:
        raise RunError(
            f"{AUDIT_SAMPLE} was drawn from another run, with the digest {sample.manifest[:16]}",
            where=run,
            remedy="draw a new sample: congener certify RUN --draw N --restart",
        )
