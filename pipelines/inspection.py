"""`congener inspect`: what a finished run decided, and the quarantined rows with why they are there."""

from __future__ import annotations

import base64
import math
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipelines.display.excerpts import HIDDEN, excerpt, field_text, inert, visible
from pipelines.display.terminal import tabulated
from pipelines.runs.finished import load_run, readable, rows_at, scan, scannable
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.outputs import QUARANTINE_EXTRA, SCORE_DECIMALS
from schemas.policies import DECISIONS
from transforms.identify import NOTHING

FIRED = pl.col("reasons").list.eval(pl.element().struct.field("trait"))
"""The traits that fired on a ledger row."""

SEPARATOR = "\x1f"
NAMES_LISTED = 20
EXEMPLAR = 160
"""Characters shown of an exemplar."""


class Filters(NamedTuple):
    """Which rows to look at: a trait that fired, and names or shell-style patterns of teacher and lot."""

    trait: str | None = None
    teacher: str | None = None
    lot: str | None = None


EVERYTHING = Filters()


class Count(NamedTuple):
    """Rows by decision, trait that fired (None: none did) and teacher; a row counts once for each of its traits."""

    decision: str
    trait: str | None
    teacher: str
    rows: int


class Why(NamedTuple):
    """One reason of a row, with the text it speaks of, the scores of all signals of its trait, and the nearest exemplars."""

    trait: str
    signal: str
    score: float
    threshold: float
    action: str
    segment: str
    start: int
    end: int
    text: str | None
    signals: dict[str, float | None]
    neighbours: list[dict[str, Any]]


class HeldRow(NamedTuple):
    """A quarantined row: where it came from, why it is held, and the record as it was."""

    source: str
    row: int
    record_id: str
    teacher: str
    lot: str
    why: tuple[Why, ...]
    record: dict[str, Any]


class Page(NamedTuple):
    """Some of the quarantined rows that the filters let through, of `total`, in corpus order."""

    total: int
    start: int
    limit: int
    rows: tuple[HeldRow, ...]

    @property
    def following(self) -> int | None:
        """Return where the next page starts, if there is one."""
        end = self.start + self.limit
        return end if self.limit and end < self.total else None

    @property
    def preceding(self) -> int | None:
        """Return where the previous page starts, if there is one."""
        return (
            max(0, min(self.start, self.total) - self.limit)
            if self.limit and self.start and self.total
            else None
        )


def ledger(run: str, manifest: Manifest, filters: Filters = EVERYTHING) -> pl.LazyFrame:
    """Scan the ledger's rows that the filters let through; a teacher or lot that isn't known is called `-`.

    Raises: RunError: No row of the run has the trait, teacher or lot.
    """
    frame = scan(run, manifest, "ledger").with_columns(pl.col("teacher", "lot").fill_null(NOTHING))
    if filters.trait is not None:
        _fitting(filters.trait, "trait", [item.trait for item in manifest.thresholds], str.__eq__)
        frame = frame.filter(FIRED.list.contains(filters.trait))
    for column, wanted in (("teacher", filters.teacher), ("lot", filters.lot)):
        if wanted is not None:
            names = (
                scan(run, manifest, "ledger")
                .select(pl.col(column).fill_null(NOTHING).unique())
                .collect(engine="streaming")
            )
            frame = frame.filter(
                pl.col(column).is_in(_fitting(wanted, column, names[column].to_list(), fnmatchcase))
            )
    return frame


def _fitting(
    wanted: str, kind: str, names: Iterable[str], fits: Callable[[str, str], bool]
) -> list[str]:
    """Return the names that are the wanted one or fit it."""
    known = sorted(names)
    found = [name for name in known if name == wanted or fits(name, wanted)]
    if not found:
        some = "; ".join(inert(name) for name in known[:NAMES_LISTED]) or "none"
        more = f" and {len(known) - NAMES_LISTED} others" if len(known) > NAMES_LISTED else ""
        raise RunError(
            f"no {kind} of this run is called {inert(wanted)!r}",
            remedy=f"{kind}s of this run: {some}{more}",
        )
    return found


def counts(run: str, manifest: Manifest, filters: Filters = EVERYTHING) -> list[Count]:
    """Count rows by decision, trait and teacher."""
    grouped = (
        ledger(run, manifest, filters)
        .group_by("decision", "teacher", FIRED.list.join(SEPARATOR).alias("traits"))
        .agg(pl.len().alias("rows"))
        .select("decision", "teacher", "traits", "rows")
        .collect(engine="streaming")
    )
    tally: Counter[tuple[int, str, str]] = Counter()
    for decision, teacher, traits, rows in grouped.iter_rows():
        for trait in (traits or "").split(SEPARATOR):
            if filters.trait in (None, trait):
                tally[DECISIONS.index(decision), trait, teacher] += rows
    return [
        Count(DECISIONS[place], trait or None, teacher, rows)
        for (place, trait, teacher), rows in sorted(tally.items())
    ]


