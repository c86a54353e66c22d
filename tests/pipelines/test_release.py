"""Releasing rows: which findings reviews deny, the policy that keeps them, and the new run."""

import hashlib
import json

import pytest
import yaml

from pipelines.config import FilterConfig, read_policy
from pipelines.decide import DecideConfig, run_decide
from pipelines.disputed_rows import is_released
from pipelines.labels import digest_definition
from pipelines.release import (
    ReleasedRows,
    count_confirmed,
    count_effects,
    plan_release,
    preview_release,
    sum_effects,
    write_release,
)
from pipelines.review.judgements import LabelBook
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.parent_policies import list_reviews
from pipelines.verify import verify_run
from schemas.errors import CardError
from schemas.policies import Policy
from tests.support.runs import read_ledger


@pytest.fixture
def folder(run) -> str:
    """Return the folder of a finished run with eight herons in quarantine."""
    return str(run[0])


@pytest.fixture
def held(folder):
    """Return the ledger rows in quarantine."""
    return [row for row in read_ledger(folder) if row["decision"] == "quarantine"]


@pytest.fixture
def review(tmp_path):
    """Return a function that writes a file of labels."""

    def write(name, rows, label, **more):
        keys = [{key: row[key] for key in ("source", "row", "record_id")} for row in rows]
        lines = [{**key, "trait": "heron", "label": label, **more} for key in keys]
        path = tmp_path / f"{name}.jsonl"
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        return path

    return write


def list_released(release):
    """Return the rows that the exceptions of a release name."""
    return [(item.row.source, item.row.row) for item in release.policy.exceptions]


