"""The library's traits as they are shipped: fitted with the default encoder, in a single file.

`python -m pipelines.shipped_bank` (`make bank`) fits them again and replaces the file.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import zstandard
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.banks import BANK_FORMAT, Bank, TraitModel, read_bank, serialise_bank
from classifiers.clean_text import CleanText, collect_background
from classifiers.fitting import fit_bank, limit_bank
from classifiers.library import LIBRARY, LoadedCard, find_cards
from classifiers.models.interface import EncoderConfig
from schemas.digests import canonicalise_json, digest_bytes, digest_config
from schemas.errors import ModelError
from transforms.files import storage

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder

FILE = Path(__file__).parent / "library_bank.zst"
ORIGIN = "origin.json"
"""The name of the entry that says what the traits were fitted with."""

LEVEL = 19
WINDOW_LOG = 26
"""The traits share most of their negatives. A window of 64 MiB stores them once."""

MOST_BYTES = 1 << 28
PRECISION = "torch.float32"

CODE = ("clean_text.py", "fitting.py", "scoring.py", "signals/*.py", "models/*.py")
"""The modules of classifiers that decide what a fitted trait holds."""


ADVICE = {
    "another card": "a card or its exemplars differ from the library's",
    "another background": "that is what --background asks for, so there is nothing to do",
    "another encoder or precision": "without --encoder and --precision, the shipped ones are used",
    "other code": "if you didn't change congener's code, reinstall it; in a checkout, `make bank` "
    "ships them again",
    "another version of Python": "there is nothing to do",
    "can't be read": "reinstall congener",
}
"""What each cause means for a user, by words of the problem."""


class ShippedTraits(NamedTuple):
    """The shipped traits that a run can use, and why others of the library can't be used."""

    traits: dict[str, TraitModel]
    problem: str | None = None


def explain_problem(problem: str) -> str:
    """Return why shipped traits can't be used, with what a user can do about it."""
    found = [advice for cause, advice in ADVICE.items() if cause in problem]
    return f"{problem} ({'; '.join(found)})" if found else problem


def find_shipped_traits(
    cards: Iterable[LoadedCard], clean: CleanText, encoder: Encoder | None
) -> ShippedTraits:
    """Return the shipped traits that equal those that would be fitted.

    A trait is used only with the card, the clean text, the encoder, the code and the Unicode tables
    that it was fitted with, and without labels. There is no problem if nothing is shipped, or if no
    card is one of the library's.
    """
    own = [card for card in cards if card.folder.parent == LIBRARY and not card.labels]
    if not own or not FILE.is_file():
        return ShippedTraits({})
    try:
        near = any(card.card.signals.exemplars for card in own)
        origin, bank = unpack_bank(FILE.read_bytes(), indexes=near)
    except (OSError, ModelError) as error:
        return ShippedTraits({}, f"{FILE.name} can't be read: {error}")
    if problem := _explain_circumstances(origin["circumstances"]):
        return ShippedTraits({}, problem)
    found = {
        card.id: trait
        for card in own
        if origin["keys"].get(card.id) == _compute_key(card, clean)
        and (trait := _limit_to_card(bank.traits[card.id], card)) is not None
        and (not trait.card.uses_encoder or _is_same_encoder(bank, encoder))
    }
    if len(found) == len(own):
        return ShippedTraits(found)
    left = [card for card in own if card.id not in found]
    fitting = [card for card in left if origin["keys"].get(card.id) == _compute_key(card, clean)]
    causes = [
        "another card" * (len(fitting) < len(left) and clean.name == CleanText.name),
        "another background" * (clean.name != CleanText.name),
        "another encoder or precision" * (len(fitting) > 0),
    ]
    return ShippedTraits(found, f"they were fitted with {' and '.join(filter(None, causes))}")


def _explain_circumstances(recorded: Mapping[str, str]) -> str | None:
    """Say which of a fit's circumstances differ from those of this program, if any do."""
    here = describe_circumstances()
    if recorded == here:
        return None
    unicode = recorded.get("unicode")
    causes = [
        "other code than this version's" * (recorded.get("code") != here["code"]),
        f"another version of Python (Unicode {unicode}, here {here['unicode']})"
        * (unicode != here["unicode"]),
    ]
    return f"they were fitted with {' and '.join(filter(None, causes)) or 'other settings'}"


