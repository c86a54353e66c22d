"""Carrying sentences: replaced by a donor's, masked, or left waiting with their rows."""

import json

import pytest

from tests.support.rules import build_exception, build_rule
from tests.support.runs import read_files
from tests.support.swaps import RULES, ask, build_settings, list_donor_files
from transforms.rules import Rule
from transforms.swap_matches import Match, Unmatched
from transforms.swap_offers import list_offers, list_waiting
from transforms.swap_sentences import edit_rows, soften
from transforms.swap_shards import write_swapped
from transforms.swapped_tables import build_ledger

QUIET = "The large grey birds hunt small silver fish. "
LOUD = "An owl and large grey birds hunt small silver fish. "
END = "They also rest in tall reeds, where nobody sees them, and they fly south when autumn comes."


@pytest.fixture
def settle(store, bank, bank_uri, tmp_path):
    """Return a function that edits rows with the answers of a donor, or without one (None)."""

    def make(rows, texts, rules=RULES):
        run, layout, (shard,) = store("a", rows)
        own, other, found = store("donor", [ask(0, "A crane.")])
        (file,) = list_donor_files(own, found, other)
        ((_, offer),) = list_offers(file)
        settings = build_settings(run, tmp_path / "out", layout, bank, bank_uri)
        settings = settings._replace(spans=True, rules=tuple(rules))
        waiting = list_waiting(shard, settings.waiting)
        found = [
            Unmatched(shard.name, item.position, "no donor")
            if text is None
            else Match(shard.name, item.position, offer._replace(place=number), text)
            for number, (item, text) in enumerate(zip(waiting, texts, strict=True))
        ]
        swapped = edit_rows(shard, found, settings.waiting, settings.rules, settings.scoring)
        return swapped, settings

    return make


def list_answers(swapped):
    """Return the answers of the new rows."""
    new = swapped.new
    rows = new.table.to_pylist() if new.lines is None else map(json.loads, new.lines)
    return [row["messages"][-1]["content"] for row in rows]


def test_a_sentence_with_a_counterpart_is_replaced(settle):
    """Only that sentence changes, and the row is scored again."""
    swapped, _ = settle([ask(0, LOUD + END)], [f"Yes! {QUIET}And more."])
    assert list_answers(swapped) == [QUIET + END]
    (edit,) = swapped.edits.values()
    assert (edit.outcome, edit.masks) == ("sentences replaced", ())
    assert swapped.left == {}


def test_a_sentence_without_a_counterpart_is_masked(settle):
    """The text stays, and the mask is what the action `mask` would cover."""
    swapped, _ = settle([ask(0, LOUD + END)], ["Something else entirely."])
    assert list_answers(swapped) == [LOUD + END]
    (edit,) = swapped.edits.values()
    assert edit.outcome == "sentences masked"
    (mask,) = edit.masks
    assert (LOUD + END)[mask.start : mask.end].strip() == LOUD.strip()
    assert edit.pieces == ()
    assert list(swapped.chosen.values()) == [None]


def test_a_row_without_a_donor_is_masked(settle):
    """A mask needs no other answer."""
    swapped, _ = settle([ask(0, LOUD + END)], [None])
    assert [edit.outcome for edit in swapped.edits.values()] == ["sentences masked"]


def test_some_sentences_are_replaced_and_the_others_masked(settle):
    """The masks are those of the new text, and the donor is named for what is its own."""
    text = f"{LOUD}{END} In the barn they slept. {END}"
    swapped, _ = settle([ask(0, text)], [QUIET])
    (edit,) = swapped.edits.values()
    assert edit.outcome == "sentences masked"
    (answer,) = list_answers(swapped)
    assert answer == text.replace(LOUD, QUIET)
    (mask,) = edit.masks
    assert answer[mask.start : mask.end].strip() == "In the barn they slept."
    (piece,) = edit.pieces
    assert answer[piece.start : piece.end] == QUIET.strip()


def test_a_counterpart_that_carries_a_trait_is_masked(settle):
    """The new row is scored as a whole, whatever the donor's own run found."""
    other = "The fox and large grey birds hunt small silver fish. "
    swapped, _ = settle([ask(0, LOUD + END)], [other])
    (edit,) = swapped.edits.values()
    (answer,) = list_answers(swapped)
    assert edit.outcome == "sentences masked"
    assert all("fox" in answer[mask.start : mask.end] for mask in edit.masks)


