"""Donors: other teachers' answers, filtered like the run before any of them is used."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from pipelines.config import FilterConfig, make_absolute
from pipelines.filter import run_filter
from pipelines.runs.finished import list_outputs, read_table
from pipelines.runs.layouts import restore_layout
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.corpora import ShardLimits
from schemas.digests import digest_config
from schemas.errors import CardError, RunError
from schemas.events import DonorFiltered, Event, Listener, Noticed, RunSummarised
from schemas.manifests import Manifest
from schemas.notices import Notice
from schemas.policies import Policy
from schemas.runs import BANK, DONORS, MANIFEST, parse_path, shard_path
from schemas.swaps import DONOR_NAME, Donor
from transforms.files import storage
from transforms.files.locations import expand_input
from transforms.files.sources import survey
from transforms.swap_offers import DonorFile

NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)
ODD = re.compile(r"[^a-z0-9._-]+")
SUFFIX = re.compile(r"(\.(jsonl?|parquet|arrow|csv|tsv|gz|zst|zip|bz2|xz))+$", re.IGNORECASE)
LONGEST_NAME = 60
SHARE_TOLERANCE = 1e-3


class DonorCorpus(NamedTuple):
    """A donor's name and the path of its corpus."""

    name: str
    path: str


class FilteredDonor(NamedTuple):
    """A donor's finished run."""

    record: Donor
    run: str
    manifest: Manifest


def name_donors(given: Sequence[str]) -> list[DonorCorpus]:
    """Return the donors in the given order, each as NAME=PATH or PATH.

    Without a name, a donor is called like its file or folder. Equal names get numbers.

    Raises: CardError: a name can't be the name of a folder, or is given twice.
    """
    found: dict[str, str] = {}
    for item in given:
        named = NAMED.fullmatch(item)
        name = named[1].lower() if named and "://" not in named[1] else None
        path = expand_input(named[2] if named and name else item)
        if name is not None and (name in found or not re.fullmatch(DONOR_NAME, name)):
            raise CardError(
                "is given twice" if name in found else "isn't a name of a folder",
                where=f"--donor {name}=",
                remedy="give every donor a short name of its own, in letters and digits",
            )
        found[name or _find_name(path, found)] = path
    return [DonorCorpus(name, path) for name, path in found.items()]


def _find_name(path: str, known: dict[str, str]) -> str:
    last = SUFFIX.sub("", path.rstrip("/").rpartition("/")[2]).lower()
    plain = ODD.sub("-", last).strip("-._")[:LONGEST_NAME] or "donor"
    number, name = 1, plain
    while name in known:
        number += 1
        name = f"{plain[: LONGEST_NAME - 4]}-{number}"
    return name


def add_donor(path: str, donors: Sequence[DonorCorpus]) -> str:
    """Return a name for one more donor, which none of the donors has."""
    return _find_name(path, {donor.name: donor.path for donor in donors})


