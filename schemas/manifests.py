"""The manifest: what a run was, what it read, what it wrote. Written last; without it a run directory is unfinished."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from schemas.cards import Strict
from schemas.digests import digest_config
from schemas.receipts import Output

MANIFEST_FORMAT = 3

Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hex."""


class InputFile(Strict):
    """A file that was read. `name` is its path below the inputs' common folder, and what the ledger calls `source`; `uri` where it lay."""

    name: str
    uri: str
    kind: str
    compression: str
    bytes: int
    rows: int
    sha256: str


class SettledThreshold(Strict):
    """A trait's rule as it was applied, with the calibration behind its threshold."""

    trait: str
    signal: str
    action: str
    threshold: float
    origin: Literal["calibrated", "explicit"]
    clean_texts: int
    exceeding: int
    bound: float | None
    max_false_positive_rate: float
    confidence: float
    calibrated_on: str


class Identity(Strict):
    """All that decides a run's bytes, and nothing else: equal identities mean equal outputs."""

    code_version: str
    config_digest: str
    policy_digest: str
    bank_digest: str
    encoder: dict[str, Any] | None
    computed_in: str
    """The models' number type: fp32 and bf16 differ in the scores' last digits."""
    classifiers: dict[str, dict[str, Any]]
    packages: dict[str, str]
    format: str
    columns: dict[str, str]
    inputs: tuple[tuple[str, int, str], ...]
    """Name, rows and SHA-256 of every input."""


class Conservation(Strict):
    """Rows in against rows out, by decision; a run is published only when they are equal."""

    rows_in: int
    by_decision: dict[str, int]

    def holds(self) -> bool:
        """Say whether every row has exactly one decision."""
        return self.rows_in == sum(self.by_decision.values())


class Manifest(Strict):
    """The whole manifest. `circumstances` says when and where, and isn't part of the identity; `digest` covers all the rest."""

    format: int = MANIFEST_FORMAT
    run_id: str
    identity: Identity
    config: dict[str, Any]
    policy: dict[str, Any]
    thresholds: tuple[SettledThreshold, ...]
    inputs: tuple[InputFile, ...]
    outputs: tuple[Output, ...]
    fired: dict[str, int]
    unscored: int = 0
    """Rows without any text that a trait looks at: nothing is known of them."""
    conservation: Conservation
    ledger_root: str
    shards: tuple[tuple[str, Digest], ...]
    """Name and ledger root of every shard, in corpus order; the ledger root is the Merkle root over them."""
    span_floor: float
    """The score from which `spans/` has the spans. Lower thresholds need another run."""
    cards: dict[str, dict[str, Any]]
    """The card of every trait, as it was used."""
    limits: tuple[str, ...]
    """What the run doesn't show, in sentences."""
    parents: tuple[str, ...] = ()
    circumstances: dict[str, Any]
    digest: str = ""

    def sealed(self) -> Manifest:
        """Return the manifest with its digest."""
        return self.model_copy(update={"digest": self.seal()})

    def seal(self) -> str:
        """Digest everything but the digest."""
        return digest_config(self.model_dump(mode="json", exclude={"digest"}))

    def to_bytes(self) -> bytes:
        """Encode as JSON, in the one way in which a manifest is written."""
        return (
            json.dumps(
                self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False
            ).encode()
            + b"\n"
        )
