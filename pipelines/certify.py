"""`congener certify`: draw the sample of an audit, and state what its labels show about a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pipelines.certifying.answers import (
    AuditAnswer,
    TraitedRow,
    digest_answers,
    find_clean,
    find_shown,
    match_answers,
)
from pipelines.certifying.carrying import carry_certificate, find_still_kept
from pipelines.certifying.checks import find_origin, redraw
from pipelines.certifying.draws import (
    PositiveText,
    build_sample,
    order_pool,
    plan_block,
    read_card_positives,
    read_positives,
)
from pipelines.certifying.histories import append_statement, read_history
from pipelines.certifying.populations import read_drawn_from, read_rows_to_audit
from pipelines.certifying.prospects import (
    FurtherRows,
    Prospect,
    foresee,
    foresee_further,
    require_reach,
)
from pipelines.certifying.records import (
    find_certified_ancestor,
    is_stated,
    read_certificate,
    read_sample,
    read_stored_answers,
    require_current,
    write_certificate,
    write_sample,
)
from pipelines.certifying.reviews import ReviewCount, gather_answers
from pipelines.certifying.sheets import is_unlabelled, write_lines
from pipelines.certifying.statements import state
from pipelines.config import make_absolute
from pipelines.label_files import Entry, is_table, read_entries
from pipelines.labels import append_lines, read_all_labels, require_outside
from pipelines.report import write_report
from pipelines.runs.alterations import require_unaltered
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.publication import find_user
from pipelines.runs.queries import require_trait
from schemas.certificates import AuditItem, AuditSample, Certificate, PastStatement, SeededText
from schemas.errors import CardError, RunError
from schemas.manifests import Manifest
from schemas.runs import REPORT_PAGE
from schemas.shares import format_exact
from transforms.files import storage
from transforms.files.locations import describe_unusable

RISK = 0.05
"""How likely a bound may be wrong by default."""


@dataclass(frozen=True)
class DrawSettings:
    """The settings of a draw.

    `seeded` counts the seeded texts, or is None for the usual number. `positives` and `exclude`
    name files. Without a seed, it is the digest of the run's manifest. With `must_reach`, a draw
    that can't show `at_most` is refused.
    """

    rows: int
    traits: tuple[str, ...] = ()
    positives: tuple[str, ...] = ()
    seeded: int | None = None
    seed: str | None = None
    exclude: tuple[str, ...] = ()
    risk: float = RISK
    at_most: float | None = None
    restart: bool = False
    must_reach: bool = False


class DrawnSample(NamedTuple):
    """A sample, the items that were added to the label file, and the best that it can show.

    `masked` counts the kept rows with masked passages, if raters see them struck out. `statement`
    says whether a certificate of the run `stays` until the next one or was `removed`.
    """

    sample: AuditSample
    added: tuple[AuditItem, ...]
    path: str
    prospect: Prospect
    masked: int = 0
    statement: Literal["", "stays", "removed"] = ""


def draw_audit(run: str, settings: DrawSettings, output: Path) -> DrawnSample:
    """Draw rows and seeded texts to read, and write a label file without scores.

    If the run has a sample already, only what it lacks is drawn. The label file gets the items that
    it doesn't list yet, so a new file is a copy for another rater. A new sample replaces a label
    file in which nothing is labelled yet.

    Raises: CardError: a trait, a file of positives or of labels, or the label file can't be used,
        or the draw is too small for its target.
    Raises: RunError: the run isn't finished, or its sample has other settings.
    """
    require_outside(run, output)
    _require_writable(output, settings.seed)
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
    traits = _choose_traits(manifest, settings.traits)
    earlier = None if settings.restart else read_sample(run)
    if earlier is not None:
        _require_same(run, manifest, earlier, settings, output)
        traits = earlier.traits
    elif not settings.restart and (found := read_certificate(run)) and found.carried:
        raise RunError(
            "has a certificate that was carried over, which a sample replaces",
            where=run,
            remedy="add --restart; the history keeps the statement",
        )
    elif output.exists() and not (settings.restart and is_unlabelled(output)):
        raise CardError(
            "exists already", where=str(output), remedy="name a new file with --output FILE"
        )
    has_none = settings.seeded == 0 or (earlier is not None and not earlier.pool)
    positives = [] if has_none else _gather_positives(manifest, settings, traits)
    seed = settings.seed or (earlier.seed if earlier else manifest.digest)
    pool = order_pool(positives, seed, traits)
    sample = _extend(run, manifest, settings, traits, seed, pool, earlier)
    old = () if earlier is None else _read_listed(output)
    listed = {str(entry.fields.get("id")) for entry in old}
    added = tuple(item for item in sample.items if item.id not in listed)
    lines = list(write_lines(run, manifest, sample, added, pool))
    prospect = foresee(run, manifest, sample, settings.seeded)
    if settings.must_reach and sample != earlier:
        require_reach(run, manifest, sample, settings.seeded, prospect)
    statement = _replace_sample(run, earlier, sample)
    if earlier is None:
        output.unlink(missing_ok=True)  # the unlabelled items of a sample that is forgotten
    if lines:
        append_lines(output, lines)
    masked = 0 if sample.masked_by is None else manifest.notes.masked
    return DrawnSample(sample, added, str(output), prospect, masked, statement)


def _replace_sample(
    run: str, earlier: AuditSample | None, sample: AuditSample
) -> Literal["", "stays", "removed"]:
    """Write a sample, and say what became of the run's certificate, if it has one.

    If rows are added, the certificate stays. A new sample removes it, also from the run's report.
    """
    stated = is_stated(run)
    if sample != earlier:
        write_sample(run, sample, is_larger=earlier is not None)
    if stated and earlier is None and storage.exists(storage.join(run, REPORT_PAGE)):
        write_report(run)
    return ("removed" if earlier is None else "stays") if stated else ""


def _require_writable(output: Path, seed: str | None) -> None:
    """Refuse a label file to which no line can be added, and a seed that isn't a text.

    Raises: CardError: the file is a table, or the seed isn't UTF-8.
    """
    if is_table(output):
        raise CardError(
            "is a table", where=str(output), remedy="name a file of JSON Lines: audit.jsonl"
        )
    if problem := describe_unusable(seed or ""):
        raise CardError(problem, where="--seed", remedy="give digits or words")


def _read_listed(output: Path) -> Iterator[Entry]:
    """Yield the lines that a label file has already."""
    return read_entries(output) if output.exists() else iter(())


def _choose_traits(manifest: Manifest, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the traits of an audit, in the run's order: those that are named, or all."""
    for trait in wanted:
        require_trait(trait, manifest)
    return tuple(rule.trait for rule in manifest.thresholds if not wanted or rule.trait in wanted)


