"""Save a student as safetensors with a description beside it, and load it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from classifiers.students.lessons import digest_template
from classifiers.students.networks import Network, Shape
from classifiers.students.training import Student
from classifiers.students.vocabularies import Vocabulary
from schemas.cards import Strict
from schemas.digests import digest_bytes
from schemas.errors import ModelError
from schemas.problems import describe_problems

WEIGHTS = "model.safetensors"
DESCRIPTION = "student.json"

LONGEST_REASON = 300
"""How many characters of a library's message are shown."""


class Dimensions(Strict):
    """The size of a student's network."""

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int


class Description(Strict):
    """The file beside the weights."""

    shape: Dimensions
    words: tuple[str, ...]
    template: str
    weights_sha256: str


def save_student(student: Student, folder: Path) -> str:
    """Write a student to a folder, and return the digest of its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    data = encode_weights(student)
    description = {
        "shape": asdict(student.network.shape),
        "words": student.vocabulary.words,
        "template": student.template,
        "weights_sha256": digest_bytes(data),
    }
    (folder / WEIGHTS).write_bytes(data)
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
    return digest_bytes(data)


def encode_weights(student: Student) -> bytes:
    """Return the weights as the bytes of a safetensors file. Equal weights have equal bytes."""
    tensors = {name: item.contiguous() for name, item in student.network.state_dict().items()}
    data: bytes = save(dict(sorted(tensors.items())))
    return data


def load_student(folder: Path) -> Student:
    """Load a student from a folder.

    Raises: ModelError: a file is missing or damaged, or the weights are those of another student.
    """
    try:
        described = Description.model_validate_json((folder / DESCRIPTION).read_bytes())
        data = (folder / WEIGHTS).read_bytes()
        network = Network(Shape(**described.shape.model_dump()))
        if digest_bytes(data) != described.weights_sha256:
            raise _report(folder, f"{WEIGHTS} isn't the file that {DESCRIPTION} describes")
        network.load_state_dict(load_file(folder / WEIGHTS))
    except ValidationError as error:
        raise _report(folder, f"{DESCRIPTION}: {describe_problems(error)}") from error
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise _report(folder, " ".join(str(error).split())[:LONGEST_REASON]) from error
    student = Student(network, Vocabulary(described.words), described.template)
    if described.template != digest_template(student.vocabulary):
        raise _report(folder, "its words or its template were changed")
    return student


def _report(folder: Path, problem: str) -> ModelError:
    return ModelError(
        f"can't be read as a student: {problem}",
        where=str(folder),
        remedy=f"a student's folder has {WEIGHTS} and {DESCRIPTION}, as congener trial writes them",
    )
