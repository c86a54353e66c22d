"""`fit`: from trait cards to a bank."""

import json
import shutil

import pytest

from pipelines import shipped_bank
from pipelines.banks import load_bank, remove_bank
from pipelines.config import FilterConfig
from pipelines.fit import describe_fitted_traits, run_fit
from schemas.digests import digest_config
from schemas.errors import CardError, ModelError, RunError
from schemas.events import FitStarted


def test_fit_writes_a_bank_that_loads(config, tmp_path):
    """The bank on disk equals the returned bank."""
    bank = run_fit(config, str(tmp_path / "bank")).bank
    assert load_bank(str(tmp_path / "bank")).digest == bank.digest


def test_a_bank_is_only_replaced_when_asked(config, tmp_path):
    """A second fit into the same folder needs --restart."""
    run_fit(config, str(tmp_path / "bank"))
    with pytest.raises(RunError, match="already holds a bank"):
        run_fit(config, str(tmp_path / "bank"))
    run_fit(config, str(tmp_path / "bank"), restart=True)


def test_the_basis_of_thresholds_is_described(config, card_folder, tmp_path):
    """A fitted trait's threshold is explicit, calibrated or missing."""
    lexicon = "signals: {lexicon: {patterns: ['storks?']}}\n"
    level = card_folder("calibrated", lexicon)
    strict = card_folder("strict", lexicon + "level: {max_false_positive_rate: 0.0001}\n")
    fitted = run_fit(
        config.model_copy(update={"traits": (*config.traits, str(level), str(strict))}),
        str(tmp_path / "bank"),
    )
    found = {line.trait: line for line in describe_fitted_traits(fitted)}
    assert {name: line.threshold.origin for name, line in found.items()} == {
        "heron": "explicit",
        "calibrated": "calibrated",
        "strict": "missing",
    }
    assert found["strict"].needed == 29_956
    assert found["calibrated"].threshold.clean >= 299


@pytest.mark.slow
def test_two_fits_give_equal_banks(tmp_path):
    """Two fits of a card give the same digest."""
    config = FilterConfig(traits=("coercion",))
    digests = []
    for name in ("a", "b"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONGENER_CACHE", str(tmp_path / name / "cache"))
            patch.setattr(shipped_bank, "FILE", tmp_path / "nothing is shipped")
            digests.append(run_fit(config, str(tmp_path / name / "bank")).bank.digest)
    assert digests[0] == digests[1]


def test_a_restart_removes_the_old_bank_alone(config, card_folder, tmp_path):
    """A restart removes only the old bank's files."""
    storks = str(
        card_folder("stork", "signals: {lexicon: {patterns: ['storks?']}}\nthreshold: 1\n")
    )
    run_fit(config.model_copy(update={"traits": (storks,)}), str(tmp_path / "bank"))
    assert (tmp_path / "bank" / "stork").is_dir()
    (tmp_path / "bank" / "notes.txt").write_text("mine")
    run_fit(config, str(tmp_path / "bank"), restart=True)
    assert (tmp_path / "bank" / "notes.txt").exists()
    assert not (tmp_path / "bank" / "stork").exists()
    assert load_bank(str(tmp_path / "bank")).traits.keys() == {"heron"}


def test_a_failed_restart_keeps_the_old_bank(config, tmp_path):
    """A mistake in the cards leaves the old bank unchanged."""
    old = run_fit(config, str(tmp_path / "bank"))
    wrong = config.model_copy(update={"traits": ("no-such-trait",)})
    with pytest.raises(CardError):
        run_fit(wrong, str(tmp_path / "bank"), restart=True)
    assert load_bank(str(tmp_path / "bank")).digest == old.bank.digest


def test_cards_inside_the_output_are_refused(config, tmp_path):
    """A bank can't be written over its own cards."""
    folder = tmp_path / "own"
    shutil.copytree(config.traits[0], folder / "heron")
    inside = config.model_copy(update={"traits": (str(folder / "heron"),)})
    with pytest.raises(RunError, match="holds the trait cards"):
        run_fit(inside, str(folder))
    assert (folder / "heron" / "card.yaml").exists()


def test_a_bank_that_names_files_elsewhere_is_not_removed(config, tmp_path):
    """A bank that names outside files isn't removed."""
    run_fit(config, str(tmp_path / "bank"))
    index = json.loads((tmp_path / "bank" / "bank.json").read_text())
    (tmp_path / "precious").write_text("mine")
    index["files"]["../precious"] = "0" * 64
    index["digest"] = digest_config({key: index[key] for key in index if key != "digest"})
    (tmp_path / "bank" / "bank.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="isn't in the bank"):
        remove_bank(str(tmp_path / "bank"))
    assert (tmp_path / "precious").exists()


def test_a_fit_is_announced_to_the_listener(config, tmp_path, card_folder, capfd):
    """The listener receives the number of traits, and without a listener nothing is printed."""
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
    """A fitted trait has its exemplars, signals, threshold and clean texts."""
    bank = run_fit(config, str(tmp_path / "bank"))
    (found,) = describe_fitted_traits(bank)
    assert (found.trait, found.positives, found.negatives) == ("heron", 0, 0)
    assert found.signals == ("lexicon",)
    assert found.threshold.value == 0.5
    assert (found.needed, found.calibrated_on) == (299, "library background")


def test_fitted_traits_say_what_they_find(config, card_folder, tmp_path):
    """A fitted trait has its found share and its strongest clean texts."""
    card = "signals: {lexicon: {patterns: [heron, water]}}\nthreshold: 0.5\n"
    folder = card_folder("bird", card, ["A heron.", "An egret."])
    given = config.model_copy(update={"traits": (*config.traits, str(folder))})
    lines = describe_fitted_traits(run_fit(given, str(tmp_path / "bank")))
    bird, heron = sorted(lines, key=lambda line: line.trait)
    assert (bird.found.positives, bird.found.found) == (2, 1)
    assert bird.close.clean[0].score >= bird.close.clean[-1].score > 0.8
    assert "water" in bird.close.clean[0].text.lower()
    assert heron.found is None
