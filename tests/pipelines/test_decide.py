"""Deciding a finished run again gives a new run's decisions."""

import functools
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from classifiers.library import LIBRARY as LIBRARY_FOLDER
from classifiers.library import find_cards
from classifiers.models import encoders
from classifiers.models.encoders import Encoder
from classifiers.models.windows import Window
from pipelines import banks, plan
from pipelines.banks import prepare_bank, save_bank
from pipelines.config import FilterConfig
from pipelines.decide import (
    DecideConfig,
    decide_run,
    run_decide,
    settle_recorded_rules,
)
from pipelines.decision_counts import count_decisions, require_publishable
from pipelines.filter import run_filter
from pipelines.mix import MixConfig, run_mix
from pipelines.plan import settle
from pipelines.runs.finished import list_outputs, read_folder, read_table
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_traits
from pipelines.swap import SwapConfig, run_swap
from pipelines.verify import verify_run
from schemas.corpora import ShardLimits
from schemas.errors import BudgetError, CardError, InputError, MachineError, RunError
from schemas.events import Noticed, ignore
from schemas.manifests import Manifest
from schemas.policies import Policy
from tests.support.corpora import CARD, build_conversation, write_rows
from tests.support.equal_runs import list_differences
from tests.support.mixed import CARDS, LIBRARY, write_mixed_corpus
from tests.support.outcomes import Outcome, collect_outcome, decide_outcome, read_outcome
from transforms import decide_again as stages
from transforms.decide import decide_shard
from transforms.decide_again import write_again
from transforms.duplicates import list_positions, list_repeats
from transforms.files.shards import read_task
from transforms.identify import identify
from transforms.rules import find_span_floor, settle_rules
from transforms.score import get_scorer, score

EXEMPLARS = 12
"""How many positives and negatives each trait has in these tests."""

CLEAN_TEXTS = 250
"""How many short background texts calibrate thresholds in these tests."""

MODELLESS = (*CARDS, "degenerate-loop")
"""The traits without a model."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the corpus once."""
    folder = tmp_path_factory.mktemp("corpus")
    write_mixed_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Write the trait folders: two own traits, and library traits with few exemplars."""
    folder = tmp_path_factory.mktemp("cards")
    for name in LIBRARY:
        (folder / name).mkdir()
        card = (LIBRARY_FOLDER / name / "card.yaml").read_text()
        card = card.replace("  wording: {}\n", "  exemplars: {}\n  head: {}\n")
        (folder / name / "card.yaml").write_text(card)
        for kind in ("positives", "negatives"):
            lines = (LIBRARY_FOLDER / name / f"{kind}.jsonl").read_text().splitlines()
            (folder / name / f"{kind}.jsonl").write_text("\n".join(lines[:EXEMPLARS]) + "\n")
    for name, card in CARDS.items():
        (folder / name).mkdir()
        (folder / name / "card.yaml").write_text(f"id: {name}\n{card}")
    return tuple(str(folder / name) for name in (*LIBRARY, *CARDS))


class Runs:
    """Runs with the same corpus and bank, but different policies."""

    def __init__(self, folder: Path, config: FilterConfig) -> None:
        self.folder, self.config = folder, config

    def configure(self, policy: str, name: str) -> FilterConfig:
        """Configure a run with a policy in YAML."""
        path = self.folder / f"{name}.yaml"
        path.write_text(policy)
        update = {"policy": str(path), "output": str(self.folder / name)}
        return self.config.model_copy(update=update)

    def filter(self, policy: str, name: str) -> tuple[str, Manifest]:
        """Filter with a policy; return the run directory and the manifest."""
        config = self.configure(policy, name)
        return config.output, run_filter(config)

    def decide(
        self, run: str, policy: str, name: str, encode: bool = False
    ) -> tuple[str, Manifest]:
        """Decide a run with a policy; return the new run's directory and its manifest."""
        given = self.configure(policy, name)
        settings = FilterConfig(output=given.output, policy=given.policy)
        config = DecideConfig(run=run, encode=encode, filter=settings)
        return given.output, run_decide(config)


BASE = """
traits:
  degenerate-loop: {action: drop}
  over-refusal: {max_false_positive_rate: 0.05}
  sycophantic-opening: {max_false_positive_rate: 0.05}
  vendor-identity: {max_false_positive_rate: 0.05}
duplicates: remove
"""

