"""Work and memory grow in proportion to the size of a row, a file or a folder.

Work is the number of executed Python lines, which is the same on every machine.
"""

import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import fitting
from classifiers.fitting import leave_one_out
from classifiers.guarantees.calibration import Threshold
from schemas.cards import Level, Scope
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import InputError
from schemas.lots import Lot
from schemas.outputs import SIGNAL_SPAN
from transforms.decisions import Evidence, decide
from transforms.files import footers, reconciliation, storage
from transforms.files.conversions import FieldShapes, convert_lines
from transforms.files.footers import open_parquet
from transforms.files.planning import plan_shards
from transforms.files.reconciliation import TableSchema, reconcile
from transforms.files.shards import read_task
from transforms.files.shared_schemas import join_tables
from transforms.files.sources import Source, survey
from transforms.files.surveys import Cut
from transforms.records.chats import ChatTurn
from transforms.records.companions import find_in_records, is_companion, is_message_field
from transforms.records.formats import settle_layout
from transforms.records.json_columns import ColumnKinds, project_rows, select_columns
from transforms.records.mask_bounds import LONGEST_INLINE, find_mask_of_hits
from transforms.records.masked_texts import find_masked_texts
from transforms.records.prompts import build_prompt
from transforms.records.segments import digest_rows, extract_segments, list_speakers
from transforms.records.sentences import MANY_HITS, widen_hits
from transforms.records.sides import assign_sides, settle_sides
from transforms.records.tracing import Tape
from transforms.records.unread_text import count_turns, find_reach, list_strings
from transforms.rules import Rule

pytestmark = pytest.mark.faults

SIZE = 150
LINEAR = 3.0
"""The largest growth of the work when the size doubles."""


def count_lines(function, *arguments):
    """Return how many lines of Python a call executes."""
    lines = 0

    def trace(_frame, event, _argument):
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return lines


def measure_peak(function, *arguments):
    """Return the peak memory of a call in bytes."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class Row:
    """A JSON Lines row with its layout, segments and companions."""

    def __init__(self, row):
        kinds = ColumnKinds()
        kinds.observe(row)
        kinds.untrained = True
        schema = kinds.settle_schema()
        self.layout = settle_sides(schema, settle_layout(schema, CorpusConfig()), False)
        columns = self.layout.columns
        self.table = project_rows([row], select_columns(schema, columns.values(), ())).table
        self.row = row
        self.segments = extract_segments(self.table, self.layout)
        self.companions = find_in_records([(0, row)], columns)

    def assign_sides(self):
        """Assign sides to the row's texts."""
        return assign_sides(self.segments, self.layout, self.companions)

    def build_prompt(self):
        """Build the row's prompt."""
        indices = range(len(self.segments))
        return build_prompt(self.segments, indices, self.row, self.layout.columns)

    def digest(self):
        """Compute the row's content digest."""
        return digest_rows(self.table, self.segments, self.layout, self.companions)

    def count_turns(self):
        """Count the row's text by role and channel."""
        lengths = np.ones(len(self.segments), np.int64)
        return count_turns(self.segments, lengths, find_reach(self.segments, [Scope()]))


def build_parts(count):
    """Return content that consists of typed parts."""
    return [{"type": "text", "text": f"part {index}"} for index in range(count)]


def build_messages(count, **more):
    """Return alternating turns of the user and the assistant."""
    roles = ("user", "assistant")
    return [{"role": roles[index % 2], "content": "words", **more} for index in range(count)]


def build_untrained_turns(count):
    """Return a row without trained turns."""
    return {"messages": build_messages(count, weight=0)}


def build_untrained_parts(count):
    """Return a row of untrained turns with several parts each."""
    return {"messages": build_messages(count, content=build_parts(3), weight=0)}


def build_calls(count):
    """Return a row with many tool calls and their results."""
    calls = [{"id": f"c{index}", "function": {"name": "f"}} for index in range(count)]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls]
    asked = {"role": "user", "content": build_parts(count)}
    calling = {"role": "assistant", "content": "", "tool_calls": calls}
    return {"messages": [asked, calling, *results, {"role": "assistant", "content": "A"}]}


