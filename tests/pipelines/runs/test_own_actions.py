"""What a trait's own action did is counted apart from what other traits did to the same rows."""

import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report import render_report
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.own_actions import HOLDS_BACK, REMOVING, OwnCounts, count_own
from pipelines.runs.rates import ACTIONS, compare_groups
from pipelines.sign_off import list_reasons
from schemas.policies import SEVERITY
from tests.support.hostile import FILE, filter_lines, write_cards

DECISIONS = ("keep", "flag", "mask", *REMOVING)


def build_table(lines: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Return a table of the trait fox, from the decision, the own action and the rows."""
    named = [("fox", "trained", *line) for line in lines]
    return pl.DataFrame(named, ACTIONS, orient="row")


def test_a_finding_that_is_only_kept_has_no_mask():
    """Masks of other traits on a row aren't masks of a trait that an exception keeps."""
    table = build_table([("mask", "keep", 1), ("keep", "keep", 3), ("mask", "mask", 5)])
    found = count_own(table, "fox", "trained")
    assert found == OwnCounts(0, 5, 0, 0, 1, 0, 0)
    assert count_own(table, "fox", "rejected") == count_own(table, "owl", "trained")


def test_removals_by_others_are_counted_apart():
    """A row that only another trait removes isn't removed by this trait."""
    lines = [("quarantine", "keep", 1), ("drop", "mask", 2), ("drop", "drop", 4)]
    found = count_own(build_table(lines), "fox", "trained")
    assert (found.removed, found.removed_by_others) == (4, 3)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(DECISIONS),
            st.sampled_from(SEVERITY),
            st.integers(1, 9),
        ),
        unique_by=lambda line: line[:2],
    )
)
def test_counts_are_disjoint(lines):
    """Each row is in at most one count, and every removed row in one of the two."""
    found = count_own(build_table(lines), "fox", "trained")
    total = sum(rows for _, _, rows in lines)
    removed = sum(rows for decision, _, rows in lines if decision in REMOVING)
    assert sum(found) <= total
    assert found.removed + found.removed_by_others == removed
    held = sum(rows for what, own, rows in lines if what in REMOVING and own in HOLDS_BACK)
    assert found.removed_by_others == held


def test_a_denied_finding_on_a_masked_row_counts_as_kept(tmp_path):
    """A released row that keeps another trait's mask counts as kept for the denied trait."""
    lines = [json.dumps({"text": f"a fox with an owl {number}"}) for number in range(2)]
    policy = "exceptions:\n" + "".join(
        f"  - {{row: '{FILE}:{number}', trait: owl, action: keep, reason: denied}}\n"
        for number in range(2)
    )
    cards = write_cards(tmp_path / "traits", ["fox", "owl"])
    run, manifest = filter_lines(tmp_path, lines, cards, policy)
    assert manifest.conservation.by_decision == {"mask": 2}
    rates = compare_groups(run, load_manifest(run))
    reasons = {item.trait: item.effects for item in list_reasons(manifest, rates, None)}
    assert reasons == {"fox": [(2, "masked")]}
    page = render_report(run, manifest, rates)
    assert "2 <small>by exception</small>" in page
    assert "by other traits" not in page
