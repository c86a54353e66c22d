"""Checks of arms that stop a trial before a student is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from classifiers.heredity.arms import Arm, TokenCounter, count_tokens, measure_arm
from schemas.digests import normalise_text
from schemas.errors import TrialError

TOLERANCE = 0.02
"""The largest difference in tokens between an arm and the corpus, as a share of the corpus's."""

TRUNCATED = 0.01
"""The largest share of an arm's examples that may be longer than the student reads.

At 2,048 tokens, one replication cut the longest 12 % of its rows, and traits that show late in an
answer went with them.
"""

SHOWN = 3
"""The number of prompts that an error quotes."""


def check_equal(arms: Sequence[Arm], count: TokenCounter, tolerance: float = TOLERANCE) -> None:
    """Check that every arm has as many rows as the first, and as many tokens within a tolerance.

    Raises: TrialError: an arm differs. It would be trained longer, or on more text.
    """
    sizes = {arm.name: measure_arm(arm, count) for arm in arms}
    first = sizes[arms[0].name]
    for name, size in sizes.items():
        if size.rows != first.rows:
            raise TrialError(
                f"the arm has {size.rows} rows, and {arms[0].name} has {first.rows}",
                where=f"arm {name}",
                remedy="give the trial more unflagged rows, or rows in reserve",
            )
        if abs(size.tokens - first.tokens) > tolerance * first.tokens:
            raise TrialError(
                f"the arm has {size.tokens} tokens, and {arms[0].name} has {first.tokens}, "
                f"which is more than {tolerance:.1%} apart",
                where=f"arm {name}",
                remedy="use donors whose answers are about as long, or raise the tolerance",
            )


def check_prompts(arms: Sequence[Arm], evaluation: Iterable[str]) -> None:
    """Check that no prompt of the evaluation is a prompt in training.

    Prompts are the same if they differ only in case, white space or Unicode form.

    Raises: TrialError: a prompt is in both. A student would recite its training.
    """
    asked = {_canonicalise(prompt): prompt for prompt in evaluation}
    trained = {_canonicalise(item.prompt) for arm in arms for item in arm.examples}
    both = sorted(asked[prompt] for prompt in asked.keys() & trained)
    if both:
        shown = ", ".join(repr(prompt[:60]) for prompt in both[:SHOWN])
        more = f" and {len(both) - SHOWN} more" if len(both) > SHOWN else ""
        raise TrialError(
            f"the evaluation asks prompts that are in training: {shown}{more}",
            remedy="leave them out of the corpus, or ask others",
        )


def measure_truncation(
    arms: Sequence[Arm], count: TokenCounter, longest: int, allowed: float = TRUNCATED
) -> dict[str, float]:
    """Return the share of each arm's examples that have more than `longest` tokens.

    Raises: TrialError: a share is larger than allowed.
    """
    shares = {arm.name: float((count_tokens(arm.examples, count) > longest).mean()) for arm in arms}
    for name, share in shares.items():
        if share > allowed:
            raise TrialError(
                f"{share:.1%} of the examples are longer than the {longest} tokens that the "
                "student reads",
                where=f"arm {name}",
                remedy="let the student read longer texts, or leave long rows out of the corpus",
            )
    return shares


def _canonicalise(prompt: str) -> str:
    """Return a prompt in NFC and lower case, with single spaces."""
    return " ".join(normalise_text(prompt).casefold().split())
