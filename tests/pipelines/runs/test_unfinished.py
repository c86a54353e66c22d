"""An unfinished run: its beginning, its resumption and its shards."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from pipelines import filter as module
from pipelines.runs import unfinished
from pipelines.runs.unfinished import RunRecord
from pipelines.verify import verify_run
from schemas.digests import canonicalise_json, digest_config
from schemas.errors import BudgetError, RunError
from schemas.notices import Notice
from schemas.runs import BEGUN, FOLDERS, RECEIPTS, WITHDRAWN
from transforms.files import storage
from transforms.files.planning import ShardPlan


def build_record(**identity) -> RunRecord:
    """Return a run's record."""
    own = {"bank_digest": "a", "inputs": [["a.jsonl", 1, "f" * 64]]}
    return RunRecord(own | identity, {"traits": {}})


def interrupt_run(config, monkeypatch) -> tuple[RunRecord, list[ShardPlan]]:
    """Stop a run before its publication; return its record and shards."""
    opened = []

    def stop(*given):
        opened.append(given[0])
        raise RuntimeError("stop before publishing")

    with monkeypatch.context() as patch:
        patch.setattr(module, "publish", stop)
        with pytest.raises(RuntimeError, match="stop"):
            module.run_filter(config)
    plan = opened[0].plan
    return plan.record, plan.shards


def test_a_run_resumes_only_as_itself(tmp_path):
    """A run with another identity is refused with reasons, unless `restart` replaces it."""
    run = str(tmp_path)
    other = build_record(bank_digest="b")
    assert unfinished.open_run(run, build_record(), restart=False) == []
    assert unfinished.open_run(run, build_record(), restart=False) == []
    with pytest.raises(RunError, match="other settings:\n    bank_digest: was a, is b") as caught:
        unfinished.open_run(run, other, restart=False)
    assert "--restart" in caught.value.remedy
    unfinished.open_run(run, other, restart=True)
    unfinished.open_run(run, other, restart=False)


def test_other_settings_are_refused_before_any_work(tmp_path):
    """The settings that are known before a fit are compared with those of the unfinished run."""
    run = str(tmp_path)
    unfinished.check_begun(run, {"policy": {"duplicates": "remove"}})
    settings = {"policy": {"duplicates": "keep"}, "config": {"signals": []}, "traits": {"a": "1"}}
    unfinished.open_run(run, build_record()._replace(settings=settings), restart=False)
    unfinished.check_begun(run, settings | {"config": {"signals": ()}})
    unfinished.check_begun(run, {"policy": settings["policy"]})
    changed = {"policy": {"duplicates": "remove"}, "traits": {"a": "2"}}
    with pytest.raises(RunError, match="unfinished run with other settings:") as caught:
        unfinished.check_begun(run, changed)
    assert "policy.duplicates: was keep, is remove\n    traits.a: was 1, is 2" in str(caught.value)
    unfinished.check_begun(run, changed, restart=True)
    (tmp_path / BEGUN).write_text("{")
    unfinished.check_begun(run, changed)


def test_foreign_data_is_refused_before_any_work(tmp_path):
    """A folder that no run has written, and data beside a run's own, are refused at once."""
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "mine.jsonl").write_text("{}")
    with pytest.raises(RunError, match="but no run has written it"):
        unfinished.check_begun(str(tmp_path), {})
    (tmp_path / BEGUN).parent.mkdir()
    (tmp_path / BEGUN).write_text("{}")
    with pytest.raises(RunError, match="whoever reads clean/ reads it too"):
        unfinished.check_begun(str(tmp_path), {})


def test_a_run_id_depends_on_the_identity_alone():
    """The run id depends only on the identity."""
    record = build_record()
    assert record.run_id == RunRecord(record.identity, {"traits": {"heron": "1"}}).run_id
    assert record.run_id == unfinished.compute_run_id(record.identity)
    assert record.run_id != build_record(bank_digest="b").run_id
    assert len(record.run_id) == unfinished.RUN_ID_HEX


def test_a_run_of_an_older_version_is_not_resumed(config, monkeypatch):
    """The error for a run of a version without span floors names the span floor."""
    record, _ = interrupt_run(config, monkeypatch)
    path = Path(config.output) / BEGUN
    content = json.loads(path.read_bytes())
    del content["digest"], content["settings"]["config"]["span_floor"]
    content["identity"]["config_digest"] = digest_config(content["settings"]["config"])
    path.write_bytes(canonicalise_json(content | {"digest": digest_config(content)}))
    with pytest.raises(RunError, match=r"config\.span_floor: was absent, is 0\.05"):
        module.run_filter(config)
    assert record.identity["config_digest"] != content["identity"]["config_digest"]


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"[1]", b'{"identity": {}, "settings": {}}', b"[" * 100_000],
    ids=["empty", "cut", "list", "numbers", "unsealed", "deep"],
)
def test_a_damaged_description_is_written_again(tmp_path, damage):
    """A damaged run.json is written again with a warning."""
    run = str(tmp_path)
    unfinished.open_run(run, build_record(), restart=False)
    (tmp_path / BEGUN).write_bytes(damage)
    (notice,) = unfinished.open_run(run, build_record(), restart=False)
    assert notice.severity == "warning"
    assert "run.json is damaged" in notice.text
    assert unfinished.open_run(run, build_record(), restart=False) == []


