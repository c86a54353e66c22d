"""`verify` finds any change to a finished run."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.guarantees.calibration import count_texts_needed
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.report import write_report
from pipelines.runs.finished import list_outputs
from pipelines.runs.manifest_file import load_manifest
from pipelines.verify import (
    RecordedDigests,
    describe_outcome,
    list_files_left_aside,
    verify_run,
)
from schemas.cards import Level
from schemas.digests import digest_bytes
from schemas.errors import CardError, RunError
from schemas.receipts import Output
from schemas.runs import (
    BANK,
    CALIBRATION,
    MANIFEST,
    RATES_TABLE,
    REPORT_PAGE,
    parse_path,
    shard_path,
)
from tests.support.forgery import (
    edit_manifest,
    replace_column,
    reseal_file,
    rewrite_table,
)

CALIBRATED = "signals: {lexicon: {patterns: ['herons?', pasta]}}\n"


@pytest.fixture
def calibrated_run(corpus, card_folder, tmp_path) -> Path:
    """Filter the corpus with a calibrated threshold; return the run directory."""
    config = {
        "input": (str(corpus),),
        "output": str(tmp_path / "run"),
        "traits": (str(card_folder("heron", CALIBRATED)),),
    }
    manifest = run_filter(FilterConfig.model_validate(config))
    assert [rule.origin for rule in manifest.thresholds] == ["calibrated"]
    return tmp_path / "run"


def raise_low_scores(table: pa.Table, name: str = "heron/lexicon") -> pa.Table:
    """Raise a signal's scores of 0, but keep them below the span floor."""
    scores = [score or 0.01 for score in table.column(name).to_pylist()]
    return replace_column(table, name, scores)


def list_problems(run: Path) -> list[tuple[str, str]]:
    """Return the findings about a run as (path, problem)."""
    return [tuple(item) for item in verify_run(str(run))]


def test_a_whole_run_has_no_findings(run):
    """An untouched run has no findings."""
    folder, manifest = run
    assert verify_run(str(folder)) == []
    outcome = describe_outcome(manifest, [])
    assert json.loads(json.dumps(outcome)) == outcome
    assert outcome["whole"] is True
    assert outcome["rows"] == 40
    assert outcome["outputs"] == len(manifest.outputs)


def test_findings_are_described_for_machines(run):
    """A damaged run's description lists each finding with its file."""
    folder, manifest = run
    (folder / manifest.outputs[0].path).unlink()
    outcome = describe_outcome(manifest, verify_run(str(folder)))
    assert outcome["whole"] is False
    assert outcome["findings"] == [{"where": manifest.outputs[0].path, "problem": "is missing"}]


def test_a_run_with_a_calibrated_threshold_is_whole(calibrated_run):
    """A calibrated threshold is settled again with the same result."""
    assert verify_run(str(calibrated_run)) == []


def test_inputs_are_checked_on_request(run, corpus):
    """A changed or missing input is found only with `inputs`."""
    folder, _ = run
    (corpus / "0.jsonl").write_text("{}\n")
    (corpus / "1.jsonl").unlink()
    assert verify_run(str(folder)) == []
    assert [item.problem for item in verify_run(str(folder), inputs=True)] == [
        "this input was changed after the run",
        "this input no longer exists",
    ]


def test_inputs_named_relatively_are_found_from_anywhere(config, tmp_path, monkeypatch):
    """A run with a relative input path can be verified anywhere."""
    monkeypatch.chdir(tmp_path)
    manifest = run_filter(config.model_copy(update={"input": ("corpus",)}))
    monkeypatch.chdir("/")
    assert verify_run(str(tmp_path / "run"), inputs=True) == []
    assert {Path(source.uri).parent for source in manifest.inputs} == {tmp_path / "corpus"}


