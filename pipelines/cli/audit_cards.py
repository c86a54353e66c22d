"""`congener traits from-audit`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipelines.cli.options import Json, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.auditing.cards import AuditCard

AuditFolder = Annotated[
    str,
    typer.Argument(metavar="DIR", help="The folder of a finished audit.", callback=expand_argument),
]
FindingNumber = Annotated[
    int,
    typer.Option(
        "--finding",
        metavar="N",
        min=1,
        help="The finding's number, as in the report and in audit.json, from 1.",
    ),
]
CardFolder = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The folder to create; its name becomes the trait's id (default: the finding's "
        "words, in the working directory).",
    ),
]


class AuditCardResult(NamedTuple):
    """A card that was written."""

    written: AuditCard

    def render(self) -> Iterator[str | Verbatim]:
        """Return what was written, how well its pattern does, and what to do next."""
        written = self.written
        positives = format_count(written.positives, "positive")
        negatives = format_count(written.negatives, "hard negative")
        signals = ", ".join(written.card.signals.names)
        yield Verbatim(f"{written.folder}: {positives}, {negatives}, signals {signals}")
        if written.shown:
            yield (
                f"held out: its pattern is in {written.found} of {written.shown} texts with the "
                f"finding, and in {written.mistaken} of {written.others} without it"
            )
        if written.card.caution:
            yield f"caution: {written.card.caution}"
        folder = shlex.quote(str(written.folder))
        yield Verbatim(
            f"read its texts, then\n  congener traits check {folder}\n"
            f"  congener filter --input CORPUS --output RUN --traits {folder}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the card's numbers."""
        return self.written.to_json()


def write_card_from_audit(
    audit: AuditFolder, number: FindingNumber, output: CardFolder = None, as_json: Json = False
) -> None:
    """Write a trait card from a finding of an audit.

    Positives are texts of the corpus that show the finding. Hard negatives are texts that don't:
    the reference's answers to the same prompts, texts with the finding's rarest words, and others.
    Only the half in which the finding was looked for is used; heldout.jsonl has texts of the other.

    congener traits from-audit audit/ --finding 1
    congener traits from-audit audit/ --finding 3 --output traits/mind-the-gap
    """
    from pipelines.auditing.cards import write_audit_card
    from pipelines.config import require_local_path

    folder = require_local_path(expand_argument(output)) if output else None
    print_result(AuditCardResult(write_audit_card(audit, number, folder)), as_json)
