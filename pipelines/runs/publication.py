"""Publish a run: add up its receipts, check the budgets, and write the manifest last."""

from __future__ import annotations

import datetime as dt
import getpass
import os
import platform
import shlex
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa

from classifiers.banks import Bank, serialise_bank
from pipelines.banks import tabulate_scores
from pipelines.config import make_absolute
from pipelines.named_rows import explain_missing
from pipelines.runs.finished import list_outputs, read_rows, read_table
from pipelines.runs.foreign_files import list_files_of_others
from pipelines.version import find_commit
from schemas.digests import compute_merkle_root, digest_bytes
from schemas.errors import BudgetError, RunError, StorageError
from schemas.ledgers import read_lots
from schemas.lots import Lot
from schemas.manifests import Conservation, InputFile, Manifest, SettledThreshold
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.policies import REMOVED, Policy
from schemas.receipts import (
    ExceptionEffect,
    NearestExemplars,
    NearMisses,
    NoteCounts,
    Output,
    Receipt,
)
from schemas.runs import (
    BANK,
    CALIBRATION,
    EVIDENCE_FOLDERS,
    FOLDERS,
    MANIFEST,
    POSITIVES,
    WITHDRAWN,
    WORK,
    parse_path,
)
from schemas.scores import NEAR_MISS
from schemas.shares import exceeds, format_excess, format_limit
from transforms.files import storage
from transforms.files.planning import PlannedShard, ShardPlan
from transforms.files.sources import Corpus
from transforms.rules import Rule
from transforms.write import encode_parquet

BUDGET_REMEDIES = {
    "removal_budget": "look at the thresholds and at the traits that fired (the table above), then "
    "change the policy or the budget",
    "reject_budget": "correct the rows that are named above, or raise the budget",
}
SOURCE_REMEDY = (
    "correct the file, leave it out of the input, or filter it in a separate run with the "
    "--format and --column that it needs"
)
REJECTS_NAMED = 5

REJECT_SHARE = 0.01
"""The share of rejects above which a published run counts as a failure.

A policy's `reject_budget` replaces this share.
"""


def count_decisions(corpus: Corpus, receipts: Sequence[Receipt]) -> Conservation:
    """Add up the decisions on all rows.

    Raises: RunError: the corpus has another number of rows.
    """
    return sum_decisions(sum(source.rows for source in corpus.sources), receipts)


def sum_decisions(rows_in: int, receipts: Sequence[Receipt]) -> Conservation:
    """Add up the decisions of all shards.

    Raises: RunError: there is another number of decisions than of rows.
    """
    counts: Counter[str] = Counter()
    for receipt in receipts:
        counts.update(receipt.decisions)
    result = Conservation(rows_in=rows_in, by_decision=dict(sorted(counts.items())))
    if not result.holds():
        raise RunError(
            f"the corpus has {rows_in} rows, but {counts.total()} have a decision",
            remedy="this is a bug in congener: please report it",
        )
    return result


def check_budgets(result: Conservation, policy: Policy) -> None:
    """Stop a run that removes or rejects more rows than its policy allows.

    Raises: BudgetError: a budget is exceeded.
    """
    rejected = result.by_decision.get("reject", 0)
    removed = sum(result.by_decision.get(name, 0) for name in REMOVED) - rejected
    for name, count, budget in (
        ("removal_budget", removed, policy.removal_budget),
        ("reject_budget", rejected, policy.reject_budget),
    ):
        if budget is not None and exceeds(count, result.rows_in, budget):
            share = format_excess(Fraction(count, result.rows_in), budget)
            raise BudgetError(
                f"{count:,} of {format_count(result.rows_in, 'row')} ({share}) "
                f"{choose_form(count, 'exceeds', 'exceed')} the {name} of "
                f"{format_limit(budget)}: nothing was published",
                remedy=BUDGET_REMEDIES[name],
            )


def check_sources(
    run: str,
    inputs: Sequence[InputFile],
    outputs: Sequence[Output],
    shortened: Collection[str] = (),
) -> None:
    """Stop a run in which all rows of a file are rejects, which suggests the wrong format.

    `shortened` names the files of which the run reads only the first rows. If all of these are
    rejects, that proves nothing about the rest of the file, so the run goes on unless every row of
    the run is a reject.

    Raises: BudgetError: all rows of a file are rejects.
    """
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for output in _list_rejects(outputs):
        table = read_table(run, output, ["source", "row", "error"])
        for reject in table.to_pylist():
            counts[reject["source"]] += 1
            reasons.setdefault(reject["source"], f"row {reject['row']}: {reject['error']}")
    spared = shortened if counts.total() < sum(source.rows for source in inputs) else ()
    for source in inputs:
        if source.rows and counts[source.name] == source.rows and source.name not in spared:
            whole = f"all {source.rows:,} rows are rejects, the first for this reason"
            said = whole if source.rows > 1 else "its only row is a reject, for this reason"
            raise BudgetError(
                f"{said}: {reasons[source.name]}; nothing was published",
                where=source.name,
                remedy=SOURCE_REMEDY,
            )


