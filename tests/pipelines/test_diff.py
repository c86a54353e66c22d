"""Comparing two runs row by row."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.diff import KINDS, Move, RunComparison, compare_runs, list_differences
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import scan_ledger
from pipelines.swap import SwapConfig, run_swap
from schemas import outputs
from schemas.digests import digest_bytes
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.policies import PUBLISHED, Policy
from schemas.receipts import Output
from schemas.runs import MANIFEST
from tests.support.corpora import build_conversation, write_rows
from transforms.write import encode_parquet

Row = dict[str, Any]
WriteRun = Callable[[str, Sequence[Row]], str]

TRAITS = ("heron", "owl", "owl@rejected")

SAME_ACTION = (
    "owl: the action is the same; one policy names it, and in the other run its card gives it"
)


def build_row(number: int, **fields: Any) -> Row:
    """Return a ledger row; `traits` names the traits that fire on it."""
    traits = fields.pop("traits", ())
    digest = fields.pop("content", f"text {number}")
    reasons = [
        {
            "trait": trait.partition("@")[0],
            "signal": f"combined{trait[trait.index('@') :]}" if "@" in trait else "combined",
            "score": 0.9,
            "threshold": 0.7,
            "field_path": "text",
            "start": 0,
            "end": 1,
        }
        for trait in traits
    ]
    return {
        "source": "a.jsonl",
        "row": number,
        "decision": "keep",
        "teacher": "atlas",
        "content_digest": digest_bytes(digest.encode()),
        "reasons": reasons,
        **fields,
    }


def write_run(folder: Path, rows: Sequence[Row], manifest: Manifest) -> str:
    """Write a run with this ledger, and nothing else."""
    columns = {name: [row.get(name) for row in rows] for name in outputs.LEDGER.names}
    data = encode_parquet(pa.Table.from_pydict(columns, outputs.LEDGER))
    path = "ledger/part-000000-0123456789ab.parquet"
    (folder / "ledger").mkdir(parents=True)
    (folder / path).write_bytes(data)
    output = Output(path=path, rows=len(rows), bytes=len(data), sha256=digest_bytes(data))
    sealed = manifest.model_copy(update={"outputs": (output,)}).seal()
    (folder / MANIFEST).write_bytes(sealed.to_bytes())
    return str(folder)


@pytest.fixture
def write(finished: tuple[Path, Manifest], tmp_path: Path) -> WriteRun:
    """Return a function that writes a run with a ledger."""
    return lambda name, rows: write_run(tmp_path / name, rows, finished[1])


def test_a_run_equals_itself(finished):
    """A run and itself don't differ in any row."""
    run, manifest = finished
    found = compare_runs(str(run), str(run))
    assert (found.changed, found.kinds, found.moves, found.lots) == (0, {}, [], [])
    assert found.rows == manifest.conservation.rows_in
    assert found.settings == []
    assert [item.trait for item in found.traits] == sorted(manifest.fired)


def test_every_kind_of_change_is_told_apart(write):
    """Each row has one kind, and rows that stay as they are have none."""
    before = [
        build_row(0, decision="keep"),
        build_row(1, decision="quarantine", traits=["owl"]),
        build_row(2, decision="flag", traits=["owl"]),
        build_row(3, decision="keep", traits=["heron"]),
        build_row(4, content="old"),
        build_row(5),
        build_row(7, decision="drop", traits=["owl"]),
        build_row(8, decision="mask", traits=["owl"]),
        build_row(9, decision="mask", traits=["owl"]),
        build_row(10, decision="flag", traits=["owl"]),
    ]
    after = [
        build_row(0, decision="drop", traits=["owl"]),
        build_row(1, decision="keep"),
        build_row(2, decision="keep", traits=["owl"]),
        build_row(3, decision="keep", traits=["owl"]),
        build_row(4, content="new"),
        build_row(6),
        build_row(7, decision="drop", traits=["owl"]),
        build_row(8, decision="mask", traits=["owl"]),
        build_row(9, decision="flag", traits=["owl"]),
        build_row(10, decision="mask", traits=["owl"]),
    ]
    found = compare_runs(write("one", before), write("two", after))
    assert found.kinds == dict.fromkeys(KINDS, 1)
    assert (found.rows, found.changed) == (11, 9)
    assert [(item.kind, item.row) for item in found.examples] == list(
        zip(KINDS, (0, 1, 10, 9, 2, 3, 4, 5, 6), strict=True)
    )
    assert found.moves == [
        Move("keep", "drop", 1),
        Move("keep", None, 1),
        Move("flag", "keep", 1),
        Move("flag", "mask", 1),
        Move("mask", "flag", 1),
        Move("quarantine", "keep", 1),
        Move(None, "keep", 1),
    ]


