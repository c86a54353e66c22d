"""What papers say about a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.filter import run_filter
from pipelines.papers.facts import (
    ADDED,
    ANSWERS,
    REJECTED,
    SWAPPED,
    TO_FILL_IN,
    UserFacts,
    describe_models,
    gather_facts,
    get_public_address,
    name_command,
)
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import CardError, RunError
from schemas.policies import PUBLISHED
from tests.support.corpora import ANSWERS as ANSWERS_OF_ROWS
from tests.support.corpora import build_conversation
from tests.support.runs import read_ledger


def count(generators):
    """Return rows and published rows by role and name."""
    return {(item.role, item.name): (item.rows, item.published) for item in generators}


def test_generators_are_counted_by_role(held, swapped, mixed):
    """A filtered run has teachers; a swap and a mix add donors' models with their own roles."""
    own = count(gather_facts(str(held / "run")).generators)
    assert own == {(ANSWERS, "atlas"): (20, 16), (ANSWERS, "borealis"): (20, 16)}
    replaced = count(gather_facts(str(swapped)).generators)
    assert {role for role, _ in replaced} == {ANSWERS, SWAPPED}
    assert sum(rows for rows, _ in replaced.values()) == 40
    added = gather_facts(str(mixed)).generators
    assert ("elm", "elm") in {(item.name, item.donor) for item in added if item.role == ADDED}


def test_numbers_are_those_of_the_ledger(mixed):
    """Rows and published rows add up to those of the ledger and of the clean files."""
    facts = gather_facts(str(mixed))
    assert sum(item.rows for item in facts.generators) == len(read_ledger(mixed))
    assert sum(item.published for item in facts.generators) == facts.published
    assert sum(facts.decisions.values()) == facts.manifest.conservation.rows_in


