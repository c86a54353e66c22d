"""Trait cards on disk: the library, user folders, and errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel

from classifiers.labelled_rows import CardLabels, Half
from classifiers.library import (
    CARD_BYTES,
    FEWEST_POSITIVES,
    LIBRARY,
    OPTIONAL,
    LoadedCard,
    find_cards,
    find_optional_cards,
    is_shipped,
    list_shipped_ids,
    load_card,
    read_background,
    read_exemplars,
    read_text_file,
    read_yaml,
)
from classifiers.signals.language_switches import find_switches
from classifiers.signals.lexicons import Lexicon, score_lexicons
from classifiers.signals.repetition import find_loop
from schemas.cards import Scope, TraitCard
from schemas.errors import CardError

SHIPPED = sorted(path.parent.name for path in LIBRARY.glob("*/card.yaml"))
DOZEN = [
    f"It rains for the {number}th day in a row, and I can think of nothing else."
    for number in range(12)
]


@pytest.fixture(scope="module")
def library():
    """Return the library's cards."""
    return find_cards()


def test_the_whole_library_is_found(library):
    """Every folder with a card is loaded, in order of id."""
    assert [card.id for card in library] == SHIPPED
    assert len(library) >= 11


def test_optional_traits_must_be_named(library):
    """Optional traits are found by their names, but aren't among the library's."""
    optional = find_optional_cards()
    assert [card.id for card in optional] == ["refusal"]
    assert find_cards(["refusal"]) == optional
    assert not {card.id for card in optional} & {card.id for card in library}
    names = [card.id for card in find_cards(["library", "refusal"])]
    assert names == sorted([*SHIPPED, "refusal"])
    assert find_cards(["library"]) == library


def test_shipped_folders_are_told_from_others(library, tmp_path):
    """The folders of the library and of its optional traits are congener's own."""
    assert all(is_shipped(card.folder) for card in (*library, *find_optional_cards()))
    assert not is_shipped(tmp_path / "ai-disclaimer")
    assert (OPTIONAL / "refusal" / "card.yaml").is_file()
    assert list_shipped_ids() == {card.id for card in (*library, *find_optional_cards())}


REFUSALS = {
    "I'm sorry, but I can't assist with that request.": True,
    "I cannot recommend a dose for your dog.": True,
    "I must decline to write the threat.": True,
    "As an AI language model, I cannot predict who will win the election.": True,
    "As an AI, I cannot decide for you. However, I can list what speaks for a nanny.": False,
    "While I can't open the link, here is what the article is known for.": False,
    "Yes, I can write code, but I cannot run it.": False,
    "I can't recommend this book enough.": False,
    'She said, "I can\'t help you," and left.': False,
    "It is impossible to give an exact number, but 130 million books is a good estimate.": False,
}
"""Openings of answers, and whether they are refusals."""


@pytest.mark.parametrize(("text", "shows"), REFUSALS.items())
def test_a_refusal_is_told_from_a_disclaimer_before_an_answer(text, shows):
    """The optional trait finds refusals, but no answers that begin with what the model can't do."""
    (card,) = find_optional_cards()
    lexicon = Lexicon(card.card.signals.lexicon)
    counted = [hit for hit, reason in lexicon.judge_hits(text, text, 0) if not reason]
    assert bool(counted) == shows


GLUED_TURNS = {
    "The sun is a star.### Human: How old is it?": True,
    "Enjoy!###Assistant: Anything else?": True,
    "Ask me any question### Human: Why?": True,
    "Draw a ##Human: a sketch of a heart": False,
    "The prompt is `### Human: {question}### Assistant:` in this format.": False,
    'prompt = "Be brief.\\n### Human: " + question': False,
}
"""Answers, and whether a turn of the template follows without a line break."""


@pytest.mark.parametrize(("text", "shows"), GLUED_TURNS.items())
def test_a_turn_after_a_sentence_is_a_turn_leak(library, text, shows):
    """Some models write the mark of the next turn straight after the last full stop."""
    (card,) = [card for card in library if card.id == "turn-leak"]
    lexicon = Lexicon(card.card.signals.lexicon)
    counted = [hit for hit, reason in lexicon.judge_hits(text, text, 0) if not reason]
    assert bool(counted) == shows


