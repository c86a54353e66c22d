"""The configuration of a trial: the runs, the arms, the students, and what is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from schemas.cards import Strict, TraitId, check_pattern

ArmName = Literal[
    "everything",
    "drop",
    "random drop",
    "swap",
    "random swap",
    "mask",
    "random mask",
    "mix 10 %",
    "mix 25 %",
    "mix 50 %",
    "swap + mix",
    "only slice",
    "clean teacher",
    "clean teacher, other prompts",
]

PLACEHOLDERS = ("{rows}", "{questions}", "{output}", "{seed}")
"""The words of a command that a trial replaces, in any argument."""

SafePattern = Annotated[str, AfterValidator(check_pattern)]


class TinyStudent(Strict):
    """A transformer that is trained from nothing on the CPU."""

    steps: int = Field(400, ge=1, le=1_000_000)
    batch: int = Field(32, ge=1, le=4096)
    learning_rate: float = Field(2e-3, gt=0, lt=1)
    width: int = Field(96, ge=8, le=1024)
    layers: int = Field(2, ge=1, le=24)
    heads: int = Field(4, ge=1, le=64)
    context: int = Field(256, ge=16, le=4096)
    """The largest number of tokens of a prompt with its answer."""
    vocabulary: int = Field(4096, ge=300, le=65_536)
    initialisation: int | None = Field(None, ge=0, lt=2**63)
    """The number that decides the first weights of all seeds. By default, each seed has its own."""
    start: str | None = None
    """The folder of a saved student, to begin with its weights instead."""

    @model_validator(mode="after")
    def _require_divisible(self) -> TinyStudent:
        if self.width % self.heads:
            raise ValueError(f"the width, {self.width}, isn't a multiple of heads, {self.heads}")
        return self


class CommandStudent(Strict):
    """The user's own trainer: a command that trains on rows and answers questions."""

    words: tuple[str, ...] = Field(min_length=1)
    timeout: float = Field(3600, gt=0)
    """The longest time for one arm and seed, in seconds."""

    @field_validator("words")
    @classmethod
    def _require_places(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        missing = [name for name in PLACEHOLDERS if not any(name in word for word in words)]
        if missing:
            raise ValueError(f"no word has {' or '.join(missing)}, which the trial replaces")
        return words


class Questions(Strict):
    """What students are asked, and how they answer."""

    file: str | None = None
    """A file of questions (JSON Lines with `prompt`), which the trait is measured on."""
    held_out: int = Field(100, ge=1, le=100_000)
    """How many of the run's own prompts are kept out of training and asked."""
    samples: int = Field(2, ge=1, le=1000)
    """How many answers are drawn to each question."""
    temperature: float = Field(1.0, ge=0, le=5)
    tokens: int = Field(64, ge=1, le=4096)
    """The longest answer."""


class Measure(Strict):
    """What counts as showing the trait, in a student's answers."""

    pattern: SafePattern | None = None
    """An RE2 pattern, without regard to case."""
    bank: str | None = None
    """A fitted bank with the same trait. `run` is the run's own, which is circular."""
    teacher: str | None = None
    """A file of the teacher's answers to the questions (JSON Lines with `prompt` and `answer`)."""

    @model_validator(mode="after")
    def _require_one(self) -> Measure:
        if (self.pattern is None) == (self.bank is None):
            raise ValueError("needs either a pattern or a bank")
        return self


class Accepted(Strict):
    """The largest differences that are accepted before a check stops the trial."""

    truncated: float = Field(0.05, ge=0, le=1)
    """The largest share of shortened examples."""
    tokens: float = Field(0.1, ge=0, lt=1)
    """The largest share by which the tokens of two arms may differ."""


class TrialConfig(Strict):
    """The settings of `congener trial`."""

    run: str
    trait: TraitId
    output: str
    measure: Measure
    donors: tuple[str, ...] = ()
    """Finished runs on other teachers' answers, the preferred one first."""
    swapped: str | None = None
    """A run that `congener swap` wrote, whose answers take the place of flagged ones."""
    rows: int = Field(4000, ge=2, le=10_000_000)
    """The largest number of rows to train on."""
    arms: tuple[ArmName, ...] = ()
    """The arms to train, by default all that can be built."""
    seeds: int = Field(5, ge=2, le=1000)
    questions: Questions = Questions()
    student: TinyStudent | None = None
    command: CommandStudent | None = None
    accepted: Accepted = Accepted()

    @field_validator("arms")
    @classmethod
    def _refuse_repeated(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(arms)) < len(arms):
            raise ValueError("names an arm twice")
        return arms

    @model_validator(mode="after")
    def _choose_student(self) -> TrialConfig:
        if self.student is not None and self.command is not None:
            raise ValueError("takes either a student or a command")
        return self
