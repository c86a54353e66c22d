"""The findings of an audit: what is over-represented in the corpus, with rates and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from classifiers.lots.confirmation import Confirmed, bound_rate
from classifiers.lots.counts import Counts, LotExample
from classifiers.lots.discovery import KINDS, Kind, LotCandidates
from classifiers.lots.merging import merge
from classifiers.lots.naming import choose_name, name_candidate, quote_candidate
from classifiers.lots.plain_words import is_plain
from transforms.lot_records import LOT_NAMES
from transforms.lot_samples import LotKey

MOST_FINDINGS = 500
"""How many findings are reported, after merging. The number of all is stated."""

VARIANTS = 12

MOSTLY = 0.9
"""The share of a finding's texts from which on it is one teacher's."""

EXPLAINED_TIER = 2
"""The first tier of findings that format may explain (see `find_tier`)."""


class FindingRate(NamedTuple):
    """How often a finding is in a lot, by teacher or by source of prompts."""

    field: str
    value: str
    documents: int
    texts: int

    @property
    def rate(self) -> float:
        """Return the share of the lot's texts."""
        return self.documents / self.texts if self.texts else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the rate."""
        return {**self._asdict(), "rate": self.rate}


class AuditFinding(NamedTuple):
    """Something over-represented in the corpus; see `schemas.audits` for its fields."""

    kind: Kind
    text: str
    documents: tuple[int, int]
    """In how many texts of the corpus and of the reference it is."""
    rates: tuple[float, float]
    """The rates in the confirming half."""
    intervals: tuple[tuple[float, float], tuple[float, float]]
    rate_expected: float
    p_value: float
    q_value: float
    adjusted_q_value: float
    beyond_format: bool
    log_odds: float
    log_odds_low: float
    variants: tuple[str, ...]
    examples: tuple[LotExample, ...]
    reference_examples: tuple[LotExample, ...]
    lots: tuple[FindingRate, ...]

    def exchange(self, expected: float) -> AuditFinding:
        """Return a finding of the reference as one of the corpus, which has it less often.

        `expected` is the rate that the corpus's formats would give.
        """
        return self._replace(
            documents=self.documents[::-1],
            rates=self.rates[::-1],
            intervals=self.intervals[::-1],
            rate_expected=expected,
            log_odds=-self.log_odds,
            log_odds_low=-self.log_odds_low,
            examples=self.reference_examples,
            reference_examples=self.examples,
        )

    @property
    def teacher(self) -> str | None:
        """Return the teacher of nearly all texts with the finding, or None if there is none.

        A teacher of nearly all texts of the corpus isn't one.
        """
        own = [lot for lot in self.lots if lot.field == "teacher"]
        with_it, every = sum(lot.documents for lot in own), sum(lot.texts for lot in own)
        for lot in own:
            if lot.documents >= MOSTLY * with_it > 0 and lot.texts < MOSTLY * every:
                return lot.value
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the finding with one field for each number."""
        (low, high), (reference_low, reference_high) = self.intervals
        return {
            "kind": self.kind,
            "text": self.text,
            "rate_corpus": self.rates[0],
            "rate_reference": self.rates[1],
            "corpus_low": low,
            "corpus_high": high,
            "reference_low": reference_low,
            "reference_high": reference_high,
            "rate_expected": self.rate_expected,
            "gain": self.rates[0] - self.rate_expected,
            "beyond_format": self.beyond_format,
            "p_value": self.p_value,
            "q_value": self.q_value,
            "adjusted_q_value": self.adjusted_q_value,
            "log_odds": self.log_odds,
            "log_odds_low": self.log_odds_low,
            "documents_corpus": self.documents[0],
            "documents_reference": self.documents[1],
            "variants": list(self.variants),
            "examples": [_to_json(item) for item in self.examples],
            "reference_examples": [_to_json(item) for item in self.reference_examples],
            "lots": [item.to_json() for item in self.lots],
        }


def _to_json(example: LotExample) -> dict[str, str]:
    names = ("before", "text", "after", "prompt")
    return {name: getattr(example, name) for name in names}


class Found(NamedTuple):
    """The findings that are reported, and how many there are with those left out."""

    findings: list[AuditFinding]
    total: int
    members: list[tuple[int, ...]]
    """Each finding's candidates, with the one that gives it its name first."""


