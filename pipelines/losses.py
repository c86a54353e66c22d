"""`congener losses`: which kinds of rows a run's traits took out of the corpus."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.calibration import compute_intervals
from classifiers.guarantees.group_differences import adjust_by_holm, compute_p_values
from classifiers.languages import LANGUAGES
from classifiers.lots.topics import MOST_LEARNED, Topics, TopicWords, join_words, learn_topics
from pipelines.rate_shifts import (
    count_fired,
    describe_differences,
    describe_overlap,
    describe_teachers,
)
from pipelines.rate_tests import RateShift, compare_hits
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import SIGNALLED_TRAITS, require_trait, scan_ledger
from pipelines.runs.row_texts import CHANGED, read_input_texts, read_stored_texts
from schemas.errors import CardError, InputError
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count
from transforms.files import storage
from transforms.row_features import RowFeatures, describe_rows

BY_TEXT = ("length", "language", "topic")
"""The groupings that need the texts of rows."""

BY_LEDGER = {"teacher": "teacher", "prompt source": "prompt_source", "file": "source"}
"""The groupings by a column of the ledger."""

GROUPINGS = (*BY_TEXT, *BY_LEDGER)

LOST = ("quarantine", "drop")
"""The decisions that take a row out of the corpus because of a trait."""

STAYED = ("keep", "flag", "mask", "swap")
"""The decisions that leave a row of the input in the corpus."""

LENGTHS = (100, 200, 400, 800, 1_600, 3_200, 6_400)
"""The lengths, in characters, at which the next group of lengths begins."""

LEAST_ROWS = 20
"""The smallest group that is compared, and the fewest other rows that it is compared with."""

LEVEL = 0.05
"""The chance that any group is said to differ although all groups are alike."""

CONFIDENCE = 0.95

LINES = pl.Schema(
    {
        **dict.fromkeys(("by", "group"), pl.String()),
        **dict.fromkeys(("rows", "lost"), pl.Int64()),
        **dict.fromkeys(("share", "low", "high", "rest"), pl.Float64()),
        **dict.fromkeys(("difference", "p", "p_alone"), pl.Float64()),
        "differs": pl.Boolean(),
        **dict.fromkeys(("rows_before", "lost_before"), pl.Int64()),
        **dict.fromkeys(("share_before", "part", "part_before", "p_drift"), pl.Float64()),
        "drifted": pl.Boolean(),
        **dict.fromkeys(("rows_within", "lost_within"), pl.Int64()),
        **dict.fromkeys(("rows_within_before", "lost_within_before"), pl.Int64()),
    }
)
"""The columns of the table of losses (see `Losses`)."""


class Losses(NamedTuple):
    """What a run took out of the corpus, by group of rows.

    `rows` counts the rows that stayed or were lost, and `lost` those that are in quarantine or were
    dropped, because of `trait` if it isn't None. `apart` counts the other rows by decision.
    `omitted` counts the groups that are too small to compare, by grouping.

    A line of `table` has a group's `share` of lost rows with its interval from `low` to `high`, the
    share of the `rest` of the rows, and their `difference`. `p_alone` is the p-value of Fisher's
    exact test, `p` the same adjusted for the number of tests (Holm), and `differs` whether `p` is
    at most `LEVEL`. If a grouping has two groups, both have the same test, which counts once.
    Beside an earlier run, `shift` has the lost rows of all rows then and now, `same_rows` whether
    both runs read the same files, so that no test is possible, and `notes` what else differs.

    Beside an earlier run, `part` is the group's share of all rows, the columns in `_before` are
    those of the earlier run, and `p_drift` and `drifted` are about the share of lost rows then and
    now. Where the teachers' shares of a group's rows differ, shares are compared within teachers
    (`RateShift`), and the columns with `_within` have the counts of the teachers that both runs
    have; `p_drift` is null if there is none. Groups that differ come first, those with the largest
    difference first.
    """

    trait: str | None
    rows: int
    lost: int
    apart: dict[str, int]
    omitted: dict[str, int]
    table: pl.DataFrame
    shift: RateShift | None = None
    same_rows: bool = False
    notes: tuple[str, ...] = ()


class LossRows(NamedTuple):
    """The rows of a run that stayed or were lost.

    `frame` has a line for each row with `lost` and the columns of groupings. `words` are the words
    of their prompts in the order of `frame`'s column `text`, and `heads` are prompts from which
    topics can be learned. `apart` counts the other rows by decision.
    """

    frame: pl.DataFrame
    words: TopicWords | None
    heads: list[str]
    apart: dict[str, int]


def measure_losses(
    run: str,
    against: str | None = None,
    by: Sequence[str] = GROUPINGS,
    trait: str | None = None,
    folder: str | None = None,
) -> Losses:
    """Count a finished run's lost rows by group, and compare each group with the rest.

    `against` is an earlier run to compare with. `by` names the groupings, `trait` limits lost rows
    to those on which a trait fired, and `folder` holds the input files if they have moved: the text
    of dropped rows is read from there. Topics are learned from a sample of the run's prompts, and
    the earlier run's prompts are assigned to them. Memory grows by about 300 bytes a row.

    Raises: RunError: a run isn't finished or is damaged, or doesn't have the trait. Raises:
    CardError: there is no such grouping. Raises: InputError: the input can't be read.
    """
    if unknown := [name for name in by if name not in GROUPINGS]:
        raise CardError(
            f"there is no grouping {unknown[0]!r}",
            where="--by",
            remedy=f"the groupings are {', '.join(GROUPINGS)}",
        )
    own = gather_rows(run, by, trait, folder)
    topics = learn_topics(own.heads) if own.words is not None and "topic" in by else None
    now = _count_groups(own, by, topics)
    rows, lost = own.frame.height, int(own.frame["lost"].sum())
    if against is None:
        table, omitted = tabulate(_sum_teachers(now), None)
        return Losses(trait, rows, lost, own.apart, omitted, table)
    earlier = gather_rows(against, by, trait, folder)
    before = _count_groups(earlier, by, topics)
    table, omitted = tabulate(
        _sum_teachers(now), _sum_teachers(before), _compare_groups(before, now)
    )
    sides = _count_teachers(earlier), _count_teachers(own)
    first, second = load_manifest(against), load_manifest(run)
    same = first.identity.inputs == second.identity.inputs
    overlap = () if same else describe_overlap((against, run), (first, second))
    fired = count_fired(run, second, (*STAYED, *LOST))
    others = describe_teachers(_take_rows(sides[0]), _take_rows(sides[1]), fired)
    notes = (*overlap, *others, *describe_differences(first, second))
    shift = _compare_sides(trait, *sides)
    return Losses(trait, rows, lost, own.apart, omitted, table, shift, same, notes)


def _count_teachers(rows: LossRows) -> Teachers:
    """Return the rows and the lost rows of each teacher."""
    counted = rows.frame.group_by("teacher").agg(pl.len(), pl.col("lost").sum())
    return {str(name): (count, lost) for name, count, lost in counted.iter_rows()}


def _take_rows(counts: Teachers) -> dict[str, int]:
    return {name: rows for name, (rows, _) in counts.items()}


def _compare_sides(trait: str | None, before: Teachers, now: Teachers) -> RateShift:
    """Return the lost rows of two sets, with their test."""
    lost = [{name: item[1] for name, item in counts.items()} for counts in (before, now)]
    (shift,) = compare_hits([(trait, lost[0], lost[1])], (_take_rows(before), _take_rows(now)))
    return shift


def _compare_groups(before: ByTeacher, now: ByTeacher) -> dict[str, dict[str, RateShift]]:
    """Return the lost rows of each group in both runs, with their test."""
    return {
        by: {
            group: _compare_sides(None, before[by].get(group, {}), counts)
            for group, counts in groups.items()
        }
        for by, groups in now.items()
    }


def write_table(found: Losses, path: str) -> None:
    """Write the table of losses as Parquet.

    Raises: StorageError: the file can't be written.
    """
    table = BytesIO()
    found.table.write_parquet(table)
    storage.write_bytes(path, table.getvalue())


def gather_rows(
    run: str, by: Sequence[str], trait: str | None = None, folder: str | None = None
) -> LossRows:
    """Return a run's rows with the columns of the wanted groupings.

    Raises: RunError: the run isn't finished or is damaged. Raises: InputError: the text of dropped
    rows can't be read from the input.
    """
    manifest = load_manifest(run)
    if trait is not None:
        require_trait(trait, manifest)
    with report_damage(run, *MISFITS):
        frame, apart = _read_ledger(run, manifest, trait)
        if not set(by) & set(BY_TEXT):
            return LossRows(frame, None, [], apart)
        return _add_texts(run, manifest, frame, apart, folder)


def _read_ledger(
    run: str, manifest: Manifest, trait: str | None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the rows that stayed or were lost, and the numbers of other rows by decision."""
    ledger = scan_ledger(run, manifest)
    counted = ledger.group_by("decision").len().sort("decision").collect(engine="streaming")
    apart = {name: rows for name, rows in counted.iter_rows() if name not in (*STAYED, *LOST)}
    lost = pl.col("decision").is_in(LOST)
    if trait is not None:
        lost &= SIGNALLED_TRAITS.list.contains(trait)
    names = [pl.col(name).cast(pl.Categorical) for name in (*BY_LEDGER.values(), "output")]
    digest = pl.col("content_digest").str.slice(0, 15).str.to_integer(base=16, strict=False)
    chosen = ledger.filter(pl.col("decision").is_in((*STAYED, *LOST)))
    columns = [*names, pl.col("row", "output_row"), lost.alias("lost"), digest.alias("draw")]
    return chosen.select(columns).collect(engine="streaming"), apart