def _require_same(
    run: str, manifest: Manifest, earlier: AuditSample, settings: DrawSettings, output: Path
) -> None:
    """Refuse settings that differ from those of a sample to which rows are added.

    Raises: RunError: they differ.
    """
    require_current(run, earlier, manifest)
    given = (
        ("--trait", tuple(sorted(settings.traits)), tuple(sorted(earlier.traits))),
        ("--seed", settings.seed, earlier.seed),
        ("--risk", None if settings.risk == RISK else settings.risk, earlier.risk),
        ("--at-most", settings.at_most, earlier.at_most),
    )
    new = "" if not output.exists() or is_unlabelled(output) else ", with another --output"
    mixed = sum(block.seeded for block in earlier.blocks)
    if settings.seeded not in (None, mixed) and is_stated(run):
        raise RunError(
            f"--seeded was settled with the draw, at {mixed}, and a bound was stated since",
            where=run,
            remedy="leave --seeded out to add rows; or draw a new sample with --restart and "
            "another --output, which removes the certificate, also for runs that carry it over",
        )
    for name, wanted, settled in given:
        if wanted and wanted != settled:
            raise RunError(
                f"{name} was settled when the sample was drawn",
                where=run,
                remedy=f"leave {name} out to add rows, or draw a new sample with --restart{new}",
            )


def _gather_positives(
    manifest: Manifest, settings: DrawSettings, traits: Sequence[str]
) -> list[PositiveText]:
    if settings.positives:
        return [text for path in settings.positives for text in read_positives(Path(path), traits)]
    return read_card_positives(manifest, traits)


def _extend(
    run: str,
    manifest: Manifest,
    settings: DrawSettings,
    traits: Sequence[str],
    seed: str,
    pool: Sequence[PositiveText],
    earlier: AuditSample | None,
) -> AuditSample:
    """Draw a sample, or one that begins with the items of an earlier one."""
    known = tuple(text.describe() for text in pool)
    _require_pool(run, known, earlier)
    if earlier is None:
        labels = [label for path in settings.exclude for label in read_all_labels(Path(path))]
        excluded = [(label.source, label.row, label.record_id) for label in labels]
        rows = read_rows_to_audit(run, manifest, traits, excluded)
    else:
        rows = read_drawn_from(run, manifest, earlier)
    blocks = earlier.blocks if earlier else ()
    block = plan_block(rows, blocks, settings.rows, len(known), settings.seeded, len(traits))
    if earlier is not None and not any(block.model_dump().values()):
        return earlier
    risk, at_most = (
        (earlier.risk, earlier.at_most) if earlier else (settings.risk, settings.at_most)
    )
    return build_sample(manifest, rows, traits, known, (*blocks, block), seed, risk, at_most)


