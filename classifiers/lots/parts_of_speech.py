"""The most frequent part of speech of each word, from a lexicon, in whole arrays.

A word has the same part of speech in every sentence, but for two rules. On 18,595 words of real
answers, 88 % have the part of speech (noun, verb, adjective, adverb) that a tagger of whole
sentences gives them, which itself is right for 93 % of a treebank's words. 6 % of all words aren't
in the lexicon: mostly names.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.tokens import LotTokens, find_tokens
from classifiers.signals.wording import KeySlots

LEXICON = Path(__file__).with_name("parts_of_speech.txt")

_WORDS = (
    "a about above after again against all also although am an and any are as at be because been "
    "before being below between both but by can cannot could did do does doing down during each "
    "either for from further had has have having he her here hers him his how however i if in "
    "into is it it's its itself just let's may me might more most must my neither no nor not of "
    "off on once only or other our out over own rather same shall she should since so some such "
    "than that the their them then there these they this those though through to too under until "
    "up upon very was we were what when where whether which while who whom whose why will with "
    "within without would you your yours i'm don't can't you're"
)

FUNCTION_WORDS = frozenset(_WORDS.split())
"""The words that a pattern keeps."""

MARKS = ".,:;!?()-*\"'#"
"""The marks that a pattern keeps, each where it is alone."""

MORE_MARKS = "** ## ### #### ``` --- ... / & % $ + = < > [ ] { } | — –"
"""More marks and runs of marks that grammar keeps, so that they don't look like unknown words."""

UNKNOWN, KEPT = "unknown", "KEPT"
CLASSES = (
    *(UNKNOWN, "NOUN", "NOUNS", "VERB", "VERB-s", "VERB-ed", "VERB-ing", "ADJ", "ADV", "NUMBER"),
    KEPT,
)
"""What a word can be. Words of a closed class, such as prepositions, are kept as they are."""

NOUN, VERB, NUMBER = map(CLASSES.index, ("NOUN", "VERB", "NUMBER"))

MOST_COUNTED = 2_100
"""The largest number in digits that is known as a number: about the latest year."""

BEFORE_VERBS = "to can can't cannot could don't may might must please shall should will would"
BEFORE_NOUNS = "a an any each every his its my no of our some the their these this those your"


class _Lexicon(NamedTuple):
    """Where each word's hash is, and the class of each, as an index into `CLASSES`."""

    slots: KeySlots
    classes: np.ndarray


def tag_words(tokens: LotTokens) -> np.ndarray:
    """Return the class of each token as an index into `CLASSES`, uint8 [tokens].

    A noun after `to` or a modal verb counts as a verb, and a verb after an article or the like as a
    noun: the first two of Brill's rules (1992).
    """
    lexicon = _read_lexicon()
    classes = np.zeros(len(tokens), np.uint8)
    index, which = lexicon.slots.look_up(tokens.hashes)
    classes[which] = lexicon.classes[index]
    follows = np.append(False, tokens.text[1:] == tokens.text[:-1])[: len(tokens)]
    for words, instead in ((BEFORE_VERBS, (NOUN, VERB)), (BEFORE_NOUNS, (VERB, NOUN))):
        other = np.flatnonzero((classes == instead[0]) & follows)
        changed = np.isin(tokens.hashes[other - 1], hash_words(words))
        classes[other[changed]] = instead[1]
    return classes


@cache
def hash_words(words: str) -> np.ndarray:
    """Return the hashes of words that are separated by blanks, uint64."""
    return find_tokens(pa.array([words], pa.large_string())).hashes


@cache
def _read_lexicon() -> _Lexicon:
    """Read the lexicon. Function words, marks and numbers in digits are added."""
    parts = read_sections()
    parts[KEPT] += " " + " ".join([*sorted(FUNCTION_WORDS), *MARKS, MORE_MARKS])
    parts["NUMBER"] += " " + " ".join(map(str, range(MOST_COUNTED)))
    hashes = [hash_words(words) for words in parts.values()]
    classes = [
        np.full(len(found), CLASSES.index(name), np.uint8)
        for name, found in zip(parts, hashes, strict=True)
    ]
    keys = np.concatenate(hashes)
    order = np.argsort(keys)
    return _Lexicon(KeySlots(keys[order]), np.concatenate(classes)[order])


def read_sections() -> dict[str, str]:
    """Return the words of each class, separated by blanks."""
    lines = LEXICON.read_text(encoding="utf-8").splitlines()
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for line in lines:
        if line.startswith("["):
            words = found.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            words.append(line)
    return {name: " ".join(" ".join(parts).split()) for name, parts in found.items()}
