"""The report's first screen: what came in, what was taken out, what is promised and unknown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipelines.certify import carry_over
from pipelines.certifying.statements import state
from pipelines.display.excerpts import escape_name
from pipelines.display.page_templates import build_environment
from pipelines.library_precision import SAMPLE
from pipelines.report import write_report
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.rates import compare_groups
from pipelines.sentences import NOT_LOOKED_FOR
from pipelines.sign_off import (
    REASONS_SHOWN,
    TEACHERS_SHOWN,
    SignOff,
    TraitEffects,
    count_teachers,
    counts_rows_twice,
    describe_precision,
    describe_promises,
    describe_reading,
    describe_taken,
    list_reasons,
    list_unknown,
    summarise_for_signing,
)
from schemas.certificates import Certificate, ShareBound
from schemas.manifests import Conservation, Manifest
from schemas.runs import REPORT_PAGE
from tests.support.certificates import (
    answer_truth,
    certify_small,
    decide_small,
    draw_small,
    keep_rows,
)
from tests.support.hostile import (
    TEACHER,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
    find_acting,
    write_cards,
)


def read_screen(run: str, certificate: Certificate | None = None) -> SignOff:
    """Return the first screen of a finished run."""
    manifest = load_manifest(run)
    return summarise_for_signing(run, manifest, compare_groups(run, manifest), certificate)


def build_line(answer: str, **fields: object) -> str:
    """Return a row as a line of JSON."""
    question = {"role": "user", "content": "q"}
    return json.dumps({"messages": [question, {"role": "assistant", "content": answer}], **fields})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Filter the hostile corpus."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("signing"))[0]


@pytest.fixture(scope="module")
def screen(hostile: str) -> SignOff:
    """Return the first screen of the hostile run."""
    return read_screen(hostile)


def test_what_came_in_names_rows_teachers_and_dates(screen):
    """Rows, files, teachers with their rows, and the range of dates are there."""
    rows, teachers, dates = screen.came_in
    assert rows == f"{len(build_rows()) + 1} rows in 1 file"
    assert teachers.startswith("2 teachers: teacher ")
    assert re.search(r"plain \d+$", teachers)
    assert dates == "dated 2026-01-01 to 2026-03-04"


def test_hostile_names_are_escaped_and_short(screen):
    """A teacher's name can hold anything, and the screen shows its beginning."""
    assert find_acting(" ".join(screen.came_in)) == set()
    assert len(screen.came_in[1]) < 150


def test_teachers_are_counted_by_rows(hostile):
    """Every readable row counts once, and the teacher with most rows comes first."""
    found = count_teachers(hostile, load_manifest(hostile))
    assert [item.name for item in found] == [TEACHER, "plain"]
    assert sum(item.rows for item in found) == len(build_rows())
    assert all(item.dated == item.rows for item in found)


def test_unnamed_teachers_and_missing_dates_are_said(tmp_path):
    """A corpus may name no teacher at all, or leave some rows without one."""
    bare = read_screen(filter_answers(tmp_path / "bare", ["an owl", "a goose"], ["owl"]))
    assert bare.came_in == ["2 rows in 1 file", "no row names its teacher", "no row has a date"]
    assert "Who wrote 2 rows: they name no teacher." in bare.unknown
    lines = [
        build_line("a goose", teacher="atlas", created="2026-05-01"),
        build_line("a heron"),
        build_line("a wren"),
    ]
    cards = write_cards(tmp_path / "traits", ["owl"])
    some = read_screen(filter_lines(tmp_path / "some", lines, cards)[0])
    assert some.came_in[1:] == ["1 teacher: atlas 1", "dated 2026-05-01; 2 without a date"]
    assert "Who wrote 2 rows: they name no teacher." in some.unknown


def test_many_teachers_are_counted(tmp_path):
    """Beyond a few names, the rest is a number."""
    lines = [build_line("a goose", teacher=f"atlas-{number}") for number in range(12)]
    cards = write_cards(tmp_path / "traits", ["owl"])
    found = read_screen(filter_lines(tmp_path, lines, cards)[0])
    assert found.came_in[1].startswith("12 teachers: atlas-0 1, atlas-1 1, ")
    assert found.came_in[1].endswith(f" and {12 - TEACHERS_SHOWN} more")


