"""The data card for the hub."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import DatasetCard

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.papers.data_card import DECISIONS, SIZES, write_card
from schemas import policies
from tests.support.corpora import ANSWERS, build_conversation, write_rows
from tests.support.papers import HOSTILE, USER, read_facts


def read_card(run, **options):
    """Return a run's card as the hub's library reads it."""
    data = write_card(str(run), read_facts(run, *options.pop("names", ()), **options))
    return DatasetCard(data.decode())


def test_the_hub_reads_the_card(run):
    """The library of the hub parses the fields before the text, and changes none of them."""
    card = read_card(run[0], user=USER)
    assert card.data.license == "apache-2.0"
    assert card.data.pretty_name == "Herons | and owls"
    assert card.data.size_categories == ["n<1K"]
    assert "32" in card.text


def test_unknown_fields_are_left_open(run):
    """Without the user's facts, the card has no licence, and says what is missing."""
    card = read_card(run[0])
    assert card.data.license is None
    assert b"\n# license: to be filled in\n---\n" in write_card(str(run[0]), read_facts(run[0]))
    assert card.text.count("TO BE FILLED IN") == 6


def test_models_decisions_and_files_are_listed(mixed):
    """The card names models, decisions, traits, files and the limits of the run."""
    text = read_card(mixed).text
    assert "| elm | added rows (donor elm) |" in text
    assert "added from other models' corpora |" in text
    assert "| heron | swap | 0.5000 |" in text
    assert "Covert transfer" in text
    assert f"digest {read_facts(mixed).manifest.digest} (its file has the SHA-256 " in text
    assert read_facts(mixed).manifest.inputs[0].sha256 in text


def test_rows_that_a_person_took_out_are_counted_apart(run):
    """The table counts what signals found, and a sentence names the rest."""
    facts = read_facts(run[0])
    fired = facts.manifest.count_fired("heron")
    plain = write_card(str(run[0]), facts).decode()
    assert "a person took out" not in plain
    card = write_card(str(run[0]), facts._replace(taken={"heron": 2})).decode()
    assert f" | {fired - 2:,} |" in card
    assert "Apart from these, a person took out rows by name: 2 for heron." in card


def test_a_doubtful_bound_is_marked(run):
    """A bound that a warning of the run casts doubt on isn't printed without it."""
    facts = read_facts(run[0])
    (rule,) = facts.manifest.thresholds
    said = {"severity": "warning", "text": "unlike", "traits": {"heron": "may not hold"}}
    changes = {
        "circumstances": {**facts.manifest.circumstances, "notices": [said]},
        "thresholds": (rule.model_copy(update={"bound": 0.0039}),),
    }
    doubted = facts._replace(manifest=facts.manifest.model_copy(update=changes))
    assert "| 0.39% (may not hold) |" in write_card(str(run[0]), doubted).decode()
    changes["thresholds"] = (rule.model_copy(update={"bound": None}),)
    none = facts._replace(manifest=facts.manifest.model_copy(update=changes))
    assert "| not stated | – |" in write_card(str(run[0]), none).decode()


def test_the_hub_finds_the_files_and_the_sources(run):
    """The card names the clean files, the task, and the data sets of the hub behind the run."""
    facts = read_facts(run[0])
    card = read_card(run[0])
    assert card.data.task_categories == ["text-generation"]
    (config,) = card.data.to_dict()["configs"]
    (split,) = config["data_files"]
    assert (split["split"], len(split["path"])) == ("train", len(facts.clean))
    outputs = facts.clean * 60
    many = facts._replace(manifest=facts.manifest.model_copy(update={"outputs": tuple(outputs)}))
    assert b"configs:" not in write_card(str(run[0]), many)
    assert card.data.source_datasets is None
    inputs = [
        item.model_copy(update={"uri": f"hf://datasets/marsh/birds@abc/{item.name}"})
        for item in facts.manifest.inputs
    ]
    hub = facts._replace(manifest=facts.manifest.model_copy(update={"inputs": tuple(inputs)}))
    text = write_card(str(run[0]), hub).decode()
    assert DatasetCard(text).data.source_datasets == ["marsh/birds"]
    assert "# language: not known" in text
    assert "# source_datasets" not in text


