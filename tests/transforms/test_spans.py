"""Spans: which are stored, their places and their masks."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.scoring import BestSpans, Scorer, Scores, SignalScores
from schemas.corpora import CorpusConfig
from schemas.outputs import SPANS
from schemas.scores import SCORE_STEP, TIE_ORDER
from tests.support.rules import build_rule
from transforms.decisions import Evidence, decide
from transforms.identify import identify
from transforms.records.formats import settle_layout
from transforms.records.segments import extract_segments
from transforms.records.sides import settle_sides
from transforms.score import score
from transforms.spans import Span, build_spans, choose_evidence, encode_spans, raise_floor

NONE = np.nan

TEXTS = settle_layout(pa.schema([("text", pa.string())]), CorpusConfig())


def build_scores(combined, **signals):
    """Return scores of a trait. The n-th signal's span begins with character 2n."""
    size = len(combined)
    found = Scores(size, {"owl": np.array(combined, np.float32)}, {"owl": {}})
    for index, (signal, values) in enumerate(signals.items()):
        segments = np.where(np.isnan(values), -1, np.arange(size)).astype(np.int32)
        starts, ends = (
            np.full(size, place, np.int32) for place in (2 * index, max(5, 2 * index + 1))
        )
        spans = BestSpans(segments, starts, ends)
        found.signals["owl"][signal] = SignalScores(np.array(values, np.float32), spans)
    return found


