"""The configuration of a filter run: one model for the command line and the YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from classifiers.library import read_yaml
from schemas.cards import SignalName, Strict
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS
from schemas.errors import CardError
from schemas.policies import Policy

if TYPE_CHECKING:
    from classifiers.models.encoders import EncoderConfig


class EncoderSettings(Strict):
    """Which encoder, and how it cuts text."""

    model: str = DEFAULT_ENCODER
    revision: str | None = None
    window_tokens: int = Field(WINDOW_TOKENS, ge=8)
    window_overlap: int = Field(WINDOW_OVERLAP, ge=0)


class Hardware(Strict):
    """Where the models run. Of a run's identity only the number type that the precision settles is a part."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    token_budget: int | None = Field(None, ge=1)


class Engine(Strict):
    """What runs the pipeline. No part of a run's identity: the bytes are the same on every engine."""

    runner: Literal["local", "flink", "dataflow"] = "local"
    workers: int | None = Field(None, ge=1)
    """Processes (local), parallel tasks (flink) or machines (dataflow, which needs it); without it one, and two."""
    accelerator: str | None = None
    """The GPU of the machines that score (dataflow): `type:nvidia-l4;count:1;install-nvidia-driver`."""
    deadline: float | None = Field(None, gt=0)
    """Minutes after which a job on a cluster is cancelled."""
    wait: bool = True
    """Stay until the job has ended, and publish; without it (dataflow), the same command publishes later."""

    @property
    def elsewhere(self) -> bool:
        """Say whether other processes than this one do the work."""
        return self.runner != "local" or (self.workers or 1) > 1


class FilterConfig(Strict):
    """All that `congener filter` can be told; every option of the command line has its place here."""

    input: tuple[str, ...] = ()
    output: str = ""
    traits: tuple[str, ...] = ()
    signals: tuple[SignalName, ...] = ()
    bank: str | None = None
    policy: str | None = None
    background: tuple[str, ...] = ()
    vectors: bool = False
    """Also write every row's vector in float16, for maps, clusters and neighbours later."""
    private_quarantine: bool = False
    """Have quarantine, rejects and swap list, folders and files, for their owner alone; on local disks."""
    corpus: CorpusConfig = CorpusConfig()
    shards: ShardLimits = ShardLimits()
    encoder: EncoderSettings = EncoderSettings()
    hardware: Hardware = Hardware()
    engine: Engine = Engine()

    def on_launcher(self) -> FilterConfig:
        """Return the settings for the process that launches the run: on another engine's machines the device is theirs."""
        if self.engine.runner != "dataflow":
            return self
        return self.model_copy(
            update={"hardware": self.hardware.model_copy(update={"device": "auto"})}
        )

    def encoder_config(self) -> EncoderConfig:
        """Return the encoder and hardware settings as the classifiers want them."""
        from classifiers.models.encoders import (
            EncoderConfig,
        )  # loads torch, which --help can do without

        return EncoderConfig(**self.encoder.model_dump(), **self.hardware.model_dump())

    def placed(self) -> FilterConfig:
        """Return the configuration with local paths that mean the same in workers elsewhere, which start in other folders."""
        if self.engine.runner == "local":
            return self
        return self.model_copy(
            update={"input": tuple(map(absolute, self.input)), "output": absolute(self.output)}
        )

    def identity(self) -> dict[str, object]:
        """Return the part that decides a run's bytes: not where its files lie, nor what it runs on."""
        return self.model_dump(
            mode="json", include={"signals", "corpus", "shards", "encoder", "vectors"}
        )


def absolute(path: str) -> str:
    """Return a local path from the root, a URI as it is."""
    return path if "://" in path else str(Path(path).absolute())


def on_disk(path: str) -> Path:
    """Return a path that must be on this machine's disk.

    Raises: CardError: It is a URI.
    """
    if "://" in path:
        raise CardError(
            "must be on this machine's disk",
            where=path,
            remedy="copy it here: only corpora, backgrounds, banks and runs may be elsewhere",
        )
    return Path(path)


def read_config(path: str | None) -> FilterConfig:
    """Read a configuration file, or return the defaults without one."""
    return read_yaml(on_disk(path), FilterConfig) if path else FilterConfig()


def read_policy(path: str | None) -> Policy:
    """Read a policy file, or return the policy of the cards without one."""
    return read_yaml(on_disk(path), Policy) if path else Policy()
