"""Shared parts of the benchmarks: real text, interleaved timing, and tables of results.

gpu.py runs where little else is installed, so this module imports only the standard library and
numpy.
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
COMMIT = "BENCHMARK_COMMIT"
"""The variable with the commit's name, for machines without the git repository."""

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
    "faiss-gpu",
    "google-re2",
    "scikit-learn",
)


def find_data(name: str) -> Path:
    """Return a shared data folder, or exit with code 2 if it doesn't exist."""
    if not (DATA / name).is_dir():
        sys.exit(fail(f"there is no ../shared/data/{name}/, which this benchmark reads"))
    return DATA / name


def fail(message: str) -> int:
    """Print a message to stderr and return exit code 2."""
    print(message, file=sys.stderr)
    return 2


def list_teacher_files() -> list[Path]:
    """Return the teachers' Parquet files, sorted by name."""
    return sorted(find_data("teachers").glob("*.parquet"))


def read_answers(count: int) -> list[str]:
    """Return `count` answers spread evenly over teachers and prompts."""
    import pyarrow.parquet as pq

    files = list_teacher_files()
    answers = []
    for number, file in enumerate(files):
        wanted = count // len(files) + (number < count % len(files))
        messages = pq.read_table(file, columns=["messages"])["messages"].to_pylist()
        chosen = np.linspace(0, len(messages) - 1, wanted).astype(int)
        answers += [
            next(turn["content"] for turn in messages[row] if turn["role"] == "assistant")
            for row in chosen
        ]
    return answers


class Timed(NamedTuple):
    """The reported seconds and the CPU seconds of each repetition of a case.

    CPU time covers only this process, but varies less on a shared machine.
    """

    seconds: list[float]
    computed: list[float]

    @property
    def median(self) -> float:
        """Return the median of the reported seconds."""
        return statistics.median(self.seconds)


def time_call(work: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleave(cases: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, Timed]:
    """Run all cases in turn, `repetitions` times. Each case returns its seconds.

    Every second round runs in reverse order, so that a slowing machine or a warm cache favours no
    case.
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


def time_filter(config: Any, walls: list[float]) -> float:
    """Filter into an empty run directory and return the pipeline's seconds.

    The whole call's seconds are appended to `walls`.
    """
    from pipelines.filter import run_filter

    shutil.rmtree(config.output, ignore_errors=True)
    began = time.perf_counter()
    manifest = run_filter(config)
    walls.append(time.perf_counter() - began)
    return float(manifest.circumstances["seconds"])


def compute_ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, str]:
    """Return the median of the rounds' ratios `above` / `below`, and their range as text."""
    rounds = [a / b for a, b in zip(above, below, strict=True)]
    return statistics.median(rounds), f"{min(rounds):.2f} to {max(rounds):.2f}"


def judge(value: float, target: float, at_least: bool = True) -> str:
    """Return whether a value meets its target, as text."""
    met = value >= target if at_least else value <= target
    return f"{'met' if met else 'MISSED'} (target {'≥' if at_least else '≤'} {target:g})"


def parse_arguments(description: str, **options: object) -> argparse.Namespace:
    """Parse a script's options.

    Each keyword argument adds an option with this name, default and type.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, default in options.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help=" "
        )
    return parser.parse_args()


class Report:
    """The tables of a benchmark, which are printed and written to benchmarks/results/<name>.md."""

    def __init__(self, name: str, title: str) -> None:
        self._name, self._parts = name, [f"# {title}", _describe_circumstances()]

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(text)

    def add_table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Add a table. Floats have three decimals; all columns but the first are right-aligned."""
        marks = [":--", *(["--:"] * (len(header) - 1))]
        lines = [header, marks, *([_format_cell(cell) for cell in row] for row in rows)]
        self._parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def finish(self, write: bool = True) -> None:
        """Print the report and write it to its file."""
        text = "\n\n".join(self._parts) + "\n"
        print(text)
        if write:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{self._name}.md").write_text(text, encoding="utf-8")


def _format_cell(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _describe_circumstances() -> str:
    cores = f"{os.cpu_count()} cores (load {os.getloadavg()[0]:.1f} at the start)"
    command = ["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit checked out": _read_commit(),
        "machine": f"{_name_cpu()}, {cores}, {_name_gpu()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *_list_versions()]),
        "command": f"`{' '.join(command)}`",
    }
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def _read_commit() -> str:
    if named := os.environ.get(COMMIT):
        return named
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return f"unknown (not a git repository, and {COMMIT} isn't set)"
    return done.stdout.strip()


def _name_cpu() -> str:
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


def _name_gpu() -> str:
    if importlib.util.find_spec("torch") is None:
        return "no torch"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _list_versions() -> list[str]:
    installed = []
    for name in PACKAGES:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return installed
