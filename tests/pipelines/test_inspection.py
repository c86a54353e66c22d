"""An inspection on a terminal and as JSON: it is complete and has no active characters."""

import datetime as dt
import io
import json
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from pipelines.config import FilterConfig
from pipelines.display.excerpts import escape_text
from pipelines.display.terminal import open_console
from pipelines.filter import run_filter
from pipelines.inspection import (
    COUNTS_SHOWN,
    build_command,
    inspect_as_dicts,
    inspect_run,
    print_inspection,
    render_counts,
    render_row,
)
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import (
    EVERYTHING,
    Count,
    Filters,
    HeldReason,
    HeldRow,
    count_rows,
    read_quarantine,
)
from schemas.errors import RunError
from schemas.lots import Lot
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

REASON = HeldReason(
    trait="emu",
    signal="combined",
    score=0.5,
    threshold=0.4,
    action="mask",
    field_path="text",
    start=0,
    end=3,
    text="an emu",
    signals={"lexicon": 0.5},
    neighbours=[],
)
ROW = HeldRow("rows.jsonl", 1, "id", Lot("plain"), (REASON,), {"text": "an emu"})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("inspect"))[0]


def print_run(*args, colour: bool = False, width: int = 400) -> str:
    """Return what an inspection prints on a terminal, with or without colours."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        highlight=False,
        color_system="truecolor" if colour else None,
        force_terminal=colour,
    )
    print_inspection(console, *args)
    return stream.getvalue()


def print_row(row: HeldRow, width: int = 10_000) -> str:
    """Return what is printed for one row."""
    stream = io.StringIO()
    Console(file=stream, color_system=None, width=width).print(render_row(row, 1, 1))
    return stream.getvalue()


def test_an_inspection_is_the_queries(hostile):
    """An inspection has the same counts and page as the queries return."""
    found = inspect_run(hostile, Filters("emu"), 2, 3)
    manifest = load_manifest(hostile)
    assert found.manifest == manifest
    assert found.counts == count_rows(hostile, manifest, Filters("emu"))
    assert found.page == read_quarantine(hostile, manifest, Filters("emu"), 2, 3)


def test_the_table_names_the_sides_of_findings(tmp_path):
    """Findings in rejected answers are listed on their own lines, with a column for the side."""
    run = filter_pairs(tmp_path / "pairs", [("an owl", "an owl"), ("a dog", "owls"), ("a", "b")])
    lines = [line.split() for line in print_run(run, EVERYTHING, 0, 0).splitlines()]
    assert ["decision", "trait", "found", "in", "teacher", "rows"] in lines
    assert ["keep", "owl", "rejected", "answers", "-", "1"] in lines
    assert ["keep", "-", "-", "-", "1"] in lines
    assert ["quarantine", "owl", "trained", "texts", "-", "1"] in lines
    assert ["quarantine", "owl", "rejected", "answers", "-", "1"] in lines
    counts = inspect_as_dicts(run, EVERYTHING, 0, 0)["counts"]
    assert [count["side"] for count in counts] == ["trained", "rejected", "trained", "rejected"]
    plain = filter_answers(tmp_path / "plain", ["an owl"], ["owl"])
    assert "found in" not in print_run(plain, EVERYTHING, 0, 0)


def test_a_damaged_file_is_an_error(tmp_path):
    """If a ledger can't be read, the error suggests `congener verify`."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "ledger").iterdir()).write_bytes(b"rubbish")
    with pytest.raises(RunError, match="can't be read") as caught:
        inspect_run(run, EVERYTHING, 0, 5)
    assert "congener verify" in caught.value.remedy


@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_is_inert_on_a_terminal(hostile, colour):
    """Control characters, escapes, bidirectional marks and markup in the corpus have no effect."""
    shown = print_run(hostile, EVERYTHING, 0, 100, colour=colour)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown) if colour else shown
    assert not find_acting(plain)
    assert "<U+001B>[31mred<U+001B>[0m" in plain
    assert "[bold red]loud[/bold red] :smile: {{ 7 * 7 }} {% raw %}" in plain
    assert "<U+202E>abc<U+2066> <U+200B><U+000D>↵<U+0000> <script>" in plain
    assert FILE in plain
    assert "[bold red]loud" in plain.split("A row counts once")[0]


def test_a_forged_run_is_inert_on_a_terminal():
    """Ids, traits, signals and actions are escaped too, since anybody may have written them."""
    bad = "\x1b]0;owned\x07"
    near = {"polarity": bad, "similarity": 0.5, "text": bad, "exemplar": bad}
    reason = REASON._replace(
        trait=bad, signal=bad, action=bad, field_path=bad, signals={bad: 0.5}, neighbours=[near]
    )
    row = HeldRow(bad, 1, bad, Lot(bad, bad, bad, bad), (reason,), {"text": bad})
    console = open_console(file=io.StringIO(), width=200)
    console.print(render_row(row, 1, 1))
    assert not find_acting(console.file.getvalue())


