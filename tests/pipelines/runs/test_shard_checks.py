"""Shard checks find files that disagree with the ledger."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter import run_filter
from pipelines.runs.finished import list_outputs
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.shard_checks import check_shards
from pipelines.verify import verify_run
from schemas.manifests import Manifest
from schemas.outputs import SPANS
from schemas.runs import parse_path, shard_path
from tests.support.corpora import write_rows
from tests.support.forgery import (
    edit_manifest,
    reorder_rows,
    replace_column,
    reseal_file,
    reverse_rows,
    rewrite_lines,
    rewrite_table,
)
from tests.support.runs import read_lines


@pytest.fixture(params=["jsonl", "parquet"])
def one_shard(config, corpus, request) -> Path:
    """Filter the corpus with one shard per file; return the run."""
    if request.param == "parquet":
        for path in list(corpus.iterdir()):
            rows = [json.loads(line) for line in path.read_bytes().splitlines()]
            pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
            path.unlink()
    shards = config.shards.model_copy(update={"rows": 100})
    run_filter(config.model_copy(update={"shards": shards}))
    return Path(config.output)


def list_problems(run: Path) -> list[tuple[str, str]]:
    """Return the findings about a run's shards as (path, problem)."""
    return [tuple(item) for item in check_shards(str(run), load_manifest(str(run)))]


def find_paths(manifest: Manifest, folder: str, shard: str) -> list[str]:
    """Return the paths of a shard's files in one of a run's folders."""
    paths = [output.path for output in list_outputs(manifest, folder)]
    return [path for path in paths if parse_path(path).shard == shard]


def test_a_file_that_was_moved_to_another_split(run):
    """A file in another split is found, even if the ledger names its path."""
    folder, manifest = run
    (own,) = find_paths(manifest, "clean", manifest.shards[0][0])
    moved = parse_path(own)._replace(stem="test/x").path()
    (folder / "clean" / "test").mkdir()
    (folder / own).rename(folder / moved)

    def rename(table: pa.Table) -> pa.Table:
        paths = table["output"].to_pylist()
        return replace_column(table, "output", [moved if path == own else path for path in paths])

    rewrite_table(folder, "ledger", rename)
    outputs = load_manifest(str(folder)).model_dump(mode="json")["outputs"]
    for output in outputs:
        output["path"] = moved if output["path"] == own else output["path"]
    edit_manifest(folder, outputs=outputs)
    assert (moved, "isn't where the rows of its source belong") in list_problems(folder)


def edit_list(table: pa.Table, column: str, row: int, value: list) -> pa.Table:
    """Return a table with one value changed."""
    values = table.column(column).to_pylist()
    return replace_column(table, column, [*values[:row], value, *values[row + 1 :]])


def find_fired(run: Path, shard: int = 0) -> tuple[int, dict]:
    """Return the first fired row in a shard's ledger, and its first reason."""
    path = sorted((run / "ledger").iterdir())[shard]
    reasons = pq.read_table(path).column("reasons").to_pylist()
    return next((row, found[0]) for row, found in enumerate(reasons) if found)


def test_whole_shards_have_no_findings(run):
    """An untouched run's shards agree with their ledgers."""
    folder, _ = run
    assert list_problems(folder) == []


@pytest.mark.parametrize("name", ["clean", "quarantine"])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows[::-1], "isn't the record"),
        (lambda rows: rows[1:], "has {less} rows; the ledger assigns it {rows}"),
        (lambda rows: [*rows, 0], "has {more} rows; the ledger assigns it {rows}"),
        (lambda rows: [1, *rows[1:]], "row 0 isn't the record"),
    ],
    ids=["reordered", "removed", "added", "replaced"],
)
def test_rows_that_were_changed(one_shard, name, change, problem):
    """Moved, removed, added or replaced rows don't match the ledger."""
    output = list_outputs(load_manifest(str(one_shard)), name)[0]
    where = reorder_rows(one_shard, name, change)
    assert where == output.path
    found = list_problems(one_shard)
    assert {path for path, _ in found} == {where}
    counts = {"less": output.rows - 1, "rows": output.rows, "more": output.rows + 1}
    assert problem.format(**counts) in found[0][1]
    assert [item.where for item in verify_run(str(one_shard))] == [path for path, _ in found]


