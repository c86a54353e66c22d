"""Tokenizers of several kinds, built from a few sentences, and chat templates."""

from __future__ import annotations

from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

SENTENCES = (
    "A heron stood in the reeds, and the heron's shadow stood with it.",
    "As an AI language model, I can't say. The answer is 42!",
    "Who are you? I am a heron. Water the herb twice a week.",
    "<think>\nLet me think about the question again.\n</think>\n\n",
)

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A template that writes messages unchanged between the same marks."""

TRIMMED = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} "
    "[/INST]{% else %} {{ message.content | trim }}</s>{% endif %}{% endfor %}"
)
"""A template that trims answers and writes nothing before them, like Mistral's."""

THINKING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% set content = message.content %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{% if message.role == 'assistant' and loop.last %}<think>\n{{ message.reasoning_content }}\n"
    "</think>\n\n{% endif %}{{ content | trim }}"
    "{% for call in message.tool_calls %}\n<tool_call>\n"
    "{{ call.function.arguments | tojson }}\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""A template that shows only the last turn's thinking, with tool calls as JSON."""

MARKS = ("<|im_start|>", "<|im_end|>", "</s>", "[INST]", "[/INST]")


def build_byte_level(trim_offsets: bool = True) -> Tokenizer:
    """Return byte-level BPE, as in GPT-2, Llama 3 and Qwen. Words begin with their space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _train(tokenizer, trainers.BpeTrainer, vocab_size=500, initial_alphabet=alphabet)


def build_byte_fallback() -> Tokenizer:
    """Return BPE as in Llama 2: spaces are letters, and unknown characters are bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    return _train(tokenizer, trainers.BpeTrainer, vocab_size=600, special=("<unk>", *bytes_))


def build_word_pieces() -> Tokenizer:
    """Return lower-case word pieces, as in BERT. White space is in no token."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _train(tokenizer, trainers.WordPieceTrainer, vocab_size=300, special=("[UNK]",))


TOKENIZERS = {
    "byte-level": build_byte_level,
    "byte-level, whole offsets": lambda: build_byte_level(trim_offsets=False),
    "byte fallback": build_byte_fallback,
    "word pieces": build_word_pieces,
}


def build_student(kind: str = "byte-level", template: str | None = CHATML) -> Any:
    """Return a transformers tokenizer with a chat template."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZERS[kind](),
        eos_token="</s>" if template == TRIMMED else "<|im_end|>",
        pad_token="</s>",
        additional_special_tokens=list(MARKS),
    )
    tokenizer.chat_template = template
    return tokenizer


def _train(tokenizer: Tokenizer, kind: Any, special: tuple[str, ...] = (), **settings: Any) -> Any:
    trainer = kind(special_tokens=[*special, *MARKS], show_progress=False, **settings)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer
