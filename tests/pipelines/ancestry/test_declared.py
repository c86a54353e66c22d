"""Checking declared teachers against the text of lots."""

import pytest

from pipelines.ancestry.answers import KeyedAnswer, ModelAnswers
from pipelines.ancestry.declared import (
    FEWEST_ANSWERS,
    MOST_ANSWERS,
    Claim,
    check_teachers,
    compare_lots,
    describe_claims,
    describe_contradiction,
    gather_lots,
)
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import CardError, InputError, TeacherError
from schemas.lots import Lot
from tests.support.corpora import write_rows
from tests.support.family import HABITS, build_rows, write_teacher
from transforms.files.planning import plan_shards
from transforms.files.sources import survey
from transforms.records.formats import settle_layout
from transforms.records.sides import settle_sides

KNOWN = ("atlas", "borealis", "cirrus")


def know(name, prompts=range(200)):
    """Return a teacher's known answers."""
    answers = [KeyedAnswer(None, text) for _, text in write_teacher(name, prompts)]
    return ModelAnswers(name, answers, len(answers), 0)


def take(name, prompts=range(300, 400)):
    """Return a lot's answers, to prompts that the known answers don't have."""
    return [text for _, text in write_teacher(name, prompts)]


def settle(folder):
    """Survey a corpus whose column `teacher` declares teachers; return its parts."""
    limits = ShardLimits(rows=40)
    corpus = survey([str(folder)], limits)
    settings = CorpusConfig.model_validate({"teacher": {"column": "teacher"}})
    layout = settle_sides(corpus.schema, settle_layout(corpus.schema, settings), True)
    return corpus, layout, plan_shards(corpus.sources, limits)


def write_lots(path, lots):
    """Write a corpus: pairs of a declared teacher and the real one, with numbers of answers."""
    rows = []
    for number, (declared, real, answers) in enumerate(lots):
        begin = 1_000 * (number + 1)
        made = build_rows(write_teacher(real, range(begin, begin + answers)))
        rows += [row | {"teacher": declared} for row in made]
    write_rows(path, rows)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Write the known answers of three teachers; return the folder's glob."""
    folder = tmp_path_factory.mktemp("teachers")
    for name in KNOWN:
        write_rows(folder / f"{name}.jsonl", build_rows(write_teacher(name, range(200))))
    return f"{folder}/*.jsonl"


def test_a_true_name_fits_and_a_wrong_one_does_not():
    """A lot under a false name is contradicted, and the real teacher is named."""
    lots = {Lot("atlas"): take("atlas"), Lot("borealis"): take("cirrus")}
    fits, wrong = compare_lots(lots, [know(name) for name in KNOWN])
    assert (fits.outcome, wrong.outcome) == ("fits", "contradicted")
    assert wrong.rival == "cirrus"
    assert wrong.deviation > 4 > fits.deviation


@pytest.mark.parametrize("name", ["Atlas", "lab/atlas", "LAB/ATLAS"])
def test_owner_and_case_of_a_name_do_not_matter(name):
    """Names are compared without the owner and in lower case."""
    (claim,) = compare_lots({Lot(name): take("atlas")}, [know(name) for name in KNOWN])
    assert claim.outcome == "fits"


def test_lots_that_cannot_be_compared_say_why():
    """Few answers, an unknown teacher and no teacher have results of their own, and pass."""
    lots = {
        Lot("atlas"): take("cirrus", range(FEWEST_ANSWERS - 1)),
        Lot("delta"): take("delta"),
        Lot(): take("atlas"),
    }
    claims = compare_lots(lots, [know(name) for name in KNOWN])
    assert [claim.outcome for claim in claims] == ["few", "unknown", "undeclared"]


def test_one_known_teacher_is_not_enough():
    """With fewer than two teachers with enough answers, nothing can be compared."""
    with pytest.raises(CardError, match="1 teacher has them") as caught:
        compare_lots({Lot("atlas"): take("atlas")}, [know("atlas"), know("delta", range(3))])
    assert caught.value.where == "--teacher-answers"


