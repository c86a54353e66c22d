"""The Arrow schemas of a run."""

from __future__ import annotations

import pyarrow as pa

from schemas.lots import LOT_FIELDS
from schemas.outputs import (
    CALIBRATION_SCORES,
    CLEAN_EXTRA,
    EARLIER,
    EVIDENCE,
    LEDGER,
    LEDGERS,
    MIXED,
    NEIGHBOUR,
    ORIGIN,
    PIECES,
    QUARANTINE_EXTRA,
    REASON,
    REJECTS,
    SIGNAL_SPAN,
    SPAN,
    SPANS,
    SWAPLIST,
    build_scores_schema,
)

ROW_COLUMNS = ["record_id", "source", "row", *LOT_FIELDS]
SPAN_FIELDS = ["field_path", "start", "end"]
TEXT_FIELDS = {"text", "raw", "messages", "prompt", "neighbours", "content"}


def list_names(struct):
    """Return the names of a struct's fields in order."""
    return [field.name for field in struct]


def test_the_ledger_keeps_its_columns():
    """The ledger keeps its columns' names and order."""
    expected = [*ROW_COLUMNS, "content_digest", "decision", "reasons", "output", "output_row"]
    assert LEDGER.names[: len(expected)] == expected
    assert LEDGER.field("row").type == pa.int64()
    assert LEDGER.field("reasons").type == pa.list_(REASON)
    assert all(LEDGER.field(name).type == pa.string() for name in LOT_FIELDS)


def test_the_ledger_holds_no_text():
    """A reason points into the text without quoting it."""
    assert list_names(REASON) == ["trait", "signal", "score", "threshold", *SPAN_FIELDS]
    assert not TEXT_FIELDS & {*LEDGER.names, *list_names(REASON)}


def test_spans_hold_no_text():
    """Spans hold offsets but no text."""
    assert SPANS.names == ["source", "row", "spans"]
    assert SPANS.field("spans").type == pa.list_(SIGNAL_SPAN)
    fields = ["trait", "signal", "score", *SPAN_FIELDS, "masks", "hits"]
    assert list_names(SIGNAL_SPAN) == fields
    assert SIGNAL_SPAN.field("masks").type == SIGNAL_SPAN.field("hits").type == pa.list_(SPAN)
    assert list_names(SPAN) == SPAN_FIELDS
    assert not TEXT_FIELDS & {*fields, *SPAN_FIELDS}


def test_evidence_is_a_reason_with_more():
    """Evidence has a reason's fields, the action and the nearest exemplars."""
    assert list_names(EVIDENCE) == [*list_names(REASON), "action", "neighbours"]
    assert EVIDENCE.field("neighbours").type.value_type == NEIGHBOUR
    assert list_names(NEIGHBOUR) == ["exemplar", "polarity", "similarity", "text"]
    assert list_names(QUARANTINE_EXTRA.type) == [*ROW_COLUMNS, "decision", "reasons"]
    assert QUARANTINE_EXTRA.type.field("reasons").type.value_type == EVIDENCE


def test_extra_columns_have_one_name():
    """The extra column of corpus files is always called `congener`."""
    assert QUARANTINE_EXTRA.name == CLEAN_EXTRA.name == "congener"
    assert list_names(CLEAN_EXTRA.type) == ["decision", "weight", "masks", "traits"]
    assert CLEAN_EXTRA.type.field("masks").type.value_type == SPAN


def test_rejects_keep_the_raw_bytes():
    """An unreadable row is kept as bytes, with its offset and the error."""
    assert REJECTS.names == ["source", "row", "offset", "error", "raw"]
    assert REJECTS.field("raw").type == pa.binary()


def test_the_swap_list_can_be_sent_to_a_teacher():
    """Each row of the swap list has a prompt as messages, and its traits."""
    assert SWAPLIST.names == [*ROW_COLUMNS, "traits", "prompt", "request", "complete", "missing"]
    assert list_names(SWAPLIST.field("prompt").type.value_type) == ["role", "content"]


def test_scores_have_the_ledgers_key_and_the_columns_given():
    """Scores have the ledger's source and row, and a float32 column for each score."""
    schema = build_scores_schema(["rain-talk", "rain-talk/head"])
    assert schema.names == ["source", "row", "rain-talk", "rain-talk/head"]
    types = [schema.field(name).type for name in schema.names]
    assert types == [pa.string(), pa.int64(), pa.float32(), pa.float32()]
    assert build_scores_schema([]).names == ["source", "row"]


def test_calibration_scores_are_by_trait_and_signal():
    """The clean texts' scores are one long table without texts."""
    assert CALIBRATION_SCORES.names == ["trait", "signal", "score"]
    assert CALIBRATION_SCORES.field("score").type == pa.float32()


def test_added_rows_are_named_after_all_other_columns():
    """The columns of a mix come after those of a swap, in a ledger with or without them."""
    names = [name for name, _ in MIXED]
    half = len(LEDGERS) // 2
    for plain, mixed in zip(LEDGERS[:half], LEDGERS[half:], strict=True):
        assert mixed.names == [*plain.names, *names]
    assert LEDGERS[-1].names[-len(names) :] == names
    assert len(LEDGERS) == 20


def test_origins_follow_the_columns_of_every_ledger():
    """Columns are only added at the end, and no ledger shares a schema with another."""
    names = [name for name, _ in ORIGIN]
    pieces, earlier = ([name for name, _ in found] for found in (PIECES, EARLIER))
    for first in (0, 5):
        plain, swapped, second, edited, both = LEDGERS[first : first + 5]
        assert swapped.names == [*plain.names, *names]
        assert second.names == [*swapped.names, *earlier]
        assert edited.names == [*swapped.names, *pieces]
        assert both.names == [*edited.names, *earlier]
    assert LEDGERS[0].equals(LEDGER)
    assert len({tuple(schema.names) for schema in LEDGERS}) == len(LEDGERS)
    assert not TEXT_FIELDS & set(names)
