"""An inspection on a terminal and as JSON: complete and inert."""

import datetime as dt
import io
import json
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.display.excerpts import escape_text
from pipelines.display.terminal import open_console
from pipelines.display.terminal_rows import render_row
from pipelines.filter import run_filter
from pipelines.inspection import (
    View,
    build_command,
    describe_selection,
    inspect_as_dicts,
    inspect_run,
    print_inspection,
    render_end,
)
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import Page, count_taken_rows, read_page
from pipelines.runs.queries import EVERYTHING, Filters, count_rows, scan_ledger
from pipelines.runs.shown_rows import MaskedSpan, ShownRow
from schemas.errors import BudgetError, RunError
from schemas.lots import Lot
from schemas.policies import FILTERED
from tests.support.hostile import (
    EMUS,
    FILE,
    NASTY,
    TEACHER,
    filter_answers,
    filter_hostile_corpus,
    filter_pairs,
    find_acting,
    write_cards,
)
from tests.support.runs import read_ledger
from tests.support.shown import REASON, ROW, RUN
from transforms.records.questions import SpokenText

HELD = EVERYTHING._replace(decision="quarantine")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("inspect"))[0]


def print_run(
    run: str, filters: Filters, start: int, limit: int, colour: bool = False, width: int = 400
) -> str:
    """Return an inspection's output on a terminal."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        highlight=False,
        color_system="truecolor" if colour else None,
        force_terminal=colour,
    )
    print_inspection(console, run, View(filters, "row", start, limit))
    return stream.getvalue()


def test_an_inspection_is_the_queries(hostile):
    """An inspection has the queries' counts and page."""
    found = inspect_run(hostile, View(Filters("emu"), "threshold", 2, 3))
    manifest = load_manifest(hostile)
    assert found.manifest == manifest
    assert found.counts == count_rows(hostile, manifest, Filters("emu"))
    assert found.page == read_page(hostile, manifest, Filters("emu"), "threshold", 2, 3)


def test_the_table_names_the_sides_of_findings(tmp_path):
    """Findings in rejected answers have their own lines, with a column for the side."""
    run = filter_pairs(tmp_path / "pairs", [("an owl", "an owl"), ("a dog", "owls"), ("a", "b")])
    lines = [line.split() for line in print_run(run, EVERYTHING, 0, 0).splitlines()]
    assert ["decision", "trait", "found", "in", "teacher", "rows", "of", "share"] in lines
    third = ["-", "1", "3", "33.33%"]
    assert ["keep", "owl", "rejected", "answers", *third] in lines
    assert ["keep", "-", "-", *third] in lines
    assert ["quarantine", "owl", "trained", "texts", *third] in lines
    assert ["quarantine", "also", "owl", "rejected", "answers", *third] in lines
    counts = inspect_as_dicts(run, View(EVERYTHING, limit=0))["counts"]
    assert [count["side"] for count in counts] == ["trained", "rejected", "trained", "rejected"]
    plain = filter_answers(tmp_path / "plain", ["an owl"], ["owl"])
    assert "found in" not in print_run(plain, EVERYTHING, 0, 0)


