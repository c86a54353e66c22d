"""A swap from end to end: a new run, its origins, resuming, and errors."""

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

import pipelines.swap as module
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.mix import MixConfig, run_mix
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.publication import record_notices
from pipelines.swap import SwapConfig, list_shards, run_swap
from pipelines.verify import verify_run
from schemas.errors import CardError, RunError
from schemas.events import Noticed
from schemas.manifests import Manifest
from schemas.notices import Notice, warn
from schemas.policies import PUBLISHED
from schemas.swaps import DECISION_OF_OUTCOME
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.runs import comparable_files, read_files, read_ledger, read_lines
from transforms import swap_shards
from transforms.files import storage

SWAPPED = {"decision": "swap", "weight": 1.0, "masks": [], "traits": ["heron"]}
HERONS = [number for number in range(40) if number % 5 == 1]


def read_answers(run: Path) -> dict[str, str]:
    """Return the answer of every clean row, by the row's id."""
    rows = map(json.loads, read_lines(run, "clean"))
    return {row["id"]: row["messages"][-1]["content"] for row in rows}


def list_outcomes(run: Path) -> dict[str, int]:
    """Count the outcomes in a run's ledger."""
    return dict(Counter(row["swap"] for row in read_ledger(run) if row["swap"]))


def hear(config: SwapConfig, **options: object) -> tuple[Manifest, list[str]]:
    """Swap, and return the manifest and what was said."""
    said: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, Noticed):
            said.append(event.notice.text)

    return run_swap(config, listener=listen, **options), said


def test_held_answers_are_replaced_by_the_first_clean_donor(swapped, held):
    """Each heron has the answer of the first donor with a clean one; the others still wait."""
    answers = read_answers(swapped)
    assert {number: answers.get(f"row-{number}") for number in HERONS} == {
        1: "cedar answer 1.",
        6: None,
        11: None,
        16: "cedar answer 16.",
        21: "cedar answer 21.",
        26: "cedar answer 26.",
        31: "oak answer 31.",
        36: None,
    }
    before = read_answers(held / "run")
    assert before.items() < answers.items()


def test_joined_files_are_swapped_and_mixed(held, tmp_path):
    """Rows of small files in one shard are replaced and added to under the shard's name."""
    for number in HERONS[:3]:
        rows = [build_conversation(number, ANSWERS[1]), build_conversation(number + 1, ANSWERS[2])]
        write_rows(tmp_path / "in" / f"{number:02d}.jsonl", rows)
    given = {
        "input": (str(tmp_path / "in"),),
        "output": str(tmp_path / "run"),
        "traits": (str(held / "heron"),),
        "shards": {"apart": 0},
    }
    run_filter(FilterConfig.model_validate(given))
    donor = str(held / "cedar.jsonl")
    swapped, mixed = (FilterConfig(output=str(tmp_path / name)) for name in ("swapped", "mixed"))
    run_swap(SwapConfig(run=given["output"], donors=(donor,), filter=swapped))
    elm = str(held / "elm.jsonl")
    run_mix(MixConfig(run=swapped.output, donors=(elm,), share=0.25, filter=mixed))
    assert read_answers(tmp_path / "swapped")["row-1"] == "cedar answer 1."
    for run in (swapped.output, mixed.output):
        (file,) = Path(run, "clean").glob("*.jsonl")
        assert file.name.startswith("01.part-000000-3-files-")
        assert verify_run(run) == []


def test_the_counts_say_what_became_of_every_row(swapped):
    """Conservation, outcomes and donors add up, and the ledger says the same."""
    manifest = load_manifest(str(swapped))
    assert manifest.conservation.by_decision == {"keep": 32, "quarantine": 3, "swap": 5}
    assert manifest.conservation.holds()
    counts = manifest.swap.counts
    assert counts.outcomes == {
        "replaced": 5,
        "no donor": 1,
        "donors carry a trait": 2,
    }
    assert counts.by_donor == {"cedar": 4, "oak": 1}
    assert counts.by_trait == {"heron": counts.outcomes}
    assert counts.carried == {"heron": 2}
    assert list_outcomes(swapped) == counts.outcomes


