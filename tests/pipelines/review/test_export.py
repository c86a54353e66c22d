"""The page in one file: it opens without a server, stays inert, and gives its labels out."""

import json
import re

import pytest
from playwright.sync_api import expect

from pipelines.labels import read_labels
from pipelines.review.export import export_rows, render_page
from pipelines.review.queries import RowSelection
from schemas.errors import StorageError
from tests.support.browsers import open_page


@pytest.fixture
def exported(session, tmp_path):
    """Export the first four rows on which the trait heron fired."""
    path = tmp_path / "page.html"
    heard = []
    assert export_rows(session, RowSelection(trait="heron"), 4, path, heard.append) == 4
    assert heard == [1, 2, 3, 4]
    return path


def test_the_rows_are_in_the_file(exported, session):
    """The file holds the first rows of the selection, whole."""
    data = re.search(r'id="packed">(.*?)</script>', exported.read_text(encoding="utf-8"))[1]
    packed = json.loads(data)
    expected = session.select(RowSelection(trait="heron"))[:4].tolist()
    assert [row["index"] for row in packed["rows"]] == expected
    assert packed["run"]["reviewer"] == "ada"
    assert packed["rows"][0]["company"]["lot"]["rows"] == 6
    assert packed["rows"][0]["place"][0].endswith(".jsonl")


def test_no_text_ends_the_data(exported):
    """Signs of markup and line separators in texts are escaped in the data."""
    page = exported.read_text(encoding="utf-8")
    data = page.split('id="packed">')[1].split("</script>")[0]
    assert "window.hurt = 1" in data
    assert not set(data) & set("<>&\u2028\u2029")
    assert page.count("<script") == 2


def test_the_page_loads_nothing(exported):
    """Style and script are inside, and the policy allows them by their digests alone."""
    page = exported.read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|img|link)[^>]* src=", page)
    assert "stylesheet" not in page
    assert "unsafe-inline" not in page
    assert "default-src 'none'" in page
    assert len(re.findall("'sha256-", page)) == 2


def test_the_same_rows_give_the_same_bytes(exported, session, tmp_path):
    """A second export is equal to the first."""
    other = tmp_path / "other.html"
    export_rows(session, RowSelection(trait="heron"), 4, other)
    assert other.read_bytes() == exported.read_bytes()


def test_it_opens_in_a_browser(browser, exported, tmp_path):
    """Keys move and label, markup stays text, and the labels can be saved and read."""
    with open_page(browser, exported.as_uri()) as page:
        assert page.inner_text("#where") == "1 of 4 with heron"
        assert not page.is_visible("#filters")
        page.keyboard.press("t")
        expect(page.locator("#where")).to_have_text("2 of 4 with heron")
        page.keyboard.press("f")
        expect(page.locator("#where")).to_have_text("3 of 4 with heron")
        page.keyboard.press("u")
        expect(page.locator("#where")).to_have_text("4 of 4 with heron")
        page.keyboard.press("z")
        expect(page.locator("#count")).to_have_text("2 labels")
        assert page.evaluate("window.hurt") is None
        assert page.locator("#row img, #row script").count() == 0
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "labels.jsonl")
    labels = read_labels(tmp_path / "labels.jsonl", "heron")
    assert [label.shows for label in labels] == [True, False]
    assert all(label.is_picked for label in labels)


def test_it_asks_about_the_exported_trait(browser, session, tmp_path):
    """A row on which another trait scores higher is labelled for the trait of the evidence."""
    path = tmp_path / "owls.html"
    count = export_rows(session, RowSelection(trait="owl"), 12, path)
    assert count > 3
    with open_page(browser, path.as_uri()) as page:
        for at in range(1, count + 1):
            expect(page.locator("#where")).to_have_text(f"{at} of {count} with owl")
            assert page.input_value("#trait") == "owl"
            assert page.inner_text("#row mark") == "owl"
            page.keyboard.press("j")


def test_it_asks_about_every_finding(browser, session, tmp_path):
    """Without a trait, the page asks first about the trait that decided, then about the next."""
    path = tmp_path / "rows.html"
    count = export_rows(session, RowSelection(text="and an owl"), 12, path)
    with open_page(browser, path.as_uri()) as page:
        for trait, where in (("heron", 1), ("owl", 1), ("heron", 2), ("owl", 2), ("heron", 3)):
            expect(page.locator("#where")).to_have_text(f"{where} of {count}")
            expect(page.locator("#trait")).to_have_value(trait)
            page.keyboard.press("f")
            wanted = f"{2 * where - (trait == 'heron')} label"
            expect(page.locator("#count")).to_contain_text(wanted)


def test_it_counts_the_labels_given_on_it(browser, session, tmp_path):
    """The exporter's labels don't count on the page, but those given on it do."""
    session.add_label({"index": 3, "trait": "heron", "label": "no"})
    path = tmp_path / "rows.html"
    export_rows(session, RowSelection(text="and an owl"), 12, path)
    with open_page(browser, path.as_uri()) as page:
        effect = page.locator("#effect")
        page.select_option("#trait", "owl")
        expect(effect).to_contain_text("only if you deny heron too")
        page.select_option("#trait", "heron")
        page.locator("#trait").blur()
        page.keyboard.press("f")
        expect(page.locator("#trait")).to_have_value("owl")
        expect(effect).to_have_text("`congener release` counts all your labels of this row.")
        page.keyboard.press("z")
        expect(effect).to_contain_text("returns this row to clean/ with the flag of owl")


def test_blank_lines_are_folded_and_the_head_stays(browser, exported, tmp_path):
    """A row with thousands of blank lines says how many, and its name stays in sight."""
    data = re.search(r'id="packed">(.*?)</script>', exported.read_text(encoding="utf-8"))[1]
    packed = json.loads(data)
    lines = "line\n" * 200
    packed["rows"][0]["fields"][0]["pieces"] = [
        [f"a{chr(10) * 4001}b\n\n\nc{lines}", ""],
        ["found", "m"],
    ]
    path = tmp_path / "long.html"
    path.write_text(render_page(packed), encoding="utf-8")
    with open_page(browser, path.as_uri()) as page:
        text = page.text_content("#row .text")
        assert text.startswith("a\n(4000 blank lines)\nb\n\n\ncline")
        assert page.evaluate("window.scrollY") > 0, "the evidence is scrolled to"
        for part in ("#row .head", "#side h3"):
            box = page.locator(part).first.bounding_box()
            assert 0 <= box["y"] < 60, part


def test_a_blind_page_has_nothing_to_find(open_session, tmp_path):
    """A blind export doesn't hold scores or decisions either, not even hidden."""
    session = open_session("ben", blind=True)
    path = tmp_path / "blind.html"
    assert export_rows(session, RowSelection(trait="heron", order="shuffled"), 5, path) == 5
    data = path.read_text(encoding="utf-8").split('id="packed">')[1].split("</script>")[0]
    for word in ("quarantine", "threshold", "score", "fired", "teacher"):
        assert word not in data


def test_a_page_without_rows():
    """A page can hold no row."""
    assert '"rows": []' in render_page({"run": {}, "rows": []})


def test_a_file_that_cannot_be_written(session, tmp_path):
    """A folder in place of the file is an error that names it."""
    with pytest.raises(StorageError):
        export_rows(session, RowSelection(), 1, tmp_path)
