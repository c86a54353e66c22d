"""The readers against two thousand damaged files, and against earlier findings."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.corpora import ShardLimits
from tests.faults.fuzzing import Case, Outcome, draw_case, fuzz, run_case

pytestmark = pytest.mark.faults

CASES = 2_000
SEED = 20_260


def test_damaged_files_are_refused_or_read_whole():
    """A damaged file's rows are read or rejected, or the file is refused."""
    outcomes = dict(fuzz(SEED, 0, CASES))
    kinds = Counter(outcome.kind for outcome in outcomes.values())
    print(f"{len(outcomes)} cases, seed {SEED}: {dict(kinds)}")
    assert list(outcomes) == list(range(CASES))
    assert {
        number: outcome
        for number, outcome in outcomes.items()
        if outcome.kind not in ("read", "refused")
    } == {}
    assert min(kinds["read"], kinds["refused"]) > CASES // 10, "both outcomes are tried"


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=st.randoms(use_true_random=False))
def test_damaged_files_by_hypothesis(tmp_path, draw):
    """Hypothesis draws damaged files, which are read or refused too."""
    outcome = run_case(draw_case(draw), tmp_path)
    assert outcome.kind in ("read", "refused"), outcome.detail


FOUND = {
    "messages with a role and no content": (
        "x.jsonl",
        b'{"conversations": [{"from": "gpt", "value": "a", "role": null}]}\n',
    ),
    "a prompt of another kind": (
        "x.jsonl",
        b'{"prompt": [null, {"role": "user"}], "chosen": "a", "rejected": "b"}\n',
    ),
}


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
def test_what_was_found_stays_mended(tmp_path, found):
    """Files that once broke the readers are read or refused."""
    name, data = found
    assert run_case(Case(name, data, (), ShardLimits(), 1), tmp_path).kind in ("read", "refused")


def test_a_fault_is_seen(tmp_path, monkeypatch):
    """The harness reports lost and altered rows, unexpected errors and slow cases."""
    good = Case("x.jsonl", b'{"text": "a"}\n{"text": "b"}\n', (), ShardLimits(), 2)
    assert run_case(good, tmp_path).kind == "read"
    assert run_case(good._replace(rows=3), tmp_path).kind == "lost"
    with monkeypatch.context() as patch:
        patch.setattr("tests.faults.fuzzing.append_field", lambda line, *_: line)
        altered = run_case(good, tmp_path)
        assert (altered.kind, altered.detail) == ("lost", "rows [0, 1] are altered")
        patch.undo()
        patch.setattr("tests.faults.fuzzing.unpack_lines", lambda *_: b"{}\n{}\n")
        assert run_case(good, tmp_path).detail == "rows [0, 1] are altered"
    assert run_case(good._replace(data=b""), tmp_path) == Outcome(
        "refused", "InputError", pytest.approx(0, abs=1)
    )
    monkeypatch.setattr("tests.faults.fuzzing.SECONDS_PER_MEGABYTE", 0.0)
    assert run_case(good, tmp_path).kind == "slow"
    monkeypatch.setattr("tests.faults.fuzzing.survey", lambda *_: 1 / 0)
    monkeypatch.setattr("tests.faults.fuzzing.SECONDS_PER_MEGABYTE", 1.0)
    assert run_case(good, tmp_path).kind == "raised"
