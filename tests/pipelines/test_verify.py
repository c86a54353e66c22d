"""verify finds any change to a finished run."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter import run_filter
from pipelines.runs import load_run
from pipelines.verify import summary, verify_run
from schemas.digests import sha256_hex
from schemas.errors import RunError
from schemas.manifests import Manifest


def reseal(folder: Path, changed: str) -> None:
    """Make the manifest agree with a changed file and with itself, as a forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / changed).read_bytes()
    for output in manifest["outputs"]:
        if output["path"] == changed:
            output |= {"sha256": sha256_hex(data), "bytes": len(data)}
    sealed = Manifest.model_validate(manifest).sealed()
    (folder / "manifest.json").write_text(sealed.model_dump_json())


def rewrite(folder: Path, name: str, change) -> str:
    """Change a Parquet file's table, keep the manifest in step, and return the file's path in the run."""
    path = next((folder / name).iterdir())
    pq.write_table(change(pq.read_table(path)), path)
    reseal(folder, f"{name}/{path.name}")
    return f"{name}/{path.name}"


def reordered(table: pa.Table) -> pa.Table:
    """Return the table back to front."""
    return table.take(list(range(table.num_rows))[::-1])


def test_a_whole_run_has_no_findings(run):
    """An untouched run is whole, and says so to machines as well."""
    folder, manifest = run
    assert verify_run(str(folder)) == []
    assert summary(manifest, [])["whole"] is True


def test_inputs_are_checked_when_asked(run, corpus):
    """A changed or missing input is found with --inputs, and only then."""
    folder, _ = run
    (corpus / "0.jsonl").write_text("{}\n")
    (corpus / "1.jsonl").unlink()
    assert verify_run(str(folder)) == []
    assert [item.problem for item in verify_run(str(folder), inputs=True)] == [
        "input was changed since the run",
        "input is not there any more",
    ]


def test_any_flipped_bit_is_found(run, tmp_path):
    """Sixty random single-bit flips over all files of a run: each is found."""
    folder, _ = run
    dice = random.Random(7)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for attempt in range(60):
        path = dice.choice(files)
        before = path.read_bytes()
        place = dice.randrange(len(before))
        path.write_bytes(before[:place] + bytes([before[place] ^ (1 << dice.randrange(8))]) + before[place + 1 :])
        assert verify_run(str(folder)), f"attempt {attempt}: a flip at byte {place} of {path.name} went unseen"
        path.write_bytes(before)
    assert verify_run(str(folder)) == []


@pytest.mark.parametrize("name", ["clean", "quarantine", "ledger", "scores"])
def test_missing_and_added_files(run, name):
    """A file that is gone, or that nobody knows, is named."""
    folder, _ = run
    path = next((folder / name).iterdir())
    shutil.copy(path, path.with_name("part-stray.parquet"))
    assert [item.where for item in verify_run(str(folder))] == [f"{name}/part-stray.parquet"]
    path.with_name("part-stray.parquet").unlink()
    path.unlink()
    assert [(item.where, item.problem) for item in verify_run(str(folder))] == [(f"{name}/{path.name}", "is missing")]


@pytest.mark.parametrize("name", ["clean", "quarantine"])
@pytest.mark.parametrize(
    "change",
    [
        reordered,
        lambda table: table.slice(1),
        lambda table: pa.concat_tables([table, table.slice(0, 1)]),
        lambda table: pa.concat_tables([table.slice(1, 1), table.slice(1)]),
    ],
    ids=["reordered", "removed", "added", "replaced"],
)
def test_rows_changed_behind_a_mended_manifest(config, name, change):
    """Even with digests made to agree, rows that moved, went or came don't match the ledger."""
    one_shard = config.model_copy(update={"shards": config.shards.model_copy(update={"rows": 100})})
    run_filter(one_shard)
    rewrite(Path(config.output), name, change)
    assert verify_run(config.output)


def test_a_changed_ledger_behind_a_mended_manifest(run):
    """A ledger whose decision was changed has another Merkle root."""
    folder, _ = run

    def pardon(table: pa.Table) -> pa.Table:
        place = table.column_names.index("decision")
        return table.set_column(place, "decision", pa.array(["keep"] * table.num_rows))

    where = rewrite(folder, "ledger", pardon)
    assert any(item.where == where and "Merkle" in item.problem for item in verify_run(str(folder)))


def test_misaligned_scores_behind_a_mended_manifest(run):
    """Scores in another order than the ledger are found."""
    folder, _ = run
    where = rewrite(folder, "scores", reordered)
    assert [(item.where, item.problem) for item in verify_run(str(folder))] == [(where, "isn't aligned with the ledger")]


@pytest.mark.parametrize("field", ["run_id", "ledger_root", "fired", "conservation", "thresholds", "circumstances"])
def test_an_edited_manifest(run, field):
    """Any edited field breaks the manifest's own digest."""
    folder, _ = run
    manifest = json.loads((folder / "manifest.json").read_text())
    edits = {
        "run_id": "0" * 16,
        "ledger_root": "0" * 64,
        "fired": {"heron": 7},
        "conservation": {"rows_in": 8, "by_decision": {"keep": 8}},
        "thresholds": [],
        "circumstances": {},
    }
    manifest[field] = edits[field]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert ("manifest.json", "doesn't match its own digest: it was edited") in [tuple(item) for item in verify_run(str(folder))]


def test_counts_that_were_edited_and_sealed(run):
    """A sealed manifest with other counts than the ledger's is found by counting again."""
    folder, manifest = run
    forged = manifest.model_copy(update={"fired": {"heron": 9}}).sealed()
    (folder / "manifest.json").write_text(forged.model_dump_json())
    assert [item.where for item in verify_run(str(folder))] == ["ledger/"]


def test_an_unfinished_run(tmp_path):
    """A directory without a manifest is no run to verify."""
    with pytest.raises(RunError, match="no manifest"):
        verify_run(str(tmp_path))


def test_an_unreadable_manifest(run):
    """A manifest that is no manifest is a finding, and an error to whoever needs it."""
    folder, _ = run
    (folder / "manifest.json").write_text("{")
    assert [item.where for item in verify_run(str(folder))] == ["manifest.json"]
    with pytest.raises(RunError, match="can't be read"):
        load_run(str(folder))
