"""Errors that users can act on, each with its exit code."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor

INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell gives it."""


class CongenerError(Exception):
    """An error that says what is wrong, where (file, row, field), and what to do about it."""

    exit_code = 2

    def __init__(
        self, problem: str, *, where: str | None = None, remedy: str | None = None
    ) -> None:
        self.problem, self.where, self.remedy = problem, where, remedy
        super().__init__(self.__str__())

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        remedy = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{where}{self.problem}{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all parts when Beam pickles the error; by default, only `args` would be kept."""
        return _rebuild, (type(self), self.problem, self.where, self.remedy)


class InputError(CongenerError):
    """The corpus can't be read: a file is missing, or its format is unknown or ambiguous."""


class CardError(CongenerError):
    """A trait card, a policy or a configuration has a mistake."""


class ModelError(CongenerError):
    """A model, a bank or a device is missing or isn't the requested one."""


class BudgetError(CongenerError):
    """The run would remove or reject more rows than its budget allows; nothing was published."""

    exit_code = 3


class RunError(CongenerError):
    """A run directory is unfinished, finished or damaged, or belongs to a different run."""

    exit_code = 4


class StorageError(CongenerError):
    """A disk or object store can't be written to: it is full, has failed or refuses access."""

    exit_code = 6


class MachineError(CongenerError):
    """The machine lacks memory, threads or file handles, or a disk or a device fails.

    Finished shards are kept, and the same command resumes the run.
    """

    exit_code = 6


class RowError(CongenerError):
    """A row, or a batch that contains it, can't be processed. Only that row becomes a reject."""


class EngineError(CongenerError):
    """The engine can't be reached, failed or took too long.

    Finished shards are kept, and the same command resumes the run.
    """

    exit_code = 7


class EndpointError(CongenerError):
    """A model's endpoint can't be reached or refuses requests.

    Replies are kept, and the same command asks only what is left.
    """

    exit_code = 7


class TrialError(CongenerError):
    """A check stopped a trial, because its figures would mean nothing."""

    exit_code = 5


class TeacherError(CongenerError):
    """The text of a lot contradicts the teacher that the corpus declares; nothing was filtered."""

    exit_code = 5


class HandedOver(CongenerError):  # noqa: N818
    """The job continues without this process. This isn't a failure."""

    exit_code = 0


MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Words in a RuntimeError's message that mean that memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the machine or a device ran out of memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY)
    )


CARD_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", *MEMORY[-2:])
"""Words in an error's message that mean that a GPU's memory ran out."""

CARD_FAULTS = (
    *("CUDA error", "cuDNN error", "CUBLAS_STATUS", "CUDNN_STATUS", "HIP error", "NCCL error"),
    *CARD_MEMORY,
)
"""Words in an error's message that mean that a GPU is lost, broken or in use by other jobs."""

FAULTS = frozenset(
    (
        *(errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS),
        *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE),
    )
)
"""The system error numbers that only a machine fault can cause."""

FAULT_WORDS = (
    *MEMORY,
    *("can't start new thread", "cannot schedule new futures", "std::bad_alloc"),
    "failed to map segment from shared object",
    *CARD_FAULTS,
    *(os.strerror(code) for code in sorted(FAULTS)),
)
"""Words in an error's message that reveal a machine fault if the error has no number."""

FROM_CONTENT = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""Errors about content. Their messages may quote a text that contains `FAULT_WORDS`."""

FAULT_REMEDY = (
    "free memory, threads (ulimit -u), file handles (ulimit -n) or disk space, or use fewer "
    "--workers; the same command resumes the run"
)

CARD_MEMORY_REMEDY = (
    "end other jobs on the GPU (nvidia-smi lists them), set hardware.token_budget to a smaller "
    "number, or use fewer --workers; the same command resumes the run"
)

CARD_REMEDY = (
    "check the GPU with nvidia-smi, and end other jobs on it or name another one in "
    "CUDA_VISIBLE_DEVICES; the same command resumes the run"
)


def is_card_fault(error: BaseException) -> bool:
    """Return whether an error means that a GPU can't be used, or has no memory left."""
    return isinstance(error, RuntimeError) and _contains(str(error), CARD_FAULTS)


def walk_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause and so on, each once, because causes may form a circle."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def find_machine_fault(error: BaseException | None) -> BaseException | None:
    """Return the first machine fault among an error and its causes, or None."""
    return next((item for item in walk_causes(error) if _is_machine_fault(item)), None)


def _is_machine_fault(error: BaseException) -> bool:
    if isinstance(error, MachineError | MemoryError | BrokenExecutor):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FAULTS
    if isinstance(error, (CongenerError, *FROM_CONTENT)):
        return False
    return _contains(str(error), FAULT_WORDS)


def describe_machine_fault(error: BaseException) -> MachineError | None:
    """Return a machine fault as the error to report, or None for other errors."""
    found = find_machine_fault(error)
    if found is None or isinstance(found, MachineError):
        return found
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    reasons = [line for line in lines if _contains(line, FAULT_WORDS)] or lines or ["MemoryError"]
    return MachineError(
        f"the machine is at fault: {reasons[-1]}", remedy=_choose_remedy(reasons[-1])
    )


def _choose_remedy(reason: str) -> str:
    if _contains(reason, CARD_MEMORY):
        return CARD_MEMORY_REMEDY
    return CARD_REMEDY if _contains(reason, CARD_FAULTS) else FAULT_REMEDY


def _contains(text: str, phrases: Iterable[str]) -> bool:
    return any(words in text for words in phrases)


def _rebuild(
    kind: type[CongenerError], problem: str, where: str | None, remedy: str | None
) -> CongenerError:
    return kind(problem, where=where, remedy=remedy)
