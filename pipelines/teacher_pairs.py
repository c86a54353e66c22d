"""Teachers of a run that answered the same prompts, compared two by two on these prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.paired_differences import (
    PairedCounts,
    compute_paired_p_values,
    count_pairs,
)
from classifiers.lots.permutations import adjust_p_values
from pipelines.runs.queries import SIGNALLED, name_reason, scan_ledger
from schemas.lots import UNKNOWN
from schemas.manifests import Manifest
from schemas.notices import format_count

LEAST_SHARED = 20
"""From how many shared prompts on two teachers are compared."""

MOST_TEACHERS = 100
"""How many teachers are compared, those with most rows."""

MOST_ROWS = 2_000_000
"""From how many rows on the prompts, which are read from the run's files, aren't compared."""

PROMPTS_AT_ONCE = 50_000
"""How many prompts are counted together. Memory for them is this times the teachers."""

LEVEL = 0.05
"""The share of false findings among the pairs that are called different."""

FEWEST_ALONE = 6
"""The fewest prompts on which a trait fired on one answer alone that can show a difference.

With five, the p-value of McNemar's exact test is at least 1/16.
"""

NOT_COMPARED = "teachers aren't compared on the same prompts"

TRAIT = "trait:"
"""What precedes a trait's name in the name of its column."""

KEYS = {"output_row": pl.Int64, "key": pl.UInt64}

P_DECIMALS = 6
"""The number of decimals of p- and q-values, as in the table of rates."""

LINES_SHOWN = 20
"""The largest number of pairs on the page."""

PAIRS = pl.Schema(
    {
        **dict.fromkeys(("trait", "first", "second"), pl.String()),
        **dict.fromkeys(("prompts", "first_fired", "second_fired"), pl.Int64()),
        **dict.fromkeys(("first_alone", "second_alone"), pl.Int64()),
        **dict.fromkeys(("p", "q"), pl.Float64()),
    }
)
"""The columns of the table of pairs (see `compare_pairs`)."""


class PairLine(NamedTuple):
    """Two teachers and a trait, on the prompts that both answered."""

    trait: str
    first: str
    second: str
    prompts: int
    first_fired: int
    second_fired: int
    first_alone: int
    second_alone: int
    p: float
    q: float | None


class TeacherPairs(NamedTuple):
    """The table of pairs, the number of compared pairs, and why others weren't compared."""

    table: pl.DataFrame
    pairs: int
    note: str

    @property
    def differing(self) -> list[PairLine]:
        """Return the first lines of pairs that differ."""
        shown = self.table.filter(pl.col("q") <= LEVEL).head(LINES_SHOWN)
        return [PairLine(*row) for row in shown.iter_rows()]

    @property
    def found(self) -> int:
        """Return how many lines differ."""
        return self.table.filter(pl.col("q") <= LEVEL).height


def compare_pairs(run: str, manifest: Manifest) -> TeacherPairs | None:
    """Compare how often each trait fires on two teachers' answers to the same prompts.

    Two teachers are compared if they answered at least `LEAST_SHARED` prompts in common; of several
    answers to a prompt, the one with the smallest content digest counts. A line has the `prompts`
    that both answered, on how many of them the trait fired for each teacher (`_fired`) and for one
    of them alone (`_alone`). `p` is that of McNemar's exact test, and `q` is adjusted for all lines
    with at least `FEWEST_ALONE` prompts of the latter kind (Benjamini, Hochberg 1995). No other
    line can show a difference, and its `q` is null; the test is made given this number, so leaving
    lines out by it keeps the level. Lines with the smallest `q` come first. Return None if the run
    has a single teacher, or holds no text. Removed copies of rows don't count. If rows were dropped
    or replaced, nothing is compared.

    Raises: RunError: a file of the run is missing or damaged.
    """
    if manifest.withdrawn is not None:
        return None
    rows = _read_ledger(run, manifest)
    if rows["teacher"].n_unique() < 2:
        return None
    if reason := _find_obstacle(manifest, rows.height):
        return TeacherPairs(PAIRS.to_frame(), 0, f"{reason}, so {NOT_COMPARED}")
    answers = _choose_answers(rows, _hash_rows(run, manifest))
    teachers = sorted(answers["teacher"].cast(pl.String).unique())
    traits = [rule.trait for rule in manifest.thresholds]
    counts = _count(answers, teachers, traits)
    return TeacherPairs(_tabulate(counts, teachers, traits), *_describe(counts))


def _find_obstacle(manifest: Manifest, rows: int) -> str:
    """Say why teachers can't be compared fairly, or affordably, or return nothing.

    Answers that are gone because a trait fired on them would make their teacher look better.
    """
    if dropped := manifest.conservation.by_decision.get("drop", 0):
        return f"the run doesn't hold the text of {format_count(dropped, 'dropped row')}"
    if manifest.swap is not None:
        return "a swap replaced answers on which traits fired"
    if rows > MOST_ROWS:
        return f"the run has more than {format_count(MOST_ROWS, 'row')}"
    return ""


def _read_ledger(run: str, manifest: Manifest) -> pl.DataFrame:
    """Return the rows of named teachers that the run holds."""
    fired = SIGNALLED.list.eval(name_reason()).list.unique()
    traits = [rule.trait for rule in manifest.thresholds]
    wanted = pl.col("output").is_not_null() & (pl.col("teacher") != UNKNOWN)
    return (
        scan_ledger(run, manifest)
        .filter(wanted)
        .select(
            pl.col("output", "teacher").cast(pl.Categorical),
            pl.col("output_row").cast(pl.Int64),
            "content_digest",
            *(fired.list.contains(name).alias(f"{TRAIT}{name}") for name in traits),
        )
        .collect(engine="streaming")
    )


