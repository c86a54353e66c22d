"""What `congener traits eval` prints."""

from rich.table import Table

from classifiers.guarantees.stratified import Accuracy, Interval, Stratum
from pipelines.card_versions import CardChange
from pipelines.cli.evaluation_results import (
    ANY_VERSION,
    CHANGED,
    LEAST_READ,
    MISTAKES_SHOWN,
    Evaluation,
    KeptLabel,
    RowsToRead,
)
from pipelines.cli.thresholds import STARRED
from pipelines.disputed_rows import DisputedRow
from pipelines.evaluation import Measured
from pipelines.mistakes import Mistake, Mistakes
from pipelines.signal_costs import SignalCost
from pipelines.trait_rates import TraitRate
from schemas.manifests import SettledThreshold


def make_evaluation(wrong, missed, run):
    """Return an evaluation with so many mistakes."""
    found = (
        [Mistake("a b.jsonl", row, round(0.9 - row / 1000, 4)) for row in range(count)]
        for count in (wrong, missed)
    )
    strata = [Stratum(40, 10, 5)]
    return Evaluation("heron", "l.jsonl", [0.5], strata, [], 0, Mistakes(*found), run)


def measure_at(threshold):
    """Return the measures of a threshold in force."""
    known = Accuracy(Interval(0.5, 0.4, 0.6), Interval(0.5, 0.4, 0.6))
    return Measured(
        threshold,
        0.01,
        8,
        known,
        known,
        is_in_force=True,
        are_found_rows_read=False,
        are_all_rows_read=False,
    )


def list_titles(found):
    """Return the titles of an evaluation's tables."""
    return [str(part.title) for part in found.render() if isinstance(part, Table)]


def test_only_measures_without_earlier_rows_are_quoted():
    """With rows that another version drew, only the table without them says to quote it."""
    plain = make_evaluation(0, 0, "run")._replace(measured=[measure_at(0.5)])
    assert [("(quote these)" in title) for title in list_titles(plain)] == [False, False, True]
    mixed = plain._replace(earlier=3, unseen=[measure_at(0.5)])
    assert [("(quote these)" in title) for title in list_titles(mixed)] == [False] * 3 + [True]
    assert "without rows that may have taught the card (quote these)" in list_titles(mixed)[-1]
    lines = [str(part) for part in mixed.render()]
    (said,) = (line for line in lines if "another version of the card drew. If" in line)
    assert said.startswith("3 labels are of rows")
    assert "Quote only the table without them" in said
    assert not any("Quote the second" in line for line in lines)
    assert not any(line.startswith("precision at") for line in lines)
    quoted = mixed._replace(taught=2)
    assert any(
        "or that the card quotes (2 have an exemplar). If" in str(x) for x in quoted.render()
    )
    none = plain._replace(earlier=1)
    assert not any("(quote these)" in title for title in list_titles(none))
    assert any("so quote nothing yet" in str(part) for part in none.render())
    written = mixed.to_json()
    assert (written["earlier"], written["without_earlier"]) == (3, written["thresholds"])
    unknown = Accuracy(Interval(None, 0.0, 1.0), Interval(None, 0.0, 1.0))
    open_ones = [measure_at(0.5)._replace(accuracy=unknown)]
    blank = plain._replace(earlier=3, unseen=open_ones)
    assert [("(quote these)" in title) for title in list_titles(blank)] == [False] * 3
    assert any("quote nothing yet" in str(part) for part in blank.render())


def test_without_a_label_that_counts_there_is_no_table():
    """What to do comes first, and nothing unknown is tabulated."""
    empty = make_evaluation(0, 0, "run")._replace(
        strata=[Stratum(40, 0, 0)], measured=[measure_at(0.5)], added=7, unlabelled=7, picked=1
    )
    assert list_titles(empty) == []
    first, second, *others = map(str, empty.render())
    assert first.startswith("7 rows to read were added to /")
    assert "No label counts yet, so heron isn't measured" in second
    assert any("1 labelled row counts in no measure" in line for line in others)


