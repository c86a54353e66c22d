"""Count what the library flags in real answers that weren't used to develop it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Report, list_teacher_files, parse_arguments, time_filter
from classifiers.library import find_cards
from pipelines.config import FilterConfig, Hardware
from transforms.records.field_paths import get_field_text

REPORT, DEVELOPMENT = 1, 0
"""Whether odd (1) or even (0) models and prompts are used.

Models are numbered alphabetically, and prompts by their place in the file. Development used only
even models and even prompts. The report uses only odd ones.
"""


class Hit(NamedTuple):
    """A trait that fired on a row, with its signals and its best span."""

    trait: str
    score: float
    wording: tuple[str, ...]
    source: str
    row: int
    field_path: str
    start: int
    end: int


def main() -> None:
    folder = Path(tempfile.gettempdir())
    options = parse_arguments(
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
        time_filter(config, [])
        hits = list(read_hits(Path(work, "run")))
        Path(options.texts).write_text(
            "\n".join(describe_hits(hits, Path(work, "corpus"))), encoding="utf-8"
        )
    report = Report("real_answers", "What the library flags in real answers")
    half = (
        "report half (odd models, odd prompts)"
        if options.parity == REPORT
        else "development half (even models, even prompts)"
    )
    report.say(
        f"{rows:,} answers to the AlpacaEval prompts, spread evenly over the models and prompts of "
        f"the {half}; the library's traits, all signals, the library's background, default "
        "thresholds. *With wording* counts rows with a lexicon or repetition hit."
    )
    report.add_table(
        ["trait", "flagged", "share of rows", "with wording"],
        [build_row(card.id, hits, rows) for card in find_cards()],
    )
    flagged = len({(hit.source, hit.row) for hit in hits})
    report.say(f"Rows with any trait: {flagged} of {rows:,}, {flagged / rows:.1%}.")
    report.finish()


def write_sample(folder: Path, rows: int, parity: int) -> int:
    """Write about `rows` rows, the same number from each model, and return their number.

    Each model has its own file, which begins with a different prompt.
    """
    folder.mkdir()
    files = list_teacher_files()[parity::2]
    written = 0
    for number, file in enumerate(files):
        table = pq.read_table(file)
        prompts = np.arange(parity, table.num_rows, 2)
        each = rows // len(files)
        step = max(1, len(prompts) // each)
        chosen = prompts[(number + step * np.arange(min(each, len(prompts)))) % len(prompts)]
        pq.write_table(table.take(chosen), folder / file.name)
        written += len(chosen)
    return written


def read_hits(run: Path) -> Iterator[Hit]:
    """Yield every reason in a run's ledger."""
    ledger = pa.concat_tables(
        [pq.read_table(file) for file in sorted(run.glob("ledger/*.parquet"))]
    )
    scores = pa.concat_tables(
        [pq.read_table(file) for file in sorted(run.glob("scores/*.parquet"))]
    )
    for index, entry in enumerate(ledger.select(["source", "row", "reasons"]).to_pylist()):
        for reason in entry["reasons"] or ():
            columns = {
                signal: f"{reason['trait']}/{signal}" for signal in ("lexicon", "repetition")
            }
            wording = tuple(
                signal
                for signal, name in columns.items()
                if name in scores.column_names and scores[name][index].as_py() > 0
            )
            span = (reason["field_path"], reason["start"], reason["end"])
            yield Hit(
                reason["trait"], reason["score"], wording, entry["source"], entry["row"], *span
            )


def build_row(trait: str, hits: Sequence[Hit], rows: int) -> tuple[object, ...]:
    """Return a trait's row in the table."""
    mine = [hit for hit in hits if hit.trait == trait]
    return trait, len(mine), f"{len(mine) / rows:.2%}", sum(bool(hit.wording) for hit in mine)


def describe_hits(hits: Sequence[Hit], corpus: Path) -> Iterator[str]:
    """Yield lines that show each trait's flagged rows: prompt, opening of the answer, best span."""
    for hit in sorted(hits):
        record = pq.read_table(corpus / hit.source).slice(hit.row, 1).to_pylist()[0]
        text = get_field_text(record, hit.field_path) or ""
        signals = "+".join(hit.wording) or "encoder alone"
        row = f"{hit.source} row {hit.row} ({record['id']})"
        yield f"== {hit.trait} {hit.score:.4f} {signals} | {row}"
        yield f"   PROMPT {record['messages'][0]['content'][:200]!r}"
        yield f"   ANSWER {text[:240]!r}"
        yield f"   SPAN   {text[hit.start : hit.end][:700]!r}"


if __name__ == "__main__":
    main()
