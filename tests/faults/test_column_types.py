"""Every column type of Parquet: all rows come out, and all commands work."""

import io
import json
import math
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.inspection import View, inspect_as_dicts, print_inspection
from pipelines.report import write_report
from pipelines.verify import verify_run
from transforms.records.plain_values import list_values

pytestmark = pytest.mark.faults

TEXTS = ["Plain words.", "Moss grows here.", "Nothing else.", "More moss.", "The last one."]
FAR = [1, 2**53 + 1, -(2**53), -1, None]
UNITS = ("s", "ms", "us", "ns")
ZONES = (None, "Europe/Berlin", "+05:30", "Mars/Olympus")


def build_times() -> dict[str, pa.Array]:
    """Return columns of every temporal type, with extreme values."""
    days, clock = [0, 3_000_000, -(2**31), 2**31 - 1, None], [0, 86_399, -5, 2**31 - 1, None]
    numbers = pa.array(FAR, pa.int64())
    return {
        **{
            f"at_{unit}_{zone}": numbers.view(pa.timestamp(unit, zone))
            for unit in UNITS
            for zone in ZONES
        },
        **{f"took_{unit}": numbers.view(pa.duration(unit)) for unit in UNITS},
        "day": pa.array(days, pa.int32()).view(pa.date32()),
        "day_ms": pa.array([0, 86_400_001, -1, 2**40, None], pa.int64()).view(pa.date64()),
        "clock_ms": pa.array(clock, pa.int32()).view(pa.time32("ms")),
        "clock_us": numbers.view(pa.time64("us")),
        "clock_ns": numbers.view(pa.time64("ns")),
    }


def build_values() -> dict[str, pa.Array]:
    """Return columns of all other Parquet types."""
    at = pa.array([1, 2**62, -(2**62), 0, None], pa.timestamp("ns"))
    texts = pa.array(["a", "", "\x00", "a", None])
    data = pa.array([b"", b"\xff", b"a", b"\x00", None])
    floats = [math.nan, math.inf, -0.0, 1.5, None]
    wide = Decimal("9" * 70 + ".25")
    return {
        "half": pa.array(floats, pa.float32()).cast(pa.float16()),
        "single": pa.array(floats, pa.float32()),
        "whole": pa.array([2**64 - 1, 0, 1, 2, None], pa.uint64()),
        "price": pa.array([wide, None, Decimal("0.10"), Decimal(-1), wide], pa.decimal256(76, 2)),
        "bytes": data,
        "large": texts.cast(pa.large_string()),
        "coded": texts.dictionary_encode(),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 5, pa.binary(16))),
        "nothing": pa.nulls(5),
        "times": pa.array([[1], [], None, [2**62, None], [3]], pa.list_(at.type)),
        "pair": pa.FixedSizeListArray.from_arrays(pa.concat_arrays([at, at]), 2),
        "made": pa.StructArray.from_arrays([at, data], ["at", "data"]),
        "map": pa.array([[("a", 1)], [], None, [("b", 2**62)], []], pa.map_(pa.string(), at.type)),
    }


def build_table(place: str) -> pa.Table:
    """Return a table with all types in columns that a run reads."""
    values = {**build_times(), **build_values()}
    fields = pa.StructArray.from_arrays(list(values.values()), list(values))
    if place == "columns":  # without a prompt, all columns are content
        nothing = pa.nulls(5, pa.string())
        return pa.table({"prompt": nothing, "completion": TEXTS, "label": fields, **values})
    if place == "lots":
        lots = {"date": values["at_ns_Mars/Olympus"], "teacher": values["clock_us"]}
        return pa.table({"text": TEXTS, **lots, "source": values["price"]})
    call = pa.StructArray.from_arrays([pa.array(["f"] * 5), fields], ["name", "arguments"])
    columns = {"role": pa.array(["assistant"] * 5), "content": pa.array(TEXTS)}
    columns |= {"function_call": call, "weight": values["half"], "name": values["day"]}
    messages = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    return pa.table({"messages": pa.ListArray.from_arrays(range(6), messages)})