POLICIES = {
    "looser-levels": """
traits:
  over-refusal: {max_false_positive_rate: 0.2, confidence: 0.9}
  sycophantic-opening: {max_false_positive_rate: 0.3}
  vendor-identity: {max_false_positive_rate: 0.1, confidence: 0.99}
""",
    "thresholds": """
traits:
  degenerate-loop: {threshold: 0.9}
  heron: {threshold: 0.05}
  leak: {threshold: 1}
  over-refusal: {threshold: 0.06}
  sycophantic-opening: {threshold: 0.3}
  vendor-identity: {threshold: 0.99}
duplicates: remove
""",
    "signals": """
traits:
  heron: {signal: repetition, threshold: 0.3}
  over-refusal: {signal: exemplars, max_false_positive_rate: 0.1}
  sycophantic-opening: {signal: head, threshold: 0.2}
  vendor-identity: {signal: lexicon, threshold: 0.05}
""",
    "masks": """
traits:
  degenerate-loop: {action: mask}
  heron: {action: mask, threshold: 0.3}
  leak: {action: mask}
  over-refusal: {action: mask, threshold: 0.1}
  sycophantic-opening: {action: mask, threshold: 0.1}
  vendor-identity: {action: mask, threshold: 0.1}
""",
    "other-actions": """
traits:
  degenerate-loop: {action: swap}
  heron: {action: flag, signal: lexicon, threshold: 0.6}
  leak: {action: drop}
  over-refusal: {action: keep, threshold: 0.2}
  sycophantic-opening: {action: drop, threshold: 0.9}
  vendor-identity: {action: swap, threshold: 0.2}
duplicates: remove
""",
    "teachers": """
traits: {over-refusal: {threshold: 0.5}, sycophantic-opening: {threshold: 0.5},
         vendor-identity: {threshold: 0.5}}
exceptions:
  - {trait: heron, lot: {teacher: 'bor*'}, action: keep, reason: its bird}
  - {trait: '*', lot: {teacher: '-'}, threshold: 0.2, reason: unknown teachers are suspect}
  - {trait: vendor-identity, lot: {teacher: '-'}, action: drop, threshold: 0.9, reason: later}
""",
    "sources-and-dates": """
traits: {over-refusal: {threshold: 0.4}, sycophantic-opening: {threshold: 0.4},
         vendor-identity: {threshold: 0.4}}
exceptions:
  - {trait: '*', lot: {prompt_source: wiki}, action: mask, reason: wiki}
  - {trait: '*', lot: {date: '2026-02*'}, threshold: 0.1, action: flag, reason: February}
  - {trait: leak, lot: {prompt_source: forum, date: '-'}, action: swap, reason: no date}
duplicates: remove
""",
    "system-prompts": """
traits: {over-refusal: {threshold: 0.3, action: quarantine}, sycophantic-opening: {threshold: 0.3},
         vendor-identity: {threshold: 0.3}}
exceptions:
  - {trait: '*', lot: {system_prompt: '-'}, threshold: 0.8, reason: no prompt}
  - {trait: heron, lot: {system_prompt: '????????'}, action: drop, reason: any prompt}
""",
    "named-rows": """
exceptions:
  - {row: 'a.jsonl:13', action: drop, reason: an address}
  - {row: 'a.jsonl:16', trait: over-refusal, action: quarantine, reason: read}
  - {row: 'a.jsonl:17', trait: heron, action: swap, reason: read}
  - {row: 'b.jsonl:1', trait: leak, action: quarantine, reason: read}
traits: {degenerate-loop: {threshold: 0.9}, heron: {action: flag}, over-refusal: {threshold: 1},
         sycophantic-opening: {threshold: 1}, vendor-identity: {threshold: 1}}
""",
    "everything-stays": """
traits: {degenerate-loop: {threshold: 1, action: keep}, heron: {action: keep},
         leak: {action: keep}, over-refusal: {threshold: 1, action: keep},
         sycophantic-opening: {threshold: 1, action: keep},
         vendor-identity: {threshold: 1, action: keep}}
""",
}


@pytest.fixture(scope="module")
def runs(
    corpus: Path, cards: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """Fit one bank with library traits of every kind.

    The encoder is loaded once and encodes each shard once.
    """
    folder = tmp_path_factory.mktemp("runs")
    config = FilterConfig.model_validate(
        {
            "input": (str(corpus),),
            "traits": cards,
            "shards": {"rows": 10},
            "hardware": {"device": "cpu"},
        }
    )
    background = banks.collect_background(find_cards())
    clean = sorted(background, key=lambda row: sum(map(len, row.texts)))[:CLEAN_TEXTS]
    encode, known = Encoder.encode, {}

    def encode_once(self: Encoder, windows: Sequence[Window], progress: Any = None) -> np.ndarray:
        key = tuple(tuple(window.ids) for window in windows)
        if key not in known:
            known[key] = encode(self, windows, progress)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "load_encoder", functools.cache(encoders.load_encoder))
        patch.setattr(Encoder, "encode", encode_once)
        with patch.context() as fitting:
            fitting.setattr(banks, "collect_background", lambda _: tuple(clean))
            save_bank(prepare_bank(config).bank, str(folder / "bank"))
        update = {"bank": str(folder / "bank"), "traits": ()}
        yield Runs(folder, config.model_copy(update=update))


@pytest.fixture(scope="module")
def base(runs: Runs) -> tuple[str, Manifest]:
    """Filter the corpus with the first policy."""
    return runs.filter(BASE, "base")


def parse_policy(text: str) -> Policy:
    """Parse a policy from YAML."""
    return Policy.model_validate(yaml.safe_load(text))


def test_a_run_decides_as_it_did(base):
    """The run's own policy gives the run's decisions, which are of every kind."""
    run, manifest = base
    outcome = read_outcome(run)
    assert decide_outcome(run, parse_policy(BASE)) == outcome
    assert set(manifest.conservation.by_decision) >= {
        *("keep", "mask", "quarantine", "drop", "duplicate", "reject")
    }
    assert outcome.swaps
    assert outcome.masks
    signals = {
        span["signal"]
        for row in read_folder(run, manifest, "spans").to_pylist()
        for span in row["spans"]
    }
    assert signals == {"lexicon", "repetition", "exemplars", "head"}
    paths = {reason[4] for reasons in outcome.reasons.values() for reason in reasons}
    assert any("tool_calls" in path for path in paths)


