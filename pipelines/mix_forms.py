"""The form of a run's clean rows, which the rows of a mix's donors must have too."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipelines.runs.finished import list_outputs
from pipelines.runs.layouts import restore_layout
from pipelines.runs.recorded_settings import read_recorded_rules
from pipelines.swap_donors import FilteredDonor
from schemas.errors import InputError
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, list_names, warn
from transforms.mix_rows import CleanForm, Comparison, compare_keys, compare_tables, find_kinds
from transforms.records.formats import Layout
from transforms.stored_rows import read_stored_rows

SAMPLE_ROWS = 5_000
"""How many rows of JSON Lines are looked at for the keys of a corpus."""


def describe_form(run: str, parent: Manifest, layout: Layout) -> CleanForm:
    """Return the form of a run's clean rows, from the first file of `clean/`."""
    outputs = list_outputs(parent, "clean")
    rules = read_recorded_rules(parent)
    can_note = any(rule.list_actions(layout.sides) & {"flag", "mask"} for rule in rules)
    noted = can_note or parent.swap is not None
    if not outputs:
        return CleanForm(layout, None, {}, noted)
    schema, keys = _read_columns(run, outputs[0].path, layout)
    return CleanForm(layout, schema, keys, noted)


def _read_columns(
    run: str, path: str, layout: Layout
) -> tuple[pa.Schema | None, dict[str, frozenset[str]] | None]:
    """Return the columns of a file's rows without notes: a schema, or keys with their kinds."""
    stored = read_stored_rows(run, path, layout)
    if stored.lines is None:
        return stored.table.schema, None
    return None, find_kinds(stored.records[:SAMPLE_ROWS])


def require_same_form(parent: Manifest, form: CleanForm, donor: FilteredDonor) -> Iterator[Notice]:
    """Refuse a donor whose rows don't have the form of the run's, and say which columns differ.

    Raises: InputError: the format, the columns with text or a type differ, or an earlier run's
    masks or flags are on the donor's rows.
    """
    name = donor.record.name
    _require_layout(parent, donor)
    notes = donor.manifest.notes
    if notes.masked_before or notes.flagged_before:
        raise InputError(
            "has rows that an earlier run masked or flagged",
            where=f"donor {name}",
            remedy="give the corpus from before that run, or leave these rows out",
        )
    outputs = list_outputs(donor.manifest, "clean")
    if not outputs:
        yield warn(f"donor {name} has no clean row")
        return
    layout = restore_layout(donor.run, donor.manifest)
    schema, keys = _read_columns(donor.run, outputs[0].path, layout)
    if form.schema is not None and schema is not None:
        found = compare_tables(form.schema, schema)
    else:
        found = compare_keys(form.keys or {}, keys or {})
    if found.misfit is not None:
        raise InputError(
            f"{found.misfit}, so its rows can't be added",
            where=f"donor {name}",
            remedy="rename or convert the column in the donor",
        )
    yield from _describe_columns(name, found)


def _require_layout(parent: Manifest, donor: FilteredDonor) -> None:
    own, other = parent.identity, donor.manifest.identity
    if other.format != own.format:
        problem = f"is in the format {other.format}, and the run in {own.format}"
    elif not other.columns.items() <= own.columns.items():
        one, two = (", ".join(sorted(set(item.columns.values()))) for item in (other, own))
        problem = f"has its text in other columns than the run ({one} instead of {two})"
    elif other.transcripts != own.transcripts:
        problem = "has whole conversations in one text, or the run has"
    else:
        return
    raise InputError(
        f"{problem}, so its rows can't be added",
        where=f"donor {donor.record.name}",
        remedy="convert the donor to the format and the column names of the run's corpus",
    )


def _describe_columns(name: str, found: Comparison) -> Iterator[Notice]:
    """Name the columns that added rows leave out or leave empty."""
    if found.surplus:
        verb = choose_form(
            len(found.surplus), "isn't in the run and is", "aren't in the run and are"
        )
        yield Notice(f"donor {name}: {list_names(found.surplus)} {verb} left out")
    if found.lacking:
        yield Notice(f"donor {name}: its rows have no {list_names(found.lacking)}")