def test_traits_count_what_they_lost_and_found(write):
    """A trait's rows are counted in both runs, and its findings on each side apart."""
    before = [
        build_row(0, traits=["heron", "owl"], decision="drop"),
        build_row(1, traits=["owl"]),
        build_row(2, traits=["owl@rejected"]),
    ]
    after = [
        build_row(0, traits=["owl"], decision="keep"),
        build_row(1, traits=["owl"]),
        build_row(2, traits=["heron"]),
    ]
    found = {
        item.trait: item for item in compare_runs(write("a", before), write("b", after)).traits
    }
    assert found["heron"][1:5] == (1, 1, 1, 1)
    assert found["heron"].kinds == {"published": 1, "other traits": 1}
    assert found["owl"][1:5] == (2, 2, 0, 0)
    assert found["owl"].kinds == {"published": 1}
    assert found["owl@rejected"][1:5] == (1, 0, 1, 0)


def test_lots_are_ordered_by_changed_rows(write):
    """Only lots with changed rows are listed, with all their rows counted."""
    teachers = ["atlas", "atlas", "borealis", "borealis", "borealis", "cumulus"]
    before = [build_row(number, teacher=name) for number, name in enumerate(teachers)]
    after = [{**row, "decision": "drop" if row["row"] in (0, 2, 3) else "keep"} for row in before]
    found = compare_runs(write("one", before), write("two", after))
    assert [(lot.lot["teacher"], lot.rows, lot.changed) for lot in found.lots] == [
        ("borealis", 3, 2),
        ("atlas", 2, 1),
    ]
    assert found.lots[0].kinds == {"removed": 2}
    assert found.lots[0].lot["prompt_source"] == "-"


def test_examples_are_the_first_rows_with_their_reasons(write):
    """Each kind has at most so many examples, in the order of the corpus."""
    before = [build_row(number, decision="drop", traits=["owl"]) for number in range(9)]
    after = [build_row(number) for number in range(9)]
    one, two = write("one", before), write("two", after)
    found = compare_runs(one, two, examples=2)
    assert [item.row for item in found.examples] == [0, 1]
    assert found.examples[0].reasons_before[0]["trait"] == "owl"
    assert found.examples[0].reasons_after == []
    assert compare_runs(one, two, examples=0).examples == []


def test_each_pair_of_decisions_has_an_example(write):
    """A pair whose rows come late is shown before a second row of another pair."""
    decisions = [*["quarantine"] * 6, "drop", "quarantine"]
    before = [build_row(number, decision=name) for number, name in enumerate(decisions)]
    after = [build_row(number) for number in range(7)] + [build_row(7, decision="mask")]
    one, two = write("one", before), write("two", after)
    assert [item.row for item in compare_runs(one, two, examples=4).examples] == [0, 1, 6, 7]
    for number in (1, 2, 3):
        found = compare_runs(one, two, examples=number).examples
        assert [item.row for item in found] == [0, 6, 7]
        assert [(item.before, item.after) for item in found] == [
            ("quarantine", "keep"),
            ("drop", "keep"),
            ("quarantine", "mask"),
        ]


def test_rows_of_other_corpora_are_matched_by_content(finished, tmp_path):
    """Copies are matched in order, whatever their places are."""
    _, manifest = finished
    name, rows, digest = manifest.identity.inputs[0]
    identity = manifest.identity.model_copy(update={"inputs": ((name, rows + 1, digest),)})
    other = manifest.model_copy(update={"identity": identity})
    before = [build_row(number, content=text) for number, text in enumerate("abba")]
    after = [
        build_row(number, content=text, decision=decision)
        for number, (text, decision) in enumerate(
            [("c", "keep"), ("b", "keep"), ("a", "drop"), ("b", "drop")]
        )
    ]
    one, two = write_run(tmp_path / "1", before, manifest), write_run(tmp_path / "2", after, other)
    found = compare_runs(one, two)
    assert found.by_content
    assert found.kinds == {"removed": 2, "only in the first": 1, "only in the second": 1}
    assert any("input" in line for line in found.settings)
    places = {(item.kind, item.row) for item in found.examples}
    assert places == {
        *(("removed", 0), ("removed", 2)),
        *(("only in the first", 3), ("only in the second", 0)),
    }


