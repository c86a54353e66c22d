"""Beam's options: unknown options and contradictions are errors."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from pipelines.engines.beam_options import combine_options, parse_options
from pipelines.engines.interface import Preset
from schemas.errors import CardError
from tests.support.engines import preset_options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--paralellism=4", r"no option '--paralellism=4'\n  remedy: did you mean --parallelism"),
        ("--no_such_thing_at_all", "written --name=value"),
        ("parallelism=4", "no option 'parallelism=4'"),
        ("--parallelism=many", "invalid int value"),
        ("--environment_type=DOCKER", "can't be 'DOCKER' here: the preset sets 'EXTERNAL'"),
        ("--save_main_session", "can't be True here: the preset sets False"),
        ("--runner=DirectRunner", "the preset sets 'PortableRunner'"),
    ],
)
def test_unknown_and_contradicting_options_are_refused(given, message):
    """Options that Beam ignores or silently overrides are refused."""
    with pytest.raises(CardError, match=message):
        preset_options("flink", [given])


def test_an_option_may_repeat_the_presets_value():
    """An option may repeat the preset's value, and a list option extends the preset's list."""
    repeated = preset_options("flink", ["--environment_type=EXTERNAL"])
    assert repeated.view_as(PortableOptions).environment_type == "EXTERNAL"
    both = combine_options(Preset("FnApiRunner", ("--experiments=a",)), ["--experiments=b"])
    assert PipelineOptions(both).get_all_options()["experiments"] == ["a", "b"]


def test_a_default_gives_way_to_a_given_option():
    """A given option replaces the preset's default."""
    preset = Preset("PortableRunner", ("--parallelism=3",), ("--parallelism=2", "--job_name=a"))
    assert combine_options(preset) == ["--parallelism=3", "--job_name=a"]
    assert combine_options(preset, ["--job_name=b"]) == ["--parallelism=3", "--job_name=b"]


def test_options_that_only_the_engine_knows():
    """A preset may allow options that Beam doesn't know."""
    preset = Preset("PortableRunner", extra=("execution_retry_delay",))
    assert combine_options(preset, ["--execution_retry_delay=5"]) == ["--execution_retry_delay=5"]


def test_a_presets_check_sees_all_options():
    """A preset's check sees fixed, default and given options together."""
    seen = []

    def check(options):
        seen.append(options.get_all_options(drop_default=True))
        raise CardError("refused")

    preset = Preset("PortableRunner", ("--parallelism=3",), ("--job_name=a",), check=check)
    with pytest.raises(CardError, match="refused"):
        combine_options(preset, ["--job_endpoint=x:1"])
    assert seen == [{"parallelism": 3, "job_name": "a", "job_endpoint": "x:1"}]


def test_parsed_options_have_no_defaults_of_others():
    """Parsing returns only given options, with Beam's types."""
    assert parse_options(["--parallelism=3"], Preset("x")) == {"parallelism": 3}
    assert parse_options([], Preset("x")) == {}
