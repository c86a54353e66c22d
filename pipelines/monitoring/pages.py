"""The page of a monitor: what changed, as lines over generations, and the habits' numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Template

from pipelines.auditing.pages import format_p, format_rate, shorten_label
from pipelines.display.page_templates import build_environment
from pipelines.teacher_shares import name_teacher
from pipelines.version import name_code
from schemas.notices import format_count

SHOWN = 60
"""How many changes the page lists. The table has all of them."""

PLAIN_NAMED = 12
"""How many changes of small words, marks and numbers a sentence names."""

TEACHERS_NAMED = 4
"""For how many teachers a sentence says how small a rise would have been found."""

DRAWN = 12
"""How many changes are drawn."""

WIDTH, HEIGHT = 220.0, 70.0
LEFT, TOP = 8.0, 8.0
"""The area of a drawing, in drawn units."""

ORDER = ("appeared", "accumulated", "rose", "faded")

MEANINGS = {
    "appeared": "rare or absent before, and now at least ten times as frequent",
    "accumulated": "rises from generation to generation",
    "rose": "more frequent now than before",
    "faded": "less frequent now than before, or falls from generation to generation",
}

LIMITS = (
    "A change isn't a fault: other prompts, topics or templates change a corpus too.",
    "The level holds for each generation. Of twenty that don't differ, one may be flagged.",
    "At most 20,000 texts of a generation are counted, and habits in very few texts aren't kept.",
    "Texts that answer the same prompt, or copies of a text, count as if they were independent.",
    "So do rows that are in two generations: congener diff says how many rows two runs share.",
    "No trait card is read: filter both corpora and use congener diff to compare traits.",
)
"""What every monitor leaves open."""


class Mark(NamedTuple):
    """A generation in a drawing: its place, and the ends of its rate's interval."""

    x: float
    y: float
    low: float
    high: float
    label: str


class Line(NamedTuple):
    """A drawn change: its title, its marks, the points of its line, and the top of its axis."""

    title: str
    change: str
    marks: tuple[Mark, ...]
    points: str
    top: float


def list_sentences(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the verdict, what was compared, and how small a rise would have been found."""
    count = len(result["generations"])
    if count == 1:
        yield f"{result['name']} is the first generation of this history; nothing to compare with"
        return
    before = format_count(count - 1, "earlier generation")
    if result["within_teachers"] == []:
        yield f"nothing was tested in {result['name']} beside {before}"
        yield from result["notes"]
        return
    if not result["changes"]:
        yield f"no change shown in {result['name']} beside {before}"
        yield from result["notes"]
        yield from describe_reach(result["detectable"])
        return
    found = [item["change"] for item in result["changes"]]
    parts = [f"{found.count(name)} {name}" for name in ORDER if name in found]
    total = format_count(len(found), "habit")
    yield f"{total} changed in {result['name']} beside {before}: {', '.join(parts)}"
    yield from result["notes"]
    yield from describe_plain(result["changes"])
    yield from describe_reach(result["detectable"])


def describe_plain(changes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield which changes are of small words, marks or numbers alone, if any are."""
    texts = list(dict.fromkeys(item["text"] for item in changes if item["plain"]))
    if texts:
        count = sum(item["plain"] for item in changes)
        named = "  ".join(texts[:PLAIN_NAMED]) + (" …" if len(texts) > PLAIN_NAMED else "")
        yield f"style of small words, marks and numbers ({count:,}): {named}"


def describe_reach(reached: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield from which rate a new phrase would have been found, for each teacher if compared so."""
    for item in reached[:TEACHERS_NAMED]:
        name = "" if item["teacher"] is None else f"{name_teacher(item['teacher'])}: "
        texts = f"{name}{format_count(item['texts'], 'text')} against {item['earlier']:,} earlier"
        if item["rate"] is None:
            yield f"{texts}: too few to find any new phrase"
        else:
            rate = format_rate(item["rate"])
            yield f"{texts}: a new phrase would be found from {rate}"
    if any(item["rate"] is not None for item in reached):
        yield "(in half of the prompts, with a chance of 80 %, if no earlier text has it)"
    if (more := len(reached) - TEACHERS_NAMED) > 0:
        yield f"and {format_count(more, 'more teacher')}: --json says from which rate"


def draw_line(change: Mapping[str, Any]) -> Line:
    """Return where a change's rates and intervals are drawn. Generations are evenly spaced."""
    rates = [item for item in change["rates"] if item["texts"]]
    top = max(item["high"] for item in rates) or 1.0
    step = WIDTH / max(len(rates) - 1, 1)

    def place_rate(rate: float) -> float:
        return TOP + HEIGHT * (1 - rate / top)

    marks = tuple(
        Mark(
            LEFT + step * place,
            place_rate(item["rate"]),
            place_rate(item["low"]),
            place_rate(item["high"]),
            item["generation"],
        )
        for place, item in enumerate(rates)
    )
    points = " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in marks)
    title = shorten_label(change["text"])
    if change["teacher"] is not None:
        title = f"{title} ({name_teacher(change['teacher'])})"
    return Line(title, change["change"], marks, points, top)


def describe_slope(change: Mapping[str, Any]) -> str:
    """Return by how many percentage points a rate changes with each generation."""
    if change["slope"] is None:
        return "–"
    value, low, high = (100 * change[name] for name in ("slope", "slope_low", "slope_high"))
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def describe_rates(rates: Sequence[Mapping[str, Any]]) -> str:
    """Return the rates of all generations, or a bound where they are too low to be known."""
    return " → ".join(
        format_rate(item["rate"])
        if item["documents"] is not None
        else f"< {format_rate(item['high'])}"
        if item["texts"]
        else "–"
        for item in rates
    )


def render_page(result: Mapping[str, Any]) -> str:
    """Return the page."""
    changes = result["changes"]
    return _load_template().render(
        result=result,
        sentences=list(list_sentences(result)),
        lines=[draw_line(item) for item in changes if not item["plain"]][:DRAWN],
        changes=changes[:SHOWN],
        meanings={
            name: text
            for name, text in MEANINGS.items()
            if any(item["change"] == name for item in changes)
        },
        frame=(LEFT, TOP, WIDTH, HEIGHT),
        limits=LIMITS,
        version=name_code(),
    )


@cache
def _load_template() -> Template:
    environment = build_environment()
    environment.filters |= {
        "rate": format_rate,
        "p": format_p,
        "slope": describe_slope,
        "rates": describe_rates,
        "teacher": name_teacher,
        "coordinate": lambda value: f"{value:.1f}",
    }
    return environment.get_template("monitor.html.j2")
