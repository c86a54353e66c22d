"""The words of a run's texts with the rows that have them, so that a search reads few texts.

A text is cut into words and single signs. Whether two neighbouring characters belong to one word
depends on these two alone. So what somebody searches for is cut at the same places as the texts
that have it: its inner words are words of the text, its first is the end of one, and its last the
start of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
    """Cut what is searched for into pieces, the longest first. Blanks are no pieces."""
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
    return sorted(set(pieces), key=lambda piece: (-len(piece.text), piece))


class WordBlock(NamedTuple):
    """The words of some consecutive rows, and the rows that have each word.

    `size` is the number of rows, and `rows` counts from the first of them. The rows of word N end
    before `ends[N]`, where those of the next word begin.
    """

    size: int
    words: pl.Series
    ends: np.ndarray
    rows: np.ndarray

    def find(self, piece: QueryPiece) -> tuple[np.ndarray, np.ndarray]:
        """Return which rows have a piece, and which others may have it too.

        The rows of the most frequent words are looked up first. If there are too many words, the
        rows that have only rarer ones remain in doubt.
        """
        begins, counts = self._find_places(piece)
        order = np.argsort(-counts, kind="stable")
        kept = order[np.cumsum(counts[order]) <= MOST_PLACES * self.size]
        found = self._mark(begins[kept], counts[kept])
        return found, np.full(self.size, len(kept) < len(order)) & ~found

    def narrow(self, pieces: Sequence[QueryPiece]) -> np.ndarray:
        """Return which rows may have all pieces.

        Rare pieces spare the others, since few texts are left to read.
        """
        found = np.ones(self.size, bool)
        for piece in pieces:
            begins, counts = self._find_places(piece)
            if counts.sum() <= USEFUL * self.size:
                found &= self._mark(begins, counts)
            if np.count_nonzero(found) * FEW < self.size:
                break
        return found

    def _find_places(self, piece: QueryPiece) -> tuple[np.ndarray, np.ndarray]:
        """Return for each word that a piece stands for where its rows begin, and their number."""
        words = piece.match(self.words)
        begins = np.where(words > 0, self.ends[words - 1], 0)
        return begins, self.ends[words] - begins

    def _mark(self, begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
        found = np.zeros(self.size, bool)
        shifts = begins - (np.cumsum(counts) - counts)
        found[self.rows[np.repeat(shifts, counts) + np.arange(counts.sum())]] = True
        return found


def open_block(texts: Sequence[pl.Series], path: Path) -> WordBlock:
    """Return the words of some texts, from the files at `path` or after writing them.

    Raises: StorageError: a file can't be written.
    """
    beside = path.with_suffix(".rows.arrow")
    if not path.exists():
        words = index_words(pl.concat(texts))
        write_whole(words.select(row=pl.col("rows").explode()).drop_nulls(), beside)
        write_whole(words.select("word", end=pl.col("rows").list.len().cum_sum()), path)
    words = map_file(path)
    size = sum(map(len, texts))
    rows = map_file(beside)["row"].to_numpy()
    return WordBlock(size, words["word"], words["end"].to_numpy().astype(np.int64), rows)


def index_words(texts: pl.Series) -> pl.DataFrame:
    """Return each word and sign of the texts, sorted, with the ascending numbers of its texts."""
    said = texts.alias("text").to_frame().with_row_index("rows").lazy()
    words = pl.col("text").str.extract_all(PIECES).list.unique().alias("word")
    every = said.select("rows", words).explode("word").drop_nulls()
    return every.group_by("word").agg(pl.col("rows").sort()).sort("word").collect()


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
