"""doctor: what is installed, and what is missing."""

import sys

from pipelines import doctor


def test_this_environment_is_healthy():
    """Everything a run needs is here; the device line says which device."""
    checks = {check.name: check for check in doctor.examine()}
    assert [name for name, check in checks.items() if check.good is False] == []
    assert checks["device"].found.startswith(("cpu", "cuda"))
    assert "as pinned" in checks["encoder"].found


def test_a_missing_faiss_says_how_to_get_one(monkeypatch):
    """Without either FAISS wheel the remedy names both extras."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    check = doctor._faiss()
    assert check.good is False
    assert "congener[cpu]" in check.found
    assert "congener[gpu]" in check.found


def test_an_absent_extra_is_no_fault():
    """An object store's extra that isn't installed is said, and is no error."""
    assert doctor._extra("gcp", "no-such-package").good is None


def test_an_encoder_that_must_be_fetched_is_no_fault(monkeypatch):
    """Without the packaged encoder and a hub cache, doctor says that the first run fetches it."""
    from classifiers.models import checkpoints
    from schemas.errors import ModelError

    def absent(*_):
        raise ModelError("not here")

    monkeypatch.setattr(checkpoints, "find_model", absent)
    check = doctor._encoder()
    assert check.good is None
    assert "fetches it" in check.found
