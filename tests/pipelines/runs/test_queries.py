"""Queries of a finished run: filters and counts."""

import json
from collections import Counter

import pytest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import (
    EVERYTHING,
    ROW_NUMBER,
    Filters,
    count_rows,
    scan_ledger,
)
from pipelines.runs.queries import _match_files as match_files
from schemas.errors import RunError
from schemas.lots import LOT_FIELDS, Lot, LotPattern
from tests.support.hostile import (
    FILE,
    TEACHER,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
    find_acting,
    write_cards,
)
from tests.support.runs import read_ledger

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
    """Filter rows about an owl from different lots."""
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
    """Return the selected rows' sources and numbers."""
    frame = scan_ledger(run, load_manifest(run), filters)
    return frame.select("source", "row").collect().rows()


def test_counts_are_the_ledgers(hostile):
    """The counts equal a row-by-row count of the ledger."""
    expected = Counter()
    for row in read_ledger(hostile):
        for trait in [reason["trait"] for reason in row["reasons"]] or [None]:
            expected[row["decision"], trait, "trained", row["teacher"] or "-"] += 1
    found = count_rows(hostile, load_manifest(hostile))
    assert {item[:4]: item.rows for item in found} == expected
    teachers = Counter(row["teacher"] or "-" for row in read_ledger(hostile))
    assert all(item.of == teachers[item.teacher] for item in found)
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
    """A row counts once for each side with a finding."""
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


def test_counts_say_which_traits_decided(tmp_path):
    """A trait with a milder action than the decision, or an exception, didn't decide."""
    lines = [
        json.dumps({"text": f"a fox with an owl {number}", "teacher": f"t{number}"})
        for number in range(3)
    ]
    policy = (
        "traits: {owl: {action: quarantine}, fox: {action: mask}}\n"
        "exceptions:\n"
        f"  - {{row: '{FILE}:0', trait: owl, action: keep, reason: a test}}\n"
        "  - {lot: {teacher: t1}, trait: fox, action: swap, reason: a test}\n"
    )
    run, manifest = filter_lines(
        tmp_path, lines, write_cards(tmp_path / "traits", ["fox", "owl"]), policy
    )
    found = {
        (item.teacher, item.decision, item.trait): item.decides
        for item in count_rows(run, manifest)
    }
    assert found == {
        ("t0", "mask", "fox"): True,
        ("t0", "mask", "owl"): False,
        ("t1", "quarantine", "fox"): True,
        ("t1", "quarantine", "owl"): True,
        ("t2", "quarantine", "fox"): False,
        ("t2", "quarantine", "owl"): True,
    }


def test_a_trait_filter_counts_only_that_trait(hostile):
    """A trait filter counts only that trait."""
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
    """A trait filter and lot patterns select the right rows."""
    given_fields = {name: getattr(filters, name) for name in LOT_FIELDS}
    pattern = LotPattern(**{name: value for name, value in given_fields.items() if value})
    expected = [
        (row["source"], row["row"])
        for row in read_ledger(hostile)
        if row["decision"] == "quarantine"
        and filters.trait in (None, *(reason["trait"] for reason in row["reasons"]))
        and Lot(*(row[name] or "-" for name in LOT_FIELDS)).matches(pattern)
    ]
    assert select_rows(hostile, filters._replace(decision="quarantine")) == expected
    assert expected


def test_a_name_is_no_pattern_of_itself(hostile):
    """A name with brackets selects exactly that name."""
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
    """Every lot field has a filter, and `-` selects unknown values."""
    assert [row for _, row in select_rows(lots, filters)] == rows


def test_an_unknown_field_is_a_dash(lots):
    """An unknown field is `-` in a scan."""
    frame = scan_ledger(lots, load_manifest(lots)).collect()
    assert frame["teacher"].to_list() == ["atlas", "atlas-70b", "borealis", "-"]


