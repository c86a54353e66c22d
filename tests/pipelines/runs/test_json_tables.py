"""JSON Lines as frames: one schema, and text for mixed kinds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipelines.runs.json_tables import (
    HIGHEST_INTEGER,
    MAX_DEPTH,
    convert_shape,
    infer_shape,
    merge_shapes,
    scan_json_lines,
)
from schemas.errors import RunError


def scan(folder: Path, *files: list[str], row_index: str | None = None) -> pl.DataFrame:
    """Write files of the given lines, and scan them together."""
    paths = {}
    for number, lines in enumerate(files):
        path = folder / f"part-{number}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        paths[f"clean/{path.name}"] = str(path)
    return scan_json_lines(paths, row_index).collect()


def test_files_share_one_schema(tmp_path):
    """A field that some files lack is null there, at any depth."""
    files = (
        ['{"a": 1, "m": [{"x": 1}]}', '{"a": null}'],
        ['{"m": [{"x": null, "y": "z"}], "congener": {"decision": "flag"}}'],
    )
    assert scan(tmp_path, *files, row_index="index").to_dicts() == [
        {"index": 0, "a": 1, "m": [{"x": 1, "y": None}], "congener": None},
        {"index": 1, "a": None, "m": None, "congener": None},
        {
            "index": 2,
            "a": None,
            "m": [{"x": None, "y": "z"}],
            "congener": {"decision": "flag"},
        },
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2.5", "null"], [1.0, 2.5, None]),
        (["1", '"x"', "true"], ["1", "x", "true"]),
        (['{"b": 1}', "3"], ['{"b": 1}', "3"]),
        (["[1]", '"x"'], ["[1]", "x"]),
        (["[1]", '["x"]', "[]"], [["1"], ["x"], []]),
        (["null", "[null]", "[]"], [None, [None], []]),
        (["true", "1"], ["true", "1"]),
        ([str(HIGHEST_INTEGER), "0"], [HIGHEST_INTEGER, 0]),
        ([str(HIGHEST_INTEGER + 1), "0"], [float(2**63), 0.0]),
        (['"2026-01-01"'], ["2026-01-01"]),
        (["{}"], [{}]),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_mixed_kinds_are_text(tmp_path, values, expected, together):
    """Integers and floats become floats, and other mixtures become text."""
    lines = [f'{{"a": {value}}}' for value in values]
    frame = scan(tmp_path, *([lines] if together else ([line] for line in lines)))
    assert frame["a"].to_list() == expected


def test_content_of_both_kinds_is_text(tmp_path):
    """If some messages have text and others parts, the parts become JSON text."""
    parts = [{"type": "text", "text": "hello"}]
    contents = ["hi", parts]
    rows = [json.dumps({"messages": [{"role": "user", "content": item}]}) for item in contents]
    found = [row["messages"][0]["content"] for row in scan(tmp_path, rows).to_dicts()]
    assert found[0] == "hi"
    assert json.loads(found[1]) == parts


def test_deep_values_are_text(tmp_path):
    """Deeply nested objects and lists become JSON text."""
    depth = MAX_DEPTH + 5
    frame = scan(tmp_path, [f'{{"a": {"[" * depth}1{"]" * depth}}}'])
    value = frame["a"].to_list()[0]
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert isinstance(value, str)
    assert json.loads(value) == json.loads(f"{'[' * 6}1{']' * 6}")


@pytest.mark.parametrize(
    "line", ['{"a": NaN}', '{"a": -Infinity}', r'{"a": "x\ud800"}', '{"a": 1e400}', "{"]
)
def test_rows_that_polars_cant_read_are_named(tmp_path, line):
    """The error for a row that isn't standard JSON names the row and a way to read the file."""
    with pytest.raises(
        RunError, match=r"row 1 of clean/part-0.jsonl can't be in a table"
    ) as caught:
        scan(tmp_path, ['{"a": 1}', line])
    assert "line by line" in caught.value.remedy


def test_compressed_files_are_scanned(tmp_path):
    """Files compressed with gzip or zstd are scanned."""
    data = b'{"a": 1}\n{"b": 2}\n'
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(data))
    (tmp_path / "x.jsonl.zst").write_bytes(pa.compress(data, "zstd", asbytes=True))
    for suffix in (".gz", ".zst"):
        files = {f"clean/x.jsonl{suffix}": str(tmp_path / f"x.jsonl{suffix}")}
        expected = [{"a": 1, "b": None}, {"a": None, "b": 2}]
        assert scan_json_lines(files).collect().to_dicts() == expected


def test_a_cut_file_is_an_error(tmp_path):
    """A file without a final line break is refused."""
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": 2}')
    with pytest.raises(ValueError, match="the last line has no line break"):
        scan_json_lines({"clean/x.jsonl": str(tmp_path / "x.jsonl")})


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [
        (None, int, int),
        (int, None, int),
        (int, float, float),
        (int, bool, str),
        (bool, str, str),
        ({"a": int}, {"b": [None]}, {"a": int, "b": [None]}),
        ({"a": [int]}, {"a": [{"b": int}]}, {"a": [str]}),
        ([None], [{"a": None}], [{"a": None}]),
        ({"a": int}, [int], str),
    ],
)
def test_shapes_are_merged(one, other, merged):
    """The order of merging affects only the order of fields."""
    assert merge_shapes(one, other) == merge_shapes(other, one) == merged


def test_shapes_become_types():
    """Objects become structs with fields in order, and a list has one item type."""
    shape = infer_shape({"b": [1, 2.5], "a": {"c": None}, "d": True, "e": "x"})
    assert shape == {"b": [float], "a": {"c": None}, "d": bool, "e": str}
    assert convert_shape(shape) == pl.Struct(
        {
            "b": pl.List(pl.Float64),
            "a": pl.Struct({"c": pl.Null}),
            "d": pl.Boolean,
            "e": pl.String,
        }
    )
