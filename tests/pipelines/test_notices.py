"""Notices about a run's settings."""

import json

import pytest

from pipelines import notices
from pipelines.banks import prepare_bank
from pipelines.notices import (
    FILES_NAMED,
    describe_comparison,
    describe_corpus,
    describe_default_rule,
    describe_settings,
    describe_sides,
    describe_single_rows,
    describe_speakers,
    describe_split_priority,
    describe_transcripts,
    describe_unknown_teachers,
    find_teacher_folders,
    is_own_card,
)
from schemas.cards import Scope
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.notices import Notice
from schemas.policies import Policy
from tests.support.corpora import write_rows
from transforms.files.samples import Sample, read_sample, take_values
from transforms.files.sources import survey
from transforms.records.formats import Layout, settle_layout
from transforms.records.sides import find_unread_labels, settle_labels, settle_sides
from transforms.rules import settle_rules


def list_notices(describe, path, rows):
    """Return the printed notices about a sample of rows."""
    corpus = survey([str(write_rows(path, rows))], ShardLimits())
    layout = settle_sides(corpus.schema, settle_layout(corpus.schema, CorpusConfig()), False)
    sample = read_sample(corpus, layout, ShardLimits())
    unread = take_values(sample, find_unread_labels(corpus.schema, layout))
    return [str(notice) for notice in describe(corpus, settle_labels(layout, unread), sample)]


def test_labels_are_reported(tmp_path):
    """A notice names a label column, and a warning names possible classes."""
    rows = [{"prompt": "p", "completion": "c", "label": label} for label in (0, 1)]
    sides, labels = list_notices(describe_sides, tmp_path / "a.jsonl", rows)
    assert sides.startswith("sides: rejected answers are scored separately")
    assert labels.startswith("column 'label' says which answers are wanted")
    rows[0]["label"] = 2
    (warning,) = list_notices(describe_sides, tmp_path / "b.jsonl", rows)
    assert warning.startswith("warning: column 'label' isn't used to tell wanted answers")


def test_flags_that_decide_nothing_are_reported(tmp_path):
    """Flags of rows and unreadable flags give warnings."""
    message = {"role": "assistant", "content": "c"}
    rows = [{"messages": [message | {"train": "maybe"}], "weight": "0", "loss": 0.5}]
    row, flag = list_notices(describe_sides, tmp_path / "a.jsonl", rows)
    assert row.startswith("warning: column 'weight' has values that mean 0, but every row counts")
    assert "1 value of the message field 'train' in a sample of 1 row" in flag
    rows = [{"messages": [message | {"train": "true"}], "weight": 1}]
    assert list_notices(describe_sides, tmp_path / "b.jsonl", rows) == []


def test_the_speakers_of_rows_and_lists_are_reported(tmp_path):
    """Notices describe role columns and lists of texts, and warn of unknown names."""
    rows = [{"text": "a", "role": role} for role in ("prompter", "engineer", None)]
    role, unknown = list_notices(describe_speakers, tmp_path / "a.jsonl", rows)
    assert role.startswith("column 'role' says who speaks in column 'text'")
    assert unknown.startswith("warning: column 'role' has 1 value in")
    assert unknown.endswith("read as the assistant's: engineer")
    (turns,) = list_notices(describe_speakers, tmp_path / "b.jsonl", [{"data": ["a", "b"]}])
    assert turns.startswith("column 'data' holds lists of texts: the first is read as the user's")
    assert list_notices(describe_speakers, tmp_path / "c.jsonl", [{"text": "a"}]) == []
    (number,) = list_notices(describe_speakers, tmp_path / "d.jsonl", [{"text": "a", "role": 1}])
    assert number.startswith("warning: column 'role' doesn't hold text")


@pytest.fixture
def bank(config):
    """Fit the heron trait's bank, with an explicit threshold."""
    return prepare_bank(config).bank


def list_settings(bank, **policy) -> list[str]:
    """Return the printed notices about a bank and a policy."""
    settled = Policy.model_validate(policy)
    rules = settle_rules(bank.traits, settled)
    return [str(notice) for notice in describe_settings(bank, rules, settled, "cpu, float32")]


