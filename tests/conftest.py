"""Fixtures for all tests: the real encoder, a cache, trait folders and the repository's root."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub client is imported: no test may reach a network

import pytest
import torch
from hypothesis import settings

from classifiers.models.encoders import Encoder, EncoderConfig, load_encoder

# The first example of a test pays for imports and caches, so examples have no deadline.
settings.register_profile("congener", settings.default, deadline=None)
settings.load_profile("congener")

# Workers share the cores, and on tensors this small threads would mostly wait for each other.
torch.set_num_threads(1)

CardFolder = Callable[..., Path]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in captured output, which one test process can't send to another."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cache fitted banks in a folder of this session, or in CONGENER_TEST_CACHE if that is set.

    No test sees the banks of other runs unless the caller asks for it.
    """
    named = os.environ.get("CONGENER_TEST_CACHE")
    folder = Path(named) if named else tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONGENER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(root: Path) -> Path:
    """Return the folder of real text beside the repository, or skip the test."""
    folder = root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("there is no real text in ../shared/data on this machine")
    return folder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """Load the default encoder on the CPU, once in a session."""
    return load_encoder(EncoderConfig(device="cpu"))


@pytest.fixture
def card_folder(tmp_path: Path) -> CardFolder:
    """Return a function that writes a trait folder below `tmp_path / "traits"` and returns it.

    `card` is YAML without the id. `positives` and `negatives` are texts; without texts there is no
    file for them.
    """

    def write(
        name: str = "rain-talk",
        card: str = "",
        positives: Sequence[str] = (),
        negatives: Sequence[str] = (),
    ) -> Path:
        folder = tmp_path / "traits" / name
        folder.mkdir(parents=True)
        (folder / "card.yaml").write_text(f"id: {name}\n{card}", encoding="utf-8")
        for kind, texts in (("positives", positives), ("negatives", negatives)):
            if texts:
                lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
                (folder / f"{kind}.jsonl").write_text("".join(lines), encoding="utf-8")
        return folder

    return write