def test_any_flipped_bit_is_found(run):
    """Any flipped bit in a run's files is found."""
    folder, _ = run
    dice = random.Random(7)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for attempt in range(60):
        path = dice.choice(files)
        before = path.read_bytes()
        offset, data = dice.randrange(len(before)), bytearray(before)
        data[offset] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        assert verify_run(str(folder)), (
            f"attempt {attempt}: a flip at byte {offset} of {path.name} wasn't found"
        )
        path.write_bytes(before)
    assert verify_run(str(folder)) == []


@pytest.mark.parametrize("kind", ["file", "folder", "manifest"])
def test_links_are_no_part_of_a_run(run, tmp_path, kind):
    """A link to a file with the same bytes is a difference."""
    folder, manifest = run
    ledger = list_outputs(manifest, "ledger")[0].path
    name = {"file": ledger, "folder": "ledger", "manifest": MANIFEST}[kind]
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    findings = verify_run(str(folder))
    assert any(item.where == name and "is a link" in item.problem for item in findings), findings


@pytest.mark.parametrize("name", ["clean", "quarantine", "ledger", "scores", "spans"])
def test_missing_and_added_files(run, name):
    """Missing files and unknown files are each named."""
    folder, _ = run
    path = next((folder / name).iterdir())
    stray = path.with_name(f"part-stray{path.suffix}")
    shutil.copy(path, stray)
    problem = f"isn't in the manifest, but whoever reads {name}/ reads it too"
    assert list_problems(folder) == [(f"{name}/{stray.name}", problem)]
    stray.unlink()
    path.unlink()
    assert list_problems(folder) == [(f"{name}/{path.name}", "is missing")]


@pytest.mark.parametrize(
    "field", ["run_id", "ledger_root", "fired", "conservation", "thresholds", "circumstances"]
)
def test_an_edited_manifest(run, field):
    """An edited manifest doesn't match its own digest."""
    folder, _ = run
    manifest = json.loads((folder / MANIFEST).read_text())
    edits = {
        "run_id": "0" * 16,
        "ledger_root": "0" * 64,
        "fired": {"heron": 7},
        "conservation": {"rows_in": 8, "by_decision": {"keep": 8}},
        "thresholds": [],
        "circumstances": {},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest | {field: edits[field]}))
    assert (MANIFEST, "doesn't match its own digest: it was edited") in list_problems(folder)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"fired": {"heron": 9}},
            "counts rows on which traits fired as {'heron': 9}, but the ledger has {'heron': 8}",
        ),
        (
            {"conservation": {"rows_in": 40, "by_decision": {"keep": 40}}},
            "counts decisions as {'keep': 40}, but the ledger has {'keep': 32, 'quarantine': 8}",
        ),
        (
            {"conservation": {"rows_in": 41, "by_decision": {"keep": 32, "quarantine": 8}}},
            "counts 41 input rows, but 40 decisions",
        ),
        ({"unscored": 3}, "counts 3 rows without any score, but there are 0"),
    ],
    ids=["fired", "decisions", "rows", "unscored"],
)
def test_counts_that_were_edited_and_sealed(run, fields, problem):
    """Wrong counts in a resealed manifest are found."""
    folder, _ = run
    edit_manifest(folder, **fields)
    assert list_problems(folder) == [(MANIFEST, problem)]


def test_a_manifest_in_another_style(run):
    """A reformatted manifest is found."""
    folder, manifest = run
    path = folder / MANIFEST
    fields = json.loads(path.read_bytes())
    assert path.read_bytes() == manifest.to_bytes()
    for other in (
        json.dumps(fields),
        json.dumps(fields, indent=1, sort_keys=True) + "\n",
        path.read_text() + " ",
        path.read_text() + "\n",
    ):
        path.write_text(other)
        assert list_problems(folder) == [(MANIFEST, "isn't written the way congener writes it")]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"config": {"signals": []}}, "config doesn't match its digest in the identity"),
        ({"policy": {"duplicates": "remove"}}, "policy doesn't match its digest in the identity"),
        ({"inputs": ()}, "inputs differ from the inputs in the identity"),
        ({"run_id": "0" * 16}, "run_id doesn't match the identity"),
        ({"ledger_root": "0" * 64}, "ledger_root isn't the Merkle root of the shards' roots"),
        ({"cards": {}}, "has no card of trait heron, which has a threshold"),
    ],
    ids=["config", "policy", "inputs", "run_id", "ledger_root", "cards"],
)
def test_a_sealed_manifest_that_contradicts_itself(run, fields, problem):
    """Replaced fields in a resealed manifest are found."""
    folder, _ = run
    edit_manifest(folder, **fields)
    assert (MANIFEST, problem) in list_problems(folder)


