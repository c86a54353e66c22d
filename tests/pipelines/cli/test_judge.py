"""`congener judge`: limits, output and errors."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipelines.cli.judge import Verdicts, describe_spending
from pipelines.judge import Judged
from tests.support.endpoints import Answer, complete, serve
from transforms.endpoints import Spending

OPINION = json.dumps({"quote": "heron", "probability": 0.9})


@pytest.fixture
def server():
    """Serve the same opinion on every row."""
    with serve(lambda *_: complete(OPINION)) as found:
        yield found


def test_rows_are_judged_and_the_next_command_is_named(congener, run, server, tmp_path):
    """The table counts labels, and the label file can be used by `traits eval`."""
    labels = str(tmp_path / "l.jsonl")
    given = ("judge", str(run[0]), "--endpoint", server.url, "--model", "m", "--labels", labels)
    code, out, err = congener(*given, "--max-rows", "100", "--prices", "1", "2")
    assert code == 0, err
    assert "heron" in out
    assert "cost 0.0" in out
    assert "congener traits eval" in out
    assert "rows judged" in err
    code, out, err = congener(
        "traits", "eval", "heron", "--run", str(run[0]), "--labels", labels, "--json"
    )
    assert code == 0, err
    code, out, _ = congener(*given, "--max-rows", "1", "--json", "--quiet")
    assert code == 0
    (trait,) = json.loads(out)["traits"]
    assert trait["labelled_before"] == trait["rows"] > 0
    assert trait["not_asked"] == 0


def test_mistakes_are_refused(congener, run, tmp_path):
    """A missing limit, an unknown trait and a refusing endpoint have their exit codes."""
    labels = str(tmp_path / "l.jsonl")
    given = ["judge", str(run[0]), "--model", "m", "--labels", labels, "--endpoint", "http://a/v1"]
    code, _, err = congener(*given)
    assert code == 2
    assert "a limit is needed" in err
    code, _, err = congener(*given, "--max-rows", "5", "--trait", "herons")
    assert code == 2
    assert "did you mean 'heron'?" in err
    code, _, err = congener(*given, "--max-cost", "5")
    assert code == 2
    assert "--prices" in err


def render(**fields) -> str:
    """Return the lines below the table of verdicts on one trait."""
    judged = Judged("heron", 12, 2, Counter(yes=4, unsure=1), **fields)
    verdicts = Verdicts([judged], Spending(7, 1000, 20), "l.jsonl", "run")
    return "\n".join(part for part in verdicts.render() if isinstance(part, str))


def test_rows_without_a_label_are_explained():
    """Unusable replies are counted with their reasons, and rows left by a limit are named."""
    text = render(unusable=Counter({"no quotation": 1, "the request failed": 2}), left=2)
    assert "heron: 1 row without a label: no quotation" in text
    assert "heron: 2 rows without a label: the request failed" in text
    assert "heron: 2 rows weren't asked about, because of a limit" in text
    assert "left" not in render()


@pytest.mark.parametrize(
    ("spending", "shown"),
    [
        (Spending(1, 10, 5), "1 request, 15 tokens"),
        (Spending(2, 10, 5, cost=0.25), "cost 0.2500"),
        (Spending(0, 0, 0, remembered=1), "1 reply from the cache"),
        (Spending(0, 0, 0, remembered=3), "3 replies from the cache"),
        (Spending(9, 10, 5, estimated=4), "didn't count the tokens of 4"),
    ],
)
def test_the_spending_is_described(spending, shown):
    """Requests, tokens, cost, cached replies and estimates are shown where there are any."""
    assert shown in describe_spending(spending)


def test_labels_of_a_model_can_be_learnt_from(congener, run, server, tmp_path):
    """The file is one that `congener fit --labels` accepts."""
    labels = str(tmp_path / "l.jsonl")
    given = ("judge", str(run[0]), "--endpoint", server.url, "--model", "m", "--labels", labels)
    assert congener(*given, "--max-tokens", "1000000", "--near", "1")[0] == 0
    card = tmp_path / "card" / "heron"
    card.mkdir(parents=True)
    (card / "card.yaml").write_text('id: heron\nsignals: {lexicon: {patterns: ["herons?"]}}\n')
    bank = str(tmp_path / "bank")
    code, out, err = congener(
        "fit", "-t", str(card), "-o", bank, "--labels", labels, "--run", str(run[0])
    )
    assert code == 0, err
    assert "label" in out


def test_a_refusal_is_reported_without_its_control_characters(congener, run, tmp_path):
    """An endpoint's message can't send escape sequences to the terminal."""
    with serve(lambda *_: Answer(b"\x1b[2Jgo away", 401)) as server:
        code, _, err = congener(
            *("judge", str(run[0]), "--endpoint", server.url, "--model", "m"),
            *("--labels", str(tmp_path / "l.jsonl"), "--max-rows", "5", "--key-from", "HOME"),
        )
    assert code == 7
    assert "go away" in err
    assert "\x1b[2J" not in err
    assert server.requests[0][1]["Authorization"].startswith("Bearer /")


def test_a_missing_key_is_refused(congener, run, tmp_path):
    """An environment variable that isn't set is an error before any request."""
    code, _, err = congener(
        *("judge", str(run[0]), "--endpoint", "http://a/v1", "--model", "m", "--max-rows", "5"),
        *("--labels", str(tmp_path / "l.jsonl"), "--key-from", "NO_SUCH_KEY"),
    )
    assert code == 2
    assert "NO_SUCH_KEY: isn't set" in err


