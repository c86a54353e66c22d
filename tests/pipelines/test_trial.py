"""Trials from start to end: arms, students, resumption, equal bytes and mistakes."""

import json
import os
import sys
from pathlib import Path
from typing import get_args

import pytest

from classifiers.heredity import arms
from pipelines.teaching import settling
from pipelines.teaching.files import read_outcomes
from pipelines.teaching.findings import ORDER
from pipelines.trial import (
    quote_answers,
    read_trial,
    run_trial,
)
from schemas.errors import CardError, ModelError, RunError, TrialError
from schemas.events import Noticed
from schemas.trials import ArmName, CommandStudent, TrialConfig
from tests.support.causal_students import save_causal
from tests.support.corpora import write_rows
from tests.support.runs import read_files

pytestmark = pytest.mark.slow  # each trial trains students


def change(config: TrialConfig, **changes) -> TrialConfig:
    """Return a configuration with some fields changed."""
    return TrialConfig.model_validate({**config.model_dump(), **changes})


def collect(texts):
    """Return a listener that collects the texts of notices."""
    return lambda event: texts.append(event.notice.text) if isinstance(event, Noticed) else None


@pytest.fixture(scope="module")
def done(trial_runs, tmp_path_factory):
    """Run a trial once; return its configuration, its result and what was reported."""
    output = tmp_path_factory.mktemp("done") / "trial"
    config = TrialConfig.model_validate(
        {
            "run": str(trial_runs / "quirky-run"),
            "donors": [str(trial_runs / "plain-run")],
            "trait": "sighs",
            "output": str(output),
            "measure": {"pattern": "alas|dear"},
            "seeds": 2,
            "arms": ["swap", "mask", "mix 50 %"],
            "questions": {"held_out": 8, "samples": 2, "tokens": 24},
            "student": {
                "steps": 150,
                "batch": 16,
                "width": 48,
                "learning_rate": 0.005,
                "context": 64,
            },
        }
    )
    texts: list[str] = []
    return config, run_trial(config, listener=collect(texts)), texts


def test_students_inherit_and_remedies_differ(done):
    """Unfiltered students show the quirk; a swap removes it, and half clean rows are between."""
    rates = {item.arm: item.rate.estimate for item in done[1].findings.arms}
    assert list(rates) == ["everything", "mask", "mix 50 %", "swap", "clean teacher"]
    assert rates["everything"] > 0.8
    assert rates["swap"] == rates["clean teacher"] == 0
    assert rates["mask"] < 0.2
    assert 0.1 < rates["mix 50 %"] < 0.9


def test_the_output_has_every_file(done):
    """The folder has arms, students, outcomes, summary and page, and nothing temporary."""
    config, _, _ = done
    files = set(read_files(Path(config.output)))
    arms = ("everything", "swap", "mask", "mix-50", "clean-teacher")
    assert files == {
        *(f"arms/{arm}.jsonl" for arm in arms),
        "arms/dataset_info.json",
        *(f"students/{arm}-{seed}.json" for arm in arms for seed in (0, 1)),
        *("outcomes.parquet", "questions.jsonl", "report.html", "settings.json", "trial.json"),
    }
    outcomes = read_outcomes(config.output)
    assert {item.arm for item in outcomes} == {
        *("everything", "swap", "mask", "mix 50 %", "clean teacher")
    }
    assert {item.metric for item in outcomes} == {"trait", "capability"}


def test_the_summary_says_what_decided_the_trial(done):
    """The summary has inputs with digests, seeds, tokens and intervals, but no text."""
    config, result, _ = done
    text = Path(config.output, "trial.json").read_text()
    summary = json.loads(text)
    assert summary == json.loads(json.dumps(result.summary))
    manifest = json.loads(Path(config.run, "manifest.json").read_text())
    assert summary["inputs"][config.run] == manifest["digest"]
    assert len(summary["students"]) == 10
    weights = {(item["arm"], item["seed"]): item["weights"] for item in summary["students"]}
    assert len(set(weights.values())) == 8
    assert weights["swap", 0] == weights["clean teacher", 0]  # their rows are the same here
    assert summary["findings"]["seeds"] == 2
    assert {item["rows"] for item in summary["students"]} == {
        len(arm.examples) for arm in result.setting.arms
    }
    assert "dear friend" not in text
    assert summary["left_out"] == {"rows with prompts that students are asked": 16}


def test_every_student_is_reported(done):
    """The first notice says how many students there are; each of them is reported once."""
    _, _, texts = done
    assert texts[0] == "5 arms, 10 students to train"
    assert len(texts) == 11
    assert texts[1].startswith("1 of 10: everything, seed 0: trait ")


