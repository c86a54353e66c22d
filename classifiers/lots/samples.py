"""A sample of two sets of texts: which prompts both answered, and which texts are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.languages import ENGLISH
from classifiers.lots.answer_languages import (
    ALONE,
    LanguageGroups,
    find_prompt_languages,
    learn_groups,
)
from classifiers.lots.strata import SINGLE, Strata, learn_strata

MATCHED_SHARE = 0.5
"""If at least this share of the first set's texts answers prompts of the second, it is matched."""

FEWEST_MATCHED = 20
"""With fewer prompts in common, the sets count as not matched."""


@dataclass(frozen=True, eq=False)
class LotSample:
    """Texts of two sets, ordered by prompt.

    `keys` are hashes of prompts and `digests` of texts, uint64 [texts]. `own` says which texts are
    of the first set, `lots` are indexes of lots, and `asks` says which texts have a prompt.
    """

    texts: pa.LargeStringArray
    prompts: pa.LargeStringArray
    keys: np.ndarray
    digests: np.ndarray
    own: np.ndarray
    lots: np.ndarray
    asks: np.ndarray

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.keys)

    @property
    def confirms(self) -> np.ndarray:
        """Return which texts are of the confirming half."""
        return is_confirming(self.keys)

    def take(self, chosen: np.ndarray) -> LotSample:
        """Return some of the texts. `chosen` is a mask or ascending indexes."""
        indexes = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        places = pa.array(indexes)
        return LotSample(
            self.texts.take(places),
            self.prompts.take(places),
            self.keys[indexes],
            self.digests[indexes],
            self.own[indexes],
            self.lots[indexes],
            self.asks[indexes],
        )

    def count_characters(self) -> np.ndarray:
        """Return the length of each text in characters."""
        return np.asarray(pc.utf8_length(self.texts).to_numpy(zero_copy_only=False), np.int64)


class LanguageDivision(NamedTuple):
    """How texts are divided into strata: by their prompts, and by languages other than English.

    The strata of prompts come first, then the groups of other languages. A single stratum of
    prompts isn't divided by the prompts' length and topic.
    """

    prompts: Strata
    languages: LanguageGroups

    @property
    def size(self) -> int:
        """Return the number of strata."""
        return self.prompts.size + self.languages.size - 1

    def assign(
        self,
        prompts: pa.LargeStringArray,
        asked: np.ndarray | None = None,
        answered: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the stratum of each text, int64.

        `asked` and `answered` are the languages of prompts and answers. Without them, every answer
        counts as one in its prompt's language.
        """
        found = self.prompts.assign(prompts)
        if self.languages.size == 1 or not len(prompts):
            return found
        asked = find_prompt_languages(prompts) if asked is None else asked
        answered = np.maximum(asked, ENGLISH) if answered is None else answered
        groups = self.languages.assign(asked, answered)
        return np.asarray(np.where(groups, self.prompts.size + groups - 1, found), np.int64)


WHOLE = LanguageDivision(SINGLE, ALONE)
"""One stratum for all texts."""


def is_confirming(keys: np.ndarray) -> np.ndarray:
    """Return whether prompts belong to the half that confirms findings.

    All texts of a prompt, of both sets, are in the same half.
    """
    return (keys & np.uint64(1)).astype(bool)


def find_common(sample: LotSample) -> np.ndarray:
    """Return which texts answer a prompt that both sets answered."""
    both = np.intersect1d(
        sample.keys[sample.own & sample.asks], sample.keys[~sample.own & sample.asks]
    )
    return np.asarray(np.isin(sample.keys, both) & sample.asks)


def is_matched(sample: LotSample) -> bool:
    """Return whether enough texts answer the same prompts to compare only those."""
    common = find_common(sample)
    prompts = len(np.unique(sample.keys[common]))
    share = common[sample.own].mean() if sample.own.any() else 0.0
    return bool(prompts >= FEWEST_MATCHED and share >= MATCHED_SHARE)


def limit_characters(sample: LotSample, most: int) -> np.ndarray:
    """Return which texts are within a number of characters of each set: whole prompts, in order."""
    lengths = sample.count_characters()
    within = np.ones(len(sample), bool)
    for own in (True, False):
        running = np.cumsum(np.where(sample.own == own, lengths, 0))
        within &= running <= most
    if within.all() or not len(sample):
        return within
    return np.asarray(sample.keys < sample.keys[np.argmin(within)])


def choose_strata(sample: LotSample) -> LanguageDivision:
    """Return strata of the prompts, or a single one if a text has no prompt."""
    if not sample.asks.all():
        return WHOLE
    _, firsts = np.unique(sample.keys, return_index=True)
    prompts = sample.prompts.take(pa.array(firsts))
    return LanguageDivision(learn_strata(prompts), learn_groups(find_prompt_languages(prompts)))
