"""The configuration of a trial: what is accepted, and which mistakes are named."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from schemas.problems import describe_problems
from schemas.trials import (
    PLACEHOLDERS,
    Accepted,
    ArmName,
    CommandStudent,
    HubModel,
    LoraStudent,
    Measure,
    Questions,
    SliceSettings,
    TinyStudent,
    TrialConfig,
)

LEAST: dict[str, Any] = {
    "run": "runs/one",
    "trait": "sighs",
    "output": "trial",
    "measure": {"pattern": "alas"},
}
WORDS = ["train", "{rows}", "{questions}", "{output}", "--seed={seed}"]


def read(**changes: Any) -> TrialConfig:
    """Return a configuration with some fields changed."""
    return TrialConfig.model_validate({**LEAST, **changes})


def describe(**changes: Any) -> str:
    """Return the description of a configuration's mistakes."""
    with pytest.raises(ValidationError) as caught:
        read(**changes)
    return describe_problems(caught.value)


def test_the_least_configuration_is_enough():
    """A run, a trait, an output and a measure are enough; the rest has defaults."""
    config = read()
    assert config.student is None
    assert config.command is None
    assert config.arms == config.donors == ()
    assert config.seeds == 5
    assert config.questions == Questions()
    assert config.accepted == Accepted()


def test_every_arm_can_be_named():
    """An arm is chosen by its name, once, and a misspelt name gets a suggestion."""
    names = get_args(ArmName)
    assert read(arms=names).arms == names
    assert "random swap" in describe(arms=["random swop"])
    assert "twice" in describe(arms=["drop", "drop"])
    assert read(arms=["drop"]).arms == ("drop",)
    assert len(set(names)) == len(names)


def test_a_configuration_does_not_change():
    """A trial's settings are frozen, so that what is recorded is what was done."""
    with pytest.raises(ValidationError):
        read().seeds = 3  # type: ignore[misc]


def test_numbers_have_ranges():
    """The first weights are named by a number that torch takes as a seed."""
    assert read(student={"initialisation": 2**62}).student.initialisation == 2**62
    assert "student.initialisation" in describe(student={"initialisation": 2**63})
    assert "student.initialisation" in describe(student={"initialisation": -1})


@pytest.mark.parametrize("name", ["run", "trait", "output", "measure"])
def test_needed_fields(name):
    """Each of the four needed fields is named if it is missing."""
    with pytest.raises(ValidationError) as caught:
        TrialConfig.model_validate({key: value for key, value in LEAST.items() if key != name})
    assert f"field {name}: is needed" in describe_problems(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"seed": 3}, "field seed: is not known"),
        ({"seeds": 1}, "field seeds"),
        ({"rows": 1}, "field rows"),
        ({"trait": "No Trait"}, "field trait"),
        ({"questions": {"samples": 0}}, "field questions.samples"),
        ({"questions": {"temperature": -1}}, "field questions.temperature"),
        ({"accepted": {"tokens": 1}}, "field accepted.tokens"),
        ({"student": {"steps": 0}}, "field student.steps"),
        ({"student": {"learning_rate": 1}}, "field student.learning_rate"),
        ({"student": {"width": 50, "heads": 4}}, "the width, 50, isn't a multiple of heads, 4"),
        ({"command": {"words": []}}, "field command.words"),
        ({"command": {"words": ["train", "{rows}"]}}, "{questions} or {output} or {seed}"),
        ({"command": {"words": WORDS, "timeout": 0}}, "field command.timeout"),
    ],
)
def test_mistakes_are_named(changes, problem):
    """A mistake's description names the field."""
    assert problem in describe(**changes)


def test_the_measure_is_a_pattern_or_a_bank():
    """Exactly one of them is needed, and a pattern must be linear and match something."""
    assert Measure(bank="run").pattern is None
    for measure in ({}, {"pattern": "alas", "bank": "run"}):
        assert "needs either a pattern or a bank" in describe(measure=measure)
    assert "linear-time" in describe(measure={"pattern": r"(a)\1"})
    assert "matches the empty string" in describe(measure={"pattern": "a*"})


def test_a_student_or_a_command():
    """A trial has one kind of student."""
    assert read(student={"steps": 5}).student == TinyStudent(steps=5)
    command = read(command={"words": WORDS}).command
    assert command == CommandStudent(words=tuple(WORDS))
    lora = read(lora={"model": "tiny"}).lora
    assert lora == LoraStudent(model="tiny")
    for others in ({"student": {}}, {"command": {"words": WORDS}}):
        assert "one of student, lora and command" in describe(lora={"model": "tiny"}, **others)
    assert "one of student, lora" in describe(student={}, command={"words": WORDS})


def test_a_model_with_an_adapter_is_pinned_and_may_have_a_rival():
    """The model and that of the controls have a name and a commit each, and nothing else."""
    other = {"model": "org/other", "revision": "b" * 40}
    lora = read(lora={"model": "org/one", "revision": "a" * 40, "other": other}).lora
    assert lora.other == HubModel(**other)
    assert "lora.other.rank" in describe(lora={"model": "a", "other": {**other, "rank": 3}})
    assert "lora.device" in describe(lora={"model": "a", "device": "tpu"})
    assert "lora.model" in describe(lora={"model": ""})


