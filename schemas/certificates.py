"""Certificates: the sample that an audit drew, and what its labels state about a run.

Both are JSON in the run's folder `certificate/`, sealed with digests. Beside them is the history of
all statements, in which each line holds the digest of the one before.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, model_serializer

from schemas.cards import Strict
from schemas.digests import digest_config
from schemas.shares import count_within

CERTIFICATE_FORMAT = 1

Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 in hex."""

Kind = Literal["kept", "removed", "seeded"]
"""What an item is: a row in `clean/`, a row in `quarantine/`, or a text that shows a trait."""

TOGETHER = "*"
"""The name of all traits of an audit together, where traits are counted."""

COVERT = (
    "Raters and the filter judge single rows that they can see. Covert transfer isn't excluded: a "
    "student can inherit a trait from rows that look clean."
)
"""The sentence that every certificate has."""

MASKS_COUNT_AS_REMOVED = (
    "Masked text counts as removed, provided that the trainer leaves it out of the loss, as "
    "`congener apply-masks` does."
)
"""What the bound says about masked passages, which raters see struck out."""


class GrownRecord(Strict):
    """A record that has got further fields since its format was settled.

    `LATER` names them. At its default, such a field isn't written, so the bytes and the digests of
    earlier records stay as they were.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        known = type(self).model_fields
        unused = {name for name in self.LATER if getattr(self, name) == known[name].default}
        return {name: value for name, value in fields.items() if name not in unused}


class SealedRecord(GrownRecord):
    """A record that holds its own digest, over every other field."""

    digest: str = ""

    def seal(self) -> Self:
        """Return the record with its digest."""
        return self.model_copy(update={"digest": self.compute_digest()})

    def compute_digest(self) -> str:
        """Return the digest of every field but `digest`."""
        return digest_config(self.model_dump(mode="json", exclude={"digest"}))

    def to_bytes(self) -> bytes:
        """Encode the record as JSON."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class AuditItem(GrownRecord):
    """One thing to read, under a name that says nothing about it.

    A row has its place in the ledger, the traits that fired on it, the weight with which it was
    drawn, and the largest weight that the draw could have had. A removed row also has the traits
    whose action removed it. A seeded text has its trait and the digest of its text.
    """

    LATER = frozenset({"removed_by"})

    id: str
    kind: Kind
    source: str | None = None
    row: int | None = None
    fired: tuple[str, ...] = ()
    weight: float = 1.0
    cap: float = 1.0
    trait: str | None = None
    text: Digest | None = None
    removed_by: tuple[str, ...] = ()


class AuditStratum(Strict):
    """Kept rows of one lot and one band of scores, and the chance of drawing one of them.

    `band` counts bands from the lowest scores; `share` is the chance while all strata have rows.
    """

    lot: str
    band: int
    rows: int
    share: float


class AuditBlock(Strict):
    """How many rows of each kind were drawn at once. A larger audit adds blocks."""

    kept: int
    removed: int
    seeded: int


class SeededText(Strict):
    """A text with a trait, by its digest, that was mixed in blind; `has_prompt` if it had one."""

    trait: str
    text: Digest
    has_prompt: bool


class AuditSample(SealedRecord):
    """The rows that an audit reads, in the order of reading, and everything that determined them.

    `excluded` names rows that weren't drawn, because their labels helped to set a threshold; they
    aren't part of what the audit states. `unread` counts removed rows that the run doesn't hold.

    `removed_by` counts the removed rows by the traits whose action removed them, and `masked_by`
    the kept rows by the traits that masked a passage. They are None in a sample from before, of
    which raters read masked passages like any other text.
    """

    LATER = frozenset({"removed_by", "masked_by"})

    format: int = CERTIFICATE_FORMAT
    run_id: str
    manifest: Digest
    traits: tuple[str, ...]
    seed: str
    risk: float = Field(gt=0, lt=1)
    at_most: float | None = Field(None, gt=0, lt=1)
    """The largest share of kept rows with the trait that is to be certified, set beforehand."""
    kept: int
    removed: int
    unread: int
    fired_kept: dict[str, int]
    """The kept rows on which each trait fired; under `TOGETHER`, those on which any of them did."""
    fired_removed: dict[str, int]
    removed_by: dict[str, int] | None = None
    masked_by: dict[str, int] | None = None
    strata: tuple[AuditStratum, ...]
    excluded: tuple[tuple[str, int], ...] = ()
    pool: tuple[SeededText, ...] = ()
    blocks: tuple[AuditBlock, ...]
    items: tuple[AuditItem, ...]

    @property
    def shows_prompts(self) -> bool:
        """Return whether readers see prompts: only if no seeded text would stand out without."""
        return all(text.has_prompt for text in self.pool)

    def describe_bare_texts(self) -> str:
        """Name the seeded texts that have no prompt, by their traits if others have one."""
        bare = sorted({text.trait for text in self.pool if not text.has_prompt})
        own = len(bare) == len({text.trait for text in self.pool})
        return "the seeded texts" if own else f"the seeded texts of {', '.join(bare)}"

    def find_part(self, digest: str) -> AuditSample | None:
        """Return the sample as it was when it had this digest, before rows were added to it.

        A larger draw adds blocks and items, and changes nothing before them.
        """
        for blocks in range(len(self.blocks), 0, -1):
            own = self.blocks[:blocks]
            size = sum(block.kept + block.removed + block.seeded for block in own)
            part = self.model_copy(update={"blocks": own, "items": self.items[:size]}).seal()
            if part.digest == digest:
                return part
        return None

    @property
    def origin(self) -> str:
        """Return a digest of everything that determined the first items.

        It stays the same when rows are added, and a new draw has another.
        """
        fields = self.model_dump(
            mode="json", include={"manifest", "traits", "seed", "excluded", "pool"}
        )
        return digest_config({**fields, "block": self.blocks[0].model_dump()})