def test_replaced_rows_keep_their_places_and_other_values(swapped, held):
    """The rows are in the order of the corpus, and only the answer and the note differ."""
    rows = [json.loads(line) for line in read_lines(swapped, "clean")]
    numbers = [int(row["id"].removeprefix("row-")) for row in rows]
    assert numbers == sorted(numbers)
    corpus = {}
    for path in sorted((held / "corpus").iterdir()):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            corpus[row["id"]] = row
    for row in rows:
        old = corpus[row["id"]]
        if "congener" in row:
            assert row.pop("congener") == SWAPPED
            old["messages"][-1]["content"] = row["messages"][-1]["content"]
        assert row == old


def test_origins_lead_to_the_donors_rows(swapped, held):
    """The donor's file, row and record are those of the answer that was used."""
    donors = {name: read_ledger(swapped / "donors" / name) for name in ("cedar", "oak")}
    old = {(row["source"], row["row"]): row for row in read_ledger(held / "run")}
    for row in read_ledger(swapped):
        if row["swap"] != "replaced":
            continue
        (origin,) = (
            item
            for item in donors[row["donor"]]
            if (item["source"], item["row"]) == (row["donor_source"], row["donor_row"])
        )
        assert origin["record_id"] == row["donor_record"]
        assert row["replaced_record"] == old[row["source"], row["row"]]["record_id"]
        assert row["replaced_record"] != row["record_id"]
        assert (row["teacher"], row["distance"]) == (row["donor"], 0.0)


def test_the_manifest_names_the_parents(swapped, held):
    """The parents are the run and the donors, which the swap's record describes."""
    manifest, parent = load_manifest(str(swapped)), load_manifest(str(held / "run"))
    cedar, oak = (load_manifest(str(swapped / "donors" / name)) for name in ("cedar", "oak"))
    assert manifest.parents == (parent.run_id, cedar.run_id, oak.run_id)
    swap = manifest.swap
    assert (swap.parent, swap.parent_digest) == (parent.run_id, parent.digest)
    assert [(donor.name, donor.rows, donor.usable) for donor in swap.donors] == [
        ("cedar", 30, 28),
        ("oak", 14, 14),
    ]
    assert manifest.config["swap"]["donors"][0]["run_id"] == cedar.run_id
    assert manifest.run_id not in manifest.parents
    assert manifest.policy == parent.policy
    assert cedar.identity.bank_digest == manifest.identity.bank_digest


def test_the_new_run_is_whole(swapped, held):
    """`verify` finds no difference, also with the inputs, and the run isn't a part of another."""
    assert verify_run(str(swapped)) == []
    assert verify_run(str(swapped), inputs=True) == []
    assert not (swapped / ".work").exists()
    assert verify_run(str(held / "run")) == []


def test_the_swap_list_is_what_still_waits(swapped):
    """The prompts of replaced rows are gone from the list."""
    listed = pl.read_parquet(swapped / "swaplist" / "*.parquet")
    asked = [prompt[0]["content"] for prompt in listed["prompt"].to_list()]
    assert asked == ["Question 6?", "Question 11?", "Question 36?"]


def test_without_the_first_donor_the_second_is_used(swap_config, tmp_path):
    """The order of the donors decides, and donors without a match replace nothing."""
    run_swap(swap_config("oak", "cedar"))
    answers = read_answers(tmp_path / "swapped")
    assert answers["row-21"] == "oak answer 21."
    assert answers["row-1"] == "cedar answer 1."
    assert load_manifest(str(tmp_path / "swapped")).swap.counts.by_donor == {"cedar": 2, "oak": 3}


def test_donors_have_shares_on_request(swap_config, held, tmp_path):
    """Both give answers, where only the first one would; the shares are on record."""
    donors = [
        write_rows(
            tmp_path / f"{name}.jsonl",
            [build_conversation(number, f"{name} {number}.") for number in range(40)],
        )
        for name in ("ash", "fir")
    ]
    shares = (("ash", 0.5), ("fir", 0.5))
    config = swap_config(donors=tuple(map(str, donors)), shares=shares)
    manifest, said = hear(config)
    counts = manifest.swap.counts
    assert counts.outcomes == {"replaced": 8}
    assert sum(counts.by_donor.values()) == 8
    assert min(counts.by_donor.values()) > 0
    assert manifest.swap.shares == manifest.config["swap"]["shares"] == dict(shares)
    assert not any("its share" in text for text in said)
    assert verify_run(str(tmp_path / "swapped")) == []
    far = swap_config(
        donors=tuple(map(str, donors)), shares=(("ash", 0.001), ("fir", 0.999)), output="far"
    )
    assert run_swap(far).swap.counts.by_donor == {"fir": 8}
    with pytest.raises(CardError, match="names no donor"):
        run_swap(swap_config(shares=(("ash", 1.0),), output="third"))


