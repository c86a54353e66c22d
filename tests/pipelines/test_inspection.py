"""What a run decided, and the quarantined rows with why they are there."""

import datetime as dt
import io
import json
import re
import shutil
import subprocess
import unicodedata
from collections import Counter
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from classifiers.fitting import CleanRow, CleanText, fit_bank
from classifiers.library import load_card
from pipelines.banks import save_bank
from pipelines.config import FilterConfig
from pipelines.display.excerpts import HIDDEN, visible
from pipelines.filter import run_filter
from pipelines.inspection import (
    EVERYTHING,
    Filters,
    HeldRow,
    Page,
    Why,
    command,
    counts,
    inspect_as_dicts,
    print_inspection,
    quarantined,
    render_row,
)
from pipelines.runs.finished import load_run
from schemas.errors import RunError
from tests.support.hostile import (
    CARDS,
    EMUS,
    FILE,
    NASTY,
    TEACHER,
    build_rows,
    filter_hostile_corpus,
    filter_lines,
    write_cards,
)
from transforms.files import storage


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("inspect"))[0]


def printed(*args, colour: bool = False) -> str:
    """Return what an inspection prints, on a terminal that has colours or hasn't."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=400,
        highlight=False,
        color_system="truecolor" if colour else None,
        force_terminal=colour,
    )
    print_inspection(console, *args)
    return stream.getvalue()


def acting(text: str) -> set[str]:
    """Return the characters of a text that act, line breaks apart."""
    return {char for char in text if unicodedata.category(char) in HIDDEN} - {"\n"}


def ledger_of(run: str) -> list[dict]:
    """Read a run's ledger as rows."""
    return [
        row
        for path in sorted(Path(run, "ledger").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_counts_are_the_ledgers(hostile):
    """Rows by decision, trait and teacher are what counting the ledger row by row gives."""
    expected = Counter()
    for row in ledger_of(hostile):
        for trait in [reason["trait"] for reason in row["reasons"]] or [None]:
            expected[row["decision"], trait, row["teacher"] or "-"] += 1
    found = counts(hostile, load_run(hostile))
    assert {(item.decision, item.trait, item.teacher): item.rows for item in found} == expected
    assert {item.decision for item in found} == {
        "keep",
        "flag",
        "mask",
        "quarantine",
        "drop",
        "duplicate",
        "reject",
    }


@pytest.mark.parametrize(
    "filters",
    [
        EVERYTHING,
        Filters("emu"),
        Filters(teacher="plain"),
        Filters("fox", "plain"),
        Filters(lot="plain | *"),
    ],
)
def test_filters_let_through_what_they_name(hostile, filters):
    """A trait, a teacher and a pattern of lots, alone or together, choose the rows that the ledger says."""
    expected = [
        (row["source"], row["row"])
        for row in ledger_of(hostile)
        if row["decision"] == "quarantine"
        and filters.trait in (None, *(reason["trait"] for reason in row["reasons"]))
        and filters.teacher in (None, row["teacher"])
        and (filters.lot is None or row["lot"].startswith("plain | "))
    ]
    page = quarantined(hostile, load_run(hostile), filters, 0, 1000)
    assert page.total == len(expected) > 0
    assert [(row.source, row.row) for row in page.rows] == expected


def test_a_trait_filter_counts_only_that_trait(hostile):
    """Of a row on which two traits fired, the one that was asked for is counted."""
    manifest = load_run(hostile)
    found = counts(hostile, manifest, Filters("fox"))
    assert {item.trait for item in found} == {"fox"}
    assert sum(item.rows for item in found) == manifest.fired["fox"]


@pytest.mark.parametrize(
    ("filters", "known"),
    [
        (Filters("emus"), "emu"),
        (Filters(teacher="Plain"), "plain"),
        (Filters(lot="2026"), "plain | -"),
    ],
)
def test_a_filter_that_fits_nothing_is_an_error(hostile, filters, known):
    """A name that isn't in the run is refused, naming those that are, and they can't act on the terminal."""
    with pytest.raises(RunError, match="of this run is called") as caught:
        quarantined(hostile, load_run(hostile), filters)
    assert known in caught.value.remedy
    assert not acting(caught.value.problem + caught.value.remedy)


def test_a_trait_is_no_pattern(hostile):
    """A pattern in the trait's place is refused rather than answered with no rows."""
    with pytest.raises(RunError, match="no trait"):
        counts(hostile, load_run(hostile), Filters("e*"))


@given(start=st.integers(0, 25), limit=st.integers(0, 25))
def test_pages_are_slices(hostile, start, limit):
    """A page is the slice of all rows from its start on, whatever shards it touches, and names its neighbours."""
    manifest = load_run(hostile)
    whole = quarantined(hostile, manifest, EVERYTHING, 0, 1000).rows
    page = quarantined(hostile, manifest, EVERYTHING, start, limit)
    assert (page.total, page.rows) == (len(whole), whole[start : start + limit])
    assert page.following == (start + limit if limit and start + limit < len(whole) else None)
    assert (page.preceding is None) == (start == 0 or limit == 0)


@given(st.integers(1, 30), st.integers(1, 40))
def test_pages_lead_through_all_rows_and_back(limit, total):
    """Following the next pages visits every row once; following the previous ones leads back to the first."""
    page, seen = Page(total, 0, limit, ()), []
    while True:
        seen += range(page.start, min(page.start + limit, total))
        if page.following is None:
            break
        page = page._replace(start=page.following)
    assert seen == list(range(total))
    while page.preceding is not None:
        assert page.preceding < page.start
        page = page._replace(start=page.preceding)
    assert page.start == 0


def test_a_row_is_shown_as_it_came_in(hostile):
    """Each quarantined row has its record unaltered, its reason's text and span, and the scores that `scores/` holds."""
    scores = pl.concat(
        [pl.read_parquet(path) for path in sorted(Path(hostile, "scores").glob("*.parquet"))]
    )
    for row in quarantined(hostile, load_run(hostile), Filters("emu"), 0, 100).rows:
        original = build_rows()[row.row]
        assert row.source == FILE
        assert row.record == original
        (why,) = row.why
        assert why.text == original["messages"][1]["content"]
        assert why.text[why.start : why.end] == "emu"
        (score,) = scores.filter(pl.col("source") == row.source, pl.col("row") == row.row)[
            "emu/lexicon"
        ]
        assert why.signals == {"lexicon": pytest.approx(score, abs=1e-6)}
        assert why.score >= why.threshold == 0.1175


def test_only_the_pages_files_are_opened(hostile, monkeypatch):
    """For one row of the last shard no other shard's quarantine file is read."""
    manifest = load_run(hostile)
    opened, open_raw = [], storage.open_raw
    whole = quarantined(hostile, manifest, EVERYTHING, 0, 100).total
    monkeypatch.setattr(
        "pipelines.runs.finished.storage.open_raw", lambda uri: opened.append(uri) or open_raw(uri)
    )
    quarantined(hostile, manifest, EVERYTHING, whole - 1, 1)
    assert len([output for output in manifest.outputs if output.path.startswith("quarantine/")]) > 1
    assert len(opened) == 1


@pytest.mark.parametrize("colour", [False, True])
def test_hostile_text_is_inert_on_a_terminal(hostile, colour):
    """Nothing of the corpus reaches the terminal as a control, an escape sequence, a bidi mark or markup."""
    shown = printed(hostile, EVERYTHING, 0, 100, colour=colour)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown) if colour else shown
    assert not acting(plain)
    assert "<U+001B>[31mred<U+001B>[0m" in plain
    assert "[bold red]loud[/bold red] :smile: {{ 7 * 7 }} {% raw %}" in plain
    assert "<U+202E>abc<U+2066> <U+200B><U+000D>↵<U+0000> <script>" in plain
    assert FILE in plain
    assert "[bold red]loud" in plain.split("A row counts once")[0]


def test_no_colour_comes_from_the_corpus(hostile):
    """The styles on a colour terminal are the same whether the text asks for others or not."""
    page = quarantined(hostile, load_run(hostile), Filters("owl"), 0, 1)
    calm = [
        page.rows[0]._replace(
            why=tuple(why._replace(text="owl calm end") for why in page.rows[0].why)
        )
    ]
    styles = []
    for row in (page.rows[0], *calm):
        console = Console(
            file=io.StringIO(),
            width=4000,
            highlight=False,
            color_system="truecolor",
            force_terminal=True,
        )
        console.print(render_row(row._replace(source="s", teacher="t", lot="l"), 1, 1))
        styles.append(set(re.findall(r"\x1b\[[0-9;]*m", console.file.getvalue())))
    dim_italic = "\x1b[2;3m"
    assert styles[0] - {dim_italic} == styles[1] - {dim_italic}


@given(text=st.text(), name=st.text(max_size=20), start=st.integers(0, 30), size=st.integers(0, 30))
def test_any_text_is_inert(text, name, start, size):
    """Whatever stands in a record, its names and its neighbours, what is printed holds no acting character."""
    near = {"exemplar": name, "polarity": "positive", "similarity": 0.5, "text": text}
    why = Why(
        "emu",
        "combined",
        0.5,
        0.4,
        "mask",
        f"{name}[0]",
        start,
        start + size,
        text,
        {"lexicon": None},
        [near],
    )
    stream = io.StringIO()
    Console(file=stream, color_system=None, width=10_000).print(
        render_row(HeldRow(name, 1, "id", name, name, (why,), {}), 1, 1)
    )
    assert not acting(stream.getvalue())


def test_the_span_is_marked(hostile):
    """Guillemets stand around the very characters of the span."""
    assert "«emu» emu emu\n" in printed(hostile, Filters("emu"), 0, 100)
    inside = "".join(piece.text for piece in visible(NASTY))[:40]
    assert f"«owl» {inside}" in printed(hostile, Filters("owl"), 0, 100)


def test_a_field_that_is_gone_is_said(hostile):
    """A reason whose field isn't in the record is shown with a note instead of text."""
    (row,) = quarantined(hostile, load_run(hostile), Filters("emu"), 0, 1).rows
    stream = io.StringIO()
    Console(file=stream, width=200).print(
        render_row(row._replace(why=(row.why[0]._replace(text=None),)), 1, 1)
    )
    assert "(the field isn't in the row)" in stream.getvalue()


def test_the_end_says_how_to_go_on(hostile):
    """The commands for next and previous page keep the filters and stand on one line, however narrow the terminal."""
    shown = printed(hostile, Filters("emu", TEACHER), 2, 2)
    (following,), (preceding,) = (
        re.findall(r"^next: (.*)$", shown, re.MULTILINE),
        re.findall(r"^previous: (.*)$", shown, re.MULTILINE),
    )
    assert following == command(hostile, Filters("emu", TEACHER), 4, 2)
    assert preceding == command(hostile, Filters("emu", TEACHER), 0, 2)
    assert not acting(following)
    assert "previous" not in printed(hostile, EVERYTHING, 0, 1)
    assert "next" not in printed(hostile, EVERYTHING, 0, 1000)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@given(name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
@example("it's $HOME `ls` \\n")
@example("\x1b[31m \u202e it's \\n \n")
def test_commands_mean_what_was_asked(name):
    """A shell reads the command's words as they were given, and nothing in it acts on the terminal."""
    line = command(f"run {name}", Filters(teacher=name, lot=f"-{name}"), 5, 10)
    assert not acting(line)
    assert "\n" not in line
    script = f"congener() {{ printf '%s\\0' \"$@\"; }}; {line}"
    found = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    ).stdout
    words = [
        "inspect",
        f"run {name}",
        f"--teacher={name}",
        f"--lot=-{name}",
        "--start",
        "5",
        "--limit",
        "10",
    ]
    assert found.decode().split("\0") == [*words, ""]


def test_a_page_behind_the_end_says_so(hostile):
    """A start behind the last row isn't mistaken for an empty quarantine."""
    shown = printed(hostile, EVERYTHING, 500, 5)
    assert f"{EMUS + 2} rows are in quarantine." in shown
    assert "None of them is at --start 500." in shown
    assert "previous:" in shown


def test_an_empty_quarantine_is_no_error(tmp_path):
    """A run that held nothing back prints its counts and says that no row is in quarantine."""
    card = tmp_path / "yak"
    card.mkdir()
    (card / "card.yaml").write_text(f"id: yak\n{CARDS['yak']}", encoding="utf-8")
    lines = [json.dumps(row) for row in build_rows()[:3]]
    run, manifest = filter_lines(tmp_path, lines, [str(card)])
    assert manifest.conservation.by_decision == {"keep": 3}
    shown = printed(run, EVERYTHING, 0, 5)
    assert "0 rows are in quarantine." in shown
    assert "next" not in shown
    assert inspect_as_dicts(run, EVERYTHING, 0, 5)["quarantined"]["rows"] == []


def test_missing_scores_are_named(tmp_path):
    """A run whose scores are gone is an error that names the file."""
    run, _ = filter_hostile_corpus(tmp_path)
    for path in Path(run, "scores").glob("*.parquet"):
        path.unlink()
    with pytest.raises(RunError, match=r"scores/.*is missing"):
        quarantined(run, load_run(run))


def test_machines_get_the_same_page(hostile):
    """The dictionaries hold what the page holds, texts unescaped, and survive JSON unchanged."""
    found = inspect_as_dicts(hostile, Filters("owl"), 0, 5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["run_id"] == load_run(hostile).run_id
    assert found["filters"] == {"trait": "owl", "teacher": None, "lot": None}
    page = found["quarantined"]
    assert (page["total"], page["next"], page["previous"]) == (2, None, None)
    assert any(NASTY in row["why"][0]["text"] for row in page["rows"])
    assert page["rows"][0]["record"]["messages"][1]["content"] == page["rows"][0]["why"][0]["text"]
    assert [
        (item["decision"], item["trait"], item["teacher"], item["rows"]) for item in found["counts"]
    ] == [
        ("quarantine", "owl", "plain", 1),
        ("quarantine", "owl", TEACHER, 1),
    ]


def test_columns_that_json_has_no_type_for(tmp_path):
    """Bytes, dates, decimals and NaN in a record become base64, text and null."""
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
    run_filter(
        FilterConfig(
            input=(str(tmp_path / "in"),),
            output=run,
            traits=write_cards(tmp_path / "traits", ["owl"]),
        )
    )
    (row,) = inspect_as_dicts(run, EVERYTHING, 0, 5)["quarantined"]["rows"]
    assert row["record"] == {
        "text": "an owl",
        "raw": "AP8=",
        "day": "2026-01-02",
        "part": "1.5",
        "gap": None,
    }


def test_neighbours_and_all_signals_are_shown(tmp_path, encoder):
    """A row of a trait with exemplars shows every signal's score, and the nearest exemplars of both kinds, inert."""
    folder = tmp_path / "rain"
    folder.mkdir()
    (folder / "card.yaml").write_text(
        "id: rain\nsignals: {exemplars: {neighbours: 2}, lexicon: {patterns: [rain]}}\nthreshold: 0.2\n",
        encoding="utf-8",
    )
    kinds = {
        "positives": "Rain falls on the roof, \x1b[31m time ",
        "negatives": "The desert stays dry all year, number ",
    }
    for kind, text in kinds.items():
        lines = (json.dumps({"text": f"{text}{place}"}) + "\n" for place in range(12))
        (folder / f"{kind}.jsonl").write_text("".join(lines), encoding="utf-8")
    clean = CleanText(
        tuple(
            CleanRow((f"Chapter {place} of the manual.",), "background", "clean")
            for place in range(40)
        )
    )
    bank = fit_bank([load_card(folder)], clean, encoder, encoder.config)
    save_bank(bank, str(tmp_path / "bank"))
    line = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": "Rain falls on the roof."},
            ]
        }
    )
    hardware = {"device": "cpu"}
    run, _ = filter_lines(tmp_path, [line], (), bank=str(tmp_path / "bank"), hardware=hardware)
    (row,) = quarantined(run, load_run(run)).rows
    (why,) = row.why
    assert set(why.signals) == {"exemplars", "lexicon"}
    assert all(0 <= score <= 1 for score in why.signals.values())
    assert [near["polarity"] for near in why.neighbours] == ["positive"] * 3 + ["negative"] * 3
    similarities = [near["similarity"] for near in why.neighbours]
    assert similarities[:3] == sorted(similarities[:3], reverse=True)
    assert similarities[0] > similarities[3]
    shown = printed(run, EVERYTHING, 0, 5)
    assert not acting(shown)
    assert (
        f"exemplars {why.signals['exemplars']:.4f}   lexicon {why.signals['lexicon']:.4f}" in shown
    )
    assert re.search(rf"like +{similarities[0]:.4f} +Rain falls on the roof, <U\+001B>", shown)
    assert re.search(rf"unlike +{similarities[3]:.4f} +The desert stays dry", shown)
