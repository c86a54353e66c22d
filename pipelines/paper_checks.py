"""Whether the papers of an export still say what their run says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from pydantic import Field, ValidationError

from pipelines.export import PAPERS, export_papers
from pipelines.papers.facts import UserFacts, gather_facts
from pipelines.papers.text_sizes import choose_unit
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.shard_checks import Finding
from pipelines.version import name_code
from schemas.cards import Strict
from schemas.digests import digest_bytes
from schemas.errors import CardError
from schemas.notices import list_names
from transforms.files import storage

RECORD = "papers.json"
"""The file in a folder of papers that says with which options they were written."""

GAP = re.compile(r"\\?\[TO BE FILLED IN: .*?\\?\]")

MOVING = PAPERS["openlineage"][0]
"""The paper that names the run's folder, so that a moved run gives another one."""

SHOWN = 120
"""How many characters of a line are shown."""

BEFORE = 40
"""How many of them are before the first difference."""


class PaperOptions(Strict):
    """What the user gave to an export, which a check needs to write the same papers again."""

    title: str | None = None
    licence: str | None = None
    provider: str | None = None
    url: str | None = None
    description: str | None = None
    links: dict[str, str] = Field(default_factory=dict)
    tokenizer: str | None = None
    revision: str | None = None

    def list_facts(self) -> UserFacts:
        """Return what only the user knows."""
        return UserFacts(
            self.title, self.licence, self.provider, self.url, self.description, self.links
        )


class PapersRecord(Strict):
    """With which version and options papers were written about a run, and their SHA-256."""

    code: str
    run_id: str
    options: PaperOptions
    papers: dict[str, str]


class PapersCheck(NamedTuple):
    """The differences of some papers from their run, and what was compared."""

    findings: list[Finding]
    compared: str


def write_record(run: str, papers: Mapping[str, bytes], options: PaperOptions, folder: str) -> None:
    """Write beside papers with which options they were written.

    Raises: StorageError: the file can't be written.
    """
    digests = {name: digest_bytes(data) for name, data in papers.items()}
    run_id = load_manifest(run).run_id
    record = PapersRecord(code=name_code(), run_id=run_id, options=options, papers=digests)
    data = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False)
    storage.write_bytes(storage.join(folder, RECORD), f"{data}\n".encode())


def read_record(folder: str) -> PapersRecord:
    """Read with which options the papers of a folder were written.

    Raises: CardError: the folder has no record, or a damaged one.
    """
    uri = storage.join(folder, RECORD)
    if not storage.exists(uri):
        raise CardError(
            f"has no {RECORD}, which says with which options the papers were written",
            where=folder,
            remedy="name the folder that congener export RUN --output FOLDER wrote",
        )
    try:
        return PapersRecord.model_validate_json(storage.read_bytes(uri))
    except ValidationError as error:
        raise CardError(
            "isn't a record of papers", where=uri, remedy="export the papers again"
        ) from error


def check_papers(run: str, folder: str) -> PapersCheck:
    """Write the papers of a folder again, and compare them line by line.

    What takes the place of a gap ("TO BE FILLED IN") may be anything. Papers of another version of
    congener are compared with their recorded digests alone, because it may word them otherwise; so
    are those that differ because an earlier run isn't in its folder any more.

    Raises: CardError: the folder has no record of its papers. Raises: RunError: the run is damaged.
    """
    record, known = read_record(folder), {file: name for name, (file, _) in PAPERS.items()}
    if (run_id := load_manifest(run).run_id) != record.run_id:
        problem = f"is about run {record.run_id}, and not about {run_id}"
        return PapersCheck([Finding(storage.join(folder, RECORD), problem)], "")
    found = {name: _read(folder, name) for name in record.papers}
    findings = [
        Finding(storage.join(folder, name), "is missing") for name in found if found[name] is None
    ]
    there = {name: data for name, data in found.items() if data is not None}
    if record.code != name_code():
        findings += _compare_digests(folder, there, record.papers)
        return PapersCheck(findings, "digests compared (written by another version)")
    options = record.options
    unit = choose_unit(options.tokenizer, options.revision)
    formats = [known[name] for name in there if name in known]
    expected = export_papers(run, formats, options.list_facts(), unit) if formats else {}
    gone, blind = find_missing_runs(run), 0
    for name, data in expected.items():
        is_own = digest_bytes(there[name]) == record.papers[name]
        wrong = [*_compare_lines(storage.join(folder, name), there[name], data)]
        if is_own and gone and wrong and name != MOVING:
            blind += 1
        elif not (is_own and name == MOVING):
            findings += wrong
    compared = f"{len(expected) - blind:,} compared"
    if blind:
        compared += f", {blind:,} by digest (not comparable without run {list_names(gone)})"
    return PapersCheck(findings, compared)


def find_missing_runs(run: str) -> list[str]:
    """Return the ids of the earlier runs that papers describe and that aren't in their folders."""
    ancestors = gather_facts(run).ancestors
    return [item.run_id for item in ancestors if item.manifest is None]


def _read(folder: str, name: str) -> bytes | None:
    uri = storage.join(folder, name)
    return storage.read_bytes(uri) if storage.exists(uri) else None


def _compare_digests(
    folder: str, found: Mapping[str, bytes], recorded: Mapping[str, str]
) -> Iterator[Finding]:
    for name, data in found.items():
        if digest_bytes(data) != recorded[name]:
            yield Finding(storage.join(folder, name), "isn't the paper that was exported")


def _compare_lines(where: str, found: bytes, expected: bytes) -> Iterator[Finding]:
    """Yield a finding about the first line that differs, with the number of differing lines."""
    if found == expected:
        return
    pairs = zip_longest(_split(found), _split(expected))
    wrong = [
        (number, own, line)
        for number, (own, line) in enumerate(pairs, 1)
        if own is None or line is None or not fits(own, line)
    ]
    if wrong:
        number, own, line = wrong[0]
        more = f", and {len(wrong) - 1:,} more lines differ" if wrong[1:] else ""
        start = max(0, _count_common(own or "", line or "") - BEFORE)
        said, given = _show(own, start), _show(line, start)
        yield Finding(where, f"line {number}: {said}, but the run gives {given}{more}")


def _count_common(one: str, two: str) -> int:
    """Count the characters before the first difference."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(two)))


def _split(data: bytes) -> Sequence[str]:
    return data.decode(errors="replace").split("\n")


def fits(found: str, expected: str) -> bool:
    """Return whether a line is the expected one, perhaps with something in the place of gaps."""
    if found == expected:
        return True
    parts = GAP.split(expected)
    if len(parts) == 1:
        return False
    return re.fullmatch(".+".join(map(re.escape, parts)), found) is not None


def _show(line: str | None, start: int) -> str:
    """Quote a line; of a long one, the part from a character on."""
    if line is None:
        return "nothing"
    if len(line) <= SHOWN:
        return repr(line)
    before, after = "…" if start else "", "…" if len(line) > start + SHOWN else ""
    return repr(f"{before}{line[start : start + SHOWN]}{after}")
