"""Surveys of the input."""

import gzip

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import corpora
from schemas.corpora import CorpusConfig, LotField, ShardLimits
from schemas.digests import digest_bytes
from schemas.errors import InputError
from schemas.runs import shard_path
from transforms.files import storage
from transforms.files.patterns import FoundFile
from transforms.files.planning import plan_shards
from transforms.files.shards import read_task
from transforms.files.sources import (
    Corpus,
    Source,
    limit_rows,
    require_columns,
    require_unchanged,
    settle_shared_schema,
    survey,
)
from transforms.files.surveys import Cut
from transforms.records.formats import settle_layout
from transforms.records.json_columns import IS_LOT, ColumnKinds
from transforms.records.json_messages import MESSAGES

WIDE = ShardLimits()


def limits(rows=5_000, bytes_=32 << 20):
    """Return shard limits, possibly below a configuration's minimum."""
    return ShardLimits.model_construct(rows=rows, bytes=bytes_)


def parquet(path, table, group=None):
    """Write a table as Parquet, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return str(path)


def test_a_survey_finds_files_rows_and_schema(tmp_path, json_lines):
    """Files are sorted, with their digests, rows and names."""
    second = json_lines(tmp_path / "b" / "x.jsonl.zst", [{"text": "c", "n": 1.5}])
    first = json_lines(tmp_path / "a" / "x.jsonl", [{"text": "a"}, {"n": 2}])
    corpus = survey([str(tmp_path)], WIDE)
    assert [(item.name, item.kind, item.compression, item.rows) for item in corpus.sources] == [
        ("a/x.jsonl", "jsonl", "none", 2),
        ("b/x.jsonl.zst", "jsonl", "zstd", 1),
    ]
    assert [item.uri for item in corpus.sources] == [first, second]
    assert corpus.schema == pa.schema([("text", pa.string()), ("n", pa.float64())])
    assert corpus.sources[0].kinds.counts == {"text": {"text": 1}, "n": {"number": 1}}
    data = (tmp_path / "a" / "x.jsonl").read_bytes()
    assert (corpus.sources[0].sha256, corpus.sources[0].size) == (digest_bytes(data), len(data))


def test_other_files_are_ignored_and_listed(tmp_path, json_lines):
    """A folder's README is listed as ignored."""
    json_lines(tmp_path / "x.jsonl", [{"text": "a"}])
    (tmp_path / "README.md").write_text("about")
    corpus = survey([str(tmp_path)], WIDE)
    assert [item.name for item in corpus.sources] == ["x.jsonl"]
    assert corpus.ignored == (str(tmp_path / "README.md"),)


def test_sources_are_in_the_order_of_their_outputs(tmp_path, json_lines):
    """Sources are sorted by their output files' names."""
    names = ["a.b.jsonl", "a.jsonl", "a.x.jsonl", "a-b/c.jsonl", "a/c.jsonl", "teacher=x/a.jsonl"]
    for name in names:
        json_lines(tmp_path / name, [{"text": "a"}])
    corpus = survey([str(tmp_path)], WIDE)
    found = [source.name for source in corpus.sources]
    assert sorted(found) == sorted(names)
    assert found[:4] == ["a-b/c.jsonl", "a.b.jsonl", "a.jsonl", "a.x.jsonl"]
    outputs = [
        shard_path("clean", plan.name, ".jsonl", plan.stem)
        for task in plan_shards(corpus.sources, WIDE)
        for plan in task
    ]
    assert outputs == sorted(outputs)
    assert corpus.partitions == ("teacher",)
    assert set(corpus.folder_columns) == {"folder", "teacher"}


def test_a_file_named_in_full_is_read_whatever_its_name(tmp_path, json_lines, monkeypatch):
    """A file named in full may have any suffix."""
    json_lines(tmp_path / "corpus.txt", [{"text": "a"}])
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / "corpus.txt"), "corpus.txt", "./corpus.txt"):
        assert [item.rows for item in survey([name], WIDE).sources] == [1]


