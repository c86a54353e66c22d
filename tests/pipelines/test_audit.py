"""Audits of small corpora: what is found, what isn't, and what is written."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.audit import Audit, run_audit
from pipelines.auditing.corpora import AuditConfig
from schemas.audits import FINDINGS_FILE, SUMMARY
from schemas.corpora import ShardLimits
from schemas.errors import InputError, RunError
from schemas.events import Noticed
from tests.support.audits import plant, write_equal_pair, write_pair, write_side
from tests.support.corpora import write_rows
from tests.support.lots import write_answers


def audit_pair(folder: Path, pair: tuple[str, str], **settings: object) -> Audit:
    """Audit a corpus against a reference."""
    config = AuditConfig.model_validate(
        {
            "corpus": (pair[0],),
            "reference": (pair[1],),
            "output": str(folder / "audit"),
            **settings,
        }
    )
    return run_audit(config)


@pytest.fixture(scope="module")
def different(tmp_path_factory) -> Audit:
    """Audit a corpus with a habit, once."""
    folder = tmp_path_factory.mktemp("different")
    return audit_pair(folder, write_pair(folder))


@pytest.fixture(scope="module")
def equal(tmp_path_factory) -> Audit:
    """Audit a corpus that doesn't differ, once."""
    folder = tmp_path_factory.mktemp("equal")
    return audit_pair(folder, write_equal_pair(folder))


def test_a_habit_is_found(different):
    """The corpus differs, and the planted phrase comes first."""
    assert different.differs
    assert different.p_value < 1e-6
    assert "Mind the gap" in different.findings[0].text
    assert different.matched
    texts = different.to_json()["texts"]
    assert texts["corpus"]["texts"] == texts["reference"]["texts"] == 300


def test_what_is_rarer_is_found_too(different, tmp_path):
    """With the corpora exchanged, the planted phrase is what the corpus has less often."""
    corpus, reference = write_pair(tmp_path)
    turned = audit_pair(tmp_path, (reference, corpus))
    first = turned.rarer.findings[0]
    assert "Mind the gap" in first.text
    assert first.rates == different.findings[0].rates[::-1]
    assert first.intervals == different.findings[0].intervals[::-1]
    assert first.rates[0] == 0 < first.rates[1]
    assert first.examples == ()
    assert len(first.reference_examples) == 3
    assert not any("gap" in item.text for item in turned.findings)
    summary = turned.to_json()
    assert summary["rarer"][0]["gain"] == first.rates[0] - first.rate_expected
    assert summary["rarer_found"] == turned.rarer.total >= 1
    assert summary["other_language"] == {"corpus": 0.0, "reference": 0.0}
    assert not any("gap" in item.text for item in different.rarer.findings)


def test_equal_corpora_do_not_differ(equal):
    """Nothing is found, and it is stated how small a difference would have been."""
    assert not equal.differs
    assert equal.findings == []
    assert equal.rarer.findings == []
    assert equal.comparison.differences == []
    assert not equal.matched
    assert 0.5 < equal.detectable_auroc < 0.75
    assert 0.01 < equal.detectable_rate < 0.5
    assert equal.to_json()["detectable"]["auroc"] == equal.detectable_auroc


def test_the_files_have_everything(different):
    """The summary and the table have the findings, in the same order."""
    folder = Path(different.config.output)
    summary = json.loads((folder / SUMMARY).read_text())
    assert summary["differs"] is True
    assert summary["p_value"] == different.p_value
    assert set(summary["views"]) == {"raw", "canonical", "baseline"}
    rows = pq.read_table(folder / FINDINGS_FILE).to_pylist()
    assert [row["text"] for row in rows] == [item["text"] for item in summary["findings"]]
    assert rows[0]["rate_corpus"] == summary["findings"][0]["rate_corpus"]
    assert not (folder / ".work").exists()


def test_lots_are_tested(different):
    """Each teacher of the corpus is tested, and only the one with the habit differs."""
    lots = {item["teacher"]: item for item in different.to_json()["lots"]}
    assert set(lots) == {"atlas", "borealis"}
    assert lots["atlas"]["auroc"] > lots["borealis"]["auroc"]
    assert lots["atlas"]["texts"] == 150
    assert {item["compared_with"] for item in lots.values()} == {"all"}
    by_lot = {item.value: item.rate for item in different.findings[0].lots}
    assert by_lot["atlas"] == pytest.approx(0.5)
    assert by_lot["borealis"] == 0


