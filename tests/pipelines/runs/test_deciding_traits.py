"""Which findings led to a row's decision."""

import pytest

from pipelines.inspection import View, inspect_run
from pipelines.runs.deciding_traits import find_deciding, lead_to
from pipelines.runs.queries import Filters


@pytest.fixture
def held(run):
    """Read a row that one trait quarantined."""
    return inspect_run(str(run[0]), View(Filters(decision="quarantine"))).page.rows[0]


def test_swap_leads_to_quarantine(held):
    """A row whose action is swap waits in quarantine; every other action is a decision."""
    (finding,) = held.reasons
    assert lead_to(finding._replace(action="swap")) == "quarantine"
    assert lead_to(finding._replace(action="flag")) == "flag"
    assert lead_to(finding._replace(action=None)) is None


def test_only_the_strongest_action_decides(held):
    """A mask decides nothing beside a quarantine, and two quarantines decide together."""
    (finding,) = held.reasons
    mask, swap = finding._replace(action="mask"), finding._replace(action="swap")
    assert find_deciding(held) == [finding]
    assert find_deciding(held._replace(reasons=(mask, finding, swap))) == [finding, swap]
    assert find_deciding(held._replace(decision="mask", reasons=(mask,))) == [mask]
    assert find_deciding(held._replace(decision="keep", reasons=())) == []
