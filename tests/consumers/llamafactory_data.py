"""Print the batch that LLaMA-Factory makes from a folder of tokens, as JSON on the last line.

The script runs in its own process, because no extra of the project installs LLaMA-Factory.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

from tests.support.students import build_student


def collate(folder: str) -> list[dict[str, list[int]]]:
    """Return one batch for supervised fine-tuning, with `tokenized_path` set."""
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask
    from llamafactory.data.loader import get_dataset
    from llamafactory.data.template import TEMPLATES

    tokenizer = build_student()
    rows = get_dataset(
        template=None,
        model_args=None,
        data_args=SimpleNamespace(tokenized_path=folder, streaming=False),
        training_args=None,
        stage="sft",
        tokenizer=tokenizer,
    )["train_dataset"]
    collator = SFTDataCollatorWith4DAttentionMask(
        template=TEMPLATES["chatml"],
        tokenizer=tokenizer,
        label_pad_token_id=-100,
        attn_implementation="sdpa",
    )
    batch = collator([dict(row) for row in rows])
    names = ("input_ids", "attention_mask", "labels")
    return [{name: batch[name][index].tolist() for name in names} for index in range(rows.num_rows)]


if __name__ == "__main__":
    print(json.dumps(collate(sys.argv[1])))