def test_no_colour_comes_from_the_corpus(hostile):
    """The styles on a colour terminal don't depend on the text."""
    page = read_quarantine(hostile, load_manifest(hostile), Filters("owl"), 0, 1)
    (row,) = page.rows
    reasons = tuple(reason._replace(text="owl calm end") for reason in row.reasons)
    styles = []
    for shown in (row, row._replace(reasons=reasons)):
        console = Console(
            file=io.StringIO(),
            width=4000,
            highlight=False,
            color_system="truecolor",
            force_terminal=True,
        )
        console.print(render_row(shown._replace(source="s", lot=Lot("t")), 1, 1))
        styles.append(set(re.findall(r"\x1b\[[0-9;]*m", console.file.getvalue())))
    dim_italic = "\x1b[2;3m"
    assert styles[0] - {dim_italic} == styles[1] - {dim_italic}


@given(text=st.text(), name=st.text(max_size=20), start=st.integers(0, 30), size=st.integers(0, 30))
def test_any_text_is_inert(text, name, start, size):
    """Whatever a record, its names and its neighbours contain, the output has no active text."""
    near = {"exemplar": name, "polarity": "positive", "similarity": 0.5, "text": text}
    reason = REASON._replace(
        field_path=f"{name}[0]",
        start=start,
        end=start + size,
        text=text,
        signals={"lexicon": None},
        neighbours=[near],
    )
    row = HeldRow(name, 1, "id", Lot(name, name, name, name), (reason,), {})
    assert not find_acting(print_row(row))


def test_the_span_is_marked(hostile):
    """Guillemets enclose exactly the characters of the span."""
    assert "«emu» emu emu\n" in print_run(hostile, Filters("emu"), 0, 100)
    inside = "".join(piece.text for piece in escape_text(NASTY))[:40]
    assert f"«owl» {inside}" in print_run(hostile, Filters("owl"), 0, 100)


@pytest.mark.parametrize(
    ("start", "end", "shown"), [(0, 2, "«an» emu"), (3, 6, "an «emu»"), (0, 6, "«an emu»")]
)
def test_the_mark_is_closed(start, end, shown):
    """A span at the start or at the end of a text has both guillemets."""
    row = ROW._replace(reasons=(REASON._replace(start=start, end=end),))
    assert f"{shown}\n" in print_row(row)


def test_a_missing_field_is_reported():
    """If a reason's field isn't in the record, a note is printed instead of text."""
    row = ROW._replace(reasons=(REASON._replace(text=None),))
    assert "(the field isn't in the row)" in print_row(row)


def test_a_row_is_shown_with_its_lot_and_reason():
    """A row is printed with its lot fields, score, threshold and span."""
    lines = [line.strip() for line in print_row(ROW).splitlines()]
    assert lines[:5] == [
        "1 of 1  rows.jsonl row 1  id",
        "teacher plain   prompt source -   system prompt -   date -",
        "emu  score 0.5000 against 0.4000 (combined), mask  text [0:3]",
        "«an »emu",
        "signals   lexicon 0.5000",
    ]


def test_neighbours_are_shown():
    """The nearest exemplars of both kinds are listed with their similarities, and are escaped."""
    near = [
        {"exemplar": "e", "polarity": polarity, "similarity": similarity, "text": f"\x1b {text}"}
        for polarity, similarity, text in (("positive", 0.9, "rain"), ("negative", 0.25, "sand"))
    ]
    shown = print_row(ROW._replace(reasons=(REASON._replace(neighbours=near),)))
    assert re.search(r"like +0\.9000 +<U\+001B> rain", shown)
    assert re.search(r"unlike +0\.2500 +<U\+001B> sand", shown)


def test_the_end_has_the_commands_for_other_pages(hostile):
    """The commands for other pages keep the filters and take one line each on any terminal."""
    filters = Filters("emu", TEACHER)
    shown = print_run(hostile, filters, 2, 2, width=40)
    (following,) = re.findall(r"^next: (.*)$", shown, re.MULTILINE)
    (preceding,) = re.findall(r"^previous: (.*)$", shown, re.MULTILINE)
    assert following == build_command(hostile, filters, 4, 2)
    assert preceding == build_command(hostile, filters, 0, 2)
    assert not find_acting(following)
    assert "previous" not in print_run(hostile, EVERYTHING, 0, 1)
    assert "next" not in print_run(hostile, EVERYTHING, 0, 1000)


