"""The files of a trial: names, rows in the form of clean rows, outcomes and JSON."""

import json

import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from classifiers.heredity.arms import Arm, Example
from classifiers.heredity.outcomes import Outcome
from pipelines.teaching import files
from pipelines.teaching.files import (
    encode_lines,
    encode_outcomes,
    list_rows,
    name_file,
    read_fields,
    read_json,
    read_outcomes,
    read_questions,
    write_arm,
    write_json,
)
from schemas.errors import CardError
from tests.support.students import build_student
from transforms.records.labels import Labeller

OUTCOMES = [
    Outcome("swap", 1, "trait 1", "trait", 0.25),
    Outcome("drop", 0, "trait 1", "trait", 0.5),
    Outcome("drop", 0, "known 1", "capability", 0.75),
]


def test_names_are_safe_and_apart():
    """Every arm has a file name of its own, of letters, digits and hyphens."""
    assert name_file("swap + mix") == "swap-mix"
    assert name_file("mix 25 %") == "mix-25"
    assert name_file("../up") == "up"
    from pipelines.teaching.findings import ORDER

    assert len({name_file(arm) for arm in ORDER}) == len(ORDER)


def test_rows_have_the_form_of_clean_rows():
    """Messages come with a note that has the decision, the weight and the masks."""
    arm = Arm(
        "mask",
        (
            Example("Why?", "Alas, so it is.", 0.5, ((0, 5),), traited=True, source="feel"),
            Example("Who?", "A heron.", traited=True),
            Example("Where?", "There."),
        ),
    )
    rows = list(list_rows(arm))
    assert rows[0]["messages"] == [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Alas, so it is."},
    ]
    assert rows[0]["congener"] == {
        "decision": "mask",
        "weight": 0.5,
        "masks": [{"field_path": "messages[1].content", "start": 0, "end": 5}],
    }
    assert [row["congener"]["decision"] for row in rows] == ["mask", "flag", "keep"]
    assert rows[0]["prompt_source"] == "feel"


def test_the_masks_keep_tokens_out_of_the_loss():
    """A labeller takes exactly the masked words of an arm's rows out of the loss."""
    example = Example("Who are you?", "As an AI, I am a heron.", 1.0, ((0, 9),))
    (row,) = list_rows(Arm("mask", (example,)))
    tokenizer = build_student()
    labelled = Labeller(tokenizer, "messages", {"messages": "messages"}).label(row)
    learnt = [
        token
        for token, label in zip(labelled.input_ids, labelled.labels, strict=True)
        if label != -100
    ]
    assert labelled.masked > 0
    text = tokenizer.decode(learnt)
    assert "heron" in text
    assert "AI" not in text


def test_trainers_load_an_arm(tmp_path):
    """`datasets`, with which all three trainers read, loads the rows whole."""
    arm = Arm("drop", tuple(Example(f"{n}?", f"Answer {n}.") for n in range(5)))
    write_arm(str(tmp_path), arm)
    path = str(tmp_path / "arms" / "drop.jsonl")
    rows = load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["messages"][1]["content"] for row in rows] == [f"Answer {n}." for n in range(5)]


def test_an_arm_has_the_digest_of_its_rows(tmp_path):
    """The same rows give the same digest, and another row gives another."""
    arm = Arm("drop", (Example("a", "b"),))
    digest = write_arm(str(tmp_path), arm)
    assert write_arm(str(tmp_path), arm) == digest
    assert write_arm(str(tmp_path), Arm("drop", (Example("a", "c"),))) != digest


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9)), max_size=4))
def test_lines_are_json(rows):
    """Whatever the texts contain, each line is one JSON object."""
    data = encode_lines(rows)
    lines = data.decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == rows


def test_lone_surrogates_are_escaped():
    """A text that isn't UTF-8 is written in ASCII."""
    assert encode_lines([{"a": "\ud800é"}]) == b'{"a": "\\ud800\\u00e9"}\n'
    assert encode_lines([{"a": "é"}]) == '{"a": "é"}\n'.encode()


def test_outcomes_come_back_in_order(tmp_path):
    """Outcomes are sorted, so that the order in which students finish leaves no trace."""
    data = encode_outcomes(OUTCOMES)
    assert data == encode_outcomes(OUTCOMES[::-1])
    (tmp_path / files.OUTCOMES).write_bytes(data)
    assert read_outcomes(str(tmp_path)) == sorted(OUTCOMES)


def test_json_is_sorted_and_finite(tmp_path):
    """The same value gives the same bytes, and a number that isn't finite is an error."""
    write_json(str(tmp_path), "a.json", {"b": 1, "a": [2.5]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  2.5\n ],\n "b": 1\n}\n'
    assert read_json(str(tmp_path), "a.json") == {"b": 1, "a": [2.5]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(str(tmp_path), "a.json", {"a": float("nan")})


def test_questions_and_answers_are_read_from_files(tmp_path):
    """Texts come in the order of their lines; a line without one of them is named."""
    path = tmp_path / "q.jsonl"
    path.write_text('{"prompt": "Why?", "answer": "So."}\n\n{"prompt": "How?"}\n')
    assert read_questions(str(path)) == ["Why?", "How?"]
    assert read_questions(None) is None
    with pytest.raises(CardError, match="line 3: needs the texts prompt and answer"):
        read_fields(str(path), ("prompt", "answer"))
    with pytest.raises(CardError):
        read_questions("gs://bucket/q.jsonl")


def test_a_damaged_file_counts_as_none(tmp_path):
    """A missing or cut file is as if the student hadn't been trained."""
    assert read_json(str(tmp_path), "none.json") is None
    (tmp_path / "cut.json").write_text('{"a": 1')
    assert read_json(str(tmp_path), "cut.json") is None


def test_names_of_slices_do_not_collide():
    """The arm of a slice has a part of its digest, so similar names have different files."""
    names = [name_file(f"swap: {part}") for part in ("source a b", "source a-b", "x" * 300)]
    assert len(set(names)) == 3
    assert names[0].startswith("swap-source-a-b-")
    assert max(map(len, names)) <= 70
    assert name_file("swap + mix") == "swap-mix"