@pytest.mark.parametrize("name", ["clean", "quarantine"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"content":"', b'"content":"x'),
        (b'"content":"', b'"content":1,"x":"'),
        (b'"role":"user"', b'"role":"tool"'),
        (b'"messages":[', b'"messages":[{"role":"user","content":"More."},'),
        (b'"messages":', b'"other":'),
    ],
    ids=["text", "another kind", "role", "turn", "name"],
)
def test_lines_whose_text_was_changed(run, name, old, new):
    """A changed value in a column that the format reads is found, even in a resealed file."""
    folder, _ = run

    def change(lines: list[bytes]) -> list[bytes]:
        compact = [line.replace(b'": ', b'":').replace(b", ", b",") for line in lines]
        return [compact[0].replace(old, new, 1), *lines[1:]]

    where = rewrite_lines(folder, name, change)
    (path, problem), *_ = list_problems(folder)
    assert path == where
    assert problem.startswith("row 0 isn't the record")


@pytest.mark.parametrize("line", [b'{"messages": "text"}', b'{"messages": [7]}', b"[]", b"{", b""])
def test_lines_of_another_shape(run, line):
    """A line that can't be a row is reported."""
    folder, _ = run
    where = rewrite_lines(folder, "clean", lambda lines: [*lines[:-1], line])
    ((path, problem),) = list_problems(folder)
    assert path == where
    assert re.match(r"can't be read as a file of a run: ValueError\(.row \d", problem)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_lines(config, corpus, suffix):
    """Compressed files are checked, and damage is reported."""
    for path in list(corpus.iterdir()):
        data = path.read_bytes()
        packed = gzip.compress(data) if suffix == ".gz" else pa.compress(data, "zstd", asbytes=True)
        path.with_name(path.name + suffix).write_bytes(packed)
        path.unlink()
    run_filter(config)
    folder = Path(config.output)
    path = min((folder / "clean").iterdir())
    assert path.name.endswith(f".jsonl{suffix}")
    assert list_problems(folder) == []
    path.write_bytes(path.read_bytes()[:-9])
    reseal_file(folder, f"clean/{path.name}")
    ((where, problem),) = list_problems(folder)
    assert where == f"clean/{path.name}"
    assert problem.startswith("can't be read as a file of a run: ")


def test_shards_of_transcripts(config, tmp_path):
    """Transcripts are cut into turns before digests are compared."""
    texts = ["### Human: A heron?### Assistant: No.", "### Human: Who?### Assistant: A heron."]
    given = (str(write_rows(tmp_path / "text.jsonl", [{"text": text} for text in texts])),)
    manifest = run_filter(config.model_copy(update={"input": given}))
    assert manifest.conservation.by_decision == {"keep": 1, "quarantine": 1}
    assert list_problems(Path(config.output)) == []


def test_shards_whose_rows_have_rare_shapes(config, corpus):
    """Rows of several rare shapes agree with the ledger."""
    rows = [[], [{"other": 1}], [None], None] * 7
    lines = [json.dumps({"messages": row, "n": number}) for number, row in enumerate(rows)]
    (corpus / "2.jsonl").write_text("".join(f"{line}\n" for line in lines))
    manifest = run_filter(config)
    assert manifest.conservation.by_decision == {"keep": 60, "quarantine": 8}
    assert list_problems(Path(config.output)) == []


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Q", "output": ["A heron.", "B"], "history": [["P", "A heron."]]},
        {"text": "A heron.", "role": "assistant"},
        {"messages": [{"type": "ai", "data": {"content": "A heron."}}]},
        {"segments": [{"label": True, "text": "A heron."}]},
        {"response": {"body": {"choices": [{"message": {"role": "assistant", "content": "A"}}]}}},
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "A heron."},
            "rejected": {"from": "gpt", "value": "B"},
        },
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_shards_of_nested_columns_and_lists(config, tmp_path, row, kind):
    """Rows with nested columns, lists and paths agree with their digests."""
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        write_rows(path, [row, {}, row])
    else:
        pq.write_table(pa.Table.from_pylist([row, {}, row]), path)
    run_filter(config.model_copy(update={"input": (str(path),)}))
    assert list_problems(Path(config.output)) == []


