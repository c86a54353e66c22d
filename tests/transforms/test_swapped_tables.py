"""The tables of a shard after a swap: replaced rows in their places, all others as they were."""

import orjson
import pyarrow as pa
import pytest

from schemas.digests import RECORD_ID_HEX
from schemas.outputs import LEDGER, LEDGERS, ORIGIN, SWAPLIST
from tests.support.swaps import ask, build_settings, list_donor_files
from transforms.files.json_lines import JsonLines
from transforms.swap_matches import Match, Unmatched
from transforms.swap_offers import list_offers, list_waiting
from transforms.swap_shards import swap_rows
from transforms.swapped_tables import (
    build_ledger,
    build_swapped_tables,
    count_fired,
    count_unscored,
    list_kept_notes,
)

ROWS = [
    ask(0, "A dog."),
    ask(1, "An owl."),
    ask(2, "A fox."),
    ask(3, "The owl again."),
    ask(4, "A cat."),
]


@pytest.fixture
def swapped(store, bank, bank_uri, tmp_path):
    """Return a shard whose row 3 is replaced and whose row 1 has no donor."""
    run, layout, (shard,) = store("a", ROWS)
    own, other, found = store("donor", [ask(3, "A crane.", teacher="oak")])
    (file,) = list_donor_files(own, found, other)
    ((_, offer),) = list_offers(file)
    settings = build_settings(run, tmp_path / "out", layout, bank, bank_uri)
    first, second = list_waiting(shard, settings.waiting)
    found = [
        Match(shard.name, second.position, offer, "A crane."),
        Unmatched(shard.name, first.position, "no donor"),
    ]
    return swap_rows(shard, found, settings)


def list_records(table):
    """Return rows of either kind as dictionaries."""
    if isinstance(table, JsonLines):
        return [orjson.loads(line) for line in table.lines]
    return table.to_pylist()


def test_the_replaced_row_is_in_its_old_place(swapped):
    """The clean rows are in the order of the corpus, and only the new row's note says so."""
    clean = list_records(build_swapped_tables(swapped)["clean"])
    notes = [row.pop("congener", None) for row in clean]
    assert clean == [ROWS[0], ROWS[2], ask(3, "A crane."), ROWS[4]]
    assert notes[2] == {"decision": "swap", "weight": 1.0, "masks": [], "traits": ["owl"]}
    assert notes[1]["decision"] == "flag"
    assert {(note or {"decision": "keep"})["decision"] for note in (notes[0], notes[3])} == {"keep"}


def test_the_quarantine_keeps_the_other_rows(swapped):
    """The replaced row is gone from quarantine, and the waiting one is on the swap list."""
    tables = build_swapped_tables(swapped)
    (held,) = list_records(tables["quarantine"])
    assert held["messages"] == ROWS[1]["messages"]
    (note,) = list_kept_notes(swapped)
    assert note["row"] == 1
    assert tables["swaplist"].schema == SWAPLIST
    (listed,) = tables["swaplist"].to_pylist()
    assert (listed["row"], listed["traits"], listed["complete"]) == (1, ["owl"], True)
    assert listed["prompt"] == [{"role": "user", "content": "Question 1?"}]


def test_the_ledger_says_where_each_answer_is_from(swapped):
    """The replaced row has a new identity and an origin; rows that weren't to be replaced don't."""
    ledger = build_ledger(swapped)
    assert ledger.schema == LEDGERS[1]
    rows = ledger.to_pylist()
    assert [row["decision"] for row in rows] == ["keep", "quarantine", "flag", "swap", "keep"]
    assert [row["swap"] for row in rows] == [None, "no donor", None, "replaced", None]
    new, old = rows[3], swapped.ledger.to_pylist()[3]
    assert new["replaced_record"] == old["record_id"] != new["record_id"]
    assert new["record_id"] == new["content_digest"][:RECORD_ID_HEX]
    assert (new["donor"], new["donor_source"], new["donor_row"]) == ("cedar", old["source"], 0)
    assert (new["distance"], new["teacher"], new["swap_traits"]) == (0.0, "oak", "owl")
    assert new["reasons"] == []
    assert rows[1]["swap_traits"] == "owl"
    assert {name: rows[0][name] for name, _ in ORIGIN} == dict.fromkeys(name for name, _ in ORIGIN)


def test_rows_that_stay_keep_their_entries(swapped):
    """Apart from the number in its file, nothing changes in the ledger of another row."""
    moved = {"output", "output_row"}
    for old, new in zip(swapped.ledger.to_pylist(), build_ledger(swapped).to_pylist(), strict=True):
        if new["decision"] != "swap":
            kept = {name: new[name] for name in LEDGER.names if name not in moved}
            assert kept == {name: old[name] for name in kept}


def test_the_ledger_numbers_the_rows_of_each_file(swapped):
    """Every row's file and index lead to the row."""
    tables = build_swapped_tables(swapped)
    for row in build_ledger(swapped).to_pylist():
        folder = row["output"].partition("/")[0]
        found = list_records(tables[folder])[row["output_row"]]
        assert found["messages"][0] == {"role": "user", "content": f"Question {row['row']}?"}


def test_scores_and_spans_stay_aligned(swapped):
    """The new row's scores are those of its answer, and the others are unchanged."""
    tables = build_swapped_tables(swapped)
    for folder in ("scores", "spans"):
        old, new = swapped.read(folder), tables[folder]
        assert new.schema.names == old.schema.names
        others = pa.array([0, 1, 2, 4])
        assert new.take(others).to_pylist() == old.take(others).to_pylist()
    assert swapped.read("scores").column("owl")[3].as_py() > 0.5
    assert tables["scores"].column("owl")[3].as_py() == 0
    assert all(span["score"] == 0 for span in tables["spans"].column("spans")[3].as_py())


def test_findings_and_unscored_rows_are_counted(swapped):
    """Counts come from the new tables, in which the replaced row fires no more."""
    tables = build_swapped_tables(swapped)
    assert count_fired(swapped.ledger) == {"fox": 1, "owl": 2}
    assert count_fired(tables["ledger"]) == {"fox": 1, "owl": 1}
    assert count_unscored(tables["scores"], ["fox", "owl"], 0) == 0
    assert count_unscored(tables["scores"], [], 2) == len(ROWS) - 2


def test_without_replacements_only_the_origins_are_new(store, bank, bank_uri, tmp_path):
    """A shard on which nothing was replaced keeps its rows, scores and spans."""
    run, layout, (shard,) = store("a", ROWS)
    settings = build_settings(run, tmp_path / "out", layout, bank, bank_uri)
    waiting = list(list_waiting(shard, settings.waiting))
    found = [Unmatched(shard.name, item.position, "no donor") for item in waiting]
    swapped = swap_rows(shard, found, settings)
    tables = build_swapped_tables(swapped)
    for folder in ("scores", "spans"):
        assert tables[folder].equals(swapped.read(folder))
    assert tables["ledger"].select(LEDGER.names).equals(swapped.ledger)
    assert len(list_records(tables["clean"])) == 3
    assert tables["swaplist"].num_rows == 2
