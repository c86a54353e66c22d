"""The server of the review: whom it lets in, what it refuses, and the page in a real browser."""

import http.client
import json
import socket

import numpy as np
import pytest
from playwright.sync_api import expect

from classifiers.lots.planes import GRID
from pipelines.review.guard import HEADERS, LARGEST_BODY
from pipelines.review.server import GETS, PAGES, POSTS, ReviewServer, read_page
from schemas.errors import StorageError
from tests.support.browsers import open_page

LABEL = json.dumps({"index": 3, "trait": "owl", "label": "yes"}).encode()


def test_the_printed_address_lets_a_browser_in(client, server):
    """The token gives a cookie, and disappears from the address."""
    target = server.url.removeprefix(f"http://{client.host}")
    reply = client.send("GET", target, Cookie=None, Origin=None)
    assert (reply.status, reply.headers.get("Location")) == (303, "/")
    assert reply.headers.get("Set-Cookie") == server.guard.write_cookie()
    assert client.send("GET", "/?token=wrong", Cookie=None).status == 401


@pytest.mark.parametrize("target", [*PAGES, *GETS])
def test_nothing_is_sent_without_the_cookie(client, target):
    """Neither a page nor a row is sent to whoever lacks the cookie."""
    for cookie in (None, "x=y"):
        reply = client.send("GET", target, Cookie=cookie)
        assert reply.status == 401
        assert b"heron" not in reply.body


@pytest.mark.parametrize("target", [*POSTS])
def test_nothing_is_changed_without_the_cookie(client, server, target):
    """A change needs the cookie, whatever else fits."""
    assert client.send("POST", target, LABEL, Cookie=None).status == 401
    assert len(server.session.book) == 0


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": None}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": None}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Length": "x"}, 415),
        ({"Content_Length": str(LARGEST_BODY + 1)}, 413),
        ({"Content_Length": "9" * 30}, 413),
    ],
)
def test_a_change_from_elsewhere_is_refused(client, server, changes, status):
    """Other hosts, origins, kinds and sizes change nothing, and end the connection."""
    headers = {name.replace("_", "-"): value for name, value in changes.items()}
    reply = client.send("POST", "/api/label", LABEL, **headers)
    assert reply.status == status
    assert reply.headers.get("Content-Type") == "text/plain; charset=utf-8"
    assert len(server.session.book) == 0


def test_a_row_is_not_read_from_another_site(client):
    """Reading under another host's name is refused too."""
    assert client.send("GET", "/api/row?index=1", Host="evil.example:80").status == 421


@pytest.mark.parametrize(
    "target",
    [
        "/../../etc/passwd",
        "/review.html",
        "/static/review.js",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/api/row/../run",
        "/api/label",
        "/favicon.ico",
    ],
)
def test_no_address_leads_to_a_file(client, target):
    """Only the known addresses exist, so no path of a client reaches the file system."""
    assert client.send("GET", target).status == 404


def test_every_reply_has_the_headers(client):
    """Pages, answers, refusals and errors carry the policy, and aren't kept."""
    for target in ("/", "/api/run", "/nothing", "/api/row?index=x"):
        reply = client.send("GET", target)
        assert {name: reply.headers.get(name) for name in HEADERS} == dict(HEADERS)
        assert "Python" not in reply.headers.get("Server")


def test_answers_are_json(client, server):
    """The page's questions have answers, and a change is kept."""
    assert client.get("/api/run")["run"] == "answers"
    assert client.get("/api/progress")["ready"] is True
    rows = client.get("/api/rows?trait=owl&order=row")["rows"]
    assert client.get(f"/api/row?index={rows[0]}&trait=owl")["index"] == rows[0]
    assert client.get(f"/api/company?index={rows[0]}")["lot"]["rows"] == 6
    assert client.post("/api/label", index=rows[0], trait="owl", label="yes")["labels"] == 1
    assert client.post("/api/undo")["index"] == rows[0]
    assert len(server.session.book) == 0