def test_dates_of_no_known_form_have_no_range(tmp_path):
    """The order of texts isn't that of dates unless they are in the usual form."""
    lines = [build_line("a goose", created=text) for text in ("May 1", "June 2")]
    cards = write_cards(tmp_path / "traits", ["owl"])
    manifest = filter_lines(tmp_path, lines, cards)[1]
    found = read_screen(str(tmp_path / "run"))
    known = {item.dated for item in count_teachers(str(tmp_path / "run"), manifest)}
    assert found.came_in[2] in ("2 rows with a date, in no known form", "no row has a date")
    assert (found.came_in[2] == "no row has a date") == (known == {0})


def test_what_was_taken_out_adds_up(screen, hostile):
    """The phrase has the numbers of the manifest, and where the rows are."""
    counts = load_manifest(hostile).conservation.by_decision
    removed = sum(counts[name] for name in ("quarantine", "drop", "duplicate", "reject"))
    assert screen.taken.startswith(f"{removed} of {len(build_rows()) + 1} rows (")
    assert screen.taken.endswith(
        f"): {counts['quarantine']} in quarantine, {counts['drop']} dropped, "
        f"{counts['duplicate']} duplicates, {counts['reject']} unreadable"
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"keep": 3}, "no row was taken out"),
        ({"keep": 3, "duplicate": 1}, "1 of 4 rows (25.00%): 1 duplicate"),
        ({"drop": 1}, "1 of 1 row (100.00%): 1 dropped"),
    ],
)
def test_few_rows_are_said_in_the_singular(no_rows, counts, said):
    """One row is a row, and none is said as such."""
    held = Conservation(rows_in=sum(counts.values()), by_decision=counts)
    assert describe_taken(no_rows.model_copy(update={"conservation": held})) == said


def test_the_traits_behind_it_come_with_their_rows(screen, hostile):
    """The trait that took out most rows is first, and traits that did nothing aren't listed."""
    assert screen.unlisted == 0
    assert len(screen.reasons) <= REASONS_SHOWN
    assert screen.reasons[0].trait == "emu"
    by_trait = {
        item.trait: {name: count for count, name in item.effects} for item in screen.reasons
    }
    assert set(by_trait["bee"]) == {"flagged"}
    assert set(by_trait["fox"]) == {"masked"}
    assert set(by_trait["elk"]) == {"removed"}
    assert "yak" not in by_trait
    fired = load_manifest(hostile).fired
    assert by_trait["emu"]["removed"] == fired["emu"]


def test_what_other_traits_did_is_not_blamed_on_a_trait(tmp_path):
    """A row with a mask that another trait removes isn't a removal by the masking trait."""
    run = filter_answers(tmp_path, ["a fox with an elk", "a fox", "a goose"], ["fox", "elk"])
    found = {item.trait: item.effects for item in read_screen(run).reasons}
    assert found == {"elk": [(1, "removed")], "fox": [(1, "masked")]}


def test_exceptions_leave_all_effects_on_the_screen(tmp_path):
    """With an exception, a masking trait can have removed rows, so they are counted."""
    policy = 'exceptions:\n- {trait: fox, lot: {teacher: "*"}, action: drop, reason: no foxes}\n'
    run = filter_answers(tmp_path, ["a fox", "a goose"], ["fox"], policy)
    assert [item.effects for item in read_screen(run).reasons] == [[(1, "removed")]]


def test_findings_in_other_texts_say_where(tmp_path):
    """A finding in a rejected answer names these texts."""
    run = filter_pairs(tmp_path, [("a dog", "an owl")], "sides: {rejected: flag}\n")
    (found,) = read_screen(run).reasons
    assert (found.trait, found.texts, found.effects) == (
        "owl",
        "rejected answers",
        [(1, "flagged")],
    )


def test_a_cards_warning_is_what_is_known(tmp_path):
    """Without rows that people read, the card's own measurement is shown, as a warning."""
    cards = write_cards(tmp_path / "traits", ["owl", "elk"])
    card = Path(cards[0], "card.yaml")
    card.write_text(card.read_text() + "caution: none of 6 flags was right\n")
    found = read_screen(filter_lines(tmp_path, [build_line("an owl, an elk")], cards)[0])
    known = {item.trait: (item.right, item.is_weak) for item in found.reasons}
    assert known["owl"] == ("none of 6 flags was right", True)
    assert known["elk"] == ("", False)


