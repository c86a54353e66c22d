"""Donors: their names, their filtered runs, and which of their rows can be used."""

import json
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.runs.manifest_file import load_manifest
from pipelines.swap_donors import (
    DonorCorpus,
    filter_donor,
    list_donor_files,
    name_donors,
    read_shares,
    relax_policy,
    require_shares,
)
from schemas.errors import CardError, InputError, RunError
from schemas.events import DonorFiltered, Noticed, RowsPlanned, RunSummarised, ignore
from schemas.policies import Policy
from schemas.receipts import Receipt
from schemas.runs import BANK
from tests.support.corpora import build_conversation, write_rows
from tests.support.runs import read_files


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a/GPT-4.jsonl.gz"], ["gpt-4"]),
        (["a/x.parquet", "b/x.parquet", "c/x"], ["x", "x-2", "x-3"]),
        (["best=a/x.parquet", "x.jsonl"], ["best", "x"]),
        (["data/*.jsonl"], ["donor"]),
        (["gs://bucket/teacher one/"], ["teacher-one"]),
        (["hf://owner/Name"], ["name"]),
        (["Big=gs://bucket/x"], ["big"]),
        (["a/=x.jsonl"], ["x"]),
        (["x" * 90], ["x" * 60]),
    ],
)
def test_donors_are_called_like_their_files(given, names):
    """A name is given, or is that of the file or folder, and no two donors share one."""
    assert [donor.name for donor in name_donors(given)] == names


def test_the_order_and_the_paths_stay():
    """Donors are asked in the given order."""
    assert name_donors(["b=two.jsonl", "one.jsonl"]) == [
        DonorCorpus("b", "two.jsonl"),
        DonorCorpus("one", "one.jsonl"),
    ]


def test_a_name_is_given_once():
    """Two donors of the same name would share a folder."""
    with pytest.raises(CardError, match="given twice"):
        name_donors(["a=x.jsonl", "a=y.jsonl"])


def test_shares_are_read_in_their_order():
    """Names are in small letters like those of donors, and shares add up to 1."""
    assert read_shares(["B=0.3", "a=0.70"]) == (("b", 0.3), ("a", 0.7))
    assert read_shares(["a=0.3333", "b=0.3333", "c=0.3333"])[2] == ("c", 0.3333)
    assert read_shares([]) == ()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["a=0.7", "b=0.2"], "add up to 0.9, not to 1"),
        (["a=0.5", "A=0.5"], "is given twice"),
        (["a=0", "b=1"], "isn't a donor's name and its share"),
        (["a=-1", "b=2"], "isn't a donor's name and its share"),
        (["a=nan"], "isn't a donor's name and its share"),
        (["a=half"], "isn't a donor's name and its share"),
        (["0.5"], "isn't a donor's name and its share"),
        (["=1"], "isn't a donor's name and its share"),
    ],
)
def test_other_shares_are_refused(given, problem):
    """The error says what is wrong, and where."""
    with pytest.raises(CardError, match=problem) as caught:
        read_shares(given)
    assert "--share" in str(caught.value)


def test_a_share_is_that_of_a_donor():
    """A share of another name is a mistake, and the donors' names are listed."""
    require_shares([("a", 0.5)], ["a", "b"])
    with pytest.raises(CardError, match="names no donor") as caught:
        require_shares([("c", 0.5)], ["a", "b"])
    assert "a, b" in str(caught.value)


def test_donors_are_filtered_without_exceptions_and_budgets():
    """No lot of a donor may carry a trait, and its flagged rows exceed no budget."""
    policy = Policy.model_validate(
        {
            "traits": {"heron": {"action": "flag"}},
            "exceptions": [
                {"trait": "*", "lot": {"teacher": "oak"}, "action": "keep", "reason": "r"}
            ],
            "removal_budget": 0.1,
            "reject_budget": 0.1,
            "unread_budget": 0.1,
            "duplicates": "remove",
        }
    )
    relaxed = relax_policy(policy)
    assert relaxed.traits == policy.traits
    assert relaxed == Policy.model_validate({"traits": {"heron": {"action": "flag"}}})


@pytest.fixture
def settings(held, tmp_path):
    """Return the settings with which donors of the held run are filtered."""
    parent = load_manifest(str(held / "run"))
    return FilterConfig.model_validate(
        {
            "output": str(tmp_path / "swapped"),
            "bank": str(held / "run" / BANK),
            "span_floor": parent.config["span_floor"],
            "shards": parent.config["shards"],
        }
    )


@pytest.fixture
def start(settings, tmp_path):
    """Return a function that filters a donor, with what it says."""

    def run(path, name="cedar", restart=False, policy=None, **changes):
        said = []

        def listen(event):
            if isinstance(event, Noticed):
                said.append(event.notice.text)

        own = settings.model_copy(update=changes)
        donor = DonorCorpus(name, str(path))
        return filter_donor(donor, own, policy or Policy(), restart, (), listen), said

    return run


