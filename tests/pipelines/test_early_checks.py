"""Checks before heavy imports: mistakes are reported at once."""

import json
import subprocess
import sys

import pytest

from classifiers.banks import INDEX_FILE
from pipelines import early_checks
from pipelines.config import FilterConfig, Hardware
from pipelines.early_checks import (
    check_before_loading,
    check_file,
    check_fit,
    check_manifest,
    check_output,
    check_output_folder,
    check_run,
    check_settings,
    check_sources,
)
from pipelines.engines.interface import Engine
from schemas.errors import CardError, InputError, ModelError, RunError, StorageError

HEAVY = ("torch", "apache_beam", "transformers")
CALLS = """
import contextlib, io, json, sys
from pipelines.cli.main import main
heavy, found = set(json.loads(sys.argv[1])), []
for arguments in json.loads(sys.argv[2]):
    sys.argv = ["congener", *arguments]
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    found.append([code, sorted(heavy & set(sys.modules)), err.getvalue()])
print(json.dumps(found))
"""


def list_mistakes(corpus: str) -> list[tuple[int, str, list[str]]]:
    """Return command lines with one mistake each, their exit codes and parts of the messages."""
    good = ["filter", "-i", corpus, "-o", "run"]
    return [
        (2, "nowhere", ["filter", "-i", "nowhere", "-o", "run"]),
        (2, "no*.jsonl", ["filter", "-i", "no*.jsonl", "-o", "run"]),
        (2, "no/**", ["filter", "-i", "no/**", "-o", "run"]),
        (2, "nowhere.yaml", [*good, "--policy", "nowhere.yaml"]),
        (2, "nowhere.yaml", [*good, "--config", "nowhere.yaml"]),
        (2, "nowhere", [*good, "--traits", "nowhere"]),
        (2, "nowhere", [*good, "--bank", "nowhere"]),
        (2, "nowhere", [*good, "--background", "nowhere"]),
        (2, "nowhere", [*good, "--teacher-answers", "nowhere"]),
        (2, "signals", [*good, "--signals", "nope"]),
        (2, "needs the encoder", [*good, "--signals", "lexicon", "--vectors"]),
        (2, "no effect", [*good, "--bank", "nowhere", "--background", corpus]),
        (2, "none of the signals", [*good, "--traits", "coercion", "--signals", "repetition"]),
        (2, "clean texts", [*good, "--policy", "strict.yaml"]),
        (4, "no run has written", ["filter", "-i", corpus, "-o", "full"]),
        (2, "line 1", ["traits", "eval", "coercion", "--on", corpus, "--labels", "file.jsonl"]),
        (2, "nowhere", ["traits", "eval", "coercion", "--on", "nowhere"]),
        (2, "format", [*good, "--format", "nope"]),
        (2, "--deadline", [*good, "--deadline", "3"]),
        (2, "--no-wait", [*good, "--no-wait"]),
        (2, "this machine's disk", [*good, "--runner", "dataflow"]),
        (2, "b.jsonl", ["filter", "-i", corpus, "b.jsonl", "-o", "run"]),
        (2, "--input and --output are needed", ["filter"]),
        (4, "file", ["filter", "-i", corpus, "-o", "file"]),
        (2, "nowhere", ["fit", "-o", "bank", "--traits", "nowhere"]),
        (2, "nowhere", ["fit", "-o", "bank", "--background", "nowhere"]),
        (4, "file", ["fit", "-o", "file"]),
        (2, "nowhere", ["fit", "-o", "bank", "--labels", "nowhere"]),
        (2, "line 1", ["fit", "-o", "bank", "--labels", "file.jsonl"]),
        (2, "did you mean 'coercion'", ["fit", "-o", "bank", "--labels", "labels.csv"]),
        (2, "--labels", ["fit", "-o", "bank", "--on", corpus]),
        (2, "no effect", ["fit", "-o", "bank", "--labels", "labels.csv", "--config", "bank.yaml"]),
        (4, "nowhere", [*good, "-t", "coercion", "--labels", "l.csv", "--labels-run", "nowhere"]),
        (2, "nowhere", ["estimate", "-i", "nowhere"]),
        (2, "nowhere", ["estimate", "-i", corpus, "--traits", "nowhere"]),
        (4, "nowhere", ["inspect", "nowhere"]),
        (4, "file", ["inspect", "file"]),
        (4, "nowhere", ["verify", "nowhere"]),
        (2, "--digest", ["verify", "nowhere", "--digest", "5d41"]),
        (4, "nowhere", ["report", "nowhere"]),
        (2, "nowhere", ["traits", "show", "nowhere"]),
        (2, "nowhere", ["traits", "check", "nowhere"]),
        (2, "gs://b/t", ["traits", "new", "gs://b/t"]),
        (2, "gs://b/d", ["demo", "--output", "gs://b/d"]),
    ]


