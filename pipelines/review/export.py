"""The review page in one file, with rows inside, for a reader without the run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.review.queries import RowSelection
from pipelines.review.server import read_page
from pipelines.review.session import ReviewSession
from transforms.files.storage import write_bytes

POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The page's content security policy: only its own script and style, by their digests."""

STYLE_LINK = '<link rel="stylesheet" href="/review.css">'
SCRIPT_LINK = '<script type="module" src="/review.js"></script>'
MAP_LINK = '<script type="module" src="/map.js"></script>\n'
"""The script of the map, which a page without a server doesn't have."""

CHARSET = '<meta charset="utf-8">'

FOR_SCRIPTS = re.compile("[<>&\u2028\u2029]")


def export_rows(
    session: ReviewSession,
    selection: RowSelection,
    limit: int,
    path: Path,
    tell: Callable[[int], None] = lambda _done: None,
) -> int:
    """Write the page with the first `limit` selected rows, and return how many there are.

    `tell` hears the number of rows read so far. Labels given on the page can be saved from it.

    Raises: CongenerError: a row can't be read, or the file can't be written.
    """
    indexes = session.select(selection)[:limit].tolist()
    rows = []
    for done, index in enumerate(indexes, 1):
        rows.append(_pack_row(session, index, selection.trait))
        tell(done)
    packed = {"run": session.describe_run(), "rows": rows, "trait": selection.trait or ""}
    write_bytes(str(path), render_page(packed).encode())
    return len(rows)


def _pack_row(session: ReviewSession, index: int, trait: str | None) -> dict[str, Any]:
    row = session.reader.read(index)
    found = session.describe_row(index, trait)
    company = None if session.blind else session.describe_company(index)
    if not session.blind:  # a reader of the page hasn't given the labels of this review
        found["effects"] = session.describe_effects(index, alone=True)
    place = [row.source, row.row]
    return {**found, "record_id": row.record_id, "place": place, "company": company, "labels": []}


def render_page(packed: dict[str, Any]) -> str:
    """Return the page with its style, its script and its rows inside.

    In the rows, every sign that could end the element that holds them is escaped.
    """
    style, script = read_page("review.css"), read_page("review.js")
    data = FOR_SCRIPTS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(packed))
    policy = POLICY.format(script=_digest(script), style=_digest(style))
    parts = {
        CHARSET: f'{CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
        STYLE_LINK: f"<style>{style}</style>",
        SCRIPT_LINK: f'<script type="application/json" id="packed">{data}</script>\n'
        f'<script type="module">{script}</script>',
    }
    page = read_page("review.html").replace(MAP_LINK, "")
    for old, new in parts.items():
        page = page.replace(old, new)
    return page


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