def test_what_people_read_in_the_run_comes_first(run, tmp_path):
    """The rows that an audit read say more of this run than a card does."""
    sample = draw_small(run[0], tmp_path).sample
    certificate = state(run[1], sample, answer_truth(sample))
    read = certificate.traits[0].clean_removed.read
    assert read > 0
    (rule,) = run[1].thresholds
    right, is_weak = describe_precision(rule, run[1], certificate)
    shown = f"people read {read} of 8 rows that this trait's action removed: "
    assert right == f"{shown}{read} show it"
    earlier = certificate.model_copy(update={"masked": None})
    right, _ = describe_precision(rule, run[1], earlier)
    assert "of 8 removed rows on which it fired: " in right
    assert not is_weak
    assert describe_precision(rule, run[1], None) == ("", False)
    (trait,) = certificate.traits
    doubt = trait.clean_removed.model_copy(update={"counted": 3, "unsure": 1})
    doubtful = trait.model_copy(update={"clean_removed": doubt})
    known = certificate.model_copy(update={"traits": (doubtful,)})
    right, _ = describe_precision(rule, run[1], known)
    assert right == f"{shown}{read - 3} shows it (2 clean, 1 unsure (counted as clean))"
    none = doubt.model_copy(update={"counted": read, "unsure": 0})
    every = trait.model_copy(update={"clean_removed": none})
    right, _ = describe_precision(rule, run[1], certificate.model_copy(update={"traits": (every,)}))
    assert right == f"{shown}none shows it"


def test_the_certificate_is_in_a_sentence(run, tmp_path):
    """The screen has the bound, its confidence, the readers, and whether the target was met."""
    sample = draw_small(run[0], tmp_path, at_most=0.9).sample
    certificate = state(run[1], sample, answer_truth(sample))
    said, target = describe_reading(certificate)
    assert said.startswith("Certificate: at most ")
    assert f"{certificate.together.residual.rows} kept rows show heron" in said
    assert f"1 person read {certificate.together.residual.read} of them." in said
    assert "95% confidence" in said
    assert target == "The target of 90% was met."
    unmet = certificate.model_copy(update={"at_most": 1e-6})
    assert list(describe_reading(unmet))[1] == "The target of 0.0001% was not met."
    assert list(describe_reading(None)) == [
        (
            "No certificate: congener certify makes one from a random sample of rows that people "
            "read. What was read with congener traits eval or congener review isn't counted here."
        )
    ]


def build_rules(manifest: Manifest, **changes: object) -> Manifest:
    """Return a manifest whose thresholds have other values."""
    rules = tuple(rule.model_copy(update=changes) for rule in manifest.thresholds)
    return manifest.model_copy(update={"thresholds": rules})


def test_promises_name_confidence_and_text(no_rows):
    """A calibrated trait promises a share, with its confidence, on text that is named."""
    assert list(describe_promises(no_rows)) == [
        "Nothing is promised for owl: no calibrated threshold."
    ]
    found = build_rules(
        no_rows, origin="calibrated", bound=0.0071, clean_texts=1200, calibrated_on="my <texts>"
    )
    assert list(describe_promises(found)) == [
        (
            "owl fires on at most 0.71% of clean rows, with 95% confidence, on text like this: "
            "my <texts>, 1,200 texts."
        )
    ]
    said = [{"severity": "warning", "text": "unlike", "traits": {"owl": "may not hold: odd"}}]
    doubted = found.model_copy(update={"circumstances": {"notices": said}})
    assert list(describe_promises(doubted))[-1] == (
        "The bounds of owl may not hold for this corpus."
    )


def test_wrong_removals_are_promised_first(screen):
    """The bound for all traits together begins the block."""
    assert screen.promised[0].startswith("Wrong removals: ")


def test_what_is_not_known_is_listed(no_rows, hostile):
    """Covert transfer comes first; traits that didn't run, unread rows and text are named."""
    limits = (f"{NOT_LOOKED_FOR}coercion, turn-leak.", "another limit")
    left = no_rows.model_copy(update={"limits": limits})
    assert list(list_unknown(left, [], None)) == [
        "Covert transfer: whether rows that look clean carry a trait.",
        (
            "How many rows with a trait stay: the run has no certificate. congener certify bounds "
            "the number; congener traits eval measures one trait's recall."
        ),
        "Traits that didn't run: coercion, turn-leak.",
    ]
    manifest = load_manifest(hostile)
    assert "What is in 1 row that couldn't be read." in list(list_unknown(manifest, [], None))


