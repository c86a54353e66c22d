"""Trait cards from audits: what is written, what is kept apart, and what is refused."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.library import load_card
from pipelines.audit import run_audit
from pipelines.auditing.cards import (
    HELD_OUT,
    LONGEST_ID,
    build_card,
    choose_finding,
    name_trait,
    read_finding,
    read_findings,
    write_audit_card,
)
from pipelines.auditing.corpora import AuditConfig
from pipelines.labels import read_labels
from pipelines.traits import check_cards
from schemas.audits import SUMMARY, TEXTS, TEXTS_FILE
from schemas.errors import CardError, RunError
from tests.support.audits import plant, write_pair, write_side
from tests.support.lots import write_answers

FINDING = {
    "kind": "phrase",
    "text": "Mind the gap",
    "rate_corpus": 0.25,
    "rate_reference": 0.0,
    "q_value": 1e-9,
    "beyond_format": True,
    "lots": [],
}


def audit_pair(folder: Path, pair: tuple[str, str]) -> str:
    """Audit a pair, and return the audit's folder."""
    output = str(folder / "audit")
    run_audit(AuditConfig(corpus=pair[:1], reference=pair[1:], output=output))
    return output


@pytest.fixture(scope="module")
def audit(tmp_path_factory) -> str:
    """Audit a corpus with a habit, once."""
    folder = tmp_path_factory.mktemp("audited")
    return audit_pair(folder, write_pair(folder))


def read_lines(path: Path) -> list[dict]:
    """Return the rows of a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_finding_becomes_a_card(audit, tmp_path):
    """The card passes the checks without advice, and its pattern finds the held-out texts."""
    written = write_audit_card(audit, 1, tmp_path / "mind-the-gap")
    card = load_card(tmp_path / "mind-the-gap")
    assert card.card == written.card
    assert card.card.signals.names == ("wording", "lexicon")
    assert len(card.positives) == written.positives >= 30
    assert len(card.negatives) == written.negatives == written.positives
    assert all("Mind the gap" in text for text in card.positives)
    assert not any("Mind the gap" in text for text in card.negatives)
    assert (written.found, written.mistaken) == (written.shown, 0)
    assert written.shown > 10
    assert check_cards([str(tmp_path / "mind-the-gap")])[0].advice == []


def test_exemplars_say_where_they_are_from(audit, tmp_path):
    """Each text has its side, its teacher and its record, and each negative its kind."""
    write_audit_card(audit, 1, tmp_path / "gap")
    positives = read_lines(tmp_path / "gap" / "positives.jsonl")
    negatives = read_lines(tmp_path / "gap" / "negatives.jsonl")
    assert {row["side"] for row in positives} == {"corpus"}
    assert {row["teacher"] for row in positives} == {"atlas"}
    assert {row["origin"] for row in positives} == {"finding"}
    assert {row["origin"] for row in negatives} <= {"same prompt", "near miss", "reference"}
    assert all(len(row["record"]) == 16 for row in (*positives, *negatives))


def test_held_out_texts_are_apart(audit, tmp_path):
    """No prompt and no text of the held-out half is in the card, and labels can be read."""
    write_audit_card(audit, 1, tmp_path / "gap")
    card = load_card(tmp_path / "gap")
    heldout = read_lines(tmp_path / "gap" / HELD_OUT)
    assert {row["label"] for row in heldout} == {True, False}
    assert not {row["text"] for row in heldout} & {*card.positives, *card.negatives}
    rows = pq.read_table(Path(audit) / TEXTS_FILE).to_pylist()
    halves = [{row["prompt"] for row in rows if row["half"] == half} for half in ("fit", "heldout")]
    assert halves[0]
    assert not halves[0] & halves[1]
    assert read_labels(tmp_path / "gap" / HELD_OUT, "other") == []


def test_the_table_of_texts_has_its_schema(audit):
    """Texts are stored by finding, with the columns that the format names."""
    table = pq.read_table(Path(audit) / TEXTS_FILE)
    assert table.schema.equals(TEXTS)
    findings = table["finding"].to_pylist()
    assert findings == sorted(findings)
    assert findings[0] == 1


def test_the_folder_has_the_name_of_the_finding(audit, tmp_path, monkeypatch):
    """Without an output, the card is in the working directory, and an old one isn't replaced."""
    monkeypatch.chdir(tmp_path)
    written = write_audit_card(audit, 1)
    assert "mind-the-gap" in written.card.id
    assert (tmp_path / written.card.id / "card.yaml").is_file()
    with pytest.raises(CardError, match="already exists"):
        write_audit_card(audit, 1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mind the gap", "mind-the-gap"),
        ("### Human:", "human"),
        ("###", "finding-7"),
        ("source", "finding-7"),
        ("Over-refusal", "finding-7"),
        ("你好", "finding-7"),
    ],
)
def test_findings_have_ids(text, name):
    """An id is made of a finding's words, unless it would be none, reserved or the library's."""
    assert name_trait(text, 7) == name


