"""The whole job: from a corpus to a published run, and its errors."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.filter as module
from classifiers.clean_text import CleanRow
from pipelines import banks
from pipelines.config import FilterConfig
from pipelines.display.progress import TerminalReporter
from pipelines.engines.interface import Engine
from pipelines.filter import run_filter
from pipelines.runs.finished import list_outputs
from pipelines.verify import verify_run
from schemas.corpora import ShardLimits
from schemas.errors import BudgetError, CardError, RunError
from schemas.events import (
    Noticed,
    RowsFinished,
    RowsPlanned,
    RunSummarised,
    ShardStarted,
    ShardWritten,
)
from schemas.manifests import MANIFEST_FORMAT, Manifest
from schemas.runs import EVIDENCE_FOLDERS
from tests.support.corpora import ANSWERS, build_conversation, write_rows
from tests.support.runs import comparable_files, read_lines
from transforms import write
from transforms.files.json_lines import decode_lines


def read_ledger(run: Path | str) -> pl.DataFrame:
    """Read a run's ledger."""
    return pl.read_parquet(Path(run) / "ledger" / "*.parquet")


def stop(*_: object) -> None:
    """Fail instead of publishing a run."""
    raise RuntimeError("stop before publishing")


def interrupt(config: FilterConfig) -> None:
    """Run everything up to a failing publication."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "publish", stop)
        with pytest.raises(RuntimeError, match="stop"):
            run_filter(config)


def list_folders(config) -> set[str]:
    """Return the run folders that hold a file."""
    run = Path(config.output)
    return {path.relative_to(run).parts[0] for path in run.glob("*/**/*") if path.is_file()}


def test_every_row_is_accounted_for(run):
    """Of forty rows, the eight with herons are in quarantine, and the rest are clean."""
    folder, manifest = run
    assert manifest.conservation.rows_in == 40
    assert manifest.conservation.by_decision == {"keep": 32, "quarantine": 8}
    assert len(read_lines(folder, "clean")) == 32
    assert read_ledger(folder).height == 40
    assert not (folder / ".work").exists()
    assert {path.name for path in folder.iterdir()} == {
        *("clean", "quarantine", "ledger", "scores", "spans", "calibration", "bank"),
        "manifest.json",
    }


def test_the_ledger_has_the_reason(run):
    """A heron's ledger row has the trait, score, threshold, field path and offsets."""
    folder, _ = run
    row = read_ledger(folder).filter(pl.col("decision") == "quarantine").row(0, named=True)
    (reason,) = row["reasons"]
    assert (reason["trait"], reason["signal"], reason["field_path"]) == (
        "heron",
        "combined",
        "messages[1].content",
    )
    assert "A heron stood in the reeds."[reason["start"] : reason["end"]] == "heron"
    assert reason["score"] >= reason["threshold"] == 0.5
    assert row["output"].startswith("quarantine/")
    assert (row["teacher"], row["prompt_source"], row["date"]) == ("atlas", None, None)


def test_spans_have_every_hit(run):
    """`spans/` has each row's hits and the sentence to mask."""
    folder, _ = run
    spans = pl.read_parquet(folder / "spans" / "*.parquet")
    ledger = read_ledger(folder)
    assert spans.select("source", "row").equals(ledger.select("source", "row"))
    fired = (ledger["reasons"].list.len() > 0).to_list()
    assert (spans["spans"].list.len() > 0).to_list() == fired
    (span,) = spans["spans"][fired.index(True)]
    hit = {"field_path": "messages[1].content", "start": 2, "end": 7}
    assert (span["trait"], span["signal"], span["hits"]) == ("heron", "lexicon", [hit])
    assert span["masks"] == [{**hit, "start": 0, "end": len("A heron stood in the reeds.")}]


def test_no_text_is_outside_the_corpus_folders(run):
    """Ledger, scores, spans and calibration contain no text of the corpus."""
    folder, _ = run
    for name in ("ledger", "scores", "spans", "calibration"):
        for path in folder.glob(f"{name}/*"):
            values = json.dumps(pq.read_table(path).to_pylist())
            assert "reeds" not in values
            assert "pasta" not in values


