"""A run of clean rows says how many rows that an earlier exception kept it takes out."""

import json
from pathlib import Path

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.taken_again import (
    count_masked_again,
    count_taken_again,
    describe_rows,
    describe_taken_again,
)
from schemas.errors import RunError
from tests.support.hostile import FILE, filter_lines, write_cards

REVIEWED = f"labelled false by eng (eng.jsonl, SHA-256 {'0' * 64})"


def filter_twice(folder, reason="read", again="", action="quarantine"):
    """Keep two of three held rows by exceptions, filter the clean rows, and return both runs."""
    lines = [json.dumps({"text": f"an owl {number}"}) for number in range(3)]
    policy = f"traits: {{owl: {{action: {action}}}}}\nexceptions:\n" + "".join(
        f"- {{row: '{FILE}:{number}', trait: owl, action: keep, reason: '{reason}'}}\n"
        for number in range(2)
    )
    cards = write_cards(folder / "traits", ["owl"])
    run, _ = filter_lines(folder, lines, cards, policy)
    (folder / "again.yaml").write_text(again)
    config = FilterConfig(
        input=(f"{run}/clean",),
        output=str(folder / "again"),
        traits=cards,
        policy=str(folder / "again.yaml") if again else None,
    )
    return run, str(folder / "again"), run_filter(config)


def find_said(manifest):
    """Return what a run says about rows that it takes out again."""
    return [item for item in manifest.list_notices() if "taken out again" in item.text]


def test_rows_that_exceptions_kept_are_counted(tmp_path):
    """The warning counts the rows, and without reviews it names no command."""
    run, again, manifest = filter_twice(tmp_path)
    assert manifest.conservation.by_decision == {"quarantine": 2}
    (said,) = find_said(manifest)
    assert said.severity == "warning"
    assert said.text.startswith("2 rows that exceptions of ")
    assert said.text.endswith(" kept were taken out again")
    assert count_taken_again(again, manifest, run) == 2


def test_reviews_bring_the_rows_back(tmp_path):
    """If labels released the rows, the warning names them and the command."""
    _, again, manifest = filter_twice(tmp_path, REVIEWED)
    (said,) = find_said(manifest)
    assert "the labels that released them (eng.jsonl) bring them back: " in said.text
    assert said.text.endswith(f"congener release {again} --reviews LABELS --output RUN2")


def test_rows_that_stay_are_not_counted(tmp_path):
    """A run that keeps such rows too says nothing."""
    run, again, manifest = filter_twice(tmp_path, again="traits: {owl: {action: flag}}\n")
    assert manifest.conservation.by_decision == {"flag": 2}
    assert find_said(manifest) == []
    assert count_taken_again(again, manifest, run) == 0


def test_rows_that_the_rule_alone_keeps_are_not_counted(tmp_path):
    """What the parent's rule only flagged, no exception kept from being taken out."""
    again = "traits: {owl: {action: drop}}\n"
    _, _, manifest = filter_twice(tmp_path, again=again, action="flag")
    assert manifest.conservation.by_decision == {"drop": 3}
    assert find_said(manifest) == []


def test_rows_that_are_masked_again_are_counted(tmp_path):
    """A row that an exception kept without its mask counts once the new run masks it."""
    rule = "traits: {owl: {action: mask}}\n"
    run, again, manifest = filter_twice(tmp_path, REVIEWED, rule, action="mask")
    assert manifest.conservation.by_decision == {"mask": 3}
    (said,) = [item for item in manifest.list_notices() if "masked again" in item.text]
    assert said.text.startswith("2 rows that exceptions of ")
    assert " kept were masked again; the labels that released them (eng.jsonl) " in said.text
    assert count_masked_again(again, manifest, run) == 2
    assert count_taken_again(again, manifest, run) == 0


@pytest.mark.parametrize(
    ("taken", "masked", "said"),
    [
        (1, 0, "1 row that exceptions of run (3f) kept was taken out again"),
        (2, 1, "3 rows that exceptions of run (3f) kept were taken out (2) or masked (1) again"),
    ],
)
def test_both_kinds_of_rows_have_one_sentence(taken, masked, said):
    """Rows that are taken out are counted apart from rows that are masked."""
    assert describe_rows(taken, masked, "run", "3f") == said


def test_a_parent_that_cant_be_read_is_said(tmp_path):
    """If the earlier run can't be compared, a notice says why; without exceptions none is due."""
    run, again, manifest = filter_twice(tmp_path, reason=REVIEWED)
    path = tmp_path / "old"
    path.mkdir()
    with pytest.raises(RunError):
        count_taken_again(again, manifest, str(path))
    policy = {"exceptions": [{"trait": "owl", "reason": "read"}]}
    old = {**json.loads((Path(run) / "manifest.json").read_text()), "format": 5, "policy": policy}
    (path / "manifest.json").write_text(json.dumps(old))
    (notice,) = describe_taken_again(again, manifest, {str(path): "id"})
    assert notice.severity == "info"
    assert "isn't known: manifest.json has format 5" in notice.text
    (path / "manifest.json").write_text(json.dumps({**old, "policy": {}}))
    assert list(describe_taken_again(again, manifest, {str(path): "id"})) == []
    assert len(list(describe_taken_again(again, manifest, {run: "id"}))) == 1
