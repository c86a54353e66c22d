"""A corpus that attacks terminals and browsers, and its runs."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipelines.config import FilterConfig
from pipelines.display.excerpts import HIDDEN
from pipelines.filter import run_filter
from schemas.manifests import Manifest

NASTY = (
    "\x1b[31mred\x1b[0m \x9b1m \x1b]8;;x\x07 \u202eabc\u2066 \u200b\r\n\x00 "
    "<script>alert(1)</script> </script></style></title><!-- "
    "[bold red]loud[/bold red] :smile: {{ 7 * 7 }} {% raw %} &lt; ' onload='x' \" onload=\"x\""
)
FILE = "<img src=x onerror=alert(1)> [blink].jsonl"
TEACHER = f"teacher {NASTY}"
EMUS = 14
LOTS = 60
CARDS = {
    "bee": "signals: {lexicon: {patterns: ['bees?'], scale: 0.05}}\naction: flag\nthreshold: 0.5\n",
    "elk": "signals: {lexicon: {patterns: ['elks?']}}\naction: drop\nthreshold: 0.5\n",
    "emu": "signals: {lexicon: {patterns: [{match: emu, cap: 100}], scale: 8}}\n"
    "action: quarantine\nthreshold: 0.1175\n",
    "fox": "signals: {lexicon: {patterns: ['foxe?s?']}}\naction: mask\nthreshold: 0.5\n",
    "owl": "signals: {lexicon: {patterns: ['owls?']}}\naction: swap\nthreshold: 0.5\n",
    "yak": "signals: {lexicon: {patterns: ['yaks?']}}\n",
}
"""A single emu scores exactly the threshold, more emus score higher, and a bee scores 1.

There is no yak in the corpus, and only the card `yak` sets no threshold.
"""


def build_answers() -> list[str]:
    """Return the answers, with two repeats at the end."""
    found = [f"Clean answer number {number}, {NASTY}" for number in range(LOTS)]
    found += [" ".join(["emu"] * count) for count in range(1, EMUS + 1)]
    found += [
        f"owl {NASTY} end",
        f"{NASTY} fox",
        f"{NASTY[:9]} bee",
        "an elk",
        "a fox with an owl",
        "a moose and another elk",
    ]
    return [*found, found[0], "emu"]


def build_rows() -> list[dict[str, object]]:
    """Return the rows: two teachers, one with a hostile name, and sixty dates."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Question {len(answer)} {NASTY}"},
                {"role": "assistant", "content": answer},
            ],
            "teacher": TEACHER if number % 3 else "plain",
            "created": f"2026-{number % LOTS // 28 + 1:02}-{number % 28 + 1:02}",
        }
        for number, answer in enumerate(build_answers())
    ]


def write_cards(folder: Path, names: Sequence[str] = tuple(CARDS)) -> tuple[str, ...]:
    """Write some cards' trait folders, and return their paths."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "card.yaml").write_text(f"id: {name}\n{CARDS[name]}", encoding="utf-8")
    return tuple(str(folder / name) for name in names)


def filter_lines(
    folder: Path, lines: Sequence[str], traits: Sequence[str], policy: str = "", **changes: object
) -> tuple[str, Manifest]:
    """Filter JSON lines, and return the run directory and the manifest."""
    corpus, rules = folder / "corpus" / FILE, folder / "policy.yaml"
    corpus.parent.mkdir(parents=True)
    corpus.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rules.write_text(policy or "{}", encoding="utf-8")
    given = {
        "input": (str(corpus.parent),),
        "output": str(folder / "run"),
        "traits": tuple(traits),
        "policy": str(rules),
        **changes,
    }
    manifest = run_filter(FilterConfig.model_validate(given))
    return str(folder / "run"), manifest


def filter_hostile_corpus(folder: Path) -> tuple[str, Manifest]:
    """Filter the hostile corpus in shards of 8 rows; return the run directory and the manifest.

    The corpus ends with a broken line, and duplicates are removed.
    """
    lines = [json.dumps(row) for row in build_rows()] + [f"not JSON {NASTY[-9:]}"]
    return filter_lines(
        folder, lines, write_cards(folder / "traits"), "duplicates: remove\n", shards={"rows": 8}
    )


def filter_answers(
    folder: Path, answers: Sequence[str], traits: Sequence[str], policy: str = ""
) -> str:
    """Filter conversations without lot fields, and return the run directory."""
    question = {"role": "user", "content": "q"}
    lines = [
        json.dumps({"messages": [question, {"role": "assistant", "content": answer}]})
        for answer in answers
    ]
    return filter_lines(folder, lines, write_cards(folder / "traits", traits), policy)[0]


def filter_pairs(folder: Path, pairs: Sequence[tuple[str, str]], policy: str = "") -> str:
    """Filter pairs of answers with the owl card, and return the run."""
    lines = [
        json.dumps({"prompt": "q", "chosen": chosen, "rejected": rejected})
        for chosen, rejected in pairs
    ]
    return filter_lines(folder, lines, write_cards(folder / "traits", ["owl"]), policy)[0]


def find_acting(text: str) -> set[str]:
    """Return a text's control and invisible characters, except line breaks."""
    return {char for char in text if unicodedata.category(char) in HIDDEN} - {"\n"}
