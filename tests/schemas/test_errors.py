"""Errors: their parts, exit codes and pickling."""

from __future__ import annotations

import copy
import pickle

import pytest

from schemas import errors
from schemas.errors import (
    BudgetError,
    CardError,
    CongenerError,
    EndpointError,
    EngineError,
    HandedOver,
    InputError,
    MachineError,
    ModelError,
    RowError,
    RunError,
    StorageError,
    TeacherError,
    TrialError,
    walk_causes,
)

KINDS = [
    CongenerError,
    InputError,
    CardError,
    ModelError,
    BudgetError,
    RunError,
    StorageError,
    MachineError,
    RowError,
    EngineError,
    EndpointError,
    TrialError,
    TeacherError,
    HandedOver,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", [None, "a.jsonl line 3"])
@pytest.mark.parametrize("remedy", [None, "write it again"])
def test_errors_survive_pickling(kind, where, remedy):
    """Pickling keeps an error's class and parts."""
    error = kind("is broken", where=where, remedy=remedy)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert (again.problem, again.where, again.remedy) == ("is broken", where, remedy)
        assert str(again) == str(error)
        assert again.exit_code == error.exit_code
    assert str(copy.copy(error)) == str(error)


def test_an_error_says_where_what_and_what_to_do():
    """A message begins with the place and ends with the remedy."""
    assert str(CardError("is broken")) == "is broken"
    assert str(CardError("is broken", where="card.yaml")) == "card.yaml: is broken"
    assert (
        str(CardError("is broken", where="card.yaml", remedy="write it again"))
        == "card.yaml: is broken\n  remedy: write it again"
    )
    assert CardError("is broken", where="card.yaml").args == ("card.yaml: is broken",)


def test_exit_codes_tell_the_kinds_of_failure_apart():
    """Each kind of failure has its own exit code.

    A job that is handed over isn't a failure. `congener verify` exits with code 5 without an
    error.
    """
    assert [kind.exit_code for kind in KINDS] == [2, 2, 2, 2, 3, 4, 6, 6, 2, 7, 7, 5, 5, 0]


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
def test_lack_of_memory_is_distinguished_from_other_errors(error, lacking):
    """Each library's out-of-memory error is recognised, and other errors aren't."""
    assert errors.is_out_of_memory(error) is lacking


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (RuntimeError("a\nRuntimeError: can't start new thread\nb"), "can't start new thread"),
        (FileNotFoundError(2, "No such file or directory"), None),
        (ValueError("out of memory"), None),
        (RowError("gives NaN"), None),
    ],
)
def test_faults_of_the_machine_are_distinguished(error, reason):
    """A shortage of resources is a machine fault, and an error about content isn't."""
    wrapped = InputError("can't be read")
    wrapped.__cause__ = error
    found = errors.describe_machine_fault(wrapped)
    assert (found is None) is (reason is None)
    assert reason is None or (reason in found.problem and found.exit_code == 6)
    assert errors.find_machine_fault(wrapped) is (None if reason is None else error)


def test_every_error_of_the_module_is_tested_here():
    """`KINDS` lists every error class, and only a handed-over job exits with 0."""
    found = {
        item
        for item in vars(errors).values()
        if isinstance(item, type) and issubclass(item, CongenerError)
    }
    assert found == set(KINDS)
    assert [kind for kind in KINDS if kind.exit_code in (0, 1)] == [HandedOver]


def test_causes_that_form_a_circle_are_walked_once():
    """An error that is its own cause's cause ends the walk instead of repeating it."""
    first, second = OSError("first"), OSError("second")
    first.__context__, second.__context__ = second, first
    assert list(walk_causes(first)) == [first, second]


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", errors.CARD_MEMORY_REMEDY),
        ("CUDA error: out of memory", errors.CARD_MEMORY_REMEDY),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", errors.CARD_MEMORY_REMEDY),
        ("CUDA error: unspecified launch failure\nCompile with …", errors.CARD_REMEDY),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", errors.CARD_REMEDY),
        ("DefaultCPUAllocator: not enough memory", errors.FAULT_REMEDY),
        ("can't start new thread", errors.FAULT_REMEDY),
    ],
)
def test_the_remedy_is_for_the_part_that_failed(message, remedy):
    """A full GPU, a broken one and a lack of main memory or threads have their own remedies."""
    found = errors.describe_machine_fault(RuntimeError(message))
    assert found.remedy == remedy
    assert "resumes the run" in found.remedy
    assert errors.is_card_fault(RuntimeError(message)) is (remedy != errors.FAULT_REMEDY)


def test_a_text_that_names_a_card_is_no_fault_of_it():
    """Only a RuntimeError comes from a GPU: other errors may quote a text."""
    assert not errors.is_card_fault(ValueError("can't parse 'CUDA error'"))
