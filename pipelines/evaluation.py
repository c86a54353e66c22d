"""`congener traits eval`: estimate a trait's precision and recall from rows that a person reads."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, groupby, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from classifiers.banks import INDEX_FILE, read_card_digests
from classifiers.guarantees.stratified import (
    Accuracy,
    Stratum,
    measure_accuracy,
    measure_on_new_rows,
)
from pipelines.config import FilterConfig
from pipelines.labels import (
    HIDDEN_DIGITS,
    Label,
    RowKey,
    choose_label,
    digest_definition,
    has_score,
)
from pipelines.runs.finished import MISFITS, read_rows, report_damage, scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import Filters, scan_ledger
from pipelines.runs.recorded_settings import read_recorded_traits
from pipelines.thresholds import select_rules, settle_thresholds
from schemas.digests import digest_config
from schemas.errors import CardError, RunError
from schemas.events import Listener
from schemas.manifests import Manifest, SettledThreshold
from schemas.notices import format_count, list_names
from schemas.runs import BANK
from schemas.scores import SCORE_DECIMALS, score_column
from transforms.files import storage
from transforms.records.columns import get_value
from transforms.records.field_paths import get_field_text

RATES = (0.002, 0.01, 0.05, 0.2)
"""The levels whose thresholds divide the scores, besides the threshold in force."""

STEPS = 10**SCORE_DECIMALS

SCORE_CHANGE = 0.001
"""A larger change of a score means another version of the card."""

KEYS = ("source", "row", "record_id")


class Range(NamedTuple):
    """The rows with scores from `lowest` up to the next higher range.

    `rows` holds their ledger indexes, in a random reading order.
    """

    lowest: float
    rows: np.ndarray


@dataclass(frozen=True)
class Population:
    """A run's rows with a trait's score, divided into ranges of scores.

    `thresholds` maps thresholds, from the highest down, to their levels. `removed` counts rows
    above the threshold in force that left the run's folders. `card` and `definition` are digests of
    the trait's card, and of the words that a reader judges by. `taught` are labelled rows with an
    exemplar of the card.
    """

    run: str
    manifest: Manifest
    rule: SettledThreshold
    scores: np.ndarray
    ranges: list[Range]
    thresholds: dict[float, float | None]
    removed: int
    card: str = ""
    definition: str = ""
    taught: frozenset[int] = frozenset()


class Measured(NamedTuple):
    """The accuracy of one threshold, and the rows that it finds.

    `accuracy` describes this corpus, and `on_new_rows` describes new rows drawn like it. With
    `are_found_rows_read`, the precision in `accuracy` is exact. With `are_all_rows_read`, the
    recall is too.
    """

    threshold: float
    rate: float | None
    rows: int
    accuracy: Accuracy
    on_new_rows: Accuracy
    is_in_force: bool
    are_found_rows_read: bool
    are_all_rows_read: bool


class RowText(NamedTuple):
    """A row to read: its ledger keys, its score, its text and its best span."""

    keys: dict[str, Any]
    score: float
    prompt: str
    text: str
    start: int
    end: int
    card: str = ""
    definition: str = ""


@contextmanager
def open_run_on(
    config: FilterConfig, trait: str, listener: Listener, kept: str | None = None
) -> Iterator[str]:
    """Filter a corpus into a temporary run that keeps all rows, and yield the run's folder.

    With `kept`, the run is written to that folder, and stays.

    Raises: CongenerError: the corpus or the card is wrong.
    """
    from pipelines.filter import run_filter  # loads Beam and torch, which is slow

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        policy = Path(folder, "policy.yaml")
        # quoted, because YAML would read an id such as `no` or `12` as something else than text
        policy.write_text(f'traits: {{"{trait}": {{action: flag}}}}\n', encoding="utf-8")
        output = kept or str(Path(folder, "run"))
        update = {"output": output, "policy": str(policy), "span_floor": 0.0}
        run_filter(config.model_copy(update=update), listener=listener)
        yield output


def divide_rows(run: str, trait: str) -> Population:
    """Divide a finished run's rows into ranges of a trait's scores.

    Raises: RunError: the run isn't finished, doesn't have the trait, or has no row to read.
    """
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
        (rule,) = select_rules(run, manifest, [trait])
        recorded = read_recorded_traits(run, manifest)[trait]
        settled = settle_thresholds(rule, recorded, RATES)
        scores, kept = _read_scores(run, manifest, rule)
    scored = ~np.isnan(scores)
    if not (scored & kept).any():
        raise RunError("has no row that could be read for the trait", where=run)
    steps = np.round(np.nan_to_num(scores, nan=-1.0) * STEPS).astype(np.int64)
    removed = int((scored & ~kept & (steps >= round(rule.threshold * STEPS))).sum())
    edges = [value for value in settled if value <= 1]
    ranges = list(_cut_ranges(np.where(kept, steps, -1), edges, trait))
    rates = {value: rate for value, (rate, _) in settled.items()}
    return Population(
        run,
        manifest,
        rule,
        scores,
        ranges,
        rates,
        removed,
        _find_card_digest(run, trait),
        digest_definition(manifest.cards[trait]),
    )


def _find_card_digest(run: str, trait: str) -> str:
    """Return a digest of a trait's card and exemplars, or an empty text if the run has no bank.

    Raises: ModelError: the bank is damaged.
    """
    folder = storage.join(run, BANK)
    if not storage.exists(storage.join(folder, INDEX_FILE)):
        return ""
    found = read_card_digests(lambda name: storage.read_bytes(storage.join(folder, name)), folder)
    return found.get(trait, "")[:HIDDEN_DIGITS]


def _read_scores(
    run: str, manifest: Manifest, rule: SettledThreshold
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rule's score of every row, and whether the run's folders hold the row."""
    if not manifest.conservation.rows_in:
        return np.empty(0, np.float32), np.empty(0, bool)
    column = score_column(rule.trait, rule.signal)
    scores = scan_folder(run, manifest, "scores").select(column).collect()[column].to_numpy()
    ledger = scan_folder(run, manifest, "ledger")
    kept = ledger.select(kept=pl.col("output").is_not_null()).collect()["kept"].to_numpy()
    return scores.astype(np.float32), kept


