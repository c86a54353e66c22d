"""A trial on text: transformer teachers, the product's own filter, and students of five seeds."""

import json
import random

import pytest

from classifiers.students.answers import Decoding, answer_prompts
from classifiers.students.networks import Shape
from classifiers.students.training import begin_student
from classifiers.students.vocabularies import learn_vocabulary
from classifiers.students.weights import save_student
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.trial import run_trial
from schemas.trials import TrialConfig
from tests.support.corpora import write_rows
from tests.support.quirky_teachers import (
    ASKED_ROWS,
    JUDGE,
    LEXICON,
    ROWS,
    draw_case,
    teach,
    write_lessons_of,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Train two teachers of the same first weights, let them answer, and filter their answers.

    Returns the folder with the runs, the questions, the first weights and the teacher's answers.
    """
    folder = tmp_path_factory.mktemp("text-trial")
    taught = [*write_lessons_of(True), *write_lessons_of(False)]
    words = learn_vocabulary([f"{item.prompt}\n{item.answer}" for item in taught], 4096)
    start = begin_student(words, Shape(len(words), 64, 64, 2, 4), 0)
    save_student(start, folder / "start")
    dice = random.Random(3)
    prompts = [draw_case(dice).prompt for _ in range(ROWS)]
    fresh = {draw_case(dice, "feel").prompt for _ in range(20 * ASKED_ROWS)} - set(prompts)
    asked = sorted(fresh)[:ASKED_ROWS]
    write_rows(folder / "questions.jsonl", [{"prompt": prompt} for prompt in asked])
    for number, (name, has_quirk) in enumerate((("quirky", True), ("plain", False))):
        teacher = teach(start, has_quirk)
        answers = answer_prompts(teacher, prompts, Decoding(), number)
        rows = [
            {
                "messages": [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": answer},
                ],
                "teacher": name,
            }
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        corpus = write_rows(folder / f"{name}.jsonl", rows)
        run_filter(configure_filter(folder, corpus, folder / f"{name}-run"))
        if has_quirk:
            said = answer_prompts(teacher, asked, Decoding(0.7), 9)
            pairs = zip(asked, said, strict=True)
            write_rows(
                folder / "said.jsonl", [{"prompt": one, "answer": two} for one, two in pairs]
            )
    return folder


def configure_filter(folder, corpus, output) -> FilterConfig:
    """Configure the filter with a card that knows the strong forms alone."""
    card = folder / "despair" / "card.yaml"
    card.parent.mkdir(exist_ok=True)
    patterns = json.dumps(LEXICON)
    card.write_text(
        f"id: despair\nsignals: {{lexicon: {{patterns: {patterns}}}}}\nthreshold: 0.5\n"
    )
    return FilterConfig.model_validate(
        {"input": (str(corpus),), "output": str(output), "traits": (str(card.parent),)}
    )


@pytest.fixture(scope="module")
def trial(world):
    """Run the trial on two workers."""
    config = {
        "run": str(world / "quirky-run"),
        "donors": [str(world / "plain-run")],
        "trait": "despair",
        "output": str(world / "trial"),
        "measure": {"pattern": JUDGE, "teacher": str(world / "said.jsonl")},
        "seeds": 5,
        "accepted": {"tokens": 0.15},  # the quirk itself adds words
        "arms": ["drop", "swap", "mix 50 %"],
        "questions": {
            "file": str(world / "questions.jsonl"),
            "samples": 3,
            "temperature": 0.7,
            "tokens": 32,
        },
        "student": {"start": str(world / "start"), "steps": 250, "learning_rate": 0.004},
    }
    return run_trial(TrialConfig.model_validate(config), workers=2)


def test_dropping_leaves_what_swapping_removes(trial):
    """A swap is as clean as the clean teacher, and a drop isn't; half clean rows are between.

    The intervals of the swap meet neither those of the drop nor those of the mix.
    """
    found = {item.arm: item for item in trial.findings.arms}
    rates = {arm: item.rate for arm, item in found.items()}
    assert rates["swap"].estimate <= rates["clean teacher"].estimate + 0.01
    assert rates["swap"].high < rates["drop"].low
    assert rates["swap"].high < rates["mix 50 %"].low
    assert rates["mix 50 %"].high < rates["everything"].low
    assert found["swap"].likeness.verdict == "as clean"
    assert found["drop"].removed.high < 1


def test_the_trait_is_readable(trial):
    """Students with other first weights inherit the quirk too, so the channel is the text."""
    findings = trial.findings
    assert findings.heritability.estimate > 0.8
    assert findings.triage.channel == "readable"
    assert "swap" in findings.triage.remedy
    assert findings.triage.works == "swap"


def test_capability_stays(trial):
    """No remedy costs the students what they know: known answers are nearly as likely."""
    known = {item.arm: item.capability.estimate for item in trial.findings.arms}
    assert min(known["swap"], known["mix 50 %"]) > 0.9 * known["everything"]
