"""Record ids, content digests and lots."""

import datetime as dt
import json
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig, LotField
from schemas.digests import digest_bytes
from schemas.lots import UNKNOWN, Lot
from tests.support.eager import apply
from transforms.files.shards import Reject
from transforms.identify import IdentifyRecords, identify, select_rows
from transforms.records.formats import settle_layout


@pytest.fixture(scope="session")
def read_ids(read_corpus):
    """Return a function that reads a file and returns its rows' ids."""

    def read(path, **config):
        layout, shards = read_corpus(path, **config)
        return [name for shard in shards for name in identify(shard, layout).record_ids]

    return read


PAIRS = [
    ("What is rain?", "Water that falls."),
    ("Grüße?", "Café, naïve, Å — 東京 😀"),
    ("Why?", "Because.\nIt is."),
]


def format_pairs(pairs):
    """Return pairs of prompt and answer as rows in every format."""
    return {
        "messages": [
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
            for q, a in pairs
        ],
        "parts": [
            {
                "messages": [
                    {"role": role, "content": [{"type": "text", "text": text}]}
                    for role, text in (("user", q), ("assistant", a))
                ]
            }
            for q, a in pairs
        ],
        "calls": [
            {
                "messages": [
                    {"role": "user", "content": q, "tool_calls": None},
                    {"role": "assistant", "content": a, "tool_calls": []},
                ]
            }
            for q, a in pairs
        ],
        "conversations": [
            {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
            for q, a in pairs
        ],
        "alpaca": [
            {"instruction": q, "input": "", "output": a, "id": number}
            for number, (q, a) in enumerate(pairs)
        ],
        "completion": [{"prompt": q, "completion": a} for q, a in pairs],
        "completion turns": [
            {
                "prompt": [{"role": "user", "content": q}],
                "completion": [{"role": "assistant", "content": a}],
            }
            for q, a in pairs
        ],
    }


def test_ids_are_equal_across_formats_and_files(tmp_path, json_lines, read_ids):
    """A conversation has the same id in every format and kind of file."""
    expected = None
    for name, rows in format_pairs(PAIRS).items():
        written = [
            json_lines(tmp_path / f"{name}{suffix}", rows)
            for suffix in (".jsonl", ".jsonl.gz", ".jsonl.zst")
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        for path in (*written, tmp_path / f"{name}.parquet"):
            found = read_ids(path)
            expected = expected or found
            assert found == expected, path
    assert len(set(expected)) == len(PAIRS)
    assert all(len(name) == 32 for name in expected)


def test_ids_do_not_depend_on_other_columns_or_file_names(tmp_path, json_lines, read_ids):
    """File names and extra columns don't change ids."""
    rows = [{"text": "a", "id": 1}, {"text": "b", "id": 2}]
    first = read_ids(json_lines(tmp_path / "one" / "x.jsonl", rows))
    second = read_ids(
        json_lines(
            tmp_path / "two" / "y.jsonl", [{"note": "n", "text": row["text"]} for row in rows]
        )
    )
    assert first == second


def test_ids_of_calls_do_not_depend_on_other_rows(tmp_path, json_lines, read_ids):
    """A record with a tool call keeps its id beside other calls."""
    row = {
        "messages": [
            {
                "role": "assistant",
                "content": "A",
                "tool_calls": [{"name": "look", "arguments": {"at": "x"}}],
            }
        ]
    }
    other = {
        "messages": [
            {
                "role": "assistant",
                "content": "B",
                "tool_calls": [{"name": "go", "arguments": {"to": 1}, "id": "7"}],
            }
        ]
    }
    alone = read_ids(json_lines(tmp_path / "alone.jsonl", [row]))
    assert read_ids(json_lines(tmp_path / "beside.jsonl", [row, other]))[:1] == alone
    pq.write_table(pa.Table.from_pylist([row, other]), tmp_path / "beside.parquet")
    assert read_ids(tmp_path / "beside.parquet")[:1] == alone


SAID = {"role": "assistant", "content": "I look."}
CALL = {"name": "look", "arguments": {"city": "Rome"}}
RESULT = {"role": "tool", "content": "sunny"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(
            (
                {"role": "assistant", "content": "a", name: one},
                {"role": "assistant", "content": "a", name: other},
            )
            for name, one, other in (
                ("tool_calls", [CALL], [{**CALL, "arguments": {"city": "Oslo"}}]),
                ("tool_calls", [{**CALL, "id": "1"}], [{**CALL, "id": "2"}]),
                ("function_call", CALL, {**CALL, "arguments": {"city": "Oslo"}}),
                ("toolInvocations", [{"args": {"a": 1}}], [{"args": {"a": 2}}]),
                ("additional_kwargs", {"function_call": CALL}, {"function_call": {"name": "x"}}),
                ("recipient", "functions.look", "functions.find"),
                ("channel", "commentary", "final"),
            )
        ),
        *(
            ({**RESULT, name: one}, {**RESULT, name: other})
            for name, one, other in (
                ("tool_call_id", "1", "2"),
                ("toolCallId", "1", "2"),
                ("call_id", "1", "2"),
                ("tool_use_id", "1", "2"),
                ("name", "look", "find"),
                ("tool_results", [{"outputs": [1]}], [{"outputs": [2]}]),
                ("is_error", True, False),
            )
        ),
        *(
            ({"role": "assistant", "content": [one]}, {"role": "assistant", "content": [other]})
            for one, other in (
                (
                    {"type": "tool_use", "id": "1", "name": "look", "input": {"a": {"b": 1}}},
                    {"type": "tool_use", "id": "1", "name": "look", "input": {"a": {"b": 2}}},
                ),
                (
                    {"type": "tool_result", "tool_use_id": "1", "content": "sunny"},
                    {"type": "tool_result", "tool_use_id": "2", "content": "sunny"},
                ),
                (
                    {"toolUse": {"toolUseId": "1", "name": "look", "input": {"a": 1}}},
                    {"toolUse": {"toolUseId": "1", "name": "look", "input": {"a": 2}}},
                ),
                (
                    {"functionCall": {"name": "look", "args": {"a": 1}}},
                    {"functionCall": {"name": "look", "args": {"a": 2}}},
                ),
                (
                    {"functionResponse": {"name": "look", "response": {"a": 1}}},
                    {"functionResponse": {"name": "look", "response": {"a": 2}}},
                ),
                (
                    {"type": "tool-call", "toolCallId": "1", "args": {"a": 1}},
                    {"type": "tool-call", "toolCallId": "1", "args": {"a": 2}},
                ),
            )
        ),
        (
            {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"a":1}'},
            {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"a":2}'},
        ),
    ],
)
def test_rows_that_differ_in_calls_of_tools_differ(tmp_path, json_lines, read_ids, one, other):
    """Different tool calls give different ids."""
    says = [{"type": "text", "text": "So?"}] if isinstance(one.get("content"), list) else "So?"
    asked, last = {"role": "user", "content": says}, {"role": "assistant", "content": says}
    rows = [{"messages": [asked, message, last]} for message in (one, other, one)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for file in (json_lines(tmp_path / "a.jsonl", rows), tmp_path / "a.parquet"):
        first, second, third = read_ids(file)
        assert first == third != second


def test_ids_depend_on_text_alone(tmp_path, json_lines, read_ids):
    """Metadata, white space and null messages don't change ids."""
    rows = [
        b'{"messages": [{"role": "user", "content": "a"}]}',
        b'{"id": NaN, "messages": [ {"content": "a", "role": "user", "weight": [{}]} ] }\r',
        b'{"messages": [null, {"role": "user", "content": ["a"]}, {"role": "tool"}]}',
        b'{"messages": [{"from": "human", "value": "a"}]}',
    ]
    assert len(set(read_ids(json_lines(tmp_path / "x.jsonl", rows)))) == 1


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_lots_may_be_in_the_names_of_folders(tmp_path, json_lines, read_corpus, suffix):
    """Teacher and date come from folder names, with the default partition as unknown."""
    for folder in ("teacher=org%2Fx/date=2025-08-01T10%3A00", "teacher=__HIVE_DEFAULT_PARTITION__"):
        path = tmp_path / folder / f"part-0.{suffix}"
        path.parent.mkdir(parents=True)
        if suffix == "jsonl":
            json_lines(path, [{"text": "a"}, {"text": "b"}])
        else:
            pq.write_table(pa.table({"text": ["a", "b"]}), path)
    layout, shards = read_corpus(tmp_path)
    found = {lot for shard in shards for lot in identify(shard, layout).lots}
    assert {(lot.teacher, lot.date) for lot in found} == {
        ("org/x", "2025-08-01"),
        (UNKNOWN, UNKNOWN),
    }
    assert len(shards) == 2
    assert all("teacher" not in shard.table.column_names for shard in shards)


def test_lots_of_json_lines_may_be_of_any_kind(tmp_path, json_lines, read_corpus):
    """Numbers and booleans name lots, and objects and lists cause no rejects."""
    models = ["m", 7, 2.5, True, None, {"name": "m"}, ["m"], "\ud800"]
    rows = [json.dumps({"text": "a", "model": model}).encode() for model in models]
    layout, (shard,) = read_corpus(json_lines(tmp_path / "x.jsonl", rows))
    found = identify(shard, layout)
    assert found.rejects == []
    teachers = [lot.teacher for lot in found.lots]
    assert teachers == ["m", "7", "2.5", "True", UNKNOWN, UNKNOWN, UNKNOWN, "\ufffd"]


def test_identified_rows_keep_their_lines(tmp_path, json_lines, read_corpus):
    """Identified and selected rows keep their lines."""
    rows = [{"text": text, "n": text} for text in "abc"]
    layout, (shard,) = read_corpus(json_lines(tmp_path / "x.jsonl", rows))
    identified = identify(shard, layout)
    assert identified.lines == shard.lines
    assert select_rows(identified, [0, 2]).lines == [shard.lines[0], shard.lines[2]]


@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=12))
def test_ids_are_equal_across_unicode_forms(make_identified, text):
    """Composed and decomposed text have the same digest."""
    rows = [
        {"text": form}
        for form in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))
    ]
    assert (
        len(
            set(
                make_identified(
                    pa.Table.from_pylist(rows, pa.schema([("text", pa.string())]))
                ).digests
            )
        )
        == 1
    )


