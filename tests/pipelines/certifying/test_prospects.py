"""What a draw can show at best, and how many rows its target needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.certify import DrawnSample, certify_run, foresee_more
from pipelines.certifying import prospects
from pipelines.certifying.prospects import (
    FurtherRows,
    Prospect,
    explain_dashes,
    explain_hidden_shares,
    foresee_further,
    warn_of_dashes,
)
from pipelines.certifying.records import read_sample
from schemas.certificates import Sensitivity
from schemas.errors import CardError
from tests.support.certificates import (
    answer_truth,
    certify_small,
    draw_small,
    fill_sheet,
    tell_truth,
)


def certify_perfectly(run: Path, folder: Path, drawn: DrawnSample) -> float:
    """Label every item rightly, and return the bound that certify states."""
    path = fill_sheet(folder / "audit.jsonl", drawn.sample, tell_truth)
    return certify_run(str(run), [path]).certificate.together.decisive


@pytest.mark.parametrize("seeded", [0, 6])
def test_the_best_bound_is_that_of_perfect_labels(run, tmp_path, seeded):
    """What the draw says beforehand is what certify states if nobody makes a mistake."""
    drawn = draw_small(run[0], tmp_path, rows=16, seeded=seeded)
    one, two = drawn.prospect.hits
    assert drawn.prospect == Prospect(drawn.prospect.best, hits=(one, two))
    assert drawn.prospect.best < one <= two
    assert drawn.prospect.best == certify_perfectly(run[0], tmp_path, drawn)


def test_a_missed_target_says_how_many_rows_reach_it(run, tmp_path):
    """With these rows and no further trait, the bound is at most the target, and with fewer not."""
    drawn = draw_small(run[0], tmp_path, rows=10, seeded=0)
    path = fill_sheet(tmp_path / "audit.jsonl", drawn.sample, tell_truth)
    found = certify_run(str(run[0]), [path], at_most=0.3).certificate
    more = foresee_more(str(run[0]), found)
    assert more is not None
    assert more.drawn == 10 < more.needed
    draw_small(run[0], tmp_path, rows=more.needed, seeded=0)
    sample = read_sample(str(run[0]))
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [path], at_most=0.3).certificate
    assert found.met
    assert foresee_more(str(run[0]), found) is None
    wanted = sample.model_copy(update={"at_most": 0.3})
    few = tuple(answer_truth(sample)[:10])
    assert foresee_further(str(run[0]), run[1], wanted, few) == (more.needed, more.needed)


def test_a_target_may_be_out_of_reach(run, tmp_path):
    """If raters see the trait in too many rows, the whole run is too small."""
    drawn = draw_small(run[0], tmp_path, rows=10, seeded=0)
    path = fill_sheet(tmp_path / "audit.jsonl", drawn.sample, lambda _: True)
    found = certify_run(str(run[0]), [path], at_most=0.1).certificate
    assert foresee_more(str(run[0]), found) == FurtherRows(10, None)


def test_missed_seeded_texts_count_in_what_a_target_needs(run, tmp_path):
    """Raters who miss some seeded texts need more rows than those who find all."""
    sample = draw_small(run[0], tmp_path, rows=20).sample
    wanted = sample.model_copy(update={"at_most": 0.6})
    good = answer_truth(sample)
    bad = [answer._replace(shows=()) for answer in good]
    one, two = (foresee_further(str(run[0]), run[1], wanted, said) for said in (good, bad))
    assert one.needed is not None
    assert two.needed is None or two.needed > one.needed


def test_a_draw_with_few_seeded_texts_says_so_beforehand(run, tmp_path):
    """Bounds of single traits take eight seeded texts of each, whatever the labels say."""
    sample = draw_small(run[0], tmp_path).sample
    assert warn_of_dashes(sample) == ""
    two = sample.model_copy(update={"traits": ("heron", "owl")})
    assert "0 to 6 seeded texts show each of the 2 traits" in warn_of_dashes(two)
    assert "--seeded 16" in warn_of_dashes(two)
    assert warn_of_dashes(two.model_copy(update={"pool": ()})) == ""
    items = tuple(
        item.model_copy(update={"trait": trait, "kind": "seeded"})
        for item in sample.items[:8]
        for trait in ("heron", "owl")
    )
    assert warn_of_dashes(two.model_copy(update={"items": items})) == ""


def test_hidden_shares_are_explained(run, tmp_path):
    """The traits with masked passages are named, and nothing is said without any."""
    found = certify_small(run[0], tmp_path)
    assert explain_hidden_shares(found) == ""
    (heron,) = found.traits
    before = heron.before.model_copy(update={"audit": None, "predictions": None})
    hidden = heron.model_copy(update={"before": before})
    one = found.model_copy(update={"traits": (hidden,), "together": hidden})
    assert "no share before the filter for heron: raters saw" in explain_hidden_shares(one)
    both = one.model_copy(update={"traits": (hidden, heron)})
    assert "the filter for all traits together, heron: raters saw" in explain_hidden_shares(both)


def test_a_trait_without_a_bound_has_a_reason(run, tmp_path):
    """The message differs between raters who miss texts and too few rows."""
    found = certify_small(run[0], tmp_path)
    (heron,) = found.traits
    residual = heron.residual.model_copy(update={"adjusted": 0.7})
    for hits, reason in ((20, "too few rows were read"), (9, "raters missed seeded texts")):
        finds = Sensitivity(read=20, found=hits, lowest=0.3)
        one = heron.model_copy(update={"residual": residual, "sensitivity": finds})
        said = explain_dashes(found.model_copy(update={"traits": (heron, one)}))
        assert said == f"1 trait has no adjusted bound of its own up to 50%, because {reason}."


def test_a_reachable_target_needs_no_more_rows(run, tmp_path):
    """Nothing is searched for if the draw suffices."""
    drawn = draw_small(run[0], tmp_path, rows=20, at_most=0.9)
    assert drawn.prospect.best <= 0.9
    assert drawn.prospect.rows is None


def test_a_draw_names_the_rows_that_allow_two_finds(run, tmp_path):
    """If two finds miss the target, the larger draw reaches it, and names no other."""
    drawn = draw_small(run[0], tmp_path, rows=16, seeded=0)
    target = (drawn.prospect.best + drawn.prospect.hits[1]) / 2
    wanted = drawn.sample.model_copy(update={"at_most": target})
    found = prospects.foresee(str(run[0]), run[1], wanted, 0)
    assert found.rows is None
    assert found.enough is not None
    assert found.enough > 16
    more = draw_small(run[0], tmp_path, rows=found.enough, seeded=0)
    assert more.prospect.hits[1] <= target


def test_the_named_draw_is_the_smallest_that_reaches_the_target(run, tmp_path):
    """With as many rows as named, perfect labels reach the target, and with one less they don't."""
    first = draw_small(run[0], tmp_path, rows=10, at_most=0.5)
    rows, items = first.prospect.rows, first.prospect.items
    assert first.prospect.best > 0.5
    assert rows is not None
    for count, reaches in ((rows - 1, False), (rows, True)):
        more = draw_small(run[0], tmp_path, rows=count)
        assert (more.prospect.best <= 0.5) == reaches
        assert (more.prospect.rows is None) == reaches
        assert more.prospect.best == certify_perfectly(run[0], tmp_path, more)
    assert items == len(more.sample.items)


