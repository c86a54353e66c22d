"""Fixtures for all tests: the encoder, a cache, trait folders and the root."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # set before importing the hub client: tests run offline

import pytest
import torch
from hypothesis import settings

from classifiers.models.encoders import Encoder, load_encoder
from classifiers.models.interface import EncoderConfig
from tests.support.keys import KEY

# Examples have no deadline, because the first example also pays for imports and caches. The usual
# profile tries the same examples every time, so a failure belongs to a change. `make explore`
# tries new ones.
settings.register_profile("congener", settings.default, deadline=None, derandomize=True)
settings.register_profile("explore", settings.default, deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "congener"))

# Test processes share the cores, so more threads would mostly wait.
torch.set_num_threads(1)

CardFolder = Callable[..., Path]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in captured output, since test processes can't exchange them."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Cache fitted banks in a session's folder, or in CONGENER_TEST_CACHE.

    Without that variable, no test sees banks of earlier sessions.
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
    """Return the folder of real text, or skip the test."""
    folder = root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("there is no real text in ../shared/data on this machine")
    return folder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """Load the default encoder on the CPU, once per session."""
    return load_encoder(EncoderConfig(device="cpu"))


@pytest.fixture
def card_folder(tmp_path: Path) -> CardFolder:
    """Return a function that writes a trait folder below `tmp_path` and returns its path.

    `card` is YAML without the id. An empty list of texts writes no file.
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


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Return the path of a file with `KEY` and a line break."""
    path = tmp_path / "digest.key"
    path.write_bytes(KEY + b"\n")
    return str(path)
