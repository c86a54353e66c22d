"""A run's findings as results of a scan, which Inspect Scout opens.

A scan (meridianlabs-ai/inspect_scout, 0.6.1) is a folder with a description, a summary, and for
each scanner a Parquet file of results with the transcripts that they are about. Here each trait is
a scanner, and each row on which it fired is a result.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.review.index import name_fired
from pipelines.review.private_files import make_empty, make_private
from pipelines.review.row_files import (
    ReadShard,
    SaidText,
    Tell,
    describe_transcript,
    explain,
    group_messages,
    name_transcript,
    read_shards,
    require_open,
)
from pipelines.review.session import ReviewSession
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.runs.shown_findings import TraitFinding
from pipelines.runs.shown_rows import ShownRow, read_shown_rows
from schemas.errors import StorageError
from schemas.policies import EVERY_OTHER
from schemas.scores import SCORE_DECIMALS
from transforms.named_removals import BY_PERSON

REPEATED = (
    *("source_type", "source_id", "source_uri", "date", "task_set", "task_id", "task_repeat"),
    *("agent", "agent_args", "model", "model_options", "score", "score_explanation"),
    *("total_time", "total_tokens", "error", "limit"),
)
"""What Scout repeats of a transcript in its results, as texts named `transcript_…`."""

TEXTS = (
    *("transcript_id", "transcript_metadata", "scan_id", "scan_tags", "scan_metadata"),
    *("scan_git_origin", "scan_git_version", "scan_git_commit"),
    *("scanner_key", "scanner_name", "scanner_package_version", "scanner_file", "scanner_params"),
    *("input_type", "input_ids", "input", "input_data", "uuid", "label", "value", "value_type"),
    *("answer", "explanation", "metadata", "message_references", "event_references"),
    *("scan_error", "scan_error_traceback", "scan_error_type"),
    *("validation_target", "validation_result", "validation_predicate", "validation_split"),
    *("scan_model_usage", "scan_events", "timestamp"),
)

RESULTS = pa.schema(
    [
        *((name, pa.large_string()) for name in TEXTS),
        *((f"transcript_{name}", pa.large_string()) for name in REPEATED),
        *((f"transcript_{name}", pa.bool_()) for name in ("success", "trust_content")),
        *((name, pa.int64()) for name in ("transcript_message_count", "scanner_version")),
        ("scan_total_tokens", pa.int64()),
    ]
)
"""The columns of Scout's results. What congener doesn't know is null."""


ID_LENGTH = 22
"""Scout's page opens a scan only if its name has so many letters and digits."""


def write_scan(
    session: ReviewSession,
    folder: Path,
    tell: Tell = lambda _done, _of: None,
    chosen: np.ndarray | None = None,
    trait: str | None = None,
) -> dict[str, int]:
    """Write a folder of scans for Inspect Scout with one scan, and count each trait's results.

    Each finding on a row with a text is a result: its score as the value, its action as the label,
    the text around its evidence as the explanation, and a reference to the message that has it.
    `tell` hears how many shards are done, of how many. With `chosen`, only rows with these ledger
    indexes are scanned, and with `trait`, only that trait is a scanner.

    Raises: CongenerError: the review is blind, the folder has files, a row can't be read, or a file
    can't be written.
    """
    require_open(session)
    make_empty(folder)
    scan = folder / f"scan_id={_name_scan(session)}"
    make_private(scan)
    wanted = session.traits if trait is None else [trait]
    counts, names = Counter(dict.fromkeys(wanted, 0)), list[str]()
    try:
        with ExitStack() as stack:
            writers = {
                own: stack.enter_context(
                    pq.ParquetWriter(scan / f"{own}.parquet", RESULTS, compression="zstd")
                )
                for own in wanted
            }
            for shard in read_shards(session, tell, chosen):
                names += [name_transcript(session, shard.first + at) for at in sorted(shard.said)]
                for own, results in _list_results(shard, session, wanted).items():
                    counts[own] += len(results)
                    writers[own].write_table(pa.Table.from_pylist(results, RESULTS))
        _describe_scan(session, scan, counts, names)
    except OSError as error:
        raise StorageError(f"can't be written: {error.strerror}", where=str(scan)) from error
    return dict(counts)


def _name_scan(session: ReviewSession) -> str:
    return session.manifest.digest[:ID_LENGTH]


def _describe_scan(
    session: ReviewSession, scan: Path, counts: Mapping[str, int], names: Sequence[str]
) -> None:
    """Write what Scout shows of a whole scan."""
    scanners = {trait: _describe_scanner(session, trait) for trait in counts}
    described = {
        "scan_id": _name_scan(session),
        "scan_name": f"congener {session.manifest.run_id}",
        "timestamp": _get_time(session),
        "packages": {},
        "transcripts": {"type": "database", "transcript_ids": dict.fromkeys(names)},
        "scanners": scanners,
    }
    counted = {
        trait: {"scans": len(names), "results": count, "errors": 0}
        for trait, count in counts.items()
    }
    summary = {"complete": True, "scanners": counted}
    (scan / "_scan.json").write_text(json.dumps(described, indent=2))
    (scan / "_summary.json").write_text(json.dumps(summary))
    (scan / "_errors.jsonl").write_text("")


