"""Samples: common prompts, halves, and limits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from classifiers.lots.answer_languages import find_prompt_languages, learn_groups
from classifiers.lots.samples import (
    WHOLE,
    LanguageDivision,
    choose_strata,
    find_common,
    is_confirming,
    is_matched,
    limit_characters,
)
from classifiers.lots.strata import SINGLE
from tests.support.lots import build_sample, write_answers


def test_common_prompts_are_matched():
    """Both sets' answers to the same prompts are matched, and others aren't."""
    own, other = write_answers(60, 1), write_answers(100, 2)
    sample = build_sample(own, other)
    assert is_matched(sample)
    common = find_common(sample)
    assert common[sample.own].all()
    assert common[~sample.own].sum() == 60
    assert not is_matched(build_sample(own, other, matched=False))


def test_few_common_prompts_are_not_enough():
    """Less than half of the texts, or fewer than 20 prompts, aren't matched."""
    assert not is_matched(build_sample(write_answers(100), write_answers(49)))
    assert is_matched(build_sample(write_answers(100), write_answers(50)))
    assert not is_matched(build_sample(write_answers(19), write_answers(19)))


def test_texts_without_prompts_are_never_matched():
    """Equal texts without a prompt have the same hash, and yet no prompt in common."""
    texts = write_answers(60)
    sample = build_sample(texts, texts, asks=False)
    assert not is_matched(sample)
    assert not find_common(sample).any()


def test_halves_hold_whole_prompts():
    """All answers to a prompt are in one half, and the halves are about equal."""
    sample = build_sample(write_answers(200, 1), write_answers(200, 2))
    assert 120 < sample.confirms.sum() < 280
    for half in (True, False):
        keys = set(sample.keys[sample.confirms == half].tolist())
        assert not keys & set(sample.keys[sample.confirms != half].tolist())
    assert is_confirming(np.array([2, 3], np.uint64)).tolist() == [False, True]


def test_parts_keep_their_texts():
    """A part has the chosen texts with all their fields."""
    sample = build_sample(write_answers(20, 1), write_answers(20, 2))
    part = sample.take(sample.own)
    assert len(part) == 20
    assert part.own.all()
    assert part.texts.to_pylist() == [
        text for text, own in zip(sample.texts.to_pylist(), sample.own, strict=True) if own
    ]
    assert sample.take(np.array([3, 5])).digests.tolist() == sample.digests[[3, 5]].tolist()


def test_limits_keep_whole_prompts():
    """Within a limit of characters, the first prompts are kept with all of their answers."""
    sample = build_sample(write_answers(50, 1), write_answers(50, 2))
    lengths = sample.count_characters()
    kept = limit_characters(sample, 3_000)
    part = sample.take(kept)
    assert 0 < len(part) < len(sample)
    assert part.count_characters()[part.own].sum() <= 3_000
    assert part.count_characters()[~part.own].sum() <= 3_000
    assert not set(part.keys.tolist()) & set(sample.keys[~kept].tolist())
    assert limit_characters(sample, int(lengths.sum())).all()


def test_strata_need_prompts():
    """Texts of which some have no prompt are in one stratum."""
    answers = write_answers(200)
    with_prompts = build_sample(answers, answers)
    assert choose_strata(with_prompts).size > 1
    assert choose_strata(build_sample(answers, answers, asks=False)) is WHOLE
    one, other = (choose_strata(with_prompts).prompts for _ in range(2))
    assert np.array_equal(one.edges, other.edges)


def test_prompts_in_other_languages_have_strata_of_their_own():
    """After the strata of English prompts come those by language; answers decide between them."""
    german = "Was ist das für ein Haus, und wie geht es den Leuten, die nicht darin wohnen?"
    prompts = pa.array(["What is the way that you go?"] * 3 + [german] * 6, pa.large_string())
    asked = find_prompt_languages(prompts)
    division = LanguageDivision(SINGLE, learn_groups(asked))
    assert division.size == 5
    assert division.assign(prompts).tolist() == [0] * 3 + [2] * 6
    english = np.zeros(9, np.int64)
    assert division.assign(prompts, asked, english).tolist() == [0] * 3 + [4] * 6
    assert WHOLE.size == 1
    assert WHOLE.assign(prompts).tolist() == [0] * 9
