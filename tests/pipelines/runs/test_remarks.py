"""Closing remarks: masks of earlier runs, findings like negatives, missing prompts."""

import pytest

from pipelines.runs.remarks import (
    describe_doubts,
    describe_masks,
    describe_prompts,
    describe_still_masked,
)
from schemas.manifests import Manifest
from schemas.receipts import NearestExemplars, NoteCounts, Receipt


@pytest.mark.parametrize(
    ("masked", "before", "parents", "expected"),
    [
        (0, 0, ("r1",), ""),
        (1, 0, (), "1 has masks"),
        (10, 4, ("r1",), "10 have masks (4 only from run r1)"),
        (10, 10, (), "10 have masks (only from an earlier run)"),
        (1200, 1100, ("r1", "r2"), "1,200 have masks (1,100 only from earlier runs)"),
    ],
)
def test_masks_are_counted_with_their_run(masked, before, parents, expected):
    """The count says how many masks only earlier runs made, and which run if it is known."""
    notes = NoteCounts(masked=masked, masked_before=before)
    manifest = Manifest.model_construct(notes=notes, parents=parents)
    assert describe_masks(manifest) == expected


@pytest.mark.parametrize(
    ("count", "said"), [(0, []), (1, ["1 row that this policy only flags st"])]
)
def test_masks_that_a_policy_no_longer_makes_are_counted(count, said):
    """A notice says how to undo masks that an earlier run made, if there are any."""
    notes = NoteCounts(masked=count, masked_before=count, still_masked=count)
    manifest = Manifest.model_construct(notes=notes, parents=("r1",))
    found = [str(notice) for notice in describe_still_masked(manifest)]
    assert [text[:36] for text in found] == said
    assert all(
        text.endswith("from run r1; filter the original input to undo that") for text in found
    )


def test_findings_that_are_all_nearest_to_negatives_are_named():
    """A trait is named if a negative is nearest to every quarantined row that has exemplars."""
    nearest = {
        "emu": NearestExemplars(rows=3, negative=3),
        "owl": NearestExemplars(rows=3, negative=2),
        "elk": NearestExemplars(rows=1, negative=1),
        "fox": NearestExemplars(),
    }
    (notice,) = describe_doubts(Manifest.model_construct(nearest=nearest))
    assert str(notice).endswith(
        "nearest to a negative exemplar, so they may be mistakes: emu (3 rows), elk (1 row)"
    )
    del nearest["emu"], nearest["elk"]
    assert list(describe_doubts(Manifest.model_construct(nearest=nearest))) == []


def test_missing_prompts_are_noticed():
    """Missing prompts give a warning, and incomplete prompts a notice."""
    assert list(describe_prompts([Receipt.model_construct()])) == []
    given = Receipt.model_construct(unprompted=700, incomplete=2)
    unprompted, incomplete = describe_prompts([given, given])
    assert str(unprompted).startswith(
        "warning: rows held for another teacher that aren't on the swap list: 1,400, because"
    )
    assert str(incomplete).startswith("prompts on the swap list that lack something, such as")
