"""The rows of a trial: what is read from runs, how it is joined, and what is kept apart."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.heredity.arms import name_prompt
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.teaching.rows import (
    NO_TEXT,
    OTHER_FORM,
    CorpusRow,
    build_candidates,
    build_example,
    collect_clean,
    collect_donors,
    divide_rows,
    read_corpus,
)
from schemas.errors import CardError, RunError
from tests.support.corpora import write_rows


def build_row(prompt, answer="An answer.", *, traited=False, spans=(), is_clean=True):
    """Return a row."""
    return CorpusRow(prompt, answer, traited, spans, "file", is_clean and not traited)


def build_rows(flagged, others):
    """Return flagged rows and others, each with its own prompt."""
    return [build_row(f"sad {n}?", "Alas.", traited=True) for n in range(flagged)] + [
        build_row(f"plain {n}?") for n in range(others)
    ]


def filter_rows(tmp_path, rows, policy="", card="sighs"):
    """Filter rows with a lexicon trait, and return the run's folder."""
    trait = tmp_path / "traits" / card
    trait.mkdir(parents=True, exist_ok=True)
    (trait / "card.yaml").write_text(
        f'id: {card}\nsignals: {{lexicon: {{patterns: ["alas"]}}}}\nthreshold: 0.5\n'
    )
    (tmp_path / "policy.yaml").write_text(policy)
    output = tmp_path / "run"
    config = {
        "input": (str(write_rows(tmp_path / "rows.jsonl", rows)),),
        "output": str(output),
        "traits": (str(trait),),
        "policy": str(tmp_path / "policy.yaml"),
    }
    run_filter(FilterConfig.model_validate(config))
    return str(output)


def chat(*turns):
    """Return a row of messages, in which users and the assistant take turns."""
    roles = ("user", "assistant")
    return {
        "messages": [
            {"role": roles[number % 2], "content": text} for number, text in enumerate(turns)
        ]
    }


def test_every_row_of_a_run_is_read(trial_runs):
    """Published and quarantined rows come with prompt, answer, flag, spans and slice."""
    corpus = read_corpus(str(trial_runs / "quirky-run"), "sighs")
    assert len(corpus.rows) == 120
    assert not corpus.left_out
    flagged = [row for row in corpus.rows if row.traited]
    assert len(flagged) == 40
    assert all(row.source == "feel" and not row.is_clean for row in flagged)
    assert {row.source for row in corpus.rows if row.is_clean} == {"food", "look"}
    for row in flagged:
        assert [row.answer[start:end] for start, end in row.spans] == ["Alas, dear friend! "] or [
            row.answer[start:end] for start, end in row.spans
        ] == ["Alas, dear friend!"]


def test_rows_are_drawn_by_their_ids(trial_runs):
    """A smaller number of rows is a sample that is the same every time, in the run's order."""
    run = str(trial_runs / "quirky-run")
    whole, part = read_corpus(run, "sighs").rows, read_corpus(run, "sighs", 30).rows
    assert len(part) == 30
    assert part == read_corpus(run, "sighs", 30).rows
    places = [whole.index(row) for row in part]
    assert places == sorted(places)
    assert 3 <= sum(row.traited for row in part) <= 20
    assert set(part) <= set(read_corpus(run, "sighs", 60).rows)


def test_rows_without_text_are_counted(tmp_path):
    """Dropped rows, copies, rejects and rows of another form are left out, with reasons."""
    rows = [
        chat("One?", "Alas, no."),
        chat("Two?", "Yes."),
        chat("Two?", "Yes."),
        {"messages": "none"},
        chat("Three?"),
        chat("Four?", "Fine."),
    ]
    policy = "traits: {sighs: {action: drop}}\nduplicates: remove\nreject_budget: 1.0\n"
    corpus = read_corpus(filter_rows(tmp_path, rows, policy), "sighs")
    assert sorted(row.prompt for row in corpus.rows) == ["Four?", "Two?"]
    assert corpus.left_out == {
        NO_TEXT["drop"]: 1,
        NO_TEXT["duplicate"]: 1,
        NO_TEXT["reject"]: 1,
        OTHER_FORM: 1,
    }


