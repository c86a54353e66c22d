"""The page over an audit's items: what it shows, what it keeps, and when it shows the bound."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from pipelines.certify import certify_run
from pipelines.certifying.statements import trace_residual
from pipelines.review import audits
from pipelines.review.audits import BLOCK, STRUCK_OUT, AuditSession, read_items
from pipelines.review.effects import AUDIT
from pipelines.review.judgements import LabelBook
from schemas.errors import CardError, RunError
from tests.support.browsers import open_page
from tests.support.certificates import draw_small, read_sheet, tell_truth


@pytest.fixture
def open_audit(run, tmp_path):
    """Return a function that opens an audit of the small run, with 26 items or more."""
    drawn = draw_small(run[0], tmp_path)

    def open_it(sample=drawn.sample, reviewer="ada") -> AuditSession:
        return AuditSession(
            str(run[0]), sample, tmp_path / "audit.jsonl", tmp_path / "review", reviewer
        )

    return open_it


@pytest.fixture
def audit(open_audit) -> AuditSession:
    """Open an audit without labels."""
    return open_audit()


def label_items(audit: AuditSession, first: int, last: int) -> None:
    """Label items truly."""
    for index in range(first, last):
        verdict = "yes" if tell_truth(audit.sample.items[index]) else "no"
        audit.add_label({"index": index, "trait": "heron", "label": verdict})


def widen(audit: AuditSession) -> AuditSession:
    """Give the audit a second trait."""
    audit.sample = audit.sample.model_copy(update={"traits": ("heron", "owl")})
    return audit


def wait_for_item(page, number: int) -> None:
    """Wait until the page shows an item."""
    shown = "name => document.querySelector('#row .head b').textContent === name"
    page.wait_for_function(shown, arg=f"item {number:05d}")


def test_the_page_learns_about_the_audit(audit):
    """It gets the traits, the number of items and no decision."""
    found = audit.describe_run()
    assert (found["blind"], found["traits"], found["rows"]) == (True, ["heron"], 26)
    assert found["audit"]["done"] == found["audit"]["next"] == found["audit"]["after"] == 0
    assert "values" not in found
    assert found["effect"] == AUDIT
    assert set(found["definitions"]) >= {"heron"}
    with pytest.raises(CardError, match="shows no decisions"):
        audit.describe_company(0)
    with pytest.raises(CardError, match="no map"):
        audit.describe_map({})


def test_items_are_shown_as_raters_read_them(audit, tmp_path):
    """A row and a mixed-in text look alike: a prompt, an answer and a name that says nothing."""
    sheet = read_sheet(tmp_path / "audit.jsonl")
    for index, line in enumerate(sheet):
        found = audit.describe_row(index)
        assert (found["source"], found["row"]) == (f"item {line['id']}", None)
        assert [field["pieces"][0][0] for field in found["fields"]] == [
            line["prompt"],
            line["answer"],
        ]
        assert set(found) == {"index", "source", "row", "fields", "notes", "labels"}


def test_items_are_listed_in_their_order(audit):
    """They can be chosen by whether they have labels, and in parts."""
    label_items(audit, 0, 2)
    assert audit.list_rows({}) == {"total": 26, "start": 0, "rows": [*range(26)]}
    assert audit.list_rows({"labelled": "yes"})["rows"] == [0, 1]
    assert audit.list_rows({"labelled": "no", "start": "20"})["rows"] == [22, 23, 24, 25]
    assert audit.describe_audit()["next"] == 2
    with pytest.raises(CardError, match="no item 26"):
        audit.describe_row(26)


def test_labels_are_kept_and_count(audit, run):
    """The certificate takes them, and says so."""
    label_items(audit, 0, 26)
    stated = certify_run(str(run[0]), [audit.book.path])
    assert stated.certificate.raters == ("ada",)
    assert stated.certificate.together.residual.read == 16
    assert [(review.counted, review.unused) for review in stated.reviews] == [(26, {})]
    line = json.loads(audit.book.path.read_text().splitlines()[0])
    assert (line["id"], line["blind"], line["picked"]) == ("00001", True, False)
    assert "source" not in line


def test_the_bound_changes_with_each_block(audit, run):
    """Shown after each item, it would say what the item was."""
    label_items(audit, 0, BLOCK - 1)
    assert audit.describe_audit()["after"] == 0
    label_items(audit, BLOCK - 1, BLOCK)
    first = audit.describe_audit()
    assert first["after"] == BLOCK
    assert 0 < first["bound"] < 1
    assert first["curve"][-1][0] == first["read"] > 0
    label_items(audit, BLOCK, 26)
    assert audit.describe_audit() == {**first, "done": 26, "next": 0}


def test_a_new_session_shows_the_same_bound(open_audit):
    """Labels of the block that has begun aren't in it."""
    one = open_audit()
    label_items(one, 0, 24)
    assert open_audit().describe_audit() == one.describe_audit()


