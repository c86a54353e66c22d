"""Rows that exceptions of an earlier run kept, and that a run of its clean rows takes again."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping

import polars as pl

from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.parent_policies import list_reviews, read_exceptions
from pipelines.runs.queries import FINDINGS
from pipelines.runs.recorded_settings import read_recorded_rules
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.policies import PUBLISHED
from schemas.scores import SIDES, name_side

TAKEN = ("quarantine", "drop")
"""The decisions by which a trait takes a row out of the corpus."""


def describe_taken_again(
    run: str, manifest: Manifest, parents: Mapping[str, str]
) -> Iterator[Notice]:
    """Count the rows of each parent that its exceptions kept and that this run takes out.

    Raises: RunError: a ledger is missing or damaged.
    """
    for folder, run_id in parents.items():
        exceptions = read_exceptions(folder)
        if not exceptions:
            continue
        try:
            count = count_taken_again(run, manifest, folder)
            masked = count_masked_again(run, manifest, folder)
        except RunError as error:
            yield Notice(
                f"whether this run takes out rows that exceptions of {folder} ({run_id}) kept "
                f"isn't known: {error.problem}"
            )
            continue
        if count or masked:
            text = describe_rows(count, masked, folder, run_id)
            yield warn(f"{text}{_name_command(run, list_reviews(exceptions))}")


def describe_rows(taken: int, masked: int, folder: str, run_id: str) -> str:
    """Say how many rows were taken out and masked again."""
    total = taken + masked
    how = "taken out again" if taken else "masked again"
    if taken and masked:
        how = f"taken out ({taken:,}) or masked ({masked:,}) again"
    verb = choose_form(total, "was", "were")
    return f"{format_count(total, 'row')} that exceptions of {folder} ({run_id}) kept {verb} {how}"


def _name_command(run: str, reviews: list[str]) -> str:
    """Name the command that releases the rows, if reviews had released them."""
    if not reviews:
        return ""
    return (
        f"; the labels that released them ({list_names(reviews)}) bring them back: "
        f"congener release {shlex.quote(run)} --reviews LABELS --output RUN2"
    )


def count_taken_again(run: str, manifest: Manifest, parent: str) -> int:
    """Count a run's held and dropped rows that the parent's exceptions kept.

    Those are the parent's clean rows with a finding whose trait takes rows out by its rule. Rows
    are recognised by their record ids, so copies of such a row count too.

    Raises: RunError: the parent isn't a finished run of this version, or a ledger is damaged.
    """
    return _count_again(run, manifest, parent, (*TAKEN, "swap"), (PUBLISHED, TAKEN))


def count_masked_again(run: str, manifest: Manifest, parent: str) -> int:
    """Count a run's masked rows that the parent's exceptions kept without a mask.

    Raises: RunError: the parent isn't a finished run of this version, or a ledger is damaged.
    """
    return _count_again(run, manifest, parent, ("mask",), (("keep", "flag"), ("mask",)))


def _count_again(
    run: str,
    manifest: Manifest,
    parent: str,
    actions: Collection[str],
    decisions: tuple[Collection[str], Collection[str]],
) -> int:
    """Count the rows with a finding whose trait has one of the actions by the parent's rule.

    `decisions` are those in the parent, which only an exception leads to, and those in the run.
    """
    earlier = load_manifest(parent)
    acting = [
        name_side(rule.trait, side)
        for rule in read_recorded_rules(earlier)
        for side in SIDES
        if rule.get_action(side) in actions
    ]
    kept = (
        scan_folder(parent, earlier, "ledger")
        .filter(pl.col("decision").is_in(decisions[0]), pl.col("reasons").list.len() > 0)
        .select("record_id", found=FINDINGS)
        .explode("found")
        .filter(pl.col("found").is_in(acting))
        .select("record_id")
        .unique()
    )
    taken = scan_folder(run, manifest, "ledger").filter(pl.col("decision").is_in(decisions[1]))
    found = taken.join(kept, on="record_id", how="semi").select(pl.len())
    return int(found.collect(engine="streaming").item())
