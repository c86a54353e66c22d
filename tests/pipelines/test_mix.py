"""A mix from end to end: a new run, its added rows, resuming, and errors."""

import json
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import pipelines.mix as module
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.mix import MixConfig, run_mix, survey_run
from pipelines.runs.manifest_file import load_manifest
from pipelines.successors import list_shards
from pipelines.swap import run_swap
from pipelines.verify import verify_run
from schemas.errors import CardError, InputError, RunError
from schemas.events import Noticed
from schemas.manifests import Manifest
from schemas.mixes import compute_ratio
from tests.support.corpora import ANSWERS, build_conversation, write_rows
from tests.support.runs import comparable_files, read_files, read_ledger, read_lines
from transforms import mix_shards
from transforms.files import storage

FOLDERS = ("clean", "quarantine", "ledger", "scores", "spans", "swaplist")


def hear(config: MixConfig, **options: object) -> tuple[Manifest, list[str]]:
    """Mix, and return the manifest and what was said."""
    said: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Noticed):
            said.append(event.notice.text)

    return run_mix(config, listener=listen, **options), said


def read_rows(run: Path) -> list[dict]:
    """Return the clean rows of a run, in order."""
    return [json.loads(line) for line in read_lines(run, "clean")]


def list_added(run: Path) -> list[dict]:
    """Return the ledger rows of added rows."""
    return [row for row in read_ledger(run) if row["mix"] is not None]


def test_a_share_of_the_rows_of_every_lot_is_added(mixed):
    """Every lot has a third of its own rows more, up to one row, and the counts add up."""
    manifest = load_manifest(str(mixed))
    counts = manifest.mix.counts
    assert [(lot.teacher, lot.rows) for lot in counts.lots] == [("atlas", 16), ("borealis", 16)]
    assert all(abs(lot.added - lot.rows / 3) < 1 for lot in counts.lots)
    assert counts.added == counts.wanted == 11
    assert manifest.conservation.by_decision == {"keep": 32, "mix": 11, "quarantine": 8}
    assert manifest.conservation.rows_in == 51
    assert manifest.conservation.holds()
    assert counts.by_donor == {"elm": 11}
    lots = Counter(json.loads(row["mix_lot"])[0] for row in list_added(mixed))
    assert lots == {lot.teacher: lot.added for lot in counts.lots}


def test_no_row_of_the_run_is_lost_or_altered(mixed, held):
    """The rows of every file come first as they were, and files without new rows are equal."""
    for folder in ("clean", "quarantine"):
        for path in sorted((held / "run" / folder).iterdir()):
            old, new = path.read_bytes(), (mixed / folder / path.name).read_bytes()
            assert new.startswith(old)
            assert new == old or folder == "clean"
    old, new = read_ledger(held / "run"), read_ledger(mixed)
    own = [row for row in new if row["mix"] is None]
    for row in own:
        assert (row.pop("mix"), row.pop("mix_lot")) == (None, None)
    assert own == old
    for folder in ("scores", "spans"):
        keys = {row["source"] for row in own}
        for path in sorted((held / "run" / folder).iterdir()):
            table = pq.read_table(mixed / folder / path.name)
            kept = [name in keys for name in table.column("source").to_pylist()]
            assert table.filter(pa.array(kept)).equals(pq.read_table(path))


def test_added_rows_are_clean_rows_of_the_donor(mixed, held):
    """Each is a whole row of the donor without a finding, at the place that the ledger names."""
    donor = {}
    for row in read_ledger(mixed / "donors" / "elm"):
        donor[row["source"], row["row"]] = row
    rows = {row["id"]: row for row in read_rows(mixed)}
    lines = [json.loads(line) for line in (held / "elm.jsonl").read_text().splitlines()]
    for added in list_added(mixed):
        origin = donor[added["source"].removeprefix("donors/elm/"), added["row"]]
        assert (origin["decision"], origin["reasons"]) == ("keep", [])
        assert added["record_id"] == origin["record_id"]
        assert added["content_digest"] == origin["content_digest"]
        assert (added["decision"], added["mix"], added["teacher"]) == ("mix", "elm", "elm")
        line = lines[added["row"]]
        assert rows[line["id"]] == line
    assert not any("heron" in row["messages"][-1]["content"] for row in rows.values())


