"""A threshold's worth: the positives that it finds, and the clean texts closest to it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from classifiers.banks import Bank, TraitModel
from classifiers.clean_text import CleanRow, present_as_answers, split_clean_text
from classifiers.fitting import scope_to_answers
from classifiers.guarantees.calibration import CONFIDENCE, FoundShare
from classifiers.library import LoadedCard, list_shipped_ids
from classifiers.scoring import Scorer, Scores
from pipelines.banks import FitPlan
from pipelines.diagnosis import diagnose
from pipelines.display.excerpts import build_excerpt, shorten_text
from pipelines.list_items import select_own, warn_of_taken_items
from pipelines.pattern_worth import measure_patterns
from pipelines.signal_costs import describe_cost, measure_cost
from schemas.notices import Notice, choose_form, format_count, list_names, warn
from schemas.policies import Policy
from schemas.scores import SCORE_DECIMALS, SCORE_STEP, fires
from schemas.shares import format_interval
from transforms.rules import Rule, settle_rules

STRONGEST = 3
"""How many of the strongest clean texts are shown, at least, and before a run at most."""

LISTED = 20
"""The largest number of clean texts that `congener fit` lists for a trait."""

CHECK = "congener traits check CARD --bank RUN/bank"
"""The command that lists the clean texts closest to a trait's threshold after a run."""

FIT_AGAIN = "congener fit with these cards and this --background"
"""The same for a run whose clean texts aren't those of the library."""

SHOWN_CHARACTERS = 100

NAMED_TRAITS = 5
"""The largest number of traits described before a run. A table describes more traits."""


class StrongText(NamedTuple):
    """A held-out clean text with a high score, and the span that scored highest.

    `name` is the text's origin, and a card can use it to leave the text out. `origin` is the trait
    whose positive the text is, or nothing. `reads_end` is true if the trait reads only closings.
    """

    score: float
    name: str
    text: str
    start: int = 0
    end: int = 0
    origin: str = ""
    reads_end: bool = False

    def describe(self) -> str:
        """Describe the text in one line."""
        return f"{self.score:.4f}  {self.name}  {self.cut(SHOWN_CHARACTERS)}"

    def cut(self, shown: int) -> str:
        """Return about `shown` characters of the text, around its span or around the span's end."""
        first, last = self._choose_end(shown) if self.reads_end else self._choose_middle(shown)
        context = max(0, shown - (last - first)) // 2
        if self.reads_end and len(self.text) - last < context:
            first, context = min(first, max(0, len(self.text) - shown)), len(self.text) - last
        elif not self.reads_end and first < context:
            last, context = max(last, shown), first
        pieces = build_excerpt(self.text, first, last, context=context)
        return " ".join("".join(piece.text for piece in pieces).split())

    def _choose_middle(self, shown: int) -> tuple[int, int]:
        return self.start, min(max(self.end, self.start), self.start + shown)

    def _choose_end(self, shown: int) -> tuple[int, int]:
        size = len(self.text)
        first, last = (self.start, self.end) if self.end > self.start else (size, size)
        return max(first, last - shown), last


class CloseTexts(NamedTuple):
    """The texts closest to a trait's threshold.

    `clean` holds the held-out clean texts that reach the threshold or set it, and at least
    `STRONGEST`, from the highest score down. `reaching` of them do; it is None without a threshold.
    `more` counts those beyond those. `fired` holds the numbers of the card's own hard negatives
    that reach the threshold, of `negatives`, and `fired_texts` their texts.
    """

    clean: list[StrongText]
    reaching: int | None = None
    more: int = 0
    fired: tuple[int, ...] = ()
    negatives: int = 0
    fired_texts: tuple[str, ...] = ()

    @property
    def are_shipped(self) -> bool:
        """Return whether the clean texts are the library's, which a card can leave out."""
        return not any(text.name.startswith("user/") for text in self.clean)

    def describe(self, most: int = LISTED, command: str = CHECK) -> Iterator[str]:
        """Describe the texts, and how a card leaves out clean texts that show its trait.

        `command` is a command that lists more of them.
        """
        yield from self._describe_fired()
        if self.clean and self.reaching == 0:
            yield "no clean text reaches the threshold; the highest:"
        yield from (f"clean text {item.describe()}" for item in self.clean[:most])
        if more := self.more + max(0, (self.reaching or 0) - most):
            listed = "" if self.are_shipped or most == LISTED else f"; {command} lists more"
            yield f"and {format_count(more, 'more clean text')} that high{listed}"
        if self.reaching and self.are_shipped:
            yield (
                "leave out those that show the trait; this lists such texts as lines for "
                f"card.yaml: {command}"
            )
        elif self.reaching:
            yield "take those that show the trait out of the file of --background"

    def _describe_fired(self) -> Iterator[str]:
        if not self.fired:
            return
        names = ", ".join(f"#{number}" for number in self.fired[:LISTED])
        yield (
            f"fires on {len(self.fired)} of the card's "
            f"{format_count(self.negatives, 'hard negative')}: {names}"
        )
        for number, text in list(zip(self.fired, self.fired_texts, strict=False))[:STRONGEST]:
            yield f"hard negative #{number}  {shorten_text(text, SHOWN_CHARACTERS)}"


