"""A run directory while it is being made."""

import shutil
from pathlib import Path

import pytest

from pipelines import filter as module
from pipelines.runs import unfinished
from pipelines.runs.unfinished import Begun
from schemas.errors import RunError
from transforms.write import OutputFile, Receipt


def begun(**identity) -> Begun:
    """Describe a run."""
    return Begun(
        {"bank_digest": "a", "inputs": [["a.jsonl", 1, "f" * 64]]} | identity, {"traits": {}}
    )


def interrupted(config, monkeypatch) -> tuple[Begun, list]:
    """Run up to the point before publication; return what the run was begun with, and its shards."""
    seen = []

    def stop(plans, _):
        seen.append(plans)
        raise RuntimeError("stop before publishing")

    real = module.FilterPlan.begun
    with monkeypatch.context() as patch:
        patch.setattr(module, "in_order", stop)
        patch.setattr(module.FilterPlan, "begun", lambda self: seen.append(real(self)) or seen[-1])
        with pytest.raises(RuntimeError, match="stop"):
            module.run_filter(config)
    return next(item for item in seen if isinstance(item, Begun)), seen[-1]


def test_a_run_resumes_only_as_itself(tmp_path):
    """The same identity resumes; another one is refused, naming what differs, and replaces it when asked."""
    run = str(tmp_path)
    assert unfinished.open_run(run, begun(), restart=False) == []
    assert unfinished.open_run(run, begun(), restart=False) == []
    with pytest.raises(RunError, match="begun as another run:\n    bank_digest: was a, is b"):
        unfinished.open_run(run, begun(bank_digest="b"), restart=False)
    unfinished.open_run(run, begun(bank_digest="b"), restart=True)
    unfinished.open_run(run, begun(bank_digest="b"), restart=False)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"identity": {}, "settings": {}}'],
    ids=["empty", "cut", "list", "unsealed"],
)
def test_a_damaged_note_is_written_anew(tmp_path, damage):
    """What a full disk left of run.json is no obstacle, and is said."""
    run = str(tmp_path)
    unfinished.open_run(run, begun(), restart=False)
    (tmp_path / unfinished.NOTE).write_bytes(damage)
    (remark,) = unfinished.open_run(run, begun(), restart=False)
    assert "run.json is damaged" in remark
    assert unfinished.open_run(run, begun(), restart=False) == []


def test_a_damaged_note_beside_receipts_of_another_run(config, monkeypatch):
    """Where the receipts say that another run was begun here, a damaged note doesn't hand the directory over."""
    own, _ = interrupted(config, monkeypatch)
    (Path(config.output) / unfinished.NOTE).write_text("{")
    with pytest.raises(
        RunError, match=f"the receipts are of run {own.run_id}, not of {begun().run_id}"
    ):
        unfinished.open_run(config.output, begun(), restart=False)
    assert "receipts say" in unfinished.open_run(config.output, own, restart=False)[0]


def test_temporary_files_are_swept(tmp_path):
    """What a killed write left goes at the start of the next attempt, and is said."""
    unfinished.open_run(str(tmp_path), begun(), restart=False)
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / f".part-0.parquet.{'0f' * 16}.tmp").write_text("half")
    assert unfinished.open_run(str(tmp_path), begun(), restart=False) == [
        "removed 1 temporary files of an attempt that was cut off"
    ]
    assert list((tmp_path / "clean").iterdir()) == []


def test_a_finished_run_is_refused_and_tidied(tmp_path):
    """What a crash after publication left in .work goes; the run is named finished, unless it is to be replaced."""
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / ".work" / "receipts").mkdir(parents=True)
    unfinished.require_unfinished(str(tmp_path), restart=True)
    with pytest.raises(RunError, match="finished"):
        unfinished.require_unfinished(str(tmp_path), restart=False)
    assert list((tmp_path / ".work").iterdir()) == []


def test_a_foreign_folder_is_not_written_into(tmp_path):
    """A directory with a `clean` folder that is no unfinished run is refused."""
    (tmp_path / "clean").mkdir()
    with pytest.raises(RunError, match="no unfinished run"):
        unfinished.open_run(str(tmp_path), begun(), restart=False)


def test_clear_leaves_other_files_alone(tmp_path):
    """Starting over removes what a run writes, and nothing else."""
    (tmp_path / "notes.txt").write_text("mine")
    for folder in unfinished.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text("old")
    (tmp_path / "manifest.json").write_text("{}")
    unfinished.clear(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_shards_are_believed_on_proof(config, monkeypatch):
    """A shard counts as done by a whole receipt of this run and plan, and files as it says; whatever fails is said."""
    own, plans = interrupted(config, monkeypatch)
    run = Path(config.output)
    assert len(unfinished.progress(config.output, own, plans).done) == len(plans) == 6
    first, second, third, fourth, fifth = (plan.name for plan in plans[:5])
    (run / "ledger" / f"{first}.parquet").write_bytes(b"")
    (run / "scores" / f"{second}.parquet").unlink()
    receipt = run / ".work" / "receipts" / f"{third}.json"
    receipt.write_bytes(receipt.read_bytes()[:-9])
    shutil.copy(
        run / ".work" / "receipts" / f"{fifth}.json", run / ".work" / "receipts" / f"{fourth}.json"
    )
    shutil.copy(
        run / ".work" / "receipts" / f"{fifth}.json",
        run / ".work" / "receipts" / "part-000099-aaaaaaaaaaaa.json",
    )
    found = unfinished.progress(config.output, own, plans)
    assert set(found.done) == {plan.name for plan in plans[4:]}
    assert found.remarks == [
        f"shard {first} doesn't count: ledger/{first}.parquet isn't as its receipt says",
        f"shard {second} doesn't count: scores/{second}.parquet is missing",
        f"shard {third} doesn't count: its receipt is damaged",
        f"shard {fourth} doesn't count: its receipt is of another run",
        "shard part-000099-aaaaaaaaaaaa doesn't count: its receipt is of another run",
    ]
    assert unfinished.progress(config.output, begun(), plans).done == {}


def test_strays_are_removed(run, config):
    """Files in a run's folders that no receipt speaks of go; what stands beside the folders stays."""
    folder, manifest = run
    for name in (
        "clean/part-000009-aaaaaaaaaaaa.parquet",
        "vectors/x",
        "report/index.html",
        "notes.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    receipt = Receipt(
        "all",
        40,
        tuple(OutputFile(**output.model_dump()) for output in manifest.outputs),
        {},
        {},
        "",
        0,
        0,
    )
    assert unfinished.remove_strays(config.output, [receipt]) == [
        "clean/part-000009-aaaaaaaaaaaa.parquet",
        "vectors/x",
    ]
    assert set(unfinished.present(config.output)) == {
        output.path for output in manifest.outputs
    } | {"manifest.json", "notes.txt"}


def test_a_run_that_was_taken_over_is_not_published(tmp_path):
    """When the note of another run stands in place of ours, or none at all, publication is refused."""
    run = str(tmp_path)
    begun = unfinished.Begun({"inputs": [1]}, {})
    unfinished.open_run(run, begun, restart=False)
    unfinished.require_ours(run, begun)
    unfinished.open_run(run, unfinished.Begun({"inputs": [2]}, {}), restart=True)
    with pytest.raises(RunError, match="another process has begun a run here"):
        unfinished.require_ours(run, begun)
    unfinished.clear(run)
    with pytest.raises(RunError, match="or removed this one"):
        unfinished.require_ours(run, begun)