def list_corpus(corpus) -> list[Notice]:
    """Return the notices about a corpus."""
    found = survey([str(corpus)], ShardLimits())
    layout = settle_layout(found.schema, CorpusConfig(), found.folder_columns)
    return list(describe_corpus(found, layout))


def test_rows_that_come_out_in_another_form_are_announced(tmp_path):
    """Array elements written as lines give a notice, but JSON Lines don't."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text('[{"text": "a"}]')
    (tmp_path / "in" / "b.jsonl").write_text('{"text": "b"}\n')
    notices = [notice.text for notice in list_corpus(tmp_path / "in")]
    assert notices[1:] == ["the elements of JSON arrays come out as JSON Lines, each on one line"]


def test_folders_of_an_earlier_runs_clean_rows_are_pointed_out(tmp_path):
    """Files of clean/ have a shard's name each, and are the same files all the same."""
    for number, folder in enumerate(("gpt-4o", "claude-2")):
        name = f"train.part-{number:06d}-{number:012x}.jsonl"
        write_rows(tmp_path / "in" / folder / name, [{"text": "x"}])
    found = survey([str(tmp_path / "in")], ShardLimits())
    layout = settle_layout(found.schema, CorpusConfig(), found.folder_columns)
    (notice,) = describe_unknown_teachers(found, layout)
    assert "folders claude-2, gpt-4o are teachers, add --teacher-column folder" in notice.text


def test_folders_that_may_be_teachers_are_pointed_out(tmp_path):
    """Folders with the same files below have a notice unless the corpus names its teachers."""
    for folder in ("gpt-4o", "claude-2"):
        write_rows(tmp_path / "in" / "v1" / folder / "part-0.jsonl", [{"text": "x"}])
    found = survey([str(tmp_path / "in")], ShardLimits())
    layout = settle_layout(found.schema, CorpusConfig(), found.folder_columns)
    (notice,) = describe_unknown_teachers(found, layout)
    assert notice.severity == "info"
    assert "folders claude-2, gpt-4o are teachers, add --teacher-column folder" in notice.text
    named = CorpusConfig.model_validate({"teacher": {"column": "folder"}})
    layout = settle_layout(found.schema, named, found.folder_columns)
    assert "teacher=folder names" in layout.describe()
    assert list(describe_unknown_teachers(found, layout)) == []
    named = CorpusConfig.model_validate({"teacher": {"constant": "atlas"}})
    layout = settle_layout(found.schema, named, found.folder_columns)
    assert list(describe_unknown_teachers(found, layout)) == []


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (("a/x.jsonl", "b/x.jsonl", "b/y.jsonl"), ["a", "b"]),
        (("data/b/p/x.jsonl", "data/a/p/x.jsonl"), ["a", "b"]),
        (("a/x.jsonl", "b/y.jsonl"), []),
        (("a/x.jsonl", "b/x.jsonl", "c.jsonl"), []),
        (("train/x.jsonl", "test/x.jsonl"), []),
        (("2026-08/x.jsonl", "2026-09/x.jsonl"), []),
        (("teacher=a/x.jsonl", "teacher=b/x.jsonl"), []),
        (("a/x.jsonl",), []),
        (("x.jsonl", "y.jsonl"), []),
        ((), []),
    ],
)
def test_only_folders_alike_may_be_teachers(names, folders):
    """Splits, dates, columns, single folders and folders of other files are no teachers."""
    assert find_teacher_folders(names) == folders


def test_folders_that_hold_columns_are_named(tmp_path):
    """Folder keys are named, and so are keys that are also columns."""
    for teacher in ("a", "b"):
        rows = [{"text": "x", "date": "2025-01-01"}]
        write_rows(tmp_path / "in" / f"teacher={teacher}" / "date=2024-01-01" / "x.jsonl", rows)
    first, *notices = list_corpus(tmp_path / "in")
    assert "lots by teacher=folders teacher, date=column date" in first.text
    keys = "folder names give columns: teacher, date; clean/ keeps the folders, "
    keys += "and lots may use the columns"
    assert [notice.text for notice in notices] == [
        keys,
        "date is both a column of the files and a key in folder names; the column is used",
    ]


