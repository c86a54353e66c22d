"""`congener traits eval`: questions on a terminal, label files, and the tables."""

import io
import json
import sys
from pathlib import Path

import polars as pl
import pytest

from classifiers.guarantees.calibration import bound_share
from pipelines.labels import hide_score
from pipelines.review.judgements import LabelBook, read_lines
from pipelines.runs.manifest_file import load_manifest
from schemas.shares import format_interval


class Terminal(io.StringIO):
    """Standard input that looks like a terminal, with prepared answers."""

    def isatty(self):
        """Return True."""
        return True


@pytest.fixture
def answer(monkeypatch):
    """Return a function that prepares a person's answers."""
    return lambda *lines: monkeypatch.setattr(sys, "stdin", Terminal("".join(lines)))


@pytest.fixture
def unattended(monkeypatch):
    """Run without a terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def read_file(path):
    """Return the lines of a label file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_are_asked_and_measured(congener, run, tmp_path, answer):
    """Each answer is saved at once, scores aren't shown, and the tables follow."""
    labels = tmp_path / "l.jsonl"
    answer(*["what\n", "y\n"] + ["n\n"] * 9)
    code, out, err = congener(
        "traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels), "--rows", "10"
    )
    assert code == 0, err
    assert err.count("Does it show heron?") == 11
    assert "prompt: Question" in err
    assert "0.8647" not in err
    lines = read_file(labels)
    assert [line["label"] for line in lines] == [True] + [False] * 9
    assert {line["trait"] for line in lines} == {"heron"}
    assert "precision" in out
    assert "in force" in out


