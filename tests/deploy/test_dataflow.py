"""deploy/dataflow: the template's parameters, the launch script and the image."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import pytest
import typer

from pipelines.cli import main as cli
from pipelines.cli.flex_template import build_command_line, list_filter_options
from pipelines.engines.dataflow import ACCELERATOR
from schemas.cards import SignalName

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "dataflow"
SETTLED = {"runner", "no_wait", "deadline", "json", "private_quarantine", "dry_run", "quiet"}
"""Options that the template sets, or that mean nothing on Dataflow."""

GOOD = {
    "input": "gs://bucket/a/*.jsonl,s3://bucket/b",
    "output": "gs://bucket/run",
    "workers": "8",
    "limit": "1000",
    "operator": "Data team",
    "device": "cuda",
    "precision": "bf16",
    "accelerator": "type:nvidia-l4;count:1;install-nvidia-driver",
    "bank": "gs://bucket/bank",
    "traits": "vendor-identity,/opt/traits/mine",
    "signals": "lexicon,head",
    "policy": "/opt/policy.yaml",
    "config": "",
    "background": "gs://bucket/clean.parquet",
    "format": "messages",
    "transcripts": "cut",
    "output_format": "parquet",
    "digest_key": "gs://bucket/digest.key",
    "column": "messages=dialogue",
    "teacher": "atlas 70b",
    "teacher_column": "model name",
    "rows_per_shard": "2000",
    "vectors": "true",
    "encoder": "sentence-transformers/all-MiniLM-L6-v2",
    "encoder_revision": "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    "restart": "false",
}
LEXICON = "signals: {lexicon: {patterns: [rain]}}\n"
BAD = {
    "input": ["corpus/", "gs://a b", "gs://bucket/a,", "gs://"],
    "output": ["/tmp/run", "gs://a,gs://b"],
    "workers": ["0", "-1", "many", "8.5"],
    "limit": ["0", "-1", "all"],
    "device": ["auto", "gpu"],
    "precision": ["auto", "fp16"],
    "accelerator": ["nvidia-l4", "type:L4;count:1", "type:nvidia-l4;count:0"],
    "signals": ["head;lexicon", "all"],
    "format": ["csv"],
    "transcripts": ["turns"],
    "output_format": ["csv"],
    "digest_key": ["env:KEY", "digest.key", "gs://a,gs://b"],
    "column": ["messages", "=x", "id=key"],
    "rows_per_shard": ["0", "1e3"],
    "vectors": ["yes", "1"],
    "restart": ["True"],
    "encoder_revision": ["main"],
}


@pytest.fixture(scope="module")
def parameters() -> dict[str, dict]:
    """Read the template's parameters."""
    found = json.loads((FOLDER / "metadata.json").read_text())["parameters"]
    assert len({item["name"] for item in found}) == len(found)
    return {item["name"]: item for item in found}


def accepts(parameter: dict, value: str) -> bool:
    """Return whether all of a parameter's regular expressions match the value."""
    return all(re.fullmatch(pattern, value) for pattern in parameter["regexes"])


def test_parameters_are_the_options_of_filter(parameters):
    """The parameters are the options of `congener filter`, apart from `SETTLED`."""
    assert set(parameters) == set(list_filter_options()) - SETTLED
    assert set(GOOD) == set(parameters)


def test_every_parameter_is_described(parameters):
    """Each parameter has a label, a help text and anchored regular expressions."""
    for parameter in parameters.values():
        assert parameter["label"]
        assert parameter["helpText"].endswith(".")
        assert all(
            pattern.startswith("^") and pattern.endswith("$") for pattern in parameter["regexes"]
        )
    assert {name for name, item in parameters.items() if not item["isOptional"]} == {
        "input",
        "output",
        "workers",
        "device",
        "precision",
    }


@pytest.mark.parametrize("name", [name for name, value in GOOD.items() if value])
def test_expressions_accept_good_values(parameters, name):
    """A parameter's regular expressions accept good values."""
    assert accepts(parameters[name], GOOD[name])


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_expressions_refuse_bad_values(parameters, name, value):
    """A parameter's regular expressions refuse bad values."""
    assert not accepts(parameters[name], value)


