"""Every engine writes the same bytes, even if parts of a cluster are killed."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.engines.flink import ENDED
from pipelines.filter import run_filter
from schemas.runs import RECEIPTS
from tests.engines.conftest import MODELLESS, SCRIPT, kill, wait_for
from tests.support.runs import comparable_files

pytestmark = pytest.mark.engines

NEWEST = "1.20"
VERSIONS = ("1.19", NEWEST)


@pytest.fixture(scope="session")
def reference(corpus, tmp_path_factory):
    """Filter the corpus in this process, without duplicates, in shards of 150 rows."""
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


def build_arguments(corpus: Path, run: Path) -> tuple[str, ...]:
    """Return a command line for the reference run on Flink."""
    policy = ("--policy", str(corpus.parent / "policy.yaml"))
    paths = ("--input", str(corpus), "--output", str(run))
    return ("filter", *paths, *MODELLESS, *policy, "--rows-per-shard", "150", "--runner", "flink")


def finish(process: subprocess.Popen, code: int = 0, seconds: float = 240) -> str:
    """Wait for a command, check its exit code, and return its output."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == code, output
    return output


def test_two_processes_give_the_same_bytes(corpus, reference, tmp_path):
    """Two local worker processes write the same bytes as one process."""
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
    """All files equal the local run's, and both TaskManagers processed shards."""
    cluster = clusters(version)
    finish(cluster.start_congener(*build_arguments(corpus, tmp_path / "run")))
    assert comparable_files(tmp_path / "run") == comparable_files(reference)
    shards = len(list((reference / "ledger").iterdir()))
    shares = count_plans(cluster)
    assert max(shares.values(), default=shards) < shards * 0.8
    assert len(shares) == 2


def count_plans(cluster) -> Counter[str]:
    """Count each TaskManager's plans in the latest job's writing step."""
    job = max(cluster.query("/jobs/overview")["jobs"], key=lambda item: item["start-time"])["jid"]
    steps = [step for step in cluster.query(f"/jobs/{job}")["vertices"] if "Write" in step["name"]]
    assert steps, "no step writes"
    counts = Counter()
    for subtask in cluster.query(f"/jobs/{job}/vertices/{steps[0]['id']}")["subtasks"]:
        counts[subtask["taskmanager-id"]] += subtask["metrics"]["read-records"]
    return +counts


def test_the_encoder_gives_the_same_scores(clusters, corpus, tmp_path):
    """Worker processes with the real encoder write the same bytes as this process."""
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
        "distress-spiral",
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
                "traits": ("distress-spiral", "vendor-identity"),
                "vectors": True,
            }
        )
    )
    finish(
        clusters(NEWEST).start_congener(
            *common, "--output", str(tmp_path / "there"), "--runner", "flink"
        )
    )
    assert comparable_files(tmp_path / "there") == comparable_files(tmp_path / "here")


def count_receipts(run: Path) -> int:
    """Count the finished shards."""
    return len(list((run / RECEIPTS).glob("*.json")))


def kill_halfway(process, run: Path, find_pids) -> None:
    """Wait for some shards, and kill processes before the run ends."""
    wait_for(
        lambda: count_receipts(run) >= 2 or process.poll() is not None, 120, "the first shards"
    )
    pids = find_pids()
    for pid in pids:
        kill(pid)
    assert pids
    assert not (run / "manifest.json").exists()


def test_a_killed_task_manager_is_survived(clusters, corpus, reference, tmp_path):
    """A job recovers from a killed TaskManager, and writes the same bytes."""
    cluster, run = clusters(NEWEST), tmp_path / "run"
    process = cluster.start_congener(*build_arguments(corpus, run))
    before = cluster.find_pid("taskmanager-1")
    kill_halfway(process, run, lambda: [cluster.find_pid("taskmanager-1")])
    finish(process)
    assert comparable_files(run) == comparable_files(reference)
    assert cluster.find_pid("taskmanager-1") != before
    assert (
        "taskmanager-1 ended with 137; starting it again"
        in (cluster.state / "log" / "supervisor.log").read_text()
    )