def test_mistakes_are_reported_before_heavy_imports(corpus, tmp_path):
    """Wrong paths and options are reported without torch, Beam or transformers."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "file").write_text("")
    (folder / "file.jsonl").write_text("no label\n")
    (folder / "labels.csv").write_text("record_id,trait,label\n00ff,coercoin,yes\n")
    (folder / "l.csv").write_text("record_id,trait,label\n00ff,coercion,yes\n")
    (folder / "bank.yaml").write_text("bank: somewhere")
    (folder / "strict.yaml").write_text("traits: {coercion: {max_false_positive_rate: 0.000001}}")
    (folder / "full" / "clean").mkdir(parents=True)
    (folder / "full" / "clean" / "mine.jsonl").write_text("{}")
    mistakes = list_mistakes(str(corpus))
    calls = json.dumps([arguments for _, _, arguments in mistakes])
    ended = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(HEAVY), calls],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    for (code, message, arguments), found in zip(mistakes, json.loads(ended.stdout), strict=True):
        assert found[:2] == [code, []], (arguments, found)
        assert message in found[2], (arguments, found)
        assert "Traceback" not in found[2]
    left = sorted(path.name for path in folder.iterdir())
    given = ["bank.yaml", "file", "file.jsonl", "full", "l.csv", "labels.csv", "strict.yaml"]
    assert left == given


def test_good_settings_pass(config):
    """A good configuration passes."""
    check_before_loading(config)
    check_before_loading(config, beam_options=["--direct_runner_bundle_repeat=1"])


def test_files_on_stores_are_left_to_the_verb():
    """Files on a store aren't looked for."""
    stores = FilterConfig(input=("gs://b/a",), output="gs://b/run", bank="gs://b/bank")
    check_before_loading(stores)
    check_run("gs://b/run")
    check_fit(FilterConfig(), "gs://b/bank")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"input": ("nowhere",)}, InputError),
        ({"input": ("no*where",)}, InputError),
        ({"background": ("nowhere",)}, InputError),
        ({"bank": "nowhere"}, ModelError),
        ({"traits": ("nowhere",)}, CardError),
        ({"traits": ("gs://b/t",)}, CardError),
        ({"policy": "nowhere.yaml"}, CardError),
        ({"engine": Engine(deadline=1)}, CardError),
        ({"engine": Engine(runner="dataflow", workers=1)}, CardError),
        ({"input": ()}, CardError),
        ({"vectors": True}, CardError),
        ({"signals": ("head",)}, ModelError),
        ({"traits": (), "bank": "bank", "background": ("corpus",)}, CardError),
        ({"output": ""}, CardError),
    ],
)
def test_each_mistake_has_its_error(config, change, kind):
    """Each mistake raises the command's own class of error."""
    with pytest.raises(kind):
        check_before_loading(config.model_copy(update=change))


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("corpus/*.jsonl", True),
        ("corpus/*", True),
        ("*/0.jsonl", True),
        ("corpus/.*", True),
        ("corpus/*.parquet", False),
        ("other/**", False),
        ("other/[01].jsonl", False),
        ("corpus/**.jsonl", True),
        ("corpus/[9].jsonl", True),
        ("*.txt", False),
    ],
)
def test_globs_are_matched_where_python_can(corpus, tmp_path, monkeypatch, pattern, matches):
    """A glob that Beam and Python read differently is left to Beam."""
    (corpus / ".hidden").write_text("")
    for given in (pattern, str(tmp_path / pattern)):
        monkeypatch.chdir(tmp_path)
        assert early_checks._may_match(given) is matches
        config = FilterConfig(input=(given,))
        if matches:
            check_sources(config)
        else:
            with pytest.raises(InputError, match="matches no file"):
                check_sources(config)


