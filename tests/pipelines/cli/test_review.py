"""`congener review`: its options, its address, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from pipelines.cli.review import choose_base
from schemas.errors import CardError
from tests.support.certificates import draw_small


@pytest.fixture
def folder(run) -> str:
    """Return the folder of a finished run."""
    return str(run[0])


def test_a_review_is_served_until_it_is_interrupted(folder, root):
    """The command prints an address that lets a browser in, keeps labels, and says where."""
    command = [sys.executable, "-m", "congener", "review", folder, "--reviewer", "ada"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    url = process.stdout.readline().split()[1]
    assert url.startswith("http://127.0.0.1:")
    cookies = urllib.request.HTTPCookieProcessor(CookieJar())
    opener = urllib.request.build_opener(cookies)
    assert b"congener review" in opener.open(url).read()
    base = url.partition("/?")[0]
    rows = json.loads(opener.open(f"{base}/api/rows").read())["rows"]
    label = json.dumps({"index": rows[0], "trait": "heron", "label": "yes"}).encode()
    headers = {"Content-Type": "application/json", "Origin": base}
    opener.open(urllib.request.Request(f"{base}/api/label", label, headers)).read()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"1 label in {folder}.review/labels-ada.jsonl" in out
    assert "congener traits eval" in out


def test_a_page_is_exported(congener, folder, tmp_path):
    """--export writes the first rows that the filters select, and ends."""
    page = tmp_path / "page.html"
    given = ("--trait", "heron", "--decision", "quarantine", "-n", "3")
    code, out, err = congener("review", folder, "--export", str(page), *given)
    assert (code, err) == (0, "")
    assert f"3 rows in {page}" in out
    assert "heron" in page.read_text(encoding="utf-8")


def test_a_blind_page_is_exported(congener, folder, tmp_path):
    """--blind exports rows of the first trait in random order, without decisions."""
    page = tmp_path / "page.html"
    code, _, err = congener("review", folder, "--blind", "--export", str(page))
    assert (code, err) == (0, "")
    assert "quarantine" not in page.read_text(encoding="utf-8").split('id="packed">')[1][:20_000]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--reviewer", "../ada"), "--reviewer"),
        (("--host", "0.0.0.0"), "--host"),
        (("--trait", "egret", "--export", "x.html"), "trait"),
        (("--decision", "masked", "--export", "x.html"), "decision"),
        (("--trait", "egret"), "trait"),
        (("--decision", "masked"), "decision"),
        (("--blind", "--decision", "quarantine"), "blind"),
        (("--port", "70000"), "--port"),
    ],
)
def test_wrong_options(congener, folder, given, said):
    """A wrong value is an error that names the option."""
    code, _, err = congener("review", folder, *given)
    assert code == 2
    assert said in err


def test_a_folder_inside_the_run_is_refused(congener, folder):
    """Labels inside the run would change it."""
    code, _, err = congener("review", folder, "--folder", f"{folder}/labels")
    assert code == 2
    assert "inside the run" in err


def test_a_run_is_needed(congener, tmp_path):
    """Anything but a run is refused as by inspect."""
    code, _, err = congener("review", str(tmp_path / "nowhere"))
    assert code == 4
    assert "doesn't exist" in err


def test_the_folder_is_beside_the_run(tmp_path, monkeypatch):
    """The folder has the run's name, however the run is written; a store needs a folder."""
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(run)
    for name in (str(run), f"{run}/", ".", "../link"):
        assert choose_base(name, None) == tmp_path / "run.review"
    assert choose_base("gs://bucket/run", str(tmp_path / "own")) == tmp_path / "own"
    with pytest.raises(CardError, match="--folder"):
        choose_base("gs://bucket/run", None)


def test_a_folder_with_signs_of_a_pattern(congener, folder, tmp_path):
    """Signs of patterns and partitions are parts of a name; one that isn't UTF-8 is refused."""
    page = str(tmp_path / "page.html")
    for name in ("a[b", "teacher=x", "*"):
        code, _, err = congener(
            "review", folder, "--folder", str(tmp_path / name), "--export", page
        )
        assert (code, err) == (0, "")
    code, _, err = congener("review", folder, "--folder", "a\udcff", "--export", page)
    assert code == 2
    code, _, err = congener("review", folder, "--export", str(tmp_path))
    assert (code, "is a folder" in err) == (6, True)


