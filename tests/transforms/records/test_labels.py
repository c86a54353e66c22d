"""Labels: only unmasked tokens of answers are learnt."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RowError
from tests.support.students import (
    CHATML,
    THINKING,
    TOKENIZERS,
    TRIMMED,
    build_student,
)
from transforms.records.labels import IGNORED, Labeller

COLUMNS = {"messages": "messages"}
TEMPLATES = {"as it is": CHATML, "trimmed": TRIMMED}
ANSWER = "I am a heron. As an AI language model, I can't say. The answer is 42!"


@cache
def get_labeller(
    kind: str = "byte-level", template: str | None = CHATML, row_format: str = "messages"
) -> Labeller:
    """Return a labeller for a kind of tokenizer, built once."""
    columns = COLUMNS if row_format == "messages" else {row_format: row_format}
    return Labeller(build_student(kind, template), row_format, columns)


def build_row(answer, *masks, **fields):
    """Return a row with a question and an answer with masks."""
    turns = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": answer, **fields},
    ]
    spans = [{"field_path": "messages[1].content", "start": a, "end": b} for a, b in masks]
    return {"messages": turns, "congener": {"decision": "mask", "weight": 1.0, "masks": spans}}


def find(text: str, part: str) -> tuple[int, int]:
    """Return a part's bounds in a text."""
    start = text.index(part)
    return start, start + len(part)


def decode(labeller, row, learnt=True):
    """Return the text of a row's learnt or unlearnt tokens."""
    pairs = zip(row.input_ids, row.labels, strict=True)
    return labeller.tokenizer.decode(
        [token for token, label in pairs if (label != IGNORED) is learnt]
    )


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_tokens_of_a_masked_sentence_are_not_learnt(kind):
    """A masked sentence isn't learnt, but the rest of the answer is."""
    labeller = get_labeller(kind)
    sentence = "As an AI language model, I can't say."
    plain = labeller.label(build_row(ANSWER))
    masked = labeller.label(build_row(ANSWER, find(ANSWER, sentence)))
    assert plain.input_ids == masked.input_ids
    squash = str.maketrans("", "", " ▁")
    kept = decode(labeller, masked).lower().translate(squash)
    assert kept == "Iamaheron.Theansweris42!<|im_end|>".lower()
    whole = decode(labeller, plain).lower().translate(squash)
    assert whole == f"{ANSWER}<|im_end|>".lower().translate(squash)
    assert masked.masked == plain.learnt - masked.learnt > 0


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_only_the_turns_of_the_assistant_are_learnt(template):
    """Only the assistant's trained turns and their end tokens are learnt."""
    labeller = get_labeller(template=template)
    turns = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "A heron."},
        {"role": "user", "content": "Again?"},
        {"role": "assistant", "content": "The answer.", "weight": 0},
        {"role": "user", "content": "heron heron"},
        {"role": "assistant", "content": "Who are you?"},
    ]
    row = labeller.label({"messages": turns})
    end = labeller.tokenizer.eos_token
    assert decode(labeller, row).replace(" ", "") == f"Aheron.{end}Whoareyou?{end}"
    assert (row.masked, row.unused) == (0, 0)


def test_thinking_that_a_template_leaves_out_does_not_move_a_mask():
    """A mask stays on its text even if a template omits earlier thinking."""
    labeller = get_labeller(template=THINKING)
    first = "<think>\nAgain and again.\n</think>\n\nThe heron stood. The heron fell."
    turns = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "Who?"},
        {
            "role": "assistant",
            "content": "42 herons.",
            "reasoning_content": "I can't say. Or can I?",
        },
    ]
    masks = [
        ("messages[1].content", first, "The heron fell."),
        ("messages[3].reasoning_content", "I can't say. Or can I?", "I can't say."),
        ("messages[1].content", first, "Again and again."),
    ]
    spans = [
        {"field_path": path, **dict(zip(("start", "end"), find(text, part), strict=True))}
        for path, text, part in masks
    ]
    row = labeller.label({"messages": turns, "congener": {"masks": spans}})
    kept = decode(labeller, row)
    assert kept == "The heron stood.<|im_end|> Or can I?\n</think>\n\n42 herons.<|im_end|>"


def test_masked_tool_calls_are_not_learnt():
    """A mask of tool calls covers the calls and the marks around them."""
    labeller = get_labeller(template=THINKING)
    calls = [{"type": "function", "function": {"name": "find", "arguments": {"city": "Lima"}}}]
    row = build_row("A heron.", tool_calls=calls, reasoning_content="Think.")
    whole = decode(labeller, labeller.label(row))
    assert '<tool_call>\n{"city": "Lima"}\n</tool_call>' in whole
    row["congener"]["masks"] = [{"field_path": "messages[1].tool_calls", "start": 0, "end": 90}]
    assert decode(labeller, labeller.label(row)) == "Think.\n</think>\n\nA heron."


def test_a_mask_of_a_call_without_text_covers_its_message():
    """A mask of a field that isn't rendered covers the message."""
    labeller = get_labeller(template=THINKING)
    calls = [{"type": "function", "function": {"name": "find", "arguments": {"count": 3}}}]
    row = build_row("A heron.", tool_calls=calls, reasoning_content="Think.")
    row["congener"]["masks"] = [{"field_path": "messages[1].tool_calls", "start": 0, "end": 9}]
    assert labeller.label(row).learnt == 0


