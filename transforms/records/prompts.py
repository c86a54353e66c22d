"""Prompts: the messages of a record before its last answer, for another teacher to answer."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments


def extract_prompt(segments: Segments, indices: Sequence[int]) -> list[dict[str, str]]:
    """Return the messages before the last answer of a row, without thinking and tool calls.

    `indices` are those of the row's segments. For a preference pair, the first side with an answer
    is used. A prompt that the side repeats appears once.
    """
    spoken = [index for index in indices if CHANNELS[segments.channel_codes[index]] == "answer"]
    columns = {index: segments.fields[segments.field_codes[index]].column for index in spoken}
    answers = {index for index in spoken if _get_role(segments, index) == "assistant"}
    answered = {columns[index] for index in answers}
    answering = next((name for name in segments.answer_columns if name in answered), None)
    asked = _join_messages(
        segments, (index for index in spoken if columns[index] not in segments.answer_columns)
    )
    side = [index for index in spoken if columns[index] == answering]
    before = _join_messages(segments, _cut_before_last_answer(side, answers))
    return before if before[: len(asked)] == asked else asked + before


def _get_role(segments: Segments, index: int) -> str:
    return segments.role_names[int(segments.role_codes[index])]


def _cut_before_last_answer(indices: Sequence[int], answers: Container[int]) -> Sequence[int]:
    """Return the indices before the last answer and the answers directly before that one."""
    end = len(indices)
    while end and indices[end - 1] not in answers:
        end -= 1
    while end and indices[end - 1] in answers:
        end -= 1
    return indices[:end]


def _join_messages(segments: Segments, indices: Iterable[int]) -> list[dict[str, str]]:
    """Join the segments of each message: parts of a field directly, typed parts by a new line."""
    messages: list[dict[str, str]] = []
    before = None
    for index in indices:
        field = int(segments.field_codes[index])
        message = (int(segments.messages[index]), segments.fields[field].column)
        text, role = segments.text[index].as_py(), _get_role(segments, index)
        if before and before[0] == message:
            messages[-1]["content"] += ("" if before[1] == field else "\n") + text
        else:
            messages.append({"role": role, "content": text})
        before = message, field
    return messages
