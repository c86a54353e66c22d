"""Detection of chat formats and lot columns."""

import pyarrow as pa
import pytest

from schemas.corpora import FORMATS, CorpusConfig, LotField
from schemas.errors import InputError
from transforms.records.formats import Layout, fits, is_text, is_turns, settle_layout

STRING = pa.string()
TURNS = pa.list_(pa.struct([("role", STRING), ("content", STRING)]))
PARTS = pa.list_(
    pa.struct(
        [("role", STRING), ("content", pa.list_(pa.struct([("type", STRING), ("text", STRING)])))]
    )
)
CALLS = pa.list_(
    pa.struct(
        [
            ("role", STRING),
            ("content", STRING),
            ("tool_calls", pa.list_(pa.struct([("id", STRING)]))),
        ]
    )
)
REASONED = pa.list_(
    pa.struct([("role", STRING), ("content", STRING), ("reasoning_content", STRING)])
)
SHARED = pa.list_(pa.struct([("from", STRING), ("value", STRING)]))


def detected(*columns, **config):
    """Settle the layout of a corpus with these columns."""
    return settle_layout(pa.schema(list(columns)), CorpusConfig(**config))


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ([("messages", TURNS)], "messages"),
        ([("messages", PARTS)], "messages"),
        ([("messages", CALLS)], "messages"),
        ([("messages", REASONED)], "messages"),
        ([("messages", pa.large_list(TURNS.value_type))], "messages"),
        ([("conversations", SHARED)], "conversations"),
        ([("conversations", TURNS)], "conversations"),
        ([("instruction", STRING), ("input", STRING), ("output", STRING)], "alpaca"),
        ([("instruction", STRING), ("output", STRING)], "alpaca"),
        ([("prompt", STRING), ("completion", STRING)], "completion"),
        ([("prompt", TURNS), ("completion", TURNS)], "completion"),
        ([("chosen", TURNS), ("rejected", TURNS)], "preference"),
        ([("prompt", STRING), ("chosen", STRING), ("rejected", STRING)], "preference"),
        ([("prompt", TURNS), ("chosen", TURNS), ("rejected", TURNS)], "preference"),
        ([("text", STRING)], "text"),
        ([("text", pa.large_string())], "text"),
        ([("text", pa.string_view())], "text"),
        ([("text", pa.dictionary(pa.int32(), STRING))], "text"),
    ],
)
def test_format_is_detected_from_the_schema(columns, name):
    """Every format is recognised by its columns' names and types, whatever stands beside them."""
    for beside in ([], [("id", pa.int64()), ("score", pa.float64())]):
        layout = detected(*columns, *beside)
        assert layout.format == name
        assert layout.columns == {column: column for column, _ in columns}


def test_every_format_can_be_detected():
    """No format is a part of another one: its own needs, alone, lead to it and to nothing else."""
    for name, (needs, _) in FORMATS.items():
        columns = [
            (
                column,
                SHARED if column == "conversations" else TURNS if column == "messages" else STRING,
            )
            for column in needs
        ]
        assert detected(*columns).format == name


def test_ambiguity_is_refused_naming_the_candidates():
    """Two formats that fit are not chosen between; the message names both, the columns, and the option that settles it."""
    with pytest.raises(InputError) as caught:
        detected(("messages", TURNS), ("text", STRING), ("note", STRING))
    problem = str(caught.value)
    assert "several formats fit: messages, text" in problem
    assert "note: string" in problem
    assert "--format" in problem


def test_ambiguity_is_settled_by_the_configuration():
    """A format set by hand is taken where several fit."""
    columns = ("messages", TURNS), ("text", STRING)
    assert detected(*columns, format="text").columns == {"text": "text"}
    assert detected(*columns, format="messages").columns == {"messages": "messages"}


def test_a_column_of_the_wrong_type_does_not_fit():
    """A column named `messages` that holds text is no conversation, and the text beside it decides."""
    assert detected(("messages", STRING), ("text", STRING)).format == "text"


