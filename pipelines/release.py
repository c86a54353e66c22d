"""`congener release`: decide a run again, and keep the rows that reviewers judged wrongly found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from pipelines.calibrate import write_policy
from pipelines.decide import decide_run
from pipelines.disputed_rows import is_released
from pipelines.label_files import is_chained, read_entries, report_mixed
from pipelines.labels import (
    LABEL_AGAIN,
    Label,
    RowKey,
    choose_label,
    digest_definition,
    read_all_labels,
    require_definition,
    require_traits,
)
from pipelines.moved_labels import NamedRow, Place, find_places
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.digests import digest_bytes
from schemas.errors import CardError
from schemas.lots import LotPattern
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count, list_names, suggest_name
from schemas.policies import PUBLISHED, LotException, Policy
from schemas.row_names import RowName
from schemas.scores import is_trained
from transforms.files import storage

LONGEST_REASON = 200
"""How many characters of a reviewer's reason an exception repeats."""


class GivenLabel(NamedTuple):
    """The label of a file that counts for a row and a trait, and the reason for an exception."""

    label: Label
    reason: str


Verdicts: TypeAlias = dict[tuple[RowKey, str | None], list[GivenLabel]]
"""For each row and trait, the label of each file; without a trait, one about every trait."""


class Release(NamedTuple):
    """The exceptions that release rows of a run, and what became of the labels.

    `released` counts exceptions by trait. `disputed` are findings that one reviewer denies and
    another doesn't. `idle` labels deny a finding that the run doesn't have (`named` by row and
    trait), and `changed` ones are about another text than the row's. `foreign` are files whose
    labels were given on another run. `already` counts denied findings that the run's own policy
    has released before. `confirmed` are the rows of which a label confirms a finding.
    """

    policy: Policy
    released: Counter[str]
    disputed: int
    idle: int
    changed: int
    foreign: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    already: int = 0
    confirmed: frozenset[Place] = frozenset()


class ReleasedRows(NamedTuple):
    """What became of the rows with a released finding, each counted once.

    `returned` rows are in the clean corpus only now. `cleared` ones were in it before, with a flag
    or a mask. For `unchanged` ones, another finding decides as before.
    """

    returned: int
    cleared: int
    unchanged: int


class ReleasedRow(NamedTuple):
    """A row with a released finding: its decisions before and after the release.

    `released` are the traits whose findings reviewers deny, and `held_by` the traits whose findings
    on the row still have an action.
    """

    name: str
    released: tuple[str, ...]
    before: str
    now: str
    held_by: tuple[str, ...]


def plan_release(run: str, paths: Sequence[Path]) -> Release:
    """Add an exception to the run's policy for each finding that all given reviews deny.

    A row whose other findings no review denies keeps their actions. Labels that confirm a finding
    change nothing. A label whose row has another file or number in this run counts for all rows
    with the text that was read.

    Raises: RunError: the run isn't finished or is damaged.
    Raises: CardError: a file of labels is wrong or was changed, names an unknown trait, or releases
        nothing.
    """
    manifest = load_manifest(run)
    foreign = tuple(str(path) for path in paths if _is_foreign(path, manifest))
    policy = read_recorded_policy(manifest)
    verdicts = _read_reviews(run, paths, manifest)
    left = {key for key, given in verdicts.items() if any(map(_denies, given))}
    exceptions: list[LotException] = []
    confirmed: set[Place] = set()
    disputed = changed = already = 0
    for row, trait in _list_findings(run, manifest):
        keys: tuple[RowKey, ...] = ((row["source"], row["row"]), row["record_id"])
        own = [(key, name) for key in keys for name in (trait, None)]
        left.difference_update(own)
        given = [item for name in own for item in verdicts.get(name, ())]
        same = [item for item in given if item.label.record_id in (None, row["record_id"])]
        changed += len(given) > len(same)
        if any(item.label.shows for item in same):
            confirmed.add((row["source"], row["row"]))
        if not (same and all(map(_denies, same))):
            disputed += any(map(_denies, same))
        elif is_released(policy, row, trait):
            already += 1
        else:
            exceptions.append(_build_exception(row, trait, same[0].reason))
    policy = policy.model_copy(update={"exceptions": (*policy.exceptions, *exceptions)})
    released = Counter(item.trait for item in exceptions)
    named = _name_idle(left, manifest)
    counts = disputed, len(left), changed
    found = Release(policy, released, *counts, foreign, named, already, frozenset(confirmed))
    if not exceptions:
        raise _refuse_empty(found, paths)
    return found


