"""Hostile values of every option give a congener error without a traceback."""

import io
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines import demo
from pipelines import filter as filtering
from pipelines import fit as fitting
from pipelines.cli import main as cli
from schemas.corpora import ShardLimits
from schemas.digests import digest_config
from schemas.errors import RunError
from tests.faults.sandbox import write_small_root
from transforms import endpoints
from transforms.files import downloads
from transforms.files.sources import survey

pytestmark = pytest.mark.faults

LATIN = os.fsdecode(b"h\xe9ron")
"""A name that isn't UTF-8, as Python decodes command lines."""

EXPECTED = {0, 2, 3, 4, 5, 6, 7, 8}
"""Every documented exit code except those of an unexpected error and an interrupt."""

TEXTS = (
    "", " ", "\0", "a\0b", LATIN, "x" * 300, "x/" * 3_000, "/dev/full", "/proc/self/mem", ".", "[",
    "a[b", "*", "**", "{", "-", "--", "~", "~nobody-here", "gs://", "foo://bar", "hf://", "hf://x",
    "http://[", "://", "file:///etc/passwd", "\u202e\x1b[31m", "1e999", "nan", "inf", "-1",
    "9" * 30,
    "=", "=a", "a=", "messages=\0", f"messages={LATIN}", "messages=a.b[", "a..b", "heron/x",
)  # fmt: skip
"""Values for options of files: names, globs, URIs and more."""

FEW = ("", "\0", LATIN, "x" * 300, "[", "nan", "-1", "9" * 30, "messages=\0")
"""Values for other options: texts, numbers and pairs."""

PATHS = {
    "inputs", "output", "traits", "bank", "policy", "background", "config", "encoder", "run",
    "name", "names", "folder", "against", "corpus", "reference", "labels", "tokenizer",
    "chat_template", "audit", "history", "export", "reviews", "merge", "positives", "exclude",
    "canaries", "keep_list", "page",
}  # fmt: skip
"""The options and arguments that name files."""

FILES = {
    "empty": b"",
    "bytes": bytes(range(256)),
    "latin.yaml": "title: caf\u00e9\n".encode("latin-1"),
    "utf16.yaml": "id: heron\n".encode("utf-16"),
    "nul.yaml": b"id: he\0ron\n",
    "code.yaml": b"id: !!python/object/apply:os.system [true]\n",
    "binary.yaml": b"id: !!binary aGVyb24=\n",
    "set.yaml": b"input: !!set {a, b}\n",
    "boolean.yaml": b"vectors: !!bool maybe\n",
    "time.yaml": b"policy: !!timestamp never\n",
    "bomb.yaml": b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "twice.yaml": b"id: a\nid: b\n",
    "deep.yaml": b"[" * 1_500,
    "deep-keys.yaml": b"{a: " * 1_500,
    "list.yaml": b"- a\n",
    "number.yaml": b"5\n",
    "keys.yaml": b"1: 2\nnull: 3\n",
    "list-key.yaml": b"? [a, b]\n: 2\n",
    "merge.yaml": b"<<: 5\n",
    "surrogate.yaml": b'input: ["\\ud800"]\noutput: "\\ud800"\nid: "\\ud800"\n',
    "nan.yaml": b"span_floor: .nan\nremoval_budget: .nan\nthreshold: .nan\n",
    "infinite.yaml": b"shards: {rows: .inf}\nremoval_budget: .inf\n",
    "huge.yaml": b"shards: {rows: 0x" + b"f" * 5_000 + b"}\nid: 0x" + b"f" * 5_000 + b"\n",
    "wide.yaml": b"removal_budget: 0x" + b"f" * 5_000 + b"\nspan_floor: 0x" + b"f" * 5_000 + b"\n",
    "digits.yaml": b"threshold: " + b"9" * 5_000 + b"\n",
    "date.yaml": b"policy: 2001-99-99\n",
    "two.yaml": b"id: a\n---\nid: b\n",
    "deep.jsonl": b"[" * 100_000,
    "deep-text.jsonl": b'{"text": ' + b"[" * 100_000 + b"\n",
    "latin.jsonl": '{"text": "caf\u00e9"}\n'.encode("latin-1"),
    "utf16.jsonl": '{"text": "a"}\n'.encode("utf-16"),
    "half.jsonl": b'{"text": "\\ud800"}\n',
    "digits.jsonl": b'{"text": "a", "n": ' + b"9" * 5_000 + b"}\n",
}
"""Files in every encoding, and YAML and JSON that may break a parser."""

