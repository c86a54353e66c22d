"""`congener judge`: options and output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Quiet, Run, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table
from schemas.errors import CardError
from schemas.notices import choose_form, format_count, suggest_name
from schemas.scores import NEAR_MISS

if TYPE_CHECKING:
    from pipelines.judge import Judged
    from transforms.endpoints import Spending

Traits = Annotated[
    list[str] | None,
    typer.Option("--trait", help="Only this trait; repeatable (default: all traits of the run)."),
]
Url = Annotated[
    str,
    typer.Option(
        "--endpoint", metavar="URL", help="The base URL of an OpenAI-compatible endpoint."
    ),
]
Model = Annotated[str, typer.Option("--model", help="The name of the model there.")]
Key = Annotated[
    str | None,
    typer.Option("--key-from", metavar="NAME", help="The environment variable with the key."),
]
Labels = Annotated[
    str,
    typer.Option("--labels", metavar="FILE", help="The file of labels (JSON Lines) to add to."),
]
Near = Annotated[
    float,
    typer.Option(
        "--near", min=0, max=1, help="Ask about rows up to this far below the threshold, too."
    ),
]
MaxRows = Annotated[
    int | None, typer.Option("--max-rows", min=1, help="The largest number of requests.")
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="The largest number of tokens.")
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="The most money; needs --prices.")
]
PricePair = Annotated[
    tuple[float, float] | None,
    typer.Option("--prices", help="The prices of a million tokens, of prompts and of replies."),
]
Threads = Annotated[int, typer.Option("--threads", min=1, max=256, help="Requests at a time.")]
Seconds = Annotated[float, typer.Option("--timeout", min=1, help="Seconds for a reply.")]


class Verdicts(NamedTuple):
    """What became of the rows, and what it cost."""

    judged: Sequence[Judged]
    spending: Spending
    labels: str
    run: str

    def render(self) -> Iterator[Table | str]:
        """Return a table of the traits, what is missing, and what to do next."""
        table = build_table(
            "trait", "rows>", "labelled before>", "true>", "false>", "unsure>", "none>"
        )
        for item in self.judged:
            counts = (item.labels[name] for name in ("yes", "no", "unsure"))
            none = item.unusable.total() + item.left
            cells = (item.rows, item.known, *counts, none)
            table.add_row(item.trait, *(f"{cell:,}" for cell in cells))
        yield table
        for item in self.judged:
            for reason, count in sorted(item.unusable.items()):
                yield f"{item.trait}: {format_count(count, 'row')} without a label: {reason}"
            if item.left:
                verb = choose_form(item.left, "wasn't", "weren't")
                yield (
                    f"{item.trait}: {format_count(item.left, 'row')} {verb} asked about, because "
                    "of a limit; the same command with a higher limit goes on"
                )
        yield describe_spending(self.spending)
        yield f"labels: {self.labels}"
        yield (
            "A model's labels are an opinion: read some of them before you rely on them. Next: "
            f"congener traits eval TRAIT --run {self.run} --labels {self.labels}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the spending."""
        traits = [
            {
                "trait": item.trait,
                "rows": item.rows,
                "labelled_before": item.known,
                "labels": dict(item.labels),
                "without_label": dict(item.unusable),
                "not_asked": item.left,
            }
            for item in self.judged
        ]
        return {"traits": traits, "spending": self.spending._asdict(), "labels": self.labels}


def describe_spending(spending: Spending) -> str:
    """Describe requests, tokens and cost, and what was cached or estimated."""
    tokens = spending.prompt_tokens + spending.reply_tokens
    text = f"{format_count(spending.requests, 'request')}, {format_count(tokens, 'token')}"
    if spending.cost is not None:
        text += f", cost {spending.cost:.4f}"
    if spending.remembered:
        text += f"; {format_count(spending.remembered, 'reply', 'replies')} from the cache"
    if spending.estimated:
        text += (
            f"; the endpoint didn't count the tokens of {spending.estimated:,}, so the most "
            "possible is assumed"
        )
    return text


def judge_rows(
    run: Run,
    url: Url,
    model: Model,
    labels: Labels,
    traits: Traits = None,
    near: Near = NEAR_MISS,
    max_rows: MaxRows = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    prices: PricePair = None,
    key_from: Key = None,
    threads: Threads = 4,
    seconds: Seconds = 120,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask a language model about rows near or above a threshold.

    The prompt and the answer of each such row are sent to the endpoint, with the card's
    description. The replies become labels, with a probability and a quotation from the answer, for
    `congener traits eval` and `congener fit --labels`. They change no decision. Rows that the file
    lists without a label come first. Replies are cached, so the same command goes on where it
    stopped.

    congener judge RUN --endpoint http://localhost:8000/v1 --model qwen3-8b
      --labels judged.jsonl --max-rows 500
    congener judge RUN --trait over-refusal --endpoint https://host/v1 --model big
      --key-from API_KEY --labels judged.jsonl --prices 0.5 1.5 --max-cost 2
    """
    from pipelines.config import require_local_path
    from pipelines.judge import judge_trait, plan_rows
    from pipelines.labels import append_lines, require_outside, require_usable
    from pipelines.runs.cache import get_cache_folder
    from transforms.endpoints import ChatClient, Endpoint, Limits, Prices, read_key

    limits = Limits(max_rows, max_tokens, max_cost)
    if limits == Limits():
        raise CardError(
            "a limit is needed, since every row costs time or money",
            where="congener judge",
            remedy="add --max-rows, --max-tokens or --max-cost",
        )
    path, cache = require_local_path(expand_argument(labels)), get_cache_folder()
    endpoint = Endpoint(url, model, read_key(key_from), seconds, prices and Prices(*prices))
    client = ChatClient(endpoint, limits, cache and cache / "replies")
    chosen = _choose_traits(run, traits or ())
    require_outside(run, path)
    require_usable(path, "")
    append_lines(path, ())  # a file that can't be added to is refused before any request
    listener, judged = _report(quiet=quiet), []
    for trait in chosen:
        plan = plan_rows(run, trait, path, near)
        judged.append(judge_trait(plan, client, model, path, threads, listener))
    print_result(Verdicts(judged, client.spending, str(Path(labels)), run), as_json)


def _choose_traits(run: str, wanted: Sequence[str]) -> Sequence[str]:
    """Return the wanted traits, or by default all traits of the run."""
    from pipelines.runs.manifest_file import load_manifest

    names = [item.trait for item in load_manifest(run).thresholds]
    if unknown := [trait for trait in wanted if trait not in names]:
        raise CardError(
            f"the run didn't look for {unknown[0]!r}",
            where="--trait",
            remedy=f"{suggest_name(unknown[0], names)}its traits are {', '.join(names)}",
        )
    return wanted or names


def _report(*, quiet: bool) -> Any:
    from pipelines.display.terminal import open_console, print_text
    from schemas.events import Event, Noticed

    console = open_console(stderr=True)

    def listen(event: Event) -> None:
        if isinstance(event, Noticed) and not quiet:
            print_text(console, event.notice.text)

    return listen
