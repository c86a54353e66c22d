"""How long the first and last paragraphs of real answers are, for `scope.opening` and `closing`.

An answer counts if it has several paragraphs, which are divided by blank lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from benchmarks.measure import Report, list_teacher_files, parse_arguments

RECAP = re.compile(r"(?i)(in (conclusion|summary|short)|to (sum|conclude)|overall,|all in all)")
"""The beginning of a last paragraph that sums up."""

SHARES = (50, 75, 90, 95)
LENGTHS = (200, 300, 450, 600)


def read_paragraphs() -> Iterator[list[str]]:
    """Yield the paragraphs of the last answer of each row of all teachers."""
    for file in list_teacher_files():
        for messages in pq.read_table(file, columns=["messages"])["messages"].to_pylist():
            text = next(turn["content"] for turn in reversed(messages))
            parts = re.split(r"\n\s*\n", (text or "").strip())
            if len(parts) > 1:
                yield parts


def describe(name: str, texts: list[str]) -> list[object]:
    """Return a row of the table: counts, percentiles, and the shares up to some lengths."""
    sizes = np.array([len(text) for text in texts])
    shares = [f"{np.mean(sizes <= length):.0%}" for length in LENGTHS]
    return [name, len(sizes), *(int(np.percentile(sizes, share)) for share in SHARES), *shares]


def main() -> None:
    """Measure all answers, and write the table."""
    parse_arguments(main.__doc__ or "")
    answers = list(read_paragraphs())
    groups = {
        "first paragraphs": [parts[0] for parts in answers],
        "last paragraphs": [parts[-1] for parts in answers],
        "last paragraphs that sum up": [part[-1] for part in answers if RECAP.match(part[-1])],
    }
    report = Report("paragraphs", "The length of paragraphs in real answers")
    report.say("Characters of paragraphs, in answers of 50 models that have several of them.")
    header = [f"{share} %" if share != 50 else "median" for share in SHARES]
    header += [f"at most {length}" for length in LENGTHS]
    rows = [describe(name, texts) for name, texts in groups.items()]
    report.add_table(["", "paragraphs", *header], rows)
    report.finish()


if __name__ == "__main__":
    main()
