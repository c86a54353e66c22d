"""Files in a run's directory that aren't part of the run."""

import shutil
from pathlib import Path

import pytest

from pipelines import filter as module
from pipelines.runs import foreign_files
from pipelines.runs.foreign_files import ForeignFile, describe_foreign_file
from pipelines.verify import list_files_left_aside, verify_run
from schemas.errors import RunError
from schemas.receipts import Output

SHARD = "part-000000-aaaaaaaaaaaa"

READ = (
    f"clean/{SHARD}.parquet",
    "clean/copy of a.jsonl",
    "clean/deep/er/extra.csv",
    "clean/notes.txt",
    "clean/._a.part-000000-aaaaaaaaaaaa.parquet",
    "clean/.ipynb_checkpoints/a.jsonl",
    "quarantine/more.json.gz",
    "ledger/old.parquet",
    "scores/x",
    "calibration/own.parquet",
    "vectors/rows.arrow",
)
ASIDE = (
    "report/notes.txt",
    ".DS_Store",
    "README.md",
    "extra.jsonl",
    "lost+found/#1234",
    "own/folder/a.parquet",
    "clean/.DS_Store",
    "clean/Thumbs.db",
    "clean/desktop.ini",
    "clean/lost+found/x",
    "clean/@eaDir/a.jsonl@SynoEAStream",
    "clean/_SUCCESS",
    "clean/deep/.directory",
    "clean/.a.jsonl.swp",
    "clean/a.jsonl~",
    "clean/#a.jsonl#",
    "ledger/.nfs00000000012abcde00000007",
    "spans/.fuse_hidden0000000200000001",
    f".manifest.json.{'0' * 32}.tmp",
    f"clean/.a.jsonl.{'0' * 32}.tmp",
)
"""Foreign files that a reader of the run's folders would read or skip."""


@pytest.mark.parametrize("path", READ)
def test_data_in_a_folder_of_the_run_is_read(path):
    """Any file that a glob may match in a run's folder is data, even if hidden."""
    found = describe_foreign_file(path)
    assert found.is_read
    assert found.problem.endswith(f"whoever reads {path.split('/')[0]}/ reads it too")


@pytest.mark.parametrize("path", ASIDE)
def test_litter_is_left_aside(path):
    """Litter, and files outside the run's folders, aren't data."""
    found = describe_foreign_file(path)
    assert not found.is_read
    assert ("deleted" in found.problem) == (".nfs" in path or ".fuse" in path)
    assert ("temporary" in found.problem) == path.endswith(".tmp")


def write_all(run, paths):
    """Write files below a run's directory."""
    for path in paths:
        (Path(run) / path).parent.mkdir(parents=True, exist_ok=True)
        (Path(run) / path).write_text("x")


def test_files_of_others_are_told_from_data(run):
    """`verify` reports foreign data, and lists other foreign files."""
    folder, manifest = run
    write_all(folder, (*READ, *ASIDE, ".work/lock"))
    listed = foreign_files.list_foreign_files(str(folder), manifest.outputs)
    assert {file.path for file in listed if file.is_read} == set(READ)
    assert {finding.where for finding in verify_run(str(folder))} == set(READ)
    assert {file.path for file in list_files_left_aside(str(folder))} == set(ASIDE)
    for path in READ:
        (folder / path).unlink()
    assert verify_run(str(folder)) == []


def test_a_damaged_manifest_leaves_nothing_aside(run):
    """With an unreadable manifest, no file is foreign."""
    folder, _ = run
    (folder / "manifest.json").write_text("{")
    assert list_files_left_aside(str(folder)) == []


def test_files_of_earlier_attempts_are_removed(run):
    """Strays with outputs' names are removed, and other files stay."""
    folder, manifest = run
    own = (
        "clean/part-000009-aaaaaaaaaaaa.parquet",
        "clean/deep/a.part-000009-aaaaaaaaaaaa.jsonl.gz",
        f"spans/{SHARD}.parquet",
        f"scores/.{SHARD}.parquet.{'0' * 32}.tmp",
    )
    write_all(folder, (*own, "spans/old.parquet", "vectors/x", "clean/.DS_Store", "notes.txt"))
    assert foreign_files.remove_strays(str(folder), manifest.outputs) == sorted(own)
    left = {file.path for file in foreign_files.list_foreign_files(str(folder), manifest.outputs)}
    assert left == {"spans/old.parquet", "vectors/x", "clean/.DS_Store", "notes.txt"}


def test_data_of_others_is_refused(tmp_path):
    """The error for foreign data names the file, and litter and outputs are accepted."""
    write_all(tmp_path, (f"ledger/{SHARD}.parquet", "clean/.DS_Store", "notes.txt"))
    foreign_files.require_no_foreign_data(str(tmp_path))
    write_all(tmp_path, [f"clean/mine-{number}.jsonl" for number in range(7)])
    with pytest.raises(RunError, match=r"mine-0.jsonl, .*mine-4.jsonl and 2 more: not the run's"):
        foreign_files.require_no_foreign_data(str(tmp_path))
    shutil.rmtree(tmp_path / "clean")
    outputs = [Output(path=f"ledger/{SHARD}.parquet", rows=1, bytes=1, sha256="0" * 64)]
    foreign_files.require_no_foreign_data(str(tmp_path), outputs)


@pytest.mark.parametrize("name", ["mine.jsonl", "notes.txt"])
def test_a_run_is_not_published_with_files_of_others(config, monkeypatch, name):
    """A foreign file stops publication, and no work is repeated after the file's removal."""
    real, mine = module.execute, Path(config.output, "clean", name)

    def execute(*given):
        real(*given)
        mine.write_text("{}\n")

    monkeypatch.setattr(module, "execute", execute)
    for _ in range(2):  # the second attempt refuses the file before work begins
        with pytest.raises(RunError, match=rf"clean/{name}: not the run's(.|\n)*move it out"):
            module.run_filter(config)
    monkeypatch.undo()
    assert mine.read_text() == "{}\n"
    mine.unlink()
    monkeypatch.delattr(module, "build_pipeline")
    module.run_filter(config)
    assert verify_run(config.output) == []


def test_litter_does_not_stop_a_run(config):
    """A run with litter is published and passes `verify`."""
    write_all(config.output, [path for path in ASIDE if "/" not in path])
    module.run_filter(config)
    assert verify_run(config.output) == []
    assert (Path(config.output) / "README.md").exists()
    assert not list(Path(config.output).glob("*.tmp"))


def test_the_summary_names_a_few_of_each_kind():
    """Each problem has one line with at most five files and a count."""
    files = [ForeignFile(f"f{number}", "isn't the run's", is_read=False) for number in range(7)]
    files.append(ForeignFile("clean/.nfs0001", "is deleted", is_read=False))
    assert list(foreign_files.summarise_foreign_files(files)) == [
        "left aside: f0, f1, f2, f3, f4 and 2 more: isn't the run's",
        "left aside: clean/.nfs0001: is deleted",
    ]
    assert list(foreign_files.summarise_foreign_files([])) == []


def test_files_of_a_certificate_are_known():
    """What `certify` writes isn't foreign, and other files beside it are left aside."""
    found = foreign_files.describe_foreign_file("certificate/notes.txt")
    assert (found.is_read, found.problem) == (
        False,
        "isn't the run's, and is beside its certificate",
    )
