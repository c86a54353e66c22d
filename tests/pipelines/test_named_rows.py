"""Exceptions for single rows, in whole runs."""

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.early_checks import check_folder
from pipelines.filter import run_filter
from pipelines.named_rows import explain_missing, find_named_rows, require_places
from pipelines.report import write_report
from pipelines.runs.shown_rows import read_shown_rows
from pipelines.verify import verify_run
from schemas.corpora import ShardLimits
from schemas.errors import CardError, RunError
from schemas.policies import LotException, Policy
from schemas.row_names import RowName
from tests.support.corpora import write_rows
from tests.support.outcomes import decide_outcome, read_outcome
from tests.support.runs import read_ledger
from transforms.files.planning import plan_shards
from transforms.files.sources import survey

HERON = "A heron stood in the reeds."


def write_policy(*rows: object, action: str = "keep", more: str = "") -> str:
    """Return a policy with an exception for each of the rows."""
    items = ({"row": row, "action": action, "reason": f"read {row}"} for row in rows)
    return f"exceptions: {json.dumps(list(items))}\n{more}"


def parse(text: str) -> Policy:
    """Return a policy from its YAML."""
    return Policy.model_validate(yaml.safe_load(text))


def read_decisions(run: str) -> dict[tuple[str, int], str]:
    """Return the decision of each row that isn't simply kept."""
    rows = pl.DataFrame(read_ledger(run)).filter(pl.col("reasons").list.len() > 0)
    return {(row["source"], row["row"]): row["decision"] for row in rows.to_dicts()}


def find_id(run: str, source: str, row: int) -> str:
    """Return a row's record id."""
    ledger = pl.DataFrame(read_ledger(run)).filter(pl.col("source") == source, pl.col("row") == row)
    return str(ledger["record_id"][0])


def test_a_held_row_is_kept_by_each_of_its_names(config, policy, finished):
    """A row that a reader disagrees about stays, and the ledger and the manifest say why."""
    record_id = find_id(str(finished[0]), "1.jsonl", 6)
    text = write_policy("0.jsonl:1", record_id, {"id": "row-36"})
    run_filter(config.model_copy(update={"policy": policy(text)}))
    kept = {("0.jsonl", 1), ("1.jsonl", 6), ("1.jsonl", 16)}
    found = read_decisions(config.output)
    assert {key for key, decision in found.items() if decision == "keep"} == kept
    assert len(found) == 8
    manifest = json.loads(Path(config.output, "manifest.json").read_text())
    assert manifest["policy"]["exceptions"][0]["reason"] == "read 0.jsonl:1"
    effects = [{"before": "quarantine", "after": "keep", "rows": 1}]
    assert [item["changed"] for item in manifest["exceptions"]] == [effects] * 3
    assert manifest["policy"]["exceptions"][2]["row"]["source"] == "1.jsonl"
    assert verify_run(config.output) == []


def test_a_kept_row_says_which_exception_kept_it(config, policy):
    """A shown row names the exception that changed it, and its neighbours name none."""
    manifest = run_filter(config.model_copy(update={"policy": policy(write_policy("0.jsonl:6"))}))
    shown = {row.row: row for row in read_shown_rows(config.output, manifest, [1, 6])}
    assert [tuple(item) for item in shown[6].exceptions] == [(1, "quarantine", "keep")]
    assert shown[6].reasons[0].action == "keep"
    assert shown[1].exceptions == ()


def test_the_report_names_the_row_and_the_reason(config, policy):
    """The table of exceptions has the row, what changed and why."""
    run_filter(config.model_copy(update={"policy": policy(write_policy({"id": "row-1"}))}))
    page = Path(write_report(config.output)).read_text(encoding="utf-8")
    assert "exception by lot or by row" in page
    for part in ("id: row-1", "from quarantine to keep", "read {&#39;id&#39;: &#39;row-1&#39;}"):
        assert part in page


