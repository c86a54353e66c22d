"""Closing remarks about a run: whose masks it carries, what resembles negatives, prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.receipts import Receipt


def describe_masks(manifest: Manifest) -> str:
    """Say how many clean rows have masks and whose, such as `10 have masks (4 only from run 3f)`.

    The text is empty if no row has a mask.
    """
    notes = manifest.notes
    if not notes.masked:
        return ""
    said = f"{notes.masked:,} {choose_form(notes.masked, 'has', 'have')} masks"
    if not notes.masked_before:
        return said
    count = "" if notes.masked_before == notes.masked else f"{notes.masked_before:,} "
    return f"{said} ({count}only from {manifest.describe_parents()})"


def describe_still_masked(manifest: Manifest) -> Iterator[Notice]:
    """Count the rows that this run's policy only flags, but that an earlier run masked."""
    if count := manifest.notes.still_masked:
        rows, verb = format_count(count, "row"), choose_form(count, "stays", "stay")
        yield Notice(
            f"{rows} that this policy only flags {verb} masked from "
            f"{manifest.describe_parents()}; filter the original input to undo that"
        )


def describe_doubts(manifest: Manifest) -> Iterator[Notice]:
    """Name the traits whose quarantined rows are all nearest to a negative exemplar."""
    if found := [
        f"{trait} ({format_count(near.rows, 'row')})"
        for trait, near in manifest.nearest.items()
        if near.rows and near.negative == near.rows
    ]:
        yield Notice(
            "all quarantined rows of these traits are nearest to a negative exemplar, so they may "
            f"be mistakes: {list_names(found)}"
        )


def describe_prompts(receipts: Sequence[Receipt]) -> Iterator[Notice]:
    """Describe how many rows lack a prompt, and how many prompts are incomplete."""
    if unprompted := sum(receipt.unprompted for receipt in receipts):
        yield warn(
            f"rows held for another teacher that aren't on the swap list: {unprompted:,}, because "
            "they have no text before the answer. They stay in quarantine until you decide about "
            "them"
        )
    if incomplete := sum(receipt.incomplete for receipt in receipts):
        yield Notice(
            f"prompts on the swap list that lack something, such as an image: {incomplete:,}; the "
            "column `missing` says what"
        )
