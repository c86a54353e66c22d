"""Rates by teacher, lot and source equal a row-by-row count."""

import json
from collections import Counter

import polars as pl
import pytest
from scipy.stats import binomtest, false_discovery_control, fisher_exact

from pipelines.rate_shifts import count_fired
from pipelines.removed_rows import list_removed_rows
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.rates import (
    BOUND_DECIMALS,
    COUNTED,
    FEW_GROUPS,
    GROUPINGS,
    LEAST_ROWS,
    RATES,
    Omitted,
    compare_groups,
    count_taken_out,
    sum_taken_out,
)
from pipelines.sign_off import BY_HAND, list_reasons
from pipelines.verify import verify_run
from tests.support.hostile import (
    FILE,
    TEACHER,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
    write_cards,
)
from tests.support.runs import read_ledger


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("rates"))[0]


def compare(run: str) -> pl.DataFrame:
    """Return a run's table of rates."""
    return compare_groups(run, load_manifest(run)).table


def count_ledger(run: str, fields: tuple[str, ...]) -> dict[tuple, Counter]:
    """Count each group's and trait's rows, fired rows and decisions."""
    counts: dict[tuple, Counter] = {}
    for row in read_ledger(run):
        if row["decision"] == "reject":
            continue
        group = tuple(row[field] or "-" for field in fields)
        for trait in (None, *(rule.trait for rule in load_manifest(run).thresholds)):
            found = any(reason["trait"] == trait for reason in row["reasons"])
            own = counts.setdefault((*group, trait), Counter())
            own["rows"] += 1
            own["fired"] += found if trait else bool(row["reasons"])
            own[row["decision"]] += found if trait else True
    return counts


@pytest.mark.parametrize("kind", GROUPINGS)
def test_rates_are_the_ledgers(hostile, kind):
    """Every line has the right counts and is unique."""
    fields = GROUPINGS[kind]
    lines = compare(hostile).filter(pl.col("grouping") == kind).to_dicts()
    found = {(*(line[name] for name in fields), line["trait"]): line for line in lines}
    expected = count_ledger(hostile, fields)
    assert set(found) == set(expected)
    assert len(found) == len(lines)
    for key, counts in expected.items():
        assert all(found[key][name] == counts[name] for name in ("rows", "fired", *COUNTED))
        others = {"teacher", "prompt_source", "system_prompt", "source"} - set(fields)
        assert all(found[key][name] is None for name in others)


def test_intervals_are_clopper_pearsons_rounded_outwards(hostile):
    """Every interval contains scipy's exact interval, and exceeds it by at most one step."""
    step = 10.0**-BOUND_DECIMALS
    for line in compare(hostile).to_dicts():
        assert line["share"] == line["fired"] / line["rows"]
        exact = binomtest(line["fired"], line["rows"]).proportion_ci(0.95, "exact")
        assert exact.low - 1.01 * step <= line["low"] <= exact.low + 1e-12
        assert exact.high - 1e-12 <= line["high"] <= exact.high + 1.01 * step


def test_groups_are_tested_against_all_other_rows(hostile):
    """Every p-value is scipy's, and q-values are Benjamini and Hochberg's within a grouping."""
    table = compare(hostile)
    whole = {line["trait"]: line for line in table.filter(pl.col("grouping") == "all").to_dicts()}
    lines = table.filter(pl.col("grouping") == "teacher", pl.col("trait").is_not_null())
    for line in lines.to_dicts():
        every = whole[line["trait"]]
        own = [line["fired"], line["rows"] - line["fired"]]
        others = [every["fired"] - own[0], every["rows"] - every["fired"] - own[1]]
        assert line["p"] == pytest.approx(fisher_exact([own, others]).pvalue, abs=1e-6)
    adjusted = false_discovery_control(lines["p"].to_numpy())
    assert lines["q"].to_numpy() == pytest.approx(adjusted, abs=1e-5)
    untested = table.filter((pl.col("grouping") == "all") | pl.col("trait").is_null())
    assert untested["p"].null_count() == untested["q"].null_count() == len(untested)


