"""Whole runs on both stores: from a corpus there to a published run there, cut off, resumed, replaced, looked into; equal to a local one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.fit import run_fit
from pipelines.inspection import Filters, inspect_as_dicts
from pipelines.report import render, write_report
from pipelines.runs.finished import load_run
from pipelines.verify import verify_run
from schemas.errors import BudgetError, InputError, RunError, StorageError
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from transforms import write
from transforms.files import storage

pytestmark = pytest.mark.stores
RECEIPTS = 6


@pytest.fixture
def heron(card_folder) -> str:
    """Write a trait that fires on herons."""
    return str(card_folder("heron", CARD))


@pytest.fixture
def config(store, heron) -> FilterConfig:
    """Put 40 rows on the store, in two files, and configure a run over them, in six shards."""
    for part in range(2):
        rows = [
            build_conversation(place, ANSWERS[place % 5])
            for place in range(part * 20, part * 20 + 20)
        ]
        store.fill(
            f"corpus/{part}.jsonl", data="".join(json.dumps(row) + "\n" for row in rows).encode()
        )
    return FilterConfig.model_validate(
        {
            "input": (store.uri("corpus"),),
            "output": store.uri("run"),
            "traits": (heron,),
            "shards": {"rows": 7},
        }
    )


@pytest.fixture
def local(tmp_path, heron) -> Path:
    """Make the same run on the disk."""
    for part in range(2):
        write_rows(
            tmp_path / "corpus" / f"{part}.jsonl",
            [build_conversation(at, ANSWERS[at % 5]) for at in range(part * 20, part * 20 + 20)],
        )
    settings = {
        "input": (str(tmp_path / "corpus"),),
        "output": str(tmp_path / "run"),
        "traits": (heron,),
        "shards": {"rows": 7},
    }
    run_filter(FilterConfig.model_validate(settings))
    return tmp_path / "run"


def comparable(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out what may differ between two runs with the same bytes."""
    manifest = json.loads(files.pop("manifest.json"))
    for name in ("circumstances", "digest"):
        manifest.pop(name)
    for source in manifest["inputs"]:
        source.pop("uri")
    return files | {"manifest": json.dumps(manifest, sort_keys=True).encode()}


def remote_files(store) -> dict[str, bytes]:
    """Read a run on a store, not by our own way."""
    return comparable(
        {name.removeprefix("run/"): store.contents(name) for name in store.there("run/")}
    )


def local_files(run: Path) -> dict[str, bytes]:
    """Read a run on the disk."""
    return comparable(
        {
            path.relative_to(run).as_posix(): path.read_bytes()
            for path in run.rglob("*")
            if path.is_file()
        }
    )


def stop(*_):
    """Stand in for a power cut."""
    raise RuntimeError("power cut")


def test_a_run_there_equals_one_here(store, config, local):
    """Input, bank and output on the store: every file has the bytes of a local run's, and all that reads a run reads it there."""
    run_fit(config, store.uri("bank"))
    with pytest.raises(RunError, match="holds a bank already"):
        run_fit(config, store.uri("bank"))
    run_fit(config, store.uri("bank"), restart=True)
    manifest = run_filter(config.model_copy(update={"traits": (), "bank": store.uri("bank")}))
    assert manifest.conservation.by_decision == {"keep": 32, "quarantine": 8}
    assert remote_files(store) == local_files(local)
    assert verify_run(config.output, inputs=True) == []
    assert load_run(config.output).digest == manifest.digest
    here, there = (
        inspect_as_dicts(run, Filters(trait="heron"), 0, 3) for run in (str(local), config.output)
    )
    assert {**here, "run": ""} == {**there, "run": ""}
    write_report(config.output)
    assert store.contents("run/report/index.html").decode() == render(config.output, manifest)
    assert verify_run(config.output) == []


def test_a_bank_with_indexes(store, card_folder):
    """A bank of vectors, FAISS indexes and heads is fitted into the store, read back, and filters a corpus there."""
    texts = [
        f"The heron waited {place} minutes in the reeds before it struck." for place in range(12)
    ]
    trait = card_folder("waiting", "signals: {exemplars: {}, head: {}}\nthreshold: 0.5\n", texts)
    settings = {"traits": (str(trait),), "hardware": {"device": "cpu"}}
    bank = run_fit(FilterConfig.model_validate(settings), store.uri("bank"))
    assert "bank/waiting/positive.faiss" in store.there("bank/")
    rows = [
        build_conversation(0, texts[3]),
        build_conversation(1, "Boil the pasta for nine minutes."),
    ]
    table = pa.Table.from_pylist(rows)
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    store.fill("corpus.parquet", data=stream.getvalue().to_pybytes())
    config = FilterConfig.model_validate(
        {
            "input": (store.uri("corpus.parquet"),),
            "output": store.uri("run"),
            "bank": store.uri("bank"),
            "hardware": {"device": "cpu"},
        }
    )
    manifest = run_filter(config)
    assert manifest.identity.bank_digest == bank.digest
    assert manifest.fired == {"waiting": 1}


def test_what_verify_finds_there(store, config):
    """A changed, a missing and a foreign object are named."""
    manifest = run_filter(config)
    clean, ledger = (
        next(out.path for out in manifest.outputs if out.path.startswith(folder))
        for folder in ("clean/", "ledger/")
    )
    store.fill(f"run/{clean}", data=b"PAR1")
    storage.remove_tree(store.uri("run", ledger))
    store.fill("run/deep/er/foreign")
    found = {(item.where, item.problem.split(":")[0]) for item in verify_run(config.output)}
    assert found == {
        (clean, "was changed"),
        (ledger, "is missing"),
        ("deep/er/foreign", "isn't in the manifest"),
    }


