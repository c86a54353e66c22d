"""`congener fit`: its table, its JSON, and existing banks."""

from types import SimpleNamespace

import pytest

from classifiers.guarantees.calibration import Threshold
from pipelines.cli.fit import FitResult
from pipelines.cli.output import say
from pipelines.pattern_worth import FoundTexts, PatternWorth
from pipelines.signal_costs import SignalCost
from pipelines.worth import STRONGEST, CloseTexts, StrongText
from tests.support.corpora import build_conversation, write_rows


@pytest.fixture
def arguments(heron, tmp_path) -> tuple[str, ...]:
    """Return a command line that fits a trait without a model."""
    return ("fit", "--traits", str(heron), "--output", str(tmp_path / "bank"))


def test_a_bank_is_fitted_and_described(congener, arguments):
    """The output has a line for the trait, and ends with the bank's digest and folder."""
    code, out, err = congener(*arguments)
    assert code == 0, err
    assert "heron" in out
    assert "lexicon" in out
    assert "0.5000" in out
    assert f"in {arguments[4]}" in out


def test_a_bank_in_json(congener_json, arguments):
    """The JSON has the bank's digest, and each trait with its threshold."""
    found = congener_json(*arguments)
    assert found["bank"] == arguments[4]
    assert len(found["digest"]) == 64
    (trait,) = found["traits"]
    assert trait["trait"] == "heron"
    assert trait["threshold"]["value"] == 0.5


def test_labels_are_counted_and_measured(congener_json, congener, arguments, tmp_path):
    """The closing lines count the labels of each half, and say what the trait finds of them."""
    labels, rows = tmp_path / "labels.csv", [build_conversation(n, f"Row {n}.") for n in range(20)]
    corpus = write_rows(tmp_path / "corpus.jsonl", rows)
    lines = "".join(f"{corpus.name},{row},{'yes' if row % 5 else 'unsure'}\n" for row in range(20))
    labels.write_text(f"source,row,label\n{lines}")
    command = (*arguments, "--labels", str(labels), "--on", str(corpus))
    code, out, err = congener(*command)
    assert code == 0, err
    assert "none of its signals learns" in out
    assert "0 of the 0 labelled rows that it finds show it" in " ".join(out.split())
    (trait,) = congener_json(*command, "--restart")["traits"]
    halves = [trait["labels"][half]["yes"] for half in ("fitting", "calibration")]
    assert sum(halves) + trait["labels"]["unsure"] == 20
    assert min(halves) > 0
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "A crow.", "label": "yes"}\n{"text": "A hen.", "label": "no"}\n')
    (trait,) = congener_json(*command, "--labels", str(more), "--restart")["traits"]
    halves = [trait["labels"][half] for half in ("fitting", "calibration")]
    assert sum(half["yes"] + half["no"] for half in halves) + trait["labels"]["unsure"] == 22


def test_a_bank_is_replaced_only_with_restart(congener, arguments):
    """Fitting over a bank exits with 4, and --restart replaces the bank."""
    assert congener(*arguments)[0] == 0
    code, _, err = congener(*arguments)
    assert (code, "already holds a bank" in err) == (4, True)
    assert congener(*arguments, "--restart")[0] == 0


def test_a_missing_threshold_says_how_many_texts_it_needs(capsys, monkeypatch):
    """For an impossible level, the output says how many more clean texts are needed."""
    monkeypatch.setenv("COLUMNS", "200")
    trait = SimpleNamespace(
        trait="rain",
        signals=("head",),
        positives=12,
        negatives=3,
        threshold=Threshold(None, "missing", clean=100),
        needed=299,
        found=None,
        patterns=None,
        cost_line="",
        close=CloseTexts([StrongText(0.9, "background/0", "Rain fell.")]),
        advice="",
        labels=None,
        label_lines=("rain: labels: 3 yes",),
    )
    result = FitResult("bank", SimpleNamespace(digest="d" * 64), [trait])
    for part in result.render():
        say(part)
    out = capsys.readouterr().out
    assert "missing: 199 more clean texts" in out
    assert (
        "Rain fell.\nrain: labels: 3 yes\n" in out
    )  # without a threshold, nothing is to be left out
    assert "leave_out" not in out
    assert "the highest clean scores:\n  clean text 0.9000  background/0  Rain fell." in out
    assert out.endswith("bank dddddddddddd in bank\n")