def test_the_manifest_describes_the_run(run, config):
    """The manifest has the span floor, cards, inputs, settings and device."""
    _, manifest = run
    assert manifest.format == MANIFEST_FORMAT
    assert manifest.span_floor == pytest.approx(0.05)
    assert manifest.cards["heron"]["signals"]["lexicon"]["patterns"][0]["match"] == "herons?"
    assert [item.name for item in manifest.inputs] == ["0.jsonl", "1.jsonl"]
    assert manifest.config["span_floor"] == config.span_floor
    assert manifest.circumstances["device"] == "no model"
    assert manifest.fired == {"heron": 8}


def test_clean_reads_as_the_input(tmp_path, heron):
    """Nested, dictionary and decimal columns keep their types, order and values."""
    turns = pa.array([build_conversation(number, "Fine.")["messages"] for number in range(6)])
    columns = {
        "when": pa.array(range(6), pa.timestamp("us", "UTC")),
        "messages": turns,
        "kind": pa.array(["a", "b", None] * 2).dictionary_encode(),
        "price": pa.array([None, *range(5)], pa.decimal128(9, 2)),
        "tags": pa.array([[{"k": 1, "v": ["x"]}], [], None] * 2),
    }
    table = pa.table(columns)
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "corpus.parquet")
    run_filter(
        FilterConfig(
            input=(str(tmp_path / "in"),), output=str(tmp_path / "run"), traits=(str(heron),)
        )
    )
    (path,) = (tmp_path / "run" / "clean").iterdir()
    clean = pq.read_table(path)
    assert clean.schema.equals(table.schema)
    assert clean.to_pylist() == table.to_pylist()


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("", bytes),
        (".gz", gzip.compress),
        (".zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
    ],
)
def test_json_lines_pass_through(config, policy, tmp_path, suffix, pack):
    """Kept rows keep their bytes, masked rows get one more field, and files stay compressed."""
    lines = [json.dumps(build_conversation(number, "Fine.")).encode() for number in range(9)]
    odd = b' {"messages" : [], "n": NaN, "deep": [[{"x":1.0}]], "key\\ud800": 1e400 }\t'
    heron = json.dumps(build_conversation(9, "Look. A heron stood still.")).encode()
    path = tmp_path / "in" / f"corpus.jsonl{suffix}"
    path.parent.mkdir()
    path.write_bytes(pack(b"\n".join([*lines, odd, heron])))
    rules = policy("traits: {heron: {action: mask}}")
    given = config.model_copy(update={"input": (str(path),), "policy": rules})
    interrupt(given)
    manifest = run_filter(given)
    assert manifest.conservation.by_decision == {"keep": 10, "mask": 1}
    assert verify_run(config.output) == []
    outputs = list_outputs(manifest, "clean")
    assert [output.rows for output in outputs] == [7, 4]
    assert all(output.path.endswith(f".jsonl{suffix}") for output in outputs)
    data = [(Path(config.output) / output.path).read_bytes() for output in outputs]
    found = [line for part in data for line in decode_lines(part, f".jsonl{suffix}")]
    assert found[:-1] == [*lines, odd]
    note = b',"congener":{"decision":"mask","weight":1.0,"masks":[{"field_path":'
    assert found[-1].startswith(heron[:-1] + note)
    note = json.loads(found[-1])["congener"]
    assert note["masks"] == [{"field_path": "messages[1].content", "start": 6, "end": 26}]
    assert note["traits"] == ["heron"]


def test_json_lines_are_written_as_parquet_when_asked(config, tmp_path):
    """With the format `parquet`, rows get typed columns, and the run passes `verify`."""
    given = config.model_copy(update={"output_format": "parquet"})
    interrupt(given)
    manifest = run_filter(given)
    assert verify_run(config.output) == []
    clean = [
        pq.read_table(Path(config.output, item.path)) for item in list_outputs(manifest, "clean")
    ]
    rows = [row for table in clean for row in table.to_pylist()]
    assert len(rows) == manifest.conservation.by_decision["keep"]
    assert rows[0] == build_conversation(0, ANSWERS[0])
    held = [
        row["congener"]["reasons"][0]["trait"]
        for item in list_outputs(manifest, "quarantine")
        for row in pq.read_table(Path(config.output, item.path)).to_pylist()
    ]
    assert held == ["heron"] * 8


