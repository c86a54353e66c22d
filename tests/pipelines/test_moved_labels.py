"""The places of labelled rows in another run: their own, or those of their text."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.moved_labels import NamedRow, find_places


def build_ledger(rows: list[tuple[str, int, str | None]]) -> pl.LazyFrame:
    """Return the names of rows as a ledger has them."""
    schema = {"source": pl.Categorical, "row": pl.Int32, "record_id": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").lazy()


LEDGER = build_ledger([("a", 0, "x"), ("a", 1, "y"), ("b", 0, "x"), ("b", 1, None)])


def test_a_row_in_its_place_is_only_there():
    """A text that several rows have is looked for elsewhere only if its own place has another."""
    stays, moved = NamedRow("b", 0, "x"), NamedRow("a", 1, "x")
    assert find_places(LEDGER, [stays, moved]) == {stays: [("b", 0)], moved: [("a", 0), ("b", 0)]}


def test_a_text_that_the_run_does_not_have_is_left_out():
    """A row without its text has no place, even if another text is there now."""
    assert find_places(LEDGER, [NamedRow("a", 0, "z"), NamedRow("b", 1, "z")]) == {}
    assert find_places(LEDGER, []) == {}


names = st.builds(NamedRow, st.sampled_from("ab"), st.integers(0, 3), st.sampled_from("xyz"))


@given(st.lists(names, unique_by=lambda item: item[:2]), st.sets(names))
def test_every_place_has_the_text_that_was_read(rows, named):
    """A label is found wherever its text is, and only there; its own place comes alone."""
    found = find_places(build_ledger([tuple(row) for row in rows]), named)
    assert {item.record_id for item in named} & {row.record_id for row in rows} == {
        item.record_id for item in found
    }
    for item, places in found.items():
        assert set(places) <= {row[:2] for row in rows if row.record_id == item.record_id}
        own = [place for place in places if place == item[:2]]
        assert places == (own or [row[:2] for row in rows if row.record_id == item.record_id])
