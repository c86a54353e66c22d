"""The rows that a policy's exceptions name: their places in the corpus, or why there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from schemas.errors import CardError
from schemas.manifests import Manifest
from schemas.notices import format_count, list_names, suggest_name
from schemas.policies import LotException, Policy
from schemas.row_names import RowName
from transforms.files.kinds import TABLES
from transforms.files.planning import ShardPlan
from transforms.files.shards import read_task
from transforms.files.sources import Corpus
from transforms.records.columns import (
    find_column,
    find_type,
    list_nested,
    split_steps,
    take_column,
)
from transforms.records.json_columns import select_columns
from transforms.records.plain_values import list_values

Place = tuple[str, int]
"""A file and the number of a row in it."""

PLACES_SHOWN = 3


def find_named_rows(policy: Policy, corpus: Corpus, tasks: Iterable[Sequence[ShardPlan]]) -> Policy:
    """Return the policy with the places of rows that it names by a column of the corpus.

    For such names, the column is read in the whole corpus. A value that no row has gets no place.

    Raises: CardError: the corpus doesn't have the column, or several rows have the value.
    """
    wanted: dict[str, set[str]] = {}
    for number, item in enumerate(policy.exceptions, 1):
        if item.row is not None and item.row.column is not None:
            _require_column(number, item.row.column, corpus)
            wanted.setdefault(item.row.column, set()).add(str(item.row.value))
    if not wanted:
        return policy
    found: dict[tuple[str, str], list[Place]] = {}
    for name, value, place in _read_values(wanted, corpus, tasks):
        found.setdefault((name, value), []).append(place)
    exceptions = (_add_place(*item, found) for item in enumerate(policy.exceptions, 1))
    return policy.model_copy(update={"exceptions": tuple(exceptions)})


def _require_column(number: int, column: str, corpus: Corpus) -> None:
    known = corpus.schema.names
    head = find_column(column, known)
    # the schema of JSON doesn't say which keys are inside an object
    is_below = head is not None and bool(split_steps(column[len(head) :]))
    is_json = corpus.sources[0].kind not in TABLES
    if find_type(corpus.schema, column) is not None or (is_json and is_below):
        return
    nested = list(list_nested(corpus.schema, column))
    kind = f"the keys of {head!r}" if nested else "the columns"
    listed = nested or known
    raise CardError(
        f"exception {number} of the policy names a row by the column {column!r}, which the "
        "corpus doesn't have",
        remedy=f"{suggest_name(column, listed)}{kind} are {list_names(listed)}",
    )


def _read_values(
    wanted: Mapping[str, set[str]], corpus: Corpus, tasks: Iterable[Sequence[ShardPlan]]
) -> Iterator[tuple[str, str, Place]]:
    """Yield the wanted values of the columns, and where they are."""
    schema = corpus.schema
    if corpus.sources[0].kind not in TABLES:
        schema = select_columns(schema, (), wanted)
    for task in tasks:
        for shard in read_task(task, schema):
            places = list(zip(shard.sources, shard.numbers, strict=True))
            for name, values in wanted.items():
                column = list_values(take_column(shard.table, name))
                for value, place in zip(column, places, strict=True):
                    if str(value) in values:
                        yield name, str(value), place


def _add_place(
    number: int, item: LotException, found: Mapping[tuple[str, str], Sequence[Place]]
) -> LotException:
    if item.row is None or item.row.column is None:
        return item
    places = found.get((item.row.column, str(item.row.value)), ())
    if len(places) > 1:
        shown = [f"{source}:{row}" for source, row in places[:PLACES_SHOWN]]
        raise CardError(
            f"exception {number} of the policy ({item.describe()}) names "
            f"{format_count(len(places), 'row')}: {list_names(shown)}"
            f"{' and others' if len(places) > PLACES_SHOWN else ''}",
            remedy="name one row by FILE:NUMBER, as here",
        )
    named = dict(zip(("source", "row"), places[0], strict=True)) if places else {}
    return item.model_copy(update={"row": item.row.model_copy(update=named)})


def explain_missing(number: int, item: LotException, row: RowName, manifest: Manifest) -> str:
    """Say that an exception matches no row, and which rows there are."""
    sizes = {source.name: source.rows for source in manifest.inputs}
    why = "its record id isn't in the ledger; a row whose text changes gets another id"
    if row.source is not None and row.source not in sizes and manifest.parents:
        why = (
            "the input has clean rows of an earlier run, whose files have other names and numbers "
            "of rows; name the row by its record id, which stays the same"
        )
    elif row.source is not None and row.source not in sizes:
        why = f"{suggest_name(row.source, sizes)}the input's files are {list_names(sizes)}"
    elif row.source is not None and (row.row or 0) >= sizes[row.source]:
        why = f"the file has {format_count(sizes[row.source], 'row')}, counted from 0"
    elif row.source is not None:
        why = "the row is a reject, or isn't in these lots"
    elif row.column is not None:
        why = f"no row has this value in the column {row.column}"
    return f"exception {number} of the policy ({item.describe()}) matches no row: {why}"


def require_places(policy: Policy, recorded: Policy, run: str) -> None:
    """Refuse rows that are named by a column, which a run's ledger doesn't have.

    Rows that the run's own policy names may be among them.

    Raises: CardError: another row is named by a column.
    """
    known = [item.row for item in recorded.exceptions]
    for number, item in enumerate(policy.exceptions, 1):
        if item.row is not None and not item.row.key and item.row not in known:
            raise CardError(
                f"exception {number} of the policy names a row by the column {item.row.column!r}, "
                f"which the ledger of {run} doesn't have",
                remedy="name the row by FILE:NUMBER or by its record id",
            )
