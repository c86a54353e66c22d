"""The environment in which pages are rendered."""

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from pipelines.display.page_templates import build_environment


def render(source: str, **values: object) -> str:
    """Return a template's text."""
    return build_environment().from_string(source).render(**values)


def test_values_are_inert():
    """Markup and control characters in a value are shown, not obeyed."""
    page = render("<p>{{ text }}</p>", text="<script>\x1b[31m\u202e</script>")
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert page.startswith("<p>&lt;script&gt;")


def test_markup_of_our_own_stays():
    """Text that was made as markup is left as it is."""
    assert render("{{ text }}", text=Markup("<b>bold</b>")) == "<b>bold</b>"


def test_a_missing_name_is_an_error():
    """A template that uses a name that isn't given doesn't leave a gap."""
    with pytest.raises(UndefinedError, match="missing"):
        render("{{ missing }}")
