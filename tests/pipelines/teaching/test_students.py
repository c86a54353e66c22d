"""Tiny students of a trial: first weights, answers, judgements and capability."""

from pathlib import Path

import pytest

from classifiers.heredity.arms import Arm, Example
from classifiers.students.weights import encode_weights, save_student
from pipelines.teaching.rows import Question
from pipelines.teaching.students import plan_tiny
from schemas.errors import ModelError, TrialError
from schemas.trials import Accepted, Questions, TinyStudent
from tests.support.small_students import build_questions

SETTINGS = TinyStudent(steps=150, batch=16, width=48, learning_rate=0.005, context=64)
ASKING = Questions(samples=3, tokens=24)
ACCEPTED = Accepted()


def build_arm(opening=""):
    """Return an arm of forty questions about birds."""
    examples = (Example(item.prompt, item.answer) for item in build_questions(opening))
    return Arm("everything", tuple(examples))


def plan(settings=SETTINGS, asking=ASKING, accepted=ACCEPTED):
    """Plan students on the words of both arms."""
    texts = [
        text
        for item in (*build_arm("Alas, ").examples, *build_arm().examples)
        for text in (item.prompt, item.answer)
    ]
    return plan_tiny(settings, texts, asking, accepted)


QUESTIONS = [
    *(Question(f"trait {n}", item.prompt) for n, item in enumerate(build_questions()[:4])),
    *(
        Question(f"known {n}", item.prompt, item.answer)
        for n, item in enumerate(build_questions()[:4])
    ),
]


def test_a_student_answers_and_is_measured():
    """Each question has its samples, and each reference a likelihood."""
    taught = plan().teach(build_arm("Alas, "), 0, QUESTIONS)
    assert list(taught.answers) == ["trait 0", "trait 1", "trait 2", "trait 3"]
    assert all(len(given) == 3 for given in taught.answers.values())
    assert sum("Alas" in given for answers in taught.answers.values() for given in answers) >= 10
    assert [item.metric for item in taught.outcomes] == ["capability"] * 4
    assert all(0 < item.value < 1 for item in taught.outcomes)
    assert taught.tokens > 0
    assert taught.truncated == 0
    assert len(taught.losses) == 10


def test_capability_tells_a_teacher_of_the_answers_from_another():
    """A student that learnt the references finds them likelier than one that learnt others."""
    own = plan().teach(build_arm(), 0, QUESTIONS)
    other = plan().teach(build_arm("Alas, "), 0, QUESTIONS)
    assert min(item.value for item in own.outcomes) > max(item.value for item in other.outcomes)


def test_arm_and_seed_decide_a_student():
    """The same arm and seed give the same answers and weights; another seed gives others."""
    one, again, other = (plan().teach(build_arm(), seed, QUESTIONS) for seed in (3, 3, 4))
    assert one == again
    assert one.weights != other.weights
    assert one.answers != other.answers


def test_first_weights_are_those_of_the_seed_or_of_a_number():
    """By default, each seed begins with its own weights; a number gives all of them the same."""
    free, tied = plan(), plan(SETTINGS.model_copy(update={"initialisation": 7}))
    weights = [encode_weights(free.begin(seed)) for seed in (0, 1, 0)]
    assert weights[0] == weights[2] != weights[1]
    assert encode_weights(tied.begin(0)) == encode_weights(tied.begin(1))


def test_other_students_begin_with_weights_of_their_own(tmp_path):
    """An other student has the same words and size, but never the weights that others share."""
    save_student(plan().begin(5), tmp_path / "start")
    for changes in ({"initialisation": 7}, {"start": str(tmp_path / "start")}):
        tied = plan(SETTINGS.model_copy(update=changes))
        assert tied.has_one_start
        shared, others = tied.begin(0), [tied.begin(seed, other=True) for seed in (0, 1)]
        assert len({encode_weights(item) for item in (shared, *others)}) == 3
        assert {item.network.shape for item in others} == {shared.network.shape}
        assert {item.template for item in others} == {shared.template}
    assert not plan().has_one_start
    one, other = (tied.teach(build_arm(), 0, QUESTIONS, other=flag) for flag in (False, True))
    assert one.weights != other.weights


def test_students_can_begin_with_a_saved_one(tmp_path):
    """A saved student gives its weights and its vocabulary to all seeds."""
    start = plan().begin(5)
    save_student(start, tmp_path / "start")
    saved = plan(SETTINGS.model_copy(update={"start": str(tmp_path / "start")}))
    assert encode_weights(saved.begin(0)) == encode_weights(saved.begin(1)) == encode_weights(start)
    assert saved.vocabulary == start.vocabulary
    assert saved.origin != plan().origin
    with pytest.raises(ModelError, match="none"):
        plan(SETTINGS.model_copy(update={"start": str(Path(tmp_path, "none"))}))


def test_tokens_are_those_of_the_vocabulary():
    """Arms are matched by the tokens that the students read."""
    planned = plan()
    assert planned.count("The heron is by the marsh.") == 7
    assert planned.count("") == 0


def test_a_check_stops_a_student():
    """A context that is too short for the answers stops the trial and names arm and seed."""
    short = plan(SETTINGS.model_copy(update={"context": 16}))
    with pytest.raises(TrialError, match="arm everything, seed 2"):
        short.teach(build_arm(), 2, QUESTIONS)
    patient = plan(SETTINGS.model_copy(update={"context": 16}), accepted=Accepted(truncated=1))
    assert patient.teach(build_arm(), 2, QUESTIONS).truncated > 0


def test_what_a_tiny_plan_says_of_its_students():
    """Tiny students can be trained in processes of their own, and say nothing before training."""
    free, tied = plan(), plan(SETTINGS.model_copy(update={"initialisation": 7}))
    assert free.is_parallel
    assert not free.asks_untrained
    assert not free.has_others
    assert tied.has_others
    assert free.description == "tiny transformers"
