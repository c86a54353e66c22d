"""Trait cards: what a trait is, where it was seen, and which signals detect it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import re2
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas.scores import round_up_score

SignalName = Literal[
    "exemplars", "head", "wording", "classifier", "lexicon", "repetition", "language"
]
Action = Literal["keep", "flag", "mask", "swap", "quarantine", "drop"]
Channel = Literal["answer", "thinking", "tool"]
Language = Literal["ar", "de", "es", "fr", "hi", "ja", "ko", "pt", "ru", "zh"]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]

Threshold = Annotated[float, AfterValidator(round_up_score)]
"""A score, rounded up to as many decimals as scores have.

Scores are rounded too, so the shown threshold agrees with the decisions.
"""

SIGNALS: tuple[SignalName, ...] = (
    *("exemplars", "head", "wording"),
    *("classifier", "lexicon", "repetition", "language"),
)
"""Every kind of signal, in the order of the score columns."""

DENSE: tuple[SignalName, ...] = ("exemplars", "head")
"""The signals that are computed from the encoder's vectors."""

FITTED: tuple[SignalName, ...] = (*DENSE, "wording")
"""The signals that are fitted on a card's exemplars."""


RESERVED = frozenset(
    (
        *("source", "row", "offset", "error", "raw", "spans", "vector", "combined"),
        *("teacher", "date", "lot", "decision", "reasons", "output"),
        *("trait", "traits", "signal", "score"),
        *("prompt", "request", "complete", "missing"),
    )
)
"""Names that no trait may have, because a run's tables already use them for columns."""


def _refuse_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(
            f"{name!r} is the name of a column in a run's tables, so no trait can have it; "
            f"choose another, such as {name}-trait"
        )
    return name


TraitId = Annotated[Slug, AfterValidator(_refuse_reserved)]


TextName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[0-9a-f]{12}$")]
"""The name of one of the library's texts: where it is from, and the digest of its text."""


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, so that a typo isn't silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic would read true as 1 or 1.0
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind not in (bool, Any):
            raise ValueError(
                f"doesn't take {str(value).lower()}; "
                "YAML reads yes, no, on and off as true and false"
            )
        return value


class Level(Strict):
    """The false positive rate that a threshold must keep to.

    `max_false_positive_rate` is the largest acceptable share of clean rows on which the trait
    fires. With probability `confidence` over the draw of the calibration texts, the true share
    stays below this maximum.
    """

    max_false_positive_rate: float = Field(0.01, gt=0, lt=1)
    confidence: float = Field(0.95, gt=0, lt=1)


class Scope(Strict):
    """The turns and channels that a trait's signals read.

    With `opening`, the signals read only that many characters from the start of each segment, and
    with `closing`, only that many from its end. Set one of them for a trait that appears at the
    start or at the end of texts: without it, the dense signals fire on the middle of long texts
    (docs/quirks.md).
    """

    roles: tuple[str, ...] = Field(("assistant",), min_length=1)
    channels: tuple[Channel, ...] = Field(("answer", "thinking"), min_length=1)
    opening: int | None = Field(None, ge=20)
    closing: int | None = Field(None, ge=20)

    @model_validator(mode="after")
    def _require_one_part(self) -> Scope:
        if self.opening is not None and self.closing is not None:
            raise ValueError(
                "give either opening or closing: a trait reads one part of a text; for both, "
                "write a card for each"
            )
        return self

    @property
    def part(self) -> int:
        """Return how many characters are read: from the end if negative, and all if it is 0."""
        return self.opening or -(self.closing or 0)

    def cut(self, text: str) -> str:
        """Return the part of a text that is read."""
        return text[: self.opening] if self.closing is None else text[-self.closing :]


class ExemplarOptions(Strict):
    """Contrastive nearest-neighbour search among the exemplars.

    A window's score compares its mean similarity to the `neighbours` nearest positives with its
    mean similarity to the nearest negatives.
    """

    neighbours: int = Field(5, ge=1, le=64)


