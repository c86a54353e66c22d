"""The report: right numbers, and no active content."""

import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines import report
from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.report import (
    EXAMPLES,
    GROUPS_SHOWN,
    describe_traits,
    render_report,
    tabulate_rates,
    write_report,
)
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.rates import compare_groups
from pipelines.runs.wrong_removals import bound_wrong_removals, describe_wrong_removals
from pipelines.verify import verify_run
from schemas.errors import BudgetError, RunError
from schemas.policies import DECISIONS, PUBLISHED
from schemas.runs import RATES_TABLE, REPORT_PAGE
from schemas.shares import format_bound, format_percent
from tests.support.certificates import certify_small
from tests.support.forgery import reseal_file
from tests.support.hostile import (
    EMUS,
    FILE,
    NASTY,
    TEACHER,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
    find_acting,
    write_cards,
)
from tests.support.runs import read_ledger

VOID = {"meta", "link", "br", "rect", "line"}


class Reader(HTMLParser):
    """A parsed page: tags, table cells, and the text below each id.

    `listed` are the tables of removed rows, and `tables` all others.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.below: dict[str, str] = {}
        self.marked: list[str] = []
        self.masked: list[str] = []
        self.text = self.style = ""
        self.feed(page)
        self.close()
        self.listed = [table for table in self.tables if table[0] == ["row", "score", "text"]]
        self.tables = [table for table in self.tables if table not in self.listed]

    def handle_starttag(self, tag, attrs):
        """Record an opened tag."""
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
        if tag == "s":
            self.masked.append("")
        if tag not in VOID:
            self.open.append((tag, found.get("id")))

    def handle_startendtag(self, tag, attrs):
        """Record a self-closing tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """Close the innermost open tag."""
        assert self.open.pop()[0] == tag, f"</{tag}> closes what isn't open"

    def handle_data(self, data):
        """Add text to every enclosing element."""
        names = [tag for tag, _ in self.open]
        if "style" in names:
            self.style += data
            return
        self.text += data
        for _, name in self.open:
            if name:
                self.below[name] = self.below.get(name, "") + data
        if "mark" in names:
            self.marked[-1] += data
        if "s" in names:
            self.masked[-1] += data
        if "td" in names or "th" in names:
            self.tables[-1][-1][-1] += data


def read_page(run: str) -> Reader:
    """Read a run's page."""
    return Reader(Path(run, REPORT_PAGE).read_text(encoding="utf-8"))


def fold(text: str) -> str:
    """Return a text with single spaces, as a browser shows it."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus and report on it."""
    run, _ = filter_hostile_corpus(tmp_path_factory.mktemp("report"))
    write_report(run)
    return run


@pytest.fixture(scope="module")
def page(hostile) -> Reader:
    """Read the hostile run's page."""
    return read_page(hostile)


def test_the_page_has_its_path(hostile):
    """A report is a page and a table, which `verify` accepts."""
    assert write_report(hostile) == f"{hostile}/{REPORT_PAGE}"
    names = sorted(path.name for path in Path(hostile, "report").rglob("*"))
    assert names == ["index.html", "rates.parquet"]
    assert verify_run(hostile) == []


def test_the_rates_are_a_table(hostile):
    """The table beside the page has the page's rates."""
    rates = compare_groups(hostile, load_manifest(hostile)).table
    assert pl.read_parquet(Path(hostile, RATES_TABLE)).equals(rates)