def _add_texts(
    run: str, manifest: Manifest, frame: pl.DataFrame, apart: dict[str, int], folder: str | None
) -> LossRows:
    """Add length, language and the place in the words to the rows of a ledger."""
    numbered = frame.with_row_index("index")
    drawn = numbered.sort("draw", "index").head(MOST_LEARNED)["index"]
    filled = _Filled(frame.height, set(drawn.to_list()))
    stored = numbered.filter(pl.col("output").is_not_null())
    groups = stored.partition_by("output", as_dict=True, include_key=False)
    for texts in read_stored_texts(run, manifest):
        own = groups.get((texts.path,))
        if own is not None:
            features = describe_rows(texts.segments, texts.rows)
            filled.add(own["index"].to_numpy(), own["output_row"].to_numpy(), features)
    dropped = numbered.filter(pl.col("output").is_null())
    _add_dropped(manifest, dropped, filled, folder)
    edges = np.searchsorted(LENGTHS, filled.lengths, "right")
    whole = frame.with_columns(
        length=_name(edges, name_lengths()),
        language=_name(filled.languages, LANGUAGES),
        text=pl.Series(filled.places),
    )
    return LossRows(whole, join_words(filled.words), filled.list_heads(), apart)


def _name(codes: np.ndarray, names: Sequence[str]) -> pl.Series:
    """Return the names with these indexes."""
    return pl.Series(codes.astype(np.uint32)).replace_strict(
        dict(enumerate(names)), return_dtype=pl.String
    )


