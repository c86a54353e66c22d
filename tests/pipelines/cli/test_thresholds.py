"""`congener traits thresholds`: its table and its JSON."""

import pytest

from pipelines.cli.thresholds import ThresholdTables
from pipelines.thresholds import Choice, TraitChoices
from schemas.receipts import NearMisses


def test_thresholds_have_a_table(congener, run):
    """The table marks the threshold in force, and explains its columns."""
    code, out, err = congener("traits", "thresholds", str(run[0]))
    assert code == 0, err
    assert "in force" in out
    assert "by hand" in out
    assert "not stated" in out
    assert "below the threshold in force" not in out


def test_thresholds_in_json(congener_json, run):
    """The JSON has each threshold with its rows."""
    (trait,) = congener_json("traits", "thresholds", str(run[0]), "--trait", "heron")
    assert trait["near"] == {"rows": 0, "best": None}
    current = next(item for item in trait["thresholds"] if item["is_in_force"])
    assert (current["threshold"], current["rows"], current["found"]) == (0.5, 8, None)


@pytest.mark.parametrize(("best", "is_shown"), [(None, False), (0.0, False), (0.42, True)])
def test_only_scores_above_nought_are_near(best, is_shown):
    """Scores of 0 aren't near misses."""
    tables = ThresholdTables([TraitChoices("heron", NearMisses(rows=3, best=best), [])])
    lines = [item for item in tables.render() if isinstance(item, str)]
    assert any("3 rows are up to 0.05 below" in line for line in lines) == is_shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(0.01, "1.0%"), (0.0004, "0.04%"), (0.00449, "0.449%")]
)
def test_a_level_is_shown_with_all_of_its_digits(rate, shown):
    """A level is what a person wrote, so it is never rounded, least of all to 0 %."""
    choice = Choice(0.5, rate, rate, 3, None, is_in_force=True)
    table = next(ThresholdTables([TraitChoices("heron", NearMisses(), [choice])]).render())
    assert list(table.columns[1].cells) == [shown]


def test_a_level_that_gives_another_threshold_has_a_star():
    """A threshold below 0.5 isn't what a run with its level would have."""
    choice = Choice(0.004, 0.02, 0.015, 3, None, is_in_force=False)
    table, *legend = ThresholdTables([TraitChoices("heron", NearMisses(), [choice])]).render()
    assert list(table.columns[1].cells) == ["2.0%*"]
    (star,) = (line for line in legend if line.startswith("*: a run's levels give no threshold"))
    assert "so a stricter level can be on a lower line" in star
    higher = Choice(0.7, 0.02, 0.015, 3, None, is_in_force=False)
    _, *legend = ThresholdTables([TraitChoices("heron", NearMisses(), [higher])]).render()
    assert not any(line.startswith("*") for line in legend)
    assert "`traits: {heron: {threshold: 0.6}}`" in legend[-1]


def test_an_unknown_trait_is_refused(congener, run):
    """The error for an unknown trait names the run's traits."""
    code, _, err = congener("traits", "thresholds", str(run[0]), "--trait", "egret")
    assert code == 4
    assert "its traits are heron" in err