def test_the_bound_is_that_of_the_certificate(audit, monkeypatch, run):
    """The page and the certificate state the same."""
    monkeypatch.setattr(audits, "BLOCK", 13)
    label_items(audit, 0, 26)
    found = audit.describe_audit()
    residual = certify_run(str(run[0]), [audit.book.path]).certificate.together.residual
    assert (found["bound"], found["adjusted"]) == (residual.bound, residual.adjusted)
    assert trace_residual(audit.sample, [])[0].bound == 1


def test_labels_in_a_shown_bound_stay(audit):
    """A change after a look at the bound wouldn't be blind."""
    label_items(audit, 0, BLOCK)
    with pytest.raises(CardError, match="wouldn't be blind"):
        label_items(audit, 3, 4)
    with pytest.raises(CardError, match="so it stays"):
        audit.undo()
    label_items(audit, BLOCK, BLOCK + 1)
    assert audit.undo()["index"] == BLOCK
    assert len(audit.book) == BLOCK


def test_labels_before_the_bound_can_be_changed(audit):
    """Undo names the item, and the last label counts."""
    label_items(audit, 0, 2)
    audit.add_label({"index": 0, "trait": "heron", "label": "unsure"})
    assert [item["label"] for item in audit.describe_row(0)["labels"]] == ["unsure"]
    assert audit.undo() | {"audit": None} == {
        "index": 0,
        "trait": "heron",
        "labels": 2,
        "audit": None,
    }
    audit.undo()
    audit.undo()
    with pytest.raises(CardError, match="no label to take back"):
        audit.undo()


def test_none_answers_for_every_trait_left(audit):
    """With several traits, an item is whole once each has a label."""
    widen(audit)
    first = audit.add_label({"index": 0, "trait": "owl", "label": "yes"})
    assert (first["whole"], first["labels"]) == (False, 1)
    second = audit.add_label({"index": 0, "trait": "heron", "label": "none"})
    assert (second["whole"], second["labels"]) == (True, 2)
    kept = {item["trait"]: item["label"] for item in audit.describe_row(0)["labels"]}
    assert kept == {"owl": True, "heron": False}
    assert audit.list_finished() == audit.list_done() == ["00001"]


def test_rows_seen_with_their_decision_do_not_count(open_audit, run, tmp_path):
    """A reviewer who labelled a row on the open page isn't blind about it on this one."""
    sample = open_audit().sample
    item = next(item for item in sample.items if item.kind == "removed")
    book = LabelBook(tmp_path / "review" / "labels-ada.jsonl", "ada", run[1].digest)
    book.add(
        {"source": item.source, "row": item.row, "record_id": "0" * 32}, "heron", "yes", blind=True
    )
    assert open_audit().describe_audit()["in_sight"] == 0
    book.add({"source": item.source, "row": item.row, "record_id": "0" * 32}, "heron", "yes")
    audit = open_audit()
    assert audit.describe_audit()["in_sight"] == 1
    label_items(audit, 0, 26)
    (review,) = certify_run(str(run[0]), [audit.book.path]).reviews
    assert (review.counted, review.labels) == (25, 26)


