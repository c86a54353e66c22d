"""The tables of a decided shard."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.banks import index_of
from classifiers.guarantees.calibration import STEP, Threshold
from classifiers.scoring import SignalScores
from schemas import outputs
from schemas.cards import Level
from schemas.digests import merkle_root, sha256_hex
from schemas.policies import PUBLISHED, SEVERITY
from transforms.decide import Reason, Rule, decide
from transforms.files.shards import Reject
from transforms.tables import build_tables, ledger_leaves

NAME = "part-000000-aaaaaaaaaaaa"


def rule(trait, action="quarantine", threshold=0.5, signal="combined"):
    """Make a rule with an explicit threshold."""
    return Rule(trait, signal, Threshold(threshold, "explicit"), Level(), action, ())


def reject(row, raw=b"broken", source="corpus.jsonl"):
    """Make a reject."""
    return Reject(source, row, 100 * row, "not JSON", raw)


@pytest.fixture(scope="session")
def built(make_scored):
    """Return what builds the tables of rows by rules on the lexicon traits."""

    def build(rows, bank, actions=None, duplicates=(), extra_column=False, **shard):
        rules = [
            rule(trait, action)
            for trait, action in (actions or {"fox": "flag", "owl": "quarantine"}).items()
        ]
        return build_tables(
            decide(make_scored(rows, bank, **shard), rules, frozenset(duplicates)),
            bank,
            extra_column,
        )

    return build


ROWS = [
    {"text": "A dog.", "n": 0, "model": "m"},
    {"text": "An owl.", "n": 1, "model": "m"},
    {"text": "A fox.", "n": 2, "model": None},
    {"text": "An owl and a fox.", "n": 3, "model": "m"},
    {"text": "A dog. ", "n": 4, "model": "m"},
]


def test_every_row_stands_where_its_decision_says(built, bank):
    """Kept and flagged rows are in `clean`, held ones in `quarantine`, duplicates nowhere; the ledger says where."""
    made = built(ROWS, bank, duplicates=[4])
    assert made.tables["clean"].column("n").to_pylist() == [0, 2]
    assert made.tables["quarantine"].column("n").to_pylist() == [1, 3]
    assert set(made.tables) == {"clean", "quarantine", "ledger", "scores"}, (
        "tables without rows aren't there"
    )
    ledger = made.tables["ledger"]
    assert ledger.column("decision").to_pylist() == [
        "keep",
        "quarantine",
        "flag",
        "quarantine",
        "duplicate",
    ]
    assert list(
        zip(
            ledger.column("output").to_pylist(),
            ledger.column("output_row").to_pylist(),
            strict=True,
        )
    ) == [
        (f"clean/{NAME}.parquet", 0),
        (f"quarantine/{NAME}.parquet", 0),
        (f"clean/{NAME}.parquet", 1),
        (f"quarantine/{NAME}.parquet", 1),
        (None, None),
    ]
    assert made.decisions == {"duplicate": 1, "flag": 1, "keep": 1, "quarantine": 2}
    assert made.fired == {"fox": 2, "owl": 2}


def test_a_dropped_row_stands_nowhere(built, bank):
    """A dropped row is in the ledger with its reason, in no file, and its score is kept."""
    made = built(ROWS, bank, {"fox": "drop", "owl": "quarantine"})
    assert made.tables["clean"].column("n").to_pylist() == [0, 4]
    assert made.tables["quarantine"].column("n").to_pylist() == [1]
    ledger = made.tables["ledger"].to_pylist()
    assert [
        (ledger[at]["decision"], ledger[at]["output"], ledger[at]["output_row"]) for at in (2, 3)
    ] == [("drop", None, None)] * 2
    assert [reason["trait"] for reason in ledger[3]["reasons"]] == ["fox", "owl"]
    assert made.tables["scores"].column("fox").to_pylist()[2] == pytest.approx(0.8647)


def test_the_ledger_holds_no_text(built, bank):
    """Ids, digests, lots and reasons are there; words of the corpus aren't."""
    made = built(ROWS, bank)
    ledger = made.tables["ledger"]
    assert ledger.schema == outputs.LEDGER
    assert ledger.column("teacher").to_pylist() == ["m", "m", None, "m", "m"]
    assert ledger.column("lot").to_pylist()[:3] == [
        "m | - | - | -",
        "m | - | - | -",
        "- | - | - | -",
    ]
    digests, ids = (
        ledger.column("content_digest").to_pylist(),
        ledger.column("record_id").to_pylist(),
    )
    assert all(
        digest.startswith(name) and len(name) == 32
        for digest, name in zip(digests, ids, strict=True)
    )
    assert digests[0] == digests[4]
    assert "dog" not in str(ledger.to_pylist())
    assert ledger.column("reasons").to_pylist()[1] == [
        {
            "trait": "owl",
            "signal": "combined",
            "score": pytest.approx(0.8647),
            "threshold": 0.5,
            "segment": "text",
            "start": 3,
            "end": 6,
        }
    ]
    assert [len(reasons) for reasons in ledger.column("reasons").to_pylist()] == [0, 1, 1, 2, 0]


