"""What verify checks of an audit: every forgery of a file is found."""

from __future__ import annotations

import json

import pytest

from pipelines.certify import carry_over, certify_run
from pipelines.certifying.carrying import Overlap, carry_bound
from pipelines.certifying.checks import (
    check_certificate,
    describe_audit_check,
    find_origin,
    list_label_files,
    redraw,
)
from pipelines.certifying.histories import append_statement, read_history
from pipelines.certifying.records import (
    read_certificate,
    read_sample,
    write_certificate,
    write_sample,
)
from pipelines.verify import RecordedDigests, list_checks, list_files_left_aside, verify_run
from schemas.certificates import AuditItem, AuditSample
from schemas.errors import CardError, RunError
from schemas.runs import AUDIT_FILES, AUDIT_HISTORY, AUDIT_LABELS, AUDIT_SAMPLE, AUDIT_STATEMENT
from tests.support.certificates import decide_small, draw_small, fill_sheet, keep_rows, tell_truth


@pytest.fixture
def certified(run, tmp_path):
    """Certify the small run, and return its folder and manifest."""
    sample = draw_small(run[0], tmp_path).sample
    certify_run(str(run[0]), [fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)])
    return run


def test_a_certified_run_is_whole(certified):
    """Verify finds nothing, and says that it compared the certificate."""
    folder, manifest = certified
    assert verify_run(str(folder)) == []
    assert list_files_left_aside(str(folder)) == []
    checks = list_checks(str(folder), manifest, False, RecordedDigests())
    assert checks["certificate"] == "compared"


def test_a_run_without_an_audit_has_nothing_to_check(run):
    """No file is needed."""
    assert list(check_certificate(str(run[0]), run[1])) == []
    assert describe_audit_check(str(run[0])) == "none"


def test_a_sample_alone_is_checked(run, tmp_path):
    """A draw is checked before anything is stated."""
    draw_small(run[0], tmp_path)
    assert list(check_certificate(str(run[0]), run[1])) == []
    assert describe_audit_check(str(run[0])) == "sample drawn, nothing stated yet"


def test_rows_that_were_added_since_are_named(certified, tmp_path):
    """The statement is compared with the part of the draw that it is about."""
    folder, manifest = certified
    stated = read_sample(str(folder))
    draw_small(folder, tmp_path, rows=30)
    assert list(check_certificate(str(folder), manifest)) == []
    assert describe_audit_check(str(folder)) == "compared (rows were added to the draw since)"
    assert find_origin(str(folder)).sample == stated


def forge_sample(sample: AuditSample, **fields: object) -> AuditSample:
    """Return a changed sample with a digest that fits."""
    return AuditSample.model_validate(sample.model_dump() | fields).seal()


def exchange_rows(items: tuple[AuditItem, ...]) -> list[dict[str, object]]:
    """Exchange the place of the first kept row for another."""
    changed = [item.model_dump() for item in items]
    first = next(item for item in changed if item["kind"] == "kept")
    first["row"] = int(str(first["row"])) + 1
    return changed


@pytest.mark.parametrize("name", ["items", "seed", "weights", "strata", "kept", "blocks"])
def test_a_forged_draw_is_found(run, tmp_path, name):
    """Rows can't be exchanged, nor weights or counts changed, even with digests that fit."""
    sample = draw_small(run[0], tmp_path).sample
    block = sample.blocks[0].model_dump()
    fields = {
        "items": {"items": exchange_rows(sample.items)},
        "seed": {"seed": "chosen afterwards"},
        "weights": {"items": [item.model_dump() | {"weight": 0.5} for item in sample.items]},
        "strata": {"strata": [item.model_dump() | {"share": 0.4} for item in sample.strata]},
        "kept": {"kept": 1_000_000},
        "blocks": {"blocks": [block | {"kept": 10}]},
    }[name]
    write_sample(str(run[0]), forge_sample(sample, **fields))
    (found,) = check_certificate(str(run[0]), run[1])
    assert found.where == AUDIT_SAMPLE
    assert "rows were exchanged" in found.problem


