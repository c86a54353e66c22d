"""Conversations taken apart: what is found, and where."""

import re
import tracemalloc

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.formats import settle_layout
from transforms.records.segments import (
    ROLES,
    content_digests,
    holding,
    prompt_of,
    segments_of,
    stretches,
    thinking_blocks,
)

STEP_IN = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def taken_apart(rows, schema=None, **config):
    """Take rows apart, the format detected."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema)
    return segments_of(table, settle_layout(table.schema, CorpusConfig(**config)))


def calling(number):
    """Return the type of a message with a call whose argument is a number."""
    call = pa.struct([("arguments", pa.struct([("n", number)]))])
    return pa.struct(
        [("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(call))]
    )


def listed(segments):
    """Return row, role, channel and text of every segment."""
    return list(
        zip(segments.rows.tolist(), segments.roles, segments.channels, segments.texts, strict=True)
    )


def field_at(row, path):
    """Follow a segment's path into its row."""
    value = row
    for name, place in STEP_IN.findall(path):
        value = value[name] if name else value[int(place)]
    return value


def chat(*turns, **more):
    """Return a row of messages."""
    return {"messages": [{"role": role, "content": content, **more} for role, content in turns]}


def test_turns_in_either_form_are_all_read():
    """In one column some messages may have role and content, others from and value: each is read in the form that it fills."""
    rows = [
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        {
            "conversations": [
                {"role": "user", "content": "R"},
                {"role": "assistant", "content": "B"},
            ]
        },
        {"conversations": [{"role": "assistant", "content": "C", "from": "gpt", "value": "C"}]},
    ]
    schema = pa.schema(
        [
            (
                "conversations",
                pa.list_(
                    pa.struct(
                        [(name, pa.string()) for name in ("role", "content", "from", "value")]
                    )
                ),
            )
        ]
    )
    segments = taken_apart(rows, schema)
    assert listed(segments) == [
        (0, "user", "answer", "Q"),
        (0, "assistant", "answer", "A"),
        (1, "user", "answer", "R"),
        (1, "assistant", "answer", "B"),
        (2, "assistant", "answer", "C"),
    ]
    assert segments.path(1) == "conversations[1].value"
    halves = [
        {"conversations": [{"role": "", "content": "", "from": "gpt", "value": "D"}]},
        {"conversations": [{"content": "", "from": "gpt", "value": "E"}]},
        {"conversations": [{"role": "assistant", "value": "F"}]},
        {"conversations": [{"from": "gpt", "content": "G"}]},
    ]
    assert listed(taken_apart(halves, schema)) == [
        (row, "assistant", "answer", text) for row, text in enumerate("DEFG")
    ]
    numbered = pa.schema(
        [
            (
                "conversations",
                pa.list_(
                    pa.struct(
                        [
                            ("role", pa.int64()),
                            *((name, pa.string()) for name in ("content", "from", "value")),
                        ]
                    )
                ),
            )
        ]
    )
    assert listed(taken_apart(rows[:1], numbered)) == listed(segments)[:2]
    empty = pa.schema(
        [
            (
                "conversations",
                pa.list_(
                    pa.struct(
                        [
                            ("role", pa.null()),
                            ("content", pa.null()),
                            ("from", pa.string()),
                            ("value", pa.string()),
                        ]
                    )
                ),
            )
        ]
    )
    assert listed(taken_apart(rows[:1], empty)) == listed(segments)[:2]


def test_a_content_that_is_one_part_has_a_path_in_the_row():
    """A struct in a list's place is one part, and its path has no place in a list."""
    row = {"messages": [{"role": "assistant", "content": {"type": "text", "text": "A"}}]}
    segments = taken_apart([row])
    assert listed(segments) == [(0, "assistant", "answer", "A")]
    assert segments.path(0) == "messages[0].content.text"


def test_a_whole_number_in_a_call_is_the_same_beside_a_fraction():
    """An argument of 1 stays 1 in the content when another row's 1.5 makes the column one of floats: ids don't depend on other rows."""
    rows = [
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [{"arguments": {"n": number}}]}
            ]
        }
        for number in (1, 1.5)
    ]
    alone = taken_apart(rows[:1], pa.schema([("messages", pa.list_(calling(pa.int64())))]))
    beside = taken_apart(rows, pa.schema([("messages", pa.list_(calling(pa.float64())))]))
    assert alone.texts == beside.texts[:1] == ['[{"arguments":{"n":1}}]']
    assert beside.texts[1] == '[{"arguments":{"n":1.5}}]'


