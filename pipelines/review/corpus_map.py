"""The map of a run: a place for each row, which rows are drawn, and which lie in an area."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from classifiers.lots.planes import (
    GRID,
    MOST_LEARNED,
    Plane,
    WordPlane,
    find_inside,
    learn_plane,
    learn_word_plane,
)
from pipelines.review.index import SearchTexts, name_score
from pipelines.review.private_files import write_whole
from pipelines.runs.finished import MISFITS, list_outputs, read_table, report_damage
from pipelines.runs.pages import INDEX
from schemas.errors import CardError, RunError
from schemas.manifests import Manifest
from schemas.policies import DECISIONS, PUBLISHED

FILE = "map.arrow"

SEED = 20_261_127
"""The seed of the samples, which are the same in every review."""

MOST_DRAWN = 50_000
"""How many rows the page draws at most."""

MOST_HELD = 40_000
"""How many of them are held rows at most, so that some others are drawn beside them."""

MOST_CORNERS = 128
"""How many corners an area has at most. The address of a request has a limited length."""

AREA = re.compile(r"\d{1,5},\d{1,5}(?: \d{1,5},\d{1,5}){2,127}")

ROWS_AT_ONCE = 20_000

MOST_NAMED = 8
"""How many teachers have a colour of their own."""

STEPS = 100
"""A score's colour is its number of hundredths."""

NO_COLOUR = -1
"""The colour of a row that the trait doesn't read."""

HELD = tuple(name for name in DECISIONS if name not in PUBLISHED)

Origin = Literal["vectors", "words"]


class CorpusMap(NamedTuple):
    """The place of each row in ledger order: uint16 each, and whether the row has one.

    `origin` is what the places are made of: the run's stored vectors, or the words of the texts.
    """

    x: np.ndarray
    y: np.ndarray
    known: np.ndarray
    origin: Origin

    def find_rows(self, area: str) -> np.ndarray:
        """Return the ledger indexes of all rows in an area (see `parse_area`), ascending."""
        rows = np.flatnonzero(self.known)
        return np.asarray(rows[find_inside(self.x[rows], self.y[rows], parse_area(area))])


def parse_area(text: str) -> np.ndarray:
    """Return the corners of an area, int64 [corners, 2], from `X,Y X,Y X,Y`.

    Raises: CardError: it isn't at least three corners, each from 0 to `GRID`.
    """
    if AREA.fullmatch(text) and text.isascii():
        corners = np.array([pair.split(",") for pair in text.split(" ")], np.int64)
        if corners.max() <= GRID:
            return corners
    raise CardError(
        f"{text[:40]!r} isn't an area of the map",
        where="area",
        remedy=f"an area is 3 to {MOST_CORNERS} corners as X,Y, each from 0 to {GRID}",
    )


def choose_origin(manifest: Manifest) -> Origin:
    """Return what a run's map is made of: its stored vectors, or else its texts' words."""
    return "vectors" if list_outputs(manifest, "vectors") else "words"


def open_map(
    run: str,
    manifest: Manifest,
    folder: Path,
    texts: SearchTexts | None,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> CorpusMap:
    """Return a run's map, after placing all rows once if that wasn't done.

    `tell` hears how many rows have a place, of how many. A map of words needs the texts. A row
    without a text, or with a vector of zeros, has no place.

    Raises: RunError: a file is missing or damaged, or has another number of rows than the ledger.
    Raises: StorageError: the folder can't be written.
    """
    path, origin = folder / FILE, choose_origin(manifest)
    if not path.is_file():
        with report_damage(run, *MISFITS):
            if origin == "vectors":
                places = _place_vectors(run, manifest, tell)
            else:
                assert texts is not None, "a map of words needs the texts"
                places = _place_texts(texts.text, tell)
        write_whole(places, path)
    frame = pl.read_ipc(path)
    known = frame["x"].is_not_null().to_numpy()
    x, y = (frame[name].fill_null(0).to_numpy() for name in ("x", "y"))
    return CorpusMap(x, y, known, origin)


def _place_vectors(run: str, manifest: Manifest, tell: Callable[[int, int], None]) -> pl.DataFrame:
    """Place rows by their stored vectors, a shard at a time."""
    outputs = list_outputs(manifest, "vectors")
    wanted = [output.rows for output in list_outputs(manifest, "ledger")]
    if [output.rows for output in outputs] != wanted:
        raise RunError("has other numbers of vectors than of rows", where=run)
    total = sum(wanted)
    plane = _learn_from_vectors(run, manifest, choose_sample(total, MOST_LEARNED))
    parts, done = [], 0
    for vectors in _read_vectors(run, manifest):
        parts.append(_tabulate(plane.place(vectors), np.any(vectors, axis=1)))
        done += len(vectors)
        tell(done, total)
    return pl.concat(parts)


def _read_vectors(run: str, manifest: Manifest) -> Iterator[np.ndarray]:
    for output in list_outputs(manifest, "vectors"):
        column = read_table(run, output, ["vector"])["vector"].combine_chunks()
        size = column.type.list_size
        yield column.flatten().to_numpy().reshape(-1, size).astype(np.float32)


def _learn_from_vectors(run: str, manifest: Manifest, sample: np.ndarray) -> Plane:
    chosen, first = [], 0
    for vectors in _read_vectors(run, manifest):
        begin, end = np.searchsorted(sample, [first, first + len(vectors)])
        own = vectors[sample[begin:end] - first]
        chosen.append(own[np.any(own, axis=1)])
        first += len(vectors)
    return learn_plane(_require_some(np.concatenate(chosen)))


def _require_some(vectors: np.ndarray) -> np.ndarray:
    """Return vectors, or one of zeros if there is none, from which a plane can be learned."""
    return vectors if len(vectors) else np.zeros((1, vectors.shape[1]), np.float32)


def _place_texts(texts: pl.LazyFrame, tell: Callable[[int, int], None]) -> pl.DataFrame:
    """Place rows by the words of their texts, `ROWS_AT_ONCE` at a time."""
    has_text = texts.select(pl.col("text").is_not_null()).collect()["text"].to_numpy()
    plane = _learn_from_texts(texts, np.flatnonzero(has_text))
    parts = [_tabulate(np.empty((0, 2), np.uint16), np.empty(0, bool))]
    for first in range(0, len(has_text), ROWS_AT_ONCE):
        part = texts.slice(first, ROWS_AT_ONCE).collect()["text"]
        places = plane.place(_to_arrow(part))
        parts.append(_tabulate(places, has_text[first : first + ROWS_AT_ONCE]))
        tell(first + len(part), len(has_text))
    return pl.concat(parts)


def _learn_from_texts(texts: pl.LazyFrame, known: np.ndarray) -> WordPlane:
    sample = known[choose_sample(len(known), MOST_LEARNED)]
    wanted = pl.Series(sample, dtype=pl.UInt32).implode()
    chosen = texts.with_row_index(INDEX).filter(pl.col(INDEX).is_in(wanted)).collect()["text"]
    return learn_word_plane(_to_arrow(chosen if len(chosen) else pl.Series([""])))


def _to_arrow(texts: pl.Series) -> pa.LargeStringArray:
    return texts.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())


