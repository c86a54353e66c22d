"""Findings on rows: scores, actions, texts, phrases, neighbours and near misses."""

import json
from pathlib import Path

import polars as pl
import pytest

from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.library import load_card
from pipelines.banks import save_bank
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import read_page
from pipelines.runs.queries import EVERYTHING
from pipelines.runs.shown_findings import NEAR_MISSES, lead_to, sort_findings
from pipelines.runs.shown_rows import read_shown_rows
from tests.support.hostile import (
    FILE,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
)
from tests.support.shown import REASON
from transforms.records.questions import SpokenText

HELD = EVERYTHING._replace(decision="quarantine")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("rows"))[0]


def read_rows(run: str, *indexes: int, **options):
    """Return the rows of a run at these indexes."""
    return read_shown_rows(run, load_manifest(run), indexes, **options)


def test_swap_leads_to_quarantine():
    """A row whose action is swap waits in quarantine; every other action is a decision."""
    assert lead_to(REASON._replace(action="swap")) == "quarantine"
    assert lead_to(REASON._replace(action="flag")) == "flag"
    assert lead_to(REASON._replace(action=None)) is None


def test_findings_that_decided_come_first():
    """Milder actions follow by severity, and equal ones by the distance above the threshold."""
    given = [
        REASON._replace(trait=trait, action=action, score=score)
        for trait, action, score in (
            ("fox", "flag", 1.0),
            ("owl", "mask", 0.5),
            ("elk", "mask", 0.6),
            ("emu", "swap", 0.4),
            ("yak", "quarantine", 0.9),
        )
    ]
    found = [item.trait for item in sort_findings(given, "quarantine")]
    assert found == ["emu", "yak", "elk", "owl", "fox"]
    assert [item.trait for item in sort_findings(given, "mask")][:2] == ["elk", "owl"]
    assert sort_findings((), "keep") == ()


def test_near_misses_are_the_traits_nearest_to_their_thresholds(tmp_path):
    """A row without findings has its nearest trait, with its stored span, and close others."""
    policy = "traits: {emu: {threshold: 0.9}, fox: {threshold: 1}, owl: {threshold: 1}}\n"
    answers = ["an emu and a fox and an owl"]
    run = filter_answers(tmp_path, answers, ["emu", "fox", "owl", "yak"], policy)
    (row,) = read_rows(run, 0)
    (fox,) = row.near
    assert (fox.trait, fox.action) == ("fox", None)
    assert fox.text[fox.start : fox.end] == "fox"
    (only,) = read_rows(run, 0, trait="emu")
    assert [finding.trait for finding in only.near] == ["emu"]
    close = round(fox.score + 0.04, 4)
    rules = "".join(f"  {trait}: {{threshold: {close}}}\n" for trait in ("emu", "fox", "owl"))
    policy = f"traits:\n{rules}"
    run = filter_answers(tmp_path / "close", answers, ["emu", "fox", "owl", "yak"], policy)
    assert len(read_rows(run, 0)[0].near) == NEAR_MISSES


def test_the_action_is_that_of_the_lot_and_the_side(tmp_path):
    """A reason's action follows the exceptions and the side."""
    policy = (
        "sides: {rejected: flag}\n"
        "exceptions:\n  - {trait: owl, lot: {teacher: '-'}, action: mask, reason: a test}\n"
    )
    run = filter_pairs(tmp_path, [("an owl", "a dog"), ("a dog", "an owl")], policy)
    chosen, rejected = read_rows(run, 0, 1)
    assert [reason.action for reason in chosen.reasons] == ["mask"]
    assert [reason.action for reason in rejected.reasons] == ["flag"]
    assert rejected.reasons[0].signal == "combined@rejected"
    assert rejected.reasons[0].question == SpokenText("user", "q")


def test_a_row_has_its_record_and_its_scores(hostile):
    """A quarantined row has its record, its reason's text and span, and all scores."""
    paths = sorted(Path(hostile, "scores").glob("*.parquet"))
    scores = pl.concat([pl.read_parquet(path) for path in paths])
    for row in read_page(
        hostile, load_manifest(hostile), HELD._replace(trait="emu"), "row", 0, 100
    ).rows:
        original = build_rows()[row.row]
        assert row.source == FILE
        assert row.record == original
        assert row.lot.teacher == original["teacher"]
        (reason,) = row.reasons
        assert reason.field_path == "messages[1].content"
        assert reason.text == original["messages"][1]["content"]
        assert reason.text[reason.start : reason.end] == "emu"
        (score,) = scores.filter(pl.col("source") == row.source, pl.col("row") == row.row)[
            "emu/lexicon"
        ]
        assert reason.signals == {"lexicon": pytest.approx(score, abs=1e-6)}
        assert reason.score >= reason.threshold == 0.1175


def test_neighbours_and_all_signals(tmp_path, encoder):
    """A reason of a trait with exemplars has all scores and the nearest exemplars."""
    folder = tmp_path / "rain"
    folder.mkdir()
    (folder / "card.yaml").write_text(
        "id: rain\nsignals: {exemplars: {neighbours: 2}, lexicon: {patterns: [rain]}}\n"
        "threshold: 0.2\n"
    )
    kinds = {"positives": "Rain falls on the roof, time ", "negatives": "The desert stays dry, "}
    for kind, text in kinds.items():
        lines = (json.dumps({"text": f"{text}{number}"}) + "\n" for number in range(12))
        (folder / f"{kind}.jsonl").write_text("".join(lines))
    texts = (f"Chapter {number} of the manual." for number in range(40))
    clean = CleanText(tuple(CleanRow((text,), "background", "clean") for text in texts))
    bank = fit_bank([load_card(folder)], clean, encoder, encoder.config)
    save_bank(bank, str(tmp_path / "bank"))
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Rain falls on the roof."},
    ]
    settings = {"bank": str(tmp_path / "bank"), "hardware": {"device": "cpu"}}
    run, _ = filter_lines(tmp_path, [json.dumps({"messages": turns})], (), **settings)
    (row,) = read_page(run, load_manifest(run)).rows
    (reason,) = row.reasons
    assert set(reason.signals) == {"exemplars", "lexicon"}
    assert all(0 <= score <= 1 for score in reason.signals.values())
    assert [near["polarity"] for near in reason.neighbours] == ["positive"] * 3 + ["negative"] * 3
    similarities = [near["similarity"] for near in reason.neighbours]
    assert similarities[:3] == sorted(similarities[:3], reverse=True)
    assert similarities[0] > similarities[3]
    assert all(value == round(value, 4) for value in similarities)
