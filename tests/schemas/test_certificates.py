"""Certificates and samples: their digests, their JSON, and what follows from their fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.certificates import (
    COVERT,
    MASKS_COUNT_AS_REMOVED,
    TOGETHER,
    Agreement,
    AuditBlock,
    AuditItem,
    AuditSample,
    AuditStratum,
    CarriedFrom,
    CarriedRows,
    Certificate,
    PastStatement,
    Prevalences,
    ReadPoint,
    SealedRecord,
    SeededText,
    Sensitivity,
    ShareBound,
    ShareEstimate,
    TraitStatement,
)

HEX = "ab" * 32
OTHER_HEX = "cd" * 32


def build_sample(**fields: Any) -> AuditSample:
    """Return a sample of three items."""
    given: dict[str, Any] = {
        "run_id": "0123456789abcdef",
        "manifest": HEX,
        "traits": ("heron",),
        "seed": "dice",
        "risk": 0.05,
        "kept": 30,
        "removed": 2,
        "unread": 0,
        "fired_kept": {"heron": 0, TOGETHER: 0},
        "fired_removed": {"heron": 2, TOGETHER: 2},
        "strata": (AuditStratum(lot="atlas", band=0, rows=30, share=1.0),),
        "pool": (SeededText(trait="heron", text=OTHER_HEX, has_prompt=True),),
        "blocks": (AuditBlock(kept=1, removed=1, seeded=1),),
        "items": (
            AuditItem(id="00001", kind="kept", source="a.jsonl", row=4),
            AuditItem(id="00002", kind="removed", source="a.jsonl", row=1, fired=("heron",)),
            AuditItem(id="00003", kind="seeded", trait="heron", text=OTHER_HEX),
        ),
    }
    return AuditSample.model_validate(given | fields).seal()


def build_statement(adjusted: float | None, trait: str | None = None) -> TraitStatement:
    """Return a statement with an adjusted bound or without one."""
    audit = ShareEstimate(estimate=0.01, low=0.0, high=0.03)
    shares = Prevalences(rogan_gladen=None, predictions=None, audit=audit)
    return TraitStatement(
        trait=trait,
        residual=ShareBound(
            rows=30, read=10, counted=0, unsure=0, estimate=0, bound=0.2, adjusted=adjusted
        ),
        sensitivity=None if adjusted is None else Sensitivity(read=9, found=9, lowest=0.7),
        clean_removed=ShareBound(rows=2, read=2, counted=1, unsure=0, estimate=0.5, bound=0.5),
        before=shares,
        after=shares,
        agreement=Agreement(raters=("a", "b"), items=3, kappa=None, alpha=None),
        curve=(ReadPoint(read=10, bound=0.2, adjusted=adjusted),),
    )


def build_certificate(adjusted: float | None, at_most: float | None) -> Certificate:
    """Return a certificate of one trait."""
    return Certificate(
        code="0.1.0",
        run_id="0123456789abcdef",
        manifest=HEX,
        sample=HEX,
        labels=HEX,
        risk=0.05,
        at_most=at_most,
        raters=("a", "b"),
        together=build_statement(adjusted),
        traits=(build_statement(adjusted, "heron"),),
        limits=(COVERT,),
    ).seal()


RECORDS: tuple[SealedRecord, ...] = (build_sample(), build_certificate(0.3, 0.4))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_survive_their_json(record):
    """A record that is written and read is the same, byte for byte."""
    data = record.to_bytes()
    again = type(record).model_validate_json(data)
    assert again == record
    assert again.to_bytes() == data
    assert data.endswith(b"}\n")


def test_later_fields_leave_earlier_records_as_they_were():
    """A field that a record doesn't use isn't written, and its digest is the one from before."""
    data = RECORDS[0].to_bytes() + RECORDS[1].to_bytes()
    for name in (b"removed_by", b"masked_by", b"masked"):
        assert name not in data
    digest = "69c8f78dcfb2c19c"
    assert build_sample().digest[:16] == digest
    used = build_sample(removed_by={"heron": 2, TOGETHER: 2}, masked_by={"heron": 0, TOGETHER: 0})
    assert used.digest != build_sample().digest
    assert b"masked_by" in used.to_bytes()
    assert AuditSample.model_validate_json(used.to_bytes()) == used


def test_an_item_names_what_removed_it_only_if_it_was_recorded():
    """Items of earlier samples have the same JSON as before."""
    item = AuditItem(id="00001", kind="removed", source="a.jsonl", row=4, fired=("heron", "owl"))
    assert "removed_by" not in item.model_dump()
    assert item.model_copy(update={"removed_by": ("owl",)}).model_dump()["removed_by"] == ("owl",)


@pytest.mark.parametrize(("masked", "says"), [(None, False), (0, False), (3, True)])
def test_a_bound_with_masked_rows_says_how_it_is_read(masked, says):
    """The condition is stated only if some kept row has masked text that raters saw struck out."""
    found = build_certificate(0.3, 0.4).model_copy(update={"masked": masked})
    assert (found.reading == MASKS_COUNT_AS_REMOVED) == says
    assert ("apply-masks" in found.reading) == says


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_digest_covers_every_other_field(record):
    """A record's digest is its own, and another seed or number has another one."""
    assert record.digest == record.compute_digest()
    assert record.model_copy(update={"risk": 0.2}).compute_digest() != record.digest
    assert record.model_copy(update={"digest": ""}).compute_digest() == record.digest


