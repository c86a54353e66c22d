"""The search by words, compared with plain loops over the texts."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.review.words import (
    MOST_PLACES,
    PAIRS,
    QueryPiece,
    RowLists,
    TextSearch,
    cut,
    cut_texts,
    list_words,
    number_pairs,
    open_block,
)
from schemas.errors import StorageError

RIVERS = ["a heron by the river, 50%_off", None, "river rivers", "", "北京大学 of the river's"]

LETTERS = "ab%_' .,\n\t\\*é\u0301ßσς京都ก็😀\u200d\u00a0İ\x00"
"""Letters, signs of patterns, marks, scripts without blanks, and characters of four bytes."""

texts_of = st.text(LETTERS, max_size=12) | st.text(max_size=8)


@pytest.fixture
def open_search(tmp_path):
    """Return a function that indexes texts, given in parts, with a block for every two parts."""

    def call(*parts, name="words"):
        series = [pl.Series("text", part, pl.String) for part in parts]
        pairs = [series[begin : begin + 2] for begin in range(0, len(series), 2)]
        paths = [tmp_path / name / f"{number}.arrow" for number in range(len(pairs))]
        blocks = [open_block(pair, path) for pair, path in zip(pairs, paths, strict=True)]
        return TextSearch(series, blocks)

    return call


def scan(texts, wanted):
    """Return which texts have a part, by looking at each one."""
    return [text is not None and wanted in text for text in texts]


def test_a_text_is_cut_into_words_and_signs():
    """Only the outer words of what is searched for may be parts of longer words."""
    assert cut("heron") == [QueryPiece("heron", "inside")]
    assert set(cut("on by riv")) == {
        QueryPiece("on", "end"),
        QueryPiece("by", "whole"),
        QueryPiece("riv", "start"),
    }
    assert set(cut(" on ")) == {QueryPiece("on", "whole")}
    assert set(cut("50%")) == {QueryPiece("50", "end"), QueryPiece("%", "whole")}
    assert cut("_") == [QueryPiece("_", "inside")], "a low line is a letter of a word"
    assert cut(" \n\u00a0") == []


def test_characters_without_blanks_between_words_are_words():
    """Each character of such scripts counts as a word, so no word has the length of a text."""
    assert set(cut("京都no")) == {
        QueryPiece("京", "whole"),
        QueryPiece("都", "whole"),
        QueryPiece("no", "start"),
    }
    assert {piece.text for piece in cut("ไม่")} == {*"ไม่"}


def test_pieces_come_in_order():
    """Neighbours are neighbours in the texts, too, with blanks between them or not."""
    assert [piece.text for piece in cut("of, of the\n river's")] == [
        *("of", ",", "of", "the", "river", "'", "s"),
    ]


def read_lists(lists):
    """Return all lists as Python's lists."""
    return [lists.join(np.array([number])).tolist() for number in range(len(lists.ends))]


def test_lists_are_joined_and_measured():
    """Lists are found by their numbers, also empty ones and the first one."""
    lists = RowLists(np.array([2, 2, 5]), np.array([7, 8, 1, 2, 3], np.uint16))
    assert read_lists(lists) == [[7, 8], [], [1, 2, 3]]
    assert lists.measure(np.array([2, 0, 1])).tolist() == [3, 2, 0]
    assert lists.join(np.array([2, 0])).tolist() == [1, 2, 3, 7, 8]
    assert lists.join(np.array([], np.int64)).tolist() == []


@given(st.lists(texts_of | st.none(), max_size=6))
def test_every_word_is_listed_with_its_rows(texts):
    """The pieces of all texts are the listed words, each with the rows that have it."""
    said = cut_texts(pl.Series(texts, dtype=pl.String))
    words, rows, _ = list_words(said, len(texts))
    assert words.to_list() == sorted(words, key=str.encode)
    wanted = {}
    for number, text in enumerate(texts):
        for piece in cut(text or ""):
            wanted.setdefault(piece.text, set()).add(number)
    assert dict(zip(words, read_lists(rows), strict=True)) == {
        word: sorted(numbers) for word, numbers in wanted.items()
    }


@given(st.lists(texts_of | st.none(), max_size=6))
def test_every_pair_is_listed_with_its_rows(texts):
    """The rows of two neighbours are in their list, and other rows are not, unless lists mix."""
    said = cut_texts(pl.Series(texts, dtype=pl.String))
    words, _, pairs = list_words(said, len(texts))
    places = {word: number for number, word in enumerate(words)}
    wanted = {}
    for number, text in enumerate(texts):
        pieces = [places[piece.text] for piece in cut(text or "")]
        for before, after in pairwise(pieces):
            key = int(number_pairs(np.array(before), np.array(after)))
            wanted.setdefault(key, set()).add(number)
    assert len(pairs.ends) == PAIRS
    assert len(pairs.rows) == sum(map(len, wanted.values()))
    for key, numbers in wanted.items():
        assert pairs.join(np.array([key])).tolist() == sorted(numbers)


def test_pairs_have_numbers_of_their_own():
    """The order of two words counts, and all numbers are below the number of lists."""
    before, after = np.meshgrid(np.arange(200), np.arange(200))
    numbers = number_pairs(before.ravel(), after.ravel())
    assert 0 <= numbers.min() <= numbers.max() < PAIRS
    assert number_pairs(np.array([1]), np.array([2])) != number_pairs(np.array([2]), np.array([1]))
    assert np.bincount(numbers, minlength=PAIRS).max() <= 8, "pairs are spread over all lists"


