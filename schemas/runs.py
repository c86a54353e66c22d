"""Run directories: the names of their folders and files, and the folder of each decision."""

from __future__ import annotations

import re
from typing import NamedTuple

from schemas.policies import PUBLISHED

MANIFEST = "manifest.json"
"""The file that a run writes last; the run is finished once it exists."""

WITHDRAWN = "withdrawn.json"
"""The manifest of a run that a budget stopped, as it would have been published."""

WORK = ".work"
"""The folder for the working files of an unfinished run."""

BEGUN = f"{WORK}/run.json"
"""The identity and the settings of an unfinished run."""

BANK = "bank"
"""The folder for the fitted traits that a run uses, which stay with the finished run."""

RECEIPTS = f"{WORK}/receipts"
REPORT = "report"
REPORT_PAGE = f"{REPORT}/index.html"
RATES_TABLE = f"{REPORT}/rates.parquet"
"""The table of rates that a report shows; `congener verify` makes it and the page again."""
CALIBRATION = "calibration/clean-scores.parquet"
"""The scores of the held-out clean texts that thresholds are calibrated on."""

POSITIVES = "calibration/positive-scores.parquet"
"""The scores of the cards' positives, each computed without that positive."""

CALIBRATION_FILES = (CALIBRATION, POSITIVES)

CLEAN_CARD = "clean/README.md"
"""The clean rows' dataset card, if the input has a card that lists the files of each split."""

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

FOLDERS = (*SHARD_FOLDERS, "calibration", BANK, REPORT)
"""Every folder of a finished run."""

EVIDENCE_FOLDERS = ("ledger", "scores", "spans", "calibration")
"""The folders without text, which stay if a budget stops a run."""

PRIVATE_FOLDERS = ("quarantine", "rejects", "swaplist")
"""The folders with text that was taken out of the corpus."""

ALIGNED_FOLDERS = ("scores", "spans", "vectors")
"""The folders whose files have a row for every row of the ledger, in the same order."""

FOLDER_OF_DECISION = {
    **dict.fromkeys(PUBLISHED, "clean"),
    "quarantine": "quarantine",
    "reject": "rejects",
}
"""For each decision whose rows are kept in a folder, the name of that folder."""

CORPUS_FOLDERS = ("clean", "quarantine")
"""The folders that hold the corpus's own rows, as Parquet or JSON Lines like the input.

They mirror the folders of the input. Other folders are flat, so that one glob matches all files.
"""

SHARD_NAME = re.compile(r"part-[0-9]{6,}-[0-9a-f]{12}")
"""The name of a shard: its number in the corpus, and a digest of its rows' origin."""

BANK_FILE = re.compile(rf"{BANK}/(?:[a-z0-9-]+/)?[a-z]+\.(?:json|faiss|safetensors)")
"""The path of a bank's file in the run directory."""

PARQUET = ".parquet"
JSON_LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
"""The suffixes of files in `clean/` and `quarantine/` for JSON Lines, one per compression."""


class ShardFile(NamedTuple):
    """One of a run's files: the folder, the shard whose rows it holds, and the suffix.

    In `CORPUS_FOLDERS`, `stem` is the path of the rows' source, made safe and without its suffixes.
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
    """Split a file's path in a run into folder, shard, suffix and stem."""
    folder, _, name = path.partition("/")
    suffix = next((known for known in (PARQUET, *JSON_LINES) if name.endswith(known)), "")
    stem, dot, shard = name.removesuffix(suffix).rpartition(".")
    if folder in CORPUS_FOLDERS and dot and SHARD_NAME.fullmatch(shard):
        return ShardFile(folder, shard, suffix, stem)
    return ShardFile(folder, name.removesuffix(suffix), suffix)


def is_bank_file(path: str) -> bool:
    """Return whether a path in the run directory is named like a file of a bank."""
    return BANK_FILE.fullmatch(path) is not None


def is_json_lines(path: str) -> bool:
    """Return whether a path in the run directory names a JSON Lines file."""
    return parse_path(path).suffix in JSON_LINES


def receipt_path(shard: str) -> str:
    """Return the path of a shard's receipt in the run directory."""
    return f"{RECEIPTS}/{shard}.json"


def receipt_shard(uri: str) -> str:
    """Return the name of a receipt's shard, from the receipt's path or URI."""
    return uri.rpartition("/")[2].removesuffix(".json")
