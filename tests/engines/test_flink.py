"""The same run on every engine: equal bytes, also when parts of a cluster are killed under it."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from tests.engines.conftest import MODELLESS, SCRIPT, kill, until
from tests.support.runs import comparable_files

pytestmark = pytest.mark.engines

NEWEST = "1.20"
VERSIONS = ("1.19", NEWEST)


@pytest.fixture(scope="session")
def reference(corpus, tmp_path_factory):
    """Run the corpus on the local runner, in this process: duplicates removed, in shards of 150 rows."""
    run = tmp_path_factory.mktemp("reference") / "run"
    run_filter(
        FilterConfig.model_validate(
            {
                "input": (str(corpus),),
                "output": str(run),
                "signals": ("lexicon", "repetition"),
                "policy": str(corpus.parent / "policy.yaml"),
                "shards": {"rows": 150},
            }
        )
    )
    return run


def arguments(corpus: Path, run: Path) -> tuple[str, ...]:
    """Return the command line of the reference run."""
    policy = str(corpus.parent / "policy.yaml")
    return (
        "filter",
        "--input",
        str(corpus),
        "--output",
        str(run),
        *MODELLESS,
        "--policy",
        policy,
        "--rows-per-shard",
        "150",
    )


def finish(process: subprocess.Popen, code: int = 0, seconds: float = 240) -> str:
    """Wait for a command; return what it said."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == code, said
    return said


def test_two_processes_give_the_same_bytes(corpus, reference, tmp_path):
    """The local runner with two worker processes writes what it writes in one."""
    config = FilterConfig.model_validate(
        {
            "input": (str(corpus),),
            "output": str(tmp_path / "run"),
            "signals": ("lexicon", "repetition"),
            "policy": str(corpus.parent / "policy.yaml"),
            "shards": {"rows": 150},
            "engine": {"workers": 2},
        }
    )
    manifest = run_filter(config)
    assert manifest.conservation.by_decision["duplicate"] >= 60
    assert comparable_files(tmp_path / "run") == comparable_files(reference)


@pytest.mark.parametrize("version", VERSIONS)
def test_flink_gives_the_same_bytes(clusters, corpus, reference, tmp_path, version):
    """Clean, quarantine, ledger, scores and the manifest's identity are the local runner's, and both TaskManagers had shards."""
    cluster = clusters(version)
    finish(cluster.congener(*arguments(corpus, tmp_path / "run"), "--runner", "flink"))
    assert comparable_files(tmp_path / "run") == comparable_files(reference)
    shards = len(list((reference / "ledger").iterdir()))
    assert max(shares(cluster).values(), default=shards) < shards * 0.8
    assert len(shares(cluster)) == 2


def shares(cluster) -> dict[str, int]:
    """Return how many plans each TaskManager was given by the step that reads and writes, in the latest job."""
    job = max(cluster.rest("/jobs/overview")["jobs"], key=lambda item: item["start-time"])["jid"]
    steps = [step for step in cluster.rest(f"/jobs/{job}")["vertices"] if "Write" in step["name"]]
    assert steps, "no step writes"
    given: dict[str, int] = {}
    for subtask in cluster.rest(f"/jobs/{job}/vertices/{steps[0]['id']}")["subtasks"]:
        if subtask["metrics"]["read-records"]:
            given[subtask["taskmanager-id"]] = (
                given.get(subtask["taskmanager-id"], 0) + subtask["metrics"]["read-records"]
            )
    return given


def test_the_encoder_gives_the_same_scores(clusters, corpus, tmp_path):
    """With the real encoder in the workers' processes, scores and decisions are those of this process."""
    few = tmp_path / "few"
    few.mkdir()
    shutil.copy(corpus / "small-0.parquet", few)
    shutil.copy(corpus / "small-1.parquet", few)
    common = (
        "filter",
        "--input",
        str(few),
        "--rows-per-shard",
        "5",
        "--traits",
        "sycophantic-opening",
        "--traits",
        "vendor-identity",
        "--vectors",
    )
    run_filter(
        FilterConfig.model_validate(
            {
                "input": (str(few),),
                "output": str(tmp_path / "here"),
                "shards": {"rows": 5},
                "traits": ("sycophantic-opening", "vendor-identity"),
                "vectors": True,
            }
        )
    )
    finish(
        clusters(NEWEST).congener(*common, "--output", str(tmp_path / "there"), "--runner", "flink")
    )
    assert comparable_files(tmp_path / "there") == comparable_files(tmp_path / "here")


def receipts(run: Path) -> int:
    """Count the shards that are done."""
    return len(list((run / ".work" / "receipts").glob("*.json")))


def killed_halfway(cluster, process, run: Path, victims) -> None:
    """Wait until some shards are done, then kill; there must have been work left."""
    until(lambda: receipts(run) >= 2 or process.poll() is not None, 120, "the first shards")
    pids = victims()
    for pid in pids:
        kill(pid)
    assert pids
    assert not (run / "manifest.json").exists()


def test_a_killed_task_manager_is_survived(clusters, corpus, reference, tmp_path):
    """SIGKILL to a TaskManager in the middle of a run: the job recovers, and its output is as if nothing had happened."""
    cluster, run = clusters(NEWEST), tmp_path / "run"
    process = cluster.congener(*arguments(corpus, run), "--runner", "flink")
    before = cluster.pid("taskmanager-1")
    killed_halfway(cluster, process, run, lambda: [cluster.pid("taskmanager-1")])
    finish(process)
    assert comparable_files(run) == comparable_files(reference)
    assert cluster.pid("taskmanager-1") != before
    assert (
        "taskmanager-1 ended with 137; starting it again"
        in (cluster.state / "log" / "supervisor.log").read_text()
    )