def test_the_ledger_names_the_place_of_every_added_row(mixed):
    """Clean rows are numbered in their file, and added rows follow the file's own."""
    for path in sorted((mixed / "clean").iterdir()):
        name = f"clean/{path.name}"
        rows = [row for row in read_ledger(mixed) if row["output"] == name]
        assert [row["output_row"] for row in rows] == list(range(len(rows)))
        assert len(path.read_bytes().splitlines()) == len(rows)
        is_added = [row["mix"] is not None for row in rows]
        assert is_added == sorted(is_added)


def test_the_new_run_is_whole(mixed, held):
    """`verify` finds no difference, also with the inputs, in both runs."""
    assert verify_run(str(mixed)) == []
    assert verify_run(str(mixed), inputs=True) == []
    assert verify_run(str(held / "run")) == []
    assert not (mixed / ".work").exists()


def test_the_manifest_names_the_parents(mixed, held):
    """The parents are the run and the donor, and the settings are in the config."""
    manifest, parent = load_manifest(str(mixed)), load_manifest(str(held / "run"))
    donor = load_manifest(str(mixed / "donors" / "elm"))
    assert manifest.parents == (parent.run_id, donor.run_id)
    assert (manifest.mix.parent, manifest.mix.parent_root) == (parent.run_id, parent.ledger_root)
    assert (manifest.mix.share, manifest.mix.seed) == (0.25, 0)
    assert [(item.name, item.rows, item.usable) for item in manifest.mix.donors] == [
        ("elm", 30, 29)
    ]
    assert manifest.config["mix"]["share"] == 0.25
    assert manifest.inputs == parent.inputs
    assert manifest.ledger_root != parent.ledger_root


def test_every_table_has_one_schema(mixed):
    """Readers that take a folder of Parquet as one table can do so after a mix."""
    for folder in ("ledger", "scores", "spans"):
        assert pl.read_parquet(mixed / folder / "*.parquet").height == 51


def test_another_seed_draws_other_rows(mix_config, mixed, tmp_path):
    """The seed decides which rows are drawn, and the same seed draws the same."""
    run_mix(mix_config(output="one", seed=1))
    one = {row["record_id"] for row in list_added(tmp_path / "one")}
    zero = {row["record_id"] for row in list_added(mixed)}
    assert one != zero
    assert len(one) == len(zero) == 11


def test_the_order_of_donors_and_of_their_files_changes_no_row(held, mix_config, tmp_path):
    """Rows are drawn by their contents, whatever file they come from."""
    lines = (held / "elm.jsonl").read_text().splitlines(keepends=True)
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "a.jsonl").write_text("".join(lines[20:]))
    (parts / "b.jsonl").write_text("".join(lines[:20]))
    run_mix(mix_config(donors=(f"elm={parts}",), output="parts-run"))
    run_mix(mix_config(output="whole-run"))
    one, other = (
        {row["record_id"] for row in list_added(tmp_path / name)}
        for name in ("parts-run", "whole-run")
    )
    assert one == other


def test_rows_that_the_run_has_are_not_added(held, mix_config, tmp_path):
    """A donor of the run's own rows gives nothing, and of others only the others."""
    with pytest.raises(InputError, match="the run has the same rows \\(32\\)"):
        run_mix(mix_config(donors=(str(held / "corpus"),)))
    both = tmp_path / "both.jsonl"
    own = "".join(path.read_text() for path in sorted((held / "corpus").iterdir()))
    both.write_text(own + (held / "elm.jsonl").read_text())
    manifest, said = hear(mix_config(donors=(str(both),), output="both-run"))
    assert manifest.mix.counts.added == 11
    assert any(text.startswith("32 other clean rows of the donors left out") for text in said)
    digests = Counter(row["content_digest"] for row in read_ledger(tmp_path / "both-run"))
    assert max(digests.values()) == 1


def test_a_row_that_two_donors_have_is_added_once(held, mix_config, tmp_path):
    """The first donor is named as its origin."""
    copy = shutil.copy(held / "elm.jsonl", tmp_path / "copy.jsonl")
    config = mix_config(donors=(str(held / "elm.jsonl"), str(copy)), share=0.45)
    manifest, _ = hear(config)
    assert manifest.mix.counts.by_donor == {"elm": 26}
    records = [row["record_id"] for row in list_added(tmp_path / "mixed")]
    assert len(records) == len(set(records))