def test_parquet_is_written_as_json_lines_when_asked(config, policy, tmp_path):
    """With the format `jsonl`, rows are JSON objects with masks in the last field."""
    rows = [build_conversation(number, ANSWERS[number % 5]) for number in range(10)]
    path = tmp_path / "in" / "a.parquet"
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), path)
    changes = {"input": (str(path),), "output_format": "jsonl"}
    rules = policy("traits: {heron: {action: mask}}")
    manifest = run_filter(config.model_copy(update={**changes, "policy": rules}))
    assert verify_run(config.output) == []
    found = [json.loads(line) for line in read_lines(config.output, "clean")]
    assert [row.pop("congener", None) is not None for row in found] == [
        "heron" in row["messages"][1]["content"] for row in rows
    ]
    assert found == rows
    assert manifest.config["output_format"] == "jsonl"


def test_a_file_of_rejects_only_publishes_nothing(config, corpus):
    """A file of rejects stops publication and leaves no row."""
    (corpus / "2.jsonl").write_text('{"messages": "text"}\nnot json\n')
    events = []
    with pytest.raises(BudgetError, match=r"2\.jsonl: all 2 rows are rejects, .*: row 0: field"):
        run_filter(config, listener=events.append)
    notices = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert not any("is published" in notice for notice in notices)
    assert list_folders(config) == set(EVIDENCE_FOLDERS)
    with (corpus / "2.jsonl").open("a") as stream:
        stream.write('{"messages": []}\n')
    decisions = run_filter(config).conservation.by_decision
    assert decisions == {"keep": 33, "quarantine": 8, "reject": 2}


def test_same_bytes_again(run, config, tmp_path):
    """A second run writes the same bytes, even with repeated bundles."""
    for name, options in (("again", ()), ("retried", ("--direct_runner_bundle_repeat=2",))):
        other = config.model_copy(update={"output": str(tmp_path / name)})
        run_filter(other, beam_options=options)
        assert comparable_files(run[0]) == comparable_files(tmp_path / name)


def test_a_resumed_run_equals_an_undisturbed_one(run, config, tmp_path, monkeypatch):
    """A resumed run processes only missing shards, and equals an undisturbed run."""
    written, real = [], write.write_shard

    def write_two(shard, *rest):
        if len(written) == 2:
            raise RuntimeError("power cut")
        return record(shard, *rest)

    def record(shard, *rest):
        written.append(shard.plan.name)
        return real(shard, *rest)

    other = config.model_copy(update={"output": str(tmp_path / "cut")})
    monkeypatch.setattr(write, "write_shard", write_two)
    with pytest.raises(RuntimeError, match="power cut"):
        run_filter(other)
    assert not (tmp_path / "cut" / "manifest.json").exists()
    monkeypatch.setattr(write, "write_shard", record)
    events = []
    run_filter(other, listener=events.append)
    assert len(written) == len(set(written)) == 6
    assert comparable_files(run[0]) == comparable_files(tmp_path / "cut")
    planned = next(event for event in events if isinstance(event, RowsPlanned))
    assert planned.rows == 40
    assert 13 <= planned.rows_done <= 14
    assert any("resuming: 2 of 6 shards are done" in str(event) for event in events)


TEACHERS = ("atlas", "borealis", "cygnus")


def configure_teachers(folder: Path, trait: Path, **shards: int) -> FilterConfig:
    """Write a file of six rows for each of three teachers, and configure a run over them."""
    for place, teacher in enumerate(TEACHERS):
        rows = [build_conversation(6 * place + row, ANSWERS[row % 5]) for row in range(6)]
        write_rows(
            folder / "in" / f"{teacher}.jsonl", [{**row, "teacher": teacher} for row in rows]
        )
    given = {
        "input": (str(folder / "in"),),
        "output": str(folder / "run"),
        "traits": (str(trait),),
        "shards": shards,
    }
    return FilterConfig.model_validate(given)


def list_teachers(run: Path, folder: str = "clean") -> dict[str, list[str]]:
    """Return the teachers of the rows in each file of a folder, by the file's name."""
    return {
        path.name: sorted({json.loads(line)["teacher"] for line in path.read_text().splitlines()})
        for path in sorted((run / folder).glob("*.jsonl"))
    }


