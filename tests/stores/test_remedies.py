"""A swap and a mix on both stores equal local ones."""

import json
import re
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.mix import MixConfig, run_mix
from pipelines.runs.manifest_file import load_manifest
from pipelines.swap import SwapConfig, run_swap
from pipelines.verify import verify_run
from schemas.swaps import BatchRequests
from tests.support.corpora import ANSWERS, CARD, build_conversation
from tests.support.runs import comparable_files, mask_circumstances

pytestmark = pytest.mark.stores

PARENT_DIGEST = re.compile(rb'"parent_digest": ?"[0-9a-f]+",')

CORPORA = {
    "corpus/a.jsonl": [build_conversation(n, ANSWERS[n % 5]) for n in range(20)],
    "corpus/b.jsonl": [build_conversation(n, ANSWERS[n % 5]) for n in range(20, 40)],
    "cedar.jsonl": [build_conversation(n, f"cedar {n}.") for n in range(30)],
    "elm.jsonl": [build_conversation(n, f"elm {n}.") for n in range(100, 130)],
}
"""The corpus, in which eight herons wait for a swap, and two donors."""


@pytest.fixture
def heron(card_folder) -> str:
    """Write a trait whose rows wait for a swap."""
    return str(card_folder("heron", f"action: swap\n{CARD}"))


@pytest.fixture
def local(tmp_path) -> str:
    """Write the corpora into a local folder."""
    for name, rows in CORPORA.items():
        path = tmp_path / "local" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(rows))
    return str(tmp_path / "local")


def encode(rows) -> bytes:
    """Return rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def apply_remedies(folder: str, heron: str) -> None:
    """Filter, swap and mix the corpora in a folder."""
    settings = {
        "input": (f"{folder}/corpus",),
        "output": f"{folder}/run",
        "traits": (heron,),
        "shards": {"rows": 7},
    }
    run_filter(FilterConfig.model_validate(settings))
    swap = SwapConfig(
        run=f"{folder}/run",
        donors=(f"{folder}/cedar.jsonl",),
        requests=BatchRequests(model="elm", reply_tokens=9),
        filter=FilterConfig(output=f"{folder}/swapped"),
    )
    run_swap(swap)
    mix = MixConfig(
        run=f"{folder}/swapped",
        donors=(f"{folder}/elm.jsonl",),
        share=0.25,
        filter=FilterConfig(output=f"{folder}/mixed"),
    )
    run_mix(mix)


def split_donors(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a run's files without those of its donors' runs, which tests compare apart.

    A parent's digest covers the place of its input, so it is masked.
    """
    own = {name: data for name, data in files.items() if not name.startswith("donors/")}
    own["manifest.json"] = PARENT_DIGEST.sub(b"", own["manifest.json"])
    return own


def read_remote(store, run: str) -> dict[str, bytes]:
    """Return a run's comparable files from the store."""
    names = store.list_names(f"{run}/")
    files = {name.removeprefix(f"{run}/"): store.read_object(name) for name in names}
    return split_donors(mask_circumstances(files))


def test_remedies_on_a_store_equal_local_ones(store, heron, local):
    """A swap with requests, a mix, and their donors' runs have a local run's bytes."""
    for name, rows in CORPORA.items():
        store.put_objects(name, data=encode(rows))
    apply_remedies(local, heron)
    apply_remedies(store.uri(), heron)
    runs = ("run", "swapped", "swapped/donors/cedar", "mixed", "mixed/donors/elm")
    for run in runs:
        found = split_donors(comparable_files(Path(local, run)))
        assert read_remote(store, run) == found
    manifest = load_manifest(store.uri("mixed"))
    assert manifest.swap.counts.outcomes == {"replaced": 6, "no donor": 2}
    assert manifest.mix.counts.added > 0
    assert store.read_object("swapped/swaplist/requests-0001.jsonl").count(b"\n") == 2
    for run in ("swapped", "mixed"):
        assert verify_run(store.uri(run)) == []