def test_few_labels_give_no_tables():
    """With few labels, the next step comes first, and a count replaces the tables."""
    few = make_evaluation(0, 0, "run")._replace(
        strata=[Stratum(40, LEAST_READ - 1, 5)], measured=[measure_at(0.5)], unlabelled=2
    )
    assert list_titles(few) == []
    first, second, *_ = map(str, few.render())
    assert first.startswith("Next: set the `label` of the 2 rows without one in /")
    assert second.startswith("9 labels count so far (5 true, 4 false), too few to measure heron")
    first, *_ = map(str, few._replace(unlabelled=0).render())
    assert first == "Next: read more rows, with the same command and --rows 100."
    assert len(list_titles(few._replace(strata=[Stratum(40, LEAST_READ, 5)]))) == 3
    every = measure_at(0.5)._replace(are_found_rows_read=True)
    assert len(list_titles(few._replace(measured=[every]))) == 3
    assert len(few.to_json()["thresholds"]) == 1


def test_tables_of_a_changed_card_say_whose_figures_they_have():
    """If the card's folder has another version than the run used, each table's title says so."""
    change = CardChange("run", "heron", "a" * 16, "b" * 16, "congener traits eval heron --on c")
    plain = make_evaluation(0, 0, "run")._replace(measured=[measure_at(0.5)])
    changed = plain._replace(change=change)
    assert not any(CHANGED in title for title in list_titles(plain))
    assert all(title.startswith(f"heron{CHANGED}") for title in list_titles(changed))
    assert plain.to_json()["changed_card"] is None
    assert changed.to_json()["changed_card"]["now"] == "b" * 16


def test_mistakes_are_named_with_the_commands_that_show_them():
    """Each wrong or missed row has a command that a shell takes as it is."""
    lines = [str(part) for part in make_evaluation(2, 1, "my run").render()]
    assert "wrong: 0.9000  congener inspect 'my run' --row 'a b.jsonl:0' --trait heron" in lines
    assert "wrong: 0.8990  congener inspect 'my run' --row 'a b.jsonl:1' --trait heron" in lines
    assert "missed: 0.9000  congener inspect 'my run' --row 'a b.jsonl:0' --trait heron" in lines
    assert any("hard negatives of heron" in line for line in lines)
    assert any("read other rows" in line for line in lines)


def test_many_mistakes_are_counted():
    """The first mistakes of each kind are named, and the rest counted."""
    lines = [str(part) for part in make_evaluation(MISTAKES_SHOWN + 7, 0, "run").render()]
    assert sum(line.startswith("wrong: 0.") for line in lines) == MISTAKES_SHOWN
    assert "wrong: 7 more" in lines
    assert not any("missed" in line for line in lines)


def test_no_mistakes_need_no_advice():
    """An evaluation without mistakes names no next step."""
    lines = [str(part) for part in make_evaluation(0, 0, None).render()]
    assert not any("wrong" in line or "missed" in line or "--output" in line for line in lines)


def test_a_pattern_just_outside_is_named_below_its_row():
    """A missed row that a pattern matches outside the part that is read has a line of its own."""
    evaluation = make_evaluation(0, 2, "run")
    first, second = evaluation.mistakes.missed
    missed = [first._replace(unread="a pattern matches"), second]
    found = evaluation._replace(mistakes=Mistakes([], missed))
    lines = [str(part) for part in found.render()]
    at = lines.index("  a pattern matches")
    assert lines[at - 1].startswith("missed: 0.9000")
    assert lines[at + 1].startswith("missed: 0.8990")


