"""The output of `congener certify`: what was drawn, and what a certificate states."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from pipelines.cli.output import style
from pipelines.display.terminal import Verbatim, build_table
from schemas.notices import choose_form, format_count
from schemas.shares import format_bound, format_exact, format_interval, format_percent

if TYPE_CHECKING:
    from rich.text import Text

    from pipelines.certify import DrawnSample
    from pipelines.certifying.answers import TraitedRow
    from pipelines.certifying.prospects import FurtherRows
    from pipelines.certifying.reviews import ReviewCount
    from schemas.certificates import (
        Certificate,
        PastStatement,
        ShareBound,
        ShareEstimate,
        TraitStatement,
    )

METHODS = {"its errors": "rogan_gladen", "and labels": "predictions", "labels": "audit"}
"""How the share of rows with a trait is estimated, in a few words: from the filter's findings and
its known errors, from its findings and the labels, and from the labels alone."""


MOST_ROWS = 20
"""How many rows with a trait are named on the terminal."""


class DrawResult(NamedTuple):
    """A sample that was drawn, and the options that decide its seeded texts."""

    run: str
    drawn: DrawnSample
    positives: tuple[str, ...] = ()
    seeded: int | None = None

    def render(self) -> Iterator[str | Text]:
        """Say what was drawn, what it can show at best, and what to do with the file."""
        sample, path = self.drawn.sample, self.drawn.path
        counts = {
            kind: sum(item.kind == kind for item in sample.items)
            for kind in ("kept", "removed", "seeded")
        }
        yield (
            f"sample: {counts['kept']:,} of {format_count(sample.kept, 'kept row')}, "
            f"{counts['removed']:,} of {sample.removed:,} removed, {counts['seeded']:,} seeded; "
            f"digest {sample.digest[:16]}"
        )
        rows = counts["kept"] + counts["removed"]
        yield (
            f"in all {format_count(rows + counts['seeded'], 'item')}: "
            f"{format_count(rows, 'row')} of the run and "
            f"{format_count(counts['seeded'], 'seeded text')}, known to show a trait"
        )
        yield from self._describe_prospect()
        from pipelines.certifying.prospects import warn_of_dashes

        if warning := warn_of_dashes(sample):
            yield style(warning, "yellow")
        yield from self._describe_statement()
        if sample.pool and not sample.shows_prompts:
            yield (
                f"no prompts are shown, because {sample.describe_bare_texts()} have none and would "
                'stand out: give at least 10 of their positives a "prompt", or --positives FILE'
            )
        added, listed = len(self.drawn.added), len(sample.items)
        written = f"{format_count(added, 'item')} written to {path}"
        if added < listed:
            written = f"{format_count(added, 'item')} added to {path}, {listed:,} in the file"
        yield (
            f"{written}, in the order of reading. Set each `label`: the traits that it shows, none "
            "or unsure"
        )
        if masked := self.drawn.masked:
            verb = choose_form(masked, "has", "have")
            yield (
                f"{format_count(masked, 'kept row')} {verb} masked passages, which raters see "
                "struck out: they label what isn't struck out, because masked text counts as "
                "removed"
            )
        run, file = shlex.quote(self.run), shlex.quote(path)
        yield Verbatim(
            f"next: congener review {run} --certify {file}\n"
            f"  or: congener certify {run} --labels {file} --ask"
        )

    def _describe_prospect(self) -> Iterator[str | Text]:
        """Say which bound the draw can show at best, and how many rows its target needs."""
        found, target = self.drawn.prospect, self.drawn.sample.at_most
        finds = ", and raters find every seeded text" if self.drawn.sample.pool else ""
        one, two = map(format_bound, found.hits)
        even = ""
        if target is not None and found.best <= target and found.enough:
            even = f"; a draw of {found.enough:,} rows reaches {format_exact(target)} even then"
        yield (
            f"at best, this draw shows at most {format_bound(found.best)}: if no drawn kept row "
            f"shows a trait{finds}; up to {one} if one does, up to {two} if two do{even}"
        )
        if target is None or found.best <= target:
            return
        share = format_exact(target)
        if found.rows is None:
            text = f"that isn't at most {share}: even a draw of {found.tried:,} rows is too small"
        else:
            run, file = shlex.quote(self.run), shlex.quote(self.drawn.path)
            text = (
                f"that isn't at most {share}, so this draw can't reach the target: draw at least "
                f"{format_count(found.rows, 'row')} ({format_count(found.items or 0, 'item')}), "
                f"and more if mistakes are likely: congener certify {run} --draw {found.rows} "
                f"--output {file}{self._repeat_options()}"
            )
        yield style(text, "yellow")

    def _describe_statement(self) -> Iterator[Text]:
        """Say what became of the run's certificate, if it had one."""
        if self.drawn.statement == "stays":
            yield style(
                "the run's certificate stays until the next statement replaces it; what was read "
                "still counts, and a certificate that was carried over is then of the earlier "
                "statement",
                "yellow",
            )
        if self.drawn.statement == "removed":
            yield style(
                "the run's certificate was removed, because this is a new sample; its line stays "
                "in the history. Runs that carry it over fail congener verify until one is stated "
                "and carried over again",
                "yellow",
            )

    def _repeat_options(self) -> str:
        """Return the options without which a larger draw would have other seeded texts."""
        words = [word for path in self.positives for word in ("--positives", shlex.quote(path))]
        if self.seeded is not None:
            words += ["--seeded", str(self.seeded)]
        return "".join(f" {word}" for word in words)

    def to_json(self) -> dict[str, Any]:
        """Return the sample without its items, which a rater mustn't know."""
        fields = self.drawn.sample.model_dump(mode="json", exclude={"items", "pool", "excluded"})
        prospect = self.drawn.prospect._asdict()
        own = {"added": len(self.drawn.added), "labels": self.drawn.path, "prospect": prospect}
        return {**fields, **own}


