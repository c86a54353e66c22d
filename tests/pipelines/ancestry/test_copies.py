"""Candidates that are the model itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ancestry.answers import KeyedAnswer, ModelAnswers, NamedCorpus
from pipelines.ancestry.copies import (
    FEWEST_COMPARED,
    Copy,
    compute_identical,
    drop_copies,
    find_same_answers,
    find_same_files,
)
from schemas.errors import CardError, InputError

LONG = "an answer of five words, number"


def build(name: str, texts: list[str], *, keyed: bool = True) -> ModelAnswers:
    """Return a model's answers to prompts that are numbered."""
    answers = [KeyedAnswer(f"{n:04x}" if keyed else None, text) for n, text in enumerate(texts)]
    return ModelAnswers(name, answers, len(answers), 0)


def write(count: int, start: int = 0) -> list[str]:
    """Return so many different answers."""
    return [f"{LONG} {number}" for number in range(start, start + count)]


def test_a_file_of_the_model_is_found_through_links_and_folders(tmp_path):
    """A link, a folder with the file and another spelling of its path are the same file."""
    (tmp_path / "parts").mkdir()
    for file in ("parts/own.jsonl", "parts/more.jsonl", "other.jsonl"):
        (tmp_path / file).write_text(file)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "parts" / "own.jsonl")
    model = NamedCorpus("ours", f"{tmp_path}/parts/own.jsonl")
    candidates = [
        NamedCorpus("link", f"{tmp_path}/link.jsonl"),
        NamedCorpus("folder", f"{tmp_path}/parts"),
        NamedCorpus("spelt", f"{tmp_path}/parts/../parts/own.jsonl"),
        NamedCorpus("other", f"{tmp_path}/other.jsonl"),
    ]
    found = list(find_same_files([model], candidates))
    assert [copy.name for copy in found] == ["link", "folder", "spelt"]
    assert {copy.model for copy in found} == {"ours"}


def test_missing_files_are_reported(tmp_path):
    """A candidate without files stops the search."""
    missing = NamedCorpus("x", f"{tmp_path}/x.jsonl")
    with pytest.raises(InputError):
        list(find_same_files([missing], []))


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize(("same", "is_copy"), [(100, True), (96, True), (90, False), (0, False)])
def test_nearly_identical_answers_make_a_copy(keyed, same, is_copy):
    """Some other answers don't hide a copy, with and without prompts."""
    model = build("ours", write(100), keyed=keyed)
    other = build("twin", write(same) + write(100 - same, start=500), keyed=keyed)
    found = list(find_same_answers([model], [other]))
    assert [copy.name for copy in found] == (["twin"] if is_copy else [])
    assert compute_identical(model, other) == pytest.approx(same / 100)


def test_short_answers_dont_make_a_copy():
    """Models that answer yes and no alike aren't the same model."""
    texts = ["Yes.", "No."] * 50
    assert compute_identical(build("a", texts), build("b", texts)) == 0


def test_few_answers_dont_make_a_copy():
    """A handful of equal answers may be chance."""
    few, enough = write(FEWEST_COMPARED - 1), write(FEWEST_COMPARED)
    assert compute_identical(build("a", few), build("b", few)) == 0
    assert compute_identical(build("a", enough), build("b", enough)) == 1


def test_a_part_of_the_prompts_is_enough():
    """Prompts that only one of the two answered don't count."""
    assert compute_identical(build("a", write(100)), build("b", write(40))) == 1


def test_equal_answers_to_other_prompts_dont_count():
    """The same text says little if the question was another one."""
    assert compute_identical(build("a", write(60)), build("b", write(60, start=30))) == 0


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_the_share_is_symmetric(own, other):
    """Either of two models may be the copy, and no share exceeds 1."""
    one = build("a", [f"{LONG} {number}" for number in own])
    two = build("b", [f"{LONG} {number}" for number in other])
    share = compute_identical(one, two)
    assert share == compute_identical(two, one)
    assert 0 <= share <= 1


def test_copies_are_dropped_or_refused():
    """A copy that a glob matched is dropped; one that was named is an error with a remedy."""
    copy = Copy("twin", "ours", "reads the same file as the model")
    gpt = NamedCorpus("gpt", "gpt.jsonl")
    assert drop_copies([copy], [gpt, NamedCorpus("twin", "t.jsonl", True)], "--candidates") == [gpt]
    assert drop_copies([], [gpt], "--candidates") == [gpt]
    with pytest.raises(CardError, match="twin reads the same file as the model ours") as caught:
        drop_copies([copy], [gpt, NamedCorpus("twin", "t.jsonl")], "--candidates")
    assert caught.value.where == "--candidates"
    assert caught.value.remedy == "exclude 'twin' from --candidates"
