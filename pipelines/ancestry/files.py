"""The files of `congener lineage`: the page, the summary, and tables for notebooks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ancestry.findings import describe_family
from pipelines.ancestry.pages import render_page
from pipelines.lineage import Family
from schemas.errors import RunError
from transforms.files import storage

PAGE = "report.html"
SUMMARY = "lineage.json"
RANKING = "ranking.parquet"
HABITS = "habits.parquet"
FILES = (PAGE, SUMMARY, RANKING, HABITS)

RANKING_TABLE = pa.schema(
    [
        ("model", pa.string()),
        ("rank", pa.int64()),
        ("candidate", pa.string()),
        ("probability", pa.float64()),
        ("p_value", pa.float64()),
        ("evidence", pa.float64()),
        ("wording", pa.float64()),
        ("same_prompts", pa.float64()),
    ]
)
HABITS_TABLE = pa.schema(
    [
        ("model", pa.string()),
        ("candidate", pa.string()),
        ("text", pa.string()),
        ("rate_parent", pa.float64()),
        ("rate_model", pa.float64()),
        ("rate_others", pa.float64()),
        ("q_value", pa.float64()),
    ]
)


def begin_output(output: str) -> None:
    """Check that the output folder can take the files.

    Raises: RunError: it holds something else.
    """
    if storage.has_files(output) and not storage.exists(storage.join(output, SUMMARY)):
        raise RunError(
            "isn't empty, and its files aren't those of congener lineage",
            where=output,
            remedy="choose another output, or empty it",
        )


def write_family(output: str, family: Family) -> str:
    """Write all files, and return the page's path."""
    summary = describe_family(family)
    text = json.dumps(summary, indent=1, sort_keys=True, allow_nan=False)
    models = summary["models"]
    ranking = [
        {"model": item["model"], "rank": rank, **entry}
        for item in models
        for rank, entry in enumerate(item["ranking"], 1)
    ]
    habits = [
        {"model": item["model"], "candidate": item["ranking"][0]["candidate"], **entry}
        for item in models
        for entry in item["habits"]
    ]
    page = storage.join(output, PAGE)
    storage.write_bytes(storage.join(output, RANKING), _encode(ranking, RANKING_TABLE))
    storage.write_bytes(storage.join(output, HABITS), _encode(habits, HABITS_TABLE))
    storage.write_bytes(page, render_page(family).encode())
    storage.write_bytes(storage.join(output, SUMMARY), f"{text}\n".encode())
    return page


def _encode(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()