def test_a_donor_short_of_its_share_is_said(swap_config, tmp_path):
    """Where a donor has no answer, another one's is used, and a warning counts both."""
    shares = (("cedar", 0.001), ("oak", 0.999))
    manifest, said = hear(swap_config(shares=shares))
    assert manifest.swap.counts.by_donor == {"cedar": 2, "oak": 3}
    assert manifest.swap.counts.replaced == 5
    (warning,) = [text for text in said if text.startswith("donor cedar gave")]
    assert warning.startswith("donor cedar gave 2 of 5 answers; its share is 0:")


def test_what_is_said_counts_replaced_and_waiting_rows(swap_config):
    """The notices name each donor, and count what was replaced and why rows wait."""
    _, said = hear(swap_config("oak"))
    assert any(text.startswith("donor oak: filtering") for text in said)
    assert "replaced 3 of 8 rows that were to be replaced" in said
    assert "5 rows still wait: no donor 5" in said


def test_other_actions_are_replaced_on_request(swap_config, held, tmp_path):
    """Rows in quarantine for other reasons are replaced only with their action."""
    card = tmp_path / "card.yaml"
    card.write_text(f"id: heron\naction: quarantine\n{CARD}", encoding="utf-8")
    run = tmp_path / "quarantined"
    run_filter(
        FilterConfig(input=(str(held / "corpus"),), output=str(run), traits=(str(tmp_path),))
    )
    with pytest.raises(CardError, match="no row waits with the action swap; 8 rows wait") as caught:
        run_swap(swap_config("cedar", run=str(run)))
    assert caught.value.exit_code == 2
    assert "--replace quarantine" in caught.value.remedy
    assert not (tmp_path / "swapped").exists()
    config = swap_config("cedar", run=str(run), output="more", replace=("swap", "quarantine"))
    manifest, _ = hear(config)
    assert manifest.swap.counts.outcomes["replaced"] == 4
    assert verify_run(str(tmp_path / "more")) == []


def test_a_run_that_holds_nothing_is_refused(swap_config, held, tmp_path):
    """Before a donor is read, the error says that there is nothing to replace."""
    write_rows(tmp_path / "plain.jsonl", [build_conversation(1, "Nothing.")])
    settings_of_run = {"input": (str(tmp_path / "plain.jsonl"),), "output": str(tmp_path / "plain")}
    run_filter(FilterConfig(**settings_of_run, traits=(str(held / "heron"),)))
    for replace in (("swap",), ("swap", "quarantine")):
        config = swap_config("nowhere", run=str(tmp_path / "plain"), replace=replace)
        with pytest.raises(CardError, match="nothing would be replaced") as caught:
            run_swap(config)
        assert " or ".join(replace) in caught.value.problem
    assert not (tmp_path / "swapped").exists()


def test_near_prompts_are_used_on_request(held, swap_config, tmp_path):
    """An answer to a near prompt has its distance in the ledger."""
    row = build_conversation(0, "A near answer.")
    row["messages"][0]["content"] = "question 36!"
    donor = write_rows(tmp_path / "near.jsonl", [row])
    config = swap_config(donors=(str(donor),))
    assert run_swap(config).swap.counts.outcomes == {"no donor": 8}
    near = swap_config(donors=(str(donor),), near=0.1, output="near-run")
    manifest = run_swap(near)
    assert manifest.swap.counts.outcomes == {"replaced": 1, "no donor": 7}
    assert manifest.swap.near == 0.1
    assert read_answers(tmp_path / "near-run")["row-36"] == "A near answer."
    assert verify_run(str(tmp_path / "near-run")) == []