def test_a_damaged_file_is_an_error(tmp_path):
    """The error for a damaged ledger suggests `congener verify`."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "ledger").iterdir()).write_bytes(b"rubbish")
    with pytest.raises(RunError, match="doesn't match its manifest") as caught:
        inspect_run(run, View())
    assert "congener verify" in caught.value.remedy


@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_is_inert_on_a_terminal(hostile, colour):
    """Control characters, escapes, bidirectional marks and markup have no effect."""
    shown = print_run(hostile, EVERYTHING, 0, 100, colour=colour)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown) if colour else shown
    assert not find_acting(plain)
    assert "<U+001B>[31mred<U+001B>[0m" in plain
    assert "[bold red]loud[/bold red] :smile: {{ 7 * 7 }} {% raw %}" in plain
    assert "<U+202E>abc<U+2066> <U+200B><U+000D>↵<U+0000> <script>" in plain
    assert FILE in plain
    assert "[bold red]loud" in plain.split("A row counts once")[0]


def test_a_forged_run_is_inert_on_a_terminal():
    """Ids, traits, signals and actions are escaped too."""
    bad = "\x1b]0;owned\x07"
    near = {"polarity": bad, "similarity": 0.5, "text": bad, "exemplar": bad}
    reason = REASON._replace(
        trait=bad, signal=bad, action=bad, field_path=bad, signals={bad: 0.5}, neighbours=[near]
    )
    lot = Lot(bad, bad, bad, bad)
    row = ShownRow(bad, 1, bad, lot, bad, (reason,), (), (), {"text": bad})
    console = open_console(file=io.StringIO(), width=200)
    console.print(render_row(row, 1, 1, RUN))
    console.print(render_row(row._replace(error=bad, raw=bad.encode()), 1, 1, RUN))
    assert not find_acting(console.file.getvalue())


def test_no_colour_comes_from_the_corpus(hostile):
    """The styles don't depend on the text."""
    page = read_page(hostile, load_manifest(hostile), Filters("owl"), "row", 0, 1)
    (row,) = page.rows
    reasons = tuple(
        reason._replace(text="owl calm end", question=SpokenText("user", "q"))
        for reason in row.reasons
    )
    styles = []
    for shown in (row, row._replace(reasons=reasons)):
        console = Console(
            file=io.StringIO(),
            width=4000,
            highlight=False,
            color_system="truecolor",
            force_terminal=True,
        )
        console.print(render_row(shown._replace(source="s", lot=Lot("t")), 1, 1, RUN))
        styles.append(set(re.findall(r"\x1b\[[0-9;]*m", console.file.getvalue())))
    dim_italic = "\x1b[2;3m"
    assert styles[0] - {dim_italic} == styles[1] - {dim_italic}


def test_the_span_is_marked(hostile):
    """Guillemets enclose exactly the span."""
    assert "«emu» emu emu\n" in print_run(hostile, Filters("emu"), 0, 100)
    inside = "".join(piece.text for piece in escape_text(NASTY))[:40]
    assert f"«owl» {inside}" in print_run(hostile, Filters("owl"), 0, 100)


def test_the_end_has_the_commands_for_other_pages(hostile):
    """The commands for other pages keep the filters, in one line each."""
    filters = Filters("emu", TEACHER)
    shown = print_run(hostile, filters, 2, 2, width=40)
    (following,) = re.findall(r"^next: (.*)$", shown, re.MULTILINE)
    (preceding,) = re.findall(r"^previous: (.*)$", shown, re.MULTILINE)
    assert following == build_command(hostile, View(filters, "row", 4, 2))
    assert preceding == build_command(hostile, View(filters, "row", 0, 2))
    assert not find_acting(following)
    assert "previous" not in print_run(hostile, EVERYTHING, 0, 1)
    assert "next" not in print_run(hostile, EVERYTHING, 0, 1000)


def test_a_command_names_every_filter():
    """A page's command has an option for each filter."""
    filters = Filters("emu", "plain", "forum", "01234567", "2026-*", "keep", "a.jsonl:3")
    assert build_command("run", View(filters, "threshold", 0, 5)) == (
        "congener inspect run --trait=emu --teacher=plain --prompt-source=forum "
        "--system-prompt=01234567 --date='2026-*' --decision=keep --row=a.jsonl:3 "
        "--sort threshold --start 0 --limit 5"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash isn't installed")
@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
@example("it's $HOME `ls` \\n")
@example("\x1b[31m \u202e it's \\n \n")
def test_a_shell_reads_commands_unchanged(name):
    """A shell reads a command's words unchanged."""
    view = View(Filters(teacher=name, date=f"-{name}"), start=5, limit=10)
    line = build_command(f"run {name}", view)
    assert not find_acting(line)
    assert "\n" not in line
    script = f"congener() {{ printf '%s\\0' \"$@\"; }}; {line}"
    found = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    ).stdout
    words = ["inspect", f"run {name}", f"--teacher={name}", f"--date=-{name}"]
    assert found.decode().split("\0") == [*words, "--start", "5", "--limit", "10", ""]


