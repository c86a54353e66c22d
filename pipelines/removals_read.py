"""What is known of a run's removed rows: what people read comes before what thresholds promise.

The report, its first screen and the data card take the figure from here, so that all of them, and
`congener certify`, have the same one to sign.
"""

from __future__ import annotations

from pipelines.runs.wrong_removals import bound_wrong_removals, describe_wrong_removals
from schemas.certificates import Certificate, ShareBound, TraitStatement
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count
from schemas.shares import count_within, format_exact


def describe_clean_removals(manifest: Manifest, certificate: Certificate | None) -> str:
    """Say how many removed rows may be clean, or nothing if no row was removed.

    If people read some, the figure is the certificate's, also of a certificate that was carried
    over. Otherwise it is what the bounds of all traits allow together.
    """
    wrong = bound_wrong_removals(manifest)
    if not wrong.removed:
        return ""
    if certificate is None or not has_read_removals(certificate):
        return describe_wrong_removals(wrong)
    found = certificate.together.clean_removed
    most, is_exact = count_within(found.rows, found.bound), _is_exact(found)
    limit, rows = "" if is_exact else "at most ", _name_rows(found.rows, wrong.removed)
    sure = "" if is_exact else f", with {format_exact(1 - certificate.risk)} confidence"
    return (
        f"wrong removals: {limit}{most:,} of {rows} {choose_form(most, 'is', 'are')} clean{sure}; "
        f"{_describe_basis(found, certificate)}"
    )


def has_read_removals(certificate: Certificate | None) -> bool:
    """Return whether the figure to sign comes from removed rows that people read."""
    if certificate is None:
        return False
    found = certificate.together.clean_removed
    return found.rows > 0 and found.read > 0


def _is_exact(found: ShareBound) -> bool:
    """Return whether raters were sure about every removed row, so that the number is known."""
    return found.carried is None and found.read == found.rows and not found.unsure


def _name_rows(rows: int, removed: int) -> str:
    """Name the removed rows that the figure is about: those that the audit could draw."""
    if rows >= removed:
        return format_count(rows, "removed row")
    return f"the {rows:,} removed rows that the audit is about ({removed:,} were removed)"


def _describe_basis(found: ShareBound, certificate: Certificate) -> str:
    """Say how many removed rows people read, in which run, and what they found."""
    clean = f"found {found.describe_counted('clean')}"
    if found.carried is None or certificate.carried is None:
        which = "all of them" if found.read == found.rows else f"{found.read:,} of them"
        return f"people read {which} and {clean}"
    carried = found.carried
    own, few = carried.count_shared(found.rows), carried.new
    others = (
        f"; at most {few:,} of {format_count(carried.added, 'row')} that only this run removed"
        if carried.added
        else ""
    )
    return (
        f"at most {own:,} of {format_count(found.rows - carried.added, 'row')} that run "
        f"{certificate.carried.run_id} removed too (people read {found.read:,} of its "
        f"{carried.rows:,} and {clean}){others}"
    )


def list_doubtful(manifest: Manifest, certificate: Certificate | None) -> list[str]:
    """Return the traits all of whose findings may be mistakes: so few are expected of clean rows.

    A trait isn't among them if people read a row that shows it, kept or removed, or every row on
    which it fired and were in doubt about none.
    """
    read = {item.trait: item for item in certificate.traits} if certificate else {}
    return [
        rule.trait
        for rule in manifest.thresholds
        if manifest.may_be_noise(rule)
        and not _is_settled(read.get(rule.trait), manifest.count_signalled(rule.trait))
    ]


def _is_settled(statement: TraitStatement | None, fired: int) -> bool:
    """Return whether reading says that a trait is there, or isn't, on `fired` rows.

    A carried statement is about the rows of another run, on which the trait may fire elsewhere.
    """
    if statement is None:
        return False
    kept, found = statement.residual, statement.clean_removed
    return (
        kept.counted > kept.unsure
        or found.counted < found.read
        or (found.carried is None and found.read - found.unsure >= fired > 0)
    )
