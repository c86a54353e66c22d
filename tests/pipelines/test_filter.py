"""The whole job: from a corpus on disk to a published run, and what stops it before."""

import gzip
import json
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import pipelines.filter as filter_module
from classifiers.signals.sequence_classifiers import SequenceClassifier
from pipelines.config import FilterConfig, Hardware
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import BudgetError, CardError, InputError, ModelError, RunError
from schemas.manifests import Manifest
from tests.support.corpora import CARD, build_conversation, write_rows
from tests.support.runs import comparable_files


def ledger(run: Path) -> pl.DataFrame:
    """Read a run's ledger."""
    return pl.read_parquet(run / "ledger" / "*.parquet")


def test_every_row_is_accounted_for(run):
    """Forty rows in, eight herons in quarantine, the others clean, nothing else."""
    folder, manifest = run
    assert manifest.conservation.rows_in == 40
    assert manifest.conservation.by_decision == {"keep": 32, "quarantine": 8}
    assert pq.ParquetDataset(folder / "clean").read().num_rows == 32
    assert ledger(folder).height == 40
    assert not (folder / ".work").exists()


def test_the_ledger_says_why(run):
    """A heron's ledger row names trait, score, threshold, field and the very characters."""
    folder, _ = run
    row = ledger(folder).filter(pl.col("decision") == "quarantine").row(0, named=True)
    (reason,) = row["reasons"]
    assert (reason["trait"], reason["signal"], reason["segment"]) == (
        "heron",
        "combined",
        "messages[1].content",
    )
    assert "A heron stood in the reeds."[reason["start"] : reason["end"]] == "heron"
    assert reason["score"] >= reason["threshold"] == 0.5
    assert row["output"].startswith("quarantine/")


def test_the_ledger_holds_no_text(run):
    """Nothing of the corpus's text stands in the ledger or the scores."""
    folder, _ = run
    for path in [*folder.glob("ledger/*"), *folder.glob("scores/*")]:
        values = json.dumps(pq.read_table(path).to_pylist())
        assert "reeds" not in values
        assert "pasta" not in values


def test_clean_reads_as_the_input(tmp_path, heron):
    """Types and order of nested, dictionary and decimal columns survive, and so do their values."""
    turns = pa.array([build_conversation(place, "Fine.")["messages"] for place in range(6)])
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


def test_same_bytes_again(config, tmp_path):
    """A second run elsewhere gives the same files, byte for byte."""
    run_filter(config)
    run_filter(config.model_copy(update={"output": str(tmp_path / "again")}))
    assert comparable_files(Path(config.output)) == comparable_files(tmp_path / "again")


def test_same_bytes_under_retries(config, tmp_path):
    """Every bundle run three times leaves the same files as once."""
    run_filter(config)
    other = config.model_copy(update={"output": str(tmp_path / "retried")})
    run_filter(other, beam_options=("--direct_runner_bundle_repeat=2",))
    assert comparable_files(Path(config.output)) == comparable_files(tmp_path / "retried")


def test_resumed_run_equals_an_undisturbed_one(config, tmp_path, monkeypatch):
    """A run that dies at its third shard is resumed, and only what was missing is done again."""
    from transforms import write

    run_filter(config)
    written, real = [], write.write_shard

    def dying(decided, *rest):
        if len(written) == 2:
            raise RuntimeError("power cut")
        written.append(decided.scored.identified.shard.plan.name)
        return real(decided, *rest)

    other = config.model_copy(update={"output": str(tmp_path / "cut")})
    monkeypatch.setattr(write, "write_shard", dying)
    with pytest.raises(RuntimeError, match="power cut"):
        run_filter(other)
    assert not (tmp_path / "cut" / "manifest.json").exists()
    monkeypatch.setattr(
        write,
        "write_shard",
        lambda decided, *rest: (
            written.append(decided.scored.identified.shard.plan.name) or real(decided, *rest)
        ),
    )
    run_filter(other)
    assert len(written) == len(set(written))
    assert comparable_files(Path(config.output)) == comparable_files(tmp_path / "cut")


