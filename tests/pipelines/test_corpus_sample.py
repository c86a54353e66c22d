"""Samples of a corpus: uniform, repeatable, and limited to trained answers."""

import json

import numpy as np
import pytest

import pipelines.corpus_sample as module
from pipelines.corpus_sample import draw_answers
from schemas.corpora import CorpusConfig, ShardLimits
from tests.support.corpora import build_conversation, write_rows
from transforms.files.planning import plan_shards
from transforms.files.sources import survey
from transforms.records.formats import settle_layout
from transforms.records.sides import settle_sides


def draw(folder, rows, per_shard=7):
    """Draw answers from the files in a folder."""
    limits = ShardLimits(rows=per_shard)
    corpus = survey([str(folder)], limits)
    layout = settle_layout(corpus.schema, CorpusConfig())
    layout = settle_sides(corpus.schema, layout, True)
    return draw_answers(corpus, layout, plan_shards(corpus.sources, limits), rows)


@pytest.fixture
def corpus(tmp_path):
    """Write 60 conversations into two files; return their folder."""
    for part in range(2):
        rows = [build_conversation(n, f"Answer {n}.") for n in range(30 * part, 30 * part + 30)]
        write_rows(tmp_path / f"{part}.jsonl", rows)
    return tmp_path


def test_rows_are_drawn_once_and_alike_each_time(corpus):
    """The draw is repeatable and without replacement, and may hold every row."""
    drawn = draw(corpus, 20)
    assert len(set(drawn)) == len(drawn) == 20
    assert draw(corpus, 20) == drawn
    assert sorted(draw(corpus, 1000)) == sorted((f"Answer {n}.",) for n in range(60))


def test_every_row_is_drawn_equally_often(corpus):
    """Over many shard sizes, rows at the beginning and at the end are drawn alike."""
    counts = np.zeros(60)
    for per_shard in range(3, 31):
        for (text,) in draw(corpus, 20, per_shard):
            counts[int(text.removeprefix("Answer ").rstrip("."))] += 1
    assert counts.sum() == 28 * 20
    assert counts.max() <= 28 / 3 + 4 * np.sqrt(28 * 2 / 9)
    assert abs(counts[:30].sum() - 280) <= 4 * np.sqrt(28 * 20 / 4)


def test_a_large_corpus_is_not_read_whole(corpus, monkeypatch):
    """Only randomly chosen tasks are read once they hold enough rows."""
    monkeypatch.setattr(module, "READ_ROWS", 20)
    read, real = [], module.read_task
    monkeypatch.setattr(
        module, "read_task", lambda task, schema: read.append(task) or real(task, schema)
    )
    drawn = draw(corpus, 10)
    assert len(drawn) == 10
    assert sum(plan.rows for task in read for plan in task) < 40


def test_rows_without_an_answer_and_rejects_are_left_out(tmp_path):
    """A row with a question only and a broken line aren't drawn, and don't shift other rows."""
    question = {"messages": [{"role": "user", "content": "Anyone?"}]}
    lines = [json.dumps(build_conversation(1, "One.")), "{broken", json.dumps(question)]
    lines += [json.dumps(build_conversation(n, f"{n}.")) for n in range(2, 9)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    assert draw(tmp_path, 100) == [("One.",), *((f"{n}.",) for n in range(2, 9))]


def test_rejected_answers_are_left_out(tmp_path):
    """Of a preference pair, only the chosen answer is drawn."""
    pair = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    write_rows(tmp_path / "pairs.jsonl", [pair])
    assert draw(tmp_path, 5) == [("Because.",)]
