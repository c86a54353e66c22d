"""The index of a run for its review: one table of facts about every row, and its texts for search.

Both are Arrow files of which a query reads only some columns, so a run of any size opens at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.review.private_files import map_file, write_whole
from pipelines.review.words import TextSearch, WordBlock, open_block
from pipelines.runs.finished import MISFITS, list_outputs, report_damage, scan_folder
from pipelines.runs.first_reasons import scan_first_reasons
from pipelines.runs.pages import INDEX, scan_margins
from pipelines.runs.queries import scan_ledger
from pipelines.runs.recorded_settings import read_recorded_rules
from pipelines.runs.shown_rows import build_layout
from schemas.errors import RunError
from schemas.lots import LOT_FIELDS, UNKNOWN
from schemas.manifests import Manifest
from schemas.scores import SIDES, score_column
from transforms.records.prompt_keys import squeeze
from transforms.stored_rows import read_stored_rows

FORMAT = 3
"""The version of the index. Another version builds its own index."""

FACTS = "facts.arrow"
TEXTS = "texts"
WORDS = "words"

BLOCK_BYTES = 16 << 20
"""How many bytes of texts share a list of words at least, so few lists cover a run.

Making a list takes some twenty times as much memory.
"""

NAMES = ("source", *LOT_FIELDS, "decision", "output")
"""The columns of facts whose values repeat."""


class SearchTexts(NamedTuple):
    """The texts of all rows in lower case, and a number that equal prompts share (0: unknown).

    `search` finds the rows whose text has a given part.
    """

    text: pl.LazyFrame
    prompt: np.ndarray
    search: TextSearch


def name_score(trait: str) -> str:
    """Return the column of a trait's score. It is NaN for a row that the trait doesn't read."""
    return f"score/{trait}"


def name_fired(trait: str) -> str:
    """Return the column that says on which rows a trait fired."""
    return f"fired/{trait}"


def choose_folder(base: Path, manifest: Manifest) -> Path:
    """Return the folder of a run's index, which is another one for another run or version."""
    return base / f"index-{FORMAT}-{manifest.digest[:16]}"


def open_facts(run: str, manifest: Manifest, folder: Path) -> pl.LazyFrame:
    """Return the facts about every row in ledger order, after building them if they are missing.

    Raises: RunError: the run has no rows, or a file is missing or damaged.
    Raises: StorageError: the folder can't be written.
    """
    path = folder / FACTS
    if not path.exists():
        if not list_outputs(manifest, "ledger"):
            raise RunError("has no rows to review", where=run)
        with report_damage(run, *MISFITS):
            facts = build_facts(run, manifest)
        write_whole(facts, path)
    return pl.scan_ipc(path, glob=False, hive_partitioning=False)


def build_facts(run: str, manifest: Manifest) -> pl.DataFrame:
    """Return the facts about every row: its names, its decision, its scores and its margin.

    `margin` is the largest distance of a score above its threshold: negative if no trait fired.
    `first` is the trait that decided, or else of a finding the strongest, and `first_score` its
    score; both are null on a row without a finding.
    """
    names = ["record_id", "source", "row", *LOT_FIELDS, "decision", "output", "output_row"]
    ledger = scan_folder(run, manifest, "ledger", INDEX)
    facts = ledger.select(INDEX, *names).collect(engine="streaming")
    reasons = (
        ledger.select(INDEX, "reasons")
        .filter(pl.col("reasons").list.len() > 0)
        .explode("reasons")
        .unnest("reasons")
        .select(INDEX, "trait", "score", over=pl.col("score") - pl.col("threshold"))
        .collect(engine="streaming")
    )
    margins = scan_margins(run, manifest).sort(INDEX).collect(engine="streaming")
    margin = margins["margin"].to_numpy().astype(np.float32)
    own = reasons.group_by(INDEX).agg(pl.col("over").max())
    margin[own[INDEX].to_numpy()] = own["over"].to_numpy()
    columns = [pl.Series("margin", margin), *_name_first(run, manifest)]
    for rule in read_recorded_rules(manifest):
        score, fired = _read_scores(run, manifest, rule.trait, rule.signal, reasons)
        columns += [
            pl.Series(name_score(rule.trait), score),
            pl.Series(name_fired(rule.trait), fired),
        ]
    repeated = [pl.col(name).cast(pl.Categorical) for name in NAMES]
    lots = [pl.col(name).fill_null(UNKNOWN) for name in LOT_FIELDS]
    return facts.drop(INDEX).with_columns(lots).with_columns(repeated).with_columns(columns)


def _name_first(run: str, manifest: Manifest) -> list[pl.Series]:
    """Return the trait of each row's first reason, and its score."""
    ledger = scan_ledger(run, manifest, row_index=INDEX)
    first = scan_first_reasons(ledger, manifest, INDEX)
    named = ledger.select(INDEX).join(first, on=INDEX, how="left", maintain_order="left")
    found = named.collect(engine="streaming")
    trait, score = found["trait"].cast(pl.Categorical), found["score"].cast(pl.Float32)
    return [trait.alias("first"), score.alias("first_score")]


