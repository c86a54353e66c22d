"""An in-toto statement about a run's clean rows, with SLSA's provenance as its predicate.

Formats: https://github.com/in-toto/attestation (Statement v1),
https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from pipelines.papers.facts import RunFacts, get_public_address, name_command
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.certificates import Certificate
from schemas.digests import canonicalise_json

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
PROJECT = "https://github.com/congener/congener"
BUILD_TYPE = f"{PROJECT}/blob/main/docs/export.md#in-toto"


def build_statement(facts: RunFacts) -> dict[str, Any]:
    """Return a statement whose subjects are the files in `clean/`.

    It isn't signed, and depends on nothing but the run.

    Raises: RunError: the run has no clean file, or doesn't say when it ended.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": item.path, "digest": {"sha256": item.sha256}} for item in facts.clean],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": _define_build(facts),
            "runDetails": _describe_run(facts),
        },
    }


def _define_build(facts: RunFacts) -> dict[str, Any]:
    manifest = facts.manifest
    identity = manifest.identity
    external: dict[str, Any] = {
        "command": name_command(manifest),
        "configDigest": identity.config_digest,
        "policyDigest": identity.policy_digest,
        "thresholds": {rule.trait: rule.threshold for rule in manifest.thresholds},
        "actions": {rule.trait: rule.action for rule in manifest.thresholds},
        "exceptions": [
            item.model_dump(mode="json", exclude_none=True)
            for item in read_recorded_policy(manifest).exceptions
        ],
    }
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": external,
        "internalParameters": {
            "codeVersion": identity.code_version,
            "computedIn": identity.computed_in,
            "packages": dict(sorted(identity.packages.items())),
        },
        "resolvedDependencies": list_dependencies(facts),
    }


def list_dependencies(facts: RunFacts) -> list[dict[str, Any]]:
    """Return the inputs, the bank, the donors and the earlier runs, each with its digest."""
    manifest = facts.manifest
    found = []
    for item in manifest.inputs:
        address = get_public_address(item)
        own = {"name": f"input/{item.name}", "digest": {"sha256": item.sha256}}
        found.append({**own, "uri": address} if address else own)
    found.append({"name": "bank", "digest": {"sha256": manifest.identity.bank_digest}})
    for kind, record in (("swap", manifest.swap), ("mix", manifest.mix)):
        for donor in record.donors if record else ():
            digest = {"sha256": donor.ledger_root}
            found.append({"name": f"{kind}/donor/{donor.name}/ledger-root", "digest": digest})
        earlier = manifest.swap.earlier if manifest.swap and kind == "swap" else ()
        for swap in earlier:
            for donor in swap.donors:
                name = f"swap/{swap.run_id}/donor/{donor.name}/ledger-root"
                found.append({"name": name, "digest": {"sha256": donor.ledger_root}})
        if record is not None:
            digest = {"sha256": record.parent_digest}
            found.append({"name": f"{kind}/parent/{record.parent}", "digest": digest})
    for ancestor in facts.ancestors:
        if ancestor.manifest is not None:
            digest = {"sha256": ancestor.manifest.ledger_root}
            found.append({"name": f"run/{ancestor.run_id}/ledger-root", "digest": digest})
    return found


def _describe_run(facts: RunFacts) -> dict[str, Any]:
    manifest = facts.manifest
    metadata = {"invocationId": manifest.run_id, "finishedOn": write_time(facts.finished)}
    roots = {
        "ledger-root": manifest.ledger_root,
        "manifest.json": facts.manifest_sha256,
        "manifest-digest": manifest.digest,
    }
    return {
        "builder": {"id": PROJECT, "version": {"congener": manifest.identity.code_version}},
        "metadata": metadata,
        "byproducts": [
            *({"name": name, "digest": {"sha256": digest}} for name, digest in roots.items()),
            *_describe_certificate(facts),
        ],
    }


def _describe_certificate(facts: RunFacts) -> Iterator[dict[str, Any]]:
    """Yield the certificate as a resource, with what it states in its annotations."""
    found, history = facts.certificate, facts.statements
    if found is None:
        return
    residual = found.together.residual
    yield {
        "name": "certificate-digest",
        "digest": {"sha256": found.digest},
        "annotations": {
            "traits": [item.trait for item in found.traits],
            "raters": list(found.raters),
            "confidence": round(1 - found.risk, 6),
            "keptRows": residual.rows,
            "readRows": residual.read,
            "showTraitAtMost": found.together.decisive,
            "target": found.at_most,
            "targetMet": found.met,
            "adjustedForRaters": residual.adjusted is not None,
            "maskedRows": found.masked,
            "maskedTextCountsAs": "text" if found.masked is None else "removed",
            "statements": len(history),
            "firstShowTraitAtMost": history[0].bound if history else None,
            "lastStatement": history[-1].digest if history else None,
            **_describe_carried(found),
        },
    }


def _describe_carried(found: Certificate) -> dict[str, Any]:
    """Return what says that a certificate was carried over, or nothing."""
    rows = found.together.residual.carried
    if found.carried is None or rows is None:
        return {}
    return {
        "carriedFromRun": found.carried.run_id,
        "carriedFromStatement": found.carried.statement,
        "carriedFromStatements": found.carried.number,
        "carriedFromFirstShowTraitAtMost": found.carried.first,
        "addedRows": rows.added,
    }


def write_time(text: str) -> str:
    """Return a time of ISO 8601 in UTC with the suffix `Z`."""
    time = dt.datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=dt.UTC)
    return f"{time.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def write_statement(facts: RunFacts) -> bytes:
    """Return the statement as canonical JSON, which a signer can take as it is."""
    return canonicalise_json(build_statement(facts)) + b"\n"
