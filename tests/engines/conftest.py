"""Local Flink clusters from deploy/flink/local.sh, and a corpus for them."""

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
"""The variable that makes tests fail instead of being skipped. `make test-engines` and CI set it.
"""

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "flink" / "local.sh"
MODELLESS = ("--signals", "lexicon", "--signals", "repetition")


def skip(reason: str) -> None:
    """Skip a test, or fail if the engines are required."""
    (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until a function returns a true value, and return that value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
        time.sleep(0.2)
    return found


@dataclass(frozen=True)
class Cluster:
    """A running cluster and its state on disk."""

    state: Path
    environment: dict[str, str]

    def call_script(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run local.sh, and return its output and exit code."""
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

    def start_congener(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a congener command in the cluster's network."""
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

    def run_python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run Python code in the cluster's network."""
        return self.call_script("run", sys.executable, "-c", code)

    def query(self, path: str) -> Any:
        """Return Flink's answer."""
        code = (
            "import urllib.request as r; "
            f"print(r.urlopen('http://localhost:8081{path}').read().decode())"
        )
        return json.loads(self.run_python(code).stdout)

    def find_pid(self, part: str) -> int:
        """Return a part's process id."""
        return int((self.state / "pid" / part).read_text())

    def list_pids(self) -> list[int]:
        """Return all process ids in the cluster's session."""
        found = subprocess.run(
            ["pgrep", "--session", str(self.find_pid("supervisor"))],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line) for line in found.stdout.split()]


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Cluster]]:
    """Return a function that starts a cluster of a Flink version, one at a time."""
    for tool in ("java", "mvn", "unshare", "nsenter", "pgrep"):
        if shutil.which(tool) is None:
            skip(f"{tool} isn't installed")
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
    running: list[str] = []

    def start(version: str) -> Cluster:
        if running != [version] or cluster.call_script("status").returncode == 3:
            cluster.call_script("down")
            result = cluster.call_script("up", "--flink", version, timeout=1200)
            assert result.returncode == 0, result.stdout + result.stderr
            running[:] = [version]
        return cluster

    yield start
    cluster.call_script("down")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write four models' answers to files of different sizes, with some repeated answers.

    The answers are real if real text is available.
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
    for number in range(6):
        pq.write_table(first.slice(number * 10, 10), folder / f"small-{number}.parquet")
    (folder.parent / "policy.yaml").write_text("duplicates: remove\n", encoding="utf-8")
    return folder


def kill(pid: int) -> None:
    """Kill a process at once."""
    os.kill(pid, signal.SIGKILL)
