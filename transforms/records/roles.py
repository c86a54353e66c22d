"""Roles and channels: a segment's speaker, and whether it is an answer, thinking or a call."""

from __future__ import annotations

import re
from collections.abc import Iterable

CHANNELS = ("answer", "thinking", "tool")

CALL_NAMES = (
    "function_call",
    "function_calls",
    "function_caller",
    "tool_call",
    "tool_calls",
    "tool_caller",
    "tool_use",
)
"""Names for the assistant when it calls a tool."""

THINKING_NAMES = (
    "thinking",
    "think",
    "thought",
    "thoughts",
    "reasoning",
    "reasoner",
    "chain_of_thought",
    "cot",
    "analysis",
)
"""Names for the assistant when it thinks."""

NAMES_OF_ROLE = {
    "user": (
        "human",
        "prompter",
        "user_message",
        "human_message",
        "question",
        "query",
        "instruction",
        "customer",
    ),
    "assistant": (
        *("gpt", "chatgpt", "bing", "bard", "model", "ai", "bot", "chatbot", "llm", "agent"),
        *("ai_assistant", "assistant_message", "ai_message"),
        *("answer", "response", "completion", "output"),
        *CALL_NAMES,
        *THINKING_NAMES,
    ),
    "tool": (
        *("function", "observation", "ipython", "environment"),
        *("function_response", "function_result", "function_output", "function_return"),
        *("tool_response", "tool_result", "tool_results", "tool_output", "tool_message"),
    ),
    "system": ("developer", "system_prompt", "system_message"),
}

ROLES = {name: role for role, names in NAMES_OF_ROLE.items() for name in names}
"""Lower-case role names of other formats, and their `messages` roles."""

KNOWN_ROLES = tuple(sorted(NAMES_OF_ROLE))

MODELS = (
    *("gpt", "chatgpt", "claude", "gemini", "gemma", "llama", "mistral", "mixtral"),
    *("qwen", "deepseek", "grok", "vicuna", "falcon"),
)
"""Model names that some corpora use for the assistant, usually with a version (`gpt-4`)."""

JOINTS = re.compile(r"[\W_]+")


def _squash(name: str) -> str:
    """Return a name's letters and digits in lower case."""
    return JOINTS.sub("", name.lower())


SQUASHED_ROLES = {_squash(name): role for name, role in ROLES.items()} | {
    role: role for role in KNOWN_ROLES
}
CHANNEL_OF_NAME = {
    **dict.fromkeys(map(_squash, CALL_NAMES), "tool"),
    **dict.fromkeys(map(_squash, THINKING_NAMES), "thinking"),
}


def normalise_role(name: str | None) -> str:
    """Return the `messages` role that a name means.

    Case, white space and punctuation are ignored. An unknown name becomes lower case, and a missing
    name an empty string.
    """
    squashed = _squash(name or "")
    role = "assistant" if squashed.startswith(MODELS) else (name or "").strip().lower()
    return SQUASHED_ROLES.get(squashed, role)


def find_channel(name: str | None) -> str:
    """Return the channel of a message's content, given its role."""
    return CHANNEL_OF_NAME.get(_squash(name or ""), "answer")


def find_unknown_roles(roles: Iterable[str]) -> list[str]:
    """Return the roles that aren't in `KNOWN_ROLES`, sorted.

    Segments never have a role name that `ROLES` translates.
    """
    return sorted(set(roles) - set(KNOWN_ROLES))
