"""Banks: saved, loaded, cached, and fitted for missing traits."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

import pipelines.banks as module
from classifiers.banks import INDEX_FILE
from classifiers.clean_text import CleanRow
from classifiers.models import encoders
from pipelines.banks import choose_traits, load_bank, prepare_bank, read_answers, save_bank
from pipelines.config import FilterConfig, Hardware
from pipelines.display import progress
from pipelines.display.progress import TerminalReporter
from pipelines.runs.cache import get_cache_folder
from pipelines.shipped_bank import ShippedTraits
from schemas import corpora
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.errors import CardError, InputError, ModelError
from schemas.events import FitStarted, Noticed
from schemas.policies import Policy, TraitRule
from tests.support.corpora import build_conversation, write_rows
from transforms.files import storage


@pytest.fixture
def fits(monkeypatch):
    """Record each fit's card ids."""
    calls, real = [], module.fit_bank

    def record(cards, clean, encoder, config, fitted=None, progress=None):
        if missing := [card.id for card in cards if card.id not in (fitted or {})]:
            calls.append(missing)
        return real(cards, clean, encoder, config, fitted, progress)

    monkeypatch.setattr(module, "fit_bank", record)
    return calls


def test_a_run_given_for_a_bank_names_its_bank(run):
    """The folder of a run is no bank, but holds one; a damaged bank is still called damaged."""
    with pytest.raises(ModelError, match="not a trait bank, but a run with one") as caught:
        load_bank(str(run[0]))
    assert caught.value.remedy.endswith(f"its bank is {run[0]}/bank")
    with pytest.raises(ModelError, match="is not a trait bank: ") as caught:
        load_bank(f"{run[0]}/ledger")
    assert "congener fit" in caught.value.remedy


def test_round_trip(config, tmp_path):
    """A saved bank reads back with the same digest and scores."""
    bank, encoder, plan = prepare_bank(config)
    assert encoder is None
    assert [card.id for card in plan.cards] == ["heron"]
    save_bank(bank, str(tmp_path / "bank"))
    again = load_bank(str(tmp_path / "bank"))
    assert again.digest == bank.digest
    np.testing.assert_array_equal(
        again.traits["heron"].calibration["combined"], bank.traits["heron"].calibration["combined"]
    )


def test_a_cached_bank_is_not_fitted_again(config, fits):
    """Equal cards, clean text and encoder are fitted once, unless the cache is damaged."""
    digest = prepare_bank(config).bank.digest
    assert prepare_bank(config).bank.digest == digest
    before = len(fits)
    for path in (get_cache_folder() / "banks").glob(f"*/{INDEX_FILE}"):
        path.write_text(path.read_text().replace('"heron"', '"her0n"'))
    assert prepare_bank(config).bank.digest == digest
    assert len(fits) == before + 1


def test_a_fit_of_library_traits_is_announced(config, fits, monkeypatch, tmp_path):
    """Before shipped traits are fitted, the run says why, how many, how long and how often."""
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "empty"))
    said = []
    reason = "they were fitted with other code than this version's"
    monkeypatch.setattr(module, "find_shipped_traits", lambda *_: ShippedTraits({}, reason))
    prepare_bank(config, listener=said.append)
    first = next(event for event in said if isinstance(event, Noticed))
    assert f"{reason} (if you didn't change congener's code, reinstall it; " in first.notice.text
    assert first.notice.text.endswith(
        "So 1 trait is fitted first, which takes seconds without encoder; later runs take what "
        "was fitted from the cache"
    )
    again = []
    prepare_bank(config, listener=again.append)
    assert [event for event in again if isinstance(event, Noticed)] == []
    assert fits == [["heron"]]


