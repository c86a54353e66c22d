"""The closing lines of a run: its clean rows, and what a trainer must do with masks."""

import pytest
import yaml

from pipelines.cli.trainer_lines import (
    Command,
    count_doubtful_rows,
    describe_clean_rows,
    describe_doubtful_rows,
    describe_removals,
    describe_useless_exceptions,
    has_useless_exceptions,
    list_measure_commands,
    list_return_commands,
    list_swap_commands,
    render_commands,
)
from pipelines.diagnosis import LEAVE_OUT
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
    said = "for the trainer: 5 rows in a run/clean"
    if not masks:
        assert (first, others) == (said, [])
        return
    (command,) = others
    assert first.startswith(f"{said}; {masks} in the field `congener`. A trainer ignores masks and")
    assert command.strip() == "congener apply-masks 'a run' --output TOKENS --tokenizer STUDENT"


@pytest.mark.parametrize(("rows", "said"), [(1, "1 held row waits"), (4, "4 held rows wait")])
def test_rows_that_wait_for_a_swap_have_the_command(no_rows, rows, said):
    """Held rows that wait are counted, with the command that puts other answers in place."""
    waiting = Output(path="swaplist/part-000000.parquet", rows=rows, bytes=9, sha256="ab" * 32)
    manifest = no_rows.model_copy(update={"outputs": (*no_rows.outputs, waiting)})
    (command,) = list_swap_commands("a run", manifest)
    assert command == (
        "congener swap 'a run' --donor CORPUS --output RUN2",
        f"{said} for another teacher's answer",
    )
    assert list(list_swap_commands("a run", no_rows)) == []


def test_a_trait_of_the_users_own_has_the_command_that_measures_it(no_rows):
    """It names the first trait that isn't the library's; a run of the library has no such line."""
    (command,) = list_measure_commands("a run", no_rows)
    assert command == (
        "congener traits eval owl --run 'a run'",
        "draws rows for you to read, and measures the trait",
    )
    shipped = no_rows.model_copy(update={"cards": {"coercion": {}, "vendor-identity": {}}})
    assert list(list_measure_commands("a run", shipped)) == []
    mixed = no_rows.model_copy(update={"cards": {"coercion": {}, **no_rows.cards}})
    assert list(list_measure_commands("a run", mixed)) == [command]


def test_clean_texts_are_pruned_before_the_trait_is_measured(no_rows):
    """While a run advises to leave clean texts out, that command is first."""
    text = f"trait owl: 3 of 4. Narrow the patterns, {LEAVE_OUT}, or accept a milder level"
    found = {"notices": [{"text": text, "severity": "warning"}]}
    warned = no_rows.model_copy(update={"circumstances": found})
    first, second = list_measure_commands("a run", warned)
    assert first.text == "congener traits check CARD --bank 'a run/bank'"
    assert first.remark == "do this first: lists the clean texts that raise the threshold of owl"
    assert second.text == "congener traits eval owl --run 'a run'"
    other = {"notices": [{"text": text.replace("owl", "heron")}]}
    alone = no_rows.model_copy(update={"circumstances": other})
    assert list(list_measure_commands("a run", alone)) == [second]


def test_commands_have_a_line_each():
    """The first command has a label, the others are below it, and remarks are in brackets."""
    lines = render_commands([Command("congener diff a b"), Command("congener report b", "a page")])
    assert list(lines) == ["next: congener diff a b", "      congener report b   (a page)"]


def test_held_rows_have_commands_that_treat_them_otherwise(run):
    """Where rows are held, two commands put them back; the policy shown is one that parses."""
    folder, manifest = run
    release, decide = list_return_commands(str(folder), manifest, ["heron"])
    assert release.text == f"congener release {folder} --reviews LABELS --output RUN2"
    assert decide.text == f"congener decide {folder} --policy POLICY --output RUN2"
    shown = yaml.safe_load(decide.remark.split("`")[1])
    assert shown == {"traits": {"heron": {"action": "flag"}}}
    (_, other) = list_return_commands(str(folder), manifest, [])
    assert "traits: {TRAIT: " in other.remark
    counts = manifest.conservation.model_copy(update={"by_decision": {"keep": 40}})
    kept = manifest.model_copy(update={"conservation": counts})
    assert list(list_return_commands(str(folder), kept, ["heron"])) == []


def test_one_total_for_wrong_removals(run):
    """The total names what isn't promised, and is left out if no row was removed."""
    manifest = run[1]
    (said,) = describe_removals(manifest)
    assert "allow that all 8 removed rows are clean; nothing is promised for heron" in said
    (unread,) = describe_removals(manifest, 0)
    assert unread == said
    (read,) = describe_removals(manifest, 7)
    assert read == (
        "your labels say that 7 of the 8 removed rows show their trait; the bounds of all traits "
        "together allow that the other one is clean"
    )
    (first,) = describe_removals(manifest, 1)
    assert "1 of the 8 removed rows shows its trait; the bounds" in first
    assert first.endswith("allow that the other 7 are clean")
    (whole,) = describe_removals(manifest, 8)
    assert whole == "your labels say that all 8 removed rows show their trait"
    counts = manifest.conservation.model_copy(update={"by_decision": {"keep": 40}})
    assert list(describe_removals(manifest.model_copy(update={"conservation": counts}))) == []


def warn_of_herons(manifest, caution="None was right: read these rows before you act on them."):
    """Return the manifest with a caution on the card of heron."""
    card = {**manifest.cards["heron"], "caution": caution}
    return manifest.model_copy(update={"cards": {**manifest.cards, "heron": card}})


def test_rows_that_a_doubtful_trait_holds_are_counted(run):
    """Held rows of a trait with a caution are counted, with the command that shows them."""
    folder, manifest = str(run[0]), run[1]
    assert not count_doubtful_rows(folder, manifest)
    assert list(describe_doubtful_rows(folder, manifest, {})) == []
    doubtful = warn_of_herons(manifest)
    found = count_doubtful_rows(folder, doubtful)
    assert found == {("heron", "quarantine"): 8}
    said, heron, command = map(str, describe_doubtful_rows(folder, doubtful, found))
    assert said == (
        "read these rows before you act on them (if you want a certificate, congener certify "
        "first):"
    )
    assert heron == "      heron, 8 rows: None was right"
    assert command == (
        f"      congener inspect {folder} --trait heron --decision quarantine   (on a page: "
        f"congener review {folder})"
    )


@pytest.mark.parametrize(
    ("caution", "shown"),
    [
        (
            "17 of 75 were right: most refuse. Read these rows before you act on them.",
            "most refuse",
        ),
        ("Herons look like storks.", "storks."),
    ],
)
def test_a_caution_says_to_read_the_rows_once(run, caution, shown):
    """The end that the line above says is left out, and any other caution is whole."""
    lines = describe_doubtful_rows("r", warn_of_herons(run[1], caution), {("heron", "mask"): 2})
    _, heron, command = map(str, lines)
    assert heron.startswith("      heron, 2 rows: ")
    assert heron.endswith(shown)
    assert "congener inspect r --trait heron   (" in command


def test_rows_that_were_held_before_are_known(run):
    """After a decision, rows with the decision that they had before aren't counted again."""
    folder, manifest = str(run[0]), warn_of_herons(run[1])
    assert count_doubtful_rows(folder, manifest, (folder, manifest)) == {}


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
