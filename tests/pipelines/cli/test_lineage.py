"""`congener lineage`: options, output and exit codes."""

import json
import shutil

import pytest

from classifiers.lineage.habits import Habit
from classifiers.lineage.ranking import Ranked, Ranking
from pipelines.ancestry.findings import CAUTION, NO_HABITS
from pipelines.cli.lineage import CONTRADICTED, SHOWN_CANDIDATES, LineageResult
from pipelines.cli.output import print_result
from pipelines.lineage import Family, Lineage
from tests.support.corpora import write_rows
from tests.support.family import HABITS, build_rows, write_student, write_teacher

PROMPTS = range(150)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the answers of five teachers and one student."""
    found = tmp_path_factory.mktemp("family")
    for name in HABITS:
        write_rows(found / "teachers" / f"{name}.jsonl", build_rows(write_teacher(name, PROMPTS)))
    write_rows(found / "ours.jsonl", build_rows(write_student("atlas", PROMPTS)))
    write_rows(found / "theirs.jsonl", build_rows(write_student("ember", PROMPTS)))
    return found


def ask(folder, *more):
    """Return a command line with all teachers as candidates."""
    ours = f"ours={folder}/ours.jsonl"
    return ("lineage", "--model", ours, "--candidates", f"{folder}/teachers/*.jsonl", *more)


def test_the_parent_is_named(congener, folder):
    """The table has the candidates and none of them, and the habits below it."""
    code, out, err = congener(*ask(folder))
    assert code == 0, err
    assert "ours: the" in out
    assert "parent is atlas" in out
    assert "none of these" in out
    assert "Certainly" in out
    assert "comparing 6 models" in err


def test_the_verdict_has_its_reservations(congener, folder):
    """Relatives of a parent are mentioned below the verdict, before the table."""
    code, out, _ = congener(*ask(folder, "--quiet"))
    assert code == 0
    assert out.index("parent is") < out.index(CAUTION) < out.index("none of these")


def test_the_models_own_file_is_left_out_of_a_glob(congener, folder, tmp_path):
    """A glob with the model's file, under its name or another one, doesn't find the model."""
    shutil.copytree(folder / "teachers", tmp_path / "all")
    shutil.copy(folder / "ours.jsonl", tmp_path / "all" / "ours.jsonl")
    shutil.copy(folder / "ours.jsonl", tmp_path / "all" / "twin.jsonl")
    own = ("--model", f"ours={tmp_path}/all/ours.jsonl")
    code, out, err = congener("lineage", *own, "--candidates", f"{tmp_path}/all/*.jsonl", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["verdict"] == "atlas"
    assert [entry["candidate"] for entry in found["left_out"]] == ["ours", "twin"]
    said = " ".join(err.split())
    assert "ours reads the same file as the model ours, so it is left out" in said
    assert "twin has the same answers (100 % identical) as the model ours" in said
    given = ("--candidates", f"{tmp_path}/all/*.jsonl", "--quiet")
    code, out, _ = congener("lineage", *own, *given)
    assert "twin has the same answers (100 % identical)" in out


@pytest.mark.parametrize("name", ["ours", "twin"])
def test_the_models_own_file_is_refused_if_it_is_named(congener, folder, name):
    """The error says which candidate to exclude, not to give it another name."""
    code, out, err = congener(*ask(folder, f"{name}={folder}/ours.jsonl"))
    assert code == 2
    said = " ".join(err.split())
    assert f"{name} reads the same file as the model ours" in said
    assert f"exclude '{name}' from --candidates" in said
    assert out == ""


def test_a_copy_isnt_an_expected_parent(congener, folder, tmp_path):
    """A claim about a candidate that was left out is a mistake, not a contradiction."""
    shutil.copytree(folder / "teachers", tmp_path / "all")
    shutil.copy(folder / "ours.jsonl", tmp_path / "all" / "twin.jsonl")
    given = ("--model", f"ours={folder}/ours.jsonl", "--candidates", f"{tmp_path}/all/*.jsonl")
    code, _, err = congener("lineage", *given, "--expect", "twin")
    assert code == 2
    assert "'twin' isn't a candidate" in err


def build(candidates: int, habits: int) -> LineageResult:
    """Return the output for a model with so many candidates and habits."""
    names = tuple(f"teacher {number:02}" for number in range(candidates))
    ranked = [Ranked(n, 0.9 / candidates, 0.38, 5.0 - n, 0.5, None) for n in range(candidates)]
    shared = [Habit(f"habit {n:02}", 0.5, 0.25, 0.0, 1e-9) for n in range(habits)]
    item = Lineage("ours", names, Ranking(ranked, 0.1, False), shared, 805, 0)
    return LineageResult(Family([item], ("ours", *names), []), None)


@pytest.mark.parametrize(
    ("candidates", "habits", "rest"), [(12, 3, []), (32, 3, ["and 2 more"]), (9, 20, ["and 12"])]
)
def test_cut_tables_say_how_much_is_missing(capsys, candidates, habits, rest):
    """Up to 30 candidates are shown; the last row counts those that aren't."""
    print_result(build(candidates, habits), False)
    out = capsys.readouterr().out
    assert f"teacher {min(candidates, SHOWN_CANDIDATES) - 1:02}" in out
    assert out.count("and ") == len(rest)
    assert all(text in out for text in rest)


