"""`congener calibrate`: thresholds for a finished run that keep a stated promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import yaml

from classifiers.guarantees.calibration import calibrate, count_texts_needed
from classifiers.guarantees.conformal import STEPS, CountedScores, count_scores, select_findings
from classifiers.guarantees.lot_differences import LotDifference, compare_lots
from classifiers.guarantees.misses import MissControl, control_expected_misses, control_misses
from classifiers.guarantees.score_differences import ScoreDifference, compare_scores
from pipelines.evaluation import divide_rows, match_labels
from pipelines.label_splits import split_for_calibration
from pipelines.labels import (
    LABEL_AGAIN,
    Label,
    digest_definition,
    read_labels,
    require_definition,
)
from pipelines.runs.finished import MISFITS, list_outputs, report_damage, scan_folder
from pipelines.runs.likeness import warn_of_unlike
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import (
    RecordedTrait,
    read_recorded_policy,
    read_recorded_traits,
)
from pipelines.thresholds import select_rules
from schemas.cards import Level
from schemas.errors import CardError, StorageError
from schemas.lots import LotPattern
from schemas.manifests import Manifest, SettledThreshold
from schemas.notices import list_names
from schemas.policies import LotException, Policy
from schemas.scores import LIKELY, fires, score_column
from transforms.files import storage

DIFFERENT = 0.05
"""The p-value, over both tests of all traits together, up to which lots count as different."""


class Chosen(NamedTuple):
    """A trait's new threshold, and how many rows it finds; `before` is that of the run.

    `value` is None if no threshold keeps the promise. `basis` counts the texts behind it: clean
    texts, or texts with the trait. `note` says why there is none, or what else matters.
    """

    trait: str
    signal: str
    before: float
    rows_before: int
    value: float | None
    rows: int
    basis: int
    note: str = ""


class LotRate(NamedTuple):
    """How many of a lot's clean rows reach a threshold, and the lot's own threshold if it has one.

    The threshold is None if the lots don't differ, or if the lot has too few clean rows. `above` is
    the chance that a row of the lot scores higher than one of the other lots, where a tie counts as
    half, and `q` says how sure it is that this isn't one half, adjusted for the number of lots.
    """

    lot: str
    reached: int
    clean: int
    threshold: float | None = None
    above: float = 0.5
    q: float = 1.0


class LotRates(NamedTuple):
    """A trait's clean rows by lot, and two tests of whether the lots differ.

    `test` is about how many rows reach the threshold, and `scores` about all scores.
    """

    trait: str
    test: LotDifference
    scores: ScoreDifference
    differ: bool
    lots: list[LotRate]

    @property
    def p(self) -> float:
        """Return the smaller p-value of the two tests."""
        return min(self.test.p, self.scores.p)


class ScoredRun(NamedTuple):
    """A finished run's traits, and how many of its rows have which score of each."""

    run: str
    manifest: Manifest
    rules: list[SettledThreshold]
    recorded: Mapping[str, RecordedTrait]
    counts: Mapping[str, np.ndarray]


def read_scored_run(run: str, traits: Sequence[str] = ()) -> ScoredRun:
    """Read the scores of a finished run for some traits, or for all.

    Raises: RunError: the run isn't finished or is damaged, or has no such trait.
    """
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
        rules = select_rules(run, manifest, traits)
        counts = {rule.trait: _count_steps(run, manifest, rule) for rule in rules}
        return ScoredRun(run, manifest, rules, read_recorded_traits(run, manifest), counts)


def _count_steps(run: str, manifest: Manifest, rule: SettledThreshold) -> np.ndarray:
    """Count the rows at each rounding step of a trait's score."""
    counts = np.zeros(STEPS + 1, np.int64)
    if list_outputs(manifest, "scores"):
        step = (pl.col(score_column(rule.trait, rule.signal)) * STEPS).round().cast(pl.Int32)
        frame = scan_folder(run, manifest, "scores").select(step=step).drop_nulls()
        for index, rows in frame.group_by("step").len().collect(engine="streaming").iter_rows():
            counts[index] = rows
    return counts


