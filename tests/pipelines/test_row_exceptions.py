"""Exceptions that keep single rows, as `inspect` and `traits eval` print them."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.inspection import View, inspect_run
from pipelines.row_exceptions import name_exceptions, write_exception, write_exceptions
from pipelines.runs.queries import Filters
from schemas.manifests import Manifest
from schemas.policies import LotException, Policy


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_policy_reads_what_is_written(name):
    """YAML reads the row's name back, whatever characters a file's name has."""
    place = f"{name}.jsonl:17"
    (read,) = yaml.safe_load(f"exceptions: [{write_exception(place)}]")["exceptions"]
    assert read == {"row": place, "action": "keep", "reason": "WHY"}


def test_characters_that_cannot_be_seen_are_codes():
    """A name can't reverse a terminal's line or move its cursor."""
    assert write_exception("a b.jsonl:3") == '{row: "a b.jsonl:3", action: keep, reason: WHY}'
    assert write_exception("a\u202eb\x1b.jsonl:3").isascii()


def test_an_exception_can_be_for_one_trait_and_side():
    """The trait is named, and a side only if it isn't the trained one."""
    written = write_exception("a.jsonl:3", "heron")
    assert written == '{row: "a.jsonl:3", trait: heron, action: keep, reason: WHY}'
    (read,) = yaml.safe_load(f"[{write_exception('a.jsonl:3', 'heron', 'rejected')}]")
    assert (read["trait"], read["side"]) == ("heron", "rejected")
    Policy.model_validate({"exceptions": [read]})


@pytest.fixture
def shown(run):
    """Return a function that reads rows of a run with eight quarantined rows."""

    def read(**filters):
        found = inspect_run(str(run[0]), View(Filters(**filters)))
        return found.page.rows, found.manifest

    return read


def test_a_held_row_has_its_exception(shown):
    """The exception of the one row that is shown is a policy's."""
    rows, manifest = shown(decision="quarantine")
    one = rows[:1]
    line, later = name_exceptions(one, "my run", manifest)
    assert line.startswith("to keep this row, give a policy with exceptions: [{row: ")
    assert line.endswith("to congener decide 'my run' --policy POLICY --output RUN2")
    exceptions = line.split("policy with ")[1].split(" to congener")[0]
    (item,) = Policy.model_validate(yaml.safe_load(exceptions)).exceptions
    assert item.row.key == f"{one[0].source}:{one[0].row}"
    assert item.trait == one[0].reasons[0].trait, "no other trait loses its action"
    assert later == (
        "to release many: label rows (congener review 'my run'), then "
        "congener release 'my run' --reviews LABELS --output RUN2"
    )
    line, _ = name_exceptions(rows, "run", manifest)
    assert line.startswith(f"to keep a row such as row {one[0].row}, give a policy with ")


def test_a_milder_finding_keeps_its_action(shown):
    """The exception is for the trait that decided, and the sentence names what stays."""
    rows, manifest = shown(decision="quarantine")
    (held,) = rows[0].reasons
    mask = held._replace(trait="owl", action="mask")
    row = rows[0]._replace(reasons=(mask, held, held._replace(signal="wording@rejected")))
    name = f"{row.source}:{row.row}"
    assert write_exceptions(row) == [
        write_exception(name, held.trait),
        write_exception(name, held.trait, "rejected"),
    ]
    line = next(name_exceptions([row], "run", manifest))
    assert line.startswith("to keep this row with the mask of owl, give a policy with exceptions")
    assert "owl" not in line.split("exceptions")[1]


@pytest.mark.parametrize("mark", ["flag", "mask"])
def test_a_row_that_is_kept_anyway_loses_only_its_mark(shown, mark):
    """A flagged row is in clean/ already, so the exception is about the flag."""
    rows, manifest = shown(decision="quarantine")
    found = rows[0].reasons[0]._replace(action=mark)
    row = rows[0]._replace(decision=mark, reasons=(found,))
    line = next(name_exceptions([row], "run", manifest))
    assert line.startswith(f"to keep this row without the {mark}, give a policy")


def test_kept_rows_and_later_runs_have_no_exception(shown):
    """A kept row needs none, and the run of a swap can't be decided again."""
    rows, manifest = shown(decision="keep")
    assert rows
    assert list(name_exceptions(rows, "run", manifest)) == []
    rows, _ = shown(decision="quarantine")
    swapped = Manifest.model_construct(swap=object(), mix=None)
    assert list(name_exceptions(rows, "run", swapped)) == []


def test_an_exception_may_take_a_row_out():
    """It is a line of a policy, like one that keeps a row."""
    text = write_exception("a b.jsonl:3", "heron", action="quarantine")
    assert text == '{row: "a b.jsonl:3", trait: heron, action: quarantine, reason: WHY}'
    item = LotException.model_validate(yaml.safe_load(text))
    assert item.takes_out_row
