"""Killed and resumed runs on real text end with the same bytes."""

import os
import random
import shutil
import signal
import time
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.verify import verify_run
from tests.faults.sandbox import FINISHED, REFUSED, Nursery
from tests.support.runs import comparable_files

pytestmark = pytest.mark.faults

KILLS = 46
KILLS_WITH_ENCODER = 4


@pytest.fixture
def real_text(shared_data, tmp_path):
    """Return a function that writes real conversations of three teachers."""

    def write(root: Path, rows: int) -> Path:
        (root / "corpus").mkdir(parents=True)
        for file in sorted((shared_data / "teachers").glob("*.parquet"))[:3]:
            pq.write_table(
                pq.read_table(file).slice(100, rows),
                root / "corpus" / file.name,
                row_group_size=rows // 2,
            )
        return root / "corpus"

    return write


def run_undisturbed(
    nursery: Nursery, config: FilterConfig, root: Path
) -> tuple[dict[str, bytes], float]:
    """Run once undisturbed; return the files and the run's seconds."""
    began = time.monotonic()
    done = nursery.run(config, root)
    assert done.code == 0, done.stderr
    return comparable_files(Path(config.output)), time.monotonic() - began


def find_receipts(config: FilterConfig) -> set[Path]:
    """Return the receipts of finished shards."""
    return set((Path(config.output) / ".work" / "receipts").glob("*.json"))


def kill_often(
    nursery: Nursery,
    config: FilterConfig,
    root: Path,
    kills: int,
    seconds: float,
    wanted: dict[str, bytes],
    late: bool = False,
) -> dict[str, int]:
    """Kill and resume runs at random moments until they finish; return the counts.

    With `late`, a run must finish one more shard before it is killed, because loading models takes
    most of the time.
    """
    dice, began = random.Random(kills), 0.0
    seen = {"killed": 0, "finished": 0, "resumed with shards done": 0}
    while seen["killed"] < kills or not seen["finished"]:
        before = find_receipts(config)
        began = time.monotonic() if not before else began
        process = nursery.start(config, root)
        while late and not nursery.has_ended(0.01) and find_receipts(config) <= before:
            pass
        if not nursery.has_ended(dice.uniform(0, seconds) if seen["killed"] < kills else 600):
            os.kill(process, signal.SIGKILL)
        done = nursery.await_outcome(root)
        seen["resumed with shards done"] += bool(before)
        if done.code == -9:
            seen["killed"] += 1
            if (Path(config.output) / "manifest.json").exists():
                assert verify_run(config.output) == []
            continue
        assert done.code in (0, FINISHED), done.stderr
        assert comparable_files(Path(config.output)) == wanted
        seen["finished"] += 1
        seconds = min(
            seconds, time.monotonic() - began
        )  # the first run was slower, since it also warmed the caches
        shutil.rmtree(config.output)
    return seen


def test_fifty_kills(nursery, real_text, tmp_path, capsys):
    """Forty-six random kills without a model don't change a byte."""
    root = tmp_path / "root"
    base = {
        "output": str(root / "run"),
        "signals": ("lexicon", "repetition"),
        "shards": {"rows": 25},
    }
    config = FilterConfig.model_validate(base | {"input": (str(real_text(root, 150)),)})
    wanted, seconds = run_undisturbed(nursery, config, root)
    shutil.rmtree(config.output)
    seen = kill_often(nursery, config, root, KILLS, seconds, wanted)
    with capsys.disabled():
        shards = sum(name.startswith("ledger/") for name in wanted)
        print(f"\n450 real rows in {shards} shards, {seconds:.1f} s undisturbed: {seen}")
    assert seen["killed"] == KILLS
    assert seen["resumed with shards done"] > KILLS // 4


def test_four_more_with_the_encoder(nursery, real_text, tmp_path, capsys):
    """Four kills with the encoder don't change a byte."""
    root = tmp_path / "root"
    config = FilterConfig.model_validate(
        {
            "input": (str(real_text(root, 40)),),
            "output": str(root / "run"),
            "traits": ("distress-spiral",),
            "shards": {"rows": 4},
            "vectors": True,
        }
    )
    run_undisturbed(nursery, config, root)  # fits the trait and caches its bank
    shutil.rmtree(config.output)
    wanted, seconds = run_undisturbed(nursery, config, root)
    shutil.rmtree(config.output)
    seen = kill_often(nursery, config, root, KILLS_WITH_ENCODER, seconds / 4, wanted, late=True)
    with capsys.disabled():
        print(f"\n120 real rows with the encoder, {seconds:.1f} s undisturbed: {seen}")
    assert seen["killed"] == KILLS_WITH_ENCODER
    assert seen["resumed with shards done"] >= 2


def test_a_second_process_on_a_killed_run_takes_over(nursery, real_text, tmp_path):
    """A second process is refused while the first is alive, and resumes after its death."""
    root = tmp_path / "root"
    config = FilterConfig.model_validate(
        {
            "input": (str(real_text(root, 60)),),
            "output": str(root / "run"),
            "signals": ("repetition",),
            "shards": {"rows": 10},
        }
    )
    first = nursery.start(config, root)
    while not (root / "run" / ".work" / "run.json").exists():
        time.sleep(0.01)
    began = time.monotonic()
    os.kill(first, signal.SIGSTOP)  # pause it, so that it can't finish in the meantime
    with closing(Nursery()) as second:
        other = second.run(config, root.with_name("other"))
    assert (other.code, other.stderr.split(" (")[0]) == (
        REFUSED,
        f"{config.output}: another process is writing this run",
    )
    assert time.monotonic() - began < 120
    os.kill(first, signal.SIGKILL)
    assert nursery.await_outcome(root).code == -9
    assert nursery.run(config, root).code in (0, FINISHED)
