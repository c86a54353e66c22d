"""Raters' answers: what a label may be, which answers count, and doubt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.certifying.answers import (
    AuditAnswer,
    ReadItem,
    digest_answers,
    encode_answers,
    find_clean,
    find_next,
    find_shown,
    match_answers,
    name_draw,
    parse_label,
    parse_shown,
    read_answers,
)
from schemas.certificates import AuditItem, AuditSample
from schemas.digests import digest_bytes
from schemas.errors import CardError
from tests.support.certificates import (
    answer_truth,
    draw_small,
    fill_sheet,
    read_sheet,
    tell_truth,
)

TRAITS = ("heron", "owl")


@pytest.fixture
def sample(run, tmp_path) -> AuditSample:
    """Draw a sample from the small run."""
    return draw_small(run[0], tmp_path).sample


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("none", ()),
        ("No", ()),
        (False, ()),
        (0, ()),
        ("-", ()),
        ([], ()),
        ("unsure", None),
        ("owl", ("owl",)),
        ("Heron", ("heron",)),
        ("owl, heron", ("heron", "owl")),
        ("owl;heron", ("heron", "owl")),
        ("heron owl", ("heron", "owl")),
        (["owl", "heron"], ("heron", "owl")),
        (["heron"], ("heron",)),
    ],
)
def test_labels_name_traits(value, shown):
    """Names may be a list or a text, in any order, and none has several spellings."""
    assert parse_shown(value, TRAITS, "here") == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(True, ("heron",)), ("yes", ("heron",)), (1, ("heron",)), ("n", ())]
)
def test_a_single_trait_has_yes_and_no(value, shown):
    """With one trait, yes is enough."""
    assert parse_shown(value, ("heron",), "here") == shown


@pytest.mark.parametrize("value", [True, "yes", "gull", ["gull"], "heron gull", 7, {"a": 1}])
def test_wrong_labels_are_refused(value):
    """With several traits, yes says too little, and unknown names are mistakes."""
    with pytest.raises(CardError, match="is no trait of the audit") as caught:
        parse_shown(value, TRAITS, "file line 3")
    assert caught.value.where == "file line 3"
    assert "heron, owl" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label": []}, ((), ())),
        ({"label": "unsure"}, (None, ())),
        ({"label": [], "unsure": ["owl"]}, ((), ("owl",))),
        ({"label": "heron", "unsure": "owl"}, (("heron",), ("owl",))),
        ({"label": "none", "unsure": ["owl", "heron"]}, (None, ())),
        ({"label": "none", "unsure": []}, ((), ())),
        ({"label": "none", "unsure": None}, ((), ())),
    ],
)
def test_doubt_may_be_about_single_traits(fields, said):
    """The field `unsure` names them, and doubt about all of them is the label unsure."""
    assert parse_label(fields, TRAITS, "here") == said


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"label": ["owl"], "unsure": ["owl"]}, "contradict each other"),
        ({"label": "unsure", "unsure": ["owl"]}, "contradict each other"),
        ({"label": "none", "unsure": "unsure"}, "contradict each other"),
        ({"label": "none", "unsure": ["gull"]}, "is no trait of the audit"),
    ],
)
def test_doubt_that_contradicts_a_label_is_refused(fields, problem):
    """A trait shows, doesn't show or is in doubt."""
    with pytest.raises(CardError, match=problem) as caught:
        parse_label(fields, TRAITS, "file line 3")
    assert caught.value.where == "file line 3"


def test_doubt_about_one_trait_says_no_of_the_others():
    """Together, doubt about one trait is doubt, unless another one shows."""
    answer = AuditAnswer("1", "a", (), ("owl",))
    assert [answer.says(trait) for trait in (*TRAITS, None)] == ["no", "unsure", "unsure"]
    answer = AuditAnswer("1", "a", ("heron",), ("owl",))
    assert [answer.says(trait) for trait in (*TRAITS, None)] == ["yes", "unsure", "yes"]
    assert AuditAnswer("1", "a", ()).to_line() == {"id": "1", "rater": "a", "label": []}
    assert answer.to_line()["unsure"] == ["owl"]


def test_answers_of_several_files_and_raters(sample, tmp_path):
    """A rater is a file, unless a line names one; unlabelled lines are left out."""
    one, two = tmp_path / "anna.jsonl", tmp_path / "bert.jsonl"
    one.write_text('{"id": "00002", "label": true}\n{"id": "00001", "label": null}\n')
    two.write_text('{"id": "00002", "label": "no"}\n{"id": 3, "label": "unsure", "rater": "c"}\n')
    assert read_answers([one, two], sample) == [
        AuditAnswer("00002", "anna", ("heron",)),
        AuditAnswer("00002", "bert", ()),
        AuditAnswer("00003", "c", None),
    ]


