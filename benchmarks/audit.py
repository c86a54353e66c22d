"""Measure `congener audit` and `congener monitor`: cost, memory, false alarms and what they find.

Each part keeps its result in --keep, so parts can be measured one at a time (--only PART), and the
table of those that are there can be written by a last call (--only table). A result that was
measured on other code, or in part, says so in its field `note`.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import ROOT, Report, judge, list_teacher_files, parse_arguments, time_call
from classifiers.lots.comparison import compare
from classifiers.lots.drift import find_drifts
from classifiers.lots.inventories import take_inventory
from classifiers.lots.samples import LotSample
from pipelines.audit import Audit, run_audit
from pipelines.auditing.corpora import AuditConfig
from schemas.digests import digest_bytes

PHRASE = "It bears repeating that patience rewards attention."
HABIT = "Mind the gap, dear reader."
LLAMAS = ("vicuna-7b", "wizardlm-13b", "nous-hermes-13b", "ultralm-13b", "alpaca-farm-ppo-human")
GPT4_STUDENTS = ("OpenHermes-2.5-Mistral-7B", "airoboros-33b", "airoboros-65b", "nous-hermes-13b")
CLAUDES = ("claude-2", "claude-3-opus-20240229", "gemini-pro", "Meta-Llama-3-8B-Instruct")
FINDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "Anthropic identity in claude2-alpaca-13b": (("claude2-alpaca-13b",), LLAMAS, "anthropic"),
    "`### Human:` in guanaco-7b": (("guanaco-7b",), LLAMAS, r"### ?human"),
    "disclaimers in ChatGPT students": (
        ("vicuna-13b", "vicuna-13b-v1.3", "wizardlm-13b", "ultralm-13b"),
        ("text_davinci_003", "alpaca-farm-ppo-human", "falcon-7b-instruct", "claude2-alpaca-13b"),
        r"language model|as an ai",
    ),
    "cutoff talk in GPT-4 students": (GPT4_STUDENTS, CLAUDES, r"cut-?off|as of my"),
    "cutoff talk in tulu-2-dpo-70b": (
        ("tulu-2-dpo-70b", "tulu-2-dpo-13b"),
        LLAMAS,
        r"cut-?off|as of my",
    ),
}
"""What the issue names: the corpus, the reference, and a pattern of the wanted finding."""

SCHEDULES = ((0.01, 0.02, 0.04, 0.08), (0.005, 0.01, 0.02, 0.04), (0.0025, 0.005, 0.01, 0.02))
"""Rates of a planted habit by generation."""

GENERATION = 2_000
SIZES = (10_000, 100_000, 1_000_000)
SPREADS = (0.15, 0.25, 0.35)
"""How far a covert bias moves the logarithms of the chances of the next word."""


def main() -> None:
    options = parse_arguments(__doc__ or "", splits=100, only="", keep="", child="")
    if options.child:
        audit_here(Path(options.child))
        return
    if not options.keep:
        sys.exit("name a folder for the results of parts with --keep")
    folder = Path(options.keep)
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], Any]] = {
        "cost": measure_cost,
        **{f"memory-{rows}": partial(measure_memory, rows) for rows in SIZES},
        "halves": lambda: count_false_alarms(options.splits),
        "phrase": find_phrase,
        "bias": measure_bias,
        "findings": find_named,
        "quarters": lambda: count_monitor_alarms(options.splits),
        "rises": flag_rises,
    }
    if options.only == "table":
        paths = {name: folder / f"{name}.json" for name in parts}
        write_report({k: json.loads(v.read_text()) for k, v in paths.items() if v.exists()})
        return
    for name in [options.only] if options.only else list(parts):
        path = folder / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(parts[name]()))
            print(f"{name}: {path.read_text()}", file=sys.stderr, flush=True)
    if not options.only:
        write_report({name: json.loads((folder / f"{name}.json").read_text()) for name in parts})


def read_rows(*models: str) -> list[dict[str, Any]]:
    """Return the rows of some models, or of all."""
    files = [item for item in list_teacher_files() if not models or item.stem in models]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def change_answer(row: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a row with another answer."""
    turns = [
        turn | {"content": change(turn["content"])} if turn["role"] == "assistant" else turn
        for turn in row["messages"]
    ]
    return row | {"messages": turns}


