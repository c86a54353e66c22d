"""`congener audit`: the tables, JSON and exit codes."""

import json
from pathlib import Path

import pytest

from pipelines.cli.audit import (
    EXPLAINED_SHOWN,
    FOUND,
    LONGEST_SHOWN,
    OVER,
    SHOWN,
    choose_shown,
    explain_unshown,
    name_finding,
    shorten,
    tabulate_findings,
)
from tests.support.audits import FINDING, write_equal_pair, write_pair


def name_arguments(folder: Path, pair: tuple[str, str]) -> tuple[str, ...]:
    """Return the arguments of an audit."""
    return (
        "audit",
        *("--corpus", pair[0], "--reference", pair[1], "--output", str(folder / "audit")),
    )


def test_a_difference_is_exit_code_1(congener, tmp_path):
    """The verdict, the views and the findings are printed within 80 columns."""
    code, out, err = congener(*name_arguments(tmp_path, write_pair(tmp_path)))
    assert code == FOUND == 1
    assert "the corpus differs from the reference" in out
    assert "length and format alone" in out
    assert "Mind the gap" in out
    shown = " ".join(out.split())
    assert "told apart by: the chance that a text, or a bag of 4, 16 or 64 texts, looks" in shown
    assert "format: the reference's rate if its texts were as long" in shown
    lines = [line for line in out.splitlines() if "/audit" not in line]
    assert max(map(len, lines)) <= 80
    assert "both answer the same prompts" in err


def test_no_difference_is_exit_code_0(congener, tmp_path):
    """What would have been found is stated where nothing was."""
    code, out, _ = congener(*name_arguments(tmp_path, write_equal_pair(tmp_path)))
    assert code == 0
    assert "isn't shown to differ" in out
    assert "would have shown a difference from an AUROC of" in out
    assert "and none of the reference's would have been found" in out
    assert "told apart by" not in out
    assert "over-represented" not in out


def test_json_has_the_verdict_and_the_findings(congener, tmp_path):
    """The JSON is what the audit wrote, with the promised fields."""
    code, out, _ = congener(*name_arguments(tmp_path, write_pair(tmp_path)), "--json", "--quiet")
    assert code == 1
    found = json.loads(out)
    assert found["differs"] is True
    assert found["p_value"] < 0.05
    first = found["findings"][0]
    assert set(first) >= {"kind", "text", "rate_corpus", "rate_reference", "q_value"}
    assert "Mind the gap" in first["text"]
    written = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert written == found


def test_the_card_that_is_offered_can_be_written(congener, tmp_path):
    """The last line names a finding that can become a card, the first that a reader knows."""
    code, out, _ = congener(*name_arguments(tmp_path, write_pair(tmp_path)))
    assert code == 1
    number = int(out.split("--finding ")[1].split()[0])
    findings = json.loads((tmp_path / "audit" / "audit.json").read_text())["findings"]
    kinds = [item["kind"] for item in findings]
    assert kinds[number - 1] != "grammar"
    assert set(kinds[: number - 1]) <= {"grammar"}
    card = ("traits", "from-audit", str(tmp_path / "audit"), "--finding", str(number))
    assert congener(*card, "--output", str(tmp_path / "gap"))[0] == 0


def test_differences_that_may_be_of_format_are_marked():
    """The terminal marks them as the page does, and says their q among texts of like format."""
    shown, other = FINDING, FINDING._replace(beyond_format=False, adjusted_q_value=0.243)
    table = tabulate_findings([shown, other], OVER)
    assert [*table.columns[5].cells] == ["1.0%", "1.0%*"]
    assert list(explain_unshown([shown])) == []
    assert list(explain_unshown([shown, other])) == [
        "*: not shown among texts of like length, format and difficulty, where q is",
        "0.24; there may be too few such texts to show a difference of this size.",
    ]
    last = list(explain_unshown([other, other._replace(adjusted_q_value=0.9)]))[-1]
    assert last.startswith("0.24 to 0.9; ")
    assert len(last) <= 80


def test_a_finding_of_one_teacher_names_it():
    """A habit of a teacher that the reference lacks isn't taken for one of the whole corpus."""
    lots = (FINDING.lots[0], FINDING.lots[0]._replace(value="owl\x1b", documents=0, texts=900))
    assert name_finding(FINDING) == "Mind the gap"
    assert name_finding(FINDING._replace(lots=lots)) == "Mind the gap (atlas)"
    assert "\x1b" not in name_finding(FINDING._replace(lots=(lots[1]._replace(documents=9),) * 2))


def test_few_findings_of_format_are_printed():
    """After those beyond format come five at most that a reader knows, with their own numbers."""
    beyond, plain = FINDING, FINDING._replace(text="the")
    explained = FINDING._replace(beyond_format=False)
    small = plain._replace(beyond_format=False)
    assert choose_shown([beyond] * 30) == [beyond] * SHOWN
    found = [beyond, plain, *[explained] * 9, small]
    assert choose_shown(found) == found[: 2 + EXPLAINED_SHOWN]
    assert choose_shown([beyond, explained, small]) == [beyond, explained]
    assert choose_shown([small] * 9) == [small] * EXPLAINED_SHOWN
    assert choose_shown([]) == []


@pytest.mark.parametrize("missing", ["--corpus", "--reference", "--output"])
def test_all_paths_are_needed(congener, tmp_path, missing):
    """Without one of the paths the command says which are needed."""
    arguments = list(name_arguments(tmp_path, ("a", "b")))
    place = arguments.index(missing)
    code, _, err = congener(*arguments[:place], *arguments[place + 2 :])
    assert code == 2
    assert "--corpus, --reference and --output are needed" in err


def test_a_missing_file_is_reported_at_once(congener, tmp_path):
    """A path that matches nothing is an error with exit code 2."""
    code, _, err = congener(*name_arguments(tmp_path, (f"{tmp_path}/none", f"{tmp_path}/no")))
    assert code == 2
    assert "matches no file" in err


def test_a_folder_of_other_files_is_refused(congener, tmp_path):
    """A folder that holds other files isn't written to."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "mine.txt").write_text("x")
    code, _, err = congener(*name_arguments(tmp_path, write_equal_pair(tmp_path, 20)))
    assert code == 4
    assert "isn't empty" in err


def test_a_teacher_can_be_named(congener, tmp_path):
    """How the corpus is read can be set, and a wrong column is an error."""
    arguments = name_arguments(tmp_path, write_equal_pair(tmp_path, 20))
    code, _, err = congener(*arguments, "--column", "messages=none")
    assert code == 2
    assert "none" in err


def test_the_help_has_an_example(congener):
    """The help shows how the command is called and what its exit codes mean."""
    code, out, _ = congener("audit", "--help")
    assert code == 0
    assert "congener audit --corpus" in out
    assert "Exit code 1" in out


def test_long_texts_are_shortened():
    """A long finding is cut with a sign, and a short one stays."""
    assert shorten("heron") == "heron"
    assert len(shorten("x" * 100)) == LONGEST_SHOWN
    assert shorten("x" * 100).endswith("…")
    assert SHOWN > 0


def test_an_encoder_can_be_chosen(congener, tmp_path):
    """With --encoder the vectors' view is printed, and an unknown encoder is an error."""
    arguments = name_arguments(tmp_path, write_equal_pair(tmp_path))
    code, out, err = congener(*arguments, "--encoder", "default")
    assert code == 0, err
    assert "the encoder's vectors" in out
    code, _, err = congener(*arguments, "--encoder", str(tmp_path / "none"))
    assert code == 2
    assert "none" in err
