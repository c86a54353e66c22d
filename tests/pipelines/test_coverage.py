"""A run's coverage: the sample, all rows, notices and the budget."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.coverage import (
    UNREAD_NAMED,
    check_unread,
    complete_coverage,
    describe_rest,
    describe_sample,
    needs_english,
)
from pipelines.filter import run_filter
from pipelines.plan import settle
from schemas.cards import TraitCard
from schemas.coverage import Coverage, FieldCounts, LanguageCounts, TextCounts, TurnCounts
from schemas.errors import BudgetError
from schemas.events import Noticed, ignore
from schemas.receipts import Receipt
from tests.support.corpora import build_conversation, write_rows

LONG = "It is known that the heron stands in the reeds."


def turn(role, characters, unread, channel="answer") -> TurnCounts:
    """Return one role's counts in one row."""
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
    """Write rows with an unread column, and a role that only the last row has."""
    rows = [build_conversation(number, LONG) | {"cot": LONG} for number in range(1_010)]
    rows[-1]["messages"].append({"role": "narrator", "content": LONG})
    rows[-1]["late"] = LONG
    return write_rows(tmp_path / "odd" / "a.jsonl", rows)


def settle_coverage(config: FilterConfig, path) -> Coverage:
    """Return a settled run's sampled coverage."""
    return settle(config.model_copy(update={"input": (str(path),)}), ignore).sampled


def test_a_sample_shows_fields_and_turns(config, odd_corpus):
    """A sample shows the unread columns, and the columns without values."""
    found = settle_coverage(config, odd_corpus)
    assert found.sampled_rows == 1_000
    assert [item.field_path for item in found.fields] == ["cot"]
    assert {item.role for item in found.turns} == {"assistant", "user"}
    assert found.unsampled == ("late",)
    assert found.characters == found.sampled_characters > 0


