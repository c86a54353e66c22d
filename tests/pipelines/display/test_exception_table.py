"""The table of exceptions: their rows, and what each one changed or would change."""

import io

from pipelines.display.exception_table import tabulate_exceptions
from pipelines.display.terminal import open_console
from schemas.policies import Policy
from schemas.receipts import ActionChange, ExceptionEffect

EXCEPTIONS = Policy.model_validate(
    {
        "exceptions": [
            {"lot": {"teacher": "at[b]las*"}, "trait": "heron", "action": "flag", "reason": "x"},
            {"row": "a.jsonl:1", "trait": "*", "action": "keep", "reason": "x"},
        ]
    }
).exceptions
EFFECTS = (
    ExceptionEffect(
        rows=1_200, changed=(ActionChange(before="quarantine", after="flag", rows=3),), overruled=1
    ),
    ExceptionEffect(rows=1),
)


def draw(**given) -> str:
    """Return the table as text."""
    console = open_console(file=io.StringIO(), width=140)
    console.print(tabulate_exceptions(EXCEPTIONS, EFFECTS, **given))
    return console.file.getvalue()


def test_each_exception_has_its_rows_and_changes():
    """A line has the number, the trait, the lot or row as it is written, and the changes."""
    lines = draw().splitlines()
    first = next(line for line in lines if "heron" in line)
    assert "teacher: at[b]las*" in first
    assert "1,200" in first
    assert "3 from quarantine to flag, 1 unchanged, because another trait decides" in first
    second = next(line for line in lines if "a.jsonl:1" in line)
    assert second.split()[-1] == "none"
    assert any("rows it changed" in line for line in lines)


def test_a_dry_run_says_that_nothing_has_changed_yet():
    """The heading of a dry run is about what would be changed."""
    assert "rows it would change" in draw(is_dry=True)
