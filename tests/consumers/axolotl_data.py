"""Print the rows that Axolotl prepares from a folder of tokens, as JSON on the last line.

The script runs in its own process, because no extra of the project installs Axolotl.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.support.students import build_student


def prepare(folder: str) -> list[dict[str, list[int]]]:
    """Return the rows of Axolotl's training data with an empty `type`."""
    from axolotl.utils.data.sft import prepare_datasets
    from axolotl.utils.dict import DictDefault

    settings = {
        "datasets": [{"path": folder, "type": None}],
        "dataset_prepared_path": str(Path(folder).parent / "prepared"),
        "dataset_num_proc": 1,
        "sequence_len": 2048,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "batch_size": 1,
        "num_epochs": 1,
        "val_set_size": 0,
        "world_size": 1,
        "seed": 0,
    }
    rows, *_ = prepare_datasets(DictDefault(settings), build_student())
    return [dict(row) for row in rows]


if __name__ == "__main__":
    print(json.dumps(prepare(sys.argv[1])))
