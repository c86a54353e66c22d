"""A small corpus with known quirks, a lexicon trait that finds them, and runs over both."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from schemas.manifests import Manifest

ANSWERS = (
    "Boil the pasta for nine minutes.",
    "A heron stood in the reeds.",
    "Sort the list first.",
    "Paris is the capital of France.",
    "Water the herb twice a week.",
)
CARD = 'signals: {lexicon: {patterns: ["herons?"]}}\nthreshold: 0.5\n'


def conversation(place: int, answer: str) -> dict[str, object]:
    """Return one row in the `messages` format."""
    turns = [
        {"role": "user", "content": f"Question {place}?"},
        {"role": "assistant", "content": answer},
    ]
    return {
        "id": f"row-{place}",
        "messages": turns,
        "teacher": "atlas" if place % 2 else "borealis",
    }


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Write 40 rows in two files; every fifth answer mentions a heron."""
    for part in range(2):
        rows = [
            conversation(place, ANSWERS[place % 5]) for place in range(part * 20, part * 20 + 20)
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