class CarriedRows(GrownRecord):
    """The rows behind a bound that was carried over from another run.

    Of the other run's `rows`, at most `seen` count towards the share as raters see it, and at most
    `most` adjusted for what they miss; it is None without seeded texts. `added` rows of this run
    weren't among them. People read some rows one by one: `gone` counted and aren't among this run's
    any more, `ruled_out` are among both runs' and don't count, and `added_ruled_out` are added and
    don't count, and `added_shown` are added and do, or are in doubt. In records from before these
    fields, none is known.
    """

    LATER = frozenset({"gone", "ruled_out", "added_ruled_out", "added_shown"})

    rows: int
    seen: int
    most: int | None = None
    added: int
    gone: int = 0
    ruled_out: int = 0
    added_ruled_out: int = 0
    added_shown: int = 0

    @property
    def decisive(self) -> int:
        """Return the number that counts: the adjusted one, if there is one."""
        return self.seen if self.most is None else self.most

    @property
    def new(self) -> int:
        """Return how many added rows count as raters see them: all that they didn't rule out."""
        return self.added - self.added_ruled_out

    def count_shared(self, rows: int) -> int:
        """Bound the rows among both runs' that count as raters see them; this run has `rows`."""
        return min(self.seen - self.gone, rows - self.added - self.ruled_out)

    def count_seen(self, rows: int) -> int:
        """Bound the rows of this run that count as raters see them."""
        return self.count_shared(rows) + self.new

    def count_adjusted(self, rows: int) -> int | None:
        """Bound the rows of this run that count, seen by raters or missed by them."""
        if self.most is None:
            return None
        return min(self.most - self.gone, rows - self.added) + self.added


class ShareBound(GrownRecord):
    """An upper bound on a share, after `read` of the rows, `counted` of which counted towards it.

    `unsure` of the counted rows were doubtful: a rater was unsure, or raters differed. `bound` is
    about what raters see, and `adjusted` about the trait itself; it is None without seeded texts.
    With `carried`, people read rows of another run: `read`, `counted`, `unsure` and `estimate` are
    about that run's rows, and `rows`, `bound` and `adjusted` about this run's.
    """

    LATER = frozenset({"carried"})

    rows: int
    read: int
    counted: int
    unsure: int
    estimate: float
    bound: float
    adjusted: float | None = None
    carried: CarriedRows | None = None

    @property
    def decisive(self) -> float:
        """Return the bound that counts: the adjusted one, if there is one."""
        return self.bound if self.adjusted is None else self.adjusted

    @property
    def most(self) -> int:
        """Return the largest number of rows within the bound on what raters see."""
        return count_within(self.rows, self.bound)

    def describe_counted(self, word: str) -> str:
        """Say how many rows raters called so, and how many count as such because of doubt."""
        sure = f"{self.counted - self.unsure:,} {word}"
        return f"{sure}, {self.unsure:,} unsure (counted as {word})" if self.unsure else sure


class Sensitivity(Strict):
    """How many seeded texts raters found, and the lower bound on the share that they find."""

    read: int
    found: int
    lowest: float


class ShareEstimate(Strict):
    """A share and its interval."""

    estimate: float
    low: float
    high: float


class Prevalences(Strict):
    """The share of rows with a trait, estimated in three ways.

    `rogan_gladen` corrects the filter's own findings by its errors on the card's positives and on
    clean texts. `predictions` corrects them by what raters read. Both intervals hold for one look;
    they are None if the data doesn't allow them. `audit` is from the raters' answers alone, and
    holds at every moment. Before the filter, the last two are None for a trait whose action masked
    passages, because raters didn't see them.
    """

    rogan_gladen: ShareEstimate | None
    predictions: ShareEstimate | None
    audit: ShareEstimate | None