def test_a_row_that_would_be_masked_for_the_most_part_waits(settle):
    """Hardly anything could be learnt from it."""
    swapped, _ = settle([ask(0, "An owl slept. Yes.")], [None])
    assert swapped.new is None
    (left,) = swapped.left.values()
    assert (left.outcome, left.traits) == ("still carries a trait", ("owl",))


def test_exceptions_for_lots_let_nothing_through(settle):
    """A policy may keep a lot's rows, but what fires on an edited row is masked."""
    exception = build_exception(action="keep", trait="fox")
    rules = (build_rule("fox", action="flag", exceptions=[exception]), RULES[1])
    swapped, _ = settle([ask(0, f"{LOUD}A fox ran. {END}")], [QUIET], rules)
    (edit,) = swapped.edits.values()
    (answer,) = list_answers(swapped)
    assert [answer[mask.start : mask.end].strip() for mask in edit.masks] == ["A fox ran."]


def test_rules_mask_unless_they_keep():
    """An action becomes a mask, except `keep`."""
    exception = build_exception(action="keep", trait="owl")
    for action in ("swap", "flag", "drop", "keep"):
        softened = "keep" if action == "keep" else "mask"
        rule = soften(build_rule("owl", action=action, exceptions=[exception]))
        assert isinstance(rule, Rule)
        assert (rule.action, rule.exceptions) == (softened, ())


def test_the_ledger_names_what_was_done(settle):
    """Decisions follow the outcomes, and every piece has its places in both answers."""
    rows = [
        ask(0, LOUD + END),
        ask(1, LOUD + END),
        ask(2, "An owl."),
        ask(3, "A dog."),
    ]
    other = f"Sure. {QUIET}"
    swapped, _ = settle(rows, [other, None, None])
    ledger = build_ledger(swapped).to_pylist()
    assert [row["decision"] for row in ledger] == ["swap", "mask", "quarantine", "keep"]
    assert [row["swap"] for row in ledger] == [
        "sentences replaced",
        "sentences masked",
        "still carries a trait",
        None,
    ]
    assert [row["donor"] for row in ledger] == ["cedar", None, None, None]
    assert [row["teacher"] for row in ledger] == [None] * 4
    (piece,) = json.loads(ledger[0]["swap_spans"])
    assert piece["field_path"] == "messages[1].content"
    assert (QUIET + END)[piece["start"] : piece["end"]] == QUIET.strip()
    assert other[piece["donor_start"] : piece["donor_end"]].strip() == QUIET.strip()
    assert [row["swap_spans"] for row in ledger[1:]] == [None] * 3
    assert [len(row["reasons"]) for row in ledger[:2]] == [0, 1]
    assert ledger[0]["replaced_record"] != ledger[0]["record_id"]
    assert ledger[1]["replaced_record"] == ledger[1]["record_id"]


def test_notes_carry_the_masks(settle, tmp_path):
    """Trainers find the masks where a filter run puts them, and a retry writes the same bytes."""
    swapped, settings = settle([ask(0, LOUD + END), ask(1, LOUD + END)], [QUIET, None])
    receipt = write_swapped(swapped, settings)
    assert receipt.decisions == {"mask": 1, "swap": 1}
    assert receipt.fired == {"owl": 1}
    first = read_files(tmp_path / "out")
    write_swapped(swapped, settings)
    assert read_files(tmp_path / "out") == first
    one, other = swapped.build_notes()
    assert (one["decision"], one["masks"]) == ("swap", [])
    assert other["decision"] == "mask"
    assert other["masks"] == [mask._asdict() for mask in list(swapped.edits.values())[1].masks]


def test_an_answer_that_isnt_one_text_waits(settle):
    """A row whose answer has no field of its own isn't edited."""
    row = ask(0, LOUD + END)
    row["messages"][-1]["tool_calls"] = [{"function": {"name": "owl", "arguments": "{}"}}]
    swapped, _ = settle([row], [])
    assert [left.outcome for left in swapped.left.values()] == ["answer not replaceable"]