def _list_rejects(outputs: Sequence[Output]) -> list[Output]:
    return [output for output in outputs if parse_path(output.path).folder == "rejects"]


def describe_rejects(run: str, outputs: Sequence[Output]) -> Iterator[Notice]:
    """Name a run's first rejects with their reasons, and count further rejects."""
    files = _list_rejects(outputs)
    left = REJECTS_NAMED
    for output in files:
        if not left:
            break
        shown = min(left, output.rows)
        rows = read_rows(run, output.path, range(shown), ["source", "row", "error"])
        for reject in rows.values():
            text = f"reject: {reject['source']} row {reject['row']}: {reject['error']}"
            yield Notice(text, is_recorded=False)
        left -= shown
    if (total := sum(output.rows for output in files)) > REJECTS_NAMED:
        yield Notice(f"and {format_count(total - REJECTS_NAMED, 'more reject')}", is_recorded=False)


def has_many_rejects(manifest: Manifest) -> bool:
    """Return whether rejects exceed `REJECT_SHARE` without a reject budget."""
    result = manifest.conservation
    rejected = result.by_decision.get("reject", 0)
    is_stated = manifest.policy["reject_budget"] is not None
    return not is_stated and exceeds(rejected, result.rows_in, REJECT_SHARE)


def warn_of_many_rejects(manifest: Manifest) -> Iterator[Notice]:
    """Warn about a run with too many rejects."""
    if has_many_rejects(manifest):
        result = manifest.conservation
        count = result.by_decision["reject"]
        verb = choose_form(count, "is a reject", "are rejects")
        yield warn(
            f"{count:,} of {result.rows_in:,} rows {verb}, more than {REJECT_SHARE:.0%}: the run "
            "is published, but its exit code is 8. Correct the rows, or state the share that you "
            "expect as reject_budget in the policy"
        )


def withdraw_run(run: str, manifest: Manifest) -> list[Notice]:
    """Remove the rows and the bank of a run that a budget stopped.

    The folders without text are kept, and `WITHDRAWN` gets the manifest. The working files go last,
    so that the folder still looks like a run after an interruption. A file that can't be removed
    leads to a notice, because the budget is the error to raise. Files of others are kept.
    """
    folders = {name for name in FOLDERS if name not in EVIDENCE_FOLDERS}
    shared = folders.intersection(path.split("/")[0] for path in list_files_of_others(run))
    removed = [
        MANIFEST,
        *(name for name in FOLDERS if name in folders - shared),
        *(output.path for output in manifest.outputs if parse_path(output.path).folder in shared),
    ]
    notices = [notice for name in removed for notice in _try_removal(run, name)]
    kept = tuple(
        output for output in manifest.outputs if parse_path(output.path).folder in EVIDENCE_FOLDERS
    )
    withdrawn = manifest.model_copy(update={"outputs": kept}).seal()
    try:
        storage.write_bytes(storage.join(run, WITHDRAWN), withdrawn.to_bytes())
    except StorageError as error:
        return [*notices, warn(f"{error.where} {error.problem}, so {WITHDRAWN} is missing")]
    notices += _try_removal(run, WORK)
    names = f"{list_names(EVIDENCE_FOLDERS)}, {WITHDRAWN}"
    return [*notices, Notice(f"kept, without text: {names}; inspect and report show them")]


def explain_withdrawal(error: BudgetError) -> str:
    """Return why nothing was published, without a reject's reason, which may quote text."""
    if error.where is None:
        return error.problem.removesuffix("nothing was published").rstrip(" :;")
    return f"all rows of {error.where} are rejects"


def _try_removal(run: str, name: str) -> Iterator[Notice]:
    try:
        storage.remove_tree(storage.join(run, name))
    except StorageError as error:
        yield warn(f"{error.where} {error.problem}; remove it yourself")