def test_no_format_is_refused_naming_the_columns():
    """Unknown columns are listed with their types, and so are the formats' needs."""
    with pytest.raises(InputError) as caught:
        detected(("body", STRING), ("count", pa.int64()))
    problem = str(caught.value)
    assert "body: string, count: int64" in problem
    for name, (needs, _) in FORMATS.items():
        assert f"{name}: {', '.join(needs)}" in problem


def test_columns_set_by_hand_are_used():
    """A format's column may have another name in the corpus; columns that a format only uses may be renamed too."""
    layout = detected(("dialogue", TURNS), format="messages", columns={"messages": "dialogue"})
    assert layout.columns == {"messages": "dialogue"}
    assert layout.column("messages") == "dialogue"
    renamed = detected(
        ("q", STRING),
        ("extra", STRING),
        ("a", STRING),
        format="alpaca",
        columns={"instruction": "q", "input": "extra", "output": "a"},
    )
    assert renamed.columns == {"instruction": "q", "input": "extra", "output": "a"}


def test_an_optional_column_may_be_absent():
    """Alpaca works without `input`, preference without `prompt`; asking for them says that they aren't there."""
    assert detected(("instruction", STRING), ("output", STRING)).column("input") is None
    assert detected(("chosen", STRING), ("rejected", STRING)).column("prompt") is None


def test_a_missing_column_is_named():
    """A format set by hand whose column isn't there is refused, naming the column, those there, and the option."""
    with pytest.raises(
        InputError, match=r"alpaca needs column 'output', the corpus has instruction, text"
    ) as caught:
        detected(("instruction", STRING), ("text", STRING), format="alpaca")
    assert "--column output=COLUMN" in str(caught.value)
    with pytest.raises(InputError, match=r"messages needs column 'dialog'"):
        detected(("dialogue", TURNS), format="messages", columns={"messages": "dialog"})


def test_a_column_of_an_unusable_type_is_named():
    """A column set by hand whose type can't carry the format is refused with its type."""
    with pytest.raises(
        InputError,
        match=r"column 'dialogue' is int64, which format messages can't use as 'messages'",
    ):
        detected(("dialogue", pa.int64()), format="messages", columns={"messages": "dialogue"})
    with pytest.raises(InputError, match="'text' is list"):
        detected(("text", TURNS), format="text")


@pytest.mark.parametrize("column", ["teacher", "teacher_model", "model", "generator"])
def test_teacher_is_found_by_its_usual_names(column):
    """The usual names of a teacher column make lots without any configuration."""
    assert detected(("text", STRING), (column, STRING)).lots == {"teacher": LotField(column=column)}


def test_first_usual_name_wins():
    """Of several usual names the first of the list counts, whatever the columns' order."""
    layout = detected(
        ("model", STRING),
        ("teacher", STRING),
        ("created_at", STRING),
        ("date", STRING),
        ("text", STRING),
    )
    assert layout.lots == {"teacher": LotField(column="teacher"), "date": LotField(column="date")}


def test_a_nested_column_is_no_lot_field():
    """A struct named `source` is passed over: its text would be no name."""
    layout = detected(
        ("text", STRING), ("source", pa.struct([("url", STRING)])), ("dataset", STRING)
    )
    assert layout.lots == {"prompt_source": LotField(column="dataset")}


def test_lot_fields_set_by_hand():
    """A constant and a column are taken as given, also where a usual name is there."""
    layout = detected(
        ("text", STRING),
        ("model", STRING),
        ("who", STRING),
        teacher=LotField(column="who"),
        date=LotField(constant="2025"),
    )
    assert layout.lots == {"teacher": LotField(column="who"), "date": LotField(constant="2025")}


def test_a_missing_lot_column_is_named():
    """A lot field from a column that isn't there is refused."""
    with pytest.raises(
        InputError, match="teacher is to come from column 'who', the corpus has text, model"
    ):
        detected(("text", STRING), ("model", STRING), teacher=LotField(column="who"))


