"""Which findings led to a row's decision."""

import pytest

from pipelines.inspection import View, inspect_run
from pipelines.runs.deciding_traits import find_deciding, order_traits
from pipelines.runs.queries import Filters


@pytest.fixture
def held(run):
    """Read a row that one trait quarantined."""
    return inspect_run(str(run[0]), View(Filters(decision="quarantine"))).page.rows[0]


def test_only_the_strongest_action_decides(held):
    """A mask decides nothing beside a quarantine, and two quarantines decide together."""
    (finding,) = held.reasons
    mask, swap = finding._replace(action="mask"), finding._replace(action="swap")
    assert find_deciding(held) == [finding]
    assert find_deciding(held._replace(reasons=(mask, finding, swap))) == [finding, swap]
    assert find_deciding(held._replace(decision="mask", reasons=(mask,))) == [mask]
    assert find_deciding(held._replace(decision="keep", reasons=())) == []


def test_questions_begin_with_the_trait_that_decided(held):
    """A mask with a higher score is asked about after the trait that holds the row."""
    (finding,) = held.reasons
    add = [
        finding._replace(trait=trait, action=action, score=score)
        for trait, action, score in (
            ("fox", "flag", 1.0),
            ("owl", "mask", 1.0),
            ("elk", "quarantine", finding.score - 0.01),
            ("owl", "mask", 0.9),
        )
    ]
    row = held._replace(reasons=(*add[:2], finding, *add[2:]))
    assert order_traits(row) == [finding.trait, "elk", "owl", "fox"]
    near = finding._replace(trait="owl", action=None)
    assert order_traits(held._replace(reasons=(), near=(near, finding))) == ["owl"]
    assert order_traits(held._replace(reasons=(), near=())) == []


def test_a_duplicate_begins_with_its_strongest_action(held):
    """If no finding decided, the strongest action comes first, whatever its score."""
    (finding,) = held.reasons
    weak = finding._replace(trait="owl", action="flag", score=1.0)
    row = held._replace(decision="duplicate", reasons=(weak, finding))
    assert order_traits(row) == [finding.trait, "owl"]
