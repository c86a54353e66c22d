"""Manifests: conservation of rows, and the digest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.canaries import CanaryRecord
from schemas.coverage import Coverage
from schemas.manifests import (
    MANIFEST_FORMAT,
    Conservation,
    Identity,
    InputFile,
    Manifest,
    SettledThreshold,
)
from schemas.mixes import LotMix, MixCounts, MixRecord
from schemas.notices import Notice, warn
from schemas.policies import DECISIONS
from schemas.receipts import (
    ActionChange,
    ExceptionEffect,
    NearestExemplars,
    NearMisses,
    NoteCounts,
    Output,
)
from schemas.swaps import SwapCounts, SwapRecord

DIGEST = "ab" * 32


def build_manifest(**fields):
    """Return a small, complete manifest."""
    identity = Identity(
        code_version="1",
        config_digest=DIGEST,
        policy_digest=DIGEST,
        bank_digest=DIGEST,
        encoder={"model": "m", "layers": [6, 4]},
        computed_in="float32",
        classifiers={},
        packages={"torch": "2"},
        format="messages",
        columns={"messages": "messages"},
        inputs=(("a.parquet", 3, DIGEST),),
    )
    rule = SettledThreshold(
        trait="rain-talk",
        signal="combined",
        action="drop",
        threshold=0.5,
        origin="calibrated",
        clean_texts=299,
        exceeding=0,
        bound=0.00997,
        max_false_positive_rate=0.01,
        confidence=0.95,
        calibrated_on="library background",
    )
    return Manifest(
        **{
            "run_id": "r1",
            "identity": identity,
            "config": {"inputs": ["a.parquet"]},
            "policy": {},
            "thresholds": (rule,),
            "inputs": (
                InputFile(
                    name="a.parquet",
                    uri="/a.parquet",
                    kind="parquet",
                    compression="none",
                    bytes=9,
                    rows=3,
                    sha256=DIGEST,
                ),
            ),
            "outputs": (Output(path="clean/a.parquet", rows=2, bytes=9, sha256=DIGEST),),
            "fired": {"rain-talk": 1},
            "conservation": Conservation(rows_in=3, by_decision={"keep": 2, "drop": 1}),
            "ledger_root": DIGEST,
            "shards": (("s1", DIGEST),),
            "span_floor": 0.05,
            "cards": {"rain-talk": {"id": "rain-talk"}},
            "limits": ("It doesn't show everything.",),
            "circumstances": {"host": "h"},
            **fields,
        }
    )


@given(st.dictionaries(st.sampled_from(DECISIONS), st.integers(0, 1000)), st.integers(-2, 2))
def test_conservation_holds_only_when_the_counts_add_up(counts, off):
    """Conservation fails with one row too many or too few."""
    total = sum(counts.values())
    assert Conservation(rows_in=total + off, by_decision=counts).holds() == (off == 0)


def test_a_sealed_manifest_has_its_digest():
    """Sealing changes only the digest, and sealing again changes nothing."""
    plain = build_manifest()
    sealed = plain.seal()
    assert plain.digest == ""
    assert sealed.digest == plain.compute_digest() == sealed.compute_digest()
    assert sealed.seal() == sealed
    assert sealed.model_copy(update={"digest": ""}) == plain
    assert plain.format == MANIFEST_FORMAT


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "r2"},
        {"format": MANIFEST_FORMAT + 1},
        {"config": {"inputs": ["b.parquet"]}},
        {"policy": {"removal_budget": 0.1}},
        {"thresholds": ()},
        {"inputs": ()},
        {"outputs": ()},
        {"fired": {"rain-talk": 2}},
        {"near": {"rain-talk": NearMisses(rows=1, best=0.4)}},
        {"exceptions": (ExceptionEffect(rows=1),)},
        {"unscored": 1},
        {"coverage": Coverage(sampled_rows=1)},
        {"conservation": Conservation(rows_in=3, by_decision={"keep": 3})},
        {"ledger_root": "cd" * 32},
        {"shards": (("s2", DIGEST),)},
        {"span_floor": 0.1},
        {"cards": {}},
        {"limits": ()},
        {"parents": ("r0",)},
        {"nearest": {"rain-talk": NearestExemplars(rows=1)}},
        {"notes": NoteCounts(masked=1)},
        {"swap": SwapRecord(parent="p", parent_digest="", parent_root="", donors=())},
        {"mix": MixRecord(parent="p", parent_digest="", parent_root="", donors=(), share=0.5)},
        {"canaries": CanaryRecord(digests={}, places=())},
        {"withdrawn": "2 of 3 rows exceed the removal_budget"},
        {"circumstances": {"host": "other"}},
        {"identity": build_manifest().identity.model_copy(update={"code_version": "2"})},
    ],
)
def test_the_digest_changes_with_every_field(change):
    """A change to any field changes the digest."""
    assert build_manifest(**change).compute_digest() != build_manifest().compute_digest()


def test_every_field_is_in_the_list_above():
    """The parameters above change every field but the digest."""
    (mark,) = test_the_digest_changes_with_every_field.pytestmark
    assert {name for change in mark.args[1] for name in change} == set(Manifest.model_fields) - {
        "digest"
    }


def test_a_manifest_reads_back_from_its_json():
    """A manifest's JSON gives an equal manifest."""
    sealed = build_manifest().seal()
    for data in (sealed.model_dump_json(), sealed.to_bytes()):
        again = Manifest.model_validate_json(data)
        assert again == sealed
        assert again.compute_digest() == again.digest


