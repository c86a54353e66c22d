"""traits: list, show, scaffold, check."""

import json

import pytest

from pipelines.traits import advice, check, describe, scaffold, show
from schemas.errors import CardError, StorageError


def test_a_scaffold_is_one_edit_from_valid(tmp_path):
    """A new card says itself what is missing; with texts it checks clean but for advice."""
    folder = tmp_path / "my-trait"
    scaffold(folder)
    with pytest.raises(CardError, match="at least 4 positives, has 1"):
        check([str(folder)])
    (folder / "positives.jsonl").write_text(
        "".join(json.dumps({"text": f"Positive {place}."}) + "\n" for place in range(12))
    )
    ((card, notes),) = check([str(folder)])
    assert card.id == "my-trait"
    assert notes == ["the scaffold's own line is still among the texts"]


@pytest.mark.parametrize("name", ["My Trait", "trait_x", "-x"])
def test_a_name_that_is_no_id_is_refused(tmp_path, name):
    """A folder whose name can't be an id isn't made."""
    with pytest.raises(CardError, match="can't be a trait's id"):
        scaffold(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_nothing_is_scaffolded_over(tmp_path):
    """An existing folder is left alone."""
    scaffold(tmp_path / "x")
    with pytest.raises(CardError, match="there already"):
        scaffold(tmp_path / "x")


def test_a_card_that_cant_be_written_is_one_line(tmp_path):
    """Below a file no folder can be made: the error names the folder and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"file/my-trait: can't be written: Not a directory"
    ) as caught:
        scaffold(tmp_path / "file" / "my-trait")
    assert caught.value.exit_code == 6


def test_advice_names_what_is_thin(card_folder):
    """Few positives, no negatives, no source: each is said."""
    folder = card_folder("thin", "", [f"Text {place}." for place in range(5)])
    notes = " ".join(advice(show(str(folder)), []))
    assert "5 positives" in notes
    assert "no hard negatives" in notes
    assert "seen_in is empty" in notes


def test_names_that_mean_nothing_are_told(card_folder):
    """A role that no format gives a turn, and a related trait that isn't there, are said; those that are there aren't."""
    card_folder("other", "signals: {lexicon: {patterns: [x]}}\n")
    folder = card_folder(
        "one",
        "signals: {lexicon: {patterns: [x]}}\nscope: {roles: [human, user]}\nrelated: [no-such, other, coercion]\n",
    )
    notes = " ".join({card.id: notes for card, notes in check([str(folder.parent)])}["one"])
    assert "scope.roles names human: roles are assistant" in notes
    assert "tool calls" not in notes
    assert "related names no-such, which" in notes


@pytest.mark.parametrize(("quoted", "told"), [("ignore", True), ("count", False)])
def test_a_lexicon_that_is_blind_to_tool_calls_is_told(card_folder, quoted, told):
    """Whatever stands in JSON is quoted, so that a lexicon that ignores quotations finds nothing there."""
    folder = card_folder(
        "one",
        f"signals: {{lexicon: {{patterns: [x], quoted: {quoted}}}}}\nscope: {{channels: [tool]}}\n",
    )
    ((_, notes),) = check([str(folder)])
    assert any("finds nothing in tool calls" in note for note in notes) == told


def test_every_library_card_checks_clean():
    """The library follows its own advice."""
    assert [(card.id, notes) for card, notes in check([]) if notes] == []


def test_show_by_id_and_by_folder(card_folder):
    """A library trait and a user's folder are both shown; several at once aren't."""
    assert show("coercion").id == "coercion"
    folder = card_folder("mine", "signals: {lexicon: {patterns: [x]}}\n")
    assert show(str(folder)).id == "mine"
    card_folder("other", "signals: {lexicon: {patterns: [y]}}\n")
    with pytest.raises(CardError, match="holds 2 cards"):
        show(str(folder.parent))


def test_description_for_machines():
    """The list's fields, as JSON."""
    line = json.loads(json.dumps(describe(show("coercion"))))
    assert line["library"] is True
    assert line["positives"] >= 30
    assert line["negatives"] >= 30