def test_a_sample_of_another_run_is_found(run, tmp_path):
    """A certificate can't be moved from run to run."""
    sample = draw_small(run[0], tmp_path).sample
    write_sample(str(run[0]), forge_sample(sample, manifest="ab" * 32))
    (found,) = check_certificate(str(run[0]), run[1])
    assert "another manifest" in found.problem


@pytest.mark.parametrize("name", ["bound", "labels", "sample", "manifest", "limits"])
def test_a_forged_certificate_is_found(certified, name):
    """Better bounds, other digests and missing limits are found, even with a digest that fits."""
    folder, manifest = certified
    found = read_certificate(str(folder))
    assert found is not None
    residual = found.together.residual.model_copy(update={"bound": 0.0001, "adjusted": 0.0001})
    update = {
        "bound": {"together": found.together.model_copy(update={"residual": residual})},
        "labels": {"labels": "ab" * 32},
        "sample": {"sample": "ab" * 32},
        "manifest": {"manifest": "ab" * 32},
        "limits": {"limits": ()},
    }[name]
    forged = found.model_copy(update=update).seal()
    (folder / AUDIT_STATEMENT).write_bytes(forged.to_bytes())
    (finding,) = check_certificate(str(folder), manifest)
    assert finding.where == AUDIT_STATEMENT


def test_a_changed_label_is_found(certified):
    """A label that is turned round breaks the digest."""
    folder, manifest = certified
    lines = (folder / AUDIT_LABELS).read_text().splitlines()
    first = json.loads(lines[0])
    lines[0] = json.dumps(first | {"label": [] if first["label"] else ["heron"]})
    (folder / AUDIT_LABELS).write_text("\n".join(lines) + "\n")
    (finding,) = check_certificate(str(folder), manifest)
    assert "its digest of the labels" in finding.problem


@pytest.mark.parametrize("path", AUDIT_FILES)
def test_missing_and_edited_files_are_found(certified, path):
    """Without the certificate alone, the draw is still whole; other files are missed."""
    folder, manifest = certified
    (folder / path).unlink()
    found = list(check_certificate(str(folder), manifest))
    assert bool(found) == (path != AUDIT_STATEMENT)


@pytest.mark.parametrize("path", AUDIT_FILES)
def test_links_are_found(certified, tmp_path, path):
    """A link's content isn't part of the run."""
    folder, manifest = certified
    moved = tmp_path / "moved"
    (folder / path).replace(moved)
    (folder / path).symlink_to(moved)
    (found,) = check_certificate(str(folder), manifest)
    assert "is a link" in found.problem


def test_another_versions_certificate_is_checked_by_digests(certified):
    """Its bounds can't be made again, and verify says so."""
    folder, manifest = certified
    found = read_certificate(str(folder))
    assert found is not None
    old = found.model_copy(update={"code": "0.0.1"}).seal()
    (folder / AUDIT_STATEMENT).write_bytes(old.to_bytes())
    (finding,) = check_certificate(str(folder), manifest)
    assert finding.where == AUDIT_HISTORY
    append_statement(str(folder), old, None)
    assert list(check_certificate(str(folder), manifest)) == []
    assert "another version" in describe_audit_check(str(folder))


def state_again(folder, tmp_path):
    """Turn all labels of kept rows round, and state the certificate again."""
    sample = read_sample(str(folder))
    path = fill_sheet(tmp_path / "audit.jsonl", sample, lambda item: True)
    certify_run(str(folder), [path])


@pytest.mark.parametrize("kept", [[0], [1], [1, 0], [0, 0, 1], []], ids=str)
def test_a_history_with_missing_or_moved_lines_is_found(certified, tmp_path, kept):
    """Lines can't be removed, exchanged or repeated."""
    folder, manifest = certified
    state_again(folder, tmp_path)
    assert list(check_certificate(str(folder), manifest)) == []
    path = folder / AUDIT_HISTORY
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in kept))
    (finding,) = verify_run(str(folder))
    assert "history.jsonl" in " ".join(finding)


def test_better_numbers_in_the_last_line_are_found(certified):
    """The last line says what the certificate says, even if its digest fits."""
    folder, manifest = certified
    (line,) = read_history(str(folder))
    forged = line.model_copy(update={"bound": 0.0001}).seal()
    (folder / AUDIT_HISTORY).write_bytes(forged.to_line())
    (finding,) = check_certificate(str(folder), manifest)
    assert finding.where == AUDIT_HISTORY


