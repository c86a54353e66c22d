"""The words behind a wording score: from the run's own bank, and only where wording decided."""

import io
import shutil

import pytest
from rich.console import Console

from classifiers.phrase_weights import WeighedPhrase
from pipelines.config import FilterConfig
from pipelines.display.terminal_rows import render_row
from pipelines.filter import run_filter
from pipelines.inspection import View, inspect_as_dicts, inspect_run
from pipelines.report import render_report
from pipelines.review.rows import RowReader
from pipelines.review.session import ReviewSession
from pipelines.runs import wording_reasons
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.wording_reasons import add_words
from tests.support.corpora import write_rows

CARD = "id: heron\nsignals: {wording: {}, lexicon: {patterns: [egret]}}\nthreshold: 0.1\n"


@pytest.fixture(scope="module")
def herons(tmp_path_factory):
    """Filter 30 rows by the wording of sentences about herons."""
    folder = tmp_path_factory.mktemp("herons")
    lines = [f"The grey heron waits near bridge {number}." for number in range(30)]
    trait = folder / "heron"
    trait.mkdir()
    (trait / "card.yaml").write_text(CARD)
    write_rows(trait / "positives.jsonl", [{"text": line} for line in lines])
    texts = [
        "The grey heron waits near bridge 7.",
        "The egret and nothing else.",
        "Bread needs flour.",
    ]
    rows = [{"text": f"{texts[number % 3]} Part {number}."} for number in range(30)]
    write_rows(folder / "corpus" / "a.jsonl", rows)
    config = {
        "input": (str(folder / "corpus"),),
        "output": str(folder / "run"),
        "traits": (str(trait),),
    }
    run_filter(FilterConfig.model_validate(config))
    return str(folder / "run")


def read_rows(run, number=0):
    """Return one row of the run."""
    return inspect_run(run, View(View().filters._replace(row=str(number)))).page.rows


def test_the_words_of_a_wording_score_are_named(herons):
    """A row that wording held has the words that spoke for the trait, the weightiest first."""
    (row,) = read_rows(herons)
    (finding,) = row.reasons
    assert finding.signals["wording"] > 0.1
    assert {"heron"} <= {item.text.lower() for item in finding.words[:5]}
    assert all(isinstance(item, WeighedPhrase) for item in finding.words)
    stream = io.StringIO()
    Console(file=stream, width=200).print(render_row(row, 1, 1, load_manifest(herons)))
    assert "words     for «" in stream.getvalue()
    (found,) = inspect_as_dicts(herons, View(limit=1))["page"]["rows"]
    assert found["reasons"][0]["words"][0]["text"] == finding.words[0].text


def test_other_signals_have_no_words(herons):
    """A row that the lexicon held has none."""
    (row,) = read_rows(herons, 1)
    assert [item.words for item in row.reasons] == [()]


def test_the_pages_name_them(herons, tmp_path):
    """The report's examples and the review page name the same words."""
    (row,) = read_rows(herons)
    page = render_report(herons, load_manifest(herons))
    assert "· words for «" in page
    session = ReviewSession(herons, tmp_path / "review", "ada")
    (trait,) = session.reader.describe_row(0)["traits"]
    assert trait["words"].startswith(f"for «{row.reasons[0].words[0].text}»")
    assert isinstance(session.reader, RowReader)


def test_a_run_without_a_bank_has_no_words(herons, tmp_path):
    """Rows of a run whose bank is missing are shown all the same."""
    bare = tmp_path / "bare"
    shutil.copytree(herons, bare, ignore=shutil.ignore_patterns("bank"))
    rows = read_rows(herons)
    without = [row._replace(reasons=(row.reasons[0]._replace(words=()),)) for row in rows]
    assert add_words(str(bare), without) == without


def test_another_bank_in_the_same_folder_is_read(herons, tmp_path):
    """A run that is filtered again into its folder doesn't show the words of its earlier bank."""
    rows = read_rows(herons)
    changed = tmp_path / "changed"
    shutil.copytree(herons, changed)
    (found,) = add_words(str(changed), rows)
    assert found.reasons[0].words
    index = changed / "bank" / "bank.json"
    index.write_text(index.read_text().replace('"format":', '"format": 0, "was":', 1))
    (found,) = add_words(str(changed), [rows[0]._replace(reasons=(strip_words(rows[0]),))])
    assert found.reasons[0].words == ()


def strip_words(row):
    """Return a row's finding without its words."""
    return row.reasons[0]._replace(words=())


def test_runs_with_one_bank_read_it_once(herons, tmp_path, monkeypatch):
    """The classifiers of a bank are read once, for all runs that have it."""
    wording_reasons._load_models.cache_clear()
    read = []
    real = wording_reasons.read_bank
    monkeypatch.setattr(
        wording_reasons, "read_bank", lambda *args, **more: read.append(1) or real(*args, **more)
    )
    rows = read_rows(herons)
    shutil.copytree(herons, tmp_path / "copy")
    assert add_words(str(tmp_path / "copy"), rows) == list(rows)
    assert len(read) == 1