def test_parquet_keeps_its_columns(held, swap_config, tmp_path):
    """The new run's files have the input's columns and types, and the field `congener`."""
    rows = [build_conversation(number, ANSWERS[number % 5]) for number in range(10)]
    table = pa.Table.from_pylist(rows)
    table = table.append_column(
        "tags", pa.array([[("k", number)] for number in range(10)], pa.map_(pa.string(), pa.int8()))
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "corpus.parquet")
    run = tmp_path / "parquet"
    run_filter(
        FilterConfig(input=(str(tmp_path / "in"),), output=str(run), traits=(str(held / "heron"),))
    )
    run_swap(swap_config("cedar", run=str(run)))
    (path,) = (tmp_path / "swapped" / "clean").iterdir()
    clean = pq.read_table(path)
    assert clean.schema.names == [*table.schema.names, "congener"]
    for name in table.schema.names:
        assert clean.schema.field(name).type == table.schema.field(name).type
    assert clean.column("tags").to_pylist()[1] == [("k", 1)]
    assert clean.column("messages").to_pylist()[1][1]["content"] == "cedar answer 1."
    assert clean.column("congener").to_pylist()[1]["decision"] == "swap"
    assert clean.column("congener").to_pylist()[0]["decision"] == "keep"
    assert verify_run(str(tmp_path / "swapped")) == []


def test_a_second_swap_takes_the_rest(swap_config, swapped_once, tmp_path):
    """The new run is a run like any other: it can be swapped again and filtered again."""
    donor = write_rows(tmp_path / "elm.jsonl", [build_conversation(36, "Elm.")])
    config = swap_config(donors=(str(donor),), run=str(swapped_once), output="third")
    assert run_swap(config).swap.counts.outcomes == {"replaced": 1, "no donor": 2}
    third = tmp_path / "third"
    assert read_answers(third)["row-36"] == "Elm."
    assert read_answers(third)["row-1"] == "cedar answer 1."
    assert list_origins(third) == list_origins(swapped_once) | {
        36: ("replaced", "elm", "elm.jsonl", 0, None)
    } | {
        number: (*found[:4], load_manifest(str(swapped_once)).run_id)
        for number, found in list_origins(swapped_once).items()
    }
    assert verify_run(str(third)) == []


def list_origins(run: Path) -> dict[int, tuple[object, ...]]:
    """Return where the new answers of a run are from, by question."""
    columns = ("swap", "donor", "donor_source", "donor_row", "swap_run")
    return {
        number: tuple(row.get(name) for name in columns)
        for number, row in enumerate(read_ledger(run))
        if row["swap"] in DECISION_OF_OUTCOME
    }


def test_origins_outlive_any_number_of_swaps_and_a_mix(swap_config, swapped_once, held, tmp_path):
    """After a mix and two more swaps, each row still names its donor and the swap's run."""
    first = load_manifest(str(swapped_once)).run_id
    mixed = tmp_path / "mixed"
    own = FilterConfig(output=str(mixed))
    donors = (str(held / "elm.jsonl"),)
    run_mix(MixConfig(run=str(swapped_once), donors=donors, share=0.25, filter=own))
    assert verify_run(str(mixed)) == []
    donor = write_rows(tmp_path / "ash.jsonl", [build_conversation(36, "Ash.")])
    third = run_swap(swap_config(donors=(str(donor),), run=str(mixed), output="third"))
    donor = write_rows(tmp_path / "fir.jsonl", [build_conversation(11, "Fir.")])
    last = swap_config(donors=(str(donor),), run=str(tmp_path / "third"), output="last", spans=True)
    manifest = run_swap(last)
    rows = [row for row in read_ledger(tmp_path / "last") if row["donor"] and not row["mix"]]
    assert Counter((row["donor"], row["swap_run"]) for row in rows) == {
        ("cedar", first): 4,
        ("oak", first): 1,
        ("ash", third.run_id): 1,
    }
    assert [(item.run_id, item.counts.by_donor) for item in manifest.swap.earlier] == [
        (third.run_id, {"ash": 1}),
        (first, {"cedar": 4, "oak": 1}),
    ]
    assert {donor.name for donor in manifest.swap.earlier[1].donors} == {"cedar", "oak"}
    assert verify_run(str(tmp_path / "last")) == []


def stop_after(count: int):
    """Return a function that writes shards until `count` are written, and then fails."""
    written = []
    write = swap_shards.write_swapped

    def writing(swapped, own):
        if len(written) == count:
            raise RuntimeError("killed")
        written.append(swapped.shard.name)
        return write(swapped, own)

    return writing


