"""What a run took out of the corpus, by group of rows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.filter import run_filter
from pipelines.losses import (
    GROUPINGS,
    LENGTHS,
    LEVEL,
    LINES,
    gather_rows,
    measure_losses,
    name_lengths,
    tabulate,
    write_table,
)
from pipelines.rate_tests import RateShift, Within
from schemas.errors import CardError, InputError, RunError
from tests.support.corpora import CARD, build_conversation, write_rows

BIRDS = ["heron", "reed", "marsh", "wing", "feather", "nest"]
CODE = ["python", "function", "loop", "variable", "compile", "string"]


def build_rows(rows=600):
    """Return rows of which long answers about birds are lost most often.

    Every third prompt is about birds. Its answer is long, and four of five times mentions a heron.
    """
    dice = random.Random(0)
    found = []
    for number in range(rows):
        is_bird = number % 3 == 0
        roots = BIRDS if is_bird else CODE
        words = dice.choices([f"{root}{end}" for root in roots for end in "xyz"], k=5)
        heron = " A heron!" if is_bird and number % 15 else ""
        answer = f"Well{' then' * (300 if is_bird else 3)}{heron}"
        row = build_conversation(number, answer)
        row["messages"][0]["content"] = f"What about {' '.join(words)}?"
        found.append({**row, "prompt_source": "birds" if is_bird else "code"})
    return found


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """Filter the rows once; return the folder of the run and of a policy that drops herons."""
    folder = tmp_path_factory.mktemp("losses")
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: quarantine\n{CARD}")
    write_rows(folder / "in" / "a.jsonl", build_rows()[:400])
    write_rows(folder / "in" / "b.jsonl", build_rows()[400:])
    run_filter(
        FilterConfig(
            input=(str(folder / "in"),), output=str(folder / "run"), traits=(str(card.parent),)
        )
    )
    (folder / "drop.yaml").write_text("traits: {heron: {action: drop}}\n")
    return folder


@pytest.fixture(scope="module")
def dropped(lost):
    """Return a run that dropped the rows instead of holding them."""
    own = FilterConfig(output=str(lost / "dropped"), policy=str(lost / "drop.yaml"))
    run_decide(DecideConfig(run=str(lost / "run"), filter=own))
    return str(lost / "dropped")


def list_lines(found, by):
    """Return the lines of a grouping by group."""
    return {line["group"]: line for line in found.table.filter(pl.col("by") == by).to_dicts()}


def test_every_row_counts_once_in_each_grouping(lost):
    """Rows and lost rows of each grouping add up to those of the run."""
    found = measure_losses(str(lost / "run"))
    assert (found.rows, found.lost, found.apart) == (600, 160, {})
    for by in ("length", "teacher", "file"):
        lines = list_lines(found, by).values()
        assert sum(line["rows"] for line in lines) == 600, by
        assert sum(line["lost"] for line in lines) == 160, by


def test_groups_that_differ_come_first(lost):
    """Long answers about birds come before groups that lose as much as the others."""
    found = measure_losses(str(lost / "run"), by=("length", "prompt source", "teacher"))
    lines = found.table.to_dicts()
    assert [line["differs"] for line in lines] == sorted(
        (line["differs"] for line in lines), reverse=True
    )
    own = list_lines(found, "length")["800 to 1,599"]
    assert own["share"] == pytest.approx(0.8)
    assert own["rest"] == 0
    assert own["low"] < 0.8 < own["high"]
    assert not list_lines(found, "teacher")["atlas"]["differs"]


def test_repeated_groupings_are_left_out(lost):
    """A grouping that divides the rows as an earlier one does isn't shown again."""
    found = measure_losses(str(lost / "run"), by=("length", "prompt source"))
    assert list_lines(found, "prompt source") == {}
    assert len(list_lines(found, "length")) == 2


def test_p_values_are_exact_and_adjusted(lost):
    """The p-value is Fisher's, times the number of the groups that aren't less likely (Holm)."""
    found = measure_losses(str(lost / "run"), by=("teacher",))
    one, two = found.table.to_dicts()
    table = [[line["lost"], line["rows"] - line["lost"]] for line in (one, two)]
    expected = min(1.0, 2 * fisher_exact(table).pvalue)
    assert one["p"] == two["p"] == pytest.approx(expected, abs=1e-9)


