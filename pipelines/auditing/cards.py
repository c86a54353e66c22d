"""`congener traits from-audit`: a finding of an audit as a trait card."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import yaml
from pydantic import TypeAdapter, ValidationError

from classifiers.library import FEWEST_POSITIVES, GOOD_POSITIVES, HELD_OUT, LIBRARY, OPTIONAL
from classifiers.lots.expressions import build_expression
from classifiers.lots.plain_words import is_plain
from classifiers.lots.specimens import EDGE
from classifiers.signals.lexicons import Lexicon
from pipelines.traits import CARD_FILE, check_new_folder, write_folder
from schemas.audits import SUMMARY, TEXTS, TEXTS_FILE
from schemas.cards import TraitCard, TraitId
from schemas.errors import CardError, CongenerError, RunError
from schemas.notices import format_count
from transforms.files import storage

LONGEST_ID = 40

NOT_IN_IDS = re.compile(r"[^a-z0-9]+")

MOST_LISTED = 3
"""How many teachers `seen_in` names."""

REPEAT = "repeat the audit with this version of congener"


class AuditCard(NamedTuple):
    """A trait card that was written from a finding.

    `found` and `mistaken` are how many held-out texts with and without the finding the card's
    pattern finds, of `shown` and `others`.
    """

    folder: Path
    card: TraitCard
    positives: int
    negatives: int
    shown: int
    others: int
    found: int
    mistaken: int

    def to_json(self) -> dict[str, Any]:
        """Return the numbers and the pattern."""
        lexicon = self.card.signals.lexicon
        return {
            "id": self.card.id,
            "folder": str(self.folder),
            "pattern": lexicon.patterns[0].match if lexicon else None,
            "signals": list(self.card.signals.names),
            "positives": self.positives,
            "negatives": self.negatives,
            "heldout": {
                "shown": self.shown,
                "found": self.found,
                "others": self.others,
                "mistaken": self.mistaken,
            },
        }


class FindingTexts(NamedTuple):
    """A finding, and its texts by half and by whether they show it."""

    finding: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    def select(self, half: str, shows: bool) -> list[Mapping[str, Any]]:
        """Return the texts of a half that show the finding or don't."""
        return [row for row in self.rows if row["half"] == half and row["shows"] == shows]


def write_audit_card(audit: str, number: int, output: Path | None = None) -> AuditCard:
    """Write the finding with this number, from 1, to a new trait folder.

    Without an output, the folder is in the working directory and named after the finding.

    Raises: CardError: the finding doesn't exist, is of parts of speech, has too few texts, or the
    folder can't be new.
    Raises: RunError: the audit can't be read. Raises: StorageError: the folder can't be written.
    """
    read = read_finding(audit, number)
    refuse_grammar(read.finding, number)
    folder = output or Path(name_trait(read.finding["text"], number))
    name = check_new_folder(folder)
    fit = [_drop_repeats(read.select("fit", shows)) for shows in (True, False)]
    require_texts(read, fit[0], number)
    card = build_card(name, read.finding, len(fit[0]))
    known = {row["text"] for rows in fit for row in rows}
    heldout = [
        [row for row in _drop_repeats(read.select("heldout", shows)) if row["text"] not in known]
        for shows in (True, False)
    ]
    files = {
        CARD_FILE: _format_card(card, number, audit),
        "positives.jsonl": _format_texts(fit[0]),
        "negatives.jsonl": _format_texts(fit[1]),
        HELD_OUT: _format_labels(name, heldout),
    }
    write_folder(folder, files)
    found, mistaken = (_count_found(card, rows) for rows in heldout)
    positives, negatives = map(len, fit)
    shown, others = map(len, heldout)
    return AuditCard(folder, card, positives, negatives, shown, others, found, mistaken)


def read_finding(audit: str, number: int) -> FindingTexts:
    """Return a finding of an audit with its texts.

    Raises: RunError: the folder holds no audit, or one of an earlier version. Raises: CardError:
    the audit has no finding with this number.
    """
    found = read_findings(audit)
    if not 1 <= number <= len(found):
        listed = f"1 to {len(found)}" if found else "none"
        raise CardError(
            f"has no finding {number}",
            where=audit,
            remedy=f"findings are numbered as in its report and audit.json: {listed}",
        )
    return found[number - 1]


def read_findings(audit: str) -> list[FindingTexts]:
    """Return all findings of an audit with their texts.

    Raises: RunError: the folder holds no audit, or one of an earlier version.
    """
    if not storage.exists(summary := storage.join(audit, SUMMARY)):
        raise RunError(
            "holds no audit", where=audit, remedy="name the --output of a congener audit"
        )
    if not storage.exists(path := storage.join(audit, TEXTS_FILE)):
        raise RunError(f"has no {TEXTS_FILE}", where=audit, remedy=REPEAT)
    try:
        findings = json.loads(storage.read_bytes(summary))["findings"]
        table = pq.read_table(io.BytesIO(storage.read_bytes(path)))
        rows = table.select(TEXTS.names).cast(TEXTS).to_pylist()
    except CongenerError:
        raise
    except Exception as error:
        raise RunError(f"is damaged: {error}", where=audit, remedy=REPEAT) from error
    texts: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        texts.setdefault(row["finding"], []).append(row)
    return [FindingTexts(item, texts.get(place, [])) for place, item in enumerate(findings, 1)]


def choose_finding(audit: str) -> int | None:
    """Return the number of the first finding that is worth a card, or None if there is none.

    That is one which a signal can search for, which has enough texts, and which isn't plain
    (`is_plain`): a card for `the` can be written, but nobody wants it.

    Raises: RunError: the folder holds no audit, or one of an earlier version.
    """
    for number, read in enumerate(read_findings(audit), 1):
        kind, text = read.finding["kind"], read.finding["text"]
        if kind == "grammar" or is_plain(kind, text):
            continue
        if len(_drop_repeats(read.select("fit", shows=True))) >= FEWEST_POSITIVES:
            return number
    return None


