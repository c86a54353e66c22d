"""`congener calibrate`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError
from schemas.notices import list_names

if TYPE_CHECKING:
    from pipelines.calibrate import Chosen, LotRate, LotRates, ScoredRun
    from schemas.cards import Level

Traits = Annotated[
    list[str] | None,
    typer.Option("--trait", help="Only this trait; repeatable (default: all traits of the run)."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--max-false-positive-rate",
        help="Each trait fires on at most this share of clean rows.",
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        "--clean-share",
        help="Of the findings of all traits together, at most this share is on clean rows, on "
        "average.",
    ),
]
Misses = Annotated[
    float | None,
    typer.Option("--max-misses", help="Each trait misses at most this share of its rows."),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        help="How sure a rate or a share of misses is (default: 0.95 for a rate; misses are kept "
        "on average).",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option("--labels", metavar="FILE", help="Labels of rows of RUN, drawn at random."),
]
Field = Annotated[
    Literal["teacher", "prompt_source", "system_prompt", "date"] | None,
    typer.Option("--by", help="Test whether clean labelled rows differ by this field of a lot."),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="POLICY", help="Write the policy to this file."),
]

CONFIDENCE = 0.95

SURE = 0.05
"""The q-value up to which a lot's scores are called higher or lower."""


class CalibrationResult(NamedTuple):
    """New thresholds, what they promise, and the policy's file if it was written."""

    run: str
    promise: str
    chosen: Sequence[Chosen]
    lots: Sequence[LotRates]
    path: str | None
    warnings: Sequence[str] = ()
    unused: Mapping[str, Sequence[str]] = MappingProxyType({})
    """Why labels of a trait weren't used."""

    def render(self) -> Iterator[str | Table]:
        """Return the promise, the thresholds, the lots and the next command."""
        yield self.promise
        yield from (f"warning: {text}" for text in self.warnings)
        table = build_table("trait", "score ≥>", "rows>", "was ≥>", "rows then>", "texts>")
        for item in self.chosen:
            value = "-" if item.value is None else f"{item.value:.4f}"
            counts = (f"{item.before:.4f}", f"{item.rows_before:,}", f"{item.basis:,}")
            table.add_row(item.trait, value, f"{item.rows:,}", *counts)
        yield table
        for note in dict.fromkeys(item.note for item in self.chosen if item.note):
            traits = [item.trait for item in self.chosen if item.note == note]
            yield f"{list_names(traits)}: {note}"
        for trait, reasons in self.unused.items():
            yield f"{trait}: not used: {list_names(reasons)}"
        for found in self.lots:
            yield describe_lots(found)
        if self.path is not None:
            run, path = shlex.quote(self.run), shlex.quote(self.path)
            yield Verbatim(f"next: congener decide {run} --policy {path} --output RUN2")

    def to_json(self) -> dict[str, Any]:
        """Return the promise, the thresholds and the lots."""
        lots = [
            {
                **item._asdict(),
                "test": item.test._asdict(),
                "scores": {"statistic": item.scores.statistic, "p": item.scores.p},
                "lots": [r._asdict() for r in item.lots],
            }
            for item in self.lots
        ]
        return {
            "promise": self.promise,
            "thresholds": [item._asdict() for item in self.chosen],
            "lots": lots,
            "policy": self.path,
            "warnings": list(self.warnings),
            "unused_labels": {trait: list(reasons) for trait, reasons in self.unused.items()},
        }


def describe_lots(found: LotRates) -> str:
    """Say whether lots differ, with both tests, and with each lot's counts and its shift."""
    verb = "differ" if found.differ else "don't differ"
    tests = f"at the threshold p = {found.test.p:.4f}, in all scores p = {found.scores.p:.4f}"
    listed = ", ".join(map(_describe_lot, found.lots))
    return f"{found.trait}: the clean rows of lots {verb} ({tests}): {listed}"


def _describe_lot(lot: LotRate) -> str:
    notes = []
    if lot.q <= SURE:
        side, share = ("higher", lot.above) if lot.above > 0.5 else ("lower", 1 - lot.above)
        notes.append(f"{side} than other lots' rows in {share:.0%} of pairs, q = {lot.q:.4f}")
    if lot.threshold is not None:
        notes.append(f"own threshold {lot.threshold:.4f}")
    return f"{lot.lot} {lot.reached} of {lot.clean}" + (f" ({'; '.join(notes)})" if notes else "")


