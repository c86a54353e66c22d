"""Roles: other formats' names, and unknown names."""

import pytest

from transforms.records.roles import (
    CALL_NAMES,
    CHANNELS,
    KNOWN_ROLES,
    NAMES_OF_ROLE,
    ROLES,
    THINKING_NAMES,
    find_channel,
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
        (" Assistant \n", "assistant"),
        ("Human:", "user"),
        ("<|assistant|>", "assistant"),
        ("tool-response", "tool"),
        ("FUNCTION RESPONSE", "tool"),
        ("functionCall", "assistant"),
        ("CHATBOT", "assistant"),
        ("gpt4", "assistant"),
        ("gpt-3.5-turbo", "assistant"),
        ("Claude 3 Opus", "assistant"),
        ("llama_3", "assistant"),
        ("thinking", "assistant"),
        (" Old  Narrator ", "old  narrator"),
        ("", ""),
        (None, ""),
    ],
)
def test_names_become_roles(name, role):
    """Other formats' names are translated in any case, and unknown names become lower case."""
    assert normalise_role(name) == role


def test_roles_are_normalised_once_and_for_all():
    """Normalising a role twice changes nothing."""
    assert {normalise_role(role) for role in ROLES.values()} == set(KNOWN_ROLES)
    assert all(name == name.lower() and normalise_role(name) in KNOWN_ROLES for name in ROLES)


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("function_call", "tool"),
        ("Tool Calls", "tool"),
        ("toolCall", "tool"),
        ("reasoning", "thinking"),
        ("Chain-of-Thought", "thinking"),
        ("assistant", "answer"),
        ("tool", "answer"),
        ("narrator", "answer"),
        (None, "answer"),
    ],
)
def test_some_names_are_those_of_calls_and_thoughts(name, channel):
    """A role for calls or thoughts sets the channel."""
    assert find_channel(name) == channel


def test_every_name_has_one_role():
    """No name has two roles, in any spelling."""
    names = [name.replace("_", "") for names in NAMES_OF_ROLE.values() for name in names]
    assert len(set(names)) == len(names)
    assert set(CALL_NAMES) | set(THINKING_NAMES) <= set(NAMES_OF_ROLE["assistant"])


def test_known_roles_are_those_of_messages():
    """The four roles of `messages` are known."""
    assert KNOWN_ROLES == ("assistant", "system", "tool", "user")


def test_unknown_roles_are_found():
    """Roles that segments never have are returned."""
    assert find_unknown_roles(["user", "gpt", "asistant", "user"]) == ["asistant", "gpt"]
    assert find_unknown_roles(KNOWN_ROLES) == []


def test_channels_are_distinct():
    """The first channel is the answer, and codes are indices."""
    assert CHANNELS[0] == "answer"
    assert len(set(CHANNELS)) == len(CHANNELS) == 3
