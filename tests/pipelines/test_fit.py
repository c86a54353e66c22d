"""fit: cards in, a bank out."""

import pytest

from pipelines.banks import load_bank
from pipelines.config import FilterConfig
from pipelines.fit import fitted_traits, run_fit
from schemas.errors import RunError


def test_fit_writes_a_bank_that_loads(config, tmp_path):
    """The bank on disk is the one that was returned."""
    bank = run_fit(config, str(tmp_path / "bank"))
    assert load_bank(str(tmp_path / "bank")).digest == bank.digest


def test_a_bank_is_not_overwritten_unasked(config, tmp_path):
    """A second fit into the same folder needs --restart."""
    run_fit(config, str(tmp_path / "bank"))
    with pytest.raises(RunError, match="holds a bank already"):
        run_fit(config, str(tmp_path / "bank"))
    run_fit(config, str(tmp_path / "bank"), restart=True)


def test_the_table_says_what_thresholds_rest_on(config, card_folder, tmp_path):
    """An explicit threshold, a calibrated one and a missing one are told apart."""
    lexicon = "signals: {lexicon: {patterns: ['storks?']}}\n"
    level = card_folder("calibrated", lexicon)
    strict = card_folder("strict", lexicon + "level: {max_false_positive_rate: 0.0001}\n")
    bank = run_fit(
        config.model_copy(update={"traits": (*config.traits, str(level), str(strict))}),
        str(tmp_path / "bank"),
    )
    found = {line.trait: line for line in fitted_traits(bank)}
    assert {name: line.threshold.origin for name, line in found.items()} == {
        "heron": "explicit",
        "calibrated": "calibrated",
        "strict": "missing",
    }
    assert found["strict"].needed == 29_956
    assert found["calibrated"].threshold.clean >= 299


@pytest.mark.slow
def test_two_fits_give_equal_banks(tmp_path):
    """Fitting is deterministic: the same card gives the same digest, FAISS index and head included."""
    config = FilterConfig(traits=("coercion",))
    digests = []
    for name in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONGENER_CACHE", str(tmp_path / name / "cache"))
            digests.append(run_fit(config, str(tmp_path / name / "bank")).digest)
    assert digests[0] == digests[1]