def test_a_page_after_the_end_is_reported(hostile):
    """A page after the last row is reported as such."""
    shown = print_run(hostile, HELD, 500, 5)
    assert f"{EMUS + 2} rows with the decision quarantine, in the order of the corpus" in shown
    assert "There is no row at --start 500." in shown
    assert "previous:" in shown


def test_a_run_in_which_nothing_fired_is_no_error(tmp_path):
    """A run without findings prints the counts and says that there are no rows."""
    run = filter_answers(tmp_path, ["a goose", "a heron", "a swan"], ["yak"])
    assert load_manifest(run).conservation.by_decision == {"keep": 3}
    shown = print_run(run, EVERYTHING, 0, 5)
    assert "0 rows on which a trait fired." in shown
    assert "next" not in shown
    assert "A row counts once" not in shown
    assert inspect_as_dicts(run, View())["page"]["rows"] == []


def test_json_has_the_same_page(hostile):
    """The JSON has the page's unescaped content."""
    found = inspect_as_dicts(hostile, View(Filters("owl"), "row"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["run_id"] == load_manifest(hostile).run_id
    assert found["filters"] == {
        "trait": "owl",
        "teacher": None,
        "prompt_source": None,
        "system_prompt": None,
        "date": None,
        "decision": None,
        "row": None,
        "file": None,
    }
    page = found["page"]
    assert (page["total"], page["next"], page["previous"]) == (2, None, None)
    (first, second) = page["rows"]
    assert NASTY in first["reasons"][0]["text"]
    assert first["record"]["messages"][1]["content"] == first["reasons"][0]["text"]
    assert first["reasons"][0]["field_path"] == "messages[1].content"
    assert {first["teacher"], second["teacher"]} == {"plain", TEACHER}
    assert all((row["prompt_source"], row["system_prompt"]) == ("-", "-") for row in page["rows"])
    assert all(row["date"].startswith("2026-") for row in page["rows"])
    (question,) = {row["reasons"][0]["question"]["role"] for row in page["rows"]}
    assert question == "user"
    assert [count["teacher"] for count in found["counts"]] == sorted(("plain", TEACHER))
    for count in found["counts"]:
        teacher = sum(row["teacher"] == count["teacher"] for row in read_ledger(hostile))
        assert count == {
            "decision": "quarantine",
            "trait": "owl",
            "side": "trained",
            "teacher": count["teacher"],
            "rows": 1,
            "of": teacher,
            "decides": True,
        }


def test_values_without_a_type_in_json(tmp_path):
    """Bytes become base64, dates and decimals become text, and NaN becomes null."""
    table = pa.table(
        {
            "text": ["an owl"],
            "raw": [b"\x00\xff"],
            "day": [dt.date(2026, 1, 2)],
            "part": [Decimal("1.5")],
            "gap": [float("nan")],
        }
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "rows.parquet")
    run = str(tmp_path / "run")
    traits = write_cards(tmp_path / "traits", ["owl"])
    run_filter(FilterConfig(input=(str(tmp_path / "in"),), output=run, traits=traits))
    (row,) = inspect_as_dicts(run, View())["page"]["rows"]
    assert row["record"] == {
        "text": "an owl",
        "raw": "AP8=",
        "day": "2026-01-02",
        "part": "1.5",
        "gap": None,
    }


def test_counts_are_printed_once(hostile):
    """Only the first page begins with the counts."""
    title = f"run {load_manifest(hostile).run_id}"
    assert title in print_run(hostile, EVERYTHING, 0, 1)
    assert title not in print_run(hostile, EVERYTHING, 1, 1)
    assert title not in print_run(hostile, Filters(row="3"), 0, 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW, "1 row on which a trait fired; «» encloses the evidence."),
        (ROW._replace(reasons=()), "1 row on which a trait fired."),
        (
            ROW._replace(reasons=(), masks=(MaskedSpan("text", 3, 6),)),
            "1 row on which a trait fired; ⟦⟧ encloses what is masked.",
        ),
        (
            ROW._replace(masks=(MaskedSpan("text", 3, 6),)),
            "1 row on which a trait fired; «» encloses the evidence, and ⟦⟧ what is masked.",
        ),
    ],
    ids=["evidence", "nothing", "mask", "both"],
)
def test_the_end_explains_only_the_signs_that_are_shown(row, said):
    """The end explains the brackets of the rows on the page, and names the next command."""
    shown = row._replace(record={"text": "an emu"})
    lines = render_end(Page(1, 0, 5, (shown,)), "run", View()).plain.split("\n")
    named = "to label rows and measure the trait: congener traits eval emu --run run"
    assert lines == [said, *[named] * bool(row.reasons)]
    remote = render_end(Page(1, 0, 5, (shown,)), "s3://b/run", View()).plain.split("\n")
    assert remote[-1] == "not checked: the run's files; run congener verify s3://b/run"


