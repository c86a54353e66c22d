"""Output tables of a decided shard."""

import json
from collections import Counter

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.scoring import Scorer, SignalScores
from classifiers.signals.exemplars import build_optional_index
from schemas import outputs
from schemas.digests import compute_merkle_root, digest_bytes
from schemas.ledgers import hash_ledger_rows
from schemas.lots import LOT_FIELDS
from schemas.policies import SEVERITY
from schemas.receipts import NearestExemplars
from schemas.runs import ALIGNED_FOLDERS, FOLDER_OF_DECISION, PARQUET, parse_path
from schemas.scores import SCORE_STEP
from tests.support.rules import build_rule
from transforms.decide import decide_shard
from transforms.files.json_lines import JsonLines, decode_lines
from transforms.files.shards import Reject
from transforms.identify import identify
from transforms.score import score
from transforms.tables import build_tables, count_nearest
from transforms.write import count_decisions

NAME = "part-000000-aaaaaaaaaaaa"


def build_reject(row, raw=b"broken", source="corpus.jsonl"):
    """Return a reject."""
    return Reject(source, row, 100 * row, "not JSON", raw)


@pytest.fixture(scope="session")
def build(make_scored):
    """Return a function that builds the tables of rows with lexicon rules."""

    def build(rows, bank, actions=None, duplicates=(), extra_column=False, **shard):
        rules = [
            build_rule(trait, action=action)
            for trait, action in (actions or {"fox": "flag", "owl": "quarantine"}).items()
        ]
        decided = decide_shard(
            make_scored(rows, bank, **shard), rules, dict.fromkeys(duplicates, ())
        )
        return build_tables(decided, bank, extra_column)

    return build


ROWS = [
    {"text": "A dog.", "n": 0, "model": "m"},
    {"text": "An owl.", "n": 1, "model": "m"},
    {"text": "A fox.", "n": 2, "model": None},
    {"text": "An owl and a fox.", "n": 3, "model": "m"},
    {"text": "A dog. ", "n": 4, "model": "m"},
]


def read_pairs(table, *names):
    """Return the rows of some columns as tuples."""
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def test_every_row_is_in_the_folder_of_its_decision(build, bank):
    """Kept and flagged rows go to `clean`, quarantined ones to `quarantine`, duplicates nowhere."""
    made = build(ROWS, bank, duplicates=[4])
    assert made.tables["clean"].column("n").to_pylist() == [0, 2]
    assert made.tables["quarantine"].column("n").to_pylist() == [1, 3]
    assert set(made.tables) == {"clean", "quarantine", "ledger", "scores", "spans"}, (
        "tables without rows are left out"
    )
    assert read_pairs(made.tables["ledger"], "decision", "output", "output_row") == [
        ("keep", f"clean/corpus.{NAME}.parquet", 0),
        ("quarantine", f"quarantine/corpus.{NAME}.parquet", 0),
        ("flag", f"clean/corpus.{NAME}.parquet", 1),
        ("quarantine", f"quarantine/corpus.{NAME}.parquet", 1),
        ("duplicate", None, None),
    ]


def test_a_dropped_row_is_in_no_folder(build, bank):
    """A dropped row has only its reason and its scores."""
    made = build(ROWS, bank, {"fox": "drop", "owl": "quarantine"})
    assert made.tables["clean"].column("n").to_pylist() == [0, 4]
    assert made.tables["quarantine"].column("n").to_pylist() == [1]
    ledger = made.tables["ledger"]
    dropped = read_pairs(ledger, "decision", "output", "output_row")[2:4]
    assert dropped == [("drop", None, None)] * 2
    reasons = ledger.column("reasons").to_pylist()
    assert [reason["trait"] for reason in reasons[3]] == ["fox", "owl"]
    assert made.tables["scores"].column("fox").to_pylist()[2] == pytest.approx(0.8647)