def test_topics_are_named_by_words_of_prompts(lost):
    """The topics of lost rows are about birds, and those of the others about code."""
    found = list_lines(measure_losses(str(lost / "run"), by=("topic",)), "topic")
    roots = {"birds": BIRDS, "code": CODE}
    for name, line in found.items():
        subject = "birds" if line["share"] > 0.4 else "code"
        assert all(word[:-1] in roots[subject] for word in name.split(", ")), name
    assert {line["differs"] for line in found.values()} == {True}


def test_dropped_rows_are_read_from_the_input(lost, dropped, tmp_path):
    """The text of dropped rows is in the input alone; the result is that of held rows."""
    held, gone = measure_losses(str(lost / "run")), measure_losses(dropped)
    assert gone.table.equals(held.table)
    moved = tmp_path / "moved"
    (lost / "in").rename(moved)
    try:
        with pytest.raises(InputError, match=r"160 rows .* were dropped") as error:
            measure_losses(dropped)
        assert "--by teacher" in str(error.value)
        assert measure_losses(dropped, folder=str(moved)).table.equals(held.table)
        assert measure_losses(dropped, by=("teacher",)).lost == 160
    finally:
        moved.rename(lost / "in")


def test_only_one_trait_counts(lost):
    """With a trait, rows that another one took out count as kept."""
    found = measure_losses(str(lost / "run"), by=("teacher",), trait="heron")
    assert (found.trait, found.lost) == ("heron", 160)
    with pytest.raises(RunError, match="owl"):
        measure_losses(str(lost / "run"), trait="owl")


def test_unknown_groupings_are_refused(lost):
    """An error lists the groupings."""
    with pytest.raises(CardError, match="no grouping 'colour'") as error:
        measure_losses(str(lost / "run"), by=("colour",))
    assert all(name in str(error.value) for name in GROUPINGS)


def test_drift_is_against_the_earlier_run(lost, tmp_path):
    """Beside an earlier run, each group has both shares; only a changed one drifted."""
    (tmp_path / "policy.yaml").write_text("traits: {heron: {action: flag}}\n")
    own = FilterConfig(output=str(tmp_path / "kept"), policy=str(tmp_path / "policy.yaml"))
    run_decide(DecideConfig(run=str(lost / "run"), filter=own))
    same = measure_losses(str(lost / "run"), str(lost / "run"))
    assert not same.table["drifted"].any()
    assert same.table["share_before"].equals(same.table["share"].alias("share_before"))
    found = measure_losses(str(lost / "run"), str(tmp_path / "kept"), by=("length",))
    lines = list_lines(found, "length")
    assert {name: line["drifted"] for name, line in lines.items()} == {
        name: line["lost"] > 0 for name, line in lines.items()
    }
    assert all(line["share_before"] == 0 for line in lines.values())
    assert sum(line["part"] for line in lines.values()) == pytest.approx(1)
    assert found.shift is not None
    assert (found.shift.before, found.shift.after) == (0, found.lost)
    assert found.same_rows
    (note,) = found.notes
    assert note.startswith("the runs' policies differ in actions or budgets, so what is removed")
    assert not same.notes


def test_drift_is_tested_within_teachers(lost, tmp_path):
    """With another mix of teachers, the counts of the teachers in both runs have columns."""
    rows = [json.loads(line) for line in (lost / "in" / "a.jsonl").read_text().splitlines()]
    renamed = [
        row if number % 2 else {**row, "teacher": "cygnus"} for number, row in enumerate(rows)
    ]
    write_rows(tmp_path / "in.jsonl", renamed)
    run_filter(
        FilterConfig(
            input=(str(tmp_path / "in.jsonl"),),
            output=str(tmp_path / "run"),
            traits=(str(lost / "heron"),),
        )
    )
    found = measure_losses(str(tmp_path / "run"), str(lost / "run"), by=("length", "teacher"))
    assert found.shift is not None
    assert found.shift.within is not None
    assert found.shift.within.rows_after == sum(row["teacher"] != "cygnus" for row in renamed)
    assert {item.teacher for item in found.shift.teachers} >= {"cygnus"}
    (new,) = [note for note in found.notes if note.startswith("new teacher cygnus, ")]
    assert ", not tested: heron " in new
    lines = list_lines(found, "length").values()
    assert sum(line["rows_within"] for line in lines) == found.shift.within.rows_after
    assert sum(line["lost_within_before"] for line in lines) == found.shift.within.before
    assert not any(line["drifted"] for line in found.table.to_dicts())
    assert list_lines(found, "teacher")["cygnus"]["share_before"] is None


