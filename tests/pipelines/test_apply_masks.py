"""`apply_masks`: a run's clean rows become tokens."""

import json
import logging
import shlex
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines import apply_masks as module
from pipelines.apply_masks import (
    LEFT_OUT,
    RECORD,
    AppliedMasks,
    MaskSettings,
    apply_masks,
    describe_applied,
    describe_exceptions,
    describe_trainers,
    has_little_left,
    name_rows,
)
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import Filters, scan_ledger
from schemas.corpora import ShardLimits
from schemas.errors import ModelError, RowError, RunError
from schemas.events import RowsPlanned
from schemas.notices import list_names
from schemas.policies import Policy
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows
from tests.support.students import CHATML, TRIMMED, build_student
from transforms.records.labels import LabelledRow

MASKED = "A heron stood in the reeds."
ANSWER = f"{ANSWERS[0]} {MASKED} {ANSWERS[2]}"


@pytest.fixture
def student(tmp_path):
    """Save a student's tokenizer, and return the folder."""
    folder = tmp_path / "student"
    build_student().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def filter_masked(tmp_path, card_folder):
    """Return a function that filters the corpus and masks herons."""

    def call(**settings):
        card = card_folder("heron", f"action: mask\n{CARD}")
        config = FilterConfig(
            input=(str(tmp_path / "in"),),
            output=str(tmp_path / "run"),
            traits=(str(card),),
            **{"shards": ShardLimits(rows=3), **settings},
        )
        run_filter(config)
        return config.output

    return call


def settle(tmp_path, student, **settings):
    """Return settings for a folder of the test."""
    return MaskSettings(output=str(tmp_path / "tokens"), tokenizer=student, **settings)


def list_learnt(tmp_path, student_folder, split="train"):
    """Return each row's learnt text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student_folder)
    rows = datasets.load_from_disk(str(tmp_path / "tokens"))[split]
    texts = (tokenizer.decode([label for label in row["labels"] if label >= 0]) for row in rows)
    return [" ".join(text.split()) for text in texts]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_run_becomes_tokens(tmp_path, filter_masked, student, form):
    """Rows keep their order and splits, and only the masked sentence has no label."""
    rows = [build_conversation(number, ANSWER if number % 2 else ANSWERS[0]) for number in range(5)]
    for split in ("train", "test"):
        if form == "jsonl":
            write_rows(tmp_path / "in" / f"{split}.jsonl", rows)
        else:
            (tmp_path / "in").mkdir(exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / f"{split}.parquet")
    applied = apply_masks(filter_masked(), settle(tmp_path, student))
    assert applied.rows == {"train": 5, "test": 5}
    assert (applied.masked_rows, applied.unused, applied.unlearnt) == (4, 0, 0)
    kept = f"{ANSWERS[0]} {ANSWERS[2]}<|im_end|>"
    expected = [kept if number % 2 else f"{ANSWERS[0]}<|im_end|>" for number in range(5)]
    for split in ("train", "test"):
        assert list_learnt(tmp_path, student, split) == expected
    record = json.loads(Path(tmp_path, "tokens", RECORD).read_text())
    assert record["rows"] == {"train": 5, "test": 5}
    assert record["tokenizer"] == student


def write_folders(folder):
    """Write the same two splits for two teachers, as Parquet with other columns."""
    rows = [build_conversation(number, ANSWER if number % 2 else ANSWERS[0]) for number in range(3)]
    for teacher in ("atlas", "borea"):
        for split in ("train", "test"):
            (folder / teacher).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows), folder / teacher / f"{split}.parquet")


def test_parquet_has_the_folders_and_columns_of_the_corpus(tmp_path, filter_masked, student):
    """With `parquet`, the tokens are those of the default, beside the other columns, by folder."""
    write_folders(tmp_path / "in")
    run = filter_masked()
    apply_masks(run, settle(tmp_path, student))
    output = str(tmp_path / "files")
    applied = apply_masks(run, MaskSettings(output, student, parquet=True))
    assert applied.folders == ["atlas", "borea"]
    saved = datasets.load_from_disk(str(tmp_path / "tokens"))
    found = datasets.load_dataset(output, cache_dir=str(tmp_path / "cache"))
    for split in ("train", "test"):
        assert found[split].column_names[:2] == ["id", "teacher"]
        assert "messages" not in found[split].column_names
        assert "congener" not in found[split].column_names
        for name in saved[split].column_names:
            assert found[split][name] == saved[split][name]
    one = datasets.load_dataset(f"{output}/borea", split="test", cache_dir=str(tmp_path / "cache"))
    assert one["id"] == found["test"]["id"][3:]
    assert json.loads(Path(output, RECORD).read_text())["command"].endswith("--parquet")


def test_rows_without_tokens_are_left_out_of_other_columns(tmp_path, filter_masked, student):
    """A row that can't be rendered has no line in the Parquet file."""
    rows = [build_conversation(number, ANSWER) for number in range(3)]
    rows[1]["messages"][-1]["content"] = None
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "a.parquet")
    settings = settle(tmp_path, student, parquet=True, leave_out=True)
    applied = apply_masks(filter_masked(), settings)
    (path,) = Path(tmp_path, "tokens").glob("*.parquet")
    kept = pq.read_table(path).to_pylist()
    assert len(kept) == sum(applied.rows.values()) == 3 - len(applied.left_out)
    left = {item["row"] for item in applied.left_out}
    assert [row["id"] for row in kept] == [rows[at]["id"] for at in range(3) if at not in left]


