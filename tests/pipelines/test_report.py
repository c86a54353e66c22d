"""The report: one page, right numbers, nothing in it that acts."""

import json
import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.config import FilterConfig
from pipelines.display.excerpts import HIDDEN
from pipelines.filter import run_filter
from pipelines.report import (
    BIN_WIDTH,
    BINS,
    EXAMPLES,
    GROUPS_SHOWN,
    PLOT_HEIGHT,
    PLOT_LEFT,
    PLOT_TOP,
    PLOT_WIDTH,
    _share,
    contents,
    drawn,
    percent,
    render,
    summary,
    waterfall,
    write_report,
)
from pipelines.runs.finished import load_run
from pipelines.verify import verify_run
from schemas.errors import RunError
from schemas.manifests import Conservation, Manifest
from schemas.policies import DECISIONS, PUBLISHED
from tests.support.hostile import (
    EMUS,
    FILE,
    NASTY,
    TEACHER,
    build_rows,
    filter_hostile_corpus,
    filter_lines,
    write_cards,
)

VOID = {"meta", "link", "br", "rect", "line"}


class Reader(HTMLParser):
    """Reads a page: its tags with attributes, its tables' cells, the text below each id, and the text of all."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.below: dict[str, str] = {}
        self.marked: list[str] = []
        self.text = self.style = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        """Note a tag, and open it."""
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "mark":
            self.marked.append("")
        if tag not in VOID:
            self.open.append((tag, found.get("id")))

    def handle_startendtag(self, tag, attrs):
        """Note a tag that closes itself."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Close the tag that is open."""
        assert self.open.pop()[0] == tag, f"</{tag}> closes what isn't open"

    def handle_data(self, data):
        """Add text to all that it stands in."""
        names = [tag for tag, _ in self.open]
        if "style" in names:
            self.style += data
            return
        self.text += data
        for _, place in self.open:
            if place:
                self.below[place] = self.below.get(place, "") + data
        if "mark" in names:
            self.marked[-1] += data
        if "td" in names or "th" in names:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus and report on it."""
    run, _ = filter_hostile_corpus(tmp_path_factory.mktemp("report"))
    write_report(run)
    return run


@pytest.fixture(scope="module")
def no_rows(tmp_path_factory) -> Manifest:
    """Return the manifest of a run without rows, which needs no files."""
    folder = tmp_path_factory.mktemp("none")
    (folder / "in").mkdir()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), folder / "in" / "none.parquet")
    config = FilterConfig(
        input=(str(folder / "in"),),
        output=str(folder / "run"),
        traits=write_cards(folder / "traits", ["owl"]),
    )
    return run_filter(config)


@pytest.fixture(scope="module")
def page(hostile) -> Reader:
    """Read the hostile run's page."""
    return Reader(Path(hostile, "report", "index.html").read_text(encoding="utf-8"))


def ledger_of(run: str) -> list[dict]:
    """Read a run's ledger as rows."""
    return [
        row
        for path in sorted(Path(run, "ledger").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def quiet_run(folder: Path, answers: list[str], traits: list[str], policy: str = "") -> str:
    """Filter rows with plain names."""
    lines = [
        json.dumps(
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]}
        )
        for text in answers
    ]
    return filter_lines(folder, lines, write_cards(folder / "traits", traits), policy)[0]


def test_the_page_is_where_it_says(hostile):
    """The report is one file in its folder, returned by name, and `verify` doesn't mind it."""
    assert write_report(hostile) == f"{hostile}/report/index.html"
    assert [path.name for path in Path(hostile, "report").rglob("*")] == ["index.html"]
    assert verify_run(hostile) == []