def give(run, server, tmp_path, *more) -> tuple[str, ...]:
    """Return a command that asks about at most 100 rows."""
    return (
        *("judge", str(run[0]), "--endpoint", server.url, "--model", "m", "--max-rows", "100"),
        *("--labels", str(tmp_path / "l.jsonl"), *more),
    )


def test_json_has_all_counts(congener, run, server, tmp_path):
    """The JSON has the counts of each trait, the spending, and the file."""
    code, out, err = congener(*give(run, server, tmp_path, "--json", "--near", "0"))
    assert code == 0, err
    found = json.loads(out)
    (trait,) = found["traits"]
    rows = trait["rows"]
    assert trait == {
        "trait": "heron",
        "rows": rows,
        "labelled_before": 0,
        "labels": {"yes": rows},
        "without_label": {},
        "not_asked": 0,
    }
    assert found["spending"]["requests"] == rows == len(server.requests)
    assert found["spending"]["prompt_tokens"] == 10 * rows
    assert found["spending"]["cost"] is None
    assert found["labels"] == str(tmp_path / "l.jsonl")


def test_quiet_prints_no_progress(congener, run, server, tmp_path):
    """With --quiet, only the result is printed."""
    code, out, err = congener(*give(run, server, tmp_path, "--quiet"))
    assert code == 0
    assert err == ""
    assert "labels:" in out


def test_replies_come_from_the_cache_for_another_file(congener, run, server, tmp_path):
    """A second file of labels costs no request."""
    assert congener(*give(run, server, tmp_path))[0] == 0
    asked = len(server.requests)
    (tmp_path / "l.jsonl").unlink()
    code, out, _ = congener(*give(run, server, tmp_path))
    assert code == 0
    assert f"{asked} replies from the cache" in out
    assert len(server.requests) == asked


def test_a_file_of_labels_in_the_run_is_refused(congener, run, server):
    """Labels inside the run's folders would become part of its data."""
    code, _, err = congener(*give(run, server, Path(run[0], "clean")))
    assert code == 2
    assert "is in a folder of the run" in err


def test_a_table_of_labels_is_refused_as_output(congener, run, server, tmp_path):
    """Labels can't be appended to a CSV file, which is said before any request."""
    table = tmp_path / "l.csv"
    table.write_text("source,row,trait,label\n0.jsonl,0,egret,yes\n")
    code, _, err = congener(
        *("judge", str(run[0]), "--endpoint", server.url, "--model", "m", "--max-rows", "5"),
        *("--labels", str(table)),
    )
    assert code == 6
    assert "is a table" in err
    assert server.requests == []


def test_a_folder_without_a_run_is_refused(congener, server, tmp_path):
    """A folder that isn't a finished run has the exit code for that."""
    (tmp_path / "no-run").mkdir()
    code, _, err = congener(
        *("judge", str(tmp_path / "no-run"), "--endpoint", server.url, "--model", "m"),
        *("--labels", str(tmp_path / "l.jsonl"), "--max-rows", "5"),
    )
    assert code == 4
    assert "no-run" in err
    assert server.requests == []


@pytest.mark.parametrize(
    ("option", "value"), [("--max-rows", "0"), ("--near", "2"), ("--threads", "0")]
)
def test_numbers_out_of_range_are_refused(congener, run, server, tmp_path, option, value):
    """A number that makes no sense is a usage error."""
    code, _, err = congener(*give(run, server, tmp_path, option, value))
    assert code == 2
    assert option in err
