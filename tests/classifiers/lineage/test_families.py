"""Families of teachers: how alike their manners are, and which family is the likeliest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from classifiers.lineage.families import (
    MANNER_ALONE,
    STEADY,
    compare_manner,
    rank_families,
    weigh_manner,
)

TOPICS = 12
MANNERS = np.array(
    [
        [6.0, 1.0, 2.0, 1.0],
        [6.0, 2.0, 1.0, 1.0],
        [1.0, 1.0, 2.0, 6.0],
        [1.0, 2.0, 1.0, 6.0],
    ]
)
"""How often four models use four words; the first two are alike, and so are the last two."""


def write(model: int, prompts, seed: int = 0) -> np.ndarray:
    """Return the counts of a model's answers: words of its manner, then words of the prompt."""
    dice = np.random.default_rng([seed, model])
    topics = np.zeros((len(prompts), TOPICS))
    topics[np.arange(len(prompts)), np.asarray(prompts) % TOPICS] = 8
    return np.hstack([dice.poisson(MANNERS[model], (len(prompts), 4)), dice.poisson(topics)])


def gather(parts):
    """Return the counts, the model and the prompt of all texts; a part has counts and prompts."""
    counts = csr_matrix(np.vstack([part for part, _ in parts]).astype(np.float32))
    model = np.repeat(np.arange(len(parts)), [len(prompts) for _, prompts in parts])
    return counts, model, np.concatenate([np.asarray(prompts, np.int64) for _, prompts in parts])


def build(asked: int, prompts, known=range(60), seed: int = 1):
    """Return the manner of a model's few answers among all four models, which are the reference."""
    parts = [(write(asked, prompts, seed), prompts)]
    parts += [(write(model, known), known) for model in range(4)]
    return compare_manner(*gather(parts), np.array([False, True, True, True, True]))


def test_a_model_is_most_like_itself_and_its_family():
    """Of new answers, the author comes first and its relative second."""
    for asked, relative in ((0, 1), (1, 0), (2, 3), (3, 2)):
        found = build(asked, range(20)).plain[0, 1:]
        assert np.argsort(-found).tolist()[:2] == [asked, relative]


def test_topics_count_little_where_prompts_are_shared():
    """Answers to prompts of one topic are still like their author's."""
    same = build(0, range(0, 60, TOPICS)).plain[0, 1:]
    assert same.argmax() == 0
    assert same[0] > 0.7


def test_likeness_is_symmetric_and_bounded():
    """All cosines are between -1 and 1, and a model is like itself."""
    for found in build(2, range(20)):
        assert found == pytest.approx(found.T)
        assert np.diag(found) == pytest.approx(np.ones(5))
        assert (np.abs(found) <= 1 + 1e-9).all()


def test_topics_count_less_for_steady_manner():
    """With unknown prompts on one topic, the family is found by what doesn't vary."""
    for asked, relative in ((0, 1), (1, 0), (2, 3), (3, 2)):
        prompts = range(0, 240, TOPICS)
        parts = [(write(asked, prompts, 1), [-1] * len(prompts))]
        parts += [(write(model, range(60)), range(60)) for model in range(4)]
        found = compare_manner(*gather(parts), np.array([False, True, True, True, True]))
        plain, steady = found.plain[0, 1:], found.steady[0, 1:]
        assert set(np.argsort(-steady)[:2].tolist()) == {asked, relative}
        assert steady[asked] > plain[asked]


def test_unknown_prompts_are_compared_with_what_is_usual_overall():
    """Without known prompts, and with prompts that nobody else answered, the same comes out."""
    unknown = build(3, [-1] * 24)
    counts = write(3, [-1] * 24, 1)
    known = range(60)
    parts = [(counts, range(100, 124)), *((write(model, known), known) for model in range(4))]
    foreign = compare_manner(*gather(parts), np.array([False, True, True, True, True]))
    for one, other in zip(foreign, unknown, strict=True):
        assert one == pytest.approx(other)
    assert set(np.argsort(-unknown.steady[0, 1:])[:2].tolist()) == {2, 3}