def test_clean_rows_are_the_input_unchanged(built, bank):
    """Without flags or masks the clean table has the input's columns, types and values, also when all rows are kept."""
    table = (
        pa.Table.from_pylist(ROWS)
        .append_column("kind", pa.array("abcab").dictionary_encode())
        .replace_schema_metadata({"k": "v"})
    )
    everything = built(table, bank, {"owl": "keep"}).tables["clean"]
    assert everything.equals(table, check_metadata=True)
    some = built(table, bank, {"owl": "drop"}).tables["clean"]
    assert some.schema.equals(table.schema, check_metadata=True)
    assert some.to_pylist() == table.take([0, 2, 4]).to_pylist()


def test_the_extra_column_says_decision_and_masks(built, bank):
    """Where a policy flags or masks, every clean row has its decision, a weight of 1 and its masks."""
    clean = built(ROWS, bank, {"fox": "flag", "owl": "mask"}, extra_column=True).tables["clean"]
    assert clean.schema.field("congener").equals(outputs.CLEAN_EXTRA)
    assert clean.column("congener").to_pylist() == [
        {"decision": "keep", "weight": 1.0, "masks": []},
        {"decision": "mask", "weight": 1.0, "masks": [{"segment": "text", "start": 0, "end": 7}]},
        {"decision": "flag", "weight": 1.0, "masks": []},
        {"decision": "mask", "weight": 1.0, "masks": [{"segment": "text", "start": 0, "end": 17}]},
        {"decision": "keep", "weight": 1.0, "masks": []},
    ]
    assert clean.drop_columns("congener").to_pylist() == ROWS


def test_the_extra_column_of_no_rows(built, bank):
    """A shard that is held as a whole has no clean table, with the column or without."""
    assert "clean" not in built(ROWS[1:2], bank, extra_column=True).tables


def test_quarantine_keeps_the_row_whole_and_says_why(built, bank):
    """A held row has all its columns, its place, and each trait's reason with its action."""
    quarantine = built(ROWS, bank).tables["quarantine"]
    assert quarantine.schema.field("congener").equals(outputs.QUARANTINE_EXTRA)
    assert quarantine.drop_columns("congener").to_pylist() == [ROWS[1], ROWS[3]]
    note = quarantine.column("congener").to_pylist()[1]
    assert (note["source"], note["row"], note["teacher"], note["decision"]) == (
        "corpus.jsonl",
        3,
        "m",
        "quarantine",
    )
    assert [
        (reason["trait"], reason["action"], reason["neighbours"]) for reason in note["reasons"]
    ] == [
        ("fox", "flag", []),
        ("owl", "quarantine", []),
    ]
    text = ROWS[3]["text"]
    assert [text[reason["start"] : reason["end"]] for reason in note["reasons"]] == ["fox", "owl"]


def test_quarantine_shows_the_nearest_exemplars(with_scores, bank_copy):
    """Evidence holds the exemplars nearest to the very window that scored highest, of both polarities, nearest first."""
    trait = bank_copy.traits["owl"]
    trait.positives, trait.negatives = ("east", "north", "north-east", "west"), ("south",)
    diagonal = np.float32(np.sqrt(0.5))
    trait.positive_index = index_of(
        np.array([[1, 0], [0, 1], [diagonal, diagonal], [-1, 0]], np.float32)
    )
    trait.negative_index = index_of(np.array([[0, -1]], np.float32))
    scored = with_scores({"owl": [0.9, 0.9, 0.1]}, signal="exemplars")
    scored.scores.vectors = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    found = scored.scores.signals["owl"]["exemplars"]
    scored.scores.signals["owl"]["exemplars"] = SignalScores(
        found.scores, found.places, np.array([1, -1, 2])
    )
    made = build_tables(decide(scored, [rule("owl")]), bank_copy, False)
    first, second = (
        note["reasons"][0]["neighbours"]
        for note in made.tables["quarantine"].column("congener").to_pylist()
    )
    assert [
        (item["exemplar"], item["polarity"], item["text"], round(item["similarity"], 4))
        for item in first
    ] == [
        ("owl/positive/1", "positive", "north", 1.0),
        ("owl/positive/2", "positive", "north-east", 0.7071),
        ("owl/positive/0", "positive", "east", 0.0),
        ("owl/negative/0", "negative", "south", -1.0),
    ]
    assert second == []