def test_layout_describes_itself():
    """The line that a run prints holds format, columns and lots."""
    lots = {"teacher": LotField(column="model"), "date": LotField(constant="2025-01")}
    described = Layout("alpaca", {"instruction": "q", "output": "a"}, lots).described()
    assert described == "format alpaca (columns a, q); lots by teacher=column model, date='2025-01'"
    assert (
        Layout("text", {"text": "text"}, {})
        .described()
        .endswith("; all rows are one lot: nothing names others")
    )


def test_lots_by_system_prompt_are_said_aloud():
    """Where a column holds turns, rows with other system prompts are other lots, unless a column names the prompt."""
    assert (
        detected(("messages", TURNS)).described().endswith("lots by system_prompt=each row's own")
    )
    named = detected(
        ("messages", TURNS), ("preamble", STRING), system_prompt=LotField(column="preamble")
    )
    assert named.described().endswith("lots by system_prompt=column preamble")
    assert "system_prompt" not in detected(("prompt", STRING), ("completion", STRING)).described()
    assert "system_prompt" in detected(("prompt", TURNS), ("completion", TURNS)).described()


@pytest.mark.parametrize(
    ("columns", "message", "remedy"),
    [
        (
            [("messages", STRING)],
            "'messages' is string, which format messages can't use as 'messages': that is a list of",
            "JSON in a string",
        ),
        (
            [("chosen", STRING), ("rejected", pa.null())],
            "'rejected' is null, .* that is text, or a list of",
            "empty in every row",
        ),
        (
            [("prompt", STRING), ("completion", pa.int64())],
            "'completion' is int64, .* that is text, or a list of",
            "convert the column",
        ),
    ],
)
def test_a_column_of_another_type_is_told_with_the_one_it_needs(columns, message, remedy):
    """Where a format's columns are there by name alone, the error says which doesn't suit it, what it holds and what it has to hold."""
    with pytest.raises(InputError, match=message) as caught:
        detected(*columns)
    assert remedy in caught.value.remedy


def test_types_of_turns():
    """Turns are lists of structs with both fields; a list of text or a struct alone is none."""
    assert is_turns(TURNS, "role", "content")
    assert is_turns(SHARED, "from", "value")
    assert not is_turns(SHARED, "role", "content")
    assert not is_turns(pa.list_(STRING), "role", "content")
    assert is_turns(
        pa.list_(pa.struct([("role", pa.null()), ("content", pa.null())])), "role", "content"
    )
    for role, content in ((STRING, pa.int64()), (pa.int64(), STRING), (STRING, pa.bool_())):
        assert not is_turns(
            pa.list_(pa.struct([("role", role), ("content", content)])), "role", "content"
        )
    assert not is_turns(TURNS.value_type, "role", "content")
    assert not is_turns(pa.list_(pa.struct([("role", STRING)])), "role", "content")


def test_types_of_text():
    """Bytes, numbers and nulls are no text."""
    for kind in (
        pa.binary(),
        pa.int32(),
        pa.null(),
        pa.list_(STRING),
        pa.dictionary(pa.int8(), pa.int64()),
    ):
        assert not is_text(kind)
        assert not fits("text", kind)
    assert fits("prompt", STRING)
    assert fits("prompt", TURNS)
    assert not fits("instruction", TURNS)


def test_a_column_that_a_format_only_uses_must_fit_too():
    """An optional column of another kind is refused, not left out and not fallen over; one that is null throughout is none."""
    schema = pa.schema(
        [
            ("chosen", pa.string()),
            ("rejected", pa.string()),
            ("prompt", pa.list_(pa.struct([("role", pa.string())]))),
        ]
    )
    with pytest.raises(
        InputError, match=r"column 'prompt' is list<.*which format preference can't use as 'prompt'"
    ):
        settle_layout(schema, CorpusConfig())
    empty = pa.schema([("instruction", pa.string()), ("output", pa.string()), ("input", pa.null())])
    assert settle_layout(empty, CorpusConfig()).format == "alpaca"