@pytest.mark.parametrize("name", POLICIES)
def test_another_policy_decides_as_a_new_run(runs, base, name):
    """Another policy gives a new run's decisions, reasons, masks and swaps.

    With the first policy, the new run gives the first run's decisions in turn.
    """
    run, _ = base
    policy = parse_policy(POLICIES[name])
    fresh, _ = runs.filter(POLICIES[name], name)
    expected = read_outcome(fresh)
    found = decide_outcome(run, policy)
    for part, wanted in zip(found, expected, strict=True):
        assert part == wanted
    assert found.decisions != read_outcome(run).decisions
    assert decide_outcome(fresh, parse_policy(BASE)) == read_outcome(run)


LACKING = {
    *("looser-levels", "thresholds", "signals"),
    *("other-actions", "teachers", "sources-and-dates"),
}
"""The policies that hold rows whose nearest exemplars the first run didn't store."""


@pytest.mark.parametrize("name", POLICIES)
def test_a_decided_run_is_a_new_run(runs, base, name):
    """A decided run has every byte of a new run, unless the run lacks nearest exemplars.

    A run that holds more rows has them all, so it can be decided back.
    """
    run, _ = base
    fresh, again = str(Path(run).parent / name), f"{name}-again"
    if not Path(fresh).exists():
        runs.filter(POLICIES[name], name)
    if name in LACKING:
        with pytest.raises(RunError, match=r"the encoder has to read them again \("):
            runs.decide(run, POLICIES[name], again)
        policy = parse_policy(POLICIES[name])
        counted = count_decisions(run, policy)
        with pytest.raises(RunError, match=r"the encoder has to read them again \("):
            require_publishable(run, policy, counted)
        require_publishable(run, policy, counted, encode=True)
        encoded, _ = runs.decide(run, POLICIES[name], f"{again}-encoded", encode=True)
        assert list_differences(encoded, fresh) == []
    else:
        output, manifest = runs.decide(run, POLICIES[name], again)
        assert list_differences(output, fresh) == []
        assert verify_run(output) == []
        assert manifest.circumstances["decided_from"] == load_manifest(run).run_id
    if name == "looser-levels":
        output, _ = runs.decide(fresh, BASE, f"{name}-back")
        assert list_differences(output, run) == []


def test_vectors_and_spans_are_kept(runs):
    """A run with vectors and a lower span floor is decided as a new run, without low spans."""
    config = runs.config.model_copy(update={"vectors": True})
    given = Runs(Path(runs.folder), config)
    low = BASE + "exceptions: [{trait: heron, lot: {teacher: none}, threshold: 0.01, reason: x}]"
    run, manifest = given.filter(low, "low-vectors")
    assert manifest.span_floor == pytest.approx(0.01)
    fresh, _ = given.filter(BASE, "base-vectors")
    output, manifest = given.decide(run, BASE, "base-vectors-again")
    assert list_differences(output, fresh) == []
    assert manifest.span_floor == pytest.approx(0.05)
    assert list(Path(output, "vectors").iterdir())


def test_nothing_is_written(base):
    """Deciding again changes no file."""
    run, _ = base
    before = {path: path.stat().st_mtime_ns for path in Path(run).rglob("*")}
    decide_outcome(run, parse_policy(POLICIES["masks"]))
    assert {path: path.stat().st_mtime_ns for path in Path(run).rglob("*")} == before


def test_shards_come_in_corpus_order(base):
    """Each shard has one item with all rows but rejects."""
    run, manifest = base
    parts = list(decide_run(run, Policy.model_validate(yaml.safe_load(BASE))))
    assert [part.shard for part in parts] == [shard for shard, _ in manifest.shards]
    for part, output in zip(parts, list_outputs(manifest, "ledger"), strict=True):
        decisions = pl.DataFrame(read_table(run, output))["decision"].to_list()
        good = [row for row, decision in enumerate(decisions) if decision != "reject"]
        assert part.stored.good.tolist() == good
        assert len(part.decided.decisions) == len(good)
    assert sum(output.rows for output in list_outputs(manifest, "rejects")) == 2


@pytest.mark.parametrize(
    ("policy", "lowest"),
    [
        ("traits: {heron: {threshold: 0.0499}}", "0.0499"),
        (
            "exceptions: [{trait: heron, lot: {date: '2026*'}, threshold: 0, reason: all}]",
            "0.0000",
        ),
    ],
    ids=["rule", "exception"],
)
def test_a_threshold_below_the_floor_is_refused(base, policy, lowest):
    """A threshold below the span floor is refused."""
    run, manifest = base
    assert manifest.span_floor == pytest.approx(0.05)
    fields = yaml.safe_load(BASE)
    fields |= yaml.safe_load(policy) | {
        "traits": fields["traits"] | yaml.safe_load(policy).get("traits", {})
    }
    with pytest.raises(RunError, match=f"trait heron would fire at {lowest}") as caught:
        next(decide_run(run, Policy.model_validate(fields)))
    assert caught.value.where == run
    assert "span_floor" in caught.value.remedy


