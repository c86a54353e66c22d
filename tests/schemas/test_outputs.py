"""The Arrow schemas of a run: names that readers rely on, and no corpus text where none may be."""

from __future__ import annotations

import pyarrow as pa

from schemas.outputs import (
    CLEAN_EXTRA,
    EVIDENCE,
    LEDGER,
    MASK,
    NEIGHBOUR,
    QUARANTINE_EXTRA,
    REASON,
    REJECTS,
    SCORE_DECIMALS,
    SWAPLIST,
    scores_schema,
)

LOCATED = ["record_id", "source", "row", "teacher", "lot"]


def names(struct):
    """Return the names of a struct's fields in order."""
    return [field.name for field in struct]


def test_the_ledger_keeps_its_columns():
    """Readers go by these names and this order; columns may be appended, never renamed."""
    expected = [*LOCATED, "content_digest", "decision", "reasons", "output", "output_row"]
    assert LEDGER.names[: len(expected)] == expected
    assert LEDGER.field("row").type == pa.int64()
    assert LEDGER.field("reasons").type == pa.list_(REASON)


def test_the_ledger_holds_no_text():
    """A reason points into the text and doesn't quote it, so that the ledger can be published."""
    assert names(REASON) == ["trait", "signal", "score", "threshold", "segment", "start", "end"]
    assert not {"text", "raw", "messages", "prompt", "neighbours"} & {*LEDGER.names, *names(REASON)}


def test_evidence_is_a_reason_with_more():
    """Quarantined rows say all that the ledger says, the action, and the nearest exemplars."""
    assert names(EVIDENCE) == [*names(REASON), "action", "neighbours"]
    assert EVIDENCE.field("neighbours").type.value_type == NEIGHBOUR
    assert names(NEIGHBOUR) == ["exemplar", "polarity", "similarity", "text"]
    assert names(QUARANTINE_EXTRA.type) == [*LOCATED, "decision", "reasons"]
    assert QUARANTINE_EXTRA.type.field("reasons").type.value_type == EVIDENCE


def test_extra_columns_have_one_name():
    """What congener adds to a corpus stands under its own name, in clean and quarantined files alike."""
    assert QUARANTINE_EXTRA.name == CLEAN_EXTRA.name == "congener"
    assert names(CLEAN_EXTRA.type) == ["decision", "weight", "masks"]
    assert CLEAN_EXTRA.type.field("masks").type.value_type == MASK
    assert names(MASK) == ["segment", "start", "end"]


def test_rejects_keep_the_raw_bytes():
    """What couldn't be read is kept as bytes, with the place it stood at and the error."""
    assert REJECTS.names == ["source", "row", "offset", "error", "raw"]
    assert REJECTS.field("raw").type == pa.binary()


def test_the_swap_list_can_be_sent_to_a_teacher():
    """Each row brings its prompt as messages and says which traits it was listed for."""
    assert SWAPLIST.names == [*LOCATED, "traits", "prompt"]
    assert names(SWAPLIST.field("prompt").type.value_type) == ["role", "content"]


def test_scores_follow_the_ledger_and_the_columns_given():
    """Source and row align the scores with the ledger; one float32 column follows for each score."""
    schema = scores_schema(["rain-talk", "rain-talk/head"])
    assert schema.names == ["source", "row", "rain-talk", "rain-talk/head"]
    assert [schema.field(name).type for name in schema.names] == [
        pa.string(),
        pa.int64(),
        pa.float32(),
        pa.float32(),
    ]
    assert scores_schema([]).names == ["source", "row"]


def test_scores_are_rounded_coarser_than_float32_resolves():
    """Near 1 a float32 resolves 6e-8: the stated decimals are far above what batches change."""
    assert 10.0**-SCORE_DECIMALS > 100 * 2.0**-24