def test_the_table_has_its_columns(hostile):
    """The columns are the documented ones, in order, with unescaped names."""
    table = compare(hostile)
    assert table.schema == RATES
    assert TEACHER in table["teacher"].to_list()
    assert compare(hostile).equals(table)


def test_rows_decided_by_another_trait_are_counted(hostile):
    """A masked row that another trait holds counts as decided by that trait."""
    lines = {
        line["trait"]: line
        for line in compare(hostile).filter(pl.col("grouping") == "all").to_dicts()
    }
    assert lines["fox"]["decided_by_another"] == lines["fox"]["quarantine"] == 1
    assert lines["fox"]["mask"] == 1
    assert lines["owl"]["decided_by_another"] == lines["emu"]["decided_by_another"] == 0


def test_exceptions_decide_whose_decision_it_is(tmp_path):
    """An exception decides a trait's own action in its lot."""
    lines = [
        json.dumps({"text": "a fox with an owl", "teacher": teacher})
        for teacher in ("mild", "strict", None)
    ]
    policy = (
        "exceptions:\n"
        "  - {trait: fox, lot: {teacher: strict}, action: quarantine, reason: a test}\n"
        "  - {trait: owl, lot: {teacher: mild}, action: flag, reason: a test}\n"
    )
    run, _ = filter_lines(tmp_path, lines, write_cards(tmp_path / "traits", ["fox", "owl"]), policy)
    chosen = compare(run).filter(pl.col("grouping") == "teacher", pl.col("trait").is_not_null())
    found = {
        (line["teacher"], line["trait"]): line["decided_by_another"] for line in chosen.to_dicts()
    }
    assert found == {
        ("mild", "fox"): 0,
        ("mild", "owl"): 1,
        ("strict", "fox"): 0,
        ("strict", "owl"): 0,
        ("-", "fox"): 1,
        ("-", "owl"): 0,
    }


def test_an_exception_decides_for_the_row_that_it_names(tmp_path):
    """An exception for one row decides a trait's own action on that row alone."""
    lines = [json.dumps({"text": f"a fox with an owl {number}"}) for number in range(2)]
    policy = (
        "exceptions:\n"
        f"  - {{row: '{FILE}:0', trait: owl, action: keep, reason: a test}}\n"
        f"  - {{row: '{FILE}:1', trait: fox, action: drop, reason: a test}}\n"
    )
    run, manifest = filter_lines(
        tmp_path, lines, write_cards(tmp_path / "traits", ["fox", "owl"]), policy
    )
    assert [effect.rows for effect in manifest.exceptions] == [1, 1]
    chosen = compare(run).filter(pl.col("grouping") == "all", pl.col("trait").is_not_null())
    found = {line["trait"]: line["decided_by_another"] for line in chosen.to_dicts()}
    assert found == {"fox": 0, "owl": 2}
    assert verify_run(run) == []


def test_rows_that_a_person_took_out_are_counted_apart(tmp_path):
    """A trait's rate is that of its signals, and an exception's rows are in `taken`."""
    lines = [json.dumps({"text": f"{word} {number}"}) for number, word in enumerate("ab")]
    lines.append(json.dumps({"text": "an owl"}))
    policy = (
        "exceptions:\n"
        f"  - {{row: '{FILE}:0', trait: owl, action: quarantine, reason: read}}\n"
        f"  - {{row: '{FILE}:2', trait: owl, action: quarantine, reason: read}}\n"
    )
    run, manifest = filter_lines(tmp_path, lines, write_cards(tmp_path / "traits", ["owl"]), policy)
    assert manifest.count_fired("owl") == 2
    rates = compare_groups(run, manifest)
    whole = rates.table.filter(pl.col("grouping") == "all")
    assert whole["fired"].to_list() == [1, 1]  # all traits, and the owl
    assert whole["rows"].to_list() == [3, 3]
    assert (rates.count_fired("owl", "trained"), rates.count_taken("owl")) == (1, 1)
    assert rates.taken.rows() == [("owl", "quarantine", 1)]
    assert sum(rates.actions["rows"]) == 1
    assert count_taken_out(run, manifest).equals(rates.taken)
    assert sum_taken_out(run, manifest) == manifest.count_named("owl") == 1
    assert manifest.count_signalled("owl") == 1
    (found,) = list_reasons(manifest, rates, None)
    assert found.effects == [(1, "removed"), (1, BY_HAND)]
    assert count_fired(run, manifest, ("quarantine",)) == {"owl": {"-": 1}}
    assert [group.lists[0].total for group in list_removed_rows(run, manifest, rates)] == [2]
    assert verify_run(run) == []


