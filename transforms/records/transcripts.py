"""Transcripts: texts that hold a whole conversation, cut into turns at a template's marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from schemas.corpora import Transcripts
from transforms.records.column_types import is_text
from transforms.records.columns import find_type, take_column
from transforms.records.formats import Layout
from transforms.records.reasoning import ChannelSpan
from transforms.records.roles import find_channel, normalise_role

LONGEST_PREAMBLE = 2_000
"""The longest text before the first mark, in characters."""

LONGEST_MARK = 200

CLEAR_MAJORITY = 0.5
"""The share of transcripts above which a column is cut."""


class Turn(NamedTuple):
    """A turn of a transcript: its role, and its part of the text."""

    role: str
    part: ChannelSpan


class _TurnMark(NamedTuple):
    """The mark at a turn's start: its role and channel, and the mark's bounds."""

    role: str
    channel: str
    start: int
    end: int


TEMPLATES = {
    "chatml": r"<\|im_start\|>(?P<role>[^\n<|]{1,60})(?:\n|<\|im_sep\|>|\Z)",
    "kimi": r"<\|im_(?:user|assistant|system)\|>(?P<role>[^\n<|]{1,60})<\|im_middle\|>",
    "header": r"<\|(?:start_header_id|header_start|start_of_role)\|>(?P<role>[^\n<|]{1,60})"
    r"<\|(?:end_header_id|header_end|end_of_role)\|>",
    "gemma": r"<start_of_turn>(?P<role>\w{1,20})",
    "harmony": r"<\|start\|>(?P<role>[\w.-]{1,60})[^<]{0,99}"
    r"(?:<\|channel\|>(?P<channel>\w{1,20})[^<]{0,99}(?:<\|constrain\|>[^<]{0,20})?)?<\|message\|>",
    "turn": r"<\|turn>(?P<role>\w{1,20})",
    "bounds": r"<\|(?P<role>system|developer|user|assistant)_start\|>",
    "seed": r"<seed:bos>(?P<role>\w{1,20})(?:\n|\Z)",
    "tilde": r"\]~b\](?P<role>\w{1,20})",
    "bars": r"\[\|(?P<role>system|user|assistant|tool)\|\]",
    "slot": r"<(?:extra_id_[01]|SPECIAL_1[01])>(?P<role>System|User|Assistant|Tool|Context)\b",
    "reserved": r"<(?P<role>reserved_10[67]|用户|AI)>",
    "token": r"<[|｜](?:hy_)?(?P<role>(?i:system|user|assistant|model|human|prompter|bot|chatbot|"
    r"tool|observation))(?:_TOKEN)?[|｜]>",
    "tag": r"<(?P<role>human|bot|user|assistant|system)>:?",
    "brackets": r"(?P<role>\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS)\]|<</?SYS>>)",
    "instruction": r"###? ?(?P<role>Instructions?|Response|Input|Output|Context|System)"
    r"(?::|[ \t]*(?=\n|\Z))",
    "question": r"###? ?(?P<role>Question|Answer|Context|System)(?::|[ \t]*(?=\n|\Z))",
    "heading": r"###? ?(?P<role>(?i:human|user|assistant|system|gpt|chatgpt|ai|bot))"
    r"(?::|[ \t]*(?=\n|\Z))",
    "openchat": r"(?:GPT4 Correct|GPT4|GPT3|Code|Math Correct) (?P<role>User|Assistant|System):",
    "vicuna": r"(?<![^\s>])(?P<role>USER|ASSISTANT|SYSTEM):",
    "lines": r"\n[ \t]*\*{0,2}(?P<role>(?i:human|user|assistant|ai|bot|chatbot|gpt|system|chatgpt|"
    r"falcon))\*{0,2}:\*{0,2}",
    "letters": r"\n[ \t]*\*{0,2}(?P<role>Q|A)\*{0,2}:\*{0,2}",
    "questions": r"\n[ \t]*\*{0,2}(?P<role>Question|Answer)\*{0,2}:\*{0,2}",
    "orders": r"\n[ \t]*\*{0,2}(?P<role>Instructions?|Input|Response)\*{0,2}:\*{0,2}",
    "rounds": r"\n(?:\[Round \d+\]\s{1,9})?(?P<role>问|答)[：:]",
}
"""The pattern for the start of a turn in each family of chat templates.

