"""What a run says while it goes on."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.display.progress import Reporter, decision_table, trait_table
from pipelines.display import progress
from pipelines.filter import plan
from transforms.score import TALLY


@pytest.fixture
def reporter() -> Reporter:
    """Return a reporter that writes into memory."""
    made = Reporter()
    made.console = Console(file=io.StringIO(), width=120)
    return made


def text(reporter: Reporter) -> str:
    """Return what was written so far."""
    return reporter.console.file.getvalue()


def test_the_settled_run_is_said_aloud(config, reporter):
    """Format, lots, device, thresholds and the absence of a budget are said before the work."""
    plan(config, reporter)
    said = text(reporter)
    assert "40 rows; format messages" in said
    assert "teacher=column teacher" in said
    assert "device: no model" in said
    assert "removal budget: none set" in said


def test_a_threshold_of_nought_is_warned_of(config, policy, reporter):
    """Explicit or not, it means every row that the trait looks at."""
    plan(config.model_copy(update={"policy": policy("traits: {heron: {threshold: 0}}")}), reporter)
    assert (
        "warning: the threshold of trait heron is 0: it will fire on every row that it looks at"
        in text(reporter)
    )


def test_a_role_that_no_turn_has_is_warned_of(config, card_folder, reporter):
    """A trait that looks at turns of `human` is named: in every format here that is `user`."""
    folder = card_folder(
        "asker", "signals: {lexicon: {patterns: [x]}}\nthreshold: 0.5\nscope: {roles: [human]}\n"
    )
    plan(config.model_copy(update={"traits": (*config.traits, str(folder))}), reporter)
    assert (
        "warning: trait asker looks at turns of human, and roles are assistant, system, tool, user"
        in text(reporter)
    )
    assert "trait heron looks" not in text(reporter)


def test_files_left_aside_are_named(config, corpus, reporter):
    """A file in the folder that is neither Parquet nor JSON Lines is named, not passed over in silence."""
    (corpus / "notes.md").write_text("x")
    plan(config, reporter)
    assert "notes.md" in text(reporter)


def test_a_log_line_has_rate_and_time_left(config, reporter, monkeypatch):
    """Where there is no terminal, a line comes now and then with rows, rates and time left."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    settled = plan(config, reporter)
    with reporter:
        reporter.begin(settled.shards, {})
        TALLY.rows = 10
        time.sleep(0.3)
    assert "10 of 40 rows" in text(reporter)
    assert "min left" in text(reporter)


def test_a_terminal_line_is_drawn(config, reporter):
    """On a terminal a bar is redrawn and taken away."""
    reporter.console = Console(file=io.StringIO(), width=120, force_terminal=True)
    settled = plan(config, reporter)
    with reporter:
        reporter.begin(settled.shards, {})
        TALLY.rows = 20
        time.sleep(0.8)
    assert "20/40" in text(reporter)


def test_work_elsewhere_is_counted_by_its_receipts(config, reporter, monkeypatch):
    """When other processes do the work, rows are those of the shards that have a receipt; tokens aren't known."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    settled = plan(config, reporter)
    folder = Path(config.output) / ".work" / "receipts"
    folder.mkdir(parents=True)
    for name in (settled.shards[0].name, "of-another-run"):
        (folder / f"{name}.json").write_text("{}")
    with reporter:
        reporter.begin(settled.shards, {}, config.output)
        time.sleep(0.3)
    assert f"{settled.shards[0].rows} of 40 rows" in text(reporter)
    assert "tokens/s" not in text(reporter)


def test_rows_so_far_count_the_shard_at_hand():
    """A shard half through the model counts half its rows."""
    TALLY.reset(5)
    TALLY.shard_rows = 10
    TALLY.expect(4)
    TALLY.batch(100, 2)
    assert (TALLY.rows_so_far(), TALLY.tokens) == (10.0, 100)
    TALLY.finish(10)
    assert TALLY.rows_so_far() == 15


def test_the_tables_hold_the_manifests_numbers(run):
    """Counts, shares and thresholds in the final tables are the manifest's."""
    _, manifest = run
    console = Console(file=io.StringIO(), width=120)
    console.print(decision_table(manifest), trait_table(manifest))
    shown = console.file.getvalue()
    for expected in ("40 rows in", "quarantine", "20.00%", "heron", "0.5000", "explicit"):
        assert expected in shown