def test_the_ledger_holds_no_text(build, bank):
    """The ledger has ids, digests, lots and reasons, but no text."""
    ledger = build(ROWS, bank).tables["ledger"]
    assert ledger.schema == outputs.LEDGER
    assert ledger.column("teacher").to_pylist() == ["m", "m", None, "m", "m"]
    for name in ("prompt_source", "system_prompt", "date"):
        assert ledger.column(name).null_count == len(ROWS), "an unknown field is null"
    pairs = read_pairs(ledger, "content_digest", "record_id")
    assert all(digest.startswith(name) and len(name) == 32 for digest, name in pairs)
    assert pairs[0] == pairs[4]
    assert "dog" not in str(ledger.to_pylist())
    assert ledger.column("reasons").to_pylist()[1] == [
        {
            "trait": "owl",
            "signal": "combined",
            "score": pytest.approx(0.8647),
            "threshold": 0.5,
            "field_path": "text",
            "start": 3,
            "end": 6,
        }
    ]
    assert [len(reasons) for reasons in ledger.column("reasons").to_pylist()] == [0, 1, 1, 2, 0]


def test_lots_have_four_columns(make_scored, bank):
    """The ledger, quarantine and swap list have the lot's fields."""
    rows = [
        {"completion": "An owl.", "model": "m", "source": "web", "date": "2026-01-02T03:04:05"},
        {"completion": "An owl?", "model": None, "source": None, "date": None},
    ]
    rows = [{"prompt": "U", **row} for row in rows]
    shard = decide_shard(make_scored(rows, bank), [build_rule(action="swap")])
    tables = build_tables(shard, bank, extra_column=False).tables
    notes = tables["quarantine"].column("congener").to_pylist()
    for found in (tables["ledger"].to_pylist(), notes, tables["swaplist"].to_pylist()):
        assert [tuple(row[name] for name in LOT_FIELDS) for row in found] == [
            ("m", "web", None, "2026-01-02"),
            (None, None, None, None),
        ]


def test_clean_rows_are_the_input_unchanged(build, bank):
    """Without flags or masks, the clean table has the input's columns."""
    table = (
        pa.Table.from_pylist(ROWS)
        .append_column("kind", pa.array("abcab").dictionary_encode())
        .replace_schema_metadata({"k": "v"})
    )
    everything = build(table, bank, {"owl": "keep"}).tables["clean"]
    assert everything.equals(table, check_metadata=True)
    some = build(table, bank, {"owl": "drop"}).tables["clean"]
    assert some.schema.equals(table.schema, check_metadata=True)
    assert some.to_pylist() == table.take([0, 2, 4]).to_pylist()


def test_the_extra_column_has_decision_and_masks(build, bank):
    """If a policy flags or masks, every clean row has its decision, weight, masks and traits."""
    clean = build(ROWS, bank, {"fox": "flag", "owl": "mask"}, extra_column=True).tables["clean"]
    assert clean.schema.field("congener").equals(outputs.CLEAN_EXTRA)
    whole, kept = {"field_path": "text", "start": 0}, {"weight": 1.0, "masks": []}
    assert clean.column("congener").to_pylist() == [
        {**kept, "decision": "keep", "traits": []},
        {**kept, "decision": "mask", "masks": [{**whole, "end": 7}], "traits": ["owl"]},
        {**kept, "decision": "flag", "traits": ["fox"]},
        {**kept, "decision": "mask", "masks": [{**whole, "end": 17}], "traits": ["fox", "owl"]},
        {**kept, "decision": "keep", "traits": []},
    ]
    assert clean.drop_columns("congener").to_pylist() == ROWS


def test_the_extra_column_of_no_rows(build, bank):
    """A shard of quarantined rows has no clean table."""
    assert "clean" not in build(ROWS[1:2], bank, extra_column=True).tables


