"""Publication: conservation and budgets before the manifest."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipelines.banks import load_bank, prepare_bank, save_bank
from pipelines.filter import run_filter
from pipelines.runs import publication
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.publication import (
    check_budgets,
    count_decisions,
)
from pipelines.runs.unfinished import MANIFESTS, SIGNS_OF_A_RUN
from schemas.digests import compute_merkle_root, digest_bytes
from schemas.errors import BudgetError, RunError, StorageError
from schemas.manifests import Conservation, InputFile, Manifest
from schemas.notices import Notice, warn
from schemas.outputs import REJECTS
from schemas.policies import Policy
from schemas.receipts import ActionChange, ExceptionEffect, NearMisses, Output
from schemas.runs import (
    BEGUN,
    CALIBRATION,
    EVIDENCE_FOLDERS,
    MANIFEST,
    POSITIVES,
    WITHDRAWN,
    parse_path,
)
from tests.support.published import build_corpus, build_receipt, plan_shard, write_clean
from tests.support.rules import build_exception
from transforms.files import storage
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.sources import Cut
from transforms.rules import settle_rules
from transforms.write import encode_parquet


def test_a_split_without_a_clean_row_is_named():
    """A split without clean rows is named, whether a file name or the card defines it."""
    plans = [
        plan_shard(0, "train.jsonl"),
        plan_shard(1, "test.jsonl"),
        plan_shard(2, "other.jsonl"),
        plan_shard(3, "b.jsonl", (("default", "held"),)),
        plan_shard(4, "test/more.jsonl"),
    ]
    lost = list(publication.warn_of_lost_splits(plans, [write_clean(plans[0])]))
    assert [notice.text.split(" is left")[0] for notice in lost] == [
        "no row of the split test",
        "no row of the split held",
    ]
    kept = map(write_clean, (plans[0], plans[3], plans[4]))
    assert not list(publication.warn_of_lost_splits(plans, list(kept)))


def test_decisions_add_up():
    """The decisions of all shards add up to the corpus's rows."""
    receipts = [build_receipt("a", keep=7, reject=3), build_receipt("b", keep=10)]
    result = count_decisions(build_corpus(20), receipts)
    assert result.rows_in == 20
    assert result.by_decision == {"keep": 17, "reject": 3}


def test_a_lost_row_stops_the_run():
    """A row without a decision is an error."""
    receipts = [build_receipt("a", keep=9), build_receipt("b", keep=10)]
    with pytest.raises(RunError, match="20 rows, but 19 have a decision"):
        count_decisions(build_corpus(20), receipts)


@pytest.mark.parametrize(
    ("budget", "fits"), [(None, True), (0.3, True), (0.29, False), (0.0, False)]
)
def test_the_removal_budget_counts_rows_that_leave(budget, fits):
    """Quarantined, dropped and duplicate rows are removals, but flagged rows and rejects aren't."""
    result = Conservation(
        rows_in=10,
        by_decision={"keep": 4, "flag": 1, "quarantine": 1, "drop": 1, "duplicate": 1, "reject": 2},
    )
    policy = Policy(removal_budget=budget)
    if fits:
        check_budgets(result, policy)
    else:
        with pytest.raises(BudgetError, match=r"3 of 10 rows.*nothing was published"):
            check_budgets(result, policy)


def test_a_budget_of_29_per_cent_allows_29_of_100_rows():
    """Budgets are compared exactly, and a tiny excess is shown with more digits."""
    check_budgets(
        Conservation(rows_in=100, by_decision={"drop": 29, "keep": 71}), Policy(removal_budget=0.29)
    )
    result = Conservation(rows_in=10_000, by_decision={"drop": 2901, "keep": 7099})
    with pytest.raises(BudgetError, match=r"\(29\.01%\) exceed the removal_budget of 29\.0%"):
        check_budgets(result, Policy(removal_budget=0.29))


def test_rejects_have_a_budget():
    """The error for too many rejects is about rejects."""
    result = Conservation(rows_in=4, by_decision={"keep": 2, "reject": 2})
    check_budgets(result, Policy(removal_budget=0, reject_budget=0.5))
    with pytest.raises(BudgetError, match=r"reject_budget of 25.0%") as caught:
        check_budgets(result, Policy(reject_budget=0.25))
    assert "correct the rows" in caught.value.remedy


def test_an_empty_corpus_fits_every_budget():
    """An empty corpus never exceeds a budget."""
    policy = Policy(removal_budget=0, reject_budget=0)
    check_budgets(Conservation(rows_in=0, by_decision={}), policy)