def test_a_random_sample_is_suggested_from_the_first_evaluation_on():
    """It is suggested before the card changes, and where labels don't count."""
    found = make_evaluation(1, 0, "run")
    assert ANY_VERSION in list(found.render())
    assert ANY_VERSION in list(found._replace(picked=2).render())
    assert ANY_VERSION in list(found._replace(earlier=2).render())
    assert "congener review RUN --sample" in ANY_VERSION
    assert ANY_VERSION not in list(found._replace(is_drawn=False).render())  # it is there


def test_a_pattern_is_narrowed_only_if_it_fired():
    """The strongest signal is beside the score, and decides what the advice names."""
    for signal, is_pattern in (("wording", False), ("lexicon", True)):
        wrong = [Mistake("a", 0, 0.9, signal=signal)]
        found = make_evaluation(0, 0, "run")._replace(mistakes=Mistakes(wrong, []))
        lines = [str(part) for part in found.render()]
        assert f"wrong: 0.9000 {signal}  congener inspect run --row a:0 --trait heron" in lines
        (advice,) = [line for line in lines if line.startswith("Write hard negatives")]
        assert ("narrow the pattern" in advice) == is_pattern


def test_signals_that_fire_on_wrong_rows_are_named():
    """The line to write into the card follows the wrong rows, and the JSON has the counts."""
    cost = SignalCost(("exemplars", "head"), ("wording",), 59, 58, 36, 26, False, True)
    found = make_evaluation(1, 0, "run")._replace(cost=cost)
    lines = [str(part) for part in found.render()]
    (line,) = (line for line in lines if line.startswith("without exemplars and head"))
    assert "fires on 58 labelled rows that show it instead of 59" in line
    assert "Write `signals: [wording]` into card.yaml" in line
    assert "read some that nobody has read" in lines[lines.index(line) + 1]
    assert found.to_json()["cost"]["wrong_without"] == 26


def test_mistakes_are_fields_of_the_json_output():
    """For programs, mistakes have the row's file, number and score."""
    found = make_evaluation(1, 0, "run").to_json()
    assert found["run"] == "run"
    assert found["mistakes"] == {
        "wrong": [{"source": "a b.jsonl", "row": 0, "score": 0.9, "unread": "", "signal": ""}],
        "missed": [],
    }


def test_what_doesnt_count_and_what_stays_held_is_said():
    """Chosen rows, new rows to read and disputed rows have a line each."""
    disputed = [DisputedRow("a.jsonl", 3, "quarantine", "heron")]
    found = make_evaluation(0, 0, "run")._replace(added=3, picked=2, disputed=disputed)
    lines = [str(part) for part in found._replace(unlabelled=3).render()]
    assert any("2 labelled rows count in no measure" in line for line in lines)
    assert lines[0].startswith("3 rows to read were added to /")
    assert "l.jsonl; set each `label`" in lines[0]
    assert any("1 finding that you labelled false counts in this run" in line for line in lines)
    plain = [str(part) for part in make_evaluation(0, 0, "run").render()]
    assert not any(
        "no measure" in line or "added" in line or "labelled false" in line for line in plain
    )
    assert found.to_json()["disputed"] == [
        {"source": "a.jsonl", "row": 3, "decision": "quarantine", "trait": "heron"}
    ]


def test_a_second_file_is_named():
    """Rows to read are counted in the second file, and both files are named."""
    found = make_evaluation(0, 0, "run")._replace(added=3, unlabelled=3, answers="a.jsonl")
    lines = [str(part) for part in found.render()]
    assert any("to read were added to" in line and "a.jsonl; set" in line for line in lines)
    assert "3 rows are still unlabelled in" in lines[-2]
    assert "a.jsonl (--answers names another file)" in lines[-2]
    assert "l.jsonl" in lines[-1]
    assert (found.to_json()["labels"], found.to_json()["answers"]) == ("l.jsonl", "a.jsonl")


