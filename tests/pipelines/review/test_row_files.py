"""Rows as files for other tools, compared with the run and with the tools' documented columns."""

import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pipelines.review.queries import parse_selection
from pipelines.review.row_files import (
    TRANSCRIPTS,
    SaidText,
    build_messages,
    write_points,
    write_transcripts,
)
from schemas.errors import CardError, RunError, StorageError

SCOUT = {
    "transcript_id": "string",
    "source_type": "string",
    "source_id": "string",
    "source_uri": "string",
    "date": "string",
    "task_set": "string",
    "task_id": "string",
    "task_repeat": "integer",
    "agent": "string",
    "agent_args": "string",
    "model": "string",
    "model_options": "string",
    "score": "string",
    "score_explanation": "string",
    "success": "bool",
    "message_count": "integer",
    "total_time": "float",
    "total_tokens": "integer",
    "error": "string",
    "limit": "string",
    "trust_content": "bool",
    "messages": "string",
    "events": "string",
    "timelines": "string",
    "events_data": "string",
}
"""The columns that Inspect Scout 0.6.1 reserves, and their types (`TRANSCRIPT_SCHEMA_FIELDS`)."""

KINDS = {
    "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "integer": pa.types.is_integer,
    "float": pa.types.is_floating,
    "bool": pa.types.is_boolean,
}


@pytest.fixture
def points(session, tmp_path):
    """Return the points of the run of answers, as Embedding Atlas reads them: with pandas."""
    session.make_map()
    heard = []
    path = tmp_path / "rows.parquet"
    counts = write_points(session, path, lambda done, of: heard.append((done, of)))
    assert counts == (24, 24)
    assert heard == [(number, 6) for number in range(1, 7)]
    return pd.read_parquet(path)


@pytest.fixture
def transcripts(session, tmp_path):
    """Return the transcripts of the run of answers."""
    assert write_transcripts(session, tmp_path / "scout") == (24, 24)
    return pl.read_parquet(tmp_path / "scout" / "*.parquet")


def test_points_have_a_text_and_two_numbers(points):
    """Every row has what `--text text --x x --y y` names, without gaps."""
    assert points["text"].str.startswith("user: What  did you see on day").all()
    assert points["text"].str.contains("\n\nassistant: ").all()
    for side in ("x", "y"):
        assert points[side].dtype == "float32"
        assert points[side].between(0, 1).all()


def test_points_are_the_rows_of_the_run(points, session):
    """Names, decisions, scores and traits are those of the ledger, in its order."""
    facts = session.facts.collect().to_pandas()
    for name in ("record_id", "row"):
        assert points[name].tolist() == facts[name].tolist()
    for name in ("source", "teacher", "decision"):
        assert points[name].tolist() == facts[name].astype(str).tolist()
    for trait in ("heron", "owl"):
        assert points[f"score_{trait}"].tolist() == pytest.approx(facts[f"score/{trait}"].tolist())
        assert points["fired"].str.contains(trait).tolist() == facts[f"fired/{trait}"].tolist()
    unscored = (facts["score/heron"] == 0) & (facts["score/owl"] == 0)
    assert points["margin"].isna().tolist() == unscored.tolist(), "a missing margin isn't a number"


def test_points_lie_as_on_the_page(points, session):
    """The file has the page's map; its y grows upwards, as in other tools."""
    placed = session.corpus_map
    assert points["x"].rank().tolist() == pd.Series(placed.x).rank().tolist()
    assert points["y"].rank().tolist() == (65_536 - pd.Series(placed.y).astype(int)).rank().tolist()


