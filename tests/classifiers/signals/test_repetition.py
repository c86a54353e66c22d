"""Degenerate loops of any unit, and repetition that isn't a loop."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.library import LIBRARY, read_exemplars
from classifiers.signals.repetition import FEWEST_COPIES, FEWEST_WORDS, LONGEST_PERIOD, find_loop
from schemas.cards import RepetitionOptions

OPTIONS = RepetitionOptions()
START = (
    "Certainly. The tank holds forty litres, which is enough for two weeks of watering if the "
    "summer is mild. "
)
PARAGRAPH = (
    "First open the valve by a quarter turn and wait until the gauge settles. Then note the "
    "reading, close the valve again, and write both the time and the pressure into the log that "
    "hangs beside the door. "
)
UNITS = {
    "word": "again ",
    "phrase": "over and over ",
    "sentence": "I have to check the valve once more. ",
    "line": "- check the valve\n",
    "numbered": "1. check the valve\n",
    "paragraph": PARAGRAPH,
    "cased": "No. NO. no. ",
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("start", ["", START], ids=["from the first word", "after a sane start"])
def test_a_loop_of_any_unit_is_found(unit, start):
    """A long loop of words, sentences, lines or paragraphs scores 1 with the right span."""
    text = start + unit * (600 // len(unit) + FEWEST_COPIES + 1)
    loop = find_loop(text, OPTIONS)
    assert loop.score == (1.0 if not start else pytest.approx(1.0, abs=0.35))
    assert abs(loop.start - len(start)) <= 3
    assert text[loop.start : loop.end].count(unit.strip()) >= FEWEST_COPIES
    assert len(text) - loop.end <= 3


@pytest.mark.parametrize("unit", ["a", "ab", "ha", "abcdefg", "雨"])
@pytest.mark.parametrize("start", ["", START])
def test_a_loop_of_characters_is_found(unit, start):
    """A loop of letters inside one very long word is found."""
    text = start + unit * (200 // len(unit))
    loop = find_loop(text, OPTIONS)
    assert loop.score > 0.8
    assert text[loop.start : loop.end].startswith(unit)
    assert loop.end - loop.start >= 200 - len(unit)
    assert loop.start >= len(start) - 1


def test_numbers_do_not_hide_a_loop():
    """Numbered copies form a loop."""
    text = " ".join(f"{number}. Check the valve!" for number in range(40))
    assert find_loop(text, OPTIONS).score == 1.0


def test_the_longer_the_loop_the_higher_the_score():
    """The score is the loop's share of `span` words, or of all words in a shorter text."""
    sane = " ".join(f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(100))
    scores = [
        find_loop(f"{sane} " + "stop it " * copies, OPTIONS).score
        for copies in (6, 12, 30, 60, 200)
    ]
    assert scores == pytest.approx([12 / 112, 24 / 120, 60 / 120, 1.0, 1.0])
    assert find_loop(f"{sane} " + "stop it " * 12, RepetitionOptions(span=24)).score == 1.0


CHORUS = (
    "Oh the river runs to the sea, and the sea it waits for me, all day long and all night too. "
)
SANE = {
    "nothing": "",
    "a short answer": "Yes.",
    "emphasis": "No, no, no, no! That is the wrong valve.",
    "laughter": "Ha ha ha ha ha! That was good.",
    "a chorus twice in a row": CHORUS * 2,
    "a chorus twice in a row within a song": f"{START}{CHORUS * 2}{PARAGRAPH}",
    "a numbered list": "\n".join(
        f"{number}. {verb} the {thing}."
        for number, (verb, thing) in enumerate(
            zip(
                ("Open", "Check", "Note", "Close", "Empty", "Clean", "Dry", "Fill"),
                ("valve", "gauge", "time", "door", "tank", "filter", "cloth", "bottle"),
                strict=True,
            ),
            1,
        )
    ),
    "a table": (
        "| name | size |\n|---|---|\n| valve | 3 |\n| gauge | 5 |\n| filter | 4 |\n"
        "| cloth | 9 |\n| bottle | 2 |\n"
    ),
    "a ruled line": "Title\n"
    + "-" * 200
    + "\n"
    + "=" * 200
    + "\nThe text follows below it, as it should, in words of its own.",
    "digits": "Pi is 3." + "3" * 300 + " or so, to more places than anybody needs in a garden.",
    "anaphora": (
        "We shall dig in the beds, we shall dig on the slopes, we shall dig along the wall, "
        "and we shall never tire of it."
    ),
    "a date list": (
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, "
        "and then the week starts over."
    ),
}


@pytest.mark.parametrize("text", SANE.values(), ids=SANE)
def test_meaningful_repetition_is_no_loop(text):
    """Choruses, lists, tables, emphasis, ruled lines and runs of digits all score zero."""
    assert find_loop(text, OPTIONS) == (0.0, 0, 0)


