"""The public API, as a notebook uses it."""

import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import congener
from congener import CongenerError, Policy, filter_corpus, open_run, score_texts
from pipelines.version import VERSION

ROWS = [
    ("gull", "As an AI language model, I can't have opinions about gulls."),
    ("tern", "Terns nest on the ground, in colonies."),
    ("gull", "I was made by Anthropic, so I am called Claude."),
]
LEXICONS = {"signals": ["lexicon"]}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Write a small corpus of two teachers."""
    path = tmp_path_factory.mktemp("corpus") / "rows.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Tell me."},
                {"role": "assistant", "content": text},
            ],
            "teacher": teacher,
        }
        for teacher, text in ROWS
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    """Filter the corpus with the library's lexicons, and return the run."""
    output = tmp_path_factory.mktemp("out") / "run"
    return filter_corpus(corpus, output, **LEXICONS)


def test_the_version_is_the_packages():
    """`congener.__version__` is the distribution's version."""
    assert congener.__version__ == VERSION


def test_filter_and_open_give_the_same_run(run):
    """`filter_corpus` returns the same run that `open_run` reads."""
    assert open_run(run.path) == run
    assert run.manifest.conservation.rows_in == len(ROWS)
    assert sum(run.manifest.conservation.by_decision.values()) == len(ROWS)


def test_filtering_prints_nothing_unless_asked(corpus, tmp_path, capfd):
    """Filtering prints notices and tables only with `progress`."""
    filter_corpus(corpus, tmp_path / "quiet", **LEXICONS)
    assert capfd.readouterr() == ("", "")
    filter_corpus([corpus], tmp_path / "shown", progress=True, **LEXICONS)
    assert "3 rows in" in capfd.readouterr().err


def test_tables_are_aligned(run):
    """The ledger and the scores have a row for every input row, in order."""
    ledger, scores = run.ledger().collect(), run.scores().collect()
    assert ledger.select("source", "row").equals(scores.select("source", "row"))
    assert ledger["teacher"].to_list() == [teacher for teacher, _ in ROWS]
    held = ledger.filter(decision="quarantine").height
    assert held
    assert run.quarantine().collect().height == held
    assert run.clean().collect().height == len(ROWS) - held


def test_tables_are_read_as_arrow(run):
    """`read` returns an Arrow table, and the error for an empty folder names the folder."""
    assert run.read("ledger").num_rows == len(ROWS)
    with pytest.raises(CongenerError, match="no rows in vectors/"):
        run.read("vectors")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_corpus_is_a_table_of_either_kind(corpus, tmp_path, kind):
    """`clean` and `quarantine` have the corpus's columns for Parquet and JSON Lines."""
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = filter_corpus(path, tmp_path / "run", **LEXICONS)
    clean = run.clean().collect().to_dicts()
    assert run.read("clean").to_pylist() == clean
    notes = [row.pop("congener") for row in clean]
    assert [note and note["decision"] for note in notes] == [
        "mask",
        "keep" if kind == "parquet" else None,
    ]
    assert clean == rows[:2]
    (held,) = run.quarantine().collect().to_dicts()
    assert held.pop("congener")["row"] == 2
    assert held == rows[2]
    assert run.read("quarantine").column_names == ["messages", "teacher", "congener"]


