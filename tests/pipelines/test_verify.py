"""verify finds any change to a finished run."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter import run_filter
from pipelines.runs.finished import load_run
from pipelines.verify import Recorded, summary, verify_run
from schemas.digests import digest_bytes
from schemas.errors import CardError, RunError
from schemas.manifests import Manifest


def reseal(folder: Path, changed: str) -> None:
    """Make the manifest agree with a changed file and with itself, as a forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / changed).read_bytes()
    for output in manifest["outputs"]:
        if output["path"] == changed:
            output |= {"sha256": digest_bytes(data), "bytes": len(data)}
    (folder / "manifest.json").write_bytes(Manifest.model_validate(manifest).sealed().to_bytes())


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


def test_inputs_named_relatively_are_found_from_anywhere(config, tmp_path, monkeypatch):
    """A run of `--input corpus` is verified with --inputs from another folder: the manifest says where the files lie."""
    monkeypatch.chdir(tmp_path)
    manifest = run_filter(config.model_copy(update={"input": ("corpus",)}))
    monkeypatch.chdir("/")
    assert verify_run(str(tmp_path / "run"), inputs=True) == []
    assert {Path(source.uri).parent for source in manifest.inputs} == {tmp_path / "corpus"}


def test_any_flipped_bit_is_found(run, tmp_path):
    """Sixty random single-bit flips over all files of a run: each is found."""
    folder, _ = run
    dice = random.Random(7)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for attempt in range(60):
        path = dice.choice(files)
        before = path.read_bytes()
        place = dice.randrange(len(before))
        path.write_bytes(
            before[:place] + bytes([before[place] ^ (1 << dice.randrange(8))]) + before[place + 1 :]
        )
        assert verify_run(str(folder)), (
            f"attempt {attempt}: a flip at byte {place} of {path.name} went unseen"
        )
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
    assert [(item.where, item.problem) for item in verify_run(str(folder))] == [
        (f"{name}/{path.name}", "is missing")
    ]


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
    assert [(item.where, item.problem) for item in verify_run(str(folder))] == [
        (where, "isn't aligned with the ledger")
    ]


@pytest.mark.parametrize(
    "field", ["run_id", "ledger_root", "fired", "conservation", "thresholds", "circumstances"]
)
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
    assert ("manifest.json", "doesn't match its own digest: it was edited") in [
        tuple(item) for item in verify_run(str(folder))
    ]


def test_counts_that_were_edited_and_sealed(run):
    """A sealed manifest with other counts than the ledger's is found by counting again."""
    folder, manifest = run
    forged = manifest.model_copy(update={"fired": {"heron": 9}}).sealed()
    (folder / "manifest.json").write_bytes(forged.to_bytes())
    assert [item.where for item in verify_run(str(folder))] == ["ledger/"]


def test_a_manifest_written_otherwise(run):
    """The same fields in another dress aren't what congener wrote."""
    folder, manifest = run
    path = folder / "manifest.json"
    fields = json.loads(path.read_bytes())
    assert path.read_bytes() == manifest.to_bytes()
    for other in (
        json.dumps(fields),
        json.dumps(fields, indent=1, sort_keys=True) + "\n",
        path.read_text() + " ",
        path.read_text() + "\n",
    ):
        path.write_text(other)
        assert [tuple(item) for item in verify_run(str(folder))] == [
            ("manifest.json", "isn't written as congener writes it")
        ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"config": {"signals": []}}, "config doesn't match its digest in the identity"),
        ({"policy": {"duplicates": "remove"}}, "policy doesn't match its digest in the identity"),
        ({"inputs": ()}, "inputs aren't those of the identity"),
    ],
    ids=["config", "policy", "inputs"],
)
def test_a_sealed_manifest_that_contradicts_itself(run, change, problem):
    """Settings and inputs that were exchanged and sealed don't match the identity."""
    folder, manifest = run
    (folder / "manifest.json").write_bytes(manifest.model_copy(update=change).sealed().to_bytes())
    assert ("manifest.json", problem) in [tuple(item) for item in verify_run(str(folder))]