def test_a_lower_floor_allows_lower_thresholds(runs, base):
    """A run with all spans can be decided with a threshold of 0.01."""
    low = BASE + "exceptions: [{trait: heron, lot: {teacher: none}, threshold: 0.01, reason: x}]"
    run, manifest = runs.filter(low, "low-floor")
    assert manifest.span_floor == pytest.approx(0.01)
    policy = parse_policy(BASE.replace("0.05}\n  syc", "0.05, threshold: 0.01}\n  syc"))
    assert policy.traits["over-refusal"].threshold == pytest.approx(0.01)
    found = decide_outcome(run, policy)
    fired = {key for key, reasons in found.reasons.items() if reasons[0][0] == "over-refusal"}
    assert fired
    with pytest.raises(RunError, match=r"over-refusal would fire at 0\.0100"):
        decide_outcome(base[0], policy)


def test_policies_that_cant_be_settled_are_refused(base):
    """An unknown trait, an unknown signal and an impossible level are errors."""
    for policy, message in (
        ("traits: {stork: {action: drop}}", "names trait 'stork'"),
        ("traits: {leak: {signal: head}}", "names signal 'head' of trait leak"),
        ("{}", "trait over-refusal: .* needs 598 clean texts"),
    ):
        with pytest.raises(CardError, match=message):
            next(decide_run(base[0], parse_policy(policy)))


def test_an_unfinished_run_cant_be_decided(tmp_path):
    """Only a finished run can be decided again."""
    (tmp_path / ".work").mkdir()
    with pytest.raises(RunError, match="unfinished run"):
        next(decide_run(str(tmp_path), Policy()))


def test_traits_are_recorded_whole(base, runs):
    """A run's cards and calibration scores equal its bank's."""
    run, manifest = base
    bank = banks.load_bank(str(Path(run).parent / "bank"))
    recorded = read_recorded_traits(run, manifest)
    assert list(recorded) == list(bank.traits)
    for name, trait in bank.traits.items():
        assert recorded[name].card == trait.card
        assert recorded[name].calibrated_on == trait.calibrated_on
        assert recorded[name].calibration.keys() == trait.calibration.keys()
        for signal, scores in trait.calibration.items():
            np.testing.assert_array_equal(recorded[name].calibration[signal], scores)
    rules = settle_recorded_rules(run, manifest, parse_policy(BASE))
    assert rules == settle_rules(bank.traits, parse_policy(BASE))


class Scored:
    """A finished run without models, and the parts for deciding again."""

    def __init__(self, config: FilterConfig) -> None:
        run_filter(config)
        self.run = config.output
        self.plan = settle(config.model_copy(update={"output": f"{self.run}-not-made"}), ignore)
        self.scorer = get_scorer(self.plan.scoring)
        self.shards = [
            identify(shard, self.plan.layout)
            for task in self.plan.tasks
            for shard in read_task(task, self.plan.corpus.schema)
        ]


@pytest.fixture(scope="module")
def scored(
    corpus: Path, cards: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Scored:
    """Filter the corpus with lexicons and repetition, and identify its shards."""
    config = FilterConfig.model_validate(
        {
            "input": (str(corpus),),
            "output": str(tmp_path_factory.mktemp("lexicons") / "run"),
            "traits": [card for card in cards if Path(card).name in MODELLESS],
            "shards": {"rows": 10},
        }
    )
    return Scored(config)


def decide_like_a_new_run(scored: Scored, policy: Policy) -> Outcome:
    """Decide the corpus as a new run would: score, store spans, and decide."""
    rules = settle_rules(scored.plan.bank.traits, policy)
    floor = find_span_floor(scored.plan.config.span_floor, rules)
    groups: dict[bytes, list[Any]] = {}
    for shard in scored.shards:
        for digest, position in list_positions(shard, True, policy.split_priority):
            groups.setdefault(digest, []).append(position)
    repeats = {
        (name, repeat.offset): repeat.lots
        for group in groups.items()
        for name, repeat in list_repeats(group, rules)
        if policy.duplicates == "remove"
    }
    found = Outcome({}, {}, {}, {})
    for shard in scored.shards:
        keys = [(shard.plan.name, position) for position in shard.positions()]
        rows = {row: repeats[key] for row, key in enumerate(keys) if key in repeats}
        decided = decide_shard(score(shard, scored.scorer, floor), rules, rows).decided
        collect_outcome(decided, list(zip(shard.sources, shard.numbers, strict=True)), found)
    return found


thresholds = st.one_of(st.none(), st.integers(0, 100).map(lambda step: step / 100))
actions = st.sampled_from([None, "keep", "flag", "mask", "quarantine", "swap", "drop"])
trait_rules = st.fixed_dictionaries(
    {},
    optional={
        "signal": st.sampled_from(["combined", "lexicon"]),
        "threshold": thresholds,
        "max_false_positive_rate": st.sampled_from([0.01, 0.05, 0.3]),
        "confidence": st.sampled_from([0.8, 0.95]),
        "action": actions,
    },
)
lots = st.fixed_dictionaries(
    {},
    optional={
        "teacher": st.sampled_from(["atlas", "b*", "-", "nobody"]),
        "prompt_source": st.sampled_from(["wiki", "f?rum"]),
        "system_prompt": st.sampled_from(["-", "????????"]),
        "date": st.sampled_from(["2026-01-05", "2026-02*", "-"]),
    },
)
exceptions = st.fixed_dictionaries(
    {
        "trait": st.sampled_from(["*", *CARDS]),
        "lot": lots,
        "threshold": thresholds,
        "action": actions,
        "reason": st.just("drawn"),
    }
).filter(lambda item: item["threshold"] is not None or item["action"] is not None)
policies = st.fixed_dictionaries(
    {
        "traits": st.fixed_dictionaries({}, optional=dict.fromkeys(CARDS, trait_rules)),
        "exceptions": st.lists(exceptions, max_size=4),
        "duplicates": st.sampled_from(["keep", "remove"]),
    }
).map(Policy.model_validate)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(policy=policies)
def test_any_policy_decides_as_a_new_run(scored, policy):
    """Any policy gives a new run's decisions, unless a threshold is below the span floor."""
    rules = settle_rules(scored.plan.bank.traits, policy)
    floor = load_manifest(scored.run).span_floor
    if min(rule.find_lowest_threshold() for rule in rules) < floor:
        with pytest.raises(RunError, match="would fire at"):
            decide_outcome(scored.run, policy)
    else:
        assert decide_outcome(scored.run, policy) == decide_like_a_new_run(scored, policy)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(policy=policies)
def test_any_policy_gives_the_bytes_of_a_new_run(scored, policy):
    """A decided run has the files and the manifest of a new run, whatever the policy."""
    rules = settle_rules(scored.plan.bank.traits, policy)
    floor = load_manifest(scored.run).span_floor
    assume(min(rule.find_lowest_threshold() for rule in rules) >= floor)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "policy.yaml")
        path.write_text(json.dumps(policy.model_dump(mode="json", exclude_defaults=True)))
        outputs = {name: f"{folder}/{name}" for name in ("fresh", "again")}
        update = {"policy": str(path), "output": outputs["fresh"]}
        run_filter(scored.plan.config.model_copy(update=update))
        given = FilterConfig(output=outputs["again"], policy=str(path))
        run_decide(DecideConfig(run=scored.run, filter=given))
        assert list_differences(outputs["again"], outputs["fresh"]) == []