def test_a_policy_for_other_traits_is_refused(config, policy):
    """A policy for an unknown trait is refused before work begins."""
    path = policy("traits: {egret: {action: drop}}")
    with pytest.raises(CardError, match="egret"):
        check_sources(config.model_copy(update={"policy": path}))
    path = policy("traits: {heron: {action: drop}}")
    check_sources(config.model_copy(update={"policy": path}))


def test_dataflow_needs_named_hardware():
    """On Dataflow, device and precision must be named."""
    settings = FilterConfig(
        input=("gs://b/a",), output="gs://b/run", engine=Engine(runner="dataflow", workers=1)
    )
    with pytest.raises(CardError, match="device and precision"):
        check_before_loading(settings)
    hardware = Hardware(device="cpu", precision="fp32")
    check_before_loading(settings.model_copy(update={"hardware": hardware}))


def test_a_finished_run_is_refused(run, config):
    """A finished run is refused as an output, unless `restart` is set."""
    with pytest.raises(RunError, match="finished"):
        check_before_loading(config)
    check_before_loading(config, restart=True)


def test_a_run_that_is_being_cleaned_up_is_left_to_the_verb(run, config):
    """With a working folder, the check is left to the command."""
    (run[0] / ".work").mkdir()
    check_before_loading(config)
    assert (run[0] / ".work").exists()


def test_a_file_is_no_run(tmp_path):
    """An output that is a file or a broken link is refused, and no folder is created."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nothing")
    for name in ("file", "link"):
        with pytest.raises(RunError):
            check_output(str(tmp_path / name))
    check_output(str(tmp_path / "new" / "run"))
    assert not (tmp_path / "new").exists()


def test_an_output_below_a_file_or_without_permission_is_refused(tmp_path, monkeypatch):
    """The error for an impossible output names the obstructing path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file is a file"):
        check_output(str(tmp_path / "file" / "run"))
    monkeypatch.setattr(early_checks.os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="isn't writable"):
        check_output(str(tmp_path / "new" / "run"))


def test_a_bank_is_known_by_its_index(tmp_path, heron):
    """A folder with an index is a bank, which `fit` replaces only with `restart`."""
    assert early_checks.BANK_INDEX == INDEX_FILE
    config, bank = FilterConfig(traits=(str(heron),)), tmp_path / "bank"
    check_fit(config, str(bank))
    bank.mkdir()
    (bank / INDEX_FILE).write_text("{}")
    check_sources(config.model_copy(update={"bank": str(bank)}))
    with pytest.raises(RunError, match="already holds a bank"):
        check_fit(config, str(bank))
    check_fit(config, str(bank), restart=True)


def test_an_output_isnt_put_into_a_finished_run(finished, heron, config):
    """Neither a bank nor another run may be written into a finished run."""
    run = str(finished[0])
    fit = FilterConfig(traits=(str(heron),))
    with pytest.raises(RunError, match="is a finished run"):
        check_fit(fit, run)
    with pytest.raises(RunError, match="is inside the finished run"):
        check_fit(fit, f"{run}/banks/new")
    with pytest.raises(RunError, match="is inside the finished run"):
        check_before_loading(config.model_copy(update={"output": f"{run}/sub"}))
    with pytest.raises(RunError, match="the run is finished"):
        check_before_loading(config.model_copy(update={"output": run}))


