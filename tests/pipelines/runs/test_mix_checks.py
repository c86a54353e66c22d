"""Checks of a mix: altered rows, counts and donors are found."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.mix_checks import check_mix
from pipelines.verify import verify_run
from schemas.digests import compute_merkle_root
from schemas.ledgers import hash_ledger_rows
from schemas.outputs import MIXED
from schemas.runs import MANIFEST
from tests.support.forgery import edit_manifest, replace_column, reseal_file


def forge_ledger(run, name, value, added=True):
    """Change a column in the first row that was added, or wasn't, with all roots and digests."""
    for path in sorted((run / "ledger").iterdir()):
        table = pq.read_table(path)
        places = [
            row for row, mix in enumerate(table.column("mix").to_pylist()) if bool(mix) is added
        ]
        if places:
            break
    values = table.column(name).to_pylist()
    values[places[0]] = value
    table = replace_column(table, name, values)
    pq.write_table(table, path)
    root = compute_merkle_root(hash_ledger_rows(table)).hex()
    manifest = json.loads((run / MANIFEST).read_bytes())
    shards = [(shard, root if shard == path.stem else old) for shard, old in manifest["shards"]]
    whole = compute_merkle_root([bytes.fromhex(item) for _, item in shards]).hex()
    edit_manifest(run, shards=shards, ledger_root=whole)
    reseal_file(run, f"ledger/{path.name}")


def list_problems(run):
    """Return the problems that `verify` finds."""
    return [problem for _, problem in verify_run(str(run))]


def test_a_mixed_run_is_whole(mixed):
    """An untouched run has no findings."""
    assert list(check_mix(str(mixed), load_manifest(str(mixed)))) == []
    assert verify_run(str(mixed)) == []


@pytest.mark.parametrize("name", [name for name, _ in MIXED])
def test_an_altered_column_doesnt_match_the_merkle_root(mixed, name):
    """Both columns are covered by the shard's root, even in a resealed file."""
    path = min((mixed / "ledger").iterdir())
    table = pq.read_table(path)
    pq.write_table(replace_column(table, name, ["other"] * table.num_rows), path)
    reseal_file(mixed, f"ledger/{path.name}")
    assert "its rows don't give the shard's Merkle root" in list_problems(mixed)


@pytest.mark.parametrize(
    ("name", "value"),
    [("row", 5), ("row", 999), ("source", "donors/elm/other.jsonl"), ("source", "elm.jsonl")],
)
def test_an_added_row_must_be_a_clean_row_of_the_donor(mixed, name, value):
    """Even with matching roots, every added row is looked up in the donor's own run."""
    forge_ledger(mixed, name, value)
    found = [problem for _, problem in check_mix(str(mixed), load_manifest(str(mixed)))]
    assert any("isn't a clean row of the donor that it names" in problem for problem in found)
    assert list_problems(mixed)


def test_another_donors_name_is_found(mixed):
    """The donor is a part of the place, and of the counts."""
    forge_ledger(mixed, "mix", "oak")
    problems = list_problems(mixed)
    assert any("isn't a clean row of the donor" in problem for problem in problems)
    assert "counts other rows of the mix than the ledger has" in problems


def test_another_lot_is_found(mixed):
    """The rows of each lot are recounted."""
    forge_ledger(mixed, "mix_lot", '["other",null,null,null]')
    assert list_problems(mixed) == ["counts other rows of the mix than the ledger has"]


@pytest.mark.parametrize(
    ("name", "value", "added"),
    [("mix", None, True), ("mix_lot", None, True), ("mix", "elm", False), ("mix_lot", "[]", False)],
)
def test_an_added_row_has_all_of_its_signs(mixed, name, value, added):
    """Decision, donor and lot go together, in added rows and in no others."""
    forge_ledger(mixed, name, value, added)
    found = [problem for _, problem in check_mix(str(mixed), load_manifest(str(mixed)))]
    assert any("added by some columns and not by others" in problem for problem in found)


def test_counts_are_recounted(mixed):
    """The manifest can't claim more added rows than the ledger has."""
    mix = json.loads((mixed / MANIFEST).read_bytes())["mix"]
    mix["counts"]["lots"][0]["added"] += 1
    edit_manifest(mixed, mix=mix)
    assert list_problems(mixed) == ["counts other rows of the mix than the ledger has"]


def test_parents_and_settings_are_compared(mixed):
    """The parents, the share and the seed are those of the mix."""
    manifest = json.loads((mixed / MANIFEST).read_bytes())
    edit_manifest(mixed, parents=manifest["parents"][:1])
    assert list_problems(mixed) == ["parents aren't the run and the donors of the mix"]
    edit_manifest(mixed, parents=manifest["parents"], mix={**manifest["mix"], "seed": 9})
    assert list_problems(mixed) == ["mix doesn't match the settings in the config"]


def test_a_run_without_its_record_of_a_mix_is_found(mixed, run):
    """Columns of a mix need its record, and the record needs the columns."""
    edit_manifest(mixed, mix=None)
    assert "has no mix, but a ledger has the columns of one" in list_problems(mixed)
    folder, manifest = run
    assert list(check_mix(str(folder), manifest)) == []


def test_a_ledger_without_the_columns_is_found(mixed):
    """Every ledger of a mix has the columns."""
    path = min((mixed / "ledger").iterdir())
    pq.write_table(pq.read_table(path).drop_columns([name for name, _ in MIXED]), path)
    found = [problem for _, problem in check_mix(str(mixed), load_manifest(str(mixed)))]
    assert found == ["doesn't have the columns of a mix"]


def test_a_donors_run_must_be_there_and_whole(mixed):
    """An altered byte in a donor's run is named, and so is a donor that is missing."""
    path = min((mixed / "donors" / "elm" / "clean").iterdir())
    path.write_bytes(path.read_bytes().replace(b"elm answer 10", b"elm answer 1O"))
    (finding,) = verify_run(str(mixed))
    assert finding.where == f"donors/elm/clean/{path.name}"
    shutil.rmtree(mixed / "donors")
    (finding,) = verify_run(str(mixed))
    assert finding.where == "donors/elm"


@pytest.mark.parametrize("folder", ["clean", "quarantine", "scores", "spans", "swaplist"])
def test_every_altered_file_is_found(mixed, folder):
    """A changed byte in any folder of the new run is found."""
    path = min((mixed / folder).iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert [where for where, _ in verify_run(str(mixed))] == [f"{folder}/{path.name}"]


def test_a_run_without_parents_is_found(mixed):
    """A mix has a parent, whichever run a forger names instead."""
    for parents in ([], ["0" * 16]):
        edit_manifest(mixed, parents=parents)
        assert list_problems(mixed) == ["parents aren't the run and the donors of the mix"]