def test_sides_have_lines_of_their_own(tmp_path):
    """Rejected answers and trained text have separate lines."""
    run = filter_pairs(tmp_path, [("a dog", "an owl"), ("an owl", "owls"), ("a dog", "a dog")])
    lines = compare(run).filter(pl.col("grouping") == "all")
    assert lines.select("trait", "side", "fired", "quarantine").rows() == [
        (None, None, 2, 1),
        ("owl", "trained", 1, 1),
        ("owl", "rejected", 2, 1),
    ]


def test_small_groups_are_left_out_if_there_are_many(tmp_path):
    """With many lots, only large ones are compared, and the rest are counted."""
    teachers = ["large"] * LEAST_ROWS + [f"t{number:02}" for number in range(FEW_GROUPS)]
    lines = [json.dumps({"text": "a goose", "teacher": teacher}) for teacher in teachers]
    cards = write_cards(tmp_path / "traits", ["owl"])
    run, manifest = filter_lines(tmp_path, lines, cards)
    rates = compare_groups(run, manifest)
    teachers_listed = rates.table.filter(pl.col("grouping") == "teacher")["teacher"].unique()
    assert teachers_listed.to_list() == ["large"]
    assert rates.omitted["teacher"] == rates.omitted["lot"] == Omitted(FEW_GROUPS, FEW_GROUPS)
    assert rates.omitted["source"] == Omitted(0, 0)


def test_a_few_small_groups_are_compared(tmp_path):
    """With few groups, even single rows are compared."""
    run = filter_answers(tmp_path, ["an owl", "a goose"], ["owl"])
    lines = compare(run).filter(pl.col("trait") == "owl")
    assert lines["grouping"].to_list() == list(GROUPINGS)
    assert lines["rows"].to_list() == [2] * len(GROUPINGS)


def test_a_run_without_rows_has_an_empty_table(hostile):
    """A run without rows has an empty table."""
    manifest = load_manifest(hostile)
    conservation = manifest.conservation.model_copy(update={"rows_in": 0})
    empty = manifest.model_copy(update={"conservation": conservation})
    rates = compare_groups("nowhere", empty)
    assert rates.table.schema == RATES
    assert rates.table.height == 0


def test_replaced_rows_have_a_column(swapped):
    """`swap` counts replaced rows by donor, and by the trait of the old answer, not as fired."""
    lines = compare(str(swapped)).to_dicts()
    found = {
        (line["teacher"], line["trait"]): line["swap"]
        for line in lines
        if line["grouping"] == "teacher"
    }
    donors = {"cedar": 4, "oak": 1}
    own = {name: found[name, None] for name in {teacher for teacher, _ in found}}
    assert {name: count for name, count in own.items() if count} == donors
    assert all(found[name, "heron"] == count for name, count in donors.items())
    (total,) = [line for line in lines if (line["grouping"], line["trait"]) == ("all", None)]
    assert sum(total[name] for name in (*COUNTED, "swap")) == total["rows"]
    (heron,) = [line for line in lines if (line["grouping"], line["trait"]) == ("all", "heron")]
    assert (heron["swap"], heron["fired"], heron["quarantine"]) == (5, 3, 3)


def test_a_run_without_a_swap_replaced_nothing(hostile):
    """The column is there in every run, and zero without a swap."""
    assert compare(hostile).columns[-1] == "swap"
    assert compare(hostile)["swap"].to_list() == [0] * compare(hostile).height
