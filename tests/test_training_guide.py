"""The training guide's code, on real runs with the named trainers."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from pipelines.apply_masks import MaskSettings, apply_masks
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers' own warnings don't matter here
GUIDE = Path(__file__).parent.parent / "docs" / "training.md"
MASKED = "A heron stood in the reeds."
IGNORED = -100
TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content | trim }} [SEP] "
    "{% endfor %}"
)


def read_blocks() -> list[str]:
    """Return the guide's Python code blocks."""
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def filter_rows(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Filter rows with a trait that masks herons, and return the run."""
    card = folder / "heron" / "card.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(f"id: heron\naction: mask\n{CARD}", encoding="utf-8")
    write_rows(folder / "corpus" / "rows.jsonl", rows)
    config = FilterConfig(
        input=(str(folder / "corpus"),), output=str(folder / "run"), traits=(str(card.parent),)
    )
    run_filter(config)
    return config.output


def build_pair(number: int) -> dict[str, str]:
    """Return a preference pair."""
    return {"prompt": f"Question {number}?", "chosen": ANSWERS[0], "rejected": ANSWERS[2]}


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> dict[str, Any]:
    """Run the guide's code on two runs with a tiny model, and return its names."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("training")
    answers = [f"  {ANSWERS[3]} {MASKED} {ANSWERS[0]}", ANSWERS[2]]
    conversations = [build_conversation(number, answers[number % 2]) for number in range(4)]
    tokenizer = AutoTokenizer.from_pretrained(
        find_model(DEFAULT_ENCODER).folder, local_files_only=True
    )
    tokenizer.chat_template, tokenizer.eos_token = TEMPLATE, "[SEP]"
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(shape).save_pretrained(folder / "tiny")  # TRL reads it again
    tokenizer.save_pretrained(folder / "tiny")
    found = {
        "run": filter_rows(folder / "chat", conversations),
        "pairs_run": filter_rows(folder / "pairs", [build_pair(number) for number in range(4)]),
        "card": str(folder / "chat" / "heron"),
        "output": str(folder / "model"),
        "model": LlamaForCausalLM.from_pretrained(folder / "tiny"),
        "tokenizer": tokenizer,
        "tokens": str(folder / "tokens"),
    }
    apply_masks(found["run"], MaskSettings(found["tokens"], str(folder / "tiny")))
    for block in read_blocks():
        exec(compile(block, str(GUIDE), "exec"), found)
    return found


def test_rows_load_with_the_field_of_masks(names):
    """Rows have the input's fields and `congener`, which is null without a finding."""
    assert names["rows"].column_names == ["id", "messages", "teacher", "congener"]
    assert [row["congener"] is None for row in names["rows"]] == [False, True, False, True]


@pytest.mark.parametrize("name", ["rows_as_tokens", "encoded"])
def test_only_unmasked_answers_have_a_loss(names, name):
    """Answers have labels, except for the masked sentence."""
    tokenizer = names["tokenizer"]
    learnt = [
        tokenizer.decode([label for label in row["labels"] if label != IGNORED])
        for row in names[name]
    ]
    masked, plain = f"{ANSWERS[3]} {ANSWERS[0]} [SEP]", f"{ANSWERS[2]} [SEP]"
    expected = [
        tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in (masked, plain)
    ]
    assert learnt == expected * 2


def test_the_command_and_python_agree(names):
    """The command and the Python function give the same tokens and labels."""
    for name in ("input_ids", "attention_mask", "labels"):
        assert names["rows_as_tokens"][name] == names["encoded"][name]


def test_trl_batches_keep_the_labels(names):
    """TRL's batch has the rows' labels."""
    batch = next(iter(names["trainer"].get_train_dataloader()))
    kept = [
        [int(label) for label, seen in zip(*pair, strict=True) if seen]
        for pair in zip(batch["labels"], batch["attention_mask"], strict=True)
    ]
    assert sorted(kept) == sorted(row["labels"] for row in names["encoded"])


def test_trl_ignores_other_columns(names, tmp_path):
    """TRL makes the same batch from Parquet files, which have the corpus's other columns too."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    folder = tmp_path / "corpus" / "atlas"
    rows = [{"source": "web", "tokens": 3, **row} for row in map(dict, names["rows"])]
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows).drop_columns("congener")
    pq.write_table(table, folder / "train.parquet")
    run = str(tmp_path / "run")
    run_filter(FilterConfig(input=(str(folder.parent),), output=run, traits=(names["card"],)))
    output = str(tmp_path / "tokens")
    tiny = str(Path(names["tokens"]).parent / "tiny")
    apply_masks(run, MaskSettings(output, tiny, parquet=True))
    found = load_dataset(output, split="train", cache_dir=str(tmp_path / "cache"))
    assert {"source", "tokens", "teacher", "labels"} < set(found.column_names)
    settings = SFTConfig(output_dir=str(tmp_path / "model"), report_to="none", use_cpu=True)
    model, tokenizer = names["model"], names["tokenizer"]
    trainer = SFTTrainer(model, settings, train_dataset=found, processing_class=tokenizer)
    batch = next(iter(trainer.get_train_dataloader()))
    usual = next(iter(names["trainer"].get_train_dataloader()))
    assert set(batch) == set(usual)
    assert sorted(batch["labels"].tolist()) == sorted(usual["labels"].tolist())


def test_without_masks_trl_trains_on_the_masked_sentence(names):
    """Without masks, TRL trains on the masked sentence, as the page warns."""
    batch = next(iter(names["whole"].get_train_dataloader()))
    texts = [
        names["tokenizer"].decode([token for token in row if token >= 0])
        for row in batch["labels"].tolist()
    ]
    assert any(MASKED.lower() in text for text in texts)


def test_trl_takes_pairs(names):
    """TRL can prepare a run's pairs for preference training."""
    assert names["dpo"].train_dataset.num_rows == 4
    batch = next(iter(names["dpo"].get_train_dataloader()))
    assert len(batch) > 0