def test_a_file_that_two_patterns_name_is_read_once(tmp_path, json_lines):
    """A file that several patterns match is read once."""
    path = json_lines(tmp_path / "x.jsonl", [{"text": "a"}])
    assert len(survey([path, str(tmp_path), str(tmp_path / "*.jsonl")], WIDE).sources) == 1


def test_kind_is_decided_by_the_first_bytes(tmp_path):
    """A file's first bytes decide its kind."""
    table = pa.table({"text": ["a", "b"]})
    parquet(tmp_path / "x" / "odd.json", table)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "odd.jsonl").write_bytes(gzip.compress(b'{"text": "a"}\n'))
    assert survey([str(tmp_path / "x")], WIDE).sources[0].kind == "parquet"
    assert survey([str(tmp_path / "y")], WIDE).sources[0].compression == "gzip"


def survey_error(paths, limits=WIDE):
    """Return a survey's error."""
    with pytest.raises(InputError) as caught:
        survey([str(path) for path in paths], limits)
    return caught.value


def test_an_empty_glob_is_refused(tmp_path):
    """The error for an empty glob names the glob."""
    assert survey_error([tmp_path / "*.jsonl"]).where == str(tmp_path / "*.jsonl")


def test_a_folder_without_a_corpus_is_refused(tmp_path):
    """The error for a folder without data lists the known suffixes."""
    (tmp_path / "notes.md").write_text("about")
    error = survey_error([tmp_path])
    assert error.where == str(tmp_path)
    assert ".parquet, .arrow, .jsonl" in error.problem


def test_an_empty_file_is_refused(tmp_path):
    """The error for an empty file names the file and suggests to leave it out."""
    (tmp_path / "x.jsonl").touch()
    error = survey_error([tmp_path])
    assert (error.where, error.problem) == (str(tmp_path / "x.jsonl"), "is empty")
    assert "leave it out" in error.remedy


def test_a_folder_of_other_files_says_what_they_are(tmp_path):
    """The error for a folder of other files describes them."""
    (tmp_path / "notes.txt").write_text("hello\n")
    error = survey_error([tmp_path])
    assert f"files with other names: {tmp_path / 'notes.txt'}" in error.problem
    (tmp_path / "a.tar").write_bytes(b"x" * 257 + b"ustar\x0000")
    error = survey_error([tmp_path])
    assert (error.where, error.problem) == (str(tmp_path / "a.tar"), "is a tar archive")


def test_a_closed_folder_of_the_system_is_left_out_by_name(tmp_path, monkeypatch):
    """A disk's `lost+found` is listed as unread."""
    closed = FoundFile(str(tmp_path / "lost+found"), 0)
    found = [closed, FoundFile(str(tmp_path / "a.jsonl"), 14)]
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    monkeypatch.setattr(storage, "find", lambda _: found)
    corpus = survey([str(tmp_path)], ShardLimits())
    assert corpus.ignored == (closed.uri,)
    assert [source.uri for source in corpus.sources] == [found[1].uri]
    del found[1]
    assert "files with other names" in survey_error([tmp_path]).problem


def test_plain_text_comes_with_a_command(tmp_path):
    """The error for plain text gives a command for JSON Lines."""
    (tmp_path / "a.txt").write_text("hello\nworld\n")
    error = survey_error([tmp_path / "a.txt"])
    assert "not JSON" in error.problem
    assert "jq -Rc" in error.remedy


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"a,b\n1,2\n", "one object per line"),
        (b"\n\n\n", "one object per line"),
        (b'"text"\n3\n', "give each text a name: jq"),
        (b"\x00\x01\x02\x03", "if it is compressed, decompress it"),
        (b'{"text": \n"a"\n', "one object per line"),
        (b"{}\n", "one object per line"),
    ],
    ids=["table", "blank lines", "texts", "binary", "broken object", "empty object"],
)
def test_a_file_without_any_object_is_refused(tmp_path, json_lines, data, remedy):
    """The error for a file without objects names the file."""
    json_lines(tmp_path / "good.jsonl", [{"text": "a"}])
    (tmp_path / "x.jsonl").write_bytes(data)
    error = survey_error([tmp_path])
    assert error.where == str(tmp_path / "x.jsonl")
    assert error.problem.startswith("has no JSON object with a field")
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,b\n[1]\n", ": row 0 at byte 0: not JSON: "),
        (b'{}\n"text"\n3\n', ": row 1 at byte 3: not a JSON object but text"),
        (b"{}\n", ""),
    ],
)
def test_the_first_line_that_cannot_be_read_is_explained(tmp_path, data, reason):
    """The error for a file without objects explains the first bad line."""
    (tmp_path / "x.jsonl").write_bytes(data)
    assert f"with a field{reason}" in survey_error([tmp_path]).problem


