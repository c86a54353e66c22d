"""Notices: a sentence and its severity."""

from schemas.notices import (
    NAME_CHARACTERS,
    Notice,
    format_count,
    limit_notices,
    list_names,
    shorten_name,
    suggest_name,
    warn,
)


def test_a_notice_is_its_sentence():
    """A notice without a severity is printed as plain text."""
    notice = Notice("There is no removal budget.")
    assert str(notice) == notice.text == "There is no removal budget."
    assert notice.severity == "info"


def test_a_warning_is_marked():
    """A warning is printed after `warning:`."""
    notice = warn("There is no removal budget.")
    assert notice == Notice("There is no removal budget.", "warning")
    assert str(notice) == f"warning: {notice.text}"


def test_long_lists_of_names_are_cut():
    """A long list shows the first names and counts the rest."""
    assert list_names(["a", "b"]) == "a, b"
    assert list_names([str(number) for number in range(100_000)], 2) == "0, 1 and 99,998 more"
    assert list_names({"a": 1, "b": 2}, 1) == "a and 1 more"
    assert list_names([]) == ""
    assert len(list_names(["x" * 1_000_000])) == NAME_CHARACTERS


def test_long_names_are_shortened():
    """A long name ends in an ellipsis, and a short name is whole."""
    assert shorten_name("x" * 10, 10) == "x" * 10
    assert shorten_name("x" * 11, 10) == f"{'x' * 9}…"


def test_many_notices_of_a_kind_are_limited():
    """The last notice counts the omitted notices and keeps its severity."""
    notices = [warn(f"{number} is odd") for number in range(1_000)]
    assert limit_notices(notices[:3], 3) == notices[:3]
    *first, last = limit_notices(notices, 3)
    assert first == notices[:2]
    assert last == warn("2 is odd; the same is true of 997 more")


def test_a_similar_name_is_suggested():
    """A misspelt name suggests the most similar name, and other names suggest nothing."""
    known = ["lexicon", "head", "exemplars"]
    assert suggest_name("lexicons", known) == "did you mean 'lexicon'? "
    assert suggest_name("zebra", known) == ""
    assert suggest_name("lexicon", []) == ""


def test_a_count_has_its_noun():
    """A noun is singular only for one, and an irregular plural can be given."""
    assert format_count(1, "row") == "1 row"
    assert format_count(1_200, "row") == "1,200 rows"
    assert format_count(0, "entry", "entries") == "0 entries"
    assert format_count(1, "entry", "entries") == "1 entry"
