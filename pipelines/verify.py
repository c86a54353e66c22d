"""`congener verify`: recompute a finished run's manifest, and name the differences."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pipelines.certifying.checks import check_certificate, check_statement, describe_audit_check
from pipelines.report_checks import check_report, describe_page_check, find_report_version
from pipelines.runs.alterations import find_change
from pipelines.runs.finished import list_outputs, read_table
from pipelines.runs.foreign_files import ForeignFile, list_foreign_files
from pipelines.runs.input_checks import check_inputs
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.mix_checks import check_mix
from pipelines.runs.recorded_settings import (
    read_recorded_policy,
    read_recorded_rules,
    read_recorded_traits,
)
from pipelines.runs.shard_checks import READ_ERRORS, Finding, check_shards
from pipelines.runs.swap_checks import check_donors, check_swap, list_donor_runs
from pipelines.runs.unfinished import compute_run_id
from pipelines.version import VERSION, name_code
from schemas.digests import compute_merkle_root, digest_bytes, digest_config
from schemas.errors import CardError, InputError, ModelError, RunError
from schemas.ledgers import read_lots
from schemas.manifests import Manifest
from schemas.policies import list_row_names
from schemas.problems import describe_problems
from schemas.receipts import ExceptionEffect, NearMisses, Output
from schemas.runs import (
    BANK,
    CALIBRATION,
    CORPUS_FOLDERS,
    JSON_LINES,
    MANIFEST,
    PARQUET,
    REPORT_PAGE,
    SHARD_FOLDERS,
    SHARD_NAME,
    is_bank_file,
    is_beside_shards,
    parse_path,
    shard_path,
)
from schemas.scores import name_finding, score_column, split_side
from transforms.digest_keys import DigestKey
from transforms.exception_effects import measure_effects
from transforms.files import storage
from transforms.files.stems import is_stem
from transforms.near_misses import measure_near_misses
from transforms.rules import Rule, find_span_floor, settle_rules

SHORTEST_DIGEST = 16
"""The smallest number of hex digits in a recorded digest."""
RECORDED_DIGEST = re.compile(rf"[0-9a-fA-F]{{{SHORTEST_DIGEST},64}}")


class RecordedDigests(NamedTuple):
    """A run's digests that were recorded elsewhere, in full or just their first digits."""

    root: str | None = None
    digest: str | None = None
    statement: str | None = None


def verify_run(
    run: str,
    inputs: bool | str = False,
    recorded: RecordedDigests | None = None,
    digest_key: str | None = None,
) -> list[Finding]:
    """Return everything that differs from the manifest.

    With `inputs`, the input files are digested again: at the manifest's paths, or by their names in
    a given folder. Only digests `recorded` elsewhere can reveal that another consistent run
    replaced the whole run. `digest_key` refers to the key of keyed digests.

    Raises: RunError: the run has no manifest. Raises: CardError: a recorded digest is malformed, or
    the key is missing, wrong or not needed.
    """
    recorded = recorded or RecordedDigests()
    _require_digests(recorded)
    try:
        manifest = load_manifest(run)
    except RunError as error:
        if storage.exists(storage.join(run, MANIFEST)):
            return [Finding(MANIFEST, str(error))]
        raise
    key = _read_key(manifest, digest_key)
    findings = [
        *_compare_recorded(manifest, recorded),
        *check_statement(run, recorded.statement),
        *_check_manifest(run, manifest),
        *_check_files(run, manifest),
    ]
    # later checks would repeat these problems
    findings = findings or [*_check_bank(run, manifest)] or [*_check_rules(run, manifest)]
    findings = findings or list(check_shards(run, manifest, key))
    checks = (_check_scores, _check_counts, _check_exceptions, check_certificate, check_report)
    for check in (*checks, check_donors):
        findings = findings or list(check(run, manifest))
    findings = findings or list(_verify_donors(run, manifest, inputs is True, digest_key))
    findings = findings or [*check_swap(run, manifest), *check_mix(run, manifest)]
    folder = inputs if isinstance(inputs, str) else None
    return [*findings, *(check_inputs(manifest, folder) if inputs else ())]


def _verify_donors(
    run: str, manifest: Manifest, inputs: bool, digest_key: str | None
) -> Iterator[Finding]:
    """Verify the runs of the donors of a swap or a mix."""
    for path, donor in list_donor_runs(run, manifest).items():
        for where, problem in verify_run(donor, inputs, digest_key=digest_key):
            yield Finding(where if "://" in where else f"{path}/{where}", problem)