@pytest.mark.parametrize(
    "target",
    [
        "/api/rows?trait=egret",
        "/api/rows?start=-1",
        "/api/rows?path=x",
        "/api/row",
        "/api/row?index=99",
        "/api/row?index=1e3",
        "/api/company?index=",
        "/api/rows?low=nan",
    ],
)
def test_wrong_questions_get_a_problem(client, target):
    """A mistake is an answer with the problem, not a broken connection."""
    reply = client.send("GET", target)
    assert reply.status == 400
    assert json.loads(reply.body)["problem"]


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b"[" * 5_000, b'{"index": 1}', b"\xff"])
def test_wrong_changes_get_a_problem(client, server, body):
    """A body that isn't a label is refused, however it is broken."""
    reply = client.send("POST", "/api/label", body)
    assert reply.status == 400
    assert len(server.session.book) == 0


def test_a_used_port_is_named(server, session):
    """A port that another program has is an error with a remedy."""
    with pytest.raises(StorageError, match="--port"):
        ReviewServer(session, port=server.server_port)


def test_a_browser_that_is_gone_is_no_error(server, capsys):
    """A connection that ends before its reply prints nothing; another fault is printed."""
    for error in (BrokenPipeError(), ConnectionResetError(), ValueError("a fault of ours")):
        try:
            raise error
        except (OSError, ValueError):
            server.handle_error(None, ("127.0.0.1", 1))
        printed = capsys.readouterr().err
        assert ("a fault of ours" in printed) is isinstance(error, ValueError)
        assert isinstance(error, ValueError) or not printed


def test_an_unfinished_request_disturbs_nobody(client, server):
    """Others are answered while a client is silent."""
    with socket.create_connection(("127.0.0.1", server.server_port)) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost: x")
        assert client.get("/api/run")["rows"] == 24


def test_the_page_has_no_inline_script_or_style():
    """The policy forbids both, so the page mustn't need them."""
    page = read_page("review.html")
    scripts = [f'<script type="module" src="/{name}.js">' for name in ("review", "map")]
    assert [page.count(script) for script in scripts] == [1, 1]
    assert page.count("<script") == 2
    assert "<style" not in page
    assert " style=" not in page
    assert "onclick" not in page
    script = read_page("review.js") + read_page("map.js")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in script


def test_hostile_text_stays_inert(browser, server):
    """Markup in a row is shown as text: nothing runs, and nothing is loaded."""
    with open_page(browser, server.url) as page:
        page.fill("[name=text]", "atlas.jsonl:3")
        expect(page.locator("#where")).to_have_text("1 of 1")
        page.wait_for_selector("#row >> text=<script>window.hurt = 1</script>")
        assert page.evaluate("window.hurt") is None
        assert page.locator("#row img, #row script, aside img, aside script").count() == 0
        assert page.locator("#row mark").all_inner_texts() == ["heron"]
        page.locator("[name=text]").blur()
        page.keyboard.press("]")
        expect(page.locator("#row mark")).to_have_text(["owl"])


def test_labels_with_the_keyboard(browser, server):
    """Keys label (t, f, u), and take back (z); j and k move; the file follows at once."""
    book = server.session.book
    with open_page(browser, server.url) as page:
        page.select_option("[name=trait]", "heron")
        expect(page.locator("#where")).to_have_text("1 of 12")
        page.locator("[name=trait]").blur()
        for number, key in enumerate("tfu", 1):
            page.keyboard.press(key)
            expect(page.locator("#where")).to_have_text(f"{number + 1} of 12")
        assert [line["label"] for line in book.list_labels().values()] == [True, False, "unsure"]
        page.keyboard.press("z")
        expect(page.locator("#count")).to_have_text("2 labels")
        expect(page.locator("#where")).to_have_text("3 of 12")
        assert len(book) == 2
        page.keyboard.press("k")
        page.wait_for_selector("#row .chip.no >> text=heron: false")
        page.keyboard.press("j")
        expect(page.locator("#where")).to_have_text("3 of 12")


