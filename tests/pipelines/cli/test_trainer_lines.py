"""The closing lines of a run: its clean rows, and what a trainer must do with masks."""

import pytest

from pipelines.cli.trainer_lines import describe_clean_rows
from schemas.manifests import Conservation
from schemas.receipts import NoteCounts


@pytest.mark.parametrize(
    ("notes", "masks"),
    [
        (NoteCounts(), ""),
        (NoteCounts(masked=1), "1 has masks"),
        (NoteCounts(masked=3, masked_before=2), "3 have masks (2 only from an earlier run)"),
    ],
)
def test_masked_rows_have_the_command(no_rows, notes, masks):
    """The clean rows are counted, and masked ones come with the command that applies masks."""
    counts = Conservation(rows_in=9, by_decision={"keep": 2, "mask": 3, "drop": 4})
    manifest = no_rows.model_copy(update={"conservation": counts, "notes": notes})
    first, *others = map(str, describe_clean_rows("a run", manifest))
    assert first == "for the trainer: 5 rows in a run/clean"
    if not masks:
        assert others == []
        return
    said, command = others
    assert said.startswith(f"of these rows, {masks} in the field `congener`. A trainer that")
    assert command.strip() == "congener apply-masks 'a run' --output TOKENS --tokenizer STUDENT"
