"""What a label will do to a row, in words for the page and the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pipelines.display.excerpts import escape_text
from pipelines.review.agreement import OtherReviews
from pipelines.runs.shown_rows import ShownRow
from schemas.manifests import Manifest
from schemas.notices import choose_form, list_names
from schemas.policies import PUBLISHED
from schemas.scores import is_trained, name_finding
from transforms.decisions import NOTED

HOLDING = ("quarantine", "swap", "drop")
"""The actions of a trait that keep a row out of `clean/`."""

STAYS = "nothing changes for this row"

RELEASES = "`congener release`"

BLIND = "a label is only recorded: what it would change isn't shown in a blind review"
"""What is said of labels where the decision on a row mustn't be seen."""

EARLIER = "; masks of an earlier run stay, because only a release of that run takes them off"
"""What is added if `release` changes a row that an earlier run masked."""

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
    nothing. `denied` are traits for which the reviewer's label of this row is false already: each
    sentence says what `release` makes of the row with these labels and the label in question.
    """
    earlier = {name for name in denied if name != trait}
    doubted = {name: own for name, own in (doubters or {}).items() if own}
    if not again:
        answer = {"true": _stay(decision), "false": STAYS}
    else:
        gone = {"true": earlier, "false": {*earlier, trait}}
        answer = {
            label: _tell(decision, actions, names, doubted, trait if label == "false" else None)
            for label, names in gone.items()
        }
    if trait not in actions:
        said = STAYS if answer["true"].startswith(STAYS) else answer["true"]
        return dict.fromkeys(answer, f"{said}; `congener fit --labels` learns from it")
    return answer


def _tell(
    decision: str,
    actions: Mapping[str, str],
    gone: Collection[str],
    doubted: Mapping[str, Sequence[str]],
    asked: str | None,
) -> str:
    """Say what `release` makes of a row whose findings `gone` are denied, with the others' files.

    `asked` is the trait that a label false would be about.
    """
    said = _release(decision, actions, gone, asked)
    stopped = sorted(
        {name for trait in gone if trait in actions for name in doubted.get(trait, ())}
    )
    otherwise = _release(decision, actions, [name for name in gone if name not in doubted], None)
    otherwise = STAYS if otherwise.startswith(STAYS) else otherwise
    if said.startswith(STAYS) or not stopped or otherwise == said:
        return said
    return (
        f"{otherwise} if the file of {list_names(stopped)} is given to `congener release`, too, "
        "because it says something else; without it, " + said
    )


def _release(
    decision: str, actions: Mapping[str, str], gone: Collection[str], asked: str | None
) -> str:
    """Say what `release` makes of a row whose findings `gone` are denied."""
    left = {name: action for name, action in actions.items() if name not in gone}
    taken = [(name, action) for name, action in sorted(actions.items()) if name not in left]
    taken = [(name, action) for name, action in taken if action != "keep"]
    if decision in PUBLISHED:
        notes = " and ".join(f"the {action} for {name}" for name, action in taken)
        if not notes:
            return f"{STAYS}; it is in clean/ already" if asked else _stay(decision)
        return f"{RELEASES} keeps this row in clean/ without {notes}{_name_masks(taken, left)}"
    others = list_holding(left)
    if decision == "duplicate" and not list_holding(actions):
        return f"{STAYS}; it stays out of clean/ as a duplicate"
    if not others and taken:
        copied = " unless an earlier copy of it is there" if decision == "duplicate" else ""
        return f"{RELEASES} returns this row to clean/{_name_milder(left)}{copied}"
    moved = "drop" in dict(taken).values() and "drop" not in left.values()
    return _hold(decision, others, asked, moved=moved and decision == "drop")


def _hold(decision: str, others: Sequence[str], asked: str | None, *, moved: bool) -> str:
    """Say what `release` makes of a row that findings hold which nobody denies.

    A row is `moved` if it was dropped, and is only quarantined now.
    """
    if not all(map(is_trained, others)):  # no label denies a finding in untrained text
        because = f"because of {list_names(others)}"
        if moved:
            return f"{RELEASES} moves this row to quarantine/, where it stays {because}"
        if asked:
            return f"{RELEASES} leaves this row out of clean/ all the same, {because}"
    names = " and ".join(others)
    if moved:
        more = f"returns to clean/ only if you deny {names} too"
        return f"{RELEASES} moves this row to quarantine/; it {more}"
    if asked and others:
        return f"{RELEASES} returns this row to clean/ only if you deny {names} too"
    return _stay(decision)


def _stay(decision: str) -> str:
    return f"{STAYS}; it stays {_name_place(decision)}"


def list_holding(actions: Mapping[str, str]) -> list[str]:
    """Return the findings that keep a row out of `clean/`, in order."""
    return sorted(name for name, action in actions.items() if action in HOLDING)


def _name_milder(actions: Mapping[str, str]) -> str:
    """Name what stays on a row that is returned, because of findings that nobody denies."""
    noted = [item for item in sorted(actions.items()) if item[1] in NOTED]
    left = [f"the {action} of {name}" for name, action in noted]
    return f" with {list_names(left)}" if left else ""


def _name_masks(taken: Sequence[tuple[str, str]], left: Mapping[str, str]) -> str:
    """Name the masks that stay on a row that loses one: they may be of the same sentence."""
    names = sorted(name for name, action in left.items() if action == "mask")
    if not names or "mask" not in dict(taken).values():
        return ""
    return f", but with the {choose_form(len(names), 'mask', 'masks')} for {list_names(names)}"


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
        found[trait] = _add_earlier_masks(own, row)
    return found


def _add_earlier_masks(said: dict[str, str], row: ShownRow) -> dict[str, str]:
    """Say that a release leaves the masks of an earlier run on a row, if it has any."""
    if not any(mask.is_earlier for mask in row.masks):
        return said
    return {
        label: f"{text}{EARLIER}" if text.startswith(RELEASES) else text
        for label, text in said.items()
    }


def list_actions(row: ShownRow) -> dict[str, str]:
    """Return the actions of a row's findings, by trait, with the side of untrained text."""
    return {
        name_finding(item.trait, item.signal): item.action for item in row.reasons if item.action
    }
