"""The page of an audit: its sentences, its drawing, and escaped text."""

import copy
import re

import pytest

from pipelines.auditing.pages import (
    DRAWN,
    LIMITS,
    RARER_SHOWN,
    SHOWN,
    WIDTH,
    count_apart,
    count_beyond,
    describe_compared,
    describe_detectable,
    describe_languages,
    describe_teachers,
    describe_tests,
    format_p,
    format_rate,
    format_value,
    lay_out_bars,
    list_comparisons,
    list_sentences,
    render_page,
    shorten_label,
)

VIEW = {"auroc": 0.84, "p_value": 0.0005, "bags": {"4": 0.97, "16": 1.0, "64": None}}

FINDING = {
    "kind": "phrase",
    "text": "Mind the <gap>",
    "rate_corpus": 0.25,
    "rate_reference": 0.05,
    "corpus_low": 0.2,
    "corpus_high": 0.3,
    "reference_low": 0.01,
    "reference_high": 0.1,
    "rate_expected": 0.06,
    "beyond_format": False,
    "q_value": 1e-9,
    "adjusted_q_value": 0.243,
    "variants": ["the gap"],
    "examples": [
        {
            "before": "One. ",
            "text": "Mind the <gap>",
            "after": " & go.\u202e",
            "prompt": "Which <train>?",
        }
    ],
    "reference_examples": [{"before": "", "text": "Mind the <gap>", "after": "", "prompt": ""}],
    "lots": [{"field": "teacher", "value": "atlas<b>", "texts": 150, "rate": 0.5}],
}

SUMMARY = {
    "differs": True,
    "p_value": 1e-30,
    "level": 0.05,
    "matched": True,
    "strata": 3,
    "p_findings": 0.3,
    "texts": {
        "corpus": {"texts": 300, "compared": 179},
        "reference": {"texts": 1_200, "compared": 290},
    },
    "in_both": 0,
    "teachers": {"corpus": {"atlas": 300}, "reference": {"cedar": 1_200}},
    "views": {"raw": VIEW, "canonical": VIEW, "baseline": VIEW},
    "detectable": {"auroc": 0.56, "rate": 0.02},
    "findings": [FINDING],
    "findings_found": 1,
    "rarer": [],
    "rarer_found": 0,
    "formats": [],
    "other_language": {"corpus": 0.0, "reference": 0.0},
    "lots": [
        {
            "teacher": "atlas",
            "prompt_source": "-",
            "texts": 150,
            "auroc": 0.9,
            "q_value": 0.001,
            "compared_with": "all",
        },
    ],
}

NAMES = {"corpus": ["a.jsonl", "b.jsonl"], "reference": ["c.jsonl"]}


def change(**fields):
    """Return the summary with other fields."""
    return copy.deepcopy(SUMMARY) | fields


def test_the_page_shows_everything():
    """The verdict, the tests, the finding with its texts and lots, and the limits are there."""
    page = render_page(SUMMARY, NAMES)
    for part in (
        "the corpus differs from the reference (p &lt; 1e-12 for both tests)",
        "corpus 179 of 300, reference 290 of 1,200; compared prompt by prompt",
        "a.jsonl, b.jsonl: 300 texts",
        "prompt by prompt",
        "length, format and difficulty alone",
        "0.97",
        "25.0 %",
        "20.0 % to 30.0 %",
        "not shown among texts of like format, q = 0.24; there may be too few such texts",
        "also: the gap",
        "50.0 % of 150",
        "0.90",
    ):
        assert part in page, part
    assert all(limit.replace("'", "&#39;") in page for limit in LIMITS)


def test_grammar_is_explained_where_there_is_any():
    """The page says what parts of speech are if a finding has them, and else nothing of them."""
    grammar = {**FINDING, "kind": "grammar", "text": ", VERB-ing the NOUN"}
    page = render_page(change(findings=[FINDING, grammar], findings_found=2), NAMES)
    assert ", VERB-ing the NOUN" in page
    assert "Grammar is a sequence of parts of speech" in page
    assert "Grammar" not in render_page(SUMMARY, NAMES)


FORMATS = [
    {"name": "words", "unit": "number", "corpus": 212.4, "reference": 98.6, "auroc": 0.81},
    {"name": "texts with <b>", "unit": "share", "corpus": 0.4, "reference": 0.0, "auroc": 0.3},
]