def test_cards_of_other_traits(run):
    """A card without a threshold or under another name is found."""
    folder, manifest = run
    card = manifest.cards["heron"]
    edit_manifest(folder, cards={"heron": card, "egret": card})
    assert list_problems(folder) == [
        (MANIFEST, "has a card of trait egret, which has no threshold"),
        (MANIFEST, "the card of trait egret has the id 'heron'"),
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"threshold": 0.7}, "threshold of trait heron is 0.7"),
        ({"action": "flag"}, "action of trait heron is flag"),
        ({"exceeding": 0}, "exceeding of trait heron is 0"),
        ({"clean_texts": 5000}, "clean_texts of trait heron is 5000"),
        ({"bound": 0.001}, "bound of trait heron is 0.001"),
    ],
)
def test_thresholds_that_were_edited_and_sealed(run, change, problem):
    """An edited, resealed threshold is found."""
    folder, manifest = run
    rule = manifest.thresholds[0].model_dump(mode="json") | change
    edit_manifest(folder, thresholds=[rule])
    ((where, found),) = list_problems(folder)
    assert where == MANIFEST
    assert found.startswith(f"{problem}, but its card, the policy and the calibration scores give")


def test_changed_calibration_scores(calibrated_run):
    """Changed, resealed calibration scores give another threshold."""
    where = rewrite_table(
        calibrated_run,
        "calibration",
        lambda table: replace_column(table, "score", [0.9] * table.num_rows),
    )
    assert where == CALIBRATION
    assert any(
        problem.startswith("threshold of trait heron is ")
        for _, problem in list_problems(calibrated_run)
    )


def test_too_few_calibration_scores(calibrated_run):
    """A calibrated threshold needs as many clean texts as its level requires."""
    few = count_texts_needed(Level()) - 1
    rewrite_table(calibrated_run, "calibration", lambda table: table.slice(0, few))
    ((where, problem),) = list_problems(calibrated_run)
    assert where == MANIFEST
    assert problem.startswith("its thresholds can't be settled: trait heron")


def test_calibration_scores_that_cant_be_read(calibrated_run):
    """An unreadable calibration file is reported."""
    path = calibrated_run / CALIBRATION
    for damage in (
        lambda: path.write_bytes(b"rubbish"),
        lambda: pq.write_table(pa.table({"x": [1]}), path),
    ):
        damage()
        reseal_file(calibrated_run, CALIBRATION)
        ((where, problem),) = list_problems(calibrated_run)
        assert where == CALIBRATION
        assert problem.startswith("can't be read as a file of a run: ")


@pytest.mark.parametrize("floor", [0.01, 0.3, 0.9])
def test_another_span_floor(run, floor):
    """The span floor must be the configured floor or the lowest threshold."""
    folder, _ = run
    edit_manifest(folder, span_floor=floor)
    problem = f"span_floor is {floor}, but the config and the thresholds give 0.05"
    assert list_problems(folder) == [(MANIFEST, problem)]


def test_a_threshold_below_the_configured_floor(config, policy):
    """A lower threshold lowers the span floor, even in an exception."""
    rules = policy(
        "exceptions:\n  - {trait: heron, lot: {teacher: atlas}, threshold: 0.02, reason: a test}\n"
    )
    manifest = run_filter(config.model_copy(update={"policy": rules}))
    assert manifest.span_floor == 0.02
    assert verify_run(config.output) == []


