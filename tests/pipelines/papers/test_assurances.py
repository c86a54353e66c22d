"""What the data card says about exceptions, warnings, cautions and certificates."""

from __future__ import annotations

import pytest

from pipelines.certify import carry_over, certify_run
from pipelines.certifying.histories import record_statement
from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.papers.assurances import (
    MOST_EXCEPTIONS,
    describe_cautions,
    describe_exceptions,
    describe_reading,
    state_bound,
    sum_effects,
)
from pipelines.papers.attestations import _describe_certificate
from schemas.certificates import COVERT, MASKS_COUNT_AS_REMOVED
from schemas.receipts import ActionChange, ExceptionEffect
from schemas.shares import format_bound
from tests.support.certificates import (
    certify_small,
    decide_small,
    draw_small,
    fill_sheet,
    keep_rows,
    tell_truth,
)
from tests.support.papers import HOSTILE, read_facts
from tests.support.runs import read_ledger


@pytest.fixture
def certified(run, tmp_path):
    """Certify a run by true labels of one rater, and return its facts and its certificate."""
    sample = draw_small(run[0], tmp_path).sample
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth)
    found = certify_run(str(run[0]), [sheet])[0]
    return read_facts(run[0]), found


@pytest.fixture
def excepted(run, policy, tmp_path):
    """Decide a run again with an exception for one held row, and return its facts."""
    held = next(row for row in read_ledger(str(run[0])) if row["decision"] == "quarantine")
    name = f"{held['source']}:{held['row']}"
    path = policy(
        f"exceptions: [{{row: '{name}', trait: heron, action: keep, reason: 'no | heron, by ada'}},"
        " {trait: heron, lot: {teacher: nobody}, threshold: 0.9, reason: none}]"
    )
    output = tmp_path / "decided"
    config = DecideConfig(run=str(run[0]), filter=FilterConfig(output=str(output), policy=path))
    run_decide(config)
    return read_facts(output), name


def test_exceptions_are_listed_with_their_reasons(excepted):
    """Each exception has its row or lot, what it sets, what it changed, and its escaped reason."""
    facts, name = excepted
    lines = list(describe_exceptions(facts))
    assert lines[0] == "### Exceptions"
    assert lines[2] == (
        "The policy has 2 exceptions: they changed the action on 1 from quarantine to keep; "
        "1 of them changes no row."
    )
    row = next(line for line in lines if "by ada" in line)
    assert row.startswith(f"| row {name} | heron | keep | 1 from quarantine to keep |")
    assert "no \\| heron, by ada" in row
    assert any("| threshold 0.9000 | none |" in line for line in lines)


def test_a_run_without_exceptions_has_no_section(run):
    """Nothing is said about exceptions that a policy doesn't have."""
    assert list(describe_exceptions(read_facts(run[0]))) == []


def test_many_exceptions_are_cut(excepted):
    """The card lists the first exceptions, and counts the rest."""
    facts, _ = excepted
    count = MOST_EXCEPTIONS + 7
    one = facts.manifest.policy["exceptions"][0]
    policy = {**facts.manifest.policy, "exceptions": [one] * count}
    changes = {"policy": policy, "exceptions": (ExceptionEffect(rows=1),) * count}
    many = facts._replace(manifest=facts.manifest.model_copy(update=changes))
    lines = list(describe_exceptions(many))
    assert sum(line.startswith("| row") for line in lines) == MOST_EXCEPTIONS + 1  # and the head
    assert "7 more exceptions are in the manifest." in lines


def test_effects_are_summed_over_exceptions(excepted):
    """Rows are counted by their actions before and after, from the mildest action."""
    facts, _ = excepted
    drop = ExceptionEffect(rows=1, changed=(ActionChange(before="drop", after="keep", rows=1),))
    flag = ExceptionEffect(rows=9, changed=(ActionChange(before="flag", after="keep", rows=9),))
    manifest = facts.manifest.model_copy(update={"exceptions": (drop, flag, drop)})
    assert sum_effects(facts._replace(manifest=manifest)) == (
        "they changed the action on 9 from flag to keep, 2 from drop to keep"
    )
    idle = facts.manifest.model_copy(update={"exceptions": (ExceptionEffect(),)})
    assert sum_effects(facts._replace(manifest=idle)) == "they changed no row"