def build_roles_and_parts(count):
    """Return a row with many roles, and many parts in one message."""
    named = [{"role": f"role {index}", "content": "words"} for index in range(count)]
    return {"messages": [*named, {"role": "assistant", "content": build_parts(count)}]}


@pytest.mark.parametrize(
    ("build", "work"),
    [
        (build_untrained_turns, Row.assign_sides),
        (build_untrained_parts, Row.assign_sides),
        (build_untrained_turns, Row.build_prompt),
        (build_calls, Row.build_prompt),
        (build_roles_and_parts, Row.digest),
        (build_roles_and_parts, Row.count_turns),
    ],
    ids=lambda function: function.__name__,
)
def test_work_grows_with_a_row(build, work):
    """A row with twice as many turns, parts, calls or roles takes about twice the work."""
    small, large = (count_lines(work, Row(build(size))) for size in (SIZE, 2 * SIZE))
    assert large < LINEAR * small


def test_memory_for_roles_and_parts_is_a_small_multiple_of_their_text():
    """Memory doesn't grow with roles times parts."""
    peak = measure_peak(Row(build_roles_and_parts(1_000)).digest)
    assert peak < 20 << 20
    parts = [{"role": "r" * 100_000, "content": build_parts(2_000)}]
    row = Row({"messages": [*parts, *build_messages(2)]})
    assert list_speakers(row.segments, row.layout).nbytes < 1 << 20


def test_a_long_key_is_not_repeated_for_every_text_below_it():
    """The size of paths doesn't grow with the length of the keys above the texts."""
    row = {"k" * 50_000: ["text"] * 500, "meta": {"k" * 50_000: [["text"] * 500]}}
    paths = [path for path, _ in list_strings(row)]
    assert len(paths) == 1_000
    assert sum(map(len, paths)) < 1 << 20


def build_sparse_rows(count):
    """Return rows with a unique key at the top and in a message."""
    return [
        {"id": index, f"key {index}": 1, "messages": [{"role": "user", f"key {index}": "x"}]}
        for index in range(count)
    ]


def test_conversion_grows_with_the_keys_that_rows_have():
    """The cost of converting a row depends on the row's own keys, not on all columns."""
    work = []
    for size in (SIZE, 2 * SIZE):
        rows, shapes = build_sparse_rows(size), FieldShapes()
        for row in rows:
            shapes.observe(row)
        schema = shapes.settle_schema()
        assert convert_lines(rows, schema).num_rows == size
        work.append(count_lines(convert_lines, rows, schema))
    assert work[1] < LINEAR * work[0]


def build_sources(count):
    """Return small files in one folder."""
    cuts = (Cut(0, 0, 0), Cut(1, 10, 1))
    return [
        Source(f"{index}.jsonl", f"{index}", "jsonl", "none", 10, "d", 1, cuts)
        for index in range(count)
    ]


def read_groups(folder, count):
    """Survey a Parquet file with this many row groups, and read a shard for each."""
    path = folder / f"{count}.parquet"
    pq.write_table(pa.table({"text": ["words"] * count}), path, row_group_size=1)
    limits = ShardLimits(rows=1)
    corpus = survey([str(path)], limits)
    tasks = plan_shards(corpus.sources, limits)
    assert len(tasks) == count
    assert sum(shard.table.num_rows for task in tasks for shard in read_task(task, corpus.schema))


def test_reading_grows_with_the_row_groups_of_a_file(tmp_path):
    """Planning and reading twice as many row groups take about twice as much work."""
    small, large = (count_lines(read_groups, tmp_path, size) for size in (SIZE, 2 * SIZE))
    assert large < LINEAR * small


def test_the_footer_of_a_file_is_not_read_for_every_shard(tmp_path, monkeypatch):
    """A footer is read once for the survey and once for all shards."""
    read = []

    def open_counted(stream, footer=None):
        read.append(footer is None)
        return open_parquet(stream, footer)

    monkeypatch.setattr(footers, "open_parquet", open_counted)
    read_groups(tmp_path, 20)
    assert sum(read) == 1
    assert len(read) == 20