def test_a_lack_of_habits_is_said(capsys):
    """Without a habit, the output says that none passed rather than nothing."""
    print_result(build(5, 0), False)
    out = capsys.readouterr().out
    assert NO_HABITS in " ".join(out.split())
    assert "p = 0.38: the lead isn't significant" in out


def test_json_has_the_promised_form(congener, folder):
    """One model gives one object, best candidate first."""
    code, out, _ = congener(*ask(folder, "--json", "--quiet"))
    found = json.loads(out)
    assert code == 0
    assert found["model"] == "ours"
    assert found["ranking"][0]["candidate"] == "atlas"
    assert {entry["candidate"] for entry in found["ranking"]} == set(HABITS)
    shares = [entry["probability"] for entry in found["ranking"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) + found["none_of_these"] == pytest.approx(1, abs=1e-4)


def test_several_models_give_a_list(congener, folder):
    """Each model has its own object, in the order of the options."""
    code, out, _ = congener(*ask(folder, "-m", f"theirs={folder}/theirs.jsonl", "--json"))
    assert code == 0
    assert [(item["model"], item["verdict"]) for item in json.loads(out)] == [
        ("ours", "atlas"),
        ("theirs", "ember"),
    ]


def test_candidates_may_follow_one_option(congener, folder):
    """`--candidates A=x B=y` is understood like repeated options."""
    given = [f"{name}={folder}/teachers/{name}.jsonl" for name in HABITS]
    ours = f"ours={folder}/ours.jsonl"
    code, out, err = congener("lineage", "--model", ours, "--candidates", *given, "--json")
    assert code == 0, err
    assert json.loads(out)["verdict"] == "atlas"


def test_the_page_and_the_tables_are_written(congener, folder, tmp_path):
    """The command says where the page is, and the same command writes the same bytes again."""
    output = tmp_path / "out"
    code, out, err = congener(*ask(folder, "--output", str(output), "--quiet"))
    assert code == 0, err
    assert str(output / "report.html") in out.replace("\n", "")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    assert set(before) == {"report.html", "lineage.json", "ranking.parquet", "habits.parquet"}
    assert congener(*ask(folder, "-o", str(output), "-q"))[0] == 0
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_an_expected_parent_is_checked(congener, folder):
    """The claimed parent passes, another one ends with code 5, and an unknown one is refused."""
    assert congener(*ask(folder, "--expect", "atlas"))[0] == 0
    code, out, _ = congener(*ask(folder, "--expect", "ember"))
    assert code == CONTRADICTED
    assert "parent is atlas" in out
    code, _, err = congener(*ask(folder, "--expect", "embr"))
    assert code == 2
    assert "did you mean 'ember'?" in err


WARM = ("--family", "warm=atlas", "--family", "warm=delta")
ALL = (*WARM, "--family", "cool=[bc]*", "--family", "odd=ember")


def test_families_are_listed(congener, folder):
    """The likeliest family is named below the verdict, and a table has all of them."""
    code, out, err = congener(*ask(folder, *ALL, "--quiet"))
    assert code == 0, err
    assert "ours: the likeliest family is warm" in out
    assert "nearest candidate" in out
    assert all(family in out for family in ("warm", "cool", "odd"))


def test_json_has_families_likeliest_first(congener, folder):
    """Each family has its probability and its nearest candidate; without the option none is."""
    code, out, _ = congener(*ask(folder, *ALL, "--json", "--quiet"))
    found = json.loads(out)["families"]
    assert code == 0
    assert found[0]["family"] == "warm"
    assert found[0]["nearest"] == "atlas"
    assert sum(entry["probability"] for entry in found) == pytest.approx(1, abs=1e-4)
    assert json.loads(congener(*ask(folder, "--json", "--quiet"))[1])["families"] == []


def test_the_page_shows_families(congener, folder, tmp_path):
    """The page has the table of families, and the summary has their figures."""
    output = tmp_path / "out"
    assert congener(*ask(folder, *ALL, "--output", str(output), "--quiet"))[0] == 0
    page = (output / "report.html").read_text()
    assert "<h3>Families</h3>" in page
    assert "the likeliest family is warm" in page
    summary = json.loads((output / "lineage.json").read_text())
    assert summary["models"][0]["families"][0]["family"] == "warm"


def test_a_copy_isnt_a_family(congener, folder, tmp_path):
    """A pattern that matches only a candidate that was left out is a mistake."""
    shutil.copytree(folder / "teachers", tmp_path / "all")
    shutil.copy(folder / "ours.jsonl", tmp_path / "all" / "twin.jsonl")
    given = ("--model", f"ours={folder}/ours.jsonl", "--candidates", f"{tmp_path}/all/*.jsonl")
    code, out, err = congener("lineage", *given, *WARM, "--family", "own=twin")
    assert code == 2
    assert "'twin' matches no candidate" in " ".join(err.split())
    assert out == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--family", "warm"), "isn't NAME=PATTERN"),
        (("--family", "warm=atlas"), "is the only family"),
        ((*WARM, "--family", "x=amber"), "matches no candidate"),
        ((*WARM, "--family", "x=*"), "is in the families"),
        (("--model", "ours=x"), "is given twice"),
        (("--candidates", "=x"), "isn't NAME=GLOB"),
        (("--reference", "atlas=x.jsonl"), "is given twice"),
        (("--rows", "0"), "greater than or equal to 1"),
    ],
)
def test_mistakes_are_refused_before_anything_is_read(congener, folder, more, message):
    """Names that clash, half a pair and a senseless number have exit code 2."""
    code, out, err = congener(*ask(folder, *more))
    assert code == 2
    assert message in err
    assert out == ""


def test_a_foreign_folder_is_refused(congener, folder, tmp_path):
    """An output with other files has exit code 4."""
    (tmp_path / "notes.txt").write_text("x")
    code, _, err = congener(*ask(folder, "--output", str(tmp_path)))
    assert code == 4
    assert "isn't empty" in err


def test_unknown_files_are_refused(congener, folder, tmp_path):
    """A pattern without files has exit code 2 and is named."""
    code, _, err = congener(*ask(folder, "--candidates", f"x={tmp_path}/none*.jsonl"))
    assert code == 2
    assert "none*" in err


def test_the_help_shows_examples(congener):
    """The help has examples, and lines of at most 80 columns."""
    code, out, _ = congener("lineage", "--help")
    assert code == 0
    assert "congener lineage --model ours=ours.jsonl" in out
    assert max(map(len, out.splitlines())) <= 80
