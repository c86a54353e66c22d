"""Reading a finished run's traits and policy."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from classifiers.library import load_card
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.recorded_settings import (
    read_recorded_policy,
    read_recorded_rules,
    read_recorded_traits,
)
from schemas.lots import Lot, LotPattern
from schemas.policies import Policy
from schemas.runs import CALIBRATION
from transforms.rules import settle_rules

POLICY = """\
traits: {heron: {threshold: 0.4}}
exceptions:
  - {trait: heron, lot: {teacher: atlas}, action: flag, reason: a test}
"""


def test_traits_are_the_cards_with_their_scores(run, heron):
    """The run's card and each signal's clean scores are read."""
    folder, manifest = run
    ((name, trait),) = read_recorded_traits(str(folder), manifest).items()
    assert name == "heron"
    assert trait.card == load_card(heron).card
    assert trait.calibrated_on == manifest.thresholds[0].calibrated_on
    assert set(trait.calibration) == {"combined", "lexicon"}
    scores = trait.calibration["combined"]
    assert scores.dtype == np.float32
    assert int((~np.isnan(scores)).sum()) == manifest.thresholds[0].clean_texts


def test_a_run_without_calibration_scores(run):
    """Without a calibration file, a trait has no clean scores."""
    folder, manifest = run
    outputs = tuple(output for output in manifest.outputs if output.path != CALIBRATION)
    traits = read_recorded_traits(str(folder), manifest.model_copy(update={"outputs": outputs}))
    assert traits["heron"].calibration == {}


def test_other_columns_are_refused(run):
    """A calibration file with other columns is an error."""
    folder, manifest = run
    pq.write_table(pa.table({"x": [1]}), folder / CALIBRATION)
    with pytest.raises(ValueError, match="names"):
        read_recorded_traits(str(folder), manifest)


def test_an_invalid_card_is_refused(run):
    """A card with an unknown field is an error."""
    folder, manifest = run
    cards = {"heron": manifest.cards["heron"] | {"colour": "grey"}}
    with pytest.raises(ValidationError, match="colour"):
        read_recorded_traits(str(folder), manifest.model_copy(update={"cards": cards}))


def test_the_policy_comes_back_with_its_exceptions(config: FilterConfig, policy):
    """A policy is read with its exceptions' lots."""
    manifest = run_filter(config.model_copy(update={"policy": policy(POLICY)}))
    found = read_recorded_policy(manifest)
    assert found.traits["heron"].threshold == 0.4
    assert [item.lot for item in found.exceptions] == [LotPattern(teacher="atlas")]
    assert found.model_dump(mode="json") == manifest.policy
    assert Path(config.output).is_dir()


def test_the_default_policy_comes_back(run):
    """A run without a policy records the default policy."""
    _, manifest = run
    assert read_recorded_policy(manifest) == Policy()


def test_the_rules_are_those_of_the_run(config, policy):
    """The recorded rules equal newly settled rules."""
    text = (
        "sides: {rejected: flag}\n"
        "exceptions:\n  - {trait: '*', lot: {teacher: atlas}, action: flag, reason: a test}\n"
    )
    manifest = run_filter(config.model_copy(update={"policy": policy(text)}))
    traits = read_recorded_traits(config.output, manifest)
    settled = settle_rules(traits, read_recorded_policy(manifest))
    found = read_recorded_rules(manifest)
    assert [rule._replace(threshold=None, found=None) for rule in found] == [
        rule._replace(threshold=None, found=None) for rule in settled
    ]
    assert [rule.threshold[:5] for rule in found] == [rule.threshold[:5] for rule in settled]
    assert found[0].apply_exceptions(Lot("atlas"))[1] == "flag"