def test_any_new_run_can_be_decided(scored):
    """With a threshold of 0, a trait fires on every row that it reads."""
    everything = Policy.model_validate({"traits": {name: {"threshold": 0} for name in CARDS}})
    outcome = decide_like_a_new_run(scored, everything)
    fired = Counter(reason[0] for reasons in outcome.reasons.values() for reason in reasons)
    unscored = sum(key not in outcome.reasons for key in outcome.decisions)
    assert [fired[name] for name in CARDS] == [len(outcome.decisions) - unscored] * len(CARDS)
    assert 0 < unscored < len(outcome.decisions) / 4


@pytest.mark.parametrize(
    ("priority", "kept"),
    [
        (None, ["test", "train", "train", "test"]),
        (["train", "validation", "test"], ["train", "train", "train", "valid"]),
        (["train"], ["train", "train", "train", "test"]),
    ],
)
def test_the_split_that_keeps_a_duplicate(tmp_path, card_folder, priority, kept):
    """The policy's first split keeps a duplicate, as in a new run."""
    rows = [build_conversation(0, f"Answer {number}.") for number in range(4)]
    for name, chosen in {"train": [0, 1, 2, 2], "valid": [3], "test": [0, 3]}.items():
        write_rows(tmp_path / "in" / f"{name}.jsonl", [rows[number] for number in chosen])
    given = {} if priority is None else {"split_priority": priority}
    policy = Policy.model_validate({"duplicates": "remove", **given})
    path = tmp_path / "policy.yaml"
    path.write_text(json.dumps(policy.model_dump(mode="json", exclude_defaults=True)))
    config = FilterConfig(
        input=(str(tmp_path / "in"),),
        output=str(tmp_path / "run"),
        traits=(str(card_folder("heron", CARD)),),
        policy=str(path),
    )
    run_filter(config)
    assert verify_run(config.output) == []
    answers = {}
    for file in (tmp_path / "run" / "clean").glob("*.part-*"):
        for line in file.read_bytes().splitlines():
            answer = json.loads(line)["messages"][1]["content"]
            assert answers.setdefault(answer, file.name.partition(".")[0])
    assert [answers[f"Answer {number}."] for number in range(4)] == kept
    outcome = read_outcome(config.output)
    assert decide_outcome(config.output, policy).decisions == outcome.decisions
    first = config.model_copy(update={"policy": None, "output": str(tmp_path / "first")})
    run_filter(first)
    given = FilterConfig(output=str(tmp_path / "again"), policy=str(path))
    run_decide(DecideConfig(run=first.output, filter=given))
    assert list_differences(given.output, config.output) == []
    assert list(outcome.decisions.values()).count("duplicate") == 3


TELLTALE = "A heron stood in the reeds."
PLAIN_ANSWER = "Sort the list first."


