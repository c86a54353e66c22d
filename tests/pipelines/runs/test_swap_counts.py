"""Counts of a swap, from the ledgers of the run that it wrote."""

import json

import pyarrow as pa
import pytest

from pipelines.runs.finished import list_outputs
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.swap_counts import count_held, count_ledgers, count_swaps
from schemas.digests import digest_bytes
from schemas.errors import RunError
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
    counts = count_swaps(str(tmp_path), ledgers)[None]
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
    assert count_swaps(str(tmp_path), []) == {}


def test_each_swap_is_counted_alone(tmp_path):
    """Rows with the run of an earlier swap are that swap's, and other rows are the latest one's."""
    (tmp_path / "ledger").mkdir()
    path = "ledger/part-000000-aaaaaaaaaaaa.parquet"
    runs = ("r", "r", "r", "q", None, None)
    rows = [{**row, "swap_run": run} for row, run in zip(ROWS, runs, strict=True)]
    data = encode_parquet(pa.Table.from_pylist(rows, LEDGERS[-1]))
    (tmp_path / path).write_bytes(data)
    output = Output(path=path, rows=len(rows), bytes=len(data), sha256=digest_bytes(data))
    found = count_swaps(str(tmp_path), [output])
    assert {run: counts.outcomes for run, counts in found.items()} == {
        None: {"replaced": 1, "donors carry a trait": 1},
        "r": {"replaced": 1, "same answer": 1},
        "q": {"replaced": 1},
    }
    assert [found[run].by_donor for run in (None, "r", "q")] == [
        {"oak": 1},
        {"oak": 1},
        {"cedar": 1},
    ]


def test_a_finished_run_has_the_counts_of_its_manifest(swapped):
    """The manifest's counts can be recounted."""
    manifest = load_manifest(str(swapped))
    assert count_ledgers(str(swapped), manifest) == {None: manifest.swap.counts}
    assert len(list_outputs(manifest, "ledger")) == 6


def test_held_rows_are_counted_by_their_strongest_action(held, swapped, tmp_path):
    """Every row in quarantine counts once, in files of both forms."""
    for run in (held / "run", swapped):
        manifest = load_manifest(str(run))
        waiting = manifest.conservation.by_decision["quarantine"]
        assert count_held(str(run), manifest) == {"swap": waiting}
    actions = (["flag", "swap"], ["quarantine"], ["mask", "quarantine", "swap"])
    notes = [{"reasons": [{"action": name} for name in names]} for names in actions]
    rows = [{"text": "a", "congener": note} for note in notes]
    found = []
    (tmp_path / "quarantine").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    for suffix, data in (("parquet", encode_parquet(pa.Table.from_pylist(rows))), ("jsonl", lines)):
        path = f"quarantine/a.part-000000-aaaaaaaaaaaa.{suffix}"
        (tmp_path / path).write_bytes(data)
        found.append(Output(path=path, rows=3, bytes=len(data), sha256=digest_bytes(data)))
    both = manifest.model_copy(update={"outputs": tuple(found)})
    assert count_held(str(tmp_path), both) == {"swap": 4, "quarantine": 2}
    assert count_held(str(tmp_path), manifest.model_copy(update={"outputs": ()})) == {}


def test_a_damaged_quarantine_is_an_error(tmp_path, held):
    """A file without notes is reported, with the run."""
    manifest = load_manifest(str(held / "run"))
    path = "quarantine/a.part-000000-aaaaaaaaaaaa.jsonl"
    (tmp_path / "quarantine").mkdir()
    (tmp_path / path).write_bytes(b'{"text": "a"}\n')
    output = Output(path=path, rows=1, bytes=14, sha256="")
    with pytest.raises(RunError, match=str(tmp_path)):
        count_held(str(tmp_path), manifest.model_copy(update={"outputs": (output,)}))
