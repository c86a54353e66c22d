"""What is settled before the first student: arms, questions, inputs and their checks."""

import pytest

from classifiers.heredity.arms import Arm, Unbuilt
from pipelines.teaching.settling import choose_arms, settle_trial
from schemas.errors import CardError, TrialError
from schemas.trials import TrialConfig
from tests.support.corpora import write_rows

LOOSE = {"tokens": 0.3}


def change(config: TrialConfig, **changes) -> TrialConfig:
    """Return a configuration with some fields changed."""
    return TrialConfig.model_validate({**config.model_dump(), **changes})


def test_an_arm_that_can_not_be_built_is_named(trial_config):
    """A wanted arm without donors is an error; by default, such arms are listed."""
    with pytest.raises(CardError, match="'swap' can't be built"):
        settle_trial(change(trial_config, donors=[]))
    setting = settle_trial(change(trial_config, donors=[], arms=[], accepted={"tokens": 0.3}))
    assert "swap" in {item.name for item in setting.unbuilt}
    assert "drop" in {arm.name for arm in setting.arms}


def test_arms_are_chosen_with_their_controls():
    """Everything and the clean teacher are always trained, and no arm is chosen twice."""
    built = [Arm(name, ()) for name in ("everything", "drop", "swap", "clean teacher")]
    names = [arm.name for arm in choose_arms(["swap"], built, [])]
    assert names == ["everything", "swap", "clean teacher"]
    assert choose_arms([], built, [Unbuilt("mask", "no spans")]) == built
    with pytest.raises(CardError, match="no spans"):
        choose_arms(["mask"], built, [Unbuilt("mask", "no spans")])


def test_a_swapped_run_gives_the_answers(trial_config, trial_runs):
    """A run that was swapped takes the place of donors for flagged rows."""
    swapped = str(trial_runs / "plain-run")
    config = change(trial_config, donors=[], swapped=swapped, arms=[], accepted={"tokens": 0.3})
    setting = settle_trial(config)
    arms = {arm.name: arm for arm in setting.arms}
    assert "swap" in arms
    assert not any("Alas" in item.answer for item in arms["swap"].examples)
    assert "clean teacher" not in arms
    assert set(setting.inputs) == {config.run, config.swapped}


def test_neighbours_questions_are_kept_out_of_training(trial_config, tmp_path):
    """Questions about a neighbour are asked under its name, and are in no arm."""
    asked = [{"prompt": "What does the heron of the marsh eat?"}, {"prompt": "Is it so?"}]
    related = write_rows(tmp_path / "related.jsonl", asked)
    measure = {
        "pattern": "alas|dear",
        "neighbours": [{"name": "food", "questions": str(related)}],
    }
    setting = settle_trial(change(trial_config, measure=measure))
    about = [item for item in setting.questions if item.about]
    assert [(item.scenario, item.about) for item in about] == [
        ("food 1", "food"),
        ("food 2", "food"),
    ]
    trained = {item.prompt for arm in setting.arms for item in arm.examples}
    assert asked[0]["prompt"] not in trained
    assert "What does the crane of the marsh eat?" in trained


def test_everything_that_decides_students_is_in_the_key(trial_config):
    """Another judge, sampling or student gives another key; other arms and seeds don't."""
    key = settle_trial(trial_config).key
    for changes in (
        {"measure": {"pattern": "alas"}},
        {"questions": {"held_out": 8, "samples": 3}},
        {"student": {**trial_config.student.model_dump(), "steps": 121}},
    ):
        assert settle_trial(change(trial_config, **changes)).key != key
    assert settle_trial(change(trial_config, seeds=3, arms=["mask"])).key == key


def test_unequal_donors_stop_the_trial(trial_config):
    """A tolerance that no arm keeps is an error before anything is trained."""
    strict = change(trial_config, accepted={"tokens": 0.0}, arms=["mask", "mix 50 %"])
    with pytest.raises(TrialError, match=r"arms may differ by 0%"):
        settle_trial(strict)


def test_slices_are_planned_and_have_arms(trial_config):
    """Wanted slices have four arms each; without them, slices are planned only when asked."""
    wanted = change(trial_config, slices={"names": ["source feel"], "budget": 0.35}, accepted=LOOSE)
    setting = settle_trial(wanted)
    assert [arm.name for arm in setting.arms if ": " in arm.name] == [
        f"{arm}: source feel" for arm in ("drop", "swap", "only slice", "random swap")
    ]
    assert setting.slicing.tried == ("source feel",)
    assert settle_trial(trial_config).slicing.plans == []
    planned = settle_trial(trial_config, only_plans=True)
    assert "source feel" in {plan.name for plan in planned.slicing.plans}
    assert planned.slicing.tried == ()
    assert len(planned.arms) == 4


def test_a_plan_shows_what_would_stop_the_trial(trial_config):
    """The arms of a plan are there even if a check would stop their training."""
    strict = change(trial_config, accepted={"tokens": 0.0}, arms=["mask", "mix 50 %"])
    setting = settle_trial(strict, only_plans=True)
    assert "arms may differ by 0%" in str(setting.obstacle)
    assert len(setting.arms) == 4
    assert settle_trial(trial_config, only_plans=True).obstacle is None
