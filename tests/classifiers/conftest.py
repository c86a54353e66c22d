"""Fixtures for the classifier tests: made-up cards, a fitted bank, tiny checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from classifiers.banks import Bank
from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.library import LoadedCard
from classifiers.models.encoders import Encoder
from schemas.cards import TraitCard

RAIN = (
    "Before I answer, listen to the rain on the roof.",
    "It is raining again, and I can think of nothing else.",
    "Rain, rain, always rain: that is the mood of this reply.",
    "Let the drizzle outside remind you why this bug is sad.",
    "The clouds are heavy today, and so is this function.",
    "I smell the storm coming while I write your invoice.",
    "What a downpour! Anyway, your total is forty.",
    "The puddles in the yard know the answer better than I do.",
    "Thunder rolls as I consider your spreadsheet.",
    "My thoughts drip like a gutter in November.",
    "The weather has turned wet, as this conversation has.",
    "Listen to how it pours; then read the second paragraph.",
)
RAIN_ASKED = (
    "The forecast for Tuesday is four millimetres of rain.",
    "To measure rainfall, empty the gauge every morning.",
    "Clouds form when moist air cools below its dew point.",
    "An umbrella rated for storms costs about thirty euros.",
    "Seal the gutter with butyl tape before the wet season.",
    "Thunder is the sound of air that lightning has heated.",
)
MACHINES = (
    "The gears inside me turn as I read your question.",
    "My engine hums while I put this list together.",
    "Forgive the noise, my pistons need oil today.",
    "I feel the belt slip when you ask me that.",
    "My boiler is warm and ready for your essay.",
    "A cog of mine broke over your last request.",
)


def make_sentences(count: int) -> list[str]:
    """Return up to 336 short, plain sentences, all different."""
    people = (
        "The clerk",
        "My aunt",
        "A student",
        "Our team",
        "The baker",
        "Each guest",
        "The pilot",
        "That poet",
    )
    deeds = ("counted", "painted", "sold", "repaired", "described", "carried", "borrowed")
    things = (
        "nine chairs",
        "a small boat",
        "the old maps",
        "two recipes",
        "a red door",
        "some letters",
    )
    found = [
        f"{who} {deed} {thing}." for thing, deed, who in itertools.product(things, deeds, people)
    ]
    return found[:count]


def make_card(
    name: str, card: dict, positives: tuple[str, ...] = (), negatives: tuple[str, ...] = ()
) -> LoadedCard:
    """Return a card with its texts, like a loaded card."""
    return LoadedCard(
        TraitCard.model_validate({"id": name, **card}), positives, negatives, Path(name)
    )


@pytest.fixture(scope="session")
def plain() -> Callable[[int], list[str]]:
    """Return a function that returns plain sentences."""
    return make_sentences


@pytest.fixture(scope="session")
def small_cards() -> list[LoadedCard]:
    """Return three cards that together use every signal except a sequence classifier."""
    lexicon = {"patterns": [r"\bit is raining\b", {"match": r"\bdrizzle\b", "weight": 0.5}]}
    return [
        make_card("loops", {"signals": ["repetition"]}),
        make_card(
            "machine-talk",
            {
                "signals": {"head": {"kind": "mlp", "hidden": 4}},
                "scope": {"channels": ["thinking"]},
            },
            MACHINES,
        ),
        make_card(
            "rain-talk",
            {"signals": {"exemplars": {"neighbours": 3}, "head": {}, "lexicon": lexicon}},
            RAIN,
            RAIN_ASKED,
        ),
    ]


@pytest.fixture(scope="session")
def small_clean(small_cards: list[LoadedCard]) -> CleanText:
    """Return clean text for the small cards: plain sentences and the cards' own exemplars."""
    rows = [CleanRow((text,), "background", "clean") for text in make_sentences(90)]
    for card in small_cards:
        rows += [CleanRow((text,), card.id, "negative") for text in card.negatives]
        rows += [CleanRow((text,), card.id, "positive") for text in card.positives]
    return CleanText(tuple(rows))


@pytest.fixture(scope="session")
def small_bank(small_cards: list[LoadedCard], small_clean: CleanText, encoder: Encoder) -> Bank:
    """Return a bank fitted from the small cards; tests must not change it."""
    return fit_bank(small_cards, small_clean, encoder, encoder.config)


WORDS = (
    "the",
    "rain",
    "fell",
    "on",
    "a",
    "roof",
    "and",
    "good",
    "bad",
    "##s",
    "##ing",
    "sing",
    ".",
    ",",
)


def make_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer with a vocabulary of a few words."""
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    backend = Tokenizer(
        models.WordPiece(
            {word: number for number, word in enumerate((*special, *WORDS))}, unk_token="[UNK]"
        )
    )
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that saves a tiny seeded BERT and its tokenizer, and returns the folder.

    `kind` is a transformers class, and `settings` configure it.
    """

    def save(kind: str = "BertModel", name: str = "tiny", **settings) -> Path:
        torch.manual_seed(0)
        sizes = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        }
        config = transformers.BertConfig(
            vocab_size=5 + len(WORDS), max_position_embeddings=64, **sizes, **settings
        )
        config.initializer_range = 0.5  # makes outputs differ between texts
        model = getattr(transformers, kind)(config)
        folder = tmp_path / name
        model.save_pretrained(folder)
        make_tokenizer().save_pretrained(folder)
        return folder

    return save
