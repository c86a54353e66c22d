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
from pipelines.mix import MixConfig, run_mix
from pipelines.runs.manifest_file import load_manifest
from pipelines.swap import SwapConfig, run_swap
from pipelines.verify import verify_run
from schemas.runs import RECEIPTS
from tests.engines.conftest import MODELLESS, SCRIPT, kill, wait_for
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
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


@pytest.fixture(scope="session")
def remedies(tmp_path_factory):
    """Filter, swap and mix a corpus in this process: eight herons of 40 answers wait for a swap.

    The donor `cedar` answers all questions but one, and `elm` 30 others.
    """
    folder = tmp_path_factory.mktemp("remedies")
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: swap\n{CARD}", encoding="utf-8")
    answers = [build_conversation(number, ANSWERS[number % 5]) for number in range(40)]
    for part in range(4):
        write_rows(folder / "corpus" / f"{part}.jsonl", answers[part * 10 : part * 10 + 10])
    for name, numbers in (("cedar", range(39)), ("oak", range(40)), ("elm", range(100, 130))):
        rows = [build_conversation(number, f"{name} {number}.") for number in numbers]
        write_rows(folder / f"{name}.jsonl", rows)
    filtering = {"input": (str(folder / "corpus"),), "traits": (str(card.parent),)}
    run = FilterConfig.model_validate(
        {**filtering, "output": str(folder / "run"), "shards": {"rows": 5}}
    )
    run_filter(run)
    donors = tuple(str(folder / f"{name}.jsonl") for name in ("cedar", "oak"))
    shares = (("cedar", 0.5), ("oak", 0.5))
    own = FilterConfig(output=str(folder / "swapped"))
    run_swap(SwapConfig(run=run.output, donors=donors, shares=shares, filter=own))
    own = FilterConfig(output=str(folder / "mixed"))
    clean = (str(folder / "elm.jsonl"),)
    run_mix(MixConfig(run=str(folder / "swapped"), donors=clean, share=0.25, filter=own))
    return folder


def test_flink_swaps_the_same_answers(clusters, remedies, tmp_path):
    """A swap whose join runs on the cluster writes the bytes of a local one, donors' runs too."""
    donors = [word for name in ("cedar", "oak") for word in ("--donor", f"{remedies / name}.jsonl")]
    shares = ("--share", "cedar=0.5", "--share", "oak=0.5")
    run, output = str(remedies / "run"), str(tmp_path / "swapped")
    words = ("swap", run, *donors, *shares, "--output", output, "--runner", "flink")
    finish(clusters(NEWEST).start_congener(*words), seconds=400)
    assert_equal_but_for_origin(tmp_path / "swapped", remedies / "swapped")
    assert load_manifest(output).swap.counts.outcomes == {"replaced": 8}
    assert verify_run(output) == []


def test_flink_mixes_the_same_rows(clusters, remedies, tmp_path):
    """A mix on the cluster draws the rows of a local mix."""
    clean = ("--donor", str(remedies / "elm.jsonl"), "--share", "0.25")
    run, output = str(remedies / "swapped"), str(tmp_path / "mixed")
    words = ("mix", run, *clean, "--output", output, "--runner", "flink")
    finish(clusters(NEWEST).start_congener(*words), seconds=400)
    assert_equal_but_for_origin(tmp_path / "mixed", remedies / "mixed")
    assert load_manifest(output).mix.counts.added == 13
    assert verify_run(output) == []


def assert_equal_but_for_origin(run: Path, other: Path) -> None:
    """Compare two runs with the runs of their donors, apart from when and where they were made."""
    names = [path.name for path in (other / "donors").iterdir() if path.is_dir()]
    assert names
    for part in ("", *(f"donors/{name}" for name in names)):
        found, expected = comparable_files(run / part), comparable_files(other / part)
        for files in (found, expected):
            for path in [path for path in files if path.startswith("donors/")]:
                del files[path]
        assert found == expected


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
