"""Monitors of small corpora: what is found, what is recorded, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.monitor import (
    LONGEST_NAME,
    MonitorConfig,
    check_name,
    check_teachers,
    describe_rate,
    digest_sample,
    encode_changes,
    run_monitor,
    suggest_name,
)
from pipelines.monitoring.history import Generation, read_history
from schemas.corpora import CorpusConfig, LotField, ShardLimits
from schemas.errors import CardError, InputError, RunError
from schemas.events import Noticed
from schemas.histories import CHANGES, CHANGES_FILE, PAGE
from tests.support.audits import HABIT, write_side
from tests.support.corpora import write_rows
from tests.support.generations import (
    TEXTS,
    count_generation,
    save_generation,
    write_generation,
)
from tests.support.lots import build_sample, write_answers

EVERY = (40, 16, 6, 3)
"""One text in so many has the habit, by generation."""


def monitor(folder: Path, corpus: str, name: str, **settings):
    """Compare a generation with the history in a folder."""
    fields = {"corpus": (corpus,), "history": str(folder / "history"), "name": name}
    return run_monitor(MonitorConfig.model_validate(fields | settings))


def monitor_all(folder: Path, count: int = 4, **settings):
    """Monitor generations in which a habit rises, and return all results."""
    return [
        monitor(folder, save_generation(folder, number, EVERY[number]), f"gen{number}", **settings)
        for number in range(count)
    ]


def test_an_added_teacher_is_said(tmp_path):
    """Rates may differ only because another teacher's rows came in, so the verdict says it."""
    answers = write_generation(1)
    monitor(tmp_path, write_side(tmp_path / "one.jsonl", answers), "one")
    corpus = write_side(tmp_path / "two.jsonl", answers, ("atlas", "borealis"))
    found = monitor(tmp_path, corpus, "two")
    half = TEXTS // 2
    notes = found.to_json()["notes"]
    assert f"borealis 0 of {TEXTS} before, {half} of {TEXTS} now" in notes[0]
    assert notes[1] == f"new teacher: borealis, {half} rows, not comparable"
    assert found.to_json()["within_teachers"] == ["atlas"]
    assert "borealis" in (tmp_path / "history" / PAGE).read_text()
    known = read_history(str(tmp_path / "history"))
    assert [item.teachers for item in known] == [
        {"atlas": TEXTS},
        {"atlas": half, "borealis": half},
    ]
    assert [list(item.by_teacher) for item in known] == [["atlas"], ["atlas", "borealis"]]
    assert monitor(tmp_path, corpus, "two").to_json()["notes"] == notes


def test_a_new_teachers_habit_is_not_reported(tmp_path):
    """Only the new teacher's answers have the habit, so nothing changed; if both do, it did."""
    monitor(tmp_path, save_generation(tmp_path, 1), "one")
    answers = write_generation(2)
    habit = [f"{text} {HABIT}" if number % 2 else text for number, text in enumerate(answers)]
    corpus = write_side(tmp_path / "two.jsonl", habit, ("atlas", "borealis"))
    found = monitor(tmp_path, corpus, "two", is_recorded=False)
    assert not found.differs
    assert found.to_json()["within_teachers"] == ["atlas"]
    everywhere = [f"{text} {HABIT}" for text in answers]
    corpus = write_side(tmp_path / "both.jsonl", everywhere, ("atlas", "borealis"))
    changed = monitor(tmp_path, corpus, "two").to_json()
    assert {item["teacher"] for item in changed["changes"]} == {"atlas"}
    assert "gap" in changed["changes"][0]["text"]
    table = pq.read_table(tmp_path / "history" / CHANGES_FILE)
    assert set(table["teacher"].to_pylist()) == {"atlas"}
    assert "atlas" in (tmp_path / "history" / PAGE).read_text()