@pytest.mark.parametrize("cache", ["file/below", None])
def test_a_run_goes_on_without_a_cache(config, tmp_path, monkeypatch, cache):
    """Without a writable cache, each run fits again with a warning."""
    (tmp_path / "file").touch()
    folder = tmp_path / cache if cache else None
    monkeypatch.setattr(module, "get_cache_folder", lambda: folder)
    events = []
    digest = prepare_bank(config, listener=events.append).bank.digest
    warnings = [str(event.notice) for event in events if isinstance(event, Noticed)]
    assert len(warnings) == 1
    assert "the fitted traits aren't kept for other runs" in warnings[0]
    assert "set CONGENER_CACHE" in warnings[0]
    assert prepare_bank(config).bank.digest == digest


def test_a_given_bank_is_used_and_the_rest_is_fitted(config, card_folder, tmp_path, fits):
    """With --bank and --traits, only new or changed traits are fitted."""
    save_bank(prepare_bank(config).bank, str(tmp_path / "bank"))
    stork = card_folder(
        "stork", "signals: {lexicon: {patterns: ['storks? of the bank']}}\nthreshold: 0.5\n"
    )
    both = config.model_copy(
        update={"bank": str(tmp_path / "bank"), "traits": (*config.traits, str(stork))}
    )
    fits.clear()
    assert list(prepare_bank(both).bank.traits) == ["heron", "stork"]
    assert fits == [["stork"]]
    Path(config.traits[0], "card.yaml").write_text(
        "id: heron\nsignals: {lexicon: {patterns: [changed egret]}}\nthreshold: 0.5\n"
    )
    prepare_bank(both)
    assert fits[-1] == ["heron"]


def test_a_given_bank_alone_brings_its_traits(config, tmp_path):
    """With only --bank, the run uses the bank's traits."""
    save_bank(prepare_bank(config).bank, str(tmp_path / "bank"))
    alone = config.model_copy(update={"bank": str(tmp_path / "bank"), "traits": ()})
    assert list(prepare_bank(alone).bank.traits) == ["heron"]


def test_an_altered_bank_is_refused(config, tmp_path):
    """A bank with a changed file is refused."""
    save_bank(prepare_bank(config).bank, str(tmp_path / "bank"))
    path = tmp_path / "bank" / INDEX_FILE
    path.write_text(path.read_text().replace("herons?", "heron"))
    with pytest.raises(ModelError, match="doesn't match its digest"):
        load_bank(str(tmp_path / "bank"))


def test_another_encoder_than_the_banks_is_refused(tmp_path):
    """The error for a bank with another window size names the size."""
    bank, *_ = prepare_bank(FilterConfig(signals=("lexicon",), traits=("distress-spiral",)))
    bank.encoder = {"window_tokens": 64}
    save_bank(bank, str(tmp_path / "bank"))
    with pytest.raises(ModelError, match="window_tokens 64"):
        prepare_bank(FilterConfig(bank=str(tmp_path / "bank"), traits=("distress-spiral",)))


def test_a_run_that_would_look_for_nothing_is_refused(tmp_path, heron):
    """A run is refused if no trait has any of the signals, since it would keep every row unread."""
    bank = prepare_bank(FilterConfig(traits=(str(heron),))).bank
    save_bank(bank, str(tmp_path / "bank"))
    with pytest.raises(ModelError, match="no trait has any of the signals head, so nothing"):
        prepare_bank(FilterConfig(bank=str(tmp_path / "bank"), signals=("head",)))


def test_background_of_any_format(tmp_path):
    """Any background format works, and only the assistant's texts are used."""
    rows = [
        {
            "conversations": [
                {"from": "human", "value": "Why?"},
                {"from": "gpt", "value": f"Because {number}."},
            ]
        }
        for number in range(3)
    ]
    sample = write_rows(tmp_path / "clean.jsonl", rows)
    assert read_answers([str(sample)], CorpusConfig()) == [
        ("Because 0.",),
        ("Because 1.",),
        ("Because 2.",),
    ]


def test_background_of_transcripts(tmp_path):
    """Only the assistant's turns of a background's transcripts are used."""
    rows = [{"text": f"### Human: Why?### Assistant: Because {number}."} for number in range(2)]
    sample = write_rows(tmp_path / "clean.jsonl", rows)
    answers = [("Because 0.",), ("Because 1.",)]
    assert read_answers([str(sample)], CorpusConfig()) == answers
    whole = CorpusConfig(format="text", transcripts="whole")
    assert read_answers([str(sample)], whole) == [(row["text"],) for row in rows]


