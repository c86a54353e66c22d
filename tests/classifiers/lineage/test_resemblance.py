"""How much models share beyond what is usual."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from classifiers.lineage.resemblance import (
    FEWEST,
    FEWEST_SHARED,
    average_rows,
    compare_answers,
    compare_wording,
    group_by_prompt,
    measure_resemblance,
    sum_by_model,
    weigh_pairs,
)
from classifiers.lineage.tokens import tokenise
from tests.support.family import write_student, write_teacher

PROMPTS = range(120)


def arrange(*models):
    """Return texts with their models and prompts as arrays."""
    texts = [text for answers in models for _, text in answers]
    model = np.repeat(np.arange(len(models)), [len(answers) for answers in models])
    prompt = np.array([prompt for answers in models for prompt, _ in answers], np.int64)
    return tokenise(texts), model, prompt


@pytest.fixture(scope="module")
def family():
    """Return the resemblance of a student of atlas, atlas, borealis and cirrus."""
    names = ("atlas", "borealis", "cirrus")
    found = arrange(write_student("atlas", PROMPTS), *(write_teacher(n, PROMPTS) for n in names))
    return measure_resemblance(*found, np.array([False, True, True, True]))


def test_a_student_has_its_teachers_wording(family):
    """Beyond the reference, the student's words agree with its teacher's alone."""
    own, *others = family.wording[0, 1:]
    assert own > 0.8
    assert max(others) < 0


def test_resemblance_is_symmetric_and_bounded(family):
    """Both measures are symmetric, at most 1, and 1 for a model and itself."""
    for found in (family.wording, family.overlap):
        assert np.allclose(found, found.T)
        assert found.max() < 1 + 1e-6
    assert np.allclose(np.diag(family.wording), 1)
    assert (family.shared == len(PROMPTS)).all()


def test_answers_to_the_same_prompt_overlap():
    """A model that repeats another's answers overlaps with it far more than with a third."""
    copied = write_teacher("atlas", PROMPTS)
    found = arrange(copied, copied, write_teacher("borealis", PROMPTS))
    result = measure_resemblance(*found, np.array([False, True, True]))
    assert result.overlap[0, 1] > result.overlap[0, 2] + 0.5


def test_too_few_shared_prompts_are_no_evidence():
    """Models without enough common prompts have no overlap, but a wording."""
    other = [(prompt + 1_000, text) for prompt, text in write_teacher("borealis", PROMPTS)]
    few = write_teacher("cirrus", range(FEWEST_SHARED - 1))
    found = arrange(write_teacher("atlas", PROMPTS), other, few)
    result = measure_resemblance(*found, np.ones(3, bool))
    assert np.isnan(result.overlap[0, 1])
    assert np.isnan(result.overlap[0, 2])
    assert result.shared[0].tolist() == [FEWEST_SHARED - 1, 0, FEWEST_SHARED - 1]
    assert np.isfinite(result.wording).all()


def test_unknown_prompts_are_never_the_same():
    """Answers without a prompt aren't compared with each other."""
    texts, model, prompt = arrange(*(write_teacher(n, PROMPTS) for n in ("atlas", "borealis")))
    result = measure_resemblance(texts, model, np.full_like(prompt, -1), np.ones(2, bool))
    assert np.isnan(result.overlap).all()


def test_a_prompt_on_which_all_agree_says_nothing():
    """Prompts whose answers are all alike don't bring models closer that share only them."""
    same = [(prompt + 500, "yes it is") for prompt in range(200)]
    names = ("atlas", "borealis", "cirrus")
    texts = [write_teacher(name, PROMPTS) for name in names]
    plain = measure_resemblance(*arrange(*texts), np.ones(3, bool)).overlap
    more = measure_resemblance(*arrange(*(t + same for t in texts)), np.ones(3, bool)).overlap
    gaps = [found[0, 1] - found[0, 2] for found in (plain, more)]
    assert abs(gaps[1]) <= abs(gaps[0]) + 0.01