def list_findings(
    candidates: LotCandidates,
    counts: Counts,
    confirmed: Confirmed,
    lots: Sequence[LotKey],
    level: float,
) -> Found:
    """Return the confirmed findings, the most telling first, with the like ones merged.

    Findings beyond format come first, then those that a reader can look for (see `find_tier`), and
    among these the ones with the highest lower end of the log-odds ratio (`Confirmed.rank`).
    Longer texts have more of all grammar. It is reported only where the difference remains among
    texts of like length, format and difficulty.
    """
    wanted = confirmed.q <= level
    wanted &= (candidates.kinds != KINDS.index("grammar")) | (confirmed.adjusted_q <= level)
    chosen = np.flatnonzero(wanted)
    named = [name_candidate(candidates, counts, int(index)) for index in chosen]
    kinds = [KINDS[kind] for kind in candidates.kinds[chosen].tolist()]
    explained = (confirmed.adjusted_q[chosen] > level).tolist()
    tiers = np.array([*map(find_tier, kinds, named, explained)], np.int64)
    places = np.lexsort([chosen, -confirmed.rank[chosen], tiers])
    order, texts = chosen[places], [named[place] for place in places.tolist()]
    groups = _group(order, texts, tiers[places], (candidates, counts, confirmed))
    findings = [
        build_finding(
            int(order[group[0]]),
            texts[group[0]],
            _list_variants([texts[place] for place in group]),
            (candidates, counts, confirmed),
            lots,
            level,
        )
        for group in groups[:MOST_FINDINGS]
    ]
    members = [tuple(int(order[place]) for place in group) for group in groups[:MOST_FINDINGS]]
    return Found(findings, len(groups), members)


def find_tier(kind: Kind, text: str, is_explained: bool) -> int:
    """Return how early a finding is listed, from 0: the tiers come one after the other.

    First what format doesn't explain, and in both halves first what a reader can look for: all but
    grammar and what `is_plain` names.
    """
    return EXPLAINED_TIER * is_explained + (kind == "grammar" or is_plain(kind, text))


def _group(
    order: np.ndarray,
    texts: Sequence[str],
    tiers: np.ndarray,
    tested: tuple[LotCandidates, Counts, Confirmed],
) -> list[list[int]]:
    """Return places in the order of candidates, those of one finding together.

    A finding is named by a member of its best tier, and ranked as that member is.
    """
    candidates, counts, confirmed = tested
    written = [quote_candidate(candidates, counts, int(index)) for index in order]
    sizes = counts.by_half[order][:, :, 1].sum(1)
    groups = []
    for group in merge(written, candidates.kinds[order], sizes, counts.sketches[order]):
        best = [place for place in group if tiers[place] == tiers[group[0]]]
        rest = [place for place in group if tiers[place] != tiers[group[0]]]
        groups.append([*choose_name(best, texts, sizes), *rest])
    return sorted(groups, key=lambda group: (tiers[group[0]], -confirmed.rank[order[group[0]]]))


def _list_variants(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the other forms of a finding, named by its first text, without repeats."""
    others = {text.casefold(): text for text in reversed(texts)}
    others.pop(texts[0].casefold())
    return tuple(reversed(others.values()))[:VARIANTS]


def build_finding(
    index: int,
    text: str,
    variants: tuple[str, ...],
    tested: tuple[LotCandidates, Counts, Confirmed],
    lots: Sequence[LotKey],
    level: float,
) -> AuditFinding:
    """Describe one finding."""
    candidates, counts, confirmed = tested
    own, other = int(confirmed.own[index]), int(confirmed.other[index])
    return AuditFinding(
        kind=KINDS[int(candidates.kinds[index])],
        text=text,
        documents=(int(counts.by_half[index, :, 1].sum()), int(counts.by_half[index, :, 0].sum())),
        rates=(own / max(confirmed.owns, 1), other / max(confirmed.others, 1)),
        intervals=(bound_rate(own, confirmed.owns), bound_rate(other, confirmed.others)),
        rate_expected=float(confirmed.expected[index]),
        p_value=float(confirmed.p[index]),
        q_value=float(confirmed.q[index]),
        adjusted_q_value=float(confirmed.adjusted_q[index]),
        beyond_format=bool(confirmed.adjusted_q[index] <= level),
        log_odds=float(confirmed.log_odds[index]),
        log_odds_low=float(confirmed.rank[index]),
        variants=variants,
        examples=tuple(counts.examples[1].get(index, ())),
        reference_examples=tuple(counts.examples[0].get(index, ())),
        lots=sum_lots(counts.by_lot[index], counts.texts_by_lot, lots),
    )


def sum_lots(
    documents: np.ndarray, texts: np.ndarray, lots: Sequence[LotKey]
) -> tuple[FindingRate, ...]:
    """Return the rates in the corpus's lots by each field that has several values.

    Values are ordered by rate. Lots that weren't counted one by one are left out.
    """
    found: list[FindingRate] = []
    for place, name in enumerate(LOT_NAMES):
        sums: dict[str, tuple[int, int]] = {}
        for key, own, total in zip(lots, documents.tolist(), texts.tolist(), strict=False):
            if key.own:
                before = sums.get(key.fields[place], (0, 0))
                sums[key.fields[place]] = (before[0] + own, before[1] + total)
        if len(sums) > 1:
            rates = [FindingRate(name, value, *pair) for value, pair in sums.items()]
            found += sorted(rates, key=lambda item: (-item.rate, item.value))
    return tuple(found)