def test_parquet_has_the_coverage_of_json_lines(config, odd_corpus, tmp_path):
    """Parquet and JSON Lines give the same counts."""
    rows = [json.loads(line) for line in odd_corpus.read_text().splitlines()][:30]
    (tmp_path / "lines").mkdir()
    lines = write_rows(tmp_path / "lines" / "a.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert settle_coverage(config, tmp_path / "a.parquet") == settle_coverage(config, lines)


def test_a_rare_role_is_counted_exactly(config, odd_corpus):
    """The manifest counts roles in all rows, and unread fields in the sample."""
    shards = config.shards.model_copy(update={"rows": 1_000})
    given = {"input": (str(odd_corpus),), "shards": shards}
    found = run_filter(config.model_copy(update=given)).coverage
    narrator = next(item for item in found.turns if item.role == "narrator")
    assert (narrator.rows, narrator.characters, narrator.unread) == (1, len(LONG), len(LONG))
    assert sum(item.rows for item in found.turns if item.role == "assistant") == 1_010
    assert [item.field_path for item in found.fields] == ["cot"]


def test_receipts_replace_the_turns_of_the_sample():
    """Receipts give the turns, and the sample gives the fields."""
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
    """Untrained turns and columns don't count towards the budget."""
    check_unread(COVERAGE, None)
    check_unread(COVERAGE, 0.25)
    with pytest.raises(BudgetError, match=r"25\.0% of the text.*20\.0%: turns of narrator .* cot"):
        check_unread(COVERAGE, 0.2)
    check_unread(COVERAGE.model_copy(update={"untrained_columns": ("cot",)}), 0.2)
    with pytest.raises(BudgetError, match=r"40\.0%"):
        check_unread(COVERAGE.model_copy(update={"untrained_roles": ()}), 0.25)
    check_unread(Coverage(), 0)


def test_a_sample_over_the_budget_stops_the_run_before_any_work(config, odd_corpus, policy):
    """A sample over the budget stops the run before any work."""
    given = {"input": (str(odd_corpus),), "policy": policy("unread_budget: 0.1")}
    with pytest.raises(BudgetError, match="cot"):
        settle(config.model_copy(update=given), ignore)


def test_a_run_over_the_budget_isnt_published(config, odd_corpus, policy, tmp_path):
    """A run over the budget isn't published, even if the sample was within it."""
    text = "unread_budget: 0.0001\nuntrained_columns: [cot]"
    given = {"input": (str(odd_corpus),), "policy": policy(text)}
    with pytest.raises(BudgetError, match=r"turns of narrator \(0.1%, 1 row\)"):
        run_filter(config.model_copy(update=given))
    assert not list((tmp_path / "run").rglob("*.jsonl"))


def test_what_no_trait_looks_at_is_named():
    """Unread trained text gives a warning, and unread prompts a notice."""
    notices = list(describe_sample(COVERAGE, "a sample"))
    assert [notice.severity for notice in notices] == ["warning", "info", "warning", "info"]
    trained, prompts, languages, unsampled = (notice.text for notice in notices)
    assert trained == (
        "no trait looks at 25.0% of the text that is trained on, in a sample: "
        "turns of narrator (12.5%, 1 row), cot (12.5%, 3 rows)"
    )
    assert prompts.endswith("in a sample: turns of user (20.0%, 1 row)")
    assert languages.startswith(
        "rows that don't look like English, in a sample: 2 of 7 (28.6%), 2 in Greek script (the "
        "first: a.jsonl row 5); most of the library's"
    )
    assert unsampled.endswith("no value in a sample: rare")


def test_a_whole_corpus_needs_no_words():
    """A fully read English corpus gives no notice."""
    whole = Coverage(turns=(turn("assistant", 60, 0),), characters=60)
    assert list(describe_sample(whole, "a sample")) == []
    assert list(describe_rest(whole, whole, 7)) == []


AGENT = Coverage(
    turns=(turn("assistant", 50, 0), turn("assistant", 30, 30, "tool"), turn("narrator", 20, 20)),
    characters=100,
)


def test_tool_calls_are_no_warning():
    """Unread tool calls give a notice with a remedy."""
    warning, calls = describe_sample(AGENT, "a sample")
    assert warning.text == (
        "no trait looks at 20.0% of the text that is trained on, in a sample: "
        "turns of narrator (20.0%, 1 row)"
    )
    assert calls.severity == "info"
    assert calls.text.startswith(
        "tool calls are 30.0% of the text that is trained on, in a sample, and no trait of this run"
    )
    assert "scope.channels has `tool`" in calls.text
    assert "expected_unread names `tool`" in calls.text


@pytest.mark.parametrize("channel", ["answer", "tool"])
def test_a_part_that_scopes_leave_unread_is_no_warning(channel):
    """A card that reads only the closing of texts asks for it, so its rest is a notice."""
    turns = (turn("assistant", 30, 10, channel), turn("narrator", 10, 10))
    missed, rest = describe_sample(Coverage(turns=turns, characters=40), "a sample")
    assert missed.severity == "warning"
    assert "the rest of" not in missed.text
    assert rest.severity == "info"
    assert rest.text.startswith(
        "the traits read only the opening or the closing of some text, as their scopes say, and "
        "not 25.0% of the text that is trained on, in a sample: the rest of "
    )


def test_the_budget_leaves_out_what_is_expected():
    """Expected unread text doesn't count towards the budget."""
    with pytest.raises(BudgetError, match=r"50\.0% of the text.*tool calls.*narrator") as caught:
        check_unread(AGENT, 0.4)
    assert "expected_unread" in caught.value.remedy
    calm = AGENT.model_copy(update={"expected_unread": ("tool",)})
    check_unread(calm, 0.2)
    with pytest.raises(BudgetError, match=r"20\.0% of the text.*: turns of narrator \(20"):
        check_unread(calm, 0.1)
    warning, expected = describe_sample(calm, "a sample")
    assert "tool calls" not in warning.text
    assert expected.severity == "info"
    assert expected.text == (
        "no trait looks at this text, as the policy expects, in a sample: "
        "tool calls in turns of assistant (30.0%, 1 row)"
    )
    check_unread(AGENT.model_copy(update={"expected_unread": ("tool", "narrator")}), 0)
    check_unread(COVERAGE.model_copy(update={"expected_unread": ("cot", "narrator")}), 0)


def test_a_run_without_english_traits_hears_nothing_of_languages():
    """Traits of one's own, loops and switches of language don't depend on English text."""
    said = [item.text for item in describe_sample(COVERAGE, "a sample", wants_english=False)]
    assert not any("English" in text for text in said)
    thai = COVERAGE.languages[0].model_copy(update={"language": "Thai or Lao script"})
    later = COVERAGE.model_copy(update={"languages": (thai.model_copy(update={"rows": 6}),)})
    assert len(list(describe_rest(COVERAGE, later, 7))) == 1
    assert list(describe_rest(COVERAGE, later, 7, wants_english=False)) == []


@pytest.mark.parametrize(
    ("name", "signals", "expected"),
    [
        ("my-trait", ["repetition"], False),
        ("my-trait", {"lexicon": {"patterns": ["a"]}}, False),
        ("degenerate-loop", ["repetition"], False),
        ("language-switch", ["language"], False),
        ("over-refusal", {"lexicon": {"patterns": ["a"]}}, True),
        ("over-refusal", ["head", "wording"], True),
    ],
)
def test_only_the_librarys_wording_needs_english(name, signals, expected):
    """The library's exemplars and patterns are English; what others look for isn't known."""
    cards = [TraitCard.model_validate({"id": name, "signals": signals})]
    assert needs_english(cards) is expected
    assert needs_english([]) is False


def test_conversations_inside_messages_are_mentioned():
    """Transcripts inside messages are counted by role."""
    whole = Coverage(conversations={"": 1, "user": 2_000})
    (notice,) = describe_sample(whole, "a sample")
    assert notice.severity == "info"
    assert notice.text.startswith(
        "messages whose content holds a whole conversation, in a sample: 1 of no role, 2,000 of "
        "user; each is read in the message's own role"
    )


def test_the_end_of_a_run_says_only_what_the_sample_did_not():
    """Final notices report only new or grown turns, and languages whose share grew."""
    assert list(describe_rest(COVERAGE, COVERAGE, 7)) == []
    greek = COVERAGE.languages[0]
    thai = greek.model_copy(update={"language": "Thai or Lao script", "row": 9})
    later = COVERAGE.model_copy(
        update={
            "turns": (*COVERAGE.turns, turn("judge", 10, 10), turn("assistant", 1, 1, "tool")),
            "languages": (greek, thai),
        }
    )
    unread, calls = (notice.text for notice in describe_rest(COVERAGE, later, 14))
    assert "in all rows (the sample before the run didn't show it): turns of judge (" in unread
    assert "narrator" not in unread
    assert calls.startswith("tool calls are 1.1% of the text")
    grown = COVERAGE.model_copy(
        update={"turns": (turn("assistant", 60, 0), turn("narrator", 90, 90))}
    )
    (notice,) = describe_rest(COVERAGE, grown, 7)
    assert "turns of narrator (56.2%, 1 row)" in notice.text


@pytest.mark.parametrize(
    ("rows", "size", "is_said"),
    [(0, 10, False), (1, 2, False), (2, 200, True), (2, 201, False), (99, 10_000, False)],
)
def test_few_rows_in_other_languages_need_no_words(rows, size, is_said):
    """Rows in other languages are warned of from one in a hundred on, and a single one never."""
    greek = COVERAGE.languages[0].model_copy(update={"rows": rows})
    found = Coverage(languages=(greek,) if rows else (), sampled_rows=size)
    assert len(list(describe_sample(found, "a sample"))) == is_said
    assert len(list(describe_rest(Coverage(sampled_rows=9), found, size))) == is_said


@pytest.mark.parametrize(
    ("before", "after", "is_said"),
    [(5, 100, True), (50, 100, False), (20, 49, False), (20, 51, True), (50, 0, False)],
)
def test_languages_are_said_once(before, after, is_said):
    """After the sample's warning, another one needs more than twice its share, plus a margin.

    Five rows of a thousand give the sample no warning.
    """
    greek, thai = (COVERAGE.languages[0].model_copy(update={"language": name}) for name in "gt")
    sampled = Coverage(languages=(greek.model_copy(update={"rows": before}),), sampled_rows=1_000)
    whole = Coverage(languages=(greek, thai.model_copy(update={"rows": after - 2})) * (after > 0))
    said = [notice.text for notice in describe_rest(sampled, whole, 1_000)]
    assert len(said) == is_said
    assert all(f"{after} of 1,000 ({after / 10:.1f}%), 2 in g (the" in text for text in said)


class Listener(list):
    """A list of a run's notices."""

    def __call__(self, event):
        """Keep a notice."""
        if isinstance(event, Noticed):
            self.append(event.notice.text)


def test_a_run_says_everything_once(config, odd_corpus):
    """The unread column is named before the run, and the last row's role after it."""
    heard = Listener()
    run_filter(config.model_copy(update={"input": (str(odd_corpus),)}), listener=heard)
    about = [text for text in heard if "of the text that is trained on" in text]
    assert [("cot" in text, "narrator" in text) for text in about] == [(True, False), (False, True)]


def test_long_lists_are_cut():
    """A long list names the largest items and counts the rest."""
    fields = [
        FieldCounts(field_path=f"f{number}", rows=1, characters=100 - number)
        for number in range(UNREAD_NAMED + 3)
    ]
    many = Coverage(fields=tuple(fields), unsampled=tuple(map(str, range(UNREAD_NAMED + 1))))
    unread, unsampled = (notice.text for notice in describe_sample(many, "a sample"))
    assert unread.endswith(" and 3 more")
    assert f"f{UNREAD_NAMED - 1} (" in unread
    assert unsampled.endswith(f"{UNREAD_NAMED - 1} and 1 more")
