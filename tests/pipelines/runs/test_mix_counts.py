"""Counts of a mix, from the ledgers of the run that it wrote."""

from collections import Counter

import pyarrow.parquet as pq
import pytest

from pipelines.runs.finished import list_outputs
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.mix_counts import count_mix, list_cells
from tests.support.runs import read_ledger

ATLAS, CEDAR, UNKNOWN = (("atlas", *[None] * 3), ("cedar", *[None] * 3), (None,) * 4)


def test_cells_are_ordered_by_lot_and_then_by_shard():
    """An unknown field comes first, and each lot's shards keep their order."""
    lots = {"s0": Counter({CEDAR: 2, ATLAS: 1}), "s1": Counter({ATLAS: 3, UNKNOWN: 4})}
    assert [tuple(cell) for cell in list_cells(lots)] == [
        (UNKNOWN, "s1", 4),
        (ATLAS, "s0", 1),
        (ATLAS, "s1", 3),
        (CEDAR, "s0", 2),
    ]
    assert list_cells({}) == []


def test_the_counts_are_those_of_the_ledger(mixed):
    """Lots, donors and sums agree with the rows, and with the manifest."""
    manifest = load_manifest(str(mixed))
    ledgers = list_outputs(manifest, "ledger")
    found = count_mix(str(mixed), ledgers, 0.25, None)
    assert found == manifest.mix.counts
    rows = read_ledger(mixed)
    assert found.added == sum(row["mix"] is not None for row in rows)
    assert found.rows == sum(row["decision"] == "keep" for row in rows)
    assert found.by_donor == Counter(row["mix"] for row in rows if row["mix"])


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 32), (0.2, 8), (0.25, 11)])
def test_the_share_decides_what_was_wanted(mixed, share, wanted):
    """The number of wanted rows is computed again, and the added ones are as they are."""
    ledgers = list_outputs(load_manifest(str(mixed)), "ledger")
    found = count_mix(str(mixed), ledgers, share, None)
    assert (found.wanted, found.added) == (wanted, 11)
    assert bool(found.short) is (wanted > 11)


def test_rows_of_other_splits_are_held_out(mixed):
    """With a dataset card that calls the first file a test, its rows aren't to be diluted."""
    manifest = load_manifest(str(mixed))
    ledgers = list_outputs(manifest, "ledger")
    card = {"default": {"splits": [["test", "0.jsonl"], ["train", "1.jsonl"]]}}
    found = count_mix(str(mixed), ledgers, 0.25, card)
    assert found.held_out == sum(
        row["decision"] == "keep" and row["source"] == "0.jsonl" for row in read_ledger(mixed)
    )
    assert found.rows + found.held_out == manifest.mix.counts.rows


def test_every_ledger_is_read(mixed):
    """A part of the ledgers gives a part of the counts."""
    ledgers = list_outputs(load_manifest(str(mixed)), "ledger")
    one = count_mix(str(mixed), ledgers[:1], 0.25, None)
    table = pq.read_table(mixed / ledgers[0].path)
    assert one.added == table.num_rows - table.column("mix").null_count
    assert count_mix(str(mixed), [], 0.25, None).rows == 0
