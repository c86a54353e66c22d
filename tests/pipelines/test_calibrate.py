"""Thresholds for a finished run, on real runs and on runs with made-up scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from classifiers.guarantees.calibration import calibrate
from classifiers.guarantees.conformal import compute_p_values
from pipelines.calibrate import (
    Chosen,
    bound_clean_rate,
    bound_clean_share,
    bound_misses,
    build_policy,
    compare_clean_lots,
    describe_unlike,
    read_all_labelled,
    read_labelled,
    read_scored_run,
    write_policy,
)
from pipelines.config import FilterConfig, read_policy
from pipelines.decide import DecideConfig, run_decide
from pipelines.labels import digest_definition
from pipelines.runs.manifest_file import load_manifest
from schemas import outputs
from schemas.cards import Level
from schemas.digests import digest_bytes
from schemas.errors import CardError, RunError, StorageError
from schemas.manifests import Manifest
from schemas.policies import Policy
from schemas.receipts import Output
from schemas.runs import BANK, CALIBRATION, MANIFEST, POSITIVES
from schemas.scores import LIKELY
from transforms.write import encode_parquet

MakeRun = Callable[..., str]


@pytest.fixture
def make_run(finished: tuple[Path, Manifest], tmp_path: Path) -> MakeRun:
    """Return a function that writes a run with made-up scores of one trait, heron."""

    def make(
        rows: Sequence[float],
        clean: Sequence[float],
        positives: Sequence[float] = (),
        teachers: Sequence[str] | None = None,
    ) -> str:
        numbers = list(range(len(rows)))
        keys = {"source": ["a.jsonl"] * len(rows), "row": numbers}
        ledger: dict[str, Any] = {
            **dict.fromkeys(outputs.LEDGER.names, [None] * len(rows)),
            **keys,
            "teacher": teachers or [None] * len(rows),
            "decision": ["keep"] * len(rows),
            "reasons": [[]] * len(rows),
            "output": ["clean/a.jsonl"] * len(rows),
            "output_row": numbers,
        }
        scores = outputs.build_scores_schema(["heron", "heron/lexicon"])
        values = pa.array(rows, pa.float32(), from_pandas=True)
        shard = "part-000000-0123456789ab.parquet"
        tables = {
            f"ledger/{shard}": pa.Table.from_pydict(ledger, outputs.LEDGER),
            f"scores/{shard}": pa.table(
                [*map(pa.array, keys.values()), values, values], schema=scores
            ),
            CALIBRATION: tabulate(clean),
            POSITIVES: tabulate(positives),
        }
        folder = tmp_path / f"made-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(finished[0] / BANK, folder / BANK)
        return write_run(folder, tables, finished[1])

    return make


def tabulate(scores: Sequence[float]) -> pa.Table:
    """Return a calibration file's table for the combined score of heron."""
    columns = [["heron"] * len(scores), ["combined"] * len(scores), pa.array(scores, pa.float32())]
    return pa.table(columns, schema=outputs.CALIBRATION_SCORES)


def write_run(folder: Path, tables: Mapping[str, pa.Table], manifest: Manifest) -> str:
    """Write a run's tables, and a manifest that lists them."""
    found = []
    for path, table in tables.items():
        data = encode_parquet(table)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        digest = digest_bytes(data)
        found.append(Output(path=path, rows=table.num_rows, bytes=len(data), sha256=digest))
    rule = manifest.thresholds[0].model_copy(update={"threshold": 0.7, "origin": "calibrated"})
    update = {"outputs": tuple(found), "thresholds": (rule,)}
    (folder / MANIFEST).write_bytes(manifest.model_copy(update=update).seal().to_bytes())
    return str(folder)


def write_labels(path: Path, labels: Mapping[int, Any], **fields: Any) -> Path:
    """Write labels of rows by number."""
    lines = (
        json.dumps({"source": "a.jsonl", "row": row, "label": label, "trait": "heron", **fields})
        for row, label in labels.items()
    )
    path.write_text("\n".join(lines) + "\n")
    return path


