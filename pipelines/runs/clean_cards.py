"""The dataset card of `clean/`: the files of each split, and the columns of JSON Lines rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipelines.runs.finished import read_json_lines
from schemas.digests import digest_bytes
from schemas.manifests import Manifest
from schemas.notices import Notice, warn
from schemas.outputs import CLEAN_EXTRA
from schemas.receipts import Output, Receipt
from schemas.runs import CLEAN_CARD, is_json_lines, parse_path
from transforms.files import storage
from transforms.files.dataset_cards import build_card, declare_columns, forget_columns
from transforms.files.json_features import JsonShape, has_notes, settle_features
from transforms.files.planning import ShardPlan
from transforms.files.sources import Corpus


class CleanCard(NamedTuple):
    """The card as a file of the run, if there is one, and what is said about it."""

    outputs: tuple[Output, ...] = ()
    notices: tuple[Notice, ...] = ()


def write_card(
    run: str,
    corpus: Corpus,
    plans: Sequence[ShardPlan],
    outputs: Sequence[Output],
    receipts: Iterable[Receipt] = (),
) -> CleanCard:
    """Write a card if the input has one, or if only some JSON Lines have the field `congener`.

    The clean rows are read again in the second case.
    """
    text = None
    if corpus.card is not None:
        clean = {parse_path(item.path).shard for item in _list_clean(outputs)}
        stems = ((plan.stem, plan.pieces[0].splits) for plan in plans if plan.name in clean)
        text = build_card(corpus.card, stems)
    noted = corpus.schema is not None and CLEAN_EXTRA.name in corpus.schema.names
    if noted or any(item.notes.masked or item.notes.flagged for item in receipts):
        return _complete_card(run, text, outputs)
    return CleanCard(_write(run, text))


def rewrite_card(run: str, parent: Manifest, output: str, outputs: Sequence[Output]) -> CleanCard:
    """Write the card of the run `run` for a run that was made from it, with its new columns."""
    text = None
    if any(item.path == CLEAN_CARD for item in parent.outputs):
        text = forget_columns(storage.read_bytes(storage.join(run, CLEAN_CARD)).decode())
    return _complete_card(output, text, outputs)


def _complete_card(run: str, text: str | None, outputs: Sequence[Output]) -> CleanCard:
    """Declare the columns in a card, if some row has the field `congener`, and write the card."""
    shape = _read_shape(run, outputs)
    if not has_notes(shape):
        return CleanCard(_write(run, text))
    try:
        return CleanCard(_write(run, declare_columns(text, settle_features(shape))))
    except ValueError as error:
        said = warn(
            "datasets may not load clean/, because only some rows have the field "
            f"{CLEAN_EXTRA.name}, and {CLEAN_CARD} can't declare the columns: {error}; load the "
            "output of congener apply-masks, or filter with --output-format parquet"
        )
        return CleanCard(_write(run, text), (said,))


def _list_clean(outputs: Iterable[Output]) -> list[Output]:
    return [item for item in outputs if parse_path(item.path).folder == "clean"]


def _read_shape(run: str, outputs: Iterable[Output]) -> JsonShape:
    """Read all JSON Lines of `clean/`."""
    shape = JsonShape()
    for item in _list_clean(outputs):
        if is_json_lines(item.path):
            for row in read_json_lines(run, item.path):
                shape.observe_row(row)
    return shape


def _write(run: str, text: str | None) -> tuple[Output, ...]:
    if text is None:
        return ()
    data = text.encode()
    storage.write_bytes(storage.join(run, CLEAN_CARD), data)
    return (Output(path=CLEAN_CARD, rows=0, bytes=len(data), sha256=digest_bytes(data)),)