@pytest.mark.parametrize("keep", [0.5, 0.99])
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_truncated_archive_is_refused(tmp_path, json_lines, ending, keep):
    """A truncated archive is an error."""
    path = tmp_path / f"x.jsonl{ending}"
    json_lines(path, [{"text": f"row {number * 7919}"} for number in range(500)])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    error = survey_error([path])
    assert error.where == str(path)
    assert "can't be read" in error.problem
    assert "truncated" in error.problem.lower()
    assert "check that the file is complete" in error.remedy


def test_a_damaged_archive_is_refused(tmp_path, json_lines):
    """An archive's own checksum reveals a changed byte."""
    path = tmp_path / "x.jsonl.gz"
    json_lines(path, [{"text": f"row {number * 7919}"} for number in range(500)])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "can't be read: gzip: " in survey_error([path]).problem


def test_a_truncated_parquet_file_is_refused(tmp_path):
    """The error for a truncated Parquet file names the file."""
    path = tmp_path / "x.parquet"
    parquet(path, pa.table({"text": ["a" * 100] * 100}))
    path.write_bytes(path.read_bytes()[:-20])
    error = survey_error([path])
    assert error.where == str(path)
    assert "can't be read as Parquet" in error.problem


def test_concatenated_archives_are_read_whole(tmp_path):
    """Concatenated archives are read to the end."""
    rows = [orjson.dumps({"text": f"row {number}"}) + b"\n" for number in range(100)]
    (tmp_path / "x.jsonl.gz").write_bytes(
        gzip.compress(b"".join(rows[:60])) + gzip.compress(b"".join(rows[60:]))
    )
    assert survey([str(tmp_path)], WIDE).sources[0].rows == 100


def test_a_skippable_frame_may_be_first(tmp_path):
    """A file that begins with a skippable frame is read."""
    frame = b"\x50\x2a\x4d\x18\x04\x00\x00\x00size"
    (tmp_path / "x.jsonl.zst").write_bytes(
        (frame + pa.compress(b'{"text": "a"}\n', codec="zstd", asbytes=True)) * 3
    )
    assert survey([str(tmp_path)], WIDE).sources[0].rows == 3


@pytest.mark.parametrize("order", ["utf-16", "utf-16-be"])
def test_utf_16_is_refused(tmp_path, order):
    """The error for UTF-16 gives a command that converts the file."""
    (tmp_path / "x.jsonl").write_bytes('\ufeff{"text": "a"}\n'.encode(order))
    error = survey_error([tmp_path])
    assert error.problem == "is UTF-16"
    assert "iconv" in error.remedy


def test_byte_order_marks_are_ignored(tmp_path):
    """Byte order marks at the start of a file or between files are ignored."""
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\n\xef\xbb\xbf{"n": 1}\n')
    assert survey([str(tmp_path)], WIDE).schema.names == ["text", "n"]
    (tmp_path / "x.jsonl").write_bytes(b'\xef\xbb\xbf[{"text": "a"}]')
    assert survey([str(tmp_path)], WIDE).sources[0].kind == "array"


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_bomb_is_refused_while_it_expands(tmp_path, json_lines, monkeypatch, ending):
    """An archive that expands too far is refused early."""
    monkeypatch.setattr(corpora, "EXPANSION_FLOOR", 1 << 20)
    limits = ShardLimits(expansion=50)
    rows = [{"text": "a" * 1_000}] * 4_000
    path = json_lines(tmp_path / f"x.jsonl{ending}", rows)
    size = (tmp_path / f"x.jsonl{ending}").stat().st_size
    error = survey_error([path], limits)
    assert error.where == path
    assert (
        f"has {size:,} bytes and expands to more than {max(1 << 20, 50 * size):,}" in error.problem
    )
    assert "shards.expansion" in error.remedy
    assert survey([path], ShardLimits(expansion=100_000)).sources[0].rows == 4_000
    json_lines(tmp_path / f"x.jsonl{ending}", [b"\0" * 4_000_000])
    assert "expands to more than" in survey_error([path], limits).problem
    json_lines(tmp_path / f"x.jsonl{ending}", rows[:500])
    assert survey([path], limits).sources[0].rows == 500