def test_quitting_keeps_the_answers(congener, run, tmp_path, answer):
    """Quitting keeps the answers, and the next call asks about the rest."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    answer("y\n", "s\n", "n\n", "q\n")
    assert congener(*command, "--rows", "6")[0] == 0
    assert [line["label"] for line in read_file(labels)] == [True, False]
    answer("y\n")  # the end of the input quits
    code, _, err = congener(*command, "--rows", "6")
    assert code == 0
    assert "1 of 4" in err
    assert len(read_file(labels)) == 3


def test_without_a_terminal_the_rows_are_written(
    congener, congener_json, run, tmp_path, unattended
):
    """Without a terminal, rows are written to a file, and labels in the file are measured."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    expected = {"rows_to_read": 40, "added": 40, "labels": str(labels)}
    assert congener_json(*command) == expected
    lines = read_file(labels)
    assert all(line["label"] is None and line["text"] for line in lines)
    assert all(line["prompt"].startswith("Question") for line in lines)
    filled = [line | {"label": "heron" in line["text"].lower()} for line in lines]
    labels.write_text("".join(json.dumps(line) + "\n" for line in filled))
    found = congener_json(*command)
    (current,) = (item for item in found["thresholds"] if item["is_in_force"])
    assert current["rows"] == 8
    assert current["accuracy"]["precision"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    assert current["accuracy"]["recall"]["estimate"] == 1.0
    assert sum(item["read"] for item in found["ranges"]) == 40
    low, high = bound_share(8, 8)
    expected = {"estimate": 1.0, "low": low, "high": high}
    assert current["on_new_rows"]["precision"] == pytest.approx(expected)
    shown = " ".join(congener(*command)[1].split())
    new = format_interval(low, high, 0)
    assert (
        "precision at 0.5000: 100%, exact for this corpus: all 8 found rows were read; for new "
        f"rows like these, {new}"
    ) in shown
    assert "recall at 0.5000: 100%, exact for this corpus: all of its rows were read" in shown
    assert "heron on this corpus (don't quote these for other rows)" in shown
    assert "heron on new rows like these (quote these)" in shown
    unsure = [line | {"label": "unsure"} for line in filled[:3]]
    labels.write_text("".join(json.dumps(line) + "\n" for line in [*unsure, *filled[3:]]))
    assert "3 rows labelled unsure count as not read" in " ".join(congener(*command)[2].split())
    assert "100% (exact)" in shown
    assert "100% (100% to 100%)" not in shown
    assert "it fired on: atlas 100% (exact); borealis 100% (exact)" in shown
    assert (
        "atlas and borealis can't be ranked, because on new rows their rates may be equal" in shown
    )
    assert found["teachers_compared"][0]["difference"] == dict.fromkeys(
        ("estimate", "low", "high"), 0.0
    )


def test_a_file_written_without_questions_is_announced(
    congener, run, tmp_path, unattended, monkeypatch
):
    """Without a terminal, the first line says that a file was written, and its whole path."""
    monkeypatch.chdir(tmp_path)
    code, out, err = congener("traits", "eval", "heron", "--run", str(run[0]), "--rows", "10")
    assert code == 0, err
    assert out.startswith("Nothing was asked, because the input is not a terminal")
    assert f"10 rows to read were written to {tmp_path / 'heron.labels.jsonl'}" in out


def test_rows_in_the_file_are_not_added_again(congener, congener_json, run, tmp_path, unattended):
    """The same command adds no rows twice, and more --rows add only new rows."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    assert congener_json(*command, "--rows", "10")["added"] == 10
    before = labels.read_bytes()
    code, out, _ = congener(*command, "--rows", "10")
    shown = " ".join(out.split())
    assert code == 0
    assert "10 rows are still unlabelled in" in shown
    assert "Nothing was written" in shown
    assert labels.read_bytes() == before
    expected = {"rows_to_read": 16, "added": 6, "labels": str(labels)}
    assert congener_json(*command, "--rows", "16") == expected
    rows = [(line["source"], line["row"]) for line in read_file(labels)]
    assert len(rows) == len(set(rows)) == 16


def test_rows_without_a_label_are_counted_beside_the_measures(congener, run, tmp_path, unattended):
    """Unlabelled rows are counted beside the measures."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    assert congener(*command, "--rows", "20")[0] == 0
    for read, tables in ((1, False), (11, True)):
        fill(labels, only=read - sum(line["label"] is not None for line in read_file(labels)))
        code, out, _ = congener(*command, "--rows", "20")
        assert code == 0
        assert ("precision" in out) == tables
        assert out.startswith("Next: set the `label` of the 19 rows") != tables
        assert f"{20 - read} rows are still unlabelled in {labels}" in "".join(out.split("\n"))
    assert len(read_file(labels)) == 20


def test_labels_by_other_scores_are_warned_of(congener, run, tmp_path, unattended):
    """A label from another score leads to a warning."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    congener(*command, "--row", "0.jsonl:1", "--label", "yes")
    (line,) = read_file(labels)
    known = {**line, "picked": False}
    for fields, changed in (
        ({"score": 0.1, "drawn": None}, 1),
        ({"drawn": hide_score("heron", line["record_id"], 0.1)}, 1),
        ({"drawn": hide_score("heron", line["record_id"], 0.8655)}, 0),
        ({"score": 0.8647, "drawn": None}, 0),
        ({}, 0),
    ):
        labels.write_text(json.dumps(known | fields))
        code, _, err = congener(*command)
        assert code == 0
        said = " ".join(err.split())
        assert said.count("1 label is of rows that another version of the card drew") == changed
        assert ("aren't asked about again" in said) == bool(changed)


@pytest.mark.usefixtures("unattended")
def test_labels_are_carried_to_a_changed_card(congener_json, congener, config, tmp_path):
    """After a change of patterns, labels stay and rows aren't listed twice; new words stop them."""
    labels, card = tmp_path / "l.jsonl", Path(config.traits[0], "card.yaml")
    command = ("traits", "eval", config.traits[0], "--on", *config.input, "--labels", str(labels))
    assert congener_json(*command, "--rows", "12")["added"] == 12
    fill(labels)
    before = congener_json(*command)
    assert sum(item["read"] for item in before["ranges"]) == 12
    card.write_text(card.read_text().replace('"herons?"', '"heron", "pasta"'))
    code, out, err = congener(*command, "--rows", "12", "--json")
    assert code == 0, err
    after = json.loads(out)
    assert "12 labels are of rows that another version of the card drew" in " ".join(err.split())
    assert after["picked"] + sum(item["read"] for item in after["ranges"]) == 12
    assert after["unlabelled"] == after["added"] <= after["picked"]
    assert after["earlier"] == sum(item["read"] for item in after["ranges"])
    assert after["without_earlier"] == []
    fill(labels)
    mixed = congener_json(*command)
    (fresh,) = (item for item in mixed["without_earlier"] if item["is_in_force"])
    (every,) = (item for item in mixed["thresholds"] if item["is_in_force"])
    assert fresh["rows"] == every["rows"]
    assert 0 < mixed["earlier"] < sum(item["read"] for item in mixed["ranges"])
    rows = [(line["source"], line["row"]) for line in read_file(labels)]
    assert len(rows) == len(set(rows))
    card.write_text(f"{card.read_text()}description: Any bird.\n")
    code, _, err = congener(*command)
    assert code == 2
    assert "of heron were given by another definition" in " ".join(err.split())
    assert congener(*command, "--accept-definition")[0] == 0


@pytest.mark.usefixtures("unattended")
def test_rows_of_a_changed_card_are_listed_without_asking_for_them(congener_json, config, tmp_path):
    """The first evaluation of a changed card adds its rows, as that of a new card does, once."""
    labels, card = tmp_path / "l.jsonl", Path(config.traits[0], "card.yaml")
    command = ("traits", "eval", config.traits[0], "--on", *config.input, "--labels", str(labels))
    congener_json(*command, "--rows", "12")
    fill(labels)
    assert congener_json(*command)["added"] == 0
    card.write_text(card.read_text().replace('"herons?"', '"heron", "pasta"'))
    added = congener_json(*command)["added"]
    assert added > 0
    assert len(read_file(labels)) == 12 + added
    assert congener_json(*command)["added"] == 0
    fill(labels)
    assert congener_json(*command)["added"] == 0


@pytest.mark.usefixtures("unattended")
def test_a_card_that_was_edited_since_the_run_is_named(
    congener, congener_json, run, config, tmp_path, monkeypatch
):
    """Figures of another version of the card are marked, with a command for the card as it is."""
    monkeypatch.chdir(tmp_path)
    card = Path(config.traits[0])
    command = ("traits", "eval", str(card), "--run", str(run[0]), "--labels", "l.jsonl")
    assert "another version" not in congener(*command, "--rows", "12")[2]
    fill(Path("l.jsonl"))
    assert congener_json(*command)["changed_card"] is None
    (card / "card.yaml").write_text(Path(card, "card.yaml").read_text().replace("herons", "cranes"))
    code, out, err = congener(*command)
    said = " ".join(err.split())
    assert code == 0
    assert f"warning: the run {run[0]} used another version of the card than {card}" in said
    assert f"congener traits eval {card} --on CORPUS --labels l.jsonl" in said
    assert "heron (the run's version of the card)" in " ".join(out.split())
    code, out, _ = congener(*command, "--json")
    assert json.loads(out)["changed_card"]["folder"] == str(card)


def test_labels_are_checked_before_a_corpus_is_filtered(congener, config, tmp_path, monkeypatch):
    """A mistake in a label file, or a label file on a store, is reported before the work starts."""
    monkeypatch.setattr("pipelines.filter.run_filter", lambda *_, **__: pytest.fail("filtered"))
    labels = tmp_path / "l.jsonl"
    labels.write_text('{"source": "0.jsonl", "row": 1, "label": 2}')
    command = ("traits", "eval", config.traits[0], "--on", config.input[0], "--labels")
    for path, problem in ((labels, "l.jsonl line 1"), ("gs://b/l.jsonl", "this machine's disk")):
        code, _, err = congener(*command, str(path))
        assert (code, problem in err) == (2, True)


def test_a_corpus_is_filtered_first(congener_json, config, tmp_path, unattended):
    """With --on, the corpus is filtered first, and nothing is left behind."""
    labels = tmp_path / "l.jsonl"
    labels.write_text(json.dumps({"source": "0.jsonl", "row": 1, "label": True}))
    found = congener_json(
        "traits", "eval", config.traits[0], "--on", config.input[0], "--labels", str(labels)
    )
    assert sum(item["rows"] for item in found["ranges"]) == 40
    assert found["ranges"][0] == {"lowest": 0.5, "rows": 8, "read": 1, "right": 1}


def test_the_run_of_a_corpus_is_kept_where_output_says(congener, config, tmp_path, unattended):
    """With --output, the run stays, and the wrong and missed rows have commands for `inspect`."""
    labels, kept = tmp_path / "l.jsonl", tmp_path / "kept run"
    lines = [{"source": "0.jsonl", "row": row, "label": row == 0} for row in range(20)]
    labels.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    command = ("traits", "eval", config.traits[0], "--on", config.input[0], "--labels", str(labels))
    shown = congener(*command)[1]
    assert "wrong: 0.8647 lexicon  0.jsonl row " in shown
    assert "give --output RUN beside --on" in " ".join(shown.split())
    code, shown, err = congener(*command, "--output", str(kept))
    assert code == 0, err
    assert f"wrong: 0.8647 lexicon congener inspect '{kept}' --row 0.jsonl:" in " ".join(
        shown.split()
    )
    assert "give --output" not in shown
    assert (kept / "manifest.json").exists()


def test_output_needs_a_corpus(congener):
    """--output without --on is refused, because nothing is filtered."""
    code, _, err = congener("traits", "eval", "coercion", "--run", "r", "--output", "o")
    assert code == 2
    assert "--output keeps the run of --on" in err


@pytest.mark.parametrize("options", [(), ("--on", "a", "--run", "b")])
def test_a_corpus_or_a_run_is_needed(congener, options):
    """Exactly one of --on and --run is required."""
    code, _, err = congener("traits", "eval", "coercion", *options)
    assert code == 2
    assert "either --on CORPUS or --run RUN" in err


@pytest.fixture
def evaluate(congener_json, run, tmp_path):
    """Return a function that evaluates herons with a file of labels, and returns JSON."""
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels")
    return lambda *options: congener_json(*command, str(tmp_path / "l.jsonl"), *options)


def fill(path, only=None):
    """Label the first unlabelled rows of a file by their text."""
    lines = read_file(path)
    for line in [line for line in lines if line["label"] is None][:only]:
        line["label"] = "heron" in line["text"].lower()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {(line["source"], line["row"]) for line in lines}


def test_more_rows_are_added_to_those_that_were_read(evaluate, tmp_path, unattended):
    """A larger --rows adds the missing rows and keeps every label; the same number adds none."""
    labels = tmp_path / "l.jsonl"
    assert evaluate("--rows", "8")["added"] == 8
    first = fill(labels)
    found = evaluate("--rows", "30")
    assert (found["added"], found["unlabelled"]) == (22, 22)
    assert sum(item["read"] for item in found["ranges"]) == 8
    second = fill(labels, only=5)
    assert len(second) == 30
    assert second > first
    found = evaluate("--rows", "30")
    assert (found["added"], found["unlabelled"]) == (0, 17)
    assert sum(item["read"] for item in found["ranges"]) == 13
    found = evaluate()
    assert (found["added"], found["unlabelled"]) == (0, 17)


def test_rows_are_added_with_a_note(congener, evaluate, run, tmp_path, unattended):
    """The first line has the number of rows that were added, and where."""
    evaluate("--rows", "8")
    fill(tmp_path / "l.jsonl")
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--rows", "9")
    out = congener(*command, "--labels", str(tmp_path / "l.jsonl"))[1]
    assert out.startswith(f"1 row to read was added to {tmp_path / 'l.jsonl'}")


def test_only_rows_that_fired_are_read(evaluate, tmp_path, unattended):
    """With --fired, the drawn rows are at or above the threshold, and precision is known."""
    assert evaluate("--fired", "--rows", "5")["added"] == 5
    labels = tmp_path / "l.jsonl"
    assert not any("score" in line for line in read_file(labels))
    assert all("heron" in line["text"] for line in read_file(labels))
    fill(labels)
    found = evaluate("--fired")
    assert [item["read"] for item in found["ranges"]][1:] == [0] * (len(found["ranges"]) - 1)
    (current,) = (item for item in found["thresholds"] if item["is_in_force"])
    assert current["accuracy"]["precision"]["estimate"] == 1.0
    assert current["accuracy"]["recall"]["estimate"] is None
    assert evaluate("--rows", "12")["added"] == 7


def test_no_row_that_fired_is_an_error(congener, config, tmp_path, unattended):
    """If the trait fired on nothing, --fired says so and writes nothing."""
    rows = tmp_path / "plain.jsonl"
    rows.write_text('{"text": "A chair."}\n{"text": "A lamp."}\n', encoding="utf-8")
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", config.traits[0], "--on", str(rows), "--labels", str(labels))
    code, _, err = congener(*command, "--fired")
    assert (code, labels.exists()) == (4, False)
    assert "heron fired on no row that could be read" in err


def test_one_row_is_labelled(evaluate, tmp_path, unattended, run):
    """A row is labelled by each of its names, and a new answer replaces an old one."""
    found = evaluate("--row", "0.jsonl:1", "--label", "no")
    name = {"source": "0.jsonl", "row": 1, "decision": "quarantine", "trait": "heron"}
    assert (found["name"], found["label"], found["disputed"]) == ("0.jsonl:1", "no", [name])
    (line,) = read_file(tmp_path / "l.jsonl")
    drawn = hide_score("heron", line["record_id"], 0.8647)
    assert (line["label"], line["picked"], line["drawn"]) == (False, True, drawn)
    evaluate("--row", line["record_id"], "--label", "true")
    assert [item["label"] for item in read_file(tmp_path / "l.jsonl")] == [True]
    evaluate("--row", "1.jsonl:3", "--label", "unsure")
    assert [item["label"] for item in read_file(tmp_path / "l.jsonl")] == [True, "unsure"]


def test_an_unsure_row_is_not_asked_about_again(congener, run, tmp_path, answer, monkeypatch):
    """A row that the reader couldn't judge is read, so nothing is left to read, by file either."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    answer("y\n", "u\n", *["n\n"] * 4)
    assert congener(*command, "--rows", "6")[0] == 0
    assert [line["label"] for line in read_file(labels)].count("unsure") == 1
    answer()
    code, _, err = congener(*command, "--rows", "6")
    assert (code, err.count("Does it show heron?")) == (0, 0)
    assert "1 row labelled unsure counts as not read" in " ".join(err.split())
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    shown = " ".join(congener(*command, "--rows", "6")[1].split())
    assert "unlabelled" not in shown
    assert "to read" not in shown
    assert len(read_file(labels)) == 6


def test_one_row_is_asked_about(congener, run, tmp_path, answer):
    """On a terminal, --row asks about just this row."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    answer("n\n")
    code, out, err = congener(*command, "--row", "0.jsonl:1")
    assert (code, err.count("Does it show heron?")) == (0, 1)
    assert "0.jsonl:1: false for heron" in out
    shown = " ".join(out.split())
    assert "1 finding that you labelled false counts in this run as before" in shown
    assert f"congener release {run[0]} --reviews {labels} --output RUN2" in shown
    answer("s\n")
    assert "nothing was kept for 0.jsonl:2" in congener(*command, "--row", "0.jsonl:2")[1]
    assert len(read_file(labels)) == 1


def test_chosen_rows_count_once_they_are_drawn(evaluate, tmp_path, unattended):
    """Rows of --row don't count in the measures until all rows before them are read."""
    labels = tmp_path / "l.jsonl"
    for row in (1, 6, 11, 16):
        evaluate("--row", f"0.jsonl:{row}", "--label", "no")
    found = evaluate("--rows", "6")
    assert (found["picked"], sum(item["read"] for item in found["ranges"])) == (4, 0)
    assert len(found["mistakes"]["wrong"]) == len(found["disputed"]) == 4
    fill(labels)
    evaluate("--rows", "40")
    fill(labels)
    found = evaluate()
    assert (found["picked"], sum(item["read"] for item in found["ranges"])) == (0, 40)
    (current,) = (item for item in found["thresholds"] if item["is_in_force"])
    assert current["accuracy"]["precision"]["estimate"] == 0.5
    assert len(read_file(labels)) == 40


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--label", "no"), "--label is the label of one row"),
        (("--row", "0.jsonl:1", "--rows", "5"), "--row reads one row"),
        (("--row", "0.jsonl:1", "--fired"), "--row reads one row"),
        (("--row", "0.jsonl:1"), "can't ask about the row"),
        (("--row", "3", "--label", "no"), "2 rows have the number 3"),
        (("--row", "9.jsonl:3", "--label", "no"), "no row of this run is"),
    ],
)
def test_mistaken_rows_and_labels_are_refused(
    congener, run, tmp_path, unattended, options, problem
):
    """Options that contradict each other, and rows that don't exist, write nothing."""
    labels = tmp_path / "l.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    code, _, err = congener(*command, *options)
    assert code in (2, 4)
    assert problem in " ".join(err.split())
    assert not labels.exists()


