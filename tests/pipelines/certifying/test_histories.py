"""The history of a run's statements: it grows, it is a chain, and it is put in words."""

from __future__ import annotations

import json

import pytest

from pipelines.certify import certify_run
from pipelines.certifying.answers import read_answers
from pipelines.certifying.histories import (
    append_statement,
    describe_history,
    ends_with,
    read_history,
    record_statement,
)
from pipelines.certifying.records import read_certificate, write_certificate
from pipelines.certifying.statements import state
from pipelines.verify import verify_run
from schemas.errors import RunError
from schemas.runs import AUDIT_HISTORY
from schemas.shares import format_bound
from tests.support.certificates import draw_small, fill_sheet, tell_truth


@pytest.fixture
def certificates(run, tmp_path):
    """Draw a sample, and return the run's folder, a bad certificate and a good one."""
    sample = draw_small(run[0], tmp_path).sample
    found = []
    for rule in (lambda item: True, tell_truth):
        path = fill_sheet(tmp_path / "audit.jsonl", sample, rule)
        found.append(state(run[1], sample, read_answers([path], sample)))
    return str(run[0]), *found


def test_a_run_without_statements_has_no_history(run):
    """No file is needed."""
    assert read_history(str(run[0])) == ()
    assert describe_history(None, ()) is None


def test_each_new_statement_appends_a_line(certificates):
    """Earlier bytes stay, and the new line names the digest of the one before."""
    run, bad, good = certificates
    append_statement(run, bad, "ada")
    before = open_history(run)
    append_statement(run, good, "eve")
    assert open_history(run).startswith(before)
    first, second = read_history(run)
    assert (first.number, second.number) == (1, 2)
    assert (first.previous, second.previous) == (None, first.digest)
    assert (first.operator, second.operator) == ("ada", "eve")
    assert first.bound == bad.together.decisive > second.bound
    assert second.raters == ("audit",)
    assert second.labels == good.labels
    assert str(second.date).endswith("+00:00")


def open_history(run):
    """Return the bytes of a run's history."""
    with open(f"{run}/{AUDIT_HISTORY}", "rb") as file:
        return file.read()


def test_the_same_statement_again_appends_nothing(certificates):
    """A retry changes no byte; going back to an earlier statement is a new one."""
    run, bad, good = certificates
    for certificate in (bad, bad, good):
        append_statement(run, certificate, "ada")
    before = open_history(run)
    append_statement(run, good, "somebody else")
    assert open_history(run) == before
    append_statement(run, bad, "ada")
    assert [line.certificate for line in read_history(run)] == [bad.digest, good.digest, bad.digest]


def test_a_certificate_without_a_line_gets_one(certificates):
    """A statement from before the history, or whose line was removed, isn't forgotten."""
    run, bad, good = certificates
    write_certificate(run, bad, [])
    append_statement(run, good, "ada")
    first, second = read_history(run)
    assert (first.date, first.operator, first.certificate) == (None, None, bad.digest)
    assert second.certificate == good.digest


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data.replace(b'"ada"', b'"eve"', 1), "line 1 doesn't match its own"),
        (lambda data: data[data.index(b"\n") + 1 :], "line 1 doesn't follow"),
        (lambda data: data[:-1], "line 2 doesn't match its own"),
        (lambda data: data[:-9], "line 2"),
        (lambda data: data + b"\n", "line 3"),
        (lambda data: b"{}\n", "line 1"),
        (lambda data: b"\xff\n", "line 1"),
        (lambda data: data.replace(b": ", b":"), "line 1 doesn't match its own"),
    ],
    ids=["edited", "first", "newline", "cut", "blank", "empty", "bytes", "respelled"],
)
def test_damage_is_named_and_nothing_is_appended(certificates, change, problem):
    """A changed, removed or cut line is an error, for readers and for the next statement."""
    run, bad, good = certificates
    append_statement(run, bad, "ada")
    append_statement(run, good, "ada")
    damaged = change(open_history(run))
    with open(f"{run}/{AUDIT_HISTORY}", "wb") as file:
        file.write(damaged)
    with pytest.raises(RunError, match=rf"history\.jsonl {problem}"):
        read_history(run)
    with pytest.raises(RunError, match="history"):
        append_statement(run, bad, "ada")
    assert open_history(run) == damaged


def test_a_history_ends_with_one_certificate(certificates):
    """Digest and numbers of the last line are the certificate's."""
    run, bad, good = certificates
    assert not ends_with((), bad)
    append_statement(run, bad, "ada")
    append_statement(run, good, "ada")
    history = read_history(run)
    assert ends_with(history, good)
    assert not ends_with(history, bad)
    assert ends_with(history[:1], bad)


def test_earlier_statements_are_named(certificates):
    """From the second statement on, the sentence has the number and the first bound."""
    _, bad, good = certificates
    one = record_statement(bad, [], "2026-11-27", "ada")
    two = record_statement(good, [one], "2026-11-28", "ada")
    assert describe_history(bad, [one]) is None
    said = f"said at most {format_bound(bad.together.decisive)}."
    assert describe_history(good, [one, two]) == (
        f"Statement 2 of 2 about this run; the first {said}"
    )
    assert "run congener verify" in str(describe_history(good, [one]))
    assert describe_history(None, [one]) == (
        f"1 statement was made about the run before; the last {said}"
    )


def test_a_new_draw_keeps_the_history(run, tmp_path):
    """The statement about another sample says that the first was about an earlier draw."""
    folder = str(run[0])
    sample = draw_small(run[0], tmp_path).sample
    certify_run(folder, [fill_sheet(tmp_path / "audit.jsonl", sample, lambda item: True)])
    (first,) = read_history(folder)
    (tmp_path / "audit.jsonl").unlink()
    sample = draw_small(run[0], tmp_path, seed="dice", restart=True).sample
    assert read_certificate(folder) is None
    assert read_history(folder) == (first,)
    assert verify_run(folder) == []
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(folder, [path], operator=" ada ")
    assert found.history[0] == first
    assert found.history[1].operator == "ada"
    words = describe_history(found.certificate, found.history)
    assert str(words).startswith("Statement 2 of 2 about this run; the first, about an earlier")
    assert verify_run(folder) == []


def test_lines_have_no_text_of_the_corpus(certificates):
    """A line is one line of JSON with names, numbers and digests."""
    run, bad, _ = certificates
    append_statement(run, bad, "A\u2028da\n")
    (line,) = open_history(run).splitlines()
    fields = json.loads(line)
    assert next(iter(fields)) == "digest"
    assert fields["operator"] == "A\u2028da\n"
    assert "heron stood" not in line.decode()
