"""What `congener certify` prints: sentences, tables and dashes."""

from __future__ import annotations

import pytest

from pipelines.certify import certify_run, find_clean_rows, find_shown_rows
from pipelines.cli.certify_results import (
    CertificateResult,
    DrawResult,
    describe_clean,
    describe_estimate,
    describe_figure,
    describe_residual,
    tabulate_residual,
)
from schemas.certificates import (
    MASKS_COUNT_AS_REMOVED,
    Certificate,
    Prevalences,
    Sensitivity,
    ShareBound,
    ShareEstimate,
)
from schemas.shares import format_bound
from tests.support.certificates import draw_small, fill_sheet, tell_truth


@pytest.mark.parametrize("masked", [0, 3])
def test_the_figure_to_sign_comes_first(run, tmp_path, masked):
    """The first line is the figure with its confidence and conditions, the second its files."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [sheet])[0].model_copy(update={"masked": masked})
    result = CertificateResult(found, files=("my run/a.json", "run/index.html"))
    figure, written, sentence, *_ = map(str, result.render())
    residual, bound = found.together.residual, format_bound(found.together.decisive)
    kept = f"{residual.rows:,} kept rows show heron, with 95% confidence"
    ends = ", if the trainer applies the masks" if masked else ""
    assert figure == f"to sign: at most {bound} of the {kept}{ends}"
    assert written == "written in 'my run/a.json' and in run/index.html"
    assert sentence.startswith("With 95% confidence, at most")
    assert result.to_json()["files"] == ("my run/a.json", "run/index.html")
    assert "written" not in "".join(map(str, CertificateResult(found).render()))[:200]


def test_a_figure_without_seeded_texts_is_what_raters_see(run, tmp_path):
    """Several traits are counted, and without seeded texts the figure says what it is about."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = widen(certify_run(str(run[0]), [sheet])[0])
    residual = found.together.residual.model_copy(update={"adjusted": None})
    together = found.together.model_copy(update={"residual": residual})
    said = describe_figure(found.model_copy(update={"together": together}))
    assert said.endswith("any of the 2 traits, with 95% confidence, as far as raters see it")


def test_estimates_are_rounded_outwards():
    """An estimate without data is a dash."""
    assert describe_estimate(None) == "-"
    found = ShareEstimate(estimate=0.0123, low=0.00119, high=0.02001)
    assert describe_estimate(found) == "1.23% (0.11% to 2.01%)"


def test_the_statement_names_its_traits(run, tmp_path):
    """A sentence about several traits says which ones it is about."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [sheet])[0]
    assert "kept rows show heron." in next(describe_residual(found))
    owl = found.traits[0].model_copy(update={"trait": "owl"})
    several = found.model_copy(update={"traits": (*found.traits, owl)})
    assert "show any of the 2 traits of the audit (heron, owl)." in next(describe_residual(several))


@pytest.mark.parametrize(
    ("unread", "rows"), [(1, "1 dropped row isn't"), (9, "9 dropped rows aren't")]
)
def test_shares_before_the_filter_name_the_rows_that_they_leave_out(run, tmp_path, unread, rows):
    """A certificate of a run that dropped rows says beside its table whom "before" leaves out."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [sheet])[0]
    said = [str(part) for part in CertificateResult(found).render() if isinstance(part, str)]
    assert not [part for part in said if part.startswith("before:")]
    dropped = CertificateResult(found.model_copy(update={"unread": unread}))
    (line,) = [str(part) for part in dropped.render() if str(part).startswith("before:")]
    assert f"{rows} among them" in line
    assert dropped.to_json()["unread"] == unread


def test_removed_rows_that_are_not_held_are_not_called_unread():
    """A run that holds no removed row has none to read."""
    none = ShareBound(rows=0, read=0, counted=0, unsure=0, estimate=0.0, bound=1.0)
    assert describe_clean("owl", none) == "owl: the run holds no removed row that could be read"
    some = none.model_copy(update={"rows": 7})
    assert describe_clean("owl", some) == "owl: none of the 7 removed rows was read"
    one = none.model_copy(update={"rows": 1})
    assert describe_clean("owl", one) == "owl: the only removed row wasn't read"


