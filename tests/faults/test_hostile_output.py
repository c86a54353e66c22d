"""Hostile names and texts are printed in harmless form."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from pipelines.display.excerpts import HIDDEN
from tests.support.corpora import CARD
from tests.support.hostile import NASTY

pytestmark = pytest.mark.faults

COLUMN = f"col {NASTY}"


def run_congener(*words, root):
    """Run the command line; return its exit code and output."""
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli.main import main; main()", *words],
        capture_output=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "COLUMNS": "200"},
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def find_acting(text):
    """Return the characters that affect a terminal, except line breaks and tabs."""
    return {char for char in text if unicodedata.category(char) in HIDDEN} - {"\n", "\t"}


@pytest.fixture
def corpus(tmp_path, card_folder):
    """Write a corpus and a card with hostile names and texts; return both folders."""
    rows = [
        {
            "messages": [{"role": "assistant", "content": f"{NASTY} heron {NASTY}"}],
            "teacher": NASTY,
            COLUMN: NASTY,
        },
        {"messages": [{"role": "assistant", "content": "Fine."}], "teacher": "plain"},
    ]
    folder = tmp_path / "in \x1b[31m\u202e <b>"
    folder.mkdir()
    (folder / "a \x1b]0;x\x07 [bold].jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + f"no JSON {NASTY}\n"
    )
    (folder / "left \x1b[2J aside.md").touch()
    title = json.dumps(f"{NASTY.replace(chr(0), '')}")
    card = card_folder("heron", f"title: {title}\ndescription: {title}\n{CARD}")
    return folder, card


def test_nothing_that_is_printed_acts(corpus, tmp_path, root):
    """Every command and every error prints hostile names and texts harmlessly."""
    folder, card = corpus
    run = str(tmp_path / "run \x1b[1m")
    commands_by_code = {
        8: [("filter", "-i", str(folder), "-o", run, "-t", str(card))],  # half the rows are rejects
        0: [
            ("inspect", run),
            ("inspect", run, "--json"),
            ("verify", run, "--inputs"),
            ("report", run),
            ("traits", "show", str(card)),
            ("traits", "list", str(card)),
            ("traits", "check", str(card)),
        ],
        2: [
            ("filter", "-i", f"{folder}/none \x1b[31m", "-o", f"{run}2"),
            ("filter", "-i", str(folder), "-o", f"{run}2", "-t", str(card), "--format", "text"),
            ("filter", "-i", str(folder), "-o", f"{run}2", "--traits", "nothing \x1b[31m\u202e"),
            (
                "filter",
                "-i",
                str(folder),
                "-o",
                f"{run}2",
                "--format",
                "messages",
                "--column",
                "messages=\x1b[31m",
            ),
        ],
        4: [("inspect", run, "--teacher", "\x1b[31m none"), ("verify", f"{run} none \x1b[31m")],
    }
    for expected, commands in commands_by_code.items():
        for words in commands:
            code, printed = run_congener(*words, root=root)
            assert (code, find_acting(printed)) == (expected, set()), (words, printed)
    damaged = next(Path(run, "clean").iterdir())
    (damaged.parent / "new \x1b[31m.parquet").write_bytes(damaged.read_bytes())
    code, printed = run_congener("verify", run, root=root)
    assert (code, find_acting(printed)) == (5, set())
    assert "<U+001B>[31m.parquet" in printed
    page = Path(run, "report", "index.html").read_text()
    assert "<script" not in page
    assert find_acting(page) == set()
