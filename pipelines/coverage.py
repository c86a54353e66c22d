"""Coverage: the text that traits read, estimated before a run and counted after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from classifiers.library import list_shipped_ids
from schemas.cards import TraitCard
from schemas.coverage import Coverage, TextCounts, UnreadText, add_counts
from schemas.errors import BudgetError
from schemas.notices import Notice, format_count, list_names, shorten_name, warn
from schemas.policies import Policy
from schemas.receipts import Receipt
from schemas.shares import exceeds, format_excess, format_limit, format_percent
from transforms.files.samples import Sample, find_unsampled, list_objects
from transforms.files.shards import Shard
from transforms.files.sources import Corpus
from transforms.poison import isolate_failures, keep_rows
from transforms.records.formats import Layout
from transforms.records.segments import Segments, extract_segments
from transforms.records.unread_text import (
    RowNames,
    UnreadFields,
    count_conversations,
    count_texts,
)
from transforms.records.validity import require_valid

UNREAD_NAMED = 8
"""The largest number of kinds of text in a notice."""

UNREAD_REMEDY = (
    "name a column with --column, widen the scope of a trait, or raise the budget; in the policy, "
    "list what the trainer doesn't learn from under untrained_roles and untrained_columns, and "
    "what no trait needs to look at, such as the channel `tool`, under expected_unread"
)

GROWTH = 0.01
"""The margin by which a share must exceed twice its sampled value to be reported."""


def measure_sample(
    sample: Sample, corpus: Corpus, layout: Layout, cards: Iterable[TraitCard], policy: Policy
) -> Coverage:
    """Count the text of a sample that the cards' signals read, and the text that they don't."""
    scopes = {card.scope for card in cards}
    fields, added, conversations = UnreadFields(), TextCounts(), Counter[str]()
    if shard := sample.merge():
        segments, failed = _extract_segments(shard, layout)
        kept = [row for row in range(shard.table.num_rows) if row not in failed]
        names = [shard.sources[row] for row in kept], [shard.numbers[row] for row in kept]
        added = count_texts(segments, RowNames(*names), scopes)
        conversations = count_conversations(segments)
        objects = list_objects(shard)
        _observe_fields(fields, [objects[row] for row in kept], segments)
    characters = sum(turn.characters for turn in added.turns)
    return Coverage(
        turns=added.turns,
        languages=added.languages,
        fields=fields.list_fields(),
        characters=characters,
        sampled_rows=sample.rows,
        sampled_characters=characters,
        conversations=dict(sorted(conversations.items())),
        untrained_roles=policy.untrained_roles,
        untrained_columns=policy.untrained_columns,
        expected_unread=policy.expected_unread,
        unsampled=_find_unsampled(sample, corpus, {*layout.columns.values(), *fields.columns}),
    )


def _find_unsampled(sample: Sample, corpus: Corpus, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns without values in the sample, unless the sample is the whole corpus."""
    is_whole = sample.rows == sum(source.rows for source in corpus.sources)
    return () if is_whole else find_unsampled(corpus, known)


def _extract_segments(shard: Shard, layout: Layout) -> tuple[Segments, dict[int, str]]:
    """Return the segments of the rows that can be split, and the errors of other rows."""

    def attempt(rows: Sequence[int]) -> Segments:
        table = keep_rows(shard, rows).table
        require_valid(table)
        return extract_segments(table, layout)

    return isolate_failures(shard.table.num_rows, attempt, "splitting the row into segments")


def _observe_fields(
    fields: UnreadFields, objects: Sequence[Mapping[str, Any] | None], segments: Segments
) -> None:
    read: dict[int, list[tuple[str, str]]] = {}
    found = zip(segments.rows.tolist(), segments.field_paths, segments.channels, strict=True)
    for row, path, channel in found:
        read.setdefault(row, []).append((path, channel))
    for row, item in enumerate(objects):
        if item is not None:
            fields.observe(item, read.get(row, ()))


def complete_coverage(sampled: Coverage, receipts: Iterable[Receipt]) -> Coverage:
    """Replace a sample's counts of turns and languages with the counts of all rows."""
    added = add_counts(receipt.texts for receipt in receipts)
    characters = sum(turn.characters for turn in added.turns)
    return sampled.model_copy(
        update={
            "turns": added.turns,
            "languages": added.languages,
            "characters": characters,
        }
    )


def check_unread(coverage: Coverage, budget: float | None) -> None:
    """Stop a run that leaves more text unread than its policy allows.

    Raises: BudgetError: the unread share exceeds the budget.
    """
    trained = coverage.select_trained()
    share = trained.compute_unread_share()
    if budget is not None and exceeds(share, 1, budget):
        raise BudgetError(
            f"no trait looks at {format_excess(share, budget)} of the text, which exceeds the "
            f"unread_budget of {format_limit(budget)}: {_list_names(_list_unexpected(trained))}; "
            "nothing was published",
            remedy=UNREAD_REMEDY,
        )


FOREIGN_SHARE = 0.01
"""The smallest share of rows in other languages that leads to a warning.

Below it, traits overlook at most one row in a hundred for this reason, which is less than they miss
in English. Of 40,223 real answers to English prompts, 0.15 % look like another language.
"""

FEWEST_FOREIGN = 2
"""The fewest such rows that lead to a warning, because a single one says nothing of a corpus."""

ANY_LANGUAGE = {"repetition", "language"}
"""The signals that don't depend on the language of a text."""


def needs_english(cards: Iterable[TraitCard]) -> bool:
    """Return whether one of the traits is the library's and finds little in other languages."""
    library = list_shipped_ids()
    return any(
        card.id in library and not ANY_LANGUAGE.issuperset(card.signals.names) for card in cards
    )


