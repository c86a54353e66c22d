"""What a run of earlier runs' clean rows decides otherwise than they did: rules and exceptions."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import yaml

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_rules
from schemas.errors import RunError
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.policies import Policy, TraitRule
from schemas.runs import MANIFEST
from transforms.files import storage
from transforms.rules import Rule

REVIEWED = re.compile(r"\(([^()]+), SHA-256 [0-9a-f]{64}\)$")
"""The end of a reason that names the file of labels that deny a finding."""

NEVER_FOLDED = 10**6
"""A width beyond which YAML would break a line, larger than any policy."""


class RuleChange(NamedTuple):
    """A part of a trait's rule that differs, as it was in the parent and as it is now.

    `fields` are those of a rule in a policy that keeps the parent's.
    """

    trait: str
    part: str
    before: str
    now: str
    fields: dict[str, Any]


def describe_parent_policies(
    parents: Mapping[str, str], policy: Policy, rules: Sequence[Rule], output: str
) -> Iterator[Notice]:
    """Yield a notice for each parent whose rules or exceptions don't hold in a run into `output`.

    Other rules make it a warning, because the student may learn another text than after the parent.
    What the run's own policy sets isn't among them.
    """
    for run, run_id in parents.items():
        changes, reason = _compare_rules(run, policy, rules)
        lost = list_lost_exceptions(run, policy)
        said = [
            *_describe_changes(changes),
            *([f"its rules can't be compared with this run's: {reason}"] if reason else []),
            *(_describe_lost(lost, output) if lost else []),
            *_describe_remedy(changes, output),
        ]
        if said:
            text = f"the policy of {run} ({run_id}) doesn't hold in this run: {'. '.join(said)}"
            yield warn(text) if changes else Notice(text)


def _compare_rules(run: str, policy: Policy, rules: Sequence[Rule]) -> tuple[list[RuleChange], str]:
    """Return what differs from a run's rules, or why they can't be read."""
    try:
        earlier = {rule.trait: rule for rule in read_recorded_rules(load_manifest(run))}
    except RunError as error:
        return [], error.problem
    pairs = ((earlier[rule.trait], rule) for rule in rules if rule.trait in earlier)
    return [change for pair in pairs for change in list_changes(*pair, policy)], ""


def list_changes(before: Rule, now: Rule, policy: Policy) -> Iterator[RuleChange]:
    """Yield the parts of a trait's rule that differ, except those that the policy sets itself.

    Two calibrated thresholds differ only if their levels do.
    """
    own = policy.get_rule(now.trait)
    if own.action is None and before.action != now.action:
        yield RuleChange(now.trait, "action", before.action, now.action, {"action": before.action})
    if "signal" not in own.model_fields_set and before.signal != now.signal:
        yield RuleChange(now.trait, "signal", before.signal, now.signal, {"signal": before.signal})
    if not _sets_threshold(own):
        yield from _compare_thresholds(before, now)
    for side in ("rejected", "untrained"):
        given = getattr(own.sides, side) or getattr(policy.sides, side)
        old, new = getattr(before, side), getattr(now, side)
        if given is None and old != new:
            yield RuleChange(now.trait, f"{side} texts", old, new, {"sides": {side: old}})


def _sets_threshold(own: TraitRule) -> bool:
    given = own.threshold, own.max_false_positive_rate, own.confidence
    return any(value is not None for value in given)


def _compare_thresholds(before: Rule, now: Rule) -> Iterator[RuleChange]:
    """Yield a change if a threshold that was set by hand, or a level, differs."""
    old, new = before.threshold, now.threshold
    if "explicit" not in (old.origin, new.origin):
        if before.level != now.level:
            pair = _describe_level(before), _describe_level(now)
            yield RuleChange(now.trait, "level", *pair, before.level.model_dump())
    elif old.value != new.value:
        is_set = old.origin == "explicit"
        fields = {"threshold": old.value} if is_set else before.level.model_dump()
        yield RuleChange(now.trait, "threshold", f"{old.value:g}", f"{new.value:g}", fields)


def _describe_level(rule: Rule) -> str:
    return f"{rule.level.max_false_positive_rate:g} at confidence {rule.level.confidence:g}"


def _describe_changes(changes: Sequence[RuleChange]) -> Iterator[str]:
    """Name the traits by what changed."""
    traits: dict[tuple[str, str, str], list[str]] = {}
    for item in changes:
        traits.setdefault((item.part, item.before, item.now), []).append(item.trait)
    parts = (
        f"{part} {before} there and {now} here ({list_names(names)})"
        for (part, before, now), names in traits.items()
    )
    if changes:
        yield "; ".join(parts)


def _describe_remedy(changes: Sequence[RuleChange], output: str) -> Iterator[str]:
    """Quote the policy that keeps the parent's rules, and name the command that applies it."""
    if not changes:
        return
    kept: dict[str, dict[str, Any]] = {}
    for item in changes:
        fields = kept.setdefault(item.trait, {})
        for name, value in item.fields.items():
            is_nested = isinstance(value, dict)
            fields[name] = {**fields.get(name, {}), **value} if is_nested else value
    rules = yaml.safe_dump(
        {"traits": kept}, default_flow_style=True, sort_keys=False, width=NEVER_FOLDED
    )
    yield (
        f"To keep its rules, give --policy a file with `{rules.strip()[1:-1]}`; or once this run "
        f"is done, without scoring again: congener decide {shlex.quote(output)} --policy FILE "
        "--output RUN2"
    )