def test_an_unknown_trait_exits_with_two(congener, tmp_path):
    """The error for an unknown trait lists the library's traits, and the exit code is 2."""
    code, _, err = congener("fit", "--output", str(tmp_path / "b"), "--traits", "nowhere")
    assert code == 2
    assert "library" in err


def test_a_poor_threshold_has_its_cause_and_the_texts_that_set_it(congener, card_folder, tmp_path):
    """The output has the advice beside the share, then hard negatives, then clean texts."""
    card = "signals: {lexicon: {patterns: [the]}}\n"
    folder = card_folder("article", card, ["The end."], ["Not the end.", "End the day."])
    bank = str(tmp_path / "bank")
    code, out, err = congener("fit", "--traits", str(folder), "--output", bank)
    assert code == 0, err
    shown = " ".join(out.split())
    assert "0 of the card's 1 positive reach 0.8648" in shown
    assert "No single hit of its lexicon reaches 0.8648 (the strongest, 0.8647), because" in shown
    assert "hard negatives: #" not in shown  # none reaches the threshold
    assert shown.count("clean text 0.8647") == STRONGEST
    assert "more clean texts that high" in shown
    assert "congener traits check CARD --bank" in shown


def test_the_closest_texts_are_in_the_json_output(congener_json, card_folder, tmp_path):
    """For programs, the closest texts, the hard negatives that fire and the advice are fields."""
    card = "signals: {lexicon: {patterns: [heron]}}\nthreshold: 0.5\n"
    folder = card_folder("bird", card, ["A heron."], ["Heron Street.", "A crow."])
    bank = str(tmp_path / "bank")
    (trait,) = congener_json("fit", "--traits", str(folder), "--output", bank)["traits"]
    assert trait["advice"] == ""
    assert (trait["close"]["fired"], trait["close"]["negatives"]) == ([1], 2)
    assert trait["close"]["more"] == 0
    assert all(text["score"] > 0 and text["name"] for text in trait["close"]["clean"])


def test_patterns_have_their_own_line(capsys, monkeypatch):
    """A user's own trait has a line that compares its patterns with its signals that learn."""
    monkeypatch.setenv("COLUMNS", "300")
    worth = PatternWorth(
        24, 700, False, 0.01, ("wording",), FoundTexts(22, 0), FoundTexts(9, 1), FoundTexts(22, 2)
    )
    trait = SimpleNamespace(
        trait="rain",
        signals=("wording", "lexicon"),
        positives=24,
        negatives=0,
        threshold=Threshold(0.5, "calibrated", clean=700),
        found=None,
        patterns=worth,
        cost=SignalCost(("wording",), ("lexicon",), 22, 22, 5, 2, True, False),
        cost_line="without wording, it is as good",
        close=None,
        advice="",
        labels=None,
        label_lines=(),
    )
    bank = SimpleNamespace(digest="d" * 64, encoder=None)
    result = FitResult("bank", bank, [trait])
    for part in result.render():
        say(part)
    out = capsys.readouterr().out
    assert "\nrain: without wording, it is as good\n" in out
    assert "rain: at the same level (1.0%), all signals find 22 of the card's 24 positives" in out
    (found,) = FitResult("bank", bank, [trait]).to_json()["traits"]
    assert found["patterns"]["patterns"] == {"shown": 22, "clean": 0}
    assert found["patterns"]["suffices"] is True
    assert (found["cost"]["dropped"], found["cost"]["wrong_without"]) == (("wording",), 2)
