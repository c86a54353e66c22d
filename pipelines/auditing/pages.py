"""The page of an audit: the verdict, the tests, the findings with their texts, and the lots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Template

from pipelines.display.page_templates import build_environment
from pipelines.teacher_shares import describe_shares
from pipelines.version import name_code
from schemas.notices import choose_form, format_count

SHOWN = 60
"""How many findings the page shows. The table has all of them."""

RARER_SHOWN = 30
"""How many findings that the corpus has less often the page shows."""

DRAWN = 25
"""How many findings are drawn."""

VIEWS = {
    "raw": "the whole text",
    "canonical": "words alone, all texts equally long",
    "baseline": "length, format and difficulty alone",
}
"""What the classifier reads in each view."""

LIMITS = (
    "A difference isn't a trait: other topics, prompts, dates or templates are differences too.",
    "A corpus that isn't shown to differ may still teach a trait that no count of words shows.",
    "What is rarer in the corpus is listed, too, but doesn't count for the verdict.",
)
"""What every audit leaves open."""

WHERE = {
    "alike": (
        "Lots without * are compared with the reference's texts of the same teacher and source."
    ),
    "all": (
        "*: the reference has too few texts of the same teacher and source, so the lot is compared "
        "with the whole reference. Such a lot differs by being of one teacher or source, which is "
        "no finding."
    ),
}
"""What a lot's test says, by what the lot is compared with."""

LEFT, WIDTH, ROW = 250.0, 330.0, 22.0
"""Where bars begin, the length of the longest one, and the height of a row, in drawn units."""


class RateBar(NamedTuple):
    """A finding in the drawing: its label, its height, and the lengths of its two bars."""

    label: str
    y: float
    corpus: float
    reference: float
    rate: float


