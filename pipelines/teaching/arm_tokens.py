"""The rows of a trial's arm as tokens and labels, which TRL, Axolotl and LLaMA-Factory read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pipelines.apply_masks import (
    AppliedMasks,
    MaskSettings,
    build_labeller,
    label_rows,
    report_rows,
    require_free_output,
    tabulate,
    write_records,
)
from pipelines.teaching.files import ARMS, SUMMARY, name_file, read_json
from schemas.digests import digest_bytes
from schemas.errors import RowError, RunError
from schemas.events import Listener, RowsPlanned, ignore
from schemas.outputs import CLEAN_EXTRA
from transforms.files import storage
from transforms.files.dataset_cards import DEFAULT_SPLIT
from transforms.files.saved_datasets import encode_stream, write_index

COLUMNS = {"messages": "messages"}

DATA = "data-00000.arrow"


def apply_arm_masks(
    trial: str, arm: str, settings: MaskSettings, listener: Listener = ignore
) -> AppliedMasks:
    """Write the rows of an arm as tokens and labels, in a folder that `datasets` loads.

    A row's weight is 1, or 0 for a row of which nothing is learnt: no trainer takes another.

    Raises: CongenerError: the trial, the tokenizer or the output can't be used, a row has another
    weight, or a row can't be rendered and `leave_out` isn't set.
    """
    path = f"{ARMS}/{name_file(arm)}.jsonl"
    data = read_arm(trial, arm)
    require_free_output(trial, settings.output)
    labeller = build_labeller("messages", COLUMNS, settings)
    rows = list(weigh_rows(map(json.loads, data.splitlines()), path))
    applied = AppliedMasks()
    listener(RowsPlanned(len(rows), 0))
    labelled = label_rows(rows, trial, path, DEFAULT_SPLIT, labeller, settings, applied)
    kept = report_rows(labelled, applied, listener)
    uri = storage.join(settings.output, DEFAULT_SPLIT, DATA)
    storage.write_bytes(uri, encode_stream(tabulate(kept)))
    origin = {"trial": trial, "arm": arm, "rows_sha256": digest_bytes(data)}
    write_records(origin, (trial, "--arm", arm), settings, applied, labeller.tokenizer)
    write_index(settings.output, {DEFAULT_SPLIT: [DATA]})
    return applied


def read_arm(trial: str, arm: str) -> bytes:
    """Read the rows of an arm.

    Raises: RunError: the folder isn't a finished trial, or has no such arm.
    """
    summary = read_json(trial, SUMMARY)
    if summary is None:
        raise RunError(
            f"isn't a finished trial: it has no {SUMMARY}",
            where=trial,
            remedy="name the output of congener trial",
        )
    uri = storage.join(trial, ARMS, f"{name_file(arm)}.jsonl")
    if not storage.exists(uri):
        names = dict.fromkeys(item["arm"] for item in summary["students"] if item["rows"])
        raise RunError(
            f"has no arm {arm!r}", where=trial, remedy=f"its arms are {', '.join(names)}"
        )
    return storage.read_bytes(uri)


def weigh_rows(rows: Iterable[dict[str, Any]], path: str) -> Iterator[dict[str, Any]]:
    """Yield rows, of which those with a weight of 0 have an answer that isn't learnt.

    Raises: RowError: a weight is neither 0 nor 1.
    """
    for number, row in enumerate(rows):
        weight = row[CLEAN_EXTRA.name]["weight"]
        if weight not in (0, 1):
            raise RowError(
                f"has the weight {weight}, which no trainer takes",
                where=f"{path} row {number}",
                remedy="repeat the row, or leave it out",
            )
        question, answer = row["messages"]
        yield row if weight else {**row, "messages": [question, {**answer, "weight": 0}]}
