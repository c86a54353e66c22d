"""`congener verify`: its text, its JSON and its exit code."""

import json
import shutil
from pathlib import Path

import pytest

from pipelines.cli.verify import FINDINGS_SHOWN, VerifyResult
from pipelines.runs.shard_checks import Finding
from schemas.digests import digest_bytes


@pytest.fixture
def folder(run) -> str:
    """Return the folder of a finished run."""
    return str(run[0])


def test_a_whole_run(congener, congener_json, run):
    """An unchanged run exits with 0, and the output shows the digests to record."""
    folder, manifest = str(run[0]), run[1]
    code, out, err = congener("verify", folder)
    assert code == 0, err
    assert out.startswith("whole: 40 rows in ")
    assert manifest.ledger_root[:16] in out
    assert manifest.digest[:16] in out
    assert congener_json("verify", folder)["whole"] is True


def test_a_damaged_run_exits_with_five(congener, folder):
    """A changed file is named, and the exit code is 5."""
    damaged = next((Path(folder) / "clean").iterdir())
    damaged.write_bytes(b"")
    code, out, _ = congener("verify", folder)
    assert code == 5
    assert damaged.name in out
    code, out, _ = congener("verify", folder, "--json")
    assert code == 5
    found = json.loads(out)
    assert found["whole"] is False
    assert found["findings"][0]["where"] == f"clean/{damaged.name}"


def test_a_long_list_of_differences_is_cut():
    """The text shows the first differences and counts the rest, and the JSON has all."""
    findings = [Finding(f"clean/{number}", "is missing") for number in range(10_000)]
    result = VerifyResult(findings, None, [])
    lines = [str(line) for line in result.render()]
    assert len(lines) == FINDINGS_SHOWN + 2
    assert lines[-2:] == ["and 9,900 more: list all with --json", "10,000 differences"]
    assert len(result.to_json()["findings"]) == 10_000


def test_a_recorded_digest_is_compared(congener, run):
    """A run passes only with its recorded digest, or with that of its manifest's file."""
    folder, manifest = str(run[0]), run[1]
    assert congener("verify", folder, "--digest", manifest.digest[:16])[0] == 0
    own = digest_bytes(Path(folder, "manifest.json").read_bytes())
    assert congener("verify", folder, "--digest", own)[0] == 0
    assert congener("verify", folder, "--digest", "0" * 16)[0] == 5


def test_a_digest_that_is_none_exits_with_two(congener):
    """A value too short for a digest is a usage error."""
    code, _, err = congener("verify", "nowhere", "--digest", "5d41")
    assert code == 2
    assert "--digest" in err


def test_differences_are_counted():
    """One difference is singular, and several are plural."""
    finding = Finding("clean/a.parquet", "is missing")
    *_, one = VerifyResult([finding], None, []).render()
    *_, two = VerifyResult([finding] * 2, None, []).render()
    assert (str(one), str(two)) == ("1 difference", "2 differences")


def test_inputs_are_digested_on_request(congener, corpus, folder):
    """Only --inputs reports a changed input."""
    changed = next(corpus.iterdir())
    changed.write_text(changed.read_text() + "\n")
    assert congener("verify", folder)[0] == 0
    code, out, _ = congener("verify", folder, "--inputs")
    assert code == 5
    assert changed.name in out


def test_the_output_says_what_was_checked(congener, congener_json, corpus, run):
    """The last line and the JSON say whether inputs, page and digest were compared."""
    folder, manifest = str(run[0]), run[1]
    _, out, _ = congener("verify", folder)
    assert out.splitlines()[-1] == (
        "inputs: not checked (--inputs); page: none; certificate: none; "
        "digest: not compared (--digest); "
        "root: not compared (--root); papers: not compared (--papers)"
    )
    congener("report", folder)
    found = congener_json("verify", folder, "--inputs", "--digest", manifest.digest)
    assert found["checked"] == {
        "inputs": f"{len(manifest.inputs)} checked",
        "page": "compared",
        "certificate": "none",
        "digest": "compared",
        "root": "not compared (--root)",
        "papers": "not compared (--papers)",
    }
    Path(folder, "report/index.html").unlink()
    page = congener_json("verify", folder)["checked"]["page"]
    assert page == "missing (only report/rates.parquet was compared)"


def test_inputs_may_be_in_another_folder(congener, corpus, run, tmp_path):
    """A copy of the inputs is compared by name, and a missing or other file is a difference."""
    folder, copy = str(run[0]), tmp_path / "copy"
    shutil.copytree(corpus, copy)
    code, out, _ = congener("verify", folder, "--inputs-in", str(copy))
    assert code == 0
    assert f"inputs: {len(run[1].inputs)} checked in {copy}" in out
    first, second, *_ = (copy / item.name for item in run[1].inputs)
    first.unlink()
    second.write_text("{}")
    code, out, _ = congener("verify", folder, "--inputs-in", str(copy))
    assert code == 5
    assert f"{first}: isn't in this folder" in out
    assert f"{second}: differs from the input of the run" in out


def test_a_damaged_manifest_is_a_difference(congener, folder):
    """A damaged manifest is a difference, not a missing run."""
    (Path(folder) / "manifest.json").write_text("{}")
    code, out, _ = congener("verify", folder)
    assert code == 5
    assert "manifest.json" in out
    assert out.endswith("1 difference\n")


def test_files_of_others_are_named_apart(congener, congener_json, folder):
    """Litter is listed, but foreign data is a difference."""
    for name in (".DS_Store", "clean/Thumbs.db"):
        (Path(folder) / name).touch()
    code, out, _ = congener("verify", folder)
    assert code == 0
    assert "left aside: .DS_Store: isn't the run's, and isn't in its folders" in out
    assert "left aside: clean/Thumbs.db: isn't the run's, and holds no data" in out
    assert congener_json("verify", folder)["left_aside"] == [".DS_Store", "clean/Thumbs.db"]
    (Path(folder) / "clean" / "more.jsonl").touch()
    code, out, _ = congener("verify", folder)
    assert code == 5
    assert "clean/more.jsonl: isn't in the manifest, but whoever reads clean/ reads it too" in out
    code, out, _ = congener("verify", folder, "--json")
    assert (code, json.loads(out)["left_aside"]) == (5, [".DS_Store", "clean/Thumbs.db"])


def test_a_recorded_statement_is_compared(congener, run):
    """A run that nobody certified doesn't have the statement that somebody recorded."""
    code, out, _ = congener("verify", str(run[0]), "--statement", "0" * 16)
    assert code == 5
    assert "history.jsonl: has no statement with the digest 0000000000000000" in out


def test_altered_papers_are_a_difference(congener, run, tmp_path):
    """`--papers` compares an export, after the run itself, with the run's exit code."""
    folder, papers = str(run[0]), tmp_path / "papers"
    assert congener("export", folder, "--output", str(papers))[0] == 0
    code, out, err = congener("verify", folder, "--papers", str(papers))
    assert code == 0, err
    assert out.splitlines()[-1].endswith("papers: 5 compared")
    card = papers / "README.md"
    card.write_text(card.read_text().replace("heron", "egret"), encoding="utf-8")
    code, out, _ = congener("verify", folder, "--papers", str(papers))
    assert code == 5
    assert f"{card}: line " in out
    code, _, err = congener("verify", folder, "--papers", str(tmp_path))
    assert code == 2
    assert "has no papers.json" in err