def list_checks(
    run: str, manifest: Manifest, inputs: bool | str, recorded: RecordedDigests
) -> dict[str, str]:
    """Say what `verify_run` compared in a run without differences, and what it didn't."""
    where = f" in {inputs}" if isinstance(inputs, str) else ""
    return {
        "inputs": f"{len(manifest.inputs):,} checked{where}"
        if inputs
        else "not checked (--inputs)",
        "page": describe_page_check(run),
        "certificate": describe_audit_check(run, recorded.statement),
        "digest": "compared" if recorded.digest else "not compared (--digest)",
        "root": "compared" if recorded.root else "not compared (--root)",
    }


def list_files_left_aside(run: str) -> list[ForeignFile]:
    """List the foreign files that `verify_run` ignores.

    An unreadable manifest gives an empty list.
    """
    try:
        outputs = load_manifest(run).outputs
    except RunError:
        return []
    aside = [file for file in list_foreign_files(run, outputs) if not file.is_read]
    version = find_report_version(run)
    if version not in (None, name_code()):
        problem = (
            f"was written by congener {version}, so congener {name_code()} can't check it; "
            "congener report writes it again"
        )
        aside.append(ForeignFile(REPORT_PAGE, problem, is_read=False))
    return aside


def _read_key(manifest: Manifest, reference: str | None) -> bytes | None:
    """Return the key of a run's digests, or None without one."""
    check = manifest.identity.digest_key
    if (check is None) == (reference is None):
        return None if check is None or reference is None else DigestKey(reference, check).read()
    raise CardError(
        "the digests of the run aren't keyed" if check is None else "the run's digests are keyed",
        remedy="leave --digest-key out"
        if check is None
        else "give the key with which the run was made: --digest-key FILE",
    )


def describe_outcome(manifest: Manifest, findings: Sequence[Finding]) -> dict[str, object]:
    """Describe the outcome for JSON."""
    return {
        "whole": not findings,
        "run_id": manifest.run_id,
        "verified_by": VERSION,
        "outputs": len(manifest.outputs),
        "rows": manifest.conservation.rows_in,
        "ledger_root": manifest.ledger_root,
        "digest": manifest.digest,
        "findings": [finding._asdict() for finding in findings],
    }


def _require_digests(recorded: RecordedDigests) -> None:
    for name, digits in recorded._asdict().items():
        if digits is not None and not RECORDED_DIGEST.fullmatch(digits):
            raise CardError(
                f"--{name} {digits!r} isn't a digest",
                remedy=f"give {SHORTEST_DIGEST} to 64 of its hex digits",
            )


def _compare_recorded(manifest: Manifest, recorded: RecordedDigests) -> Iterator[Finding]:
    """Compare the manifest, or its file, with digests that were recorded elsewhere."""
    own = digest_bytes(manifest.to_bytes())
    for name, expected, *found in (
        ("ledger_root", recorded.root, manifest.ledger_root),
        ("digest", recorded.digest, manifest.digest, own),
    ):
        if expected is not None and not any(one.startswith(expected.lower()) for one in found):
            yield Finding(MANIFEST, f"{name} is {found[0]}, but {expected} was recorded")


