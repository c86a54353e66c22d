"""Progress on a terminal: notices, rows, rates and the tables at the end."""

import io
import re
import threading
import time
from pathlib import Path

import pytest

from pipelines.display import progress
from pipelines.display.progress import (
    FitProgress,
    TerminalReporter,
    format_found,
    list_cautions,
    tabulate_decisions,
    tabulate_traits,
)
from pipelines.display.terminal import open_console
from pipelines.plan import settle
from pipelines.runs import watching
from pipelines.runs.publication import record_notices
from pipelines.runs.watching import watch_receipts
from schemas.events import (
    BatchesCut,
    BatchScored,
    DonorFiltered,
    FitStarted,
    Noticed,
    RowsPlanned,
    RunSummarised,
    ShardStarted,
    ShardWritten,
    WindowsPlanned,
)
from schemas.notices import Notice, warn
from schemas.receipts import ExceptionEffect

SHOW_CURSOR = "\x1b[?25h"
"""The text that a bar prints on its removal."""


@pytest.fixture
def reporter() -> TerminalReporter:
    """Return a reporter that writes to memory."""
    reporter = TerminalReporter()
    reporter.console = open_console(file=io.StringIO(), width=120)
    return reporter


def read_output(reporter: TerminalReporter) -> str:
    """Return a reporter's output."""
    return reporter.console.file.getvalue()


def await_output(reporter: TerminalReporter, expected: str) -> str:
    """Wait for a text in a reporter's output, and return the output."""
    end = time.monotonic() + 20
    while expected not in read_output(reporter) and time.monotonic() < end:
        time.sleep(0.02)
    return read_output(reporter)


def test_the_settled_run_is_reported(config, reporter):
    """The format, lots and the device are reported before work begins."""
    settle(config, reporter)
    printed = read_output(reporter)
    assert printed.startswith(f"reading {config.input[0]}\ninput: 2 files, 40 rows")
    assert "40 rows; format messages" in printed
    assert "teacher=column teacher" in printed
    assert "device: no model" in printed


def test_a_warning_is_marked(reporter):
    """A warning begins with `warning`, and other notices are unchanged."""
    for notice in (Notice("a fact"), warn("a danger")):
        reporter(Noticed(notice))
    assert read_output(reporter) == "a fact\nwarning: a danger\n"


def test_text_is_no_markup(reporter):
    """Brackets are printed, and control characters are escaped."""
    reporter(Noticed(Notice("reading [bold]x[/bold] \x1b[31m:smile:")))
    printed = read_output(reporter)
    assert "[bold]x[/bold]" in printed
    assert "\x1b" not in printed


def test_smaller_batches_are_reported(reporter):
    """The notice of smaller batches gives the new size and the setting to keep it."""
    reporter(BatchesCut(4096))
    printed = read_output(reporter)
    assert "batches hold 4,096 padded tokens" in printed
    assert "hardware.token_budget" in printed


def test_a_log_line_has_rate_and_time_left(reporter, monkeypatch):
    """Without a terminal, lines with rows, rates and time left are printed now and then."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    with reporter:
        reporter(RowsPlanned(40, 0))
        for event in (
            ShardStarted(10, "a"),
            WindowsPlanned(4, 0, "a"),
            BatchScored(100, 4, "a"),
            ShardWritten(10, "a"),
        ):
            reporter(event)
        printed = await_output(reporter, "min left")
    assert re.search(r"10 of 40 rows, [\d,]+ rows/s, [\d,]+ tokens/s, [\d.]+ min left", printed)
    count = len(read_output(reporter))
    time.sleep(0.15)
    assert len(read_output(reporter)) == count


def test_rows_of_an_earlier_attempt_have_no_rate(reporter, monkeypatch):
    """The rate leaves out an earlier attempt's rows."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    with reporter:
        reporter(RowsPlanned(40, 30))
        printed = await_output(reporter, "30 of 40 rows")
    assert "30 of 40 rows, 0 rows/s\n" in printed


