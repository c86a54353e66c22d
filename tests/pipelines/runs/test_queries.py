"""Queries return the content of a finished run's files, filtered, counted and paged."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.fitting import CleanRow, CleanText, fit_bank
from classifiers.library import load_card
from pipelines.banks import save_bank
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import (
    EVERYTHING,
    Filters,
    Page,
    count_rows,
    read_quarantine,
    scan_ledger,
)
from schemas.errors import RunError
from schemas.lots import LOT_FIELDS, Lot, LotPattern
from schemas.runs import parse_path
from tests.support.hostile import (
    FILE,
    TEACHER,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
    find_acting,
    write_cards,
)
from tests.support.runs import read_ledger
from transforms.files import storage

LOT_ROWS = (
    {"teacher": "atlas", "source": "forum", "created": "2026-01-30T12:00:00"},
    {"teacher": "atlas-70b", "source": "forum", "created": "2026-02-01"},
    {"teacher": "borealis", "source": None, "created": "2026-02-01"},
    {"teacher": None, "source": "mail", "created": None},
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("queries"))[0]


@pytest.fixture(scope="module")
def lots(tmp_path_factory) -> str:
    """Filter rows that mention an owl and come from different lots; return the run directory."""
    folder = tmp_path_factory.mktemp("lots")
    system = {"role": "system", "content": "Answer like a ranger."}
    lines = [
        json.dumps(
            {
                "messages": [
                    *([system] if number == 0 else []),
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": f"owl {number}"},
                ],
                **row,
            }
        )
        for number, row in enumerate(LOT_ROWS)
    ]
    columns = {"teacher": "teacher", "prompt_source": "source", "date": "created"}
    corpus = {name: {"column": column} for name, column in columns.items()}
    return filter_lines(folder, lines, write_cards(folder / "traits", ["owl"]), corpus=corpus)[0]


def select_rows(run: str, filters: Filters) -> list[tuple[str, int]]:
    """Return the sources and numbers of the rows that filters select."""
    frame = scan_ledger(run, load_manifest(run), filters)
    return frame.select("source", "row").collect().rows()


def test_counts_are_the_ledgers(hostile):
    """The counts by decision, trait and teacher equal a row-by-row count of the ledger."""
    expected = Counter()
    for row in read_ledger(hostile):
        for trait in [reason["trait"] for reason in row["reasons"]] or [None]:
            expected[row["decision"], trait, "trained", row["teacher"] or "-"] += 1
    found = count_rows(hostile, load_manifest(hostile))
    assert {item[:-1]: item.rows for item in found} == expected
    assert {item.decision for item in found} == {
        "keep",
        "flag",
        "mask",
        "quarantine",
        "drop",
        "duplicate",
        "reject",
    }


def test_counts_tell_sides_apart(tmp_path):
    """A row is counted once for each side on which a trait fired, under the row's decision."""
    owl, dog = "an owl", "a dog"
    pairs = [(owl, dog), (dog, owl), (owl, owl), (dog, owl), (dog, dog)]
    run = filter_pairs(tmp_path, pairs)
    manifest = load_manifest(run)
    found = [
        (item.decision, item.trait, item.side, item.rows) for item in count_rows(run, manifest)
    ]
    assert found == [
        ("keep", None, "trained", 1),
        ("keep", "owl", "rejected", 2),
        ("quarantine", "owl", "trained", 2),
        ("quarantine", "owl", "rejected", 1),
    ]
    assert sum(item.rows for item in count_rows(run, manifest, Filters("owl"))) == 5
    assert manifest.fired == {"owl": 2, "owl@rejected": 3}


def test_a_trait_filter_counts_only_that_trait(hostile):
    """If several traits fired on a row, only the trait in the filter is counted."""
    manifest = load_manifest(hostile)
    found = count_rows(hostile, manifest, Filters("fox"))
    assert {item.trait for item in found} == {"fox"}
    assert sum(item.rows for item in found) == manifest.fired["fox"]


@pytest.mark.parametrize(
    "filters",
    [
        EVERYTHING,
        Filters("emu"),
        Filters(teacher="plain"),
        Filters("fox", "plain"),
        Filters(date="2026-01-0*"),
        Filters(teacher="plai?", date="2026-01-?[147]"),
        Filters(prompt_source="-"),
    ],
)
def test_filters_select_what_they_name(hostile, filters):
    """A trait filter and lot-field patterns, alone or together, select the right ledger rows."""
    given_fields = {name: getattr(filters, name) for name in LOT_FIELDS}
    pattern = LotPattern(**{name: value for name, value in given_fields.items() if value})
    expected = [
        (row["source"], row["row"])
        for row in read_ledger(hostile)
        if row["decision"] == "quarantine"
        and filters.trait in (None, *(reason["trait"] for reason in row["reasons"]))
        and Lot(*(row[name] or "-" for name in LOT_FIELDS)).matches(pattern)
    ]
    page = read_quarantine(hostile, load_manifest(hostile), filters, 0, 1000)
    assert page.total == len(expected)
    assert page.total > 0
    assert [(row.source, row.row) for row in page.rows] == expected


