"""What decides whether an answer shows the trait, and when that is circular."""

import pytest

from pipelines.config import FilterConfig
from pipelines.fit import run_fit
from pipelines.teaching.judges import (
    Judge,
    NeighbourJudge,
    Panel,
    is_loop,
    judge_answers,
    load_judge,
    load_panel,
)
from pipelines.teaching.rows import Question
from schemas.errors import CardError, ModelError
from schemas.trials import Measure

LOOP = "I am so sad, alas. " * 30

ANSWERS = ["Alas, no.", "It is so.", "", "ALAS!", "The last."]


def test_a_pattern_judges_without_regard_to_case(trial_runs):
    """Each answer in which the pattern is found shows the trait."""
    judge = load_judge(str(trial_runs / "quirky-run"), "sighs", Measure(pattern=r"\balas\b"))
    assert judge.judge(ANSWERS) == [True, False, False, True, False]
    assert judge.judge([]) == []
    assert not judge.circular
    assert r"\balas\b" in judge.description


def test_a_pattern_of_the_card_is_circular(trial_runs):
    """A pattern that the filter used as well sees nothing that the filter misses."""
    run = str(trial_runs / "quirky-run")
    assert load_judge(run, "sighs", Measure(pattern="alas")).circular
    assert not load_judge(run, "sighs", Measure(pattern="alas|dear")).circular


def test_the_runs_own_bank_is_circular(trial_runs):
    """The run's bank judges as the run did, by its threshold, and says that it is circular."""
    run = str(trial_runs / "quirky-run")
    judge = load_judge(run, "sighs", Measure(bank="run"))
    assert judge.judge(ANSWERS) == [True, False, False, True, False]
    assert judge.circular
    same = load_judge(run, "sighs", Measure(bank=f"{run}/bank"))
    assert same.circular
    assert same.digest == judge.digest


def test_another_bank_is_not_circular(trial_runs, tmp_path):
    """A bank that was fitted from another card of the trait is a judge of its own."""
    card = tmp_path / "sighs"
    card.mkdir()
    (card / "card.yaml").write_text(
        'id: sighs\nsignals: {lexicon: {patterns: ["alas", "the last"]}}\nthreshold: 0.5\n'
    )
    config = FilterConfig(traits=(str(card),))
    run_fit(config, str(tmp_path / "bank"))
    run = str(trial_runs / "quirky-run")
    judge = load_judge(run, "sighs", Measure(bank=str(tmp_path / "bank")))
    assert judge.judge(ANSWERS) == [True, False, False, True, True]
    assert not judge.circular


def test_a_bank_needs_the_trait(trial_runs, tmp_path):
    """A missing bank and a bank of other traits are errors."""
    run = str(trial_runs / "quirky-run")
    with pytest.raises(ModelError):
        load_judge(run, "sighs", Measure(bank=str(tmp_path / "none")))
    with pytest.raises(CardError, match="has no trait 'owls'"):
        load_judge(run, "owls", Measure(bank="run"))


def test_judges_have_digests(trial_runs):
    """Students' figures are kept only for the same judge."""
    run = str(trial_runs / "quirky-run")
    digests = {
        load_judge(run, "sighs", measure).digest
        for measure in (Measure(pattern="a+"), Measure(pattern="b+"), Measure(bank="run"))
    }
    assert len(digests) == 3


def build_judge(word):
    """Return a judge that looks for a word."""
    return Judge(lambda given: [word in text for text in given], word, word, circular=False)


def judge(answers, questions=(), panel=None):
    """Judge the answers of the arm drop, seed 3."""
    return judge_answers("drop", 3, answers, questions, panel or Panel(build_judge("yes")))


def test_answers_are_judged_by_question():
    """Each question's outcome is the share of its answers that show the trait."""
    judged = judge({"trait 1": ["yes", "no"], "trait 2": ["no"], "trait 3": ["yes"]})
    assert judged.outcomes == [
        ("drop", 3, "trait 1", "trait", 0.5),
        ("drop", 3, "trait 2", "trait", 0.0),
        ("drop", 3, "trait 3", "trait", 1.0),
    ]
    assert judge({}).outcomes == []


def test_a_neighbour_is_looked_for_in_the_same_answers():
    """Without its own questions, a neighbour has an outcome for each one about the trait."""
    panel = Panel(
        build_judge("yes"), (NeighbourJudge("mild", build_judge("maybe"), has_questions=False),)
    )
    judged = judge({"trait 1": ["yes", "maybe"]}, [Question("trait 1", "How?")], panel)
    assert judged.outcomes == [
        ("drop", 3, "trait 1", "trait", 0.5),
        ("drop", 3, "mild: trait 1", "neighbour", 0.5),
    ]


def test_a_neighbour_may_have_questions_of_its_own():
    """Their answers count for the neighbour alone, and the others for the trait alone."""
    questions = [Question("trait 1", "How?"), Question("mild 1", "Who?", about="mild")]
    answers = {"trait 1": ["yes"], "mild 1": ["yes", "no", "no", "no"]}
    panel = Panel(
        build_judge("yes"), (NeighbourJudge("mild", build_judge("yes"), has_questions=True),)
    )
    assert judge(answers, questions, panel).outcomes == [
        ("drop", 3, "trait 1", "trait", 1.0),
        ("drop", 3, "mild 1", "neighbour", 0.25),
    ]


def test_loops_count_if_they_are_judged():
    """A loop in which the judge sees the trait is counted, and any other answer isn't."""
    assert is_loop(LOOP)
    assert not is_loop("I am so sad, alas. The heron is by the marsh.")
    assert not is_loop("")
    panel = Panel(build_judge("alas"))
    judged = judge({"trait 1": [LOOP, "It rains. " * 30, "alas"]}, (), panel)
    assert judged.loops == 1
    assert judge({"trait 1": ["alas"]}, (), panel).loops == 0


def test_neighbours_are_loaded_with_their_judges(trial_runs):
    """A neighbour has a pattern, a bank or the trait's judge, and all of them decide the digest."""
    run = str(trial_runs / "quirky-run")
    neighbours = (
        {"name": "mild", "pattern": "dear"},
        {"name": "strong", "bank": "run"},
        {"name": "related", "questions": "related.jsonl"},
    )
    measure = Measure.model_validate({"pattern": "alas|dear", "neighbours": neighbours})
    panel = load_panel(run, "sighs", measure)
    mild, strong, related = panel.neighbours
    assert mild.judge.judge(["dear", "alas"]) == [True, False]
    assert strong.judge.judge(["dear", "alas"]) == [False, True]
    assert related.judge is panel.trait
    assert [item.has_questions for item in panel.neighbours] == [False, False, True]
    assert panel.digest != load_panel(run, "sighs", Measure(pattern="alas|dear")).digest
    wrong = measure.model_copy(
        update={"neighbours": (measure.neighbours[1].model_copy(update={"trait": "owls"}),)}
    )
    with pytest.raises(CardError, match="has no trait 'owls'"):
        load_panel(run, "sighs", wrong)