def test_lots_are_gathered_by_all_their_fields_and_small_ones_by_teacher(tmp_path):
    """A lot with few answers joins the other small ones of its teacher."""
    rows = []
    for source, answers in (("big", 60), ("small", 20), ("tiny", 5)):
        made = build_rows(write_teacher("atlas", range(answers)))
        rows += [row | {"teacher": "atlas", "source": source} for row in made]
    write_rows(tmp_path / "c.jsonl", rows)
    found = gather_lots(*settle(tmp_path))
    sizes = {(lot.teacher, lot.prompt_source): len(texts) for lot, texts in found.items()}
    assert sizes == {("atlas", "big"): 60, ("atlas", "-"): 25}


def test_a_large_lot_is_cut_alike_in_any_order(tmp_path):
    """The digests of answers choose which ones count, so shards don't matter."""
    made = build_rows(write_teacher("atlas", range(MOST_ANSWERS + 90)))
    rows = [row | {"teacher": "atlas"} for row in made]
    for folder, order in (("a", 1), ("b", -1)):
        (tmp_path / folder).mkdir()
        write_rows(tmp_path / folder / "c.jsonl", rows[::order])
    (first,), (second,) = (gather_lots(*settle(tmp_path / name)).values() for name in "ab")
    assert first == second
    assert len(first) == MOST_ANSWERS


def test_a_contradiction_stops_and_names_the_lot(tmp_path, teachers):
    """The counts come first; the error names the lot, both teachers and a remedy."""
    write_lots(tmp_path / "c.jsonl", [("atlas", "atlas", 80), ("borealis", "cirrus", 80)])
    notices = []
    with pytest.raises(TeacherError, match="borealis are more like cirrus's") as caught:
        notices.extend(check_teachers([teachers], *settle(tmp_path)))
    assert caught.value.exit_code == 5
    assert "--teacher-answers" in caught.value.remedy


def test_true_names_pass(tmp_path, teachers):
    """All lots fit, and one sentence says so."""
    write_lots(tmp_path / "c.jsonl", [(name, name, 80) for name in KNOWN])
    (notice,) = check_teachers([teachers], *settle(tmp_path))
    assert notice.text.startswith("declared teachers: 3 of 3 compared lots fit")
    assert notice.severity == "info"


def test_a_teacher_with_few_known_answers_is_warned_of(tmp_path, teachers):
    """Its lots aren't compared, and a warning says why."""
    few = tmp_path / "few.jsonl"
    write_rows(few, build_rows(write_teacher("delta", range(9))))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_lots(corpus / "c.jsonl", [("atlas", "atlas", 80), ("delta", "atlas", 80)])
    texts = [str(item) for item in check_teachers([teachers, f"delta={few}"], *settle(corpus))]
    assert texts[0].startswith("warning: delta: fewer than 50 known answers")
    assert texts[1].startswith("declared teachers: 1 of 1 compared lot fits")
    assert texts[2].endswith("no known answers in --teacher-answers: delta")


def test_missing_answers_are_an_input_error(tmp_path):
    """A glob that matches nothing is refused."""
    write_lots(tmp_path / "c.jsonl", [("atlas", "atlas", 60)])
    with pytest.raises(InputError):
        list(check_teachers([f"{tmp_path}/none/*.jsonl"], *settle(tmp_path)))


def test_claims_are_described_by_outcome():
    """Every reason for not comparing a lot has a sentence with the lots' names."""
    claims = [
        Claim(Lot("a"), 80, "fits", "b", -3.0),
        Claim(Lot("b", "web"), 20, "few"),
        Claim(Lot("x"), 90, "unknown"),
        Claim(Lot(), 90, "undeclared"),
    ]
    first, *rest = (notice.text for notice in describe_claims(claims))
    assert first == (
        "declared teachers: 1 of 1 compared lot fits the declared teacher's known answers"
    )
    assert [text.rpartition(": ")[2] for text in rest] == ["b (prompt_source web)", "x", "-"]


def test_a_contradiction_gives_numbers():
    """The sentence has the number of answers and of standard errors."""
    claim = Claim(Lot("a", "web"), 80, "contradicted", "b", 7.25)
    assert describe_contradiction(claim) == (
        "80 answers of the lot a (prompt_source web) are more like b's than a's (7.2 standard "
        "errors)"
    )


def test_made_up_teachers_have_habits():
    """The family of the tests has the teachers that these tests name."""
    assert set(KNOWN) < set(HABITS)
