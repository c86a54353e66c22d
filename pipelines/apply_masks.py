"""`congener apply-masks`: write a run's clean rows as tokens, without loss on masks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

import polars as pl
import pyarrow as pa

from classifiers.models.chat_tokenizers import digest_tokenizer, load_chat_tokenizer
from pipelines.runs.alterations import require_unaltered
from pipelines.runs.finished import (
    MISFITS,
    list_outputs,
    read_json_lines,
    read_table,
    report_damage,
    require_file,
)
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import scan_ledger
from pipelines.token_files import (
    add_columns,
    name_token_file,
    write_split_card,
    write_token_file,
)
from pipelines.version import VERSION
from schemas.errors import ModelError, RowError, RunError
from schemas.events import Listener, RowsFinished, RowsPlanned, ignore
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count, list_names
from schemas.receipts import Output
from schemas.runs import CLEAN_CARD, is_json_lines
from schemas.shares import format_percent
from transforms.files import storage
from transforms.files.dataset_cards import DEFAULT_SPLIT, DatasetCard, read_card
from transforms.files.saved_datasets import encode_stream, write_index
from transforms.files.splits import find_split
from transforms.records.labels import LabelledRow, Labeller
from transforms.records.plain_values import list_rows

RECORD = "congener.json"
"""The file that names the run and the tokenizer behind a folder of tokens."""

LEFT_OUT = "left-out.jsonl"
"""The file that lists the rows that the chat template couldn't render, with reasons."""

REPORTED_ROWS = 100
"""After how many rows of a file the progress is reported."""

LEAST_SHARE = 0.2
"""Masks should leave at least this share of the tokens of a row's answers in the loss."""

LEAST_TOKENS = 10
"""Masks should leave at least this many tokens of a row's answers in the loss."""

LITTLE_NAMED = 5
"""How many rows with little left to learn are named."""

EXCEPTIONS_SHOWN = 20
"""For how many of these rows an exception is shown."""

TOKENIZING = ("tokenizers", "transformers")
"""The packages whose versions can change tokens."""

