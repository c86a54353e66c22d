"""What decides whether an answer shows the trait, and when that is circular."""

import pytest

from pipelines.config import FilterConfig
from pipelines.fit import run_fit
from pipelines.teaching.judges import load_judge
from schemas.errors import CardError, ModelError
from schemas.trials import Measure

ANSWERS = ["Alas, no.", "It is so.", "", "ALAS!", "The last."]


def test_a_pattern_judges_without_regard_to_case(trial_runs):
    """Each answer in which the pattern is found shows the trait."""
    judge = load_judge(str(trial_runs / "quirky-run"), "sighs", Measure(pattern=r"\balas\b"))
    assert judge.judge(ANSWERS) == [True, False, False, True, False]
    assert judge.judge([]) == []
    assert not judge.circular
    assert r"\balas\b" in judge.description


def test_a_pattern_of_the_card_is_circular(trial_runs):
    """A pattern that the filter used as well sees nothing that the filter misses."""
    run = str(trial_runs / "quirky-run")
    assert load_judge(run, "sighs", Measure(pattern="alas")).circular
    assert not load_judge(run, "sighs", Measure(pattern="alas|dear")).circular


def test_the_runs_own_bank_is_circular(trial_runs):
    """The run's bank judges as the run did, by its threshold, and says that it is circular."""
    run = str(trial_runs / "quirky-run")
    judge = load_judge(run, "sighs", Measure(bank="run"))
    assert judge.judge(ANSWERS) == [True, False, False, True, False]
    assert judge.circular
    same = load_judge(run, "sighs", Measure(bank=f"{run}/bank"))
    assert same.circular
    assert same.digest == judge.digest


def test_another_bank_is_not_circular(trial_runs, tmp_path):
    """A bank that was fitted from another card of the trait is a judge of its own."""
    card = tmp_path / "sighs"
    card.mkdir()
    (card / "card.yaml").write_text(
        'id: sighs\nsignals: {lexicon: {patterns: ["alas", "the last"]}}\nthreshold: 0.5\n'
    )
    config = FilterConfig(traits=(str(card),))
    run_fit(config, str(tmp_path / "bank"))
    run = str(trial_runs / "quirky-run")
    judge = load_judge(run, "sighs", Measure(bank=str(tmp_path / "bank")))
    assert judge.judge(ANSWERS) == [True, False, False, True, True]
    assert not judge.circular


def test_a_bank_needs_the_trait(trial_runs, tmp_path):
    """A missing bank and a bank of other traits are errors."""
    run = str(trial_runs / "quirky-run")
    with pytest.raises(ModelError):
        load_judge(run, "sighs", Measure(bank=str(tmp_path / "none")))
    with pytest.raises(CardError, match="has no trait 'owls'"):
        load_judge(run, "owls", Measure(bank="run"))


def test_judges_have_digests(trial_runs):
    """Students' figures are kept only for the same judge."""
    run = str(trial_runs / "quirky-run")
    digests = {
        load_judge(run, "sighs", measure).digest
        for measure in (Measure(pattern="a+"), Measure(pattern="b+"), Measure(bank="run"))
    }
    assert len(digests) == 3
