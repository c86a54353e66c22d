"""Notices about a run's settings: the input, the device, and the thresholds' basis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from classifiers.banks import Bank
from classifiers.guarantees.calibration import count_allowed
from pipelines.config import make_absolute
from pipelines.corpus_sample import CORPUS_SAMPLE
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.policies import EVERY_OTHER, Policy
from schemas.runs import CLEAN_CARD, MANIFEST
from schemas.scores import LIKELY, TEXTS_OF_SIDES, fires
from schemas.shares import format_percent
from transforms.files import storage
from transforms.files.kinds import Kind
from transforms.files.samples import Sample, list_flagged, take_values
from transforms.files.sources import Corpus
from transforms.files.splits import find_split, list_splits, rank_split
from transforms.files.stems import build_stem
from transforms.records.column_types import is_texts
from transforms.records.columns import find_type
from transforms.records.companions import is_companion
from transforms.records.fields import TURNS, is_role
from transforms.records.formats import Layout
from transforms.records.lot_fields import LONGEST_NAME, find_long_texts, find_single_rows
from transforms.records.parts import ROLE_FIELDS
from transforms.records.roles import KNOWN_ROLES, find_unknown_roles
from transforms.records.sides import (
    count_unread_flags,
    find_unread_labels,
    find_untrained_rows,
    list_flag_columns,
)
from transforms.rules import Rule

FILES_NAMED = 5

CONVERTED: dict[Kind, str] = {
    "array": "the elements of JSON arrays come out as JSON Lines, each on one line",
    "objects": "JSON objects over several lines come out as JSON Lines, each on one line",
    "arrow": "Arrow comes out as Parquet, with the same columns and types",
    "csv": "CSV comes out as Parquet, with every value as text, exactly as in the file",
}
"""The notice for each kind of input file whose rows change their file format."""

RARE_TRANSCRIPTS = 0.01
"""The smallest share of uncut transcripts that leads to a warning."""


def describe_corpus(corpus: Corpus, layout: Layout) -> Iterator[Notice]:
    """Describe the input and its format, and name the ignored files."""
    rows = sum(source.rows for source in corpus.sources)
    counts = f"{format_count(len(corpus.sources), 'file')}, {format_count(rows, 'row')}"
    yield Notice(f"input: {counts}; {layout.describe()}")
    if ignored := [uri for uri in corpus.ignored if not is_own_card(uri)]:
        yield Notice(
            "not read, because they aren't named like data files, are second links to a folder, "
            "or belong to the operating system: "
            f"{list_names(ignored, FILES_NAMED)}"
        )
    if corpus.card is not None:
        yield Notice(
            f"splits: {corpus.card.uri} lists their files ({corpus.card.describe()}), "
            f"and {CLEAN_CARD} will list the clean files"
        )
    yield from corpus.notices
    for kind, notice in CONVERTED.items():
        if any(source.kind == kind for source in corpus.sources):
            yield Notice(notice)
    yield from _describe_partitions(corpus)


def is_own_card(uri: str) -> bool:
    """Return whether a file is the card that a run wrote beside its clean rows."""
    path = make_absolute(uri)
    run = path.removesuffix(f"/{CLEAN_CARD}")
    return run != path and storage.exists(storage.join(run, MANIFEST))


def describe_unknown_teachers(corpus: Corpus, layout: Layout) -> Iterator[Notice]:
    """Say that the teacher is unknown, if the files are in folders that may be teachers."""
    if "teacher" in layout.lots:
        return
    if folders := find_teacher_folders(build_stem(source.name) for source in corpus.sources):
        yield Notice(
            "the teacher of every row is unknown, because no column or folder names it; if the "
            f"folders {list_names(folders, FILES_NAMED)} are teachers, add --teacher-column "
            "folder; otherwise rates and exceptions can't tell teachers apart"
        )


def find_teacher_folders(names: Iterable[str]) -> list[str]:
    """Return the folders that may be teachers: beside each other, with files of the same names.

    Folders of splits, folders without letters, such as dates, and folders that hold columns aren't
    among them. Folders above all files are ignored.
    """
    paths = [name.split("/") for name in names]
    while paths and all(len(path) > 1 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    below: dict[str, set[str]] = {}
    for path in paths:
        below.setdefault(path[0] if len(path) > 1 else "", set()).add("/".join(path[1:]))
    are_names = all(
        "=" not in name and any(map(str.isalpha, name)) and find_split(f"{name}/x") is None
        for name in below
    )
    is_alike = len(below) > 1 and bool(set.intersection(*below.values()))
    return sorted(below) if are_names and is_alike else []


def describe_sides(corpus: Corpus, layout: Layout, sample: Sample) -> Iterator[Notice]:
    """Describe which texts have scores of their own, and warn of unread labels and flags."""
    if layout.sides:
        texts = " and ".join(TEXTS_OF_SIDES[side] for side in layout.sides)
        yield Notice(
            f"sides: {texts} are scored separately; `sides` in the policy says what happens to "
            "rows with findings there"
        )
    unread = find_unread_labels(corpus.schema, layout)
    for name in layout.labels:
        yield Notice(f"column {name!r} says which answers are wanted; the others count as rejected")
    for name in unread:
        yield warn(
            f"column {name!r} isn't used to tell wanted answers from unwanted ones, because its "
            f"values aren't labels in {sample.describe()}; if it marks unwanted answers, as KTO "
            "data does, write true and false"
        )
    flags = list_flag_columns(corpus.schema, layout)
    for name in find_untrained_rows(take_values(sample, flags)):
        yield warn(
            f"column {name!r} has values that mean 0, but every row counts as trained; if the "
            "trainer leaves such rows out, remove them, or set the field in each message"
        )
    columns = layout.columns.values()
    for name, count in sorted(count_unread_flags(list_flagged(sample), columns).items()):
        yield warn(
            f"{format_count(count, 'value')} of the message field {name!r} in "
            f"{sample.describe()} can't be read as a flag, so the message counts as trained; write "
            "true or false, or a number"
        )


def describe_speakers(corpus: Corpus, layout: Layout, sample: Sample) -> Iterator[Notice]:
    """Describe how rows of one message or of a list of texts are read."""
    if name := layout.columns.get("role"):
        roles = take_values(sample, [name])[name]
        unknown = Counter(role for role in roles if isinstance(role, str) and not is_role(role))
        yield Notice(
            f"column {name!r} says who speaks in column {layout.columns['text']!r}: each row is "
            "one message, and its role decides which traits look at it"
        )
        if unknown:
            yield warn(
                f"column {name!r} has {format_count(unknown.total(), 'value')} in "
                f"{sample.describe()} without a known role, read as the assistant's: "
                f"{list_names([name for name, _ in unknown.most_common()], FILES_NAMED)}"
            )
    elif layout.format == "text":
        for item in corpus.schema:
            if item.name.lower() in ROLE_FIELDS and not pa.types.is_null(item.type):
                yield warn(
                    f"column {item.name!r} doesn't hold text, so every row counts as the "
                    "assistant's; if the column says who speaks, write names such as user and "
                    "assistant"
                )
    tables = [shard.table for shard in sample.shards]
    for column in TURNS:
        name = layout.columns.get(column, "")
        if name and any(is_texts(find_type(table.schema, name) or pa.null()) for table in tables):
            yield Notice(
                f"column {name!r} holds lists of texts: the first is read as the user's, the "
                "second as the assistant's, and so on in turn"
            )


def _describe_partitions(corpus: Corpus) -> Iterator[Notice]:
    """Name the partition keys, and point out keys that are also columns."""
    if not corpus.partitions:
        return
    yield Notice(
        f"folder names give columns: {list_names(corpus.partitions)}; clean/ keeps the folders, "
        "and lots may use the columns"
    )
    both = [key for key in corpus.partitions if corpus.schema.get_field_index(key) >= 0]
    if both:
        what = (
            "is both a column of the files and a key in folder names; the column is used"
            if len(both) == 1
            else "are both columns of the files and keys in folder names; the columns are used"
        )
        yield Notice(f"{list_names(both)} {what}")


def describe_transcripts(
    shares: Mapping[str, float], layout: Layout, sample: Sample
) -> Iterator[Notice]:
    """Describe the columns that are cut into turns, and warn about uncut transcripts."""
    for name, share in shares.items():
        found = f"{format_percent(share, 0)} of the texts of column {name!r} in {sample.describe()}"
        if name in layout.transcripts:
            yield Notice(
                f"transcripts: {found} hold a whole conversation; they are cut into turns, each "
                "with its own role (--transcripts whole reads each as one text)"
            )
        elif share >= RARE_TRANSCRIPTS:
            yield warn(
                f"{found} look like whole conversations, but each is read as one text; "
                "--transcripts cut separates their turns"
            )


def describe_single_rows(layout: Layout, sample: Sample) -> Iterator[Notice]:
    """Warn about columns that make nearly every row a lot of its own."""
    tables = [shard.table for shard in sample.shards]
    for name, (different, rows) in find_single_rows(tables, layout).items():
        yield warn(
            f"nearly every row is a lot of its own: column {layout.lots[name].column!r} has "
            f"{different:,} different names in {rows:,} rows of {sample.describe()}; set "
            f"corpus.{name} in the configuration to a column whose names many rows share, or to "
            "a constant"
        )


def describe_long_texts(layout: Layout, sample: Sample) -> Iterator[Notice]:
    """Name the lot fields with long texts, which the ledger stores as digests."""
    tables = [shard.table for shard in sample.shards]
    for name, count in find_long_texts(tables, layout).items():
        yield Notice(
            f"{format_count(count, 'value')} of column {layout.lots[name].column!r} in "
            f"{sample.describe()} {choose_form(count, 'is', 'are')} longer than {LONGEST_NAME} "
            "characters; lots name such texts by a digest"
        )


def describe_comparison(corpus: Corpus, layout: Layout) -> Notice:
    """Name the columns that are compared to find duplicates, and the ignored columns."""
    read = list(dict.fromkeys(layout.columns.values()))
    others = [name for name in corpus.schema.names if name not in read]
    compared = read + [name for name in others if is_companion(name)]
    left = [name for name in others if not is_companion(name)]
    text = f"duplicates: rows are equal if they agree in {list_names(compared)}"
    return Notice(f"{text}; not compared: {list_names(left)}" if left else text)


def describe_split_priority(corpus: Corpus, policy: Policy) -> Iterator[Notice]:
    """Name the split that keeps a row if several splits have it."""
    splits = dict.fromkeys(
        split for source in corpus.sources for split in list_splits(source.name, source.splits)
    )
    ordered = sorted(splits, key=lambda split: rank_split(split, policy.split_priority))
    names = [split or "files of no split" for split in ordered]
    if len(names) > 1:
        yield Notice(
            "duplicates: a row that is in several splits stays only in the first of "
            f"{list_names(names)}; split_priority in the policy changes this order"
        )


def describe_settings(
    bank: Bank, rules: Sequence[Rule], policy: Policy, device: str
) -> Iterator[Notice]:
    """Describe device, bank and thresholds, and warn about unsuitable rules."""
    traits = format_count(len(bank.traits), "trait")
    yield Notice(f"device: {device}; bank {bank.digest[:12]} with {traits}")
    yield from describe_unused(bank)
    yield from _describe_calibration(bank, rules)
    yield from warn_of_frequent(bank, rules)
    for rule in rules:
        yield from _warn_of_threshold(rule)
    for name, trait in bank.traits.items():
        if unusual := find_unknown_roles(trait.card.scope.roles):
            yield warn(
                f"trait {name} looks at turns of {list_names(unusual)}; "
                f"in most corpora the roles are {', '.join(KNOWN_ROLES)}"
            )
    yield from describe_default_rule(policy, bank.traits)


def describe_default_rule(policy: Policy, traits: Iterable[str]) -> Iterator[Notice]:
    """Name the traits that follow the policy's rule `*`, or warn that none does."""
    rule = policy.traits.get(EVERY_OTHER)
    others = [name for name in traits if name not in policy.traits]
    if rule is not None and others:
        action = rule.action or "the action of its card"
        follow = f"{format_count(len(others), 'trait')} {choose_form(len(others), 'has', 'have')}"
        yield Notice(f'policy: {follow} the rule "*" ({action}): {list_names(others)}')
    elif rule is not None:
        yield warn('the policy\'s rule "*" is unused: every trait has a rule of its own')