def test_formats_are_named():
    """The page says which measures differ, with both values; without any there is no section."""
    page = render_page(change(formats=FORMATS), NAMES)
    assert "Length, format and language" in page
    assert "the next table says which" in page
    for part in ("212", "98.6", "0.81", "texts with &lt;b&gt;", "40.0 %", "0.0 %", "0.30"):
        assert part in page, part
    bare = render_page(SUMMARY, NAMES)
    assert "Length, format and language" not in bare
    assert "the next table" not in bare


def test_other_languages_are_counted():
    """The page states how many answers aren't in their prompt's language, if any aren't."""
    page = render_page(change(other_language={"corpus": 0.031, "reference": 0.0002}), NAMES)
    assert "3.1 % of the corpus&#39;s answers and 0.02 % of the reference&#39;s" in page
    assert describe_languages(SUMMARY) == ""
    assert "another language than their prompt" not in render_page(SUMMARY, NAMES)


def test_what_is_rarer_has_a_table():
    """What the corpus has less often comes in a table without numbers, with its examples."""
    rarer = FINDING | {"text": "By the <way>", "rate_corpus": 0.01, "rate_reference": 0.2}
    page = render_page(change(rarer=[rarer] * (RARER_SHOWN + 2), rarer_found=70), NAMES)
    after = page.partition("What the corpus has less often")[2]
    assert after.count("By the &lt;way&gt;") == RARER_SHOWN
    assert "Mind the &lt;gap&gt;" in after
    assert f"The first {RARER_SHOWN} of 70; audit.json has {RARER_SHOWN + 2}." in after
    assert '<th class="right">#</th>' not in after
    assert "What the corpus has less often" not in render_page(SUMMARY, NAMES)
    only = change(rarer=[rarer | {"examples": []}], rarer_found=1, findings=[], findings_found=0)
    assert "<b>reference</b>" in render_page(only, NAMES)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.5, "number", "1,234"),
        (12.34, "number", "12.3"),
        (0.123, "number", "0.12"),
        (0.123, "share", "12.3 %"),
    ],
)
def test_values_of_measures_are_short(value, unit, text):
    """Large numbers have no decimals, and shares are in percent."""
    assert format_value(value, unit) == text


def test_texts_are_escaped():
    """Markup and control characters of the corpus are shown as text."""
    page = render_page(SUMMARY, NAMES)
    assert "Mind the &lt;gap&gt;" in page
    assert "<gap>" not in page
    assert "atlas&lt;b&gt;" in page
    assert "\u202e" not in page


def test_the_page_is_self_contained():
    """No script and no address is loaded, and the same summary gives the same page."""
    page = render_page(SUMMARY, NAMES)
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert page == render_page(SUMMARY, NAMES)


def test_no_difference_is_a_page_too():
    """Without findings the page says how small a difference would have been found."""
    page = render_page(change(differs=False, findings=[], findings_found=0, lots=[]), NAMES)
    assert "No difference is shown" in page
    assert "an AUROC of 0.56 for single texts" in page
    assert "a phrase in 2.00% of the corpus&#39;s texts" in page
    assert "What the corpus has more often" not in page
    assert "<svg" not in page


def test_a_lot_against_the_whole_reference_is_no_finding():
    """Such a lot has a mark and an explanation, and no q under a verdict without a difference."""
    page = render_page(change(differs=False, findings=[], findings_found=0), NAMES)
    assert "<td>atlas*</td>" in page
    assert "differs by being of one teacher or source" in page
    assert "without *" not in page
    assert '<td class="right">–</td></tr>' in page
    assert "0.001" not in page
    assert "0.001" in render_page(SUMMARY, NAMES)


def test_a_lot_that_differs_from_its_own_kind_is_named_with_the_verdict():
    """The headline and a sentence say that a lot differs, and that it doesn't count."""
    lots = [SUMMARY["lots"][0] | {"compared_with": "alike"}]
    found = change(differs=False, findings=[], findings_found=0, lots=lots)
    assert count_apart(found) == 1
    assert list_comparisons(found)[0].startswith("Lots without *")
    assert "1 lot differs from the reference's texts" in list(list_sentences(found))[-1]
    page = render_page(found, NAMES)
    assert "No difference is shown in the whole corpus" in page
    assert "0.001" in page
    assert "atlas*" not in page
    assert count_apart(found | {"level": 0.0001}) == 0


def test_unmatched_corpora_name_their_strata():
    """The page says within how many strata texts were compared."""
    assert "within 3 strata of the prompts" in render_page(change(matched=False), NAMES)