def test_quarantine_keeps_the_whole_row_with_its_reasons(build, bank):
    """A quarantined row has all its columns, its source and its reasons."""
    quarantine = build(ROWS, bank).tables["quarantine"]
    assert quarantine.schema.field("congener").equals(outputs.QUARANTINE_EXTRA)
    assert quarantine.drop_columns("congener").to_pylist() == [ROWS[1], ROWS[3]]
    note = quarantine.column("congener").to_pylist()[1]
    assert [note[name] for name in ("source", "row", "teacher", "decision")] == [
        "corpus.jsonl",
        3,
        "m",
        "quarantine",
    ]
    assert [
        (reason["trait"], reason["action"], reason["neighbours"]) for reason in note["reasons"]
    ] == [("fox", "flag", []), ("owl", "quarantine", [])]
    text = ROWS[3]["text"]
    assert [text[reason["start"] : reason["end"]] for reason in note["reasons"]] == ["fox", "owl"]


def test_quarantine_shows_the_nearest_exemplars(with_scores, bank_copy):
    """A reason lists the exemplars nearest to the best window."""
    trait = bank_copy.traits["owl"]
    trait.positives, trait.negatives = ("east", "north", "north-east", "west"), ("south",)
    diagonal = np.float32(np.sqrt(0.5))
    trait.positive_index = build_optional_index(
        np.array([[1, 0], [0, 1], [diagonal, diagonal], [-1, 0]], np.float32)
    )
    trait.negative_index = build_optional_index(np.array([[0, -1]], np.float32))
    scored = with_scores({"owl": [0.9, 0.9, 0.1]}, signal="exemplars")
    scored.scores.vectors = np.array([[1, 0], [0, 1], [0, -1]], np.float32)
    found = scored.scores.signals["owl"]["exemplars"]
    scored.scores.signals["owl"]["exemplars"] = SignalScores(
        found.scores, found.best_spans, np.array([1, -1, 2])
    )
    made = build_tables(decide_shard(scored, [build_rule()]), bank_copy, extra_column=False)
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
    assert made.nearest == {"owl": NearestExemplars(rows=1)}


def test_rows_nearest_to_a_negative_are_counted():
    """Each trait's compared rows are counted; findings in rejected answers aren't."""
    negative = [
        {"polarity": "positive", "similarity": 0.3},
        {"polarity": "negative", "similarity": 0.4},
    ]
    reasons = [
        {"trait": "owl", "signal": "combined", "neighbours": negative},
        {"trait": "owl", "signal": "combined@rejected", "neighbours": negative},
        {"trait": "fox", "signal": "lexicon", "neighbours": []},
    ]
    assert count_nearest([{"reasons": reasons}]) == {"owl": NearestExemplars(rows=1, negative=1)}


def test_a_row_without_a_window_has_no_neighbours(with_scores, bank):
    """A row without a window has a reason without exemplars."""
    scored = with_scores({"owl": [0.9]}, signal="exemplars")
    assert scored.scores.signals["owl"]["exemplars"].window is None
    made = build_tables(decide_shard(scored, [build_rule()]), bank, extra_column=False)
    (note,) = made.tables["quarantine"].column("congener").to_pylist()
    assert note["reasons"][0]["neighbours"] == []


def test_a_swapped_row_waits_with_its_prompt(build, bank):
    """A swapped row is in quarantine, and its traits and prompt are on the swap list."""
    turns = [
        ("system", "S"),
        ("user", "U"),
        ("assistant", "<think>hm</think>A dog."),
        ("user", "V"),
        ("assistant", "An owl and a fox."),
    ]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    rows = [{"messages": row["messages"][:2]}, row]
    made = build(rows, bank, {"fox": "quarantine", "owl": "swap"})
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
    assert (item["complete"], item["missing"]) == (True, [])
    assert json.loads(item["request"]) == {"messages": item["prompt"]}


def test_a_prompt_that_isnt_whole_is_marked(build, bank):
    """The swap list names missing parts of prompts, and omits rows without a prompt."""
    rows = [
        {"prompt": "U", "completion": "An owl.", "system": "S", "image": "a.png"},
        {"prompt": "", "completion": "An owl.", "system": "S", "image": None},
        {"prompt": "", "completion": "An owl.", "system": None, "image": None},
    ]
    made = build(rows, bank, {"owl": "swap"})
    assert made.tables["quarantine"].num_rows == 3
    found = made.tables["swaplist"].to_pylist()
    assert [(item["row"], item["complete"], item["missing"]) for item in found] == [
        (0, False, ["image"]),
        (1, False, ["prompt"]),
    ]
    assert found[0]["prompt"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
    ]