class _Filled:
    """The features of rows while they are read, and the beginnings of the drawn prompts."""

    def __init__(self, rows: int, drawn: Collection[int]) -> None:
        self.lengths = np.zeros(rows, np.int64)
        self.languages = np.zeros(rows, np.int64)
        self.places = np.zeros(rows, np.int64)
        self.words: list[TopicWords] = []
        self._read, self._drawn, self._heads = 0, drawn, dict[int, str]()

    def add(self, rows: np.ndarray, places: np.ndarray, features: RowFeatures) -> None:
        """Store the features of rows, which are at these places of what was read."""
        self.lengths[rows] = features.lengths[places]
        self.languages[rows] = features.languages[places]
        self.places[rows] = self._read + places
        self._read += features.words.texts
        self.words.append(features.words)
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if row in self._drawn:
                self._heads[row] = features.heads[place]

    def list_heads(self) -> list[str]:
        """Return the drawn prompts in the order of the rows."""
        return [self._heads[row] for row in sorted(self._heads)]


def _add_dropped(
    manifest: Manifest, dropped: pl.DataFrame, filled: _Filled, folder: str | None
) -> None:
    """Add the features of dropped rows, whose text only the input holds.

    Raises: InputError: the input can't be read, or lacks a row.
    """
    if not dropped.height:
        return
    places = dropped.select(pl.col("source").cast(pl.String), "row", "index").rows()
    indexes = {(source, row): index for source, row, index in places}
    wanted: dict[str, set[int]] = {}
    for source, row in indexes:
        wanted.setdefault(source, set()).add(row)
    try:
        for texts in read_input_texts(manifest, wanted, folder):
            rows = np.array([indexes.pop(place) for place in texts.places])
            size = len(texts.places)
            filled.add(rows, np.arange(size), describe_rows(texts.segments, size))
    except InputError as error:
        raise _explain_dropped(manifest, dropped.height, error) from error
    if indexes:
        raise InputError(
            f"{format_count(len(indexes), 'dropped row')} can't be read again",
            where=next(iter(indexes))[0],
            remedy=CHANGED,
        )