@pytest.mark.parametrize(
    "wanted",
    [
        "river",
        "rivers",
        "r",
        "the river",
        "river's",
        "50%",
        "%",
        "_",
        "%_",
        "京大",
        "大学 of",
        " ",
        "x",
    ],
)
def test_found_rows_are_those_of_a_scan(open_search, wanted):
    """Words, parts of words, signs, phrases and blanks are found in the rows that have them."""
    search = open_search(RIVERS[:2], RIVERS[2:3], RIVERS[3:])
    assert search.find(wanted).tolist() == scan(RIVERS, wanted)


@given(st.lists(st.lists(texts_of | st.none(), max_size=4), min_size=1, max_size=5), st.data())
@example([["ab", "a b"], ["b a"], ["ba"]], None)
def test_a_search_is_a_scan(tmp_path_factory, parts, data):
    """For any texts, and any part of them or any other text, the rows are those of a scan."""
    series = [pl.Series("text", part, pl.String) for part in parts]
    folder = tmp_path_factory.mktemp("words")
    middle = len(series) // 2
    blocks = [
        open_block(own, folder / f"{number}.arrow")
        for number, own in enumerate((series[:middle], series[middle:]))
        if own
    ]
    search = TextSearch(series, blocks)
    texts = [text for part in parts for text in part]
    wanted = {"a", "b", " ", "ab", "a b", "%", "_"}
    if data is not None:
        whole = "".join(text for text in texts if text)
        first = data.draw(st.integers(0, len(whole)))
        wanted |= {whole[first : first + data.draw(st.integers(1, 6))], data.draw(texts_of)}
    for part in wanted - {""}:
        assert search.find(part).tolist() == scan(texts, part), part


def test_a_word_alone_is_found_without_its_texts(tmp_path):
    """The lists of words answer for a part of a word, so no text is read."""
    texts = pl.Series("text", [*"abcdefgh", "heron", "herons egret"])
    block = open_block([texts], tmp_path / "0.arrow")
    search = TextSearch([pl.Series("text", [None] * 10, pl.String)], [block])
    assert np.flatnonzero(search.find("ero")).tolist() == [8, 9]
    assert not search.find("herons egret").any(), "a phrase is looked for in the texts"


def test_the_most_frequent_words_are_looked_up_first(open_search):
    """If a piece is in too many words, only rows without the frequent ones are read."""
    words = " ".join(f"e{number}" for number in range(4 * MOST_PLACES))
    texts = [words, f"{words} x", "none", "e99", "x"]
    (block,) = open_search(texts)._blocks
    found, doubtful = block.find(cut("e")[0])
    assert found.tolist() == [True, True, False, False, False]
    assert doubtful.tolist() == [False, False, True, True, True]
    assert open_search(texts, name="again").find("e").tolist() == scan(texts, "e")
    few, none = block.find(cut("e99")[0])
    assert (np.flatnonzero(few).tolist(), none.any()) == ([3], False)


def test_a_piece_that_most_rows_have_rules_out_none(open_search):
    """A phrase is narrowed by its rarer pieces and pairs; if it has none, all texts are read."""
    texts = ["of the emu", "of the yak", "of the emus", "the of"]
    search = open_search(texts)
    (block,) = search._blocks
    assert block.narrow(cut("of the")).all()
    assert block.narrow(cut("the emu")).tolist() == [True, False, True, False]
    assert block.narrow(cut("the of")).tolist() == [False, False, False, True]
    assert block.narrow(cut("the wren")).tolist() == [False] * 4
    for wanted in ("of the", "the emu", "the of", "the wren", "e of", "f\nthe"):
        assert search.find(wanted).tolist() == scan(texts, wanted)


def test_a_pair_of_many_words_is_not_looked_up(open_search, monkeypatch):
    """Parts of too many words narrow nothing by pairs, and the rows are right all the same."""
    texts = ["ab ba", "bb aa", "ab aa", "ba ab"]
    wanted = scan(texts, "b a")
    assert open_search(texts).find("b a").tolist() == wanted
    monkeypatch.setattr("pipelines.review.words.MOST_PAIRS", 0)
    assert open_search(texts).find("b a").tolist() == wanted


def test_words_are_listed_once(tmp_path):
    """A second opening reads the files, and both openings find the same."""
    texts = [pl.Series("text", RIVERS)]
    path = tmp_path / "words" / "0.arrow"
    first = open_block(texts, path)
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    second = open_block(texts, path)
    assert before == {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    assert sorted(before) == ["0.arrow", "0.pair-ends.arrow", "0.pairs.arrow", "0.rows.arrow"]
    assert first.words.to_list() == second.words.to_list()
    for one, other in zip((*first.rows, *first.pairs), (*second.rows, *second.pairs), strict=True):
        assert one.tolist() == other.tolist()


def test_the_same_texts_give_the_same_bytes(tmp_path):
    """The lists of words don't depend on the run of the program."""
    texts = [pl.Series("text", RIVERS), pl.Series("text", ["river of words"])]
    for name in ("one", "two"):
        open_block(texts, tmp_path / name / "0.arrow")
    names = [file.name for file in (tmp_path / "one").iterdir()]
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_texts_without_words(open_search):
    """Rows without a text, or with blanks only, have no words and are searched all the same."""
    search = open_search([None, None], [None], ["  \n"])
    assert search.find("a").tolist() == [False] * 4
    assert search.find(" \n").tolist() == [False, False, False, True]
    assert TextSearch([], []).find("a").tolist() == []


def test_a_folder_that_is_a_file(tmp_path):
    """An error says where the lists can't be written."""
    (tmp_path / "words").write_text("")
    with pytest.raises(StorageError, match="--folder"):
        open_block([pl.Series("text", RIVERS)], tmp_path / "words" / "0.arrow")
