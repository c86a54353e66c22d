"""Clean text: the rows that a card is trained and calibrated on, and their scoring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.library import LoadedCard, read_background
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError


class CleanRow(NamedTuple):
    """The texts of one clean record.

    `origin` is `background`, `user`, or the trait id of the texts' card. `polarity` is `positive`
    or `negative` for a card's texts, and otherwise `clean`. A card's texts are clean only for other
    traits.
    """

    texts: tuple[str, ...]
    origin: str
    polarity: str

    @property
    def name(self) -> str:
        """Return the name under which a card can leave the row out."""
        return f"{self.origin}/{_digest_row(self)[:12]}"


@dataclass(frozen=True)
class CleanText:
    """Clean text for fitting and calibration. A threshold's guarantee holds for similar text.

    `user` is the user's sample, which serves only for calibration. Without a sample, half of
    `shipped`, chosen by digest, is held out for calibration.
    """

    shipped: tuple[CleanRow, ...]
    user: tuple[CleanRow, ...] = ()
    name: str = "library background"

    @property
    def digest(self) -> str:
        """Return the digest of all texts."""
        return digest_config([self.shipped, self.user])


@dataclass
class _Answers:
    """Texts as assistant answers for the scorer."""

    rows: np.ndarray
    text: pa.LargeStringArray

    def find_in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return all segments if the scope includes the assistant's answers, otherwise none."""
        return (
            np.arange(len(self.rows))
            if "assistant" in roles and "answer" in channels
            else np.empty(0, np.int64)
        )


def collect_background(library: Iterable[LoadedCard]) -> tuple[CleanRow, ...]:
    """Return the clean text that ships with congener.

    It consists of background conversations and of every library trait's exemplars, which are clean
    for other traits.
    """
    rows = [CleanRow(tuple(texts), "background", "clean") for texts in read_background()]
    for card in library:
        rows += [CleanRow((text,), card.id, "negative") for text in card.negatives]
        rows += [CleanRow((text,), card.id, "positive") for text in card.positives]
    return tuple(rows)


def select_suitable(card: LoadedCard, rows: Iterable[CleanRow]) -> list[CleanRow]:
    """Return the rows that are clean text for a trait.

    The trait's own texts, positives of related traits, labelled texts, and texts in `leave_out`
    aren't suitable.
    """
    own = {*card.positives, *card.negatives, *(card.labels.list_texts() if card.labels else ())}
    related = {card.id, *card.card.related}
    left = frozenset(card.card.leave_out)
    return [
        row
        for row in rows
        if not (row.polarity == "positive" and row.origin in related)
        and row.origin != card.id
        and not own.intersection(row.texts)
        and not (left and row.name in left)
    ]


def is_held_out(row: CleanRow) -> bool:
    """Return whether a shipped row is held out for calibration.

    Half of the shipped rows are held out, chosen by digest.
    """
    return int(_digest_row(row)[:8], 16) % 2 == 0


def _digest_row(row: CleanRow) -> str:
    return digest_bytes("\n".join(row.texts).encode("utf-8", "surrogatepass"))


def require_known_texts(card: LoadedCard, shipped: Iterable[CleanRow]) -> None:
    """Check that the library has every text that a card leaves out.

    Raises: CardError: the card names a text that the library doesn't have.
    """
    left = card.card.leave_out
    names = {row.name for row in shipped} if left else set()
    if unknown := [name for name in left if name not in names]:
        raise CardError(
            f"leave_out names {unknown[0]!r}, but the library has no such text",
            where=str(card.folder / "card.yaml"),
            remedy="copy the name from congener fit or congener traits check --bank; to leave out "
            "a text of --background, take it out of that file",
        )


def split_clean_text(card: LoadedCard, clean: CleanText) -> tuple[list[CleanRow], list[CleanRow]]:
    """Return a card's training rows and calibration rows, which are disjoint.

    Rows of the user's sample are left out only if a label says that they show the trait.
    """
    held, labels = list_calibration_rows(clean), card.labels
    if not clean.user:
        held = select_suitable(card, held)
    elif labels:
        held = [row for row in held if not labels.is_shown_by(row.texts)]
    return select_suitable(card, list_training_rows(clean)), held


def list_training_rows(clean: CleanText) -> list[CleanRow]:
    """Return the clean rows on which cards may be trained."""
    return [row for row in clean.shipped if clean.user or not is_held_out(row)]


def list_calibration_rows(clean: CleanText) -> list[CleanRow]:
    """Return the clean rows on which cards may be calibrated."""
    return list(clean.user) or [row for row in clean.shipped if is_held_out(row)]


def present_as_answers(rows: Sequence[CleanRow]) -> _Answers:
    """Return the rows for the scorer, with each nonblank text as an answer."""
    flat = [(row, text) for row, item in enumerate(rows) for text in item.texts if text.strip()]
    return _Answers(
        np.array([row for row, _ in flat], np.int64),
        pa.array([text for _, text in flat], pa.large_string()),
    )