def test_what_all_reference_models_do_is_no_idiosyncrasy():
    """Words that every model uses equally often leave nothing to correlate."""
    counts = np.tile([50.0, 30.0, 20.0], (3, 1))
    assert np.allclose(compare_wording(counts, np.ones(3, bool)), 0)


def test_words_that_the_reference_hardly_uses_dont_count():
    """A word below the minimum in the reference changes nothing."""
    counts = np.array([[90.0, 30, 500], [80, 40, 0], [40, 80, FEWEST - 1]])
    usual = np.array([False, True, True])
    assert np.allclose(
        compare_wording(counts, usual)[0, 1:], compare_wording(counts * [1, 1, 0], usual)[0, 1:]
    )


def test_too_little_text_has_no_wording():
    """Without a frequent word, no two models are alike."""
    assert not compare_wording(np.ones((3, 4)), np.ones(3, bool)).any()


def test_wording_follows_the_ratio_of_frequencies():
    """Two models that exceed the reference in the same word agree; opposite ones disagree."""
    counts = np.array([[90_000.0, 10_000], [85_000, 15_000], [15_000, 85_000]])
    found = compare_wording(counts, np.array([False, True, True]))
    assert found[0, 1] == pytest.approx(1, abs=0.01)
    assert found[0, 2] == pytest.approx(-1, abs=0.01)


def test_sums_are_taken_model_by_model():
    """Each model's row is the sum of its texts."""
    counts = csr_matrix(np.array([[1.0, 0], [2, 3], [0, 5]], np.float32))
    assert sum_by_model(counts, np.array([1, 0, 1]), 2).tolist() == [[2, 3], [1, 5]]


def test_pairs_become_unit_vectors():
    """Each text's vector has length 1, rare pairs weigh more, and an empty text is zero."""
    counts = csr_matrix(np.array([[4.0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32))
    found = weigh_pairs(counts, np.array([True, True, True])).toarray()
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 0])
    assert found[0, 1] > found[0, 0]


def test_texts_are_grouped_by_prompt():
    """Unknown prompts are left out, and groups come in the order of their numbers."""
    groups = group_by_prompt(np.array([2, -1, 0, 2, 0]))
    assert [group.tolist() for group in groups] == [[2, 4], [0, 3]]
    assert group_by_prompt(np.array([-1, -1])) == []


def test_the_size_of_a_corpus_doesnt_matter():
    """Ten times as much text with the same frequencies has the same wording."""
    counts = np.array([[300.0, 500, 200], [400, 400, 200], [200, 300, 500], [400, 500, 100]])
    usual = np.array([False, True, True, True])
    larger = counts * np.array([10, 1, 3, 1])[:, None]
    assert np.allclose(compare_wording(counts, usual), compare_wording(larger, usual))


def test_of_several_answers_the_mean_counts():
    """A model that answers twice overlaps by the mean of its two answers."""
    vectors = csr_matrix(np.array([[1.0, 0], [1, 0], [0, 1], [1, 0]], np.float32))
    means = average_rows(vectors, np.array([1, 0, 0, 2]), 3).toarray()
    assert means.tolist() == [[0.5, 0.5], [1, 0], [1, 0]]
    answers = write_teacher("atlas", PROMPTS)
    other = write_teacher("borealis", PROMPTS)
    twice = measure_resemblance(*arrange(answers, answers + answers, other), np.ones(3, bool))
    once = measure_resemblance(*arrange(answers, answers, other), np.ones(3, bool))
    assert twice.overlap[0, 1] == pytest.approx(once.overlap[0, 1], abs=0.02)
    assert twice.shared[0, 1] == len(PROMPTS)


def test_prompts_of_one_reference_model_are_left_out():
    """Without two reference models that answered it, nobody knows what is usual for a prompt."""
    vectors = csr_matrix(np.eye(2, dtype=np.float32))
    arrays = np.array([0, 1]), np.array([0, 0])
    _, shared = compare_answers(vectors, *arrays, np.array([False, True]))
    assert shared.sum() == 0