def test_nothing_is_fetched(page):
    """No tag loads anything, and links stay on the page."""
    loading = {"script", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    assert not {tag for tag, _ in page.tags} & {*loading, "audio", "video"}
    banned = {"src", "srcset", "xlink:href", "action", "style", "background", "poster"}
    for tag, attributes in page.tags:
        assert not banned & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        if "href" in attributes:
            href = attributes["href"]
            assert href == "data:," if tag == "link" else href.startswith("#")
    assert not re.search(r"url\(|@import|http|expression", page.style)
    (policy,) = [
        attributes["content"]
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_a_doubt_has_the_colour_of_a_caution(page):
    """A sentence that asks for care is never green."""
    rules = dict(re.findall(r"([^{}]+?) *\{ *color: (var\([^)]*\)); *\}", page.style))
    colours = {name.strip(): value for name, value in rules.items()}
    assert colours["figcaption b.doubt"] == colours[".caution"] == "var(--fired)"


def test_every_link_has_a_target(page):
    """Every link has a target, and ids are unique."""
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
    """Scripts, tags, comments, template code and control characters are shown as text."""
    source = Path(hostile, REPORT_PAGE).read_bytes().decode()
    assert not find_acting(source)
    assert "<script" not in source
    assert source.count("</style>") == source.count("</title>") == 1
    assert page.open == []
    shown = page.below["trait-owl"]
    assert "<U+001B>[31mred<U+001B>[0m" in shown
    assert "<U+202E>abc<U+2066> <U+200B><U+000D>↵<U+0000> <script>alert(1)</script>" in shown
    assert "</script></style></title><!--" in shown
    assert NASTY[NASTY.index("[bold red]") :] + " fox" in page.below["trait-fox"]
    assert FILE in shown
    assert "teacher teacher <U+001B>" in page.below["details"]
    assert "teacher teacher <U+001B>" in page.below["lot"]


@given(name=st.text(min_size=1))
def test_any_name_is_inert(no_rows, name):
    """The page is valid and inert for any limits, file names and parents."""
    inputs = (no_rows.inputs[0].model_copy(update={"name": name}),)
    parts = {"limits": (name,), "inputs": inputs, "parents": (name,)}
    found = Reader(render_report("nowhere", no_rows.model_copy(update=parts)))
    assert found.open == []
    assert not find_acting(found.text)
    expected = {tag for tag, _ in Reader(render_report("nowhere", no_rows)).tags}
    assert {tag for tag, _ in found.tags} == expected | {"dt", "dd"}


def test_findings_on_other_sides_have_their_own_numbers(tmp_path):
    """Findings in rejected answers have a column of their own."""
    pairs = [("a dog", "an owl"), ("a dog", "owls"), ("a dog", "a dog")]
    run = filter_pairs(tmp_path / "rejected", pairs)
    page = Reader(render_report(run, load_manifest(run)))
    header, line = page.tables[1]
    assert header[:4] == [
        "trait",
        "rows it fired on,trained texts",
        "of rows in",
        "rejected answers",
    ]
    assert line[:4] == ["owl", "0", "0.00%", "2"]
    assert "sides in the policy decides about the others" in fold(page.below["traits"])
    assert "fired on 0 rows, in rejected answers of 2 rows" in fold(page.below["trait-owl"])
    assert "It fired on no trained text" in page.below["trait-owl"]
    assert "The run looked for 1 trait, which fired on at least one row." in fold(page.text)
    both = filter_pairs(tmp_path / "both", [("an owl", "an owl"), ("a dog", "a dog")])
    assert Reader(render_report(both, load_manifest(both))).tables[1][1][1:4] == [
        "1",
        "50.00%",
        "1",
    ]


def test_numbers_are_the_manifests(page, hostile):
    """The page shows the rows by decision, and each trait's rows, threshold and bound."""
    manifest = load_manifest(hostile)
    rows_in, by_decision = manifest.conservation.rows_in, manifest.conservation.by_decision
    out = sum(by_decision.get(name, 0) for name in PUBLISHED)
    section = fold(page.below["rows"])
    assert f"Rows in {rows_in} 100.00%" in section
    assert f"Rows out {out} {format_percent(out / rows_in)}" in section
    for name, count in by_decision.items():
        assert f"{name} {count} {format_percent(count / rows_in)}" in section
    rates = compare_groups(hostile, manifest).table
    header, *lines = page.tables[1]
    assert header[:3] == ["trait", "rows it fired on", "of rows in"]
    assert len(lines) == len(manifest.thresholds)
    for line, rule in zip(lines, manifest.thresholds, strict=True):
        fired = manifest.fired.get(rule.trait, 0)
        others = rates.filter(pl.col("grouping") == "all", pl.col("trait") == rule.trait)
        bound = "not stated" if rule.bound is None else f"{format_bound(rule.bound)} (95%)"
        assert line == [
            rule.trait,
            str(fired),
            format_percent(fired / rows_in),
            rule.action,
            str(others["decided_by_another"].item()),
            f"{rule.threshold:.4f}",
            rule.origin,
            f"{rule.clean_texts:,}",
            bound,
            "not measured",
        ]
    assert [rule.origin for rule in manifest.thresholds].count("calibrated") == 1


def test_the_page_of_a_decided_run_names_the_other(hostile, tmp_path):
    """The identity names the other run and its folder, and `verify` makes the same page."""
    parent = load_manifest(hostile)
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"traits: {{{parent.thresholds[0].trait}: {{action: flag}}}}\n")
    wanted = FilterConfig(output=str(tmp_path / "again"), policy=str(policy))
    run_decide(DecideConfig(run=hostile, filter=wanted))
    write_report(wanted.output)
    identity = read_page(wanted.output).below["identity"]
    assert f"decided again fromrun {parent.run_id}, in {hostile}" in identity.replace("\n", "")
    assert verify_run(wanted.output) == []
    assert "decided again" not in read_page(hostile).below["identity"]


def test_the_page_says_how_a_forgery_is_found(page):
    """The identity tells a reader to record the digest elsewhere."""
    assert "Whoever can rewrite the whole run can forge it" in page.below["identity"]
    assert "congener verify RUN --digest DIGEST" in page.below["identity"]


def test_the_page_identifies_the_run(page, hostile):
    """The page has the manifest's run id, limits and identity."""
    manifest = load_manifest(hostile)
    assert f"congener run {manifest.run_id}" in page.text
    assert f"{FILE}, filtered for {len(manifest.thresholds)} traits" in page.text
    for part in (manifest.identity.policy_digest[:12], manifest.identity.code_version):
        assert part in page.text.split("From rows in")[0]
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


def test_a_threshold_that_is_out_of_reach(no_rows):
    """An unreachable threshold is described and has no line."""
    rule = no_rows.thresholds[0].model_copy(update={"threshold": 1.0001})
    changed = no_rows.model_copy(update={"thresholds": (rule,)})
    found = Reader(render_report("nowhere", changed))
    assert "1.0001: out of reach" in found.below["trait-owl"]
    assert not [attributes for _, attributes in found.tags if attributes.get("class") == "cut"]


def test_sections_follow_the_thresholds(hostile):
    """Every trait has a section with counts, histogram and marked examples."""
    manifest = load_manifest(hostile)
    sections = describe_traits(hostile, manifest, compare_groups(hostile, manifest))
    assert [section.rule for section in sections] == list(manifest.thresholds)
    for section in sections:
        assert section.fired == {"trained": sum(section.counts.above)}
        bins = sum(count > 0 for count in (*section.counts.below, *section.counts.above))
        assert len(section.histogram.columns) == bins
        for item in (*section.nearest, *section.highest):
            marked = [piece.text for piece in item.pieces if piece.marked]
            text = item.finding.text[item.finding.start : item.finding.end]
            assert "".join(marked) == text
    (emu,) = [section for section in sections if section.rule.trait == "emu"]
    assert len(emu.nearest) == len(emu.highest) == EXAMPLES < EMUS


def test_groups_have_labels(hostile):
    """A teacher is shown by name, and a lot by its known, labelled fields."""
    rates = compare_groups(hostile, load_manifest(hostile))
    teachers, lots, sources = (
        tabulate_rates(rates, kind, None, GROUPS_SHOWN) for kind in ("teacher", "lot", "source")
    )
    assert {row.names[0] for row in teachers.rows} == {("", "plain"), ("", TEACHER)}
    assert {tuple(label for label, _ in row.names) for row in lots.rows} == {("teacher",)}
    assert [row.names for row in sources.rows] == [[("", FILE)]]
    assert lots.scale == max(row.high for row in lots.rows)
    assert teachers.unlisted == 0
    assert tabulate_rates(rates, "teacher", "emu", 1).unlisted == 1


def format_outwards(interval):
    """Return an interval in percent, rounded outwards."""
    low, high = math.floor(interval.low * 10_000), math.ceil(interval.high * 10_000)
    return f"{low / 100:.2f}% to {high / 100:.2f}%"


def test_a_teacher_on_the_page(page, hostile):
    """A teacher's line has its counts, share and interval."""
    lines = [row for row in read_ledger(hostile) if row["teacher"] == "plain"]
    fired = sum(bool(row["reasons"]) for row in lines)
    decisions = Counter(row["decision"] for row in lines)
    interval = binomtest(fired, len(lines)).proportion_ci(0.95, "exact")
    expected = [
        "plain",
        str(len(lines)),
        str(fired),
        f"{fired / len(lines):.2%}",
        format_outwards(interval),
        "",
        str(decisions["flag"]),
        str(decisions["mask"]),
        str(sum(decisions[name] for name in ("quarantine", "drop", "duplicate"))),
    ]
    assert [fold(cell) for cell in expected] in [
        [fold(cell) for cell in line] for line in page.tables[2]
    ]
    assert "1 row couldn't be read and isn't counted here." in fold(page.below["teacher"])
    assert "a trait" in page.below["teacher"]


def test_groups_that_are_not_listed_are_counted(tmp_path):
    """The page counts small lots and unlisted groups."""
    sources = [f"large {number}" for number in range(GROUPS_SHOWN + 2) for _ in range(20)]
    lines = [
        json.dumps({"text": "a goose", "source": source}) for source in [*sources, "a", "b", "b"]
    ]
    run, manifest = filter_lines(tmp_path, lines, write_cards(tmp_path / "traits", ["owl"]))
    below = fold(Reader(render_report(run, manifest)).below["lot"])
    assert "2 others aren't shown" in below
    assert "2 lots have fewer than 20 rows each (3 rows in all) and aren't compared" in below


def test_rates_are_shown_beside_their_trait(page):
    """A trait has its rate by teacher, without repeating equal lots."""
    shown = fold(page.below["trait-owl"])
    assert "By teacher: rows it fired on" in shown
    assert re.search(r"plain1 of \d+, \d\.\d\d% to \d+\.\d\d%", shown)
    assert re.search(r"all rows2 of \d+, \d\.\d\d% to \d+\.\d\d%", shown)
    assert "By lot" not in shown
    assert "By teacher" not in page.below["trait-yak"]


def test_groups_that_differ_are_marked(tmp_path):
    """A teacher with another share of firings is marked; the page says what firings aren't."""
    texts = [("an owl", "A")] * 30 + [("a goose", "B")] * 30
    lines = [json.dumps({"text": text, "teacher": teacher}) for text, teacher in texts]
    run, manifest = filter_lines(tmp_path, lines, write_cards(tmp_path / "traits", ["owl"]))
    shown = fold(Reader(render_report(run, manifest)).below["trait-owl"])
    assert shown.count("differs (q < 0.001)") == 2
    assert "not of rows that show the trait" in shown
    assert "congener traits eval owl --run RUN" in shown


def render_teachers(folder, groups):
    """Filter groups of (text, teacher, source of prompts, rows), and return the owl's section."""
    lines = [
        json.dumps({"text": f"{text} {number}", "teacher": teacher, "source": source})
        for text, teacher, source, rows in groups
        for number in range(rows)
    ]
    run, manifest = filter_lines(folder, lines, write_cards(folder / "traits", ["owl"]))
    return fold(Reader(render_report(run, manifest)).below["trait-owl"])


def test_a_teacher_with_other_sources_of_prompts_is_not_marked(tmp_path):
    """Where no source has answers of both teachers, the page says that they aren't tested."""
    shown = render_teachers(tmp_path, [("an owl", "A", "songs", 30), ("a goose", "B", "code", 30)])
    assert "differs (q" not in shown
    assert "Teachers that share no source of prompts with another one aren't tested" in shown
    assert "No teacher differs" not in shown


def test_a_mark_of_a_teacher_is_explained_where_no_lot_has_one(tmp_path):
    """The note is about all tables of the trait, and not about the last one alone."""
    groups = [
        ("an owl" if number < 4 else "a goose", teacher, f"s{source}", rows)
        for source in range(5)
        for number, teacher, rows in ((0, "A", 3), (9, "A", 20), (9, "B", 24))
    ]
    shown = render_teachers(tmp_path, groups)
    teachers, lots = shown.split("By lot")
    assert teachers.count("differs (q") == 2
    assert "differs (q" not in lots
    assert '"Differs": it fired on another share' in lots
    assert "differs from the other rows by an exact test" not in lots


def test_what_other_traits_did_is_named(tmp_path):
    """A trait that only flags removes nothing: the rows that it fired on went for others."""
    folders = write_cards(tmp_path / "traits", ["owl", "yak"])
    policy = "traits: {owl: {action: flag}, yak: {action: drop}}"
    run, manifest = filter_lines(
        tmp_path, [json.dumps({"text": "an owl and a yak"})], folders, policy=policy
    )
    cells = Reader(render_report(run, manifest)).tables
    owl, yak = (
        " ".join(fold(cell) for cell in line)
        for line in next(table for table in cells if any("owl" in row[0] for row in table))
        if line[0].startswith(("owl", "yak"))
    )
    assert "not by this trait" in owl
    assert "not by this trait" not in yak


def test_equal_groups_are_not_marked(page):
    """One firing more or less is no difference."""
    shown = fold(page.below["trait-owl"])
    assert "differs (q" not in shown
    assert "No teacher differs from the other rows by an exact test" in shown


def test_examples_from_the_clean_corpus(page):
    """Masked and flagged rows from `clean/` are shown with decisions."""
    assert "<U+001B>[31mred<U+001B> bee" in page.below["trait-bee"]
    assert "flag ·" in page.below["trait-bee"]
    assert "mask ·" in page.below["trait-fox"]
    assert "quarantine, decided by owl ·" in page.below["trait-fox"]
    assert any("fox" in text for text in page.masked)
    assert {"emu", "owl", "fox", "bee", "evidence"} == set(page.marked)


def test_rows_whose_text_is_gone_are_counted(page):
    """Dropped rows and duplicates are counted instead of shown."""
    assert (
        "2 rows on which it fired were dropped or removed as duplicates; the run doesn't contain "
        "their text."
    ) in fold(page.below["trait-elk"])
    assert (
        "1 row on which it fired was dropped or removed as a duplicate; the run doesn't contain "
        "its text."
    ) in fold(page.below["trait-emu"])
    assert "It fired on no row" in page.below["trait-yak"]


def test_a_trait_that_fired_on_one_row(page):
    """One example is described in the singular."""
    assert "The row on which it fired" in page.below["trait-bee"]
    assert "Rows on which it fired, highest score first" in page.below["trait-fox"]
    assert "Nearest above the threshold" in page.below["trait-emu"]


def test_a_missing_field_is_reported(tmp_path):
    """A note replaces the text of an example's missing field."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    path = next(Path(run, "quarantine").glob("*.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"messages":', b'"turns":', 1))
    reseal_file(Path(run), path.relative_to(run).as_posix())
    write_report(run)
    assert "(the field isn't in the row)" in read_page(run).below["trait-owl"]


def test_exceptions_by_lot_are_stated(tmp_path):
    """The page counts exceptions, and examples show their lots' thresholds."""
    policy = (
        "exceptions:\n"
        "  - {trait: owl, lot: {teacher: '*'}, threshold: 0.05, action: flag, reason: a test}\n"
    )
    run = filter_answers(tmp_path, ["an owl", "a goose"], ["owl"], policy)
    write_report(run)
    found = read_page(run)
    assert "The policy has 1 exception by lot" in found.below["traits"]
    (table,) = [table for table in found.tables if table[0][0] == "exception"]
    changed = "1 from swap to flag"
    assert table[1] == [
        *("1: teacher *", "owl", "trained", "flag, threshold 0.0500", "2", changed, "a test")
    ]
    assert "It changed the action on 1 row." in found.below["traits"]
    assert "threshold 0.0500" in found.below["trait-owl"]
    assert "flag ·" in found.below["trait-owl"]


def test_a_run_in_which_nothing_fired(tmp_path):
    """The page of a run without findings says so."""
    run = filter_answers(tmp_path, ["a goose", "a heron"], ["owl", "yak"])
    write_report(run)
    found = read_page(run)
    assert (
        "Of 2 rows read, 2 (100.00%) are in the clean corpus. The run looked for 2 traits; none "
        "fired."
    ) in fold(found.text)
    assert len([tag for tag, _ in found.tags if tag == "figure"]) == 1
    assert found.tables[1][1][:4] == ["-", "2", "0", "0.00%"]
    assert found.tables[2][1][:4] == ["-", "2", "0", "0.00%"]


def test_one_trait_is_singular(tmp_path, no_rows):
    """A single trait is described in the singular."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    write_report(run)
    fired = fold(read_page(run).text)
    assert "The run looked for 1 trait, which fired on at least one row." in fired
    silent = fold(Reader(render_report("nowhere", no_rows)).text)
    assert "The run looked for 1 trait, which didn't fire." in silent


def test_a_run_without_rows(no_rows):
    """A run without rows has a page."""
    found = Reader(render_report("nowhere", no_rows))
    assert "Of 0 rows read" in found.text
    assert found.tables[0][1][:3] == ["owl", "0", "0.00%"]


def test_the_same_run_gives_the_same_bytes(hostile, tmp_path):
    """A page's bytes depend only on the run."""
    before = Path(hostile, REPORT_PAGE).read_bytes()
    assert Path(write_report(hostile)).read_bytes() == before
    again, manifest = filter_hostile_corpus(tmp_path)
    first = load_manifest(hostile)
    assert manifest.circumstances != first.circumstances
    page = render_report(again, manifest.model_copy(update={"circumstances": first.circumstances}))
    assert page.replace(manifest.digest, first.digest).encode() == before


def test_an_unfinished_or_damaged_run_has_no_page(tmp_path):
    """A missing file is an error and gives no page."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "scores").glob("*.parquet")).unlink()
    with pytest.raises(RunError, match=r"scores/.*is missing"):
        write_report(run)
    Path(run, "manifest.json").unlink()
    with pytest.raises(RunError, match="has no manifest"):
        write_report(run)
    assert not Path(run, "report").exists()


def test_the_hostile_names_are_hostile():
    """The hostile corpus contains the tested characters and markup."""
    assert NASTY in TEACHER
    assert {"\x1b", "\x9b", "\u202e", "\u2066", "\u200b", "\x00", "\x07"} <= set(NASTY)


def test_every_value_of_the_page_is_escaped():
    """Every value is escaped, even without a filter in the template."""
    template = report._load_template().environment.from_string("{{ x }} {{ x|escape_name }}")
    assert template.render(x="\x1b]0;a\u202e<b>") == " ".join(
        ["&lt;U+001B&gt;]0;a&lt;U+202E&gt;&lt;b&gt;"] * 2
    )


def test_the_phrases_of_a_score_are_on_the_page(page):
    """An example whose score several phrases made lists the different ones, with their number."""
    below = fold(page.below["trait-emu"])
    assert re.search(r"\d+ phrases made the lexicon's score: «emu»", below)


def test_every_decision_has_an_example(page, hostile):
    """Every decision has a row on the page, even without its text."""
    below = fold(page.below["decisions"])
    counts = load_manifest(hostile).conservation.by_decision
    for decision in (name for name in DECISIONS if counts.get(name)):
        assert f"{decision}" in below
    assert "(the run doesn't contain the text of this row)" in below
    assert "not JSON" in below
    assert "a copy of" in below


def test_a_trait_is_defined_beside_its_histogram(tmp_path):
    """A section has the card's title, definition, signals and sightings as text."""
    cards = write_cards(tmp_path / "traits", ["owl"])
    card = Path(cards[0], "card.yaml")
    more = "title: Night bird\ndescription: It hoots <b>\nseen_in: [{where: wood, source: me}]\n"
    card.write_text(card.read_text() + more)
    run, manifest = filter_lines(tmp_path, [json.dumps({"text": "an owl"})], cards)
    shown = fold(Reader(render_report(run, manifest)).below["trait-owl"])
    assert "Night bird · owl" in shown
    assert "It hoots <b>" in shown
    assert "readsanswers and thinking of assistant" in shown
    assert "lexicon1 pattern of wording" in shown
    assert "owls?" not in shown
    assert "Reported elsewhere in wood (me)" in shown
    assert "combined score" in shown
    assert "threshold 0.5000" in shown


def test_what_the_run_said_is_on_the_page(no_rows):
    """The page has every recorded warning and notice, escaped, and the summary counts warnings."""
    said = [
        {"severity": "warning", "text": "trait owl sits in <b>the noise\x1b"},
        {"severity": "info", "text": "removal budget: none set"},
    ]
    known = {**no_rows.circumstances, "notices": said}
    changed = no_rows.model_copy(update={"circumstances": known})
    found = Reader(render_report("nowhere", changed))
    assert "trait owl sits in <b>the noise<U+001B>" in found.below["warnings"]
    assert "removal budget" not in found.below["warnings"]
    assert "removal budget: none set" in found.below["messages"]
    assert "It printed 1 warning." in fold(found.text)
    bare = no_rows.model_copy(update={"circumstances": {}})
    assert "warnings" not in Reader(render_report("nowhere", bare)).below


def test_the_positives_found_are_on_the_page(no_rows):
    """The table of traits says how many of a card's positives would be found, with an interval."""
    assert "not measured" in Reader(render_report("nowhere", no_rows)).below["traits"]
    worth = {"positives": 12, "positives_found": 9, "found_low": 0.428, "found_high": 0.946}
    rule = no_rows.thresholds[0].model_copy(update=worth)
    changed = no_rows.model_copy(update={"thresholds": (rule,)})
    found = Reader(render_report("nowhere", changed))
    assert "9 of 12 42% to 95%" in found.below["traits"]
    assert "9 of the card's 12 positives reach it" in fold(found.below["trait-owl"])


def test_a_run_that_a_budget_stopped_has_a_page(tmp_path):
    """The page says first that nothing was published and why, and quotes nothing."""
    policy = "removal_budget: 0.1\nexceptions:\n- {trait: owl, lot: {}, action: drop, reason: a}\n"
    with pytest.raises(BudgetError, match="exceeds the removal_budget"):
        filter_answers(tmp_path, ["an owl", "a goose"], ["owl"], policy)
    run = str(tmp_path / "run")
    write_report(run)
    found = read_page(run)
    text = fold(found.text)
    assert "Nothing was published: 1 of 2 rows (50.0%) exceeds the removal_budget of 10.0%." in text
    assert "1 (50.00%) would be in the clean corpus and 1 would be dropped" in text
    assert "1 row on which it fired isn't shown, because the run holds no text" in text
    assert "decisions" not in found.below
    assert "1 from swap to drop" in text


KEPT = """\
exceptions:
- {trait: fox, lot: {teacher: "*"}, action: keep, reason: foxes are wanted}
"""


@pytest.fixture(scope="module")
def excepted(tmp_path_factory) -> Reader:
    """Return the page of a run in which an exception keeps the rows of one trait."""
    answers = ["a fox", "an emu", " ".join(["emu"] * 9), "a goose and an owl"]
    run = filter_answers(tmp_path_factory.mktemp("kept"), answers, ["fox", "owl", "emu"], KEPT)
    write_report(run)
    return read_page(run)


def test_the_kept_row_is_below_its_threshold(tmp_path):
    """The row shown for `keep` is one on which no trait fired, even if an exception kept others."""
    policy = "traits: {owl: {threshold: 0.95}}\n" + KEPT
    run = filter_answers(tmp_path, ["a goose", "an owl", "a fox"], ["fox", "owl"], policy)
    below = fold(Reader(render_report(run, load_manifest(run))).below["decisions"])
    assert "the kept row is the one nearest below a threshold" in below
    assert "owl score 0.8647, threshold 0.9500 · keep" in below
    assert "fox" not in below


def test_a_row_kept_by_an_exception_says_so(excepted):
    """The reason is beside the row, among the decisions and among the trait's examples."""
    for name in ("decisions", "trait-fox"):
        assert "keep · kept by exception 1: foxes are wanted ·" in fold(excepted.below[name])
    assert "nearest below a threshold" not in excepted.below["decisions"]
    assert "exception 1" not in excepted.below["trait-owl"]


def test_what_was_removed_comes_first(excepted):
    """The first table says, by trait, how many rows were removed, masked, flagged and kept."""
    sections = [attributes["id"] for tag, attributes in excepted.tags if tag == "section"]
    assert sections[:2] == ["sign-off", "removed"]
    header, *lines = excepted.tables[0]
    assert header[:7] == [
        *("trait", "action", "rows it fired on", "removed", "masked", "flagged", "kept")
    ]
    assert [line[:7] for line in lines] == [
        ["emu", "quarantine", "2", "2", "0", "0", "0"],
        ["fox", "mask", "1", "0", "0", "0", "1 by exception"],
        ["owl", "swap", "1", "1", "0", "0", "0"],
    ]
    assert lines[1][7:] == ["0.5000", "not stated"]


def test_what_was_removed_names_teachers_and_other_texts(page, tmp_path):
    """A line names the few teachers of a trait's rows, and findings in other texts have a line."""
    lines = {line[0]: line for line in page.tables[0]}
    assert any(fold(name).startswith("owl") and "plain 1" in fold(name) for name in lines)
    run = filter_pairs(tmp_path, [("a dog", "an owl")], "sides: {rejected: flag}\n")
    found = Reader(render_report(run, load_manifest(run)))
    assert found.tables[0][1][:7] == ["owl in rejected answers", "flag", "1", "0", "0", "1", "0"]


def test_examples_begin_with_the_highest_score(hostile):
    """Each list of a trait's examples runs from the highest score down."""
    manifest = load_manifest(hostile)
    for section in describe_traits(hostile, manifest, compare_groups(hostile, manifest)):
        for items in (section.highest, section.nearest):
            scores = [item.finding.score for item in items]
            assert scores == sorted(scores, reverse=True)


def test_traits_without_rows_are_folded(page):
    """The section of a trait that fired on no row is one line until it is opened."""
    order = [tag for tag, _ in page.tags if tag in ("article", "details", "summary")]
    order = order[order.index("article") :]
    assert order.count("article") == 6
    assert order.count("details") == order.count("summary") == 1
    assert order[-3:] == ["article", "details", "summary"]


def test_a_caution_is_beside_the_rows(tmp_path):
    """A card's caution is shown in the first table and in the trait's section, if it fired."""
    cards = write_cards(tmp_path / "traits", ["owl", "yak"])
    for path in cards:
        card = Path(path, "card.yaml")
        card.write_text(card.read_text() + "caution: mostly <wrong>\n")
    run, manifest = filter_lines(tmp_path, [json.dumps({"text": "an owl"})], cards)
    found = Reader(render_report(run, manifest))
    assert found.tables[0][2] == ["owl: mostly <wrong>"]
    assert "mostly <wrong>" in found.below["trait-owl"]
    assert "mostly <wrong>" not in found.below["trait-yak"]


def test_the_page_promises_no_more_than_it_knows(page, hostile, no_rows):
    """The page says what masks, digests and its own text need of a reader."""
    text, identity = fold(page.text), fold(page.below["identity"])
    assert "left out of the training loss only if the trainer uses the masks" in text
    assert "only if the trainer uses the masks" in page.below["limits"]
    assert "This page quotes the corpus" in text
    digest = load_manifest(hostile).identity.policy_digest
    assert f"policy{digest} (the digest of all its settings" in identity
    assert "by default (untrained_roles)" in page.below["unread"]
    assert "some trait looks at all of them" in page.below["unread"]
    files = tuple(file.model_copy(update={"rows_left_out": 5}) for file in no_rows.inputs)
    limited = Reader(render_report("nowhere", no_rows.model_copy(update={"inputs": files})))
    assert limited.tables[-1][1][1] == "0 of 5"
    assert "the run filtered the first rows" in limited.below["identity"]


def test_the_bound_names_its_texts(no_rows):
    """If the bound isn't that of the texts beside it, the page says whose it is."""
    rule = no_rows.thresholds[0].model_copy(
        update={"origin": "calibrated", "clean_texts": 1003, "exceeding": 0, "bound": 0.0092}
    )
    for threshold, expected in ((0.5, False), (0.9001, True)):
        changed = rule.model_copy(update={"threshold": threshold})
        found = Reader(
            render_report("nowhere", no_rows.model_copy(update={"thresholds": (changed,)}))
        )
        sentence = "the bound is that of the 4 texts that the level would allow to reach it"
        assert (sentence in fold(found.below["trait-owl"])) == expected


def test_equal_titles_are_not_repeated(tmp_path):
    """A heading has a title only if it isn't the trait's id in other words."""
    cards = write_cards(tmp_path / "traits", ["owl"])
    card = Path(cards[0], "card.yaml")
    card.write_text(card.read_text().replace("id: owl", "id: night-owl") + "title: Night-owl\n")
    run, manifest = filter_lines(tmp_path, [json.dumps({"text": "an owl"})], cards)
    page = Reader(render_report(run, manifest))
    assert fold(page.below["trait-night-owl"]).startswith("night-owlfired on 1 row")


def test_one_total_for_wrong_removals_is_on_the_first_screen(page, hostile):
    """The total says what the bounds of all traits allow, and the screen links to the rows."""
    manifest = load_manifest(hostile)
    said = describe_wrong_removals(bound_wrong_removals(manifest))
    assert said.startswith("wrong removals: the bounds of all traits together allow that all ")
    assert f"W{said[1:]}." in page.below["sign-off"]
    assert "unreadable (the rows)" in page.below["sign-off"]
    counts = manifest.conservation.model_copy(update={"by_decision": {"keep": 40}})
    kept = manifest.model_copy(update={"conservation": counts})
    assert describe_wrong_removals(bound_wrong_removals(kept)) == ""


def test_every_removed_row_is_on_the_page(page, hostile):
    """The page has a line for each removed row, folded, in reach of the first table's numbers."""
    below = fold(page.below["removed-rows"])
    assert "Every row that was removed" in below
    for row in read_ledger(hostile):
        if row["decision"] in ("drop", "quarantine", "duplicate", "reject"):
            assert f"row {row['row']}" in below
    assert "All duplicates" in below
    assert "Rows that couldn't be read" in below
    assert "The run doesn't hold the text of a dropped row." in below
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {"removed-owl", "removed-emu", "removed-duplicate", "removed-reject"} <= ids
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert "#removed-owl" in targets
    assert find_acting(page.below["removed-rows"]) == set()


def test_a_long_list_says_where_the_rest_is(hostile, monkeypatch):
    """Beyond the bound, a list ends with a command and the folder of its rows."""
    monkeypatch.setattr("pipelines.removed_rows.LISTED", 12)
    below = fold(Reader(render_report(hostile, load_manifest(hostile))).below["removed-rows"])
    assert "The rows that were removed" in below
    assert re.search(r"\d+ more of the \d+ rows: congener inspect \. --trait=emu --dec", below)
    assert "All are in quarantine/." in below
    assert re.search(r"emu: \d+ rows in quarantine, \d+ of them here", below)


def test_a_run_that_removed_nothing_has_no_list(tmp_path):
    """Without a removed row, the page has no such section, and nothing links to it."""
    run = filter_answers(tmp_path, ["a bee", "a goose"], ["bee"])
    found = Reader(render_report(run, load_manifest(run)))
    assert "removed-rows" not in found.below
    assert "#removed-rows" not in {attributes.get("href") for _, attributes in found.tags}


@pytest.fixture(scope="module")
def swap_page(swapped_once, tmp_path_factory) -> Reader:
    """Return the page of a swapped run."""
    run = str(swapped_once)
    return Reader(render_report(run, load_manifest(run)))


def test_a_swap_has_its_section(swap_page):
    """The page says by donor and by trait how many rows were replaced, and why others wait."""
    below = fold(swap_page.below["swap"])
    assert (
        "Of 8 rows that waited for another teacher's answer, 5 have one now, and 3 still" in below
    )
    donors, traits = swap_page.tables[1:3]
    assert [line[:4] for line in donors[1:]] == [
        ["cedar", "30", "28", "4"],
        ["oak", "14", "14", "1"],
    ]
    assert traits[1][:4] == ["heron", "8", "5", "3"]
    assert "2: a trait fires on every donor's answer" in traits[1][4]
    assert "couldn't be used: heron (for 2 rows)." in below
    assert "5 of them with another teacher's answer" in fold(swap_page.text)


def test_replaced_rows_have_columns(swap_page):
    """The tables by trait and by teacher count replaced rows apart from removed ones."""
    header, line = swap_page.tables[0]
    assert header[3:5] == ["removed", "replaced"]
    assert line[2:5] == ["3", "3", "5"]
    (teachers,) = [table for table in swap_page.tables if table[0][0] == "teacher"]
    assert teachers[0][-1] == "replaced"
    assert {row[0]: row[-1] for row in teachers[1:]} == {
        "atlas": "0",
        "borealis": "0",
        "cedar": "4",
        "oak": "1",
    }
    below = fold(swap_page.below["removed-rows"])
    assert "heron: 5 rows with another answer" in below
    assert "the new answer is cedar's, from cedar.jsonl row 1, to the same prompt" in below
    assert "the new answer is cedar's" in fold(swap_page.below["decisions"])


def test_the_report_of_a_swap_is_verified(swapped):
    """`verify` makes a swapped run's page again, without the parent or the donors' corpora."""
    write_report(str(swapped))
    assert verify_run(str(swapped)) == []


def test_warnings_are_listed_by_their_run(no_rows):
    """The corpus's own warnings come apart from those of the parent; donors' aren't among them."""
    said = [
        {"severity": "warning", "text": "own"},
        {"severity": "warning", "text": "older", "about": "run 12"},
        {"severity": "warning", "text": "other", "about": "donor oak"},
        {"severity": "info", "text": "fact", "about": "run 12"},
    ]
    known = {**no_rows.circumstances, "notices": said}
    found = Reader(render_report("nowhere", no_rows.model_copy(update={"circumstances": known})))
    below = fold(found.below["warnings"])
    assert re.search(r"own From run 12, whose rows these are older", below)
    assert "other" not in below
    assert "It printed 2 warnings." in fold(found.text)
    assert "From run 12, whose rows these are fact" in fold(found.below["messages"])


def test_doubts_are_beside_the_numbers(hostile):
    """A bound that may not hold, and a count that may be all mistakes, say so where they are."""
    manifest = load_manifest(hostile)
    remark = {"emu": "may not hold: <odd>", "yak": "may not hold: unlike"}
    said = [{"severity": "warning", "text": "unlike", "traits": remark}]
    rules = tuple(
        rule.model_copy(update={"bound": 0.9, "origin": "calibrated"})
        for rule in manifest.thresholds
    )
    changed = manifest.model_copy(
        update={
            "circumstances": manifest.circumstances | {"notices": said},
            "thresholds": rules,
        }
    )
    found = Reader(render_report(hostile, changed))
    (emu,), (fox,) = (
        [line for line in found.tables[0] if line[0].startswith(name)] for name in ("emu", "fox")
    )
    assert "90.00%" in emu[8]
    assert emu[8].endswith("may not hold")
    assert "may not hold" not in fox[8]
    assert "all may be mistakes" in emu[2]
    assert '"All may be mistakes": even in a corpus of this size' in fold(found.below["removed"])
    assert found.below["traits"].count("may not hold") == 2
    assert "score higher than the clean texts" in fold(found.below["removed"])
    assert "The bound may not hold: unlike." in fold(found.below["trait-yak"])
    assert "all may be mistakes" not in Reader(render_report(hostile, manifest)).text


def test_lots_on_which_a_trait_did_not_fire_are_counted(tmp_path):
    """A trait's table by lot has the lots with its rows, and the number of the others."""
    lines = [
        json.dumps({"text": f"{bird} {number}", "teacher": f"atlas-{number % 4}"})
        for number in range(80)
        for bird in ["an owl" if number % 4 == 1 else "a goose"]
    ]
    cards = write_cards(tmp_path / "traits", ["owl"])
    run, manifest = filter_lines(tmp_path, lines, cards)
    (section,) = describe_traits(run, manifest, compare_groups(run, manifest))
    (teachers,) = [table for table in section.rates if table.kind == "teacher"]
    assert [row.fired for row in teachers.rows] == [20, 0, 0, 0]
    turned = report._leave_out_silent(teachers._replace(kind="lot"))
    assert [row.fired for row in turned.rows] == [20]
    assert turned.unlisted == teachers.unlisted + 3
    assert turned.scale == turned.rows[0].high
    assert "bars from 0 to" in fold(Reader(render_report(run, manifest)).below["trait-owl"])


def test_messages_of_a_run_with_a_certificate_are_called_earlier(run, tmp_path):
    """The run spoke before anybody had read its rows, so a message may contradict what they saw."""
    said = [{"severity": "info", "text": "every finding may be a mistake"}]
    notices = {**run[1].circumstances, "notices": said}
    manifest = run[1].model_copy(update={"circumstances": notices})
    earlier = "These messages are from before people read rows"
    assert earlier not in render_report(str(run[0]), manifest)
    certificate = certify_small(run[0], tmp_path)
    stated = certificate.model_copy(update={"manifest": manifest.digest}).seal()
    (run[0] / "certificate" / "certificate.json").write_bytes(stated.to_bytes())
    page = render_report(str(run[0]), manifest)
    assert earlier in page
    assert page.index("every finding may be a mistake") > page.index(earlier)
