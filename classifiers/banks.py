"""Trait banks: everything that scoring needs, in files whose digests are checked before use."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.signals.exemplars import deserialise_index, serialise_index
from classifiers.signals.heads import Head
from classifiers.signals.wording import Wording
from schemas.cards import SignalName, TraitCard
from schemas.digests import canonicalise_json, digest_bytes, digest_config
from schemas.errors import InputError, ModelError
from schemas.problems import describe_problems

BANK_FORMAT = 4
INDEX_FILE = "bank.json"

SCORE_GROUPS = ("calibration", "positive_scores", "labelled_positives", "labelled_negatives")
"""The fields of a trait that map signals to scores."""

UNFIT = (
    AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError
)  # fmt: skip
"""Errors from files whose digests are right but which don't form a bank."""


@dataclass
class TraitModel:
    """One fitted trait.

    `positives` and `negatives` are the texts of the exemplar indexes. `scale` holds the slope and
    offset that turn a contrast into a logit. `calibration` holds the scores of held-out clean texts
    for each signal and for `combined`. `positive_scores` holds the scores of the card's positives,
    each computed without that positive. `classifier` identifies the sequence classifier's
    checkpoint. `unused` names the signals that were removed from `card` because they would find
    nothing. `labels` describes the labels of the fit, without their texts. `labelled_positives` and
    `labelled_negatives` hold the scores of the rows in their calibration half.
    """

    card: TraitCard
    card_digest: str
    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    positive_index: Any = None
    negative_index: Any = None
    scale: tuple[float, float] = (1.0, 0.0)
    head: Head | None = None
    wording: Wording | None = None
    calibration: dict[str, np.ndarray] = field(default_factory=dict)
    positive_scores: dict[str, np.ndarray] = field(default_factory=dict)
    calibrated_on: str = ""
    classifier: dict[str, Any] | None = None
    unused: tuple[SignalName, ...] = ()
    labels: dict[str, Any] | None = None
    labelled_positives: dict[str, np.ndarray] = field(default_factory=dict)
    labelled_negatives: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Bank:
    """The fitted traits, keyed by id.

    `encoder` identifies the traits' encoder. `background` describes their clean text. `digest` is
    empty until the bank is serialised.
    """

    traits: dict[str, TraitModel]
    encoder: dict[str, Any] | None
    background: dict[str, Any]
    digest: str = ""

    def require_encoder(self, identity: Mapping[str, Any]) -> None:
        """Check that a loaded encoder is the bank's encoder.

        Raises: ModelError: the identities differ. The message names the first differing field.
        """
        remedy = "fit the bank again, or name its encoder with --encoder"
        _require_same("encoder", self.encoder or {}, identity, remedy)

    def require_classifier(self, trait: str, identity: Mapping[str, Any]) -> None:
        """Check that a loaded sequence classifier is the one that a trait was calibrated with.

        Raises: ModelError: the identities differ. The message names the first differing field.
        """
        remedy = "fit the bank again, or restore the classifier's files"
        _require_same(
            f"classifier of {trait}", self.traits[trait].classifier or {}, identity, remedy
        )


def _require_same(
    what: str, fitted: Mapping[str, Any], loaded: Mapping[str, Any], remedy: str
) -> None:
    for name, value in fitted.items():
        now = loaded.get(name, {} if name == "files" else None)
        if now == value:
            continue
        if name != "files":
            raise ModelError(
                f"the bank was fitted with {name} {value!r}, but the loaded {what} has {now!r}",
                remedy=remedy,
            )
        file = next(file for file in sorted({**value, **now}) if value.get(file) != now.get(file))
        raise ModelError(
            f"the bank was fitted with {_describe_file(file, value)}, but the loaded {what} "
            f"({loaded['model']}) has {_describe_file(file, now)}",
            remedy=remedy,
        )


def _describe_file(name: str, digests: Mapping[str, str]) -> str:
    return f"{name} of SHA-256 {digests[name][:12]}" if name in digests else f"no {name}"


def serialise_bank(bank: Bank) -> dict[str, bytes]:
    """Return the bank's files, keyed by name, and set `bank.digest`.

    Equal banks have equal bytes.
    """
    files: dict[str, bytes] = {}
    traits = {
        name: _serialise_trait(name, trait, files) for name, trait in sorted(bank.traits.items())
    }
    description = {
        "format": BANK_FORMAT,
        "encoder": bank.encoder,
        "background": bank.background,
        "traits": traits,
        "files": {name: digest_bytes(data) for name, data in sorted(files.items())},
    }
    bank.digest = digest_config(description)
    files[INDEX_FILE] = (
        json.dumps(
            {"digest": bank.digest, **description}, indent=1, sort_keys=True, ensure_ascii=False
        ).encode()
        + b"\n"
    )
    return files