def test_denied_findings_are_released(folder, held, review):
    """Each finding with a no gets an exception that names the row, the reviewer and the file."""
    path = review("ada", held[:3], False, reviewer="ada", reason="a quotation")
    review("ada", held[3:5], True)
    review("ada", held[5:6], "unsure")
    release = plan_release(folder, [path])
    assert list_released(release) == [(row["source"], row["row"]) for row in held[:3]]
    assert release.released == {"heron": 3}
    assert (release.disputed, release.idle, release.changed) == (0, 0, 0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for item in release.policy.exceptions:
        assert (item.trait, item.action) == ("heron", "keep")
        place = f"{path.parent.name}/ada.jsonl"
        assert item.reason == f"labelled false by ada: a quotation ({place}, SHA-256 {digest})"


def test_a_reason_can_be_read_back(folder, held, review, tmp_path):
    """The file of labels has its folder, unless brackets in its name would end the reason early."""
    path = review("ada", held[:1], False)
    (tmp_path / "old (1)").mkdir()
    other = tmp_path / "old (1)" / "ada.jsonl"
    other.write_bytes(path.read_bytes())
    for given, place in ((path, f"{tmp_path.name}/ada.jsonl"), (other, "ada.jsonl")):
        (item,) = plan_release(folder, [given]).policy.exceptions
        assert list_reviews([{"reason": item.reason}]) == [place]


def test_confirmed_rows_that_stay_removed_are_counted(folder, held, review, tmp_path):
    """A label that confirms a finding counts once for its row, and an unsure one doesn't."""
    path = review("ada", held[:1], False)
    review("ada", held[1:4], True)
    review("ada", held[4:5], "unsure")
    release = plan_release(folder, [path])
    assert release.confirmed == {(row["source"], row["row"]) for row in held[1:4]}
    assert count_confirmed(folder, release) == 3
    kept = release._replace(confirmed=frozenset({("nowhere.jsonl", 0)}))
    assert count_confirmed(folder, kept) == 0


def test_the_new_run_keeps_released_rows(folder, held, review, tmp_path):
    """Only the released rows change, the run is whole, and its policy is beside it."""
    release = plan_release(folder, [review("ada", held[:2], "no")])
    output = str(tmp_path / "released")
    policy = write_release(release, f"{output}/")
    assert policy == f"{output}.policy.yaml"
    assert read_policy(policy) == release.policy
    config = DecideConfig(run=folder, filter=FilterConfig(output=output, policy=policy))
    manifest = run_decide(config)
    before, after = read_ledger(folder), read_ledger(output)
    changed = [
        (old["source"], old["row"], new["decision"])
        for old, new in zip(before, after, strict=True)
        if old["decision"] != new["decision"]
    ]
    assert changed == [(row["source"], row["row"], "keep") for row in held[:2]]
    assert count_effects(folder, output, release) == ReleasedRows(
        returned=2, cleared=0, unchanged=0
    )
    assert verify_run(output) == []
    assert load_manifest(folder).run_id in (manifest.describe_decided_from() or "")


def test_a_preview_says_what_becomes_of_each_row(folder, held, review):
    """Each named row has its decisions before and after, and the traits that still hold it."""
    release = plan_release(folder, [review("ada", held[:3], False)])
    rows = preview_release(folder, release)
    assert [row.name for row in rows] == [f"{row['source']}:{row['row']}" for row in held[:3]]
    assert {row[1:] for row in rows} == {(("heron",), "quarantine", "keep", ())}
    assert sum_effects(rows) == ReleasedRows(3, 0, 0)


def test_a_preview_equals_the_release(folder, held, review, tmp_path):
    """What is previewed is what the new run then has."""
    release = plan_release(folder, [review("ada", held[:2], False)])
    rows, output = preview_release(folder, release), str(tmp_path / "new")
    settings = FilterConfig(output=output, policy=write_release(release, output))
    run_decide(DecideConfig(run=folder, filter=settings))
    assert count_effects(folder, output, release) == sum_effects(rows)
    decided = {f"{row['source']}:{row['row']}": row["decision"] for row in read_ledger(output)}
    assert [decided[row.name] for row in rows] == [row.now for row in rows]


def test_another_finding_is_the_reason_why_a_row_stays(folder, held, review):
    """If the exceptions don't cover a row's finding, its trait is named."""
    release = plan_release(folder, [review("ada", held[:1], False)])
    (item,) = release.policy.exceptions
    other = item.model_copy(update={"trait": "heron", "action": "flag"})
    policy = release.policy.model_copy(update={"exceptions": (other,)})
    (row,) = preview_release(folder, release._replace(policy=policy))
    assert (row.before, row.now, row.held_by) == ("quarantine", "flag", ("heron",))


def test_a_second_release_adds_to_the_first(folder, held, review, tmp_path):
    """The exceptions of the run's own policy stay."""
    first = plan_release(folder, [review("ada", held[:1], "no")])
    output = str(tmp_path / "released")
    config = FilterConfig(output=output, policy=write_release(first, output))
    run_decide(DecideConfig(run=folder, filter=config))
    second = plan_release(output, [review("ben", held[:2], "no")])
    assert list_released(second) == [(row["source"], row["row"]) for row in held[:2]]
    assert (second.released, second.already) == ({"heron": 1}, 1)
    with pytest.raises(CardError, match="releases no row: 1 finding is released already") as caught:
        plan_release(output, [review("cyd", held[:1], "no")])
    assert "nothing is left to do" in caught.value.remedy


@pytest.mark.parametrize("other", [True, "unsure"])
def test_disputed_findings_are_not_released(folder, held, review, other):
    """If one review says false and another doesn't, the row stays where it is."""
    paths = [review("ada", held[:3], "no"), review("ben", held[1:2], other)]
    release = plan_release(folder, paths)
    assert list_released(release) == [(held[at]["source"], held[at]["row"]) for at in (0, 2)]
    assert release.disputed == 1


def test_the_last_label_of_a_file_counts(folder, held, review):
    """A reviewer may change a label; without times, a contradiction is an error."""
    path = review("ada", held[:2], True, time=1)
    review("ada", held[:1], False, time=2)
    assert plan_release(folder, [path]).released == {"heron": 1}
    review("ada", held[1:2], False)
    with pytest.raises(CardError, match="contradicts"):
        plan_release(folder, [path])


def test_labels_without_a_finding_are_counted(folder, held, review):
    """A no for a kept row releases nothing, and is reported."""
    kept = [row for row in read_ledger(folder) if row["decision"] == "keep"]
    path = review("ada", [*held[:1], *kept[:4]], False)
    release = plan_release(folder, [path])
    assert (release.released.total(), release.idle) == (1, 4)
    assert release.named == tuple(sorted(f"{row['source']}:{row['row']} heron" for row in kept[:4]))


def test_a_label_for_another_path_names_the_file(folder, held, review):
    """A label whose file the run doesn't have says which file may be meant."""
    paths = ("corpus/0.jsonl", "0.jsnl", "elsewhere.txt")
    wrong = [{**held[0], "source": path, "row": 3, "record_id": None} for path in paths]
    release = plan_release(folder, [review("ada", [held[0], *wrong], False)])
    assert release.named == (
        "0.jsnl:3 heron (the run has no such file: did you mean '0.jsonl'?)",
        "corpus/0.jsonl:3 heron (the run has no such file: did you mean '0.jsonl'?)",
        "elsewhere.txt:3 heron (the run has no such file)",
    )


def test_labels_of_another_text_are_left_out(folder, held, review):
    """A label with another record id was given for another text in the row's place."""
    stale = [{**row, "record_id": "f" * 32} for row in held[:2]]
    path = review("ada", [*stale, held[2]], False)
    release = plan_release(folder, [path])
    assert (release.released.total(), release.changed) == (1, 2)


@pytest.mark.parametrize(
    ("later", "kept"),
    [
        ({"row": "0.jsonl:1", "action": "keep"}, True),
        ({"row": "f" * 32, "action": "keep", "trait": "*"}, True),
        ({"row": "0.jsonl:1", "action": "quarantine"}, False),
        ({"row": "0.jsonl:1", "action": "keep", "trait": "owl"}, False),
        ({"row": "0.jsonl:1", "action": "keep", "side": "rejected"}, False),
        ({"row": "0.jsonl:2", "action": "keep"}, False),
        ({"lot": {"teacher": "a"}, "action": "keep"}, False),
    ],
)
def test_a_findingis_released_already_by_an_exception_for_its_row(later, kept):
    """An exception for the row, its trait and its trained text counts, by place or record id."""
    row = {"source": "0.jsonl", "row": 1, "record_id": "f" * 32}
    item = {"trait": "heron", "reason": "x", **later}
    policy = Policy.model_validate({"exceptions": [item]})
    assert is_released(policy, row, "heron") is kept
    held = {"trait": "*", "lot": {"date": "2026*"}, "action": "quarantine", "reason": "x"}
    again = Policy.model_validate({"exceptions": [item, held]})
    assert not is_released(again, row, "heron")


def test_labels_follow_their_rows_to_other_places(run, folder, held, review):
    """A label counts for the rows with the text that was read, if its own place has another."""
    moved = [{**row, "source": "train.part-00000.jsonl", "row": 7} for row in held[:2]]
    release = plan_release(folder, [review("ada", moved, False)])
    wanted = [row for row in held if row["record_id"] in {item["record_id"] for item in moved}]
    assert list_released(release) == [(row["source"], row["row"]) for row in wanted]
    assert (release.idle, release.changed) == (0, 0)
    swapped = [{**held[0], "row": held[1]["row"], "source": held[1]["source"]}]
    release = plan_release(folder, [review("ben", swapped, False)])
    assert list_released(release) == [
        (row["source"], row["row"]) for row in held if row["record_id"] == held[0]["record_id"]
    ]


def test_an_error_says_why_nothingis_released(folder, held, review):
    """Disputed findings, other texts and labels without a finding are counted."""
    kept = [row for row in read_ledger(folder) if row["decision"] == "keep"][:1]
    stale = [{**held[0], "record_id": "f" * 32}]
    paths = [
        review("ada", [*held[1:3], *kept, *stale], False),
        review("ben", held[1:3], True),
    ]
    with pytest.raises(CardError) as caught:
        plan_release(folder, paths)
    assert caught.value.problem == (
        "releases no row: 2 findings are disputed, 1 finding has labels of another text, 1 label "
        f"denies a finding that the run doesn't have: {kept[0]['source']}:{kept[0]['row']} heron"
    )


def test_labels_by_record_id_and_for_every_trait(folder, held, tmp_path):
    """A label may name a row by its record id alone, and no trait."""
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"record_id": held[0]["record_id"], "label": "no"}) + "\n")
    release = plan_release(folder, [path])
    wanted = [row for row in held if row["record_id"] == held[0]["record_id"]]
    assert list_released(release) == [(row["source"], row["row"]) for row in wanted]


