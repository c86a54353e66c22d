"""Languages: letters by script and, in Latin script, frequent words of 17 languages.

Scripts are distinguished, but not languages within a script, apart from English and other languages
in Latin script.
"""

from __future__ import annotations

import re

import numpy as np

ENGLISH = 0
LANGUAGES = (
    "English or unknown",
    "another language in Latin script",
    "Chinese or Japanese script",
    "Korean script",
    "Cyrillic script",
    "Arabic script",
    "Hebrew script",
    "Greek script",
    "Indic script",
    "Thai or Lao script",
    "another script",
)
LATIN, OTHER = 1, len(LANGUAGES) - 1

SCRIPT_RANGES = {
    2: ((0x2E80, 0x312F), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
    3: ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7FF)),
    4: ((0x0400, 0x052F),),
    5: ((0x0600, 0x077F), (0x08A0, 0x08FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFE)),
    6: ((0x0590, 0x05FF),),
    7: ((0x0370, 0x03FF), (0x1F00, 0x1FFF)),
    8: ((0x0900, 0x0DFF),),
    9: ((0x0E00, 0x0EFF),),
    OTHER: ((0x0530, 0x058F), (0x0780, 0x089F), (0x1000, 0x10FF), (0x1200, 0x1AFF)),
}
"""The code point ranges of each language, keyed by its index in `LANGUAGES`."""

FEWEST_WORDS = 3
"""A text is foreign only with at least this many frequent words of another language."""

SMALLEST_SHARE = 0.12
"""A text is foreign only if at least this share of its words is frequent in another language."""

WORD = re.compile(r"[^\W\d_]+")

ENGLISH_WORDS = frozenset(
    WORD.findall(
        "the of and to in is that it for was on are as with they be at this have from or had by "
        "but not what all were we when your can there an which their if will how you i my me do"
    )
)

FREQUENT_WORDS = tuple(
    frozenset(word for word in words.split() if len(word) > 1) - ENGLISH_WORDS
    for words in (
        "el la los las de del que y en un una por con para es se su al lo como más pero sus le",
        "le la les de des du et en un une que qui dans pour est pas par sur ce il ne je se au plus",
        "der die das und ist nicht ein eine zu den mit von dem des sich auf für im ich sie es auch",
        "o a os as de do da dos das que e em um uma para com não por se na no mais como é ao",
        "il lo la i gli le di che e un una per con non si del della è sono nel più da come ho mi",
        "de het een van en dat is niet te zijn op voor met die aan er ook als maar bij om naar ik",
        "och att det som en på är av för med den till inte om ett men har de jag kan var så vi",
        "i og det at en på er av for med den til ikke om et men har de jeg kan var så vi som der",
        "i w na nie się z do to że jest o jak po co tak za od ale przez dla są czy już być może",
        "a v na se je že s z do o to i ve k pro za by ale jako po jsou která který není tak jen",
        "ve bir bu da de için ile çok daha gibi olarak ne en o var olan kadar ben sonra değil mi",
        "yang dan di ini itu dengan untuk tidak dari dalam pada akan adalah ke saya juga anda atau",
        "và là của có không được cho một những các trong với người này để khi đã tôi cũng về",
        "și de în a la cu nu pe că este un o din care pentru sa mai ca se fi sunt dar ce le",
        "ja on ei se että en oli mutta ovat kun niin tai jos joka hän mitä voi myös kuin ole",
        "a az és nem hogy egy is ez van de meg csak már ha mint volt el azt még vagy kell ki",
    )
)
"""Frequent words of Spanish, French, German, Portuguese, Italian, Dutch, Swedish, Norwegian and
Danish, Polish, Czech, Turkish, Indonesian, Vietnamese, Romanian, Finnish and Hungarian.

Single letters are left out, since they also occur in lists and formulas.
"""

ALL_FREQUENT = frozenset[str]().union(*FREQUENT_WORDS)

FEWEST_KINDS = 3
"""A text is foreign only with at least this many different frequent words."""


def _tabulate_scripts() -> np.ndarray:
    """Return the script of each code point below 0x20000. Only letters have a script."""
    table = np.full(0x20000, len(LANGUAGES), np.uint8)  # small enough for a processor's cache
    for start, end in ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)):
        table[start : end + 1] = ENGLISH
    for language, ranges in SCRIPT_RANGES.items():
        for start, end in ranges:
            table[start : end + 1] = language
    return table


SCRIPTS = _tabulate_scripts()


def is_foreign(text: str) -> bool:
    """Return whether a Latin text has another language's frequent words."""
    words = WORD.findall(text.lower())
    known = [word for word in words if word in ALL_FREQUENT]
    if len(known) < max(FEWEST_WORDS, SMALLEST_SHARE * len(words)):
        return False
    english = sum(word in ENGLISH_WORDS for word in words)
    matches = ([word for word in known if word in frequent] for frequent in FREQUENT_WORDS)
    most = max(matches, key=len)
    needed = max(FEWEST_WORDS, SMALLEST_SHARE * len(words), 2 * english + 1)
    return len(most) >= needed and len(set(most)) >= FEWEST_KINDS
