"""Lineage: from corpora to findings."""

import pytest

from pipelines.ancestry.answers import KeyedAnswer, ModelAnswers, NamedCorpus
from pipelines.ancestry.findings import describe_family
from pipelines.lineage import describe_answers, gather, require_roles, trace_lineage
from schemas.errors import CardError, InputError
from schemas.events import Noticed
from tests.support.corpora import write_rows
from tests.support.family import HABITS, build_rows, write_student, write_teacher

PROMPTS = range(200)
ONE, OTHER, THIRD = (NamedCorpus(name, f"{name}.jsonl") for name in ("a", "b", "c"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the answers of five teachers and two students."""
    found = tmp_path_factory.mktemp("family")
    for name in HABITS:
        write_rows(found / f"{name}.jsonl", build_rows(write_teacher(name, PROMPTS)))
        student = write_student(name, PROMPTS)
        write_rows(found / f"of-{name}.jsonl", build_rows(student))
        moved = [(prompt + 5_000, text) for prompt, text in student]
        write_rows(found / f"moved-{name}.jsonl", build_rows(moved))
    return found


def name(folder, *names):
    """Return models whose files have their names."""
    return [NamedCorpus(item, str(folder / f"{item}.jsonl")) for item in names]


def test_each_student_finds_its_teacher(folder):
    """Two students are traced to their teachers, with the habits that they inherited."""
    family = trace_lineage(name(folder, "of-atlas", "of-delta"), name(folder, *HABITS))
    assert [item.best for item in family.lineages] == ["atlas", "delta"]
    assert [item.verdict for item in family.lineages] == ["atlas", "delta"]
    assert any("Certainly" in habit.text for habit in family.lineages[0].habits)
    assert any("Great" in habit.text for habit in family.lineages[1].habits)
    assert family.lineages[0].shared_prompts == len(PROMPTS)
    assert family.names == ("of-atlas", "of-delta", *HABITS)
    assert len(family.tree) == len(family.names) - 1


def test_without_its_teacher_none_is_found(folder):
    """If the teacher isn't among the candidates, none of them is the likeliest answer."""
    others = [item for item in HABITS if item != "atlas"]
    (item,) = trace_lineage(name(folder, "of-atlas"), name(folder, *others)).lineages
    assert item.is_none
    assert item.verdict is None


def test_other_prompts_are_enough(folder):
    """Without common prompts the wording decides, and a notice says so."""
    events = []
    (item,) = trace_lineage(
        name(folder, "moved-cirrus"), name(folder, *HABITS), listener=events.append
    ).lineages
    assert item.best == "cirrus"
    assert not item.ranking.uses_prompts
    assert item.shared_prompts == 0
    assert any("only the wording" in event.notice.text for event in events)


def test_a_model_is_judged_alone(folder):
    """A second model changes nothing about the first one."""
    teachers = name(folder, *HABITS)
    alone = trace_lineage(name(folder, "of-atlas"), teachers).lineages[0]
    beside = trace_lineage(name(folder, "of-atlas", "moved-delta"), teachers).lineages[0]
    assert [item.candidate for item in alone.ranking.candidates] == [
        item.candidate for item in beside.ranking.candidates
    ]
    assert beside.ranking.none == pytest.approx(alone.ranking.none, abs=1e-5)
    assert [habit.text for habit in alone.habits] == [habit.text for habit in beside.habits]


def test_the_order_of_rows_doesnt_matter(folder, tmp_path):
    """Shuffled rows in several files give the same findings."""
    rows = build_rows(write_student("atlas", PROMPTS))
    for part in range(2):
        write_rows(tmp_path / "of-atlas" / f"{part}.jsonl", rows[part::2][::-1])
    teachers = name(folder, *HABITS)
    whole = trace_lineage(name(folder, "of-atlas"), teachers)
    parts = trace_lineage([NamedCorpus("of-atlas", str(tmp_path / "of-atlas"))], teachers)
    assert describe_family(whole) == describe_family(parts)


def test_references_say_what_is_usual(folder):
    """A single candidate can be compared with references, which aren't ranked."""
    usual = name(folder, "borealis", "cirrus", "delta")
    family = trace_lineage(name(folder, "of-atlas"), name(folder, "atlas", "ember"), usual)
    (item,) = family.lineages
    assert item.candidates == ("atlas", "ember")
    assert item.best == "atlas"
    assert family.names == ("of-atlas", "atlas", "ember")
    assert any("Certainly" in habit.text for habit in item.habits)


def test_one_candidate_with_references(folder):
    """One candidate has a ranking of one."""
    usual = name(folder, "borealis", "cirrus")
    (item,) = trace_lineage(name(folder, "of-atlas"), name(folder, "atlas"), usual).lineages
    assert len(item.ranking.candidates) == 1
    assert item.ranking.candidates[0].probability + item.ranking.none == pytest.approx(1)


PATTERNS = ("warm=atlas", "warm=delta", "cool=borealis", "cool=cirrus", "odd=ember")


def test_families_have_probabilities(folder):
    """A student's family is that of its teacher, and the teacher is the nearest candidate."""
    family = trace_lineage(
        name(folder, "of-atlas", "of-cirrus"), name(folder, *HABITS), families=PATTERNS
    )
    first, second = (item.families for item in family.lineages)
    assert [(share.family, share.nearest) for share in (first[0], second[0])] == [
        ("warm", "atlas"),
        ("cool", "cirrus"),
    ]
    assert sum(share.probability for share in first) == pytest.approx(1)
    assert {share.family for share in first} == {"warm", "cool", "odd"}


def test_families_change_nothing_else(folder):
    """The ranking and the habits are the same with families as without."""
    asked, teachers = name(folder, "of-delta"), name(folder, *HABITS)
    without = trace_lineage(asked, teachers).lineages[0]
    with_them = trace_lineage(asked, teachers, families=PATTERNS).lineages[0]
    assert without.families == ()
    assert with_them._replace(families=()) == without


def test_few_answers_show_their_family(folder, tmp_path):
    """Twenty answers are enough, also to other prompts and without their author's answers."""
    for shift in (0, 5_000):
        few = [(prompt + shift, text) for prompt, text in write_student("ember", range(20), 0.5)]
        write_rows(tmp_path / f"few{shift}.jsonl", build_rows(few))
    asked = name(tmp_path, "few0", "few5000")
    family = trace_lineage(asked, name(folder, *HABITS), families=PATTERNS)
    assert [item.families[0].family for item in family.lineages] == ["odd", "odd"]
    assert [item.ranking.uses_prompts for item in family.lineages] == [True, False]


def test_references_may_say_what_is_usual_for_families(folder):
    """References aren't in a family, and can't be matched by a pattern."""
    usual = name(folder, "borealis", "cirrus", "delta")
    teachers = name(folder, "atlas", "ember")
    given = ("a=atlas", "e=ember")
    (item,) = trace_lineage(name(folder, "of-ember"), teachers, usual, families=given).lineages
    assert [share.nearest for share in item.families] == ["ember", "atlas"]
    with pytest.raises(CardError, match="matches no candidate"):
        trace_lineage(name(folder, "of-ember"), teachers, usual, families=("a=atlas", "d=delta"))


def test_few_answers_are_noticed(folder):
    """The limit on answers is applied, and a notice says that so few are rough."""
    events = []
    trace_lineage(name(folder, "of-atlas"), name(folder, *HABITS), most=60, listener=events.append)
    texts = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert "of-atlas: 60 answers of 200 rows; with so few, probabilities are rough" in texts
    assert not any(event.notice.is_recorded for event in events)


def test_missing_files_are_reported(folder, tmp_path):
    """A model whose files don't exist stops the command."""
    with pytest.raises(InputError):
        trace_lineage([NamedCorpus("x", str(tmp_path / "x.jsonl"))], name(folder, *HABITS))


@pytest.mark.parametrize(
    ("roles", "problem"),
    [
        (([], [ONE, OTHER], []), "is needed"),
        (([ONE], [], []), "is needed"),
        (([ONE], [OTHER], []), "can't be compared"),
        (([ONE], [OTHER], [THIRD]), "can't be compared"),
        (([ONE], [ONE, OTHER], []), "given twice"),
        (([ONE], [OTHER, THIRD], [OTHER]), "given twice"),
    ],
)
def test_roles_that_cant_be_compared_are_refused(roles, problem):
    """There must be a model, several others, and a name for each."""
    with pytest.raises(CardError, match=problem):
        require_roles(*roles)


def test_enough_roles_are_accepted():
    """Two candidates, or one candidate and two references, are enough."""
    require_roles([ONE], [OTHER, THIRD], [])
    require_roles([ONE], [OTHER], [THIRD, NamedCorpus("d", "d.jsonl")])


def test_prompts_are_numbered_across_models():
    """Equal keys have equal numbers and halves, and unknown prompts have none."""
    one = ModelAnswers("a", [KeyedAnswer("3f", "x"), KeyedAnswer("40", "y")], 2, 0)
    other = ModelAnswers(
        "b", [KeyedAnswer("40", "z"), KeyedAnswer(None, "w"), KeyedAnswer(None, "v")], 3, 0
    )
    found = gather([one, other])
    assert found.model.tolist() == [0, 0, 1, 1, 1]
    assert found.prompt.tolist() == [0, 1, 1, -1, -1]
    assert found.half.tolist() == [1, 0, 0, 1, 0]
    assert found.texts.texts == 5


def test_a_corpus_is_described():
    """The notice counts answers, rows and rejects."""
    answers = [KeyedAnswer(None, "x")] * 300
    assert describe_answers(ModelAnswers("m", answers, 300, 0)) == "m: 300 answers"
    text = describe_answers(ModelAnswers("m", answers, 500, 2))
    assert text == "m: 300 answers of 500 rows; 2 rows can't be read"