def test_an_exception_is_described_as_it_was_written(excepted):
    """It says keep, and the action of another trait on the row is named as such."""
    facts, _ = excepted
    kept = ExceptionEffect(rows=1, changed=(ActionChange(before="drop", after="flag", rows=1),))
    facts = facts._replace(manifest=facts.manifest.model_copy(update={"exceptions": (kept,)}))
    words = "1 from drop to keep (for another trait, the action is flag)"
    assert sum_effects(facts) == f"they changed the action on {words}"
    row = next(line for line in describe_exceptions(facts) if "by ada" in line)
    shown = words.replace("(", "\\(").replace(")", "\\)")
    assert f"| keep | {shown} |" in row
    overruled = kept.model_copy(update={"overruled": 2})
    facts = facts._replace(manifest=facts.manifest.model_copy(update={"exceptions": (overruled,)}))
    row = next(line for line in describe_exceptions(facts) if "by ada" in line)
    assert f"{shown}, 2 unchanged, because another trait decides" in row


def test_cautions_and_doubts_are_repeated(run):
    """The card has the cautions of traits that fired, and warnings about bounds, escaped."""
    facts = read_facts(run[0])
    assert list(describe_cautions(facts)) == []
    said = {"severity": "warning", "text": f"unlike {HOSTILE}", "traits": {"heron": "may not hold"}}
    other = {"severity": "warning", "text": "the file /home/ada/x was slow"}
    changes = {
        "circumstances": {**facts.manifest.circumstances, "notices": [said, other]},
        "cards": {
            "heron": {**facts.manifest.cards["heron"], "caution": "Herons look like storks."}
        },
    }
    doubted = facts._replace(manifest=facts.manifest.model_copy(update=changes))
    lines = list(describe_cautions(doubted))
    assert lines[0] == "### Read these numbers with care"
    assert lines[2].startswith("- unlike ev\\|il \\# \\<b\\>")
    assert lines[3] == "- heron: Herons look like storks."
    assert not any("ada" in line for line in lines)


def test_a_run_without_a_certificate_says_so(run):
    """A reader isn't left to guess whether people read rows."""
    lines = list(describe_reading(read_facts(run[0])))
    assert lines[2].startswith("The run has no certificate")
    assert lines[3].startswith("Wrong removals: ")
    assert "people read" not in lines[3]


def test_a_certificate_is_stated_with_raters_and_limits(certified):
    """The bound, the raters, the rows that were read, the limits and the digest are there."""
    facts, found = certified
    assert facts.certificate == found
    lines = list(describe_reading(facts))
    assert state_bound(found) in lines
    assert "audit labelled the rows." in lines
    (removals,) = [line for line in lines if line.startswith("Wrong removals: ")]
    assert "people read" in removals
    residual = found.together.residual
    assert f"at most {format_bound(found.together.decisive)}" in state_bound(found)
    assert f"{residual.read} rows of them were read" in state_bound(found)
    assert any(line.startswith(f"| heron | {residual.read} | 0 |") for line in lines)
    assert any(COVERT[:40] in line for line in lines)
    assert any(found.digest in line for line in lines)
    assert any(f"--statement {facts.statements[-1].digest}" in line for line in lines)
    assert not any("unsure" in line for line in lines)


def test_rows_in_doubt_are_counted_apart(certified):
    """They count as clean for the bound, but nobody called them clean."""
    facts, found = certified
    removed = found.together.clean_removed.model_copy(update={"counted": 3, "unsure": 1})
    trait = found.traits[0].model_copy(update={"clean_removed": removed})
    doubted = found.model_copy(update={"traits": (trait,)})
    lines = list(describe_reading(facts._replace(certificate=doubted)))
    assert any(line.endswith("| 2 clean, 1 unsure (counted as clean) |") for line in lines)
    assert any(line.startswith("Rows that a rater was unsure about") for line in lines)


