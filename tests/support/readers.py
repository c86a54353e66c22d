"""A reader in place of a person, for commands on documentation pages that open a page or ask.

python -m tests.support.readers rows RUN NAME
python -m tests.support.readers items RUN SHEET NAME
python -m tests.support.readers lines FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipelines.certifying.records import read_sample
from pipelines.review.audits import AuditSession
from pipelines.review.judgements import LabelBook, name_file
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import FIRED, Filters, scan_ledger

DENIED = 3  # of the held rows, the first ones


def find_review(run: str) -> Path:
    """Return the folder of a run's labels, as the review page names it."""
    return Path(f"{run.rstrip('/')}.review")


def label_rows(run: str, reviewer: str) -> None:
    """Deny every finding of the first held rows."""
    manifest, folder = load_manifest(run), find_review(run)
    folder.mkdir(exist_ok=True)
    book = LabelBook(folder / name_file(reviewer), reviewer, manifest.digest)
    held = scan_ledger(run, manifest, Filters(decision="quarantine")).with_columns(fired=FIRED)
    for row in held.head(DENIED).collect().iter_rows(named=True):
        for trait in row["fired"]:
            book.add(row, trait, "no")


def label_items(run: str, sheet: str, reviewer: str) -> None:
    """Say what each item of an audit is: seeded texts show their trait, and rows show none."""
    sample = read_sample(run)
    assert sample is not None
    audit = AuditSession(run, sample, Path(sheet), find_review(run), reviewer)
    for index, item in enumerate(audit.sample.items):
        if item.trait:
            audit.add_label({"index": index, "trait": item.trait, "label": "yes"})
        audit.add_label({"index": index, "trait": sample.traits[0], "label": "none"})


def label_lines(path: str) -> None:
    """Label every second line of a file of rows true, and the others false."""
    file = Path(path)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    labelled = [{**line, "label": number % 2 == 0} for number, line in enumerate(lines)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in labelled)
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    {"rows": label_rows, "items": label_items, "lines": label_lines}[sys.argv[1]](*sys.argv[2:])
