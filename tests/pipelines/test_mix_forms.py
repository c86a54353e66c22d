"""Forms: which columns added rows have, and donors whose rows don't fit."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.mix import run_mix
from pipelines.mix_forms import describe_form
from pipelines.runs.layouts import restore_layout
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import InputError
from tests.support.corpora import build_conversation, write_rows


def read_form(run):
    """Return the form of a run's clean rows."""
    manifest = load_manifest(str(run))
    return describe_form(str(run), manifest, restore_layout(str(run), manifest))


def filter_rows(folder, rows, held, **changes):
    """Filter rows with the trait of the held run, and return the run."""
    path = write_rows(folder / "corpus.jsonl", rows)
    run = folder / "run"
    given = {"input": (str(path),), "output": str(run), "traits": (str(held / "heron"),)}
    run_filter(FilterConfig.model_validate({**given, **changes}))
    return run


def test_json_lines_have_keys_with_the_kinds_of_their_values(held, tmp_path):
    """The keys are those of the first file, and null has no kind."""
    rows = [
        {**build_conversation(1, "Clean."), "n": 1},
        {**build_conversation(2, "Yes."), "m": None},
    ]
    form = read_form(filter_rows(tmp_path, rows, held))
    assert form.schema is None
    assert form.keys == {
        "id": {"text"},
        "messages": {"a list"},
        "teacher": {"text"},
        "n": {"a number"},
        "m": frozenset(),
    }


def test_a_field_of_an_earlier_note_is_no_key(mixed, held):
    """The field `congener` isn't a part of the corpus."""
    assert "congener" not in read_form(mixed).keys
    assert "congener" not in read_form(held / "run").keys


def test_notes_depend_on_what_the_policy_can_do(held, policy, tmp_path, swapped_once):
    """Only in a run that can flag or mask, or after a swap, do changed rows have notes."""
    rows = [build_conversation(1, "Clean.")]
    flagged = filter_rows(
        tmp_path / "b", rows, held, policy=policy("traits: {heron: {action: flag}}")
    )
    assert read_form(flagged).noted
    assert not read_form(filter_rows(tmp_path / "a", rows, held)).noted
    assert read_form(swapped_once).noted


def test_parquet_has_a_schema_without_notes(held, policy, tmp_path):
    """The column `congener` isn't a part of the corpus's schema."""
    rows = [build_conversation(1, "Clean.")]
    run = filter_rows(
        tmp_path,
        rows,
        held,
        output_format="parquet",
        policy=policy("traits: {heron: {action: flag}}"),
    )
    form = read_form(run)
    assert form.keys is None
    assert form.schema.names == ["id", "messages", "teacher"]


def test_a_run_without_clean_rows_has_no_keys(held, tmp_path):
    """There is no file to look at, and nothing is compared."""
    run = filter_rows(tmp_path, [build_conversation(1, "A heron.")], held)
    form = read_form(run)
    assert (form.schema, form.keys) == (None, {})


def write_donor_of(folder, rows):
    """Write a donor of these rows."""
    return str(write_rows(folder / "donor.jsonl", rows))


PLAIN = {"prompt": "What is a crane?", "completion": "A bird."}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (PLAIN, "is in the format completion, and the run in messages"),
        ({"text": "A text."}, "is in the format text, and the run in messages"),
        (
            {"dialogue": build_conversation(1, "Clean.")["messages"]},
            "has its text in other columns than the run (dialogue instead of messages)",
        ),
        ({**build_conversation(1, "Clean."), "id": 5}, "'id' is a number, and text in the run"),
        (
            {**build_conversation(1, "Clean."), "id": {"n": 5}},
            "'id' is an object, and text in the run",
        ),
    ],
)
def test_rows_of_another_form_are_refused(mix_config, tmp_path, row, problem):
    """The error names the donor, what differs, and what to do; nothing is written."""
    donor = write_donor_of(tmp_path, [row] * 3)
    with pytest.raises(InputError) as caught:
        run_mix(mix_config(donors=(donor,)))
    assert problem in str(caught.value)
    assert "donor donor" in str(caught.value)
    assert "so its rows can't be added" in caught.value.problem
    assert caught.value.remedy
    assert not (tmp_path / "mixed" / "clean").exists()


def test_a_type_that_doesnt_fit_the_runs_table_is_refused(held, mix_config, tmp_path):
    """A text can't be written to a column of numbers."""
    table = pa.Table.from_pylist([{**build_conversation(1, "Clean."), "n": 5}])
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    run = tmp_path / "numbers"
    run_filter(
        FilterConfig(input=(str(tmp_path / "in"),), output=str(run), traits=(str(held / "heron"),))
    )
    donor = write_donor_of(tmp_path, [{**build_conversation(2, "Clean too."), "n": "five"}])
    with pytest.raises(InputError, match="column 'n' is string, and int64 in the run"):
        run_mix(mix_config(run=str(run), donors=(donor,)))


@pytest.mark.parametrize("decision", ["flag", "mask"])
def test_rows_that_an_earlier_run_marked_are_refused(mix_config, tmp_path, decision):
    """A row that was flagged or masked isn't clean, even if no trait of this run fires on it."""
    span = {"field_path": "messages[1].content", "start": 0, "end": 5}
    note = {"decision": decision, "weight": 1.0, "masks": [span] if decision == "mask" else []}
    rows = [
        {**build_conversation(number, f"Clean {number}."), "congener": note} for number in (90, 91)
    ]
    donor = write_donor_of(tmp_path, rows)
    with pytest.raises(InputError, match="an earlier run masked or flagged"):
        run_mix(mix_config(donors=(donor,)))


def test_rows_that_an_earlier_run_kept_lose_their_notes(mix_config, tmp_path):
    """A note of a kept row says nothing, and isn't copied into a run without notes."""
    note = {"decision": "keep", "weight": 1.0, "masks": []}
    rows = [
        {**build_conversation(number, f"Clean {number}."), "congener": note}
        for number in range(90, 110)
    ]
    run_mix(mix_config(donors=(write_donor_of(tmp_path, rows),)))
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "mixed" / "clean").iterdir())
        for line in path.read_bytes().splitlines()
    ]
    assert len(lines) == 43
    assert all("congener" not in line for line in lines)


def test_a_donor_without_clean_rows_is_named(held, mix_config, tmp_path):
    """Other donors are still used."""
    bad = write_rows(tmp_path / "bad.jsonl", [build_conversation(1, "A heron.")])
    said = []
    config = mix_config(donors=(str(bad), str(held / "elm.jsonl")))
    run_mix(config, listener=lambda event: said.append(getattr(event, "notice", None)))
    assert any(item is not None and item.text == "donor bad has no clean row" for item in said)