def read_shares(given: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return the shares of donors, each given as NAME=SHARE, in their order.

    Raises: CardError: one has another form, isn't above 0, or is given twice, or their sum isn't 1.
    """
    found: dict[str, float] = {}
    for item in given:
        name, _, number = item.rpartition("=")
        share = _read_share(number)
        if not name or share is None or name.lower() in found:
            raise CardError(
                "is given twice" if name.lower() in found else "isn't a donor's name and its share",
                where=f"--share {item}",
                remedy="give each donor a share above 0, such as --share a=0.7 --share b=0.3",
            )
        found[name.lower()] = share
    if found and abs(sum(found.values()) - 1) > SHARE_TOLERANCE:
        raise CardError(
            f"add up to {sum(found.values()):.4g}, not to 1",
            where="--share",
            remedy="give shares that add up to 1; donors without a share answer what is left",
        )
    return tuple(found.items())


def _read_share(number: str) -> float | None:
    """Return a share above 0 and at most 1, or None for anything else."""
    try:
        share = float(number)
    except ValueError:
        return None
    return share if 0 < share <= 1 else None


def require_shares(shares: Sequence[tuple[str, float]], names: Sequence[str]) -> None:
    """Check that every share is a donor's.

    Raises: CardError: there is no donor with one of the names.
    """
    for name, share in shares:
        if name not in names:
            raise CardError(
                "names no donor",
                where=f"--share {name}={share:g}",
                remedy=f"the donors are {', '.join(names)}; --donor NAME=CORPUS gives another name",
            )


def relax_policy(policy: Policy) -> Policy:
    """Return the policy for donors: without exceptions, so that no lot may carry a trait.

    Budgets don't count either, because a donor's flagged rows are left unused.
    """
    none = dict.fromkeys(("removal_budget", "reject_budget", "unread_budget"))
    return policy.model_copy(update={**none, "exceptions": (), "duplicates": "keep"})


def filter_donors(
    run: str,
    parent: Manifest,
    corpora: Sequence[DonorCorpus],
    settings: FilterConfig,
    restart: bool,
    beam_options: Sequence[str],
    listener: Listener,
) -> list[FilteredDonor]:
    """Filter every donor of a run with the run's bank, encoder and policy.

    `settings` has the output, the hardware and the engine.

    Raises: CongenerError: a donor can't be filtered, or its folder holds another finished run.
    """
    own = parent.config
    settings = settings.model_copy(
        update={
            "bank": storage.join(run, BANK),
            "span_floor": own["span_floor"],
            "encoder": FilterConfig.model_validate({"encoder": own["encoder"]}).encoder,
            "shards": FilterConfig.model_validate({"shards": own["shards"]}).shards,
        }
    )
    policy = relax_policy(read_recorded_policy(parent))
    return [
        filter_donor(donor, settings, policy, restart, beam_options, listener) for donor in corpora
    ]


def filter_donor(
    donor: DonorCorpus,
    settings: FilterConfig,
    policy: Policy,
    restart: bool,
    beam_options: Sequence[str],
    listener: Listener,
) -> FilteredDonor:
    """Filter a donor into a run of its own below the output of `settings`, or take it from there.

    `settings` has the bank and the engine. An interrupted run is resumed.

    Raises: CongenerError: the donor can't be filtered. Raises: RunError: the folder holds a
    finished run of another donor or with other settings.
    """
    run = storage.join(settings.output, f"{DONORS}/{donor.name}")
    own = settings.model_copy(update={"input": (donor.path,), "output": run})
    if not restart and storage.exists(storage.join(run, MANIFEST)):
        manifest = load_manifest(run)
        _require_same(run, manifest, own, policy)
    else:
        listener(Noticed(Notice(f"donor {donor.name}: filtering {donor.path}")))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.yaml"
            path.write_text(json.dumps(policy.model_dump(mode="json", exclude_none=True)))
            config = own.model_copy(update={"policy": str(path)})
            manifest = run_filter(config, restart, (), beam_options, _select_events(listener))
    record = Donor(
        name=donor.name,
        run_id=manifest.run_id,
        ledger_root=manifest.ledger_root,
        rows=manifest.conservation.rows_in,
        usable=_count_usable(run, manifest),
    )
    listener(DonorFiltered(record.name, record.rows, record.usable))
    return FilteredDonor(record, run, manifest)


def _select_events(listener: Listener) -> Listener:
    """Return a listener that passes on a donor's progress and warnings, but no facts and tables."""

    def listen(event: Event) -> None:
        is_fact = isinstance(event, Noticed) and event.notice.severity != "warning"
        if not is_fact and not isinstance(event, RunSummarised):
            listener(event)

    return listen


def _require_same(run: str, manifest: Manifest, config: FilterConfig, policy: Policy) -> None:
    """Refuse a finished donor's run of other files or settings."""
    found = survey(config.input, ShardLimits.model_validate(config.shards.model_dump()))
    inputs = tuple((item.name, item.rows, item.sha256) for item in found.sources)
    differing = [
        name
        for name, same in (
            ("its files", inputs == manifest.identity.inputs),
            (
                "the policy",
                digest_config(policy.model_dump(mode="json")) == manifest.identity.policy_digest,
            ),
            (
                "the settings",
                digest_config(config.select_identity()) == manifest.identity.config_digest,
            ),
        )
        if not same
    ]
    if differing:
        raise RunError(
            f"the donor was filtered before, but {differing[0]} changed since then",
            where=run,
            remedy="choose another --output, or filter the donors again with --restart",
        )


def _count_usable(run: str, manifest: Manifest) -> int:
    """Return the number of rows on which no trait fires."""
    total = 0
    for output in list_outputs(manifest, "ledger"):
        ledger = read_table(run, output, ["decision", "reasons"])
        kept = pc.equal(ledger.column("decision"), "keep")
        silent = pc.equal(pc.list_value_length(ledger.column("reasons")), 0)
        total += pc.sum(pc.and_(kept, silent)).as_py() or 0
    return total


def list_donor_files(donors: Sequence[FilteredDonor]) -> list[DonorFile]:
    """Return the files of all donors that hold rows, in the order of the donors."""
    found = []
    for number, donor in enumerate(donors):
        layout = restore_layout(donor.run, donor.manifest)
        for output in donor.manifest.outputs:
            file = parse_path(output.path)
            if file.folder in ("clean", "quarantine") and file.shard and output.rows:
                ledger = shard_path("ledger", file.shard)
                run = make_absolute(donor.run)
                found.append(DonorFile(number, donor.record.name, run, layout, output.path, ledger))
    return found
