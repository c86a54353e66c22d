"""The configuration of a filter run: one model for the command line and the YAML file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from classifiers.library import read_text_file, read_yaml
from classifiers.models.interface import EncoderConfig
from pipelines.engines.interface import Engine
from schemas.cards import SignalName, Strict, Threshold, TraitCard
from schemas.corpora import CorpusConfig, OutputFormat, ShardLimits
from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS
from schemas.errors import CardError
from schemas.policies import Policy
from schemas.scores import DEFAULT_SPAN_FLOOR
from transforms.files.locations import UNUSABLE_REMEDY, describe_unusable, expand_home, expand_input

M = TypeVar("M", bound=BaseModel)

OWN_CORPUS = "corpus"
"""The background that is a sample of the input itself. A path of that name is `./corpus`."""


class EncoderSettings(Strict):
    """The encoder and its windows."""

    model: str = DEFAULT_ENCODER
    revision: str | None = None
    window_tokens: int = Field(WINDOW_TOKENS, ge=8)
    window_overlap: int = Field(WINDOW_OVERLAP, ge=0)

    @field_validator("model")
    @classmethod
    def _expand_model(cls, model: str) -> str:
        return expand_home(model)


class Hardware(Strict):
    """The models' device.

    Only the floating-point type of `precision` is part of a run's identity.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    token_budget: int | None = Field(None, ge=1)


