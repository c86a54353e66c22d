"""What the review says of a trait, and of what a label will do to a row."""

import json
from itertools import product
from typing import Any, NamedTuple

import pytest

from pipelines.config import FilterConfig
from pipelines.decide import decide_run
from pipelines.filter import run_filter
from pipelines.release import plan_release
from pipelines.review.effects import (
    AUDIT,
    BLIND,
    EARLIER,
    HOLDING,
    STAYS,
    describe_effects,
    describe_row_effects,
    describe_traits,
    list_actions,
)
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.runs.shown_rows import MaskedSpan
from schemas.policies import PUBLISHED
from tests.support.corpora import write_rows
from transforms.decisions import NOTED

RELEASE = "`congener release`"
KEPT = f"{RELEASE} keeps this row in clean/"


@pytest.mark.parametrize(
    ("decision", "actions", "said"),
    [
        ("quarantine", {"owl": "quarantine"}, "`congener release` returns this row to clean/"),
        ("quarantine", {"owl": "swap"}, "`congener release` returns this row to clean/"),
        (
            "drop",
            {"owl": "drop", "heron": "mask", "fox": "flag", "elk": "keep"},
            "`congener release` returns this row to clean/ with the flag of fox, the mask of heron",
        ),
        (
            "quarantine",
            {"owl": "quarantine", "heron": "drop", "fox": "swap"},
            "`congener release` returns this row to clean/ only if you deny fox and heron too",
        ),
        (
            "quarantine",
            {"owl": "flag", "owl@rejected": "quarantine"},
            f"{RELEASE} leaves this row out of clean/ all the same, because of owl@rejected",
        ),
        (
            "mask",
            {"owl": "mask"},
            "`congener release` keeps this row in clean/ without the mask for owl",
        ),
        (
            "mask",
            {"owl": "mask", "elk": "flag", "fox": "mask"},
            f"{KEPT} without the mask for owl, but with the mask for fox",
        ),
        (
            "mask",
            {"owl": "flag", "heron": "mask"},
            "`congener release` keeps this row in clean/ without the flag for owl",
        ),
        ("keep", {"owl": "keep"}, f"{STAYS}; it is in clean/ already"),
        ("duplicate", {"owl": "flag"}, f"{STAYS}; it stays out of clean/ as a duplicate"),
    ],
)
def test_a_denied_finding(decision, actions, said):
    """The label false says where the row will be, which other findings may decide."""
    assert describe_effects("owl", decision, actions)["false"] == said


def test_a_confirmed_finding_changes_nothing():
    """The label true leaves a row where it is."""
    for decision, place in (
        ("quarantine", "in quarantine/"),
        ("mask", "in clean/"),
        ("drop", "out of clean/"),
    ):
        found = describe_effects("owl", decision, {"owl": "quarantine"})
        assert found["true"] == f"{STAYS}; it stays {place}"


def test_a_trait_without_a_finding():
    """If the trait didn't fire, neither label changes the row."""
    found = describe_effects("owl", "quarantine", {"heron": "quarantine"})
    assert found == dict.fromkeys(
        ("true", "false"), f"{STAYS}; `congener fit --labels` learns from it"
    )


def test_a_run_that_cannot_be_decided_again():
    """No row of a swapped or mixed run can be released."""
    found = describe_effects("owl", "quarantine", {"owl": "quarantine"}, again=False)
    assert found["false"] == STAYS


def test_another_reviewers_label_stops_a_release():
    """Where somebody else didn't deny the finding, the label false says whose file decides."""
    actions = {"owl": "quarantine"}
    found = describe_effects("owl", "quarantine", actions, doubters={"owl": ["grace", "linus"]})
    assert found["false"] == (
        f"{STAYS} if the file of grace, linus is given to `congener release`, too, because it says "
        "something else; without it, `congener release` returns this row to clean/"
    )
    assert found["true"] == describe_effects("owl", "quarantine", actions)["true"]
    kept = describe_effects("owl", "keep", {"owl": "keep"}, doubters={"owl": ["grace"]})
    assert kept["false"] == f"{STAYS}; it is in clean/ already"