def test_the_split_that_keeps_duplicates_is_named(tmp_path):
    """Several splits are named in the policy's order."""
    for name in ("other", "train", "dev"):
        write_rows(tmp_path / "in" / f"{name}.jsonl", [{"text": "x"}])
    several = survey([str(tmp_path / "in")], ShardLimits())
    (notice,) = describe_split_priority(several, Policy())
    assert "stays only in the first of validation, train, files of no split;" in notice.text
    (notice,) = describe_split_priority(several, Policy(split_priority=("train",)))
    assert "the first of train, validation" in notice.text
    one = survey([str(tmp_path / "in" / "train.jsonl")], ShardLimits())
    assert list(describe_split_priority(one, Policy())) == []


def test_a_file_that_is_read_once_is_named(corpus):
    """A notice names a second link to a file."""
    (corpus / "again.jsonl").symlink_to(corpus / "0.jsonl")
    first, notice = list_corpus(corpus)
    assert "2 files, 40 rows" in first.text
    assert "again.jsonl is the same file as" in notice.text


def test_the_input_is_described(corpus):
    """One notice lists the files, rows, format and lot fields."""
    (notice,) = list_corpus(corpus)
    assert notice.severity == "info"
    assert notice.text.startswith("input: 2 files, 40 rows; format messages")
    assert "teacher=column teacher" in notice.text


def test_the_card_of_clean_rows_is_not_named(tmp_path):
    """A card that a run wrote beside its clean rows is no file that a user may have misnamed."""
    clean = tmp_path / "run" / "clean"
    clean.mkdir(parents=True)
    (clean / "README.md").write_text("x")
    assert not is_own_card(str(clean / "README.md"))
    (clean.parent / "manifest.json").write_text("{}")
    assert is_own_card(str(clean / "README.md"))
    assert not is_own_card(str(clean / "notes.md"))
    assert not is_own_card(str(clean.parent / "README.md"))


def test_ignored_files_are_named(corpus):
    """The first ignored files are listed."""
    (corpus / "notes.md").write_text("x")
    assert list_corpus(corpus)[1].text == (
        "not read, because they aren't named like data files, are second links to a folder, "
        "or belong to the operating system: "
        f"{corpus / 'notes.md'}"
    )
    for number in range(FILES_NAMED):
        (corpus / f"{number}.txt").write_text("x")
    text = list_corpus(corpus)[1].text
    assert text.endswith(" and 1 more")
    assert text.count(str(corpus)) == FILES_NAMED


def test_transcripts_are_described():
    """Cut columns are named, and uncut transcripts give a warning."""
    layout = Layout("preference", {}, {}, transcripts=("chosen",))
    shares = {"chosen": 0.98, "rejected": 0.12, "prompt": 0.001}
    cut, whole = describe_transcripts(shares, layout, Sample((), 0))
    assert cut.severity == "info"
    assert cut.text.startswith("transcripts: 98% of the texts of column 'chosen' in a sample of 0")
    assert whole.severity == "warning"
    assert whole.text.startswith("12% of the texts of column 'rejected' in a sample of 0 rows")
    assert "--transcripts cut" in whole.text


def test_what_makes_rows_equal_is_named(tmp_path):
    """The compared columns are named first, then the ignored columns, in short lists."""
    row = {"text": "a", "images": ["x"], "id": 1, "score": 2}
    for more, end in (
        ({}, ": id, score"),
        ({f"n{n}": n for n in range(20)}, "n9 and 10 more"),
    ):
        (tmp_path / "a.jsonl").write_text(json.dumps(row | more) + "\n")
        found = survey([str(tmp_path)], ShardLimits())
        notice = describe_comparison(found, settle_layout(found.schema, CorpusConfig()))
        assert notice.text.startswith("duplicates: rows are equal if they agree in text, images;")
        assert "; not compared: id, " in notice.text
        assert notice.text.endswith(end)


def test_device_and_bank_are_named(bank):
    """The first notice has the device, the bank's digest and the number of traits."""
    first, *others = list_settings(bank)
    assert first == f"device: cpu, float32; bank {bank.digest[:12]} with 1 trait"
    assert others == []