def _describe_scanner(session: ReviewSession, trait: str) -> dict[str, Any]:
    (rule,) = (rule for rule in session.reader.rules if rule.trait == trait)
    threshold = None if (own := rule.threshold.value) is None else round(own, SCORE_DECIMALS)
    params = {"signal": rule.signal, "threshold": threshold}
    return {"name": f"congener/{trait}", "version": 0, "params": params}


def _get_time(session: ReviewSession) -> str:
    """Return when the run ended, since Scout wants a time."""
    return str(session.manifest.circumstances.get("finished") or "1970-01-01T00:00:00+00:00")


def _list_results(
    shard: ReadShard, session: ReviewSession, wanted: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the results of a shard's rows by trait, for wanted traits that have any."""
    facts = dict(enumerate(shard.facts.iter_rows(named=True)))
    places = [
        at for at in sorted(shard.said) if any(facts[at][name_fired(trait)] for trait in wanted)
    ]
    indexes = [shard.first + at for at in places]
    rows = read_shown_rows(session.run, session.manifest, indexes, whole=False)
    found: dict[str, list[dict[str, Any]]] = {}
    for at, row in zip(places, rows, strict=True):
        transcript = describe_transcript(shard, at, facts[at], session, row)
        for finding in (item for item in row.reasons if item.trait in wanted):
            result = _describe_result(finding, transcript, shard.said[at], session)
            if finding.is_by_person:
                result |= _describe_removal(row, finding.trait, session)
            found.setdefault(finding.trait, []).append(result)
    return found


def _describe_result(
    finding: TraitFinding,
    transcript: Mapping[str, Any],
    said: Sequence[SaidText],
    session: ReviewSession,
) -> dict[str, Any]:
    scanner, name = _describe_scanner(session, finding.trait), transcript["transcript_id"]
    message = find_message(finding, said)
    cited = [] if message is None else [{"type": "message", "cite": f"[M{message + 1}]"}]
    references = [{**item, "id": f"{name}-{message}"} for item in cited]
    return {
        **{f"transcript_{field}": transcript.get(field) for field in REPEATED},
        "transcript_id": name,
        "transcript_message_count": transcript["message_count"],
        "transcript_trust_content": False,
        "transcript_metadata": json.dumps({"decision": transcript["decision"]}),
        "scan_id": _name_scan(session),
        "scan_tags": "[]",
        "scan_metadata": "{}",
        "scanner_key": finding.trait,
        "scanner_name": scanner["name"],
        "scanner_version": scanner["version"],
        "scanner_params": json.dumps(scanner["params"]),
        "input_type": "transcript",
        "input_ids": json.dumps([name]),
        "input": json.dumps(_build_input(transcript)),
        "uuid": f"{name}-{finding.trait}-{finding.signal}",
        "label": finding.action,
        "value": f"{finding.score:.{SCORE_DECIMALS}f}",
        "value_type": "number",
        "explanation": " ".join([*(item["cite"] for item in cited), explain(finding)]),
        "metadata": json.dumps({"signal": finding.signal, "threshold": finding.threshold}),
        "message_references": json.dumps(references),
        "event_references": "[]",
        "scan_total_tokens": 0,
        "scan_model_usage": "{}",
        "scan_events": "[]",
        "timestamp": _get_time(session),
    }


def _describe_removal(row: ShownRow, trait: str, session: ReviewSession) -> dict[str, Any]:
    """Return what a result says of a row that a person took out: a reason, and no score."""
    exceptions = read_recorded_policy(session.manifest).exceptions
    own = [exceptions[change.number - 1] for change in row.exceptions]
    reasons = [
        item.reason for item in own if item.takes_out_row and item.trait in (trait, EVERY_OTHER)
    ]
    return {
        "value": "true",
        "value_type": "boolean",
        "explanation": ": ".join(["taken out by a person", *reasons[-1:]]),
        "metadata": json.dumps({"signal": BY_PERSON, "threshold": None}),
    }


def _build_input(transcript: Mapping[str, Any]) -> dict[str, Any]:
    """Return a transcript as Scout stores it beside a result, with names for its messages."""
    name = transcript["transcript_id"]
    messages = json.loads(transcript["messages"])
    named = [{"id": f"{name}-{number}", **own} for number, own in enumerate(messages)]
    fields = ("source_type", "source_id", "source_uri", "date", "task_set", "task_id", "model")
    return {
        "transcript_id": name,
        **{field: transcript[field] for field in fields},
        "message_count": len(named),
        "metadata": {"decision": transcript["decision"]},
        "messages": named,
        "events": [],
        "timelines": [],
    }


def find_message(finding: TraitFinding, said: Sequence[SaidText]) -> int | None:
    """Return the number of the message with a finding's evidence, if one has it."""
    for number, (_, own) in enumerate(group_messages(said)):
        if any(_has(text, finding) for text in own):
            return number
    return None


def _has(text: SaidText, finding: TraitFinding) -> bool:
    end = text.start + len(text.text)
    return text.path == finding.field_path and text.start <= finding.start <= end