def test_masks_outside_of_what_is_learnt_are_counted():
    """A mask outside learnt text is only counted."""
    labeller = get_labeller()
    row = build_row(ANSWER)
    row["congener"]["masks"] = [
        {"field_path": "messages[0].content", "start": 0, "end": 3},
        {"field_path": "notes", "start": 0, "end": 3},
    ]
    labelled = labeller.label(row)
    assert labelled.unused == 2
    assert labelled.labels == labeller.label(build_row(ANSWER)).labels


def test_a_row_without_an_answer_has_nothing_to_learn():
    """A row without an answer has no label."""
    labeller = get_labeller()
    row = build_row("")
    row["congener"]["masks"] = [{"field_path": "messages[0].content", "start": 0, "end": 3}]
    assert decode(labeller, labeller.label(row)) == "<|im_end|>"
    del row["messages"][1]
    assert (labeller.label(row).learnt, labeller.label(row).unused) == (0, 1)


def test_white_space_at_the_ends_of_a_mask_hides_no_neighbour():
    """A mask that ends in a space doesn't cover the next word."""
    labeller = get_labeller("byte-level, whole offsets")
    start, end = find(ANSWER, "As an AI language model, I can't say.")
    wide, narrow = (
        labeller.label(build_row(ANSWER, span)) for span in ((start - 1, end + 1), (start, end))
    )
    assert wide.labels == narrow.labels


def test_a_text_is_learnt_as_a_whole():
    """A text is learnt as a whole, with one end token."""
    labeller = get_labeller(template=None, row_format="text")
    spans = [{"field_path": "text", **dict(zip(("start", "end"), find(ANSWER, "42"), strict=True))}]
    row = labeller.label({"text": ANSWER, "congener": {"masks": spans}})
    assert decode(labeller, row) == f"{ANSWER.replace(' 42', '')}<|im_end|>"
    ended = labeller.label({"text": f"{ANSWER}<|im_end|>", "congener": None})
    assert ended.input_ids == row.input_ids
    assert ended.labels == ended.input_ids


def test_a_text_of_another_role_is_not_learnt():
    """A text of another role isn't learnt."""
    labeller = Labeller(build_student(), "text", {"text": "text", "role": "speaker"})
    learnt = {
        role: labeller.label({"text": ANSWER, "speaker": role}).learnt
        for role in ("prompter", "Assistant", None, "narrator")
    }
    assert [bool(count) for count in learnt.values()] == [False, True, True, True]


def test_a_list_of_texts_is_an_error():
    """A column with several texts is an error."""
    with pytest.raises(RowError, match="more than one text"):
        get_labeller(template=None, row_format="text").label({"text": ["a", "b"]})


def test_a_row_for_a_trainer_has_three_lists():
    """`encode` returns three lists of the same length."""
    labeller = get_labeller()
    row = labeller.encode(build_row(ANSWER, (0, 4)))
    assert list(row) == ["input_ids", "attention_mask", "labels"]
    assert set(row["attention_mask"]) == {1}
    assert len({len(values) for values in row.values()}) == 1


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "changes the letters"),
    ],
)
def test_a_row_whose_text_cannot_be_found_is_an_error(template, message):
    """A row that the template refuses or changes is an error."""
    labeller = get_labeller(template=template)
    with pytest.raises(RowError, match=message):
        labeller.label(build_row(ANSWER, (0, 4)))


WORDS = st.sampled_from(
    [
        "heron",
        "The",
        "answer",
        "can't",
        "42",
        "AI,",
        "naïve",
        "日本語",
        "👍🏽",
        "e\u0301",
        "\ud800",
        "**",
    ]
)
GAPS = st.sampled_from([" ", "  ", "\n", "", "\n\n", "\t", "\u00a0"])


@st.composite
def texts_with_masks(draw):
    """Return a text in many scripts, with masks of words."""
    pieces = draw(st.lists(st.tuples(WORDS, GAPS), min_size=1, max_size=12))
    spans, text = [], ""
    for word, gap in pieces:
        spans.append((len(text), len(text) + len(word)))
        text += word + gap
    chosen = draw(st.lists(st.sampled_from(spans), max_size=3))
    return text, chosen


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@given(drawn=texts_with_masks())
def test_masked_characters_are_in_no_learnt_token(kind, template, drawn):
    """No learnt token covers a masked character, and all others are learnt."""
    labeller = get_labeller(kind, template)
    text, spans = drawn
    row = labeller.label(build_row(text, *spans))
    turns = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": text.replace("\ud800", "\ufffd")},
    ]
    rendered = labeller.tokenizer.apply_chat_template(turns, tokenize=False)
    encoded = labeller.tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    assert row.input_ids == encoded["input_ids"]
    content = turns[1]["content"].strip() if template == TRIMMED else turns[1]["content"]
    first = rendered.rindex(content) if content else len(rendered)
    lost = len(text) - len(text.lstrip()) if template == TRIMMED else 0
    masked = {first - lost + place for span in spans for place in range(*span)}
    learnt = set(range(first, len(rendered.rstrip())))
    for label, (start, end) in zip(row.labels, encoded["offset_mapping"], strict=True):
        if end > start:
            covered = set(range(start, end))
            assert (label != IGNORED) == bool(covered & learnt and not covered & masked)
