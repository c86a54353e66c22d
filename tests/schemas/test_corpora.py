"""A corpus's configuration: formats, columns, lot fields and shard limits."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from schemas.corpora import (
    EXPANSION_FLOOR,
    EXPANSION_REMEDY,
    FORMATS,
    CorpusConfig,
    FormatName,
    LotField,
    ShardLimits,
)
from schemas.lots import LOT_FIELDS


def test_every_format_has_columns():
    """Every format has a required column, and no required column is optional."""
    assert set(FORMATS) == set(get_args(FormatName))
    for needs, uses in FORMATS.values():
        assert needs
        assert not set(needs) & set(uses)


def test_no_two_formats_need_the_same_columns():
    """No two formats require the same columns."""
    needed = [needs for needs, _ in FORMATS.values()]
    assert len(set(needed)) == len(needed)


def test_the_lot_fields_are_fields_of_the_configuration():
    """Every lot field can be set in the configuration."""
    assert set(LOT_FIELDS) <= set(CorpusConfig.model_fields)


def test_a_lot_field_is_a_column_or_a_constant():
    """A lot field with both a column and a constant is refused."""
    assert LotField(column="model").constant is None
    assert LotField(constant="teacher-1").column is None
    with pytest.raises(ValidationError, match="name a column or a constant, not both"):
        LotField(column="model", constant="teacher-1")


def test_mapped_columns_belong_to_a_format():
    """Only format columns can be mapped, and the error lists them."""
    config = CorpusConfig(format="messages", columns={"messages": "dialogue"})
    assert config.columns == {"messages": "dialogue"}
    with pytest.raises(
        ValidationError,
        match=r"'massages' is not a column of any format; did you mean 'messages'\? the known",
    ):
        CorpusConfig(format="messages", columns={"massages": "dialogue"})


def test_nothing_set_means_detection():
    """An empty configuration leaves everything to detection."""
    assert CorpusConfig().model_dump(exclude_none=True) == {"columns": {}, "transcripts": "detect"}


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "parquet"},
        {"teachers": {"constant": "x"}},
        {"teacher": {"colum": "x"}},
        {"teacher": "x"},
    ],
)
def test_unknown_formats_and_fields_are_refused(fields):
    """A misspelt format or field is an error."""
    with pytest.raises(ValidationError):
        CorpusConfig.model_validate(fields)


@pytest.mark.parametrize(
    "fields", [{"rows": 0}, {"bytes": 100}, {"rows": -1}, {"apart": -1}, {"files": 3}]
)
def test_shard_limits_have_bounds(fields):
    """Shard limits allow at least one row and one kibibyte."""
    with pytest.raises(ValidationError):
        ShardLimits.model_validate(fields)
    assert ShardLimits() == ShardLimits(rows=5_000, bytes=32 << 20, apart=32)


def test_a_file_may_expand_to_a_multiple_of_its_size_or_to_the_floor():
    """A small file may expand to the floor, and a larger file to `expansion` times its size."""
    limits = ShardLimits(expansion=3)
    assert limits.compute_max_bytes(10) == EXPANSION_FLOOR == 64 << 20
    assert limits.compute_max_bytes(EXPANSION_FLOOR) == 3 * EXPANSION_FLOOR


def test_the_expansion_error_names_the_file_its_size_and_the_setting():
    """The expansion error names the file, its sizes and the setting."""
    error = ShardLimits(expansion=2).build_expansion_error("gs://bucket/a.jsonl.gz", 50 << 20)
    assert error.where == "gs://bucket/a.jsonl.gz"
    assert error.problem == (
        "has 52,428,800 bytes and expands to more than 104,857,600: "
        "shards.expansion allows 2 times its size"
    )
    assert error.remedy == EXPANSION_REMEDY
    assert "raise shards.expansion" in EXPANSION_REMEDY