def bound_clean_share(scored: ScoredRun, share: float) -> list[Chosen]:
    """Choose thresholds so that at most a share of the findings of all traits is on clean rows.

    As in a run, no threshold is below `LIKELY`.
    """
    tested = {
        rule.trait: CountedScores(scored.counts[rule.trait], count_scores(_get_clean(scored, rule)))
        for rule in scored.rules
    }
    found = select_findings(tested, share, LIKELY)
    return [
        _choose(
            scored,
            rule,
            found.thresholds[rule.trait],
            int(tested[rule.trait].clean.sum()),
            "no finding is sure enough",
        )
        for rule in scored.rules
    ]


def bound_clean_rate(scored: ScoredRun, level: Level) -> list[Chosen]:
    """Choose each trait's threshold for a level, as a run does."""
    chosen = []
    for rule in scored.rules:
        threshold = calibrate(_get_clean(scored, rule), level)
        why = f"needs {count_texts_needed(level):,} clean texts"
        chosen.append(_choose(scored, rule, threshold.value, threshold.clean, why))
    return chosen


def bound_misses(
    scored: ScoredRun,
    rate: float,
    confidence: float | None,
    labelled: Mapping[str, LabelledScores] | None,
) -> list[Chosen]:
    """Choose each trait's highest threshold that misses at most a share of the rows with it.

    Without a confidence, the share is kept on average. The rows with the trait are those that
    labels say show it, or else the card's held-out positives.
    """
    chosen = []
    for rule in scored.rules:
        if labelled is None:
            signals = scored.recorded[rule.trait].positive_scores
            scores = signals.get(rule.signal, np.empty(0, np.float32))
        else:
            scores = labelled[rule.trait].select(shows=True)
        found = _control(scores, rate, confidence)
        why = "too few texts with the trait"
        chosen.append(_choose(scored, rule, found.value, found.positives, why))
    return chosen


def _control(scores: np.ndarray, rate: float, confidence: float | None) -> MissControl:
    if confidence is None:
        return control_expected_misses(scores, rate)
    return control_misses(scores, Level(max_false_positive_rate=rate, confidence=confidence))


def describe_unlike(scored: ScoredRun) -> list[str]:
    """Return warnings about traits whose calibration texts aren't like the run's rows."""
    calibration = {name: trait.calibration for name, trait in scored.recorded.items()}
    with report_damage(scored.run, *MISFITS):
        found = warn_of_unlike(scored.run, scored.manifest, calibration)
        return [notice.text for notice in found]


def _get_clean(scored: ScoredRun, rule: SettledThreshold) -> np.ndarray:
    empty = np.empty(0, np.float32)
    return scored.recorded[rule.trait].calibration.get(rule.signal, empty)


def _choose(
    scored: ScoredRun, rule: SettledThreshold, value: float | None, basis: int, why: str
) -> Chosen:
    counts, floor = scored.counts[rule.trait], scored.manifest.span_floor
    rows = 0 if value is None else int(counts[round(value * STEPS) :].sum())
    before = int(counts[round(rule.threshold * STEPS) :].sum())
    note = why if value is None else ""
    if value is not None and value < floor:
        note = f"below the span floor {floor:g}"
    return Chosen(rule.trait, rule.signal, rule.threshold, before, value, rows, basis, note)


class LabelledScores(NamedTuple):
    """The scores, labels and lots of a run's labelled rows, and why other labels aren't used."""

    scores: np.ndarray
    shows: np.ndarray
    lots: pl.DataFrame
    unused: tuple[str, ...] = ()

    def select(self, shows: bool) -> np.ndarray:
        """Return the scores of the rows with one label."""
        chosen: np.ndarray = self.scores[self.shows == shows]
        return chosen


def read_all_labelled(scored: ScoredRun, path: Path) -> dict[str, LabelledScores]:
    """Find the labelled rows of each trait.

    Raises: CardError: see `read_labelled`.
    """
    return {rule.trait: read_labelled(scored, rule.trait, path) for rule in scored.rules}


