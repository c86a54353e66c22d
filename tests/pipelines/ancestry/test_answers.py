"""Reading the answers of models from corpora in any format."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ancestry.answers import (
    NamedCorpus,
    find_name,
    parse_corpora,
    read_answers,
    require_distinct,
)
from schemas.errors import CardError, InputError
from tests.support.corpora import write_rows
from tests.support.family import build_rows, write_teacher


def read(path: Path, most: int = 100):
    """Read the answers in a file."""
    return read_answers(NamedCorpus("m", str(path)), most)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("gpt=answers.jsonl", NamedCorpus("gpt", "answers.jsonl")),
        ("gpt 4 = a=b/*.parquet", NamedCorpus("gpt 4", " a=b/*.parquet")),
        ("hf=hf://owner/name", NamedCorpus("hf", "hf://owner/name")),
    ],
)
def test_a_name_stands_before_the_first_equals_sign(given, expected):
    """Further equals signs belong to the pattern."""
    assert parse_corpora([given], "--model") == [expected]


def test_a_glob_without_a_name_makes_each_file_a_model(tmp_path):
    """Names are those of the files, without the endings of formats and compression."""
    for name in ("vicuna-13b-v1.3.parquet", "gpt-4.jsonl", "x.json.gz"):
        (tmp_path / name).write_bytes(b"")
    found = parse_corpora([f"{tmp_path}/*"], "--candidates")
    assert [corpus.name for corpus in found] == ["gpt-4", "vicuna-13b-v1.3", "x"]
    assert all(corpus.is_matched for corpus in found)
    assert all(corpus.pattern.startswith(str(tmp_path)) for corpus in found)


def test_a_partition_in_a_path_is_no_name(tmp_path):
    """An equals sign after a slash belongs to a folder."""
    folder = tmp_path / "teacher=gpt"
    folder.mkdir()
    (folder / "part.jsonl").write_bytes(b"")
    (found,) = parse_corpora([f"{folder}/part.jsonl"], "--candidates")
    assert found == NamedCorpus("part", f"{folder}/part.jsonl")


@pytest.mark.parametrize("given", ["=x", "gpt=", " =x", "gpt= "])
def test_half_of_a_pair_is_refused(given):
    """A name without files and files with an empty name are mistakes."""
    with pytest.raises(CardError, match="isn't NAME=GLOB") as caught:
        parse_corpora([given], "--model")
    assert caught.value.where == "--model"
    assert caught.value.remedy


def test_a_glob_that_matches_nothing_is_refused(tmp_path):
    """The error names the pattern."""
    with pytest.raises(InputError) as caught:
        parse_corpora([f"{tmp_path}/*.jsonl"], "--candidates")
    assert str(tmp_path) in str(caught.value)


def test_two_models_need_two_names():
    """A repeated name would make results ambiguous."""
    require_distinct([NamedCorpus("a", "x"), NamedCorpus("b", "x")], "--candidates")
    with pytest.raises(CardError, match="'a' is given twice") as caught:
        parse_corpora(["a=x", "a=y"], "--candidates")
    assert caught.value.remedy == "give each model its own name"


def test_one_file_given_twice_should_be_excluded_once():
    """Another name for the same file wouldn't help, so the remedy is to leave it out."""
    with pytest.raises(CardError, match="'a' is given twice") as caught:
        parse_corpora(["a=x", "a=./x"], "--candidates")
    assert caught.value.remedy == "it is the same file, so exclude 'a' once"


def test_an_unknown_name_is_refused_with_a_suggestion():
    """The place of a known name is returned; a typing error gets a suggestion."""
    assert find_name("b", ["a", "b"], "--expect") == 1
    with pytest.raises(CardError) as caught:
        find_name("claud", ["claude", "gpt"], "--expect")
    assert "did you mean 'claude'?" in caught.value.remedy


def test_answers_are_read_with_keys_of_their_prompts(tmp_path):
    """Equal prompts have equal keys in two corpora, and different ones different keys."""
    rows = build_rows(write_teacher("atlas", range(5)))
    one = read(write_rows(tmp_path / "a.jsonl", rows))
    other = read(write_rows(tmp_path / "b.jsonl", build_rows(write_teacher("delta", range(5)))))
    assert len({answer.key for answer in one.answers}) == 5
    assert [answer.key for answer in one.answers] == [answer.key for answer in other.answers]
    assert {answer.text for answer in one.answers} == {
        row["messages"][1]["content"] for row in rows
    }
    assert (one.name, one.rows, one.rejects) == ("m", 5, 0)