def _explain_dropped(manifest: Manifest, rows: int, error: InputError) -> InputError:
    verb = choose_form(rows, "was", "were")
    return InputError(
        f"{error.problem}; {format_count(rows, 'row')} of run {manifest.run_id} {verb} dropped, "
        "and only the input has their text",
        where=error.where,
        remedy=f"{CHANGED}, or compare without text: --by teacher --by file",
    )


def name_lengths() -> list[str]:
    """Return the names of the groups of lengths, in characters."""
    middle = [f"{low:,} to {high - 1:,}" for low, high in pairwise(LENGTHS)]
    return [f"under {LENGTHS[0]:,}", *middle, f"{LENGTHS[-1]:,} or more"]


def _count_groups(rows: LossRows, by: Sequence[str], topics: Topics | None) -> ByTeacher:
    """Return the rows and the lost rows of each group of each grouping, by teacher."""
    frame = rows.frame
    if topics is not None and rows.words is not None:
        found = topics.assign(rows.words)[frame["text"].to_numpy()]
        frame = frame.with_columns(topic=_name(found, topics.names))
    counts: dict[str, dict[str, dict[str, tuple[int, int]]]] = {}
    for name in by:
        keys = (pl.col(BY_LEDGER.get(name, name)).alias("group"), pl.col("teacher").alias("by"))
        counted = frame.group_by(keys).agg(pl.len(), pl.col("lost").sum())
        groups = counts.setdefault(name, {})
        for group, teacher, count, lost in counted.iter_rows():
            groups.setdefault(str(group), {})[str(teacher)] = (count, lost)
    return counts


def _sum_teachers(counts: ByTeacher) -> Counts:
    """Return the rows and the lost rows of each group of each grouping."""
    return {
        by: {
            group: (sum(rows for rows, _ in own.values()), sum(lost for _, lost in own.values()))
            for group, own in groups.items()
        }
        for by, groups in counts.items()
    }


Teachers = Mapping[str, tuple[int, int]]
"""The rows and the lost rows of each teacher."""

ByTeacher = Mapping[str, Mapping[str, Teachers]]
"""The rows and the lost rows of each teacher in each group, by grouping."""

Counts = Mapping[str, Mapping[str, tuple[int, int]]]
"""The rows and the lost rows of each group, by grouping."""