class Agreement(Strict):
    """How raters agree on the items that several of them labelled. Yes, no and unsure are labels.

    `kappa` is Cohen's for two raters, and Fleiss' for more if each of them labelled every such
    item. `alpha` is Krippendorff's. They are None if they aren't defined.
    """

    raters: tuple[str, ...]
    items: int
    kappa: float | None
    alpha: float | None


class ReadPoint(Strict):
    """The bounds after so many kept rows."""

    read: int
    bound: float
    adjusted: float | None


MOST_STATED = 0.5
"""The largest adjusted bound that is shown for one of several traits."""

LEAST_SHARE = 0.00005
"""The smallest share that isn't shown as 0.00 %."""


class TraitStatement(Strict):
    """What the audit states about one trait, or about all of its traits together (None).

    The shares `before` and `after` the filter are None if the statement was carried over.
    """

    trait: str | None
    residual: ShareBound
    sensitivity: Sensitivity | None
    clean_removed: ShareBound
    before: Prevalences | None
    after: Prevalences | None
    agreement: Agreement | None
    curve: tuple[ReadPoint, ...]

    @property
    def decisive(self) -> float:
        """Return the bound that counts: the adjusted one, if there is one."""
        return self.residual.decisive

    @property
    def is_bounded(self) -> bool:
        """Return whether enough was read for an adjusted bound that says something."""
        return self.residual.adjusted is None or self.residual.adjusted <= MOST_STATED

    @property
    def is_hidden(self) -> bool:
        """Return whether labels give no share before the filter, because of masked passages."""
        return self.before is not None and self.before.audit is None

    @property
    def is_empty(self) -> bool:
        """Return whether every estimate of the trait's share is known and rounds to 0.00 %.

        A share that labels can't give, because raters didn't see masked text, isn't known.
        """
        if self.is_hidden:
            return False
        found = (
            getattr(part, name)
            for part in (self.before, self.after)
            if part is not None
            for name in ("rogan_gladen", "predictions", "audit")
        )
        return all(item is None or item.estimate < LEAST_SHARE for item in found)


class CarriedFrom(Strict):
    """The run whose certificate was carried over, and what was stated about it.

    `folder` is where that run was. `certificate` and `statement` are the digests of its certificate
    and of its last line in the history. `number` counts the statements about that run so far, and
    the first of them said `first`.
    """

    folder: str
    run_id: str
    manifest: Digest
    certificate: Digest
    statement: Digest
    number: int = Field(ge=1)
    first: float


class Certificate(SealedRecord):
    """What an audit states about a run, with digests of everything behind it.

    `masked` counts the kept rows with masked passages, which raters saw struck out
    (`MASKS_COUNT_AS_REMOVED`). It is None if they read masked passages like any other text.
    `unread` counts dropped rows whose text the run doesn't hold. The shares before the filter leave
    them out. With `carried`, nobody read rows of this run: the sample and the labels are those of
    another run of the same rows.
    """

    LATER = frozenset({"masked", "unread", "carried"})

    format: int = CERTIFICATE_FORMAT
    code: str
    run_id: str
    manifest: Digest
    sample: Digest
    labels: Digest
    risk: float
    at_most: float | None
    raters: tuple[str, ...]
    masked: int | None = None
    together: TraitStatement
    traits: tuple[TraitStatement, ...]
    limits: tuple[str, ...]
    unread: int = 0
    carried: CarriedFrom | None = None

    @property
    def reading(self) -> str:
        """Return the sentence about masked text, or an empty text if no kept row has any."""
        return MASKS_COUNT_AS_REMOVED if self.masked else ""

    @property
    def met(self) -> bool | None:
        """Return whether the bound for all traits together is at most `at_most`, if it is set."""
        return None if self.at_most is None else self.together.decisive <= self.at_most


class PastStatement(SealedRecord):
    """A statement as a line of a run's history: who made it when, and what it said.

    `bound` is the decisive one for all traits together. `labels` and `certificate` are digests.
    `previous` is the digest of the line before, or None in the first line. `date` is None for a
    certificate that was found without a line of its own. For a certificate that was carried over,
    `carried` is the digest of the other run's statement, and `added` counts the rows that it hadn't
    kept; `read` and `counted` are about that run's rows.
    """

    LATER = frozenset({"carried", "added"})

    number: int = Field(ge=1)
    date: str | None
    operator: str | None
    raters: tuple[str, ...]
    traits: tuple[str, ...]
    rows: int
    read: int
    counted: int
    bound: float
    risk: float
    at_most: float | None
    manifest: Digest
    sample: Digest
    labels: Digest
    certificate: Digest
    previous: Digest | None
    carried: Digest | None = None
    added: int | None = None

    def to_line(self) -> bytes:
        """Encode the statement as a line of JSON."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n"