def test_an_older_certificate_put_back_is_found(certified, tmp_path):
    """Labels and certificate of the first statement don't fit the last line."""
    folder, manifest = certified
    first = {path: (folder / path).read_bytes() for path in (AUDIT_LABELS, AUDIT_STATEMENT)}
    state_again(folder, tmp_path)
    for path, data in first.items():
        (folder / path).write_bytes(data)
    (finding,) = check_certificate(str(folder), manifest)
    assert "doesn't end with the certificate" in finding.problem


def test_a_broken_history_is_found_after_a_new_draw(certified, tmp_path):
    """The chain is checked before anything is stated about the new sample."""
    folder, manifest = certified
    state_again(folder, tmp_path)
    write_sample(str(folder), read_sample(str(folder)))
    assert list(check_certificate(str(folder), manifest)) == []
    path = folder / AUDIT_HISTORY
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    (finding,) = check_certificate(str(folder), manifest)
    assert "one was removed" in finding.problem


def test_a_sample_is_drawn_again_with_exclusions(run, tmp_path):
    """Excluded rows are part of what the seed decides."""
    labels = tmp_path / "used.jsonl"
    labels.write_text('{"source": "0.jsonl", "row": 0, "label": false}\n')
    sample = draw_small(run[0], tmp_path, exclude=(str(labels),)).sample
    assert sample.excluded == (("0.jsonl", 0),)
    assert redraw(str(run[0]), run[1], sample) == sample == read_sample(str(run[0]))


def test_label_files_must_exist(tmp_path):
    """The error names the file."""
    with pytest.raises(CardError, match="doesn't exist"):
        list_label_files([str(tmp_path / "none.jsonl")])


def test_a_removed_certificate_is_found_by_its_recorded_statement(certified):
    """Without the folder, a run looks as if nobody had certified it, unless a digest was kept."""
    folder, manifest = str(certified[0]), certified[1]
    statement = read_history(folder)[-1].digest
    for digits in (statement, statement[:16].upper()):
        recorded = RecordedDigests(statement=digits)
        assert verify_run(folder, recorded=recorded) == []
        checks = list_checks(folder, manifest, False, recorded)
        assert checks["certificate"] == "compared, its history has the recorded statement"
    for path in AUDIT_FILES:
        (certified[0] / path).unlink()
    assert verify_run(folder) == []
    (found,) = verify_run(folder, recorded=RecordedDigests(statement=statement))
    assert found.where == AUDIT_HISTORY
    assert f"no statement with the digest {statement}" in found.problem


def test_the_digest_of_the_certificate_is_recorded_as_well(certified):
    """Whoever recorded the certificate's own digest learns whether that certificate is there."""
    folder, manifest = str(certified[0]), certified[1]
    recorded = RecordedDigests(statement=read_certificate(folder).digest[:16])
    assert verify_run(folder, recorded=recorded) == []
    assert "recorded" in list_checks(folder, manifest, False, recorded)["certificate"]
    (certified[0] / AUDIT_STATEMENT).unlink()
    assert [found.where for found in verify_run(folder, recorded=recorded)] == [AUDIT_HISTORY]


def test_another_recorded_statement_is_a_difference(certified):
    """A history that somebody rewrote doesn't have the recorded line."""
    (found,) = verify_run(str(certified[0]), recorded=RecordedDigests(statement="0" * 16))
    assert "was removed or replaced" in found.problem
    with pytest.raises(CardError, match="--statement 'short' isn't a digest"):
        verify_run(str(certified[0]), recorded=RecordedDigests(statement="short"))


@pytest.fixture
def carried(certified, tmp_path):
    """Release two herons into another run, and carry the certificate over to it."""
    manifest = decide_small(certified[0], tmp_path / "again", keep_rows(1, 6))
    carry_over(str(tmp_path / "again"), str(certified[0]))
    return tmp_path / "again", manifest


def change_certificate(folder, change):
    """Change a run's certificate and its history, with digests that fit."""
    run = str(folder)
    forged = change(read_certificate(run)).seal()
    (folder / AUDIT_HISTORY).unlink()
    (folder / AUDIT_STATEMENT).unlink()
    append_statement(run, forged, "eve")
    write_certificate(run, forged, None)


