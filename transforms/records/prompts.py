"""Prompts: a record's messages before its last answer, for another teacher."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import orjson

from transforms.records.columns import get_value
from transforms.records.companions import (
    PROMPT_COLUMNS,
    Companions,
    describe_companions,
    is_media,
    list_messages,
)
from transforms.records.json_texts import encode_json, replace_surrogates
from transforms.records.parts import CALL_TYPES, CONTENTS, find_result
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments

SYSTEM_COLUMNS = ("system", "system_prompt", "system_message", "developer")
"""Columns that hold a system prompt, unless the format reads them."""

ASKING_COLUMNS = ("instruction", "prompt", "question", "query", "problem", "input")
"""Columns that hold the user's words, unless the format reads them."""

TOOL_COLUMNS = ("tools", "functions", "available_tools", "tool_schemas")
"""The columns of the teacher's tools."""

FUNCTIONS = ("function", "functionCall", "function_call", "toolUse")
"""The fields of a call's function."""

ARGUMENTS = ("arguments", "input", "args", "parameters")
CALL_IDS = ("id", "call_id", "tool_call_id", "toolUseId", "toolCallId")
RESULT_IDS = ("tool_call_id", "tool_use_id", "call_id", "toolUseId", "toolCallId", "id")

RESULT_PART = re.compile(r"(?:\[\*\])?(?:\.\w+)+\[(\d+)\]\.(?!text\b)")
"""The path of a text in a call's result. Its group is the part's index."""


class Prompt(NamedTuple):
    """A prompt: its messages in chat API form, its tools, and what it lacks.

    `missing` names the columns and fields that aren't text, such as images, and `prompt` if there
    is no turn to answer.
    """

    messages: list[dict[str, Any]]
    tools: Any
    missing: list[str]

    def encode(self) -> str:
        """Return a request body as JSON."""
        tools = {"tools": self.tools} if self.tools else {}
        return encode_json({"messages": self.messages, **tools})


@dataclass
class _Turn:
    """A message: its column and index, its role, its text, and its tool calls as JSON.

    `part` is the index of the content part with a call's result, or None.
    """

    column: str
    index: int
    role: str
    part: int | None = None
    pieces: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    @cached_property
    def content(self) -> str:
        """Return the text. All pieces must have been added."""
        return "".join(self.pieces)

    def has_words_of(self, other: _Turn) -> bool:
        """Return whether another message has the same role, text and calls."""
        return all(
            getattr(self, name) == getattr(other, name) for name in ("role", "content", "calls")
        )


class _End(NamedTuple):
    """The column and index of the first message after a prompt."""

    column: str
    message: int


def extract_prompt(segments: Segments, indices: Sequence[int]) -> list[dict[str, str]]:
    """Return the role and the text of each message before a row's last answer.

    `indices` select the row's segments. Thinking is left out, and tool calls are JSON. For a
    preference pair, the first side with an answer is used, and a repeated prompt appears only once.
    """
    return [
        {"role": turn.role, "content": turn.content or "\n".join(turn.calls)}
        for turn in _select_turns(segments, indices)[0]
    ]


def describe_content(message: Mapping[str, Any]) -> str:
    """Return the text of a prompt's message, or else its tool calls as JSON."""
    return message["content"] or encode_json(message.get("tool_calls", ""))


def build_prompt(
    segments: Segments,
    indices: Sequence[int],
    record: Mapping[str, Any],
    columns: Mapping[str, str],
) -> Prompt:
    """Return a row's prompt with everything that an answer needs and text can carry.

    `record` is the whole row. `columns` maps the format's columns to the corpus's columns.
    """
    turns, end = _select_turns(segments, indices)
    missing: list[str] = []
    messages = list(_describe_turns(turns, record, missing))
    companions = describe_companions(record, columns)
    asking = set(columns.values()) - set(segments.answer_columns)
    missing += _list_unsaid(companions, columns, asking | {end.column if end else ""}, end)
    missing += _add_columns(messages, companions.columns)
    if not any(message["role"] == "user" for message in messages):
        missing.append("prompt")
    own = companions.columns
    tools = next((own[name] for name in TOOL_COLUMNS if name in own), None)
    return Prompt(messages, _parse_json(tools) if isinstance(tools, str) else tools, missing)


