"""Banks on disk: saved, loaded, cached, and fitted only as far as something is missing."""

import re
from pathlib import Path

import numpy as np
import pytest

import pipelines.banks as module
from classifiers.banks import INDEX_FILE
from classifiers.fitting import CleanRow
from pipelines.banks import chosen_cards, load_bank, prepare_bank, read_answers, save_bank
from pipelines.config import FilterConfig, Hardware
from pipelines.display.progress import Reporter
from pipelines.display import progress
from pipelines.runs.cache import cache_folder
from schemas.corpora import CorpusConfig
from schemas.errors import CardError, InputError, ModelError
from schemas.policies import Policy, TraitRule
from tests.support.corpora import build_conversation, write_rows


@pytest.fixture
def fits(monkeypatch):
    """Count what is fitted: the ids of the cards of each call."""
    calls, real = [], module.fit_bank

    def counted(cards, clean, encoder, config, kept=None, progress=None):
        calls.append([card.id for card in cards if card.id not in (kept or {})])
        return real(cards, clean, encoder, config, kept, progress)

    monkeypatch.setattr(module, "fit_bank", counted)
    return calls


def test_round_trip(config, tmp_path):
    """A saved bank reads back as it was, digest and all."""
    bank, _ = prepare_bank(config)
    save_bank(bank, str(tmp_path / "bank"))
    again = load_bank(str(tmp_path / "bank"))
    assert again.digest == bank.digest
    np.testing.assert_array_equal(
        again.traits["heron"].calibration["combined"], bank.traits["heron"].calibration["combined"]
    )


def test_the_cache_spares_a_fit(config, fits):
    """The same cards, clean text and encoder are fitted once; a damaged cache is fitted over."""
    digest = prepare_bank(config)[0].digest
    assert prepare_bank(config)[0].digest == digest
    before = len(fits)
    for path in (cache_folder() / "banks").glob(f"*/{INDEX_FILE}"):
        path.write_text(path.read_text().replace('"heron"', '"her0n"'))
    assert prepare_bank(config)[0].digest == digest
    assert len(fits) == before + 1


def test_a_given_bank_is_used_and_the_rest_is_fitted(config, card_folder, tmp_path, fits):
    """With --bank and --traits only what the bank lacks, or has otherwise, is fitted."""
    save_bank(prepare_bank(config)[0], str(tmp_path / "bank"))
    stork = card_folder("stork", "signals: {lexicon: {patterns: ['storks?']}}\nthreshold: 0.5\n")
    both = config.model_copy(
        update={"bank": str(tmp_path / "bank"), "traits": (*config.traits, str(stork))}
    )
    fits.clear()
    assert list(prepare_bank(both)[0].traits) == ["heron", "stork"]
    assert fits == [["stork"]]
    Path(config.traits[0], "card.yaml").write_text(
        "id: heron\nsignals: {lexicon: {patterns: [egret]}}\nthreshold: 0.5\n"
    )
    prepare_bank(both)
    assert fits[-1] == ["heron", "stork"]


def test_a_given_bank_alone_brings_its_traits(config, tmp_path):
    """Without --traits, the bank's own traits run, limited to the signals asked for."""
    save_bank(prepare_bank(config)[0], str(tmp_path / "bank"))
    alone = config.model_copy(update={"bank": str(tmp_path / "bank"), "traits": ()})
    assert list(prepare_bank(alone)[0].traits) == ["heron"]
    assert prepare_bank(alone.model_copy(update={"signals": ("head",)}))[0].traits == {}


def test_an_altered_bank_is_refused(config, tmp_path):
    """A bank whose file was changed isn't read."""
    save_bank(prepare_bank(config)[0], str(tmp_path / "bank"))
    path = tmp_path / "bank" / INDEX_FILE
    path.write_text(path.read_text().replace("herons?", "heron"))
    with pytest.raises(ModelError, match="doesn't match its digest"):
        load_bank(str(tmp_path / "bank"))


def test_another_encoder_than_the_banks_is_refused(tmp_path):
    """A bank fitted with other windows is refused, naming them."""
    bank, _ = prepare_bank(FilterConfig(signals=("lexicon",), traits=("vendor-identity",)))
    bank.encoder = {"window_tokens": 64}
    save_bank(bank, str(tmp_path / "bank"))
    with pytest.raises(ModelError, match="window_tokens 64"):
        prepare_bank(FilterConfig(bank=str(tmp_path / "bank"), traits=("vendor-identity",)))


