"""`congener swap`: options and output."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from pipelines.cli.filter import EngineOptions
from pipelines.cli.options import (
    BeamOptions,
    Json,
    Options,
    Quiet,
    Restart,
    Run,
    Setting,
    expand_argument,
    expand_arguments,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.cli.swap_results import RequestsResult, SwapResult
from pipelines.display.terminal import open_console, print_text
from schemas.errors import CardError, RunError
from transforms.files import storage

if TYPE_CHECKING:
    from pipelines.config import FilterConfig
    from pipelines.swap import Asking, SwapConfig
    from schemas.swaps import BatchRequests

REPLY_TOKENS = 4_096
"""The most tokens of an answer by default. A longer one is cut off, and not used."""

FARTHEST = 0.999
"""The largest distance of `--near`; at 1, prompts have no words in common."""


@dataclass(frozen=True)
class SwapOptions(Options):
    """The new run's folder, and the donors."""

    heading = "Input and output"

    output: Annotated[
        str | None,
        Setting("output"),
        typer.Option("--output", "-o", help="The new run's folder; it is created if needed."),
    ] = None
    donors: Annotated[
        list[str] | None,
        typer.Option(
            "--donor",
            metavar="[NAME=]CORPUS",
            help="Another teacher's answers, in any format that filter reads; repeatable. For "
            "each prompt, the first donor with a clean answer is used.",
        ),
    ] = None
    shares: Annotated[
        list[str] | None,
        typer.Option(
            "--share",
            metavar="NAME=SHARE",
            help="The share of the answers that a donor gives, instead of an order; repeatable, "
            "and the shares add up to 1. What a donor can't answer, others do.",
        ),
    ] = None
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="ACTION",
            help="Replace the rows that this action holds back, swap or quarantine; repeatable "
            "(default: swap). A run doesn't keep the text of dropped rows.",
        ),
    ] = None
    spans: Annotated[
        bool,
        typer.Option(
            "--spans",
            help="Replace only the sentences that carry a trait, where the donor's answer has a "
            "counterpart, and mask the others.",
        ),
    ] = False
    near: Annotated[
        float | None,
        typer.Option(
            "--near",
            metavar="DISTANCE",
            min=0,
            max=FARTHEST,
            help="Also use answers to prompts this near, as 1 minus the Jaccard similarity of "
            "their word 3-grams in the last message (default: the same prompt only).",
        ),
    ] = None


@dataclass(frozen=True)
class RequestOptions(Options):
    """Requests for answers, and what comes back."""

    heading = "Asking a model"

    requests: Annotated[
        str | None,
        typer.Option(
            "--requests",
            metavar="FILE",
            help="Only write the waiting prompts as requests for --model, for OpenAI's Batch "
            "API or vllm run-batch.",
        ),
    ] = None
    answers: Annotated[
        list[str] | None,
        typer.Option(
            "--answers",
            metavar="FILE",
            help="The output of such a batch; its answers are a donor's, after every --donor.",
        ),
    ] = None
    url: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="Ask --model behind an OpenAI-compatible endpoint for all waiting prompts.",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="The name of the model. With a donor, what still waits is also written as "
            "requests for it, to swaplist/ of the new run.",
        ),
    ] = None
    reply_tokens: Annotated[
        int, typer.Option("--reply-tokens", min=1, help="The most tokens of an answer.")
    ] = REPLY_TOKENS
    key_from: Annotated[
        str | None,
        typer.Option("--key-from", metavar="NAME", help="The environment variable with the key."),
    ] = None
    max_rows: Annotated[
        int | None, typer.Option("--max-rows", min=1, help="The largest number of requests.")
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="The largest number of tokens.")
    ] = None
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", min=0, help="The most money; needs --prices.")
    ] = None
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--prices", help="The prices of a million tokens, of prompts and replies."),
    ] = None
    threads: Annotated[
        int, typer.Option("--threads", min=1, max=256, help="Requests at a time.")
    ] = 4
    seconds: Annotated[float, typer.Option("--timeout", min=1, help="Seconds for a reply.")] = 120


