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
    found = describe_effects("owl", "quarantine", actions, doubters=["grace", "linus"])
    assert found["false"] == (
        f"{STAYS} if the file of grace, linus is given to `congener release`, too, because it says "
        "something else; without it, `congener release` returns this row to clean/"
    )
    assert found["true"] == describe_effects("owl", "quarantine", actions)["true"]
    kept = describe_effects("owl", "keep", {"owl": "keep"}, doubters=["grace"])
    assert kept["false"] == f"{STAYS}; it is in clean/ already"


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