def test_a_swapped_row_waits_with_its_prompt(built, bank):
    """A row to be swapped is held, and on the swap list with the messages before its answer and the traits that asked."""
    turns = [
        ("system", "S"),
        ("user", "U"),
        ("assistant", "<think>hm</think>A dog."),
        ("user", "V"),
        ("assistant", "An owl and a fox."),
    ]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    made = built(
        [{"messages": row["messages"][:2]}, row], bank, {"fox": "quarantine", "owl": "swap"}
    )
    assert made.tables["quarantine"].to_pylist()[0]["congener"]["decision"] == "quarantine"
    (item,) = made.tables["swaplist"].to_pylist()
    assert item["traits"] == ["owl"]
    assert (item["source"], item["row"], item["teacher"]) == ("corpus.jsonl", 1, None)
    assert item["record_id"] == made.tables["ledger"].column("record_id").to_pylist()[1]
    assert [(message["role"], message["content"]) for message in item["prompt"]] == [
        ("system", "S"),
        ("user", "U"),
        ("assistant", "A dog."),
        ("user", "V"),
    ]
    assert made.tables["swaplist"].schema == outputs.SWAPLIST


def test_rejects_stand_in_the_ledger_in_input_order(built, bank):
    """Rejects are written with place and bytes, and stand in ledger and scores between the rows they lay between."""
    rejects = [reject(0, b"\xff"), reject(2), reject(5)]
    made = built(ROWS[:3], bank, rejects=rejects, numbers=[1, 3, 4])
    assert made.tables["rejects"].schema == outputs.REJECTS
    assert made.tables["rejects"].to_pylist() == [item._asdict() for item in rejects]
    ledger = made.tables["ledger"]
    assert ledger.column("row").to_pylist() == [0, 1, 2, 3, 4, 5]
    assert ledger.column("decision").to_pylist() == [
        "reject",
        "keep",
        "reject",
        "quarantine",
        "flag",
        "reject",
    ]
    assert ledger.column("record_id").is_null().to_pylist() == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    assert ledger.column("content_digest").to_pylist()[::5] == [
        sha256_hex(b"\xff"),
        sha256_hex(b"broken"),
    ]
    written = list(
        zip(
            ledger.column("output").to_pylist(),
            ledger.column("output_row").to_pylist(),
            strict=True,
        )
    )
    assert [written[at] for at in (0, 2, 5)] == [(f"rejects/{NAME}.parquet", at) for at in range(3)]
    scores = made.tables["scores"]
    assert scores.column("row").to_pylist() == [0, 1, 2, 3, 4, 5]
    assert scores.column("owl").is_null().to_pylist() == [True, False, True, False, False, True]
    assert scores.column("owl").to_pylist()[3] == pytest.approx(0.8647)
    assert made.decisions == {"flag": 1, "keep": 1, "quarantine": 1, "reject": 3}


def test_rejects_of_several_files_keep_the_files_order(make_shard, make_scored, bank):
    """In a shard of several small files rows and rejects are ordered by file as the plan has them, then by row."""
    scored = make_scored(
        [{"text": "a"}, {"text": "b"}], bank, rejects=[reject(0, source="z"), reject(1, source="a")]
    )
    shard = scored.identified.shard
    (piece,) = shard.plan.pieces
    shard.plan = shard.plan._replace(
        pieces=(piece._replace(source="z"), piece._replace(source="a"))
    )
    shard.sources, shard.numbers = ["z", "a"], [1, 0]
    made = build_tables(decide(scored, []), bank, False)
    for table in (made.tables["ledger"], made.tables["scores"]):
        assert list(
            zip(table.column("source").to_pylist(), table.column("row").to_pylist(), strict=True)
        ) == [
            ("z", 0),
            ("z", 1),
            ("a", 0),
            ("a", 1),
        ]