class CertificateResult(NamedTuple):
    """What a certificate states, and the files in which it is written."""

    certificate: Certificate
    waiting: int = 0
    reviews: tuple[ReviewCount, ...] = ()
    history: tuple[PastStatement, ...] = ()
    files: tuple[str, ...] = ()
    shown: tuple[TraitedRow, ...] = ()
    run: str = ""
    further: FurtherRows | None = None
    """How many rows a missed target needs, if no further row shows a trait."""
    clean: tuple[TraitedRow, ...] = ()

    def render(self) -> Iterator[str | Table | Text]:
        """Return the figure to sign and its files, then the statements, tables and limits."""
        found = self.certificate
        statements = (found.together, *found.traits) if len(found.traits) > 1 else found.traits
        yield style(describe_figure(found), "bold")
        if self.files:
            yield Verbatim(f"written in {' and in '.join(map(shlex.quote, self.files))}")
        yield from describe_residual(found)
        yield from self.describe_earlier()
        table = build_table("trait", "read>", "show it>", "seen ≤>", "raters find>", "adjusted ≤>")
        for item in statements:
            table.add_row(*tabulate_residual(item, several=len(statements) > 1))
        yield table
        yield from self.describe_shown()
        yield from self.describe_clean_rows()
        yield from self.describe_dashes()
        if found.carried is None:
            yield from self.describe_shares(statements)
        removing = [item for item in statements if item.clean_removed.rows] or statements[:1]
        for item in removing:
            yield describe_clean(name_statement(item), item.clean_removed)
        for item in statements:
            if item.agreement is not None:
                yield describe_agreement(item)
        for review in self.reviews:
            yield Verbatim(review.describe())
        if self.waiting:
            yield (
                f"{format_count(self.waiting, 'label')} after the first unread item of a kind "
                "don't count yet"
            )
        yield from found.limits
        last = self.history[-1].digest[:16] if self.history else "missing"
        yield (
            f"certificate {found.digest[:16]} about the run {found.run_id}; "
            f"its line in the history: {last}"
        )
        if found.met is not None:
            words = "at most" if found.met else "not shown to be at most"
            share = format_exact(found.at_most or 0)
            text = f"the share of kept rows with a trait is {words} {share}"
            yield style(f"{text}{self._describe_further()}", "green" if found.met else "red")

    def _describe_further(self) -> str:
        """Say how many more rows reach a missed target, or that no number does."""
        found, more = self.certificate, self.further
        if found.met is False and found.carried is not None:
            folder = shlex.quote(found.carried.folder)
            return (
                "; to lower the bound, take out rows that show a trait, or let somebody who has "
                f"seen no findings read more rows of {folder}, and carry it over again"
            )
        if more is None:
            return ""
        if more.needed is None:
            return (
                ", and no number of rows reaches that: raters saw a trait in too many, or missed "
                "too many seeded texts. Take rows out that show it (congener decide, an exception "
                "for each), and carry the certificate over"
            )
        if more.needed <= more.drawn:
            return f"; reading all {more.drawn:,} drawn rows would show it, if no other has a trait"
        rows = format_count(more.needed - more.drawn, "more row", "more rows")
        return (
            f"; {rows} would show it, if none of them has a trait: congener certify "
            f"{shlex.quote(self.run)} --draw {more.needed} --output FILE, the label file of the "
            "draw"
        )

    def describe_shares(self, statements: Sequence[TraitStatement]) -> Iterator[str | Table]:
        """Return the table of shares before and after, and which rows "before" leaves out."""
        table = build_table("share with the trait", "estimated by", "before", "after")
        shown = [item for item in statements if not (item.trait and item.is_empty)]
        shown = shown or list(statements[:1])
        for item in shown:
            for cells in tabulate_prevalence(item):
                table.add_row(*cells)
        yield table
        if left := len(statements) - len(shown):
            yield f"{format_count(left, 'trait')} at 0.00% before and after: --json lists them"
        from pipelines.certifying.prospects import explain_hidden_shares

        if hidden := explain_hidden_shares(self.certificate):
            yield hidden
        if self.certificate.unread:
            yield describe_left_out(self.certificate.unread)

    def describe_shown(self) -> Iterator[Verbatim]:
        """Name the kept rows that count as showing a trait: whoever read them is blind no more."""
        if not self.shown:
            return
        from pipelines.row_exceptions import write_exception

        count = format_count(len(self.shown), "kept row")
        verb = choose_form(len(self.shown), "counts", "count")
        first = self.shown[0]
        trait = first.traits[0] if first.traits else None
        taken = write_exception(f"{first.source}:{first.row}", trait, action="quarantine")
        yield Verbatim(f"{count} {verb} as showing a trait; a policy takes one out by {taken}:")
        yield from _list_rows(self.shown)

    def describe_clean_rows(self) -> Iterator[Verbatim]:
        """Name the removed rows in which raters saw no trait, with the traits that removed them."""
        if not self.clean:
            return
        from pipelines.row_exceptions import write_exception

        count = format_count(len(self.clean), "removed row")
        verb = choose_form(len(self.clean), "shows", "show")
        kept = write_exception(f"{self.clean[0].source}:{self.clean[0].row}")
        yield Verbatim(f"{count} {verb} no trait; a policy keeps one by {kept}:")
        yield from _list_rows(self.clean)

    def describe_dashes(self) -> Iterator[str]:
        """Say why single traits have no adjusted bound, if some don't."""
        from pipelines.certifying.prospects import explain_dashes

        if sentence := explain_dashes(self.certificate):
            yield sentence

    def describe_earlier(self) -> Iterator[Text]:
        """Say from which run the certificate is carried over, and which statements came before."""
        from pipelines.certifying.histories import describe_carried, describe_history

        found = self.certificate
        for sentence in (describe_carried(found), describe_history(found, self.history)):
            if sentence:
                yield style(sentence, "yellow")

    def to_json(self) -> dict[str, Any]:
        """Return the certificate."""
        fields = self.certificate.model_dump(mode="json")
        return {
            **fields,
            "met": self.certificate.met,
            "waiting": self.waiting,
            "reviews": [review._asdict() for review in self.reviews],
            "history": [line.model_dump(mode="json") for line in self.history],
            "files": self.files,
            "shown": [row._asdict() for row in self.shown],
            "clean": [row._asdict() for row in self.clean],
            "further": self.further and self.further._asdict(),
        }


