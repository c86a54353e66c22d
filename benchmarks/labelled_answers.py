"""Compare what the library flags with labels, on real answers that were all read.

The folder `../shared/data/labels` lists the answers (`rows-read.txt`) and what was found in them
(`labels.csv`, with `sure` and `borderline` cases). These answers were looked at while the library
was being built, so its figures on other answers may be lower.
"""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.measure import Report, find_data, list_teacher_files, parse_arguments, time_filter
from benchmarks.quirks import format_share
from classifiers.library import find_cards
from pipelines.config import FilterConfig, Hardware


class Labels(NamedTuple):
    """The rows that show one trait, surely or at all."""

    sure: set[int]
    shown: set[int]


def main() -> None:
    options = parse_arguments(__doc__ or "", signals="all", device="cpu")
    names = (find_data("labels") / "rows-read.txt").read_text(encoding="utf-8").split()
    labels = read_labels(names)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(collect_answers(names), f"{folder}/answers.parquet")
        config = FilterConfig(
            input=(f"{folder}/answers.parquet",),
            output=f"{folder}/run",
            signals=() if options.signals == "all" else tuple(options.signals.split(",")),
            hardware=Hardware(device=options.device),
        )
        time_filter(config, [])
        flagged = read_flags(f"{folder}/run")
    report = Report("labelled_answers", "What the library flags in answers that were all read")
    report.say(
        f"{len(names):,} real answers, read for all traits; the library's traits, signals: "
        f"{options.signals}, default thresholds. A flag is right if the row is a sure or a "
        "borderline case; only sure cases count as found. The brackets hold exact "
        "(Clopper-Pearson) 95 % intervals. The answers were looked at while the library was being "
        "built."
    )
    traits = [card.id for card in find_cards()]
    report.add_table(
        ["trait", "flags", "right", "sure cases", "found"],
        [
            *(build_row(trait, flagged, labels, [trait]) for trait in traits),
            build_row("all", flagged, labels, traits),
        ],
    )
    report.finish()


def read_labels(names: Sequence[str]) -> Mapping[str, Labels]:
    """Read which of the named rows show which trait."""
    row_of = {name: row for row, name in enumerate(names)}
    found: defaultdict[str, Labels] = defaultdict(lambda: Labels(set(), set()))
    with (find_data("labels") / "labels.csv").open(encoding="utf-8") as file:
        for item in csv.DictReader(file):
            labels, row = found[item["trait"]], row_of[item["id"]]
            labels.shown.add(row)
            if item["confidence"] == "sure":
                labels.sure.add(row)
    return found


def collect_answers(names: Sequence[str]) -> pa.Table:
    """Return the named rows of the teachers' files, in the order of the names."""
    table = pa.concat_tables([pq.read_table(file) for file in list_teacher_files()])
    row_of = {name: row for row, name in enumerate(table["id"].to_pylist())}
    return table.take([row_of[name] for name in names])


def read_flags(run: str) -> Mapping[str, set[int]]:
    """Read the rows that each trait flags from a run's ledger."""
    flagged: defaultdict[str, set[int]] = defaultdict(set)
    for item in ds.dataset(f"{run}/ledger", format="parquet").to_table().to_pylist():
        for reason in item["reasons"]:
            flagged[reason["trait"]].add(item["row"])
    return flagged


def build_row(
    name: str,
    flagged: Mapping[str, Collection[int]],
    labels: Mapping[str, Labels],
    traits: Sequence[str],
) -> tuple[object, ...]:
    """Return the table row that counts the flags and the sure cases of these traits."""
    flags = sum(len(flagged[trait]) for trait in traits)
    right = sum(len(labels[trait].shown & set(flagged[trait])) for trait in traits)
    sure = sum(len(labels[trait].sure) for trait in traits)
    found = sum(len(labels[trait].sure & set(flagged[trait])) for trait in traits)
    shares = [format_share(*pair) if pair[1] else "–" for pair in ((right, flags), (found, sure))]
    return (name, flags, shares[0], sure, shares[1])


if __name__ == "__main__":
    main()