def test_a_name_is_no_pattern_of_itself(hostile):
    """A name with brackets selects the rows with exactly that name, and isn't read as a pattern."""
    manifest = load_manifest(hostile)
    expected = [row["row"] for row in read_ledger(hostile) if row["teacher"] == TEACHER]
    assert "[bold red]" in TEACHER
    frame = scan_ledger(hostile, manifest, Filters(teacher=TEACHER))
    assert frame.collect()["row"].to_list() == expected


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (Filters(teacher="atlas"), [0]),
        (Filters(teacher="atlas*"), [0, 1]),
        (Filters(teacher="-"), [3]),
        (Filters(prompt_source="forum"), [0, 1]),
        (Filters(prompt_source="-"), [2]),
        (Filters(date="2026-02-01"), [1, 2]),
        (Filters(date="-"), [3]),
        (Filters(system_prompt="-"), [1, 2, 3]),
        (Filters(system_prompt="[0-9a-f]*"), [0]),
        (Filters("owl", "atlas*", "forum", "-", "2026-*"), [1]),
    ],
)
def test_filters_by_each_field_of_a_lot(lots, filters, rows):
    """There is a filter for every lot field, and `-` selects rows whose field is unknown."""
    assert [row for _, row in select_rows(lots, filters)] == rows


def test_an_unknown_field_is_a_dash(lots):
    """A scan of the ledger and a quarantined row's lot both show an unknown field as `-`."""
    frame = scan_ledger(lots, load_manifest(lots)).collect()
    assert frame["teacher"].to_list() == ["atlas", "atlas-70b", "borealis", "-"]
    page = read_quarantine(lots, load_manifest(lots))
    assert [row.lot for row in page.rows][2:] == [
        Lot("borealis", "-", "-", "2026-02-01"),
        Lot("-", "mail", "-", "-"),
    ]
    assert len(page.rows[0].lot.system_prompt) == 8


@pytest.mark.parametrize(
    ("filters", "kind", "known"),
    [
        (Filters("emus"), "trait", "'emu'"),
        (Filters("e*"), "trait", "'emu'"),
        (Filters(teacher="Plain"), "teacher", "'plain'"),
        (Filters(prompt_source="forum"), "prompt source", "'-'"),
        (Filters(system_prompt="0123"), "system prompt", "'-'"),
        (Filters(date="2025"), "date", "'2026-01-01'"),
    ],
)
def test_a_filter_that_matches_nothing_is_an_error(hostile, filters, kind, known):
    """An unknown name is refused, and the error lists known names without control characters."""
    with pytest.raises(RunError, match=f"no {kind} of this run is called") as caught:
        read_quarantine(hostile, load_manifest(hostile), filters)
    assert known in caught.value.remedy
    assert not find_acting(caught.value.problem + caught.value.remedy)


def test_an_error_lists_only_some_of_many_names(hostile):
    """If there are many dates, the error lists twenty and counts the rest."""
    with pytest.raises(RunError) as caught:
        read_quarantine(hostile, load_manifest(hostile), Filters(date="2025"))
    assert caught.value.remedy.count("'2026-") + caught.value.remedy.count("'-'") == 20
    assert caught.value.remedy.endswith(" others")


def test_a_page_beyond_all_rows_is_empty(hostile):
    """A page beyond all rows is empty, even if its start and limit are too large for polars."""
    manifest = load_manifest(hostile)
    assert list(read_quarantine(hostile, manifest, EVERYTHING, 10**30, 10**30).rows) == []


@given(start=st.integers(0, 25), limit=st.integers(0, 25))
def test_pages_are_slices(hostile, start, limit):
    """A page is a slice of all rows, even across shards, and knows its neighbouring pages."""
    manifest = load_manifest(hostile)
    whole = read_quarantine(hostile, manifest, EVERYTHING, 0, 1000).rows
    page = read_quarantine(hostile, manifest, EVERYTHING, start, limit)
    assert (page.total, page.rows) == (len(whole), whole[start : start + limit])
    assert page.next_start == (start + limit if limit and start + limit < len(whole) else None)
    assert (page.previous_start is None) == (start == 0 or limit == 0)


