"""The library's traits as they are shipped: used only where they equal what would be fitted."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from classifiers import banks as reading
from classifiers.banks import Bank, TraitModel, serialise_bank
from classifiers.clean_text import CleanText, collect_background
from classifiers.fitting import fit_bank
from classifiers.library import find_cards
from classifiers.models.interface import EncoderConfig
from classifiers.signals.exemplars import build_optional_index
from classifiers.signals.heads import Head
from pipelines import banks, shipped_bank
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig
from pipelines.shipped_bank import (
    FILE,
    build_bank,
    find_shipped_traits,
    main,
    pack_bank,
    unpack_bank,
)
from schemas.errors import ModelError
from schemas.events import FitStarted, Noticed

QUICK = "sycophantic-opening"
DENSE = "coercion"
SCORED = ("combined", "exemplars", "head")
IDENTITY = {"model": "some/encoder", "layers": [2, 4]}

TOLERANCE = 2e-3
"""How far scores may differ between machines, because vectors differ in their last digits."""


@pytest.fixture(scope="module")
def clean():
    """Return a few of the library's clean texts, which are fitted on quickly."""
    return CleanText(collect_background(find_cards())[::20])


@pytest.fixture(scope="module")
def fitted(clean):
    """Return a bank of one trait that needs no encoder, and one that does, made by hand."""
    (card,) = find_cards([DENSE])
    vectors = np.eye(8, dtype=np.float32)
    dense = TraitModel(
        card=card.card,
        card_digest=card.digest,
        positives=tuple("abcd"),
        negatives=tuple("efgh"),
        positive_index=build_optional_index(vectors[:4]),
        negative_index=build_optional_index(vectors[4:]),
        scale=(2.0, 0.5),
        head=Head(((vectors[:1], np.zeros(1, np.float32)),), 1.0),
        calibration={name: np.zeros(3, np.float32) for name in ("combined", "exemplars", "head")},
        positive_scores={
            name: np.ones(4, np.float32) for name in ("combined", "exemplars", "head")
        },
        calibrated_on=clean.name,
    )
    bank = fit_bank(find_cards([QUICK]), clean, None, EncoderConfig())
    return Bank({DENSE: dense, **bank.traits}, IDENTITY, bank.background)


@pytest.fixture
def shipped(fitted, clean, tmp_path, monkeypatch):
    """Ship the fitted bank instead of the library's, and return its file."""
    path = tmp_path / "bank.zst"
    path.write_bytes(pack_bank(fitted, clean))
    monkeypatch.setattr(shipped_bank, "FILE", path)
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "cache"))
    return path


def digest(trait):
    """Return a digest of all that a trait holds."""
    bank = Bank({trait.card.id: trait}, IDENTITY, {})
    serialise_bank(bank)
    return bank.digest


def load_limited(trait, *signals):
    """Return a library card limited to some signals."""
    (card,) = find_cards([trait])
    return replace(card, card=card.card.limit_signals(signals))


def make_encoder(dtype=torch.float32, **changes):
    """Return what the shipped bank looks at in an encoder."""
    return SimpleNamespace(identity=IDENTITY | changes, dtype=dtype)


def test_a_shipped_trait_is_the_fitted_one(shipped, fitted, clean):
    """All that was fitted comes back, and no problem is reported."""
    found = find_shipped_traits(find_cards([QUICK, DENSE]), clean, make_encoder())
    assert found.problem is None
    assert {name: digest(trait) for name, trait in found.traits.items()} == {
        name: digest(trait) for name, trait in fitted.traits.items()
    }


@pytest.mark.parametrize("signal", ["wording", "lexicon"])
def test_a_trait_with_fewer_signals_is_what_would_be_fitted(shipped, clean, signal):
    """A run that uses one signal of a trait takes the same bytes as from a fit."""
    card = load_limited(QUICK, signal)
    found = find_shipped_traits([card], clean, None)
    again = fit_bank([card], clean, None, EncoderConfig())
    assert digest(found.traits[QUICK]) == digest(again.traits[QUICK])


