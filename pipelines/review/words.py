"""The words of a run's texts with the rows that have them, so that a search reads few texts.

A text is cut into words and single signs. Whether two neighbouring characters belong to one word
depends on these two alone. So what somebody searches for is cut at the same places as the texts
that have it: its inner words are words of the text, its first is the end of one, and its last the
start of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from pipelines.review.private_files import map_file, write_whole

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts without spaces between words. Each of their characters counts as a word."""

LETTERS = rf"[\w&&[^{UNSPACED}]]+"
PIECES = rf"{LETTERS}|\S"

LAST_CHARACTER = "\U0010ffff"
"""It is in no word, and comes after every character that is."""

MOST_PLACES = 4
"""How many places are read at most for each row. With more, reading the texts takes no longer."""

USEFUL = 0.5
"""The share of rows up to which a piece of a phrase is looked up: others rule out too few rows."""

PAIRS = 1 << 16
"""The number of lists of pairs of neighbouring words. Pairs with the same number share a list."""

SPREAD = 0x9E3779B1
"""An odd factor by which pairs with the same words on either side get different numbers."""

MOST_PAIRS = 64
"""How many pairs of words are looked up at most for two neighbouring pieces."""

FEW = 64
"""If fewer than one in so many rows may have a text, reading them takes no longer than a list."""

Extent = Literal["whole", "start", "end", "inside"]


class QueryPiece(NamedTuple):
    """A word or sign of what is searched for: a whole one of a text, or which part of one."""

    text: str
    extent: Extent

    def match(self, words: pl.Series) -> np.ndarray:
        """Return the numbers of those sorted words of which it is that part."""
        if self.extent in ("whole", "start"):
            first = words.search_sorted(self.text, "left")
            after = self.text + (LAST_CHARACTER if self.extent == "start" else "")
            return np.arange(first, words.search_sorted(after, "right"))
        is_end = self.extent == "end"
        ends, inside = words.str.ends_with, words.str.contains
        found = ends(self.text) if is_end else inside(self.text, literal=True)
        numbers: np.ndarray = found.arg_true().to_numpy().astype(np.int64)
        return numbers


def cut(wanted: str) -> list[QueryPiece]:
    """Cut what is searched for into pieces, in order. Blanks are no pieces."""
    found = pl.select(pl.lit(wanted).str.extract_all(PIECES).explode()).to_series().drop_nulls()
    is_word = found.str.contains(rf"^{LETTERS}$").to_list()
    texts, last = found.to_list(), len(found) - 1
    pieces = []
    for number, (text, can_go_on) in enumerate(zip(texts, is_word, strict=True)):
        begins = number == 0 and can_go_on and wanted.startswith(text)
        ends = number == last and can_go_on and wanted.endswith(text)
        extent: Extent = "inside" if begins and ends else "whole"
        if begins != ends:
            extent = "end" if begins else "start"
        pieces.append(QueryPiece(text, extent))
    return pieces


