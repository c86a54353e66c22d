"""`congener doctor`: its table, its JSON and its exit code."""

import json

import pytest

from pipelines import doctor
from pipelines.doctor import Check


@pytest.fixture
def checks(monkeypatch):
    """Replace the checks with three fixed results."""
    found = [
        Check("python", True, "3.11"),
        Check("extra gcp", None, "pip install 'congener[gcp]'"),
        Check("faiss", False, "missing"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    return found


def test_a_missing_package_exits_with_two(congener, checks):
    """A missing part has a line with `MISSING`, and the exit code is 2."""
    code, out, _ = congener("doctor")
    assert code == 2
    assert [line.split()[0] for line in out.splitlines()] == ["ok", "-", "MISSING"]
    assert "congener[gcp]" in out


def test_checks_in_json(congener, checks):
    """The results and the exit code are the same with --json."""
    code, out, _ = congener("doctor", "--json")
    assert code == 2
    assert json.loads(out) == [check._asdict() for check in checks]


def test_a_healthy_environment_exits_with_zero(congener, checks):
    """Without faults, the exit code is 0, even if optional parts are missing."""
    checks.pop()
    assert congener("doctor")[0] == 0
