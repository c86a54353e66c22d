"""`congener diff`: options, output and exit codes."""

import pytest

from pipelines.cli.diff import (
    LOTS_SHOWN,
    SAME_KIND,
    SETTINGS_SHOWN,
    TEACHERS_SHOWN,
    TRAITS_SHOWN,
    DiffResult,
    choose_teachers,
    describe_reasons,
    sum_up_settings,
    tabulate_teachers,
)
from pipelines.diff import LotChange, RunComparison, ShownChange
from pipelines.rate_shifts import RateShifts
from pipelines.rate_tests import RateShift, compare_hits


@pytest.fixture
def runs(congener, held, tmp_path):
    """Return a run, and one that flags its herons."""
    policy = tmp_path / "flag.yaml"
    policy.write_text("traits: {heron: {action: flag}}\n")
    one, two = str(held / "run"), str(tmp_path / "again")
    code, _, err = congener("decide", one, "--policy", str(policy), "-o", two, "-q")
    assert code == 0, err
    return one, two


def test_tables_show_what_changed(congener, runs):
    """The exit code is 1, and tables count decisions, traits and lots, with examples."""
    code, out, err = congener("diff", *runs)
    assert code == 1, err
    assert "heron: swap (by its card) → flag" in out
    assert "8 of 40 rows differ: published 8" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["quarantine", "flag", "8"] in rows
    assert ["heron", "8", "8", "0", "0", "published", "8"] in rows
    assert out.count("heron 0.") == 3
    assert "3 of 8 changed rows; --examples N shows more" in out
    assert f"next: congener inspect {runs[1]} --row " in out


def test_the_next_command_works(congener, runs):
    """The last line's command shows the row."""
    _, out, _ = congener("diff", *runs)
    words = out.splitlines()[-1].partition("congener ")[2].split()
    code, shown, err = congener(*words)
    assert code == 0, err
    assert "heron" in shown


def test_nothing_is_said_if_every_row_is_shown(congener, runs):
    """With enough examples, all changed rows are in the table."""
    _, out, _ = congener("diff", *runs, "--examples", "20")
    assert out.count("heron 0.") == 8
    assert "changed rows;" not in out


def test_equal_runs_have_exit_code_0(congener, runs):
    """One line says how many rows are the same."""
    code, out, err = congener("diff", runs[0], runs[0])
    assert code == 0, err
    assert out.strip() == "no difference: 40 rows with the same decisions for the same traits"


def test_json_has_everything(congener, runs):
    """The JSON has counts, lists of objects, and reasons; the exit code is the same."""
    import json

    code, out, _ = congener("diff", *runs, "--json", "--examples", "1")
    found = json.loads(out)
    assert code == 1
    assert (found["same"], found["changed"], found["rows"]) == (False, 8, 40)
    assert found["moves"] == [{"before": "quarantine", "after": "flag", "rows": 8}]
    assert found["traits"][0]["trait"] == "heron"
    (example,) = found["examples"]
    assert example["reasons_before"][0]["trait"] == "heron"
    code, out, _ = congener("diff", runs[0], runs[0], "--json")
    assert (code, json.loads(out)["same"]) == (0, True)


def test_mistakes_have_exit_codes(congener, runs, tmp_path):
    """A folder without a run, and a negative number of examples, are refused."""
    assert congener("diff", runs[0], str(tmp_path))[0] == 4
    assert congener("diff", *runs, "--examples", "-1")[0] == 2
    assert congener("diff", runs[0])[0] == 2


def test_many_lots_are_cut_with_a_line(capsys):
    """The text shows the first lots, and says how many more there are."""
    lots = [
        LotChange({"teacher": f"t{number}"}, 10, 1, {"removed": 1})
        for number in range(LOTS_SHOWN + 2)
    ]
    found = RunComparison([], True, 120, 12, {"removed": 12}, [], [], lots, [])
    parts = list(DiffResult("one", "two", found).render())
    assert "and 2 more lots (--json lists them)" in parts
    assert "the corpora differ, so rows are matched by their content" in parts
    assert not any(str(part).startswith("next") for part in parts)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([("owl", 0.9, 0.7)], [], "owl 0.9000 ≥ 0.7000 → -"),
        ([], [("owl", 0.1, 0.0)], "- → owl, by a person"),
        ([], [("owl", 0.9, 0.8)], "- → owl 0.9000 ≥ 0.8000"),
        ([("owl", 0.9, 0.8)], [("owl", 0.9, 0.8)], "owl 0.9000 ≥ 0.8000"),
    ],
)
def test_reasons_are_shown_once_if_they_are_the_same(before, after, said):
    """Both runs' reasons are in one line."""
    reasons = [
        [dict(zip(("trait", "score", "threshold"), item, strict=True)) for item in side]
        for side in (before, after)
    ]
    assert describe_reasons(ShownChange("removed", "a", 0, "keep", "drop", *reasons)) == said