def _compute_key(card: LoadedCard, clean: CleanText) -> str | None:
    """Return a digest of a library trait's whole card and of the clean text.

    The result is None if the card isn't the library's, or the library's with fewer signals.
    """
    (whole,) = find_cards([str(card.folder)])
    limited = replace(whole, card=whole.card.limit_signals(card.card.signals.names))
    if limited.digest != card.digest:
        return None
    return digest_config([BANK_FORMAT, whole.digest, clean.digest, clean.name])


def _is_same_encoder(bank: Bank, encoder: Encoder | None) -> bool:
    return (
        encoder is not None
        and str(encoder.dtype) == PRECISION
        and canonicalise_json(bank.encoder) == canonicalise_json(encoder.identity)
    )


def _limit_to_card(trait: TraitModel, card: LoadedCard) -> TraitModel | None:
    """Return a trait as it would be fitted from a card with fewer signals, or None if unknown."""
    names = card.card.signals.names
    kept = [name for name in names if name in trait.card.signals.names]
    if trait.card_digest == card.digest:
        return trait
    if not kept or (card.positives and not trait.positive_scores):
        return None
    (limited,) = limit_bank(Bank({card.id: trait}, None, {}), kept).traits.values()
    limited = replace(
        limited,
        card_digest=card.digest,
        head=limited.head if "head" in kept else None,
        unused=tuple(name for name in trait.unused if name in names),
    )
    if "exemplars" not in kept:
        limited = replace(limited, positive_index=None, negative_index=None, scale=(1.0, 0.0))
    return limited if limited.card.uses_encoder else replace(limited, positives=(), negatives=())


def describe_circumstances() -> dict[str, str]:
    """Return what a fitted trait depends on besides its card, its clean text and its encoder.

    Other versions of torch and numpy change only the last digits of vectors and weights.
    """
    root = LIBRARY.parent
    files = sorted({path for pattern in CODE for path in root.glob(pattern)})
    code = [[str(path.relative_to(root)), digest_bytes(path.read_bytes())] for path in files]
    return {"code": digest_config(code), "unicode": unicodedata.unidata_version}


def pack_bank(bank: Bank, clean: CleanText) -> bytes:
    """Return a bank of library traits as a single compressed file. Equal banks have equal bytes."""
    cards = find_cards([str(LIBRARY / name) for name in bank.traits])
    keys = {card.id: _compute_key(card, clean) for card in cards}
    origin = {"circumstances": describe_circumstances(), "keys": keys}
    files = {**serialise_bank(bank), ORIGIN: canonicalise_json(origin)}
    tensors = {name: np.frombuffer(data, np.uint8) for name, data in files.items()}
    settings = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW_LOG, enable_ldm=True
    )
    return zstandard.ZstdCompressor(compression_params=settings).compress(save_tensors(tensors))


def unpack_bank(data: bytes, indexes: bool = True) -> tuple[dict[str, Any], Bank]:
    """Return a packed bank's origin, and the bank, after checking the digest of what is read.

    Raises: ModelError: the file is damaged.
    """
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)
        packed = reader.decompress(data, max_output_size=MOST_BYTES)
        files = {name: tensor.tobytes() for name, tensor in load_tensors(packed).items()}
        origin = json.loads(files[ORIGIN])
        found = {"circumstances": origin["circumstances"], "keys": dict(origin["keys"])}
    except (zstandard.ZstdError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"is damaged ({type(error).__name__})", where=FILE.name, remedy="install congener again"
        ) from error
    return found, read_bank(lambda name: _get(files, name), FILE.name, indexes)


def _get(files: Mapping[str, bytes], name: str) -> bytes:
    if name not in files:
        raise FileNotFoundError(2, "is missing", name)
    return files[name]


def build_bank() -> tuple[Bank, CleanText]:
    """Fit the library's traits with the default encoder in fp32 on a CPU."""
    from classifiers.models.encoders import load_encoder

    clean = CleanText(collect_background(find_cards()))
    config = EncoderConfig(device="cpu", precision="fp32")
    return fit_bank(find_cards(), clean, load_encoder(config), config), clean


def main() -> None:
    """Fit the library's traits, and replace the shipped file."""
    data = pack_bank(*build_bank())
    storage.write_bytes(str(FILE), data)
    sys.stdout.write(f"{FILE}: {len(data):,} bytes\n")


if __name__ == "__main__":
    main()
