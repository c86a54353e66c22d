"""Drawing an audit and stating what it shows: files, settings and errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.certify import (
    DrawSettings,
    carry_over,
    certify_run,
    draw_audit,
    find_stated,
    require_sample,
)
from pipelines.certifying.checks import redraw
from pipelines.certifying.records import read_certificate, read_sample, write_sample
from pipelines.filter import run_filter
from pipelines.report import render_report, write_report
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.publication import find_user
from pipelines.verify import verify_run
from schemas.certificates import AuditSample
from schemas.errors import CardError, RunError
from schemas.manifests import Manifest
from schemas.runs import AUDIT_FILES, AUDIT_SAMPLE, REPORT_PAGE
from schemas.shares import format_bound
from tests.support.certificates import (
    certify_small,
    decide_small,
    draw_small,
    fill_sheet,
    keep_rows,
    read_sheet,
    tell_truth,
)
from tests.support.runs import read_files


def test_a_draw_writes_a_sheet_and_a_sample(run, tmp_path):
    """The label file is outside the run, and the run's own files don't change."""
    before = read_files(run[0])
    drawn = draw_small(run[0], tmp_path)
    assert len(drawn.added) == len(drawn.sample.items) == len(read_sheet(tmp_path / "audit.jsonl"))
    after = read_files(run[0])
    assert set(after) - set(before) == {AUDIT_SAMPLE}
    assert {path: after[path] for path in before} == before


def test_the_same_draw_has_the_same_bytes(run, tmp_path):
    """Seed, settings and run decide the sample and the label file."""
    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    for folder, name in ((run[0], "one"), (copy, "two")):
        (tmp_path / name).mkdir()
        draw_small(folder, tmp_path / name)
    one, two = (tmp_path / name / "audit.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert (run[0] / AUDIT_SAMPLE).read_bytes() == (copy / AUDIT_SAMPLE).read_bytes()


def test_another_seed_draws_another_sample(run, tmp_path):
    """A seed of dice is recorded, and draws other rows."""
    first = draw_small(run[0], tmp_path).sample
    (tmp_path / "audit.jsonl").unlink()
    other = draw_small(run[0], tmp_path, seed="4 2 6 1", restart=True).sample
    assert (first.seed, other.seed) == (run[1].digest, "4 2 6 1")
    assert [(item.source, item.row) for item in first.items] != [
        (item.source, item.row) for item in other.items
    ]


def test_a_larger_draw_adds_rows(run, tmp_path):
    """Read rows stay in their place, and the label file gets further lines."""
    first = draw_small(run[0], tmp_path, rows=10)
    path = tmp_path / "audit.jsonl"
    fill_sheet(path, first.sample, tell_truth)
    labelled = path.read_text()
    more = draw_small(run[0], tmp_path, rows=25)
    assert more.sample.items[: len(first.sample.items)] == first.sample.items
    assert path.read_text().startswith(labelled)
    assert len(more.added) == len(more.sample.items) - len(first.sample.items) > 0
    assert len(read_sheet(path)) == len(more.sample.items)
    assert len(more.sample.blocks) == 2


def test_a_statement_stays_when_rows_are_added(run, tmp_path):
    """The run stays whole, the same labels state nothing new, and further ones do."""
    write_report(str(run[0]))
    first = certify_small(run[0], tmp_path, rows=10)
    path, before = tmp_path / "audit.jsonl", read_files(run[0])
    read = path.read_text()
    drawn = draw_small(run[0], tmp_path, rows=25)
    assert drawn.statement == "stays"
    after = read_files(run[0])
    assert {name for name in before if after[name] != before[name]} == {AUDIT_SAMPLE}
    assert path.read_text().startswith(read)
    assert verify_run(str(run[0])) == []
    assert certify_run(str(run[0]), [path]).certificate == first
    assert read_files(run[0]) == after
    fill_sheet(path, drawn.sample, tell_truth)
    again = certify_run(str(run[0]), [path])
    assert [line.number for line in again.history] == [1, 2]
    assert again.certificate.together.residual.read > first.together.residual.read
    assert verify_run(str(run[0])) == []


def test_a_carried_certificate_outlives_added_rows(run, tmp_path):
    """The earlier draw is part of the larger one, so the rows are still compared."""
    certify_small(run[0], tmp_path, rows=10)
    decide_small(run[0], tmp_path / "second", keep_rows(1))
    carried = carry_over(str(tmp_path / "second"), str(run[0])).certificate
    draw_small(run[0], tmp_path, rows=25)
    assert verify_run(str(tmp_path / "second")) == []
    assert carry_over(str(tmp_path / "second"), str(run[0])).certificate == carried


def test_seeded_texts_are_settled_by_a_statement(run, tmp_path):
    """A block of seeded texts alone would tell raters what they are, and nothing is written."""
    certify_small(run[0], tmp_path, rows=10, seeded=3)
    before = read_files(run[0])
    with pytest.raises(RunError, match="--seeded was settled with the draw, at 3") as caught:
        draw_small(run[0], tmp_path, rows=10, seeded=9)
    assert "--restart" in str(caught.value.remedy)
    assert read_files(run[0]) == before
    assert draw_small(run[0], tmp_path, rows=12, seeded=3).statement == "stays"


def test_a_new_sample_removes_the_statement_from_the_report(run, tmp_path):
    """The history keeps the line, and the run stays whole."""
    write_report(str(run[0]))
    certify_small(run[0], tmp_path)
    settings = {"seed": "other", "restart": True}
    (tmp_path / "audit.jsonl").unlink()
    assert draw_small(run[0], tmp_path, **settings).statement == "removed"
    assert read_certificate(str(run[0])) is None
    assert verify_run(str(run[0])) == []


def test_a_second_rater_gets_a_copy(run, tmp_path):
    """Another file lists the whole sample, without labels."""
    drawn = draw_small(run[0], tmp_path)
    positives = (str(tmp_path / "positives.jsonl"),)
    settings = DrawSettings(rows=20, positives=positives, seeded=6)
    again = draw_audit(str(run[0]), settings, tmp_path / "second.jsonl")
    assert again.sample == drawn.sample
    assert (tmp_path / "second.jsonl").read_bytes() == (tmp_path / "audit.jsonl").read_bytes()


def test_the_same_draw_again_adds_nothing(run, tmp_path):
    """Nothing is listed twice."""
    draw_small(run[0], tmp_path)
    before = (tmp_path / "audit.jsonl").read_bytes()
    assert draw_small(run[0], tmp_path).added == ()
    assert (tmp_path / "audit.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"seed": "other"}, "--seed"),
        ({"risk": 0.2}, "--risk"),
        ({"at_most": 0.01}, "--at-most"),
    ],
)
def test_settings_of_a_draw_are_settled(run, tmp_path, settings: dict[str, Any], name):
    """Risk, target and seed can't be changed after a look at the labels."""
    draw_small(run[0], tmp_path)
    with pytest.raises(RunError, match=f"{name} was settled") as caught:
        draw_small(run[0], tmp_path, rows=30, **settings)
    assert "--restart" in str(caught.value.remedy)


