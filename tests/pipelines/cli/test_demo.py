"""`congener demo`: the comparison with the truth."""

from types import SimpleNamespace

import pytest

from pipelines.cli.demo import DemoResult
from pipelines.cli.output import say
from pipelines.demo import DemoOutcome, Remark

OUTCOMES = [
    DemoOutcome("heron", true=4, found=3, right=3),
    DemoOutcome("egret", true=0, found=0, right=0),
    DemoOutcome("any trait", true=4, found=3, right=3),
]


@pytest.fixture
def result() -> DemoResult:
    """Return the result of a demo with two runs."""
    runs = [SimpleNamespace(run_id="1"), SimpleNamespace(run_id="2")]
    return DemoResult("demo", runs, ["demo/chat/report/index.html", "p"], OUTCOMES)


def test_the_comparison_is_a_table(result, capsys):
    """A share of no rows is a dash, and suggested commands name the demo's folder."""
    for part in result.render():
        say(part)
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["heron"] == ["4", "3", "3", "1.00", "0.75"]
    assert rows["egret"] == ["0", "0", "0", "-", "-"]
    assert "congener inspect demo/chat" in out
    assert "demo/chat/report/index.html" in out


def test_rows_are_commented(result, capsys):
    """Right rows come before wrong rows, each with its name, decision, traits and comment."""
    remarks = [
        Remark("chat", "a.jsonl", 3, "keep", (), (), "It stays."),
        Remark("chat", "a.jsonl", 7, "mask", ("heron",), ("egret",), "No egret."),
    ]
    for part in result._replace(remarks=remarks).render():
        say(part)
    shown = " ".join(capsys.readouterr().out.split())
    assert "a.jsonl:3 keep - It stays." in shown
    assert "a.jsonl:7 mask heron, missed egret No egret." in shown
    assert shown.index("rows worth a look") < shown.index("rows that it gets wrong")
    assert result._replace(remarks=remarks).to_json()["remarks"][0]["is_right"] is True


def test_the_comparison_in_json(result):
    """The JSON has the runs, their reports, and the outcomes with their shares."""
    found = result.to_json()
    assert found["runs"] == ["1", "2"]
    assert found["reports"][0] == "demo/chat/report/index.html"
    assert found["outcomes"][0]["recall"] == 0.75
    assert found["outcomes"][1]["precision"] is None


def test_an_output_on_a_store_is_refused(congener, tmp_path, monkeypatch):
    """A demo on a store is refused, and no folder named gs: is created."""
    monkeypatch.chdir(tmp_path)
    code, _, err = congener("demo", "--output", "gs://bucket/demo")
    assert code == 2
    assert "must be on this machine's disk" in err
    assert list(tmp_path.iterdir()) == []