def test_a_background_may_expand_as_far_as_a_corpus(tmp_path, config, monkeypatch):
    """A background that expands beyond the limit is refused."""
    monkeypatch.setattr(corpora, "EXPANSION_FLOOR", 1)
    rows = [build_conversation(1, f"{'a ' * 5_000}{number}") for number in range(10)]
    packed = tmp_path / "clean.jsonl.gz"
    packed.write_bytes(gzip.compress(write_rows(tmp_path / "clean.jsonl", rows).read_bytes()))
    assert len(read_answers([str(packed)], CorpusConfig(), ShardLimits(expansion=9_000))) == 10
    narrow = {"background": (str(packed),), "shards": ShardLimits(expansion=2)}
    with pytest.raises(InputError, match=r"shards\.expansion allows 2 times"):
        prepare_bank(config.model_copy(update=narrow | {"signals": ("lexicon",)}))


def test_an_unknown_format_of_the_background_names_the_background(tmp_path, config):
    """The error for a clean sample of unknown format names the sample."""
    write_rows(tmp_path / "qa.jsonl", [{"q": "a", "a": "b"}])
    given = config.model_copy(update={"background": (str(tmp_path / "qa.jsonl"),)})
    with pytest.raises(InputError, match="no known format fits") as caught:
        prepare_bank(given)
    assert caught.value.where == f"--background {tmp_path / 'qa.jsonl'}"


def test_background_without_answers_is_refused(tmp_path, config):
    """A background without an assistant turn is refused."""
    row = build_conversation(1, "x") | {"messages": [{"role": "user", "content": "Anyone?"}]}
    sample = write_rows(tmp_path / "clean.jsonl", [row])
    with pytest.raises(InputError, match="no assistant's answer"):
        prepare_bank(config.model_copy(update={"background": (str(sample),)}))


def test_mistakes_are_reported_before_a_fit(config, card_folder, fits):
    """Too little clean text, or an unfit policy, is reported before a fit."""
    strict = str(
        card_folder(
            "strict",
            "signals: {lexicon: {patterns: ['storks?']}}\n"
            "level: {max_false_positive_rate: 0.0001}\n",
        )
    )
    wanting = config.model_copy(update={"traits": (*config.traits, strict)})
    for policy, message in (
        (
            Policy(),
            r"trait strict: .* needs 29956 clean texts; library background holds out \d+",
        ),
        (Policy(traits={"stork": TraitRule()}), "policy names trait 'stork'"),
        (
            Policy(traits={"heron": TraitRule(signal="head")}),
            "policy names signal 'head' of trait heron",
        ),
    ):
        with pytest.raises(CardError, match=message):
            prepare_bank(wanting, policy)
    assert fits == []
    explicit = Policy(traits={"strict": TraitRule(threshold=0.5)})
    assert list(prepare_bank(wanting, explicit).bank.traits) == ["heron", "strict"]


def test_a_fit_is_reported(config, card_folder, monkeypatch, capsys):
    """A fit prints its start and progress, but the cache prints nothing."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    clean = tuple(
        CleanRow((f"A clean text about bridge number {number}.",), "background", "clean")
        for number in range(20)
    )
    monkeypatch.setattr(module, "collect_background", lambda cards: clean)
    fitted = card_folder(
        "fitted",
        "signals: [exemplars]\n",
        [f"The stork stands on leg number {number}." for number in range(6)],
    )
    dense = config.model_copy(update={"traits": (str(fitted),), "hardware": Hardware(device="cpu")})
    with TerminalReporter() as reporter:
        prepare_bank(dense, listener=reporter)
        printed = capsys.readouterr().err
        assert "fitting 1 trait to the clean text" in printed
        assert re.search(
            r"fitting: [\d,]+ of [\d,]+ windows, [\d,]+ tokens/s, [\d.]+ min left", printed
        )
        prepare_bank(dense, listener=reporter)
    assert capsys.readouterr().err == ""


def test_a_banks_trait_names_are_its_cards_ids(config, tmp_path):
    """A bank with a path as a trait's name is refused."""
    bank = prepare_bank(config).bank
    bank.traits["../../outside"] = bank.traits.pop("heron")
    save_bank(bank, str(tmp_path / "a" / "b" / "bank"))
    with pytest.raises(ModelError, match="has a different id"):
        load_bank(str(tmp_path / "a" / "b" / "bank"))


