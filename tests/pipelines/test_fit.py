"""`fit`: from trait cards to a bank."""

import pytest

from pipelines.banks import load_bank
from pipelines.config import FilterConfig
from pipelines.fit import describe_fitted_traits, run_fit
from schemas.errors import RunError
from schemas.events import FitStarted


def test_fit_writes_a_bank_that_loads(config, tmp_path):
    """The bank on disk is the one that is returned."""
    bank = run_fit(config, str(tmp_path / "bank"))
    assert load_bank(str(tmp_path / "bank")).digest == bank.digest


def test_a_bank_is_only_replaced_when_asked(config, tmp_path):
    """A second fit into the same folder needs --restart, which removes the old bank."""
    run_fit(config, str(tmp_path / "bank"))
    with pytest.raises(RunError, match="already holds a bank"):
        run_fit(config, str(tmp_path / "bank"))
    run_fit(config, str(tmp_path / "bank"), restart=True)


def test_the_basis_of_thresholds_is_described(config, card_folder, tmp_path):
    """Explicit, calibrated and missing thresholds are distinguished."""
    lexicon = "signals: {lexicon: {patterns: ['storks?']}}\n"
    level = card_folder("calibrated", lexicon)
    strict = card_folder("strict", lexicon + "level: {max_false_positive_rate: 0.0001}\n")
    bank = run_fit(
        config.model_copy(update={"traits": (*config.traits, str(level), str(strict))}),
        str(tmp_path / "bank"),
    )
    found = {line.trait: line for line in describe_fitted_traits(bank)}
    assert {name: line.threshold.origin for name, line in found.items()} == {
        "heron": "explicit",
        "calibrated": "calibrated",
        "strict": "missing",
    }
    assert found["strict"].needed == 29_956
    assert found["calibrated"].threshold.clean >= 299


@pytest.mark.slow
def test_two_fits_give_equal_banks(tmp_path):
    """The same card leads to the same digest, FAISS index and head included."""
    config = FilterConfig(traits=("coercion",))
    digests = []
    for name in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONGENER_CACHE", str(tmp_path / name / "cache"))
            digests.append(run_fit(config, str(tmp_path / name / "bank")).digest)
    assert digests[0] == digests[1]


def test_a_restart_leaves_no_old_file(config, tmp_path):
    """Files of the bank that is replaced are removed, also those that the new bank doesn't have."""
    run_fit(config, str(tmp_path / "bank"))
    (tmp_path / "bank" / "old-trait.bin").write_text("x")
    run_fit(config, str(tmp_path / "bank"), restart=True)
    assert not (tmp_path / "bank" / "old-trait.bin").exists()
    assert load_bank(str(tmp_path / "bank")).traits.keys() == {"heron"}


def test_a_fit_is_announced_to_the_listener(config, tmp_path, card_folder, capfd):
    """The listener hears how many traits are fitted; without one nothing is printed."""
    traits = tuple(
        str(card_folder(name, f"signals: {{lexicon: {{patterns: [{name}]}}}}\nthreshold: 0.5\n"))
        for name in ("egret", "crane")
    )
    events = []
    given = config.model_copy(update={"traits": traits})
    run_fit(given, str(tmp_path / "bank"), listener=events.append)
    assert events == [FitStarted(2)]
    run_fit(given, str(tmp_path / "silent"))
    assert capfd.readouterr() == ("", "")


def test_a_fitted_trait_is_described(config, tmp_path):
    """Exemplars, signals, threshold and the origin of the clean text are listed."""
    bank = run_fit(config, str(tmp_path / "bank"))
    (found,) = describe_fitted_traits(bank)
    assert (found.trait, found.positives, found.negatives) == ("heron", 0, 0)
    assert found.signals == ("lexicon",)
    assert found.threshold.value == 0.5
    assert (found.needed, found.calibrated_on) == (299, "library background")
