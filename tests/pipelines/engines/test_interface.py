"""An engine's settings, and their checks without Beam."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from pipelines.engines.interface import Engine, Preset, check_engine
from schemas.errors import CardError


@pytest.mark.parametrize(
    ("engine", "others"),
    [({}, False), ({"workers": 1}, False), ({"workers": 2}, True), ({"runner": "flink"}, True)],
)
def test_where_the_work_is_done(engine, others):
    """A single local worker is this process, and other workers are processes of their own."""
    assert Engine(**engine).uses_other_processes is others


@pytest.mark.parametrize("settings", [{"runner": "spark"}, {"workers": 0}, {"deadline": 0}])
def test_settings_out_of_range_are_refused(settings):
    """An unknown runner, zero workers and a deadline of zero are refused."""
    with pytest.raises(ValidationError):
        Engine(**settings)


@pytest.mark.parametrize("settings", [{"accelerator": "type:nvidia-l4;count:1"}, {"wait": False}])
@pytest.mark.parametrize("runner", ["local", "flink"])
def test_settings_of_dataflow_are_refused_with_other_runners(settings, runner):
    """--accelerator and --no-wait are refused for local runs and for Flink."""
    with pytest.raises(CardError, match=f"don't apply to --runner {runner}"):
        check_engine(Engine(runner=runner, **settings))
    check_engine(Engine(runner="dataflow", **settings))


def test_a_deadline_is_for_clusters():
    """A local run can't have a deadline."""
    with pytest.raises(CardError, match="jobs on a cluster"):
        check_engine(Engine(deadline=1))
    check_engine(Engine(runner="flink", deadline=1))


def test_a_second_input_among_beams_options_is_found():
    """A second input after `--` suggests that the shell expanded a glob."""
    with pytest.raises(CardError, match=r"'b\.jsonl' is not an option") as caught:
        check_engine(Engine(), ["--direct_num_workers=1", "b.jsonl"])
    assert "give every input its own --input" in str(caught.value)


def test_a_presets_hooks_do_nothing_by_default():
    """A preset's default hooks do nothing."""
    preset = Preset("FnApiRunner")
    preset.check(None)
    preset.cancel(None)
    assert preset.translate(RuntimeError("x")) is None
    assert preset.environment == {}


def test_the_interface_and_the_presets_load_no_beam():
    """Settings and presets don't import Beam."""
    code = (
        "import sys; from pipelines.engines import flink, interface, local; "
        "print('apache_beam' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
