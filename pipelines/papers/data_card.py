"""The data card for the hub: README.md with YAML before it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from pipelines.display.terminal import escape_controls
from pipelines.papers.assurances import describe_cautions, describe_exceptions, describe_reading
from pipelines.papers.facts import (
    Ancestor,
    RunFacts,
    describe_models,
    get_public_address,
    name_command,
)
from pipelines.papers.markdown import build_table, describe_tokens, escape, tabulate_generators
from schemas.manifests import Manifest, SettledThreshold
from schemas.runs import CLEAN_CARD
from schemas.shares import format_bound, format_percent
from transforms.files import storage
from transforms.files.splits import find_split

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B")
"""The hub's categories of sizes, each ten times the one before."""

LONGEST_LIMIT = 2_000
"""How many characters of a sentence about the run's limits are shown."""

NOT_STATED = "not stated"
"""What takes the place of a bound that isn't promised, as in the report."""

UNKNOWN_FIELDS = ("language", "source_datasets")
"""Fields of the hub that a run may not know, and that no option gives."""

HUB_FILE = re.compile(r"hf://datasets/([^/@]+/[^/@]+)")

MOST_FILES = 100
"""How many input files are listed."""

DECISIONS = {
    "keep": "kept as they were",
    "flag": "kept with a note",
    "mask": "kept with masks: a trainer leaves these passages out of the loss",
    "swap": "kept with another model's answer",
    "mix": "added from other models' corpora",
    "quarantine": "taken out, and held for reading",
    "drop": "taken out",
    "duplicate": "taken out as copies",
    "reject": "couldn't be read",
}


def write_card(run: str, facts: RunFacts) -> bytes:
    """Return the card as a file."""
    lines = ["---", *_write_front_matter(run, facts), "---", "", *_write_body(facts)]
    return ("\n".join(lines) + "\n").encode()


def _write_front_matter(run: str, facts: RunFacts) -> Iterator[str]:
    fields: dict[str, Any] = {**_read_splits(run, facts)}
    if facts.user.title:
        fields["pretty_name"] = escape_controls(facts.user.title)
    if facts.user.licence:
        fields["license"] = facts.user.licence
    fields["task_categories"] = ["text-generation"]
    if sources := _list_sources(facts.manifest):
        fields["source_datasets"] = sources
    fields["size_categories"] = [_choose_size(facts.published)]
    fields["tags"] = ["congener"]
    yield from yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).splitlines()
    yield from (f"# {name}: not known" for name in UNKNOWN_FIELDS if name not in fields)
    for name in ("pretty_name", "license"):
        if name not in fields:
            yield f"# {name}: to be filled in"


def _list_sources(manifest: Manifest) -> list[str]:
    """Return the data sets of the hub that all input files are from, or nothing."""
    found = [HUB_FILE.match(item.uri) for item in manifest.inputs]
    names = dict.fromkeys(item[1] for item in found if item)
    return list(names) if all(found) else []


def _read_splits(run: str, facts: RunFacts) -> dict[str, Any]:
    """Return the splits and columns in the run's own card, or the splits in its files' names."""
    if not any(item.path == CLEAN_CARD for item in facts.manifest.outputs):
        return _find_splits(facts)
    text = storage.read_bytes(storage.join(run, CLEAN_CARD)).decode()
    fields = yaml.safe_load(text.partition("---\n")[2].partition("\n---")[0])
    found = {name: fields[name] for name in ("configs", "dataset_info") if name in fields}
    return found if "configs" in found else {**_find_splits(facts), **found}


def _find_splits(facts: RunFacts) -> dict[str, Any]:
    """Return a config with the clean files of each split; those without a split are train.

    Without it, as for many files, `datasets` finds the splits by the same names.
    """
    files: dict[str, list[str]] = {}
    for item in facts.clean:
        name = item.path.removeprefix("clean/")
        files.setdefault(find_split(name) or "train", []).append(name)
    if not files or len(facts.clean) > MOST_FILES:
        return {}
    listed = [{"split": split, "path": files[split]} for split in sorted(files)]
    return {"configs": [{"config_name": "default", "data_files": listed}]}


def _choose_size(rows: int) -> str:
    digits = max(0, len(str(max(rows - 1, 0))) - 3)
    return SIZES[min(digits, len(SIZES) - 1)]


