"""Successors: what swaps and mixes have in common as runs that are made from a run."""

import pytest

from pipelines.banks import load_bank
from pipelines.config import FilterConfig
from pipelines.runs.manifest_file import load_manifest
from pipelines.successors import (
    describe_successor,
    list_shards,
    open_successor,
    require_apart,
    send,
    settle_parents_key,
    settle_successor,
)
from schemas.digests import digest_config
from schemas.errors import CardError, RunError
from schemas.events import Noticed
from schemas.notices import Notice
from schemas.runs import BANK, parse_path


@pytest.fixture
def make_successor(held, tmp_path):
    """Return a function that settles a successor of the held run with some settings."""

    def make(output="new", **action):
        run = str(held / "run")
        own = FilterConfig(output=str(tmp_path / output))
        bank = load_bank(f"{run}/{BANK}")
        return settle_successor(run, load_manifest(run), own, bank, action, "cpu, fp32")

    return make


def test_a_successor_is_identified_by_its_parent_and_its_settings(make_successor, held):
    """Other settings give another run, and the parent's settings are kept."""
    parent = load_manifest(str(held / "run"))
    one, same, other = make_successor(mix=1), make_successor("b", mix=1), make_successor(mix=2)
    assert one.run_id == same.run_id
    assert len({one.run_id, other.run_id, parent.run_id}) == 3
    assert one.recorded == {**parent.config, "mix": 1}
    assert one.identity.config_digest == digest_config(one.recorded)
    assert one.identity.computed_in == "fp32"
    assert one.identity.inputs == parent.identity.inputs
    assert one.identity.bank_digest == parent.identity.bank_digest
    assert one.record.settings == {"config": one.recorded}


def test_opening_writes_the_bank_and_refuses_other_settings(make_successor, tmp_path):
    """The same successor is resumed, and another one isn't."""
    one = make_successor(mix=1)
    open_successor(one, restart=False, listener=lambda event: None)
    assert load_bank(str(tmp_path / "new" / BANK)).digest == one.bank.digest
    open_successor(one, restart=False, listener=lambda event: None)
    with pytest.raises(RunError, match="other settings"):
        open_successor(make_successor(mix=2), restart=False, listener=lambda event: None)
    open_successor(make_successor(mix=2), restart=True, listener=lambda event: None)


def test_the_manifest_names_parent_and_donors(make_successor, held):
    """The fields that every successor changes are those of the new run."""
    successor = make_successor(mix=1)
    found = describe_successor(successor, [], ["congener", "mix"], 2.0, ["a", "b"])
    assert found["parents"] == (load_manifest(str(held / "run")).run_id, "a", "b")
    assert (found["run_id"], found["digest"]) == (successor.run_id, "")
    assert found["circumstances"]["device"] == "cpu, fp32"
    assert found["circumstances"]["command"] == ["congener", "mix"]


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_the_run_itself_is_no_output(held, monkeypatch, end):
    """Relative and absolute paths of one folder are the same."""
    run = str(held / "run")
    require_apart(run, str(held / "other"), "a swap")
    monkeypatch.chdir(held)
    with pytest.raises(CardError, match="is the run itself, which a swap doesn't change"):
        require_apart(run, f"run{end}", "a swap")


def test_a_key_is_needed_only_by_a_keyed_run(held, key_file):
    """A run without keyed digests refuses a key, which would change every digest."""
    parent = load_manifest(str(held / "run"))
    assert settle_parents_key(None, parent) is None
    with pytest.raises(CardError, match="aren't keyed"):
        settle_parents_key(key_file, parent)
    identity = parent.identity.model_copy(update={"digest_key": "0" * 16})
    keyed = parent.model_copy(update={"identity": identity})
    with pytest.raises(CardError, match="the run's key is needed"):
        settle_parents_key(None, keyed)
    with pytest.raises(CardError, match="the run's key is needed"):
        settle_parents_key(key_file, keyed)


def test_every_file_of_a_shard_is_listed(held):
    """The files of all shards are the outputs of the run that belong to shards."""
    parent = load_manifest(str(held / "run"))
    shards = list_shards(parent)
    paths = {path for shard in shards for path in shard.files.values()}
    assert paths == {
        output.path
        for output in parent.outputs
        if parse_path(output.path).shard.startswith("part-")
    }
    assert sum(shard.rows for shard in shards) == parent.conservation.rows_in


def test_notices_are_sent_in_order():
    """A listener hears every notice as an event."""
    heard = []
    send(heard.append, [Notice("one"), Notice("two")])
    assert heard == [Noticed(Notice("one")), Noticed(Notice("two"))]