def _require_pool(run: str, pool: tuple[SeededText, ...], earlier: AuditSample | None) -> None:
    if earlier is not None and earlier.pool != pool:
        raise RunError(
            "the positives aren't those with which the sample was drawn",
            where=run,
            remedy="give the same --positives and --seeded as before, or draw a new sample with "
            "--restart",
        )


class Certified(NamedTuple):
    """A certificate, and the labels that are behind it or don't count.

    `waiting` counts answered items behind an unread one, and `reviews` says of each file that the
    review page wrote how many of its labels count. `history` has every statement about the run,
    and this one last.
    """

    certificate: Certificate
    waiting: int = 0
    reviews: tuple[ReviewCount, ...] = ()
    history: tuple[PastStatement, ...] = ()
    shown: tuple[TraitedRow, ...] = ()
    """The rows that a run of a carried certificate keeps although people saw a trait in them."""


def certify_run(
    run: str, labels: Sequence[Path], at_most: float | None = None, operator: str | None = None
) -> Certified:
    """State what labels show about a run, and write the certificate and its history beside it.

    The labels are in files that `draw_audit` wrote, or in those of the review page. A report that
    the run has is made again, with the certificate in it. `at_most` is a target for a sample that
    has none, and `operator` is the person responsible (default: the user).

    Raises: CardError: a label file can't be used. Raises: RunError: the run isn't finished, no
        sample was drawn from it, or the history of its statements is damaged.
    """
    if problem := describe_unusable(operator or ""):
        raise CardError(problem, where="--operator", remedy="name a person")
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
    sample = require_sample(run, manifest)
    _require_target(run, sample.at_most, at_most)
    if redraw(run, manifest, sample) != sample:
        raise RunError(
            "the sample isn't what its seed draws from this run",
            where=run,
            remedy="congener verify names what was changed; draw a new sample with --restart",
        )
    answers, reviews = gather_answers(labels, manifest, sample)
    if not answers:
        raise _report_no_answer(labels[0], reviews)
    certificate = state(manifest, _find_stated_part(run, sample, answers), answers, at_most)
    _publish(run, certificate, answers, operator)
    waiting = _count_waiting(sample, answers)
    return Certified(certificate, waiting, tuple(reviews), read_history(run))


def _find_stated_part(run: str, sample: AuditSample, answers: Sequence[AuditAnswer]) -> AuditSample:
    """Return the part of a sample from which the same answers were stated already, or all of it.

    Rows that were added since and that nobody has read make no new statement.
    """
    found = read_certificate(run)
    if found is None or found.labels != digest_answers(answers):
        return sample
    return sample.find_part(found.sample) or sample


def _require_target(run: str, settled: float | None, at_most: float | None) -> None:
    """Refuse another target than the one that was set with the draw.

    Raises: RunError: they differ.
    """
    if at_most is not None and settled not in (None, at_most):
        raise RunError(
            f"the target was set with the draw: {format_exact(settled or 0)}",
            where=run,
            remedy=f"leave --at-most out, or draw a new sample with this target: congener certify "
            f"{run} --draw N --output FILE --at-most {format_exact(at_most)} --restart",
        )


def carry_over(
    run: str, earlier: str, at_most: float | None = None, operator: str | None = None
) -> Certified:
    """Carry the certificate of a run over to another run of the same rows, and write it there.

    If that certificate was carried over itself, the run that people read is compared instead. The
    bounds hold whatever was read or decided in between; see `carry_bound`. The other arguments are
    those of `certify_run`.

    Raises: RunError: a run isn't finished, was changed or isn't of the same rows, `earlier` has no
        certificate, or a sample was drawn from `run`.
    """
    if problem := describe_unusable(operator or ""):
        raise CardError(problem, where="--operator", remedy="name a person")
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
    origin = find_origin(make_absolute(earlier))
    if origin.manifest.digest == manifest.digest:
        raise RunError("is the run that was certified", where=run, remedy="leave --from out")
    if read_sample(run) is not None:
        raise RunError(
            "has a sample of its own",
            where=run,
            remedy=f"state what its labels show: congener certify {run} --labels FILE",
        )
    for folder in ("ledger", "clean"):
        require_unaltered(run, manifest, folder)
    _require_target(run, origin.certificate.at_most, at_most)
    certificate = carry_certificate(origin, run, manifest, at_most)
    _publish(run, certificate, None, operator)
    shown = find_still_kept(origin, run, manifest)
    return Certified(certificate, history=read_history(run), shown=shown)