def write_rejects(run, shard: str, numbers: range, source: str = "a.jsonl") -> Output:
    """Write a shard's rejects, and return the output."""
    rows = [
        {"source": source, "row": number, "offset": 0, "error": "not JSON", "raw": b"x"}
        for number in numbers
    ]
    path = f"rejects/{shard}.parquet"
    data = encode_parquet(pa.Table.from_pylist(rows, REJECTS))
    (run / "rejects").mkdir(exist_ok=True)
    (run / path).write_bytes(data)
    return Output(path=path, rows=len(rows), bytes=len(data), sha256=digest_bytes(data))


def test_the_first_rejects_are_named(tmp_path):
    """The first five rejects are listed with reasons, and the rest are counted."""
    first, second = (
        write_rejects(tmp_path, "a", range(3)),
        write_rejects(tmp_path, "b", range(7, 11)),
    )
    notices = publication.describe_rejects(str(tmp_path), (first, second))
    assert [str(notice) for notice in notices] == [
        *(f"reject: a.jsonl row {number}: not JSON" for number in (0, 1, 2, 7, 8)),
        "and 2 more rejects",
    ]
    assert len(list(publication.describe_rejects(str(tmp_path), (first,)))) == 3
    assert list(publication.describe_rejects(str(tmp_path), build_receipt().outputs)) == []


def build_input(name: str, rows: int) -> InputFile:
    """Return an input file for a manifest."""
    return InputFile(
        name=name,
        uri=f"/{name}",
        kind="jsonl",
        compression="none",
        bytes=1,
        rows=rows,
        sha256="ff",
    )


def test_a_file_of_rejects_only_stops_the_run(tmp_path):
    """The error for an input file with only rejects names the file."""
    outputs = (
        *build_receipt().outputs,
        write_rejects(tmp_path, "a", range(3)),
        write_rejects(tmp_path, "b", range(3, 5)),
        write_rejects(tmp_path, "c", range(7, 9), "b.jsonl"),
    )
    fine = [build_input("b.jsonl", 3), build_input("c.jsonl", 9), build_input("none.jsonl", 0)]
    publication.check_sources(str(tmp_path), fine, outputs)
    publication.check_sources(str(tmp_path), [build_input("a.jsonl", 6)], outputs)
    with pytest.raises(BudgetError, match="nothing was published") as caught:
        publication.check_sources(str(tmp_path), [*fine, build_input("a.jsonl", 5)], outputs)
    assert caught.value.where == "a.jsonl"
    assert "all 5 rows are rejects, the first for this reason: row 0: not JSON" in str(caught.value)
    assert "leave it out of the input" in caught.value.remedy


def test_a_shortened_file_of_rejects_only_stops_the_run_alone(tmp_path):
    """A file's first rows may be rejects in a limited run, unless all of the run's rows are."""
    outputs = (write_rejects(tmp_path, "a", range(2)),)
    broken, sound = build_input("a.jsonl", 2), build_input("b.jsonl", 2)
    publication.check_sources(str(tmp_path), [broken, sound], outputs, ["a.jsonl"])
    for inputs, shortened in (([broken, sound], ["b.jsonl"]), ([broken], ["a.jsonl"])):
        with pytest.raises(BudgetError, match="all 2 rows are rejects"):
            publication.check_sources(str(tmp_path), inputs, outputs, shortened)


@pytest.mark.parametrize(
    ("rejects", "budget", "many"),
    [(1, None, False), (2, None, True), (2, 0.5, False), (0, None, False)],
)
def test_many_rejects_that_nobody_expected_are_a_failure(finished, rejects, budget, many):
    """More than one per cent of rejects is reported without a reject budget."""
    counts = Conservation(rows_in=100, by_decision={"keep": 100 - rejects, "reject": rejects})
    policy = Policy(reject_budget=budget).model_dump(mode="json")
    changed = finished[1].model_copy(update={"conservation": counts, "policy": policy})
    assert publication.has_many_rejects(changed) is many
    warned = [str(notice) for notice in publication.warn_of_many_rejects(changed)]
    assert len(warned) == many
    assert not many or "2 of 100 rows are rejects" in warned[0]


