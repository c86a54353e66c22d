"""`congener monitor`: the table, JSON and exit codes."""

import json
from pathlib import Path

import pytest

from pipelines.cli.monitor import (
    MOST_SHOWN,
    SHOWN,
    choose_changes,
    format_rate,
    shorten_names,
    tabulate_changes,
)
from tests.support.audits import write_side
from tests.support.generations import TEXTS, save_generation, write_generation


def name_arguments(folder: Path, corpus: str) -> tuple[str, ...]:
    """Return the arguments of a monitor."""
    return ("monitor", "--corpus", corpus, "--history", str(folder / "history"))


@pytest.fixture
def begun(congener, tmp_path) -> Path:
    """Begin a history with a generation without the habit."""
    code, out, err = congener(*name_arguments(tmp_path, save_generation(tmp_path, 1)))
    assert code == 0, err
    assert "gen1 is the first generation of this history" in out
    return tmp_path


def test_a_change_is_exit_code_1(congener, begun):
    """The changes are printed with rates within 80 columns, and the report is named."""
    code, out, _ = congener(*name_arguments(begun, save_generation(begun, 2, 4)))
    assert code == 1
    assert "changed in gen2 beside 1 earlier generation" in out
    assert "appeared" in out
    assert "Mind the gap" in out
    assert "report: " in out
    lines = [line for line in out.splitlines() if not line.startswith("report: ")]
    assert max(map(len, lines)) <= 80


def test_no_change_is_exit_code_0(congener, begun):
    """Generations of the same kind have no changes."""
    code, out, _ = congener(*name_arguments(begun, save_generation(begun, 2)))
    assert code == 0
    assert "no change shown in gen2" in out
    assert "a new phrase would be found from" in out
    assert "compare the runs with congener diff" in out


def test_json_has_the_verdict_and_the_changes(congener, begun):
    """The JSON is what the history keeps, with the promised fields."""
    arguments = (*name_arguments(begun, save_generation(begun, 2, 4)), "--json", "--quiet")
    code, out, _ = congener(*arguments)
    assert code == 1
    found = json.loads(out)
    assert found["differs"] is True
    assert {"change", "kind", "text", "q_value", "rates", "slope"} <= set(found["changes"][0])
    record = json.loads((begun / "history" / "0002.json").read_text())
    assert record["changes"] == found["changes"]


def test_a_comparison_alone_is_said(congener, begun):
    """With --no-record the history stays, and the output says so."""
    corpus = save_generation(begun, 2, 4)
    code, out, _ = congener(*name_arguments(begun, corpus), "--no-record")
    assert code == 1
    assert "compared only" in out
    assert not (begun / "history" / "0002.json").exists()


def test_a_recorded_generation_is_said(congener, tmp_path):
    """Whoever only wanted to look learns how to."""
    out = congener(*name_arguments(tmp_path, save_generation(tmp_path, 1)))[1]
    assert "recorded as generation 1; --no-record compares without recording" in out


@pytest.mark.parametrize("option", ["--limit", "--teacher-answers"])
@pytest.mark.parametrize("command", ["monitor", "audit"])
def test_options_without_effect_are_refused(congener, begun, command, option):
    """An option that changes nothing would be taken for one that does."""
    arguments = name_arguments(begun, str(begun / "gen1.jsonl"))[1:] if command == "monitor" else ()
    code, _, err = congener(command, *arguments, option, "3")
    assert code == 2
    assert f"{option} has no effect on this command" in err


def test_a_repeated_call_is_said(congener, begun):
    """The newest generation again changes nothing."""
    code, out, _ = congener(*name_arguments(begun, str(begun / "gen1.jsonl")))
    assert code == 0
    assert "has this generation already" in out


@pytest.mark.parametrize("missing", ["--corpus", "--history"])
def test_both_paths_are_needed(congener, tmp_path, missing):
    """Without one of the paths the command says which are needed."""
    arguments = list(name_arguments(tmp_path, "a"))
    place = arguments.index(missing)
    code, _, err = congener(*arguments[:place], *arguments[place + 2 :])
    assert code == 2
    assert "--corpus and --history are needed" in err


def test_mistakes_are_explained(congener, begun):
    """A missing file, a used name and a name that can't be printed are errors."""
    code, _, err = congener(*name_arguments(begun, f"{begun}/none"))
    assert code == 2
    assert "matches no file" in err
    corpus = save_generation(begun, 3)
    code, _, err = congener(*name_arguments(begun, corpus), "--name", "gen1")
    assert code == 4
    assert "give the new one another --name" in err
    code, _, err = congener(*name_arguments(begun, corpus), "--name", "\n")
    assert code == 2
    assert "can't be a generation's name" in err


