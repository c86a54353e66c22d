"""`congener verify`: recompute everything that a manifest says, and name what differs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs.finished import MANIFEST, load_run
from pipelines.runs.unfinished import FOLDERS, present, run_id
from pipelines.version import VERSION
from schemas.corpora import CorpusConfig
from schemas.digests import RECORD_ID_HEX, compute_merkle_root, digest_bytes, digest_config
from schemas.errors import CardError, InputError, RunError
from schemas.manifests import Manifest, Output
from schemas.outputs import CLEAN_EXTRA, LEDGER
from schemas.policies import PUBLISHED
from transforms.files import storage
from transforms.records.formats import settle_layout
from transforms.records.segments import content_digests, segments_of
from transforms.tables import ledger_leaves

FOLDER_OF = {**dict.fromkeys(PUBLISHED, "clean"), "quarantine": "quarantine", "reject": "rejects"}
"""Where the rows of each decision stand; rows of the others stand nowhere."""


OUTPUT = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w.-]+\.parquet")
ANCHOR_DIGITS = 16
"""Fewest hex digits of a recorded digest that are taken for it."""
ANCHOR = re.compile(rf"[0-9a-fA-F]{{{ANCHOR_DIGITS},64}}")


class Recorded(NamedTuple):
    """Digests of a run that were kept elsewhere, or the first digits of them."""

    root: str | None = None
    digest: str | None = None


class Finding(NamedTuple):
    """Something that isn't as the manifest says: the file (or the manifest's field), and how it differs."""

    where: str
    problem: str


def verify_run(run: str, inputs: bool = False, recorded: Recorded | None = None) -> list[Finding]:
    """Return all that differs from the manifest; nothing when the run is whole.

    With `inputs`, the input files are digested again too, where the manifest says they lie. `recorded` are digests kept
    elsewhere: without them, whoever can write the run can make another one whole in its place.

    Raises: RunError: The manifest is missing.
    Raises: CardError: The recorded digests are no digests.
    """
    recorded = recorded or Recorded()
    _require_digests(recorded)
    try:
        manifest = load_run(run)
    except RunError as error:
        if storage.exists(storage.join(run, MANIFEST)):
            return [Finding(MANIFEST, str(error))]
        raise
    findings = [*_anchored(manifest, recorded), *_manifest(run, manifest), *_files(run, manifest)]
    for check in (_rows, _totals):
        findings += (
            [] if findings else check(run, manifest)
        )  # a file that isn't as written would only repeat itself
    return findings + (list(_inputs(manifest)) if inputs else [])


def _require_digests(recorded: Recorded) -> None:
    for name, wanted in recorded._asdict().items():
        if wanted is not None and not ANCHOR.fullmatch(wanted):
            raise CardError(
                f"--{name} {wanted!r} is no digest",
                remedy=f"give {ANCHOR_DIGITS} to 64 of its hex digits",
            )


def _anchored(manifest: Manifest, recorded: Recorded) -> Iterator[Finding]:
    """Compare with what was recorded elsewhere."""
    for name, wanted, found in (
        ("ledger_root", recorded.root, manifest.ledger_root),
        ("digest", recorded.digest, manifest.digest),
    ):
        if wanted is not None and not found.startswith(wanted.lower()):
            yield Finding(MANIFEST, f"{name} is {found}, recorded is {wanted}")


def _manifest(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check what the manifest says of itself, and that it is, to the byte, what congener wrote: its digest covers its fields alone."""
    if manifest.to_bytes() != storage.read_bytes(storage.join(run, MANIFEST)):
        yield Finding(MANIFEST, "isn't written as congener writes it")
    if manifest.seal() != manifest.digest:
        yield Finding(MANIFEST, "doesn't match its own digest: it was edited")
    identity = manifest.identity
    for name, part, digest in (
        ("config", manifest.config, identity.config_digest),
        ("policy", manifest.policy, identity.policy_digest),
    ):
        if digest_config(part) != digest:
            yield Finding(MANIFEST, f"{name} doesn't match its digest in the identity")
    if (
        tuple((source.name, source.rows, source.sha256) for source in manifest.inputs)
        != identity.inputs
    ):
        yield Finding(MANIFEST, "inputs aren't those of the identity")
    if run_id(manifest.identity.model_dump(mode="json")) != manifest.run_id:
        yield Finding(MANIFEST, "run_id isn't the digest of the identity")
    if not manifest.conservation.holds():
        yield Finding(
            MANIFEST, f"{manifest.conservation.rows_in} rows in aren't the sum of the decisions"
        )
    if (
        compute_merkle_root([bytes.fromhex(root) for _, root in manifest.shards]).hex()
        != manifest.ledger_root
    ):
        yield Finding(MANIFEST, "ledger_root isn't the Merkle root of the shards' roots")