def test_a_run_without_rejects_reads_no_rejects(tmp_path):
    """Without rejects, no reject file is opened."""
    outputs = build_receipt().outputs
    publication.check_sources(str(tmp_path / "nowhere"), [build_input("a.jsonl", 1)], outputs)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_run_with_a_file_of_rejects_is_withdrawn(config, corpus, restarts):
    """A failed run leaves nothing, after one attempt or two."""
    lines = [json.dumps({"messages": f"text {number}", "id": number}) for number in range(9)]
    (corpus / "9.jsonl").write_text("\n".join(lines))
    for _ in range(1 + restarts):
        with pytest.raises(BudgetError, match=r"9\.jsonl: all 9 rows are rejects") as caught:
            run_filter(config)
        assert "row 0: field 'messages': text where the corpus has a list" in str(caught.value)
        left = {path.name for path in Path(config.output).iterdir()}
        assert left == {*EVIDENCE_FOLDERS, WITHDRAWN}
    (corpus / "9.jsonl").unlink()
    assert run_filter(config).conservation.by_decision == {"keep": 32, "quarantine": 8}


def test_withdrawn_runs_leave_no_corpus(run):
    """Withdrawing a run removes its rows, and keeps its scores and manifest."""
    folder, manifest = run
    (folder / "notes.txt").write_text("mine")
    notices = publication.withdraw_run(str(folder), manifest)
    left = {path.name for path in folder.iterdir()}
    assert left == {*EVIDENCE_FOLDERS, "notes.txt", WITHDRAWN}
    assert "kept, without text" in str(notices[-1])
    withdrawn = Manifest.model_validate_json((folder / WITHDRAWN).read_bytes())
    assert withdrawn.conservation == manifest.conservation
    assert {parse_path(output.path).folder for output in withdrawn.outputs} <= {*EVIDENCE_FOLDERS}


def test_an_interrupted_withdrawal_leaves_a_sign_of_the_run(run, monkeypatch):
    """After each removal, the folder still looks like a run."""
    folder, manifest = run
    (folder / BEGUN).parent.mkdir(exist_ok=True)
    (folder / BEGUN).write_text("{}")
    remove, signs = storage.remove_tree, []

    def watch(uri):
        remove(uri)
        there = (name for name in (*MANIFESTS, *SIGNS_OF_A_RUN) if (folder / name).exists())
        signs.append(list(there))

    monkeypatch.setattr(storage, "remove_tree", watch)
    publication.withdraw_run(str(folder), manifest)
    assert all(signs)
    assert signs[-1] == [WITHDRAWN]


def test_a_withdrawal_that_cannot_be_recorded_can_be_resumed(run, monkeypatch):
    """If the disk refuses the record, the working files stay."""
    folder, manifest = run
    (folder / BEGUN).parent.mkdir(exist_ok=True)
    (folder / BEGUN).write_text("{}")

    def refuse(uri, *_):
        raise StorageError("is full", where=uri)

    monkeypatch.setattr(storage, "write_bytes", refuse)
    notices = publication.withdraw_run(str(folder), manifest)
    assert f"{WITHDRAWN} is missing" in str(notices[-1])
    assert (folder / BEGUN).exists()
    assert not (folder / MANIFEST).exists()


def test_receipts_are_in_corpus_order():
    """Receipts are in corpus order, and a missing receipt's shard is named."""
    piece = SourcePiece("a", "a", "ff", "jsonl", "none", Cut(0, 0, 0), Cut(1, 1, 0))
    plans = [ShardPlan("part-1", (piece,)), ShardPlan("part-0", (piece,))]
    both = {name: build_receipt(name) for name in ("part-0", "part-1")}
    ordered = publication.order_receipts(plans, both)
    assert [item.shard for item in ordered] == ["part-1", "part-0"]
    with pytest.raises(RunError, match="1 shard has no receipt; the first is part-0") as caught:
        publication.order_receipts(plans, {"part-1": both["part-1"]})
    assert "resumes" in caught.value.remedy


def test_receipts_are_summed():
    """Fired and unscored rows are summed, and the shard roots give the ledger root."""
    found = publication.sum_receipts([build_receipt("a"), build_receipt("b")], Policy())
    assert (found["fired"], found["unscored"]) == ({"heron": 4}, 6)
    assert found["shards"] == (("a", "00" * 32), ("b", "00" * 32))
    assert found["ledger_root"] == compute_merkle_root([bytes(32), bytes(32)]).hex()


def test_circumstances_hold_rates():
    """Receipts and seconds give rates and padding."""
    receipts = [build_receipt("a"), build_receipt("b")]
    facts = publication.describe_circumstances(2.0, receipts, "cpu", ("congener",))
    assert (facts["rows_per_second"], facts["tokens_per_second"]) == (10.0, 80.0)
    assert (facts["tokens"], facts["padding_waste"], facts["token_budget_cuts"]) == (160, 0.2, 2)
    assert (facts["device"], facts["command"]) == ("cpu", ["congener"])
    assert publication.describe_circumstances(0.0, [], "cpu", ())["padding_waste"] == 0


