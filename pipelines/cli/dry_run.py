"""What `congener filter --dry-run` prints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from pipelines.display.terminal import Verbatim, build_table
from schemas.notices import format_count
from schemas.shares import format_bound

if TYPE_CHECKING:
    from pipelines.outlook import Outlook
    from pipelines.plan import FilterPlan

MOST_TEACHERS = 12
"""How many teachers a dry run names."""


class DryRunResult(NamedTuple):
    """A settled run that isn't executed."""

    plan: FilterPlan
    outlook: Outlook

    def render(self) -> Iterator[str | Table]:
        """Return the traits' rules, the amount of work, its time, and where the files would be."""
        table = build_table("trait", "action", "score ≥>", "origin", "clean hit>")
        for rule in self.plan.rules:
            bound = rule.threshold.bound
            table.add_row(
                rule.trait,
                rule.action,
                f"{rule.threshold.value:.4f}",
                rule.threshold.origin,
                "not stated" if bound is None else f"≤ {format_bound(bound)}",
            )
        yield table
        yield from describe_outlook(self.outlook)
        shards, output = self.plan.shards, self.plan.config.output
        rows = sum(shard.rows for shard in shards)
        yield (
            f"dry run: {format_count(rows, 'row')} in {format_count(len(shards), 'shard')} "
            f"would be filtered into {output}; nothing was written there"
        )
        where = shlex.quote(output.rstrip("/"))
        yield Verbatim(
            f"      {where}/clean        the rows that are kept, for the trainer\n"
            f"      {where}/quarantine   the rows that are held\n"
            f"      {where}/ledger       what was decided about each row"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the run's identity, rules and amount of work."""
        shards = self.plan.shards
        return {
            "run_id": self.plan.run_id,
            "identity": self.plan.identity.model_dump(mode="json"),
            "rules": [
                {"trait": rule.trait, "action": rule.action} | rule.threshold._asdict()
                for rule in self.plan.rules
            ],
            "rows": sum(shard.rows for shard in shards),
            "shards": len(shards),
            "splits": {name or "": rows for name, rows in self.outlook.splits.items()},
            "teachers": {name or "": rows for name, rows in self.outlook.teachers.items()},
            "sampled": self.outlook.sampled,
            "seconds": self.outlook.seconds,
        }


def describe_outlook(found: Outlook) -> Iterator[str]:
    """Say which splits and teachers a corpus has, and how long its rows take."""
    if set(found.splits) - {None}:
        counts = [f"{name or 'unknown'} {rows:,}" for name, rows in found.splits.items()]
        yield f"rows by split: {', '.join(counts)}"
    named = [f"{name or 'unknown'} {rows:,}" for name, rows in found.teachers.items()]
    more = f" and {len(named) - MOST_TEACHERS:,} more" if len(named) > MOST_TEACHERS else ""
    teachers = format_count(len(named), "teacher")
    yield (
        f"{teachers} in a sample of {format_count(found.sampled, 'row')} (the first rows of the "
        f"files): {', '.join(named[:MOST_TEACHERS])}{more}"
    )
    if found.timed:
        yield (
            f"scoring takes about {format_duration(found.seconds)} in one process on this machine, "
            f"by the time of {format_count(found.timed, 'row')}; congener estimate measures more"
        )


def format_duration(seconds: float) -> str:
    """Return a time in the unit that fits it: seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
