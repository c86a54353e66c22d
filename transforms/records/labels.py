"""Labels: a row as a trainer's tokens, with -100 where the student learns nothing.

The student learns the assistant's turns of a chat, or all of a plain text. It never learns a token
that overlaps a masked character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from schemas.errors import RowError
from schemas.outputs import CLEAN_EXTRA
from transforms.records.chats import Chat, ChatTurn, read_chat
from transforms.records.columns import get_value
from transforms.records.json_texts import replace_surrogates
from transforms.records.mask_bounds import trim
from transforms.records.masked_texts import find_masked_texts, mask_turn
from transforms.records.roles import KNOWN_ROLES, normalise_role
from transforms.records.tracing import Tape
from transforms.records.turn_bounds import TurnBounds

OTHER_ROLES = tuple(role for role in KNOWN_ROLES if role != "assistant")

IGNORED = -100
"""The label that torch and all trainers leave out of the loss."""


class LabelledRow(NamedTuple):
    """A row's tokens and labels.

    `places` holds the indexes of the tokens that the masks take out of the loss. `unused` counts
    the masks on text that isn't learnt or isn't rendered.
    """

    input_ids: list[int]
    labels: list[int]
    places: list[int]
    unused: int

    @property
    def learnt(self) -> int:
        """Return the number of tokens that the student learns."""
        return len(self.labels) - self.labels.count(IGNORED)

    @property
    def masked(self) -> int:
        """Return the number of tokens that would be learnt without masks."""
        return len(self.places)

    def cut(self, limit: int) -> LabelledRow:
        """Return the row with at most this many tokens."""
        places = [place for place in self.places if place < limit]
        return LabelledRow(self.input_ids[:limit], self.labels[:limit], places, self.unused)


@dataclass(frozen=True)
class Labeller:
    """Labels rows of one format with a fast transformers tokenizer.

    `columns` maps the format's columns to the rows' columns.
    """

    tokenizer: Any
    format: str
    columns: Mapping[str, str]

    def encode(self, row: Mapping[str, Any]) -> dict[str, list[int]]:
        """Return a row as a trainer's `input_ids`, `attention_mask` and `labels`.

        Raises: RowError: the row can't be rendered.
        """
        found = self.label(row)
        tokens = found.input_ids
        return {"input_ids": tokens, "attention_mask": [1] * len(tokens), "labels": found.labels}

    def label(self, row: Mapping[str, Any]) -> LabelledRow:
        """Return a row's tokens and labels.

        Raises: RowError: the chat template can't render the row, or a text's place in the rendering
        is unclear.
        """
        masks = (row.get(CLEAN_EXTRA.name) or {}).get("masks") or []
        if self.format == "text":
            return self._label_text(row, masks)
        chat = read_chat(row, self.columns)
        text = self._render_turns(chat.turns, chat)
        learnt, masked, unused = self._settle_characters(chat, text, masks)
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return _label_tokens(text, encoded, learnt, masked, unused)

    def _label_text(
        self, row: Mapping[str, Any], masks: Sequence[Mapping[str, Any]]
    ) -> LabelledRow:
        """Label a plain text, which is learnt as a whole. A missing end token is added.

        A text of another role isn't learnt.

        Raises: RowError: the column doesn't hold a text.
        """
        own = self.columns["text"]
        value = get_value(row, own) or ""
        if not isinstance(value, str):
            raise RowError(
                f"the column {own!r} holds more than one text",
                remedy="write one row for each text",
            )
        text = replace_surrogates(value)
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        masked = np.zeros(len(text), bool)
        used = [mask for mask in masks if mask["field_path"] == own]
        for mask in used:
            masked[slice(*trim(text, mask["start"], mask["end"]))] = True
        unused = len(masks) - len(used)
        role = get_value(row, self.columns["role"]) if "role" in self.columns else None
        is_learnt = not isinstance(role, str) or normalise_role(role) not in OTHER_ROLES
        found = _label_tokens(text, encoded, np.full(len(text), is_learnt), masked, unused)
        end = self.tokenizer.eos_token_id
        if not is_learnt or end is None or found.input_ids[-1:] == [end]:
            return found
        return found._replace(input_ids=[*found.input_ids, end], labels=[*found.labels, end])

    def _render(self, messages: Sequence[dict[str, Any]], chat: Chat, prompt: bool = False) -> str:
        """Render messages. With `prompt`, the result ends where the assistant begins to write.

        Raises: RowError: the template refuses the messages.
        """
        tools = {"tools": chat.tools} if chat.tools else {}
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=prompt, **tools
                )
            )
        except Exception as error:  # templates raise errors of many kinds
            raise RowError(
                f"the chat template refuses the conversation: {error}",
                remedy="correct the row or leave it out, or give a tokenizer with another template",
            ) from error

    def _settle_characters(
        self, chat: Chat, text: str, masks: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return which rendered characters are learnt, which are masked, and the unused masks."""
        learnt, masked = np.zeros(len(text), bool), np.zeros(len(text), bool)
        turns = {index: turn for index, turn in enumerate(chat.turns) if turn.is_learnt}
        bounds = TurnBounds(
            lambda some, prompt: self._render_turns(some, chat, prompt), chat.turns, text
        )
        starts = {index: bounds.find_start(index) for index in turns}
        ends = {index: bounds.find_end(index) for index in turns}
        if not masks and None not in (*starts.values(), *ends.values()):
            for index in turns:
                learnt[starts[index] : ends[index]] = True
            return learnt, masked, 0
        tape = Tape(
            {path: value for turn in turns.values() for path, value in turn.list_texts().items()}
        )
        origins = self._trace(chat, text, tape)
        found = find_masked_texts(tape, turns.values(), masks)
        places = tape.find_turns(origins, [turn.list_texts() for turn in turns.values()])
        for (index, turn), (first, last) in zip(turns.items(), places, strict=True):
            start, end = starts[index], ends[index]
            if last and end is None:
                tail = bounds.find_tail(index, lambda some: self._find_tail(some, chat, tape))
                end = last + self._measure_tail(tail, text[last:])
            if not last and None in (start, end):  # the turn is empty or isn't rendered
                continue
            inside = slice(first if start is None else start, end)
            learnt[inside] = True
            masked[inside] = mask_turn(turn, origins[inside], found)
        return learnt, masked, found.unused

    def _find_tail(self, turns: Sequence[ChatTurn], chat: Chat, tape: Tape) -> str:
        """Return the end that the template writes after the last of these turns, or an empty text.

        White space after it is left out.
        """
        try:
            until = self._render_turns(turns, chat)
            origins = self._trace(Chat(tuple(turns), chat.tools), until, tape)
        except RowError:
            return ""
        last = tape.find_turn(origins, turns[-1].list_texts())[1]
        return until[last:].rstrip() if last else ""

    def _measure_tail(self, tail: str, rest: str) -> int:
        """Return how many characters at the start of `rest` end a turn.

        They are a special token, or the end that the template writes if this turn is last.
        """
        if tail and rest.startswith(tail):
            return len(tail)
        token = self._end_token.match(rest)
        return token.end() if token else 0

    @cached_property
    def _end_token(self) -> re.Pattern[str]:
        """Return a pattern for a special token after optional white space."""
        tokens = sorted(set(self.tokenizer.all_special_tokens), key=len, reverse=True)
        return re.compile(rf"\s*(?:{'|'.join(map(re.escape, tokens))})" if tokens else r"(?!)")

    def _render_turns(self, turns: Sequence[ChatTurn], chat: Chat, prompt: bool = False) -> str:
        return self._render([turn.build_message() for turn in turns], chat, prompt)

    def _trace(self, chat: Chat, text: str, tape: Tape) -> np.ndarray:
        """Return each rendered character's index on the tape.

        Raises: RowError: the template changes the letters of the texts.
        """
        marked = [
            turn.build_message(lambda path, _: tape.marked[path])
            if turn.is_learnt
            else turn.build_message()
            for turn in chat.turns
        ]
        origins = tape.find_origins(text, self._render(marked, chat))
        if origins is None:
            raise RowError(
                "the chat template changes the letters of a message, so its masks can't be found",
                remedy="use a template that writes messages as they are",
            )
        return origins


