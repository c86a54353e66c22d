"""Exact duplicates across shards."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import Engine
from pipelines.engines.launch import engine_pipeline
from transforms.duplicates import FindDuplicates, Position, later, positions


def plainly(shards):
    """Find duplicates the slow way: walk the corpus and remember."""
    seen, found = set(), {}
    for name, texts in shards:
        for place, text in enumerate(texts):
            if text.strip() in seen:
                found.setdefault(name, []).append(place)
            seen.add(text.strip())
    return sorted(found.items())


def test_positions_name_every_row(make_identified):
    """Every row is yielded with its digest, as bytes, and its place; no text crosses the shuffle."""
    identified = make_identified([{"text": "a"}, {"text": "b"}], name="part-7")
    assert list(positions(identified)) == [
        (bytes.fromhex(identified.digests[0]), Position("part-7", 0)),
        (bytes.fromhex(identified.digests[1]), Position("part-7", 1)),
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["part-000001", "part-000002", "part-000010"]), st.integers(0, 20)
        ),
        min_size=1,
        unique=True,
    ),
    st.randoms(),
)
def test_all_but_the_first_in_corpus_order(places, random):
    """In whatever order positions meet, the first of the corpus stays and all others are yielded."""
    group = [Position(*place) for place in places]
    random.shuffle(group)
    assert list(later((b"", iter(group)))) == sorted(places)[1:]


@pytest.mark.parametrize("backwards", [False, True])
def test_duplicates_are_found_across_shards(make_identified, backwards):
    """Rows whose content stands earlier are found within a shard and across shards, whichever shard is done first."""
    shards = [
        ("part-000000", ["a", "b", "a", "c"]),
        ("part-000001", ["d", " b\n", "e"]),
        ("part-000002", ["f", "g"]),
        ("part-000003", ["a", "a", "h", "e"]),
    ]
    wanted = plainly(shards)
    assert wanted == [("part-000000", [2]), ("part-000001", [1]), ("part-000003", [0, 1, 3])]
    identified = [
        make_identified([{"text": text} for text in texts], name=name) for name, texts in shards
    ]
    with engine_pipeline(Engine()) as pipeline:
        found = (
            pipeline | beam.Create(identified[::-1] if backwards else identified) | FindDuplicates()
        )
        assert_that(found, equal_to(wanted))


def test_formats_and_other_columns_do_not_matter(make_identified):
    """The same conversation in two formats, with other columns, is a duplicate."""
    shards = [
        make_identified([{"prompt": "U", "completion": "A", "id": 1}], name="part-0"),
        make_identified(
            [
                {
                    "messages": [
                        {"role": "user", "content": "U"},
                        {"role": "assistant", "content": "A"},
                    ]
                }
            ],
            name="part-1",
        ),
    ]
    with engine_pipeline(Engine()) as pipeline:
        assert_that(pipeline | beam.Create(shards) | FindDuplicates(), equal_to([("part-1", [0])]))


def test_nothing_is_found_where_nothing_repeats(make_identified):
    """A corpus without repetitions has no duplicates."""
    with engine_pipeline(Engine()) as pipeline:
        assert_that(
            pipeline
            | beam.Create([make_identified([{"text": "a"}, {"text": "b"}])])
            | FindDuplicates(),
            equal_to([]),
        )


def test_rows_without_text_repeat_nothing(make_identified):
    """A row in which there is nothing to compare is no duplicate of another such row."""
    identified = make_identified(
        [{"text": ""}, {"text": None}, {"text": " "}, {"text": "a"}], name="part-7"
    )
    assert [position.place for _, position in positions(identified)] == [3]
