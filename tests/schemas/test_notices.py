"""Notices: a sentence and its severity."""

from schemas.notices import Notice, warn


def test_a_notice_is_its_sentence():
    """A notice without a severity is written as plain text."""
    notice = Notice("There is no removal budget.")
    assert str(notice) == notice.text == "There is no removal budget."
    assert notice.severity == "info"


def test_a_warning_is_marked():
    """A warning is written with a mark before its text, and its text is without it."""
    notice = warn("There is no removal budget.")
    assert notice == Notice("There is no removal budget.", "warning")
    assert str(notice) == f"warning: {notice.text}"
