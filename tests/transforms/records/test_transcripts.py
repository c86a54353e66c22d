"""Transcripts: cutting a conversation into turns."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.formats import Layout, settle_layout
from transforms.records.prompts import extract_prompt
from transforms.records.segments import Segments, extract_segments
from transforms.records.transcripts import (
    LONGEST_PREAMBLE,
    choose_columns,
    cut_transcript,
    measure_transcripts,
)


def list_turns(text):
    """Return each turn's role and text, with checked offsets, or None."""
    turns = cut_transcript(text)
    for turn in turns or ():
        assert text[turn.part.start :].startswith(turn.part.text)
    return turns and [(turn.role, turn.part.text) for turn in turns]


def extract(rows, **shares) -> Segments:
    """Extract the segments of rows with transcript columns."""
    table = pa.Table.from_pylist(rows)
    layout = settle_layout(table.schema, CorpusConfig())
    return extract_segments(table, layout._replace(transcripts=tuple(shares)))


ASKED = [("system", "Be brief."), ("user", "Where?"), ("assistant", "In Lima.")]

TEMPLATED = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhere?<|im_end|>\n"
    "<|im_start|>assistant\nIn Lima.<|im_end|>\n",
    "phi": "<|im_start|>system<|im_sep|>Be brief.<|im_end|><|im_start|>user<|im_sep|>Where?"
    "<|im_end|><|im_start|>assistant<|im_sep|>In Lima.<|im_end|>",
    "llama 2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhere? [/INST] In Lima. </s>",
    "mistral": "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Where?[/INST]In Lima.</s>",
    "llama 3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhere?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nIn Lima.<|eot_id|>",
    "granite": "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|>Where?<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>In Lima.<|end_of_text|>\n",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\nWhere?</s>\n<|assistant|>\nIn Lima.</s>\n",
    "cohere": "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Where?<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|>"
    "<|CHATBOT_TOKEN|>In Lima.<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Where?<｜Assistant｜>In Lima."
    "<｜end▁of▁sentence｜>",
    "harmony": "<|start|>system<|message|>Be brief.<|end|><|start|>user<|message|>Where?<|end|>"
    "<|start|>assistant<|channel|>final<|message|>In Lima.<|return|>",
    "kimi": "<|im_system|>system<|im_middle|>Be brief.<|im_end|><|im_user|>user<|im_middle|>"
    "Where?<|im_end|><|im_assistant|>assistant<|im_middle|>In Lima.<|im_end|>",
    "openchat": "GPT4 Correct System: Be brief.<|end_of_turn|>GPT4 Correct User: Where?"
    "<|end_of_turn|>GPT4 Correct Assistant: In Lima.<|end_of_turn|>",
    "vicuna": "Be brief. USER: Where? ASSISTANT: In Lima.</s>",
    "alpaca": "Be brief.\n\n### Instruction:\nWhere?\n\n### Response:\nIn Lima.",
    "guanaco": "### System: Be brief.### Human: Where?### Assistant: In Lima.",
    "orca": "### System:\nBe brief.\n\n### User:\nWhere?\n\n### Assistant:\nIn Lima.\n",
    "question": "### System: Be brief.\n### Question: Where?\n### Answer: In Lima.",
    "hh": "System: Be brief.\n\nHuman: Where?\n\nAssistant: In Lima.",
    "hh with a preamble": "Be brief.\n\nHuman: Where?\n\nAssistant: In Lima.",
    "windows": "System: Be brief.\r\n\r\nHuman: Where?\r\n\r\nAssistant: In Lima.\r\n",
    "lines": "System: Be brief.\nUser: Where?\nAI: In Lima.",
    "bold": "**System:** Be brief.\n**User:** Where?\n**Assistant:** In Lima.",
    "gemma 4": "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nWhere?<turn|>\n"
    "<|turn>model\nIn Lima.<turn|>\n",
    "apertus": "<|system_start|>Be brief.<|system_end|><|user_start|>Where?<|user_end|>"
    "<|assistant_start|>In Lima.<|assistant_end|>",
    "seed": "<seed:bos>system\nBe brief.<seed:eos><seed:bos>user\nWhere?<seed:eos>"
    "<seed:bos>assistant\nIn Lima.<seed:eos>",
    "minimax": "]~!b[]~b]system\nBe brief.[e~[\n]~b]user\nWhere?[e~[\n]~b]ai\nIn Lima.[e~[\n",
    "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Where?[|endofturn|]\n"
    "[|assistant|]In Lima.[|endofturn|]\n",
    "nemotron": "<extra_id_0>System\nBe brief.\n\n<extra_id_1>User\nWhere?\n"
    "<extra_id_1>Assistant\nIn Lima.\n<extra_id_1>",
    "nemotron-h": "<SPECIAL_10>System\nBe brief.\n<SPECIAL_11>User\nWhere?\n"
    "<SPECIAL_11>Assistant\nIn Lima.\n<SPECIAL_12>",
    "baichuan": "Be brief.<reserved_106>Where?<reserved_107>In Lima.",
    "minicpm": "Be brief.<用户>Where?<AI>In Lima.",
    "hunyuan": "Be brief.<｜hy_User｜>Where?<｜hy_Assistant｜>In Lima.",
    "falcon": "System: Be brief.\nUser: Where?\nFalcon: In Lima.",
    "tags": "<system>: Be brief.\n<human>: Where?\n<bot>: In Lima.",
}


