"""One reviewer's session over one run: what the page may ask for, without HTTP."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from pipelines.display.excerpts import escape_name
from pipelines.labels import digest_definition
from pipelines.review.agreement import OtherReviews, read_other_reviews
from pipelines.review.corpus_map import CorpusMap, choose_origin, describe_map, open_map
from pipelines.review.earlier_labels import CarriedLabels, carry_labels
from pipelines.review.effects import BLIND, describe_row_effects, describe_traits
from pipelines.review.endings import describe_end, list_steps
from pipelines.review.index import (
    SearchTexts,
    choose_folder,
    count_values,
    name_fired,
    name_score,
    open_facts,
    open_texts,
    sweep_old,
)
from pipelines.review.judgements import LabelBook, name_file
from pipelines.review.private_files import make_private
from pipelines.review.queries import PLACES, RowSelection, parse_selection, select_rows, shuffle
from pipelines.review.requests import parse_label, parse_number
from pipelines.review.rows import RowReader
from pipelines.runs.alterations import require_sound_ledger
from pipelines.runs.deciding_traits import order_traits
from pipelines.runs.manifest_file import load_decided
from pipelines.runs.pages import INDEX
from schemas.errors import CardError, CongenerError

SELECTIONS_KEPT = 8

ROWS_LISTED = 500
"""The largest number of row indexes in one reply."""

NAMES_OFFERED = 200
"""The largest number of values that a filter offers. Rarer values can be typed."""

FEWEST_OTHERS = 50
"""How many rows without a finding are mixed in, at least, if the reviewer mustn't see decisions."""


class Reading(NamedTuple):
    """How many shards' texts, or rows of the map, are done, of how many, and why it stopped."""

    done: int = 0
    of: int = 0
    problem: str = ""