def describe_unused(bank: Bank) -> Iterator[Notice]:
    """Warn of signals that are unused because they would find the opposite of their trait."""
    for name, trait in bank.traits.items():
        if trait.unused:
            yield warn(
                f"trait {name} is detected without its {', '.join(trait.unused)}: its positives "
                "are more like the negatives than like each other; add positives that resemble "
                "each other"
            )


def _describe_calibration(bank: Bank, rules: Sequence[Rule]) -> Iterator[Notice]:
    texts: dict[str, list[int]] = {}
    for rule in rules:
        if rule.threshold.origin == "calibrated":
            source = bank.traits[rule.trait].calibrated_on
            texts.setdefault(source, []).append(rule.threshold.clean)
    for source, counts in texts.items():
        if source.startswith(CORPUS_SAMPLE):
            yield Notice(
                f"thresholds: calibrated on {_describe_range(counts)} rows of the corpus itself "
                f"({source}), which are taken as mostly clean: a trait fires on at most the share "
                "of rows that its level allows, however many rows show it"
            )
            continue
        # all rows of a user's own sample are calibrated on
        is_own = source.startswith("--background ")
        texts_of = "clean rows of" if is_own else "held-out clean texts of the"
        yield Notice(
            f"thresholds: calibrated on {_describe_range(counts)} {texts_of} {source}; "
            "the guarantee holds for text like it"
        )