def test_many_findings_are_cut():
    """The page shows the first findings, and says how many there are."""
    page = render_page(change(findings=[FINDING] * (SHOWN + 5), findings_found=900), NAMES)
    assert f"The first {SHOWN} of 900 findings; findings.parquet has {SHOWN + 5}" in page
    assert page.count("<details>") == SHOWN
    assert page.count('<rect class="corpus"') == DRAWN


def test_bars_are_scaled_to_the_largest():
    """The longest bar has the full width, and the reference's bars the same scale."""
    bars = lay_out_bars([FINDING, FINDING | {"rate_corpus": 0.5, "rate_reference": 0.5}])
    assert [bar.corpus for bar in bars] == [WIDTH / 2, WIDTH]
    assert [bar.reference for bar in bars] == [pytest.approx(WIDTH / 10), WIDTH]
    assert bars[0].y < bars[1].y
    assert lay_out_bars([]) == []


def test_a_difference_names_the_tests_that_show_it():
    """Each has its own p, and that of the verdict is twice the smaller one."""
    found = change(p_value=0.001)
    assert list(list_sentences(found)) == [
        "the corpus differs from the reference (p = 0.001 for both tests)",
        "the classifier's test (p = 0.0005) shows it",
        "p for both tests is twice the smaller one",
    ]
    both = describe_tests(change(p_findings=0.02))
    assert both.startswith(
        "the classifier's test (p = 0.0005) and the findings' test (p = 0.02) show"
    )


def test_a_difference_without_a_finding_says_how_small_a_phrase_would_have_been_found():
    """A verdict of the classifier alone has no name, and the page says why."""
    found = change(findings=[], findings_found=0)
    *_, why, how, rate = list_sentences(found)
    assert why.startswith("no phrase, pattern or format alone is shown to be more frequent")
    assert "adds up many small differences" in how
    assert rate == describe_detectable(0.02)
    assert rate.startswith("a phrase in 2.00% of the corpus's texts and none of the reference's")
    assert "a phrase in 2.00% of the corpus&#39;s texts" in render_page(found, NAMES)


def test_texts_that_were_compared_are_counted():
    """The classifier reads some texts prompt by prompt, and findings are of all texts."""
    assert describe_compared(SUMMARY) == (
        "texts that the classifier read: corpus 179 of 300, reference 290 of 1,200",
        "compared prompt by prompt; findings: all texts, within 3 strata of the prompts",
    )
    assert describe_compared(change(matched=False, strata=1))[1].count("as a whole") == 2
    assert describe_compared(change(in_both=1))[0].endswith("1,200; 1 row is in both")
    assert describe_compared(change(in_both=1_185))[0].endswith("1,200; 1,185 rows are in both")


def test_sentences_of_a_difference_have_no_limits():
    """Where something was found, the verdict and its tests are said."""
    assert len(list(list_sentences(SUMMARY))) == 3
    assert count_apart(SUMMARY) == 0


def test_no_difference_says_what_would_have_been_found():
    """The verdict is followed by the reach of both tests, and nothing else."""
    verdict, rate, auroc = list_sentences(change(differs=False, p_value=0.3, findings=[]))
    assert verdict == "the corpus isn't shown to differ from the reference (p = 0.3 for both tests)"
    assert rate.startswith("a phrase in 2.00% of the corpus's texts and none of the reference's")
    assert rate.endswith("would have been found, four times in five")
    assert auroc.startswith("the classifier would have shown a difference from an AUROC of 0.56")
    assert auroc.endswith("for single texts; it is 0.84, and 0.50 is chance")
    unknown = change(differs=False, detectable={"auroc": 0.6, "rate": None})
    assert list(list_sentences(unknown))[1] == "there are too few texts to find any phrase alone"


def test_other_shares_of_teachers_are_said_with_a_difference():
    """A teacher in both with another share may be all of the difference; new teachers are it."""
    assert describe_teachers(SUMMARY) is None
    both = {"corpus": {"atlas": 90, "cedar": 10}, "reference": {"atlas": 50, "cedar": 50}}
    said = describe_teachers(change(teachers=both))
    assert said == (
        "the teachers' shares of the rows differ (atlas 50 of 100 in the reference, 90 of 100 in "
        "the corpus; cedar 50 of 100 in the reference, 10 of 100 in the corpus), so the corpora "
        "may differ for that reason alone"
    )
    assert said in list(list_sentences(change(teachers=both)))
    assert said not in list(list_sentences(change(teachers=both, differs=False)))
    assert describe_teachers(change(teachers={"corpus": {"a": 9}, "reference": {"a": 90}})) is None