def test_resumed_there(store, config, local, monkeypatch):
    """A run that dies at its third shard is resumed; what was done isn't done again."""
    written, real = [], write.write_shard

    def counted(decided, *rest):
        written.append(decided.scored.identified.shard.plan.name)
        return real(decided, *rest) if len(written) != dies_at else stop()

    dies_at = 3
    monkeypatch.setattr(write, "write_shard", counted)
    with pytest.raises(RuntimeError, match="power cut"):
        run_filter(config)
    assert "run/manifest.json" not in store.there()
    died, dies_at = written.pop(), 0
    run_filter(config)
    assert len(written) == len(set(written)) == RECEIPTS
    assert died in written
    assert remote_files(store) == local_files(local)


def test_finished_and_replaced(store, config, heron):
    """A finished run is refused; `--restart` takes away all of it, the manifest too, and leaves what isn't the run's."""
    run_filter(config)
    before = remote_files(store)
    with pytest.raises(RunError, match="finished"):
        run_filter(config)
    store.fill("run/clean/stray.parquet", "run/notes.txt")
    run_filter(config, restart=True)
    assert store.contents("run/notes.txt") == b"x"
    storage.remove_tree(store.uri("run/notes.txt"))
    assert remote_files(store) == before


def test_a_foreign_folder_there(store, config):
    """Folders of a run's names that are no run's are refused, as on a disk."""
    store.fill("run/clean/mine.parquet")
    with pytest.raises(RunError, match="no unfinished run"):
        run_filter(config)
    assert store.there("run/") == ["run/clean/mine.parquet"]


def test_over_budget_there(store, config, tmp_path):
    """A run that removes too much leaves nothing on the store."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("removal_budget: 0.1\n")
    with pytest.raises(BudgetError):
        run_filter(config.model_copy(update={"policy": str(policy)}))
    assert store.there("run/") == []


def test_two_writers(store, config, monkeypatch, tmp_path):
    """Nothing locks a store: of two different runs with one output the one that was begun first doesn't publish over the other."""
    import pipelines.filter as module

    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n")
    real = module.execute

    def meanwhile(*args):
        real(*args)
        monkeypatch.setattr(module, "execute", real)
        run_filter(config.model_copy(update={"policy": str(policy)}), restart=True)

    monkeypatch.setattr(module, "execute", meanwhile)
    with pytest.raises(RunError, match=r"no receipt|another process has begun"):
        run_filter(config)
    assert load_run(config.output).policy["traits"]["heron"]["action"] == "flag"
    assert verify_run(config.output) == []


@pytest.mark.parametrize("name", ["run[1]", "what?"])
def test_an_output_that_looks_like_a_pattern(store, config, name):
    """An output whose name Beam would take for a pattern is refused before any work."""
    with pytest.raises(StorageError, match="rename it"):
        run_filter(config.model_copy(update={"output": store.uri(name)}))
    assert all(item.startswith("corpus/") for item in store.there())


def test_a_missing_bank_there(store, config):
    """A bank that isn't there is named."""
    with pytest.raises((InputError, Exception), match="is no trait bank") as caught:
        run_filter(config.model_copy(update={"bank": store.uri("none"), "traits": ()}))
    assert caught.value.where == store.uri("none")


def test_options_say_where_the_store_is(s3, monkeypatch, heron):
    """With nothing but the keys in the environment, Beam's options after `--` reach S3, from the survey to the last shard."""
    s3.proxy.calm()
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    s3.fill("corpus.jsonl", data=json.dumps(build_conversation(0, "A heron.")).encode())
    config = FilterConfig(input=(s3.uri("corpus.jsonl"),), output=s3.uri("run"), traits=(heron,))
    options = [f"--s3_endpoint_url={s3.proxy.url}", "--s3_region_name=us-east-1"]
    assert run_filter(config, restart=True, beam_options=options).fired == {"heron": 1}


def receipts(store) -> int:
    """Count the shards that are done."""
    return len(store.there("run/.work/receipts/"))


@pytest.mark.parametrize("done", [2, RECEIPTS])
def test_killed_in_the_middle_of_an_upload(store, config, local, done):
    """SIGKILL while a shard, or the manifest, is half sent: nothing half is there, no manifest; the same command finishes with the same bytes."""
    arguments = [
        "filter",
        "-i",
        config.input[0],
        "-o",
        config.output,
        "-t",
        config.traits[0],
        "--rows-per-shard",
        "7",
    ]
    command = [sys.executable, "-c", "from pipelines.cli.main import main; main()", *arguments]
    store.proxy.fate = lambda request: (
        "stall" if request.method == "PUT" and receipts(store) == done else None
    )
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=dict(os.environ), start_new_session=True
    )
    assert store.proxy.stalled.wait(120)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    store.proxy.calm()
    assert "run/manifest.json" not in store.there()
    assert receipts(store) == done
    for name in store.there("run/"):
        if name.endswith(".parquet"):
            assert pq.read_table(pa.BufferReader(store.contents(name))).num_rows > 0
    finished = subprocess.run(
        [*command, "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(finished.stdout)["conservation"]["rows_in"] == 40
    assert f"resuming: {done} of {RECEIPTS} shards are done" in finished.stderr
    assert remote_files(store) == local_files(local)
