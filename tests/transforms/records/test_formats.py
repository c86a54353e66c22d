"""Detection of chat formats and lot columns."""

import pyarrow as pa
import pytest

from schemas.corpora import FORMATS, CorpusConfig, LotField
from schemas.errors import InputError
from transforms.records.formats import INNER_COLUMNS, Layout, list_paths, settle_layout
from transforms.records.json_kinds import ARROW_TYPES
from transforms.records.json_messages import MESSAGES

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
TURN = pa.struct([("from", STRING), ("value", STRING)])
SHARED = pa.list_(TURN)


def settle(*columns, **config):
    """Settle a corpus's layout."""
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
def test_formats_are_detected_from_the_schema(columns, name):
    """A format is recognised by its columns' names and types."""
    for beside in ([], [("id", pa.int64()), ("score", pa.float64())]):
        layout = settle(*columns, *beside)
        assert layout.format == name
        assert layout.columns == {column: column for column, _ in columns}


def test_every_format_can_be_detected():
    """Each format's required columns identify only that format."""
    for name, (needs, _) in FORMATS.items():
        columns = [
            (
                column,
                SHARED if column == "conversations" else TURNS if column == "messages" else STRING,
            )
            for column in needs
        ]
        assert settle(*columns).format == name


def test_columns_of_json_lines_are_described_in_words():
    """Errors describe nested JSON Lines columns in words."""
    columns = ("messages", MESSAGES), ("text", STRING), ("meta", ARROW_TYPES["other"])
    with pytest.raises(InputError) as caught:
        settle(*columns)
    assert "messages: a list of messages, text: string, meta: an object or a list" in str(
        caught.value
    )
    with pytest.raises(InputError, match="column 'meta' is an object or a list, which format text"):
        settle(*columns, format="text", columns={"text": "meta"})
    assert settle(*columns[::2]).format == "messages"
    assert settle(("conversations", MESSAGES)).turns


def test_an_empty_column_of_json_lines_is_explained():
    """The error for a column of nulls or empty lists says so."""
    with pytest.raises(InputError) as caught:
        settle(("messages", ARROW_TYPES["empty"]), ("id", ARROW_TYPES["number"]))
    assert "empty in every row" in caught.value.remedy


def test_ambiguity_is_refused_naming_the_candidates():
    """If several formats fit, the error names them, the columns and the option."""
    with pytest.raises(InputError) as caught:
        settle(("messages", TURNS), ("text", STRING), ("note", STRING))
    problem = str(caught.value)
    assert "several formats fit: messages, text" in problem
    assert "note: string" in problem
    assert "--format" in problem


def test_ambiguity_is_settled_by_the_configuration():
    """A configured format is used even if others fit."""
    columns = ("messages", TURNS), ("text", STRING)
    assert settle(*columns, format="text").columns == {"text": "text"}
    assert settle(*columns, format="messages").columns == {"messages": "messages"}


def test_a_column_of_the_wrong_type_does_not_fit():
    """A text column named `messages` doesn't fit."""
    assert settle(("messages", STRING), ("text", STRING)).format == "text"


def test_unknown_columns_are_refused_and_named():
    """If no format fits, the error lists the columns and each format's needs."""
    with pytest.raises(InputError) as caught:
        settle(("body", STRING), ("count", pa.int64()))
    problem = str(caught.value)
    assert "body: string, count: int64" in problem
    for name, (needs, _) in FORMATS.items():
        assert f"{name}: {', '.join(needs)}" in problem


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (("q", "a b"), "--format completion --column prompt=q --column completion='a b'"),
        (("body",), "--format text --column text=body"),
        ((), "--format text --column text=COLUMN"),
    ],
)
def test_the_remedy_has_options_for_the_columns_at_hand(columns, options):
    """If no format fits, the remedy names options for the corpus's columns."""
    with pytest.raises(InputError) as caught:
        settle(*((name, STRING) for name in columns), ("count", pa.int64()))
    assert options in caught.value.remedy


def test_columns_set_by_hand_are_used():
    """Required and optional columns may have configured names."""
    layout = settle(("dialogue", TURNS), format="messages", columns={"messages": "dialogue"})
    assert layout.columns == {"messages": "dialogue"}
    renamed = settle(
        ("q", STRING),
        ("extra", STRING),
        ("a", STRING),
        format="alpaca",
        columns={"instruction": "q", "input": "extra", "output": "a"},
    )
    assert renamed.columns == {"instruction": "q", "input": "extra", "output": "a"}


