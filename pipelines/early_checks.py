"""Checks that run before Beam and torch are loaded, so that a mistake is reported at once.

Beam and torch take seconds to load. A command calls one of these functions before it imports its
working module. That module repeats all checks, and also checks files on object stores.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from pipelines.chosen_traits import (
    advise_bank,
    check_on_library,
    choose_cards,
    require_useful_background,
    require_useful_labels,
    require_vectors,
)
from pipelines.config import FilterConfig, require_local_path
from pipelines.engines.dataflow import require_ready
from pipelines.engines.interface import check_engine
from pipelines.labels import read_all_labels, require_traits
from pipelines.runs.run_inputs import require_corpus
from schemas.errors import CardError, InputError, ModelError, RunError, StorageError
from schemas.runs import FOLDERS, MANIFEST, WORK
from transforms.digest_keys import ENVIRONMENT, read_key
from transforms.files import storage
from transforms.files.locations import STDIN, expand_home, is_read_only, require_reachable
from transforms.rules import check_policy

BANK_INDEX = "bank.json"
"""The bank file that is read first."""
GLOB_SIGN = re.compile(r"[*?\[]")


def check_before_loading(
    config: FilterConfig, restart: bool = False, beam_options: Sequence[str] = ()
) -> None:
    """Check the settings and the local files of `congener filter`.

    Raises: CongenerError: a setting is wrong, a file is missing, or the output can't be used.
    """
    check_settings(config, beam_options)
    check_output(config.output)
    _require_no_run(config.output, own=False)
    if not restart:
        _require_unfinished(config)
    check_sources(config)
    check_traits(config)
    if storage.is_local(config.output):
        check_folder(config, restart)


def check_settings(config: FilterConfig, beam_options: Sequence[str] = ()) -> None:
    """Check that the settings of `congener filter` are complete and consistent.

    Raises: CongenerError: a setting is missing, or settings contradict each other.
    """
    _require_paths(config, beam_options)
    for path in (*config.input, *config.background_files, config.output):
        require_reachable(path)
    _require_writable_scheme(config.output)
    if STDIN in config.input and config.engine.runner != "local":
        raise CardError(
            "standard input can't be read by other machines",
            remedy="write it to a file on a store, and name that",
        )
    _check_digest_key(config)
    require_useful_background(config)
    require_useful_labels(config)
    check_engine(config.engine, beam_options)
    if config.engine.runner == "dataflow":
        require_ready(
            (*config.input, config.output),
            config.hardware.device,
            config.hardware.precision,
            config.engine.accelerator,
        )
    if config.private_quarantine and not storage.is_local(config.output):
        raise CardError(
            "private_quarantine works on local disks only",
            where=config.output,
            remedy="set the permissions of the store's folders there",
        )
    require_outside(config.output, config.input)
    _require_inputs_elsewhere(config)


def _require_paths(config: FilterConfig, given: Sequence[str]) -> None:
    """Refuse settings without an input or an output.

    The remedy treats stray words as inputs.
    """
    if config.input and config.output:
        return
    missing = ["--input"] * (not config.input) + ["--output"] * (not config.output)
    stray = [word for word in given if not word.startswith("-")]
    inputs = [f"--input {shlex.quote(path)}" for path in (*config.input, *stray)]
    output = shlex.quote(config.output) if config.output else "RUN"
    raise CardError(
        f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed",
        remedy=f"congener filter {' '.join(inputs) or '--input CORPUS'} --output {output}",
    )


def _check_digest_key(config: FilterConfig) -> None:
    """Refuse a key that the engine's workers can't read."""
    reference, runner = config.digest_key, config.engine.runner
    if reference is None:
        return
    is_variable = reference.startswith(ENVIRONMENT)
    if (is_variable and runner != "local") or (
        runner == "dataflow" and storage.is_local(reference)
    ):
        raise CardError(
            f"the key of the digests can't be read by the workers of {runner}",
            where=reference,
            remedy="put it into a file that they can read, such as one on a store",
        )
    if is_variable or storage.is_local(reference):
        read_key(reference)


def _require_writable_scheme(output: str) -> None:
    if is_read_only(output):
        raise StorageError(
            "can't be written: this scheme is read-only",
            where=output,
            remedy="write the run to a folder or a store, and upload its clean/ from there; "
            "for the hub: hf upload OWNER/NAME RUN/clean --repo-type dataset",
        )


def require_outside(run: str, inputs: Sequence[str]) -> None:
    """Refuse an output inside an input folder, where the next attempt would read it.

    Raises: InputError: the output is inside an input folder.
    """
    for given in inputs:
        local = storage.is_local(given)
        if storage.is_local(run) != local or (local and not Path(given).is_dir()):
            continue
        above, below = (
            PurePath(Path(path).resolve() if storage.is_local(path) else path)
            for path in (given, run)
        )
        if not below.is_relative_to(above):
            continue
        if not any(part.startswith((".", "_")) for part in below.relative_to(above).parts):
            raise InputError(
                f"is inside the input {given}",
                where=run,
                remedy="choose an --output outside it, or name the input's files",
            )


def _require_inputs_elsewhere(config: FilterConfig) -> None:
    """Refuse settings that lead into the run's own folders, which are written and removed.

    Raises: InputError: a path leads there.
    """
    given = (config.bank, config.policy, config.digest_key, config.encoder.model)
    paths = [*config.input, *config.background_files, *config.traits, *config.labels_on]
    paths += filter(None, (*given, *config.labels, config.labels_run))
    paths += filter(None, (config.canaries, config.keep_list))
    if not storage.is_local(config.output):
        return
    folders = [Path(os.path.realpath(config.output), name) for name in (WORK, *FOLDERS)]
    for path in filter(storage.is_local, paths):
        # unlike Path.resolve, realpath accepts links that lead in a circle
        if any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in folders):
            raise InputError(
                f"is inside the output {config.output}, whose folders are written and removed",
                where=path,
                remedy="choose another --output, or copy the file or folder elsewhere",
            )


def check_sources(config: FilterConfig) -> None:
    """Check the local files that a run reads: corpus, background, cards, policy and bank.

    Raises: CongenerError: a file is missing or has a mistake.
    """
    require_corpus(config.input)
    require_matches((*config.input, *config.background_files, *config.labels_on))
    require_matches(map(_drop_name, config.teacher_answers))
    _check_bank(config.bank)
    _check_cards(config)


def _drop_name(given: str) -> str:
    """Return the glob of `NAME=GLOB`, or of a glob alone."""
    name, sign, pattern = given.partition("=")
    return expand_home(pattern.strip() if sign and "/" not in name else given)


def check_fit(config: FilterConfig, output: str, restart: bool = False) -> None:
    """Check the local files and the output folder of `congener fit`.

    Raises: CongenerError: a file is missing or has a mistake, or the output can't be used.
    """
    check_output(output)
    _require_no_run(output)
    require_useful_labels(config)
    local = storage.is_local(output)
    if not restart and local and storage.exists(storage.join(output, BANK_INDEX)):
        raise RunError(
            "already holds a bank",
            where=output,
            remedy="choose another --output, or replace the bank with --restart",
        )
    check_sources(config)


def check_run(run: str) -> None:
    """Check that a local folder is a finished run with a sound manifest.

    Raises: RunError: the folder isn't a finished run, or its manifest is damaged.
    """
    if storage.is_local(run):
        from pipelines.runs.manifest_file import load_manifest

        load_manifest(run)


def check_decided(run: str) -> None:
    """Check that a local folder is a finished run, or one that a budget stopped.

    Raises: RunError: the folder is neither, or its manifest is damaged.
    """
    if storage.is_local(run):
        from pipelines.runs.manifest_file import load_decided

        load_decided(run)


def check_manifest(run: str) -> None:
    """Check that a local folder has a manifest, sound or not.

    Raises: RunError: the folder has no manifest.
    """
    if storage.is_local(run) and not storage.exists(storage.join(run, MANIFEST)):
        check_run(run)


def check_output(output: str) -> None:
    """Check that a local folder can be written to or created.

    Raises:
        RunError: the path is a file.
        StorageError: the permissions of the folder, or of its nearest existing parent, forbid
            writing.
    """
    if not storage.is_local(output):
        return
    from pipelines.runs.lock import require_folder

    path = Path(output)
    require_folder(path)
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        kind = "isn't writable" if existing.is_dir() else "is a file"
        raise StorageError(
            f"can't be written: {existing} {kind}",
            where=output,
            remedy="choose another --output, or change the permissions",
        )


def check_file(output: str) -> None:
    """Check that a command's single file can be written, and isn't in a finished run.

    Raises:
        RunError: the file would be in a finished run, which `verify` would then refuse.
        StorageError: the path is a folder, or its folder can't be written.
    """
    _require_no_run(output)
    if not storage.is_local(output):
        _require_writable_scheme(output)
        return
    if Path(output).is_dir():
        raise StorageError("is a folder", where=output, remedy="name a file in a folder")
    check_output(str(Path(output).absolute().parent))


def check_output_folder(output: str) -> None:
    """Check that a command's files can be written to a folder that isn't in a finished run.

    Raises:
        RunError: the folder is a run's, or the path is a file.
        StorageError: the folder can't be written.
    """
    _require_no_run(output)
    _require_writable_scheme(output)
    check_output(output)


def _require_no_run(output: str, *, own: bool = True) -> None:
    """Refuse a folder inside a finished run, or with `own` a run's folder, as another output.

    Raises: RunError: the folder is a run's.
    """
    if not storage.is_local(output):
        return
    path = Path(output).absolute()
    for folder in (path, *path.parents)[0 if own else 1 :]:
        if (folder / MANIFEST).is_file() and (folder / "ledger").is_dir():
            raise RunError(
                "is a finished run" if folder == path else f"is inside the finished run {folder}",
                where=output,
                remedy="choose another --output",
            )


def _require_unfinished(config: FilterConfig) -> None:
    """Refuse a finished run, unless a process may still be cleaning up there."""
    run = config.output
    if storage.is_local(run) and not Path(run, WORK).exists():
        from pipelines.runs.unfinished import require_unfinished

        require_unfinished(run, restart=False, config=config)


def require_matches(patterns: Iterable[str]) -> None:
    """Refuse a local path or glob that matches nothing."""
    for pattern in patterns:
        if storage.is_local(pattern) and not os.path.lexists(pattern) and not _may_match(pattern):
            raise InputError(
                "matches no file",
                where=pattern,
                remedy=storage.suggest_path(pattern),
            )


def _may_match(pattern: str) -> bool:
    """Return whether a local glob may match anything.

    Beam and Python agree only on `*`, so other wildcards may match.
    """
    fixed = GLOB_SIGN.split(pattern, maxsplit=1)[0].rpartition("/")[0]
    if fixed and not Path(fixed).is_dir():
        return False
    if any(sign in pattern for sign in ("**", "?", "[")):
        return True
    return any(glob.iglob(pattern, include_hidden=True))  # noqa: PTH207 - takes absolute patterns


def _check_bank(bank: str | None) -> None:
    """Refuse a local folder without a bank."""
    if bank and storage.is_local(bank) and not Path(bank, BANK_INDEX).is_file():
        raise ModelError(
            f"is not a bank: it has no {BANK_INDEX}",
            where=bank,
            remedy=advise_bank(bank, BANK_INDEX),
        )


def _check_cards(config: FilterConfig) -> None:
    """Refuse an unreadable trait or policy, and a policy that doesn't fit the traits."""
    policy = config.load_policy()
    if config.bank and not config.traits:
        return  # the traits come from the bank, which isn't read here
    cards = choose_cards(config)
    require_vectors(config, [card.card for card in cards])
    for path in map(require_local_path, config.labels):
        require_traits(read_all_labels(path), [card.id for card in cards], path)
    if config.labels and config.labels_run:
        check_run(config.labels_run)
    if config.policy:
        check_policy(policy, [card.card for card in cards])


def check_traits(config: FilterConfig) -> None:
    """Check that the thresholds of a run can be settled, unless its own clean text decides that.

    Raises: CardError: a card or the policy asks for more clean text than there is.
    """
    if not (config.background or config.bank):
        check_on_library(choose_cards(config), config.load_policy())


def check_folder(config: FilterConfig, restart: bool = False) -> None:
    """Check that a run can be begun in its folder, or resumed with these settings.

    Raises: RunError: the folder holds another unfinished run, or data that isn't the run's.
    """
    from pipelines.runs.unfinished import check_begun

    cards = () if config.bank and not config.traits else choose_cards(config)
    settings = {
        "config": config.select_identity(),
        "policy": config.load_policy().model_dump(mode="json"),
    }
    if cards:
        settings["traits"] = {card.id: card.digest[:16] for card in cards}
    check_begun(config.output, settings, restart)
