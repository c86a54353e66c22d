"""The coverage of a run: counts in a sample and in all rows, notices, and the budget."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.coverage import (
    UNREAD_NAMED,
    check_unread,
    complete_coverage,
    describe_coverage,
    describe_sample,
)
from pipelines.filter import run_filter
from pipelines.plan import settle
from schemas.coverage import Coverage, FieldCounts, LanguageCounts, TextCounts, TurnCounts
from schemas.errors import BudgetError
from schemas.events import ignore
from schemas.receipts import Receipt
from tests.support.corpora import build_conversation, write_rows

LONG = "It is known that the heron stands in the reeds."


def turn(role, characters, unread, channel="answer") -> TurnCounts:
    """Return the counts of one role in one row."""
    return TurnCounts(role=role, channel=channel, rows=1, characters=characters, unread=unread)


COVERAGE = Coverage(
    turns=(turn("assistant", 60, 0), turn("user", 20, 20), turn("narrator", 10, 10)),
    fields=(FieldCounts(field_path="cot", rows=3, characters=10),),
    languages=(LanguageCounts(language="Greek script", rows=2, source="a.jsonl", row=5),),
    characters=90,
    sampled_rows=7,
    sampled_characters=90,
    unsampled=("rare",),
    untrained_roles=("user",),
)


@pytest.fixture
def odd_corpus(tmp_path):
    """Write rows with a column that isn't read, and a role that only the last row has."""
    rows = [build_conversation(number, LONG) | {"cot": LONG} for number in range(1_010)]
    rows[-1]["messages"].append({"role": "narrator", "content": LONG})
    rows[-1]["late"] = LONG
    return write_rows(tmp_path / "odd" / "a.jsonl", rows)


def settle_coverage(config: FilterConfig, path) -> Coverage:
    """Return what a settled run found in its sample."""
    return settle(config.model_copy(update={"input": (str(path),)}), ignore).sampled


def test_a_sample_shows_fields_and_turns(config, odd_corpus):
    """The sample has the unread column, and a column without a value in it is named."""
    found = settle_coverage(config, odd_corpus)
    assert found.sampled_rows == 1_000
    assert [item.field_path for item in found.fields] == ["cot"]
    assert {item.role for item in found.turns} == {"assistant", "user"}
    assert found.unsampled == ("late",)
    assert found.characters == found.sampled_characters > 0


