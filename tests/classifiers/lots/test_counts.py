"""Counts of candidates, their sketches and examples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.counts import EMPTY, EXAMPLES, SKETCH, CountedRows, Counts, count_texts, quote
from classifiers.lots.discovery import KINDS, propose
from classifiers.lots.matches import Finder, add_formats
from classifiers.lots.tokens import find_tokens
from tests.support.lots import build_sample, write_answers


@pytest.fixture(scope="module")
def sample():
    """Return a sample with a habit in every third text of the first set."""
    own = [
        f"{text} Mind the gap." if number % 3 == 0 else text
        for number, text in enumerate(write_answers(300, 1))
    ]
    return build_sample(own, write_answers(300, 2), lots=[number % 4 for number in range(300)])


@pytest.fixture(scope="module")
def candidates(sample):
    """Return candidates of the sample's first half."""
    learns = ~sample.confirms
    texts = sample.texts.filter(pa.array(learns))
    return add_formats(propose(find_tokens(texts), sample.own[learns]))


def describe(sample, chosen=slice(None)):
    """Return some texts of a sample as rows, with cells by length."""
    lengths = sample.count_characters() % 6
    return CountedRows(
        sample.texts[chosen],
        sample.own[chosen],
        sample.confirms[chosen],
        lengths[chosen],
        sample.lots[chosen],
        sample.digests[chosen],
    )


def test_counts_add_up(sample, candidates):
    """Halves, cells and lots have the numbers of texts that hold each candidate."""
    counts = count_texts(describe(sample), candidates, 6, 4)
    found = Finder(candidates).find(sample.texts)
    totals = np.bincount(found.candidate, minlength=len(candidates))
    assert counts.by_half.sum(axis=(1, 2)).tolist() == totals.tolist()
    assert counts.by_lot.sum(axis=1).tolist() == totals.tolist()
    assert counts.by_cell.sum(axis=2).tolist() == counts.by_half[:, 1].tolist()
    assert counts.texts_by_half.sum() == counts.texts_by_lot.sum() == len(sample)
    assert counts.texts_by_cell.sum(axis=1).tolist() == counts.texts_by_half[1].tolist()
    learned = counts.by_half[:, 0]
    phrases = candidates.kinds != KINDS.index("format")
    assert learned[phrases, 1].tolist() == candidates.own[phrases].tolist()
    assert learned[phrases, 0].tolist() == candidates.other[phrases].tolist()


def test_parts_add_up_to_the_whole(sample, candidates):
    """Counts of parts give the same sum in any order, and the same file."""
    whole = count_texts(describe(sample), candidates, 6, 4)
    cuts = [slice(0, 100), slice(100, 350), slice(350, None)]
    for order in ((0, 1, 2), (2, 0, 1)):
        total = Counts.start(len(candidates), 6, 4)
        for index in order:
            total.add(count_texts(describe(sample, cuts[index]), candidates, 6, 4))
        assert total.encode() == whole.encode()


def test_counts_are_read_as_they_were_written(sample, candidates):
    """A file of counts has everything, without pickled objects."""
    counts = count_texts(describe(sample), candidates, 6, 4)
    read = Counts.decode(counts.encode())
    assert read.encode() == counts.encode()
    assert read.examples == counts.examples
    assert read.by_cell.tolist() == counts.by_cell.tolist()


def test_sketches_are_the_smallest_digests(sample, candidates):
    """A sketch has the smallest digests of the first set's texts, each once."""
    counts = count_texts(describe(sample), candidates, 6, 4)
    found = Finder(candidates).find(sample.texts)
    own = sample.own[found.owner]
    for candidate in range(0, len(candidates), 7):
        owners = found.owner[own & (found.candidate == candidate)]
        expected = sorted(set(sample.digests[owners].tolist()))[:SKETCH]
        sketch = counts.sketches[candidate]
        assert sketch[sketch != EMPTY].tolist() == expected
    twice = Counts.decode(counts.encode())
    twice.add(counts)
    assert twice.sketches.tolist() == counts.sketches.tolist()


def test_examples_show_the_candidate_in_its_context(sample, candidates):
    """Examples are from the right set, the ones with the smallest digests, and whole."""
    counts = count_texts(describe(sample), candidates, 6, 4)
    gap = next(
        index for index, found in counts.examples[1].items() if "Mind the gap" in found[0].text
    )
    examples = counts.examples[1][gap]
    assert len(examples) == EXAMPLES
    assert sorted(examples) == examples
    texts = dict(zip(sample.digests.tolist(), sample.texts.to_pylist(), strict=True))
    for item in examples:
        assert item.before + item.text + item.after in texts[item.digest]
    assert gap not in counts.examples[0]


def test_quotes_are_short():
    """A quote has some context on each side, and none beyond the text."""
    found = quote(1, "x" * 500 + "heron" + "y" * 500, 500, 505)
    assert found.text == "heron"
    assert len(found.before) == len(found.after) == 90
    assert quote(1, "heron", 0, 5)[1:] == ("", "heron", "")


def test_no_texts_and_no_candidates(sample, candidates):
    """Counting no texts, or no candidates, changes nothing."""
    none = count_texts(describe(sample, slice(0, 0)), candidates, 6, 4)
    assert none.by_half.sum() == none.texts_by_half.sum() == 0
    empty = count_texts(describe(sample), candidates.take(np.empty(0, np.int64)), 6, 4)
    assert empty.by_half.shape == (0, 2, 2)
    assert empty.texts_by_half.sum() == len(sample)
