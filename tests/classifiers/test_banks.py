"""Banks: a round trip changes nothing, and damaged banks are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from classifiers.banks import (
    INDEX_FILE,
    Bank,
    TraitModel,
    read_bank,
    read_card_digests,
    serialise_bank,
)
from classifiers.signals.exemplars import build_index, contrast, serialise_index
from classifiers.signals.wording import Wording
from schemas.cards import TraitCard
from schemas.digests import digest_bytes, digest_config
from schemas.errors import InputError, ModelError


def make_reader(files):
    """Return a function that reads in-memory files."""

    def read(name):
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return read


@pytest.fixture(scope="module")
def files(small_bank):
    """Return the small bank's files."""
    return serialise_bank(small_bank)


def test_a_round_trip_gives_equal_bytes_and_digest(small_bank, files):
    """A bank that is read and written again has the same bytes."""
    again = read_bank(make_reader(files), "bank")
    assert again.digest == small_bank.digest
    assert serialise_bank(again) == files


def test_a_bank_can_be_read_without_its_indexes(files):
    """Without indexes, everything else is the same, and no index has to be there."""
    others = {name: data for name, data in files.items() if not name.endswith(".faiss")}
    assert len(others) < len(files)
    whole, part = (
        read_bank(make_reader(files), "bank"),
        read_bank(make_reader(others), "bank", False),
    )
    assert part.digest == whole.digest
    for name, trait in part.traits.items():
        assert (trait.positive_index, trait.negative_index) == (None, None)
        assert trait.positives == whole.traits[name].positives
        assert trait.card == whole.traits[name].card
    with pytest.raises(ModelError, match=r"\.faiss is missing"):
        read_bank(make_reader(others), "bank")


def test_the_digests_of_cards_are_read_from_the_index_alone(small_bank, files):
    """Without any other file, each trait's card has the digest that the whole bank has."""
    index = {INDEX_FILE: files[INDEX_FILE]}
    found = read_card_digests(make_reader(index), "bank")
    assert found == {name: trait.card_digest for name, trait in small_bank.traits.items()}
    altered = {INDEX_FILE: files[INDEX_FILE].replace(b'"card_digest": "', b'"card_digest": "0')}
    with pytest.raises(ModelError, match="doesn't match its digest"):
        read_card_digests(make_reader(altered), "bank")


def test_a_round_trip_through_a_folder(files, tmp_path, small_bank):
    """A bank can be written to a folder and read back."""
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert (
        read_bank(lambda name: (tmp_path / name).read_bytes(), str(tmp_path)).digest
        == small_bank.digest
    )


def test_a_bank_that_was_read_is_the_bank_that_was_written(small_bank, files, encoder):
    """A round trip preserves cards, texts, scales, heads, scores and neighbours."""
    again = read_bank(make_reader(files), "bank")
    vectors = encoder.encode(encoder.take_whole(["It rains on the roof.", "A list of prices."]))
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
            assert np.array_equal(
                other.head.compute_logits(vectors), trait.head.compute_logits(vectors)
            )
    rain, rain_again = small_bank.traits["rain-talk"], again.traits["rain-talk"]
    before = contrast(vectors, rain.positive_index, rain.negative_index, 3)
    assert np.array_equal(
        before, contrast(vectors, rain_again.positive_index, rain_again.negative_index, 3)
    )


def test_the_order_of_traits_makes_no_difference(small_bank, files):
    """A bank's bytes don't depend on the order of its traits."""
    turned = replace(small_bank, traits=dict(reversed(small_bank.traits.items())))
    assert serialise_bank(turned) == files


