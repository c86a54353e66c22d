"""The two corpora of an audit, and its settings."""

import pytest
from pydantic import ValidationError

from pipelines.auditing.corpora import AuditConfig, settle_corpus
from schemas.corpora import CorpusConfig, LotField, ShardLimits
from schemas.errors import InputError
from tests.support.audits import write_side
from tests.support.corpora import write_rows
from tests.support.lots import write_answers


def test_a_corpus_is_settled(tmp_path):
    """Its format is detected, and its rows are planned in shards."""
    path = write_side(tmp_path / "a.jsonl", write_answers(25))
    found = settle_corpus([path], CorpusConfig(), ShardLimits(rows=10))
    assert found.layout.format == "messages"
    assert found.rows == 25
    assert sum(plan.rows for task in found.tasks for plan in task) == 25
    assert sum(len(task) for task in found.tasks) == 3


def test_several_files_are_one_corpus(tmp_path):
    """A glob or several paths name one corpus."""
    paths = [write_side(tmp_path / f"{name}.jsonl", write_answers(5)) for name in "ab"]
    assert settle_corpus(paths, CorpusConfig(), ShardLimits()).rows == 10
    assert settle_corpus([f"{tmp_path}/*.jsonl"], CorpusConfig(), ShardLimits()).rows == 10


def test_a_teacher_can_be_named(tmp_path):
    """A constant teacher is the lot of every row."""
    path = write_side(tmp_path / "a.jsonl", write_answers(5))
    named = CorpusConfig(teacher=LotField(constant="dune"))
    layout = settle_corpus([path], named, ShardLimits()).layout
    assert layout.lots["teacher"].constant == "dune"


def test_transcripts_are_cut(tmp_path):
    """A text that holds a whole conversation is read turn by turn, as a run reads it."""
    text = "<|im_start|>user\nWhich bird?<|im_end|>\n<|im_start|>assistant\nA heron.<|im_end|>"
    path = str(write_rows(tmp_path / "a.jsonl", [{"text": text}] * 4))
    assert settle_corpus([path], CorpusConfig(), ShardLimits()).layout.transcripts == ("text",)


@pytest.mark.parametrize("row", [{"n": 1}, {"a": "x", "b": "y"}])
def test_a_corpus_without_a_format_is_named(tmp_path, row):
    """The error for unknown columns names the path."""
    path = str(write_rows(tmp_path / "odd.jsonl", [row]))
    with pytest.raises(InputError) as caught:
        settle_corpus([path], CorpusConfig(), ShardLimits())
    assert "odd.jsonl" in str(caught.value)
    assert caught.value.remedy


def test_a_missing_corpus_is_an_error(tmp_path):
    """A path that matches nothing is an input error."""
    with pytest.raises(InputError, match="matches no file"):
        settle_corpus([f"{tmp_path}/none.jsonl"], CorpusConfig(), ShardLimits())


def test_settings_are_checked(tmp_path, monkeypatch):
    """A level is a share, and home folders are expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = AuditConfig(corpus=("~/a",), reference=("b",), output="~/out")
    assert config.corpus == (f"{tmp_path}/a",)
    assert config.output == f"{tmp_path}/out"
    for level in (0, 1, -0.1):
        with pytest.raises(ValidationError):
            AuditConfig(corpus=("a",), reference=("b",), output="c", level=level)