def make_level(rate: float, confidence: float = 0.95) -> Level:
    """Return a level."""
    return Level(max_false_positive_rate=rate, confidence=confidence)


def test_a_level_gives_the_threshold_of_a_run(make_run):
    """The threshold is that of `calibrate`, with the rows that it finds."""
    clean = np.linspace(0, 0.9, 500).round(4)
    scored = read_scored_run(make_run([0.1, 0.8, 0.895, 0.95, float("nan")], clean))
    (found,) = bound_clean_rate(scored, make_level(0.02))
    assert found.value == calibrate(clean, make_level(0.02)).value
    assert (found.before, found.rows_before, found.rows, found.basis) == (0.7, 3, 2, 500)
    (found,) = bound_clean_rate(scored, make_level(0.001))
    assert (found.value, found.rows) == (None, 0)
    assert found.note == "needs 2,995 clean texts"


def test_the_share_of_clean_findings_gives_a_threshold(make_run):
    """The threshold is the lowest score whose p-value is selected, and never below one half."""
    clean = np.linspace(0, 0.6, 199).round(4)
    rows = [*np.linspace(0, 0.6, 100).round(4), *[0.7] * 50]
    scored = read_scored_run(make_run(rows, clean))
    (found,) = bound_clean_share(scored, 0.1)
    assert found.value is not None
    p_value = compute_p_values(np.array([found.value]), clean)[0]
    assert found.rows >= 50
    assert p_value <= 0.1 * found.rows / 150
    assert compute_p_values(np.array([found.value - 0.02]), clean)[0] > 0.1 * 60 / 150
    (strict,) = bound_clean_share(scored, 0.001)
    assert (strict.value, strict.note) == (None, "no finding is sure enough")
    low = read_scored_run(make_run([0.3] * 100, [0.0] * 999))
    assert bound_clean_share(low, 0.1)[0].value is None
    likely = read_scored_run(make_run([0.9] * 100, [0.0] * 999))
    assert bound_clean_share(likely, 0.1)[0].value == LIKELY


def test_misses_are_bounded_by_the_cards_positives(make_run):
    """Without labels, the held-out positives count, on average or with a confidence."""
    positives = np.linspace(0.21, 0.99, 79).round(4)
    scored = read_scored_run(make_run([0.3, 0.5, 0.9], [0.0] * 10, positives))
    (found,) = bound_misses(scored, 0.1, None, None)
    assert (found.value, found.basis) == (positives[7], 79)
    (sure,) = bound_misses(scored, 0.1, 0.95, None)
    assert sure.value is not None
    assert sure.value < positives[7]
    (none,) = bound_misses(scored, 0.01, None, None)
    assert (none.value, none.note) == (None, "too few texts with the trait")


def test_a_threshold_below_the_floor_is_noted(make_run):
    """A finished run can't be decided with it."""
    scored = read_scored_run(make_run([0.3], [0.0] * 10, [0.01] * 40))
    (found,) = bound_misses(scored, 0.2, None, None)
    assert found.value == pytest.approx(0.01)
    assert found.note == "below the span floor 0.05"


def test_misses_are_bounded_by_labels(make_run, tmp_path):
    """Of labelled rows, those that show the trait count; unsure ones don't."""
    rows = [number / 100 for number in range(100)]
    scored = read_scored_run(make_run(rows, [0.0] * 10))
    labels = dict.fromkeys(range(50, 90), True) | dict.fromkeys(range(30), False) | {95: "unsure"}
    path = write_labels(tmp_path / "labels.jsonl", labels)
    (found,) = bound_misses(scored, 0.1, None, read_all_labelled(scored, path))
    assert (found.value, found.basis) == (0.53, 40)
    labelled = read_labelled(scored, "heron", path)
    assert (len(labelled.select(shows=True)), len(labelled.select(shows=False))) == (40, 30)