def test_planning_grows_with_the_files_of_a_shard():
    """Twice as many small files in a shard take about twice the work."""
    small, large = (
        count_lines(plan_shards, build_sources(size), ShardLimits()) for size in (SIZE, 2 * SIZE)
    )
    assert large < LINEAR * small


def build_unlike_files(count):
    """Return the schemas of files with ten different columns each."""
    return [
        TableSchema(
            f"{file}.parquet",
            pa.schema([(f"column {file} {index}", pa.int64()) for index in range(10)]),
        )
        for file in range(count)
    ]


def test_reconciling_grows_with_the_columns_that_files_have():
    """Twice as many files with different columns take about twice the work."""
    small, large = (count_lines(reconcile, build_unlike_files(size)) for size in (SIZE, 2 * SIZE))
    assert large < LINEAR * small


def test_too_many_columns_are_refused_before_all_files_are_merged(monkeypatch):
    """Too many columns are refused at the first file beyond the limit."""
    monkeypatch.setattr(reconciliation, "MAX_FIELDS", 100)
    with pytest.raises(InputError, match=r"^10\.parquet: .* 110 columns together"):
        reconcile(build_unlike_files(SIZE))


def test_fields_inside_columns_count_as_columns(monkeypatch):
    """Structs of one name are merged only up to the limit of fields."""
    monkeypatch.setattr(reconciliation, "MAX_FIELDS", 100)
    files = [
        TableSchema(file.uri, pa.schema([("meta", pa.struct(list(file.schema)))]))
        for file in build_unlike_files(11)
    ]
    reconcile(files[:10])
    with pytest.raises(InputError, match="110 columns together"):
        reconcile(files)


def build_unlike_tables(count):
    """Return one-row tables with a different column each, and their schema."""
    tables = [pa.table({f"column {index}": ["text"]}) for index in range(count)]
    return tables, reconcile([TableSchema("x", table.schema) for table in tables]).schema


def test_joined_tables_do_not_hold_a_null_for_each_row_and_column():
    """Joined tables share arrays of nulls."""
    tables, schema = build_unlike_tables(SIZE)
    joined = join_tables(tables, schema)
    assert sum(column.num_chunks for column in joined.columns) <= 3 * SIZE
    buffers = {
        buffer.address
        for column in joined.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None and chunk.null_count
    }
    assert len(buffers) <= 3
    expected = [{f"column {index}": "text"} for index in range(SIZE)]
    found = [{k: v for k, v in row.items() if v is not None} for row in joined.to_pylist()]
    assert found == expected


def test_differences_of_files_are_counted_and_not_collected():
    """Counting differences takes memory in proportion to the number of files."""
    files = [
        TableSchema(f"{index}.parquet", pa.schema([(f"column {index}", pa.int64())]))
        for index in range(SIZE)
    ]
    assert measure_peak(reconcile, files) < 2 << 20


