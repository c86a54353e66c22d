"""The table of an audit's findings, and the names of its files."""

import pyarrow as pa
import pytest

from schemas.audits import FINDINGS, FINDINGS_FILE, PAGE, SUMMARY, TEXTS, TEXTS_FILE

ROW = {
    "kind": "phrase",
    "text": "Mind the gap",
    "rate_corpus": 0.1,
    "rate_reference": 0.0,
    "q_value": 1e-9,
    "beyond_format": True,
    "documents_corpus": 20,
    "variants": ["the gap"],
    "examples": [
        {"before": "", "text": "Mind the gap", "after": ".", "prompt": "Which train?"},
    ],
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
    assert len({SUMMARY, FINDINGS_FILE, TEXTS_FILE, PAGE}) == 4


TEXT = {
    "finding": 1,
    "half": "fit",
    "shows": True,
    "origin": "finding",
    "side": "corpus",
    "teacher": "atlas",
    "prompt_source": "web",
    "record": "0123456789abcdef",
    "prompt": "fedcba9876543210",
    "text": "Mind the gap.",
}


def test_a_text_for_a_card_fits_its_table():
    """An excerpt is stored with where it is from."""
    table = pa.Table.from_pylist([TEXT], schema=TEXTS)
    assert table.to_pylist() == [TEXT]
    assert TEXTS.names == list(TEXT)


@pytest.mark.parametrize("name", ["source", "row"])
def test_a_text_for_a_card_names_no_path(name):
    """Audits of the same rows in other folders give the same bytes."""
    assert name not in TEXTS.names