RETURNED = f"{RELEASE} returns this row to clean/"
HELD = f"{STAYS}; it stays in quarantine/"


@pytest.mark.parametrize(
    ("actions", "denied", "confirms", "denies"),
    [
        ({"owl": "quarantine", "elk": "drop"}, ["elk"], HELD, RETURNED),
        (
            {"owl": "quarantine", "elk": "drop", "fox": "swap"},
            ["elk"],
            HELD,
            f"{RETURNED} only if you deny fox too",
        ),
        ({"owl": "quarantine", "elk": "mask"}, ["elk"], HELD, RETURNED),
        ({"owl": "quarantine", "elk": "mask"}, ["owl"], HELD, f"{RETURNED} with the mask of elk"),
        ({"owl": "flag", "elk": "drop"}, ["elk"], f"{RETURNED} with the flag of owl", RETURNED),
        ({"owl": "keep", "elk": "drop"}, ["elk"], RETURNED, RETURNED),
        (
            {"owl": "flag", "elk": "drop", "elk@rejected": "drop"},
            ["elk"],
            HELD,
            f"{RELEASE} leaves this row out of clean/ all the same, because of elk@rejected",
        ),
        (
            {"owl": "quarantine", "elk": "drop"},
            ["ape"],
            HELD,
            f"{RETURNED} only if you deny elk too",
        ),
    ],
)
def test_earlier_labels_of_the_row_count(actions, denied, confirms, denies):
    """What the reviewer has denied already holds the row no longer, and isn't named again."""
    found = describe_effects("owl", "quarantine", actions, denied=denied)
    assert found == {"true": confirms, "false": denies}


def test_earlier_labels_change_no_row_that_cannot_be_returned():
    """A row in clean/ stays there, and no row of a swapped or mixed run is returned."""
    actions = {"owl": "flag", "elk": "drop"}
    fixed = describe_effects("owl", "quarantine", actions, again=False, denied=["elk"])
    assert fixed == {"true": HELD, "false": STAYS}
    masked = describe_effects("owl", "mask", {"owl": "flag", "elk": "mask"}, denied=["elk"])
    assert masked == {
        "true": f"{RELEASE} keeps this row in clean/ without the mask for elk",
        "false": f"{RELEASE} keeps this row in clean/ without the mask for elk and the flag for "
        "owl",
    }
    other = describe_effects("owl", "quarantine", {"elk": "drop"}, denied=["elk"])
    learns = "`congener fit --labels` learns from it"
    assert other == dict.fromkeys(("true", "false"), f"{RETURNED}; {learns}")
    idle = describe_effects("owl", "mask", {"elk": "mask"}, denied=["ape"])
    assert idle == dict.fromkeys(("true", "false"), f"{STAYS}; {learns}")


def test_a_dropped_row_that_is_only_quarantined_then():
    """A label that takes the strongest action off says where the row goes, and what holds it."""
    actions = {"owl": "quarantine", "elk": "drop"}
    moved = (
        f"{RELEASE} moves this row to quarantine/; it returns to clean/ only if you deny owl too"
    )
    assert describe_effects("elk", "drop", actions)["false"] == moved
    assert describe_effects("owl", "drop", actions, denied=["elk"])["true"] == moved
    actions = {"owl@rejected": "quarantine", "elk": "drop"}
    assert describe_effects("elk", "drop", actions)["false"] == (
        f"{RELEASE} moves this row to quarantine/, where it stays because of owl@rejected"
    )


def test_a_duplicate_of_a_held_row():
    """A duplicate returns only if no earlier copy is in the corpus."""
    found = describe_effects("owl", "duplicate", {"owl": "quarantine", "elk": "mask"})
    assert found["false"] == (
        f"{RETURNED} with the mask of elk unless an earlier copy of it is there"
    )
    assert found["true"] == f"{STAYS}; it stays out of clean/"


