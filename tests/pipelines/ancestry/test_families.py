"""Families of candidates by the patterns of their names."""

import numpy as np
import pytest

from pipelines.ancestry.families import Families, list_shares, sort_families
from schemas.errors import CardError

CANDIDATES = ("gpt-4", "gpt-4o", "davinci", "claude-3", "llama")


def test_patterns_sort_candidates():
    """A family may have several patterns, and a candidate may have no family."""
    found = sort_families(["OpenAI=gpt*", "Anthropic=claude*", "OpenAI=davinci"], CANDIDATES)
    assert found.names == ("OpenAI", "Anthropic")
    assert found.of_candidate.tolist() == [0, 0, 0, 1, -1]


def test_no_pattern_is_no_family():
    """Without the option no candidate has a family."""
    found = sort_families([], CANDIDATES)
    assert found.names == ()
    assert (found.of_candidate == -1).all()


def test_a_candidate_may_match_two_patterns_of_one_family():
    """Patterns of the same family may overlap, and blanks around a name don't count."""
    found = sort_families(["OpenAI = gpt*", "OpenAI=*4*", "Anthropic=claude-3"], CANDIDATES)
    assert found.of_candidate.tolist() == [0, 0, -1, 1, -1]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["gpt*", "Anthropic=claude*"], "isn't NAME=PATTERN"),
        (["=gpt*", "Anthropic=claude*"], "isn't NAME=PATTERN"),
        (["OpenAI=", "Anthropic=claude*"], "isn't NAME=PATTERN"),
        (["OpenAI=gpt*", "Google=gemini*"], "'gemini\\*' matches no candidate"),
        (["OpenAI=GPT*", "Anthropic=claude*"], "matches no candidate"),
        (["OpenAI=gpt*", "New=gpt-4o"], "'gpt-4o' is in the families 'OpenAI' and 'New'"),
        (["OpenAI=gpt*", "OpenAI=davinci"], "'OpenAI' is the only family"),
    ],
)
def test_mistakes_are_refused(given, problem):
    """Half a pair, a pattern without a match, a clash and a single family are mistakes."""
    with pytest.raises(CardError, match=problem) as error:
        sort_families(given, CANDIDATES)
    assert error.value.where == "--family"
    assert error.value.remedy


def test_families_are_listed_by_probability():
    """Each family comes with its nearest candidate, and equal ones keep their order."""
    families = Families(("a", "b", "c"), np.array([0, 1, 1, 2, -1]))
    evidence = np.array([1.0, 3.0, 5.0, 0.0, 9.0])
    found = list_shares(families, np.array([0.2, 0.6, 0.2]), evidence, CANDIDATES)
    assert [share.family for share in found] == ["b", "a", "c"]
    assert [share.nearest for share in found] == ["davinci", "gpt-4", "claude-3"]
    assert found[0].probability == pytest.approx(0.6)
