"""The end of a review: how many labels there are, and the commands that use them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.review.judgements import LabelBook

NAMES: Mapping[bool | str, str] = {True: "true", False: "false", "unsure": "unsure"}
"""What readers see of the labels."""


class NextStep(NamedTuple):
    """A command that uses the labels, as a line of a shell, and what it does with them."""

    purpose: str
    command: str


def count_verdicts(labels: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count labels that are true, false and unsure, by these names."""
    counts = Counter(NAMES[line["label"]] for line in labels)
    return {name: counts[name] for name in NAMES.values()}


def list_steps(run: str, book: LabelBook, *, sampled: bool = False) -> list[NextStep]:
    """Return what can be done with labels of a run's rows, the release of denied rows first.

    `sampled` labels are of a random sample, by which thresholds can be chosen.
    """
    labels = book.list_labels().values()
    own, place = shlex.quote(str(book.path)), shlex.quote(run)
    steps = []
    if count_verdicts(labels)["false"]:
        output = shlex.quote(f"{run.rstrip('/')}-released")
        command = f"congener release {place} --reviews {own} --output {output}"
        steps.append(NextStep("take back what you labelled false", command))
    if sampled and labels:
        command = f"congener calibrate {place} --max-misses 0.2 --labels {own}"
        steps.append(NextStep("choose thresholds by this sample", command))
    for trait, _ in Counter(line["trait"] for line in labels).most_common(1):
        command = f"congener traits eval {trait} --run {place} --labels {own}"
        more = "" if sampled else ", for which more rows are to be read"
        steps.append(NextStep(f"measure a trait{more}", command))
    return steps


def list_audit_steps(
    run: str, book: LabelBook, sheet: Path | None = None, more: int | None = None
) -> list[NextStep]:
    """Return what can be done with labels of an audit's items.

    `more` rows are what the label file `sheet` must be drawn with because the target is missed.
    """
    place, steps = shlex.quote(run), []
    if more and sheet is not None:
        purpose = (
            "the target is missed, so draw more rows now, before you see any finding, and read on"
        )
        command = f"congener certify {place} --draw {more} --output {shlex.quote(str(sheet))}"
        steps.append(NextStep(purpose, command))
    if len(book):
        command = f"congener certify {place} --labels {shlex.quote(str(book.path))}"
        steps.append(NextStep("write the certificate", command))
    return steps


def describe_end(
    book: LabelBook, steps: Iterable[NextStep], left: int, total: int
) -> dict[str, Any]:
    """Return what the page shows at the end: labels, rows or items without one, and commands."""
    return {
        "labels": count_verdicts(book.list_labels().values()),
        "left": left,
        "total": total,
        "file": str(book.path),
        "steps": [step._asdict() for step in steps],
    }