def test_answers_in_a_table(sample, tmp_path):
    """CSV keeps the names of items, even if a program turned them into numbers."""
    path = tmp_path / "d.csv"
    path.write_text("id,answer,label\n00001,some text,none\n00002,other text,heron\n")
    assert [answer.shows for answer in read_answers([path], sample)] == [(), ("heron",)]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('{"label": true}', "has no `id`"),
        ('{"id": "09999", "label": true}', "no item of the sample is called '09999'"),
        ('{"id": "00001", "label": "maybe"}', "is no trait of the audit"),
        ('{"id": "00001", "label": true}\n{"id": "00001", "label": false}', "two different labels"),
        ("what", "is not a JSON object"),
        ('{"id": "00001", "label": true, "rater": "\\ud800"}', "name isn't UTF-8"),
    ],
)
def test_wrong_files_are_refused(sample, tmp_path, lines, problem):
    """The error names the file and the line."""
    path = tmp_path / "x.jsonl"
    path.write_text(lines + "\n")
    with pytest.raises(CardError, match=problem) as caught:
        read_answers([path], sample)
    assert str(path) in str(caught.value.where)


def test_labels_of_another_draw_are_refused(run, sample, tmp_path):
    """Items have the same numbers in every draw, so a label without its draw would mislead."""
    mine = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth, tmp_path / "mine.jsonl")
    count = len(read_answers([mine], sample))
    (tmp_path / "audit.jsonl").unlink()
    other = draw_small(run[0], tmp_path, restart=True, seed="another").sample
    with pytest.raises(CardError, match="is of another draw or another run") as caught:
        read_answers([mine], other)
    assert caught.value.where == f"{mine} line 1"
    bare = tmp_path / "bare.jsonl"
    lines = read_sheet(mine)
    for line in lines:
        del line["draw"]
    bare.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert len(read_answers([bare], other)) == count


def test_added_rows_are_of_the_same_draw(run, sample, tmp_path):
    """Rows that are added to a sample don't make its labels those of another draw."""
    more = draw_small(run[0], tmp_path, rows=30).sample
    assert len(more.items) > len(sample.items)
    path = fill_sheet(tmp_path / "audit.jsonl", more, tell_truth)
    assert len(read_answers([path], more)) == len(more.items)
    assert {line["draw"] for line in read_sheet(path)} == {name_draw(sample)}


def test_the_same_label_twice_is_one(sample, tmp_path):
    """A copied line does no harm."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "00001", "label": true}\n' * 2)
    assert len(read_answers([path], sample)) == 1


def test_stored_answers_have_no_text(sample, tmp_path):
    """The run's own file has names, raters and labels, in the order of items."""
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    answers = read_answers([path], sample)
    lines = [json.loads(line) for line in encode_answers(answers).splitlines()]
    assert {tuple(line) for line in lines} == {("id", "rater", "label")}
    assert [line["id"] for line in lines] == [item.id for item in sample.items]
    assert digest_answers(answers) == digest_bytes(encode_answers(answers))
    assert read_answers([write_text(tmp_path / "again.jsonl", answers)], sample) == answers


def write_text(path: Path, answers: list[AuditAnswer]) -> Path:
    """Write answers as the run stores them."""
    path.write_bytes(encode_answers(answers))
    return path


def build_item(*said: tuple[str, ...] | None) -> ReadItem:
    """Return an item with some raters' answers."""
    answers = {
        str(number): AuditAnswer("00001", str(number), shows) for number, shows in enumerate(said)
    }
    return ReadItem(AuditItem(id="00001", kind="kept"), answers)


@pytest.mark.parametrize(
    ("said", "doubtful", "shows"),
    [
        ([("heron",)], False, True),
        ([()], False, False),
        ([("owl",)], False, False),
        ([None], True, None),
        ([("heron",), ("heron", "owl")], False, True),
        ([("heron",), ()], True, None),
        ([(), None], True, None),
        ([(), (), ()], False, False),
    ],
)
def test_doubt_counts_as_it_is_told(said, doubtful, shows):
    """An unsure rater or two raters who differ leave a doubt, which the caller decides."""
    item = build_item(*said)
    assert item.is_doubtful("heron") is doubtful
    for decided in (True, False):
        assert item.counts_as("heron", decided) is (decided if shows is None else shows)


def test_all_traits_together():
    """An item shows something if it shows any trait, even if raters name different ones."""
    item = build_item(("heron",), ("owl",))
    assert item.is_doubtful("heron")
    assert not item.is_doubtful(None)
    assert item.counts_as(None, doubtful=False)
    assert AuditAnswer("1", "a", ()).says(None) == "no"
    assert AuditAnswer("1", "a", None).says(None) == "unsure"


