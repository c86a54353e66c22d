"""Sentences about a whole run: its title, its origin, its rows, its text and its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from classifiers.library import find_cards
from pipelines.display.excerpts import escape_name
from pipelines.runs.finished import list_outputs
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.version import COMMIT_DIGITS
from schemas.coverage import UnreadText
from schemas.manifests import Identity, Manifest
from schemas.notices import choose_form, format_count, list_names
from schemas.policies import PUBLISHED, Policy
from schemas.runs import count_joined_files, parse_path
from schemas.shares import format_percent
from transforms.files.sources import Corpus

LIMITS = (
    (
        "Scores describe traits that show in a record's text. Covert transfer, through rows that "
        "look clean, is not excluded."
    ),
    (
        "A threshold's guarantee bounds the clean rows lost, on text like the clean text that it "
        "was calibrated on. It holds for each trait alone: ten traits at 1 % may lose up to 10 % "
        "together. It says nothing about trait rows missed."
    ),
    (
        "Removing rows is a weak remedy: published replications find half or more of an inherited "
        "trait left. Prefer to replace the teacher's completions."
    ),
)
"""The limitations that every manifest states."""

MASK_LIMIT = (
    "A masked passage is still in its row. It is left out of the training loss only if the trainer "
    "uses the masks (congener apply-masks)."
)

NOT_LOOKED_FOR = "The run didn't look for these traits of the library: "
"""How the limitation begins that names the traits of the library that didn't run."""

FATES = {
    "quarantine": ("is in quarantine", "are in quarantine", "would be in quarantine"),
    "drop": ("was dropped", "were dropped", "would be dropped"),
    "duplicate": ("repeats an earlier row", "repeat an earlier row", "repeat an earlier row"),
    "reject": ("couldn't be read",) * 3,
}
"""For each decision that removes rows, phrases for one row and for several rows.

The last phrase is for a run from which nothing was published.
"""


def describe_limit(corpus: Corpus) -> str | None:
    """Describe which rows a limited run filters, or return None without a limit."""
    if not corpus.rows_left_out:
        return None
    rows, files = sum(source.rows for source in corpus.sources), len(corpus.sources)
    total = rows + corpus.rows_left_out
    if files == 1 and not corpus.files_left_out:
        return f"only the first {rows:,} of {total:,} rows are filtered"
    most = max(source.rows for source in corpus.sources)
    each = f"at most the first {most:,} rows" if most > 1 else "the first row"
    whole = files + corpus.files_left_out
    of_files = f"{files:,} of {whole:,}" if corpus.files_left_out else f"all {files:,}"
    return f"only {rows:,} of {total:,} rows are filtered: {each} of each file, {of_files} files"


def describe_title(manifest: Manifest) -> str:
    """Return a title: the input, and what it was filtered for."""
    traits = [rule.trait for rule in manifest.thresholds]
    wanted = traits[0] if len(traits) == 1 else f"{len(traits)} traits"
    return f"{name_input(manifest)}, filtered for {wanted}"


def name_input(manifest: Manifest) -> str:
    """Return the name of the input's only file, or of its folder."""
    if len(manifest.inputs) == 1:
        return escape_name(manifest.inputs[0].name)
    folders = {item.uri.removesuffix(item.name).rstrip("/") for item in manifest.inputs}
    name = folders.pop().rpartition("/")[2] if len(folders) == 1 else ""
    return f"Data in …/{escape_name(name)}" if name else f"{len(manifest.inputs):,} files"


def describe_origin(manifest: Manifest, policy: Policy) -> Iterator[str]:
    """Yield the run's date, operator and versions, as far as the manifest has them."""
    known = manifest.circumstances
    if finished := manifest.describe_finish():
        yield f"finished {finished}"
    if operator := known.get("operator"):
        yield f"by {escape_name(str(operator))}"
    if policy == Policy():
        yield "no policy: each trait's card decides"
    else:
        count = len(policy.exceptions)
        suffix = f" with {format_count(count, 'exception')}" if count else ""
        yield f"policy {manifest.identity.policy_digest[:12]}{suffix}"
    commit = f", commit {str(known['commit'])[:COMMIT_DIGITS]}" if known.get("commit") else ""
    yield f"congener {manifest.identity.code_version}{commit}"
    yield f"run {manifest.run_id}"


class UnreadRow(NamedTuple):
    """A line in the table of unread text, and whether the text is trained on."""

    text: UnreadText
    trained: str