def warn_of_frequent(bank: Bank, rules: Iterable[Rule]) -> Iterator[Notice]:
    """Warn of traits that may be too frequent in the corpus for a threshold calibrated on it."""
    for rule in rules:
        trait, value = bank.traits[rule.trait], rule.threshold.value
        if rule.threshold.origin != "calibrated" or value is None:
            continue
        scores = trait.calibration[rule.signal]
        likely = int(fires(scores[~np.isnan(scores)], LIKELY).sum())
        allowed = count_allowed(rule.threshold.clean, rule.level)
        if trait.calibrated_on.startswith(CORPUS_SAMPLE) and likely > allowed:
            yield warn(
                f"trait {rule.trait}: {likely:,} rows of the sample score {LIKELY} or more, but "
                f"only {allowed:,} of {rule.threshold.clean:,} may reach the threshold, which is "
                f"therefore {value:.4f}; if most of those rows show the trait, it is missed in "
                "many: accept a higher max_false_positive_rate, or name clean text with "
                "--background FILE"
            )


def _describe_range(counts: Sequence[int]) -> str:
    fewest, most = min(counts), max(counts)
    return str(fewest) if fewest == most else f"{fewest} to {most}"


def _warn_of_threshold(rule: Rule) -> Iterator[Notice]:
    if rule.threshold.value is not None and rule.threshold.value > 1:
        yield warn(
            f"trait {rule.trait} will never fire, because no threshold up to 1 keeps its level"
        )
    if rule.threshold.value == 0:
        yield warn(
            f"the threshold of trait {rule.trait} is 0: it will fire on every row that it looks at"
        )


def warn_of_unscored(manifest: Manifest) -> Iterator[Notice]:
    """Warn of rows about which the run says nothing."""
    if manifest.unscored:
        yield warn(
            f"rows without text that any trait looks at: {manifest.unscored:,}; nothing is known "
            "about them (their scores are null)"
        )
