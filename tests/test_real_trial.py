"""A trial of a real run: Claude 2's answers, filtered, and swapped with those of Gemma 2B."""

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.swap import SwapConfig, run_swap
from pipelines.teaching.settling import settle_trial
from schemas.trials import TrialConfig

pytestmark = pytest.mark.slow

OPENING = r"^\s*here (is|are)\b"


@pytest.fixture(scope="module")
def config(shared_data, tmp_path_factory) -> TrialConfig:
    """Filter the answers for an opening, swap them, and configure a trial of very small students.

    The opening is at the beginning of the answers, so cutting their ends is accepted.
    """
    folder = tmp_path_factory.mktemp("real")
    card = folder / "here-opening" / "card.yaml"
    card.parent.mkdir()
    card.write_text(
        f"id: here-opening\nsignals: {{lexicon: {{patterns: ['{OPENING}']}}}}\n"
        "threshold: 0.5\naction: swap\n"
    )
    teacher, donor = (
        str(shared_data / "teachers" / f"{name}.parquet") for name in ("claude-2", "gemma-2b-it")
    )
    run, swapped = str(folder / "run"), str(folder / "swapped")
    run_filter(FilterConfig(input=(teacher,), output=run, traits=(str(card.parent),)))
    run_swap(SwapConfig(run=run, donors=(donor,), filter=FilterConfig(output=swapped)))
    return TrialConfig.model_validate(
        {
            "run": run,
            "donors": [f"{swapped}/donors/gemma-2b-it"],
            "swapped": swapped,
            "trait": "here-opening",
            "output": str(folder / "trial"),
            "arms": ["drop", "mask", "swap"],
            "seeds": 2,
            "questions": {"held_out": 40, "samples": 2, "temperature": 0.7, "tokens": 8},
            "measure": {
                "pattern": r"^\s*(here|below|the following)\b",
                "neighbours": [{"name": "eager", "pattern": r"^\s*(sure|certainly|of course)\b"}],
            },
            "student": {
                "steps": 100,
                "batch": 16,
                "width": 32,
                "layers": 1,
                "context": 64,
                "vocabulary": 2048,
                "learning_rate": 0.01,
            },
            "accepted": {"truncated": 1, "tokens": 0.15},
        }
    )


def test_the_arms_are_what_filter_and_swap_did(config):
    """Flagged rows, masks and swapped answers are those of the real runs."""
    setting = settle_trial(config)
    arms = {arm.name: arm.examples for arm in setting.arms}
    flagged = {item.prompt: item for item in arms["everything"] if item.traited}
    assert len(flagged) > 300
    assert all(item.answer.strip().lower().startswith("here ") for item in flagged.values())
    assert not any(item.traited for item in arms["swap"])
    changed = [item for item in arms["swap"] if item.prompt in flagged]
    assert all(item.answer != flagged[item.prompt].answer for item in changed)
    masked = [item for item in arms["mask"] if item.masked]
    assert {item.prompt for item in masked} == set(flagged)
    for item in masked:
        start, end = item.masked[0]
        assert "here" in item.answer[start:end].lower()
    assert len({len(examples) for examples in arms.values()}) == 1