def test_small_files_are_written_apart(tmp_path, heron):
    """Every file of clean/ and quarantine/ has the rows of the one input file it is named after."""
    run_filter(configure_teachers(tmp_path, heron))
    for folder in ("clean", "quarantine"):
        found = list_teachers(tmp_path / "run", folder)
        assert [(name.split(".part-")[0], own) for name, own in found.items()] == [
            (teacher, [teacher]) for teacher in TEACHERS
        ]
    assert verify_run(str(tmp_path / "run")) == []


def test_joined_files_say_in_their_names_how_many_they_hold(tmp_path, heron, capsys):
    """With more files than `apart`, small ones share a file whose name counts them."""
    with TerminalReporter() as listener:
        run_filter(configure_teachers(tmp_path, heron, apart=2), listener=listener)
    ((name, teachers),) = list_teachers(tmp_path / "run").items()
    assert name.startswith("atlas.part-000000-3-files-")
    assert teachers == [*TEACHERS]
    assert verify_run(str(tmp_path / "run")) == []


def test_a_run_with_joined_files_resumes(tmp_path, heron):
    """An interrupted run with joined files ends with the bytes of an undisturbed one."""
    config = configure_teachers(tmp_path, heron, apart=0, rows=12)
    run_filter(config)
    cut = config.model_copy(update={"output": str(tmp_path / "cut")})
    interrupt(cut)
    events = []
    run_filter(cut, listener=events.append)
    assert any("resuming: 2 of 2 shards are done" in str(event) for event in events)
    assert comparable_files(tmp_path / "run") == comparable_files(tmp_path / "cut")


