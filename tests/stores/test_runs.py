"""Whole runs on both stores equal local runs."""

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
from pipelines.inspection import View, inspect_as_dicts
from pipelines.report import render_report, write_report
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import Filters
from pipelines.verify import verify_run
from schemas.errors import BudgetError, ModelError, RunError, StorageError
from schemas.runs import EVIDENCE_FOLDERS, WITHDRAWN
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.runs import comparable_files, mask_circumstances
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
    """Put 40 rows in two files on the store, and configure a run with six shards."""
    for part in range(2):
        rows = [
            build_conversation(number, ANSWERS[number % 5])
            for number in range(part * 20, part * 20 + 20)
        ]
        store.put_objects(
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
    """Make the same run locally, and return its directory."""
    for part in range(2):
        write_rows(
            tmp_path / "corpus" / f"{part}.jsonl",
            [build_conversation(n, ANSWERS[n % 5]) for n in range(part * 20, part * 20 + 20)],
        )
    settings = {
        "input": (str(tmp_path / "corpus"),),
        "output": str(tmp_path / "run"),
        "traits": (heron,),
        "shards": {"rows": 7},
    }
    run_filter(FilterConfig.model_validate(settings))
    return tmp_path / "run"


def read_remote_files(store) -> dict[str, bytes]:
    """Read a run with the store's client, and return the comparable files."""
    return mask_circumstances(
        {name.removeprefix("run/"): store.read_object(name) for name in store.list_names("run/")}
    )


def cut_power(*_):
    """Raise an error like a power cut."""
    raise RuntimeError("power cut")


def test_a_run_on_a_store_equals_a_local_one(store, config, local):
    """A run on a store has a local run's bytes."""
    run_fit(config, store.uri("bank"))
    with pytest.raises(RunError, match="already holds a bank"):
        run_fit(config, store.uri("bank"))
    run_fit(config, store.uri("bank"), restart=True)
    manifest = run_filter(config.model_copy(update={"traits": (), "bank": store.uri("bank")}))
    assert manifest.conservation.by_decision == {"keep": 32, "quarantine": 8}
    assert read_remote_files(store) == comparable_files(local)
    assert verify_run(config.output, inputs=True) == []
    assert load_manifest(config.output).digest == manifest.digest
    on_disk, on_store = (
        inspect_as_dicts(run, View(Filters(trait="heron"), limit=3))
        for run in (str(local), config.output)
    )
    assert {**on_disk, "finished": ""} == {**on_store, "finished": ""}
    write_report(config.output)
    page = store.read_object("run/report/index.html").decode()
    assert page == render_report(config.output, manifest)
    assert verify_run(config.output) == []


def test_a_bank_with_indexes(store, card_folder):
    """A bank with FAISS indexes and heads is written to the store and read back."""
    texts = [
        f"The heron waited {count} minutes in the reeds before it struck." for count in range(12)
    ]
    trait = card_folder("waiting", "signals: {exemplars: {}, head: {}}\nthreshold: 0.5\n", texts)
    settings = {"traits": (str(trait),), "hardware": {"device": "cpu"}}
    bank = run_fit(FilterConfig.model_validate(settings), store.uri("bank")).bank
    assert "bank/waiting/positive.faiss" in store.list_names("bank/")
    rows = [
        build_conversation(0, texts[3]),
        build_conversation(1, "Boil the pasta for nine minutes."),
    ]
    table = pa.Table.from_pylist(rows)
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    store.put_objects("corpus.parquet", data=stream.getvalue().to_pybytes())
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


def test_verify_finds_changes(store, config):
    """`verify` names changed, missing and foreign objects."""
    manifest = run_filter(config)
    clean, ledger = (
        next(out.path for out in manifest.outputs if out.path.startswith(folder))
        for folder in ("clean/", "ledger/")
    )
    store.put_objects(f"run/{clean}", data=b"PAR1")
    storage.remove_tree(store.uri("run", ledger))
    store.put_objects("run/spans/er/foreign")
    found = {(item.where, item.problem.split(":")[0]) for item in verify_run(config.output)}
    assert found == {
        (clean, "was changed"),
        (ledger, "is missing"),
        ("spans/er/foreign", "isn't in the manifest, but whoever reads spans/ reads it too"),
    }


def test_a_run_is_resumed(store, config, local, monkeypatch):
    """A resumed run doesn't repeat finished shards."""
    written, real = [], write.write_shard

    def counted(decided, *rest):
        written.append(decided.plan.name)
        return real(decided, *rest) if len(written) != dies_at else cut_power()

    dies_at = 3
    monkeypatch.setattr(write, "write_shard", counted)
    with pytest.raises(RuntimeError, match="power cut"):
        run_filter(config)
    assert "run/manifest.json" not in store.list_names()
    died, dies_at = written.pop(), 0
    run_filter(config)
    assert len(written) == len(set(written)) == RECEIPTS
    assert died in written
    assert read_remote_files(store) == comparable_files(local)


def test_a_finished_run_is_refused_or_replaced(store, config, heron):
    """A finished run is refused, and `--restart` replaces the run and nothing else."""
    run_filter(config)
    before = read_remote_files(store)
    with pytest.raises(RunError, match="finished"):
        run_filter(config)
    store.put_objects("run/clean/stray.parquet", "run/notes.txt")
    with pytest.raises(RunError, match=r"clean/stray\.parquet: not the run's"):
        run_filter(config, restart=True)
    storage.remove_tree(store.uri("run/clean/stray.parquet"))
    run_filter(config, restart=True)
    assert store.read_object("run/notes.txt") == b"x"
    storage.remove_tree(store.uri("run/notes.txt"))
    assert read_remote_files(store) == before


def test_a_foreign_folder_is_refused(store, config):
    """An output with a foreign folder such as `clean` is refused."""
    store.put_objects("run/clean/mine.parquet")
    with pytest.raises(RunError, match="no run has written it"):
        run_filter(config)
    assert store.list_names("run/") == ["run/clean/mine.parquet"]


def test_a_run_over_budget_leaves_no_row(store, config, tmp_path):
    """A run over budget leaves its scores on the store, but no row."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("removal_budget: 0.1\n")
    with pytest.raises(BudgetError):
        run_filter(config.model_copy(update={"policy": str(policy)}))
    left = {name.split("/")[1] for name in store.list_names("run/")}
    assert left == {*EVIDENCE_FOLDERS, WITHDRAWN}


def test_two_writers(store, config, monkeypatch, tmp_path):
    """If a second run takes over, the first doesn't publish."""
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
    assert load_manifest(config.output).policy["traits"]["heron"]["action"] == "flag"
    assert verify_run(config.output) == []


@pytest.mark.parametrize("name", ["run[1]", "what?"])
def test_an_output_that_looks_like_a_pattern(store, config, name):
    """An output that looks like a pattern to Beam is refused before any work."""
    with pytest.raises(StorageError, match="rename it"):
        run_filter(config.model_copy(update={"output": store.uri(name)}))
    assert store.list_names() == ["corpus/0.jsonl", "corpus/1.jsonl"]


def test_a_missing_bank_is_named(store, config):
    """The error for a missing bank names the bank."""
    with pytest.raises(ModelError, match="is not a trait bank") as caught:
        run_filter(config.model_copy(update={"bank": store.uri("none"), "traits": ()}))
    assert caught.value.where == store.uri("none")


def test_options_say_where_the_store_is(s3, monkeypatch, heron):
    """Beam's options after `--` can give S3's address."""
    s3.proxy.reset()
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    s3.put_objects("corpus.jsonl", data=json.dumps(build_conversation(0, "A heron.")).encode())
    config = FilterConfig(input=(s3.uri("corpus.jsonl"),), output=s3.uri("run"), traits=(heron,))
    options = [f"--s3_endpoint_url={s3.proxy.url}", "--s3_region_name=us-east-1"]
    assert run_filter(config, restart=True, beam_options=options).fired == {"heron": 1}


def count_receipts(store) -> int:
    """Count the finished shards."""
    return len(store.list_names("run/.work/receipts/"))


@pytest.mark.parametrize("done", [2, RECEIPTS])
def test_a_run_is_killed_during_an_upload(store, config, local, done):
    """A kill during an upload leaves no partial object, and the same command finishes the run."""
    arguments = [
        *("filter", "--input", config.input[0], "--output", config.output),
        *("--traits", config.traits[0], "--rows-per-shard", "7"),
    ]
    command = [sys.executable, "-c", "from pipelines.cli.main import main; main()", *arguments]
    store.proxy.fate = lambda request: (
        "stall" if request.method == "PUT" and count_receipts(store) == done else None
    )
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=dict(os.environ), start_new_session=True
    )
    assert store.proxy.stalled.wait(120)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    store.proxy.reset()
    assert "run/manifest.json" not in store.list_names()
    assert count_receipts(store) == done
    tables = [name for name in store.list_names("run/") if name.endswith(".parquet")]
    assert len(tables) >= done
    for name in tables:
        assert pq.read_table(pa.BufferReader(store.read_object(name))).num_rows > 0
    for name in (name for name in store.list_names("run/") if name.endswith(".jsonl")):
        assert store.read_object(name).endswith(b"}\n")
    finished = subprocess.run(
        [*command, "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(finished.stdout)["conservation"]["rows_in"] == 40
    assert f"resuming: {done} of {RECEIPTS} shards are done" in finished.stderr
    assert read_remote_files(store) == comparable_files(local)