def test_a_killed_worker_pool_is_survived(clusters, corpus, reference, tmp_path):
    """SIGKILL to the worker pool and all its workers in the middle of a run: the same."""
    cluster, run = clusters(NEWEST), tmp_path / "run"
    process = cluster.congener(*arguments(corpus, run), "--runner", "flink")

    def pool_and_workers() -> list[int]:
        found = subprocess.run(
            ["pgrep", "--parent", str(cluster.pid("pool"))],
            capture_output=True,
            text=True,
            check=False,
        )
        return [cluster.pid("pool"), *map(int, found.stdout.split())]

    killed_halfway(cluster, process, run, pool_and_workers)
    finish(process)
    assert comparable_files(run) == comparable_files(reference)
    assert (
        "pool ended with 137; starting it again"
        in (cluster.state / "log" / "supervisor.log").read_text()
    )


JOB = """
import time
import apache_beam as beam
from pipelines.engines.interface import Engine
from pipelines.engines.launch import open_pipeline
from schemas.errors import CongenerError, ModelError

def work(item):
    WORK

try:
    with open_pipeline(Engine(runner="flink", deadline=DEADLINE)) as pipeline:
        pipeline | beam.Create([1, 2]) | beam.Reshuffle() | beam.Map(work)
except CongenerError as error:
    print(type(error).__name__, error.exit_code, error)
"""


def test_a_failing_job_says_what_its_worker_raised(clusters):
    """A job that fails on every try ends, with the worker's own error, instead of hanging."""
    code = JOB.replace(
        "WORK", 'raise ModelError(f"no GPU for {item}", remedy="--device auto")'
    ).replace("DEADLINE", "3")
    said = clusters(NEWEST).python(code).stdout
    assert re.search(
        r"^ModelError 2 no GPU for [12]\n  remedy: --device auto$", said, re.MULTILINE
    ), said


def test_a_job_past_its_deadline_is_cancelled(clusters):
    """The launcher gives up, and so does the cluster: the job isn't left running."""
    cluster = clusters(NEWEST)
    said = cluster.python(JOB.replace("WORK", "time.sleep(300)").replace("DEADLINE", "0.5")).stdout
    assert "EngineError 7 the job wasn't done after 0.5 minutes and was cancelled" in said
    until(
        lambda: (
            not [
                job
                for job in cluster.rest("/jobs/overview")["jobs"]
                if job["state"] not in ("FINISHED", "FAILED", "CANCELED")
            ]
        ),
        60,
        "the end",
    )


def test_status_tells_a_part_that_is_down_and_down_leaves_nothing(clusters):
    """0 while all is up, 1 while a part is down, 3 when nothing is; after `down` no process of the cluster is left."""
    cluster = clusters(NEWEST)
    assert until(lambda: cluster.script("status").returncode == 0, 60, "a whole cluster")
    assert cluster.script("up").returncode == 2
    supervisor = cluster.pid("pool")
    os.kill(supervisor, signal.SIGSTOP)  # stopped, not ended: nothing starts it again
    os.kill(cluster.pid("jobserver"), signal.SIGKILL)
    assert cluster.script("status").returncode == 1
    os.kill(supervisor, signal.SIGCONT)
    members = cluster.members()
    assert len(members) > 5
    assert cluster.script("down").returncode == 0
    time.sleep(0.5)
    assert [pid for pid in members if Path(f"/proc/{pid}").exists()] == []
    assert cluster.script("status").returncode == 3
    assert cluster.script("run", "true").returncode == 3


def test_a_process_of_others_is_left_alone(clusters):
    """A note of a process that is another's by now, as after a reboot, is no cluster of ours, and `down` doesn't kill it."""
    cluster = clusters(NEWEST)
    cluster.script("down")
    with subprocess.Popen(["sleep", "60"]) as other:
        (cluster.state / "pid" / "supervisor").write_text(f"{other.pid}\n")
        assert cluster.script("status").returncode == 3
        assert cluster.script("down").returncode == 0
        assert other.poll() is None
        other.kill()


def test_jars_that_are_not_pinned_are_refused(clusters, tmp_path):
    """A version without digests isn't fetched, and jars with other digests aren't used."""
    cluster = clusters(NEWEST)
    assert (
        "isn't among those whose jars are pinned"
        in cluster.script("fetch", "--flink", "9.9").stderr
    )
    copy = tmp_path / "flink"
    shutil.copytree(SCRIPT.parent, copy)
    digests = copy / "artifacts-1.20.sha256"
    digests.write_text(digests.read_text().replace(digests.read_text()[:8], "00000000", 1))
    (tmp_path / "mvn").write_text(
        '#!/bin/sh\nfor last; do :; done; mkdir -p "${last#-DoutputDirectory=}" && cp "$JARS"/* "${last#-DoutputDirectory=}"\n'
    )
    (tmp_path / "mvn").chmod(0o755)
    jars = Path(os.environ.get("CONGENER_FLINK_JARS", Path.home() / ".cache" / "congener-flink"))
    environment = cluster.environment | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "JARS": str(jars / NEWEST),
        "CONGENER_FLINK_JARS": str(tmp_path / "jars"),
    }
    result = subprocess.run(
        [copy / "local.sh", "fetch"], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "isn't the one that was pinned" in result.stderr
    assert not (tmp_path / "jars" / NEWEST).exists()
