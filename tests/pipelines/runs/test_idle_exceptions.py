"""Exceptions for rows on which their trait didn't fire."""

import pytest

from pipelines.runs.finished import scan_folder
from pipelines.runs.idle_exceptions import list_idle_exceptions, warn_of_idle
from schemas.policies import Policy


@pytest.fixture
def rows(finished):
    """Return the first held and the first kept row."""
    ledger = scan_folder(str(finished[0]), finished[1], "ledger").collect().to_dicts()
    held = next(row for row in ledger if row["decision"] == "quarantine")
    kept = next(row for row in ledger if row["decision"] == "keep" and not row["reasons"])
    return held, kept


def write_policy(*items):
    """Return a policy with an exception for each row and trait."""
    given = [
        {"row": row, "action": "keep", "reason": "x"} | ({"trait": trait} if trait else {})
        for row, trait in items
    ]
    return Policy.model_validate({"exceptions": given})


def test_an_exception_for_what_fired_is_not_idle(finished, rows):
    """A row may be named by its place or its id, and for its trait or for every trait."""
    held, _ = rows
    names = (f"{held['source']}:{held['row']}", held["record_id"])
    policy = write_policy(*((name, trait) for name in names for trait in ("heron", None)))
    assert list_idle_exceptions(str(finished[0]), finished[1], policy) == []


def test_an_exception_for_another_trait_is_idle(finished, rows):
    """The warning says which trait didn't fire, and which did."""
    held, kept = rows
    place = f"{held['source']}:{held['row']}"
    policy = write_policy((place, "owl"), (kept["record_id"], None))
    said = [notice.text for notice in warn_of_idle(str(finished[0]), finished[1], policy)]
    starts = [f"exception {number} of the policy" for number in (1, 2)]
    why = "changes nothing: owl didn't fire on that row, but heron did"
    assert said == [
        f"{starts[0]} (row {place}) {why}",
        f"{starts[1]} (row {kept['record_id']}) changes nothing: no trait fired on that row",
    ]


def test_a_row_may_be_taken_out_without_a_finding(finished, rows):
    """Quarantine and drop need none; a mask or a flag does, and the warning says what doesn't."""
    place = f"{rows[1]['source']}:{rows[1]['row']}"
    given = [
        {"row": place, "action": action, "reason": "x"}
        for action in ("quarantine", "drop", "swap", "mask", "flag")
    ]
    policy = Policy.model_validate({"exceptions": given})
    said = dict(list_idle_exceptions(str(finished[0]), finished[1], policy))
    assert list(said) == [4, 5]
    assert said[4].endswith("nothing to mask; quarantine or drop would take the row out")


def test_an_exception_for_another_side_is_idle(finished, rows):
    """A row with findings in trained text has none on its other sides."""
    held, _ = rows
    place = f"{held['source']}:{held['row']}"
    policy = write_policy((place, None), (place, "heron"))
    rejected = [item.model_copy(update={"side": "rejected"}) for item in policy.exceptions]
    policy = policy.model_copy(update={"exceptions": (*policy.exceptions, *rejected)})
    said = list_idle_exceptions(str(finished[0]), finished[1], policy)
    whys = (
        "on its rejected answers, no trait fired, but heron did",
        "heron@rejected didn't fire on that row, but heron did",
    )
    assert said == [
        (number, f"(row {place}) changes nothing: {why}") for number, why in enumerate(whys, 3)
    ]


def test_rows_that_the_run_lacks_are_not_idle(finished):
    """A row that isn't there is another warning's business, and lots are no rows."""
    named = write_policy(("nowhere.jsonl:7", "heron"), ({"id": "a"}, "heron"))
    assert list_idle_exceptions(str(finished[0]), finished[1], named) == []
    lot = {"trait": "owl", "lot": {"teacher": "atlas"}, "action": "keep", "reason": "x"}
    policy = Policy.model_validate({"exceptions": [lot]})
    assert list_idle_exceptions(str(finished[0]), finished[1], policy) == []