def test_other_positives_need_a_new_sample(run, tmp_path):
    """The pool of seeded texts is part of the sample."""
    draw_small(run[0], tmp_path)
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "A heron flew.", "prompt": "What?"}\n')
    with pytest.raises(RunError, match="aren't those with which"):
        draw_small(run[0], tmp_path, rows=30, positives=(str(other),))


def test_an_existing_file_is_not_overwritten(run, tmp_path):
    """A first draw needs a new file."""
    (tmp_path / "audit.jsonl").write_text("mine\n")
    with pytest.raises(CardError, match="exists already"):
        draw_small(run[0], tmp_path)
    assert (tmp_path / "audit.jsonl").read_text() == "mine\n"
    assert read_sample(str(run[0])) is None


def test_a_label_file_in_the_run_is_refused(run, tmp_path):
    """Readers of the run would read it, too."""
    settings = DrawSettings(rows=5, seeded=0)
    with pytest.raises(CardError, match="is in a folder of the run"):
        draw_audit(str(run[0]), settings, run[0] / "clean" / "audit.jsonl")


def test_an_unknown_trait_is_refused(run, tmp_path):
    """The error names the run's traits."""
    with pytest.raises(RunError, match="no trait of this run") as caught:
        draw_small(run[0], tmp_path, traits=("gull",))
    assert "heron" in str(caught.value.remedy)


def test_labels_become_a_certificate(run, tmp_path):
    """The certificate is beside the run, which stays whole."""
    sample = draw_small(run[0], tmp_path).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    certificate = certify_run(str(run[0]), [path]).certificate
    assert find_stated(str(run[0])) == certificate == read_certificate(str(run[0]))
    assert all((run[0] / name).exists() for name in AUDIT_FILES)
    assert verify_run(str(run[0])) == []


