"""Replace only the sentences that carry a trait, and mask those without a counterpart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas.ledgers import read_lots
from schemas.scores import is_trained
from transforms.decide import DecidedShard, decide_shard
from transforms.decisions import Evidence, decide
from transforms.new_rows import gather_rows, score_rows
from transforms.records.answers import LastAnswer
from transforms.records.columns import get_value
from transforms.records.counterparts import Counterpart, find_pieces, put_pieces
from transforms.records.mask_bounds import join_spans
from transforms.rules import Rule
from transforms.score import ScoringConfig
from transforms.spans import Span
from transforms.stored_rows import StoredRows, read_table, replace_answers
from transforms.swap_matches import Match, Unmatched
from transforms.swap_offers import StoredShard, WaitingRow, WaitingSettings, find_waiting
from transforms.swapped_tables import COSTS, Edit, SwappedShard

MOST_MASKED = 0.5
"""The largest share of an answer that may be masked. Of a row beyond it, too little is learnt."""


class EditedRow(NamedTuple):
    """A waiting row with another text in its answer's field, and the pieces of the donor's answer.

    `match` is None if no donor's answer is used.
    """

    row: WaitingRow
    answer: LastAnswer
    text: str
    pieces: tuple[Counterpart, ...]
    match: Match | None


def edit_rows(
    shard: StoredShard,
    found: Iterable[Match | Unmatched],
    waiting: WaitingSettings,
    rules: Sequence[Rule],
    scoring: ScoringConfig,
) -> SwappedShard:
    """Replace or mask the carrying sentences of a shard's waiting rows.

    Each row is scored again as a whole. What a trait still fires on is masked, as a policy with the
    action `mask` would do. A row stays in quarantine if a finding can't be masked, or if masks
    would cover most of its answer.
    """
    ledger = read_table(waiting.run, shard.files["ledger"])
    held, rows = find_waiting(shard, waiting, ledger)
    swapped = SwappedShard(waiting.run, shard, ledger, rows, held, only_sentences=True)
    matches = {item.position: item for item in found if isinstance(item, Match)}
    own = [item for item in rows if item.answer is not None]
    for item in rows:
        if item.answer is None:
            left = Unmatched(shard.name, item.position, "answer not replaceable")
            swapped.left[item.position] = left
    if held is not None and own:
        masking = [soften(rule) for rule in rules]
        masks = find_masks(swapped, [item.position for item in own], masking)
        drafts = [
            draft_row(held, item, spans, matches.get(item.position))
            for item, spans in zip(own, masks, strict=True)
        ]
        _try_drafts(swapped, held, drafts, masking, scoring)
    return swapped


def soften(rule: Rule) -> Rule:
    """Return a rule that masks what it finds, whatever the lot."""
    action = rule.action if rule.action == "keep" else "mask"
    return rule._replace(exceptions=(), action=action)


def find_masks(
    swapped: SwappedShard, positions: Sequence[int], rules: Sequence[Rule]
) -> list[list[Span]]:
    """Return what a mask would cover in rows of the run, from their stored scores and spans."""
    own = pa.array(positions, pa.int64())
    scores, spans = (swapped.read(folder).take(own) for folder in ("scores", "spans"))
    columns = {
        name: scores.column(name).to_numpy().astype(np.float32) for name in scores.column_names[2:]
    }
    lots = read_lots(swapped.ledger.take(own))
    masks = decide(Evidence(columns, spans.column("spans").combine_chunks(), lots), rules).masks
    return [masks.get(row, []) for row in range(len(positions))]


def draft_row(
    held: StoredRows, item: WaitingRow, masks: Sequence[Span], match: Match | None
) -> EditedRow:
    """Put the counterparts of a donor's answer into a row's answer.

    Only spans inside the last answer's field are replaced.
    """
    answer = item.answer
    assert answer is not None
    text = get_value(held.records[item.place], answer.path)
    last = len(text) if answer.end is None else answer.end
    own = ((mask.start, mask.end) for mask in masks if mask.field_path == answer.path)
    inside = [(start, end) for start, end in own if answer.start <= start <= end <= last]
    spans = list(join_spans(inside))
    pieces = find_pieces(text, spans, match.text) if match else []
    edited, placed = put_pieces(text, pieces, match.text if match else "")
    whole = answer._replace(start=0, end=None, others=())
    return EditedRow(item, whole, edited, tuple(placed), match if placed else None)


def _try_drafts(
    swapped: SwappedShard,
    held: StoredRows,
    drafts: Sequence[EditedRow],
    rules: Sequence[Rule],
    scoring: ScoringConfig,
) -> None:
    """Score the drafts, and keep those of which every finding is masked."""
    stored = replace_answers(held, [(item.row.place, item.answer, item.text) for item in drafts])
    positions = [item.row.position for item in drafts]
    scored = score_rows(stored, positions, swapped.ledger, scoring)
    found, kept = decide_shard(scored, rules), []
    for place, number in enumerate(scored.numbers):
        draft = drafts[number]
        edit = judge_draft(draft, found, place)
        if edit is not None:
            swapped.chosen[draft.row.position] = draft.match
            swapped.edits[draft.row.position] = edit
            kept.append(place)
        else:
            traits = tuple(sorted({item.trait for item in found.decided.reasons.get(place, ())}))
            left = Unmatched(
                swapped.shard.name, draft.row.position, "still carries a trait", traits
            )
            swapped.left[draft.row.position] = left
    for draft in drafts:  # scoring failed
        if draft.row.position not in {**swapped.chosen, **swapped.left}:
            left = Unmatched(swapped.shard.name, draft.row.position, "answer not replaceable")
            swapped.left[draft.row.position] = left
    swapped.cost = {name: getattr(scored, name) for name in COSTS}
    if kept:
        swapped.new = gather_rows(found, "vectors" in swapped.shard.files).select(kept)


def judge_draft(draft: EditedRow, found: DecidedShard, place: int) -> Edit | None:
    """Return what was done to a row, or None if the row has to wait."""
    reasons = found.decided.reasons.get(place, ())
    firing = [item for item in reasons if is_trained(item.signal) or item.action != "keep"]
    masks = tuple(found.decided.masks.get(place, ()))
    if not firing:
        return Edit((), draft.pieces, draft.answer.path) if draft.pieces else None
    if any(item.action != "mask" for item in firing) or not masks:
        return None
    path = draft.answer.path
    own = [(item.start, item.end) for item in masks if item.field_path == path]
    covered = sum(end - start for start, end in join_spans(own))
    if covered > MOST_MASKED * len(draft.text):
        return None
    return Edit(masks, draft.pieces, draft.answer.path)