def test_labels_of_another_definition_are_refused(make_run, tmp_path):
    """Labels that were given by other words calibrate nothing, and labels of the same words do."""
    scored = read_scored_run(make_run([0.3, 0.9], [0.0] * 10))
    words = scored.recorded["heron"].card.model_dump()
    path = tmp_path / "labels.jsonl"
    for given, problem in ((words, None), ({**words, "title": "Egrets"}, "another definition")):
        write_labels(path, {0: False, 1: True}, definition=digest_definition(given))
        if problem is None:
            assert read_labelled(scored, "heron", path)
        else:
            with pytest.raises(CardError, match=problem):
                read_labelled(scored, "heron", path)


@pytest.mark.parametrize("drawn", [{"score": 0.3}, {"drawn": "0123456789abcdef"}])
def test_labels_that_were_drawn_by_score_are_refused(make_run, tmp_path, drawn):
    """Rows from `traits eval` aren't a random sample, whether their scores are shown or hidden."""
    scored = read_scored_run(make_run([0.3, 0.9], [0.0] * 10))
    path = write_labels(tmp_path / "labels.jsonl", {0: False, 1: True}, **drawn)
    with pytest.raises(CardError, match="drawn by their scores"):
        read_all_labelled(scored, path)
    path = write_labels(tmp_path / "other.jsonl", {7: True})
    with pytest.raises(CardError, match="no label names a row"):
        read_all_labelled(scored, path)


def test_lots_that_differ_get_thresholds_of_their_own(make_run, tmp_path):
    """A lot whose clean rows score higher needs a higher threshold."""
    dice = np.random.default_rng(1)
    low, high = dice.uniform(0, 0.6, 200).round(4), dice.uniform(0.3, 0.95, 200).round(4)
    run = make_run([*low, *high], [0.0] * 10, teachers=["atlas"] * 200 + ["borealis"] * 200)
    scored = read_scored_run(run)
    path = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(range(400), False))
    level = make_level(0.05)
    chosen = bound_clean_rate(scored, level)
    (found,) = compare_clean_lots(chosen, read_all_labelled(scored, path), "teacher", level)
    assert found.differ
    assert found.test.p == pytest.approx(0.0001)
    atlas, borealis = found.lots
    assert (atlas.lot, atlas.reached, atlas.clean) == ("atlas", 0, 200)
    assert borealis.reached == int((high >= 0.7).sum())
    assert atlas.threshold is not None
    assert borealis.threshold is not None
    assert atlas.threshold < borealis.threshold
    policy = build_policy(scored.manifest, chosen, level, [found])
    exceptions = [(item.lot.teacher, item.threshold) for item in policy.exceptions[-2:]]
    assert exceptions == [("atlas", atlas.threshold), ("borealis", borealis.threshold)]


def test_lots_differ_by_scores_below_the_threshold(make_run, tmp_path):
    """If no row reaches the threshold, the test of all scores says that the lots differ."""
    dice = np.random.default_rng(2)
    low, high = dice.uniform(0, 0.3, 100).round(4), dice.uniform(0.2, 0.5, 100).round(4)
    run = make_run([*low, *high], [0.0] * 10, teachers=["atlas"] * 100 + ["borealis"] * 100)
    scored = read_scored_run(run)
    path = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(range(200), False))
    chosen = [Chosen("heron", "combined", 0.7, 0, 0.7, 0, 10)]
    (found,) = compare_clean_lots(
        chosen, read_all_labelled(scored, path), "teacher", make_level(0.1)
    )
    assert (found.test.p, found.differ) == (1.0, True)
    assert found.p == found.scores.p < 0.001
    atlas, borealis = found.lots
    wins = (high[:, None] > low).mean() + (high[:, None] == low).mean() / 2
    assert borealis.above == pytest.approx(wins)
    assert atlas.above == pytest.approx(1 - wins)
    assert atlas.q == borealis.q < 0.001
    policy = build_policy(scored.manifest, chosen, make_level(0.1), [found])
    assert policy.exceptions[0].reason.endswith(f"(p = {found.p:.4f})")


