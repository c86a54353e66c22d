"""Count a run's lots and the rows that were added to them, from its ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.runs.finished import read_table
from schemas.lots import LOT_FIELDS
from schemas.mixes import LotMix, MixCounts, compute_ratio
from schemas.receipts import Output
from schemas.runs import parse_path
from transforms.mix_draws import (
    Cell,
    LotFields,
    count_lots,
    encode_lot,
    is_held_out,
    plan_cells,
    sum_by_lot,
)

COLUMNS = ("source", *LOT_FIELDS, "decision")


def list_cells(lots: Mapping[str, Counter[LotFields]]) -> list[Cell]:
    """Return the cells of the lots of each shard, in the order of the lots and the shards."""
    cells = [Cell(lot, shard, rows) for shard, own in lots.items() for lot, rows in own.items()]
    return sorted(cells, key=lambda cell: tuple(field or "" for field in cell.lot))


def count_mix(
    run: str, ledgers: Sequence[Output], share: float, card: Mapping[str, Any] | None
) -> MixCounts:
    """Count a mixed run's rows by lot. `card` is the run's dataset card, or None."""
    lots: dict[str, Counter[LotFields]] = {}
    added, donors, held_out = Counter[str](), Counter[str](), 0
    for output in ledgers:
        table = read_table(run, output, [*COLUMNS, "mix", "mix_lot"])
        own = count_lots(table)
        if is_held_out(table.column("source")[0].as_py(), card):
            held_out += own.total()
        else:
            lots[parse_path(output.path).shard] = own
        added.update(name for name in table.column("mix_lot").to_pylist() if name is not None)
        donors.update(name for name in table.column("mix").to_pylist() if name is not None)
    return MixCounts(
        lots=_describe_lots(list_cells(lots), added, share),
        by_donor=dict(sorted(donors.items())),
        held_out=held_out,
    )


def _describe_lots(
    cells: Sequence[Cell], added: Mapping[str, int], share: float
) -> tuple[LotMix, ...]:
    wanted = plan_cells(cells, compute_ratio(share)).tolist()
    return tuple(
        LotMix(
            **dict(zip(LOT_FIELDS, lot, strict=True)),
            rows=rows,
            wanted=needed,
            added=added.get(encode_lot(lot), 0),
        )
        for lot, (rows, needed) in sum_by_lot(cells, wanted).items()
    )