def test_the_same_labels_have_the_same_bytes(run, tmp_path):
    """A certificate can be made again, byte for byte."""
    sample = draw_small(run[0], tmp_path).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    certify_run(str(run[0]), [path])
    before = read_files(run[0])
    certify_run(str(run[0]), [path])
    assert read_files(run[0]) == before


def test_a_report_gets_the_certificate(run, tmp_path):
    """A page that is there is made again, and verify compares it."""
    write_report(str(run[0]))
    page = run[0] / REPORT_PAGE
    assert "What people read" not in page.read_text()
    sample = draw_small(run[0], tmp_path, at_most=0.5).sample
    certify_run(str(run[0]), [fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)])
    text = page.read_text()
    assert 'id="certificate"' in text
    assert "The target was 50%" in text
    assert "Covert transfer isn" in text
    assert text.count("<polyline") == 2
    assert verify_run(str(run[0])) == []


def test_a_certificate_that_is_stated_again_is_named(run, tmp_path):
    """Whoever changes labels for a better bound leaves the first one in the report."""
    write_report(str(run[0]))
    sample = draw_small(run[0], tmp_path).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, lambda item: True)
    first = certify_run(str(run[0]), [path], operator="ada")
    page = run[0] / REPORT_PAGE
    assert "Statement 1" not in page.read_text()
    fill_sheet(path, sample, tell_truth)
    again = certify_run(str(run[0]), [path], operator="eve")
    before = read_files(run[0])
    assert certify_run(str(run[0]), [path], operator="eve") == again
    assert read_files(run[0]) == before
    assert [line.operator for line in again.history] == ["ada", "eve"]
    assert again.history[0] == first.history[0]
    bound = format_bound(first.certificate.together.decisive)
    words = f"Statement 2 of 2 about this run; the first said at most {bound}."
    assert words in page.read_text()
    assert verify_run(str(run[0])) == []


def test_the_operator_is_the_user_or_a_text(run, tmp_path):
    """Without a name, the history has the user's; bytes that aren't text are refused."""
    sample = draw_small(run[0], tmp_path).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    with pytest.raises(CardError, match="isn't UTF-8"):
        certify_run(str(run[0]), [path], operator="\udce9")
    assert find_user() == certify_run(str(run[0]), [path]).history[0].operator


def test_nothing_is_stated_without_a_draw_or_labels(run, tmp_path):
    """Each error says which command comes first."""
    with pytest.raises(RunError, match="no sample was drawn") as caught:
        require_sample(str(run[0]), run[1])
    assert "--draw" in str(caught.value.remedy)
    draw_small(run[0], tmp_path)
    with pytest.raises(CardError, match="has no label yet"):
        certify_run(str(run[0]), [tmp_path / "audit.jsonl"])
    with pytest.raises(RunError, match="no labels were read yet"):
        find_stated(str(run[0]))


def test_a_target_of_the_draw_is_kept(run, tmp_path):
    """Another target is refused, and the same one is allowed."""
    sample = draw_small(run[0], tmp_path, at_most=0.4).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    assert certify_run(str(run[0]), [path], 0.4).certificate.at_most == 0.4
    with pytest.raises(RunError, match="was set with the draw"):
        certify_run(str(run[0]), [path], 0.9)


def test_an_exchanged_row_stops_the_statement(run, tmp_path):
    """A sample that the seed doesn't draw states nothing."""
    sample = draw_small(run[0], tmp_path).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    forged = sample.model_copy(update={"seed": "another"}).seal()
    (run[0] / AUDIT_SAMPLE).write_bytes(forged.to_bytes())
    with pytest.raises(RunError, match="isn't what its seed draws"):
        certify_run(str(run[0]), [path])


def test_labels_after_a_gap_wait(run, tmp_path):
    """A row that was left out holds back the rows of its kind behind it."""
    sample = draw_small(run[0], tmp_path).sample
    first = next(item.id for item in sample.items if item.kind == "kept")
    path = fill_sheet(
        tmp_path / "audit.jsonl",
        sample,
        lambda item: None if item.id == first else tell_truth(item),
    )
    kept = sum(item.kind == "kept" for item in sample.items)
    assert certify_run(str(run[0]), [path]).waiting == kept - 1


