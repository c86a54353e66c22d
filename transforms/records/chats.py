"""Chats: a row's messages for a chat template, with the field path of every text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.errors import RowError
from transforms.records.columns import get_value
from transforms.records.flags import FLAGS, is_untrained
from transforms.records.json_texts import replace_surrogates
from transforms.records.parts import CONTENTS, ROLE_FIELDS, split_field
from transforms.records.roles import normalise_role
from transforms.records.sides import LABELS

Replace = Callable[[str, str], str]
"""A function that replaces a text, given its field path and the text."""

KEPT_ROLES = ("assistant", "developer", "ipython", "system", "tool", "user")
"""The roles that chat templates know. Other names are normalised."""

NAMES = ("id", "index", "name", "role", "tool_call_id", "type", "call_id", "recipient")
"""The keys of names and ids, which aren't text to learn."""

CONTENT_REMEDY = "render and tokenise these rows in the trainer, and apply the masks to its labels"


class ChatTurn(NamedTuple):
    """A message: its texts with their field paths, and its other fields.

    `path` is the message's path. `contents` are joined by line breaks. `others` holds the remaining
    keys. `is_learnt` says whether the student learns to write the turn.
    """

    path: str
    role: str
    contents: tuple[tuple[str, str], ...]
    others: Mapping[str, Any]
    is_learnt: bool

    def list_texts(self) -> dict[str, str]:
        """Return the turn's texts, keyed by field path."""
        found: dict[str, str] = {}

        def collect(path: str, text: str) -> str:
            found[path] = text
            return text

        self.build_message(collect)
        return found

    def build_message(self, replace: Replace = lambda _, text: text) -> dict[str, Any]:
        """Build the message for a chat template, with every text replaced."""
        content = "\n".join(replace(path, text) for path, text in self.contents)
        others = {
            key: _replace_texts(value, f"{self.path}.{key}", replace)
            for key, value in self.others.items()
        }
        return {"role": self.role, "content": content, **others}


class Chat(NamedTuple):
    """A row's turns and tools."""

    turns: tuple[ChatTurn, ...]
    tools: list[Any] | None = None


def read_chat(row: Mapping[str, Any], columns: Mapping[str, str]) -> Chat:
    """Return a row as a chat.

    `columns` maps the format's columns to the row's.

    Raises: RowError: a chat template can't render the row, or the learnt answer is ambiguous.
    """
    turns: list[ChatTurn] = []
    prompts: list[tuple[str, str]] = []
    for name in ("history", "instruction", "input", "prompt", "messages", "conversations"):
        value, own = _take(row, columns, name)
        if value and name in ("instruction", "input") and isinstance(value, str):
            prompts.append((own, value))
        elif value:
            turns += _read_turns(value, own, name)
    if prompts:
        turns.append(ChatTurn("", "user", tuple(prompts), {}, is_learnt=False))
    for name in ("completion", "output"):
        value, own = _take(row, columns, name)
        if value is not None:
            turns += _read_turns(value, own, name)
    value, own = _take(row, columns, "system")
    if isinstance(value, str) and value and (not turns or turns[0].role != "system"):
        turns.insert(0, ChatTurn("", "system", ((own, value),), {}, is_learnt=False))
    if not turns:
        raise RowError("has no messages", remedy="leave the row out")
    if any(row.get(name) is False for name in LABELS):
        turns = _reject_answer(turns)
    return Chat(tuple(turns), _read_tools(row.get("tools")))


def _reject_answer(turns: Sequence[ChatTurn]) -> list[ChatTurn]:
    """Return the turns with the last answer marked as not learnt."""
    last = max((index for index, turn in enumerate(turns) if turn.role != "assistant"), default=-1)
    return [
        turn._replace(is_learnt=turn.is_learnt and index < last) for index, turn in enumerate(turns)
    ]


def _take(row: Mapping[str, Any], columns: Mapping[str, str], name: str) -> tuple[Any, str]:
    """Return the value and the name of a format's column in the row."""
    own = columns.get(name, "")
    value = get_value(row, own) if own else None
    return (replace_surrogates(value) if isinstance(value, str) else value), own