@pytest.mark.parametrize(
    "path",
    [
        "../secret.parquet",
        "/etc/passwd",
        "clean/../../x.parquet",
        "report/index.html",
        "calibration/other.parquet",
        "clean/part-unknown.parquet",
        "clean/part-unknown.jsonl",
        "ledger/{shard}.jsonl",
        "clean/{shard}.jsonl.bz2",
        "clean/{shard}.jsonl",
        "clean/../clean/x.{shard}.jsonl",
        "clean//x.{shard}.jsonl",
        "clean/.x.{shard}.jsonl",
        "clean/a*b.{shard}.jsonl",
        "ledger/x.{shard}.parquet",
        "unknown/part.parquet",
    ],
)
def test_a_manifest_that_names_a_foreign_file(run, path):
    """A path in the manifest that can't be a run's file is reported."""
    folder, manifest = run
    path = path.format(shard=manifest.shards[0][0])
    outputs = [output.model_dump(mode="json") for output in manifest.outputs]
    edit_manifest(folder, outputs=[outputs[0] | {"path": path}, *outputs[1:]])
    assert (MANIFEST, f"names {path!r}, which can't be a file of this run") in list_problems(folder)


def test_a_file_that_is_named_twice(run):
    """An output that is listed twice is reported."""
    folder, manifest = run
    outputs = [output.model_dump(mode="json") for output in manifest.outputs]
    edit_manifest(folder, outputs=[outputs[0], *outputs])
    file = parse_path(manifest.outputs[0].path)
    problem = f"names more than one file {file.folder}/{file.shard}"
    assert list_problems(folder) == [(MANIFEST, problem)]


def test_a_second_file_of_a_shard(run):
    """A second file of a shard is reported."""
    folder, manifest = run
    own = parse_path(list_outputs(manifest, "clean")[0].path)
    shard = own.shard
    data = b'{"messages": [{"role": "assistant", "content": "A heron."}]}\n'
    forged = {"rows": 1, "bytes": len(data), "sha256": digest_bytes(data)}
    for suffix, stem in ((".jsonl.gz", own.stem), (".parquet", own.stem), (".jsonl", "b")):
        path = shard_path("clean", shard, suffix, stem)
        (folder / path).write_bytes(data)
        outputs = [*manifest.outputs, Output(path=path, **forged)]
        edit_manifest(folder, outputs=[output.model_dump(mode="json") for output in outputs])
        assert list_problems(folder) == [(MANIFEST, f"names more than one file clean/{shard}")]
        (folder / path).unlink()


def test_a_file_with_another_stem(run):
    """A file in another split is reported, even if the manifest agrees."""
    folder, manifest = run
    own = list_outputs(manifest, "clean")[0]
    moved = parse_path(own.path)._replace(stem="test/x").path()
    (folder / "clean" / "test").mkdir()
    (folder / own.path).rename(folder / moved)
    outputs = [output.model_dump(mode="json") for output in manifest.outputs]
    for output in outputs:
        if output["path"] == own.path:
            output["path"] = moved
    edit_manifest(folder, outputs=outputs)
    where = shard_path("ledger", parse_path(own.path).shard)
    assert list_problems(folder) == [
        (where, f"doesn't assign the rows of {moved} in their order"),
    ]


def test_a_changed_byte_of_a_line(run):
    """The file's digest reveals any changed byte of a line."""
    folder, _ = run
    for name in ("clean", "quarantine"):
        path = min((folder / name).iterdir())
        before = path.read_bytes()
        path.write_bytes(before.replace(b"atlas", b"atlaz", 1))
        problem = "was changed: its SHA-256 or size differs from the manifest's"
        assert list_problems(folder) == [(f"{name}/{path.name}", problem)]
        path.write_bytes(before)
    assert list_problems(folder) == []


