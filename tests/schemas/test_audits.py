"""The table of an audit's findings, and the names of its files."""

import pyarrow as pa

from schemas.audits import FINDINGS, FINDINGS_FILE, PAGE, SUMMARY

ROW = {
    "kind": "phrase",
    "text": "Mind the gap",
    "rate_corpus": 0.1,
    "rate_reference": 0.0,
    "q_value": 1e-9,
    "beyond_format": True,
    "documents_corpus": 20,
    "variants": ["the gap"],
    "examples": [{"before": "", "text": "Mind the gap", "after": "."}],
    "lots": [
        {"field": "teacher", "value": "atlas", "documents": 20, "texts": 200, "rate": 0.1},
    ],
}


def test_a_finding_fits_the_table():
    """A row with all kinds of values is stored as it is, and what it lacks is null."""
    table = pa.Table.from_pylist([ROW], schema=FINDINGS)
    (row,) = table.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == ROW
    assert row["p_value"] is None


def test_the_table_has_what_the_summary_promises():
    """The fields of a finding in JSON are columns of the table."""
    assert {"kind", "text", "rate_corpus", "rate_reference", "q_value"} <= set(FINDINGS.names)


def test_files_have_names_of_their_own():
    """An audit's files don't share a name."""
    assert len({SUMMARY, FINDINGS_FILE, PAGE}) == 3