def test_rows_of_joined_files_become_tokens(tmp_path, filter_masked, student):
    """Rows of several small files in one shard are all rendered, in the order of the files."""
    for name in ("a", "b", "c"):
        write_rows(tmp_path / "in" / f"{name}.jsonl", [build_conversation(1, f"{ANSWER} {name}")])
    run = filter_masked(shards=ShardLimits(apart=0))
    paths = Path(run, "clean").glob("a.*")
    assert [path.name[:22] for path in paths] == ["a.part-000000-3-files-"]
    assert apply_masks(run, settle(tmp_path, student)).rows == {"train": 3}
    assert [text.split("<")[0][-1] for text in list_learnt(tmp_path, student)] == ["a", "b", "c"]


def test_splits_of_a_dataset_card_are_kept(tmp_path, filter_masked, student):
    """A dataset card's splits are kept."""
    card = "---\nconfigs:\n- data_files:\n  - {split: held, path: b.jsonl}\n  - a.jsonl\n---\n"
    for name in ("a", "b"):
        write_rows(tmp_path / "in" / f"{name}.jsonl", [build_conversation(1, f"{ANSWER} {name}")])
    (tmp_path / "in" / "README.md").write_text(card)
    assert apply_masks(filter_masked(), settle(tmp_path, student)).rows == {"train": 1, "held": 1}


def test_long_rows_are_cut(tmp_path, filter_masked, student):
    """`max_tokens` cuts rows at their end, and rows without labels are counted."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    applied = apply_masks(filter_masked(), settle(tmp_path, student, max_tokens=4))
    assert (applied.cut, applied.unlearnt, applied.tokens) == (1, 1, 4)
    assert (applied.masked, applied.masked_rows) == (0, 0)  # the masked sentence was cut off
    lines = list(describe_applied(applied, "tokens"))
    assert any("no token to learn" in line for line in lines)
    assert any("--max-tokens" in line for line in lines)


def test_transformers_says_nothing_of_long_texts(tmp_path, filter_masked, caplog):
    """A row beyond the tokenizer's limit has no line of transformers; --max-tokens cuts rows."""
    tokenizer = build_student()
    tokenizer.model_max_length = 2
    tokenizer.save_pretrained(tmp_path / "short")
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    logging.getLogger("transformers").propagate = True
    assert apply_masks(filter_masked(), settle(tmp_path, str(tmp_path / "short"))).cut == 0
    assert "sequence length" not in caplog.text


