"""Checks of a swap: altered origins, counts and donors are found."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.swap_checks import check_donors, check_swap, list_donor_runs
from pipelines.swap import run_swap
from pipelines.verify import verify_run
from schemas.digests import compute_merkle_root
from schemas.ledgers import hash_ledger_rows
from schemas.outputs import ORIGIN
from schemas.runs import MANIFEST
from tests.support.corpora import build_conversation, write_rows
from tests.support.forgery import edit_manifest, replace_column, reseal_file


def forge_ledger(run, change):
    """Change the first ledger with a replacement, and adjust all that depends on its bytes."""
    paths = sorted((run / "ledger").iterdir())
    path = next(path for path in paths if "replaced" in pq.read_table(path)["swap"].to_pylist())
    table = change(pq.read_table(path))
    pq.write_table(table, path)
    root = compute_merkle_root(hash_ledger_rows(table)).hex()
    manifest = json.loads((run / MANIFEST).read_bytes())
    shards = [(name, root if name == path.stem else old) for name, old in manifest["shards"]]
    whole = compute_merkle_root([bytes.fromhex(item) for _, item in shards]).hex()
    edit_manifest(run, shards=shards, ledger_root=whole)
    reseal_file(run, f"ledger/{path.name}")


def change_value(name, value, outcome="replaced"):
    """Return a change to one column of the first row with an outcome."""

    def change(table):
        values = table.column(name).to_pylist()
        values[table.column("swap").to_pylist().index(outcome)] = value
        return replace_column(table, name, values)

    return change


def list_problems(run):
    """Return the problems that `verify` finds."""
    return [problem for _, problem in verify_run(str(run))]


def test_a_swapped_run_is_whole(swapped):
    """An untouched run has no findings."""
    manifest = load_manifest(str(swapped))
    assert list(check_swap(str(swapped), manifest)) == []
    assert list(check_donors(str(swapped), manifest)) == []
    assert verify_run(str(swapped)) == []


@pytest.mark.parametrize("name", [name for name, _ in ORIGIN])
def test_an_altered_origin_doesnt_match_the_merkle_root(swapped, name):
    """Every column of the origin is covered by the shard's root, even in a resealed file."""
    path = min((swapped / "ledger").iterdir())
    table = pq.read_table(path)
    value = 7 if name in ("donor_row", "distance") else "other"
    pq.write_table(replace_column(table, name, [value] * table.num_rows), path)
    assert any("ledger" in where for where, _ in verify_run(str(swapped)))
    reseal_file(swapped, f"ledger/{path.name}")
    assert "its rows don't give the shard's Merkle root" in list_problems(swapped)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("donor", "oak"),
        ("donor", "elm"),
        ("donor_record", "0" * 32),
        ("donor_row", 2),
        ("donor_source", "other.jsonl"),
    ],
)
def test_a_forged_origin_isnt_a_clean_row_of_the_donor(swapped, name, value):
    """Even with matching roots, the origin is looked up in the donor's own run."""
    counts = load_manifest(str(swapped)).swap.counts
    forge_ledger(swapped, change_value(name, value))
    problems = list_problems(swapped)
    assert any("isn't a clean row of that donor" in problem for problem in problems)
    assert load_manifest(str(swapped)).swap.counts == counts


def test_a_row_on_which_a_trait_fires_is_no_origin(swapped):
    """A donor's quarantined row can't be named as an origin."""
    donor = pq.read_table(min((swapped / "donors" / "cedar" / "ledger").iterdir())).to_pylist()
    bad = next(row for row in donor if row["decision"] == "quarantine")

    def change(table):
        table = change_value("donor_row", bad["row"])(table)
        return change_value("donor_record", bad["record_id"])(table)

    forge_ledger(swapped, change)
    assert any("isn't a clean row" in problem for problem in list_problems(swapped))


def test_outcomes_must_fit_decisions(swapped):
    """A replaced row must be in `clean/`, and outcomes have known names."""
    forge_ledger(swapped, change_value("swap", "no donor"))
    assert any("a decision that isn't its outcome" in problem for problem in list_problems(swapped))


def test_unknown_outcomes_are_found(swapped):
    """An outcome of another program isn't one of a swap."""
    forge_ledger(swapped, change_value("swap", "borrowed"))
    assert any("unknown outcome 'borrowed'" in problem for problem in list_problems(swapped))


def test_counts_are_recounted(swapped):
    """The manifest can't claim more replacements than the ledger has."""
    swap = json.loads((swapped / MANIFEST).read_bytes())["swap"]
    swap["counts"]["outcomes"]["replaced"] += 1
    edit_manifest(swapped, swap=swap)
    assert list_problems(swapped) == ["counts other outcomes of the swap than the ledger has"]


def test_parents_and_settings_are_compared(swapped):
    """The parents and the recorded settings are those of the swap."""
    edit_manifest(swapped, parents=["0" * 16])
    assert "parents aren't the run and the donors of the swap" in list_problems(swapped)
    swap = json.loads((swapped / MANIFEST).read_bytes())["swap"]
    edit_manifest(swapped, swap={**swap, "near": 0.5})
    assert "swap doesn't match the settings in the config" in list_problems(swapped)