def _publish(
    run: str, certificate: Certificate, answers: list[AuditAnswer] | None, operator: str | None
) -> None:
    """Write a certificate and its line in the history, and make the run's report again."""
    append_statement(run, certificate, (operator or "").strip() or find_user())
    write_certificate(run, certificate, answers)
    if storage.exists(storage.join(run, REPORT_PAGE)):
        write_report(run)


def _report_no_answer(path: Path, reviews: Sequence[ReviewCount]) -> CardError:
    """Return the error for files without a label that counts."""
    reasons = [reason for found in reviews for reason in found.describe_unused()]
    return CardError(
        f"has no label that counts: {'; '.join(reasons)}" if reasons else "has no label yet",
        where=os.fspath(path),
        remedy="label the drawn items blind: congener review RUN --certify FILE"
        if reviews
        else "set each `label`, or let congener ask: --ask",
    )


def require_sample(run: str, manifest: Manifest) -> AuditSample:
    """Return the sample that was drawn from a run.

    Raises: RunError: there is none, or it is of another run.
    """
    sample = read_sample(run)
    if sample is None:
        raise RunError("no sample was drawn from it yet", where=run, remedy=_begin(run, manifest))
    require_current(run, sample, manifest)
    return sample


def _begin(run: str, manifest: Manifest) -> str:
    """Return the command with which the certificate of a run begins."""
    draw = f"congener certify {run} --draw 1000 --output audit.jsonl"
    earlier = find_certified_ancestor(manifest)
    if earlier is None or not earlier.is_stated:
        return draw
    return (
        f"carry the certificate of the earlier run over: congener certify {run} --from "
        f"{earlier.folder}; or draw a sample: {draw}"
    )


def find_stated(run: str) -> Certificate:
    """Return the certificate of a run.

    Raises: RunError: nothing was stated about it yet.
    """
    found = read_certificate(run)
    if found is None:
        require_sample(run, load_manifest(run))
        raise RunError(
            "has a sample, but no labels were read yet",
            where=run,
            remedy=f"congener certify {run} --labels FILE",
        )
    return found


def foresee_more(run: str, found: Certificate) -> FurtherRows | None:
    """Return how many rows a missed target needs, if no further row shows a trait.

    It is None if the target is met, or if people read rows of another run.

    Raises: RunError: the sample or the labels are damaged.
    """
    sample = read_sample(run)
    if sample is None or found.met is not False or found.carried is not None:
        return None
    answers = read_stored_answers(run, sample)
    wanted = sample.model_copy(update={"at_most": found.at_most})
    return foresee_further(run, load_manifest(run), wanted, answers)


def find_shown_rows(run: str) -> tuple[TraitedRow, ...]:
    """Return the kept rows of a certified run in which raters saw a trait, or were in doubt.

    A certificate that was carried over has no labels of its own, so there are none.

    Raises: RunError: the sample or the labels are damaged.
    """
    return _find_read(run, find_shown)


def find_clean_rows(run: str) -> tuple[TraitedRow, ...]:
    """Return the removed rows of a certified run in which raters saw no trait, without doubt.

    A certificate that was carried over has no labels of its own, so there are none.

    Raises: RunError: the sample or the labels are damaged.
    """
    return _find_read(run, find_clean)


def _find_read(
    run: str, find: Callable[[AuditSample, list[AuditAnswer]], tuple[TraitedRow, ...]]
) -> tuple[TraitedRow, ...]:
    sample, found = read_sample(run), read_certificate(run)
    if sample is None or found is None or found.carried is not None:
        return ()
    sample = sample.find_part(found.sample) or sample
    return find(sample, read_stored_answers(run, sample))


def _count_waiting(sample: AuditSample, answers: Sequence[AuditAnswer]) -> int:
    """Count the answered items that don't count yet, because an earlier one is unread."""
    counted = sum(
        len(match_answers(sample, answers, kind)) for kind in ("kept", "removed", "seeded")
    )
    return len({answer.id for answer in answers}) - counted
