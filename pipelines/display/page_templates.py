"""The environment in which all pages are rendered: everything that they show is escaped."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipelines.display.terminal import escape_controls


def build_environment() -> Environment:
    """Return an environment that escapes markup and control characters in every value.

    A name that a template uses and that isn't given is an error.
    """
    return Environment(
        loader=PackageLoader("pipelines.display"),
        autoescape=True,
        finalize=_escape_hidden,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _escape_hidden(value: object) -> object:
    """Escape control characters in a value that a page shows."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_controls(value)
    return value