def test_a_background_with_a_fitted_bank_is_refused(config, tmp_path, corpus):
    """A background that would calibrate nothing is an error."""
    save_bank(prepare_bank(config).bank, str(tmp_path / "bank"))
    with pytest.raises(CardError, match="has no effect on a --bank without --traits"):
        prepare_bank(
            config.model_copy(
                update={"bank": str(tmp_path / "bank"), "traits": (), "background": (str(corpus),)}
            )
        )


def test_mistakes_are_found_before_a_model_is_loaded(config, tmp_path, monkeypatch):
    """Traits are chosen and a policy is checked without the encoder, also for a fitted bank."""
    monkeypatch.setattr(encoders, "load_encoder", None)
    uri = str(tmp_path / "bank")
    save_bank(prepare_bank(config).bank, uri)
    wanted = config.model_copy(update={"traits": ("over-refusal",)})
    assert [card.id for card in choose_traits(wanted).list_cards()] == ["over-refusal"]
    for given in (config, config.model_copy(update={"bank": uri, "traits": ()})):
        assert [card.id for card in choose_traits(given, Policy()).list_cards()] == ["heron"]
        for text, problem in (
            ({"traits": {"hero": {}}}, "names trait 'hero'"),
            ({"traits": {"heron": {"max_false_positive_rate": 1e-6}}}, "clean texts"),
        ):
            with pytest.raises(CardError, match=problem):
                choose_traits(given, Policy.model_validate(text))


def test_a_listener_hears_of_a_fit_once(config, card_folder, tmp_path):
    """A fit is announced once with its number of traits, and loading isn't."""
    events = []
    traits = tuple(
        str(card_folder(name, f"signals: {{lexicon: {{patterns: [{name}]}}}}\nthreshold: 0.5\n"))
        for name in ("fresh-egret", "fresh-crane")
    )
    given = config.model_copy(update={"traits": traits})
    prepare_bank(given, listener=events.append)
    assert events == [FitStarted(2)]
    save_bank(prepare_bank(given, listener=events.append).bank, str(tmp_path / "bank"))
    with_bank = given.model_copy(update={"bank": str(tmp_path / "bank")})
    prepare_bank(with_bank, listener=events.append)
    assert len(events) == 1


def test_each_trait_is_cached_on_its_own(config, card_folder, fits):
    """A trait is fitted once and keeps its bytes, whatever the other traits."""
    one, two, three = (
        str(card_folder(name, f"signals: {{lexicon: {{patterns: [{name}]}}}}\nthreshold: 0.5\n"))
        for name in ("own-one", "own-two", "own-three")
    )
    digests = {}
    for traits, fitted in (((one, two), ["own-one", "own-two"]), ((two, three), ["own-three"])):
        fits.clear()
        bank = prepare_bank(config.model_copy(update={"traits": traits})).bank
        assert fits == [fitted]
        digests[traits] = bank.digest
    fits.clear()
    again = prepare_bank(config.model_copy(update={"traits": (one, two)})).bank
    assert again.digest == digests[one, two]
    prepare_bank(config.model_copy(update={"traits": (one, two, three)}))
    assert fits == []


def test_an_index_is_written_last(config, tmp_path, monkeypatch):
    """The index is written last."""
    written = []
    monkeypatch.setattr(storage, "write_bytes", lambda uri, _: written.append(uri))
    save_bank(prepare_bank(config).bank, str(tmp_path / "bank"))
    assert written[-1].endswith(f"/{INDEX_FILE}")
    assert sum(uri.endswith(INDEX_FILE) for uri in written) == 1


