"""Sides: which texts the student learns to write, and which are rejected or untrained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.corpora import LotField
from schemas.scores import SIDES, Side
from transforms.records.column_types import WRAPPERS, is_text
from transforms.records.columns import find_type, get_value, is_list
from transforms.records.companions import Companions, list_messages
from transforms.records.flags import (
    FLAGS,
    is_untrained,
    list_unread_flags,
    read_label,
    read_weight,
)
from transforms.records.formats import Layout
from transforms.records.json_columns import HAS_UNTRAINED
from transforms.records.segments import Segments

LABELS = ("label", "kto_tag", "preference")
"""The columns that say whether an answer is wanted.

In the `text` format, `label` means something else.
"""

TEACHERS_OF_SIDES = tuple(
    tuple(pattern.format(side) for side in ("chosen", "rejected"))
    for pattern in (
        *("{}_model", "{}_teacher", "{}_generator", "model_{}", "teacher_{}"),
        *("{}-model", "{}_model_name", "{}_policy", "{}_source_model"),
    )
)
"""Usual names for the columns of a pair's teachers, the chosen side first."""

FLAG_CHECKS = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
    *(pa.types.is_decimal, is_text),
)
"""Checks for a flag's types."""

REJECTED = SIDES.index("rejected")
UNTRAINED = SIDES.index("untrained")


def settle_sides(schema: pa.Schema, layout: Layout, has_teacher: bool) -> Layout:
    """Add the possible sides of texts, and a pair's two teachers, to a layout.

    `has_teacher` says whether the user named the teacher.
    """
    names = [name for name in _list_labels(layout) if name in schema.names]
    labels = tuple(name for name in names if pa.types.is_boolean(schema.field(name).type))
    layout = layout._replace(labels=labels)
    layout = layout._replace(sides=tuple(_list_sides(schema, layout)))
    if layout.format != "preference":
        return layout
    for chosen, rejected in TEACHERS_OF_SIDES:
        if rejected in schema.names and not pa.types.is_nested(schema.field(rejected).type):
            teacher = {} if has_teacher or chosen not in schema.names else {"teacher": chosen}
            lots = layout.lots | {name: LotField(column=own) for name, own in teacher.items()}
            return layout._replace(lots=lots, rejected_teacher=rejected)
    return layout


def _list_sides(schema: pa.Schema, layout: Layout) -> Iterator[Side]:
    """Yield the possible sides except `trained`, in the order of `SIDES`."""
    if layout.format == "preference" or "rejected_response" in layout.columns or layout.labels:
        yield "rejected"
    columns = (find_type(schema, name) for name in layout.columns.values())
    is_flagged = any(kind is not None and _has_flags(kind) for kind in columns)
    if is_flagged or HAS_UNTRAINED in (schema.metadata or {}):
        yield "untrained"


def _list_labels(layout: Layout) -> tuple[str, ...]:
    names = LABELS if layout.format != "text" else LABELS[1:]
    return tuple(name for name in names if name not in layout.columns.values())


def find_unread_labels(schema: pa.Schema, layout: Layout) -> list[str]:
    """Return the columns that have a label's name but don't hold bools.

    Their meaning depends on their values (see `settle_labels`).
    """
    if layout.format in ("text", "preference"):
        return []
    kinds = {name: schema.field(name).type for name in _list_labels(layout) if name in schema.names}
    checks = (pa.types.is_null, pa.types.is_nested)
    return [
        name
        for name, kind in kinds.items()
        if name not in layout.labels and not any(check(kind) for check in checks)
    ]


def settle_labels(layout: Layout, values: Mapping[str, Sequence[Any]]) -> Layout:
    """Add to a layout the columns whose sampled values are labels.

    Every value must be a known label, and at least one answer must be wanted. A column that
    is all zeros is probably not a label.
    """
    read = [name for name, found in values.items() if _are_labels(found)]
    if not read:
        return layout
    sides = tuple(side for side in SIDES if side == "rejected" or side in layout.sides)
    return layout._replace(labels=(*layout.labels, *read), sides=sides)


def _are_labels(values: Sequence[Any]) -> bool:
    known = [read_label(value) for value in values if value not in (None, "")]
    return True in known and None not in known


def find_untrained_rows(values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the columns that have a flag's name and some value that means 0."""
    return [name for name, found in values.items() if 0 in map(read_weight, found)]


def list_flag_columns(schema: pa.Schema, layout: Layout) -> list[str]:
    """Return the unread columns that have a flag's name."""
    return [name for name in FLAGS if name in schema.names and name not in layout.columns.values()]


def count_unread_flags(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Counter[str]:
    """Count each flag's unknown values in some columns' messages."""
    names = list(columns)
    return Counter(
        flag
        for row in rows
        for name in names
        for _, message in list_messages(get_value(row, name))
        for flag in list_unread_flags(message)
    )


def _has_flags(kind: pa.DataType) -> bool:
    """Return whether a type holds messages with a training flag."""
    kind = kind.value_type if is_list(kind) else kind
    return pa.types.is_struct(kind) and any(
        (item.name in FLAGS and any(check(item.type) for check in FLAG_CHECKS))
        or (item.name in WRAPPERS and _has_flags(item.type))
        for item in kind
    )


def assign_sides(
    segments: Segments, layout: Layout, companions: Mapping[int, Companions]
) -> Segments:
    """Return the segments with their sides.

    A pair's rejected side is rejected, and so is the answer of a row with a false label. A message
    with a weight of 0 or a false flag is untrained, on either side.
    """
    if not layout.sides:
        return segments
    columns = {own for name, own in layout.columns.items() if name.startswith("rejected")}
    rejected = np.array([path.column in columns for path in segments.fields], bool)
    sides = np.zeros(len(segments), np.int8)
    sides[rejected[segments.field_codes]] = REJECTED
    untrained: list[tuple[int, str, int]] = []
    for row, item in companions.items():
        if any(read_label(item.columns.get(name)) is False for name in layout.labels):
            sides[_find_last_answer(segments, segments.find_in_row(row))] = REJECTED
        untrained += [
            (row, layout.columns[name], message)
            for (name, message), fields in item.messages.items()
            if is_untrained(fields)
        ]
    sides[_find_messages(segments, untrained)] = UNTRAINED
    return replace(segments, sides=sides, other_sides=layout.sides)


def _find_messages(segments: Segments, wanted: Iterable[tuple[int, str, int]]) -> list[int]:
    """Return the indices of some messages' segments.

    Messages are given by row, column and index.
    """
    messages = set(wanted)
    if not messages:
        return []
    inside = np.flatnonzero(np.isin(segments.rows, [row for row, *_ in messages])).tolist()
    rows, numbers = segments.rows[inside].tolist(), segments.messages[inside].tolist()
    columns = [segments.fields[code].column for code in segments.field_codes[inside].tolist()]
    places = zip(rows, columns, numbers, strict=True)
    return [index for index, place in zip(inside, places, strict=True) if place in messages]


def _find_last_answer(segments: Segments, own: range) -> list[int]:
    """Return the indices of a row's last run of assistant segments."""
    others = [
        index for index in own if segments.role_names[segments.role_codes[index]] != "assistant"
    ]
    return list(range(others[-1] + 1 if others else own.start, own.stop))
