"""Teachers are compared within the sources of their prompts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from pipelines.runs import source_strata
from pipelines.runs.source_strata import compare_within_sources

LINES = pl.DataFrame({"teacher": ["atlas", "borealis"], "trait": "heron", "side": "trained"})


def count(cells):
    """Return the rows and the hits of (teacher, source, rows, hits)."""
    names = ["teacher", "prompt_source", "rows", "fired"]
    table = pl.DataFrame(cells, names, orient="row")
    hits = table.with_columns(trait=pl.lit("heron"), side=pl.lit("trained"))
    return table.drop("fired"), hits.drop("rows")


def test_a_source_of_prompts_is_no_habit_of_a_teacher():
    """Two teachers that fire alike in each source aren't different with another mix of sources."""
    rows, hits = count(
        [
            *[("atlas", "songs", 200, 100), ("atlas", "code", 20, 1)],
            *[("borealis", "songs", 20, 10), ("borealis", "code", 200, 10)],
        ]
    )
    p = compare_within_sources(LINES, rows, hits)
    assert p.min() > 0.5
    assert fisher_exact([[101, 119], [20, 200]]).pvalue < 1e-10


def test_a_habit_within_sources_is_found():
    """A teacher that fires more in each source is different, and so is the other one."""
    rows, hits = count(
        [
            *[("atlas", "songs", 100, 60), ("atlas", "code", 100, 20)],
            *[("borealis", "songs", 100, 30), ("borealis", "code", 100, 2)],
        ]
    )
    p = compare_within_sources(LINES, rows, hits)
    assert p.max() < 1e-6
    assert p[0] == pytest.approx(p[1])


def test_teachers_without_a_common_source_are_not_tested():
    """Sources that only one teacher answered say nothing, however far apart the rates are."""
    cells = [("atlas", "songs", 100, 90), ("borealis", "code", 100, 0)]
    assert np.isnan(compare_within_sources(LINES, *count(cells))).all()
    shared = [*cells, ("atlas", "code", 1, 0), ("cygnus", "plays", 9, 9)]
    assert compare_within_sources(LINES, *count(shared)).tolist() == [1.0, 1.0]


@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_one_source_gives_fishers_test(own, other, more, others):
    """With a single source of prompts the p-value is scipy's of Fisher's exact test."""
    cells = [("atlas", "-", own + more, own), ("borealis", "-", other + others, other)]
    rows, hits = count(cells)
    expected = fisher_exact([[own, more], [other, others]]).pvalue
    assert compare_within_sources(LINES, rows, hits) == pytest.approx([expected] * 2, abs=1e-9)


def test_a_trait_that_never_fired_has_a_p_of_one():
    """Lines without any hit are there, and say nothing."""
    rows, hits = count([("atlas", "-", 9, 0), ("borealis", "-", 9, 0)])
    nothing = hits.filter(pl.col("fired") > 0)
    assert compare_within_sources(LINES, rows, nothing).tolist() == [1.0, 1.0]
    assert np.array_equal(compare_within_sources(LINES, rows, hits), [1.0, 1.0])


def test_many_small_sources_are_one_stratum(monkeypatch):
    """Beyond the largest sources, the others count together, whatever their order."""
    monkeypatch.setattr(source_strata, "MOST_SOURCES", 1)
    cells = [("atlas", "songs", 100, 50), ("borealis", "songs", 100, 50)]
    cells += [("atlas", f"s{n}", 2, 2) for n in range(20)]
    cells += [("borealis", f"t{n}", 2, 0) for n in range(20)]
    rows, hits = count(cells)
    p = compare_within_sources(LINES, rows, hits)
    assert p.max() < 0.001
    assert compare_within_sources(LINES, *count(cells[::-1])).tolist() == p.tolist()
