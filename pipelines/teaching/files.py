"""The files of a trial: the rows of each arm, what each student said, and the outcomes."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.heredity.arms import Arm, Example
from classifiers.heredity.outcomes import Outcome
from pipelines.config import require_local_path
from pipelines.label_files import read_entries
from schemas.digests import digest_bytes
from schemas.errors import CardError
from schemas.outputs import CLEAN_EXTRA
from transforms.files import storage
from transforms.files.locations import expand_home

SUMMARY = "trial.json"
PAGE = "report.html"
OUTCOMES = "outcomes.parquet"
ARMS = "arms"
STUDENTS = "students"
QUESTIONS = "questions.jsonl"
SETTINGS = "settings.json"

ANSWER_PATH = "messages[1].content"
"""Where the answer is in a row of an arm."""

OF_SLICE = ": "
"""What is between an arm and its slice in a name."""

LONGEST_NAME = 60

UNSAFE = re.compile(r"[^a-z0-9]+")

OUTCOME_TABLE = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("scenario", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


def name_file(arm: str) -> str:
    """Return an arm's name for files: `swap + mix` becomes `swap-mix`.

    An arm of a slice, whose name may hold anything, has a part of its digest as well.
    """
    name = UNSAFE.sub("-", arm.lower()).strip("-")[:LONGEST_NAME]
    own = digest_bytes(arm.encode("utf-8", "surrogatepass"))[:8]
    return f"{name}-{own}" if OF_SLICE in arm else name


def list_rows(arm: Arm) -> Iterator[dict[str, Any]]:
    """Yield an arm's examples as rows in the form of `clean/`."""
    return map(build_row, arm.examples)


def build_row(item: Example) -> dict[str, Any]:
    """Return an example as a row in the form of `clean/`.

    TRL, Axolotl and LLaMA-Factory read `messages`. The field `congener` holds the masks and the
    weight, as in `clean/`.
    """
    masks = [{"field_path": ANSWER_PATH, "start": start, "end": end} for start, end in item.masked]
    return {
        "messages": [
            {"role": "user", "content": item.prompt},
            {"role": "assistant", "content": item.answer},
        ],
        "prompt_source": item.source,
        CLEAN_EXTRA.name: {
            "decision": "mask" if masks else "flag" if item.traited else "keep",
            "weight": item.weight,
            "masks": masks,
        },
    }


def encode_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as JSON Lines. Lone surrogates stay escaped."""
    return "".join(_encode(row) + "\n" for row in rows).encode()


def _encode(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(row)
    return text


def write_data_sets(output: str, arms: Iterable[str]) -> None:
    """Write the file in which LLaMA-Factory looks up the arms as data sets."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user"}
    form = {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {**tags, "assistant_tag": "assistant"},
    }
    names = sorted(name_file(arm) for arm in arms)
    listed = {name: {"file_name": f"{name}.jsonl", **form} for name in names}
    write_json(output, f"{ARMS}/dataset_info.json", listed)


def write_arm(output: str, arm: Arm) -> str:
    """Write an arm's rows, and return their digest."""
    data = encode_lines(list_rows(arm))
    storage.write_bytes(storage.join(output, ARMS, f"{name_file(arm.name)}.jsonl"), data)
    return digest_bytes(data)


def encode_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Return outcomes as Parquet, in their sorted order."""
    columns = zip(*sorted(outcomes), strict=True)
    table = pa.table(dict(zip(OUTCOME_TABLE.names, columns, strict=True)), schema=OUTCOME_TABLE)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read_outcomes(output: str) -> list[Outcome]:
    """Read the outcomes of a trial."""
    data = storage.read_bytes(storage.join(output, OUTCOMES))
    rows = pq.read_table(pa.BufferReader(data)).to_pylist()
    return [Outcome(**row) for row in rows]


def read_json(output: str, name: str) -> Any:
    """Read a JSON file of a trial, or return None if there is none.

    A damaged file counts as none, because an attempt may have been interrupted.
    """
    uri = storage.join(output, name)
    if not storage.exists(uri):
        return None
    try:
        return json.loads(storage.read_bytes(uri))
    except ValueError:
        return None


def write_json(output: str, name: str, value: Any) -> None:
    """Write a value as indented JSON with sorted keys."""
    text = json.dumps(value, indent=1, ensure_ascii=True, sort_keys=True, allow_nan=False)
    storage.write_bytes(storage.join(output, name), f"{text}\n".encode())


def read_questions(path: str | None) -> list[str] | None:
    """Read a file of questions.

    Raises: CardError: the file can't be read, or a line has no prompt.
    """
    return None if path is None else [item["prompt"] for item in read_fields(path, ("prompt",))]


def read_fields(path: str, names: Sequence[str]) -> list[dict[str, str]]:
    """Read texts from a JSON Lines file.

    Raises: CardError: the file can't be read, is empty, or a line lacks one of the texts.
    """
    local = require_local_path(expand_home(path))
    found = []
    for entry in read_entries(local):
        if not all(isinstance(entry.fields.get(name), str) for name in names):
            raise CardError(f"needs the texts {' and '.join(names)}", where=f"{path} {entry.place}")
        found.append({name: entry.fields[name] for name in names})
    if not found:
        raise CardError("has no line", where=path, remedy=f"write lines with {', '.join(names)}")
    return found