def _tabulate(places: np.ndarray, known: np.ndarray) -> pl.DataFrame:
    columns = {"x": places[:, 0], "y": places[:, 1], "known": known}
    return pl.DataFrame(columns).select(pl.when("known").then(pl.col("x", "y")))


def choose_sample(rows: int, size: int) -> np.ndarray:
    """Return the sorted numbers of `size` random rows, or of all rows if there are fewer."""
    if rows <= size:
        return np.arange(rows)
    return np.sort(np.random.default_rng(SEED).choice(rows, size, replace=False))


class DrawnPoints(NamedTuple):
    """The rows that are drawn, ascending, and how many of the placed rows are held."""

    rows: np.ndarray
    held_drawn: int
    held: int


def choose_drawn(known: np.ndarray, held: np.ndarray) -> DrawnPoints:
    """Choose the rows to draw: the held ones, and a random sample of the others.

    Both are samples if there are more held rows than `MOST_HELD`.
    """
    own, others = np.flatnonzero(known & held), np.flatnonzero(known & ~held)
    shown = own[choose_sample(len(own), MOST_HELD)]
    beside = others[choose_sample(len(others), MOST_DRAWN - len(shown))]
    return DrawnPoints(np.sort(np.concatenate([shown, beside])), len(shown), len(own))


def describe_map(
    placed: CorpusMap, facts: pl.LazyFrame, colour: str, trait: str | None
) -> dict[str, Any]:
    """Return what the page draws: places, rows, and colours with what they mean.

    `colour` is `decision`, `teacher` or `score`, which is that of `trait`, or without a trait the
    distance above the nearest threshold.

    Raises: CardError: there is no such colour.
    """
    removed = pl.col("decision").cast(pl.String).is_in(HELD)
    held = facts.select(held=removed).collect()["held"].to_numpy()
    drawn = choose_drawn(placed.known, held)
    if colour in ("decision", "teacher"):
        names, codes = _colour_by_name(facts, colour, drawn.rows)
    elif colour == "score":
        names, codes = [], _colour_by_score(facts, trait, drawn.rows)
    else:
        raise CardError(f"{colour[:40]!r} isn't a colour of the map", where="colour")
    return {
        "origin": placed.origin,
        "rows": len(placed.known),
        "placed": int(placed.known.sum()),
        "held": drawn.held,
        "held_drawn": drawn.held_drawn,
        "index": drawn.rows.tolist(),
        "x": placed.x[drawn.rows].tolist(),
        "y": placed.y[drawn.rows].tolist(),
        "is_held": held[drawn.rows].astype(int).tolist(),
        "names": names,
        "codes": codes.tolist(),
    }


def _colour_by_name(
    facts: pl.LazyFrame, column: str, rows: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Return the names that have a colour, and each row's name as a number.

    Rarer teachers share the last number, which is that of a name that isn't listed.
    """
    values = facts.select(pl.col(column).cast(pl.String)).collect()[column]
    if column == "decision":
        counted = [name for name in DECISIONS if name in set(values.unique())]
    else:
        frequent = values.value_counts().sort(["count", column], descending=[True, False])
        counted = frequent[column].head(MOST_NAMED).to_list()
    numbers = {name: number for number, name in enumerate(counted)}
    codes = values.gather(rows).replace_strict(numbers, default=len(counted))
    return counted, codes.to_numpy()


def _colour_by_score(facts: pl.LazyFrame, trait: str | None, rows: np.ndarray) -> np.ndarray:
    """Return each row's score in steps: a trait's from 0 to 1, or the margin from -1 to 1."""
    column = "margin" if trait is None else name_score(trait)
    scores = facts.select(column).collect()[column].gather(rows).to_numpy()
    scores = (scores + 1) / 2 if trait is None else scores
    steps = np.where(np.isfinite(scores), np.rint(np.nan_to_num(scores) * STEPS), NO_COLOUR)
    return steps.astype(np.int64)