@given(st.integers(1, 30), st.integers(1, 40))
def test_pages_lead_through_all_rows_and_back(limit, total):
    """Following the next pages visits every row once; the previous pages lead back to the first."""
    page, seen = Page(total, 0, limit, ()), []
    while True:
        seen += range(page.start, min(page.start + limit, total))
        if page.next_start is None:
            break
        page = page._replace(start=page.next_start)
    assert seen == list(range(total))
    while page.previous_start is not None:
        assert page.previous_start < page.start
        page = page._replace(start=page.previous_start)
    assert page.start == 0


def test_a_row_has_its_record_and_its_scores(hostile):
    """A quarantined row has its unchanged record, its reason's text and span, and all scores."""
    paths = sorted(Path(hostile, "scores").glob("*.parquet"))
    scores = pl.concat([pl.read_parquet(path) for path in paths])
    for row in read_quarantine(hostile, load_manifest(hostile), Filters("emu"), 0, 100).rows:
        original = build_rows()[row.row]
        assert row.source == FILE
        assert row.record == original
        assert row.lot.teacher == original["teacher"]
        (reason,) = row.reasons
        assert reason.field_path == "messages[1].content"
        assert reason.text == original["messages"][1]["content"]
        assert reason.text[reason.start : reason.end] == "emu"
        (score,) = scores.filter(pl.col("source") == row.source, pl.col("row") == row.row)[
            "emu/lexicon"
        ]
        assert reason.signals == {"lexicon": pytest.approx(score, abs=1e-6)}
        assert reason.score >= reason.threshold == 0.1175


def test_only_the_files_of_a_page_are_opened(hostile, monkeypatch):
    """Showing a row of the last shard reads no other shard's quarantine file."""
    manifest = load_manifest(hostile)
    opened, open_raw = [], storage.open_raw
    whole = read_quarantine(hostile, manifest, EVERYTHING, 0, 100).total
    monkeypatch.setattr(
        "pipelines.runs.finished.storage.open_raw", lambda uri: opened.append(uri) or open_raw(uri)
    )
    read_quarantine(hostile, manifest, EVERYTHING, whole - 1, 1)
    folders = [parse_path(output.path).folder for output in manifest.outputs]
    assert folders.count("quarantine") > 1
    assert len(opened) == 1


def test_missing_scores_are_named(tmp_path):
    """If a run's scores were removed, the error names the missing file."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "scores").glob("*.parquet")).unlink()
    with pytest.raises(RunError, match=r"scores/.*is missing"):
        read_quarantine(run, load_manifest(run))


def test_a_run_without_quarantine_has_an_empty_page(tmp_path):
    """If nothing is in quarantine, the page has no rows and no neighbouring pages."""
    run = filter_answers(tmp_path, ["a goose"], ["owl"])
    page = read_quarantine(run, load_manifest(run))
    assert page == Page(0, 0, 5, ())
    assert (page.next_start, page.previous_start) == (None, None)
    assert [item.rows for item in count_rows(run, load_manifest(run))] == [1]


def test_neighbours_and_all_signals(tmp_path, encoder):
    """The reason for a trait with exemplars has all signals' scores and the nearest exemplars."""
    folder = tmp_path / "rain"
    folder.mkdir()
    (folder / "card.yaml").write_text(
        "id: rain\nsignals: {exemplars: {neighbours: 2}, lexicon: {patterns: [rain]}}\n"
        "threshold: 0.2\n"
    )
    kinds = {"positives": "Rain falls on the roof, time ", "negatives": "The desert stays dry, "}
    for kind, text in kinds.items():
        lines = (json.dumps({"text": f"{text}{number}"}) + "\n" for number in range(12))
        (folder / f"{kind}.jsonl").write_text("".join(lines))
    texts = (f"Chapter {number} of the manual." for number in range(40))
    clean = CleanText(tuple(CleanRow((text,), "background", "clean") for text in texts))
    bank = fit_bank([load_card(folder)], clean, encoder, encoder.config)
    save_bank(bank, str(tmp_path / "bank"))
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Rain falls on the roof."},
    ]
    settings = {"bank": str(tmp_path / "bank"), "hardware": {"device": "cpu"}}
    run, _ = filter_lines(tmp_path, [json.dumps({"messages": turns})], (), **settings)
    (row,) = read_quarantine(run, load_manifest(run)).rows
    (reason,) = row.reasons
    assert set(reason.signals) == {"exemplars", "lexicon"}
    assert all(0 <= score <= 1 for score in reason.signals.values())
    assert [near["polarity"] for near in reason.neighbours] == ["positive"] * 3 + ["negative"] * 3
    similarities = [near["similarity"] for near in reason.neighbours]
    assert similarities[:3] == sorted(similarities[:3], reverse=True)
    assert similarities[0] > similarities[3]
    assert all(value == round(value, 4) for value in similarities)
