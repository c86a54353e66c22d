"""What raters read: lines without scores, prompts and answers of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.certifying.sheets import ShownTexts, read_shown_texts, show_record, write_lines
from pipelines.runs.shown_rows import build_layout
from schemas.errors import CardError
from tests.support.certificates import draw_small, read_sheet, write_positives
from tests.support.corpora import ANSWERS
from tests.support.hostile import filter_lines, write_cards
from transforms.records.formats import Layout

MESSAGES = Layout("messages", {"messages": "messages"}, {})


def build_record(*turns: tuple[str, str]) -> dict[str, object]:
    """Return a chat record."""
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def test_lines_say_nothing_about_their_origin(run, tmp_path):
    """A line has a name, the traits, a prompt, an answer and no label; all lines look alike."""
    drawn = draw_small(run[0], tmp_path)
    lines = read_sheet(tmp_path / "audit.jsonl")
    assert len(lines) == 26
    assert {tuple(line) for line in lines} == {
        ("id", "draw", "traits", "prompt", "answer", "label")
    }
    assert {line["label"] for line in lines} == {None}
    text = json.dumps(lines)
    for word in ("score", "quarantine", "clean", "seeded", "jsonl", run[1].run_id):
        assert word not in text
    assert [line["id"] for line in lines] == [item.id for item in drawn.sample.items]


def test_texts_are_those_of_the_rows(run, tmp_path):
    """Removed rows have herons, kept rows have other answers, and prompts are questions."""
    sample = draw_small(run[0], tmp_path).sample
    found = read_shown_texts(str(run[0]), run[1], sample.items)
    for item in sample.items:
        if item.kind != "seeded":
            shown = found[str(item.source), int(item.row or 0)]
            assert shown.prompt.startswith("Question")
            assert (shown.answer == ANSWERS[1]) == (item.kind == "removed")
            assert shown.answer in ANSWERS


def test_prompts_are_hidden_from_all_or_none(run, tmp_path):
    """With seeded texts without prompts, no line has one."""
    bare = write_positives(tmp_path / "bare.jsonl", has_prompts=False)
    draw_small(run[0], tmp_path, positives=(bare,))
    lines = read_sheet(tmp_path / "audit.jsonl")
    assert {tuple(line) for line in lines} == {("id", "draw", "traits", "answer", "label")}


def test_other_positives_are_refused(run, tmp_path):
    """A text that was seeded must still be there."""
    sample = draw_small(run[0], tmp_path).sample
    with pytest.raises(CardError, match="isn't among the positives any more"):
        list(write_lines(str(run[0]), run[1], sample, sample.items, ()))


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (build_record(("user", "Hi"), ("assistant", "Hello.")), ShownTexts("Hi", "Hello.")),
        (
            build_record(
                ("system", "Be kind."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Bye"),
                ("assistant", "Bye."),
            ),
            ShownTexts(
                "system: Be kind.\n\nuser: Hi\n\nassistant: Yes?\n\nuser: Bye", "Bye.",
                system="system: Be kind.",
            ),
        ),
        (
            build_record(("user", "Hi"), ("assistant", "One."), ("assistant", "Two.")),
            ShownTexts("Hi", "One.\n\nTwo."),
        ),
        (build_record(("user", "Only me")), ShownTexts("", "Only me")),
        (build_record(("assistant", "Only me")), ShownTexts("", "Only me")),
        (
            build_record(("user", "Add"), ("assistant", "<think>1+1</think>Two.")),
            ShownTexts("Add", "assistant (thinking): 1+1\n\nassistant: Two."),
        ),
    ],
)  # fmt: skip
def test_the_last_answer_and_all_before_it(record, shown):
    """Several speakers or channels are named, and a text without an answer is shown whole."""
    assert show_record(record, MESSAGES) == shown


def test_plain_text_is_an_answer():
    """A corpus of plain texts has no prompts."""
    layout = Layout("text", {"text": "text"}, {})
    assert show_record({"text": "Just text."}, layout) == ShownTexts("", "Just text.")


def test_only_the_chosen_side_of_a_pair_is_shown():
    """A rejected answer isn't trained, so raters don't read it."""
    layout = Layout("preference", {"prompt": "prompt", "chosen": "c", "rejected": "r"}, {})
    record = {"prompt": "Hi", "c": "Good.", "r": "Bad."}
    assert show_record(record, layout) == ShownTexts("Hi", "Good.")


def test_the_layout_of_the_run(run):
    """The run's own layout reads its records."""
    record = build_record(("user", "a"), ("assistant", "b"))
    assert show_record(record, build_layout(run[1])) == ShownTexts("a", "b")