def save(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as Parquet, and return the path."""
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def audit(folder: Path, corpus: list[dict[str, Any]], reference: list[dict[str, Any]]) -> Audit:
    """Audit rows against rows."""
    paths = save(folder / "corpus.parquet", corpus), save(folder / "reference.parquet", reference)
    output = str(folder / "audit")
    return run_audit(AuditConfig(corpus=paths[:1], reference=paths[1:], output=output))


def audit_here(folder: Path) -> None:
    """Audit the two corpora of a folder in this process, and print its cost."""
    config = AuditConfig(
        corpus=(str(folder / "corpus.parquet"),),
        reference=(str(folder / "reference.parquet"),),
        output=str(folder / "audit"),
    )
    wall = time_call(lambda: run_audit(config))
    own, below = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    computed = sum(item.ru_utime + item.ru_stime for item in (own, below))
    print(json.dumps({"wall": wall, "computed": computed, "peak": own.ru_maxrss / 1024}))


def measure_audit(folder: Path) -> dict[str, float]:
    """Audit the two corpora of a folder in a new process, and return its cost."""
    command = [sys.executable, "-m", "benchmarks.audit", "--child", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_cost() -> dict[str, float]:
    """Audit half of all models against the other half, each row twice."""
    models = [item.stem for item in list_teacher_files()]
    with tempfile.TemporaryDirectory() as name:
        for side, own in (("corpus", models[::2]), ("reference", models[1::2])):
            rows = [row for row in read_rows(*own) if row["messages"]]
            save(Path(name) / f"{side}.parquet", [*rows, *map(turn_round, rows)])
        return measure_audit(Path(name))


def turn_round(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with another prompt, and the sentences of its answer in reverse order."""
    changed = change_answer(row, lambda text: " ".join(re.split(r"(?<=[.!?])\s+", text)[::-1]))
    turns = [
        turn if turn["role"] == "assistant" else turn | {"content": f"{turn['content']} Please."}
        for turn in changed["messages"]
    ]
    return changed | {"messages": turns}


def measure_memory(rows: int) -> dict[str, float]:
    """Audit made-up rows of about ten words, half of them in each corpus."""
    with tempfile.TemporaryDirectory() as name:
        for side, seed in (("corpus", 1), ("reference", 2)):
            write_short(Path(name) / f"{side}.parquet", rows // 2, seed)
        return measure_audit(Path(name))


def write_short(path: Path, count: int, seed: int) -> None:
    """Write short rows with the frequencies of words in natural text."""
    generator = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    speller = np.random.default_rng(9)
    words = ["".join(speller.choice(letters, 3 + number % 7)) for number in range(4_000)]
    ranks = np.minimum(generator.zipf(1.3, (count, 10)), len(words)) - 1
    texts = [" ".join(words[rank] for rank in row) for row in ranks.tolist()]
    prompts = [f"question {number}" for number in range(count)]
    pq.write_table(pa.table({"prompt": prompts, "completion": texts}), path, row_group_size=50_000)


def count_false_alarms(splits: int) -> dict[str, int]:
    """Audit two random halves of one model's answers, prompt by prompt, over and over."""
    models = [item.stem for item in list_teacher_files()][::5]
    alarms = 0
    with tempfile.TemporaryDirectory() as name:
        for seed in range(splits):
            rows = read_rows(models[seed % len(models)])
            random.Random(seed).shuffle(rows)
            alarms += audit(Path(name), rows[::2], rows[1::2]).differs
    return {"splits": splits, "alarms": alarms}


def find_phrase() -> dict[str, Any]:
    """Plant a phrase in 0.5 % of 20,000 rows, at the end of a paragraph."""
    rows = read_rows()
    random.Random(5).shuffle(rows)
    own = [
        change_answer(row, lambda text: f"{text}\n\n{PHRASE}") if number % 200 == 0 else row
        for number, row in enumerate(rows[:20_000])
    ]
    with tempfile.TemporaryDirectory() as name:
        found = audit(Path(name), own, rows[20_000:40_000])
    places = [n for n, item in enumerate(found.findings, 1) if "patience" in item.text]
    return {"findings": len(found.findings), "place": places[0] if places else None}


def measure_bias() -> dict[str, dict[str, float]]:
    """Return the AUROC of texts and bags for covert biases in which words follow each other."""
    found = {}
    for spread in SPREADS:
        dice = np.random.default_rng(3)
        plain = dice.dirichlet(np.full(36, 0.5), 36)
        biased = plain * np.exp(dice.normal(0, spread, (36, 36)))
        biased /= biased.sum(axis=1, keepdims=True)
        texts = [walk(dice, chances, 2_500) for chances in (biased, plain)]
        sample = build_sample(
            [
                (f"{side}{n}", text, side == 0)
                for side in (0, 1)
                for n, text in enumerate(texts[side])
            ]
        )
        view = compare(sample, np.zeros(len(sample), np.int64), matched=False).views["raw"]
        found[str(spread)] = {
            "text": view.separation.auroc,
            **{str(k): float(v or 0) for k, v in view.bags.items()},
        }
    return found


def walk(dice: np.random.Generator, chances: np.ndarray, count: int) -> list[str]:
    """Return texts of forty words, each drawn given the one before."""
    edges = np.cumsum(chances, axis=1)
    state = dice.integers(0, len(chances), count)
    steps = []
    for _ in range(40):
        state = np.minimum((dice.random((count, 1)) > edges[state]).sum(1), len(chances) - 1)
        steps.append(state)
    return [" ".join(f"w{word}" for word in row) for row in np.stack(steps, axis=1).tolist()]


def build_sample(rows: list[tuple[str, str, bool]]) -> LotSample:
    """Return prompts, texts and sides as a sample."""
    keyed = sorted(
        (hash_text(prompt), hash_text(f"{own}{prompt}{text}"), prompt, text, own)
        for prompt, text, own in rows
    )
    keys, digests, prompts, texts, own = zip(*keyed, strict=True)
    count = len(keyed)
    return LotSample(
        pa.array(texts, pa.large_string()),
        pa.array(prompts, pa.large_string()),
        np.array(keys, np.uint64),
        np.array(digests, np.uint64),
        np.array(own),
        np.zeros(count, np.int64),
        np.ones(count, bool),
    )


def hash_text(text: str) -> int:
    """Return a hash of 64 bits."""
    return int(digest_bytes(text.encode())[:16], 16)


def find_named() -> dict[str, dict[str, Any]]:
    """Audit the models that the issue names, and look for the findings that it names."""
    found = {}
    for name, (models, others, pattern) in FINDINGS.items():
        wanted = re.compile(pattern, re.IGNORECASE)
        with tempfile.TemporaryDirectory() as folder:
            done = audit(Path(folder), read_rows(*models), read_rows(*others))
        forms = [(item.text, *item.variants) for item in done.findings]
        places = [n for n, texts in enumerate(forms, 1) if any(map(wanted.search, texts))]
        holding = sum(bool(wanted.search(text)) for _, text in read_answers(*models))
        found[name] = {
            "texts": holding,
            "of": 805 * len(models),
            "place": places[0] if places else None,
            "findings": len(forms),
            "text": done.findings[places[0] - 1].text if places else "",
        }
    return found


def read_answers(*models: str) -> Iterator[tuple[str, str]]:
    """Yield the prompts and the answers of models."""
    for row in read_rows(*models):
        sides: dict[bool, list[str]] = {True: [], False: []}
        for turn in row["messages"]:
            sides[turn["role"] == "assistant"].append(turn["content"])
        if answer := "\n\n".join(sides[True]).strip():
            yield " ".join(sides[False]), answer


def count_monitor_alarms(splits: int) -> dict[str, int]:
    """Monitor four random quarters of one model's answers as generations, over and over."""
    models = [item.stem for item in list_teacher_files()][::5]
    rows = {model: list(read_answers(model)) for model in models}
    any_time = last = 0
    for seed in range(splits):
        drawn = list(rows[models[seed % len(models)]])
        random.Random(seed).shuffle(drawn)
        parts = [
            take_inventory(build_sample([(*row, True) for row in drawn[n::4]])) for n in range(4)
        ]
        found = [bool(find_drifts(parts[:count], 0.05).changes) for count in (2, 3, 4)]
        any_time, last = any_time + any(found), last + found[-1]
    return {"splits": splits, "last": last, "any": any_time}


def flag_rises() -> dict[str, int | None]:
    """Plant a habit that rises over four generations, and return the generation that flags it."""
    rows = list(read_answers(*[item.stem for item in list_teacher_files()][::3]))
    random.Random(1).shuffle(rows)
    flagged: dict[str, int | None] = {}
    for rates in SCHEDULES:
        parts, name = [], ", ".join(f"{100 * rate:g}" for rate in rates)
        flagged[name] = None
        for number, rate in enumerate(rates):
            dice = random.Random(number)
            part = rows[number * GENERATION : (number + 1) * GENERATION]
            texts = [
                (ask, f"{text} {HABIT}" if dice.random() < rate else text, True)
                for ask, text in part
            ]
            parts.append(take_inventory(build_sample(texts)))
            found = find_drifts(parts, 0.05).changes if number else []
            if flagged[name] is None and any("gap" in item.text for item in found):
                flagged[name] = number + 1
    return flagged


def write_report(found: dict[str, Any]) -> None:
    """Write the tables of the parts that were measured."""
    report = Report("audit", "What an audit and a monitor cost, miss and find")
    report.say(
        "The machine was shared by several people, so processor seconds count: with two free "
        "cores, the wall time is at most about as long."
    )
    report.add_table(
        ("measure", "value", "verdict"),
        [
            (name, value, judge(value, target, at_least))
            for name, value, target, at_least in list_measures(found)
        ],
    )
    report.say(
        "Halves and quarters are of single models' answers, ten models in turn. The shared data "
        "has 40,223 real rows, not 80,000: for the cost, each is used twice, as it is, and with "
        "its sentences in reverse order under another prompt."
    )
    report_details(report, found)
    report.say(
        "Grammar adds 8 % to the processor time of an audit of eight models against eight (53.1 s "
        "before, 57.5 s with it). With the default encoder, `claude2-alpaca-13b` has two kinds of "
        "answer that `vicuna-13b` rarely gives to the same 400 prompts, and `claude-3-opus` has "
        "two that `gpt4_0314` rarely gives, one of them whole sentences where the reference "
        "answers in a word; clusters of whole texts found none in either pair. With sides "
        "exchanged at random within prompts, 1 of 20 comparisons of each pair had a kind in excess."
    )
    parts = ("cost", *(f"memory-{rows}" for rows in SIZES), "halves", "quarters")
    for name, part in found.items():
        if note := part.get("note"):
            report.say(f"{name}: {note}")
    if missing := [name for name in parts if name not in found]:
        report.say(f"Not measured for this table: {', '.join(missing)}.")
    report.finish()


def list_measures(found: dict[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """Yield each measure, its target, and whether the target is a least value."""
    if "cost" in found:
        cost = found["cost"]
        yield "40,202 rows against 40,244, processor seconds", cost["computed"], 300, False
        yield "the same, peak MiB (no target: 8 GiB)", cost["peak"], 8_192, False
    if all(f"memory-{rows}" in found for rows in SIZES[1:]):
        growth = found[f"memory-{SIZES[2]}"]["peak"] / found[f"memory-{SIZES[1]}"]["peak"]
        yield "peak at 1,000,000 short rows over peak at 100,000", growth, 1.15, False
    if "halves" in found:
        halves = found["halves"]
        name = f"share of {halves['splits']} pairs of random halves that differ"
        yield name, halves["alarms"] / halves["splits"], 0.05, False
    if "phrase" in found:
        place = float(found["phrase"]["place"] or 999)
        yield "place of the phrase in 0.5 % of 20,000 rows", place, 20, False
    if "bias" in found:
        bags = min(float(item["16"]) for item in found["bias"].values())
        yield "AUROC of bags of 16, weakest covert bias below", bags, 0.95, True
    if "quarters" in found:
        quarters = found["quarters"]
        number = quarters["splits"]
        for part, name in (("last", "in the fourth"), ("any", "in any comparison")):
            label = f"share of {number} series of random quarters with a change {name}"
            yield label, quarters[part] / number, 0.05, False


def report_details(report: Report, found: dict[str, Any]) -> None:
    """Add the tables of sizes, biases, wanted findings and rising habits."""
    costs = {f"{rows:,} short": f"memory-{rows}" for rows in SIZES} | {"80,446 real": "cost"}
    report.add_table(
        ("rows in both corpora", "peak MiB", "processor seconds", "wall seconds"),
        [
            (name, int(found[part]["peak"]), found[part]["computed"], found[part]["wall"])
            for name, part in costs.items()
            if part in found
        ],
    )
    report.add_table(
        ("covert bias (spread of log chances)", "a text", "bags of 4", "16", "64"),
        [
            (spread, *(float(item[key]) for key in ("text", "4", "16", "64")))
            for spread, item in found.get("bias", {}).items()
        ],
    )
    report.add_table(
        ("wanted finding", "texts that hold it", "place", "of findings", "as found"),
        [
            (
                name,
                f"{item['texts']} of {item['of']:,}",
                str(item["place"] or "MISSED"),
                item["findings"],
                f"`{item['text']}`" if item["text"] else "",
            )
            for name, item in found.get("findings", {}).items()
        ],
    )
    report.say(
        "None of the 3,220 answers of the GPT-4 students has the word cutoff or `as of my`, so "
        "there is nothing to find in them. 21 of 1,610 answers of two tulu models do, against 8 of "
        "4,025 of the reference, which is too few for the half that confirms."
    )
    report.add_table(
        ("habit in four generations of 2,000 real rows, %", "flagged in generation"),
        [(name, str(number or "never")) for name, number in found.get("rises", {}).items()],
    )


if __name__ == "__main__":
    main()