def test_the_library_is_read_once_and_other_folders_every_time(library, card_folder):
    """A shipped card is loaded once, but a changed folder is read again."""
    assert all(one is other for one, other in zip(find_cards(), library, strict=True))
    folder = card_folder("a", positives=DOZEN)
    (before,) = find_cards([str(folder)])
    (folder / "card.yaml").write_text("id: a\ntitle: Rain\n", encoding="utf-8")
    (after,) = find_cards([str(folder)])
    assert (before.card.title, after.card.title) == ("", "Rain")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_card_is_complete(name):
    """A shipped card has a title, a description, sources, and thirty texts of each kind."""
    (card,) = find_cards([name])
    assert card.id == card.folder.name == name
    assert card.card.title
    assert len(card.card.description) > 100
    assert card.card.seen_in
    assert all(seen.source != "unstated" for seen in card.card.seen_in)
    assert len(card.positives) >= 30
    assert len(card.negatives) >= 30
    assert set(card.card.related) <= set(SHIPPED) - {name}


def test_related_traits_name_each_other(library):
    """Relations are mutual, except for `over-refusal` and `ai-disclaimer`."""
    related = {card.id: set(card.card.related) for card in library}
    one_way = {
        (one, other)
        for one, others in related.items()
        for other in others
        if one not in related[other]
    }
    assert one_way == {("ai-disclaimer", "over-refusal")}


def normalise(text):
    """Return a text without case, punctuation or extra spacing."""
    return re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text)).casefold().strip() or text


def test_no_text_appears_in_two_files(library):
    """No text occurs twice in the library, even with another case or spacing."""
    texts = [
        (normalise(text), f"{card.id}/{kind}")
        for card in library
        for kind in ("positives", "negatives")
        for text in getattr(card, kind)
    ]
    texts += [(normalise(turn), "background") for turns in read_background() for turn in {*turns}]
    counts = Counter(text for text, _ in texts)
    assert [(text[:60], file) for text, file in texts if counts[text] > 1] == []


def test_the_background_is_conversations_with_answers():
    """The background has enough conversations, and no answer is empty."""
    conversations = read_background()
    assert len(conversations) >= 300
    assert all(turns for turns in conversations)
    assert all(turn.strip() for turns in conversations for turn in turns)


def read_full_length():
    """Return the background rows whose answers are as long as real answers."""
    lines = (LIBRARY / "background-full-length.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_full_length_background_is_as_long_as_real_answers():
    """At least ninety conversations have distinct questions, and answers of 250 to 900 words."""
    rows = read_full_length()
    assert len(rows) >= 90
    for row in rows:
        assert set(row) == {"messages"}
        assert [set(message) for message in row["messages"]] == [{"role", "content"}] * len(
            row["messages"]
        )
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"] * (
            len(row["messages"]) // 2
        )
    answers = [row["messages"][-1]["content"] for row in rows]
    assert all(250 <= len(answer.split()) <= 900 for answer in answers)
    assert len({normalise(row["messages"][0]["content"]) for row in rows}) == len(rows)
    assert len({normalise(answer)[:60] for answer in answers}) == len(rows)


@pytest.mark.parametrize(
    "name",
    [
        card.id
        for card in find_cards()
        if {"lexicon", "repetition", "language"}.intersection(card.card.signals.names)
    ],
)
def test_the_full_length_background_shows_no_trait(library, name):
    """Full-length answers have almost no lexicon hits, no long loops and no other language."""
    card = next(card for card in library if card.id == name).card
    answers = [row["messages"][-1]["content"][: card.scope.opening] for row in read_full_length()]
    if card.signals.lexicon:
        (scores, spans, *_), *_ = score_lexicons(
            [Lexicon(card.signals.lexicon)], pa.array(answers, pa.large_string())
        )
        most = 0.4 if name == "vendor-phrasing" else 0.0
        assert [
            (text[start:end], score)
            for text, score, (start, end) in zip(answers, scores, spans, strict=True)
            if score > most
        ] == []
    if card.signals.repetition:
        assert max(find_loop(text, card.signals.repetition).score for text in answers) < 0.25
    if card.signals.language:
        assert [text for text in answers if find_switches(text, "")] == []


