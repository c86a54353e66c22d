"""Roles and channels: who speaks in a segment, and whether it is an answer, thinking or a call."""

from __future__ import annotations

from collections.abc import Iterable

CHANNELS = ("answer", "thinking", "tool")

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "developer": "system",
}
"""Role names of other formats, in lower case, and the role that each stands for in `messages`."""

KNOWN_ROLES = tuple(sorted(set(ROLES.values())))


def normalise_role(name: str | None) -> str:
    """Return the role of `messages` that a name stands for.

    An unknown name is returned in lower case, a missing one as an empty string.
    """
    lowered = (name or "").lower()
    return ROLES.get(lowered, lowered)


def find_unknown_roles(roles: Iterable[str]) -> list[str]:
    """Return the roles, sorted, that aren't in `KNOWN_ROLES`.

    A corpus may have roles of its own, but a name that `ROLES` translates never occurs in segments.
    """
    return sorted(set(roles) - set(KNOWN_ROLES))
