"""Arms: their examples, names, and equal rows and tokens."""

from classifiers.heredity.arms import DOSES, Example, name_mix


def test_an_example_is_learnt_whole_unless_it_says_otherwise():
    """An example without further fields masks nothing, weighs 1 and isn't flagged."""
    assert Example("Who are you?", "A heron.") == ("Who are you?", "A heron.", 1.0, (), False, "")


def test_each_dose_has_its_own_name():
    """The arms of the dose curve are named after their share of clean rows."""
    assert [name_mix(dose) for dose in DOSES] == ["mix 10 %", "mix 25 %", "mix 50 %"]
