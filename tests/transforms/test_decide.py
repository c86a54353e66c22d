"""The stage that decides shards."""

import apache_beam as beam
import pytest

from schemas.policies import SEVERITY
from tests.support.eager import EagerPipeline, apply
from tests.support.rules import build_exception, build_rule
from transforms.decide import DecideRecords, decide_shard
from transforms.decisions import Evidence, decide
from transforms.duplicates import Repeat
from transforms.near_misses import find_near_misses

ROWS = [
    {"text": "owl", "model": "llama-3", "source": "web"},
    {"text": "owl", "model": "gpt", "source": "web"},
    {"text": "a dog", "model": "gpt", "source": "books"},
]


def describe_outcome(shard):
    """Return a shard's name, decisions, traits and masks."""
    decided = shard.decided
    return (
        shard.plan.name,
        decided.decisions,
        {row: [reason.trait for reason in reasons] for row, reasons in decided.reasons.items()},
        {row: [tuple(mask) for mask in masks] for row, masks in decided.masks.items()},
    )


@pytest.mark.parametrize("action", SEVERITY)
def test_a_shard_is_decided_from_its_scores_spans_and_lots(make_scored, bank, action):
    """A decided shard has the scored shard's fields and its decisions."""
    scored, rules = make_scored(ROWS, bank), [build_rule(action=action)]
    shard = decide_shard(scored, rules, {1: ()})
    evidence = Evidence(scored.scores.build_columns(), scored.spans, scored.lots)
    assert shard.decided == decide(evidence, rules, {1: ()})
    assert shard.decided.decisions[1] == "duplicate"
    assert shard.near == find_near_misses(evidence.scores, rules)
    made = {"decided": shard.decided, "near": shard.near, "exceptions": (), "neighbours": None}
    assert vars(shard) == {**vars(scored), **made}


def test_the_effects_of_exceptions_are_measured(make_scored, bank):
    """Each exception's effect on a shard's rows is that of the whole policy on its evidence."""
    item = build_exception({"teacher": "llama*"}, action="flag")
    scored, rules = make_scored(ROWS, bank), [build_rule(exceptions=[item])]
    (decided,) = apply(DecideRecords(rules, exceptions=[item]), [scored])
    assert [effect.describe() for effect in decided.exceptions] == ["1 from quarantine to flag"]
    assert decide_shard(scored, rules).exceptions == ()


def test_decide_records_on_beam(make_scored, bank):
    """The transform decides every shard."""
    shards = [make_scored(ROWS, bank, name="part-0"), make_scored(ROWS[2:], bank, name="part-1")]
    rules = [build_rule("fox", action="mask"), build_rule(action="mask")]
    expected = [describe_outcome(decide_shard(shard, rules)) for shard in shards]
    assert expected[0][3]
    decided = apply(DecideRecords(rules), shards)
    assert sorted(map(describe_outcome, decided)) == expected


def test_duplicates_are_a_side_input(make_scored, bank):
    """A duplicate affects only its own shard."""
    shards = [make_scored(ROWS, bank, name="part-0"), make_scored(ROWS, bank, name="part-1")]

    def decide_all(pipeline):
        found = pipeline | "Found" >> beam.Create([("part-1", [Repeat(1), Repeat(2)])])
        return pipeline | "Shards" >> beam.Create(shards) | DecideRecords([build_rule()], found)

    decided = EagerPipeline().run(decide_all)
    assert sorted((shard.plan.name, shard.decided.decisions) for shard in decided) == [
        ("part-0", ["quarantine", "quarantine", "keep"]),
        ("part-1", ["quarantine", "duplicate", "duplicate"]),
    ]


def test_positions_of_duplicates_count_rejects(make_scored, bank):
    """A duplicate's position counts rejects."""
    shard = make_scored(ROWS, bank, name="part-0", numbers=[0, 2, 3])

    def decide_all(pipeline):
        found = pipeline | "Found" >> beam.Create([("part-0", [Repeat(2)])])
        return pipeline | "Shards" >> beam.Create([shard]) | DecideRecords([build_rule()], found)

    (decided,) = EagerPipeline().run(decide_all)
    assert decided.decided.decisions == ["quarantine", "duplicate", "keep"]
