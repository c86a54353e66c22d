"""Finding the rows that labels name, and giving them to cards."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from classifiers.clean_text import CleanRow, CleanText
from classifiers.library import LoadedCard
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.labelled_rows import FoundRow, attach_labels, find_in_corpus, find_in_run
from pipelines.labels import digest_definition
from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.cards import Scope, TraitCard
from schemas.errors import CardError
from tests.support.corpora import build_conversation, write_rows

NO_TEXT = CleanText(())
TEXTS = ("A heron.", "An egret.", "A stork.", "A chair.")
CARD = "id: bird\nthreshold: 0.5\naction: {}\nsignals: {{lexicon: {{patterns: [{}]}}}}\n"


@pytest.fixture(scope="module")
def bird_run(tmp_path_factory):
    """Filter twelve rows with a heron mask, dropped egrets and quarantined storks."""
    folder = tmp_path_factory.mktemp("birds")
    names = ("heron", "mask"), ("egret", "drop"), ("stork", "quarantine")
    for name, action in names:
        (folder / name).mkdir()
        card = CARD.format(action, name).replace("id: bird", f"id: {name}")
        (folder / name / "card.yaml").write_text(card, encoding="utf-8")
    rows = [build_conversation(number, TEXTS[number % 4]) for number in range(12)]
    config = FilterConfig(
        input=(str(write_rows(folder / "corpus.jsonl", rows)),),
        output=str(folder / "run"),
        traits=tuple(str(folder / name) for name, _ in names),
    )
    run_filter(config)
    return config


@pytest.fixture
def card():
    """Return a card that reads answers."""
    return LoadedCard(TraitCard(id="bird"), ("A heron.",) * 4, (), None)


@pytest.fixture
def attach(tmp_path, card):
    """Return a function that attaches lines of labels to cards."""

    def attach(*lines, cards=(card,), clean=NO_TEXT, more=(), **settings):
        path = tmp_path / "labels.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        config = FilterConfig(labels=(str(path), *more), **settings)
        return attach_labels(cards, config, clean)

    return attach


def list_labels(card):
    """Return the texts with a yes and those with a no, of both halves."""
    halves = (card.labels.fitting, card.labels.calibration)
    return [sorted(text for half in halves for text in half[label]) for label in (0, 1)]


def read_ids(run):
    """Return the record ids of a run's ledger, by row."""
    ledger = scan_folder(run, load_manifest(run), "ledger").select("row", "record_id").collect()
    return dict(ledger.iter_rows())


def test_rows_are_found_by_number_and_by_id(bird_run):
    """A corpus's rows are found under the names of the ledger, with their prompt."""
    ids = read_ids(bird_run.output)
    keys = [("corpus.jsonl", 5), ids[2], ("corpus.jsonl", 99), ("other", 1)]
    found = find_in_corpus(bird_run.input, bird_run, keys)
    assert set(found) == {("corpus.jsonl", 5), ids[2]}
    (row,) = found["corpus.jsonl", 5]
    assert (row.prompt, row.select_texts(Scope())) == ("Question 5?", ("An egret.",))
    assert found[ids[2]][0].select_texts(Scope()) == ("A stork.",)


def test_a_run_has_the_rows_that_it_kept_whole(bird_run):
    """Quarantined and clean rows are found in a run, but no masked or dropped ones."""
    ids = read_ids(bird_run.output)
    keys = [("corpus.jsonl", 0), ("corpus.jsonl", 1), ("corpus.jsonl", 2), ids[3], ids[6]]
    found = find_in_run(bird_run.output, bird_run, keys)
    assert set(found) == {("corpus.jsonl", 2), ids[3], ids[6]}
    assert found["corpus.jsonl", 2][0].select_texts(Scope()) == ("A stork.",)
    assert found[ids[3]][0].prompt == "Question 3?"


def test_labels_of_rows_reach_their_card(bird_run, attach):
    """Labels of a corpus's rows, in any form of name, are split by prompt."""
    lines = [
        {"source": "corpus.jsonl", "row": row, "label": row % 4 == 0, "trait": "bird"}
        for row in range(12)
    ]
    (found,) = attach(*lines, labels_on=bird_run.input)
    assert list_labels(found) == [[("A heron.",)], [("A chair.",), ("A stork.",), ("An egret.",)]]
    (same,) = attach(*lines, input=bird_run.input)
    assert same.labels == found.labels


def test_labels_with_texts_need_no_corpus(attach):
    """A label may give its own text and prompt; unsure ones are only counted."""
    lines = [{"text": f"Bird {n}.", "prompt": "p", "label": "yes"} for n in range(3)]
    (found,) = attach(*lines, {"text": "What?", "label": "unsure"})
    assert list_labels(found) == [[("Bird 0.",), ("Bird 1.",), ("Bird 2.",)], []]
    assert not (found.labels.fitting.positives and found.labels.calibration.positives)
    assert found.labels.unsure == 1


def test_rows_of_the_clean_sample_only_measure(attach):
    """A labelled text that is also in the clean sample isn't in the fit."""
    clean = CleanText((), (CleanRow(("Bird 1.",), "user", "clean"),))
    lines = [{"text": f"Bird {n}.", "prompt": "p", "label": "no"} for n in range(3)]
    (found,) = attach(*lines, clean=clean)
    assert (len(found.labels.fitting.negatives), len(found.labels.calibration.negatives)) == (0, 3)


