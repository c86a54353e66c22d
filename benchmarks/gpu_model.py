"""A checkpoint with random weights, and a corpus for it, made where there is neither hub nor data.

The tokenizer splits words as BERT's does, with the frequent words of the library's clean texts as
its vocabulary. The corpus consists of sentences of these texts, in answers as long as real ones.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from classifiers.library import read_background

TEXT_TOKENS = (5.36, 1.18)
"""The mean and standard deviation of log(n) for answers of n tokens.

They come from the 40,223 answers in ../shared/data/teachers.
"""

SHORTEST_TEXT, LONGEST_TEXT = 3, 2_000
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MOST_WORDS = 8_000
TOKENS_PER_WORD = 1.2
"""About how many tokens a word of the corpus has, with marks."""


def build_shape(layers: int, width: int) -> transformers.BertConfig:
    """Return the configuration of a BERT with this many layers of this width."""
    return transformers.BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // (64 if width > 384 else 32),
        intermediate_size=4 * width,
    )


def draw_lengths(generator: np.random.Generator) -> Iterator[int]:
    """Yield lengths of answers in tokens, distributed like those of real answers."""
    while True:
        drawn = generator.lognormal(*TEXT_TOKENS)
        yield int(min(max(drawn, SHORTEST_TEXT), LONGEST_TEXT))


def write_checkpoint(folder: Path, shape: transformers.BertConfig) -> None:
    """Save a BERT with random weights that depend only on its shape, and its tokenizer."""
    torch.manual_seed(0)
    transformers.BertModel(shape, add_pooling_layer=False).save_pretrained(folder)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(),
        **{f"{token[1:-1].lower()}_token": token for token in SPECIAL},
    )
    wrapped.save_pretrained(folder)


def build_tokenizer() -> Tokenizer:
    """Return a tokenizer of BERT's kind for the words of the library's clean texts."""
    words = Counter(word for text in read_texts() for word in text.lower().split())
    letters = sorted({letter for word in words for letter in word})
    frequent = [word for word, _ in words.most_common(MOST_WORDS)]
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *frequent]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def read_texts() -> list[str]:
    """Return the library's clean texts."""
    return list(chain.from_iterable(read_background()))


def make_answers(count: int, longest: int = LONGEST_TEXT) -> list[str]:
    """Return answers of random sentences, of about `longest` tokens at most."""
    generator = np.random.default_rng(0)
    sentences = [f"{part.strip()}." for text in read_texts() for part in text.split(". ")]
    sizes = np.array([len(sentence.split()) for sentence in sentences])
    lengths = draw_lengths(np.random.default_rng(1))
    answers = []
    for _ in range(count):
        words = min(next(lengths), longest) / TOKENS_PER_WORD
        chosen = generator.permutation(len(sentences))[: int(words) + 1]
        kept = np.searchsorted(np.cumsum(sizes[chosen]), words)
        whole = " ".join(sentences[place] for place in chosen[: kept + 1].tolist())
        answers.append(" ".join(whole.split()[: max(1, int(words))]))
    return answers


def write_corpus(file: Path, rows: int, times: int = 1) -> None:
    """Write a corpus of chats with one answer each, and the same answers `times` times."""
    answers = make_answers(rows) * times
    lines = (
        json.dumps({"id": number, "messages": [{"role": "assistant", "content": answer}]})
        for number, answer in enumerate(answers)
    )
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
