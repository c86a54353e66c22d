"""Engine errors: their causes are found, and bugs are passed on."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.engines.failures import (
    find_innermost_cause,
    find_worker_error,
    translate_failures,
)
from pipelines.engines.interface import Engine, Preset
from pipelines.engines.launch import open_pipeline
from schemas.errors import EngineError, InputError, ModelError

JAVA = """java.util.concurrent.ExecutionException: java.lang.RuntimeException: \
Error received from SDK harness: Traceback (most recent call last):
  File "transforms/files/shards.py", line 1, in read_task
schemas.errors.InputError: /data/a.jsonl: rows 0 to 5 can't be read
  remedy: did the file change during the run? [while running 'Read/Rows']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient
Caused by: java.io.IOException: connection lost
\tat java.base/java.lang.Thread.run
"""


def raise_with_remedy(item: int) -> int:
    """Raise a congener error."""
    raise ModelError(f"no GPU for {item}", where="device cuda", remedy="--device auto")


def raise_fault(_: int) -> int:
    """Raise an unexpected error."""
    raise ValueError("odd")


def translate(error: Exception, preset: Preset | None = None) -> Exception:
    """Raise an error where failures are translated, and return the result."""
    with (
        pytest.raises(Exception) as caught,
        translate_failures(PipelineOptions([]), preset or Preset("x")),
    ):
        raise error
    return caught.value


def test_a_workers_error_comes_back_from_another_process():
    """A worker's error comes back with its class, message and remedy."""
    with pytest.raises(ModelError) as raised, open_pipeline(Engine(workers=2)) as pipeline:
        pipeline | beam.Create([7]) | beam.Map(raise_with_remedy)
    assert raised.value.problem == "device cuda: no GPU for 7"
    assert raised.value.remedy == "--device auto"


def test_a_fault_in_a_stage_stays_a_fault():
    """A bug in a stage isn't reported as an engine error."""
    with pytest.raises(ValueError, match="odd"), open_pipeline(Engine()) as pipeline:
        pipeline | beam.Create([7]) | beam.Map(raise_fault)


def test_a_workers_error_is_found_in_a_trace():
    """A congener error is found in a Python trace inside a Java trace."""
    found = find_worker_error(JAVA)
    assert isinstance(found, InputError)
    assert found.problem == "/data/a.jsonl: rows 0 to 5 can't be read"
    assert found.remedy == "did the file change during the run?"
    assert find_worker_error("schemas.errors.NoSuchError: x") is None


def test_the_innermost_cause_is_found():
    """The cause is a Java trace's last `Caused by`, or else the last line."""
    assert find_innermost_cause(JAVA) == "java.io.IOException: connection lost"
    assert find_innermost_cause("Traceback\n  File x\nValueError: odd\n") == "ValueError: odd"
    assert find_innermost_cause("") == "no message"


def test_a_failed_job_is_an_error_of_the_engine():
    """A failed job's innermost cause is the engine error's message."""
    found = translate(RuntimeError("Pipeline congener-1 failed in state FAILED: lost"))
    assert isinstance(found, EngineError)
    assert "the job failed" in found.problem
    assert "resumes" in found.remedy


def test_a_presets_translation_comes_first():
    """A preset translates errors that it recognises, and others are unchanged."""
    known, other = KeyError("a"), ValueError("b")
    preset = Preset("x", translate=lambda error: EngineError("known") if error is known else None)
    assert str(translate(known, preset)) == "known"
    assert translate(other, preset) is other


def test_a_missing_job_server_is_named():
    """The error for a missing job server gives the address and a remedy."""
    nowhere = ["--job_endpoint=localhost:1", "--job_server_timeout=2"]
    message = r"localhost:1: Beam's job server can't be reached[\s\S]*local.sh status"
    with (
        pytest.raises(EngineError, match=message),
        open_pipeline(Engine(runner="flink"), nowhere) as pipeline,
    ):
        pipeline | beam.Create([1])