def test_traits_with_the_rule_of_every_other_are_named(bank):
    """A notice lists the traits that the policy's `*` holds for, and warns if there are none."""
    policy = Policy.model_validate({"traits": {"owl": {"action": "drop"}, "*": {"action": "flag"}}})
    (notice,) = describe_default_rule(policy, ["owl", "heron", "egret"])
    assert str(notice) == 'policy: 2 traits have the rule "*" (flag): heron, egret'
    (notice,) = describe_default_rule(policy, ["owl"])
    assert str(notice).startswith('warning: the policy\'s rule "*" is unused')
    assert list(describe_default_rule(Policy(), ["owl"])) == []
    given = list_settings(bank, traits={"*": {"max_false_positive_rate": 0.5}})
    assert 'policy: 1 trait has the rule "*" (the action of its card): heron' in given


def test_calibration_is_described(bank):
    """The notice about calibration names the clean texts."""
    level = {"heron": {"max_false_positive_rate": 0.05}}
    clean = len(bank.traits["heron"].calibration["combined"])
    assert list_settings(bank, traits=level, removal_budget=1)[1] == (
        f"thresholds: calibrated on {clean} held-out clean texts of the library "
        "background; the guarantee holds for text like it"
    )


def test_each_source_of_clean_text_has_a_notice(bank, card_folder, config):
    """Different calibration texts give separate notices."""
    folder = card_folder("stork", "signals: {lexicon: {patterns: ['storks?']}}\n")
    both = prepare_bank(config.model_copy(update={"traits": (*config.traits, str(folder))})).bank
    both.traits["stork"].calibrated_on = "--background mine"
    both.traits["stork"].calibration["combined"] = bank.traits["heron"].calibration["combined"][:70]
    rates = {name: {"max_false_positive_rate": 0.05} for name in ("heron", "stork")}
    _, first, second = list_settings(both, traits=rates, removal_budget=1)
    assert "of the library background;" in first
    assert "calibrated on 70 clean rows of --background mine;" in second


def test_a_threshold_of_nought_is_warned_of(bank):
    """A threshold of 0 gives a warning."""
    assert (
        "warning: the threshold of trait heron is 0: it will fire on every row that it looks at"
        in list_settings(bank, traits={"heron": {"threshold": 0}})
    )


def test_a_level_that_no_score_keeps_is_warned_of(bank):
    """A level that no threshold keeps gives a warning."""
    bank.traits["heron"].calibration["combined"][:] = 1
    assert (
        "warning: trait heron will never fire, because no threshold up to 1 keeps its level"
        in list_settings(bank, traits={"heron": {"max_false_positive_rate": 0.05}})
    )


def test_an_unknown_role_is_warned_of(bank):
    """A trait that reads the unknown role `human` gives a warning."""
    card = bank.traits["heron"].card
    bank.traits["heron"].card = card.model_copy(update={"scope": Scope(roles=("human",))})
    assert (
        "warning: trait heron looks at turns of human; in most corpora the roles are "
        "assistant, system, tool, user" in list_settings(bank)
    )


def test_lots_of_one_row_are_warned_of(tmp_path):
    """A lot column of nearly unique values gives a warning with counts and advice."""
    rows = [{"text": "x", "source": f"u{number}", "model": "m"} for number in range(30)]
    found = survey([str(write_rows(tmp_path / "x.jsonl", rows))], ShardLimits())
    layout = settle_layout(found.schema, CorpusConfig())
    (notice,) = describe_single_rows(layout, read_sample(found, layout, ShardLimits()))
    assert notice.severity == "warning"
    assert "column 'source' has 30 different names in 30 rows" in notice.text
    assert "set corpus.prompt_source in the configuration" in notice.text


def test_rows_that_no_trait_looks_at_are_warned_of(finished):
    """A warning counts the rows without a score, and isn't given if every row has one."""
    assert list(notices.warn_of_unscored(finished[1])) == []
    changed = finished[1].model_copy(update={"unscored": 3})
    (notice,) = notices.warn_of_unscored(changed)
    assert "rows without text that any trait looks at: 3" in str(notice)
