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


class HubModel(Strict):
    """A causal model in a local folder, or on the hub at a pinned commit."""

    model: str = Field(min_length=1)
    revision: str | None = None
    """The full commit. A local folder has none."""


class LoraStudent(HubModel):
    """A Hugging Face causal model, of which an adapter (LoRA) is trained."""

    other: HubModel | None = None
    """A model of another family, with which the two controls are trained as well."""
    rank: int = Field(16, ge=1, le=1024)
    alpha: int = Field(32, ge=1, le=4096)
    targets: tuple[str, ...] = ()
    """The names of the layers to adapt, such as `q_proj`, by default all dense ones."""
    steps: int = Field(300, ge=1, le=1_000_000)
    batch: int = Field(8, ge=1, le=4096)
    learning_rate: float = Field(2e-4, gt=0, lt=1)
    context: int = Field(1024, ge=16, le=131_072)
    """The largest number of tokens of a prompt with its answer."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: int = Field(2, ge=1, le=256)
    """The threads on the CPU. Another number may change the last digits of a result."""


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


class RelatedTrait(Strict):
    """Something close to the trait that a remedy shouldn't leave or bring: a mild or related form.

    With `questions`, students are asked about it; otherwise their answers about the trait are
    judged. Without a pattern and a bank, the trait's own judge decides.
    """

    name: str = Field(pattern=r"^[\w][\w -]{0,39}$")
    pattern: SafePattern | None = None
    bank: str | None = None
    trait: TraitId | None = None
    """The trait in the bank, if it isn't the trial's own."""
    questions: str | None = None

    @model_validator(mode="after")
    def _require_difference(self) -> RelatedTrait:
        if self.pattern is not None and self.bank is not None:
            raise ValueError("takes either a pattern or a bank")
        if self.pattern is None and self.bank is None and self.questions is None:
            raise ValueError("needs a pattern, a bank or questions that aren't the trait's")
        if self.trait is not None and self.bank is None:
            raise ValueError("names a trait, which needs a bank")
        return self


class Measure(Strict):
    """What counts as showing the trait, in a student's answers."""

    pattern: SafePattern | None = None
    """An RE2 pattern, without regard to case."""
    bank: str | None = None
    """A fitted bank with the same trait. `run` is the run's own, which is circular."""
    teacher: str | None = None
    """A file of the teacher's answers to the questions (JSON Lines with `prompt` and `answer`)."""
    neighbours: tuple[RelatedTrait, ...] = ()
    """What else is measured, beside the trait."""

    @field_validator("neighbours")
    @classmethod
    def _refuse_same_names(cls, neighbours: tuple[RelatedTrait, ...]) -> tuple[RelatedTrait, ...]:
        names = [item.name for item in neighbours]
        if len(set(names)) < len(names) or {"trait", "known"} & set(names):
            raise ValueError("needs different names, none of them trait or known")
        return neighbours

    @model_validator(mode="after")
    def _require_one(self) -> Measure:
        if (self.pattern is None) == (self.bank is None):
            raise ValueError("needs either a pattern or a bank")
        return self


class SliceSettings(Strict):
    """Which slices of the corpus are tried, each beside as many random rows."""

    budget: float = Field(0.1, gt=0, lt=1)
    """The largest share of the rows that a slice may have."""
    most: int = Field(3, ge=1, le=100)
    """How many slices are tried, the most promising first."""
    names: tuple[str, ...] = ()
    """The slices to try instead, by the names that `--plan` shows."""
    columns: tuple[str, ...] = ()
    """Columns of the rows, such as `task`, by whose values slices are cut as well."""

    @field_validator("names", "columns")
    @classmethod
    def _refuse_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("has a name twice")
        return names


class Accepted(Strict):
    """The largest differences that are accepted before a check stops the trial."""

    truncated: float = Field(0.05, ge=0, le=1)
    """The largest share of shortened examples."""
    tokens: float = Field(0.1, ge=0, lt=1)
    """The largest share by which the tokens of two arms may differ."""
    loops: float = Field(0.1, ge=0, le=1)
    """The largest share of answers that repeat themselves and are judged to show the trait."""


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
    slices: SliceSettings | None = None
    """Which slices are tried, by default none."""
    seeds: int = Field(5, ge=2, le=1000)
    questions: Questions = Questions()
    student: TinyStudent | None = None
    lora: LoraStudent | None = None
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
        if sum(item is not None for item in (self.student, self.lora, self.command)) > 1:
            raise ValueError("takes one of student, lora and command")
        return self