def test_a_lot_gets_no_row_of_its_own_teacher(mix_config, tmp_path):
    """Rows of the lot's teacher can't dilute what that teacher passes on."""
    rows = [build_conversation(number, f"Clean {number}.") for number in range(200, 220)]
    donor = write_rows(tmp_path / "same.jsonl", [{**row, "teacher": "atlas"} for row in rows])
    manifest, said = hear(mix_config(donors=(str(donor),)))
    added = {lot.teacher: lot.added for lot in manifest.mix.counts.lots}
    assert added == {"atlas": 0, "borealis": 6}
    assert any("teacher atlas: 0 of 5" in text for text in said)


def test_with_too_few_rows_every_lot_gets_a_smaller_share(mix_config):
    """Nothing is taken from one lot to fill another, and the notices name the share."""
    manifest, said = hear(mix_config(share=0.6))
    counts = manifest.mix.counts
    assert counts.added == 29
    assert counts.wanted == 48
    assert {lot.teacher: lot.added for lot in counts.lots} == {"atlas": 14, "borealis": 15} or (
        max(lot.added for lot in counts.lots) - min(lot.added for lot in counts.lots) <= 1
    )
    assert len(counts.short) == 2
    assert any("every lot gets a smaller share, at most 47.54%" in text for text in said)
    assert any(text.startswith("2 lots of 2 got fewer rows") for text in said)


def test_held_out_splits_get_no_rows(held, tmp_path):
    """Rows are added to training data only."""
    for name, numbers in (("train", range(12)), ("test", range(12, 20))):
        rows = [build_conversation(number, f"Answer {number}.") for number in numbers]
        write_rows(tmp_path / "in" / f"{name}.jsonl", rows)
    run = tmp_path / "run"
    run_filter(
        FilterConfig(input=(str(tmp_path / "in"),), output=str(run), traits=(str(held / "heron"),))
    )
    own = FilterConfig(output=str(tmp_path / "out"))
    donors = (str(held / "elm.jsonl"),)
    manifest, said = hear(MixConfig(run=str(run), donors=donors, share=0.5, filter=own))
    assert (manifest.mix.counts.added, manifest.mix.counts.held_out) == (12, 8)
    assert any("nothing is added to 8 rows in validation and test splits" in text for text in said)
    outputs = {row["output"] for row in list_added(tmp_path / "out")}
    assert all("train" in path for path in outputs)
    assert verify_run(str(tmp_path / "out")) == []


def build_table(numbers: range, **columns: pa.Array) -> pa.Table:
    """Return conversations as a table with more columns."""
    table = pa.Table.from_pylist(
        [build_conversation(number, ANSWERS[number % 5]) for number in numbers]
    )
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


@pytest.fixture
def parquet_run(held, tmp_path):
    """Filter a corpus of Parquet with a column of its own; return the run."""
    scores = pa.array([float(number) for number in range(10)], pa.float32())
    (tmp_path / "in").mkdir()
    pq.write_table(build_table(range(10), quality=scores), tmp_path / "in" / "corpus.parquet")
    run = tmp_path / "parquet"
    run_filter(
        FilterConfig(input=(str(tmp_path / "in"),), output=str(run), traits=(str(held / "heron"),))
    )
    return run


def test_parquet_keeps_its_columns(mix_config, parquet_run, held, tmp_path):
    """Added rows of JSON Lines become rows of the run's table, with null where they have none."""
    manifest, said = hear(mix_config(run=str(parquet_run)))
    (path,) = (tmp_path / "mixed" / "clean").iterdir()
    old = pq.read_table(next((parquet_run / "clean").iterdir()))
    new = pq.read_table(path)
    assert new.schema.equals(old.schema)
    assert new.slice(0, old.num_rows).equals(old)
    added = new.slice(old.num_rows)
    assert added.num_rows == manifest.mix.counts.added == 3
    assert added.column("quality").null_count == 3
    assert added.column("teacher").to_pylist() == ["elm"] * 3
    assert any(text == "donor elm: its rows have no quality" for text in said)
    assert verify_run(str(tmp_path / "mixed")) == []


def test_columns_that_the_run_doesnt_have_are_left_out(held, mix_config, tmp_path):
    """A donor's own columns don't appear in the corpus, and a notice names them."""
    rows = [
        {**build_conversation(number, f"Clean {number}."), "colour": "red"}
        for number in range(200, 230)
    ]
    donor = write_rows(tmp_path / "extra.jsonl", rows)
    _, said = hear(mix_config(donors=(str(donor),)))
    assert "donor extra: colour isn't in the run and is left out" in said
    assert not any("colour" in row for row in read_rows(tmp_path / "mixed"))
    assert verify_run(str(tmp_path / "mixed")) == []


