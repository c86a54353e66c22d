"""Sides: rejected answers and untrained turns, from labels, flags and columns."""

from decimal import Decimal

import orjson
import pyarrow as pa
import pytest

from schemas.corpora import CorpusConfig, LotField
from schemas.scores import SIDES
from transforms.files.json_lines import observe_line
from transforms.identify import identify
from transforms.records.formats import settle_layout
from transforms.records.json_columns import ColumnKinds, project_rows, select_columns
from transforms.records.sides import (
    count_unread_flags,
    find_unread_labels,
    find_untrained_rows,
    list_flag_columns,
    settle_labels,
    settle_sides,
)


def settle(schema, has_teacher=False, **config):
    """Settle a schema's layout with its sides."""
    return settle_sides(schema, settle_layout(schema, CorpusConfig(**config)), has_teacher)


def list_sides(make_shard, rows, **config):
    """Return every segment's side and text."""
    table = pa.Table.from_pylist(rows)
    segments = identify(make_shard(table), settle(table.schema, **config)).segments
    codes = [0] * len(segments) if segments.sides is None else segments.sides
    return [(SIDES[code], text) for code, text in zip(codes, segments.texts, strict=True)]


def chat(*turns):
    """Return a row of messages from (role, content, other fields)."""
    return {"messages": [{"role": role, "content": text, **more} for role, text, more in turns]}


def test_the_rejected_column_of_a_pair_is_rejected(make_shard):
    """Only the rejected column of a pair is rejected."""
    row = {"prompt": "P", "good": "yes", "bad": "no"}
    columns = {"chosen": "good", "rejected": "bad"}
    assert list_sides(make_shard, [row], format="preference", columns=columns) == [
        ("trained", "P"),
        ("trained", "yes"),
        ("rejected", "no"),
    ]


def test_a_rejected_answer_may_follow_a_conversation(make_shard):
    """A rejected column's answer is rejected, and the conversation beside it is trained."""
    row = chat(("user", "P", {}), ("assistant", "yes", {})) | {"rejected_response": "no"}
    found = [("trained", "P"), ("trained", "yes"), ("rejected", "no")]
    assert list_sides(make_shard, [row]) == found
    row = {"query": "P", "response": "yes", "rejected_response": "no"}
    assert list_sides(make_shard, [row]) == found


@pytest.mark.parametrize(
    "answers",
    [["no", None, "never"], [{"text": "no"}, {"text": "never"}], [{"message": {"content": "x"}}]],
    ids=str,
)
def test_every_answer_of_a_rejected_side_is_rejected(make_shard, answers):
    """Each of several rejected answers is read."""
    if "message" in str(answers):
        contents = [{"role": "assistant", "content": text} for text in ("no", "never")]
        answers = [{"message": content} for content in contents]
    row = {"prompt": "P", "chosen": "yes", "rejected_responses": answers}
    expected = [("trained", "P"), ("trained", "yes"), ("rejected", "no"), ("rejected", "never")]
    assert list_sides(make_shard, [row]) == expected
    kinds = ColumnKinds()
    assert observe_line(kinds, orjson.dumps(row)) is None
    layout = settle(kinds.settle_schema())
    schema = select_columns(kinds.settle_schema(), layout.columns.values(), [])
    segments = identify(make_shard(project_rows([row], schema).table), layout).segments
    sides = [SIDES[code] for code in segments.sides]
    assert list(zip(sides, segments.texts, strict=True)) == expected


def test_a_label_decides_about_an_answer(make_shard):
    """A false label rejects the answer, but not the prompt."""
    rows = [
        {"prompt": "P", "completion": text, "label": label}
        for text, label in (("a", True), ("b", False), ("c", None))
    ]
    sides = dict(map(reversed, list_sides(make_shard, rows)))
    assert sides == {"P": "trained", "a": "trained", "b": "rejected", "c": "trained"}