def test_a_shard_of_rejects_alone(built, bank):
    """A shard without a good row has a ledger, scores and rejects, and no more."""
    empty = pa.table({"text": pa.array([], pa.string())})
    made = built(empty, bank, rejects=[reject(0), reject(1)], extra_column=True)
    assert set(made.tables) == {"rejects", "ledger", "scores"}
    assert made.decisions == {"reject": 2}
    assert made.tables["scores"].column("fox").null_count == 2


def test_scores_stand_in_the_banks_order(built, bank):
    """Each trait's combined score comes before its signals', for every row, kept or not; nothing in scope is null."""
    rows = [
        {"messages": [{"role": "user", "content": "owl"}]},
        {"messages": [{"role": "assistant", "content": "owl"}]},
    ]
    scores = built(rows, bank).tables["scores"]
    assert scores.schema == outputs.scores_schema(["fox", "fox/lexicon", "owl", "owl/lexicon"])
    assert scores.column("owl").to_pylist() == [None, pytest.approx(0.8647)]
    assert scores.column("owl/lexicon").to_pylist() == scores.column("owl").to_pylist()


@settings(max_examples=60)
@given(
    scores=st.lists(
        st.tuples(st.integers(0, 10_000) | st.none(), st.integers(0, 10_000)),
        min_size=1,
        max_size=25,
    ),
    broken=st.sets(st.integers(0, 30), max_size=8),
    actions=st.tuples(*[st.sampled_from(SEVERITY)] * 2),
    doubles=st.sets(st.integers(0, 24)),
    extra_column=st.booleans(),
)
def test_rows_are_conserved(with_scores, bank, scores, broken, actions, doubles, extra_column):
    """Whatever is decided, every input row has one fate, stands where the ledger says, and is aligned with its scores."""
    size = len(scores)
    rows = [row for row in range(size + len(broken)) if row not in broken][:size]
    rejects = [
        reject(row, b"raw %d" % row) for row in sorted(set(range(size + len(broken))) - set(rows))
    ]
    values = {
        trait: [
            np.nan if row[at] is None else np.float32(round(row[at] * STEP, 4)) for row in scores
        ]
        for at, trait in enumerate(("fox", "owl"))
    }
    texts = [f"text of {row}" for row in rows]
    scored = with_scores(values, texts, numbers=rows, rejects=rejects)
    rules = [rule(trait, action) for trait, action in zip(("fox", "owl"), actions, strict=True)]
    decided = decide(scored, rules, frozenset(place for place in doubles if place < size))
    made = build_tables(decided, bank, extra_column)
    ledger, fates = made.tables["ledger"].to_pylist(), Counter()
    assert [row["row"] for row in ledger] == list(range(size + len(rejects)))
    for row in ledger:
        fates[row["decision"]] += 1
        if row["output"] is None:
            assert row["decision"] in ("drop", "duplicate")
            continue
        folder, _, name = row["output"].partition("/")
        assert name == f"{NAME}.parquet"
        assert folder == (
            "clean"
            if row["decision"] in PUBLISHED
            else {"reject": "rejects"}.get(row["decision"], "quarantine")
        )
        held = made.tables[folder].slice(row["output_row"], 1).to_pylist()[0]
        assert (
            (held["raw"] == b"raw %d" % row["row"])
            if folder == "rejects"
            else (held["text"] == f"text of {row['row']}")
        )
    assert made.decisions == dict(fates)
    assert sum(made.decisions.values()) == size + len(rejects)
    written = sum(
        made.tables[folder].num_rows
        for folder in ("clean", "quarantine", "rejects")
        if folder in made.tables
    )
    assert written + fates["drop"] + fates["duplicate"] == size + len(rejects)
    stored = made.tables["scores"].to_pylist()
    assert [(row["source"], row["row"]) for row in stored] == [
        (row["source"], row["row"]) for row in ledger
    ]
    of_row = {row: place for place, row in enumerate(rows)}
    for row in stored:
        wanted = scores[of_row[row["row"]]] if row["row"] in of_row else (None, None)
        assert [row["fox"], row["owl"]] == [
            None if value is None else pytest.approx(value * STEP, abs=1e-6) for value in wanted
        ]
    swapped = made.tables["swaplist"].column("row").to_pylist() if "swaplist" in made.tables else []
    assert swapped == sorted(rows[place] for place in decided.swaps)


