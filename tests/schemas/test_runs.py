"""The names in a run directory."""

import pytest

from schemas.policies import DECISIONS, PUBLISHED
from schemas.runs import (
    ALIGNED_FOLDERS,
    AUDIT_FILES,
    BEGUN,
    CALIBRATION,
    CERTIFICATE,
    CORPUS_FOLDERS,
    DONORS,
    FOLDER_OF_DECISION,
    FOLDERS,
    JSON_LINES,
    MANIFEST,
    PARQUET,
    PRIVATE_FOLDERS,
    RECEIPTS,
    REPORT_PAGE,
    SHARD_FOLDERS,
    SHARD_NAME,
    WORK,
    ShardFile,
    count_joined_files,
    is_bank_file,
    is_beside_shards,
    is_requests_file,
    name_joined_files,
    parse_path,
    receipt_path,
    receipt_shard,
    requests_path,
    shard_path,
)

SHARD = "part-000001-0123456789ab"


@pytest.mark.parametrize("folder", SHARD_FOLDERS)
def test_a_shards_path_gives_its_folder_and_name_back(folder):
    """The folder and the shard's name can be recovered from a file's path."""
    path = shard_path(folder, SHARD)
    assert path == f"{folder}/{SHARD}.parquet"
    assert parse_path(path) == ShardFile(folder, SHARD) == (folder, SHARD, PARQUET, "")
    assert parse_path(path).path() == path


@pytest.mark.parametrize("folder", CORPUS_FOLDERS)
@pytest.mark.parametrize("suffix", JSON_LINES)
def test_files_of_json_lines_have_a_suffix_for_their_compression(folder, suffix):
    """The folder, the shard and the suffix can be recovered from the path of a JSON Lines file."""
    path = shard_path(folder, SHARD, suffix)
    assert path == f"{folder}/{SHARD}{suffix}"
    assert parse_path(path) == (folder, SHARD, suffix, "")
    assert parse_path(path).path() == path


def test_a_path_of_another_kind_has_no_suffix():
    """A path without a shard's name has no suffix."""
    assert parse_path("clean/notes.txt") == ("clean", "notes.txt", "", "")
    assert parse_path(MANIFEST) == (MANIFEST, "", "", "")


@pytest.mark.parametrize("stem", ["a", "data/train-00000-of-00002", "teacher=x/a.b", f"a.{SHARD}"])
@pytest.mark.parametrize("suffix", [PARQUET, *JSON_LINES])
@pytest.mark.parametrize("folder", CORPUS_FOLDERS)
def test_files_of_the_corpus_have_the_stem_of_their_source(folder, suffix, stem):
    """The source's stem can be recovered from the path of a file in a corpus folder."""
    path = shard_path(folder, SHARD, suffix, stem)
    assert path == f"{folder}/{stem}.{SHARD}{suffix}"
    assert parse_path(path) == (folder, SHARD, suffix, stem)
    assert parse_path(path).path() == path


@pytest.mark.parametrize("folder", sorted({*SHARD_FOLDERS} - {*CORPUS_FOLDERS}))
def test_tables_about_the_corpus_are_in_flat_folders(folder):
    """Paths outside corpus folders have no stems."""
    assert shard_path(folder, SHARD, PARQUET, "a/b") == f"{folder}/{SHARD}.parquet"
    assert parse_path(f"{folder}/x.{SHARD}.parquet").stem == ""


JOINED = "part-000001-312-files-0123456789ab"


@pytest.mark.parametrize(
    ("shard", "files"),
    [(SHARD, 1), (JOINED, 312), ("part-1234567-2-files-0123456789ab", 2), ("", 1)],
)
def test_a_shards_name_says_how_many_files_it_holds(shard, files):
    """The number of joined files is read from the name; without one, it is one file."""
    assert count_joined_files(shard) == files
    assert (name_joined_files(files) in shard) == (files > 1)


@pytest.mark.parametrize("folder", CORPUS_FOLDERS)
def test_a_joined_shard_has_the_stem_of_its_first_file(folder):
    """The path of a joined file gives its stem and its shard back."""
    path = shard_path(folder, JOINED, PARQUET, "x/a")
    assert path == f"{folder}/x/a.{JOINED}.parquet"
    assert parse_path(path) == (folder, JOINED, PARQUET, "x/a")


@pytest.mark.parametrize(
    "name",
    [
        "part-0",
        "part-000001-0123456789AB",
        f"{SHARD}0",
        f"x{SHARD}",
        "part-000001-files-0123456789ab",
        "part-000001-2-0123456789ab",
    ],
)
def test_only_a_shards_name_follows_a_stem(name):
    """A file without a shard's name has no stem."""
    assert SHARD_NAME.fullmatch(name) is None
    assert parse_path(f"clean/x.{name}.parquet") == ("clean", f"x.{name}", PARQUET, "")