def test_unknown_fields_and_missing_ones_are_refused():
    """Unknown, missing and invalid fields are refused."""
    value = build_manifest().model_dump(mode="json")
    with pytest.raises(ValidationError, match="mood"):
        Manifest.model_validate({**value, "mood": "good"})
    with pytest.raises(ValidationError, match="ledger_root"):
        Manifest.model_validate(
            {name: item for name, item in value.items() if name != "ledger_root"}
        )
    with pytest.raises(ValidationError, match="origin"):
        Manifest.model_validate(
            {**value, "thresholds": [{**value["thresholds"][0], "origin": "guessed"}]}
        )


def test_the_format_is_that_of_spans_and_four_lot_columns():
    """The current format is 6."""
    assert build_manifest().format == MANIFEST_FORMAT == 7


def test_a_manifest_has_one_encoding():
    """Equal manifests have equal UTF-8 bytes with a final line break."""
    data = build_manifest(limits=("Grüße",)).to_bytes()
    assert data == build_manifest(limits=("Grüße",)).to_bytes()
    assert data.endswith(b"}\n")
    assert "Grüße".encode() in data


def test_rows_are_counted_by_side():
    """Rows are counted by side, and only sides with findings are listed.

    The trained side is always listed.
    """
    manifest = build_manifest(fired={"rain-talk": 2, "rain-talk@untrained": 1, "owl@rejected": 3})
    assert manifest.list_found_sides() == ("trained", "rejected", "untrained")
    assert manifest.count_fired("rain-talk") == 2
    assert manifest.count_fired("rain-talk", "untrained") == 1
    assert manifest.count_fired("rain-talk", "rejected") == 0
    assert manifest.count_fired("owl") == 0
    assert build_manifest(fired={"owl@rejected": 3}).list_found_sides() == ("trained", "rejected")
    assert build_manifest(fired={}).list_found_sides() == ("trained",)


@pytest.mark.parametrize(
    ("finished", "shown"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02 03:04:05 UTC"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02 01:04:05 UTC"),
        ("2026-01-02T03:04:05", "2026-01-02 03:04:05 UTC"),
        ("yesterday", None),
        (None, None),
    ],
)
def test_a_finish_is_shown_in_utc(finished, shown):
    """The date and time of a run's end are shown in UTC, if the manifest has them."""
    assert build_manifest(circumstances={"finished": finished}).describe_finish() == shown


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, None),
        ({"parent": "/runs/a"}, None),
        ({"decided_from": "3f"}, "3f"),
        ({"decided_from": "3f", "parent": "/runs/a"}, "3f, in /runs/a"),
    ],
)
def test_a_decided_run_names_the_other(known, said):
    """The id comes with the folder, if the manifest has it."""
    assert build_manifest(circumstances=known).describe_decided_from() == said


def test_recorded_notices_are_read_back():
    """Notices keep their severity, and what isn't a list of them is ignored."""
    said = [{"severity": "warning", "text": "a danger"}, {"severity": "info", "text": "a fact"}]
    found = build_manifest(circumstances={"notices": [*said, "?"]}).list_notices()
    assert found == [warn("a danger"), Notice("a fact")]
    assert build_manifest(circumstances={"notices": "?"}).list_notices() == []
    assert build_manifest().list_notices() == []


