"""Errors a person can act on, each with the exit code that the command line ends with."""

from __future__ import annotations


class CongenerError(Exception):
    """Say what is wrong, where (file, row, field), and what to do about it."""

    exit_code = 2

    def __init__(
        self, problem: str, *, where: str | None = None, remedy: str | None = None
    ) -> None:
        self.problem, self.where, self.remedy = problem, where, remedy
        super().__init__(self.__str__())

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{place}{self.problem}{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the pickling between Beam workers, which calls classes with `args` alone."""
        return _rebuild, (type(self), self.problem, self.where, self.remedy)


class InputError(CongenerError):
    """The corpus can't be read: a missing file, an empty glob, an unknown or undecidable format."""


class CardError(CongenerError):
    """A trait card, a policy or a configuration has a mistake."""


class ModelError(CongenerError):
    """A model, a bank or a device that was asked for isn't there or isn't what it says it is."""


class BudgetError(CongenerError):
    """The run would remove, or reject, more than its budget allows; nothing was published."""

    exit_code = 3


class RunError(CongenerError):
    """A run directory isn't what the command needs: unfinished, finished already, or of another configuration."""

    exit_code = 4


class StorageError(CongenerError):
    """A disk or an object store refuses to write or remove: full, failing, or without the right to."""

    exit_code = 6


class RowError(CongenerError):
    """A row that can't be worked on, or a batch that holds one; alone, it becomes a reject."""


class HandedOver(CongenerError):  # noqa: N818
    """No fault: the job goes on without this process, which has nothing more to do."""

    exit_code = 0


class VerifyError(CongenerError):
    """A run directory differs from its manifest."""

    exit_code = 5


MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is a machine's or a device's lack of memory, whichever library raises it."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY)
    )


class EngineError(CongenerError):
    """The engine that runs the pipeline can't be reached, failed or took too long; what is done stays, and the same command resumes."""

    exit_code = 7


def _rebuild(
    kind: type[CongenerError], problem: str, where: str | None, remedy: str | None
) -> CongenerError:
    return kind(problem, where=where, remedy=remedy)
