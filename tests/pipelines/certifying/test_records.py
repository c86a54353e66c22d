"""The files of an audit in a run's folder."""

from __future__ import annotations

import json

import pytest

from pipelines.certifying.answers import AuditAnswer, read_answers
from pipelines.certifying.records import (
    find_certified_ancestor,
    is_stated,
    read_certificate,
    read_sample,
    read_stored_answers,
    require_current,
    write_certificate,
    write_sample,
)
from pipelines.certifying.statements import state
from schemas.errors import RunError
from schemas.runs import AUDIT_LABELS, AUDIT_SAMPLE, AUDIT_STATEMENT, MANIFEST
from tests.support.certificates import (
    certify_small,
    decide_small,
    draw_small,
    fill_sheet,
    keep_rows,
    tell_truth,
)


@pytest.fixture
def stated(run, tmp_path):
    """Write a certificate, and return the run's folder, the sample and the answers."""
    sample = draw_small(run[0], tmp_path).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    answers = read_answers([path], sample)
    write_certificate(str(run[0]), state(run[1], sample, answers), answers)
    return run[0], sample, answers


def test_what_is_written_is_read(stated):
    """The sample, the answers and the certificate come back as they were."""
    folder, sample, answers = stated
    assert read_sample(str(folder)) == sample
    assert read_stored_answers(str(folder), sample) == answers
    found = read_certificate(str(folder))
    assert found is not None
    assert found.sample == sample.digest
    assert all((folder / path).is_file() for path in (AUDIT_SAMPLE, AUDIT_LABELS, AUDIT_STATEMENT))


def test_a_run_without_an_audit_has_no_files(run):
    """Nothing was drawn, so nothing is read."""
    assert read_sample(str(run[0])) is read_certificate(str(run[0])) is None


@pytest.mark.parametrize("path", [AUDIT_SAMPLE, AUDIT_STATEMENT])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data.replace(b"0.05", b"0.06"), "doesn't match its own digest"),
        (lambda data: data[:-30], "Invalid JSON|EOF"),
        (lambda data: b"{}", "missing|required"),
        (lambda data: data.replace(b'"risk"', b'"risks"'), "risks"),
    ],
    ids=["edited", "cut", "empty", "renamed"],
)
def test_damaged_files_are_named(stated, path, change, problem):
    """An edited or damaged file is an error that names it, with what to do."""
    folder, _, _ = stated
    (folder / path).write_bytes(change((folder / path).read_bytes()))
    read = read_sample if path == AUDIT_SAMPLE else read_certificate
    with pytest.raises(RunError, match=path) as caught:
        read(str(folder))
    assert "--restart" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "line", ["what", "{}", json.dumps({"id": "00001", "rater": "a", "label": "gull"})]
)
def test_damaged_answers_are_named(stated, line):
    """The run's own answers are checked as well."""
    folder, sample, _ = stated
    (folder / AUDIT_LABELS).write_text(line + "\n")
    with pytest.raises(RunError, match=r"labels\.jsonl can't be read"):
        read_stored_answers(str(folder), sample)


def test_missing_answers_are_named(stated):
    """A certificate without its answers can't be checked."""
    folder, sample, _ = stated
    (folder / AUDIT_LABELS).unlink()
    with pytest.raises(RunError, match=r"labels\.jsonl can't be read"):
        read_stored_answers(str(folder), sample)


def test_a_new_sample_forgets_what_was_stated(stated):
    """A certificate never stays beside a sample that it isn't about."""
    folder, sample, _ = stated
    write_sample(str(folder), sample)
    assert read_certificate(str(folder)) is None
    assert not is_stated(str(folder))
    assert not (folder / AUDIT_LABELS).exists()


def test_a_larger_sample_keeps_what_was_stated(stated):
    """What was stated from its first rows is still right."""
    folder, sample, _ = stated
    before = read_certificate(str(folder))
    write_sample(str(folder), sample, is_larger=True)
    assert is_stated(str(folder))
    assert read_certificate(str(folder)) == before


def test_a_sample_of_another_run_is_refused(run, stated):
    """The manifest's digest decides."""
    folder, sample, _ = stated
    require_current(str(folder), sample, run[1])
    with pytest.raises(RunError, match="was drawn from another run"):
        require_current(str(folder), sample, run[1].model_copy(update={"digest": "ab" * 32}))


def test_answers_are_stored_in_order(stated):
    """Answers are stored by item and rater, so that the bytes don't depend on the files."""
    _, _, answers = stated
    assert answers == sorted(answers, key=lambda item: (item.id, item.rater))
    assert isinstance(answers[0], AuditAnswer)


def test_the_nearest_certified_run_is_found(run, tmp_path):
    """Decided runs name the run before, so a certificate or a sample is found behind several."""
    one, two = tmp_path / "one", tmp_path / "two"
    decide_small(run[0], one, keep_rows(1))
    manifest = decide_small(one, two, keep_rows(1))
    assert find_certified_ancestor(run[1]) is None
    assert find_certified_ancestor(manifest) is None
    draw_small(run[0], tmp_path)
    assert find_certified_ancestor(manifest) == (str(run[0]), False)
    certify_small(run[0], tmp_path)
    assert find_certified_ancestor(manifest) == (str(run[0]), True)
    (one / MANIFEST).unlink()
    assert find_certified_ancestor(manifest) is None
    for folder in ("nowhere://bucket/run", None):
        circumstances = {**manifest.circumstances, "parent": folder}
        moved = manifest.model_copy(update={"circumstances": circumstances})
        assert find_certified_ancestor(moved) is None
