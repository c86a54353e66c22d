"""What a label will do to a row, in words for the page and the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from pipelines.display.excerpts import escape_text
from pipelines.review.agreement import OtherReviews
from pipelines.runs.shown_rows import ShownRow
from schemas.manifests import Manifest
from schemas.notices import list_names
from schemas.policies import PUBLISHED
from schemas.scores import is_trained, name_finding
from transforms.decisions import NOTED

HOLDING = ("quarantine", "swap", "drop")
"""The actions of a trait that keep a row out of `clean/`."""

STAYS = "nothing changes for this row"

BLIND = "a label is only recorded: what it would change isn't shown in a blind review"
"""What is said of labels where the decision on a row mustn't be seen."""

AUDIT = "true or false: the label counts in the bound, and changes no row"
"""What is said of labels in an audit."""


def describe_traits(manifest: Manifest) -> dict[str, str]:
    """Return the description on the card of each trait of a run, by trait, as one line."""
    cards = {rule.trait: manifest.cards.get(rule.trait, {}) for rule in manifest.thresholds}
    found = {trait: card.get("description") or card.get("title") for trait, card in cards.items()}
    lines = {trait: " ".join(str(text or "").split()) for trait, text in found.items()}
    return {
        trait: "".join(part.text for part in escape_text(line)) for trait, line in lines.items()
    }


def describe_effects(
    trait: str,
    decision: str,
    actions: Mapping[str, str],
    *,
    again: bool = True,
    doubters: Mapping[str, Sequence[str]] | None = None,
    denied: Collection[str] = (),
) -> dict[str, str]:
    """Return what the labels true and false of a trait will do to a row, by label.

    `actions` are those of the row's findings, by trait, and by trait and side for text that isn't
    trained on. Without `again`, the run can't be decided again, so no row of it can be released.
    `doubters` are, by trait, other reviewers whose label isn't false, so that their files release
    nothing. `denied` are traits for which the reviewer's label of this row is false already.
    """
    if trait not in actions:
        return dict.fromkeys(("true", "false"), f"{STAYS}; `congener fit --labels` learns from it")
    given = doubters or {}
    gone = {name for name in denied if name != trait}
    gone -= {name for name in gone if actions.get(name) not in HOLDING and given.get(name)}
    left = {name: action for name, action in actions.items() if name not in gone}
    freed = [name for name in sorted(gone) if actions.get(name) in HOLDING]
    confirmed = f"{STAYS}; it stays {_name_place(decision)}"
    if again and freed and decision not in PUBLISHED and not list_holding(left):
        confirmed = f"`congener release` returns this row to clean/{_name_milder(left)}"
    stopped = [] if confirmed.startswith(STAYS) else _join(given, freed)
    answer = _deny(trait, decision, left) if again else STAYS
    own = _join(given, [trait] if decision in PUBLISHED else [trait, *freed])
    without = confirmed if not confirmed.startswith(STAYS) and not stopped else STAYS
    return {"true": _doubt(confirmed, stopped, STAYS), "false": _doubt(answer, own, without)}


def _join(doubters: Mapping[str, Sequence[str]], traits: Iterable[str]) -> list[str]:
    """Return the reviewers who doubt one of some traits, in order."""
    return sorted({name for trait in traits for name in doubters.get(trait, ())})


def _doubt(said: str, doubters: Sequence[str], otherwise: str) -> str:
    """Add what happens instead if the files of other reviewers are given, too."""
    if not doubters or said.startswith(STAYS):
        return said
    return (
        f"{otherwise} if the file of {list_names(doubters)} is given to `congener release`, too, "
        "because it says something else; without it, " + said
    )


def list_holding(actions: Mapping[str, str]) -> list[str]:
    """Return the findings that keep a row out of `clean/`, in order."""
    return sorted(name for name, action in actions.items() if action in HOLDING)


def _deny(trait: str, decision: str, actions: Mapping[str, str]) -> str:
    """Say what `release` makes of a finding that a label denies."""
    rest = {name: action for name, action in actions.items() if name != trait}
    others = list_holding(rest)
    if decision in PUBLISHED:
        taken = actions[trait]
        if taken == "keep":
            return f"{STAYS}; it is in clean/ already"
        return f"`congener release` keeps this row in clean/ without the {taken} for {trait}"
    if not all(map(is_trained, others)):  # no label denies a finding in untrained text
        names = list_names(others)
        return f"`congener release` leaves this row out of clean/ all the same, because of {names}"
    if others:
        names = " and ".join(others)
        return f"`congener release` returns this row to clean/ only if you deny {names} too"
    if decision == "duplicate":
        return f"{STAYS}; it stays out of clean/ as a duplicate"
    return f"`congener release` returns this row to clean/{_name_milder(rest)}"


def _name_milder(actions: Mapping[str, str]) -> str:
    """Name what stays on a row that is returned, because of findings that nobody denies."""
    noted = [item for item in sorted(actions.items()) if item[1] in NOTED]
    left = [f"the {action} of {name}" for name, action in noted]
    return f" with {list_names(left)}" if left else ""


def _name_place(decision: str) -> str:
    """Return where a row with a decision is."""
    if decision in PUBLISHED:
        return "in clean/"
    return "in quarantine/" if decision == "quarantine" else "out of clean/"


def describe_row_effects(
    manifest: Manifest,
    row: ShownRow,
    others: OtherReviews | None = None,
    denied: Collection[str] = (),
) -> dict[str, dict[str, str]]:
    """Return what labels of each of a run's traits will do to a row, by trait and label.

    `others` are the reviews of other reviewers, without which no row is released. `denied` are
    traits for which the reviewer's label of this row is false already.
    """
    again = manifest.swap is None and manifest.mix is None
    actions, traits = list_actions(row), [rule.trait for rule in manifest.thresholds]
    places = {trait: (row.source, row.row, trait) for trait in traits} if others else {}
    doubters = {trait: others.list_doubters(place) for trait, place in places.items() if others}
    found = {}
    for trait in traits:
        own = describe_effects(
            trait, row.decision, actions, again=again, doubters=doubters, denied=denied
        )
        if others is not None and others.unusable:
            own["false"] += f" (not counted, as changed: {list_names(others.unusable)})"
        found[trait] = own
    return found


def list_actions(row: ShownRow) -> dict[str, str]:
    """Return the actions of a row's findings, by trait, with the side of untrained text."""
    return {
        name_finding(item.trait, item.signal): item.action for item in row.reasons if item.action
    }