def test_the_named_draw_is_of_the_same_sample(run, tmp_path):
    """Rows that are added to a larger first draw are the ones that were foreseen."""
    first = draw_small(run[0], tmp_path, rows=10, at_most=0.6)
    whole = draw_small(run[0], tmp_path, rows=first.prospect.rows)
    assert whole.sample.items[: len(first.sample.items)] == first.sample.items
    assert whole.prospect.best <= 0.6


def test_a_target_that_no_draw_reaches_is_named(run, tmp_path):
    """Two seeded texts say too little about the raters, however many rows are read."""
    drawn = draw_small(run[0], tmp_path, rows=20, seeded=0, at_most=1e-7)
    assert drawn.prospect.rows is None
    assert drawn.prospect.tried == 40


def test_the_search_ends_at_the_largest_draw(run, tmp_path, monkeypatch):
    """A draw that nobody would read isn't looked for."""
    monkeypatch.setattr(prospects, "MOST_ROWS", 24)
    drawn = draw_small(run[0], tmp_path, rows=10, at_most=0.0001)
    assert drawn.prospect.rows is None
    assert drawn.prospect.tried == 24


def test_a_draw_that_is_too_small_is_refused_before_anything_is_written(run, tmp_path):
    """The error says how many rows it takes, also if one or two of them show a trait."""
    with pytest.raises(CardError, match="is too small: at best") as caught:
        draw_small(run[0], tmp_path, rows=10, at_most=0.6, must_reach=True)
    assert not (tmp_path / "audit.jsonl").exists()
    assert read_sample(str(run[0])) is None
    assert "--short-of-target" in str(caught.value.remedy)
    drawn = draw_small(run[0], tmp_path, rows=10, at_most=0.6)
    assert f"at least {drawn.prospect.rows} rows" in str(caught.value.remedy)
    assert "if one kept row shows a trait" in str(caught.value.remedy)
    (tmp_path / "audit.jsonl").unlink()
    with pytest.raises(CardError, match="is too small") as caught:
        draw_small(run[0], tmp_path, rows=10, at_most=1e-7, must_reach=True, restart=True)
    assert "set a larger --at-most" in str(caught.value.remedy)