def test_a_label_decides_about_the_last_answer_of_a_conversation(make_shard):
    """A false label rejects only the last answer."""
    turns = [(role, text, {}) for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)]
    for name in ("kto_tag", "label"):
        sides = list_sides(make_shard, [chat(*turns) | {name: False}])
        assert [side for side, _ in sides] == ["trained"] * 3 + ["rejected"]
    for more in ({"kto_tag": True}, {"kto_tag": "false"}, {"label": 0}, {"flag": False}):
        sides = list_sides(make_shard, [chat(*turns) | more])
        assert {side for side, _ in sides} == {"trained"}


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([1, 0, None], True),
        ([1.0, 0.0], True),
        (["true", "False", ""], True),
        (["desirable", "undesirable"], True),
        (["1", "0"], True),
        ([1, 1], True),
        ([0, 0], False),
        ([0, 1, 2], False),
        (["yes", "no"], False),
        ([], False),
    ],
    ids=str,
)
def test_labels_of_other_types_are_read_if_all_are_known(make_shard, values, read):
    """Numbers and words are labels if the sample has only labels and a wanted answer."""
    rows = [{"prompt": "P", "completion": "a", "kto_tag": value} for value in values or [None]]
    table = pa.Table.from_pylist(rows)
    settled = settle(table.schema)
    layout = settle_labels(settled, {"kto_tag": values})
    assert layout.labels == (("kto_tag",) if read else ())
    assert layout.sides == (("rejected",) if read else ())
    segments = identify(make_shard(table), layout).segments
    sides = [0] * len(segments) if segments.sides is None else segments.sides.tolist()
    rejected = [row for row, code in zip(segments.rows.tolist(), sides, strict=True) if code]
    known = [row for row, value in enumerate(values) if value in (0, "0", "False", "undesirable")]
    assert rejected == (known if read else [])


def test_flags_of_whole_rows_are_found():
    """A column with a flag's name is found if some row has nought there."""
    schema = pa.schema(
        [("text", pa.string()), ("weight", pa.string()), ("train", pa.bool_()), ("n", pa.int64())]
    )
    assert list_flag_columns(schema, settle(schema)) == ["weight", "train"]
    values = {"weight": ["1", "0"], "train": [True, None], "loss": [0.3, None, "x", []]}
    assert find_untrained_rows(values) == ["weight"]


def test_flags_that_cannot_be_read_are_counted():
    """Unreadable flags are counted by name."""
    turns = [("user", "a", {"train": "maybe"}), ("assistant", "b", {"train": [1], "weight": "0"})]
    rows = [chat(*turns), {"messages": None}, chat(("assistant", "c", {"train_detail": [{}]}))]
    assert count_unread_flags(rows, ["messages"]) == {"train": 2, "train_detail": 1}


def test_the_label_of_a_text_is_another_label(make_shard):
    """A label beside plain text rejects nothing."""
    assert list_sides(make_shard, [{"text": "a", "label": False}]) == [("trained", "a")]


TRAINED = {int: 1, float: 1.0, bool: True, str: "1", Decimal: Decimal("1.0")}


@pytest.mark.parametrize(
    "flag",
    [
        *({"weight": 0}, {"weight": 0.0}, {"train": False}, {"loss": False}, {"loss_weight": 0}),
        *({"weight": "0"}, {"weight": Decimal("0.0")}, {"train": "false"}, {"loss_mask": "0"}),
    ],
    ids=str,
)
def test_a_flag_makes_a_turn_untrained(make_shard, flag):
    """A turn with a weight of 0 or a false flag is untrained."""
    (name,) = flag
    row = chat(
        ("user", "U", {name: None}),
        ("assistant", "<think>T</think>A", flag),
        ("assistant", "B", {name: TRAINED[type(flag[name])]}),
    )
    assert list_sides(make_shard, [row]) == [
        ("trained", "U"),
        ("untrained", "T"),
        ("untrained", "A"),
        ("trained", "B"),
    ]


def test_an_untrained_turn_of_a_rejected_side_is_untrained(make_shard):
    """A training flag counts on both sides of a pair."""
    sides = [
        [{"role": "assistant", "content": text, "weight": weight} for text, weight in turns]
        for turns in ((("a", 0), ("b", 1)), (("c", 0), ("d", 1)))
    ]
    row = dict(zip(("chosen", "rejected"), sides, strict=True))
    assert list_sides(make_shard, [row]) == [
        ("untrained", "a"),
        ("trained", "b"),
        ("untrained", "c"),
        ("rejected", "d"),
    ]


