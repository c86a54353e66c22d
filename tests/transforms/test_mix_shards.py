"""Mixed shards: the files of the run with rows after them, and equal bytes after any retry."""

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.util import assert_that, equal_to

from schemas.events import ShardWritten
from schemas.outputs import LEDGERS
from schemas.receipts import ExceptionEffect, parse_receipt
from schemas.runs import RECEIPTS, receipt_path
from tests.support.rules import build_exception
from tests.support.runs import read_files
from tests.support.swaps import RULES, ask, list_donor_files
from transforms.files import storage
from transforms.listeners import listen_to
from transforms.mix_rows import CleanForm, DrawnFile, find_kinds, read_added
from transforms.mix_shards import MixedShard, MixSettings, MixShards, write_mixed
from transforms.stored_rows import read_stored_rows, read_table

LOT = '["atlas",null,null,null]'


@pytest.fixture
def world(store, tmp_path):
    """Store a run of two shards and a donor; return shards, settings and the donor's clean file."""
    texts = ["A dog.", "An owl.", "A fox.", "A hen.", "An owl again."]
    run, layout, shards = store("run", [ask(n, text) for n, text in enumerate(texts)], size=3)
    rows = [ask(n, f"A crane {n}.") for n in range(10, 16)]
    own, other, found = store("donor", rows)
    (file,) = list_donor_files(own, found, other)
    stored = read_stored_rows(str(run), shards[0].files["clean"], layout)
    if stored.lines is None:
        form = CleanForm(layout, stored.table.schema, None, noted=True)
    else:
        form = CleanForm(layout, None, find_kinds(stored.records), noted=True)
    settings = MixSettings(str(run), str(tmp_path / "out"), "run-2", form, RULES)
    return shards, settings, file


def draw(file, tmp_path, places, shards):
    """Write the table of a draw, and return the drawn file."""
    table = pa.table({"place": places, "shard": shards, "lot": [LOT] * len(places)})
    pq.write_table(table, tmp_path / "drawn.parquet")
    return DrawnFile(file, str(tmp_path), "drawn.parquet")


@pytest.fixture
def added(world, tmp_path):
    """Return two rows that are added to the first shard."""
    shards, settings, file = world
    drawn = draw(file, tmp_path, [1, 4], [shards[0].name] * 2)
    return [rows for _, rows in read_added(drawn, settings.form)]


def test_rows_are_added_after_the_rows_of_the_shard(world, added, tmp_path):
    """Every row of the shard is where it was, and the added rows follow with all their tables."""
    shards, settings, _ = world
    receipt = write_mixed(MixedShard(shards[0], 2), added, settings)
    assert receipt.rows == 5
    assert receipt.decisions == {"flag": 1, "keep": 1, "mix": 2, "quarantine": 1}
    out = str(tmp_path / "out")
    for folder in ("ledger", "scores", "spans"):
        old, new = (read_table(run, shards[0].files[folder]) for run in (settings.run, out))
        assert (old.num_rows, new.num_rows) == (3, 5)
        assert new.slice(0, 3).select(old.column_names).equals(old)
    path = shards[0].files["clean"]
    old, new = (read_stored_rows(run, path, settings.form.layout) for run in (settings.run, out))
    assert new.records[: len(old)] == old.records
    assert [row["n"] for row in new.records[len(old) :]] == [11, 14]
    assert [note["decision"] for note in new.notes[len(old) :]] == ["mix", "mix"]
    ledger = read_table(out, shards[0].files["ledger"])
    assert any(ledger.schema.equals(schema) for schema in LEDGERS)
    assert ledger.column("mix").to_pylist() == [None] * 3 + ["cedar"] * 2


def test_a_shard_without_added_rows_is_copied(world, tmp_path):
    """All files but the ledger have the same bytes, and the ledger has empty columns more."""
    shards, settings, _ = world
    receipt = write_mixed(MixedShard(shards[1], 0), [], settings)
    out = tmp_path / "out"
    assert {output.path for output in receipt.outputs} == set(shards[1].files.values())
    for folder, path in shards[1].files.items():
        old, new = (storage.read_bytes(f"{run}/{path}") for run in (settings.run, out))
        assert (old == new) is (folder != "ledger")
    ledger = read_table(str(out), shards[1].files["ledger"])
    assert ledger.column("mix").null_count == ledger.num_rows
    rows = {output.path: output.rows for output in receipt.outputs}
    assert rows[shards[1].files["ledger"]] == receipt.rows == 2


def test_a_draw_that_was_read_in_part_is_refused(world, added):
    """A shard without all of its rows is never written."""
    shards, settings, _ = world
    with pytest.raises(ValueError, match="3 rows were drawn, but others were read"):
        write_mixed(MixedShard(shards[0], 3), added, settings)