def test_the_record_holds_every_option(tmp_path, filter_masked, student):
    """The recorded command has the options that were given, and no others."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    apply_masks(filter_masked(), settle(tmp_path, student, max_tokens=64, leave_out=True))
    command = json.loads((tmp_path / "tokens" / RECORD).read_text())["command"]
    assert command.endswith(f"--tokenizer {student} --max-tokens 64 --leave-out")


def test_rows_with_hardly_anything_to_learn_are_named(tmp_path, filter_masked, student):
    """A row whose masks leave few tokens has the name that `inspect` and exceptions take."""
    long = f"{ANSWER} {'There is plenty of other text about lakes here. ' * 20}"
    texts = ["I saw it fly.", long, "I am a heron.", "Nothing.", "A heron is here."]
    rows = [build_conversation(number, text) for number, text in enumerate(texts)]
    write_rows(tmp_path / "in" / "a.jsonl", rows[:2])
    write_rows(tmp_path / "in" / "b.jsonl", rows[2:])
    run = filter_masked()
    applied = apply_masks(run, settle(tmp_path, student))
    names = [item["name"] for item in applied.little]
    assert sorted(names) == ["b.jsonl:0", "b.jsonl:2"]
    (line,) = [line for line in describe_applied(applied, "tokens") if "masks leave fewer" in line]
    assert f"in 2 rows: {list_names(names, 5)}; drop or quarantine" in line
    manifest = load_manifest(run)
    for item in applied.little:
        filters = Filters(row=item["name"])
        (found,) = scan_ledger(run, manifest, filters).collect().to_dicts()
        assert (found["output"], found["output_row"]) == (item["file"], item["row"])
        assert found["decision"] == "mask"
    policy = Policy.model_validate(yaml.safe_load("\n".join([*describe_exceptions(applied)][1:])))
    assert [exception.row.key for exception in policy.exceptions] == names
    assert {exception.action for exception in policy.exceptions} == {"quarantine"}


def test_exceptions_are_limited_and_only_for_rows_with_a_source():
    """Rows beyond a number are counted, and a row without a source says so."""
    little = [{"file": "clean/a", "row": n, "learnt": 1, "name": f"a: b.jsonl:{n}"} for n in (1, 2)]
    unknown = {"file": "arms/swap.jsonl", "row": 7, "learnt": 1}
    applied = AppliedMasks(rows={"train": 30}, little=[*little * 11, unknown])
    lines = list(describe_exceptions(applied))
    assert lines[-1] == "# and 2 more rows (--json lists them)"
    assert len(yaml.safe_load("\n".join(lines[1:]))["exceptions"]) == 20
    only = AppliedMasks(rows={"train": 1}, little=[unknown])
    assert list(describe_exceptions(only)) == []
    assert any(
        "in 1 row: arms/swap.jsonl row 7 (its source isn't known)" in line
        for line in describe_applied(only, "tokens")
    )


def test_a_row_without_a_ledger_entry_has_no_name(tmp_path, filter_masked):
    """Only rows that the ledger lists get a name."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    run = filter_masked()
    found = name_rows(run, load_manifest(run), [{"file": "clean/other.jsonl", "row": 0}])
    assert found == [{"file": "clean/other.jsonl", "row": 0, "name": None}]


@pytest.mark.parametrize(
    ("learnt", "masked", "little"),
    [(9, 1, True), (10, 1, False), (10, 40, False), (10, 41, True), (3, 0, False)],
)
def test_little_is_a_share_or_a_number(learnt, masked, little):
    """Fewer than 10 tokens or a fifth of them are little, but only if masks took some."""
    row = LabelledRow([7] * learnt, [7] * learnt, [0] * masked, 0)
    assert has_little_left(row) == little


def test_changed_rows_are_refused(tmp_path, filter_masked, student):
    """Tokens name the manifest of their run, so they are made only from the rows that it lists."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    run = filter_masked()
    (clean,) = Path(run, "clean").glob("*.jsonl")
    clean.write_bytes(clean.read_bytes().replace(b"heron", b"stork"))
    with pytest.raises(RunError, match="was changed"):
        apply_masks(run, settle(tmp_path, student))
    assert not (tmp_path / "tokens").exists()


def test_the_record_identifies_tokenizer_and_template(tmp_path, filter_masked, student):
    """A template with another content in the same file gives another digest."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    run, template = filter_masked(), tmp_path / "template.jinja"
    found = []
    for number, text in enumerate((CHATML, CHATML, TRIMMED)):
        template.write_text(text, encoding="utf-8-sig")
        settings = settle(tmp_path, student, chat_template=str(template))
        output = tmp_path / f"tokens-{number}"
        apply_masks(run, replace(settings, output=str(output)))
        found.append(json.loads((output / RECORD).read_text()))
    commands = [item.pop("command") for item in found]
    assert found[0] == found[1]
    assert commands[0] == shlex.join(
        (
            *("congener", "apply-masks", run, "--output", str(tmp_path / "tokens-0")),
            *("--tokenizer", student, "--chat-template", str(template)),
        )
    )
    assert found[0]["digests"]["tokenizer"] == found[2]["digests"]["tokenizer"]
    assert found[0]["digests"]["chat_template"] != found[2]["digests"]["chat_template"]
    assert set(found[0]["packages"]) == {"tokenizers", "transformers"}


def test_a_row_that_cannot_be_rendered_stops_or_is_listed(tmp_path, filter_masked, student):
    """A row that can't be rendered is an error, or is listed with `leave_out`."""
    rows = [build_conversation(number, ANSWER) for number in range(2)]
    picture = [{"type": "image_url", "image_url": {"url": "a.png"}}]
    rows.append(
        {**rows[1], "messages": [*rows[1]["messages"], {"role": "user", "content": picture}]}
    )
    write_rows(tmp_path / "in" / "a.jsonl", rows)
    run = filter_masked()
    with pytest.raises(RowError, match="more than text") as caught:
        apply_masks(run, settle(tmp_path, student))
    assert caught.value.where.endswith(".jsonl row 2")
    assert "--leave-out" in caught.value.remedy
    applied = apply_masks(run, settle(tmp_path, student, leave_out=True))
    assert applied.rows == {"train": 2}
    [line] = Path(tmp_path, "tokens", LEFT_OUT).read_text().splitlines()
    assert json.loads(line)["row"] == 2
    assert any(LEFT_OUT in text for text in describe_applied(applied, "tokens"))


