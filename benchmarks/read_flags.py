"""Compare a library's flags before and after a change, on models that nobody looked at for it.

`FOLDER/judged.jsonl`, which stays outside the project, has what a reader said about every flag of
the library before the change (`before`) and after it: `trait`, `source` and `row`, and in `label`
true, false, or null for a borderline case. Models are numbered alphabetically. Changes were chosen
on the even ones; the odd ones measure them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.label_curve import (
    Line,
    Models,
    Place,
    find_place,
    read_lines,
    read_models,
    score,
)
from benchmarks.measure import Report, list_teacher_files, parse_arguments
from benchmarks.quirks import format_share
from classifiers.clean_text import CleanText, collect_background
from classifiers.library import find_cards
from schemas.scores import fires


def main() -> None:
    options = parse_arguments(__doc__ or "", read="")
    judged = read_lines(Path(options.read) / "judged.jsonl")
    files = [path.name for path in list_teacher_files()]
    halves = {name: read_models(files[start::2]) for name, start in (("even", 0), ("odd", 1))}
    report = Report("read_flags", "Flags before and after a change of cards, all read")
    report.say(
        "Flags in all answers of the models with an even place in the alphabet, on which the "
        f"change was chosen ({len(halves['even'].places):,} answers), and of the others, which "
        f"were not looked at for it ({len(halves['odd'].places):,} answers). One reader, a "
        "language model, judged every flag by the card's definition, shuffled, without seeing "
        "scores, and on the odd models without seeing which version had found it. Right are sure "
        "and borderline cases. Kept are right flags of before. New prompts are those of no flag "
        "on the even models. The brackets hold exact 95 % intervals."
    )
    header = ["trait", "models", "prompts", "cards", "flags", "right", "sure", "kept"]
    report.add_table(header, measure(judged, halves))
    report.finish()


def measure(judged: Sequence[Line], halves: Mapping[str, Models]) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table: each trait, each half of the models, before and after."""
    cards = {card.id: card for card in find_cards()}
    clean = CleanText(collect_background(cards.values()))
    for trait in dict.fromkeys(str(line["trait"]) for line in judged):
        labels = {find_place(line): line["label"] for line in judged if line["trait"] == trait}
        before = {find_place(line) for line in judged if line["trait"] == trait and line["before"]}
        seen: set[str] = set()
        for name, models in halves.items():
            answers = models.answers
            after = models.list_places(fires(*score(cards[trait], answers, clean)))
            if unread := after - labels.keys():
                raise SystemExit(f"{trait}: {len(unread)} flags aren't in judged.jsonl")
            new = models.list_places(np.array([prompt not in seen for prompt in answers.prompts]))
            whole = set(models.places)
            for prompts, part in (("all", whole), ("new", new))[: 1 + bool(seen)]:
                right = {place for place in before & part if labels[place] is not False}
                kept = f"{len(after & right)} of {len(right)}"
                yield trait, name, prompts, "before", *count(before & part, labels), "–"
                yield trait, name, prompts, "now", *count(after & part, labels), kept
            found = (before | after) & whole
            seen |= {answers.prompts[models.places.index(place)] for place in found}


def count(flags: set[Place], labels: Mapping[Place, object]) -> tuple[object, ...]:
    """Return the number of flags, the share of right ones, and of surely right ones."""
    right = sum(labels[place] is not False for place in flags)
    sure = sum(labels[place] is True for place in flags)
    return len(flags), format_share(right, len(flags)), format_share(sure, len(flags))


if __name__ == "__main__":
    main()
