"""Usual column names."""

from schemas.corpora import FORMATS
from schemas.lots import LOT_FIELDS
from transforms.records.columns import is_path, split_steps
from transforms.records.usual_names import COLUMN_NAMES, LOT_COLUMNS, USUAL_PATHS


def test_names_are_those_of_columns_of_formats():
    """Only format columns have usual names, and a column's own name isn't among them."""
    known = {column for needs, uses in FORMATS.values() for column in (*needs, *uses)}
    assert set(COLUMN_NAMES) <= known
    for column, names in COLUMN_NAMES.items():
        assert column not in names
        assert len(set(names)) == len(names)


def test_no_name_is_of_two_columns_of_one_format():
    """No usual name belongs to two columns of a format."""
    for needs, uses in FORMATS.values():
        names = [name for column in (*needs, *uses) for name in COLUMN_NAMES.get(column, ())]
        assert len(set(names)) == len(names)


def test_every_field_of_the_lots_has_names():
    """Every lot field has a list of usual names."""
    assert set(LOT_COLUMNS) == set(LOT_FIELDS)


def test_paths_are_well_formed():
    """Every usual path is well-formed, and none is a plain name."""
    assert "response.body.choices" in USUAL_PATHS
    assert "metadata.model" in USUAL_PATHS
    for path in USUAL_PATHS:
        assert is_path(path)
        assert split_steps("." + path)
