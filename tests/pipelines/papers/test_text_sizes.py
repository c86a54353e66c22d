"""How much text is published: words, tokens, and whose they are."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import CharDelimiterSplit
from transformers import PreTrainedTokenizerFast

from pipelines.export import export_papers
from pipelines.papers.facts import ADDED, gather_facts
from pipelines.papers.text_sizes import WORDS, choose_unit, count_words, measure_texts
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import CardError, ModelError


def read_answers(run: Path) -> list[dict]:
    """Return the published rows of a run in JSON Lines."""
    files = sorted((run / "clean").rglob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def count_by_hand(rows: list[dict]) -> int:
    """Count the words of the rows' answers."""
    turns = [turn for row in rows for turn in row["messages"] if turn["role"] == "assistant"]
    return sum(len(turn["content"].split()) for turn in turns)


@pytest.fixture
def tokenizer(tmp_path) -> str:
    """Save a tokenizer whose tokens are the stretches between the letter e."""
    own = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    own.pre_tokenizer = CharDelimiterSplit("e")
    folder = tmp_path / "student"
    PreTrainedTokenizerFast(tokenizer_object=own, unk_token="[UNK]").save_pretrained(folder)
    return str(folder)


@given(st.lists(st.text(alphabet="ab \n\té,.", max_size=30), max_size=5))
def test_words_are_stretches_without_blanks(texts):
    """Words are counted as Python splits a text at blanks."""
    found = count_words(pa.array(texts, pa.large_string()))
    assert found.tolist() == [len(text.split()) for text in texts]


def test_words_of_published_answers_are_counted(run):
    """Neither prompts nor removed rows count, and the parts of all models add up."""
    folder, manifest = run
    found = measure_texts(str(folder), manifest, WORDS)
    rows = read_answers(folder)
    assert found.total == count_by_hand(rows) > 0
    for item in gather_facts(str(folder)).generators:
        own = [row for row in rows if row["teacher"] == item.name]
        assert found.get(item) == count_by_hand(own)
    assert found.describe().startswith(f"Words of the published answers: {found.total:,} (stretch")


def test_added_rows_have_sizes_of_their_own(mixed):
    """Each role of a model has its own number."""
    found = measure_texts(str(mixed), load_manifest(str(mixed)), WORDS)
    facts = gather_facts(str(mixed))
    sizes = {(item.role, item.name): found.get(item) for item in facts.generators}
    assert sizes[ADDED, "elm"]
    assert sum(size or 0 for size in sizes.values()) == found.total


def test_tokens_are_those_of_the_named_tokenizer(run, tokenizer):
    """A folder is named by the digest of its tokenizer, not by its path."""
    unit = choose_unit(tokenizer)
    assert unit.measure(pa.array(["aebec", "a", ""], pa.large_string())).tolist() == [3, 1, 0]
    found = measure_texts(str(run[0]), run[1], unit)
    assert found.total > 0
    assert found.unit == "tokens"
    assert "a folder, digest" in found.how
    assert "student" not in found.how


def test_a_tokenizer_of_the_hub_needs_a_commit():
    """A name alone may mean another tokenizer tomorrow."""
    for revision in (None, "main", "0123"):
        with pytest.raises(CardError, match="needs its commit"):
            choose_unit("someone/model", revision)
    with pytest.raises(ModelError, match="can't be loaded"):
        choose_unit("someone/model", "0" * 40)


def test_papers_say_what_was_counted(run, tokenizer):
    """The card and the summary name the unit; without a tokenizer, they have words."""
    papers = export_papers(str(run[0]), ("card", "eu-summary"))
    for data in papers.values():
        text = data.decode()
        assert "Words of the published answers: " in text
        assert "| words of answers |" in text
        assert "not known; a run" not in text
    papers = export_papers(str(run[0]), ("eu-summary",), None, choose_unit(tokenizer))
    assert "Tokens of the published answers: " in papers["eu-summary.md"].decode()
