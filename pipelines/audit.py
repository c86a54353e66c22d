"""`congener audit`: what sets a corpus apart from a reference.

Two passes read both corpora: one gathers a sample of the same prompts, the other counts candidates
in all texts. Between them, a classifier is tested on the sample, and candidates are looked for in
half of it; the other half of the texts confirms them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.lots.comparison import VIEWS, LotComparison, LotTest, Viewed, compare
from classifiers.lots.confirmation import Confirmed, confirm, expect_rates
from classifiers.lots.counts import Counts
from classifiers.lots.discovery import (
    ALWAYS_KEPT,
    GRAMMAR_KEPT,
    KINDS,
    LotCandidates,
    join_candidates,
    propose,
)
from classifiers.lots.formats import HABITS
from classifiers.lots.matches import add_formats
from classifiers.lots.meanings import (
    LONGEST_ENCODED,
    MeaningComparison,
    compare_meanings,
    limit_texts,
)
from classifiers.lots.permutations import combine_p_values
from classifiers.lots.power import find_detectable_rate
from classifiers.lots.samples import (
    LanguageDivision,
    LotSample,
    choose_strata,
    find_common,
    is_matched,
    limit_characters,
)
from classifiers.lots.specimens import Groups, collect_specimens
from classifiers.lots.tokens import find_tokens
from pipelines.auditing.corpora import AuditConfig, settle_corpus
from pipelines.auditing.files import encode_findings, encode_texts, require_free
from pipelines.auditing.findings import AuditFinding, Found, list_findings
from pipelines.auditing.pages import render_page
from pipelines.auditing.passes import AuditSides, count, gather
from pipelines.engines.launch import build_engine_options
from pipelines.runs.lock import lock_run
from pipelines.teaching.files import write_json
from pipelines.version import VERSION
from schemas.audits import FINDINGS_FILE, PAGE, SUMMARY, TEXTS_FILE
from schemas.errors import InputError
from schemas.events import Listener, Noticed, ignore
from schemas.notices import Notice, format_count, list_names, warn
from schemas.runs import WORK
from transforms.files import object_stores, storage
from transforms.lot_counts import CountSettings
from transforms.lot_records import LOT_NAMES
from transforms.lot_samples import Gathered, LotKey, build_sample, choose_lots, pair_lots

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder

TESTS = 2
"""The classifier's test and the findings' tests share the level, half each."""

MOST_COMPARED = 8_000_000
"""How many characters of each corpus the classifier reads: about 7,000 answers of a chat."""

MOST_TESTED = 16
"""How many lots are tested one by one: the largest ones. All are counted for each finding."""

FEWEST_TEXTS = 16
"""The fewest texts of each corpus that an audit needs."""


SIDES = (("corpus", True), ("reference", False))


class Audit(NamedTuple):
    """A finished audit."""

    config: AuditConfig
    gathered: Gathered
    matched: bool
    strata: int
    compared: tuple[int, int]
    """How many texts of the corpus and of the reference the classifier read."""
    in_both: int
    """How many of these are the same rows in both."""
    comparison: LotComparison
    lots: tuple[LotKey, ...]
    candidates: int
    found: Found
    rarer: Found
    """What the corpus has less often; it doesn't count for the verdict."""
    strays: tuple[float, float]
    """The shares of answers in another language than their prompt."""
    p_phrases: float
    detectable_rate: float | None
    texts: bytes
    """Texts for trait cards, as Parquet."""
    meanings: MeaningComparison | None = None

    @property
    def level(self) -> float:
        """Return the level of each of the two tests."""
        return self.config.level / TESTS

    @property
    def p_value(self) -> float:
        """Return the p-value of the classifier's test and the findings together."""
        return combine_p_values([self.comparison.views["raw"].separation.p, self.p_phrases])

    @property
    def differs(self) -> bool:
        """Return whether the corpus differs from the reference at the level."""
        return self.p_value <= self.config.level

    @property
    def findings(self) -> list[AuditFinding]:
        """Return the findings, the most telling first."""
        return self.found.findings

    @property
    def detectable_auroc(self) -> float:
        """Return the AUROC of single texts that the classifier's test would have found."""
        return self.comparison.views["raw"].separation.find_detectable(self.level)

    def to_json(self) -> dict[str, Any]:
        """Return everything for machines."""
        return {
            "differs": self.differs,
            "p_value": self.p_value,
            "level": self.config.level,
            "matched": self.matched,
            "strata": self.strata,
            "texts": self._describe_texts(),
            "in_both": self.in_both,
            "teachers": {name: self._count_teachers(own) for name, own in SIDES},
            "views": {name: _describe_view(self.comparison.views[name]) for name in VIEWS},
            "p_findings": self.p_phrases,
            "candidates": self.candidates,
            "detectable": {"auroc": self.detectable_auroc, "rate": self.detectable_rate},
            **(_describe_meanings(self.meanings) if self.meanings else {}),
            "findings": [item.to_json() for item in self.findings],
            "findings_found": self.found.total,
            "rarer": [item.to_json() for item in self.rarer.findings],
            "rarer_found": self.rarer.total,
            "formats": [item.to_json() for item in self.comparison.differences],
            "other_language": dict(zip(("corpus", "reference"), self.strays, strict=True)),
            "lots": [self._describe_lot(item) for item in self.comparison.lots],
            "version": VERSION,
        }

    def _describe_texts(self) -> dict[str, dict[str, int]]:
        return {
            name: {
                "texts": self.gathered.count_texts(own),
                "compared": self.compared[not own],
                "without_answer": self.gathered.silent[own],
                "unreadable": self.gathered.rejects[own],
            }
            for name, own in SIDES
        }

    def _count_teachers(self, own: bool) -> dict[str, int]:
        """Return the number of texts of each teacher of a corpus."""
        counts: Counter[str] = Counter()
        for lot, texts in sorted(self.gathered.lots.items()):
            counts[lot.fields[LOT_NAMES.index("teacher")]] += texts * (lot.own == own)
        return {name: texts for name, texts in counts.items() if texts}

    def _describe_lot(self, item: LotTest) -> dict[str, Any]:
        fields = dict(zip(LOT_NAMES, self.lots[item.lot].fields, strict=True))
        return {
            **fields,
            "texts": item.texts,
            "auroc": item.separation.auroc,
            "p_value": item.separation.p,
            "q_value": item.q,
            "compared_with": "alike" if item.is_alike else "all",
        }


