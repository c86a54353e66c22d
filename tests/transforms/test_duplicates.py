"""Duplicates within and across shards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from schemas.lots import Lot
from tests.support.eager import apply
from tests.support.rules import build_exception, build_rule
from transforms.duplicates import (
    FindDuplicates,
    Position,
    Repeat,
    add_copy,
    list_positions,
    list_repeats,
)
from transforms.identify import identify
from transforms.records.formats import settle_layout


def find_plainly(shards):
    """Return the duplicates by walking the corpus."""
    seen, found = set(), {}
    for name, texts in shards:
        for offset, text in enumerate(texts):
            if text.strip() in seen:
                found.setdefault(name, []).append(Repeat(offset))
            seen.add(text.strip())
    return sorted(found.items())


def test_positions_name_every_row(make_identified):
    """Every row gives its digest and position, but no text."""
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
    """All but the first position in corpus order are yielded."""
    group = [Position(*pair) for pair in pairs]
    random.shuffle(group)
    expected = [(shard, Repeat(offset)) for shard, offset in sorted(pairs)[1:]]
    assert list(list_repeats((b"", iter(group)))) == expected


@pytest.mark.parametrize("backwards", [False, True])
def test_duplicates_are_found_across_shards(make_identified, backwards):
    """Repeats are found within and across shards in any order."""
    shards = [
        ("part-000000", ["a", "b", "a", "c"]),
        ("part-000001", ["d", " b\n", "e"]),
        ("part-000002", ["f", "g"]),
        ("part-000003", ["a", "a", "h", "e"]),
    ]
    expected = find_plainly(shards)
    found = [(name, [offset for offset, _ in repeats]) for name, repeats in expected]
    assert found == [("part-000000", [2]), ("part-000001", [1]), ("part-000003", [0, 1, 3])]
    identified = [
        make_identified([{"text": text} for text in texts], name=name) for name, texts in shards
    ]
    found = apply(FindDuplicates(), identified[::-1] if backwards else identified)
    assert sorted(found) == expected


def test_formats_and_other_columns_do_not_matter(make_identified):
    """A conversation in another format with other columns is a duplicate."""
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
    assert apply(FindDuplicates(), shards) == [("part-1", [Repeat(0)])]


def test_nothing_is_found_where_nothing_repeats(make_identified):
    """A corpus without repeats has no duplicates."""
    assert apply(FindDuplicates(), [make_identified([{"text": "a"}, {"text": "b"}])]) == []


def test_rows_without_text_repeat_nothing(make_identified):
    """Rows without text aren't duplicates."""
    identified = make_identified(
        [{"text": ""}, {"text": None}, {"text": " "}, {"text": "a"}], name="part-7"
    )
    assert [position.offset for _, position in list_positions(identified)] == [3]


EXCEPTIONS = (build_exception({"teacher": "a*"}, action="keep"),)
RULES = [build_rule(exceptions=EXCEPTIONS)]


def test_copies_that_are_decided_alike_need_no_lots():
    """If an earlier copy has the same decision, a copy needs no lots."""
    seen = {}
    assert add_copy(seen, Lot("a1"), RULES) is None
    assert add_copy(seen, Lot("a2", date="2026"), RULES) == ()
    assert add_copy(seen, Lot("b1"), RULES) == (Lot("a1"),)
    assert add_copy(seen, Lot("b2"), RULES) == ()
    assert add_copy(seen, Lot("a3"), RULES) == ()
    assert list(seen.values()) == [Lot("a1"), Lot("b1")]