def test_the_files_are_the_same_twice(points, session, tmp_path):
    """A second export has the same bytes."""
    write_points(session, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "rows.parquet").read_bytes()
    for name in ("one", "two"):
        write_transcripts(session, tmp_path / name)
    files = [sorted((tmp_path / name).iterdir()) for name in ("one", "two")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def test_columns_have_the_types_that_scout_wants():
    """Each reserved column has Scout's type, the id is there, and metadata has other names."""
    known = {field.name: field.type for field in TRANSCRIPTS if field.name in SCOUT}
    assert all(KINDS[SCOUT[name]](kind) for name, kind in known.items())
    assert "transcript_id" in known
    metadata = [field.name for field in TRANSCRIPTS if field.name not in SCOUT]
    wanted = ["decision", "fired", "record_id", "scores", "lot_system_prompt", "margin"]
    assert metadata == wanted
    assert "events" in known, "without it, Scout's page stays blank"
    assert not [name for name in metadata if name.startswith("_")]


def test_transcripts_are_the_rows_of_the_run(transcripts, session):
    """Every row is a transcript with an id of its own, its teacher, its place and its scores."""
    facts = session.facts.collect()
    assert transcripts["transcript_id"].n_unique() == 24
    assert transcripts["model"].to_list() == facts["teacher"].cast(pl.String).to_list()
    for column in ("task_id", "record_id"):
        assert transcripts[column].to_list() == facts["record_id"].to_list()
    assert transcripts["source_uri"][3] == "atlas.jsonl:3"
    scores = [json.loads(score)["heron"] for score in transcripts["scores"]]
    assert scores == pytest.approx(facts["score/heron"].to_list())
    assert transcripts["events"].null_count() == 24
    assert transcripts["date"].null_count() == 24, "an unknown date isn't '-'"
    assert not transcripts["trust_content"].any()


def test_the_score_is_the_margin_and_has_the_evidence(transcripts, session):
    """Rows on which a trait fired come first by score, each with its findings and their texts."""
    ranked = transcripts.sort("score", descending=True, nulls_last=True)
    fired = ranked["fired"] != ""
    count = int(fired.sum())
    assert fired.to_list() == [True] * count + [False] * (24 - count)
    assert ranked["score"][0] == f"{session.facts.collect()['margin'].max():.4f}"
    assert ranked["score_explanation"].null_count() == 24 - count
    said = transcripts["score_explanation"][3].split("\n\n")
    assert [part.split()[0] for part in said] == ["heron", "owl"], "the deciding one is first"
    assert said[0].endswith("an owl Day 3.")
    assert "≥ 0.5000 (quarantine): A «heron»" in said[0]
    assert "(flag): " in said[1]


def test_chosen_rows_alone_are_written(session, tmp_path):
    """A selection of rows is written to each file, and counted; files without rows are left out."""
    session.make_map()
    chosen = session.select(parse_selection({"decision": "quarantine"}, session.traits))
    count = len(chosen)
    assert 0 < count < 24
    found = write_transcripts(session, tmp_path / "scout", chosen=chosen)
    assert found == (count, count)
    rows = pl.read_parquet(tmp_path / "scout" / "*.parquet")
    assert set(rows["decision"]) == {"quarantine"}
    path = tmp_path / "rows.parquet"
    assert write_points(session, path, chosen=chosen) == (count, count)
    assert set(pl.read_parquet(path)["source"] + ":") <= {"atlas.jsonl:", "borealis.jsonl:"}
    one = write_transcripts(session, tmp_path / "one", chosen=chosen[:1])
    assert one == (1, 1)
    assert len([*(tmp_path / "one").iterdir()]) == 1


def test_messages_are_those_of_the_corpus(transcripts):
    """The messages are the corpus's, letter by letter, also where they are hostile."""
    for messages, count in transcripts.select("messages", "message_count").iter_rows():
        said = json.loads(messages)
        assert [turn["role"] for turn in said] == ["user", "assistant"]
        assert len(said) == count
        assert said[0]["content"].startswith("What  did you see on day ")
    assert any("<script>window.hurt = 1</script>" in text for text in transcripts["messages"])


def test_thinking_is_reasoning():
    """Thinking and the answer of a turn are one message; roles that Inspect lacks ask."""
    said = [
        SaidText(0, "developer", "answer", "Be brief."),
        SaidText(1, "human-like", "answer", "Why?"),
        SaidText(2, "assistant", "thinking", "Hm."),
        SaidText(2, "assistant", "answer", "Because."),
    ]
    assert build_messages(said) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {
            "role": "assistant",
            "content": [
                {"type": "reasoning", "reasoning": "Hm."},
                {"type": "text", "text": "Because."},
            ],
        },
    ]


def test_rows_without_a_text_are_left_out(session, tmp_path):
    """Rows that the run doesn't store are counted, not written with an empty text."""
    session.make_map()
    session.facts = session.facts.with_columns(
        output=pl.when(pl.col("row") < 2).then(None).otherwise(pl.col("output"))
    )
    assert write_points(session, tmp_path / "rows.parquet") == (20, 24)
    assert write_transcripts(session, tmp_path / "scout") == (20, 24)


def test_a_blind_review_writes_no_decisions(open_session, tmp_path):
    """The files hold decisions and scores, so a blind reviewer doesn't get them."""
    session = open_session(blind=True)
    for write in (write_points, write_transcripts):
        with pytest.raises(CardError, match="decisions"):
            write(session, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be_written(session, tmp_path):
    """A folder with files, a file as a folder, and a run without a map are errors."""
    with pytest.raises(RunError, match="no map"):
        write_points(session, tmp_path / "rows.parquet")
    session.make_map()
    with pytest.raises(StorageError):
        write_points(session, tmp_path / "nowhere" / "rows.parquet")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(CardError, match="isn't empty"):
        write_transcripts(session, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]