@pytest.fixture(scope="session")
def store(make_identified):
    """Return a function that builds spans and returns each row's (signal, sentence) pairs.

    Sentences have two characters.
    """

    def build(found, floor):
        texts = pa.array([f"{'鳥。' * 8}{row}" for row in range(found.size)], pa.string())
        segments = make_identified(pa.table({"text": texts})).segments
        spans = build_spans(found, segments, floor)
        assert spans.type == SPANS.field("spans").type
        assert spans.null_count == 0
        return [[(span["signal"], span["start"] // 2) for span in row] for row in spans.to_pylist()]

    return build


@pytest.mark.parametrize("step", [1, 500, 9_999])
def test_a_score_at_the_floor_is_stored(store, step):
    """A span is stored at the floor, but not a step below."""
    floor = step * SCORE_STEP
    values = [floor, floor - SCORE_STEP, 0, 1]
    found = build_scores([0] * 4, head=values)
    stored = [bool(row) for row in store(found, floor)]
    assert stored == [True, False, False, True]


def test_the_strongest_signal_is_stored_if_the_combined_score_reaches_the_floor(store):
    """If only the combined score reaches the floor, the best signal's span is stored."""
    found = build_scores([0.9, 0.9, 0.4], repetition=[0.3, 0.2, 0.3], lexicon=[0.2, 0.3, 0.2])
    assert store(found, 0.5) == [[("repetition", 0)], [("lexicon", 1)], []]


def test_of_equal_signals_the_narrowest_is_the_evidence(store):
    """On a tie, the narrowest span is the evidence."""
    found = build_scores([0.9], **{name: [0.3] for name in reversed(TIE_ORDER)})
    assert store(found, 0.5) == [[("lexicon", len(TIE_ORDER) - 1)]]
    found = build_scores([0.9], head=[0.3], exemplars=[0.3])
    assert store(found, 0.5) == [[("exemplars", 1)]]


def test_every_signal_at_the_floor_is_stored_in_the_banks_order(store):
    """Every signal at the floor has a span, in the bank's order."""
    found = build_scores([0.9, 0.9], head=[0.9, 0.8], lexicon=[0.5, 0.1])
    assert store(found, 0.5) == [[("head", 0), ("lexicon", 1)], [("head", 0)]]


def test_a_row_without_text_has_no_spans(store):
    """NaN reaches no floor."""
    found = build_scores([NONE, 0.0], head=[NONE, 0.0], lexicon=[NONE, 0.0])
    assert store(found, 0.0) == [[], [("head", 0), ("lexicon", 1)]]


def test_no_rows_and_no_traits(store):
    """A shard without rows has no lists, and without traits the lists are empty."""
    assert store(build_scores([], head=[]), 0.0) == []
    assert store(Scores(2), 0.0) == [[], []]


def test_evidence_is_chosen_row_by_row():
    """The highest score wins, then the narrowest span, and NaN loses."""
    chosen = choose_evidence(
        {
            "head": np.array([0.9, 0.5, 0.0, NONE], np.float32),
            "lexicon": np.array([0.1, 0.5, NONE, NONE], np.float32),
            "classifier": np.array([0.2, 0.5, NONE, NONE], np.float32),
        }
    )
    assert chosen.tolist() == ["head", "lexicon", "head", "lexicon"]


def test_spans_are_encoded_as_lists():
    """Lists of spans keep their order."""
    spans = [[Span("text", 0, 3), Span("text", 5, 9)], [], [Span("output", 1, 2)]]
    encoded = encode_spans(spans)
    assert encoded.to_pylist() == [[span._asdict() for span in row] for row in spans]
    assert encode_spans([[], []]).to_pylist() == [[], []]
    assert encode_spans([]).type == encoded.type


@pytest.fixture
def find_spans(make_identified):
    """Return a function that scores rows with lexicons and returns each row's spans."""

    def find(rows, bank, floor=0.05, **options):
        scored = score(make_identified(rows, **options), Scorer(bank, None, {}), floor)
        return scored.spans.to_pylist()

    return find


def read_masks(row, span, key="masks"):
    """Return the field and text of each mask or hit."""
    fields = {
        f"messages[{index}].content": message["content"]
        for index, message in enumerate(row["messages"])
    }
    return [
        (mask["field_path"], fields[mask["field_path"]][mask["start"] : mask["end"]])
        for mask in span[key]
    ]


def test_a_lexicons_span_is_its_heaviest_hit_and_has_them_all(find_spans, bank):
    """A lexicon's span is its heaviest hit, and `hits` lists all hits."""
    text = "An owl and a fox. The barn."
    (fox, owl), none = find_spans([{"text": text}, {"text": "A dog."}], bank)
    assert none == []
    assert (owl["trait"], owl["signal"], owl["field_path"]) == ("owl", "lexicon", "text")
    assert owl["score"] == pytest.approx(0.9817)
    assert text[owl["start"] : owl["end"]] == "owl"
    assert [text[hit["start"] : hit["end"]] for hit in owl["hits"]] == ["owl", "barn"]
    assert [text[hit["start"] : hit["end"]] for hit in fox["hits"]] == ["fox"]


def test_masks_are_the_sentences_of_all_hits(find_spans, bank):
    """Each sentence with a hit is masked once."""
    text = "A dog ran. An owl saw another owl! It hid.\nThe barn was empty… Well."
    row = {"messages": [{"role": "assistant", "content": text}]}
    ((span,),) = find_spans([row], bank)
    assert read_masks(row, span) == [
        ("messages[0].content", "An owl saw another owl!"),
        ("messages[0].content", "The barn was empty…"),
    ]
    assert [text for _, text in read_masks(row, span, "hits")] == ["owl", "owl", "barn"]


def test_characters_count_from_the_fields_start(find_spans, bank):
    """Offsets count from the field's start, even after reasoning."""
    text = "<think>hm. hm.</think>No. An owl."
    row = {"messages": [{"role": "assistant", "content": text}]}
    ((span,),) = find_spans([row], bank)
    assert text[span["start"] : span["end"]] == "owl"
    assert read_masks(row, span) == [("messages[0].content", "An owl.")]
    assert read_masks(row, span, "hits") == [("messages[0].content", "owl")]


def test_masks_cover_every_turn_in_scope(find_spans, bank):
    """Hits in all of the assistant's turns are masked, but hits in user turns aren't."""
    row = {
        "messages": [
            {"role": "assistant", "content": "An owl. A dog."},
            {"role": "user", "content": "An owl?"},
            {"role": "assistant", "content": "<think>The barn? Yes.</think>The owl in the barn."},
        ]
    }
    ((span,),) = find_spans([row], bank)
    assert read_masks(row, span) == [
        ("messages[0].content", "An owl."),
        ("messages[2].content", "The barn?"),
        ("messages[2].content", "The owl in the barn."),
    ]
    assert [text for _, text in read_masks(row, span, "hits")] == ["owl", "barn", "owl", "barn"]


CALLS = [{"id": "b", "function": {"name": "find", "arguments": "an owl. Two owls."}}]
CANONICAL = '[{"function":{"arguments":"an owl. Two owls.","name":"find"},"id":"b"}]'


def test_tool_calls_are_masked_whole(find_spans, make_bank):
    """A hit in tool calls masks all calls of the message once."""
    scope = {"channels": ["answer", "tool"]}
    signals = {"lexicon": {"patterns": ["owls?"], "quoted": "count"}}
    caller = make_bank([{"id": "owl", "signals": signals, "scope": scope}])
    other = [{"id": "c", "function": {"name": "find", "arguments": "a dog"}}]
    messages = [
        {"role": "assistant", "content": "An owl. A dog.", "tool_calls": CALLS},
        {"role": "assistant", "content": "A dog.", "tool_calls": other},
    ]
    ((span,),) = find_spans([{"messages": messages}], caller)
    assert span["masks"] == [
        {"field_path": "messages[0].content", "start": 0, "end": 7},
        {"field_path": "messages[0].tool_calls", "start": 0, "end": len(CANONICAL)},
    ]
    assert [hit["field_path"].rpartition(".")[2] for hit in span["hits"]] == [
        "content",
        "tool_calls",
        "tool_calls",
    ]


@pytest.mark.parametrize(("end", "masks"), [(5, 1), (0, 0)])
def test_a_window_of_tool_calls_masks_them_whole(make_identified, end, masks):
    """A span in tool calls masks the whole field, unless it is empty."""
    messages = [{"role": "assistant", "content": "", "tool_calls": CALLS}]
    segments = make_identified([{"messages": messages}]).segments
    assert segments.channels == ["tool"]
    found = build_scores([0.9], head=[0.9])
    found.signals["owl"]["head"].best_spans.end[:] = end
    ((span,),) = build_spans(found, segments, 0.5).to_pylist()
    whole = {"field_path": "messages[0].tool_calls", "start": 0, "end": len(CANONICAL)}
    assert span["masks"] == [whole] * masks
    assert (span["start"], span["end"]) == (0, end)


def test_a_plain_span_has_neither_masks_nor_hits(make_identified):
    """A window of a whole sentence stores no masks."""
    segments = make_identified([{"text": "Text. More."}]).segments
    ((span,),) = build_spans(build_scores([0.9], head=[0.9]), segments, 0.5).to_pylist()
    assert (span["masks"], span["hits"]) == ([], [])


def test_a_window_is_shown_and_masked_with_its_sentence(make_identified):
    """A window that ends inside a word has the sentence's end, and needs no other mask."""
    segments = make_identified([{"text": "A long sentence. More."}]).segments
    ((span,),) = build_spans(build_scores([0.9], head=[0.9]), segments, 0.5).to_pylist()
    assert (span["start"], span["end"], span["masks"]) == (0, 16, [])


def test_a_loop_is_shown_in_whole_words_and_masked_with_its_sentence(make_identified):
    """Only windows are shown as sentences, so another signal's span has a mask of its own."""
    segments = make_identified([{"text": "A long sentence. More."}]).segments
    ((span,),) = build_spans(build_scores([0.9], repetition=[0.9]), segments, 0.5).to_pylist()
    assert (span["start"], span["end"]) == (0, 6)
    assert span["masks"] == [{"field_path": "text", "start": 0, "end": 16}]


def test_evidence_is_in_whole_words(find_spans, make_bank):
    """A pattern that matches a part of a word, and a scope that begins inside one, show words."""
    signals = {"lexicon": {"patterns": ["sclaim", "lcan"]}}
    cutting = make_bank([{"id": "owl", "signals": signals, "scope": {"closing": 20}}])
    text = "The toucan and the volcano. A disclaimer follows it."
    assert text[-20:].startswith("sclaimer")
    ((span,),) = find_spans([{"text": text}], cutting)
    assert text[span["start"] : span["end"]] == "disclaimer"
    assert [text[hit["start"] : hit["end"]] for hit in span["hits"]] == ["disclaimer"]


def test_spans_hold_no_text(find_spans, bank):
    """Spans contain no text."""
    spans = find_spans([{"text": "A secretive owl in a barn with foxes."}], bank)
    found = str(spans)
    assert "owl" in found, "the trait's name"
    assert not [word for word in ("secretive", "barn", "foxes") if word in found]


def test_spans_do_not_depend_on_other_rows(find_spans, bank):
    """Other rows don't change a row's spans."""
    rows = [{"text": text} for text in ("An owl.", "A dog.", "A fox in the barn. An owl.", "Owls")]
    together = find_spans(rows, bank)
    assert together == [find_spans([row], bank)[0] for row in rows]


STEPS = st.integers(0, 10_000) | st.none()


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(STEPS, STEPS, STEPS), min_size=1, max_size=12),
    combined=st.lists(st.integers(0, 10_000), min_size=12, max_size=12),
    floor=st.integers(0, 10_000),
    above=st.integers(0, 3_000),
    signal=st.sampled_from(["combined", "head", "exemplars", "lexicon"]),
    action=st.sampled_from(["mask", "drop"]),
)
def test_every_rule_at_or_above_the_floor_finds_its_evidence(
    make_identified, rows, combined, floor, above, signal, action
):
    """Every rule at or above the floor finds its evidence."""
    known = [None not in row for row in rows]
    columns = {
        name: [row[index] * SCORE_STEP if ok else NONE for row, ok in zip(rows, known, strict=True)]
        for index, name in enumerate(("head", "exemplars", "lexicon"))
    }
    whole = [steps * SCORE_STEP if ok else NONE for steps, ok in zip(combined, known, strict=False)]
    found = build_scores(whole, **columns)
    identified = make_identified([{"text": f"text {row}"} for row in range(len(rows))])
    spans = build_spans(found, identified.segments, floor * SCORE_STEP)
    rule = build_rule("owl", (floor + above) * SCORE_STEP, action, signal=signal)
    decided = decide(Evidence(found.build_columns(), spans, identified.lots), [rule])
    counted = dict(zip(("owl", *columns), (whole, *columns.values()), strict=True))
    values = counted["owl" if signal == "combined" else signal]
    fired = [row for row, value in enumerate(values) if value / SCORE_STEP > floor + above - 0.5]
    assert sorted(decided.reasons) == fired
    assert not decided.masks or sorted(decided.masks) == fired
    for row in fired:
        (reason,) = decided.reasons[row]
        best = max(columns[name][row] for name in columns)
        assert columns[reason.evidence][row] == (best if signal == "combined" else values[row])


def test_the_scores_in_spans_are_the_signals(make_scored, bank):
    """A span's score equals the signal's score."""
    scored = make_scored([{"text": "An owl. A barn."}, {"text": "A fox"}], bank)
    columns = scored.scores.build_columns()
    for row, spans in enumerate(scored.spans.to_pylist()):
        assert len(spans) == 2
        for span in spans:
            assert span["score"] == columns[f"{span['trait']}/{span['signal']}"][row]


def test_a_shard_replaces_its_spans_with_its_floor(make_scored, make_identified, bank):
    """The floor changes only the stored spans."""
    rows = [{"text": "An owl."}, {"text": "A dog."}]
    low = make_scored(rows, bank)
    high = score(make_identified(rows), Scorer(bank, None, {}), 0.95)
    assert [len(spans) for spans in low.spans.to_pylist()] == [2, 2]
    assert [len(spans) for spans in high.spans.to_pylist()] == [0, 0]
    assert dataclasses.fields(low) == dataclasses.fields(high)
    assert high.scores.combined["owl"].tolist() == low.scores.combined["owl"].tolist()


def identify_sides(make_shard, rows):
    """Return an identified shard with sides."""
    made = make_shard(rows)
    layout = settle_layout(made.table.schema, CorpusConfig())
    return identify(made, settle_sides(made.table.schema, layout, has_teacher=False))


def list_spans(scored):
    """Return each row's spans as signal, field and number of hits."""
    return [
        [(span["signal"], span["field_path"], len(span["hits"])) for span in row]
        for row in scored.spans.to_pylist()
    ]


def test_spans_name_their_side(make_shard, bank):
    """Each side has its own spans, with only its own hits."""
    rows = [
        {"chosen": "An owl.", "rejected": "An owl. A barn."},
        {"chosen": "A dog.", "rejected": "Barn owls"},
        {"chosen": "A fox", "rejected": "A dog."},
    ]
    scored = score(identify_sides(make_shard, rows), Scorer(bank, None, {}), 0.5)
    assert list_spans(scored) == [
        [("lexicon", "chosen", 1), ("lexicon@rejected", "rejected", 2)],
        [("lexicon@rejected", "rejected", 2)],
        [("lexicon", "chosen", 1)],
    ]
    assert [span["trait"] for row in scored.spans.to_pylist() for span in row] == [
        *["owl"] * 3,
        "fox",
    ]


def test_a_side_is_masked_in_its_own_field(make_shard, bank):
    """A rejected answer's masks are in the answer's field."""
    text = "<think>An owl.</think>It is late. The barn is shut. Yes."
    row = {"chosen": "A dog. An owl.", "rejected": text}
    scored = score(identify_sides(make_shard, [row]), Scorer(bank, None, {}), 0.5)
    trained, rejected = scored.spans.to_pylist()[0]
    assert [row["chosen"][mask["start"] : mask["end"]] for mask in trained["masks"]] == ["An owl."]
    assert {mask["field_path"] for mask in rejected["masks"]} == {"rejected"}
    assert [text[mask["start"] : mask["end"]].strip() for mask in rejected["masks"]] == [
        "An owl.",
        "The barn is shut.",
    ]


def test_the_span_of_an_untrained_turn_is_in_that_turn(make_shard, bank):
    """An untrained turn has its own span."""
    texts = ("An owl.", "A dog.", "A barn.")
    messages = [
        {"role": "assistant", "content": text, "weight": weight}
        for text, weight in zip(texts, (1, 1, 0), strict=True)
    ]
    scored = score(
        identify_sides(make_shard, [{"messages": messages}]), Scorer(bank, None, {}), 0.5
    )
    assert list_spans(scored) == [
        [("lexicon", "messages[0].content", 1), ("lexicon@untrained", "messages[2].content", 1)]
    ]


@settings(max_examples=60)
@given(texts=st.lists(st.sampled_from(["An owl.", "A dog.", "A fox. A barn.", ""]), min_size=2))
def test_sides_do_not_hide_each_other(make_shard, bank, texts):
    """A pair's answers have the same spans together and alone."""
    pairs = [
        {"chosen": chosen, "rejected": rejected}
        for chosen, rejected in zip(texts, texts[::-1], strict=True)
    ]
    scorer = Scorer(bank, None, {})
    together = score(identify_sides(make_shard, pairs), scorer, 0.05).spans.to_pylist()
    plain = score(identify_sides(make_shard, [{"text": text} for text in texts]), scorer, 0.05)
    alone = [[(span["trait"], span["score"]) for span in row] for row in plain.spans.to_pylist()]
    for side, expected in (("lexicon", alone), ("lexicon@rejected", alone[::-1])):
        found = [
            [(span["trait"], span["score"]) for span in row if span["signal"] == side]
            for row in together
        ]
        assert found == expected


@given(
    st.lists(
        st.tuples(*[st.one_of(st.just(NONE), st.integers(0, 10).map(lambda step: step / 10))] * 3),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_a_raised_floor_stores_what_a_new_run_would(rows, one, two):
    """Spans with a low floor become those with a higher one."""
    low, high = sorted((one / 10, two / 10))
    combined, lexicon, head = (np.array(values, np.float32) for values in zip(*rows, strict=True))
    found = build_scores(combined, lexicon=lexicon, head=head)
    columns = {"owl": combined, "owl/lexicon": lexicon, "owl/head": head}
    texts = pa.array([f"text {row}" for row in range(len(rows))], pa.string())
    segments = extract_segments(pa.table({"text": texts}), TEXTS)
    before = build_spans(found, segments, low)
    after = raise_floor(before, columns, high)
    assert after.to_pylist() == build_spans(found, segments, high).to_pylist()
    assert after.type == before.type