def _cut_ranges(steps: np.ndarray, edges: Sequence[float], trait: str) -> Iterator[Range]:
    """Yield the nonempty ranges between thresholds, from the highest scores down."""
    highest = STEPS + 1
    for lowest in (*edges, 0.0):
        rows = np.flatnonzero((steps >= round(lowest * STEPS)) & (steps < highest))
        highest = round(lowest * STEPS)
        if len(rows):
            seed = int(digest_config([trait, lowest])[:12], 16)
            yield Range(lowest, np.random.default_rng(seed).permutation(rows))


def allot_reading(ranges: Sequence[Range], budget: int) -> list[int]:
    """Divide the rows to read evenly among ranges, but with twice as many for the lowest.

    Small ranges pass on what they can't use. The lowest range has nearly all rows, so it determines
    how well recall is known.
    """
    shares = [1] * (len(ranges) - 1) + [2]
    sizes = [len(item.rows) for item in ranges]
    given = [0] * len(ranges)
    while budget and (left := [i for i, size in enumerate(sizes) if given[i] < size]):
        total = sum(shares[i] for i in left)
        before = budget
        for i in left:
            part = min(max(1, before * shares[i] // total), sizes[i] - given[i], budget)
            given[i], budget = given[i] + part, budget - part
    return given


def choose_rows(
    population: Population,
    known: Collection[int],
    budget: int,
    picked: Collection[int] = (),
    *,
    only_found: bool = False,
) -> list[int]:
    """Return the rows to read besides the known rows, for `budget` rows in all.

    The ranges take turns, so that reading may stop at any time. Picked rows are drawn like others,
    but needn't be read again. With `only_found`, only rows at or above the threshold in force are
    drawn. A larger budget only adds rows.
    """
    lowest = population.rule.threshold if only_found else 0.0
    ranges = [item for item in population.ranges if item.lowest >= lowest]
    parts, spent = [], 0
    for item, count in zip(ranges, allot_reading(ranges, budget), strict=True):
        left = [row for row in item.rows.tolist() if row not in known]
        done = len(item.rows) - len(left)
        parts.append(left[: max(0, count - done)])
        spent += done
    drawn = [row for row in chain.from_iterable(zip_longest(*parts)) if row is not None]
    return [row for row in drawn[: max(0, budget - spent)] if row not in picked]


def select_sample(
    population: Population, labels: Mapping[int, Label], listed: Collection[int] = ()
) -> dict[int, Label]:
    """Return the labels of rows that are a random sample of their ranges.

    A reader may also label a row that nobody drew, such as a mistake. It counts only if it comes
    before other drawn rows in the reading order, so that it would have been drawn anyway.
    """
    sample = {row: label for row, label in labels.items() if not label.is_picked}
    for item in population.ranges if len(sample) < len(labels) else ():
        waiting: list[int] = []
        for row in item.rows.tolist():
            if row in sample or row in listed:
                sample |= {other: labels[other] for other in waiting}
                waiting = []
            elif row in labels:
                waiting.append(row)
            else:
                break
        else:  # all rows of the range are read
            sample |= {other: labels[other] for other in waiting}
    return sample


def match_labels(population: Population, labels: Sequence[Label], where: str) -> dict[int, Label]:
    """Return the labels, keyed by row index.

    Raises: CardError: no label names a row of the run, or two labels of a row differ.
    """
    places = find_rows(population, [label.key for label in labels if label.key is not None])
    found = _gather_labels(labels, places, where)
    if labels and not found:
        raise CardError(
            "no label names a row of this run",
            where=where,
            remedy="for labels of another corpus or run, name a new file with --labels; source, "
            "row and record_id are those of the run's ledger",
        )
    return found


def find_rows(population: Population, keys: Sequence[RowKey]) -> dict[RowKey, list[int]]:
    """Return the named rows' ledger indexes, without unknown names."""
    named = pl.DataFrame(
        [key for key in keys if not isinstance(key, str)],
        schema={"source": pl.String, "row": pl.Int64},
        orient="row",
    ).unique()
    ids = [key for key in keys if isinstance(key, str)]
    ledger = scan_folder(population.run, population.manifest, "ledger", row_index="index")
    places: dict[RowKey, list[int]] = {}
    with report_damage(population.run, *MISFITS):
        frames = pl.collect_all(
            frame.select("index", *KEYS)
            for frame in (
                ledger.join(named.lazy(), on=["source", "row"], how="semi"),
                ledger.filter(pl.col("record_id").is_in(ids)),
            )
        )
    for index, source, row, record_id in pl.concat(frames).iter_rows():
        places.setdefault((source, row), []).append(index)
        places.setdefault(record_id, []).append(index)
    return places


def _gather_labels(
    labels: Sequence[Label], places: Mapping[RowKey, Sequence[int]], where: str
) -> dict[int, Label]:
    found: dict[int, Label] = {}
    for label in labels:
        for index in () if label.key is None else places.get(label.key, ()):
            found[index] = choose_label(found.get(index, label), label, where)
    return found


def find_single(population: Population, name: str) -> list[int]:
    """Return the ledger indexes of a row given as `congener inspect --row` takes it, or of copies.

    Raises: RunError: no row has the name, or different rows have it.
    """
    run, manifest = population.run, population.manifest
    with report_damage(run, *MISFITS):
        frame = scan_ledger(run, manifest, Filters(row=name), row_index="index")
        found = frame.select("index", *KEYS, "output").collect()
    if found["record_id"].n_unique() > 1:
        places = [f"{source}:{row}" for source, row in found.select("source", "row").iter_rows()]
        raise RunError(
            f"{format_count(len(places), 'row')} have the number {name}",
            where=run,
            remedy=f"name one of them: {list_names(places)}",
        )
    if found["output"].null_count():
        raise RunError(
            f"doesn't have the text of row {name}, which left the corpus",
            where=run,
            remedy="--on CORPUS filters the corpus for the trait, and keeps every row",
        )
    return [int(index) for index in found["index"]]


def carry_over(population: Population, labels: Mapping[int, Label]) -> dict[int, Label]:
    """Return the labels, with those of rows that another version of the card drew as picked.

    They stay right about their rows. But their rows were drawn from other ranges of scores, so each
    counts in the measures only where this version would draw its row, too.
    """
    earlier = find_earlier(population, labels)
    return {
        index: label._replace(is_picked=True) if index in earlier else label
        for index, label in labels.items()
    }


def find_earlier(population: Population, labels: Mapping[int, Label]) -> set[int]:
    """Return the labelled rows that another version of the card drew, or that the card quotes.

    Whoever changed the card may have read them for it, so they flatter the changed card.
    """
    trait = population.rule.trait
    return {
        index
        for index, label in labels.items()
        if index in population.taught
        or (population.card and label.card not in (None, population.card))
        or not has_score(label, trait, float(population.scores[index]), SCORE_CHANGE)
    }


def measure(population: Population, labels: Mapping[int, Label]) -> list[Measured]:
    """Measure the accuracy of the threshold in force and of the alternatives."""
    strata = summarise(population, labels)
    result = []
    for threshold, rate in population.thresholds.items():
        found = sum(item.lowest >= threshold for item in population.ranges)
        rows = sum(stratum.rows for stratum in strata[:found])
        result.append(
            Measured(
                threshold,
                rate,
                rows,
                measure_accuracy(strata, found),
                measure_on_new_rows(strata, found),
                is_in_force=threshold == population.rule.threshold,
                are_found_rows_read=rows > 0
                and all(item.read == item.rows for item in strata[:found]),
                are_all_rows_read=all(item.read == item.rows for item in strata),
            )
        )
    return result


def summarise(population: Population, labels: Mapping[int, Label]) -> list[Stratum]:
    """Count each range's rows, its read rows, and its read rows with the trait."""
    strata = []
    for item in population.ranges:
        answers = [bool(labels[row].shows) for row in item.rows.tolist() if row in labels]
        strata.append(Stratum(len(item.rows), len(answers), sum(answers)))
    return strata


def read_texts(population: Population, rows: Sequence[int]) -> list[RowText]:
    """Read the texts of rows in the order of the given ledger indexes.

    Raises: RunError: a file of the run is missing or damaged.
    """
    with report_damage(population.run, *MISFITS):
        found = _read_texts(population, sorted(rows))
    return [found[row] for row in rows]


def _read_texts(population: Population, rows: Sequence[int]) -> dict[int, RowText]:
    """Read the texts of rows, keyed by the rows' indexes in the ledger, one file at a time."""
    run, manifest = population.run, population.manifest
    wanted = pl.Series(rows, dtype=pl.get_index_type()).implode()
    ledger, spans = (
        scan_folder(run, manifest, folder, row_index="index")
        .filter(pl.col("index").is_in(wanted))
        .collect()
        .to_dicts()
        for folder in ("ledger", "spans")
    )
    found: dict[int, RowText] = {}
    entries = sorted(zip(ledger, spans, strict=True), key=lambda pair: str(pair[0]["output"]))
    for path, together in groupby(entries, key=lambda pair: pair[0]["output"]):
        pairs = list(together)
        records = read_rows(run, path, [entry["output_row"] for entry, _ in pairs])
        for entry, own in pairs:
            record = records[entry["output_row"]]
            found[entry["index"]] = _build_text(population, entry, record, own["spans"] or ())
    return found


def _build_text(
    population: Population,
    entry: Mapping[str, Any],
    record: Mapping[str, Any],
    spans: Sequence[Mapping[str, Any]],
) -> RowText:
    columns = list(population.manifest.identity.columns.values())
    trait = population.rule.trait
    own = [span for span in spans if span["trait"] == trait and "@" not in span["signal"]]
    span = max(own, key=lambda item: item["score"], default=None)
    text = get_field_text(record, span["field_path"], columns) if span else None
    texts = list(_list_texts([get_value(record, column) for column in columns]))
    if text is None:
        text, span = (texts[-1] if texts else ""), None
    before = texts[: texts.index(text)] if text in texts else []
    start, end = (span["start"], span["end"]) if span else (0, 0)
    index = entry["index"]
    score = round(float(population.scores[index]), SCORE_DECIMALS)
    keys = {name: entry[name] for name in KEYS}
    prompt = before[-1] if before else ""
    card, definition = population.card, population.definition
    return RowText(keys, score, prompt, text, start, end, card, definition)


def _list_texts(value: Any, key: str = "") -> Iterator[str]:
    """Yield the texts in a row's columns in order, without role and type names."""
    if isinstance(value, str):
        if value.strip() and key not in ("role", "from", "type", "name", "id"):
            yield value
    elif isinstance(value, Mapping):
        for name, below in value.items():
            yield from _list_texts(below, str(name))
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _list_texts(below, key)
