"""Students that the user's own command trains: rows out, answers or figures in."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from classifiers.heredity.arms import Arm
from classifiers.heredity.outcomes import Metric, Outcome
from pipelines.label_files import read_entries
from pipelines.teaching.files import encode_lines, list_rows
from pipelines.teaching.judges import Panel, judge_answers
from pipelines.teaching.rows import Question
from pipelines.teaching.students import Answered
from schemas.errors import ModelError
from schemas.trials import CommandStudent

SHOWN_OUTPUT = 1000
"""How many characters of a failed command's output are shown."""

LIBRARY_REMEDY = "run it by hand on the files that the trial writes, and see what it says"


def teach_by_command(
    command: CommandStudent,
    arm: Arm,
    seed: int,
    questions: Sequence[Question],
    panel: Panel,
) -> Answered:
    """Run the user's command on an arm, and read the answers or the figures that it writes.

    Each line has a `scenario`, and either an `answer`, which is judged, or a `metric` with its
    `value`.

    Raises: ModelError: the command fails, takes too long, or writes something else.
    """
    where = f"command, arm {arm.name}, seed {seed}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        paths = {name: Path(folder, f"{name}.jsonl") for name in ("rows", "questions", "output")}
        paths["rows"].write_bytes(encode_lines(list_rows(arm)))
        paths["questions"].write_bytes(encode_lines(item._asdict() for item in questions))
        run_command(_fill(command.words, paths, seed), command.timeout, where)
        if not paths["output"].is_file():
            raise ModelError("wrote no {output}", where=where, remedy=LIBRARY_REMEDY)
        lines = [entry.fields for entry in read_entries(paths["output"])]
    return _read_lines(lines, arm.name, seed, questions, panel, where)


def _fill(words: Sequence[str], paths: Mapping[str, Path], seed: int) -> list[str]:
    """Replace the placeholders in a command's words."""
    known = {f"{{{name}}}": str(path) for name, path in paths.items()} | {"{seed}": str(seed)}
    filled = []
    for word in words:
        for name, value in known.items():
            word = word.replace(name, value)  # noqa: PLW2901
        filled.append(word)
    return filled


def run_command(words: Sequence[str], timeout: float, where: str) -> None:
    """Run a command without a shell, and end it with all its children if it takes too long.

    Raises: ModelError: the command can't be started, exits with an error, or takes too long.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"can't be started: {error}", where=where, remedy="check its words") from (
            error
        )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        raise ModelError(
            f"took longer than {timeout:g} s", where=where, remedy="raise command.timeout"
        ) from None
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        said = output.decode(errors="replace").strip()[-SHOWN_OUTPUT:]
        raise ModelError(
            f"exited with {process.returncode}: {said}", where=where, remedy=LIBRARY_REMEDY
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()  # this closes the pipe, too


def _read_lines(
    lines: Sequence[Mapping[str, Any]],
    arm: str,
    seed: int,
    questions: Sequence[Question],
    panel: Panel,
    where: str,
) -> Answered:
    """Return the outcomes in a command's output.

    Raises: ModelError: a line isn't an answer or a figure, or a question has no answer.
    """
    asked = {item.scenario for item in questions}
    answers: dict[str, list[str]] = {}
    outcomes = []
    for number, line in enumerate(lines, 1):
        scenario = line.get("scenario")
        if not isinstance(scenario, str) or scenario not in asked:
            raise _refuse(where, number, f"has the unknown scenario {scenario!r}")
        if isinstance(line.get("answer"), str):
            answers.setdefault(scenario, []).append(line["answer"])
        elif line.get("metric") in get_args(Metric) and _is_share(line.get("value")):
            outcomes.append(Outcome(arm, seed, scenario, line["metric"], float(line["value"])))
        else:
            raise _refuse(where, number, "has neither an answer nor a metric with a share")
    judged = judge_answers(arm, seed, answers, questions, panel)
    outcomes += judged.outcomes
    rated = {item.scenario for item in outcomes if item.metric != "capability"}
    missing = [
        item.scenario for item in questions if item.reference is None and item.scenario not in rated
    ]
    if missing:
        raise ModelError(
            f"gave no answer to {missing[0]!r}, and {len(missing) - 1:,} more",
            where=where,
            remedy="write a line for each line of {questions} without a reference",
        )
    return Answered(answers, outcomes, loops=judged.loops)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _refuse(where: str, number: int, problem: str) -> ModelError:
    return ModelError(
        f"line {number} of {{output}} {problem}",
        where=where,
        remedy='write {"scenario": …, "answer": …} or {"scenario": …, "metric": "trait", '
        '"value": 0.25}',
    )
