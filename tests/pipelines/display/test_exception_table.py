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


def draw(exceptions=EXCEPTIONS, effects=EFFECTS, **given) -> str:
    """Return the table as text."""
    console = open_console(file=io.StringIO(), width=140)
    console.print(tabulate_exceptions(exceptions, effects, **given))
    return console.file.getvalue()


def test_many_named_rows_have_one_line_for_each_trait():
    """Only the last exceptions for rows have lines of their own, and lots always have one."""
    kept = {"action": "keep", "reason": "x"}
    names = [{"row": f"a.jsonl:{number}", "trait": "heron", **kept} for number in range(30)]
    names += [{"row": f"b.jsonl:{number}", "trait": "crane", **kept} for number in range(12)]
    lot = {"lot": {"teacher": "atlas"}, "trait": "heron", "action": "flag", "reason": "x"}
    policy = Policy.model_validate({"exceptions": [lot, *names]})
    moved = ActionChange(before="mask", after="keep", rows=1)
    effects = [ExceptionEffect(rows=1, changed=(moved,)) for _ in policy.exceptions]
    lines = [line.split() for line in draw(policy.exceptions, effects).splitlines()]
    start = next(at for at, line in enumerate(lines) if line[:1] == ["…"])
    first, second, atlas, *rows = lines[start : start + 13]
    assert " ".join(first) == "… heron 30 named rows 30 30 from mask to keep"
    assert " ".join(second) == "… crane 2 named rows 2 2 from mask to keep"
    assert atlas[:4] == ["1", "heron", "teacher:", "atlas"]
    assert [line[0] for line in rows] == [str(number) for number in range(34, 44)]


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


def test_released_rows_are_joined():
    """Rows that labels released have one line for each trait."""
    reviewed = f"labelled false (run.review/labels-ada.jsonl, SHA-256 {'0' * 64})"
    names = [
        {"row": f"a.jsonl:{number}", "trait": "heron", "action": "keep", "reason": reason}
        for number, reason in enumerate([reviewed] * 10 + ["read"])
    ]
    files = [{**names[0], "row": f"{number}.jsonl:0"} for number in range(11)]
    for given, numbers in ((names, ["…", "11"]), (names[:1], ["…"]), (files, ["…"])):
        policy = Policy.model_validate({"exceptions": given})
        effects = [ExceptionEffect(rows=1) for _ in given]
        lines = [line.split() for line in draw(policy.exceptions, effects).splitlines()]
        assert [line[0] for line in lines if "heron" in line] == numbers


def test_exceptions_of_the_earlier_run_are_counted():
    """A run that is decided again shows the exceptions that it adds, and counts the others."""
    text = draw(known=EXCEPTIONS[:1])
    assert "1 exception, as before" in text
    assert "atlas" not in text
    assert "2" in next(line for line in text.splitlines() if "a.jsonl:1" in line).split()


def test_a_dry_run_says_that_nothing_has_changed_yet():
    """The heading of a dry run is about what would be changed."""
    assert "rows it would change" in draw(is_dry=True)
