"""Swapped shards: which answers are used, and files that are the same after any retry."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.util import assert_that, equal_to

from schemas.events import ShardWritten
from schemas.receipts import parse_receipt
from schemas.runs import RECEIPTS, receipt_path
from tests.support.rules import build_exception, build_rule
from tests.support.runs import read_files
from tests.support.swaps import RULES, ask, build_settings, list_donor_files
from transforms.files import storage
from transforms.listeners import listen_to
from transforms.swap_matches import Match, MatchPrompts, Unmatched
from transforms.swap_offers import list_offers, list_waiting
from transforms.swap_shards import SwapShards, swap_rows, write_swapped
from transforms.swapped_tables import build_ledger

OWL, DOG = "An owl.", "A dog."


@pytest.fixture
def settle(store, bank, bank_uri, tmp_path):
    """Return a function that stores rows, and matches each waiting row with a text."""

    def make(rows, texts, **changes):
        run, layout, (shard,) = store("a", rows)
        own, other, found = store("donor", [ask(0, "A crane.")])
        (file,) = list_donor_files(own, found, other)
        ((_, offer),) = list_offers(file)
        settings = build_settings(run, tmp_path / "out", layout, bank, bank_uri)._replace(**changes)
        waiting = list_waiting(shard, settings.waiting)
        matches = [
            Match(shard.name, item.position, offer._replace(place=number), text)
            for number, (item, text) in enumerate(zip(waiting, texts, strict=True))
        ]
        return shard, matches, settings

    return make


def list_outcomes(swapped):
    """Return the outcome and the traits of each row that still waits."""
    return {place: (item.outcome, item.traits) for place, item in swapped.left.items()}


def test_an_answer_that_carries_a_trait_in_its_place_isnt_used(settle):
    """The row is scored again as a whole, whatever the donor's own run found."""
    rows = [ask(0, OWL), ask(1, OWL), ask(2, DOG)]
    swapped = swap_rows(*settle(rows, ["A barn owl.", "A crane."]))
    assert list(swapped.chosen) == [1]
    assert list_outcomes(swapped) == {0: ("still carries a trait", ("owl",))}


def test_a_trait_in_an_earlier_turn_stays(settle):
    """Another last answer doesn't help if an earlier one carries the trait."""
    row = ask(0, OWL)
    row["messages"] += [
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "A fox."},
    ]
    swapped = swap_rows(*settle([row], ["A crane."]))
    assert not swapped.chosen
    assert swapped.new is None
    assert list_outcomes(swapped) == {0: ("still carries a trait", ("owl",))}


def test_exceptions_for_lots_dont_let_a_trait_through(settle):
    """A policy may keep a lot's rows, but no answer that carries a trait is put into one."""
    exception = build_exception(action="keep", trait="fox")
    rules = (build_rule("fox", action="flag", exceptions=[exception]), RULES[1])
    shard, matches, settings = settle([ask(0, OWL)], ["A fox."], rules=rules)
    swapped = swap_rows(shard, matches, settings)
    assert list_outcomes(swapped) == {0: ("still carries a trait", ("fox",))}


def test_a_finding_in_a_rejected_answer_that_is_kept_doesnt_count(settle):
    """The policy keeps such a row, and the ledger still has the reason."""
    row = {"prompt": "Question 0?", "chosen": OWL, "rejected": "A fox.", "n": 0}
    shard, matches, settings = settle([row, {**row, "rejected": "A cat."}], ["A crane."] * 2)
    layout = settings.waiting.layout._replace(sides=("rejected",))
    settings = settings._replace(waiting=settings.waiting._replace(layout=layout))
    swapped = swap_rows(shard, matches, settings)
    assert list(swapped.chosen) == [0, 1]
    reasons = build_ledger(swapped).column("reasons").to_pylist()
    assert [[item["signal"] for item in found] for found in reasons] == [["combined@rejected"], []]
    rules = tuple(rule._replace(rejected="as-trained") for rule in RULES)
    swapped = swap_rows(shard, matches, settings._replace(rules=rules))
    assert list_outcomes(swapped) == {0: ("still carries a trait", ("fox",))}


def test_rows_outside_the_join_say_why(store, bank, bank_uri, tmp_path):
    """A prompt with an image and an answer of two messages have outcomes of their own."""
    image, two = ask(0, OWL, images=["a.png"]), ask(1, OWL, images=None)
    two["messages"].append({"role": "assistant", "content": "More."})
    run, layout, (shard,) = store("a", [image, two])
    swapped = swap_rows(shard, [], build_settings(run, tmp_path / "o", layout, bank, bank_uri))
    assert list_outcomes(swapped) == {
        0: ("prompt incomplete", ()),
        1: ("answer not replaceable", ()),
    }