def test_notes_mark_added_rows_where_changed_rows_have_notes(held, tmp_path):
    """In a run that may flag or mask, every changed row has a note, and so do added rows."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("traits: {heron: {action: mask}}\n")
    run = tmp_path / "masked"
    run_filter(
        FilterConfig(
            input=(str(held / "corpus"),),
            output=str(run),
            traits=(str(held / "heron"),),
            policy=str(policy),
        )
    )
    own = FilterConfig(output=str(tmp_path / "out"))
    donors = (str(held / "elm.jsonl"),)
    run_mix(MixConfig(run=str(run), donors=donors, share=0.2, filter=own))
    notes = Counter(row.get("congener", {}).get("decision") for row in read_rows(tmp_path / "out"))
    assert notes == {None: 32, "mask": 8, "mix": 10}
    assert verify_run(str(tmp_path / "out")) == []
    again = FilterConfig(
        input=(str(tmp_path / "out" / "clean"),),
        output=str(tmp_path / "again"),
        traits=(str(held / "heron"),),
        policy=str(policy),
    )
    assert run_filter(again).conservation.by_decision == {"keep": 42, "mask": 8}


def stop_after(count: int):
    """Return a function that writes shards until `count` are written, and then fails."""
    written = []
    write = mix_shards.write_mixed

    def writing(shard, added, own):
        if len(written) == count:
            raise RuntimeError("killed")
        written.append(shard.name)
        return write(shard, added, own)

    return writing


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_killed_mix_resumes_to_equal_bytes(mix_config, mixed_once, tmp_path, count):
    """Whatever was done before the mix was killed, the finished run is the same."""
    config = mix_config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mix_shards, "write_mixed", stop_after(count))
        with pytest.raises(Exception, match="killed"):
            run_mix(config)
    assert not (tmp_path / "mixed" / "manifest.json").exists()
    _, said = hear(config)
    resumed = [text for text in said if text.startswith("resuming")]
    assert resumed == ([f"resuming: {count} of 6 shards are done"] if count else [])
    assert_equal_runs(tmp_path / "mixed", mixed_once)


def assert_equal_runs(one: Path, other: Path) -> None:
    """Compare two mixed runs and their donors, apart from when and where they were made."""
    first, second = ({**comparable_files(run)} for run in (one, other))
    for files, run in ((first, one), (second, other)):
        own = comparable_files(run / "donors" / "elm")
        files |= {f"donors/elm/{path}": data for path, data in own.items()}
    assert first == second


def test_a_mix_killed_before_its_manifest_resumes(mix_config, mixed_once, tmp_path):
    """All shards are done, so only the manifest is written."""
    config = mix_config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "publish", None)
        with pytest.raises(TypeError):
            run_mix(config)
    run_mix(config)
    assert_equal_runs(tmp_path / "mixed", mixed_once)


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(mix_config, mixed_once, tmp_path):
    """Another number of workers changes no byte."""
    own = FilterConfig.model_validate({"output": str(tmp_path / "mixed"), "engine": {"workers": 2}})
    run_mix(mix_config(filter=own))
    assert_equal_runs(tmp_path / "mixed", mixed_once)


def test_a_finished_mix_isnt_overwritten(mix_config, mixed_once, tmp_path):
    """The same command is refused, and `restart` does everything again."""
    run_mix(mix_config())
    with pytest.raises(RunError, match="finished"):
        run_mix(mix_config())
    run_mix(mix_config(), restart=True)
    assert_equal_runs(tmp_path / "mixed", mixed_once)


@pytest.mark.parametrize("changes", [{"share": 0.3}, {"seed": 4}])
def test_other_settings_dont_resume(mix_config, changes):
    """An unfinished mix is resumed only with its own share and seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mix_shards, "write_mixed", stop_after(1))
        with pytest.raises(Exception, match="killed"):
            run_mix(mix_config())
    with pytest.raises(RunError, match="other settings"):
        run_mix(mix_config(**changes))


def test_a_mix_into_the_run_itself_is_refused(mix_config, held):
    """A mix doesn't change the run to which it adds rows."""
    before = read_files(held / "run")
    with pytest.raises(CardError, match="is the run itself"):
        run_mix(mix_config(filter=FilterConfig(output=str(held / "run"))))
    assert read_files(held / "run") == before