def _describe_meanings(found: MeaningComparison) -> dict[str, Any]:
    vectors = {
        **_describe_view(found.viewed),
        "clusters_tested": found.tested,
        "clusters": [item.to_json() for item in found.clusters],
    }
    return {"vectors": vectors}


def _describe_view(viewed: Viewed) -> dict[str, Any]:
    return {
        "auroc": viewed.separation.auroc,
        "p_value": viewed.separation.p,
        "bags": {str(size): value for size, value in viewed.bags.items()},
        "texts": [viewed.separation.first, viewed.separation.second],
    }


def run_audit(
    config: AuditConfig,
    listener: Listener = ignore,
    beam_options: Sequence[str] = (),
    encoder: Encoder | None = None,
) -> Audit:
    """Audit a corpus against a reference, and write the result to the output.

    With an encoder, texts are also compared by their vectors, which doesn't count for the verdict.

    Raises: CongenerError: a corpus can't be read, has too few texts, or the output can't be used.
    """
    object_stores.use_options(build_engine_options(config.engine, beam_options))
    require_free(config.output)
    sides = AuditSides(
        settle_corpus(config.corpus, config.layout, config.shards),
        settle_corpus(config.reference, config.reference_layout or config.layout, config.shards),
    )
    with lock_run(config.output):
        try:
            audit = _audit(config, sides, listener, beam_options, encoder)
            write_audit(audit)
        finally:
            _remove_work(config.output)
    return audit


def _remove_work(output: str) -> None:
    for name in ("sample.arrow", "counts.npz"):
        if storage.exists(path := storage.join(output, WORK, name)):
            storage.remove_tree(path)


def _audit(
    config: AuditConfig,
    sides: AuditSides,
    listener: Listener,
    beam_options: Sequence[str],
    encoder: Encoder | None,
) -> Audit:
    _say(listener, f"reading {sides.corpus.rows:,} rows, and {sides.reference.rows:,} to compare")
    gathered = gather(config, sides, beam_options)
    lots = choose_lots(gathered)
    sample = build_sample(gathered, lots)
    _require_texts(config, gathered)
    _send(listener, gathered)
    matched, strata = is_matched(sample), choose_strata(sample)
    _say(listener, _describe_match(sample, matched, strata))
    tested = min(MOST_TESTED, sum(lot.own for lot in lots))
    part, blocks = _choose_part(sample, matched, strata)
    comparison = compare(part, blocks, matched, tested, pair_lots(lots))
    meanings = None
    if encoder is not None:
        few = limit_texts(part)
        _say(listener, f"encoding {format_count(int(few.sum()), 'text')}")
        meanings = encode_and_compare(encoder, part.take(few), blocks[few], matched, config.level)
    learns = ~sample.confirms
    texts = sample.texts.filter(pa.array(learns))
    tokens, own = find_tokens(texts), sample.own[learns]
    candidates = add_formats(propose(tokens, own))
    rarer = propose(tokens, ~own)
    del tokens
    both = join_candidates([candidates, rarer])
    _say(listener, _describe_candidates(len(both)))
    settings = CountSettings(both, strata, comparison.formats, lots, len(candidates))
    whole = count(config, sides, settings, beam_options)
    counts = whole.take(np.arange(len(candidates)))
    confirmed = confirm(counts, strata.size)
    level = config.level / TESTS
    found = list_findings(candidates, counts, confirmed, lots, level)
    specimens = collect_specimens(sample, Groups(candidates, found.members))
    return Audit(
        config=config,
        gathered=gathered,
        matched=matched,
        strata=strata.size,
        compared=(int(part.own.sum()), int((~part.own).sum())),
        in_both=len(np.intersect1d(part.digests[part.own], part.digests[~part.own])),
        comparison=comparison,
        lots=lots,
        candidates=len(candidates),
        found=found,
        rarer=find_rarer(both, whole, strata.size, len(candidates), level),
        strays=_count_strays(whole),
        p_phrases=float(confirmed.q.min(initial=1.0)),
        detectable_rate=_find_rate(candidates, confirmed, level),
        texts=encode_texts(specimens, sample, lots),
        meanings=meanings,
    )


