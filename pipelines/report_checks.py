"""What `congener verify` checks of a run's report: its page and its tables, made again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from pipelines.certifying.drawings import explain_page
from pipelines.report import render_report
from pipelines.runs.foreign_files import REPORT_FILES
from pipelines.runs.rates import compare_groups
from pipelines.runs.shard_checks import Finding
from pipelines.teacher_pairs import compare_pairs
from pipelines.version import name_code
from schemas.errors import InputError
from schemas.manifests import Manifest
from schemas.notices import choose_form
from schemas.runs import RATES_TABLE, REPORT_PAGE
from transforms.files import storage

REPORT_HEAD = 1000
"""How many bytes of a report are searched for its version."""
REPORT_VERSION = re.compile(rb'<meta name="generator" content="congener ([\w.+-]{1,40})">')


def describe_page_check(run: str) -> str:
    """Say whether the report's page was compared, or why not."""
    there = [path for path in REPORT_FILES if storage.exists(storage.join(run, path))]
    if there and REPORT_PAGE not in there:
        verb = choose_form(len(there), "was", "were")
        return f"missing (only {' and '.join(there)} {verb} compared)"
    if there and find_report_version(run) not in (None, name_code()):
        return "not compared (another version's)"
    return "compared" if there else "none"


def find_report_version(run: str) -> str | None:
    """Return the version of congener in a run's report, or None."""
    found = REPORT_VERSION.search((_read_report_file(run, REPORT_PAGE) or b"")[:REPORT_HEAD])
    return found[1].decode() if found else None


def _read_report_file(run: str, path: str) -> bytes | None:
    """Return the content of a report's file, or None if it is missing or can't be read."""
    uri = storage.join(run, path)
    try:
        return storage.read_bytes(uri) if storage.exists(uri) else None
    except InputError:
        return None


def check_report(run: str, manifest: Manifest) -> Iterator[Finding]:
    """If this version wrote the report, make it again, and yield what differs.

    The page and its tables are compared. Any of them may be missing, but not the rates beside the
    page.

    Raises: RunError: a file that the manifest lists is missing or damaged.
    """
    there = [path for path in REPORT_FILES if storage.exists(storage.join(run, path))]
    if not there or find_report_version(run) not in (None, name_code()):
        return
    rates = compare_groups(run, manifest)
    pairs = compare_pairs(run, manifest) if there != [RATES_TABLE] else None
    # without the page is fine: it quotes the corpus
    if REPORT_PAGE in there and RATES_TABLE not in there:
        yield Finding(RATES_TABLE, "is missing, although the report's page is there")
    for path in there:
        if storage.find_link(run, path):
            yield Finding(path, "is a link, so its content isn't part of the run")
            continue
        data = _read_report_file(run, path)
        if data is None:
            yield Finding(path, "can't be read")
            continue
        if path == REPORT_PAGE:
            is_same = data == render_report(run, manifest, rates, pairs).encode()
        elif path == RATES_TABLE:
            is_same = _holds_table(data, rates.table)
        else:
            is_same = pairs is not None and _holds_table(data, pairs.table)
        if not is_same:
            yield Finding(path, explain_page(run, data))


def _holds_table(data: bytes, expected: pl.DataFrame) -> bool:
    try:
        return pl.read_parquet(data).equals(expected)
    except (pl.exceptions.PolarsError, OSError):
        return False