def _select_turns(segments: Segments, indices: Sequence[int]) -> tuple[list[_Turn], _End | None]:
    """Return the messages before the last answer, and the place of the next message."""
    spoken = [i for i in indices if CHANNELS[segments.channel_codes[i]] != "thinking"]
    columns = {index: segments.fields[segments.field_codes[index]].column for index in spoken}
    answers = {index for index in spoken if _get_role(segments, index) == "assistant"}
    answered = {columns[index] for index in answers}
    answering = next((name for name in segments.answer_columns if name in answered), None)
    asked = _join_turns(
        segments, (index for index in spoken if columns[index] not in segments.answer_columns)
    )
    side = [index for index in spoken if columns[index] == answering]
    kept = cut_before_last_answer(side, answers)
    before = _join_turns(segments, kept)
    if any(turn.role == "system" for turn in before):  # it overrides a column's prompt
        asked = [turn for turn in asked if turn.role != "system"]
    repeated = len(before) >= len(asked) and all(
        one.has_words_of(other) for one, other in zip(asked, before, strict=False)
    )
    after = side[len(kept) :]
    end = _End(columns[after[0]], int(segments.messages[after[0]])) if after else None
    return (before if repeated else asked + before), end


def _get_role(segments: Segments, index: int) -> str:
    return segments.role_names[int(segments.role_codes[index])]


def cut_before_last_answer(indices: Sequence[int], answers: Container[int]) -> Sequence[int]:
    """Return the indices before the last run of answers."""
    end = len(indices)
    while end and indices[end - 1] not in answers:
        end -= 1
    while end and indices[end - 1] in answers:
        end -= 1
    return indices[:end]


def _join_turns(segments: Segments, indices: Iterable[int]) -> list[_Turn]:
    """Join each message's segments, with a line break between fields.

    Each call's result is a turn of its own. The user's words in several columns are one message,
    because many chat templates refuse two user messages in a row.
    """
    turns: list[_Turn] = []
    before = None
    for index in indices:
        code, message = int(segments.field_codes[index]), int(segments.messages[index])
        path, text = segments.fields[code], segments.text[index].as_py()
        role = _get_role(segments, index)
        found = RESULT_PART.match(path.below) if role == "tool" else None
        part = int(found[1]) if found else None
        own = (path.column, message, role, part)
        column, speaker = (before[0], before[2]) if before else ("", "")
        asks_on = role == speaker == "user" and path.column != column
        if (before is None or before[:4] != own) and not asks_on:
            turns.append(_Turn(*own))
        turn = turns[-1]
        if CHANNELS[segments.channel_codes[index]] == "tool" and role != "tool":
            turn.calls.append(text)
        else:
            same = before == (*own, code) or not turn.pieces
            turn.pieces += [text] if same else ["\n", text]
        before = (*own, code)
    return turns


