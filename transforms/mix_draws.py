"""Draw donors' rows for the lots of a run, from ledgers alone."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import EMPTY_DIGEST, canonicalise_json, digest_bytes
from schemas.lots import LOT_FIELDS
from schemas.policies import PUBLISHED
from schemas.runs import parse_path
from transforms.files.dataset_cards import CardSplit, DatasetCard
from transforms.files.splits import list_splits, rank_split
from transforms.stored_rows import read_table
from transforms.swap_offers import DonorFile

HELD_OUT = ("validation", "test")
"""The splits that no student is trained on."""

KEY_HEX = 16
"""How many hex digits of a content digest tell rows apart."""

SHA256_BYTES = 32

LotFields = tuple[str | None, ...]
"""The four fields of a lot, as in the ledger."""

CANDIDATE = np.dtype(
    [("order", "u8"), ("file", "i4"), ("place", "i8"), ("key", "u8"), ("teacher", "i4")]
)
"""A donor's row that may be drawn: its place in the seeded order, and where it is.

`file` is the index of the donor's file, `place` the row's index in it, and `key` the first digits
of its content digest. `teacher` is an index in a list of names.
"""


class Cell(NamedTuple):
    """The clean rows of one lot in one shard, to which rows are added."""

    lot: LotFields
    shard: str
    rows: int


class Candidates(NamedTuple):
    """The rows that may be drawn, in the order in which they are drawn, and the teachers' names."""

    rows: np.ndarray
    teachers: list[str]
    repeated: int
    """How many other clean rows of the donors are in the run, or are given twice."""


class Drawn(NamedTuple):
    """Drawn rows: for each, its index among the candidates and the index of its cell.

    `wanted` has the number of rows that the share needs in each cell.
    """

    candidates: np.ndarray
    cells: np.ndarray
    wanted: np.ndarray


def encode_lot(fields: LotFields) -> str:
    """Return the fields of a lot as the ledger's column `mix_lot` has them."""
    return canonicalise_json(list(fields)).decode()


def is_held_out(source: str, card: Mapping[str, Any] | None) -> bool:
    """Return whether a source belongs to a validation or test split.

    `card` has the configs and the splits of the run's dataset card, or is None.
    """
    splits = [
        CardSplit(name, split, tuple(patterns))
        for name, config in (card or {}).items()
        for split, *patterns in config.get("splits", ())
    ]
    listed = DatasetCard("", {}, tuple(splits)).find_splits(source)
    return any(rank_split(split, HELD_OUT) < len(HELD_OUT) for split in list_splits(source, listed))


def count_lots(ledger: pa.Table) -> Counter[LotFields]:
    """Count a shard's clean rows by lot, without rows that were added before."""
    chosen = pc.is_in(ledger.column("decision"), value_set=pa.array(PUBLISHED))
    if "mix" in ledger.column_names:
        chosen = pc.and_(chosen, pc.is_null(ledger.column("mix")))
    grouped = ledger.filter(chosen).select(LOT_FIELDS).group_by(list(LOT_FIELDS))
    found = Counter[LotFields]()
    for row in grouped.aggregate([([], "count_all")]).to_pylist():
        found[tuple(row[name] for name in LOT_FIELDS)] += row["count_all"]
    return found


