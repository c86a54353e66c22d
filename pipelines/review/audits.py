"""One reviewer's session over the items of an audit, which are read blind and in their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.certifying.masked_passages import MaskedPassage, list_stretches, read_masked
from pipelines.certifying.prospects import foresee_further
from pipelines.certifying.records import require_current
from pipelines.certifying.reviews import read_review
from pipelines.certifying.statements import bound_at_best, trace_residual
from pipelines.display.excerpts import build_whole, escape_name
from pipelines.label_files import is_table, read_entries
from pipelines.review.effects import AUDIT, describe_traits
from pipelines.review.endings import describe_end, list_audit_steps
from pipelines.review.judgements import ITEM_NAMES, LabelBook, name_file, read_lines
from pipelines.review.private_files import make_private
from pipelines.review.requests import LabelRequest, parse_label, parse_number
from pipelines.review.rows import write_pieces
from pipelines.runs.manifest_file import load_manifest
from schemas.certificates import AuditSample
from schemas.errors import CardError
from schemas.notices import choose_form, format_count

BLOCK = 20
"""After how many items the page shows the bound again. Shown after each item, it would say whether
that item was kept, removed or mixed in; so labels that are in a shown bound can't be changed."""

ITEMS_LISTED = 500


STRUCK_OUT = "struck-out text is masked and counts as removed: label what isn't struck out"


class SheetItem(NamedTuple):
    """An item as a label file shows it."""

    id: str
    prompt: str
    answer: str
    masked: tuple[MaskedPassage, ...] = ()


