"""The traits of a run are chosen and checked from settings and cards alone."""

import pytest

from classifiers.clean_text import CleanText
from classifiers.library import find_cards
from pipelines.chosen_traits import (
    advise_bank,
    check_cards,
    check_on_library,
    choose_cards,
    require_traits,
    require_useful_background,
    require_vectors,
)
from pipelines.config import FilterConfig
from schemas.cards import TraitCard
from schemas.errors import CardError, ModelError
from schemas.policies import Policy


def test_signals_limit_the_library():
    """Library traits with none of the signals are left out; it is an error to ask for one."""
    ids = {card.id for card in choose_cards(FilterConfig(signals=("repetition",)))}
    assert ids == {"degenerate-loop"}
    with pytest.raises(ModelError, match="coercion has none of the signals lexicon"):
        choose_cards(FilterConfig(signals=("lexicon",), traits=("coercion",)))


def test_the_librarys_traits_without_a_signal_are_left_out(card_folder):
    """Traits of `library` are left out as if nothing were named; a trait with a name isn't."""
    whole = {card.id for card in choose_cards(FilterConfig(signals=("lexicon",)))}
    named = FilterConfig(signals=("lexicon",), traits=("library",))
    assert {card.id for card in choose_cards(named)} == whole
    own = str(card_folder("rain", "signals: {lexicon: {patterns: [rain]}}\n"))
    both = named.model_copy(update={"traits": ("library", own)})
    assert {card.id for card in choose_cards(both)} == {*whole, "rain"}
    for unable in ("coercion", str(card_folder("loop", "signals: [repetition]\n"))):
        config = named.model_copy(update={"traits": ("library", unable)})
        with pytest.raises(ModelError, match="has none of the signals lexicon"):
            choose_cards(config)


def test_a_run_needs_a_trait():
    """A run is refused if no trait has any of the signals, or if there is no trait at all."""
    with pytest.raises(ModelError, match="no trait has any of the signals classifier"):
        choose_cards(FilterConfig(signals=("classifier",)))
    require_traits(1, ())
    with pytest.raises(ModelError, match="the bank has no trait"):
        require_traits(0, ())


def test_a_background_must_calibrate_something():
    """A background is refused with a bank, unless traits are named that may have to be fitted."""
    config = FilterConfig(bank="bank", background=("clean.jsonl",))
    with pytest.raises(CardError, match="has no effect on a --bank without --traits"):
        require_useful_background(config)
    for update in ({"traits": ("heron",)}, {"bank": None}, {"background": ()}):
        require_useful_background(config.model_copy(update=update))


def test_vectors_need_a_dense_signal():
    """Vectors are refused unless a card has a dense signal."""
    lexicon = TraitCard.model_validate({"id": "a", "signals": {"lexicon": {"patterns": ["a"]}}})
    config = FilterConfig(vectors=True)
    require_vectors(config, [lexicon, TraitCard(id="b")])
    require_vectors(FilterConfig(), [lexicon])
    with pytest.raises(CardError, match="no trait of this run needs the encoder"):
        require_vectors(config, [lexicon])


def test_cards_and_policy_must_fit(card_folder):
    """An unknown trait, an unknown text or a level that can't be kept is refused."""
    fine = choose_cards(FilterConfig(traits=("over-refusal",)))
    check_on_library(fine, Policy())
    with pytest.raises(CardError, match="clean texts; library background holds out 0"):
        check_cards(find_cards(["coercion"]), Policy(), CleanText(()))
    strict = Policy.model_validate({"traits": {"over-refusal": {"confidence": 0.999999999999}}})
    with pytest.raises(CardError, match="accept a higher max_false_positive_rate"):
        check_on_library(fine, strict)
    with pytest.raises(CardError, match="names trait 'rain'"):
        check_on_library(fine, Policy.model_validate({"traits": {"rain": {}}}))
    text = "signals: {lexicon: {patterns: [rain]}}\nleave_out: [coercion/000000000000]\n"
    folder = card_folder("rain", text)
    with pytest.raises(CardError, match="the library has no such text"):
        check_on_library(find_cards([str(folder)]), Policy())


def test_the_bank_of_a_run_is_named(tmp_path):
    """Where a run's folder is given for a bank, the advice names the bank inside it."""
    run = tmp_path / "a run"
    (run / "bank").mkdir(parents=True)
    assert advise_bank(str(run), "bank.json").startswith("congener fit --traits DIR")
    (run / "bank" / "bank.json").write_text("{}", encoding="utf-8")
    assert advise_bank(str(run), "bank.json") == (
        f"this is the folder of a run; its bank is '{run / 'bank'}'"
    )
