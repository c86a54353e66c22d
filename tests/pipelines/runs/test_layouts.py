"""The layout of a finished run, restored without its corpus."""

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.layouts import restore_layout
from pipelines.runs.manifest_file import load_manifest
from tests.support.corpora import ANSWERS, build_conversation, write_rows
from transforms.digest_keys import DigestKey


@pytest.fixture
def restore(heron, tmp_path):
    """Return a function that filters rows, and returns the restored layout."""

    def make(rows):
        path = write_rows(tmp_path / "corpus.jsonl", rows)
        run = str(tmp_path / "run")
        run_filter(FilterConfig(input=(str(path),), output=run, traits=(str(heron),)))
        return restore_layout(run, load_manifest(run))

    return make


def test_format_and_columns_are_those_of_the_run(restore):
    """A corpus of messages has one side and no labels."""
    layout = restore([build_conversation(number, ANSWERS[number]) for number in range(5)])
    assert (layout.format, layout.columns) == ("messages", {"messages": "messages"})
    assert (layout.sides, layout.labels, layout.lots) == ((), (), {})


def test_a_pair_has_a_rejected_side(restore):
    """The sides come from the columns of the scores."""
    rows = [{"prompt": f"Q{n}", "chosen": "A.", "rejected": "A heron."} for n in range(4)]
    layout = restore(rows)
    assert (layout.format, layout.sides, layout.labels) == ("preference", ("rejected",), ())


def test_labels_are_looked_for_where_an_answer_can_be_rejected(restore):
    """A row's false label makes its answer rejected again."""
    rows = [{"prompt": f"Q{n}", "completion": ANSWERS[n], "label": n % 2 == 0} for n in range(5)]
    layout = restore(rows)
    assert layout.sides == ("rejected",)
    assert "label" in layout.labels


def test_untrained_messages_have_a_side(restore):
    """A message with a weight of 0 is scored apart."""
    rows = [build_conversation(number, ANSWERS[number]) for number in range(5)]
    for row in rows:
        row["messages"][1]["weight"] = row["id"] != "row-1"
    assert restore(rows).sides == ("untrained",)


def test_a_run_without_rows_has_no_sides(no_rows, tmp_path):
    """There is no file of scores to look at."""
    assert restore_layout(str(tmp_path), no_rows).sides == ()


def test_the_key_is_passed_on(run):
    """Keyed digests are computed with the given key."""
    folder, manifest = run
    key = DigestKey("env:KEY", "0" * 16)
    assert restore_layout(str(folder), manifest, key).digest_key == key