def test_a_killed_worker_pool_is_survived(clusters, corpus, reference, tmp_path):
    """A job recovers from a killed worker pool."""
    cluster, run = clusters(NEWEST), tmp_path / "run"
    process = cluster.start_congener(*build_arguments(corpus, run))

    def find_pool() -> list[int]:
        found = subprocess.run(
            ["pgrep", "--parent", str(cluster.find_pid("pool"))],
            capture_output=True,
            text=True,
            check=False,
        )
        return [cluster.find_pid("pool"), *map(int, found.stdout.split())]

    kill_halfway(process, run, find_pool)
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


def test_a_failing_job_raises_its_workers_error(clusters):
    """A job that fails on every try ends with the worker's error."""
    code = JOB.replace(
        "WORK", 'raise ModelError(f"no GPU for {item}", remedy="--device auto")'
    ).replace("DEADLINE", "3")
    output = clusters(NEWEST).run_python(code).stdout
    assert re.search(
        r"^ModelError 2 no GPU for [12]\n  remedy: --device auto$", output, re.MULTILINE
    ), output


def test_a_job_past_its_deadline_is_cancelled(clusters):
    """After the deadline, the launcher gives up, and the cluster ends the job."""
    cluster = clusters(NEWEST)
    code = JOB.replace("WORK", "time.sleep(300)").replace("DEADLINE", "0.5")
    output = cluster.run_python(code).stdout
    assert "EngineError 7 the job wasn't done after 0.5 minutes and was cancelled" in output

    def have_jobs_ended() -> bool:
        return all(job["state"] in ENDED for job in cluster.query("/jobs/overview")["jobs"])

    wait_for(have_jobs_ended, 60, "the end")


def test_status_counts_parts_and_down_ends_them(clusters):
    """`status` exits with 0 for all parts, 1 for some and 3 for none; `down` ends all parts."""
    cluster = clusters(NEWEST)
    assert wait_for(lambda: cluster.call_script("status").returncode == 0, 60, "a whole cluster")
    assert cluster.call_script("up").returncode == 2
    pool = cluster.find_pid("pool")
    os.kill(pool, signal.SIGSTOP)  # only pause it, so that the supervisor doesn't restart it
    os.kill(cluster.find_pid("jobserver"), signal.SIGKILL)
    assert cluster.call_script("status").returncode == 1
    os.kill(pool, signal.SIGCONT)
    pids = cluster.list_pids()
    assert len(pids) > 5
    assert cluster.call_script("down").returncode == 0
    time.sleep(0.5)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert cluster.call_script("status").returncode == 3
    assert cluster.call_script("run", "true").returncode == 3


def test_another_programs_process_is_left_alone(clusters):
    """`down` doesn't kill another program with a recorded process id."""
    cluster = clusters(NEWEST)
    cluster.call_script("down")
    with subprocess.Popen(["sleep", "60"]) as other:
        (cluster.state / "pid" / "supervisor").write_text(f"{other.pid}\n")
        assert cluster.call_script("status").returncode == 3
        assert cluster.call_script("down").returncode == 0
        assert other.poll() is None
        other.kill()


def test_jars_that_are_not_pinned_are_refused(clusters, tmp_path):
    """A Flink version without a pinned digest is refused, and so is a changed jar."""
    cluster = clusters(NEWEST)
    assert (
        "the jars of Flink 9.9 aren't pinned"
        in cluster.call_script("fetch", "--flink", "9.9").stderr
    )
    copy = tmp_path / "flink"
    shutil.copytree(SCRIPT.parent, copy)
    digests = copy / "artifacts-1.20.sha256"
    digests.write_text(digests.read_text().replace(digests.read_text()[:8], "00000000", 1))
    (tmp_path / "mvn").write_text(
        "#!/bin/sh\nfor last; do :; done; folder=${last#-DoutputDirectory=}\n"
        'mkdir -p "$folder" && cp "$JARS"/* "$folder"\n'
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
    assert "differs from the pinned one" in result.stderr
    assert not (tmp_path / "jars" / NEWEST).exists()