@pytest.mark.parametrize("text", TEMPLATED.values(), ids=TEMPLATED)
def test_every_template_is_cut_into_the_same_turns(text):
    """Every template gives the same turns, without marks and outer white space."""
    assert list_turns(text) == ASKED


@pytest.mark.parametrize(
    "text",
    [
        "Q: Where?\nA: In Lima.",
        "**Q:** Where?\n\n**A:** In Lima.",
        "Question: Where?\nAnswer: In Lima.",
        "Instruction: Where?\n\nResponse: In Lima.",
        "[Round 1]\n\n问：Where?\n\n答：In Lima.",
    ],
)
def test_labels_begin_a_transcript_of_two(text):
    """A label begins a transcript only at a text's start with an answer after it."""
    assert list_turns(text) == ASKED[1:]
    assert cut_transcript(f"Here is what people ask.\n\n{text}") is None
    assert cut_transcript("A: the first option\nB: the second") is None


def test_gemma_has_no_system_prompt():
    """Gemma's `model` is the assistant."""
    text = "<bos><start_of_turn>user\nWhere?<end_of_turn>\n<start_of_turn>model\nIn Lima."
    assert list_turns(text) == ASKED[1:]


@pytest.mark.parametrize(
    "text",
    [
        "Boil the pasta for nine minutes.",
        "I asked the user: why?\nThe assistant: because.",
        "## Question\n\nWhy is the sky blue?\n\n## Context\n\nIt isn't.",
        "Human: a word for people.",
        "User: admin\nSystem: linux",
        "A template begins a turn with <|im_start|>user and a line break.",
        "x" * (LONGEST_PREAMBLE + 1) + "\n\nHuman: a\n\nAssistant: b",
        "<|im_start|>" * 9,
        "",
    ],
)
def test_other_texts_are_no_transcripts(text):
    """A lone token, a late mark or similar words don't make a transcript."""
    assert cut_transcript(text) is None


def test_marks_of_other_templates_are_words():
    """Only the marks of the first mark's template count."""
    inner = "### Human: a\n\nAssistant: b <|user|>"
    text = f"<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n{inner}<|im_end|>"
    assert list_turns(text) == [("user", "U"), ("assistant", inner)]


def test_names_inside_a_turn_need_a_blank_line_if_turns_have_one():
    """If blank lines separate turns, a name after a line break is text."""
    text = "\n\nHuman: Write a dialogue.\n\nAssistant: Gladly.\nHuman: Hi.\nAI: Ho."
    assert list_turns(text) == [
        ("user", "Write a dialogue."),
        ("assistant", "Gladly.\nHuman: Hi.\nAI: Ho."),
    ]


def test_headings_of_an_answer_are_no_marks():
    """`### Input:` continues an instruction, but is a heading in a response."""
    text = "### Instruction:\nSum.\n### Input:\n1 2\n### Response:\nDone.\n### Input:\n3"
    assert list_turns(text) == [
        ("user", "Sum."),
        ("user", "1 2"),
        ("assistant", "Done.\n### Input:\n3"),
    ]


def test_an_open_answer_is_no_turn():
    """A prompt that ends with the assistant's mark has no turn after it."""
    assert list_turns("\n\nHuman: Where?\n\nAssistant:") == [("user", "Where?")]
    assert list_turns("<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant") == [
        ("user", "Where?")
    ]
    assert list_turns("\n\nHuman:\n\nAssistant:") == []


def test_harmony_names_the_channel():
    """`analysis` is thinking, and a function's message has the role `tool`."""
    text = (
        "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"
        "<|start|>functions.find to=assistant<|channel|>commentary<|message|>7<|end|>"
        "<|start|>assistant<|channel|>final<|message|>Seven.<|return|>"
    )
    turns = cut_transcript(text)
    assert [(turn.role, turn.part.channel) for turn in turns] == [
        ("assistant", "thinking"),
        ("tool", "answer"),
        ("assistant", "answer"),
    ]


def test_roles_that_no_template_knows_are_kept():
    """An unknown role in ChatML is kept."""
    text = "<|im_start|>narrator\nOnce.<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>"
    assert list_turns(text) == [("narrator", "Once."), ("assistant", "Yes.")]


