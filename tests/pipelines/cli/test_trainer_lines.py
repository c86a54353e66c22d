"""The closing lines of a run: its clean rows, and what a trainer must do with masks."""

import pytest
import yaml

from pipelines.cli.trainer_lines import (
    describe_clean_rows,
    describe_doubtful_rows,
    describe_removals,
    describe_useless_exceptions,
    describe_waiting_rows,
    has_useless_exceptions,
)
from schemas.manifests import Conservation, Output
from schemas.policies import Policy
from schemas.receipts import ExceptionEffect, NoteCounts


@pytest.mark.parametrize(
    ("notes", "masks"),
    [
        (NoteCounts(), ""),
        (NoteCounts(masked=1), "1 has masks"),
        (NoteCounts(masked=3, masked_before=2), "3 have masks (2 only from an earlier run)"),
    ],
)
def test_masked_rows_have_the_command(no_rows, notes, masks):
    """The clean rows are counted, and masked ones come with the command that applies masks."""
    counts = Conservation(rows_in=9, by_decision={"keep": 2, "mask": 3, "drop": 4})
    manifest = no_rows.model_copy(update={"conservation": counts, "notes": notes})
    first, *others = map(str, describe_clean_rows("a run", manifest))
    assert first == "for the trainer: 5 rows in a run/clean"
    if not masks:
        assert others == []
        return
    said, command = others
    assert said.startswith(f"of these rows, {masks} in the field `congener`. A trainer that")
    assert command.strip() == "congener apply-masks 'a run' --output TOKENS --tokenizer STUDENT"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (1, "1 held row has the action swap: until another teacher answers its prompt, it waits"),
        (4, "4 held rows have the action swap: until another teacher answers their prompts, they"),
    ],
)
def test_rows_that_wait_for_a_swap_have_the_command(no_rows, rows, said):
    """Held rows that wait are counted, with the command that puts other answers in place."""
    waiting = Output(path="swaplist/part-000000.parquet", rows=rows, bytes=9, sha256="ab" * 32)
    manifest = no_rows.model_copy(update={"outputs": (*no_rows.outputs, waiting)})
    first, command = map(str, describe_waiting_rows("a run", manifest))
    assert first.startswith(said)
    assert command.strip() == "congener swap 'a run' --donor CORPUS --output RUN2"
    assert list(describe_waiting_rows("a run", no_rows)) == []


def test_one_total_for_wrong_removals(run):
    """The total names what isn't promised, and is left out if no row was removed."""
    manifest = run[1]
    (said,) = describe_removals(manifest)
    assert "allow that all 8 removed rows are clean; nothing is promised for heron" in said
    counts = manifest.conservation.model_copy(update={"by_decision": {"keep": 40}})
    assert list(describe_removals(manifest.model_copy(update={"conservation": counts}))) == []


def test_rows_that_a_doubtful_trait_holds_are_counted(run):
    """Held rows of a trait with a caution are counted, with the command that shows them."""
    folder, manifest = run
    assert list(describe_doubtful_rows(str(folder), manifest)) == []
    card = {**manifest.cards["heron"], "caution": "Herons look like storks."}
    doubtful = manifest.model_copy(update={"cards": {**manifest.cards, "heron": card}})
    said, command, remedy = map(str, describe_doubtful_rows(str(folder), doubtful))
    assert said.startswith("heron, whose card has a caution, holds rows. Read them before you")
    assert "you decide (if you want a certificate, congener certify first): a row" in said
    assert "can be taken back" in said
    assert command.strip() == (
        f"congener inspect {folder} --trait heron --decision quarantine   (8 rows)"
    )
    assert yaml.safe_load(remedy.split("`")[1]) == {"traits": {"heron": {"action": "flag"}}}
    assert remedy.endswith(f"congener decide {folder} --policy FILE --output RUN2")


def test_exceptions_that_do_nothing_are_named(run):
    """An idle exception and one for no row have a line each, and a used one has none."""
    folder, manifest = run
    rows = ("0.jsonl:0", "0.jsonl:1", "0.jsonl:77")
    given = [{"row": row, "action": "keep", "reason": "read"} for row in rows]
    policy = Policy.model_validate({"exceptions": given})
    effects = (ExceptionEffect(rows=1), ExceptionEffect(rows=1), ExceptionEffect())

    def pick(*numbers):
        own = {"exceptions": [policy.model_dump(mode="json")["exceptions"][at] for at in numbers]}
        found = tuple(effects[at] for at in numbers)
        return manifest.model_copy(update={"policy": own, "exceptions": found})

    idle, unmatched = describe_useless_exceptions(str(folder), pick(0, 1, 2))
    assert "1 exception of the policy changes nothing on its row: 1 (row 0.jsonl:0)" in idle
    assert "1 exception of the policy matches no row, so it changed nothing: 3 (row" in unmatched
    for numbers, is_useless in (((1,), False), ((0,), True), ((2,), True), ((), False)):
        assert has_useless_exceptions(str(folder), pick(*numbers)) is is_useless


def test_a_doubtful_trait_that_only_flags_holds_nothing(congener, run, tmp_path):
    """Where the policy only flags, no held rows are counted, neither in words nor at the end."""
    folder = run[0]
    policy = tmp_path / "flag.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n")
    flagged = tmp_path / "flagged"
    words = ("decide", str(folder), "--policy", str(policy), "--output", str(flagged))
    code, out, err = congener(*words)
    assert code == 0, err
    assert "caution" not in out
