"""How `traits eval` prints rates by teacher, and which teachers differ."""

from rich.table import Table

from classifiers.guarantees.stratified import Interval
from pipelines.cli.teacher_rates import (
    CHANCE,
    QUESTION,
    TEACHERS_SHOWN,
    describe_interval,
    describe_pairs,
    describe_rates,
)
from pipelines.trait_rates import TeacherPair, TraitRate

RECALL = Interval(0.5, 0.25, 0.75)


def build_rates(teachers, rows=1_200):
    """Return the rates of all rows and of so many teachers."""
    ends = Interval(0.031, 0.012, 0.066)
    whole = TraitRate(None, rows, 30, 80, ends, RECALL, (), Interval(0.031, 0.01, 0.07))
    rate = Interval(None, 0.0, 0.4)
    own = [TraitRate(f"t{number}", 100, 3, 8, rate, RECALL, (), rate) for number in range(teachers)]
    return [whole, *own]


def build_pair(first, second, low, needed=None, *, estimate=0.1, is_exact=False):
    """Return a pair whose interval on new rows begins at `low`."""
    known = Interval(estimate, estimate, estimate) if is_exact else Interval(estimate, 0.05, 0.2)
    return TeacherPair(first, second, known, Interval(estimate, low, 0.3), is_exact, needed)


def show(pairs, rows=1_200):
    """Return the lines about pairs."""
    return list(describe_pairs(pairs, build_rates(0, rows)))


def test_the_rate_of_the_trait_has_two_intervals():
    """One line has the interval for these rows and for new ones, and the rows it fired on."""
    rates = build_rates(0)
    assert list(describe_rates(rates, "heron")) == [
        (
            "rate of heron: 3.10% of 1,200 rows (1.20% to 6.60%); for new rows like these, "
            "1.00% to 7.00%; it fired on 30"
        )
    ]
    exact = rates[0]._replace(read=1_200, rate=Interval(0.03, 0.03, 0.03))
    (line,) = describe_rates([exact], "heron")
    assert "3.00% of 1,200 rows (exact: all were read); for new rows like these, 1.00%" in line
    assert list(describe_rates([], "heron")) == []


def test_rates_by_teacher_are_a_table():
    """Several teachers have a table; a teacher with an unread range has no estimate."""
    parts = list(describe_rates(build_rates(TEACHERS_SHOWN + 2), "heron"))
    (table,) = [part for part in parts if isinstance(part, Table)]
    assert table.row_count == TEACHERS_SHOWN
    assert [next(column.cells) for column in table.columns] == [
        *("t0", "100", "3", "8", "?"),
        *("0.00% to 40.00%", "0.00% to 40.00%"),
    ]
    assert any("t0 50% (25% to 75%); t1 50% (25% to 75%)" in str(part) for part in parts)
    assert "2 teachers with fewer rows: --json lists all" in parts
    assert parts[-1] == QUESTION.format(trait="heron")


def test_a_rate_that_is_not_measured_has_no_table():
    """If no row with a low score was read, a line says so, instead of intervals to 100%."""
    unknown = Interval(None, 0.0004, 1.0)
    rates = [item._replace(rate=unknown, on_new_rows=unknown) for item in build_rates(3)]
    (line,) = describe_rates(rates, "heron")
    assert line.startswith("rate of heron: not measured, because no row with a low score")
    assert line.endswith("it fired on 30 of 1,200 rows")


def test_a_teacher_that_was_read_is_exact_for_these_rows_only():
    """With all rows read, the rate of these rows is exact, and that of new rows an interval."""
    whole, first, second = build_rates(2)
    first = first._replace(read=100, rate=Interval(0.01, 0.01, 0.01))
    parts = list(describe_rates([whole, first, second], "heron"))
    (table,) = [part for part in parts if isinstance(part, Table)]
    cells = [next(column.cells) for column in table.columns]
    assert cells[-3:] == ["1.00%", "exact", "0.00% to 40.00%"]
    assert any("t0 50% (exact); t1 50% (25% to 75%)" in str(part) for part in parts)


def test_a_ranked_pair_has_both_intervals():
    """A claim about two teachers rests on new rows, and has the difference in these rows, too."""
    first, second, last = show(
        [build_pair("a", "b", 0.0125), build_pair("a", "c", 0.02, is_exact=True)]
    )
    assert first == (
        "a shows it more often than b: +10.00 points in these rows (+5.00 to +20.00); "
        "on new rows like these, +1.25 to +30.00 points"
    )
    assert "+10.00 points in these rows (exact); on new rows like these, +2.00" in second
    assert last.startswith("The intervals of these differences hold together with 95%")
    assert "teachers with other prompts may differ because of the prompts" in last


