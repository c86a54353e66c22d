"""TextTokens of whole texts: with and without a memory of words, and in any order."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from classifiers.models import tokens as module
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.loading import load_tokenizer
from classifiers.models.tokens import TextTokenizer, TextTokens, join_tokens, list_runs, reorder

PARTS = st.sampled_from(
    [
        *("rain", "unbelievably", "don't", "Où", "café", "e\u0301t\u00e9", "雨の日", "🌧", "İ", "ﬁ"),
        *(" ", "\n", "\t", "\r", "\x00", "\x0b", "\x7f", "\u00a0", "\u3000", "\u200d", "\ufffd"),
        *(".", ",", "[", "]", "##", "[SEP]", "[CLS", "[MASK]", "\u037e", "x" * 120, "\u0308"),
    ]
)
TEXTS = st.lists(PARTS, max_size=30).map("".join) | st.text(max_size=60)


@pytest.fixture(scope="module")
def backend():
    """Return the default encoder's tokenizer of the `tokenizers` package."""
    return load_tokenizer(find_model(DEFAULT_ENCODER)).backend


@pytest.fixture(scope="module")
def tokenizer(backend):
    """Return a tokenizer with a memory of words."""
    return TextTokenizer(backend)


def list_tokens(tokens):
    """Return the ids and spans of every text's tokens."""
    columns = zip(*(column.tolist() for column in tokens[:3]), strict=True)
    found, bounds = list(columns), tokens.bounds.tolist()
    return [found[begin:end] for begin, end in pairwise(bounds)]


def split_whole(backend, texts):
    """Return the tokens that the tokenizer gives each whole text."""
    found = [backend.encode(text, add_special_tokens=False) for text in texts]
    return [
        [(token, *span) for token, span in zip(item.ids, item.offsets, strict=True)]
        for item in found
    ]


@settings(max_examples=300)
@given(st.lists(TEXTS, max_size=5), st.sampled_from([0.3, 2.0]))
def test_tokens_are_those_of_whole_texts(tokenizer, backend, texts, unusual):
    """Remembered words give the tokens and positions of the whole text, whatever is in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_UNUSUAL", unusual)
        assert list_tokens(tokenizer.tokenise(texts)) == split_whole(backend, texts)


def test_texts_may_be_part_of_an_array(tokenizer, backend):
    """A slice of an Arrow array has the tokens of its own texts."""
    texts = ["It rains.", "Déjà vu", "", "雨の日が続く", "A [SEP] B", "The end."]
    array = pa.array(texts, pa.large_string())
    for begin, end in ((0, 6), (1, 4), (2, 3), (4, 6), (3, 3)):
        found = tokenizer.tokenise(array.slice(begin, end - begin))
        assert list_tokens(found) == split_whole(backend, texts[begin:end])


def test_batches_of_any_size_give_the_same_tokens(backend, monkeypatch):
    """Texts that several calls of the tokenizer split keep their order."""
    texts = ["雨の日が続く", "", "four " * 30, "Déjà vu", "A [SEP] B"]
    for size in (1, 4, 150, 1 << 20):
        monkeypatch.setattr(module, "CHARS_PER_CALL", size)
        assert list_tokens(TextTokenizer(backend).tokenise(texts)) == split_whole(backend, texts)


def test_special_tokens_around_a_text(tokenizer):
    """The special tokens before and after a text are known."""
    assert (tokenizer.prefix, tokenizer.suffix) == ([101], [102])


@pytest.fixture
def other():
    """Return a tokenizer of another kind, which ends texts with two special tokens."""
    vocabulary = {"<unk>": 0, "<end>": 1, "rain": 2, "Rain": 3, "s": 4}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A <end> <end>", special_tokens=[("<end>", 1)]
    )
    made.enable_truncation(3)
    made.enable_padding(length=8)
    return made


def test_a_tokenizer_of_another_kind_splits_every_text_itself(other):
    """Its tokens are those of whole texts, and settings of its own don't cut or pad them."""
    tokenizer = TextTokenizer(other)
    assert (tokenizer.prefix, tokenizer.suffix) == ([], [1, 1])
    texts = ["rain rain Rain rain", "", "sun"]
    assert list_tokens(tokenizer.tokenise(texts)) == [
        [(2, 0, 4), (2, 5, 9), (3, 10, 14), (2, 15, 19)],
        [],
        [(0, 0, 3)],
    ]
    assert tokenizer._memory is None


def test_threads_share_a_tokenizer(backend):
    """Threads that split texts at the same time each have the tokens of their own texts."""
    tokenizer = TextTokenizer(backend)
    texts = [[f"word{number} of thread{thread}" for number in range(300)] for thread in range(4)]
    found = {}
    threads = [
        threading.Thread(target=lambda own=own: found.update({own[0]: tokenizer.tokenise(own)}))
        for own in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in texts:
        assert list_tokens(found[own[0]]) == split_whole(backend, own)


def make_tokens(*counts):
    """Return tokens with as many as given for each text; ids count on."""
    bounds = np.cumsum([0, *counts])
    ids = np.arange(bounds[-1], dtype=np.int32)
    return TextTokens(ids, ids * 10, ids * 10 + 5, bounds)


def test_groups_of_texts_are_joined_in_order():
    """Joined tokens are those of one group after the other."""
    first, second = make_tokens(2, 0, 1), make_tokens(3)
    assert list_tokens(join_tokens([first, second])) == [*list_tokens(first), *list_tokens(second)]
    assert list_tokens(join_tokens([])) == []


@given(st.lists(st.integers(0, 4), max_size=6), st.data())
def test_texts_are_put_in_their_places(counts, data):
    """Each text's tokens are at the text's new place."""
    places = data.draw(st.permutations(range(len(counts))))
    tokens = make_tokens(*counts)
    found = list_tokens(reorder(tokens, np.array(places, np.int64)))
    for own, place in zip(list_tokens(tokens), places, strict=True):
        assert found[place] == own


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5))))
def test_runs_of_integers(runs):
    """Each run counts on from its first integer."""
    firsts, counts = np.array(runs, np.int64).reshape(-1, 2).T
    expected = [first + step for first, count in runs for step in range(count)]
    assert list_runs(firsts, counts).tolist() == expected
