"""The bank: a round trip changes nothing, and nothing altered, missing or foreign is taken."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.banks import INDEX_FILE, Bank, TraitModel, bank_files, index_of, read_bank
from classifiers.signals.exemplars import contrast
from schemas.cards import TraitCard
from schemas.digests import config_digest
from schemas.errors import ModelError


def reader(files):
    """Return a function that reads from files in memory as it would from a folder."""

    def read(name):
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return read


@pytest.fixture(scope="module")
def files(small_bank):
    """Return the small bank's files."""
    return bank_files(small_bank)


def test_a_round_trip_gives_equal_bytes_and_digest(small_bank, files):
    """Reading a bank and writing it again gives the same files, byte for byte."""
    again = read_bank(reader(files), "bank")
    assert again.digest == small_bank.digest
    assert bank_files(again) == files


def test_a_round_trip_through_a_folder(files, tmp_path, small_bank):
    """The names of the files are paths below the bank's folder."""
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert (
        read_bank(lambda name: (tmp_path / name).read_bytes(), str(tmp_path)).digest
        == small_bank.digest
    )


def test_a_bank_that_was_read_is_the_bank_that_was_written(small_bank, files, encoder):
    """Cards, texts, scales, heads, calibration and neighbours are all as they were."""
    again = read_bank(reader(files), "bank")
    vectors = encoder.encode(encoder.whole(["It rains on the roof.", "A list of prices."]))
    assert list(again.traits) == ["loops", "machine-talk", "rain-talk"]
    assert again.encoder == encoder.identity
    assert again.background == small_bank.background
    for name, trait in small_bank.traits.items():
        other = again.traits[name]
        assert (other.card, other.card_digest, other.scale) == (
            trait.card,
            trait.card_digest,
            trait.scale,
        )
        assert (other.positives, other.negatives, other.calibrated_on) == (
            trait.positives,
            trait.negatives,
            trait.calibrated_on,
        )
        assert set(other.calibration) == set(trait.calibration)
        assert all(
            np.array_equal(other.calibration[signal], trait.calibration[signal])
            for signal in trait.calibration
        )
        assert (other.head is None) == (trait.head is None)
        if trait.head:
            assert other.head.strength == trait.head.strength
            assert np.array_equal(other.head.logits(vectors), trait.head.logits(vectors))
    rain, rain_again = small_bank.traits["rain-talk"], again.traits["rain-talk"]
    before = contrast(vectors, rain.positive_index, rain.negative_index, 3)
    assert np.array_equal(
        before, contrast(vectors, rain_again.positive_index, rain_again.negative_index, 3)
    )


def test_the_order_of_traits_does_not_show(small_bank, files):
    """Equal banks have equal bytes, whatever the order in which traits were fitted."""
    turned = replace(small_bank, traits=dict(reversed(small_bank.traits.items())))
    assert bank_files(turned) == files


def test_the_digest_covers_every_part(small_bank, files):
    """Another threshold in a card, another scale, text, encoder or background is another bank."""
    rain = small_bank.traits["rain-talk"]
    changed = [
        replace(rain, card=rain.card.model_copy(update={"threshold": 0.5})),
        replace(rain, scale=(rain.scale[0], rain.scale[1] + 1e-9)),
        replace(rain, positives=(*rain.positives[:-1], "Another text.")),
        replace(rain, card_digest="0"),
        replace(rain, calibrated_on="elsewhere"),
        replace(rain, calibration={**rain.calibration, "head": rain.calibration["head"][::-1]}),
        replace(rain, head=replace(rain.head, strength=rain.head.strength * 2)),
        replace(rain, positive_index=rain.negative_index),
    ]
    banks = [
        replace(small_bank, traits={**small_bank.traits, "rain-talk": trait}) for trait in changed
    ]
    banks += [
        replace(small_bank, encoder={**small_bank.encoder, "pooling": "cls"}),
        replace(small_bank, background={"name": "other"}),
    ]
    for bank in banks:
        bank_files(bank)
    assert len({bank.digest for bank in banks} | {small_bank.digest}) == len(banks) + 1


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_is_refused(files, data):
    """One altered byte in any file, and the bank isn't read; in the index, white space may change if the meaning doesn't."""
    name = data.draw(st.sampled_from(sorted(files)))
    place = data.draw(st.integers(0, len(files[name]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != files[name][place]))
    altered = files[name][:place] + bytes([byte]) + files[name][place + 1 :]
    if name == INDEX_FILE and _same_json(altered, files[name]):
        return
    with pytest.raises(ModelError, match=r"match|trait bank|missing|format"):
        read_bank(reader({**files, name: altered}), "bank")


def _same_json(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_changed_file_is_named(files):
    """The message says which file was altered, and where."""
    name = "rain-talk/tensors.safetensors"
    with pytest.raises(
        ModelError, match=rf"^the-bank: {name} doesn't match its digest\n  remedy: fit it anew"
    ):
        read_bank(reader({**files, name: files[name] + b"\0"}), "the-bank")


def test_every_missing_file_is_refused(files):
    """A file that isn't there is named; nothing is read around it."""
    assert (
        len(files) == 1 + 3 * 2 + 2
    )  # the index, texts and tensors of each trait, two FAISS indexes
    for name in files:
        left = {key: data for key, data in files.items() if key != name}
        with pytest.raises(
            ModelError, match=f"{name} is missing" if name != INDEX_FILE else "is no trait bank"
        ):
            read_bank(reader(left), "bank")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"5",
        b'"bank"',
        b"null",
        b"\xff\xfe",
        b'{"digest": "x"}',
        b'{"digest": "x", "files": {}}',
    ],
)
def test_what_is_no_bank_is_refused(data):
    """Any other JSON, or none, is no trait bank, and the message says how to make one."""
    with pytest.raises(ModelError, match=r"is no trait bank(.|\n)*congener fit"):
        read_bank(reader({INDEX_FILE: data}), "bank")