def test_messages_keep_their_order():
    """Every message is a segment, row after row, turn after turn."""
    rows = [
        chat(("system", "S"), ("user", "U"), ("assistant", "A")),
        chat(("user", "V"), ("assistant", "B")),
    ]
    assert listed(taken_apart(rows)) == [
        (0, "system", "answer", "S"),
        (0, "user", "answer", "U"),
        (0, "assistant", "answer", "A"),
        (1, "user", "answer", "V"),
        (1, "assistant", "answer", "B"),
    ]
    assert taken_apart(rows).paths[2] == "messages[2].content"


def test_conversations_are_messages_by_other_names():
    """ShareGPT's `from` and `value` give the roles and texts of `messages`."""
    segments = taken_apart(
        [{"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]}]
    )
    assert listed(segments) == [(0, "user", "answer", "U"), (0, "assistant", "answer", "A")]
    assert segments.paths == ["conversations[0].value", "conversations[1].value"]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *ROLES.items(),
        ("user", "user"),
        ("Assistant", "assistant"),
        ("GPT", "assistant"),
        ("USER", "user"),
    ],
)
def test_roles_are_normalised(name, role):
    """Roles of other formats and other cases are those of `messages`."""
    assert taken_apart([chat((name, "text"))]).roles == [role]


def test_an_unknown_role_stays():
    """A role that nobody knows is kept as it is, lower-cased; none at all is empty."""
    assert taken_apart([chat(("Narrator", "text"), (None, "more"))]).roles == ["narrator", ""]


def test_alpaca_prompt_and_output():
    """Instruction and input are the user's, the output the assistant's; an empty input is no segment."""
    rows = [
        {"instruction": "I", "input": "", "output": "O"},
        {"instruction": "J", "input": "N", "output": None},
    ]
    assert listed(taken_apart(rows)) == [
        (0, "user", "answer", "I"),
        (0, "assistant", "answer", "O"),
        (1, "user", "answer", "J"),
        (1, "user", "answer", "N"),
    ]


def test_completion_of_text_and_of_turns():
    """Prompt and completion may be text or lists of messages."""
    assert listed(taken_apart([{"prompt": "P", "completion": "C"}])) == [
        (0, "user", "answer", "P"),
        (0, "assistant", "answer", "C"),
    ]
    rows = [
        {
            "prompt": [{"role": "system", "content": "S"}],
            "completion": [{"role": "assistant", "content": "C"}],
        }
    ]
    assert listed(taken_apart(rows)) == [
        (0, "system", "answer", "S"),
        (0, "assistant", "answer", "C"),
    ]


def test_preference_sides_of_text_and_of_turns():
    """Both sides are taken apart, each under its own path."""
    segments = taken_apart([{"prompt": "P", "chosen": "yes", "rejected": "no"}])
    assert list(zip(segments.paths, segments.roles, segments.texts, strict=True)) == [
        ("prompt", "user", "P"),
        ("chosen", "assistant", "yes"),
        ("rejected", "assistant", "no"),
    ]
    turns = [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]
    assert taken_apart([{"chosen": turns, "rejected": turns}]).paths == [
        "chosen[0].content",
        "chosen[1].content",
        "rejected[0].content",
        "rejected[1].content",
    ]


def test_plain_text_is_the_assistants():
    """Plain text is taken for what the student would learn to say."""
    assert listed(taken_apart([{"text": "T"}])) == [(0, "assistant", "answer", "T")]


def test_columns_by_other_names_are_in_the_paths():
    """A path names the corpus's own column."""
    segments = taken_apart(
        [{"q": "I", "a": "O"}], format="alpaca", columns={"instruction": "q", "output": "a"}
    )
    assert segments.paths == ["q", "a"]


def test_typed_parts():
    """Parts of text and of thinking are segments of their channels; a part without text is none."""
    content = [
        {"type": "thinking", "thinking": "T", "text": None},
        {"type": "text", "thinking": None, "text": "A"},
        {"type": "image", "thinking": None, "text": None},
        {"type": "reasoning", "thinking": None, "text": "R"},
        None,
    ]
    segments = taken_apart([chat(("assistant", content))])
    assert listed(segments) == [
        (0, "assistant", "thinking", "T"),
        (0, "assistant", "answer", "A"),
        (0, "assistant", "thinking", "R"),
    ]
    assert segments.paths == [
        "messages[0].content[0].thinking",
        "messages[0].content[1].text",
        "messages[0].content[3].text",
    ]