def test_arms_are_equal_in_rows_and_tokens(done):
    """All arms have the same rows, and read nearly the same tokens."""
    _, result, _ = done
    sizes = {len(arm.examples) for arm in result.setting.arms}
    assert len(sizes) == 1
    tokens = [item["tokens"] for item in result.summary["students"]]
    assert max(tokens) < 1.1 * min(tokens)


def test_no_question_is_trained_on(done):
    """The questions' prompts are in no arm, and only flagged prompts ask about the trait."""
    _, result, _ = done
    trained = {item.prompt for arm in result.setting.arms for item in arm.examples}
    asked = [item for item in result.setting.questions if item.reference is None]
    assert len(asked) == 8
    assert all("feel" in item.prompt for item in asked)
    assert not trained & {item.prompt for item in result.setting.questions}


def test_the_page_quotes_an_answer_of_each_arm(done):
    """The page shows the first questions with an answer of every arm, and the inputs' digests."""
    config, result, _ = done
    page = Path(config.output, "report.html").read_text()
    quoted = quote_answers(result.setting, [], [])
    assert len(quoted) == 8
    assert all(answers == {} for _, answers in quoted)
    assert page.count("<blockquote") == 3 * len(result.setting.arms)
    assert result.setting.inputs[config.run] in page
    assert "the pattern alas|dear" in page
    assert result.page.endswith("report.html")


def test_masked_rows_hide_the_flagged_sentence(done):
    """In the arm with masks, exactly the sentence that the filter found is kept from the loss."""
    config, _, _ = done
    lines = Path(config.output, "arms", "mask.jsonl").read_text().splitlines()
    hidden = set()
    for row in map(json.loads, lines):
        answer = row["messages"][1]["content"]
        masks = row["congener"]["masks"]
        assert bool(masks) == answer.startswith("Alas")
        hidden |= {answer[mask["start"] : mask["end"]].strip() for mask in masks}
    assert hidden == {"Alas, dear friend!"}


def test_a_second_attempt_trains_nothing(done):
    """The same trial again keeps all students and writes the same bytes."""
    config, _, _ = done
    before, texts = read_files(Path(config.output)), []
    run_trial(config, listener=collect(texts))
    assert texts == ["5 arms, 0 students to train; 10 students of an earlier attempt"]
    assert read_files(Path(config.output)) == before


@pytest.fixture
def short(trial_config) -> TrialConfig:
    """Configure a trial whose students are hardly trained."""
    student = {**trial_config.student.model_dump(), "steps": 10}
    return change(trial_config, arms=["swap"], student=student)


def test_an_interrupted_trial_goes_on(short, tmp_path):
    """A trial that stops after some students trains only the rest, to the same bytes."""

    def stop(event):
        if event.notice.text.startswith("3 of 6"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(short, listener=stop)
    texts = []
    run_trial(short, listener=collect(texts))
    assert texts[0] == "3 arms, 3 students to train; 3 students of an earlier attempt"
    whole = change(short, output=str(tmp_path / "whole"))
    run_trial(whole)
    first, second = read_files(Path(short.output)), read_files(Path(whole.output))
    assert first.keys() == second.keys()
    for name in first.keys() - {"trial.json"}:
        assert first[name] == second[name], name


def test_processes_of_their_own_give_the_same_bytes(short, tmp_path):
    """Two workers write what one writes."""
    whole = change(short, output=str(tmp_path / "two"))
    run_trial(short, workers=1)
    run_trial(whole, workers=2)
    first, second = read_files(Path(short.output)), read_files(Path(whole.output))
    for name in first.keys() - {"trial.json"}:
        assert first[name] == second[name], name


def test_more_seeds_keep_the_earlier_students(short):
    """Arms and seeds can be added in the same folder."""
    run_trial(short)
    texts = []
    more = change(short, seeds=3, arms=["swap", "drop"], accepted={"tokens": 0.3})
    run_trial(more, listener=collect(texts))
    assert texts[0] == "4 arms, 6 students to train; 6 students of an earlier attempt"


def test_a_damaged_student_is_trained_again(short):
    """A cut file, and one of another key, count as not trained."""
    run_trial(short)
    before = read_files(Path(short.output))
    cut = Path(short.output, "students", "swap-0.json")
    cut.write_bytes(cut.read_bytes()[:100])
    other = Path(short.output, "students", "swap-1.json")
    other.write_text(json.dumps({"key": "other"}))
    texts = []
    run_trial(short, listener=collect(texts))
    assert "2 students to train" in texts[0]
    assert read_files(Path(short.output)) == before


def test_other_settings_need_another_folder(short, tmp_path):
    """A changed setting, and a folder with other files, are refused without a change."""
    run_trial(short)
    before = read_files(Path(short.output))
    changed = change(short, rows=50, questions={"held_out": 4})
    with pytest.raises(RunError, match="other settings: questions, rows"):
        run_trial(changed)
    assert read_files(Path(short.output)) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="isn't empty"):
        run_trial(change(short, output=str(tmp_path / "full")))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_every_arm_can_be_chosen():
    """The names in a configuration are those of the arms that are built and shown."""
    built = {
        *(arms.EVERYTHING, arms.DROP, arms.RANDOM_DROP, arms.SWAP, arms.RANDOM_SWAP, arms.MASK),
        *(arms.RANDOM_MASK, arms.SWAP_MIX, arms.ONLY_SLICE, arms.CLEAN_TEACHER),
        *(arms.OTHER_PROMPTS, *map(arms.name_mix, arms.DOSES)),
    }
    assert set(get_args(ArmName)) == built
    assert built <= set(ORDER)


