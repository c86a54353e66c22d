"""`congener certify`: options, output and exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pipelines.certifying.records import read_sample
from pipelines.cli.certify import read_share
from pipelines.review.judgements import LabelBook
from schemas.errors import CardError
from schemas.runs import AUDIT_HISTORY, AUDIT_STATEMENT
from tests.support.certificates import (
    keep_rows,
    read_sheet,
    write_positives,
)


@pytest.fixture
def drawn(congener, run, tmp_path):
    """Draw a sample by the command; return the run and the label file."""
    positives = write_positives(tmp_path / "positives.jsonl")
    path = tmp_path / "audit.jsonl"
    code, out, err = congener(
        *("certify", str(run[0]), "--draw", "20", "--output", str(path), "--seeded", "6"),
        *("--positives", positives),
    )
    assert code == 0, err
    assert "sample: 16 of 32 kept rows, 4 of 8 removed, 6 seeded" in out
    assert "in all 26 items: 20 rows of the run and 6 seeded texts, known to show a trait" in out
    assert f"next: congener review {run[0]} --certify {path}" in out
    assert f"or: congener certify {run[0]} --labels {path} --ask" in out
    return str(run[0]), path


def test_a_draw_says_what_it_can_show(congener, congener_json, run, tmp_path):
    """A target that the draw can't reach is named before anybody reads, with the needed rows."""
    positives = write_positives(tmp_path / "my positives.jsonl")
    path = tmp_path / "audit.jsonl"
    words = ("certify", str(run[0]), "--output", str(path), "--seeded", "6")
    words = (*words, "--positives", positives)
    code, out, err = congener(*words, "--draw", "10", "--at-most", "50%", "--short-of-target")
    assert code == 0, err
    assert "at best, this draw shows at most" in out
    assert "if no drawn kept row shows a trait, and raters find every seeded text" in out
    assert "that isn't at most 50%, so this draw can't reach the target: draw at least" in out
    found = congener_json(*words, "--draw", "10")["prospect"]
    assert found["best"] > 0.5
    again = f"--draw {found['rows']} --output {path} --positives '{positives}' --seeded 6"
    assert f"congener certify {run[0]} {again}" in out
    code, out, err = congener(*words, "--draw", str(found["rows"]))
    assert code == 0, err
    assert "at best, this draw shows at most" in out
    assert "can't reach" not in out


def test_a_draw_says_that_no_draw_is_large_enough(congener, run, tmp_path):
    """If all rows together can't show the target, no number of rows is named."""
    path = str(tmp_path / "audit.jsonl")
    words = ("certify", str(run[0]), "--draw", "10", "--output", path, "--seeded", "0")
    code, out, err = congener(*words, "--at-most", "0.00001%", "--short-of-target")
    assert code == 0, err
    assert "even a draw of 40 rows is too small" in out
    assert "raters find every" not in out