def test_formats_share_their_keys(tmp_path):
    """The same prompt in Alpaca's columns and as messages in Parquet is the same prompt."""
    alpaca = [{"instruction": f"Question {n}?", "output": f"Answer {n}"} for n in range(4)]
    messages = build_rows([(n, f"Answer {n}") for n in range(4)])
    pq.write_table(pa.Table.from_pylist(messages), tmp_path / "b.parquet")
    one, other = read(write_rows(tmp_path / "a.jsonl", alpaca)), read(tmp_path / "b.parquet")
    assert one.answers == other.answers


def test_blanks_and_system_prompts_dont_separate_prompts(tmp_path):
    """White space counts as one blank, and a system prompt isn't part of the prompt."""
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why \n not? "},
        {"role": "assistant", "content": "So."},
    ]
    plain = [{"role": "user", "content": "Why not?"}, {"role": "assistant", "content": "So."}]
    one = read(write_rows(tmp_path / "a.jsonl", [{"messages": turns}]))
    other = read(write_rows(tmp_path / "b.jsonl", [{"messages": plain}]))
    assert one.answers == other.answers


def test_the_last_answer_of_a_conversation_is_read(tmp_path):
    """Earlier turns belong to the prompt."""
    turns = [
        {"role": role, "content": text}
        for role, text in (("user", "A?"), ("assistant", "B"), ("user", "C?"), ("assistant", "D"))
    ]
    found = read(write_rows(tmp_path / "a.jsonl", [{"messages": turns}]))
    single = read(write_rows(tmp_path / "b.jsonl", [{"messages": turns[:2]}]))
    assert [answer.text for answer in found.answers] == ["D"]
    assert found.answers[0].key != single.answers[0].key


def test_answers_to_one_prompt_share_its_key(tmp_path):
    """Several answers to a prompt have its key, in an order that doesn't depend on the rows'."""
    rows = build_rows([(1, "first"), (1, "second"), (2, "other")])
    found = read(write_rows(tmp_path / "a.jsonl", rows))
    assert len({answer.key for answer in found.answers}) == 2
    again = read(write_rows(tmp_path / "b.jsonl", rows[::-1]))
    assert found.answers == again.answers


def test_plain_texts_have_no_prompt(tmp_path):
    """A corpus of texts has answers without keys."""
    found = read(write_rows(tmp_path / "a.jsonl", [{"text": "One."}, {"text": "Two."}]))
    assert {answer.text for answer in found.answers} == {"One.", "Two."}
    assert {answer.key for answer in found.answers} == {None}


def test_large_corpora_keep_the_same_prompts(tmp_path):
    """The kept answers depend on prompts alone, not on order, nor on how rows lie in files."""
    answers = write_teacher("atlas", range(300))
    whole = read(write_rows(tmp_path / "a.jsonl", build_rows(answers)), most=40)
    folder = tmp_path / "parts"
    for part in range(3):
        write_rows(folder / f"{part}.jsonl", build_rows(answers[part::3][::-1]))
    parts = read(folder, most=40)
    other = read(
        write_rows(tmp_path / "b.jsonl", build_rows(write_teacher("delta", range(300)))), 40
    )
    assert len(whole.answers) == 40
    assert whole.answers == parts.answers
    assert [answer.key for answer in whole.answers] == [answer.key for answer in other.answers]
    assert whole.rows == parts.rows == 300


def test_rows_without_an_answer_are_counted_and_left_out(tmp_path):
    """Empty answers and unanswered prompts aren't answers; damaged lines are rejects."""
    rows = build_rows([(1, "fine"), (2, "  ")])
    rows.append({"messages": [{"role": "user", "content": "Hello?"}]})
    path = write_rows(tmp_path / "a.jsonl", rows)
    path.write_text(path.read_text() + '{"messages": 5}\n{"broken\n')
    found = read(path)
    assert [answer.text for answer in found.answers] == ["fine"]
    assert found.rows == 5
    assert found.rejects == 2


def test_a_corpus_without_answers_is_refused(tmp_path):
    """The error names the model and its files."""
    rows = [{"messages": [{"role": "user", "content": "Hello?"}]}]
    with pytest.raises(InputError, match="has no assistant's answer") as caught:
        read(write_rows(tmp_path / "a.jsonl", rows))
    assert caught.value.where.startswith("m=")


def test_an_unknown_format_is_reported_with_its_file(tmp_path):
    """The error says which files fit no format."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"height": 3}) + "\n")
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.where == str(path)


def test_lone_surrogates_are_read(tmp_path):
    """Text that isn't valid Unicode has a key and doesn't stop the command."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(build_rows([(1, "fine"), (2, "x \ud800 y")])[0]) + "\n")
    assert len(read(path).answers) == 1