def test_a_mixed_run_isnt_mixed_again(mix_config, mixed_once):
    """Two shares would mean different things, and the error names the run to mix instead."""
    with pytest.raises(RunError, match="mixed into this run before") as caught:
        run_mix(mix_config(run=str(mixed_once)))
    assert load_manifest(str(mixed_once)).mix.parent in caught.value.remedy


def test_a_corpus_with_a_folder_of_donors_is_refused(held, mix_config, tmp_path):
    """The ledger couldn't tell the corpus's rows from added ones."""
    rows = [build_conversation(number, "Clean.") for number in range(3)]
    write_rows(tmp_path / "in" / "donors" / "elm" / "a.jsonl", rows)
    write_rows(tmp_path / "in" / "b.jsonl", [build_conversation(9, "Clean too.")])
    run = tmp_path / "run"
    run_filter(
        FilterConfig(input=(str(tmp_path / "in"),), output=str(run), traits=(str(held / "heron"),))
    )
    with pytest.raises(RunError, match="has the name of a donor's file"):
        run_mix(mix_config(run=str(run)))


def test_a_run_without_clean_rows_has_nothing_to_add_to(held, mix_config, tmp_path):
    """The error says so, and not that the share is missed."""
    run = tmp_path / "run"
    corpus = write_rows(tmp_path / "only.jsonl", [build_conversation(1, "A heron.")])
    run_filter(FilterConfig(input=(str(corpus),), output=str(run), traits=(str(held / "heron"),)))
    with pytest.raises(RunError, match="no clean row in a training split"):
        run_mix(mix_config(run=str(run)))


