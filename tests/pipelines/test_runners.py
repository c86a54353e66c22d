"""Runners are named, never defaulted."""

import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.runners import local_pipeline


def test_the_local_pipeline_names_its_runner():
    """Beam's default would try to download a runner; ours is the one in the package."""
    assert isinstance(local_pipeline().runner, FnApiRunner)


@pytest.mark.parametrize("repeats", [0, 2])
def test_options_reach_the_runner(repeats):
    """Options given are the pipeline's."""
    from apache_beam.options.pipeline_options import DirectOptions

    options = local_pipeline([f"--direct_runner_bundle_repeat={repeats}"]).options
    assert options.view_as(DirectOptions).direct_runner_bundle_repeat == repeats