def _check_manifest(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that the manifest is consistent and in congener's own form."""
    if storage.find_link(run, MANIFEST):
        yield Finding(MANIFEST, "is a link, so its content isn't part of the run")
    if manifest.to_bytes() != storage.read_bytes(storage.join(run, MANIFEST)):
        yield Finding(MANIFEST, "isn't written the way congener writes it")
    if manifest.compute_digest() != manifest.digest:
        yield Finding(MANIFEST, "doesn't match its own digest: it was edited")
    identity = manifest.identity
    for name, part, digest in (
        ("config", manifest.config, identity.config_digest),
        ("policy", manifest.policy, identity.policy_digest),
    ):
        if digest_config(part) != digest:
            yield Finding(MANIFEST, f"{name} doesn't match its digest in the identity")
    if tuple((file.name, file.rows, file.sha256) for file in manifest.inputs) != identity.inputs:
        yield Finding(MANIFEST, "inputs differ from the inputs in the identity")
    if compute_run_id(identity.model_dump(mode="json")) != manifest.run_id:
        yield Finding(MANIFEST, "run_id doesn't match the identity")
    if not manifest.conservation.holds():
        decided = sum(manifest.conservation.by_decision.values())
        rows_in = manifest.conservation.rows_in
        yield Finding(MANIFEST, f"counts {rows_in} input rows, but {decided} decisions")
    roots = [bytes.fromhex(root) for _, root in manifest.shards]
    if compute_merkle_root(roots).hex() != manifest.ledger_root:
        yield Finding(MANIFEST, "ledger_root isn't the Merkle root of the shards' roots")
    yield from _check_cards(manifest)


def _check_cards(manifest: Manifest) -> Iterator[Finding]:
    """Check that the manifest has a card for every threshold, and no other cards."""
    traits = {rule.trait for rule in manifest.thresholds}
    for trait in sorted(traits - set(manifest.cards)):
        yield Finding(MANIFEST, f"has no card of trait {trait}, which has a threshold")
    for name in sorted(set(manifest.cards) - traits):
        yield Finding(MANIFEST, f"has a card of trait {name}, which has no threshold")
    for name, card in manifest.cards.items():
        if card.get("id") != name:
            yield Finding(MANIFEST, f"the card of trait {name} has the id {card.get('id')!r}")


def _check_files(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check the bytes of every output, and that no other data is in the run's folders."""
    shards = {shard for shard, _ in manifest.shards}
    for output in manifest.outputs:
        if not _is_run_file(output, shards):
            yield Finding(MANIFEST, f"names {output.path!r}, which can't be a file of this run")
        elif link := storage.find_link(run, output.path):
            yield Finding(link, "is a link, so its content isn't part of the run")
        elif not storage.exists(uri := storage.join(run, output.path)):
            yield Finding(output.path, "is missing")
        elif problem := find_change(uri, output):
            yield Finding(output.path, problem)
    # a shard has at most one file per folder
    counts = Counter(parse_path(output.path)[:2] for output in manifest.outputs)
    for folder, shard in (pair for pair, count in counts.items() if count > 1):
        yield Finding(MANIFEST, f"names more than one file {folder}/{shard}")
    for file in list_foreign_files(run, manifest.outputs):
        if file.is_read:
            yield Finding(file.path, file.problem)


def _is_run_file(output: Output, shards: set[str]) -> bool:
    """Return whether an output is of a shard, the bank or calibration, a card or requests."""
    folder, shard, suffix, stem = parse_path(output.path)
    if is_beside_shards(output.path) or is_bank_file(output.path):
        return True
    return (
        folder in SHARD_FOLDERS
        and shard in shards
        and SHARD_NAME.fullmatch(shard) is not None
        and suffix in (PARQUET, *(JSON_LINES if folder in CORPUS_FOLDERS else ()))
        and is_stem(stem) == (folder in CORPUS_FOLDERS)
        and output.path == shard_path(folder, shard, suffix, stem)
    )


def _check_bank(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that the run's bank is whole and matches the identity."""
    from pipelines.banks import load_bank

    try:
        bank = load_bank(storage.join(run, BANK))
    except (ModelError, InputError) as error:
        yield Finding(f"{BANK}/", f"can't be read as a bank: {error.problem}")
        return
    if bank.digest != manifest.identity.bank_digest:
        yield Finding(f"{BANK}/", "isn't the bank that the identity names")


def _check_rules(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Settle the thresholds again from the cards, the policy and the calibration scores."""
    try:
        rules = settle_rules(read_recorded_traits(run, manifest), read_recorded_policy(manifest))
    except ValidationError as error:
        yield Finding(MANIFEST, f"its cards or its policy are invalid: {describe_problems(error)}")
    except CardError as error:
        yield Finding(MANIFEST, f"its thresholds can't be settled: {error.problem}")
    except READ_ERRORS as error:
        yield Finding(CALIBRATION, f"can't be read as a file of a run: {error!r}")
    else:
        yield from _compare_thresholds(manifest, rules)
        yield from _check_floor(manifest, rules)


def _compare_thresholds(manifest: Manifest, rules: Sequence[Rule]) -> Iterator[Finding]:
    settled = {rule.trait: _describe_rule(rule) for rule in rules}
    for threshold in manifest.thresholds:
        for name, expected in settled[threshold.trait].items():
            stated = getattr(threshold, name)
            if not _is_close(stated, expected):
                yield Finding(
                    MANIFEST,
                    f"{name} of trait {threshold.trait} is {stated}, but its card, the policy and "
                    f"the calibration scores give {expected}",
                )


def _is_close(one: object, other: object) -> bool:
    """Return whether two values are equal.

    The last digits of floats depend on library versions and may differ.
    """
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other)
    return one == other


def _check_floor(manifest: Manifest, rules: Sequence[Rule]) -> Iterator[Finding]:
    """Check that the span floor is the configured floor, or a lower threshold."""
    configured = manifest.config.get("span_floor")
    if not isinstance(configured, int | float):
        yield Finding(MANIFEST, "config has no span_floor")
    elif manifest.span_floor != (floor := find_span_floor(configured, rules)):
        problem = f"is {manifest.span_floor}, but the config and the thresholds give {floor}"
        yield Finding(MANIFEST, f"span_floor {problem}")


def _describe_rule(rule: Rule) -> dict[str, Any]:
    """Return a settled rule's fields under the manifest's names."""
    return {
        "signal": rule.signal,
        "action": rule.action,
        "threshold": rule.threshold.value,
        "origin": rule.threshold.origin,
        "clean_texts": rule.threshold.clean,
        "exceeding": rule.threshold.exceeding,
        "bound": rule.threshold.bound,
        "max_false_positive_rate": rule.level.max_false_positive_rate,
        "confidence": rule.level.confidence,
        **rule.describe_found(),
    }


def _check_scores(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that every trait has scores, and recount unscored rows and near misses."""
    columns = [score_column(rule.trait) for rule in manifest.thresholds]
    unscored = -manifest.conservation.by_decision.get("reject", 0)
    near: dict[str, NearMisses] = {}
    for output in list_outputs(manifest, "scores"):
        scores = read_table(run, output)
        if lacking := [name for name in columns if name not in scores.column_names]:
            yield Finding(output.path, f"has no scores of trait {lacking[0]}")
            return
        own = [name for name in scores.column_names if split_side(name)[0] in columns]
        valid = [scores.column(name).is_valid().to_numpy() for name in own]
        unscored += scores.num_rows - int(np.logical_or.reduce(valid).sum())
        for trait, misses in _find_near_misses(scores, manifest):
            near[trait] = near.get(trait, NearMisses()).add(misses)
    if near != manifest.near:
        yield Finding(MANIFEST, "near doesn't match the scores just below the thresholds")
    if unscored != manifest.unscored:
        problem = f"counts {manifest.unscored} rows without any score, but there are {unscored}"
        yield Finding(MANIFEST, problem)


def _find_near_misses(scores: pa.Table, manifest: Manifest) -> Iterator[tuple[str, NearMisses]]:
    for rule in manifest.thresholds:
        name = score_column(rule.trait, rule.signal)
        if name in scores.column_names:
            values = scores.column(name).to_numpy().astype(np.float32)
            yield rule.trait, measure_near_misses(values, rule.threshold)


def _check_counts(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Recount the input rows, the decisions, and the rows on which each trait fired."""
    decisions: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for output in list_outputs(manifest, "ledger"):
        ledger = read_table(run, output)
        decisions.update(ledger.column("decision").to_pylist())
        sources.update(ledger.column("source").to_pylist())
        for reasons in ledger.column("reasons").to_pylist():
            fired.update({name_finding(item["trait"], item["signal"]) for item in reasons})
    for name, counted, stated in (
        ("decisions", decisions, Counter(manifest.conservation.by_decision)),
        ("rows on which traits fired", fired, Counter(manifest.fired)),
    ):
        if counted != stated:  # a count of zero may be missing on either side
            problem = f"counts {name} as {dict(stated)}, but the ledger has {dict(counted)}"
            yield Finding(MANIFEST, problem)
    for source in manifest.inputs:
        if sources[source.name] != source.rows:
            problem = f"counts {source.rows} rows of {source.name}, but the ledger has"
            yield Finding(MANIFEST, f"{problem} {sources[source.name]}")


def _check_exceptions(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Measure again what each exception of the policy did."""
    exceptions, rules = read_recorded_policy(manifest).exceptions, read_recorded_rules(manifest)
    effects, names = [ExceptionEffect() for _ in exceptions], list_row_names(exceptions)
    pairs = zip(list_outputs(manifest, "ledger"), list_outputs(manifest, "scores"), strict=True)
    for of_ledger, of_scores in pairs if exceptions else ():
        ledger = read_table(run, of_ledger)
        decisions = ledger.column("decision").to_pylist()
        readable = pa.array(np.flatnonzero(np.array(decisions) != "reject"))
        scores, ledger = read_table(run, of_scores).take(readable), ledger.take(readable)
        columns = {
            name: scores.column(name).to_numpy().astype(np.float32)
            for name in scores.column_names[2:]
        }
        kept = ledger.column("decision").to_pylist()
        found = measure_effects(columns, read_lots(ledger, names), kept, rules, exceptions)
        effects = [one.add(other) for one, other in zip(effects, found, strict=True)]
    if tuple(effects) != manifest.exceptions:
        problem = "exceptions doesn't match the scores and lots of the rows"
        yield Finding(MANIFEST, problem)