def test_the_digest_covers_every_part(small_bank, files):
    """A change to any part of a bank changes the digest."""
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
        serialise_bank(bank)
    assert len({bank.digest for bank in banks} | {small_bank.digest}) == len(banks) + 1


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_is_refused(files, data):
    """A flipped byte in any file is an error, unless the index holds equal JSON."""
    name = data.draw(st.sampled_from(sorted(files)))
    offset = data.draw(st.integers(0, len(files[name]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != files[name][offset]))
    altered = files[name][:offset] + bytes([byte]) + files[name][offset + 1 :]
    if name == INDEX_FILE and is_same_json(altered, files[name]):
        return
    with pytest.raises(ModelError, match=r"match|trait bank|missing|format"):
        read_bank(make_reader({**files, name: altered}), "bank")


def is_same_json(one, other):
    """Return whether two files hold equal JSON."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_changed_file_is_named(files):
    """The error for an altered file names the file and the bank."""
    name = "rain-talk/tensors.safetensors"
    with pytest.raises(
        ModelError, match=rf"^the-bank: {name} doesn't match its digest\n  remedy: fit it again"
    ):
        read_bank(make_reader({**files, name: files[name] + b"\0"}), "the-bank")


def test_every_missing_file_is_refused(files):
    """The error for any missing file names the file."""
    # index, texts and tensors of each trait, two FAISS indexes
    assert len(files) == 1 + 3 * 2 + 2
    for name in files:
        left = {key: data for key, data in files.items() if key != name}
        with pytest.raises(
            ModelError, match=f"{name} is missing" if name != INDEX_FILE else "is not a trait bank"
        ):
            read_bank(make_reader(left), "bank")


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
def test_a_file_that_is_no_bank_is_refused(data):
    """The error for a file that isn't a bank gives the command to fit one."""
    with pytest.raises(ModelError, match=r"is not a trait bank(.|\n)*congener fit"):
        read_bank(make_reader({INDEX_FILE: data}), "bank")


def test_another_format_is_refused(files):
    """The error for another format names both formats."""
    description = json.loads(files[INDEX_FILE])
    description["format"] = 1
    description["digest"] = digest_config(
        {key: value for key, value in description.items() if key != "digest"}
    )
    with pytest.raises(ModelError, match="bank has format 1, but this version of congener reads 4"):
        read_bank(make_reader({**files, INDEX_FILE: json.dumps(description).encode()}), "bank")


def test_a_nan_in_the_index_is_refused(files):
    """NaN in an index is reported as damage."""
    description = json.loads(files[INDEX_FILE])
    description["traits"]["rain-talk"]["scale"] = [float("nan"), 0.0]
    with pytest.raises(ModelError, match=r"is not a trait bank: bank\.json is not the index"):
        read_bank(make_reader({**files, INDEX_FILE: json.dumps(description).encode()}), "bank")


def test_another_encoder_is_refused_by_field(small_bank, encoder):
    """The error for another encoder names the first differing field and both values."""
    small_bank.require_encoder(encoder.identity)
    for name in encoder.identity.keys() - {"files"}:
        with pytest.raises(ModelError, match=rf"fitted with {name} .*loaded encoder has 'other'"):
            small_bank.require_encoder({**encoder.identity, name: "other"})
        with pytest.raises(ModelError, match=f"was fitted with {name} .*loaded encoder has None"):
            small_bank.require_encoder(
                {key: value for key, value in encoder.identity.items() if key != name}
            )


def test_an_encoder_with_other_files_is_refused_by_file(small_bank, encoder):
    """The error for an encoder with other files names the first differing file."""
    files = encoder.identity["files"]
    for now, problem in (
        (
            {**files, "config.json": "f" * 64},
            r"config\.json of SHA-256 .* has config\.json of .* f{12}",
        ),
        ({**files, "added_tokens.json": "f" * 64}, r"no added_tokens\.json"),
        ({name: files[name] for name in files if name != "vocab.txt"}, r"has no vocab\.txt"),
    ):
        with pytest.raises(ModelError, match=problem):
            small_bank.require_encoder({**encoder.identity, "files": now})


def test_the_encoder_is_compared_as_it_was_written(files, encoder):
    """An encoder's identity is the same after a round trip through JSON."""
    read_bank(make_reader(files), "bank").require_encoder(encoder.identity)


def test_a_bank_without_an_encoder_takes_any():
    """A bank without dense signals accepts any encoder."""
    bank = Bank({"a": TraitModel(TraitCard(id="a", signals=["repetition"]), "0")}, None, {})
    bank.require_encoder({"model": "any"})
    again = read_bank(make_reader(serialise_bank(bank)), "bank")
    assert again.encoder is None
    assert again.traits["a"].positive_index is None
    assert again.traits["a"].head is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("is empty"), "bank.json is empty"),
        (PermissionError(13, "Permission denied"), "bank.json Permission denied"),
        (OSError("odd"), "bank.json odd"),
    ],
)
def test_the_error_has_the_reason_why_the_index_cannot_be_read(error, reason):
    """The error for an unreadable index quotes the reason."""

    def fail(name):
        raise error

    with pytest.raises(ModelError, match=f"^the-bank: is not a trait bank: {reason}\n"):
        read_bank(fail, "the-bank")


