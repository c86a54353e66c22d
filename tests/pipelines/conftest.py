"""A small corpus with known quirks, a lexicon trait that finds them, and runs over both."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from schemas.manifests import Manifest
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Write 40 rows in two files; every fifth answer mentions a heron."""
    for part in range(2):
        rows = [
            build_conversation(place, ANSWERS[place % 5]) for place in range(part * 20, part * 20 + 20)
        ]
        write_rows(tmp_path / "corpus" / f"{part}.jsonl", rows)
    return tmp_path / "corpus"


@pytest.fixture
def heron(card_folder) -> Path:
    """Write a trait that fires on herons."""
    return card_folder("heron", CARD)


@pytest.fixture
def config(corpus: Path, heron: Path, tmp_path: Path) -> FilterConfig:
    """Configure a run over the corpus, in shards of seven rows."""
    return FilterConfig.model_validate(
        {
            "input": (str(corpus),),
            "output": str(tmp_path / "run"),
            "traits": (str(heron),),
            "shards": {"rows": 7},
        }
    )


@pytest.fixture
def policy(tmp_path: Path) -> Callable[[str], str]:
    """Return what writes a policy file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "policy.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def run(config: FilterConfig) -> tuple[Path, Manifest]:
    """Filter the corpus; return the run directory and its manifest."""
    return Path(config.output), run_filter(config)
