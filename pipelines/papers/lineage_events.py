"""OpenLineage events about a run: what it read, what it wrote, and from which runs it was made.

Format: https://openlineage.io/spec/2-0-2/OpenLineage.json.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any
from urllib.parse import urlsplit

from pipelines.papers.attestations import PROJECT, write_time
from pipelines.papers.facts import RunFacts, name_command
from schemas.digests import canonicalise_json
from schemas.manifests import InputFile, Manifest

SPEC = "https://openlineage.io/spec"
EVENT_SCHEMA = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
NAMESPACE = "congener"

FACETS = {
    "processing_engine": ("ProcessingEngineRunFacet", "1-1-1"),
    "jobType": ("JobTypeJobFacet", "2-0-4"),
    "inputStatistics": ("InputStatisticsInputDatasetFacet", "1-0-0"),
    "outputStatistics": ("OutputStatisticsOutputDatasetFacet", "1-0-2"),
    "version": ("DatasetVersionDatasetFacet", "1-0-1"),
}
"""The facets of the standard that are used, with their versions."""


def write_events(run: str, facts: RunFacts) -> bytes:
    """Return the run's events as JSON Lines: its start, if it is known, and its end.

    Raises: RunError: the run doesn't say when it ended.
    """
    events = build_events(run, facts)
    return b"".join(canonicalise_json(event) + b"\n" for event in events)


def build_events(run: str, facts: RunFacts) -> list[dict[str, Any]]:
    """Return the run's events. Addresses of files are as they were when the run read them."""
    end = write_time(facts.finished)
    own = {"run": _describe_run(facts.manifest), "job": _describe_job(facts.manifest)}
    inputs = [*map(_describe_input, facts.manifest.inputs), *_list_runs(facts)]
    whole = {"producer": PROJECT, "schemaURL": EVENT_SCHEMA, **own}
    events: list[dict[str, Any]] = []
    seconds = facts.manifest.circumstances.get("seconds")
    if isinstance(seconds, int | float):
        begun = dt.datetime.fromisoformat(end) - dt.timedelta(seconds=int(seconds))
        time = write_time(begun.isoformat())
        events.append({"eventType": "START", "eventTime": time, **whole, "inputs": inputs})
    outputs = [_describe_output(run, facts)]
    complete = {"eventType": "COMPLETE", "eventTime": end, "inputs": inputs, "outputs": outputs}
    return [*events, {**complete, **whole}]


def name_run(run_id: str) -> str:
    """Return the UUID of a run, which depends on its id alone."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{PROJECT}/runs/{run_id}"))


def _build_facet(facet: str, **fields: Any) -> dict[str, Any]:
    kind, version = FACETS[facet]
    schema = f"{SPEC}/facets/{version}/{kind}.json#/$defs/{kind}"
    return {"_producer": PROJECT, "_schemaURL": schema, **fields}


def _describe_run(manifest: Manifest) -> dict[str, Any]:
    version = manifest.identity.code_version
    engine = _build_facet("processing_engine", version=version, name="congener")
    own = {
        "_producer": PROJECT,
        "_schemaURL": f"{PROJECT}/blob/main/docs/export.md#openlineage",
        "runId": manifest.run_id,
        "ledgerRoot": manifest.ledger_root,
        "decisions": dict(sorted(manifest.conservation.by_decision.items())),
        "policyDigest": manifest.identity.policy_digest,
        "bankDigest": manifest.identity.bank_digest,
    }
    facets = {"processing_engine": engine, "congener_filter": own}
    return {"runId": name_run(manifest.run_id), "facets": facets}


def _describe_job(manifest: Manifest) -> dict[str, Any]:
    kind = _build_facet("jobType", processingType="BATCH", integration="CONGENER", jobType="FILTER")
    return {"namespace": NAMESPACE, "name": name_command(manifest), "facets": {"jobType": kind}}


def _describe_input(item: InputFile) -> dict[str, Any]:
    namespace, name = name_dataset(item.uri)
    statistics = _build_facet("inputStatistics", rowCount=item.rows, size=item.bytes, fileCount=1)
    return {
        "namespace": namespace,
        "name": name,
        "facets": {"version": _build_facet("version", datasetVersion=item.sha256)},
        "inputFacets": {"inputStatistics": statistics},
    }


def _list_runs(facts: RunFacts) -> list[dict[str, Any]]:
    """Return the earlier runs and the donors' runs as data sets."""
    return [
        {
            "namespace": NAMESPACE,
            "name": f"run/{item.run_id}",
            "facets": {"version": _build_facet("version", datasetVersion=item.manifest.ledger_root)}
            if item.manifest
            else {},
            "inputFacets": {},
        }
        for item in facts.ancestors
    ]


def _describe_output(run: str, facts: RunFacts) -> dict[str, Any]:
    namespace, name = name_dataset(run.rstrip("/"))
    size = sum(item.bytes for item in facts.clean)
    statistics = _build_facet(
        "outputStatistics", rowCount=facts.published, size=size, fileCount=len(facts.clean)
    )
    version = _build_facet("version", datasetVersion=facts.manifest.ledger_root)
    return {
        "namespace": namespace,
        "name": f"{name}/clean",
        "facets": {"version": version},
        "outputFacets": {"outputStatistics": statistics},
    }


def name_dataset(uri: str) -> tuple[str, str]:
    """Return the namespace and the name of a file or folder, as OpenLineage names them."""
    parts = urlsplit(uri)
    if not parts.scheme or not parts.netloc:
        return "file", uri.removeprefix("file://")
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/") or "/"