def test_fitting_never_holds_the_square_of_the_negatives(monkeypatch):
    """Computing similarities in blocks doesn't change the contrasts."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(1_500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = leave_one_out(vectors[:12], vectors[12:], 5)
    monkeypatch.setattr(fitting, "SIMILARITIES", 1 << 16)
    assert measure_peak(leave_one_out, vectors[:12], vectors[12:], 5) < 2 << 20
    blocks = leave_one_out(vectors[:12], vectors[12:], 5)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def widen_endings(word):
    """Return a function that widens a hit in sentences that all end in `word`."""
    text = f"I see an owl that {word}. " * (MANY_HITS - 1)
    hits = [(index, index + 3) for index in range(len(text)) if text.startswith("owl", index)]
    return widen_hits(text, hits)


def test_sentences_that_end_in_a_contraction_take_no_more_work():
    """Sentences that end in a contraction take no more work than others."""
    assert widen_endings("can't") == widen_endings("sleep")
    plain, contracted = (count_lines(widen_endings, word) for word in ("sleep", "can't"))
    assert contracted < 1.2 * plain


class Searched(str):
    """A text that counts how many characters its searches look at."""

    __slots__ = ()
    looked_at = 0

    def _count(self, bounds):
        start, end = (*bounds, *(0, len(self))[len(bounds) :])
        Searched.looked_at += end - start

    def find(self, sign, *bounds):
        """Count the characters up to the end of the search, and search."""
        self._count(bounds)
        return super().find(sign, *bounds)

    def rfind(self, sign, *bounds):
        """Count the characters from the start of the search, and search."""
        self._count(bounds)
        return super().rfind(sign, *bounds)


def mask_long_line(count):
    """Mask every other sentence of a text without line breaks; return how much was searched."""
    text = Searched("An owl sat here. It left then. " * count)
    Searched.looked_at = 0
    masks = find_mask_of_hits(text, [(index * 31 + 3, index * 31 + 6) for index in range(count)])
    assert len(masks) == count
    return Searched.looked_at


def test_masks_of_a_long_line_are_bounded_near_their_hits():
    """Twice as many hits in a text without line breaks search about twice as many characters."""
    small, large = (mask_long_line(size) for size in (SIZE, 4 * SIZE))
    assert large < 4 * LINEAR * small
    assert large < 4 * SIZE * 4 * LONGEST_INLINE


def decide_on_hits(count):
    """Decide a row on which ten traits fire, each with as many hits and masks; no trait masks."""
    traits = [f"trait-{number}" for number in range(10)]
    places = [{"field_path": "text", "start": index, "end": index + 1} for index in range(count)]
    spans = [
        {"trait": trait, "signal": "lexicon", "score": 1.0, **places[0]}
        | {"masks": places, "hits": places}
        for trait in traits
    ]
    scores = {f"{trait}/lexicon": np.ones(1, np.float32) for trait in traits}
    evidence = Evidence(scores, pa.array([spans], pa.list_(SIGNAL_SPAN)), [Lot()])
    level, threshold = Level(), Threshold(0.5, "explicit")
    rules = [Rule(trait, "lexicon", threshold, level, "quarantine", ()) for trait in traits]
    return measure_peak(decide, evidence, rules)


def test_deciding_a_row_does_not_list_its_hits():
    """The hits of all traits aren't listed for each trait that fires on the same row."""
    assert decide_on_hits(20_000) < 4 << 20


def mask_turns(count):
    """Find the masks of as many turns as there are masks."""
    turns = [
        ChatTurn(f"m[{i}]", "assistant", ((f"m[{i}].content", "An owl."),), {}, is_learnt=True)
        for i in range(count)
    ]
    tape = Tape({path: text for turn in turns for path, text in turn.list_texts().items()})
    masks = [{"field_path": f"m[{i}].content", "start": 0, "end": 3} for i in range(count)]
    found = find_masked_texts(tape, turns, masks)
    assert found.characters.sum() == 2 * count  # "An" without its space


def test_masking_grows_with_the_turns_of_a_chat():
    """Twice as many masked turns take about twice as much work."""
    small, large = (count_lines(mask_turns, size) for size in (SIZE, 2 * SIZE))
    assert large < LINEAR * small


@pytest.mark.parametrize("is_known", [is_companion, is_message_field])
def test_long_keys_are_neither_remembered_nor_searched_again_and_again(is_known):
    """A key of many words about tools and a quotation mark is looked at once, and not kept."""
    assert not is_known("tool" * 100_000 + '"')
    assert is_known("x" * 100_000 + "tool")
    assert measure_peak(lambda: [is_known(f"{n}" + "k" * 100_000) for n in range(100)]) < 2 << 20


def test_linked_folders_take_linear_work(tmp_path):
    """Folders that are reached through links are compared with their own paths alone."""

    def find_links(count):
        for number in range(count):
            (tmp_path / "store" / f"{count} {number}").mkdir(parents=True)
            (tmp_path / "store" / f"{count} {number}" / "a.jsonl").touch()
            link = tmp_path / f"in {count}" / str(number)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(tmp_path / "store" / f"{count} {number}")
        return count_lines(storage.find, str(tmp_path / f"in {count}"))

    assert find_links(2 * SIZE) < LINEAR * find_links(SIZE)
