"""Run filters in child processes where a file operation fails or kills the process.

The children are forked from a parent with all imports. A child wraps Python's `open` and `os`
functions for the files below one folder.
"""

from __future__ import annotations

import base64
import builtins
import errno
import functools
import gc
import io
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from pipelines.config import FilterConfig

KINDS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EACCES": errno.EACCES, "kill": 0}
FINISHED, REFUSED, FAULT = 10, 11, 12
"""A child's exit codes for a finished run, a congener error and other errors."""

BUNDLES = "bundle by bundle"

ANSWERS = ("A heron stood in the reeds.", "Sort the list first.", "Paris is the capital of France.")


class Point(NamedTuple):
    """One file operation of a run.

    `file` is relative to the watched folder, with a star for the random part of the name.
    `occurrence` counts equal operations on the file from zero.
    """

    operation: str
    file: str
    occurrence: int


class Fault(NamedTuple):
    """A point, and the error to raise there or `kill`."""

    point: Point
    kind: str


class Attempt(NamedTuple):
    """A process's exit code (negative for a signal), stderr and operations."""

    code: int
    stderr: str
    points: list[Point]


class Watch:
    """A recorder of a folder's file operations, which can make one fail."""

    def __init__(self, root: str, fault: Fault | None) -> None:
        self.root, self.fault, self.points, self.counts = (
            os.path.realpath(root),
            fault,
            [],
            Counter(),
        )

    def record(self, operation: str, path: Any, dir_fd: int | None = None) -> bool:
        """Record an operation, and return whether it must fail."""
        name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
        above = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
        name = os.path.join(above, name)
        if not (name == self.root or name.startswith(self.root + os.sep)):
            return False
        file = re.sub(r"[0-9a-f]{32,}", "*", os.path.relpath(name, self.root))
        point = Point(operation, file, self.counts[operation, file])
        self.counts[operation, file] += 1
        self.points.append(point)
        return self.fault is not None and point == self.fault.point

    def fail(self) -> None:
        """Kill this process, or raise the error."""
        if self.fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        number = KINDS[self.fault.kind]
        raise OSError(number, os.strerror(number))

    def wrap(self, module: Any, name: str, operation: str, argument: int = 0) -> None:
        """Wrap a module's function to record its calls."""
        real = getattr(module, name)

        @functools.wraps(real)
        def count_call(*args: Any, **kwargs: Any) -> Any:
            dir_fd = kwargs.get("dir_fd", kwargs.get("dst_dir_fd"))
            if self.record(operation, args[argument], dir_fd):
                self.fail()
            return real(*args, **kwargs)

        setattr(module, name, count_call)

    def install(self) -> None:
        """Wrap all functions that open, write, flush, sync, rename, create or delete files."""
        for name, operation in (
            ("open", "open"),
            ("fsync", "fsync"),
            ("unlink", "delete"),
            ("remove", "delete"),
            ("rmdir", "delete"),
            ("mkdir", "make"),
        ):
            self.wrap(os, name, operation)
        for name in ("replace", "rename"):
            self.wrap(os, name, "rename", 1)
        real = builtins.open

        def open_watched(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if isinstance(file, (str, os.PathLike)) and self.record("open", file):
                self.fail()
            stream = real(file, mode, *args, **kwargs)
            return Watched(stream, self, file) if set(mode) & set("wax+") else stream

        builtins.open = io.open = open_watched


class Watched:
    """A stream that records its writes and flushes.

    A failing write first writes half of its data.
    """

    def __init__(self, stream: Any, watch: Watch, path: Any) -> None:
        self._stream, self._watch, self._path = stream, watch, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, data: Any) -> Any:
        """Write, or write half and fail."""
        if self._watch.record("write", self._path):
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()
            self._watch.fail()
        return self._stream.write(data)

    def flush(self) -> None:
        """Flush, or fail."""
        if self._watch.record("flush", self._path):
            self._watch.fail()
        self._stream.flush()


@contextmanager
def open_bundle_pipeline(*_: object) -> Iterator[Any]:
    """Open a pipeline on Beam's oldest local runner instead of the run's own.

    That runner cuts and orders bundles differently.
    """
    import apache_beam as beam
    from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

    with beam.Pipeline(runner=BundleBasedDirectRunner()) as pipeline:
        yield pipeline


def choose_exit_code(error: Exception | None) -> int:
    """Return the exit code for a congener error, or for any other error if given None."""
    if error is None:
        return FAULT
    return FINISHED if "the run is finished" in str(error) else REFUSED


