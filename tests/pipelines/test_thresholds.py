"""Thresholds of a finished run, and their rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from classifiers.guarantees.calibration import calibrate
from pipelines.filter import run_filter
from pipelines.runs.recorded_settings import RecordedTrait
from pipelines.thresholds import list_choices, select_rules, settle_thresholds
from schemas.cards import Level, TraitCard
from schemas.errors import RunError
from schemas.scores import fires


def test_each_threshold_has_its_rows(run):
    """Each threshold counts the rows at or above it, and the threshold in force is marked."""
    folder, manifest = run
    (found,) = list_choices(str(folder))
    scores = pl.read_parquet(folder / "scores" / "*.parquet")["heron"].to_numpy()
    assert found.trait == "heron"
    assert found.near == manifest.near["heron"]
    values = [choice.threshold for choice in found.choices]
    assert values == sorted(set(values), reverse=True)
    assert len(values) > 1
    for choice in found.choices:
        assert choice.rows == fires(scores, choice.threshold).sum()
        assert choice.found is None
    (current,) = (choice for choice in found.choices if choice.is_in_force)
    assert (current.threshold, current.rate, current.bound) == (0.5, None, None)
    assert current.rows == manifest.fired["heron"]


def test_positives_found_follow_the_threshold(config, card_folder):
    """A stricter threshold never finds more positives."""
    card = "signals: {lexicon: {patterns: [heron, {match: egret, weight: 0.4}]}}\nthreshold: 0.7\n"
    folder = card_folder("bird", card, ["A heron.", "An egret.", "A stork."])
    manifest = run_filter(config.model_copy(update={"traits": (str(folder),)}))
    rule = manifest.thresholds[0]
    assert (rule.positives, rule.positives_found) == (3, 1)
    assert rule.median_positive == pytest.approx(0.5507, abs=1e-4)
    (listed,) = list_choices(config.output)
    found = [choice.found for choice in listed.choices]
    assert [item.positives for item in found] == [3] * len(found)
    assert [item.found for item in found] == sorted(item.found for item in found)
    assert found[-1].found == 2


def test_a_trait_can_be_chosen(run):
    """Only named traits are listed, and the error for an unknown trait names the others."""
    folder, manifest = run
    assert [item.trait for item in list_choices(str(folder), ["heron"])] == ["heron"]
    with pytest.raises(RunError, match=r"has no trait 'egret'(.|\n)*traits are heron"):
        select_rules(str(folder), manifest, ["egret"])


def test_levels_without_enough_clean_text_are_left_out(run):
    """A level without enough clean text isn't listed."""
    rule = run[1].thresholds[0]
    clean = np.linspace(0, 1, 400).astype(np.float32)
    trait = RecordedTrait(TraitCard(id="heron"), {"combined": clean}, {}, "")
    settled = settle_thresholds(rule, trait, (0.001, 0.01, 0.1))
    assert [rate for rate, _ in settled.values()] == [0.01, 0.1, None]
    for value, (rate, bound) in settled.items():
        if rate is not None:
            expected = calibrate(clean, Level(max_false_positive_rate=rate))
            assert (value, bound) == (expected.value, expected.bound)
    assert list(settle_thresholds(rule, trait._replace(calibration={}))) == [0.5]


def test_the_level_in_force_is_listed_once(run):
    """The level's threshold of 0.5 isn't listed again with the score that clean text allows."""
    clean = np.linspace(0, 0.3, 1003).astype(np.float32)
    rule = (
        run[1]
        .thresholds[0]
        .model_copy(update={"origin": "calibrated", "threshold": 0.5, "bound": 0.003})
    )
    trait = RecordedTrait(TraitCard(id="heron"), {"combined": clean}, {}, "")
    settled = settle_thresholds(rule, trait, (0.005, 0.01, 0.02))
    assert [rate for rate, _ in settled.values()] == [0.01, 0.005, 0.02]
    assert settled[0.5] == (0.01, 0.003)
