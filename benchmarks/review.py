"""The review page's server on a million rows: first row, next row, filters, search and map."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import Report, judge, parse_arguments
from benchmarks.million import WORDS, read_peak
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.review.server import ReviewServer
from pipelines.review.session import ReviewSession
from pipelines.runs.manifest_file import load_manifest
from schemas.digests import digest_bytes
from schemas.manifests import Manifest
from schemas.receipts import Output
from schemas.runs import MANIFEST

SHARD_ROWS = 5_000
NEXT_ROWS = 40
REPEATS = 7
TEACHERS = 12
PART = "part-000000"
AREA = "10000,10000+50000,12000+55000,48000+30000,60000+12000,40000"
FILTERS = {
    "every finding": "",
    "one trait": "trait=heron",
    "teacher and decision": "teacher=t3&decision=quarantine",
    "band of scores": "trait=owl&low=0.5&high=0.9",
    "kept rows, nearest to a threshold": "decision=keep&order=threshold",
    "all rows, highest score": "decision=any&order=score",
    "all rows, random": "decision=any&order=shuffled",
    "text: three words in a row": "text=copper+market+engine",
    "text: a word in most rows": "text=river",
    "text: a part of a word": "text=ver",
    "text: a letter": "text=e",
    "text: signs and blanks": "text=.%0Athe+",
    "text in no row": "text=xyzzy",
    "text, and a trait above a score": "text=river&trait=owl&low=0.5",
    "an area of the map": f"area={AREA}",
    "an area of the map, highest score": f"area={AREA}&order=score",
}


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = write_run(folder, options.rows)
        figures = measure(run, folder / "review")
    report = Report("review", "The review page on a million rows")
    report.say(
        f"A run of {options.rows:,} made-up rows of about 90 words in shards of {SHARD_ROWS:,}, "
        "two lexicon traits and twelve teachers; the files of one filtered shard are repeated. "
        "Requests go over HTTP on loopback. CPU is the time of all threads."
    )
    rows = [(name, *map(round, (took, cpu)), target) for name, took, cpu, target in figures]
    table = [
        (name, took, cpu, judge(took, target, at_least=False) if target else "")
        for name, took, cpu, target in rows
    ]
    report.add_table(["step", "ms", "CPU ms", "verdict"], table)
    report.say(f"Peak memory of the process (VmHWM), with making the run: {read_peak():,} MiB.")
    report.finish()


def write_run(folder: Path, rows: int) -> str:
    """Filter one shard, and repeat its files under other names, with a manifest that fits."""
    for trait, words in (("heron", "herons?"), ("owl", "owls?|barrel ladder")):
        card = folder / "traits" / trait / "card.yaml"
        card.parent.mkdir(parents=True)
        card.write_text(
            f"id: {trait}\nsignals: {{lexicon: {{patterns: ['{words}']}}}}\nthreshold: 0.5\n"
        )
    dice = random.Random(0)
    with (folder / "corpus.jsonl").open("wb") as stream:
        stream.writelines(make_line(number, dice) for number in range(SHARD_ROWS))
    config = FilterConfig(
        input=(str(folder / "corpus.jsonl"),),
        output=str(folder / "run"),
        traits=(str(folder / "traits"),),
    )
    manifest = run_filter(config)
    repeat_shards(folder / "run", manifest, rows // SHARD_ROWS)
    return str(folder / "run")


def make_line(number: int, dice: random.Random) -> bytes:
    words = dice.choices(WORDS, k=dice.randrange(60, 120))
    words += ["heron"] * (number % 20 == 1) + ["owl"] * (number % 33 == 1)
    turns = [
        {"role": "user", "content": f"Say something about {number // 4}."},
        {"role": "assistant", "content": f"The {' '.join(words)}."},
    ]
    teacher = f"t{number % TEACHERS}"
    return orjson.dumps({"id": number, "messages": turns, "teacher": teacher}) + b"\n"


def repeat_shards(run: Path, manifest: Manifest, times: int) -> None:
    own = [output for output in manifest.outputs if PART in output.path]
    outputs = list(manifest.outputs)
    for number in range(1, times):
        outputs += [copy_output(run, output, f"part-{number:06d}") for output in own]
    counted = manifest.conservation
    decisions = {name: count * times for name, count in counted.by_decision.items()}
    whole = counted.model_copy(
        update={"rows_in": counted.rows_in * times, "by_decision": decisions}
    )
    ordered = tuple(sorted(outputs, key=lambda output: output.path))
    sealed = manifest.model_copy(update={"outputs": ordered, "conservation": whole}).seal()
    (run / MANIFEST).write_bytes(sealed.to_bytes())
    assert load_manifest(str(run)).conservation.rows_in == times * SHARD_ROWS


def copy_output(run: Path, output: Output, part: str) -> Output:
    """Copy a shard's file. A ledger's paths of rows name the copy's files."""
    path = output.path.replace(PART, part)
    if not path.startswith("ledger/"):
        shutil.copyfile(run / output.path, run / path)
        return output.model_copy(update={"path": path})
    table = pq.read_table(run / output.path)
    column = table.column_names.index("output")
    named = pc.replace_substring(table["output"], PART, part)
    stream = pa.BufferOutputStream()
    pq.write_table(table.set_column(column, table.schema.field(column), named), stream)
    data = stream.getvalue().to_pybytes()
    (run / path).write_bytes(data)
    changes = {"path": path, "sha256": digest_bytes(data), "bytes": len(data)}
    return output.model_copy(update=changes)


