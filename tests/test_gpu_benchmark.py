"""The benchmark for a borrowed GPU runs from end to end, at a tiny size on a CPU."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch
import transformers

from benchmarks.gpu import make_encoder, make_windows, run_parts
from benchmarks.gpu_checks import ArrayIndex, describe_failure
from benchmarks.gpu_filter import find_steady_rate
from benchmarks.gpu_model import build_tokenizer, draw_lengths, make_answers, write_checkpoint
from benchmarks.gpu_search import list_searches
from benchmarks.measure import Report
from schemas.encoders import WINDOW_TOKENS

PARTS = (
    *("## Encoder", "## Checks", "## The whole filter", "## Decisions", "## Peers"),
    "## Exact search",
)


@pytest.mark.slow
def test_every_part_runs_at_a_tiny_size(root):
    """One command measures everything, and a part that fails would end it with another code."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--small", "1"),
            *("--repetitions", "1", "--minutes", "60"),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    assert [part for part in PARTS if part not in done.stdout] == []
    for row in ("decision", "sentence-transformers", "NeMo Curator", "packed", "FAISS"):
        assert row in done.stdout
    assert "The figures say nothing about a GPU" in done.stdout


def test_a_part_that_fails_does_not_stop_the_others(capsys):
    """A borrowed machine is used up to its end, and the exit code still says that a part failed."""
    report, ran = Report("gpu", "A test"), []

    def fail():
        raise ValueError("no such kernel")

    failed = run_parts(report, {"one": fail, "two": lambda: ran.append(2)}, 60, write=False)
    report.finish(write=False)
    assert failed
    assert ran == [2]
    assert "no such kernel" in capsys.readouterr().out


def test_parts_beyond_the_time_are_named(capsys):
    """A part that would begin too late is left out, and the report says so."""
    report = Report("gpu", "A test")
    assert not run_parts(report, {"late": pytest.fail}, -1, write=False)
    report.finish(write=False)
    assert "The part 'late' wasn't measured" in capsys.readouterr().out


def test_a_packing_encoder_leaves_the_others_as_they_are():
    """Encoders of one shape are packed or padded independently (on a card, all were packed)."""
    shape = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    device = torch.device("cpu")
    packed = make_encoder(shape, device, torch.float32, packs=True)
    padded = make_encoder(shape, device, torch.float32)
    assert (packed.packs, padded.packs) == (True, False)
    windows = make_windows(300)
    np.testing.assert_allclose(packed.encode(windows), padded.encode(windows), atol=1e-5)


def test_windows_are_as_long_as_those_of_answers():
    """Windows hold at least as many tokens as asked for, and none is too long."""
    windows = make_windows(20_000)
    sizes = [len(window.ids) for window in windows]
    assert 20_000 <= sum(sizes) < 20_000 + 3_000
    assert max(sizes) == WINDOW_TOKENS
    assert [window.text for window in windows] == sorted(window.text for window in windows)


def test_made_answers_have_real_lengths():
    """Made answers vary in length as real ones, and are the same on every machine."""
    answers = make_answers(60)
    assert answers == make_answers(60)
    words = [len(answer.split()) for answer in answers]
    wanted = list(islice(draw_lengths(np.random.default_rng(1)), 60))
    assert min(words) >= 1
    assert max(words) <= max(wanted)
    assert np.corrcoef(np.argsort(np.argsort(words)), np.argsort(np.argsort(wanted)))[0, 1] > 0.95
    assert max(len(answer.split()) for answer in make_answers(60, 30)) <= 30


def test_the_tokenizer_knows_the_words_of_the_corpus():
    """Few tokens of made answers are unknown, so their number is like that of real text."""
    tokenizer = build_tokenizer()
    tokens = [token for answer in make_answers(20) for token in tokenizer.encode(answer).tokens]
    assert tokens[0] == "[CLS]"
    assert tokens.count("[UNK]") < len(tokens) / 100


def test_a_checkpoint_is_loaded_as_any_other(tmp_path):
    """The made checkpoint has the weights that its shape implies, the same each time."""
    shape = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    for name in ("first", "second"):
        write_checkpoint(tmp_path / name, shape)
    first, second = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second")
    )
    assert first == second
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "first")
    assert tokenizer("The river").input_ids[0] == tokenizer.cls_token_id


def test_all_searches_find_the_same():
    """Every way to search on a CPU finds the same nearest exemplars."""
    generator = torch.Generator().manual_seed(3)
    drawn = (torch.randn(size, 384, generator=generator) for size in (300, 40))
    exemplars, queries = (torch.nn.functional.normalize(item, dim=1) for item in drawn)
    found = {name: work() for name, work in list_searches(torch.device("cpu"), exemplars, queries)}
    assert len(found) == 3
    assert len({values.tobytes() for values in map(np.int64, found.values())}) == 1


def test_an_index_of_an_array_is_exact():
    """The checks' own index returns the highest similarities first."""
    vectors = np.eye(4, dtype=np.float32)
    index = ArrayIndex(vectors)
    found, _ = index.search(np.array([[0.1, 0.9, 0.4, 0]], np.float32), 2)
    assert found.tolist() == [[np.float32(0.9), np.float32(0.4)]]
    assert index.reconstruct_n(0, index.ntotal) is not None


def test_failures_are_described_as_users_read_them():
    """A full GPU is described with its exit code, and other errors as they are."""

    def run_out():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def break_down():
        raise ValueError("a bug")

    assert describe_failure(run_out).startswith("exit code 6: the machine is at fault: CUDA out")
    assert "a bug" in describe_failure(break_down)
    assert describe_failure(list) == "it fits all the same"


def test_the_steady_rate_leaves_out_start_and_end():
    """A rate comes from the rows between 30 % and 90 %, between times at which rows were added."""
    start = [(0.0, 0), (9.0, 0), (10.0, 30)]
    middle = [(11.0, 40), (12.0, 40), (13.0, 60), (15.0, 80), (16.0, 80)]
    assert find_steady_rate([*start, *middle, (40.0, 100)], 100) == pytest.approx(50 / 5)


def test_no_rate_is_made_up():
    """A run that ends between two looks has no rate, and the report says so with NaN."""
    assert np.isnan(find_steady_rate([(0.0, 0), (1.0, 100)], 100))
