"""The in-toto statement, checked by the reference library."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

from pipelines.certify import certify_run
from pipelines.certifying.histories import read_history
from pipelines.papers.attestations import build_statement, write_statement, write_time
from schemas.digests import digest_bytes
from tests.support.certificates import draw_small, fill_sheet, tell_truth
from tests.support.corpora import ANSWERS
from tests.support.papers import read_facts
from transforms.files import storage


def read_statement(data):
    """Return a statement as the library reads it."""
    found = json_format.Parse(data, statement_pb2.Statement())
    return Statement.copy_from_pb(found)


@pytest.mark.parametrize("name", ["run", "swapped", "mixed"])
def test_the_reference_library_accepts_it(name, request):
    """The library validates the statement, and its predicate is SLSA's provenance."""
    found = request.getfixturevalue(name)
    folder = found[0] if isinstance(found, tuple) else found
    data = write_statement(read_facts(folder))
    read_statement(data).validate()
    predicate = json.dumps(json.loads(data)["predicate"])
    provenance = json_format.Parse(predicate, provenance_pb2.Provenance())
    assert provenance.run_details.metadata.invocation_id == read_facts(folder).manifest.run_id
    for item in provenance.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(item).validate()


def test_the_certificate_and_the_exceptions_are_stated(run, tmp_path):
    """The statement has what people read, and each exception; the library accepts both."""
    facts = read_facts(run[0])
    assert "certificate-digest" not in write_statement(facts).decode()
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [sheet])[0]
    given = {"trait": "heron", "lot": {"teacher": "ada"}, "action": "keep", "reason": "read"}
    policy = {**facts.manifest.policy, "exceptions": [given]}
    manifest = facts.manifest.model_copy(update={"policy": policy})
    history = read_history(str(run[0]))
    data = write_statement(facts._replace(manifest=manifest, certificate=found, statements=history))
    predicate = json.loads(data)["predicate"]
    json_format.Parse(json.dumps(predicate), provenance_pb2.Provenance())
    (exception,) = predicate["buildDefinition"]["externalParameters"]["exceptions"]
    assert (exception["trait"], exception["reason"]) == ("heron", "read")
    byproducts = {item["name"]: item for item in predicate["runDetails"]["byproducts"]}
    assert byproducts["manifest-digest"]["digest"]["sha256"] == manifest.digest
    stated = byproducts["certificate-digest"]
    assert stated["digest"]["sha256"] == found.digest
    assert stated["annotations"]["raters"] == ["audit"]
    assert stated["annotations"]["showTraitAtMost"] == found.together.decisive
    assert (stated["annotations"]["target"], stated["annotations"]["targetMet"]) == (None, None)
    assert stated["annotations"]["maskedTextCountsAs"] == "removed"
    assert stated["annotations"]["maskedRows"] == 0
    assert stated["annotations"]["statements"] == 1
    assert stated["annotations"]["firstShowTraitAtMost"] == found.together.decisive
    assert stated["annotations"]["lastStatement"] == history[0].digest


def test_subjects_are_the_clean_files(run):
    """Every subject is a file of `clean/` with the digest of its bytes."""
    found = build_statement(read_facts(run[0]))["subject"]
    for item in found:
        data = storage.read_bytes(storage.join(str(run[0]), item["name"]))
        assert item["digest"] == {"sha256": digest_bytes(data)}
    assert {item["name"].partition("/")[0] for item in found} == {"clean"}


def test_dependencies_name_inputs_donors_and_parents(mixed):
    """Inputs, bank, donors and earlier runs are there with their digests."""
    facts = read_facts(mixed)
    definition = build_statement(facts)["predicate"]["buildDefinition"]
    found = {item["name"]: item["digest"]["sha256"] for item in definition["resolvedDependencies"]}
    assert found["input/0.jsonl"] == facts.manifest.inputs[0].sha256
    assert found["bank"] == facts.manifest.identity.bank_digest
    assert found["mix/donor/elm/ledger-root"] == facts.manifest.mix.donors[0].ledger_root
    assert f"mix/parent/{facts.manifest.mix.parent}" in found
    assert f"run/{facts.manifest.mix.parent}/ledger-root" in found


def test_neither_paths_nor_texts_nor_operators_are_named(run):
    """A statement may be published: it has no folder, no user name and no text."""
    data = write_statement(read_facts(run[0])).decode()
    folder = run[1].inputs[0].uri.rpartition("/")[0]
    for secret in (folder, str(run[0]), *ANSWERS):
        assert secret not in data
    assert "operator" not in data


def test_a_changed_file_is_another_subject(run):
    """The statement follows the manifest, so other files have other subjects."""
    facts = read_facts(run[0])
    outputs = [item.model_copy(update={"sha256": "0" * 64}) for item in facts.manifest.outputs]
    other = facts._replace(manifest=facts.manifest.model_copy(update={"outputs": tuple(outputs)}))
    assert write_statement(other) != write_statement(facts)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-27T12:25:21+00:00", "2026-11-27T12:25:21Z"),
        ("2026-11-27T12:25:21", "2026-11-27T12:25:21Z"),
        ("2026-11-27T14:25:21.5+02:00", "2026-11-27T12:25:21Z"),
    ],
)
def test_times_are_in_utc(given, expected):
    """A time has whole seconds and the suffix of UTC, as both formats want it."""
    assert write_time(given) == expected