@pytest.mark.parametrize("base", ["", "/data/run/", "s3://bucket/run/"])
def test_a_receipts_path_gives_its_shard_back(base):
    """The shard's name can be recovered from the path or URI of its receipt."""
    assert receipt_path(SHARD) == f"{RECEIPTS}/{SHARD}.json"
    assert receipt_shard(base + receipt_path(SHARD)) == SHARD


def test_the_folders_are_distinct_and_contain_the_others():
    """Shard, private and aligned folders are folders of a run."""
    assert len(set(FOLDERS)) == len(FOLDERS)
    assert {*SHARD_FOLDERS, *PRIVATE_FOLDERS, *ALIGNED_FOLDERS} <= {*FOLDERS}
    assert {*PRIVATE_FOLDERS, *ALIGNED_FOLDERS, *CORPUS_FOLDERS} <= {*SHARD_FOLDERS}
    assert not {*CORPUS_FOLDERS} & {*ALIGNED_FOLDERS}
    assert not {*PRIVATE_FOLDERS} & {*ALIGNED_FOLDERS}


def test_single_files_are_in_folders_of_the_run():
    """The report and the calibration scores have folders, and the manifest has none."""
    assert parse_path(REPORT_PAGE).folder in FOLDERS
    assert parse_path(CALIBRATION).folder in FOLDERS
    assert "/" not in MANIFEST


def test_working_files_are_in_the_working_folder():
    """Working files are in `.work`, which isn't a folder of a finished run."""
    assert all(path.startswith(f"{WORK}/") for path in (BEGUN, RECEIPTS))
    assert WORK not in FOLDERS


def test_every_decision_has_a_folder_or_leaves_the_corpus():
    """Published rows are in `clean`, and quarantined rows and rejects have their own folders."""
    assert set(FOLDER_OF_DECISION) <= set(DECISIONS)
    assert set(DECISIONS) - set(FOLDER_OF_DECISION) == {"drop", "duplicate"}
    assert {FOLDER_OF_DECISION[name] for name in PUBLISHED} == {"clean"}
    assert FOLDER_OF_DECISION["quarantine"] == "quarantine"
    assert FOLDER_OF_DECISION["reject"] == "rejects"
    assert {*FOLDER_OF_DECISION.values()} <= {*SHARD_FOLDERS}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("bank/bank.json", True),
        ("bank/rain-talk/positive.faiss", True),
        ("bank/rain-talk/tensors.safetensors", True),
        ("bank/../x.json", False),
        ("bank/a/b/texts.json", False),
        ("bank/notes.txt", False),
        ("clean/bank.json", False),
    ],
)
def test_files_of_a_bank_are_known_by_their_names(path, expected):
    """Only files with a bank file's name count as bank files."""
    assert is_bank_file(path) is expected


def test_the_donors_of_a_swap_are_apart_from_the_runs_own_folders():
    """Donors are runs of their own, so none of the run's folders holds them."""
    assert DONORS not in (*FOLDERS, *SHARD_FOLDERS, *CORPUS_FOLDERS, WORK)
    assert parse_path(f"{DONORS}/a/clean/x.jsonl").folder == DONORS


@pytest.mark.parametrize(
    ("path", "is_requests", "is_beside"),
    [
        ("swaplist/requests-0001.jsonl", True, True),
        ("swaplist/requests-12345.jsonl", True, True),
        ("swaplist/requests-1.jsonl", False, False),
        ("swaplist/requests-0001.jsonl.gz", False, False),
        ("swaplist/part-000000-0123456789ab.parquet", False, False),
        ("clean/requests-0001.jsonl", False, False),
        ("clean/README.md", False, True),
        ("calibration/clean-scores.parquet", False, True),
        ("bank/bank.json", False, False),
    ],
)
def test_files_beside_the_shards_are_known_by_their_paths(path, is_requests, is_beside):
    """Requests, the dataset card and the calibration scores belong to no shard."""
    assert is_requests_file(path) is is_requests
    assert is_beside_shards(path) is is_beside


def test_requests_are_numbered_in_the_order_of_their_names():
    """Names sort like numbers up to 9,999, and each is the name of a file of requests."""
    names = [requests_path(number) for number in (1, 2, 10, 9_999)]
    assert names == sorted(names)
    assert names[0] == "swaplist/requests-0001.jsonl"
    assert all(map(is_requests_file, (*names, requests_path(10_000))))


def test_the_files_of_a_certificate_have_a_folder_of_their_own():
    """No shard and no bank file is there, and the folder is one of a run's."""
    assert CERTIFICATE in FOLDERS
    assert CERTIFICATE not in SHARD_FOLDERS
    for path in AUDIT_FILES:
        assert path.split("/")[0] == CERTIFICATE
        assert not is_bank_file(path)
        assert not SHARD_NAME.fullmatch(parse_path(path).shard)
