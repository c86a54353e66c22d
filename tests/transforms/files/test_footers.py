"""Parquet footers: checked before any data is read."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.corpora import EXPANSION_FLOOR, ShardLimits
from schemas.errors import InputError
from transforms.files import footers
from transforms.files.footers import (
    MAX_DEPTH,
    FooterMemory,
    check_footer,
    open_parquet,
)


def write_bytes(table, **options):
    """Return the bytes of a Parquet file."""
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def check(data, size=None, expansion=200):
    """Check a file's footer, with `size` bytes as the file's size."""
    check_footer(
        open_parquet(io.BytesIO(data)),
        "x.parquet",
        len(data) if size is None else size,
        ShardLimits(expansion=expansion),
    )


def nested(levels):
    """Return a table with a column of nested lists."""
    kind = pa.int64()
    for _ in range(levels):
        kind = pa.list_(kind)
    return pa.table({"x": pa.array([None], kind)})


def test_a_sound_file_passes():
    """A plausible footer is accepted."""
    check(
        write_bytes(pa.table({"text": ["a"] * 100, "meta": [{"a": [1]}] * 100}), row_group_size=7)
    )
    check(write_bytes(pa.table({"text": pa.array([], pa.string())})))
    check(write_bytes(nested(MAX_DEPTH - 1)))


class Footer:
    """A footer with false claims."""

    def __init__(self, total, groups, columns=1):
        self.num_rows, self.num_columns, self.num_row_groups = total, columns, len(groups)
        self._groups = groups
        self.metadata, self.schema_arrow = self, pa.schema([("text", pa.string())])

    def row_group(self, index):
        """Return a row group's row and byte counts."""
        return type(
            "Group",
            (),
            dict(zip(("num_rows", "total_byte_size"), self._groups[index], strict=True)),
        )


@pytest.mark.parametrize(
    ("total", "groups"),
    [
        (5, [(4, 10)]),
        (-1, [(-1, 10)]),
        (3, [(3, -10)]),
        (0, [(-3, 1), (3, 1)]),
        (2**62, [(2**62, 10)]),
        (5, [(5, 2**62)]),
    ],
)
def test_an_implausible_footer_is_refused(total, groups):
    """Inconsistent, negative and excessive claims are refused."""
    with pytest.raises(InputError, match=r"footer is damaged|expands to more than") as caught:
        check_footer(Footer(total, groups), "x.parquet", 1_000, ShardLimits())
    assert (caught.value.where, bool(caught.value.remedy)) == ("x.parquet", True)


def test_expansion_is_counted_from_the_files_size():
    """A file may expand to 64 MiB or to `expansion` times its size."""
    limits, size = ShardLimits(expansion=3), EXPANSION_FLOOR
    check_footer(Footer(1, [(1, 3 * size)]), "x", size, limits)
    check_footer(Footer(1, [(1, size)]), "x", 10, limits)
    for claimed, own in ((3 * size + 1, size), (size + 1, 10)):
        with pytest.raises(InputError, match=r"shards\.expansion allows 3 times"):
            check_footer(Footer(1, [(1, claimed)]), "x", own, limits)


def test_columns_are_bounded(monkeypatch):
    """A table with too many columns is refused at once."""
    monkeypatch.setattr(footers, "MAX_FIELDS", 20)
    check(write_bytes(pa.table({f"c{number}": [1] for number in range(20)})))
    with pytest.raises(InputError, match="has 21 columns, more than 20"):
        check(write_bytes(pa.table({f"c{number}": [1] for number in range(21)})))


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), "text"),
        (
            pa.table(
                {
                    "m": pa.array(
                        [None], pa.list_(pa.struct([("role", pa.string()), ("role", pa.string())]))
                    )
                }
            ),
            "role",
        ),
    ],
)
def test_a_repeated_name_is_refused(table, name):
    """Two fields of the same name are refused."""
    with pytest.raises(InputError, match=f"two fields '{name}' at one level"):
        check(write_bytes(table))


def test_nesting_is_bounded():
    """Nesting beyond the limit is refused."""
    with pytest.raises(InputError, match=f"nests more than {MAX_DEPTH}"):
        check(write_bytes(nested(MAX_DEPTH)))


def test_page_checksums_are_verified():
    """A flipped bit in a page with a checksum is an error."""
    table = pa.table({"text": [f"row {number}" for number in range(1_000)]})
    data = bytearray(
        write_bytes(table, compression="none", use_dictionary=False, write_page_checksum=True)
    )
    data[data.index(b"row 500")] ^= 1
    with pytest.raises(OSError, match="CRC"):
        list(open_parquet(io.BytesIO(bytes(data))).iter_batches())


def test_a_footer_is_read_once_for_each_fingerprint(monkeypatch):
    """A footer is remembered until the file changes."""
    read = []

    def open_counted(stream, footer=None):
        read.append(footer is None)
        return open_parquet(stream, footer)

    monkeypatch.setattr(footers, "open_parquet", open_counted)
    memory, data = FooterMemory(), write_bytes(pa.table({"x": range(5)}), row_group_size=2)
    for uri, fingerprint, is_read in (
        ("a", "1", True),
        ("a", "1", False),
        ("a", "2", True),
        ("b", "2", True),
        ("b", "", True),
        ("b", "", True),
    ):
        file, footer = memory.open(io.BytesIO(data), uri, fingerprint)
        assert read.pop() == is_read
        assert footer.begins == (0, 2, 4, 5)
        assert file.read_row_group(1).to_pydict() == {"x": [2, 3]}