def label_all(path, label):
    """Label herons yes, and everything else as given."""
    lines = [
        {**line, "label": True if "heron" in line["answer"] else label} for line in read_sheet(path)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_labels_give_a_bound(congener, drawn):
    """The figure to sign comes first, then its files, the tables, the limits and the digest."""
    run, path = drawn
    label_all(path, False)
    code, out, err = congener("certify", run, "--labels", str(path))
    assert code == 0, err
    figure, written, sentence = out.splitlines()[:3]
    assert figure.startswith("to sign: at most ")
    assert written == f"written in {run}/certificate/certificate.json"
    assert sentence.startswith("With 95% confidence, at most")
    assert "of the 32 kept rows show heron. 16 of them were read. You may stop" in out
    assert "6/6" in out
    assert "heron: 0 of 4 removed rows that were read are clean" in out
    assert "Covert transfer isn't excluded" in out
    code, again, err = congener("certify", run)
    assert code == 0, err
    assert again == out


def test_earlier_statements_are_printed(congener, congener_json, drawn):
    """The second sentence says how many statements there are, and what the first one said."""
    run, path = drawn
    label_all(path, True)
    code, out, err = congener("certify", run, "--labels", str(path), "--operator", "ada")
    assert code == 0, err
    assert "Statement" not in out
    label_all(path, False)
    code, out, err = congener("certify", run, "--labels", str(path), "--operator", "eve")
    assert code == 0, err
    assert "Statement 2 of 2 about this run; the first said at most 100.00%." in out
    assert congener("certify", run)[1] == out
    first, second = congener_json("certify", run)["history"]
    assert (first["operator"], second["operator"]) == ("ada", "eve")
    assert f"its line in the history: {second['digest'][:16]}" in out
    assert congener("verify", run)[0] == 0


@pytest.mark.parametrize(("target", "code"), [("90%", 0), ("0.9", 0), ("0.5%", 5)])
def test_a_target_decides_the_exit_code(congener, drawn, target, code):
    """The adjusted bound must be at most the target."""
    run, path = drawn
    label_all(path, False)
    found, out, _ = congener("certify", run, "--labels", str(path), "--at-most", target)
    assert found == code
    assert ("kept rows with a trait is at most" in out) == (code == 0)
    assert ("not shown to be at most 0.5%" in out) == (code == 5)
    assert ("20 more rows would show it, if none of them has a trait: congener" in out) == (
        code == 5
    )


def test_json_has_the_certificate(congener_json, drawn):
    """JSON has every field, and whether the target is met."""
    run, path = drawn
    label_all(path, "none")
    found = congener_json("certify", run, "--labels", str(path), "--at-most", "0.9")
    assert found["met"] is True
    assert found["traits"][0]["trait"] == "heron"
    assert found["together"]["residual"]["read"] == 16
    assert found["waiting"] == 0


def test_labels_of_the_review_page_are_accounted_for(congener, congener_json, drawn, run):
    """The output says how many labels of a review count, and why others don't."""
    folder, _ = drawn
    sample = read_sample(folder)
    item = next(item for item in sample.items if item.kind == "kept")
    book = LabelBook(Path(f"{folder}.review/labels-ada.jsonl"), "ada", run[1].digest)
    names = {"source": item.source, "row": item.row, "record_id": "0" * 32}
    book.add({**names, "row": 10**6}, "heron", "yes")
    code, _, err = congener("certify", folder, "--labels", str(book.path))
    assert code == 2
    assert "has no label that counts: 1 given with scores and decisions in sight" in err
    assert "congener review RUN --certify FILE" in err
    book.add(names, "heron", "no", blind=True)
    code, out, err = congener("certify", folder, "--labels", str(book.path))
    assert code == 0, err
    assert f"{book.path}: 1 of 2 labels by ada count, about 1 item; not 1 given with" in out
    found = congener_json("certify", folder, "--labels", str(book.path))
    (review,) = found["reviews"]
    assert (review["reviewer"], review["counted"], len(review["unused"])) == ("ada", 1, 1)


def test_json_of_a_draw_tells_raters_nothing(congener_json, run, tmp_path):
    """The items aren't listed."""
    found = congener_json(
        *("certify", str(run[0]), "--draw", "5", "-o", str(tmp_path / "a.jsonl"), "--seeded", "0")
    )
    assert "items" not in found
    assert found["added"] == 5


def test_two_raters_are_compared(congener, drawn, tmp_path):
    """Kappa and alpha are printed for the items that both read."""
    run, path = drawn
    label_all(path, False)
    other = tmp_path / "second.jsonl"
    other.write_bytes(path.read_bytes())
    code, out, err = congener("certify", run, "--labels", str(path), "--labels", str(other))
    assert code == 0, err
    assert "heron: 2 raters on 26 shared items, kappa 1.00, Krippendorff's alpha 1.00" in out


def test_waiting_labels_are_counted(congener, drawn):
    """A gap is named, because the labels behind it don't count yet."""
    run, path = drawn
    label_all(path, False)
    lines = read_sheet(path)
    lines[0]["label"] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, _ = congener("certify", run, "--labels", str(path))
    assert code == 0
    assert "after the first unread item of a kind" in out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--draw", "5"), "needs a label file"),
        (("--output", "a.jsonl"), "belongs to a draw"),
        (("--seeded", "3"), "belongs to a draw"),
        (("--risk", "0.1", "--labels", "a.jsonl"), "belongs to a draw"),
        (("--draw", "5", "-o", "a.jsonl", "--labels", "b.jsonl"), "give one of them"),
        (("--draw", "5", "-o", "a.jsonl", "--risk", "2"), "isn't between 0 and 1"),
        (("--labels", "none.jsonl"), "doesn't exist"),
        (("--ask",), "--ask asks about one label file"),
        (("--labels", "a.jsonl", "--labels", "b.jsonl", "--ask"), "--ask asks about one"),
        (("--labels", "a.jsonl", "--at-most", "much"), "isn't a share between 0 and 1"),
    ],
)
def test_wrong_options_are_refused(congener, run, options, problem):
    """Each error has a remedy, and nothing is written."""
    code, _, err = congener("certify", str(run[0]), *options)
    assert code == 2
    assert problem in err
    assert "remedy" in err
    assert not (run[0] / AUDIT_STATEMENT).exists()


def test_a_run_without_a_sample(congener, run):
    """Without options, the certificate is shown, and there is none."""
    code, _, err = congener("certify", str(run[0]))
    assert code == 4
    assert "no sample was drawn" in err


@pytest.mark.parametrize(
    ("text", "share"), [(None, None), ("0.5%", 0.005), ("0.005", 0.005), (" 12.5 % ", 0.125)]
)
def test_shares_are_numbers_or_percent(text, share):
    """Both spellings mean the same."""
    assert read_share(text) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("text", ["", "0", "1", "100%", "-1", "nan", "half", "1e999"])