The family of the first mark in a text applies. Other families' marks are text.
"""

PATTERNS = {name: re.compile(pattern) for name, pattern in TEMPLATES.items()}

FIRST_SIGN = r"(?=[<\[\]#GCMUAS]|\n[ \t*]*[HUABCGSFhuabcgsfQIR\[问答])"
"""The first character of a mark. Checking it first is several times as fast."""

FIRST_MARK = re.compile(
    rf"{FIRST_SIGN}(?:{'|'.join(TEMPLATES.values())})".replace("(?P<role>", "(?:").replace(
        "(?P<channel>", "(?:"
    )
)

LABELS = ("letters", "questions", "orders", "rounds")
"""Templates with labels such as `Q:`. Their transcripts must begin with a label.

After other text, a label may be part of an answer.
"""

WORDED = ("instruction", "question", "heading", "openchat", "vicuna", "lines", *LABELS)
"""Templates whose marks are ordinary words."""

ODD_NAMES = {
    "q": "user",
    "a": "assistant",
    "问": "user",
    "答": "assistant",
    "用户": "user",
    "reserved_106": "user",
    "reserved_107": "assistant",
}
"""The roles of names that occur only in marks."""

BRACKET_ROLES = {
    "[INST]": "user",
    "[/INST]": "assistant",
    "<<SYS>>": "system",
    "<</SYS>>": "user",
    "[SYSTEM_PROMPT]": "system",
    "[AVAILABLE_TOOLS]": "system",
    "[TOOL_RESULTS]": "tool",
    "[/TOOL_RESULTS]": "assistant",
}
"""The role after each mark in brackets. Other marks begin the user's turn."""

HEADINGS = ("input", "context", "output")
"""Names that are mere headings inside an answer."""

CONTINUATIONS = ("input", "context", "instructions")
"""Names that continue the user's turn but aren't roles."""

EDGE_TOKENS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|eom|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|START_OF_TURN_TOKEN|>",
    "<turn|>",
    "<|system_end|>",
    "<|developer_end|>",
    "<|user_end|>",
    "<|assistant_end|>",
    "<seed:eos>",
    "<seed:bos>",
    "]~!b[",
    "[e~[",
    "[|endofturn|]",
    "<eoh>",
    "<eoa>",
    "<SPECIAL_12>",
    "<extra_id_1>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<｜end▁of▁sentence｜>",
    "<｜begin▁of▁sentence｜>",
    "<BOS_TOKEN>",
    "<EOS_TOKEN>",
    "<bos>",
    "<|bos|>",
    "<eos>",
    "<s>",
    "</s>",
    "[gMASK]",
    "<sop>",
    "</human>",
    "</bot>",
    "</user>",
    "</assistant>",
    "</system>",
)
"""Template tokens that are removed from both ends of a turn's text."""


LAST_TOKENS = (*EDGE_TOKENS, "### End")

LEADING_TOKENS = re.compile(rf"(?:\s+|(?=[<\[\]])(?:{'|'.join(map(re.escape, EDGE_TOKENS))}))*")

LAST_CHARACTERS = frozenset(token[-1] for token in LAST_TOKENS)


def cut_transcript(text: str) -> list[Turn] | None:
    """Cut a transcript into turns without marks or blank turns; return None for other text.

    Text before the first mark is a system prompt. A transcript begins with a mark, or has marks of
    two roles and its first mark within `LONGEST_PREAMBLE` characters. If the marks are words, at
    least one mark must begin an assistant turn.
    """
    marks = _find_marks(text)
    if not marks:
        return None
    turns = [Turn("system", _trim_part("answer", text, 0, marks[0].start))]
    ends = [*(mark.start for mark in marks[1:]), len(text)]
    turns += [
        Turn(mark.role, _trim_part(mark.channel, text, mark.end, end))
        for mark, end in zip(marks, ends, strict=True)
    ]
    return [turn for turn in turns if turn.part.text]


def _find_marks(text: str) -> list[_TurnMark]:
    """Find the template whose mark comes first in a text, and return that template's marks."""
    padded = "\n" + text  # some marks begin only at a line's start
    first = FIRST_MARK.search(padded, 0, LONGEST_PREAMBLE + LONGEST_MARK)
    if first is None:
        return []
    fitting = (name for name in PATTERNS if PATTERNS[name].match(padded, first.start()))
    found = ((name, list(_read_marks(name, padded))) for name in fitting)
    return next((marks for name, marks in found if _is_transcript(text, name, marks)), [])


