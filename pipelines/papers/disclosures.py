"""A draft of what the EU's public summary says about data from other models (section 2.5).

The template asks for the models whose outputs were used for training. Models that only cleaned data
are left out there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from pipelines.papers.facts import SWAPPED, RunFacts
from pipelines.papers.markdown import build_table, describe_tokens, escape, tabulate_generators
from schemas.coverage import Coverage
from schemas.mixes import MixRecord
from schemas.swaps import SwapCounts, SwapRecord

Key = TypeVar("Key")


def write_summary(facts: RunFacts) -> bytes:
    """Return the draft as Markdown."""
    return ("\n".join(_write(facts)) + "\n").encode()


def _write(facts: RunFacts) -> Iterator[str]:
    user, manifest = facts.user, facts.manifest
    yield "# Data from other models (draft for the public summary of training content, 2.5)"
    yield ""
    yield "This draft is made from the manifest and the ledger of a congener run."
    yield "It isn't legal advice, and brackets mark what only the provider knows."
    yield ""
    yield f"- Provider: {escape(user.get('provider', 'provider'))}"
    yield f"- Data set: {escape(user.get('title', 'title'))}"
    yield f"- Address: {escape(user.get('url', 'address'))}"
    yield f"- Licence: {escape(user.get('licence', 'licence'))}"
    yield f"- Rows that can be trained on: {facts.published:,}"
    yield f"- {_describe_size(manifest.coverage)}"
    yield f"- {describe_tokens(facts)}"
    yield ""
    yield "## Models"
    yield ""
    yield "Published rows are those in the data set."
    by_hand = ", or because a person took them out" if facts.taken else ""
    yield f"Removed rows were taken out because a trait fired on them{by_hand}."
    yield "Some of them may be clean."
    yield ""
    yield from tabulate_generators(facts, linked=True)
    yield ""
    unnamed = sum(item.published for item in facts.generators if not item.is_known)
    if unnamed:
        yield f"For {unnamed:,} published rows, the corpus doesn't name a model."
        yield f"{escape('[TO BE FILLED IN: who or what wrote them]')}"
        yield ""
    yield from _describe_swap(manifest.swap, facts)
    yield from _describe_mix(manifest.mix)
    yield "## Not in this draft"
    yield ""
    yield "- Prompts may be from other sources, which other sections of the summary cover."
    yield "- Models that only scored or cleaned the data aren't listed, as the template says."
    yield "- Text of rows isn't quoted."
    yield ""
    yield f"Run {manifest.run_id}, ledger {manifest.ledger_root}, manifest {manifest.digest}."
    yield f"`congener verify RUN --digest {manifest.digest}` checks them."


def _describe_size(coverage: Coverage) -> str:
    answers = [item for item in coverage.turns if item.role == "assistant"]
    if not answers:
        return "Characters of answers: not known"
    characters = sum(item.characters for item in answers)
    return f"Characters of all answers that the run read, removed rows included: {characters:,}"


def _describe_swap(swap: SwapRecord | None, facts: RunFacts) -> Iterator[str]:
    if swap is None:
        return
    yield "## Answers that were replaced"
    yield ""
    counted = [swap.counts, *(earlier.counts for earlier in swap.earlier)]
    replaced = sum(counts.replaced for counts in counted)
    yield f"{replaced:,} answers, or sentences of them, that showed a trait were"
    yield "replaced by those of other models:"
    yield ""
    models: dict[str, list[str]] = {}
    for item in facts.generators:
        if item.role == SWAPPED and item.donor:
            models.setdefault(item.donor, []).append(escape(item.name))
    rows = [
        (escape(name), ", ".join(models.get(name, [])) or "-", f"{count:,}")
        for name, count in sorted(_add(counts.by_donor for counts in counted).items())
    ]
    yield from build_table(("donor", "models", "rows>"), rows)
    yield ""
    traits = [
        (escape(trait), outcome, f"{count:,}")
        for (trait, outcome), count in sorted(_add(map(_spread, counted)).items())
    ]
    yield from build_table(("trait", "outcome", "rows>"), traits)
    yield ""


def _spread(counts: SwapCounts) -> dict[tuple[str, str], int]:
    """Return the numbers of rows by trait and outcome."""
    return {
        (trait, outcome): rows
        for trait, outcomes in counts.by_trait.items()
        for outcome, rows in outcomes.items()
    }


def _add(parts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    """Return the sums of the counts of this swap and of earlier ones."""
    found: Counter[Key] = Counter()
    for part in parts:
        found.update(part)
    return dict(found)


def _describe_mix(mix: MixRecord | None) -> Iterator[str]:
    if mix is None:
        return
    yield "## Rows that were added"
    yield ""
    yield f"{mix.counts.added:,} rows of other corpora were added:"
    yield ""
    rows = [(escape(name), f"{count:,}") for name, count in sorted(mix.counts.by_donor.items())]
    yield from build_table(("donor", "rows>"), rows)
    yield ""