def test_nothing_is_fetched(page):
    """No tag loads anything, links stay on the page, styles import nothing, and the page's policy forbids all of it."""
    assert not {tag for tag, _ in page.tags} & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "use",
        "image",
        "audio",
        "video",
    }
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "xlink:href", "action", "style", "background", "poster"} & set(
            attributes
        )
        assert not [name for name in attributes if name.startswith("on")]
        if "href" in attributes:
            assert (
                attributes["href"] == "data:,"
                if tag == "link"
                else attributes["href"].startswith("#")
            )
    assert not re.search(r"url\(|@import|http|expression", page.style)
    (policy,) = [
        attributes["content"]
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_links_lead_somewhere(page):
    """Every link on the page has its target, and no id stands twice."""
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert set(ids.values()) == {1}
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert targets
    assert targets <= set(ids)
    labels = {
        attributes["aria-labelledby"]
        for _, attributes in page.tags
        if "aria-labelledby" in attributes
    }
    assert labels <= set(ids)


def test_hostile_text_is_inert(page, hostile):
    """Scripts, closing tags, comments, template code, controls and bidi marks of the corpus are text, and visible."""
    source = Path(hostile, "report", "index.html").read_bytes().decode()
    acting = {char for char in source if unicodedata.category(char) in HIDDEN} - {"\n"}
    assert not acting
    assert "<script" not in source
    assert source.count("</style>") == source.count("</title>") == 1
    assert page.open == []
    shown = page.below["trait-owl"]
    assert "<U+001B>[31mred<U+001B>[0m" in shown
    assert (
        "<U+202E>abc<U+2066> <U+200B><U+000D>↵<U+0000> <script>alert(1)</script> </script></style></title><!--"
        in shown
    )
    assert (
        "[bold red]loud[/bold red] :smile: {{ 7 * 7 }} {% raw %} &lt; ' onload='x' \" onload=\"x\" fox"
        in page.below["trait-fox"]
    )
    assert FILE in shown
    assert "teacher teacher <U+001B>" in page.below["details"]


@given(name=st.text(min_size=1))
def test_any_name_is_inert(no_rows, name):
    """Whatever a limit's sentence, a teacher or a file is called, the page stays whole and holds no acting character."""
    inputs = (no_rows.inputs[0].model_copy(update={"name": name}),)
    parts = {"limits": (name,), "inputs": inputs, "parents": (name,)}
    found = Reader(render("nowhere", no_rows.model_copy(update=parts)))
    assert found.open == []
    assert not {char for char in found.text if unicodedata.category(char) in HIDDEN} - {"\n"}
    expected = {tag for tag, _ in Reader(render("nowhere", no_rows)).tags}
    assert {tag for tag, _ in found.tags} == expected | {"dt", "dd"}


def test_numbers_are_the_manifests(page, hostile):
    """Rows in and out, every decision, every trait's rows, threshold and bound stand on the page as in the manifest."""
    manifest = load_run(hostile)
    by_decision = manifest.conservation.by_decision
    out = sum(by_decision.get(name, 0) for name in PUBLISHED)
    section = " ".join(page.below["rows"].split())
    assert f"Rows in {manifest.conservation.rows_in} 100.00%" in section
    assert f"Rows out {out} {percent(out / manifest.conservation.rows_in)}" in section
    for name, count in by_decision.items():
        assert f"{name} {count} {percent(count / manifest.conservation.rows_in)}" in section
    header, *lines = page.tables[0]
    assert header[:3] == ["trait", "rows fired", "of rows in"]
    assert len(lines) == len(manifest.thresholds)
    for line, rule in zip(lines, manifest.thresholds, strict=True):
        fired = manifest.fired.get(rule.trait, 0)
        bound = ["not stated", "–"] if rule.bound is None else [f"{rule.bound:.2%}", "95%"]
        expected = [
            rule.trait,
            str(fired),
            percent(fired / manifest.conservation.rows_in),
            rule.action,
        ]
        assert line == [
            *expected,
            f"{rule.threshold:.4f}",
            rule.origin,
            str(rule.clean_texts),
            *bound,
        ]
    assert [rule.origin for rule in manifest.thresholds].count("calibrated") == 1


def test_the_page_says_what_the_run_is(page, hostile):
    """Title, limits and identity are the manifest's."""
    manifest = load_run(hostile)
    assert f"congener run {manifest.run_id}" in page.text
    for sentence in manifest.limits:
        assert sentence in page.below["limits"]
    identity = page.below["identity"]
    for digest in (
        manifest.ledger_root,
        manifest.identity.bank_digest,
        manifest.identity.policy_digest,
        manifest.inputs[0].sha256,
    ):
        assert digest in identity
    for name, version in manifest.identity.packages.items():
        assert f"{name} {version}" in identity
    assert page.tables[-1][1] == [
        FILE,
        str(len(build_rows()) + 1),
        f"{manifest.inputs[0].bytes:,}",
        manifest.inputs[0].sha256,
    ]


def test_the_summary_is_a_sentence(hostile):
    """The summary names every way a row left, in the right number."""
    manifest = load_run(hostile)

    def said(**counts: int) -> str:
        return summary(
            manifest.model_copy(
                update={
                    "conservation": Conservation(rows_in=sum(counts.values()), by_decision=counts)
                }
            )
        )

    assert said(keep=1) == "Of 1 row read, 1 (100.00%) is in the clean corpus."
    assert (
        said(keep=2, mask=1, drop=1)
        == "Of 4 rows read, 3 (75.00%) are in the clean corpus and 1 was dropped."
    )
    assert said(quarantine=2000, drop=3, duplicate=1, reject=1) == (
        "Of 2,005 rows read, 0 (0.00%) are in the clean corpus, 2,000 are in quarantine, 3 were dropped, 1 repeats an earlier row and 1 couldn't be read."
    )
    assert said() == "Of 0 rows read, 0 (0.00%) are in the clean corpus."


@given(counts=st.dictionaries(st.sampled_from(DECISIONS), st.integers(0, 10**9)))
def test_the_waterfall_adds_up(no_rows, counts):
    """Each removal starts where the one before ended, and what goes out is split without gap or overlap."""
    total = sum(counts.values())
    conservation = Conservation(rows_in=total, by_decision=counts)
    bars = waterfall(no_rows.model_copy(update={"conservation": conservation}))
    assert {bar.name: bar.rows for bar in bars if bar.kind != "total"} == {
        name: count for name, count in counts.items() if count
    }
    at = next(place for place, bar in enumerate(bars) if bar.name == "Rows out")
    edge = bars[0].share
    for bar in bars[1:at]:
        assert bar.left + bar.share == pytest.approx(edge, abs=1e-9)
        edge = bar.left
    assert bars[at].share == pytest.approx(edge, abs=1e-9)
    assert bars[at].rows == total - sum(bar.rows for bar in bars[1:at])
    edge = 0.0
    for bar in bars[at + 1 :]:
        assert bar.left == pytest.approx(edge, abs=1e-9)
        edge = bar.left + bar.share
    assert edge == pytest.approx(bars[at].share, abs=1e-9)


def test_histograms_count_every_score(hostile):
    """Bins are numpy's on the exact decimals, the two sides of the threshold are the rows that fired and those that didn't."""
    manifest = load_run(hostile)
    scores = pl.concat(
        [pl.read_parquet(path) for path in sorted(Path(hostile, "scores").glob("*.parquet"))]
    )
    for trait in contents(hostile, manifest)["traits"]:
        known = scores[trait.rule.trait].drop_nulls().to_numpy().astype(float).round(4)
        expected, _ = np.histogram(np.round(known * 10_000), bins=np.arange(0, 10_001, 250))
        histogram = trait.histogram
        assert np.array_equal(np.add(histogram.below, histogram.above), expected)
        assert sum(histogram.above) == trait.fired == (known >= trait.rule.threshold - 1e-9).sum()
        assert (
            sum(histogram.below) + sum(histogram.above) + histogram.unscored
            == manifest.conservation.rows_in
        )
        assert histogram.unscored == manifest.conservation.by_decision["reject"]


@given(
    st.lists(st.integers(0, 10**9), min_size=BINS, max_size=BINS),
    st.integers(0, BINS),
    st.integers(0, 12_000),
)
def test_histograms_stay_inside_their_plot(counts, split, steps):
    """Columns never leave the plot; those that fired stand right of the line, the others left of it, also in its own bin."""
    place = min(steps // (10_000 // BINS), BINS - 1)
    below = [
        count if at < place else min(count, split) if at == place else 0
        for at, count in enumerate(counts)
    ]
    above = [
        count - low if steps <= 10_000 else 0 for count, low in zip(counts, below, strict=True)
    ]
    found = drawn(below, above, 0, steps / 10_000)
    assert len(found.columns) == sum(count > 0 for count in (*below, *above))
    assert all(
        PLOT_LEFT <= column.x <= column.x + column.width <= PLOT_LEFT + PLOT_WIDTH + 1e-6
        for column in found.columns
    )
    assert all(0 < column.height <= PLOT_HEIGHT + 1e-6 for column in found.columns)
    assert all(
        column.y + column.height == pytest.approx(PLOT_TOP + PLOT_HEIGHT)
        for column in found.columns
    )
    assert (found.line is None) == (steps > 10_000)
    if found.line is not None:
        assert abs(found.line - (PLOT_LEFT + PLOT_WIDTH * steps / 10_000)) <= BIN_WIDTH / 2 + 1e-6
        assert all(
            column.x >= found.line - 1e-6 if column.fired else column.x + column.width <= found.line
            for column in found.columns
        )


def test_a_threshold_above_one_is_said_to_be_out_of_reach(no_rows):
    """Where no score can reach the threshold there is no line, and the page says so."""
    rule = no_rows.thresholds[0].model_copy(update={"threshold": 1.0001})
    found = Reader(render("nowhere", no_rows.model_copy(update={"thresholds": (rule,)})))
    assert "1.0001: no score gets there" in found.below["trait-owl"]
    assert not [attributes for _, attributes in found.tags if attributes.get("class") == "cut"]


def test_groups_are_the_ledgers(hostile):
    """Rows and removed rows of teachers and lots are what counting the ledger gives, most removed first; rejects are in none."""
    manifest = load_run(hostile)
    for group in contents(hostile, manifest)["groups"]:
        counted, removed = Counter(), Counter()
        for row in ledger_of(hostile):
            if row["decision"] != "reject":
                counted[row[group.kind]] += 1
                removed[row[group.kind]] += row["decision"] not in PUBLISHED
        assert {item.name: (item.rows, item.removed) for item in group.shown}.items() <= {
            name: (count, removed[name]) for name, count in counted.items()
        }.items()
        assert len(group.shown) + group.others == len(counted)
        order = sorted(
            counted, key=lambda name: (-removed[name], -removed[name] / counted[name], name)
        )
        assert [item.name for item in group.shown] == order[:GROUPS_SHOWN]
    assert (
        sum(counted.values())
        == manifest.conservation.rows_in - manifest.conservation.by_decision["reject"]
    )


def test_teachers_stand_on_the_page(page, hostile):
    """The table's line of a teacher has its counts, share and interval."""
    lines = [row for row in ledger_of(hostile) if row["teacher"] == "plain"]
    removed = sum(row["decision"] not in PUBLISHED for row in lines)
    interval = binomtest(removed, len(lines)).proportion_ci(0.95, "exact")
    expected = [
        "plain",
        str(len(lines)),
        str(removed),
        f"{removed / len(lines):.2%}",
        f"{interval.low:.2%} to {interval.high:.2%}",
        "",
    ]
    assert expected in page.tables[1]
    assert "1 row couldn't be read and is in no teacher." in " ".join(page.below["teacher"].split())


def test_lots_beyond_the_first_fifty_are_counted(page, hostile):
    """Fifty lots are shown, and the number of the others is said."""
    lots = {row["lot"] for row in ledger_of(hostile)} - {None}
    assert len(lots) > GROUPS_SHOWN
    assert len(page.tables[2]) == GROUPS_SHOWN + 1
    assert f"{len(lots) - GROUPS_SHOWN} others are left out" in " ".join(page.below["lot"].split())


@given(st.integers(1, 5000), st.data())
def test_intervals_are_clopper_pearsons(total, data):
    """The interval of a share is scipy's exact one."""
    removed = data.draw(st.integers(0, total))
    found, expected = (
        _share("x", total, removed),
        binomtest(removed, total).proportion_ci(0.95, "exact"),
    )
    assert (found.low, found.high) == (
        pytest.approx(expected.low, abs=1e-9),
        pytest.approx(expected.high, abs=1e-9),
    )
    assert found.low <= found.share <= found.high


def test_examples_are_the_nearest_and_the_highest(hostile):
    """Five rows just above the threshold, the lowest first, then five with the highest scores, each marked where it scored."""
    traits = {trait.rule.trait: trait for trait in contents(hostile, load_run(hostile))["traits"]}
    emu = traits["emu"]
    texts = ["".join(piece.text for piece in item.pieces) for item in (*emu.nearest, *emu.highest)]
    assert [text.count("emu") for text in texts] == [
        *range(1, EXAMPLES + 1),
        *range(EMUS, EMUS - EXAMPLES, -1),
    ]
    assert all(
        [piece.text for piece in item.pieces if piece.marked] == ["emu"]
        for item in (*emu.nearest, *emu.highest)
    )
    assert [item.row for item in emu.nearest] == [60, 61, 62, 63, 64]
    assert [len(traits[name].nearest) for name in ("bee", "fox", "owl", "yak")] == [1, 2, 2, 0]
    assert all(not traits[name].highest for name in ("bee", "fox", "owl", "yak"))


def test_examples_come_from_the_clean_corpus_too(page):
    """A masked and a flagged row, which stand in `clean/`, are shown with their decisions."""
    assert "<U+001B>[31mred<U+001B> bee" in page.below["trait-bee"]
    assert "flag ·" in page.below["trait-bee"]
    assert "mask ·" in page.below["trait-fox"]
    assert {"emu", "owl", "fox", "bee"} == set(page.marked)


def test_rows_that_left_without_their_text_are_said(page):
    """Dropped rows and duplicates that fired aren't shown, but counted."""
    elk = " ".join(page.below["trait-elk"].split())
    assert (
        "2 rows that fired were dropped or removed as duplicates; the run doesn't hold their text."
        in elk
    )
    assert (
        "1 row that fired was dropped or removed as duplicate; the run doesn't hold its text."
        in " ".join(page.below["trait-emu"].split())
    )
    assert "No row fired" in page.below["trait-yak"]


def test_equal_records_are_shown_once(tmp_path):
    """Of rows with the same content only the first is an example, so that repeats don't hide what else fired."""
    run = quiet_run(tmp_path, ["an owl"] * 20 + ["another owl"], ["owl"])
    (owl,) = contents(run, load_run(run))["traits"]
    assert owl.fired == 21
    assert [item.row for item in (*owl.nearest, *owl.highest)] == [0, 20]
    assert owl.unshown == 0


def test_exceptions_by_lot_are_said(tmp_path):
    """Where the policy has exceptions, the page says that other thresholds apply there; examples show their own."""
    policy = "exceptions:\n  - {trait: owl, lot: {teacher: '*'}, threshold: 0.05, action: flag, reason: a test}\n"
    run = quiet_run(tmp_path, ["an owl", "a goose"], ["owl"], policy)
    found = Reader(Path(write_report(run)).read_text(encoding="utf-8"))
    assert "The policy has 1 exception by lot" in found.below["traits"]
    assert "against 0.0500" in found.below["trait-owl"]
    assert "flag ·" in found.below["trait-owl"]


def test_an_empty_quarantine_makes_a_page(tmp_path):
    """A run in which nothing fired has a page that says so."""
    run = quiet_run(tmp_path, ["a goose", "a heron"], ["owl", "yak"])
    found = Reader(Path(write_report(run)).read_text(encoding="utf-8"))
    text = " ".join(found.text.split())
    assert (
        "Of 2 rows read, 2 (100.00%) are in the clean corpus. 2 traits were looked for; none fired."
        in text
    )
    assert "figure" not in {tag for tag, _ in found.tags}
    assert found.tables[1][1][:4] == ["-", "2", "0", "0.00%"]


def test_no_rows_at_all_make_a_page(no_rows):
    """A run without a single row has a page, without dividing by nothing."""
    found = Reader(render("nowhere", no_rows))
    assert "Of 0 rows read" in found.text
    assert found.tables[0][1][:3] == ["owl", "0", "0.00%"]


def test_the_same_run_gives_the_same_bytes(hostile, tmp_path):
    """Written again, and for the same run made again elsewhere and at another time, the page is the same."""
    before = Path(hostile, "report", "index.html").read_bytes()
    assert Path(write_report(hostile)).read_bytes() == before
    again, _ = filter_hostile_corpus(tmp_path)
    assert load_run(again).circumstances != load_run(hostile).circumstances
    assert Path(write_report(again)).read_bytes() == before


def test_an_unfinished_or_damaged_run_gets_no_page(tmp_path):
    """Without a manifest, or with a file of it missing, there is an error and no page."""
    run = quiet_run(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "scores").glob("*.parquet")).unlink()
    with pytest.raises(RunError, match=r"scores/.*is missing"):
        write_report(run)
    Path(run, "manifest.json").unlink()
    with pytest.raises(RunError, match="unfinished"):
        write_report(run)
    assert not Path(run, "report").exists()


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0.00%"),
        (1, "100.00%"),
        (0.5, "50.00%"),
        (1e-9, "<0.01%"),
        (0.00005, "0.01%"),
        (0.99999, ">99.99%"),
        (0.99994, "99.99%"),
    ],
)
def test_shares_are_never_rounded_to_nothing_or_all(share, shown):
    """A share that isn't nothing isn't written as nothing, nor one that isn't all as all."""
    assert percent(share) == shown


def test_teacher_name_is_hostile():
    """The corpus's hostile teacher really carries what the tests above look for."""
    assert NASTY in TEACHER
    assert {"\x1b", "\x9b", "\u202e", "\u2066", "\u200b", "\x00", "\x07"} <= set(NASTY)