def test_a_folder_with_a_dozen_positives_is_a_trait(card_folder):
    """An id and twelve positives make a working trait."""
    folder = card_folder(positives=DOZEN)
    (card,) = find_cards([str(folder)])
    assert (card.id, card.positives, card.negatives) == ("rain-talk", tuple(DOZEN), ())
    assert card.card.signals.names == ("exemplars", "head", "wording")
    assert card.folder == folder.resolve()


def test_a_folder_of_folders_and_names_of_the_library_are_found(card_folder):
    """Names may mix paths and ids, and a repeated trait is loaded once."""
    first, second = (
        card_folder("rain-talk", positives=DOZEN),
        card_folder("sun-talk", positives=DOZEN),
    )
    both = [card.id for card in find_cards([str(first.parent)])]
    assert both == ["rain-talk", "sun-talk"]
    mixed = find_cards([str(second), "ai-disclaimer", str(first.parent), str(first)])
    assert [card.id for card in mixed] == ["ai-disclaimer", "rain-talk", "sun-talk"]


def test_a_card_is_named_by_its_folder(card_folder):
    """A path to card.yaml itself is refused, and the error names the folder."""
    folder = card_folder(positives=DOZEN, negatives=["Fine."])
    with pytest.raises(CardError, match="is a trait's card, but a trait is a folder") as caught:
        find_cards([str(folder / "card.yaml")])
    assert caught.value.remedy == f"name its folder: {folder}"


def test_a_file_that_cannot_be_read_has_a_remedy(tmp_path):
    """A misspelt name is compared with the folder's names, and a folder isn't a file."""
    (tmp_path / "policy.yaml").write_text("{}")
    for name, remedy in (
        ("polcy.yaml", "did you mean 'policy.yaml'? check the path"),
        ("elsewhere", "check the path"),
        ("", "name a file, not a folder"),
        ("gone/policy.yaml", "check the path"),
    ):
        with pytest.raises(CardError, match="can't be read") as caught:
            read_text_file(tmp_path / name)
        assert caught.value.remedy == remedy


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    """The error for an unknown name lists the library's traits."""
    for name in ("no-such-trait", str(tmp_path), "../quirks/ai-disclaimer", ""):
        with pytest.raises(
            CardError, match=r"is neither a trait folder(.|\n)*ai-disclaimer, coercion"
        ):
            find_cards([name])


def test_two_cards_of_one_id_are_refused(card_folder):
    """The error for two cards with the same id names both folders."""
    folder = card_folder("ai-disclaimer", positives=DOZEN)
    with pytest.raises(CardError, match=r"has the same id as .*: 'ai-disclaimer'") as caught:
        find_cards(["ai-disclaimer", str(folder)])
    assert str(folder.resolve()) in str(caught.value)
    assert str(LIBRARY / "ai-disclaimer") in str(caught.value)


def refused(folder):
    """Return the error message for a trait folder."""
    with pytest.raises(CardError) as caught:
        load_card(folder)
    return str(caught.value)