def test_a_page_is_written(congener, runs, tmp_path):
    """`--page` writes both runs side by side; the output and the exit code stay the same."""
    path = tmp_path / "diff.html"
    code, out, err = congener("diff", *runs, "--page", str(path))
    assert code == 1, err
    assert out == congener("diff", *runs)[1]
    assert "8 of 40 rows differ" in path.read_text()


def test_a_page_in_a_run_is_refused(congener, runs):
    """A page in a run's folder would be a foreign file there."""
    code, _, err = congener("diff", *runs, "--page", f"{runs[1]}/diff.html")
    assert code == 4
    assert "is inside the finished run" in err


def test_a_very_long_list_of_settings_is_cut_with_a_way_to_see_it():
    """The terminal shows many differences, and says where all of them are."""
    settings = [f"t{number}: flag → drop" for number in range(SETTINGS_SHOWN + 2)]
    found = RunComparison(settings, False, 3, 0, {}, [], [], [], [])
    lines = list(DiffResult("one", "two", found).render())
    assert lines[0].startswith("no difference")
    assert lines[1 : SETTINGS_SHOWN + 1] == settings[:SETTINGS_SHOWN]
    assert lines[SETTINGS_SHOWN + 1] == (
        "and 2 more differences between the settings: --json and --page list them"
    )
    assert DiffResult("one", "two", found).to_json()["settings"] == settings


def test_settings_of_one_kind_are_summed_up_below_the_counts():
    """The changed rows come first, and many exceptions and inputs have one line each."""
    settings = [
        *(f"input {name}.jsonl: is new" for name in "abcd"),
        "exception removed: owl (row 1)",
        "owl: flag → drop",
        *(f"exception added: owl (row {number})" for number in range(SAME_KIND + 1)),
    ]
    found = RunComparison(settings, False, 9, 1, {"removed": 1}, [], [], [], [])
    assert list(DiffResult("one", "two", found).render())[:5] == [
        "1 of 9 rows differs: removed 1",
        "inputs that differ: 4 (--json and --page list them)",
        "exception removed: owl (row 1)",
        "owl: flag → drop",
        "exceptions added: 4 (--json and --page list them)",
    ]
    assert list(sum_up_settings(settings[4:9])) == settings[4:9]


def test_traits_of_two_corpora_are_compared_with_totals():
    """Each rate has its total and a q-value, and a trait that fires in neither run has no line."""
    removed = RateShift(None, 3, 400, 31, 900, 0.004, 0.004)
    heron = RateShift("heron", 0, 400, 13, 900, 0.013, 0.026)
    owl = heron._replace(trait="owl", before=0, after=0, p=1.0, q=1.0)
    shifts = RateShifts(removed, [heron, owl], ["the runs' banks differ"])
    found = RunComparison([], True, 3, 2, {"removed": 2}, [], [], [], [], shifts)
    parts = list(DiffResult("one", "two", found).render())
    assert "removed rows: 3 of 400 (0.75%) before, 31 of 900 (3.44%) now; p = 0.004" in parts[2]
    assert parts[3] == "the runs' banks differ"
    assert parts[4].row_count == 1
    assert list(parts[4].columns[1].cells) == ["0 of 400"]
    assert list(parts[4].columns[3].cells) == ["13 of 900"]
    assert parts[5].endswith("adjusted for 2 traits (Benjamini-Hochberg)")
    assert DiffResult("one", "two", found).to_json()["shifts"]["traits"][0]["q"] == 0.026


def build_shifts(hits, before, now):
    """Return the shifts of traits, and of removed rows without any."""
    (removed,) = compare_hits([(None, {}, {})], (before, now))
    return RateShifts(removed, compare_hits(hits, (before, now)), ["a note"])


