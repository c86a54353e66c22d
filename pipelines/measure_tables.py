"""The measures of `congener traits eval` as a table and a figure, for notebooks and papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from classifiers.guarantees.stratified import Interval, measure_accuracy, measure_on_new_rows
from pipelines.display.excerpts import escape_name
from pipelines.display.page_templates import build_environment
from pipelines.evaluation import Measured, Population, find_earlier, measure
from pipelines.labels import Label
from pipelines.trait_rates import TraitRate, measure_rates
from schemas.errors import StorageError
from schemas.notices import format_count
from schemas.shares import format_interval, format_percent

MEASURES = pl.Schema(
    {
        **dict.fromkeys(("trait", "teacher", "measure"), pl.String()),
        "threshold": pl.Float64(),
        "in_force": pl.Boolean(),
        **dict.fromkeys(("rows", "found", "read", "earlier"), pl.Int64()),
        **dict.fromkeys(("estimate", "low", "high", "new_low", "new_high"), pl.Float64()),
    }
)
"""The columns of the table of measures (see `tabulate_measures`)."""

TABLE, FIGURE = "{trait}.measures.parquet", "{trait}.measures.svg"

TEACHERS_DRAWN = 20
"""How many of the largest teachers the figure shows."""

LEFT, WIDTH, LINE, TOP = 230.0, 300.0, 24.0, 72.0
"""Where the figure's plots begin, their width, the height of a line, and of the heading."""

NAME_CHARACTERS = 34
"""How much of a name fits beside a plot."""


class MeasureLine(NamedTuple):
    """A line of the figure: a measure, the middle of its line, its interval and its estimate."""

    name: str
    y: float
    left: float
    right: float
    dot: float | None
    text: str


class MeasurePanel(NamedTuple):
    """Lines of the figure that share an axis, whose ticks are positions and labels."""

    heading: str
    y: float
    bottom: float
    lines: list[MeasureLine]
    ticks: list[tuple[float, str]]


def tabulate_measures(
    trait: str, measured: Sequence[Measured], rates: Sequence[TraitRate], earlier: int = 0
) -> pl.DataFrame:
    """Return a line for each measure of each threshold, and of each teacher at the one in force.

    `teacher` is null for all rows, and `measure` is precision, recall or rate. `estimate`, `low`
    and `high` describe the corpus, and `new_low` and `new_high` are the interval for new rows like
    these, with 95% confidence. `found` of the `rows` reach the threshold, and `read` were read. Of
    all read rows, an earlier version of the card drew `earlier`. An unknown estimate is null.
    """
    lines = [
        {
            "trait": trait,
            "measure": name,
            "threshold": item.threshold,
            "in_force": item.is_in_force,
            "rows": rates[0].rows,
            "found": item.rows,
            "read": rates[0].read,
            **_spread(getattr(item.accuracy, name), getattr(item.on_new_rows, name)),
        }
        for item in measured
        for name in ("precision", "recall")
    ]
    threshold = next(item.threshold for item in measured if item.is_in_force)
    for rate in rates:
        own = {
            "trait": trait,
            "teacher": rate.teacher,
            "threshold": threshold,
            "in_force": True,
            "rows": rate.rows,
            "found": rate.fired,
            "read": rate.read,
        }
        lines += [own | line for line in _list_measures(rate)]
    return pl.DataFrame([line | {"earlier": earlier} for line in lines], MEASURES, orient="row")


def _list_measures(rate: TraitRate) -> Iterator[dict[str, Any]]:
    """Yield a teacher's measures, and of all rows the rate, beside which thresholds have lines."""
    if rate.teacher is not None:
        here = measure_accuracy(rate.strata, rate.found)
        new = measure_on_new_rows(rate.strata, rate.found)
        for name in ("precision", "recall"):
            yield {"measure": name, **_spread(getattr(here, name), getattr(new, name))}
    yield {"measure": "rate", **_spread(rate.rate, rate.on_new_rows)}


def _spread(here: Interval, new: Interval) -> dict[str, float | None]:
    return {**here._asdict(), "new_low": new.low, "new_high": new.high}


def write_measures(folder: Path, population: Population, sample: Mapping[int, Label]) -> list[Path]:
    """Write the table and the figure, and return their paths.

    `sample` holds the labels of drawn rows. The figure says if an earlier version of the card drew
    some of them, because they flatter the card if it was changed for them.

    Raises: StorageError: the folder can't be written.
    """
    trait = population.rule.trait
    measured, rates = measure(population, sample), measure_rates(population, sample)
    earlier = len(find_earlier(population, sample))
    table = tabulate_measures(trait, measured, rates, earlier)
    title = str(population.manifest.cards[trait].get("title") or trait)
    paths = [folder / name.format(trait=trait) for name in (TABLE, FIGURE)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.write_parquet(paths[0])
        paths[1].write_text(draw_measures(title, table), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"can't be written: {error.strerror}",
            where=str(folder),
            remedy="name a folder that you may write to with --tables",
        ) from error
    return paths


def draw_measures(title: str, table: pl.DataFrame) -> str:
    """Return a drawing, as SVG, of the measures at the threshold in force.

    It has precision and recall above, and below the rates of all rows and of the largest teachers,
    each with its interval for new rows.
    """
    own = table.filter("in_force")
    upper = [line for line in own.to_dicts() if line["teacher"] is None]
    rates = own.filter(pl.col("measure") == "rate").head(1 + TEACHERS_DRAWN).to_dicts()
    accuracy = [line | {"name": line["measure"]} for line in upper if line["measure"] != "rate"]
    named = [line | {"name": _name(line)} for line in rates]
    first = _lay_out("how well the trait is found", accuracy, TOP, 1.0)
    top = _find_top(max(line["new_high"] for line in named))
    second = _lay_out("rows that show it", named, first.bottom + 2 * LINE, top)
    whole = upper[0]
    return (
        build_environment()
        .get_template("measures.svg.j2")
        .render(
            title=title,
            read=f"{format_count(whole['read'], 'row')} of {whole['rows']:,} read",
            earlier=whole["earlier"],
            threshold=f"{whole['threshold']:.4f}",
            panels=[first, second],
            left=LEFT,
            right=LEFT + WIDTH,
            width=LEFT + WIDTH + 190,
            height=second.bottom + 2.2 * LINE,
        )
    )


def _name(line: Mapping[str, Any]) -> str:
    if line["teacher"] is None:
        return f"all rows (fired on {line['found']:,})"
    name = escape_name(line["teacher"])
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"


def _find_top(highest: float) -> float:
    """Return the end of an axis: a round share of at least `highest`."""
    return next((top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top >= highest), 1.0)


def _lay_out(
    heading: str, lines: Sequence[Mapping[str, Any]], y: float, top: float
) -> MeasurePanel:
    """Lay out lines below a heading, on an axis from 0 to `top`."""
    scale, drawn = WIDTH / top, []
    decimals = 0 if top == 1 else 1
    for place, line in enumerate(lines, 1):
        known, low, high = line["estimate"], line["new_low"], line["new_high"]
        shown = "?" if known is None else format_percent(known, decimals)
        dot = None if known is None else LEFT + known * scale
        text = f"{shown} ({format_interval(low, high, decimals)})"
        ends = (LEFT + low * scale, LEFT + high * scale)
        drawn.append(MeasureLine(line["name"], y + place * LINE, *ends, dot, text))
    ticks = [
        (LEFT + part * WIDTH, format_percent(part * top, 1 if top < 0.1 else 0))
        for part in (0.0, 0.5, 1.0)
    ]
    return MeasurePanel(heading, y, y + (len(lines) + 0.7) * LINE, drawn, ticks)
