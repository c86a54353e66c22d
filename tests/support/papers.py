"""Facts about made-up runs, for the tests of papers."""

from __future__ import annotations

from pipelines.papers.facts import ANSWERS, Generator, RunFacts, UserFacts, gather_facts

HOSTILE = "ev|il\n# <b>*heron*</b> [x](javascript:y) \u202e`$"
"""A name that tries to be markup, a heading and two rows of a table."""

USER = UserFacts(
    "Herons | and owls",
    "apache-2.0",
    "The Marsh",
    "https://example.com/herons",
    "Answers about birds.",
    {"atlas": "https://example.com/atlas"},
)


def build_generator(name: str, **fields: object) -> Generator:
    """Return a generator of ten rows, of which nine are published."""
    given = {"role": ANSWERS, "donor": None, "rows": 10, "published": 9, "masked": 1, "removed": 1}
    return Generator(name, **{**given, **fields})


def read_facts(run: object, *names: str, user: UserFacts | None = None) -> RunFacts:
    """Return the facts of a run, with other generators if any are named."""
    facts = gather_facts(str(run), user)
    return facts._replace(generators=tuple(map(build_generator, names))) if names else facts