def test_a_new_teacher_has_lines_and_no_test():
    """Rates are those of the teachers in both runs, with totals beside them and each teacher's."""
    hits = [("praise", {"llama": 77}, {"llama": 57, "vicuna": 1}), ("owl", {}, {"llama": 1})]
    shifts = build_shifts(hits, {"llama": 400}, {"llama": 350, "vicuna": 350})
    found = RunComparison([], True, 3, 2, {"removed": 2}, [], [], [], [], shifts)
    parts = list(DiffResult("one", "two", found).render())
    table, caption, teachers, note = parts[4:8]
    assert [str(column.header) for column in table.columns] == [
        *("rate of", "rows", "share", "q", "of all rows"),
    ]
    rows = [list(column.cells) for column in table.columns]
    assert [cells[0] for cells in rows] == [
        *("praise", "77 → 57", "19.25% → 16.29%"),
        *(f"{shifts.traits[0].q:.2g}", "19.25% → 8.29%"),
    ]
    assert "400 rows before and 350 now; q: Cochran-Mantel-Haenszel test" in caption
    assert list(teachers.columns[0].cells) == ["praise, all rows", "  llama", "  vicuna"]
    assert list(teachers.columns[1].cells) == ["77 of 400", "77 of 400", "-"]
    assert list(teachers.columns[5].cells)[2] == "-"
    assert note.startswith("by teacher: ")
    as_json = DiffResult("one", "two", found).to_json()["shifts"]["traits"][0]
    assert as_json["within"]["after"] == 57
    assert as_json["teachers"][1] == {
        "teacher": "vicuna",
        "before": 0,
        "rows_before": 0,
        "after": 1,
        "rows_after": 350,
        "p": None,
        "q": None,
    }


def test_runs_without_a_common_teacher_are_not_tested():
    """The table has dashes, and a line says why."""
    shifts = build_shifts([("praise", {"llama": 77}, {"phi": 1})], {"llama": 400}, {"phi": 350})
    found = RunComparison([], True, 3, 2, {"removed": 2}, [], [], [], [], shifts)
    parts = list(DiffResult("one", "two", found).render())
    assert "not tested, because no teacher is in both runs" in parts[2]
    assert [list(column.cells) for column in parts[4].columns][2:4] == [["- → -"], ["-"]]
    assert parts[5] == "no q: no teacher is in both runs, so no rate can be compared"
    assert len(choose_teachers(shifts)) == 1


def test_long_tables_by_teacher_are_cut():
    """The largest teachers of the first traits are shown, and lines count the others."""
    before = {f"t{at}": 100 for at in range(TEACHERS_SHOWN + 2)}
    hits = [(f"a{at}", {}, dict.fromkeys(before, 90)) for at in range(TRAITS_SHOWN + 1)]
    shifts = build_shifts(hits, before, before | {"t0": 900})
    table = tabulate_teachers(choose_teachers(shifts))
    assert table.row_count == (TRAITS_SHOWN + 1) * (TEACHERS_SHOWN + 2)
    assert list(table.columns[0].cells)[TEACHERS_SHOWN + 1] == "  and 2 more teachers: --json"
    found = RunComparison([], True, 3, 2, {"removed": 2}, [], [], [], [], shifts)
    parts = list(DiffResult("one", "two", found).render())
    assert "and 1 more trait by teacher (--json lists them)" in parts


def test_the_next_command_names_the_run_that_has_the_row():
    """Rows of two corpora are matched by content, so a place is that of the first run with it."""
    shown = ShownChange("published", "a.jsonl", 3, "quarantine", "keep", [], [])
    empty = RunComparison([], False, 9, 1, {"published": 1}, [], [], [], [shown])
    for by_content, before, run in (
        (False, "drop", "two"),
        (True, "drop", "one"),
        (True, None, "two"),
    ):
        example = shown._replace(before=before)
        found = empty._replace(by_content=by_content, examples=[example])
        last = str(list(DiffResult("one", "two", found).render())[-1])
        assert last == f"next: congener inspect {run} --row a.jsonl:3"


def test_rows_that_a_person_took_out_are_counted_beside_the_traits():
    """They are in a line of their own, if there are any."""
    empty = RunComparison([], False, 9, 1, {"removed": 1}, [], [], [], [])
    line = "not among them: rows taken out by a person, 0 before and 1 now"
    assert line not in list(DiffResult("one", "two", empty).render())
    assert line in list(DiffResult("one", "two", empty._replace(taken_out=(0, 1))).render())
