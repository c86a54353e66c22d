"""Counts of a swap, from the ledgers of the run that it wrote."""

import pyarrow as pa
import pytest

from pipelines.runs.finished import list_outputs
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.swap_counts import count_ledgers, count_swaps
from schemas.digests import digest_bytes
from schemas.outputs import LEDGERS
from schemas.receipts import Output
from schemas.swaps import SwapCounts
from transforms.write import encode_parquet

ROWS = [
    {"swap": None},
    {"swap": "same answer", "swap_traits": "heron"},
    {"swap": "replaced", "swap_traits": "heron,owl", "donor": "oak"},
    {"swap": "replaced", "swap_traits": "owl", "donor": "cedar"},
    {"swap": "replaced", "swap_traits": "owl", "donor": "oak"},
    {"swap": "donors carry a trait", "swap_traits": "owl", "donor_traits": "heron,owl"},
]


@pytest.fixture
def ledgers(tmp_path):
    """Write two ledgers and a file of another folder, and return them as outputs."""
    (tmp_path / "ledger").mkdir()
    found = [Output(path="scores/part-000000-aaaaaaaaaaaa.parquet", rows=1, bytes=1, sha256="")]
    for number, rows in enumerate((ROWS[:3], ROWS[3:])):
        path = f"ledger/part-{number:06d}-aaaaaaaaaaaa.parquet"
        data = encode_parquet(pa.Table.from_pylist(rows, LEDGERS[1]))
        (tmp_path / path).write_bytes(data)
        output = Output(path=path, rows=len(rows), bytes=len(data), sha256=digest_bytes(data))
        found.append(output)
    return found


def test_rows_are_counted_by_outcome_donor_and_trait(tmp_path, ledgers):
    """A row that two traits held counts for both, and outcomes are in their usual order."""
    counts = count_swaps(str(tmp_path), ledgers)
    assert counts == SwapCounts(
        outcomes={"replaced": 3, "donors carry a trait": 1, "same answer": 1},
        by_donor={"cedar": 1, "oak": 2},
        by_trait={
            "heron": {"replaced": 1, "same answer": 1},
            "owl": {"replaced": 3, "donors carry a trait": 1},
        },
        carried={"heron": 1, "owl": 1},
    )
    assert list(counts.outcomes) == ["replaced", "donors carry a trait", "same answer"]
    assert list(counts.by_donor) == ["cedar", "oak"]


def test_the_order_of_the_ledgers_doesnt_matter(tmp_path, ledgers):
    """Counts are sums over all ledgers."""
    assert count_swaps(str(tmp_path), ledgers[::-1]) == count_swaps(str(tmp_path), ledgers)
    assert count_swaps(str(tmp_path), []) == SwapCounts()


def test_a_finished_run_has_the_counts_of_its_manifest(swapped):
    """The manifest's counts can be recounted."""
    manifest = load_manifest(str(swapped))
    assert count_ledgers(str(swapped), manifest) == manifest.swap.counts
    assert len(list_outputs(manifest, "ledger")) == 6
