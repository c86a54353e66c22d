"""Publication: receipts into a manifest, budgets checked first, the manifest written last."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.config import absolute
from pipelines.runs.finished import MANIFEST, WORK, rows_at
from pipelines.runs.unfinished import FOLDERS
from schemas.digests import compute_merkle_root
from schemas.errors import BudgetError, RunError
from schemas.manifests import Conservation, InputFile, Manifest, Output, SettledThreshold
from schemas.policies import PUBLISHED, Policy
from transforms.decide import Rule
from transforms.files import storage
from transforms.files.sources import Corpus, ShardPlan
from transforms.write import Receipt

LIMITS = (
    "Scores speak of traits that can be seen in a record's text. Covert transfer, which rides on rows that look clean, is not excluded.",
    "A threshold's guarantee is about clean rows lost, on text like the clean text it was calibrated on; it says nothing of trait rows missed.",
    "Removing rows is a weak lever: published replications find half or more of an inherited trait left after it. Prefer a swap of the teacher's completions.",
)


BUDGET_REMEDIES = {
    "removal_budget": "look at the thresholds and what fired (the table above), then change the policy or the budget",
    "reject_budget": "mend the rows that are named above, or raise the budget",
}
REJECTS_NAMED = 5


def conservation(corpus: Corpus, receipts: Sequence[Receipt]) -> Conservation:
    """Add up the fates of all rows.

    Raises: RunError: They aren't as many as the rows read.
    """
    counts: Counter[str] = Counter()
    for receipt in receipts:
        counts.update(receipt.decisions)
    result = Conservation(
        rows_in=sum(source.rows for source in corpus.sources),
        by_decision=dict(sorted(counts.items())),
    )
    if not result.holds():
        raise RunError(
            f"{result.rows_in} rows were read, {sum(counts.values())} are accounted for",
            remedy="this is a fault of congener's: please report it",
        )
    return result


def check_budgets(result: Conservation, policy: Policy) -> None:
    """Stop a run that removes or rejects more than its policy allows.

    Raises: BudgetError: It does.
    """
    removed = sum(
        count
        for decision, count in result.by_decision.items()
        if decision not in (*PUBLISHED, "reject")
    )
    rejected = result.by_decision.get("reject", 0)
    for name, count, budget in (
        ("removal_budget", removed, policy.removal_budget),
        ("reject_budget", rejected, policy.reject_budget),
    ):
        if budget is not None and count > budget * result.rows_in:
            raise BudgetError(
                f"{count:,} of {result.rows_in:,} rows ({count / result.rows_in:.1%}) against a {name} of {budget:.1%}: nothing was published",
                remedy=BUDGET_REMEDIES[name],
            )


def first_rejects(run: str, outputs: Sequence[Output]) -> Iterator[str]:
    """Name the first rejects of a run and say why each is one; nothing where there are none."""
    held = [output for output in outputs if output.path.startswith("rejects/")]
    left = REJECTS_NAMED
    for output in held:
        if not left:
            break
        shown = min(left, output.rows)
        for reject in rows_at(run, output.path, range(shown), ["source", "row", "error"]).values():
            yield f"reject: {reject['source']} row {reject['row']}: {reject['error']}"
        left -= shown
    if (total := sum(output.rows for output in held)) > REJECTS_NAMED:
        yield f"and {total - REJECTS_NAMED:,} rejects more"


def withdraw(run: str) -> None:
    """Take back what was written under the published names, so that a run that was stopped leaves no corpus behind."""
    for folder in (MANIFEST, *FOLDERS, WORK):
        storage.remove_tree(storage.join(run, folder))


def settled_thresholds(
    rules: Sequence[Rule], calibrated_on: Mapping[str, str]
) -> tuple[SettledThreshold, ...]:
    """Describe the rules for the manifest."""
    return tuple(
        SettledThreshold(
            trait=rule.trait,
            signal=rule.signal,
            action=rule.action,
            threshold=rule.threshold.value,
            origin=rule.threshold.origin,
            clean_texts=rule.threshold.clean,
            exceeding=rule.threshold.exceeding,
            bound=rule.threshold.bound,
            max_false_positive_rate=rule.level.max_false_positive_rate,
            confidence=rule.level.confidence,
            calibrated_on=calibrated_on[rule.trait],
        )
        for rule in rules
    )


def input_files(corpus: Corpus) -> tuple[InputFile, ...]:
    """Describe the inputs for the manifest, which is read in other folders than the run was started in."""
    return tuple(
        InputFile(
            name=s.name,
            uri=absolute(s.uri),
            kind=s.kind,
            compression=s.compression,
            bytes=s.size,
            rows=s.rows,
            sha256=s.sha256,
        )
        for s in corpus.sources
    )


def in_order(plans: Sequence[ShardPlan], receipts: Mapping[str, Receipt]) -> list[Receipt]:
    """Return the receipts in corpus order.

    Raises: RunError: A shard has none.
    """
    if missing := [plan.name for plan in plans if plan.name not in receipts]:
        raise RunError(
            f"{len(missing)} shards have no receipt, the first is {missing[0]}",
            remedy="run the same command again: it resumes",
        )
    return [receipts[plan.name] for plan in plans]


def totals(receipts: Sequence[Receipt]) -> dict[str, Any]:
    """Add up what the shards' receipts say, for the manifest."""
    fired: Counter[str] = Counter()
    for receipt in receipts:
        fired.update(receipt.fired)
    return {
        "outputs": tuple(
            Output(**output._asdict()) for receipt in receipts for output in receipt.outputs
        ),
        "fired": dict(sorted(fired.items())),
        "unscored": sum(receipt.unscored for receipt in receipts),
        "shards": tuple((receipt.shard, receipt.ledger_root) for receipt in receipts),
        "ledger_root": compute_merkle_root(
            [bytes.fromhex(receipt.ledger_root) for receipt in receipts]
        ).hex(),
    }


def circumstances(
    seconds: float, receipts: Sequence[Receipt], device: str, command: Sequence[str]
) -> dict[str, Any]:
    """Say when, where and how fast: what may differ between two runs with the same bytes."""
    tokens, padded = (
        sum(receipt.tokens for receipt in receipts),
        sum(receipt.padded for receipt in receipts),
    )
    return {
        "seconds": round(seconds, 3),
        "rows_per_second": round(sum(receipt.rows for receipt in receipts) / max(seconds, 1e-9), 1),
        "tokens": tokens,
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
        "padding_waste": round(1 - tokens / padded, 4) if padded else 0.0,
        "token_budget_cuts": sum(receipt.budget_cuts for receipt in receipts),
        "device": device,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": list(command),
    }


def publish(run: str, manifest: Manifest) -> Manifest:
    """Write the sealed manifest, which makes the run count, and remove the working files."""
    sealed = manifest.sealed()
    storage.write_bytes(storage.join(run, MANIFEST), sealed.to_bytes())
    storage.remove_tree(storage.join(run, WORK))
    return sealed