def test_a_card_of_another_id_is_refused(files):
    """A trait's card must have the trait's id."""
    description = json.loads(files[INDEX_FILE])
    description["traits"]["rain-talk"]["card"]["id"] = "sun-talk"
    description["digest"] = digest_config(
        {key: value for key, value in description.items() if key != "digest"}
    )
    with pytest.raises(ModelError, match="the card of trait 'rain-talk' has a different id"):
        read_bank(make_reader({**files, INDEX_FILE: json.dumps(description).encode()}), "bank")


@pytest.mark.parametrize("name", ["../../etc", "/etc", "rain-talk/../..", "..", "rain talk", ""])
def test_a_trait_with_a_path_as_its_id_is_refused_before_any_file_is_read(files, name):
    """A trait id with a path is refused before any file is read."""
    description = json.loads(files[INDEX_FILE])
    entry = description["traits"].pop("rain-talk")
    description["traits"][name] = entry | {"card": entry["card"] | {"id": name}}
    description["files"] |= {
        f"{name}/{file.split('/')[1]}": digest
        for file, digest in description["files"].items()
        if file.startswith("rain-talk/")
    }
    description["digest"] = digest_config(
        {key: value for key, value in description.items() if key != "digest"}
    )
    asked = []

    def read(file):
        asked.append(file)
        return json.dumps(description).encode()

    with pytest.raises(ModelError, match="a card of the bank is not valid"):
        read_bank(read, "bank")
    assert asked == [INDEX_FILE]


def reseal(description):
    """Return the bytes of an index, with its digest recomputed."""
    content = {key: value for key, value in description.items() if key != "digest"}
    return json.dumps(content | {"digest": digest_config(content)}).encode()


def replace_file(files, name, data):
    """Return a bank's files with one file replaced and new digests."""
    description = json.loads(files[INDEX_FILE])
    description["files"][name] = digest_bytes(data)
    return {**files, name: data, INDEX_FILE: reseal(description)}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("texts.json", b"[" * 100_000, "RecursionError"),
        ("texts.json", b"{}", "KeyError"),
        ("texts.json", b'{"positives": ["one"], "negatives": []}', "vectors for 1 texts"),
        ("texts.json", b"\xff", "UnicodeDecodeError"),
        ("tensors.safetensors", b"none", "SafetensorError"),
        ("tensors.safetensors", save_tensors({}), "has no head"),
        ("positive.faiss", b"none", "RuntimeError"),
        (
            "positive.faiss",
            serialise_index(build_index(np.eye(8, 7, dtype=np.float32))),
            "8 vectors for",
        ),
    ],
    ids=["deep", "keys", "fewer", "encoding", "no tensors", "no head", "no index", "other index"],
)
def test_files_that_do_not_fit_together_are_refused(files, name, data, reason):
    """Files with right digests that don't form a bank raise a one-line error."""
    changed = replace_file(files, f"rain-talk/{name}", data)
    with pytest.raises(ModelError, match=rf"^bank: its files don't fit together \(.*{reason}"):
        read_bank(make_reader(changed), "bank")