def test_parts_that_are_plain_strings():
    """A list of strings is read as a list of texts."""
    assert listed(taken_apart([chat(("user", ["a", None, "b"]))])) == [
        (0, "user", "answer", "a"),
        (0, "user", "answer", "b"),
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_fields_are_thinking(name):
    """Reasoning beside the content is of the thinking channel, under its own path."""
    segments = taken_apart([{"messages": [{"role": "assistant", "content": "A", name: "R"}]}])
    assert sorted(zip(segments.channels, segments.paths, segments.texts, strict=True)) == [
        ("answer", "messages[0].content", "A"),
        ("thinking", f"messages[0].{name}", "R"),
    ]


def test_reasoning_that_is_no_text_is_passed_over():
    """A `thinking` flag is no reasoning."""
    assert listed(
        taken_apart([{"messages": [{"role": "assistant", "content": "A", "thinking": True}]}])
    ) == [(0, "assistant", "answer", "A")]


def test_tool_calls_are_segments_of_their_own_channel():
    """Tool calls are written as JSON with sorted keys; none, or an empty list, is no segment."""
    call = {"id": "1", "function": {"name": "look", "arguments": "{}"}}
    rows = [
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "found", "tool_calls": []},
            ]
        },
        {"messages": [{"role": "assistant", "content": "A", "tool_calls": None}]},
    ]
    segments = taken_apart(rows)
    assert [item[:3] for item in listed(segments)] == [
        (0, "assistant", "tool"),
        (0, "tool", "answer"),
        (1, "assistant", "answer"),
    ]
    assert orjson.loads(segments.texts[0]) == [call]
    assert segments.paths[0] == "messages[0].tool_calls"


def test_tool_calls_do_not_depend_on_the_neighbours():
    """A call's text is the same when another row of the shard gives its struct a further field."""
    alone = [
        {"messages": [{"role": "assistant", "content": "A", "tool_calls": [{"name": "look"}]}]}
    ]
    beside = [
        *alone,
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": "B",
                    "tool_calls": [{"name": "go", "arguments": {"to": "x"}}],
                }
            ]
        },
    ]
    assert taken_apart(beside).texts[:2] == taken_apart(alone).texts
    assert '"to"' in taken_apart(beside).texts[3]


def test_null_content_and_empty_conversations():
    """Null content, an empty list and a null list give no segment, and shift nobody else's rows."""
    rows = [
        chat(("assistant", None)),
        {"messages": []},
        {"messages": None},
        chat(("user", " \n"), ("assistant", "A")),
    ]
    assert listed(taken_apart(rows)) == [(3, "assistant", "answer", "A")]


def test_null_messages_inside_a_list():
    """A null among the messages has no role and no text; those around it keep their places."""
    segments = taken_apart(
        [
            {
                "messages": [
                    {"role": "user", "content": "U"},
                    None,
                    {"role": "assistant", "content": "A"},
                ]
            }
        ]
    )
    assert listed(segments) == [(0, "user", "answer", "U"), (0, "assistant", "answer", "A")]
    assert segments.paths == ["messages[0].content", "messages[2].content"]


def test_a_null_struct_hides_what_lies_below():
    """Arrow may keep values under a null struct: they aren't read."""
    roles, contents = pa.array(["user", "assistant"]), pa.array(["hidden", "A"])
    turns = pa.StructArray.from_arrays(
        [roles, contents], ["role", "content"], mask=pa.array([True, False])
    )
    table = pa.table({"messages": pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), turns)})
    assert listed(taken_apart(table)) == [(0, "assistant", "answer", "A")]


def test_null_lists_that_hide_values():
    """Arrow may keep values under a null list, too: rows after it still get their own turns."""
    turns = pa.array([{"role": "user", "content": name} for name in "abcd"])
    lists = pa.ListArray.from_arrays(
        pa.array([0, 1, 3, 4], pa.int32()), turns, mask=pa.array([False, True, False])
    )
    assert listed(taken_apart(pa.table({"messages": lists}))) == [
        (0, "user", "answer", "a"),
        (2, "user", "answer", "d"),
    ]