@given(
    st.lists(
        st.sampled_from([f"w{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]),
        min_size=1,
        max_size=LONGEST_PERIOD,
        unique=True,
    ),
    st.integers(FEWEST_COPIES, 8),
)
def test_every_unit_up_to_the_longest_is_found(unit, copies):
    """A long text that repeats distinct words is a single loop from start to end."""
    text = " ".join(unit * copies)
    loop = find_loop(text, OPTIONS)
    if len(unit) * copies < FEWEST_WORDS:
        assert loop == (0.0, 0, 0)
    else:
        assert (loop.score, loop.start, loop.end) == (1.0, 0, len(text))


@given(st.lists(st.integers(0, 10_000), min_size=0, max_size=60, unique=True))
def test_different_words_are_no_loop(numbers):
    """A text without repeated words has no loop."""
    text = " ".join("".join(chr(97 + int(digit)) for digit in str(number)) for number in numbers)
    assert find_loop(text, OPTIONS).score == 0.0


@given(st.text(max_size=300))
def test_any_text_has_a_score_and_a_span_inside_it(text):
    """Scores are in [0, 1], and spans are inside the text and empty at score zero."""
    loop = find_loop(text, OPTIONS)
    assert 0 <= loop.score <= 1
    assert 0 <= loop.start <= loop.end <= len(text)
    assert (loop.score > 0) == (loop.end > loop.start)


def test_chance_repetitions_do_not_hide_a_loop():
    """A loop after fifty thousand random words is found."""
    generator = np.random.default_rng(0)
    words = [
        f"w{chr(97 + number // 26)}{chr(97 + number % 26)}"
        for number in generator.integers(0, 600, 50_000)
    ]
    start = " ".join(words)
    loop = find_loop(start + " stop" * 500, OPTIONS)
    assert (loop.score, loop.start, loop.end) == (1.0, len(start) + 1, len(start) + 2500)


def test_the_librarys_loops_are_separated_from_its_hard_negatives():
    """More than 85 % of the library's loops score at least 0.5, and all negatives score less."""
    folder = LIBRARY / "degenerate-loop"
    positives, negatives = (
        [find_loop(text, OPTIONS).score for text in read_exemplars(folder / f"{kind}.jsonl")]
        for kind in ("positives", "negatives")
    )
    assert np.mean(np.array(positives) >= 0.5) > 0.85
    assert max(negatives) < 0.5


STRUCTURED = {
    "inserts": lambda n: f"INSERT INTO tide VALUES ({n}, 'north', {n * 7 % 11});",
    "timetable": lambda n: f"{n % 24:02d}:{n * 13 % 60:02d} ferry to the island, pier {n % 3}",
    "records": lambda n: f'{{"id": {n}, "name": "buoy", "depth": {n}.5}},',
    "markup": lambda n: f'  <li><a href="/buoy/{n}">Buoy {n}</a></li>',
    "asserts": lambda n: f"assert square({n}) == {n * n}",
    "table": lambda n: f"| {n} | calm |",
    "logs": lambda n: f"2026-03-{n % 28 + 1:02d} 06:{n % 60:02d} INFO tide read",
    "arithmetic": lambda n: f"Step {n}: add {n} to {n * n} and get {n * n + n}.",
    "calls": lambda n: f"if err := step{n}(ctx); err != nil return nil, err",
    "names": lambda n: f"buoy_{n}_depth is read from the gauge",
    "assembly": lambda n: f"mov eax, [rbx+{n * 4}]",
    "plan": lambda n: f"Week {n}: Monday run {n} km, Wednesday run {n + 2} km, Sunday {n * 3} km",
    "records of Python": lambda n: f"{{'buoy': {n}, 'state': 'calm', 'side': 'north'}},",
}


@pytest.mark.parametrize("line", STRUCTURED.values(), ids=STRUCTURED)
def test_structured_lines_that_differ_in_their_numbers_are_no_loop(line):
    """Structured lines with different numbers aren't a loop."""
    text = START + "\n" + "\n".join(line(number) for number in range(1, 60))
    assert find_loop(text, OPTIONS).score < 0.5


@pytest.mark.parametrize("line", STRUCTURED.values(), ids=STRUCTURED)
def test_the_same_structured_line_over_and_over_is_a_loop(line):
    """A structured line that repeats with the same numbers is a loop."""
    text = "\n".join([line(7)] * 60)
    assert find_loop(text, OPTIONS).score > 0.9


def test_a_list_that_repeats_its_item_is_a_loop_whatever_its_numbers():
    """A list item's number is skipped, even if the number is half of the line."""
    text = "\n".join(f"{number}. Guillemot" for number in range(1, 60))
    assert find_loop(text, OPTIONS).score == 1.0


def test_records_on_one_line_are_no_loop():
    """Records on one line with different numbers aren't a loop."""
    rows = [
        {"id": number, "state": "calm", "side": "north", "kind": "buoy"} for number in range(40)
    ]
    assert find_loop(json.dumps(rows), OPTIONS).score == 0.0
    assert find_loop(json.dumps([rows[0]] * 40), OPTIONS).score == 1.0


def test_the_rows_of_a_grid_are_words():
    """A line of single letters counts as one word."""
    board = "\n".join(
        " | ".join("XO"[(row + column) % 2] for column in range(5)) for row in range(5)
    )
    assert find_loop(board, OPTIONS).score == 0.0
    loop = find_loop(f"{board}\n" * 12, OPTIONS)
    assert (loop.score, loop.start, loop.end) == (1.0, 0, len(board + "\n") * 12 - 1)
    assert find_loop("a " * 200, OPTIONS).score == 1.0


def test_numbers_alone_are_never_a_loop():
    """Numbers aren't words, so repeated numbers aren't a loop."""
    assert find_loop("0, 0, 0, 0\n" * 80, OPTIONS).score == 0.0
    assert find_loop("1 2 3 4 5 6 7 8 " * 60, OPTIONS).score == 0.0


def test_letters_that_grow_in_lower_case_keep_the_span_in_the_text():
    """A letter whose lower case has two characters doesn't move the span beyond the text."""
    loop = find_loop("İ" * 50, OPTIONS)
    assert (loop.start, loop.end) == (0, 50)


VERBS = ("Open", "Close", "Oil", "Clean", "Paint", "Weigh", "Lift", "Dry")
THINGS = ("valve", "gauge", "rudder", "lantern", "anchor", "ladder", "compass", "barrel")
BREEDS = ("gannet", "puffin", "fulmar", "petrel", "skua", "tern", "shag", "auk")
TEMPLATE = "Birds such as the {} come back to the same ledge of the cliff every spring to breed.\n"
SCATTERED = {
    "lines that cycle": "".join(
        f"- {THINGS[index]} by the crew of the northern lighthouse\n"
        for index in (0, 1, 0, 2, 1, 0, 1, 2, 0, 1, 0, 2, 1, 2, 0)
    ),
    "nearly equal lines": "".join(map(TEMPLATE.format, BREEDS)),
    "nearly equal sentences": "".join(map(TEMPLATE.format, BREEDS)).replace("\n", " "),
    "a long list whose items return": "".join(
        f"{number}. {VERBS[number % 7]} the {THINGS[number % 5]}\n" for number in range(140)
    ),
    "long words on lines of their own": "".join(
        f"{number}. unfathomableness{'es' * (number // 3 % 2)}ification\n" for number in range(30)
    ),
}


@pytest.mark.parametrize("looping", SCATTERED.values(), ids=SCATTERED)
def test_copies_that_differ_or_are_apart_are_a_loop(looping):
    """Copies with a changed word or with other copies between them are a loop, to their end."""
    loop = find_loop(START + "\n" + looping, OPTIONS)
    assert loop.score >= 0.5
    assert loop.start >= len(START)
    assert len(START) + 1 + len(looping.rstrip(".\n ")) - loop.end <= 2


def test_only_third_and_later_copies_count():
    """A scattered loop's score is the letters of its third and later copies."""
    lines = [" ".join(words) for words in (VERBS, THINGS, BREEDS)]
    order = [0, 1, 2, 0, 2, 1, 0, 1, 2]
    loop = find_loop("\n".join(lines[index] for index in order), OPTIONS)
    letters = [sum(map(str.isalpha, lines[index])) for index in order]
    assert loop.score == pytest.approx(sum(letters[6:]) / sum(letters))
    assert find_loop("\n".join(lines[index] for index in order[:6]), OPTIONS).score == 0.0


def test_copies_with_other_text_between_them_are_no_loop():
    """Copies are a loop while they have four fifths of the letters between first and last."""
    line = "the lamp is lit at dusk by the keeper of the tower\n"
    fillers = [
        f"then {verb} {thing} {breed}\n"
        for verb, thing, breed in zip(VERBS, THINGS, BREEDS, strict=True)
    ]
    assert find_loop("".join(line * 2 + filler for filler in fillers[:7]), OPTIONS).score > 0.5
    assert find_loop("".join(line + filler for filler in fillers[:7]), OPTIONS).score == 0.0


VERSES = [
    f"The {thing} hung on the wall of the {breed} house,\nand nobody cared for the {other}.\n"
    for thing, breed, other in zip(THINGS, BREEDS, THINGS[::-1], strict=True)
]
LIKE = {
    "a chorus between verses": "".join(
        f"{CHORUS}Verse {name}: {name} went down to the {name} shore. "
        for name in ("Anna", "Ben", "Carl", "Dora")
    ),
    "a song with five choruses": "".join(
        f"Verse\n{verse}{other}\nChorus\n{CHORUS}\n"
        for verse, other in zip(VERSES[:5], VERSES[3:], strict=True)
    ),
    "like items": "".join(
        f"- Who is the most likely to {verb.lower()} a {thing} before the {breed} is home?\n"
        for verb, thing, breed in zip(VERBS, THINGS, BREEDS, strict=True)
    ),
    "a table": "| name | side | state |\n|---|---|---|\n"
    + "".join(
        f"| {breed} | on the north side of the old stone tower | calm and dry |\n"
        for breed in BREEDS
    ),
    "code": "```\n"
    + "".join(
        f"def draw_{breed}(self):\n    return self.canvas.place(self.image, self.width)\n"
        for breed in BREEDS
    )
    + "```\n",
    "addresses": "".join(
        f"- https://example.org/how-to/keep/the-old-stone-tower-of-the-north/{breed}\n"
        for breed in BREEDS
    ),
    "notes of a tune": "".join(
        f"D2 F2 A2 F2 | D2 F2 A2 {note}2 | B2 d2 g2 b2 | A2 F2 D2 F2 |\n" for note in "abcdefga"
    ),
    "records": "".join(
        f'{{"kind": "buoy", "side": "north of the tower", "name": "{breed}"}},\n'
        for breed in BREEDS
    ),
    "questions of a dialogue": "".join(
        f"A: What is it?\nB: A {breed} that sleeps under the {thing} all day.\n"
        for breed, thing in zip(BREEDS, THINGS, strict=True)
    ),
    "compounds": "".join(
        f"Donaudampfschifffahrtselektrizitaetenhauptbetriebswerk{breed}\n" for breed in BREEDS
    ),
}


@pytest.mark.parametrize("text", LIKE.values(), ids=LIKE)
def test_like_items_are_no_scattered_loop(text):
    """Songs, like items, tables, code, addresses, records and dialogues score below one half."""
    assert find_loop(f"{START}\n{text}", OPTIONS).score < 0.5


def test_text_after_a_block_of_code_may_loop():
    """Only what is inside a fence is code."""
    block = "```\nready = True\n```\n"
    looping = "".join(map(TEMPLATE.format, BREEDS))
    assert find_loop(block + looping, OPTIONS).score > 0.5
    assert find_loop("```\n" + looping + "```\n", OPTIONS).score == 0.0


@given(st.lists(st.sampled_from(["ab", "c", "12", "|", ".", "\n", "x" * 41]), max_size=80))
def test_repetitive_text_has_a_score_and_a_span_inside_it(parts):
    """Scores are in [0, 1] and spans begin and end at tokens, however text repeats."""
    text = " ".join(parts)
    loop = find_loop(text, OPTIONS)
    assert 0 <= loop.score <= 1
    assert (loop.score > 0) == (loop.end > loop.start)
    if loop.score:
        assert text[loop.start].isalnum()
        assert text[loop.end - 1].isalnum()


def test_thousands_of_shuffled_copies_are_one_loop():
    """Shuffled copies on one line or on many are a loop from start to end."""
    order = np.random.default_rng(0).integers(0, len(BREEDS), 4_000)
    for text in (
        " ".join(f"the {BREEDS[index]} is back on its ledge of the cliff" for index in order),
        "\n".join(BREEDS[index] for index in order),
    ):
        assert find_loop(text, OPTIONS) == (1.0, 0, len(text))


@pytest.mark.parametrize(
    "unit",
    [
        "请稍等",
        "苹果很好吃。",
        "先打开阀门，再记下读数。",
        "バルブを開けます。",
        "ขอบคุณมาก",
        "谢谢2次、",
    ],
)
@pytest.mark.parametrize("start", ["", "水箱可以装四十升水，夏天也够用两个星期。"])
def test_a_loop_without_blanks_between_words_is_found(unit, start):
    """A phrase or sentence over and over is found in scripts without blanks, with its span."""
    text = start + unit * (300 // len(unit))
    loop = find_loop(text, OPTIONS)
    assert loop.score > 0.9
    assert abs(loop.start - len(start)) <= 1
    assert len(text) - loop.end <= 1


@pytest.mark.parametrize(
    "text",
    [
        "小朋友们，慢慢走，慢慢走，慢慢走，过了马路再说话。",
        "春天来了，花开了。夏天来了，蝉叫了。秋天来了，叶落了。冬天来了，雪下了。",
        "はい、はい、はい。わかりました。すぐに行きます。",
        "第一步洗菜，第二步切菜，第三步热锅，第四步下油，第五步炒菜。",
    ],
)
def test_emphasis_and_parallels_without_blanks_are_not_loops(text):
    """A few repeated words, and sentences that are built alike, score below one half."""
    assert find_loop(text, OPTIONS).score < 0.5
