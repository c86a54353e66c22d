"""Fixtures that every test may use: the real encoder, a cache of the session's own, trait folders, the repository's place."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub client is imported: no test may reach a network

import pytest
import torch
from hypothesis import settings

from classifiers.models.encoders import Encoder, EncoderConfig, load_encoder

settings.register_profile(
    "congener", settings.default, deadline=None
)  # the first example pays for imports and caches
settings.load_profile("congener")

torch.set_num_threads(
    1
)  # workers share the cores, and on tensors this small threads only wait for each other

CardFolder = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep fitted banks in a folder of this session, so that no test sees what another run left behind."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONGENER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the repository's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(root: Path) -> Path:
    """Return the folder of real text that lies beside the repository, or skip."""
    folder = root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real text of ../shared/data isn't on this machine")
    return folder


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """Load the default encoder on the CPU, once a session."""
    return load_encoder(EncoderConfig(device="cpu"))


@pytest.fixture
def card_folder(tmp_path: Path) -> CardFolder:
    """Return a function that writes a trait folder below `tmp_path / "traits"` and returns it.

    `card` is YAML below the id; `positives` and `negatives` are texts, of which none writes no file.
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