def test_the_page_begins_with_chosen_rows(browser, serve, open_session):
    """A trait or a decision that the command names is chosen at first, and asked about."""
    session = open_session()
    session.chosen = {"trait": "owl", "decision": "flag"}
    with open_page(browser, serve(session).url) as page:
        chosen = [page.input_value(f"[name={name}]") for name in ("trait", "decision")]
        assert chosen == ["owl", "flag"]
        assert page.input_value("#trait") == "owl"
        page.keyboard.press("t")
        expect(page.locator("#count")).to_have_text("1 label")
    assert [place[2] for place in session.book.list_labels()] == ["owl"]
    blind = open_session("ben", blind=True)
    blind.chosen = {"trait": "owl"}
    with open_page(browser, serve(blind).url) as page:
        assert page.input_value("#trait") == "owl"


def test_the_page_says_what_a_trait_is_and_what_labels_do(browser, server):
    """The description and the effects of both labels follow the row and the trait."""
    with open_page(browser, server.url) as page:
        page.fill("[name=text]", "atlas.jsonl:3")
        expect(page.locator("#where")).to_have_text("1 of 1")
        page.select_option("#trait", "owl")
        expect(page.locator("#definition")).to_have_text("The word owl.")
        expect(page.locator("#effect")).to_contain_text("only if you deny heron too")
        page.select_option("#trait", "heron")
        expect(page.locator("#definition")).to_have_text("")
        expect(page.locator("#effect")).to_have_text(
            "true: nothing changes for this row; it stays in quarantine/. "
            "false: `congener release` returns this row to clean/ with the flag of owl."
        )


@pytest.mark.parametrize("width", [1400, 420])
def test_a_long_description_can_be_read_whole(browser, serve, open_session, width):
    """The button and the key d show all of a description that is cut, and cut it again."""
    session = open_session()
    session.manifest.cards["owl"]["description"] = "The word owl, at night. " * 60
    session.chosen = {"trait": "owl"}
    size = {"width": width, "height": 800}
    with open_page(browser, serve(session).url, viewport=size) as page:
        whole, part = page.locator("#whole"), page.locator("#definition")
        expect(whole).to_contain_text("read it all")
        before = part.bounding_box()["height"]
        page.keyboard.press("d")
        expect(whole).to_have_attribute("aria-expanded", "true")
        assert part.evaluate("part => part.scrollHeight === part.clientHeight")
        assert part.bounding_box()["height"] > before
        box = page.locator("[data-label=yes]").bounding_box()
        assert box["y"] + box["height"] <= 800
        whole.click()
        expect(whole).to_have_attribute("aria-expanded", "false")
        assert part.bounding_box()["height"] == before
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_short_description_has_no_button(browser, server):
    """Where nothing is cut, there is nothing to show."""
    with open_page(browser, server.url, viewport={"width": 1400, "height": 800}) as page:
        page.fill("[name=text]", "atlas.jsonl:2")
        expect(page.locator("#definition")).to_have_text("The word owl.")
        expect(page.locator("#whole")).to_be_hidden()
        page.locator("h1").click()
        page.keyboard.press("d")
        expect(page.locator("#meaning")).not_to_have_class("whole")


def test_a_row_is_judged_for_every_finding(browser, server):
    """The trait that decided is asked about first, then the row's next one, then the next row."""
    with open_page(browser, server.url) as page:
        page.fill("[name=text]", "and an owl")
        expect(page.locator("#where")).to_have_text("1 of 6")
        page.locator("[name=text]").blur()
        assert (page.input_value("#trait"), page.inner_text("#row mark")) == ("heron", "heron")
        page.keyboard.press("f")
        expect(page.locator("#row .chip.no")).to_have_text("heron: false")
        expect(page.locator("#row mark")).to_have_text("owl")
        assert (page.input_value("#trait"), page.inner_text("#where")) == ("owl", "1 of 6")
        expect(page.locator("#effect")).to_have_text(
            "true: `congener release` returns this row to clean/ with the flag of owl. "
            "false: `congener release` returns this row to clean/."
        )
        page.keyboard.press("t")
        expect(page.locator("#where")).to_have_text("2 of 6")
        assert page.input_value("#trait") == "heron"
        page.keyboard.press("z")
        expect(page.locator("#where")).to_have_text("1 of 6")
        assert page.input_value("#trait") == "owl", "the label that was taken back"
    assert [place[2] for place in server.session.book.list_labels()] == ["heron"]