def _serialise_trait(name: str, trait: TraitModel, files: dict[str, bytes]) -> dict[str, Any]:
    """Add a trait's files to `files`, and return the trait's entry in the index."""
    for polarity, index in (("positive", trait.positive_index), ("negative", trait.negative_index)):
        if index is not None:
            files[f"{name}/{polarity}.faiss"] = serialise_index(index)
    files[f"{name}/texts.json"] = canonicalise_json(
        {"positives": trait.positives, "negatives": trait.negatives}
    )
    tensors = {
        f"{group}/{signal}": scores
        for group in SCORE_GROUPS
        for signal, scores in sorted(getattr(trait, group).items())
    }
    for number, (weight, bias) in enumerate(trait.head.layers if trait.head else ()):
        tensors |= {
            f"head/{number}/weight": np.ascontiguousarray(weight),
            f"head/{number}/bias": np.ascontiguousarray(bias),
        }
    if trait.wording:
        tensors |= {
            "wording/keys": trait.wording.keys,
            "wording/weights": trait.wording.weights,
            "wording/bias": np.array([trait.wording.bias]),
        }
    files[f"{name}/tensors.safetensors"] = save_tensors(tensors)
    return {
        "card": trait.card.model_dump(mode="json", exclude_none=True),
        "card_digest": trait.card_digest,
        "scale": trait.scale,
        "head_strength": trait.head.strength if trait.head else None,
        "calibrated_on": trait.calibrated_on,
        "classifier": trait.classifier,
        "unused": trait.unused,
        **({"labels": trait.labels} if trait.labels else {}),
    }


def read_bank(read: Callable[[str], bytes], where: str, indexes: bool = True) -> Bank:
    """Read a bank through `read(name) -> bytes`, checking each file's digest first.

    Without `indexes`, the traits have no exemplar indexes, and FAISS isn't loaded.

    Raises: ModelError: a file is missing or was altered, the files don't fit together, or the bank
    has a different format.
    """
    index = _read_index(read, where)
    try:
        # Check the cards before reading any other file, because a name that isn't an id could be a
        # path.
        cards = _read_cards(index["traits"], where)
        traits = {
            name: _read_trait(
                cards[name],
                entry,
                index["files"],
                lambda file: _read_checked(read, file, index["files"], where),
                indexes,
            )
            for name, entry in index["traits"].items()
        }
        bank = Bank(traits, index["encoder"], index["background"], index["digest"])
        for trait in traits.values():
            _require_parts(trait, indexes)
        _require_one_dimension(bank)
    except UNFIT as error:
        raise _report_altered(
            f"its files don't fit together ({_describe(error)})", where
        ) from error
    return bank


def _require_parts(trait: TraitModel, indexes: bool) -> None:
    """Check that a trait has what its signals need, with its indexes if they were read.

    Raises: ValueError: a part is missing, or an index doesn't have one vector per text.
    """
    name, signals = trait.card.id, trait.card.signals
    if indexes and signals.exemplars and trait.positive_index is None:
        raise ValueError(f"trait {name} has no index of positives")
    if signals.head and trait.head is None:
        raise ValueError(f"trait {name} has no head")
    if signals.wording:
        _require_ordered_keys(name, trait.wording)
    for index, texts in (
        (trait.positive_index, trait.positives),
        (trait.negative_index, trait.negatives),
    ):
        if index is not None and index.ntotal != len(texts):
            raise ValueError(f"trait {name} has {index.ntotal} vectors for {len(texts)} texts")


def _require_ordered_keys(name: str, wording: Wording | None) -> None:
    """Check that a trait has a wording classifier with one weight for each of its ascending keys.

    Raises: ValueError: it doesn't.
    """
    if wording is None:
        raise ValueError(f"trait {name} has no wording classifier")
    if wording.keys.dtype != np.uint64 or wording.keys.shape != wording.weights.shape:
        raise ValueError(f"the wording classifier of trait {name} has keys without weights")
    if (wording.keys[1:] <= wording.keys[:-1]).any():
        raise ValueError(f"the wording classifier of trait {name} has keys out of order")


def _require_one_dimension(bank: Bank) -> None:
    """Check that all vectors have the same dimension, and that an encoder is named.

    Raises: ValueError: dimensions differ, or no encoder is named.
    """
    found = {
        size
        for trait in bank.traits.values()
        for size in (
            *(index.d for index in (trait.positive_index, trait.negative_index) if index),
            *(trait.head.layers[0][0].shape[-1:] if trait.head else ()),
        )
    }
    if len(found) > 1 or (found and not isinstance(bank.encoder, dict)):
        raise ValueError(
            f"its vectors have dimensions {sorted(found)}, or it names no encoder for them"
        )


