"""Languages: scripts and frequent words."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.languages import ENGLISH, LANGUAGES, LATIN
from transforms.records.languages import HEAD, classify_rows, classify_texts

FOREIGN = {
    "fr": "La médecine est une science qui étudie les maladies et les moyens de les soigner.",
    "de": "Der Himmel ist blau, weil das Licht der Sonne in der Luft gestreut wird und nicht rot.",
    "es": "El cielo es azul porque la luz del sol se dispersa en el aire, que es más denso.",
    "pt": "O céu é azul porque a luz do sol se dispersa no ar, que não é vazio como o espaço.",
    "it": "Il cielo è azzurro perché la luce del sole si diffonde nell'aria, che non è nera.",
    "nl": "De lucht is blauw omdat het licht van de zon in de lucht wordt verstrooid, niet rood.",
    "pl": "Niebo jest niebieskie, dlatego że światło się rozprasza, ale to nie jest jedyny powód.",
    "tr": "Gökyüzü mavi, çünkü ışık havada dağılır ve bu olay çok daha kısa dalgalar için.",
    "id": "Langit berwarna biru karena cahaya yang datang dari matahari tidak sama dengan itu.",
    "vi": "Bầu trời có màu xanh là do ánh sáng của mặt trời được không khí tán xạ và không đỏ.",
}

SCRIPTS = {
    "Chinese or Japanese script": "天空是蓝色的，因为阳光被散射。",
    "Korean script": "하늘은 파랗습니다. 햇빛이 흩어지기 때문입니다.",
    "Cyrillic script": "Небо голубое, потому что свет рассеивается.",
    "Arabic script": "السماء زرقاء لأن الضوء يتشتت.",
    "Hebrew script": "השמיים כחולים כי האור מתפזר.",
    "Greek script": "Ο ουρανός είναι μπλε.",
    "Indic script": "आसमान नीला है।",
    "Thai or Lao script": "ท้องฟ้าเป็นสีฟ้า",
    "another script": "Երկինքը կապույտ է։",
}

ENGLISH_TEXTS = (
    "The sky is blue because the light of the sun is scattered by the air.",
    "“Déjà vu” is a naïve façade — and the café’s crème brûlée isn’t for you, señor…",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))\n    main(args, de=None)\n" * 3,
    "1. apple: a, p, p, l, e\n2. caramel: c, a, r, a, m, e, l\n3. o, a, e, i, u, y, w, z",
    "Yes. 😀😀😀😀😀😀😀😀",
    "∑∫∂√∞≈≠≤≥" * 9,
    "",
)


def name_languages(*texts):
    """Return the texts' languages."""
    return [LANGUAGES[code] for code in classify_texts(pa.array(texts, pa.large_string()))]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_told_apart(name):
    """A text's script is the script of most of its letters."""
    assert name_languages(SCRIPTS[name], f"{SCRIPTS[name]} (GPT)") == [name, name]


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_other_languages_in_latin_script(text):
    """Frequent words at the beginning show a text's language."""
    assert name_languages(text, text + " " * HEAD + "the and of" * 99) == [LANGUAGES[LATIN]] * 2


def test_english_and_unknown_text():
    """English with foreign words, code, lists, symbols and empty text count as English."""
    assert name_languages(*ENGLISH_TEXTS) == [LANGUAGES[ENGLISH]] * len(ENGLISH_TEXTS)


def test_a_row_has_the_language_of_most_of_its_text():
    """A row has the language of most characters, or English without text."""
    chinese, english = SCRIPTS["Chinese or Japanese script"], ENGLISH_TEXTS[0]
    texts = pa.array([chinese, english, chinese * 9, "Yes."], pa.large_string())
    lengths = pc.utf8_length(texts).to_numpy()
    found = classify_rows(3, np.array([0, 0, 2, 2]), lengths, texts)
    assert [LANGUAGES[code] for code in found] == [
        LANGUAGES[ENGLISH],
        LANGUAGES[ENGLISH],
        "Chinese or Japanese script",
    ]


@given(
    st.lists(st.sampled_from([*FOREIGN.values(), *SCRIPTS.values(), *ENGLISH_TEXTS]), max_size=9)
)
def test_texts_dont_change_each_other(texts):
    """A text's language doesn't depend on other texts."""
    alone = [name_languages(text)[0] for text in texts]
    assert name_languages(*texts) == alone
    padded = pa.array(["the and you " * 9, *texts], pa.large_string()).slice(1)
    assert [LANGUAGES[code] for code in classify_texts(padded)] == alone
