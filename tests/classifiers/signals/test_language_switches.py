"""Switches of language: what is one, what isn't, and where they are."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.library import find_cards
from classifiers.signals.language_switches import find_switches, find_unusual, score_switches

PROMPT = "How do I look after the pump?"
SPANISH = "Después de eso, hay que dejar que el filtro se seque en un lugar con sombra"
GERMAN = "Der Schlüssel ist nicht an der Tür, sondern liegt auf dem Regal, und die Lampe ist aus"


def find(text, prompt=PROMPT):
    """Return the switches of a text."""
    return [text[item.start : item.end] for item in find_switches(text, prompt)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Turn the valve и wait.", ["и"]),
        ("Turn the valve 和wait.", ["和"]),
        ("Turn the valvе slowly.", ["е"]),
        ("Oil it 그리고 wait.", ["그리고"]),
        ("Oil it و wait.", ["و"]),
        ("Oil it και wait.", ["και"]),
        ("The oil (Oleum泵) is cheap.", ["泵"]),
        ("Oil it. Потом подождите, и всё.", ["Потом подождите, и всё"]),
    ],
)
def test_another_script_is_a_switch(text, found):
    """Words in another script are switches, also inside a word and for a whole sentence."""
    assert find(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Oil it，then wait。", ["，", "。"]),
        ("Set it to １５ bar.", ["１５"]),
        ("Oil، grease، and water", ["،", "،"]),
        ("Oil it ।", ["।"]),
    ],
)
def test_punctuation_and_digits_of_other_scripts_are_switches(text, found):
    """Full-width digits, and foreign punctuation after ASCII characters, are switches."""
    assert find(text) == found


@pytest.mark.parametrize("sentence", [SPANISH, GERMAN])
def test_a_sentence_of_another_language_is_a_switch(sentence):
    """A whole sentence in another language in Latin script is a switch."""
    text = f"Rinse the filter.\n  {sentence}. Then put it back."
    assert find(text) == [sentence]
    assert find(f"{sentence}.") == [sentence]


def test_a_small_word_of_another_language_is_a_switch():
    """A small word with an accent between English words is a switch."""
    assert find("It is cheap và easy to clean.") == ["và"]
    assert find("A book für children") == ["für"]
    assert find("The Verein für Kunst met.") == []
    assert find("The King của England") == ["của"]


@pytest.mark.parametrize(
    "text",
    [
        'Say "спасибо" to the owner.',
        "The pump (泵) is old, as is the «клапан».",
        "In Japanese, 泵 is rare.",
        "It is marked *泵* and `клапан`.",
        "The angle θ and the mean μ, with Δt = 3 ms and 10 kΩ: αβγ, ε, η, ι.",
        "I shrug ¯\\_(ツ)_/¯ and so does ಠ_ಠ.",
        "Café, naïve, São Paulo, smørrebrød and Łódź",
        "Rue de la Paix, Place de la Concorde and Leonardo da Vinci",
        "1. El laberinto de la soledad\n2. La Casa de los Espíritus",
        '"Hay que dejar que el filtro se seque en un lugar con sombra" is on the label.',
        "It is de facto la crème de la crème of pumps, and I like it.",
        "🎉 → ✓ €12 ½ ∀x∈ℝ /ʃɪp/",
        "",
    ],
)
def test_what_is_no_switch(text):
    """Quotations, brackets, names, formulas, faces, titles and symbols are no switches."""
    assert find(text) == []


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Спасибо.", "How do I say thanks to a Russian?"),
        ("Спасибо.", "Translate: thanks"),
        ("Ключ под ковриком。", "Где ключ? 钥匙在哪里?"),
        (f"{SPANISH}.", "¿Dónde está el filtro de la bomba?"),
        (f"{GERMAN}.", "Write a story for my German pen friend."),
        ("Спасибо и пожалуйста.", ""),
        (f"{SPANISH}.", ""),
        ("我不是ChatGPT，也不是Claude。", ""),
    ],
)
def test_a_language_that_is_called_for_is_no_switch(text, prompt):
    """A language that the prompt names or is written in is right, as is a plain text's own."""
    assert find(text, prompt) == []


def test_a_plain_text_is_compared_with_itself():
    """Without a prompt, a small part in another script is a switch."""
    assert find("Turn the valve и wait for the water to come.", "") == ["и"]


def test_garbled_text_counts():
    """Garbled stretches are among the switches, in order."""
    assert find("He sat inthe hall и left\ufffd.") == ["inthe", "и", "\ufffd"]


def test_scores_add_up():
    """A text's score is the sum of its switches' weights, at most 1, and spans are its switches."""
    texts = ["All is well.", "Oil it，then wait.", "Oil it и wait，then и go."]
    found = score_switches(pa.array(texts, pa.large_string()), lambda index: PROMPT)
    assert found.scores.tolist() == [0.0, 0.5, 1.0]
    assert found.spans.tolist() == [[0, 0], [6, 7], [7, 8]]
    assert found.hits == {1: [(6, 7)], 2: [(7, 8), (13, 14), (19, 20)]}


def test_prompts_are_read_by_index():
    """Each text is compared with its own prompt, which is read only if needed."""
    prompts = {1: "Say thanks to a Russian.", 2: PROMPT}
    texts = pa.array(["All is well.", "Спасибо", "Спасибо"], pa.large_string())
    assert score_switches(texts, prompts.__getitem__).scores.tolist() == pytest.approx([0, 0, 0.7])


PIECES = (
    *("the ", "of ", "inthe ", "de la ", "und die ", " và ", "и", "字。", "，", "π", "\ufffd", "é"),
    *("word ", ". ", "\n", '"', "(", "１", "a" * 31, SPANISH, "â€™", "ノ_", "\x07"),
)


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=6))
def test_the_screen_misses_no_text(texts):
    """Every text with a switch passes the screen, whatever the other texts are."""
    candidates = find_unusual(pa.array(texts, pa.large_string())).tolist()
    assert {index for index, text in enumerate(texts) if find(text)} <= set(candidates)
    assert candidates == sorted(candidates)


@given(st.text(max_size=80), st.sampled_from(["", PROMPT]))
def test_switches_are_spans_in_order(text, prompt):
    """Switches are nonempty spans of the text that don't overlap."""
    edges = [edge for item in find_switches(text, prompt) for edge in (item.start, item.end)]
    assert edges == sorted(edges)
    assert all(item.start < item.end for item in find_switches(text, prompt))
    assert not edges or (edges[0] >= 0 and edges[-1] <= len(text))


def test_exemplars_of_the_library():
    """The library's positives reach the card's threshold, and its hard negatives don't."""
    (card,) = find_cards(["language-switch"])
    for texts, shown in ((card.positives, True), (card.negatives, False)):
        found = score_switches(pa.array(texts, pa.large_string()), lambda index: "")
        assert [
            text
            for text, score in zip(texts, found.scores, strict=True)
            if (score >= card.card.threshold) != shown
        ] == []


@pytest.mark.parametrize("text", ["и " * 50_000, '"字' * 50_000, "de la " * 50_000, "(" * 100_000])
def test_long_texts_take_linear_time(text):
    """A text of a hundred thousand characters takes seconds at most."""
    assert find_switches(text, PROMPT) is not None
    assert np.isfinite(score_switches(pa.array([text], pa.large_string()), lambda i: "").scores[0])
