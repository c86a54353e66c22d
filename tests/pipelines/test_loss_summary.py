"""The report's section on what was lost: which groups it shows, and what it leaves out."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines import loss_summary
from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.filter import run_filter
from pipelines.loss_summary import (
    FEWEST_LINES,
    LINES_SHOWN,
    build_summary,
    name_doubtful,
    name_group,
    summarise_losses,
)
from pipelines.losses import LINES, Losses
from pipelines.report import write_report
from pipelines.runs.manifest_file import load_manifest
from pipelines.verify import verify_run
from tests.support.corpora import CARD, build_conversation, write_rows

TEACHERS = ("atlas", "<b>borealis</b>")
ROWS = 200


@pytest.fixture(scope="module")
def lossy(tmp_path_factory) -> Path:
    """Filter answers of two teachers, of which one often mentions herons."""
    folder = tmp_path_factory.mktemp("lossy")
    rows = []
    for number in range(ROWS):
        is_lost = number % 2 and number % 5
        answer = "A heron stood there." if is_lost else "Nothing was to be seen, as usual."
        rows.append({**build_conversation(number, answer), "teacher": TEACHERS[number % 2]})
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\n{CARD}", encoding="utf-8")
    config = {
        "input": (str(write_rows(folder / "corpus.jsonl", rows)),),
        "output": str(folder / "run"),
        "traits": (str(card.parent),),
    }
    run_filter(FilterConfig.model_validate(config))
    return folder


def build_losses(differing: int, others: int) -> Losses:
    """Return made-up losses with so many groups that differ, and so many that don't."""
    lines = [
        {"by": "teacher", "group": f"t{n}", "rows": 50, "lost": 5, "share": 0.1, "low": 0.03}
        | {"high": 0.2 + n / 1000, "rest": 0.01, "difference": 0.09, "differs": n < differing}
        | {"p_alone": 0.001 if n < differing else 0.03 + n / 100}
        for n in range(differing + others)
    ]
    return Losses(None, 500, 40, {}, {"teacher": 2, "file": 1}, pl.DataFrame(lines, LINES))


def test_groups_that_differ_are_shown(lossy):
    """The teacher whose rows are lost comes first, and all kinds of groups are compared."""
    run = str(lossy / "run")
    found = summarise_losses(run, load_manifest(run))
    assert found is not None
    assert (found.rows, found.lost) == (ROWS, 80)
    assert found.differing >= 2
    names = [line.name for line in found.lines]
    assert {f"teacher {name}" for name in TEACHERS} <= set(names)
    first = found.lines[0]
    assert first.differs
    assert first.low <= first.share <= first.high <= found.scale
    assert found.without_text == ""


def test_the_page_has_the_section(lossy):
    """The report shows the table, escapes names, and verify makes the same page again."""
    run = lossy / "run"
    page = Path(write_report(str(run))).read_text(encoding="utf-8")
    assert '<h2 id="losses-title">What the filter took out</h2>' in page
    assert "80 of 200 rows" in " ".join(page.split()) or "80 of" in page
    assert "teacher &lt;b&gt;borealis&lt;/b&gt;" in page
    assert "<b>borealis" not in page
    assert '<a href="#losses">' in page
    assert verify_run(str(run)) == []


def test_dropped_rows_are_compared_without_text(lossy, tmp_path):
    """Only the input has their text, so the page compares by what the ledger says."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {heron: {action: drop}}\n", encoding="utf-8")
    output = str(tmp_path / "dropped")
    given = FilterConfig(output=output, policy=str(policy))
    manifest = run_decide(DecideConfig(run=str(lossy / "run"), filter=given))
    found = summarise_losses(output, manifest)
    assert found is not None
    assert found.without_text == "the run doesn't hold the text of 80 dropped rows"
    assert {line.name for line in found.lines} == {f"teacher {name}" for name in TEACHERS}
    page = Path(write_report(output)).read_text(encoding="utf-8")
    assert "Rows aren't compared by their texts, because the run doesn" in page.replace(
        "&#39;", "'"
    )


def test_large_runs_are_compared_without_text(lossy, monkeypatch):
    """Reading all texts would make the report slow."""
    monkeypatch.setattr(loss_summary, "MOST_ROWS", 100)
    run = str(lossy / "run")
    found = summarise_losses(run, load_manifest(run))
    assert found is not None
    assert found.without_text == "the run has more than 100 rows"


def test_a_run_without_losses_has_no_section(lossy, tmp_path):
    """Nothing was lost if every finding is only flagged, or if nothing was published."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n", encoding="utf-8")
    output = str(tmp_path / "flagged")
    given = FilterConfig(output=output, policy=str(policy))
    manifest = run_decide(DecideConfig(run=str(lossy / "run"), filter=given))
    assert summarise_losses(output, manifest) is None
    assert 'id="losses"' not in Path(write_report(output)).read_text(encoding="utf-8")
    stopped = load_manifest(str(lossy / "run")).model_copy(update={"withdrawn": "a budget"})
    assert summarise_losses(output, stopped) is None


@pytest.mark.parametrize(
    ("differing", "others", "shown"),
    [(0, 3, 3), (0, 40, FEWEST_LINES), (9, 40, 9), (90, 0, LINES_SHOWN), (0, 0, 0)],
)
def test_the_table_is_short(differing, others, shown):
    """Groups that differ are shown up to a number, and a few others if none does."""
    found = build_summary(build_losses(differing, others), "")
    assert len(found.lines) == shown
    assert (found.differing, found.compared) == (differing, differing + others)
    assert found.small == 3
    assert all(" lost, p = 0.0" in name for name in found.doubtful)
    clear = sum(0.03 + n / 100 <= 0.05 for n in range(differing, differing + others))
    assert len(found.doubtful) == clear
    assert found.scale == max((line.high for line in found.lines), default=1.0)


def test_two_groups_that_are_all_rows_are_named_once():
    """The test of one is the test of the other, so only one is named, with its counts."""
    found = build_losses(0, 2)
    lines = found.table.with_columns(
        by=pl.lit("teacher"), group=pl.Series(["A", "B"]), p_alone=pl.lit(0.02), rows=pl.lit(50)
    )
    whole = found._replace(rows=100, table=lines)
    (name,) = name_doubtful(whole)
    assert name.startswith("teacher A (")
    assert name.endswith(" of 50 lost, p = 0.02)")
    assert len(name_doubtful(whole._replace(rows=101))) == 2


def test_groups_have_names():
    """A name says what kind of group it is."""
    assert name_group("length", "under 100") == "under 100 characters"
    assert name_group("teacher", "-") == "teacher not known"
    assert name_group("topic", "oven, pasta") == "topic oven, pasta"
