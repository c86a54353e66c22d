"""Words of a command as a shell reads them back."""

import shutil
import subprocess

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.display.shell_words import quote_word

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def test_plain_words_are_as_shlex_quotes_them():
    """A word that is seen whole needs no code."""
    assert quote_word("run/") == "run/"
    assert quote_word("my run") == "'my run'"


@settings(max_examples=25, deadline=None)
@given(WORDS)
@example("a\u202eb'c\\")
@example("\x1b[2J")
def test_bash_reads_the_word_back(word):
    """Bash reads every word as it was, and no hidden character is in the command."""
    quoted = quote_word(word)
    assert "\x1b" not in quoted
    assert "\u202e" not in quoted
    bash = shutil.which("bash")
    command = [bash, "-c", f"printf %s {quoted}"]
    read = subprocess.run(command, capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert read.stdout == word.encode()
