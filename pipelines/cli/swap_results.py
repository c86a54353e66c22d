"""The output of `congener swap`: tables of outcomes and donors, and written requests."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from pipelines.cli.trainer_lines import describe_clean_rows, describe_removals
from pipelines.display.terminal import Verbatim, build_table
from schemas.notices import choose_form, format_count
from transforms.files import storage

if TYPE_CHECKING:
    from schemas.manifests import Manifest
    from schemas.swaps import SwapCounts, SwapRecord


class SwapResult(NamedTuple):
    """A published swap."""

    output: str
    manifest: Manifest

    def render(self) -> Iterator[str | Table]:
        """Return tables of outcomes and donors, and the next commands."""
        swap = self.manifest.swap
        if swap is not None:
            yield tabulate_outcomes(swap.counts)
            if swap.donors:
                yield tabulate_donors(swap)
        output = shlex.quote(self.output)
        yield Verbatim(f"done: {output}")
        yield from describe_removals(self.manifest)
        yield from describe_clean_rows(self.output, self.manifest)
        if swap is not None and swap.counts.waiting:
            verb = choose_form(swap.counts.waiting, "waits", "wait")
            yield (
                f"{format_count(swap.counts.waiting, 'row')} still {verb} in quarantine; the "
                f"prompts are in {storage.join(self.output, 'swaplist')}"
            )
            yield from self._describe_requests(swap)
        yield Verbatim(
            f"next: congener verify {output}\n"
            f"      congener inspect {output} --decision swap   (the new answers)"
        )

    def _describe_requests(self, swap: SwapRecord) -> Iterator[Verbatim]:
        """Say where the requests are, or how to get them."""
        from schemas.runs import is_requests_file

        output = shlex.quote(self.output)
        files = [item for item in self.manifest.outputs if is_requests_file(item.path)]
        if swap.requests is None:
            yield Verbatim(f"ask a model: congener swap {output} --requests FILE --model NAME")
        elif files:
            count = format_count(sum(item.rows for item in files), "request")
            names = ", ".join(storage.join(self.output, item.path) for item in files)
            yield Verbatim(
                f"{count} for {swap.requests.model}: {names}\n"
                f"      then congener swap {output} --answers REPLIES --output RUN3"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the manifest without its long lists."""
        return self.manifest.model_dump(mode="json", exclude={"outputs", "shards"})


def tabulate_donors(swap: SwapRecord) -> Table:
    """Return a table of the donors: their rows, the answers used, and their shares, if any."""
    columns = ("share>", "of the answers>") if swap.shares else ()
    table = build_table("donor", "rows>", "clean>", "used>", *columns)
    total = max(1, sum(swap.counts.by_donor.values()))
    for donor in swap.donors:
        used = swap.counts.by_donor.get(donor.name, 0)
        cells = [f"{donor.rows:,}", f"{donor.usable:,}", f"{used:,}"]
        if swap.shares:
            share = swap.shares.get(donor.name)
            cells += ["-" if share is None else f"{share:.1%}", f"{used / total:.1%}"]
        table.add_row(donor.name, *cells)
    return table


def tabulate_outcomes(counts: SwapCounts) -> Table:
    """Return a table of the rows that were to be replaced, by trait and outcome."""
    from schemas.swaps import DECISION_OF_OUTCOME, MASKED, REPLACED, SENTENCES, count_done

    table = build_table("trait", "rows>", "replaced>", "masked>", "waiting>", "because")
    for trait, found in counts.by_trait.items():
        total, waiting = sum(found.values()), sum(found.values()) - count_done(found)
        numbers = [total, count_done(found, REPLACED, SENTENCES), found.get(MASKED, 0), waiting]
        left = {name: count for name, count in found.items() if name not in DECISION_OF_OUTCOME}
        why = ", ".join(f"{name} {count:,}" for name, count in left.items())
        table.add_row(trait, *(f"{number:,}" for number in numbers), why or "-")
    return table


class RequestsResult(NamedTuple):
    """Written requests."""

    path: str
    requests: int
    run: str

    def render(self) -> Iterator[str]:
        """Return what was written, and what to do with it."""
        count = format_count(self.requests, "request")
        yield f"{count} in {self.path}, for OpenAI's Batch API or vllm run-batch"
        yield (
            f"then: congener swap {shlex.quote(self.run)} --answers OUTPUT --output RUN2, which "
            "filters the answers and puts the clean ones in place"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the file and the number of requests."""
        return {"path": self.path, "requests": self.requests}
