"""Deciding stored shards: what is read, what is checked, what is copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import outputs
from schemas.errors import RunError
from schemas.lots import Lot
from schemas.policies import PUBLISHED
from schemas.runs import parse_path
from tests.support.rules import build_rule
from transforms.decide_again import (
    ShardFiles,
    StoredEvidence,
    decide_ledger,
    decide_stored,
    list_unknown_neighbours,
    read_notes,
    read_stored_shard,
    refuse_unknown,
)
from transforms.decisions import Decisions, Reason
from transforms.write import write_tables

NAME = "part-000000-0123456789ab"
SCORES = [None, 0.9, 0.1, 0.2, 0.8, 0.0]
HELD = (1, 4)


def build_tables() -> dict[str, pa.Table]:
    """Return the tables of six rows, of which the first is a reject and two are held."""
    keys = {"source": ["a.jsonl"] * 6, "row": list(range(6))}
    decisions = ["quarantine" if row in HELD else "keep" for row in range(6)]
    folders = ["quarantine" if row in HELD else "clean" for row in range(6)]
    ledger = {
        **keys,
        "record_id": [None, *"bcdef"],
        "teacher": ["atlas", "borealis"] * 3,
        "content_digest": [letter * 64 for letter in "abcdef"],
        "decision": ["reject", *decisions[1:]],
        "reasons": [[] for _ in range(6)],
        "output": ["rejects/x.parquet", *(f"{name}/x.parquet" for name in folders[1:])],
        "output_row": [0, 0, 0, 1, 1, 2],
    }
    scores = outputs.build_scores_schema(["heron", "heron/lexicon"])
    span = {"trait": "heron", "signal": "lexicon", "field_path": "text", "start": 0, "end": 5}
    spans = [
        [{**span, "score": score, "masks": [], "hits": []}] if score else [] for score in SCORES
    ]
    reasons = [{"trait": "heron", "signal": "combined", "field_path": "text", "neighbours": []}]
    notes = [{"row": row, "reasons": reasons} for row in HELD]
    return {
        "ledger": pa.Table.from_pydict(fill(ledger, outputs.LEDGER), outputs.LEDGER),
        "scores": pa.table({**keys, "heron": SCORES, "heron/lexicon": SCORES}, schema=scores),
        "spans": pa.Table.from_pydict({**keys, "spans": spans}, outputs.SPANS),
        "quarantine": pa.table({"text": ["A heron.", "Herons."], "congener": notes}),
    }


def fill(columns: dict[str, list[Any]], schema: pa.Schema) -> dict[str, list[Any]]:
    """Return every column of a schema, with nulls in those that aren't given."""
    return {name: columns.get(name, [None] * 6) for name in schema.names}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ShardFiles:
    """Write the tables as a run's files."""
    folder = tmp_path_factory.mktemp("stored")
    written = write_tables(NAME, "a", build_tables(), str(folder))
    return ShardFiles(str(folder), NAME, {parse_path(item.path).folder: item for item in written})


@pytest.fixture
def stored(files: ShardFiles) -> StoredEvidence:
    """Read the shard."""
    return read_stored_shard(files)


def test_a_shard_is_read_without_its_rejects(stored):
    """Evidence is about the good rows, whose places in the ledger are known."""
    assert stored.good.tolist() == [1, 2, 3, 4, 5]
    assert stored.take("row") == [1, 2, 3, 4, 5]
    assert list(stored.evidence.scores) == ["heron", "heron/lexicon"]
    assert (stored.evidence.scores["heron"] > 0.5).tolist() == [True, False, False, True, False]
    assert len(stored.evidence.lots) == len(stored.evidence.spans) == 5


def test_the_same_rules_give_the_same_decisions(stored):
    """A rule with the run's threshold decides as the run did."""
    decided = decide_stored(stored, [build_rule("heron", 0.7)], {})
    assert decided.decisions == stored.take("decision")
    other = decide_stored(stored, [build_rule("heron", 0.7, "drop")], {})
    assert other.decisions == ["drop", "keep", "keep", "drop", "keep"]


def test_repeats_are_those_of_the_shard(stored):
    """Only the repeats under the shard's name count."""
    rules = [build_rule("heron", 0.7)]
    repeats = {stored.files.name: {2: ()}, "another": {1: ()}}
    assert decide_stored(stored, rules, repeats).decisions[2] == "duplicate"
    assert decide_stored(stored, rules, repeats).decisions[1] == "keep"


