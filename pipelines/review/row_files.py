"""A run's rows as files that other tools open: Embedding Atlas and Inspect Scout.

Embedding Atlas (apple/embedding-atlas) opens a Parquet file with a text and two coordinates for
each row. Inspect Scout (meridianlabs-ai/inspect_scout) opens a folder of Parquet files in which
each row is a transcript: `transcript_id`, `messages` as JSON, and columns of metadata.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.lots.planes import GRID
from pipelines.display.excerpts import build_excerpt
from pipelines.display.highlights import join_pieces
from pipelines.review.corpus_map import CorpusMap
from pipelines.review.index import name_fired, name_score
from pipelines.review.private_files import make_empty
from pipelines.review.session import ReviewSession
from pipelines.runs.deciding_traits import order_traits
from pipelines.runs.finished import MISFITS, list_outputs, report_damage
from pipelines.runs.own_ids import find_own_id
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow, read_shown_rows
from schemas.errors import CardError, RunError, StorageError
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.scores import SCORE_DECIMALS, SIDES
from transforms.stored_rows import read_stored_rows

ROLES = {"system": "system", "developer": "system", "assistant": "assistant", "tool": "tool"}
"""Inspect's roles. Any other role asks, as a user does."""

ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")

REJECTED = SIDES.index("rejected")

Tell = Callable[[int, int], None]


class SaidText(NamedTuple):
    """A text of a row: the number of its message, who said it, in which channel, and where.

    `start` is the text's offset in its field, in characters.
    """

    message: int
    role: str
    channel: str
    text: str
    path: str = ""
    start: int = 0


class ReadShard(NamedTuple):
    """A shard's rows: the first one's ledger index, all facts, and the texts of stored rows.

    `ids` holds the ids that the corpus itself gives its rows, in one of the columns `OWN_IDS`.
    """

    first: int
    facts: pl.DataFrame
    said: dict[int, list[SaidText]]
    ids: dict[int, str]


