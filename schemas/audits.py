"""What an audit writes: its files, the table of its findings, and that of texts for cards."""

from __future__ import annotations

import pyarrow as pa

SUMMARY = "audit.json"
FINDINGS_FILE = "findings.parquet"
PAGE = "report.html"
TEXTS_FILE = "texts.parquet"

EXAMPLE = pa.struct([(name, pa.string()) for name in ("before", "text", "after", "prompt")])
"""A finding in a text, with its context, and the beginning of the text's prompt."""

LOT_RATE = pa.struct(
    [
        ("field", pa.string()),
        ("value", pa.string()),
        ("documents", pa.int64()),
        ("texts", pa.int64()),
        ("rate", pa.float64()),
    ]
)

FINDINGS = pa.schema(
    [
        ("kind", pa.string()),
        ("text", pa.string()),
        ("rate_corpus", pa.float64()),
        ("rate_reference", pa.float64()),
        ("corpus_low", pa.float64()),
        ("corpus_high", pa.float64()),
        ("reference_low", pa.float64()),
        ("reference_high", pa.float64()),
        ("rate_expected", pa.float64()),
        ("gain", pa.float64()),
        ("beyond_format", pa.bool_()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
        ("adjusted_q_value", pa.float64()),
        ("log_odds", pa.float64()),
        ("log_odds_low", pa.float64()),
        ("documents_corpus", pa.int64()),
        ("documents_reference", pa.int64()),
        ("variants", pa.list_(pa.string())),
        ("examples", pa.list_(EXAMPLE)),
        ("reference_examples", pa.list_(EXAMPLE)),
        ("lots", pa.list_(LOT_RATE)),
    ]
)
"""One row for each finding, the most telling first.

Rates are of texts of the confirming half. `rate_expected` is the reference's rate in texts of the
corpus's length, format and difficulty, and `gain` is the corpus's rate beyond that. The numbers of
documents are of both halves.
"""

TEXTS = pa.schema(
    [
        ("finding", pa.int32()),
        ("half", pa.string()),
        ("shows", pa.bool_()),
        ("origin", pa.string()),
        ("side", pa.string()),
        ("teacher", pa.string()),
        ("prompt_source", pa.string()),
        ("record", pa.string()),
        ("prompt", pa.string()),
        ("text", pa.string()),
    ]
)
"""Excerpts of texts that show a finding and of texts like them that don't.

`finding` is the finding's place in the list, from 1. `half` is `fit` where the finding was looked
for, and `heldout` where it was confirmed; all texts of a prompt are in the same half. `origin` is
`finding`, `same prompt`, `near miss` or `reference`. `record` and `prompt` are the first 16 digits
of digests.
"""