def test_receipts_of_another_run_protect_it(config, monkeypatch):
    """A directory with another run's receipts isn't taken over."""
    own, _ = interrupt_run(config, monkeypatch)
    (Path(config.output) / BEGUN).write_text("{")
    other = build_record()
    expected = f"the receipts belong to run {own.run_id}, not to {other.run_id}"
    with pytest.raises(RunError, match=expected):
        unfinished.open_run(config.output, other, restart=False)
    (notice,) = unfinished.open_run(config.output, own, restart=False)
    assert "the receipts are this run's" in notice.text


def test_temporary_files_are_swept(tmp_path):
    """The next attempt removes the temporary file of a killed write, and a notice says so."""
    unfinished.open_run(str(tmp_path), build_record(), restart=False)
    (tmp_path / "clean").mkdir()
    half = tmp_path / "clean" / f".part-0.parquet.{'0f' * 16}.tmp"
    half.write_text("half")
    os.utime(half, (time.time() + 86_400,) * 2)  # a file server's clock may be ahead
    assert unfinished.open_run(str(tmp_path), build_record(), restart=False) == [
        Notice("removed 1 temporary file of an interrupted attempt")
    ]
    assert list((tmp_path / "clean").iterdir()) == []


def test_a_finished_run_is_refused_and_tidied(tmp_path):
    """A finished run is refused, but a crash's working files are removed."""
    (tmp_path / "manifest.json").write_text('{"run_id": "a"}')
    (tmp_path / ".work" / "receipts").mkdir(parents=True)
    unfinished.require_unfinished(str(tmp_path), restart=True)
    assert (tmp_path / ".work" / "receipts").exists()
    with pytest.raises(RunError, match="finished"):
        unfinished.require_unfinished(str(tmp_path), restart=False)
    assert list((tmp_path / ".work").iterdir()) == []
    unfinished.require_unfinished(str(tmp_path / "elsewhere"), restart=False)


@pytest.mark.parametrize("folder", ["clean", "spans", "calibration"])
def test_a_foreign_folder_is_not_written_into(tmp_path, folder):
    """An output with a foreign folder such as `clean` is refused."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "mine").touch()
    with pytest.raises(RunError, match="no run has written it"):
        unfinished.open_run(str(tmp_path), build_record(), restart=False)


def test_an_emptied_folder_is_no_obstacle(tmp_path):
    """A folder with only deleted open files counts as empty."""
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / ".nfs00000000012abcde00000007").touch()
    (tmp_path / "ledger").mkdir()
    assert unfinished.open_run(str(tmp_path), build_record(), restart=False) == []


def test_a_restart_removes_no_foreign_folder(tmp_path):
    """--restart keeps a foreign folder such as `report`."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="has a folder 'report', but no run has written it"):
        unfinished.open_run(str(tmp_path), build_record(), restart=True)
    assert (tmp_path / "report" / "mine.txt").exists()


def test_an_interrupted_restart_can_be_repeated(tmp_path, monkeypatch):
    """After an interrupted removal, --restart still recognises the run."""
    (tmp_path / "manifest.json").write_text('{"run_id": "a"}')
    (tmp_path / "ledger").mkdir()
    remove = storage.remove_tree

    def fail_at_ledger(uri):
        if uri.endswith("ledger"):
            raise KeyboardInterrupt
        remove(uri)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove_tree", fail_at_ledger)
        with pytest.raises(KeyboardInterrupt):
            unfinished.open_run(str(tmp_path), build_record(), restart=True)
    assert not (tmp_path / "manifest.json").exists()
    assert unfinished.open_run(str(tmp_path), build_record(), restart=True) == []
    assert not (tmp_path / "ledger").exists()


def test_clearing_leaves_other_files(tmp_path):
    """Starting over removes only the run's files, and keeps the lock."""
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (*FOLDERS, ".work/receipts"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x").write_text("old")
    (tmp_path / "manifest.json").write_text('{"run_id": "a"}')
    (tmp_path / ".work" / "lock").write_text("held")
    unfinished.clear_run(str(tmp_path))
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert sorted(left) == [".work", ".work/lock", "notes.txt"]


def test_text_taken_out_is_private(tmp_path):
    """Only the owner may read removed text."""
    before = os.umask(0o022)
    try:
        unfinished.keep_private(str(tmp_path))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("quarantine", "rejects", "swaplist"), 0o700)