def test_a_damaged_footer_is_named(tmp_path):
    """The error for a damaged footer names the file."""
    path = tmp_path / "x.parquet"
    parquet(path, pa.table({"some_text": ["a"]}))
    path.write_bytes(path.read_bytes().replace(b"some_text", b"some\xff\xfeext"))
    error = survey_error([path])
    assert error.where == str(path)
    assert "can't be read as Parquet" in error.problem


def test_parquet_and_json_lines_together_are_refused(tmp_path, json_lines):
    """The error for Parquet and JSON Lines together names a file of each kind."""
    json_lines(tmp_path / "a.jsonl", [{"text": "a"}])
    parquet(tmp_path / "b.parquet", pa.table({"text": ["a"]}))
    error = survey_error([tmp_path])
    assert error.where == str(tmp_path / "b.parquet")
    assert error.problem == f"is Parquet, while {tmp_path / 'a.jsonl'} is JSON Lines"
    assert "two runs" in error.remedy


def test_parquet_files_may_differ_without_harm(tmp_path):
    """Differing Parquet files get one schema and a notice."""
    parquet(tmp_path / "a.parquet", pa.table({"text": ["a"], "n": pa.array([1], pa.int8())}))
    parquet(tmp_path / "b.parquet", pa.table({"n": [2], "text": ["b"], "more": [True]}))
    corpus = survey([str(tmp_path)], WIDE)
    kinds = {"text": pa.string(), "n": pa.int64(), "more": pa.bool_()}
    assert corpus.schema == pa.schema(list(kinds.items()))
    (notice,) = corpus.notices
    assert "'n': int8, read as int64" in notice.text


def test_parquet_files_in_conflict_are_refused(tmp_path):
    """The error for conflicting types names both files, the column and its types."""
    first = parquet(tmp_path / "a.parquet", pa.table({"text": ["a"], "n": [1]}))
    second = parquet(tmp_path / "b.parquet", pa.table({"text": ["a"], "n": ["1"]}))
    error = survey_error([tmp_path])
    assert error.where == first
    assert error.problem == (
        f"has 'n' as int64, but {second} has it as string: no type holds both without loss"
    )
    assert "python -c" in error.remedy


def test_metadata_is_no_difference(tmp_path):
    """Parquet files may differ in metadata, and the first file's metadata is kept."""
    table = pa.table({"text": ["a"]})
    parquet(tmp_path / "a.parquet", table.replace_schema_metadata({"made by": "one"}))
    parquet(tmp_path / "b.parquet", table.replace_schema_metadata({"made by": "two"}))
    assert survey([str(tmp_path)], WIDE).schema.metadata == {b"made by": b"one"}


def survey_rows(name, *rows):
    """Return a JSON Lines source with these rows."""
    kinds = ColumnKinds()
    for row in rows:
        kinds.observe(row)
    return Source(name, name, "jsonl", "none", 1, "", len(rows), (), kinds=kinds)


def test_json_files_share_a_merged_schema():
    """Fields and their kinds are counted over all files."""
    sources = [survey_rows("x", {"a": 1}), survey_rows("y", {"a": "x", "b": 1}, {"a": "y"})]
    schema = pa.schema([("a", pa.string()), ("b", pa.float64())])
    assert settle_shared_schema(sources) == (schema, [])


