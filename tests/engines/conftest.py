"""Clusters on this machine, brought up by the script that ships, and real text for them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.corpora import build_teachers

REQUIRED = "CONGENER_REQUIRE_ENGINES"
"""Set where a test that can't run must fail: `make test-engines` and CI."""

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "flink" / "local.sh"
MODELLESS = ("--signals", "lexicon", "--signals", "repetition")


def lacking(reason: str) -> None:
    """Skip, or fail where the engines are required."""
    (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for a condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up, and its state on disk."""

    state: Path
    environment: dict[str, str]

    def script(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Call local.sh; return what it said and its exit code."""
        timeout = options.pop("timeout", 300)
        return subprocess.run(
            [SCRIPT, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            **options,
        )

    def congener(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line inside the cluster's network."""
        command = [
            SCRIPT,
            "run",
            sys.executable,
            "-c",
            "from pipelines.cli.main import main; main()",
            *arguments,
        ]
        return subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python inside the cluster's network."""
        return self.script("run", sys.executable, "-c", code)

    def rest(self, path: str) -> Any:
        """Ask Flink."""
        code = f"import urllib.request as r; print(r.urlopen('http://localhost:8081{path}').read().decode())"
        return json.loads(self.python(code).stdout)

    def pid(self, part: str) -> int:
        """Return the process of a part."""
        return int((self.state / "pid" / part).read_text())

    def members(self) -> list[int]:
        """Return all processes of the cluster's session."""
        found = subprocess.run(
            ["pgrep", "--session", str(self.pid("supervisor"))],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """Return what brings up a cluster of a Flink version; one is up at a time, and none afterwards."""
    for tool in ("java", "mvn", "unshare", "nsenter", "pgrep"):
        if shutil.which(tool) is None:
            lacking(f"{tool} isn't installed")
    state = tmp_path_factory.mktemp("flink")
    cluster = Cluster(
        state,
        os.environ
        | {
            "CONGENER_FLINK_STATE": str(state),
            "PYTHON": sys.executable,
            "PYTHONPATH": str(SCRIPT.parents[2]),
        },
    )
    up: list[str] = []

    def bring_up(version: str) -> Cluster:
        if up != [version] or cluster.script("status").returncode == 3:
            cluster.script("down")
            result = cluster.script("up", "--flink", version, timeout=1200)
            assert result.returncode == 0, result.stdout + result.stderr
            up[:] = [version]
        return cluster

    yield bring_up
    cluster.script("down")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write answers of four models in files of different sizes, some of them twice.

    They are real answers where the repository has real text beside it, and made up elsewhere.
    """
    real = SCRIPT.parents[3] / "shared" / "data" / "teachers"
    if real.is_dir():
        tables = {path.stem: pq.read_table(path) for path in sorted(real.glob("*.parquet"))[:4]}
    else:
        tables = build_teachers(("atlas", "borealis", "corvus", "dorado"), 800)
    folder = tmp_path_factory.mktemp("corpus")
    for number, (name, table) in enumerate(tables.items()):
        part = table.slice(0, table.num_rows // (number + 1))
        pq.write_table(part, folder / f"{name}.parquet")
    first = pq.read_table(next(iter(sorted(folder.iterdir()))))
    for place in range(6):
        pq.write_table(first.slice(place * 10, 10), folder / f"small-{place}.parquet")
    (folder.parent / "policy.yaml").write_text("duplicates: remove\n", encoding="utf-8")
    return folder


def kill(pid: int) -> None:
    """Kill a process without asking it."""
    os.kill(pid, signal.SIGKILL)
