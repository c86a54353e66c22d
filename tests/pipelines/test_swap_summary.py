"""The report's summary of a swap: the manifest's counts, in words."""

from pipelines.runs.manifest_file import load_manifest
from pipelines.swap_summary import summarise_swap
from schemas.notices import Notice, warn
from schemas.swaps import EarlierSwap, SwapCounts


def test_the_counts_are_the_manifests(swapped):
    """Donors, traits and reasons have the numbers of the manifest, and add up."""
    manifest = load_manifest(str(swapped))
    found = summarise_swap(manifest)
    assert [(item.donor.name, item.used) for item in found.donors] == [("cedar", 4), ("oak", 1)]
    (heron,) = found.traits
    assert (heron.trait, heron.total, heron.replaced) == ("heron", 8, 5)
    assert heron.replaced + sum(count for _, count in heron.waiting) == heron.total
    assert dict(heron.waiting) == dict(found.waiting)
    assert set(dict(found.waiting).values()) == {1, 2}
    assert any("a trait fires on every donor's answer" in reason for reason, _ in found.waiting)
    assert found.carried == [("heron", 2)]
    assert found.earlier == []


def test_answers_of_earlier_swaps_are_counted(swapped):
    """Each donor of an earlier swap is listed with that swap's run and the number of answers."""
    manifest = load_manifest(str(swapped))
    swap = manifest.swap
    counts = SwapCounts(outcomes={"replaced": 4}, by_donor={"ash": 3, "elm": 1})
    earlier = EarlierSwap(run_id="r-1", parent="r-0", donors=swap.donors, counts=counts)
    record = swap.model_copy(update={"earlier": (earlier,)})
    found = summarise_swap(manifest.model_copy(update={"swap": record}))
    assert found.earlier == [("r-1", "ash", 3), ("r-1", "elm", 1)]


def test_a_donors_warnings_are_its_own(swapped):
    """Only warnings about a donor are listed with it."""
    manifest = load_manifest(str(swapped))
    said = [
        {"severity": item.severity, "text": item.text, "about": item.about}
        for item in (
            warn("odd rows")._replace(about="donor oak"),
            Notice("a fact", about="donor oak"),
            warn("the corpus is odd"),
            warn("the parent is odd")._replace(about="run 12"),
        )
    ]
    circumstances = manifest.circumstances | {"notices": said}
    found = summarise_swap(manifest.model_copy(update={"circumstances": circumstances}))
    assert [item.warnings for item in found.donors] == [[], ["odd rows"]]


def test_a_run_without_a_swap_has_no_summary(held):
    """A run of `filter` replaced nothing."""
    assert summarise_swap(load_manifest(str(held / "run"))) is None
