"""A run's clean rows in Croissant 1.1: files with digests, and the columns of rows.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.papers.attestations import write_time
from pipelines.papers.facts import RunFacts
from schemas.outputs import CLEAN_EXTRA
from schemas.receipts import Output
from schemas.runs import is_json_lines
from transforms.files import storage
from transforms.files.json_lines import parse_line
from transforms.stored_rows import read_lines

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
    *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset"),
    *("jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in TERMS},
}
"""The context of version 1.1."""

PARQUET, LINES = "application/x-parquet", "application/jsonlines"

EXTRA = CLEAN_EXTRA.name

ROWS_READ = 1_000
"""How many rows of JSON Lines show which columns there are."""

Fields = dict[str, Any]
"""The columns of a row: the data type of a value, or the columns of the objects in a list."""


def build_croissant(run: str, facts: RunFacts) -> dict[str, Any]:
    """Return the description. Paths of files are below `clean/`, where it belongs beside them.

    Raises: RunError: the run doesn't say when it ended.
    """
    user = facts.user
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": user.get("title", "title"),
        "description": user.get("description", "what the data are for, and who made them"),
        "conformsTo": CONFORMS_TO,
        "license": user.get("licence", "licence"),
        **({"url": user.url} if user.url else {}),
        "creator": {"@type": "Organization", "name": user.get("provider", "provider")},
        "datePublished": write_time(facts.finished),
        "version": f"0.0.0+{facts.manifest.run_id}",
        "distribution": [_describe_file(item) for item in facts.clean],
    }
    if facts.clean:
        found["distribution"].append(_describe_set(facts))
        found["recordSet"] = [_describe_rows(read_fields(run, facts.clean[0]))]
    return found


def write_croissant(run: str, facts: RunFacts) -> bytes:
    """Return the description as JSON."""
    return json.dumps(build_croissant(run, facts), indent=1, ensure_ascii=False).encode() + b"\n"


def _name_file(item: Output) -> str:
    return item.path.removeprefix("clean/")


def _choose_format(item: Output) -> str:
    return LINES if is_json_lines(item.path) else PARQUET


def _describe_file(item: Output) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _name_file(item),
        "name": _name_file(item),
        "contentUrl": _name_file(item),
        "contentSize": f"{item.bytes} B",
        "encodingFormat": _choose_format(item),
        "sha256": item.sha256,
    }


def _describe_set(facts: RunFacts) -> dict[str, Any]:
    first = facts.clean[0]
    return {
        "@type": "cr:FileSet",
        "@id": "files",
        "name": "files",
        "encodingFormat": _choose_format(first),
        "includes": "*.jsonl*" if is_json_lines(first.path) else "*.parquet",
    }


def _describe_rows(fields: Fields) -> dict[str, Any]:
    own = [_describe_field(f"rows/{name}", name, name, kind) for name, kind in fields.items()]
    return {"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": own}


def _describe_field(key: str, name: str, column: str, kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"@type": "cr:Field", "@id": key, "name": name}
    if isinstance(kind, Mapping):
        own = [_describe_part(f"{key}/{part}", column, part, of) for part, of in kind.items()]
        return {**found, "isArray": True, "arrayShape": "-1", "subField": own}
    source = {"fileSet": {"@id": "files"}, "extract": {"column": column}}
    return {**found, "dataType": kind, "source": source}


def _describe_part(key: str, column: str, part: str, kind: str) -> dict[str, Any]:
    source = {
        "fileSet": {"@id": "files"},
        "extract": {"column": column},
        "transform": {"jsonPath": part},
    }
    return {"@type": "cr:Field", "@id": key, "name": part, "dataType": kind, "source": source}


def read_fields(run: str, item: Output) -> Fields:
    """Return the columns of a clean file without congener's own, which rows may lack."""
    if is_json_lines(item.path):
        rows = [parse_line(line)[0] for line in read_lines(run, item.path)[:ROWS_READ]]
        return _read_json_fields(rows)
    with storage.open_raw(storage.join(run, item.path)) as stream:
        schema = pq.read_schema(stream)
    return {item.name: _describe_type(item.type) for item in schema if item.name != EXTRA}


def _describe_type(kind: pa.DataType) -> Any:
    """Return a column's type; the parts of messages in a list are fields of their own."""
    value = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else None
    if value is not None and pa.types.is_struct(value):
        return {part.name: _name_type(part.type) for part in value}
    return _name_type(kind)


def _name_type(kind: pa.DataType) -> str:
    for test, name in (
        (pa.types.is_boolean, "sc:Boolean"),
        (pa.types.is_integer, "sc:Integer"),
        (pa.types.is_floating, "sc:Float"),
        (pa.types.is_timestamp, "sc:DateTime"),
        (pa.types.is_date, "sc:Date"),
    ):
        if test(kind):
            return name
    return "sc:Text"


def _read_json_fields(rows: list[dict[str, Any]]) -> Fields:
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: _describe_values(values) for name, values in found.items() if name != EXTRA}


def _describe_values(values: list[Any]) -> Any:
    objects = list(_list_objects(values))
    if not objects:
        return _name_values(values)
    keys = dict.fromkeys(key for item in objects for key in item)
    return {key: _name_values([item.get(key) for item in objects]) for key in keys}


def _list_objects(values: list[Any]) -> Iterator[dict[str, Any]]:
    lists = (value for value in values if isinstance(value, list))
    return (item for value in lists for item in value if isinstance(item, dict))


def _name_values(values: list[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    names = {bool: "sc:Boolean", int: "sc:Integer", float: "sc:Float"}
    if kinds == {int, float}:
        return "sc:Float"
    return names.get(kinds.pop(), "sc:Text") if len(kinds) == 1 else "sc:Text"