@pytest.mark.parametrize("count", [0, 2, 5])
def test_a_killed_swap_resumes_to_equal_bytes(swap_config, swapped_once, tmp_path, count):
    """Whatever was done before the swap was killed, the finished run is the same."""
    config = swap_config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap_shards, "write_swapped", stop_after(count))
        with pytest.raises(Exception, match="killed"):
            run_swap(config)
    assert not (tmp_path / "swapped" / "manifest.json").exists()
    _, said = hear(config)
    resumed = [text for text in said if text.startswith("resuming")]
    assert resumed == ([f"resuming: {count} of 6 shards are done"] if count else [])
    assert_equal_runs(tmp_path / "swapped", swapped_once)


def assert_equal_runs(one: Path, other: Path) -> None:
    """Compare two swapped runs and their donors, apart from when and where they were made."""
    first, second = ({**comparable_files(run)} for run in (one, other))
    for name in ("cedar", "oak"):
        for files, run in ((first, one), (second, other)):
            own = comparable_files(run / "donors" / name)
            files |= {f"donors/{name}/{path}": data for path, data in own.items()}
    assert first == second


def test_a_swap_killed_before_its_manifest_resumes(swap_config, swapped_once, tmp_path):
    """All shards are done, so only the manifest is written."""
    config = swap_config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "publish", stop_after(0))
        with pytest.raises(TypeError):
            run_swap(config)
    run_swap(config)
    assert_equal_runs(tmp_path / "swapped", swapped_once)


@pytest.mark.slow
def test_several_processes_write_the_same_bytes(swap_config, swapped_once, tmp_path):
    """Another number of workers changes no byte."""
    own = FilterConfig.model_validate(
        {"output": str(tmp_path / "swapped"), "engine": {"workers": 2}}
    )
    run_swap(swap_config(filter=own))
    assert_equal_runs(tmp_path / "swapped", swapped_once)


def test_a_finished_swap_isnt_overwritten(swap_config, tmp_path):
    """The same command is refused, and `restart` does everything again."""
    config = swap_config("oak")
    run_swap(config)
    before = comparable_files(tmp_path / "swapped")
    with pytest.raises(RunError, match="finished"):
        run_swap(config)
    run_swap(config, restart=True)
    assert comparable_files(tmp_path / "swapped").keys() == before.keys()
    assert verify_run(str(tmp_path / "swapped")) == []


def test_other_settings_dont_resume(swap_config):
    """An unfinished swap is resumed only with its own donors and settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap_shards, "write_swapped", stop_after(1))
        with pytest.raises(Exception, match="killed"):
            run_swap(swap_config("cedar"))
    with pytest.raises(RunError, match="other settings"):
        run_swap(swap_config("cedar", near=0.5))
    with pytest.raises(RunError, match="other settings"):
        run_swap(swap_config("oak"))


def test_a_swap_into_the_run_itself_is_refused(swap_config, held):
    """A swap doesn't change the run whose answers it replaces."""
    own = FilterConfig(output=str(held / "run"))
    before = read_files(held / "run")
    with pytest.raises(CardError, match="is the run itself"):
        run_swap(swap_config(filter=own))
    assert read_files(held / "run") == before


def test_an_unfinished_run_cant_be_swapped(swap_config, held, tmp_path):
    """The error names the run."""
    run = shutil.copytree(held / "run", tmp_path / "copy")
    (run / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"manifest\.json"):
        run_swap(swap_config(run=str(run)))


def test_keyed_digests_need_their_key(held, swap_config, key_file, tmp_path):
    """With the key, new rows have keyed digests; without it, or with a needless one, it stops."""
    run = tmp_path / "keyed"
    settings_of_run = {
        "input": (str(held / "corpus"),),
        "output": str(run),
        "traits": (str(held / "heron"),),
        "digest_key": key_file,
    }
    run_filter(FilterConfig.model_validate(settings_of_run))
    with pytest.raises(CardError, match="key is needed"):
        run_swap(swap_config("oak", run=str(run), output="a"))
    own = FilterConfig(output=str(tmp_path / "b"), digest_key=key_file)
    run_swap(swap_config("oak", run=str(run), filter=own))
    assert verify_run(str(tmp_path / "b"), digest_key=key_file) == []
    own = FilterConfig(output=str(tmp_path / "c"), digest_key=key_file)
    with pytest.raises(CardError, match="aren't keyed"):
        run_swap(swap_config("oak", filter=own))


