"""What every benchmark shares: where the data lies, interleaved timing, and the table that is printed and written.

Only the standard library and numpy are imported here, so that gpu.py runs where little else is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "numpy",
    "pyarrow",
    "apache-beam",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "google-re2",
    "scikit-learn",
)


def data(name: str) -> Path:
    """Return a folder of the shared data; leave with exit code 2 where it is absent."""
    if not (DATA / name).is_dir():
        sys.exit(
            fail(
                f"this benchmark reads {name}/ in ../shared/data (from the repository root), which isn't there"
            )
        )
    return DATA / name


def fail(message: str) -> int:
    """Print a message to stderr and return exit code 2."""
    print(message, file=sys.stderr)
    return 2


def teacher_files() -> list[Path]:
    """Return the teachers' Parquet files in order of name."""
    return sorted(data("teachers").glob("*.parquet"))


def assistant_answers(count: int) -> list[str]:
    """Return `count` answers spread evenly over teachers and prompts."""
    import pyarrow.parquet as pq

    files = teacher_files()
    answers = []
    for place, file in enumerate(files):
        wanted = count // len(files) + (place < count % len(files))
        messages = pq.read_table(file, columns=["messages"])["messages"].to_pylist()
        chosen = np.linspace(0, len(messages) - 1, wanted).astype(int)
        answers += [
            next(turn["content"] for turn in messages[row] if turn["role"] == "assistant")
            for row in chosen
        ]
    return answers


class Timed(NamedTuple):
    """Seconds of each repetition of one case: those that count, and those that this process computed.

    Where other programs take turns on the cores the second kind is the steadier one.
    """

    seconds: list[float]
    computed: list[float]

    @property
    def median(self) -> float:
        """Return the median repetition."""
        return statistics.median(self.seconds)


def stopwatch(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(cases: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, Timed]:
    """Run cases in turn, `repetitions` times; each returns the seconds that count.

    The order turns around every round, so that neither a machine that slows down nor a cache that a case leaves warm favours one.
    """
    found = {name: Timed([], []) for name in cases}
    for round_ in range(repetitions):
        for name in list(cases) if round_ % 2 == 0 else reversed(list(cases)):
            computed = -time.process_time()
            found[name].seconds.append(cases[name]())
            found[name].computed.append(computed + time.process_time())
            print(
                f"  round {round_ + 1}/{repetitions}  {name}: {found[name].seconds[-1]:.3f} s",
                file=sys.stderr,
                flush=True,
            )
    return found


def filtered(config: Any, walls: list[float]) -> float:
    """Filter into an empty run directory; return the seconds of the pipeline, and note those of the whole call."""
    from pipelines.filter import run_filter

    shutil.rmtree(config.output, ignore_errors=True)
    began = time.perf_counter()
    manifest = run_filter(config)
    walls.append(time.perf_counter() - began)
    return float(manifest.circumstances["seconds"])


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, str]:
    """Return the median over rounds of above / below, and the span of the rounds as text."""
    rounds = [a / b for a, b in zip(above, below, strict=True)]
    return statistics.median(rounds), f"{min(rounds):.2f} to {max(rounds):.2f}"


def verdict(value: float, target: float, at_least: bool = True) -> str:
    """Say whether a value reaches its target."""
    met = value >= target if at_least else value <= target
    return f"{'met' if met else 'MISSED'} (target {'≥' if at_least else '≤'} {target:g})"


def arguments(description: str, **options: object) -> argparse.Namespace:
    """Parse a script's options; each keyword is an option's name and its default, whose type it takes."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, default in options.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help=" "
        )
    return parser.parse_args()


class Report:
    """A benchmark's tables: collected, printed, and written to benchmarks/results/<name>.md."""

    def __init__(self, name: str, title: str) -> None:
        self._name, self._parts = name, [f"# {title}", _circumstances()]

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(text)

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table; floats are shown with three decimals, columns after the first are right-aligned."""
        marks = [":--", *(["--:"] * (len(header) - 1))]
        lines = [header, marks, *([_shown(cell) for cell in row] for row in rows)]
        self._parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def finish(self, write: bool = True) -> None:
        """Print everything and write it."""
        text = "\n\n".join(self._parts) + "\n"
        print(text)
        if write:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{self._name}.md").write_text(text, encoding="utf-8")


def _shown(cell: object) -> str:
    return (
        f"{cell:.3f}"
        if isinstance(cell, float)
        else f"{cell:,}"
        if isinstance(cell, int)
        else str(cell)
    )


def _circumstances() -> str:
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit checked out": _commit(),
        "machine": f"{_cpu()}, {os.cpu_count()} cores (load {os.getloadavg()[0]:.1f} at the start), {_gpu()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
        "command": f"`{' '.join(['python -m', f'benchmarks.{Path(sys.argv[0]).stem}', *sys.argv[1:]])}`",
    }
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (no git repository here)"
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.is_file()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> str:
    if importlib.util.find_spec("torch") is None:
        return "no torch"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _versions() -> list[str]:
    installed = []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return installed