def describe_sample(
    coverage: Coverage, sample: str, *, wants_english: bool = True
) -> Iterator[Notice]:
    """Name the unread text in a sample, and rows in other languages if English is wanted.

    `sample` is the sample's name in the notices.
    """
    trained = coverage.select_trained().list_unread()
    yield from _describe_unread(trained, sample)
    names = {item.where for item in trained}
    untrained = [item for item in coverage.list_unread() if item.where not in names]
    expected = [item for item in trained if item.is_expected]
    if untrained:
        yield Notice(
            f"not scored, because {_explain_untrained(coverage)}, in {sample}: "
            f"{_list_names(untrained)}"
        )
    if expected:
        yield Notice(
            f"no trait looks at this text, as the policy expects, in {sample}: "
            f"{_list_names(expected)}"
        )
    if wants_english:
        yield from _warn_of_languages(coverage, coverage.sampled_rows, sample)
    if coverage.conversations:
        listed = ", ".join(
            f"{count:,} of {role or 'no role'}" for role, count in coverage.conversations.items()
        )
        yield Notice(
            f"messages whose content holds a whole conversation, in {sample}: {listed}; each is "
            "read in the message's own role, as it is by the trainer; only columns of text are "
            "cut into turns"
        )
    if coverage.unsampled:
        yield Notice(
            f"columns that may hold text, but have no value in {sample}: "
            f"{list_names(coverage.unsampled, UNREAD_NAMED)}"
        )


def _explain_untrained(coverage: Coverage) -> str:
    """Say who settled what isn't trained on: the policy, or its defaults."""
    settled, default = (
        (item.untrained_roles, item.untrained_columns) for item in (coverage, Policy())
    )
    if settled == default:
        return "trainers leave it out of the loss by default"
    return "the policy says that it isn't trained on"


def describe_rest(
    sampled: Coverage, coverage: Coverage, rows: int, *, wants_english: bool = True
) -> Iterator[Notice]:
    """Name unread text that is missing or far rarer in the sample, and languages likewise.

    `rows` is the number of rows in which languages were counted.
    """
    known = {item.where: item.share for item in sampled.select_trained().list_unread()}
    counted = "all rows (the sample before the run didn't show it)"
    late = [
        item
        for item in coverage.select_trained().list_unread()
        if item.where not in known or item.share > 2 * known[item.where] + GROWTH
    ]
    yield from _describe_unread(late, counted)
    known_share = _measure_foreign(sampled, sampled.sampled_rows)
    grown = _measure_foreign(coverage, rows) > 2 * known_share + (GROWTH if known_share else 0)
    if wants_english and grown:
        yield from _warn_of_languages(coverage, rows, counted)


def _list_unexpected(coverage: Coverage) -> list[UnreadText]:
    return [item for item in coverage.list_unread() if not item.is_expected]


def _describe_unread(unread: Sequence[UnreadText], counted: str) -> Iterator[Notice]:
    """Warn of unread text.

    Tool calls get a notice instead of a warning, because few traits cover them. So does text beyond
    the opening or the closing that scopes ask for. Expected unread text is left out.
    """
    calls = [item for item in unread if item.is_call and not item.is_expected]
    others = [item for item in unread if not (item.is_call or item.is_expected)]
    if missed := [item for item in others if not item.is_part]:
        yield warn(
            f"no trait looks at {_format_sum(missed)} of the text that is trained on, in "
            f"{counted}: {_list_names(missed)}"
        )
    if rest := [item for item in others if item.is_part]:
        yield Notice(
            "the traits read only the opening or the closing of some text, as their scopes say, "
            f"and not {_format_sum(rest)} of the text that is trained on, in {counted}: "
            f"{_list_names(rest)}"
        )
    if calls:
        yield Notice(
            f"tool calls are {_format_sum(calls)} of the text that is trained on, in {counted}, "
            "and no trait of this run looks at them (a trait does if its scope.channels has "
            "`tool`); "
            "unread_budget counts them unless the policy's expected_unread names `tool`"
        )


def _measure_foreign(coverage: Coverage, rows: int) -> float:
    """Return the share of rows in other languages, or 0 if it is too small for a warning."""
    foreign = sum(item.rows for item in coverage.languages)
    share = foreign / max(rows, 1)
    return share if share >= FOREIGN_SHARE and foreign >= FEWEST_FOREIGN else 0.0


def _warn_of_languages(coverage: Coverage, rows: int, counted: str) -> Iterator[Notice]:
    """Warn of rows in other languages if there are enough of them."""
    if share := _measure_foreign(coverage, rows):
        listed = ", ".join(
            f"{item.rows:,} in {item.language} (the first: {item.source} row {item.row})"
            for item in coverage.languages
        )
        foreign = sum(item.rows for item in coverage.languages)
        yield warn(
            f"rows that don't look like English, in {counted}: {foreign:,} of {rows:,} "
            f"({format_percent(share, 1)}), {listed}; most of the library's "
            "patterns and exemplars are English, so its traits miss much of what they look for in "
            "these rows; degenerate-loop finds loops in every language, and docs/quirks.md says "
            "which four traits also read ten other languages"
        )


def _list_names(unread: Sequence[UnreadText]) -> str:
    shown = [
        f"{shorten_name(item.where)} "
        f"({format_percent(item.share, 1)}, {format_count(item.rows, 'row')})"
        for item in unread[:UNREAD_NAMED]
    ]
    more = len(unread) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _format_sum(unread: Iterable[UnreadText]) -> str:
    return format_percent(sum(item.share for item in unread), 1)
