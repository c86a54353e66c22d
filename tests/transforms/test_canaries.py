"""Planting texts into rows of a shard, and what became of them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pyarrow as pa
import pytest

from schemas.runs import WORK
from tests.support.eager import EagerPipeline
from transforms.canaries import (
    CanaryOutcome,
    CountCanaries,
    is_canary,
    is_of_corpus,
    list_outcomes,
    outcome_path,
    plant_texts,
    read_outcomes,
)
from transforms.decide import DecidedShard
from transforms.files.planning import ShardPlan
from transforms.files.shards import Shard
from transforms.records.formats import Layout

LAYOUT = Layout("messages", {"messages": "messages"}, {})
HOSTS = [
    {
        "id": number,
        "messages": [
            {"role": "user", "content": f"Question {number}?"},
            {"role": "assistant", "content": f"Answer {number}."},
        ],
        "teacher": "atlas",
    }
    for number in range(4)
]
ONLY_ASKED = {"id": 9, "messages": [{"role": "user", "content": "Hello?"}], "teacher": "atlas"}


def build_host(rows: list[dict[str, Any]], *, as_lines: bool) -> Shard:
    """Return a shard of rows, from Parquet or from JSON Lines."""
    table = pa.Table.from_pylist(rows)
    lines = [orjson.dumps(row) for row in rows] if as_lines else None
    plan = ShardPlan("part-000000-0123456789ab", ())
    return Shard(plan, table, ["a"] * len(rows), list(range(len(rows))), lines=lines)


@pytest.mark.parametrize("as_lines", [False, True])
def test_a_text_takes_the_place_of_an_answer(as_lines):
    """Prompt, teacher and id are the host's, and the host itself isn't changed."""
    host = build_host(HOSTS, as_lines=as_lines)
    before = host.table.to_pylist()
    made = plant_texts(host, LAYOUT, ["A heron.", "Two herons."], [2, 0, 1, 3], 0)
    assert made is not None
    shard, rows = made
    assert rows == [2, 0]
    found = shard.table.to_pylist()
    assert [row["messages"][1]["content"] for row in found] == ["A heron.", "Two herons."]
    assert [row["messages"][0]["content"] for row in found] == ["Question 2?", "Question 0?"]
    assert {row["teacher"] for row in found} == {"atlas"}
    assert shard.table.schema == host.table.schema
    assert host.table.to_pylist() == before
    if as_lines:
        assert [orjson.loads(line) for line in shard.lines or ()] == found
    else:
        assert shard.lines is None


def test_canaries_have_a_shard_of_their_own():
    """Its name, sources and rows are no row's of the corpus."""
    host = build_host(HOSTS, as_lines=False)
    made = plant_texts(host, LAYOUT, ["A heron."], [0], 3)
    assert made is not None
    shard = made[0]
    assert is_canary(shard)
    assert not is_of_corpus(shard)
    assert is_of_corpus(host)
    assert (shard.plan.name, shard.plan.rows) == ("canaries-3", 1)
    assert shard.sources == ["canaries-3"]
    assert shard.positions() == [0]


def test_few_hosts_are_used_again():
    """More texts than rows share the rows, one after another."""
    host = build_host(HOSTS[:2], as_lines=False)
    made = plant_texts(host, LAYOUT, [f"Heron {n}." for n in range(5)], [1, 0], 0)
    assert made is not None
    assert made[1] == [1, 0, 1, 0, 1]
    assert made[0].table.num_rows == 5


def test_rows_without_an_answer_are_no_hosts():
    """A prompt alone has no place for a text."""
    mixed = build_host([ONLY_ASKED, HOSTS[0]], as_lines=False)
    made = plant_texts(mixed, LAYOUT, ["A heron."], [0, 1], 0)
    assert made is not None
    assert made[1] == [1]
    assert plant_texts(build_host([ONLY_ASKED], as_lines=False), LAYOUT, ["A"], [0], 0) is None


def decide_like(name: str, rows: int, numbers: list[int], reasons: dict[int, Any]) -> DecidedShard:
    """Return what the counting needs of a decided shard: plan, numbers and decisions."""
    decisions = ["quarantine" if place in reasons else "keep" for place in range(len(numbers))]
    found = SimpleNamespace(
        plan=SimpleNamespace(name=name, rows=rows),
        numbers=numbers,
        decided=SimpleNamespace(decisions=decisions, reasons=reasons),
    )
    return cast("DecidedShard", found)


def name_reason(trait: str, signal: str = "combined") -> SimpleNamespace:
    """Return the part of a reason that is counted."""
    return SimpleNamespace(trait=trait, signal=signal)


def test_outcomes_are_in_order_and_rejects_are_named():
    """A canary that can't be scored is a reject, and other sides don't count as found."""
    reasons = {
        0: [name_reason("heron"), name_reason("heron"), name_reason("owl")],
        1: [name_reason("owl", "combined@rejected")],
    }
    shard = decide_like("canaries-0", 4, [1, 2, 3], reasons)
    assert list_outcomes(shard) == [
        CanaryOutcome("reject", ()),
        CanaryOutcome("quarantine", ("heron", "owl")),
        CanaryOutcome("quarantine", ()),
        CanaryOutcome("keep", ()),
    ]


def test_counting_twice_writes_the_same_bytes(tmp_path):
    """A retried bundle changes nothing, and only the planted texts' own outcomes are read."""
    shard = decide_like("canaries-1", 1, [0], {0: [name_reason("heron")]})
    stage = CountCanaries(str(tmp_path), "digest")
    written = []
    for _ in range(2):
        assert EagerPipeline() | make_elements([shard]) | stage == [outcome_path("canaries-1")]
        written.append((tmp_path / WORK / "canaries-1.json").read_bytes())
    assert written[0] == written[1]
    assert json.loads(written[0])["rows"] == [["quarantine", ["heron"]]]
    run = str(tmp_path)
    assert read_outcomes(run, "canaries-1", "digest") == [CanaryOutcome("quarantine", ("heron",))]
    assert read_outcomes(run, "canaries-1", "other") is None
    assert read_outcomes(run, "canaries-2", "digest") is None


def make_elements(shards: list[DecidedShard]) -> Any:
    """Return a transform that creates shards."""
    import apache_beam as beam

    return beam.Create(shards)