def test_an_optional_column_may_be_absent():
    """Alpaca works without `input` and preference without `prompt`."""
    assert "input" not in settle(("instruction", STRING), ("output", STRING)).columns
    assert "prompt" not in settle(("chosen", STRING), ("rejected", STRING)).columns


def test_a_missing_column_is_named():
    """The error for a missing required column names the column and the option."""
    with pytest.raises(
        InputError, match=r"alpaca needs column 'output', but the corpus has instruction, text"
    ) as caught:
        settle(("instruction", STRING), ("text", STRING), format="alpaca")
    assert "--column output=COLUMN" in str(caught.value)
    with pytest.raises(InputError, match=r"messages needs column 'dialog'"):
        settle(("dialogue", TURNS), format="messages", columns={"messages": "dialog"})


def test_a_column_of_an_unusable_type_is_named():
    """The error for a configured column of an unsuitable type names the type."""
    with pytest.raises(
        InputError,
        match=r"column 'dialogue' is int64, which format messages can't use as 'messages'",
    ):
        settle(("dialogue", pa.int64()), format="messages", columns={"messages": "dialogue"})
    with pytest.raises(InputError, match="'turns' is string") as caught:
        settle(("turns", STRING), format="messages", columns={"messages": "turns"})
    assert "jq -c '.turns |= fromjson'" in caught.value.remedy
    with pytest.raises(InputError, match="'text' is list"):
        settle(("text", TURNS), format="text")


@pytest.mark.parametrize("column", ["teacher", "teacher_model", "model", "generator"])
def test_teacher_is_found_by_its_usual_names(column):
    """Usual names of a teacher column are detected."""
    assert settle(("text", STRING), (column, STRING)).lots == {"teacher": LotField(column=column)}


def test_the_first_usual_name_wins():
    """The first of several usual names wins."""
    layout = settle(
        ("model", STRING),
        ("teacher", STRING),
        ("created_at", STRING),
        ("date", STRING),
        ("text", STRING),
    )
    assert layout.lots == {"teacher": LotField(column="teacher"), "date": LotField(column="date")}


def test_a_nested_column_names_no_lot():
    """A nested `source` column names no lot."""
    layout = settle(("text", STRING), ("source", pa.struct([("url", STRING)])), ("dataset", STRING))
    assert layout.lots == {"prompt_source": LotField(column="dataset")}


def test_lot_fields_set_by_hand():
    """A configured constant or column replaces usual names."""
    layout = settle(
        ("text", STRING),
        ("model", STRING),
        ("who", STRING),
        teacher=LotField(column="who"),
        date=LotField(constant="2025"),
    )
    assert layout.lots == {"teacher": LotField(column="who"), "date": LotField(constant="2025")}


def test_a_missing_lot_column_is_named():
    """The error for a missing lot column names the existing columns."""
    with pytest.raises(
        InputError,
        match="teacher is configured to come from column 'who', but the corpus has text, model",
    ):
        settle(("text", STRING), ("model", STRING), teacher=LotField(column="who"))
    with pytest.raises(InputError) as caught:
        settle(("text", STRING), ("model", STRING), teacher=LotField(column="modell"))
    assert caught.value.remedy.startswith("did you mean 'model'? name one of these columns")


def test_keys_of_folders_may_name_lots():
    """A folder key is a lot column, unless a column has the same or a preferred name."""
    schema = pa.schema([("text", STRING), ("date", STRING), ("model", STRING)])
    layout = settle_layout(schema, CorpusConfig(), ("teacher", "date", "source", "other"))
    assert layout.lots == {
        "teacher": LotField(column="teacher"),
        "prompt_source": LotField(column="source"),
        "date": LotField(column="date"),
    }
    assert layout.keys == ("teacher", "source")
    assert "teacher=folders teacher, prompt_source=folders source" in layout.describe()


def test_a_key_of_folders_may_be_configured():
    """A folder key may be configured."""
    config = CorpusConfig(teacher=LotField(column="provider"))
    layout = settle_layout(pa.schema([("text", STRING)]), config, ("provider",))
    assert (layout.lots["teacher"].column, layout.keys) == ("provider", ("provider",))
    with pytest.raises(InputError, match="but the corpus has text, who"):
        settle_layout(pa.schema([("text", STRING)]), config, ("who",))