def test_counts_of_a_receipt_are_those_of_the_added_rows(world, added):
    """Near misses, exceptions and rows without scores of the run's own rows are known already."""
    shards, settings, _ = world
    exception = build_exception(action="keep", trait="owl")
    settings = settings._replace(exceptions=(exception,))
    receipt = write_mixed(MixedShard(shards[0], 2), added, settings)
    assert receipt.exceptions == (ExceptionEffect(rows=2),)
    assert (receipt.unscored, receipt.fired, receipt.tokens) == (0, {}, 0)
    receipt = write_mixed(MixedShard(shards[1], 0), [], settings)
    assert receipt.exceptions == (ExceptionEffect(),)


def test_the_order_of_the_added_rows_doesnt_matter(world, tmp_path):
    """Rows of several files arrive in any order, and the bytes are the same."""
    shards, settings, file = world
    parts = []
    for number, place in enumerate((0, 2, 5)):
        drawn = draw(file._replace(number=number), tmp_path, [place], [shards[0].name])
        parts += [rows for _, rows in read_added(drawn, settings.form)]
    write_mixed(MixedShard(shards[0], 3), parts, settings)
    first = read_files(tmp_path / "out")
    write_mixed(MixedShard(shards[0], 3), parts[::-1], settings)
    assert read_files(tmp_path / "out") == first


def test_a_receipt_is_written_last_and_reported(world, added, tmp_path):
    """The receipt names every file, and the finished rows are an event."""
    shards, settings, _ = world
    heard = []
    with listen_to(settings.run_id, heard.append):
        receipt = write_mixed(MixedShard(shards[0], 2), added, settings)
    assert heard == [ShardWritten(5, shards[0].name)]
    data = (tmp_path / "out" / receipt_path(shards[0].name)).read_bytes()
    assert parse_receipt(data) == receipt
    assert receipt.run == "run-2"


def run_stage(world, tmp_path, left=None, runner="DirectRunner", **options):
    """Run the stage with two rows for the first shard and one for the second."""
    shards, settings, file = world
    names = [shards[0].name, shards[1].name, shards[0].name]
    drawn = draw(file, tmp_path, [0, 2, 3], names)
    mixed = [MixedShard(shards[0], 2), MixedShard(shards[1], 1)]
    chosen = [shard for shard in mixed if left is None or shard.name in left]
    chosen_runner = BundleBasedDirectRunner() if runner == "bundles" else runner
    with beam.Pipeline(chosen_runner, PipelineOptions(**options)) as pipeline:
        receipts = pipeline | beam.Create([drawn]) | MixShards(chosen, settings)
        written = receipts | beam.Map(lambda receipt: (receipt.shard, receipt.rows))
        assert_that(written, equal_to([(shard.name, shard.rows) for shard in chosen]))
    return read_files(tmp_path / "out")


def test_the_stage_writes_every_shard(world, tmp_path):
    """The same bytes are written again, and by two processes."""
    files = run_stage(world, tmp_path)
    assert len([path for path in files if path.startswith(RECEIPTS)]) == 2
    assert run_stage(world, tmp_path) == files


def test_finished_shards_are_left_alone(world, tmp_path):
    """Only the shards that are left are written, with their own rows."""
    shards, *_ = world
    whole = run_stage(world, tmp_path)
    for path in whole:
        (tmp_path / "out" / path).unlink()
    first = run_stage(world, tmp_path, left={shards[0].name})
    assert all(shards[1].name not in path for path in first)
    assert run_stage(world, tmp_path, left={shards[1].name}) == whole


def test_another_runner_writes_the_same_bytes(world, tmp_path):
    """Beam's runner of single bundles gives the same files."""
    files = run_stage(world, tmp_path)
    assert run_stage(world, tmp_path, runner="bundles") == files


def test_a_run_with_vectors_keeps_them(world, added, tmp_path):
    """Vectors of added rows follow those of the run, as float16."""
    shards, settings, _ = world
    ledger = read_table(settings.run, shards[0].files["ledger"])
    vectors = [pa.array([[0.5, 1.0]] * size, pa.list_(pa.float16(), 2)) for size in (3, 2)]
    own = pa.table([ledger["source"], ledger["row"], vectors[0]], names=["source", "row", "vector"])
    path = f"vectors/{shards[0].name}.parquet"
    storage.write_bytes(f"{settings.run}/{path}", encode(own))
    shard = shards[0]._replace(files={**shards[0].files, "vectors": path})
    (rows,) = added
    keys = rows.ledger
    more = pa.table([keys["source"], keys["row"], vectors[1]], names=["source", "row", "vector"])
    changed = [rows.__class__(**{**vars(rows), "vectors": more})]
    write_mixed(MixedShard(shard, 2), changed, settings)
    found = read_table(str(tmp_path / "out"), path)
    assert found.num_rows == 5
    assert found.schema.field("vector").type == pa.list_(pa.float16(), 2)
    assert found.column("source").to_pylist()[3:] == ["donors/cedar/corpus.jsonl"] * 2 or (
        found.column("source").to_pylist()[3].startswith("donors/cedar/")
    )


def encode(table):
    """Return a table as Parquet."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    return stream.getvalue().to_pybytes()