def test_the_same_shard_gives_the_same_tables(built, bank):
    """Two builds are equal in every table and in the root."""
    first, second = (
        built(ROWS, bank, {"fox": "mask", "owl": "swap"}, extra_column=True, rejects=[reject(9)])
        for _ in range(2)
    )
    assert first.ledger_root == second.ledger_root
    assert list(first.tables) == list(second.tables)
    assert all(first.tables[folder].equals(second.tables[folder]) for folder in first.tables)


REASON = Reason("owl", "combined", 0.9, 0.5, "text", 1, 4, "quarantine", "lexicon")
LEDGER_ROW = {
    "record_id": "a" * 32,
    "source": "x.jsonl",
    "row": 7,
    "teacher": "m",
    "lot": "m | - | - | -",
    "content_digest": "b" * 64,
    "decision": "quarantine",
    "reasons": [{name: getattr(REASON, name) for name in outputs.REASON.names}],
    "output": "quarantine/x.parquet",
    "output_row": 3,
}


def leaves(*rows):
    """Hash the rows of a ledger."""
    return ledger_leaves(pa.Table.from_pylist(list(rows), outputs.LEDGER))


@pytest.mark.parametrize("name", outputs.LEDGER.names)
def test_a_leaf_changes_with_any_field(name):
    """Each field of a ledger row is in its leaf: other values, null, and what null might be mistaken for."""
    value = LEDGER_ROW[name]
    others = (
        [[], [*value, *value]]
        if name == "reasons"
        else [None, value + 1]
        if isinstance(value, int)
        else [None, "", "None", "null", value + "x"]
    )
    found = [leaves(LEDGER_ROW)[0], *(leaves(LEDGER_ROW | {name: other})[0] for other in others)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("trait", "fox"),
        ("signal", "head"),
        ("score", 0.9001),
        ("threshold", 0.4999),
        ("segment", "texts"),
        ("start", 2),
        ("end", 5),
        ("trait", None),
    ],
)
def test_a_leaf_changes_with_any_field_of_a_reason(name, other):
    """Each field of a reason is in the leaf, scores to their last decimal."""
    changed = LEDGER_ROW | {"reasons": [LEDGER_ROW["reasons"][0] | {name: other}]}
    assert leaves(LEDGER_ROW) != leaves(changed)


def test_fields_do_not_run_into_each_other():
    """What one field ends with isn't taken for the next one's beginning."""
    assert leaves(LEDGER_ROW | {"source": "x", "row": 11}) != leaves(
        LEDGER_ROW | {"source": "x1", "row": 1}
    )
    assert leaves(LEDGER_ROW | {"teacher": None, "lot": "m"}) != leaves(
        LEDGER_ROW | {"teacher": "m", "lot": None}
    )


@given(rows=st.lists(st.integers(0, 3), max_size=9), at=st.integers(0, 8))
def test_the_root_depends_on_every_leaf(rows, at):
    """A leaf stands for its own row alone, and the root changes when any of them does, or when one is missing."""
    table = [LEDGER_ROW | {"row": row} for row in rows]
    found = leaves(*table)
    assert found == [leaves(row)[0] for row in table]
    if at < len(rows):
        other = [*table[:at], LEDGER_ROW | {"row": 99}, *table[at + 1 :]]
        assert merkle_root(leaves(*other)) != merkle_root(found)
        assert merkle_root(leaves(*table[:at], *table[at + 1 :])) != merkle_root(found)


def test_the_root_is_that_of_the_ledger(built, bank):
    """A shard's root is computed from its ledger as anyone can, also from one that was cut or written and read back."""
    made = built(ROWS, bank, rejects=[reject(9)])
    ledger = made.tables["ledger"]
    assert made.ledger_root == merkle_root(ledger_leaves(ledger)).hex()
    parts = ledger_leaves(ledger.slice(0, 2)) + ledger_leaves(ledger.slice(2))
    assert parts == ledger_leaves(ledger)
    assert ledger_leaves(pa.concat_tables([ledger.slice(0, 2), ledger.slice(2)])) == parts


def test_places_of_no_segment_are_no_evidence(with_scores, bank):
    """A row without a window has no neighbours to show; the reason stands all the same."""
    scored = with_scores({"owl": [0.9]}, signal="exemplars")
    assert scored.scores.signals["owl"]["exemplars"].window is None
    made = build_tables(decide(scored, [rule("owl")]), bank, False)
    (note,) = made.tables["quarantine"].column("congener").to_pylist()
    assert note["reasons"][0]["neighbours"] == []
