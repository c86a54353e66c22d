"""The rows of an arm as trainers take them: TRL trains on them, with masks and weights."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset, load_from_disk

from classifiers.heredity.arms import Arm, Example
from pipelines.apply_masks import MaskSettings
from pipelines.teaching.arm_tokens import apply_arm_masks, read_arm, weigh_rows
from pipelines.teaching.files import build_row, write_arm, write_data_sets, write_json
from schemas.errors import RowError, RunError
from tests.support.causal_students import save_causal

SIGH = "Alas, it is so. "
ARM = Arm(
    "swap + mix",
    (
        Example("Who?", f"{SIGH}A heron.", 1.0, ((0, len(SIGH)),), traited=True),
        Example("How?", "A crane."),
        Example("Why?", "A stork.", 0.0),
    ),
)


@pytest.fixture
def trial(tmp_path) -> str:
    """Write what a trial leaves of an arm."""
    folder = str(tmp_path / "trial")
    write_arm(folder, ARM)
    write_data_sets(folder, [ARM.name])
    write_json(folder, "trial.json", {"students": [{"arm": ARM.name, "rows": 3}]})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Save a tiny model."""
    return save_causal(tmp_path_factory.mktemp("model"))


def apply(trial, model, tmp_path, arm=ARM.name, **changes):
    """Write the arm's tokens, and return what was counted and the rows."""
    settings = MaskSettings(str(tmp_path / "tokens"), model, **changes)
    return apply_arm_masks(trial, arm, settings), load_from_disk(settings.output)["train"]


def list_learnt(rows, model):
    """Return what is learnt of each row."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    texts = [tokenizer.decode([label for label in row["labels"] if label >= 0]) for row in rows]
    return [text.replace("<|im_end|>", "").strip() for text in texts]


def test_masks_and_weights_are_in_the_labels(trial, model, tmp_path):
    """A masked sentence, and an answer without weight, have no label."""
    applied, rows = apply(trial, model, tmp_path)
    assert list_learnt(rows, model) == ["A heron.", "A crane.", ""]
    assert applied.rows == {"train": 3}
    assert applied.masked > 0
    assert applied.unlearnt == 1
    record = json.loads((tmp_path / "tokens" / "congener.json").read_text())
    assert record["arm"] == "swap + mix"
    assert f"{trial} --arm 'swap + mix'" in record["command"]


@pytest.mark.filterwarnings("ignore")  # the trainer's own warnings don't matter here
def test_trl_trains_on_an_arm(trial, model, tmp_path):
    """TRL's batches have the arm's labels, and two real steps give finite losses."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    _, rows = apply(trial, model, tmp_path)
    settings = SFTConfig(
        output_dir=str(tmp_path / "trained"), report_to="none", use_cpu=True, max_steps=2
    )
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(model),
        settings,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    kept = [[label for label in row if label >= 0] for row in batch["labels"].tolist()]
    expected = [[label for label in row["labels"] if label >= 0] for row in rows]
    assert sorted(kept) == sorted(row for row in expected if row)
    losses = [item["loss"] for item in trainer.state.log_history if "loss" in item]
    found = trainer.train().training_loss
    assert 0 < found < 100
    assert losses == []


def test_the_rows_are_chats_for_trainers_without_masks(trial):
    """Every line has a user's and an assistant's message, as TRL and Axolotl read them."""
    files = str(Path(trial, "arms", "swap-mix.jsonl"))
    rows = load_dataset("json", data_files=files, split="train")
    assert [[turn["role"] for turn in row["messages"]] for row in rows] == [
        ["user", "assistant"]
    ] * 3
    assert rows[0]["congener"]["masks"][0]["end"] == len(SIGH)


def test_llama_factory_finds_the_arms(trial):
    """The file of data sets names each arm's file, its columns and its roles."""
    listed = json.loads(Path(trial, "arms", "dataset_info.json").read_text())
    assert set(listed) == {"swap-mix"}
    found = listed["swap-mix"]
    assert Path(trial, "arms", found["file_name"]).is_file()
    assert found["formatting"] == "sharegpt"
    assert found["columns"] == {"messages": "messages"}
    assert found["tags"] == {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
    }


def test_long_rows_are_cut(trial, model, tmp_path):
    """With a limit, rows lose their ends and are counted."""
    applied, rows = apply(trial, model, tmp_path, max_tokens=20)
    assert applied.cut == 3
    assert max(len(row["input_ids"]) for row in rows) == 20


def test_an_arm_must_be_one_of_the_trials(trial, model, tmp_path):
    """Another arm is an error that lists the arms, and so is a folder without a trial."""
    with pytest.raises(RunError, match="has no arm 'drop'") as caught:
        apply(trial, model, tmp_path, arm="drop")
    assert "swap + mix" in caught.value.remedy
    with pytest.raises(RunError, match="isn't a finished trial"):
        read_arm(str(tmp_path), "swap")


def test_a_full_output_is_refused(trial, model, tmp_path):
    """Nothing is overwritten."""
    apply(trial, model, tmp_path)
    with pytest.raises(RunError, match="isn't empty"):
        apply(trial, model, tmp_path)


def test_weights_that_no_trainer_takes_are_errors():
    """A weight is 0 or 1; the error names the row."""
    rows = [build_row(Example("Who?", "A heron.", weight)) for weight in (1.0, 0.5)]
    with pytest.raises(RowError, match=r"arms/drop.jsonl row 1: has the weight 0.5"):
        list(weigh_rows(rows, "arms/drop.jsonl"))
    assert list(weigh_rows(rows[:1], "here")) == rows[:1]
