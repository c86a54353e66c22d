"""`congener export`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, NamedTuple

import typer

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim
from schemas.errors import CardError

GAPS = b"TO BE FILLED IN"

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="card, croissant, openlineage, in-toto or eu-summary; repeatable (default: all).",
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="A folder, or the file of a single format."),
]
Title = Annotated[str | None, typer.Option("--title", help="The data set's title.")]
Description = Annotated[
    str | None,
    typer.Option("--description", help="What the data are for, and who made them."),
]
Licence = Annotated[
    str | None,
    typer.Option("--license", metavar="ID", help="The licence, as on the hub: apache-2.0."),
]
Provider = Annotated[str | None, typer.Option("--provider", help="Who publishes the data.")]
Url = Annotated[str | None, typer.Option("--url", help="Where the data are published.")]
Links = Annotated[
    list[str] | None,
    typer.Option(
        "--generator",
        metavar="NAME=LINK",
        help="The address of a model, by its name in the corpus; repeatable.",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="FOLDER|NAME",
        help="Count its tokens in the published answers (default: words are counted).",
    ),
]
Revision = Annotated[
    str | None, typer.Option("--tokenizer-revision", help="The commit of a hub tokenizer.")
]


class ExportResult(NamedTuple):
    """The written papers, and how many gaps each one has."""

    run: str
    gaps: dict[str, int]

    def render(self) -> Iterator[str]:
        """Return the paths, and what is left to fill in."""
        for path, gaps in self.gaps.items():
            left = f"   ({gaps:,} to be filled in)" if gaps else ""
            yield Verbatim(f"{shlex.quote(path)}{left}")
        if any(self.gaps.values()):
            yield "what is to be filled in is marked; options give it: congener export --help"

    def to_json(self) -> dict[str, object]:
        """Return the paths with their gaps."""
        return {"run": self.run, "papers": self.gaps}


def is_folder(path: str) -> bool:
    """Return whether a path is a folder that exists, or ends like one."""
    from pathlib import Path

    return path.endswith("/") or Path(path).is_dir()


def require_text(given: Mapping[str, str | None]) -> None:
    """Refuse values of options that aren't UTF-8, which no paper can hold.

    Raises: CardError: a value isn't UTF-8.
    """
    for option, value in given.items():
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            raise CardError(
                "isn't UTF-8", where=option, remedy="give the text in a terminal with UTF-8"
            ) from error


def read_links(given: Iterable[str]) -> dict[str, str]:
    """Return the addresses of models by name.

    Raises: CardError: an option has no name or no address.
    """
    links = {}
    for item in given:
        name, _, link = item.partition("=")
        if not (name and link):
            raise CardError(
                f"{item!r} isn't a name and an address",
                where="--generator",
                remedy="--generator 'atlas=https://example.com/atlas'",
            )
        links[name] = link
    return links


def count_gaps(name: str, data: bytes, url: str | None) -> int:
    """Count what is to be filled in; Croissant leaves out an address that isn't known."""
    missing = name == "croissant.json" and not url
    return data.replace(b"\\", b"").lower().count(GAPS.lower()) + missing


def export_run(
    run: Run,
    formats: Formats = None,
    output: Output = None,
    title: Title = None,
    description: Description = None,
    licence: Licence = None,
    provider: Provider = None,
    url: Url = None,
    links: Links = None,
    tokenizer: Tokenizer = None,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Write a run's data card, and papers for other tools.

    The papers are the data card for the hub, Croissant, OpenLineage events, an in-toto statement,
    and a draft of what the EU's public summary says about data from other models. Names, digests
    and numbers of rows are those of RUN's manifest and ledger. What a run can't know is asked for
    by options; without them, a paper says "to be filled in". No text of rows is quoted. Later,
    congener verify RUN --papers FOLDER notices altered papers.

    congener export run/ --output papers/
    congener export run/ --format card -o README.md --license apache-2.0
    congener export run/ --output papers/ --tokenizer student/
    congener export run/ -f eu-summary -o eu.md --generator 'atlas=https://x.org'
    """
    if not output:
        raise CardError(
            "--output is needed",
            where="congener export",
            remedy=f"congener export {shlex.quote(run)} --output PAPERS",
        )
    from pipelines.early_checks import check_file, check_output_folder, check_run

    check_run(run)
    place = expand_argument(output)
    as_file = len(set(formats or ())) == 1 and not is_folder(place)
    (check_file if as_file else check_output_folder)(place)

    from pipelines.export import PAPERS, export_papers, write_papers
    from pipelines.paper_checks import PaperOptions, write_record
    from pipelines.papers.text_sizes import choose_unit

    given = {"title": title, "license": licence, "provider": provider, "url": url}
    given |= {"tokenizer": tokenizer, "tokenizer-revision": revision, "description": description}
    require_text({f"--{name}": text for name, text in given.items()})
    require_text({"--generator": "".join(links or ())})
    own = {"licence": given.pop("license"), "revision": given.pop("tokenizer-revision")}
    own["tokenizer"] = tokenizer and expand_argument(tokenizer)
    options = PaperOptions.model_validate({**given, **own, "links": read_links(links or ())})
    unit = choose_unit(options.tokenizer, revision)
    papers = export_papers(run, tuple(formats or PAPERS), options.list_facts(), unit)
    paths = write_papers(papers, place, as_file)
    if not as_file:
        write_record(run, papers, options, place)
    gaps = (count_gaps(name, data, url) for name, data in papers.items())
    print_result(ExportResult(run, dict(zip(paths, gaps, strict=True))), as_json)