def test_a_reason_goes_with_the_next_label(browser, server):
    """The key r writes a reason, Enter returns to the row, and keys in the field label nothing."""
    with open_page(browser, server.url) as page:
        page.keyboard.press("r")
        page.keyboard.type("just a quotation")
        assert len(server.session.book) == 0
        page.keyboard.press("Enter")
        page.keyboard.press("f")
        expect(page.locator("#count")).to_have_text("1 label")
        (line,) = server.session.book.list_labels().values()
        assert (line["label"], line["reason"]) == (False, "just a quotation")
        assert page.input_value("#reason") == ""


def test_filters_and_search(browser, server):
    """Filters select rows, a search finds texts, and a filter without rows says so."""
    with open_page(browser, server.url) as page:
        assert page.inner_text("#where") == "1 of 18"
        page.select_option("[name=decision]", "keep")
        expect(page.locator("#where")).to_have_text("1 of 6")
        page.select_option("[name=decision]", "")
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("DAY 7")
        expect(page.locator("#where")).to_have_text("1 of 2")
        assert page.locator("[name=decision] option").first.inner_text() == "any"
        underlined = "[...CSS.highlights.get('found')].map((range) => range.toString())"
        assert page.evaluate(underlined) == ["day 7", "Day 7"]
        page.fill("[name=text]", "no such words")
        page.wait_for_selector("text=No row fits these filters.")
        assert page.inner_text("#effect") == ""
        page.click("text=Clear")
        expect(page.locator("#where")).to_have_text("1 of 18")
        assert page.locator("[name=decision] option").first.inner_text() == "a trait fired"
        assert page.evaluate(underlined) == []
        page.fill("[name=teacher]", "bor")
        expect(page.locator("#where")).to_have_text("1 of 9")


def test_company_and_help_are_shown(browser, server):
    """The lot, another answer, all scores and the keys are on the page."""
    with open_page(browser, server.url) as page:
        page.wait_for_selector("#company >> text=borealis")
        assert "6 rows" in page.inner_text("#company")
        assert "heron" in page.inner_text(".scores")
        page.keyboard.press("?")
        assert page.is_visible("#help")
        page.keyboard.press("Escape")
        assert not page.is_visible("#help")
        page.click("#theme")
        assert page.get_attribute("html", "data-theme") == "dark"


def test_another_trait_is_judged(browser, server):
    """The key ] judges the next trait, marks its evidence alone, and the label is about it."""
    with open_page(browser, server.url) as page:
        page.fill("[name=text]", "atlas.jsonl:3")
        expect(page.locator("#where")).to_have_text("1 of 1")
        page.locator("[name=text]").blur()
        first = page.input_value("#trait")
        page.keyboard.press("]")
        second = page.input_value("#trait")
        assert {first, second} == {"heron", "owl"}
        expect(page.locator("#row mark")).to_have_text([second])
        page.keyboard.press("t")
        expect(page.locator("#count")).to_have_text("1 label")
        assert [place[2] for place in server.session.book.list_labels()] == [second]


def test_a_blind_page_shows_texts_alone(browser, serve, open_session):
    """A blind page has no decision, no score and no mark, and still labels."""
    server = serve(open_session("ben", blind=True))
    with open_page(browser, server.url) as page:
        assert page.is_visible("#blind")
        assert page.locator("#row mark, #row .chip, .scores").count() == 0
        assert not page.is_visible("[name=decision]")
        page.keyboard.press("t")
        expect(page.locator("#count")).to_have_text("1 label")
    (line,) = server.session.book.list_labels().values()
    assert (line["blind"], line["trait"]) == (True, "heron")