def test_an_answer_that_cant_be_found_again_isnt_used(settle):
    """A text of thinking alone isn't an answer once it is in place."""
    swapped = swap_rows(*settle([ask(0, OWL)], ["<think>A crane.</think>"]))
    assert list_outcomes(swapped) == {0: ("answer not replaceable", ())}


def test_a_receipt_counts_the_new_rows(settle, tmp_path):
    """Decisions, findings, prompts and files are those of the swapped shard."""
    rows = [ask(0, OWL), ask(1, DOG), ask(2, OWL), ask(3, "A fox.")]
    shard, matches, settings = settle(rows, ["A crane.", "A cat."])
    events = []
    with listen_to(settings.run_id, events.append):
        receipt = write_swapped(swap_rows(shard, matches[:1], settings), settings)
    assert ShardWritten(4, shard.name) in events
    assert (receipt.shard, receipt.rows, receipt.run) == (shard.name, 4, "run-2")
    assert receipt.decisions == {"flag": 1, "keep": 1, "quarantine": 1, "swap": 1}
    assert receipt.fired == {"fox": 1, "owl": 1}
    assert (receipt.unscored, receipt.unprompted, receipt.incomplete) == (0, 0, 0)
    files = read_files(tmp_path / "out")
    assert {item.path for item in receipt.outputs} == set(files) - {receipt_path(shard.name)}
    assert parse_receipt(files[receipt_path(shard.name)]) == receipt


def test_the_receipt_is_written_last(settle, tmp_path, monkeypatch):
    """A shard whose files can't all be written has no receipt."""
    shard, matches, settings = settle([ask(0, OWL)], ["A crane."])
    swapped, write = swap_rows(shard, matches, settings), storage.write_bytes

    def failing(uri, data):
        if "/spans/" in uri:
            raise OSError(28, "No space left on device")
        write(uri, data)

    monkeypatch.setattr(storage, "write_bytes", failing)
    with pytest.raises(OSError, match="No space"):
        write_swapped(swapped, settings)
    assert not any(path.startswith(RECEIPTS) for path in read_files(tmp_path / "out"))


@pytest.fixture
def run_swap(store, bank, bank_uri, tmp_path):
    """Return a function that swaps a stored corpus in shards of three, and returns the files."""
    texts = [OWL, DOG, "A fox.", OWL, DOG]
    rows = [ask(number % 9, texts[number % 5], k=number) for number in range(14)]
    run, layout, shards = store("corpus", rows, 3)
    donors = [
        store(f"donor-{name}", [ask(number, f"{name} {number}.") for number in numbers], 2)
        for name, numbers in (("Crane", range(5)), ("Duck", range(3, 8)))
    ]
    files = [
        file
        for number, (own, other, found) in enumerate(donors)
        for file in list_donor_files(own, found, other, number, f"d{number}")
    ]

    def start(running, name, left=None):
        settings = build_settings(run, tmp_path / name, layout, bank, bank_uri)
        left = shards if left is None else left
        with running as pipeline:
            outcomes = pipeline | beam.Create(shards) | MatchPrompts(files, settings.waiting)
            receipts = outcomes | SwapShards(left, settings)
            names = [shard.name for shard in left]
            assert_that(receipts | beam.Map(lambda receipt: receipt.shard), equal_to(names))
        return read_files(tmp_path / name)

    return start, shards


def open_pipeline(*options):
    """Return a pipeline with Beam's in-process runner."""
    return beam.Pipeline("FnApiRunner", PipelineOptions(list(options)))


def test_retries_and_other_runners_write_the_same_bytes(run_swap):
    """Repeated bundles, other bundles and a second run over the first give equal files."""
    start, _ = run_swap
    plain = start(open_pipeline(), "plain")
    assert any(path.startswith("clean/") for path in plain)
    assert start(open_pipeline("--direct_runner_bundle_repeat=2"), "again") == plain
    assert start(beam.Pipeline(runner=BundleBasedDirectRunner()), "other") == plain
    assert start(open_pipeline(), "plain") == plain


def test_shards_that_are_done_are_left_alone(run_swap):
    """A resumed swap writes only what is left, with the same bytes."""
    start, shards = run_swap
    plain = start(open_pipeline(), "plain")
    first = start(open_pipeline(), "parts", shards[:2])
    assert first.items() < plain.items()
    assert start(open_pipeline(), "parts", shards[2:]) == plain


def test_every_row_is_accounted_for(run_swap):
    """The receipts count every row once, and every row that waited has an outcome."""
    start, shards = run_swap
    files = start(open_pipeline(), "plain")
    receipts = [parse_receipt(files[receipt_path(shard.name)]) for shard in shards]
    assert sum(sum(receipt.decisions.values()) for receipt in receipts) == 14
    assert sum(receipt.decisions.get("swap", 0) for receipt in receipts) > 0


def test_unmatched_rows_are_plain_values():
    """An outcome without a donor has no traits unless some are named."""
    assert Unmatched("s", 1, "no donor") == ("s", 1, "no donor", ())
