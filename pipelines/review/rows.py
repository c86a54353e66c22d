"""What the review shows of a row: its texts in pieces, its scores, its neighbours, its company."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from pipelines.display.excerpts import Piece, build_excerpt, escape_name
from pipelines.display.highlights import describe_hits, describe_words, list_whole_fields
from pipelines.display.likenesses import describe_doubt, find_likeness, list_patterns
from pipelines.display.terminal_rows import EXEMPLAR_CONTEXT, explain_shown_row
from pipelines.review.index import SearchTexts, name_fired, name_score
from pipelines.runs.deciding_traits import order_traits
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.rates import GROUPINGS
from pipelines.runs.recorded_settings import read_recorded_rules
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow, build_layout, read_shown_rows
from pipelines.runs.wording_reasons import add_words
from schemas.lots import LOT_FIELDS
from schemas.manifests import Manifest
from schemas.scores import SCORE_DECIMALS

ROWS_KEPT = 64
"""How many rows are kept in memory, so that going back and forth reads no file."""

OTHERS_SHOWN = 6
"""How many other answers to a row's prompt are shown."""

ANSWER_CHARACTERS = 600
"""How many characters of another answer are shown."""


class RowReader:
    """Reads the rows of one run, and keeps the last ones."""

    def __init__(self, run: str, manifest: Manifest, facts: pl.LazyFrame) -> None:
        self.manifest, self.facts = manifest, facts
        self.rules = read_recorded_rules(manifest)
        self.layout = build_layout(manifest)
        self._run = run
        self.read = lru_cache(ROWS_KEPT)(self._read)

    def _read(self, index: int) -> ShownRow:
        """Read a row by its ledger index.

        Raises: RunError: a file is missing, damaged or changed.
        """
        with report_damage(self._run, *MISFITS):
            rows = read_shown_rows(self._run, self.manifest, [index], whole=False, check=True)
            (row,) = add_words(self._run, rows)
        return row

    def describe_row(
        self, index: int, trait: str | None = None, *, blind: bool = False
    ) -> dict[str, Any]:
        """Return what the page shows of a row: only its texts if the review is blind.

        The evidence of `trait` is marked, or that of all traits. Every text is plain, with hidden
        characters escaped; the page inserts it as text.
        """
        row = self.read(index)
        shown = _select_evidence(row, trait)
        if blind:
            shown = row._replace(reasons=(), near=(), masks=())
        fields = [
            {
                "path": escape_name(field.path),
                "roles": [escape_name(role) for role in field.roles],
                "pieces": write_pieces(field.pieces),
            }
            for field in list_whole_fields(shown, self.layout)
        ]
        found = {"index": index, "source": escape_name(row.source), "row": row.row}
        notes = [] if row.record is not None else [*explain_shown_row(row, self.manifest)]
        if blind:
            return {**found, "fields": fields, "notes": notes}
        return {
            **found,
            "fields": fields,
            "record_id": row.record_id,
            "decision": row.decision,
            "lot": {name: escape_name(getattr(row.lot, name)) for name in LOT_FIELDS},
            "notes": [*explain_shown_row(row, self.manifest)],
            "traits": self._describe_traits(index, row),
            "questions": order_traits(row),
        }

    def _describe_traits(self, index: int, row: ShownRow) -> list[dict[str, Any]]:
        """Return every trait's score against its threshold.

        Those that fired come first, in the order of `sort_findings`, then the others, the nearest
        to its threshold first.
        """
        (scores,) = self.facts.slice(index, 1).collect().to_dicts()
        findings = {item.trait: item for item in (*row.near, *row.reasons)}
        traits = []
        for rule in self.rules:
            found = findings.get(rule.trait)
            score = scores[name_score(rule.trait)]
            threshold = found.threshold if found else rule.apply_exceptions(row.lot)[0]
            own = {
                "trait": rule.trait,
                "score": _round_number(score),
                "threshold": _round_number(threshold),
                "fired": scores[name_fired(rule.trait)],
            }
            traits.append(own | (self._describe_finding(found) if found else {}))
        fired = [item.trait for item in row.reasons]
        return sorted(
            traits, key=lambda item: (_find_place(item["trait"], fired), *_rank_trait(item))
        )

    def _describe_finding(self, found: TraitFinding) -> dict[str, Any]:
        """Return a finding's signals, phrases and nearest exemplars."""
        patterns = list_patterns(self.manifest.cards.get(found.trait, {}))
        return {
            "signal": found.signal,
            "score": _round_number(found.score),
            "action": found.action,
            "by_person": found.is_by_person,
            "signals": {name: _round_number(score) for name, score in found.signals.items()},
            "phrases": describe_hits(found.hits) if len(found.hits) > 1 else "",
            "words": describe_words(found.words),
            "neighbours": [*describe_neighbours(found, patterns)],
            "doubt": describe_doubt(found.neighbours) if found.neighbours else "",
        }

    def count_lot(self, index: int) -> dict[str, Any]:
        """Count the rows of a row's lot, by decision and by the trait that fired.

        As in the report, rows of a lot may have different dates.
        """
        (own,) = self.facts.slice(index, 1).select(GROUPINGS["lot"]).collect().to_dicts()
        return self._count_lot(tuple(own.values()))

    @lru_cache(ROWS_KEPT)  # noqa: B019 - a server has one reader
    def _count_lot(self, lot: Sequence[str]) -> dict[str, Any]:
        pairs = zip(GROUPINGS["lot"], lot, strict=True)
        rows = self.facts.filter(pl.col(name) == value for name, value in pairs)
        decided = rows.group_by(pl.col("decision").cast(pl.String)).agg(rows=pl.len())
        fired = rows.select(pl.col(name_fired(rule.trait)).sum() for rule in self.rules)
        counts = dict(decided.sort("rows", descending=True).collect().iter_rows())
        by_trait = dict(
            zip([rule.trait for rule in self.rules], fired.collect().row(0), strict=True)
        )
        found = sorted(by_trait.items(), key=lambda item: (-item[1], item[0]))
        return {
            "rows": sum(counts.values()),
            "decisions": counts,
            "traits": {trait: count for trait, count in found if count},
        }

    def list_others(self, index: int, texts: SearchTexts) -> dict[str, Any]:
        """Return other answers to a row's prompt, and how many rows there are with it."""
        prompt = texts.prompt[index]
        rows = np.flatnonzero(texts.prompt == prompt) if prompt else np.empty(0, np.int64)
        others = [int(row) for row in rows if row != index]
        shown = [self.describe_answer(row) for row in others[:OTHERS_SHOWN]]
        return {"total": len(others), "rows": shown}

    def describe_answer(self, index: int) -> dict[str, Any]:
        """Return who gave an answer, what became of it, and how it begins."""
        row = self.read(index)
        found = row._replace(near=())  # a near miss is no evidence
        last = list(list_whole_fields(found, self.layout))[-1:]
        pieces = [piece for field in last for piece in cut_pieces(field.pieces, ANSWER_CHARACTERS)]
        return {
            "index": index,
            "source": escape_name(row.source),
            "row": row.row,
            "teacher": escape_name(row.lot.teacher),
            "prompt_source": escape_name(row.lot.prompt_source),
            "decision": row.decision,
            "fired": [item.trait for item in row.reasons],
            "pieces": write_pieces(pieces),
        }