COMMANDS = {
    "filter": ("-i", "corpus.jsonl", "-o", "out", "-t", "traits/heron"),
    "estimate": ("-i", "corpus.jsonl", "-t", "traits/heron"),
    "fit": ("-o", "out", "-t", "traits/heron"),
    "demo": ("--output", "out"),
    "inspect": ("run",),
    "verify": ("run",),
    "report": ("run",),
    "doctor": (),
    "traits list": (),
    "traits show": ("traits/heron",),
    "traits new": ("new",),
    "traits check": ("traits/heron",),
    "traits from-audit": ("run", "--finding", "1"),
    "traits thresholds": ("run",),
    "traits eval": ("traits/heron", "--run", "run"),
    "decide": ("run", "--policy", "policy.yaml", "--output", "out"),
    "calibrate": ("run", "--max-misses", "0.5", "--output", "policy-out.yaml"),
    "diff": ("run", "run"),
    "certify": ("run", "--draw", "3", "--output", "audit.jsonl", "--seeded", "0"),
    "losses": ("run",),
    "export": ("run", "--output", "papers"),
    "swap": ("run", "--donor", "corpus.jsonl", "--output", "out"),
    "mix": ("run", "--donor", "corpus.jsonl", "--share", "0.25", "--output", "out"),
    "review": ("run", "--export", "page.html"),
    "release": ("run", "--reviews", "denied.jsonl", "--output", "out"),
    "judge": (
        *("run", "--endpoint", "http://127.0.0.1:9/v1", "--model", "m"),
        *("--labels", "judged.jsonl", "--max-rows", "1"),
    ),
    "trial": ("trial.yaml", "--workers", "1"),
    "lineage": (
        *("--model", "ours=corpus.jsonl", "--candidates", "a=corpus.jsonl"),
        *("--candidates", "b=corpus.jsonl"),
    ),
    "audit": ("--corpus", "corpus.jsonl", "--reference", "corpus.jsonl", "-o", "out"),
    "monitor": ("--corpus", "corpus.jsonl", "--history", "out"),
    "apply-masks": ("run", "--output", "tokens", "--tokenizer", "traits"),
}
"""Arguments with which each command succeeds. `apply-masks` ends at the tokenizer, `trial` at its
arm, which needs donors, `mix` at its donor, which has the rows of the run, and `from-audit` at its
folder, which holds no audit."""


def list_parameters(name: str) -> Iterator[Any]:
    """Yield a command's options and arguments with a value."""
    first, *below = name.split()
    command = cli.load_command(first)
    for word in below:
        command = command.commands[word]
    yield from (item for item in command.params if not getattr(item, "is_flag", False))


def replace_argument(name: str, item: Any, value: str) -> list[str]:
    """Return a command line with this value of an option or argument."""
    given = list(COMMANDS[name])
    if item.param_type_name == "argument":
        return [*name.split(), *(given if name == "filter" else ()), "--", value]
    for option in item.opts:
        if option in given:
            place = given.index(option)
            del given[place : place + 2]
    long = next(option for option in item.opts if option.startswith("--"))
    return [*name.split(), *given, f"{long}={value}"]


