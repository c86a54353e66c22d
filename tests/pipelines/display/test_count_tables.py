"""The table of a run's counts."""

from types import SimpleNamespace

from pipelines.display.count_tables import COUNTS_SHOWN, OTHERS_SHOWN, render_counts
from pipelines.runs.queries import Count


def test_a_teacher_in_every_row_does_not_fill_the_terminal():
    """The largest counts are printed, and the rest are counted."""
    few = [
        Count("keep", None, "trained", "zebra", 7, 7),
        Count("quarantine", "emu", "trained", "ape", 9, 18),
    ]
    many = [
        Count("keep", None, "trained", f"teacher {number:06}", 1, 1) for number in range(100_000)
    ]
    manifest = SimpleNamespace(
        run_id="r",
        conservation=SimpleNamespace(rows_in=100_016),
        describe_finish=lambda: None,
    )
    whole = render_counts(few, manifest)
    assert whole.row_count == 2
    assert whole.caption == (
        "Shares are of the teacher's rows.\nA row counts once for each trait that fired on it."
    )
    assert [str(cell) for cell in whole.columns[5].cells] == ["100.00%", "50.00%"]
    table = render_counts([*many, *few], manifest)
    assert table.row_count == OTHERS_SHOWN + 1
    assert [str(cell) for cell in table.columns[2].cells][-2:] == ["zebra", "ape"]
    assert table.caption.startswith("99,991 more lines with 99,991 rows left out: ")
    found = [count._replace(trait="emu") for count in many]
    assert render_counts([*found, *few], manifest).row_count == COUNTS_SHOWN


def test_traits_that_did_not_decide_are_marked():
    """A line of a milder trait begins with also, and the caption says why."""
    manifest = SimpleNamespace(
        run_id="r", conservation=SimpleNamespace(rows_in=9), describe_finish=lambda: None
    )
    held = Count("quarantine", "emu", "trained", "oak", 2, 9)
    also = held._replace(trait="owl", decides=False)
    table = render_counts([held, also], manifest)
    assert [str(cell) for cell in table.columns[1].cells] == ["emu", "also owl"]
    assert "also: it fired too, but another finding decided." in table.caption
    assert "also" not in render_counts([held], manifest).caption


def test_replaced_rows_are_explained():
    """If a row with another teacher's answer counts for a trait, the caption says for which."""
    manifest = SimpleNamespace(
        run_id="r", conservation=SimpleNamespace(rows_in=9), describe_finish=lambda: None
    )
    note = "A row with another teacher's answer counts for the traits of its old answer."
    swapped = Count("swap", "emu", "trained", "oak", 2, 9)
    assert render_counts([swapped], manifest).caption.endswith(note)
    held = swapped._replace(decision="quarantine")
    assert note not in render_counts([held], manifest).caption
    assert note not in render_counts([swapped._replace(trait=None)], manifest).caption