def test_parquet_has_the_coverage_of_json_lines(config, odd_corpus, tmp_path):
    """Rows of either kind of file give the same counts."""
    rows = [json.loads(line) for line in odd_corpus.read_text().splitlines()][:30]
    (tmp_path / "lines").mkdir()
    lines = write_rows(tmp_path / "lines" / "a.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert settle_coverage(config, tmp_path / "a.parquet") == settle_coverage(config, lines)


def test_a_rare_role_is_counted_exactly(config, odd_corpus):
    """The manifest has every role in all rows, with the fields of the sample."""
    shards = config.shards.model_copy(update={"rows": 1_000})
    given = {"input": (str(odd_corpus),), "shards": shards}
    found = run_filter(config.model_copy(update=given)).coverage
    narrator = next(item for item in found.turns if item.role == "narrator")
    assert (narrator.rows, narrator.characters, narrator.unread) == (1, len(LONG), len(LONG))
    assert sum(item.rows for item in found.turns if item.role == "assistant") == 1_010
    assert [item.field_path for item in found.fields] == ["cot"]


def test_receipts_replace_the_turns_of_the_sample():
    """The counts of all shards are added up; fields stay those of the sample."""
    base = {"rows": 1, "outputs": (), "decisions": {}, "fired": {}, "ledger_root": ""}
    receipts = [
        Receipt(shard=name, **base, tokens=0, padded=0, texts=TextCounts(turns=(counts,)))
        for name, counts in (("a", turn("user", 5, 5)), ("b", turn("user", 7, 7)))
    ]
    found = complete_coverage(COVERAGE, receipts)
    assert found.characters == 12
    assert found.turns == (turn("user", 12, 12).model_copy(update={"rows": 2}),)
    assert (found.fields, found.languages) == (COVERAGE.fields, ())


def test_the_budget_counts_what_is_trained_on():
    """Turns and columns that the policy leaves out of training aren't counted."""
    check_unread(COVERAGE, None)
    check_unread(COVERAGE, 0.25)
    with pytest.raises(BudgetError, match=r"25\.0% of the text.*20\.0%: turns of narrator .* cot"):
        check_unread(COVERAGE, 0.2)
    check_unread(COVERAGE.model_copy(update={"untrained_columns": ("cot",)}), 0.2)
    with pytest.raises(BudgetError, match=r"40\.0%"):
        check_unread(COVERAGE.model_copy(update={"untrained_roles": ()}), 0.25)
    check_unread(Coverage(), 0)


def test_a_sample_over_the_budget_stops_the_run_before_any_work(config, odd_corpus, policy):
    """Nothing is written if the sample already shows that the budget doesn't hold."""
    given = {"input": (str(odd_corpus),), "policy": policy("unread_budget: 0.1")}
    with pytest.raises(BudgetError, match="cot"):
        settle(config.model_copy(update=given), ignore)


def test_a_run_over_the_budget_isnt_published(config, odd_corpus, policy, tmp_path):
    """A role that the sample doesn't have counts at the end, and the run is withdrawn."""
    text = "unread_budget: 0.0001\nuntrained_columns: [cot]"
    given = {"input": (str(odd_corpus),), "policy": policy(text)}
    with pytest.raises(BudgetError, match=r"turns of narrator \(0.1%, 1 row\)"):
        run_filter(config.model_copy(update=given))
    assert not list((tmp_path / "run").rglob("*.jsonl"))


def test_what_no_trait_looks_at_is_named():
    """Unread trained text is a warning; prompts and columns without values are mentioned."""
    notices = list(describe_sample(COVERAGE, "a sample"))
    assert [notice.severity for notice in notices] == ["warning", "info", "warning", "info"]
    trained, prompts, languages, unsampled = (notice.text for notice in notices)
    assert trained == (
        "no trait looks at 25.0% of the text that is trained on, in a sample: "
        "turns of narrator (12.5%, 1 row), cot (12.5%, 3 rows)"
    )
    assert prompts.endswith("in a sample: turns of user (20.0%, 1 row)")
    assert "2 in Greek script (the first: a.jsonl row 5)" in languages
    assert unsampled.endswith("no value in a sample: rare")


def test_a_whole_corpus_needs_no_words():
    """If all text is read and is English, there is no notice."""
    whole = Coverage(turns=(turn("assistant", 60, 0),), characters=60)
    assert list(describe_sample(whole, "a sample")) == []
    assert list(describe_coverage(whole)) == []


def test_the_end_of_a_run_names_the_exact_counts():
    """The notices of a run say which counts are those of all rows."""
    unread, languages = describe_coverage(COVERAGE)
    assert "in all rows (columns and fields: in 7 sampled rows): turns of narrator" in unread.text
    assert languages.text.startswith("rows that don't look like English, in all rows: 2 in Greek")


def test_long_lists_are_cut():
    """Only the largest are named, and the others are counted."""
    fields = [
        FieldCounts(field_path=f"f{number}", rows=1, characters=100 - number)
        for number in range(UNREAD_NAMED + 3)
    ]
    many = Coverage(fields=tuple(fields), unsampled=tuple(map(str, range(UNREAD_NAMED + 1))))
    unread, unsampled = (notice.text for notice in describe_sample(many, "a sample"))
    assert unread.endswith(" and 3 more")
    assert f"f{UNREAD_NAMED - 1} (" in unread
    assert unsampled.endswith(f"{UNREAD_NAMED - 1} …")