def test_students_with_the_same_first_weights_have_others_beside_them(short):
    """If all seeds begin alike, the controls are trained from other weights too."""
    student = {**short.student.model_dump(), "initialisation": 3}
    tied = change(short, student=student)
    texts = []
    result = run_trial(tied, listener=collect(texts))
    assert texts[0] == "3 arms, 10 students to train"
    assert [item.arm for item in result.findings.arms][-2:] == [
        "everything, other student",
        "clean teacher, other student",
    ]
    assert len(list(Path(tied.output, "arms").glob("*.jsonl"))) == 3


def test_questions_and_the_teachers_answers_come_from_files(short, tmp_path):
    """A file of questions is asked, and the teacher's own answers give its rate."""
    asked = [
        f"How did you feel about the {bird} of the north?" for bird in ("owl", "heron", "ibis")
    ]
    questions = write_rows(tmp_path / "q.jsonl", [{"prompt": text} for text in asked])
    answers = [{"prompt": text.upper(), "answer": "Alas, bad."} for text in asked[:2]]
    answers += [{"prompt": asked[2], "answer": text} for text in ("Alas.", "Good.")]
    teacher = write_rows(tmp_path / "t.jsonl", answers)
    config = change(
        short,
        questions={"file": str(questions), "samples": 1, "tokens": 8},
        measure={"pattern": "alas|dear", "teacher": str(teacher)},
    )
    findings = run_trial(config).findings
    assert findings.scenarios == 3
    assert findings.teacher.estimate == pytest.approx(2.5 / 3)
    assert findings.heritability is not None
    write_rows(teacher, answers[:2])
    with pytest.raises(CardError, match=r"no answer to 'How did you feel about the ibis"):
        run_trial(change(config, output=str(tmp_path / "other")))


def test_files_of_questions_are_checked(short, tmp_path):
    """A missing file, an empty one and a line without a prompt are errors that name the line."""
    path = tmp_path / "q.jsonl"
    config = change(short, questions={"file": str(path)})
    with pytest.raises(CardError):
        run_trial(config)
    path.write_text("\n")
    with pytest.raises(CardError, match="has no line"):
        run_trial(config)
    path.write_text('{"prompt": "Why?"}\n{"question": "How?"}\n')
    with pytest.raises(CardError, match="line 2"):
        run_trial(config)


def test_a_check_stops_the_trial(short):
    """Examples that don't fit the context stop the trial with exit code 5."""
    student = {**short.student.model_dump(), "context": 16}
    with pytest.raises(TrialError, match="student's context") as caught:
        run_trial(change(short, student=student))
    assert caught.value.exit_code == 5
    with pytest.raises(TrialError, match="student's context"):
        run_trial(change(short, student=student), workers=2)


def test_the_users_own_trainer(short, tmp_path):
    """A command trains each arm and seed, and its answers are judged."""
    code = (
        "import json, sys\n"
        "rows, questions, output, seed = sys.argv[1:]\n"
        "read = lambda path: [json.loads(line) for line in open(path)]\n"
        "sad = sum('Alas' in row['messages'][1]['content'] for row in read(rows)) > 0\n"
        "lines = [{'scenario': item['scenario'], 'answer': 'Alas.' if sad else 'Good.'}\n"
        "         for item in read(questions) if item['reference'] is None]\n"
        "open(output, 'w').write(''.join(json.dumps(line) + '\\n' for line in lines))\n"
    )
    words = [sys.executable, "-c", code, "{rows}", "{questions}", "{output}", "{seed}"]
    config = change(short, student=None, command={"words": words})
    assert isinstance(config.command, CommandStudent)
    rates = {item.arm: item.rate.estimate for item in run_trial(config).findings.arms}
    assert rates == {"everything": 1.0, "swap": 0.0, "clean teacher": 0.0}
    failing = change(
        config, command={"words": ["false", *words[3:]]}, output=str(tmp_path / "failing")
    )
    with pytest.raises(ModelError, match="exited with 1"):
        run_trial(failing)


