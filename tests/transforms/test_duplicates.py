"""Duplicates within and across shards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.eager import apply
from transforms.duplicates import FindDuplicates, Position, list_positions, list_repeats


def find_plainly(shards):
    """Find duplicates by walking the corpus and remembering every text."""
    seen, found = set(), {}
    for name, texts in shards:
        for offset, text in enumerate(texts):
            if text.strip() in seen:
                found.setdefault(name, []).append(offset)
            seen.add(text.strip())
    return sorted(found.items())


def test_positions_name_every_row(make_identified):
    """Every row is yielded with its digest, as bytes, and its position, without text."""
    identified = make_identified([{"text": "a"}, {"text": "b"}], name="part-7")
    assert list(list_positions(identified)) == [
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
def test_all_but_the_first_in_corpus_order(pairs, random):
    """In any order of positions, all but the first in the corpus are yielded."""
    group = [Position(*pair) for pair in pairs]
    random.shuffle(group)
    assert list(list_repeats((b"", iter(group)))) == sorted(pairs)[1:]


@pytest.mark.parametrize("backwards", [False, True])
def test_duplicates_are_found_across_shards(make_identified, backwards):
    """Repeated rows are found within and across shards, whichever shard is done first."""
    shards = [
        ("part-000000", ["a", "b", "a", "c"]),
        ("part-000001", ["d", " b\n", "e"]),
        ("part-000002", ["f", "g"]),
        ("part-000003", ["a", "a", "h", "e"]),
    ]
    expected = find_plainly(shards)
    assert expected == [("part-000000", [2]), ("part-000001", [1]), ("part-000003", [0, 1, 3])]
    identified = [
        make_identified([{"text": text} for text in texts], name=name) for name, texts in shards
    ]
    found = apply(FindDuplicates(), identified[::-1] if backwards else identified)
    assert sorted(found) == expected


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
    assert apply(FindDuplicates(), shards) == [("part-1", [0])]


def test_nothing_is_found_where_nothing_repeats(make_identified):
    """A corpus without repetitions has no duplicates."""
    assert apply(FindDuplicates(), [make_identified([{"text": "a"}, {"text": "b"}])]) == []


def test_rows_without_text_repeat_nothing(make_identified):
    """A row without text isn't a duplicate of another one."""
    identified = make_identified(
        [{"text": ""}, {"text": None}, {"text": " "}, {"text": "a"}], name="part-7"
    )
    assert [position.offset for _, position in list_positions(identified)] == [3]
