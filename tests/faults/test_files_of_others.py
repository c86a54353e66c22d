"""Files of others: nothing that a user or another program wrote is removed or written over."""

import json
from pathlib import Path

import pytest

from pipelines.cli.main import app
from pipelines.config import FilterConfig
from pipelines.demo import COMMAND, run_demo
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.errors import BudgetError, CardError, InputError, RunError
from schemas.runs import WITHDRAWN
from tests.support.corpora import ANSWERS, CARD, build_conversation, write_rows

pytestmark = pytest.mark.faults

FOREIGN = ("report/notes.md", "clean/.git/HEAD", "bank/card.yaml", "ledger/analysis.csv")


@pytest.fixture
def config(tmp_path) -> FilterConfig:
    """Return the configuration of a run over a few rows."""
    rows = [build_conversation(number, answer) for number, answer in enumerate(ANSWERS)]
    write_rows(tmp_path / "in" / "a.jsonl", rows)
    card = tmp_path / "heron" / "card.yaml"
    card.parent.mkdir()
    card.write_text(f"id: heron\naction: drop\n{CARD}")
    return FilterConfig(
        input=(str(tmp_path / "in"),), output=str(tmp_path / "run"), traits=(str(card.parent),)
    )


def write_foreign(run: Path) -> None:
    """Write a file of another program into several of a run's folders."""
    for name in FOREIGN:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")


def test_another_programs_manifest_is_not_a_runs(config):
    """A `manifest.json` of another program is kept, and so are the folders beside it."""
    run = Path(config.output)
    run.mkdir()
    (run / "manifest.json").write_text('{"name": "a web page"}')
    for restart in (False, True):
        with pytest.raises(RunError, match=r"a file 'manifest\.json', but no run has written it"):
            run_filter(config, restart=restart)
    assert [path.name for path in run.iterdir()] == ["manifest.json"]


def test_a_restart_keeps_the_files_of_others(config):
    """Files of others in a run's folders stop a restart, and litter doesn't."""
    run_filter(config)
    run = Path(config.output)
    write_foreign(run)
    with pytest.raises(RunError, match=r"bank/card\.yaml, clean/\.git/HEAD, ledger"):
        run_filter(config, restart=True)
    for name in FOREIGN:
        assert (run / name).read_text() == "mine"
        (run / name).unlink()
    (run / "clean" / ".DS_Store").write_text("litter")
    run_filter(config, restart=True)
    assert verify_run(config.output) == []
    assert not (run / "clean" / ".DS_Store").exists()


def test_a_run_over_budget_keeps_the_files_of_others(config, tmp_path):
    """A budget's stop removes only the run's own files, and so does the next attempt."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("removal_budget: 0.01\n")
    over = config.model_copy(update={"policy": str(policy)})
    run = Path(config.output)
    run.mkdir()
    (run / "report").mkdir()
    with pytest.raises(BudgetError):
        run_filter(over)
    (run / "ledger" / "analysis.csv").write_text("mine")
    with pytest.raises(RunError, match=r"ledger/analysis\.csv: not the run's"):
        run_filter(config)
    assert (run / "ledger" / "analysis.csv").read_text() == "mine"
    assert (run / WITHDRAWN).exists()


@pytest.mark.parametrize("setting", ["bank", "background", "policy"])
def test_nothing_is_read_from_the_folders_that_are_written(config, setting):
    """A bank, a background or a policy in the output's own folders is refused, and stays."""
    run_filter(config)
    run = Path(config.output)
    paths = {"bank": "bank", "background": "clean", "policy": "report/policy.yaml"}
    (run / "report").mkdir()
    (run / "report" / "policy.yaml").write_text("traits: {}\n")
    path = str(run / paths[setting])
    given = (path,) if setting == "background" else path
    with pytest.raises(InputError, match="whose folders are written and removed"):
        run_filter(config.model_copy(update={setting: given}), restart=True)
    assert (run / paths[setting]).exists()
    assert (run / "manifest.json").exists()


def test_the_demo_replaces_only_its_own_runs(config, tmp_path):
    """The demo refuses to replace a finished run that another command has made."""
    run_filter(config.model_copy(update={"output": str(tmp_path / "demo" / "chat")}))
    with pytest.raises(RunError, match="holds a run that the demo would replace"):
        run_demo(str(tmp_path / "demo"), FilterConfig(signals=("lexicon",)))
    path = tmp_path / "demo" / "chat" / "manifest.json"
    assert tuple(json.loads(path.read_bytes())["circumstances"]["command"]) != COMMAND


@pytest.mark.parametrize("place", ["in/a.jsonl", "run/ledger/labels.jsonl"])
def test_answers_are_not_added_to_a_corpus_or_a_run(config, tmp_path, monkeypatch, place):
    """A file of labels that is the corpus, or that would be in a run's folder, is refused."""
    monkeypatch.chdir(tmp_path)
    flagging = config.model_copy(update={"policy": str(tmp_path / "flag.yaml")})
    (tmp_path / "flag.yaml").write_text("traits: {heron: {action: flag}}\n")
    run_filter(flagging)
    before = (tmp_path / "in" / "a.jsonl").read_bytes()
    words = ["traits", "eval", "heron", "--run", config.output, "--labels", place]
    with pytest.raises(CardError, match=r"neither a label|is in a folder of the run"):
        app(words, standalone_mode=False)
    assert (tmp_path / "in" / "a.jsonl").read_bytes() == before
    assert verify_run(config.output) == []