@pytest.mark.parametrize(
    ("row", "sides"),
    [
        ({"chosen": "a", "rejected": "b"}, ("rejected",)),
        ({"prompt": "a", "completion": "b", "label": True}, ("rejected",)),
        ({"prompt": "a", "completion": "b", "rejected_response": "c"}, ("rejected",)),
        ({"prompt": "a", "completion": "b", "label": "true"}, ()),
        ({"prompt": "a", "completion": "b"}, ()),
        (chat(("user", "a", {})) | {"kto_tag": True}, ("rejected",)),
        (chat(("user", "a", {"weight": 0})), ("untrained",)),
        (chat(("user", "a", {"name": "weight"})), ()),
        (chat(("user", '"weight": 0,', {})) | {"loss": 0, "weight": 0.0}, ()),
    ],
    ids=str,
)
def test_a_corpus_has_sides_only_if_its_rows_may(row, sides):
    """A corpus has only the sides that its columns, labels or flags allow."""
    kinds = ColumnKinds()
    assert observe_line(kinds, orjson.dumps(row)) is None
    assert settle(kinds.settle_schema()).sides == sides
    assert settle(pa.Table.from_pylist([row]).schema).sides == sides


def test_flags_inside_apis_choices_and_dumps_count(make_shard):
    """Flags inside choices and LangChain's data count."""
    turn = {"content": "A", "train": False}
    rows = (
        {"messages": [{"type": "ai", "data": turn}]},
        {"messages": [{"type": "ai", **turn}]},
        {"prompt": "P", "completion": [{"message": {"role": "assistant", **turn}}]},
    )
    for row in rows:
        assert list_sides(make_shard, [row])[-1] == ("untrained", "A")


def test_weights_of_one_are_no_side_of_json_lines():
    """If all weights are 1, no turn is untrained."""
    trained, untrained = ColumnKinds(), ColumnKinds()
    observe_line(trained, orjson.dumps(chat(("user", "a", {"weight": 1}))))
    observe_line(untrained, orjson.dumps(chat(("user", "a", {"weight": 0}))))
    assert settle(trained.settle_schema()).sides == ()
    trained.merge(untrained)
    assert settle(trained.settle_schema()).sides == ("untrained",)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"prompt": pa.string(), "completion": pa.string(), "label": pa.int64()}, ["label"]),
        ({"prompt": pa.string(), "completion": pa.string(), "kto_tag": pa.string()}, ["kto_tag"]),
        ({"prompt": pa.string(), "completion": pa.string(), "label": pa.bool_()}, []),
        ({"text": pa.string(), "label": pa.int64()}, []),
    ],
)
def test_labels_that_are_no_bools_are_found(columns, found):
    """Labels that are numbers or text may name a class, so they reject nothing."""
    schema = pa.schema(list(columns.items()))
    assert find_unread_labels(schema, settle(schema)) == found


@pytest.mark.parametrize(
    ("names", "has_teacher", "teacher", "rejected"),
    [
        (("chosen_model", "rejected_model"), False, "chosen_model", "rejected_model"),
        (("chosen_model", "rejected_model", "model"), False, "chosen_model", "rejected_model"),
        (("model", "rejected_model"), False, "model", "rejected_model"),
        (("chosen_model", "rejected_model", "model"), True, "model", "rejected_model"),
        (("chosen-model", "rejected-model"), False, "chosen-model", "rejected-model"),
        (("chosen_policy", "rejected_policy"), False, "chosen_policy", "rejected_policy"),
        (("model",), False, "model", None),
    ],
)
def test_a_pair_may_have_two_teachers(names, has_teacher, teacher, rejected):
    """A lot's teacher is the chosen answer's teacher, unless another is configured."""
    schema = pa.schema([(name, pa.string()) for name in ("chosen", "rejected", *names)])
    layout = settle(schema, has_teacher)
    assert layout.lots["teacher"] == LotField(column=teacher)
    assert layout.rejected_teacher == rejected
    other = pa.schema([("text", pa.string()), *((name, pa.string()) for name in names)])
    assert settle(other).rejected_teacher is None


def test_lots_have_the_teachers_of_both_answers(make_shard):
    """A row's lot names both teachers, and the rejected side's lot has that side's teacher."""
    table = pa.Table.from_pylist(
        [{"chosen": "a", "rejected": "b", "chosen_model": "m", "rejected_model": "n"}]
    )
    identified = identify(make_shard(table), settle(table.schema))
    (lot,) = identified.lots
    assert (lot.teacher, lot.rejected_teacher) == ("m", "n")
    assert [lot.for_side(side).teacher for side in SIDES] == ["m", "n", "m"]
    assert identified.names_rejected_teachers