def build_pairs() -> list[dict[str, Any]]:
    """Return pairs with the telltale on either side, both or neither."""
    answers = [TELLTALE, PLAIN_ANSWER]
    return [
        {
            "prompt": f"Question {number}?",
            "chosen": answers[number % 2],
            "rejected": answers[number // 2 % 2],
            "chosen_model": "atlas",
            "rejected_model": ("borealis", None)[number // 4],
        }
        for number in range(8)
    ]


def build_masked_turns() -> list[dict[str, Any]]:
    """Return conversations with the telltale in untrained or trained answers, or both."""
    rows = []
    for number in range(7):
        first, second = (TELLTALE, PLAIN_ANSWER)[:: 1 if number % 2 else -1]
        turns = [("user", "Q?", None), ("assistant", first, 0), ("user", "R?", None)]
        turns.append(("assistant", TELLTALE if number in (4, 5) else second, 1))
        if number == 6:
            turns[1] = turns[3]
        rows.append(
            {
                "messages": [
                    {"role": role, "content": text, "weight": weight}
                    for role, text, weight in turns
                ]
            }
        )
    return rows


SIDED = {"rejected": build_pairs, "untrained": build_masked_turns}
SIDED_POLICIES = (
    "{}",
    "sides: {rejected: as-trained, untrained: as-trained}",
    "sides: {rejected: flag, untrained: drop}\nduplicates: remove",
    "traits: {heron: {action: keep, sides: {rejected: mask, untrained: mask}}}",
    """
exceptions:
  - {trait: heron, lot: {teacher: borealis}, side: rejected, action: swap, reason: x}
""",
)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("side", SIDED)
def test_sides_are_decided_as_in_a_new_run(config, tmp_path, policy, side, kind):
    """Findings on every side are decided as in a new run."""
    rows, outcomes = SIDED[side](), {}
    folder = tmp_path / "sided"
    folder.mkdir()
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    else:
        write_rows(folder / "a.jsonl", rows)
    for number, text in enumerate(SIDED_POLICIES):
        settings = {"input": (str(folder),), "output": f"{config.output}-{number}"}
        manifest = run_filter(config.model_copy(update={**settings, "policy": policy(text)}))
        outcomes[text] = read_outcome(settings["output"])
        assert verify_run(settings["output"]) == []
        assert manifest.fired[f"heron@{side}"] > 0
    for number, text in enumerate(SIDED_POLICIES):
        given = FilterConfig(output=f"{config.output}-again-{number}", policy=policy(text))
        run_decide(DecideConfig(run=f"{config.output}-0", filter=given))
        assert list_differences(given.output, f"{config.output}-{number}") == []
    for text, outcome in outcomes.items():
        assert decide_outcome(f"{config.output}-0", parse_policy(text)) == outcome
    trained = {key for key, decision in outcomes["{}"].decisions.items() if decision != "keep"}
    assert trained == {
        ("a." + kind, number) for number, row in enumerate(rows) if TELLTALE in find_trained(row)
    }
    assert len({str(outcome) for outcome in outcomes.values()}) > 3 - (side == "untrained")


def find_trained(row: dict[str, Any]) -> list[str]:
    """Return a row's trained texts."""
    if "chosen" in row:
        return [row["chosen"]]
    return [turn["content"] for turn in row["messages"] if turn["weight"] == 1]


def test_the_ledger_has_the_teachers_of_both_answers(config, tmp_path):
    """The lot has the chosen answer's teacher, and the last column has the rejected answer's."""
    path = write_rows(tmp_path / "sided" / "a.jsonl", build_pairs())
    manifest = run_filter(config.model_copy(update={"input": (str(path),)}))
    ledger = read_folder(config.output, manifest, "ledger")
    assert ledger.column_names[-1] == "rejected_teacher"
    assert set(ledger.column("teacher").to_pylist()) == {"atlas"}
    assert ledger.column("rejected_teacher").to_pylist() == ["borealis"] * 4 + [None] * 4
    assert verify_run(config.output) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"output_format": "parquet"},
        {"limit": 25},
        {"digest_key": "env:DECIDE_KEY"},
        {"corpus": {"teacher": {"constant": "atlas"}}},
    ],
    ids=["parquet", "limit", "key", "teacher"],
)
def test_settings_of_the_run_are_kept(config, policy, tmp_path, monkeypatch, changes):
    """A decided run has the format, the limit, the key and the lots of its run."""
    monkeypatch.setenv("DECIDE_KEY", "0123456789abcdef")
    rows = [build_conversation(number, TELLTALE if number % 3 else "Fine.") for number in range(30)]
    write_rows(tmp_path / "kept" / "a.jsonl.gz", rows)
    text = "traits: {heron: {action: swap}}\nduplicates: remove\nexceptions:\n"
    text += "- {row: 'a.jsonl.gz:2', action: keep, reason: read}\n"
    base = FilterConfig.model_validate(
        {**config.model_dump(), **changes, "input": (str(tmp_path / "kept"),)}
    )
    run_filter(base)
    fresh = base.model_copy(update={"output": str(tmp_path / "fresh"), "policy": policy(text)})
    run_filter(fresh)
    monkeypatch.delenv("DECIDE_KEY")
    given = FilterConfig(output=str(tmp_path / "again"), policy=fresh.policy)
    run_decide(DecideConfig(run=base.output, filter=given))
    assert list_differences(given.output, fresh.output) == []
    if "digest_key" not in changes:
        assert verify_run(given.output) == []


