"""`congener judge`: limits, output and errors."""

import json

import pytest

from tests.support.endpoints import complete, serve

OPINION = json.dumps({"quote": "heron", "probability": 0.9})


@pytest.fixture
def server():
    """Serve the same opinion on every row."""
    with serve(lambda *_: complete(OPINION)) as found:
        yield found


def test_rows_are_judged_and_the_next_command_is_named(congener, run, server, tmp_path):
    """The table counts labels, and the label file can be used by `traits eval`."""
    labels = str(tmp_path / "l.jsonl")
    given = ("judge", str(run[0]), "--endpoint", server.url, "--model", "m", "--labels", labels)
    code, out, err = congener(*given, "--max-rows", "100", "--prices", "1", "2")
    assert code == 0, err
    assert "heron" in out
    assert "cost 0.0" in out
    assert "congener traits eval" in out
    assert "rows judged" in err
    code, out, err = congener(
        "traits", "eval", "heron", "--run", str(run[0]), "--labels", labels, "--json"
    )
    assert code == 0, err
    code, out, _ = congener(*given, "--max-rows", "1", "--json", "--quiet")
    assert code == 0
    (trait,) = json.loads(out)["traits"]
    assert trait["labelled_before"] == trait["rows"] > 0
    assert trait["not_asked"] == 0


def test_mistakes_are_refused(congener, run, tmp_path):
    """A missing limit, an unknown trait and a refusing endpoint have their exit codes."""
    labels = str(tmp_path / "l.jsonl")
    given = ["judge", str(run[0]), "--model", "m", "--labels", labels, "--endpoint", "http://a/v1"]
    code, _, err = congener(*given)
    assert code == 2
    assert "a limit is needed" in err
    code, _, err = congener(*given, "--max-rows", "5", "--trait", "herons")
    assert code == 2
    assert "did you mean 'heron'?" in err
    code, _, err = congener(*given, "--max-cost", "5")
    assert code == 2
    assert "--prices" in err