CONVERSATIONS = st.lists(
    st.none()
    | st.lists(
        st.none()
        | st.tuples(
            st.sampled_from(["user", "assistant"]),
            st.none() | st.sampled_from(["a", "b c", "<think>d</think>e"]),
        ),
        max_size=4,
    ),
    max_size=8,
)
CHAT = pa.schema(
    [("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))]
)


@given(CONVERSATIONS, st.integers(0, 8), st.integers(0, 8), st.booleans(), st.booleans())
def test_slices_and_chunks_give_what_a_fresh_table_gives(rows, begin, size, chunked, large):
    """A sliced or chunked table is taken apart like a new one of the same rows."""
    rows = [
        {
            "messages": turns
            and [turn and dict(zip(("role", "content"), turn, strict=True)) for turn in turns]
        }
        for turns in rows
    ]
    schema = (
        pa.schema([("messages", pa.large_list(CHAT.field(0).type.value_type))]) if large else CHAT
    )
    table = pa.Table.from_pylist(rows, schema)
    if chunked:
        table = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    sliced, fresh = (
        taken_apart(table.slice(begin, size)),
        taken_apart(rows[begin : begin + size], CHAT),
    )
    assert listed(sliced) == listed(fresh)
    assert (sliced.paths, sliced.starts.tolist()) == (fresh.paths, fresh.starts.tolist())


def test_dictionary_and_large_text_columns():
    """Text is read from every Arrow type that holds it, also in slices of several chunks with other dictionaries."""
    chunks = [
        pa.array(part, pa.string()).dictionary_encode() for part in (["x", "a"], ["b", None, "a"])
    ]
    for column in (
        pa.chunked_array(chunks),
        pa.chunked_array([chunk.cast(pa.large_string()) for chunk in chunks]),
    ):
        table = pa.table({"text": column}).slice(1)
        assert listed(taken_apart(table)) == [
            (0, "assistant", "answer", "a"),
            (1, "assistant", "answer", "b"),
            (3, "assistant", "answer", "a"),
        ]


def test_a_table_without_rows():
    """No rows give no segments, with and without chunks."""
    assert len(taken_apart([], CHAT)) == 0
    assert len(taken_apart(pa.table({"messages": pa.chunked_array([], CHAT.field(0).type)}))) == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>why</think>so", [("thinking", 7, "why"), ("answer", 18, "so")]),
        ("<thinking>why</thinking>so", [("thinking", 10, "why"), ("answer", 24, "so")]),
        (
            "first <think>why</think> then",
            [("answer", 0, "first "), ("thinking", 13, "why"), ("answer", 24, " then")],
        ),
        ("<think>never ends", [("thinking", 7, "never ends")]),
        ("never began</think>so", [("thinking", 0, "never began"), ("answer", 19, "so")]),
        (
            "<think>a</think>b<think>c</think>d",
            [("thinking", 7, "a"), ("answer", 16, "b"), ("thinking", 24, "c"), ("answer", 33, "d")],
        ),
        (
            "<think>a</think>b<think>c",
            [("thinking", 7, "a"), ("answer", 16, "b"), ("thinking", 24, "c")],
        ),
        (
            "a</think>b<think>c</think>d",
            [("thinking", 0, "a"), ("answer", 9, "b"), ("thinking", 17, "c"), ("answer", 26, "d")],
        ),
        ("<think></think>so", [("answer", 15, "so")]),
        ("<think>\n\n</think>\n\nso", [("answer", 17, "\n\nso")]),
        ("<think>a\nb</think>\nso", [("thinking", 7, "a\nb"), ("answer", 18, "\nso")]),
        ("I think that 1 < 2", [("answer", 0, "I think that 1 < 2")]),
        ("a <thinker> tag", [("answer", 0, "a <thinker> tag")]),
    ],
)
def test_reasoning_blocks(text, parts):
    """Blocks that are closed, unclosed, unopened, empty and several are told from the answer, each with its place."""
    assert stretches(text) == parts
    segments = taken_apart([{"text": "before"}, {"text": text}, {"text": "after"}])
    assert (
        list(zip(segments.channels, segments.starts.tolist(), segments.texts, strict=True))[1:-1]
        == parts
    )
    assert segments.rows.tolist() == [0, *[1] * len(parts), 2]