def test_a_terminal_line_is_drawn(reporter):
    """On a terminal, a progress bar shows the rows and their rate."""
    reporter.console = open_console(file=io.StringIO(), width=120, force_terminal=True)
    with reporter:
        reporter(RowsPlanned(40, 0))
        reporter(ShardWritten(20))
        printed = await_output(reporter, "20/40")
    assert "20/40" in printed
    assert "rows/s" in printed


def test_work_elsewhere_is_counted_by_receipts(config, reporter, monkeypatch):
    """While other processes work, receipts give the rows, and no token rate is shown."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    settled = settle(config, lambda _: None)
    folder = Path(config.output) / ".work" / "receipts"
    folder.mkdir(parents=True)
    with reporter:
        reporter(RowsPlanned(40, 0))
        with watch_receipts(config.output, settled.shards, reporter):
            for name in (settled.shards[0].name, "of-another-run"):
                (folder / f"{name}.json").write_text("{}")
            printed = await_output(reporter, "7 of 40 rows")
    assert f"{settled.shards[0].rows} of 40 rows" in printed
    assert "tokens/s" not in printed


def test_a_fit_is_reported_now_and_then(reporter, monkeypatch):
    """Without a terminal, a fit's progress is printed once per log interval."""
    for event in (FitStarted(3), WindowsPlanned(1_000, 50_000), BatchScored(5_000, 64)):
        reporter(event)
    assert read_output(reporter) == "fitting 3 traits to the clean text\n"
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    reporter(BatchScored(5_000, 64))
    assert re.fullmatch(
        r"fitting: 128 of 1,000 windows, [\d,]+ tokens/s, [\d.]+ min left",
        read_output(reporter).splitlines()[1],
    )


def test_the_time_left_of_a_fit_follows_its_tokens(reporter, monkeypatch):
    """After a tenth of the tokens, the time left is nine times the time passed."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    fit = FitProgress(lambda: reporter.console)
    for event in (FitStarted(1), WindowsPlanned(10, 1_000)):
        fit.update(event)
    now[0] = 120.0
    fit.update(BatchScored(100, 5))
    assert "5 of 10 windows, 1 tokens/s, 18.0 min left" in read_output(reporter)


def test_a_fit_has_a_bar_on_a_terminal(reporter):
    """On a terminal, a bar shows the windows and disappears at the end."""
    reporter.console = open_console(file=io.StringIO(), width=120, force_terminal=True)
    with reporter:
        for event in (FitStarted(1), WindowsPlanned(40, 400), BatchScored(200, 20)):
            reporter(event)
        assert "20 of 40 windows" in read_output(reporter)
        assert SHOW_CURSOR not in read_output(reporter)
        reporter(BatchScored(200, 20))
        assert read_output(reporter).count(SHOW_CURSOR) == 1


@pytest.mark.parametrize("width", [60, 80])
def test_a_fits_bar_keeps_to_the_width_and_says_what_is_left(reporter, width):
    """The bar shrinks, so that the counts and the time left stay whole on a narrow terminal."""
    reporter.console = open_console(file=io.StringIO(), width=width, force_terminal=True)
    with reporter:
        for event in (FitStarted(2), WindowsPlanned(12_345, 1_234_567), BatchScored(456, 20)):
            reporter(event)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read_output(reporter))
    lines = [line for line in re.split(r"[\r\n]+", shown) if line.startswith("fit ")]
    assert all(len(line) <= width for line in lines)
    assert re.search(r"20 of 12,345 windows, [\d,]+ tokens/s, [\d.]+ min left", shown)


def test_a_failed_fit_leaves_no_bar(reporter):
    """A failed fit's bar is removed with the reporter."""
    reporter.console = open_console(file=io.StringIO(), width=120, force_terminal=True)
    with reporter:
        for event in (FitStarted(1), WindowsPlanned(40, 400)):
            reporter(event)
    assert read_output(reporter).count(SHOW_CURSOR) == 1