def _select_evidence(row: ShownRow, trait: str | None) -> ShownRow:
    """Return a row with only a trait's finding, if it has one."""
    own = tuple(item for item in (*row.reasons, *row.near) if item.trait == trait)
    return row._replace(reasons=own) if own else row


def _find_place(trait: str, fired: Sequence[str]) -> int:
    return fired.index(trait) if trait in fired else len(fired)


def _rank_trait(item: Mapping[str, Any]) -> tuple[float, str]:
    known = item["score"] is not None and item["threshold"] is not None
    return (item["threshold"] - item["score"] if known else math.inf, item["trait"])


def _round_number(value: float | None) -> float | None:
    """Return a rounded score, or None for one that isn't finite, which JSON can't hold."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), SCORE_DECIMALS)


def describe_neighbours(found: TraitFinding, patterns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the nearest exemplars, the nearest first, each cut around its telling part."""
    text = found.text or ""
    own = text[found.start : found.end] if found.end > found.start else text
    for near in sorted(found.neighbours, key=lambda near: -near["similarity"]):
        part = find_likeness(near["text"], patterns, own)
        yield {
            "polarity": near["polarity"],
            "owner": near.get("owner", ""),
            "similarity": near["similarity"],
            "pieces": write_pieces(build_excerpt(near["text"], *part, context=EXEMPLAR_CONTEXT)),
        }


def cut_pieces(pieces: Sequence[Piece], most: int) -> Iterator[Piece]:
    """Yield pieces of up to `most` characters, cut between words, and an ellipsis for the rest."""
    left = most
    for piece in pieces:
        if len(piece.text) > left:
            text = piece.text[:left]
            kept = text if piece.text[left].isspace() else text.rpartition(" ")[0] or text
            yield piece._replace(text=kept)
            yield Piece(" …", added=True)
            return
        yield piece
        left -= len(piece.text)


def write_pieces(pieces: Sequence[Piece]) -> list[list[str]]:
    """Return pieces for JSON: each one's text, and letters for marked, masked and added."""
    return [
        [piece.text, "m" * piece.marked + "x" * piece.masked + "a" * piece.added]
        for piece in pieces
        if piece.text
    ]