def list_sentences(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the verdict, what else it may be due to, and what would have been found.

    The last is said where nothing was found, or nothing that has a name.
    """
    verdict = "differs" if summary["differs"] else "isn't shown to differ"
    p = format_p(summary["p_value"])
    yield f"the corpus {verdict} from the reference ({p} for both tests)"
    if summary["differs"]:
        yield describe_tests(summary)
        yield "p for both tests is twice the smaller one"
        if shares := describe_teachers(summary):
            yield shares
        if not summary["findings"]:
            yield "no phrase, pattern or format alone is shown to be more frequent in the corpus"
            yield "(the classifier adds up many small differences)"
            yield describe_detectable(summary["detectable"]["rate"])
        return
    yield describe_detectable(summary["detectable"]["rate"])
    yield (
        "the classifier would have shown a difference from an AUROC of "
        f"{summary['detectable']['auroc']:.2f} for single texts; "
        f"it is {summary['views']['raw']['auroc']:.2f}, and 0.50 is chance"
    )
    if apart := count_apart(summary):
        yield (
            f"{format_count(apart, 'lot')} {choose_form(apart, 'differs', 'differ')} from the "
            "reference's texts of the same teacher and source, which doesn't count for the "
            "verdict: see Where in the report"
        )


SHARES_RESULT = "the corpora may differ for that reason alone"
"""What other shares of teachers mean for the verdict."""


def describe_teachers(summary: Mapping[str, Any]) -> str | None:
    """Say that the teachers' shares differ, where any teacher is in both and this may be all."""
    own, other = (summary["teachers"][side] for side in ("corpus", "reference"))
    if not any(other.get(name) for name in own):
        return None
    return describe_shares(other, own, ("in the reference", "in the corpus"), SHARES_RESULT)


def count_beyond(summary: Mapping[str, Any]) -> str:
    """Say how many findings length, format and difficulty don't explain."""
    beyond = sum(item["beyond_format"] for item in summary["findings"])
    if not beyond:
        return "no finding is shown beyond length, format and difficulty"
    verb = choose_form(beyond, "is", "are")
    found = format_count(summary["findings_found"], "finding")
    return f"{beyond:,} of {found} {verb} shown beyond length, format and difficulty"


def describe_tests(summary: Mapping[str, Any]) -> str:
    """Say which of the two tests show that the corpus differs, with their own p-values."""
    values = (summary["views"]["raw"]["p_value"], summary["p_findings"])
    names = ("the classifier's test", "the findings' test")
    shown = [
        f"{name} ({format_p(p)})"
        for name, p in zip(names, values, strict=True)
        if len(values) * p <= summary["level"]
    ]
    verb = choose_form(len(shown), "shows", "show")
    return f"{' and '.join(shown)} {verb} it"


def describe_detectable(rate: float | None) -> str:
    """Say from which rate a phrase would have been found that the reference never has."""
    if rate is None:
        return "there are too few texts to find any phrase alone"
    return (
        f"a phrase in {rate:.2%} of the corpus's texts and none of the reference's would have been "
        "found, four times in five"
    )


def describe_compared(summary: Mapping[str, Any]) -> tuple[str, str]:
    """Say how many texts the classifier read, and within what both tests compared."""
    sides = [
        f"{side} {summary['texts'][side]['compared']:,} of {summary['texts'][side]['texts']:,}"
        for side in ("corpus", "reference")
    ]
    count = summary["strata"]
    strata = "as a whole" if count == 1 else f"within {count} strata of the prompts"
    how = "prompt by prompt" if summary["matched"] else strata
    same = summary["in_both"]
    shared = f"; {format_count(same, 'row')} {choose_form(same, 'is', 'are')} in both"
    return (
        f"texts that the classifier read: {', '.join(sides)}{shared if same else ''}",
        f"compared {how}; findings: all texts, {strata}",
    )


def count_apart(summary: Mapping[str, Any]) -> int:
    """Return how many lots differ from texts of the same teacher and source, at the level."""
    return sum(
        lot["compared_with"] == "alike" and lot["q_value"] <= summary["level"]
        for lot in summary["lots"]
    )


def list_comparisons(summary: Mapping[str, Any]) -> list[str]:
    """Return what lots are compared with, in sentences."""
    kinds = {lot["compared_with"] for lot in summary["lots"]}
    return [text for kind, text in WHERE.items() if kind in kinds]


def format_p(value: float) -> str:
    """Return a p-value as words: how large it is, or that it is tiny."""
    return f"p = {value:.2g}" if value >= 1e-12 else "p < 1e-12"


def describe_languages(summary: Mapping[str, Any]) -> str:
    """State how many answers are in another language than their prompt, or nothing if few are."""
    own, other = (summary["other_language"][side] for side in ("corpus", "reference"))
    if not own and not other:
        return ""
    return (
        f"{format_rate(own)} of the corpus's answers and {format_rate(other)} of the reference's "
        "are in another language than their prompt."
    )


def format_rate(value: float) -> str:
    """Return a rate in percent, with more digits where it is small."""
    return f"{100 * value:.1f} %" if value >= 0.001 or not value else f"{100 * value:.2f} %"


def format_value(value: float, unit: str) -> str:
    """Return a measure's value: a share in percent, or a number with few digits."""
    if unit == "share":
        return format_rate(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def lay_out_bars(findings: Sequence[Mapping[str, Any]]) -> list[RateBar]:
    """Return where the rates of the first findings are drawn. The scale ends at the largest."""
    shown = list(findings[:DRAWN])
    top = max([item["rate_corpus"] for item in shown] + [1e-9])
    return [
        RateBar(
            shorten_label(item["text"]),
            ROW * index,
            WIDTH * item["rate_corpus"] / top,
            WIDTH * min(item["rate_reference"], top) / top,
            item["rate_corpus"],
        )
        for index, item in enumerate(shown)
    ]


def shorten_label(text: str, most: int = 36) -> str:
    """Return a text that fits beside a bar."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def render_page(summary: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> str:
    """Return the page. `names` are the paths of the corpus and the reference."""
    findings = summary["findings"]
    return _load_template().render(
        summary=summary,
        names={side: list(paths) for side, paths in names.items()},
        sentences=list(list_sentences(summary)),
        views=VIEWS,
        bars=lay_out_bars(findings),
        left=LEFT,
        height=ROW * min(len(findings), DRAWN),
        findings=findings[:SHOWN],
        rarer=summary["rarer"][:RARER_SHOWN],
        formats=summary["formats"],
        languages=describe_languages(summary),
        beyond=count_beyond(summary),
        compared="; ".join(describe_compared(summary)),
        limits=LIMITS,
        comparisons=list_comparisons(summary),
        apart=count_apart(summary),
        version=name_code(),
    )


@cache
def _load_template() -> Template:
    environment = build_environment()
    environment.filters |= {
        "rate": format_rate,
        "p": format_p,
        "number": lambda value: "–" if value is None else f"{value:.2f}",
        "value": format_value,
        "coordinate": lambda value: f"{value:.1f}",
    }
    return environment.get_template("audit.html.j2")