def test_a_trait_without_its_dense_signals_needs_no_encoder(shipped, fitted, clean):
    """Of the signals that aren't used, nothing is kept."""
    head = find_shipped_traits([load_limited(DENSE, "head")], clean, make_encoder()).traits[DENSE]
    assert (head.positive_index, head.negative_index, head.scale) == (None, None, (1.0, 0.0))
    assert head.head is not None
    assert head.positives == tuple("abcd")
    (card,) = find_cards([DENSE])
    assert head.card_digest == load_limited(DENSE, "head").digest != card.digest
    near = find_shipped_traits([load_limited(DENSE, "exemplars")], clean, make_encoder())
    assert near.traits[DENSE].head is None
    assert near.traits[DENSE].scale == (2.0, 0.5)
    assert find_shipped_traits([load_limited(DENSE, "head")], clean, None).traits == {}


def test_indexes_are_read_only_for_exemplars(shipped, clean, monkeypatch):
    """A run without exemplars reads no index, so it doesn't load FAISS."""
    monkeypatch.setattr(reading, "deserialise_index", None)
    found = find_shipped_traits(find_cards([QUICK]), clean, None)
    assert (list(found.traits), found.problem) == ([QUICK], None)
    both = find_shipped_traits(find_cards([QUICK, DENSE]), clean, make_encoder())
    assert "can't be read" in str(both.problem)


@pytest.mark.parametrize(
    "encoder",
    [None, make_encoder(torch.bfloat16), make_encoder(layers=[4])],
    ids=["none", "bf16", "other layers"],
)
def test_another_encoder_gets_no_shipped_vectors(shipped, clean, encoder):
    """A trait with vectors is used with its own encoder in fp32 alone; the others are used."""
    found = find_shipped_traits(find_cards([QUICK, DENSE]), clean, encoder)
    assert list(found.traits) == [QUICK]
    assert found.problem == "they were fitted with another encoder or precision"


def test_a_changed_card_is_not_taken_for_the_shipped_one(shipped, clean):
    """A card with another exemplar or pattern, or other clean text, is fitted."""
    (card,) = find_cards([QUICK])
    changed = replace(card, positives=(*card.positives, "What a brilliant question!"))
    level = card.card.level.model_copy(update={"confidence": 0.5})
    other = replace(card, card=card.card.model_copy(update={"level": level}))
    mine = replace(clean, name="mine")
    for given, text, cause in (
        (changed, clean, "another card"),
        (other, clean, "another card"),
        (card, mine, "another background"),
    ):
        found = find_shipped_traits([given], text, None)
        assert found == ({}, f"they were fitted with {cause}")


@pytest.mark.parametrize(
    ("problem", "advice"),
    [
        ("they were fitted with another background", "so there is nothing to do"),
        ("they were fitted with other code than this version's", "reinstall it"),
        ("they were fitted with another encoder or precision", "without --encoder and --precision"),
        ("x.zst can't be read: short", "reinstall congener"),
        ("they were fitted with another card", "differ from the library's"),
    ],
)
def test_every_cause_comes_with_advice(problem, advice):
    """A cause is followed by what it means for a user; an unknown cause has no advice."""
    said = shipped_bank.explain_problem(problem)
    assert said.startswith(f"{problem} (")
    assert advice in said
    assert shipped_bank.explain_problem("they were fitted with other settings") == (
        "they were fitted with other settings"
    )


def test_nothing_is_said_where_nothing_is_shipped(shipped, clean, monkeypatch, tmp_path):
    """Own cards and a missing file are no problem."""
    (card,) = find_cards([QUICK])
    assert find_shipped_traits([replace(card, folder=tmp_path)], clean, None) == ({}, None)
    monkeypatch.setattr(shipped_bank, "FILE", tmp_path / "none.zst")
    assert find_shipped_traits([card], clean, None) == ({}, None)


def test_other_code_or_unicode_tables_do_not_use_the_bank(shipped, clean, monkeypatch):
    """The code's digest changes with every file that decides a fit."""
    now = shipped_bank.describe_circumstances()
    monkeypatch.setattr(shipped_bank, "CODE", ("fitting.py",))
    assert shipped_bank.describe_circumstances()["code"] != now["code"]
    found = find_shipped_traits(find_cards([QUICK]), clean, None)
    assert found.traits == {}
    assert found.problem == "they were fitted with other code than this version's"
    monkeypatch.undo()
    old = {**now, "unicode": "1.1"}
    monkeypatch.setattr(shipped_bank, "describe_circumstances", lambda: old)
    monkeypatch.setattr(shipped_bank, "FILE", shipped)
    (problem,) = {find_shipped_traits(find_cards([QUICK]), clean, None).problem}
    assert "another version of Python (Unicode " in str(problem)
    assert "other code" not in str(problem)