def test_expressions_and_code_name_the_same_choices(parameters):
    """The regular expressions and the code allow the same choices."""
    assert set(
        parameters["signals"]["regexes"][0].split("(")[1].rstrip(",").rstrip(")").split("|")
    ) == set(get_args(SignalName))
    assert parameters["accelerator"]["regexes"] == [f"^{ACCELERATOR.pattern}$"]
    assert set(parameters["format"]["regexes"][0].strip("^$()").split("|")) == {
        "messages", "conversations", "alpaca", "completion", "preference", "text",
    }  # fmt: skip


def test_parameters_become_the_configuration(monkeypatch, tmp_path, card_folder):
    """All parameters become the right configuration."""
    import pipelines.filter as module

    got = {}

    def caught(config, **more):
        got.update(more, config=config)
        raise typer.Exit

    monkeypatch.setattr(module, "run_filter", caught)
    policy, card = tmp_path / "policy.yaml", card_folder(card=LEXICON)
    policy.write_text("removal_budget: 0.5\n")
    given = GOOD | {
        "teacher_column": "",  # empty means unset
        "policy": str(policy),
        "traits": f"coercion,{card}",
    }
    added = [
        "--runner=DataflowRunner",
        "--project=p",
        "--job_name=j",
        "--template_location=gs://bucket/job_object",
    ]
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "main.py",
            *build_command_line([*added, *(f"--{name}={value}" for name, value in given.items())]),
        ],
    )
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 0
    config = got["config"]
    assert config.input == ("gs://bucket/a/*.jsonl", "s3://bucket/b")
    assert config.output == GOOD["output"]
    assert config.traits == ("coercion", str(card))
    assert config.signals == ("lexicon", "head")
    assert config.background == ("gs://bucket/clean.parquet",)
    assert (config.corpus.format, config.corpus.columns) == ("messages", {"messages": "dialogue"})
    assert (config.bank, config.policy, config.shards.rows, config.vectors) == (
        GOOD["bank"],
        str(policy),
        2000,
        True,
    )
    assert (config.encoder.model, config.encoder.revision) == (
        GOOD["encoder"],
        GOOD["encoder_revision"],
    )
    assert (config.hardware.device, config.hardware.precision) == ("cuda", "bf16")
    assert (config.engine.runner, config.engine.workers, config.engine.accelerator) == (
        "dataflow",
        8,
        GOOD["accelerator"],
    )
    assert got["restart"] is False
    assert list(got["beam_options"]) == added[1:]


def test_the_entry_is_three_lines():
    """`main.py` defines nothing, and exits with 2 after a mistake."""
    assert len((FOLDER / "main.py").read_text().split("\n\n")) == 3
    command = [
        sys.executable,
        str(FOLDER / "main.py"),
        "--input=gs://b/a",
        "--output=gs://b/o",
        "--device=cpu",
        "--precision=fp32",
    ]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 2
    assert "Dataflow: --project is needed" in ended.stderr


LAUNCH = [
    "--project",
    "p",
    "--region",
    "r",
    "--temp",
    "gs://b/t",
    "--image",
    "i",
    "--machines",
    "4",
    "--speed",
    "10",
    "--price",
    "1",
    "--budget",
    "20",
    "--input",
    "gs://b/c",
    "--output",
    "gs://b/run",
]
GPU = [
    "--accelerator",
    "type:nvidia-l4;count:1",
    "--machine-type",
    "g2-standard-8",
    "--traits",
    "heron talk",
    "--",
    "--restart",
]


