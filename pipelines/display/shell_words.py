"""Words of a command, quoted for the shell so that they are seen as they are."""

from __future__ import annotations

import re
import shlex
import unicodedata

from pipelines.display.excerpts import HIDDEN, escape_text


def quote_word(word: str) -> str:
    """Quote a word for the shell, as bash's `$'...'` if it has hidden characters."""
    if not any(piece.added for piece in escape_text(word)):
        return shlex.quote(word)
    spelled = (
        char if unicodedata.category(char) not in HIDDEN else f"\\U{ord(char):08x}"
        for char in re.sub(r"([\\'])", r"\\\1", word)
    )
    return f"$'{''.join(spelled)}'"
