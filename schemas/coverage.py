"""Coverage: how much text a run's traits read, and where the unread text is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from pydantic import Field

from schemas.cards import Strict

MOST_ROLES = 50
"""The largest number of roles that are counted separately."""

OTHER_ROLES = "(other roles)"

CHANNEL_NAMES = {"answer": "", "thinking": "thinking in ", "tool": "tool calls in "}


class TurnCounts(Strict):
    """The amount of text with one role and channel, in rows and in characters."""

    role: str
    channel: str
    rows: int
    characters: int
    unread: int
    """Characters that aren't in any trait's scope."""

    def holds_calls(self) -> bool:
        """Return whether the text is tool calls rather than tool results."""
        return self.channel == "tool" and self.role != "tool"


class LanguageCounts(Strict):
    """The number of rows in one script or language, and the first such row."""

    language: str
    rows: int
    source: str
    row: int


class TextCounts(Strict):
    """The amount of text in some rows, by role and channel, and by language if not English."""

    turns: tuple[TurnCounts, ...] = ()
    languages: tuple[LanguageCounts, ...] = ()


class FieldCounts(Strict):
    """The amount of text in a column or nested field that the format doesn't read."""

    field_path: str
    """The path without indices, such as `messages[].thought`."""
    rows: int
    characters: int

    def is_inside(self, column: str) -> bool:
        """Return whether the field is the given column, or is inside it."""
        return self.field_path == column or self.field_path.startswith((f"{column}.", f"{column}["))


class UnreadText(NamedTuple):
    """Text that no trait reads: where it is, how many rows have it, and its share of all text.

    Text is expected if the policy names it in `expected_unread`. `is_part` is true if the scopes of
    the traits read only the opening or the closing of these turns.
    """

    where: str
    rows: int
    share: float
    is_sampled: bool
    is_call: bool
    is_expected: bool
    is_part: bool = False


class Coverage(Strict):
    """The text that a run's traits read, and the text that they don't.

    `turns` cover all rows and have `characters` characters. Unread fields are counted in a sample
    of `sampled_rows` rows, whose turns have `sampled_characters` characters.
    """

    turns: tuple[TurnCounts, ...] = ()
    languages: tuple[LanguageCounts, ...] = ()
    fields: tuple[FieldCounts, ...] = ()
    characters: int = 0
    sampled_rows: int = 0
    sampled_characters: int = 0
    conversations: dict[str, int] = Field(default_factory=dict)
    """How many messages of each role in the sample contain a whole conversation."""
    unsampled: tuple[str, ...] = ()
    """Text or object columns without a value in the sample."""
    untrained_roles: tuple[str, ...] = ()
    untrained_columns: tuple[str, ...] = ()
    expected_unread: tuple[str, ...] = ()

    def list_unread(self) -> list[UnreadText]:
        """Return the text that no trait reads, in descending order of its share."""
        whole = sum(turn.characters for turn in self.turns) + self._scale(self.fields)
        found = [
            UnreadText(
                describe_turns(turn.role, turn.channel, is_part=turn.unread < turn.characters),
                turn.rows,
                float(turn.unread / whole),
                is_sampled=False,
                is_call=turn.holds_calls() and turn.unread == turn.characters,
                is_expected=self._expects_turn(turn),
                is_part=turn.unread < turn.characters,
            )
            for turn in self.turns
            if turn.unread
        ]
        found += [
            UnreadText(
                item.field_path,
                item.rows,
                float(self._scale([item]) / whole),
                is_sampled=True,
                is_call=False,
                is_expected=self._expects_field(item),
            )
            for item in self.fields
            if item.characters
        ]
        return sorted(found, key=lambda item: -item.share)

    def select_trained(self) -> Coverage:
        """Return the coverage of the text that the trainer learns from under a policy."""
        turns = (turn for turn in self.turns if turn.role not in self.untrained_roles)
        fields = (
            item for item in self.fields if not any(map(item.is_inside, self.untrained_columns))
        )
        return self.model_copy(update={"turns": tuple(turns), "fields": tuple(fields)})

    def compute_unread_share(self) -> Fraction:
        """Return the share of text that no trait reads and the policy doesn't expect.

        The fields' part of the share is an estimate from the sample.
        """
        turns = sum(turn.unread for turn in self.turns if not self._expects_turn(turn))
        unread = turns + self._scale(item for item in self.fields if not self._expects_field(item))
        whole = sum(turn.characters for turn in self.turns) + self._scale(self.fields)
        return Fraction(unread, whole) if whole else Fraction(0)

    def _expects_turn(self, turn: TurnCounts) -> bool:
        return turn.role in self.expected_unread or turn.channel in self.expected_unread

    def _expects_field(self, item: FieldCounts) -> bool:
        return any(map(item.is_inside, self.expected_unread))

    def _scale(self, fields: Iterable[FieldCounts]) -> Fraction:
        """Estimate how many characters these fields have across all rows."""
        known = self.characters and self.sampled_characters
        factor = Fraction(self.characters, self.sampled_characters) if known else Fraction(1)
        return factor * sum(item.characters for item in fields)


def describe_turns(role: str, channel: str, is_part: bool = False) -> str:
    """Describe the turns of a role and channel, or the unread part of their text (`is_part`)."""
    kind = CHANNEL_NAMES.get(channel, f"{channel} ")
    if (role, channel) == ("tool", "tool"):
        kind = "results in JSON in "
    part = "the rest of " if is_part else ""
    return f"{part}{kind}turns of {role}" if role else f"{part}{kind}turns without a role"


def add_turns(counts: Iterable[TurnCounts]) -> tuple[TurnCounts, ...]:
    """Add up the counts of each role and channel, ordered by name.

    Beyond `MOST_ROLES` roles, those with the least text are counted together.
    """
    counts = list(counts)
    sizes = Counter[str]()
    for item in counts:
        sizes[item.role] += item.characters
    named = {role for role, _ in sizes.most_common(MOST_ROLES)}
    sums: dict[tuple[str, str], Counter[str]] = {}
    for item in counts:
        role = item.role if item.role in named else OTHER_ROLES
        sums.setdefault((role, item.channel), Counter()).update(
            rows=item.rows, characters=item.characters, unread=item.unread
        )
    return tuple(
        TurnCounts(role=role, channel=channel, **{name: added[name] for name in added})
        for (role, channel), added in sorted(sums.items())
    )


def add_counts(counts: Iterable[TextCounts]) -> TextCounts:
    """Add up the counts of shards, given in corpus order."""
    counts = list(counts)
    rows = Counter[str]()
    first: dict[str, LanguageCounts] = {}
    for item in (item for shard in counts for item in shard.languages):
        rows[item.language] += item.rows
        first.setdefault(item.language, item)
    return TextCounts(
        turns=add_turns(turn for shard in counts for turn in shard.turns),
        languages=tuple(
            first[language].model_copy(update={"rows": count})
            for language, count in rows.most_common()
        ),
    )
