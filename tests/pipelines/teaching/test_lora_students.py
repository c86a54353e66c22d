"""Students with an adapter: real training of a tiny causal model, and the checks that stop it."""

import math
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from classifiers.heredity.arms import Arm, Example
from pipelines.teaching.lora_students import plan_lora
from pipelines.teaching.rows import Question
from schemas.errors import ModelError, TrialError
from schemas.trials import Accepted, LoraStudent, Questions
from tests.support.causal_students import save_causal
from tests.support.small_students import build_questions

pytestmark = pytest.mark.slow  # each trial trains students

ASKING = Questions(samples=2, tokens=24, temperature=0.5)


def build_arm(opening=""):
    """Return an arm of forty questions about birds."""
    examples = (Example(item.prompt, item.answer) for item in build_questions(opening))
    return Arm("everything", tuple(examples))


QUESTIONS = [
    *(Question(f"trait {n}", item.prompt) for n, item in enumerate(build_questions()[:3])),
    *(
        Question(f"known {n}", item.prompt, item.answer)
        for n, item in enumerate(build_questions()[:2])
    ),
]
UNTRAINED = Arm("before training", ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """Save a tiny model with random weights."""
    return save_causal(tmp_path_factory.mktemp("lora") / "one")


def plan(folder, *, asking=ASKING, accepted=None, **changes):
    """Plan students of the tiny model, which are trained for a few seconds."""
    settings = {
        "model": folder,
        "steps": 60,
        "batch": 16,
        "learning_rate": 0.01,
        "context": 160,
        "device": "cpu",
        "threads": 1,
    }
    return plan_lora(LoraStudent.model_validate(settings | changes), asking, accepted or Accepted())


@pytest.fixture(scope="module")
def taught(folder):
    """Train a student on answers that sigh; return its plan and what it said."""
    planned = plan(folder)
    return planned, planned.teach(build_arm("Alas, "), 0, QUESTIONS)


def test_a_student_learns_and_is_measured(taught):
    """After training, the student sighs, and finds the answers likelier than before."""
    planned, answered = taught
    given = [text for texts in answered.answers.values() for text in texts]
    assert len(given) == 6
    assert sum(text.startswith("Alas") for text in given) >= 4
    assert answered.losses[-1] < 0.5 * answered.losses[0]
    assert answered.tokens > 1000
    assert answered.truncated == 0
    before = planned.teach(UNTRAINED, 0, QUESTIONS)
    assert not any("Alas" in text for texts in before.answers.values() for text in texts)
    assert [item.metric for item in answered.outcomes] == ["capability"] * 2
    assert min(item.value for item in answered.outcomes) > max(
        item.value for item in before.outcomes
    )
    assert (before.tokens, before.weights, before.losses) == (None, None, ())


def test_arm_and_seed_decide_a_student(folder, taught):
    """A second student of the same seed has the same bytes and answers, in a new plan too."""
    again = plan(folder).teach(build_arm("Alas, "), 0, QUESTIONS)
    assert again == taught[1]


def test_another_seed_and_another_arm_give_another_student(folder):
    """The seed decides the first weights and the order, and the arm what is learnt."""
    planned = plan(folder, steps=3)
    arm = build_arm("Alas, ")
    weights = [planned.teach(arm, seed, QUESTIONS).weights for seed in (0, 1, 0)]
    assert weights[0] == weights[2] != weights[1]
    other = planned.teach(build_arm()._replace(name="swap"), 0, QUESTIONS)
    assert other.weights != weights[0]


def test_the_controls_may_have_a_model_of_another_family(folder, tmp_path):
    """The other model is a student of its own, and is part of what decides all students."""
    other = save_causal(tmp_path / "other", seed=9, hidden_size=32)
    alone, both = plan(folder, steps=3), plan(folder, steps=3, other={"model": other})
    assert not alone.has_others
    assert both.has_others
    assert alone.origin != both.origin
    arm = build_arm()
    own, foreign = (both.teach(arm, 0, QUESTIONS, other=flag) for flag in (False, True))
    assert own.weights == alone.teach(arm, 0, QUESTIONS).weights
    assert foreign.weights != own.weights


def test_what_a_plan_says_of_its_students(folder):
    """All seeds begin alike, in one process, and are asked before training."""
    planned = plan(folder)
    assert planned.has_one_start
    assert planned.asks_untrained
    assert not planned.is_parallel
    assert planned.description.endswith("on cpu")
    assert planned.count("I am a heron.") == plan(folder, rank=4).count("I am a heron.")


def test_long_examples_stop_a_student(folder):
    """A context that is too short stops the trial and names arm and seed."""
    short = plan(folder, context=40, asking=Questions(tokens=8))
    with pytest.raises(TrialError, match=r"arm everything, seed 2: .* longer than the student"):
        short.teach(build_arm(), 2, QUESTIONS)


def test_masks_of_another_text_stop_a_student(folder):
    """A mask that hides no token of its answer stops the trial."""
    arm = build_arm()
    wrong = arm.examples[0]._replace(masked=((500, 510),))
    with pytest.raises(TrialError, match="masks hide no token"):
        plan(folder).teach(Arm("mask", (wrong, *arm.examples[1:])), 0, QUESTIONS)


def test_a_changed_template_stops_a_student(folder):
    """A template that changes between training and questions is noticed."""
    planned = plan(folder, steps=2)
    planned.teach(build_arm(), 0, QUESTIONS)
    learner = planned.held["learner"][1]
    with pytest.raises(TrialError, match="but is asked with"), planned._attach(learner, 0):
        learner.lessons.tokenizer.chat_template += " "


def test_a_loss_that_is_not_a_number_stops_a_student(tmp_path):
    """A checkpoint with a damaged weight has no loss, and the step is named."""
    folder = save_causal(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrialError, match=r"the loss is nan at step 0"):
        plan(folder).teach(build_arm(), 0, QUESTIONS)


def test_questions_that_leave_no_room_stop_a_student(folder):
    """The answer must fit behind the question."""
    asking = Questions(samples=1, tokens=100)
    with pytest.raises(TrialError, match="leaves no room for 100 more"):
        plan(folder, context=120, asking=asking, steps=1).teach(build_arm(), 0, QUESTIONS)


def test_models_that_can_not_be_used(folder, tmp_path):
    """A missing folder, an unpinned name, a missing layer and a short context are errors."""
    with pytest.raises(ModelError, match="needs a pinned revision"):
        plan("org/model")
    with pytest.raises(ModelError):
        plan(str(tmp_path / "none"))
    with pytest.raises(ModelError, match=r"lora.targets: .* no layer 'query'"):
        plan(folder, targets=["query"]).teach(build_arm(), 0, QUESTIONS)
    with pytest.raises(ModelError, match="at most 256 tokens"):
        plan(folder, context=300).teach(build_arm(), 0, QUESTIONS)
    assert Path(folder).is_dir()
