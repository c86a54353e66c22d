"""Students on a disk: equal bytes, whole round trips, and errors for damaged folders."""

from __future__ import annotations

import json

import pytest

from classifiers.students.answers import Decoding, answer_prompts
from classifiers.students.training import Recipe, train_student
from classifiers.students.weights import DESCRIPTION, WEIGHTS, load_student, save_student
from schemas.errors import ModelError
from tests.support.small_students import begin_small, build_questions

EXAMPLES = build_questions()
RECIPE = Recipe(steps=20, batch=8)


@pytest.fixture
def folder(tmp_path):
    """Save a student that was trained for a few steps."""
    student = train_student(begin_small(EXAMPLES), EXAMPLES, RECIPE, 0).student
    save_student(student, tmp_path / "student")
    return tmp_path / "student"


def test_a_saved_student_answers_the_same(folder, tmp_path):
    """A loaded student gives the same answers, and is saved as the same bytes."""
    loaded = load_student(folder)
    student = train_student(begin_small(EXAMPLES), EXAMPLES, RECIPE, 0).student
    prompts = [item.prompt for item in EXAMPLES]
    assert answer_prompts(loaded, prompts, Decoding(), 3) == answer_prompts(
        student, prompts, Decoding(), 3
    )
    save_student(loaded, tmp_path / "again")
    for name in (WEIGHTS, DESCRIPTION):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_loaded_student_can_be_trained_on(folder):
    """Training can start from a saved student, and its template stays."""
    loaded = load_student(folder)
    trained = train_student(loaded, EXAMPLES, RECIPE, 1)
    assert trained.student.template == loaded.template
    assert trained.losses[0] < train_student(begin_small(EXAMPLES), EXAMPLES, RECIPE, 1).losses[0]


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_a_missing_file_is_an_error(folder, name):
    """An error names the folder and both files."""
    (folder / name).unlink()
    with pytest.raises(ModelError, match=WEIGHTS):
        load_student(folder)


def test_other_weights_are_refused(folder):
    """Weights that the description doesn't belong to aren't loaded."""
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelError, match="isn't the file that"):
        load_student(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"words": ["other"]}, "words"),
        ({"template": "0" * 64}, "template"),
        (
            {"shape": {"vocabulary": 5, "context": 8, "width": 8, "layers": 1, "heads": 1}},
            "state_dict",
        ),
        ({"shape": {"vocabulary": "many"}}, "shape"),
        ({"pickle": True}, "pickle"),
    ],
)
def test_a_changed_description_is_refused(folder, change, problem):
    """Words, template and shape must be those of the weights."""
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    (folder / DESCRIPTION).write_text(json.dumps(described | change), encoding="utf-8")
    with pytest.raises(ModelError, match=problem):
        load_student(folder)


def test_a_file_that_is_not_safetensors_is_refused(folder):
    """A pickle under the name of the weights isn't opened."""
    (folder / WEIGHTS).write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelError):
        load_student(folder)