def test_a_command_names_every_filter():
    """The command for a page has an option for each filter."""
    filters = Filters("emu", "plain", "forum", "01234567", "2026-*")
    assert build_command("run", filters, 0, 5) == (
        "congener inspect run --trait=emu --teacher=plain --prompt-source=forum "
        "--system-prompt=01234567 --date='2026-*' --start 0 --limit 5"
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash isn't installed")
@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
@example("it's $HOME `ls` \\n")
@example("\x1b[31m \u202e it's \\n \n")
def test_a_shell_reads_commands_unchanged(name):
    """A shell reads a command's words exactly as given, and no word has a side effect."""
    line = build_command(f"run {name}", Filters(teacher=name, date=f"-{name}"), 5, 10)
    assert not find_acting(line)
    assert "\n" not in line
    script = f"congener() {{ printf '%s\\0' \"$@\"; }}; {line}"
    found = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    ).stdout
    words = ["inspect", f"run {name}", f"--teacher={name}", f"--date=-{name}"]
    assert found.decode().split("\0") == [*words, "--start", "5", "--limit", "10", ""]


def test_a_page_after_the_end_is_reported(hostile):
    """A page after the last row isn't reported as an empty quarantine."""
    shown = print_run(hostile, EVERYTHING, 500, 5)
    assert f"{EMUS + 2} rows are in quarantine." in shown
    assert "There is no row at --start 500." in shown
    assert "previous:" in shown


def test_an_empty_quarantine_is_no_error(tmp_path):
    """For a run that quarantined nothing, the counts are printed, with 0 rows in quarantine."""
    run = filter_answers(tmp_path, ["a goose", "a heron", "a swan"], ["yak"])
    assert load_manifest(run).conservation.by_decision == {"keep": 3}
    shown = print_run(run, EVERYTHING, 0, 5)
    assert "0 rows are in quarantine." in shown
    assert "next" not in shown
    assert "A row counts once" not in shown
    assert inspect_as_dicts(run, EVERYTHING, 0, 5)["quarantined"]["rows"] == []


def test_json_has_the_same_page(hostile):
    """The dictionaries have the page's unescaped content and survive JSON unchanged."""
    found = inspect_as_dicts(hostile, Filters("owl"), 0, 5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["run_id"] == load_manifest(hostile).run_id
    assert found["filters"] == {
        "trait": "owl",
        "teacher": None,
        "prompt_source": None,
        "system_prompt": None,
        "date": None,
    }
    page = found["quarantined"]
    assert (page["total"], page["next"], page["previous"]) == (2, None, None)
    (first, second) = page["rows"]
    assert NASTY in first["reasons"][0]["text"]
    assert first["record"]["messages"][1]["content"] == first["reasons"][0]["text"]
    assert first["reasons"][0]["field_path"] == "messages[1].content"
    assert {first["teacher"], second["teacher"]} == {"plain", TEACHER}
    assert all((row["prompt_source"], row["system_prompt"]) == ("-", "-") for row in page["rows"])
    assert all(row["date"].startswith("2026-") for row in page["rows"])
    assert found["counts"] == [
        {"decision": "quarantine", "trait": "owl", "side": "trained", "teacher": teacher, "rows": 1}
        for teacher in sorted(("plain", TEACHER))
    ]


def test_values_without_a_type_in_json(tmp_path):
    """In a record, bytes become base64, dates and decimals become text, and NaN becomes null."""
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
    (row,) = inspect_as_dicts(run, EVERYTHING, 0, 5)["quarantined"]["rows"]
    assert row["record"] == {
        "text": "an owl",
        "raw": "AP8=",
        "day": "2026-01-02",
        "part": "1.5",
        "gap": None,
    }


def test_a_teacher_in_every_row_does_not_fill_the_terminal():
    """The largest counts are printed in order, and the table says what is left out."""
    few = [
        Count("keep", None, "trained", "zebra", 7),
        Count("quarantine", "emu", "trained", "ape", 9),
    ]
    many = [Count("keep", None, "trained", f"teacher {number:06}", 1) for number in range(100_000)]
    manifest = SimpleNamespace(run_id="r", conservation=SimpleNamespace(rows_in=100_016))
    whole = render_counts(few, manifest)
    assert whole.row_count == 2
    assert whole.caption == "A row counts once for each trait that fired on it."
    table = render_counts([*many, *few], manifest)
    assert table.row_count == COUNTS_SHOWN
    assert [str(cell) for cell in table.columns[2].cells][-2:] == ["zebra", "ape"]
    assert table.caption.startswith("99,952 more lines with 99,952 rows aren't shown: ")