def test_rows_arent_added_to_a_table(congener, evaluate, run, tmp_path, unattended):
    """Labels in a table are measured; asking for more rows names a file of JSON Lines."""
    evaluate("--rows", "8")
    fill(tmp_path / "l.jsonl")
    table = tmp_path / "l.csv"
    pl.DataFrame(read_file(tmp_path / "l.jsonl")).write_csv(table)
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(table))
    assert congener(*command)[0] == 0
    code, _, err = congener(*command, "--rows", "20")
    assert code != 0
    assert "is a table, to which rows to read can't be added" in err


@pytest.fixture
def review(run, tmp_path):
    """Return a review's file with a label of one row, and the digest of its run."""
    path, digest = tmp_path / "labels-ada.jsonl", load_manifest(str(run[0])).digest
    frame = pl.read_parquet(Path(run[0], "ledger", "*.parquet"))
    row = frame.filter((pl.col("source") == "0.jsonl") & (pl.col("row") == 1)).to_dicts()[0]
    LabelBook(path, "ada", digest).add(row, "heron", "no")
    return path, digest


def test_a_review_keeps_its_lines(congener, congener_json, run, tmp_path, unattended, review):
    """Rows to read go into a file beside a review's labels, and the labels of both are read."""
    (labels, digest), answers = review, tmp_path / "heron.labels-ada.jsonl"
    before = labels.read_bytes()
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    code, out, err = congener(*command, "--rows", "10")
    assert code == 0, err
    assert f"added to {answers}; set each `label` there" in " ".join(out.split())
    count = len(read_file(answers))
    fill(answers)
    found = congener_json(*command)
    assert (found["labels"], found["answers"]) == (str(labels), str(answers))
    assert count <= sum(item["read"] for item in found["ranges"]) + found["picked"] <= count + 1
    assert found["disputed"]
    congener_json(*command, "--row", "0.jsonl:1", "--label", "yes")
    (line,) = (line for line in read_file(answers) if (line["source"], line["row"]) == ROW)
    assert (line["label"], "time" in line) == (True, True)
    assert not congener_json(*command)["disputed"]
    assert labels.read_bytes() == before
    assert len(read_lines(labels, digest)) == 1
    assert congener("release", str(run[0]), "--reviews", str(labels), "--dry-run")[0] == 0