PIECES = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<thinking>",
            "</thinking>",
            "<think",
            "think",
            " ",
            "\n",
            "é",
            "e\u0301",
            "😀",
            "word",
        ]
    )
    | st.text(max_size=4),
    max_size=10,
).map("".join)
TAGS = re.compile(r"</?think(?:ing)?>|\s")


@given(PIECES)
def test_segments_are_stretches_of_the_field(text):
    """Every segment stands in the field where it says, in order and apart; beside them are only tags and white space."""
    at, outside = 0, ""
    for _, start, segment in stretches(text):
        assert text[start : start + len(segment)] == segment
        assert start >= at
        outside, at = outside + text[at:start], start + len(segment)
    assert TAGS.sub("", outside + text[at:]) == ""


STRING = pa.string()
REASONED = pa.list_(
    pa.struct([("role", STRING), ("content", STRING), ("reasoning_content", STRING)])
)
PARTS = pa.list_(
    pa.struct(
        [
            ("role", STRING),
            (
                "content",
                pa.list_(pa.struct([("type", STRING), ("text", STRING), ("thinking", STRING)])),
            ),
        ]
    )
)
SHARED = pa.list_(pa.struct([("from", STRING), ("value", STRING)]))
PARTS_OF_TURN = st.lists(st.tuples(st.sampled_from(["text", "thinking"]), PIECES), max_size=3)


@given(st.lists(st.tuples(PIECES, st.none() | PIECES, PARTS_OF_TURN), max_size=3))
def test_paths_and_starts_lead_to_the_text(turns):
    """In whatever format, path and start lead from the row to the segment's very characters."""
    answers = [{"role": "assistant", "content": content} for content, *_ in turns]
    plain = [
        {"role": "assistant", "content": content, "reasoning_content": reason}
        for content, reason, _ in turns
    ]
    typed = [
        {"role": "user", "content": [{"type": kind, kind: text} for kind, text in items]}
        for *_, items in turns
    ]
    first, second, _ = turns[0] if turns else ("", None, [])
    rows = [
        ({"messages": plain}, [("messages", REASONED)]),
        ({"messages": typed}, [("messages", PARTS)]),
        (
            {"conversations": [{"from": "gpt", "value": content} for content, *_ in turns]},
            [("conversations", SHARED)],
        ),
        (
            {"chosen": answers, "rejected": answers[:1]},
            [("chosen", CHAT.field(0).type), ("rejected", CHAT.field(0).type)],
        ),
        (
            {"instruction": first, "input": second, "output": first},
            [("instruction", STRING), ("input", STRING), ("output", STRING)],
        ),
    ]
    for row, columns in rows:
        segments = taken_apart([row], pa.schema(columns))
        for path, start, text in zip(segments.paths, segments.starts, segments.texts, strict=True):
            assert field_at(row, path)[start : start + len(text)] == text
    spoken = sum(
        bool(TAGS.sub("", text))
        for content, reason, items in turns
        for text in (content, reason or "")
    )
    assert len(taken_apart([rows[0][0]], pa.schema(rows[0][1]))) >= spoken


def test_scope_picks_roles_and_channels():
    """Only segments of the wanted roles and channels are returned, by place."""
    segments = taken_apart(
        [chat(("user", "U"), ("assistant", "<think>T</think>A")), chat(("assistant", "B"))]
    )
    assert segments.in_scope(["assistant"], ["answer"]).tolist() == [2, 3]
    assert segments.in_scope(["assistant", "user"], ["answer", "thinking"]).tolist() == [0, 1, 2, 3]
    assert segments.in_scope(["system"], ["answer"]).tolist() == []


@given(st.lists(st.text("<think/é ", max_size=12), max_size=8), st.integers(0, 8))
def test_holding_finds_what_python_finds(texts, begin):
    """Looking through Arrow's buffer finds the texts that hold a sign, and none whose neighbour's ends make one up."""
    array = pa.array(texts, pa.large_string()).slice(begin)
    signs = (b"<think", b"</", "é".encode())
    assert holding(array, signs) == [
        at
        for at, text in enumerate(array.to_pylist())
        if any(sign.decode() in text for sign in signs)
    ]