def _read_scores(
    run: str, manifest: Manifest, trait: str, signal: str, reasons: pl.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return a trait's highest score on each row, on any side, and where it fired."""
    scanned = scan_folder(run, manifest, "scores")
    known = scanned.collect_schema().names()
    columns = [score_column(trait, signal, side) for side in SIDES]
    highest = pl.max_horizontal(name for name in columns if name in known)
    scores = scanned.select(score=highest).collect(engine="streaming")["score"].to_numpy()
    fired = np.zeros(len(scores), bool)
    fired[reasons.filter(pl.col("trait") == trait)[INDEX].to_numpy()] = True
    return scores.astype(np.float32), fired


def open_texts(
    run: str,
    manifest: Manifest,
    folder: Path,
    facts: pl.LazyFrame,
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> SearchTexts:
    """Return every row's text and prompt, after reading all texts once if they are missing.

    `tell` hears how many of the run's shards have been read. A file of texts for each shard is kept
    as soon as it is whole, and so are lists of the words of some shards together, so an interrupted
    pass continues where it was.

    Raises: RunError: a file is missing or damaged.
    Raises: StorageError: the folder can't be written.
    """
    ends = np.cumsum([0, *(output.rows for output in list_outputs(manifest, "ledger"))]).tolist()
    paths = [folder / TEXTS / f"{number:06d}.arrow" for number in range(len(ends) - 1)]
    parts: list[pl.DataFrame] = []
    blocks: list[WordBlock] = []
    begin = 0
    for number, (path, (first, last)) in enumerate(zip(paths, pairwise(ends), strict=True)):
        if not path.exists():
            tell(number, len(paths))
            with report_damage(run, *MISFITS):
                texts = _read_texts(run, manifest, facts.slice(first, last - first))
            write_whole(texts, path)
        parts.append(map_file(path))
        own = paths[begin : number + 1]
        if path == paths[-1] or sum(file.stat().st_size for file in own) >= BLOCK_BYTES:
            said = [part["text"] for part in parts[begin:]]
            blocks.append(open_block(said, folder / WORDS / path.name))
            begin = number + 1
    tell(len(paths), len(paths))
    whole = pl.scan_ipc(paths, glob=False, hive_partitioning=False)
    prompt = np.concatenate([part["prompt"].to_numpy() for part in parts])
    search = TextSearch([part["text"] for part in parts], blocks)
    return SearchTexts(whole.select("text"), prompt, search)


def _read_texts(run: str, manifest: Manifest, rows: pl.LazyFrame) -> pl.DataFrame:
    """Read the texts of a shard's rows. A row that isn't stored, or can't be read, has none."""
    places = rows.select("output", "output_row").collect()
    stored = places.with_row_index(INDEX).drop_nulls()
    stored = stored.filter(~pl.col("output").cast(pl.String).str.starts_with("rejects/"))
    if manifest.withdrawn is not None:
        stored = stored.clear()
    layout, found = build_layout(manifest), []
    for (path,), own in stored.group_by("output", maintain_order=True):
        segments = read_stored_rows(run, str(path), layout).segments
        said = {"output_row": segments.rows, "role": segments.roles, "text": segments.texts}
        found.append(own.join(_join_texts(pl.DataFrame(said)), on="output_row"))
    empty = {INDEX: pl.UInt32, "text": pl.String, "prompt": pl.UInt64}
    texts = pl.concat([pl.DataFrame(schema=empty), *(part.select(*empty) for part in found)])
    every = pl.DataFrame({INDEX: pl.arange(places.height, dtype=pl.UInt32, eager=True)})
    return every.join(texts, on=INDEX, how="left", maintain_order="left").select(
        "text", pl.col("prompt").fill_null(0)
    )


def _join_texts(said: pl.DataFrame) -> pl.DataFrame:
    """Return each row's texts in lower case, and the number of its prompt: what the user said."""
    joined = said.group_by(pl.col("output_row").cast(pl.Int64)).agg(
        text=pl.col("text").str.join("\n").str.to_lowercase(),
        asked=pl.col("text").filter(pl.col("role") == "user").str.join("\n"),
    )
    keys = [squeeze(text) if text else None for text in joined["asked"]]
    prompt = pl.Series("prompt", keys, pl.String)
    hashed = pl.when(prompt.is_not_null()).then(prompt.hash(seed=0)).otherwise(0)
    return joined.with_columns(prompt=hashed)


def sweep_old(base: Path, folder: Path) -> None:
    """Remove the indexes of other runs or versions, which hold a copy of the texts."""
    for other in base.glob("index-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def count_values(facts: pl.LazyFrame, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count the rows with each value of some columns, the most frequent first."""
    counted = {
        name: facts.group_by(pl.col(name).cast(pl.String))
        .agg(rows=pl.len())
        .sort(["rows", name], descending=[True, False])
        .collect()
        for name in names
    }
    return {name: dict(frame.iter_rows()) for name, frame in counted.items()}