def test_shards_count_only_with_proof(config, monkeypatch):
    """A shard counts as finished only if a sound receipt from this run matches all its files."""
    own, plans = interrupt_run(config, monkeypatch)
    run = Path(config.output)
    whole = unfinished.find_finished_shards(config.output, own, plans)
    assert (len(whole.receipts), whole.notices, len(plans)) == (6, [], 6)
    first, second, third, fourth, fifth = (plan.name for plan in plans[:5])
    (run / "ledger" / f"{first}.parquet").write_bytes(b"")
    (run / "spans" / f"{second}.parquet").unlink()
    receipts = run / RECEIPTS
    cut = receipts / f"{third}.json"
    cut.write_bytes(cut.read_bytes()[:-9])
    for name in (fourth, "part-000099-aaaaaaaaaaaa"):
        shutil.copy(receipts / f"{fifth}.json", receipts / f"{name}.json")
    found = unfinished.find_finished_shards(config.output, own, plans)
    assert set(found.receipts) == {plan.name for plan in plans[4:]}
    assert [str(notice) for notice in found.notices] == [
        f"shard {first} is processed again: ledger/{first}.parquet doesn't match its receipt",
        f"shard {second} is processed again: spans/{second}.parquet is missing",
        f"shard {third} is processed again: its receipt is damaged",
        f"shard {fourth} is processed again: its receipt belongs to another run",
        "shard part-000099-aaaaaaaaaaaa is processed again: its receipt belongs to another run",
    ]
    assert unfinished.find_finished_shards(config.output, build_record(), plans).receipts == {}


def test_a_run_that_was_taken_over_is_not_published(tmp_path):
    """Publication is refused if run.json is missing or is for a different run."""
    run = str(tmp_path)
    record, other = build_record(), build_record(bank_digest="b")
    unfinished.open_run(run, record, restart=False)
    unfinished.require_ours(run, record)
    unfinished.open_run(run, other, restart=True)
    with pytest.raises(RunError, match="another process has begun a run here"):
        unfinished.require_ours(run, record)
    (tmp_path / BEGUN).write_text("{")
    with pytest.raises(RunError, match="another process"):
        unfinished.require_ours(run, other)
    unfinished.clear_run(run)
    with pytest.raises(RunError, match="or has removed this one"):
        unfinished.require_ours(run, record)


def test_a_stray_is_reported_with_the_publication(config, monkeypatch):
    """Publication removes an earlier attempt's stray file."""
    interrupt_run(config, monkeypatch)
    stray = "scores/part-000009-aaaaaaaaaaaa.parquet"
    (Path(config.output) / stray).write_text("x")
    texts = []

    def listen(event):
        texts.append(str(getattr(event, "notice", "")))

    assert module.run_filter(config, listener=listen).conservation.holds()
    assert f"removed {stray}, which isn't part of this run" in texts
    assert "resuming: 6 of 6 shards are done" in texts


def test_a_run_without_receipts_has_no_finished_shard(tmp_path):
    """Without receipts, no shard is finished."""
    unfinished.open_run(str(tmp_path), build_record(), restart=False)
    assert unfinished.find_finished_shards(str(tmp_path), build_record(), []) == ({}, [])


def test_a_begun_run_is_told_from_a_new_and_a_withdrawn_one(tmp_path):
    """Only a folder whose run was begun, and not withdrawn, is resumed."""
    assert not unfinished.is_begun(str(tmp_path))
    unfinished.open_run(str(tmp_path), build_record(), restart=False)
    assert unfinished.is_begun(str(tmp_path))
    (tmp_path / WITHDRAWN).write_text("{}")
    assert not unfinished.is_begun(str(tmp_path))


def test_a_restart_replaces_a_finished_run(tmp_path):
    """--restart removes a finished run and begins a new one."""
    (tmp_path / "manifest.json").write_text('{"run_id": "a"}')
    assert unfinished.open_run(str(tmp_path), build_record(), restart=True) == []
    assert [path.name for path in tmp_path.iterdir()] == [".work"]


def test_a_finished_run_says_how_it_differs(run, config, policy):
    """The error for a finished run lists the changed settings."""
    folder = str(run[0])
    with pytest.raises(RunError) as caught:
        unfinished.require_unfinished(folder, restart=False)
    assert caught.value.problem == "the run is finished"
    given = config.model_copy(update={"policy": policy("removal_budget: 0.5"), "limit": 3})
    with pytest.raises(RunError) as caught:
        unfinished.require_unfinished(folder, restart=False, config=given)
    assert "policy.removal_budget: was absent, is 0.5" in caught.value.problem
    assert "config.limit: was absent, is 3" in caught.value.problem


def test_a_withdrawn_run_is_replaced(config, policy):
    """A run into a withdrawn run's folder begins from nothing."""
    stopped = config.model_copy(update={"policy": policy("removal_budget: 0")})
    with pytest.raises(BudgetError):
        module.run_filter(stopped)
    assert (Path(config.output) / WITHDRAWN).exists()
    module.run_filter(config)
    assert not (Path(config.output) / WITHDRAWN).exists()
    assert verify_run(config.output) == []