def test_a_review_without_drawn_rows_draws_some(congener, run, tmp_path, unattended, review):
    """Rows that a reviewer chose aren't a sample, so the first command writes rows to read."""
    (labels, _), answers = review, tmp_path / "heron.labels-ada.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    out = " ".join(congener(*command)[1].split())
    assert f"added to {answers}; set each `label` there" in out
    count = len(read_file(answers))
    again = " ".join(congener(*command)[1].split())
    assert "rows are still unlabelled in" in again
    assert f"congener release {run[0]} --reviews {labels} --output RUN2" in again
    assert len(read_file(answers)) == count


def test_no_file_is_named_that_is_not_there(congener, run, tmp_path, unattended, review):
    """If every row is read already, no second file is written or named."""
    (labels, digest), answers = review, tmp_path / "heron.labels-ada.jsonl"
    book = LabelBook(labels, "ada", digest)
    for row in pl.read_parquet(Path(run[0], "ledger", "*.parquet")).to_dicts():
        book.add(row, "heron", "no")
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    code, out, err = congener(*command)
    assert code == 0, err
    assert not answers.exists()
    assert answers.name not in out


def test_answers_may_have_a_file_of_their_own(congener, run, tmp_path, unattended, review):
    """--answers names the second file, which can be neither a review's nor a table."""
    (labels, _), answers = review, tmp_path / "mine.jsonl"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--rows", "5", "--labels")
    assert congener(*command, str(labels), "--answers", str(answers))[0] == 0
    assert len(read_file(answers)) >= 4
    assert not (tmp_path / "heron.labels-ada.jsonl").exists()
    code, _, err = congener(*command, str(answers), "--answers", str(labels))
    assert (code, "is a file of a review" in " ".join(err.split())) == (2, True)
    code, _, err = congener(*command, str(labels), "--answers", str(tmp_path / "l.csv"))
    assert (code, "is a table" in err) == (6, True)


