"""How often the library's traits were right: the numbers of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from classifiers.library import LIBRARY, find_cards
from pipelines.library_precision import READ, describe_library_precision
from schemas.manifests import Manifest

ROW = re.compile(r"^\| ([a-z-]+) \| (\d+) \| ([\d.]+) \[", re.MULTILINE)
"""A line of the table of real answers: the trait, its flags, and the share that was right."""


def build_manifest(trait: str, **changes: object) -> Manifest:
    """Return a manifest with the card of a library trait, or a changed one."""
    (loaded,) = find_cards([str(LIBRARY / trait)])
    card = loaded.card.model_dump(mode="json", exclude_none=True) | changes
    return Manifest.model_construct(cards={trait: card})


def read_table(root: Path) -> dict[str, tuple[int, float]]:
    """Return the flags and the share of right ones by trait, as the documentation has them."""
    text = (root / "docs" / "quirks.md").read_text(encoding="utf-8")
    section = text.partition("## Real answers")[2].partition("\n## ")[0]
    return {trait: (int(flags), float(share)) for trait, flags, share in ROW.findall(section)}


def test_the_numbers_are_those_of_the_documentation(root):
    """Every trait has the flags and the share of the table of real answers."""
    table = read_table(root)
    for trait, found in READ.items():
        flags, share = table[trait]
        assert found.flags == flags
        assert round(found.right / found.flags, 2) == share
    assert sum(found.right for found in READ.values()) == 105


def test_other_samples_are_those_of_the_documentation(root):
    """The traits whose flags were read in more answers have the numbers of the page."""
    text = " ".join((root / "docs" / "quirks.md").read_text(encoding="utf-8").split())
    more = {trait: found.elsewhere for trait, found in READ.items() if found.elsewhere}
    right, flags, answers = more.pop("over-refusal")
    assert f"Of {flags} flags of over-refusal in {answers:,} answers" in text
    assert f"found {right} right" in text
    assert set(more) == {"sycophantic-opening", "vendor-identity"}
    for trait, (right, flags, answers) in more.items():
        assert f"| {trait} | odd | now | {flags} | {right} |" in text
        assert f"{answers:,} answers" in text


def test_every_library_trait_has_numbers_or_a_caution():
    """A trait without numbers here says on its card what was measured."""
    for loaded in find_cards():
        assert loaded.card.id in READ or loaded.card.caution, loaded.card.id


@pytest.mark.parametrize(
    ("trait", "said"),
    [
        ("ai-disclaimer", "21 of 25 right in 1,000 other real answers"),
        (
            "over-refusal",
            "4 of 5 right in 1,000 other real answers, 17 of 75 in 20,101 further ones",
        ),
        (
            "vendor-identity",
            "1 of 1 right in 1,000 other real answers, 40 of 40 in 20,122 further ones",
        ),
    ],
)
def test_a_shipped_trait_has_its_measurement(trait, said):
    """The sentence has the right flags and all of them, and both samples if there are two."""
    assert describe_library_precision(trait, build_manifest(trait)) == said


def test_another_card_has_none():
    """A changed card, a card of the user's own, and a trait that only has a caution have none."""
    changed = build_manifest("ai-disclaimer", scope={"roles": ["user"]})
    assert describe_library_precision("ai-disclaimer", changed) == ""
    own = Manifest.model_construct(cards={"owl": {"id": "owl"}})
    assert describe_library_precision("owl", own) == ""
    assert describe_library_precision("ai-disclaimer", own) == ""
    assert describe_library_precision("coercion", build_manifest("coercion")) == ""
