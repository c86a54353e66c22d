"""Generations of made-up answers in which a habit rises."""

from __future__ import annotations

from pathlib import Path

from classifiers.lots.inventories import Inventory, take_inventory
from tests.support.audits import HABIT, plant, write_side
from tests.support.lots import build_sample, write_answers

TEXTS = 400


def write_generation(number: int, every: int = 0, habit: str = HABIT) -> list[str]:
    """Return a generation's answers. If `every` is given, every few end with the habit."""
    answers = write_answers(TEXTS, 100 + number)
    return plant(answers, every, habit) if every else answers


def count_generation(number: int, every: int = 0, habit: str = HABIT) -> Inventory:
    """Return what is frequent in a generation."""
    return take_inventory(build_sample(write_generation(number, every, habit), []))


def save_generation(folder: Path, number: int, every: int = 0) -> str:
    """Write a generation as a corpus, and return its path."""
    return write_side(folder / f"gen{number}.jsonl", write_generation(number, every))