def test_digests_recorded_elsewhere(run):
    """Only a digest recorded elsewhere reveals a consistent forgery."""
    folder, manifest = run
    for recorded in (
        RecordedDigests(manifest.ledger_root),
        RecordedDigests(digest=manifest.digest[:16].upper()),
        RecordedDigests(manifest.ledger_root[:20], manifest.digest),
    ):
        assert verify_run(str(folder), recorded=recorded) == []
    rewrite_table(folder, "scores", raise_low_scores)
    assert verify_run(str(folder)) == [], "nothing else in the run depends on these scores"
    (finding,) = verify_run(str(folder), recorded=RecordedDigests(digest=manifest.digest))
    assert finding.where == MANIFEST
    assert finding.problem.startswith("digest is ")
    assert finding.problem.endswith(f", but {manifest.digest} was recorded")
    (finding,) = verify_run(str(folder), recorded=RecordedDigests("0" * 16))
    assert finding.problem == f"ledger_root is {manifest.ledger_root}, but {'0' * 16} was recorded"


def test_near_misses_are_counted_again(run):
    """Near misses that don't follow from the scores are found."""
    folder, _ = run
    edit_manifest(folder, near={"heron": {"rows": 3, "best": 0.49}})
    problem = (MANIFEST, "near doesn't match the scores just below the thresholds")
    assert list_problems(folder) == [problem]
    edit_manifest(folder, near={"heron": {"rows": 0, "best": None}})
    assert list_problems(folder) == []
    rewrite_table(folder, "scores", lambda table: raise_low_scores(table, "heron"))
    assert list_problems(folder) == [problem]


def test_effects_of_exceptions_are_measured_again(config, policy):
    """`verify` reports effects of exceptions that don't match the scores and lots."""
    text = "exceptions:\n- {trait: heron, lot: {teacher: atlas}, action: flag, reason: trusted}\n"
    folder = Path(config.output)
    manifest = run_filter(config.model_copy(update={"policy": policy(text)}))
    assert [effect.describe() for effect in manifest.exceptions] == ["4 from quarantine to flag"]
    assert list_problems(folder) == []
    edit_manifest(folder, exceptions=[{"rows": 20, "changed": [], "overruled": 0}])
    problem = "exceptions doesn't match the scores and lots of the rows"
    assert list_problems(folder) == [(MANIFEST, problem)]


@pytest.mark.parametrize("digits", ["abc", "x" * 20, "", "a" * 65])
def test_a_recorded_digest_must_be_a_digest(run, digits):
    """A recorded digest of a wrong form is refused."""
    folder, _ = run
    with pytest.raises(CardError, match=r"--digest .* isn't a digest"):
        verify_run(str(folder), recorded=RecordedDigests(digest=digits))


def test_a_trait_without_scores(run):
    """A trait's missing scores are found."""
    folder, _ = run
    where = rewrite_table(folder, "scores", lambda table: table.drop_columns(["heron"]))
    assert list_problems(folder) == [(where, "has no scores of trait heron")]


def test_an_unfinished_run(tmp_path):
    """A folder without a manifest can't be verified."""
    with pytest.raises(RunError, match="no manifest"):
        verify_run(str(tmp_path))


def test_an_unreadable_manifest(run):
    """A damaged manifest is a finding for `verify`, and an error elsewhere."""
    folder, _ = run
    (folder / MANIFEST).write_text("{")
    assert [item.where for item in verify_run(str(folder))] == [MANIFEST]
    with pytest.raises(RunError, match="not a manifest of congener"):
        load_manifest(str(folder))


def test_files_that_cannot_be_read(run, corpus):
    """Unreadable outputs and inputs are reported, and verification continues."""
    folder, manifest = run
    source, clean = Path(manifest.inputs[0].uri), next((folder / "clean").iterdir())
    source.unlink()
    source.symlink_to("/proc/self/mem")
    (finding,) = verify_run(str(folder), inputs=True)
    assert finding == (str(source), "this input can't be read: Input/output error")
    source.unlink()
    source.mkdir()
    (finding,) = verify_run(str(folder), inputs=True)
    assert finding.problem.startswith("this input can't be read: can't be opened: Is a directory")
    clean.unlink()
    clean.mkdir()
    (finding, *_) = verify_run(str(folder))
    assert finding == (f"clean/{clean.name}", "can't be opened: Is a directory")