@pytest.mark.parametrize("decision", FILTERED)
def test_rows_of_every_decision_are_shown(hostile, decision):
    """Every decision's rows can be shown, even without their text."""
    shown = print_run(hostile, Filters(decision=decision), 0, 1000)
    counts = load_manifest(hostile).conservation.by_decision
    assert f"{counts[decision]} of {counts[decision]}" in shown
    assert not find_acting(shown)
    part = {
        "keep": "no trait scored above 0",
        "flag": "bee  score 1.0000",
        "mask": "⟦",
        "quarantine": "«owl»",
        "drop": "the run doesn't contain its text: see row",
        "duplicate": "whose text is shown",
        "reject": "couldn't be read: not JSON",
    }
    assert part[decision] in shown


def test_added_rows_are_shown(mixed):
    """Rows that `congener mix` added can be shown, like those of any decision."""
    shown = print_run(str(mixed), Filters(decision="mix"), 0, 2)
    added = load_manifest(str(mixed)).conservation.by_decision["mix"]
    assert f"{added} rows with the decision mix" in shown
    assert "swap" not in shown


@pytest.mark.parametrize(
    ("total", "filters", "expected"),
    [
        (1, Filters(), "1 row on which a trait fired"),
        (2, Filters("emu", "plain"), "2 rows of the selected lots on which emu fired"),
        (2, Filters(decision="mask"), "2 rows with the decision mask"),
        (2, Filters("emu", decision="mask"), "2 rows with the decision mask on which emu fired"),
        (9, Filters("emu", decision="keep"), "9 rows with the decision keep"),
        (1, Filters(row="7"), "1 row with this number or id"),
        (3, Filters(file="a/"), "3 rows in a/ on which a trait fired"),
        (
            3,
            Filters("emu", "plain", file="a*"),
            "3 rows of the selected lots in a* on which emu fired",
        ),
    ],
)
def test_a_selection_is_described(total, filters, expected):
    """The last line gives the number of selected rows and the filters."""
    assert describe_selection(total, filters) == expected


def test_rows_that_a_person_took_out_are_counted_apart(run, policy, tmp_path):
    """A row that only an exception took out is no finding, in all rows and in those of a trait."""
    assert describe_selection(3, Filters(), 1) == (
        "2 rows on which a trait fired and 1 taken out by a person"
    )
    folder, manifest = run
    rows = scan_ledger(str(folder), manifest).collect()
    source, row = rows.filter(decision="keep").select("source", "row").row(0)
    named = f"{{row: '{source}:{row}', trait: heron, action: quarantine, reason: read}}"
    config = FilterConfig(output=str(tmp_path / "again"), policy=policy(f"exceptions: [{named}]"))
    decided = run_decide(DecideConfig(run=str(folder), filter=config))
    assert count_taken_rows(str(folder), manifest, Filters()) == 0
    for filters in (Filters(), Filters("heron")):
        assert count_taken_rows(config.output, decided, filters) == 1


