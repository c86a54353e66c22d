"""The output of `congener swap`: its tables and its closing lines."""

import pytest

from pipelines.cli.swap_results import (
    RequestsResult,
    SwapResult,
    tabulate_donors,
    tabulate_outcomes,
)
from pipelines.runs.manifest_file import load_manifest
from schemas.swaps import Donor, SwapCounts, SwapRecord

RECORD = SwapRecord(
    parent="p",
    parent_digest="",
    parent_root="",
    donors=tuple(
        Donor(name=name, run_id="r", ledger_root="", rows=1_000, usable=900)
        for name in ("ash", "fir", "oak")
    ),
    counts=SwapCounts(outcomes={"replaced": 10}, by_donor={"ash": 8, "oak": 2}),
)


def list_cells(table):
    """Return the rows of a table."""
    return list(zip(*(list(column.cells) for column in table.columns), strict=True))


def test_outcomes_are_listed_by_trait():
    """A trait whose rows were all replaced waits for nothing."""
    counts = SwapCounts(
        by_trait={"owl": {"replaced": 1_200}, "fox": {"no donor": 2, "same answer": 1}}
    )
    table = tabulate_outcomes(counts)
    cells = list(zip(*(list(column.cells) for column in table.columns), strict=True))
    assert cells[0][:5] == ("owl", "1,200", "1,200", "0", "0")
    assert cells[1][1:] == ("3", "0", "0", "3", "no donor 2, same answer 1")


def test_donors_are_listed_with_their_answers():
    """Every donor is there, also one whose answers weren't used."""
    assert list_cells(tabulate_donors(RECORD)) == [
        ("ash", "1,000", "900", "8"),
        ("fir", "1,000", "900", "0"),
        ("oak", "1,000", "900", "2"),
    ]


def test_shares_are_beside_the_share_of_the_answers():
    """A donor without a share has a dash, and a swap without an answer no error."""
    shared = RECORD.model_copy(update={"shares": {"ash": 0.7, "fir": 0.3}})
    assert [row[4:] for row in list_cells(tabulate_donors(shared))] == [
        ("70.0%", "80.0%"),
        ("30.0%", "0.0%"),
        ("-", "20.0%"),
    ]
    none = shared.model_copy(update={"counts": SwapCounts()})
    assert {row[5] for row in list_cells(tabulate_donors(none))} == {"0.0%"}


def test_waiting_rows_come_with_the_next_command(swapped):
    """Without a model's name, the lines say how to ask one; the last ones name other commands."""
    said = [
        str(getattr(line, "text", line))
        for line in SwapResult(str(swapped), load_manifest(str(swapped))).render()
    ]
    assert any("3 rows still wait in quarantine" in line for line in said)
    assert any("--requests FILE --model NAME" in line for line in said)


@pytest.mark.parametrize(("requests", "said"), [(1, "1 request in"), (2_000, "2,000 requests in")])
def test_written_requests_are_counted(requests, said):
    """The file and the command that takes the answers are named."""
    first, then = RequestsResult("b.jsonl", requests, "a run").render()
    assert first.startswith(f"{said} b.jsonl")
    assert "congener swap 'a run' --answers OUTPUT" in then
    assert RequestsResult("b.jsonl", requests, "r").to_json() == {
        "path": "b.jsonl",
        "requests": requests,
    }
