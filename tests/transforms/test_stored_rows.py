"""Rows of a finished run: reading them without their notes, and replacing their answers."""

import orjson
import pytest

from schemas.runs import is_json_lines
from tests.support.swaps import ask
from transforms.stored_rows import (
    read_lines,
    read_noted_lines,
    read_stored_rows,
    read_table,
    replace_answers,
)

ROWS = [ask(0, "A dog."), ask(1, "An owl."), ask(2, "A fox."), ask(3, "The owl again.")]


def test_rows_are_read_without_their_notes(store):
    """The rows are those of the corpus, and the notes are apart from them."""
    run, layout, (shard,) = store("a", ROWS)
    clean = read_stored_rows(str(run), shard.files["clean"], layout)
    held = read_stored_rows(str(run), shard.files["quarantine"], layout)
    assert clean.records == [ROWS[0], ROWS[2]]
    assert held.records == [ROWS[1], ROWS[3]]
    assert len(held) == 2
    assert [note["reasons"][0]["trait"] for note in held.notes] == ["owl", "owl"]
    assert clean.notes[1]["decision"] == "flag"
    assert held.find_answer(1).text == "The owl again."
    assert held.build_prompt(1).messages == [{"role": "user", "content": "Question 3?"}]
    if held.lines is not None:
        assert [orjson.loads(line) for line in held.lines] == held.records


def test_only_the_answers_of_the_given_rows_change(store):
    """The new rows are in the given order, with all other values as they were."""
    run, layout, (shard,) = store("a", ROWS)
    held = read_stored_rows(str(run), shard.files["quarantine"], layout)
    answers = [(row, held.find_answer(row), f"New {row}.") for row in (1, 0)]
    new = replace_answers(held, answers)
    assert new.records == [ask(3, "New 1."), ask(1, "New 0.")]
    assert [new.find_answer(row).text for row in range(2)] == ["New 1.", "New 0."]
    assert held.find_answer(0).text == "An owl."
    if held.lines is None:
        assert new.table.schema == held.table.schema
        assert new.table.column_names == ["messages", "n"]
    else:
        assert [orjson.loads(line) for line in new.lines] == new.records


def test_other_bytes_of_a_line_stay(read_corpus, tmp_path):
    """Numbers, spaces and the order of other fields are kept as they were written."""
    line = b'{ "z" : 1.50, "text": "An owl.", "big": 123456789012345678901, "a":"\\u00e9" }'
    (tmp_path / "x.jsonl").write_bytes(line + b"\n")
    layout, _ = read_corpus(tmp_path / "x.jsonl")
    stored = read_noted_lines([line], layout)
    new = replace_answers(stored, [(0, stored.find_answer(0), "Né.")])
    assert new.lines == [line.replace(b"An owl.", "Né.".encode())]


def test_the_last_of_two_equal_fields_is_replaced(read_corpus, tmp_path):
    """Parsers return the last value of a repeated field, so that one is the answer."""
    line = b'{"text":"An owl.","text":"A fox.","n":1}'
    (tmp_path / "x.jsonl").write_bytes(b'{"text":"A","n":1}\n')
    layout, _ = read_corpus(tmp_path / "x.jsonl")
    stored = read_noted_lines([line], layout)
    new = replace_answers(stored, [(0, stored.find_answer(0), "N")])
    assert new.lines == [b'{"text":"An owl.","text":"N","n":1}']


def test_files_are_read_whole(store):
    """Tables can be read by column, and lines come back as they were written."""
    run, _, (shard,) = store("a", ROWS)
    assert read_table(str(run), shard.files["ledger"], ["row"]).num_rows == 4
    if is_json_lines(shard.files["clean"]):
        first, flagged = read_lines(str(run), shard.files["clean"])
        assert orjson.loads(first) == ROWS[0]
        assert orjson.loads(flagged)["congener"]["decision"] == "flag"


@pytest.mark.parametrize("value", ["\\ud800", "x"])
def test_a_lone_surrogate_elsewhere_in_the_field_is_kept(read_corpus, tmp_path, value):
    """A value that isn't UTF-8 can still be written as JSON."""
    said = '{"role":"assistant","content":"A"}'
    turns = f'[{{"role":"user","content":"U","k":"{value}"}},{said}]'
    line = b'{"messages":' + turns.encode() + b"}"
    (tmp_path / "x.jsonl").write_bytes(line + b"\n")
    layout, _ = read_corpus(tmp_path / "x.jsonl")
    stored = read_noted_lines([line], layout)
    new = replace_answers(stored, [(0, stored.find_answer(0), "N")])
    assert new.lines == [line.replace(b'"A"', b'"N"')]