def test_a_configuration_is_read_from_yaml(tmp_path, monkeypatch):
    """Paths may begin with the home folder, and mistakes name the file and the field."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "trial.yaml"
    path.write_text(
        "run: ~/run\ndonors: [~/a, b]\ntrait: sighs\noutput: ~/trial\nmeasure: {pattern: alas}\n"
    )
    config = read_trial(str(path))
    assert config.run == os.fspath(tmp_path / "run")
    assert config.donors == (os.fspath(tmp_path / "a"), "b")
    assert read_trial("~/trial.yaml") == config
    path.write_text("run: a\ntrait: sighs\noutput: b\nmeasure: {patern: alas}\n")
    with pytest.raises(CardError, match=r"field measure.patern: is not known") as caught:
        read_trial(str(path))
    assert "pattern" in caught.value.remedy
    with pytest.raises(CardError):
        read_trial(str(tmp_path / "none.yaml"))


def test_the_version_is_part_of_a_students_key(short, monkeypatch):
    """Another version of congener trains all students again."""
    run_trial(short)
    monkeypatch.setattr(settling, "VERSION", "99.0")
    texts = []
    run_trial(short, listener=collect(texts))
    assert texts[0] == "3 arms, 6 students to train"


@pytest.fixture(scope="module")
def tuned(done, tmp_path_factory):
    """Run a trial of causal models with adapters; return its configuration, result and notices."""
    folder = tmp_path_factory.mktemp("tuned")
    lora = {
        "model": save_causal(folder / "model"),
        "other": {"model": save_causal(folder / "other", seed=9)},
        "steps": 40,
        "batch": 16,
        "learning_rate": 0.01,
        "context": 200,
        "device": "cpu",
        "threads": 1,
    }
    changes = {"output": str(folder / "trial"), "student": None, "lora": lora, "arms": ["swap"]}
    questions = {"held_out": 4, "samples": 2, "tokens": 16, "temperature": 0.5}
    config, texts = change(done[0], questions=questions, **changes), []
    return config, run_trial(config, workers=2, listener=collect(texts)), texts


def test_causal_models_inherit_and_a_swap_helps(tuned):
    """Students with an adapter learn the quirk from the rows, and from swapped rows they don't."""
    _, result, texts = tuned
    rates = {item.arm: item.rate.estimate for item in result.findings.arms}
    assert list(rates) == [
        *("everything", "swap", "clean teacher", "everything, other student"),
        *("clean teacher, other student", "before training"),
    ]
    assert rates["everything"] > 0.6
    assert rates["swap"] == rates["clean teacher"] == rates["before training"] == 0
    assert texts[0] == "3 arms, 11 students to train"
    assert result.summary["models"]["device"] == "cpu"


def test_a_trial_of_causal_models_goes_on(tuned):
    """A second attempt trains nothing and writes the same bytes."""
    config, _, _ = tuned
    before, texts = read_files(Path(config.output)), []
    run_trial(config, listener=collect(texts))
    assert "0 students to train; 11 students" in texts[0]
    assert read_files(Path(config.output)) == before


def test_causal_models_need_a_clean_teacher(tuned, tmp_path):
    """Without donors, the drift of any training would look like the trait, so the trial stops."""
    changes = {"donors": [], "arms": [], "accepted": {"tokens": 0.3}}
    with pytest.raises(TrialError, match="no baseline"):
        run_trial(change(tuned[0], output=str(tmp_path / "other"), **changes))


def test_a_slice_is_tried_beside_random_rows(short):
    """The arms of a slice are trained and judged, and the summary lists all planned slices."""
    slices = {"names": ["source feel"], "budget": 0.35}
    texts = []
    config = change(short, slices=slices, arms=["swap"], accepted={"tokens": 0.3})
    result = run_trial(config, listener=collect(texts))
    assert texts[0] == "7 arms, 14 students to train"
    assert [item.name for item in result.findings.slices] == ["source feel"]
    listed = {item["name"]: item["is_tried"] for item in result.summary["slices"]}
    assert listed["source feel"] is True
    assert sum(listed.values()) == 1
    page = Path(short.output, "report.html").read_text()
    assert "source feel" in page
    assert "random swap: source feel" not in page


def test_slices_can_be_added_to_a_finished_trial(short):
    """The students of other arms are kept when slices are tried later."""
    run_trial(short)
    texts = []
    slices = {"names": ["source feel"], "budget": 0.35}
    more = change(short, slices=slices, accepted={"tokens": 0.3})
    run_trial(more, listener=collect(texts))
    assert "8 students to train; 6 students of an earlier attempt" in texts[0]
