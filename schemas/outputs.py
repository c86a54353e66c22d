"""Arrow schemas of a run's tables.

Readers rely on the names and the order of the columns. Add new columns only at the end, and never
rename a column.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.lots import LOT_FIELDS

SPAN = pa.struct([("field_path", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
"""A stretch of a field, in characters."""

REASON = pa.struct(
    [
        ("trait", pa.string()),
        ("signal", pa.string()),
        ("score", pa.float32()),
        ("threshold", pa.float32()),
        *SPAN,
    ]
)
"""Why a trait fired on a row: the score, its threshold, and the span that scored highest."""

LOT = tuple((name, pa.string()) for name in LOT_FIELDS)
"""The columns of a lot; an unknown field is null."""

ROW_KEY = (("source", pa.string()), ("row", pa.int64()))
"""The columns that identify an input row: its file, and its number in the file."""

LEDGER = pa.schema(
    [
        ("record_id", pa.string()),
        *ROW_KEY,
        *LOT,
        ("content_digest", pa.string()),
        ("decision", pa.string()),
        ("reasons", pa.list_(REASON)),
        ("output", pa.string()),
        ("output_row", pa.int64()),
    ]
)

REJECTED_TEACHER = "rejected_teacher"
"""The ledger's optional last column: the teacher of a pair's rejected answer."""

LEDGER_OF_PAIRS = LEDGER.append(pa.field(REJECTED_TEACHER, pa.string()))

ORIGIN = (
    ("swap", pa.string()),
    ("swap_traits", pa.string()),
    ("replaced_record", pa.string()),
    ("donor", pa.string()),
    ("donor_record", pa.string()),
    ("donor_source", pa.string()),
    ("donor_row", pa.int64()),
    ("distance", pa.float32()),
    ("donor_traits", pa.string()),
)
"""The columns of the ledger of a run that `congener swap` wrote, after those of every ledger.

They are null in rows that weren't to be replaced. `swap` is the outcome, and `swap_traits` names
the traits that held the row. The next six name the replaced record and the donor's row, and say how
far its prompt is from the row's prompt (0: the same prompt). `donor_traits` names the traits that
fire on the donors' answers. Names of traits are joined by commas.
"""

PIECES = (("swap_spans", pa.string()),)
"""The column after those of a swap that replaced sentences, null in other rows.

It has a JSON list of the stretches that a donor's sentences fill: where each one is in the row (its
field, first and last character), and where it was in the donor's answer (`donor_start`,
`donor_end`).
"""

EARLIER = (("swap_run", pa.string()),)
"""The column after those of a swap whose parent had swapped answers too.

In rows that an earlier swap replaced or masked, it is the id of the run which that swap made, and
the columns of the swap are the earlier ones. It is null in other rows.
"""

MIXED = (("mix", pa.string()), ("mix_lot", pa.string()))
"""The last columns of the ledger of a run that `congener mix` wrote.

They are null in rows that weren't added. `mix` names the donor. `mix_lot` is the lot to which the
row was added, as a JSON list of its four fields. The row's `source` is `donors/`, the donor's name
and the file's name in the donor's ledger, and its `row` is that of the donor's ledger.
"""

LEDGERS = tuple(
    pa.schema([*ledger, *(pa.field(*column) for column in (*origin, *mixed))])
    for mixed in ((), MIXED)
    for ledger in (LEDGER, LEDGER_OF_PAIRS)
    for origin in (
        (),
        ORIGIN,
        (*ORIGIN, *EARLIER),
        (*ORIGIN, *PIECES),
        (*ORIGIN, *PIECES, *EARLIER),
    )
)
"""The schemas that a ledger may have."""

SIGNAL_SPAN = pa.struct(
    [
        ("trait", pa.string()),
        ("signal", pa.string()),
        ("score", pa.float32()),
        *SPAN,
        ("masks", pa.list_(SPAN)),
        ("hits", pa.list_(SPAN)),
    ]
)
"""The span with a signal's highest score on a row.

`hits` lists all lexicon hits in the row. `masks` lists what a mask covers, unless it covers just
the span: sentences around the hits or the span, or all of a message's tool calls.
"""

SPANS = pa.schema([*ROW_KEY, ("spans", pa.list_(SIGNAL_SPAN))])
"""The schema of `spans/`. Its rows match the ledger's rows, and it holds no text."""

CALIBRATION_SCORES = pa.schema(
    [("trait", pa.string()), ("signal", pa.string()), ("score", pa.float32())]
)
"""The scores of held-out clean texts; NaN for a text outside the trait's scope."""

NEIGHBOUR = pa.struct(
    [
        ("exemplar", pa.string()),
        ("polarity", pa.string()),
        ("similarity", pa.float32()),
        ("text", pa.string()),
    ]
)

EVIDENCE = pa.struct([*REASON, ("action", pa.string()), ("neighbours", pa.list_(NEIGHBOUR))])

QUARANTINE_EXTRA = pa.field(
    "congener",
    pa.struct(
        [
            ("record_id", pa.string()),
            *ROW_KEY,
            *LOT,
            ("decision", pa.string()),
            ("reasons", pa.list_(EVIDENCE)),
        ]
    ),
)
"""The column that `quarantine/` adds to the corpus's columns."""

CLEAN_EXTRA = pa.field(
    "congener",
    pa.struct(
        [
            ("decision", pa.string()),
            ("weight", pa.float32()),
            ("masks", pa.list_(SPAN)),
            ("traits", pa.list_(pa.string())),
        ],
    ),
)
"""The column that `clean/` adds to the corpus's columns if the policy can flag or mask.

`traits` names the traits that flagged or masked the row, or because of which a swap replaced it.
In JSON Lines, only flagged, masked, swapped and added rows have the field.
"""

REJECTS = pa.schema(
    [
        *ROW_KEY,
        ("offset", pa.int64()),
        ("error", pa.string()),
        ("raw", pa.binary()),
    ]
)

SWAPLIST = pa.schema(
    [
        ("record_id", pa.string()),
        *ROW_KEY,
        *LOT,
        ("traits", pa.list_(pa.string())),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("request", pa.string()),
        ("complete", pa.bool_()),
        ("missing", pa.list_(pa.string())),
    ]
)
"""The prompts that another teacher should answer.

`request` is the prompt as JSON for a chat API: messages, tool calls and tools. `missing` names
prompt parts that aren't text, and `complete` is true without such parts.
"""


def build_scores_schema(columns: list[str]) -> pa.Schema:
    """Return the schema of `scores/` with these score columns."""
    return pa.schema([*ROW_KEY, *((name, pa.float32()) for name in columns)])