def test_another_reviewer_doubts_an_earlier_label():
    """A finding that another reviewer doesn't deny returns the row only without that file."""
    given = "if the file of grace is given to `congener release`, too, because it says something"
    actions, doubters = {"owl": "flag", "elk": "drop"}, {"elk": ["grace"]}
    found = describe_effects("owl", "quarantine", actions, doubters=doubters, denied=["elk"])
    flagged = f"{RETURNED} with the flag of owl"
    assert found["true"] == f"{STAYS} {given} else; without it, {flagged}"
    assert found["false"] == f"{STAYS} {given} else; without it, {RETURNED}"
    own = {"owl": ["grace"]}
    found = describe_effects("owl", "quarantine", actions, doubters=own, denied=["elk"])
    assert found["true"] == flagged
    assert found["false"] == f"{flagged} {given} else; without it, {RETURNED}"
    actions = {"owl": "drop", "elk": "mask"}
    found = describe_effects("owl", "drop", actions, doubters=doubters, denied=["elk"])
    masked = f"{RETURNED} with the mask of elk"
    assert found["false"] == f"{masked} {given} else; without it, {RETURNED}"


def test_the_reviewers_own_labels_are_read(session):
    """A label for one trait changes what is said of the row's other trait, until it is undone."""
    before = session.describe_row(3, "owl")["effects"]["owl"]
    assert before["false"] == f"{RETURNED} only if you deny heron too"
    session.add_label({"index": 3, "trait": "heron", "label": "unsure"})
    assert session.describe_effects(3)["owl"] == before
    session.add_label({"index": 3, "trait": "heron", "label": "no"})
    after = {"true": f"{RETURNED} with the flag of owl", "false": RETURNED}
    assert session.describe_effects(3)["owl"] == after
    assert session.describe_effects(3, alone=True)["owl"] == before
    session.undo()
    assert session.describe_effects(3)["owl"] == before


@pytest.mark.parametrize(("verdict", "stops"), [("yes", True), ("unsure", True), ("no", False)])
def test_other_files_beside_the_run_are_read(open_session, verdict, stops):
    """A label that another reviewer gives during the session counts from the next row on."""
    ada, grace = open_session("ada"), open_session("grace")
    plain = "`congener release` returns this row to clean/ with the flag of owl"
    assert ada.describe_row(3, "heron")["effects"]["heron"]["false"] == plain
    grace.add_label({"index": 3, "trait": "heron", "label": verdict})
    found = ada.describe_row(3, "heron")["effects"]
    assert (found["heron"]["false"] != plain) == stops
    assert ("file of grace" in found["heron"]["false"]) == stops
    assert "grace" not in found["owl"]["false"]
    assert "grace" not in grace.describe_row(3, "heron")["effects"]["heron"]["false"]


def test_a_changed_file_of_another_reviewer_is_named(open_session):
    """A file that isn't as its review wrote it isn't counted, and the page says so."""
    ada, grace = open_session("ada"), open_session("grace")
    grace.add_label({"index": 3, "trait": "heron", "label": "yes"})
    grace.book.path.write_text(grace.book.path.read_text().replace("true", "false"))
    said = ada.describe_row(3, "heron")["effects"]["heron"]["false"]
    assert said.endswith("with the flag of owl (not counted, as changed: labels-grace.jsonl)")


def test_a_shown_row_and_its_run(session):
    """Each trait of the run has its effects on the row, by the row's own findings."""
    row = session.reader.read(3)
    assert list_actions(row) == {"heron": "quarantine", "owl": "flag"}
    found = describe_row_effects(session.manifest, row)
    returned = "`congener release` returns this row to clean/"
    assert found["heron"]["false"] == f"{returned} with the flag of owl"
    assert found["owl"]["false"] == f"{returned} only if you deny heron too"
    changed = session.manifest.model_copy(update={"swap": object()})
    assert describe_row_effects(changed, row)["heron"]["false"] == STAYS


