"""Markdown in which names from a corpus can't form markup, and tables of generators."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pipelines.display.terminal import escape_controls
from pipelines.papers.facts import NOT_KNOWN, TO_FILL_IN, Generator, RunFacts

MARKUP = re.compile(r"([\\`*_{}\[\]()<>#!|~&$])")

LONGEST_NAME = 200
LONGEST_LINE = 1_000
MOST_GENERATORS = 200
"""How many generators a table lists."""

UNNAMED = "a model that the corpus doesn't name"


def escape(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text on one line, cut if it is long, in which no character is markup."""
    line = escape_controls(" ".join(text.split()))
    cut = line if len(line) <= longest else f"{line[:longest]}…"
    return MARKUP.sub(r"\\\1", cut)


def build_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table. Columns whose head ends in `>` are right-aligned."""
    yield f"| {' | '.join(name.removesuffix('>') for name in head)} |"
    yield f"|{'|'.join('---:' if name.endswith('>') else '---' for name in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def name_generator(item: Generator) -> str:
    """Return a generator's name, or a phrase for one that the corpus doesn't name."""
    return escape(item.name) if item.is_known else UNNAMED


def describe_role(item: Generator) -> str:
    """Return a generator's role, with the donor."""
    return f"{item.role} (donor {escape(item.donor)})" if item.donor else item.role


def link_generator(item: Generator, facts: RunFacts) -> str:
    """Return a generator's link, or a visible gap."""
    link = facts.user.links.get(item.name)
    return escape(link) if link else escape(TO_FILL_IN.format("link, or a description"))


def tabulate_generators(facts: RunFacts, linked: bool = False) -> Iterator[str]:
    """Yield a table of generators, with links if wanted, and how many it leaves out."""
    head = ["model", "role", "rows>", "published>", "with masks>", "removed>"]
    sizes = facts.sizes
    head.append(f"{sizes.unit} of answers>" if sizes else "tokens")
    shown = facts.generators[:MOST_GENERATORS]
    rows = []
    for item in shown:
        counts = (item.rows, item.published, item.masked, item.removed)
        row = [name_generator(item), describe_role(item), *(f"{count:,}" for count in counts)]
        size = None if sizes is None else sizes.get(item)
        row.append(NOT_KNOWN if size is None else f"{size:,}")
        rows.append([*row, *([link_generator(item, facts)] if linked else [])])
    yield from build_table([*head, *(["link"] if linked else [])], rows)
    if len(facts.generators) > len(shown):
        yield ""
        yield f"{len(facts.generators) - len(shown):,} more models are in the ledger."


def describe_tokens(facts: RunFacts) -> str:
    """Say how many tokens the published answers have, or how many words if no tokenizer is known.

    The number of tokens depends on the tokenizer of the model that is trained.
    """
    if facts.sizes is None:
        return "Tokens: not known; a run doesn't count the tokens of the trained model"
    return escape(facts.sizes.describe(), LONGEST_LINE)
