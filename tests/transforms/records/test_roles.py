"""Roles: their names in other formats, and names that no segment can have."""

import pytest

from transforms.records.roles import (
    CHANNELS,
    KNOWN_ROLES,
    ROLES,
    find_unknown_roles,
    normalise_role,
)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("human", "user"),
        ("gpt", "assistant"),
        ("developer", "system"),
        ("observation", "tool"),
        ("Assistant", "assistant"),
        ("GPT", "assistant"),
        ("USER", "user"),
        ("Narrator", "narrator"),
        ("", ""),
        (None, ""),
    ],
)
def test_names_become_roles(name, role):
    """Names of other formats are translated in any case; unknown ones are lower-cased."""
    assert normalise_role(name) == role


def test_roles_are_normalised_once_and_for_all():
    """Normalising a role again doesn't change it, and every translated name is lower case."""
    assert {normalise_role(role) for role in ROLES.values()} == set(KNOWN_ROLES)
    assert all(name == name.lower() and normalise_role(name) in KNOWN_ROLES for name in ROLES)


def test_known_roles_are_those_of_messages():
    """The four roles of `messages` are known, in alphabetical order."""
    assert KNOWN_ROLES == ("assistant", "system", "tool", "user")


def test_unknown_roles_are_found():
    """Names that segments never have are returned sorted: those of other formats, and typos."""
    assert find_unknown_roles(["user", "gpt", "asistant", "user"]) == ["asistant", "gpt"]
    assert find_unknown_roles(KNOWN_ROLES) == []


def test_channels_are_distinct():
    """Channels are codes by their index, so the first is always the answer."""
    assert CHANNELS[0] == "answer"
    assert len(set(CHANNELS)) == len(CHANNELS) == 3