def test_only_a_finished_run_can_be_read(run, tmp_path):
    """A folder without a manifest isn't a run, but a damaged manifest can be verified."""
    for check in (check_run, check_manifest):
        check(str(run[0]))
        with pytest.raises(RunError):
            check(str(tmp_path))
    (run[0] / "manifest.json").write_text('{"run_id": "a"}')
    check_manifest(str(run[0]))
    with pytest.raises(RunError):
        check_run(str(run[0]))


@pytest.mark.parametrize(
    "output", ["https://host/run", "hf://datasets/owner/name", "stdin://stdin"]
)
def test_an_output_that_can_only_be_read_is_refused(corpus, output):
    """The remedy for a read-only output says how to upload clean rows to the hub."""
    config = FilterConfig(input=(str(corpus),), output=output)
    with pytest.raises(StorageError, match="this scheme is read-only") as caught:
        early_checks.check_settings(config)
    assert "hf upload" in caught.value.remedy


def test_other_machines_cannot_read_standard_input(tmp_path):
    """Standard input is refused if other machines do the work."""
    engine = Engine(runner="flink")
    config = FilterConfig(input=("-",), output=str(tmp_path / "run"), engine=engine)
    with pytest.raises(CardError, match="standard input can't be read by other machines"):
        early_checks.check_settings(config)


def test_a_key_that_workers_cannot_read_is_refused(tmp_path, monkeypatch):
    """A key is refused if workers can't read it."""
    monkeypatch.setenv("CONGENER_TEST_KEY", "k" * 32)
    (tmp_path / "digest.key").write_text("k" * 32)
    config = FilterConfig(input=(str(tmp_path),), output=str(tmp_path.parent / "run"))
    local, variable = str(tmp_path / "digest.key"), "env:CONGENER_TEST_KEY"
    for key in (local, variable):
        check_settings(config.model_copy(update={"digest_key": key}))
    for runner, key in (("flink", variable), ("dataflow", variable), ("dataflow", local)):
        asked = {"digest_key": key, "engine": Engine(runner=runner, workers=1)}
        with pytest.raises(CardError, match=f"can't be read by the workers of {runner}"):
            check_settings(config.model_copy(update=asked))
    with pytest.raises(InputError, match=r"nowhere\.key: can't be opened"):
        check_settings(config.model_copy(update={"digest_key": str(tmp_path / "nowhere.key")}))


def test_a_file_may_be_new_or_old_but_not_a_folder(tmp_path):
    """A command's file may exist or not, also in a folder that doesn't exist yet."""
    (tmp_path / "old").write_bytes(b"")
    for name in ("old", "new", "folder/new"):
        check_file(str(tmp_path / name))
    with pytest.raises(StorageError, match="is a folder"):
        check_file(str(tmp_path))
    with pytest.raises((RunError, StorageError), match="is a file"):
        check_file(str(tmp_path / "old" / "below"))


def test_a_file_in_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    """A folder that can't be written is named at once, before any work."""
    monkeypatch.setattr(early_checks.os, "access", lambda *_: False)
    with pytest.raises(StorageError, match="isn't writable"):
        check_file(str(tmp_path / "new"))


def test_files_and_folders_in_a_run_are_refused(run):
    """Neither a file nor a folder may be in a finished run, at any depth."""
    folder, _ = run
    for name in ("x.parquet", "clean/x.parquet", "report/new/x.parquet"):
        with pytest.raises(RunError, match="is inside the finished run"):
            check_file(str(folder / name))
        with pytest.raises(RunError, match="is inside the finished run"):
            check_output_folder(str(folder / name))
    with pytest.raises(RunError, match="is a finished run"):
        check_output_folder(str(folder))
    check_output_folder(str(folder.parent / "papers"))


@pytest.mark.parametrize("check", [check_file, check_output_folder])
def test_read_only_schemes_are_refused(check):
    """The web and the hub can't be written, and stores can."""
    for uri in ("https://example.com/x", "hf://datasets/a/b"):
        with pytest.raises(StorageError, match="read-only"):
            check(uri)
    check("s3://bucket/papers")
