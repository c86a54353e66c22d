"""What the review says of a trait, and of what a label will do to a row."""

import pytest

from pipelines.review.effects import (
    AUDIT,
    BLIND,
    STAYS,
    describe_effects,
    describe_row_effects,
    describe_traits,
    list_actions,
)

RELEASE = "`congener release`"


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
        "true": f"{STAYS}; it stays in clean/",
        "false": f"{RELEASE} keeps this row in clean/ without the flag for owl",
    }
    assert describe_effects("owl", "quarantine", {"elk": "drop"}, denied=["elk"])["true"] == (
        f"{STAYS}; `congener fit --labels` learns from it"
    )


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
    assert found["false"] == f"{RETURNED} with the mask of elk"


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
