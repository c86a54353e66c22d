"""The history of a monitor: a folder with two files for each generation, and a page."""

from __future__ import annotations

import pyarrow as pa

PAGE = "report.html"
CHANGES_FILE = "changes.parquet"
TEACHERS = "teachers.parquet"
FORMAT = 1

GENERATION_DIGITS = 4
"""The digits of a generation's number in the names of its files."""

RATE = pa.struct(
    [
        ("generation", pa.string()),
        ("documents", pa.int64()),
        ("texts", pa.int64()),
        ("rate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)

CHANGES = pa.schema(
    [
        ("change", pa.string()),
        ("kind", pa.string()),
        ("text", pa.string()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
        ("slope", pa.float64()),
        ("slope_low", pa.float64()),
        ("slope_high", pa.float64()),
        ("log_odds_low", pa.float64()),
        ("variants", pa.list_(pa.string())),
        ("rates", pa.list_(RATE)),
        ("teacher", pa.string()),
    ]
)
"""One row for each change of the newest generation, the most telling one first.

`change` is `appeared`, `rose`, `accumulated` or `faded`. Rates are of texts of the confirming half;
`documents` is null where a generation had too few for its history to say how many, and `high` then
bounds the rate. `slope` is the change of the rate with each generation, null with two generations.
`teacher` is null unless the change was found within one teacher's texts; rates are then of these,
with no texts in the generations that lack the teacher.
"""


def name_generation(number: int, ending: str) -> str:
    """Return the name of a generation's file."""
    return f"{number:0{GENERATION_DIGITS}d}.{ending}"