def test_compatibility_forms_differ(make_identified):
    """A ligature and its letters have different ids."""
    first, second = make_identified([{"text": "ﬁne"}, {"text": "fine"}]).digests
    assert first != second


def test_record_id_is_the_digests_beginning(make_identified):
    """A row's id is the first 32 hex digits of its digest."""
    identified = make_identified([{"text": "a"}, {"text": "b"}])
    assert identified.record_ids == [digest[:32] for digest in identified.digests]
    assert all(len(digest) == 64 for digest in identified.digests)


def test_lots_come_from_columns(make_identified):
    """A row's teacher and source come from columns, or are a dash."""
    rows = [{"text": "a", "model": "m1", "source": "s"}, {"text": "b", "model": None, "source": ""}]
    assert make_identified(rows).lots == [Lot("m1", "s", "-", "-"), Lot("-", "-", "-", "-")]


def test_a_constant_is_used_unchanged(make_identified):
    """A constant may contain any character."""
    identified = make_identified([{"text": "a"}], CorpusConfig(teacher=LotField(constant="a|b")))
    assert identified.lots[0].teacher == "a|b"


def test_lots_by_constant(make_identified):
    """A constant is in every row's lot."""
    config = CorpusConfig(teacher=LotField(constant="m2"), system_prompt=LotField(constant="plain"))
    assert (
        make_identified([{"text": "a", "model": "m1"}] * 2, config).lots
        == [Lot("m2", "-", "plain", "-")] * 2
    )


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2025-03-04T05:06:07Z", "2025-03-04"),
        (dt.datetime(2025, 3, 4, 5, 6, tzinfo=dt.UTC), "2025-03-04"),
        (dt.date(2025, 3, 4), "2025-03-04"),
        ("2025", "2025"),
        (None, "-"),
    ],
)
def test_a_date_is_a_day(make_identified, value, day):
    """A date with a time becomes the day."""
    table = pa.table(
        {"text": ["a"], "date": pa.array([value], pa.string() if value is None else None)}
    )
    assert make_identified(table).lots == [Lot("-", "-", "-", day)]