def test_rows_that_a_certificate_leaves_out_are_sealed():
    """A number of dropped rows changes the digest; certificates without one keep theirs."""
    found = build_certificate(None, None)
    fields = json.loads(found.to_bytes())
    assert "unread" not in fields
    older = Certificate.model_validate(fields)
    assert older.compute_digest() == older.digest == found.digest
    dropped = found.model_copy(update={"unread": 3})
    assert dropped.compute_digest() != found.digest
    assert Certificate.model_validate_json(dropped.seal().to_bytes()).unread == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": "other"},
        {"kept": 31},
        {"excluded": (("a.jsonl", 3),)},
        {"at_most": 0.01},
        {"items": ()},
        {"traits": ("heron", "owl")},
    ],
    ids=str,
)
def test_every_setting_of_a_draw_is_sealed(fields):
    """A sample with another setting has another digest."""
    assert build_sample(**fields).digest != build_sample().digest


@pytest.mark.parametrize(
    ("adjusted", "at_most", "met"),
    [
        (None, None, None),
        (None, 0.2, True),
        (None, 0.19, False),
        (0.3, 0.25, False),
        (0.3, 0.3, True),
    ],
)
def test_a_target_is_met_by_the_adjusted_bound(adjusted, at_most, met):
    """The adjusted bound decides if there is one, and the bound on what raters see otherwise."""
    found = build_certificate(adjusted, at_most)
    assert found.met is met
    assert found.together.decisive == (0.2 if adjusted is None else adjusted)
    assert "met" not in json.loads(found.to_bytes())


@pytest.mark.parametrize(("prompts", "shown"), [([], True), ([True, True], True), ([False], False)])
def test_prompts_are_shown_if_no_seeded_text_would_stand_out(prompts, shown):
    """Prompts are hidden if a seeded text has none."""
    pool = tuple(
        SeededText(trait="heron", text=f"{number:064x}", has_prompt=has)
        for number, has in enumerate(prompts)
    )
    assert build_sample(pool=pool).shows_prompts is shown


@pytest.mark.parametrize(
    ("owl", "named"), [(False, "the seeded texts"), (True, "the seeded texts of heron")]
)
def test_seeded_texts_without_prompts_are_named(owl, named):
    """The traits are named if only some of them have texts without prompts."""
    pool = (
        SeededText(trait="heron", text=f"{1:064x}", has_prompt=False),
        SeededText(trait="owl", text=f"{2:064x}", has_prompt=owl),
    )
    assert build_sample(pool=pool).describe_bare_texts() == named


@pytest.mark.parametrize(
    "fields",
    [
        {"risk": 0},
        {"risk": 1},
        {"at_most": 0},
        {"at_most": 1.5},
        {"manifest": "xyz"},
        {"kept": True},
        {"unknown": 1},
        {"items": [{"id": "1", "kind": "planted"}]},
    ],
    ids=str,
)
def test_impossible_samples_are_refused(fields):
    """Shares are between 0 and 1, digests are digests, and unknown fields are mistakes."""
    with pytest.raises(ValidationError):
        build_sample(**fields)