def test_signals_limit_the_library():
    """Library traits without any of the signals aren't run; a named one without any is an error."""
    ids = {card.id for card in chosen_cards(FilterConfig(signals=("repetition",)))}
    assert ids == {"degenerate-loop"}
    with pytest.raises(ModelError, match="coercion has none of the signals lexicon"):
        chosen_cards(FilterConfig(signals=("lexicon",), traits=("coercion",)))


def test_background_of_any_format(tmp_path):
    """A background is read in whatever format it is; only the assistant's texts count."""
    rows = [
        {
            "conversations": [
                {"from": "human", "value": "Why?"},
                {"from": "gpt", "value": f"Because {place}."},
            ]
        }
        for place in range(3)
    ]
    sample = write_rows(tmp_path / "clean.jsonl", rows)
    assert read_answers([str(sample)], CorpusConfig()) == [
        ("Because 0.",),
        ("Because 1.",),
        ("Because 2.",),
    ]


def test_background_without_answers_is_refused(tmp_path, config):
    """A sample in which no assistant speaks calibrates nothing."""
    row = build_conversation(1, "x") | {"messages": [{"role": "user", "content": "Anyone?"}]}
    sample = write_rows(tmp_path / "clean.jsonl", [row])
    with pytest.raises(InputError, match="no answer"):
        prepare_bank(config.model_copy(update={"background": (str(sample),)}))


def test_what_cant_be_settled_is_told_before_anything_is_fitted(config, card_folder, fits):
    """Too little clean text, an unknown trait or signal in the policy: each is told before a fit, not after."""
    strict = str(
        card_folder(
            "strict",
            "signals: {lexicon: {patterns: ['storks?']}}\nlevel: {max_false_positive_rate: 0.0001}\n",
        )
    )
    wanting = config.model_copy(update={"traits": (*config.traits, strict)})
    for policy, message in (
        (
            Policy(),
            r"trait strict: .* takes 29956 clean texts, library background holds out \d+: \d+ are missing",
        ),
        (Policy(traits={"stork": TraitRule()}), "policy names trait 'stork'"),
        (
            Policy(traits={"heron": TraitRule(signal="head")}),
            "policy wants signal 'head' of trait heron",
        ),
    ):
        with pytest.raises(CardError, match=message):
            prepare_bank(wanting, policy)
    assert fits == []
    explicit = Policy(traits={"strict": TraitRule(threshold=0.5)})
    assert list(prepare_bank(wanting, explicit)[0].traits) == ["heron", "strict"]


def test_a_fit_says_how_it_goes_on(config, card_folder, monkeypatch, capsys):
    """A fit is announced and says now and then how far it is; what the cache holds is silent."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    clean = tuple(
        CleanRow((f"A clean text about bridge number {place}.",), "background", "clean")
        for place in range(20)
    )
    monkeypatch.setattr(module, "collect_background", lambda cards: clean)
    fitted = card_folder(
        "fitted",
        "signals: [exemplars]\n",
        [f"The stork stands on leg number {place}." for place in range(6)],
    )
    dense = config.model_copy(update={"traits": (str(fitted),), "hardware": Hardware(device="cpu")})
    with Reporter() as reporter:
        prepare_bank(dense, reporter=reporter)
        said = capsys.readouterr().err
        assert "fitting 1 traits to the clean text" in said
        assert re.search(r"fitting: [\d,]+ of the [\d,]+ windows at hand, [\d,]+ tokens/s", said)
        prepare_bank(dense, reporter=reporter)
    assert capsys.readouterr().err == ""


def test_a_banks_trait_names_are_its_cards_ids(config, tmp_path):
    """A forged bank whose trait is named like a path is refused before anything is written under that name."""
    bank, _ = prepare_bank(config)
    bank.traits["../../outside"] = bank.traits.pop("heron")
    save_bank(bank, str(tmp_path / "a" / "b" / "bank"))
    with pytest.raises(ModelError, match="card of another id"):
        load_bank(str(tmp_path / "a" / "b" / "bank"))


def test_background_with_a_bank_as_it_is(config, tmp_path, corpus):
    """A background that nothing would be calibrated on is an error, not ignored."""
    save_bank(prepare_bank(config)[0], str(tmp_path / "bank"))
    with pytest.raises(CardError, match="used as it is"):
        prepare_bank(
            config.model_copy(
                update={"bank": str(tmp_path / "bank"), "traits": (), "background": (str(corpus),)}
            )
        )