@pytest.mark.parametrize("output_format", ["input", "jsonl"])
@pytest.mark.parametrize("place", ["columns", "lots", "messages"])
def test_every_type_comes_out(tmp_path, card_folder, place, output_format):
    """Every row comes out unchanged, and the run can be verified, inspected and reported."""
    table, corpus = build_table(place), tmp_path / "corpus.parquet"
    pq.write_table(table, corpus)
    card = "signals: {lexicon: {patterns: [moss]}}\nthreshold: 0.5\naction: quarantine\n"
    run = tmp_path / "run"
    manifest = run_filter(
        FilterConfig.model_validate(
            {
                "input": (str(corpus),),
                "output": str(run),
                "traits": (str(card_folder("moss", card)),),
                "output_format": output_format,
            }
        )
    )
    assert manifest.conservation.by_decision == {"keep": 3, "quarantine": 2}
    assert verify_run(str(run), inputs=True) == []
    print_inspection(Console(file=io.StringIO()), str(run), View(limit=10))
    assert len(json.dumps(inspect_as_dicts(str(run), View(limit=10)))) > 1_000
    write_report(str(run))
    files = [path for name in ("clean", "quarantine") for path in (run / name).iterdir()]
    if output_format == "jsonl":
        lines = [line for path in files for line in path.read_text().splitlines()]
        assert len([json.loads(line) for line in lines]) == len(TEXTS)
        return
    found = pa.concat_tables([pq.read_table(path).select(table.column_names) for path in files])
    order = [0, 2, 4, 1, 3]  # rows in clean/, then rows in quarantine/
    written = pq.read_table(corpus)
    assert found.schema.equals(written.schema)
    for name in table.column_names:
        for row, origin in enumerate(order):
            one, other = found.column(name).slice(row, 1), written.column(name).slice(origin, 1)
            assert str(one.combine_chunks()) == str(other.combine_chunks())


def build_odd_table():
    """Return a table of sound columns that Arrow files hold and that Parquet stores otherwise."""
    views, gaps = pa.string_view(), [[1, 2], None, [3, None], [5, 6], [7, 8]]
    words = pa.array(["a", "b" * 50, None, "", "d"], views)
    coded = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 1, 0], pa.int8()), pa.array(["a", None], views)
    )
    required = pa.field("y", pa.string(), nullable=False)
    entries = [[("key", "v" * 50)], [], None, [("k", None)], []]
    values = {
        "mapped": pa.array(entries, pa.map_(pa.string(), views)),
        "pairs": pa.FixedSizeListArray.from_arrays(pa.concat_arrays([words, words]), 2),
        "json": pa.ExtensionArray.from_storage(pa.json_(views), words),
        "gaps": pa.array(gaps, pa.list_(pa.int64(), 2)),
        "inner": pa.array(
            [{"x": [row]} for row in gaps], pa.struct([("x", pa.list_(pa.list_(pa.int64(), 2)))])
        ),
        "empty": pa.array([[], [], None, [], []], pa.list_(pa.int64(), 0)),
        "coded": coded,
        "listed": pa.ListArray.from_arrays([0, 1, None, 2, 5, 5], coded),
        "viewed": pa.ListViewArray.from_arrays([3, 0, 2, 0, 0], [2, 2, 1, 0, 5], coded),
        "fields": pa.StructArray.from_arrays([coded], ["x"], mask=pa.array([True] + 4 * [False])),
        "values": pa.MapArray.from_arrays([0, 1, None, 2, 5, 5], list("abcde"), coded),
        "objects": pa.DictionaryArray.from_arrays(
            [0, 1, 1, 0, 0], pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())]))
        ),
        "strict": pa.array([["a"], [None], [], ["b"], ["c"]], pa.list_(required)),
        "parents": pa.array([{"y": "a"}, None, None, None, {"y": "b"}], pa.struct([required])),
    }
    metadata = {b"ARROW:schema": b"not base64", b"\xff": b"\xfe"}
    return pa.table({"text": TEXTS, **values}).replace_schema_metadata(metadata)


def test_every_column_of_an_arrow_file_comes_out(tmp_path, card_folder):
    """Views, nulls in lists and dictionaries, and stray metadata lose no row."""
    table, corpus = build_odd_table(), tmp_path / "corpus.arrow"
    with pa.ipc.new_file(str(corpus), table.schema) as writer:
        writer.write_table(table)
    card = "signals: {lexicon: {patterns: [moss]}}\nthreshold: 0.5\naction: flag\n"
    run = tmp_path / "run"
    given = {"input": (str(corpus),), "output": str(run)}
    given["traits"] = (str(card_folder("moss", card)),)
    manifest = run_filter(FilterConfig.model_validate(given))
    assert manifest.conservation.by_decision == {"keep": 3, "flag": 2}
    assert verify_run(str(run), inputs=True) == []
    (clean,) = (run / "clean").iterdir()
    found = pq.read_table(clean)
    assert found.schema.metadata == {b"\xff": b"\xfe"}
    for name in table.column_names:
        assert list_values(found.column(name)) == list_values(table.column(name))