def _label_tokens(
    text: str, encoded: Any, learnt: np.ndarray, masked: np.ndarray, unused: int
) -> LabelledRow:
    """Label the tokens that overlap a learnt character and no masked character."""
    tokens = list(encoded["input_ids"])
    spans = _widen_offsets(text, np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2))
    is_learnt, is_masked = (_find_overlaps(spans, values) for values in (learnt, masked))
    kept = (is_learnt & ~is_masked).tolist()
    labels = [token if keep else IGNORED for token, keep in zip(tokens, kept, strict=True)]
    return LabelledRow(tokens, labels, np.flatnonzero(is_learnt & is_masked).tolist(), unused)


def _widen_offsets(text: str, offsets: np.ndarray) -> np.ndarray:
    """Return each token's start and end, including spaces that no offset covers.

    Some tokenizers leave leading spaces out of the offsets, so a token of spaces has no width.
    """
    positions = np.arange(len(text) + 1)
    is_word = np.array([not character.isspace() for character in text], bool)
    words = np.maximum.accumulate(np.append(0, np.where(is_word, positions[1:], 0)))
    before = np.append(0, np.maximum.accumulate(offsets[:, 1]))[: len(offsets)]
    starts = np.maximum(words[offsets[:, 0]], before)
    return np.stack([np.minimum(starts, offsets[:, 0]), offsets[:, 1]], axis=1)


def _find_overlaps(spans: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Return which tokens overlap a character for which the array is true."""
    counts = np.append(0, np.cumsum(characters))
    overlaps: np.ndarray = counts[spans[:, 1]] > counts[spans[:, 0]]
    return overlaps
