"""One configuration for the command line and the file."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from classifiers.models.interface import EncoderConfig
from pipelines.config import (
    FilterConfig,
    Hardware,
    make_absolute,
    read_config,
    read_policy,
    require_local_path,
)
from pipelines.engines.interface import Engine
from schemas.errors import CardError
from schemas.policies import Policy


def test_defaults_without_files():
    """Without a file the defaults are returned."""
    assert read_config(None) == FilterConfig()
    assert read_policy(None) == Policy()


def test_a_configuration_file_is_read(tmp_path):
    """The file's sections become the configuration's sections, and other settings keep defaults."""
    path = tmp_path / "run.yaml"
    path.write_text("input: [a, b]\nengine: {workers: 3}\nhardware: {device: cpu}\n")
    config = read_config(str(path))
    assert config.input == ("a", "b")
    assert (config.engine.workers, config.hardware.device) == (3, "cpu")
    assert config.shards == FilterConfig().shards


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_config, "traits:\n  coercion: {action: drop}\n", "is a policy"),
        (read_config, "removal_budget: 0.1\n", "is a policy"),
        (read_config, "traits: {coercion: {action: loose}}\n", "is a policy"),
        (read_policy, "input: [a]\noutput: b\n", "is a configuration"),
        (read_policy, "traits: [a, b]\n", "is a configuration"),
        (read_policy, "id: x\nsignals: [repetition]\n", "is the card of a trait"),
        (read_config, "id: x\ntitle: y\n", "is the card of a trait"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, read, text, said):
    """A policy given as a configuration, and the like, is an error that says which option fits."""
    path = tmp_path / "any.yaml"
    path.write_text(text)
    with pytest.raises(CardError) as caught:
        read(str(path))
    assert caught.value.problem == said
    assert caught.value.where == str(path)
    option = {"policy": "--policy", "configuration": "--config", "trait": "--traits"}
    assert option[said.split()[-1]] in caught.value.remedy


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_config, "inputs: [a]\n", "field inputs"),
        (read_policy, "trait: {coercion: {action: drop}}\n", "field trait"),
        (read_policy, "traits: {coercion: {action: loose}}\n", "loose"),
        (read_config, "- a\n- b\n", "any.yaml"),
        (read_config, "input: [a\n", "not plain YAML"),
    ],
)
def test_other_mistakes_keep_their_message(tmp_path, read, text, said):
    """A file that has no other kind's form is refused for its own mistake."""
    path = tmp_path / "any.yaml"
    path.write_text(text)
    with pytest.raises(CardError) as caught:
        read(str(path))
    assert said in str(caught.value)
    assert "is a " not in caught.value.problem


def test_home_folders_are_expanded(monkeypatch, tmp_path):
    """A `~` in any path becomes the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    named = {"input": ("~/in",), "output": "~/run", "bank": "~/bank", "traits": ("~/traits",)}
    config = FilterConfig.model_validate(named | {"encoder": {"model": "~/model"}})
    assert config.input == (f"{tmp_path}/in",)
    assert config.output == f"{tmp_path}/run"
    assert config.bank == f"{tmp_path}/bank"
    assert config.traits == (f"{tmp_path}/traits",)
    assert config.encoder.model == f"{tmp_path}/model"
    (tmp_path / "run.yaml").write_text("output: out\n")
    assert read_config("~/run.yaml").output == "out"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"input": ("a", "b\0c")}, "input 'b\\\\x00c' contains a NUL character"),
        ({"output": "d\udcff"}, "output .* isn't UTF-8"),
        ({"corpus": {"teacher": {"constant": "e\udcff"}}}, r"corpus\.teacher\.constant .* UTF-8"),
    ],
)
def test_texts_that_cannot_be_recorded_are_refused(settings, problem):
    """The error for NUL or invalid UTF-8 names the setting."""
    with pytest.raises(ValidationError, match=problem):
        FilterConfig.model_validate(settings)


def test_hardware_and_paths_are_not_identity():
    """Shards and windows change a run's identity, but device, precision and paths don't."""
    base = FilterConfig().select_identity()
    changed = {"input": ("b",), "output": "c", "hardware": {"device": "cpu", "precision": "bf16"}}
    assert base == FilterConfig.model_validate(changed).select_identity()
    for change in ({"shards": {"rows": 10}}, {"encoder": {"window_tokens": 64}}):
        assert base != FilterConfig.model_validate(change).select_identity()


def test_the_engine_is_not_identity():
    """Another engine doesn't change a run's identity."""
    engine = Engine(runner="flink", workers=9)
    assert FilterConfig(engine=engine).select_identity() == FilterConfig().select_identity()


def test_encoder_settings_reach_the_encoder():
    """Every encoder and hardware setting reaches the encoder."""
    config = FilterConfig.model_validate(
        {
            "encoder": {"window_tokens": 64, "window_overlap": 8},
            "hardware": {"device": "cpu", "token_budget": 99},
        }
    )
    assert config.build_encoder_config() == EncoderConfig(
        window_tokens=64, window_overlap=8, device="cpu", token_budget=99
    )


def test_the_encoders_own_defaults_are_the_same():
    """The configuration and the encoder have the same defaults."""
    assert FilterConfig().build_encoder_config() == EncoderConfig()


def test_the_launcher_uses_its_own_device():
    """On Dataflow, the launcher chooses its own device with the workers' precision."""
    hardware = Hardware(device="cuda", precision="bf16")
    there = FilterConfig(engine=Engine(runner="dataflow"), hardware=hardware).for_launcher()
    assert (there.hardware.device, there.hardware.precision) == ("auto", "bf16")
    here = FilterConfig(hardware=hardware)
    assert here.for_launcher() is here