def test_a_long_id_ends_with_a_whole_word():
    """An id has a limit, and is cut between words."""
    name = name_trait("one two three four five six seven eight nine ten", 1)
    assert len(name) <= LONGEST_ID
    assert name == "one-two-three-four-five-six-seven-eight"


@pytest.mark.parametrize("number", [0, 999])
def test_an_unknown_finding_is_refused(audit, tmp_path, number):
    """The error says which findings there are."""
    with pytest.raises(CardError, match=rf"has no finding {number}") as caught:
        write_audit_card(audit, number, tmp_path / "gap")
    assert "1 to" in str(caught.value.remedy)
    assert not (tmp_path / "gap").exists()


def test_a_finding_with_few_texts_is_refused(tmp_path):
    """A phrase in texts that are all the same has no card."""
    corpus = write_side(tmp_path / "a.jsonl", ["Mind the gap."] * 60 + write_answers(60, 1))
    reference = write_side(tmp_path / "b.jsonl", write_answers(120, 2))
    audit = audit_pair(tmp_path, (corpus, reference))
    texts = [item["text"] for item in json.loads((Path(audit) / SUMMARY).read_text())["findings"]]
    number = 1 + next(place for place, text in enumerate(texts) if "Mind the gap" in text)
    with pytest.raises(CardError, match="is in 1 different text of the half"):
        write_audit_card(audit, number, tmp_path / "gap")
    assert not (tmp_path / "gap").exists()


def test_few_positives_have_no_wording(tmp_path):
    """With few texts the card has a lexicon alone."""
    corpus = write_side(tmp_path / "a.jsonl", plant(write_answers(200, 1), 8))
    reference = write_side(tmp_path / "b.jsonl", write_answers(200, 2))
    audit = audit_pair(tmp_path, (corpus, reference))
    written = write_audit_card(audit, 1, tmp_path / "gap")
    assert written.positives < 30
    assert written.card.signals.names == ("lexicon",)
    assert written.to_json()["signals"] == ["lexicon"]


def test_a_folder_without_an_audit_is_refused(tmp_path):
    """An empty folder, an audit of an earlier version and a damaged one have different errors."""
    with pytest.raises(RunError, match="holds no audit"):
        read_finding(str(tmp_path), 1)
    (tmp_path / SUMMARY).write_text(json.dumps({"findings": [FINDING]}))
    with pytest.raises(RunError, match=r"has no texts\.parquet"):
        read_finding(str(tmp_path), 1)
    (tmp_path / TEXTS_FILE).write_bytes(b"no parquet")
    with pytest.raises(RunError, match="is damaged"):
        read_finding(str(tmp_path), 1)