def test_a_run_without_its_record_of_a_swap_is_found(swapped, run):
    """Columns of a swap need its record, and the record needs the columns."""
    edit_manifest(swapped, swap=None)
    assert "has no swap, but a ledger has the columns of one" in list_problems(swapped)
    folder, manifest = run
    assert list(check_swap(str(folder), manifest)) == []
    record = manifest.model_copy(update={"swap": None})
    assert list(check_donors(str(folder), record)) == []


def test_a_ledger_without_origins_is_found(swapped):
    """Every ledger of a swap has the columns."""
    path = min((swapped / "ledger").iterdir())
    table = pq.read_table(path).drop_columns([name for name, _ in ORIGIN])
    pq.write_table(table, path)
    manifest = load_manifest(str(swapped))
    problems = [problem for _, problem in check_swap(str(swapped), manifest)]
    assert problems == ["doesn't have the columns of a swap"]


def test_a_donors_bytes_are_checked(swapped):
    """An altered byte in a donor's run is named with its path."""
    path = min((swapped / "donors" / "oak" / "clean").iterdir())
    path.write_bytes(path.read_bytes().replace(b"oak answer 20", b"oak answer 2O"))
    (finding,) = verify_run(str(swapped))
    assert finding.where == f"donors/oak/clean/{path.name}"


def test_a_donor_that_is_missing_or_another_one_is_found(swapped):
    """A donor's folder holds the run that the manifest names."""
    manifest = load_manifest(str(swapped))
    assert list_donor_runs(str(swapped), manifest) == {
        f"donors/{name}": str(swapped / "donors" / name) for name in ("cedar", "oak")
    }
    shutil.rmtree(swapped / "donors" / "oak")
    (finding,) = check_donors(str(swapped), manifest)
    assert finding.where == "donors/oak"
    shutil.copytree(swapped / "donors" / "cedar", swapped / "donors" / "oak")
    (finding,) = check_donors(str(swapped), manifest)
    assert finding.problem == "isn't the run that the manifest names as a donor"
    assert list_problems(swapped) == [finding.problem]


@pytest.mark.parametrize("folder", ["clean", "quarantine", "scores", "spans", "swaplist"])
def test_every_altered_file_is_found(swapped, folder):
    """A changed byte in any folder of the new run is found."""
    path = min((swapped / folder).iterdir())
    data = path.read_bytes()
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    assert [where for where, _ in verify_run(str(swapped))] == [f"{folder}/{path.name}"]


@pytest.fixture
def swapped_twice(swapped_once, swap_config, tmp_path):
    """Return a run with answers of two swaps."""
    donor = write_rows(tmp_path / "elm.jsonl", [build_conversation(36, "Elm.")])
    run_swap(swap_config(donors=(str(donor),), run=str(swapped_once), output="third"))
    assert list_problems(tmp_path / "third") == []
    return tmp_path / "third"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("donor", "ash", "counts other rows of earlier swaps than the ledger has"),
        ("swap_run", None, "counts other outcomes of the swap than the ledger has"),
        ("swap_run", "another", "counts other rows of earlier swaps than the ledger has"),
        ("swap", "no donor", "counts other rows of earlier swaps than the ledger has"),
    ],
)
def test_forged_origins_of_an_earlier_swap_are_found(swapped_twice, name, value, problem):
    """The manifest counts an earlier swap's rows by donor and outcome, and names its donors."""

    def forge(table):
        values = table.column(name).to_pylist()
        values[first_earlier(table)] = value
        return replace_column(table, name, values)

    forge_ledger(swapped_twice, forge)
    assert problem in list_problems(swapped_twice)


def first_earlier(table):
    """Return the first row of a ledger that an earlier swap replaced."""
    return next(i for i, run in enumerate(table.column("swap_run").to_pylist()) if run)


def test_a_donor_that_an_earlier_swap_didnt_have_is_found(swapped_twice):
    """Counts and ledger may agree on a donor that no swap had."""
    manifest = load_manifest(str(swapped_twice))
    (earlier,) = manifest.swap.earlier
    assert earlier.counts.by_donor == {"cedar": 4, "oak": 1}
    less = earlier.model_copy(update={"donors": earlier.donors[:1]})
    record = manifest.swap.model_copy(update={"earlier": (less,)})
    forged = manifest.model_copy(update={"swap": record})
    problems = [finding.problem for finding in check_swap(str(swapped_twice), forged)]
    assert problems == [f"has answers of a donor that swap {earlier.run_id} didn't have"]


def test_rows_replaced_by_an_earlier_swap_need_no_origin(swapped):
    """The ledger of a second swap has the decision `swap` without an outcome for such rows."""

    def forget(table):
        place = table.column("swap").to_pylist().index("replaced")
        for name, kind in ORIGIN:
            values = table.column(name).to_pylist()
            values[place] = None
            table = replace_column(table, name, values)
            assert table.schema.field(name).type == kind
        return table

    forge_ledger(swapped, forget)
    assert list_problems(swapped) == ["counts other outcomes of the swap than the ledger has"]
    assert pa.types.is_string(dict(ORIGIN)["swap"])