def list_close_texts(
    scorer: Scorer, plan: FitPlan | None, rules: Mapping[str, tuple[str, float | None]]
) -> dict[str, CloseTexts]:
    """List the texts closest to the threshold of each trait, given its signal and threshold.

    A given bank's traits have none, because they may be calibrated on other text.
    """
    found: dict[str, CloseTexts] = {}
    for card in () if plan is None else plan.cards:
        signal, threshold = rules.get(card.id, ("", None))
        trait = scorer.bank.traits[card.id]
        if plan is None or card.id in plan.fitted or signal not in trait.calibration:
            continue
        rows = split_clean_text(card, plan.clean)[1]
        close = find_close_texts(rows, trait, scorer, signal, threshold)
        fired = _find_fired(card, trait, scorer, signal, threshold)
        texts = tuple(card.negatives[number - 1] for number in fired)
        close = close._replace(fired=fired, fired_texts=texts)
        found[card.id] = close._replace(negatives=len(card.negatives))
    return found


def find_close_texts(
    rows: Sequence[CleanRow],
    trait: TraitModel,
    scorer: Scorer,
    signal: str,
    threshold: float | None,
    most: int = LISTED,
) -> CloseTexts:
    """Find the clean texts closest to a trait's threshold among the rows it is calibrated on.

    `most` is the largest number of them.
    """
    scores = np.round(np.nan_to_num(trait.calibration[signal], nan=-1.0), SCORE_DECIMALS)
    order = np.argsort(-scores, kind="stable")
    lowest = np.inf if threshold is None else threshold - 1.5 * SCORE_STEP
    count = max(STRONGEST, int((scores >= lowest).sum()))
    best = [int(index) for index in order[:count] if scores[index] > 0]
    quoted = quote_rows([rows[index] for index in best[:most]], trait, scorer)
    texts = [
        text._replace(score=round(float(scores[index]), SCORE_DECIMALS))
        for index, text in zip(best, quoted, strict=False)
    ]
    high = sum(bool(scores[index] >= lowest) for index in best[: len(texts)])
    reaching = None if threshold is None else high
    return CloseTexts(texts, reaching, len(best) - len(texts))


def _find_fired(
    card: LoadedCard, trait: TraitModel, scorer: Scorer, signal: str, threshold: float | None
) -> tuple[int, ...]:
    """Return the numbers of the card's hard negatives that reach the threshold."""
    if threshold is None or not card.negatives:
        return ()
    rows = [CleanRow((text,), card.id, "negative") for text in card.negatives]
    scores = _score_alone(trait, scorer, rows).get_scores(card.id, signal)
    return tuple(int(index) + 1 for index in np.flatnonzero(fires(scores, threshold)))


def _score_alone(trait: TraitModel, scorer: Scorer, rows: Sequence[CleanRow]) -> Scores:
    """Score rows with one of the scorer's traits."""
    name = trait.card.id
    alone = Bank({name: scope_to_answers(trait)}, scorer.bank.encoder, scorer.bank.background)
    models = {other: model for other, model in scorer.classifiers.items() if other == name}
    return Scorer(alone, scorer.encoder, models).score(len(rows), present_as_answers(rows))


def quote_rows(rows: Sequence[CleanRow], trait: TraitModel, scorer: Scorer) -> Iterator[StrongText]:
    """Yield each row's text in which a trait's strongest signal has its highest score."""
    texts = present_as_answers(rows)
    scores = _score_alone(trait, scorer, rows).signals[trait.card.id]
    for index, row in enumerate(rows):
        best = max(scores.values(), key=lambda item: np.nan_to_num(item.scores[index], nan=-1.0))
        segment, start, end = (int(array[index]) for array in best.best_spans)
        text = texts.text[segment].as_py() if segment >= 0 else ""
        origin = row.origin if row.polarity == "positive" else ""
        reads_end = trait.card.scope.closing is not None
        yield StrongText(0.0, row.name, text, max(start, 0), max(end, 0), origin, reads_end)


