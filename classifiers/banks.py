"""The trait bank: everything that scoring needs, content-addressed, checked against its digests before any of it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.signals.exemplars import build_index, index_bytes, index_from_bytes
from classifiers.signals.heads import Head
from schemas.cards import TraitCard
from schemas.digests import canonical_json, config_digest, sha256_hex
from schemas.errors import InputError, ModelError
from schemas.problems import problems

BANK_FORMAT = 1
INDEX_FILE = "bank.json"


@dataclass
class TraitModel:
    """One fitted trait.

    `positives` and `negatives` are the exemplar texts behind the index rows; `scale` turns a contrast into a logit;
    `calibration` holds, for each signal and `combined`, the scores of held-out clean texts.
    """

    card: TraitCard
    card_digest: str
    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    positive_index: Any = None
    negative_index: Any = None
    scale: tuple[float, float] = (1.0, 0.0)
    head: Head | None = None
    calibration: dict[str, np.ndarray] = field(default_factory=dict)
    calibrated_on: str = ""


@dataclass
class Bank:
    """Fitted traits by id, the identity of the encoder they were fitted with (None without one), and the bank's digest."""

    traits: dict[str, TraitModel]
    encoder: dict[str, Any] | None
    background: dict[str, Any]
    digest: str = ""

    def require_encoder(self, identity: Mapping[str, Any]) -> None:
        """Refuse an encoder that isn't the one the bank was fitted with.

        Raises: ModelError: They differ; the message names the first field that does.
        """
        for name, fitted in (self.encoder or {}).items():
            if identity.get(name) != fitted:
                raise ModelError(
                    f"bank was fitted with {name} {fitted!r}, loaded is {identity.get(name)!r}",
                    remedy="fit the bank anew, or name its encoder with --encoder",
                )


def bank_files(bank: Bank) -> dict[str, bytes]:
    """Return the bank's files by name; equal banks have equal bytes. Sets `bank.digest`."""
    files: dict[str, bytes] = {}
    traits = {name: _trait_files(name, trait, files) for name, trait in sorted(bank.traits.items())}
    description = {
        "format": BANK_FORMAT,
        "encoder": bank.encoder,
        "background": bank.background,
        "traits": traits,
        "files": {name: sha256_hex(data) for name, data in sorted(files.items())},
    }
    bank.digest = config_digest(description)
    files[INDEX_FILE] = (
        json.dumps(
            {"digest": bank.digest, **description}, indent=1, sort_keys=True, ensure_ascii=False
        ).encode()
        + b"\n"
    )
    return files


def _trait_files(name: str, trait: TraitModel, files: dict[str, bytes]) -> dict[str, Any]:
    for polarity, index in (("positive", trait.positive_index), ("negative", trait.negative_index)):
        if index is not None:
            files[f"{name}/{polarity}.faiss"] = index_bytes(index)
    files[f"{name}/texts.json"] = canonical_json(
        {"positives": trait.positives, "negatives": trait.negatives}
    )
    tensors = {
        f"calibration/{signal}": scores for signal, scores in sorted(trait.calibration.items())
    }
    for place, (weight, bias) in enumerate(trait.head.layers if trait.head else ()):
        tensors |= {
            f"head/{place}/weight": np.ascontiguousarray(weight),
            f"head/{place}/bias": np.ascontiguousarray(bias),
        }
    files[f"{name}/tensors.safetensors"] = save_tensors(tensors)
    return {
        "card": trait.card.model_dump(mode="json", exclude_none=True),
        "card_digest": trait.card_digest,
        "scale": trait.scale,
        "head_strength": trait.head.strength if trait.head else None,
        "calibrated_on": trait.calibrated_on,
    }


def read_bank(read: Callable[[str], bytes], where: str) -> Bank:
    """Read a bank through `read(name) -> bytes`, each file checked against its digest first.

    Raises: ModelError: A file is missing, altered, or of another format.
    """
    try:
        description = dict(json.loads(read(INDEX_FILE)))
        digest, known = description.pop("digest"), description["files"]
        altered = config_digest(description) != digest
        if description["format"] != BANK_FORMAT:
            raise ModelError(
                f"bank has format {description['format']}, this version reads {BANK_FORMAT}",
                where=where,
                remedy="fit it anew",
            )
    except (OSError, InputError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"is no trait bank: {_said(error)}",
            where=where,
            remedy="congener fit --traits DIR --output BANK makes one",
        ) from error
    if altered:
        raise ModelError(
            f"{INDEX_FILE} doesn't match its digest",
            where=where,
            remedy="fit it anew: it was altered",
        )

    def checked(name: str) -> bytes:
        try:
            data = read(name)
        except (OSError, InputError) as error:
            raise ModelError(f"{name} is missing", where=where, remedy="fit it anew") from error
        if sha256_hex(data) != known[name]:
            raise ModelError(
                f"{name} doesn't match its digest",
                where=where,
                remedy="fit it anew: it was altered",
            )
        return data

    if odd := next(
        (name for name, entry in description["traits"].items() if entry["card"].get("id") != name),
        None,
    ):
        raise ModelError(
            f"trait {odd!r} has a card of another id",
            where=where,
            remedy="fit it anew: it was altered",
        )
    try:
        cards = {
            name: TraitCard.model_validate(entry["card"])
            for name, entry in description["traits"].items()
        }
    except ValidationError as error:  # before any file is read: a name that is no id may be a path
        raise ModelError(
            f"a card of the bank isn't one: {problems(error)}",
            where=where,
            remedy="fit it anew: it was altered",
        ) from error
    traits = {
        name: _read_trait(cards[name], entry, known, checked)
        for name, entry in description["traits"].items()
    }
    return Bank(traits, description["encoder"], description["background"], digest)


def _said(error: Exception) -> str:
    """Say in a line why an index can't be read."""
    if isinstance(error, InputError | OSError):
        return f"{INDEX_FILE} {error.problem if isinstance(error, InputError) else error.strerror or error}"
    return f"{INDEX_FILE} is none of congener's ({type(error).__name__}: {error})"


def _read_trait(
    card: TraitCard,
    entry: Mapping[str, Any],
    known: Mapping[str, str],
    read: Callable[[str], bytes],
) -> TraitModel:
    texts = json.loads(read(f"{card.id}/texts.json"))
    tensors = load_tensors(read(f"{card.id}/tensors.safetensors"))
    layers = tuple(
        (tensors[f"head/{place}/weight"], tensors[f"head/{place}/bias"])
        for place in range(2)
        if f"head/{place}/weight" in tensors
    )
    indexes = {
        polarity: index_from_bytes(read(file))
        for polarity in ("positive", "negative")
        if (file := f"{card.id}/{polarity}.faiss") in known
    }
    return TraitModel(
        card=card,
        card_digest=entry["card_digest"],
        positives=tuple(texts["positives"]),
        negatives=tuple(texts["negatives"]),
        positive_index=indexes.get("positive"),
        negative_index=indexes.get("negative"),
        scale=(entry["scale"][0], entry["scale"][1]),
        head=Head(layers, entry["head_strength"]) if layers else None,
        calibration={
            key.split("/", 1)[1]: value
            for key, value in tensors.items()
            if key.startswith("calibration/")
        },
        calibrated_on=entry["calibrated_on"],
    )


def index_of(vectors: np.ndarray) -> Any:
    """Build an index, or none of no vectors."""
    return build_index(vectors) if len(vectors) else None
