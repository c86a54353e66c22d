"""The files of an audit, and the folders that it may write to."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.auditing.files import OWN_FILES, encode_findings, require_free
from pipelines.auditing.findings import FindingRate
from schemas.audits import FINDINGS, SUMMARY
from schemas.errors import RunError
from schemas.runs import MANIFEST
from tests.support.audits import FINDING


def test_findings_are_a_table():
    """Every field of a finding is in the table, with lots and examples as lists."""
    table = pq.read_table(pa.BufferReader(encode_findings([FINDING, FINDING])))
    assert table.schema.equals(FINDINGS, check_metadata=False)
    row = table.to_pylist()[0]
    assert row == FINDING.to_json()
    assert row["gain"] == pytest.approx(0.24)
    assert row["lots"][0]["rate"] == 0.5
    assert row["examples"] == [
        {"before": "One. ", "text": "Mind the gap", "after": ".", "prompt": "Which train?"}
    ]


def test_no_findings_are_an_empty_table():
    """Without findings the table has its columns and no rows, and the same bytes each time."""
    assert pq.read_table(pa.BufferReader(encode_findings([]))).num_rows == 0
    assert encode_findings([FINDING]) == encode_findings([FINDING])


def test_an_empty_folder_and_an_earlier_audit_are_free(tmp_path):
    """A new folder can be used, and an audit can be replaced."""
    require_free(str(tmp_path / "new"))
    require_free(str(tmp_path))
    (tmp_path / SUMMARY).write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    require_free(str(tmp_path))
    assert SUMMARY in OWN_FILES


@pytest.mark.parametrize(("name", "problem"), [(MANIFEST, "is a run"), ("a.txt", "isn't empty")])
def test_other_folders_are_refused(tmp_path, name, problem):
    """A run and a folder of other files are left alone."""
    (tmp_path / name).write_text("{}")
    with pytest.raises(RunError, match=problem) as caught:
        require_free(str(tmp_path))
    assert caught.value.remedy


def test_a_lot_without_texts_has_no_rate():
    """A rate of no texts is 0."""
    assert FindingRate("teacher", "dune", 0, 0).rate == 0.0