def test_another_format_is_refused(files):
    """A bank of a later version isn't guessed at."""
    description = json.loads(files[INDEX_FILE])
    description["format"] = 2
    description["digest"] = config_digest(
        {key: value for key, value in description.items() if key != "digest"}
    )
    with pytest.raises(ModelError, match="bank has format 2, this version reads 1"):
        read_bank(reader({**files, INDEX_FILE: json.dumps(description).encode()}), "bank")


def test_numbers_that_have_no_digest_are_refused(files):
    """NaN in the index is an altered index, not a crash."""
    description = json.loads(files[INDEX_FILE])
    description["traits"]["rain-talk"]["scale"] = [float("nan"), 0.0]
    with pytest.raises(ModelError):
        read_bank(reader({**files, INDEX_FILE: json.dumps(description).encode()}), "bank")


def test_another_encoder_is_refused_by_field(small_bank, encoder):
    """The message names the field that differs, with both its values."""
    small_bank.require_encoder(encoder.identity)
    for name in encoder.identity:
        with pytest.raises(ModelError, match=rf"bank was fitted with {name} .*loaded is 'other'"):
            small_bank.require_encoder({**encoder.identity, name: "other"})
        with pytest.raises(ModelError, match=f"bank was fitted with {name} .*loaded is None"):
            small_bank.require_encoder(
                {key: value for key, value in encoder.identity.items() if key != name}
            )


def test_the_encoder_is_compared_as_it_was_written(files, encoder):
    """What JSON makes of the identity is equal to the identity of the encoder that was loaded."""
    read_bank(reader(files), "bank").require_encoder(encoder.identity)


def test_a_bank_without_an_encoder_takes_any():
    """A bank of lexicons and repetition was fitted with none, and needs none."""
    bank = Bank({"a": TraitModel(TraitCard(id="a", signals=["repetition"]), "0")}, None, {})
    bank.require_encoder({"model": "any"})
    again = read_bank(reader(bank_files(bank)), "bank")
    assert again.encoder is None
    assert again.traits["a"].positive_index is None
    assert again.traits["a"].head is None


def test_an_index_of_nothing_is_none():
    """FAISS isn't asked to search among no vectors."""
    assert index_of(np.empty((0, 4), np.float32)) is None
    assert index_of(np.eye(4, dtype=np.float32)).ntotal == 4


@pytest.mark.parametrize("name", ["../../etc", "/etc", "rain-talk/../..", "..", "rain talk", ""])
def test_a_trait_that_is_called_like_a_path_is_refused_before_any_file_is_read(files, name):
    """A bank whose digests are all in order can't name files outside its folder."""
    description = json.loads(files[INDEX_FILE])
    entry = description["traits"].pop("rain-talk")
    description["traits"][name] = entry | {"card": entry["card"] | {"id": name}}
    description["files"] |= {
        f"{name}/{file.split('/')[1]}": digest
        for file, digest in description["files"].items()
        if file.startswith("rain-talk/")
    }
    description["digest"] = config_digest(
        {key: value for key, value in description.items() if key != "digest"}
    )
    asked = []

    def read(file):
        asked.append(file)
        return json.dumps(description).encode()

    with pytest.raises(ModelError, match="a card of the bank isn't one"):
        read_bank(read, "bank")
    assert asked == [INDEX_FILE]
