"""Estimates: what is drawn, what is reckoned from it, and when that is too much."""

import gzip
import time
from types import SimpleNamespace

import pytest

from pipelines.display.progress import Reporter
from pipelines.estimate import Estimate, Stretch, Terms, drawn, reckon, run_estimate
from pipelines.filter import plan
from schemas.errors import BudgetError, CardError
from transforms.files.sources import Cut, ShardPlan, SourcePiece

LEXICON = {"signals": ("lexicon",)}


def test_the_whole_is_reckoned_from_stretches():
    """A tenth of the rows in half an hour is five hours of work; half as much on machines twice as fast; each is paid while it starts."""
    stretches = [Stretch(50, 1000, 900.0), Stretch(50, 3000, 900.0)]
    found = reckon(1000, stretches, Terms(machines=5, speed=2.0, price=3.0, startup_minutes=12))
    assert found == Estimate(
        rows=1000,
        tokens=40_000,
        sampled=100,
        machine_hours=3.5,
        hours=0.7,
        price=10.5,
        spread=0.0,
        highest=10.5,
    )


def test_rows_that_differ_widen_the_spread():
    """Stretches that take unlike times leave more open; a single one leaves all open."""
    even, odd = (
        [Stretch(1, 0, 1.0)] * 4,
        [Stretch(1, 0, seconds) for seconds in (0.5, 1.5, 0.5, 1.5)],
    )
    assert reckon(16, even, Terms()).spread == 0
    assert reckon(16, odd, Terms()).spread == pytest.approx(
        2 * (1 / 3) ** 0.5 / 2 * (1 - 4 / 16) ** 0.5
    )
    assert reckon(4, even[:1], Terms()).spread == pytest.approx((1 - 1 / 4) ** 0.5)


def test_a_sample_of_all_rows_leaves_nothing_open():
    """Where every row was filtered, in one stretch or in unlike ones, the price has no spread."""
    for stretches in ([Stretch(4, 0, 9.0)], [Stretch(2, 0, 1.0), Stretch(2, 0, 5.0)]):
        found = reckon(4, stretches, Terms(price=2.0))
        assert (found.spread, found.highest) == (0, found.price)


def test_the_spread_is_of_the_work_alone():
    """Twice the work and the same start: the start's price isn't spread."""
    found = reckon(10_000, [Stretch(1, 0, 3.6)], Terms(price=1.0, startup_minutes=60))
    assert found.price == pytest.approx(11)
    assert found.highest == pytest.approx(1 + 10 + 10 * found.spread)
    assert found.spread == pytest.approx(1, abs=1e-4)


def test_what_is_drawn_depends_on_content_alone(config):
    """The same rows are drawn every time, from places all over the corpus, and no more of them than asked for."""
    with Reporter() as reporter:
        settled = plan(config.model_copy(update=LEXICON), reporter)
    chosen = drawn(settled, 14)
    assert chosen == drawn(settled, 14)
    assert 14 <= sum(shard.rows for task in chosen for shard in task) < 14 + 7
    assert [task[0].name for task in chosen] != [
        shard.name for shard in settled.shards[: len(chosen)]
    ]


def test_a_sample_as_large_as_the_corpus_is_all_of_it(config, corpus, tmp_path):
    """Rows that can only be swept are reached too, after the first ones of all files; a small sample takes those alone."""
    for name in ("0.jsonl", "1.jsonl"):
        (corpus / f"{name}.gz").write_bytes(gzip.compress((corpus / name).read_bytes()))
        (corpus / name).unlink()
    with Reporter() as reporter:
        settled = plan(config.model_copy(update=LEXICON), reporter)
    assert [len(task) for task in settled.tasks] == [3, 3]
    assert sorted(drawn(settled, 40)) == sorted(settled.tasks)
    assert sorted(len(task) for task in drawn(settled, 20)) == [1, 2]
    found = run_estimate(config.model_copy(update=LEXICON), Terms(price=1.0), sample=40)
    assert (found.sampled, found.spread, found.highest) == (40, 0, found.price)


def test_many_tasks_are_drawn_from_in_little_time():
    """Thousands of files and one of thousands of shards: what is drawn takes time in proportion to them, not to their product."""
    piece = SourcePiece("a", "a", "0", "jsonl", "none", Cut(0, 0, 0), Cut(1, 1, 0))
    tasks = [
        tuple(ShardPlan(f"part-{place:06d}-{place:012d}", (piece,)) for place in range(length))
        for length in [1] * 20_000 + [20_000]
    ]
    began = time.process_time()
    chosen = drawn(SimpleNamespace(tasks=tasks), 30_000)
    assert time.process_time() - began < 5
    assert sum(map(len, chosen)) == 30_000


def test_a_sample_is_filtered(config, tmp_path):
    """Whole rows, tokens and hours come out, and nothing is left in the output that was named."""
    found = run_estimate(
        config.model_copy(update=LEXICON),
        Terms(machines=2, price=1.0, startup_minutes=0),
        sample=20,
    )
    assert (found.rows, found.tokens) == (40, 0)
    assert 20 <= found.sampled <= 40
    assert found.price == pytest.approx(found.machine_hours)
    assert found.machine_hours == pytest.approx(2 * found.hours)
    assert found.machine_hours > 0
    assert not (tmp_path / "run").exists()


def test_over_budget_is_refused(config):
    """What would cost more than the budget is refused, with the figures; the machines' start alone may be too much."""
    with pytest.raises(BudgetError, match=r"cost 5\.0\d.* against a budget of 4\.00") as caught:
        run_estimate(
            config.model_copy(update=LEXICON),
            Terms(machines=10, price=1.0, startup_minutes=30),
            sample=20,
            budget=4.0,
        )
    assert caught.value.exit_code == 3


def test_without_input_there_is_nothing_to_estimate(config):
    """Input is needed, and the message gives an example."""
    with pytest.raises(CardError, match="input is needed"):
        run_estimate(config.model_copy(update={"input": ()}), Terms())