def test_layout_describes_itself():
    """A layout's description has its format, columns and lot fields."""
    lots = {"teacher": LotField(column="model"), "date": LotField(constant="2025-01")}
    line = Layout("alpaca", {"instruction": "q", "output": "a"}, lots).describe()
    assert line == "format alpaca (columns a, q); lots by teacher=column model, date='2025-01'"
    assert (
        Layout("text", {"text": "text"}, {})
        .describe()
        .endswith("; all rows are one lot, because no column has a field of a lot")
    )


def test_lots_by_system_prompt_are_described():
    """Lots use system turns, or a configured column."""
    assert (
        settle(("messages", TURNS))
        .describe()
        .endswith("lots by system_prompt=digest of the row's system prompt")
    )
    named = settle(
        ("messages", TURNS), ("preamble", STRING), system_prompt=LotField(column="preamble")
    )
    assert named.describe().endswith("lots by system_prompt=column preamble")
    assert "system_prompt" not in settle(("prompt", STRING), ("completion", STRING)).describe()
    assert "system_prompt" in settle(("prompt", TURNS), ("completion", TURNS)).describe()


@pytest.mark.parametrize(
    ("columns", "message", "remedy"),
    [
        (
            [("messages", STRING)],
            "'messages' is string, which format messages can't use .*: it needs a list of",
            "jq -c '.messages |= fromjson' FILE",
        ),
        (
            [("prompt", STRING), ("completion", pa.struct([("text", STRING)]))],
            "'completion' is struct<text: string>, ",
            "--column completion=completion.text",
        ),
        (
            [("chosen", STRING), ("rejected", pa.null())],
            "'rejected' is null, .* it needs text, a message, a list of answers, or",
            "empty in every row",
        ),
        (
            [("messages", ARROW_TYPES["lists"])],
            "'messages' is a list of lists of messages,",
            "if each list is a conversation, give it a row of its own: jq -c",
        ),
        (
            [("conversations", pa.list_(pa.list_(STRING)))],
            "'conversations' is a list of lists of texts,",
            "jq -c '.conversations |= map({user: .[0], assistant: .[1]})'",
        ),
        (
            [("messages", ARROW_TYPES["constructors"])],
            "'messages' is a list of messages that LangChain serialised",
            "jq -c '.messages |= map({role: .id[-1]} + .kwargs)'",
        ),
        (
            [("messages", ARROW_TYPES["other"])],
            "'messages' is an object or a list,",
            "jq -c '.messages |= map(. + {role: .author, content: .text})'",
        ),
        (
            [("prompt", STRING), ("completion", pa.int64())],
            "'completion' is int64, .* it needs text, a list of answers, or a list of",
            "convert the column",
        ),
    ],
)
def test_a_column_of_another_type_is_explained(columns, message, remedy):
    """The error for a wrong type names both types."""
    with pytest.raises(InputError, match=message) as caught:
        settle(*columns)
    assert remedy in caught.value.remedy


def test_optional_columns_must_fit_too():
    """An optional column of the wrong type is refused."""
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