def test_a_moved_input_is_found(config, policy, tmp_path):
    """With the folder of the input's copy, a run is decided as a new run on the copy."""
    for name in ("old", "new"):
        write_rows(tmp_path / name / "b" / "a.jsonl", [build_conversation(0, TELLTALE)])
        write_rows(tmp_path / name / "c.jsonl", [build_conversation(1, "Fine.")])
    base = config.model_copy(update={"input": (str(tmp_path / "old"),)})
    run_filter(base)
    shutil.rmtree(tmp_path / "old")
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("traits: {}"))
    settings = DecideConfig(run=base.output, filter=given)
    with pytest.raises(InputError):
        run_decide(settings)
    run_decide(settings.model_copy(update={"input": str(tmp_path / "new")}))
    fresh = base.model_copy(
        update={
            "input": (str(tmp_path / "new"),),
            "output": str(tmp_path / "fresh"),
            "policy": given.policy,
        }
    )
    run_filter(fresh)
    assert list_differences(given.output, fresh.output) == []


def join_files(config: FilterConfig, folder: Path, apart: int = 0) -> FilterConfig:
    """Write three small files, and configure a run that joins files above a number of them."""
    for number, answer in enumerate((TELLTALE, "Fine.", TELLTALE)):
        write_rows(folder / f"{number}.jsonl", [build_conversation(number, answer)])
    shards = ShardLimits(apart=apart)
    return config.model_copy(update={"input": (str(folder),), "shards": shards})


def test_joined_files_are_decided_as_in_a_new_run(config, policy, tmp_path):
    """A run with small files in one shard is decided with the same shard under the same name."""
    base = join_files(config, tmp_path / "small")
    run_filter(base)
    update = {
        "output": str(tmp_path / "fresh"),
        "policy": policy("traits: {heron: {action: flag}}"),
    }
    fresh = base.model_copy(update=update)
    run_filter(fresh)
    given = FilterConfig(output=str(tmp_path / "again"), policy=fresh.policy)
    run_decide(DecideConfig(run=base.output, filter=given))
    assert list_differences(given.output, fresh.output) == []
    (file,) = Path(given.output, "clean").glob("*.part-*")
    assert file.name.startswith("0.part-000000-3-files-")
    assert verify_run(given.output) == []


def test_other_shards_than_the_runs_are_refused(config, policy, tmp_path):
    """A run whose version joined other files is refused before anything is written."""
    base = join_files(config, tmp_path / "small", 100)
    manifest = run_filter(base)
    joined = {**manifest.config, "shards": {**manifest.config["shards"], "apart": 0}}
    path = Path(base.output, "manifest.json")
    path.write_bytes(manifest.model_copy(update={"config": joined}).seal().to_bytes())
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("{}"))
    with pytest.raises(RunError, match="joined small files in another way") as caught:
        run_decide(DecideConfig(run=base.output, filter=given))
    assert "filter the corpus again" in str(caught.value)
    assert not Path(given.output, "ledger").exists()


def test_what_cant_be_decided_again_is_refused(config, policy, tmp_path):
    """A changed input, the run itself and a trait that wasn't scored are errors."""
    path = write_rows(tmp_path / "rows" / "a.jsonl", [build_conversation(0, TELLTALE)] * 3)
    base = config.model_copy(update={"input": (str(path),)})
    run_filter(base)

    def decide(text: str, output: str = str(tmp_path / "again")) -> None:
        given = FilterConfig(output=output, policy=policy(text))
        run_decide(DecideConfig(run=base.output, filter=given), restart=True)

    with pytest.raises(RunError, match="is the run itself"):
        decide("{}", base.output + "/")
    with pytest.raises(CardError, match="names trait 'stork'"):
        decide("traits: {stork: {action: drop}}")
    with pytest.raises(BudgetError, match="removal_budget"):
        decide("removal_budget: 0")
    write_rows(path, [build_conversation(0, "Other.")] * 3)
    with pytest.raises(InputError, match=r"isn't the file a\.jsonl that run .* read"):
        decide("{}")


def test_a_damaged_run_is_refused(config, policy, tmp_path):
    """Scores that somebody changed aren't used."""
    path = write_rows(tmp_path / "rows" / "a.jsonl", [build_conversation(0, TELLTALE)] * 3)
    base = config.model_copy(update={"input": (str(path),)})
    run_filter(base)
    (file,) = Path(base.output, "scores").iterdir()
    table = pq.read_table(file)
    pq.write_table(table.set_column(2, "heron", pa.array([0.0] * 3, pa.float32())), file)
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("{}"))
    with pytest.raises(RunError, match="isn't the file that the run wrote"):
        run_decide(DecideConfig(run=base.output, filter=given))


def test_other_versions_are_a_limit(config, policy, tmp_path, monkeypatch):
    """A run whose scores another version computed says so among its limits."""
    path = write_rows(tmp_path / "rows" / "a.jsonl", [build_conversation(0, TELLTALE)])
    base = config.model_copy(update={"input": (str(path),)})
    run_filter(base)
    monkeypatch.setattr(plan, "VERSION", "9.9.9")
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("{}"))
    manifest = run_decide(DecideConfig(run=base.output, filter=given))
    said = f"The scores are those of run {load_manifest(base.output).run_id}"
    assert [limit for limit in manifest.limits if limit.startswith(said)]


