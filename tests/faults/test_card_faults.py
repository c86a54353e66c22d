"""A GPU that is full, lost or in use stops a run with a clear error, and no row is lost."""

import json
import threading
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_model import build_shape, write_checkpoint
from classifiers.models.encoders import Encoder
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.verify import verify_run
from schemas.errors import CARD_MEMORY_REMEDY, CARD_REMEDY, MachineError
from schemas.events import RowsPlanned
from tests.support.runs import comparable_files, read_lines

pytestmark = pytest.mark.faults

ROWS, SHARD_ROWS = 60, 10
SUBJECTS = ("roofs", "rivers", "bread", "chess", "moss", "trains", "salt")

LOST = "CUDA error: an illegal memory access was encountered\nFor debugging consider …"
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[FilterConfig, str]:
    """Write a corpus of six shards and a trait that needs the encoder, and filter undisturbed.

    That also fits the trait, so later runs need the encoder for the corpus alone.
    """
    folder = tmp_path_factory.mktemp("cards")
    answers = [f"Number {row} speaks of {SUBJECTS[row % 7]}." for row in range(ROWS)]
    rows = [
        {"messages": [{"role": "assistant", "content": answer * (1 + row % 4)}]}
        for row, answer in enumerate(answers)
    ]
    write_lines(folder / "rows.jsonl", rows)
    write_checkpoint(folder / "model", build_shape(1, 32))
    trait = folder / "moss"
    trait.mkdir()
    (trait / "card.yaml").write_text("id: moss\nsignals: {exemplars: {}}\nthreshold: 0.6\n")
    write_lines(trait / "positives.jsonl", [{"text": f"Moss on the {x}."} for x in SUBJECTS])
    write_lines(trait / "negatives.jsonl", [{"text": f"A train to {x}."} for x in SUBJECTS])
    settings = {
        "input": (str(folder / "rows.jsonl"),),
        "output": str(folder / "undisturbed"),
        "traits": (str(trait),),
        "encoder": {"model": str(folder / "model")},
        "shards": {"rows": SHARD_ROWS},
        "hardware": {"device": "cpu"},
    }
    config = FilterConfig.model_validate(settings)
    run_filter(config)
    return config, config.output


def write_lines(path, rows):
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def undisturbed(prepared) -> str:
    """Return the run without a fault."""
    return prepared[1]


@pytest.fixture
def config(prepared, tmp_path) -> FilterConfig:
    """Return the same settings with another run directory."""
    return prepared[0].model_copy(update={"output": str(tmp_path / "run")})


class FailingCard:
    """A forward pass that works a number of times, and then fails with an error."""

    def __init__(self, error: Exception, passes: int, most: int = 0) -> None:
        self.error, self.left, self.most = error, passes, most
        self.forward = Encoder.forward
        self.lock = threading.Lock()

    def run(self, encoder, tokens, mask):
        """Compute a batch, unless it is one too many or larger than the memory."""
        with self.lock:
            self.left -= 1
            fails = tokens.numel() > self.most if self.most else self.left < 0
        if fails:
            raise self.error
        return self.forward(encoder, tokens, mask)


def replace_card(monkeypatch, card):
    """Make an encoder compute on a card that fails."""

    def forward(self, tokens, mask):
        return card.run(self, tokens, mask)

    monkeypatch.setattr(Encoder, "forward", forward)


def require_same_run(config, undisturbed):
    """Run the same command again, and compare what it publishes with an undisturbed run."""
    events = []
    run_filter(config, listener=events.append)
    assert comparable_files(Path(config.output)) == comparable_files(Path(undisturbed))
    assert verify_run(config.output) == []
    return next(event for event in events if isinstance(event, RowsPlanned))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (torch.AcceleratorError(LOST), CARD_REMEDY),
        (
            torch.AcceleratorError("CUDA error: all CUDA-capable devices are busy or unavailable"),
            CARD_REMEDY,
        ),
        (torch.AcceleratorError("CUDA error: out of memory"), CARD_MEMORY_REMEDY),
        (torch.cuda.OutOfMemoryError(FULL), CARD_MEMORY_REMEDY),
    ],
    ids=["lost", "busy", "driver out of memory", "full"],
)
def test_a_card_that_fails_stops_the_run_and_loses_no_row(
    config, undisturbed, monkeypatch, error, remedy
):
    """The error names the GPU's fault and a way out, and the same command completes the run."""
    with monkeypatch.context() as patch:
        replace_card(patch, FailingCard(error, passes=4))
        with pytest.raises(MachineError, match="the machine is at fault: CUDA") as caught:
            run_filter(config)
    assert str(error).splitlines()[0] in str(caught.value)
    assert remedy in str(caught.value)
    assert caught.value.exit_code == 6
    require_same_run(config, undisturbed)


def test_shards_that_were_done_before_a_card_failed_are_kept(config, undisturbed, monkeypatch):
    """The run resumes after the shards that were written before the fault."""
    with monkeypatch.context() as patch:
        replace_card(patch, FailingCard(torch.AcceleratorError(LOST), passes=4))
        with pytest.raises(MachineError):
            run_filter(config)
    assert require_same_run(config, undisturbed).rows_done > 0


def test_a_card_that_another_job_fills_gets_smaller_batches(config, undisturbed, monkeypatch):
    """With room for small batches only, the run succeeds with the same scores."""
    card = FailingCard(torch.cuda.OutOfMemoryError(FULL), passes=0, most=60)
    replace_card(monkeypatch, card)
    manifest = run_filter(config)
    assert manifest.circumstances["token_budget_cuts"] >= 1
    for folder in ("scores", "ledger", "clean"):
        assert read_lines(config.output, folder) == read_lines(undisturbed, folder)
    assert verify_run(config.output) == []