def test_a_run_that_a_budget_stopped_is_shown(tmp_path):
    """Rows of a stopped run have their scores and places, below a sentence that says why."""
    with pytest.raises(BudgetError, match="removal_budget"):
        filter_answers(tmp_path, ["an owl", "a goose"], ["owl"], "removal_budget: 0.1\n")
    run = str(tmp_path / "run")
    shown = print_run(run, EVERYTHING, 0, 5)
    assert shown.startswith("Nothing was published, so the run holds scores and decisions but no")
    assert "1 of 2 rows (50.0%) exceeds the removal_budget of 10.0%" in " ".join(shown.split())
    assert "the run doesn't contain its text: see row 0 of" in shown
    found = inspect_as_dicts(run, View(Filters(decision="keep")))
    assert "removal_budget" in found["withdrawn"]
    assert [row["record"] for row in found["page"]["rows"]] == [None]


@pytest.mark.parametrize("folder", ["ledger", "scores", "spans", "quarantine", "manifest.json"])
def test_a_changed_file_is_named_before_its_rows_are_shown(tmp_path, folder):
    """If what a page shows was changed, the error names the file; other files may differ."""
    run = filter_answers(tmp_path, ["an owl", "a goose"], ["owl"])
    next(Path(run, "clean").glob("*.jsonl")).write_bytes(b"{}\n")
    assert inspect_run(run, View()).page.total == 1
    path = Path(run, folder)
    path = next(path.iterdir()) if path.is_dir() else path
    data = path.read_bytes()
    path.write_bytes(data.replace(b"owl", b"elk") if b"owl" in data else data[:-1] + b"x")
    with pytest.raises(RunError, match="doesn't match its manifest") as caught:
        inspect_run(run, View())
    assert path.name in caught.value.problem
    assert f"congener verify {run}" in caught.value.remedy


def test_the_title_says_when_the_run_ended(hostile):
    """The counts are headed by the run, its rows, and the date and time of its end."""
    assert re.search(
        r"rows, finished \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", print_run(hostile, EVERYTHING, 0, 1)
    )


def test_the_end_names_the_trait_to_evaluate():
    """The command names the page's only trait, or the trait that is asked for."""
    both = ROW._replace(reasons=(REASON, REASON._replace(trait="owl")))
    page = Page(1, 0, 5, (both,))
    assert "congener traits eval TRAIT --run run" in render_end(page, "run", View()).plain
    chosen = render_end(page, "run", View(Filters("owl"))).plain
    assert "congener traits eval owl --run run" in chosen
    assert "traits eval" not in render_end(Page(0, 0, 5, ()), "run", View()).plain


def test_the_phrases_of_a_score_are_listed(tmp_path):
    """A trait that several phrases made fire lists them; a single one is the evidence."""
    run = filter_answers(tmp_path, ["an owl, another owl", "an owl"], ["owl"])
    shown = print_run(run, EVERYTHING, 0, 5)
    assert shown.count("2 phrases made this score: «owl» ×2") == 1
    assert shown.count("made this score") == 1
    rows = inspect_as_dicts(run, View(EVERYTHING, "row"))["page"]["rows"]
    hits = [[hit["text"] for hit in row["reasons"][0]["hits"]] for row in rows]
    assert hits == [["owl", "owl"], ["owl"]]


def test_full_rows_replace_excerpts(hostile):
    """With `full`, whole texts are below the reasons, without excerpts or a notice of cuts."""
    stream = io.StringIO()
    console = open_console(file=stream, width=60)
    print_inspection(console, hostile, View(HELD, "row", 0, 100, full=True))
    shown = stream.getvalue()
    assert "«owl»" in shown
    assert "Long texts are cut" not in shown
    assert max(map(len, shown.rpartition("\n\n")[0].splitlines())) <= 60
    assert not find_acting(shown)
    assert "--full --start" in build_command("run", View(full=True))