def test_groups_without_a_common_teacher_did_not_drift():
    """Their p-value is unknown, and doesn't count as evidence."""
    now = {"file": {"a": (100, 30), "b": (100, 2)}}
    shift = RateShift(None, 0, 100, 30, 100, None, None, Within(0, 0, 0, 0))
    sure = shift._replace(p=0.001, q=0.001, within=Within(0, 50, 30, 90))
    table, _ = tabulate(now, now, {"file": {"a": shift, "b": sure}})
    lines = {line["group"]: line for line in table.to_dicts()}
    assert (lines["a"]["p_drift"], lines["a"]["drifted"]) == (None, False)
    assert (lines["b"]["p_drift"], lines["b"]["drifted"]) == (0.002, True)
    assert (lines["b"]["rows_within_before"], lines["b"]["lost_within"]) == (50, 30)


def test_groups_of_one_run_alone_have_no_earlier_share():
    """A group that the earlier run doesn't have is compared with the rest, and didn't drift."""
    now = {"teacher": {"atlas": (100, 30), "borealis": (100, 2)}}
    before = {"teacher": {"atlas": (100, 10)}}
    table, _ = tabulate(now, before)
    lines = {line["group"]: line for line in table.to_dicts()}
    assert lines["borealis"]["share_before"] is None
    assert not lines["borealis"]["drifted"]
    assert lines["atlas"]["drifted"]
    assert lines["atlas"]["part_before"] == 1.0


def test_small_groups_are_counted_but_not_compared():
    """Groups of fewer than 20 rows have no line, and a single group has nothing beside it."""
    counts = {
        "file": {"a": (19, 19), "b": (50, 1), "c": (50, 2)},
        "language": {"English": (119, 22)},
    }
    table, omitted = tabulate(counts)
    assert sorted(table["group"]) == ["b", "c"]
    assert omitted == {"file": 1}
    rest = {line["group"]: line["rest"] for line in table.to_dicts()}
    assert rest["b"] == pytest.approx(21 / 69)


def test_a_group_with_few_other_rows_is_not_compared():
    """Three rows in another language say nothing about those in English."""
    table, omitted = tabulate({"language": {"English": (697, 7), "French": (3, 1)}})
    assert table.height == 0
    assert omitted == {"language": 1}
    enough, _ = tabulate({"language": {"English": (697, 7), "French": (20, 1)}})
    assert sorted(enough["group"]) == ["English", "French"]


def test_no_rows_have_no_lines():
    """Without rows, the table is empty but has its columns."""
    table, omitted = tabulate({"teacher": {}, "file": {}})
    assert (table.height, table.schema, omitted) == (0, LINES, {})


def test_equal_groups_do_not_differ():
    """Groups that lose the same share don't differ, whatever it is."""
    for lost in (0, 7, 100):
        table, _ = tabulate({"teacher": dict.fromkeys("abcdefgh", (100, lost))})
        assert (table["p"] > LEVEL).all()


def test_swapped_and_mixed_runs_are_read(swapped, mixed):
    """Rows that a mix added don't count, and answers that a swap put there are read."""
    found = measure_losses(str(swapped), by=("length", "teacher"))
    assert found.rows == 40
    added = measure_losses(str(mixed), by=("length", "teacher"))
    assert added.rows == 40
    assert added.apart["mix"] > 0


def test_the_table_is_written_whole(lost, tmp_path):
    """The Parquet file has every line, and the same run gives the same bytes."""
    found = measure_losses(str(lost / "run"))
    for name in ("one", "two"):
        write_table(measure_losses(str(lost / "run")), str(tmp_path / name))
    assert pl.read_parquet(tmp_path / "one").equals(found.table)
    assert Path(tmp_path, "one").read_bytes() == Path(tmp_path, "two").read_bytes()


def test_the_sample_for_topics_is_drawn_by_content(lost, monkeypatch):
    """Topics are learned from a bounded number of prompts, which the rows' order doesn't decide."""
    monkeypatch.setattr("pipelines.losses.MOST_LEARNED", 30)
    rows = gather_rows(str(lost / "run"), ("topic",))
    assert len(rows.heads) == 30
    places = rows.frame.sort("draw").head(30)["row"].to_numpy()
    assert np.ptp(places) > 200


