"""`congener traits`: the options and output of its commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.audit_cards import write_card_from_audit
from pipelines.cli.evaluation import evaluate_trait
from pipelines.cli.options import Json, expand_argument, expand_arguments
from pipelines.cli.output import print_result, say
from pipelines.cli.thresholds import list_thresholds
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError
from schemas.notices import format_count, list_names

if TYPE_CHECKING:
    from classifiers.clean_text import CleanRow
    from classifiers.library import LoadedCard
    from pipelines.signal_worth import TraitWorth
    from pipelines.traits import CheckedCard

EXAMPLES = 3
"""How many texts of each kind `show` prints."""
EXAMPLE_CHARACTERS = 200

app = typer.Typer(
    name="traits",
    help="Create, check, show and evaluate trait cards.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DIR]...",
        help="Trait folders (default: the library).",
        callback=expand_arguments,
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        help="The id of a library trait, a trait folder, or the name of a clean text.",
        callback=expand_argument,
    ),
]
NewFolder = Annotated[
    str,
    typer.Argument(
        help="The folder to create; its name becomes the trait's id.", callback=expand_argument
    ),
]
Folders = Annotated[
    list[str],
    typer.Argument(
        metavar="DIR...", help="Trait folders, or folders of them.", callback=expand_arguments
    ),
]

FittedBank = Annotated[
    str | None,
    typer.Option(
        "--bank", help="A bank with these cards; the exemplars that it doesn't find are listed."
    ),
]


BankOfCard = Annotated[
    str | None,
    typer.Option("--bank", help="A bank with this card; shows what each signal is worth."),
]


class TraitList(NamedTuple):
    """A short list of cards."""

    cards: Sequence[dict[str, Any]]

    def render(self) -> Iterator[Table | str]:
        """Return a table of the cards, a table of what they detect, and what is optional."""
        table, meanings = (
            build_table("id", "signals", "action", "texts>"),
            build_table("id", "finds"),
        )
        for card in self.cards:
            texts = f"{card['positives']} + {card['negatives']}"
            table.add_row(card["id"], ", ".join(card["signals"]), card["action"], texts)
            meanings.add_row(card["id"], card["summary"])
        yield table
        yield meanings
        if optional := [card["id"] for card in self.cards if card["optional"]]:
            yield (
                f"{list_names(optional)}: optional, so a run looks for it only if --traits names "
                f"it: --traits library --traits {optional[0]}"
            )

    def to_json(self) -> Sequence[dict[str, Any]]:
        """Return the cards."""
        return self.cards


class TraitPage(NamedTuple):
    """One card in full."""

    card: LoadedCard
    worth: TraitWorth | None = None

    def render(self) -> Iterator[str | Table]:
        """Return the card's fields, a few of its texts, and what its signals are worth."""
        loaded, card = self.card, self.card.card
        paragraphs = (" ".join(text.split()) for text in card.description.split("\n\n"))
        yield "\n\n".join([f"{loaded.id}: {card.title}", *paragraphs])
        if card.caution:
            yield f"\ncaution: {card.caution}"
        for item in card.seen_in:
            yield f"\nseen in: {item.where} ({item.source})"
        yield (
            f"\nsignals: {', '.join(card.signals.names)}; action: {card.action}; "
            f"folder: {loaded.folder}"
        )
        for kind, texts in (("positive", loaded.positives), ("hard negative", loaded.negatives)):
            yield f"\n{len(texts)} {kind}s, for example"
            reads_end = card.scope.closing is not None
            for text in texts[:EXAMPLES]:
                shown = text[-EXAMPLE_CHARACTERS:] if reads_end else text[:EXAMPLE_CHARACTERS]
                yield "  " + json.dumps(shown, ensure_ascii=False)
        if card.learns_from_exemplars:
            from pipelines.traits import describe_library_negatives

            yield f"\n{describe_library_negatives(loaded)}"
        yield from self.worth.render() if self.worth else [self._explain_worth()]

    def _explain_worth(self) -> str:
        """Return the commands that show what the signals are worth."""
        from classifiers.library import is_shipped

        loaded = self.card
        name = loaded.id if is_shipped(loaded.folder) else shlex.quote(str(loaded.folder))
        return (
            f"\nto see what each signal is worth: congener fit --traits {name} --output BANK, then "
            f"congener traits show {name} --bank BANK"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the card with all of its texts."""
        return {
            **self.card.card.model_dump(mode="json", exclude_none=True),
            "positives": self.card.positives,
            "negatives": self.card.negatives,
            **({"worth": self.worth.to_json()} if self.worth else {}),
        }


class CleanTextPage(NamedTuple):
    """A clean text of the library, whole."""

    text: CleanRow

    def render(self) -> Iterator[str]:
        """Return what the text is, and its answers."""
        row = self.text
        whose = {
            "positive": f"a positive of {row.origin}",
            "negative": f"a hard negative of {row.origin}",
        }.get(row.polarity, "a conversation of the background")
        yield f"{row.name}: {whose}, clean text for other traits\n"
        yield "\n\n".join(row.texts)

    def to_json(self) -> dict[str, Any]:
        """Return the text's name, origin and answers."""
        return {"name": self.text.name, **self.text._asdict()}


class TraitCheck(NamedTuple):
    """Valid cards, with advice on each one."""

    checked: Sequence[CheckedCard]

    def render(self) -> Iterator[str]:
        """Return a line for each card, its advice, and its clean texts that score high."""
        for card, notes, high in self.checked:
            positives, negatives = len(card.positives), len(card.negatives)
            texts = format_count(positives, "positive"), format_count(negatives, "hard negative")
            yield f"{card.id}: ok, {', '.join(texts)}"
            yield from (f"  advice: {note}" for note in notes)
            yield from map(Verbatim, high.describe() if high else ())

    def to_json(self) -> list[dict[str, Any]]:
        """Return short descriptions of the cards, with the advice."""
        from pipelines.traits import describe_card

        return [
            {**describe_card(card), "advice": notes}
            | ({"high_clean_texts": high.to_json()} if high else {})
            for card, notes, high in self.checked
        ]


@app.command("list")
def list_traits(names: Names = None, as_json: Json = False) -> None:
    """List the library's traits, or those in a folder.

    Optional traits of the library come last; a run looks for them only if it names them.
    """
    from classifiers.library import find_cards, find_optional_cards
    from pipelines.traits import describe_card

    cards = find_cards(names) if names else [*find_cards(), *find_optional_cards()]
    print_result(TraitList([describe_card(card) for card in cards]), as_json)


@app.command("show")
def show_trait(name: Name, bank: BankOfCard = None, as_json: Json = False) -> None:
    """Show a card and a few of its texts.

    With a bank that the card was fitted into, it also shows what each signal is worth: how many
    held-out positives it finds alone, and how many the other signals find without it. The name of a
    clean text, as `congener fit` lists it, shows the text whole.

    congener traits show over-refusal
    congener traits show my-trait/ --bank bank/
    congener traits show background/9e663a26d7f6
    """
    from pipelines.traits import find_card, find_clean_text

    if text := find_clean_text(name):
        if bank:
            raise CardError(
                "is a clean text, whose signals no bank has",
                where=name,
                remedy="leave --bank out, or name a trait",
            )
        print_result(CleanTextPage(text), as_json)
        return
    card, worth = find_card(name), None
    if bank:
        from pipelines.signal_worth import read_worth  # loads torch, which is slow

        worth = read_worth(card, expand_argument(bank))
    print_result(TraitPage(card, worth), as_json)


@app.command("new")
def create_trait(folder: NewFolder) -> None:
    """Create the skeleton of a trait card."""
    from pipelines.config import require_local_path
    from pipelines.traits import create_card

    create_card(require_local_path(folder))
    say(
        f"{folder}: describe the trait in card.yaml, write about 30 texts to positives.jsonl and "
        "texts that only look like it to negatives.jsonl, then\n"
        f"  congener traits check {folder}\n"
        f"  congener filter --input CORPUS --output RUN --traits {folder}"
    )


@app.command("check")
def check_traits(names: Folders, bank: FittedBank = None, as_json: Json = False) -> None:
    """Check trait cards, and give advice on them.

    An error names the field of a card, or the line of a text. With a bank that the cards were
    fitted into, the advice names the exemplars that the bank doesn't find, and the last lines are
    a list for card.yaml of the library's clean texts that raise the threshold.

    congener traits check my-trait/
    congener traits check my-trait/ --bank bank/
    """
    from pipelines.traits import check_cards

    print_result(TraitCheck(check_cards(names, bank and expand_argument(bank))), as_json)


app.command("from-audit")(write_card_from_audit)
app.command("thresholds")(list_thresholds)
app.command("eval")(evaluate_trait)
