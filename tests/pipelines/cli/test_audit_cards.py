"""`congener traits from-audit`: the output and the exit codes."""

import json

import pyarrow.parquet as pq
import pytest

from pipelines.audit import run_audit
from pipelines.auditing.corpora import AuditConfig
from tests.support.audits import write_pair


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """Audit a corpus with a habit, once."""
    folder = tmp_path_factory.mktemp("audited")
    corpus, reference = write_pair(folder)
    output = str(folder / "audit")
    run_audit(AuditConfig(corpus=(corpus,), reference=(reference,), output=output))
    return output


def test_a_card_is_written(congener, audit, tmp_path):
    """The output says what was written, how well the pattern does, and what to do next."""
    folder = tmp_path / "mind-the-gap"
    code, out, _ = congener("traits", "from-audit", audit, "--finding", "1", "-o", str(folder))
    assert code == 0
    assert "hard negatives, signals wording, lexicon" in out
    assert "held out: its pattern is in" in out
    assert f"congener traits check {folder}" in out
    assert congener("traits", "check", str(folder))[0] == 0


def test_json_has_the_pattern(congener, audit, tmp_path):
    """With --json the card's pattern and numbers are printed."""
    folder = str(tmp_path / "gap")
    code, out, _ = congener("traits", "from-audit", audit, "--finding", "1", "-o", folder, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["id"] == "gap"
    assert "Mind" in found["pattern"]
    assert found["heldout"]["found"] == found["heldout"]["shown"]


def test_mistakes_are_explained(congener, audit, tmp_path):
    """A wrong number, a wrong folder and a missing option are errors with what to do."""
    code, _, err = congener("traits", "from-audit", audit, "--finding", "900")
    assert code == 2
    assert "findings are numbered as in its report" in err
    code, _, err = congener("traits", "from-audit", str(tmp_path), "--finding", "1")
    assert code == 4
    assert "holds no audit" in err
    code, _, err = congener("traits", "from-audit", audit)
    assert code == 2
    assert "--finding" in err


def test_the_card_filters(congener, tmp_path):
    """A run with the card, here a lexicon, removes the rows with the habit and no others."""
    folder = str(tmp_path / "gap")
    corpus, reference = write_pair(tmp_path, 160)
    audit = str(tmp_path / "audit")
    congener("audit", "--corpus", corpus, "--reference", reference, "-o", audit, "--quiet")
    code, out, _ = congener("traits", "from-audit", audit, "--finding", "1", "--output", folder)
    assert code == 0
    assert "signals lexicon" in out
    run = str(tmp_path / "run")
    code, _, err = congener("filter", "-i", corpus, "-o", run, "-t", folder, "--quiet")
    assert code == 0, err
    found = pq.read_table(f"{run}/ledger")["decision"].to_pylist()
    assert found.count("quarantine") == 40