def test_the_later_of_two_labels_counts(attach):
    """Labels with times may change; without times, a contradiction names both places."""
    first = {"text": "A heron.", "label": "no", "time": "2026-01-01"}
    second = {"text": "A heron.", "label": "yes", "time": "2026-01-02"}
    for lines in ((first, second), (second, first)):
        assert list_labels(attach(*lines)[0]) == [[("A heron.",)], []]
    with pytest.raises(
        CardError, match=r"contradicts the label of the same row on .*line 1"
    ) as found:
        attach({"text": "A heron.", "label": "no"}, second)
    assert str(found.value.where).endswith("labels.jsonl line 2")


def test_labels_of_several_files_are_taken_together(attach, tmp_path):
    """All files' labels count; of two for one row the later does, and errors name the file."""
    other = tmp_path / "other.jsonl"
    first = {"text": "A heron.", "label": "no", "time": "2026-01-01"}
    second = {"text": "A heron.", "label": "yes", "time": "2026-01-02"}
    other.write_text(f"{json.dumps(second)}\n{json.dumps({'text': 'A hen.', 'label': 'no'})}\n")
    (found,) = attach(first, more=(str(other),))
    assert list_labels(found) == [[("A heron.",)], [("A hen.",)]]
    with pytest.raises(CardError, match=r"the same row on .*labels.jsonl line 1") as caught:
        attach({"text": "A heron.", "label": "no"}, more=(str(other),))
    assert caught.value.where == f"{other} line 1"
    other.write_text('{"source": "a", "row": 1, "label": "no"}')
    with pytest.raises(CardError, match="1 label has no text") as caught:
        attach(first, more=(str(other),))
    assert str(other) in caught.value.where
    other.write_text('{"text": "A hen.", "label": "no", "trait": "fish"}')
    with pytest.raises(CardError, match="no trait 'fish' is fitted") as caught:
        attach(first, more=(str(other),))
    assert caught.value.where == f"{other} line 1 trait"


def test_the_labels_of_other_cards_are_left_alone(attach, card):
    """Each card has only its own labels, and a card without labels stays as it was."""
    other = replace(card, card=TraitCard(id="fish"))
    lines = [{"text": "A heron.", "label": "yes", "trait": "bird"}]
    bird, fish = attach(*lines, cards=(card, other))
    assert list_labels(bird) == [[("A heron.",)], []]
    assert fish is other


def test_a_text_outside_the_scope_is_an_error(bird_run, attach, card):
    """A labelled row without a text in the scope of its trait is named."""
    other = replace(card, card=TraitCard(id="bird", scope=Scope(roles=("tool",))))
    line = {"source": "corpus.jsonl", "row": 5, "label": "yes"}
    with pytest.raises(CardError, match="no text that bird reads") as caught:
        attach(line, cards=(other,), labels_on=bird_run.input)
    assert str(caught.value.where).endswith("line 1")
    assert FoundRow((("", "", "x"),), "").select_texts(other.card.scope) == ("x",)


def test_rows_that_are_missing_are_counted_and_named(bird_run, attach):
    """The error counts the rows that weren't found, and names the first ones."""
    lines = [{"source": "corpus.jsonl", "row": row, "label": "no"} for row in (1, 20, 21, 22, 23)]
    with pytest.raises(CardError, match=r"4 of 5 labelled rows can't be found") as caught:
        attach(*lines, labels_on=bird_run.input)
    assert "line 2 (corpus.jsonl row 20)" in caught.value.problem
    assert caught.value.problem.endswith("and 1 more")
    with pytest.raises(CardError, match="5 labels have no text"):
        attach(*lines)
    assert "name the rows' corpus with --on" in caught.value.remedy
    with pytest.raises(CardError, match="5 of 5 labelled rows"):
        attach(*lines, labels_run=bird_run.output)
    with pytest.raises(CardError, match="can't be found") as caught:
        attach(*lines, input=bird_run.input)
    assert caught.value.remedy.startswith("name a finished run that has the rows with --labels-run")


def test_a_run_without_labels_keeps_its_cards(card):
    """Without a file of labels, the cards are returned as they are."""
    assert attach_labels([card], FilterConfig(), CleanText(())) == [card]


def test_a_run_is_fitted_with_labels_of_its_own_input(bird_run, tmp_path):
    """`filter` finds labelled rows in its input, and its manifest records what they measure."""
    labels = tmp_path / "labels.csv"
    lines = [f"corpus.jsonl,{row},{'yes' if row % 4 == 0 else 'no'}" for row in range(12)]
    labels.write_text("source,row,label\n" + "\n".join(lines))
    update = {"traits": bird_run.traits[:1], "output": str(tmp_path / "run")}
    config = bird_run.model_copy(update=update | {"labels": (str(labels),)})
    manifest = run_filter(config)
    notices = [notice.text for notice in manifest.list_notices()]
    assert any(text.startswith("heron: labels: ") for text in notices)
    assert any(" labelled true" in text for text in notices)
    other = run_filter(config.model_copy(update={"labels": (), "output": str(tmp_path / "b")}))
    assert manifest.identity.bank_digest != other.identity.bank_digest
    assert manifest.run_id != other.run_id


def test_labels_of_another_definition_need_consent(attach, card):
    """Labels of the card's own words are attached, and others only with `accept_definition`."""
    same = {"label": True, "text": "A heron.", "definition": digest_definition({"title": ""})}
    assert list_labels(attach(same)[0]) == [[("A heron.",)], []]
    other = same | {"definition": digest_definition({"title": "Birds"})}
    with pytest.raises(CardError, match="1 label of bird was given by another definition"):
        attach(other)
    assert list_labels(attach(other, accept_definition=True)[0]) == [[("A heron.",)], []]
    words = card.card.model_copy(update={"title": "Birds", "threshold": 0.7})
    assert list_labels(attach(other, cards=(replace(card, card=words),))[0]) == [
        [("A heron.",)],
        [],
    ]