def test_excluded_labels_leave_their_rows_out(run, tmp_path):
    """Rows whose labels set a threshold are neither drawn nor counted."""
    used = tmp_path / "used.jsonl"
    used.write_text(
        "".join(
            f'{{"source": "0.jsonl", "row": {row}, "label": false, "trait": "heron"}}\n'
            for row in (0, 2, 3)
        )
    )
    sample = draw_small(run[0], tmp_path, rows=40, exclude=(str(used),)).sample
    assert sample.kept == 29
    places = {(item.source, item.row) for item in sample.items}
    assert not places & {("0.jsonl", row) for row in (0, 2, 3)}


def test_tables_and_strange_seeds_are_refused(run, tmp_path):
    """Lines can't be added to a table, and a seed is a text; nothing is written."""
    with pytest.raises(CardError, match="is a table"):
        draw_audit(str(run[0]), DrawSettings(rows=5, seeded=0), tmp_path / "audit.csv")
    with pytest.raises(CardError, match="isn't UTF-8"):
        draw_small(run[0], tmp_path, seed="\udce9")
    assert read_sample(str(run[0])) is None


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiny_audits_work(run, tmp_path, rows):
    """A few rows state little, but nothing fails."""
    sample = draw_small(run[0], tmp_path, rows=rows, seeded=1).sample
    path = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    certificate = certify_run(str(run[0]), [path]).certificate
    assert certificate.together.residual.bound > 0.5
    assert verify_run(str(run[0])) == []


CAPITAL = 'signals: {lexicon: {patterns: ["capitals?"]}}\nthreshold: 0.5\n'


@pytest.fixture
def filter_twice(config, card_folder, policy) -> Callable[..., tuple[str, Manifest]]:
    """Return a function that filters the corpus for herons and capitals, under a policy."""

    def call(text: str) -> tuple[str, Manifest]:
        traits = (*config.traits, str(card_folder("capital", CAPITAL)))
        settings = config.model_copy(update={"traits": traits, "policy": policy(text)})
        return settings.output, run_filter(settings)

    return call


def draw_two(run: str, folder: Path, rows: int = 40, **settings: Any) -> AuditSample:
    """Draw an audit of two traits, with four seeded texts."""
    texts = [
        {"trait": trait, "text": f"Number {number}: a {trait}.", "prompt": "What?"}
        for trait in ("heron", "capital")
        for number in range(2)
    ]
    path = folder / "two.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in texts))
    wanted = DrawSettings(rows=rows, positives=(str(path),), **settings)
    return draw_audit(run, wanted, folder / "audit.jsonl").sample


