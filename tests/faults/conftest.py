"""The fixture that starts runs in child processes."""

from collections.abc import Iterator

import pytest

from tests.faults.sandbox import Nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Start a warm process for a module's tests."""
    found = Nursery()
    yield found
    found.close()