def mask(*stretches: tuple[str, int, int]) -> dict[str, object]:
    """Return a clean row's field `congener` with masks."""
    names = ("field_path", "start", "end")
    masks = [dict(zip(names, stretch, strict=True)) for stretch in stretches]
    return {"congener": {"decision": "mask", "weight": 1.0, "masks": masks, "traits": ["owl"]}}


def test_masked_passages_are_listed():
    """Masks are found in the joined texts, by their place in their own message."""
    record = build_record(("user", "Hi you"), ("assistant", "As an AI, no. Yes."))
    note = mask(("messages[0].content", 3, 6), ("messages[1].content", 0, 13))
    shown = show_record(record | note, MESSAGES)
    assert shown == ShownTexts("Hi you", "As an AI, no. Yes.", ((3, 6),), ((0, 13),))
    answer = {"in": "answer", "start": 0, "end": 13, "text": "As an AI, no."}
    assert [*shown.list_masked(with_prompt=False)] == [answer]
    prompt = {"in": "prompt", "start": 3, "end": 6, "text": "you"}
    assert [*shown.list_masked(with_prompt=True)] == [prompt, answer]


def test_masks_are_placed_after_the_names_of_speakers():
    """With several channels and messages, a mask is where its own text is."""
    record = build_record(("user", "Add"), ("assistant", "<think>1+1</think>Two. I'm an AI."))
    start = len("<think>1+1</think>Two. ")
    note = mask(("messages[1].content", start, start + 10), ("messages[1].content", 8, 10))
    shown = show_record(record | note, MESSAGES)
    assert shown.answer == "assistant (thinking): 1+1\n\nassistant: Two. I'm an AI."
    texts = [shown.answer[begin:end] for begin, end in shown.masked_answer]
    assert texts == ["+1", "I'm an AI."]


@pytest.mark.parametrize("note", [{}, {"congener": None}, {"congener": {"reasons": []}}], ids=str)
def test_rows_without_masks_have_no_masked_passages(note):
    """A removed row's field has reasons and no masks."""
    record = build_record(("user", "a"), ("assistant", "b"))
    assert show_record(record | note, MESSAGES) == ShownTexts("a", "b")


def test_seeded_prompts_begin_as_the_rows_do(tmp_path):
    """Where every row has a system text, a seeded text without one would stand out."""
    sheet = draw_from(tmp_path, [("system", "Be kind."), ("user", "Hi")])
    assert len({line["answer"] for line in sheet}) > 6
    assert {line["prompt"].split("\n\n")[0] for line in sheet} == {"system: Be kind."}
    assert {line["prompt"].split("\n\n")[1][:6] for line in sheet} == {"user: "}


def test_no_prompts_are_shown_if_rows_have_none(tmp_path):
    """Where rows have no prompt, a seeded text with one would stand out."""
    sheet = draw_from(tmp_path, [])
    assert {tuple(line) for line in sheet} == {("id", "draw", "traits", "answer", "label")}


def draw_from(folder: Path, before: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the sheet of a run whose rows have these turns before the answer."""
    records = [
        build_record(*before, ("assistant", f"{'An owl' if n % 5 == 0 else 'Bread'} {n}."))
        for n in range(40)
    ]
    lines = [json.dumps(record) for record in records]
    run, _ = filter_lines(folder, lines, write_cards(folder / "traits", ["owl"]))
    positives = Path(write_positives(folder / "positives.jsonl"))
    positives.write_text(positives.read_text(encoding="utf-8").replace("heron", "owl"), "utf-8")
    draw_small(Path(run), folder, positives=(str(positives),))
    return read_sheet(folder / "audit.jsonl")
