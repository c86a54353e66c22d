"""What Dataflow's preset sets."""

from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, WorkerOptions

from pipelines.config import Engine
from pipelines.dataflow import preset


def test_workers_are_machines():
    """Machines are as many as asked for, no more and no fewer, and no main session is sent."""
    options = PipelineOptions(preset(Engine(runner="dataflow", workers=3)).options())
    assert options.view_as(WorkerOptions).num_workers == options.view_as(WorkerOptions).max_num_workers == 3
    assert options.view_as(SetupOptions).save_main_session is False