def test_a_second_fit_counts_from_the_start(reporter, monkeypatch):
    """A second fit counts its windows from zero."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    for _ in range(2):
        for event in (FitStarted(1), WindowsPlanned(8, 200), BatchScored(100, 4)):
            reporter(event)
    lines = read_output(reporter).splitlines()
    assert lines[0] == lines[2] == "fitting 1 trait to the clean text"
    assert lines[3].startswith("fitting: 4 of 8 windows")


def test_a_run_within_a_command_reports_its_work_alone(run, reporter):
    """A run inside another command prints only progress and warnings."""
    with reporter:
        for event in (
            Noticed(Notice("a fact")),
            Noticed(warn("a danger")),
            FitStarted(2),
            RowsPlanned(40, 0),
            RunSummarised(run[1]),
        ):
            reporter.report_work(event)
    assert read_output(reporter) == "warning: a danger\nfitting 2 traits to the clean text\n"


def test_a_donor_is_one_line_and_ends_its_progress(reporter):
    """The line counts the donor's rows and the clean ones, and a quiet reporter leaves it out."""
    reporter(RowsPlanned(1_200, 0))
    reporter(DonorFiltered("ash", 1_200, 1_187))
    assert reporter._thread is None
    reporter(DonorFiltered("oak", 1, 0))
    printed = read_output(reporter)
    assert printed.endswith("donor ash: 1,200 rows, 1,187 clean\ndonor oak: 1 row, 0 clean\n")
    quiet = TerminalReporter(quiet=True)
    quiet.console = reporter.console
    quiet(DonorFiltered("elm", 1, 0))
    assert read_output(reporter) == printed


def test_a_run_is_no_fit(reporter, monkeypatch):
    """A run's batches aren't reported as a fit."""
    with reporter:
        reporter(RowsPlanned(40, 0))
        monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
        reporter(WindowsPlanned(4))
        reporter(BatchScored(100, 4))
    assert "fitting" not in read_output(reporter)


def test_the_summary_ends_the_progress(run, reporter):
    """The tables follow the progress line, and tokens are counted only if a model ran."""
    _, manifest = run
    before = threading.active_count()
    with reporter:
        reporter(RowsPlanned(40, 0))
        reporter(RunSummarised(manifest))
        assert threading.active_count() == before
    printed = read_output(reporter)
    assert re.search(r"[\d.]+ s, [\d,]+ rows/s, no model\n", printed)
    assert printed.index("40 rows in") < printed.index("heron") < printed.index("rows/s")
    used = {**manifest.circumstances, "tokens": 9, "tokens_per_second": 3.0, "padding_waste": 0.25}
    reporter(RunSummarised(manifest.model_copy(update={"circumstances": used})))
    assert "rows/s, 3 tokens/s, padding 25.0%, no model" in read_output(reporter)


def test_two_runs_follow_each_other(run, reporter):
    """One reporter can serve several runs, even after a failure."""
    _, manifest = run
    before = threading.active_count()
    with reporter:
        for event in (RowsPlanned(9, 0), RowsPlanned(40, 0), RunSummarised(manifest)):
            reporter(event)
        assert threading.active_count() == before
        reporter(RowsPlanned(40, 0))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_tables_have_the_manifests_numbers(run):
    """The tables have the manifest's counts, shares and thresholds."""
    _, manifest = run
    console = open_console(file=io.StringIO(), width=120)
    bound = manifest.thresholds[0].model_copy(update={"trait": "stork", "bound": 0.0123})
    both = manifest.model_copy(update={"thresholds": (*manifest.thresholds, bound)})
    console.print(tabulate_decisions(manifest), tabulate_traits(both))
    shown = console.file.getvalue()
    for expected in ("40 rows in", "quarantine", "20.00%", "heron", "0.5000"):
        assert expected in shown
    assert "not stated" in shown
    assert "≤ 1.23%" in shown