def describe_worth(
    rules: Sequence[Rule],
    scorer: Scorer,
    plan: FitPlan | None,
    named: Sequence[str],
    command: str = CHECK,
) -> Iterator[Notice]:
    """Describe what each named trait's threshold finds, and warn of thresholds within the noise.

    Many named traits, and those of a given bank, have a notice only if there is a warning. Traits
    of the library that nobody named, or that run beside a user's own, have none, because their user
    can't change their cards; the table of traits has their shares. Instead, one line counts those
    with advice, and says how to see it. `command` lists more of the clean texts.
    """
    few = 0 < len(named) <= NAMED_TRAITS
    shipped = list_shipped_ids()
    own = {rule.trait for rule in rules} - shipped
    # beside a card of one's own, the library's cards are no one's to change
    library = shipped if own or not named else frozenset()
    shown = [
        (rule, found, advice)
        for rule in rules
        if (found := rule.found) is not None
        and rule.threshold.value is not None
        and rule.threshold.value <= 1
        and rule.trait not in library
        and ((advice := diagnose(scorer.bank.traits[rule.trait], *rule[1:4], found)) or few)
    ]
    wanted = {rule.trait: (rule.signal, rule.threshold.value) for rule, *_ in shown}
    close = list_close_texts(scorer, plan, wanted)
    for rule, found, advice in shown:
        value, labels = float(rule.threshold.value or 0), scorer.bank.traits[rule.trait].labels
        text = f"trait {rule.trait}: {describe_found(found, value, labels is not None)}"
        yield warn(f"{text}. {advice}") if advice else Notice(text)
        if rule.trait in own and (
            patterns := measure_patterns(scorer.bank.traits[rule.trait], *rule[1:4])
        ):
            yield Notice(f"trait {rule.trait}: {patterns.describe()}")
        for line in _describe_briefly(close.get(rule.trait), rule, scorer, command):
            yield Notice(f"  {line}", is_recorded=False)
        if rule.trait in own and (cost := measure_cost(scorer.bank.traits[rule.trait], *rule[1:4])):
            line = describe_cost(scorer.bank.traits[rule.trait], cost)
            yield Notice(f"trait {rule.trait}: {line}")
    yield from warn_of_taken_items(select_own(plan), scorer.bank.traits)
    if own:
        yield from _count_advised(rules, scorer, shipped)


def _describe_briefly(
    texts: CloseTexts | None, rule: Rule, scorer: Scorer, command: str
) -> Iterator[str]:
    """Describe a few clean texts, and name the command that lists more of them.

    That command judges by the card's own threshold, so with another one, all texts are described.
    """
    if texts is None:
        return
    (own,) = settle_rules({rule.trait: scorer.bank.traits[rule.trait]}, Policy())
    is_own = (own.signal, own.threshold.value) == (rule.signal, rule.threshold.value)
    yield from texts.describe(STRONGEST, command) if is_own else texts.describe()


def _count_advised(
    rules: Sequence[Rule], scorer: Scorer, shipped: Container[str]
) -> Iterator[Notice]:
    """Name the library's traits that a run beside a user's own cards has advice about."""
    names = [
        rule.trait
        for rule in rules
        if rule.trait in shipped
        and rule.found is not None
        and rule.threshold.value is not None
        and rule.threshold.value <= 1
        and diagnose(scorer.bank.traits[rule.trait], *rule[1:4], rule.found)
    ]
    if names:
        chosen = " ".join(f"--traits {name}" for name in names)
        yield Notice(
            f"the library's {list_names(names)} can be improved only by changing a copy of "
            f"{choose_form(len(names), 'its card', 'their cards')}; congener fit {chosen} --output "
            "BANK shows how"
        )


def describe_found(found: FoundShare, threshold: float, labelled: bool = False) -> str:
    """Describe how many positives reach a threshold, and their distance from it.

    `labelled` says whether rows from labels are among the positives.
    """
    gap = found.median - threshold
    whose = "the card's and the labels'" if labelled else "the card's"
    return (
        f"{found.found} of {whose} {format_count(found.positives, 'positive')} "
        f"{choose_form(found.found, 'reaches', 'reach')} {threshold:.4f} when each "
        f"is held out from the fit ({format_interval(found.low, found.high, 0)} with "
        f"{CONFIDENCE:.0%} confidence); their median, {found.median:.4f}, is {abs(gap):.4f} "
        f"{'above' if gap >= 0 else 'below'} it"
    )
