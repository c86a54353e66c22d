"""How a corpus is described: formats, columns, lot fields and shard limits."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from schemas.corpora import FORMATS, LOT_FIELDS, CorpusConfig, FormatName, LotField, ShardLimits


def test_every_format_has_columns():
    """Each format that can be named needs some column, and uses none that it also needs."""
    assert set(FORMATS) == set(get_args(FormatName))
    for needs, uses in FORMATS.values():
        assert needs
        assert not set(needs) & set(uses)


def test_no_two_formats_need_the_same_columns():
    """Detection goes by column names, so that no two formats may look alike."""
    needed = [needs for needs, _ in FORMATS.values()]
    assert len(set(needed)) == len(needed)


def test_the_lot_fields_are_fields_of_the_configuration():
    """What names a lot can be set."""
    assert set(LOT_FIELDS) <= set(CorpusConfig.model_fields)


def test_a_lot_field_is_a_column_or_a_constant():
    """Both at once would leave open which one counts."""
    assert LotField(column="model").constant is None
    assert LotField(constant="teacher-1").column is None
    with pytest.raises(ValidationError, match="name a column or a constant, not both"):
        LotField(column="model", constant="teacher-1")


def test_columns_are_those_of_some_format():
    """A mapping speaks of a format's own columns; another name is refused with those that are known."""
    config = CorpusConfig(format="messages", columns={"messages": "dialogue"})
    assert config.columns == {"messages": "dialogue"}
    with pytest.raises(
        ValidationError,
        match=r"columns: 'massages' is not a column of any format; known are .*messages",
    ):
        CorpusConfig(format="messages", columns={"massages": "dialogue"})


def test_columns_without_a_format_are_refused():
    """Detection can't find columns by names that the corpus doesn't use."""
    with pytest.raises(ValidationError, match="set `format` as well"):
        CorpusConfig(columns={"messages": "dialogue"})


def test_nothing_set_means_detection():
    """An empty configuration settles nothing."""
    assert CorpusConfig().model_dump(exclude_none=True) == {"columns": {}}


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
    """A typo is an error."""
    with pytest.raises(ValidationError):
        CorpusConfig.model_validate(fields)


@pytest.mark.parametrize("fields", [{"rows": 0}, {"bytes": 100}, {"rows": -1}, {"files": 3}])
def test_shard_limits_have_bounds(fields):
    """A shard holds at least a row and a kibibyte."""
    with pytest.raises(ValidationError):
        ShardLimits.model_validate(fields)
    assert ShardLimits() == ShardLimits(rows=5_000, bytes=32 << 20)