def test_only_the_sheet_of_the_run_is_read(audit, run, tmp_path):
    """A file of labels, a table or an empty file has no items."""
    for name, text in (("a.jsonl", '{"id": "99999", "answer": "x"}\n'), ("b.jsonl", '{"id": 1}\n')):
        (tmp_path / name).write_text(text)
        with pytest.raises(CardError, match="isn't an item"):
            list(read_items(tmp_path / name, audit.sample))
    for name in ("c.jsonl", "d.csv"):
        (tmp_path / name).write_text("")
        with pytest.raises(CardError, match="lists no items"):
            list(read_items(tmp_path / name, audit.sample))


def test_a_sample_of_another_run_is_refused(open_audit, audit):
    """The run's manifest must be that of the draw."""
    other = audit.sample.model_copy(update={"manifest": "0" * 64})
    with pytest.raises(RunError, match="another run"):
        open_audit(other)


def test_wrong_requests_write_nothing(audit):
    """A label needs an item, a trait of the audit and a verdict."""
    for given in (
        {"index": 0, "trait": "owl", "label": "yes"},
        {"index": 99, "trait": "heron", "label": "yes"},
        {"index": 0, "trait": "heron", "label": "maybe"},
    ):
        with pytest.raises(CardError):
            audit.add_label(given)
    assert not audit.book.path.exists()


def test_an_audit_with_the_keyboard(browser, serve, audit):
    """Keys label the items in their order, and the bound appears after a block."""
    with open_page(browser, serve(audit).url) as page:
        assert page.inner_text("#row .head b") == "item 00001"
        assert "It is shown after 20 items" in page.inner_text("#side")
        assert page.is_hidden("#none")
        for number in range(BLOCK):
            key = "t" if tell_truth(audit.sample.items[number]) else "f"
            page.keyboard.press(key)
            wait_for_item(page, number + 2)
        assert "at most" in page.inner_text("#side .bound")
        assert page.locator("#side svg.curve polyline").count() == 2


def test_two_traits_with_the_keyboard(browser, serve, audit):
    """The page stays on an item until each trait has a label, and n labels the rest."""
    with open_page(browser, serve(widen(audit)).url) as page:
        page.keyboard.press("t")
        page.wait_for_function("() => document.querySelector('#trait').value === 'owl'")
        assert page.inner_text("#row .head b") == "item 00001"
        page.keyboard.press("n")
        wait_for_item(page, 2)
        page.keyboard.press("n")
        wait_for_item(page, 3)
        assert len(audit.book) == 4


def test_a_trait_is_chosen_by_its_number(browser, serve, audit):
    """Two digits choose the fourteenth of fifteen traits, and the list shows what is labelled."""
    names = [f"trait-{number}" for number in range(1, 16)]
    audit.sample = audit.sample.model_copy(update={"traits": tuple(names)})
    with open_page(browser, serve(audit).url) as page:
        buttons = page.locator(".traits button")
        assert buttons.count() == 15
        assert buttons.nth(13).text_content() == "14trait-14"
        page.keyboard.type("14")
        expect(page.locator("#trait")).to_have_value("trait-14")
        expect(page.locator(".traits [aria-current=true]")).to_have_text("14trait-14")
        page.keyboard.press("t")
        expect(buttons.nth(13)).to_have_text("14trait-14 · true")
        expect(page.locator("#trait")).to_have_value("trait-1")
        page.keyboard.type("2")
        page.wait_for_timeout(1100)
        page.keyboard.type("1")
        expect(page.locator("#trait")).to_have_value("trait-1")
        page.keyboard.press("n")
        wait_for_item(page, 2)
    assert len(audit.book) == 15