def test_a_run_is_decided_again_with_rows_that_are_named(config, policy, finished):
    """Another policy that names rows gives a new run's decisions, with and without duplicates."""
    for more in ("", "duplicates: remove"):
        text = write_policy("0.jsonl:1", "1.jsonl:11", action="drop", more=more)
        run = f"{config.output}{len(more)}"
        run_filter(config.model_copy(update={"policy": policy(text), "output": run}))
        assert decide_outcome(str(finished[0]), parse(text)) == read_outcome(run)


def test_a_copy_that_is_named_is_kept_beside_its_held_copy(config, policy, tmp_path):
    """With duplicates removed, an exception for a later copy holds, although the first is held."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": HERON}]
    path = write_rows(tmp_path / "in" / "a.jsonl", [{"messages": turns}] * 3)
    text = write_policy("a.jsonl:1", more="duplicates: remove")
    update = {"input": (str(path),), "policy": policy(text)}
    run_filter(config.model_copy(update=update))
    decisions = ["quarantine", "keep", "duplicate"]
    assert [row["decision"] for row in read_ledger(config.output)] == decisions
    by_id = write_policy(find_id(config.output, "a.jsonl", 0), more="duplicates: remove")
    again = {**update, "policy": policy(by_id), "output": f"{config.output}2"}
    run_filter(config.model_copy(update=again))
    decisions = ["keep", "duplicate", "duplicate"]
    assert [row["decision"] for row in read_ledger(again["output"])] == decisions


def test_names_without_a_row_are_warned_of(config, policy):
    """Each exception that matches no row is named with what could be meant."""
    text = write_policy("0.jsonl:99", "0.jsonl.gz:1", "f" * 32, {"id": "row-99"})
    manifest = run_filter(config.model_copy(update={"policy": policy(text)}))
    found = [
        item["text"]
        for item in manifest.circumstances["notices"]
        if "matches no row" in item["text"]
    ]
    start = "exception {} of the policy (row {}) matches no row: "
    assert found == [
        start.format(1, "0.jsonl:99") + "the file has 20 rows, counted from 0",
        start.format(2, "0.jsonl.gz:1")
        + "did you mean '0.jsonl'? the input's files are 0.jsonl, 1.jsonl",
        start.format(3, "f" * 32)
        + "its record id isn't in the ledger; a row whose text changes gets another id",
        start.format(4, "id: row-99") + "no row has this value in the column id",
    ]
    assert verify_run(config.output) == []


def test_a_reject_cant_be_kept(finished):
    """An exception for a row that the file has, but that couldn't be read, says so."""
    item = LotException.model_validate({"row": "0.jsonl:3", "action": "keep", "reason": "x"})
    text = explain_missing(1, item, item.row or RowName(), finished[1])
    assert text.endswith("matches no row: the row is a reject, or isn't in these lots")


def test_a_row_of_the_corpus_before_is_named_by_its_id(finished):
    """If the input has clean rows, no file is suggested: its rows have other numbers."""
    (item,) = parse(write_policy("chat/0.jsonl:3")).exceptions
    manifest = finished[1].model_copy(update={"parents": ("0123456789abcdef",)})
    text = explain_missing(1, item, item.row or RowName(), manifest)
    assert text.endswith("name the row by its record id, which stays the same")
    assert "did you mean" not in text