def test_what_notices_say_about_traits_is_read_back():
    """Remarks are listed by trait and a notice keeps the run that it is about; others are empty."""
    said = [
        {"severity": "warning", "text": "a", "traits": {"owl": "doubtful"}, "about": "donor oak"},
        {"severity": "info", "text": "b", "traits": {"owl": "rare", "elk": "new"}},
        {"severity": "info", "text": "c", "traits": ["owl"], "about": None},
    ]
    manifest = build_manifest(circumstances={"notices": said})
    first, _, last = manifest.list_notices()
    assert (first.about, first.remarks) == ("donor oak", (("owl", "doubtful"),))
    assert last == Notice("c")
    assert manifest.list_remarks() == {"owl": ["doubtful", "rare"], "elk": ["new"]}


@pytest.mark.parametrize(
    ("fired", "bound", "expected"),
    [(0, 0.5, False), (1, 0.5, True), (2, 0.5, False), (1, None, False)],
)
def test_few_findings_may_be_noise(fired, bound, expected):
    """A trait that fired on no more rows than its bound allows may have found nothing real."""
    manifest = build_manifest(fired={"rain-talk": fired})
    rule = manifest.thresholds[0].model_copy(update={"bound": bound})
    assert manifest.may_be_noise(rule) is expected


def test_replaced_rows_count_as_findings():
    """A trait whose rows a swap replaced isn't noise because few of them are left."""
    counts = SwapCounts(by_trait={"rain-talk": {"replaced": 2, "no donor": 1}})
    record = SwapRecord(parent="p", parent_digest="", parent_root="", donors=(), counts=counts)
    manifest = build_manifest(fired={"rain-talk": 1}, swap=record)
    rule = manifest.thresholds[0].model_copy(update={"bound": 0.5})
    assert not manifest.may_be_noise(rule)
    few = record.model_copy(update={"counts": SwapCounts()})
    assert manifest.model_copy(update={"swap": few}).may_be_noise(rule)


def build_denials(*items: tuple[dict[str, object], ExceptionEffect], fired: int = 2) -> Manifest:
    """Return a manifest in which a trait fired, with exceptions and what each did."""
    plain = {"trait": "rain-talk", "action": "keep", "threshold": None, "side": "trained"}
    return build_manifest(
        fired={"rain-talk": fired},
        policy={"exceptions": [{**plain, **item} for item, _ in items]},
        exceptions=tuple(effect for _, effect in items),
    )


RELEASED = ExceptionEffect(rows=1, changed=(ActionChange(before="drop", after="keep", rows=1),))
OVERRULED = ExceptionEffect(rows=1, overruled=1)


def test_findings_that_exceptions_keep_are_denied():
    """A trait's findings are denied if exceptions keep every one, also on rows others decide."""
    manifest = build_denials(({}, RELEASED), ({}, OVERRULED))
    rule = manifest.thresholds[0].model_copy(update={"bound": 1.0})
    assert manifest.are_denied("rain-talk")
    assert not manifest.may_be_noise(rule)
    assert not manifest.are_denied("other")


def test_a_finding_in_force_is_not_denied():
    """One finding that no exception keeps is enough."""
    manifest = build_denials(({}, RELEASED))
    rule = manifest.thresholds[0].model_copy(update={"bound": 1.0})
    assert not manifest.are_denied("rain-talk")
    assert manifest.may_be_noise(rule)


def test_no_finding_is_not_a_denied_one():
    """A trait that fired on no row has nothing to deny."""
    assert not build_denials(fired=0).are_denied("rain-talk")


@pytest.mark.parametrize(
    "other",
    [{"action": "flag"}, {"threshold": 0.9}, {"trait": "*"}, {"side": "rejected"}],
)
def test_other_exceptions_show_no_denial(other):
    """Exceptions whose counts may be about other findings show nothing."""
    manifest = build_denials(({}, RELEASED), ({}, RELEASED), (other, ExceptionEffect()))
    assert not manifest.are_denied("rain-talk")


