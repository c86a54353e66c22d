"""The training guide: its code runs on the files of real runs, with the trainers it names."""

import re
from pathlib import Path
from typing import Any

import pytest

from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # the trainers' own warnings aren't our concern
GUIDE = Path(__file__).parent.parent / "docs" / "training.md"
MASKED = "A heron stood in the reeds."
TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content | trim }} [SEP] "
    "{% endfor %}"
)


def read_blocks() -> list[str]:
    """Return the guide's Python code blocks."""
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def filter_rows(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Filter rows with a trait that masks herons, and return the run directory."""
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
    """Run the guide's code on two runs with a tiny model, and return the names that it defines."""
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
        "output": str(folder / "model"),
        "model": LlamaForCausalLM.from_pretrained(folder / "tiny"),
        "tokenizer": tokenizer,
    }
    for block in read_blocks():
        exec(compile(block, str(GUIDE), "exec"), found)
    return found


def test_rows_load_with_the_field_of_masks(names):
    """Rows have the input's fields and `congener`, which is null where nothing fired."""
    assert names["rows"].column_names == ["id", "messages", "teacher", "congener"]
    assert [row["congener"] is None for row in names["rows"]] == [False, True, False, True]


def test_masked_tokens_have_no_loss(names):
    """Only the tokens of the masked sentence are labelled -100."""
    tokenizer = names["tokenizer"]
    for number, row in enumerate(names["encoded"]):
        pairs = list(zip(row["input_ids"], row["labels"], strict=True))
        masked = tokenizer.decode([token for token, label in pairs if label == names["IGNORED"]])
        assert masked == ("" if number % 2 else MASKED.lower())
        assert all(label in (token, names["IGNORED"]) for token, label in pairs)


def test_trl_batches_keep_the_labels(names):
    """In the batch that TRL builds, only masked tokens and padding have the label -100."""
    trainer = names["trainer"]
    batch = next(iter(trainer.get_train_dataloader()))
    hidden = (batch["labels"] == names["IGNORED"]) & (batch["attention_mask"] == 1)
    expected = [sum(label == -100 for label in row["labels"]) for row in names["encoded"]]
    assert sorted(hidden.sum(dim=1).tolist()) == sorted(expected)
    assert max(expected) > 0


def test_trl_takes_pairs(names):
    """TRL can prepare a run's pairs for preference training."""
    assert names["dpo"].train_dataset.num_rows == 4
    batch = next(iter(names["dpo"].get_train_dataloader()))
    assert len(batch) > 0


def test_a_template_that_changes_a_message_is_an_error(names):
    """If the recipe can't find a message's text, it stops rather than mask the wrong characters."""
    row = {"messages": [{"role": "user", "content": "Question?"}]}
    with pytest.raises(ValueError, match="doesn't show this message"):
        list(names["find_masked_characters"](row, "[user] QUESTION?"))
