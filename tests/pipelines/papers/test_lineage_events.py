"""OpenLineage events, checked by the classes of its client."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import pkgutil
import uuid

import pytest
from openlineage.client import generated
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
)

from pipelines.papers.lineage_events import FACETS, build_events, name_dataset, write_events
from tests.support.corpora import ANSWERS
from tests.support.papers import read_facts

CLASSES = {
    name: getattr(module, name)
    for info in pkgutil.iter_modules(generated.__path__)
    for module in [importlib.import_module(f"openlineage.client.generated.{info.name}")]
    for name in dir(module)
    if name.endswith("Facet")
}
"""The facets of the client by the names of their classes."""


def build_facet(name, found):
    """Return a facet as an object of the client's class, which checks its fields."""
    if name not in FACETS:
        assert found["_producer"]
        assert found["_schemaURL"]
        return None
    made = CLASSES[FACETS[name][0]](
        **{key: value for key, value in found.items() if not key.startswith("_")}
    )
    assert made._get_schema() == found["_schemaURL"]
    return made


def build_datasets(found, kind, part):
    """Return data sets as objects of the client's class."""
    datasets = []
    for item in found:
        facets = {name: build_facet(name, facet) for name, facet in item["facets"].items()}
        own = {name: build_facet(name, facet) for name, facet in item[part].items()}
        options = {"facets": facets, part: own}
        datasets.append(kind(namespace=item["namespace"], name=item["name"], **options))
    return datasets


def build_event(found):
    """Return an event as an object of the client's class."""
    run, job = found["run"], found["job"]
    for name, facet in (*run["facets"].items(), *job["facets"].items()):
        build_facet(name, facet)
    return RunEvent(
        eventType=RunState[found["eventType"]],
        eventTime=found["eventTime"],
        run=Run(runId=run["runId"]),
        job=Job(namespace=job["namespace"], name=job["name"]),
        producer=found["producer"],
        inputs=build_datasets(found["inputs"], InputDataset, "inputFacets"),
        outputs=build_datasets(found.get("outputs", []), OutputDataset, "outputFacets"),
    )


@pytest.mark.parametrize("name", ["run", "swapped", "mixed"])
def test_the_client_accepts_every_event(name, request):
    """A start and an end are events of the client, with facets in its versions."""
    found = request.getfixturevalue(name)
    folder = str(found[0] if isinstance(found, tuple) else found)
    events = build_events(folder, read_facts(folder))
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    for event in events:
        made = build_event(event)
        assert event["schemaURL"] == made.schemaURL
        assert uuid.UUID(made.run.runId).version == 5


def test_the_start_is_before_the_end(run):
    """The start is the end less the run's seconds, and both are about the same run."""
    start, end = build_events(str(run[0]), read_facts(run[0]))
    assert start["run"]["runId"] == end["run"]["runId"]
    times = [dt.datetime.fromisoformat(event["eventTime"]) for event in (start, end)]
    assert 0 <= (times[1] - times[0]).seconds <= run[1].circumstances["seconds"]


def test_an_unknown_duration_leaves_the_end_alone(run):
    """Without the run's seconds, its start isn't known and isn't invented."""
    facts = read_facts(run[0])
    known = {"finished": facts.finished}
    other = facts._replace(manifest=facts.manifest.model_copy(update={"circumstances": known}))
    assert [event["eventType"] for event in build_events(str(run[0]), other)] == ["COMPLETE"]


def test_rows_and_digests_are_those_of_the_manifest(run):
    """Inputs have their rows and digests, and the output its published rows."""
    facts = read_facts(run[0])
    _, end = build_events(str(run[0]), facts)
    for item, source in zip(end["inputs"], facts.manifest.inputs, strict=True):
        assert item["inputFacets"]["inputStatistics"]["rowCount"] == source.rows
        assert item["facets"]["version"]["datasetVersion"] == source.sha256
    (output,) = end["outputs"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 32
    assert output["name"].endswith("/run/clean")


def test_earlier_runs_are_inputs(mixed):
    """The runs from which a run was made are among its inputs."""
    facts = read_facts(mixed)
    _, end = build_events(str(mixed), facts)
    names = {item["name"] for item in end["inputs"] if item["namespace"] == "congener"}
    assert names == {f"run/{item.run_id}" for item in facts.ancestors}


def test_lines_are_json_without_texts(run):
    """Every line is an event, and no text of a row is in it."""
    data = write_events(str(run[0]), read_facts(run[0]))
    lines = data.decode().splitlines()
    assert [json.loads(line)["eventType"] for line in lines] == ["START", "COMPLETE"]
    for answer in ANSWERS:
        assert answer not in data.decode()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/a.jsonl", ("file", "/data/a.jsonl")),
        ("file:///data/a.jsonl", ("file", "/data/a.jsonl")),
        ("s3://bucket/in/a.jsonl", ("s3://bucket", "in/a.jsonl")),
        ("gs://bucket", ("gs://bucket", "/")),
        ("hf://datasets/me/it", ("hf://datasets", "me/it")),
    ],
)
def test_datasets_are_named_as_openlineage_does(uri, expected):
    """Stores are namespaces, and local paths are in the namespace `file`."""
    assert name_dataset(uri) == expected


def test_facets_have_the_versions_of_the_client():
    """The versions of the facets are those of the client's classes."""
    for kind, version in FACETS.values():
        assert f"/{version}/{kind}.json" in CLASSES[kind]._get_schema()


def test_the_same_run_has_the_same_id(run, tmp_path):
    """A run that was moved keeps its id, so a server knows it again."""
    facts = read_facts(run[0])
    events = [build_events(folder, facts) for folder in (str(run[0]), str(tmp_path))]
    ids = {event["run"]["runId"] for found in events for event in found}
    assert len(ids) == 1
