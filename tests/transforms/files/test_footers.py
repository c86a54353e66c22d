"""Parquet footers: what they claim is checked before it is believed."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.corpora import EXPANSION_FLOOR, ShardLimits
from schemas.errors import InputError
from transforms.files import footers
from transforms.files.footers import check_footer, open_parquet, without_views
from transforms.files.json_shapes import MAX_DEPTH


def written(table, **options):
    """Write a table to memory."""
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def checked(data, size=None, expansion=200):
    """Check a file's footer, as if the file had `size` bytes."""
    check_footer(
        open_parquet(io.BytesIO(data)),
        "x.parquet",
        len(data) if size is None else size,
        ShardLimits(expansion=expansion),
    )


def nested(levels):
    """Return a table of lists inside one another."""
    kind = pa.int64()
    for _ in range(levels):
        kind = pa.list_(kind)
    return pa.table({"x": pa.array([None], kind)})


def test_a_sound_file_passes():
    """Rows, row groups, nesting and types as they should be raise nothing."""
    checked(written(pa.table({"text": ["a"] * 100, "meta": [{"a": [1]}] * 100}), row_group_size=7))
    checked(written(pa.table({"text": pa.array([], pa.string())})))
    checked(written(nested(MAX_DEPTH - 1)))


class Footer:
    """A footer that claims what no writer would."""

    def __init__(self, total, groups, columns=1):
        self.num_rows, self.num_columns, self.num_row_groups = total, columns, len(groups)
        self._groups = groups
        self.metadata, self.schema_arrow = self, pa.schema([("text", pa.string())])

    def row_group(self, place):
        """Return a row group's rows and bytes."""
        return type(
            "Group",
            (),
            dict(zip(("num_rows", "total_byte_size"), self._groups[place], strict=True)),
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
def test_a_footer_that_can_t_be_true_is_refused(total, groups):
    """Rows that don't add up, negative ones, and more rows or bytes than the file can hold: all before any row is read."""
    with pytest.raises(InputError, match=r"footer is damaged|expands to more than") as caught:
        check_footer(Footer(total, groups), "x.parquet", 1_000, ShardLimits())
    assert (caught.value.where, bool(caught.value.remedy)) == ("x.parquet", True)


def test_expansion_is_counted_from_the_files_size():
    """Up to 64 MiB anything goes; beyond, so many times the file's size."""
    limits, size = ShardLimits(expansion=3), EXPANSION_FLOOR
    check_footer(Footer(1, [(1, 3 * size)]), "x", size, limits)
    check_footer(Footer(1, [(1, size)]), "x", 10, limits)
    for bytes_, own in ((3 * size + 1, size), (size + 1, 10)):
        with pytest.raises(InputError, match=r"shards\.expansion allows 3 times"):
            check_footer(Footer(1, [(1, bytes_)]), "x", own, limits)


def test_columns_are_bounded(monkeypatch):
    """A table of more columns than fields may be is refused by their number, before its schema is walked."""
    monkeypatch.setattr(footers, "MAX_FIELDS", 20)
    checked(written(pa.table({f"c{number}": [1] for number in range(20)})))
    with pytest.raises(InputError, match="has 21 columns, more than 20"):
        checked(written(pa.table({f"c{number}": [1] for number in range(21)})))


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
def test_a_name_that_stands_twice_is_refused(table, name):
    """Which of two columns a trainer reads nobody knows."""
    with pytest.raises(InputError, match=f"two fields '{name}' side by side"):
        checked(written(table))


def test_nesting_is_bounded():
    """Deeper than the limit is refused: readers of the output would fail on it."""
    with pytest.raises(InputError, match=f"nests more than {MAX_DEPTH}"):
        checked(written(nested(MAX_DEPTH)))


def test_page_checksums_are_checked():
    """Where a writer has left checksums, a flipped bit in a page is an error, not another text."""
    table = pa.table({"text": [f"row {number}" for number in range(1_000)]})
    data = bytearray(
        written(table, compression="none", use_dictionary=False, write_page_checksum=True)
    )
    at = data.index(b"row 500")
    data[at] ^= 1
    with pytest.raises(OSError, match="CRC"):
        list(open_parquet(io.BytesIO(bytes(data))).iter_batches())


def test_views_become_plain_text_at_every_depth():
    """What Arrow can't filter is read as what it can, names, nulls and metadata as they were."""
    view = pa.list_(
        pa.struct(
            [
                ("role", pa.string_view()),
                pa.field("raw", pa.binary_view(), nullable=False),
                ("n", pa.int8()),
            ]
        )
    )
    plain = pa.list_(
        pa.struct(
            [("role", pa.string()), pa.field("raw", pa.binary(), nullable=False), ("n", pa.int8())]
        )
    )
    before = pa.schema(
        [
            ("text", pa.string_view()),
            ("m", view),
            ("large", pa.large_list(pa.string_view())),
            ("d", pa.date32()),
        ],
        {"by": "hand"},
    )
    after = pa.schema(
        [
            ("text", pa.string()),
            ("m", plain),
            ("large", pa.large_list(pa.string())),
            ("d", pa.date32()),
        ],
        {"by": "hand"},
    )
    assert without_views(before).equals(after, check_metadata=True)
