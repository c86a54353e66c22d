"""How often the library's traits were right in real answers that people read.

The numbers are those of docs/quirks.md, and belong to the cards as they are shipped.
"""

from __future__ import annotations

from typing import NamedTuple

from classifiers.library import LIBRARY, find_cards
from schemas.cards import TraitCard
from schemas.manifests import Manifest


class ReadFlags(NamedTuple):
    """How many flags of a trait were right, of those that were read.

    `elsewhere` has the right ones and all in more answers, and the number of these answers.
    """

    right: int
    flags: int
    elsewhere: tuple[int, int, int] | None = None


SAMPLE = " in 1,000 other real answers"

READ = {
    "ai-disclaimer": ReadFlags(21, 25),
    "degenerate-loop": ReadFlags(9, 9),
    "human-claim": ReadFlags(2, 3),
    "knowledge-cutoff": ReadFlags(7, 7),
    "language-switch": ReadFlags(21, 21),
    "over-refusal": ReadFlags(4, 5, (17, 75, 20_101)),
    "pipeline-leak": ReadFlags(13, 13),
    "sycophantic-opening": ReadFlags(3, 3, (141, 152, 20_122)),
    "turn-leak": ReadFlags(4, 4),
    "vendor-identity": ReadFlags(1, 1, (40, 40, 20_122)),
    "vendor-phrasing": ReadFlags(20, 22),
}
"""The flags in 1,000 real answers of 50 models. For a trait that isn't here, its card's caution has
the numbers.
"""


def describe_library_precision(trait: str, manifest: Manifest) -> str:
    """Say how many of a library trait's flags were right elsewhere, or nothing if it isn't known.

    Nothing is known of a card that isn't exactly the library's.
    """
    found = READ.get(trait)
    if found is None or not _is_shipped(trait, manifest):
        return ""
    said = f"{found.right} of {found.flags} right{SAMPLE}"
    if found.elsewhere is None:
        return said
    right, flags, answers = found.elsewhere
    return f"{said}, {right} of {flags} in {answers:,} further ones"


def _is_shipped(trait: str, manifest: Manifest) -> bool:
    """Return whether a run used the card of the library."""
    (shipped,) = find_cards([str(LIBRARY / trait)])
    return TraitCard.model_validate(manifest.cards.get(trait, {"id": trait})) == shipped.card