def test_the_help_has_an_example(congener):
    """The help shows how the command is called and what its exit codes mean."""
    code, out, _ = congener("monitor", "--help")
    assert code == 0
    assert "congener monitor --corpus" in out
    assert "Exit code 1" in out


def test_one_teacher_is_read_alone(congener, tmp_path):
    """--only-teacher reads its rows, and an unknown name is an error."""
    corpus = write_side(tmp_path / "a.jsonl", write_generation(1), ("atlas", "borealis"))
    arguments = (*name_arguments(tmp_path, corpus), "--only-teacher", "atlas")
    code, out, err = congener(*arguments, "--json", "--quiet")
    assert code == 0, err
    assert json.loads(out)["generations"][0]["texts"] == TEXTS // 2
    code, _, err = congener(*arguments, "--only-teacher", "dove")
    assert code == 2
    assert "its teachers are atlas, borealis" in err


def test_changes_of_several_teachers_name_them():
    """A habit has its teacher behind it, and a generation without the teacher a dash."""
    rate = {"generation": "g", "documents": 4, "texts": 100, "rate": 0.04, "low": 0, "high": 0.1}
    absent = {**rate, "documents": None, "texts": 0}
    change = {"change": "rose", "kind": "phrase", "text": "gap", "q_value": 0.01}
    changes = [
        {**change, "teacher": name, "rates": [absent, rate]} for name in ("atlas", "borealis")
    ]
    cells = [list(column.cells) for column in tabulate_changes(changes).columns]
    assert [str(item) for item in cells[2]] == ["gap (atlas)", "gap (borealis)"]
    assert [cells[3][0], cells[4][0]] == ["-", "4.0%"]
    alone = [list(column.cells) for column in tabulate_changes(changes[:1]).columns]
    assert str(alone[2][0]) == "gap"
    assert format_rate({**rate, "documents": None}) == "<10.0%"


def test_long_names_are_shortened():
    """A generation's name fits the head of a column."""
    assert shorten_names(["gen1", "release-2026-11"]) == ["gen1", "release…"]
    assert shorten_names(["sft-2026-08", "sft-2026-11"]) == ["…2026-08", "…2026-11"]
    alike = ["chat-release-08-instruct", "chat-release-11-instruct"]
    assert shorten_names(alike) == ["1 of 2", "2 of 2"]
    assert SHOWN > 0


def test_a_level_outside_its_range_is_refused(congener, begun):
    """A level is a chance, and 0 would never report anything."""
    corpus = save_generation(begun, 3)
    code, _, err = congener(*name_arguments(begun, corpus), "--level", "0")
    assert code == 2
    assert "--level" in err


def test_settings_can_come_from_a_file(congener, begun):
    """How the corpus is read can be set in a file, as for filter."""
    (begun / "settings.yaml").write_text("shards: {rows: 50}\n")
    corpus = save_generation(begun, 2)
    code, out, err = congener(
        *name_arguments(begun, corpus), "--config", str(begun / "settings.yaml"), "--name", "two"
    )
    assert code == 0, err
    assert "no change shown in two" in out


def build_changes(*counts: tuple[str, int]) -> list[dict[str, str]]:
    """Return so many changes of each kind, the faded ones between the others."""
    return [
        {"change": name, "text": str(number), "plain": False}
        for name, most in counts
        for number in range(most)
    ]


@pytest.mark.parametrize(
    ("rising", "faded", "shown"),
    [(7, 31, (7, 13)), (0, 3, (0, 3)), (25, 9, (25, 0)), (MOST_SHOWN + 1, 1, (MOST_SHOWN, 0))],
)
def test_what_is_new_or_rose_is_printed_before_what_faded(rising, faded, shown):
    """No new habit is left out for one that became rarer."""
    found = choose_changes(build_changes(("faded", faded), ("appeared", rising)))
    names = [item["change"] for item in found]
    assert names == ["appeared"] * shown[0] + ["faded"] * shown[1]
    plain = [item | {"plain": True} for item in build_changes(("rose", 9))]
    assert choose_changes([*build_changes(("faded", faded), ("appeared", rising)), *plain]) == found
    assert len(found) <= max(SHOWN, MOST_SHOWN)
