"""Languages: finding non-English texts by script or, in Latin script, by frequent words.

A very short text, or one with few frequent words, counts as English.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.languages import ENGLISH, LANGUAGES, LATIN, SCRIPTS, is_foreign

HEAD = 300
"""How many characters at a text's start decide its language."""

DENSE_BYTES = 1.25
"""With more UTF-8 bytes per character than this, a text's script is examined."""

SHORT_WORDS = ("the", "and", "you", "for", "are", "can", "was", "not", "has", "but")
"""Three-letter words. Nearly every English text has at least two of them, unless it is very short.
"""

SHORTEST = 40
"""The smallest length of a Latin text whose language is examined, in characters."""


def classify_rows(
    size: int, rows: np.ndarray, lengths: np.ndarray, heads: pa.LargeStringArray
) -> np.ndarray:
    """Return the language of most characters in each row, as an index into `LANGUAGES`.

    Each text has its row (0 to `size` - 1) in `rows`, its number of characters in `lengths`, and
    its beginning of at least `HEAD` characters in `heads`.
    """
    codes = rows * len(LANGUAGES) + classify_texts(heads)
    counts = np.bincount(codes, lengths, size * len(LANGUAGES))
    found: np.ndarray = counts.reshape(size, len(LANGUAGES)).argmax(axis=1)
    return found


def classify_texts(text: pa.LargeStringArray) -> np.ndarray:
    """Return each text's language, as an index into `LANGUAGES`."""
    head, lengths = text, pc.utf8_length(text).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) > HEAD:
        head, lengths = pc.utf8_slice_codeunits(text, 0, HEAD), np.minimum(lengths, HEAD)
    sizes = pc.binary_length(head).to_numpy(zero_copy_only=False)
    found = np.full(len(head), ENGLISH)
    dense = np.flatnonzero(sizes > DENSE_BYTES * lengths)
    if len(dense):
        found[dense] = _classify_scripts(head.take(pa.array(dense)), lengths[dense])
    doubtful = (found == ENGLISH) & (lengths >= SHORTEST) & (_count_short_words(head) < 2)
    for index in np.flatnonzero(doubtful).tolist():
        if is_foreign(head[index].as_py()):
            found[index] = LATIN
    return found


def _count_short_words(text: pa.LargeStringArray) -> np.ndarray:
    """Count the `SHORT_WORDS` in each text, in lower case and between spaces.

    One search over all texts' bytes is several times as fast as a pattern.
    """
    _, offsets, values = text.buffers()
    bounds = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    data = np.frombuffer(values or b"", np.uint8)[bounds[0] : bounds[-1]]
    starts = np.flatnonzero((data[:-4] == ord(" ")) & (data[4:] == ord(" ")))
    letters = [data[starts + index].astype(np.int64) for index in (1, 2, 3)]
    codes = (letters[0] << 16) + (letters[1] << 8) + letters[2]
    wanted = [int.from_bytes(word.encode()) for word in SHORT_WORDS]
    found = starts[np.isin(codes, wanted)] + bounds[0]
    return np.bincount(np.searchsorted(bounds, found, "right") - 1, minlength=len(text))


def _classify_scripts(head: pa.LargeStringArray, lengths: np.ndarray) -> np.ndarray:
    """Return the script of most letters in each text; Latin counts as English."""
    joined = "".join(head.to_pylist()).encode("utf-32-le", "surrogatepass")
    points = np.minimum(np.frombuffer(joined, np.uint32), len(SCRIPTS) - 1)
    owners = np.repeat(np.arange(len(head)), lengths)
    codes = owners * (len(LANGUAGES) + 1) + SCRIPTS[points]
    counts = np.bincount(codes, minlength=len(head) * (len(LANGUAGES) + 1))
    by_script = counts.reshape(len(head), len(LANGUAGES) + 1)[:, : len(LANGUAGES)]
    found: np.ndarray = by_script.argmax(axis=1)
    return found