def _list_rows(rows: Sequence[TraitedRow]) -> Iterator[Verbatim]:
    """Name the first of some rows, and count the others."""
    yield from (Verbatim(f"  {row.describe()}") for row in rows[:MOST_ROWS])
    if left := len(rows[MOST_ROWS:]):
        yield Verbatim(f"  {format_count(left, 'row')} more: --json lists them")


def name_statement(item: TraitStatement) -> str:
    """Return the trait's name, or `any trait`."""
    return item.trait or "any trait"


def describe_figure(found: Certificate) -> str:
    """Name the figure that whoever signs the run signs, in one line."""
    residual, names = found.together.residual, [item.trait or "" for item in found.traits]
    what = names[0] if len(names) == 1 else f"any of the {len(names)} traits"
    seen = ", as far as raters see it" if residual.adjusted is None else ""
    masks = ", if the trainer applies the masks" if found.reading else ""
    return (
        f"to sign: at most {format_bound(found.together.decisive)} of the {residual.rows:,} kept "
        f"rows show {what}, with {format_exact(1 - found.risk)} confidence{seen}{masks}"
    )


def describe_residual(found: Certificate) -> Iterator[str]:
    """Say in a sentence what share of the kept rows shows a trait at most."""
    residual, sure = found.together.residual, format_exact(1 - found.risk)
    names = [item.trait or "" for item in found.traits]
    what = f"any of the {len(names)} traits of the audit ({', '.join(names)})"
    what = names[0] if len(names) == 1 else what
    read = f" {residual.read:,} of them were read."
    yield (
        f"With {sure} confidence, at most {format_bound(found.together.decisive)} of the "
        f"{residual.rows:,} kept rows show {what}"
        + (", as far as raters see it." if residual.adjusted is None else ".")
        + ("" if found.carried else read)
        + (f" {found.reading}" if found.reading else "")
        + ("" if found.carried else " You may stop at any time, or read on.")
    )