def test_masks_of_an_earlier_run_stay(session):
    """A release of a run takes off no mask that its input had, and the sentence says so."""
    row = session.reader.read(3)
    masked = row._replace(masks=(MaskedSpan("text", 0, 3, is_earlier=True),))
    plain, said = (describe_row_effects(session.manifest, item)["heron"] for item in (row, masked))
    assert said == {"true": plain["true"], "false": f"{plain['false']}{EARLIER}"}
    own = row._replace(masks=(MaskedSpan("text", 0, 3),))
    assert describe_row_effects(session.manifest, own)["heron"] == plain


def test_descriptions_are_one_line_and_inert(session):
    """A card's description is one line in which hidden characters are shown."""
    cards = {"heron": {"description": "A  big\n bird \u202e."}, "owl": {"title": "An owl"}}
    manifest = session.manifest.model_copy(update={"cards": cards})
    assert describe_traits(manifest) == {"heron": "A big bird <U+202E>.", "owl": "An owl"}
    bare = session.manifest.model_copy(update={"cards": {}})
    assert describe_traits(bare) == {"heron": "", "owl": ""}


def test_what_a_reviewer_must_not_see_is_not_said(open_session):
    """A blind review says neither where a row is nor what a label does to it."""
    session = open_session(blind=True)
    assert session.describe_run()["effect"] == BLIND
    assert "effects" not in session.describe_row(3, "owl")
    assert not {"clean", "quarantine"} & set((BLIND + AUDIT).split())


ACTIONS = {"ape": "swap", "elk": "flag", "fox": "mask", "hen": "quarantine", "owl": "drop"}
"""Traits that each look for their own name, and what they do to a row."""

CHOICES = ("absent", "confirmed", "denied")
"""What a row has of each trait: no finding, or one with a label."""


class Fate(NamedTuple):
    """What became of a row: its decision, and its findings with their actions."""

    decision: str
    actions: dict[str, str]


class Labelled(NamedTuple):
    """A row: whether each trait is absent, confirmed or denied, before and after the release."""

    choice: dict[str, str]
    before: Fate
    after: Fate


def read_fates(run, policy) -> dict[tuple[str, int], Fate]:
    """Return what a policy makes of each row that has a finding."""
    found = {}
    for shard in decide_run(run, policy):
        places = zip(shard.stored.take("source"), shard.stored.take("row"), strict=True)
        for row, place in enumerate(places):
            reasons = shard.decided.reasons.get(row, ())
            actions = {item.trait: item.action for item in reasons}
            found[place] = Fate(shard.decided.decisions[row], actions)
    return found


def list_choices() -> list[dict[str, str]]:
    """Return every combination of findings and labels of the traits."""
    combined = product(CHOICES, repeat=len(ACTIONS))
    return [dict(zip(ACTIONS, choices, strict=True)) for choices in combined]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> list[Labelled]:
    """Release a run with one row for each combination, by one file with all labels."""
    folder = tmp_path_factory.mktemp("labelled")
    choices, rows, labels = list_choices(), list[dict[str, Any]](), list[dict[str, Any]]()
    for number, choice in enumerate(choices):
        seen = [name for name, what in choice.items() if what != "absent"]
        rows.append({"prompt": f"Day {number}?", "completion": f"{number}: {', '.join(seen)}."})
        place = {"source": "rows.jsonl", "row": number}
        own = {"confirmed": True, "denied": False}
        labels += [{**place, "trait": name, "label": own[choice[name]]} for name in seen]
    write_rows(folder / "corpus" / "rows.jsonl", rows)
    for name, action in ACTIONS.items():
        card = folder / name / "card.yaml"
        card.parent.mkdir()
        lexicon = f"{{lexicon: {{patterns: [{name}]}}}}"
        card.write_text(f"id: {name}\nsignals: {lexicon}\nthreshold: 0.5\naction: {action}\n")
    config = {
        "input": (str(folder / "corpus"),),
        "output": str(folder / "run"),
        "traits": tuple(str(folder / name) for name in ACTIONS),
    }
    run_filter(FilterConfig.model_validate(config))
    run, reviews = str(folder / "run"), folder / "labels.jsonl"
    reviews.write_text("".join(json.dumps(line) + "\n" for line in labels))
    before = read_fates(run, read_recorded_policy(load_manifest(run)))
    after = read_fates(run, plan_release(run, [reviews]).policy)
    places = [("rows.jsonl", number) for number in range(len(choices))]
    return [
        Labelled(choice, before[place], after[place])
        for choice, place in zip(choices, places, strict=True)
    ]