def test_the_end_of_an_audit(browser, serve, audit):
    """After the last item, the page says how many labels there are, and how to certify."""
    count = len(audit.items)
    label_items(audit, 0, count - 1)
    with open_page(browser, serve(audit).url) as page:
        assert page.inner_text("#where") == f"{count} of {count}"
        page.keyboard.press("u")
        expect(page.locator("#where")).to_have_text(f"all {count} labelled")
        assert f"All {count} items have a label." in page.inner_text("#row")
        assert "1 unsure" in page.inner_text("#counts")
        found = page.inner_text("#reached")
        assert found.startswith(f"After {BLOCK} items: at most ")
        assert found.endswith("% of the kept rows show a trait")
        command = f"congener certify {audit.run} --labels {audit.book.path}"
        assert page.locator("code").all_inner_texts() == [command]


def strike_out(sheet, first: str) -> None:
    """Mark the first words of the second item as masked."""
    lines = read_sheet(sheet)
    end = len(lines[1]["answer"].split(".")[0])
    passage = {"in": "answer", "start": 0, "end": end, "text": lines[1]["answer"][:end]}
    lines[1] = {**lines[1], "masked": [passage | ({"text": first} if first else {})]}
    sheet.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_masked_text_is_struck_out(open_audit, tmp_path):
    """The page says what to label, and shows the masked passage as masked."""
    strike_out(tmp_path / "audit.jsonl", "")
    audit = open_audit()
    assert audit.describe_run()["effect"] == f"{AUDIT}; {STRUCK_OUT}"
    pieces = audit.describe_row(1)["fields"][-1]["pieces"]
    assert pieces[0][1] == "x"
    assert {letters for _, letters in pieces[1:]} == {""}
    assert audit.describe_row(0)["fields"][-1]["pieces"][0][1] == ""


def test_a_changed_mask_is_refused(open_audit, tmp_path):
    """The page doesn't strike out another text than the draw did."""
    strike_out(tmp_path / "audit.jsonl", "something else")
    with pytest.raises(CardError, match="`masked` doesn't name passages"):
        open_audit()


def test_texts_keep_their_lines(open_audit, tmp_path):
    """Line breaks and tabs stay as they are, and other control characters are escaped."""
    path = tmp_path / "audit.jsonl"
    lines = [{**line, "answer": "a\n\tb\u202ec"} for line in read_sheet(path)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pieces = open_audit().describe_row(0)["fields"][-1]["pieces"]
    assert pieces[0] == ["a\n\tb", ""]
    assert "\u202e" not in json.dumps(pieces, ensure_ascii=False)


def test_the_end_says_that_the_target_is_missed(run, tmp_path):
    """When every item has a label, a missed target names a larger draw into the same file."""
    drawn = draw_small(run[0], tmp_path, rows=10, seeded=0)
    wanted = drawn.sample.model_copy(update={"at_most": 0.3})
    sheet = tmp_path / "audit.jsonl"
    audit = AuditSession(str(run[0]), wanted, sheet, tmp_path / "review", "ada")
    label_items(audit, 0, 9)
    end = audit.describe_end({})
    assert [step["purpose"] for step in end["steps"]] == ["write the certificate"]
    assert end["note"] == (
        "The target isn't met yet, and 1 item is left to read. "
        "Each statement stays in the run's history."
    )
    audit.sample = wanted.model_copy(update={"at_most": 0.9})
    assert "left to read; reading all would show it, if no" in audit.describe_end({})["note"]
    audit.sample = wanted
    label_items(audit, 9, 10)
    assert audit.describe_end({})["note"] == ""
    first, second = audit.describe_end({})["steps"]
    assert first["purpose"].startswith("the target is missed")
    assert first["command"].endswith(f"--output {sheet}")
    assert second["purpose"] == "write the certificate"
    audit.sample = wanted.model_copy(update={"at_most": 0.99})
    assert len(audit.describe_end({})["steps"]) == 1
