"""Counts of candidates, their sketches and examples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.counts import (
    EMPTY,
    EXAMPLES,
    PROMPT_SHOWN,
    SKETCH,
    CountedRows,
    Counts,
    count_texts,
    quote,
)
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
    assert quote(1, "heron", 0, 5)[1:] == ("", "heron", "", "")


def test_no_texts_and_no_candidates(sample, candidates):
    """Counting no texts, or no candidates, changes nothing."""
    none = count_texts(describe(sample, slice(0, 0)), candidates, 6, 4)
    assert none.by_half.sum() == none.texts_by_half.sum() == 0
    empty = count_texts(describe(sample), candidates.take(np.empty(0, np.int64)), 6, 4)
    assert empty.by_half.shape == (0, 2, 2)
    assert empty.texts_by_half.sum() == len(sample)


def test_rare_candidates_have_sketches_of_the_second_set(sample, candidates):
    """From `first_rare` on, a sketch has the digests of the second set's texts."""
    rows, finder = describe(sample), Finder(candidates)
    rare = Counts.start(len(candidates), 6, 4, first_rare=3)
    rare.count(rows, finder)
    plain = count_texts(rows, candidates, 6, 4)
    assert rare.by_cell.tolist() == plain.by_cell.tolist()
    assert rare.sketches[:3].tolist() == plain.sketches[:3].tolist()
    found = finder.find(sample.texts)
    for candidate in range(3, len(candidates), 11):
        owners = found.owner[(found.candidate == candidate) & ~sample.own[found.owner]]
        expected = sorted(set(sample.digests[owners].tolist()))[:SKETCH]
        sketch = rare.sketches[candidate]
        assert sketch[sketch != EMPTY].tolist() == expected
    assert Counts.decode(rare.encode()).is_rare.tolist() == rare.is_rare.tolist()


def test_some_candidates_keep_their_counts(sample, candidates):
    """Taken candidates have the counts and the examples that they had, under new numbers."""
    counts = count_texts(describe(sample), candidates, 6, 4)
    places = np.array([5, 0, 7])
    taken = counts.take(places)
    assert taken.by_half.tolist() == counts.by_half[places].tolist()
    assert taken.texts_by_cell is counts.texts_by_cell
    for side in (0, 1):
        for index, place in enumerate(places.tolist()):
            assert taken.examples[side].get(index) == counts.examples[side].get(place)


def test_exchanged_counts_have_the_other_set_first(sample, candidates):
    """The first set becomes the second; twice, everything is as it was."""
    counts = count_texts(describe(sample), candidates, 6, 4)
    turned = counts.exchange()
    assert turned.by_half[:, :, 0].tolist() == counts.by_half[:, :, 1].tolist()
    assert turned.texts_by_cell[0].tolist() == counts.texts_by_cell[1].tolist()
    assert turned.examples[0] is counts.examples[1]
    back = turned.exchange()
    assert back.by_cell.tolist() == counts.by_cell.tolist()
    assert back.encode() == counts.encode()


def test_strays_are_counted_by_set(sample, candidates):
    """Texts in another language than their prompt are counted for each set, if they are known."""
    rows = describe(sample)
    assert count_texts(rows, candidates, 6, 4).strays.tolist() == [0, 0]
    strays = sample.confirms & (np.arange(len(sample)) % 5 == 0)
    counts = count_texts(rows._replace(strays=strays), candidates, 6, 4)
    assert counts.strays.tolist() == [
        int((strays & ~sample.own).sum()),
        int((strays & sample.own).sum()),
    ]
    twice = Counts.decode(counts.encode())
    twice.add(counts)
    assert twice.strays.tolist() == (2 * counts.strays).tolist()


def test_context_is_cut_between_words():
    """Context that is cut begins and ends with a blank, and holds no part of a word."""
    text = "One heron stands in the reeds of the quiet pond and waits. " * 6
    start = text.index("waits", 150)
    found = quote(1, text, start, start + 5)
    assert found.text == "waits"
    assert found.before.startswith(" ")
    assert found.after.endswith(" ")
    assert set(f"{found.before} {found.after.removeprefix('.')}".split()) <= set(text.split())
    whole = quote(1, "A heron waits here.", 8, 13)
    assert (whole.before, whole.after) == ("A heron ", " here.")


def test_examples_have_their_prompts():
    """The prompt is cut at a word, and a text without one has an empty prompt."""
    assert quote(1, "Mind the gap.", 5, 8).prompt == ""
    assert quote(1, "Mind the gap.", 5, 8, "Which train?").prompt == "Which train?"
    cut = quote(1, "Mind the gap.", 5, 8, "Which train " * 40).prompt
    assert len(cut) <= PROMPT_SHOWN
    assert cut.endswith(("Which…", "train…"))
    assert len(quote(1, "gap", 0, 3, "x" * 500).prompt) == PROMPT_SHOWN
