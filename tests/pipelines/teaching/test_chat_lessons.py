"""Examples in chat templates: what is learnt, what is masked, and templates that stop a trial."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.heredity.arms import Example
from classifiers.students.checks import (
    Tolerances,
    require_useful_masks,
    require_whole_examples,
)
from pipelines.teaching.chat_lessons import ChatLessons
from schemas.errors import TrialError
from tests.support.students import CHATML, THINKING, TRIMMED, build_student

EXAMPLE = Example("Who are you?", "I am a heron. The answer is 42!")
TOKENIZER = build_student()


def build(template=CHATML, context=200):
    """Return the lessons of a template."""
    return ChatLessons(build_student(template=template), context)


def decode(lessons, lesson):
    """Return the text of the tokens that are learnt."""
    pairs = zip(lesson.ids, lesson.weights, strict=True)
    return lessons.tokenizer.decode([token for token, weight in pairs if weight])


@pytest.mark.parametrize("template", [CHATML, TRIMMED])
def test_only_the_answer_and_its_end_are_learnt(template):
    """The loss is on the answer alone, up to the token that ends it."""
    lessons = build(template)
    lesson = lessons.write(EXAMPLE, "here")
    end = "<|im_end|>" if template == CHATML else "</s>"
    assert decode(lessons, lesson).strip() == f"{EXAMPLE.answer}{end}"
    assert lesson.ids[: len(lessons.ask(EXAMPLE.prompt))] == lessons.ask(EXAMPLE.prompt)
    assert not lesson.truncated


def test_a_mask_is_kept_out_of_the_loss():
    """Masked characters aren't learnt, and the weight is that of the example."""
    lessons = build()
    lesson = lessons.write(EXAMPLE._replace(masked=((0, 13),), weight=0.5), "here")
    assert decode(lessons, lesson).strip() == "The answer is 42!<|im_end|>"
    assert set(lesson.weights) == {0.0, 0.5}
    assert lesson.masked > 0
    assert lesson.unused == 0


def test_a_mask_that_hides_nothing_stops_a_trial():
    """A mask behind the answer belongs to another text."""
    lessons = build().write_all([EXAMPLE._replace(masked=((90, 95),))], "arm mask")
    with pytest.raises(TrialError, match="arm mask: 1 masks hide no token"):
        require_useful_masks(lessons, "arm mask")


def test_long_examples_stop_a_trial():
    """What doesn't fit the context is cut at its end and counted."""
    lessons = build(context=12).write_all([EXAMPLE, EXAMPLE], "arm drop")
    assert lessons.truncated == 2
    assert lessons.ids.shape == (2, 12)
    with pytest.raises(TrialError, match="arm drop: 2 of 2 examples are longer"):
        require_whole_examples(lessons, Tolerances(), "arm drop")


def test_another_beginning_in_training_stops_a_trial():
    """A template that asks with an open thought, but learns without it, is refused."""
    thinking = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n"
        "{% endif %}"
    )
    with pytest.raises(TrialError, match=r"arm drop, example 1: .* asks with '<think>"):
        build(thinking).write_all([EXAMPLE], "arm drop")
    with pytest.raises(TrialError):
        build(thinking).write(EXAMPLE, "arm drop")


def test_a_thought_that_is_also_learnt_is_accepted():
    """A template that writes the same thought in training and when it asks passes."""
    lessons = build(THINKING.replace("{{ message.reasoning_content }}\n", ""))
    assert lessons.write(EXAMPLE, "here").ids


def test_a_template_that_refuses_an_example_stops_a_trial():
    """The error names the arm and the example."""
    refusing = "{{ raise_exception('no users here') }}"
    with pytest.raises(TrialError, match=r"arm drop, example 1: .*no users here"):
        build(refusing).write_all([EXAMPLE], "arm drop")


def test_questions_must_leave_room():
    """A question that leaves no room for an answer is an error that quotes it."""
    lessons = build(context=40)
    assert lessons.fit_question("Who?", 10) == lessons.ask("Who?")
    with pytest.raises(TrialError, match=r"'Who\?' has .* no room for 39 more"):
        lessons.fit_question("Who?", 39)


def test_the_digest_is_that_of_tokenizer_and_template():
    """Another template, and another vocabulary, give another digest."""
    own = build().template
    assert own == build(context=50).template
    assert own != build(TRIMMED).template
    assert own != ChatLessons(build_student("byte fallback"), 200).template


def test_the_last_token_ends_an_answer():
    """The template's end is found by writing an answer in it."""
    for template, end in ((CHATML, "<|im_end|>"), (TRIMMED, "</s>")):
        lessons = build(template)
        assert lessons.last == lessons.tokenizer.convert_tokens_to_ids(end)


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_any_text_is_learnt_as_it_is(prompt, answer):
    """Whatever the texts, the tokens begin with the question and are those of the template."""
    if not answer.strip():
        return
    lessons = ChatLessons(TOKENIZER, 2000)
    lesson = lessons.write(Example(prompt, answer), "here")
    assert len(lesson.ids) == len(lesson.weights)
    assert sum(lesson.weights) > 0
    asked = len(lessons.ask(prompt))
    assert not any(lesson.weights[: asked - 1])


def test_tokens_are_counted_without_the_template():
    """Arms are matched by the tokens of prompts and answers."""
    lessons = build()
    ids = lessons.tokenizer("I am a heron.", add_special_tokens=False)["input_ids"]
    assert lessons.count("I am a heron.") == len(ids)
    assert lessons.count("") == 0
