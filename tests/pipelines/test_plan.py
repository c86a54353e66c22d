"""The plan of a run: settings and mistakes before any work."""

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from classifiers.signals.sequence_classifiers import SequenceClassifier
from pipelines import plan as module
from pipelines.config import FilterConfig, Hardware
from pipelines.early_checks import require_outside
from pipelines.filter import run_filter
from pipelines.plan import FilterPlan, settle
from pipelines.runs.unfinished import compute_run_id
from schemas.corpora import CorpusConfig
from schemas.errors import BudgetError, CardError, InputError, ModelError, RunError, TeacherError
from schemas.events import Noticed, ignore
from tests.support.corpora import build_conversation, write_rows
from tests.support.family import build_rows, write_teacher
from transforms.score import get_scorer


def settle_quietly(config: FilterConfig, **changes: object) -> FilterPlan:
    """Settle a run with changed settings."""
    return settle(config.model_copy(update=changes), ignore)


def test_a_run_is_settled(config):
    """A plan has corpus, layout, rules and shards, and nothing is written."""
    plan = settle_quietly(config)
    assert [source.rows for source in plan.corpus.sources] == [20, 20]
    assert plan.layout.format == "messages"
    assert [rule.trait for rule in plan.rules] == ["heron"]
    assert [len(task) for task in plan.tasks] == [1] * 6
    assert [shard.rows for shard in plan.shards] == [7, 7, 6, 7, 7, 6]
    assert (plan.device, plan.classifiers) == ("no model", {})
    assert not Path(config.output).exists()


def test_notices_are_sent_in_order(config):
    """Notices name the input before it is read, then its rows and unread text, then the device."""
    settle_quietly(config)  # from now on the fitted trait is in the cache, so there is no fit
    events = []
    settle(config, events.append)
    assert all(isinstance(event, Noticed) for event in events)
    beginnings = ("reading ", "input: 2 files", "not scored, ", "device: ")
    for event, beginning in zip(events, beginnings, strict=True):
        assert event.notice.text.startswith(beginning)


def test_the_identity_decides_the_run_id(config, policy, tmp_path):
    """Input, policy and settings change the run id, but output and hardware don't."""
    plan = settle_quietly(config)
    assert plan.run_id == compute_run_id(plan.identity.model_dump(mode="json"))
    assert plan.record.run_id == plan.run_id
    assert plan.scoring.channel == plan.run_id
    empty = policy("{}")
    for changes in (
        {"output": str(tmp_path / "elsewhere")},
        {"policy": empty},
        {"hardware": Hardware(device="cpu", token_budget=512)},
    ):
        assert settle_quietly(config, **changes).run_id == plan.run_id
    Path(empty).write_text("removal_budget: 0.5")
    for changes in (
        {"policy": empty},
        {"span_floor": 0.2},
        {"input": (f"{config.input[0]}/0.jsonl",)},
    ):
        assert settle_quietly(config, **changes).run_id != plan.run_id


def test_a_dataset_card_is_part_of_the_identity(config, corpus):
    """A changed dataset card is another identity."""
    found = [settle_quietly(config).run_id]
    for name in ("train", "held"):
        card = f"---\nconfigs: [{{data_files: [{{split: {name}, path: '*.jsonl'}}]}}]\n---\n"
        (corpus / "README.md").write_text(card)
        plan = settle_quietly(config)
        found.append(plan.run_id)
        (corpus / "README.md").write_text(f"{card}# A title\n")
        assert settle_quietly(config).run_id == plan.run_id
    assert len(set(found)) == 3
    assert plan.identity.dataset_card == {"default": {"splits": [["held", "*.jsonl"]]}}


def test_settings_explain_the_identity(config):
    """A run records the settings behind its digests as JSON."""
    plan = settle_quietly(config)
    assert json.loads(json.dumps(plan.record.settings)) == plan.record.settings
    assert plan.record.settings["config"]["span_floor"] == 0.05
    assert plan.record.settings["traits"] == {"heron": plan.bank.traits["heron"].card_digest[:16]}
    assert plan.identity.inputs[0][:2] == ("0.jsonl", 20)