def _write_body(facts: RunFacts) -> Iterator[str]:
    user, manifest = facts.user, facts.manifest
    yield f"# {escape(user.get('title', 'title'))}"
    yield ""
    yield escape(user.get("description", "what the data are for, and who made them"))
    yield ""
    yield f"- Licence: {escape(user.get('licence', 'licence'))}"
    yield f"- Provider: {escape(user.get('provider', 'provider'))}"
    yield f"- Rows: {facts.published:,}"
    yield f"- Format: {escape(manifest.identity.format)}"
    yield f"- {describe_tokens(facts)}"
    yield ""
    yield "## Models whose text is in the data"
    yield ""
    yield from tabulate_generators(facts, linked=True)
    yield ""
    yield from _describe_filter(facts)
    yield from describe_reading(facts)
    yield from _describe_origin(facts)
    if manifest.notes.masked:
        yield "Masks are in the column `congener`."
        yield "A trainer that ignores them learns the masked text."
        yield ""
    yield "## What this doesn't show"
    yield ""
    yield from (f"- {escape(limit, LONGEST_LIMIT)}" for limit in manifest.limits)


def _describe_filter(facts: RunFacts) -> Iterator[str]:
    manifest = facts.manifest
    yield "## How the data were filtered"
    yield ""
    models = ", ".join(map(escape, describe_models(manifest))) or "no model"
    version = escape(manifest.identity.code_version)
    yield f"congener {version} scored every row for these traits, with {models}."
    yield "The bound is the largest share of clean rows on which the trait fires, if they are like"
    yield "the text on which its threshold was calibrated."
    yield ""
    head = ("trait", "action", "threshold>", "bound>", "confidence>", "rows on which it fired>")
    rows = [
        (
            escape(rule.trait),
            escape(rule.action),
            f"{rule.threshold:.4f}",
            _describe_bound(rule, manifest),
            "–" if rule.bound is None else format_percent(rule.confidence, 0),
            f"{manifest.count_fired(rule.trait) - facts.taken.get(rule.trait, 0):,}",
        )
        for rule in manifest.thresholds
    ]
    yield from build_table(head, rows)
    if facts.taken:
        taken = (f"{count:,} for {escape(name)}" for name, count in facts.taken.items())
        yield ""
        yield f"Apart from these, a person took out rows by name: {', '.join(taken)}."
    yield ""
    found = facts.decisions.items()
    rows_of = [(escape(name), f"{rows:,}", DECISIONS[name]) for name, rows in found]
    yield from build_table(("decision", "rows>", "what became of them"), rows_of)
    yield ""
    yield "A row on which several traits fire counts for each of them, and has one decision."
    yield ""
    yield from describe_exceptions(facts)
    yield from describe_cautions(facts)


def _describe_bound(rule: SettledThreshold, manifest: Manifest) -> str:
    """Return a trait's bound, with the doubt that a warning of the run casts on it."""
    if rule.bound is None:
        return NOT_STATED
    doubt = " (may not hold)" if rule.trait in manifest.list_remarks() else ""
    return f"{format_bound(rule.bound)}{doubt}"


def _describe_origin(facts: RunFacts) -> Iterator[str]:
    manifest = facts.manifest
    yield "## Where the data are from"
    yield ""
    files = [
        (escape(item.name), escape(get_public_address(item) or "-"), f"{item.rows:,}", item.sha256)
        for item in manifest.inputs[:MOST_FILES]
    ]
    yield from build_table(("file", "address", "rows>", "SHA-256"), files)
    if len(manifest.inputs) > MOST_FILES:
        yield ""
        yield f"{len(manifest.inputs) - MOST_FILES:,} more files are in the manifest."
    yield ""
    yield f"- This run: {manifest.run_id}, made by {name_command(manifest)}"
    yield from (_describe_ancestor(item) for item in facts.ancestors)
    yield f"- Ledger: Merkle root {manifest.ledger_root}"
    yield f"- Manifest: digest {manifest.digest} (its file has the SHA-256 {facts.manifest_sha256})"
    yield f"- Check the run: `congener verify RUN --digest {manifest.digest}`"
    yield ""


def _describe_ancestor(item: Ancestor) -> str:
    return f"- Earlier run: {escape(item.run_id)}, {escape(item.describe())}"