def describe_thresholds(
    rules: Sequence[Rule], calibrated_on: Mapping[str, str]
) -> tuple[SettledThreshold, ...]:
    """Describe the rules for the manifest."""
    return tuple(
        SettledThreshold(
            trait=rule.trait,
            signal=rule.signal,
            action=rule.action,
            threshold=rule.threshold.value,
            origin=rule.threshold.origin,
            clean_texts=rule.threshold.clean,
            exceeding=rule.threshold.exceeding,
            bound=rule.threshold.bound,
            max_false_positive_rate=rule.level.max_false_positive_rate,
            confidence=rule.level.confidence,
            calibrated_on=calibrated_on[rule.trait],
            **rule.describe_found(),
        )
        for rule in rules
    )


def describe_inputs(corpus: Corpus) -> tuple[InputFile, ...]:
    """Describe the inputs for the manifest, with absolute paths."""
    return tuple(
        InputFile(
            name=source.name,
            uri=make_absolute(source.uri),
            kind=source.kind,
            compression=source.compression,
            bytes=source.size,
            rows=source.rows,
            rows_left_out=source.rows_left_out,
            sha256=source.sha256,
        )
        for source in corpus.sources
    )


def order_receipts(plans: Sequence[PlannedShard], receipts: Mapping[str, Receipt]) -> list[Receipt]:
    """Return the receipts in corpus order.

    Raises: RunError: a shard has no receipt.
    """
    if missing := [plan.name for plan in plans if plan.name not in receipts]:
        raise RunError(
            f"{format_count(len(missing), 'shard')} {choose_form(len(missing), 'has', 'have')} no "
            f"receipt; the first is {missing[0]}",
            remedy="run the same command again: it resumes",
        )
    return [receipts[plan.name] for plan in plans]


def describe_findings(run: str, manifest: Manifest) -> Iterator[Notice]:
    """Point out traits that found nothing but nearly did, and traits that may have found noise.

    A trait may fire on as many clean rows as its bound allows. If it fired on no more rows than
    that, their number alone doesn't show that the trait is there.
    """
    missed, doubtful = [], []
    for item in manifest.thresholds:
        near, fired = (
            manifest.near.get(item.trait, NearMisses()),
            manifest.count_signalled(item.trait),
        )
        if not fired and near.rows and near.best is not None:
            gap = item.threshold - near.best
            missed.append(f"{item.trait} ({near.rows:,}; the best is {gap:.4f} below)")
        if manifest.may_be_noise(item):
            allowed = f"{manifest.expect_noise(item):.1f}"
            doubtful.append(f"{item.trait} ({format_count(fired, 'row')}; limit {allowed})")
    if missed:
        yield Notice(
            "these traits fired on no row, but some rows score just below their thresholds (by up "
            f"to {NEAR_MISS}; congener traits thresholds {shlex.quote(run)}): {list_names(missed)}"
        )
    if doubtful:
        yield Notice(
            "these traits fired on so few rows that every finding may be a mistake, because "
            f"their limits allow as many clean rows: {list_names(doubtful)}"
        )


def warn_of_unmatched(run: str, manifest: Manifest, policy: Policy) -> Iterator[Notice]:
    """Warn of exceptions that match no row, and list the rows' names."""
    pairs = enumerate(zip(policy.exceptions, manifest.exceptions, strict=True), 1)
    unmatched = {number: item for number, (item, effect) in pairs if not effect.rows}
    if not unmatched:
        return
    lots: set[Lot] = set()
    for output in list_outputs(manifest, "ledger"):
        lots.update(read_lots(read_table(run, output)))
    for number, exception in unmatched.items():
        if exception.row is not None:
            yield warn(explain_missing(number, exception, exception.row, manifest))
            continue
        wanted = exception.lot.model_dump(exclude_none=True)
        names = (
            f"the corpus's {name.replace('_', ' ')}s are "
            f"{list_names(sorted({str(getattr(lot, name)) for lot in lots}))}"
            for name in wanted
        )
        yield warn(
            f"exception {number} of the policy ({exception.lot.describe()}) matches no row; "
            f"{'; '.join(names)}"
        )


def sum_receipts(receipts: Sequence[Receipt], policy: Policy) -> dict[str, Any]:
    """Add up the shards' receipts for the manifest."""
    fired: Counter[str] = Counter()
    near: dict[str, NearMisses] = {}
    nearest: dict[str, NearestExemplars] = {}
    notes = NoteCounts()
    effects = [ExceptionEffect() for _ in policy.exceptions]
    for receipt in receipts:
        fired.update(receipt.fired)
        notes = notes.add(receipt.notes)
        effects = [one.add(two) for one, two in zip(effects, receipt.exceptions, strict=True)]
        for trait, misses in receipt.near.items():
            near[trait] = near.get(trait, NearMisses()).add(misses)
        for trait, counts in receipt.nearest.items():
            nearest[trait] = nearest.get(trait, NearestExemplars()).add(counts)
    shards = tuple((receipt.shard, receipt.ledger_root) for receipt in receipts)
    return {
        "fired": dict(sorted(fired.items())),
        "near": near,
        "nearest": nearest,
        "notes": notes,
        "exceptions": tuple(effects),
        "unscored": sum(receipt.unscored for receipt in receipts),
        "shards": shards,
        "ledger_root": compute_root(shards),
    }