def find_rarer(
    candidates: LotCandidates, counts: Counts, strata: int, first_rare: int, level: float
) -> Found:
    """Return what the corpus has less often: the findings of the reference against it.

    The candidates are those from `first_rare` on, and all formats.
    """
    chosen = np.arange(len(candidates)) >= first_rare
    places = np.flatnonzero(chosen | (candidates.kinds == KINDS.index("format")))
    own = counts.take(places)
    turned = own.exchange()
    found = list_findings(candidates.take(places), turned, confirm(turned, strata), (), level)
    expected = expect_rates(own.by_cell[:, 0], *own.texts_by_cell[::-1])
    heads = [group[0] for group in found.members]
    pairs = zip(found.findings, expected[heads].tolist(), strict=True)
    return found._replace(findings=[item.exchange(rate) for item, rate in pairs])


def _count_strays(counts: Counts) -> tuple[float, float]:
    """Return the shares of both corpora's answers in another language than their prompt."""
    texts = counts.texts_by_half[1]
    other, own = (counts.strays / np.maximum(texts, 1)).tolist()
    return own, other


def _find_rate(candidates: LotCandidates, confirmed: Confirmed, level: float) -> float | None:
    return find_detectable_rate(confirmed.owns, confirmed.others, len(candidates), level)


def _choose_part(
    sample: LotSample, matched: bool, strata: LanguageDivision
) -> tuple[LotSample, np.ndarray]:
    """Return the part of the sample that the classifier's tests use, and each text's block."""
    chosen = limit_characters(sample, MOST_COMPARED)
    part = sample.take(chosen & find_common(sample) if matched else chosen)
    if matched:
        _, blocks = np.unique(part.keys, return_inverse=True)
        return part, blocks
    return part, strata.assign(part.prompts)


def encode_and_compare(
    encoder: Encoder, part: LotSample, blocks: np.ndarray, matched: bool, level: float
) -> MeaningComparison:
    """Compare the beginnings of texts by an encoder's vectors."""
    begins = pc.utf8_slice_codeunits(part.texts, 0, LONGEST_ENCODED).to_pylist()
    vectors = encoder.encode(encoder.take_whole(begins))
    return compare_meanings(part, vectors, blocks, matched, level)


def _require_texts(config: AuditConfig, gathered: Gathered) -> None:
    """Refuse corpora that are too small.

    Raises: InputError: a corpus has fewer than `FEWEST_TEXTS` texts.
    """
    for own, patterns in ((True, config.corpus), (False, config.reference)):
        if (texts := gathered.count_texts(own)) < FEWEST_TEXTS:
            raise InputError(
                f"has {format_count(texts, 'row')} with an answer, and an audit needs "
                f"{FEWEST_TEXTS}",
                where=list_names(patterns),
                remedy="give a larger corpus; half of it is used to look for differences, and "
                "half to confirm them",
            )


def _describe_match(sample: LotSample, matched: bool, strata: LanguageDivision) -> str:
    if matched:
        prompts = len(np.unique(sample.keys[find_common(sample)]))
        return f"both answer the same prompts: {prompts:,} in the sample, compared one by one"
    if strata.size == 1:
        return "the texts have no prompts in common, and are compared as a whole"
    return (
        f"too few prompts are the same, so texts are compared within {strata.size} strata of the "
        "prompts' length and topic"
    )


def _describe_candidates(count: int) -> str:
    """Say how many candidates are tested, and why often the same number."""
    return (
        f"testing {format_count(count, 'candidate')} on the other half: {len(HABITS)} formats, and "
        f"of each corpus the best {ALWAYS_KEPT} phrases and {GRAMMAR_KEPT} of grammar, or all that "
        "stand out if these are more"
    )


def write_audit(audit: Audit) -> None:
    """Write an audit's files, and the summary last."""
    output = audit.config.output
    storage.write_bytes(storage.join(output, FINDINGS_FILE), encode_findings(audit.findings))
    storage.write_bytes(storage.join(output, TEXTS_FILE), audit.texts)
    summary, config = audit.to_json(), audit.config
    page = render_page(summary, {"corpus": config.corpus, "reference": config.reference})
    storage.write_bytes(storage.join(output, PAGE), page.encode())
    write_json(output, SUMMARY, summary)


def _send(listener: Listener, gathered: Gathered) -> None:
    """Say which rows couldn't be used."""
    for name, own in SIDES:
        if rejects := gathered.rejects[own]:
            listener(Noticed(warn(f"{format_count(rejects, 'row')} of the {name} can't be read")))
        if silent := gathered.silent[own]:
            text = f"{format_count(silent, 'row')} of the {name} without an answer are left out"
            listener(Noticed(Notice(text)))


def _say(listener: Listener, text: str) -> None:
    listener(Noticed(Notice(text, is_recorded=False)))