def quarantined(
    run: str, manifest: Manifest, filters: Filters = EVERYTHING, start: int = 0, limit: int = 5
) -> Page:
    """Read a page of quarantined rows: the ledger says which, and only they are taken out of their files."""
    held = (
        ledger(run, manifest, filters)
        .filter(pl.col("decision") == "quarantine")
        .select("output", "output_row")
    )
    total = held.select(pl.len()).collect(engine="streaming").item()
    chosen = held.slice(start, limit).collect(engine="streaming").rows() if limit else []
    rows: list[HeldRow] = []
    for output, places in groupby(chosen, key=lambda pair: pair[0]):
        records = rows_at(run, output, [place for _, place in places])
        scores = _scores_beside(run, manifest, output, records.values())
        rows += [_held(record, scores) for record in records.values()]
    return Page(total, start, limit, tuple(rows))


def _scores_beside(
    run: str, manifest: Manifest, output: str, records: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Read the scores of some rows of a shard; they stand under the shard's name."""
    keys = [
        (note["source"], note["row"])
        for note in (record[QUARANTINE_EXTRA.name] for record in records)
    ]
    wanted = pl.LazyFrame(keys, schema={"source": pl.String, "row": pl.Int64}, orient="row")
    beside = output.replace("quarantine/", "scores/", 1)
    path = scannable(run, next(item for item in manifest.outputs if item.path == beside))
    found = (
        pl.scan_parquet(path, glob=False).join(wanted, on=["source", "row"], how="semi").collect()
    )
    return {(row["source"], row["row"]): row for row in found.iter_rows(named=True)}


def _held(record: dict[str, Any], scores: Mapping[tuple[str, int], Mapping[str, Any]]) -> HeldRow:
    note = record.pop(QUARANTINE_EXTRA.name)
    mine = scores[note["source"], note["row"]]
    why = tuple(_why(reason, record, mine) for reason in note["reasons"])
    return HeldRow(
        note["source"],
        note["row"],
        note["record_id"],
        note["teacher"] or NOTHING,
        note["lot"] or NOTHING,
        why,
        record,
    )


def _why(reason: Mapping[str, Any], record: Mapping[str, Any], scores: Mapping[str, Any]) -> Why:
    own = f"{reason['trait']}/"
    return Why(
        **{name: reason[name] for name in ("trait", "signal", "action", "segment", "start", "end")},
        score=_rounded(reason["score"]),
        threshold=_rounded(reason["threshold"]),
        text=field_text(record, reason["segment"]),
        signals={
            name.removeprefix(own): None if score is None else _rounded(score)
            for name, score in scores.items()
            if name.startswith(own)
        },
        neighbours=[
            {**near, "similarity": _rounded(near["similarity"])} for near in reason["neighbours"]
        ],
    )


def _rounded(score: float) -> float:
    return round(score, SCORE_DECIMALS)


def look(run: str, filters: Filters, start: int, limit: int) -> tuple[Manifest, list[Count], Page]:
    """Read what an inspection shows: the manifest, counts and a page of quarantined rows.

    Raises: RunError: The run is unfinished, a file of it is missing or damaged, or no row is as the filters want.
    """
    with readable(run):
        manifest = load_run(run)
        page = quarantined(run, manifest, filters, start, limit)
        return manifest, counts(run, manifest, filters), page


def inspect_as_dicts(run: str, filters: Filters, start: int, limit: int) -> dict[str, Any]:
    """Return counts and a page of quarantined rows as JSON has them; texts are whole and unescaped."""
    manifest, found, page = look(run, filters, start, limit)
    rows = [{**row._asdict(), "why": [why._asdict() for why in row.why]} for row in page.rows]
    shown = {
        "run_id": manifest.run_id,
        "filters": filters._asdict(),
        "counts": [count._asdict() for count in found],
        "quarantined": {
            **page._asdict(),
            "next": page.following,
            "previous": page.preceding,
            "rows": rows,
        },
    }
    return {name: _plain(value) for name, value in shown.items()}


def _plain(value: Any) -> Any:
    """Turn what a corpus may hold into JSON's types: bytes into base64, numbers that aren't finite into null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below) for below in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def print_inspection(console: Console, run: str, filters: Filters, start: int, limit: int) -> None:
    """Print counts and a page of quarantined rows."""
    manifest, found, page = look(run, filters, start, limit)
    console.print(render_counts(found, manifest))
    for number, row in enumerate(page.rows, page.start + 1):
        console.print(render_row(row, number, page.total))
    console.print(
        render_end(page, run, filters), soft_wrap=True
    )  # a command that is broken over lines can't be copied


def render_counts(found: Sequence[Count], manifest: Manifest) -> Table:
    """Tabulate counts; names come from the corpus, so each is a Text, in which rich looks for no markup."""
    table = tabulated(
        "decision",
        "trait",
        "teacher",
        "rows>",
        title=f"run {manifest.run_id}: {manifest.conservation.rows_in:,} rows",
    )
    for count in found:
        table.add_row(
            count.decision,
            Text(count.trait or NOTHING),
            Text(inert(count.teacher)),
            f"{count.rows:,}",
        )
    if any(count.trait for count in found):
        table.caption, table.caption_justify = (
            "A row counts once for each trait that fired on it.",
            "left",
        )
    return table


def render_row(row: HeldRow, number: int, total: int) -> Group:
    """Show a quarantined row: its place, then each reason."""
    head = Text.assemble(
        (f"{number:,} of {total:,}", "bold"),
        "  ",
        (f"{inert(row.source)} row {row.row}", "bold"),
        f"  {row.record_id}",
    )
    lot = Text(f"teacher {inert(row.teacher)}   lot {inert(row.lot)}", style="dim")
    return Group(
        head,
        _indented(lot, 2),
        *(_indented(part, 2) for why in row.why for part in _reason(why)),
        "",
    )


def _reason(why: Why) -> Iterator[RenderableType]:
    yield Text.assemble(
        (why.trait, "bold red"),
        f"  score {why.score:.4f} against {why.threshold:.4f} ({why.signal}), {why.action}  ",
        (f"{inert(why.segment)} [{why.start}:{why.end}]", "dim"),
    )
    yield _indented(_marked(why))
    shown = (
        f"{name} {NOTHING if score is None else f'{score:.4f}'}"
        for name, score in why.signals.items()
    )
    yield _indented(Text(f"signals   {'   '.join(shown)}"))
    if why.neighbours:
        yield _indented(_nearest(why.neighbours))


def _nearest(neighbours: Sequence[Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for near in neighbours:
        sign, style = ("like", "red") if near["polarity"] == "positive" else ("unlike", "green")
        table.add_row(
            Text(sign, style),
            Text(f"{near['similarity']:.4f}", style),
            Text(inert(near["text"], EXEMPLAR)),
        )
    return table


def _marked(why: Why) -> Text:
    """Show the text around a span: the span between guillemets and reversed, escapes dim."""
    if why.text is None:
        return Text("(the field isn't in the row)", style="dim")
    text, inside = Text(), False
    for piece in [*excerpt(why.text, why.start, why.end), None]:
        if (piece is not None and piece.marked) != inside:
            inside = not inside
            text.append("«" if inside else "»", "bold red")
        if piece is not None:
            text.append(
                piece.text,
                f"{'bold ' if piece.marked else ''}{'dim italic' if piece.ours else ''}".strip()
                or None,
            )
    return text


def _indented(part: RenderableType, by: int = 4) -> Padding:
    return Padding(part, (0, 0, 0, by), expand=False)


def render_end(page: Page, run: str, filters: Filters) -> Text:
    """Say how many rows there are and how to get to the others."""
    asked = ", of those asked for" if any(filters) else ""
    lines = [f"{page.total:,} {'row is' if page.total == 1 else 'rows are'} in quarantine{asked}."]
    if page.limit and page.total and not page.rows:
        lines.append(f"None of them is at --start {page.start}.")
    for name, start in (("next", page.following), ("previous", page.preceding)):
        if start is not None:
            lines.append(f"{name}: {command(run, filters, start, page.limit)}")
    return Text("\n".join(lines))


def command(run: str, filters: Filters, start: int, limit: int) -> str:
    """Write the command line that shows a page."""
    given = [
        f"--{name}={_shell_word(value)}"
        for name, value in filters._asdict().items()
        if value is not None
    ]
    return " ".join(
        ["congener inspect", _shell_word(run), *given, f"--start {start}", f"--limit {limit}"]
    )


def _shell_word(value: str) -> str:
    """Quote a word for the shell, in bash's `$'…'` where characters have to be written out."""
    if not any(piece.ours for piece in visible(value)):
        return shlex.quote(value)
    spelled = (
        char if unicodedata.category(char) not in HIDDEN else f"\\U{ord(char):08x}"
        for char in re.sub(r"([\\'])", r"\\\1", value)
    )
    return f"$'{''.join(spelled)}'"
