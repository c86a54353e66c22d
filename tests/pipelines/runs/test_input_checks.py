"""Checks of a finished run's input files."""

from pipelines.runs.input_checks import check_inputs


def test_inputs_are_found_by_name_or_by_path(run, corpus, tmp_path):
    """Unchanged inputs have no findings, wherever their folder is."""
    manifest = run[1]
    assert list(check_inputs(manifest)) == list(check_inputs(manifest, str(corpus))) == []
    missing = list(check_inputs(manifest, str(tmp_path / "nowhere")))
    assert [item.problem for item in missing] == ["isn't in this folder"] * len(manifest.inputs)


def test_what_is_not_a_file_cannot_be_read(run, tmp_path):
    """A folder under an input's name is a finding."""
    (file, *_) = run[1].inputs
    (tmp_path / file.name).mkdir(parents=True)
    found = list(check_inputs(run[1].model_copy(update={"inputs": (file,)}), str(tmp_path)))
    assert [item.problem.split(":")[0] for item in found] == ["this input can't be read"]
