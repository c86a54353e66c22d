"""The certificate's section on the report's page: its contents, and the drawing of its bound."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.certifying.histories import describe_carried, describe_history
from pipelines.certifying.prospects import explain_dashes, explain_hidden_shares
from pipelines.certifying.records import read_certificate
from pipelines.display.charts import PLOT, Tick
from schemas.certificates import Certificate, PastStatement, ReadPoint, TraitStatement
from schemas.runs import CERTIFICATE
from schemas.shares import format_exact

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""The shares that may have a tick."""


QUOTED = re.compile(rb"Certificate <code>([0-9a-f]{16})</code>, sample")
"""How the report names the certificate that it quotes."""


class BoundCurve(NamedTuple):
    """The positions of a bound that shrinks as rows are read, on a logarithmic scale.

    `seen` and `adjusted` are the points of two lines; without seeded texts, the second is empty.
    `target` is the height of the target, if there is one.
    """

    seen: str
    adjusted: str
    ticks: list[Tick]
    target: float | None
    most: int


class CertificateSection(NamedTuple):
    """What the page shows of a certificate; `history` is the sentence about earlier ones.

    `dashes` says why single traits have no adjusted bound, `hidden` why some have no share before
    the filter, and `carried` from which run the bounds are carried over.
    """

    certificate: Certificate
    statements: tuple[TraitStatement, ...]
    curve: BoundCurve
    history: str | None
    dashes: str
    hidden: str
    carried: str


def describe_certificate(
    certificate: Certificate, history: Sequence[PastStatement]
) -> CertificateSection:
    """Return the page's section about a certificate, and about the statements before it."""
    found = certificate
    several = len(found.traits) > 1
    return CertificateSection(
        found,
        (found.together, *found.traits) if several else found.traits,
        draw_curve(found.together.curve, found.at_most),
        describe_history(found, history),
        explain_dashes(found),
        explain_hidden_shares(found),
        describe_carried(found),
    )


def draw_curve(points: Sequence[ReadPoint], target: float | None) -> BoundCurve:
    """Lay out the bounds after some numbers of rows, from all of the plot's width."""
    values = [
        value for point in points for value in (point.bound, point.adjusted) if value is not None
    ]
    lowest = min((*values, target or 1.0, 0.1))
    bottom = next((share for share in SHARES if share <= lowest), SHARES[-1])
    most = max((point.read for point in points), default=1)
    ticks = [
        Tick(_find_height(share, bottom), format_exact(share))
        for share in SHARES
        if share >= bottom
    ]
    adjusted = [(point.read, point.adjusted) for point in points if point.adjusted is not None]
    return BoundCurve(
        _join([(point.read, point.bound) for point in points], most, bottom),
        _join(adjusted, most, bottom),
        ticks,
        None if target is None else _find_height(target, bottom),
        most,
    )


def _join(points: Sequence[tuple[int, float]], most: int, bottom: float) -> str:
    """Return the points of a line in SVG's form."""
    return " ".join(
        f"{PLOT.left + PLOT.width * read / most:.2f},{_find_height(value, bottom):.2f}"
        for read, value in points
    )


def _find_height(share: float, bottom: float) -> float:
    """Return the vertical position of a share; 1 is at the top of the plot."""
    value = min(max(share, bottom), 1.0)
    return PLOT.top + PLOT.height * math.log(value) / math.log(bottom)


def explain_page(run: str, page: bytes) -> str:
    """Say how a file of the report differs from what congener writes about the run now.

    A page that quotes another certificate than the run's wasn't changed for that.
    """
    quoted, certificate = QUOTED.search(page), read_certificate(run)
    found = None if quoted is None else quoted[1].decode()
    own = None if certificate is None else certificate.digest
    if found is None or (own is not None and own.startswith(found)):
        return "isn't what congener report writes about this run: it was changed"
    if own is None:
        return (
            f"quotes the certificate {found}, which is missing: restore {CERTIFICATE}/ from a "
            "copy, or write the page without it: congener report"
        )
    return (
        f"quotes the certificate {found}, and the run's is {own[:16]}: congener report writes the "
        "page again"
    )