@pytest.mark.parametrize("masked", [None, 0, 3])
def test_the_condition_of_masked_rows_is_in_the_sentence(run, tmp_path, masked):
    """The bound holds only if the trainer applies the masks, and says so if there are any."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [sheet])[0].model_copy(update={"masked": masked})
    assert (MASKS_COUNT_AS_REMOVED in next(describe_residual(found))) == bool(masked)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((2, 2, 0, 0), "owl: 0 of 2 removed rows are clean; all of them were read"),
        (
            (9, 3, 1, 0),
            "owl: 1 of 3 removed rows that were read is clean, so at most 3 of the 9 are (33.34%)",
        ),
        (
            (3, 3, 3, 1),
            "owl: of 3 removed rows, 2 clean, 1 unsure (counted as clean); all of them were read",
        ),
        (
            (9, 1, 1, 1),
            "owl: of 1 removed row that was read, 0 clean, 1 unsure (counted as clean), so at",
        ),
        (
            (9, 3, 3, 2),
            "owl: of 3 removed rows that were read, 1 clean, 2 unsure (counted as clean), so at",
        ),
    ],
)
def test_removed_rows_that_were_all_read_have_no_bound(counts, words):
    """With all rows read, the share is known."""
    rows, read, counted, unsure = counts
    found = ShareBound(
        rows=rows, read=read, counted=counted, unsure=unsure, estimate=0.0, bound=0.4
    )
    said = describe_clean("owl", found)
    assert said.startswith(words)
    assert ("so at most" in said) == (read < rows)


@pytest.mark.parametrize(
    ("statement", "words"),
    [("stays", "stays until the next statement"), ("removed", "certificate was removed"), ("", "")],
)
def test_a_draw_says_what_becomes_of_the_certificate(run, tmp_path, statement, words):
    """It stays when rows are added, and a new sample removes it."""
    drawn = draw_small(run[0], tmp_path)._replace(statement=statement)
    said = [str(part) for part in DrawResult(str(run[0]), drawn).render()]
    found = [part for part in said if part.startswith("the run's certificate")]
    assert bool(found) == bool(words)
    assert all(words in part for part in found)


def widen(found: Certificate) -> Certificate:
    """Add a trait that removed nothing, of which two seeded texts were read, and no row shows."""
    (heron,) = found.traits
    nothing = ShareEstimate(estimate=0.0, low=0.0, high=0.1)
    shares = Prevalences(rogan_gladen=None, predictions=None, audit=nothing)
    residual = heron.residual.model_copy(update={"adjusted": 1.0})
    removed = ShareBound(rows=0, read=0, counted=0, unsure=0, estimate=0.0, bound=1.0)
    owl = heron.model_copy(
        update={
            "trait": "owl",
            "residual": residual,
            "sensitivity": Sensitivity(read=2, found=2, lowest=0.07),
            "clean_removed": removed,
            "before": shares,
            "after": shares,
        }
    )
    return found.model_copy(update={"traits": (heron, owl)})


def test_traits_without_a_bound_have_a_dash_and_what_it_takes(run, tmp_path):
    """Two seeded texts say too little about a trait, and the output says how many it takes."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = widen(certify_run(str(run[0]), [sheet])[0])
    heron, owl = found.traits
    assert tabulate_residual(owl, several=True)[-1] == "-"
    assert tabulate_residual(owl)[-1] == "100.00%"
    assert tabulate_residual(heron, several=True)[-1] != "-"
    said = [part for part in CertificateResult(found).render() if isinstance(part, str)]
    (line,) = [part for part in said if part.startswith("1 trait has no adjusted bound")]
    assert "only 2 seeded texts of each were read. 8 of each, all found" in line
    assert line.endswith("--seeded 16 with the draw of the next audit.")


def test_lines_that_say_nothing_are_left_out(run, tmp_path):
    """A trait at 0.00% has no lines in the table, and one that removed nothing has no sentence."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    parts = list(CertificateResult(widen(certify_run(str(run[0]), [sheet])[0])).render())
    said = [part for part in parts if isinstance(part, str)]
    assert "1 trait at 0.00% before and after: --json lists them" in said
    assert not [part for part in said if part.startswith("owl:")]
    assert [part for part in said if part.startswith("heron: 0 of 4 removed rows")]


def test_rows_that_show_a_trait_are_named_after_the_statement(run, tmp_path):
    """The terminal names the first ones, and --json all; the published certificate has none."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, lambda item: True)
    found = certify_run(str(run[0]), [sheet])[0]
    rows = find_shown_rows(str(run[0]))
    assert len(rows) == found.together.residual.counted
    result = CertificateResult(found, shown=rows * 2)
    said = [str(part) for part in result.render()]
    taken = f'{{row: "{rows[0].source}:{rows[0].row}", trait: heron, action: quarantine, reason'
    start = f"{2 * len(rows)} kept rows count as showing a trait; a policy takes one out by {taken}"
    assert [part for part in said if part.startswith(start)]
    assert f"  {rows[0].describe()}" in said
    assert f"  {2 * len(rows) - 20} rows more: --json lists them" in said
    assert result.to_json()["shown"][0]["item"] == rows[0].item
    assert b'"shown"' not in found.to_bytes()


def test_removed_rows_without_a_trait_are_named_after_the_statement(run, tmp_path):
    """They are listed as the kept ones are, with an exception that keeps one."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, lambda item: False)
    found = certify_run(str(run[0]), [sheet])[0]
    rows = find_clean_rows(str(run[0]))
    assert len(rows) == found.together.clean_removed.counted > 1
    result = CertificateResult(found, clean=rows)
    said = [str(part) for part in result.render()]
    kept = f'{{row: "{rows[0].source}:{rows[0].row}", action: keep, reason: WHY}}'
    start = said.index(f"{len(rows)} removed rows show no trait; a policy keeps one by {kept}:")
    assert said[start + 1] == f"  {rows[0].describe()}"
    assert result.to_json()["clean"][0]["item"] == rows[0].item
    assert not any(
        "removed rows show no" in str(part) for part in CertificateResult(found).render()
    )


def test_a_larger_draw_says_what_it_added(run, tmp_path):
    """The file has the items of both draws."""
    draw_small(run[0], tmp_path, rows=10)
    drawn = draw_small(run[0], tmp_path, rows=20)
    said = [str(part) for part in DrawResult(str(run[0]), drawn).render()]
    words = f"{len(drawn.added)} items added to {drawn.path}, {len(drawn.sample.items)} in the file"
    assert any(part.startswith(words) for part in said)
