"""A run of another run's clean rows says which rules and exceptions of that run don't hold."""

import json

import pytest
import yaml

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.filter import run_filter
from pipelines.runs.parent_policies import (
    describe_parent_policies,
    list_changes,
    list_lost_exceptions,
    list_reviews,
)
from pipelines.runs.recorded_settings import read_recorded_rules
from schemas.cards import Level
from schemas.manifests import Manifest
from schemas.policies import Policy

SAID = "doesn't hold in this run: "


@pytest.fixture
def filter_again(run, heron, tmp_path):
    """Return a function that decides the run with a policy, and filters the clean rows of that."""

    def call(earlier, policy=None, **settings):
        texts = {"first": earlier, "second": policy}
        for name, text in texts.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(text or {}))
        first = FilterConfig(output=str(tmp_path / "flagged"), policy=str(tmp_path / "first.json"))
        run_decide(DecideConfig(run=str(run[0]), filter=first))
        config = FilterConfig(
            input=(str(tmp_path / "flagged" / "clean"),),
            output=str(tmp_path / "a gain"),
            traits=(str(heron),),
            policy=str(tmp_path / "second.json") if policy else None,
            **settings,
        )
        return run_filter(config)

    return call


def find_said(manifest: Manifest):
    """Return the notices about a parent's policy, as text with its severity."""
    return [(item.text, item.severity) for item in manifest.list_notices() if SAID in item.text]


def read_snippet(text):
    """Return the policy that a notice quotes."""
    return yaml.safe_load(text.split("`")[1])


def test_another_action_is_warned_of(filter_again, tmp_path):
    """The warning names action and trait, and the policy that it quotes keeps the parent's rule."""
    earlier = {"traits": {"heron": {"action": "flag"}}}
    again = filter_again(earlier)
    ((text, severity),) = find_said(again)
    assert severity == "warning"
    parent = tmp_path / "flagged"
    assert text.startswith(f"the policy of {parent} ({again.parents[0]}) {SAID}action flag there")
    assert "action flag there and quarantine here (heron). To keep its rules" in text
    output = tmp_path / "a gain"
    assert text.endswith(f"congener decide '{output}' --policy FILE --output RUN2")
    assert read_snippet(text) == earlier
    assert again.conservation.by_decision == {"keep": 32, "quarantine": 8}
    (tmp_path / "kept.yaml").write_text(text.split("`")[1])
    kept = FilterConfig(output=str(tmp_path / "kept"), policy=str(tmp_path / "kept.yaml"))
    decided = run_decide(DecideConfig(run=str(output), filter=kept))
    assert decided.conservation.by_decision == {"keep": 32, "flag": 8}
    assert find_said(decided) == []


@pytest.mark.parametrize(
    "policy",
    [
        {"traits": {"heron": {"action": "flag"}}},
        {"traits": {"heron": {"action": "mask"}}},
        {"traits": {"*": {"action": "drop"}}},
    ],
)
def test_what_the_own_policy_sets_is_not_warned_of(filter_again, policy):
    """An action that the run's policy gives, the same or another, was chosen by somebody."""
    assert find_said(filter_again({"traits": {"heron": {"action": "flag"}}}, policy)) == []


def test_other_thresholds_and_sides_are_named(filter_again):
    """Thresholds that were set by hand, signals and sides are in the quoted policy too."""
    rule = {"threshold": 0.9, "signal": "lexicon", "sides": {"rejected": "drop"}}
    earlier = {"traits": {"heron": rule}, "sides": {"untrained": "as-trained"}}
    ((text, _),) = find_said(filter_again(earlier, {"traits": {"heron": {"action": "flag"}}}))
    for part in (
        "threshold 0.9 there and 0.5 here",
        "signal lexicon there and combined here",
        "rejected texts drop there and keep here",
        "untrained texts as-trained there and keep here",
    ):
        assert part in text
    sides = {"rejected": "drop", "untrained": "as-trained"}
    assert read_snippet(text) == {"traits": {"heron": {**rule, "sides": sides}}}


def test_calibrated_thresholds_differ_by_their_level(finished):
    """Thresholds of one level may differ, as other clean texts give others; levels may not."""
    (rule,) = read_recorded_rules(finished[1])
    levels = [Level(max_false_positive_rate=rate, confidence=0.9) for rate in (0.01, 0.05)]
    values = [rule.threshold._replace(value=value, origin="calibrated") for value in (0.6, 0.7)]
    old, same = (rule._replace(level=levels[0], threshold=value) for value in values)
    other = same._replace(level=levels[1])
    assert list(list_changes(old, same, Policy())) == []
    (change,) = list_changes(old, other, Policy())
    assert change[1:4] == ("level", "0.01 at confidence 0.9", "0.05 at confidence 0.9")
    assert change.fields == {"max_false_positive_rate": 0.01, "confidence": 0.9}
    (back,) = list_changes(old, rule, Policy())
    assert (back.part, back.before, back.now) == ("threshold", "0.6", "0.5")
    assert back.fields == change.fields
    for field, value in (("threshold", 0.8), ("confidence", 0.5)):
        own = Policy.model_validate({"traits": {"heron": {field: value}}})
        assert list(list_changes(old, other, own)) == []


