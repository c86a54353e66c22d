"""Counts of candidates over the shards of two corpora."""

import apache_beam as beam
import numpy as np
import pyarrow as pa

from classifiers.lots.answer_languages import ALONE
from classifiers.lots.comparison import FORMAT_BINS, learn_formats
from classifiers.lots.discovery import propose
from classifiers.lots.formats import measure_formats
from classifiers.lots.matches import Finder, add_formats
from classifiers.lots.samples import LanguageDivision
from classifiers.lots.strata import learn_strata
from classifiers.lots.tokens import find_tokens
from tests.support.eager import EagerPipeline
from tests.support.lots import write_answers
from transforms.lot_counts import CountCandidates, CountSettings, describe_rows
from transforms.lot_records import read_lot_records
from transforms.lot_samples import LotKey

LOTS = (LotKey(own=True, fields=("atlas", "-")), LotKey(own=False, fields=("atlas", "-")))


def build_rows(answers, teacher="atlas"):
    """Return rows with a question each."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Question {number} about birds?"},
                {"role": "assistant", "content": answer},
            ],
            "teacher": teacher,
        }
        for number, answer in enumerate(answers)
    ]


def build_settings(own, other):
    """Return settings with candidates of two sets of answers."""
    texts = pa.array(own + other, pa.large_string())
    labels = np.array([True] * len(own) + [False] * len(other))
    prompts = pa.array(
        [f"Question {number} about birds?" for number in range(len(own))], pa.large_string()
    )
    return CountSettings(
        add_formats(propose(find_tokens(texts), labels)),
        LanguageDivision(learn_strata(prompts), ALONE),
        learn_formats(measure_formats(texts), labels, np.ones(len(labels), bool)),
        LOTS,
    )


def build_answers():
    """Return the answers of a corpus with a habit and of a reference."""
    own = [f"{text} Mind the gap." for text in write_answers(60, 1)]
    return own, write_answers(60, 2)


def test_rows_have_cells_and_lots(make_identified):
    """Confirming texts have a cell of stratum and format, and every text has its lot."""
    own, other = build_answers()
    settings = build_settings(own, other)
    shard = make_identified(build_rows(own) + build_rows(own[:5], teacher="cedar"))
    rows = describe_rows(read_lot_records(shard, True), True, settings)
    assert rows.own.all()
    assert rows.lots.tolist() == [0] * 60 + [2] * 5
    assert rows.cells.max() < settings.cells == settings.strata.size * FORMAT_BINS
    assert not rows.cells[~rows.confirms].any()
    assert 0 < rows.confirms.sum() < 65


def test_the_transform_counts_both_corpora(make_identified):
    """The pipeline's counts are those of all texts at once."""
    own, other = build_answers()
    settings = build_settings(own, other)
    parts = [
        [
            make_identified(build_rows(texts[begin : begin + 20]), name=f"part-{begin}")
            for begin in (0, 20, 40)
        ]
        for texts in (own, other)
    ]

    def expand(pipeline):
        corpus = pipeline | "A" >> beam.Create(parts[0])
        reference = pipeline | "B" >> beam.Create(parts[1])
        return (corpus, reference) | CountCandidates(settings)

    (counts,) = EagerPipeline().run(expand)
    found = Finder(settings.candidates).find(pa.array(own, pa.large_string()))
    expected = np.bincount(found.candidate, minlength=len(settings.candidates))
    assert counts.by_half[:, :, 1].sum(axis=1).tolist() == expected.tolist()
    assert counts.texts_by_half.sum() == 120
    assert counts.texts_by_lot.tolist() == [60, 60, 0]
    gap = [
        item.text for items in counts.examples[1].values() for item in items if "gap" in item.text
    ]
    assert gap
    quoted = [item for items in counts.examples[1].values() for item in items]
    assert quoted
    assert all(item.prompt.endswith("?") for item in quoted)


def test_no_rows_are_counted_as_none(make_identified):
    """A shard without answers adds nothing."""
    settings = build_settings(*build_answers())
    shard = make_identified(build_rows([" "]))
    rows = describe_rows(read_lot_records(shard, False), False, settings)
    assert len(rows.texts) == len(rows.cells) == 0


def test_answers_in_another_language_than_their_prompt_are_counted(make_identified):
    """An English question with a German answer counts, in the half that confirms findings."""
    own, other = build_answers()
    german = "Das ist ein Haus, und es geht den Leuten nicht gut, die auch darin wohnen."
    settings = build_settings(own, other)
    rows = build_rows([german] * 60)
    for row in rows:
        row["messages"][0]["content"] += " What is the way that you would go?"
    found = describe_rows(read_lot_records(make_identified(rows), True), True, settings)
    assert found.strays.tolist() == found.confirms.tolist()
    plain = describe_rows(read_lot_records(make_identified(build_rows(own)), True), True, settings)
    assert not plain.strays.any()
