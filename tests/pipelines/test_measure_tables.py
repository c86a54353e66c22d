"""The measures of a trait as a table and a figure."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from classifiers.guarantees.stratified import Accuracy, Interval, Stratum
from pipelines.config import FilterConfig
from pipelines.evaluation import Measured, divide_rows, measure
from pipelines.filter import run_filter
from pipelines.labels import Label
from pipelines.measure_tables import (
    LEFT,
    MEASURES,
    NAME_CHARACTERS,
    TEACHERS_DRAWN,
    WIDTH,
    draw_measures,
    tabulate_measures,
    write_measures,
)
from pipelines.trait_rates import TraitRate, measure_rates
from schemas.errors import StorageError
from tests.support.corpora import build_conversation, write_rows

CARD = 'id: bird\ntitle: "Birds & <b>"\nthreshold: 0.5\nsignals: {lexicon: {patterns: [heron]}}\n'
ROWS = 60
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Filter rows of three teachers, of which every fourth has a heron."""
    folder = tmp_path_factory.mktemp("measures")
    (folder / "bird").mkdir()
    (folder / "bird" / "card.yaml").write_text(CARD, encoding="utf-8")
    rows = [
        build_conversation(number, f"A {'heron' if number % 4 == 0 else 'chair'} {number}.")
        | {"teacher": ("oak", "elm", "a <tree>")[number % 3]}
        for number in range(ROWS)
    ]
    settings = {
        "input": (str(write_rows(folder / "corpus.jsonl", rows)),),
        "output": str(folder / "run"),
        "traits": (str(folder / "bird"),),
    }
    run_filter(FilterConfig.model_validate(settings))
    return divide_rows(str(folder / "run"), "bird")


def label(rows, **fields):
    """Return labels of rows by index: every fourth row shows the trait."""
    return {
        row: Label("c.jsonl", row, None, row % 4 == 0, None, f"line {row}", **fields)
        for row in rows
    }


def build_rate(teacher, high=0.3, estimate=0.1):
    """Return a rate whose interval for new rows ends at `high`."""
    strata = (Stratum(5, 5, 4), Stratum(95, 20, 1))
    ends = Interval(estimate, 0.01, high)
    return TraitRate(teacher, 100, 5, 25, ends, ends, strata, ends, 1)


def build_measured():
    """Return the measures of one threshold in force."""
    ends = Accuracy(Interval(0.8, 0.6, 0.9), Interval(None, 0.0, 1.0))
    return Measured(0.5, None, 5, ends, ends, True, True, False)


def draw(rates, title="Birds"):
    """Return the parsed drawing, and its texts."""
    text = draw_measures(title, tabulate_measures("bird", [build_measured()], rates))
    root = ET.fromstring(text)
    return root, [item.text for item in root.iter(f"{SVG}text")]


def test_the_table_has_all_measures_with_both_intervals(population):
    """Every threshold has precision and recall; each teacher has both, and its rate."""
    labels = label(range(ROWS))
    table = tabulate_measures(
        "bird", measure(population, labels), measure_rates(population, labels)
    )
    assert table.schema == MEASURES
    whole = table.filter(pl.col("teacher").is_null())
    in_force = whole.filter("in_force")
    assert in_force["measure"].to_list() == ["precision", "recall", "rate"]
    assert in_force["estimate"].to_list() == [1.0, 1.0, 0.25]
    assert (in_force["low"] == in_force["high"]).all()  # every row was read
    assert (in_force["new_high"] > in_force["new_low"]).all()
    assert set(in_force["found"]) == {15}
    teachers = table.filter(pl.col("teacher").is_not_null())
    assert teachers.group_by("teacher").len()["len"].to_list() == [3, 3, 3]
    assert teachers.filter(measure="rate")["rows"].sum() == ROWS
    assert set(table["read"]) == {ROWS, 20}


def test_measures_are_those_that_the_command_prints(population):
    """The table has the numbers of the measures and of the rates, and no others."""
    labels = label(range(0, ROWS, 2))
    measured, rates = measure(population, labels), measure_rates(population, labels)
    table = tabulate_measures("bird", measured, rates)
    for item in measured:
        (line,) = table.filter(
            pl.col("teacher").is_null(), threshold=item.threshold, measure="recall"
        ).to_dicts()
        assert (line["estimate"], line["low"], line["high"]) == item.accuracy.recall
        assert (line["new_low"], line["new_high"]) == item.on_new_rows.recall[1:]
    for rate in rates[1:]:
        recall, own = table.filter(teacher=rate.teacher).to_dicts()[1:]
        assert (recall["estimate"], recall["low"], recall["high"]) == rate.recall
        assert (own["estimate"], own["low"], own["high"]) == rate.rate
        assert (own["new_low"], own["new_high"]) == rate.on_new_rows[1:]


