"""Examples as tokens: the template, the weights in the loss, masks and long texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from classifiers.students.lessons import (
    digest_template,
    fit_prompt,
    write_lesson,
    write_lessons,
    write_prompt,
)
from classifiers.students.vocabularies import ANSWERED, ASKED, END, Vocabulary
from tests.support.small_students import Question, build_questions, learn_words

PLAIN = Vocabulary(())


def test_only_the_answer_and_its_end_are_learnt():
    """The prompt and the marks around it have no weight; the answer and its end have."""
    lesson = write_lesson(Question("ab", "cd"), PLAIN, 40)
    assert [lesson.ids[0], lesson.ids[3], lesson.ids[-1]] == [ASKED, ANSWERED, END]
    assert lesson.weights == [0, 0, 0, 0, 1, 1, 1]
    assert PLAIN.decode(lesson.ids) == "abcd"


def test_an_example_has_its_weight():
    """Every learnt token of an example has the example's weight."""
    assert set(write_lesson(Question("ab", "cd", 0.25), PLAIN, 40).weights) == {0.0, 0.25}


def test_masked_characters_are_not_learnt():
    """Tokens that overlap a masked span have no weight; the span is in characters of the answer."""
    words = learn_words(build_questions())
    answer = "The heron is by the marsh."
    start = answer.index(" is by")
    lesson = write_lesson(Question("Where?", answer, 1.0, ((start + 1, start + 3),)), words, 40)
    hidden = [token for token, weight in zip(lesson.ids, lesson.weights, strict=True) if not weight]
    assert PLAIN.decode([]) == ""
    assert words.decode(hidden) == "Where? is"
    assert (lesson.masked, lesson.unused) == (1, 0)


def test_masks_that_hide_nothing_are_counted():
    """A mask beyond the answer's end, or of no length, hides nothing; one may hide a whole word."""
    lesson = write_lesson(Question("q", "answer", 1.0, ((90, 95), (2, 2), (0, 1))), PLAIN, 40)
    assert (lesson.masked, lesson.unused) == (6, 2)


def test_a_long_answer_loses_its_end():
    """An example that doesn't fit is cut at its end and counts as truncated."""
    lesson = write_lesson(Question("ab", "c" * 50), PLAIN, 20)
    assert len(lesson.ids) == len(lesson.weights) == 20
    assert lesson.truncated
    assert not write_lesson(Question("ab", "c" * 15), PLAIN, 20).truncated
    assert write_lesson(Question("ab", "c" * 16), PLAIN, 20).truncated


def test_a_long_prompt_loses_its_beginning():
    """A prompt takes at most half of the context, and keeps the words next to the answer."""
    ids = fit_prompt(PLAIN, "x" * 30 + "abc", 12)
    assert len(ids) == 6
    assert ids[0] == ASKED
    assert PLAIN.decode(ids) == "xabc"
    assert ids[-1] == ANSWERED
    assert write_lesson(Question("x" * 30, "ab"), PLAIN, 12).truncated


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=5))
def test_counts_add_up(pairs):
    """Lengths, learnt tokens and padding agree with the single examples."""
    examples = [Question(*pair) for pair in pairs]
    lessons = write_lessons(examples, PLAIN, 24)
    single = [write_lesson(example, PLAIN, 24) for example in examples]
    assert lessons.lengths.tolist() == [len(item.ids) for item in single]
    assert lessons.tokens == sum(len(item.ids) for item in single)
    assert lessons.learnt == sum(sum(map(bool, item.weights)) for item in single)
    for row, item in enumerate(single):
        assert lessons.ids[row].tolist()[: len(item.ids)] == item.ids
        assert not lessons.weights[row, len(item.ids) :].any()


def test_no_examples_are_no_lessons():
    """An arm without examples has no tokens."""
    lessons = write_lessons([], PLAIN, 24)
    assert lessons.tokens == lessons.learnt == 0
    assert lessons.ids.shape == (0, 0)


def test_the_template_has_a_digest():
    """The digest changes with the vocabulary, since the same words are other tokens then."""
    words = learn_words(build_questions())
    assert digest_template(words) == digest_template(Vocabulary(words.words))
    assert digest_template(words) != digest_template(PLAIN)
    assert write_prompt(words, "a")[0] == ASKED