def list_lost_exceptions(run: str, policy: Policy) -> list[Mapping[str, Any]]:
    """List the exceptions of a run's policy that this policy lacks.

    Whether an exception names the same rows is compared without its reason. Exceptions that reviews
    wrote name their rows otherwise in a run of clean rows, so they are only counted by trait.
    """
    own = [item.model_dump(mode="json") for item in policy.exceptions]
    same = set(map(_identify, own))
    reviewed = Counter(item["trait"] for item in own if list_reviews([item]))
    lost = []
    for item in read_exceptions(run):
        if _identify(item) in same:
            continue
        if list_reviews([item]) and reviewed[item["trait"]]:
            reviewed[item["trait"]] -= 1
        else:
            lost.append(item)
    return lost


def _describe_lost(lost: Sequence[Mapping[str, Any]], output: str) -> Iterator[str]:
    """Count the exceptions, and say how rows of reviews and other rows are kept again."""
    count, verb = format_count(len(lost), "exception"), choose_form(len(lost), "doesn't", "don't")
    yield f"{count} of it {verb} hold: rows that it kept are decided like any other"
    reviews = list_reviews(lost)
    command = f"congener release {shlex.quote(output)} --reviews LABELS --output RUN2"
    if reviews:
        yield (
            f"Once this run is done, the labels that released rows ({list_names(reviews)}) release "
            f"them again, because rows are found by their text: {command}"
        )
    if any(not list_reviews([item]) for item in lost):
        labelled = "" if reviews else f", or label it and run {command}"
        yield (
            "To keep such a row here, name it by its record id (congener inspect shows it), "
            f"because files and numbers of rows are others in clean/{labelled}"
        )


def list_reviews(exceptions: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the files of labels that exceptions come from, as `release` writes their reasons."""
    found = (REVIEWED.search(str(item.get("reason", ""))) for item in exceptions)
    return sorted({match[1] for match in found if match})


def _identify(exception: Mapping[str, Any]) -> str:
    """Return what an exception does and for which rows, without its reason and an id's place."""
    said = {name: value for name, value in exception.items() if name != "reason"}
    row = exception.get("row") or {}
    if row.get("column") is not None:
        said["row"] = {"column": row["column"], "value": row["value"]}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()


def read_exceptions(run: str) -> Sequence[Mapping[str, Any]]:
    """Return the exceptions in a run's manifest, none for a manifest of another form."""
    policy = orjson.loads(storage.read_bytes(storage.join(run, MANIFEST))).get("policy")
    found = policy.get("exceptions", ()) if isinstance(policy, dict) else ()
    return [item for item in found if isinstance(item, dict)]
