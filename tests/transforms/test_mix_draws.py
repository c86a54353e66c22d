"""Draws: which rows may be added, how many each lot needs, and which ones it gets."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lots import LOT_FIELDS
from schemas.outputs import LEDGER, MIXED
from tests.support.swaps import ask, list_donor_files
from transforms.mix_draws import (
    CANDIDATE,
    Candidates,
    Cell,
    count_lots,
    draw_rows,
    encode_lot,
    is_held_out,
    list_candidates,
    plan_cells,
    read_keys,
    sum_by_lot,
    tabulate_draw,
)
from transforms.stored_rows import read_table

ATLAS, CEDAR = ("atlas", None, None, None), ("cedar", "quiz", None, None)
NONE_KNOWN = np.empty(0, np.uint64)


def build_candidates(teachers, files=None):
    """Return candidates of these teachers, in this order."""
    names = list(dict.fromkeys(teachers))
    rows = np.zeros(len(teachers), CANDIDATE)
    rows["order"] = rows["place"] = rows["key"] = np.arange(len(teachers))
    rows["teacher"] = [names.index(name) for name in teachers]
    rows["file"] = files if files is not None else 0
    return Candidates(rows, names, 0)


def build_ledger(rows):
    """Return a ledger from pairs of a teacher and a decision."""
    return pa.Table.from_pylist(
        [
            {"teacher": teacher, "decision": decision, "source": "a.jsonl", "row": number}
            for number, (teacher, decision) in enumerate(rows)
        ],
        LEDGER,
    )


def test_lots_are_counted_by_their_clean_rows():
    """Rows that were removed don't count, and unknown fields are a lot of their own."""
    rows = [
        ("atlas", "keep"),
        ("atlas", "flag"),
        ("atlas", "drop"),
        (None, "swap"),
        ("b", "reject"),
    ]
    assert count_lots(build_ledger(rows)) == {ATLAS: 2, (None, None, None, None): 1}


def test_rows_that_were_added_before_dont_count():
    """The share is that of the run's own rows."""
    ledger = build_ledger([("atlas", "keep"), ("elm", "mix")])
    for name, kind in MIXED:
        ledger = ledger.append_column(name, pa.array([None, "x"], kind))
    assert count_lots(ledger) == {ATLAS: 1}


def test_a_lot_is_written_as_a_list_of_its_fields():
    """Fields can hold any sign, and unknown ones are null."""
    assert encode_lot(ATLAS) == '["atlas",null,null,null]'
    assert encode_lot(('a"b', "é", None, None)) == '["a\\"b","é",null,null]'


@pytest.mark.parametrize(
    ("source", "card", "expected"),
    [
        ("a.jsonl", None, False),
        ("train.jsonl", None, False),
        ("test.jsonl", None, True),
        ("validation/a.jsonl", None, True),
        ("data/dev.jsonl", None, True),
        ("test.jsonl", {"default": {"splits": [["train", "test.jsonl"]]}}, False),
        ("a.jsonl", {"default": {"splits": [["test_sft", "a.*"]]}}, True),
        (
            "a.jsonl",
            {"x": {"splits": [["train", "a.*"]]}, "y": {"splits": [["test", "a.*"]]}},
            True,
        ),
        ("a.jsonl", {"x": {}}, False),
    ],
)
def test_validation_and_test_splits_are_held_out(source, card, expected):
    """The dataset card decides, and otherwise the name of the file or folder."""
    assert is_held_out(source, card) is expected


@pytest.fixture
def donor(store):
    """Store a donor with four clean rows, a row that is flagged and one in quarantine."""
    texts = ["A dog.", "A cat.", "A fox.", "An owl.", "A crane.", "A dove."]
    rows = [ask(number, text) for number, text in enumerate(texts)]
    rows[1]["teacher"] = "maple"
    run, layout, shards = store("donor", rows, size=4)
    return list_donor_files(run, shards, layout)


def list_places(files, found):
    """Return the file and the place of every candidate, sorted."""
    return sorted((files[row["file"]].path, int(row["place"])) for row in found.rows)


def test_only_rows_without_a_finding_are_candidates(donor):
    """A flagged row is in `clean/`, but it is never drawn."""
    found = list_candidates(donor, NONE_KNOWN, 0)
    clean = [file.path for file in donor if file.path.startswith("clean/")]
    assert list_places(donor, found) == sorted(
        [(clean[0], 0), (clean[0], 1), (clean[1], 0), (clean[1], 1)]
    )
    assert found.repeated == 0


def test_a_row_without_a_teacher_has_the_donors_name(donor):
    """The teacher is the row's own, and otherwise the donor is the teacher."""
    found = list_candidates(donor, NONE_KNOWN, 0)
    counts = Counter(found.teachers[row["teacher"]] for row in found.rows)
    assert set(counts) <= {"maple", "cedar"}
    assert counts["cedar"] >= 3


def test_rows_of_the_run_are_no_candidates(donor):
    """A row whose content the run has is left out and counted."""
    first = next(file for file in donor if file.path.startswith("clean/"))
    keys = read_keys(read_table(first.run, first.ledger))
    found = list_candidates(donor, keys, 0)
    assert len(found.rows) == found.repeated == 2


def test_a_row_that_is_given_twice_is_one_candidate(donor):
    """The first donor's row is taken, in whatever order the seed puts it."""
    again = [file._replace(number=1, name="oak") for file in donor]
    for seed in range(4):
        found = list_candidates([*donor, *again], NONE_KNOWN, seed)
        assert (len(found.rows), found.repeated) == (4, 4)
        assert max(found.rows["file"]) < len(donor)