def test_an_audit_is_served_until_it_is_interrupted(folder, root, tmp_path):
    """--certify serves the drawn items, keeps labels of them, and says how to certify."""
    draw_small(Path(folder), tmp_path)
    sheet = tmp_path / "audit.jsonl"
    command = [sys.executable, "-m", "congener", "review", folder, "--certify", str(sheet)]
    process = subprocess.Popen(
        [*command, "--reviewer", "ada"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    url = process.stdout.readline().split()[1]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    opener.open(url).read()
    base = url.partition("/?")[0]
    assert json.loads(opener.open(f"{base}/api/run").read())["audit"]["done"] == 0
    label = json.dumps({"index": 0, "trait": "heron", "label": "yes"}).encode()
    headers = {"Content-Type": "application/json", "Origin": base}
    answer = opener.open(urllib.request.Request(f"{base}/api/label", label, headers)).read()
    assert json.loads(answer)["whole"] is True
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    book = f"{folder}.review/audit-ada.jsonl"
    assert f"1 label in {book}" in out
    assert f"next: congener certify {folder} --labels {book}" in out


@pytest.mark.parametrize(
    "other", [("--terminal",), ("--trait", "heron"), ("--export", "page.html")]
)
def test_an_audit_shows_all_its_items(congener, folder, other):
    """Options that choose rows or another page don't go with --certify."""
    code, _, err = congener("review", folder, "--certify", "audit.jsonl", *other)
    assert code == 2
    assert f"{other[0]} doesn't go with --certify" in err


def test_an_audit_needs_a_draw(congener, folder, tmp_path):
    """Without a sample or a label file, the error says what comes first."""
    missing = tmp_path / "audit.jsonl"
    code, _, err = congener("review", folder, "--certify", str(missing))
    assert code == 2
    assert "certify --draw" in err
    missing.write_text('{"id": "00001", "answer": "x", "label": null}\n')
    code, _, err = congener("review", folder, "--certify", str(missing))
    assert code == 4
    assert "no sample was drawn" in err


def test_rows_are_written_for_other_tools(congener, folder, tmp_path):
    """--atlas and --scout write all rows, --scans the findings, and each says how to open it."""
    points, transcripts = tmp_path / "rows.parquet", tmp_path / "scout"
    scans = tmp_path / "scans"
    words = ("--atlas", str(points), "--scout", str(transcripts), "--scans", str(scans))
    code, out, err = congener("review", folder, *words)
    assert (code, err) == (0, "")
    assert f"scout view --scans {scans} -T {transcripts}" in out
    assert "8 findings of 1 trait in" in out
    assert len([*scans.glob("scan_id=*/*.parquet")]) == 1
    assert f"embedding-atlas {points} --text text --x x --y y" in out
    assert f"scout view -T {transcripts}" in out
    assert points.is_file()
    assert {path.suffix for path in transcripts.iterdir()} == {".parquet"}


def test_options_choose_the_rows_for_other_tools(congener, folder, tmp_path):
    """--decision and --trait hold for the files, too: nothing else is written."""
    transcripts, scans = tmp_path / "scout", tmp_path / "scans"
    words = ("--scout", str(transcripts), "--scans", str(scans), "--decision", "quarantine")
    code, out, err = congener("review", folder, *words)
    assert (code, err) == (0, "")
    assert f"8 of 8 rows in {transcripts}" in out
    assert "8 findings of 1 trait in" in out
    words = ("--scout", str(tmp_path / "kept"), "--decision", "keep")
    code, out, err = congener("review", folder, *words)
    assert (code, f"32 of 32 rows in {tmp_path / 'kept'}" in out) == (0, True)
    summary = json.loads(next(scans.glob("scan_id=*/_summary.json")).read_text())
    assert summary["scanners"]["heron"] == {"scans": 8, "results": 8, "errors": 0}
    code, _, err = congener("review", folder, "--scout", str(tmp_path / "no"), "--trait", "ow")
    assert (code, "'ow' isn't known" in err) == (2, True)


@pytest.mark.parametrize("option", ["--atlas", "--scout", "--scans"])
def test_files_for_other_tools_are_not_in_a_run(congener, folder, option):
    """A path inside the run, or on a store, is refused before anything is read."""
    code, _, err = congener("review", folder, option, f"{folder}/clean/rows.parquet")
    assert code != 0
    assert "run" in err
    code, _, err = congener("review", folder, option, "s3://bucket/rows.parquet")
    assert code == 2
    assert "this machine" in err
    code, _, err = congener("review", folder, option, "h\udce9ron")
    assert code == 2
    assert f"{option}: 'h\\udce9ron' can't be printed" in " ".join(err.split())