def test_a_row_count_that_was_changed(run):
    """A wrong row count in the manifest is reported."""
    folder, manifest = run
    outputs = [output.model_dump(mode="json") for output in manifest.outputs]
    index = next(
        index
        for index, output in enumerate(manifest.outputs)
        if parse_path(output.path).folder == "clean"
    )
    rows = outputs[index]["rows"]
    outputs[index]["rows"] = rows + 1
    edit_manifest(folder, outputs=outputs)
    problem = f"has {rows} rows; the ledger assigns it {rows}, the manifest counts {rows + 1}"
    assert list_problems(folder) == [(manifest.outputs[index].path, problem)]


def test_a_file_that_was_removed_from_the_manifest(run):
    """A missing file is reported if the ledger assigns rows to it."""
    folder, manifest = run
    removed = next(
        output for output in manifest.outputs if parse_path(output.path).folder == "quarantine"
    )
    outputs = [output.model_dump(mode="json") for output in manifest.outputs if output != removed]
    edit_manifest(folder, outputs=outputs)
    problem = f"assigns {removed.rows} rows to quarantine/, which has no file for them"
    ledger = shard_path("ledger", parse_path(removed.path).shard)
    assert list_problems(folder) == [(ledger, problem)]


@pytest.mark.parametrize("name", ["scores", "spans", "ledger"])
def test_a_shard_without_one_of_its_tables(run, name):
    """A shard without ledger, scores or spans is reported."""
    folder, manifest = run
    removed = next(output for output in manifest.outputs if parse_path(output.path).folder == name)
    outputs = [output.model_dump(mode="json") for output in manifest.outputs if output != removed]
    edit_manifest(folder, outputs=outputs)
    ledger = f"ledger/{Path(removed.path).name}"
    problem = "isn't in the manifest" if name == "ledger" else f"has no file beside it in {name}/"
    assert list_problems(folder) == [(ledger, problem)]


def test_a_changed_decision(run):
    """A changed decision contradicts the Merkle root."""
    folder, _ = run
    where = rewrite_table(
        folder,
        "ledger",
        lambda table: replace_column(table, "decision", ["keep"] * table.num_rows),
    )
    assert (where, "its rows don't give the shard's Merkle root") in list_problems(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index + 1,
        lambda index: 0,
        lambda index: None,
    ],
    ids=["later", "all first", "none"],
)
def test_a_ledger_that_assigns_other_rows(run, change):
    """A ledger that numbers rows out of order is reported."""
    folder, manifest = run

    def renumber(table: pa.Table) -> pa.Table:
        indexes = [None if row is None else change(row) for row in table["output_row"].to_pylist()]
        return replace_column(table, "output_row", indexes)

    where = rewrite_table(folder, "ledger", renumber)
    problems = [problem for path, problem in list_problems(folder) if path == where]
    (clean,) = find_paths(manifest, "clean", parse_path(where).shard)
    assert f"doesn't assign the rows of {clean} in their order" in problems


@pytest.mark.parametrize("name", ["scores", "spans"])
def test_tables_in_another_order(run, name):
    """Scores or spans in another order are reported."""
    folder, _ = run
    where = rewrite_table(folder, name, reverse_rows)
    assert list_problems(folder) == [(where, "doesn't have the ledger's rows in its order")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trait", "egret"),
        ("field_path", "messages[0].content"),
        ("start", 0),
        ("end", 8),
    ],
)
def test_a_changed_span_of_a_reason(run, field, value):
    """A reason needs a stored span with equal trait, path, start and end."""
    folder, _ = run
    row, _ = find_fired(folder)

    def change(table: pa.Table) -> pa.Table:
        (span,) = table.column("spans").to_pylist()[row]
        return edit_list(table, "spans", row, [span | {field: value}])

    where = rewrite_table(folder, "spans", change)
    problem = f"row {row} has no span for its reason of heron"
    assert list_problems(folder)[0] == (where, problem)
    assert next(item.where for item in verify_run(str(folder))) == where