@pytest.mark.parametrize(
    ("text", "floor"),
    [
        ("{}", 0.05),
        ("traits: {heron: {threshold: 0.02}}", 0.02),
        ("exceptions: [{trait: '*', lot: {}, threshold: 0.01, reason: x}]", 0.01),
    ],
    ids=["default", "rule", "exception"],
)
def test_the_floor_is_below_every_threshold(config, policy, text, floor):
    """Spans are stored from the configured floor or the lowest threshold."""
    plan = settle_quietly(config, policy=policy(text))
    assert plan.span_floor == pytest.approx(floor)
    assert plan.scoring.span_floor == plan.span_floor
    assert settle_quietly(config, span_floor=0.0).span_floor == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", False),
        ("traits: {heron: {action: drop}}", False),
        ("traits: {heron: {action: flag}}", True),
        ("exceptions: [{trait: heron, lot: {teacher: x}, action: mask, reason: x}]", True),
    ],
)
def test_clean_rows_have_a_column_for_flags_and_masks(config, policy, text, expected):
    """The extra column exists only if a rule or an exception may flag or mask."""
    assert settle_quietly(config, policy=policy(text)).extra_column is expected


def test_the_scorer_is_kept_for_this_process(config):
    """The models of a plan also score the run."""
    plan = settle_quietly(config)
    scorer = get_scorer(plan.scoring)
    assert scorer.bank.digest == plan.bank.digest
    assert not Path(plan.scoring.bank_uri).exists()


def test_files_that_cant_be_seeked_are_one_task(config, corpus):
    """A compressed file's shards are one task."""
    (corpus / "0.jsonl.gz").write_bytes(gzip.compress((corpus / "0.jsonl").read_bytes()))
    (corpus / "0.jsonl").unlink()
    plan = settle_quietly(config)
    assert sorted(len(task) for task in plan.tasks) == [1, 1, 1, 3]
    assert len(plan.shards) == 6


def test_nothing_is_written_when_something_is_wrong(config, tmp_path, card_folder):
    """A bad glob, card, bank or policy stops the run before any work."""
    wrong = {
        "input": ((str(tmp_path / "*.nothing"),), InputError, "matches no file"),
        "traits": ((str(card_folder("bad", "threshold: 7\n")),), CardError, "field threshold"),
        "bank": (str(tmp_path / "no-bank"), ModelError, "is not a trait bank"),
        "policy": (str(tmp_path / "no-policy.yaml"), CardError, "can't be read"),
    }
    for field, (value, error, message) in wrong.items():
        with pytest.raises(error, match=message):
            run_filter(config.model_copy(update={field: value}))
    assert not Path(config.output).exists()


def test_a_gpu_that_was_asked_for_is_required(config, monkeypatch):
    """`--device cuda` without a GPU is an error even without a model."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="finds no GPU"):
        settle_quietly(config, hardware=Hardware(device="cuda"))


def test_a_column_named_congener_is_refused(config, tmp_path):
    """A corpus with a `congener` column is refused before any work."""
    path = write_rows(tmp_path / "in.jsonl", [build_conversation(1, "Fine.") | {"congener": "x"}])
    with pytest.raises(InputError, match="already has a column 'congener'"):
        settle_quietly(config, input=(str(path),))


def test_an_unknown_layout_names_the_file(config, tmp_path):
    """The error names a file of unknown format, or a file with rows inside an object."""
    path = tmp_path / "in.json"
    for text, problem in (
        ('{"error": "not found"}', "no known format fits"),
        ('{"data": [{"text": "a"}]}', "is one object with rows inside"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=problem) as caught:
            settle_quietly(config, input=(str(path),))
        assert caught.value.where == str(path)


def test_vectors_need_an_encoder(config):
    """Vectors without an encoder are an error."""
    with pytest.raises(CardError, match="no trait of this run needs the encoder"):
        settle_quietly(config, vectors=True)


def test_unread_text_is_refused_before_anything_is_fitted(config, policy, monkeypatch):
    """Text that no trait reads stops a run over its budget before the fit."""
    monkeypatch.setattr(module, "fit_traits", None)
    text = policy("unread_budget: 0\nuntrained_roles: []")
    with pytest.raises(BudgetError, match="exceeds the unread_budget"):
        settle_quietly(config, policy=text)


def test_a_contradicted_teacher_is_refused_before_anything_is_fitted(config, tmp_path, monkeypatch):
    """A lot under a false name stops the run; the same lot under its own name doesn't."""
    for name in ("atlas", "borealis"):
        write_rows(tmp_path / f"{name}.jsonl", build_rows(write_teacher(name, range(120))))
    given = (str(tmp_path / "atlas.jsonl"), str(tmp_path / "borealis.jsonl"))
    write_rows(tmp_path / "lot.jsonl", build_rows(write_teacher("atlas", range(200, 280))))
    lot = {"input": (str(tmp_path / "lot.jsonl"),), "teacher_answers": given}
    named = CorpusConfig.model_validate({"teacher": {"constant": "atlas"}})
    checked = settle_quietly(config, corpus=named, **lot)
    unchecked = settle_quietly(config, corpus=named, **(lot | {"teacher_answers": ()}))
    assert checked.run_id == unchecked.run_id
    monkeypatch.setattr(module, "fit_traits", None)
    renamed = CorpusConfig.model_validate({"teacher": {"constant": "borealis"}})
    with pytest.raises(TeacherError, match="more like atlas's"):
        settle_quietly(config, corpus=renamed, **lot)
    assert not Path(config.output).exists()