def test_a_ledger_has_new_decisions_and_old_rows(stored):
    """Rows, lots and rejects stay; decisions, reasons and places are new."""
    decided = decide_stored(stored, [build_rule("heron", 0.7, "flag")], {})
    places = {
        row: ("clean/a.jsonl", row) for row in range(5) if decided.decisions[row] in PUBLISHED
    }
    ledger = decide_ledger(stored, decided, places)
    assert ledger.schema.equals(stored.ledger.schema)
    same = ["record_id", "source", "row", "teacher", "content_digest"]
    assert ledger.select(same).equals(stored.ledger.select(same))
    rows = ledger.to_pylist()
    assert [row["decision"] for row in rows] == ["reject", "flag", "keep", "keep", "flag", "keep"]
    assert rows[0]["output"].startswith("rejects/")
    assert [row["output_row"] for row in rows[1:]] == [0, 1, 2, 3, 4]
    assert [len(row["reasons"]) for row in rows] == [0, 1, 0, 0, 1, 0]


def test_a_row_in_no_file_has_no_place(stored):
    """Dropped rows have neither a file nor an index."""
    decided = decide_stored(stored, [build_rule("heron", 0.7, "drop")], {})
    rows = decide_ledger(stored, decided, {}).to_pylist()
    assert {(row["output"], row["output_row"]) for row in rows[1:]} == {(None, None)}


def test_notes_are_those_of_the_held_rows(files, stored):
    """Each held row has a note, and its findings are keyed by row, trait and side."""
    assert [note["row"] for note in read_notes(files)] == [1, 4]
    assert stored.find_neighbours() == {(0, "heron", "trained"): [], (3, "heron", "trained"): []}


def test_a_changed_file_is_refused(files, tmp_path):
    """A file with another digest isn't read."""
    output = files.files["ledger"]
    copy = ShardFiles(str(tmp_path), files.name, {"ledger": output})
    path = Path(tmp_path, output.path)
    path.parent.mkdir()
    data = Path(files.run, output.path).read_bytes()
    path.write_bytes(data)
    assert copy.read_bytes("ledger") == data
    path.write_bytes(data + b"\0")
    with pytest.raises(RunError, match="isn't the file that the run wrote"):
        copy.read_table("ledger")


class Compared:
    """A trait with exemplars."""

    positive_index, negative_index = object(), None


class Uncompared:
    """A trait without exemplars."""

    positive_index = negative_index = None


@given(st.lists(st.sampled_from(["keep", "flag", "quarantine", "drop"]), min_size=5, max_size=5))
def test_only_held_rows_need_exemplars(files, decisions):
    """Findings on rows that aren't held, or that were held, are complete."""
    stored = read_stored_shard(files)
    scores = {**stored.evidence.scores, "heron/exemplars": np.array([0.9] * 4 + [np.nan], "f4")}
    evidence = stored.evidence._replace(scores=scores)
    stored = StoredEvidence(stored.files, stored.ledger, stored.good, evidence)
    reason = Reason("heron", "combined", 0.9, 0.7, "x", 0, 1, "quarantine", "exemplars")
    decided = Decisions(decisions, {row: [reason] for row in range(5)})
    wanted = sum(decisions[row] == "quarantine" for row in (1, 2))
    assert len(list_unknown_neighbours(stored, decided, {"heron": Compared()})) == wanted
    assert list_unknown_neighbours(stored, decided, {"heron": Uncompared()}) == []


def test_the_refusal_counts_rows_by_trait():
    """The error names the traits, and says how to go on."""
    error = refuse_unknown("run", {"owl": 1_200, "heron": 2})
    assert "owl 1,200, heron 2" in error.problem
    assert "flag, mask or drop" in (error.remedy or "")


def test_lots_are_read_from_the_ledger(stored):
    """Lots have the ledger's fields, and unknown fields are marked as such."""
    teachers = stored.take("teacher")
    assert list(stored.evidence.lots) == [Lot(teacher=name) for name in teachers]
    assert set(teachers) == {"atlas", "borealis"}
    assert pa.types.is_list(stored.evidence.spans.type)
