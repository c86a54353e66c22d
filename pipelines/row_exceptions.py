"""The exceptions of a policy for single rows, as a reader copies them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from pipelines.runs.deciding_traits import find_deciding
from pipelines.runs.shown_rows import ShownRow
from schemas.cards import Action
from schemas.manifests import Manifest
from schemas.scores import Side, split_side

CHANGED = ("flag", "mask", "quarantine", "drop")
"""The decisions that an exception for a row can take back."""


def write_exception(
    name: str, trait: str | None = None, side: Side = "trained", action: Action = "keep"
) -> str:
    """Return the exception that keeps a row, or that does something else, as in a policy's list.

    Without a trait, it is for every trait. YAML reads a name in quotes as JSON does. Characters
    that can't be seen are written as codes.
    """
    quoted = json.dumps(name, ensure_ascii=False)
    shown = "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
    own = "" if trait is None else f"trait: {trait}, "
    own += "" if side == "trained" else f"side: {side}, "
    return f"{{row: {shown}, {own}action: {action}, reason: WHY}}"


def write_exceptions(row: ShownRow) -> list[str]:
    """Return an exception for each finding that led to the decision on a row.

    Findings with a milder action keep it, so a row that was held for one trait keeps the masks of
    another.
    """
    found = dict.fromkeys(
        (item.trait, split_side(item.signal)[1]) for item in find_deciding(row) if item.action
    )
    name = f"{row.source}:{row.row}"
    return [write_exception(name, trait, side) for trait, side in found]


def name_exceptions(rows: Sequence[ShownRow], run: str, manifest: Manifest) -> Iterator[str]:
    """Say how the first row that isn't simply kept is kept by a policy, or that it can't be.

    A run that a swap or a mix wrote can't be decided again, so nothing is said of it.
    """
    own = [row for row in rows if row.decision in CHANGED and row.record is not None]
    if not own or manifest.swap is not None or manifest.mix is not None:
        return
    which = "this row" if len(rows) == 1 else f"a row such as row {own[0].row}"
    written, quoted = ", ".join(write_exceptions(own[0])), shlex.quote(run)
    yield (
        f"to keep {which}{_name_mark(own[0])}{_name_milder(own[0])}, give a policy with "
        f"exceptions: [{written}] to congener decide {quoted} --policy POLICY --output RUN2"
    )
    yield (
        f"to release many: label rows (congener review {quoted}), then "
        f"congener release {quoted} --reviews LABELS --output RUN2"
    )


def _name_mark(row: ShownRow) -> str:
    """Name what the exception takes off a row that is kept anyway."""
    return {"flag": " without the flag", "mask": " without the mask"}.get(row.decision, "")


def _name_milder(row: ShownRow) -> str:
    """Name the traits whose milder actions on a row stay after the exception."""
    deciding = find_deciding(row)
    milder = {item.trait: item.action for item in row.reasons if item not in deciding}
    left = [f"{action} of {trait}" for trait, action in milder.items() if action != "keep"]
    return f" with the {' and the '.join(left)}" if left else ""
