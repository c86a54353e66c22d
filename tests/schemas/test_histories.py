"""The files of a history, and the table of changes."""

import pyarrow as pa

from schemas.histories import CHANGES, CHANGES_FILE, PAGE, name_generation

CHANGE = {
    "change": "accumulated",
    "kind": "phrase",
    "text": "Mind the gap",
    "p_value": 1e-6,
    "q_value": 1e-4,
    "slope": 0.01,
    "slope_low": 0.005,
    "slope_high": 0.015,
    "log_odds_low": 1.5,
    "variants": ["the gap"],
    "rates": [
        {
            "generation": "one",
            "documents": None,
            "texts": 100,
            "rate": 0.0,
            "low": 0.0,
            "high": 0.05,
        }
    ],
    "teacher": None,
}


def test_a_change_fits_the_table():
    """A row with an unknown count is stored as it is."""
    table = pa.Table.from_pylist([CHANGE], schema=CHANGES)
    assert table.to_pylist() == [CHANGE]
    assert CHANGES.names == list(CHANGE)


def test_files_are_ordered_by_generation():
    """Names sort in the order of generations, and differ from those of the results."""
    names = [name_generation(number, "json") for number in (1, 2, 10, 100)]
    assert names == sorted(names) == ["0001.json", "0002.json", "0010.json", "0100.json"]
    assert not {PAGE, CHANGES_FILE} & set(names)


def test_two_generations_have_no_slope():
    """A change without a slope or other forms is a row, too."""
    bare = CHANGE | {"slope": None, "slope_low": None, "slope_high": None, "variants": []}
    table = pa.Table.from_pylist([bare], schema=CHANGES)
    assert table.to_pylist() == [bare]


def test_rates_have_the_fields_of_an_interval():
    """Each rate says for which generation it is, and has its interval."""
    names = [field.name for field in CHANGES.field("rates").type.value_type]
    assert names == list(CHANGE["rates"][0])


def test_names_grow_beyond_their_digits():
    """The ten-thousandth generation has a longer name, and not that of another one."""
    names = {name_generation(number, "json") for number in (1, 999, 9_999, 10_000)}
    assert len(names) == 4
    assert name_generation(10_000, "parquet") == "10000.parquet"