def _is_transcript(text: str, template: str, marks: list[_TurnMark]) -> bool:
    """Return whether a text's marks show that it is a transcript."""
    roles = {mark.role for mark in marks}
    if not marks or (template in WORDED and "assistant" not in roles):
        return False
    preamble = _trim_part("answer", text, 0, marks[0].start).text
    if template in LABELS and (preamble or len(roles) == 1):
        return False
    return not preamble or (len(roles) > 1 and len(preamble) <= LONGEST_PREAMBLE)


def _read_marks(template: str, padded: str) -> Iterator[_TurnMark]:
    """Yield a template's marks, with offsets in the text.

    `padded` is a line break and the text.
    """
    matches = list(PATTERNS[template].finditer(padded))
    if template == "lines":
        matches = _require_blank_lines(padded, matches)
    role = ""
    for match in matches:
        name = match["role"].strip().lower()
        if role == "assistant" and name in HEADINGS:
            continue
        role, channel = _read_name(template, name)
        if template == "harmony":
            channel = find_channel(match["channel"])
        yield _TurnMark(role, channel, max(match.start() - 1, 0), match.end() - 1)


def _require_blank_lines(padded: str, matches: list[re.Match[str]]) -> list[re.Match[str]]:
    """Drop the marks without a blank line before them, if blank lines separate the turns.

    In such a text, a name within a paragraph is part of a turn.
    """
    after_blank = [
        match
        for match in matches[1:]
        if padded[max(0, match.start() - 9) : match.start()].rstrip(" \t\r").endswith("\n")
    ]
    return [matches[0], *after_blank] if after_blank else matches


@lru_cache(1024)
def _read_name(template: str, name: str) -> tuple[str, str]:
    """Return the role and the channel that a name in a mark means."""
    if template == "brackets":
        return BRACKET_ROLES.get(name.upper(), "user"), "answer"
    if template == "harmony" and name.startswith("functions"):
        return "tool", "answer"
    if name in CONTINUATIONS:
        return "user", "answer"
    return ODD_NAMES.get(name) or normalise_role(name), find_channel(name)


def _trim_part(channel: str, text: str, start: int, end: int) -> ChannelSpan:
    """Strip white space and template tokens from both ends of a part."""
    leading = LEADING_TOKENS.match(text, start, end)
    start = leading.end() if leading else start
    while end > start:
        if text[end - 1].isspace():
            end -= 1
        elif token := _find_last_token(text, start, end):
            end -= len(token)
        else:
            break
    return ChannelSpan(channel, start, text[start:end])


def _find_last_token(text: str, start: int, end: int) -> str:
    """Return the template token at a part's end, or an empty string."""
    if text[end - 1] not in LAST_CHARACTERS:
        return ""
    return next((token for token in LAST_TOKENS if text.endswith(token, start, end)), "")


def measure_transcripts(tables: Sequence[pa.Table], layout: Layout) -> dict[str, float]:
    """Return each text column's share of transcripts."""
    return {
        name: _measure_column([take_column(table, name) for table in tables])
        for name in dict.fromkeys(own for key, own in layout.columns.items() if key != "role")
        if _is_text_column([find_type(table.schema, name) for table in tables])
    }


def _is_text_column(kinds: Sequence[pa.DataType | None]) -> bool:
    """Return whether all tables have a column, and some table has text in it."""
    return None not in kinds and any(kind is not None and is_text(kind) for kind in kinds)


def _measure_column(chunks: Iterable[pa.ChunkedArray]) -> float:
    found: list[bool] = []
    for chunk in chunks:
        with suppress(UnicodeDecodeError):  # such rows become rejects later
            texts = (text for text in chunk.to_pylist() if text and not text.isspace())
            found += [cut_transcript(text) is not None for text in texts]
    return sum(found) / len(found) if found else 0.0


def choose_columns(shares: Mapping[str, float], reading: Transcripts) -> tuple[str, ...]:
    """Return the columns to cut, given their shares of transcripts."""
    if reading == "detect":
        return tuple(name for name, share in shares.items() if share > CLEAR_MAJORITY)
    return tuple(shares) if reading == "cut" else ()
