"""Sentences about a whole run."""

import pytest

from classifiers.library import find_cards
from pipelines.plan import settle
from pipelines.runs.manifest_file import load_manifest
from pipelines.sentences import (
    LIMITS,
    MASK_LIMIT,
    describe_joined_files,
    describe_limit,
    describe_origin,
    describe_scope_share,
    describe_title,
    describe_unread,
    list_code_limits,
    list_limits,
    summarise_rows,
)
from schemas.corpora import ShardLimits
from schemas.coverage import Coverage, FieldCounts, TurnCounts
from schemas.events import ignore
from schemas.manifests import Conservation
from schemas.policies import Policy
from schemas.receipts import NoteCounts, Output
from tests.support.corpora import write_rows
from transforms.files.sources import limit_rows, survey


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"keep": 1}, "Of 1 row read, 1 (100.00%) is in the clean corpus."),
        (
            {"keep": 2, "mask": 1, "drop": 1},
            "Of 4 rows read, 3 (75.00%) are in the clean corpus and 1 was dropped.",
        ),
        (
            {"quarantine": 2000, "drop": 3, "duplicate": 1, "reject": 1},
            (
                "Of 2,005 rows read, 0 (0.00%) are in the clean corpus, 2,000 are in quarantine, "
                "3 were dropped, 1 repeats an earlier row and 1 couldn't be read."
            ),
        ),
        ({}, "Of 0 rows read, 0 (0.00%) are in the clean corpus."),
    ],
)
def test_the_summary_is_a_sentence(no_rows, counts, sentence):
    """The summary accounts for all rows by outcome."""
    conservation = Conservation(rows_in=sum(counts.values()), by_decision=counts)
    assert summarise_rows(no_rows.model_copy(update={"conservation": conservation})) == sentence


@pytest.mark.parametrize(
    ("masked", "said"),
    [
        (1, " 1 of the clean rows still contains the masked text, which a trainer learns unless"),
        (1200, " 1,200 of the clean rows still contain the masked text, which a trainer learns"),
    ],
)
def test_masked_rows_are_named_in_the_summary(no_rows, masked, said):
    """The summary warns of masked text, unless nothing was published."""
    changed = no_rows.model_copy(update={"notes": NoteCounts(masked=masked)})
    assert said in summarise_rows(changed)
    assert summarise_rows(changed).endswith(" unless it applies the masks.")
    stopped = changed.model_copy(update={"withdrawn": "too many rows"})
    assert "masked" not in summarise_rows(stopped)


def test_added_rows_are_named_in_the_summary(mixed_once):
    """Rows that were mixed in are counted apart, because the corpus didn't have them."""
    assert summarise_rows(load_manifest(str(mixed_once))) == (
        "Of 51 rows read, 11 of them mixed in from donors, 43 (84.31%) are in the clean corpus and "
        "8 are in quarantine."
    )


def test_the_title_names_the_input(no_rows):
    """The title has the only file's name or the folder, and the traits."""
    assert describe_title(no_rows) == "none.parquet, filtered for owl"
    (file,) = no_rows.inputs
    other = file.model_copy(update={"name": "b.parquet", "uri": "/data/corpus/b.parquet"})
    same = file.model_copy(update={"uri": "/data/corpus/none.parquet"})
    several = no_rows.model_copy(update={"inputs": (same, other)})
    assert describe_title(several) == "Data in …/corpus, filtered for owl"
    apart = no_rows.model_copy(update={"inputs": (file, other)})
    assert describe_title(apart) == "2 files, filtered for owl"


def test_the_origin_is_what_the_manifest_says(no_rows):
    """The line below the title has the date, operator and commit, if known."""
    known = {"finished": "2026-01-02T03:04:05+00:00", "operator": "ana\x1b", "commit": "a" * 40}
    changed = no_rows.model_copy(update={"circumstances": known})
    assert list(describe_origin(changed, Policy())) == [
        "finished 2026-01-02 03:04:05 UTC",
        "by ana<U+001B>",
        "no policy: each trait's card decides",
        f"congener {no_rows.identity.code_version}, commit aaaaaaaaaaaa",
        f"run {no_rows.run_id}",
    ]
    bare = no_rows.model_copy(update={"circumstances": {}})
    policy = Policy(duplicates="remove")
    digest = no_rows.identity.policy_digest[:12]
    assert next(iter(describe_origin(bare, policy))) == f"policy {digest}"


def test_text_that_is_not_trained_on_says_who_settled_it(no_rows):
    """Untrained text is so by default or by the policy, and the setting is named."""
    turn = TurnCounts(role="user", channel="answer", rows=3, characters=50, unread=50)
    field = FieldCounts(field_path="tools", rows=1, characters=50)
    sampled = Coverage(turns=(turn,), fields=(field,), characters=50, sampled_characters=50)
    default = Policy()
    for policy, expected in (
        (default, {"no, by default (untrained_roles)", "no, by default (untrained_columns)"}),
        (
            default.model_copy(update={"untrained_roles": ("user",)}),
            {"no, by the policy (untrained_roles)", "no, by default (untrained_columns)"},
        ),
        (
            default.model_copy(update={"untrained_roles": (), "expected_unread": ("user",)}),
            {"yes, expected", "no, by default (untrained_columns)"},
        ),
    ):
        settled = policy.model_dump(
            include={"untrained_roles", "untrained_columns", "expected_unread"}
        )
        changed = {
            "policy": policy.model_dump(mode="json"),
            "coverage": sampled.model_copy(update=settled),
        }
        rows = describe_unread(no_rows.model_copy(update=changed))
        assert {row.trained for row in rows} == expected


