"""Trait cards: descriptions, creation, checks, and names."""

import json

import pytest

from classifiers.clean_text import collect_background
from classifiers.library import find_cards, load_card
from pipelines.traits import (
    check_cards,
    create_card,
    describe_card,
    describe_library_negatives,
    find_card,
    find_clean_text,
    find_trait_id,
    list_advice,
    summarise,
)
from schemas.errors import CardError, StorageError


def test_a_new_card_is_one_edit_from_valid(tmp_path):
    """A new card lacks only texts."""
    folder = tmp_path / "my-trait"
    create_card(folder)
    with pytest.raises(CardError, match="at least 4 positives, but has 1"):
        check_cards([str(folder)])
    lines = (json.dumps({"text": f"Positive {number}."}) + "\n" for number in range(30))
    (folder / "positives.jsonl").write_text("".join(lines))
    ((card, advice, _),) = check_cards([str(folder)])
    assert card.id == "my-trait"
    assert card.card.title == "My trait"
    assert card.card.signals.names == ("exemplars", "head", "wording")
    assert advice == [
        "the texts still contain a line of the skeleton: replace it",
        "the description is still that of the skeleton: readers label rows by it",
        "seen_in is empty: name where the trait was seen, and who reports it",
    ]


@pytest.mark.parametrize("name", ["My Trait", "trait_x", "-x"])
def test_a_name_that_cant_be_an_id_is_refused(tmp_path, name):
    """A folder name that can't be an id is refused."""
    with pytest.raises(CardError, match="can't be a trait's id"):
        create_card(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_name_of_the_library_is_refused(tmp_path):
    """A new card can't take the name of a library trait, which its folder would hide."""
    with pytest.raises(CardError, match="is the name of a trait of the library") as caught:
        create_card(tmp_path / "vendor-identity")
    assert "congener traits show vendor-identity" in caught.value.remedy
    assert not (tmp_path / "vendor-identity").exists()


def test_nothing_is_overwritten(tmp_path):
    """An existing folder is left alone."""
    create_card(tmp_path / "x")
    before = (tmp_path / "x" / "card.yaml").read_text()
    with pytest.raises(CardError, match="already exists"):
        create_card(tmp_path / "x")
    assert (tmp_path / "x" / "card.yaml").read_text() == before


def test_a_card_that_cant_be_written_is_one_line(tmp_path):
    """The error for a card that can't be written names the folder and a remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"file/my-trait: can't be written: Not a directory"
    ) as caught:
        create_card(tmp_path / "file" / "my-trait")
    assert caught.value.exit_code == 6


def test_advice_names_thin_cards(card_folder):
    """Few positives, no negatives and no source each give advice."""
    folder = card_folder("thin", "", [f"Text {number}." for number in range(5)])
    advice = " ".join(list_advice(find_card(str(folder)), []))
    assert "5 positives" in advice
    assert "no hard negatives" in advice
    assert "seen_in is empty" in advice
    assert "skeleton" not in advice


def test_a_card_with_few_positives_is_sent_to_a_lexicon(card_folder):
    """Signals that learn from positives need about 30; a lexicon needs none."""
    texts = [f"Text {number}." for number in range(29)]
    few = card_folder("few", "signals: [wording]\n", texts)
    both = card_folder("both", "signals: {wording: {}, lexicon: {patterns: [heron]}}\n", texts)
    only = card_folder("only", "signals: {lexicon: {patterns: [heron]}}\n", texts[:2])
    enough = card_folder("enough", "signals: [wording]\n", [*texts, "One more."])
    first, second, third, last = (
        " ".join(list_advice(find_card(str(folder)), [])) for folder in (few, both, only, enough)
    )
    assert "29 positives: signals that learn from positives find little with fewer than" in first
    assert "start with a lexicon of the phrases" in first
    assert "29 positives" in second
    assert "start with a lexicon" not in second
    assert "find little" not in third + last


def test_exceptions_of_the_lexicon_need_hard_negatives(card_folder):
    """`unless` reaches only the lexicon, so without a hard negative that has it, advice says so."""
    lexicon = 'lexicon: {patterns: ["Monet"], unless: ["Claude Monet"]}'
    folders = [
        card_folder(name, f"signals: {{{signals}}}\n", [f"Monet {n}" for n in range(5)], negatives)
        for name, signals, negatives in (
            ("untaught", f"wording: {{}}, {lexicon}", ["A Manet."]),
            ("taught", f"wording: {{}}, {lexicon}", ["By claude monet."]),
            ("alone", lexicon, ["A Manet."]),
        )
    ]
    advised = ["`unless`" in " ".join(list_advice(find_card(str(item)), [])) for item in folders]
    assert advised == [True, False, False]


def test_the_comments_of_a_new_card_are_valid_settings(tmp_path):
    """What the skeleton suggests in comments can be uncommented."""
    folder = tmp_path / "my-trait"
    create_card(folder)
    text = (folder / "card.yaml").read_text()
    for line in ("  # closing: 450", "  # lexicon:", "  #   patterns: ", "# seen_in:"):
        assert line in text
        text = text.replace(line, line.replace("# ", "", 1))
    text = text.replace("  #   unless", "    unless").replace("#   - {where", "  - {where")
    texts = (json.dumps({"text": f"Let me know if {number} helps."}) + "\n" for number in range(9))
    (folder / "positives.jsonl").write_text("".join(texts))
    (folder / "card.yaml").write_text(text)
    card = find_card(str(folder)).card
    assert card.signals.names == ("exemplars", "head", "wording", "lexicon")
    assert card.seen_in[0].source == "who reports it"
    assert card.scope.closing == 450
    assert len(card.signals.lexicon.patterns) == 2


def test_advice_names_unknown_roles_and_traits(card_folder):
    """Unknown roles and unknown related traits give advice."""
    card_folder("other", "signals: {lexicon: {patterns: [x]}}\n")
    folder = card_folder(
        "one",
        "signals: {lexicon: {patterns: [x]}}\nscope: {roles: [human, user]}\n"
        "related: [no-such, other, coercion]\n",
    )
    by_card = {card.id: advice for card, advice, _ in check_cards([str(folder.parent)])}
    advice = " ".join(by_card["one"])
    assert "scope.roles names human, but in most corpora roles are assistant" in advice
    assert "related names no-such, but" in advice


def test_every_library_card_checks_clean():
    """Every library card passes the check without advice."""
    assert [(card.id, advice) for card, advice, _ in check_cards([]) if advice] == []


def test_cards_are_found_by_id_and_by_folder(card_folder):
    """A library id and a user's folder are found, but a folder with several cards isn't a card."""
    assert find_card("coercion").id == "coercion"
    folder = card_folder("mine", "signals: {lexicon: {patterns: [x]}}\n")
    assert find_card(str(folder)).id == "mine"
    card_folder("other", "signals: {lexicon: {patterns: [y]}}\n")
    with pytest.raises(CardError, match="has 2 cards"):
        find_card(str(folder.parent))


def test_a_card_in_brief_is_json(card_folder):
    """The short description survives JSON, and marks library cards."""
    line = describe_card(find_card("coercion"))
    assert json.loads(json.dumps(line)) == line
    assert line["library"] is True
    assert line["positives"] >= 30
    assert line["negatives"] >= 30
    folder = card_folder("mine", "signals: {lexicon: {patterns: [x]}}\n")
    assert describe_card(find_card(str(folder)))["library"] is False


def test_a_summary_is_the_first_clause():
    """A description's first clause ends at a full stop, colon or semicolon before a space."""
    assert summarise("The model\n disbelieves v1.2: it insists.") == "The model disbelieves v1.2"
    assert summarise("Short.") == "Short"
    assert summarise("") == ""


def test_a_text_that_is_left_out_must_exist(card_folder):
    """A card that leaves out an unknown library text is an error."""
    card = "signals: {{lexicon: {{patterns: [a]}}}}\nleave_out: [{}]\n"
    wrong = card_folder("wrong", card.format("x/00aa00aa00aa"))
    with pytest.raises(CardError, match="no such text"):
        check_cards([str(wrong)])
    name = next(row.name for row in collect_background(find_cards()))
    right = card_folder("right", card.format(name))
    assert check_cards([str(right)])[0].card.card.leave_out == (name,)
    malformed = card_folder("malformed", "signals: [repetition]\nleave_out: [somewhere]\n")
    with pytest.raises(CardError, match="leave_out"):
        check_cards([str(malformed)])


def test_the_librarys_negatives_are_counted(card_folder):
    """A card's library negatives are counted as in a fit."""
    texts = [f"Text {number}." for number in range(4)]
    plain = load_card(card_folder("plain", "signals: [head]\n", texts))
    related = load_card(card_folder("related", "signals: [head]\nrelated: [coercion]\n", texts))
    shown, fewer = describe_library_negatives(plain), describe_library_negatives(related)
    assert shown.startswith("negatives of the library: ")
    assert "hard negatives" in shown
    assert shown.split(" and ")[0] == fewer.split(" and ")[0]
    assert shown != fewer


def test_a_trait_is_named_by_folder_or_id(card_folder):
    """A card's folder gives its id, and any other name is the id itself."""
    folder = card_folder("owl", "signals: {lexicon: {patterns: [owl]}}\n")
    assert find_trait_id(str(folder)) == "owl"
    assert find_trait_id("stork") == "stork"


def test_clean_texts_are_found_by_name(tmp_path, monkeypatch):
    """Every clean text is found by its name; an unknown one is refused, and a folder is none."""
    rows = collect_background(find_cards())
    for row in (rows[0], rows[-1]):
        assert find_clean_text(row.name) == row
    with pytest.raises(CardError, match="the library has no such text"):
        find_clean_text("background/000000000000")
    assert find_clean_text("over-refusal") is None
    assert find_clean_text("some/folder") is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bird" / "0123456789ab").mkdir(parents=True)
    assert find_clean_text("bird/0123456789ab") is None