def read_keys(ledger: pa.Table) -> np.ndarray:
    """Return the keys of the content digests of a ledger's rows (uint64)."""
    digests = "".join(ledger.column("content_digest").to_pylist())
    words = np.frombuffer(bytes.fromhex(digests), ">u8")
    return words[:: SHA256_BYTES // words.itemsize].astype(np.uint64)


def list_candidates(files: Sequence[DonorFile], known: np.ndarray, seed: int) -> Candidates:
    """Return the donors' rows that may be drawn.

    No trait fires on them, and no row of the run has the same content. `known` has the keys of the
    run's rows. Of equal rows, the first donor's is taken. The order depends on the seed and on the
    contents, not on files or donors.
    """
    teachers: dict[str, int] = {}
    parts = [
        _read_candidates(number, file, seed, teachers)
        for number, file in enumerate(files)
        if parse_path(file.path).folder == "clean"
    ]
    rows = np.concatenate([np.empty(0, CANDIDATE), *parts])
    rows = rows[np.lexsort((rows["place"], rows["file"], rows["key"], rows["order"]))]
    is_first = np.append(True, rows["key"][1:] != rows["key"][:-1])[: len(rows)]
    fresh = rows[is_first & ~np.isin(rows["key"], known)]
    return Candidates(fresh, list(teachers), len(rows) - len(fresh))


def _read_candidates(
    number: int, file: DonorFile, seed: int, teachers: dict[str, int]
) -> np.ndarray:
    columns = ["content_digest", "teacher", "decision", "reasons", "output", "output_row"]
    ledger = read_table(file.run, file.ledger, columns)
    ledger = ledger.filter(pc.fill_null(pc.equal(ledger.column("output"), file.path), False))
    is_kept = pc.equal(ledger.column("decision"), "keep")
    is_silent = pc.equal(pc.list_value_length(ledger.column("reasons")), 0)
    has_text = pc.not_equal(ledger.column("content_digest"), EMPTY_DIGEST)
    ledger = ledger.filter(pc.and_(pc.and_(is_kept, is_silent), has_text))
    rows = np.empty(ledger.num_rows, CANDIDATE)
    digests = ledger.column("content_digest").to_pylist()
    rows["order"] = [int(digest_bytes(f"{seed}/{item}".encode())[:KEY_HEX], 16) for item in digests]
    rows["file"], rows["place"] = number, ledger.column("output_row").to_numpy()
    rows["key"] = read_keys(ledger)
    names = [name or file.name for name in ledger.column("teacher").to_pylist()]
    rows["teacher"] = [teachers.setdefault(name, len(teachers)) for name in names]
    return rows


def plan_cells(cells: Sequence[Cell], ratio: Fraction) -> np.ndarray:
    """Return how many rows each cell needs, with `ratio` added rows for each of its own.

    The sums are rounded, and not the numbers, so every lot and the whole differ from the exact
    share by less than a row.
    """
    total, bounds = 0, [0]
    for cell in cells:
        total += cell.rows
        bounds.append(int(total * ratio + Fraction(1, 2)))
    return np.diff(np.array(bounds, np.int64))


def draw_rows(candidates: Candidates, cells: Sequence[Cell], ratio: Fraction) -> Drawn:
    """Draw rows for every cell, in the order of the cells and of the candidates.

    A lot gets no row of its own teacher. If there are too few candidates, every lot gets a smaller
    share.
    """
    wanted, size = plan_cells(cells, ratio), sum(cell.rows for cell in cells)
    available = len(candidates.rows)
    goal = wanted
    if available < int(wanted.sum()):
        goal = plan_cells(cells, Fraction(available, size))
    queue = _Queue(candidates)
    rows, owners = list[int](), list[int]()
    for number, cell in enumerate(cells):
        found = queue.take(int(goal[number]), cell.lot[LOT_FIELDS.index("teacher")])
        rows += found
        owners += [number] * len(found)
    return Drawn(np.array(rows, np.int64), np.array(owners, np.int64), wanted)


class _Queue:
    """The candidates that are left, as one queue for each teacher."""

    def __init__(self, candidates: Candidates) -> None:
        teachers = candidates.rows["teacher"]
        order = np.argsort(teachers, kind="stable")
        edges = np.searchsorted(teachers[order], np.arange(len(candidates.teachers) + 1))
        self._numbers = {name: number for number, name in enumerate(candidates.teachers)}
        self._left = [
            iter(order[edges[number] : edges[number + 1]].tolist())
            for number in range(len(candidates.teachers))
        ]
        self._heads: list[tuple[int, int]] = []
        for number in range(len(self._left)):
            self._push(number)

    def _push(self, teacher: int) -> None:
        head = next(self._left[teacher], None)
        if head is not None:
            heapq.heappush(self._heads, (head, teacher))

    def take(self, count: int, but: str | None) -> list[int]:
        """Return the next candidates of any teacher but one."""
        own = self._numbers.get(but, -1) if but is not None else -1
        held = [item for item in self._heads if item[1] == own]
        if held:
            self._heads.remove(held[0])
            heapq.heapify(self._heads)
        found = list[int]()
        while self._heads and len(found) < count:
            head, teacher = heapq.heappop(self._heads)
            found.append(head)
            self._push(teacher)
        for item in held:
            heapq.heappush(self._heads, item)
        return found


def tabulate_draw(
    drawn: Drawn, candidates: Candidates, cells: Sequence[Cell]
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the drawn rows of each donor's file as a table, with the file's index.

    The table has the rows' places in the file in ascending order, their shards and their lots.
    """
    rows = candidates.rows[drawn.candidates]
    order = np.lexsort((rows["place"], rows["file"]))
    rows, owners = rows[order], drawn.cells[order]
    edges = np.flatnonzero(np.diff(rows["file"])) + 1
    for part, own in zip(np.split(rows, edges), np.split(owners, edges), strict=True):
        if len(part):
            found = [cells[number] for number in own.tolist()]
            table = pa.table(
                {
                    "place": pa.array(part["place"]),
                    "shard": pa.array([cell.shard for cell in found], pa.string()),
                    "lot": pa.array([encode_lot(cell.lot) for cell in found], pa.string()),
                }
            )
            yield int(part["file"][0]), table


def sum_by_lot(cells: Sequence[Cell], *counts: Iterable[int]) -> dict[LotFields, list[int]]:
    """Return the sums of each lot's rows and of other counts of the cells."""
    found: dict[LotFields, list[int]] = {}
    for cell, *others in zip(cells, *counts, strict=True):
        own = cast("Cell", cell)
        sums = found.setdefault(own.lot, [0] * (len(others) + 1))
        for index, value in enumerate((own.rows, *others)):
            sums[index] += value
    return found
