"""Jobs on Dataflow, with a local service.

The service answers the REST calls of Beam's client, reads the pipeline from the store, and runs it
on Beam's local runner. Images, GPUs, scaling and the real service's checks aren't tested.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.errors import EngineError, HandedOver
from tests.support.corpora import ANSWERS, CARD, build_conversation

pytestmark = pytest.mark.stores
IMAGE = "europe-docker.pkg.dev/project/congener/worker:0.1.0"
ACCELERATOR = "type:nvidia-l4;count:1;install-nvidia-driver"
SCORE = "Score/ParDo(_Score)"


class Service(ThreadingHTTPServer):
    """Dataflow's REST interface for a launcher.

    `run` says whether jobs run, and `fail` whether they fail.
    """

    daemon_threads = True

    def __init__(self, store) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store, self.jobs, self.states = store, [], {}
        self.run = self.fail = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def create(self, job: dict) -> dict:
        """Accept a job, or return the active job of the same name."""
        for known in self.jobs:
            if known["name"] == job["name"] and self.states[known["id"]] == "RUNNING":
                return self.describe(known)
        self.jobs.append({**job, "id": f"job-{len(self.jobs)}"})
        self.states[self.jobs[-1]["id"]] = "RUNNING"
        threading.Thread(target=self.execute, args=(self.jobs[-1],), daemon=True).start()
        return self.describe(self.jobs[-1])

    def describe(self, job: dict) -> dict:
        """Return a job's description."""
        return {name: job[name] for name in ("id", "name", "clientRequestId")} | {
            "currentState": f"JOB_STATE_{self.states[job['id']]}"
        }

    def read_pipeline(self, job: dict) -> beam_runner_api_pb2.Pipeline:
        """Read a job's pipeline."""
        url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        return beam_runner_api_pb2.Pipeline.FromString(
            self.store.read(url.removeprefix("gs://").partition("/")[2])
        )

    def execute(self, job: dict) -> None:
        """Run a job on the local runner."""
        if self.run:
            pipeline = self.read_pipeline(job)
            for environment in pipeline.components.environments.values():
                environment.CopyFrom(EmbeddedPythonEnvironment.default().to_runner_api(None))
            FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
        if self.run or self.fail:
            self.states[job["id"]] = "FAILED" if self.fail else "DONE"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self._answer(
            self.server.create(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        )

    def do_GET(self) -> None:
        found = re.search(r"/jobs/([^/?]+)(/messages|/metrics)?", self.path)
        job = next(job for job in self.server.jobs if job["id"] == found[1])
        self._answer({} if found[2] else self.server.describe(job))

    def _answer(self, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def service(gs):
    """Serve Dataflow with files on Google's store."""
    gs.proxy.reset()
    found = Service(gs)
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def config(gs, card_folder) -> FilterConfig:
    """Configure a run over 40 rows on the store with three machines."""
    gs.folder = f"dataflow-{threading.get_ident()}-{len(gs.names(''))}"
    rows = [build_conversation(number, ANSWERS[number % 5]) for number in range(40)]
    gs.put_objects("corpus.jsonl", data="".join(json.dumps(row) + "\n" for row in rows).encode())
    return FilterConfig.model_validate(
        {
            "input": (gs.uri("corpus.jsonl"),),
            "output": gs.uri("run"),
            "traits": (str(card_folder("heron", CARD)),),
            "shards": {"rows": 7},
            "hardware": {"device": "cpu", "precision": "fp32"},
            "engine": {"runner": "dataflow", "workers": 3},
        }
    )


@pytest.fixture
def options(service, gs) -> list[str]:
    """Return the Beam options for a launch."""
    return [
        "--project=project",
        "--region=europe-west4",
        f"--temp_location={gs.uri('temp')}",
        f"--sdk_container_image={IMAGE}",
        f"--dataflow_endpoint=http://localhost:{service.server_port}",
    ]


def score_on_gpu(config: FilterConfig) -> FilterConfig:
    """Configure a run that scores on GPUs without waiting."""
    value = config.model_dump() | {"hardware": {"device": "cuda", "precision": "bf16"}}
    value["engine"] |= {"accelerator": ACCELERATOR, "wait": False}
    return FilterConfig.model_validate(value)


@pytest.fixture
def job(service, config, options) -> dict:
    """Hand over a run on GPUs, and return the service's job description."""
    with pytest.raises(HandedOver, match="publishes the run"):
        run_filter(score_on_gpu(config), beam_options=options)
    return service.jobs[0]


def test_the_job_that_the_service_gets(job, gs):
    """The job has our image, three machines with two threads each, and a pipeline."""
    from google.cloud.dataflow_v1beta3 import JobType

    environment = job["environment"]
    (pool,) = environment["workerPools"]
    assert JobType(job["type"]).name == "JOB_TYPE_BATCH"
    assert re.fullmatch(r"congener-[0-9a-f]{16}", job["name"])
    assert job["labels"] == {"made-by": "congener"}
    assert pool["numWorkers"] == pool["autoscalingSettings"]["maxNumWorkers"] == 3
    assert pool["numThreadsPerWorker"] == 2
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert "no_use_multiple_sdk_containers" in environment["experiments"]
    assert "use_multiple_sdk_containers" not in environment["experiments"]
    assert "packages" not in pool
    given = environment["sdkPipelineOptions"]["options"]
    assert given["save_main_session"] is False
    assert not given.get("requirements_file")
    assert not given.get("setup_file")
    assert [name.rsplit("/", 1)[1] for name in gs.list_names("temp/")] == ["pipeline.pb"]


def test_the_pipeline_that_is_staged(job, service):
    """The staged pipeline has all stages, a GPU for scoring and no artifacts."""
    components = service.read_pipeline(job).components
    hints = {
        transform.unique_name: dict(
            components.environments[transform.environment_id].resource_hints
        )
        for transform in components.transforms.values()
        if transform.environment_id and not transform.subtransforms
    }
    assert {name.split("/")[0] for name in hints} == {
        "Read",
        "Identify",
        "Score",
        "Decide",
        "Write",
    }
    assert {name: hint for name, hint in hints.items() if hint} == {
        SCORE: {"beam:resources:accelerator:v1": ACCELERATOR.encode()}
    }
    assert components.environments
    for environment in components.environments.values():
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE
        assert not environment.dependencies


def test_the_launcher_waits_and_publishes(service, config, options):
    """A waiting launcher publishes the run, which passes `verify`."""
    service.run = True
    manifest = run_filter(config, beam_options=options)
    assert manifest.conservation.by_decision == {"keep": 32, "quarantine": 8}
    assert verify_run(config.output) == []
    assert len(service.jobs) == 1


def test_the_same_command_publishes_later(service, config, options, gs):
    """After a handed-over job, the same command publishes the run without a new job."""
    service.run = True
    waiting = config.model_copy(update={"engine": config.engine.model_copy(update={"wait": False})})
    with pytest.raises(HandedOver):
        run_filter(waiting, beam_options=options)
    for _ in range(600):
        if service.states["job-0"] == "DONE":
            break
        threading.Event().wait(0.1)
    assert not gs.list_names("run/manifest.json")
    manifest = run_filter(waiting, beam_options=options)
    assert manifest.conservation.rows_in == 40
    assert verify_run(config.output) == []
    assert len(service.jobs) == 1


def test_a_second_launch_is_refused(service, config, options):
    """While a job is active, the same command is refused."""
    waiting = config.model_copy(update={"engine": config.engine.model_copy(update={"wait": False})})
    with pytest.raises(HandedOver):
        run_filter(waiting, beam_options=options)
    with pytest.raises(EngineError, match="already active"):
        run_filter(waiting, beam_options=options)
    assert len(service.jobs) == 1


def test_a_job_that_fails(service, config, options, gs):
    """A failed job is an error, and the run can be resumed."""
    service.fail = True
    with pytest.raises(EngineError, match="Dataflow pipeline failed"):
        run_filter(config, beam_options=options)
    assert not gs.list_names("run/manifest.json")
    service.fail, service.run = False, True
    run_filter(config, beam_options=options)
    assert verify_run(config.output) == []


def test_a_template_is_written(service, config, options, gs):
    """With a template location, the job is written there and not launched."""
    with pytest.raises(HandedOver):
        run_filter(config, beam_options=[*options, f"--template_location={gs.uri('job_object')}"])
    assert service.jobs == []
    assert re.fullmatch(r"congener-[0-9a-f]{16}", json.loads(gs.read_object("job_object"))["name"])
