"""What a label will do to a row, in words for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    doubters: Sequence[str] = (),
) -> dict[str, str]:
    """Return what the labels true and false of a trait will do to a row, by label.

    `actions` are those of the row's findings, by trait, and by trait and side for text that isn't
    trained on. Without `again`, the run can't be decided again, so no row of it can be released.
    `doubters` are other reviewers whose label isn't false, so that their files release nothing.
    """
    own = actions.get(trait)
    if own is None:
        teach = "`congener fit --labels` learns from it"
        return {"true": f"{STAYS}; {teach}", "false": f"{STAYS}; {teach}"}
    confirmed = f"{STAYS}; it stays {_name_place(decision)}"
    denied = _deny(trait, decision, actions) if again else STAYS
    if doubters and not denied.startswith(STAYS):
        denied = (
            f"{STAYS} if the file of {list_names(doubters)} is given to `congener release`, too, "
            "because it says something else; without it, " + denied
        )
    return {"true": confirmed, "false": denied}


def _deny(trait: str, decision: str, actions: Mapping[str, str]) -> str:
    """Say what `release` makes of a finding that a label denies."""
    others = sorted(name for name, action in actions.items() if name != trait and action in HOLDING)
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
    return f"`congener release` returns this row to clean/{_name_milder(trait, actions)}"


def _name_milder(trait: str, actions: Mapping[str, str]) -> str:
    """Name what stays on a row that is returned, because of its other traits."""
    left = [
        f"the {action} of {name}"
        for name, action in sorted(actions.items())
        if name != trait and action in NOTED
    ]
    return f" with {list_names(left)}" if left else ""


def _name_place(decision: str) -> str:
    """Return where a row with a decision is."""
    if decision in PUBLISHED:
        return "in clean/"
    return "in quarantine/" if decision == "quarantine" else "out of clean/"


def describe_row_effects(
    manifest: Manifest, row: ShownRow, others: OtherReviews | None = None
) -> dict[str, dict[str, str]]:
    """Return what labels of each of a run's traits will do to a row, by trait and label.

    `others` are the reviews of other reviewers, without which no row is released.
    """
    again = manifest.swap is None and manifest.mix is None
    actions = list_actions(row)
    found = {}
    for rule in manifest.thresholds:
        place = (row.source, row.row, rule.trait)
        doubters = others.list_doubters(place) if others else ()
        own = describe_effects(rule.trait, row.decision, actions, again=again, doubters=doubters)
        if others is not None and others.unusable:
            own["false"] += f" (not counted, as changed: {list_names(others.unusable)})"
        found[rule.trait] = own
    return found


def list_actions(row: ShownRow) -> dict[str, str]:
    """Return the actions of a row's findings, by trait, with the side of untrained text."""
    return {
        name_finding(item.trait, item.signal): item.action for item in row.reasons if item.action
    }
