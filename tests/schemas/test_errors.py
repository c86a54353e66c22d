"""Errors: what they say, what the command line ends with, and that they survive the way between workers."""

from __future__ import annotations

import copy
import pickle

import pytest

from schemas import errors
from schemas.errors import (
    BudgetError,
    CardError,
    CongenerError,
    EngineError,
    HandedOver,
    InputError,
    ModelError,
    RowError,
    RunError,
    StorageError,
    VerifyError,
)

KINDS = [
    CongenerError,
    InputError,
    CardError,
    ModelError,
    BudgetError,
    RunError,
    VerifyError,
    StorageError,
    RowError,
    EngineError,
    HandedOver,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", [None, "a.jsonl line 3"])
@pytest.mark.parametrize("remedy", [None, "write it anew"])
def test_errors_survive_pickling(kind, where, remedy):
    """An error raised in a worker arrives as the same kind, with the same parts."""
    error = kind("is broken", where=where, remedy=remedy)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert (again.problem, again.where, again.remedy) == ("is broken", where, remedy)
        assert str(again) == str(error)
        assert again.exit_code == error.exit_code
    assert str(copy.copy(error)) == str(error)


def test_an_error_says_where_what_and_what_to_do():
    """The place comes first, the remedy on a line of its own; parts that aren't known leave no trace."""
    assert str(CardError("is broken")) == "is broken"
    assert str(CardError("is broken", where="card.yaml")) == "card.yaml: is broken"
    assert (
        str(CardError("is broken", where="card.yaml", remedy="write it anew"))
        == "card.yaml: is broken\n  remedy: write it anew"
    )
    assert CardError("is broken", where="card.yaml").args == ("card.yaml: is broken",)


def test_exit_codes_tell_the_kinds_of_failure_apart():
    """A script can tell a bad input from a blown budget, an unusable run, a run that was altered and a disk that fails; what is handed over is no failure."""
    assert [kind.exit_code for kind in KINDS] == [2, 2, 2, 2, 3, 4, 5, 6, 2, 7, 0]


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory"), True),
        (RuntimeError("cuBLAS: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("shapes don't match"), False),
        (ValueError("out of memory lane"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error, lacking):
    """Whichever library runs out of memory, it is recognised; an error that only speaks of memory isn't."""
    assert errors.out_of_memory(error) is lacking


def test_every_error_of_the_module_is_tested_here():
    """A new kind of error comes into this file's list; only what is handed over, which is no fault, ends with 0."""
    found = {
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, CongenerError)
    }
    assert found == set(KINDS)
    assert [kind for kind in KINDS if kind.exit_code in (0, 1)] == [HandedOver]