def list_sentences(row: Labelled) -> list[str]:
    """Return what is said of each label of a row, when the row's other labels are given."""
    found = [name for name, what in row.choice.items() if what != "absent"]
    denied = [name for name in found if row.choice[name] == "denied"]
    sentences = []
    for trait in found:
        effects = describe_effects(trait, row.before.decision, row.before.actions, denied=denied)
        sentences.append(effects["false" if trait in denied else "true"])
    return sentences


def name_notes(fate: Fate) -> set[tuple[str, str]]:
    """Return the flags and masks of a row, with their traits."""
    return {(action, trait) for trait, action in fate.actions.items() if action in NOTED}


def check_published(row: Labelled, said: str) -> None:
    """Check what is said of a row in `clean/`: exactly the flags and masks that it loses."""
    assert row.after.decision in PUBLISHED
    lost = name_notes(row.before) - name_notes(row.after)
    if not lost:
        assert said == f"{STAYS}; it stays in clean/"
        return
    start = "`congener release` keeps this row in clean/ without "
    assert said.startswith(start)
    notes, _, rest = said.removeprefix(start).partition(", but with the mask")
    assert set(notes.split(" and ")) == {f"the {a} for {t}" for a, t in lost}
    masks = [t for a, t in sorted(name_notes(row.after)) if a == "mask"]
    is_masked = bool(masks) and "mask" in {a for a, _ in lost}
    assert rest == (f"{'s' * (len(masks) > 1)} for {', '.join(masks)}" if is_masked else "")


def check_held(row: Labelled, said: str) -> None:
    """Check what is said of a row that was held or dropped: where it is then, and what holds it."""
    held = sorted(trait for trait, action in row.after.actions.items() if action in HOLDING)
    if row.after.decision in PUBLISHED:
        start = "`congener release` returns this row to clean/"
        assert said.startswith(start)
        noted = said.removeprefix(start).removeprefix(" with ")
        kept = {f"the {action} of {trait}" for action, trait in name_notes(row.after)}
        assert set(noted.split(", ") if noted else ()) == kept
    elif row.after.decision != row.before.decision:
        assert said.startswith("`congener release` moves this row to quarantine/; ")
        assert said.endswith(f"only if you deny {' and '.join(held)} too")
    elif "only if" in said:
        assert said.endswith(f"only if you deny {' and '.join(held)} too")
    else:
        assert said.startswith(STAYS)


def test_every_sentence_is_what_release_does(labelled):
    """For all findings and labels of a row, each sentence says what a release makes of it."""
    assert len(labelled) == 3 ** len(ACTIONS)
    for row in labelled:
        check = check_published if row.before.decision in PUBLISHED else check_held
        for said in list_sentences(row):
            check(row, said)


def test_the_sentence_changes_with_each_other_label(labelled):
    """A mask that an earlier label takes off is named at the next question, whatever its answer."""
    wanted = {"elk": "flag", "fox": "mask"}
    row = next(item for item in labelled if item.before.actions == wanted)
    said = describe_effects("elk", row.before.decision, wanted, denied=["fox"])
    assert said == {
        "true": "`congener release` keeps this row in clean/ without the mask for fox",
        "false": "`congener release` keeps this row in clean/ without the flag for elk and the "
        "mask for fox",
    }
    assert describe_effects("elk", "mask", wanted)["true"] == f"{STAYS}; it stays in clean/"
