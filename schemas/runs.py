"""Run directories: the names of their folders and files, and the folder of each decision."""

from __future__ import annotations

import re
from typing import NamedTuple

from schemas.policies import PUBLISHED

MANIFEST = "manifest.json"
"""The file that a run writes last; the run is finished once it exists."""

WITHDRAWN = "withdrawn.json"
"""The manifest of a run that a budget stopped."""

WORK = ".work"
"""The folder for the working files of an unfinished run."""

BEGUN = f"{WORK}/run.json"
"""The identity and the settings of an unfinished run."""

BANK = "bank"
"""The folder of the fitted traits that a run uses."""

RECEIPTS = f"{WORK}/receipts"
DONORS = "donors"
"""The folder of the filtered donors of a run that `congener swap` writes, each a run of its own."""

REPORT = "report"
REPORT_PAGE = f"{REPORT}/index.html"
RATES_TABLE = f"{REPORT}/rates.parquet"
PAIRS_TABLE = f"{REPORT}/pairs.parquet"
"""The tables of the report; `congener verify` recomputes them."""
CERTIFICATE = "certificate"
"""The folder of the audit that `congener certify` draws, and of what it states."""

AUDIT_SAMPLE = f"{CERTIFICATE}/sample.json"
AUDIT_LABELS = f"{CERTIFICATE}/labels.jsonl"
AUDIT_STATEMENT = f"{CERTIFICATE}/certificate.json"
AUDIT_HISTORY = f"{CERTIFICATE}/history.jsonl"
AUDIT_FILES = (AUDIT_SAMPLE, AUDIT_LABELS, AUDIT_STATEMENT, AUDIT_HISTORY)
"""The drawn rows, the raters' answers without text, the certificate, and all statements so far."""

CALIBRATION = "calibration/clean-scores.parquet"
"""The calibration scores of the held-out clean texts."""

POSITIVES = "calibration/positive-scores.parquet"
"""The scores of the cards' positives, each computed without that positive."""

CALIBRATION_FILES = (CALIBRATION, POSITIVES)

CLEAN_CARD = "clean/README.md"
"""The dataset card of the clean rows: the files of each split, if the input's card lists them, and
the columns of JSON Lines, if some row has the field `congener`.
"""

REQUESTS_FILE = re.compile(r"swaplist/requests-[0-9]{4,}\.jsonl")
"""The path of a file of requests for the prompts on the swap list, which belongs to no shard."""

SHARD_FOLDERS = (
    "clean",
    "quarantine",
    "rejects",
    "ledger",
    "scores",
    "spans",
    "swaplist",
    "vectors",
)
"""The folders with one file per shard; a shard with no rows for a folder has no file there."""

FOLDERS = (*SHARD_FOLDERS, "calibration", BANK, REPORT, CERTIFICATE)
"""Every folder of a finished run."""

EVIDENCE_FOLDERS = ("ledger", "scores", "spans", "calibration")
"""The folders without text. They remain if a budget stops a run."""

PRIVATE_FOLDERS = ("quarantine", "rejects", "swaplist")
"""The folders with text that left the corpus."""

ALIGNED_FOLDERS = ("scores", "spans", "vectors")
"""The folders whose rows match the ledger's rows, in the same order."""

FOLDER_OF_DECISION = {
    **dict.fromkeys(PUBLISHED, "clean"),
    "quarantine": "quarantine",
    "reject": "rejects",
}
"""The folder of each decision whose rows are kept."""

CORPUS_FOLDERS = ("clean", "quarantine")
"""The folders that hold the corpus's own rows, as Parquet or JSON Lines like the input.

They mirror the folders of the input. Other folders are flat, so that one glob matches all files.
"""

SHARD_NAME = re.compile(r"part-[0-9]{6,}-(?:(?P<files>[0-9]+)-files-)?[0-9a-f]{12}")
"""The name of a shard: its number in the corpus, and a digest of where its rows come from.

Between them is the number of files whose rows it holds, if there are several.
"""

BANK_FILE = re.compile(rf"{BANK}/(?:[a-z0-9-]+/)?[a-z]+\.(?:json|faiss|safetensors)")
"""The path of a bank file in the run directory."""

PARQUET = ".parquet"
JSON_LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
"""The suffixes of JSON Lines in `clean/` and `quarantine/`, one per compression."""


class ShardFile(NamedTuple):
    """One of a run's shard files: its folder, shard and suffix.

    In `CORPUS_FOLDERS`, `stem` is the source's path, made safe and without suffixes.
    """

    folder: str
    shard: str
    suffix: str = PARQUET
    stem: str = ""

    def path(self) -> str:
        """Return the file's path in the run directory."""
        name = f"{self.stem}.{self.shard}" if self.stem else self.shard
        return f"{self.folder}/{name}{self.suffix}"


def shard_path(folder: str, shard: str, suffix: str = PARQUET, stem: str = "") -> str:
    """Return the path of a shard's file in the run directory; only corpus folders use `stem`."""
    return ShardFile(folder, shard, suffix, stem if folder in CORPUS_FOLDERS else "").path()


def parse_path(path: str) -> ShardFile:
    """Split a shard file's path into folder, shard, suffix and stem."""
    folder, _, name = path.partition("/")
    suffix = next((known for known in (PARQUET, *JSON_LINES) if name.endswith(known)), "")
    stem, dot, shard = name.removesuffix(suffix).rpartition(".")
    if folder in CORPUS_FOLDERS and dot and SHARD_NAME.fullmatch(shard):
        return ShardFile(folder, shard, suffix, stem)
    return ShardFile(folder, name.removesuffix(suffix), suffix)


def name_joined_files(files: int) -> str:
    """Return the part of a shard's name that says how many files it holds rows of."""
    return f"{files}-files-"


def count_joined_files(shard: str) -> int:
    """Return the number of files that a shard holds rows of, which its name says if above 1."""
    found = SHARD_NAME.fullmatch(shard)
    return int(found["files"] or 1) if found else 1


def is_bank_file(path: str) -> bool:
    """Return whether a path in the run directory belongs to a bank file."""
    return BANK_FILE.fullmatch(path) is not None


def is_json_lines(path: str) -> bool:
    """Return whether a path in the run directory names a JSON Lines file."""
    return parse_path(path).suffix in JSON_LINES


def requests_path(number: int) -> str:
    """Return the path of a file of requests in the run directory. The first number is 1."""
    return f"swaplist/requests-{number:04d}.jsonl"


def is_requests_file(path: str) -> bool:
    """Return whether a path in the run directory belongs to a file of requests."""
    return REQUESTS_FILE.fullmatch(path) is not None


def is_beside_shards(path: str) -> bool:
    """Return whether a file of a run belongs to no shard, although it isn't the bank's."""
    return path in (*CALIBRATION_FILES, CLEAN_CARD) or is_requests_file(path)


def receipt_path(shard: str) -> str:
    """Return the path of a shard's receipt in the run directory."""
    return f"{RECEIPTS}/{shard}.json"


def receipt_shard(uri: str) -> str:
    """Return the name of the shard that a receipt's path or URI belongs to."""
    return uri.rpartition("/")[2].removesuffix(".json")