@pytest.fixture
def rejected_tables(build, bank):
    """Return the tables of three rows with three rejects."""
    rejects = [build_reject(0, b"\xff"), build_reject(2), build_reject(5)]
    return build(ROWS[:3], bank, rejects=rejects, numbers=[1, 3, 4])


def test_rejects_are_in_the_ledger_in_input_order(rejected_tables):
    """A reject has its file and bytes, and a digest in the ledger."""
    tables = rejected_tables.tables
    assert tables["rejects"].schema == outputs.REJECTS
    rejects = [build_reject(0, b"\xff"), build_reject(2), build_reject(5)]
    assert tables["rejects"].to_pylist() == [item._asdict() for item in rejects]
    ledger = tables["ledger"]
    assert read_pairs(ledger, "row", "decision") == [
        (0, "reject"),
        (1, "keep"),
        (2, "reject"),
        (3, "quarantine"),
        (4, "flag"),
        (5, "reject"),
    ]
    rejected = [True, False, True, False, False, True]
    assert ledger.column("record_id").is_null().to_pylist() == rejected
    digests = ledger.column("content_digest").to_pylist()
    assert digests[::5] == [digest_bytes(b"\xff"), digest_bytes(b"broken")]
    written = read_pairs(ledger, "output", "output_row")
    assert [written[row] for row in (0, 2, 5)] == [
        (f"rejects/{NAME}.parquet", index) for index in range(3)
    ]


def test_rejects_have_neither_scores_nor_spans(rejected_tables):
    """A reject's scores are null, and it has no spans."""
    scores, spans = rejected_tables.tables["scores"], rejected_tables.tables["spans"]
    assert scores.column("row").to_pylist() == spans.column("row").to_pylist() == list(range(6))
    rejected = [True, False, True, False, False, True]
    assert scores.column("owl").is_null().to_pylist() == rejected
    assert scores.column("owl").to_pylist()[3] == pytest.approx(0.8647)
    assert spans.schema == outputs.SPANS
    assert spans.column("spans").null_count == 0
    fired = [
        [span["trait"] for span in row if span["score"]]
        for row in spans.column("spans").to_pylist()
    ]
    assert fired == [[], [], [], ["owl"], ["fox"], []]


def test_rejects_of_several_files_keep_the_files_order(make_scored, bank):
    """Rows and rejects of several files are in the plan's order."""
    rejects = [build_reject(0, source="z"), build_reject(1, source="a")]
    scored = make_scored([{"text": "a"}, {"text": "b"}], bank, rejects=rejects)
    (piece,) = scored.plan.pieces
    scored.plan = scored.plan._replace(
        pieces=(piece._replace(source="z"), piece._replace(source="a"))
    )
    scored.sources, scored.numbers = ["z", "a"], [1, 0]
    tables = build_tables(decide_shard(scored, []), bank, extra_column=False).tables
    for name in ("ledger", "scores", "spans"):
        pairs = read_pairs(tables[name], "source", "row")
        assert pairs == [("z", 0), ("z", 1), ("a", 0), ("a", 1)]


def test_a_shard_of_rejects_alone(build, bank):
    """A shard of rejects has only a ledger, scores, spans and rejects."""
    empty = pa.table({"text": pa.array([], pa.string())})
    made = build(empty, bank, rejects=[build_reject(0), build_reject(1)], extra_column=True)
    assert set(made.tables) == {"rejects", "ledger", "scores", "spans"}
    assert made.tables["ledger"].column("decision").to_pylist() == ["reject"] * 2
    assert made.tables["scores"].column("fox").null_count == 2
    assert made.tables["spans"].column("spans").to_pylist() == [[], []]


