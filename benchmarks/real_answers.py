"""Count what the library flags in real answers by default, on the half of models and prompts that no choice was made on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Report, arguments, filtered, teacher_files
from classifiers.library import find_cards
from pipelines.config import FilterConfig, Hardware
from pipelines.display.excerpts import field_text

REPORT, DEVELOPMENT = 1, 0
"""Parity of a model's place in alphabetical order and of a prompt's place in its file. What was chosen by looking at real answers
was chosen on even models and even prompts, so that the report shares neither with it."""


class Hit(NamedTuple):
    """A trait that fired on a row, the wording that it found there, if any, and the place of the strongest signal."""

    trait: str
    score: float
    wording: tuple[str, ...]
    source: str
    row: int
    segment: str
    start: int
    end: int


def main() -> None:
    folder = Path(tempfile.gettempdir())
    options = arguments(
        __doc__ or "",
        rows=2_000,
        parity=REPORT,
        texts=str(folder / "congener-real-answers.txt"),
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as work:
        rows = write_sample(Path(work, "corpus"), options.rows, options.parity)
        config = FilterConfig(
            input=(f"{work}/corpus",),
            output=f"{work}/run",
            hardware=Hardware(device=options.device),
        )
        filtered(config, [])
        hits = list(read_hits(Path(work, "run")))
        Path(options.texts).write_text(
            "\n".join(shown(hits, Path(work, "corpus"))), encoding="utf-8"
        )
    report = Report("real_answers", "What the library flags in real answers")
    half = (
        "report half (odd models, odd prompts)"
        if options.parity == REPORT
        else "development half (even models, even prompts)"
    )
    report.say(
        f"{rows:,} answers to the AlpacaEval prompts, evenly over the models and prompts of the {half}; the library's traits, all signals, the "
        "library's background, default thresholds. With wording: a lexicon or repetition hit is part of it."
    )
    report.table(
        ["trait", "flagged", "share of rows", "with wording"],
        [counted(card.id, hits, rows) for card in find_cards()],
    )
    flagged = len({(hit.source, hit.row) for hit in hits})
    report.say(f"Rows with any trait: {flagged} of {rows:,}, {flagged / rows:.1%}.")
    report.finish()


def write_sample(folder: Path, rows: int, parity: int) -> int:
    """Write about `rows` rows, one file a model: as many of each, stepping through the prompts from another start; return how many."""
    folder.mkdir()
    files = teacher_files()[parity::2]
    written = 0
    for place, file in enumerate(files):
        table = pq.read_table(file)
        prompts = np.arange(parity, table.num_rows, 2)
        each = rows // len(files)
        step = max(1, len(prompts) // each)
        chosen = prompts[(place + step * np.arange(min(each, len(prompts)))) % len(prompts)]
        pq.write_table(table.take(chosen), folder / file.name)
        written += len(chosen)
    return written


def read_hits(run: Path) -> Iterator[Hit]:
    """Read every reason in a run's ledger, one for each trait of a row."""
    ledger = pa.concat_tables(
        [pq.read_table(file) for file in sorted(run.glob("ledger/*.parquet"))]
    )
    scores = pa.concat_tables(
        [pq.read_table(file) for file in sorted(run.glob("scores/*.parquet"))]
    )
    for place, entry in enumerate(ledger.select(["source", "row", "reasons"]).to_pylist()):
        for reason in entry["reasons"] or ():
            columns = {
                signal: f"{reason['trait']}/{signal}" for signal in ("lexicon", "repetition")
            }
            wording = tuple(
                signal
                for signal, name in columns.items()
                if name in scores.column_names and scores[name][place].as_py() > 0
            )
            where = (reason["segment"], reason["start"], reason["end"])
            yield Hit(
                reason["trait"], reason["score"], wording, entry["source"], entry["row"], *where
            )


def counted(trait: str, hits: Sequence[Hit], rows: int) -> tuple[object, ...]:
    """Return a trait's row of the table."""
    mine = [hit for hit in hits if hit.trait == trait]
    return trait, len(mine), f"{len(mine) / rows:.2%}", sum(bool(hit.wording) for hit in mine)


def shown(hits: Sequence[Hit], corpus: Path) -> Iterator[str]:
    """Yield flagged rows for reading, by trait: prompt, opening of the answer, and the place that scored highest."""
    for hit in sorted(hits):
        record = pq.read_table(corpus / hit.source).slice(hit.row, 1).to_pylist()[0]
        text = field_text(record, hit.segment) or ""
        yield f"== {hit.trait} {hit.score:.4f} {'+'.join(hit.wording) or 'encoder alone'} | {hit.source} row {hit.row} ({record['id']})"
        yield f"   PROMPT {record['messages'][0]['content'][:200]!r}"
        yield f"   ANSWER {text[:240]!r}"
        yield f"   PLACE  {text[hit.start : hit.end][:700]!r}"


if __name__ == "__main__":
    main()