def test_digests_of_other_keys_cant_be_compared(finished, tmp_path):
    """Rows of other corpora need digests of one key; on the same corpus, texts are left out."""
    _, manifest = finished
    keyed = manifest.identity.model_copy(update={"digest_key": "0" * 16})
    moved = keyed.model_copy(update={"inputs": ()})
    rows = [build_row(0)]
    one = write_run(tmp_path / "one", rows, manifest)
    same = write_run(
        tmp_path / "same",
        [build_row(0, content="keyed")],
        manifest.model_copy(update={"identity": keyed}),
    )
    other = write_run(tmp_path / "other", rows, manifest.model_copy(update={"identity": moved}))
    assert compare_runs(one, same).changed == 0
    with pytest.raises(RunError, match="has digests of another key"):
        compare_runs(one, other)


ledger_rows = st.builds(
    dict,
    decision=st.sampled_from(["keep", "flag", "mask", "quarantine", "drop", "duplicate"]),
    traits=st.lists(st.sampled_from(TRAITS), unique=True).map(sorted),
    teacher=st.sampled_from(["atlas", None]),
    content=st.sampled_from(["a", "b"]),
)
ledgers = st.lists(st.one_of(st.none(), ledger_rows), min_size=6, max_size=6)


MASK_KINDS = {
    ("mask", "keep"): "published text",
    ("mask", "flag"): "published text",
    ("keep", "mask"): "masked text",
    ("flag", "mask"): "masked text",
}


def find_kind(one: Row | None, two: Row | None) -> str | None:
    """Tell a row's kind of change in plain Python."""
    if one is None or two is None:
        return "only in the second" if one is None else "only in the first"
    was, now = (row["decision"] in PUBLISHED for row in (one, two))
    if was != now:
        return "published" if now else "removed"
    if one["decision"] != two["decision"]:
        pair = (one["decision"], two["decision"])
        return MASK_KINDS.get(pair, "other action")
    if one["traits"] != two["traits"]:
        return "other traits"
    return "other text" if one["content"] != two["content"] else None


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ledgers, ledgers)
def test_counts_are_those_of_a_loop_over_the_rows(finished, before, after):
    """Kinds, moves and traits agree with a comparison in plain Python."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            write_run(
                Path(folder, name),
                [build_row(number, **row) for number, row in enumerate(rows) if row is not None],
                finished[1],
            )
            for name, rows in (("one", before), ("two", after))
        ]
        found = compare_runs(*runs)
    pairs = [pair for pair in zip(before, after, strict=True) if pair != (None, None)]
    kinds = Counter(kind for pair in pairs if (kind := find_kind(*pair)) is not None)
    assert found.kinds == dict(kinds)
    assert (found.rows, found.changed) == (len(pairs), kinds.total())
    decisions = [tuple(row and row["decision"] for row in pair) for pair in pairs]
    moves = Counter(pair for pair in decisions if pair[0] != pair[1])
    assert {(move.before, move.after): move.rows for move in found.moves} == dict(moves)
    check_traits(found, pairs)


def check_traits(found: RunComparison, pairs: Sequence[tuple[Row | None, Row | None]]) -> None:
    """Compare the counts of traits with sets of rows."""
    for trait in TRAITS:
        was, now = (
            {n for n, pair in enumerate(pairs) if pair[side] and trait in pair[side]["traits"]}
            for side in (0, 1)
        )
        item = next((item for item in found.traits if item.trait == trait), None)
        if not was | now:
            assert item is None
            continue
        assert item is not None
        assert item[1:5] == (len(was), len(now), len(was - now), len(now - was))
        changed = sum(find_kind(*pairs[number]) is not None for number in was | now)
        assert sum(item.kinds.values()) == changed


def test_a_decided_run_differs_where_its_policy_does(run, policy, tmp_path):
    """The moves add up to the difference of both manifests' counts."""
    folder, manifest = run
    given = FilterConfig(
        output=str(tmp_path / "again"), policy=policy("traits: {heron: {action: drop}}")
    )
    decided = run_decide(DecideConfig(run=str(folder), filter=given))
    found = compare_runs(str(folder), given.output)
    assert found.settings == ["heron: quarantine (by its card) → drop"]
    counts = Counter(manifest.conservation.by_decision)
    for move in found.moves:
        counts[str(move.before)] -= move.rows
        counts[str(move.after)] += move.rows
    assert +counts == Counter(decided.conservation.by_decision)
    assert found.kinds == {"other action": manifest.fired["heron"]}
    back = compare_runs(given.output, str(folder))
    assert [(move.after, move.before, move.rows) for move in back.moves] == [
        (move.before, move.after, move.rows) for move in found.moves
    ]


