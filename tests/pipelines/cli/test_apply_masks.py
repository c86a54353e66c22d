"""`congener apply-masks`: its output and its errors."""

from tests.support.students import build_student


def test_tokens_are_written_and_counted(congener, congener_json, run, tmp_path):
    """The counts are printed as text and as JSON."""
    build_student().save_pretrained(tmp_path / "student")
    options = ("--tokenizer", str(tmp_path / "student"))
    code, out, err = congener("apply-masks", str(run[0]), "-o", str(tmp_path / "a"), *options)
    assert code == 0, err
    assert "32 rows as tokens" in out
    assert f'tokenized_path: "{tmp_path / "a"}"' in out
    found = congener_json("apply-masks", str(run[0]), "-o", str(tmp_path / "b"), *options)
    assert found["rows"] == {"train": 32}
    assert found["output"] == str(tmp_path / "b")


def test_parquet_files_are_for_runs(congener, run, tmp_path):
    """--parquet writes files that load_dataset reads, and is refused for an arm of a trial."""
    build_student().save_pretrained(tmp_path / "student")
    words = ("-o", str(tmp_path / "a"), "--tokenizer", str(tmp_path / "student"), "--parquet")
    code, out, err = congener("apply-masks", str(run[0]), *words)
    assert code == 0, err
    assert f"load_dataset('{tmp_path / 'a'}', split='train')" in out
    code, _, err = congener("apply-masks", "trial", "--arm", "swap", *words)
    assert (code, "--parquet" in err) == (2, True)


def test_a_run_that_does_not_exist_exits_with_four(congener):
    """A missing folder gives exit code 4."""
    code, _, err = congener("apply-masks", "nowhere", "-o", "out", "--tokenizer", "student")
    assert code == 4
    assert "nowhere" in err