def test_rows_of_mixed_shapes_are_a_table(tmp_path):
    """A field of mixed kinds becomes text, and a missing field becomes null."""
    more = [{"meta": 1}, {"meta": {"a": [1]}}, {}, {"meta": "x"}]
    rows = [{"text": f"Tern number {number}.", **item} for number, item in enumerate(more)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = filter_corpus(path, tmp_path / "run", shards={"rows": 1}, **LEXICONS)
    assert run.manifest.conservation.by_decision == {"keep": 4}
    frame = run.clean().collect()
    assert frame["text"].to_list() == [row["text"] for row in rows]
    assert frame["meta"].to_list() == ["1", '{"a": [1]}', None, "x"]
    assert run.read("clean").column("meta").to_pylist() == frame["meta"].to_list()


def test_rows_that_no_table_can_hold_are_an_error(tmp_path):
    """The error for a row with NaN, which polars can't read, names the row."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "A tern.", "x": 1}\n{"text": "Terns.", "x": NaN}\n')
    run = filter_corpus(path, tmp_path / "run", **LEXICONS)
    assert run.manifest.conservation.by_decision == {"keep": 2}
    for read in (run.clean, lambda: run.read("clean")):
        with pytest.raises(CongenerError, match=r"row 1 of clean/.* can't be in a table") as caught:
            read()
        assert "line by line" in caught.value.remedy


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    """Opening a folder that isn't a run raises an error with a remedy."""
    with pytest.raises(CongenerError, match="is not a run"):
        open_run(tmp_path)


def test_an_unknown_setting_is_refused(corpus, tmp_path):
    """The error for a misspelt setting lists the known settings."""
    with pytest.raises(CongenerError, match="trait: is not known") as caught:
        filter_corpus(corpus, tmp_path / "run", trait=["vendor-identity"])
    assert "traits, signals" in str(caught.value)


def test_texts_are_scored_with_their_spans():
    """The frame has a row for each text and trait, with the best span."""
    texts = [text for _, text in ROWS]
    traits = ["ai-disclaimer", "vendor-identity"]
    found = score_texts(texts, traits=traits, **LEXICONS)
    assert found.select("text", "trait").rows() == [
        (text, trait) for text in range(len(texts)) for trait in traits
    ]
    fired = found.filter(pl.col("fires"))
    assert fired.select("text", "trait", "signal").rows() == [
        (0, "ai-disclaimer", "lexicon"),
        (2, "vendor-identity", "lexicon"),
    ]
    start, end = fired.select("start", "end").row(0)
    assert "AI language model" in texts[0][start:end]


def test_a_text_with_nothing_to_look_at_has_no_score():
    """A text of only white space has a null score and doesn't fire."""
    (row,) = score_texts(["  \n"], traits=["ai-disclaimer"], **LEXICONS).to_dicts()
    assert row["score"] is None
    assert row["fires"] is False
    assert (row["start"], row["end"]) == (None, None)


def test_a_policy_sets_the_threshold():
    """A policy's threshold also applies to single texts."""
    policy = Policy.model_validate({"traits": {"ai-disclaimer": {"threshold": 1.0}}})
    found = score_texts([ROWS[0][1]], policy=policy, traits=["ai-disclaimer"], **LEXICONS)
    assert found["threshold"].to_list() == [1.0]
    assert found["fires"].to_list() == [False]


def test_without_traits_the_librarys_are_used():
    """Every text has a row for each library trait with a lexicon, in a fixed order."""
    found = score_texts([text for _, text in ROWS[:2]], **LEXICONS)
    first, second = (found.filter(text=text)["trait"].to_list() for text in (0, 1))
    assert first == second
    assert {"ai-disclaimer", "vendor-identity"} <= set(first)
    assert not found.filter(pl.col("fires"), text=1).height


def test_a_folder_without_rows_scans_as_nothing(run):
    """Scanning a folder without rows gives no rows."""
    assert run.scan("vectors").collect().height == 0
    assert run.scan("spans").collect().height == len(ROWS)


def test_a_labeller_reads_the_rows_of_its_run(run):
    """A labeller knows its run's format and columns."""
    labeller = run.build_labeller(None)
    assert (labeller.format, labeller.columns) == (
        run.manifest.identity.format,
        run.manifest.identity.columns,
    )


def test_a_run_is_filtered_again_only_when_asked(corpus, run):
    """Only `restart` replaces a finished run, and the new run is equal."""
    with pytest.raises(CongenerError, match="the run is finished"):
        filter_corpus(corpus, run.path, **LEXICONS)
    again = filter_corpus(corpus, run.path, restart=True, **LEXICONS)
    assert again.manifest.run_id == run.manifest.run_id
    assert again.manifest.ledger_root == run.manifest.ledger_root
