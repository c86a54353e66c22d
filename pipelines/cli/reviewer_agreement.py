"""What `review --agreement` prints, and the labels that `--merge` writes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from rich.table import Table

from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.review.agreement import ReviewerPair


class ReviewerAgreement(NamedTuple):
    """How far every two reviewers agree, and where the merged labels are."""

    labels: dict[str, int]
    pairs: Sequence[ReviewerPair]
    merged: str | None
    differing: int

    def render(self) -> Iterator[str | Table]:
        """Return the reviewers' labels, a table of pairs, and what was written."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.labels.items())
        yield f"labels: {counts}"
        if not self.pairs:
            yield "No row has labels of two reviewers for the same trait."
        else:
            table = build_table("trait", "reviewers", "rows>", "blind>", "agreed>", "kappa>")
            for pair in self.pairs:
                kappa = "–" if pair.kappa is None else f"{pair.kappa:.2f}"
                names = f"{pair.first}, {pair.second}"
                numbers = (f"{pair.rows:,}", f"{pair.blind:,}", f"{pair.agreed / pair.rows:.0%}")
                table.add_row(pair.trait, names, *numbers, kappa)
            yield table
        if self.merged is not None:
            unsure = f"{format_count(self.differing, 'label')} unsure, because reviewers differ"
            yield f"merged: {shlex.quote(self.merged)} ({unsure})"

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the pairs."""
        pairs = [pair._asdict() for pair in self.pairs]
        return {**self._asdict(), "pairs": pairs}


def print_agreement(run: str, folder: Path, merge: str | None, as_json: bool) -> None:
    """Compare the reviewers of a run, and write their merged labels if a file is named.

    Raises: CongenerError: there are no labels, one was changed, or the file can't be written.
    """
    from pipelines.review.agreement import compare_reviewers, merge_reviews, read_reviews
    from pipelines.runs.manifest_file import load_decided
    from transforms.files.storage import write_bytes

    reviews = read_reviews(folder, load_decided(run))
    lines = list(merge_reviews(reviews))
    if merge is not None:
        write_bytes(merge, b"".join(orjson.dumps(line) + b"\n" for line in lines))
    given = [
        {str(labels[place]["label"]) for labels in reviews.values() if place in labels}
        for place in {place for labels in reviews.values() for place in labels}
    ]
    differing = sum(len(labels) > 1 for labels in given)
    counts = {name: len(labels) for name, labels in reviews.items()}
    print_result(ReviewerAgreement(counts, compare_reviewers(reviews), merge, differing), as_json)