def read_labelled(scored: ScoredRun, trait: str, path: Path) -> LabelledScores:
    """Find a trait's labelled rows in a run, without rows that a reader chose or a fit learnt from.

    Raises: CardError: the labels can't be read, name no row of the run, were drawn by score, or
        are all of rows that can't be used.
    """
    labels = read_labels(path, trait)
    if any(label.is_drawn_by_score for label in labels):
        raise CardError(
            "has rows that were drawn by their scores, as traits eval draws them, so they aren't a "
            "random sample",
            where=str(path),
            remedy="label rows that were drawn at random, without the fields score and drawn",
        )
    card = scored.recorded[trait].card
    words = card.model_dump(include={"title", "description"})
    require_definition(labels, trait, digest_definition(words), path, LABEL_AGAIN)
    split = split_for_calibration(scored.run, trait, card, labels)
    unused = tuple(split.describe_unused())
    if labels and not split.labels:
        raise CardError(
            f"has no label of {trait} that may calibrate it: {list_names(unused)}",
            where=str(path),
            remedy="label rows that are drawn at random: congener review RUN --sample 400",
        )
    population = divide_rows(scored.run, trait)
    found = match_labels(population, split.labels, str(path))
    sure = {index: label for index, label in found.items() if label.shows is not None}
    with report_damage(scored.run, *MISFITS):
        return _gather(scored, population.scores, sure)._replace(unused=unused)


def _gather(scored: ScoredRun, scores: np.ndarray, labels: Mapping[int, Label]) -> LabelledScores:
    rows = sorted(labels)
    fields = ("teacher", "prompt_source", "system_prompt", "date")
    ledger = scan_folder(scored.run, scored.manifest, "ledger").select(fields)
    lots = ledger.collect(engine="streaming")[rows].fill_null("-")
    shows = np.array([bool(labels[row].shows) for row in rows], bool)
    return LabelledScores(scores[rows], shows, lots)


def compare_clean_lots(
    chosen: Sequence[Chosen], known: Mapping[str, LabelledScores], field: str, level: Level
) -> list[LotRates]:
    """Test whether clean rows of different lots reach each threshold, or score, differently.

    If they do, each lot with enough clean rows gets a threshold for the level of its own. `known`
    has the labelled rows of each trait.
    """
    found = []
    for item in chosen:
        labelled = known[item.trait]
        clean = labelled.select(shows=False)
        names = labelled.lots[field].to_numpy()[~labelled.shows]
        value = item.before if item.value is None else item.value
        parts = {name: clean[names == name] for name in sorted(set(names))}
        counts = {name: int(fires(part, value).sum()) for name, part in parts.items()}
        totals = np.array([len(part) for part in parts.values()])
        test = compare_lots(np.array(list(counts.values())), totals)
        scores = compare_scores([part[~np.isnan(part)] for part in parts.values()])
        differ = min(test.p, scores.p) <= DIFFERENT / (2 * len(chosen))
        lots = [
            LotRate(
                name,
                counts[name],
                len(part),
                calibrate(part, level).value if differ else None,
                shift.above,
                shift.q,
            )
            for (name, part), shift in zip(parts.items(), scores.shifts, strict=True)
        ]
        found.append(LotRates(item.trait, test, scores, differ, lots))
    return found


def build_policy(
    manifest: Manifest,
    chosen: Sequence[Chosen],
    level: Level | None = None,
    lots: Sequence[LotRates] = (),
    field: str = "teacher",
) -> Policy:
    """Return the run's policy with the new thresholds.

    With a level, a trait gets the level rather than the number. A trait without a threshold only
    keeps its rows. Lots that differ get exceptions, which come last.
    """
    policy = read_recorded_policy(manifest)
    traits = dict(policy.traits)
    for item in chosen:
        rule = policy.get_rule(item.trait)
        traits[item.trait] = rule.model_copy(update=_describe_rule(item, level))
    exceptions = [
        LotException(
            trait=found.trait,
            lot=LotPattern.model_validate({field: lot.lot}),
            threshold=lot.threshold,
            reason=f"its clean rows differ from other lots' (p = {found.p:.4f})",
        )
        for found in lots
        for lot in found.lots
        if lot.threshold is not None
    ]
    update = {"traits": traits, "exceptions": (*policy.exceptions, *exceptions)}
    return policy.model_copy(update=update)


def _describe_rule(item: Chosen, level: Level | None) -> dict[str, object]:
    if item.value is None:
        return {"action": "keep"}
    if level is None:
        return {"threshold": item.value, "max_false_positive_rate": None, "confidence": None}
    return {"threshold": None, **level.model_dump()}


def write_policy(path: str, policy: Policy) -> None:
    """Write a policy as YAML, without fields that have their default.

    Raises: StorageError: the file can't be written, or the path is a folder.
    """
    if Path(path).is_dir():
        raise StorageError("is a folder", where=path, remedy="name a file, such as policy.yaml")
    fields = policy.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    storage.write_bytes(path, yaml.safe_dump(fields, sort_keys=False).encode())
