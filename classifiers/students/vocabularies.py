"""The tokens of a tiny student: frequent words of the corpus, and bytes for everything else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from schemas.digests import digest_config

PIECE = re.compile(r" ?[^\W\d]+|\d| ?[^\w\s]|\s")
"""A word or a sign with the space before it, a digit, or white space. Every character is in one."""

END, ASKED, ANSWERED = 0, 1, 2
"""The tokens that end a text, begin a prompt, and begin an answer."""

FIRST_BYTE = 3
FIRST_WORD = FIRST_BYTE + 256

LEAST_COUNT = 2
"""How often a word must occur to become a token."""


class Tokens(NamedTuple):
    """The tokens of a text, and the span of characters that each one comes from.

    The bytes of one piece share the piece's span.
    """

    ids: list[int]
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class Vocabulary:
    """The words that are tokens, the most frequent first."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return FIRST_WORD + len(self.words)

    @cached_property
    def places(self) -> dict[str, int]:
        """Return the token of each word."""
        return {word: FIRST_WORD + index for index, word in enumerate(self.words)}

    @property
    def digest(self) -> str:
        """Return a digest of the words in their order."""
        return digest_config(list(self.words))

    def encode(self, text: str) -> Tokens:
        """Cut a text into tokens. `decode` returns the same text."""
        ids, spans = list[int](), list[tuple[int, int]]()
        for match in PIECE.finditer(text):
            found = self._encode_piece(match.group())
            ids += found
            spans += [match.span()] * len(found)
        return Tokens(ids, spans)

    def _encode_piece(self, piece: str) -> list[int]:
        known = self.places.get(piece)
        if known is not None:
            return [known]
        return [FIRST_BYTE + byte for byte in piece.encode("utf-8", "surrogatepass")]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some tokens, without special tokens.

        Bytes that aren't UTF-8, which only a student writes, become replacement characters.
        """
        data = b"".join(map(self._get_bytes, ids))
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")

    def _get_bytes(self, token: int) -> bytes:
        if token < FIRST_BYTE:
            return b""
        if token < FIRST_WORD:
            return bytes([token - FIRST_BYTE])
        return self.words[token - FIRST_WORD].encode("utf-8", "surrogatepass")


def learn_vocabulary(texts: Iterable[str], size: int) -> Vocabulary:
    """Choose the most frequent words of some texts. Equal counts are ordered by the word.

    `size` is the largest number of tokens, including the bytes and the special tokens. The order
    of the texts doesn't matter.
    """
    counts = Counter(piece for text in texts for piece in PIECE.findall(text))
    frequent = [word for word, count in counts.items() if count >= LEAST_COUNT]
    frequent.sort(key=lambda word: (-counts[word], word))
    return Vocabulary(tuple(frequent[: max(0, size - FIRST_WORD)]))
