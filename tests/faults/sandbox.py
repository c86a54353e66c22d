"""Runs in processes of their own, forked from a warm parent, in which one file operation fails or the process dies.

What congener does to files it does through Python's `open` and `os`; these are wrapped, below one folder, in the child alone.
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
"""How a child ends, if not with 0: the run was finished already; an error of ours; any other exception."""

BUNDLES = "bundle by bundle"

ANSWERS = ("A heron stood in the reeds.", "Sort the list first.", "Paris is the capital of France.")


class Point(NamedTuple):
    """A file operation of a run: which, on which file (random parts of names starred), and the how-manieth of that kind."""

    operation: str
    place: str
    occurrence: int


class Fault(NamedTuple):
    """What happens at one point: an error's name, or `kill`."""

    point: Point
    kind: str


class Attempt(NamedTuple):
    """How a process ended: its exit code (negative: the signal), what it wrote on stderr, and the points it passed."""

    code: int
    told: str
    points: list[Point]


class Watch:
    """Counts the file operations below a folder, and lets one of them fail."""

    def __init__(self, root: str, fault: Fault | None) -> None:
        self.root, self.fault, self.points, self.counts = (
            os.path.realpath(root),
            fault,
            [],
            Counter(),
        )

    def hit(self, operation: str, path: Any, dir_fd: int | None = None) -> bool:
        """Note an operation; say whether it is the one that shall fail."""
        name = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else os.fspath(path)
        above = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
        name = os.path.join(above, name)
        if not (name == self.root or name.startswith(self.root + os.sep)):
            return False
        place = re.sub(r"[0-9a-f]{32,}", "*", os.path.relpath(name, self.root))
        point = Point(operation, place, self.counts[operation, place])
        self.counts[operation, place] += 1
        self.points.append(point)
        return self.fault is not None and point == self.fault.point

    def fail(self) -> None:
        """Die, or raise the error."""
        if self.fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        number = KINDS[self.fault.kind]
        raise OSError(number, os.strerror(number))

    def wrap(self, module: Any, name: str, operation: str, argument: int = 0) -> None:
        """Put a counter before a function."""
        real = getattr(module, name)

        @functools.wraps(real)
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.hit(operation, args[argument], kwargs.get("dir_fd", kwargs.get("dst_dir_fd"))):
                self.fail()
            return real(*args, **kwargs)

        setattr(module, name, counted)

    def install(self) -> None:
        """Wrap what opens, writes, flushes, syncs, renames, makes and deletes."""
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

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if isinstance(file, (str, os.PathLike)) and self.hit("open", file):
                self.fail()
            stream = real(file, mode, *args, **kwargs)
            return Watched(stream, self, file) if set(mode) & set("wax+") else stream

        builtins.open = io.open = opened


class Watched:
    """A stream whose writes and flushes are counted; a write that fails has written half."""

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
        if self._watch.hit("write", self._path):
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()
            self._watch.fail()
        return self._stream.write(data)

    def flush(self) -> None:
        """Flush, or fail."""
        if self._watch.hit("flush", self._path):
            self._watch.fail()
        self._stream.flush()


@contextmanager
def bundle_by_bundle(*_: object) -> Iterator[Any]:
    """Stand in for the run's own pipeline with one on Beam's oldest local runner, which cuts and orders bundles its own way."""
    import apache_beam as beam
    from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

    with beam.Pipeline(runner=BundleBasedDirectRunner()) as pipeline:
        yield pipeline


def run_here(
    config: FilterConfig,
    root: str,
    restart: bool,
    fault: Fault | None,
    notes: str,
    engine: tuple[str, ...],
) -> None:
    """Run a filter in this process, which ends with it, and leave notes of what was passed and told."""
    from pipelines import filter as module
    from pipelines.cli.main import cause

    if engine == (BUNDLES,):
        module.engine_pipeline, engine = bundle_by_bundle, ()
    os.environ["CONGENER_CACHE"] = f"{root}/cache"
    sys.stderr = io.StringIO()
    with open(notes, "w", encoding="utf-8") as keep:
        watch = Watch(root, fault)
        watch.install()
        code = 0
        try:
            module.run_filter(config, restart=restart, beam_options=engine)
        except BaseException as error:
            found = cause(error)
            code = (
                FAULT
                if found is None
                else FINISHED
                if "the run is finished" in str(found)
                else REFUSED
            )
            sys.stderr.write(str(found) if found else traceback.format_exc())
        json.dump({"points": watch.points, "told": sys.stderr.getvalue()}, keep)
    os._exit(code)


def warm() -> None:
    """Do once, in the parent, what every run does alike: imports, and reading the library and the packages' versions."""
    import apache_beam.io.localfilesystem
    import apache_beam.runners.portability.fn_api_runner  # noqa: F401

    from classifiers.library import find_cards
    from pipelines import banks
    from pipelines import filter as module

    library, versions = find_cards(), module.package_versions()
    real = banks.find_cards
    banks.find_cards = lambda names=(): real(names) if names else library
    module.package_versions = lambda: versions
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that it looks at
    gc.disable()


class Nursery:
    """Starts runs in processes forked from a warm one, one at a time; each thread needs a nursery of its own."""

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
        """Start a run and return its process's id; its notes lie beside the folder that it works in.

        `engine` are Beam's options, or `BUNDLES` for another runner.
        """
        job = (config, str(root), restart, fault, f"{root}.notes", engine)
        Path(f"{root}.notes").write_text("")
        self._zygote.stdin.write(base64.b64encode(pickle.dumps(job)) + b"\n")
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())

    def ended(self, seconds: float) -> bool:
        """Wait for the run to end, so many seconds at most; say whether it has."""
        return bool(select.select([self._zygote.stdout], [], [], seconds)[0])

    def outcome(self, root: Path) -> Attempt:
        """Return how the run that was started ended."""
        if not self.ended(600):
            raise TimeoutError("a run hangs")
        code, computed = self._zygote.stdout.readline().split()
        self.computed += float(computed)
        notes = Path(f"{root}.notes").read_text(encoding="utf-8")
        found = json.loads(notes) if notes else {"points": [], "told": ""}
        return Attempt(int(code), found["told"], [Point(*point) for point in found["points"]])

    def run(self, config: FilterConfig, root: Path, **how: Any) -> Attempt:
        """Run to the end, whatever that is."""
        self.start(config, root, **how)
        return self.outcome(root)

    def close(self) -> None:
        """End the warm process."""
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()


def small_root(root: Path, rows: int = 8) -> FilterConfig:
    """Write a small corpus and a lexicon trait below `root`; return the configuration of a run over them in two shards."""
    (root / "traits" / "heron").mkdir(parents=True)
    (root / "traits" / "heron" / "card.yaml").write_text(
        'id: heron\nsignals: {lexicon: {patterns: ["herons?"]}}\nthreshold: 0.5\n'
    )
    lines = []
    for place in range(rows):
        turns = [
            {"role": "user", "content": f"Question {place}?"},
            {"role": "assistant", "content": ANSWERS[place % 3]},
        ]
        lines.append(
            json.dumps({"id": place, "messages": turns})
            if place != 5
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


def contents(run: Path) -> dict[str, bytes]:
    """Return every file's bytes below a run directory, working files and all; of the manifest, what two runs must have alike."""
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if not path.is_dir()
    }
    if "manifest.json" in files:
        manifest = json.loads(files["manifest.json"])
        for name in ("circumstances", "digest"):
            manifest.pop(name)
        for source in manifest["inputs"]:
            source.pop("uri")
        files["manifest.json"] = json.dumps(manifest, sort_keys=True).encode()
    return files
