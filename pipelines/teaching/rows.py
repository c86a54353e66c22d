"""The rows of a trial: a run's prompts and answers, donors' answers, and prompts kept for later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl

from classifiers.heredity.arms import Candidate, Example, Spans, name_prompt
from pipelines.runs.finished import MISFITS, read_rows, report_damage, scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.shown_rows import build_layout
from schemas.digests import digest_bytes
from schemas.errors import CardError, RunError
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest
from schemas.policies import PUBLISHED
from schemas.scores import score_column, split_side
from transforms.records.answered_prompts import read_answered_prompt
from transforms.records.formats import Layout

NO_TEXT = {
    "drop": "dropped rows, whose text the run doesn't hold",
    "duplicate": "copies of other rows",
    "reject": "rejects",
}
"""What the rows with these decisions are called. A trial leaves them out."""

OTHER_FORM = "rows without a prompt and an answer after it"


class CorpusRow(NamedTuple):
    """A row of a run as a student reads it.

    `spans` of the answer carry the trait, if the run stored them. `is_clean` says whether the run
    published the row and the trait didn't fire on it. `score` is the trait's, `turns` counts the
    user's messages, and `labels` are values of other columns.
    """

    prompt: str
    answer: str
    traited: bool
    spans: Spans
    source: str
    is_clean: bool
    score: float = 0.0
    turns: int = 1
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """Return what joins the row with other rows of the same prompt."""
        return name_prompt(self.prompt)


class CorpusRows(NamedTuple):
    """The rows of a run, and how many were left out, by reason."""

    rows: list[CorpusRow]
    left_out: Counter[str]


class Question(NamedTuple):
    """What students are asked.

    `reference` is an answer that a capable student finds likely, or None for a question about the
    trait. `about` names the neighbour of the trait that a question is about instead.
    """

    scenario: str
    prompt: str
    reference: str | None = None
    about: str = ""


class Division(NamedTuple):
    """The rows to train on, and the questions. No prompt is in both."""

    rows: list[CorpusRow]
    questions: list[Question]


def draw_key(text: str, seed: int) -> str:
    """Return a digest that puts texts in an order that the seed makes random."""
    return digest_bytes(f"{seed}\x1f{text}".encode("utf-8", "surrogatepass"))


def read_corpus(
    run: str, trait: str, most: int | None = None, columns: Sequence[str] = ()
) -> CorpusRows:
    """Read a finished run's rows, at most `most` of them, drawn by their record ids.

    Values of other `columns` become labels of the rows.

    Raises: RunError: the run isn't finished, is damaged, or has no usable row. Raises: CardError:
    the run didn't look for the trait.
    """
    manifest = load_manifest(run)
    require_trait(run, manifest, trait)
    if manifest.identity.format == "preference":
        raise RunError(
            "holds preference pairs, and a trial trains on single answers",
            where=run,
            remedy="filter the chosen answers as a corpus of their own",
        )
    left_out: Counter[str] = Counter()
    with report_damage(run, *MISFITS):
        places = _choose_rows(run, manifest, trait, most, left_out)
        reading = _RowReading(run, build_layout(manifest), trait, tuple(columns))
        found = list(_read_texts(reading, places, left_out))
    if not found:
        raise RunError(
            "has no row with a prompt and an answer",
            where=run,
            remedy=f"congener inspect {run} shows its rows",
        )
    return CorpusRows(found, left_out)


def require_trait(run: str, manifest: Manifest, trait: str) -> None:
    """Check that a run looked for a trait.

    Raises: CardError: it didn't.
    """
    names = [item.trait for item in manifest.thresholds]
    if trait not in names:
        raise CardError(
            f"the run {run} didn't look for {trait!r}",
            where="trait",
            remedy=f"its traits are {', '.join(names)}",
        )


class _RowReading(NamedTuple):
    """How the rows of a run are read."""

    run: str
    layout: Layout
    trait: str
    columns: tuple[str, ...]


def _choose_rows(
    run: str, manifest: Manifest, trait: str, most: int | None, left_out: Counter[str]
) -> list[dict[str, Any]]:
    """Return the ledger's line of each chosen row, with spans and score, in the ledger's order."""
    ledger = scan_folder(run, manifest, "ledger", "index").collect()
    spans = scan_folder(run, manifest, "spans", "index").select("index", "spans").collect()
    score = pl.col(score_column(trait)).alias("score")
    scores = scan_folder(run, manifest, "scores", "index").select("index", score).collect()
    stored = pl.col("output").is_not_null() & ~pl.col("decision").is_in(list(NO_TEXT))
    for decision, count in ledger.filter(~stored)["decision"].value_counts().iter_rows():
        left_out[NO_TEXT.get(decision, decision)] += count
    kept = ledger.filter(stored)
    if most is not None and kept.height > most:
        order = [draw_key(name, 0) for name in kept["record_id"]]
        kept = kept.with_columns(pl.Series("order", order)).sort("order", "index").head(most)
    joined = kept.sort("index").join(spans, "index", maintain_order="left")
    return joined.join(scores, "index", maintain_order="left").to_dicts()


def _read_texts(
    reading: _RowReading, places: Sequence[Mapping[str, Any]], left_out: Counter[str]
) -> Iterator[CorpusRow]:
    """Yield the rows, file by file, and count those of another form."""
    for path in sorted({place["output"] for place in places}):
        own = [place for place in places if place["output"] == path]
        records = read_rows(reading.run, path, [place["output_row"] for place in own])
        for place in own:
            row = _build_row(records[place["output_row"]], reading, place)
            if row is None:
                left_out[OTHER_FORM] += 1
            else:
                yield row


def _build_row(
    record: Mapping[str, Any], reading: _RowReading, place: Mapping[str, Any]
) -> CorpusRow | None:
    """Return a row, or None without a prompt and an answer after it."""
    trait = reading.trait
    reasons = [
        item
        for item in place["reasons"]
        if item["trait"] == trait and split_side(item["signal"])[1] == "trained"
    ]
    evidence = {_name_span(item) for item in reasons}
    spans = [
        part
        for item in place["spans"] or ()
        if item["trait"] == trait and _name_span(item) in evidence
        for part in item["masks"] or [item]
    ]
    found = read_answered_prompt(record, reading.layout, spans)
    if found is None:
        return None
    is_clean = not reasons and place["decision"] in PUBLISHED
    named = place["prompt_source"]
    source = named if named not in (None, UNKNOWN) else place["source"]
    return CorpusRow(
        found.prompt,
        found.answer,
        bool(reasons),
        found.spans,
        source,
        is_clean,
        place["score"] or 0.0,
        found.turns,
        tuple((name, str(record.get(name))) for name in reading.columns),
    )


def _name_span(item: Mapping[str, Any]) -> tuple[str, int, int]:
    return item["field_path"], item["start"], item["end"]


def collect_donors(runs: Sequence[str], trait: str) -> dict[str, CorpusRow]:
    """Return the clean rows of donors' runs, by prompt. The first run that has a prompt wins.

    A row on which the trait fired is never a donor's.

    Raises: RunError, CardError: a run can't be used (see `read_corpus`).
    """
    donors: dict[str, CorpusRow] = {}
    for run in runs:
        for row in read_corpus(run, trait).rows:
            if row.is_clean:
                donors.setdefault(row.key, row)
    return donors


def divide_rows(
    rows: Sequence[CorpusRow],
    donors: Mapping[str, CorpusRow],
    held_out: int,
    asked: Sequence[str] | None,
    beside: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Division:
    """Keep prompts out of training, to ask students about them.

    `asked` are questions about the trait. Without them, up to `held_out` prompts of flagged rows
    are asked, but no more than half of them. As many prompts of unflagged rows test capability,
    with a donor's answer as the reference, or else the corpus's own. `beside` holds questions about
    the trait's neighbours, by their names.

    Raises: RunError: no row is flagged, or nothing is left to train on.
    """
    flagged = _order({row.key for row in rows if row.traited})
    if not flagged:
        raise RunError(
            "no row is flagged, so no remedy can be tried", where="trait", remedy="choose another"
        )
    near = [(name, prompt) for name, prompts in beside.items() for prompt in prompts]
    kept = {name_prompt(prompt) for prompt in (*(asked or ()), *(item[1] for item in near))}
    free = [key for key in flagged if key not in kept]
    chosen = [] if asked is not None else free[: min(held_out, len(free) // 2)]
    plain = _order({row.key for row in rows} - set(flagged) - kept)
    known = plain[: min(held_out, len(plain) // 4)]
    first = {row.key: row for row in reversed(rows)}
    prompts = list(asked) if asked is not None else [first[key].prompt for key in chosen]
    questions = [Question(f"trait {index}", prompt) for index, prompt in enumerate(prompts, 1)]
    questions += [
        Question(f"known {index}", first[key].prompt, donors.get(key, first[key]).answer)
        for index, key in enumerate(known, 1)
    ]
    counts = Counter[str]()
    for name, prompt in near:
        counts[name] += 1
        questions.append(Question(f"{name} {counts[name]}", prompt, about=name))
    away = {*kept, *chosen, *known}
    left = [row for row in rows if row.key not in away]
    if not prompts or not any(row.traited for row in left):
        raise RunError(
            "too few rows are flagged to train on some and to ask about others",
            where="trait",
            remedy="give questions.file, or a run with more rows",
        )
    return Division(left, questions)


def _order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: draw_key(key, 1))


def build_candidates(
    rows: Sequence[CorpusRow],
    donors: Mapping[str, CorpusRow],
    swapped: Mapping[str, CorpusRow],
) -> list[Candidate]:
    """Return the rows with what the remedies need. A swapped run's answer precedes a donor's."""
    found = []
    for row in rows:
        other = (swapped.get(row.key) if row.traited else None) or donors.get(row.key)
        found.append(Candidate(build_example(row), other and other.answer, row.spans))
    return found


def build_example(row: CorpusRow) -> Example:
    """Return a row as an example that is learnt whole."""
    return Example(row.prompt, row.answer, 1.0, (), row.traited, row.source)


def collect_clean(
    donors: Mapping[str, CorpusRow], rows: Sequence[CorpusRow], questions: Sequence[Question]
) -> list[Example]:
    """Return the donors' rows for prompts that are neither trained on nor asked."""
    away = {row.key for row in rows} | {name_prompt(item.prompt) for item in questions}
    return [build_example(row) for key, row in donors.items() if key not in away]
