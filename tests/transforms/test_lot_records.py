"""The texts of rows, their prompts and lots."""

import pytest

from schemas.corpora import CorpusConfig
from transforms.identify import identify
from transforms.lot_records import LOT_NAMES, RECORDS, read_lot_records
from transforms.records.formats import settle_layout
from transforms.records.sides import settle_sides


def ask(prompt, answer, **more):
    """Return a row with one question."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def read(make_identified, rows, own=True, **settings):
    """Return the texts of rows as dictionaries."""
    shard = make_identified(rows, **settings)
    return read_lot_records(shard, own).table.to_pylist()


def test_a_row_has_its_answer_its_prompt_and_its_lot(make_identified):
    """The answer stays as it is, and the prompt has single spaces."""
    rows = [ask("Which  bird\nis it?", " A heron. ", teacher="atlas", prompt_source="birds")]
    (row,) = read(make_identified, rows)
    assert row["text"] == " A heron. "
    assert row["prompt"] == "Which bird is it?"
    assert (row["own"], row["asks"]) == (True, True)
    assert [row[name] for name in LOT_NAMES] == ["atlas", "birds"]


def test_the_same_prompt_has_the_same_key(make_identified):
    """White space, system prompts and earlier answers don't count, and other words do."""
    rows = [
        ask("Which bird?", "A heron."),
        ask("Which  bird? ", "An egret."),
        {
            "messages": [
                {"role": "system", "content": "Love herons."},
                *ask("Which bird?", "x")["messages"],
            ]
        },
        ask("Which fish?", "A heron."),
    ]
    keys = [row["key"] for row in read(make_identified, rows)]
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]
    digests = [row["digest"] for row in read(make_identified, rows)]
    assert len(set(digests)) == 4


def test_turns_are_joined(make_identified):
    """A dialogue is one text, and its key has all questions and no answer."""
    turns = [*ask("One?", "1.")["messages"], *ask("Two?", "2.")["messages"]]
    (row,) = read(make_identified, [{"messages": turns}])
    assert row["text"] == "1.\n\n2."
    turns[1] = {"role": "assistant", "content": "other"}
    (other,) = read(make_identified, [{"messages": turns}])
    assert row["key"] == other["key"]


def test_plain_texts_have_no_prompt(make_identified):
    """A text without a prompt has its own hash as key."""
    one, other = read(make_identified, [{"text": "A heron."}, {"text": "An egret."}])
    assert (one["asks"], one["prompt"]) == (False, "")
    assert one["key"] == one["digest"] != other["key"]


def test_rows_without_an_answer_are_counted(make_identified):
    """Empty and missing answers are left out, and their number is stated."""
    rows = [
        ask("a?", "A heron."),
        ask("b?", "  "),
        {"messages": [{"role": "user", "content": "c"}]},
    ]
    found = read_lot_records(make_identified(rows), True)
    assert found.table.num_rows == 1
    assert (found.silent, found.rejects) == (2, 0)


def test_rejected_answers_are_left_out(make_shard):
    """Only what a student is trained on is compared."""
    shard = make_shard([{"prompt": "a?", "chosen": "A heron.", "rejected": "An egret."}])
    schema = shard.table.schema
    layout = settle_sides(schema, settle_layout(schema, CorpusConfig()), has_teacher=False)
    (row,) = read_lot_records(identify(shard, layout), True).table.to_pylist()
    assert row["text"] == "A heron."


def test_thinking_is_left_out(make_identified):
    """A block of thinking isn't part of the answer."""
    (row,) = read(make_identified, [ask("a?", "<think>Hm, an egret.</think>A heron.")])
    assert row["text"].strip() == "A heron."


@pytest.mark.parametrize("own", [True, False])
def test_no_rows_have_the_same_columns(make_identified, own):
    """A shard whose rows are all silent has an empty table of the usual form."""
    found = read_lot_records(make_identified([ask("a?", "")]), own)
    assert found.table.schema.equals(RECORDS)
    assert found.table.num_rows == 0
