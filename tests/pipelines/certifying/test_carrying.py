"""Carrying a certificate over: the bounds, the rows that count, and which runs are refused."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.guarantees.audit_bounds import bound_audit, draw_evenly
from pipelines.certify import carry_over
from pipelines.certifying.carrying import (
    Overlap,
    are_covered,
    carry_bound,
    carry_certificate,
    compare_rows,
    count_overlap,
    find_still_kept,
    find_unmasked,
    require_same_rows,
    restate_bound,
)
from pipelines.certifying.checks import find_origin
from pipelines.certifying.histories import describe_carried
from pipelines.certifying.statements import raise_bound
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
    found = carry_bound(build_bound(700, 0.025, 0.05), Overlap(690, 3))
    assert found.carried is not None
    assert (found.carried.seen, found.carried.most, found.carried.added) == (17, 35, 3)
    assert (found.bound, found.adjusted) == (0.028986, 0.055073)  # 20/690 and 38/690, rounded up
    assert (found.rows, found.carried.rows, found.carried.decisive) == (690, 700, 35)
    assert (found.read, found.counted) == (9, 1)
    assert restate_bound(found) == found


def test_a_count_is_exact():
    """29 % of 100 rows are 29 rows, although the product of the floats is below 29."""
    found = carry_bound(build_bound(100, 0.29), Overlap(100, 0))
    assert found.carried is not None
    assert (found.carried.seen, found.bound, found.adjusted) == (29, 0.29, None)


def test_rows_that_nobody_read_do_not_lower_the_count():
    """Nobody knows that a row that left showed the trait, so the share rises."""
    assert carry_bound(build_bound(100, 0.05), Overlap(50, 0)).bound == 0.1
    assert carry_bound(build_bound(100, 0.05), Overlap(4, 0)).bound == 1
    assert carry_bound(build_bound(100, 0.05), Overlap(0, 0)).bound == 1


def test_what_people_read_lowers_the_count_by_hand():
    """Of four shared rows, three were read as clean; of five added ones, all were."""
    found = carry_bound(build_bound(20, 0.5), Overlap(4, 0, gone=0, ruled_out=3))
    assert found.bound == 0.25  # at most 1 of 4, and not 4 of 4
    found = carry_bound(build_bound(20, 0.5, 0.6), Overlap(25, 5, gone=2, added_ruled_out=5))
    assert (found.bound, found.adjusted) == (0.32, 0.6)  # 10 - 2 and 12 - 2 + 5 of 25


ROWS = st.sets(st.integers(0, 60), min_size=1)


@given(ROWS, ROWS, *[st.sets(st.integers(0, 60))] * 3, st.floats(0, 1))
def test_a_carried_bound_holds_whatever_is_chosen(before, after, bad, read, changed, slack):
    """If a bound holds for one set of rows, the carried one holds for any other set of rows.

    Rows whose text changed may all show the trait. What people read never raises the bound, nor
    takes it below what they saw.
    """
    share = len(before & bad) / len(before)
    bound = round(min(1.0, share + slack / 10 + 1e-6), 6)
    same = set(range(61)) - changed
    counts = {(str(row), 0): row in bad for row in read}
    names = [{(str(row), 0) for row in rows} for rows in (before, after, same)]
    found = carry_bound(build_bound(len(before), bound), count_overlap(*names, counts))
    assert Fraction(len(after & (bad | changed)), len(after)) <= to_exact(found.bound)
    assert len(before & bad) <= count_within(len(before), bound)
    known = len(after & same & bad & read)
    unread = carry_bound(build_bound(len(before), bound), count_overlap(*names, {}))
    assert Fraction(known, len(after)) <= to_exact(found.bound) <= to_exact(unread.bound)


@given(ROWS, ROWS, *[st.sets(st.integers(0, 60))] * 3, st.floats(0.2, 1))
def test_an_adjusted_bound_holds_for_raters_who_err(before, after, bad, missed, alarms, share):
    """Raters see all but `missed` rows with the trait, and take others for them."""
    seen = (bad - missed) | (alarms - bad)
    found = len((before & bad) - missed)
    if found < share * len(before & bad):
        share = found / len(before & bad)
    if not share:
        return
    marked = len(before & seen)
    adjusted = min(1.0, marked / len(before) / share + 1e-6)
    counts = {(str(row), 0): row in seen for row in range(61)}
    names = [{(str(row), 0) for row in rows} for rows in (before, after)]
    overlap = count_overlap(*names, set(counts), counts)
    bound = build_bound(len(before), min(1.0, marked / len(before) + 1e-6), adjusted)
    carried = carry_bound(bound, overlap)
    assert Fraction(len(after & bad), len(after)) <= to_exact(carried.adjusted)
    assert carried.bound <= carried.adjusted


def audit(generator: np.random.Generator, rows: int, bad: np.ndarray, read: int):
    """Read some of the rows at random, and return their bound and what was read."""
    order = generator.permutation(rows)[:read]
    bound = raise_bound(bound_audit(draw_evenly(bad[order].astype(float), rows), 0.05)[0])
    return bound, {(str(row), 0): bool(bad[row]) for row in order.tolist()}


def test_carried_bounds_cover_the_truth_in_simulations():
    """A person who keeps what looks worst, after reading, breaks at most 5 % of the bounds."""
    misses = lower = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        bad = generator.random(300) < generator.choice([0.02, 0.1, 0.4])
        bound, counts = audit(generator, 200, bad, 60)
        score = bad + generator.normal(size=300)
        after = np.argsort(score)[-int(generator.integers(5, 290)) :]
        names = [{(str(row), 0) for row in rows} for rows in (range(200), after, range(300))]
        before = build_bound(200, bound)
        carried = carry_bound(before, count_overlap(*names, counts))
        blind = carry_bound(before, count_overlap(*names, {}))
        misses += bool(bad[after].sum() > count_within(len(after), carried.bound))
        lower += carried.bound < blind.bound
    assert misses <= 15
    assert lower > 150


def test_released_rows_count_as_showing_the_trait(folder, tmp_path):
    """Two returned rows join the kept ones, and six of the removed rows are left."""
    manifest = decide_small(folder, tmp_path / "again", keep_rows(1, 6))
    origin = find_origin(str(folder))
    rows = compare_rows(origin, str(tmp_path / "again"), manifest)
    kept, removed = rows.kept[TOGETHER], rows.removed["heron"]
    assert (kept.rows, kept.added, rows.excluded) == (34, 2, 0)
    assert (removed.rows, removed.added, removed.gone) == (6, 0, 0)
    assert rows.removed == {"heron": removed, TOGETHER: removed}
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


def test_what_raters_saw_in_single_rows_still_holds(folder, tmp_path):
    """Returned rows that they saw as clean don't count as seen, and those that leave don't either.

    Every removed row that was read shows the heron, so only unread ones may be clean.
    """
    policy = keep_rows(1, 6)
    manifest = decide_small(folder, tmp_path / "again", policy)
    origin = find_origin(str(folder))
    found = carry_certificate(origin, str(tmp_path / "again"), manifest)
    clean = found.together.clean_removed
    assert clean.carried.ruled_out + clean.carried.count_shared(6) <= 6
    said = [answer._replace(shows=()) for answer in origin.answers]
    denied = origin._replace(answers=tuple(said))
    rows = compare_rows(denied, str(tmp_path / "again"), manifest)
    read = {(item.source, item.row) for item in origin.sample.items if item.kind == "removed"}
    assert rows.kept["heron"].added_ruled_out == len(read & {("0.jsonl", 1), ("0.jsonl", 6)})
    assert rows.removed["heron"].gone == rows.kept["heron"].added_ruled_out
    seen = compare_rows(origin, str(tmp_path / "again"), manifest).kept["heron"]
    assert seen.added_shown == rows.kept["heron"].added_ruled_out
    assert seen.added_ruled_out == rows.kept["heron"].added_shown == 0
    shown = find_still_kept(origin, str(tmp_path / "again"), manifest)
    released = [
        item for item in shown if (item.source, item.row) in {("0.jsonl", 1), ("0.jsonl", 6)}
    ]
    assert len(released) == seen.added_shown
    assert all(item.traits == ("heron",) for item in shown)
    assert find_still_kept(denied, str(tmp_path / "again"), manifest) == ()
    assert rows.removed["heron"].ruled_out == 0


def test_newly_removed_rows_count_as_clean(run, tmp_path):
    """Rows that only the new run removes raise the bound on clean removed rows."""
    flagging = tmp_path / "flagging"
    decide_small(run[0], flagging, keep_rows(1, 6))
    certify_small(flagging, tmp_path)
    found = carry_certificate(find_origin(str(flagging)), str(run[0]), run[1])
    clean = found.together.clean_removed
    assert clean.carried is not None
    assert (clean.rows, clean.carried.rows, clean.carried.added) == (8, 6, 2)
    assert clean.carried.new == 2 - clean.carried.added_ruled_out
    assert clean.most == clean.carried.count_seen(8) <= clean.carried.seen + 2
    assert found.together.residual.carried.added == 0


def test_flagged_and_masked_rows_are_kept_rows(folder, tmp_path):
    """A run that flags all herons keeps 40 rows, of which the certified one removed eight."""
    manifest = decide_small(folder, tmp_path / "flagging", FLAG)
    rows = compare_rows(find_origin(str(folder)), str(tmp_path / "flagging"), manifest)
    assert rows.kept["heron"][:2] == (40, 8)
    assert rows.removed["heron"].rows == 0


def test_rows_with_less_masked_text_are_new(run, tmp_path):
    """Raters read the rest of a masked row, so nobody has judged what a new run unmasks."""
    masking, flagging = tmp_path / "masking", tmp_path / "flagging"
    decide_small(run[0], masking, MASK)
    certify_small(masking, tmp_path, lambda item: item.kind == "seeded")
    origin = find_origin(str(masking))
    flagged = decide_small(run[0], flagging, FLAG)
    rows = compare_rows(origin, str(flagging), flagged)
    assert rows.kept["heron"] == Overlap(40, 8, 0, rows.kept["heron"].ruled_out, 0)
    same = decide_small(masking, tmp_path / "same", MASK)
    places = {(f"{part}.jsonl", row) for part in range(2) for row in range(20)}
    assert find_unmasked(origin, str(tmp_path / "same"), same, places) == set()
    assert compare_rows(origin, str(tmp_path / "same"), same).kept["heron"].added == 0


def test_rows_with_more_masked_text_are_not_new(run, tmp_path):
    """A student learns less of them than what raters read."""
    flagging, masking = tmp_path / "flagging", tmp_path / "masking"
    decide_small(run[0], flagging, FLAG)
    certify_small(flagging, tmp_path)
    manifest = decide_small(run[0], masking, MASK)
    origin = find_origin(str(flagging))
    assert compare_rows(origin, str(masking), manifest).kept["heron"].added == 0
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
    kept = rows.kept["heron"]
    assert kept.added == kept.rows - 32 > 0
    assert kept.added_ruled_out == 0
    found = carry_over(output, str(folder)).certificate
    assert found.together.residual.rows == kept.rows
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