def test_two_audits_write_the_same_bytes(tmp_path, different):
    """The same corpora give the same files, however they are cut into shards."""
    again = audit_pair(tmp_path, write_pair(tmp_path), shards=ShardLimits(rows=37))
    for name in (SUMMARY, FINDINGS_FILE):
        assert (Path(again.config.output) / name).read_bytes() == (
            Path(different.config.output) / name
        ).read_bytes()


def test_an_audit_replaces_an_earlier_one(tmp_path):
    """The same folder can be used again, and a run's folder can't."""
    pair = write_equal_pair(tmp_path, 40)
    audit_pair(tmp_path, pair)
    assert not audit_pair(tmp_path, pair).differs
    (tmp_path / "audit" / "manifest.json").write_text("{}")
    with pytest.raises(RunError, match="is a run"):
        audit_pair(tmp_path, pair)


def test_small_corpora_are_refused(tmp_path):
    """With a handful of rows nothing can be told, and nothing is written."""
    corpus = write_side(tmp_path / "a.jsonl", write_answers(5))
    reference = write_side(tmp_path / "b.jsonl", write_answers(50))
    with pytest.raises(InputError, match="has 5 rows with an answer"):
        audit_pair(tmp_path, (corpus, reference))
    assert not (tmp_path / "audit").exists()


def test_plain_texts_are_compared_as_a_whole(tmp_path):
    """Texts without prompts are in one stratum, and a habit is found in them."""
    paths = [
        str(write_rows(tmp_path / name, [{"text": text} for text in texts]))
        for name, texts in (
            ("a.jsonl", plant(write_answers(200, 1))),
            ("b.jsonl", write_answers(200, 2)),
        )
    ]
    found = audit_pair(tmp_path, (paths[0], paths[1]))
    assert found.strata == 1
    assert not found.matched
    assert "Mind the gap" in found.findings[0].text


def test_progress_and_lost_rows_are_told(tmp_path):
    """Notices say how texts are compared, and which rows have no answer."""
    answers = [*write_answers(40, 1), " ", ""]
    pair = (
        write_side(tmp_path / "a.jsonl", answers),
        write_side(tmp_path / "b.jsonl", write_answers(40, 2)),
    )
    events = []
    config = AuditConfig(corpus=pair[:1], reference=pair[1:], output=str(tmp_path / "audit"))
    audit = run_audit(config, events.append)
    told = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert any("both answer the same prompts: 40" in text for text in told)
    assert any("2 rows of the corpus without an answer" in text for text in told)
    assert audit.to_json()["texts"]["corpus"]["without_answer"] == 2


def test_the_level_is_shared(equal):
    """The classifier and the findings have half of the level each."""
    assert equal.level == pytest.approx(equal.config.level / 2)
    assert equal.p_value >= min(equal.p_phrases, 1.0)


def name_models(folder: Path, *models: str) -> list[str]:
    """Return the files of some models' answers."""
    return [str(folder / "teachers" / f"{model}.parquet") for model in models]


def test_a_level_of_certainty_finds_only_what_is_certain(tmp_path):
    """At a strict level fewer findings are reported than at a lax one."""
    pair = write_pair(tmp_path, 120)
    strict = audit_pair(tmp_path, pair, level=1e-6)
    lax = audit_pair(tmp_path, pair, level=0.2)
    assert len(strict.findings) <= len(lax.findings)
    assert all(item.q_value <= 1e-6 for item in strict.findings)
    assert strict.comparison.views["raw"].separation == lax.comparison.views["raw"].separation


def test_an_encoder_adds_a_view_and_no_verdict(tmp_path, different, encoder):
    """With an encoder, vectors are compared, and everything else is as without."""
    pair = write_pair(tmp_path)
    config = AuditConfig(corpus=pair[:1], reference=pair[1:], output=str(tmp_path / "audit"))
    found = run_audit(config, encoder=encoder).to_json()
    vectors = found.pop("vectors")
    assert found == different.to_json()
    assert 0 < vectors["auroc"] <= 1
    assert vectors["clusters_tested"] >= 2
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "an encoder&#39;s vectors" in page or "an encoder's vectors" in page