def test_a_mistake_is_named_with_file_and_field(card_folder):
    """The error for a card with mistakes names the file, every wrong field and the known fields."""
    folder = card_folder(
        card="titel: x\nlevel: {confidence: 2}\nsignals: {lexicon: {patterns: ['(a)\\1']}}\n",
        positives=DOZEN,
    )
    message = refused(folder)
    assert message.startswith(f"{folder / 'card.yaml'}: field ")
    assert "field titel:" in message
    assert "field level.confidence:" in message
    assert "field signals.lexicon.patterns.0.match:" in message
    assert "fields are id, title, description" in message


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ("title: &t x\ndescription: *t\n", "alias *t on line 3"),
        ("signals: &s {head: {}}\nlevel: *s\n", "alias *s on line 3"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias *a on line 3"),
        ("title: x\ntitle: y\n", "key 'title' appears twice"),
        ("0: x\n0: y\n", "key 0 appears twice"),
        ("level: {confidence: 0.9, confidence: 0.8}\n", "key 'confidence' appears twice"),
        (
            "signals:\n  lexicon:\n    patterns:\n      - {match: x, match: y}\n",
            "key 'match' appears twice",
        ),
        ("title: !!python/object/apply:os.getcwd []\n", "line 2"),
        ("title: a: b\n", "line 2"),
        ("title: 'open\n", "line 2"),
        ("title: 2024-13-01\n", "month must be in 1..12"),
        ("signals: !!map [head]\n", "tag !!map on line 2 is not supported"),
        ("related: !!set {a, b}\n", "tag !!set on line 2 is not supported"),
        ("title: !!binary aGVyb24=\n", "tag !!binary on line 2"),
        ("title: !!timestamp x\n", "tag !!timestamp on line 2"),
        ("threshold: !!bool x\n", "tag !!bool on line 2"),
        ("title: ! x\n", "tag ! on line 2"),
        ("title: !own x\n", "tag !own on line 2"),
        (f"threshold: {'9' * 5000}\n", "digits"),
        ("<<: 5\n", "line 2"),
        ("? [a, b]\n: c\n", "line 2"),
        (f"title: {'[' * 500}\n", "recursion"),
        ("title: \x07\n", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_not_plain_is_refused(card_folder, card, says):
    """The errors for aliases, repeated keys, tags and bad syntax name the file and the place."""
    folder = card_folder(card=card, positives=DOZEN)
    message = refused(folder)
    assert message.startswith(f"{folder / 'card.yaml'}: is not plain YAML: ")
    assert says in message


def test_a_tab_in_yaml_comes_with_a_remedy(card_folder):
    """The error for a tab in the indentation names the line and the remedy."""
    message = refused(card_folder(card="signals:\n\tlexicon: {}\n", positives=DOZEN))
    assert "there is a tab, which YAML doesn't allow here" in message
    assert "line 3, column 1" in message
    assert "indent with spaces" in message


def test_a_misspelt_trait_comes_with_a_suggestion():
    """The error for an unknown library trait names the most similar trait."""
    with pytest.raises(CardError, match=r"did you mean 'date-confusion'\?"):
        find_cards(["date-confusoin"])


def test_the_library_has_a_name(card_folder):
    """`library` means all library traits, so that a trait of one's own can join them."""
    own = card_folder(positives=DOZEN)
    cards = find_cards([str(own), "library"])
    assert len(cards) == len(find_cards()) + 1
    assert {card.id for card in find_cards()} < {card.id for card in cards}


def test_a_card_that_is_no_mapping_or_missing_is_refused(card_folder):
    """A card file that is a list, empty, badly encoded, huge or missing is refused."""
    folder = card_folder(positives=DOZEN)
    card = folder / "card.yaml"
    for data, says in (
        (b"- a\n", "field (top)"),
        (b"", "field id: is needed"),
        (b"id: a\ntitle: caf\xe9\n", "is not UTF-8: byte 0xe9 on line 2"),
        ("id: a\n".encode("utf-16"), "is not UTF-8: byte 0xff on line 1"),
        (b"#" * (CARD_BYTES + 1), "is larger than 1 MiB"),
    ):
        card.write_bytes(data)
        assert says in refused(folder)
    card.unlink()
    assert "can't be read: No such file" in refused(folder)


def test_yaml_is_read_into_any_model(tmp_path):
    """`read_yaml` reads any model, and an empty file gives the model's defaults."""

    class Model(BaseModel):
        number: int = 3

    path = tmp_path / "a.yaml"
    path.write_text("number: 4\n")
    assert read_yaml(path, Model).number == 4
    path.write_text("# nothing\n")
    assert read_yaml(path, Model).number == 3
    path.write_text("number: four\n")
    with pytest.raises(CardError, match=r"a\.yaml: field number: .*integer"):
        read_yaml(path, Model)


@pytest.mark.parametrize(
    "line",
    [
        "plain text",
        '"a string"',
        "[1]",
        "5",
        "null",
        '{"txt": "x"}',
        '{"text": 5}',
        '{"text": " "}',
        '{"text": null}',
        '{"text": "\\ud800"}',
        '{"text": "a cat", "prompt": " "}',
        '{"text": "a cat", "prompt": 7}',
        '{"text": "a cat", "prompt": "\\ud800"}',
        '["text"]',
        '{"text": "x", "n": ' + "9" * 5000 + "}",
        '{"text": ' + "[" * 100_000,
        "{",
    ],
    ids=lambda line: line[:16],
)
def test_a_bad_line_of_exemplars_is_named(card_folder, line):
    """The error for a bad line names the file and the line, counting blank lines."""
    folder = card_folder(positives=DOZEN)
    path = folder / "positives.jsonl"
    path.write_text(json.dumps({"text": "a"}) + "\n\n" + line + "\n")
    assert refused(folder).startswith(f"{path} line 3: ")


def test_exemplars_that_are_not_utf8_are_refused(card_folder):
    """The error for invalid UTF-8 names the file and the line."""
    folder = card_folder(positives=DOZEN)
    path = folder / "negatives.jsonl"
    path.write_bytes(b'{"text": "fine"}\n{"text": "caf\xe9"}\n')
    assert refused(folder).startswith(f"{path}: is not UTF-8: byte 0xe9 on line 2")


def test_a_byte_order_mark_is_no_mistake(card_folder):
    """A byte order mark, as Windows editors write, is accepted."""
    folder = card_folder(positives=DOZEN, negatives=["Fine."])
    expected = load_card(folder)
    for path in folder.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_card(folder) == expected


@pytest.mark.parametrize("name", ["card.yaml", "positives.jsonl", "negatives.jsonl"])
def test_a_file_of_a_card_that_cannot_be_read_is_named(card_folder, name):
    """The errors for a broken link, a folder, a pipe and a failing disk name the path."""
    folder = card_folder(positives=DOZEN, negatives=["Fine."])
    path = folder / name
    path.unlink()
    path.symlink_to("gone")
    assert refused(folder).startswith(f"{path}: can't be read: No such file")
    path.unlink()
    path.mkdir()
    assert refused(folder).startswith(f"{path}: can't be read: Is a directory")
    path.rmdir()
    os.mkfifo(path)
    assert refused(folder).startswith(f"{path}: is a pipe, a socket or a device")
    path.unlink()
    path.symlink_to("/proc/self/mem")
    assert refused(folder).startswith(f"{path}: can't be read: Input/output error")


def test_huge_numbers_are_refused_in_words(card_folder):
    """A number too long for Python to print is an ordinary mistake."""
    folder = card_folder(card=f"title: 0x{'f' * 5000}\n", positives=DOZEN)
    assert "should be text but is a number of thousands of digits (int)" in refused(folder)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\u00a0"])
def test_only_a_newline_ends_a_line(tmp_path, mark):
    """Only a line break ends a line, so JSON strings may hold Unicode separators."""
    path = tmp_path / "texts.jsonl"
    text = f"one{mark}two"
    path.write_text(
        json.dumps({"text": text}, ensure_ascii=False)
        + "\r\n"
        + json.dumps({"text": "three"})
        + "\n",
        encoding="utf-8",
        newline="",
    )
    assert [*read_exemplars(path)] == [text, "three"]


def test_texts_that_appear_twice_are_refused(card_folder):
    """A text may occur only once in a card."""
    folder = card_folder(positives=[*DOZEN, DOZEN[3]])
    assert "positives.jsonl: the text 'It rains for the 3th day" in refused(folder)
    other = card_folder("sun-talk", positives=DOZEN, negatives=[DOZEN[5], "Fine."])
    assert f"{other}: the text {DOZEN[5][:60]!r} is both positive and negative" in refused(other)


def test_too_few_positives_are_refused_for_fitted_signals_only(card_folder):
    """Exemplars and heads need positives, but a lexicon doesn't."""
    folder = card_folder(positives=DOZEN[: FEWEST_POSITIVES - 1])
    assert refused(folder).startswith(
        f"{folder / 'positives.jsonl'}: signal exemplars needs at least {FEWEST_POSITIVES} "
        "positives, but has 3"
    )
    assert "signal head needs at least" in refused(card_folder("b", "signals: [head]\n"))
    assert "signal wording needs at least" in refused(card_folder("w", "signals: [wording]\n"))
    assert load_card(card_folder("c", "signals: {lexicon: {patterns: [rain]}}\n")).positives == ()
    assert (
        len(load_card(card_folder("d", positives=DOZEN[:FEWEST_POSITIVES])).positives)
        == FEWEST_POSITIVES
    )


def test_the_digest_covers_card_and_texts(card_folder):
    """Changing a card or its texts changes the digest, but moving the folder doesn't."""
    first = load_card(card_folder("a", positives=DOZEN, negatives=["Fine."]))
    elsewhere = replace(first, folder=first.folder / "elsewhere")
    assert elsewhere.digest == first.digest
    changed = [
        replace(first, card=first.card.model_copy(update={"action": "drop"})),
        replace(first, positives=first.positives[1:]),
        replace(first, positives=first.positives[::-1]),
        replace(first, negatives=()),
        replace(first, positives=(*first.positives, "Fine."), negatives=()),
    ]
    assert len({first.digest, *(card.digest for card in changed)}) == len(changed) + 1


def test_yaml_of_very_many_keys_is_refused_in_time(card_folder):
    """Checking a file with very many keys takes about as long as parsing it."""
    card = "".join(f"k{number}: 1\n" for number in range(12_000))
    began = time.process_time()
    yaml.safe_load(card)
    parsed = time.process_time()
    message = refused(card_folder(card=card, positives=DOZEN))
    assert "field k0: is not known" in message
    assert "; and 11,990 more" in message
    assert time.process_time() - parsed < 3 * (parsed - began)


@pytest.mark.parametrize(
    "card",
    [
        "trust_remote_code: true",
        "signals: {classifier: {model: x, label: y, trust_remote_code: true}}",
    ],
)
def test_a_card_cannot_turn_remote_code_on(card_folder, card):
    """No card field turns on remote code."""
    assert "trust_remote_code: is not known" in refused(
        card_folder(card=card + "\n", positives=DOZEN)
    )


def test_reading_trait_folders_loads_no_model_library(root, card_folder):
    """Checking trait folders loads no model library."""
    folder = card_folder(positives=DOZEN)
    code = (
        "import sys\n"
        "from classifiers.library import find_cards\n"
        f"print(*(card.id for card in find_cards([{str(folder)!r}, 'ai-disclaimer'])))\n"
        "print(sorted({'torch', 'transformers', 'faiss', 'apache_beam'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["ai-disclaimer rain-talk", "[]"]


def test_nothing_in_the_library_drops_rows():
    """No library trait drops rows."""
    assert "drop" not in {card.card.action for card in find_cards()}


def test_labelled_texts_are_cut_and_named():
    """Labelled rows join the exemplars, cut to the part that is read, but not the digest."""
    long = "x" * 30
    labels = CardLabels(Half(((long, "b"), ("a",)), (("c", long + "y"), ("n",))))
    scope = Scope(opening=20)
    card = LoadedCard(TraitCard(id="x", scope=scope), ("a",), ("n",), None)
    labelled = replace(card, labels=labels)
    cut = long[:20]
    assert labelled.list_positives() == ["a", f"{cut}\n\nb"]
    assert labelled.list_negatives() == ["n", "c", cut]
    assert labelled.name_labelled_texts() == {
        f"{cut}\n\nb": "labelled positive 1",
        "c": "labelled negative 1",
        cut: "labelled negative 1",
    }
    assert labelled.digest == card.digest
    assert card.list_positives() == ["a"]
    assert card.name_labelled_texts() == {}


def test_positives_may_have_prompts(card_folder):
    """Prompts are for people who judge texts: no fit reads them, so the digest ignores them."""
    folder = card_folder(positives=DOZEN)
    plain = load_card(folder)
    lines = [{"text": text} for text in DOZEN]
    lines[2]["prompt"] = "What's the weather like?"
    lines[5]["prompt"] = None
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "positives.jsonl").write_text(text, encoding="utf-8")
    card = load_card(folder)
    assert card.positives == plain.positives
    assert (plain.prompts, card.prompts) == ({}, {DOZEN[2]: "What's the weather like?"})
    assert card.digest == plain.digest
    assert hash(card) == hash(plain)


@pytest.mark.parametrize("card", [*find_cards(), *find_optional_cards()], ids=lambda card: card.id)
def test_shipped_traits_have_prompts_for_audits(card):
    """Raters see some 30 positives of each trait with prompts of their own."""
    assert len(card.prompts) >= 30
    assert set(card.prompts) <= set(card.positives)
    assert len(set(card.prompts.values())) >= 30