def test_segments_of_some_rows():
    """Rows are numbered anew, and keep what is theirs."""
    segments = taken_apart(
        [
            chat(("user", "U"), ("assistant", "<think>T</think>A")),
            {"messages": []},
            chat(("user", "V")),
        ]
    )
    part = segments.of_rows([1, 2])
    assert listed(part) == [(1, "user", "answer", "V")]
    assert listed(segments.of_rows([0])) == listed(segments)[:3]
    assert part.paths == ["messages[0].content"]
    assert len(segments.of_rows([])) == 0


def test_the_segments_of_a_row():
    """A row's segments are those between its neighbours'; a row without any has none."""
    segments = taken_apart(
        [chat(("user", "U"), ("assistant", "A")), {"messages": []}, chat(("user", "V"))]
    )
    assert [list(segments.of_row(row)) for row in range(3)] == [[0, 1], [], [2]]


def digests(rows, **config):
    """Digest the content of rows."""
    table = pa.Table.from_pylist(rows)
    layout = settle_layout(table.schema, CorpusConfig(**config))
    return content_digests(table, segments_of(table, layout), layout)


def test_digest_ignores_surrounding_white_space_only():
    """A format's own padding doesn't count; white space inside does."""
    one, padded, other = digests([{"text": "a b"}, {"text": "\n a b \n"}, {"text": "a  b"}])
    assert one == padded
    assert one != other


def test_digest_depends_on_role_channel_and_order():
    """The same words in another role, channel or order are another record."""
    rows = [
        chat(("user", "a"), ("assistant", "b")),
        chat(("assistant", "a"), ("user", "b")),
        chat(("user", "b"), ("assistant", "a")),
        chat(("user", "a"), ("assistant", "<think>b</think>")),
        chat(("user", "ab"), ("assistant", "")),
        chat(("user", "a"), ("assistant", "b"), ("assistant", "b")),
    ]
    assert len(set(digests(rows))) == len(rows)


def test_digest_tells_the_sides_of_a_pair_apart():
    """A pair with its sides exchanged is another record, in text and in turns."""
    for yes, no in (
        ("yes", "no"),
        ([{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "no"}]),
    ):
        first, second = digests(
            [
                {"prompt": "P", "chosen": yes, "rejected": no},
                {"prompt": "P", "chosen": no, "rejected": yes},
            ]
        )
        assert first != second


def test_digest_tells_the_sides_apart_under_other_names():
    """Columns set by hand carry their sides, too."""
    columns = {"chosen": "good", "rejected": "bad"}
    first, second = digests(
        [{"good": "x", "bad": "y"}, {"good": "y", "bad": "x"}], format="preference", columns=columns
    )
    assert first != second


def test_digest_of_parts_is_that_of_their_text():
    """One typed part of text is the same record as the text itself."""
    assert digests([chat(("user", [{"type": "text", "text": "a"}]))]) == digests(
        [chat(("user", "a"))]
    )


def test_prompt_is_what_comes_before_the_last_answer():
    """The prompt keeps earlier answers, and leaves out reasoning and the answers at the end."""
    row = chat(
        ("system", "S"),
        ("user", "U"),
        ("assistant", "<think>T</think>A"),
        ("user", "V"),
        ("assistant", "B"),
        ("assistant", "C"),
    )
    segments = taken_apart([row])
    assert prompt_of(segments, range(len(segments))) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "V"},
    ]
    assert prompt_of(segments, []) == []


def test_a_prompt_never_holds_the_answer_that_is_to_be_replaced():
    """What follows the last answer, a thank-you or a tool's result, goes with it: the prompt ends before the answer."""
    for after in (("user", "thanks"), ("tool", "T")):
        segments = taken_apart([chat(("user", "U"), ("assistant", "A"), after)])
        assert prompt_of(segments, range(len(segments))) == [{"role": "user", "content": "U"}]
    segments = taken_apart([chat(("assistant", "A"), ("user", "U"))])
    assert prompt_of(segments, range(len(segments))) == []