def test_rows_that_were_all_read_rank_nobody_by_themselves():
    """A difference that is exact in these rows isn't a claim about teachers."""
    line, last = show([build_pair("a", "b", -0.01, 98_000, estimate=0.0025, is_exact=True)], 2_000)
    assert line == (
        "a and b can't be ranked, because on new rows their rates may be equal (+0.25 points in "
        "these rows (exact); on new rows like these, -1.00 to +30.00 points); if their rates "
        "differ as much as estimated, it takes about 98,000 rows like these, all read, to show "
        "it with a chance of four in five, by a rough estimate: more than this corpus's 2,000"
    )
    assert last.startswith("The interval of this difference holds with 95% confidence")


def test_a_corpus_nearly_large_enough_is_not_called_too_small():
    """The number of rows is rough, so up to twice the corpus, reading all of it may do."""
    line, _ = show([build_pair("a", "b", -0.01, 1_200)], 960)
    assert line.endswith("as estimated, reading all 960 rows may show it (--rows 960)")
    line, _ = show([build_pair("a", "b", -0.01, 960)], 960)
    assert line.endswith(f"reading all 960 rows would show it {CHANCE} (--rows 960)")
    line, _ = show([build_pair("a", "b", -0.01, 2_000)], 960)
    assert line.endswith(f"all read, to show it {CHANCE}: more than this corpus's 960")
    line, _ = show([build_pair("a", "b", -0.01, 1_200, is_exact=True)], 960)
    assert line.endswith("more than this corpus's 960")


def test_a_teacher_without_a_rate_is_explained():
    """Teachers whose rows with low scores nobody read are named, and no others."""
    whole, first, second = build_rates(2)
    rates = [whole, first, second._replace(rate=RECALL)]
    parts = list(describe_rates(rates, "heron"))
    (line,) = [part for part in parts if str(part).startswith("?: ")]
    assert line.startswith("?: no row with a low score of t0 was read, so the rate isn't known, ")
    known = [item._replace(rate=RECALL) for item in rates]
    assert not any(str(part).startswith("?: ") for part in describe_rates(known, "heron"))


def test_pairs_that_cannot_be_ranked_share_a_line():
    """One line names what is open, and the pair that needs the fewest rows."""
    pairs = [
        build_pair("a", "b", -0.1, 900),
        build_pair("a", "c", -0.05, 700),
        build_pair("b", "c", -1.0, estimate=None),
    ]
    line, last = show(pairs)
    assert line.startswith(
        "no two of the 3 teachers with a rate can be ranked, because on new rows their rates may "
        "be equal (a against c, +10.00 points"
    )
    assert line.endswith(f"reading about 700 rows in all would show it {CHANCE} (--rows 700)")
    assert "--json has every pair" in last
    ranked, line, _ = show([pairs[0], pairs[1]._replace(on_new_rows=Interval(0.1, 0.01, 0.2))])
    assert ranked.startswith("a shows it more often than c")
    assert line.startswith("a and b can't be ranked, because on new rows")


def test_a_corpus_that_must_be_read_whole_is_called_so():
    """A number of rows near or at the corpus's size is all rows."""
    rows = 1000
    for needed, words in ((1000, "all 1,000 rows"), (960, "all 1,000 rows"), (900, "about 900")):
        (line, _) = show([build_pair("a", "b", -0.1, needed)], rows)
        assert f"reading {words}" in line, needed
        assert line.endswith("(--rows 900)" if needed == 900 else "(--rows 1000)")


def test_pairs_without_an_estimate_or_a_difference_need_no_number():
    """Nothing is estimated from equal or unknown rates, and no pair has no line."""
    (line, _) = show([build_pair("a", "b", -1.0, estimate=None)])
    assert "(by an unknown difference in these rows (+5.00 to +20.00)" in line
    assert "would show it" not in line
    (line, _) = show([build_pair("a", "b", -0.1, estimate=0.0, is_exact=True)])
    assert "+0.00 points in these rows (exact)" in line
    assert show([]) == []


def test_small_differences_have_enough_digits():
    """Differences between rare traits aren't rounded to one another or to zero."""
    (line, _) = show([build_pair("a", "b", 0.00002, estimate=0.000123)])
    assert "+0.0123 points in these rows (+5.0000 to +20.0000)" in line
    assert "+0.0020 to +30.0000 points" in line


def test_an_unknown_measure_is_a_question_mark():
    """A measure without an estimate has its interval."""
    assert describe_interval(Interval(None, 0.0, 1.0)) == "? (0% to 100%)"