def test_the_signal_of_a_span(config, policy):
    """A reason of a single signal needs that signal's span."""
    rules = policy("traits: {heron: {signal: lexicon, threshold: 0.5}}\n")
    run_filter(config.model_copy(update={"policy": rules}))
    folder = Path(config.output)
    row, reason = find_fired(folder)
    assert reason["signal"] == "lexicon"
    assert list_problems(folder) == []

    def change(table: pa.Table) -> pa.Table:
        (span,) = table.column("spans").to_pylist()[row]
        return edit_list(table, "spans", row, [span | {"signal": "head"}])

    where = rewrite_table(folder, "spans", change)
    problem = f"row {row} has no span for its reason of heron"
    assert list_problems(folder) == [(where, problem)]


def test_spans_that_were_removed(run):
    """Without spans, every reason is reported."""
    folder, _ = run
    where = rewrite_table(
        folder, "spans", lambda table: replace_column(table, "spans", [[]] * table.num_rows)
    )
    problem = "has no span for its reason of heron"
    assert list_problems(folder) == [(where, f"row {row} {problem}") for row in (1, 6)]


def test_scores_that_reach_the_floor_have_spans(run):
    """A score at or above the span floor needs a span."""
    folder, manifest = run

    def raise_scores(table: pa.Table) -> pa.Table:
        scores = [score or manifest.span_floor for score in table.column("heron").to_pylist()]
        return replace_column(table, "heron", scores)

    rewrite_table(folder, "scores", raise_scores)
    row, _ = find_fired(folder)
    lowest = min({0, 1, 2} - {row})
    spans = min((folder / "spans").iterdir()).name
    problem = "has no span for 5 scores of heron that reach the span floor; the first is in row"
    assert list_problems(folder) == [(f"spans/{spans}", f"{problem} {lowest}")]


@pytest.mark.parametrize("name", ["ledger", "clean", "scores", "spans"])
def test_rubbish(run, name):
    """A file of another format or with other columns is reported."""
    folder, _ = run
    path = min((folder / name).iterdir())
    path.write_bytes(b"rubbish")
    reseal_file(folder, f"{name}/{path.name}")
    ((where, problem),) = list_problems(folder)
    assert where == f"{name}/{path.name}"
    error = "ValueError('the last line" if name == "clean" else "ArrowInvalid"
    assert problem.startswith(f"can't be read as a file of a run: {error}")
    if name == "clean":
        path.write_bytes(b'{"x": 1}\n')
    else:
        pq.write_table(pa.table({"x": [1]}), path)
    reseal_file(folder, f"{name}/{path.name}")
    assert {where for where, _ in list_problems(folder)} == {f"{name}/{path.name}"}


@pytest.mark.parametrize("name", ["ledger", "spans"])
def test_columns_of_another_type(run, name):
    """A ledger or spans table with an extra column is reported."""
    folder, _ = run
    where = rewrite_table(
        folder, name, lambda table: table.append_column("note", pa.array(["x"] * table.num_rows))
    )
    found = dict(list_problems(folder))
    assert found[where].startswith("doesn't have the columns of a")


def test_changed_rejects(config, corpus):
    """Rejects' bytes are checked against the ledger."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write("not json\n")
    run_filter(config)
    folder = Path(config.output)
    assert list_problems(folder) == []
    where = rewrite_table(folder, "rejects", lambda table: replace_column(table, "raw", [b"other"]))
    assert list_problems(folder) == [(where, "row 0 isn't the reject that the ledger has")]


def test_masked_rows_and_their_extra_column(config, policy):
    """The field of masked rows isn't part of their content."""
    rules = policy("traits: {heron: {action: mask}}\n")
    run_filter(config.model_copy(update={"policy": rules}))
    folder = Path(config.output)
    masked = [row for row in map(json.loads, read_lines(folder, "clean")) if "congener" in row]
    assert len(masked) == 8
    assert {row["congener"]["decision"] for row in masked} == {"mask"}
    assert list_problems(folder) == []


def test_spans_are_stored_with_their_schema(run):
    """A run's spans have the required schema."""
    folder, _ = run
    assert pq.read_table(min((folder / "spans").iterdir())).schema.equals(SPANS)