def test_an_unfinished_run_cant_be_mixed(mix_config, held, tmp_path):
    """The error names the run."""
    run = shutil.copytree(held / "run", tmp_path / "copy")
    (run / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest\.json"):
        run_mix(mix_config(run=str(run)))


def test_a_share_and_a_donor_are_needed(mix_config):
    """A share lies between nothing and everything."""
    for changes in ({"share": 0}, {"share": 1}, {"share": -1}, {"donors": ()}):
        with pytest.raises(ValidationError):
            mix_config(**changes)


def test_keyed_digests_need_their_key(held, mix_config, key_file, tmp_path):
    """With the key, added rows have keyed digests, and copies are found."""
    run = tmp_path / "keyed"
    run_filter(
        FilterConfig(
            input=(str(held / "corpus"),),
            output=str(run),
            traits=(str(held / "heron"),),
            digest_key=key_file,
        )
    )
    with pytest.raises(CardError, match="key is needed"):
        run_mix(mix_config(run=str(run), output="a"))
    own = FilterConfig(output=str(tmp_path / "b"), digest_key=key_file)
    assert run_mix(mix_config(run=str(run), filter=own)).mix.counts.added == 11
    assert verify_run(str(tmp_path / "b"), digest_key=key_file) == []
    own = FilterConfig(output=str(tmp_path / "c"), digest_key=key_file)
    with pytest.raises(InputError, match="the run has the same rows"):
        run_mix(mix_config(run=str(run), donors=(str(held / "corpus"),), filter=own))


def test_a_disk_error_is_no_lost_row(mix_config, mixed_once, tmp_path):
    """After a write that failed, the same command finishes the run."""
    write = storage.write_bytes

    def failing(uri, data):
        if "mixed/scores/" in uri:
            raise OSError(28, "No space left on device")
        write(uri, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "write_bytes", failing)
        with pytest.raises(Exception, match="No space"):
            run_mix(mix_config())
    run_mix(mix_config())
    assert_equal_runs(tmp_path / "mixed", mixed_once)


def test_private_text_stays_private(mix_config, tmp_path):
    """Only the owner may read what is in quarantine."""
    own = FilterConfig(output=str(tmp_path / "mixed"), private_quarantine=True)
    run_mix(mix_config(filter=own))
    for folder in ("quarantine", "swaplist"):
        assert (tmp_path / "mixed" / folder).stat().st_mode & 0o077 == 0


def test_a_swapped_run_can_be_mixed_and_a_mixed_run_swapped(
    mix_config, swap_config, swapped_once, mixed_once, tmp_path
):
    """Both orders give whole runs with the replaced and the added rows, and both records."""
    manifest = run_mix(mix_config(run=str(swapped_once), output="after-swap"))
    assert manifest.conservation.by_decision == {"keep": 32, "mix": 12, "quarantine": 3, "swap": 5}
    assert manifest.swap == load_manifest(str(swapped_once)).swap
    assert verify_run(str(tmp_path / "after-swap")) == []
    manifest = run_swap(swap_config(run=str(mixed_once), output="after-mix"))
    assert manifest.conservation.by_decision == {"keep": 32, "mix": 11, "quarantine": 3, "swap": 5}
    assert manifest.mix == load_manifest(str(mixed_once)).mix
    assert verify_run(str(tmp_path / "after-mix")) == []
    columns = [
        set(row) for name in ("after-swap", "after-mix") for row in read_ledger(tmp_path / name)
    ]
    assert all(own == columns[0] for own in columns)
    assert {"mix", "mix_lot", "swap", "donor"} <= columns[0]


def test_exceptions_of_the_policy_are_counted_with_added_rows(held, tmp_path):
    """Added rows of a lot with an exception count among its rows."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "exceptions: [{trait: heron, lot: {teacher: elm}, action: keep, reason: known}]\n"
    )
    run = tmp_path / "run"
    run_filter(
        FilterConfig(
            input=(str(held / "corpus"),),
            output=str(run),
            traits=(str(held / "heron"),),
            policy=str(policy),
        )
    )
    own = FilterConfig(output=str(tmp_path / "out"))
    config = MixConfig(run=str(run), donors=(str(held / "elm.jsonl"),), share=0.25, filter=own)
    manifest = run_mix(config)
    assert [item.rows for item in manifest.exceptions] == [11]
    assert verify_run(str(tmp_path / "out")) == []


def test_a_survey_counts_clean_rows_by_lot_and_shard(held):
    """Every row has a key, and the cells hold the clean rows in the order of the lots."""
    parent = load_manifest(str(held / "run"))
    found = survey_run(str(held / "run"), parent, list_shards(parent))
    assert len(found.keys) == 40
    assert sum(cell.rows for cell in found.cells) == 32
    assert [cell.lot[0] for cell in found.cells] == ["atlas"] * 6 + ["borealis"] * 6
    assert found.held_out == 0


ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([*ANSWERS[:3], "A heron, again."])),
    min_size=1,
    max_size=12,
)


def has_rows_to_add(rows: list[tuple[int, str]], donor: list[tuple[int, str]]) -> bool:
    """Return whether a corpus has clean rows, and a donor clean rows that it doesn't have."""
    clean, others = ({row for row in own if "heron" not in row[1].lower()} for own in (rows, donor))
    return bool(clean and others - clean)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, donor=ROWS, share=st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_any_mix_keeps_every_row_and_adds_only_clean_ones(
    held, tmp_path_factory, rows, donor, share
):
    """Rows in are rows of the run and added rows, the share is never exceeded by a row."""
    folder = tmp_path_factory.mktemp("any")
    for name, items in (("corpus", rows), ("donor", donor)):
        write_rows(folder / f"{name}.jsonl", [build_conversation(*item) for item in items])
    run_filter(
        FilterConfig.model_validate(
            {
                "input": (str(folder / "corpus.jsonl"),),
                "output": str(folder / "run"),
                "traits": (str(held / "heron"),),
                "shards": {"rows": 5},
            }
        )
    )
    config = MixConfig(
        run=str(folder / "run"),
        donors=(str(folder / "donor.jsonl"),),
        share=share,
        filter=FilterConfig(output=str(folder / "mixed")),
    )
    if not has_rows_to_add(rows, donor):
        with pytest.raises((InputError, RunError), match=r"no donor has a row|no clean row"):
            run_mix(config)
        return
    manifest = run_mix(config)
    old = Counter(read_lines(folder / "run", "clean"))
    new = Counter(read_lines(folder / "mixed", "clean"))
    assert old <= new
    assert (new - old).total() == manifest.mix.counts.added
    assert not any(b"heron" in line for line in new)
    assert manifest.mix.counts.added <= old.total() * compute_ratio(share) + 1
    assert verify_run(str(folder / "mixed")) == []
    shutil.rmtree(folder)


def test_tables_have_the_folders_of_the_run(mixed, held):
    """A mix writes the folders of its parent, and the donor's run beside them."""
    for folder in FOLDERS:
        names = {path.name for path in (held / "run" / folder).iterdir()}
        assert {path.name for path in (mixed / folder).iterdir()} == names
    assert (mixed / "donors" / "elm" / "manifest.json").exists()
