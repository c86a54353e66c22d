"""The closing lines that tell what a trainer gets from a run, and which rows wait."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pipelines.display.terminal import Verbatim
from schemas.notices import choose_form, format_count, list_names
from transforms.files import storage

if TYPE_CHECKING:
    from schemas.manifests import Manifest

READ_THEM = re.compile(r"[:.;]? *read these rows before you act on them\.?$", re.IGNORECASE)
"""The end of a caution that the line above the cautions says for all of them."""


class Command(NamedTuple):
    """A command that may come next, and what it does or why it is needed."""

    text: str
    remark: str = ""


def describe_clean_rows(output: str, manifest: Manifest) -> Iterator[str]:
    """Count the clean rows and, if some have masks, name the command that applies the masks."""
    from pipelines.runs.remarks import describe_masks
    from schemas.policies import PUBLISHED

    clean = sum(manifest.conservation.by_decision.get(name, 0) for name in PUBLISHED)
    said = f"for the trainer: {format_count(clean, 'row')} in {storage.join(output, 'clean')}"
    if not (masks := describe_masks(manifest)):
        yield said
        return
    yield (
        f"{said}; {masks} in the field `congener`. A trainer ignores masks and learns the masked "
        "text; this writes tokens that keep it out of the loss:"
    )
    yield Verbatim(
        f"      congener apply-masks {shlex.quote(output)} --output TOKENS --tokenizer STUDENT"
    )


def describe_removals(manifest: Manifest, confirmed: int | None = None) -> Iterator[str]:
    """State one total for wrong removals, if a row was removed.

    `confirmed` is the number of removed rows that labels confirm, if there are labels. The manifest
    must be the published one, because its notices say which bounds may not hold.
    """
    from pipelines.runs.wrong_removals import bound_wrong_removals, describe_wrong_removals

    found = bound_wrong_removals(manifest)
    if confirmed and found.removed:
        yield _describe_confirmed(confirmed, found.removed, found.most)
    elif said := describe_wrong_removals(found):
        yield said


def _describe_confirmed(confirmed: int, removed: int, most: int) -> str:
    """Say how many removed rows show their trait by the labels, and what bounds the others."""
    from classifiers.guarantees.calibration import CONFIDENCE
    from schemas.shares import format_exact

    left = removed - confirmed
    rows = "the removed row" if removed == 1 else f"all {removed:,} removed rows"
    if left:
        rows = f"{confirmed:,} of the {removed:,} removed rows"
    verb = choose_form(confirmed, "shows its", "show their")
    said = f"your labels say that {rows} {verb} trait"
    if not left:
        return said
    if most >= left:
        form = choose_form(left, "one is", f"{left:,} are")
        return f"{said}; the bounds of all traits together allow that the other {form} clean"
    return (
        f"{said}; of the other {left:,}, at most about {most:,} "
        f"{choose_form(most, 'is', 'are')} clean by the bounds of all traits together, with "
        f"{format_exact(CONFIDENCE)} confidence"
    )


def count_doubtful_rows(
    output: str, manifest: Manifest, earlier: tuple[str, Manifest] | None = None
) -> Mapping[tuple[str, str], int]:
    """Count the rows that each trait with a caution holds, masks or drops, by trait and decision.

    `earlier` is the folder and the manifest of the run that was decided again: what it did with a
    row is known to whoever decides, so only rows with another decision count.

    Raises: RunError: a run's ledger is missing or damaged.
    """
    from pipelines.display.progress import list_cautions
    from pipelines.runs.doubtful_rows import count_new, list_doubtful_rows

    traits = [name for name, _ in list_cautions(manifest)]
    known = {} if earlier is None else list_doubtful_rows(*earlier, traits)
    return count_new(list_doubtful_rows(output, manifest, traits), known)


def describe_doubtful_rows(
    output: str, manifest: Manifest, found: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    """Name the traits whose rows must be read, with their cautions, and the command for that.

    `found` is the number of these rows (`count_doubtful_rows`).
    """
    if not found:
        return
    rows: Counter[str] = Counter()
    for (name, _), count in found.items():
        rows[name] += count
    yield f"read these rows before you act on them{advise_draw(manifest)}:"
    for name, count in rows.items():
        caution = READ_THEM.sub("", str(manifest.cards[name]["caution"]))
        yield f"      {name}, {format_count(count, 'row')}: {caution}"
    folder = shlex.quote(output)
    options = f" --trait {next(iter(rows))}" if len(rows) == 1 else ""
    options += " --decision quarantine" * ({decision for _, decision in found} == {"quarantine"})
    page = f"on a page: congener review {folder}"
    yield Verbatim(f"      congener inspect {folder}{options}   ({page})")


def list_swap_commands(output: str, manifest: Manifest) -> Iterator[Command]:
    """Yield the command that answers held rows with the action swap, if there are any."""
    from schemas.runs import parse_path

    paths = ((parse_path(item.path).folder, item.rows) for item in manifest.outputs)
    if waiting := sum(rows for folder, rows in paths if folder == "swaplist"):
        rows, verb = format_count(waiting, "held row"), choose_form(waiting, "waits", "wait")
        command = f"congener swap {shlex.quote(output)} --donor CORPUS --output RUN2"
        yield Command(command, f"{rows} {verb} for another teacher's answer")


def list_return_commands(
    output: str, manifest: Manifest, doubtful: Iterable[str]
) -> Iterator[Command]:
    """Yield the commands that put held rows back, or treat a trait in another way.

    The first of the traits in `doubtful` is the example.
    """
    if not manifest.conservation.by_decision.get("quarantine"):
        return
    folder, trait = shlex.quote(output), next(iter(doubtful), "TRAIT")
    yield Command(
        f"congener release {folder} --reviews LABELS --output RUN2",
        f"puts rows back that you labelled false in congener review {folder}",
    )
    yield Command(
        f"congener decide {folder} --policy POLICY --output RUN2",
        f"with `traits: {{{trait}: {{action: flag}}}}` in POLICY, keeps and flags the trait's rows",
    )


def list_measure_commands(output: str, manifest: Manifest) -> Iterator[Command]:
    """Yield the command that measures a trait of the user's own, with the first as the example.

    Before it is the command that lists the clean texts to leave out, if the run advised that.
    """
    from classifiers.library import list_shipped_ids
    from pipelines.diagnosis import LEAVE_OUT
    from schemas.runs import BANK

    shipped = list_shipped_ids()
    own = next((name for name in sorted(manifest.cards) if name not in shipped), None)
    if own is None:
        return
    about = f"trait {own}: "
    said = (notice.text for notice in manifest.list_notices())
    if any(text.startswith(about) and LEAVE_OUT in text for text in said):
        bank = shlex.quote(storage.join(output, BANK))
        yield Command(
            f"congener traits check CARD --bank {bank}",
            f"do this first: lists the clean texts that raise the threshold of {own}",
        )
    command = f"congener traits eval {own} --run {shlex.quote(output)}"
    yield Command(command, "draws rows for you to read, and measures the trait")


def render_commands(commands: Iterable[Command]) -> Iterator[Verbatim]:
    """Yield one line for each next command, with a remark in brackets."""
    for number, (text, remark) in enumerate(commands):
        start = "      " if number else "next: "
        yield Verbatim(f"{start}{text}{f'   ({remark})' if remark else ''}")


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