def test_rows_to_read_name_the_file():
    """New rows are counted, and a file that has them already is left alone."""
    first, *_ = RowsToRead(5, 5, "l.jsonl").render()
    assert "5 rows to read were written to" in first
    first, *_, last = RowsToRead(5, 0, "l.jsonl").render()
    assert first.startswith("Nothing was written")
    assert "5 rows are still unlabelled in" in last
    assert RowsToRead(5, 2, "l.jsonl").to_json() == {
        "rows_to_read": 5,
        "added": 2,
        "labels": "l.jsonl",
    }


def test_a_labelled_row_is_named_with_its_file():
    """One row's label and file are shown, or that nothing was kept."""
    row = KeptLabel("a.jsonl:3", "heron", "yes", "l.jsonl")
    first, last = row.render()
    assert first == "a.jsonl:3: true for heron"
    assert last.startswith("labels: /")
    assert list(row._replace(label=None).render()) == ["nothing was kept for a.jsonl:3"]
    assert row.to_json()["label"] == "yes"


def test_rates_follow_the_thresholds_and_are_in_the_json_output():
    """The trait's rate has a line of its own, and the JSON has the intervals as objects."""
    ends = Interval(0.031, 0.012, 0.066)
    rate = TraitRate(None, 1_200, 30, 80, ends, Interval(0.5, 0.25, 0.75), (), ends)
    found = make_evaluation(0, 0, "run")._replace(rates=[rate])
    assert any(str(part).startswith("rate of heron: 3.10%") for part in found.render())
    (own,) = found.to_json()["rates"]
    assert own["rate"] == own["on_new_rows"] == {"estimate": 0.031, "low": 0.012, "high": 0.066}


def test_a_card_whose_positives_are_unlike_the_corpus_is_named():
    """A recall that is surely below the share of the positives is warned of, and no other."""
    rule = SettledThreshold(
        trait="heron",
        signal="combined",
        action="flag",
        threshold=0.5,
        origin="calibrated",
        clean_texts=100,
        exceeding=0,
        bound=0.01,
        max_false_positive_rate=0.01,
        confidence=0.95,
        calibrated_on="library background",
        positives=34,
        positives_found=29,
        found_low=0.68,
        found_high=0.96,
    )

    def render(recall, *missed, high=0.67):
        accuracy = Accuracy(Interval(0.9, 0.8, 1.0), Interval(recall, 0.2, high))
        current = Measured(0.5, 0.01, 9, accuracy, accuracy, True, False, False)
        mistakes = Mistakes([], [Mistake("a", row, score) for row, score in enumerate(missed)])
        found = make_evaluation(0, 0, None)
        found = found._replace(measured=[current], rule=rule, mistakes=mistakes)
        return [str(part) for part in found.render() if "positives, each held out" in str(part)]

    assert render(0.68, high=0.9) == render(0.45, high=0.68) == []
    (line,) = render(0.45)
    assert "finds 29 of the card's 34 positives, each held out, but about 45% of this" in line
    assert line.endswith("congener fit --traits CARD --labels l.jsonl --output BANK")
    assert render(0.45, 0.1, 0.4, 0.0) == [line]
    (near,) = render(0.45, 0.4972, 0.4512, 0.0)
    assert "so the positives are unlike them" in line
    assert "so the positives are unlike them" not in near
    assert "2 of 3 score 0.4512 to 0.4972, below the threshold of 0.5000 but not far" in near


def test_a_level_that_gives_another_threshold_has_a_star():
    """A level's threshold below 0.5 is marked and explained, and others aren't."""
    unknown = Interval(None, 0.0, 1.0)
    accuracy = Accuracy(unknown, unknown)
    low = Measured(0.0317, 0.01, 9, accuracy, accuracy, False, False, False)
    found = make_evaluation(0, 0, "run")._replace(measured=[low])
    _, table, _, star, *_ = found.render()
    assert list(table.columns[1].cells) == ["1.0%*"]
    assert star == STARRED
    plain = found._replace(measured=[low._replace(threshold=0.5)])
    assert STARRED not in list(plain.render())