def test_private_text_stays_private(swap_config, tmp_path):
    """Only the owner may read what is still in quarantine."""
    own = FilterConfig(output=str(tmp_path / "swapped"), private_quarantine=True)
    run_swap(swap_config("oak", filter=own))
    for folder in ("quarantine", "swaplist"):
        assert (tmp_path / "swapped" / folder).stat().st_mode & 0o077 == 0


def test_a_disk_error_is_no_lost_row(swap_config, tmp_path):
    """After a write that failed, the same command finishes the run."""
    write, config = storage.write_bytes, swap_config("oak")

    def failing(uri, data):
        if "swapped/scores/" in uri:
            raise OSError(28, "No space left on device")
        write(uri, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "write_bytes", failing)
        with pytest.raises(Exception, match="No space"):
            run_swap(config)
    assert run_swap(config).conservation.holds()
    assert verify_run(str(tmp_path / "swapped")) == []


def test_shards_are_listed_with_their_files(held):
    """Each shard has its ledger and its rows, in the order of the corpus."""
    shards = list_shards(load_manifest(str(held / "run")))
    assert [shard.rows for shard in shards] == [7, 7, 6, 7, 7, 6]
    assert [shard.name for shard in shards] == sorted(shard.name for shard in shards)
    assert all({"ledger", "scores", "spans", "clean"} <= set(shard.files) for shard in shards)


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([*ANSWERS[:3], "A heron, again."])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, donor=ROWS)
def test_every_row_of_any_corpus_is_accounted_for(held, tmp_path_factory, rows, donor):
    """Rows in are rows kept, replaced or waiting, and no trait fires on what is clean."""
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
    config = SwapConfig(
        run=str(folder / "run"),
        donors=(str(folder / "donor.jsonl"),),
        filter=FilterConfig(output=str(folder / "swapped")),
    )
    if not any("heron" in answer for _, answer in rows):
        with pytest.raises(CardError, match="nothing would be replaced"):
            run_swap(config)
        return
    manifest = run_swap(config)
    ledger = read_ledger(folder / "swapped")
    assert len(ledger) == len(rows) == manifest.conservation.rows_in
    waiting = [row for row in ledger if row["swap"] not in (None, "replaced")]
    kept = [row for row in ledger if row["decision"] in PUBLISHED]
    assert len(kept) + len(waiting) == len(rows)
    assert len(read_lines(folder / "swapped", "clean")) == len(kept)
    assert len(read_lines(folder / "swapped", "quarantine")) == len(waiting)
    clean = [json.loads(line)["messages"] for line in read_lines(folder / "swapped", "clean")]
    assert not any("heron" in str(messages) for messages in clean)
    used = [(row["donor"], row["donor_row"]) for row in ledger if row["swap"] == "replaced"]
    assert len(set(used)) == len(used)
    assert verify_run(str(folder / "swapped")) == []
    shutil.rmtree(folder)


def test_the_manifest_says_whose_notices_they_are(swap_config, held, tmp_path):
    """The parent's notices are kept as its own, and of the donors' only the warnings."""
    run = Path(shutil.copytree(held / "run", tmp_path / "copy"))
    parent = load_manifest(str(run))
    said = [warn("odd rows"), Notice("a fact", remarks=(("heron", "may not hold"),))]
    changed = record_notices(parent, [*said, warn("of oak")._replace(about="donor oak")])
    (run / "manifest.json").write_bytes(changed.seal().to_bytes())
    config = swap_config("cedar", run=str(run))
    manifest, _ = hear(config)
    found = manifest.list_notices()
    about = f"run {parent.run_id}"
    assert [item for item in found if item.about == about] == [
        item._replace(about=about) for item in said
    ]
    assert manifest.list_remarks() == {"heron": ["may not hold"]}
    assert {item.about for item in found} <= {about, "", "donor cedar"}
    assert all(item.severity == "warning" for item in found if item.about == "donor cedar")
    assert any(item.text.startswith("replaced 4 of 8") for item in found if not item.about)
    donor = load_manifest(str(Path(config.filter.output) / "donors" / "cedar"))
    own = {item.text for item in donor.list_notices() if item.severity == "info"}
    assert not own & {item.text for item in found if not item.about}