def test_files_without_rows_are_kept(config, policy, tmp_path):
    """An empty table has a shard without files, also after another decision."""
    (tmp_path / "none").mkdir()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none/a.parquet")
    base = config.model_copy(update={"input": (str(tmp_path / "none"),)})
    run_filter(base)
    text = "exceptions: [{trait: heron, lot: {teacher: a}, action: keep, reason: x}]"
    fresh = base.model_copy(update={"output": str(tmp_path / "fresh"), "policy": policy(text)})
    run_filter(fresh)
    given = FilterConfig(output=str(tmp_path / "again"), policy=fresh.policy)
    run_decide(DecideConfig(run=base.output, filter=given))
    assert list_differences(given.output, fresh.output) == []


def test_a_dataset_card_is_kept(config, policy, tmp_path):
    """The splits of a dataset card decide which copy stays, and `clean/` has the card."""
    row = build_conversation(0, "Fine.")
    for name in ("one", "two"):
        write_rows(tmp_path / "hub" / f"{name}.jsonl", [row, build_conversation(1, name)])
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n"
    card += "".join(
        f"  - {{split: {split}, path: {name}.jsonl}}\n"
        for split, name in (("train", "one"), ("test", "two"))
    )
    (tmp_path / "hub" / "README.md").write_text(card + "---\n")
    base = config.model_copy(update={"input": (str(tmp_path / "hub"),)})
    run_filter(base)
    fresh = base.model_copy(
        update={"output": str(tmp_path / "fresh"), "policy": policy("duplicates: remove")}
    )
    manifest = run_filter(fresh)
    assert manifest.identity.dataset_card
    given = FilterConfig(output=str(tmp_path / "again"), policy=fresh.policy)
    run_decide(DecideConfig(run=base.output, filter=given))
    assert list_differences(given.output, fresh.output) == []
    (tmp_path / "hub" / "README.md").write_text("---\n{}\n---\n")
    with pytest.raises(InputError, match="isn't the dataset card"):
        run_decide(DecideConfig(run=base.output, filter=given), restart=True)


def test_an_interrupted_decision_is_resumed(config, policy, tmp_path, monkeypatch):
    """The same command goes on with the shards that are left, and gives the same run."""
    rows = [build_conversation(number, TELLTALE) for number in range(40)]
    write_rows(tmp_path / "rows" / "a.jsonl", rows)
    base = config.model_copy(
        update={"input": (str(tmp_path / "rows"),), "shards": ShardLimits(rows=10)}
    )
    run_filter(base)
    fresh = base.model_copy(
        update={
            "output": str(tmp_path / "fresh"),
            "policy": policy("traits: {heron: {action: drop}}"),
        }
    )
    run_filter(fresh)
    given = FilterConfig(output=str(tmp_path / "again"), policy=fresh.policy)
    settings, write, written = DecideConfig(run=base.output, filter=given), write_again, []

    def write_two(*arguments: Any) -> Any:
        if len(written) == 2:
            raise MachineError("the power fails")
        written.append(arguments)
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_again", write_two)
        with pytest.raises(MachineError):
            run_decide(settings)
    assert not Path(given.output, "manifest.json").exists()
    events = []
    run_decide(settings, listener=events.append)
    said = [event.notice.text for event in events if isinstance(event, Noticed)]
    assert "resuming: 2 of 4 shards are done" in said
    assert list_differences(given.output, fresh.output) == []


def test_a_swapped_run_is_refused(held, policy, tmp_path):
    """The answers that a swap put in place aren't in the input."""
    settings = FilterConfig(output=str(tmp_path / "swapped"))
    donors = (str(held / "oak.jsonl"),)
    run_swap(SwapConfig(run=str(held / "run"), donors=donors, filter=settings))
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("{}"))
    with pytest.raises(RunError, match="has answers that swap put there") as caught:
        run_decide(DecideConfig(run=settings.output, filter=given))
    assert load_manifest(str(held / "run")).run_id in str(caught.value.remedy)
    assert f"congener decide {held / 'run'} --policy" in str(caught.value.remedy)
    assert not Path(given.output).exists()


def test_a_run_with_both_is_refused_with_both_commands(swapped_once, held, policy, tmp_path):
    """After a swap and a mix, the error names the run before both, and the commands in order."""
    own = FilterConfig(output=str(tmp_path / "both"))
    donors = (str(held / "elm.jsonl"),)
    run_mix(MixConfig(run=str(swapped_once), donors=donors, share=0.25, filter=own))
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("{}"))
    with pytest.raises(RunError, match="swap put there and has rows that mix added") as caught:
        run_decide(DecideConfig(run=own.output, filter=given))
    remedy = str(caught.value.remedy)
    assert remedy.startswith(f"decide run {load_manifest(str(held / 'run')).run_id} again")
    assert remedy.endswith("congener swap, and then congener mix")


def test_a_mixed_run_is_refused(mixed_once, held, policy, tmp_path):
    """The rows that a mix added aren't in the input, and the error names the run to decide."""
    given = FilterConfig(output=str(tmp_path / "again"), policy=policy("{}"))
    with pytest.raises(RunError, match="has rows that mix added") as caught:
        run_decide(DecideConfig(run=str(mixed_once), filter=given))
    assert load_manifest(str(held / "run")).run_id in str(caught.value.remedy)
    assert not Path(given.output).exists()
