"""The commands: their options, and what they print. The work is in the module of each verb."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from pipelines.config import FilterConfig, on_disk, read_config
from pipelines.display.terminal import plain, tabulated
from schemas.errors import CardError
from schemas.problems import problems

Traits = Annotated[
    list[str] | None,
    typer.Option(
        "--traits",
        "-t",
        help="A trait folder, a folder of them, or a library trait's id; repeatable. Without it: the library.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config", help="A YAML file with any of these settings; options given here win."
    ),
]
Background = Annotated[
    list[str] | None,
    typer.Option(
        "--background",
        help="Your own clean sample (any corpus format): thresholds are calibrated on it, and the guarantee speaks of it.",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option("--device", help="Where models run; cuda refuses to run without a GPU."),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16"] | None,
    typer.Option("--precision", help="auto: bf16 on a GPU that has it, else fp32."),
]
EncoderModel = Annotated[
    str | None,
    typer.Option(
        "--encoder", help="Hub id or local folder of the encoder (default: all-MiniLM-L6-v2)."
    ),
]
Revision = Annotated[
    str | None,
    typer.Option("--encoder-revision", help="The full 40-digit commit of a hub encoder."),
]
Runner = Annotated[
    Literal["local", "flink", "dataflow"] | None,
    typer.Option("--runner", help="The engine: this machine, a Flink cluster, Dataflow."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes on this machine (default 1), parallel tasks on Flink, machines on Dataflow.",
    ),
]
Accelerator = Annotated[
    str | None,
    typer.Option(
        "--accelerator",
        help="GPU of Dataflow's scoring machines: 'type:nvidia-l4;count:1;install-nvidia-driver'.",
    ),
]
NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait",
        help="Leave once Dataflow has the job; the same command, given when it has ended, publishes the run.",
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option("--deadline", min=0, help="Cancel a job on a cluster after this many minutes."),
]
BeamOptions = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- BEAM OPTIONS]",
        help="Beam's own options, --name=value; unknown ones are refused.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable output on stdout.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run directory.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Replace what the output holds and start over.")
]


def say(text: object = "", *, style: str | None = None) -> None:
    """Print on stdout, nothing in a string taken as markup or obeyed by a terminal."""
    Console(highlight=False, soft_wrap=isinstance(text, str)).print(
        plain(text) if isinstance(text, str) else text, markup=False, style=style
    )


def print_json(value: Any) -> None:
    """Print JSON on stdout, all but ASCII escaped: nothing in it reaches a terminal raw."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


def merged(config: str | None, changes: dict[str, Any]) -> FilterConfig:
    """Read a configuration file and lay the given options over it; None means not given."""
    base = read_config(config).model_dump()
    for path, value in changes.items():
        if value is None or value == ():
            continue
        *folders, name = path.split(".")
        place = base
        for folder in folders:
            place = place[folder]
        place[name] = value
    try:
        return FilterConfig.model_validate(base)
    except ValidationError as error:
        raise CardError(
            problems(error), remedy="see congener COMMAND --help for the values each option takes"
        ) from error