@pytest.mark.parametrize(
    ("filters", "kind", "known"),
    [
        (Filters("emus"), "trait", "'emu'"),
        (Filters("e*"), "trait", "'emu'"),
        (Filters(teacher="Plain"), "teacher", "'plain'"),
        (Filters(prompt_source="forum"), "prompt source", "'-'"),
        (Filters(system_prompt="0123"), "system prompt", "'-'"),
        (Filters(date="2025"), "date", "'2026-01-01'"),
        (Filters(decision="masked"), "decision", "'mask'"),
        (Filters(file="row"), "file", "[blink].jsonl'"),
    ],
)
def test_a_filter_that_matches_nothing_is_an_error(hostile, filters, kind, known):
    """The error for an unknown name lists known names without control characters."""
    with pytest.raises(RunError, match=f"no {kind} of this run is called") as caught:
        scan_ledger(hostile, load_manifest(hostile), filters)
    assert known in caught.value.remedy
    assert not find_acting(caught.value.problem + caught.value.remedy)


def test_an_error_lists_only_some_of_many_names(hostile):
    """The error for an unknown date lists twenty dates and counts the rest."""
    with pytest.raises(RunError) as caught:
        scan_ledger(hostile, load_manifest(hostile), Filters(date="2025"))
    assert caught.value.remedy.count("'2026-") + caught.value.remedy.count("'-'") == 20
    assert caught.value.remedy.endswith(" others")


@pytest.mark.parametrize(
    ("written", "number"), [("1194", 1194), ("1,194", 1194), ("1,194,000", 1194000)]
)
def test_a_number_may_have_the_commas_of_tables(written, number):
    """Numbers in tables have commas, so such a number may be copied; other commas are no number."""
    assert ROW_NUMBER.fullmatch(written)
    assert int(written.replace(",", "")) == number
    for wrong in (f"{written},", f"0{written},1", "1,19", ",194"):
        assert not ROW_NUMBER.fullmatch(wrong)


@pytest.mark.parametrize(
    ("row", "rows"),
    [("2", [2]), (f"{FILE}:2", [2]), ("other.jsonl:2", None), ("999999", None), ("9" * 40, None)],
)
def test_a_row_is_named_by_its_number(hostile, row, rows):
    """A row's number selects it, with or without its file."""
    if rows is None:
        with pytest.raises(RunError, match="no row of this run is") as caught:
            select_rows(hostile, Filters(row=row))
        assert "blink" in caught.value.remedy
        assert not find_acting(caught.value.problem + caught.value.remedy)
    else:
        assert select_rows(hostile, Filters(row=row)) == [(FILE, number) for number in rows]


def test_a_row_is_named_by_its_record_id(hostile):
    """A record id selects every row with that content."""
    (first, *_) = read_ledger(hostile)
    same = [row["row"] for row in read_ledger(hostile) if row["record_id"] == first["record_id"]]
    found = select_rows(hostile, Filters(row=first["record_id"]))
    assert [number for _, number in found] == same
    assert len(same) > 1


def test_rows_to_swap_are_in_quarantine(hostile):
    """The error for the decision swap names the decision to use."""
    with pytest.raises(RunError, match="in quarantine") as caught:
        select_rows(hostile, Filters(decision="swap"))
    assert caught.value.remedy.startswith("--decision quarantine")


def test_replaced_rows_count_for_the_trait_of_their_old_answer(swapped):
    """In a swapped run, `swap` with a trait selects and counts the rows replaced because of it."""
    run = str(swapped)
    replaced = [row for row in read_ledger(run) if row["decision"] == "swap"]
    found = select_rows(run, Filters("heron", decision="swap"))
    assert found == [(row["source"], row["row"]) for row in replaced]
    counts = count_rows(run, load_manifest(run), Filters(decision="swap"))
    assert {item.trait for item in counts} == {"heron"}
    assert sum(item.rows for item in counts) == len(replaced)
    assert counts == count_rows(run, load_manifest(run), Filters("heron", decision="swap"))
    held = select_rows(run, Filters("heron", decision="quarantine"))
    assert len(held) == load_manifest(run).swap.counts.waiting


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("a/x.jsonl", ["a/x.jsonl"]),
        ("a", ["a/b/x.jsonl", "a/x.jsonl"]),
        ("a/b/", ["a/b/x.jsonl"]),
        ("*x.jsonl", ["a/b/x.jsonl", "a/x.jsonl", "ab/x.jsonl"]),
        ("a?/x.jsonl", ["ab/x.jsonl"]),
    ],
)
def test_files_are_named_by_folders_and_patterns(wanted, names):
    """A file's name, a folder above it at any depth, or a pattern selects files."""
    assert match_files(wanted, ["ab/x.jsonl", "a/x.jsonl", "a/b/x.jsonl"]) == names
