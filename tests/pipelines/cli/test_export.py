"""`congener export`: options and output."""

import json

import pytest

from pipelines.cli.export import is_folder, read_links
from schemas.errors import CardError


@pytest.fixture
def finished_run(run):
    """Return the path of a finished run."""
    return str(run[0])


def test_all_papers_go_into_a_folder(congener, finished_run, tmp_path):
    """Each path is printed with the number of its gaps."""
    code, out, err = congener("export", finished_run, "--output", str(tmp_path / "papers"))
    assert code == 0, err
    names = [line.partition("   ")[0].rpartition("/")[2] for line in out.splitlines()[:-1]]
    found = {path.name for path in (tmp_path / "papers").iterdir()}
    assert found == {*names, "papers.json"}
    assert "croissant.json   (5 to be filled in)" in out
    assert "openlineage.jsonl\n" in out
    assert out.splitlines()[-1].startswith("what is to be filled in is marked")


def test_one_paper_goes_into_a_file(congener, finished_run, tmp_path):
    """A single format is written to the given name, with what the options say."""
    path = tmp_path / "card.md"
    code, out, err = congener(
        *("export", finished_run, "-f", "card", "-o", str(path), "--license", "apache-2.0"),
        *("--title", "Herons", "--provider", "Me", "--description", "Birds."),
        *("--generator", "atlas=https://example.com/a", "--generator", "borealis=see below"),
    )
    assert code == 0, err
    assert out.strip() == str(path)
    text = path.read_text()
    assert "license: apache-2.0" in text
    assert "TO BE FILLED IN" not in text


def test_one_paper_goes_into_a_folder_that_exists(congener, finished_run, tmp_path):
    """In a folder, a single paper has its usual name."""
    code, _, err = congener("export", finished_run, "-f", "in-toto", "-o", str(tmp_path))
    assert code == 0, err
    assert (tmp_path / "provenance.intoto.json").is_file()


def test_json_lists_papers_and_gaps(congener_json, finished_run, tmp_path):
    """`--json` has every path with its gaps."""
    found = congener_json("export", finished_run, "-o", str(tmp_path / "p"), "-f", "croissant")
    assert found == {"run": finished_run, "papers": {str(tmp_path / "p"): 5}}
    assert json.loads((tmp_path / "p").read_bytes())["@type"] == "sc:Dataset"


@pytest.mark.parametrize("arguments", [(), ("-f", "card")])
def test_a_run_is_not_written_into(congener, finished_run, arguments):
    """A run's folder is refused, because `verify` would find foreign files there."""
    code, _, err = congener("export", finished_run, "-o", f"{finished_run}/papers", *arguments)
    assert code == 4
    assert "finished run" in err
    assert congener("verify", finished_run)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "--output is needed"),
        (("-o", "x", "-f", "pdf"), "there is no format 'pdf'"),
        (("-o", "x", "--generator", "atlas"), "isn't a name and an address"),
    ],
)
def test_mistakes_have_a_remedy(congener, finished_run, arguments, problem, tmp_path, monkeypatch):
    """A wrong option ends with exit code 2 and says what helps."""
    monkeypatch.chdir(tmp_path)
    code, _, err = congener("export", finished_run, *arguments)
    assert code == 2
    assert problem in err
    assert "remedy: " in err


def test_links_may_have_signs_of_equality():
    """Only the first sign of equality ends the name."""
    assert read_links(["a=https://x?y=z"]) == {"a": "https://x?y=z"}
    with pytest.raises(CardError):
        read_links(["=x"])


def test_folders_are_known_by_their_end(tmp_path):
    """A path with a slash at its end is a folder, whether it exists or not."""
    assert is_folder("new/")
    assert is_folder(str(tmp_path))
    assert not is_folder(str(tmp_path / "README.md"))


@pytest.mark.parametrize("option", ["--title", "--license", "--provider", "--url", "--description"])
def test_texts_that_are_not_utf8_are_refused(congener, finished_run, tmp_path, option):
    """Bytes of another encoding on the command line are an error with the option's name."""
    code, _, err = congener("export", finished_run, "-o", str(tmp_path / "p"), option, "caf\udce9")
    assert code == 2
    assert f"{option}: isn't UTF-8" in err
    assert not (tmp_path / "p").exists()


def test_a_tokenizer_of_the_hub_is_pinned(congener, run, tmp_path):
    """Without a commit, the error says which option gives it, and nothing is written."""
    output = tmp_path / "papers"
    given = ("--output", str(output), "--tokenizer", "someone/model")
    code, _, err = congener("export", str(run[0]), *given)
    assert code == 2
    assert "--tokenizer-revision" in err
    assert not output.exists()
