"""Digest keys: their sources, and refused keys."""

from __future__ import annotations

import pytest

from schemas.errors import CardError, InputError
from tests.support.keys import KEY
from transforms.digest_keys import DigestKey, check_key, read_key, settle_key


def test_a_key_comes_from_a_file_or_a_variable(key_file, monkeypatch):
    """White space around a key is ignored."""
    monkeypatch.setenv("CONGENER_TEST_KEY", f" {KEY.decode()}\n")
    assert read_key(key_file) == read_key("env:CONGENER_TEST_KEY") == KEY
    settled = settle_key(key_file)
    assert settled == DigestKey(key_file, check_key(KEY))
    assert settled.read() == KEY
    assert settle_key(None) is None


def test_a_key_that_is_absent_or_guessable_is_refused(tmp_path, monkeypatch):
    """The error for a missing or short key says how to make one."""
    monkeypatch.delenv("CONGENER_TEST_KEY", raising=False)
    with pytest.raises(CardError, match=r"has a key of 0 bytes(.|\n)*openssl rand"):
        read_key("env:CONGENER_TEST_KEY")
    (tmp_path / "short").write_bytes(b"secret\n")
    with pytest.raises(CardError, match="has a key of 6 bytes; it needs 16"):
        read_key(str(tmp_path / "short"))
    with pytest.raises(InputError, match="nowhere: can't be opened"):
        read_key(str(tmp_path / "nowhere"))


def test_another_key_is_refused(key_file):
    """A worker with another key stops."""
    with pytest.raises(CardError, match="isn't the key"):
        DigestKey(key_file, check_key(b"another key of thirty-two bytes!")).read()
