"""Masked texts: masks on the tape and on rendered turns."""

import numpy as np
import pytest

from transforms.records.chats import read_chat
from transforms.records.masked_texts import find_masked_texts, mask_turn
from transforms.records.tracing import Tape

CALLS = [{"function": {"name": "find", "arguments": {"city": "Lima", "count": 2}}}]


def build_turn(**fields):
    """Return an answer's turn."""
    message = {"role": "assistant", "content": "A heron. It stood.", **fields}
    return read_chat({"messages": [message]}, {"messages": "messages"}).turns[0]


def mask(path, start=0, end=1):
    """Return a mask."""
    return {"field_path": path, "start": start, "end": end}


def mark(turn, rendered, *masks):
    """Return a rendered turn with # for masked characters."""
    tape = Tape(turn.list_texts())
    traced = rendered
    for path, text in tape.texts.items():
        traced = traced.replace(text, tape.marked[path])
    found = find_masked_texts(tape, [turn], masks)
    hidden = mask_turn(turn, tape.find_origins(rendered, traced), found)
    pairs = zip(rendered, hidden.tolist(), strict=True)
    return "".join("#" if is_masked else character for character, is_masked in pairs)


def test_a_mask_covers_its_characters():
    """Only the masked characters are marked."""
    turn = build_turn()
    assert mark(turn, "A heron. It stood.</s>", mask("messages[0].content", 9, 18)) == (
        "A heron. #########</s>"
    )


def test_what_the_template_writes_between_two_masked_texts_is_masked():
    """A template's mark between two masked texts is masked."""
    turn = build_turn(thought="Hm.")
    masks = mask("messages[0].content", 0, 8), mask("messages[0].thought", 0, 3)
    assert mark(turn, "Hm.<end>A heron. It stood.", *masks) == "################ It stood."


def test_a_field_masked_as_a_whole_takes_its_surroundings_with_it():
    """A mask of all calls covers the template's text around them."""
    turn = build_turn(tool_calls=CALLS)
    rendered = 'A heron. It stood.<call>{"city": "Lima", "count": 2}</call></s>'
    shown = mark(turn, rendered, mask("messages[0].tool_calls", 0, 60))
    assert shown == "A heron. It stood." + "#" * (len(rendered) - 18)


def test_a_field_without_text_masks_the_message():
    """A masked field without a rendered text masks the whole message."""
    turn = build_turn(tool_calls=[{"function": {"name": "find", "arguments": {}}}])
    assert mark(turn, "A heron. It stood.", mask("messages[0].tool_calls")) == "#" * 18


@pytest.mark.parametrize("path", ["messages[1].content", "messages", "notes"])
def test_masks_elsewhere_are_counted(path):
    """A mask outside learnt turns is only counted."""
    turn = build_turn()
    tape = Tape({})
    found = find_masked_texts(tape, [turn], [mask(path)])
    assert found.unused == 1
    assert found.turns == frozenset()


def test_an_empty_turn_has_no_characters():
    """A turn that isn't rendered has no characters."""
    turn = build_turn()
    found = find_masked_texts(Tape(turn.list_texts()), [turn], [])
    assert mask_turn(turn, np.array([], np.int64), found).tolist() == []
