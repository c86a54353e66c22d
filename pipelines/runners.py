"""Beam runners, named rather than defaulted: `DirectRunner` would try to download one."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def local_pipeline(options: Sequence[str] = ()) -> beam.Pipeline:
    """Return a pipeline on Beam's own runner, in this process."""
    return beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(options)))