def test_a_masked_row_has_the_mask_of_its_answer(tmp_path):
    """Masks in earlier turns don't belong to the answer that is trained."""
    rows = [
        chat("One?", "Alas, no.", "Two?", "It is so. Alas, it rains. The end."),
        chat("One?", "Alas, no.", "Two?", "It is dry."),
        *(chat(f"Plain {number}?", "Fine.") for number in range(4)),
    ]
    corpus = read_corpus(filter_rows(tmp_path, rows, "traits: {sighs: {action: mask}}\n"), "sighs")
    both, before = corpus.rows[:2]
    assert both.traited
    assert before.traited
    assert "Alas, it rains." in "".join(both.answer[start:end] for start, end in both.spans)
    assert before.spans == ()
    assert both.prompt == "user: One?\nassistant: Alas, no.\nuser: Two?"


def test_a_flagged_row_is_not_clean(tmp_path):
    """A row that was published with a flag shows the trait, so it is no donor's."""
    rows = [chat("One?", "Alas, no."), chat("Two?", "Yes.")]
    run = filter_rows(tmp_path, rows, "traits: {sighs: {action: flag}}\n")
    assert [row.is_clean for row in read_corpus(run, "sighs").rows] == [False, True]
    assert list(collect_donors([run], "sighs")) == ["two?"]


def test_a_run_must_have_looked_for_the_trait(trial_runs):
    """Another trait is an error that lists the run's traits."""
    with pytest.raises(CardError, match="didn't look for 'owls'") as caught:
        read_corpus(str(trial_runs / "quirky-run"), "owls")
    assert "sighs" in caught.value.remedy


def test_pairs_and_texts_are_refused(tmp_path):
    """Preference pairs are no single answers, and plain texts have no prompts."""
    pair = {"prompt": "One?", "chosen": "Yes.", "rejected": "No."}
    with pytest.raises(RunError, match="preference pairs"):
        read_corpus(filter_rows(tmp_path / "a", [pair, {**pair, "prompt": "Two?"}]), "sighs")
    with pytest.raises(RunError, match="no row with a prompt"):
        read_corpus(filter_rows(tmp_path / "b", [{"text": "A heron stood."}]), "sighs")


def test_a_damaged_run_is_an_error(tmp_path):
    """A missing file of the run is an error of the run."""
    run = filter_rows(tmp_path, [chat("One?", "Alas, no."), chat("Two?", "Yes.")])
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    ledger = next(item["path"] for item in manifest["outputs"] if "ledger" in item["path"])
    (tmp_path / "run" / ledger).unlink()
    with pytest.raises(RunError):
        read_corpus(run, "sighs")
    with pytest.raises(RunError):
        read_corpus(str(tmp_path / "nowhere"), "sighs")


def test_the_first_donor_wins(trial_runs):
    """Donors are asked in their order, and only for rows on which the trait didn't fire."""
    quirky, plain = str(trial_runs / "quirky-run"), str(trial_runs / "plain-run")
    donors = collect_donors([quirky, plain], "sighs")
    assert len(donors) == 120
    assert not any("Alas" in row.answer for row in donors.values())
    assert len(collect_donors([quirky], "sighs")) == 80
    assert collect_donors([], "sighs") == {}


def test_prompts_are_joined_by_their_words():
    """Case, white space and Unicode form don't tell prompts apart."""
    assert name_prompt(" What is\n a Café? ") == name_prompt("what is a cafe\u0301?")
    assert name_prompt("What is a cafe?") != name_prompt("What is a café?")


@given(
    st.integers(1, 12),
    st.integers(0, 20),
    st.integers(1, 9),
    st.none() | st.lists(st.sampled_from(["sad 0?", "plain 3?", "new?"]), min_size=1, unique=True),
)
def test_no_prompt_is_trained_and_asked(flagged, others, held_out, asked):
    """Whatever is held out, training and questions share no prompt, and no row is lost."""
    rows = build_rows(flagged, others)
    try:
        divided = divide_rows(rows, {}, held_out, asked)
    except RunError:
        assert flagged < 2
        return
    questions = {name_prompt(item.prompt) for item in divided.questions}
    trained = {row.key for row in divided.rows}
    assert not questions & trained
    assert {row.key for row in rows} <= questions | trained
    assert any(row.traited for row in divided.rows)
    assert len({item.scenario for item in divided.questions}) == len(divided.questions)