@pytest.fixture(scope="module")
def wording_files():
    """Return the files of a bank with a wording trait."""
    card = TraitCard.model_validate({"id": "words", "signals": ["wording"]})
    wording = Wording(np.array([1, 2**64 - 1], np.uint64), np.array([0.5, -1], np.float32), 0.25)
    scores = {"wording": np.zeros(2, np.float32)}
    trait = TraitModel(card, "0" * 64, wording=wording, calibration=scores)
    return serialise_bank(Bank({"words": trait}, None, {}))


def test_a_wording_classifier_is_kept_exactly(wording_files):
    """Hashes of 64 bits, weights and bias survive the round trip."""
    bank = read_bank(make_reader(wording_files), "bank")
    found = bank.traits["words"].wording
    assert found.keys.tolist() == [1, 2**64 - 1]
    assert found.weights.tolist() == [0.5, -1.0]
    assert found.bias == 0.25
    assert serialise_bank(bank) == wording_files


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wording/keys": np.array([2, 1], np.uint64)}, "keys out of order"),
        ({"wording/keys": np.array([1, 1], np.uint64)}, "keys out of order"),
        ({"wording/keys": np.array([1, 2], np.int64)}, "keys without weights"),
        ({"wording/weights": np.ones(3, np.float32)}, "keys without weights"),
        ({"wording/bias": np.ones(2)}, "ValueError"),
        ({"wording/bias": None}, "KeyError"),
    ],
    ids=["order", "twice", "kind", "number", "biases", "no bias"],
)
def test_a_damaged_wording_classifier_is_refused(wording_files, changes, reason):
    """Tensors that don't form a wording classifier raise a one-line error."""
    tensors = load_tensors(wording_files["words/tensors.safetensors"]) | changes
    kept = {name: value for name, value in tensors.items() if value is not None}
    changed = replace_file(wording_files, "words/tensors.safetensors", save_tensors(kept))
    with pytest.raises(ModelError, match=rf"its files don't fit together \(.*{reason}"):
        read_bank(make_reader(changed), "bank")


def test_vectors_of_two_encoders_are_refused(files, small_bank):
    """Vectors of two encoders in one bank are an error."""
    rain = small_bank.traits["rain-talk"]
    other = build_index(np.eye(rain.positive_index.ntotal, 9, dtype=np.float32))
    changed = replace_file(files, "rain-talk/positive.faiss", serialise_index(other))
    with pytest.raises(ModelError, match=r"its vectors have dimensions \[9, "):
        read_bank(make_reader(changed), "bank")


@pytest.mark.parametrize("part", ["traits", "files"])
def test_an_index_of_other_types_is_refused(files, part):
    """An index with lists for objects, or with deep nesting, is refused."""
    description = json.loads(files[INDEX_FILE]) | {part: []}
    with pytest.raises(ModelError, match="is not a trait bank"):
        read_bank(make_reader({**files, INDEX_FILE: reseal(description)}), "bank")
    with pytest.raises(ModelError, match="is not a trait bank"):
        read_bank(make_reader({**files, INDEX_FILE: b"[" * 100_000}), "bank")


@pytest.mark.parametrize(
    ("field", "value"), [("card", {}), ("card", 5), ("scale", [1]), ("scale", None)]
)
def test_an_entry_of_another_shape_is_refused(files, field, value):
    """The error for an index entry of another shape names the bank."""
    description = json.loads(files[INDEX_FILE])
    description["traits"]["rain-talk"][field] = value
    with pytest.raises(ModelError, match=r"^bank: (its files don't fit|the card of trait)"):
        read_bank(make_reader({**files, INDEX_FILE: reseal(description)}), "bank")