def test_json_lines_are_read_with_the_columns_that_are_needed(tmp_path, json_lines):
    """Only format and lot columns of JSON Lines are read."""
    row = {"id": 1, "model": 7, "messages": [{"role": "user", "content": "a"}], "day": "x"}
    corpus = survey([json_lines(tmp_path / "x.jsonl", [row])], WIDE)
    config = CorpusConfig(date=LotField(column="day"), prompt_source=LotField(constant="web"))
    schema = corpus.select_schema(settle_layout(corpus.schema, config))
    assert schema == pa.schema(
        [("messages", MESSAGES), ("model", pa.string()), ("day", pa.string())]
    )
    assert [item.metadata for item in schema] == [None, IS_LOT, IS_LOT]


def test_parquet_is_read_with_all_columns(tmp_path):
    """Every Parquet column is read."""
    table = pa.table({"text": ["a"], "model": ["m"], "n": [1]})
    corpus = survey([parquet(tmp_path / "x.parquet", table)], WIDE)
    assert corpus.select_schema(settle_layout(corpus.schema, CorpusConfig())) == table.schema


def test_a_file_without_the_columns_of_the_format_is_refused():
    """The error for another format lists the file's columns and the missing columns."""
    chat = survey_rows("chat.jsonl", {"messages": [], "id": 1})
    other = survey_rows("other.jsonl", {"instruction": "a", "output": "b", "input": None})
    require_columns([chat], ["messages", "text"])
    with pytest.raises(InputError, match="no row has 'messages' or 'text'") as caught:
        require_columns([chat, other], ["messages", "text"])
    assert caught.value.where == "other.jsonl"
    assert caught.value.problem.endswith("its columns are instruction, output")
    assert "separate runs" in caught.value.remedy


def test_files_of_nulls_need_no_column():
    """A file without values needs no column."""
    schema = pa.schema([("x", pa.null())])
    parquet = Source("a", "a", "parquet", "none", 1, "", 1, (), schema=schema)
    require_columns([parquet, survey_rows("b", {}, {"x": None})], ["messages"])


def test_parquet_without_the_columns_of_the_format_is_refused(tmp_path):
    """Parquet in another format is refused."""
    parquet(tmp_path / "a.parquet", pa.table({"text": ["a"]}))
    other = parquet(tmp_path / "b.parquet", pa.table({"label": [1]}))
    corpus = survey([str(tmp_path)], WIDE)
    with pytest.raises(InputError, match="no row has 'text'") as caught:
        require_columns(corpus.sources, ["text"])
    assert caught.value.where == other
    require_columns(corpus.sources, ["text", "label"])


def test_parquet_may_have_the_columns_of_the_format_inside_others(tmp_path):
    """A path into a nested column counts as a column."""
    rows = [{"data": {"text": "a", "empty": None}}]
    (source,) = survey([parquet(tmp_path / "a.parquet", pa.Table.from_pylist(rows))], WIDE).sources
    require_columns([source], ["data.text"])
    for name in ("data.empty", "data.other", "text"):
        with pytest.raises(InputError, match="no row has"):
            require_columns([source], [name])


def test_a_name_that_is_no_utf_8_is_refused(tmp_path, json_lines):
    """A file name that isn't UTF-8 is refused."""
    path = tmp_path / b"caf\xe9.jsonl".decode("utf-8", "surrogateescape")
    json_lines(path, [{"text": "a"}])
    error = survey_error([tmp_path])
    assert error.where == str(path)
    assert error.problem.startswith("has a name that isn't UTF-8")


def test_a_folder_whose_name_is_no_utf_8_is_refused(tmp_path, json_lines, monkeypatch):
    """The manifest names files by their whole path, so every folder above them counts."""
    folder = tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape")
    folder.mkdir()
    json_lines(folder / "a.jsonl", [{"text": "a"}])
    monkeypatch.chdir(folder)
    assert "in a folder with such a name" in survey_error(["a.jsonl"]).problem