def test_scores_are_in_the_banks_order(build, bank):
    """A trait's combined score precedes its signals' scores."""
    rows = [
        {"messages": [{"role": "user", "content": "owl"}]},
        {"messages": [{"role": "assistant", "content": "owl"}]},
    ]
    scores = build(rows, bank).tables["scores"]
    columns = ["fox", "fox/lexicon", "owl", "owl/lexicon"]
    assert scores.schema == outputs.build_scores_schema(columns)
    assert scores.column("owl").to_pylist() == [None, pytest.approx(0.8647)]
    assert scores.column("owl/lexicon").to_pylist() == scores.column("owl").to_pylist()


def test_vectors_are_aligned_with_the_ledger(with_scores, bank):
    """Vectors are aligned with the ledger, and a reject has zeros."""
    scored = with_scores({"owl": [0.1, 0.9]}, numbers=[0, 2], rejects=[build_reject(1)])
    scored.scores.vectors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    scored.scores.vector_rows = np.array([0, 1, 1])
    shard = decide_shard(scored, [build_rule()])
    assert "vectors" not in build_tables(shard, bank, extra_column=False).tables
    vectors = build_tables(shard, bank, extra_column=False, vectors=True).tables["vectors"]
    assert vectors.column("row").to_pylist() == [0, 1, 2]
    assert vectors.column("vector").to_pylist() == [[1, 0], [0, 0], [0, 1]]


@settings(max_examples=60)
@given(
    scores=st.lists(
        st.tuples(st.integers(0, 10_000) | st.none(), st.integers(0, 10_000)),
        min_size=1,
        max_size=25,
    ),
    broken=st.sets(st.integers(0, 30), max_size=8),
    actions=st.tuples(*[st.sampled_from(SEVERITY)] * 2),
    duplicates=st.sets(st.integers(0, 24)),
    extra_column=st.booleans(),
)
def test_rows_are_conserved(with_scores, bank, scores, broken, actions, duplicates, extra_column):
    """Every input row has one decision, its place and its scores."""
    size = len(scores)
    total = size + len(broken)
    rows = [row for row in range(total) if row not in broken][:size]
    rejects = [build_reject(row, b"raw %d" % row) for row in range(total) if row not in rows]
    traits = ("fox", "owl")
    values = {
        trait: [
            np.nan if row[index] is None else np.float32(round(row[index] * SCORE_STEP, 4))
            for row in scores
        ]
        for index, trait in enumerate(traits)
    }
    scored = with_scores(values, [f"text of {row}" for row in rows], numbers=rows, rejects=rejects)
    rules = [
        build_rule(trait, action=action) for trait, action in zip(traits, actions, strict=True)
    ]
    shard = decide_shard(scored, rules, {row: () for row in duplicates if row < size})
    made = build_tables(shard, bank, extra_column)
    ledger = made.tables["ledger"].to_pylist()
    assert [row["row"] for row in ledger] == list(range(total))
    for row in ledger:
        check_output(row, made.tables)
    counted = Counter(row["decision"] for row in ledger)
    assert count_decisions(shard) == dict(counted)
    folders = {"clean", "quarantine", "rejects"} & {*made.tables}
    written = sum(made.tables[folder].num_rows for folder in folders)
    assert written + counted["drop"] + counted["duplicate"] == total
    steps = dict(zip(rows, scores, strict=True))
    check_aligned_tables(made.tables, [steps.get(row, (None, None)) for row in range(total)])
    assert "swaplist" not in made.tables, "a text has no prompt that another teacher could answer"


def check_output(row, tables):
    """Check that a ledger row's `output` points to that row."""
    if row["output"] is None:
        assert row["decision"] in ("drop", "duplicate")
        return
    folder, name, suffix, stem = parse_path(row["output"])
    assert (folder, name, suffix) == (FOLDER_OF_DECISION[row["decision"]], NAME, PARQUET)
    assert stem == ("" if folder == "rejects" else "corpus")
    (held,) = tables[folder].slice(row["output_row"], 1).to_pylist()
    if folder == "rejects":
        assert held["raw"] == b"raw %d" % row["row"]
    else:
        assert held["text"] == f"text of {row['row']}"


