"""What an audit writes: its files, and the table of its findings."""

from __future__ import annotations

import pyarrow as pa

SUMMARY = "audit.json"
FINDINGS_FILE = "findings.parquet"
PAGE = "report.html"

EXAMPLE = pa.struct([("before", pa.string()), ("text", pa.string()), ("after", pa.string())])

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
"""One row for each finding, the most characteristic first.

Rates are of texts of the confirming half. `rate_expected` is the reference's rate in texts of the
corpus's length, format and difficulty, and `gain` is the corpus's rate beyond that. The numbers of
documents are of both halves.
"""