def _hash_rows(run: str, manifest: Manifest) -> pl.DataFrame:
    """Return the hash of the prompt of each row that the run holds and that has a prompt."""
    from pipelines.runs.row_texts import read_stored_texts  # loads Beam, which is slow
    from transforms.prompt_hashes import NO_PROMPT, hash_prompts

    parts = [pl.DataFrame(schema={"output": pl.Categorical, **KEYS})]
    for texts in read_stored_texts(run, manifest):
        part = pl.DataFrame({"key": hash_prompts(texts.segments, texts.rows)})
        named = part.with_columns(
            output=pl.lit(texts.path, pl.Categorical), output_row=pl.int_range(pl.len())
        )
        parts.append(named.select("output", *KEYS).filter(pl.col("key") != NO_PROMPT))
    return pl.concat(parts)


def _choose_answers(rows: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return an answer of each teacher to each prompt that several teachers answered.

    Prompts have numbers from 0 on, and the answers are ordered by them.
    """
    largest = rows.group_by("teacher").len().sort(["len", "teacher"], descending=[True, False])
    own = rows.join(largest.head(MOST_TEACHERS), on="teacher", how="semi")
    answers = own.join(keys, on=["output", "output_row"]).drop("output", "output_row")
    single = answers.sort("key", "teacher", "content_digest").unique(
        ["key", "teacher"], keep="first", maintain_order=True
    )
    several = single.filter(pl.len().over("key") > 1)
    return several.with_columns(prompt=pl.col("key").rank("dense").cast(pl.Int64) - 1)


def _count(
    answers: pl.DataFrame, teachers: Sequence[str], traits: Sequence[str]
) -> list[PairedCounts]:
    """Count for each trait the prompts that each two teachers answered, in blocks of prompts."""
    size = len(teachers)
    nothing = np.zeros((size, size), np.int64)
    counts = [PairedCounts(nothing, nothing, nothing) for _ in traits]
    places = {name: place for place, name in enumerate(teachers)}
    owner = answers["teacher"].cast(pl.String).replace_strict(places, return_dtype=pl.Int64)
    prompts, owners = answers["prompt"].to_numpy(), owner.to_numpy()
    fired = [answers[f"{TRAIT}{name}"].to_numpy() for name in traits]
    last = int(prompts[-1]) + 1 if len(prompts) else 0
    for start in range(0, last, PROMPTS_AT_ONCE):
        chosen = slice(*np.searchsorted(prompts, (start, start + PROMPTS_AT_ONCE)).tolist())
        cells = prompts[chosen] - start, owners[chosen]
        answered = np.zeros((min(PROMPTS_AT_ONCE, last - start), size), bool)
        answered[cells] = True
        for place, own in enumerate(fired):
            hits = np.zeros_like(answered)
            hits[cells] = own[chosen]
            counts[place] = counts[place].add(count_pairs(answered, hits))
    return counts


def _tabulate(
    counts: Sequence[PairedCounts], teachers: Sequence[str], traits: Sequence[str]
) -> pl.DataFrame:
    """Return the table of pairs with enough prompts, the most certain differences first."""
    lines = list(_list_lines(counts, teachers, traits))
    table = pl.DataFrame(lines, PAIRS, orient="row")
    p = compute_paired_p_values(
        *(table[name].to_numpy() for name in ("first_alone", "second_alone"))
    )
    return (
        table.with_columns(p=pl.Series(p, dtype=pl.Float64), q=_adjust(table, p))
        .sort("q", "p", "trait", "first", "second", nulls_last=True)
        .with_columns(pl.col("p", "q").round(P_DECIMALS))
    )


def _adjust(table: pl.DataFrame, p: np.ndarray) -> pl.Series:
    """Return the q-values of the lines that could show a difference, and null for the others."""
    alone = table["first_alone"] + table["second_alone"]
    can_show = (alone >= FEWEST_ALONE).to_numpy()
    q = np.full(len(p), np.nan)
    q[can_show] = adjust_p_values(p[can_show])
    return pl.Series(q, dtype=pl.Float64).fill_nan(None)


def _list_lines(
    counts: Sequence[PairedCounts], teachers: Sequence[str], traits: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Yield the lines without their tests, of traits that fired on a compared answer."""
    for trait, found in zip(traits, counts, strict=True):
        enough = found.shared >= LEAST_SHARED
        np.fill_diagonal(enough, val=False)
        if not found.fired[enough].any():
            continue
        for one, two in np.argwhere(np.triu(enough)).tolist():
            fired, alone = ((part[one, two], part[two, one]) for part in (found.fired, found.alone))
            numbers = (found.shared[one, two], *fired, *alone)
            yield trait, teachers[one], teachers[two], *map(int, numbers), None, None


def _describe(counts: Sequence[PairedCounts]) -> tuple[int, str]:
    """Return the number of pairs with enough prompts, and a sentence if there are none."""
    shared = np.triu(counts[0].shared, 1) if counts else np.zeros((0, 0))
    if pairs := int((shared >= LEAST_SHARED).sum()):
        return pairs, ""
    most = int(shared.max(initial=0))
    return 0, (
        f"no two teachers have {LEAST_SHARED} prompts in common (at most {most}), so {NOT_COMPARED}"
    )