def test_a_column_that_one_file_leaves_empty_is_no_other_format(config, tmp_path):
    """A file whose prompts are all null has the corpus's format."""
    for name, prompt in (("a", "Why?"), ("b", None)):
        rows = [{"prompt": prompt, "completion": f"A heron, {number}."} for number in range(3)]
        write_rows(tmp_path / "in" / f"{name}.jsonl", rows)
    plan = settle_quietly(config, input=(str(tmp_path / "in"),))
    assert plan.layout.format == "completion"


def test_a_file_of_another_format_is_refused(config, corpus):
    """A file of another format is refused."""
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "A heron."}]
    write_rows(corpus / "shared.jsonl", [{"conversations": turns}] * 3)
    with pytest.raises(InputError, match="several formats fit") as caught:
        settle_quietly(config)
    assert "each kind in a separate run" in caught.value.remedy
    with pytest.raises(
        InputError, match=r"no row has 'messages'.*its columns are conversations"
    ) as caught:
        settle_quietly(config, corpus=CorpusConfig(format="messages"))
    assert caught.value.where.endswith("shared.jsonl")
    assert not Path(config.output).exists()


def test_format_and_columns_by_hand(tmp_path, heron):
    """A gzip file with a configured, unusual column is read."""
    rows = [{"exchange": build_conversation(number, "A heron.")["messages"]} for number in range(5)]
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
        "columns": {"messages": "exchange"},
        "teacher": {"constant": "atlas"},
    }
    manifest = run_filter(FilterConfig.model_validate(base | {"corpus": by_hand}))
    assert manifest.conservation.by_decision == {"quarantine": 5}
    ledger = pl.read_parquet(tmp_path / "run" / "ledger" / "*.parquet")
    assert set(ledger["teacher"]) == {"atlas"}


def test_transcripts_are_detected_and_part_of_the_identity(config, tmp_path):
    """Columns of transcripts are cut unless a setting forbids it."""
    texts = [f"\n\nHuman: Why?\n\nAssistant: Heron {number}." for number in range(9)]
    rows = [{"text": text} for text in (*texts, "Plain.")]
    given = {"input": (str(write_rows(tmp_path / "text.jsonl", rows)),)}
    events = []
    detected = settle(config.model_copy(update=given), events.append)
    assert detected.layout.transcripts == detected.identity.transcripts == ("text",)
    assert any("transcripts: 90%" in event.notice.text for event in events)
    whole = settle_quietly(config, **given, corpus=CorpusConfig(transcripts="whole"))
    assert whole.layout.transcripts == whole.identity.transcripts == ()
    assert len({detected.run_id, whole.run_id}) == 2


def test_a_users_background_calibrates(config, tmp_path, card_folder):
    """The user's sample calibrates the thresholds, and too small a sample is an error."""
    clean, few = (
        str(
            write_rows(
                tmp_path / f"clean-{count}.jsonl",
                [build_conversation(number, f"Calm text {number}.") for number in range(count)],
            )
        )
        for count in (320, 50)
    )
    trait = card_folder("birds", 'signals: {lexicon: {patterns: ["herons?"]}}\n')
    given = config.model_copy(update={"traits": (str(trait),)})
    manifest = run_filter(given.model_copy(update={"background": (clean,)}))
    (threshold,) = manifest.thresholds
    assert (threshold.clean_texts, threshold.origin) == (320, "calibrated")
    copy = Path(shutil.copy(clean, tmp_path / "copy.jsonl"))
    again = settle_quietly(given, background=(str(copy),))
    assert (again.run_id, tmp_path.name in threshold.calibrated_on) == (manifest.run_id, False)
    assert threshold.calibrated_on == again.bank.traits["birds"].calibrated_on
    with pytest.raises(CardError, match=r"needs 299 clean texts.*249 too few"):
        settle_quietly(given, background=(few,))