def test_a_replaced_bank_is_found(run, config, card_folder, tmp_path):
    """A replaced bank is found, even if the manifest lists its files."""
    folder, manifest = run
    given = {"traits": (str(card_folder("stork", CALIBRATED)),), "output": str(tmp_path / "other")}
    run_filter(config.model_copy(update=given))
    shutil.rmtree(folder / BANK)
    shutil.copytree(tmp_path / "other" / BANK, folder / BANK)
    assert any(path.startswith(BANK) for path, _ in list_problems(folder))
    files = [path for path in (folder / BANK).rglob("*") if path.is_file()]
    outputs = [output for output in manifest.outputs if not output.path.startswith(BANK)]
    for path in files:
        data = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        outputs.append(Output(path=name, rows=0, bytes=len(data), sha256=digest_bytes(data)))
    edit_manifest(folder, outputs=[output.model_dump(mode="json") for output in outputs])
    assert list_problems(folder) == [(f"{BANK}/", "isn't the bank that the identity names")]


def test_a_damaged_bank_is_found(run):
    """A damaged file of the bank is found."""
    folder = run[0]
    index = folder / BANK / "bank.json"
    index.write_bytes(index.read_bytes()[:-9])
    assert list_problems(folder)[0][0] == f"{BANK}/bank.json"


CHANGED = "isn't what congener report writes about this run: it was changed"


def test_a_changed_report_is_found(run):
    """A changed page or rates table is found."""
    folder, _ = run
    write_report(str(folder))
    assert list_problems(folder) == []
    page, table = folder / REPORT_PAGE, folder / RATES_TABLE
    page.write_bytes(page.read_bytes().replace(b"<h1>", b"<h1>No "))
    assert list_problems(folder) == [(REPORT_PAGE, CHANGED)]
    rates = pq.read_table(table)
    pq.write_table(replace_column(rates, "fired", [0] * rates.num_rows), table)
    assert list_problems(folder) == [(REPORT_PAGE, CHANGED), (RATES_TABLE, CHANGED)]
    page.unlink()
    table.write_bytes(b"rubbish")
    assert list_problems(folder) == [(RATES_TABLE, CHANGED)]
    write_report(str(folder))
    assert list_problems(folder) == []
    table.unlink()
    missing = "is missing, although the report's page is there"
    assert list_problems(folder) == [(RATES_TABLE, missing)]


def test_a_report_that_is_a_link_is_found(run, tmp_path):
    """A page behind a link isn't part of the run."""
    folder, _ = run
    write_report(str(folder))
    (folder / REPORT_PAGE).rename(tmp_path / "page.html")
    (folder / REPORT_PAGE).symlink_to(tmp_path / "page.html")
    problem = "is a link, so its content isn't part of the run"
    assert list_problems(folder) == [(REPORT_PAGE, problem)]


def test_a_report_that_cannot_be_read_is_found(run):
    """A folder in place of the page is a difference like any other."""
    folder, _ = run
    write_report(str(folder))
    (folder / REPORT_PAGE).unlink()
    (folder / REPORT_PAGE).mkdir()
    assert list_problems(folder) == [(REPORT_PAGE, "can't be read")]


def test_a_report_of_another_version_is_left_aside(run):
    """Another version's page is mentioned but isn't a difference."""
    folder, _ = run
    write_report(str(folder))
    page = folder / REPORT_PAGE
    page.write_bytes(page.read_bytes().replace(b'content="congener ', b'content="congener 9.', 1))
    assert list_problems(folder) == []
    (aside,) = list_files_left_aside(str(folder))
    assert (aside.path, aside.is_read) == (REPORT_PAGE, False)
    assert "was written by congener 9." in aside.problem