def test_noise_is_not_known(no_rows):
    """A trait that fired on no more rows than clean text allows may not be there at all."""
    held = Conservation(rows_in=1000, by_decision={"quarantine": 4, "keep": 996})
    changed = build_rules(no_rows, origin="calibrated", bound=0.01).model_copy(
        update={"conservation": held, "fired": {"owl": 4}}
    )
    assert "Whether owl occurs at all: all its rows may be mistakes." in list(
        list_unknown(changed, [], None)
    )


def test_an_empty_run_has_a_screen(no_rows):
    """Nothing is read from the folder of a run without rows."""
    found = summarise_for_signing("nowhere", no_rows, compare_groups("nowhere", no_rows), None)
    assert found.came_in == ["0 rows in 1 file"]
    assert found.taken == "no row was taken out"
    assert found.reasons == []


def test_replaced_rows_are_reasons(swapped_once):
    """Rows with another teacher's answer are counted at the trait of the old one."""
    run = str(swapped_once)
    manifest = load_manifest(run)
    (found,) = list_reasons(manifest, compare_groups(run, manifest), None)
    assert (5, "replaced") in found.effects


def test_rows_of_donors_did_not_come_in(mixed_once):
    """A mix adds rows that weren't in the corpus."""
    run = str(mixed_once)
    manifest = load_manifest(run)
    assert read_screen(run).came_in[0].startswith(f"{51 - manifest.added} rows in ")
    assert sum(item.rows for item in count_teachers(run, manifest)) == 51 - manifest.added


def test_the_screen_is_the_first_section_of_the_page(hostile):
    """The page begins with it, and it has the command that checks the run."""
    page = Path(write_report(hostile)).read_text(encoding="utf-8")
    assert Path(hostile, REPORT_PAGE).is_file()
    first = page.split("<section")[1]
    assert 'id="sign-off"' in first
    manifest = load_manifest(hostile)
    assert f"congener verify RUN --digest {manifest.digest}" in first
    for heading in ("Came in", "Made", "Taken out, and why", "Promised", "Not known"):
        assert f"<h2>{heading}</h2>" in first
    assert "none was altered" in first
    assert "congener certify RUN --draw 200" in first


def test_earlier_statements_are_said(no_rows):
    """What the history says of the certificate is the last sentence about reading."""
    rates = compare_groups("nowhere", no_rows)
    found = summarise_for_signing("nowhere", no_rows, rates, None, "Statement 2 of 2.")
    assert found.reading[-1] == "Statement 2 of 2."


def test_traits_that_only_flag_are_minor(screen):
    """A trait that took nothing out is minor, unless its card has a warning."""
    minor = {item.trait for item in screen.reasons if item.is_minor}
    assert minor == {"bee"}
    (bee,) = [item for item in screen.reasons if item.trait == "bee"]
    assert not bee._replace(is_weak=True).is_minor
    assert not bee._replace(effects=[(1, "flagged"), (1, "masked")]).is_minor


def change(clean: ShareBound, counted: int, **numbers: int) -> ShareBound:
    """Return a carried bound with other numbers of rows behind it."""
    carried = clean.carried.model_copy(update=numbers)
    return clean.model_copy(update={"counted": counted, "carried": carried})


def put(found: Certificate, clean: ShareBound) -> Certificate:
    """Return a certificate of one trait with another bound on its clean removed rows."""
    statement = found.traits[0].model_copy(update={"clean_removed": clean})
    return found.model_copy(update={"traits": (statement,)})


