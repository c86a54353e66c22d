"""One configuration for the command line and the file."""

import pytest

from classifiers.models.encoders import EncoderConfig
from pipelines.config import Engine, FilterConfig, on_disk, read_config, read_policy
from schemas.errors import CardError
from schemas.policies import Policy


def test_defaults_without_files():
    """No file means the defaults."""
    assert read_config(None) == FilterConfig()
    assert read_policy(None) == Policy()


def test_hardware_is_not_identity():
    """Device, precision and places of files don't make another run; shards and windows do."""
    base = FilterConfig()
    elsewhere = FilterConfig.model_validate(
        {"input": ("b",), "output": "c", "hardware": {"device": "cpu", "precision": "bf16"}}
    )
    assert base.identity() == elsewhere.identity()
    assert base.identity() != FilterConfig.model_validate({"shards": {"rows": 10}}).identity()
    assert (
        base.identity()
        != FilterConfig.model_validate({"encoder": {"window_tokens": 64}}).identity()
    )


def test_encoder_settings_reach_the_encoder():
    """Every setting of encoder and hardware arrives."""
    config = FilterConfig.model_validate(
        {
            "encoder": {"window_tokens": 64, "window_overlap": 8},
            "hardware": {"device": "cpu", "token_budget": 99},
        }
    )
    assert config.encoder_config() == EncoderConfig(
        window_tokens=64, window_overlap=8, device="cpu", token_budget=99
    )


def test_the_encoders_own_defaults_are_the_same():
    """Configuration and encoder agree on what nobody sets."""
    assert FilterConfig().encoder_config() == EncoderConfig()


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
    """A wrong action, share, field or syntax is an error that names the file."""
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=r"policy\.yaml"):
        read_policy(str(path))


def test_paths_are_absolute_for_workers_elsewhere(monkeypatch, tmp_path):
    """A relative path means the launcher's folder, also to a worker that starts in another; URIs stay as they are."""
    monkeypatch.chdir(tmp_path)
    given = FilterConfig(input=("data", "s3://bucket/data"), output="run")
    assert given.placed() == given
    placed = given.model_copy(update={"engine": Engine(runner="flink")}).placed()
    assert placed.input == (str(tmp_path / "data"), "s3://bucket/data")
    assert placed.output == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("engine", "elsewhere"),
    [({}, False), ({"workers": 1}, False), ({"workers": 2}, True), ({"runner": "flink"}, True)],
)
def test_where_the_work_is_done(engine, elsewhere):
    """One local worker is this process; two, or a cluster, are others."""
    assert Engine(**engine).elsewhere is elsewhere


def test_the_engine_is_no_part_of_the_identity():
    """The same run on another engine is the same run."""
    assert (
        FilterConfig(engine=Engine(runner="flink", workers=9)).identity()
        == FilterConfig().identity()
    )


@pytest.mark.parametrize("read", [read_config, read_policy, on_disk])
def test_what_must_be_on_the_disk(read):
    """Configurations, policies and trait folders aren't looked for on object stores, and the message says what is."""
    with pytest.raises(CardError, match="must be on this machine's disk") as caught:
        read("gs://bucket/policy.yaml")
    assert caught.value.where == "gs://bucket/policy.yaml"