def test_answers_count_up_to_the_first_unread_item(sample):
    """Which items are read must not depend on what they say."""
    kept = [item.id for item in sample.items if item.kind == "kept"]
    answers = [AuditAnswer(name, "a", ()) for name in (*kept[:5], *kept[6:])]
    assert [item.item.id for item in match_answers(sample, answers, "kept")] == kept[:5]
    assert match_answers(sample, answers, "removed") == []
    assert match_answers(sample, [], "kept") == []


def test_the_next_items_of_a_rater(sample):
    """Each rater has an own list of what is left."""
    answers = [AuditAnswer("00001", "a", ()), AuditAnswer("00002", "b", ())]
    assert find_next(sample, answers, "a")[:2] == ["00002", "00003"]
    assert len(find_next(sample, answers, "c")) == 26


ANSWERS = st.one_of(st.none(), st.sets(st.sampled_from(TRAITS)).map(sorted).map(tuple))
DOUBTS = st.sampled_from(
    [((), ()), (None, ()), ((), ("owl",)), (("heron",), ("owl",)), (("owl",), ("heron",))]
)


@given(st.dictionaries(st.sampled_from(["anna", "bert", "chloé"]), DOUBTS, min_size=1))
def test_stored_answers_are_read_as_they_were(said):
    """What the run stores says the same to whoever reads it, in any language."""
    answers = [AuditAnswer("00001", rater, *shown) for rater, shown in sorted(said.items())]
    lines = [json.loads(line) for line in encode_answers(answers).decode().splitlines()]
    again = [
        AuditAnswer(line["id"], line["rater"], *parse_label(line, TRAITS, "here")) for line in lines
    ]
    assert again == answers


@given(st.lists(ANSWERS, min_size=1, max_size=4), st.sampled_from([*TRAITS, None]))
def test_an_item_without_doubt_ignores_how_doubt_counts(said, trait):
    """Only doubt depends on the claim, and full agreement never does."""
    item = build_item(*said)
    counted = {item.counts_as(trait, doubtful) for doubtful in (True, False)}
    assert (len(counted) == 2) == item.is_doubtful(trait)
    words = {answer.says(trait) for answer in item.answers.values()}
    assert item.is_doubtful(trait) == (len(words) > 1 or words == {"unsure"})


@given(st.sets(st.integers(0, 25)))
def test_counted_answers_are_a_beginning_of_their_kind(read):
    """Whatever was read, the counted items of a kind are the first ones."""
    kinds = ("kept", "removed", "seeded")
    items = tuple(AuditItem(id=f"{n:05d}", kind=kinds[n % 3]) for n in range(26))
    sample = AuditSample.model_construct(items=items)
    answers = [AuditAnswer(f"{number:05d}", "a", ()) for number in sorted(read)]
    for kind in kinds:
        own = [item.id for item in items if item.kind == kind]
        counted = [item.item.id for item in match_answers(sample, answers, kind)]
        assert counted == own[: len(counted)]
        assert len(counted) == len(own) or int(own[len(counted)]) not in read


def test_rows_that_show_a_trait_are_named(run, tmp_path):
    """Each has its item, its file and row, and its traits; doubt alone names none."""
    sample = draw_small(run[0], tmp_path).sample
    kept = [item for item in sample.items if item.kind == "kept"][:2]
    answers = answer_truth(sample)
    assert find_shown(sample, answers) == ()
    said = {kept[0].id: ("heron",), kept[1].id: None}
    changed = [item._replace(shows=said.get(item.id, item.shows)) for item in answers]
    first, second = find_shown(sample, changed)
    place = f"{kept[0].source}:{kept[0].row}"
    assert first.describe() == f"item {kept[0].id}, {place}: heron"
    assert second.traits == ()
    assert second.describe().endswith(": unsure")


def test_removed_rows_that_are_clean_are_named(run, tmp_path):
    """Each has the traits that removed it; a row in doubt isn't among them."""
    sample = draw_small(run[0], tmp_path).sample
    removed = [item for item in sample.items if item.kind == "removed"][:2]
    answers = answer_truth(sample)
    assert find_clean(sample, answers) == ()
    said = {removed[0].id: (), removed[1].id: None}
    changed = [item._replace(shows=said.get(item.id, item.shows)) for item in answers]
    (only,) = find_clean(sample, changed)
    place = f"{removed[0].source}:{removed[0].row}"
    assert only.describe() == f"item {removed[0].id}, {place}: heron"