def _read_turns(value: Any, path: str, column: str) -> Iterator[ChatTurn]:
    """Yield a column's turns.

    The value is a text, a message, a list of messages, or pairs of texts.
    """
    learnt = column in ("completion", "output")
    if isinstance(value, str):
        role = "assistant" if learnt else "user"
        yield ChatTurn(path, role, ((path, value),), {}, is_learnt=learnt)
    elif isinstance(value, dict):
        yield _read_message(value, path)
    elif column != "history" and not learnt and all(isinstance(item, str) for item in value):
        yield from _read_texts_in_turn(value, path)
    elif column == "history":
        yield from _read_pairs(value, path)
    elif learnt and value and isinstance(value[0], str):
        raise RowError(
            f"the column {path!r} holds a list of texts, but a trainer learns only one",
            remedy="write one row for each answer",
        )
    else:
        for index, item in enumerate(value):
            yield _read_message(item, f"{path}[{index}]")


def _read_texts_in_turn(texts: Sequence[str], path: str) -> Iterator[ChatTurn]:
    """Yield texts as turns of the user and the assistant alternately, as in UltraChat."""
    for index, text in enumerate(texts):
        own, role = f"{path}[{index}]", ("user", "assistant")[index % 2]
        contents = ((own, replace_surrogates(text)),)
        yield ChatTurn(own, role, contents, {}, is_learnt=role == "assistant")


def _read_pairs(pairs: Any, path: str) -> Iterator[ChatTurn]:
    """Yield earlier turns from pairs of a question and an answer."""
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowError(
                f"{path}[{index}] isn't a question with its answer", remedy=CONTENT_REMEDY
            )
        for side, role in enumerate(("user", "assistant")):
            own = f"{path}[{index}][{side}]"
            text = replace_surrogates(str(pair[side] or ""))
            yield ChatTurn(own, role, ((own, text),), {}, is_learnt=role == "assistant")


def _read_message(message: Any, path: str) -> ChatTurn:
    role = _find_role(message) if isinstance(message, dict) else None
    if role is None:
        raise RowError(
            f"{path} isn't a message with a role, so a chat template can't render it",
            remedy=CONTENT_REMEDY,
        )
    filled = (name for name in CONTENTS if message.get(name) not in (None, "", []))
    content = next(filled, None)
    unread = {*ROLE_FIELDS, *CONTENTS, *FLAGS}
    others = {
        key: value for key, value in message.items() if key not in unread and value is not None
    }
    contents = tuple(_read_contents(message, content, path)) if content else ()
    learnt = normalise_role(role) == "assistant" and not is_untrained(message)
    return ChatTurn(path, role, contents, others, is_learnt=learnt)


def _find_role(message: Mapping[str, Any]) -> str | None:
    """Return a message's role as templates name it, or None.

    In a message with `value` but no `content`, `from` is the role and `role` means something else.
    """
    names: tuple[str, ...] = ROLE_FIELDS
    if message.get("value") is not None and message.get("content") is None:
        names = tuple(sorted(ROLE_FIELDS, key=lambda name: name != "from"))
    filled = (message[name] for name in names if message.get(name))
    role = next(filled, None)
    if not isinstance(role, str):
        return None
    return role if role in KEPT_ROLES else normalise_role(role)


def _read_contents(message: Mapping[str, Any], name: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a message's content.

    Raises: RowError: the content holds something other than text, such as an image.
    """
    value = message[name]
    if isinstance(value, str):
        yield f"{path}.{name}", replace_surrogates(value)
        return
    parts = list(split_field(name, value))
    count = len(value) if isinstance(value, list) else 1
    if len(parts) != count or any(
        part.channel != "answer" or not isinstance(part.value, str) for part in parts
    ):
        raise RowError(
            f"{path}.{name} holds more than text, which congener can't render",
            remedy=CONTENT_REMEDY,
        )
    for part in parts:
        yield f"{path}.{name}{part.below}", replace_surrogates(part.value)


def _replace_texts(value: Any, path: str, replace: Replace) -> Any:
    """Copy a value without nulls, and replace every text that isn't a name."""
    if isinstance(value, str):
        return replace(path, replace_surrogates(value))
    if isinstance(value, list):
        return [
            _replace_texts(item, f"{path}[{index}]", replace) for index, item in enumerate(value)
        ]
    if isinstance(value, dict):
        return {
            key: item if key in NAMES else _replace_texts(item, f"{path}.{key}", replace)
            for key, item in value.items()
            if item is not None
        }
    return value


def _read_tools(tools: Any) -> list[Any] | None:
    """Return a row's tools from a list or its JSON, or None."""
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            return None
    return tools if isinstance(tools, list) and tools else None