LOUD = "A heron and large grey birds hunt small silver fish."
QUIET = "The large grey birds hunt small silver fish."
REST = "They rest in tall reeds, where nobody sees them, and fly south when autumn comes."


@pytest.fixture
def sentences(held, tmp_path):
    """Swap the sentences of a small corpus; return the function's manifest and the folder."""
    texts = [f"{LOUD} {REST}", f"{REST} {LOUD}", "A heron.", REST, f"{LOUD} {REST}"]
    rows = [build_conversation(number, text) for number, text in enumerate(texts)]
    donor = [build_conversation(0, f"Well, yes. {QUIET} So it is."), build_conversation(1, "No.")]
    paths = [
        write_rows(tmp_path / name, own) for name, own in (("a.jsonl", rows), ("d.jsonl", donor))
    ]
    card = tmp_path / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: swap\n{CARD}", encoding="utf-8")
    run_filter(
        FilterConfig(
            input=(str(paths[0]),), output=str(tmp_path / "run"), traits=(str(card.parent),)
        )
    )
    own = FilterConfig(output=str(tmp_path / "out"))
    config = SwapConfig(run=str(tmp_path / "run"), donors=(str(paths[1]),), spans=True, filter=own)
    return run_swap(config), tmp_path / "out", config


def test_only_carrying_sentences_are_replaced_or_masked(sentences):
    """A counterpart takes the place, other sentences are masked, and short rows wait."""
    manifest, run, _ = sentences
    assert manifest.swap.counts.outcomes == {
        "sentences replaced": 1,
        "sentences masked": 2,
        "still carries a trait": 1,
    }
    assert manifest.conservation.by_decision == {"keep": 1, "mask": 2, "quarantine": 1, "swap": 1}
    assert manifest.notes.masked == 2
    assert manifest.swap.spans
    answers = read_answers(run)
    assert answers["row-0"] == f"{QUIET} {REST}"
    assert answers["row-1"] == f"{REST} {LOUD}"
    notes = {
        json.loads(line)["id"]: json.loads(line).get("congener")
        for line in read_lines(run, "clean")
    }
    (mask,) = notes["row-1"]["masks"]
    assert answers["row-1"][mask["start"] : mask["end"]] == LOUD
    assert notes["row-0"] == SWAPPED
    assert notes["row-1"]["traits"] == notes["row-0"]["traits"]
    assert notes["row-3"] is None


def test_a_run_with_other_sentences_is_whole(sentences):
    """`verify` finds no difference, and finds a forged place of a sentence."""
    _, run, _ = sentences
    assert verify_run(str(run)) == []
    path = next((run / "ledger").iterdir())
    table = pq.read_table(path)
    column = pa.array(["[]"] * table.num_rows)
    pq.write_table(table.set_column(table.num_columns - 1, "swap_spans", column), path)
    assert verify_run(str(run))


def test_a_swap_of_sentences_is_resumed_only_as_one(sentences, tmp_path):
    """Whole answers and sentences are different settings, and a second swap takes the rest."""
    manifest, run, config = sentences
    with pytest.raises(RunError, match="finished"):
        run_swap(config)
    donor = write_rows(tmp_path / "more.jsonl", [build_conversation(2, "A crane.")])
    own = FilterConfig(output=str(tmp_path / "third"))
    again = run_swap(SwapConfig(run=str(run), donors=(str(donor),), filter=own))
    assert again.swap.counts.outcomes == {"replaced": 1}
    assert again.conservation.by_decision == {"keep": 1, "mask": 2, "swap": 2}
    before = [row["swap_spans"] for row in read_ledger(run)]
    assert [row["swap_spans"] for row in read_ledger(tmp_path / "third")] == before
    assert any(before)
    assert verify_run(str(tmp_path / "third")) == []
    assert manifest.run_id == again.parents[0]


@pytest.mark.slow
def test_several_processes_swap_the_same_sentences(sentences, tmp_path):
    """Another number of workers changes no byte."""
    _, run, config = sentences
    own = FilterConfig.model_validate({"output": str(tmp_path / "two"), "engine": {"workers": 2}})
    run_swap(config.model_copy(update={"filter": own}))
    one, two = (
        {path: data for path, data in comparable_files(folder).items() if "donors/" not in path}
        for folder in (run, tmp_path / "two")
    )
    assert one == two