def review_rows(path, rows, digest, label="no"):
    """Label rows as the review page does."""
    book = LabelBook(path, "ada", digest)
    for row in rows:
        book.add(row, "heron", label)
    return path


def test_labels_that_were_changed_afterwards_release_nothing(run, folder, held, tmp_path):
    """A file of the review with another answer, or with a line of somebody else, is refused."""
    path = review_rows(tmp_path / "labels-ada.jsonl", held[:2], run[1].digest, "yes")
    sound = path.read_text()
    path.write_text(sound.replace('"label": true', '"label": false'))
    with pytest.raises(CardError, match="isn't as the review wrote it") as caught:
        plan_release(folder, [path])
    assert str(caught.value.where).endswith("labels-ada.jsonl line 1")
    path.write_text(sound + json.dumps({**held[2], "trait": "heron", "label": "no"}) + "\n")
    with pytest.raises(CardError, match="1 line has no digest, though the other lines") as caught:
        plan_release(folder, [path])
    assert caught.value.problem.endswith("are a review's: line 3")
    assert caught.value.where == str(path)
    assert f"sed -i '3d' {path}" in caught.value.remedy


def test_labels_of_another_run_are_named(run, folder, held, tmp_path):
    """Labels of another run count for rows with the same text, and the release says so."""
    own = review_rows(tmp_path / "own.jsonl", held[:1], run[1].digest)
    assert plan_release(folder, [own]).foreign == ()
    other = review_rows(tmp_path / "other.jsonl", held[1:3], "a" * 64)
    release = plan_release(folder, [own, other])
    assert (release.foreign, release.released.total()) == ((str(other),), 3)


