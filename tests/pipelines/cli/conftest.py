"""The command line, run in this process."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.cli import main as cli
from tests.pipelines.review.conftest import answers, answers_once, open_session

__all__ = ["answers", "answers_once", "open_session"]  # fixtures for this folder's tests


@pytest.fixture
def congener(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command and returns its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["congener", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def congener_json(congener) -> Callable[..., Any]:
    """Return a function that runs a command with --json and parses the output."""

    def call(*arguments: str) -> Any:
        code, out, err = congener(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call
