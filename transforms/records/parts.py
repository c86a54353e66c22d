"""Message parts: which message fields are read, and the texts inside structured fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ROLE_FIELDS = ("role", "from", "sender", "speaker")

SPEAKER_TYPES = frozenset(
    (
        *("human", "ai", "system", "tool", "function", "developer"),
        *("HumanMessage", "AIMessage", "SystemMessage", "ToolMessage", "FunctionMessage"),
        *("HumanMessageChunk", "AIMessageChunk"),
    )
)
"""The message types that say who speaks, as LangChain writes them."""

SPEAKER_OF_LABEL = {True: "assistant", False: "user"}
"""The role of an Axolotl segment for each training label."""

EXCHANGE_FIELDS = {
    "system": "system",
    **dict.fromkeys(("instruction", "input", "prompt", "question", "query"), "user"),
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("output", "response", "completion", "answer"), "assistant"),
    **dict.fromkeys(("assistant", "gpt", "bot", "chatbot"), "assistant"),
}
"""The fields of an exchange (a question and its answer), with their speakers."""

CONTENTS = (
    *("content", "value", "parts", "text", "message"),
    *("answer", "response", "completion", "generation", "output", "generated_text"),
)
"""The fields of a turn's content.

Only a message's first nonempty content is read.
"""

THINKING_FIELDS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "thought",
    "thoughts",
    "reasoning_details",
    "reasoning_text",
    "thinking_blocks",
    "chain_of_thought",
    "cot",
    "rationale",
    "tool_plan",
)

REMARKS = ("refusal", "audio")
"""The fields of further content: a refusal, or an answer as speech."""

TOOL_CALLS = "tool_calls"

CHANNELS_OF_FIELDS = {
    **dict.fromkeys(THINKING_FIELDS, "thinking"),  # thinking comes before the answer
    **dict.fromkeys((*CONTENTS, *REMARKS), "answer"),
    **dict.fromkeys(("function_call", TOOL_CALLS), "tool"),
}
"""The channel of each message field, in reading order."""

INHERITED = ""
CHANNELS_OF_KEYS = {
    **dict.fromkeys(("thinking", "reasoning", "reasoning_content", "reasoningContent"), "thinking"),
    **dict.fromkeys(("thought", "reasoningText"), "thinking"),
    **dict.fromkeys(("text", "content", "value", "parts", "summary", "refusal"), INHERITED),
    **dict.fromkeys(("audio", "transcript"), INHERITED),
    **dict.fromkeys(("functionCall", "function_call", "toolUse"), "tool"),
}
"""The channel of each key of a typed part, in reading order."""

CALL_TYPES = (
    *("tool_use", "server_tool_use", "mcp_tool_use"),
    *("tool_call", "tool-call", "function_call"),
)
"""The types of parts that are whole tool calls."""

RESULT_TYPES = (
    *("tool_result", "tool-result", "tool_response", "tool_output"),
    *("function_call_output", "function_response", "function_result"),
)
"""The types of parts with a tool's result, in any role's message.

Anthropic's other types, such as `web_search_tool_result`, end with the first type here.
"""

RESULT_KEYS = (
    *("functionResponse", "function_response", "toolResult", "codeExecutionResult"),
    "code_execution_result",
)
"""The keys of a part with a tool's result."""

RESULT_CONTENTS = ("content", "output", "result", "response")
"""The keys of a tool result's content, in reading order."""

FREE_CONTENTS = RESULT_CONTENTS[1:]
"""The keys of a result that may hold any JSON value."""

THINKING_TYPES = ("thinking", "reasoning")
"""The first words of a thinking part's `type`."""

MEDIA = "audio"
"""A key whose value holds text only if it is an object. A string is a file's name or bytes."""

MAX_LEVELS = 8
"""The deepest nesting that is searched for texts. Known formats have up to five levels."""


class Part(NamedTuple):
    """A text or a tool call, with its channel and its path below the field.

    `role` says who speaks, unless that is the message's speaker.
    """

    below: str
    channel: str
    value: Any
    role: str = ""


def find_speaker_type(message: Mapping[str, Any]) -> str | None:
    """Return the speaker type of a message without a role, or None."""
    kind = message.get("type")
    if not isinstance(kind, str) or any(name in message for name in ROLE_FIELDS):
        return None
    return kind.removesuffix("Chunk") if kind in SPEAKER_TYPES else None


def split_field(name: str, value: Any) -> Iterator[Part]:
    """Yield the texts and the tool calls in a message field, in order."""
    channel = CHANNELS_OF_FIELDS[name]
    if channel == "tool":
        yield Part("", channel, value)
    elif name != MEDIA or isinstance(value, dict):
        yield from _split_value(value, "", channel, MAX_LEVELS)


def _split_value(value: Any, path: str, channel: str, levels: int) -> Iterator[Part]:
    if isinstance(value, str):
        yield Part(path, channel, value)
    elif levels and isinstance(value, list):
        for index, below in enumerate(value):
            if below is not None:
                yield from _split_value(below, f"{path}[{index}]", channel, levels - 1)
    elif levels and isinstance(value, dict):
        yield from _split_part(value, path, channel, levels - 1)


def _split_part(part: Mapping[str, Any], path: str, channel: str, levels: int) -> Iterator[Part]:
    """Yield the texts and calls of a typed part. A thinking part holds only thinking."""
    kind = part.get("type")
    kind = kind if isinstance(kind, str) else ""
    if kind in CALL_TYPES:
        yield Part(path, "tool", part)
        return
    if result := find_result(part):
        key, found = result
        yield from _split_result(found, f"{path}.{key}" if key else path, levels)
        return
    if kind.startswith(THINKING_TYPES) or part.get("thought") is True:
        channel = "thinking"
    for key, own in CHANNELS_OF_KEYS.items():
        value = part.get(key)
        if value is None or (key == MEDIA and not isinstance(value, dict)):
            continue
        if own == "tool":
            yield Part(f"{path}.{key}", own, value)
        else:
            yield from _split_value(value, f"{path}.{key}", own or channel, levels)


def find_result(part: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return the key and the value of a part's tool result, or None.

    The key is empty if the part itself is the result.
    """
    kind = part.get("type")
    if isinstance(kind, str) and (kind in RESULT_TYPES or kind.endswith(f"_{RESULT_TYPES[0]}")):
        return "", part
    found = ((key, part[key]) for key in RESULT_KEYS if isinstance(part.get(key), dict))
    return next(found, None)


def _split_result(result: Mapping[str, Any], path: str, levels: int) -> Iterator[Part]:
    """Yield a tool result's texts with the tool's role. A JSON value is one part."""
    for key in RESULT_CONTENTS:
        value, below = result.get(key), f"{path}.{key}"
        texts = [
            part._replace(role="tool") for part in _split_value(value, below, "answer", levels)
        ]
        yield from texts
        if isinstance(value, list):  # as in Bedrock's results
            for index, item in enumerate(value):
                if isinstance(item, dict) and item.get("json"):
                    yield Part(f"{below}[{index}].json", "tool", item["json"], "tool")
        if not texts and key in FREE_CONTENTS and isinstance(value, dict | list) and value:
            yield Part(below, "tool", value, "tool")