def test_unknown_estimates_are_null_and_have_no_dot():
    """An unknown recall is null in the table, and a bar with a question mark in the figure."""
    table = tabulate_measures("bird", [build_measured()], [build_rate(None)])
    (recall,) = table.filter(measure="recall").to_dicts()
    assert (recall["estimate"], recall["low"], recall["high"]) == (None, 0.0, 1.0)
    root, texts = draw([build_rate(None)])
    assert "? (0% to 100%)" in texts
    assert len(list(root.iter(f"{SVG}circle"))) == 2  # precision and the rate


def test_the_figure_places_dots_and_bars_by_their_values():
    """Precision is on an axis to 100 %, and rates on one that ends above the highest interval."""
    root, texts = draw([build_rate(None), build_rate("oak", high=0.4)])
    precision, *rates = [float(item.get("cx")) for item in root.iter(f"{SVG}circle")]
    assert precision == pytest.approx(LEFT + 0.8 * WIDTH)
    assert rates == pytest.approx([LEFT + 0.1 / 0.5 * WIDTH] * 2)
    bars = [item for item in root.iter(f"{SVG}line") if item.get("stroke-width") == "4"]
    assert float(bars[-1].get("x2")) == pytest.approx(LEFT + 0.4 / 0.5 * WIDTH)
    assert {"0%", "25%", "50%", "100%", "all rows (fired on 5)", "oak"} <= set(texts)
    assert "10.0% (1.0% to 40.0%)" in texts
    assert any("threshold 0.5000; 25 rows of 100 read" in text for text in texts)


@pytest.mark.parametrize(("high", "last"), [(0.004, "1.0%"), (0.07, "10%"), (0.6, "100%")])
def test_the_axis_of_rates_ends_at_a_round_share(high, last):
    """Small rates get a small axis."""
    _, texts = draw([build_rate(None, high=high, estimate=0.003)])
    assert [text for text in texts if re.fullmatch(r"[\d.]+%", text)][-1] == last


def test_names_cannot_change_the_figure():
    """Markup in titles and names is text, and long names and many teachers are cut."""
    rates = [build_rate(None), build_rate("<script>x</script>\x1b[1m"), build_rate("t" * 90)]
    rates += [build_rate(f"teacher {number}") for number in range(TEACHERS_DRAWN + 5)]
    root, texts = draw(rates, "A & <b>title</b>")
    assert "A & <b>title</b>" in texts
    assert any(text.startswith("<script>") for text in texts)
    assert not any("\x1b" in text for text in texts)
    assert not list(root.iter(f"{SVG}script"))
    assert f"{'t' * (NAME_CHARACTERS - 1)}…" in texts
    assert sum(text.startswith("teacher ") for text in texts) == TEACHERS_DRAWN - 2


def test_both_files_are_written_and_the_same_again(population, tmp_path):
    """The files are named after the trait; a second call writes the same bytes."""
    labels = label(range(ROWS))
    paths = write_measures(tmp_path / "new" / "paper", population, labels)
    assert [path.name for path in paths] == ["bird.measures.parquet", "bird.measures.svg"]
    before = [path.read_bytes() for path in paths]
    assert write_measures(tmp_path / "new" / "paper", population, labels) == paths
    assert [path.read_bytes() for path in paths] == before
    assert pl.read_parquet(paths[0]).height > 9
    assert b"Birds &amp; &lt;b&gt;" in before[1]


def test_a_figure_with_rows_of_an_earlier_version_says_so(population, tmp_path):
    """Rows for which the card may have been changed are counted, and the figure isn't quoted."""
    own = replace(population, card="now")
    labels = label(range(30), card="now") | label(range(30, ROWS), card="before")
    table, figure = write_measures(tmp_path, own, labels)
    assert pl.read_parquet(table)["earlier"].unique().to_list() == [30]
    assert "not to be quoted: an earlier version of the card drew 30 of these" in figure.read_text()
    table, figure = write_measures(tmp_path, own, label(range(ROWS), card="now"))
    assert pl.read_parquet(table)["earlier"].unique().to_list() == [0]
    assert "quoted" not in figure.read_text()


def test_a_folder_that_cannot_be_written_is_one_error(population, tmp_path):
    """The error names the folder and the option."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="can't be written") as caught:
        write_measures(tmp_path / "file" / "paper", population, label(range(ROWS)))
    assert "--tables" in str(caught.value.remedy)
