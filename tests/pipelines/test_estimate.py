"""Estimates: the sample, the figures and the budget."""

import gzip
import time
from types import SimpleNamespace

import pytest

from pipelines import estimate
from pipelines.banks import save_bank
from pipelines.engines.interface import Engine
from pipelines.estimate import (
    STRETCHES,
    Estimate,
    Stretch,
    Terms,
    draw_sample,
    extrapolate,
    measure_sample,
    run_estimate,
)
from pipelines.plan import settle
from schemas.corpora import ShardLimits
from schemas.errors import BudgetError, CardError
from schemas.events import Noticed, ignore
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.sources import Cut

LEXICON = {"signals": ("lexicon",)}


def test_a_run_is_extrapolated_from_stretches():
    """The sample's time and tokens are scaled up, and the speed divides the time.

    The time that each machine takes to start is paid for too.
    """
    stretches = [Stretch(50, 1000, 900.0), Stretch(50, 3000, 900.0)]
    found = extrapolate(
        1000, stretches, Terms(machines=5, speed=2.0, price=3.0, startup_minutes=12)
    )
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
    """Differences between stretches widen the spread, and a single stretch has the widest."""
    even = [Stretch(1, 0, 1.0)] * 4
    odd = [Stretch(1, 0, seconds) for seconds in (0.5, 1.5, 0.5, 1.5)]
    assert extrapolate(16, even, Terms()).spread == 0
    assert extrapolate(16, odd, Terms()).spread == pytest.approx(
        2 * (1 / 3) ** 0.5 / 2 * (1 - 4 / 16) ** 0.5
    )
    assert extrapolate(4, even[:1], Terms()).spread == pytest.approx((1 - 1 / 4) ** 0.5)


def test_a_sample_of_all_rows_has_no_spread():
    """A sample of all rows has no spread."""
    for stretches in ([Stretch(4, 0, 9.0)], [Stretch(2, 0, 1.0), Stretch(2, 0, 5.0)]):
        found = extrapolate(4, stretches, Terms(price=2.0))
        assert (found.spread, found.highest) == (0, found.price)


def test_the_start_has_no_spread():
    """The highest price allows for up to twice the work, but the start-up cost is the same."""
    found = extrapolate(10_000, [Stretch(1, 0, 3.6)], Terms(price=1.0, startup_minutes=60))
    assert found.price == pytest.approx(11)
    assert found.highest == pytest.approx(1 + 10 + 10 * found.spread)
    assert found.spread == pytest.approx(1, abs=1e-4)


def test_a_sample_depends_on_content_alone(config):
    """Each draw takes the same shards, just enough for the sample."""
    settled = settle(config.model_copy(update=LEXICON), ignore)
    chosen = draw_sample(settled, 14)
    assert chosen == draw_sample(settled, 14)
    assert 14 <= sum(shard.rows for task in chosen for shard in task) < 14 + 7
    assert [task[0].name for task in chosen] != [
        shard.name for shard in settled.shards[: len(chosen)]
    ]


def test_a_sample_as_large_as_the_corpus_is_all_of_it(config, corpus):
    """Later shards of compressed files are drawn after all files' first shards."""
    for name in ("0.jsonl", "1.jsonl"):
        (corpus / f"{name}.gz").write_bytes(gzip.compress((corpus / name).read_bytes()))
        (corpus / name).unlink()
    settled = settle(config.model_copy(update=LEXICON), ignore)
    assert [len(task) for task in settled.tasks] == [3, 3]
    assert sorted(draw_sample(settled, 40)) == sorted(settled.tasks)
    assert sorted(len(task) for task in draw_sample(settled, 20)) == [1, 2]
    found = run_estimate(config.model_copy(update=LEXICON), Terms(price=1.0), sample=40)
    assert (found.sampled, found.spread, found.highest) == (40, 0, found.price)


