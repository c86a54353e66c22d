"""The history of a monitor: a folder to which generations are added, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from classifiers.lots.inventories import Inventory
from pipelines.monitoring.teacher_counts import decode_counts, encode_counts
from pipelines.teaching.files import write_json
from schemas.digests import digest_bytes
from schemas.errors import RunError
from schemas.histories import CHANGES_FILE, FORMAT, PAGE, TEACHERS, name_generation
from transforms.files import storage

DAMAGED = "restore the file from a copy, or begin another history"


class Generation(NamedTuple):
    """A generation in a history.

    `texts` are all its texts, and `digest` identifies those that were counted. `record` is the
    digest of its JSON file, by which the next generation is chained to it. `teachers` counts its
    texts by teacher, and is None if it was recorded before teachers were counted. `by_teacher` has
    the inventories of its largest teachers, and is None if they weren't recorded.
    """

    number: int
    name: str
    texts: int
    digest: str
    inventory: Inventory
    record: str
    previous: str | None = None
    teachers: dict[str, int] | None = None
    by_teacher: dict[str, Inventory] | None = None


def require_history(history: str) -> None:
    """Refuse a folder that holds other files than a history.

    Raises: RunError: it does.
    """
    begun = any(
        storage.exists(storage.join(history, name_generation(1, ending)))
        for ending in ("json", "parquet")
    )
    if not begun and storage.has_files(history):
        raise RunError(
            "isn't empty and holds no history",
            where=history,
            remedy="choose another --history, or an empty folder",
        )


def read_history(history: str) -> list[Generation]:
    """Return the generations of a history, the oldest first.

    Raises: RunError: a file is missing or was changed, or has another format.
    """
    generations: list[Generation] = []
    previous = None
    number = 1
    while storage.exists(path := storage.join(history, name_generation(number, "json"))):
        try:
            found = _read_generation(history, storage.read_bytes(path), number)
        except Exception as error:
            raise RunError(f"is damaged: {error}", where=path, remedy=DAMAGED) from error
        if found is None or found.previous != previous:
            raise RunError(
                "doesn't fit the other files of the history, so one of them was changed, or is of "
                "another version",
                where=path,
                remedy=DAMAGED,
            )
        generations.append(found)
        previous, number = found.record, number + 1
    _require_whole(history, len(generations))
    return generations


def _read_generation(history: str, data: bytes, number: int) -> Generation | None:
    """Return a generation, or None if its files don't belong together."""
    fields: dict[str, Any] = json.loads(data)
    counts = storage.read_bytes(storage.join(history, name_generation(number, "parquet")))
    if fields["format"] != FORMAT or digest_bytes(counts) != fields["counts_sha256"]:
        return None
    learning, confirming = fields["halves"]
    inventory = Inventory.decode(counts, (learning, confirming), fields["fewest"])
    by_teacher = None
    if (sizes := fields.get("teacher_halves")) is not None:
        parts = storage.read_bytes(storage.join(history, name_generation(number, TEACHERS)))
        if digest_bytes(parts) != fields["teacher_counts_sha256"]:
            return None
        by_teacher = decode_counts(parts, sizes)
    elif len(fields.get("teachers") or ()) == 1:
        by_teacher = dict.fromkeys(fields["teachers"], inventory)
    return Generation(
        number,
        fields["name"],
        fields["texts"],
        fields["digest"],
        inventory,
        digest_bytes(data),
        fields["previous"],
        fields.get("teachers"),
        by_teacher,
    )


def _require_whole(history: str, count: int) -> None:
    """Refuse a history in which a generation is missing.

    Raises: RunError: there is a later one.
    """
    names = (path.rpartition("/")[2][:-5] for path in storage.list_folder(history, ".json"))
    later = sorted(name for name in names if name.isdigit() and int(name) > count)
    if later:
        raise RunError(
            f"has {later[0]}.json, but {name_generation(count + 1, 'json')} is missing",
            where=history,
            remedy=DAMAGED,
        )


def find_same(generations: Sequence[Generation], name: str, digest: str) -> Generation | None:
    """Return the newest generation if it is the one that is added, so that it isn't added twice.

    Raises: RunError: another generation has the name.
    """
    known = next((item for item in generations if item.name == name), None)
    if known is None:
        return None
    if known.number == len(generations) and known.digest == digest:
        return known
    raise RunError(
        f"the history has a generation {name!r} already, number {known.number}, with other texts"
        if known.digest != digest
        else f"the history has the generation {name!r} already, and later ones",
        remedy="give the new one another --name",
    )


def add_generation(
    history: str, generation: Generation, previous: str | None, result: dict[str, Any]
) -> None:
    """Write the files of a generation: its counts, and then the JSON file that completes it."""
    counts = generation.inventory.encode()
    number = generation.number
    fields = {
        "format": FORMAT,
        "previous": previous,
        "counts_sha256": digest_bytes(counts),
        "halves": list(generation.inventory.totals),
        "fewest": generation.inventory.fewest,
        "texts": generation.texts,
        "digest": generation.digest,
        **({} if generation.teachers is None else {"teachers": generation.teachers}),
        **result,
    }
    storage.write_bytes(storage.join(history, name_generation(number, "parquet")), counts)
    if generation.by_teacher is not None and _has_several(generation):
        parts = encode_counts(generation.by_teacher)
        fields |= {
            "teacher_counts_sha256": digest_bytes(parts),
            "teacher_halves": {
                name: [*item.totals, item.fewest] for name, item in generation.by_teacher.items()
            },
        }
        storage.write_bytes(storage.join(history, name_generation(number, TEACHERS)), parts)
    write_json(history, name_generation(number, "json"), fields)


def _has_several(generation: Generation) -> bool:
    """Return whether the counts of teachers aren't those of all texts."""
    return len(generation.teachers or {}) != 1


def write_results(history: str, page: str, changes: bytes) -> None:
    """Write the page and the table of the newest generation, in the place of the last ones."""
    storage.write_bytes(storage.join(history, CHANGES_FILE), changes)
    storage.write_bytes(storage.join(history, PAGE), page.encode())
