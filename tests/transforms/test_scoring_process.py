"""What scoring changes about its process, and that it is changed back."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from transforms.scoring_process import MOST_ARENAS, begin_scoring, end_scoring


def count_threads():
    """Return the number of threads of each library of linear algebra that is loaded."""
    return {
        item["filepath"]: item["num_threads"]
        for item in threadpool_info()
        if item["user_api"] == "blas"
    }


def test_products_use_one_thread_until_scoring_ends():
    """Every library of linear algebra uses one thread, and later as many as before."""
    with threadpool_limits(2, "blas"):
        before = count_threads()
        begin_scoring()
        try:
            assert set(count_threads().values()) == {1}
        finally:
            end_scoring()
        assert count_threads() == before


def test_stages_that_end_in_another_order_change_the_process_back():
    """Several stages may score in one process: the last one that ends changes it back."""
    with threadpool_limits(2, "blas"):
        before = count_threads()
        begin_scoring()
        begin_scoring()
        end_scoring()
        assert set(count_threads().values()) == {1}
        assert gc.get_freeze_count() > 0
        end_scoring()
        assert count_threads() == before
        assert gc.get_freeze_count() == 0


def test_old_objects_are_spared_and_new_ones_collected():
    """The collector passes over what was there before, but still frees circles made later."""
    old: list[object] = []
    begin_scoring()
    try:
        assert not any(item is old for item in gc.get_objects())
        new: list[object] = []
        new.append(new)
        del new
        assert gc.collect() >= 1
    finally:
        end_scoring()
    assert any(item is old for item in gc.get_objects())


def test_a_product_does_not_depend_on_the_threads():
    """A product of matrices has the same bits with one thread as with several."""
    generator = np.random.default_rng(0)
    left = generator.standard_normal((700, 384), np.float32)
    right = generator.standard_normal((384, 900), np.float32)
    with threadpool_limits(2, "blas"):
        several = left @ right
    begin_scoring()
    try:
        assert (left @ right == several).all()
    finally:
        end_scoring()


COUNT_ARENAS = """
import ctypes, sys, threading
from transforms.scoring_process import begin_scoring

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "scoring":
    begin_scoring()
meet = threading.Barrier(8)

def allocate():
    meet.wait()
    held = [library.malloc(5_000) for _ in range(200)]
    meet.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
library.malloc_stats()
"""


@pytest.mark.parametrize(("state", "most"), [("scoring", MOST_ARENAS), ("idle", None)])
def test_threads_share_memory_while_a_process_scores(root, state, most):
    """Eight threads that allocate at once use few arenas, and as many as they like elsewhere."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_ARENAS, state],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    arenas = done.stderr.count("Arena ")
    assert arenas <= most if most else arenas > MOST_ARENAS
