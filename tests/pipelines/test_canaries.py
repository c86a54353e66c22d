"""Canaries in whole runs: counted, never published, and without an effect on the run's bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import pipelines.filter as module
from pipelines.canaries import (
    check_canaries,
    describe_canaries,
    find_own_cards,
    read_texts,
    select_held_out,
    settle_canaries,
)
from pipelines.config import FilterConfig
from pipelines.engines.interface import Engine
from pipelines.filter import plan_run, run_filter
from pipelines.verify import verify_run
from schemas.canaries import CanaryCount, CanaryRecord
from schemas.errors import BudgetError, CardError, InputError
from schemas.runs import WITHDRAWN
from tests.support.corpora import write_rows
from tests.support.runs import comparable_files, read_files

SECRET = "planted near the canal"
"""Words that are in every planted text, and in no row."""


@pytest.fixture
def texts(tmp_path) -> dict[str, str]:
    """Write ten canaries, of which eight have herons, and five texts to keep, one with a heron."""
    birds = [
        f"Heron number {n}, {SECRET}." if n < 8 else f"A gull {n}, {SECRET}." for n in range(10)
    ]
    kept = [f"Water {n}, {SECRET}." if n else f"The last heron, {SECRET}." for n in range(5)]
    lines = {
        "canaries": [{"trait": "heron", "text": text} for text in birds],
        "keep_list": [{"text": text} for text in kept],
    }
    paths = {name: tmp_path / f"{name}.jsonl" for name in lines}
    for name, path in paths.items():
        write_rows(path, lines[name])
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture
def with_canaries(config, texts, tmp_path) -> Callable[..., FilterConfig]:
    """Return a function that configures a run with canaries in another folder."""

    def build(name: str = "planted", **changes: Any) -> FilterConfig:
        return config.model_copy(update={**texts, "output": str(tmp_path / name), **changes})

    return build


def strip(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a run's files without what the manifest says about canaries."""
    manifest = json.loads(files["manifest.json"])
    manifest.pop("canaries", None)
    return {**files, "manifest.json": json.dumps(manifest, sort_keys=True).encode()}


def test_a_run_counts_its_canaries(with_canaries):
    """Eight of ten canaries are found, and one text of the keep-list is lost."""
    record = run_filter(with_canaries()).canaries
    assert record is not None
    (count,) = record.counts
    assert (count.trait, count.planted, count.found, count.removed) == ("heron", 10, 8, 8)
    assert count.low == pytest.approx(0.4439, abs=1e-4)
    assert count.high == pytest.approx(0.9748, abs=1e-4)
    assert (record.to_keep, record.lost) == (5, 1)
    assert len(record.places) == 15
    assert set(record.digests) == {"canaries", "keep_list"}


def test_bytes_are_the_same_with_and_without_canaries(run, with_canaries, tmp_path):
    """Every file of the run is the same, apart from the manifest's field."""
    run_filter(with_canaries())
    assert strip(comparable_files(tmp_path / "planted")) == strip(comparable_files(run[0]))
    assert verify_run(str(tmp_path / "planted")) == []


def test_canaries_are_never_published(with_canaries, tmp_path):
    """No file of the run has a planted text, and no count knows them."""
    manifest = run_filter(with_canaries(vectors=False))
    for path, data in read_files(tmp_path / "planted").items():
        assert SECRET.encode() not in data, path
        assert b"canaries-" not in data, path
    assert manifest.conservation.rows_in == 40
    assert sum(manifest.conservation.by_decision.values()) == 40
    assert manifest.fired == {"heron": 8}
    ledger = pl.read_parquet(tmp_path / "planted" / "ledger" / "*.parquet")
    assert len(ledger) == 40


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, ("--direct_runner_bundle_repeat=3",)),
        ({"engine": Engine(workers=2)}, ()),
    ],
    ids=["retries", "workers"],
)
def test_retries_and_workers_change_nothing(with_canaries, tmp_path, changes, options):
    """Bundles that are repeated, and several processes, give the same bytes and counts."""
    run_filter(with_canaries("plain"))
    run_filter(with_canaries("other", **changes), beam_options=options)
    assert comparable_files(tmp_path / "plain") == comparable_files(tmp_path / "other")


def stop(*_: object) -> None:
    """Fail instead of publishing a run."""
    raise RuntimeError("stop before publishing")


