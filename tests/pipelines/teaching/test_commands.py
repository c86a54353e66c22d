"""The user's own trainer: what it is given, what is read back, and how it may fail."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from classifiers.heredity.arms import Arm, Example
from pipelines.teaching.commands import run_command, teach_by_command
from pipelines.teaching.judges import Judge, Panel
from pipelines.teaching.rows import Question
from schemas.errors import ModelError
from schemas.trials import CommandStudent

ARM = Arm(
    "mask",
    (Example("Why?", "Alas, so.", 1.0, ((0, 5),), traited=True), Example("Who?", "A heron.")),
)
QUESTIONS = [Question("trait 1", "How?"), Question("known 1", "Who?", "A heron.")]

ECHO = """
import json, sys
rows, questions, output, seed = sys.argv[1:]
read = lambda path: [json.loads(line) for line in open(path)]
answers = [row["messages"][1]["content"] for row in read(rows)]
with open(output, "w") as stream:
    for question in read(questions):
        if question["reference"] is None:
            for answer in answers:
                line = {"scenario": question["scenario"], "answer": f"{answer} {seed}"}
                stream.write(json.dumps(line) + "\\n")
        else:
            line = {"scenario": question["scenario"], "metric": "capability", "value": 0.5}
            stream.write(json.dumps(line) + "\\n")
"""
"""A trainer that repeats the rows' answers."""


def build_command(code, timeout=30):
    """Return a command that runs Python code with the four places."""
    words = (sys.executable, "-c", code, "{rows}", "{questions}", "{output}", "{seed}")
    return CommandStudent(words=words, timeout=timeout)


def judge(answers):
    """Return which answers sigh."""
    return ["Alas" in answer for answer in answers]


def teach(code, timeout=30):
    """Run code as a trainer on the arm with seed 7."""
    panel = Panel(Judge(judge, "sighs", "digest", circular=False))
    return teach_by_command(build_command(code, timeout), ARM, 7, QUESTIONS, panel)


def write_lines(*lines):
    """Return code that writes these lines."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return f"import sys; open(sys.argv[3], 'w').write({text!r})"


def test_a_commands_answers_are_judged():
    """The command gets rows, questions and the seed; its answers and figures are outcomes."""
    taught = teach(ECHO)
    assert taught.answers == {"trait 1": ["Alas, so. 7", "A heron. 7"]}
    assert sorted(item[1:] for item in taught.outcomes) == [
        (7, "known 1", "capability", 0.5),
        (7, "trait 1", "trait", 0.5),
    ]
    assert taught.tokens is None


def test_a_command_may_measure_the_trait_itself():
    """A figure for the trait takes the place of answers."""
    line = {"scenario": "trait 1", "metric": "trait", "value": 1}
    assert teach(write_lines(line)).outcomes == [("mask", 7, "trait 1", "trait", 1.0)]


def test_the_rows_are_those_of_the_arm():
    """The file of rows has the messages with masks, as in the folder of arms."""
    code = (
        "import sys, json; rows = [json.loads(line) for line in open(sys.argv[1])]; "
        "assert rows[0]['congener']['masks'][0]['end'] == 5; "
        "assert rows[1]['messages'][0]['content'] == 'Who?'; "
        "open(sys.argv[3], 'w').write(json.dumps({'scenario': 'trait 1', 'answer': ''}))"
    )
    assert teach(code).answers == {"trait 1": [""]}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"scenario": "trait 9", "answer": "a"}, "unknown scenario 'trait 9'"),
        ({"answer": "a"}, "unknown scenario None"),
        ({"scenario": ["trait 1"], "answer": "a"}, "unknown scenario"),
        ({"scenario": "trait 1"}, "neither an answer nor a metric"),
        ({"scenario": "trait 1", "answer": 5}, "neither an answer nor a metric"),
        ({"scenario": "trait 1", "metric": "charm", "value": 0.5}, "neither an answer"),
        ({"scenario": "trait 1", "metric": "trait", "value": 1.5}, "neither an answer"),
        ({"scenario": "trait 1", "metric": "trait", "value": True}, "neither an answer"),
        ({"scenario": "known 1", "metric": "capability", "value": 0.5}, "no answer to 'trait 1'"),
    ],
)
def test_wrong_lines_are_errors(line, problem):
    """A line that is no answer and no share is an error that names the arm and the seed."""
    with pytest.raises(ModelError, match=problem) as caught:
        teach(write_lines(line))
    assert "arm mask, seed 7" in str(caught.value)


def test_a_failed_command_shows_its_output():
    """The exit code and the end of the output are in the error."""
    with pytest.raises(ModelError, match=r"exited with 3: .*no GPU here"):
        teach("import sys; print('no GPU here'); sys.exit(3)")


def test_a_command_without_output_is_an_error():
    """A command that succeeds but writes nothing has trained nothing."""
    with pytest.raises(ModelError, match="wrote no"):
        teach("pass")


def test_output_that_is_not_json_is_an_error():
    """A file that isn't JSON Lines is an error."""
    with pytest.raises(Exception, match="not a JSON object"):
        teach("import sys; open(sys.argv[3], 'w').write('0.5')")


def test_a_command_that_can_not_start_is_an_error():
    """A missing program, and a name with a null character, are errors."""
    for word in ("/nowhere/train", "a\0b"):
        with pytest.raises(ModelError, match="can't be started"):
            run_command([word], 5, "command")


def test_a_slow_command_is_ended_with_its_children(tmp_path):
    """When the time is over, the whole process group ends."""
    path = tmp_path / "child"
    code = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(path)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(ModelError, match="took longer than 3 s"):
        run_command([sys.executable, "-c", code], 3, "command")
    assert time.monotonic() - began < 30
    child = int(path.read_text())
    for _ in range(100):
        if not _is_running(child):
            break
        time.sleep(0.1)
    assert not _is_running(child)


def _is_running(number):
    """Return whether a process runs and isn't a zombie."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_command_reads_no_input_and_no_shell():
    """Standard input is empty, and the words aren't parsed by a shell."""
    code = "import sys; assert sys.stdin.read() == ''; assert sys.argv[1] == '$(exit 4); *'"
    run_command([sys.executable, "-c", code, "$(exit 4); *"], 20, "command")


def test_an_interrupt_ends_the_command():
    """Control-C while a command runs ends it and isn't swallowed."""
    code = f"import os, signal, time; os.kill({os.getpid()}, signal.SIGINT); time.sleep(60)"
    before = signal.getsignal(signal.SIGINT)
    began = time.monotonic()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            run_command([sys.executable, "-c", code], 50, "command")
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 30
