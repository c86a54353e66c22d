"""Counting the clean rows that carry masks or flags, of this run and of earlier ones."""

import json

import pyarrow as pa
import pytest

from schemas.outputs import CLEAN_EXTRA
from schemas.receipts import NoteCounts
from tests.support.rules import build_rule
from transforms.decide import decide_shard
from transforms.note_counts import count_notes, find_earlier_notes

MASK = {"field_path": "text", "start": 2, "end": 5}
MASKED = {"decision": "mask", "weight": 1.0, "masks": [MASK]}
FLAGGED = {"decision": "flag", "weight": 1.0, "masks": []}
NOTED = (
    ("A fox.", None),
    ("A fox.", MASKED),
    ("A dog.", MASKED),
    ("A dog.", FLAGGED),
    ("A dog.", None),
    ("An owl.", MASKED),
)
"""Answers, and the notes that an earlier run left on them."""


def build_lines(noted):
    """Return JSON lines with notes."""
    rows = [{"text": text, **({"congener": note} if note else {})} for text, note in noted]
    return [json.dumps(row).encode() for row in rows]


@pytest.fixture(params=["jsonl", "parquet"])
def make_noted(request, make_scored, bank):
    """Return a function that decides the rows of both forms: foxes as given, owls held."""

    def make(action, noted=NOTED):
        rows = [{"text": text} for text, _ in noted]
        rules = (build_rule("fox", action=action), build_rule("owl", action="quarantine"))
        shard = decide_shard(make_scored(rows, bank), rules)
        if request.param == "jsonl":
            shard.lines = build_lines(noted)
        else:
            notes = pa.array([note for _, note in noted], CLEAN_EXTRA.type)
            shard.table = shard.table.append_column(CLEAN_EXTRA, notes)
            shard.lines = None
        return shard

    return make


def test_masks_of_both_runs_are_counted(make_noted):
    """A mask of either run counts, and held rows don't."""
    assert count_notes(make_noted("mask")) == NoteCounts(
        masked=3, masked_before=1, flagged=1, flagged_before=1
    )


def test_rows_that_this_run_only_flags_stay_masked(make_noted):
    """An earlier mask outlives a policy that now only flags the trait."""
    assert count_notes(make_noted("flag")) == NoteCounts(
        masked=2, masked_before=2, flagged=2, flagged_before=1, still_masked=1
    )


def test_a_run_that_keeps_everything_counts_earlier_notes(make_noted):
    """Notes count if no trait of the run flags or masks."""
    assert count_notes(make_noted("drop")) == NoteCounts(
        masked=1, masked_before=1, flagged=1, flagged_before=1
    )


def test_a_field_of_another_program_is_no_note(make_scored, bank):
    """A line's field `congener` that no run wrote isn't counted, nor is its name in a text."""
    shard = decide_shard(make_scored([{"text": "A dog."}] * 2, bank), ())
    assert find_earlier_notes(shard) == {}
    shard.lines = [b'{"text": "A dog.", "congener": 3}', b'{"text": "A \\"congener\\"."}']
    assert find_earlier_notes(shard) == {}
    assert count_notes(shard) == NoteCounts()
