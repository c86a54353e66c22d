"""Count the rows of `clean/` that carry masks or flags, of this run or an earlier one."""

from __future__ import annotations

from typing import Any

from schemas.errors import RowError
from schemas.outputs import CLEAN_EXTRA
from schemas.policies import PUBLISHED
from schemas.receipts import NoteCounts
from transforms.decide import DecidedShard
from transforms.files.json_lines import NOTE_SIGN
from transforms.notes import merge_notes, read_line_note, read_note


def count_notes(shard: DecidedShard) -> NoteCounts:
    """Count the masked and flagged rows among those that a shard publishes."""
    decided, earlier = shard.decided, find_earlier_notes(shard)
    noted = {row for row, decision in enumerate(decided.decisions) if decision in ("flag", "mask")}
    noted |= {row for row in earlier if decided.decisions[row] in PUBLISHED}
    counts = dict.fromkeys(NoteCounts.model_fields, 0)
    for row in noted:
        decision, masks = decided.decisions[row], decided.masks.get(row, ())
        note = merge_notes(earlier.get(row), decision, masks)
        if note["masks"]:
            counts["masked"] += 1
            counts["masked_before"] += not masks
            counts["still_masked"] += decision == "flag"
        elif note["decision"] == "flag":
            counts["flagged"] += 1
            counts["flagged_before"] += decision == "keep"
    return NoteCounts(**counts)


def find_earlier_notes(shard: DecidedShard) -> dict[int, dict[str, Any]]:
    """Return the notes that an earlier run left, by row.

    A line may have a field `congener` of another program, which is no note.
    """
    name = CLEAN_EXTRA.name
    if shard.lines is not None:
        lines = ((row, line) for row, line in enumerate(shard.lines) if NOTE_SIGN in line)
        found = ((row, _try_line(line)) for row, line in lines)
    elif name in shard.table.column_names:
        found = ((row, read_note(value)) for row, value in enumerate(shard.table[name].to_pylist()))
    else:
        return {}
    return {row: note for row, note in found if note is not None}


def _try_line(line: bytes) -> dict[str, Any] | None:
    try:
        return read_line_note(line)
    except RowError:
        return None
