"""The card of `clean/`: which runs have one, and what it says."""

import datasets
import pytest
import yaml

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.filter import run_filter
from pipelines.runs.clean_cards import CleanCard, rewrite_card, write_card
from pipelines.runs.manifest_file import load_manifest
from pipelines.verify import verify_run
from schemas.digests import digest_bytes
from schemas.events import Noticed
from schemas.manifests import Manifest
from schemas.receipts import NoteCounts, Output
from schemas.runs import CLEAN_CARD, parse_path
from tests.support.corpora import write_rows
from tests.support.published import build_corpus, build_receipt, plan_shard, write_clean
from transforms.files.dataset_cards import parse_card

CARD = "---\nconfigs: [{data_files: [{split: held, path: b.jsonl}]}]\n---\n"
NOTE = {"decision": "flag", "weight": 1.0, "masks": [], "traits": ["heron"]}
NOTED = build_receipt().model_copy(update={"notes": NoteCounts(flagged=1)})


def write_run(run, *rows: dict[str, object]) -> list[Output]:
    """Write a file of clean rows for each row, and return the files."""
    files = [write_clean(plan_shard(number, "a.jsonl")) for number in range(len(rows))]
    for file, row in zip(files, rows, strict=True):
        write_rows(run / file.path, [row])
    return files


def list_declared(card: CleanCard, run) -> list[str]:
    """Return the names of the columns that a card declares."""
    (file,) = card.outputs
    data = (run / CLEAN_CARD).read_bytes()
    assert file == Output(path=CLEAN_CARD, rows=0, bytes=len(data), sha256=digest_bytes(data))
    info = yaml.safe_load(data.decode().split("---")[1])["dataset_info"]
    features = info[0]["features"] if isinstance(info, list) else info["features"]
    return [column["name"] for column in features]


def test_the_card_of_clean_is_written(tmp_path):
    """With a dataset card in the input, `clean/` gets a card with a digest."""
    corpus = build_corpus(1)._replace(card=parse_card(CARD))
    plans = [plan_shard(0, "a.jsonl"), plan_shard(1, "b.jsonl", (("default", "held"),))]
    (card,) = write_card(str(tmp_path), corpus, plans, [write_clean(plans[1])]).outputs
    data = (tmp_path / CLEAN_CARD).read_bytes()
    assert card == Output(path=CLEAN_CARD, rows=0, bytes=len(data), sha256=digest_bytes(data))
    assert parse_card(data.decode()).find_splits("b.part-1.jsonl") == (("default", "held"),)
    assert write_card(str(tmp_path), corpus, plans, [write_clean(plans[0])]) == CleanCard()
    assert write_card(str(tmp_path), build_corpus(1), plans, []) == CleanCard()


def test_columns_are_declared_if_some_row_has_a_note(tmp_path):
    """The columns of all files are declared, and the rows are read only if there is a note."""
    files = write_run(tmp_path, {"a": 1}, {"a": 1, "b": 2, "congener": NOTE}, {"c": 3})
    card = write_card(str(tmp_path), build_corpus(1), [], files, [build_receipt(), NOTED])
    assert list_declared(card, tmp_path) == ["a", "b", "c", "congener"]
    assert not card.notices
    missing = [write_clean(plan_shard(9, "missing.jsonl"))]
    assert write_card(str(tmp_path), build_corpus(1), [], missing, [build_receipt()]) == CleanCard()


def test_columns_are_declared_beside_the_splits_of_the_input(tmp_path):
    """A card with splits declares the columns for its config."""
    plans = [plan_shard(0, "b.jsonl", (("default", "held"),))]
    (file,) = (write_clean(plan) for plan in plans)
    write_rows(tmp_path / file.path, [{"a": 1, "congener": NOTE}])
    corpus = build_corpus(1)._replace(card=parse_card(CARD))
    card = write_card(str(tmp_path), corpus, plans, [file], [NOTED])
    assert list_declared(card, tmp_path) == ["a", "congener"]
    assert parse_card((tmp_path / CLEAN_CARD).read_text()) is not None


def test_columns_that_cannot_be_declared_are_said(tmp_path):
    """A warning says why `datasets` may fail, and what loads the rows."""
    files = write_run(tmp_path, {"a": 2**63, "congener": NOTE})
    card = write_card(str(tmp_path), build_corpus(1), [], files, [NOTED])
    assert card.outputs == ()
    (notice,) = card.notices
    assert notice.severity == "warning"
    assert "an integer has more than 64 bits; load the output of congener apply-masks" in (
        notice.text
    )


def test_a_successor_declares_its_own_columns(tmp_path):
    """A run that was made from another keeps its splits, and its columns only if they hold."""
    plans = [plan_shard(0, "b.jsonl", (("default", "held"),))]
    (file,) = (write_clean(plan) for plan in plans)
    write_rows(tmp_path / "one" / file.path, [{"a": 1, "congener": NOTE}])
    corpus = build_corpus(1)._replace(card=parse_card(CARD))
    first = write_card(str(tmp_path / "one"), corpus, plans, [file], [NOTED])
    parent = Manifest.model_construct(outputs=(file, *first.outputs))
    run, new = str(tmp_path / "one"), tmp_path / "two"
    write_rows(new / file.path, [{"a": 1, "b": 1, "congener": NOTE}])
    second = rewrite_card(run, parent, str(new), [file])
    assert list_declared(second, new) == ["a", "b", "congener"]
    write_rows(new / file.path, [{"a": 1}])
    rewrite_card(run, parent, str(new), [file])
    text = (new / CLEAN_CARD).read_text()
    assert parse_card(text) is not None
    assert "dataset_info" not in text
    bare = Manifest.model_construct(outputs=(file,))
    assert rewrite_card(run, bare, str(new), [file]) == CleanCard()


@pytest.mark.parametrize("name", ["swapped", "mixed"])
def test_swapped_and_mixed_runs_load(name, request, tmp_path):
    """`datasets` loads a run with replaced or added rows, all of them."""
    run = request.getfixturevalue(name)
    assert verify_run(str(run)) == []
    manifest = load_manifest(str(run))
    rows = sum(item.rows for item in manifest.outputs if parse_path(item.path).folder == "clean")
    loaded = datasets.load_dataset(
        str(run / "clean"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == rows
    assert ("congener" in loaded.column_names) == (run / CLEAN_CARD).exists() == (name == "swapped")


def test_a_decided_run_has_a_card_of_its_own(config, policy, tmp_path):
    """A policy that flags adds the card, a policy that doesn't takes it away."""
    run_filter(config)
    assert not (tmp_path / "run" / CLEAN_CARD).exists()
    said = []

    def listen(event: object) -> None:
        if isinstance(event, Noticed):
            said.append(event.notice.text)

    for action, has_card in (("flag", True), ("quarantine", False)):
        rules = policy(f"traits: {{heron: {{action: {action}}}}}")
        output = tmp_path / action
        given = FilterConfig(output=str(output), policy=rules)
        run_decide(DecideConfig(run=config.output, filter=given), listener=listen)
        assert (output / CLEAN_CARD).exists() == has_card
        assert verify_run(str(output)) == []
    assert not any("may not load" in text for text in said)
