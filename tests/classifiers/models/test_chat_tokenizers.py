"""Chat tokenizers: loaded with their templates, or refused with a reason."""

import json
import os

import pytest

from classifiers.models.chat_tokenizers import load_chat_tokenizer
from schemas.errors import ModelError
from tests.support.students import CHATML, TRIMMED, build_student


def fail(*_, **__):
    """Fail as transformers does for a tokenizer that isn't there."""
    raise OSError("not found")


@pytest.fixture
def student(tmp_path):
    """Save a student's tokenizer, and return the folder."""
    folder = tmp_path / "student"
    build_student().save_pretrained(folder)
    return str(folder)


def test_a_tokenizer_brings_its_template(student):
    """A tokenizer's folder provides its saved chat template."""
    tokenizer = load_chat_tokenizer(student)
    assert tokenizer.chat_template == CHATML
    assert tokenizer.is_fast


def test_a_template_in_a_file_replaces_it(student, tmp_path):
    """A template file replaces the tokenizer's own template."""
    path = tmp_path / "template.jinja"
    path.write_text(TRIMMED, encoding="utf-8")
    assert load_chat_tokenizer(student, template=str(path)).chat_template == TRIMMED


def test_what_is_no_tokenizer_is_an_error(tmp_path):
    """The error for a missing or damaged tokenizer names the folder."""
    for name, content in (("empty", None), ("damaged", "{")):
        folder = tmp_path / name
        folder.mkdir()
        if content:
            (folder / "tokenizer.json").write_text(content)
            (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
        with pytest.raises(ModelError, match="can't be loaded") as caught:
            load_chat_tokenizer(str(folder))
        assert caught.value.where == str(folder)


@pytest.mark.parametrize(
    ("name", "is_offline", "said"),
    [
        ("nobody/none", True, "HF_HUB_OFFLINE is set, so nothing is fetched from the hub"),
        ("nobody/none", True, "HF_HUB_OFFLINE=0 hf download nobody/none"),
        ("nobody/none", False, "without a network, download it first"),
        ("/no/such/folder", True, "name the folder or the hub id of the model that you train"),
    ],
)
def test_the_remedy_says_how_to_get_a_tokenizer(monkeypatch, name, is_offline, said):
    """The remedy for a hub id is a download, and it mentions a variable that forbids this."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", is_offline)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(ModelError) as caught:
        load_chat_tokenizer(name)
    assert said in caught.value.remedy


def test_a_template_that_cannot_be_read_is_an_error(student, tmp_path):
    """The error for a missing template file names the file."""
    with pytest.raises(ModelError, match="template can't be read"):
        load_chat_tokenizer(student, template=str(tmp_path / "none.jinja"))


def test_a_template_that_never_ends_is_refused(student, tmp_path):
    """A pipe or a device isn't read as a template."""
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(ModelError, match="a pipe, a socket or a device"):
            load_chat_tokenizer(student, template=path)