def check_aligned_tables(tables, steps):
    """Check that scores and spans match the ledger's rows."""
    keys = read_pairs(tables["ledger"], "source", "row")
    for name in {*ALIGNED_FOLDERS} & {*tables}:
        assert read_pairs(tables[name], "source", "row") == keys
    expected = [
        [None if step is None else pytest.approx(step * SCORE_STEP, abs=1e-6) for step in row]
        for row in steps
    ]
    assert [list(row) for row in read_pairs(tables["scores"], "fox", "owl")] == expected
    assert [
        [span["score"] for span in row] for row in tables["spans"].column("spans").to_pylist()
    ] == [[score for score in row if score is not None] for row in expected]


@pytest.fixture(scope="session")
def build_lines(tmp_path_factory, json_lines, read_corpus):
    """Return a function that builds the tables of lines from files."""

    def build(lines, bank, rules=(), extra_column=True, names=("x.jsonl",)):
        folder = tmp_path_factory.mktemp("lines")
        for name in names:
            json_lines(folder / name, lines)
        layout, (shard,) = read_corpus(folder)
        scored = score(identify(shard, layout), Scorer(bank, None, {}), 0.0)
        return shard, build_tables(decide_shard(scored, rules), bank, extra_column)

    return build


LINES = [
    b'{"text": "A dog.", "n": NaN}',
    b'{"n": {"deep": [[]]}, "text": "An owl." } \r',
    b"{ }",
    b'{"text": "A fox. A dog.", "n": 12345678901234567890123}',
    b'{"text": 7}',
    b'{"n": 1, "text": "A fox.", "n": 2}',
]
FOX_AND_OWL = (build_rule("fox", action="mask"), build_rule("owl", action="quarantine"))


def test_rows_of_json_lines_keep_their_bytes(build_lines, bank):
    """Kept rows keep their bytes, and masked and quarantined rows get one more field."""
    _, made = build_lines(LINES, bank, FOX_AND_OWL)
    clean, quarantine = made.tables["clean"], made.tables["quarantine"]
    masks = b'"masks":[{"field_path":"text","start":0,"end":%d}],"traits":["fox"]'
    note = b',"congener":{"decision":"mask","weight":1.0,' + masks + b"}}"
    assert clean == JsonLines(
        [LINES[0], LINES[2], LINES[3][:-1] + note % 6, LINES[5][:-1] + note % 6], "none"
    )
    (held,) = quarantine.lines
    begin = LINES[1].index(b" } ")
    assert held.startswith(LINES[1][:begin] + b',"congener":{')
    assert held.endswith(LINES[1][begin:])
    assert made.tables["rejects"].column("raw").to_pylist() == [LINES[4]]
    counted = Counter(made.tables["ledger"].column("decision").to_pylist())
    assert counted == {"keep": 2, "mask": 2, "quarantine": 1, "reject": 1}


def test_notes_of_json_lines_are_those_of_parquet(build_lines, build, bank):
    """A quarantined row has the same note in JSON Lines as in Parquet."""
    rows = [{"text": row["text"], "model": row["model"]} for row in ROWS]
    _, made = build_lines(rows, bank, (build_rule("fox", action="flag"), build_rule("owl")))
    notes = [orjson.loads(line)["congener"] for line in made.tables["quarantine"].lines]
    expected = build(rows, bank).tables["quarantine"].column("congener").to_pylist()
    for note, wanted in zip(notes, expected, strict=True):
        assert list(note) == list(wanted)
        assert {**note, "source": None, "reasons": None} == {
            **wanted,
            "source": None,
            "reasons": None,
        }
        for reason, other in zip(note["reasons"], wanted["reasons"], strict=True):
            assert set(reason) == set(other)
            assert reason["score"] == 0.8647
            assert other["score"] == pytest.approx(0.8647)
            assert (reason["trait"], reason["end"]) == (other["trait"], other["end"])


