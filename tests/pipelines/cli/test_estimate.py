"""`congener estimate`: its output and its exit codes."""

from pipelines.cli.estimate import EstimateResult
from pipelines.estimate import Estimate, Terms

FOUND = Estimate(
    rows=1_000_000,
    tokens=300_000_000,
    sampled=2000,
    machine_hours=8.5,
    hours=4.25,
    price=9.35,
    spread=0.1,
    highest=10.2,
)


def test_an_estimate_in_words():
    """Rows, work and uncertainty each have a line."""
    rows, work, spread = EstimateResult(FOUND, Terms(machines=2, speed=40)).render()
    assert rows == "1,000,000 rows, about 300,000,000 tokens, estimated from 2,000 rows"
    assert work == "8.50 machine hours, 4.25 hours on 2 machines; price 9.35"
    assert "10%" in spread
    assert "at most 10.20" in spread
    assert "--speed 40" in spread
    assert "1 machine;" in list(EstimateResult(FOUND, Terms()).render())[1]


def test_an_estimate_in_json(congener_json, corpus, heron):
    """The JSON has all numbers of the estimate."""
    found = congener_json("estimate", "-i", str(corpus), "-t", str(heron), "--price", "2")
    assert set(found) == set(Estimate._fields)
    assert (found["rows"], found["sampled"]) == (40, 40)
    assert found["price"] > 0


def test_over_budget_exits_with_three(congener, corpus, heron):
    """A price above the budget gives exit code 3."""
    arguments = ("--price", "1000", "--budget", "1")
    code, out, err = congener("estimate", "-i", str(corpus), "-t", str(heron), *arguments)
    assert (code, out) == (3, "")
    assert "budget" in err


def test_a_missing_corpus_exits_with_two(congener, heron):
    """The error for a missing input names the path, and the exit code is 2."""
    code, _, err = congener("estimate", "-i", "nowhere", "-t", str(heron))
    assert code == 2
    assert "nowhere: matches no file" in err


def test_a_sample_is_drawn_and_nothing_is_left(congener_json, corpus, heron, tmp_path):
    """A sample's figures are scaled up, and the temporary run is removed."""
    before = sorted(tmp_path.rglob("*"))
    arguments = ("estimate", "-i", str(corpus), "-t", str(heron), "--sample", "10")
    found = congener_json(*arguments, "--machines", "4", "--startup-minutes", "6")
    assert found["rows"] == 40
    assert 10 <= found["sampled"] < 40
    assert found["machine_hours"] > 4 * 0.1
    assert found["hours"] == found["machine_hours"] / 4
    assert sorted(tmp_path.rglob("*")) == before


def test_terms_out_of_range_are_errors_of_usage(congener):
    """The numbers of machines, their speed and the sample must be positive."""
    for option in ("--machines", "--speed", "--sample"):
        code, _, err = congener("estimate", "-i", "x", option, "0")
        assert (code, option in err) == (2, True)
