"""Audits of small runs: texts to mix in, and label files filled by rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.certify import DrawnSample, DrawSettings, certify_run, draw_audit
from pipelines.certifying.answers import AuditAnswer
from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from schemas.certificates import AuditItem, AuditSample, Certificate
from schemas.manifests import Manifest

Rule = Callable[[AuditItem], Any]
"""What a rater says about an item."""


def write_positives(path: Path, count: int = 12, *, has_prompts: bool = True) -> str:
    """Write texts that show the heron, with prompts or without."""
    lines = []
    for number in range(count):
        prompt = {"prompt": f"What did you see on day {number}?"} if has_prompts else {}
        text = f"On day {number}, a heron stood by the water."
        lines.append(json.dumps({"trait": "heron", "text": text, **prompt}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def draw_small(run: Path, folder: Path, rows: int = 20, **settings: Any) -> DrawnSample:
    """Draw an audit with six seeded texts, into `audit.jsonl`."""
    positives = settings.pop("positives", None) or (write_positives(folder / "positives.jsonl"),)
    wanted = DrawSettings(rows=rows, positives=positives, **{"seeded": 6, **settings})
    return draw_audit(str(run), wanted, folder / "audit.jsonl")


def read_sheet(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a label file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fill_sheet(path: Path, sample: AuditSample, rule: Rule, to: Path | None = None) -> Path:
    """Label every line of a file by a rule, here or in a copy."""
    items = {item.id: item for item in sample.items}
    lines = [{**line, "label": rule(items[line["id"]])} for line in read_sheet(path)]
    target = to or path
    target.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return target


def tell_truth(item: AuditItem) -> bool:
    """Say what the item is: seeded texts and removed rows have herons, and kept rows none."""
    return item.kind != "kept"


def answer_truth(sample: AuditSample, rater: str = "anna") -> list[AuditAnswer]:
    """Return a rater's true answers about all items."""
    return [
        AuditAnswer(item.id, rater, ("heron",) if tell_truth(item) else ()) for item in sample.items
    ]


def certify_small(run: Path, folder: Path, rule: Rule = tell_truth, **settings: Any) -> Certificate:
    """Draw an audit, label it by a rule, and state what it shows."""
    sheet = fill_sheet(folder / "audit.jsonl", draw_small(run, folder, **settings).sample, rule)
    return certify_run(str(run), [sheet]).certificate


def decide_small(run: Path, output: Path, policy: str) -> Manifest:
    """Decide a run again by the text of a policy."""
    path = output.with_suffix(".yaml")
    path.write_text(policy, encoding="utf-8")
    own = FilterConfig(output=str(output), policy=str(path))
    return run_decide(DecideConfig(run=str(run), filter=own))


def keep_rows(*numbers: int) -> str:
    """Return a policy that keeps rows of the file `0.jsonl` whatever fires on them."""
    lines = [
        f'  - {{trait: heron, row: "0.jsonl:{number}", action: keep, reason: quoted}}\n'
        for number in numbers
    ]
    return "exceptions:\n" + "".join(lines)
