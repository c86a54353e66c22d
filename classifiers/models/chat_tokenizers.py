"""Load a student model's tokenizer with its chat template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import constants

from classifiers.library import read_text_file
from schemas.digests import digest_bytes, digest_config
from schemas.errors import CardError, ModelError

HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def load_chat_tokenizer(name: str, revision: str | None = None, template: str | None = None) -> Any:
    """Load a fast tokenizer from a local folder or the hub.

    A chat template in the file `template` replaces the tokenizer's own.

    Raises: ModelError: the tokenizer or the template can't be read, or the tokenizer isn't a fast
    one.
    """
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            name, revision=revision or "main", use_fast=True, trust_remote_code=False
        )
    except Exception as error:  # damaged files may fail anywhere in transformers
        raise ModelError(
            f"tokenizer can't be loaded: {error}",
            where=name,
            remedy=_suggest_source(name),
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            "has no fast tokenizer, and only a fast one says which characters a token covers",
            where=name,
            remedy="add a tokenizer.json",
        )
    if template is not None:
        tokenizer.chat_template = _read_template(template)
    return tokenizer


def _suggest_source(name: str) -> str:
    """Say where a tokenizer can come from, given where it couldn't be found."""
    wanted = "name the folder or the hub id of the model that you train"
    if Path(name).is_dir():
        return f"{wanted}; a folder needs its tokenizer.json and tokenizer_config.json"
    if not HUB_ID.fullmatch(name):
        return wanted
    download = f"hf download {name} --exclude '*.safetensors'"
    if constants.HF_HUB_OFFLINE:
        return (
            "HF_HUB_OFFLINE is set, so nothing is fetched from the hub: unset it, or download the "
            f"tokenizer once where there is a network: HF_HUB_OFFLINE=0 {download}"
        )
    return f"{wanted}; without a network, download it first where there is one: {download}"


def digest_tokenizer(tokenizer: Any) -> dict[str, str]:
    """Return digests of what decides a row's tokens: the tokenizer and its chat template."""
    rules = tokenizer.backend_tokenizer.to_str().encode("utf-8", "surrogatepass")
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    return {
        "tokenizer": digest_config([digest_bytes(rules), special]),
        "chat_template": digest_config(tokenizer.chat_template),
    }


def _read_template(path: str) -> str:
    try:
        return read_text_file(Path(path))
    except CardError as error:
        raise ModelError(
            f"chat template {error.problem}",
            where=path,
            remedy="name a file that holds a Jinja template in UTF-8",
        ) from error