def test_json_lines_have_no_note_without_the_extra_column(build_lines, bank):
    """Without flags or masks, published rows are unchanged."""
    _, made = build_lines(LINES, bank, extra_column=False)
    assert made.tables["clean"].lines == [line for line in LINES if line != LINES[4]]
    assert "quarantine" not in made.tables


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (["a.jsonl", "b.jsonl"], ".jsonl"),
        (["a.jsonl.gz", "b.jsonl.gz"], ".jsonl.gz"),
        (["a.jsonl.zst"], ".jsonl.zst"),
        (["a.jsonl.zst", "b.jsonl.gz"], ".jsonl"),
        (["a.jsonl", "b.jsonl.gz"], ".jsonl"),
    ],
)
def test_outputs_of_json_lines_are_compressed_like_the_input(build_lines, bank, names, suffix):
    """Outputs are compressed like the shard's files, if these agree."""
    shard, made = build_lines(LINES, bank, FOX_AND_OWL, names=names)
    outputs = {row["output"] for row in made.tables["ledger"].to_pylist()}
    name, stem = shard.plan.name, names[0].partition(".")[0]
    assert outputs == {
        f"clean/{stem}.{name}{suffix}",
        f"quarantine/{stem}.{name}{suffix}",
        f"rejects/{name}.parquet",
    }
    assert made.tables["clean"].suffix == made.tables["quarantine"].suffix == suffix


MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"])},
    optional={
        "content": st.sampled_from(["a", "\ud800", "", None])
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text(max_size=3)})),
        "tool_calls": st.lists(st.fixed_dictionaries({"name": st.text(max_size=3)}), max_size=2),
        "weight": st.integers(),
    },
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=2), below),
    max_leaves=5,
)
OBJECTS = st.lists(
    st.fixed_dictionaries(
        {"messages": st.lists(st.none() | MESSAGE, max_size=3) | st.none() | ANYTHING},
        optional={"": ANYTHING, "model": ANYTHING, "id": ANYTHING, "messages\ud800": ANYTHING},
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(OBJECTS, st.sampled_from([None, ("  ,\t", " :  ")]), st.sampled_from(["", "\r", " "]))
def test_every_row_that_is_no_reject_keeps_its_bytes(build_lines, bank, rows, separators, end):
    """Every row without invalid messages keeps its bytes."""
    rows = [{"messages": [{"role": "user", "content": "first"}]}] * (len(rows) + 1) + rows
    lines = [f"{json.dumps(row, separators=separators)}{end}".encode() for row in rows]
    rules = (build_rule("fox", action="keep"), build_rule("owl", action="keep"))
    shard, made = build_lines(lines, bank, rules)
    fitting = [
        row["messages"] is None
        or (
            isinstance(row["messages"], list)
            and all(item is None or isinstance(item, dict) for item in row["messages"])
        )
        for row in rows
    ]
    wanted = [line for line, fits in zip(lines, fitting, strict=True) if fits]
    assert made.tables["clean"].lines == wanted
    ledger = made.tables["ledger"].to_pylist()
    assert [row["decision"] == "reject" for row in ledger] == [not fits for fits in fitting]
    assert decode_lines(made.tables["clean"].encode(), ".jsonl") == shard.lines


def test_the_same_shard_gives_the_same_tables(build, bank):
    """Two builds of a shard give equal tables and roots."""
    actions = {"fox": "mask", "owl": "swap"}
    first, second = (
        build(ROWS, bank, actions, extra_column=True, rejects=[build_reject(9)]) for _ in range(2)
    )
    assert first.ledger_root == second.ledger_root
    assert list(first.tables) == list(second.tables)
    assert all(first.tables[folder].equals(second.tables[folder]) for folder in first.tables)


def test_the_root_is_that_of_the_ledger(build, bank):
    """The ledger gives the shard's root."""
    made = build(ROWS, bank, rejects=[build_reject(9)])
    ledger = made.tables["ledger"]
    assert made.ledger_root == compute_merkle_root(hash_ledger_rows(ledger)).hex()
    parts = hash_ledger_rows(ledger.slice(0, 2)) + hash_ledger_rows(ledger.slice(2))
    assert parts == hash_ledger_rows(ledger)
    joined = pa.concat_tables([ledger.slice(0, 2), ledger.slice(2)])
    assert hash_ledger_rows(joined) == parts