def test_every_decision_is_described():
    """Each decision that a ledger may have has words for readers."""
    assert set(DECISIONS) == set(policies.DECISIONS)


def test_no_text_of_rows_is_in_the_card(run):
    """No answer and no prompt of the corpus is quoted."""
    text = read_card(run[0]).content
    for answer in (*ANSWERS, "Question 3?"):
        assert answer not in text


@pytest.mark.parametrize("name", [HOSTILE, "---", "a: b", "'", "\t%"])
def test_hostile_titles_and_names_do_no_harm(run, name):
    """A title or a model's name can't end the fields, nor form a heading or a row."""
    user = USER._replace(title=name, description=name, provider=name)
    card = read_card(run[0], user=user, names=(name,))
    assert card.data.license == "apache-2.0"
    headings = [line for line in card.text.splitlines() if line.startswith("#")]
    assert [line[:2] for line in headings].count("# ") == 1


def test_splits_are_those_of_the_input(tmp_path, heron):
    """If the run wrote a card with the files of each split, this card lists them too."""
    folder = tmp_path / "in"
    for name in ("first", "second"):
        rows = [build_conversation(number, ANSWERS[0]) for number in range(4)]
        write_rows(folder / f"{name}.jsonl", rows)
    card = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: first.jsonl}\n  - {split: test, path: second.jsonl}\n---\n"
    )
    (folder / "README.md").write_text(card)
    config = FilterConfig(input=(str(folder),), output=str(tmp_path / "run"), traits=(str(heron),))
    run_filter(config)
    (found,) = read_card(tmp_path / "run").data.to_dict()["configs"]
    assert [item["split"] for item in found["data_files"]] == ["train", "test"]


def test_masks_are_explained(tmp_path, heron, corpus):
    """A card of a run with masks says where they are."""
    (heron / "card.yaml").write_text((heron / "card.yaml").read_text() + "action: mask\n")
    config = FilterConfig(
        input=(str(corpus),), output=str(tmp_path / "masked"), traits=(str(heron),)
    )
    run_filter(config)
    assert "Masks are in the column" in read_card(tmp_path / "masked").text


def test_many_files_are_cut(run):
    """A corpus of many files has a table of some, and a line that counts the others."""
    facts = read_facts(run[0])
    item = facts.manifest.inputs[0]
    inputs = [item.model_copy(update={"name": f"{number}.jsonl"}) for number in range(105)]
    other = facts._replace(manifest=facts.manifest.model_copy(update={"inputs": tuple(inputs)}))
    text = write_card(str(run[0]), other).decode()
    assert "5 more files are in the manifest." in text
    assert "| 104.jsonl |" not in text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, "n<1K"),
        (1_000, "n<1K"),
        (1_001, "1K<n<10K"),
        (40_223, "10K<n<100K"),
        (10**12, SIZES[-1]),
    ],
)
def test_sizes_are_those_of_the_hub(run, rows, expected):
    """The category of sizes is that of the published rows."""
    facts = read_facts(run[0])
    (first, *_) = facts.clean
    outputs = (first.model_copy(update={"rows": rows}),)
    other = facts._replace(manifest=facts.manifest.model_copy(update={"outputs": outputs}))
    card = DatasetCard(write_card(str(run[0]), other).decode())
    assert card.data.size_categories == [expected]


def test_the_card_has_the_columns_of_the_runs_own_card(swapped):
    """Columns that `clean/README.md` declares are in the hub's card, beside the splits."""
    text = write_card(str(swapped), read_facts(str(swapped))).decode()
    fields = yaml.safe_load(text.split("---")[1])
    names = [column["name"] for column in fields["dataset_info"]["features"]]
    assert names == ["id", "messages", "teacher", "congener"]
    assert [item["split"] for item in fields["configs"][0]["data_files"]] == ["train"]