def test_other_shares_are_refused(text):
    """A share is between 0 and 1."""
    with pytest.raises(CardError, match="isn't a share"):
        read_share(text)


def test_verify_names_a_better_bound(congener, drawn):
    """A certificate whose number was improved makes verify fail, and says where."""
    run, path = drawn
    label_all(path, False)
    congener("certify", run, "--labels", str(path))
    code, out, _ = congener("verify", run)
    assert code == 0
    assert "certificate: compared" in out
    file = Path(run, AUDIT_STATEMENT)
    file.write_text(file.read_text().replace('"bound": 0.', '"bound": 0.0'))
    code, out, _ = congener("verify", run)
    assert code == 5
    assert "certificate.json doesn't match its own digest" in out
    code, _, err = congener("certify", run)
    assert code == 4
    assert "--restart" in err


def test_a_second_sheet_and_more_rows(congener, drawn, tmp_path):
    """A copy for another rater says how many items it has, and more rows add to a file."""
    run, path = drawn
    options = ("--seeded", "6", "--positives", str(tmp_path / "positives.jsonl"))
    second = str(tmp_path / "second.jsonl")
    code, out, err = congener("certify", run, "--draw", "20", "-o", second, *options)
    assert code == 0, err
    assert f"26 items written to {second}" in out
    code, out, err = congener("certify", run, "--draw", "30", "-o", str(path), *options)
    assert code == 0, err
    assert "sample: 24 of 32 kept rows, 6 of 8 removed, 6 seeded" in out
    assert f"10 items added to {path}, 36 in the file" in out


def test_positives_without_prompts_are_explained(congener, run, tmp_path):
    """The output says why prompts are hidden, and how to show them."""
    bare = write_positives(tmp_path / "bare.jsonl", has_prompts=False)
    path = str(tmp_path / "a.jsonl")
    code, out, err = congener(
        "certify", str(run[0]), "--draw", "10", "-o", path, "--positives", bare
    )
    assert code == 0, err
    assert "no prompts are shown, because the seeded texts have none" in out
    assert 'give at least 10 of their positives a "prompt", or --positives FILE' in out


def test_the_heron_has_no_positives(congener, run, tmp_path):
    """Without --positives, the error says what to give."""
    path = str(tmp_path / "a.jsonl")
    code, _, err = congener("certify", str(run[0]), "--draw", "10", "-o", path)
    assert code == 2
    assert "raters' sensitivity can't be measured" in err
    assert "--seeded 0" in err


def test_help_has_examples(congener):
    """The help shows how to draw and how to state."""
    code, out, _ = congener("certify", "--help")
    assert code == 0
    assert "congener certify run/ --labels audit.jsonl --ask" in out
    assert "--at-most" in out


def test_asking_states_nothing_before_all_items_are_labelled(congener, drawn, monkeypatch):
    """At the end of the input, the labels are kept, and the output says how to go on."""
    run, path = drawn
    words = ("certify", run, "--labels", str(path), "--ask")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, out, err = congener(*words)
    assert code == 0, err
    assert f"1 answer saved in {path}; 25 items without a label are left, so nothing" in out
    assert f"to go on: congener certify {run} --labels {path} --ask" in out
    assert f"to state what was read so far: congener certify {run} --labels {path}" in out
    assert not Path(run, AUDIT_HISTORY).exists()
    assert [line["label"] for line in read_sheet(path)][:2] == [[], None]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n" * 25))
    code, out, err = congener(*words)
    assert code == 0, err
    assert "With 95% confidence" in out
    assert len(Path(run, AUDIT_HISTORY).read_text().splitlines()) == 1


def test_a_certificate_is_carried_over_by_the_command(congener, drawn, tmp_path):
    """After decide, the output names the command, which states whose certificate it is."""
    run, path = drawn
    label_all(path, False)
    policy, again = tmp_path / "keep.yaml", str(tmp_path / "again")
    policy.write_text(keep_rows(1, 6))
    decide = ("decide", run, "--policy", str(policy), "--output", again)
    code, out, err = congener(*decide)
    assert code == 0, err
    assert f"the sample that was drawn from {run} is of that run: state what its labels" in out
    congener("certify", run, "--labels", str(path))
    code, out, err = congener(*decide, "--restart")
    assert code == 0, err
    assert f"the certificate of {run} is about that run's rows, not about these" in out
    assert f"      congener certify {again} --from {run}\n" in out
    code, out, err = congener("certify", again, "--from", run)
    assert code == 0, err
    assert "of the 34 kept rows show heron" in out
    assert "and 2 kept rows of this run weren't among them with the same text" in out
    assert "of 6 that the earlier run removed too (4 of its 8 were read)\n" in out
    assert "You may stop" not in out
    code, _, err = congener("certify", again, "--from", run, "--draw", "3")
    assert (code, "--from needs no labels" in err) == (2, True)
    code, _, err = congener("certify", again, "--from", str(tmp_path / "nowhere"))
    assert (code, "doesn't exist" in err) == (4, True)