def _refuse_empty(found: Release, paths: Sequence[Path]) -> CardError:
    """Return the error for labels that release nothing, which says why."""
    counts = (
        (found.already, "finding", "is released already", "are released already"),
        (found.disputed, "finding", "is disputed", "are disputed"),
        (found.changed, "finding", "has labels of another text", "have labels of another text"),
        (found.idle, "label", "denies a finding", "deny findings"),
    )
    parts = [
        f"{format_count(count, noun)} {choose_form(count, one, many)}"
        for count, noun, one, many in counts
        if count
    ]
    if found.idle:
        parts[-1] += f" that the run doesn't have: {list_names(found.named)}"
    done = found.already and len(parts) == 1
    return CardError(
        f"releases no row: {', '.join(parts) or 'no label denies a finding'}",
        where=", ".join(map(str, paths)),
        remedy="nothing is left to do: the run keeps these rows"
        if done
        else "a row is released if every review that has a label for it says false",
    )


def _name_idle(left: Collection[tuple[RowKey, str | None]], manifest: Manifest) -> tuple[str, ...]:
    """Name the rows and the traits of labels without a finding, with a file that may be meant."""
    sources = [source.name for source in manifest.inputs]
    found = []
    for key, trait in left:
        place = key if isinstance(key, str) else f"{key[0]}:{key[1]}"
        is_unknown = not isinstance(key, str) and key[0] not in sources
        why = f"the run has no such file{_suggest_file(key[0], sources)}" if is_unknown else ""
        found.append(f"{place} {trait or 'every trait'}{f' ({why})' if why else ''}")
    return tuple(sorted(found))


def _suggest_file(wrong: str, sources: Sequence[str]) -> str:
    """Return the file that ends like a path, or else the most similar one, as a question."""
    ends = [name for name in sources if wrong.endswith(f"/{name}")]
    meant = f"did you mean {ends[0]!r}?" if ends else suggest_name(wrong, sources).strip()
    return f": {meant}" if meant else ""


def _is_foreign(path: Path, manifest: Manifest) -> bool:
    """Return whether a file of `review` was written for another run.

    Raises: CardError: only some of the file's lines have digests.
    """
    entries = list(read_entries(path))
    chained = [entry for entry in entries if is_chained(entry.fields)]
    if mixed := report_mixed(path, entries):
        raise mixed
    return bool(chained) and chained[0].fields["before"] != manifest.digest


def _read_reviews(run: str, paths: Sequence[Path], manifest: Manifest) -> Verdicts:
    """Read the labels of each file; of a file's labels for a row and a trait, the last counts.

    A row that has another place in the run is named by its record id.
    """
    known = [rule.trait for rule in manifest.thresholds]
    verdicts: Verdicts = {}
    for path in paths:
        labels = read_all_labels(path)
        require_traits(labels, known, path)
        for trait in known:
            own = [label for label in labels if label.trait in (None, trait)]
            definition = digest_definition(manifest.cards.get(trait, {}))
            require_definition(own, trait, definition, path, LABEL_AGAIN)
        places = _find_places(run, manifest, labels)
        chosen: dict[tuple[RowKey, str | None], Label] = {}
        for label in labels:
            if (key := _choose_key(label, places)) is not None:
                name = (key, label.trait)
                chosen[name] = choose_label(chosen.get(name, label), label, str(path))
        digest = digest_bytes(path.read_bytes())
        fields = {entry.place: entry.fields for entry in read_entries(path)}
        for name, label in chosen.items():
            reason = _explain(fields[label.place], path, digest)
            verdicts.setdefault(name, []).append(GivenLabel(label, reason))
    return verdicts


def _name_row(label: Label) -> NamedRow | None:
    if label.source is None or label.row is None or label.record_id is None:
        return None
    return NamedRow(label.source, label.row, label.record_id)


def _find_places(
    run: str, manifest: Manifest, labels: Sequence[Label]
) -> dict[NamedRow, list[Place]]:
    named = {row for row in map(_name_row, labels) if row is not None}
    with report_damage(run, *MISFITS):
        return find_places(scan_folder(run, manifest, "ledger"), named)


def _choose_key(label: Label, places: Mapping[NamedRow, list[Place]]) -> RowKey | None:
    """Return how the run names a label's row: by its record id if its text is elsewhere."""
    row = _name_row(label)
    there = [] if row is None else places.get(row, [])
    is_moved = row is not None and there and (row.source, row.row) not in there
    return label.record_id if is_moved else label.key


def _denies(given: GivenLabel) -> bool:
    return given.label.shows is False