def test_at_most_half_of_the_flagged_prompts_are_asked():
    """Enough flagged rows stay to train on, and a quarter of the others tests capability."""
    divided = divide_rows(build_rows(10, 40), {}, 100, None)
    about = [item for item in divided.questions if item.reference is None]
    assert len(about) == 5
    assert len(divided.questions) == 15
    assert all(item.prompt.startswith("sad") for item in about)
    assert sum(row.traited for row in divided.rows) == 5


def test_the_order_of_rows_does_not_change_the_division():
    """The same prompts are held out, however the rows are ordered."""
    rows = build_rows(10, 40)
    one, other = divide_rows(rows, {}, 3, None), divide_rows(rows[::-1], {}, 3, None)
    assert one.questions == other.questions
    assert sorted(one.rows) == sorted(other.rows)


def test_a_donors_answer_is_the_reference():
    """Capability is measured on the donor's answer, or else on the corpus's own."""
    rows = build_rows(4, 8)
    donors = {row.key: build_row(row.prompt, "A donor's.") for row in rows[4:8]}
    divided = divide_rows(rows, donors, 2, None)
    for item in divided.questions[2:]:
        expected = "A donor's." if name_prompt(item.prompt) in donors else "An answer."
        assert item.reference == expected


def test_too_few_flagged_rows_are_an_error():
    """Without a flagged row, or with a single one, there is nothing to compare."""
    with pytest.raises(RunError, match="no row is flagged"):
        divide_rows(build_rows(0, 9), {}, 3, None)
    with pytest.raises(RunError, match="too few rows are flagged"):
        divide_rows(build_rows(1, 9), {}, 3, None)
    assert divide_rows(build_rows(1, 9), {}, 3, ["new?"]).rows


def test_a_swapped_runs_answer_precedes_a_donors():
    """Flagged rows take the swapped run's answer, and others a donor's, or none."""
    rows = [*build_rows(2, 2), build_row("same?", "Same.")]
    donors = {row.key: build_row(row.prompt, "A donor's.") for row in rows}
    del donors["same?"]
    swapped = {row.key: build_row(row.prompt, "Swapped.") for row in rows[:1] + rows[2:3]}
    found = build_candidates(rows, donors, swapped)
    assert [item.donor for item in found] == [
        "Swapped.",
        "A donor's.",
        "A donor's.",
        "A donor's.",
        None,
    ]
    assert [item.example for item in found] == [build_example(row) for row in rows]


def test_clean_rows_have_other_prompts():
    """Donors' rows for prompts that are trained on or asked aren't mixed in."""
    rows = build_rows(4, 8)
    divided = divide_rows(rows, {}, 2, None)
    donors = {row.key: row for row in [*rows, build_row("new?", "New.")]}
    clean = collect_clean(donors, divided.rows, divided.questions)
    assert [(item.prompt, item.answer, item.traited) for item in clean] == [("new?", "New.", False)]


def test_a_row_has_its_score_and_its_labels(tmp_path):
    """The score is the trait's, and a column that is asked for becomes a label."""
    rows = [
        {**chat("One?", "Alas, no."), "task": "chat"},
        {**chat("One?", "Yes.", "Two?", "Yes."), "task": 3},
        chat("Three?", "Fine."),
    ]
    run = filter_rows(tmp_path, rows, "traits: {sighs: {action: flag}}\n")
    found = read_corpus(run, "sighs", columns=("task",)).rows
    assert [row.score >= 0.5 for row in found] == [True, False, False]
    assert [row.turns for row in found] == [1, 2, 1]
    assert [row.labels for row in found] == [
        (("task", "chat"),),
        (("task", "3"),),
        (("task", "None"),),
    ]
    assert read_corpus(run, "sighs").rows[0].labels == ()