@pytest.mark.parametrize(
    ("row", "cut"),
    [
        (ROW, False),
        (ROW._replace(reasons=(REASON._replace(text="an emu " * 40),)), True),
        (ROW._replace(question=SpokenText("user", "word " * 100)), True),
        (ROW._replace(record=None, answer=SpokenText("user", "word " * 100)), False),
    ],
    ids=["short", "excerpt", "question", "no text"],
)
def test_the_end_names_full_if_a_text_is_cut(row, cut):
    """Only if an excerpt left out text does the end point to --full."""
    end = render_end(Page(1, 0, 5, (row,)), "run", View()).plain
    assert ("--full shows whole rows" in end) == cut
    full = render_end(Page(1, 0, 5, (row,)), "run", View(full=True)).plain
    assert "--full shows" not in full


def test_the_end_names_the_order_of_kept_rows():
    """Kept rows are sorted by their distance to a threshold unless another order is asked for."""
    page = Page(2, 0, 5, (ROW, ROW))
    kept = View(Filters(decision="keep"))
    assert (
        "with the decision keep, nearest to a threshold first" in render_end(page, "r", kept).plain
    )
    score = kept._replace(order="score")
    assert "highest score first" in render_end(page, "r", score).plain
    held = View(Filters(decision="quarantine"))
    assert "strongest decision first" in render_end(page, "r", held).plain


REPLACED = EVERYTHING._replace(decision="swap")


def test_replaced_rows_have_both_answers(swapped, held):
    """A replaced row shows its donor, its old answer with the evidence, and the new answer."""
    shown = print_run(str(swapped), REPLACED._replace(trait="heron"), 0, 1)
    said = "replaced because of heron: the new answer is cedar's, from cedar.jsonl row 1, to the"
    parts = [said, "  old answer\n", "«heron»", "  new answer\n", "cedar answer 1."]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert "5 rows whose answers were replaced because of heron" in shown
    found = inspect_as_dicts(str(swapped), View(REPLACED, "row", limit=1))
    (row,) = found["page"]["rows"]
    assert found["old_answers_missing"] is None
    assert row["swap"]["old"]["reasons"][0]["trait"] == "heron"
    assert row["swap"]["distance"] == 0
    assert row["swap"]["explained"] == row["swap"]["explained"].strip()


def test_whole_rows_have_both_answers(swapped):
    """With --full, both rows are shown whole, the old one first."""
    stream = io.StringIO()
    console = open_console(file=stream, width=200)
    print_inspection(console, str(swapped), View(REPLACED, "row", limit=1, full=True))
    old, new = stream.getvalue().split("  new answer")
    assert "«heron»" in old
    assert "cedar answer 1." in new


def test_waiting_rows_say_why(swapped):
    """A row that still waits has the reason above its finding."""
    shown = print_run(str(swapped), HELD, 0, 10)
    assert shown.count("because of heron: a trait fires on every donor's answer (heron)") == 2
    assert shown.count("waits for another answer because of heron: no donor answers this") == 1
    rows = inspect_as_dicts(str(swapped), View(HELD))["page"]["rows"]
    assert {row["swap"]["outcome"] for row in rows} == {"no donor", "donors carry a trait"}


def test_a_parent_elsewhere_is_asked_for(swapped, held, tmp_path):
    """Without the parent, the new answers are shown with a note; commands keep --parent."""
    manifest = load_manifest(str(swapped))
    moved = manifest.model_copy(update={"circumstances": {}}).seal()
    (swapped / "manifest.json").write_bytes(moved.to_bytes())
    shown = print_run(str(swapped), REPLACED, 0, 1)
    assert "cedar answer 1." in shown
    assert "old answer\n" not in shown
    assert f"run {manifest.swap.parent}, which has them, isn't known by its folder" in shown
    view = View(REPLACED, parent=str(held / "run"))
    assert all(row["swap"]["old"] for row in inspect_as_dicts(str(swapped), view)["page"]["rows"])
    assert "--parent=x" in build_command("run", View(parent="x"))
    assert inspect_as_dicts(str(held / "run"), View())["page"]["rows"][0]["swap"] is None