def _explain(fields: Mapping[str, Any], path: Path, digest: str) -> str:
    """Say who denied a finding, why, and where that is written."""
    reviewer = f" by {fields['reviewer']}" if fields.get("reviewer") else ""
    reason = f": {str(fields['reason'])[:LONGEST_REASON]}" if fields.get("reason") else ""
    own = path.name if "(" in (folder := path.parent.name) else f"{folder}/{path.name}".lstrip("/")
    return f"labelled false{reviewer}{reason} ({own}, SHA-256 {digest})"


def _list_findings(run: str, manifest: Manifest) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the rows and the traits that fired on their trained text, in the ledger's order."""
    with report_damage(run, *MISFITS):
        ledger = scan_folder(run, manifest, "ledger").filter(pl.col("reasons").list.len() > 0)
        rows = ledger.select("source", "row", "record_id", "reasons").collect(engine="streaming")
        for row in rows.iter_rows(named=True):
            traits = (item["trait"] for item in row["reasons"] if is_trained(item["signal"]))
            yield from ((row, trait) for trait in dict.fromkeys(traits))


def _build_exception(row: Mapping[str, Any], trait: str, reason: str) -> LotException:
    name = RowName(source=row["source"], row=row["row"])
    return LotException(trait=trait, lot=LotPattern(), row=name, action="keep", reason=reason)


def count_effects(run: str, output: str, release: Release) -> ReleasedRows:
    """Count what became of the rows that a release names, from both runs' ledgers.

    Raises: RunError: a run isn't finished or is damaged.
    """
    exceptions = release.policy.exceptions[-release.released.total() :]
    rows = [item.row for item in exceptions if item.row is not None]
    places = [(row.source, row.row) for row in rows]
    names = {(file, row) for file, row in places if file is not None and row is not None}
    decisions = [_read_decisions(folder, names) for folder in (run, output)]
    return _count_pairs([(decisions[0][name], decisions[1][name]) for name in names])


def count_confirmed(output: str, release: Release) -> int:
    """Count the rows that the new run removes and of which a label confirms a finding.

    Raises: RunError: the run isn't finished or is damaged.
    """
    decisions = _read_decisions(output, release.confirmed).values()
    return sum(decision not in PUBLISHED for decision in decisions)


def _count_pairs(pairs: Sequence[tuple[str, str]]) -> ReleasedRows:
    """Count rows by what became of them, from the decisions before and after a release."""
    returned = sum(old not in PUBLISHED and new in PUBLISHED for old, new in pairs)
    cleared = sum(old in PUBLISHED and new != old for old, new in pairs)
    return ReleasedRows(returned, cleared, len(pairs) - returned - cleared)


def preview_release(run: str, release: Release) -> list[ReleasedRow]:
    """Return what would become of each row that a release names, in corpus order.

    Nothing is written.

    Raises: RunError: the run isn't finished, is damaged, or lacks what the policy needs.
    """
    released: dict[tuple[str, int], list[str]] = {}
    for item in release.policy.exceptions[-release.released.total() :]:
        if item.row is not None and item.row.source is not None and item.row.row is not None:
            released.setdefault((item.row.source, item.row.row), []).append(item.trait)
    found = []
    for shard in decide_run(run, release.policy):
        stored, before = shard.stored, shard.stored.take("decision")
        places = zip(stored.take("source"), stored.take("row"), strict=True)
        for row, place in enumerate(places):
            if place in released:
                reasons = shard.decided.reasons.get(row, ())
                others = dict.fromkeys(item.trait for item in reasons if item.action != "keep")
                traits, now = tuple(released[place]), shard.decided.decisions[row]
                name = f"{place[0]}:{place[1]}"
                found.append(ReleasedRow(name, traits, before[row], now, tuple(others)))
    return found


def sum_effects(rows: Sequence[ReleasedRow]) -> ReleasedRows:
    """Count what would become of the rows of a release."""
    return _count_pairs([(row.before, row.now) for row in rows])


def _read_decisions(run: str, names: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Return the decisions on some rows, by place."""
    with report_damage(run, *MISFITS):
        ledger = scan_folder(run, load_manifest(run), "ledger")
        rows = ledger.filter(pl.col("reasons").list.len() > 0).select("source", "row", "decision")
        found = rows.collect(engine="streaming").iter_rows()
        decisions = {(source, row): decision for source, row, decision in found}
    return {name: decision for name, decision in decisions.items() if name in names}


def write_release(release: Release, output: str) -> str:
    """Write the policy beside the new run, or in this folder for a run on a store.

    Raises: StorageError: the file can't be written.
    """
    own = output.rstrip("/")
    path = f"{own if storage.is_local(output) else Path(own).name}.policy.yaml"
    write_policy(path, release.policy)
    return path