def test_rows_that_a_person_took_out_did_not_fire(run, policy, tmp_path):
    """An exception removes a row without a finding, which isn't counted as one of the trait."""
    folder, _ = run
    rows = scan_ledger(str(folder), load_manifest(str(folder))).collect()
    source, row = rows.filter(decision="keep").select("source", "row").row(0)
    named = f"{{row: '{source}:{row}', trait: heron, action: quarantine, reason: read}}"
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy(f"exceptions: [{named}]"))
    run_decide(DecideConfig(run=str(folder), filter=given))
    found = compare_runs(str(folder), given.output)
    assert (found.kinds, found.taken_out) == ({"removed": 1}, (0, 1))
    (heron,) = found.traits
    assert (heron.lost, heron.found, heron.kinds) == (0, 0, {})


def test_a_swapped_run_has_other_texts(held, tmp_path):
    """Replaced answers are published again, and rows that weren't held stay the same."""
    settings = FilterConfig(output=str(tmp_path / "swapped"))
    donors = (str(held / "oak.jsonl"),)
    manifest = run_swap(SwapConfig(run=str(held / "run"), donors=donors, filter=settings))
    found = compare_runs(str(held / "run"), settings.output)
    assert manifest.swap is not None
    assert found.kinds == {"published": manifest.swap.counts.replaced}
    assert found.moves == [Move("quarantine", "swap", manifest.swap.counts.replaced)]
    assert found.settings == [
        "only the second run has a swap with donor oak, of rows with the action swap"
    ]
    back = compare_runs(settings.output, str(held / "run"))
    assert back.settings == [found.settings[0].replace("second", "first")]


def test_swaps_mixes_and_exceptions_are_named_as_such(finished):
    """What only one run has is named; what both have is compared field by field."""
    _, manifest = finished
    donors = [{"name": "oak"}, {"name": "elm"}]
    swap = {"donors": donors, "replace": ["swap", "quarantine"], "near": 0.2, "spans": True}
    mix = {"donors": donors[:1], "share": 0.25}
    exceptions = [
        {"row": f"a.jsonl:{number}", "action": "keep", "reason": "fine"} for number in range(5)
    ]
    policy = Policy.model_validate({"exceptions": exceptions}).model_dump(mode="json")
    newer = manifest.model_copy(
        update={
            "config": {**manifest.config, "swap": swap, "mix": mix},
            "policy": {**(manifest.policy or {}), "exceptions": policy["exceptions"]},
            "identity": manifest.identity.model_copy(
                update={"config_digest": "other", "policy_digest": "other"}
            ),
        }
    )
    lines = list_differences(manifest, newer)
    assert lines[0] == (
        "only the second run has a swap of single sentences with donors oak, elm, of rows with "
        "the action swap or quarantine, also of prompts up to 0.2 away"
    )
    assert lines[1] == "only the second run has a mix with donor oak, share 25.00%"
    assert lines[2].startswith("only the second run has 5 exceptions (row a.jsonl:0: keep, ")
    assert lines[2].endswith("and 2 more; its report lists all)")
    assert len(lines) == 3
    config = {**newer.config, "mix": {**mix, "share": 0.5, "parent_root": "0" * 64}}
    identity = newer.identity.model_copy(update={"config_digest": "third"})
    third = newer.model_copy(update={"config": config, "identity": identity})
    assert list_differences(newer, third) == ["config.mix.share: was 0.25, is 0.5"]


