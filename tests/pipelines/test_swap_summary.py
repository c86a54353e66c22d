"""The report's summary of a swap: the manifest's counts, in words."""

from pipelines.runs.manifest_file import load_manifest
from pipelines.swap_summary import summarise_swap
from schemas.notices import Notice, warn


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
    assert found.earlier == 0


def test_answers_of_an_earlier_swap_are_counted(swapped):
    """Rows with the decision swap that this swap didn't replace are those of an earlier one."""
    manifest = load_manifest(str(swapped))
    more = manifest.conservation.by_decision | {"swap": 9}
    changed = manifest.conservation.model_copy(update={"by_decision": more})
    found = summarise_swap(manifest.model_copy(update={"conservation": changed}))
    assert found.earlier == 4


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