def test_a_release_of_nothing_is_an_error(folder, held, review):
    """Labels that release nothing don't make a new run."""
    with pytest.raises(CardError, match="releases no row: no label denies a finding"):
        plan_release(folder, [review("ada", held[:2], True)])
    with pytest.raises(CardError, match="no trait 'egret' is fitted"):
        plan_release(folder, [review("ben", held[:1], False, trait="egret")])


def test_the_policy_of_a_run_on_a_store(folder, held, review, tmp_path, monkeypatch):
    """The policy of a run on a store is written into this folder, as YAML."""
    monkeypatch.chdir(tmp_path)
    release = plan_release(folder, [review("ada", held[:1], False)])
    assert write_release(release, "gs://bucket/runs/two/") == "two.policy.yaml"
    (item,) = yaml.safe_load((tmp_path / "two.policy.yaml").read_text())["exceptions"]
    assert item["row"] == {"source": held[0]["source"], "row": held[0]["row"]}


def test_labels_of_another_definition_release_nothing(folder, held, review):
    """A review by other words than the card's is refused, and one by the same words isn't."""
    words = load_manifest(folder).cards["heron"]
    same = review("same", held[:2], False, definition=digest_definition(words))
    assert plan_release(folder, [same]).released == {"heron": 2}
    other = review("other", held[:2], False, definition=digest_definition({"title": "Egrets"}))
    with pytest.raises(CardError, match="2 labels of heron were given by another definition"):
        plan_release(folder, [other])