TOKENS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("attention_mask", pa.list_(pa.int8())),
        ("labels", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class MaskSettings:
    """The settings of `apply-masks`.

    Rows longer than `max_tokens` are cut at their end. With `parquet`, the output has a Parquet
    file for each clean file, in the same folders.
    """

    output: str
    tokenizer: str
    revision: str | None = None
    chat_template: str | None = None
    max_tokens: int | None = None
    leave_out: bool = False
    parquet: bool = False


@dataclass
class AppliedMasks:
    """What has been written: rows by split, and counts of tokens, masks and rows.

    `masked` counts the tokens that the masks take out of the loss. `unused` counts the masks in
    unlearnt text. `unlearnt` counts rows without a learnt token, and `cut` counts shortened rows.
    `little` lists the rows of which masks leave hardly anything to learn: the file and the row of
    the tokens' source, the tokens that are learnt, and `name`, the row's name in the ledger.
    `folders` are those of the clean files, without folders that are splits.
    """

    rows: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    learnt: int = 0
    masked: int = 0
    masked_rows: int = 0
    unused: int = 0
    unlearnt: int = 0
    cut: int = 0
    left_out: list[dict[str, Any]] = field(default_factory=list)
    little: list[dict[str, Any]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Return how many of the run's rows have been read."""
        return sum(self.rows.values()) + len(self.left_out)

    def add(self, split: str, row: LabelledRow) -> None:
        """Count a row."""
        self.rows[split] = self.rows.get(split, 0) + 1
        self.tokens += len(row.input_ids)
        self.learnt += row.learnt
        self.masked += row.masked
        self.masked_rows += bool(row.masked)
        self.unused += row.unused
        self.unlearnt += not row.learnt


def has_little_left(row: LabelledRow) -> bool:
    """Return whether a row's masks leave too few tokens of its answers in the loss."""
    least = max(LEAST_TOKENS, LEAST_SHARE * (row.learnt + row.masked))
    return bool(row.masked) and row.learnt < least


def apply_masks(run: str, settings: MaskSettings, listener: Listener = ignore) -> AppliedMasks:
    """Write a run's clean rows as tokens and labels, in a folder that `datasets` loads.

    `listener` receives the number of rows at the beginning and, now and then, how many are done.

    Raises: CongenerError: the run, the tokenizer or the output can't be used, the clean rows were
    changed, or a row can't be rendered and `leave_out` isn't set.
    """
    manifest = load_manifest(run)
    if manifest.identity.format == "preference":
        raise RunError(
            "holds preference pairs, and a preference trainer compares whole answers",
            where=run,
            remedy="use quarantine for pairs instead of masks",
        )
    outputs = list_outputs(manifest, "clean")
    if not outputs:
        raise RunError(
            "has no clean rows", where=run, remedy="congener inspect shows its decisions"
        )
    require_free_output(run, settings.output)
    require_unaltered(run, manifest, "clean")
    identity = manifest.identity
    labeller = build_labeller(identity.format, identity.columns, settings)
    applied, files = AppliedMasks(), dict[str, list[str]]()
    card = _read_card(run, manifest)
    listener(RowsPlanned(sum(output.rows for output in outputs), 0))
    for output in outputs:
        path = output.path.removeprefix("clean/")
        split = _find_split(path, card)
        _note_folder(path, applied)
        rows = label_rows(
            _read_rows(run, output), run, output.path, split, labeller, settings, applied
        )
        table = tabulate(report_rows(rows, applied, listener))
        names = files.setdefault(split, [])
        if settings.parquet:
            names.append(_write_parquet(run, output, table, identity.columns, settings, applied))
            continue
        names.append(f"data-{len(names):05}.arrow")
        uri = storage.join(settings.output, split, names[-1])
        storage.write_bytes(uri, encode_stream(table))
    applied.little = name_rows(run, manifest, applied.little)
    origin = {"run": manifest.run_id, "manifest": manifest.digest}
    write_records(origin, (run,), settings, applied, labeller.tokenizer)
    write = write_split_card if settings.parquet else write_index
    write(settings.output, files)
    return applied


def _write_parquet(
    run: str,
    output: Output,
    tokens: pa.Table,
    columns: Mapping[str, str],
    settings: MaskSettings,
    applied: AppliedMasks,
) -> str:
    """Write the tokens of a clean file as Parquet, and return the name below the output.

    The other columns of the corpus come along if the clean file is Parquet, too.
    """
    name = name_token_file(output.path)
    if not is_json_lines(output.path):
        left = {item["row"] for item in applied.left_out if item["file"] == output.path}
        clean = read_table(run, output)
        tokens = add_columns(tokens, clean, columns.values(), left)
    write_token_file(storage.join(settings.output, name), tokens)
    return name


def _note_folder(path: str, applied: AppliedMasks) -> None:
    """Note the folder of a clean file, unless it is a split."""
    top, _, below = path.partition("/")
    if below and top not in applied.folders and find_split(f"{top}/x") is None:
        applied.folders.append(top)


def name_rows(
    run: str, manifest: Manifest, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Add the `name` of each clean row, FILE:NUMBER as in the ledger, or None if it has no entry.

    Raises: RunError: the ledger is damaged.
    """
    if not rows:
        return []
    keys = pl.LazyFrame(
        {"output": [row["file"] for row in rows], "output_row": [row["row"] for row in rows]},
        schema={"output": pl.String, "output_row": pl.Int64},
    )
    with report_damage(run, *MISFITS):
        ledger = scan_ledger(run, manifest).join(keys, on=list(keys.collect_schema()), how="semi")
        found = ledger.select("output", "output_row", "source", "row").collect(engine="streaming")
    names = {(path, index): f"{source}:{row}" for path, index, source, row in found.iter_rows()}
    return [{**row, "name": names.get((row["file"], row["row"]))} for row in rows]


def require_free_output(run: str, output: str) -> None:
    """Refuse an output that has files, or is inside the run.

    Raises: RunError: the output can't be used.
    """
    if storage.has_files(output):
        raise RunError("isn't empty", where=output, remedy="choose another --output, or empty it")
    folder, inside = (
        Path(uri).resolve() if storage.is_local(uri) else PurePath(uri) for uri in (run, output)
    )
    if inside.is_relative_to(folder):
        raise RunError(
            f"is inside the run {run}, which is finished",
            where=output,
            remedy="choose an --output outside the run",
        )


LONG_TEXT_WARNING = "sequence-length-is-longer-than-the-specified-maximum"
"""The name under which transformers remembers that it warned of a text beyond its limit."""


def build_labeller(form: str, columns: Mapping[str, str], settings: MaskSettings) -> Labeller:
    """Load the tokenizer with which rows of a format are labelled.

    Raises: ModelError: it can't be loaded, or has no chat template.
    """
    tokenizer = load_chat_tokenizer(settings.tokenizer, settings.revision, settings.chat_template)
    # transformers warns of texts beyond the tokenizer's limit, which are cut or counted here
    tokenizer.deprecation_warnings[LONG_TEXT_WARNING] = True
    if not tokenizer.chat_template and form != "text":
        raise ModelError(
            "has no chat template",
            where=settings.tokenizer,
            remedy="give one with --chat-template FILE, or name the tokenizer of a chat model",
        )
    return Labeller(tokenizer, form, columns)


def _read_card(run: str, manifest: Manifest) -> DatasetCard | None:
    """Return the run's card with each split's files, or None."""
    listed = any(output.path == CLEAN_CARD for output in manifest.outputs)
    return read_card(storage.join(run, CLEAN_CARD)) if listed else None


def _find_split(path: str, card: DatasetCard | None) -> str:
    listed = card.find_splits(path) if card else ()
    return listed[0][1] if listed else find_split(path) or DEFAULT_SPLIT


def label_rows(
    rows: Iterable[Mapping[str, Any]],
    folder: str,
    path: str,
    split: str,
    labeller: Labeller,
    settings: MaskSettings,
    applied: AppliedMasks,
) -> Iterator[LabelledRow]:
    """Label and count the rows of the file `path` in a folder, and yield those it could render.

    Raises: RowError: a row can't be rendered, and `leave_out` isn't set.
    """
    for number, row in enumerate(rows):
        try:
            found = _cut(labeller.label(row), settings.max_tokens, applied)
        except RowError as error:
            where = f"{storage.join(folder, path)} row {number}"
            if not settings.leave_out:
                remedy = f"{error.remedy}; --leave-out leaves such rows out and lists them"
                raise RowError(error.problem, where=where, remedy=remedy) from error
            reason = {"file": path, "row": number, "reason": error.problem}
            applied.left_out.append(reason)
        else:
            applied.add(split, found)
            if has_little_left(found):
                applied.little.append({"file": path, "row": number, "learnt": found.learnt})
            yield found


def report_rows(
    rows: Iterable[LabelledRow], applied: AppliedMasks, listener: Listener
) -> list[LabelledRow]:
    """Return the rows of one file, and report how many are done, now and then and at the end."""
    kept: list[LabelledRow] = []
    for row in rows:
        kept.append(row)
        if not len(kept) % REPORTED_ROWS:
            listener(RowsFinished(applied.done))
    listener(RowsFinished(applied.done))
    return kept


def tabulate(rows: Sequence[LabelledRow]) -> pa.Table:
    """Return labelled rows as a table with the columns that trainers read."""
    tokens = [row.input_ids for row in rows]
    columns = (tokens, [[1] * len(ids) for ids in tokens], [row.labels for row in rows])
    return pa.table(dict(zip(TOKENS.names, columns, strict=True)), schema=TOKENS)


def _cut(row: LabelledRow, limit: int | None, applied: AppliedMasks) -> LabelledRow:
    if limit is None or len(row.input_ids) <= limit:
        return row
    applied.cut += 1
    return row.cut(limit)


def _read_rows(run: str, output: Output) -> Sequence[dict[str, Any]]:
    """Read the rows of a clean file.

    Raises: RunError: the file is missing or damaged.
    """
    require_file(run, storage.join(run, output.path))
    with report_damage(run, ValueError):
        if is_json_lines(output.path):
            return read_json_lines(run, output.path)
        return list_rows(read_table(run, output))


def write_records(
    origin: Mapping[str, str],
    words: Sequence[str],
    settings: MaskSettings,
    applied: AppliedMasks,
    tokenizer: Any,
) -> None:
    """Record where the rows are from and the tokenizer, and list the omitted rows.

    `words` name the rows on the command line.
    """
    record = {
        **origin,
        "code_version": VERSION,
        "tokenizer": settings.tokenizer,
        "revision": settings.revision,
        "chat_template": settings.chat_template,
        "digests": digest_tokenizer(tokenizer),
        "packages": {name: metadata.version(name) for name in TOKENIZING},
        "max_tokens": settings.max_tokens,
        "command": shlex.join(_list_words(words, settings)),
        "rows": applied.rows,
        "left_out": len(applied.left_out),
    }
    data = json.dumps(record, indent=1, ensure_ascii=False).encode()
    storage.write_bytes(storage.join(settings.output, RECORD), data)
    if applied.left_out:
        lines = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in applied.left_out)
        storage.write_bytes(storage.join(settings.output, LEFT_OUT), lines.encode())


def _list_words(words: Sequence[str], settings: MaskSettings) -> Iterator[str]:
    """Yield the words of the command with these settings."""
    yield from ("congener", "apply-masks", *words, "--output", settings.output)
    yield from ("--tokenizer", settings.tokenizer)
    options = {
        "--tokenizer-revision": settings.revision,
        "--chat-template": settings.chat_template,
        "--max-tokens": settings.max_tokens,
    }
    for option, value in options.items():
        if value is not None:
            yield from (option, str(value))
    if settings.leave_out:
        yield "--leave-out"
    if settings.parquet:
        yield "--parquet"


def describe_applied(applied: AppliedMasks, output: str) -> Iterator[str]:
    """Yield what has been written, line by line."""
    total = sum(applied.rows.values())
    splits = ", ".join(f"{split} {count:,}" for split, count in applied.rows.items())
    yield f"{format_count(total, 'row')} as tokens in {output} ({splits})"
    yield (
        f"{applied.learnt:,} of {applied.tokens:,} tokens have a label and are learnt; masks keep "
        f"{format_count(applied.masked, 'token')} in {format_count(applied.masked_rows, 'row')} "
        "out of the loss"
    )
    if applied.unused:
        verb = choose_form(applied.unused, "is", "are")
        yield f"{format_count(applied.unused, 'mask')} {verb} in text that isn't learnt anyway"
    if applied.unlearnt:
        yield (
            f"{format_count(applied.unlearnt, 'row')} with no token to learn; some trainers drop "
            "such rows"
        )
    if applied.little:
        rows = [_name_little(item) for item in applied.little]
        yield (
            f"masks leave fewer than {LEAST_TOKENS} tokens or {format_percent(LEAST_SHARE, 0)} of "
            f"the answers to learn in {format_count(len(rows), 'row')}: "
            f"{list_names(rows, LITTLE_NAMED)}; drop or quarantine such rows instead"
        )
    if applied.cut:
        yield (
            f"{format_count(applied.cut, 'row')} {choose_form(applied.cut, 'was', 'were')} longer "
            f"than --max-tokens and lost {choose_form(applied.cut, 'its end', 'their ends')}"
        )
    if applied.left_out:
        left = format_count(len(applied.left_out), "row")
        yield f"{left} couldn't be rendered: see {output}/{LEFT_OUT}"


def _name_little(item: Mapping[str, Any]) -> str:
    place = f"{item['file']} row {item['row']} (its source isn't known)"
    return item.get("name") or place


def describe_exceptions(applied: AppliedMasks) -> Iterator[str]:
    """Yield a policy's exceptions for rows with little left to learn; the lines may be copied."""
    names = [item["name"] for item in applied.little if item.get("name")]
    if names:
        yield "congener inspect RUN --row FILE:NUMBER shows such a row; a policy quarantines them:"
        yield "exceptions:"
    for name in names[:EXCEPTIONS_SHOWN]:
        row = json.dumps(name, ensure_ascii=False)
        yield f"- {{row: {row}, action: quarantine, reason: masks leave too little to learn}}"
    if (more := len(names) - EXCEPTIONS_SHOWN) > 0:
        yield f"# and {format_count(more, 'more row')} (--json lists them)"


def describe_trainers(
    applied: AppliedMasks, output: str, *, parquet: bool = False
) -> Iterator[str]:
    """Yield what to pass to each trainer, line by line; the lines may be copied."""
    first = next(iter(applied.rows), DEFAULT_SPLIT)
    split = DEFAULT_SPLIT if DEFAULT_SPLIT in applied.rows else first
    folder = output.rstrip("/")
    yield "for the trainer, in place of the rows:"
    if parquet:
        yield f"      TRL            train_dataset=load_dataset({folder!r}, split={split!r})"
        for top in applied.folders[:1]:
            own = f"load_dataset({f'{folder}/{top}'!r}, split={split!r})"
            yield f"                     one folder alone: {own}"
        yield "      Axolotl and LLaMA-Factory read the output without --parquet"
        return
    yield f"      TRL            train_dataset=load_from_disk({folder!r})[{split!r}]"
    for other in applied.rows:
        if other != split:
            yield f"                     split {other}: load_from_disk({folder!r})[{other!r}]"
    for top in applied.folders[:1]:
        yield f"                     one folder alone, such as {top}: give --parquet"
    yield f"      Axolotl        datasets: [{{path: {json.dumps(folder)}, type: }}]"
    yield f"      LLaMA-Factory  tokenized_path: {json.dumps(folder)}"