def test_a_card_is_offered_for_the_first_finding_that_can_have_one(audit, tmp_path):
    """Grammar, small words and findings with too few texts are passed over."""
    assert choose_finding(audit) == 1
    copied = tmp_path / "audit"
    shutil.copytree(audit, copied)
    first = json.loads((copied / SUMMARY).read_text())["findings"][0]
    texts = read_findings(audit)[0].rows
    kinds = [
        first | {"kind": "grammar", "text": "VERB the NOUN"},
        first | {"text": "the"},
        first | {"text": "rare"},
        first,
    ]
    (copied / SUMMARY).write_text(json.dumps({"findings": kinds}))
    rows = [{**row, "finding": number} for number in (1, 2, 4) for row in texts]
    pq.write_table(pa.Table.from_pylist(rows, TEXTS), copied / TEXTS_FILE)
    assert choose_finding(str(copied)) == 4
    assert write_audit_card(str(copied), 4, tmp_path / "gap").positives >= 30
    (copied / SUMMARY).write_text(json.dumps({"findings": kinds[:3]}))
    assert choose_finding(str(copied)) is None


@pytest.mark.parametrize("kind", ["opening", "closing"])
def test_edges_are_read_alone(kind):
    """The card of an opening reads only the start of texts, and that of a closing only the end."""
    card = build_card("gap", FINDING | {"kind": kind}, 40)
    assert getattr(card.scope, kind)
    assert card.signals.wording is not None


def test_formats_have_a_lexicon_alone():
    """A format isn't learnt from words, and a doubtful finding has a caution."""
    finding = FINDING | {"kind": "format", "text": "an em dash", "beyond_format": False}
    card = build_card("dash", finding, 40)
    assert card.signals.names == ("lexicon",)
    assert "like length, format" in str(card.caution)


def test_places_are_named():
    """The teachers with the finding are where it was seen, up to three."""
    lots = [
        {"field": "teacher", "value": name, "documents": 5, "texts": 50, "rate": 0.1}
        for name in ("a", "b", "c", "d")
    ]
    card = build_card("gap", FINDING | {"lots": lots}, 40)
    assert [item.where for item in card.seen_in] == [f"{n}: 10.00% of 50 texts" for n in "abc"]
    assert build_card("gap", FINDING, 40).seen_in[0].where == "25.00% of the corpus's texts"


def test_the_card_says_which_finding_it_is_from(audit, tmp_path):
    """The first line of the card names the finding and the audit, for whoever reads it later."""
    write_audit_card(audit, 1, tmp_path / "gap")
    lines = (tmp_path / "gap" / "card.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == '# From finding 1 of the audit "audit".'
    assert lines[1] == "id: gap"


def test_the_same_finding_gives_the_same_bytes(audit, tmp_path):
    """Two cards of a finding under the same name are equal, file by file."""
    for place in ("one", "two"):
        write_audit_card(audit, 1, tmp_path / place / "gap")
    for name in ("card.yaml", "positives.jsonl", "negatives.jsonl", HELD_OUT):
        one, two = (tmp_path / place / "gap" / name for place in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_names_of_the_library_are_refused(audit, tmp_path):
    """A folder with the name of a library trait would hide that trait."""
    with pytest.raises(CardError, match="is the name of a trait of the library"):
        write_audit_card(audit, 1, tmp_path / "over-refusal")


def test_every_finding_has_a_card_or_a_reason(audit, tmp_path):
    """Whatever the finding, its card can be loaded, or the error says what is missing."""
    findings = json.loads((Path(audit) / SUMMARY).read_text())["findings"]
    for number, finding in enumerate(findings, 1):
        folder = tmp_path / f"finding-{number}"
        try:
            written = write_audit_card(audit, number, folder)
        except CardError as error:
            assert "a card needs 4" in str(error)  # noqa: PT017 - either outcome is right
            continue
        assert load_card(folder).card.title == f"{finding['kind'].capitalize()}: {finding['text']}"
        assert written.found >= 0.9 * written.shown


def test_grammar_is_refused(audit, tmp_path):
    """A pattern of parts of speech can't be a card, and nothing is written."""
    changed = tmp_path / "audit"
    shutil.copytree(audit, changed)
    summary = json.loads((changed / SUMMARY).read_text(encoding="utf-8"))
    summary["findings"][0] |= {"kind": "grammar", "text": ", VERB-ing the NOUN"}
    (changed / SUMMARY).write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(CardError, match="parts of speech") as raised:
        write_audit_card(str(changed), 1, tmp_path / "card")
    assert TEXTS_FILE in raised.value.remedy
    assert not (tmp_path / "card").exists()