def interrupt(config: FilterConfig) -> None:
    """Run everything up to a failing publication."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "publish", stop)
        with pytest.raises(RuntimeError, match="stop"):
            run_filter(config)


@pytest.mark.parametrize("lost", [(), ("canaries-0",), ("receipts",), ("canaries-1", "receipts")])
def test_an_interrupted_run_resumes(with_canaries, tmp_path, lost):
    """Whatever was scored before, the resumed run has the same bytes and counts."""
    run_filter(with_canaries("plain"))
    interrupt(with_canaries("resumed"))
    work = tmp_path / "resumed" / ".work"
    for name in lost:
        paths = work.glob(f"{name}*.json") if name != "receipts" else work.glob("receipts/*.json")
        for path in list(paths)[:2]:
            path.unlink()
    run_filter(with_canaries("resumed"))
    assert comparable_files(tmp_path / "plain") == comparable_files(tmp_path / "resumed")
    assert not work.exists()


def test_other_texts_are_planted_anew(with_canaries, texts, tmp_path):
    """A resumed run with another file counts the texts of that file."""
    interrupt(with_canaries())
    write_rows(Path(texts["canaries"]), [{"trait": "heron", "text": "A grey heron."}])
    record = run_filter(with_canaries()).canaries
    assert record is not None
    assert (record.counts[0].planted, record.counts[0].found) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"canary_floor": 0.9}, "heron found 8 of 10 canaries, and the floor is 90%"),
        ({"keep_list_budget": 0.1}, "1 of 5 texts of the keep-list would be removed"),
    ],
)
def test_too_few_finds_stop_the_run(with_canaries, tmp_path, changes, problem):
    """Nothing is published below the floor, or over the budget of the keep-list."""
    with pytest.raises(BudgetError, match=problem):
        run_filter(with_canaries(**changes))
    assert not (tmp_path / "planted" / "manifest.json").exists()
    assert not (tmp_path / "planted" / "clean").exists()
    withdrawn = json.loads((tmp_path / "planted" / WITHDRAWN).read_text())
    assert withdrawn["canaries"]["counts"][0]["found"] == 8


def test_limits_that_hold_are_recorded(with_canaries):
    """A floor of 80 % and a budget of 20 % are just met."""
    record = run_filter(with_canaries(canary_floor=0.8, keep_list_budget=0.2)).canaries
    assert record is not None
    assert (record.floor, record.budget) == (0.8, 0.2)


def test_places_are_random_but_settled(with_canaries, texts):
    """The same texts are planted at the same places, and others elsewhere."""
    first, again = (settle_canaries(plan_run(with_canaries())) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.places == again.places
    assert len({source for source, _ in first.places}) > 1
    assert len(first.shards) == 4
    write_rows(Path(texts["keep_list"]), [{"text": f"Other {n}."} for n in range(5)])
    other = settle_canaries(plan_run(with_canaries()))
    assert other is not None
    assert other.places != first.places


def test_a_run_without_canaries_has_none(config, run):
    """The manifest doesn't even have the field."""
    assert settle_canaries(plan_run(config.model_copy(update={"output": "none"}))) is None
    assert "canaries" not in json.loads((run[0] / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("canaries", {"trait": "gull", "text": "A gull."}, "names no trait of the audit"),
        ("canaries", {"trait": "heron"}, "has no text"),
        ("keep_list", {"trait": "heron"}, "has no text"),
        ("keep_list", {"text": " "}, "has no text"),
        ("keep_list", {"text": "\ud800"}, "has no text"),
    ],
)
def test_wrong_texts_are_refused_before_anything_is_written(
    with_canaries, texts, tmp_path, name, line, problem
):
    """The error names file and line, and the run isn't begun."""
    Path(texts[name]).write_text(json.dumps(line) + "\n")
    with pytest.raises(CardError, match=problem):
        run_filter(with_canaries())
    assert not (tmp_path / "planted" / ".work" / "run.json").exists()


def test_rows_without_answers_are_no_place(with_canaries, corpus):
    """A corpus of prompts alone can't carry canaries."""
    for path in corpus.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_rows(path, [{**row, "messages": row["messages"][:1]} for row in rows])
    with pytest.raises(InputError, match="no row with a plain answer"):
        settle_canaries(plan_run(with_canaries()))


def test_texts_keep_their_order(with_canaries):
    """Canaries come before the keep-list, each with its trait."""
    texts, digests = read_texts(plan_run(with_canaries()))
    assert [item.trait for item in texts] == ["heron"] * 10 + [""] * 5
    assert len(set(digests.values())) == 2


def build_record(found: int, lost: int, **limits: float) -> CanaryRecord:
    """Return a record of ten canaries and four texts to keep."""
    count = CanaryCount(trait="heron", planted=10, found=found, removed=found, low=0.1, high=0.9)
    return CanaryRecord(digests={}, places=(), counts=(count,), to_keep=4, lost=lost, **limits)


@pytest.mark.parametrize(
    ("found", "floor", "holds"), [(8, 0.8, True), (7, 0.8, False), (0, 0.0, True), (9, 1.0, False)]
)
def test_the_floor_is_exact(found, floor, holds):
    """A share of just the floor is enough."""
    record = build_record(found, 0, floor=floor)
    if holds:
        check_canaries(record)
    else:
        with pytest.raises(BudgetError, match="canaries"):
            check_canaries(record)