def describe_unread(manifest: Manifest) -> list[UnreadRow]:
    """List the unread text, and whether it is trained on under the policy."""
    names = {item.where for item in manifest.coverage.select_trained().list_unread()}
    settled, default = read_recorded_policy(manifest), Policy()
    rows = []
    for item in manifest.coverage.list_unread():
        field = "untrained_columns" if item.is_sampled else "untrained_roles"
        who = "default" if getattr(settled, field) == getattr(default, field) else "the policy"
        trained = "yes, expected" if item.is_expected else "yes"
        rows.append(UnreadRow(item, trained if item.where in names else f"no, by {who} ({field})"))
    return rows


def describe_scope_share(manifest: Manifest) -> str:
    """State how much of the trained turns' text is in some trait's scope."""
    turns = manifest.coverage.select_trained().turns
    whole = sum(turn.characters for turn in turns)
    if not whole:
        return ""
    read = whole - sum(turn.unread for turn in turns)
    found = "all of them" if read == whole else f"{read:,} ({format_percent(read / whole)}) of them"
    return (
        f"The turns that are trained on have {format_count(whole, 'character')}, and some trait "
        f"looks at {found}."
    )


def describe_joined_files(manifest: Manifest) -> str:
    """Say that files of `clean/` hold rows of several input files, or return an empty text."""
    clean = [parse_path(output.path) for output in list_outputs(manifest, "clean")]
    joined = [file for file in clean if count_joined_files(file.shard) > 1]
    if not joined:
        return ""
    files, first = format_count(len(clean), "file"), joined[0]
    count = count_joined_files(first.shard)
    return (
        f"{len(manifest.inputs):,} input files, {files} in clean/: small files are joined, and the "
        f"name of a joined file says how many ({first.path()} has rows of {count:,}, and the name "
        "of the first)"
    )


def summarise_rows(manifest: Manifest) -> str:
    """Summarise all rows in a sentence."""
    total, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    out = _sum_decisions(by_decision, PUBLISHED)
    share, verb = format_percent(out / max(total, 1)), "is" if out == 1 else "are"
    verb = verb if manifest.withdrawn is None else "would be"
    parts = [f"{out:,} ({share}) {verb} in the clean corpus"]
    if swapped := by_decision.get("swap", 0):
        parts[0] += f" ({swapped:,} of them with another teacher's answer)"
    for name, (one, many, stopped) in FATES.items():
        if count := by_decision.get(name, 0):
            words = one if count == 1 else many
            parts.append(f"{count:,} {words if manifest.withdrawn is None else stopped}")
    listed = f"{', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]}"
    added = f", {manifest.added:,} of them mixed in from donors" if manifest.added else ""
    return f"Of {format_count(total, 'row')} read{added}, {listed}.{_describe_masked(manifest)}"


def _describe_masked(manifest: Manifest) -> str:
    """Warn of the clean rows with masks, after a space, or return an empty text."""
    masked = manifest.notes.masked
    if not masked or manifest.withdrawn is not None:
        return ""
    verb = choose_form(masked, "contains", "contain")
    return (
        f" {masked:,} of the clean rows still {verb} the masked text, which a trainer learns "
        "unless it applies the masks."
    )


def _sum_decisions(by_decision: Mapping[str, int], names: Iterable[str]) -> int:
    return sum(by_decision.get(name, 0) for name in names)


def list_limits(corpus: Corpus, traits: Collection[str], masked: int) -> tuple[str, ...]:
    """Return the limitations of a run with this corpus, these traits and `masked` masked rows."""
    limits = [*LIMITS, *([MASK_LIMIT] if masked else [])]
    if part := describe_limit(corpus):
        limits.append(f"The run covers a part of its input: {part}.")
    if left := [card.id for card in find_cards() if card.id not in traits]:
        limits.append(f"{NOT_LOOKED_FOR}{list_names(left)}.")
    return tuple(limits)


def list_code_limits(earlier: Manifest, now: Identity) -> tuple[str, ...]:
    """Return the limitation of a run whose scores other versions of the code computed, if any.

    A new run with the versions of now could have other scores.
    """
    old = earlier.identity
    versions = {"congener": old.code_version, **old.packages}
    current = {"congener": now.code_version, **now.packages}
    names = [name for name in versions | current if versions.get(name) != current.get(name)]
    if not names:
        return ()
    listed = list_names([f"{name} {versions.get(name, 'unknown')}" for name in names])
    return (f"The scores are those of run {earlier.run_id}, which other versions made: {listed}.",)