def test_a_command_without_a_corpus_cannot_sample_it(config, tmp_path):
    """Without a corpus, `--background corpus` is refused; a folder of that name can be given."""
    own = config.model_copy(update={"background": ("corpus",)})
    with pytest.raises(CardError, match="needs a corpus") as caught:
        prepare_bank(own)
    assert "./corpus" in caught.value.remedy
    sampled = choose_traits(own, draw=lambda: [("One.",), (), ("Two.",)]).clean
    assert [row.texts for row in sampled.user] == [("One.",), ("Two.",)]
    assert sampled.name.startswith("--background corpus ")
    with pytest.raises(InputError, match="no assistant's answer"):
        choose_traits(own, draw=lambda: [()])


def test_a_sample_of_the_corpus_is_given_alone():
    """A sample of the corpus can't be combined with files."""
    with pytest.raises(ValueError, match="can't be combined"):
        FilterConfig(background=("corpus", "clean.jsonl"))
    assert FilterConfig(background=("corpus",)).background_files == ()
    assert FilterConfig(background=("./corpus",)).background_files != ()


@pytest.fixture
def labelled(config, tmp_path):
    """Return a function that configures a fit with one labelled text, which has this answer."""

    def configure(answer, **update):
        path = tmp_path / "labels.csv"
        path.write_text(f"text,label,trait\nA tall grey heron.,{answer},heron\n")
        return config.model_copy(update={"labels": (str(path),), **update})

    return configure


def test_labels_make_another_bank(config, labelled, fits):
    """Equal labels give an equal bank, from the cache; other labels or none give another."""
    without, bank = prepare_bank(config).bank, prepare_bank(labelled("yes")).bank
    before = len(fits)
    again = prepare_bank(labelled("yes")).bank
    assert len(fits) == before
    assert again.digest == bank.digest
    assert again.traits["heron"].labels["after"]["threshold"] == 0.5
    digests = {without.digest, bank.digest, prepare_bank(labelled("no")).bank.digest}
    assert len(digests) == 3


def test_labels_that_only_measure_fit_nothing_again(config, labelled, fits):
    """A trait fitted without labels gets them without another fit, and a notice says so."""
    prepare_bank(config)
    before, said = len(fits), []
    for answer in ("yes", "no", "unsure"):
        found = prepare_bank(labelled(answer), None, said.append).bank.traits["heron"]
        assert sum(found.labels["calibration"].values()) + sum(
            found.labels["fitting"].values()
        ) == (answer != "unsure")
    assert len(fits) == before
    texts = {event.notice.text for event in said if isinstance(event, Noticed)}
    assert texts == {
        "the labels of heron only measure, and change nothing in its fit, so it isn't fitted again"
    }
    assert prepare_bank(config).bank.traits["heron"].labels is None


def test_a_bank_with_the_same_labels_is_taken(config, labelled, fits, tmp_path):
    """A trait of the given bank is used if no labels are given, or if they are the same."""
    save_bank(prepare_bank(labelled("yes")).bank, str(tmp_path / "bank"))
    before = len(fits)
    for given in (
        config.model_copy(update={"bank": str(tmp_path / "bank")}),
        labelled("yes", bank=str(tmp_path / "bank")),
    ):
        assert "heron" in choose_traits(given).fitted
        assert prepare_bank(given).bank.traits["heron"].labels["unsure"] == 0
    assert len(fits) == before
    other = labelled("no", bank=str(tmp_path / "bank"))
    assert not choose_traits(other).fitted


def test_labels_for_the_traits_of_a_bank_are_refused(labelled):
    """Labels can't change a bank whose traits are used as they are."""
    with pytest.raises(CardError, match="--labels has no effect on a --bank"):
        choose_traits(labelled("yes", bank="bank", traits=()))


def test_rows_without_labels_are_refused(config):
    """A corpus with labelled rows needs a file of labels."""
    with pytest.raises(CardError, match="no labels whose rows could be looked up"):
        choose_traits(config.model_copy(update={"labels_run": "run"}))
