"""The exceptions of a policy that keep single rows, as a reader copies them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from pipelines.runs.shown_rows import ShownRow
from schemas.manifests import Manifest

CHANGED = ("flag", "mask", "quarantine", "drop")
"""The decisions that an exception for a row can take back."""


def write_exception(name: str) -> str:
    """Return the exception that keeps a row, as in a policy's list.

    YAML reads a name in quotes as JSON does. Characters that can't be seen are written as codes.
    """
    quoted = json.dumps(name, ensure_ascii=False)
    shown = "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
    return f"{{row: {shown}, action: keep, reason: WHY}}"


def name_exceptions(rows: Sequence[ShownRow], run: str, manifest: Manifest) -> Iterator[str]:
    """Say how the first row that isn't simply kept is kept by a policy, or that it can't be.

    A run that a swap or a mix wrote can't be decided again, so nothing is said of it.
    """
    own = [row for row in rows if row.decision in CHANGED and row.record is not None]
    if not own or manifest.swap is not None or manifest.mix is not None:
        return
    which = "this row" if len(rows) == 1 else f"a row such as row {own[0].row}"
    written = write_exception(f"{own[0].source}:{own[0].row}")
    yield (
        f"to keep {which}, give a policy with exceptions: [{written}] to "
        f"congener decide {shlex.quote(run)} --policy POLICY --output RUN2"
    )