@pytest.mark.parametrize(
    ("columns", "name", "found"),
    [
        (
            [("Question", STRING), ("Complex_CoT", STRING), ("Response", STRING)],
            "completion",
            {"prompt": "Question", "completion": "Response", "thinking": "Complex_CoT"},
        ),
        (
            [("instruction", STRING), ("generation", STRING)],
            "alpaca",
            {"instruction": "instruction", "output": "generation"},
        ),
        (
            [("instruction", STRING), ("context", STRING), ("response", STRING)],
            "alpaca",
            {"instruction": "instruction", "input": "context", "output": "response"},
        ),
        (
            [("prompt", STRING), ("answers", pa.list_(STRING))],
            "completion",
            {"prompt": "prompt", "completion": "answers"},
        ),
        ([("conversation", TURNS)], "messages", {"messages": "conversation"}),
        (
            [("input", STRING), ("output", STRING)],
            "completion",
            {"prompt": "input", "completion": "output"},
        ),
        (
            [("prompt", STRING), ("input", STRING), ("response", STRING), ("output", STRING)],
            "completion",
            {"prompt": "prompt", "completion": "response"},
        ),
        (
            [("instruction", STRING), ("input", STRING), ("response", STRING)],
            "alpaca",
            {"instruction": "instruction", "input": "input", "output": "response"},
        ),
        (
            [("input_text", STRING), ("output_text", STRING)],
            "completion",
            {"prompt": "input_text", "completion": "output_text"},
        ),
        (
            [("id", STRING), ("result", pa.struct([("message", TURNS.value_type)]))],
            "messages",
            {"messages": "result.message"},
        ),
        (
            [("messages", TURNS), ("system_prompt", STRING)],
            "messages",
            {"messages": "messages", "system": "system_prompt"},
        ),
        (
            [("prompt", STRING), ("instruction", STRING), ("chosen", STRING), ("rejected", STRING)],
            "preference",
            {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            [
                ("conversations", SHARED),
                ("chosen", SHARED.value_type),
                ("rejected", SHARED.value_type),
            ],
            "preference",
            {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            [("question", STRING), ("response_j", STRING), ("response_k", STRING)],
            "preference",
            {"prompt": "question", "chosen": "response_j", "rejected": "response_k"},
        ),
        (
            [("context_messages", TURNS), ("chosen", STRING), ("rejected", STRING)],
            "preference",
            {"prompt": "context_messages", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            [("input", pa.struct([("messages", TURNS)])), ("chosen", TURNS), ("rejected", TURNS)],
            "preference",
            {"prompt": "input.messages", "chosen": "chosen", "rejected": "rejected"},
        ),
    ],
)
def test_usual_names_are_found(columns, name, found):
    """Usual names are found in any case."""
    layout = settle(*columns)
    assert (layout.format, layout.columns) == (name, found)


def test_a_list_of_texts_counts_only_if_nothing_else_fits():
    """A list of texts counts only if nothing else fits."""
    lists = pa.list_(STRING)
    assert settle(("data", lists), ("id", STRING)).columns == {"messages": "data"}
    assert settle(("text", lists)).columns == {"text": "text"}
    assert settle(("text", lists), ("messages", TURNS)).columns == {"messages": "messages"}
    found = settle(("data", lists), ("prompt", STRING), ("completion", STRING))
    assert found.format == "completion"
    assert settle(("turns", lists), columns={"messages": "turns"}).columns == {"messages": "turns"}
    for columns in ([("turns", lists)], [("data", TURNS)], [("texts", lists)]):
        with pytest.raises(InputError, match="no known format fits"):
            settle(*columns)


def test_a_role_column_belongs_to_text():
    """A role column is read beside text."""
    assert settle(("text", STRING), ("role", STRING)).columns == {"text": "text", "role": "role"}
    assert settle(("Text", STRING), ("Speaker", STRING)).columns == {
        "text": "Text",
        "role": "Speaker",
    }
    assert settle(("content", STRING), ("role", STRING)).columns["text"] == "content"
    assert settle(("text", STRING), ("role", pa.int64())).columns == {"text": "text"}
    assert settle(("prompt", STRING), ("completion", STRING), ("role", STRING)).columns == {
        "prompt": "prompt",
        "completion": "completion",
    }
    with pytest.raises(InputError, match="no known format fits"):
        settle(("content", STRING), ("language", STRING))


def test_own_names_win():
    """The formats' own column names win over usual names."""
    layout = settle(("text", STRING), ("question", STRING), ("answer", STRING))
    assert layout.columns == {"text": "text"}
    layout = settle(("prompt", STRING), ("completion", STRING), ("response", STRING))
    assert layout.columns == {"prompt": "prompt", "completion": "completion"}


def test_a_user_is_no_prompt_without_an_assistant():
    """A `user` column is a prompt only beside `assistant`."""
    with pytest.raises(InputError, match="no known format fits"):
        settle(("user", STRING), ("response", STRING))
    assert settle(("user", STRING), ("assistant", STRING)).columns["prompt"] == "user"
    assert settle(("question", STRING), ("solution", STRING), ("answer", STRING)).columns == {
        "prompt": "question",
        "completion": "answer",
    }


def test_several_usual_names_are_refused():
    """If two columns fit one format column, the error names both and an option."""
    with pytest.raises(
        InputError, match="column 'completion' may be any of response, generation"
    ) as caught:
        settle(("prompt", STRING), ("generation", STRING), ("response", STRING))
    assert caught.value.remedy == "name it with --format completion --column completion=COLUMN"
    columns = ("prompt", STRING), ("generation", STRING), ("response", STRING)
    layout = settle(*columns, columns={"completion": "generation"})
    assert (layout.format, layout.columns["completion"]) == ("completion", "generation")


def test_a_configured_column_helps_to_detect_the_format():
    """A configured column restricts the formats."""
    columns = ("messages", TURNS), ("text", STRING), ("notes", STRING)
    layout = settle(*columns, columns={"thinking": "notes"})
    assert (layout.format, layout.columns) == ("text", {"text": "text", "thinking": "notes"})
    assert settle(("dialogue", TURNS), columns={"messages": "dialogue"}).format == "messages"


def test_a_configured_option_must_exist_and_fit():
    """A missing or unsuitable configured option is refused."""
    columns = ("prompt", STRING), ("completion", STRING), ("steps", pa.list_(STRING))
    with pytest.raises(InputError, match="completion needs column 'cot'"):
        settle(*columns, format="completion", columns={"thinking": "cot"})
    with pytest.raises(
        InputError, match=r"'steps' is a list of texts, .*'thinking': it needs text"
    ):
        settle(*columns, format="completion", columns={"thinking": "steps"})


def test_optional_columns_of_other_types_are_left_alone():
    """An optional column of another type is ignored."""
    columns = ("messages", TURNS), ("system", pa.int64()), ("tools", pa.list_(STRING))
    assert settle(*columns).columns == {"messages": "messages"}
    columns = ("instruction", STRING), ("output", STRING), ("history", STRING)
    assert settle(*columns).columns == {"instruction": "instruction", "output": "output"}


@pytest.mark.parametrize(
    "name", ["model_name", "generation_model", "generated_by", "assistant_model", "model_id"]
)
def test_more_names_of_teachers_are_found(name):
    """Other tools' names for the teacher column are found."""
    assert settle(("text", STRING), (name, STRING)).lots["teacher"].column == name


def test_lots_may_be_nested():
    """The teacher may be at a usual path, and any lot field at a configured path."""
    metadata = pa.struct([("model", STRING), ("run", pa.struct([("day", STRING)]))])
    columns = ("text", STRING), ("metadata", metadata)
    assert settle(*columns).lots == {"teacher": LotField(column="metadata.model")}
    lots = settle(*columns, date=LotField(column="metadata.run.day")).lots
    assert lots["date"] == LotField(column="metadata.run.day")
    with pytest.raises(InputError, match=r"'metadata\.absent', but the corpus has text"):
        settle(*columns, date=LotField(column="metadata.absent"))


def test_a_configuration_lists_its_columns():
    """Configured columns are listed with their inner paths."""
    config = CorpusConfig(
        format="messages", columns={"messages": "a.b"}, teacher=LotField(column="c.d")
    )
    inner = [f"a.b.{name}" for name in INNER_COLUMNS]
    assert list(list_paths(config)) == ["a.b", *inner, "c.d"]
    assert list(list_paths(CorpusConfig(date=LotField(constant="2025")))) == []


def test_system_prompts_in_a_column_form_lots():
    """A column of system prompts forms lots like system turns."""
    columns = ("instruction", STRING), ("output", STRING), ("system", STRING)
    assert "system_prompt=digest of the row's system prompt" in settle(*columns).describe()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (pa.struct([("tools", pa.list_(STRING)), ("messages", TURNS)]), "input.messages"),
        (pa.struct([("text", STRING)]), "input.text"),
        (pa.struct([("messages", pa.int64()), ("content", STRING)]), "input.content"),
        (STRING, "input"),
        (TURNS, "input"),
        (TURNS.value_type, "input"),
        (pa.list_(STRING), "input"),
    ],
)
def test_a_configured_column_may_hold_messages_in_a_field(kind, path):
    """Messages or text inside a configured column of objects are read."""
    columns = ("input", kind), ("chosen", STRING), ("rejected", STRING)
    config = {"format": "preference", "columns": {"prompt": "input"}}
    assert settle(*columns, **config).columns["prompt"] == path
    assert settle(*columns, columns={"prompt": "input"}).columns["prompt"] == path


def test_a_configured_column_without_messages_inside_is_refused():
    """The error for a configured column without messages names the column."""
    columns = ("input", pa.struct([("a", STRING)])), ("chosen", STRING), ("rejected", STRING)
    with pytest.raises(InputError, match=r"column 'input' is struct.* as 'prompt': it needs text"):
        settle(*columns, format="preference", columns={"prompt": "input"})


@pytest.mark.parametrize("name", ["rejected", "rejected_responses", "non_preferred_outputs"])
def test_a_side_may_have_several_answers(name):
    """A side may be a list of texts or of answers."""
    for kind in (pa.list_(STRING), pa.list_(pa.struct([("text", STRING), ("score", STRING)]))):
        layout = settle(("prompt", STRING), ("chosen", STRING), (name, kind))
        assert (layout.format, layout.columns["rejected"]) == ("preference", name)