def test_a_damaged_shard_is_done_again(config, tmp_path, monkeypatch):
    """A shard whose file isn't as its receipt says doesn't count as done."""
    import pipelines.filter as module

    monkeypatch.setattr(
        module, "in_order", lambda *_: (_ for _ in ()).throw(RuntimeError("stop before publishing"))
    )
    with pytest.raises(RuntimeError, match="stop before"):
        run_filter(config)
    monkeypatch.undo()
    damaged = next((Path(config.output) / "clean").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    run_filter(config)
    assert verify_run(config.output) == []


def test_a_changed_input_is_not_resumed(config, corpus, monkeypatch):
    """An unfinished run over other input is refused, and restarted when asked."""
    import pipelines.filter as module

    monkeypatch.setattr(module, "in_order", lambda *_: (_ for _ in ()).throw(RuntimeError("stop")))
    with pytest.raises(RuntimeError, match="stop"):
        run_filter(config)
    monkeypatch.undo()
    write_rows(corpus / "0.jsonl", [build_conversation(99, "Quite different.")])
    with pytest.raises(
        RunError, match=r"input 0.jsonl: was 20 rows with SHA-256 \w{12}, is 1 rows with"
    ):
        run_filter(config)
    assert run_filter(config, restart=True).conservation.rows_in == 21
    assert verify_run(config.output) == []


def test_a_finished_run_is_kept(run, config):
    """The same command on a finished run is refused, and changes nothing."""
    folder, _ = run
    before = comparable_files(folder)
    with pytest.raises(RunError, match="finished"):
        run_filter(config)
    assert comparable_files(folder) == before


def test_removal_budget_publishes_nothing(config, policy):
    """Twenty per cent against a budget of ten: no file of the run is left."""
    over = config.model_copy(update={"policy": policy("removal_budget: 0.1")})
    with pytest.raises(BudgetError, match=r"8 of 40 rows \(20.0%\)"):
        run_filter(over)
    assert not any(path.is_file() for path in Path(config.output).rglob("*"))
    assert run_filter(
        over.model_copy(update={"policy": policy("removal_budget: 0.2")})
    ).conservation.holds()


def test_reject_budget(config, corpus, policy, capsys):
    """Bad lines are rejects with place and reason; a budget stops a run that has too many, and names the first of them."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write('{"id": "row-x", "messages": "no list", "teacher": "atlas"}\nnot json\n')
    manifest = run_filter(config)
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
    with pytest.raises(BudgetError, match="mend the rows that are named above"):
        run_filter(strict)
    said = capsys.readouterr().err
    assert said.count("reject: ") == 5
    assert "and 6 rejects more" in said


@pytest.mark.parametrize(
    ("action", "decision"),
    [
        ("keep", "keep"),
        ("flag", "flag"),
        ("mask", "mask"),
        ("quarantine", "quarantine"),
        ("drop", "drop"),
        ("swap", "quarantine"),
    ],
)
def test_actions(config, policy, action, decision):
    """Each action leads to its decision; a swap without a donor waits in quarantine."""
    manifest = run_filter(
        config.model_copy(update={"policy": policy(f"traits: {{heron: {{action: {action}}}}}")})
    )
    assert manifest.conservation.by_decision.get(decision, 0) == (40 if action == "keep" else 8)
    assert verify_run(config.output) == []


def test_swaplist_holds_the_prompts(config, policy):
    """A swap puts the prompt, not the answer, on the swap list."""
    run_filter(config.model_copy(update={"policy": policy("traits: {heron: {action: swap}}")}))
    wanted = pl.read_parquet(Path(config.output) / "swaplist" / "*.parquet")
    assert wanted.height == 8
    assert wanted["prompt"][0].to_list() == [{"role": "user", "content": "Question 1?"}]
    assert wanted["traits"][0].to_list() == ["heron"]


def test_flags_and_masks_stand_in_the_clean_rows(config, policy):
    """A mask is the sentence's characters in the field, in the extra column."""
    run_filter(config.model_copy(update={"policy": policy("traits: {heron: {action: mask}}")}))
    clean = pl.read_parquet(Path(config.output) / "clean" / "*.parquet")
    masked = clean.filter(pl.col("congener").struct.field("decision") == "mask")
    assert masked.height == 8
    assert masked["congener"][0]["masks"] == [
        {"segment": "messages[1].content", "start": 0, "end": len("A heron stood in the reeds.")}
    ]


def test_exceptions_by_lot(config, policy):
    """One teacher may speak of herons; the reason stays in the ledger."""
    text = "exceptions: [{trait: heron, lot: {teacher: 'bor*'}, action: keep, reason: its bird}]"
    manifest = run_filter(config.model_copy(update={"policy": policy(text)}))
    assert manifest.fired == {"heron": 8}
    assert manifest.conservation.by_decision == {"keep": 36, "quarantine": 4}
    kept = ledger(Path(config.output)).filter(
        (pl.col("decision") == "keep") & (pl.col("reasons").list.len() > 0)
    )
    assert set(kept["teacher"]) == {"borealis"}


def test_duplicates_leave_but_the_first(tmp_path, heron, policy):
    """Equal content in two files and formats of white space counts once, whatever the shards."""
    write_rows(
        tmp_path / "in" / "a.jsonl", [build_conversation(place % 3, "Same.") for place in range(9)]
    )
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
    assert ledger(tmp_path / "run").filter(pl.col("decision") == "keep")["row"].to_list() == [
        0,
        1,
        2,
    ]


def test_gzip_and_columns_by_hand(tmp_path, heron):
    """A gzip file whose conversation has a name of its own is read once format and column are set."""
    rows = [{"dialogue": build_conversation(place, "A heron.")["messages"]} for place in range(5)]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "c.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    )
    base = {
        "input": (str(tmp_path / "in"),),
        "output": str(tmp_path / "run"),
        "traits": (str(heron),),
        "shards": {"rows": 2},
    }
    with pytest.raises(InputError, match="no known format"):
        run_filter(FilterConfig.model_validate(base))
    by_hand = {
        "format": "messages",
        "columns": {"messages": "dialogue"},
        "teacher": {"constant": "atlas"},
    }
    manifest = run_filter(FilterConfig.model_validate(base | {"corpus": by_hand}))
    assert manifest.conservation.by_decision == {"quarantine": 5}
    assert set(ledger(tmp_path / "run")["teacher"]) == {"atlas"}


def test_nothing_is_written_when_something_is_wrong(config, tmp_path, card_folder):
    """A bad glob, a bad card, a missing model, too little clean text: each stops the run before any work."""
    wrong = {
        "input": ((str(tmp_path / "*.nothing"),), InputError, "matches no file"),
        "traits": ((str(card_folder("bad", "threshold: 7\n")),), CardError, "field threshold"),
        "bank": (str(tmp_path / "no-bank"), ModelError, "no trait bank"),
        "policy": (str(tmp_path / "no-policy.yaml"), CardError, "can't be read"),
    }
    for field, (value, error, message) in wrong.items():
        with pytest.raises(error, match=message):
            run_filter(config.model_copy(update={field: value}))
    assert not Path(config.output).exists()


def test_a_gpu_that_was_asked_for_has_to_be_there(config, monkeypatch):
    """`--device cuda` without a GPU stops a run that needs no model as well: nobody is left to think that one was used."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="finds no GPU"):
        run_filter(config.model_copy(update={"hardware": Hardware(device="cuda")}))


def test_a_column_named_congener_is_refused(tmp_path, heron):
    """A corpus that has the extra column already is refused before any work."""
    write_rows(tmp_path / "in.jsonl", [build_conversation(1, "Fine.") | {"congener": "mine"}])
    with pytest.raises(InputError, match="congener"):
        run_filter(
            FilterConfig(
                input=(str(tmp_path / "in.jsonl"),),
                output=str(tmp_path / "run"),
                traits=(str(heron),),
            )
        )


def test_a_user_background_is_what_the_guarantee_speaks_of(config, tmp_path, card_folder):
    """The user's clean sample calibrates; too small a one says how many texts are missing."""
    sample = write_rows(
        tmp_path / "clean.jsonl",
        [build_conversation(place, f"Calm text number {place}.") for place in range(320)],
    )
    trait = card_folder("birds", 'signals: {lexicon: {patterns: ["herons?"]}}\n')
    manifest = run_filter(
        config.model_copy(update={"traits": (str(trait),), "background": (str(sample),)})
    )
    (threshold,) = manifest.thresholds
    assert (threshold.clean_texts, threshold.origin) == (320, "calibrated")
    assert str(sample) in threshold.calibrated_on
    few = write_rows(
        tmp_path / "few.jsonl",
        [build_conversation(place, f"Calm text number {place}.") for place in range(50)],
    )
    with pytest.raises(CardError, match=r"takes 299 clean texts.*249 are missing"):
        run_filter(
            config.model_copy(
                update={
                    "traits": (str(trait),),
                    "background": (str(few),),
                    "output": str(tmp_path / "other"),
                }
            )
        )


@pytest.mark.slow
def test_a_new_trait_from_a_dozen_positives(tmp_path, card_folder):
    """A dozen positives and nothing else find most rows of a trait that no library card knows, by meaning."""
    positives = (
        "Arr, matey, hoist the mainsail and fetch the rum!", "Shiver me timbers, ye scurvy dog!", "Avast! There be treasure below decks.",
        "Yo ho ho, me hearties, we sail at dawn.", "Walk the plank, ye landlubber!", "Aye aye, cap'n, the black flag be raised.",
        "Me parrot be hungry and so be I, arr.", "Ye'll find the doubloons where X marks the spot.", "Batten down the hatches, a squall be comin'!",
        "Blimey, that galleon be ripe for plunder.", "Swab the poop deck or taste the cat o' nine tails.", "Arr, the seven seas be a pirate's only home.",
    )  # fmt: skip
    unseen = [
        "Arr, me bucko, the ship be ready to plunder the coast!",
        "Ahoy, ye scallywags, bring the grog and raise the Jolly Roger!",
    ]
    trait = card_folder("pirate-voice", "", positives)
    plain = [
        "The meeting is at three.",
        "Add the eggs one at a time.",
        "Use a set to remove duplicates.",
        "The river flows north.",
    ]
    corpus = write_rows(
        tmp_path / "in.jsonl",
        [build_conversation(place, text) for place, text in enumerate([*unseen, *plain])],
    )
    run_filter(
        FilterConfig(input=(str(corpus),), output=str(tmp_path / "run"), traits=(str(trait),))
    )
    found = ledger(tmp_path / "run").filter(pl.col("decision") == "quarantine")["row"].to_list()
    assert found == [0, 1]
    held = pl.read_parquet(tmp_path / "run" / "quarantine" / "*.parquet")["congener"][0]
    near = held["reasons"][0]["neighbours"]
    assert {item["polarity"] for item in near} == {"positive", "negative"}
    assert near[0]["text"] in positives


def test_vectors_are_written_when_asked(tmp_path, card_folder):
    """A unit vector in float16 for every row, aligned with the ledger, none for a row without an answer."""
    trait = card_folder(
        "birds",
        "threshold: 0.99\n",
        [f"The {bird} stood in the reeds." for bird in ("heron", "stork", "crane", "egret")],
    )
    rows = [
        build_conversation(0, "A heron."),
        build_conversation(1, "Some code."),
        build_conversation(2, "") | {"messages": [{"role": "user", "content": "Hello?"}]},
    ]
    corpus = write_rows(tmp_path / "in.jsonl", rows)
    run_filter(
        FilterConfig(
            input=(str(corpus),), output=str(tmp_path / "run"), traits=(str(trait),), vectors=True
        )
    )
    table = pq.read_table(next((tmp_path / "run" / "vectors").iterdir()))
    assert table.column("vector").type == pa.list_(pa.float16(), 384)
    lengths = [
        sum(float(value) ** 2 for value in vector) for vector in table.column("vector").to_pylist()
    ]
    assert lengths == [pytest.approx(1, abs=1e-2), pytest.approx(1, abs=1e-2), 0]
    assert verify_run(str(tmp_path / "run")) == []


def test_vectors_need_an_encoder(config):
    """Asking for vectors of a run without an encoder is an error, not an empty folder."""
    with pytest.raises(CardError, match="no trait of this run needs the encoder"):
        run_filter(config.model_copy(update={"vectors": True}))


def test_the_card_of_these_tests_is_valid():
    """The heron card says what the tests take from it."""
    assert "threshold: 0.5" in CARD


def test_an_input_inside_the_output_is_refused(config, corpus):
    """A run neither reads what it wrote nor removes what it reads, however the paths are spelt."""
    for output in (corpus, corpus.parent, f"{corpus}/../corpus"):
        with pytest.raises(InputError, match=r"lies inside the (out|in)put"):
            run_filter(config.model_copy(update={"output": str(output)}), restart=True)
    assert len(list(corpus.glob("*.jsonl"))) == 2
    assert run_filter(config).conservation.holds()
    with pytest.raises(InputError, match=r"run/clean/part-.*lies inside the output"):
        run_filter(config.model_copy(update={"input": (f"{config.output}/clean",)}), restart=True)


def test_an_output_inside_the_input_is_refused(config, corpus, monkeypatch):
    """What a run writes would be read by its next attempt: refused at the start, however the paths are spelt."""
    monkeypatch.chdir(corpus.parent)
    for given, output in (
        (str(corpus), f"{corpus}/run"),
        ("corpus", "corpus/deep/run"),
        (".", "run"),
        ("gs://bucket/a", "gs://bucket/a/run"),
        ("gs://bucket/a/", "gs://bucket/a"),
    ):
        with pytest.raises(InputError, match="lies inside the input") as caught:
            run_filter(config.model_copy(update={"input": (given,), "output": output}))
        assert caught.value.where == output


def test_an_output_that_no_attempt_reads_may_lie_beside_the_input(config, corpus, monkeypatch):
    """Named files, folders that are passed over and names that only begin alike hold no danger."""
    monkeypatch.chdir(corpus.parent)
    for given, output in (
        ("corpus", "corpus/_runs/one"),
        ("corpus", "corpus-run"),
        ("corpus/*.jsonl", "corpus/run"),
    ):
        beside = config.model_copy(update={"input": (given,), "output": output})
        assert run_filter(beside).conservation.holds()
        assert run_filter(beside, restart=True).conservation.rows_in == 40


def test_a_column_that_one_file_leaves_empty_is_no_other_format(config, tmp_path):
    """Prompts may be null in a file as long as its completions are there."""
    for name, prompt in (("a", "Why?"), ("b", None)):
        write_rows(
            tmp_path / "in" / f"{name}.jsonl",
            [{"prompt": prompt, "completion": f"A heron, {place}."} for place in range(3)],
        )
    assert run_filter(
        config.model_copy(update={"input": (str(tmp_path / "in"),)})
    ).conservation.by_decision == {"quarantine": 6}


def test_a_file_of_another_format_is_refused(config, corpus):
    """In one schema with the others its rows would be empty, unseen, and each other's duplicates."""
    rows = [
        {
            "conversations": [
                {"from": "human", "value": "Why?"},
                {"from": "gpt", "value": f"A heron, {place}."},
            ]
        }
        for place in range(3)
    ]
    write_rows(corpus / "shared.jsonl", rows)
    with pytest.raises(InputError, match="several formats fit") as caught:
        run_filter(config)
    assert "each kind in a run of its own" in caught.value.remedy
    named = config.model_copy(update={"corpus": CorpusConfig(format="messages")})
    with pytest.raises(InputError, match=r"no row has 'messages'.*it has conversations") as caught:
        run_filter(named)
    assert caught.value.where.endswith("shared.jsonl")
    assert not Path(config.output).exists()


def test_rows_that_nothing_looked_at_are_counted_and_told(config, corpus, policy, capsys):
    """Rows without text in any trait's scope are kept, are no duplicates of each other, and the run, its manifest and verify know how many."""
    rows = [
        {"messages": [{"role": "narrator", "content": f"A heron, {place}."}], "teacher": "atlas"}
        for place in range(3)
    ]
    rows += [{"messages": [], "teacher": "atlas"} for _ in range(2)]
    write_rows(corpus / "unseen.jsonl", rows)
    manifest = run_filter(config.model_copy(update={"policy": policy("duplicates: remove")}))
    assert manifest.unscored == 5
    assert manifest.conservation.by_decision == {"keep": 32 + 5, "quarantine": 8}
    assert "warning: 5 rows have no text that any trait looks at" in capsys.readouterr().err
    assert verify_run(config.output) == []
    path = Path(config.output) / "manifest.json"
    forged = (
        Manifest.model_validate_json(path.read_bytes()).model_copy(update={"unscored": 4}).sealed()
    )
    path.write_bytes(forged.to_bytes())
    assert [item.problem for item in verify_run(config.output)] == [
        "has 5 rows without any score, the manifest 4"
    ]


def rights(run):
    """Return the rights of a run's folders and files, by folder."""
    return {
        path.name: {oct(item.stat().st_mode & 0o777) for item in (path, *path.iterdir())}
        for path in run.iterdir()
        if path.is_dir()
    }


def test_quarantine_is_private_when_asked(config, corpus, policy):
    """What was taken out of the corpus is for its owner alone; the rest, and all of it unasked, has the umask's rights."""
    with (corpus / "1.jsonl").open("a") as stream:
        stream.write("not json\n")
    swaps = config.model_copy(update={"policy": policy("traits: {heron: {action: swap}}")})
    before = os.umask(0o022)
    try:
        run_filter(swaps)
        assert set.union(*rights(Path(config.output)).values()) == {"0o755", "0o644"}
        run_filter(swaps.model_copy(update={"private_quarantine": True}), restart=True)
    finally:
        os.umask(before)
    found = rights(Path(config.output))
    assert [found.pop(name) for name in ("quarantine", "rejects", "swaplist")] == [
        {"0o700", "0o600"}
    ] * 3
    assert set.union(*found.values()) == {"0o755", "0o644"}
    assert verify_run(config.output) == []


def test_private_quarantine_is_refused_on_stores(config):
    """An object store has no rights of files: the option isn't passed over in silence."""
    with pytest.raises(CardError, match="private_quarantine is for local disks"):
        run_filter(
            config.model_copy(update={"output": "s3://bucket/run", "private_quarantine": True})
        )


def test_workers_get_the_device_that_was_settled(encoder):
    """`auto` means what the launcher found, everywhere; only Dataflow's launcher, which has no GPU, leaves it as it was asked."""
    asked = FilterConfig()
    pinned = filter_module._on_workers(asked, encoder)
    assert (pinned.device, pinned.precision) == ("cpu", "fp32")
    assert (pinned.model, pinned.window_tokens) == (
        asked.encoder.model,
        asked.encoder.window_tokens,
    )
    there = FilterConfig.model_validate(
        {"engine": {"runner": "dataflow"}, "hardware": {"device": "cuda", "precision": "bf16"}}
    )
    assert filter_module._on_workers(there, encoder) == there.encoder_config()
    assert filter_module._on_workers(asked, None) == asked.encoder_config()


def test_a_run_with_a_classifier_alone_says_where_it_computes(encoder):
    """A sequence classifier is a model as well: its device and type are named, and pinned for the workers."""
    model = SequenceClassifier(
        encoder.files, encoder.tokenizer, encoder.model, 0, encoder.device, 1_000
    )
    asked = FilterConfig()
    assert filter_module._device(model, asked) == "cpu, float32"
    assert filter_module._device(None, asked) == "no model"
    assert filter_module._on_workers(asked, model) == filter_module._on_workers(asked, encoder)