def test_a_file_must_stay_as_it_was_surveyed(tmp_path):
    """The error for a changed or removed file names the file."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "One."}\n')
    (source,) = survey((str(path),), ShardLimits()).sources
    require_unchanged(source.uri, source.fingerprint)
    path.write_bytes(b'{"text": "One."}\n{"text": "Two."}\n')
    with pytest.raises(InputError, match=r"a\.jsonl: was changed during the run"):
        require_unchanged(source.uri, source.fingerprint)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.jsonl: can't be opened"):
        require_unchanged(source.uri, source.fingerprint)


def write_parts(folder, counts, kind, json_lines):
    """Write one file for each number of rows; a row's text is the file's number and its own."""
    for part, count in enumerate(counts):
        texts = [{"text": f"{part} {number}"} for number in range(count)]
        path = folder / f"{part:02}.{kind}"
        if kind == "parquet":
            parquet(path, pa.Table.from_pylist(texts, pa.schema([("text", pa.string())])), group=6)
        else:
            json_lines(path, texts)


def read_limited(folder, rows, shard_rows=4):
    """Return a limited corpus, and for each of its files, the numbers of the rows that are read."""
    small = limits(rows=shard_rows)
    corpus = limit_rows(survey([str(folder)], small), rows)
    schema = corpus.select_schema(settle_layout(corpus.schema, CorpusConfig()))
    found = {}
    for task in plan_shards(corpus.sources, small):
        for shard in read_task(task, schema):
            for text in shard.table.column("text").to_pylist():
                part, number = map(int, text.split())
                found.setdefault(part, []).append(number)
    return corpus, found


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "parquet"])
@pytest.mark.parametrize("rows", [3, 5, 13, 20, 29, 30, 99])
def test_a_limit_takes_the_first_rows_of_every_file(tmp_path, json_lines, kind, rows):
    """Every file gives its first rows, and as many as the others, whatever its kind and cuts."""
    if kind == "csv":
        for part in range(3):
            lines = [f"{part} {number}" for number in range(10)]
            (tmp_path / f"{part:02}.csv").write_text("\n".join(["text", *lines]) + "\n")
    else:
        write_parts(tmp_path, [10, 10, 10], kind, json_lines)
    corpus, found = read_limited(tmp_path, rows)
    shares = [min(10, rows // 3 + (part < rows % 3)) for part in range(3)]
    assert found == {part: list(range(share)) for part, share in enumerate(shares)}
    assert [source.rows for source in corpus.sources] == shares
    assert corpus.rows_left_out == max(0, 30 - rows)
    assert corpus.files_left_out == 0


def test_short_files_leave_their_share_to_longer_ones(tmp_path, json_lines):
    """A limit is used up if there are enough rows, however they are spread over the files."""
    write_parts(tmp_path, [2, 9, 1, 9], "jsonl", json_lines)
    corpus, found = read_limited(tmp_path, 12)
    assert {part: len(numbers) for part, numbers in found.items()} == {0: 2, 1: 5, 2: 1, 3: 4}
    assert [source.rows_left_out for source in corpus.sources] == [0, 4, 0, 5]


def test_a_limit_below_the_number_of_files_spreads_over_them(tmp_path, json_lines):
    """If there are more files than rows, evenly spread files give one row each."""
    write_parts(tmp_path, [3] * 10, "jsonl", json_lines)
    corpus, found = read_limited(tmp_path, 4)
    assert found == {0: [0], 2: [0], 5: [0], 7: [0]}
    assert (corpus.rows_left_out, corpus.files_left_out) == (26, 6)


@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=12), rows=st.integers(1, 200))
def test_a_limit_is_kept_exactly(counts, rows):
    """Files give exactly the limit or all rows, and none gives two fewer than a file with more."""
    cuts = [(Cut(0, 0, 0), Cut(count, 9 * count, 1)) for count in counts]
    sources = tuple(
        Source(f"{index}.jsonl", "", "jsonl", "none", 9, "", count, cuts[index])
        for index, count in enumerate(counts)
    )
    corpus = limit_rows(Corpus(sources, pa.schema([]), ()), rows)
    given = {source.name: source.rows for source in corpus.sources}
    assert sum(given.values()) == min(rows, sum(counts))
    assert sum(given.values()) + corpus.rows_left_out == sum(counts)
    shortened = [source.rows for source in corpus.sources if source.rows_left_out]
    assert not shortened or max(given.values()) - min(shortened) <= 1
    assert all(source.cuts[-1].row == source.rows for source in corpus.sources)