def test_lot_fields_are_text(make_identified):
    """A number in a lot field becomes text."""
    lot = make_identified([{"text": "a", "model": "a|b", "source": 7}]).lots[0]
    assert lot == Lot("a|b", "7", "-", "-")


def test_system_prompts_name_lots(make_identified):
    """A lot has the digest of the first system message, stripped."""

    def row(*systems):
        return {
            "messages": [
                *({"role": "system", "content": text} for text in systems),
                {"role": "user", "content": "U"},
            ]
        }

    lots = make_identified(
        [row("Be kind."), row(" Be kind.\n"), row("Be kind.", "Be brief."), row("Be brief."), row()]
    ).lots
    assert [lot.system_prompt for lot in lots] == [digest_bytes(b"Be kind.")[:8]] * 3 + [
        digest_bytes(b"Be brief.")[:8],
        "-",
    ]


def test_rows_of_one_lot_share_it(make_identified):
    """Equal lots are one object."""
    lots = make_identified([{"text": "a", "model": "m"}, {"text": "b", "model": "m"}]).lots
    assert lots[0] is lots[1]


def test_an_identified_shard_is_a_shard(make_shard):
    """An identified shard keeps the shard's table, plan and row numbers."""
    shard = make_shard([{"text": "a"}, {"text": "b"}], numbers=[3, 5])
    identified = identify(shard, settle_layout(shard.table.schema, CorpusConfig()))
    assert {name: vars(identified)[name] for name in vars(shard)} == vars(shard)
    assert identified.segments.texts == ["a", "b"]