def test_items_say_nothing_in_their_names():
    """Names are numbers in the order of reading, whatever the item is."""
    sample = build_sample()
    assert [item.id for item in sample.items] == ["00001", "00002", "00003"]
    assert {item.kind for item in sample.items} == {"kept", "removed", "seeded"}


def test_the_sentence_about_covert_transfer():
    """Every certificate can say what no reader sees."""
    assert "Covert transfer isn't excluded" in COVERT


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (AuditItem, {"id": "00001", "kind": "kept", "text": "short"}),
        (AuditItem, {"id": 1, "kind": "kept"}),
        (AuditBlock, {"kept": 1, "removed": 1}),
        (AuditStratum, {"lot": "a", "band": 0.5, "rows": 1, "share": 0.1}),
        (SeededText, {"trait": "heron", "text": HEX, "has_prompt": "perhaps"}),
        (ShareEstimate, {"estimate": 0.1, "low": float("nan"), "high": 1}),
        (Sensitivity, {"read": 1, "found": 1}),
        (ReadPoint, {"read": 1, "bound": None, "adjusted": None}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_impossible_parts_are_refused(model, fields):
    """Every part of a record has its own form."""
    with pytest.raises(ValidationError):
        model.model_validate(fields)


def test_statements_about_all_traits_have_no_name():
    """A statement names one trait, or none for all of them together."""
    found = build_certificate(None, None)
    assert found.together.trait is None
    assert [item.trait for item in found.traits] == ["heron"]
    assert found.together.residual.adjusted is None
    assert found.together.sensitivity is None


def test_json_is_readable_and_in_the_order_of_fields():
    """A person can read the files, and a program finds the digest first."""
    fields = json.loads(build_sample().to_bytes())
    assert list(fields)[:3] == ["digest", "format", "run_id"]
    assert fields["items"][2]["text"] == OTHER_HEX
    assert build_sample().to_bytes().count(b"\n") > 40


def test_a_draw_keeps_its_origin_when_rows_are_added():
    """Labels of the first items still fit, and labels of another draw don't."""
    first = build_sample()
    block = AuditBlock(kept=2, removed=0, seeded=0)
    more = build_sample(blocks=(*first.blocks, block), risk=0.05)
    assert more.digest != first.digest
    assert more.origin == first.origin
    others = [
        {"seed": "other"},
        {"manifest": OTHER_HEX},
        {"traits": ("owl",)},
        {"pool": ()},
        {"blocks": (block,)},
        {"excluded": (("a.jsonl", 3),)},
    ]
    origins = {build_sample(**change).origin for change in others}
    assert len(origins | {first.origin}) == len(others) + 1


def test_a_sample_has_the_parts_that_were_drawn_before():
    """The first blocks with their items are the sample as it was, and nothing else is a part."""
    first = build_sample()
    block = AuditBlock(kept=1, removed=0, seeded=0)
    item = AuditItem(id="00004", kind="kept", source="a.jsonl", row=9)
    more = build_sample(blocks=(*first.blocks, block), items=(*first.items, item))
    assert more.find_part(first.digest) == first
    assert more.find_part(more.digest) == more
    assert more.find_part(OTHER_HEX) is None
    assert first.find_part(more.digest) is None


def test_a_line_of_the_history_is_sealed_and_one_line():
    """The digest covers the line before, and the line comes back as it was."""
    line = PastStatement(
        number=1,
        date=None,
        operator="a\nb",
        raters=("ada",),
        traits=("heron",),
        rows=100,
        read=20,
        counted=1,
        bound=0.0844,
        risk=0.05,
        at_most=None,
        manifest=HEX,
        sample=HEX,
        labels=HEX,
        certificate=HEX,
        previous=None,
    ).seal()
    assert line.to_line().count(b"\n") == 1
    assert PastStatement.model_validate_json(line.to_line()) == line
    second = line.model_copy(update={"previous": OTHER_HEX})
    assert second.compute_digest() != line.digest
    with pytest.raises(ValidationError):
        PastStatement.model_validate(line.model_dump() | {"number": 0})


@pytest.mark.parametrize(
    ("adjusted", "bounded"), [(None, True), (0.5, True), (0.94, False), (1.0, False)]
)
def test_a_bound_of_all_rows_is_none(adjusted, bounded):
    """An adjusted bound above a half says nothing about a trait."""
    assert build_statement(adjusted).is_bounded == bounded


def test_a_bound_is_also_a_number_of_rows():
    """6 of 16 are 37.5 %, although the bound is rounded up."""
    found = ShareBound(rows=16, read=15, counted=5, unsure=0, estimate=0.3, bound=0.375001)
    assert found.most == 6


def test_a_share_that_labels_can_not_give_is_not_empty():
    """Raters didn't see masked text, so nobody knows that the share was 0 %."""
    statement = build_statement(None)
    nothing = ShareEstimate(estimate=0.0, low=0.0, high=0.2)
    none = Prevalences(rogan_gladen=None, predictions=None, audit=nothing)
    hidden = none.model_copy(update={"audit": None})
    assert statement.model_copy(update={"before": none, "after": none}).is_empty
    found = statement.model_copy(update={"before": hidden, "after": none})
    assert found.is_hidden
    assert not found.is_empty
    assert not statement.model_copy(update={"before": None, "after": None}).is_hidden


def test_a_statement_is_empty_if_every_estimate_rounds_to_nothing():
    """One share that would be shown is enough to show the trait."""
    statement = build_statement(None)
    nothing, some = (ShareEstimate(estimate=x, low=0.0, high=0.2) for x in (0.00004, 0.0001))
    none = Prevalences(rogan_gladen=None, predictions=nothing, audit=nothing)
    assert statement.model_copy(update={"before": none, "after": none}).is_empty
    shown = none.model_copy(update={"audit": some})
    assert not statement.model_copy(update={"before": none, "after": shown}).is_empty


def test_a_carried_bound_has_fields_that_others_lack():
    """Earlier records keep their bytes; a carried bound says which number of rows counts."""
    bound = ShareBound(rows=9, read=3, counted=1, unsure=0, estimate=0.1, bound=0.4)
    assert "carried" not in bound.model_dump()
    rows = CarriedRows(rows=10, seen=4, added=1)
    carried = bound.model_copy(update={"carried": rows})
    assert carried.model_dump()["carried"] == {"rows": 10, "seen": 4, "most": None, "added": 1}
    assert ShareBound.model_validate_json(carried.model_dump_json()) == carried
    assert (rows.decisive, rows.model_copy(update={"most": 6}).decisive) == (4, 6)


def test_carried_rows_are_counted_by_hand():
    """Of 12 rows 3 are added: 4 - 1 of the other 9 count, or the 9 - 7 that aren't ruled out."""
    rows = CarriedRows(rows=10, seen=4, most=6, added=3, gone=1, added_ruled_out=2)
    assert (rows.new, rows.count_shared(12), rows.count_seen(12)) == (1, 3, 4)
    assert rows.count_adjusted(12) == 8
    most = rows.model_copy(update={"ruled_out": 7, "most": None})
    assert (most.count_shared(12), most.count_adjusted(12)) == (2, None)
    assert rows.model_copy(update={"most": 20}).count_adjusted(12) == 12


def test_a_carried_certificate_names_the_other_run():
    """Its record is sealed with the rest, and other certificates don't have the field."""
    fields = {"folder": "/runs/one", "run_id": "0123456789abcdef", "manifest": HEX}
    digests = {"certificate": HEX, "statement": OTHER_HEX}
    carried = CarriedFrom.model_validate({**fields, **digests, "number": 2, "first": 0.5})
    bare = build_certificate(0.3, 0.4)
    found = bare.model_copy(update={"carried": carried}).seal()
    assert found.digest != bare.seal().digest
    assert Certificate.model_validate_json(found.to_bytes()) == found
    assert "carried" not in bare.model_dump()
    with pytest.raises(ValidationError):
        CarriedFrom.model_validate({**carried.model_dump(), "number": 0})


def test_a_carried_statement_has_no_shares():
    """The shares before and after the filter are of the other run, so they are left open."""
    statement = build_statement(0.3).model_copy(update={"before": None, "after": None})
    assert statement.is_empty
    assert TraitStatement.model_validate_json(statement.model_dump_json()) == statement
