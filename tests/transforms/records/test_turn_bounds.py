"""The bounds of turns, found in windows of long chats."""

import pytest

from schemas.errors import RowError
from tests.support.students import CHATML, THINKING, TRIMMED, build_student
from transforms.records import turn_bounds
from transforms.records.chats import Chat, ChatTurn
from transforms.records.labels import Labeller
from transforms.records.turn_bounds import TurnBounds, count_shared

COUNTED = (
    "{% for message in messages %}<{{ message.role }} {{ loop.index }}>{{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant {{ messages | length + 1 }}>{% endif %}"
)
"""A template that numbers the turns, so no window looks like the chat."""

LATE = (
    "{% for message in messages %}{% if loop.length < 100 or loop.last %}<{{ message.role }}>"
    "{{ message.content }}\n{% else %}<{{ message.role }}>{{ message.content }} {% endif %}"
    "{% endfor %}"
)
"""A template that renders long chats in another way than short ones."""


def build_turns(count: int, *, thinks: bool = False, calls: bool = False) -> list[ChatTurn]:
    """Return a system prompt and turns of the user, or tools, and the assistant."""
    turns = [ChatTurn("s", "system", (("s.content", "Be a heron."),), {}, is_learnt=False)]
    for index in range(1, count):
        path, is_answer = f"m[{index}]", index % 2 == 0
        text = f"<think>\nAgain {index}.\n</think>\n\nwords" if thinks and is_answer else "words"
        other = "tool" if calls and index > 1 else "user"
        role = "assistant" if is_answer else other
        contents = ((f"{path}.content", f"{text} {index}"),)
        turns.append(ChatTurn(path, role, contents, {}, is_learnt=is_answer))
    return turns


def find_all(template, turns, monkeypatch=None):
    """Return the bounds of all learnt turns, and how many turns were rendered.

    With `monkeypatch`, every beginning is rendered whole.
    """
    if monkeypatch:
        monkeypatch.setattr(turn_bounds, "EXACT_TURNS", 10_000)
    labeller = Labeller(build_student(template=template), "messages", {"messages": "messages"})
    rendered = []

    def render(some, prompt):
        rendered.append(len(some))
        return labeller._render_turns(some, Chat(tuple(turns)), prompt)

    text = render(turns, False)
    bounds = TurnBounds(render, turns, text)
    learnt = [index for index, turn in enumerate(turns) if turn.is_learnt]
    found = [(bounds.find_start(index), bounds.find_end(index)) for index in learnt]
    return found, sum(rendered)


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("calls", [False, True])
@pytest.mark.parametrize("template", [CHATML, TRIMMED, THINKING, COUNTED, LATE])
def test_windows_give_the_bounds_of_whole_beginnings(monkeypatch, template, thinks, calls):
    """The bounds are the same as without windows, whatever the template does."""
    turns = build_turns(150, thinks=thinks, calls=calls)
    found, _ = find_all(template, turns)
    assert found == find_all(template, turns, monkeypatch)[0]


def test_the_work_on_long_chats_grows_with_their_length():
    """Twice as many turns take about twice the rendering."""
    found, short = find_all(CHATML, build_turns(300))
    assert None not in {place for bounds in found for place in bounds}
    _, long = find_all(CHATML, build_turns(600))
    assert long < 3 * short


def test_few_answers_are_found_without_windows():
    """A chat with few learnt turns needs few renderings of whole beginnings."""
    turns = [turn._replace(is_learnt=index > 190) for index, turn in enumerate(build_turns(200))]
    found, rendered = find_all(CHATML, turns)
    assert len(found) == 9
    assert rendered < 200 * (3 * 9 + 1)


def test_tails_are_compared_with_whole_beginnings():
    """Windows aren't used any more after one of them had another tail."""
    turns = build_turns(150)
    labeller = Labeller(build_student(template=CHATML), "messages", {"messages": "messages"})
    chat = Chat(tuple(turns))
    text = labeller._render_turns(turns, chat)
    bounds = TurnBounds(
        lambda some, prompt: labeller._render_turns(some, chat, prompt), turns, text
    )
    sizes = []

    def measure(some):
        sizes.append(len(some))
        return "end" if len(some) != 149 else "another end"

    assert bounds.find_tail(60, measure) == "end"
    assert bounds.find_tail(120, measure) == "end"
    assert bounds.find_tail(148, measure) == "another end"
    assert bounds.find_tail(140, measure) == "end"
    assert sizes[0] == 61
    assert sizes[2::2] == [121, 149]
    assert max(sizes[1::2][:2]) < 40
    assert sizes[-1] == 141


def test_a_template_that_refuses_a_beginning_shows_no_bounds():
    """A turn after a beginning that can't be rendered has no start."""

    def render(some, prompt):
        if len(some) < 3:
            raise RowError("refused", remedy="none")
        if prompt:
            raise RowError("has no prompt", remedy="none")
        return "".join(turn.path for turn in some)

    turns = build_turns(5)
    bounds = TurnBounds(render, turns, render(turns, False))
    assert [bounds.find_start(2), bounds.find_start(4)] == [None, None]
    assert [bounds.find_end(2), bounds.find_end(4)] == [len("sm[1]m[2]"), len("sm[1]m[2]m[3]m[4]")]


def test_shared_beginnings_are_counted():
    """Only equal characters at the beginning count."""
    assert [count_shared("ab", other) for other in ("abc", "ac", "a", "")] == [2, 1, 1, 0]
