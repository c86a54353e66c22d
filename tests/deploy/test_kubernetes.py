"""Flink's files for Kubernetes: each object against Kubernetes' own strict schemas, and the parts against each other."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from pipelines.engines import launch

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "flink" / "kubernetes"
OBJECTS = [
    item
    for path in sorted(FOLDER.glob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
VERSIONS = ("1.30", "1.37")
PODS = [item for item in OBJECTS if item["kind"] in ("Deployment", "Job")]


def named(kind: str, name: str):
    """Return one object."""
    (found,) = [
        item for item in OBJECTS if (item["kind"], item["metadata"]["name"]) == (kind, name)
    ]
    return found


def container(item, name: str):
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
    """No object has a field that Kubernetes doesn't know, or a value of another type."""
    kubernetes_validate.validate(item, version, strict=True)


def test_a_mistake_would_be_found():
    """The check above can fail: a field that is spelled otherwise is refused."""
    wrong = yaml.safe_load(yaml.safe_dump(named("Deployment", "congener-jobserver")))
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize(
    "item",
    [item for item in OBJECTS if item["kind"] in ("Deployment", "Service")],
    ids=lambda item: item["metadata"]["name"],
)
def test_selectors_find_their_pods(item):
    """A Deployment selects its own pods, a Service those of one Deployment, with the ports it offers."""
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
    """Of a TaskManager's pod the container with Python has the GPU, not the one with Java."""
    taskmanager = named("Deployment", "congener-taskmanager")
    assert container(taskmanager, "worker")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in container(taskmanager, "taskmanager")["resources"]["limits"]


@pytest.mark.parametrize("item", PODS, ids=lambda item: item["metadata"]["name"])
def test_pods_are_bounded_and_unprivileged(item):
    """No container runs as root, gains rights, or takes more memory than its limit; no pod has a token for Kubernetes' own API."""
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
    """The run's Beam options are ones that the preset allows, and lead to the job server's port and the pool's."""
    run = container(named("Job", "congener-filter"), "launcher")
    given = run["args"][run["args"].index("--") + 1 :]
    preset = launch.PRESETS["flink"](launch.Engine(runner="flink", workers=2))
    assert set(given) <= set(preset.options(given))
    service = named("Service", "congener-jobserver")
    assert f"--job_endpoint=congener-jobserver:{service['spec']['ports'][0]['port']}" in given
    pool = container(named("Deployment", "congener-taskmanager"), "worker")["command"]
    assert f"--environment_config=localhost:{pool[-1]}" in given
    assert pool[:3] == ["python", "-m", "pipelines.engines.worker_pool"]
    replicas = named("Deployment", "congener-taskmanager")["spec"]["replicas"]
    assert f"--workers={replicas}" in run["args"]


def test_restarts_are_the_local_clusters():
    """Both configurations are YAML, and say explicitly how a failed job restarts."""
    here = yaml.safe_load(
        (ROOT / "deploy" / "flink" / "flink-conf.yaml").read_text(encoding="utf-8")
    )
    there = yaml.safe_load(named("ConfigMap", "congener-flink")["data"]["config.yaml"])
    for name in (
        "restart-strategy.type",
        "restart-strategy.fixed-delay.attempts",
        "jobmanager.execution.failover-strategy",
        "classloader.resolve-order",
    ):
        assert here[name] == there[name]


def test_everything_of_the_run_is_behind_the_network_policy():
    """Beam's servers take code from whoever reaches them: pods that others may reach are none of ours."""
    policy = named("NetworkPolicy", "congener")
    labels = policy["spec"]["podSelector"]["matchLabels"]
    assert all(
        labels.items() <= item["spec"]["template"]["metadata"]["labels"].items() for item in PODS
    )
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": labels}}]}]


def test_no_job_waits_for_a_client_to_say_that_it_lives():
    """Attached jobs are cancelled after four minutes without a sign of their client, which Beam's job server doesn't give."""
    here = yaml.safe_load(
        (ROOT / "deploy" / "flink" / "flink-conf.yaml").read_text(encoding="utf-8")
    )
    there = yaml.safe_load(named("ConfigMap", "congener-flink")["data"]["config.yaml"])
    assert not [name for name in {**here, **there} if name.startswith("execution.")]