def test_a_resumed_run_has_the_speed_of_its_last_process():
    """Shards that were finished before count in no rate, as another process took their time."""
    receipts = [build_receipt("a"), build_receipt("b")]
    facts = publication.describe_circumstances(2.0, receipts, "cpu", (), done={"a": 1})
    assert (facts["rows_per_second"], facts["tokens_per_second"]) == (5.0, 40.0)
    assert (facts["tokens"], facts["padding_waste"]) == (160, 0.2)


def test_an_operator_of_any_bytes_can_be_written(monkeypatch):
    """The name of the user comes from the environment, which may hold any bytes."""
    monkeypatch.setenv("LOGNAME", b"h\xe9ron".decode("utf-8", "surrogateescape"))
    facts = publication.describe_circumstances(1.0, [], "cpu", ())
    assert facts["operator"] == r"h\udce9ron"
    assert (
        publication.describe_circumstances(1.0, [], "cpu", (), " ")["operator"] == facts["operator"]
    )


def test_inputs_have_absolute_paths(tmp_path, monkeypatch):
    """A manifest has absolute input paths."""
    monkeypatch.chdir(tmp_path)
    (found,) = publication.describe_inputs(build_corpus(3, "in/a.jsonl"))
    assert (found.uri, found.name, found.rows) == (str(tmp_path / "in/a.jsonl"), "a", 3)
    (remote,) = publication.describe_inputs(build_corpus(3, "gs://bucket/a.jsonl"))
    assert remote.uri == "gs://bucket/a.jsonl"


def test_a_manifest_describes_its_thresholds(run):
    """A manifest has each trait's rule and its threshold's basis."""
    (found,) = run[1].thresholds
    assert (found.trait, found.signal, found.action) == ("heron", "combined", "quarantine")
    assert (found.threshold, found.origin, found.bound) == (0.5, "explicit", None)
    assert found.calibrated_on == "library background"


def test_calibration_scores_are_those_of_the_bank(config, run, tmp_path):
    """`calibration/` has the clean scores of every trait and signal, in order."""
    folder, manifest = run
    (output,) = (item for item in manifest.outputs if item.path == CALIBRATION)
    frame = pl.read_parquet(folder / CALIBRATION)
    assert frame.height == output.rows
    assert frame.select("trait", "signal").unique(maintain_order=True).rows() == [
        ("heron", "combined"),
        ("heron", "lexicon"),
    ]
    bank = prepare_bank(config).bank
    save_bank(bank, str(tmp_path / "bank"))
    for signal, scores in load_bank(str(tmp_path / "bank")).traits["heron"].calibration.items():
        stored = frame.filter(pl.col("signal") == signal)["score"].to_numpy()
        np.testing.assert_array_equal(stored, scores)


def test_a_bank_without_calibration_writes_no_file(config, tmp_path):
    """A bank without clean scores writes no calibration file."""
    bank = prepare_bank(config).bank
    bank.traits["heron"].calibration.clear()
    assert publication.write_calibration(str(tmp_path), bank) == ()
    assert list(tmp_path.glob("calibration/*")) == []


def test_a_published_run_has_no_working_files(run, tmp_path):
    """The manifest is sealed, and `.work` is emptied."""
    _, manifest = run
    (tmp_path / "copy" / ".work" / "receipts").mkdir(parents=True)
    sealed = publication.publish_manifest(str(tmp_path / "copy"), manifest)
    assert sealed.digest == sealed.compute_digest()
    assert publication.remove_work(str(tmp_path / "copy")) == []
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["manifest.json"]
    assert load_manifest(str(tmp_path / "copy")) == sealed


def test_a_calibrated_threshold_has_its_level_and_bound(config):
    """A calibrated threshold has its level, its clean texts and a bound."""
    bank = prepare_bank(config).bank
    policy = Policy.model_validate({"traits": {"heron": {"max_false_positive_rate": 0.05}}})
    rules = settle_rules(bank.traits, policy)
    (found,) = publication.describe_thresholds(rules, {"heron": "my clean text"})
    assert (found.origin, found.max_false_positive_rate) == ("calibrated", 0.05)
    assert (found.confidence, found.calibrated_on) == (0.95, "my clean text")
    assert found.exceeding <= found.clean_texts * 0.05
    assert 0 < found.bound <= 0.05