def compute_root(shards: Iterable[tuple[str, str]]) -> str:
    """Return the Merkle root of the shards' roots."""
    return compute_merkle_root([bytes.fromhex(root) for _, root in shards]).hex()


def describe_circumstances(
    seconds: float,
    receipts: Sequence[Receipt],
    device: str,
    command: Sequence[str],
    operator: str | None = None,
    done: Container[str] = (),
) -> dict[str, Any]:
    """Describe the run's place and speed, which don't affect the outputs.

    The speed is that of the process that took the `seconds`: without the shards that were `done`
    before, when an interrupted run was resumed.
    """
    tokens = sum(receipt.tokens for receipt in receipts)
    padded = sum(receipt.padded for receipt in receipts)
    own = [receipt for receipt in receipts if receipt.shard not in done]
    rows, own_tokens = sum(item.rows for item in own), sum(item.tokens for item in own)
    return {
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "operator": (operator or "").strip() or find_user(),
        "commit": find_commit(),
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / max(seconds, 1e-9), 1),
        "tokens": tokens,
        "tokens_per_second": round(own_tokens / max(seconds, 1e-9), 1),
        "padding_waste": round(1 - tokens / padded, 4) if padded else 0.0,
        "token_budget_cuts": sum(receipt.budget_cuts for receipt in receipts),
        "device": device,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": [word.encode(errors="backslashreplace").decode() for word in command],
    }


def find_user() -> str | None:
    """Return the name of the process's user, or None."""
    try:
        # the name may be that of LOGNAME or USER, which may hold any bytes
        return getpass.getuser().encode(errors="backslashreplace").decode()
    except (OSError, KeyError, ImportError):  # a container's user may be unnamed
        return None


def write_calibration(run: str, bank: Bank) -> tuple[Output, ...]:
    """Write the calibration scores of clean texts and of positives."""
    tables = {
        CALIBRATION: tabulate_scores(bank, "calibration"),
        POSITIVES: tabulate_scores(bank, "positive_scores"),
    }
    return tuple(_write_table(run, path, table) for path, table in tables.items() if table.num_rows)


def _write_table(run: str, path: str, table: pa.Table) -> Output:
    data = encode_parquet(table)
    storage.write_bytes(storage.join(run, path), data)
    return Output(path=path, rows=table.num_rows, bytes=len(data), sha256=digest_bytes(data))


def list_bank(bank: Bank) -> list[Output]:
    """List the files of a run's bank."""
    return [
        Output(path=f"{BANK}/{name}", rows=0, bytes=len(data), sha256=digest_bytes(data))
        for name, data in serialise_bank(bank).items()
    ]


def warn_of_lost_splits(plans: Sequence[ShardPlan], outputs: Sequence[Output]) -> Iterator[Notice]:
    """Warn of splits without clean rows, which loaders won't find."""
    files = [parse_path(output.path) for output in outputs]
    clean = {file.shard for file in files if file.folder == "clean"}
    kept = {split for plan in plans if plan.name in clean for split in plan.splits}
    every = (split for plan in plans for split in plan.splits)
    for split in dict.fromkeys(every):
        if split is not None and split not in kept:
            yield warn(f"no row of the split {split} is left, so clean/ doesn't have this split")


def record_notices(manifest: Manifest, notices: Iterable[Notice]) -> Manifest:
    """Return the manifest with what the run said, except notices that quote text."""
    said = [
        {
            "severity": notice.severity,
            "text": notice.text,
            **({"about": notice.about} if notice.about else {}),
            **({"traits": dict(notice.remarks)} if notice.remarks else {}),
        }
        for notice in dict.fromkeys(notices)
        if notice.is_recorded
    ]
    return manifest.model_copy(update={"circumstances": manifest.circumstances | {"notices": said}})


def publish_manifest(run: str, manifest: Manifest) -> Manifest:
    """Add the digest to the manifest and write it, which finishes the run."""
    sealed = manifest.seal()
    storage.write_bytes(storage.join(run, MANIFEST), sealed.to_bytes())
    return sealed


def remove_work(run: str) -> list[Notice]:
    """Remove a finished run's working files, or return a notice."""
    return list(_try_removal(run, WORK))
