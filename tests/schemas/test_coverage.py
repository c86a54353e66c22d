"""Coverage: shares of unread text, and sums of counts."""

from fractions import Fraction

import pytest

from schemas.coverage import (
    MOST_ROLES,
    OTHER_ROLES,
    Coverage,
    FieldCounts,
    LanguageCounts,
    TextCounts,
    TurnCounts,
    add_counts,
    add_turns,
    describe_turns,
)


def count(role="assistant", channel="answer", rows=1, characters=10, unread=0) -> TurnCounts:
    """Return the counts of one role and channel."""
    return TurnCounts(role=role, channel=channel, rows=rows, characters=characters, unread=unread)


COVERAGE = Coverage(
    turns=(
        count(characters=600),
        count("user", characters=150, unread=150),
        count("assistant", "tool", characters=50, unread=50),
    ),
    fields=(FieldCounts(field_path="notes[].text", rows=2, characters=20),),
    characters=800,
    sampled_rows=4,
    sampled_characters=80,
)
"""The coverage of a corpus with a tenth of the text in the sample."""


def select(roles, columns) -> Coverage:
    """Return the trained part of the coverage."""
    policy = {"untrained_roles": roles, "untrained_columns": columns}
    return COVERAGE.model_copy(update=policy).select_trained()


def test_unread_text_is_listed_by_its_share():
    """A field's sampled text is scaled up before its share is computed."""
    assert [(item.where, item.share, item.is_sampled) for item in COVERAGE.list_unread()] == [
        ("notes[].text", 0.2, True),
        ("turns of user", 0.15, False),
        ("tool calls in turns of assistant", 0.05, False),
    ]
    assert COVERAGE.compute_unread_share() == pytest.approx(0.4)


def test_text_that_isnt_trained_on_is_left_out():
    """Untrained roles and columns count neither as text nor as unread."""
    assert select(("user",), ("notes",)).compute_unread_share() == Fraction(50, 650)
    assert select((), ("note",)).fields == COVERAGE.fields
    assert select(("user", "assistant"), ("notes",)).compute_unread_share() == 0


@pytest.mark.parametrize(
    ("names", "share"),
    [
        ((), 0.4),
        (("tool",), 0.35),
        (("user", "tool"), 0.2),
        (("notes",), 0.2),
        (("notes[].text", "assistant", "user"), 0),
    ],
)
def test_text_that_is_expected_to_be_unread(names, share):
    """Expected unread text counts as text, but not as unread."""
    found = COVERAGE.model_copy(update={"expected_unread": names})
    assert found.compute_unread_share() == pytest.approx(share)
    unexpected = [item.share for item in found.list_unread() if not item.is_expected]
    assert sum(unexpected) == pytest.approx(share)
    assert [item.is_call for item in found.list_unread()] == [False, False, True]
    results = Coverage(turns=(count("tool", "tool", unread=10),)).list_unread()
    assert [item.is_call for item in results] == [False]


@pytest.mark.parametrize(
    ("column", "expected"),
    [("a", True), ("a.b", True), ("a.b[].c", True), ("a.b[]", True), ("b", False), ("a.", False)],
)
def test_fields_are_inside_their_columns(column, expected):
    """A field is inside every prefix of its path that ends after a name or an index."""
    field = FieldCounts(field_path="a.b[].c", rows=1, characters=1)
    assert field.is_inside(column) is expected


def test_an_empty_corpus_has_no_share():
    """Without text, the unread share is 0."""
    assert Coverage().compute_unread_share() == 0
    fields = (FieldCounts(field_path="a", rows=1, characters=9),)
    assert Coverage(fields=fields).compute_unread_share() == 1
    assert Coverage(fields=fields).list_unread()[0].share == 1


def test_turns_are_described():
    """A description names the role and the channel, and partly read text."""
    assert describe_turns("user", "answer") == "turns of user"
    assert describe_turns("", "answer") == "turns without a role"
    assert describe_turns("tool", "tool") == "results in JSON in turns of tool"
    assert describe_turns("ai", "thinking", is_part=True) == "the rest of thinking in turns of ai"


def test_counts_are_added_by_role_and_channel():
    """Counts are summed by role and channel, and sorted by name."""
    added = add_turns([count("user", unread=3), count(), count("user", rows=2, unread=4)])
    assert added == (count(), count("user", rows=3, characters=20, unread=7))
    assert add_turns([]) == ()


def test_many_roles_are_counted_together():
    """Beyond the limit, the roles with the least text are merged."""
    roles = [count(f"r{number}", characters=number + 1) for number in range(MOST_ROLES + 2)]
    added = add_turns(roles)
    assert len(added) == MOST_ROLES + 1
    assert next(item for item in added if item.role == OTHER_ROLES).characters == 1 + 2
    assert sum(item.characters for item in added) == sum(item.characters for item in roles)


def test_languages_keep_their_first_row():
    """Rows are summed by language, with the first shard's first row."""
    first = LanguageCounts(language="Greek script", rows=1, source="a", row=7)
    shards = [
        TextCounts(languages=(first,)),
        TextCounts(languages=(first.model_copy(update={"rows": 2, "source": "b"}),)),
        TextCounts(languages=(first.model_copy(update={"language": "Thai", "rows": 9}),)),
    ]
    thai, greek = add_counts(shards).languages
    assert (thai.language, thai.rows) == ("Thai", 9)
    assert greek == first.model_copy(update={"rows": 3})
