"""The page of `congener lineage`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Template

from pipelines.ancestry.drawings import LEFT, RIGHT, draw_tree
from pipelines.ancestry.findings import LIMITS, NO_HABITS, describe_verdict, list_sentences
from pipelines.display.excerpts import escape_name
from pipelines.display.page_templates import build_environment
from pipelines.version import name_code

if TYPE_CHECKING:
    from pipelines.lineage import Family

SHOWN_CANDIDATES = 30
"""How many candidates of each model are in the page's table."""


def render_page(family: Family) -> str:
    """Return the page: verdicts, candidates, habits, the tree, and what it doesn't show."""
    return _load_template().render(
        lineages=family.lineages,
        sentences=list(list_sentences(family)),
        tree=draw_tree(family.names, family.tree, len(family.lineages)),
        left=LEFT,
        right=RIGHT,
        shown=SHOWN_CANDIDATES,
        limits=LIMITS,
        no_habits=NO_HABITS,
        version=name_code(),
    )


def format_share(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f} %"


def format_p(p_value: float) -> str:
    """Return a p-value with three decimals, or its bound."""
    return f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001"


@cache
def _load_template() -> Template:
    environment = build_environment()
    environment.filters |= {
        "share": format_share,
        "p": format_p,
        "escape_name": escape_name,
        "verdict": describe_verdict,
        "coordinate": lambda value: f"{value:.1f}",
    }
    return environment.get_template("lineage.html.j2")
