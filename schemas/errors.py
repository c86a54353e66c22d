"""Errors that users can act on, each with the exit code with which it ends the command."""

from __future__ import annotations


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
    """A model, a bank or a device is missing, or isn't the one that was asked for."""


class BudgetError(CongenerError):
    """The run would remove or reject more than its budget allows; nothing was published."""

    exit_code = 3


class RunError(CongenerError):
    """A run directory can't be used: it is unfinished, finished, damaged or another run's."""

    exit_code = 4


class StorageError(CongenerError):
    """A disk or object store can't be written to: it is full, has failed or refuses access."""

    exit_code = 6


class RowError(CongenerError):
    """A row, or a batch that contains it, can't be processed. Only that row becomes a reject."""


class EngineError(CongenerError):
    """The engine can't be reached, failed or took too long.

    Finished shards are kept, and the same command resumes.
    """

    exit_code = 7


class HandedOver(CongenerError):  # noqa: N818
    """The job continues without this process, which isn't a failure."""

    exit_code = 0


MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Parts of the messages with which libraries raise a RuntimeError when memory runs out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a machine or a device ran out of memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY)
    )


def _rebuild(
    kind: type[CongenerError], problem: str, where: str | None, remedy: str | None
) -> CongenerError:
    return kind(problem, where=where, remedy=remedy)