class ReviewSession:
    """The rows, the selections and the labels of one reviewer's session."""

    def __init__(
        self,
        run: str,
        folder: Path,
        reviewer: str,
        *,
        blind: bool = False,
        sample: int | None = None,
    ) -> None:
        """Open a run's index, after building what is missing of its facts.

        With `sample`, only so many random rows are shown, blind. A larger sample begins with the
        rows of a smaller one.

        Raises: CongenerError: the run can't be read, or the folder or the labels can't be used.
        """
        self.run, self.reviewer, self.blind = run, reviewer, blind or sample is not None
        self.manifest = load_decided(run)
        require_sound_ledger(run, self.manifest)
        make_private(folder)
        self.folder = choose_folder(folder, self.manifest)
        self.book = LabelBook(folder / name_file(reviewer), reviewer, self.manifest.digest)
        self.facts = open_facts(run, self.manifest, self.folder)
        sweep_old(folder, self.folder)
        self.reader = RowReader(run, self.manifest, self.facts)
        self.traits = [rule.trait for rule in self.reader.rules]
        self.chosen: dict[str, str] = {}
        """The filters with which the page begins."""
        self.drawn = None if sample is None else self._draw_rows(sample)
        self.texts: SearchTexts | None = None
        self.corpus_map: CorpusMap | None = None
        self.progress, self.map_progress = Reading(), Reading()
        self._select = lru_cache(SELECTIONS_KEPT)(self._select_again)

    def _draw_rows(self, count: int) -> np.ndarray:
        """Draw rows among those whose text the run holds."""
        output = pl.col("output").cast(pl.String)
        is_held = output.str.starts_with("clean/") | output.str.starts_with("quarantine/")
        held = self.facts.with_row_index(INDEX).filter(is_held).select(INDEX)
        return shuffle(held.collect()[INDEX].to_numpy())[:count]

    def read_texts(self) -> None:
        """Read all texts for the search. A problem ends it, and the page shows the problem."""
        try:
            self.texts = open_texts(self.run, self.manifest, self.folder, self.facts, self._tell)
        except CongenerError as error:
            self.progress = self.progress._replace(problem=str(error))

    def _tell(self, done: int, of: int) -> None:
        self.progress = Reading(done, of)

    def make_map(self) -> None:
        """Give every row a place on the map. A problem ends it, and the page shows the problem."""
        try:
            self.corpus_map = open_map(
                self.run, self.manifest, self.folder, self.texts, self._tell_of_map
            )
        except CongenerError as error:
            self.map_progress = self.map_progress._replace(problem=str(error))

    def _tell_of_map(self, done: int, of: int) -> None:
        self.map_progress = Reading(done, of)

    def _prepare(self) -> None:
        """Read all texts and make the map, which may need them."""
        needs_texts = choose_origin(self.manifest) == "words"
        if not (needs_texts or self.blind):
            self.make_map()
        self.read_texts()
        if needs_texts and not self.blind and self.texts is not None:
            self.make_map()

    def start_reading(self) -> threading.Thread:
        """Read all texts and make the map in the background."""
        thread = threading.Thread(target=self._prepare, daemon=True)
        thread.start()
        return thread

    def describe_run(self) -> dict[str, Any]:
        """Return what the page needs once: traits, values of filters, and the reviewer."""
        found = {
            "run": escape_name(Path(self.run).name or self.run),
            "run_id": self.manifest.run_id,
            "reviewer": self.reviewer,
            "blind": self.blind,
            "traits": self.traits,
            "chosen": self.chosen,
            "definitions": describe_traits(self.manifest),
            "effect": BLIND if self.blind else "",
            "labels": len(self.book),
            "rows": self.manifest.conservation.rows_in,
            "withdrawn": self.manifest.withdrawn,
            "progress": self.describe_progress(),
        }
        return found if self.blind else found | {"values": self._list_values()}

    def describe_progress(self) -> dict[str, Any]:
        """Return whether the texts and the map can be used, and how much of each is done."""
        own = {**self.map_progress._asdict(), "ready": self.corpus_map is not None}
        return {**self.progress._asdict(), "ready": self.texts is not None, "map": own}

    @lru_cache(1)  # noqa: B019 - a server has one session
    def _list_values(self) -> dict[str, dict[str, int]]:
        counted = count_values(self.facts, [*PLACES, "decision"])
        return {name: dict([*own.items()][:NAMES_OFFERED]) for name, own in counted.items()}

    def list_rows(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return how many rows a request's filters select, and the indexes of a part of them.

        Raises: CardError: a filter is wrong, or a number isn't one.
        """
        query = dict(given)
        start = parse_number(query.pop("start", "0"), "start")
        selection = parse_selection(query, self.traits)
        rows = self.select(selection)
        part = rows[start : start + ROWS_LISTED].tolist()
        return {"total": len(rows), "start": start, "rows": part}

    def select(self, selection: RowSelection) -> np.ndarray:
        """Return the ledger indexes of the selected rows, in order.

        Raises: CardError: a filter shows what a blind reviewer mustn't see.
        """
        changes = len(self.book) if selection.labelled is not None else -1
        ready = (self.texts is not None, self.corpus_map is not None)
        return self._select(selection, ready, changes)

    def _select_again(
        self, selection: RowSelection, _ready: tuple[bool, bool], _labels: int
    ) -> np.ndarray:
        labelled = () if selection.labelled is None else self._find_labelled(selection.trait)
        if not self.blind:
            return select_rows(self.facts, self.texts, selection, labelled, self.corpus_map)
        return self._mix_rows(selection, labelled)

    def _find_labelled(self, trait: str | None) -> list[int]:
        """Return the indexes of the rows that have a label for a trait, or for any trait."""
        own = {place[:2] for place in self.book.list_labels() if trait in (None, place[2])}
        if not own:
            return []
        places = pl.DataFrame([*own], schema=["source", "row"], orient="row").lazy()
        rows = self.facts.with_row_index(INDEX).select(
            INDEX, pl.col("source").cast(pl.String), "row"
        )
        found = rows.join(places, on=["source", "row"]).select(INDEX).collect()
        return cast("list[int]", found[INDEX].to_list())

    def _mix_rows(self, selection: RowSelection, labelled: Collection[int]) -> np.ndarray:
        """Return the rows on which a trait fired, and as many others near them, in random order.

        Or return the drawn rows, if the session has a sample. So the order and the choice of rows
        say nothing about the decision on one of them.
        """
        allowed = RowSelection(trait=selection.trait, labelled=selection.labelled, order="shuffled")
        if selection.trait is None or selection._replace(order="shuffled") != allowed:
            raise CardError(
                "a blind review chooses its rows by the trait alone",
                where="filters",
                remedy="choose a trait, and leave the other filters out",
            )
        rows = self._find_mixed(selection.trait) if self.drawn is None else self.drawn
        if selection.labelled is not None:
            rows = rows[np.isin(rows, list(labelled), invert=selection.labelled == "no")]
        return rows

    def _find_mixed(self, trait: str) -> np.ndarray:
        found = pl.col(name_fired(trait))
        score = pl.col(name_score(trait)).fill_nan(-1)
        frame = self.facts.with_row_index(INDEX).select(INDEX, found.alias("found"), score=score)
        fired = frame.filter("found").collect()[INDEX].to_numpy()
        others = frame.filter(~pl.col("found"), pl.col("score") >= 0)
        nearest = others.top_k(max(len(fired), FEWEST_OTHERS), by=["score", INDEX])
        return shuffle(np.concatenate([fired, nearest.collect()[INDEX].to_numpy()]))

    def describe_map(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return what the page draws of the map, in the colours that a request wants.

        Raises: CardError: there is no map yet, the review is blind, or a colour isn't known.
        """
        if self.blind:
            raise CardError("a blind review has no map", where="map")
        if self.corpus_map is None:
            raise CardError("the map is still being made", where="map", remedy="wait a moment")
        trait = parse_selection({"trait": given.get("trait", "")}, self.traits).trait
        colour = given.get("colour", "decision")
        return describe_map(self.corpus_map, self.facts, colour, trait)

    def describe_row(self, index: int, trait: str | None) -> dict[str, Any]:
        """Return a row, and the reviewer's labels of it.

        Raises: CardError: the run has no such row.
        """
        self._require_row(index)
        found = self.reader.describe_row(index, trait, blind=self.blind)
        row = self.reader.read(index)
        labels = [
            {name: line.get(name) for name in ("trait", "label", "reason", "time")}
            for (source, number, _), line in self.book.list_labels().items()
            if (source, number) == (row.source, row.row)
        ]
        effects = {} if self.blind else {"effects": self.describe_effects(index)}
        return {**found, **effects, "labels": labels}

    def describe_effects(self, index: int, *, alone: bool = False) -> dict[str, dict[str, str]]:
        """Return what labels will do to a row, by trait and label, with the others' reviews.

        The reviewer's own labels of the row count, too, unless the row is `alone`.
        """
        files = sorted(self.book.path.parent.glob("labels-*"))
        stamps = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        row = self.reader.read(index)
        own = {} if alone else self.book.list_labels()
        places = {(row.source, row.row, trait): trait for trait in self.traits}
        denied = [name for key, name in places.items() if own.get(key, {}).get("label") is False]
        return describe_row_effects(self.manifest, row, self._read_others(stamps), denied)

    @lru_cache(1)  # noqa: B019 - a server has one session
    def _read_others(self, _stamps: Hashable) -> OtherReviews:
        """Read the other reviewers' files again only if a file has changed."""
        return read_other_reviews(self.book.path.parent, self.manifest, self.reviewer)

    def list_questions(self, index: int) -> list[str]:
        """Return the traits to ask about on a row that the reviewer hasn't labelled, in order."""
        row, known = self.reader.read(index), self.book.list_labels()
        return [item for item in order_traits(row) if (row.source, row.row, item) not in known]

    def describe_company(self, index: int) -> dict[str, Any]:
        """Return the figures of a row's lot, and other answers to its prompt.

        Raises: CardError: the run has no such row, or the review is blind.
        """
        self._require_row(index)
        if self.blind:
            raise CardError("a blind review shows no decisions", where="lot")
        others = None if self.texts is None else self.reader.list_others(index, self.texts)
        return {"lot": self.reader.count_lot(index), "others": others}

    def _require_row(self, index: int) -> None:
        if not 0 <= index < self.manifest.conservation.rows_in + self.manifest.added:
            raise CardError(f"the run has no row {index}", where="index")

    def add_label(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Label a row, which a request names by its index, and return what was kept.

        Raises: CardError: the request isn't one for a label, or the file was changed.
        Raises: StorageError: the file can't be written.
        """
        index, trait, verdict, reason = parse_label(given, self.traits)
        self._require_row(index)
        row = self.reader.read(index)._asdict()
        kind: dict[str, Any] = {"definition": digest_definition(self.manifest.cards.get(trait, {}))}
        kind |= {"blind": True} if self.blind else {}
        if self.drawn is not None and index in self.drawn:
            kind["picked"] = False
        line = self.book.add(row, trait, verdict, reason, **kind)
        return {"index": index, "trait": trait, "label": line["label"], "labels": len(self.book)}

    def describe_end(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return how many labels there are, which commands use them, and how many rows are left.

        Those are the rows without a label that a request's filters select, whatever it says of
        `labelled`.

        Raises: CardError: a filter is wrong.
        """
        query = {name: value for name, value in given.items() if name != "labelled"}
        selection = parse_selection(query, self.traits)
        left = self.select(selection._replace(labelled="no"))
        steps = list_steps(self.run, self.book, sampled=self.drawn is not None)
        return describe_end(self.book, steps, len(left), len(self.select(selection)))

    def carry_labels(self, path: Path) -> CarriedLabels:
        """Add this reviewer's labels of another run, as far as they hold for this one.

        Raises: CardError: the file isn't one of this reviewer's, or was changed.
        Raises: StorageError: the labels can't be written.
        """
        cards = {trait: self.manifest.cards.get(trait, {}) for trait in self.traits}
        return carry_labels(self.book, path, cards, self.facts)

    def undo(self) -> dict[str, Any]:
        """Take the last label back, and return which row and trait it was about.

        Raises: CardError: there is no label, or the file was changed.
        Raises: StorageError: the file can't be written.
        """
        line = self.book.undo()
        if line is None:
            raise CardError("there is no label to take back", where="undo")
        condition = (pl.col("source") == line["source"]) & (pl.col("row") == line["row"])
        rows = self.facts.with_row_index(INDEX).filter(condition).select(INDEX).collect()
        return {"index": rows[INDEX][0], "trait": line["trait"], "labels": len(self.book)}