def test_a_bound_that_may_not_hold_is_marked(run, reporter):
    """The table marks the trait that the run's warning is about, and says where to read on."""
    _, manifest = run
    rule = manifest.thresholds[0].model_copy(update={"bound": 0.0123})
    bounds = manifest.model_copy(update={"thresholds": (rule,)})
    notice = warn("unlike")._replace(remarks=(("heron", "may not hold: odd"),))
    reporter(RunSummarised(record_notices(bounds, [notice])))
    shown = read_output(reporter)
    assert "≤ 1.23% *" in shown
    assert "* this bound may not hold" in shown
    reporter(RunSummarised(bounds))
    assert "*" not in read_output(reporter).removeprefix(shown)


def test_the_share_of_positives_found_is_rounded_outwards(run):
    """The interval of the found share contains the exact interval."""
    rule = run[1].thresholds[0]
    assert format_found(rule) == "-"
    found = {"positives": 3, "positives_found": 2, "found_low": 0.0943, "found_high": 0.9916}
    assert format_found(rule.model_copy(update=found)) == "9–100%"


def test_findings_on_other_sides_have_a_table(run, reporter):
    """Rows with a finding in untrained text are counted by trait and side."""
    _, manifest = run
    reporter(RunSummarised(manifest))
    assert "rejected answers" not in read_output(reporter)
    found = {"heron": 8, "heron@rejected": 1_234, "heron@untrained": 5}
    for fired, headings, numbers in (
        (found, "trait rejected answers turns that aren't trained on", "heron 1,234 5"),
        ({"heron@untrained": 5}, "trait turns that aren't trained on", "heron 5"),
    ):
        reporter(RunSummarised(manifest.model_copy(update={"fired": fired})))
        shown = " ".join(read_output(reporter).split())
        assert headings in shown
        assert numbers in shown
    assert "heron 8 quarantine" in shown
    assert "heron 0 quarantine" in shown


def test_decisions_are_not_shown_twice(reporter, finished):
    """A run that was decided again has a table of both runs' decisions, so this one is left out."""
    manifest = finished[1]
    reporter(RunSummarised(manifest))
    assert "40 rows in" in read_output(reporter)
    facts = {**manifest.circumstances, "decided_from": "3f"}
    reporter(RunSummarised(manifest.model_copy(update={"circumstances": facts})))
    shown = read_output(reporter)
    assert (shown.count("40 rows in"), shown.count("clean hit: ")) == (1, 2)


def test_a_quiet_reporter_prints_only_warnings(finished):
    """A quiet reporter prints only warnings."""
    reporter = TerminalReporter(quiet=True)
    reporter.console = open_console(file=io.StringIO(), width=120)
    events = (Noticed(Notice("plain")), Noticed(warn("odd")), RowsPlanned(5, 0), FitStarted(2))
    with reporter:
        for event in (*events, RunSummarised(finished[1])):
            reporter(event)
    assert read_output(reporter) == "warning: odd\n"


def test_cautions_are_those_of_traits_that_fired(run):
    """A card's caution is said only if its trait fired on trained text."""
    manifest = run[1]
    assert list(list_cautions(manifest)) == []
    card = {**manifest.cards["heron"], "caution": "mostly wrong"}
    cautious = manifest.model_copy(update={"cards": {"heron": card}})
    assert list(list_cautions(cautious)) == [("heron", "mostly wrong")]
    assert list(list_cautions(cautious.model_copy(update={"fired": {}}))) == []


def test_denied_findings_have_no_caution(run):
    """A caution asks to read rows, so it isn't said of rows that exceptions keep."""
    manifest = run[1]
    card = {**manifest.cards["heron"], "caution": "mostly wrong"}
    fired = manifest.count_fired("heron")
    exception = {"trait": "heron", "action": "keep", "threshold": None, "side": "trained"}
    update = {
        "cards": {"heron": card},
        "policy": {**manifest.policy, "exceptions": [exception]},
        "exceptions": (ExceptionEffect(rows=fired, overruled=fired),),
    }
    assert list(list_cautions(manifest.model_copy(update=update))) == []
