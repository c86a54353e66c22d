"""Sentences: a hit grows to its whole sentence."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records import sentences
from transforms.records.sentences import (
    LONGEST_SENTENCE,
    list_sentences,
    widen_hits,
    widen_to_sentences,
)


@pytest.mark.parametrize(
    ("text", "hit", "sentence"),
    [
        ("One. Two hit. Three.", "hit", "Two hit. "),
        ("hit", "hit", "hit"),
        ("One hit", "hit", "One hit"),
        ("“A hit.” Then.", "hit", "“A hit.” "),
        ("line\nhit here\nline", "hit", "hit here\n"),
        ("A! B? Hit… C", "Hit", "Hit… "),
        ("One hit. Two hit. Three.", "hit. Two hit", "One hit. Two hit. "),
        ("End. Hit.", "Hit.", "Hit."),
        ("One hit. Two.", "hit.", "One hit. "),
        (
            "Older. My data ends in Sept. 2021, in hit v1.2.3 at 2.50 a go. Newer.",
            "hit",
            "My data ends in Sept. 2021, in hit v1.2.3 at 2.50 a go. ",
        ),
        (
            "Older. Some makers, e.g. Acme or J. Smith & Co. and approx. ten more, hit it. Newer.",
            "hit",
            None,
        ),
        (
            "Older. In the U.S. Senate a hit (cf. Fig. 3) at www.example.org counts. Newer.",
            "hit",
            None,
        ),
        ("Older. “Are you a hit?” it asked... and went on. Newer.", "hit", None),
        ("Older. **A hit.** Newer.", "hit", "**A hit.** "),
        ("旧い。これは hit です。新しい。", "hit", "これは hit です。"),
        ("Dr. Hit", "Hit", "Dr. Hit"),
        ("Older.\n12. A hit. Newer.", "hit", "12. A hit. "),
        ("Older. It has 12. A hit. Newer.", "hit", "A hit. "),
        ("as of Oct.\nhit", "hit", "hit"),
    ],
)
def test_the_sentence_around_a_hit(text, hit, sentence):
    """A hit grows to its sentence, or else to the text between Older and Newer."""
    sentence = sentence or text.removeprefix("Older. ").removesuffix("Newer.")
    start, end = widen_to_sentences(text, text.index(hit), text.index(hit) + len(hit))
    assert text[start:end] == sentence


@given(st.text(alphabet='ab.!\n "A', max_size=40), st.integers(0, 39), st.integers(1, 10))
def test_the_sentence_contains_its_hit(text, start, length):
    """The sentence contains its hit and lies within the text."""
    end = min(start + length, len(text))
    if start < end:
        begin, finish = widen_to_sentences(text, start, end)
        assert 0 <= begin <= start < end <= finish <= len(text)


@pytest.mark.parametrize("run", [".", "!?", ".'", "…", "。"])
def test_a_run_of_stops_takes_little_time(run):
    """A thousand hits before a long run of stops take little time."""
    text = "delve " * 1_000 + run * 20_000 + "x"
    began = time.process_time()
    for start in range(0, 6_000, 6):
        widen_to_sentences(text, start, start + 5)
    assert time.process_time() - began < 5


def test_a_text_without_sentences_is_masked_in_little_time():
    """Thousands of hits in one endless sentence take little time."""
    text = "delve into this and so on " * 8_000
    began = time.process_time()
    spans = [widen_to_sentences(text, start, start + 5) for start in range(0, len(text), 26)]
    assert time.process_time() - began < 5
    assert spans[0] == (0, 5 + LONGEST_SENTENCE)
    assert spans[-1] == (len(text) - 26 - LONGEST_SENTENCE, len(text))


def find_plainly(text, start):
    """Return the start of a sentence, reading forwards."""
    first = max(0, start - sentences.LONGEST_SENTENCE)
    ends = [
        match.end()
        for match in sentences.STOP.finditer(text, first, min(start + 1, len(text)))
        if match.end() <= start and not sentences._is_inside_sentence(text, match)
    ]
    return ends[-1] if ends else first


@given(
    st.text(alphabet='ab.!\n "A。」)e.g', max_size=60),
    st.integers(0, 60),
    st.sampled_from([5, 17, 2_000]),
)
def test_searching_backwards_finds_the_same_start(text, start, limit):
    """Searching backwards finds the same start."""
    start = min(start, len(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "SEARCH_STEP", 3)
        patch.setattr(sentences, "LONGEST_SENTENCE", limit)
        assert widen_to_sentences(text, start, start)[0] == find_plainly(text, start)


@given(
    st.text(alphabet='ab.!\n "A。」)e.g', max_size=60),
    st.lists(st.integers(0, 60), max_size=12, unique=True),
    st.sampled_from([5, 17, 2_000]),
    st.sampled_from([0, 50]),
)
def test_hits_are_widened_together_as_each_alone(text, bounds, limit, many):
    """Hits that are widened together get the same sentences as hits that are widened one by one."""
    bounds = sorted(bound for bound in bounds if bound <= len(text))
    hits = list(zip(bounds[::2], bounds[1::2], strict=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "LONGEST_SENTENCE", limit)
        patch.setattr(sentences, "MANY_HITS", many)
        alone = [widen_to_sentences(text, *hit) for hit in hits]
        assert widen_hits(text, hits) == list(dict.fromkeys(alone))


def test_hits_of_one_sentence_are_searched_once(monkeypatch):
    """A sentence with several hits is searched once."""
    text = "One owl and two owls and an owlet. An owl."
    hits = [(index, index + 3) for index in range(len(text)) if text.startswith("owl", index)]
    searched = []
    widen = widen_to_sentences

    def count(*args):
        searched.append(args)
        return widen(*args)

    monkeypatch.setattr(sentences, "widen_to_sentences", count)
    assert widen_hits(text, hits) == [(0, 35), (35, len(text))]
    assert len(searched) == 2


@pytest.mark.parametrize("text", ["delve " * 9_000, "One delve. " * 9_000, "I delve.\n" * 9_000])
def test_many_hits_are_looked_up(monkeypatch, text):
    """The sentences of a text with many hits are found once."""
    hits = [(index, index + 5) for index in range(len(text)) if text.startswith("delve", index)]
    sample = hits[::1_000]
    alone = [widen_to_sentences(text, *hit) for hit in sample]
    searched = []
    monkeypatch.setattr(sentences, "widen_to_sentences", lambda *hit: searched.append(hit))
    together = widen_hits(text, hits)
    assert set(alone) <= set(together)
    assert len(together) == len(hits)
    assert searched == []


@pytest.mark.parametrize("word", ["can't", "I’d", "Ann's"])
def test_the_end_of_a_contraction_is_no_abbreviation(word):
    """A letter after an apostrophe isn't an abbreviation."""
    text = f"Say that {word}. Moss grows."
    assert widen_to_sentences(text, text.index("Moss"), len(text)) == (
        text.index("Moss"),
        len(text),
    )


@given(st.text(alphabet="ab .!?\n1", max_size=60))
def test_the_sentences_of_a_text_are_the_whole_text(text):
    """Sentences follow each other without gaps, and none is empty."""
    bounds = list_sentences(text)
    assert "".join(text[start:end] for start, end in bounds) == text
    assert all(start < end for start, end in bounds)


def test_sentences_are_listed_with_the_white_space_after_them():
    """Abbreviations and numbers end no sentence."""
    text = "Mr. Smith paid 1.5 dollars. Why?\n1. Because."
    bounds = list_sentences(text)
    assert [text[start:end] for start, end in bounds] == [
        "Mr. Smith paid 1.5 dollars. ",
        "Why?\n",
        "1. Because.",
    ]
