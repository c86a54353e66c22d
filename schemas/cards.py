"""The trait card: what a trait is, where it was seen, and which signals look for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import re2
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

SIGNALS = ("exemplars", "head", "classifier", "lexicon", "repetition")
"""Every kind of signal, in the order in which score columns are written."""

SignalName = Literal["exemplars", "head", "classifier", "lexicon", "repetition"]
Action = Literal["keep", "flag", "mask", "swap", "quarantine", "drop"]
Channel = Literal["answer", "thinking", "tool"]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, so that a typo is an error and not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind not in (bool, Any):
            raise ValueError(
                f"{str(value).lower()} is no value for it; YAML reads yes, no, on and off as true and false"
            )
        return value


class Level(Strict):
    """The share of clean rows one accepts to lose, and the confidence with which it holds."""

    max_false_positive_rate: float = Field(0.01, gt=0, lt=1)
    confidence: float = Field(0.95, gt=0, lt=1)


class Scope(Strict):
    """The turns and channels a trait is looked for in; with `opening`, only the first so many characters of each segment.

    A trait of openings that is looked for everywhere is found everywhere: the dense signals mistake the middle of long
    texts for it (docs/quirks.md).
    """

    roles: tuple[str, ...] = Field(("assistant",), min_length=1)
    channels: tuple[Channel, ...] = Field(("answer", "thinking"), min_length=1)
    opening: int | None = Field(None, ge=20)


class ExemplarOptions(Strict):
    """Contrastive nearest neighbours: mean similarity to the nearest positives less that to the nearest negatives."""

    neighbours: int = Field(5, ge=1, le=64)


class HeadOptions(Strict):
    """A small classifier on the encoder's vector."""

    kind: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(32, ge=2, le=1024)


class ClassifierOptions(Strict):
    """A sequence-classification checkpoint; `label` is the name in its configuration whose probability counts."""

    model: str
    label: str
    revision: str | None = None


@lru_cache(4096)
def compile_pattern(pattern: str) -> Any:
    """Compile a case-insensitive RE2 pattern; the same one isn't compiled again.

    Raises: ValueError: It isn't RE2 syntax; back-references and look-around aren't linear-time.
    """
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(
            f"pattern {pattern!r} is not linear-time (RE2) syntax: {reason}"
        ) from error


def check_pattern(pattern: str) -> str:
    """Refuse a pattern that RE2 can't compile or that matches the empty string, alone or at the border of a word."""
    if any(
        not match.group()
        for text in ("", "a b")
        for match in compile_pattern(pattern).finditer(text)
    ):
        raise ValueError(f"pattern {pattern!r} matches the empty string")
    return pattern


class Pattern(Strict):
    """One pattern of a lexicon, case-insensitive; its hits add `weight` each, at most `cap` of them."""

    match: str
    weight: float = Field(1.0, gt=0)
    cap: int = Field(1, ge=1)

    _linear = field_validator("match")(check_pattern)


class LexiconOptions(Strict):
    """Weighted patterns. A hit that is quoted or denied doesn't count, unless the polarity says that it does.

    `scale` turns the summed weight w into a score: 1 - exp(-w / scale). `per_words` divides w by the text's length
    in units of that many words (texts shorter than that count as one unit), for traits that are a matter of density.
    """

    patterns: tuple[Pattern, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    quoted: Literal["ignore", "count"] = "ignore"
    denied: Literal["ignore", "count"] = "ignore"
    scale: float = Field(0.5, gt=0)
    per_words: int | None = Field(None, ge=10)

    @field_validator("patterns", mode="before")
    @classmethod
    def _plain_strings(cls, value: Any) -> Any:
        return (
            tuple({"match": item} if isinstance(item, str) else item for item in value)
            if isinstance(value, list | tuple)
            else value
        )

    @field_validator("unless")
    @classmethod
    def _linear_unless(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_pattern(pattern) for pattern in value)


class RepetitionOptions(Strict):
    """Share of a text that repeats what went directly before; `span` is the number of words looked at at once."""

    span: int = Field(120, ge=20)


class Signals(Strict):
    """The signals of a trait; `None` means that the trait doesn't use it."""

    exemplars: ExemplarOptions | None = None
    head: HeadOptions | None = None
    classifier: ClassifierOptions | None = None
    lexicon: LexiconOptions | None = None
    repetition: RepetitionOptions | None = None

    def names(self) -> tuple[SignalName, ...]:
        """Return the signals in use, in the order of `SIGNALS`."""
        return tuple(name for name in SIGNALS if getattr(self, name) is not None)  # type: ignore[misc]


class SeenIn(Strict):
    """Where a quirk was seen, and the source that says so."""

    where: str
    source: str


class TraitCard(Strict):
    """A trait: all but `id` has defaults, so that a folder with a dozen positives is a working card."""

    id: Slug
    title: str = ""
    description: str = ""
    seen_in: tuple[SeenIn, ...] = ()
    scope: Scope = Scope()
    signals: Signals = Signals(exemplars=ExemplarOptions(), head=HeadOptions())
    action: Action = "quarantine"
    threshold: float | None = Field(None, ge=0, le=1)
    level: Level = Level()
    related: tuple[Slug, ...] = ()
    """Traits whose texts may show this one too; their positives are neither negatives nor clean text for it."""

    @field_validator("signals", mode="before")
    @classmethod
    def _names_or_mapping(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return {name: {} for name in value}
        if isinstance(value, Mapping):
            return {name: {} if options is None else options for name, options in value.items()}
        return value

    @field_validator("seen_in", mode="before")
    @classmethod
    def _plain_places(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str) else value
        return (
            [
                {"where": item, "source": "unstated"} if isinstance(item, str) else item
                for item in items
            ]
            if isinstance(items, list)
            else items
        )

    @model_validator(mode="after")
    def _some_signal(self) -> TraitCard:
        if not self.signals.names():
            raise ValueError(f"signals: name at least one of {', '.join(SIGNALS)}")
        return self