def refuse_grammar(finding: Mapping[str, Any], number: int) -> None:
    """Refuse a finding that no signal of a card can search for.

    Raises: CardError: the finding is of parts of speech.
    """
    if finding["kind"] == "grammar":
        raise CardError(
            f"finding {number} ({finding['text']!r}) is a pattern of parts of speech, and the "
            "signals of a card read words",
            remedy="choose another finding, or write a card with congener traits new from its "
            f"texts in {TEXTS_FILE}",
        )


def require_texts(read: FindingTexts, positives: Sequence[object], number: int) -> None:
    """Refuse a finding with too few texts for a card.

    Raises: CardError: there are fewer than `FEWEST_POSITIVES`.
    """
    if len(positives) < FEWEST_POSITIVES:
        count = format_count(len(positives), "different text")
        raise CardError(
            f"finding {number} ({read.finding['text']!r}) is in {count} of the half that a card "
            f"may learn from, and a card needs {FEWEST_POSITIVES}",
            remedy="audit more rows, or write a card with congener traits new",
        )


def name_trait(text: str, number: int) -> str:
    """Return an id for a finding: its words, or its number where they can't be an id."""
    words = NOT_IN_IDS.sub("-", text.lower()).strip("-")
    name = words if len(words) <= LONGEST_ID else words[:LONGEST_ID].rpartition("-")[0]
    try:
        TypeAdapter(TraitId).validate_python(name)
    except ValidationError:
        return f"finding-{number}"
    taken = (LIBRARY / name).is_dir() or (OPTIONAL / name).is_dir()
    return f"finding-{number}" if taken else name


def build_card(name: str, finding: Mapping[str, Any], positives: int) -> TraitCard:
    """Return the card of a finding.

    Its lexicon finds the finding as the audit counted it, also quoted or denied. Wording, which
    finds other sentences like it, is added where there are enough positives to learn from.
    """
    kind, text = finding["kind"], finding["text"]
    signals: dict[str, Any] = {
        "lexicon": {
            "patterns": [build_expression(kind, text)],
            "quoted": "count",
            "denied": "count",
        }
    }
    if positives >= GOOD_POSITIVES and kind != "format":
        signals["wording"] = {}
    part = {kind: EDGE} if kind in ("opening", "closing") else {}
    return TraitCard.model_validate(
        {
            "id": name,
            "title": f"{kind.capitalize()}: {text}",
            "description": _describe(finding),
            "caution": _warn(finding),
            "seen_in": list(_list_places(finding)),
            "scope": {"channels": ["answer"], **part},
            "signals": signals,
        }
    )


def _describe(finding: Mapping[str, Any]) -> str:
    verbs = {"opening": "begin with", "closing": "end with", "format": "have"}
    verb = verbs.get(finding["kind"], "contain")
    return (
        f"Texts that {verb} {finding['text']!r}: {finding['rate_corpus']:.2%} of the corpus "
        f"and {finding['rate_reference']:.2%} of the reference (q = {finding['q_value']:.1g}). "
        "It is a difference that an audit found; whether it is a fault is for its reader to say."
    )


def _warn(finding: Mapping[str, Any]) -> str | None:
    if finding["beyond_format"]:
        return None
    return "the difference isn't shown among texts of like length, format and difficulty"


def _list_places(finding: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    """Yield the teachers that show the finding most, or the whole corpus."""
    lots = [lot for lot in finding["lots"] if lot["field"] == "teacher" and lot["documents"]]
    for lot in lots[:MOST_LISTED]:
        where = f"{lot['value']}: {lot['rate']:.2%} of {lot['texts']:,} texts"
        yield {"where": where, "source": "congener audit"}
    if not lots:
        rate = f"{finding['rate_corpus']:.2%} of the corpus's texts"
        yield {"where": rate, "source": "congener audit"}


def _drop_repeats(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows with different texts, the first of each."""
    return list({row["text"]: row for row in reversed(list(rows)) if row["text"].strip()}.values())[
        ::-1
    ]


def _format_card(card: TraitCard, number: int, audit: str) -> str:
    fields = card.model_dump(mode="json", exclude_defaults=True)
    lexicon = fields["signals"]["lexicon"]
    lexicon["patterns"] = [pattern["match"] for pattern in lexicon["patterns"]]
    name = json.dumps(audit.rstrip("/").rpartition("/")[2])
    lines = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100)
    return f"# From finding {number} of the audit {name}.\n{lines}"


def _format_texts(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return exemplars as JSON Lines, each with where it is from."""
    names = ("text", "origin", "side", "teacher", "prompt_source", "record")
    return _format_lines({name: row[name] for name in names} for row in rows)


def _format_labels(name: str, heldout: Sequence[Iterable[Mapping[str, Any]]]) -> str:
    """Return held-out texts as labels, which `fit --labels` reads too."""
    return _format_lines(
        {"trait": name, "label": row["shows"], "text": row["text"], "origin": row["origin"]}
        for rows in heldout
        for row in rows
    )


def _format_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _count_found(card: TraitCard, rows: Sequence[Mapping[str, Any]]) -> int:
    """Count the texts in which the card's lexicon has a hit."""
    assert card.signals.lexicon is not None  # every card from an audit has one
    lexicon = Lexicon(card.signals.lexicon)
    return sum(bool(lexicon.find_hits(card.scope.cut(row["text"]))) for row in rows)