class FilterConfig(Strict):
    """The settings of `congener filter`. Every option is a field here."""

    input: tuple[str, ...] = ()
    output: str = ""
    traits: tuple[str, ...] = ()
    signals: tuple[SignalName, ...] = ()
    bank: str | None = None
    policy: str | None = None
    limit: int | None = Field(None, ge=1)
    """How many rows are filtered, the first of each file; by default, all of them."""
    background: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Files of labels, with which the cards are fitted and measured."""
    labels_on: tuple[str, ...] = ()
    """The corpus with the labelled rows, by default the input."""
    labels_run: str | None = None
    """A finished run with the labelled rows, instead of a corpus."""
    accept_definition: bool = False
    """Whether labels count that were given by another title or description of a card."""
    vectors: bool = False
    """Whether to write each row's vector in float16, for maps, clustering or search."""
    span_floor: Threshold = Field(DEFAULT_SPAN_FLOOR, ge=0, le=1)
    """The lowest score whose spans are stored, unless a threshold is even lower."""
    output_format: OutputFormat = "input"
    """The file format of `clean/` and `quarantine/`, by default the input's format."""
    canaries: str | None = None
    """A file of texts that show traits, which are planted to measure how many the run finds.

    `heldout` stands for the held-out texts in the cards' folders, and `heldout:20` for 20 of each.
    """
    canary_floor: float | None = Field(None, ge=0, le=1)
    """The least share of each trait's canaries that a run must find to be published."""
    keep_list: str | None = None
    """A file of texts that the run must keep."""
    keep_list_budget: float | None = Field(None, ge=0, le=1)
    """The largest share of the keep-list that a run may remove to be published."""
    operator: str | None = None
    """The person responsible for the run, by default the user of the process."""
    private_quarantine: bool = False
    """Whether only the owner may read removed text (local disks only)."""
    teacher_answers: tuple[str, ...] = ()
    """The answers of known teachers, with which the text of every lot is compared."""
    digest_key: str | None = None
    """The file or environment variable (`env:NAME`) with the key of the ledger's digests."""
    corpus: CorpusConfig = CorpusConfig()
    shards: ShardLimits = ShardLimits()
    encoder: EncoderSettings = EncoderSettings()
    hardware: Hardware = Hardware()
    engine: Engine = Engine()
    _policy: Policy | None = PrivateAttr(None)

    @field_validator("input", "background", "labels_on")
    @classmethod
    def _expand_inputs(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(expand_input(path) for path in paths)

    @field_validator("background")
    @classmethod
    def _keep_apart(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if OWN_CORPUS in paths and len(paths) > 1:
            raise ValueError(
                f"{OWN_CORPUS!r}, a sample of the input itself, can't be combined with files"
            )
        return paths

    @property
    def calibrates_on_input(self) -> bool:
        """Return whether thresholds are calibrated on a sample of the input itself."""
        return self.background == (OWN_CORPUS,)

    @property
    def background_files(self) -> tuple[str, ...]:
        """Return the paths of the clean sample's files."""
        return () if self.calibrates_on_input else self.background

    @field_validator("labels", mode="before")
    @classmethod
    def _accept_one(cls, value: object) -> object:
        """Take one file without a list around it, as configurations from before name it."""
        return (value,) if isinstance(value, str) else () if value is None else value

    @field_validator("traits", "labels")
    @classmethod
    def _expand_paths(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(expand_home(path) for path in paths)

    @field_validator("output", "bank", "policy", "labels_run", "digest_key")
    @classmethod
    def _expand_home(cls, path: str | None) -> str | None:
        return path and expand_home(path)

    @model_validator(mode="after")
    def _require_usable_texts(self) -> FilterConfig:
        for path, text in walk_texts(self.model_dump()):
            if problem := describe_unusable(text):
                raise ValueError(f"{path} {text!r} {problem}; {UNUSABLE_REMEDY}")
        return self

    def with_policy(self, policy: Policy) -> FilterConfig:
        """Return the settings with a policy that takes the place of the policy's file."""
        copy = self.model_copy()
        copy._policy = policy  # noqa: SLF001 - a copy of this very object
        return copy

    def load_policy(self) -> Policy:
        """Return the policy that was given in place of a file, or read the file.

        Raises: CardError: the file can't be read, or a field is wrong.
        """
        return self._policy or read_policy(self.policy)

    def for_launcher(self) -> FilterConfig:
        """Return the settings for the launcher.

        On Dataflow, the configured device belongs to the workers, and the launcher may lack it.
        """
        if self.engine.runner != "dataflow":
            return self
        hardware = self.hardware.model_copy(update={"device": "auto"})
        return self.model_copy(update={"hardware": hardware})

    def build_encoder_config(self) -> EncoderConfig:
        """Return the encoder and hardware settings for `classifiers`."""
        return EncoderConfig(**self.encoder.model_dump(), **self.hardware.model_dump())

    def with_absolute_paths(self) -> FilterConfig:
        """Return the configuration with absolute paths if workers may run in other folders."""
        if self.engine.runner == "local":
            return self
        return self.model_copy(
            update={
                "input": tuple(make_absolute(path) for path in self.input),
                "output": make_absolute(self.output),
            }
        )

    def select_identity(self) -> dict[str, object]:
        """Return the settings that affect a run's bytes, without file paths and hardware."""
        return self.model_dump(
            mode="json",
            include={
                "limit",
                "signals",
                "corpus",
                "shards",
                "encoder",
                "vectors",
                "span_floor",
                "output_format",
            },
        )


def walk_texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every string in nested settings."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, below in value.items():
            yield from walk_texts(below, f"{path}.{name}".lstrip("."))
    elif isinstance(value, tuple):
        for below in value:
            yield from walk_texts(below, path)


def make_absolute(path: str) -> str:
    """Make a local path absolute; return a URI unchanged."""
    return path if "://" in path else str(Path(path).absolute())


def require_local_path(path: str) -> Path:
    """Return a path that is on this machine's disk.

    Raises: CardError: the path is a URI.
    """
    if "://" in path:
        raise CardError(
            "must be on this machine's disk",
            where=path,
            remedy="copy it here; only corpora, backgrounds, banks and runs may be on a store",
        )
    return Path(path)


def read_config(path: str | None) -> FilterConfig:
    """Read a configuration file, or return the defaults without a path.

    Raises: CardError: the file can't be read, or a field is wrong.
    """
    return _read_yaml(path, FilterConfig) if path else FilterConfig()


def read_policy(path: str | None) -> Policy:
    """Read a policy file, or return the default policy without a path.

    Raises: CardError: the file can't be read, or a field is wrong.
    """
    return _read_yaml(path, Policy) if path else Policy()


class _AnyFields(BaseModel):
    """The fields of a YAML file of any kind."""

    model_config = ConfigDict(extra="allow")


def _read_yaml(path: str, model: type[M]) -> M:
    """Read a local YAML file, and name its kind if it is a file of another kind.

    Raises: CardError: the file can't be read, or isn't of the right form.
    """
    local = require_local_path(expand_home(path))
    try:
        return read_yaml(local, model)
    except CardError as error:
        for kind, (other, remedy) in KINDS.items():
            if other is not model and _has_form(local, other, model):
                raise CardError(f"is {kind}", where=str(local), remedy=remedy) from error
        raise


def _has_form(path: Path, form: type[BaseModel], instead: type[BaseModel]) -> bool:
    """Return whether a file's fields are those of one form and not of another.

    The field `traits` is in policies and configurations, and is a mapping only in policies.
    """
    try:
        fields = read_yaml(path, _AnyFields).model_extra or {}
    except CardError:
        return False
    if not fields or not set(fields) <= set(form.model_fields):
        return False
    if "traits" in fields and Policy in (form, instead):
        return isinstance(fields["traits"], dict) == (form is Policy)
    return not set(fields) <= set(instead.model_fields)


KINDS: dict[str, tuple[type[BaseModel], str]] = {
    "a policy": (Policy, "give it with --policy"),
    "a configuration": (FilterConfig, "give it with --config"),
    "the card of a trait": (TraitCard, "give the card's folder with --traits"),
}
"""What a YAML file may be that is given in the place of another."""


def is_blank(path: str) -> bool:
    """Return whether a YAML file has nothing but blank lines and comments."""
    lines = read_text_file(require_local_path(expand_home(path))).splitlines()
    return all(line.split("#")[0].strip() in ("", "---") for line in lines)
