"""Carrying a certificate over: the bounds, the rows that count, and which runs are refused."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.certify import carry_over
from pipelines.certifying.carrying import (
    are_covered,
    carry_bound,
    carry_certificate,
    compare_rows,
    find_unmasked,
    require_same_rows,
    restate_bound,
)
from pipelines.certifying.checks import find_origin
from pipelines.certifying.histories import describe_carried
from pipelines.runs.manifest_file import load_manifest
from pipelines.verify import verify_run
from schemas.certificates import TOGETHER, ShareBound
from schemas.errors import RunError
from schemas.shares import count_within, to_exact
from tests.support.certificates import certify_small, decide_small, keep_rows

MASK, FLAG = "traits: {heron: {action: mask}}\n", "traits: {heron: {action: flag}}\n"


def build_bound(rows: int, bound: float, adjusted: float | None = None) -> ShareBound:
    """Return a bound on a share of rows."""
    return ShareBound(
        rows=rows, read=9, counted=1, unsure=0, estimate=0.1, bound=bound, adjusted=adjusted
    )


@pytest.fixture
def folder(run, tmp_path):
    """Certify the small run, of whose 40 rows it keeps 32, and return its folder."""
    certify_small(run[0], tmp_path)
    return run[0]


def test_a_bound_is_carried_over_by_hand():
    """Of 700 rows at most 2.5 % are 17; with 3 new rows, 20 of 690 kept rows are 2.898551 %."""
    found = carry_bound(build_bound(700, 0.025, 0.05), 690, 3)
    assert found.carried is not None
    assert (found.carried.seen, found.carried.most, found.carried.added) == (17, 35, 3)
    assert (found.bound, found.adjusted) == (0.028986, 0.055073)  # 20/690 and 38/690, rounded up
    assert (found.rows, found.carried.rows, found.carried.decisive) == (690, 700, 35)
    assert (found.read, found.counted) == (9, 1)
    assert restate_bound(found) == found


def test_a_count_is_exact():
    """29 % of 100 rows are 29 rows, although the product of the floats is below 29."""
    found = carry_bound(build_bound(100, 0.29), 100, 0)
    assert found.carried is not None
    assert (found.carried.seen, found.bound, found.adjusted) == (29, 0.29, None)


def test_rows_that_leave_do_not_lower_the_count():
    """Nobody knows that a row that left showed the trait, so the share rises."""
    assert carry_bound(build_bound(100, 0.05), 50, 0).bound == 0.1
    assert carry_bound(build_bound(100, 0.05), 4, 0).bound == 1
    assert carry_bound(build_bound(100, 0.05), 0, 0).bound == 1


ROWS = st.sets(st.integers(0, 60), min_size=1)


@given(ROWS, ROWS, st.sets(st.integers(0, 60)), st.floats(0, 1))
def test_a_carried_bound_holds_whatever_is_chosen(before, after, bad, slack):
    """If a bound holds for one set of rows, the carried one holds for any other set of rows."""
    share = len(before & bad) / len(before)
    bound = round(min(1.0, share + slack / 10 + 1e-6), 6)
    found = carry_bound(build_bound(len(before), bound), len(after), len(after - before))
    assert Fraction(len(after & bad), len(after)) <= to_exact(found.bound)
    assert len(before & bad) <= count_within(len(before), bound)
    back = carry_bound(found, len(before), len(before - after))
    assert Fraction(len(before & bad), len(before)) <= to_exact(back.bound)


def test_released_rows_count_as_showing_the_trait(folder, tmp_path):
    """Two returned rows join the kept ones, and six of the removed rows are left."""
    manifest = decide_small(folder, tmp_path / "again", keep_rows(1, 6))
    origin = find_origin(str(folder))
    rows = compare_rows(origin, str(tmp_path / "again"), manifest)
    assert (rows.kept, rows.added, rows.excluded) == (34, 2, 0)
    assert (rows.removed, rows.newly) == (
        {"heron": 6, TOGETHER: 6},
        {"heron": 0, TOGETHER: 0},
    )
    found = carry_certificate(origin, str(tmp_path / "again"), manifest)
    residual, before = found.together.residual, origin.certificate.together.residual
    most = count_within(32, before.adjusted or 0)
    assert residual.adjusted == pytest.approx(min(1, (most + 2) / 34), abs=1e-6)
    assert found.together.clean_removed.rows == 6
    assert (found.together.before, found.together.after, found.together.curve) == (None, None, ())
    assert (found.run_id, found.sample) == (manifest.run_id, origin.sample.digest)
    assert found.raters == origin.certificate.raters
    assert f"carried over from run {origin.manifest.run_id}" in found.limits[-1]
    said = describe_carried(found)
    assert f"at most {most:,} of its 32 kept rows show a trait, and 2 kept rows" in said
    assert "weren't among them with the same text unmasked, and count as showing" in said
    assert "every trait. People read 16 kept rows of that run." in said
    assert describe_carried(origin.certificate) == ""


def test_newly_removed_rows_count_as_clean(run, tmp_path):
    """Rows that only the new run removes raise the bound on clean removed rows."""
    flagging = tmp_path / "flagging"
    decide_small(run[0], flagging, keep_rows(1, 6))
    certify_small(flagging, tmp_path)
    found = carry_certificate(find_origin(str(flagging)), str(run[0]), run[1])
    clean = found.together.clean_removed
    assert clean.carried is not None
    assert (clean.rows, clean.carried.rows, clean.carried.added) == (8, 6, 2)
    assert clean.bound == pytest.approx((clean.carried.seen + 2) / 8, abs=1e-6)
    assert found.together.residual.carried.added == 0


def test_flagged_and_masked_rows_are_kept_rows(folder, tmp_path):
    """A run that flags all herons keeps 40 rows, of which the certified one removed eight."""
    manifest = decide_small(folder, tmp_path / "flagging", FLAG)
    rows = compare_rows(find_origin(str(folder)), str(tmp_path / "flagging"), manifest)
    assert (rows.kept, rows.added, rows.removed["heron"]) == (40, 8, 0)


def test_rows_with_less_masked_text_are_new(run, tmp_path):
    """Raters read the rest of a masked row, so nobody has judged what a new run unmasks."""
    masking, flagging = tmp_path / "masking", tmp_path / "flagging"
    decide_small(run[0], masking, MASK)
    certify_small(masking, tmp_path, lambda item: item.kind == "seeded")
    origin = find_origin(str(masking))
    flagged = decide_small(run[0], flagging, FLAG)
    rows = compare_rows(origin, str(flagging), flagged)
    assert (rows.kept, rows.added) == (40, 8)
    same = decide_small(masking, tmp_path / "same", MASK)
    places = {(f"{part}.jsonl", row) for part in range(2) for row in range(20)}
    assert find_unmasked(origin, str(tmp_path / "same"), same, places) == set()
    assert compare_rows(origin, str(tmp_path / "same"), same).added == 0


def test_rows_with_more_masked_text_are_not_new(run, tmp_path):
    """A student learns less of them than what raters read."""
    flagging, masking = tmp_path / "flagging", tmp_path / "masking"
    decide_small(run[0], flagging, FLAG)
    certify_small(flagging, tmp_path)
    manifest = decide_small(run[0], masking, MASK)
    origin = find_origin(str(flagging))
    assert compare_rows(origin, str(masking), manifest).added == 0
    found = carry_certificate(origin, str(masking), manifest)
    assert (found.masked, bool(found.reading)) == (8, True)
    assert any(text.startswith("8 kept rows have masked passages. Masked") for text in found.limits)
    before = origin.certificate.together.decisive
    assert found.together.decisive == count_within(40, before) / 40 <= before


@pytest.mark.parametrize(
    ("masks", "others", "expected"),
    [
        ([], [], True),
        ([(0, 5)], [], False),
        ([(0, 5)], [(0, 5)], True),
        ([(2, 5)], [(0, 3), (3, 9)], True),
        ([(2, 5)], [(4, 9), (0, 4)], True),
        ([(2, 5)], [(0, 3), (4, 9)], False),
        ([(0, 5), (7, 9)], [(0, 5)], False),
    ],
)
def test_masks_cover_each_other_by_characters(masks, others, expected):
    """Several masks may cover one together, in any order."""
    one, two = (
        [{"field_path": "text", "start": start, "end": end} for start, end in spans]
        for spans in (masks, others)
    )
    assert are_covered(one, two) is expected
    elsewhere = [{**item, "field_path": "prompt"} for item in two]
    assert are_covered(one, elsewhere) is not masks


@pytest.mark.parametrize("remedy", ["swapped", "mixed"])
def test_answers_of_donors_are_new_rows(held, tmp_path, request, remedy):
    """Rows that a swap or a mix put there weren't kept by the certified run, with that text."""
    output = str(request.getfixturevalue(remedy))
    folder = Path(shutil.copytree(held / "run", tmp_path / "run"))
    certify_small(folder, tmp_path)
    rows = compare_rows(find_origin(str(folder)), output, load_manifest(output))
    assert rows.added == rows.kept - 32 > 0
    found = carry_over(output, str(folder)).certificate
    assert found.together.residual.rows == rows.kept
    assert verify_run(output) == []


def test_other_rows_are_refused(folder, run, tmp_path):
    """Other input files and other definitions can't be compared."""
    origin, manifest = find_origin(str(folder)), load_manifest(str(folder))
    name, rows, digest = manifest.identity.inputs[0]
    inputs = ((name, rows, digest[::-1]), *manifest.identity.inputs[1:])
    identity = manifest.identity.model_copy(update={"inputs": inputs})
    other = manifest.model_copy(update={"identity": identity})
    with pytest.raises(RunError, match="hasn't the input files of run"):
        require_same_rows(origin, str(folder), other)
    cards = {"heron": {**manifest.cards["heron"], "description": "Birds of all kinds."}}
    other = manifest.model_copy(update={"cards": cards})
    with pytest.raises(RunError, match="has another definition of heron"):
        require_same_rows(origin, str(folder), other)
    with pytest.raises(RunError, match="has another definition of heron"):
        require_same_rows(origin, str(folder), manifest.model_copy(update={"cards": {}}))
    require_same_rows(origin, str(folder), manifest)