def test_exceptions_of_the_parent_are_missed(filter_again, tmp_path):
    """Exceptions alone are no warning, and those that the policy repeats aren't missed."""
    heron = {"trait": "heron", "action": "keep", "reason": "read"}
    place = {"row": "0.jsonl:1", **heron}
    again = filter_again({"exceptions": [place]})
    ((text, severity),) = find_said(again)
    assert severity == "info"
    assert "1 exception of it doesn't hold: rows that it kept are decided like any other" in text
    assert "name it by its record id" in text
    assert "or label it and run congener release" in text
    folder = str(tmp_path / "flagged")
    same = Policy.model_validate({"exceptions": [{**place, "reason": "another"}]})
    assert list_lost_exceptions(folder, same) == []
    by_id = {"row": {"missing": "x"}, **heron}
    other = Policy.model_validate({"exceptions": [{**place, "action": "flag"}, by_id]})
    (lost,) = list_lost_exceptions(folder, other)
    assert lost["action"] == "keep"


def test_rows_of_reviews_are_released_again_by_the_same_labels(filter_again, tmp_path):
    """For exceptions that reviews wrote, the remedy is their labels, before any row is scored."""
    reason = f"labelled false by eng: (a letter) (labels-eng.jsonl, SHA-256 {'0' * 64})"
    earlier = {"exceptions": [{"row": "0.jsonl:1", "action": "keep", "reason": reason}]}
    ((text, _),) = find_said(filter_again(earlier))
    folder = f"'{tmp_path}/a gain'"
    assert f"congener release {folder} --reviews LABELS --output RUN2" in text
    assert "the labels that released rows (labels-eng.jsonl) release them again" in text
    assert "record id" not in text


def test_rows_that_are_released_again_are_not_lost(tmp_path):
    """Labels that release as many findings of a trait again have nothing left to keep."""
    reason = f"labelled false (a.jsonl, SHA-256 {'0' * 64})"
    plain = {"trait": "owl", "lot": {}, "action": "keep", "reason": reason}
    earlier = [{**plain, "row": {"source": "a", "row": number}} for number in range(2)]
    (tmp_path / "manifest.json").write_text(json.dumps({"policy": {"exceptions": earlier}}))
    places = [f"a.part:{number}" for number in range(2)]
    again = [{**plain, "row": place, "reason": reason.replace("0", "1")} for place in places]
    whole = Policy.model_validate({"exceptions": again})
    assert list_lost_exceptions(str(tmp_path), whole) == []
    part = Policy.model_validate({"exceptions": again[:1]})
    assert list_lost_exceptions(str(tmp_path), part) == earlier[1:]
    other = Policy.model_validate({"exceptions": [{**item, "trait": "elk"} for item in again]})
    assert list_lost_exceptions(str(tmp_path), other) == earlier


def test_files_of_labels_are_named_once():
    """Reasons of one file name it once, and reasons that people wrote name none."""
    digest = "0" * 64
    reasons = [f"labelled false ({name}, SHA-256 {digest})" for name in ("b.csv", "a.csv", "a.csv")]
    given = [{"reason": text} for text in (*reasons, "read (twice)", "")]
    assert list_reviews([*given, {}]) == ["a.csv", "b.csv"]


def test_rules_and_exceptions_share_a_notice(filter_again):
    """A parent whose rules and exceptions don't hold has one notice with both."""
    place = {"row": "0.jsonl:1", "action": "keep", "reason": "read"}
    earlier = {"traits": {"heron": {"action": "flag"}}, "exceptions": [place, place]}
    ((text, severity),) = find_said(filter_again(earlier))
    assert severity == "warning"
    assert text.index("action flag there") < text.index("2 exceptions of it don't hold")
    assert text.endswith("--output RUN2")


def test_an_exception_by_an_id_is_the_same_at_another_place(tmp_path):
    """The place that a run adds to an id isn't compared, and other manifests have no exceptions."""
    rows = [{"column": "id", "value": "a", "source": "x.jsonl", "row": 3}]
    given = [{"trait": "*", "lot": {}, "row": row, "action": "keep", "reason": "r"} for row in rows]
    own = Policy.model_validate({"exceptions": given})
    kept = own.model_dump(mode="json")
    for policy in (kept, {"exceptions": [7]}, []):
        (tmp_path / "manifest.json").write_text(json.dumps({"policy": policy}))
        bare = Policy.model_validate({"exceptions": [{**given[0], "row": {"id": "a"}}]})
        assert list_lost_exceptions(str(tmp_path), bare) == []


def test_rules_of_another_format_are_not_compared_silently(finished, tmp_path):
    """The notice says why the rules of a run of another version can't be compared."""
    old = finished[1].model_dump(mode="json") | {"format": 5}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    rules = read_recorded_rules(finished[1])
    (notice,) = describe_parent_policies({str(tmp_path): "id"}, Policy(), rules, "out")
    assert notice.severity == "info"
    assert "its rules can't be compared with this run's: manifest.json has format 5" in notice.text


def test_a_trait_that_the_parent_lacks_has_no_change(finished):
    """Rules of traits that only one of both runs has aren't compared."""
    folder, manifest = str(finished[0]), finished[1]
    (rule,) = read_recorded_rules(manifest)
    other = rule._replace(trait="owl", action="drop")
    parents = {folder: manifest.run_id}
    assert list(describe_parent_policies(parents, Policy(), [other], "out")) == []
    (notice,) = describe_parent_policies(parents, Policy(), [other._replace(trait="heron")], "out")
    assert "action quarantine there and drop here (heron)" in notice.text
