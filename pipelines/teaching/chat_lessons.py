"""Examples in a chat template, as a causal model learns them and as it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from classifiers.heredity.arms import Example
from classifiers.models.chat_tokenizers import digest_tokenizer
from classifiers.students.checks import require_same_beginning
from classifiers.students.lessons import PROBE, Lesson, Lessons, stack_lessons
from pipelines.teaching.files import build_row
from schemas.digests import digest_config
from schemas.errors import RowError, TrialError
from transforms.records.labels import IGNORED, Labeller

COLUMNS = {"messages": "messages"}
"""The columns of an arm's rows, in the format of chats."""


@dataclass(frozen=True)
class ChatLessons:
    """Writes examples as a tokenizer's chat template does. Longer ones are cut at `context`."""

    tokenizer: Any
    context: int

    @cached_property
    def labeller(self) -> Labeller:
        """Return what finds the tokens of an answer, and those under a mask."""
        return Labeller(self.tokenizer, "messages", COLUMNS)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text without its template."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def ask(self, prompt: str) -> list[int]:
        """Return the tokens from which an answer is continued."""
        ids: list[int] = self.tokenizer(self._begin(prompt), add_special_tokens=False)["input_ids"]
        return ids

    def _begin(self, prompt: str) -> str:
        """Return a question in the template, up to where the answer begins."""
        return self._render([{"role": "user", "content": prompt}], prompt=True)

    def _render(self, messages: Sequence[Mapping[str, str]], *, prompt: bool = False) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=prompt
            )
        )

    def write(self, example: Example, where: str) -> Lesson:
        """Write an example as tokens. Only its answer, and what ends it, has weights.

        Raises: TrialError: the template can't render the example, or begins its answer in another
        way than when it asks.
        """
        shown = build_row(example)
        try:
            row = self.labeller.label(shown)
        except RowError as error:
            raise TrialError(error.problem, where=where, remedy=error.remedy) from error
        require_same_beginning(self._render(shown["messages"]), self._begin(example.prompt), where)
        kept = row.cut(self.context)
        weights = [0.0 if label == IGNORED else example.weight for label in kept.labels]
        unused = row.unused if row.places or not example.masked else len(example.masked)
        return Lesson(
            kept.input_ids, weights, len(kept.places), unused, kept.input_ids != row.input_ids
        )

    def write_all(self, examples: Sequence[Example], where: str) -> Lessons:
        """Write examples below each other.

        Raises: TrialError: as for `write`.
        """
        return stack_lessons(
            [
                self.write(example, f"{where}, example {number:,}")
                for number, example in enumerate(examples, 1)
            ]
        )

    def fit_question(self, prompt: str, answer: int) -> list[int]:
        """Return a question's tokens, if its answer's fit into the context behind them.

        Raises: TrialError: they don't.
        """
        ids = self.ask(prompt)
        if len(ids) + answer > self.context:
            raise TrialError(
                f"{prompt[:60]!r} has {len(ids):,} tokens, which leaves no room for {answer:,} "
                f"more in a context of {self.context:,}",
                where="questions",
                remedy="raise lora.context, lower questions.tokens, or ask shorter questions",
            )
        return ids

    @property
    def template(self) -> str:
        """Return a digest of the tokenizer, its template, and a question in it."""
        return digest_config([digest_tokenizer(self.tokenizer), self.ask(PROBE)])

    @property
    def last(self) -> int:
        """Return the last token that an answer teaches.

        Raises: TrialError: an answer teaches none.
        """
        lesson = self.write(Example(PROBE, PROBE), "the chat template")
        learnt = [token for token, weight in zip(lesson.ids, lesson.weights, strict=True) if weight]
        if not learnt:
            raise TrialError("shows no answer", where="the chat template")
        return learnt[-1]