def call(monkeypatch: pytest.MonkeyPatch, words: list[str], encoding: str = "utf-8") -> str | None:
    """Run a command line here, and return what is wrong with the way it ended, or None."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["congener", *words])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            return f"{words}: {traceback.format_exc()[-600:]}"
        printed = b"".join(stream.buffer.getvalue() for stream in streams if not stream.flush())
    if code not in EXPECTED or b"Traceback" in printed or (code and not printed):
        return f"{words}: {code}, {printed[-600:]!r}"
    return None


TRIAL = "run: run\ntrait: heron\noutput: trial\nmeasure: {pattern: egret}\narms: [swap]\n"


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Iterator[Path]:
    """Write a corpus, a trait, a run and hostile files, and change to their folder.

    Runs stop before the first row.
    """
    config = write_small_root(tmp_path)
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    filtering.run_filter(config)
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "trial.yaml").write_text(TRIAL)
    denied = '{"source": "corpus.jsonl", "row": 1, "trait": "heron", "label": "no"}\n'
    (tmp_path / "denied.jsonl").write_text(denied)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / LATIN).write_bytes((tmp_path / "corpus.jsonl").read_bytes())

    def stop(*_: object, **__: object) -> None:
        raise RunError("stopped before the work")

    monkeypatch.setattr(filtering, "open_run", stop)
    monkeypatch.setattr(demo, "run_filter", stop)  # otherwise, the demo would fit its traits
    monkeypatch.setattr(fitting, "prepare_bank", stop)
    monkeypatch.setattr(endpoints.ChatClient, "_send", stop)
    monkeypatch.setenv(downloads.SPOOLED, "")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    downloads._fetch.cache_clear()  # a process reads standard input only once


def test_every_command_is_tried():
    """Every command has arguments for these tests."""
    names = set()
    for name in cli.COMMANDS:
        command = cli.load_command(name)
        below = getattr(command, "commands", None) or {}
        names |= {f"{name} {word}" for word in below} or {name}
    assert names == set(COMMANDS)
    assert isinstance(cli.app, typer.Typer)


@pytest.mark.parametrize("name", COMMANDS)
def test_hostile_values_of_every_option(name, workplace, monkeypatch):
    """No option value leads to a traceback, and every error has a message.

    Shared options are tried only with `filter`.
    """
    others = ("loop", "dangling", "pipe", "traits", "corpus.jsonl", "corpus.jsonl/x")
    shared = {item.name for item in list_parameters("filter")} - {"output"}
    wrong = []
    for item in list_parameters(name):
        if name in {"audit", "monitor", "estimate", "fit", "traits eval"} and item.name in shared:
            continue
        paths = TEXTS if item.name in PATHS else FEW
        files = FILES if item.name in {"config", "policy"} else ()
        values = (*paths, *files, *(others if item.name in PATHS else ()))
        wrong += [call(monkeypatch, replace_argument(name, item, value)) for value in values]
    assert [problem for problem in wrong if problem] == []


@pytest.mark.parametrize("kind", ["card.yaml", "positives.jsonl", "negatives.jsonl"])
def test_hostile_files_of_a_card(kind, workplace, monkeypatch):
    """`traits check` ends without a traceback for any content of a trait's files."""
    card = workplace / "traits" / "heron"
    wrong = []
    for name in FILES:
        (card / kind).write_bytes((workplace / name).read_bytes())
        line = ["traits", "check", *COMMANDS["traits check"]]
        wrong.append(call(monkeypatch, line, encoding="ascii"))
    assert [problem for problem in wrong if problem] == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_terminals_without_unicode(encoding, workplace, monkeypatch):
    """Commands end without a traceback on a terminal without Unicode."""
    lines = [[*name.split(), *words] for name, words in COMMANDS.items() if name != "demo"]
    lines += [["inspect", LATIN], ["filter", "-i", LATIN, "-o", "out"], ["traits", "show", LATIN]]
    assert [problem for line in lines if (problem := call(monkeypatch, line, encoding))] == []


ROW = '{"source": "corpus.jsonl", "row": 0, "label": true'
LABELS = (
    '{"source": "\\ud800", "row": 1, "label": true}',
    '{"record_id": "\\ud800"}',
    f'{{"source": "corpus.jsonl", "row": {2**70}, "label": true}}',
    f'{ROW}, "score": {"9" * 400}}}',
    f'{ROW}, "score": NaN}}',
    f'{ROW}, "trait": null}}',
    '""',
    '[["label", true]]',
)
"""Lines of labels that Python or a table of strings and numbers can't hold."""


def test_hostile_labels(workplace, monkeypatch):
    """Whatever a file of labels contains, `traits eval` ends without a traceback."""
    path, wrong = workplace / "l.jsonl", []
    line = ["traits", "eval", *COMMANDS["traits eval"], "--labels", str(path)]
    for data in (*FILES.values(), *(text.encode() for text in LABELS)):
        path.write_bytes(data)
        wrong.append(call(monkeypatch, line))
    assert [problem for problem in wrong if problem] == []


METADATA = (
    "released: 2001-99-99",
    "configs: [{data_files: '[z-a]'}]",
    "configs: [{data_files: [{split: ../x, path: corpus.jsonl}]}]",
    'configs: [{config_name: "\\ud800", data_files: "\\ud800"}]',
    "a: &a [x, x]\nb: &b [*a, *a]\nconfigs: [{config_name: *b, default: *b, data_files: *b}]",
)
"""Metadata of dataset cards: wrong dates, globs, names and types."""


def test_hostile_dataset_cards(tmp_path):
    """Whatever a dataset card contains, the files beside it are surveyed."""
    (tmp_path / "corpus.jsonl").write_text('{"text": "A heron stood in the reeds."}\n')
    for data in (*FILES.values(), *(text.encode() for text in METADATA)):
        (tmp_path / "README.md").write_bytes(b"---\n" + data + b"\n---\n")
        found = survey([str(tmp_path)], ShardLimits())
        assert found.sources[0].rows == 1
        assert digest_config(found.card.list_files() if found.card else None)


@pytest.mark.parametrize("folder", ["ledger", "scores", "spans"])
def test_files_of_a_run_in_the_wrong_place(folder, workplace, monkeypatch):
    """A file of another folder in place of a run's own leads to an error of the run."""
    other = "ledger" if folder == "scores" else "scores"
    for path in (workplace / "run" / folder).iterdir():
        path.write_bytes((workplace / "run" / other / path.name).read_bytes())
    lines = [[*name.split(), *words] for name, words in COMMANDS.items() if "run" in words]
    lines.append(["inspect", "run", "--decision", "keep", "--json"])
    assert [problem for line in lines if (problem := call(monkeypatch, line))] == []