def test_pairs_are_refused(tmp_path, filter_masked, student):
    """Preference pairs are refused, and the error names quarantine."""
    pair = {"prompt": "Who?", "chosen": ANSWER, "rejected": ANSWERS[1]}
    write_rows(tmp_path / "in" / "a.jsonl", [pair])
    with pytest.raises(RunError, match="preference pairs"):
        apply_masks(filter_masked(), settle(tmp_path, student))


def test_an_output_with_files_is_refused(tmp_path, filter_masked, student):
    """An output with files is refused."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    write_rows(tmp_path / "tokens" / "b.jsonl", [])
    with pytest.raises(RunError, match="isn't empty"):
        apply_masks(filter_masked(), settle(tmp_path, student))


@pytest.mark.parametrize("below", ["clean/tokens", "tokens", "link/tokens"])
def test_an_output_inside_the_run_is_refused(tmp_path, filter_masked, student, below):
    """An output inside the run is refused, even behind a link."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    run = filter_masked()
    link = tmp_path / "link"
    link.symlink_to(Path(run) / "clean")
    output = tmp_path / below if below.startswith("link") else Path(run) / below
    with pytest.raises(RunError, match="is inside the run"):
        apply_masks(run, replace(settle(tmp_path, student), output=str(output)))
    assert not output.exists()


def test_a_tokenizer_without_a_template_is_refused(tmp_path, filter_masked):
    """The error for a tokenizer without a template says how to give one."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    build_student(template=None).save_pretrained(tmp_path / "bare")
    with pytest.raises(ModelError, match="no chat template") as caught:
        apply_masks(filter_masked(), settle(tmp_path, str(tmp_path / "bare")))
    assert "--chat-template" in caught.value.remedy


def test_a_run_without_clean_rows_is_refused(tmp_path, card_folder, student):
    """A run without clean rows is refused."""
    write_rows(tmp_path / "in" / "a.jsonl", [build_conversation(1, ANSWER)])
    config = FilterConfig(
        input=(str(tmp_path / "in"),),
        output=str(tmp_path / "run"),
        traits=(str(card_folder("heron", CARD)),),
    )
    run_filter(config)
    with pytest.raises(RunError, match="no clean rows"):
        apply_masks(config.output, settle(tmp_path, student))


def test_progress_counts_every_row(tmp_path, filter_masked, student, monkeypatch):
    """The listener hears of all rows at the beginning, and then how many of them are done."""
    monkeypatch.setattr(module, "REPORTED_ROWS", 2)
    rows = [build_conversation(number, ANSWER) for number in range(7)]
    write_rows(tmp_path / "in" / "train.jsonl", rows)
    events = []
    apply_masks(filter_masked(), settle(tmp_path, student), events.append)
    assert events[0] == RowsPlanned(7, 0)
    # the shards have three, three and one rows
    assert [event.rows for event in events[1:]] == [2, 3, 5, 6, 7]


def test_trainers_are_told_apart(tmp_path):
    """Each trainer has a line that can be copied, with the folder and the split to train on."""
    applied = AppliedMasks(rows={"held": 3, "later": 4})
    heading, trl, other, axolotl, factory = describe_trainers(applied, "to kens/")
    assert heading.startswith("for the trainer")
    assert trl.endswith("""load_from_disk('to kens')['held']""")
    assert other.strip() == """split later: load_from_disk('to kens')['later']"""
    entry = yaml.safe_load(axolotl.split(maxsplit=1)[1])
    assert entry == {"datasets": [{"path": "to kens", "type": None}]}
    assert yaml.safe_load(factory.split(maxsplit=1)[1]) == {"tokenized_path": "to kens"}


def test_parquet_is_loaded_whole_or_by_folder():
    """With Parquet files, the lines load the whole folder, or one of the corpus's folders."""
    applied = AppliedMasks(rows={"train": 3, "test": 1}, folders=["atlas", "borea"])
    _, trl, one, others = describe_trainers(applied, "tokens/", parquet=True)
    assert trl.endswith("load_dataset('tokens', split='train')")
    assert one.endswith("load_dataset('tokens/atlas', split='train')")
    assert "without --parquet" in others
    _, _, _, hint, *_ = describe_trainers(applied, "tokens/")
    assert hint.strip() == "one folder alone, such as atlas: give --parquet"


def test_nobody_is_sent_to_train_on_the_test_split():
    """Splits are in order of name, but the split to train on is `train`, if there is one."""
    _, trl, *_ = describe_trainers(AppliedMasks(rows={"test": 3, "train": 4}), "tokens")
    assert trl.endswith("load_from_disk('tokens')['train']")
