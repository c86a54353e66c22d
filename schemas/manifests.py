"""Manifests: the record of a run's settings, inputs and outputs.

A run writes its manifest last, so a run directory without a manifest is unfinished.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from schemas.canaries import CanaryRecord
from schemas.cards import Strict
from schemas.coverage import Coverage
from schemas.digests import digest_config
from schemas.mixes import MixRecord
from schemas.notices import Notice
from schemas.policies import TAKING_OUT
from schemas.receipts import ExceptionEffect, NearestExemplars, NearMisses, NoteCounts, Output
from schemas.scores import SIDES, Side, name_side, split_side
from schemas.swaps import PARENT_FOLDER, REPLACED, SENTENCES, SwapRecord, count_done

MANIFEST_FORMAT = 7

Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hex."""


class InputFile(Strict):
    """A file of the corpus.

    `name` is the file's path below the inputs' common folder, and the ledger's `source`. `uri` is
    where the run read the file. A limit left out `rows_left_out` rows at the end of the file, which
    `rows` doesn't count; `bytes` and `sha256` are those of the whole file.
    """

    name: str
    uri: str
    kind: str
    compression: str
    bytes: int
    rows: int
    rows_left_out: int = 0
    sha256: str


class SettledThreshold(Strict):
    """A trait's rule in the run, with the calibration of its threshold."""

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
    positives: int = 0
    """How many of the card's positives have held-out scores."""
    positives_found: int = 0
    found_low: float | None = None
    found_high: float | None = None
    median_positive: float | None = None


class Identity(Strict):
    """Everything that determines a run's bytes."""

    code_version: str
    config_digest: str
    policy_digest: str
    bank_digest: str
    encoder: dict[str, Any] | None
    computed_in: str
    """The models' floating-point type. The last digits of scores depend on it."""
    classifiers: dict[str, dict[str, Any]]
    packages: dict[str, str]
    format: str
    columns: dict[str, str]
    transcripts: tuple[str, ...] = ()
    """The columns whose texts are cut into turns."""
    digest_key: str | None = None
    """A digest that identifies the key of the run's digests, or null without a key."""
    dataset_card: dict[str, Any] | None = None
    """The dataset card's configs and split files, or null without a card."""
    inputs: tuple[tuple[str, int, str], ...]
    """Each input's name, number of rows and SHA-256."""


class Conservation(Strict):
    """How many rows were read, and how many got each decision."""

    rows_in: int
    by_decision: dict[str, int]

    def holds(self) -> bool:
        """Return whether every row has exactly one decision."""
        return self.rows_in == sum(self.by_decision.values())