@pytest.mark.parametrize(
    ("lost", "budget", "holds"),
    [(0, 0.0, True), (1, 0.25, True), (2, 0.25, False), (1, 0.0, False)],
)
def test_the_budget_of_the_keep_list_is_exact(lost, budget, holds):
    """A share of just the budget may be lost."""
    record = build_record(10, lost, budget=budget)
    if holds:
        check_canaries(record)
    else:
        with pytest.raises(BudgetError, match="keep-list"):
            check_canaries(record)


def test_notices_say_what_was_found():
    """Lost texts are a warning, and an interval is beside each count."""
    first, second = describe_canaries(build_record(8, 1))
    assert first.text == "canaries: heron found 8 of 10 (10% to 90%)"
    assert (second.text, second.severity) == ("keep-list: 1 of 4 texts removed", "warning")
    assert [item.severity for item in describe_canaries(build_record(8, 0))] == ["info", "info"]


def write_held_out(folder: Path, *lines: dict[str, Any]) -> None:
    """Write a trait's held-out texts."""
    write_rows(folder / "heldout.jsonl", list(lines))


HERONS = [{"text": f"Heron number {n}, {SECRET}.", "label": True} for n in range(6)]
OTHERS = [
    {"text": f"A gull, {SECRET}.", "label": 0},
    {"text": f"Not sure, {SECRET}.", "label": "unsure"},
    {"text": f"Asked, a heron, {SECRET}.", "label": 1, "prompt": "Which bird?"},
    {"text": f"An owl, {SECRET}.", "label": True, "trait": "owl"},
]


def test_held_out_texts_are_canaries(config, heron, tmp_path):
    """Those that show the trait without a prompt of their own are planted, or some of them."""
    write_held_out(heron, *HERONS, *OTHERS)
    every = select_held_out("heron", heron)
    assert {item.text for item in every} == {line["text"] for line in HERONS}
    assert select_held_out("heron", heron, 4) == every[:4]
    output = str(tmp_path / "planted")
    record = run_filter(config.model_copy(update={"canaries": "heldout:4", "output": output}))
    (count,) = record.canaries.counts
    assert (count.planted, count.found) == (4, 4)
    assert record.canaries.unmeasured == ()
    assert verify_run(output) == []


def test_held_out_texts_of_the_library_are_shipped(config, tmp_path):
    """A run with a trait of the library needs no file, and names the traits without canaries."""
    update = {"traits": (*config.traits, "degenerate-loop"), "output": str(tmp_path / "planted")}
    manifest = run_filter(config.model_copy(update={**update, "canaries": "heldout"}))
    (count,) = manifest.canaries.counts
    assert (count.trait, count.planted) == ("degenerate-loop", 25)
    assert count.found > 15
    assert manifest.canaries.unmeasured == ("heron",)
    texts = [notice.text for notice in describe_canaries(manifest.canaries)]
    assert "no canary of heron, so nothing is known of them" in texts


def test_cards_without_held_out_texts_are_named(config, tmp_path):
    """The error says where to write them."""
    plan = plan_run(config.model_copy(update={"canaries": "heldout"}))
    with pytest.raises(CardError, match="no card of the run has held-out texts") as caught:
        read_texts(plan)
    assert "heldout.jsonl" in str(caught.value.remedy)


def test_exemplars_are_no_canaries(config, heron, texts, tmp_path):
    """What the fit has seen says nothing about what the run finds."""
    exemplar = {"text": f"Heron number 3, {SECRET}."}
    write_rows(heron / "positives.jsonl", [exemplar])
    for given in (texts["canaries"], "heldout"):
        write_held_out(heron, *HERONS)
        plan = plan_run(config.model_copy(update={"canaries": given}))
        with pytest.raises(CardError, match="1 text took part in the fit") as caught:
            read_texts(plan)
        assert "Heron number 3" in caught.value.problem


def test_labelled_texts_are_no_canaries(config, heron, tmp_path):
    """A file of held-out texts that also labels the fit isn't held out."""
    write_held_out(heron, *({**line, "trait": "heron"} for line in HERONS))
    labels = str(heron / "heldout.jsonl")
    plan = plan_run(config.model_copy(update={"canaries": "heldout", "labels": (labels,)}))
    with pytest.raises(CardError, match="6 texts took part in the fit"):
        read_texts(plan)


def test_cards_that_changed_are_not_those_of_the_bank(config, heron):
    """Only cards from which the run's traits were fitted have its held-out texts."""
    plan = plan_run(config)
    assert set(find_own_cards(plan)) == {"heron"}
    write_rows(heron / "positives.jsonl", [{"text": "A heron, new."}])
    assert find_own_cards(plan) == {}