PIECES = st.sampled_from(
    [
        "\n\nHuman: ",
        "\n\nAssistant: ",
        "<|im_start|>user\n",
        "<|im_start|>assistant\n",
        "<|im_end|>",
        "[INST]",
        "[/INST]",
        "### Instruction:",
        "### Response:",
        "USER:",
        "</s>",
        "é",
        "😀",
        " ",
        "\n",
        "word",
    ]
)


@given(st.lists(PIECES, max_size=12))
def test_turns_are_apart_and_lose_no_word(pieces):
    """Turns are trimmed, ordered and disjoint, and lose no word."""
    text = "".join(pieces)
    turns = cut_transcript(text)
    end = 0
    for turn in turns or ():
        start = turn.part.start
        assert start >= end
        assert text[start : start + len(turn.part.text)] == turn.part.text == turn.part.text.strip()
        end = start + len(turn.part.text)
    if turns is not None:
        together = "".join(turn.part.text for turn in turns)
        assert all(together.count(word) == text.count(word) for word in ("word", "é", "😀"))


def test_long_runs_of_tokens_take_linear_time():
    """Long runs of tokens, marks or line breaks take linear time."""
    for piece in ("</s>", "<|im_start|>", "\n", " ", "\n ", "\nHuman", "### ", "<"):
        text = f"### Human: {piece * 50_000}x{piece * 50_000}### Assistant: y"
        assert [turn.role for turn in cut_transcript(text)] == ["user", "assistant"]


def test_segments_are_turns_in_their_own_roles():
    """A transcript's turns become segments with offsets into the field."""
    text = "\n\nHuman: Where?\n\nAssistant: <think>Hm.</think>In Lima.\n\nHuman: Thanks."
    segments = extract([{"text": text}, {"text": "In Rome."}], text=1)
    found = zip(
        segments.rows.tolist(), segments.roles, segments.channels, segments.texts, strict=True
    )
    assert list(found) == [
        (0, "user", "answer", "Where?"),
        (0, "assistant", "thinking", "Hm."),
        (0, "assistant", "answer", "In Lima."),
        (0, "user", "answer", "Thanks."),
        (1, "assistant", "answer", "In Rome."),
    ]
    assert set(segments.field_paths) == {"text"}
    for start, part in zip(segments.starts[:4], segments.texts, strict=False):
        assert text[start : start + len(part)] == part


def test_only_chosen_columns_are_cut():
    """Only chosen columns are cut."""
    row = {"chosen": "\n\nHuman: A\n\nAssistant: B", "rejected": "\n\nHuman: A\n\nAssistant: C"}
    assert extract([row], chosen=1).texts == ["A", "B", row["rejected"]]


def test_a_transcript_without_a_turn_has_no_segment():
    """A row of only marks has no segments."""
    assert len(extract([{"text": "\n\nHuman:\n\nAssistant:"}], text=1)) == 0


def test_prompts_have_the_turns_before_the_last_answer():
    """A transcript's prompt has one message per turn before the last answer."""
    text = "\n\nHuman: A\n\nAssistant: B\n\nHuman: C\n\nAssistant: D"
    asked = [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
    ]
    rows = [
        {"text": text},
        {"chosen": text, "rejected": text[:-1] + "E"},
        {"prompt": text[:-2], "completion": " D"},
    ]
    for row in rows:
        segments = extract([row], text=1, chosen=1, rejected=1, prompt=1)
        assert extract_prompt(segments, range(len(segments))) == asked


def test_columns_are_measured_by_their_texts():
    """A column's share of transcripts counts nonblank texts in all tables."""
    texts = ["\n\nHuman: A\n\nAssistant: B", "plain", "", None]
    tables = [pa.table({"text": texts}), pa.table({"text": ["### Human: A ### Assistant: B"]})]
    layout = Layout("text", {"text": "text"}, {})
    assert measure_transcripts(tables, layout) == {"text": 2 / 3}
    assert measure_transcripts([], layout) == {}
    turns = pa.table({"messages": [[{"role": "user", "content": "x"}]]})
    assert measure_transcripts([turns], Layout("messages", {"messages": "messages"}, {})) == {}


def test_invalid_text_isnt_measured():
    """Invalid UTF-8 isn't a transcript."""
    broken = pa.array([b"\xff"]).view(pa.string())
    layout = Layout("text", {"text": "text"}, {})
    assert measure_transcripts([pa.table({"text": broken})], layout) == {"text": 0.0}


def test_a_clear_majority_decides():
    """By default, mostly transcript columns are cut, and a setting cuts all or none."""
    shares = {"chosen": 0.9, "rejected": 0.5, "prompt": 0.0}
    assert choose_columns(shares, "detect") == ("chosen",)
    assert choose_columns(shares, "cut") == ("chosen", "rejected", "prompt")
    assert choose_columns(shares, "whole") == ()
