"""`congener export`: papers about a finished run, for people and for other tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines.papers.attestations import write_statement
from pipelines.papers.croissant import write_croissant
from pipelines.papers.data_card import write_card
from pipelines.papers.disclosures import write_summary
from pipelines.papers.facts import RunFacts, UserFacts, gather_facts
from pipelines.papers.lineage_events import write_events
from pipelines.papers.text_sizes import WORDS, TextUnit, measure_texts
from schemas.errors import CardError
from transforms.files import storage

PAPERS: dict[str, tuple[str, Callable[[str, RunFacts], bytes]]] = {
    "card": ("README.md", write_card),
    "croissant": ("croissant.json", write_croissant),
    "openlineage": ("openlineage.jsonl", write_events),
    "in-toto": ("provenance.intoto.json", lambda _, facts: write_statement(facts)),
    "eu-summary": ("eu-summary.md", lambda _, facts: write_summary(facts)),
}
"""The formats, with the usual name of each file and the function that writes it."""


COUNTING = ("card", "eu-summary")
"""The formats that say how much text there is."""


def export_papers(
    run: str,
    formats: Sequence[str] = tuple(PAPERS),
    user: UserFacts | None = None,
    unit: TextUnit = WORDS,
) -> dict[str, bytes]:
    """Return papers about a finished run by the usual names of their files.

    `unit` is what is counted in the published answers. The papers depend on nothing but the run and
    what the user gave, so the same run gives the same bytes.

    Raises: RunError: the run isn't finished, or is damaged. Raises: CardError: there is no such
    format.
    """
    if unknown := [name for name in formats if name not in PAPERS]:
        raise CardError(
            f"there is no format {unknown[0]!r}",
            where="--format",
            remedy=f"the formats are {', '.join(PAPERS)}",
        )
    facts = gather_facts(run, user)
    if set(formats) & set(COUNTING):
        facts = facts._replace(sizes=measure_texts(run, facts.manifest, unit))
    chosen = (PAPERS[name] for name in dict.fromkeys(formats))
    return {name: write(run, facts) for name, write in chosen}


def write_papers(papers: dict[str, bytes], output: str, as_file: bool) -> list[str]:
    """Write papers into a folder, or a single one to a file, and return their paths.

    Raises: StorageError: a file can't be written.
    """
    paths = []
    for name, data in papers.items():
        path = output if as_file else storage.join(output, name)
        storage.write_bytes(path, data)
        paths.append(path)
    return paths