def test_the_seed_decides_the_order_and_files_dont(donor):
    """The same seed gives the same order of contents with the files in another order."""
    one = list_candidates(donor, NONE_KNOWN, 5).rows["key"].tolist()
    other = list_candidates(donor[::-1], NONE_KNOWN, 5).rows["key"].tolist()
    assert one == other
    orders = {tuple(list_candidates(donor, NONE_KNOWN, seed).rows["key"]) for seed in range(8)}
    assert len(orders) > 1


def test_keys_are_the_first_digits_of_the_digests():
    """Each row has a 64-bit number, and an empty ledger has none."""
    digests = ["00000000000000ff" + "0" * 48, "f" * 64]
    ledger = pa.table({"content_digest": digests})
    assert read_keys(ledger).tolist() == [255, 2**64 - 1]
    assert read_keys(ledger.slice(0, 0)).size == 0


CELLS = st.lists(
    st.tuples(st.sampled_from(["atlas", "cedar", None]), st.integers(0, 2), st.integers(1, 30)),
    min_size=1,
    max_size=8,
).map(
    lambda items: sorted(
        (Cell((teacher, None, None, None), f"s{shard}", rows) for teacher, shard, rows in items),
        key=lambda cell: cell.lot[0] or "",
    )
)


@given(CELLS, st.fractions(0, 9))
def test_every_lot_and_the_whole_are_within_a_row_of_the_share(cells, ratio):
    """Rounding errors of single cells don't add up."""
    wanted = plan_cells(cells, ratio)
    assert min(wanted) >= 0
    whole = sum(cell.rows for cell in cells)
    assert abs(int(wanted.sum()) - whole * ratio) <= Fraction(1, 2)
    for rows, needed in sum_by_lot(cells, wanted.tolist()).values():
        assert abs(needed - rows * ratio) <= 1


@given(CELLS, st.lists(st.sampled_from(["atlas", "cedar", "oak"]), max_size=60), st.integers(1, 3))
def test_a_draw_gives_no_row_twice_and_none_to_its_own_teacher(cells, teachers, parts):
    """Whatever the candidates, no lot gets more than it needs, and no row of its teacher."""
    ratio = Fraction(1, parts)
    candidates = build_candidates(teachers)
    drawn = draw_rows(candidates, cells, ratio)
    rows = drawn.candidates.tolist()
    assert len(rows) == len(set(rows)) <= len(teachers)
    counts = Counter(drawn.cells.tolist())
    assert all(counts[number] <= drawn.wanted[number] + 1 for number in range(len(cells)))
    for row, cell in zip(rows, drawn.cells.tolist(), strict=True):
        assert teachers[row] != cells[cell].lot[0]
    if "oak" not in teachers and {cell.lot[0] for cell in cells} == {None}:
        assert len(rows) == min(int(drawn.wanted.sum()), len(teachers))


def test_enough_candidates_fill_every_cell_in_order():
    """Rows are taken in the order of the candidates, past those of the lot's own teacher."""
    cells = [Cell(ATLAS, "s0", 2), Cell(CEDAR, "s0", 2)]
    drawn = draw_rows(build_candidates(["atlas", "oak", "cedar", "oak", "oak"]), cells, Fraction(1))
    assert drawn.candidates.tolist() == [1, 2, 0, 3]
    assert drawn.cells.tolist() == [0, 0, 1, 1]


def test_too_few_candidates_are_shared_among_all_lots():
    """No lot is served before another one."""
    cells = [Cell(ATLAS, "s0", 10), Cell(CEDAR, "s1", 10)]
    drawn = draw_rows(build_candidates(["oak"] * 6), cells, Fraction(1))
    assert Counter(drawn.cells.tolist()) == {0: 3, 1: 3}
    assert drawn.wanted.tolist() == [10, 10]


def test_without_candidates_nothing_is_drawn():
    """The numbers that the share needs are known all the same."""
    drawn = draw_rows(build_candidates([]), [Cell(ATLAS, "s0", 4)], Fraction(1, 2))
    assert (drawn.candidates.size, drawn.cells.size, drawn.wanted.tolist()) == (0, 0, [2])
    assert list(tabulate_draw(drawn, build_candidates([]), [])) == []


def test_a_draw_is_tabulated_by_file():
    """Each file's table has places in ascending order, with the shard and the lot of each row."""
    candidates = build_candidates(["oak"] * 5, files=[1, 0, 1, 0, 0])
    cells = [Cell(ATLAS, "s0", 2), Cell(CEDAR, "s1", 2)]
    drawn = draw_rows(candidates, cells, Fraction(1))
    tables = dict(tabulate_draw(drawn, candidates, cells))
    assert sorted(tables) == [0, 1]
    assert tables[0].to_pydict() == {
        "place": [1, 3],
        "shard": ["s0", "s1"],
        "lot": [encode_lot(ATLAS), encode_lot(CEDAR)],
    }
    assert tables[1].column("place").to_pylist() == [0, 2]


def test_sums_by_lot_keep_the_order_of_the_lots():
    """Cells of one lot are added up, with every count that is given."""
    cells = [Cell(ATLAS, "s0", 2), Cell(ATLAS, "s1", 3), Cell(CEDAR, "s0", 4)]
    found = sum_by_lot(cells, [1, 1, 2], [0, 5, 0])
    assert list(found.items()) == [(ATLAS, [5, 2, 5]), (CEDAR, [4, 2, 0])]
    assert len(ATLAS) == len(LOT_FIELDS)