def launch(arguments, **environment) -> subprocess.CompletedProcess:
    """Run the launch script."""
    return subprocess.run(
        [FOLDER / "launch.sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_the_script_estimates_then_launches():
    """The script estimates with the budget, then runs with the options after `--`."""
    ended = launch([*LAUNCH, *GPU], PRINT="1")
    assert ended.returncode == 0, ended.stderr
    estimate, run = (shlex.split(line) for line in ended.stdout.splitlines())
    assert estimate[:2] == ["congener", "estimate"]
    assert estimate[estimate.index("--budget") + 1] == "20"
    assert "heron talk" in estimate
    assert run[:4] == ["congener", "filter", "--runner", "dataflow"]
    mine, beam = run[2 : run.index("--")], run[run.index("--") + 1 :]
    assert mine[mine.index("--device") + 1] == "cuda"
    assert {"heron talk", "--restart", "type:nvidia-l4;count:1"} <= set(mine)
    assert {"--sdk_container_image=i", "--machine_type=g2-standard-8", "--project=p"} <= set(beam)


def test_what_the_script_prints_is_parsed_by_the_command_line(monkeypatch):
    """The printed command is valid, and uses CPUs in fp32 without an accelerator."""
    import pipelines.filter as module

    got = []
    monkeypatch.setattr(
        module,
        "run_filter",
        lambda config, **_: got.append(config) or (_ for _ in ()).throw(typer.Exit),
    )
    run = shlex.split(launch(LAUNCH, PRINT="1").stdout.splitlines()[1])
    monkeypatch.setattr(sys, "argv", run)
    with pytest.raises(SystemExit):
        cli.main()
    assert (got[0].hardware.device, got[0].hardware.precision, got[0].engine.accelerator) == (
        "cpu",
        "fp32",
        None,
    )


@pytest.mark.parametrize("left_out", ["--budget", "--image", "--input"])
def test_the_script_needs_its_options(left_out):
    """Without a budget, an image or an input, nothing is printed or run."""
    index = LAUNCH.index(left_out)
    ended = launch(LAUNCH[:index] + LAUNCH[index + 2 :], PRINT="1")
    assert ended.returncode == 2
    assert f"{left_out} is needed" in ended.stderr
    assert ended.stdout == ""


def test_over_budget_nothing_is_launch(tmp_path):
    """Above the budget, the script exits with 3 and launches nothing."""
    (tmp_path / "congener").write_text(
        f'#!/bin/sh\necho "$1" >> {tmp_path}/calls\n[ "$1" = filter ] || exit 3\n'
    )
    (tmp_path / "congener").chmod(0o755)
    ended = launch(LAUNCH, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == 3
    assert (tmp_path / "calls").read_text() == "estimate\n"


def read_instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, with continued lines joined."""
    lines = (FOLDER / "Dockerfile").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    pairs = (line.split(None, 1) for line in text.splitlines() if line.strip())
    return [(kind, rest) for kind, rest in pairs]


def test_the_image_holds_what_it_needs():
    """The image copies existing files, adds nothing from a URL, and starts Beam's program."""
    found = read_instructions()
    copied = [
        word
        for kind, rest in found
        if kind == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    ]
    assert {"dist/*.whl", "constraints.txt", "deploy/dataflow/main.py"} == set(copied)
    assert all((ROOT / name).exists() for name in copied if "*" not in name)
    assert "ADD" not in dict(found)
    settings = " ".join(rest for kind, rest in found if kind == "ENV")
    assert {"HF_HUB_OFFLINE=1", "PYTHONSAFEPATH=1"} <= set(settings.split())
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py" in settings
    assert found[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')
    beam = next(rest for kind, rest in found if kind == "ARG" and rest.startswith("BEAM="))
    assert beam.endswith(
        f":{re.search(r'apache-beam==(.*)', (ROOT / 'constraints.txt').read_text())[1]}"
    )


@pytest.mark.deploy
def test_the_images_steps_in_a_clean_environment(tmp_path):
    """The launcher runs in an environment that the image's pip steps build."""
    wheels = sorted((ROOT / "dist").glob("congener-*.whl"))
    assert len(wheels) == 1, "make build first"
    assert any(
        name.startswith("pipelines/sample/") for name in zipfile.ZipFile(wheels[0]).namelist()
    )
    install, venv = tmp_path / "install", tmp_path / "venv"
    install.mkdir()
    shutil.copy(wheels[0], install)
    shutil.copy(ROOT / "constraints.txt", install)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "FAISS": "cpu",
        "HF_HUB_OFFLINE": "1",
    }
    steps = [rest for kind, rest in read_instructions() if kind == "RUN" and "apt-get" not in rest]
    assert [step.split()[0] for step in steps] == ["python3.12", "pip", "pip", "pip", "congener"]
    for step in steps:
        here = (
            step.replace("--no-cache-dir", "")
            .replace("python3.12", sys.executable)
            .replace("/opt/congener", str(venv))
            .replace("/tmp/install", str(install))
        )
        done = subprocess.run(
            ["bash", "-c", here],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    command = [
        "python",
        str(FOLDER / "main.py"),
        "--input=gs://b/a",
        "--output=gs://b/o",
        "--device=cpu",
        "--precision=fp32",
    ]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "Dataflow: --project is needed" in ended.stderr
