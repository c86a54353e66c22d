"""The draft for the EU's public summary."""

from __future__ import annotations

from pipelines.config import FilterConfig
from pipelines.mix import MixConfig, run_mix
from pipelines.papers.attestations import list_dependencies
from pipelines.papers.disclosures import write_summary
from pipelines.swap import SwapConfig, run_swap
from tests.support.corpora import ANSWERS
from tests.support.papers import HOSTILE, USER, read_facts


def read(run, *names, **options):
    """Return the lines of a run's draft."""
    return write_summary(read_facts(run, *names, **options)).decode().splitlines()


def test_each_model_has_role_rows_and_tokens(mixed):
    """Every model is listed with its role and rows, and tokens that aren't known are said so."""
    facts = read_facts(mixed)
    lines = read(mixed)
    for item in facts.generators:
        (line,) = (line for line in lines if line.startswith(f"| {item.name} | {item.role}"))
        assert f"| {item.rows:,} | {item.published:,} |" in line
        assert "| not known |" in line


def test_swaps_are_described(swapped):
    """The draft says how many answers were replaced, from which donor, and for which trait."""
    text = "\n".join(read(swapped))
    counts = read_facts(swapped).manifest.swap.counts
    assert f"{counts.replaced:,} answers" in text
    for donor, rows in counts.by_donor.items():
        assert f"| {donor} | {donor} | {rows} |" in text
    assert "| heron | replaced |" in text


def test_mixes_are_described(mixed):
    """The draft says how many rows were added, from which donor."""
    text = "\n".join(read(mixed))
    counts = read_facts(mixed).manifest.mix.counts
    assert f"{counts.added:,} rows of other corpora were added" in text
    assert f"| elm | {counts.by_donor['elm']} |" in text


def test_a_filtered_run_has_no_empty_sections(run):
    """Without a swap or a mix, the draft doesn't mention them."""
    text = "\n".join(read(run[0]))
    assert "replaced" not in text
    assert "were added" not in text
    assert "because a trait fired on them.\nSome of them may be clean." in text
    named = write_summary(read_facts(run[0])._replace(taken={"heron": 1})).decode()
    assert "fired on them, or because a person took them out." in named
    assert "removed rows included: " in text
    assert f"congener verify RUN --digest {read_facts(run[0]).manifest.digest}" in text


def test_gaps_are_visible(run):
    """What only the provider knows is marked, and goes away when it is given."""
    assert sum("TO BE FILLED IN" in line for line in read(run[0])) == 6
    given = read(run[0], user=USER)
    assert sum("TO BE FILLED IN" in line for line in given) == 1
    assert any("https://example.com/atlas" in line for line in given)


def test_unnamed_models_are_asked_for(run):
    """Rows without a model's name are counted, and the provider is asked who wrote them."""
    text = "\n".join(read(run[0], "-"))
    assert "For 9 published rows, the corpus doesn't name a model." in text
    assert "who or what wrote them" in text


def test_neither_texts_nor_markup_get_in(run):
    """No text of a row is quoted, and a hostile name stays in its cell."""
    lines = read(run[0], HOSTILE)
    assert not any(line.startswith("# ") for line in lines[1:])
    assert not any(answer in line for line in lines for answer in ANSWERS)


def test_unknown_sizes_are_not_guessed(run):
    """Without counts of characters, the draft says that they aren't known."""
    facts = read_facts(run[0])
    coverage = facts.manifest.coverage.model_copy(update={"turns": ()})
    other = facts._replace(manifest=facts.manifest.model_copy(update={"coverage": coverage}))
    assert "Characters of answers: not known" in write_summary(other).decode()


def test_both_models_of_a_donor_are_named(swapped):
    """A donor whose rows are of several models has all of them beside its name."""
    facts = read_facts(swapped)
    (one,) = (item for item in facts.generators if item.donor == "cedar")
    generators = (*facts.generators, one._replace(name="birch"))
    text = write_summary(facts._replace(generators=generators)).decode()
    rows = facts.manifest.swap.counts.by_donor["cedar"]
    assert f"| cedar | cedar, birch | {rows} |" in text


def test_a_run_with_both_has_both_sections(swapped, tmp_path, held):
    """A swap before a mix is still described in the mixed run, with the numbers of each."""
    own = FilterConfig(output=str(tmp_path / "both"))
    donors = (str(held / "elm.jsonl"),)
    run_mix(MixConfig(run=str(swapped), donors=donors, share=0.25, filter=own))
    text = "\n".join(read(tmp_path / "both"))
    assert "## Answers that were replaced" in text
    assert "## Rows that were added" in text
    facts = read_facts(tmp_path / "both")
    assert [item.describe() for item in facts.ancestors][:2] == ["congener swap", "congener filter"]
    assert {item.donor for item in facts.generators} >= {None, "cedar", "elm"}


def test_answers_of_earlier_swaps_are_counted(swapped, tmp_path, held):
    """If a swapped run is swapped again, the answers of both swaps are described."""
    own = FilterConfig(output=str(tmp_path / "twice"))
    donors = (str(held / "elm.jsonl"), f"birch={held / 'oak.jsonl'}")
    run_swap(SwapConfig(run=str(swapped), donors=donors, filter=own))
    first, second = (read_facts(run) for run in (swapped, tmp_path / "twice"))
    before, after = first.manifest.swap.counts, second.manifest.swap
    text = "\n".join(read(tmp_path / "twice"))
    assert f"{before.replaced + after.counts.replaced:,} answers" in text
    for donor, rows in before.by_donor.items():
        assert f"| {donor} | {donor} | {rows} |" in text
    names = [item["name"] for item in list_dependencies(second)]
    assert f"swap/{first.manifest.run_id}/donor/cedar/ledger-root" in names