@pytest.mark.parametrize(
    "text",
    [
        "traits: {x: {action: burn}}",
        "removal_budget: 2",
        "exceptions: [{trait: x, lot: {teecher: y}, reason: z}]",
        "traits: [1",
    ],
)
def test_mistakes_in_a_policy_are_named(tmp_path, text):
    """The error for a mistake in a policy names the file."""
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=r"policy\.yaml"):
        read_policy(str(path))


@pytest.mark.parametrize(
    "settings",
    [{"encoder": {"window_tokens": 7}}, {"hardware": {"token_budget": 0}}, {"inputs": ("a",)}],
)
def test_settings_out_of_range_are_refused(settings):
    """Windows that are too short, a token budget of zero and unknown fields are refused."""
    with pytest.raises(ValidationError):
        FilterConfig.model_validate(settings)


def test_paths_are_absolute_for_workers_on_other_machines(monkeypatch, tmp_path):
    """Relative paths become absolute for workers, and URIs stay."""
    monkeypatch.chdir(tmp_path)
    local = FilterConfig(input=("data", "s3://bucket/data"), output="run")
    assert local.with_absolute_paths() == local
    flink = local.model_copy(update={"engine": Engine(runner="flink")}).with_absolute_paths()
    assert flink.input == (str(tmp_path / "data"), "s3://bucket/data")
    assert flink.output == make_absolute("run") == str(tmp_path / "run")


@pytest.mark.parametrize("read", [read_config, read_policy, require_local_path])
def test_files_that_must_be_on_this_disk(read):
    """Configurations, policies and trait folders on object stores are refused."""
    with pytest.raises(CardError, match="must be on this machine's disk") as caught:
        read("gs://bucket/policy.yaml")
    assert caught.value.where == "gs://bucket/policy.yaml"


def test_a_configuration_loads_no_model_library():
    """The configuration imports neither torch, Beam nor transformers."""
    code = (
        "import sys; import pipelines.config; "
        "print({'torch', 'apache_beam', 'transformers'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_paths_of_labels_are_expanded_and_not_identity(monkeypatch):
    """`~` means the home folder in paths of labels, and the run's id doesn't depend on the paths.

    It depends on the labels themselves, which are part of the bank's digest.
    """
    monkeypatch.setenv("HOME", "/home/owl")
    config = FilterConfig(labels=("~/l.csv", "k.csv"), labels_on=("~/c.jsonl",), labels_run="~/run")
    assert config.labels == ("/home/owl/l.csv", "k.csv")
    one = FilterConfig.model_validate({"labels": "~/l.csv"})
    assert (one.labels, FilterConfig.model_validate({"labels": None}).labels) == (
        ("/home/owl/l.csv",),
        (),
    )
    assert config.labels_on == ("/home/owl/c.jsonl",)
    assert config.labels_run == "/home/owl/run"
    assert config.select_identity() == FilterConfig().select_identity()


def test_a_policy_may_take_the_place_of_the_file(tmp_path):
    """Settings with a policy of their own read no file, and their other fields stay."""
    path = tmp_path / "policy.yaml"
    path.write_text("duplicates: remove\n")
    config = FilterConfig(output="run", policy=str(path))
    assert config.load_policy() == Policy(duplicates="remove")
    given = config.with_policy(Policy(removal_budget=0.5))
    path.unlink()
    assert given.load_policy() == Policy(removal_budget=0.5)
    assert given.model_dump() == config.model_dump()
    with pytest.raises(CardError):
        config.load_policy()