def test_kept_rows_in_doubt_are_counted_apart(certified):
    """They count as showing the trait for the bound, but nobody was sure that they do."""
    facts, found = certified
    residual = found.together.residual.model_copy(update={"counted": 3, "unsure": 1})
    trait = found.traits[0].model_copy(update={"residual": residual})
    lines = list(
        describe_reading(facts._replace(certificate=found.model_copy(update={"traits": (trait,)})))
    )
    assert any(line.startswith(f"| heron | {residual.read} | 2 + 1 unsure |") for line in lines)


def test_earlier_statements_are_named(certified):
    """The card names the first bound, also if nothing is stated about the present sample."""
    facts, found = certified
    (line,) = facts.statements
    later = record_statement(found, [line], None, None)
    words = list(describe_reading(facts._replace(statements=(line, later))))
    assert words[3].startswith("Statement 2 of 2 about this run; the first said at most")
    words = list(describe_reading(facts._replace(certificate=None)))
    assert words[2] == "The run has no certificate."
    assert words[3].startswith("1 statement was made about the run before; the last said")


def test_the_traits_of_a_certificate_are_named(certified):
    """With several traits, the sentence names all of them, and each has a row."""
    facts, found = certified
    owl = found.traits[0].model_copy(update={"trait": "owl"})
    several = found.model_copy(update={"traits": (*found.traits, owl)})
    assert "show any of heron, owl" in state_bound(several)
    lines = list(describe_reading(facts._replace(certificate=several)))
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")][1:] == [
        "| any of them",
        "| heron",
        "| owl",
    ]


def test_a_certificate_of_another_run_is_left_out(certified, run):
    """A certificate counts only for the manifest that it is about."""
    facts, found = certified
    other = found.model_copy(update={"manifest": "a" * 64}).seal()
    (run[0] / "certificate" / "certificate.json").write_bytes(other.to_bytes())
    assert read_facts(run[0]).certificate is None
    assert facts.certificate is not None


@pytest.mark.parametrize(
    ("at_most", "words"), [(0.001, "at most 0.1%, is **not met**."), (0.99, "at most 99%, is met.")]
)
def test_a_target_is_stated_with_its_verdict(certified, at_most, words):
    """Whoever reads only the card learns that the bound was meant to be lower."""
    stated = state_bound(certified[1].model_copy(update={"at_most": at_most}))
    assert stated.endswith(f" The target, {words}")
    assert "target" not in state_bound(certified[1])


def test_the_condition_of_masked_rows_is_stated(certified):
    """The card says that the bound needs a trainer that applies the masks."""
    stated = state_bound(certified[1].model_copy(update={"masked": 4}))
    assert stated.endswith(MASKS_COUNT_AS_REMOVED)
    assert MASKS_COUNT_AS_REMOVED not in state_bound(certified[1])


def test_a_carried_certificate_names_its_run(run, tmp_path):
    """The card says in which run people read rows, and the statement names it, too."""
    certify_small(run[0], tmp_path)
    decide_small(run[0], tmp_path / "again", keep_rows(1, 6))
    carry_over(str(tmp_path / "again"), str(run[0]))
    facts = read_facts(tmp_path / "again")
    text = "\n".join(describe_reading(facts))
    assert "of the 34 kept rows show heron." in text
    assert f"Carried over from the certificate of run {run[1].run_id}" in text
    assert f"| kept rows read in run {run[1].run_id} |" in text
    assert "| 4 of 8 |" in text
    assert "were read" not in text
    (found,) = _describe_certificate(facts)
    assert found["annotations"]["carriedFromRun"] == run[1].run_id
    assert found["annotations"]["addedRows"] == 2
    assert found["annotations"]["carriedFromStatements"] == 1
    (bare,) = _describe_certificate(read_facts(run[0]))
    assert "carriedFromRun" not in bare["annotations"]