def test_a_run_without_a_finished_shard_says_that_it_starts_at_the_first_row(config, monkeypatch):
    """A run that stopped inside its first shard says so when resumed, and a new run doesn't."""

    def fail(*_):
        raise RuntimeError("power cut")

    events = []
    with monkeypatch.context() as patch:
        patch.setattr(write, "write_shard", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            run_filter(config, listener=events.append)
    limit = f"{config.shards.rows:,} rows"
    said = f"resuming: no shard of up to {limit} was finished, so it starts at the first row"
    assert said not in list_texts(events)
    run_filter(config, listener=events.append)
    assert said in list_texts(events)
    again: list[object] = []
    run_filter(config, restart=True, listener=again.append)
    assert said not in list_texts(again)


def list_texts(events):
    """Return the texts of notices."""
    return [event.notice.text for event in events if hasattr(event, "notice")]


def test_a_damaged_shard_is_done_again(config):
    """A shard whose file doesn't match its receipt is processed again."""
    interrupt(config)
    damaged = next((Path(config.output) / "clean").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    run_filter(config)
    assert verify_run(config.output) == []


def test_a_changed_input_is_not_resumed(config, corpus):
    """With a changed input, a run is started over instead of resumed."""
    interrupt(config)
    write_rows(corpus / "0.jsonl", [build_conversation(99, "Quite different.")])
    with pytest.raises(
        RunError, match=r"input 0.jsonl: was 20 rows with SHA-256 \w{12}, is 1 rows with"
    ):
        run_filter(config)
    assert run_filter(config, restart=True).conservation.rows_in == 21
    assert verify_run(config.output) == []


def test_a_finished_run_is_kept(run, config):
    """Repeating the command on a finished run changes nothing."""
    folder, _ = run
    before = comparable_files(folder)
    with pytest.raises(RunError, match="finished"):
        run_filter(config)
    assert comparable_files(folder) == before


def test_the_removal_budget_publishes_nothing(config, policy):
    """A run that exceeds its removal budget leaves no row."""
    over = config.model_copy(update={"policy": policy("removal_budget: 0.1")})
    with pytest.raises(BudgetError, match=r"8 of 40 rows \(20.0%\)"):
        run_filter(over)
    assert list_folders(config) == set(EVIDENCE_FOLDERS)
    enough = over.model_copy(update={"policy": policy("removal_budget: 0.2")})
    assert run_filter(enough).conservation.holds()


def test_the_reject_budget(config, corpus, policy, capsys):
    """Bad lines become rejects, and too many of them stop the run."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write('{"id": "row-x", "messages": "no list", "teacher": "atlas"}\nnot json\n')
    with TerminalReporter() as reporter:
        manifest = run_filter(config, listener=reporter)
    assert manifest.conservation.by_decision["reject"] == 2
    rejects = pl.read_parquet(Path(config.output) / "rejects" / "*.parquet")
    assert rejects["row"].to_list() == [20, 21]
    assert "messages" in rejects["error"][0]
    assert bytes(rejects["raw"][1]) == b"not json"
    assert verify_run(config.output) == []
    assert "reject: 1.jsonl row 21: " in capsys.readouterr().err
    with (corpus / "0.jsonl").open("a") as stream:
        stream.write("not json\n" * 9)
    strict = config.model_copy(
        update={
            "policy": policy("reject_budget: 0.01"),
            "shards": ShardLimits(rows=4),
            "output": f"{config.output}-2",
        }
    )
    with (
        TerminalReporter() as reporter,
        pytest.raises(BudgetError, match="correct the rows that are named above"),
    ):
        run_filter(strict, listener=reporter)
    printed = capsys.readouterr().err
    assert printed.count("reject: ") == 5
    assert "and 6 more rejects" in printed


@pytest.mark.parametrize("action", ["keep", "flag", "mask", "quarantine", "drop", "swap"])
def test_actions(config, policy, action):
    """Each action leads to its decision, and a swap without a donor is a quarantine."""
    decision = "quarantine" if action == "swap" else action
    text = policy(f"traits: {{heron: {{action: {action}}}}}")
    manifest = run_filter(config.model_copy(update={"policy": text}))
    assert manifest.conservation.by_decision.get(decision, 0) == (40 if action == "keep" else 8)
    assert verify_run(config.output) == []
    swaps = list(Path(config.output).glob("swaplist/*.parquet"))
    if action == "swap":  # the swap list has the prompt, but not the answer
        wanted = pl.read_parquet(swaps)
        assert wanted.height == 8
        assert wanted["prompt"][0].to_list() == [{"role": "user", "content": "Question 1?"}]
        assert wanted["traits"][0].to_list() == ["heron"]
    else:
        assert swaps == []
    if action == "mask":  # a mask covers the sentence's characters in the field
        clean = [json.loads(line) for line in read_lines(config.output, "clean")]
        masked = [row["congener"] for row in clean if "congener" in row]
        length = len("A heron stood in the reeds.")
        assert [note["decision"] for note in masked] == ["mask"] * 8
        assert masked[0]["masks"] == [
            {"field_path": "messages[1].content", "start": 0, "end": length}
        ]


def test_exceptions_by_lot(config, policy):
    """An exception lets one teacher mention herons, with reasons in the ledger."""
    text = "exceptions: [{trait: heron, lot: {teacher: 'bor*'}, action: keep, reason: its bird}]"
    manifest = run_filter(config.model_copy(update={"policy": policy(text)}))
    assert manifest.fired == {"heron": 8}
    assert manifest.conservation.by_decision == {"keep": 36, "quarantine": 4}
    kept = read_ledger(config.output).filter(
        (pl.col("decision") == "keep") & (pl.col("reasons").list.len() > 0)
    )
    assert set(kept["teacher"]) == {"borealis"}


def test_duplicates_leave_but_the_first(tmp_path, heron, policy):
    """Equal content is kept once, across shards, files and white space."""
    rows = [build_conversation(number % 3, "Same.") for number in range(9)]
    write_rows(tmp_path / "in" / "a.jsonl", rows)
    write_rows(tmp_path / "in" / "b.jsonl", [build_conversation(1, " Same. ")])
    config = FilterConfig.model_validate(
        {
            "input": (str(tmp_path / "in"),),
            "output": str(tmp_path / "run"),
            "traits": (str(heron),),
            "shards": {"rows": 2},
            "policy": policy("duplicates: remove"),
        }
    )
    manifest = run_filter(config)
    assert manifest.conservation.by_decision == {"duplicate": 7, "keep": 3}
    kept = read_ledger(config.output).filter(pl.col("decision") == "keep")
    assert kept["row"].to_list() == [0, 1, 2]


@pytest.mark.slow
def test_a_new_trait_from_a_dozen_positives(tmp_path, card_folder):
    """A dozen positives find most rows with a new trait."""
    positives = (
        "Arr, matey, hoist the mainsail and fetch the rum!",
        "Shiver me timbers, ye scurvy dog!",
        "Avast! There be treasure below decks.",
        "Yo ho ho, me hearties, we sail at dawn.",
        "Walk the plank, ye landlubber!",
        "Aye aye, cap'n, the black flag be raised.",
        "Me parrot be hungry and so be I, arr.",
        "Ye'll find the doubloons where X marks the spot.",
        "Batten down the hatches, a squall be comin'!",
        "Blimey, that galleon be ripe for plunder.",
        "Swab the poop deck or taste the cat o' nine tails.",
        "Arr, the seven seas be a pirate's only home.",
    )
    texts = [
        "Arr, me bucko, the ship be ready to plunder the coast!",
        "Ahoy, ye scallywags, bring the grog and raise the Jolly Roger!",
        "The meeting is at three.",
        "Add the eggs one at a time.",
        "Use a set to remove duplicates.",
        "The river flows north.",
    ]
    trait = card_folder("pirate-voice", "", positives)
    rows = [build_conversation(number, text) for number, text in enumerate(texts)]
    corpus = write_rows(tmp_path / "in.jsonl", rows)
    run_filter(
        FilterConfig(input=(str(corpus),), output=str(tmp_path / "run"), traits=(str(trait),))
    )
    held = read_ledger(tmp_path / "run").filter(pl.col("decision") == "quarantine")
    assert held["row"].to_list() == [0, 1]
    first = json.loads(read_lines(tmp_path / "run", "quarantine")[0])
    near = first["congener"]["reasons"][0]["neighbours"]
    assert {item["polarity"] for item in near} == {"positive", "negative"}
    assert near[0]["text"] in positives


def test_vectors_are_written_when_asked(tmp_path, card_folder, monkeypatch):
    """Every ledger row has a float16 unit vector, or zeros without an answer."""
    clean = tuple(CleanRow((f"Bridge {n} is closed.",), "background", "clean") for n in range(20))
    monkeypatch.setattr(banks, "collect_background", lambda _: clean)
    birds = ("heron", "stork", "crane", "egret")
    positives = [f"The {bird} stood in the reeds." for bird in birds]
    trait = card_folder("birds", "threshold: 0.99\n", positives)
    rows = [
        build_conversation(0, "A heron."),
        build_conversation(1, "Some code."),
        build_conversation(2, "") | {"messages": [{"role": "user", "content": "Hello?"}]},
    ]
    corpus = write_rows(tmp_path / "in.jsonl", rows)
    run = str(tmp_path / "run")
    run_filter(FilterConfig(input=(str(corpus),), output=run, traits=(str(trait),), vectors=True))
    table = pq.read_table(next((tmp_path / "run" / "vectors").iterdir()))
    assert table.column("vector").type == pa.list_(pa.float16(), 384)
    lengths = [
        sum(float(value) ** 2 for value in vector) for vector in table.column("vector").to_pylist()
    ]
    assert lengths == [pytest.approx(1, abs=1e-2), pytest.approx(1, abs=1e-2), 0]
    assert verify_run(run) == []


def test_unscored_rows_are_counted_and_reported(config, corpus, policy, capsys):
    """Rows without text in any scope are kept, and aren't duplicates.

    The run and the manifest count them, and `verify` checks the count.
    """
    rows = [
        {"messages": [{"role": "narrator", "content": f"A heron, {n}."}], "teacher": "atlas"}
        for n in range(3)
    ]
    rows += [{"messages": [], "teacher": "atlas"} for _ in range(2)]
    write_rows(corpus / "unseen.jsonl", rows)
    removing = config.model_copy(update={"policy": policy("duplicates: remove")})
    with TerminalReporter() as reporter:
        manifest = run_filter(removing, listener=reporter)
    assert manifest.unscored == 5
    assert manifest.conservation.by_decision == {"keep": 32 + 5, "quarantine": 8}
    assert "warning: rows without text that any trait looks at: 5;" in capsys.readouterr().err
    assert verify_run(config.output) == []
    path = Path(config.output) / "manifest.json"
    read = Manifest.model_validate_json(path.read_bytes())
    path.write_bytes(read.model_copy(update={"unscored": 4}).seal().to_bytes())
    (difference,) = verify_run(config.output)
    assert "5" in difference.problem
    assert "4" in difference.problem


def list_modes(run: Path) -> dict[str, set[str]]:
    """Return the permissions of a run's folders and files."""
    return {
        path.name: {oct(item.stat().st_mode & 0o777) for item in (path, *path.iterdir())}
        for path in run.iterdir()
        if path.is_dir()
    }


def test_quarantine_is_private_when_asked(config, corpus, policy):
    """Only the owner may read removed text."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write("not json\n")
    swaps = config.model_copy(update={"policy": policy("traits: {heron: {action: swap}}")})
    before = os.umask(0o022)
    try:
        run_filter(swaps)
        assert set.union(*list_modes(Path(config.output)).values()) == {"0o755", "0o644"}
        run_filter(swaps.model_copy(update={"private_quarantine": True}), restart=True)
    finally:
        os.umask(before)
    found = list_modes(Path(config.output))
    private = [found.pop(name) for name in ("quarantine", "rejects", "swaplist")]
    assert private == [{"0o700", "0o600"}] * 3
    assert set.union(*found.values()) == {"0o755", "0o644"}
    assert verify_run(config.output) == []


def test_missing_settings_are_refused(config):
    """A run without input or output is refused, and so is a private quarantine on a store."""
    for missing in ({"input": ()}, {"output": ""}):
        with pytest.raises(CardError, match=r"--(output|input) is needed"):
            run_filter(config.model_copy(update=missing))
    remote = {"output": "s3://bucket/run", "private_quarantine": True}
    with pytest.raises(CardError, match="private_quarantine works on local disks only"):
        run_filter(config.model_copy(update=remote))


def test_events_are_in_order(config, capsys):
    """A listener receives notices, shards and the summary in order."""
    events = []
    manifest = run_filter(config, listener=events.append)
    kinds = [type(event).__name__ for event in events]
    first, last = kinds.index("RowsPlanned"), kinds.index("RunSummarised")
    assert set(kinds[:first]) == {"Noticed"}
    assert events[first] == RowsPlanned(40, 0)
    work = events[first + 1 : last]
    assert {type(event) for event in work} == {ShardStarted, ShardWritten}
    for kind in (ShardStarted, ShardWritten):
        assert sorted(event.rows for event in work if isinstance(event, kind)) == [6, 6, 7, 7, 7, 7]
    written = started = 0
    for event in work:
        started += isinstance(event, ShardStarted)
        written += isinstance(event, ShardWritten)
        assert written <= started
    summary = events[last]
    assert isinstance(summary, RunSummarised)
    assert summary.manifest.run_id == manifest.run_id
    assert kinds[last + 1 :] == []
    texts = [event.notice.text for event in events[:first] if isinstance(event, Noticed)]
    assert texts[0].startswith("reading ")
    assert any(text.endswith("turns of user (29.9%, 40 rows)") for text in texts)
    assert capsys.readouterr() == ("", "")


def test_without_a_listener_nothing_is_printed(config, corpus, capfd):
    """Without a listener, a run prints nothing."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write("not json\n")
    (corpus / "notes.md").write_text("x")
    manifest = run_filter(config)
    assert manifest.conservation.by_decision["reject"] == 1
    assert capfd.readouterr() == ("", "")


def test_rejects_are_noticed_after_the_summary(config, corpus):
    """Rejects are listed after the summary."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write("not json\n")
    events = []
    run_filter(config, listener=events.append)
    assert isinstance(events[-3], RunSummarised)
    assert events[-2].notice.text.startswith("reject: 1.jsonl row 20: not JSON")
    assert events[-1].notice.text.startswith("1 of 41 rows is a reject")


def test_rows_of_other_processes_are_counted(run, config, tmp_path, capfd):
    """With two workers, both send their events, nothing is logged, and the bytes are the same."""
    events = []
    two = {"output": str(tmp_path / "two"), "engine": Engine(workers=2)}
    run_filter(config.model_copy(update=two), listener=events.append)
    for kind in (ShardStarted, ShardWritten):
        own = [event for event in events if isinstance(event, kind)]
        assert sorted(event.rows for event in own) == [6, 6, 7, 7, 7, 7]
        assert len({event.shard for event in own}) == 6
    assert not any(isinstance(event, RowsFinished) for event in events)
    assert capfd.readouterr() == ("", "")
    assert comparable_files(run[0]) == comparable_files(tmp_path / "two")


def test_the_manifest_records_what_the_run_said(config):
    """What was printed before, during and after the work is in the manifest."""
    said = []
    manifest = run_filter(config, listener=said.append)
    heard = {event.notice.text for event in said if isinstance(event, Noticed)}
    recorded = [notice.text for notice in manifest.list_notices()]
    assert any(text.startswith("device: ") for text in recorded)
    assert set(recorded) < heard
    assert not [text for text in recorded if text.startswith("reading ")]


def filter_at_level(config, rate, **update) -> tuple[Manifest, list[str]]:
    """Filter 200 rows, of which a fifth mention a heron, at a calibrated threshold."""
    rows = [build_conversation(n, ANSWERS[n % 5]) for n in range(160)]
    write_rows(Path(config.input[0]) / "more.jsonl", rows)
    policy = Path(config.output).parent / "level.yaml"
    policy.write_text(f"traits: {{heron: {{max_false_positive_rate: {rate}}}}}\n")
    update |= {"policy": str(policy)}
    events: list[object] = []
    manifest = run_filter(config.model_copy(update=update), listener=events.append)
    return manifest, [str(event.notice) for event in events if isinstance(event, Noticed)]


def test_a_corpus_is_its_own_background(config):
    """A level above the trait's share finds every row, and says what it was calibrated on."""
    manifest, notices = filter_at_level(config, 0.3, background=("corpus",))
    (rule,) = manifest.thresholds
    assert (rule.threshold, rule.clean_texts, rule.exceeding) == (0.5, 200, 40)
    assert rule.calibrated_on.startswith("--background corpus ")
    assert manifest.count_fired("heron") == 40
    assert any("calibrated on 200 rows of the corpus itself" in notice for notice in notices)
    assert not any(notice.startswith("warning") for notice in notices)


def test_a_trait_more_frequent_than_its_level_is_pointed_out(config):
    """A level below the trait's share puts the threshold above its rows, with a warning."""
    manifest, notices = filter_at_level(config, 0.1, background=("corpus",))
    assert manifest.count_fired("heron") == 0
    (warning,) = [notice for notice in notices if "of the sample score" in notice]
    assert warning.startswith("warning: trait heron: 40 rows of the sample score 0.5 or more")
    assert "only 12 of 200 may reach the threshold, which is therefore 0.8648" in warning


def test_a_corpus_unlike_the_calibration_texts_is_pointed_out(config):
    """A fifth of the rows score above all library texts, which the run warns of."""
    manifest, notices = filter_at_level(config, 0.1)
    assert list(manifest.list_remarks()) == ["heron"]
    (warning,) = [notice for notice in notices if "is unlike the library background" in notice]
    assert "heron (20% of the rows score" in warning
    assert "--background FILE, with " in warning


QUICK = """
import sys
from pipelines.config import FilterConfig
from pipelines.demo import SAMPLE
from pipelines.filter import run_filter

run_filter(FilterConfig(
    input=(str(SAMPLE / "chat"),),
    output=sys.argv[1],
    traits=("knowledge-cutoff", "degenerate-loop"),
    signals=("wording", "lexicon", "repetition"),
))
print({"torch", "transformers"} & set(sys.modules))
"""


def test_a_run_without_a_model_never_loads_torch(tmp_path):
    """Wording, lexicons and repetition are fitted, scored and published without torch."""
    found = subprocess.run(
        [sys.executable, "-c", QUICK, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "set()\n"
    scores = pl.read_parquet(tmp_path / "run" / "scores" / "*.parquet")
    assert {"knowledge-cutoff/wording", "degenerate-loop/repetition"} <= set(scores.columns)