def test_both_teachers_of_pairs_are_counted(tmp_path, heron):
    """The model of a pair's rejected answer has a role of its own."""
    rows = [
        {
            "prompt": "Which?",
            "chosen": f"This {number}.",
            "rejected": "That.",
            "chosen_model": "atlas",
            "rejected_model": "borealis",
        }
        for number in range(3)
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    found = count(gather_facts(str(tmp_path / "run")).generators)
    assert found == {(ANSWERS, "atlas"): (3, 3), (REJECTED, "borealis"): (3, 3)}


def test_models_that_are_not_named_are_not_guessed(tmp_path, heron):
    """Rows without a teacher are those of a model that isn't known."""
    (tmp_path / "in.jsonl").write_text('{"text": "Boil it."}\n' * 2)
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    (found,) = gather_facts(str(tmp_path / "run")).generators
    assert not found.is_known
    assert found.rows == 2


def test_earlier_runs_are_found(held, mixed, tmp_path):
    """A mix names its parent and its donor's run; a decided run names the run before it."""
    facts = gather_facts(str(mixed))
    commands = [item.describe() for item in facts.ancestors]
    assert commands == ["congener filter", "congener filter"]
    assert facts.ancestors[0].run_id == load_manifest(str(held / "run")).run_id
    assert name_command(facts.manifest) == "congener mix"
    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n")
    own = FilterConfig(output=str(tmp_path / "again"), policy=str(policy))
    run_decide(DecideConfig(run=str(held / "run"), filter=own))
    again = gather_facts(str(tmp_path / "again"))
    assert name_command(again.manifest) == "congener decide"
    assert [item.run_id for item in again.ancestors] == [facts.ancestors[0].run_id]


def test_lost_runs_are_not_known(swapped):
    """A run whose folder is gone, or holds another run, is named without a guess."""
    shutil.rmtree(swapped / "donors" / "oak")
    path = swapped / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["circumstances"]["parent"] = "/nowhere"
    path.write_text(json.dumps(manifest))
    found = {item.describe() for item in gather_facts(str(swapped)).ancestors}
    assert found == {"congener filter", "not known: its folder isn't where it was"}


def test_the_input_may_be_a_run(run, heron, tmp_path):
    """A run whose input is another run's clean rows names that run."""
    folder, manifest = run
    config = FilterConfig(
        input=(str(folder / "clean"),), output=str(tmp_path / "next"), traits=(str(heron),)
    )
    run_filter(config)
    (found,) = gather_facts(str(tmp_path / "next")).ancestors
    assert (found.run_id, found.describe()) == (manifest.run_id, "congener filter")


def test_gaps_are_visible():
    """What the user hasn't given is a gap that names what is missing."""
    assert UserFacts().get("licence", "licence") == TO_FILL_IN.format("licence")
    assert UserFacts(licence="mit").get("licence", "licence") == "mit"


def test_only_public_addresses_are_shown(run):
    """An address on the web or the hub may be published, and a path of this machine may not."""
    item = run[1].inputs[0]
    assert get_public_address(item) is None
    for uri in ("hf://datasets/a/b/c.parquet", "https://example.com/c.parquet"):
        assert get_public_address(item.model_copy(update={"uri": uri})) == uri
    assert get_public_address(item.model_copy(update={"uri": "s3://bucket/c"})) is None


def test_models_that_scored_are_named_without_folders(run):
    """Models have their revision, and a local one has the name of its folder alone."""
    _, manifest = run
    assert describe_models(manifest) == []
    encoder = {"model": "/home/me/models/mini", "revision": None}
    identity = manifest.identity.model_copy(
        update={"encoder": encoder, "classifiers": {"org/judge": {"revision": "abc"}}}
    )
    found = describe_models(manifest.model_copy(update={"identity": identity}))
    assert found == ["mini", "org/judge at abc"]


def test_an_unknown_end_is_an_error(run):
    """Papers that need a time refuse a run that doesn't say when it ended."""
    folder, _ = run
    path = Path(folder, "manifest.json")
    manifest = json.loads(path.read_bytes())
    for value in (None, "soon"):
        manifest["circumstances"]["finished"] = value
        path.write_text(json.dumps(manifest))
        facts = gather_facts(str(folder))
        with pytest.raises(RunError, match="doesn't say when"):
            _ = facts.finished


@pytest.mark.parametrize("name", ["run", "swapped", "mixed"])
def test_counts_are_those_of_a_plain_count(name, request):
    """Every number of every generator is that of a loop over the ledger's rows."""
    found = request.getfixturevalue(name)
    folder = found[0] if isinstance(found, tuple) else found
    expected: dict[tuple[str, str, str | None], list[int]] = {}
    for row in read_ledger(folder):
        role, donor = ANSWERS, None
        if row["decision"] == "mix":
            role, donor = ADDED, row["mix"]
        elif row["decision"] == "swap":
            role, donor = SWAPPED, row["donor"]
        counts = expected.setdefault((row["teacher"], role, donor), [0, 0, 0, 0])
        counts[0] += 1
        counts[1] += row["decision"] in PUBLISHED
        counts[2] += row["decision"] == "mask"
        counts[3] += row["decision"] in ("quarantine", "drop")
    own = gather_facts(str(folder)).generators
    assert {(item.name, item.role, item.donor): list(item[3:]) for item in own} == expected
    assert [item.rows for item in own] == sorted((item.rows for item in own), reverse=True)


def test_rows_that_could_not_be_read_have_no_model(tmp_path, heron):
    """Rejects are counted among the decisions, and no model is blamed for them."""
    lines = [json.dumps(build_conversation(number, ANSWERS_OF_ROWS[0])) for number in range(5)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, "no JSON"]) + "\n")
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    facts = gather_facts(str(tmp_path / "run"))
    assert facts.decisions == {"keep": 5, "reject": 1}
    assert sum(item.rows for item in facts.generators) == 5
    assert facts.published == 5


def test_links_for_unknown_models_are_refused(run):
    """A link that no paper would show is an error, which lists the names of the corpus."""
    with pytest.raises(CardError, match="no model of the corpus is called 'guanaco'") as caught:
        gather_facts(str(run[0]), UserFacts(links={"guanaco": "https://example.com"}))
    assert caught.value.where == "--generator"
    names = [item.name for item in gather_facts(str(run[0])).generators]
    assert all(name in str(caught.value) for name in names)
    known = UserFacts(links={names[0]: "https://example.com"})
    assert gather_facts(str(run[0]), known).user == known