def test_rows_that_are_taken_out_by_name_are_no_noise():
    """No score led to them, so they say nothing of how often the trait is wrong."""
    named = {"row": {"source": "a", "row": 1}, "action": "quarantine"}
    taken = ExceptionEffect(
        rows=1, changed=(ActionChange(before="keep", after="quarantine", rows=1),)
    )
    both = build_denials((named, taken), (named, taken))
    rule = both.thresholds[0].model_copy(update={"bound": 1.0})
    assert (both.count_named("rain-talk"), both.count_named("other")) == (2, 0)
    assert not both.may_be_noise(rule)
    one = build_denials((named, taken), ({**named, "row": None}, taken), ({}, RELEASED))
    assert one.count_named("rain-talk") == 1
    assert one.may_be_noise(rule)
    flagged = ExceptionEffect(
        rows=1, changed=(ActionChange(before="flag", after="quarantine", rows=1),)
    )
    assert build_denials((named, flagged)).count_named("rain-talk") == 0


def test_findings_on_other_sides_are_not_denied():
    """The counts of exceptions don't tell the sides of a trait's texts apart."""
    manifest = build_denials(({}, RELEASED), ({}, RELEASED))
    fired = {**manifest.fired, "rain-talk@rejected": 1}
    assert not manifest.model_copy(update={"fired": fired}).are_denied("rain-talk")


def test_only_a_swap_has_the_field_of_a_swap():
    """Manifests of other runs keep their bytes, so older runs still verify."""
    plain = build_manifest()
    assert "swap" not in plain.model_dump(mode="json")
    assert b'"swap"' not in plain.to_bytes()
    record = SwapRecord(parent="p", parent_digest=DIGEST, parent_root=DIGEST, donors=())
    swapped = build_manifest(swap=record)
    assert swapped.model_dump(mode="json")["swap"]["parent"] == "p"
    assert Manifest.model_validate_json(swapped.to_bytes()) == swapped
    assert swapped.compute_digest() != plain.compute_digest()


def test_the_run_of_a_swap_is_known_after_a_mix():
    """It is the run itself, or else the parent of the mix that came later; without a swap, none."""
    swap, mix = (
        SwapRecord(parent="p", parent_digest="", parent_root="", donors=()),
        MixRecord(parent="q", parent_digest="", parent_root="", donors=(), share=0.25, seed=0),
    )
    base = build_manifest()
    assert base.find_swap_run() is None
    swapped = base.model_copy(update={"swap": swap, "parents": ("p",)})
    assert swapped.find_swap_run() == swapped.run_id
    mixed = swapped.model_copy(update={"mix": mix, "parents": ("q",)})
    assert mixed.find_swap_run() == "q"
    again = mixed.model_copy(update={"parents": ("p",)})
    assert again.find_swap_run() == again.run_id


def test_only_a_mix_has_the_field_of_a_mix():
    """Manifests of other runs are as they were, and the record of a mix is sealed."""
    plain = build_manifest()
    assert b'"mix"' not in plain.to_bytes()
    assert plain.added == 0
    record = MixRecord(parent="p", parent_digest="", parent_root="", donors=(), share=0.25)
    lot = LotMix(teacher="atlas", rows=3, wanted=1, added=1)
    counted = record.model_copy(update={"counts": MixCounts(lots=(lot,))})
    one, other = build_manifest(mix=record), build_manifest(mix=counted)
    assert other.added == 1
    assert Manifest.model_validate_json(other.to_bytes()) == other
    assert len({item.compute_digest() for item in (plain, one, other)}) == 3


def test_a_run_is_made_by_the_last_of_its_remedies():
    """The first parent tells whether the swap or the mix in a manifest is the run's own."""
    swap = SwapRecord(parent="a", parent_digest="", parent_root="", donors=())
    mix = MixRecord(parent="b", parent_digest="", parent_root="", donors=(), share=0.25)
    both = build_manifest(swap=swap, mix=mix, parents=("b", "donor"))
    assert both.is_own(mix)
    assert not both.is_own(swap)
    assert not build_manifest(swap=swap, parents=()).is_own(swap)


def test_the_counts_of_a_swap_are_sealed():
    """Another count of replaced rows gives another digest."""
    records = [
        SwapRecord(
            parent="p",
            parent_digest=DIGEST,
            parent_root=DIGEST,
            donors=(),
            counts=SwapCounts(outcomes={"replaced": count}),
        )
        for count in (1, 2)
    ]
    one, other = (build_manifest(swap=record).seal() for record in records)
    assert one.digest != other.digest
