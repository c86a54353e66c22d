"""How much text of each model is published: words, or tokens of a tokenizer that the user names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.papers.facts import TextSizes, label_rows
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.row_texts import read_stored_texts
from schemas.errors import CardError
from schemas.manifests import Manifest
from schemas.runs import parse_path
from transforms.records.roles import CHANNELS

WORD = r"\S+"

AT_ONCE = 1_000
"""How many texts are tokenized at once."""

COMMIT = re.compile("[0-9a-f]{40}")

CountTexts: TypeAlias = Callable[[pa.LargeStringArray], np.ndarray]


class TextUnit(NamedTuple):
    """What is counted, how that is said, and the function that counts it in each text."""

    name: str
    how: str
    measure: CountTexts


def count_words(texts: pa.LargeStringArray) -> np.ndarray:
    """Return the number of words of each text: stretches without blanks."""
    found = pc.count_substring_regex(texts, WORD)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


WORDS = TextUnit("words", "stretches of text between blanks; no tokenizer was named", count_words)


def choose_unit(tokenizer: str | None, revision: str | None = None) -> TextUnit:
    """Return words, or the tokens of a tokenizer in a folder or on the hub.

    Raises: CardError: a tokenizer of the hub has no commit. Raises: ModelError: it can't be loaded.
    """
    if tokenizer is None:
        return WORDS
    is_folder = Path(tokenizer).is_dir()
    if not is_folder and not COMMIT.fullmatch(revision or ""):
        raise CardError(
            "is no folder, and a tokenizer of the hub needs its commit, since it may change",
            where=f"--tokenizer {tokenizer}",
            remedy="add --tokenizer-revision with the 40 digits of the commit",
        )
    from classifiers.models.chat_tokenizers import digest_tokenizer, load_chat_tokenizer

    loaded = load_chat_tokenizer(tokenizer, revision)

    def count_tokens(texts: pa.LargeStringArray) -> np.ndarray:
        own, sizes = texts.to_pylist(), list[int]()
        for first in range(0, len(own), AT_ONCE):
            found = loaded(own[first : first + AT_ONCE], add_special_tokens=False, verbose=False)
            sizes += map(len, found["input_ids"])
        return np.array(sizes, np.int64)

    name = f"a folder, digest {digest_tokenizer(loaded)['tokenizer'][:16]}"
    how = name if is_folder else f"{tokenizer} at {revision}"
    return TextUnit("tokens", f"tokenizer: {how}; without special tokens", count_tokens)


def measure_texts(run: str, manifest: Manifest, unit: TextUnit) -> TextSizes:
    """Count the words or tokens of a run's published answers, which are read file by file.

    Text that a mask leaves out of the loss is counted; rejected answers of pairs aren't.

    Raises: RunError: a file of the run is missing or damaged.
    """
    parts = [pl.DataFrame(schema={"output": pl.String, "output_row": pl.Int64, "size": pl.Int64})]
    with report_damage(run, *MISFITS):
        for texts in read_stored_texts(run, manifest):
            if parse_path(texts.path).folder == "clean":
                own = texts.segments.select_side("trained")
                answers = own.take(own.find_in_scope(("assistant",), CHANNELS))
                sizes = np.bincount(answers.rows, unit.measure(answers.text), texts.rows)
                rows = {"output_row": np.arange(texts.rows), "size": sizes.astype(np.int64)}
                parts.append(pl.DataFrame({"output": texts.path, **rows}))
        sizes_of_rows = pl.concat(parts, how="vertical_relaxed").lazy()
        rows_of_run = label_rows(run, manifest).with_columns(pl.col("output_row").cast(pl.Int64))
        keys = ("teacher", "role", "from_donor")
        joined = rows_of_run.join(sizes_of_rows, on=["output", "output_row"])
        counted = joined.group_by(keys).agg(pl.col("size").sum()).sort(keys, nulls_last=True)
        lines = counted.collect(engine="streaming").rows()
    found = {(teacher, role, donor): size for teacher, role, donor, size in lines}
    return TextSizes(unit.name, unit.how, sum(found.values()), found)
