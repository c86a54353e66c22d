"""What a run's manifest and ledger say about its data, and what only the user can add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipelines.certifying.histories import read_history
from pipelines.certifying.records import read_certificate
from pipelines.runs.finished import MISFITS, report_damage
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import scan_ledger
from pipelines.runs.rates import count_taken_out
from schemas.certificates import Certificate, PastStatement
from schemas.digests import digest_bytes
from schemas.errors import CardError, RunError
from schemas.lots import UNKNOWN
from schemas.manifests import InputFile, Manifest
from schemas.mixes import MIX
from schemas.notices import list_names
from schemas.outputs import REJECTED_TEACHER
from schemas.policies import DECISIONS, PUBLISHED
from schemas.receipts import Output
from schemas.runs import CLEAN_CARD, DONORS, MANIFEST, parse_path
from schemas.swaps import PARENT_FOLDER
from transforms.files import storage

TO_FILL_IN = "[TO BE FILLED IN: {}]"
"""What takes the place of a fact that neither the run nor the user has given."""

NOT_KNOWN = "not known"

PUBLIC_SCHEMES = ("hf://", "https://", "http://")
"""The schemes of addresses that may be in a published paper."""

ANSWERS, SWAPPED, ADDED, REJECTED = (
    "answers in the corpus",
    "answers in the place of another model's",
    "added rows",
    "rejected answers of preference pairs",
)
"""The roles of generators."""

MOST_ANCESTORS = 100

NAMES_LISTED = 10
"""How many models are named in an error."""


class UserFacts(NamedTuple):
    """What only the user knows; None and missing links are left to be filled in.

    `links` are the addresses of generators by their names in the corpus.
    """

    title: str | None = None
    licence: str | None = None
    provider: str | None = None
    url: str | None = None
    description: str | None = None
    links: Mapping[str, str] = {}

    def get(self, name: str, what: str) -> str:
        """Return a fact, or a visible gap."""
        return getattr(self, name) or TO_FILL_IN.format(what)


class Generator(NamedTuple):
    """A model whose text is in the corpus, in one role.

    `rows` counts the rows of the run, `published` those in `clean/`, `masked` the published ones
    with masks, and `removed` those that traits took out. `donor` names the donor of answers or rows
    that another run put there.
    """

    name: str
    role: str
    donor: str | None
    rows: int
    published: int
    masked: int
    removed: int

    @property
    def is_known(self) -> bool:
        """Return whether the corpus names the model."""
        return self.name != UNKNOWN


class TextSizes(NamedTuple):
    """How many words or tokens the published answers have, in all and by generator.

    `unit` is what was counted, and `how` says it precisely. Generators are named by their name,
    role and donor.
    """

    unit: str
    how: str
    total: int
    by_generator: Mapping[tuple[str, str, str | None], int]

    def get(self, item: Generator) -> int | None:
        """Return the size of a generator's answers; None if they weren't counted."""
        return self.by_generator.get((item.name, item.role, item.donor))

    def describe(self) -> str:
        """Say how much text there is, and what was counted."""
        return f"{self.unit.capitalize()} of the published answers: {self.total:,} ({self.how})"


class Ancestor(NamedTuple):
    """An earlier run, and what made it. `manifest` is None if its folder isn't there."""

    run_id: str
    manifest: Manifest | None

    def describe(self) -> str:
        """Return what made the run."""
        if self.manifest is None:
            return f"{NOT_KNOWN}: its folder isn't where it was"
        return name_command(self.manifest)


class RunFacts(NamedTuple):
    """A finished run, its generators, its earlier runs, and its certificate if it has one.

    `manifest_sha256` is the digest of the manifest's file, and `manifest.digest` that of its
    fields.
    """

    manifest: Manifest
    manifest_sha256: str
    generators: tuple[Generator, ...]
    ancestors: tuple[Ancestor, ...]
    user: UserFacts = UserFacts()
    sizes: TextSizes | None = None
    """How much text the generators wrote, if it was counted."""
    certificate: Certificate | None = None
    statements: tuple[PastStatement, ...] = ()
    """All statements that were made about the run so far."""
    taken: Mapping[str, int] = {}
    """The rows that a person took out, by the trait of the exception."""

    @property
    def clean(self) -> list[Output]:
        """Return the files with published rows."""
        outputs = self.manifest.outputs
        own = [item for item in outputs if parse_path(item.path).folder == "clean"]
        return [item for item in own if item.path != CLEAN_CARD]

    @property
    def published(self) -> int:
        """Return the number of published rows."""
        return sum(item.rows for item in self.clean)

    @property
    def decisions(self) -> dict[str, int]:
        """Return the number of rows with each decision, in the usual order."""
        found = self.manifest.conservation.by_decision
        return {name: found[name] for name in DECISIONS if name in found}

    @property
    def finished(self) -> str:
        """Return when the run ended, in ISO 8601.

        Raises: RunError: the manifest doesn't say when.
        """
        found = self.manifest.circumstances.get("finished")
        if self.manifest.describe_finish() is None or not isinstance(found, str):
            raise RunError("doesn't say when it ended", where=self.manifest.run_id)
        return found


def gather_facts(run: str, user: UserFacts | None = None) -> RunFacts:
    """Read what papers say about a finished run.

    Raises: RunError: the run isn't finished, or its ledger or its certificate is damaged.
    Raises: CardError: a link is for a model that the corpus doesn't name.
    """
    manifest = load_manifest(run)
    certificate = read_certificate(run)
    if certificate is not None and certificate.manifest != manifest.digest:
        certificate = None
    with report_damage(run, *MISFITS):
        generators = tuple(count_generators(run, manifest))
    _require_known(user or UserFacts(), generators)
    digest = digest_bytes(storage.read_bytes(storage.join(run, MANIFEST)))
    ancestors = tuple(find_ancestors(run, manifest))
    return RunFacts(
        manifest,
        digest,
        generators,
        ancestors,
        user or UserFacts(),
        certificate=certificate,
        statements=read_history(run),
        taken={name: rows for name, _, rows in count_taken_out(run, manifest).rows()},
    )


