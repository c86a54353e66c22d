"""Answered prompts: a record's prompt as one text, its last answer, and spans of that answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from transforms.records.formats import Layout
from transforms.records.prompts import extract_prompt
from transforms.records.questions import extract_record_segments


class AnsweredPrompt(NamedTuple):
    """A prompt and its answer. The spans are characters of the answer.

    `turns` counts the user's messages in the prompt.
    """

    prompt: str
    answer: str
    spans: tuple[tuple[int, int], ...]
    turns: int = 1


def read_answered_prompt(
    record: Mapping[str, Any], layout: Layout, spans: Iterable[Mapping[str, Any]] = ()
) -> AnsweredPrompt | None:
    """Return a record's prompt and its last answer, or None if it lacks one of them.

    `spans` are stretches of the record's fields, of which those in the answer are returned.
    Thinking and tool calls aren't part of the answer.
    """
    segments = extract_record_segments(record, layout)
    pairs = enumerate(zip(segments.roles, segments.channels, strict=True))
    own = [index for index, pair in pairs if pair == ("assistant", "answer")]
    messages = extract_prompt(segments, range(len(segments)))
    turns = sum(message["role"] == "user" for message in messages)
    if not own or not turns:
        return None
    last = own[-1]
    answer, path = segments.texts[last], segments.get_field_path(last)
    found = _locate(spans, path, int(segments.starts[last]), len(answer))
    return AnsweredPrompt(join_messages(messages), answer, tuple(found), turns)


def _locate(
    spans: Iterable[Mapping[str, Any]], path: str, start: int, length: int
) -> Iterator[tuple[int, int]]:
    """Yield the parts of spans that are in an answer, which begins at `start` of its field."""
    for span in spans:
        begin, end = max(0, span["start"] - start), min(length, span["end"] - start)
        if span["field_path"] == path and begin < end:
            yield begin, end


def join_messages(messages: Sequence[Mapping[str, str]]) -> str:
    """Return a prompt as one text. A single message stays as it is; others are named by role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{item['role']}: {item['content']}" for item in messages)