def test_rows_are_selected_with_all_that_is_known_of_them(make_identified):
    """A selection has its rows' ids, lots and segments, and no rejects."""
    rejects = [Reject("corpus.jsonl", 3, 9, "not JSON", b"x")]
    rows = [{"text": text, "model": text} for text in "abc"]
    identified = make_identified(rows, rejects=rejects)
    chosen = select_rows(identified, [0, 2])
    assert chosen.table.column("text").to_pylist() == chosen.segments.texts == ["a", "c"]
    assert chosen.segments.rows.tolist() == [0, 1]
    assert chosen.numbers == [0, 2]
    assert chosen.record_ids == [identified.record_ids[row] for row in (0, 2)]
    assert [lot.teacher for lot in chosen.lots] == ["a", "c"]
    assert chosen.rejects == []
    assert select_rows(identified, [0, 1, 2]) is identified


def test_identify_records_on_beam(make_shard):
    """The transform identifies the rows of every shard."""
    shards = [
        make_shard([{"text": f"{name} {number}", "model": "m"} for number in range(3)], name=name)
        for name in ("part-0", "part-1")
    ]
    layout = settle_layout(shards[0].table.schema, CorpusConfig())
    expected = [
        (shard.plan.name, identify(shard, layout).record_ids, ["m"] * 3) for shard in shards
    ]
    identified = apply(IdentifyRecords(layout), shards)
    assert (
        sorted(
            (item.plan.name, item.record_ids, [lot.teacher for lot in item.lots])
            for item in identified
        )
        == expected
    )


def test_only_the_rows_of_invalid_text_are_rejected(make_shard):
    """Invalid UTF-8 rejects only its own row."""
    broken = pa.array([b"a", b"\xff", b"c", b"\xff", b"e"], pa.binary()).view(pa.string())
    table = pa.table(
        {
            "text": list("abcde"),
            "notes": pa.ListArray.from_arrays(pa.array(range(6), pa.int32()), broken),
        }
    )
    layout = settle_layout(table.schema, CorpusConfig())
    for begin, size, good in ((0, 5, [0, 2, 4]), (2, 1, [0]), (4, 1, [0]), (2, 2, [0])):
        found = identify(make_shard(table.slice(begin, size)), layout)
        assert (found.numbers, [reject.row for reject in found.rejects]) == (
            good,
            [row for row in range(size) if row not in good],
        )
        assert all("UTF8" in reject.error for reject in found.rejects)
