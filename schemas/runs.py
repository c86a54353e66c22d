"""The vocabulary of a run directory: its folders and files, and the folder each decision leads to."""

from __future__ import annotations

from typing import NamedTuple

from schemas.policies import PUBLISHED

MANIFEST = "manifest.json"
"""The file that makes a run finished. It is written last."""

WORK = ".work"
"""The folder of a run that isn't finished."""

BEGUN = f"{WORK}/run.json"
"""The identity and the settings that the run was begun with."""

BANK = f"{WORK}/bank"
RECEIPTS = f"{WORK}/receipts"
REPORT_PAGE = "report/index.html"
CALIBRATION = "calibration/clean-scores.parquet"
"""The scores of the clean texts that thresholds are calibrated on, by trait and signal."""

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
"""The folders that hold a file a shard."""

FOLDERS = (*SHARD_FOLDERS, "calibration", "report")
"""Every folder of a run, `.work` apart."""

PRIVATE_FOLDERS = ("quarantine", "rejects", "swaplist")
"""The folders that hold text taken out of the corpus."""

ALIGNED_FOLDERS = ("scores", "spans", "vectors")
"""The folders whose files have a row for every row of the ledger, in its order."""

FOLDER_OF_DECISION = {
    **dict.fromkeys(PUBLISHED, "clean"),
    "quarantine": "quarantine",
    "reject": "rejects",
}
"""The folder that holds the rows of each decision; no folder holds the rows of the others."""


class ShardFile(NamedTuple):
    """One of a run's files: the folder and the shard whose rows it holds."""

    folder: str
    shard: str

    def path(self) -> str:
        """Return the file's path in the run directory."""
        return f"{self.folder}/{self.shard}.parquet"


def shard_path(folder: str, shard: str) -> str:
    """Return the path of a shard's file in the run directory."""
    return ShardFile(folder, shard).path()


def parse_path(path: str) -> ShardFile:
    """Return the folder and the shard of a file's path in the run directory."""
    folder, _, name = path.partition("/")
    return ShardFile(folder, name.removesuffix(".parquet"))


def receipt_path(shard: str) -> str:
    """Return the path of a shard's receipt in the run directory."""
    return f"{RECEIPTS}/{shard}.json"


def receipt_shard(uri: str) -> str:
    """Return the shard that a receipt is about, from the receipt's path or URI."""
    return uri.rpartition("/")[2].removesuffix(".json")