class HeadOptions(Strict):
    """A small classifier on the encoder's vectors.

    `linear` is logistic regression. `mlp` adds one hidden layer of `hidden` units.
    """

    kind: Literal["linear", "mlp"] = "linear"
    hidden: int = Field(32, ge=2, le=1024)


class WordingOptions(Strict):
    """A small classifier on the words of single sentences. It has no options."""


class ClassifierOptions(Strict):
    """A sequence-classification checkpoint. The score is the probability of `label`.

    `model` is a local folder or a model on the hub; the latter needs a full commit hash as
    `revision`.
    """

    model: str
    label: str
    revision: str | None = None


@lru_cache(4096)
def compile_pattern(pattern: str) -> Any:
    """Compile a case-insensitive RE2 pattern. Results are cached.

    Raises: ValueError: the pattern isn't RE2 syntax, which has no back-references or look-around.
    """
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        message = error.args[0] if error.args else ""
        reason = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
        raise ValueError(
            f"pattern {pattern!r} is not linear-time (RE2) syntax: {reason}"
        ) from error


def join_patterns(patterns: Sequence[str]) -> str:
    """Join patterns into one pattern, which matches wherever one of them matches.

    Earlier patterns are tried first.
    """
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def check_pattern(pattern: str) -> str:
    """Return the pattern if it is safe to search with.

    Raises: ValueError: the pattern isn't RE2 syntax, or it matches the empty string in an empty
    text or at a word boundary.
    """
    if any(
        not match.group()
        for text in ("", "a b")
        for match in compile_pattern(pattern).finditer(text)
    ):
        raise ValueError(f"pattern {pattern!r} matches the empty string")
    return pattern


class Pattern(Strict):
    """One case-insensitive lexicon pattern. Each of its first `cap` hits adds `weight`.

    A pattern with a `language` is searched only in texts with a sign of that language. Denials
    don't discount its hits, because only English denials are recognised.
    """

    match: str
    weight: float = Field(1.0, gt=0)
    cap: int = Field(1, ge=1)
    language: Language | None = None

    _check_match = field_validator("match")(check_pattern)


class LexiconOptions(Strict):
    """Weighted patterns, and the rules for which of their hits count.

    A hit inside a match of an `unless` pattern never counts. Quoted hits count only if `quoted` is
    `count`, and denied hits only if `denied` is `count`.

    A text whose hits have the total weight w scores 1 - exp(-w / scale). With `per_words`, w is
    first divided by words / `per_words`, but at least by 1. `most_words` limits the words that
    count here: a long text with as many hits as a short one of `most_words` words scores the same.
    """

    patterns: tuple[Pattern, ...] = Field(min_length=1)
    unless: tuple[str, ...] = ()
    quoted: Literal["ignore", "count"] = "ignore"
    denied: Literal["ignore", "count"] = "ignore"
    scale: float = Field(0.5, gt=0)
    per_words: int | None = Field(None, ge=10)
    most_words: int | None = Field(None, ge=10)

    @field_validator("patterns", mode="before")
    @classmethod
    def _accept_strings(cls, value: Any) -> Any:
        return (
            tuple({"match": item} if isinstance(item, str) else item for item in value)
            if isinstance(value, list | tuple)
            else value
        )

    @field_validator("unless")
    @classmethod
    def _check_unless(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_pattern(pattern) for pattern in value)

    @model_validator(mode="after")
    def _check_lengths(self) -> LexiconOptions:
        if self.most_words is not None and self.most_words < (self.per_words or sys.maxsize):
            raise ValueError("most_words needs per_words, and is at least as large")
        return self

    @model_validator(mode="after")
    def _check_together(self) -> LexiconOptions:
        for name, patterns in (
            ("patterns", tuple(pattern.match for pattern in self.patterns)),
            ("unless", self.unless),
        ):
            try:
                compile_pattern(join_patterns(patterns))
            except ValueError as error:
                reason = str(error).rpartition("syntax: ")[2]
                raise ValueError(
                    f"{name} can't be searched in one pass: {reason}; close every \\Q with \\E, "
                    "and shorten counted repetitions"
                ) from error
        return self