def describe_with(run, fired, near, **rule):
    """Return the notices about findings with these counts."""
    folder, manifest = run
    item = manifest.thresholds[0].model_copy(update=rule)
    changed = {"thresholds": (item,), "fired": fired, "near": near}
    notices = publication.describe_findings(str(folder), manifest.model_copy(update=changed))
    return [str(notice) for notice in notices]


def test_a_trait_that_nearly_found_something_is_named(run):
    """A notice names a trait that found nothing but has near misses."""
    (text,) = describe_with(run, {}, {"heron": NearMisses(rows=3, best=0.488)})
    assert "heron (3; the best is 0.0120 below)" in text
    assert f"congener traits thresholds {run[0]}" in text
    assert describe_with(run, {}, {"heron": NearMisses(rows=0, best=0.2)}) == []
    assert describe_with(run, {"heron": 1}, {"heron": NearMisses(rows=3, best=0.488)}) == []


def test_findings_no_more_than_noise_are_named(run):
    """A notice names a trait whose findings may all be mistakes."""
    (text,) = describe_with(run, {"heron": 2}, {}, bound=0.05)
    assert text.startswith("these traits fired on so few rows that every finding may be")
    assert text.endswith("limits allow as many clean rows: heron (2 rows; limit 2.0)")
    assert describe_with(run, {"heron": 3}, {}, bound=0.05) == []
    assert describe_with(run, {"heron": 1}, {}, bound=None) == []


def test_near_misses_of_shards_are_added(run):
    """The manifest adds up all shards' near misses."""
    receipts = [
        build_receipt().model_copy(update={"near": {"heron": NearMisses(rows=rows, best=best)}})
        for rows, best in ((2, 0.3), (1, 0.45))
    ]
    assert publication.sum_receipts(receipts, Policy())["near"] == {
        "heron": NearMisses(rows=3, best=0.45)
    }


def test_effects_of_exceptions_are_added():
    """Each exception's effects are summed over the shards; a run without shards has empty ones."""
    policy = Policy(exceptions=(build_exception(trait="heron", action="flag"),))
    change = ActionChange(before="drop", after="flag", rows=2)
    effect = ExceptionEffect(rows=5, changed=(change,), overruled=1)
    receipts = [build_receipt().model_copy(update={"exceptions": (effect,)})] * 2
    (found,) = publication.sum_receipts(receipts, policy)["exceptions"]
    assert found.describe() == "4 from drop to flag, 2 unchanged, because another trait decides"
    assert publication.sum_receipts([], policy)["exceptions"] == (ExceptionEffect(),)


def test_the_scores_of_positives_are_written(config, tmp_path, card_folder):
    """The positives' held-out scores are written to a file that `verify` reads."""
    folder = card_folder(
        "bird", "signals: {lexicon: {patterns: [heron]}}\n", ["A heron.", "A jay."]
    )
    bank = prepare_bank(config.model_copy(update={"traits": (str(folder),)})).bank
    paths = [output.path for output in publication.write_calibration(str(tmp_path), bank)]
    assert paths == [CALIBRATION, POSITIVES]
    frame = pl.read_parquet(tmp_path / POSITIVES)
    assert frame["trait"].unique().to_list() == ["bird"]
    combined = frame.filter(pl.col("signal") == "combined")["score"].to_list()
    assert [score > 0 for score in combined] == [True, False]


def test_notices_are_recorded_without_text(finished):
    """The manifest records what a run said once, except what quotes text."""
    said = [
        warn("a danger"),
        Notice("a fact"),
        Notice("a row", is_recorded=False),
        warn("a danger"),
        Notice("a doubt", about="donor oak", remarks=(("heron", "rare"),)),
    ]
    recorded = publication.record_notices(finished[1], said)
    assert recorded.list_notices() == [warn("a danger"), Notice("a fact"), said[-1]]
    assert recorded.circumstances["notices"][0] == {"severity": "warning", "text": "a danger"}
    assert recorded.circumstances["seconds"] == finished[1].circumstances["seconds"]


def test_a_reject_is_not_quoted_in_the_reason_of_a_withdrawal():
    """The reason names the budget, or the file of rejects, but not what a reject holds."""
    error = BudgetError("all 5 rows are rejects, the first: row 0: SECRET", where="a.jsonl")
    assert publication.explain_withdrawal(error) == "all rows of a.jsonl are rejects"
    other = BudgetError("3 rows exceed it: nothing was published")
    assert publication.explain_withdrawal(other) == "3 rows exceed it"