class AuditSession:
    """The items, the labels and the bound of one reviewer's part in an audit."""

    blind = True

    def __init__(
        self, run: str, sample: AuditSample, sheet: Path, folder: Path, reviewer: str
    ) -> None:
        """Read a label file that the draw wrote, and what the reviewer has labelled before.

        Raises: CardError: the label file isn't of the sample, or the reviewer's was changed.
        Raises: RunError: the sample is of another run.
        """
        self.run, self.reviewer, self.sample = run, reviewer, sample
        self.manifest, self.sheet = load_manifest(run), sheet
        require_current(run, sample, self.manifest)
        self.items = list(read_items(sheet, sample))
        make_private(folder)
        path = folder / name_file(reviewer, "audit")
        self.book = LabelBook(path, reviewer, sample.origin, ITEM_NAMES)
        self._in_sight = set(self._find_in_sight(folder))
        self._shown = self._measure()

    def _find_in_sight(self, folder: Path) -> Iterator[str]:
        """Yield the items whose rows the reviewer labelled in sight of scores and decisions."""
        lines = read_lines(folder / name_file(self.reviewer), self.manifest.digest)
        seen = {(line["source"], line["row"]) for line in lines if not line.get("blind")}
        return (item.id for item in self.sample.items if (item.source, item.row) in seen)

    def list_done(self) -> list[str]:
        """Return the items with a label for every trait, in the order of reading."""
        labels = self.book.list_labels()
        return [
            item.id
            for item in self.items
            if all((item.id, 0, trait) in labels for trait in self.sample.traits)
        ]

    def _measure(self) -> dict[str, Any]:
        """Return the bound by the reviewer's labels, in full blocks of items."""
        done = len(self.list_done())
        found: dict[str, Any] = {
            "after": done - done % BLOCK,
            "read": 0,
            "rows": self.sample.kept,
            "bound": 1.0,
            "adjusted": None,
            "target": self.sample.at_most,
            "curve": [],
        }
        if not found["after"]:
            return found
        settled = set(self.list_finished()[: found["after"]])
        known, _ = read_review(self.book.path, self.manifest, self.sample)
        answers = [answer for answer in known if answer.id in settled]
        residual, curve = trace_residual(self.sample, answers)
        bounds = {"bound": residual.bound, "adjusted": residual.adjusted}
        points = [[point.read, point.bound, point.adjusted] for point in curve]
        return {**found, "read": residual.read, **bounds, "curve": points}

    def describe_audit(self) -> dict[str, Any]:
        """Return how many items are done, the first that isn't, and the bound."""
        done = self.list_done()
        known = set(done)
        places = (at for at, item in enumerate(self.items) if item.id not in known)
        if len(done) // BLOCK != self._shown["after"] // BLOCK:
            self._shown = self._measure()
        return {
            "done": len(done),
            "next": next(places, 0),
            "block": BLOCK,
            "in_sight": len(self._in_sight),
            **self._shown,
        }

    def describe_run(self) -> dict[str, Any]:
        """Return what the page needs once."""
        return {
            "run": escape_name(Path(self.run).name or self.run),
            "run_id": self.manifest.run_id,
            "reviewer": self.reviewer,
            "blind": True,
            "traits": list(self.sample.traits),
            "definitions": describe_traits(self.manifest),
            "effect": self._describe_effect(),
            "labels": len(self.book),
            "rows": len(self.items),
            "withdrawn": self.manifest.withdrawn,
            "progress": self.describe_progress(),
            "audit": self.describe_audit(),
        }

    def _describe_effect(self) -> str:
        """Say what a label does, and what to label if some items have masked passages."""
        has_masks = any(item.masked for item in self.items)
        return f"{AUDIT}; {STRUCK_OUT}" if has_masks else AUDIT

    def describe_progress(self) -> dict[str, Any]:
        """Say that no text is still to be read."""
        return {"done": 0, "of": 0, "problem": "", "ready": True}

    def list_rows(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Return how many items there are, and the numbers of a part of them, in order.

        `labelled` in a request selects items that are done, or those that aren't.

        Raises: CardError: a number isn't one.
        """
        start, wanted = parse_number(given.get("start", "0"), "start"), given.get("labelled")
        done = set(self.list_done())
        rows = [
            at
            for at, item in enumerate(self.items)
            if not wanted or (item.id in done) == (wanted == "yes")
        ]
        part = rows[start : start + ITEMS_LISTED]
        return {"total": len(rows), "start": start, "rows": part}

    def describe_row(self, index: int, _trait: str | None = None) -> dict[str, Any]:
        """Return an item's texts, and the reviewer's labels of it.

        Raises: CardError: there is no such item.
        """
        item = self._get_item(index)
        labels = [
            {name: line.get(name) for name in ("trait", "label", "reason", "time")}
            for (name, _, _), line in self.book.list_labels().items()
            if name == item.id
        ]
        texts = (
            ("before the answer", "prompt", item.prompt),
            ("answer", "answer", item.answer),
        )
        fields = [
            {
                "path": "",
                "roles": [role],
                "pieces": write_pieces(build_whole(text, (), list_stretches(item.masked, name))),
            }
            for role, name, text in texts
            if text
        ]
        name = f"item {item.id}"
        found = {"index": index, "source": name, "row": None, "fields": fields}
        return {**found, "notes": [], "labels": labels}

    def _get_item(self, index: int) -> SheetItem:
        if not 0 <= index < len(self.items):
            raise CardError(f"the audit has no item {index}", where="index")
        return self.items[index]

    def describe_company(self, _index: int) -> dict[str, Any]:
        """Refuse to show an item's lot.

        Raises: CardError: always.
        """
        raise CardError("an audit shows no decisions", where="lot")

    def describe_map(self, _given: Mapping[str, str]) -> dict[str, Any]:
        """Refuse to show where items lie among the run's rows.

        Raises: CardError: always.
        """
        raise CardError("an audit has no map", where="map")

    def add_label(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Label an item for a trait, and return what was kept.

        `none` says of every trait without a label that the item doesn't show it.

        Raises: CardError: the request isn't one for a label, the bound was shown with an earlier
            label of the item, or the file was changed.
        Raises: StorageError: the file can't be written.
        """
        is_none = given.get("label") == "none"
        wanted = {**given, "label": "no"} if is_none else given
        request = parse_label(wanted, self.sample.traits)
        item = self._get_item(request.row)
        if item.id in self._list_settled():
            raise CardError(
                "the bound was shown with this item's label, so a change wouldn't be blind",
                where=f"item {item.id}",
                remedy="let another reviewer label it, too",
            )
        for trait in self._list_unlabelled(item) if is_none else [request.trait]:
            self._add(item, trait, request)
        done = all((item.id, 0, trait) in self.book.list_labels() for trait in self.sample.traits)
        return {
            "index": request.row,
            "trait": request.trait,
            "labels": len(self.book),
            "whole": done,
            "audit": self.describe_audit(),
        }

    def describe_end(self, _given: Mapping[str, str]) -> dict[str, Any]:
        """Return how many labels there are, how many items aren't done, and the next command."""
        left = len(self.items) - len(self.list_done())
        more = None if left else self._find_larger_draw()
        steps = list_audit_steps(self.run, self.book, self.sheet, more)
        end = describe_end(self.book, steps, left, len(self.items))
        return {**end, "note": self._describe_missed(left)}

    def _describe_missed(self, left: int) -> str:
        """Say that the target isn't met while items are unread, and whether reading them may help.

        Only labels in the shown bound count, so the answer says nothing more about any item.
        """
        shown, target = self._shown, self.sample.at_most
        reached = shown["bound"] if shown["adjusted"] is None else shown["adjusted"]
        if target is None or not left or reached <= target:
            return ""
        settled = set(self._list_settled())
        known, _ = read_review(self.book.path, self.manifest, self.sample)
        answers = [answer for answer in known if answer.id in settled]
        kept, seeded = (
            sum(item.kind == kind for item in self.sample.items) for kind in ("kept", "seeded")
        )
        best = bound_at_best(self.sample, kept, seeded, answers=answers).decisive
        may = "; reading all would show it, if no other row has a trait" if best <= target else ""
        items = format_count(left, "item")
        verb = choose_form(left, "is", "are")
        return (
            f"The target isn't met yet, and {items} {verb} left to read{may}. "
            "Each statement stays in the run's history."
        )

    def _find_larger_draw(self) -> int | None:
        """Return the smallest draw that reaches a missed target, or None if there is none."""
        if self.sample.at_most is None:
            return None
        answers, _ = read_review(self.book.path, self.manifest, self.sample)
        found = foresee_further(self.run, self.manifest, self.sample, answers)
        return found.needed if found.needed and found.needed > found.drawn else None

    def _add(self, item: SheetItem, trait: str, request: LabelRequest) -> None:
        blind = {} if item.id in self._in_sight else {"blind": True}
        names = {"id": item.id}
        self.book.add(names, trait, request.verdict, request.reason, picked=False, **blind)

    def _list_unlabelled(self, item: SheetItem) -> list[str]:
        labels = self.book.list_labels()
        return [trait for trait in self.sample.traits if (item.id, 0, trait) not in labels]

    def _list_settled(self) -> Sequence[str]:
        """Return the items whose labels are in a bound that was shown."""
        return self.list_finished()[: self._shown["after"]]

    def list_finished(self) -> list[str]:
        """Return the items with a label for every trait, in the order in which that happened."""
        left = {item.id: set(self.sample.traits) for item in self.items}
        finished = []
        for name, _, trait in self.book.list_labels():
            left[name].discard(trait)
            if not left[name]:
                finished.append(name)
        return finished

    def undo(self) -> dict[str, Any]:
        """Take the last label back, and return which item and trait it was about.

        Raises: CardError: there is no label, the bound was shown with it, or the file was changed.
        Raises: StorageError: the file can't be written.
        """
        last = self.book.peek()
        if last is None:
            raise CardError("there is no label to take back", where="undo")
        if last["id"] in self._list_settled():
            raise CardError("the bound was shown with this label, so it stays", where="undo")
        self.book.undo()
        index = next(at for at, item in enumerate(self.items) if item.id == last["id"])
        return {
            "index": index,
            "trait": last["trait"],
            "labels": len(self.book),
            "audit": self.describe_audit(),
        }


def read_items(sheet: Path, sample: AuditSample) -> Iterator[SheetItem]:
    """Read the items of a label file that the draw wrote.

    Raises: CardError: a line isn't an item of the sample, or the file lists none.
    """
    known, count = {item.id for item in sample.items}, 0
    for place, fields in () if is_table(sheet) else read_entries(sheet):
        name, answer = fields.get("id"), fields.get("answer")
        if name not in known or not isinstance(answer, str):
            raise CardError(
                "isn't an item of the run's sample",
                where=f"{sheet} {place}",
                remedy="name the label file that congener certify --draw wrote for this run",
            )
        count += 1
        prompt = str(fields.get("prompt") or "")
        masked = read_masked(fields, f"{sheet} {place}")
        yield SheetItem(str(name), prompt, answer, masked)
    if not count:
        raise CardError(
            "lists no items",
            where=str(sheet),
            remedy="name the JSON Lines that congener certify --draw wrote",
        )
