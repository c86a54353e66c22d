"""What starts runs in processes of their own."""

from collections.abc import Iterator

import pytest

from tests.faults.sandbox import Nursery


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Start a warm process for a module's tests."""
    found = Nursery()
    yield found
    found.close()