def _describe_turns(
    turns: Sequence[_Turn], record: Mapping[str, Any], missing: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield messages with their tool calls and with matching call ids."""
    columns = dict.fromkeys(turn.column for turn in turns)
    messages = {column: dict(list_messages(get_value(record, column))) for column in columns}
    waiting: dict[str, None] = {}
    numbers = count(1)
    for turn in turns:
        raw = messages[turn.column].get(turn.index, {})
        message: dict[str, Any] = {"role": turn.role, "content": turn.content}
        if isinstance(raw.get("name"), str):
            message["name"] = raw["name"]
        if turn.calls:
            calls = [_parse_call(call) for text in turn.calls for call in _split_calls(text)]
            for call in calls:
                call["id"] = call["id"] or f"call_{next(numbers)}"  # chat APIs require an id
            waiting |= dict.fromkeys(call["id"] for call in calls)
            message |= {"content": turn.content or None, "tool_calls": calls}
            if not all(call["function"]["name"] for call in calls):
                missing.append(f"{turn.column}[{turn.index}]: the name of a tool")
        if turn.role == "tool":
            name = _find_text(_get_result(raw, turn), RESULT_IDS) or next(iter(waiting), "")
            waiting.pop(name, None)
            message["tool_call_id"] = name
            if not name:
                missing.append(f"{turn.column}[{turn.index}].tool_call_id")
        yield message


def _get_result(message: Mapping[str, Any], turn: _Turn) -> Mapping[str, Any]:
    """Return the object with a tool turn's call id: a message part, or the message."""
    if turn.part is None:
        return message
    lists = (message[name] for name in CONTENTS if isinstance(message.get(name), list))
    parts: list[Any] = next(lists, [])
    part = parts[turn.part] if turn.part < len(parts) else None
    found = find_result(part) if isinstance(part, dict) else None
    return found[1] if found else {}


def _split_calls(text: str) -> list[Any]:
    """Return the calls in a segment's text. Text that isn't JSON is one call."""
    value = _parse_json(text)
    return value if isinstance(value, list) else [value]


def _parse_json(text: str) -> Any:
    try:
        return orjson.loads(replace_surrogates(text))
    except orjson.JSONDecodeError:
        return text


def _parse_call(call: Any) -> dict[str, Any]:
    """Return any provider's tool call in chat API form. A missing name becomes empty."""
    call = call if isinstance(call, dict) else {"arguments": call}
    function = next((call[name] for name in FUNCTIONS if isinstance(call.get(name), dict)), call)
    given: Any = next((function[name] for name in ARGUMENTS if function.get(name) is not None), {})
    arguments = given if isinstance(given, str) else encode_json(given)
    named = {"name": _find_text(function, ("name",)), "arguments": arguments}
    return {"id": _find_text(call, CALL_IDS), "type": "function", "function": named}


def _find_text(value: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the first text among an object's fields, or an empty string."""
    return next((value[name] for name in names if isinstance(value.get(name), str)), "")


def _list_unsaid(
    companions: Companions, columns: Mapping[str, str], prompt: Container[str], end: _End | None
) -> Iterator[str]:
    """Yield the paths of everything in the prompt that isn't text, such as images."""
    for (name, index), fields in companions.messages.items():
        column = columns[name]
        if column in prompt and (end is None or column != end.column or index < end.message):
            for item, value in fields.items():
                path = f"{column}[{index}].{item}"
                if is_media(item) or item in ("documents", "context"):
                    yield path
                elif item in CONTENTS:
                    yield from (f"{path}[{number}]" for number, part in value if not _is_said(part))


def _is_said(part: Mapping[str, Any]) -> bool:
    """Return whether a prompt can include a part: a tool call, or a result without media."""
    if result := find_result(part):
        content = result[1].get("content")
        items = content if isinstance(content, list) else []
        return all(isinstance(item, str) or {"text", "json"} & {*item} for item in items)
    return part.get("type") in CALL_TYPES or any(name in part for name in FUNCTIONS)


def _add_columns(messages: list[dict[str, Any]], found: Mapping[str, Any]) -> Iterator[str]:
    """Add a system prompt and the user's words from other columns; yield the unused columns."""
    texts = {name.lower(): str(value) for name, value in found.items() if isinstance(value, str)}
    roles = {message["role"] for message in messages}
    if "user" not in roles and (asked := [texts[name] for name in ASKING_COLUMNS if name in texts]):
        messages.append({"role": "user", "content": "\n".join(dict.fromkeys(asked))})
    if "system" not in roles and (
        system := [texts[name] for name in SYSTEM_COLUMNS if name in texts]
    ):
        messages.insert(0, {"role": "system", "content": "\n".join(dict.fromkeys(system))})
    said = "\n".join(str(message["content"]) for message in messages)
    for name, value in found.items():
        is_said = isinstance(value, str) and value.strip() in said
        if is_media(name) or (name.lower() in PROMPT_COLUMNS and not is_said):
            yield name