def tabulate(
    now: Counts,
    before: Counts | None = None,
    shifts: Mapping[str, Mapping[str, RateShift]] | None = None,
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the table of losses, and the number of small groups of each grouping.

    `shifts` are the tests of each group beside the earlier run's. A grouping with a single group is
    left out, since it has no rest to compare with.
    """
    lines: list[dict[str, Any]] = []
    omitted: dict[str, int] = {}
    for by, groups in _drop_repeated(now).items():
        tests = (shifts or {}).get(by, {})
        found = _compare(by, groups, None if before is None else before[by])
        lines += [line | _describe_drift(tests.get(line["group"])) for line in found]
        small = sum(rows < LEAST_ROWS for rows, _ in groups.values())
        if small and len(groups) > 1:
            omitted[by] = small
    whole = set(now) - set(omitted)
    return _rank(pl.DataFrame(lines, LINES), before is not None, whole), omitted


def _describe_drift(shift: RateShift | None) -> dict[str, Any]:
    """Return the columns that say whether a group's share changed."""
    if shift is None:
        return {}
    names = ("lost_within_before", "rows_within_before", "lost_within", "rows_within")
    within = dict(zip(names, shift.within, strict=True)) if shift.within else {}
    return {"p_drift": shift.p, **within}


def _drop_repeated(counts: Counts) -> dict[str, Mapping[str, tuple[int, int]]]:
    """Leave out groupings that divide the rows as an earlier one does, such as a file a teacher."""
    kept: dict[tuple[tuple[int, int], ...], str] = {}
    for by, groups in counts.items():
        kept.setdefault(tuple(sorted(groups.values())), by)
    return {by: counts[by] for by in kept.values()}


def _compare(
    by: str,
    groups: Mapping[str, tuple[int, int]],
    earlier: Mapping[str, tuple[int, int]] | None,
) -> Iterator[dict[str, Any]]:
    """Yield a line for each group that is large enough."""
    rows, lost = (sum(item[part] for item in groups.values()) for part in (0, 1))
    total = sum(item[0] for item in (earlier or {}).values())
    for group, (own, own_lost) in sorted(groups.items()):
        if min(own, rows - own) < LEAST_ROWS:
            continue
        rest = (lost - own_lost) / (rows - own)
        line = {"by": by, "group": group, "rows": own, "lost": own_lost, "rest": rest}
        line |= {"share": own_lost / own, "difference": own_lost / own - rest}
        line["p_alone"] = _test((own_lost, own), (lost - own_lost, rows - own))
        if earlier is not None:
            then, then_lost = earlier.get(group, (0, 0))
            line |= {"rows_before": then, "lost_before": then_lost, "part": own / rows}
            line["share_before"] = then_lost / then if then else None
            line["part_before"] = then / total if total else None
            line["p_drift"] = _test((own_lost, own), (then_lost, then))
        yield line


def _test(one: tuple[int, int], other: tuple[int, int]) -> float:
    return float(compute_p_values(*(np.array([value]) for value in (*one, *other)))[0])


def _rank(table: pl.DataFrame, has_earlier: bool, whole: Collection[str]) -> pl.DataFrame:
    """Add intervals, adjust the p-values, and put the groups that differ most first."""
    if not table.height:
        return table
    bounds = compute_intervals(table["lost"].to_numpy(), table["rows"].to_numpy(), CONFIDENCE)
    table = table.with_columns(
        pl.Series("low", bounds[0]),
        pl.Series("high", bounds[1]),
        pl.Series("p", _adjust(table, whole)),
    )
    if has_earlier:
        known = table["p_drift"].fill_null(1.0).to_numpy()
        drift = pl.Series("p_drift", adjust_by_holm(known)).set(table["p_drift"].is_null(), None)
        table = table.with_columns(drift, (drift <= LEVEL).fill_null(value=False).alias("drifted"))
    table = table.with_columns(differs=pl.col("p") <= LEVEL)
    largest = pl.when("differs").then(pl.col("difference").abs()).otherwise(-1.0)
    return table.sort(
        *("differs", largest, "p_alone", "by", "group"),
        descending=[True, True, False, False, False],
    ).select(LINES.names())


def _adjust(table: pl.DataFrame, whole: Collection[str]) -> np.ndarray:
    """Return the p-values adjusted for the number of tests.

    If all of a grouping's rows are in two lines, each line is the other's rest, so both have the
    same test, which counts once. `whole` are the groupings without groups that are too small.
    """
    pairs = set(table.group_by("by").len().filter(pl.col("len") == 2)["by"]) & set(whole)
    names = [(by, "" if by in pairs else group) for by, group in table.select("by", "group").rows()]
    tests = {name: number for number, name in enumerate(dict.fromkeys(names))}
    alone = dict(zip(names, table["p_alone"].to_list(), strict=True))
    adjusted = adjust_by_holm(np.array([alone[name] for name in tests]))
    return adjusted[[tests[name] for name in names]]
