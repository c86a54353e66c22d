"""`congener apply-masks`: options and output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim
from schemas.errors import CardError

if TYPE_CHECKING:
    from pipelines.apply_masks import AppliedMasks

Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", help="The folder for the tokens; must be empty.", callback=expand_argument
    ),
]
Tokenizer = Annotated[
    str,
    typer.Option(
        "--tokenizer",
        help="The folder or the hub id of the model that you train.",
        callback=expand_argument,
    ),
]
Revision = Annotated[
    str | None, typer.Option("--tokenizer-revision", help="The commit of a hub tokenizer.")
]
Template = Annotated[
    str | None,
    typer.Option("--chat-template", help="A file that replaces the tokenizer's chat template."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", min=1, help="Truncate rows that have more tokens than this."),
]
LeaveOut = Annotated[
    bool,
    typer.Option(
        "--leave-out",
        help="Leave out and list rows that the template refuses, instead of stopping.",
    ),
]
Parquet = Annotated[
    bool,
    typer.Option(
        "--parquet",
        help="Write a Parquet file for each clean file, in the same folders and splits, with the "
        "corpus's other columns, for load_dataset.",
    ),
]


Arm = Annotated[
    str | None,
    typer.Option("--arm", help="Take the rows of this arm; RUN is then a trial's output."),
]


class MasksResult(NamedTuple):
    """Applied masks, and the folder with the tokens."""

    applied: AppliedMasks
    output: str
    parquet: bool = False

    def render(self) -> Iterator[str]:
        """Yield what has been written and what a trainer needs, line by line."""
        from pipelines.apply_masks import (
            describe_applied,
            describe_exceptions,
            describe_trainers,
        )

        yield from describe_applied(self.applied, self.output)
        yield from map(Verbatim, describe_exceptions(self.applied))
        yield from map(Verbatim, describe_trainers(self.applied, self.output, parquet=self.parquet))

    def to_json(self) -> dict[str, Any]:
        """Return the folder and all counts."""
        return {"output": self.output, **asdict(self.applied)}


def apply_run_masks(
    run: Run,
    output: Output,
    tokenizer: Tokenizer,
    revision: Revision = None,
    chat_template: Template = None,
    max_tokens: MaxTokens = None,
    leave_out: LeaveOut = False,
    parquet: Parquet = False,
    arm: Arm = None,
    as_json: Json = False,
) -> None:
    """Write clean rows as tokens, with masks left out of the loss.

    TRL, Axolotl and LLaMA-Factory read the output as it is. The label is -100 on every token that
    overlaps a mask, and on everything that the assistant didn't say.

    congener apply-masks run/ --output tokens/ --tokenizer Qwen/Qwen3-0.6B
    congener apply-masks run/ -o tokens/ --tokenizer student/ --max-tokens 4096
    congener apply-masks run/ -o tokens/ --tokenizer student/ --parquet
    congener apply-masks trial/ --arm swap -o tokens/ --tokenizer student/
    """
    from pipelines.early_checks import check_output, check_run

    if arm is None:
        check_run(run)
    elif parquet:
        raise CardError(
            "--parquet has no effect on an arm, whose rows are in no folders",
            where="congener apply-masks",
            remedy="leave it out",
        )
    check_output(output)

    from pipelines.apply_masks import MaskSettings, apply_masks
    from pipelines.display.progress import TerminalReporter

    template = chat_template and expand_argument(chat_template)
    settings = MaskSettings(output, tokenizer, revision, template, max_tokens, leave_out, parquet)
    with TerminalReporter(work="apply masks") as listener:
        if arm is None:
            applied = apply_masks(run, settings, listener)
        else:
            from pipelines.teaching.arm_tokens import apply_arm_masks

            applied = apply_arm_masks(run, arm, settings, listener)
    print_result(MasksResult(applied, output, parquet), as_json)