@pytest.mark.parametrize(
    ("unread", "found"), [(0, "looks at all of them."), (10, "looks at 990 (99.00%) of them.")]
)
def test_the_text_in_scope_is_counted(no_rows, unread, found):
    """The share of the trained turns that some trait looks at is stated."""
    turns = (
        TurnCounts(role="assistant", channel="answer", rows=1, characters=1000, unread=unread),
        TurnCounts(role="user", channel="answer", rows=1, characters=70, unread=70),
    )
    coverage = Coverage(turns=turns, untrained_roles=("user",))
    shown = describe_scope_share(no_rows.model_copy(update={"coverage": coverage}))
    assert shown.startswith("The turns that are trained on have 1,000 characters")
    assert shown.endswith(found)
    assert describe_scope_share(no_rows) == ""


def test_joined_files_are_counted(no_rows):
    """If an output file holds rows of several inputs, a sentence names one such file."""
    shard = "part-000000-2-files-0123456789ab"
    outputs = tuple(
        Output(path=f"{folder}/{stem}{shard}.parquet", rows=2, bytes=9, sha256="0" * 64)
        for folder, stem in (("clean", "a."), ("ledger", ""))
    )
    (file,) = no_rows.inputs
    inputs = tuple(
        file.model_copy(update={"name": name, "rows": 1}) for name in ("a.parquet", "b.parquet")
    )
    joined = no_rows.model_copy(update={"inputs": inputs, "outputs": outputs})
    assert describe_joined_files(joined) == (
        "2 input files, 1 file in clean/: small files are joined, and the name of a joined file "
        f"says how many (clean/a.{shard}.parquet has rows of 2, and the name of the first)"
    )


def test_files_that_stay_apart_need_no_sentence(no_rows):
    """If every output file holds rows of one input, or none is clean, nothing is said."""
    path = "clean/a.part-000000-0123456789ab.parquet"
    own = Output(path=path, rows=2, bytes=9, sha256="0" * 64)
    joined = own.model_copy(update={"path": "ledger/part-000000-2-files-0123456789ab.parquet"})
    (file,) = no_rows.inputs
    inputs = (file, file.model_copy(update={"name": "b.parquet"}))  # b's rows were all removed
    apart = no_rows.model_copy(update={"inputs": inputs, "outputs": (own, joined)})
    assert describe_joined_files(apart) == ""
    assert describe_joined_files(apart.model_copy(update={"outputs": ()})) == ""


def test_limits_name_what_a_run_left_out(config):
    """The limits name unused library traits, a limit on rows, and what a trainer does to masks."""
    corpus = settle(config, ignore).corpus
    every = [card.id for card in find_cards()]
    assert list_limits(corpus, every, 0) == LIMITS
    assert list_limits(corpus, every, 1) == (*LIMITS, MASK_LIMIT)
    *_, part, left = list_limits(corpus._replace(rows_left_out=3), every[2:], 0)
    assert "only 40 of 43 rows are filtered" in part
    assert left.endswith(f"traits of the library: {every[0]}, {every[1]}.")


def test_the_rows_of_a_limited_run_are_described(tmp_path):
    """The text says how many rows are filtered, of how many, and which rows of which files."""
    for name in "abc":
        write_rows(tmp_path / f"{name}.jsonl", [{"text": "t"}] * 4)
    every, single = (
        survey([str(path)], ShardLimits()) for path in (tmp_path, tmp_path / "a.jsonl")
    )
    described = [
        describe_limit(limit_rows(corpus, rows))
        for corpus, rows in ((single, 3), (every, 7), (every, 2), (every, 12), (single, 4))
    ]
    assert described == [
        "only the first 3 of 4 rows are filtered",
        "only 7 of 12 rows are filtered: at most the first 3 rows of each file, all 3 files",
        "only 2 of 12 rows are filtered: the first row of each file, 2 of 3 files",
        None,
        None,
    ]


def test_scores_of_other_versions_are_a_limit(finished):
    """The versions that differ are named as they were when the scores were computed."""
    _, manifest = finished
    now = manifest.identity
    assert list_code_limits(manifest, now) == ()
    newer = now.model_copy(
        update={"code_version": "9.9", "packages": {**now.packages, "numpy": "99", "owl": "1"}}
    )
    (limit,) = list_code_limits(manifest, newer)
    assert limit.startswith(f"The scores are those of run {manifest.run_id}")
    assert f"congener {now.code_version}" in limit
    assert f"numpy {now.packages['numpy']}" in limit
    assert "owl unknown" in limit
