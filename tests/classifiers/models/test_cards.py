"""Turns on devices: one thread at a time on each, and every card in use."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch

from classifiers.models.cards import Cards, Replica, list_cards, take_turn

CPU = torch.device("cpu")


@dataclass
class Runner:
    """A model as far as turns need it."""

    model: object = None
    device: torch.device = CPU
    token_budget: int = 100
    cards: Cards | None = None


def run_together(runner, threads):
    """Return which models threads used, and the most that were in use at the same time."""
    used, inside, highest, lock = [], 0, 0, threading.Lock()

    def work(_):
        nonlocal inside, highest
        with take_turn(runner) as placed:
            with lock:
                inside += 1
                highest = max(highest, inside)
                used.append(placed.model)
            time.sleep(0.02)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return used, highest


def make_cards(count):
    """Return replicas whose devices differ by their number alone."""
    return Cards(
        [Replica(f"copy {number}", torch.device("cuda", number)) for number in range(count)]
    )


def test_threads_take_turns_on_a_device():
    """Only one thread runs a model on a device, even if the models differ."""
    used, highest = run_together(Runner("only"), 4)
    assert (used, highest) == (["only"] * 4, 1)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_card_is_used_by_one_thread(count):
    """As many threads run as there are cards, each on its own copy."""
    used, highest = run_together(Runner("first", cards=make_cards(count)), 6)
    assert highest == count
    assert set(used) == {f"copy {number}" for number in range(count)}


def test_a_lone_thread_uses_the_first_card():
    """Without other threads, the first card is used each time."""
    runner = Runner("first", cards=make_cards(3))
    for _ in range(3):
        with take_turn(runner) as placed:
            assert placed.model == "copy 0"
            assert placed.device == torch.device("cuda", 0)
    assert runner.model == "first", "the runner itself isn't changed"


def test_a_smaller_budget_counts_for_all_cards():
    """If one card runs out of memory, batches are smaller on the others too."""
    runner = Runner(cards=make_cards(2))
    with take_turn(runner) as placed:
        placed.token_budget = 40
    with take_turn(runner) as placed:
        assert placed.token_budget == 40
        placed.token_budget = 400
    assert runner.token_budget == 40


def test_a_card_is_given_back_after_an_error():
    """An error leaves neither a card nor a device taken."""
    for runner in (Runner(), Runner(cards=make_cards(1))):
        for _ in range(2):
            with pytest.raises(ValueError, match="no kernel"), take_turn(runner):
                raise ValueError("no kernel")


def test_the_cards_of_a_process(monkeypatch):
    """All visible cards count; a CPU is itself."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert list_cards(torch.device("cuda")) == [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert list_cards(CPU) == [CPU]
