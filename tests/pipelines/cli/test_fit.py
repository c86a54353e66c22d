"""`congener fit`: its table, its JSON, and existing banks."""

from types import SimpleNamespace

import pytest

from classifiers.guarantees.calibration import Threshold
from pipelines.cli.fit import FitResult
from pipelines.cli.output import say
from pipelines.worth import CloseTexts, StrongText
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
    assert "Rain fell.\nrain: labels: 3 yes\n" in out
    assert "the highest clean scores:\n  clean text 0.9000  background/0  Rain fell." in out
    assert out.endswith("bank dddddddddddd in bank\n")


def test_an_unknown_trait_exits_with_two(congener, tmp_path):
    """The error for an unknown trait lists the library's traits, and the exit code is 2."""
    code, _, err = congener("fit", "--output", str(tmp_path / "b"), "--traits", "nowhere")
    assert code == 2
    assert "library" in err