def _files(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check every output's bytes, and that nothing stands beside them."""
    for output in manifest.outputs:
        uri = storage.join(run, output.path)
        if not OUTPUT.fullmatch(output.path):
            yield Finding(MANIFEST, f"names {output.path!r}, which is no file of a run")
        elif not storage.exists(uri):
            yield Finding(output.path, "is missing")
        else:
            data = storage.read_bytes(uri)
            if (digest_bytes(data), len(data)) != (output.sha256, output.bytes):
                yield Finding(output.path, "was changed: its SHA-256 or size isn't the manifest's")
    if len({output.path for output in manifest.outputs}) < len(manifest.outputs):
        yield Finding(MANIFEST, "names a file twice")
    known = {output.path for output in manifest.outputs} | {MANIFEST}
    yield from (
        Finding(path, "isn't in the manifest") for path in present(run) if path not in known
    )


def _rows(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check every ledger row against the file that it says the row went to."""
    by_shard: dict[str, dict[str, Output]] = {}
    for output in manifest.outputs:
        folder, name = output.path.split("/", 1)
        by_shard.setdefault(name.removesuffix(".parquet"), {})[folder] = output
    for shard, root in manifest.shards:
        files = by_shard.get(shard, {})
        if "ledger" not in files:
            if root != compute_merkle_root([]).hex():
                yield Finding(f"ledger/{shard}.parquet", "isn't in the manifest")
            continue
        try:
            ledger = _table(run, files["ledger"])
            if compute_merkle_root(ledger_leaves(ledger)).hex() != root:
                yield Finding(files["ledger"].path, "its rows don't give the shard's Merkle root")
            yield from _shard(run, manifest, files, ledger)
        except (
            pa.ArrowException,
            LookupError,
            TypeError,
            ValueError,
            OSError,
            InputError,
        ) as error:
            yield Finding(
                files["ledger"].path,
                f"it, or a file of its shard, can't be read as a run's: {error!r}",
            )


def _table(run: str, output: Output) -> pa.Table:
    return pq.read_table(pa.BufferReader(storage.read_bytes(storage.join(run, output.path))))


def _shard(
    run: str, manifest: Manifest, files: dict[str, Output], ledger: pa.Table
) -> Iterator[Finding]:
    rows = ledger.select([name for name in LEDGER.names if name != "reasons"]).to_pylist()
    for folder in ("clean", "quarantine", "rejects"):
        expected = [row for row in rows if FOLDER_OF.get(row["decision"]) == folder]
        if not expected and folder not in files:
            continue
        if folder not in files:
            yield Finding(
                files["ledger"].path,
                f"{len(expected)} rows went to {folder}/, which has no such file",
            )
            continue
        table = _table(run, files[folder])
        if table.num_rows != len(expected) or table.num_rows != files[folder].rows:
            yield Finding(
                files[folder].path,
                f"has {table.num_rows} rows, the ledger {len(expected)}, the manifest {files[folder].rows}",
            )
        elif [(row["output"], row["output_row"]) for row in expected] != [
            (files[folder].path, at) for at in range(len(expected))
        ]:
            yield Finding(
                files["ledger"].path, f"rows don't stand in {folder}/ where the ledger says"
            )
        elif folder == "rejects":
            yield from _raws(files[folder], table, [row["content_digest"] for row in expected])
        else:
            yield from _contents(
                manifest, files[folder], table, [row["content_digest"] for row in expected]
            )
    yield from _aligned(run, files, ledger)


def _contents(
    manifest: Manifest, output: Output, table: pa.Table, digests: list[str]
) -> Iterator[Finding]:
    """Recompute the content digests of published and quarantined rows."""
    corpus = (
        table.drop_columns([CLEAN_EXTRA.name]) if CLEAN_EXTRA.name in table.column_names else table
    )
    config = CorpusConfig(format=manifest.identity.format, columns=manifest.identity.columns)
    layout = settle_layout(corpus.schema, config)
    found = content_digests(corpus, segments_of(corpus, layout), layout)
    for at, (mine, theirs) in enumerate(zip(found, digests, strict=True)):
        if mine != theirs:
            yield Finding(
                output.path,
                f"row {at} isn't the record that the ledger names ({theirs[:RECORD_ID_HEX]})",
            )


def _raws(output: Output, table: pa.Table, digests: list[str]) -> Iterator[Finding]:
    """Digest the bytes of rejects again."""
    for at, (raw, digest) in enumerate(zip(table.column("raw").to_pylist(), digests, strict=True)):
        if digest_bytes(raw) != digest:
            yield Finding(output.path, f"row {at} isn't the reject that the ledger names")


def _aligned(run: str, files: dict[str, Output], ledger: pa.Table) -> Iterator[Finding]:
    """Check that the scores stand in the ledger's order."""
    if "scores" not in files:
        yield Finding(files["ledger"].path, "has no scores beside it")
        return
    scores = _table(run, files["scores"])
    if not scores.select(["source", "row"]).equals(ledger.select(["source", "row"])):
        yield Finding(files["scores"].path, "isn't aligned with the ledger")


def _totals(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Count decisions, fired traits and input rows again."""
    decisions: Counter[str] = Counter()
    fired: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for output in manifest.outputs:
        if output.path.startswith("ledger/"):
            ledger = _table(run, output)
            decisions.update(ledger.column("decision").to_pylist())
            seen.update(ledger.column("source").to_pylist())
            for reasons in ledger.column("reasons").to_pylist():
                fired.update({reason["trait"] for reason in reasons})
    yield from _scored(run, manifest)
    if dict(decisions) != {
        name: count for name, count in manifest.conservation.by_decision.items() if count
    }:
        yield Finding(
            "ledger/", f"counts {dict(decisions)}, the manifest {manifest.conservation.by_decision}"
        )
    if dict(fired) != manifest.fired:
        yield Finding("ledger/", f"traits fired {dict(fired)}, the manifest says {manifest.fired}")
    for source in manifest.inputs:
        if seen[source.name] != source.rows:
            yield Finding(
                "ledger/", f"has {seen[source.name]} rows of {source.name}, which has {source.rows}"
            )


def _scored(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that every trait has scores, and count the rows, rejects apart, that none looked at."""
    traits, unscored = (
        [rule.trait for rule in manifest.thresholds],
        -manifest.conservation.by_decision.get("reject", 0),
    )
    for output in manifest.outputs:
        if output.path.startswith("scores/"):
            scores = _table(run, output)
            if lacking := [trait for trait in traits if trait not in scores.column_names]:
                yield Finding(output.path, f"has no scores of trait {lacking[0]}")
                return
            seen = np.logical_or.reduce(
                [scores.column(trait).is_valid().to_numpy() for trait in traits]
            )
            unscored += scores.num_rows - int(seen.sum())
    if unscored != manifest.unscored:
        yield Finding(
            "scores/", f"has {unscored} rows without any score, the manifest {manifest.unscored}"
        )


def _inputs(manifest: Manifest) -> Iterator[Finding]:
    for source in manifest.inputs:
        if not storage.exists(source.uri):
            yield Finding(source.uri, "input is not there any more")
        elif digest_bytes(storage.read_bytes(source.uri)) != source.sha256:
            yield Finding(source.uri, "input was changed since the run")


def summary(manifest: Manifest, findings: list[Finding]) -> dict[str, object]:
    """Describe the outcome for machines."""
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
