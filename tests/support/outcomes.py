"""A run's outcome, from its files or from deciding it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.decide import decide_run
from pipelines.runs.finished import list_outputs, read_folder, read_table
from pipelines.runs.manifest_file import load_manifest
from schemas.policies import PUBLISHED, Policy
from schemas.runs import parse_path
from transforms.decisions import Decisions


class Outcome(NamedTuple):
    """A run's decisions, reasons, masks and swaps keyed by source and row number."""

    decisions: dict[tuple[str, int], str]
    reasons: dict[tuple[str, int], list[tuple[Any, ...]]]
    masks: dict[tuple[str, int], list[tuple[str, int, int]]]
    swaps: dict[tuple[str, int], list[str]]


def describe_reason(reason: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a reason's fields in the ledger's precision."""
    names = ("trait", "signal", "score", "threshold", "field_path", "start", "end")
    values = (reason[name] for name in names)
    return tuple(np.float32(item) if isinstance(item, float) else item for item in values)


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a Parquet or an uncompressed JSON Lines file."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def read_outcome(run: str) -> Outcome:
    """Read an outcome from a run's ledger, clean rows and swap list."""
    found = Outcome({}, {}, {}, {})
    ledger = read_folder(run, load_manifest(run), "ledger").to_pylist()
    clean = {path for path in Path(run, "clean").rglob("*.part-*") if path.is_file()}
    files = {path.relative_to(run).as_posix(): read_records(path) for path in clean}
    for row in ledger:
        key = row["source"], row["row"]
        if row["decision"] == "reject":
            continue
        found.decisions[key] = row["decision"]
        if row["reasons"]:
            found.reasons[key] = [describe_reason(reason) for reason in row["reasons"]]
        if (row["output"] or "").startswith("clean/"):
            record = files[row["output"]][row["output_row"]]
            if masks := record.get("congener", {}).get("masks"):
                found.masks[key] = [tuple(mask.values()) for mask in masks]
    for path in Path(run).glob("swaplist/*.parquet"):
        for row in pq.read_table(path).to_pylist():
            found.swaps[row["source"], row["row"]] = row["traits"]
    return found


def collect_outcome(decided: Decisions, keys: list[tuple[str, int]], found: Outcome) -> None:
    """Add a shard's decisions to an outcome."""
    found.decisions.update(zip(keys, decided.decisions, strict=True))
    for row, reasons in decided.reasons.items():
        found.reasons[keys[row]] = [describe_reason(reason._asdict()) for reason in reasons]
    for row, masks in decided.masks.items():
        if decided.decisions[row] in PUBLISHED:
            found.masks[keys[row]] = [tuple(mask) for mask in masks]
    for row in decided.swaps:
        swapping = {reason.trait for reason in decided.reasons[row] if reason.action == "swap"}
        found.swaps[keys[row]] = sorted(swapping)


def decide_outcome(run: str, policy: Policy) -> Outcome:
    """Decide a finished run again, and return the outcome."""
    manifest = load_manifest(run)
    ledgers = {
        parse_path(output.path).shard: read_table(run, output)
        for output in list_outputs(manifest, "ledger")
    }
    found = Outcome({}, {}, {}, {})
    for part in decide_run(run, policy):
        ledger = ledgers[part.shard].take(pa.array(part.stored.good))
        keys = zip(*(ledger.column(name).to_pylist() for name in ("source", "row")), strict=True)
        collect_outcome(part.decided, list(keys), found)
    return found