def test_a_finished_run_is_compared_by_ids_alone(config, policy):
    """The place of an id isn't a difference between a run's policy and the same policy again."""
    given = config.model_copy(update={"policy": policy(write_policy({"id": "row-1"}))})
    run_filter(given)
    with pytest.raises(RunError, match=r"the run is finished\n"):
        run_filter(given)
    check_folder(given)
    other = given.model_copy(update={"policy": policy(write_policy({"id": "row-2"}))})
    with pytest.raises(RunError, match=r"exception added: .*column id, value row-2"):
        run_filter(other)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_a_column_of_any_file_names_rows(tmp_path, kind):
    """Ids that are texts or numbers are found in every kind of file, and across files."""
    tables = [pa.table({"key": [n, n + 1], "text": [f"{n}", HERON]}) for n in (0, 2)]
    for number, table in enumerate(tables):
        path = tmp_path / "in" / f"{number}.{kind}"
        path.parent.mkdir(exist_ok=True)
        if kind == "parquet":
            pq.write_table(table, path)
        elif kind == "csv":
            pl.DataFrame(table).write_csv(path)
        else:
            write_rows(path, table.to_pylist())
    corpus = survey([str(tmp_path / "in")], ShardLimits())
    tasks = plan_shards(corpus.sources, ShardLimits())
    names = [{"key": 3}, {"key": "0"}, {"key": 7}, f"0.{kind}:1"]
    policy = find_named_rows(parse(write_policy(*names)), corpus, tasks)
    keys = [item.row.key for item in policy.exceptions if item.row]
    assert keys == [f"1.{kind}:1", f"0.{kind}:0", "", f"0.{kind}:1"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_nested_column_names_rows_by_its_path(tmp_path, kind):
    """An id inside an object is named by its path of keys and indexes."""
    rows = [{"text": "x", "meta": {"uid": f"u{n}", "all": [n, n + 10]}} for n in range(3)]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write_rows(path, rows)
    corpus = survey([str(path)], ShardLimits())
    tasks = plan_shards(corpus.sources, ShardLimits())
    names = [{"meta.uid": "u2"}, {"meta.all[1]": 10}, {"meta.uid": "u9"}]
    policy = find_named_rows(parse(write_policy(*names)), corpus, tasks)
    keys = [item.row.key for item in policy.exceptions if item.row]
    assert keys == [f"a.{kind}:2", f"a.{kind}:0", ""]
    if kind == "jsonl":  # whose objects may have any key
        (item,) = find_named_rows(parse(write_policy({"meta.uidd": 1})), corpus, tasks).exceptions
        assert item.row.key == ""
        wrong, remedy = "metta.uid", "the columns are"
    else:
        wrong, remedy = "meta.uidd", "did you mean 'meta.uid'? the keys of 'meta' are meta."
    with pytest.raises(CardError, match="which the corpus doesn't have") as error:
        find_named_rows(parse(write_policy({wrong: "u2"})), corpus, tasks)
    assert remedy in error.value.remedy


def test_a_policy_without_ids_needs_no_reading(tmp_path):
    """Without a column's values, the policy is returned as it is."""
    corpus = survey([str(write_rows(tmp_path / "a.jsonl", [{"text": "x"}]))], ShardLimits())
    policy = parse(write_policy("a.jsonl:0"))
    assert find_named_rows(policy, corpus, iter(())) is policy


def test_an_id_of_several_rows_is_refused(tmp_path):
    """A value that several rows share names none of them, and the error lists some."""
    path = write_rows(tmp_path / "a.jsonl", [{"text": "x", "kind": "web"}] * 5)
    corpus = survey([str(path)], ShardLimits())
    with pytest.raises(CardError, match=r"names 5 rows: a\.jsonl:0.* and others") as error:
        find_named_rows(
            parse(write_policy({"kind": "web"})), corpus, plan_shards(corpus.sources, ShardLimits())
        )
    assert error.value.remedy == "name one row by FILE:NUMBER, as here"


def test_an_unknown_column_is_refused(config, policy):
    """A column that the corpus doesn't have is named with a similar one, before any work."""
    given = config.model_copy(update={"policy": policy(write_policy({"idd": 1}))})
    with pytest.raises(CardError, match="'idd', which the corpus doesn't have") as error:
        run_filter(given)
    assert error.value.remedy.startswith("did you mean 'id'? the columns are id, messages")


def test_ids_of_a_column_cant_be_found_in_a_ledger(finished):
    """Deciding again refuses names by a column, unless the run's own policy has them."""
    policy = parse(write_policy({"id": 1}))
    require_places(policy, policy, "run")
    with pytest.raises(CardError, match="which the ledger of run doesn't have"):
        require_places(policy, Policy(), "run")
    with pytest.raises(CardError, match="by the column 'id'"):
        decide_outcome(str(finished[0]), policy)