class Manifest(Strict):
    """A run's manifest.

    `circumstances` records when and where the run took place, and doesn't affect the outputs.
    `digest` covers every other field.
    """

    format: int = MANIFEST_FORMAT
    run_id: str
    identity: Identity
    config: dict[str, Any]
    policy: dict[str, Any]
    thresholds: tuple[SettledThreshold, ...]
    inputs: tuple[InputFile, ...]
    outputs: tuple[Output, ...]
    fired: dict[str, int]
    near: dict[str, NearMisses] = Field(default_factory=dict)
    """The near misses of each trait, ignoring exceptions."""
    exceptions: tuple[ExceptionEffect, ...] = ()
    """The effect of each exception of the policy, in the policy's order."""
    unscored: int = 0
    """Rows without text in any trait's scope; they have no score."""
    coverage: Coverage = Coverage()
    conservation: Conservation
    ledger_root: str
    shards: tuple[tuple[str, Digest], ...]
    """The name and the ledger root of every shard, in corpus order.

    `ledger_root` is the Merkle root over these roots.
    """
    span_floor: float
    """The lowest score whose spans are in `spans/`. Lower thresholds need a new run."""
    cards: dict[str, dict[str, Any]]
    """The card of every trait as the run used it."""
    limits: tuple[str, ...]
    """Sentences about what the run can't show."""
    parents: tuple[str, ...] = ()
    nearest: dict[str, NearestExemplars] = Field(default_factory=dict)
    """For each trait, the nearest exemplars of its quarantined rows."""
    notes: NoteCounts = NoteCounts()
    """The clean rows that carry masks or flags, of this run and of earlier ones."""
    swap: SwapRecord | None = None
    """What `congener swap` replaced, or null. Other runs don't have the field."""
    mix: MixRecord | None = None
    """What `congener mix` added, or null. Other runs don't have the field."""
    canaries: CanaryRecord | None = None
    """What became of planted texts, or null. Runs without them don't have the field."""
    withdrawn: str | None = None
    """Why nothing was published, or null. Only `withdrawn.json` gives a reason."""
    circumstances: dict[str, Any]
    digest: str = ""

    @model_serializer(mode="wrap")
    def _leave_out_remedies(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the fields of remedies and canaries out of the manifests of runs without them."""
        found: dict[str, Any] = write(self)
        for name in ("swap", "mix", "canaries"):
            if getattr(self, name) is None:
                found.pop(name, None)
        return found

    @property
    def added(self) -> int:
        """Return the number of donors' rows that were added to the corpus."""
        return 0 if self.mix is None else self.mix.counts.added

    def is_own(self, record: SwapRecord | MixRecord) -> bool:
        """Return whether a swap or a mix made this run, and not one of its ancestors."""
        return self.parents[:1] == (record.parent,)

    def find_swap_run(self) -> str | None:
        """Return the id of the run that the recorded swap made, or None without a swap.

        It is this run, or else the run that a mix changed afterwards.
        """
        if self.swap is None:
            return None
        is_later = self.mix is not None and not self.is_own(self.swap)
        return self.mix.parent if self.mix is not None and is_later else self.run_id

    def describe_finish(self) -> str | None:
        """Return the date and the time (UTC) at which the run ended, or None if it isn't known."""
        try:
            ended = dt.datetime.fromisoformat(str(self.circumstances.get("finished")))
            ended = ended if ended.tzinfo else ended.replace(tzinfo=dt.UTC)
            return f"{ended.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
        except (ValueError, OverflowError):
            return None

    def describe_decided_from(self) -> str | None:
        """Return the id and the folder, if known, of the run that was decided again, if any."""
        run, folder = (self.circumstances.get(name) for name in ("decided_from", PARENT_FOLDER))
        if not run:
            return None
        return f"{run}, in {folder}" if folder else str(run)

    def list_notices(self) -> list[Notice]:
        """Return what the run said while it worked, except what quotes text."""
        said = self.circumstances.get("notices")
        known = [item for item in said if isinstance(item, dict)] if isinstance(said, list) else []
        return [_read_notice(item) for item in known]

    def list_remarks(self) -> dict[str, list[str]]:
        """Return what the run's notices say about single traits, by trait."""
        found: dict[str, list[str]] = {}
        for notice in self.list_notices():
            for trait, remark in notice.remarks:
                found.setdefault(trait, []).append(remark)
        return found

    def list_found_sides(self) -> tuple[Side, ...]:
        """Return `trained` and every other side on which some trait fired."""
        found = {split_side(name)[1] for name in self.fired}
        return tuple(side for side in SIDES if side == "trained" or side in found)

    def count_fired(self, trait: str, side: Side = "trained") -> int:
        """Return the number of rows in which a trait fired on one side."""
        return self.fired.get(name_side(trait, side), 0)

    def count_named(self, trait: str) -> int:
        """Return the number of rows that exceptions for a trait take out by name.

        No score led to these findings.
        """
        pairs = zip(self.policy.get("exceptions", ()), self.exceptions, strict=False)
        return sum(
            change.rows
            for item, effect in pairs
            for change in effect.changed
            if item["trait"] == trait
            and item.get("row")
            and item.get("side", "trained") == "trained"
            and item.get("action") in TAKING_OUT
            and change.before == "keep"
        )

    def describe_parents(self) -> str:
        """Return a phrase for the runs whose flags and masks the input carries."""
        if len(self.parents) == 1:
            return f"run {self.parents[0]}"
        return "earlier runs" if self.parents else "an earlier run"

    def count_signalled(self, trait: str) -> int:
        """Return the number of rows in whose trained text a signal of a trait fired.

        Rows that only a person took out aren't among them.
        """
        return self.count_fired(trait) - self.count_named(trait)

    def may_be_noise(self, rule: SettledThreshold) -> bool:
        """Return whether a trait fired on no more rows than its bound allows among clean ones.

        Rows whose answer was replaced because of the trait count too. If exceptions keep all rows,
        nothing is left that may be noise.
        """
        swapped = self.swap.counts.by_trait.get(rule.trait, {}) if self.swap else {}
        replaced = count_done(swapped, REPLACED, SENTENCES)
        if not replaced and self.are_denied(rule.trait):
            return False
        found = self.count_signalled(rule.trait)
        return 0 < found + replaced <= self.expect_noise(rule)

    def are_denied(self, trait: str) -> bool:
        """Return whether exceptions keep every row on which a trait fired, and it fired on some.

        False if the counts of the policy's exceptions don't show it: if an exception isn't about
        this trait alone or does something else, or if the trait fired on another side too.
        """
        pairs = zip(self.policy.get("exceptions", ()), self.exceptions, strict=False)
        own = [(item, effect) for item, effect in pairs if item["trait"] in (trait, "*")]
        others = sum(self.count_fired(trait, side) for side in SIDES if side != "trained")
        plain = {"trait": trait, "action": "keep", "threshold": None, "side": "trained"}
        if others or any({**plain, **item} != {**item, **plain} for item, _ in own):
            return False
        kept = sum(
            effect.overruled + sum(change.rows for change in effect.changed) for _, effect in own
        )
        return 0 < self.count_fired(trait) <= kept

    def expect_noise(self, rule: SettledThreshold) -> float:
        """Return the number of rows that a trait's bound allows if all are clean, or 0."""
        rows = self.conservation.rows_in - self.conservation.by_decision.get("reject", 0)
        return (rule.bound or 0) * rows

    def seal(self) -> Manifest:
        """Return the manifest with its digest."""
        return self.model_copy(update={"digest": self.compute_digest()})

    def compute_digest(self) -> str:
        """Return the digest of every field but `digest`."""
        return digest_config(self.model_dump(mode="json", exclude={"digest"}))

    def to_bytes(self) -> bytes:
        """Encode the manifest as the JSON that the run directory stores."""
        return (
            json.dumps(
                self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False
            ).encode()
            + b"\n"
        )


def _read_notice(recorded: dict[str, Any]) -> Notice:
    """Return a recorded notice; what isn't of the right type counts as missing."""
    remarks = recorded.get("traits")
    own = remarks.items() if isinstance(remarks, dict) else ()
    return Notice(
        str(recorded.get("text")),
        "warning" if recorded.get("severity") == "warning" else "info",
        about=str(recorded.get("about") or ""),
        remarks=tuple((str(trait), str(remark)) for trait, remark in own),
    )