def test_a_carried_certificate_is_compared_with_its_origin(carried, certified):
    """The rows of both runs are compared again, and the run stays whole."""
    folder, manifest = carried
    assert verify_run(str(folder)) == []
    assert list_files_left_aside(str(folder)) == []
    said = describe_audit_check(str(folder))
    assert said == f"compared with that of run {certified[1].run_id}, from which it is carried"
    assert find_origin(str(folder)).run == str(certified[0])
    assert list(check_certificate(str(folder), manifest)) == []


def test_forged_carried_bounds_are_found(carried):
    """Neither the bound, nor the numbers behind it, nor the run can be exchanged."""
    folder, manifest = carried
    for change, problem in (
        (lambda bound: bound.model_copy(update={"adjusted": 0.01}), "don't follow"),
        (lambda bound: bound.model_copy(update={"carried": None}), "don't follow"),
        (
            lambda bound: carry_bound(bound.model_copy(update={"carried": None}), Overlap(34, 0)),
            "isn't what the certificate of run",
        ),
    ):

        def forge(found, change=change):
            own = found.together.model_copy(update={"residual": change(found.together.residual)})
            return found.model_copy(update={"together": own})

        kept = read_certificate(str(folder))
        change_certificate(folder, forge)
        (finding,) = check_certificate(str(folder), manifest)
        assert problem in finding.problem
        change_certificate(folder, lambda _, kept=kept: kept)
    assert list(check_certificate(str(folder), manifest)) == []
    change_certificate(folder, lambda found: found.model_copy(update={"manifest": "0" * 64}))
    (finding,) = check_certificate(str(folder), manifest)
    assert finding.problem == "is about a run with another manifest"


def test_a_removed_origin_is_said(carried, certified, tmp_path):
    """Without the run that people read, only the figures are compared, and verify says so."""
    folder, _ = carried
    certified[0].rename(tmp_path / "moved")
    assert verify_run(str(folder)) == []
    said = describe_audit_check(str(folder))
    assert said.startswith("figures compared alone (run ")
    assert f"carry over again: congener certify {folder} --from FOLDER)" in said
    with pytest.raises(RunError, match="isn't in"):
        find_origin(str(folder))


def test_a_changed_origin_is_found(carried, certified):
    """The ledger and the certificate of the run that people read must still be intact."""
    folder, manifest = carried
    ledger = next((certified[0] / "ledger").glob("*.parquet"))
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:-1])
    (finding,) = check_certificate(str(folder), manifest)
    assert finding.where == str(certified[0])
    assert "was changed" in finding.problem
    ledger.write_bytes(whole)
    history = certified[0] / AUDIT_HISTORY
    history.unlink()
    (finding,) = check_certificate(str(folder), manifest)
    assert "has no statement any more from which" in finding.problem


def test_a_later_statement_leaves_a_carried_one_as_it_was(carried, certified, tmp_path):
    """The origin's history still has the statement that was carried over."""
    sample = read_sample(str(certified[0]))
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, lambda item: item.kind == "seeded")
    certify_run(str(certified[0]), [sheet])
    assert verify_run(str(carried[0])) == []
    assert "with the same statement any more" in describe_audit_check(str(carried[0]))
    again = carry_over(str(carried[0]), str(certified[0]))
    assert again.certificate.carried.number == 2
    assert len(again.history) == 2


def test_a_sample_beside_a_carried_certificate_is_found(carried, certified):
    """A carried certificate has no sample of its own."""
    folder, manifest = carried
    (folder / AUDIT_SAMPLE).write_bytes((certified[0] / AUDIT_SAMPLE).read_bytes())
    (finding,) = check_certificate(str(folder), manifest)
    assert finding.where == AUDIT_SAMPLE


def test_only_certified_runs_have_something_to_carry(run, tmp_path):
    """A run without a certificate is no origin, with or without a sample."""
    with pytest.raises(RunError, match="has no certificate that could be carried"):
        find_origin(str(run[0]))
    draw_small(run[0], tmp_path)
    with pytest.raises(RunError, match="has no certificate that could be carried"):
        find_origin(str(run[0]))