def list_bank_files(read: Callable[[str], bytes], where: str) -> list[str]:
    """Return the names of a bank's files, starting with the index.

    Raises: ModelError: the index is damaged, has a different format, or names a file outside the
        bank.
    """
    index = _read_index(read, where)
    for name in index["files"]:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise _report_altered(f"{INDEX_FILE} names {name!r}, which isn't in the bank", where)
    return [INDEX_FILE, *index["files"]]


def read_card_digests(read: Callable[[str], bytes], where: str) -> dict[str, str]:
    """Return the digest of each trait's card and exemplars, from a bank's index alone.

    Raises: ModelError: the index is damaged or has a different format.
    """
    traits = _read_index(read, where)["traits"]
    return {name: str(entry["card_digest"]) for name, entry in traits.items()}


def _read_index(read: Callable[[str], bytes], where: str) -> dict[str, Any]:
    try:
        index = dict(json.loads(read(INDEX_FILE)))
        description = {key: value for key, value in index.items() if key != "digest"}
        altered = digest_config(description) != index["digest"]
        found, *_ = index["format"], index["files"].keys(), index["traits"].keys()
    except (OSError, InputError, *UNFIT) as error:
        raise ModelError(
            f"is not a trait bank: {_describe_error(error)}",
            where=where,
            remedy="congener fit --traits DIR --output BANK writes one",
        ) from error
    if found != BANK_FORMAT:
        raise ModelError(
            f"the bank has format {found}, but this version of congener reads {BANK_FORMAT}",
            where=where,
            remedy="fit it again",
        )
    if altered:
        raise _report_altered(f"{INDEX_FILE} doesn't match its digest", where)
    return index


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _describe_error(error: Exception) -> str:
    """Describe in one line why the index can't be read."""
    if isinstance(error, InputError):
        return f"{INDEX_FILE} {error.problem}"
    if isinstance(error, OSError):
        return f"{INDEX_FILE} {error.strerror or error}"
    return f"{INDEX_FILE} is not the index of a bank ({type(error).__name__}: {error})"


def _report_altered(problem: str, where: str) -> ModelError:
    return ModelError(problem, where=where, remedy="fit it again, because it was altered")


def _read_cards(entries: Mapping[str, Any], where: str) -> dict[str, TraitCard]:
    for name, entry in entries.items():
        if entry["card"].get("id") != name:
            raise _report_altered(f"the card of trait {name!r} has a different id", where)
    try:
        return {name: TraitCard.model_validate(entry["card"]) for name, entry in entries.items()}
    except ValidationError as error:
        problem = f"a card of the bank is not valid: {describe_problems(error)}"
        raise _report_altered(problem, where) from error


def _read_checked(
    read: Callable[[str], bytes], name: str, digests: Mapping[str, str], where: str
) -> bytes:
    try:
        data = read(name)
    except (OSError, InputError) as error:
        raise ModelError(f"{name} is missing", where=where, remedy="fit it again") from error
    if digest_bytes(data) != digests[name]:
        raise _report_altered(f"{name} doesn't match its digest", where)
    return data


def _read_trait(
    card: TraitCard,
    entry: Mapping[str, Any],
    files: Container[str],
    read: Callable[[str], bytes],
    indexes: bool,
) -> TraitModel:
    texts = json.loads(read(f"{card.id}/texts.json"))
    tensors = load_tensors(read(f"{card.id}/tensors.safetensors"))
    layers = tuple(
        (tensors[f"head/{number}/weight"], tensors[f"head/{number}/bias"])
        for number in range(2)
        if f"head/{number}/weight" in tensors
    )
    found = {
        polarity: deserialise_index(read(file))
        for polarity in ("positive", "negative")
        if indexes and (file := f"{card.id}/{polarity}.faiss") in files
    }
    return TraitModel(
        card=card,
        card_digest=entry["card_digest"],
        positives=tuple(texts["positives"]),
        negatives=tuple(texts["negatives"]),
        positive_index=found.get("positive"),
        negative_index=found.get("negative"),
        scale=(entry["scale"][0], entry["scale"][1]),
        head=Head(layers, entry["head_strength"]) if layers else None,
        wording=_read_wording(tensors) if card.signals.wording else None,
        **{group: _select_scores(tensors, group) for group in SCORE_GROUPS},
        calibrated_on=entry["calibrated_on"],
        classifier=entry["classifier"],
        unused=tuple(entry["unused"]),
        labels=entry.get("labels"),
    )


def _read_wording(tensors: Mapping[str, np.ndarray]) -> Wording:
    (bias,) = tensors["wording/bias"].tolist()
    return Wording(tensors["wording/keys"], tensors["wording/weights"], bias)


def _select_scores(tensors: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    names = {name: name.removeprefix(f"{group}/") for name in tensors}
    return {signal: tensors[name] for name, signal in names.items() if signal != name}