def test_no_prompt_at_all():
    """If no model's prompts are known, the overall mean is all that is usual."""
    parts = [(write(model, range(60), model), [-1] * 60) for model in range(4)]
    found = compare_manner(*gather(parts), np.ones(4, bool)).plain
    assert found[0, 1] > found[0, 2]
    assert found[2, 3] > found[1, 3]


def test_a_prompt_of_few_models_has_no_mean_of_its_own():
    """A prompt that only one of four models answered is compared with the overall mean."""
    parts = [(write(model, range(40)), range(40)) for model in range(4)]
    rare = (write(0, [40], 5), [40])
    with_rare = [(np.vstack([parts[0][0], rare[0]]), [*range(40), 40]), *parts[1:]]
    unknown = [(np.vstack([parts[0][0], rare[0]]), [*range(40), -1]), *parts[1:]]
    everyone = np.ones(4, bool)
    for one, other in zip(
        compare_manner(*gather(with_rare), everyone),
        compare_manner(*gather(unknown), everyone),
        strict=True,
    ):
        assert one == pytest.approx(other)


def test_words_that_nobody_shares_are_harmless():
    """Without a common word, nothing is alike and nothing fails."""
    counts = csr_matrix((6, 3), dtype=np.float32)
    model, prompt = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    found = compare_manner(counts, model, prompt, np.ones(3, bool))
    assert not found.plain.any()
    assert not found.steady.any()


def test_the_order_of_texts_does_not_matter():
    """Shuffled answers give the same likeness."""
    parts = [(write(model, range(30)), range(30)) for model in range(4)]
    counts, model, prompt = gather(parts)
    order = np.random.default_rng(0).permutation(len(model))
    everyone = np.ones(4, bool)
    moved = compare_manner(counts[order], model[order], prompt[order], everyone)
    for one, other in zip(moved, compare_manner(counts, model, prompt, everyone), strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_a_near_teacher_makes_its_family_likely():
    """One near teacher beats several that are less near, and probabilities add up to 1."""
    evidence = np.array([0.0, 0.0, 6.0, 2.0, 2.0, 2.0])
    found = rank_families(evidence, np.array([0, 0, 0, 1, 1, 1]), 2)
    assert found[0] > 0.9
    assert found.sum() == pytest.approx(1)


def test_large_families_have_no_advantage():
    """Families of equal teachers are equally likely, whatever their size."""
    found = rank_families(np.ones(5), np.array([0, 1, 1, 1, 1]), 2)
    assert found == pytest.approx([0.5, 0.5])


def test_teachers_without_a_family_do_not_count():
    """The nearest teacher changes nothing if it has no family."""
    family = np.array([0, 1, -1])
    found = rank_families(np.array([2.0, 1.0, 50.0]), family, 2)
    assert found == pytest.approx(rank_families(np.array([2.0, 1.0]), family[:2], 2))


@given(st.lists(st.floats(-50, 50), min_size=4, max_size=4), st.floats(-100, 100))
def test_only_differences_of_evidence_count(evidence, shift):
    """The same amount for every teacher changes no probability, and none is lost."""
    given_ = np.array(evidence)
    family = np.array([0, 0, 1, 2])
    found = rank_families(given_, family, 3)
    assert found.sum() == pytest.approx(1)
    assert rank_families(given_ + shift, family, 3) == pytest.approx(found, abs=1e-9)


def test_unknown_overlap_calls_for_steady_manner():
    """If one teacher's overlap is unknown, no overlap counts, and topics are left out."""
    plain, steady = np.array([0.5, 0.1]), np.array([0.2, 0.3])
    known = weigh_manner(plain, steady, np.array([0.1, 0.3]))
    unknown = weigh_manner(plain, steady, np.array([0.1, np.nan]))
    assert unknown == pytest.approx(MANNER_ALONE * plain + STEADY * steady)
    assert known == pytest.approx(weigh_manner(plain, 0 * steady, np.array([0.1, 0.3])))
    assert known[1] - known[0] > 0
