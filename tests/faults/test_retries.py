"""A run has the same bytes however a runner repeats work or cuts bundles."""

import gzip
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.verify import verify_run
from tests.faults.sandbox import BUNDLES
from tests.support.runs import comparable_files

pytestmark = pytest.mark.faults

ANSWERS = (
    "The heron sat in the reeds. It rained.",
    "Compile it with the otter flag. Then link.",
    "Stir badger flour into the dough. Bake.",
    "Solve the equation for marten. Check.",
    "Sort the list first. Then search.",
)
ACTIONS = {"heron": "swap", "otter": "mask", "badger": "drop", "marten": "flag"}
ENGINES = {
    "every bundle repeated three times": ("--direct_runner_bundle_repeat=3",),
    "bundle by bundle": (BUNDLES,),
}
FOLDERS = {
    *("clean", "quarantine", "rejects", "swaplist"),
    *("ledger", "scores", "spans", "calibration", "bank"),
}


SHARD_FILE = re.compile(r"/part-[^/]*\.(parquet|jsonl(\.gz|\.zst)?)$")


def build_line(number: int) -> str:
    """Return a row's line. Some rows are equal, and some can't be read."""
    if number % 11 == 7:
        return "{broken"
    turns = [
        {"role": "user", "content": f"Question {number % 13}?"},
        {"role": "assistant", "content": ANSWERS[number % 5]},
    ]
    return json.dumps({"messages": turns, "model": f"m{number % 2}"})


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Write a corpus of plain, compressed and small files, and traits for every action."""
    root = tmp_path_factory.mktemp("retries") / "root"
    (root / "corpus").mkdir(parents=True)
    (root / "corpus" / "a.jsonl").write_text("\n".join(map(build_line, range(40))))
    (root / "corpus" / "b.jsonl.gz").write_bytes(
        gzip.compress("\n".join(map(build_line, range(40, 70))).encode(), mtime=0)
    )
    for name in "cde":
        (root / "corpus" / f"{name}.jsonl").write_text("\n".join(map(build_line, (70, 72))))
    for name, action in ACTIONS.items():
        (root / "traits" / name).mkdir(parents=True)
        signals = (
            f"signals: {{lexicon: {{patterns: [{name}]}}, exemplars: {{}}}}"
            if name == "heron"
            else f"signals: {{lexicon: {{patterns: [{name}]}}}}"
        )
        (root / "traits" / name / "card.yaml").write_text(
            f"id: {name}\n{signals}\nthreshold: 0.6\naction: {action}\n"
        )
    texts = (
        "The heron sat in the rain.",
        "A heron fished.",
        "Herons nest here.",
        "The grey heron left.",
    )
    (root / "traits" / "heron" / "positives.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts)
    )
    (root / "policy.yaml").write_text("duplicates: remove\n")
    return root


@pytest.fixture(scope="module")
def configured(root):
    """Return a function that configures a run with all signals, or only lexicons."""

    def configure(encoder: bool) -> FilterConfig:
        base = {
            "input": (str(root / "corpus"),),
            "output": str(root / "run"),
            "traits": (str(root / "traits"),),
            "shards": {"rows": 9},
        }
        how = {"vectors": True} if encoder else {"signals": ("lexicon",)}
        return FilterConfig.model_validate(base | how | {"policy": str(root / "policy.yaml")})

    return configure


@pytest.fixture(scope="module", params=[False, True], ids=["lexicons", "encoder and vectors"])
def undisturbed(request, nursery, root, configured):
    """Run once undisturbed; return the configuration, the files and the publication counts."""
    config = configured(request.param)
    done = nursery.run(config, root)
    assert done.code == 0, done.stderr
    assert verify_run(config.output) == []
    files = comparable_files(root / "run")
    shutil.rmtree(root / "run")
    assert {name.split("/")[0] for name in files} == FOLDERS | {"manifest.json"} | (
        {"vectors"} if request.param else set()
    )
    decisions = json.loads(files["manifest.json"])["conservation"]["by_decision"]
    assert set(decisions) == {"keep", "flag", "mask", "quarantine", "drop", "duplicate", "reject"}
    return config, files, count_publications(done.points)


def count_publications(points) -> Counter:
    """Count how often each shard file got its final name."""
    return Counter(
        point.file
        for point in points
        if point.operation == "rename" and SHARD_FILE.search(point.file)
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_bytes(nursery, root, undisturbed, engine):
    """Repeated or differently cut bundles give the same bytes."""
    config, files, once = undisturbed
    done = nursery.run(config, root, engine=ENGINES[engine])
    assert done.code == 0, done.stderr
    assert comparable_files(root / "run") == files
    shutil.rmtree(root / "run")
    again = count_publications(done.points)
    assert set(again) == set(once)
    assert set(once.values()) == {1}
    assert set(again.values()) == ({4} if "repeat" in ENGINES[engine][0] else {1})