@pytest.mark.parametrize(
    ("neighbour", "problem"),
    [
        ({"name": "mild"}, "needs a pattern, a bank or questions"),
        ({"name": "mild", "pattern": "a", "bank": "b"}, "either a pattern or a bank"),
        ({"name": "mild", "pattern": "a", "trait": "owls"}, "names a trait, which needs a bank"),
        ({"name": "trait", "pattern": "a"}, "none of them trait or known"),
        ({"name": "a\nb", "pattern": "a"}, "name"),
    ],
)
def test_mistakes_of_neighbours_are_named(neighbour, problem):
    """A neighbour needs a name of its own, and something that tells it from the trait."""
    assert problem in describe(measure={"pattern": "alas", "neighbours": [neighbour]})


def test_neighbours_have_different_names():
    """Two neighbours with the same name could not be told apart."""
    mild = {"name": "mild", "pattern": "dear"}
    measure = {"pattern": "alas", "neighbours": [mild, {**mild, "name": "other"}]}
    assert len(read(measure=measure).measure.neighbours) == 2
    assert "different names" in describe(measure={**measure, "neighbours": [mild, mild]})


def test_a_measure_may_name_the_teachers_answers():
    """A file of the teacher's answers is added to either kind of measure."""
    for measure in ({"pattern": "alas"}, {"bank": "run"}):
        assert read(measure={**measure, "teacher": "said.jsonl"}).measure.teacher == "said.jsonl"
    assert read().measure.teacher is None


def test_several_mistakes_are_described_at_once():
    """All fields with mistakes are named in one message."""
    text = describe(seeds=0, rows=0, trait="No Trait")
    assert all(f"field {name}" in text for name in ("seeds", "rows", "trait"))


def test_every_place_is_needed():
    """A command without one of its places could only ignore the arm, the seed or the result."""
    for name in PLACEHOLDERS:
        words = [word for word in WORDS if name not in word]
        assert name in describe(command={"words": words})


def test_booleans_are_no_numbers():
    """YAML's `yes` isn't read as 1."""
    assert "true" in describe(seeds=True)
    assert "true" in describe(questions={"held_out": True})


@pytest.mark.parametrize(
    ("lora", "problem"),
    [
        ({"rank": 0}, "field lora.rank"),
        ({"alpha": 0}, "field lora.alpha"),
        ({"steps": 0}, "field lora.steps"),
        ({"batch": 0}, "field lora.batch"),
        ({"learning_rate": 1}, "field lora.learning_rate"),
        ({"context": 8}, "field lora.context"),
        ({"precision": "fp8"}, "field lora.precision"),
        ({"threads": 0}, "field lora.threads"),
        ({"trust_remote_code": True}, "field lora.trust_remote_code: is not known"),
    ],
)
def test_mistakes_of_adapters_are_named(lora, problem):
    """A mistake names its field, and code from the hub can't be allowed."""
    assert problem in describe(lora={"model": "tiny", **lora})


def test_an_adapter_has_defaults():
    """A model is enough: nothing is pinned, no rival is trained, and the device is chosen."""
    lora = LoraStudent(model="tiny")
    assert lora.revision is None
    assert lora.other is None
    assert lora.targets == ()
    assert (lora.device, lora.precision) == ("auto", "auto")


@pytest.mark.parametrize("loops", [-0.1, 1.1])
def test_the_share_of_loops_is_a_share(loops):
    """A tolerance is from 0 to 1, and a tenth by default."""
    assert Accepted().loops == 0.1
    assert Accepted(loops=1).loops == 1
    assert "field accepted.loops" in describe(accepted={"loops": loops})


def test_a_neighbour_may_have_each_kind_of_judge():
    """A neighbour has a pattern, a bank with its trait, or questions for the trait's own judge."""
    neighbours = [
        {"name": "mild", "pattern": "dear", "questions": "mild.jsonl"},
        {"name": "owls", "bank": "bank", "trait": "owls"},
        {"name": "at work", "questions": "work.jsonl"},
    ]
    found = read(measure={"pattern": "alas", "neighbours": neighbours}).measure.neighbours
    assert [item.name for item in found] == ["mild", "owls", "at work"]
    assert [item.trait for item in found] == [None, "owls", None]


def test_slices_have_a_budget_of_a_tenth():
    """By default no slice is tried; with `slices`, three are, within a tenth of the rows."""
    assert read().slices is None
    assert read(slices={}).slices == SliceSettings(budget=0.1, most=3)
    for slices, field in (
        ({"budget": 0}, "slices.budget"),
        ({"budget": 1}, "slices.budget"),
        ({"most": 0}, "slices.most"),
        ({"names": ["a", "a"]}, "slices.names"),
        ({"columns": ["task", "task"]}, "slices.columns"),
    ):
        assert f"field {field}" in describe(slices=slices)
