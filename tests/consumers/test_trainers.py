"""Axolotl and LLaMA-Factory leave a run's masked tokens out of the loss."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.apply_masks import MaskSettings, apply_masks
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.students import build_student

ROOT = Path(__file__).resolve().parents[2]
TRAINERS = ROOT / ".venv" / "trainers"
"""The folder where `make test-trainers` installs the trainers."""

MASKED = "A heron stood in the reeds."


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> str:
    """Filter rows with a trait that masks herons, and apply the masks."""
    folder = tmp_path_factory.mktemp("tokens")
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: mask\n{CARD}", encoding="utf-8")
    answers = (f"{ANSWERS[0]} {MASKED} {ANSWERS[2]}", ANSWERS[3])
    rows = [build_conversation(number, answers[number % 2]) for number in range(4)]
    write_rows(folder / "corpus" / "rows.jsonl", rows)
    config = FilterConfig(
        input=(str(folder / "corpus"),), output=str(folder / "run"), traits=(str(card.parent),)
    )
    run_filter(config)
    build_student().save_pretrained(folder / "student")
    output = str(folder / "tokens")
    apply_masks(config.output, MaskSettings(output, str(folder / "student")))
    return output


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
    """The labels hide only the masked sentence of an answer."""
    tokenizer = build_student()
    for ids, labels in _read_rows(tokens):
        answer = tokenizer.decode(ids).split("assistant\n")[1].removesuffix("\n")
        learnt = tokenizer.decode([label for label in labels if label >= 0])
        assert learnt.split() == answer.replace(MASKED, "").split()


def _read_rows(folder: str) -> list[tuple[list[int], list[int]]]:
    from datasets import load_from_disk

    return [(row["input_ids"], row["labels"]) for row in load_from_disk(folder)["train"]]


def _drop_padding(row: dict[str, list[int]]) -> tuple[list[int], list[int]]:
    kept = [index for index, value in enumerate(row["attention_mask"]) if value]
    return [row["input_ids"][index] for index in kept], [row["labels"][index] for index in kept]
