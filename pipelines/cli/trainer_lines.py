"""The closing lines that tell what a trainer gets from a run, and which rows wait."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.display.terminal import Verbatim
from schemas.notices import choose_form, format_count, list_names
from transforms.files import storage

if TYPE_CHECKING:
    from schemas.manifests import Manifest


def describe_clean_rows(output: str, manifest: Manifest) -> Iterator[str]:
    """Count the clean rows and, if some have masks, name the command that applies the masks."""
    from pipelines.runs.remarks import describe_masks
    from schemas.policies import PUBLISHED

    clean = sum(manifest.conservation.by_decision.get(name, 0) for name in PUBLISHED)
    rows = format_count(clean, "row")
    yield f"for the trainer: {rows} in {storage.join(output, 'clean')}"
    if masks := describe_masks(manifest):
        yield (
            f"of these rows, {masks} in the field `congener`. A trainer that ignores the field "
            "learns the masked text; this command writes tokens that keep it out of the loss:"
        )
        yield Verbatim(
            f"      congener apply-masks {shlex.quote(output)} --output TOKENS --tokenizer STUDENT"
        )


def describe_removals(manifest: Manifest) -> Iterator[str]:
    """State one total for wrong removals, if a row was removed.

    The manifest must be the published one, because its notices say which bounds may not hold.
    """
    from pipelines.runs.wrong_removals import bound_wrong_removals, describe_wrong_removals

    if said := describe_wrong_removals(bound_wrong_removals(manifest)):
        yield said


def describe_doubtful_rows(output: str, manifest: Manifest) -> Iterator[str]:
    """Count the rows that traits with a caution hold, with commands that show and release them."""
    from pipelines.display.progress import list_cautions
    from pipelines.runs.queries import Filters, count_rows

    names = {name for name, _ in list_cautions(manifest)}
    if not names or not manifest.conservation.by_decision.get("quarantine"):
        return
    held: Counter[str] = Counter()
    for item in count_rows(output, manifest, Filters(decision="quarantine")):
        if item.trait in names and item.side == "trained" and item.decides:
            held[item.trait] += item.rows
    if not held:
        return
    cards = choose_form(len(held), "whose card has a caution", "whose cards have cautions")
    yield (
        f"{list_names(held)}, {cards}, {choose_form(len(held), 'holds', 'hold')} rows. Read them "
        f"before you decide{advise_draw(manifest)}: a row that is held wrongly can be taken back, "
        "but a missed one goes into the student:"
    )
    for name, count in held.items():
        command = f"congener inspect {shlex.quote(output)} --trait {name} --decision quarantine"
        yield Verbatim(f"      {command}   ({format_count(count, 'row')})")
    flags = ", ".join(f"{name}: {{action: flag}}" for name in held)
    yield (
        f"to keep such rows in clean/ and only flag them, write `traits: {{{flags}}}` to a file "
        f"and decide again: congener decide {shlex.quote(output)} --policy FILE --output RUN2"
    )


def describe_waiting_rows(output: str, manifest: Manifest) -> Iterator[str]:
    """Say what the action swap means for held rows, and name the command that answers them."""
    from schemas.runs import parse_path

    paths = ((parse_path(item.path).folder, item.rows) for item in manifest.outputs)
    waiting = sum(rows for folder, rows in paths if folder == "swaplist")
    if not waiting:
        return
    rows, verb = format_count(waiting, "held row"), choose_form(waiting, "has", "have")
    wait, their = choose_form(waiting, "waits", "wait"), choose_form(waiting, "its", "their")
    yield (
        f"{rows} {verb} the action swap: until another teacher answers {their} "
        f"{choose_form(waiting, 'prompt', 'prompts')}, {choose_form(waiting, 'it', 'they')} {wait} "
        "in quarantine; this command puts such answers in place:"
    )
    yield Verbatim(f"      congener swap {shlex.quote(output)} --donor CORPUS --output RUN2")


def advise_draw(manifest: Manifest) -> str:
    """Say in brackets that a certificate begins before rows are read, unless it has begun."""
    from pipelines.certifying.records import find_certified_ancestor

    begun = find_certified_ancestor(manifest) is not None
    return "" if begun else " (if you want a certificate, congener certify first)"


def describe_certified_parent(run: str, output: str, manifest: Manifest) -> Iterator[str]:
    """Say that a certificate, or a sample, is of an earlier run, and how to carry it over.

    `run` is the run that was decided again, as the user names it.
    """
    from pipelines.certifying.records import find_certified_ancestor
    from pipelines.config import make_absolute

    earlier = find_certified_ancestor(manifest)
    if earlier is None:
        return
    is_own = make_absolute(run).rstrip("/") == earlier.folder.rstrip("/")
    folder = shlex.quote(run if is_own else earlier.folder)
    if earlier.is_stated:
        yield (
            f"the certificate of {folder} is about that run's rows, not about these; this carries "
            "it over, and counts every row that wasn't kept there as showing a trait:"
        )
    else:
        yield (
            f"the sample that was drawn from {folder} is of that run: state what its labels show "
            "there, and then carry the certificate over:"
        )
    yield Verbatim(f"      congener certify {shlex.quote(output)} --from {folder}")


def list_unmatched(manifest: Manifest) -> list[str]:
    """Return the numbers and the names of the policy's exceptions that match no row."""
    from pipelines.runs.recorded_settings import read_recorded_policy

    policy = read_recorded_policy(manifest)
    pairs = zip(policy.exceptions, manifest.exceptions, strict=False)
    return [
        f"{number} ({item.describe()})"
        for number, (item, effect) in enumerate(pairs, 1)
        if not effect.rows
    ]


def list_idle(output: str, manifest: Manifest) -> list[str]:
    """Return the numbers and the names of the exceptions that change nothing on their row.

    Raises: RunError: the run's ledger is missing or damaged.
    """
    from pipelines.runs.idle_exceptions import list_idle_exceptions
    from pipelines.runs.recorded_settings import read_recorded_policy

    policy = read_recorded_policy(manifest)
    found = list_idle_exceptions(output, manifest, policy)
    return [f"{number} ({policy.exceptions[number - 1].describe()})" for number, _ in found]


def has_useless_exceptions(output: str, manifest: Manifest) -> bool:
    """Return whether some exception matches no row, or changes nothing on its row.

    Raises: RunError: the run's ledger is missing or damaged.
    """
    return bool(list_unmatched(manifest) or list_idle(output, manifest))


def describe_useless_exceptions(output: str, manifest: Manifest) -> Iterator[str]:
    """Name the exceptions that match no row or change nothing, perhaps because of a mistyped name.

    Raises: RunError: the run's ledger is missing or damaged.
    """
    if idle := list_idle(output, manifest):
        yield (
            f"warning: {format_count(len(idle), 'exception')} of the policy "
            f"{choose_form(len(idle), 'changes', 'change')} nothing on "
            f"{choose_form(len(idle), 'its row', 'their rows')}: {list_names(idle)}; "
            "the reason is above"
        )
    if unmatched := list_unmatched(manifest):
        count = len(unmatched)
        yield (
            f"warning: {format_count(count, 'exception')} of the policy "
            f"{choose_form(count, 'matches', 'match')} no row, so "
            f"{choose_form(count, 'it', 'they')} changed nothing: {list_names(unmatched)}; "
            "the reason is above"
        )
