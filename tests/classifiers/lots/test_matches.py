"""Finding candidates in texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from classifiers.lots import tokens as module
from classifiers.lots.discovery import KINDS, propose
from classifiers.lots.formats import HABITS
from classifiers.lots.matches import Finder, add_formats
from classifiers.lots.tokens import find_tokens
from tests.support.lots import write_answers


def make(texts):
    """Return texts as an Arrow array."""
    return pa.array(texts, pa.large_string())


def propose_in(own, other):
    """Return the candidates of two sets and all texts."""
    texts = make(own + other)
    labels = np.array([True] * len(own) + [False] * len(other))
    return propose(find_tokens(texts), labels), texts, labels


def build_sets():
    """Return two sets, one with an opening, a phrase and a closing."""
    own = [f"Certainly! {text} Mind the gap. Anything else?" for text in write_answers(60, 1)]
    return own, write_answers(60, 2)


def test_found_candidates_are_those_that_were_counted():
    """Each candidate is found in as many texts of each set as were counted for it."""
    candidates, texts, labels = propose_in(*build_sets())
    found = Finder(candidates).find(texts)
    own = np.bincount(found.candidate[labels[found.owner]], minlength=len(candidates))
    other = np.bincount(found.candidate[~labels[found.owner]], minlength=len(candidates))
    assert own.tolist() == candidates.own.tolist()
    assert other.tolist() == candidates.other.tolist()
    kinds = {KINDS[kind] for kind in candidates.kinds.tolist()}
    assert kinds >= {"phrase", "opening", "closing", "grammar"}


def test_places_are_the_first_ones():
    """The span of a match is the candidate in the text, where it is first."""
    candidates, _, _ = propose_in(*build_sets())
    text = " Certainly! Mind the gap. Anything else? Mind the gap. Anything else?"
    found = Finder(candidates).find(make([text]))
    spans = {
        KINDS[candidates.kinds[number]]: text[start:end]
        for number, start, end in zip(
            found.candidate.tolist(), found.start.tolist(), found.end.tolist(), strict=True
        )
        if KINDS[candidates.kinds[number]] == "opening"
    }
    assert spans == {"opening": "Certainly!"}
    phrases = [
        start
        for number, start in zip(found.candidate.tolist(), found.start.tolist(), strict=True)
        if KINDS[candidates.kinds[number]] == "phrase"
    ]
    assert phrases
    assert max(phrases) < text.rindex("Mind")


def test_grammar_is_found_in_other_words():
    """Grammar is found in words that no candidate was counted in, at its span."""
    own = [f"{text} We wait, showing the bird." for text in write_answers(60, 1)]
    candidates, _, _ = propose_in(own, [f"{text} We wait." for text in write_answers(60, 2)])
    text = "Rain falls, changing the house."
    found = Finder(candidates).find(make([text]))
    spans = {
        text[start:end]
        for number, start, end in zip(
            found.candidate.tolist(), found.start.tolist(), found.end.tolist(), strict=True
        )
        if KINDS[candidates.kinds[number]] == "grammar"
    }
    assert ", changing the house." in spans


def test_each_text_counts_once():
    """A phrase that is in a text twice is one match, and matches are in the order of texts."""
    candidates, texts, _ = propose_in(*build_sets())
    found = Finder(candidates).find(texts)
    pairs = list(zip(found.owner.tolist(), found.candidate.tolist(), strict=True))
    assert pairs == sorted(set(pairs))


def test_blocks_do_not_matter(monkeypatch):
    """Texts that are read in small blocks have the same matches."""
    candidates, texts, _ = propose_in(*build_sets())
    whole = Finder(candidates).find(texts)
    monkeypatch.setattr(module, "AT_ONCE", 300)
    parts = Finder(candidates).find(texts)
    assert [values.tolist() for values in parts] == [values.tolist() for values in whole]


def test_formats_are_candidates_without_a_span():
    """Habits of formatting follow the other candidates, and are found in texts that show them."""
    candidates, _, _ = propose_in(*build_sets())
    all_of_them = add_formats(candidates)
    assert len(all_of_them) == len(candidates) + len(HABITS)
    found = Finder(all_of_them).find(make(["- a\n- b", "Plain."]))
    bullets = len(candidates) + list(HABITS).index("a bulleted list")
    assert bullets in found.candidate[found.owner == 0].tolist()
    assert bullets not in found.candidate[found.owner == 1].tolist()
    assert found.end[found.candidate == bullets].tolist() == [0]


def test_no_candidates_and_no_texts():
    """Nothing is found among no candidates, or in no texts."""
    candidates, texts, _ = propose_in(*build_sets())
    none = candidates.take(np.empty(0, np.int64))
    assert len(Finder(none).find(texts).owner) == 0
    assert len(Finder(add_formats(candidates)).find(make([])).owner) == 0
    assert len(Finder(candidates).find(make(["", " "])).owner) == 0