def test_generations_without_the_teacher_have_no_rate(tmp_path):
    """Rates name every generation, and those that lack the teacher have no texts."""
    monitor(tmp_path, save_generation(tmp_path, 1), "one")
    monitor(tmp_path, write_side(tmp_path / "two.jsonl", write_generation(2), ("dove",)), "two")
    everywhere = [f"{text} {HABIT}" for text in write_generation(3)]
    corpus = write_side(tmp_path / "three.jsonl", everywhere, ("atlas", "borealis"))
    rates = monitor(tmp_path, corpus, "three").to_json()["changes"][0]["rates"]
    assert [item["generation"] for item in rates] == ["one", "two", "three"]
    assert [item["texts"] > 0 for item in rates] == [True, False, True]


def test_one_teacher_can_be_read_alone(tmp_path):
    """Only its rows count, and a name that no row has is refused with the names there are."""
    corpus = write_side(tmp_path / "two.jsonl", write_generation(1), ("atlas", "borealis"))
    found = monitor(tmp_path, corpus, "one", only_teachers=("borealis",))
    (newest,) = found.generations
    assert newest.teachers == {"borealis": TEXTS // 2}
    assert newest.texts == sum(newest.inventory.totals) == TEXTS // 2
    assert read_history(str(tmp_path / "history"))[0].by_teacher.keys() == {"borealis"}
    with pytest.raises(InputError, match=r"no row of the teacher 'boreal'") as error:
        monitor(tmp_path, corpus, "two", only_teachers=("borealis", "boreal"))
    assert "its teachers are atlas, borealis" in str(error.value)


def test_one_name_for_several_teachers_is_refused(tmp_path):
    """--teacher doesn't select rows, and would hide that a teacher was added."""
    corpus = write_side(tmp_path / "two.jsonl", write_generation(1), ("atlas", "borealis"))
    layout = CorpusConfig(teacher=LotField(constant="atlas"))
    with pytest.raises(CardError, match=r"names its teachers in 'teacher'.*selects no rows"):
        monitor(tmp_path, corpus, "two", layout=layout)
    assert not read_history(str(tmp_path / "history"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder for a history."""
    return tmp_path_factory.mktemp("monitored")


@pytest.fixture(scope="module")
def results(folder):
    """Monitor four generations in which a habit rises, once."""
    return monitor_all(folder)


def test_a_rising_habit_is_flagged_by_the_third_generation(results):
    """The first two generations may pass; the third and the fourth have the habit first."""
    assert not results[0].differs
    for result in results[2:]:
        assert result.differs
        assert "gap" in result.changes[0].text
        assert result.changes[0].change == "accumulated"


def test_results_are_values(results):
    """The JSON has the verdict, the changes with rates of all generations, and the generations."""
    found = results[3].to_json()
    assert found["differs"] is True
    assert [item["name"] for item in found["generations"]] == ["gen0", "gen1", "gen2", "gen3"]
    change = found["changes"][0]
    assert change["slope_low"] < change["slope"] < change["slope_high"]
    rates = [item["rate"] for item in change["rates"]]
    assert rates == sorted(rates)
    assert all(item["low"] <= item["rate"] <= item["high"] for item in change["rates"])
    assert found["candidates"] > 0


def test_the_history_has_all_generations(folder, results):
    """Each generation has two files; the page and the table are those of the newest."""
    history = folder / "history"
    names = sorted(path.name for path in history.iterdir())
    numbers = [f"000{number}.{ending}" for number in range(1, 5) for ending in ("json", "parquet")]
    assert names == [*numbers, CHANGES_FILE, PAGE]
    assert results[3].is_new
    record = json.loads((history / "0004.json").read_text())
    assert record["changes"] == results[3].to_json()["changes"]
    assert record["texts"] == TEXTS
    table = pq.read_table(history / CHANGES_FILE)
    assert table.schema.equals(CHANGES)
    assert table["text"].to_pylist() == [item.text for item in results[3].changes]


def test_earlier_texts_are_not_read_again(folder, results):
    """The earlier corpora can be gone."""
    for number in range(3):
        (folder / f"gen{number}.jsonl").unlink(missing_ok=True)
    again = monitor(folder, save_generation(folder, 3, EVERY[3]), "gen3")
    assert [item.text for item in again.changes] == [item.text for item in results[3].changes]


def test_the_same_generation_is_not_added_twice(folder, results):
    """A call with the newest generation gives its result again, and changes no byte."""
    history = folder / "history"
    before = {path.name: path.read_bytes() for path in history.iterdir()}
    again = monitor(folder, save_generation(folder, 3, EVERY[3]), "gen3")
    assert not again.is_new
    assert again.to_json() == results[3].to_json()
    assert {path.name: path.read_bytes() for path in history.iterdir()} == before


def test_a_name_is_used_once(folder, results):
    """Other texts under a known name are refused, and nothing is added."""
    other = save_generation(folder, 7)
    with pytest.raises(RunError, match="already"):
        monitor(folder, other, results[3].config.name)
    assert len(read_history(str(folder / "history"))) == 4


def test_a_comparison_alone_records_nothing(folder, results):
    """Without recording, the result is there and the history as it was."""
    history = folder / "history"
    before = {path.name: path.read_bytes() for path in history.iterdir()}
    found = monitor(folder, save_generation(folder, 8), "try", is_recorded=False)
    assert [item.change for item in found.changes][:1] == ["faded"]
    assert len(found.generations) == len(results) + 1
    assert {path.name: path.read_bytes() for path in history.iterdir()} == before


def test_bytes_do_not_depend_on_shards(tmp_path, folder, results):
    """The same generations, cut into other shards, give the same history."""
    monitor_all(tmp_path, 2, shards=ShardLimits(rows=37))
    assert len(results) == 4
    for number in (1, 2):
        for ending in ("json", "parquet"):
            name = f"history/000{number}.{ending}"
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_small_generations_are_refused(tmp_path):
    """With a handful of rows nothing can be told, and no history is begun."""
    corpus = write_side(tmp_path / "a.jsonl", write_answers(5))
    with pytest.raises(InputError, match="has 5 rows with an answer"):
        monitor(tmp_path, corpus, "small")
    assert not (tmp_path / "history").exists()


def test_a_folder_of_others_is_refused(tmp_path):
    """A folder with other files isn't used as a history."""
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "mine.txt").write_text("x")
    with pytest.raises(RunError, match="holds no history"):
        monitor(tmp_path, save_generation(tmp_path, 1), "one")


def test_progress_is_told(tmp_path):
    """Notices say what is read and counted."""
    events = []
    corpus = save_generation(tmp_path, 1)
    config = MonitorConfig(corpus=(corpus,), history=str(tmp_path / "history"), name="one")
    assert not run_monitor(config, events.append).differs
    told = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert any(f"reading {TEXTS} rows" in text for text in told)
    assert any(f"counting {TEXTS} texts" in text for text in told)


@pytest.mark.parametrize(
    ("corpus", "name"),
    [(["data/gen3.parquet"], "gen3"), (["release-3/"], "release-3"), (["a.b.jsonl"], "a")],
)
def test_names_are_those_of_files(corpus, name):
    """A generation of one file or folder has its name."""
    assert suggest_name(corpus) == name


@pytest.mark.parametrize("corpus", [["a.jsonl", "b.jsonl"], ["data/*.jsonl"], ["/"]])
def test_other_generations_need_a_name(corpus):
    """Several files or a glob have no name of their own."""
    with pytest.raises(CardError, match="has no name"):
        suggest_name(corpus)
    with pytest.raises(CardError, match="can't be a generation's name"):
        suggest_name(["data/h\udce9ron.jsonl"])


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\0", "x" * (LONGEST_NAME + 1)])
def test_unusable_names_are_refused(name):
    """A name has something to print, and a limit."""
    with pytest.raises(CardError, match="can't be a generation's name"):
        check_name(name)
    assert check_name("2026-11") == "2026-11"


@pytest.mark.parametrize("name", ["h\udce9ron", "a\0b"])
def test_teachers_that_no_corpus_can_have_are_refused(name):
    """A name that isn't UTF-8 is an error of the option."""
    with pytest.raises(CardError) as caught:
        check_teachers(["atlas", name])
    assert caught.value.where == "--only-teacher"


def test_unknown_counts_bound_the_rate():
    """A count that the history doesn't know has an interval from 0."""
    generation = Generation(1, "one", TEXTS, "digest", count_generation(1), "")
    unknown, known = describe_rate(generation, -1), describe_rate(generation, 5)
    assert unknown["documents"] is None
    assert unknown["rate"] == unknown["low"] == 0
    assert 0 < unknown["high"] < 0.05
    assert known["low"] < known["rate"] < known["high"]


def test_the_table_keeps_unknown_counts(folder, results):
    """In the table, too, a count that isn't known is null, and every change has all rates."""
    table = pq.read_table(folder / "history" / CHANGES_FILE).to_pylist()
    assert (
        encode_changes(results[3].to_json()["changes"])
        == (folder / "history" / CHANGES_FILE).read_bytes()
    )
    assert all(len(row["rates"]) == len(results) for row in table)
    for row in table:
        for rate in row["rates"]:
            assert (rate["documents"] is None) <= (rate["rate"] == 0)


def test_the_digest_is_of_rows_in_any_order():
    """The same rows in another order have the same digest, and other rows another one."""
    one, other = (build_sample(write_answers(40, seed), []) for seed in (1, 2))
    turned = one.take(np.arange(len(one))[::-1].copy())
    assert digest_sample(one) == digest_sample(turned)
    assert digest_sample(one) != digest_sample(other)


def test_a_first_generation_has_nothing_to_compare(results):
    """The first result has no changes and no candidates, and is recorded."""
    found = results[0].to_json()
    assert results[0].is_new
    assert results[0].found is None
    assert found["differs"] is False
    assert found["changes"] == []
    assert found["candidates"] == 0
    assert [item["number"] for item in found["generations"]] == [1]


def test_a_strict_level_reports_less(folder, results):
    """At a strict level, at most as many changes are reported, all of them certain."""
    corpus = save_generation(folder, 3, EVERY[3])
    strict = monitor(folder, corpus, "gen3", level=1e-9, is_recorded=False)
    assert len(strict.changes) <= len(results[3].changes)
    assert all(item.q_value <= 1e-9 for item in strict.changes)


def test_texts_without_prompts_are_monitored(tmp_path):
    """Plain texts are halved by their own digest, and a new habit appears in them."""
    for number, every in enumerate((0, 4)):
        rows = [{"text": text} for text in write_generation(number, every)]
        corpus = str(write_rows(tmp_path / f"plain{number}.jsonl", rows))
        found = monitor(tmp_path, corpus, f"plain{number}")
    assert [item.change for item in found.changes][:1] == ["appeared"]


def test_unreadable_rows_are_told(tmp_path):
    """Rows that can't be read are counted in a warning, and the others are compared."""
    path = tmp_path / "torn.jsonl"
    path.write_bytes(Path(save_generation(tmp_path, 1)).read_bytes() + b'{"messages": 5}\n')
    events = []
    config = MonitorConfig(corpus=(str(path),), history=str(tmp_path / "history"), name="torn")
    monitored = run_monitor(config, events.append)
    told = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert any("1 row can't be read" in text for text in told)
    assert monitored.generations[0].texts == TEXTS


def test_an_interrupted_generation_is_added_again(folder, tmp_path, results):
    """Counts without their record are replaced by those of the next call."""
    history = tmp_path / "history"
    history.mkdir()
    (history / "0001.parquet").write_bytes(b"half")
    corpus = save_generation(tmp_path, 0, EVERY[0])
    assert monitor(tmp_path, corpus, "gen0").is_new
    expected = (folder / "history" / "0001.parquet").read_bytes()
    assert (history / "0001.parquet").read_bytes() == expected
    assert results[0].is_new