def calibrate_run(
    run: Run,
    traits: Traits = None,
    rate: Rate = None,
    share: Share = None,
    misses: Misses = None,
    confidence: Confidence = None,
    labels: Labels = None,
    by: Field = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Choose a run's thresholds by what they promise.

    The promise is one of three: a share of clean rows at most, a share of clean rows among all
    findings, or a share of missed rows. It is kept if the run's clean rows are like its calibration
    texts, and its rows with a trait like the labelled ones or the card's positives. Nothing in RUN
    changes: decide applies the written policy.

    congener calibrate run/ --max-false-positive-rate 0.002 -o policy.yaml
    congener calibrate run/ --clean-share 0.1 -o policy.yaml
    congener calibrate run/ --max-misses 0.2 --labels read.jsonl
    congener calibrate run/ --max-false-positive-rate 0.01
      --labels read.jsonl --by teacher -o policy.yaml
    """
    _check_options(run, (rate, share, misses), confidence, labels, by)

    from pipelines.calibrate import (
        bound_clean_rate,
        bound_clean_share,
        bound_misses,
        build_policy,
        compare_clean_lots,
        describe_unlike,
        read_all_labelled,
        read_scored_run,
        write_policy,
    )
    from schemas.cards import Level

    scored = read_scored_run(run, traits or ())
    known = labels and read_all_labelled(scored, Path(expand_argument(labels)))
    level: Level | None = None
    if rate is not None:
        level = Level(max_false_positive_rate=rate, confidence=confidence or CONFIDENCE)
        chosen = bound_clean_rate(scored, level)
    elif share is not None:
        chosen = bound_clean_share(scored, share)
    else:
        chosen = bound_misses(scored, misses or 0, confidence, known or None)
    lots: Sequence[LotRates] = ()
    if by is not None and known and level is not None:
        lots = compare_clean_lots(chosen, known, by, level)
    file = output and expand_argument(output)
    if file:
        write_policy(file, build_policy(scored.manifest, chosen, level, lots, by or "teacher"))
    promise = describe_promise(scored, level, share, misses, confidence)
    unlike = [] if misses is not None else describe_unlike(scored)
    unused = {trait: found.unused for trait, found in (known or {}).items() if found.unused}
    print_result(CalibrationResult(run, promise, chosen, lots, file, unlike, unused), as_json)


def describe_promise(
    scored: ScoredRun,
    level: Level | None,
    share: float | None,
    misses: float | None,
    confidence: float | None,
) -> str:
    """Say in one sentence what the thresholds promise."""
    if level is not None:
        return (
            f"with {level.confidence:.0%} confidence for each trait, it fires on at most "
            f"{level.max_false_positive_rate:.2%} of clean rows like its calibration texts"
        )
    if share is not None:
        whose = "this trait" if len(scored.rules) == 1 else f"these {len(scored.rules)} traits"
        return (
            f"on average, at most {share:.1%} of the findings of {whose} are on clean rows, if "
            "these are like the calibration texts"
        )
    sure = "on average" if confidence is None else f"with {confidence:.0%} confidence"
    return (
        f"{sure}, each trait misses at most {misses:.1%} of rows like the texts with the trait; "
        "how many clean rows that costs isn't bounded"
    )


def _check_options(
    run: str,
    promises: Sequence[float | None],
    confidence: float | None,
    labels: str | None,
    by: str | None,
) -> None:
    """Refuse a missing or a second promise, and numbers that aren't shares.

    Raises: CardError: an option is wrong.
    """
    names = ("--max-false-positive-rate", "--clean-share", "--max-misses")
    given = [name for name, value in zip(names, promises, strict=True) if value is not None]
    if len(given) != 1:
        raise CardError(
            f"{' and '.join(given)} are promises of their own" if given else "a promise is needed",
            where="congener calibrate",
            remedy=f"congener calibrate {shlex.quote(run)} --clean-share 0.1, or one of "
            f"{', '.join(names)}",
        )
    for name, value in (*zip(names, promises, strict=True), ("--confidence", confidence)):
        if value is not None and not 0 < value < 1:
            raise CardError(f"{value} isn't between 0 and 1", where=name, remedy="give a share")
    if by is not None and (labels is None or given != [names[0]]):
        raise CardError(
            "needs --labels and --max-false-positive-rate",
            where="--by",
            remedy="a test of clean rows needs rows that somebody read, and a level for each lot",
        )
    if labels is not None and by is None and given != ["--max-misses"]:
        raise CardError(
            "are used for misses and for lots only",
            where="--labels",
            remedy="add --by FIELD, or ask for --max-misses",
        )
