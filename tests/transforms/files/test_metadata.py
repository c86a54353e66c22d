"""Table metadata in the output files."""

import pyarrow as pa
import pytest

from transforms.files.metadata import MOST_BYTES, limit_metadata
from transforms.files.reconciliation import TableSchema, reconcile

LARGE = b"x" * (MOST_BYTES + 1)


def test_metadata_of_usual_size_are_copied():
    """A few kilobytes of metadata are unchanged."""
    item = pa.field("text", pa.string(), metadata={"unit": "words"})
    schema = pa.schema([item], {"huggingface": "{}" * 1_000, "pandas": "{}"})
    kept, notices = limit_metadata(schema)
    assert kept.equals(schema, check_metadata=True)
    assert notices == []


def test_large_metadata_are_left_out_and_named():
    """A warning names an omitted oversized entry, and other entries stay."""
    schema = pa.schema([("text", pa.string())], {"notes": LARGE, "pandas": "{}"})
    kept, (notice,) = limit_metadata(schema)
    assert kept.metadata == {b"pandas": b"{}"}
    assert notice.severity == "warning"
    assert ": notes; the rows are complete" in notice.text


@pytest.mark.parametrize(
    "wrap",
    [
        lambda item: item,
        lambda item: pa.field("c", pa.struct([item])),
        lambda item: pa.field("c", pa.list_(pa.struct([item]))),
        lambda item: pa.field("c", pa.large_list(item)),
    ],
    ids=["column", "struct", "list", "large list"],
)
def test_metadata_of_fields_count_at_any_depth(wrap):
    """The limit also holds for fields inside structs and lists."""
    item = wrap(pa.field("c", pa.string(), nullable=False, metadata={"a": "b", "notes": LARGE}))
    kept, (notice,) = limit_metadata(pa.schema([item]))
    assert kept.equals(pa.schema([item]))
    assert "those of column c" in notice.text
    assert LARGE.decode() not in kept.to_string(truncate_metadata=False)
    assert "a" in kept.to_string(truncate_metadata=False)


def test_many_small_entries_are_left_out_together():
    """Too many entries of equal size are all omitted."""
    entries = {f"key {number:06}": "x" * 100 for number in range(10_000)}
    kept, (notice,) = limit_metadata(pa.schema([("text", pa.string())], entries | {"pandas": "{}"}))
    assert kept.metadata == {b"pandas": b"{}"}
    assert "9,988 more" in notice.text


def test_the_shared_schema_of_files_is_limited():
    """The limit holds for the run's schema."""
    schema = pa.schema([("text", pa.string())], {"notes": LARGE})
    for count in (1, 2):
        shared, notices = reconcile([TableSchema(f"{n}.parquet", schema) for n in range(count)])
        assert shared.metadata is None
        assert len(notices) == 1