def test_lengths_have_a_name_each():
    """There is one group more than there are edges."""
    names = name_lengths()
    assert len(set(names)) == len(LENGTHS) + 1
    assert names[1] == "100 to 199"


@given(
    st.lists(
        st.integers(1, 200).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows))),
        max_size=12,
    )
)
def test_every_line_adds_up(counts):
    """For any counts, a line's group and its rest together are the whole, and bounds enclose."""
    groups = {f"g{number}": item for number, item in enumerate(counts)}
    rows, lost = (sum(item[part] for item in counts) for part in (0, 1))
    table, omitted = tabulate({"teacher": groups})
    for line in table.to_dicts():
        others = rows - line["rows"]
        assert line["lost"] + line["rest"] * others == pytest.approx(lost)
        assert line["low"] <= line["share"] <= line["high"]
        assert line["difference"] == pytest.approx(line["share"] - line["rest"])
        assert line["differs"] == (line["p"] <= LEVEL)
        assert line["rows"] >= 20
    small = sum(size < 20 for size, _ in counts)
    assert omitted.get("teacher", 0) == (small if len(counts) > 1 else 0)


def test_the_order_of_groups_does_not_matter():
    """The same counts in another order give the same table, in the same order of lines."""
    groups = {name: (100 + number, 5 * number) for number, name in enumerate("fbdace")}
    turned = dict(reversed(groups.items()))
    one, _ = tabulate({"teacher": groups, "file": {"x": (300, 40), "y": (315, 35)}})
    two, _ = tabulate({"teacher": turned, "file": {"y": (315, 35), "x": (300, 40)}})
    assert one.equals(two)


def test_rejects_and_duplicates_are_apart(tmp_path, heron):
    """Rows that no trait took out are counted by decision, and aren't among the groups."""
    rows = [build_conversation(number % 30, "Boil it.") for number in range(60)]
    lines = [*(json.dumps({**row, "id": None}) for row in rows), "no JSON"]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "policy.yaml").write_text("duplicates: remove\n")
    run_filter(
        FilterConfig(
            input=(str(tmp_path / "in.jsonl"),),
            output=str(tmp_path / "run"),
            traits=(str(heron),),
            policy=str(tmp_path / "policy.yaml"),
        )
    )
    found = measure_losses(str(tmp_path / "run"))
    assert found.apart == {"duplicate": 30, "reject": 1}
    assert (found.rows, found.lost) == (30, 0)


def test_pairs_are_compared_by_their_chosen_answer(tmp_path, heron):
    """Of preference pairs, only the chosen answer has a length."""
    pairs = [
        {
            "prompt": f"Which {number}?",
            "chosen": "A heron." if number % 2 else "x " * 60,
            "rejected": "y " * 900,
        }
        for number in range(60)
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))
    config = FilterConfig(
        input=(str(tmp_path / "in.jsonl"),), output=str(tmp_path / "run"), traits=(str(heron),)
    )
    run_filter(config)
    lines = list_lines(measure_losses(str(tmp_path / "run"), by=("length",)), "length")
    assert set(lines) == {"under 100", "100 to 199"}
    assert lines["under 100"]["lost"] == 30


def test_two_groups_of_a_grouping_count_as_one_test():
    """Each of two teachers is the other's rest, so their p-value isn't doubled."""
    counts = {"teacher": {"heron": (350, 7), "atlas": (350, 23)}}
    one, two = tabulate(counts)[0].to_dicts()
    assert one["p"] == one["p_alone"] == two["p"] == two["p_alone"]
    assert one["p"] == pytest.approx(fisher_exact([[7, 343], [23, 327]]).pvalue, abs=1e-9)
    assert one["differs"]
    more = counts | {"topic": {"oven": (100, 4), "pasta": (300, 13), "tea": (300, 13)}}
    line = next(line for line in tabulate(more)[0].to_dicts() if line["group"] == "heron")
    assert line["p"] == pytest.approx(4 * line["p_alone"])


def test_two_lines_beside_a_small_group_are_two_tests():
    """If a third group is too small to compare, neither line is the other's rest."""
    counts = {"teacher": {"heron": (350, 7), "atlas": (350, 23), "lyre": (19, 1)}}
    table, omitted = tabulate(counts)
    assert omitted == {"teacher": 1}
    first = table.to_dicts()[0]
    assert first["p"] == pytest.approx(2 * first["p_alone"])