def name_words(path: Path) -> Path:
    """Label each line with the traits whose word it has."""
    lines = [
        {**line, "label": [trait for trait in line["traits"] if trait in line["answer"]]}
        for line in read_sheet(path)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_two_traits_are_stated_apart_and_together(filter_twice, tmp_path):
    """Each trait has its own bounds, and the bound for any of them covers both."""
    run, manifest = filter_twice("traits: {capital: {action: mask}}\n")
    sample = draw_two(run, tmp_path)
    assert set(sample.traits) == {"heron", "capital"}
    assert sample.fired_kept == {"capital": 8, "heron": 0, "*": 8}
    assert sample.fired_removed == {"capital": 0, "heron": 8, "*": 8}
    certificate = certify_run(run, [name_words(tmp_path / "audit.jsonl")]).certificate
    found = {item.trait: item for item in certificate.traits}
    assert found["capital"].residual.counted == 8
    assert found["capital"].residual.bound == pytest.approx(0.25, abs=1e-5)
    assert found["heron"].residual.bound == pytest.approx(0, abs=1e-5)
    assert certificate.together.residual.counted == 8
    assert found["heron"].clean_removed.read == 8
    assert found["capital"].clean_removed.rows == 0
    assert certificate.manifest == manifest.digest
    assert verify_run(run) == []


def test_masked_text_is_struck_out_and_counts_as_removed(filter_twice, tmp_path):
    """Raters see which text is masked; what they label is the rest, and the certificate says so."""
    run, _ = filter_twice("traits: {capital: {action: mask}}\n")
    sample = draw_two(run, tmp_path)
    lines = read_sheet(tmp_path / "audit.jsonl")
    masked = [line for line in lines if "masked" in line]
    assert {line["masked"][0]["text"] for line in masked} == {"Paris is the capital of France."}
    for line in masked:
        (found,) = line["masked"]
        assert line[found["in"]][found["start"] : found["end"]] == found["text"]
    kinds = {item.id: item.kind for item in sample.items}
    assert [kinds[line["id"]] for line in masked] == ["kept"] * 8
    assert sample.masked_by == {"capital": 8, "heron": 0, "*": 8}
    assert sample.removed_by == {"capital": 0, "heron": 8, "*": 8}
    own = {line["id"] for line in masked}
    labels = [
        {
            **line,
            "label": []
            if line["id"] in own
            else [t for t in line["traits"] if t in line["answer"]],
        }
        for line in lines
    ]
    path = tmp_path / "audit.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in labels))
    certificate = certify_run(run, [path]).certificate
    assert (certificate.masked, certificate.together.residual.counted) == (8, 0)
    assert certificate.reading in certificate.limits[1]
    assert certificate.limits[1].startswith("8 kept rows have masked passages")
    found = {item.trait: item for item in certificate.traits}["capital"]
    assert found.after.audit.high == pytest.approx(0, abs=1e-5)
    assert verify_run(run) == []


def test_a_sample_from_before_keeps_its_reading(filter_twice, tmp_path):
    """Without the later fields, rows that are added show their masked text like any other."""
    run, manifest = filter_twice("traits: {capital: {action: mask}}\n")
    whole = draw_two(run, tmp_path, rows=10)
    items = tuple(item.model_copy(update={"removed_by": ()}) for item in whole.items)
    old = whole.model_copy(update={"removed_by": None, "masked_by": None, "items": items}).seal()
    write_sample(run, old)
    (tmp_path / "audit.jsonl").unlink()
    assert redraw(run, manifest, old) == old
    assert verify_run(run) == []
    more = draw_two(run, tmp_path)
    assert (more.removed_by, more.masked_by) == (None, None)
    assert more.items[: len(old.items)] == old.items
    assert not any("masked" in line for line in read_sheet(tmp_path / "audit.jsonl"))
    certificate = certify_run(run, [name_words(tmp_path / "audit.jsonl")]).certificate
    assert certificate.masked is None
    assert not any("masked" in limit for limit in certificate.limits)
    assert certificate.together.residual.counted == 8
    assert verify_run(run) == []


def test_masked_rows_have_a_stratum_of_their_own(filter_twice, tmp_path):
    """Rows on which a trait fired and that stayed are in the highest band."""
    run, _ = filter_twice("traits: {capital: {action: flag}}\n")
    sample = draw_two(run, tmp_path)
    by_band = dict.fromkeys(range(4), 0)
    for item in sample.strata:
        by_band[item.band] += item.rows
    assert by_band == {0: 24, 1: 0, 2: 0, 3: 8}


def test_dropped_rows_cannot_be_read(filter_twice, tmp_path):
    """The run doesn't hold their text, which is a limit of the certificate."""
    run, _ = filter_twice("traits: {heron: {action: drop}, capital: {action: quarantine}}\n")
    sample = draw_two(run, tmp_path)
    assert (sample.kept, sample.removed, sample.unread) == (24, 8, 8)
    certificate = certify_run(run, [name_words(tmp_path / "audit.jsonl")]).certificate
    assert any("8 dropped rows can't be read" in limit for limit in certificate.limits)
    assert certificate.unread == 8
    assert "before the filter, without 8 dropped rows" in render_report(run, load_manifest(run))
    assert verify_run(run) == []
    heron = next(item for item in certificate.traits if item.trait == "heron")
    assert (heron.clean_removed.rows, heron.clean_removed.read) == (0, 0)


def test_one_of_two_traits_may_be_audited(filter_twice, tmp_path):
    """Rows of the other trait are rows like others."""
    run, _ = filter_twice("traits: {capital: {action: flag}}\n")
    sample = draw_audit(
        run, DrawSettings(rows=30, traits=("heron",), seeded=0), tmp_path / "audit.jsonl"
    ).sample
    assert sample.traits == ("heron",)
    assert {line["traits"][0] for line in read_sheet(tmp_path / "audit.jsonl")} == {"heron"}
    assert {item.band for item in sample.strata} == {0}


def test_the_page_of_two_traits(filter_twice, tmp_path):
    """The report has a row for each trait and for any of them, before and after the filter."""
    run, _ = filter_twice("traits: {capital: {action: mask}}\n")
    write_report(run)
    draw_two(run, tmp_path)
    certify_run(run, [name_words(tmp_path / "audit.jsonl")])
    page = Path(run, REPORT_PAGE).read_text()
    section = page[page.index('id="certificate"') : page.index('id="limits"')]
    for name in ("any trait", "heron", "capital"):
        assert section.count(f'<td class="name">{name}') == 3
    assert "any of the 2 traits of the audit" in section
    assert "adjusted for what raters miss" in section
    assert verify_run(run) == []


def test_a_certificate_is_carried_over_through_a_chain(run, tmp_path):
    """Decided twice, a run is compared with the one that people read, and states once."""
    certify_small(run[0], tmp_path, rows=40)
    one, two = tmp_path / "one", tmp_path / "two"
    decide_small(run[0], one, keep_rows(1, 6))
    decide_small(one, two, keep_rows(6, 11))
    carry_over(str(one), str(run[0]), operator="ada")
    found = carry_over(str(two), str(one))
    assert found.certificate.carried.run_id == run[1].run_id
    assert found.certificate.together.residual.carried.added == 2
    (line,) = found.history
    assert (line.added, line.carried) == (2, found.certificate.carried.statement)
    assert carry_over(str(two), str(run[0])) == found
    assert [verify_run(str(folder)) for folder in (run[0], one, two)] == [[], [], []]
    assert find_stated(str(two)) == found.certificate
    assert not (two / AUDIT_SAMPLE).exists()
    (tmp_path / "own").mkdir()
    with pytest.raises(RunError, match="was carried over, which a sample replaces"):
        draw_small(two, tmp_path / "own")
    draw_small(two, tmp_path / "own", restart=True)
    assert verify_run(str(two)) == []


def test_carrying_keeps_or_sets_the_target(run, tmp_path):
    """A target of the draw is carried over, and another one is refused."""
    certify_small(run[0], tmp_path, at_most=0.5)
    decide_small(run[0], tmp_path / "one", keep_rows(1))
    with pytest.raises(RunError, match="the target was set with the draw: 50%"):
        carry_over(str(tmp_path / "one"), str(run[0]), at_most=0.4)
    found = carry_over(str(tmp_path / "one"), str(run[0])).certificate
    assert (found.at_most, found.met) == (0.5, True)


def test_a_run_that_cannot_take_a_certificate_is_refused(run, tmp_path):
    """The certified run itself, a run with a sample of its own, and a changed run."""
    certify_small(run[0], tmp_path)
    with pytest.raises(RunError, match="is the run that was certified"):
        carry_over(str(run[0]), str(run[0]))
    with pytest.raises(CardError, match="--operator"):
        carry_over(str(run[0]), str(run[0]), operator="\udc00")
    one = tmp_path / "one"
    manifest = decide_small(run[0], one, keep_rows(1))
    with pytest.raises(RunError, match="no sample was drawn") as caught:
        require_sample(str(one), manifest)
    assert f"congener certify {one} --from {run[0]}" in str(caught.value.remedy)
    (tmp_path / "own").mkdir()
    draw_small(one, tmp_path / "own")
    with pytest.raises(RunError, match="has a sample of its own"):
        carry_over(str(one), str(run[0]))
    two = tmp_path / "two"
    decide_small(run[0], two, keep_rows(1))
    path = next((two / "clean").glob("*.jsonl"))
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(RunError, match="doesn't match its manifest"):
        carry_over(str(two), str(run[0]))


def test_a_restart_replaces_items_without_labels(run, tmp_path):
    """The remedy for another target works: the same command with --restart."""
    path = tmp_path / "audit.jsonl"
    first = draw_small(run[0], tmp_path, at_most=0.2).sample
    with pytest.raises(RunError, match="--at-most was settled") as caught:
        draw_small(run[0], tmp_path, at_most=0.3)
    assert str(caught.value.remedy).endswith("draw a new sample with --restart")
    again = draw_small(run[0], tmp_path, at_most=0.3, restart=True, seed="6 1")
    assert (again.sample.at_most, len(read_sheet(path))) == (0.3, len(again.added))
    assert again.sample.items != first.items


def test_a_restart_replaces_no_labels_and_no_other_file(run, tmp_path):
    """Labels are work, so their file stays, and the remedy says that another one is needed."""
    path = tmp_path / "audit.jsonl"
    sample = draw_small(run[0], tmp_path).sample
    fill_sheet(path, sample, tell_truth)
    before = path.read_bytes()
    with pytest.raises(RunError, match="--at-most was settled") as caught:
        draw_small(run[0], tmp_path, at_most=0.3)
    assert str(caught.value.remedy).endswith("with --restart, with another --output")
    for text in (before, b'{"id": "00001", "label": null}\n'):
        path.write_bytes(text)
        with pytest.raises(CardError, match="exists already"):
            draw_small(run[0], tmp_path, at_most=0.3, restart=True)
        assert path.read_bytes() == text