class Figures(list[tuple[str, float, float, float | None]]):
    """The name, the ms, the CPU ms and the target of each step."""

    def note(self, name: str, times: tuple[float, float], target: float | None = None) -> None:
        """Keep a step's times, and print them, since the whole takes minutes."""
        self.append((name, *times, target))
        print(self[-1], file=sys.stderr, flush=True)


def measure(run: str, folder: Path) -> Figures:
    """Return the times of all steps."""
    found = Figures()
    opened: list[ReviewSession] = []
    building = clock(lambda: opened.append(ReviewSession(run, folder, "bench")))
    found.note("build the index", building)
    first = opened[0]
    found.note("read all texts and list their words, once", clock(first.read_texts))
    found.note("make the map, once", clock(first.make_map))

    def open_first() -> ReviewSession:
        session = ReviewSession(run, folder, "bench")
        rows = session.list_rows({})["rows"]
        session.describe_row(rows[0], None)
        return session

    found.note("open again, and the first row", clock(open_first), 1_000)
    session = open_first()
    found.note("open the texts again, in the background", clock(session.read_texts))
    found.note("open the map again, in the background", clock(session.make_map))
    server = ReviewServer(session)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    opener.open(server.url).read()
    base = server.url.partition("/?")[0]
    ask_all(session, found, lambda path: json.loads(opener.open(base + path).read()))
    server.shutdown()
    server.server_close()
    return found


def ask_all(session: ReviewSession, found: Figures, ask: Callable[[str], Any]) -> None:
    """Time what the page asks for: rows, filters, and the points of the map."""
    rows = ask("/api/rows?order=shuffled")["rows"][:NEXT_ROWS]
    took = [clock(lambda row=row: ask(f"/api/row?index={row}")) for row in rows]
    found.note("next row, of another shard: median", middle(took), 100)
    found.note("next row: 95th percentile", sorted(took)[int(0.95 * len(took))])
    company = [clock(lambda row=row: ask(f"/api/company?index={row}")) for row in rows]
    found.note("lot and other answers: median", middle(company))
    for name, query in FILTERS.items():
        times, total = [], 0
        for _ in range(REPEATS):
            session._select.cache_clear()  # noqa: SLF001 - a selection is made only once
            times.append(clock(lambda query=query: ask(f"/api/rows?{query}")))
            total = ask(f"/api/rows?{query}")["total"]
        found.note(f"filter: {name} ({total:,} rows)", middle(times), 500)
    for colour in ("decision", "teacher", "score"):
        drawn = [clock(lambda colour=colour: ask(f"/api/map?colour={colour}")) for _ in range(3)]
        found.note(f"draw the map by {colour}", middle(drawn), 500)


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds and the CPU milliseconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


def middle(times: list[tuple[float, float]]) -> tuple[float, float]:
    wall, cpu = zip(*times, strict=True)
    return statistics.median(wall), statistics.median(cpu)


if __name__ == "__main__":
    main()