@dataclass(frozen=True)
class SwapFileOptions(Options):
    """How the new run is written."""

    heading = "How the run is written"

    operator: Annotated[
        str | None,
        Setting("operator"),
        typer.Option("--operator", help="The person responsible for the run (default: the user)."),
    ] = None
    private_quarantine: Annotated[
        bool,
        Setting("private_quarantine", True),
        typer.Option(
            "--private-quarantine",
            help="Let only the owner read quarantine, rejects and swap list (local disks).",
        ),
    ] = False
    digest_key: Annotated[
        str | None,
        Setting("digest_key"),
        typer.Option(
            "--digest-key", metavar="FILE|env:NAME", help="The key, if the run's digests are keyed."
        ),
    ] = None


@dataclass(frozen=True)
class DeviceOptions(Options):
    """The models' device."""

    heading = "Models"

    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        Setting("hardware.device"),
        typer.Option("--device", help="The device that models run on; cuda needs a GPU."),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        Setting("hardware.precision"),
        typer.Option(
            "--precision", help="auto means bf16 on a GPU that supports it, and fp32 elsewhere."
        ),
    ] = None


@spread_groups
def swap_answers(
    run: Run,
    swap: SwapOptions,
    asking: RequestOptions,
    files: SwapFileOptions,
    device: DeviceOptions,
    engine: EngineOptions,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Put other teachers' answers in place of held ones.

    The new run is RUN with clean answers of the donors in the places of the rows that wait for a
    swap. RUN itself stays as it is. Donors are filtered first, with RUN's bank and policy, and no
    answer is used on which any trait fires. A donor's row replaces one row at most. What has no
    donor stays in quarantine and on the swap list. If a swap is interrupted, the same command
    resumes it.

    congener swap run/ --donor other-teacher.jsonl --output run2/
    congener swap run/ --donor best=a.parquet --donor b.parquet -o run2/
    congener swap run/ --donor a.jsonl --donor b.jsonl
      --share a=0.7 --share b=0.3 -o run2/
    congener swap run/ --donor others/ --replace quarantine -o run2/
    congener swap run/ --donor others/ --near 0.2 -o run2/
    congener swap run/ --donor others/ --spans -o run2/
    congener swap run/ --donor others/ --model other-model -o run2/
    congener swap run2/ --requests batch.jsonl --model other-model
    congener swap run2/ --answers batch-output.jsonl -o run3/
    congener swap run2/ --endpoint http://localhost:8000/v1 --model other
      --max-rows 500 -o run3/
    """
    if asking.requests is not None:
        _write_requests(run, asking, as_json)
        return
    settings = read_settings(None, swap, files, device, engine)
    replace = _check_options(run, swap, asking)

    from pipelines.early_checks import check_output, check_run

    check_run(run)
    check_output(settings.output)

    from pipelines.display.progress import TerminalReporter
    from pipelines.swap import run_swap

    config = _build_config(run, swap, asking, replace, settings)
    found = _open_endpoint(asking)
    with TerminalReporter(quiet) as listener:
        manifest = run_swap(config, restart, sys.argv, beam_options or (), listener, found)
    if found is not None and not quiet:
        _print_spending(found)
    if as_json or not quiet:
        print_result(SwapResult(settings.output, manifest), as_json)


def _build_config(
    run: str,
    swap: SwapOptions,
    asking: RequestOptions,
    replace: tuple[Any, ...],
    settings: FilterConfig,
) -> SwapConfig:
    """Return the settings of a swap.

    Raises: CardError: the model has no name.
    """
    from pipelines.swap import SwapConfig
    from pipelines.swap_donors import read_shares

    return SwapConfig(
        run=run,
        donors=tuple(swap.donors or ()),
        answers=tuple(expand_arguments(asking.answers)),
        replace=replace,
        near=swap.near,
        spans=swap.spans,
        shares=read_shares(swap.shares or ()),
        requests=_settle_requests(asking),
        filter=settings,
    )


def _settle_requests(asking: RequestOptions) -> BatchRequests | None:
    """Return how waiting prompts are written as requests, or None without a model.

    Raises: CardError: the model has no name, or one that can't be printed.
    """
    from schemas.swaps import BatchRequests

    if asking.model is None:
        return None
    if not asking.model.strip():
        raise CardError("is empty", where="--model", remedy="give the name of the model")
    if not asking.model.isprintable():
        problem = f"{asking.model!r} can't be printed"
        raise CardError(problem, where="--model", remedy="give the name of the model")
    return BatchRequests(model=asking.model, reply_tokens=asking.reply_tokens)


def _print_spending(found: Asking) -> None:
    from pipelines.cli.judge import describe_spending

    print_text(open_console(stderr=True), describe_spending(found.client.spending))


def _check_options(run: str, swap: SwapOptions, asking: RequestOptions) -> tuple[Any, ...]:
    """Return the actions whose rows are replaced.

    Raises: CardError: an option is missing, or an action isn't one of them.
    """
    from schemas.swaps import ReplacedAction

    if asking.url and (swap.donors or asking.answers):
        raise CardError(
            "asks about every prompt that waits in RUN, also about those that a donor answers",
            where="--endpoint",
            remedy="swap with the donors first, and then swap the new run with --endpoint",
        )
    if not (swap.output and (swap.donors or asking.answers or asking.url)):
        raise CardError(
            "a donor is needed" if swap.output else "--output is needed",
            where="congener swap",
            remedy=f"congener swap {shlex.quote(run)} --donor CORPUS --output RUN2",
        )
    found = tuple(dict.fromkeys(swap.replace or ("swap",)))
    if unknown := [action for action in found if action not in get_args(ReplacedAction)]:
        raise CardError(
            f"{unknown[0]!r} isn't an action whose rows can be replaced",
            where="--replace",
            remedy=f"the actions are {' and '.join(get_args(ReplacedAction))}",
        )
    return found


def _write_requests(run: str, asking: RequestOptions, as_json: bool) -> None:
    """Write the waiting prompts as requests.

    Raises: CardError: the model's name is missing. Raises: RunError: no prompt waits.
    """
    if asking.model is None:
        raise CardError(
            "the requests need the name of a model",
            where="--requests",
            remedy="add --model NAME",
        )
    from pipelines.early_checks import check_run

    check_run(run)

    from pipelines.runs.request_files import encode_batch, list_requests

    requests = list_requests(run)
    if not requests:
        raise RunError(
            "has no complete prompt on its swap list",
            where=run,
            remedy="only rows with the action swap wait for another teacher",
        )
    path = expand_argument(asking.requests or "")
    storage.write_bytes(path, encode_batch(requests, asking.model, asking.reply_tokens))
    print_result(RequestsResult(path, len(requests), run), as_json)


def _open_endpoint(asking: RequestOptions) -> Asking | None:
    """Return the client of an endpoint, or None without one.

    Raises: CardError: the model or a limit is missing, or a setting is wrong.
    """
    if asking.url is None:
        return None
    if asking.model is None:
        raise CardError(
            "needs the name of the model", where="--endpoint", remedy="add --model NAME"
        )
    from pipelines.runs.cache import get_cache_folder
    from pipelines.swap import Asking
    from transforms.endpoints import ChatClient, Endpoint, Limits, Prices, read_key

    limits = Limits(asking.max_rows, asking.max_tokens, asking.max_cost)
    if limits == Limits():
        raise CardError(
            "a limit is needed, since every answer costs time or money",
            where="--endpoint",
            remedy="add --max-rows, --max-tokens or --max-cost",
        )
    prices = asking.prices and Prices(*asking.prices)
    key = read_key(asking.key_from)
    endpoint = Endpoint(asking.url, asking.model, key, asking.seconds, prices)
    cache = get_cache_folder()
    client = ChatClient(endpoint, limits, cache and cache / "replies")
    return Asking(client, asking.model, asking.reply_tokens, asking.threads)