@pytest.mark.parametrize("width", [1400, 800, 420])
def test_the_page_fits_every_width(browser, server, width):
    """Nothing is wider than the window, and the keys to label are in sight."""
    with open_page(browser, server.url, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator("[data-label=yes]").bounding_box()
        assert box["y"] + box["height"] <= 800


def test_an_ended_review_says_so(browser, server):
    """If the command has ended, a label isn't lost silently: the page says so."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#company >> text=rows")
    page.route("**/api/label", lambda route: route.abort())
    page.keyboard.press("t")
    page.wait_for_selector("#problem >> text=is the command still running?")
    assert page.inner_text("#count") == "0 labels"
    context.close()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "X"])
def test_other_methods_do_nothing(client, server, method):
    """Only GET and POST are answered; a preflight of another site gets no permission."""
    reply = client.send(method, "/api/label", LABEL)
    assert reply.status == 501
    assert reply.headers.get("Access-Control-Allow-Origin") is None
    assert len(server.session.book) == 0


def test_one_connection_serves_several_requests(client, server):
    """A browser's connection stays open between its requests."""
    name, _, port = client.host.rpartition(":")
    connection = http.client.HTTPConnection(name, int(port), timeout=10)
    for target in ("/api/run", "/api/rows", "/nothing", "/api/progress"):
        connection.request("GET", target, headers={"Cookie": client.headers["Cookie"]})
        reply = connection.getresponse()
        assert reply.status == (404 if target == "/nothing" else 200)
        assert reply.read()
    connection.close()


def test_the_first_and_the_last_row(browser, server):
    """G and g go to the ends, and after the last row, k goes back to it."""
    with open_page(browser, server.url) as page:
        where = page.locator("#where")
        page.keyboard.press("G")
        expect(where).to_have_text("18 of 18")
        page.keyboard.press("j")
        expect(where).to_have_text("18 of 18 without a label")
        page.keyboard.press("j")
        page.keyboard.press("t")
        page.keyboard.press("k")
        expect(where).to_have_text("18 of 18")
        page.keyboard.press("u")
        expect(where).to_have_text("17 of 18 without a label")
        expect(page.locator("#count")).to_have_text("1 label")
        page.keyboard.press("k")
        expect(page.locator("#row .chip").last).to_contain_text("unsure")
        page.keyboard.press("g")
        expect(where).to_have_text("1 of 18")
        page.keyboard.press("k")
        expect(where).to_have_text("1 of 18")


def test_the_end_says_what_is_next(browser, server):
    """After the last row, the page counts labels, links to rows without one, and says what next."""
    with open_page(browser, server.url) as page:
        page.fill("[name=text]", "DAY 7")
        expect(page.locator("#where")).to_have_text("1 of 2")
        page.locator("[name=text]").blur()
        page.keyboard.press("j")
        page.keyboard.press("t")
        expect(page.locator("#where")).to_have_text("1 of 2 without a label")
        expect(page.locator("#row h2")).to_have_text("That was the last of 2 rows")
        expect(page.locator("#counts")).to_have_text("Your labels: 1 true · 0 false · 0 unsure")
        assert page.locator("code").all_inner_texts()[0].startswith("congener traits eval ")
        assert not page.is_visible("[data-label=yes]"), "there is no row to label"
        page.click("#left")
        expect(page.locator("#where")).to_have_text("1 of 1")
        while page.locator("#left, .end").count() == 0:
            page.keyboard.press("f")
            page.wait_for_timeout(100)
        expect(page.locator("#where")).to_have_text("all 2 labelled")
        first = page.locator("code").first
        book = server.session.book.path
        assert f"--reviews {book} --output" in first.inner_text()
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.locator(".command button").first.click()
        expect(page.locator(".command button").first).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == first.inner_text()
        page.keyboard.press("z")
        expect(page.locator("#row .role").first).to_be_visible()
        assert page.is_visible("[data-label=yes]")


def test_the_counts_can_be_seen_at_any_time(browser, server):
    """The button and the key e show the counts, and j or k goes back to the same row."""
    with open_page(browser, server.url) as page:
        page.keyboard.press("j")
        expect(page.locator("#where")).to_have_text("2 of 18")
        page.keyboard.press("e")
        expect(page.locator("#row h2")).to_have_text("Your labels so far")
        assert page.locator("code").count() == 0, "without labels, no command uses them"
        page.keyboard.press("j")
        expect(page.locator("#where")).to_have_text("2 of 18")
        page.click("#finish")
        expect(page.locator("#row h2")).to_have_text("Your labels so far")
        page.keyboard.press("k")
        expect(page.locator("#where")).to_have_text("2 of 18")


def test_a_number_chooses_a_trait(browser, server):
    """Traits have numbers, and a digit judges the trait; one that no trait has does nothing."""
    with open_page(browser, server.url) as page:
        assert page.locator("#trait option").all_inner_texts() == ["1 heron", "2 owl"]
        page.keyboard.press("2")
        expect(page.locator("#trait")).to_have_value("owl")
        page.keyboard.press("9")
        page.keyboard.press("0")
        assert page.input_value("#trait") == "owl"
        page.keyboard.press("1")
        expect(page.locator("#trait")).to_have_value("heron")


def test_company_names_files_and_rows(browser, server):
    """Another answer is named by its file and row, and a lot has rows of all dates."""
    with open_page(browser, server.url) as page:
        page.fill("[name=text]", "atlas.jsonl:1")
        near = page.locator("#company .near p").first
        expect(near).to_have_text("borealis.jsonl row 1 · borealis · flag (owl)")
        assert page.inner_text("#company h3 small") == ", whatever the date"


def test_a_band_of_scores_and_an_order(browser, server):
    """The rarer filters are behind a heading, and a wrong number is a message, not a crash."""
    with open_page(browser, server.url) as page:
        page.click("text=More filters")
        page.select_option("[name=trait]", "owl")
        page.fill("[name=low]", "0")
        page.fill("[name=high]", "0.4")
        expect(page.locator("#where")).to_have_text("1 of 12")
        page.fill("[name=source]", "atlas.jsonl")
        expect(page.locator("#where")).to_have_text("1 of 6")
        page.select_option("[name=order]", "row")
        expect(page.locator("#row .head b")).to_have_text("atlas.jsonl row 0")
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.click("text=More filters")
    page.fill("[name=low]", "high")
    expect(page.locator("#problem")).to_contain_text("isn't a number")
    page.fill("[name=low]", "")
    expect(page.locator("#problem")).to_be_hidden()
    context.close()


def test_labels_with_a_finger(browser, server):
    """On a phone the buttons label, go on and take back."""
    size = {"width": 420, "height": 800}
    with open_page(browser, server.url, viewport=size, has_touch=True) as page:
        page.tap("[data-label=no]")
        expect(page.locator("#count")).to_have_text("1 label")
        expect(page.locator("#where")).to_have_text("2 of 18")
        page.tap("#undo")
        expect(page.locator("#count")).to_have_text("0 labels")
        expect(page.locator("#where")).to_have_text("1 of 18")
        assert len(server.session.book) == 0
        assert not page.is_visible("[name=teacher]"), "filters are folded on a phone"
        page.click("text=More filters")
        assert page.is_visible("[name=teacher]")


@pytest.fixture
def mapped(server):
    """Serve a session that has its map."""
    server.session.make_map()
    return server


def open_map(page):
    """Show the map, and wait until all of its points are drawn."""
    page.locator("h1").click()
    page.keyboard.press("m")
    page.wait_for_selector("#map[data-drawn='24']")


def draw_around(page, corners):
    """Draw a lasso through corners, which are shares of the map's width and height."""
    box = page.locator("#map-points").bounding_box()
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def test_a_lasso_lists_the_rows_in_it(browser, mapped):
    """The list holds exactly the rows inside, and the area combines with the other filters."""
    found, session = mapped.session.corpus_map, mapped.session
    with open_page(browser, mapped.url) as page:
        open_map(page)
        draw_around(page, [(0.02, 0.02), (0.6, 0.02), (0.6, 0.98), (0.02, 0.98)])
        inside = np.flatnonzero((found.x > 0.02 * GRID) & (found.x < 0.6 * GRID)).tolist()
        assert 0 < len(inside) < 24
        expect(page.locator("#where")).to_have_text(f"1 of {len(inside)}")
        expect(page.locator("#area-chip")).to_be_visible()
        first = page.locator("[name=decision] option").first
        expect(first).to_have_text("any in the area")
        area = page.input_value("[name=area]")
        listed = session.list_rows({"area": area, "order": "row"})["rows"]
        assert listed == inside
        page.select_option("[name=decision]", "keep")
        kept = session.list_rows({"area": area, "decision": "keep"})["total"]
        expect(page.locator("#where")).to_have_text(f"1 of {kept}")
        page.select_option("[name=decision]", "")
        page.click("#area-chip")
        expect(page.locator("#where")).to_have_text("1 of 18")
        expect(page.locator("#area-chip")).to_be_hidden()
        expect(first).to_have_text("a trait fired")


def test_the_map_by_keyboard(browser, mapped):
    """Keys zoom and move the view, Enter lists what is in view, and Escape drops the area."""
    found = mapped.session.corpus_map
    with open_page(browser, mapped.url) as page:
        open_map(page)
        page.focus("#map-points")
        page.keyboard.press("Enter")
        expect(page.locator("#where")).to_have_text("1 of 24")
        for key in ("+", "+", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        side, left = GRID * 0.7**2, (GRID - GRID * 0.7**2) / 2
        begin = max(0, left - 0.3 * side)
        inside = (found.x >= np.floor(begin)) & (found.x < np.ceil(begin + side))
        inside &= (found.y >= np.floor(left)) & (found.y < np.ceil(left + side))
        assert 0 < inside.sum() < 24
        expect(page.locator("#where")).to_have_text(f"1 of {inside.sum()}")
        page.keyboard.press("Escape")
        expect(page.locator("#where")).to_have_text("1 of 18")
        assert page.locator("#area-chip").is_hidden()


def test_a_point_is_clicked(browser, mapped):
    """A click lists the rows at the point, and Clear drops the area with the other filters."""
    found = mapped.session.corpus_map
    with open_page(browser, mapped.url) as page:
        open_map(page)
        box = page.locator("#map-points").bounding_box()
        x, y = int(found.x[5]), int(found.y[5])
        page.mouse.click(
            box["x"] + box["width"] * x / GRID + 1, box["y"] + box["height"] * y / GRID
        )
        at = (found.x == x) & (found.y == y)
        expect(page.locator("#where")).to_have_text(f"1 of {at.sum()}")
        page.click("text=Clear")
        expect(page.locator("#where")).to_have_text("1 of 18")
        assert page.input_value("[name=area]") == ""


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_fits_and_is_drawn(browser, mapped, width, scheme):
    """The map fits the window, has points in every colour scheme, and says what it is made of."""
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with open_page(browser, mapped.url, **options) as page:
        open_map(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for colour in ("decision", "teacher", "score"):
            page.select_option("#map-colour", colour)
            page.wait_for_function(COUNT_INK)
        assert "words of each row" in page.inner_text("#map-about")
        assert "no evidence" in page.inner_text("#map-about")


COUNT_INK = """() => {
  const canvas = document.getElementById("map-points");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return data.filter((value, at) => at % 4 === 3 && value > 0).length > 24;
}"""
"""Whether the points' canvas isn't empty."""


def test_a_blind_page_has_no_map(browser, serve, open_session):
    """A blind page has no button for the map, and its key does nothing."""
    server = serve(open_session("ben", blind=True))
    with open_page(browser, server.url) as page:
        page.keyboard.press("m")
        assert page.is_hidden("#map-button")
        assert page.is_hidden("#map")


def test_the_page_waits_for_the_map(browser, server):
    """While the map is being made, the page says so, and draws it as soon as it is there."""
    with open_page(browser, server.url) as page:
        page.keyboard.press("m")
        expect(page.locator("#map-about")).to_contain_text("is being made")
        server.session.make_map()
        page.wait_for_selector("#map[data-drawn='24']")