def test_many_tasks_are_sampled_in_little_time():
    """Sampling time grows with the number of tasks and shards."""
    piece = SourcePiece("a", "a", "0", "jsonl", "none", Cut(0, 0, 0), Cut(1, 1, 0))
    tasks = [
        tuple(ShardPlan(f"part-{number:06d}-{number:012d}", (piece,)) for number in range(length))
        for length in [1] * 20_000 + [20_000]
    ]
    began = time.process_time()
    chosen = draw_sample(SimpleNamespace(tasks=tasks), 30_000)
    assert time.process_time() - began < 5
    assert sum(map(len, chosen)) == 30_000


def test_a_sample_is_filtered(config, tmp_path):
    """The estimate has rows, tokens and hours, and the output isn't written."""
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
    """The error over budget gives the price and the budget."""
    with pytest.raises(BudgetError, match=r"cost about 5\.0\d.*the budget is 4\.00") as caught:
        run_estimate(
            config.model_copy(update=LEXICON),
            Terms(machines=10, price=1.0, startup_minutes=30),
            sample=20,
            budget=4.0,
        )
    assert caught.value.exit_code == 3


def test_without_input_there_is_nothing_to_estimate(config):
    """An estimate without input is refused."""
    with pytest.raises(CardError, match="input is needed"):
        run_estimate(config.model_copy(update={"input": ()}), Terms())


def test_the_first_shard_pays_for_the_warm_up(config, tmp_path):
    """Every shard is measured once, but the first shard is filtered twice."""
    output = str(tmp_path / "sample")
    settled = settle(config.model_copy(update=LEXICON | {"output": output}), ignore)
    save_bank(settled.bank, settled.scoring.bank_uri)
    stretches = measure_sample(settled, 40)
    drawn = [shard for task in draw_sample(settled, 40) for shard in task]
    assert [stretch.rows for stretch in stretches] == [shard.rows for shard in drawn]
    assert all(stretch.seconds > 0 for stretch in stretches)
    assert len(list((tmp_path / "sample" / "ledger").iterdir())) == len(drawn)


def test_a_sample_has_many_stretches(config):
    """A sample has several stretches, and starts no remote engine."""
    events = []
    remote = Engine(runner="dataflow", accelerator="type:nvidia-l4;count:1")
    given = config.model_copy(update=LEXICON | {"engine": remote})
    found = run_estimate(given, Terms(startup_minutes=0), sample=STRETCHES, listener=events.append)
    assert found.sampled == STRETCHES
    assert found.spread > 0
    assert all(isinstance(event, Noticed) for event in events)
    assert any("40 rows; format messages" in event.notice.text for event in events)


def test_an_estimate_without_a_listener_prints_nothing(config, capfd):
    """An estimate without a listener prints nothing."""
    run_estimate(config.model_copy(update=LEXICON), Terms(), sample=7)
    assert capfd.readouterr() == ("", "")


def test_an_empty_corpus_costs_the_start():
    """An empty corpus costs only the machines' start."""
    found = extrapolate(0, [], Terms(machines=2, price=1.0, startup_minutes=30))
    assert (found.rows, found.sampled, found.machine_hours, found.price) == (0, 0, 1.0, 1.0)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, -1.0])
def test_numbers_without_an_estimate_are_refused(config, number):
    """NaN, infinite, huge and negative numbers are refused."""
    for terms, name in ((Terms(startup_minutes=number), "startup-minutes"), (Terms(), "budget")):
        with pytest.raises(CardError, match=f"--{name} is not a number between 0 and"):
            run_estimate(config, terms, budget=number)


def test_the_sample_is_read_within_the_limits_of_the_run(config, monkeypatch):
    """Sample shards have fewer rows, but the same limits on bytes and expansion as the run."""
    seen = []

    def stop(settled, _listener):
        seen.append(settled.shards)
        raise CardError("enough")

    monkeypatch.setattr(estimate, "settle", stop)
    limits = ShardLimits(rows=1_000, bytes=1 << 20, expansion=7)
    with pytest.raises(CardError, match="enough"):
        run_estimate(config.model_copy(update={"shards": limits}), Terms(), sample=STRETCHES)
    assert seen == [ShardLimits(rows=1, bytes=1 << 20, expansion=7)]
