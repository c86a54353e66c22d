"""The answers of models: named corpora in any format, read as prompts and answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from schemas.corpora import CorpusConfig, ShardLimits
from schemas.digests import digest_bytes
from schemas.errors import CardError, InputError
from schemas.notices import suggest_name
from transforms.files import storage
from transforms.files.locations import expand_home, require_reachable
from transforms.files.patterns import find_glob_sign
from transforms.files.planning import plan_shards
from transforms.files.samples import read_sample, take_values
from transforms.files.shards import read_task
from transforms.files.sources import Corpus, survey
from transforms.records.formats import Layout, list_paths, settle_layout
from transforms.records.prompt_keys import squeeze
from transforms.records.prompts import extract_prompt
from transforms.records.segments import Segments
from transforms.records.sides import find_unread_labels, settle_labels, settle_sides
from transforms.records.transcripts import choose_columns, measure_transcripts

ENDINGS = frozenset(
    (*(".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".arrow"), ".gz", ".zst", ".bz2")
)
"""The endings of file names that aren't part of a model's name."""


class NamedCorpus(NamedTuple):
    """A model's name, the files with its answers, and whether a glob without a name matched it."""

    name: str
    pattern: str
    is_matched: bool = False


class KeyedAnswer(NamedTuple):
    """An answer. `key` is a digest of its prompt, or None if the row has none."""

    key: str | None
    text: str


class ModelAnswers(NamedTuple):
    """A model's answers, in an order that doesn't depend on files, and what was left out."""

    name: str
    answers: list[KeyedAnswer]
    rows: int
    rejects: int


def parse_corpora(given: Iterable[str], option: str) -> list[NamedCorpus]:
    """Read `NAME=GLOB`, or a glob, of which each file is a model that is named after its file.

    Raises: CardError: a name or a pattern is empty, or a name occurs twice. Raises: InputError: a
    pattern matches nothing.
    """
    found: list[NamedCorpus] = []
    for text in given:
        name, sign, pattern = text.partition("=")
        if not sign or "/" in name:
            found += _name_files(expand_home(text))
        elif not name.strip() or not pattern.strip():
            raise CardError(
                f"{text!r} isn't NAME=GLOB", where=option, remedy=f"{option} NAME=answers.jsonl"
            )
        else:
            found.append(NamedCorpus(name.strip(), expand_home(pattern)))
    for corpus in found:
        require_reachable(corpus.pattern)
    require_distinct(found, option)
    return found


def _name_files(pattern: str) -> Iterator[NamedCorpus]:
    require_reachable(pattern)
    is_glob = bool(find_glob_sign(pattern))
    found = storage.find(storage.pin(pattern))
    for file in found:
        name = PurePath(file.uri).name
        while PurePath(name).suffix.lower() in ENDINGS:
            name = PurePath(name).stem
        yield NamedCorpus(name, file.uri, len(found) > 1 or is_glob)


def require_distinct(corpora: Sequence[NamedCorpus], option: str) -> None:
    """Check that no two models have the same name.

    Raises: CardError: two have.
    """
    counts = Counter(corpus.name for corpus in corpora)
    if repeated := [name for name, count in counts.items() if count > 1]:
        name = repeated[0]
        files = {PurePath(corpus.pattern) for corpus in corpora if corpus.name == name}
        remedy = "give each model its own name"
        if len(files) == 1:
            remedy = f"it is the same file, so exclude {name!r} once"
        raise CardError(f"{name!r} is given twice", where=option, remedy=remedy)


def find_name(name: str, names: Sequence[str], option: str) -> int:
    """Return the place of a name.

    Raises: CardError: it isn't among the names.
    """
    if name not in names:
        raise CardError(
            f"{name!r} isn't a candidate",
            where=option,
            remedy=f"{suggest_name(name, names)}the candidates are {', '.join(names)}",
        )
    return list(names).index(name)


def read_answers(named: NamedCorpus, most: int) -> ModelAnswers:
    """Read a model's answers: of each row, the last trained answer and the prompt before it.

    At most `most` answers are kept. They are chosen by the digests of their prompts, so that models
    that answered the same prompts keep the same ones.

    Raises: InputError: the files can't be read, or no row has an answer.
    """
    corpus, layout = _settle_corpus(named.pattern)
    found: list[_Found] = []
    rows, rejects = 0, 0
    for texts, size, bad in _read_shards(corpus, layout):
        found += texts
        rows += size + bad
        rejects += bad
        if len(found) > 4 * most:
            found = sorted(found)[:most]
    if not found:
        raise InputError(
            "has no assistant's answer",
            where=f"{named.name}={named.pattern}",
            remedy="check the files and their format",
        )
    kept = sorted(found)[:most]
    answers = [KeyedAnswer(item.digest if item.asked else None, item.text) for item in kept]
    return ModelAnswers(named.name, answers, rows, rejects)


class _Found(NamedTuple):
    """An answer: the digest of its prompt, or of itself, whether it has a prompt, and its text."""

    digest: str
    asked: bool
    text: str


def _settle_corpus(pattern: str) -> tuple[Corpus, Layout]:
    """Survey a corpus, and settle its layout as a run does."""
    settings = CorpusConfig()
    corpus = survey([pattern], ShardLimits(), list_paths(settings))
    try:
        layout = settle_layout(corpus.schema, settings, corpus.folder_columns)
    except InputError as error:
        raise InputError(error.problem, where=pattern, remedy=error.remedy) from error
    layout = settle_sides(corpus.schema, layout, False)
    sample = read_sample(corpus, layout, ShardLimits())
    layout = settle_labels(layout, take_values(sample, find_unread_labels(corpus.schema, layout)))
    shares = measure_transcripts([shard.table for shard in sample.shards], layout)
    return corpus, layout._replace(transcripts=choose_columns(shares, settings.transcripts))


def _read_shards(corpus: Corpus, layout: Layout) -> Iterator[tuple[list[_Found], int, int]]:
    """Yield each shard's prompts and answers, its number of rows, and its number of rejects."""
    from transforms.identify import identify  # loads Beam, which is slow

    for task in plan_shards(corpus.sources, ShardLimits()):
        for shard in read_task(task, corpus.select_schema(layout)):
            part = identify(shard, layout)
            texts = list(_take_answers(part.segments.select_side("trained")))
            yield texts, part.table.num_rows, len(part.rejects)


def _take_answers(segments: Segments) -> Iterator[_Found]:
    """Yield each row's last answer. Rows without an answer are left out.

    A system prompt isn't part of the prompt, since teachers of one corpus may have different ones.
    """
    places = segments.find_in_scope(("assistant",), ("answer",)).tolist()
    texts = segments.texts
    last = {int(segments.rows[place]): place for place in places if texts[place].strip()}
    for row, place in last.items():
        before = extract_prompt(segments, segments.find_in_row(row))
        turns = [item for item in before if item["role"] != "system"]
        asked = any(turn["role"] == "user" for turn in turns)
        prompt = "\n".join(f"{turn['role']}: {squeeze(turn['content'])}" for turn in turns)
        yield _Found(_digest(prompt if asked else texts[place]), asked, texts[place])


def _digest(text: str) -> str:
    return digest_bytes(text.encode("utf-8", "surrogatepass"))