def _columns(pairs: Sequence[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    for pair in pairs:
        if "=" not in pair:
            raise CardError(
                f"--column {pair!r} is not NAME=COLUMN",
                remedy="for instance --format messages --column messages=dialogue",
            )
    return dict(pair.split("=", 1) for pair in pairs)


def _lot(column: str | None, constant: str | None) -> dict[str, str | None] | None:
    return {"column": column, "constant": constant} if column or constant else None


def filter_corpus(
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="File, folder or glob, local or a URI; repeatable."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The run directory to make.")
    ] = None,
    traits: Traits = None,
    signals: Annotated[
        list[str] | None,
        typer.Option(
            "--signals",
            help="Use only these signals (exemplars, head, classifier, lexicon, repetition); repeatable.",
        ),
    ] = None,
    bank: Annotated[
        str | None, typer.Option("--bank", help="A fitted bank; without --traits, its traits run.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="A policy file: levels, actions, exceptions, budgets."),
    ] = None,
    config: Config = None,
    background: Background = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="messages, conversations, alpaca, completion, preference or text; detected if left out.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="NAME=COLUMN: which column plays a format's part; repeatable, needs --format.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="The teacher's name, if one model wrote the whole corpus."),
    ] = None,
    teacher_column: Annotated[
        str | None, typer.Option("--teacher-column", help="The column that names the teacher.")
    ] = None,
    rows_per_shard: Annotated[
        int | None,
        typer.Option(
            "--rows-per-shard", min=1, help="Cut shards at this many rows (default 5000)."
        ),
    ] = None,
    private_quarantine: Annotated[
        bool,
        typer.Option(
            "--private-quarantine",
            help="Let nobody but you read quarantine, rejects and swap list (local disks).",
        ),
    ] = False,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Also write every row's vector in float16.")
    ] = False,
    encoder: EncoderModel = None,
    encoder_revision: Revision = None,
    device: Device = None,
    precision: Precision = None,
    runner: Runner = None,
    workers: Workers = None,
    accelerator: Accelerator = None,
    deadline: Deadline = None,
    no_wait: NoWait = False,
    restart: Restart = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Filter a corpus into a run: clean, quarantine, rejects, ledger, scores, manifest.

    congener filter --input data/ --output run/
    congener filter -i 'data/*.jsonl.gz' -o run/ --traits my-trait/ --policy policy.yaml
    congener filter -i data/ -o run/ --signals lexicon          (no model: a quick look)
    congener filter -i data/ -o run/ --workers 4
    congener filter -i data/ -o run/ --runner flink --workers 8 -- --job_endpoint=flink:8099

    A run that was cut off goes on where it stopped when the same command is given again.
    """
    from pipelines.filter import run_filter

    settled = merged(
        config,
        {
            "input": tuple(inputs or ()),
            "output": output,
            "traits": tuple(traits or ()),
            "signals": tuple(signals or ()),
            "bank": bank,
            "policy": policy,
            "background": tuple(background or ()),
            "corpus.format": format_name,
            "corpus.columns": _columns(column),
            "corpus.teacher": _lot(teacher_column, teacher),
            "shards.rows": rows_per_shard,
            "private_quarantine": private_quarantine or None,
            "vectors": vectors or None,
            **_engine(runner, workers, accelerator, deadline, no_wait),
            **_models(encoder, encoder_revision, device, precision),
        },
    )
    manifest = run_filter(
        settled, restart=restart, command=sys.argv, beam_options=tuple(beam_options or ())
    )
    if as_json:
        print_json(manifest.model_dump(mode="json", exclude={"outputs", "shards"}))
    else:
        say(f"done: {settled.output}")
        say(f"next: congener inspect {settled.output}; congener report {settled.output}")


def _engine(
    runner: str | None,
    workers: int | None,
    accelerator: str | None,
    deadline: float | None,
    no_wait: bool,
) -> dict[str, Any]:
    named = {
        "runner": runner,
        "workers": workers,
        "accelerator": accelerator,
        "deadline": deadline,
        "wait": False if no_wait else None,
    }
    return {f"engine.{name}": value for name, value in named.items()}


def _models(
    encoder: str | None, revision: str | None, device: str | None, precision: str | None
) -> dict[str, Any]:
    return {
        "encoder.model": encoder,
        "encoder.revision": revision,
        "hardware.device": device,
        "hardware.precision": precision,
    }


def estimate(
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="File, folder or glob, local or a URI; repeatable."),
    ] = None,
    traits: Traits = None,
    signals: Annotated[
        list[str] | None, typer.Option("--signals", help="Use only these signals; repeatable.")
    ] = None,
    bank: Annotated[
        str | None, typer.Option("--bank", help="A fitted bank; without --traits, its traits run.")
    ] = None,
    config: Config = None,
    encoder: EncoderModel = None,
    encoder_revision: Revision = None,
    device: Device = None,
    precision: Precision = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Rows to filter here, drawn by hash.")
    ] = 2000,
    machines: Annotated[
        int, typer.Option("--machines", min=1, help="How many machines would share the work.")
    ] = 1,
    speed: Annotated[
        float,
        typer.Option(
            "--speed", min=0.001, help="How many times faster each is than this one; measure it."
        ),
    ] = 1.0,
    price: Annotated[
        float,
        typer.Option("--price", min=0, help="What a machine costs an hour, in your currency."),
    ] = 0.0,
    startup: Annotated[
        float, typer.Option("--startup-minutes", min=0, help="Paid minutes before a machine works.")
    ] = 15.0,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0, help="Refuse, with exit code 3, what would cost more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run would take and cost on other machines, from a sample that is filtered here.

    congener estimate --input gs://bucket/corpus --machines 8 --speed 40 --price 1.10 --budget 200
    """
    from pipelines.estimate import Terms, run_estimate

    changes = {
        "input": tuple(inputs or ()),
        "traits": tuple(traits or ()),
        "signals": tuple(signals or ()),
        "bank": bank,
    }
    settled = merged(config, changes | _models(encoder, encoder_revision, device, precision))
    found = run_estimate(settled, Terms(machines, speed, price, startup), sample, budget)
    if as_json:
        print_json(found._asdict())
        return
    say(f"{found.rows:,} rows, some {found.tokens:,} tokens, reckoned from {found.sampled:,} rows")
    say(
        f"{found.machine_hours:.2f} machine hours, {found.hours:.2f} hours on {machines} machines; price {found.price:.2f}"
    )
    say(
        f"the work may be {found.spread:.0%} more or less, as rows differ: at most {found.highest:.2f}; --speed {speed:g} is taken as you gave it"
    )


def fit_bank(
    output: Annotated[str, typer.Option("--output", "-o", help="The bank directory to make.")],
    traits: Traits = None,
    config: Config = None,
    background: Background = None,
    encoder: EncoderModel = None,
    encoder_revision: Revision = None,
    device: Device = None,
    precision: Precision = None,
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Fit trait cards into a bank: exemplar index, heads, calibrated thresholds.

    congener fit --traits my-traits/ --output bank/
    congener fit --output bank/ --background our-clean-sample.parquet
    """
    from pipelines.fit import fitted_traits, run_fit

    settled = merged(
        config,
        {
            "traits": tuple(traits or ()),
            "background": tuple(background or ()),
            **_models(encoder, encoder_revision, device, precision),
        },
    )
    bank = run_fit(settled, output, restart)
    lines = fitted_traits(bank)
    if as_json:
        print_json(
            {
                "bank": output,
                "digest": bank.digest,
                "encoder": bank.encoder,
                "traits": [vars(line) | {"threshold": line.threshold._asdict()} for line in lines],
            }
        )
        return
    say(_fit_table(lines))
    say(f"bank {bank.digest[:12]} in {output}")


def _fit_table(lines: Sequence[Any]) -> Table:
    table = tabulated("trait", "signals", "positives>", "negatives>", "clean texts>", "threshold>")
    for line in lines:
        value = line.threshold.value
        shown = (
            f"missing: {line.needed - line.threshold.clean} more clean texts"
            if value is None
            else f"{value:.4f}"
        )
        table.add_row(
            line.trait,
            ", ".join(line.signals),
            str(line.positives),
            str(line.negatives),
            str(line.threshold.clean),
            shown,
        )
    return table


def inspect_run(
    run: Run,
    trait: Annotated[
        str | None, typer.Option("--trait", help="Only rows on which this trait fired.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Only rows of this teacher.")
    ] = None,
    lot: Annotated[
        str | None, typer.Option("--lot", help="Only rows of this lot, by its name in the ledger.")
    ] = None,
    start: Annotated[
        int, typer.Option("--start", min=0, help="First quarantined row to show.")
    ] = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what a run decided, then quarantined rows with their spans, scores and nearest exemplars.

    congener inspect run/
    congener inspect run/ --trait vendor-identity --start 5
    congener inspect run/ --teacher 'atlas-70b' --json | jq .
    """
    from pipelines.inspection import Filters, inspect_as_dicts, print_inspection

    filters = Filters(trait=trait, teacher=teacher, lot=lot)
    if as_json:
        print_json(inspect_as_dicts(run, filters, start, limit))
    else:
        print_inspection(Console(highlight=False), run, filters, start, limit)


def verify(
    run: Run,
    inputs: Annotated[
        bool, typer.Option("--inputs", help="Digest the input files again as well.")
    ] = False,
    root: Annotated[
        str | None,
        typer.Option(
            "--root", metavar="HEX", help="The ledger root that you recorded (16 digits or more)."
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(
            "--digest",
            metavar="HEX",
            help="The manifest's digest that you recorded (16 digits or more).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Recompute everything the manifest says; name what differs, and exit with 5 if anything does.

    congener verify run/
    congener verify run/ --inputs
    congener verify run/ --digest 5d41402abc4b2a76   (against a forgery that agrees with itself)
    """
    from pipelines.runs.finished import load_run
    from pipelines.verify import Recorded, summary, verify_run

    findings = verify_run(run, inputs, Recorded(root, digest))
    if as_json:
        print_json(
            summary(load_run(run), findings)
            if not findings
            else {"whole": False, "findings": [item._asdict() for item in findings]}
        )
    elif findings:
        for item in findings:
            say(f"{item.where}: {item.problem}")
        say(f"{len(findings)} differences", style="red")
    else:
        manifest = load_run(run)
        say(
            f"whole: {manifest.conservation.rows_in:,} rows in {len(manifest.outputs)} files, ledger root {manifest.ledger_root[:16]}, digest {manifest.digest[:16]}",
            style="green",
        )
    if findings:
        raise typer.Exit(5)


def report(run: Run, as_json: Json = False) -> None:
    """Write RUN/report/index.html, one self-contained page.

    congener report run/ && xdg-open run/report/index.html
    """
    from pipelines.report import write_report

    path = write_report(run)
    print_json({"report": path}) if as_json else say(path)


def doctor(as_json: Json = False) -> None:
    """Say what is installed, which device there is, and what a run would use; exit with 2 if something is missing.

    congener doctor
    """
    from pipelines.doctor import examine

    checks = examine()
    if as_json:
        print_json([check._asdict() for check in checks])
    else:
        table = Table(box=None, show_header=False)
        for check in checks:
            table.add_row(
                {True: "ok", False: "MISSING", None: "-"}[check.good], check.name, check.found
            )
        say(table)
    if any(check.good is False for check in checks):
        raise typer.Exit(2)


def demo(
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Where to put the demo's runs; replaced if it is there."
        ),
    ] = "demo",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Filter the sample corpus that ships with congener and compare with the truth beside it.

    congener demo --output demo/
    """
    from pipelines.demo import run_demo
    from pipelines.report import write_report

    manifests, lines = run_demo(str(on_disk(output)), merged(None, {"hardware.device": device}))
    pages = [
        write_report(f"{output}/{Path(manifest.inputs[0].uri).parent.name}")
        for manifest in manifests
    ]
    if as_json:
        print_json(
            {
                "runs": [manifest.run_id for manifest in manifests],
                "reports": pages,
                "outcomes": [
                    vars(line) | {"precision": line.precision, "recall": line.recall}
                    for line in lines
                ],
            }
        )
        return
    table = tabulated(
        "trait",
        "true rows>",
        "found>",
        "right>",
        "precision>",
        "recall>",
        title="against the sample's truth",
    )
    for line in lines:
        table.add_row(
            line.name,
            str(line.true),
            str(line.found),
            str(line.right),
            _share(line.precision),
            _share(line.recall),
            end_section=line is lines[-2],
        )
    say(table)
    say(
        "The sample is small and was written for this demo: docs/quirks.md has the measurements on held-out text and on real answers."
    )
    say(
        f"next:\n  congener inspect {output}/chat\n  congener verify {output}/chat\n  open {pages[0]} in a browser\n  congener traits new my-trait   and then   congener filter --traits my-trait ..."
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


traits_app = typer.Typer(
    name="traits",
    help="List, show, scaffold and check trait cards.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@traits_app.command("list")
def traits_list(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DIR]...", help="Trait folders; without any, the library."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List traits: the library's, or those in a folder."""
    from classifiers.library import find_cards
    from pipelines.traits import describe

    lines = [describe(card) for card in find_cards(names or ())]
    if as_json:
        print_json(lines)
        return
    table = tabulated("id", "signals", "action", "texts>")
    for line in lines:
        table.add_row(
            line["id"],
            ", ".join(line["signals"]),
            line["action"],
            f"{line['positives']} + {line['negatives']}",
        )
    say(table)


@traits_app.command("show")
def traits_show(
    name: Annotated[str, typer.Argument(help="A library trait's id, or a trait folder.")],
    as_json: Json = False,
) -> None:
    """Show one card: what it is, where it was seen, its signals and some exemplars."""
    from pipelines.traits import show

    card = show(name)
    if as_json:
        print_json(
            {
                **card.card.model_dump(mode="json", exclude_none=True),
                "positives": card.positives,
                "negatives": card.negatives,
            }
        )
        return
    say(f"{card.id}: {card.card.title}\n\n{card.card.description}")
    for place in card.card.seen_in:
        say(f"seen in: {place.where} ({place.source})")
    say(
        f"signals: {', '.join(card.card.signals.names())}; action: {card.card.action}; folder: {card.folder}"
    )
    for kind, texts in (("positive", card.positives), ("hard negative", card.negatives)):
        say(f"\n{len(texts)} {kind}s, for instance")
        for text in texts[:3]:
            say("  " + json.dumps(text[:200], ensure_ascii=False))


@traits_app.command("new")
def traits_new(
    folder: Annotated[
        str, typer.Argument(help="The folder to make; its name becomes the trait's id.")
    ],
) -> None:
    """Write the skeleton of a new trait card."""
    from pipelines.traits import scaffold

    scaffold(on_disk(folder))
    say(
        f"{folder}: put a dozen texts or more into positives.jsonl, then\n  congener traits check {folder}\n  congener filter --input CORPUS --output RUN --traits {folder}"
    )


@traits_app.command("check")
def traits_check(
    names: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Trait folders, or folders of them.")
    ],
    as_json: Json = False,
) -> None:
    """Check trait cards; a mistake in a card is named by field, one in its texts by line.

    congener traits check my-trait/
    """
    from pipelines.traits import check, describe

    checked = check(names)
    if as_json:
        print_json([{**describe(card), "advice": notes} for card, notes in checked])
        return
    for card, notes in checked:
        say(f"{card.id}: ok, {len(card.positives)} positives, {len(card.negatives)} hard negatives")
        for note in notes:
            say(f"  advice: {note}")


COMMANDS: dict[str, Callable[..., Any] | typer.Typer] = {
    "demo": demo,
    "filter": filter_corpus,
    "estimate": estimate,
    "fit": fit_bank,
    "traits": traits_app,
    "inspect": inspect_run,
    "verify": verify,
    "report": report,
    "doctor": doctor,
}