def test_a_grown_corpus_has_rows_of_its_own(config, tmp_path):
    """Rows that both corpora have are matched, although a file was added before them."""
    rows = [build_conversation(number, f"Answer {number}.") for number in range(4)]
    for name in ("old", "new"):
        write_rows(tmp_path / name / "m.jsonl", rows)
    write_rows(tmp_path / "new" / "a.jsonl", [build_conversation(9, "Another heron.")])
    runs = []
    for name in ("old", "new"):
        update = {"input": (str(tmp_path / name),), "output": str(tmp_path / f"run-{name}")}
        run_filter(config.model_copy(update=update))
        runs.append(update["output"])
    found = compare_runs(*runs)
    assert found.by_content
    assert (found.rows, found.kinds) == (5, {"only in the second": 1})
    assert found.settings == ["input a.jsonl: is new"]


def test_settings_are_compared_by_name(finished):
    """Another version and another card are named."""
    _, manifest = finished
    identity = manifest.identity.model_copy(update={"code_version": "9.9", "bank_digest": "x"})
    cards = {**manifest.cards, "owl": {"id": "owl"}}
    newer = manifest.model_copy(update={"identity": identity, "cards": cards})
    lines = list_differences(manifest, newer)
    assert any(line.startswith("code_version: was ") for line in lines)
    assert any(line.startswith("traits.owl: was absent") for line in lines)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, "drop", ["owl: mask (by its card) → drop"]),
        ("drop", None, ["owl: drop → mask (by its card)"]),
        ("drop", "flag", ["owl: drop → flag"]),
        (None, "mask", [SAME_ACTION]),
    ],
)
def test_an_action_that_a_policy_leaves_out_is_that_of_the_card(no_rows, before, after, said):
    """A reader sees what happened to the trait's rows in both runs, and who decided it."""
    manifests = []
    for action in (before, after):
        policy = Policy.model_validate({"traits": {"owl": {"action": action}} if action else {}})
        changed = {
            "policy": policy.model_dump(mode="json"),
            "cards": {"owl": no_rows.cards["owl"] | {"action": "mask"}},
            "identity": no_rows.identity.model_copy(update={"policy_digest": str(action)}),
        }
        manifests.append(no_rows.model_copy(update=changed))
    assert list_differences(*manifests) == said


def test_every_difference_is_listed_and_equal_actions_come_last(no_rows):
    """A long policy hides no change, and traits without one share a line at the end."""
    names = [f"t{number:02d}" for number in range(30)]
    cards = {name: no_rows.cards["owl"] | {"id": name, "action": "mask"} for name in names}
    manifests = []
    for rules in ({}, {name: {"action": ("mask", "drop")[name > "t04"]} for name in names}):
        policy = Policy.model_validate({"traits": rules})
        identity = no_rows.identity.model_copy(update={"policy_digest": str(len(rules))})
        changed = {"policy": policy.model_dump(mode="json"), "cards": cards, "identity": identity}
        manifests.append(no_rows.model_copy(update=changed))
    lines = list_differences(*manifests)
    assert lines[:-1] == [f"{name}: mask (by its card) → drop" for name in names[5:]]
    assert lines[-1].startswith("t00, t01, t02, t03, t04: the action is the same")


def test_the_rule_of_every_other_trait_is_that_of_each(no_rows):
    """A trait has the same rule whether the policy names it or `*` holds for it."""
    manifests = []
    for traits in ({"*": {"action": "drop"}}, {"owl": {"action": "flag"}}):
        changed = {
            "policy": Policy.model_validate({"traits": traits}).model_dump(mode="json"),
            "identity": no_rows.identity.model_copy(update={"policy_digest": str(traits)}),
        }
        manifests.append(no_rows.model_copy(update=changed))
    assert "owl: drop → flag" in list_differences(*manifests)
    assert not any("*" in line for line in list_differences(*manifests))


def test_a_damaged_ledger_is_an_error(write):
    """A ledger that can't be read is reported, with the run."""
    one, two = write("one", [build_row(0)]), write("two", [build_row(0)])
    (path,) = Path(two, "ledger").iterdir()
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(RunError, match="can't be read"):
        compare_runs(one, two)