def test_rows_that_people_read_in_another_run_are_named(run, tmp_path):
    """With a certificate that was carried over, the screen says what people saw in its rows."""
    certify_small(run[0], tmp_path)
    manifest = decide_small(run[0], tmp_path / "again", keep_rows(1, 6))
    found = carry_over(str(tmp_path / "again"), str(run[0])).certificate
    (rule,) = manifest.thresholds
    right, _ = describe_precision(rule, manifest, found)
    clean = found.traits[0].clean_removed
    seen, action = clean.carried.ruled_out, "rows that this trait's action removed"
    assert clean.counted == 0
    assert right == f"people read {seen} of 6 {action}: {seen} show it"
    gone = change(clean, counted=2, gone=1, ruled_out=1)
    assert describe_precision(rule, manifest, put(found, gone))[0] == (
        f"people read 2 of 6 {action}: 1 shows it"
    )
    none = change(clean, counted=1, gone=1, ruled_out=0)
    assert describe_precision(rule, manifest, put(found, none))[0] == (
        f"people read none of 6 {action}"
    )
    bound, carried = describe_reading(found)
    assert "of 34 kept rows show heron" in bound
    assert "read" not in bound
    assert carried.startswith(f"Carried over from the certificate of run {run[1].run_id}")


def test_rows_that_count_twice_are_noted_beside_their_number(screen, hostile):
    """If the traits' removed rows are more than the removed rows, the page says why."""
    manifest = load_manifest(hostile)
    once = TraitEffects("owl", "", [(1, "removed"), (900, "flagged")], "", False)
    assert not counts_rows_twice(manifest, [once])
    assert counts_rows_twice(manifest, [once._replace(effects=[(900, "removed")])])
    assert screen.counts_twice == counts_rows_twice(manifest, screen.reasons)
    page = Path(write_report(hostile)).read_text(encoding="utf-8")
    assert ("counts for each of them</span>" in page) == screen.counts_twice


def test_the_note_on_the_librarys_sample_is_only_beside_its_numbers():
    """A bracket with what people read is never under a note about the library's real answers."""
    own = TraitEffects("owl", "", [(1, "flagged")], "people read 1 of 1 rows: 0 show it", False)
    shipped = own._replace(trait="elk", right=f"20 of 22 right{SAMPLE}")
    assert shipped.is_from_library
    assert not own.is_from_library
    render = build_environment()
    render.filters |= {"count": "{:,}".format, "escape_name": escape_name}
    template = render.get_template("sign_off.html.j2")
    nothing = SignOff([], "", False, [], 0, [], [], [], [])

    def show(*reasons: TraitEffects) -> str:
        found = nothing._replace(reasons=list(reasons))
        manifest = Manifest.model_construct(withdrawn=object())
        others = {"removed": [], "certificate": None, "manifest": manifest}
        return template.render(sign_off=found, sample=SAMPLE, **others)

    assert "In brackets: flags of the library" in show(shipped)
    mixed = show(own, shipped)
    assert "In brackets" not in mixed
    assert f"(20 of 22 right{SAMPLE})" in mixed
    assert "(people read 1 of 1 rows: 0 show it)" in mixed


def test_what_people_read_replaces_what_is_not_known(run, tmp_path):
    """A trait that a read row shows isn't called doubtful beside that row."""
    certificate = certify_small(run[0], tmp_path)
    (rule,) = run[1].thresholds
    noisy = run[1].model_copy(update={"thresholds": (rule.model_copy(update={"bound": 0.9}),)})
    said = "Whether heron occurs at all: all its rows may be mistakes."
    assert said in list(list_unknown(noisy, [], None))
    assert said not in list(list_unknown(noisy, [], certificate))
    first = next(describe_promises(noisy, certificate))
    assert first.startswith("Wrong removals: ")
    assert "people read" in first


def test_doubtful_bounds_of_traits_that_remove_nothing_are_named(run):
    """The sentence about removed rows names only traits that remove some, so all are named here."""
    said = [{"severity": "warning", "text": "unlike", "traits": {"owl": "may not hold: odd"}}]
    notices = {**run[1].circumstances, "notices": said}
    doubted = run[1].model_copy(update={"circumstances": notices})
    found = list(describe_promises(doubted))
    assert found[0].startswith("Wrong removals: ")
    assert "owl" not in found[0]
    assert found[-1] == "The bounds of owl may not hold for this corpus."


def test_doubtful_bounds_are_still_named_where_people_read(run, tmp_path):
    """The sentence from reading doesn't hide that a bound may not hold for the corpus."""
    certificate = certify_small(run[0], tmp_path)
    said = [{"severity": "warning", "text": "unlike", "traits": {"heron": "may not hold: odd"}}]
    notices = {**run[1].circumstances, "notices": said}
    doubted = run[1].model_copy(update={"circumstances": notices})
    assert "The bounds of heron may not hold for this corpus." in list(
        describe_promises(doubted, certificate)
    )
