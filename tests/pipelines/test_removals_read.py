"""Sentences on removed rows: what people read comes before what thresholds promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.certify import carry_over
from pipelines.cli.certify_results import describe_clean
from pipelines.removals_read import (
    describe_clean_removals,
    has_read_removals,
    list_doubtful,
)
from pipelines.runs.wrong_removals import bound_wrong_removals, describe_wrong_removals
from schemas.certificates import Certificate
from schemas.manifests import Conservation, Manifest
from schemas.shares import count_within
from tests.support.certificates import certify_small, decide_small, draw_small, keep_rows

Audited = tuple[Path, Manifest]


@pytest.fixture
def certificate(run: Audited, tmp_path: Path) -> Certificate:
    """Certify the run by true labels: every removed row that was read shows the heron."""
    return certify_small(run[0], tmp_path)


def change(found: Certificate, **values: object) -> Certificate:
    """Return a certificate with other numbers of removed rows, together and for the trait."""
    (trait,) = found.traits
    clean = found.together.clean_removed.model_copy(update=values)
    return found.model_copy(
        update={
            "together": found.together.model_copy(update={"clean_removed": clean}),
            "traits": (trait.model_copy(update={"clean_removed": clean}),),
        }
    )


def doubt(manifest: Manifest) -> Manifest:
    """Return a manifest whose trait fires on no more rows than its bound allows."""
    (rule,) = manifest.thresholds
    return manifest.model_copy(update={"thresholds": (rule.model_copy(update={"bound": 0.9}),)})


def test_without_reading_the_thresholds_bounds_are_the_figure(run, certificate):
    """Neither no certificate nor one for which nobody read a removed row changes the sentence."""
    said = describe_wrong_removals(bound_wrong_removals(run[1]))
    assert said
    assert describe_clean_removals(run[1], None) == said
    unread = change(certificate, read=0, counted=0, bound=1.0)
    assert not has_read_removals(unread)
    assert not has_read_removals(None)
    assert describe_clean_removals(run[1], unread) == said


def test_a_run_without_removed_rows_says_nothing(run, certificate):
    """There is no figure about no rows."""
    kept = run[1].model_copy(
        update={"conservation": Conservation(rows_in=5, by_decision={"keep": 5})}
    )
    assert describe_clean_removals(kept, certificate) == ""


def test_what_people_read_is_the_figure(run, certificate):
    """The number is the certificate's, with its confidence and with what people found."""
    some = change(certificate, rows=8, read=7, counted=2, bound=0.375)
    assert describe_clean_removals(run[1], some) == (
        "wrong removals: at most 3 of 8 removed rows are clean, with 95% confidence; people read "
        "7 of them and found 2 clean"
    )
    assert has_read_removals(some)


def test_a_number_that_is_known_has_no_confidence(run, certificate):
    """If people read all removed rows and were sure, the number isn't a bound."""
    every = change(certificate, rows=8, read=8, counted=1, unsure=0, bound=0.125)
    assert describe_clean_removals(run[1], every) == (
        "wrong removals: 1 of 8 removed rows is clean; people read all of them and found 1 clean"
    )
    unsure = change(every, unsure=1)
    said = describe_clean_removals(run[1], unsure)
    assert said.startswith("wrong removals: at most 1 of 8 removed rows is clean, with 95%")
    assert said.endswith("found 0 clean, 1 unsure (counted as clean)")


def test_rows_that_the_audit_could_not_draw_are_not_counted(run, certificate):
    """Dropped rows have no text to read, so the sentence says which rows it is about."""
    fewer = change(certificate, rows=6, read=6, counted=0, bound=0.0)
    assert "0 of the 6 removed rows that the audit is about (8 were removed) are" in (
        describe_clean_removals(run[1], fewer)
    )


def test_a_carried_figure_names_its_parts_and_is_that_of_certify(run, certificate, tmp_path):
    """Rows of the other run count with its bound, and further ones all; certify says the same."""
    again = tmp_path / "again"
    manifest = decide_small(run[0], again, keep_rows(1, 6))
    found = carry_over(str(again), str(run[0])).certificate
    clean = found.together.clean_removed
    said = describe_clean_removals(manifest, found)
    most = count_within(clean.rows, clean.bound)
    assert f"at most {most:,} of {clean.rows:,} removed rows" in said
    own = clean.carried.count_shared(6)
    assert f"at most {own:,} of 6 rows that run {run[1].run_id} removed too (people read " in said
    assert f"at most {most:,} of {clean.rows:,} removed rows" in describe_clean("any", clean)
    assert "only this run" not in said
    more = clean.carried.model_copy(update={"added": 1})
    said = describe_clean_removals(manifest, change(found, carried=more))
    assert said.endswith("; at most 1 of 1 row that only this run removed")


def test_a_trait_that_people_saw_is_not_doubtful(run, certificate):
    """One read row that shows the trait settles it, and so does reading all of its rows."""
    noisy = doubt(run[1])
    (name,) = list_doubtful(noisy, None)
    fired = noisy.count_fired(name)
    assert list_doubtful(run[1], None) == []
    assert list_doubtful(noisy, certificate) == []
    assert list_doubtful(noisy, change(certificate, read=fired - 1, counted=fired - 1)) == [name]
    assert list_doubtful(noisy, change(certificate, read=fired, counted=fired)) == []
    unread = change(certificate, read=0, counted=0)
    assert list_doubtful(noisy, unread) == [name]
    (statement,) = unread.traits
    for unsure, doubtful in ((0, []), (1, [name])):
        kept = statement.residual.model_copy(update={"counted": 1, "unsure": unsure})
        seen = statement.model_copy(update={"residual": kept})
        assert list_doubtful(noisy, unread.model_copy(update={"traits": (seen,)})) == doubtful


def test_rows_of_another_run_do_not_settle_where_a_trait_fires(run, certificate, tmp_path):
    """Carried labels without the trait are about the rows on which it fired in that run."""
    manifest = doubt(decide_small(run[0], tmp_path / "again", keep_rows(1)))
    found = carry_over(str(tmp_path / "again"), str(run[0])).certificate
    (name,) = list_doubtful(manifest, None)
    fired = manifest.count_fired(name)
    assert list_doubtful(manifest, change(found, read=fired, counted=fired)) == [name]
    assert list_doubtful(manifest, found) == []


def test_a_drawn_sample_alone_changes_nothing(run, tmp_path):
    """Until labels make a certificate, the figure is that of the thresholds."""
    draw_small(run[0], tmp_path)
    assert "people read" not in describe_clean_removals(run[1], None)