def test_equal_lots_keep_one_threshold(make_run, tmp_path):
    """Without a difference, no lot gets an exception."""
    scores = [*np.linspace(0, 0.9, 100).round(4)] * 2
    run = make_run(scores, [0.0] * 10, teachers=["atlas"] * 100 + ["borealis"] * 100)
    scored = read_scored_run(run)
    path = write_labels(tmp_path / "labels.jsonl", dict.fromkeys(range(200), False))
    chosen = [Chosen("heron", "combined", 0.7, 0, None, 0, 10)]
    (found,) = compare_clean_lots(
        chosen, read_all_labelled(scored, path), "teacher", make_level(0.1)
    )
    assert not found.differ
    assert [lot.threshold for lot in found.lots] == [None, None]
    assert build_policy(scored.manifest, chosen, None, [found]).exceptions == ()


def test_a_policy_has_the_level_or_the_threshold(make_run):
    """A trait without a threshold keeps its rows, and other settings stay."""
    manifest = read_scored_run(make_run([0.3], [0.0] * 10)).manifest
    chosen = Chosen("heron", "combined", 0.7, 0, 0.81, 0, 10)
    rule = build_policy(manifest, [chosen]).traits["heron"]
    assert (rule.threshold, rule.max_false_positive_rate) == (0.81, None)
    rule = build_policy(manifest, [chosen], make_level(0.02)).traits["heron"]
    assert (rule.threshold, rule.max_false_positive_rate, rule.confidence) == (None, 0.02, 0.95)
    rule = build_policy(manifest, [chosen._replace(value=None)]).traits["heron"]
    assert (rule.threshold, rule.action) == (None, "keep")


def test_a_written_policy_can_be_decided(run, tmp_path):
    """The file is a policy, with which the run is decided as the table says."""
    folder, _ = run
    scored = read_scored_run(str(folder))
    (found,) = bound_misses(scored, 0.5, None, None)
    assert found.value is None  # the trait has no positives
    chosen = [found._replace(value=0.75)]
    path = str(tmp_path / "policy.yaml")
    write_policy(path, build_policy(scored.manifest, chosen))
    assert read_policy(path).traits["heron"].threshold == pytest.approx(0.75)
    given = FilterConfig(output=str(tmp_path / "again"), policy=path)
    manifest = run_decide(DecideConfig(run=str(folder), filter=given))
    rows = int(scored.counts["heron"][7_500:].sum())
    assert manifest.count_fired("heron") == rows > 0


def test_runs_unlike_their_calibration_texts_are_named(make_run):
    """A promise about clean rows needs texts that are like them."""
    unlike = describe_unlike(read_scored_run(make_run([0.4] * 500, [0.0] * 500)))
    assert "heron" in unlike[0]
    assert describe_unlike(read_scored_run(make_run([0.1, 0.2] * 200, [0.1, 0.2] * 200))) == []


def test_only_named_traits_are_calibrated(run, tmp_path):
    """An unknown trait and an unfinished run are errors."""
    folder, manifest = run
    assert [rule.trait for rule in read_scored_run(str(folder)).rules] == list(manifest.cards)
    with pytest.raises(RunError, match="has no trait 'stork'"):
        read_scored_run(str(folder), ["stork"])
    with pytest.raises(RunError):
        read_scored_run(str(tmp_path / "nowhere"))
    assert load_manifest(str(folder)).digest == manifest.digest


def test_a_policy_is_not_written_onto_a_folder(tmp_path):
    """The error names the folder and asks for a file."""
    with pytest.raises(StorageError, match="is a folder") as caught:
        write_policy(str(tmp_path), Policy())
    assert "policy.yaml" in caught.value.remedy