ROW = ("0.jsonl", 1)


def test_measures_are_written_for_a_paper(congener, congener_json, run, tmp_path, unattended):
    """With --tables, a table and a figure are written once enough rows were read."""
    labels, folder = tmp_path / "l.jsonl", tmp_path / "paper"
    command = ("traits", "eval", "heron", "--run", str(run[0]), "--labels", str(labels))
    assert congener(*command, "--tables", str(folder))[0] == 0
    assert not folder.exists()  # nothing is labelled yet
    filled = [line | {"label": "heron" in line["text"].lower()} for line in read_file(labels)]
    labels.write_text("".join(json.dumps(line) + "\n" for line in filled))
    code, out, err = congener(*command, "--tables", str(folder))
    assert code == 0, err
    table, figure = (folder / f"heron.measures.{kind}" for kind in ("parquet", "svg"))
    assert f"written: {table}" in out
    assert figure.read_text().startswith("<svg ")
    found = congener_json(*command, "--tables", str(folder))
    assert found["tables"] == [str(table), str(figure)]
    (rate,) = pl.read_parquet(table).filter(pl.col("teacher").is_null(), measure="rate").to_dicts()
    assert rate["estimate"] == found["rates"][0]["rate"]["estimate"]


def test_tables_need_a_folder_outside_the_run(congener, run, tmp_path, unattended):
    """A file, a folder of the run, and a single row are refused."""
    command = ("traits", "eval", "heron", "--run", str(run[0]))
    (tmp_path / "file").write_text("x")
    code, _, err = congener(*command, "--tables", str(tmp_path / "file"))
    assert (code, "name a folder with --tables" in err) == (2, True)
    inside = str(Path(run[0]) / "scores")
    code, _, err = congener(*command, "--tables", inside)
    assert (code, "is in a folder of the run" in err) == (2, True)
    code, _, err = congener(*command, "--row", "1", "--label", "true", "--tables", str(tmp_path))
    assert (code, "leave --tables out, or --row" in err) == (2, True)
