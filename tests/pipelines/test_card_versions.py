"""Whether a card is still the version that a run used."""

import shutil
from pathlib import Path

import pytest

from classifiers.library import LIBRARY
from pipelines.card_versions import find_change
from pipelines.cli.reading_rows import describe_line
from pipelines.evaluation import (
    divide_rows,
    find_earlier,
    match_labels,
    read_texts,
    select_sample,
    summarise,
)
from pipelines.filter import run_filter
from pipelines.labels import append_lines, read_labels
from pipelines.review.session import ReviewSession
from schemas.errors import CardError


@pytest.fixture
def population(run):
    """Return the rows of a run that used the card of herons."""
    return divide_rows(str(run[0]), "heron")


def edit(folder, old, new):
    """Replace text in a card."""
    path = Path(folder, "card.yaml")
    path.write_text(path.read_text().replace(old, new))


def test_the_card_of_the_run_is_unchanged(population, heron):
    """The version that the run used is no change, wherever its folder is now."""
    assert find_change(str(heron), population) is None
    copy = heron.parent / "copy"
    shutil.copytree(heron, copy)
    assert find_change(str(copy), population) is None


def test_an_edited_card_is_a_change(population, heron):
    """Another pattern or another exemplar makes another version, which is described."""
    edit(heron, "herons?", "cranes?")
    found = find_change(str(heron), population, ["--labels", "my labels.jsonl"])
    assert (found.folder, found.of_run) == (str(heron), population.card)
    assert found.now != found.of_run
    assert found.command.endswith(f"eval {heron} --on CORPUS --labels 'my labels.jsonl'")
    text = found.describe()
    assert text.startswith(f"the run {population.run} used another version of the card than")
    assert f"(card {found.of_run[:8]}, now {found.now[:8]})" in text
    assert found.command in text
    edit(heron, "cranes?", "herons?")
    assert find_change(str(heron), population) is None
    (heron / "negatives.jsonl").write_text('{"text": "A hen."}\n')
    assert find_change(str(heron), population) is not None


def test_the_corpus_of_the_run_is_in_the_command(population, heron):
    """The inputs of `filter` are named as they were given; other commands have none to name."""
    edit(heron, "herons?", "cranes?")
    for command, expected in (
        (("congener", "filter", "--input", "a b", "-i", "c", "-o", "r"), "--on 'a b' --on c"),
        (("congener", "decide", "old", "-i", "c"), "--on CORPUS"),
        (("congener", "filter", "--config", "c.yaml"), "--on CORPUS"),
    ):
        population.manifest.circumstances["command"] = command
        assert find_change(str(heron), population).command.endswith(expected)


def test_an_id_without_a_folder_is_not_compared(population):
    """The id of a card that is neither here nor in the library names nothing to compare."""
    assert find_change("heron", population) is None
    other = find_change("coercion", population)
    assert other.folder == str(LIBRARY / "coercion")


def test_a_card_with_a_mistake_is_reported(population, heron):
    """A card that can't be read any more is an error that names it."""
    edit(heron, "signals", "signal")
    with pytest.raises(CardError) as caught:
        find_change(str(heron), population)
    assert "card.yaml" in caught.value.where


def test_a_run_with_some_of_the_signals_used_the_same_card(config, heron, tmp_path):
    """`--signals` limits a run to some signals of a card, which is no change of the card."""
    edit(heron, "signals: {", "signals: {repetition: {span: 90}, ")
    limited = config.model_copy(update={"signals": ("lexicon",), "output": str(tmp_path / "few")})
    run_filter(limited)
    population = divide_rows(str(tmp_path / "few"), "heron")
    assert find_change(str(heron), population) is None
    edit(heron, "span: 90", "span: 60")
    assert find_change(str(heron), population) is None
    edit(heron, "herons?", "cranes?")
    assert find_change(str(heron), population) is not None


def test_a_random_sample_serves_every_version_of_a_card(run, config, heron, tmp_path):
    """Labels of `review --sample` count in another version's run; those of eval's draw don't."""
    session = ReviewSession(str(run[0]), tmp_path / "review", "ada", sample=12)
    drawn = session.list_rows({"trait": "heron"})["rows"]
    for row in drawn:
        session.add_label({"index": row, "trait": "heron", "label": "yes" if row % 5 else "no"})
    edit(heron, "herons?", "herons?|cranes?")
    run_filter(config.model_copy(update={"output": str(tmp_path / "other")}))
    before = divide_rows(str(run[0]), "heron")
    other = divide_rows(str(tmp_path / "other"), "heron")
    assert before.card != other.card
    (path,) = (tmp_path / "review").glob("labels-*.jsonl")
    found = match_labels(other, read_labels(path, "heron"), str(path))
    assert sorted(found) == sorted(drawn)
    assert find_earlier(other, found) == set()
    assert select_sample(other, found).keys() == found.keys()
    assert sum(item.read for item in summarise(other, select_sample(other, found))) == 12
    lines = [describe_line(text, "heron", True) for text in read_texts(before, drawn)]
    append_lines(tmp_path / "eval.jsonl", lines)
    path = tmp_path / "eval.jsonl"
    drawn_by_score = match_labels(other, read_labels(path, "heron"), str(path))
    assert find_earlier(other, drawn_by_score) == set(drawn)
