"""Receipts: the outcome of each shard.

A shard is finished once its receipt and the listed files exist.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from pydantic import Field

from schemas.cards import Strict
from schemas.coverage import TextCounts
from schemas.digests import canonicalise_json, digest_config
from schemas.policies import SEVERITY


class Output(Strict):
    """A file that a run wrote; `path` is relative to the run directory."""

    path: str
    rows: int
    bytes: int
    sha256: str


class NearMisses(Strict):
    """The rows whose scores are closest below a trait's threshold.

    `rows` counts the rows within `NEAR_MISS` of the threshold. `best` is the highest score below
    the threshold, or None if there is no such score.
    """

    rows: int = 0
    best: float | None = None

    def add(self, other: NearMisses) -> NearMisses:
        """Combine the near misses of two sets of rows."""
        scores = [best for best in (self.best, other.best) if best is not None]
        return NearMisses(rows=self.rows + other.rows, best=max(scores, default=None))


class ActionChange(Strict):
    """How many rows had their strongest action changed from `before` to `after` by an exception."""

    before: str
    after: str
    rows: int


class ExceptionEffect(Strict):
    """What one exception of the policy did to the rows in its lots.

    `rows` counts those that could be read. `overruled` counts the rows on which the exception
    changed a trait's action, but another trait's action is stronger.
    """

    rows: int = 0
    changed: tuple[ActionChange, ...] = ()
    overruled: int = 0

    def describe(self) -> str:
        """Describe the changed rows in one line, such as `3 from quarantine to flag`."""
        parts = [f"{item.rows:,} from {item.before} to {item.after}" for item in self.changed]
        if self.overruled:
            parts.append(f"{self.overruled:,} unchanged, because another trait decides")
        return ", ".join(parts) or "none"

    def add(self, other: ExceptionEffect) -> ExceptionEffect:
        """Return the effect on two sets of rows together."""
        sums = Counter[tuple[str, str]]()
        for item in (*self.changed, *other.changed):
            sums[item.before, item.after] += item.rows
        order = sorted(sums, key=lambda pair: tuple(map(SEVERITY.index, pair)))
        return ExceptionEffect(
            rows=self.rows + other.rows,
            changed=tuple(
                ActionChange(before=before, after=after, rows=sums[before, after])
                for before, after in order
            ),
            overruled=self.overruled + other.overruled,
        )


class NearestExemplars(Strict):
    """What the quarantined rows with a trait's finding are nearest to among its exemplars.

    `rows` counts the rows that were compared with exemplars. `negative` counts those of them whose
    nearest exemplar is a negative.
    """

    rows: int = 0
    negative: int = 0

    def add(self, other: NearestExemplars) -> NearestExemplars:
        """Return the counts of two sets of rows together."""
        return NearestExemplars(
            rows=self.rows + other.rows, negative=self.negative + other.negative
        )


class NoteCounts(Strict):
    """How many rows of `clean/` carry masks or flags in their field `congener`.

    `masked` counts the rows with masks. `flagged` counts the other rows whose note says `flag`.
    `masked_before` and `flagged_before` are those of them that only an earlier run masked or
    flagged. `still_masked` counts the rows that this run only flags and an earlier run masked.
    """

    masked: int = 0
    masked_before: int = 0
    flagged: int = 0
    flagged_before: int = 0
    still_masked: int = 0

    def add(self, other: NoteCounts) -> NoteCounts:
        """Return the counts of two sets of rows together."""
        sums = Counter(self.model_dump())
        sums.update(other.model_dump())
        return NoteCounts(**sums)


class Receipt(Strict):
    """The decisions on a shard's rows, the files that hold them, and the cost of scoring them."""

    shard: str
    rows: int
    outputs: tuple[Output, ...]
    decisions: dict[str, int]
    fired: dict[str, int]
    """The number of rows on which each trait fired."""
    near: dict[str, NearMisses] = Field(default_factory=dict)
    """The near misses of each trait in trained texts."""
    exceptions: tuple[ExceptionEffect, ...] = ()
    """The effect of each exception of the policy, in the policy's order."""
    ledger_root: str
    tokens: int
    """The number of tokens that went through a model, without padding."""
    padded: int
    """The number of tokens that went through a model, with padding."""
    run: str = ""
    budget_cuts: int = 0
    """How often batches were made smaller because memory ran out."""
    unscored: int = 0
    """Rows without text in any trait's scope."""
    unprompted: int = 0
    """Swapped rows that aren't on the swap list, because they have no prompt."""
    incomplete: int = 0
    """Prompts on the swap list that lack a part, such as an image."""
    texts: TextCounts = TextCounts()
    nearest: dict[str, NearestExemplars] = Field(default_factory=dict)
    """For each trait, the nearest exemplars of its quarantined rows."""
    notes: NoteCounts = NoteCounts()
    """The clean rows that carry masks or flags, of this run and of earlier ones."""

    def to_bytes(self) -> bytes:
        """Encode the receipt as JSON, with its own digest."""
        value = self.model_dump(mode="json")
        return canonicalise_json(value | {"digest": digest_config(value)})


def parse_receipt(data: bytes) -> Receipt:
    """Decode a receipt.

    Raises: ValueError: the bytes aren't a receipt, or don't match the digest that they contain.
    """
    try:
        value: dict[str, Any] = dict(json.loads(data))
        if value.pop("digest", None) == digest_config(value):
            return Receipt.model_validate(value)
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError("its receipt is damaged")
