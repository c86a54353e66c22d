"""The questions of `congener certify --ask`."""

from __future__ import annotations

import io
import json
import sys

import pytest

from pipelines.cli.audit_questions import Asked, AskedResult, ask_about_items, parse_answer
from schemas.errors import CardError
from tests.support.certificates import draw_small, read_sheet

TRAITS = ("heron", "owl")


@pytest.fixture
def type_lines(monkeypatch):
    """Return a function that prepares a person's answers."""
    return lambda *lines: monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines)))


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("1\n", ["heron"]),
        ("2 1", ["heron", "owl"]),
        ("2,1", ["heron", "owl"]),
        ("n", []),
        ("none", []),
        ("0", []),
        ("u", "unsure"),
        ("Q", "quit"),
        ("", None),
        ("3", None),
        ("y", None),
        ("1 x", None),
        ("\u0663", None),
    ],
)
def test_lines_are_answers(line, answer):
    """Traits are named by number, and other words are asked again."""
    assert parse_answer(line, TRAITS) == answer


@pytest.mark.parametrize(
    ("line", "answer"),
    [("y", ["heron"]), ("1", ["heron"]), ("no", []), ("T", ["heron"]), ("false", [])],
)
def test_a_single_trait_is_true_or_false(line, answer):
    """With one trait, a letter is enough."""
    assert parse_answer(line, ("heron",)) == answer


def test_answers_are_saved_one_by_one(run, tmp_path, type_lines, capsys):
    """Every answer is in the file at once, and quitting leaves the rest."""
    sample = draw_small(run[0], tmp_path).sample
    path = tmp_path / "audit.jsonl"
    type_lines("what\n", "y\n", "n\n", "u\n", "q\n")
    assert ask_about_items(path, sample) == Asked(3, 23)
    labels = [line["label"] for line in read_sheet(path)]
    assert labels == [["heron"], [], "unsure", *[None] * 23]
    shown = capsys.readouterr().err
    assert "1 of 26: item 00001" in shown
    assert shown.count("Does it show heron?") == 5
    assert "score" not in shown


def test_the_next_call_goes_on(run, tmp_path, type_lines, capsys):
    """Labelled items aren't asked again, and the end of the input quits."""
    sample = draw_small(run[0], tmp_path).sample
    path = tmp_path / "audit.jsonl"
    type_lines("n\n", "n\n")
    ask_about_items(path, sample)
    type_lines("y\n")
    assert ask_about_items(path, sample) == Asked(1, 23)
    assert "1 of 24: item 00003" in capsys.readouterr().err
    assert [line["label"] for line in read_sheet(path)][:4] == [[], [], ["heron"], None]


def test_several_traits_have_numbers(run, tmp_path, type_lines, capsys):
    """The question lists them."""
    sample = draw_small(run[0], tmp_path).sample.model_copy(update={"traits": TRAITS})
    type_lines("1 2\n", "q\n")
    ask_about_items(tmp_path / "audit.jsonl", sample)
    assert "Which does it show: 1 heron, 2 owl?" in capsys.readouterr().err
    assert read_sheet(tmp_path / "audit.jsonl")[0]["label"] == ["heron", "owl"]


def test_long_texts_are_cut_and_controls_are_inert(run, tmp_path, type_lines, capsys):
    """The terminal shows the beginning, says what is left out, and obeys no text."""
    sample = draw_small(run[0], tmp_path).sample
    path = tmp_path / "long.jsonl"
    path.write_text('{"id": "00001", "answer": "\\u001b[31mred' + "x" * 9_000 + '", "label": null}')
    type_lines("q\n")
    ask_about_items(path, sample)
    shown = capsys.readouterr().err
    assert "characters are left out" in shown
    assert "\x1b[31m" not in shown


def test_tables_are_filled_in_elsewhere(run, tmp_path):
    """Answers can't be added to a CSV file."""
    sample = draw_small(run[0], tmp_path).sample
    with pytest.raises(CardError, match="is a table"):
        ask_about_items(tmp_path / "audit.csv", sample)


def test_masked_text_is_marked(run, tmp_path, type_lines, capsys):
    """Masked passages stand in brackets, and a line says what to label."""
    sample = draw_small(run[0], tmp_path).sample
    path = tmp_path / "audit.jsonl"
    lines = read_sheet(path)
    lines[0] |= {"masked": [{"in": "answer", "start": 0, "end": 3, "text": lines[0]["answer"][:3]}]}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    type_lines("n\n", "q\n")
    ask_about_items(path, sample)
    shown = capsys.readouterr().err
    assert f"⟦{lines[0]['answer'][:3]}⟧{lines[0]['answer'][3:]}" in shown
    assert shown.count("is masked and counts as removed: label the rest.") == 1


def test_an_interruption_keeps_the_answers(run, tmp_path, monkeypatch):
    """Ctrl-C ends the questions like `q`, with an exit code of its own."""
    sample = draw_small(run[0], tmp_path).sample
    path = tmp_path / "audit.jsonl"

    class Keyboard(io.StringIO):
        def readline(self, *_):
            if not (line := super().readline()):
                raise KeyboardInterrupt
            return line

    monkeypatch.setattr(sys, "stdin", Keyboard("y\n"))
    assert ask_about_items(path, sample) == Asked(1, 25, is_interrupted=True)
    assert [line["label"] for line in read_sheet(path)][:2] == [["heron"], None]
    found = AskedResult("my run", "a.jsonl", Asked(1, 1))
    said = "\n".join(map(str, found.render()))
    assert "1 answer saved in a.jsonl; 1 item without a label is left" in said
    assert "congener certify 'my run' --labels a.jsonl --ask" in said
    assert found.to_json() == {"stated": False, "labels": "a.jsonl", "answered": 1, "left": 1}