def test_findings_beyond_format_are_counted():
    """A reader sees at once how many differences are more than length and format."""
    two = change(findings=[FINDING | {"beyond_format": True}, FINDING], findings_found=700)
    said = "1 of 700 findings is shown beyond length, format and difficulty"
    assert count_beyond(two) == said
    assert f"{said}; they come first." in render_page(two, NAMES)
    none = "no finding is shown beyond length, format and difficulty"
    assert count_beyond(SUMMARY) == none
    assert f"{none}.</p>" in render_page(change(findings=[FINDING] * 2, findings_found=2), NAMES)


def test_bags_are_shown_only_with_a_difference():
    """A bag of 64 texts looks far apart by chance alone, so the page has none without a verdict."""
    assert "bags of 4" in render_page(SUMMARY, NAMES)
    page = render_page(change(differs=False, findings=[], findings_found=0), NAMES)
    assert "bag" not in page
    assert "0.97" not in page
    assert "the verdict's p counts only that of the whole text" in page


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0 %"), (0.25, "25.0 %"), (0.0004, "0.04 %"), (1.0, "100.0 %")]
)
def test_rates_are_readable(value, text):
    """Small rates have more digits."""
    assert format_rate(value) == text


def test_p_values_and_labels_are_short():
    """A tiny p-value is bounded, and a long label is cut."""
    assert format_p(0.03) == "p = 0.03"
    assert format_p(0.0) == "p < 1e-12"
    assert shorten_label("heron") == "heron"
    assert len(shorten_label("x" * 90)) == 36


CLUSTER = {
    "rate_corpus": 0.2,
    "rate_reference": 0.05,
    "corpus_low": 0.15,
    "corpus_high": 0.26,
    "reference_low": 0.02,
    "reference_high": 0.1,
    "q_value": 0.0001,
    "examples": ["A heron <waits> by the pond.", "An egret stands in the reeds."],
    "reference_examples": [],
}

VECTORS = VIEW | {"clusters_tested": 8, "clusters": [CLUSTER]}


def test_vectors_are_a_view_of_their_own():
    """With an encoder the page has one more row, and says that it isn't part of the verdict."""
    page = render_page(change(vectors=VECTORS), NAMES)
    assert "vectors of the beginning (not part of the verdict)" in page
    assert page.count("not part of the verdict") == 1
    assert "not part of the verdict" not in render_page(SUMMARY, NAMES)


def test_kinds_of_text_are_quoted():
    """Each cluster has its rates with intervals, and its texts with markup escaped."""
    page = render_page(change(vectors=VECTORS), NAMES)
    assert "Kinds of text in excess" in page
    for part in (
        "A heron &lt;waits&gt; by the pond.",
        "An egret stands in the reeds.",
        "15.0 % to 26.0 %",
        "2.0 % to 10.0 %",
        "1e-04",
    ):
        assert part in page, part
    assert "<waits>" not in page
    assert "other answers to their prompts" in page
    assert "<b>reference</b>A" not in page


def test_kinds_of_answer_are_shown_beside_the_reference():
    """If prompts are matched, each text has the reference's answer; else there is none."""
    cluster = CLUSTER | {"reference_examples": ["A <heron>.", "No egret."]}
    page = render_page(change(vectors=VECTORS | {"clusters": [cluster]}), NAMES)
    assert "<b>reference</b>A &lt;heron&gt;." in page
    assert page.index("An egret stands") < page.index("<b>reference</b>No egret.")
    apart = render_page(change(vectors=VECTORS, matched=False), NAMES)
    assert "nearest to the middle of each" in apart


def test_no_kind_of_text_has_no_section():
    """Vectors without a cluster in excess have their row, and no empty table."""
    page = render_page(change(vectors=VECTORS | {"clusters": []}), NAMES)
    assert "vectors of the beginning" in page
    assert "Kinds of text in excess" not in page


def test_examples_have_their_prompts():
    """The prompt is before its example, and an example without one has none."""
    page = render_page(SUMMARY, NAMES)
    assert "<b>prompt</b>Which &lt;train&gt;?" in page
    assert page.count("<b>prompt</b>") == page.count("Which &lt;train&gt;?")
