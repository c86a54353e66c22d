"""Flink on Kubernetes: objects that fit their schemas and each other."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from pipelines.engines.beam_options import combine_options
from pipelines.engines.flink import make_flink_preset
from pipelines.engines.interface import SAFE_PATH, Engine

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "flink" / "kubernetes"
OBJECTS = [
    item
    for path in sorted(FOLDER.glob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
VERSIONS = ("1.30", "1.37")
PODS = [item for item in OBJECTS if item["kind"] in ("Deployment", "Job")]


def find_object(kind: str, name: str):
    """Return one object."""
    (found,) = [
        item for item in OBJECTS if (item["kind"], item["metadata"]["name"]) == (kind, name)
    ]
    return found


def find_container(item, name: str):
    """Return one container of an object's pods."""
    (found,) = [
        part for part in item["spec"]["template"]["spec"]["containers"] if part["name"] == name
    ]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "item", OBJECTS, ids=lambda item: f"{item['kind']}-{item['metadata']['name']}"
)
def test_objects_hold_to_the_schemas(item, version):
    """Every object conforms to its Kubernetes schema."""
    kubernetes_validate.validate(item, version, strict=True)


def test_a_mistake_would_be_found():
    """The schema check refuses a misspelt field."""
    wrong = yaml.safe_load(yaml.safe_dump(find_object("Deployment", "congener-jobserver")))
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    "item",
    [item for item in OBJECTS if item["kind"] in ("Deployment", "Service")],
    ids=lambda item: item["metadata"]["name"],
)
def test_selectors_find_their_pods(item):
    """A Deployment selects its own pods, and a Service selects one Deployment's pods and ports."""
    if item["kind"] == "Deployment":
        assert (
            item["spec"]["selector"]["matchLabels"].items()
            <= item["spec"]["template"]["metadata"]["labels"].items()
        )
        return
    (target,) = [
        pod
        for pod in PODS
        if item["spec"]["selector"].items() <= pod["spec"]["template"]["metadata"]["labels"].items()
    ]
    offered = {
        port["containerPort"]
        for part in target["spec"]["template"]["spec"]["containers"]
        for port in part["ports"]
    }
    assert {port["port"] for port in item["spec"]["ports"]} <= offered


def test_the_gpu_is_the_workers():
    """Only a TaskManager's Python container has the GPU."""
    taskmanager = find_object("Deployment", "congener-taskmanager")
    assert find_container(taskmanager, "worker")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in find_container(taskmanager, "taskmanager")["resources"]["limits"]


@pytest.mark.parametrize("name", ["congener-taskmanager", "congener-filter"])
def test_python_imports_nothing_from_the_current_folder(name):
    """Every container with Python sets the engines' safe-path variable."""
    kind = "Job" if name == "congener-filter" else "Deployment"
    part = find_container(find_object(kind, name), "launcher" if kind == "Job" else "worker")
    settings = {item["name"]: item["value"] for item in part["env"]}
    assert settings.items() >= SAFE_PATH.items()


@pytest.mark.parametrize("item", PODS, ids=lambda item: item["metadata"]["name"])
def test_pods_are_bounded_and_unprivileged(item):
    """Containers have limited memory and no root privileges, and pods have no API token."""
    pod = item["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for part in pod["containers"]:
        assert part["resources"]["limits"]["memory"]
        assert part["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert ":" in part["image"]
        assert not part["image"].endswith(":latest")


def test_the_run_finds_the_cluster():
    """The preset allows the run's Beam options, and the ports match."""
    run = find_container(find_object("Job", "congener-filter"), "launcher")
    given = run["args"][run["args"].index("--") + 1 :]
    preset = make_flink_preset(Engine(runner="flink", workers=2))
    assert set(given) <= set(combine_options(preset, given))
    service = find_object("Service", "congener-jobserver")
    assert f"--job_endpoint=congener-jobserver:{service['spec']['ports'][0]['port']}" in given
    pool = find_container(find_object("Deployment", "congener-taskmanager"), "worker")["command"]
    assert f"--environment_config=localhost:{pool[-1]}" in given
    assert pool[:3] == ["python", "-m", "pipelines.engines.worker_pool"]
    replicas = find_object("Deployment", "congener-taskmanager")["spec"]["replicas"]
    assert f"--workers={replicas}" in run["args"]


def test_restarts_are_the_local_clusters():
    """The Kubernetes and local clusters restart failed jobs in the same way."""
    here = yaml.safe_load(
        (ROOT / "deploy" / "flink" / "flink-conf.yaml").read_text(encoding="utf-8")
    )
    there = yaml.safe_load(find_object("ConfigMap", "congener-flink")["data"]["config.yaml"])
    for name in (
        "restart-strategy.type",
        "restart-strategy.fixed-delay.attempts",
        "jobmanager.execution.failover-strategy",
        "classloader.resolve-order",
    ):
        assert here[name] == there[name]


def test_every_pod_is_behind_the_network_policy():
    """Only congener's pods can reach each other."""
    policy = find_object("NetworkPolicy", "congener")
    labels = policy["spec"]["podSelector"]["matchLabels"]
    assert all(
        labels.items() <= item["spec"]["template"]["metadata"]["labels"].items() for item in PODS
    )
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": labels}}]}]


def test_no_job_is_attached_to_its_client():
    """No job is attached to its client, because Flink would cancel it with the client."""
    here = yaml.safe_load(
        (ROOT / "deploy" / "flink" / "flink-conf.yaml").read_text(encoding="utf-8")
    )
    there = yaml.safe_load(find_object("ConfigMap", "congener-flink")["data"]["config.yaml"])
    assert not [name for name in {**here, **there} if name.startswith("execution.")]