def test_an_input_inside_the_output_is_refused(config, corpus):
    """An input inside the output is refused, in any spelling."""
    for output in (corpus, corpus.parent, f"{corpus}/../corpus"):
        with pytest.raises(InputError, match=r"is inside the (out|in)put"):
            run_filter(config.model_copy(update={"output": str(output)}), restart=True)
    assert len(list(corpus.glob("*.jsonl"))) == 2
    assert run_filter(config).conservation.holds()
    with pytest.raises(InputError, match=r"run/clean: is inside the output"):
        run_filter(config.model_copy(update={"input": (f"{config.output}/clean",)}), restart=True)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("corpus", "corpus/run"),
        ("corpus", "corpus/deep/run"),
        (".", "run"),
        ("corpus", "corpus/../corpus/run"),
        ("gs://bucket/a", "gs://bucket/a/run"),
        ("gs://bucket/a/", "gs://bucket/a"),
    ],
)
def test_an_output_inside_the_input_is_refused(config, corpus, monkeypatch, given, output):
    """An output inside the input is refused."""
    monkeypatch.chdir(corpus.parent)
    with pytest.raises(InputError, match="is inside the input") as caught:
        run_filter(config.model_copy(update={"input": (given,), "output": output}))
    assert caught.value.where == output


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("corpus", "corpus/_runs/one"),
        ("corpus", "corpus/.run"),
        ("corpus", "corpus-run"),
        ("corpus/*.jsonl", "corpus/run"),
        ("gs://bucket/a", "corpus/run"),
        ("gs://bucket/a", "gs://bucket/ab"),
    ],
)
def test_an_output_beside_the_input_is_accepted(corpus, monkeypatch, given, output):
    """An output may be in an ignored folder, beside named files, or at a similar path."""
    monkeypatch.chdir(corpus.parent)
    require_outside(output, (given,))


def test_a_run_beside_its_input_can_be_repeated(config, corpus, monkeypatch):
    """A run in an ignored folder of its input can be repeated."""
    monkeypatch.chdir(corpus.parent)
    beside = config.model_copy(update={"input": ("corpus",), "output": "corpus/_runs/one"})
    assert run_filter(beside).conservation.rows_in == 40
    assert run_filter(beside, restart=True).conservation.rows_in == 40


def test_folders_that_differ_in_case_need_a_disk_that_tells_them_apart(config, corpus):
    """Folders such as `Train` and `train` are refused on a disk that ignores case."""
    first, second = sorted(corpus.glob("*.jsonl"))
    for path, folder in ((first, "Train"), (second, "train")):
        (corpus / folder).mkdir()
        path.rename(corpus / folder / path.name)
    run = Path(config.output)
    assert sorted({Path(item.path).parent.name for item in run_filter(config).outputs}) >= ["Train"]
    work = run / ".work"
    work.mkdir()
    (run / ".WORK").symlink_to(work)  # what a disk that ignores case shows
    with pytest.raises(RunError, match=r"ignores case, .* 'Train' and 'train' would be one folder"):
        settle_quietly(config)


def test_workers_get_the_device_that_was_settled(encoder):
    """Workers use the launcher's device, but on Dataflow the configured device."""
    asked = FilterConfig()
    pinned = module.settle_models(asked, encoder)
    assert (pinned.device, pinned.precision) == ("cpu", "fp32")
    assert (pinned.model, pinned.window_tokens) == (
        asked.encoder.model,
        asked.encoder.window_tokens,
    )
    remote = FilterConfig.model_validate(
        {"engine": {"runner": "dataflow"}, "hardware": {"device": "cuda", "precision": "bf16"}}
    )
    assert module.settle_models(remote, encoder) == remote.build_encoder_config()
    assert module.describe_device(encoder, remote) == "cuda, float32"
    assert module.settle_models(asked, None) == asked.build_encoder_config()


def test_a_classifiers_device_is_described(encoder):
    """A sequence classifier's device and precision are named and fixed."""
    model = SequenceClassifier(
        encoder.files, encoder.tokenizer, encoder.model, 0, encoder.device, 1_000
    )
    asked = FilterConfig()
    assert module.describe_device(model, asked) == "cpu, float32"
    assert module.describe_device(None, asked) == "no model"
    assert module.settle_models(asked, model) == module.settle_models(asked, encoder)


@pytest.mark.parametrize(("text", "is_warned"), [("", True), ("# later\n\n", True), ("{}", False)])
def test_an_empty_policy_is_warned_of(config, policy, text, is_warned):
    """A policy file without content is probably a mistake; `{}` says that nothing is meant."""
    said = []
    settle(config.model_copy(update={"policy": policy(text)}), said.append)
    texts = [event.notice.text for event in said if isinstance(event, Noticed)]
    assert any("is empty, so every trait follows its card" in text for text in texts) == is_warned