class RepetitionOptions(Strict):
    """Detection of degenerate loops.

    The score is the number of words in the longest loop, divided by `span` or by the number of
    words in the text, whichever is smaller. For a loop whose copies differ a little or are apart,
    it is the number of letters in the third and later copies, at five letters a word.
    """

    span: int = Field(120, ge=20)


class LanguageOptions(Strict):
    """Detection of switches to another language or script, and of garbled text. It has no options.

    What language is right follows from the prompt.
    """


class Signals(Strict):
    """The signals of a trait. A signal that is null isn't used."""

    exemplars: ExemplarOptions | None = None
    head: HeadOptions | None = None
    wording: WordingOptions | None = None
    classifier: ClassifierOptions | None = None
    lexicon: LexiconOptions | None = None
    repetition: RepetitionOptions | None = None
    language: LanguageOptions | None = None

    @property
    def names(self) -> tuple[SignalName, ...]:
        """Return the signals in use, in the order of `SIGNALS`."""
        return tuple(name for name in SIGNALS if getattr(self, name) is not None)


class SeenIn(Strict):
    """A place where a trait was seen, and the source that reports it."""

    where: str
    source: str


class TraitCard(Strict):
    """A trait and how to detect it.

    Every field but `id` has a default, so a folder with a dozen positives is already a working
    trait. `caution` warns of what the trait gets wrong; it is shown beside the rows that it fired
    on. `threshold` overrides the calibrated threshold. `related` lists traits whose texts may
    also show this trait. Their positives aren't used as its negatives or as clean text. `leave_out`
    names library texts that show the trait and aren't used for it.
    """

    id: TraitId
    title: str = ""
    description: str = ""
    caution: str | None = None
    seen_in: tuple[SeenIn, ...] = ()
    scope: Scope = Scope()
    signals: Signals = Signals(
        exemplars=ExemplarOptions(), head=HeadOptions(), wording=WordingOptions()
    )
    action: Action = "quarantine"
    threshold: Threshold | None = Field(None, ge=0, le=1)
    level: Level = Level()
    related: tuple[Slug, ...] = ()
    leave_out: tuple[TextName, ...] = ()

    @field_validator("signals", mode="before")
    @classmethod
    def _accept_names(cls, value: Any) -> Any:
        if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
            return {name: {} for name in value}
        if isinstance(value, Mapping):
            return {name: {} if options is None else options for name, options in value.items()}
        return value

    @field_validator("seen_in", mode="before")
    @classmethod
    def _accept_strings(cls, value: Any) -> Any:
        items = [value] if isinstance(value, str) else value
        return (
            [
                {"where": item, "source": "unstated"} if isinstance(item, str) else item
                for item in items
            ]
            if isinstance(items, list)
            else items
        )

    @property
    def uses_encoder(self) -> bool:
        """Return whether the card has a dense signal, which needs the encoder."""
        return any(name in DENSE for name in self.signals.names)

    @property
    def learns_from_exemplars(self) -> bool:
        """Return whether any signal is fitted on the card's exemplars."""
        return any(name in FITTED for name in self.signals.names)

    def limit_signals(self, signals: Sequence[str]) -> TraitCard:
        """Return the card limited to the given signals."""
        kept = {name: getattr(self.signals, name) if name in signals else None for name in SIGNALS}
        return self.model_copy(update={"signals": Signals(**kept)})

    @model_validator(mode="after")
    def _require_signal(self) -> TraitCard:
        if not self.signals.names:
            raise ValueError(f"signals: name at least one of {', '.join(SIGNALS)}")
        return self