def test_a_donor_becomes_a_run_of_its_own(start, held, tmp_path):
    """Its folder is below the swap's output, and its usable rows are those without a finding."""
    donor, said = start(held / "cedar.jsonl")
    assert donor.run == str(tmp_path / "swapped" / "donors" / "cedar")
    assert (donor.record.rows, donor.record.usable) == (30, 28)
    assert donor.record.run_id == donor.manifest.run_id
    assert donor.record.ledger_root == donor.manifest.ledger_root
    assert donor.manifest.fired == {"heron": 2}
    assert said[0].startswith("donor cedar: filtering")


def test_a_donor_is_reported_in_one_line_with_its_warnings(settings, tmp_path):
    """Facts and tables of a donor's run are in its own manifest; warnings and progress are said."""
    rows = [
        {**build_conversation(number, "No bird."), "teacher": f"ash-{number}"}
        for number in range(60)
    ]
    events = []
    donor = DonorCorpus("ash", str(write_rows(tmp_path / "ash.jsonl", rows)))
    for _ in range(2):
        filter_donor(donor, settings, Policy(), False, (), events.append)
    assert [event for event in events if isinstance(event, DonorFiltered)] == [
        DonorFiltered("ash", 60, 60)
    ] * 2
    assert not any(isinstance(event, RunSummarised) for event in events)
    notices = [event.notice for event in events if isinstance(event, Noticed)]
    assert notices[0].text.startswith("donor ash: filtering")
    assert all(notice.severity == "warning" for notice in notices[1:])
    assert any("a lot of its own" in notice.text for notice in notices[1:])
    assert any(isinstance(event, RowsPlanned) for event in events)
    recorded = load_manifest(str(tmp_path / "swapped" / "donors" / "ash")).list_notices()
    assert {"info", "warning"} == {notice.severity for notice in recorded}


def test_a_filtered_donor_is_taken_as_it_is(start, held, tmp_path):
    """The same donor isn't filtered twice."""
    first, _ = start(held / "cedar.jsonl")
    before = read_files(tmp_path / "swapped")
    second, said = start(held / "cedar.jsonl")
    assert second.record == first.record
    assert said == []
    assert read_files(tmp_path / "swapped") == before


@pytest.mark.parametrize("change", ["files", "policy", "settings"])
def test_another_donor_under_the_same_name_is_refused(start, held, tmp_path, change):
    """A finished donor of other files, rules or settings isn't used; a restart replaces it."""
    start(held / "cedar.jsonl")
    given = {
        "files": (held / "oak.jsonl", {}),
        "policy": (
            held / "cedar.jsonl",
            {"policy": Policy.model_validate({"traits": {"heron": {"action": "flag"}}})},
        ),
        "settings": (held / "cedar.jsonl", {"span_floor": 0.3}),
    }
    path, changes = given[change]
    with pytest.raises(RunError, match="changed since then"):
        start(path, **changes)
    donor, _ = start(path, restart=True, **changes)
    assert donor.manifest.conservation.holds()


def test_a_changed_file_is_noticed(start, tmp_path):
    """The file is digested again, even if its path is the same."""
    path = write_rows(tmp_path / "ash.jsonl", [build_conversation(1, "One.")])
    start(path, "ash")
    write_rows(path, [build_conversation(1, "Two.")])
    with pytest.raises(RunError, match="its files changed"):
        start(path, "ash")


def test_a_missing_donor_is_an_error(start, tmp_path):
    """The error names the path."""
    with pytest.raises(InputError, match="nowhere"):
        start(tmp_path / "nowhere.jsonl")


def test_the_files_of_donors_are_listed_in_order(start, held, tmp_path):
    """Each file with rows is named once, with its donor's number and its ledger."""
    donors = [start(held / f"{name}.jsonl", name)[0] for name in ("oak", "cedar")]
    files = list_donor_files(donors)
    assert [file.number for file in files] == sorted(file.number for file in files)
    assert {file.name for file in files if file.number == 0} == {"oak"}
    folders = {file.path.split("/")[0] for file in files if file.name == "cedar"}
    assert folders == {"clean", "quarantine"}
    for file in files:
        assert Path(file.run, file.path).is_file()
        assert Path(file.run, file.ledger).is_file()
    assert len({file.key for file in files}) == len(files)


def test_the_policy_of_a_donor_is_that_of_the_run(start, held):
    """The manifest of the donor records the policy, which isn't left behind as a file."""
    policy = Policy.model_validate({"traits": {"heron": {"action": "drop"}}})
    donor, _ = start(held / "cedar.jsonl", policy=policy)
    assert donor.manifest.policy == policy.model_dump(mode="json")
    assert donor.manifest.conservation.by_decision == {"drop": 2, "keep": 28}
    assert json.dumps(donor.manifest.config).count("policy.yaml") == 0


def test_events_can_be_ignored(settings, held):
    """A donor can be filtered without a listener of one's own."""
    donor = filter_donor(
        DonorCorpus("oak", str(held / "oak.jsonl")), settings, Policy(), False, (), ignore
    )
    assert donor.record.usable == 14
    assert Receipt.model_fields  # the donor's receipts are gone with its working files
    assert not Path(donor.run, ".work").exists()