def test_a_message_of_a_prompt_is_one_message():
    """Text around reasoning, and typed parts, make one message each; a call without text makes none."""
    parts = [{"type": "text", "text": "X"}, {"type": "text", "text": "Y"}]
    rows = [
        chat(("user", " U <think>no</think> more "), ("user", "V"), ("assistant", "A")),
        {
            "messages": [
                {"role": "user", "content": parts},
                {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            ]
        },
    ]
    segments = taken_apart(rows[:1])
    assert prompt_of(segments, range(len(segments))) == [
        {"role": "user", "content": " U  more "},
        {"role": "user", "content": "V"},
    ]
    segments = taken_apart(rows[1:])
    assert prompt_of(segments, range(len(segments))) == [{"role": "user", "content": "X\nY"}]


ASKED = [{"role": "user", "content": "U"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "A"}, {"role": "user", "content": "V"}]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (
            {
                "chosen": [*ASKED, {"role": "assistant", "content": "yes"}],
                "rejected": [*ASKED, {"role": "assistant", "content": "no"}],
            },
            ASKED,
        ),
        (
            {
                "chosen": [*ANSWERED, {"role": "assistant", "content": "B"}],
                "rejected": [*ANSWERED, {"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        (
            {
                "prompt": ANSWERED,
                "chosen": [{"role": "assistant", "content": "B"}],
                "rejected": [{"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        ({"prompt": "U", "chosen": "yes", "rejected": "no"}, ASKED),
        ({"prompt": ANSWERED, "completion": [{"role": "assistant", "content": "B"}]}, ANSWERED),
        (
            {
                "prompt": ANSWERED,
                "chosen": [*ANSWERED, {"role": "assistant", "content": "B"}],
                "rejected": [*ANSWERED, {"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        (
            {
                "prompt": "U",
                "chosen": [*ASKED, {"role": "assistant", "content": "B"}],
                "rejected": [{"role": "assistant", "content": "C"}],
            },
            ASKED,
        ),
        (
            {
                "prompt": ANSWERED,
                "completion": [
                    {"role": "tool", "content": "T"},
                    {"role": "assistant", "content": "B"},
                ],
            },
            [*ANSWERED, {"role": "tool", "content": "T"}],
        ),
        ({"prompt": ANSWERED, "completion": [{"role": "user", "content": "W"}]}, ANSWERED),
        ({"prompt": "U", "chosen": "", "rejected": "no"}, ASKED),
        ({"instruction": "U", "input": "V", "output": "A"}, [*ASKED, ANSWERED[2]]),
        ({"text": "T"}, []),
    ],
)
def test_the_prompt_in_every_format(row, prompt):
    """Neither side of a pair is part of the prompt, nor is the prompt there twice."""
    segments = taken_apart([row])
    assert prompt_of(segments, range(len(segments))) == prompt


REFERENCE = re.compile(
    r"<(think|thinking)>(.*?)(?:</\1>|\Z)|\A((?:(?!<think(?:ing)?>).)*?)</think(?:ing)?>", re.DOTALL
)
"""The same in one pattern, which remembers every character on its way."""
TAG_SOUP = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<thinking>", "</thinking>", "<think", "a", "\n", "<", "</"]
    ),
    max_size=10,
)


@given(TAG_SOUP.map("".join))
def test_thinking_blocks_are_those_of_one_pattern(text):
    """Blocks that open and close, that never close, or never open, are found wherever they stand."""
    expected = [
        (*block.span(), *block.span(2 if block.group(2) is not None else 3))
        for block in REFERENCE.finditer(text)
    ]
    assert list(thinking_blocks(text)) == expected


def test_a_long_thought_takes_little_memory():
    """A block that never opened, eight million characters long, is found without a note for each of them."""
    text = "a" * (8 << 20) + "</think>b"
    tracemalloc.start()
    assert list(thinking_blocks(text)) == [(0, len(text) - 1, 0, 8 << 20)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_text_of_many_thoughts_is_not_repeated_for_each():
    """A text of 20,000 short blocks takes memory in proportion to its length, not to its length times its blocks."""
    text = "<think>why</think>so " * 20_000
    pool = pa.default_memory_pool()
    before, highest = pool.bytes_allocated(), pool.max_memory()
    segments = taken_apart([{"text": text}])
    assert (len(segments), segments.texts[:2]) == (40_000, ["why", "so "])
    assert pool.max_memory() <= max(highest, before + (1 << 30))


def test_messages_of_both_spellings_are_read_by_the_one_that_is_whole():
    """A stray `role` beside `from` and `value` doesn't make a conversation one of `role` and `content`."""
    rows = [
        {
            "conversations": [
                {"from": "gpt", "value": "Hi.", "role": None},
                {"from": "human", "value": "Ho.", "role": "x"},
            ]
        }
    ]
    assert listed(taken_apart(rows)) == [
        (0, "assistant", "answer", "Hi."),
        (0, "user", "answer", "Ho."),
    ]