def _require_known(user: UserFacts, generators: Sequence[Generator]) -> None:
    """Refuse links for models that the corpus doesn't name, which no paper would show.

    Raises: CardError: there is such a link.
    """
    known = sorted({item.name for item in generators})
    if unknown := [name for name in user.links if name not in known]:
        raise CardError(
            f"no model of the corpus is called {unknown[0][:60]!r}",
            where="--generator",
            remedy=f"the names are {list_names(known, NAMES_LISTED)}"
            if known
            else "leave it out: the corpus names no model",
        )


def label_rows(run: str, manifest: Manifest) -> pl.LazyFrame:
    """Return a run's ledger without rejects, with the role of each row's teacher and its donor."""
    ledger = scan_ledger(run, manifest)
    names = ledger.collect_schema().names()
    donor = pl.col("donor") if "donor" in names else pl.lit(None, pl.String)
    mixed = pl.col("mix") if "mix" in names else pl.lit(None, pl.String)
    is_added = pl.col("decision") == MIX
    donor = pl.when(is_added).then(mixed).when(pl.col("decision") == "swap").then(donor)
    role = pl.when(is_added).then(pl.lit(ADDED)).when(pl.col("decision") == "swap")
    return ledger.filter(pl.col("decision") != "reject").with_columns(
        role=role.then(pl.lit(SWAPPED)).otherwise(pl.lit(ANSWERS)), from_donor=donor.otherwise(None)
    )


def count_generators(run: str, manifest: Manifest) -> Iterator[Generator]:
    """Yield the models of a run's rows by role, those with most rows first."""
    counted = label_rows(run, manifest)
    names = counted.collect_schema().names()
    yield from _list_generators(counted, "teacher")
    if REJECTED_TEACHER in names:
        pairs = counted.filter(pl.col(REJECTED_TEACHER).is_not_null())
        yield from _list_generators(pairs.with_columns(role=pl.lit(REJECTED)), REJECTED_TEACHER)


def _list_generators(rows: pl.LazyFrame, name: str) -> Iterator[Generator]:
    decision = pl.col("decision")
    counts = rows.group_by(name, "role", "from_donor").agg(
        rows=pl.len(),
        published=decision.is_in(PUBLISHED).sum(),
        masked=(decision == "mask").sum(),
        removed=decision.is_in(["quarantine", "drop"]).sum(),
    )
    order = ("rows", name, "role", "from_donor")
    found = counts.sort(*order, descending=[True, False, False, False], nulls_last=True)
    for line in found.collect(engine="streaming").iter_rows():
        yield Generator(*line)


def find_ancestors(run: str, manifest: Manifest) -> Iterator[Ancestor]:
    """Yield the earlier runs from which a run was made, the latest ones first.

    Runs are looked for in the folders that circumstances, addresses of the input and donors name.
    A run that isn't there is yielded without a manifest.
    """
    waiting, seen = [(run, manifest)], {manifest.run_id}
    while waiting and len(seen) < MOST_ANCESTORS:
        folder, child = waiting.pop(0)
        known = {found.run_id: (place, found) for place, found in _load_candidates(folder, child)}
        decided = child.circumstances.get("decided_from")
        for run_id in (*([str(decided)] if decided else ()), *child.parents):
            if run_id not in seen:
                seen.add(run_id)
                yield Ancestor(run_id, known[run_id][1] if run_id in known else None)
                waiting += [known[run_id]] if run_id in known else []


def _load_candidates(run: str, manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Yield the runs in the folders that a manifest names."""
    folders = [manifest.circumstances.get(PARENT_FOLDER)]
    inputs = (item.uri for item in manifest.inputs if "/clean/" in item.uri)
    folders += [uri.partition("/clean/")[0] for uri in inputs]
    donors = [donor for item in (manifest.swap, manifest.mix) if item for donor in item.donors]
    folders += [storage.join(run, DONORS, donor.name) for donor in donors]
    for folder in dict.fromkeys(str(folder) for folder in folders if folder):
        try:
            yield folder, load_manifest(folder)
        except RunError:  # the run was moved or removed, which the papers say
            continue


def name_command(manifest: Manifest) -> str:
    """Return the command that made a run."""
    if manifest.mix is not None and manifest.is_own(manifest.mix):
        return "congener mix"
    if manifest.swap is not None and manifest.is_own(manifest.swap):
        return "congener swap"
    return "congener decide" if manifest.circumstances.get("decided_from") else "congener filter"


def get_public_address(item: InputFile) -> str | None:
    """Return an input file's address if it may be published."""
    return item.uri if item.uri.startswith(PUBLIC_SCHEMES) else None


def describe_models(manifest: Manifest) -> list[str]:
    """Return the models that scored the rows, with their revisions. Folders aren't named."""
    encoder = [manifest.identity.encoder] if manifest.identity.encoder else []
    others = [{"model": name, **item} for name, item in manifest.identity.classifiers.items()]
    return [_name_model(item) for item in (*encoder, *sorted(others, key=str))]


def _name_model(settings: Mapping[str, Any]) -> str:
    name = str(settings.get("model") or NOT_KNOWN)
    is_folder = name.startswith(("/", ".", "~")) or "://" in name
    shown = name.rstrip("/").rpartition("/")[2] if is_folder else name
    revision = settings.get("revision")
    return f"{shown} at {revision}" if revision else shown