def tabulate_residual(item: TraitStatement, *, several: bool = False) -> tuple[str, ...]:
    """Return the table cells of a residual rate; one of `several` traits may have no own bound."""
    residual, finds = item.residual, item.sensitivity
    unsure = f" ({residual.unsure} of them unsure)" if residual.unsure else ""
    return (
        name_statement(item),
        f"{residual.read:,}",
        f"{residual.counted:,}{unsure}",
        format_bound(residual.bound),
        "not measured"
        if finds is None
        else f"{finds.found}/{finds.read} (≥ {format_percent(finds.lowest, 0)})",
        "-"
        if residual.adjusted is None or (several and item.trait and not item.is_bounded)
        else format_bound(residual.adjusted),
    )


def tabulate_prevalence(item: TraitStatement) -> Iterator[tuple[str, ...]]:
    """Yield the table rows of a trait's share of rows, by each way that the data allows."""
    pairs = {
        name: (getattr(item.before, field, None), getattr(item.after, field, None))
        for name, field in METHODS.items()
    }
    known = {name: pair for name, pair in pairs.items() if pair != (None, None)}
    for number, (name, pair) in enumerate(known.items()):
        yield ("" if number else name_statement(item), name, *map(describe_estimate, pair))


def describe_left_out(unread: int) -> str:
    """Say that the shares before the filter leave dropped rows out."""
    rows, are = format_count(unread, "dropped row"), choose_form(unread, "isn't", "aren't")
    return (
        f"before: of the rows whose text the run holds; {rows} {are} among them, so the true "
        "shares before the filter may be higher. With the action quarantine, a run holds the text"
    )


def describe_estimate(found: ShareEstimate | None) -> str:
    """Return an estimate and its interval, or a dash."""
    if found is None:
        return "-"
    return f"{format_percent(found.estimate)} ({format_interval(found.low, found.high)})"


def describe_clean(name: str, found: ShareBound) -> str:
    """Say what share of the removed rows was clean at most."""
    if not found.rows:
        return f"{name}: the run holds no removed row that could be read"
    if found.carried is not None:
        own, most = found.carried, found.most
        verb, shared = choose_form(most, "is", "are"), found.rows - own.added
        others = f", and {own.new:,} of {format_count(own.added, 'other')}" if own.added else ""
        return (
            f"{name}: {'at most ' if most else ''}{most:,} of {found.rows:,} removed "
            f"{choose_form(found.rows, 'row', 'rows')} {verb} clean: "
            f"{own.count_shared(found.rows):,} of {shared:,} that the earlier run removed too "
            f"({found.read:,} of its {own.rows:,} were read){others}"
        )
    if not found.read:
        rest = (
            "the only removed row wasn't"
            if found.rows == 1
            else "none of the {:,} removed rows was"
        )
        return f"{name}: {rest.format(found.rows)} read"
    share = format_bound(found.most / found.rows)
    rest = f"so at most {found.most:,} of the {found.rows:,} are ({share})"
    which = "removed rows" if found.read == found.rows else "removed rows that were read"
    end = "; all of them were read" if found.read == found.rows else f", {rest}"
    if found.unsure:
        read = format_count(found.read, "removed row")
        was = (
            ""
            if found.read == found.rows
            else f" that {choose_form(found.read, 'was', 'were')} read"
        )
        return f"{name}: of {read}{was}, {found.describe_counted('clean')}{end}"
    verb = choose_form(found.counted, "is", "are")
    return f"{name}: {found.counted:,} of {found.read:,} {which} {verb} clean{end}"


def describe_agreement(item: TraitStatement) -> str:
    """Say how raters agree."""
    found = item.agreement
    if found is None:
        return ""
    kappa, alpha = (
        "undefined" if value is None else f"{value:.2f}" for value in (found.kappa, found.alpha)
    )
    return (
        f"{name_statement(item)}: {len(found.raters)} raters on {found.items} shared items, kappa "
        f"{kappa}, Krippendorff's alpha {alpha}"
    )
