"""`congener verify`: options and output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.text import Text

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_result, style
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.runs.foreign_files import ForeignFile
    from pipelines.runs.shard_checks import Finding
    from schemas.manifests import Manifest

DIFFERENT = 5
"""The exit code for differences."""

FINDINGS_SHOWN = 100
"""The largest number of printed differences. A run may have a million files."""

Inputs = Annotated[bool, typer.Option("--inputs", help="Also digest the input files again.")]
InputsIn = Annotated[
    str | None,
    typer.Option(
        "--inputs-in",
        metavar="FOLDER",
        help="Digest the input files in this folder, under the names in the manifest.",
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        "--root", metavar="HEX", help="The ledger root that you recorded (16 digits or more)."
    ),
]
Digest = Annotated[
    str | None,
    typer.Option(
        "--digest",
        metavar="HEX",
        help="The manifest's digest that you recorded, or its file's SHA-256 (16 digits or more).",
    ),
]

Statement = Annotated[
    str | None,
    typer.Option(
        "--statement",
        metavar="HEX",
        help="The digest of the certificate, or of its line in the history, that you recorded "
        "(16 digits or more).",
    ),
]

Papers = Annotated[
    str | None,
    typer.Option(
        "--papers",
        metavar="FOLDER",
        help="Write the papers of congener export in this folder again, and compare them.",
    ),
]
DigestKey = Annotated[
    str | None,
    typer.Option(
        "--digest-key", metavar="FILE|env:NAME", help="The key, if the run's digests are keyed."
    ),
]


class VerifyResult(NamedTuple):
    """The differences from a run's manifest, or the manifest without differences."""

    findings: Sequence[Finding]
    manifest: Manifest | None
    left_aside: Sequence[ForeignFile]
    checked: Mapping[str, str] = MappingProxyType({})
    """What was compared besides the run's own files."""

    def render(self) -> Iterator[str | Text]:
        """Return a line for each difference, each kind of foreign file, and the run itself."""
        from pipelines.runs.foreign_files import summarise_foreign_files

        yield from summarise_foreign_files(self.left_aside)
        for item in self.findings[:FINDINGS_SHOWN]:
            yield f"{item.where}: {item.problem}"
        if len(self.findings) > FINDINGS_SHOWN:
            yield f"and {len(self.findings) - FINDINGS_SHOWN:,} more: list all with --json"
        if self.manifest is None:
            count = len(self.findings)
            yield style(format_count(count, "difference"), "red")
            return
        yield style(
            f"whole: {format_count(self.manifest.conservation.rows_in, 'row')} in "
            f"{format_count(len(self.manifest.outputs), 'file')}, "
            f"ledger root {self.manifest.ledger_root[:16]}, digest {self.manifest.digest[:16]}",
            "green",
        )
        yield "; ".join(f"{name}: {outcome}" for name, outcome in self.checked.items())

    def to_json(self) -> dict[str, Any]:
        """Return the differences, or a summary of the run."""
        from pipelines.verify import describe_outcome

        left_aside = {"left_aside": [file.path for file in self.left_aside]}
        if self.manifest is None:
            findings = [item._asdict() for item in self.findings]
            return {"whole": False, "findings": findings, **left_aside}
        outcome = describe_outcome(self.manifest, list(self.findings))
        return {**outcome, "checked": dict(self.checked), **left_aside}


def verify_run(
    run: Run,
    inputs: Inputs = False,
    inputs_in: InputsIn = None,
    root: Root = None,
    digest: Digest = None,
    statement: Statement = None,
    papers: Papers = None,
    digest_key: DigestKey = None,
    as_json: Json = False,
) -> None:
    """Recompute everything that a run's manifest states.

    Exits with 5 if anything differs.

    congener verify run/
    congener verify run/ --inputs
    congener verify run/ --inputs-in data/           (a copy of the input)
    congener verify run/ --digest 5d41402abc4b2a76   (detects any forgery)
    congener verify run/ --statement 7a826f707651b726  (a removed certificate)
    congener verify run/ --papers papers/            (altered papers)
    congener verify run/ --digest-key digest.key     (for keyed digests)
    """
    if not (root or digest or statement):  # report a malformed digest before a missing run
        from pipelines.early_checks import check_manifest

        check_manifest(run)

    from pipelines import verify
    from pipelines.runs.manifest_file import load_manifest

    recorded = verify.RecordedDigests(root, digest, statement)
    key = digest_key and expand_argument(digest_key)
    wanted = expand_argument(inputs_in) if inputs_in else inputs
    findings = verify.verify_run(run, wanted, recorded, key)
    compared = "not compared (--papers)"
    if papers and not findings:
        from pipelines.paper_checks import check_papers

        found, compared = check_papers(run, expand_argument(papers))
        findings = [*findings, *found]
    manifest = None if findings else load_manifest(run)
    checked = {} if manifest is None else verify.list_checks(run, manifest, wanted, recorded)
    checked |= {"papers": compared} if checked else {}
    left_aside = verify.list_files_left_aside(run)
    print_result(VerifyResult(findings, manifest, left_aside, checked), as_json)
    if findings:
        raise typer.Exit(DIFFERENT)
