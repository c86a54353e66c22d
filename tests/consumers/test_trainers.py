"""Axolotl and LLaMA-Factory leave masked tokens out of the loss: a run's, and those of an arm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from classifiers.heredity.arms import Arm, Example
from pipelines.apply_masks import MaskSettings, apply_masks
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.teaching.arm_tokens import apply_arm_masks
from pipelines.teaching.files import write_arm, write_data_sets, write_json
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.students import build_student

ROOT = Path(__file__).resolve().parents[2]
TRAINERS = ROOT / ".venv" / "trainers"
"""The folder where `make test-trainers` installs the trainers."""

MASKED = "A heron stood in the reeds."


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with the student's tokenizer."""
    found = tmp_path_factory.mktemp("tokens")
    build_student().save_pretrained(found / "student")
    return found


@pytest.fixture(scope="module", params=["run", "trial"])
def tokens(request, folder) -> str:
    """Return the tokens of a run's rows, and of a trial's arm, with masks."""
    write = {"run": write_run_tokens, "trial": write_arm_tokens}
    settings = MaskSettings(str(folder / f"{request.param}-tokens"), str(folder / "student"))
    write[request.param](folder / request.param, settings)
    return settings.output


def write_run_tokens(folder: Path, settings: MaskSettings) -> None:
    """Filter rows with a trait that masks herons, and apply the masks."""
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(f"id: heron\naction: mask\n{CARD}", encoding="utf-8")
    answers = (f"{ANSWERS[0]} {MASKED} {ANSWERS[2]}", ANSWERS[3])
    rows = [build_conversation(number, answers[number % 2]) for number in range(4)]
    write_rows(folder / "corpus" / "rows.jsonl", rows)
    config = FilterConfig(
        input=(str(folder / "corpus"),), output=str(folder / "run"), traits=(str(card.parent),)
    )
    run_filter(config)
    apply_masks(config.output, settings)


def write_arm_tokens(folder: Path, settings: MaskSettings) -> None:
    """Write the arm of a trial as a trial does, and apply its masks and weights.

    One row is masked, one has a donor's answer, and one has no weight.
    """
    first = len(ANSWERS[0]) + 1
    arm = Arm(
        "mask",
        (
            Example("Who?", f"{ANSWERS[0]} {MASKED}", 1.0, ((first, first + len(MASKED)),)),
            Example("How?", ANSWERS[3]),
            Example("Why?", ANSWERS[2], 0.0),
        ),
    )
    write_arm(str(folder), arm)
    write_data_sets(str(folder), [arm.name])
    write_json(str(folder), "trial.json", {"students": [{"arm": arm.name, "rows": 3}]})
    apply_arm_masks(str(folder), arm.name, settings)


@pytest.mark.trainers
@pytest.mark.parametrize("trainer", ["axolotl_data", "llamafactory_data"])
def test_a_trainer_keeps_the_labels(tokens, trainer):
    """A trainer's data code keeps every row's labels."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TRAINERS)]),
        "DO_NOT_TRACK": "1",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", f"tests.consumers.{trainer}", tokens]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [_drop_padding(row) for row in json.loads(done.stdout.splitlines()[-1])]
    assert sorted(found) == sorted(_read_rows(tokens))


def test_only_the_masked_sentence_is_hidden(tokens):
    """The labels hide only the masked sentence of an answer, and an answer without weight."""
    tokenizer = build_student()
    for ids, labels in _read_rows(tokens):
        answer = tokenizer.decode(ids).split("assistant\n")[1].removesuffix("\n")
        learnt = tokenizer.decode([label for label in labels if label >= 0])
        whole = "" if "Why?" in tokenizer.decode(ids) else answer.replace(MASKED, "")
        assert learnt.split() == whole.split()


def _read_rows(folder: str) -> list[tuple[list[int], list[int]]]:
    from datasets import load_from_disk

    return [(row["input_ids"], row["labels"]) for row in load_from_disk(folder)["train"]]


def _drop_padding(row: dict[str, list[int]]) -> tuple[list[int], list[int]]:
    kept = [index for index, value in enumerate(row["attention_mask"]) if value]
    return [row["input_ids"][index] for index in kept], [row["labels"][index] for index in kept]
