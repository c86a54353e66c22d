"""Answers: the text of a record's last answer, and where it is, so that another can replace it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from transforms.records.columns import find_column, get_value, split_steps
from transforms.records.prompts import cut_before_last_answer
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments


class LastAnswer(NamedTuple):
    """A record's last answer: its text without thinking, and the paths of its fields.

    `path` is the field whose text is replaced, from character `start` to `end` (None: to its end).
    `others` are the answer's other fields, such as its thinking, which a replacement empties.
    """

    text: str
    path: str
    start: int
    end: int | None
    others: tuple[str, ...]


def find_answer(
    segments: Segments, indices: Sequence[int], record: Mapping[str, Any]
) -> LastAnswer | None:
    """Return a row's last answer, or None if it isn't one message of plain text.

    `indices` select the row's segments. An answer with a tool call, or of several messages, is
    None. In a preference pair, the answer is that of the first side with one. The result's fields
    are sure to hold texts of the record.
    """
    own = _select_answer(segments, indices)
    channels = [CHANNELS[segments.channel_codes[index]] for index in own]
    said = [index for index, channel in zip(own, channels, strict=True) if channel == "answer"]
    if not said or "tool" in channels or len({int(segments.messages[i]) for i in own}) > 1:
        return None
    path = segments.get_field_path(said[0])
    thought = [index for index in indices if _is_aside(segments, index)]
    paths = dict.fromkeys(segments.get_field_path(index) for index in (*own, *thought))
    texts = segments.text
    text = "".join(texts[index].as_py() for index in said).strip()
    if any(not isinstance(get_value(record, name), str) for name in paths):
        return None
    place = _find_place(segments, indices, own, path, get_value(record, path))
    others = tuple(name for name in paths if name != path)
    return None if place is None else LastAnswer(text, path, *place, others)


def _select_answer(segments: Segments, indices: Sequence[int]) -> Sequence[int]:
    """Return the indices of a row's last run of answers, including its thinking."""
    answers = {index for index in indices if _is_assistant(segments, index)}
    columns = {index: segments.fields[segments.field_codes[index]].column for index in indices}
    answered = {columns[index] for index in answers}
    answering = next((name for name in segments.answer_columns if name in answered), None)
    side = [index for index in indices if columns[index] == answering]
    after = side[len(cut_before_last_answer(side, answers)) :]
    own: list[int] = []
    for index in after:
        if index not in answers:
            break
        own.append(index)
    return own


def _is_assistant(segments: Segments, index: int) -> bool:
    return segments.role_names[int(segments.role_codes[index])] == "assistant"


def _is_aside(segments: Segments, index: int) -> bool:
    """Return whether a segment is thinking in a column of its own."""
    column = segments.fields[segments.field_codes[index]].column
    is_thinking = CHANNELS[segments.channel_codes[index]] == "thinking"
    return is_thinking and column not in segments.answer_columns


def _find_place(
    segments: Segments, indices: Sequence[int], own: Sequence[int], path: str, text: str
) -> tuple[int, int | None] | None:
    """Return which characters of a field the answer takes up, or None if it can't be told.

    A field with turns of other roles is a transcript, of which only the answer is replaced.
    """
    code = segments.field_codes[own[0]]
    others = [
        index for index in indices if index not in own and segments.field_codes[index] == code
    ]
    if all(segments.get_field_path(index) != path for index in others):
        return 0, None
    if len(own) > 1:
        return None
    start, said = int(segments.starts[own[0]]), segments.text[own[0]].as_py()
    end = start + len(said)
    return (start, end) if text[start:end] == said else None


def replace_answer(record: Mapping[str, Any], answer: LastAnswer, text: str) -> dict[str, Any]:
    """Return the columns of a record that change if another text replaces its answer."""
    changed: dict[str, Any] = {}
    old = get_value(record, answer.path)
    end = len(old) if answer.end is None else answer.end
    texts = {
        answer.path: old[: answer.start] + text + old[end:],
        **dict.fromkeys(answer.others, ""),
    }
    for path, new in texts.items():
        column = find_column(path, record) or path
        steps = split_steps(path[len(column) :]) or ()
        changed[column] = _put(changed.get(column, record[column]), steps, new)
    return changed


def _put(value: Any, steps: Sequence[str | int], text: str) -> Any:
    """Return a copy of a JSON value with a text at a path that exists."""
    if not steps:
        return text
    copy = value.copy()
    copy[steps[0]] = _put(value[steps[0]], steps[1:], text)
    return copy
