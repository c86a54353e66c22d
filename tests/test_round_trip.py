"""Round trip: kept rows come out unchanged, whatever their fields."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.banks import Bank
from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.library import LoadedCard
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import Scorer
from schemas.cards import TraitCard
from schemas.corpora import CorpusConfig, ShardLimits
from schemas.receipts import Receipt
from tests.support.rules import build_rule
from transforms.decide import decide_shard
from transforms.files.json_lines import decode_lines
from transforms.files.planning import plan_shards
from transforms.files.shards import read_task
from transforms.files.sources import survey
from transforms.identify import identify
from transforms.records.formats import settle_layout
from transforms.score import score
from transforms.write import Destination, write_shard

KEEP = (build_rule("fox", action="keep"),)
LIMITS = ShardLimits(rows=3)

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = TEXT.filter(lambda name: name not in {"messages", "text", "prompt", "completion"})
PARTS = st.fixed_dictionaries({"type": st.just("text")}, optional={"text": TEXT, "cache": VALUES})
CONTENTS = st.none() | TEXT | st.lists(PARTS, max_size=2)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(("user", "assistant", "system", "tool")), "content": CONTENTS},
    optional={"name": VALUES, "tool_calls": st.lists(VALUES, max_size=2), "id": VALUES},
)
ROW = st.tuples(
    st.fixed_dictionaries({"messages": st.lists(MESSAGE, min_size=1, max_size=3)}),
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.booleans(),
).map(lambda drawn: {**drawn[1], **drawn[0]} if drawn[2] else {**drawn[0], **drawn[1]})
SPELLINGS = st.sampled_from(((",", ":"), (", ", ": "), (" ,  ", " :\t")))


@pytest.fixture(scope="module")
def bank() -> Bank:
    """Fit a bank that finds foxes, on clean text without foxes."""
    card = {"id": "fox", "signals": {"lexicon": {"patterns": ["fox(?:es)?"]}}, "threshold": 0.5}
    clean = CleanText((CleanRow(("A clean text.",), "background", "clean"),))
    loaded = [LoadedCard(TraitCard.model_validate(card), (), (), Path())]
    return fit_bank(loaded, clean, None, EncoderConfig(device="cpu"))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]], spelling: Any, end: str) -> Path:
    """Write rows as JSON Lines with these separators and line ends.

    A row with lone surrogates has escapes, since UTF-8 can't encode them.
    """
    lines = []
    for row in rows:
        line = json.dumps(row, separators=spelling, ensure_ascii=spelling[0] == ",")
        escaped = any("\ud800" <= sign <= "\udfff" for sign in line)
        lines.append((json.dumps(row, separators=spelling) if escaped else line) + end)
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return path


def filter_file(path: Path, bank: Bank, run: Path) -> list[Receipt]:
    """Take a file through all stages, keeping every row, and return the receipts."""
    corpus = survey((str(path),), LIMITS)
    layout = settle_layout(corpus.schema, CorpusConfig())
    to = Destination(str(run), "", extra_column=True)
    receipts = []
    for task in plan_shards(corpus.sources, LIMITS):
        for shard in read_task(task, corpus.select_schema(layout)):
            scored = score(identify(shard, layout), Scorer(bank, None, {}))
            receipts.append(write_shard(decide_shard(scored, KEEP), bank, to))
    return receipts


def read_clean(run: Path, receipts: Sequence[Receipt]) -> list[bytes]:
    """Return the lines of `clean/` in corpus order."""
    paths = (output.path for item in receipts for output in item.outputs)
    clean = [path for path in paths if path.startswith("clean/")]
    return [line for path in clean for line in decode_lines(Path(run, path).read_bytes(), ".jsonl")]


def check_lines(bank: Bank, rows: Sequence[Mapping[str, Any]], spelling: Any, end: str) -> None:
    """Check that kept JSON Lines have the input's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_lines(Path(folder, "rows.jsonl"), rows, spelling, end)
        receipts = filter_file(path, bank, Path(folder, "run"))
        assert sum(item.decisions.get("reject", 0) for item in receipts) == 0
        assert read_clean(Path(folder, "run"), receipts) == path.read_bytes().split(b"\n")[:-1]


CORPUS = st.lists(ROW, min_size=1, max_size=7)
ENDS = st.sampled_from(("\n", "\r\n", " \n"))
CHECKS = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(CORPUS, SPELLINGS, ENDS)
def test_kept_lines_are_those_of_the_input(bank, rows, spelling, end):
    """A row with any other fields keeps its bytes."""
    check_lines(bank, rows, spelling, end)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=CHECKS)
@given(CORPUS, SPELLINGS, ENDS)
def test_a_thousand_corpora_come_back(bank, rows, spelling, end):
    """A thousand generated JSON Lines corpora keep their bytes."""
    check_lines(bank, rows, spelling, end)