@pytest.mark.parametrize("place", [10, -10])
def test_a_damaged_file_is_noticed(shipped, clean, place):
    """A changed byte or a cut file is reported, and nothing of it is used."""
    data = bytearray(shipped.read_bytes())
    data[place] ^= 0xFF
    for damaged in (bytes(data), bytes(data[:100]), b"", b"not a bank"):
        shipped.write_bytes(damaged)
        found = find_shipped_traits(find_cards([QUICK]), clean, None)
        assert found.traits == {}
        assert "can't be read" in str(found.problem)


def test_a_bank_without_its_origin_is_damaged(fitted, clean, monkeypatch):
    """A packed bank that doesn't say what it was fitted with is refused."""
    monkeypatch.setattr(shipped_bank, "ORIGIN", "else.json")
    packed = pack_bank(fitted, clean)
    monkeypatch.undo()
    with pytest.raises(ModelError, match="damaged"):
        unpack_bank(packed)


def test_packing_is_deterministic(fitted, clean):
    """Equal banks have equal bytes, and the packed bank has the digest of the bank."""
    packed = pack_bank(fitted, clean)
    assert packed == pack_bank(fitted, clean)
    origin, bank = unpack_bank(packed)
    assert bank.digest == fitted.digest
    assert set(origin["keys"]) == {QUICK, DENSE}
    assert None not in origin["keys"].values()


def test_a_run_takes_the_shipped_trait_instead_of_fitting(shipped, clean, monkeypatch):
    """Nothing is fitted unless the code has changed, which a notice says."""
    monkeypatch.setattr(banks, "gather_clean_text", lambda *_: clean)
    config = FilterConfig(traits=(QUICK,), signals=("lexicon",))
    events = []
    bank = prepare_bank(config, listener=events.append).bank
    assert bank.traits[QUICK].card.signals.names == ("lexicon",)
    assert not [event for event in events if isinstance(event, FitStarted)]
    monkeypatch.setattr(shipped_bank, "CODE", ("fitting.py",))
    again = prepare_bank(config, listener=events.append).bank
    assert again.digest == bank.digest
    assert [type(event) for event in events if isinstance(event, FitStarted | Noticed)] == [
        Noticed,
        FitStarted,
    ]
    notices = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert "other code" in notices[0]


def test_the_command_replaces_the_file(shipped, fitted, clean, monkeypatch, capsys):
    """It writes the packed bank, and says where and how large it is."""
    monkeypatch.setattr(shipped_bank, "build_bank", lambda: (fitted, clean))
    shipped.unlink()
    main()
    assert shipped.read_bytes() == pack_bank(fitted, clean)
    assert str(shipped) in capsys.readouterr().out


def test_the_shipped_bank_is_of_this_code():
    """The file is as new as the code that fits it: after a change to either, `make bank` is due."""
    (card,) = find_cards([QUICK])
    found = find_shipped_traits([card], CleanText(collect_background(find_cards())), None)
    assert (list(found.traits), found.problem) == ([QUICK], None)


@pytest.mark.slow
def test_the_shipped_bank_is_what_the_cards_give():
    """A fit on this machine gives the shipped cards, words and texts, and nearly its scores."""
    origin, old = unpack_bank(FILE.read_bytes())
    assert origin["circumstances"] == shipped_bank.describe_circumstances()
    new, clean = build_bank()
    assert unpack_bank(pack_bank(new, clean))[0] == origin
    assert old.encoder == new.encoder
    assert old.traits.keys() == new.traits.keys()
    for name, trait in new.traits.items():
        before = old.traits[name]
        assert (before.card, before.card_digest) == (trait.card, trait.card_digest)
        assert (before.positives, before.negatives) == (trait.positives, trait.negatives)
        if trait.wording is not None:
            assert before.wording.keys.tolist() == trait.wording.keys.tolist()
            assert np.abs(before.wording.weights - trait.wording.weights).max() < TOLERANCE
        for group in ("calibration", "positive_scores"):
            scores, earlier = getattr(trait, group), getattr(before, group)
            assert scores.keys() == earlier.keys()
            for signal, values in scores.items():
                assert np.abs(values - earlier[signal]).max() < TOLERANCE