class RowLists(NamedTuple):
    """Lists of rows, one after the other: list N ends before `ends[N]`, where the next begins."""

    ends: np.ndarray
    rows: np.ndarray

    def measure(self, numbers: np.ndarray) -> np.ndarray:
        """Return the lengths of some lists."""
        lengths: np.ndarray = self.ends[numbers] - self._find_begins(numbers)
        return lengths

    def join(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows of some lists."""
        counts = self.measure(numbers)
        shifts = self._find_begins(numbers) - (np.cumsum(counts) - counts)
        joined: np.ndarray = self.rows[np.repeat(shifts, counts) + np.arange(counts.sum())]
        return joined

    def _find_begins(self, numbers: np.ndarray) -> np.ndarray:
        return np.where(numbers > 0, self.ends[numbers - 1], 0)


class WordBlock(NamedTuple):
    """The words of some consecutive rows, sorted, and the rows that have each word, and each pair.

    `size` is the number of rows, which are counted from the first of them. `pairs` lists the rows
    by `number_pairs` of two neighbouring words or signs.
    """

    size: int
    words: pl.Series
    rows: RowLists
    pairs: RowLists

    def find(self, piece: QueryPiece) -> tuple[np.ndarray, np.ndarray]:
        """Return which rows have a piece, and which others may have it too.

        The rows of the most frequent words are looked up first. If there are too many words, the
        rows that have only rarer ones remain in doubt.
        """
        words = piece.match(self.words)
        words = words[np.argsort(-self.rows.measure(words), kind="stable")]
        kept = words[np.cumsum(self.rows.measure(words)) <= MOST_PLACES * self.size]
        found = self._mark(self.rows.join(kept))
        return found, np.full(self.size, len(kept) < len(words)) & ~found

    def narrow(self, pieces: Sequence[QueryPiece]) -> np.ndarray:
        """Return which rows may have all pieces, one after the other.

        Rare words and pairs spare the others, since few texts are left to read.
        """
        matches = [piece.match(self.words) for piece in pieces]
        lists = [(self.rows, words) for words in matches]
        lists += [
            (self.pairs, np.unique(number_pairs(*np.meshgrid(before, after)).ravel()))
            for before, after in pairwise(matches)
            if len(before) * len(after) <= MOST_PAIRS
        ]
        counted = [(int(own.measure(numbers).sum()), own, numbers) for own, numbers in lists]
        found = np.ones(self.size, bool)
        for count, own, numbers in sorted(counted, key=lambda item: item[0]):
            if count > USEFUL * self.size or np.count_nonzero(found) * FEW < self.size:
                break
            found &= self._mark(own.join(numbers))
        return found

    def _mark(self, rows: np.ndarray) -> np.ndarray:
        found = np.zeros(self.size, bool)
        found[rows] = True
        return found


def number_pairs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the numbers of pairs of words, below `PAIRS`, from the numbers of the words."""
    mixed = before.astype(np.uint64) * np.uint64(SPREAD) + after.astype(np.uint64)
    numbers: np.ndarray = (mixed % np.uint64(PAIRS)).astype(np.int64)
    return numbers


def open_block(texts: Sequence[pl.Series], path: Path) -> WordBlock:
    """Return the words of some texts, from the files at `path` or after writing them.

    Raises: StorageError: a file can't be written.
    """
    size = sum(map(len, texts))
    names = ("rows", "pair-ends", "pairs")
    beside = [path.with_suffix(f".{name}.arrow") for name in names]
    if not path.exists():
        said = cut_texts(pl.concat(texts))
        words, rows, pairs = list_words(said, size)
        for numbers, file in zip((rows.rows, pairs.ends, pairs.rows), beside, strict=True):
            write_whole(pl.DataFrame({"number": numbers}), file)
        write_whole(pl.DataFrame({"word": words, "end": rows.ends}), path)
    listed = map_file(path)
    own, pair_ends, pair_rows = (map_file(file)["number"].to_numpy() for file in beside)
    rows = RowLists(listed["end"].to_numpy(), own)
    return WordBlock(size, listed["word"], rows, RowLists(pair_ends, pair_rows))


def cut_texts(texts: pl.Series) -> pl.DataFrame:
    """Return the words and signs of some texts in order, each with the number of its text."""
    said = texts.alias("word").to_frame().with_row_index("row")
    words = pl.col("word").str.extract_all(PIECES)
    return said.select("row", words).explode("word").drop_nulls()


def list_words(said: pl.DataFrame, size: int) -> tuple[pl.Series, RowLists, RowLists]:
    """Return all words and signs of `size` texts, sorted, and lists of rows, ascending.

    The lists are of each word, and of each pair of neighbours by `number_pairs`.
    """
    words = said["word"].unique().sort()
    numbered = words.to_frame("word").with_row_index("number")
    numbers = said.join(numbered, on="word", maintain_order="left")["number"].to_numpy()
    rows = said["row"].to_numpy().astype(np.int64)
    is_pair = rows[1:] == rows[:-1]
    pairs = number_pairs(numbers[:-1][is_pair], numbers[1:][is_pair])
    own = _list_rows(numbers.astype(np.int64), rows, len(words), size)
    return words, own, _list_rows(pairs, rows[1:][is_pair], PAIRS, size)


def _list_rows(numbers: np.ndarray, rows: np.ndarray, count: int, size: int) -> RowLists:
    """Return the rows with each of `count` numbers, each row once."""
    places = pl.Series(numbers * size + rows).unique().sort().to_numpy()
    ends = np.cumsum(np.bincount(places // max(size, 1), minlength=count))
    return RowLists(ends, (places % max(size, 1)).astype(np.min_scalar_type(size)))


class TextSearch:
    """Finds the rows whose texts, which are in lower case, have a given part."""

    def __init__(self, texts: Sequence[pl.Series], blocks: Sequence[WordBlock]) -> None:
        """Take the texts of all rows, in some series one after the other, and their words."""
        self._texts, self._blocks = texts, blocks

    def find(self, wanted: str) -> np.ndarray:
        """Return for each row whether its text has `wanted`, which is in lower case.

        A word alone, or a part of one, is found in the lists of words. For anything else these
        lists rule out most rows, and the texts of the others are read.
        """
        pieces = cut(wanted)
        is_one = [piece.text for piece in pieces] == [wanted]
        found, doubtful = np.zeros((2, sum(block.size for block in self._blocks)), bool)
        first = 0
        for block in self._blocks:
            own = slice(first, first + block.size)
            if is_one:
                found[own], doubtful[own] = block.find(pieces[0])
            else:
                doubtful[own] = block.narrow(pieces)
            first += block.size
        self._read(found, doubtful, wanted)
        return found

    def _read(self, found: np.ndarray, doubtful: np.ndarray, wanted: str) -> None:
        """Say in `found` which of the doubtful rows have a text, by reading theirs."""
        ends = np.cumsum([0, *map(len, self._texts)])

        def read(number: int) -> None:
            own = slice(ends[number], ends[number + 1])
            rows, texts = np.flatnonzero(doubtful[own]), self._texts[number]
            if not len(rows):
                return
            texts = texts if len(rows) == len(texts) else texts.gather(rows)
            has = texts.str.contains(wanted, literal=True).fill_null(value=False)
            found[own][rows] = has.to_numpy()

        with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
            list(pool.map(read, range(len(self._texts))))
