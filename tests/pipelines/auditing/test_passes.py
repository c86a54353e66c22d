"""The two passes over both corpora."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.comparison import learn_formats
from classifiers.lots.discovery import propose
from classifiers.lots.formats import measure_formats
from classifiers.lots.matches import add_formats
from classifiers.lots.samples import WHOLE
from classifiers.lots.tokens import find_tokens
from pipelines.auditing.corpora import AuditConfig, settle_corpus
from pipelines.auditing.passes import COUNTS, SAMPLE, AuditSides, count, gather
from pipelines.engines.interface import Engine
from schemas.corpora import CorpusConfig, ShardLimits
from tests.support.audits import write_pair
from transforms.lot_counts import CountSettings
from transforms.lot_samples import LotKey


def settle(folder: Path, rows: int = 1_000, workers: int = 1) -> tuple[AuditConfig, AuditSides]:
    """Write two corpora, and settle an audit of them."""
    corpus, reference = write_pair(folder, 60)
    config = AuditConfig(
        corpus=(corpus,),
        reference=(reference,),
        output=str(folder / "out"),
        engine=Engine(workers=workers),
    )
    limits = ShardLimits(rows=rows)
    sides = (settle_corpus([path], CorpusConfig(), limits) for path in (corpus, reference))
    return config, AuditSides(*sides)


def build_settings(texts: list[str], labels: list[bool]) -> CountSettings:
    """Return settings that count what sets some texts apart."""
    array, own = pa.array(texts, pa.large_string()), np.array(labels)
    return CountSettings(
        add_formats(propose(find_tokens(array), own)),
        WHOLE,
        learn_formats(measure_formats(array), own, np.ones(len(own), bool)),
        (LotKey(own=True, fields=("atlas", "-")),),
    )


@pytest.mark.parametrize("rows", [7, 1_000])
def test_shards_do_not_matter(tmp_path, rows):
    """The sample and the counts are the same, however the corpora are cut."""
    config, sides = settle(tmp_path, rows)
    found = gather(config, sides)
    assert (found.count_texts(own=True), found.count_texts(own=False)) == (60, 60)
    table = found.table
    settings = build_settings(table.column("text").to_pylist(), table.column("own").to_pylist())
    counts = count(config, sides, settings)
    assert counts.texts_by_half.sum() == 120
    assert counts.texts_by_lot.tolist() == [30, 90]
    assert counts.by_half[:, :, 1].max() > 20
    assert Path(config.output, SAMPLE).exists()
    assert Path(config.output, COUNTS).exists()
    digest = (found.encode(), counts.encode())
    (tmp_path / "other").mkdir()
    config, sides = settle(tmp_path / "other", 13)
    assert digest == (gather(config, sides).encode(), count(config, sides, settings).encode())