@pytest.mark.parametrize(
    "path", ["../secret.parquet", "/etc/passwd", "clean/../../x.parquet", "report/index.html"]
)
def test_a_manifest_that_points_out_of_the_run(run, path):
    """A file outside of the run's folders is a finding, and isn't opened."""
    folder, manifest = run
    outside = manifest.outputs[0].model_copy(update={"path": path})
    (folder / "manifest.json").write_bytes(
        manifest.model_copy(update={"outputs": (outside, *manifest.outputs[1:])})
        .sealed()
        .to_bytes()
    )
    assert ("manifest.json", f"names {path!r}, which is no file of a run") in [
        tuple(item) for item in verify_run(str(folder))
    ]


def test_a_file_that_is_named_twice(run):
    """An output that stands in the manifest twice would count its rows twice."""
    folder, manifest = run
    (folder / "manifest.json").write_bytes(
        manifest.model_copy(update={"outputs": (manifest.outputs[0], *manifest.outputs)})
        .sealed()
        .to_bytes()
    )
    assert ("manifest.json", "names a file twice") in [
        tuple(item) for item in verify_run(str(folder))
    ]


@pytest.mark.parametrize("name", ["ledger", "clean"])
def test_rubbish_behind_a_mended_manifest(run, name):
    """A file that is no Parquet, or lacks columns, is a finding and no crash."""
    folder, _ = run
    path = next((folder / name).iterdir())
    path.write_bytes(b"rubbish")
    reseal(folder, f"{name}/{path.name}")
    assert any("can't be read as a run's" in item.problem for item in verify_run(str(folder)))
    pq.write_table(pa.table({"x": [1]}), path)
    reseal(folder, f"{name}/{path.name}")
    assert verify_run(str(folder))


def test_changed_rejects_behind_a_mended_manifest(config, corpus):
    """The bytes of a reject are checked against the ledger."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write("not json\n")
    run_filter(config)
    folder = Path(config.output)
    where = rewrite(
        folder, "rejects", lambda table: table.set_column(4, "raw", pa.array([b"other"]))
    )
    assert [tuple(item) for item in verify_run(str(folder))] == [
        (where, "row 0 isn't the reject that the ledger names")
    ]


def test_digests_recorded_elsewhere(run):
    """A recorded digest or root, or its first sixteen digits, tells a run from a forgery that agrees with itself."""
    folder, manifest = run
    for recorded in (
        Recorded(manifest.ledger_root),
        Recorded(digest=manifest.digest[:16].upper()),
        Recorded(manifest.ledger_root[:20], manifest.digest),
    ):
        assert verify_run(str(folder), recorded=recorded) == []
    path = next((folder / "scores").iterdir())
    table = pq.read_table(path)
    pq.write_table(
        table.set_column(
            table.column_names.index("heron"),
            "heron",
            pa.array([0.25] * table.num_rows, pa.float32()),
        ),
        path,
    )
    reseal(folder, f"scores/{path.name}")
    assert verify_run(str(folder)) == [], "nothing in the run can show this"
    assert [
        item.problem[:9]
        for item in verify_run(str(folder), recorded=Recorded(digest=manifest.digest))
    ] == ["digest is"]
    assert verify_run(str(folder), recorded=Recorded("0" * 16))[0].problem.startswith(
        "ledger_root is"
    )
    for wrong in ("abc", "x" * 20, ""):
        with pytest.raises(CardError, match=r"--digest .* is no digest"):
            verify_run(str(folder), recorded=Recorded(digest=wrong))


def test_a_trait_without_scores_is_found(run):
    """A forger who takes a trait's scores away, digests and all, is found by what the manifest says was looked for."""
    folder, _ = run
    changed = rewrite(folder, "scores", lambda table: table.drop_columns(["heron"]))
    assert [tuple(item) for item in verify_run(str(folder))] == [
        (changed, "has no scores of trait heron")
    ]


def test_an_unfinished_run(tmp_path):
    """A directory without a manifest is no run to verify."""
    with pytest.raises(RunError, match="no manifest"):
        verify_run(str(tmp_path))


def test_an_unreadable_manifest(run):
    """A manifest that is no manifest is a finding, and an error to whoever needs it."""
    folder, _ = run
    (folder / "manifest.json").write_text("{")
    assert [item.where for item in verify_run(str(folder))] == ["manifest.json"]
    with pytest.raises(RunError, match="none of congener's"):
        load_run(str(folder))