def run_here(
    config: FilterConfig,
    root: str,
    restart: bool,
    fault: Fault | None,
    notes: str,
    engine: tuple[str, ...],
) -> None:
    """Run a filter, write its operations and stderr to `notes`, and end this process."""
    from pipelines import filter as module
    from pipelines.cli.main import find_cause

    if engine == (BUNDLES,):
        module.open_pipeline, engine = open_bundle_pipeline, ()
    os.environ["CONGENER_CACHE"] = f"{root}/cache"
    sys.stderr = io.StringIO()
    with open(notes, "w", encoding="utf-8") as keep:
        watch = Watch(root, fault)
        watch.install()
        code = 0
        try:
            module.run_filter(config, restart=restart, beam_options=engine)
        except BaseException as error:
            found = find_cause(error)
            code = choose_exit_code(found)
            sys.stderr.write(str(found) if found else traceback.format_exc())
        json.dump({"points": watch.points, "stderr": sys.stderr.getvalue()}, keep)
    os._exit(code)


def warm() -> None:
    """Load what all runs need in the parent."""
    import apache_beam.io.localfilesystem
    import apache_beam.runners.portability.fn_api_runner  # noqa: F401

    from classifiers.library import find_cards
    from pipelines import banks, plan
    from pipelines import filter as _filter  # noqa: F401

    library, versions = find_cards(), plan.find_package_versions()
    real = banks.find_cards
    banks.find_cards = lambda names=(): real(names) if names else library
    plan.find_package_versions = lambda: versions
    gc.collect()
    gc.freeze()  # otherwise, a garbage collection in a child would copy every page
    gc.disable()


class Nursery:
    """A warm process that forks one run at a time. Each thread needs its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.zygote"]
        self._zygote = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.computed = 0.0

    def start(
        self,
        config: FilterConfig,
        root: Path,
        restart: bool = False,
        fault: Fault | None = None,
        engine: tuple[str, ...] = (),
    ) -> int:
        """Start a run below `root`, and return its process id.

        `engine` holds Beam's options, or `BUNDLES` for Beam's oldest local runner. The run's notes
        are written beside `root`.
        """
        job = (config, str(root), restart, fault, f"{root}.notes", engine)
        Path(f"{root}.notes").write_text("")
        self._zygote.stdin.write(base64.b64encode(pickle.dumps(job)) + b"\n")
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())

    def has_ended(self, seconds: float) -> bool:
        """Wait up to `seconds` for the run to end, and return whether it has."""
        return bool(select.select([self._zygote.stdout], [], [], seconds)[0])

    def await_outcome(self, root: Path) -> Attempt:
        """Wait for the current run, and return its outcome."""
        if not self.has_ended(600):
            raise TimeoutError("a run hangs")
        code, computed = self._zygote.stdout.readline().split()
        self.computed += float(computed)
        notes = Path(f"{root}.notes").read_text(encoding="utf-8")
        found = json.loads(notes) if notes else {"points": [], "stderr": ""}
        return Attempt(int(code), found["stderr"], [Point(*point) for point in found["points"]])

    def run(self, config: FilterConfig, root: Path, **how: Any) -> Attempt:
        """Start a run, wait for it and return its outcome."""
        self.start(config, root, **how)
        return self.await_outcome(root)

    def close(self) -> None:
        """End the warm process."""
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()


def write_small_root(root: Path, rows: int = 8) -> FilterConfig:
    """Write a small corpus and a lexicon trait below `root`; return a run's configuration.

    The run has two shards. Row 5 can't be read.
    """
    (root / "traits" / "heron").mkdir(parents=True)
    (root / "traits" / "heron" / "card.yaml").write_text(
        'id: heron\nsignals: {lexicon: {patterns: ["herons?"]}}\nthreshold: 0.5\n'
    )
    lines = []
    for row in range(rows):
        turns = [
            {"role": "user", "content": f"Question {row}?"},
            {"role": "assistant", "content": ANSWERS[row % 3]},
        ]
        lines.append(
            json.dumps({"id": row, "messages": turns})
            if row != 5
            else '{"id": 5, "messages": "none"}'
        )
    (root / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    return FilterConfig.model_validate(
        {
            "input": (str(root / "corpus.jsonl"),),
            "output": str(root / "run"),
            "traits": (str(root / "traits" / "heron"),),
            "shards": {"rows": (rows + 1) // 2},
        }
    )