def test_without_exceptions_lots_are_not_shuffled(make_identified):
    """Positions have lots only if some rule has an exception."""
    rows = [{"text": "x", "teacher": "a1"}, {"text": "x", "teacher": "b1"}]
    identified = make_identified(rows, name="part-7")
    lots = [position.lot for _, position in list_positions(identified)]
    assert lots == [Lot(), Lot()]
    lots = [position.lot.teacher for _, position in list_positions(identified, with_lots=True)]
    assert lots == ["a1", "b1"]
    assert apply(FindDuplicates([build_rule()]), [identified]) == [("part-7", [Repeat(1)])]
    found = apply(FindDuplicates(RULES), [identified])
    assert found == [("part-7", [Repeat(1, (Lot("a1"),))])]


PAIR = {"chosen": "yes", "rejected": "no"}
CHAT = [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]


@pytest.mark.parametrize(
    ("rows", "repeats"),
    [
        ([PAIR | {"prompt": "U"}, PAIR | {"prompt": "V"}], 0),
        ([PAIR | {"question": "U"}, PAIR | {"question": "V"}], 0),
        ([PAIR | {"asked_of_it": "U"}, PAIR | {"asked_of_it": "V"}], 0),
        ([PAIR | {"asked_of_it": "U", "id": 1}, PAIR | {"asked_of_it": "U", "id": 1}], 1),
        ([PAIR | {"prompt": "U", "id": 1}, PAIR | {"prompt": "U", "id": 2}], 1),
        ([PAIR | {"prompt": " ", "id": 1}, PAIR | {"prompt": None, "id": 2}], 0),
        ([{"messages": CHAT, "label": True}, {"messages": CHAT, "label": False}], 0),
        ([{"messages": CHAT, "score": 1, "id": 3}, {"messages": CHAT, "score": 2, "id": 4}], 1),
        ([{"messages": CHAT[1:], "id": 3}, {"messages": CHAT[1:], "id": 4}], 0),
        ([{"text": "x", "id": 3}, {"text": "x", "id": 4}], 1),
        ([{"text": "", "images": ["a"]}, {"text": "", "images": ["a"]}], 0),
        ([{"text": "x", "images": ["a"]}, {"text": "x", "images": ["b"]}], 0),
    ],
    ids=str,
)
def test_all_that_a_trainer_reads_makes_rows_differ(make_identified, rows, repeats):
    """Equal answers with other prompts, labels or images aren't duplicates."""
    found = apply(FindDuplicates(), [make_identified(rows, name="part-0")])
    assert found == ([("part-0", [Repeat(1)])] if repeats else [])


def test_the_first_split_keeps_its_copy(make_shard):
    """The first split in the priority keeps its copy."""
    shards = []
    for number, source in enumerate(["test/a.jsonl", "train/a.jsonl", "train/b.jsonl"]):
        shard = make_shard([{"text": "a"}], name=f"part-{number}")
        piece = shard.plan.pieces[0]._replace(source=source)
        shard = replace(shard, plan=shard.plan._replace(pieces=(piece,)), sources=[source])
        shards.append(identify(shard, settle_layout(shard.table.schema, CorpusConfig())))
    for priority, kept in ((), "part-0"), (("test",), "part-0"), (("train", "test"), "part-1"):
        assert list_kept(shards, priority) == {kept}


def test_the_splits_of_a_card_decide_which_copy_is_kept(make_shard):
    """A dataset card's splits replace file names' splits."""
    shards = []
    for number, split in enumerate(("train", "test")):
        shard = make_shard([{"text": "a"}], name=f"part-{number}")
        piece = shard.plan.pieces[0]._replace(source="test.jsonl", splits=(("default", split),))
        shard = replace(shard, plan=shard.plan._replace(pieces=(piece,)), sources=["test.jsonl"])
        shards.append(identify(shard, settle_layout(shard.table.schema, CorpusConfig())))
    assert list_kept(shards, ("test", "train")) == {"part-1"}
    assert list_kept(shards, ("train", "test")) == {"part-0"}


def list_kept(shards, priority):
    """Return the shards that keep a copy."""
    found = apply(FindDuplicates(priority=priority), shards)
    return {shard.plan.name for shard in shards} - {name for name, _ in found}
