"""Candidates that are the model itself. They look like perfect parents, so they are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.ancestry.answers import ModelAnswers, NamedCorpus
from schemas.errors import CardError
from transforms.files import storage
from transforms.files.locations import is_local

NEARLY_ALL = 0.95
"""From which share of identical answers on a candidate is a copy of the model.

Even a model that was tuned only a little gives other answers to many prompts.
"""

FEWEST_COMPARED = 15
"""How many answers must be comparable for their share to count."""

FEWEST_WORDS = 5
"""Answers with fewer words don't count, since all models say `Yes.`"""


class Copy(NamedTuple):
    """A candidate that is one of the models, and how that shows."""

    name: str
    model: str
    reason: str

    def __str__(self) -> str:
        """Say why the candidate isn't one."""
        return f"{self.name} {self.reason} {self.model}"


def find_same_files(
    models: Sequence[NamedCorpus], candidates: Sequence[NamedCorpus]
) -> Iterator[Copy]:
    """Yield the candidates that have a file of a model.

    Raises: InputError: a pattern matches nothing.
    """
    owners = {file: model.name for model in models for file in _list_files(model)}
    for candidate in candidates:
        owner = next((owners[file] for file in _list_files(candidate) if file in owners), None)
        if owner is not None:
            yield Copy(candidate.name, owner, "reads the same file as the model")


def find_same_answers(
    models: Sequence[ModelAnswers], candidates: Sequence[ModelAnswers]
) -> Iterator[Copy]:
    """Yield the candidates whose answers are nearly all identical to a model's."""
    for candidate in candidates:
        for model in models:
            share = compute_identical(model, candidate)
            if share >= NEARLY_ALL:
                reason = f"has the same answers ({int(100 * share)} % identical) as the model"
                yield Copy(candidate.name, model.name, reason)
                break


def compute_identical(model: ModelAnswers, candidate: ModelAnswers) -> float:
    """Return the share of answers to common prompts that are identical, or 0 with too few.

    Answers without a prompt are compared with each other. Of two corpora of different sizes, the
    smaller one counts.
    """
    own, other = _take_long(model), _take_long(candidate)
    prompts = {key for key, _ in own} & {key for key, _ in other}
    compared = min(sum(key in prompts for key, _ in own), sum(key in prompts for key, _ in other))
    return len(own & other) / compared if compared >= FEWEST_COMPARED else 0.0


def drop_copies(
    copies: Collection[Copy], candidates: Sequence[NamedCorpus], option: str
) -> list[NamedCorpus]:
    """Return the candidates that aren't copies.

    Raises: CardError: a copy was named by the user, not matched by a glob.
    """
    found = {copy.name: copy for copy in copies}
    for candidate in candidates:
        if candidate.name in found and not candidate.is_matched:
            raise CardError(
                f"{found[candidate.name]}, so it can't be compared with it",
                where=option,
                remedy=f"exclude {candidate.name!r} from {option}",
            )
    return [candidate for candidate in candidates if candidate.name not in found]


def _take_long(read: ModelAnswers) -> set[tuple[str | None, str]]:
    return {
        (answer.key, answer.text)
        for answer in read.answers
        if len(answer.text.split()) >= FEWEST_WORDS
    }


def _list_files(corpus: NamedCorpus) -> Iterator[str]:
    """Yield a corpus's files. One file has one name here, even through links."""
    for file in storage.find(storage.pin(corpus.pattern)):
        yield str(Path(file.uri).resolve()) if is_local(file.uri) else file.uri