def write_points(
    session: ReviewSession,
    path: Path,
    tell: Tell = lambda _done, _of: None,
    chosen: np.ndarray | None = None,
) -> tuple[int, int]:
    """Write a Parquet file for Embedding Atlas, and return how many rows it has, of how many.

    A row has its text, its place on the map (`x`, `y` from 0 to 1), its names, its decision, the
    traits that fired, and every trait's score. Rows without a text or a place are left out. The
    session's map must be ready. `tell` hears how many shards are done, of how many. With `chosen`,
    only rows with these ledger indexes are written.

    Raises: CongenerError: the review is blind, a row can't be read, or the file can't be written.
    """
    require_open(session)
    if session.corpus_map is None:
        raise RunError("has no map", where=session.run, remedy=session.map_progress.problem)
    schema = _make_point_schema(session.traits)
    draft, count = path.with_name(f"{path.name}.{os.getpid()}"), 0
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for shard in read_shards(session, tell, chosen):
                rows = _list_points(shard, session.traits, session.corpus_map)
                count += len(rows)
                writer.write_table(pa.Table.from_pylist(rows, schema))
        draft.rename(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(f"can't be written: {error.strerror}", where=str(path)) from error
    return count, len(session.corpus_map.known if chosen is None else chosen)


def _make_point_schema(traits: Sequence[str]) -> pa.Schema:
    names = ["text", *LOT_FIELDS, "decision", "record_id", "source"]
    return pa.schema(
        [
            *((name, pa.string()) for name in names),
            ("row", pa.int64()),
            ("fired", pa.string()),
            ("margin", pa.float32()),
            *((f"score_{trait}", pa.float32()) for trait in traits),
            ("x", pa.float32()),
            ("y", pa.float32()),
        ]
    )


def _list_points(
    shard: ReadShard, traits: Sequence[str], places: CorpusMap
) -> list[dict[str, Any]]:
    found = []
    for at, fact in enumerate(shard.facts.iter_rows(named=True)):
        index = shard.first + at
        if at not in shard.said or not places.known[index]:
            continue
        point = {name: fact[name] for name in (*LOT_FIELDS, "decision", "record_id", "source")}
        scores = {f"score_{trait}": _take_number(fact[name_score(trait)]) for trait in traits}
        told = {"text": _join_said(shard.said[at]), "row": fact["row"], **scores}
        at_map = {"x": (places.x[index] + 0.5) / GRID, "y": 1 - (places.y[index] + 0.5) / GRID}
        fired = ", ".join(list_fired(fact, traits))
        margin = _take_number(fact["margin"])
        found.append({**point, **told, **at_map, "fired": fired, "margin": margin})
    return found


def write_transcripts(
    session: ReviewSession,
    folder: Path,
    tell: Tell = lambda _done, _of: None,
    chosen: np.ndarray | None = None,
) -> tuple[int, int]:
    """Write a folder for Inspect Scout, and return how many rows it has, of how many.

    A row is a transcript with its messages, its teacher as the model, its prompt source as the set
    of tasks, its margin as the score, and its evidence as the score's explanation. Rows without a
    text are left out, and so are rejected answers. `tell` hears how many shards are done, of how
    many. With `chosen`, only rows with these ledger indexes are written.

    Raises: CongenerError: the review is blind, the folder has files, a row can't be read, or a file
    can't be written.
    """
    require_open(session)
    make_empty(folder)
    count = rows = 0
    for number, shard in enumerate(read_shards(session, tell, chosen)):
        found = _list_transcripts(shard, session)
        count, rows = count + len(found), rows + shard.facts.height
        if not found and chosen is not None:
            continue
        path = folder / f"part-{number:06d}.parquet"
        try:
            pq.write_table(pa.Table.from_pylist(found, TRANSCRIPTS), path, compression="zstd")
        except OSError as error:
            raise StorageError(f"can't be written: {error.strerror}", where=str(path)) from error
    return count, rows if chosen is None else len(chosen)


TRANSCRIPTS = pa.schema(
    [
        *((name, pa.large_string()) for name in ("transcript_id", "source_type", "source_id")),
        *((name, pa.large_string()) for name in ("source_uri", "date", "task_set", "task_id")),
        *((name, pa.large_string()) for name in ("model", "score", "score_explanation")),
        *((name, pa.large_string()) for name in ("messages", "events")),
        ("message_count", pa.int64()),
        ("trust_content", pa.bool_()),
        *((name, pa.large_string()) for name in ("decision", "fired", "record_id", "scores")),
        ("lot_system_prompt", pa.large_string()),
        ("margin", pa.float64()),
    ]
)
"""Columns that Scout knows, with its types, and metadata. Text is never shown richly.

Scout's page opens a transcript only if there is a column `events`, which is null.
"""


def _list_transcripts(shard: ReadShard, session: ReviewSession) -> list[dict[str, Any]]:
    facts = {
        at: fact for at, fact in enumerate(shard.facts.iter_rows(named=True)) if at in shard.said
    }
    fired = [at for at, fact in facts.items() if list_fired(fact, session.traits)]
    indexes = [shard.first + at for at in fired]
    shown = read_shown_rows(session.run, session.manifest, indexes, whole=False)
    rows = dict(zip(fired, shown, strict=True))
    return [
        describe_transcript(shard, at, fact, session, rows.get(at)) for at, fact in facts.items()
    ]


def describe_transcript(
    shard: ReadShard,
    at: int,
    fact: Mapping[str, Any],
    session: ReviewSession,
    row: ShownRow | None = None,
) -> dict[str, Any]:
    """Return the transcript of a shard's row, which has a text and these facts.

    `row` has the findings, if a trait fired.
    """
    messages = build_messages(shard.said[at])
    scores = {trait: _take_number(fact[name_score(trait)]) for trait in session.traits}
    known = {name: None if fact[name] == UNKNOWN else fact[name] for name in LOT_FIELDS}
    date, margin = known["date"], _take_number(fact["margin"])
    return {
        "transcript_id": name_transcript(session, shard.first + at),
        "source_type": "congener",
        "source_id": session.manifest.run_id,
        "source_uri": f"{fact['source']}:{fact['row']}",
        "date": date if date and ISO_DATE.fullmatch(date) else None,
        "task_set": known["prompt_source"],
        "task_id": shard.ids.get(at, fact["record_id"]),
        "model": known["teacher"],
        "score": None if margin is None else f"{margin:.{SCORE_DECIMALS}f}",
        "score_explanation": None if row is None else explain_findings(row),
        "messages": json.dumps(messages),
        "message_count": len(messages),
        "trust_content": False,
        "decision": fact["decision"],
        "fired": ", ".join(list_fired(fact, session.traits)),
        "record_id": fact["record_id"],
        "scores": json.dumps(scores),
        "lot_system_prompt": known["system_prompt"],
        "margin": margin,
    }


def explain_findings(row: ShownRow) -> str:
    """Return a row's findings, those that decided first: trait, score, threshold, evidence."""
    order = order_traits(row)
    findings = sorted(row.reasons, key=lambda item: order.index(item.trait))
    said = [
        f"{item.trait} {item.score:.{SCORE_DECIMALS}f} ≥ {item.threshold:.{SCORE_DECIMALS}f} "
        f"({item.action}): {explain(item)}"
        for item in findings
    ]
    return "\n\n".join(said)


def explain(finding: TraitFinding) -> str:
    """Return the text around a finding's evidence, which is between « and »."""
    if finding.is_by_person:
        return "taken out by a person"
    if finding.text is None:
        return "(the field isn't in the row)"
    return join_pieces(build_excerpt(finding.text, finding.start, finding.end)).plain


def name_transcript(session: ReviewSession, index: int) -> str:
    """Return the name of a row's transcript, by its ledger index."""
    return f"{session.manifest.run_id}-{index}"


def build_messages(said: Sequence[SaidText]) -> list[dict[str, Any]]:
    """Return a row's texts as messages of Inspect. Thinking is marked as reasoning."""
    messages = []
    for (_, role), own in group_messages(said):
        parts: list[dict[str, str]] = []
        for text in own:
            is_thought = text.channel == "thinking" and role == "assistant"
            kind = "reasoning" if is_thought else "text"
            parts.append({"type": kind, kind: text.text})
        is_plain = len(parts) == 1 and parts[0]["type"] == "text"
        content: str | list[dict[str, str]] = parts[0]["text"] if is_plain else parts
        messages.append({"role": ROLES.get(role, "user"), "content": content})
    return messages


def group_messages(
    said: Sequence[SaidText],
) -> Iterator[tuple[tuple[int, str], Iterator[SaidText]]]:
    """Yield the number and the role of each message, and its texts."""
    return groupby(said, key=lambda text: (text.message, text.role))


def require_open(session: ReviewSession) -> None:
    """Refuse a blind review, whose reviewer mustn't see decisions.

    Raises: CardError: the review is blind.
    """
    if session.blind:
        raise CardError("doesn't go with a file that holds decisions", where="--blind")


def read_shards(
    session: ReviewSession, tell: Tell, chosen: np.ndarray | None = None
) -> Iterator[ReadShard]:
    """Yield the facts and the texts of every shard. `tell` hears how many are done, of how many.

    With `chosen`, only rows with these ledger indexes have their texts.

    Raises: CongenerError: a row can't be read.
    """
    ends = np.cumsum([0, *(own.rows for own in list_outputs(session.manifest, "ledger"))])
    for number, (first, last) in enumerate(pairwise(ends.tolist()), 1):
        facts = session.facts.slice(first, last - first).collect()
        with report_damage(session.run, *MISFITS):
            said, ids = _read_said(session, _choose_places(facts, first, chosen))
        yield ReadShard(first, facts, said, ids)
        tell(number, len(ends) - 1)


def _choose_places(facts: pl.DataFrame, first: int, chosen: np.ndarray | None) -> pl.DataFrame:
    """Return where the wanted rows of a shard are stored, each with its number there (`at`)."""
    places = facts.with_row_index("at").select("at", "output", "output_row").drop_nulls()
    if chosen is not None:
        own = chosen[(chosen >= first) & (chosen < first + facts.height)].astype(np.int64) - first
        places = places.filter(pl.col("at").is_in(pl.Series(own, dtype=pl.UInt32).implode()))
    return places.filter(~pl.col("output").cast(pl.String).str.starts_with("rejects/"))


def _read_said(
    session: ReviewSession, stored: pl.DataFrame
) -> tuple[dict[int, list[SaidText]], dict[int, str]]:
    """Return the texts of each stored row, without rejected answers, and the corpus's own ids."""
    found: dict[int, list[SaidText]] = {}
    ids: dict[int, str] = {}
    if session.manifest.withdrawn is not None:
        return found, ids
    for (path,), own in stored.group_by("output", maintain_order=True):
        rows = read_stored_rows(session.run, str(path), session.reader.layout)
        segments = rows.segments
        for at, number in own.select("at", "output_row").iter_rows():
            if (own_id := find_own_id(rows.records[number])) is not None:
                ids[at] = own_id
            kept = [
                segment
                for segment in segments.find_in_row(number)
                if segments.sides is None or segments.sides[segment] != REJECTED
            ]
            texts = [
                SaidText(
                    int(segments.messages[segment]),
                    segments.roles[segment],
                    segments.channels[segment],
                    segments.texts[segment],
                    segments.field_paths[segment],
                    int(segments.starts[segment]),
                )
                for segment in kept
            ]
            if texts:
                found[at] = texts
    return found, ids


def _join_said(said: Sequence[SaidText]) -> str:
    return "\n\n".join(f"{text.role}: {text.text}" for text in said)


def list_fired(fact: Mapping[str, Any], traits: Sequence[str]) -> list[str]:
    """Return the traits that fired on a row."""
    return [trait for trait in traits if fact[name_fired(trait)]]


def _take_number(value: float | None) -> float | None:
    """Return a number, or None for one that isn't finite."""
    return None if value is None or not np.isfinite(value) else round(float(value), 4)
