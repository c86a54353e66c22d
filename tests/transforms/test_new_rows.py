"""New rows: other answers in a run's rows, scored with the lots of the ledger."""

import pytest

from tests.support.swaps import RULES, ask, build_settings
from transforms.decide import decide_shard
from transforms.new_rows import gather_rows, score_rows
from transforms.stored_rows import read_stored_rows, read_table, replace_answers


@pytest.fixture
def scored(store, bank, bank_uri, tmp_path):
    """Store a run, put other answers into its held rows, and score these."""
    rows = [ask(n, "An owl.", teacher=f"t{n}") for n in range(3)]
    run, layout, (shard,) = store("a", rows)
    held = read_stored_rows(str(run), shard.files["quarantine"], layout)
    texts = {0: "A crane.", 2: "A fox."}
    stored = replace_answers(
        held, [(row, held.find_answer(row), text) for row, text in texts.items()]
    )
    settings = build_settings(run, tmp_path / "out", layout, bank, bank_uri)
    ledger = read_table(str(run), shard.files["ledger"])
    return stored, ledger, score_rows(stored, [0, 2], ledger, settings.scoring)


def test_new_rows_are_scored_as_a_shard(scored):
    """Each row has a number, scores, and the lot of its old row."""
    _, ledger, shard = scored
    assert shard.numbers == [0, 1]
    assert [lot.teacher for lot in shard.lots] == ["t0", "t2"]
    assert set(shard.build_score_columns()) >= {"fox", "owl"}
    assert ledger.num_rows == 3


def test_digests_are_those_of_the_new_contents(scored):
    """Another answer is another record."""
    _, ledger, shard = scored
    old = ledger.column("content_digest").to_pylist()
    assert not set(shard.digests) & set(old)
    assert len(set(shard.digests)) == 2


def test_decided_rows_are_gathered_with_their_reasons(scored):
    """A finding is named as in a ledger, and rows can be selected."""
    stored, _, shard = scored
    found = gather_rows(decide_shard(shard, RULES), with_vectors=False)
    assert [[item["trait"] for item in own] for own in found.reasons] == [[], ["fox"]]
    assert found.vectors is None
    assert (found.lines is None) == (stored.lines is None)
    one = found.select([1])
    assert one.digests == [shard.digests[1]]
    assert one.table.num_rows == len(one.reasons) == len(one.spans) == 1
    assert all(len(values) == 1 for values in one.scores.values())
