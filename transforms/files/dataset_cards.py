"""Dataset cards: the files of each split, according to a data set's README.

If a card has `configs`, Hugging Face's `datasets` library takes the splits from there rather than
from file names.
"""

from __future__ import annotations

import codecs
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import re2
import yaml

from transforms.files import storage
from transforms.files.locations import describe_unusable

CARD = "README.md"

FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)

DEFAULT_CONFIG = "default"
DEFAULT_SPLIT = "train"
"""The split of files without a split name in the card."""

KEPT_KEYS = ("config_name", "default", "data_dir")
"""The config keys that still apply to `clean/`."""

SPLIT_NAME = re.compile(r"\w+(?:\.\w+)*")
"""A pattern for the names of splits, which `datasets` refuses if they have other signs."""

UNREADABLE = (
    *(yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError),
    *(LookupError, AttributeError),
)
"""The errors of the YAML loader, including those for dates, numbers, nesting and wrong tags."""

GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]")

Splits = tuple[tuple[str, str], ...]
"""The splits of a file, as sorted pairs of config name and split name."""


class CardSplit(NamedTuple):
    """A split in a card: its config, its name, and the globs of its files."""

    config: str
    split: str
    patterns: tuple[str, ...]


class DatasetCard(NamedTuple):
    """A card's configs without file lists, and the splits of all configs."""

    uri: str
    configs: dict[str, dict[str, Any]]
    splits: tuple[CardSplit, ...]

    def find_splits(self, source: str) -> Splits:
        """Return the splits that a source belongs to."""
        found = {
            (item.config, item.split)
            for item in self.splits
            if any(_matches(source, pattern) for pattern in item.patterns)
        }
        return tuple(sorted(found))

    def list_files(self) -> dict[str, Any]:
        """Return each config's settings and the globs of its splits."""
        found: dict[str, dict[str, Any]] = {
            name: {key: str(value) for key, value in kept.items()}
            for name, kept in self.configs.items()
        }  # `build_card` sorts the configs, because their order isn't part of a run's identity
        for item in self.splits:
            found[item.config].setdefault("splits", []).append([item.split, *item.patterns])
        return found

    def describe(self) -> str:
        """Return the configs and their splits on one line."""
        names: dict[str, list[str]] = {}
        for item in self.splits:
            names.setdefault(item.config, []).append(item.split)
        return "; ".join(f"{config}: {', '.join(splits)}" for config, splits in names.items())


def read_card(uri: str) -> DatasetCard | None:
    """Return the card in a file, or None for one that is unreadable or without split files."""
    return parse_card(storage.read_bytes(uri).decode(errors="replace"), uri)


def parse_card(text: str, uri: str = CARD) -> DatasetCard | None:
    """Return the card in a text, or None for one that is unreadable or without split files."""
    try:
        return _parse_configs(_load_configs(text), uri)
    except UNREADABLE:
        return None


def explain_unread(uri: str) -> str | None:
    """Return why the splits in a card can't be read, or None if they can or if it has none."""
    data = storage.read_bytes(uri)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it is UTF-16"
    try:
        _parse_configs(_load_configs(data.decode(errors="replace")), uri)
    except UNREADABLE as error:
        return " ".join(str(error).split())
    return None


def _load_configs(text: str) -> list[Mapping[Any, Any]]:
    """Return the configs in a card's metadata.

    Raises: Exception: one of `UNREADABLE`; the metadata isn't YAML.
    """
    front = FRONT_MATTER.match(text)
    value = yaml.safe_load(front[1]) if front else None
    listed = value.get("configs") if isinstance(value, dict) else None
    items = listed if isinstance(listed, list) else []
    return [item for item in items if isinstance(item, dict)]


def _parse_configs(configs: Iterable[Mapping[Any, Any]], uri: str) -> DatasetCard | None:
    """Return a card with these configs, or None if they list no split files.

    Raises: ValueError: a split has a name that `datasets` refuses, or a text isn't UTF-8.
    """
    found = {_get_name(config): dict[str, Any]() for config in configs}
    splits = tuple(split for config in configs for split in _list_splits(config))
    for item in splits:
        if not SPLIT_NAME.fullmatch(item.split):
            raise ValueError(f"{item.split!r} can't be the name of a split")
        if any("\ufffd" in pattern for pattern in item.patterns):
            raise ValueError(f"a path of the split {item.split} isn't UTF-8")
    for config in configs:
        found[_get_name(config)] = {
            name: bool(value) if name == "default" else _read_name(value, "")
            for name in KEPT_KEYS
            if (value := config.get(name)) is not None
        }
    return DatasetCard(uri, found, splits) if splits else None


def _get_name(config: Mapping[Any, Any]) -> str:
    return _read_name(config.get("config_name"), DEFAULT_CONFIG)


def _read_name(value: object, default: str) -> str:
    """Return a scalar as text, or the default in place of anything else.

    Raises: ValueError: the text can't be part of a path.
    """
    text = str(value) if isinstance(value, str | int | float | dt.date) else default
    if problem := describe_unusable(text):
        raise ValueError(f"{text!r} {problem}")
    return text


def _list_splits(config: Mapping[Any, Any]) -> Iterator[CardSplit]:
    """Yield a config's splits from one glob, a list of globs, or named splits in `data_files`."""
    files = config.get("data_files")
    items = files if isinstance(files, list) else [files]
    folder = _read_name(config.get("data_dir"), "").strip("/")
    for item in items:
        split, paths = DEFAULT_SPLIT, item
        if isinstance(item, dict):
            split, paths = _read_name(item.get("split"), DEFAULT_SPLIT), item.get("path")
        globs = [_read_name(path, "") for path in (paths if isinstance(paths, list) else [paths])]
        patterns = tuple(f"{folder}/{path}" if folder else path for path in globs if path)
        if patterns:
            yield CardSplit(_get_name(config), split, patterns)


def _matches(source: str, pattern: str) -> bool:
    """Return whether a glob matches a source or one of its folders."""
    pattern = pattern.removeprefix("./").rstrip("/")
    if GLOB.search(pattern) is None:
        return f"{source}/".startswith(f"{pattern}/")
    compiled = _compile(f"(?s:{_translate(pattern)}(?:/.*)?)")
    return compiled is not None and compiled.fullmatch(source) is not None


@lru_cache(4096)
def _compile(expression: str) -> Any:
    """Compile an expression in RE2, whose time is linear; return None if a glob has a mistake."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except (re2.error, ValueError):
        return None


def _translate(pattern: str) -> str:
    """Translate a glob to a regular expression. Only `**` matches across folders."""
    parts, after = [], 0
    for sign in GLOB.finditer(pattern):
        parts += [re.escape(pattern[after : sign.start()]), _translate_sign(sign[0])]
        after = sign.end()
    return "".join(parts) + re.escape(pattern[after:])


def _translate_sign(sign: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if sign in known:
        return known[sign]
    start = "[^" if sign.startswith("[!") else "["
    return start + re.escape(sign[len(start) : -1]).replace(r"\-", "-") + "]"


def build_card(card: DatasetCard, stems: Iterable[tuple[str, Splits]]) -> str | None:
    """Return a card for `clean/` with each split's files, or None if no split has files.

    `stems` holds each clean file's path without the shard name, and the file's splits.
    """
    files: dict[str, dict[str, dict[str, None]]] = {}
    for stem, splits in stems:
        for config, split in splits:
            files.setdefault(config, {}).setdefault(split, {})[f"{stem}.part-*"] = None
    configs = []
    for name, kept in sorted(card.configs.items()):
        order = dict.fromkeys(item.split for item in card.splits if item.config == name)
        found = files.get(name, {})
        listed = [{"split": split, "path": list(found[split])} for split in order if split in found]
        if listed or not order:
            own = {key: value for key, value in kept.items() if key != "data_dir" or not order}
            configs.append({**own, "data_files": listed} if listed else own)
    if not files:
        return None
    return f"---\n{yaml.safe_dump({'configs': configs}, sort_keys=False, allow_unicode=True)}---\n"


def declare_columns(text: str | None, columns: Sequence[Mapping[str, Any]]) -> str:
    """Return a card for `clean/` that declares the rows' columns for each of its configs.

    `text` is a card that `build_card` or this function wrote, or None.
    """
    front = FRONT_MATTER.match(text or "")
    fields = yaml.safe_load(front[1]) if front else {}
    names = [config.get("config_name", DEFAULT_CONFIG) for config in fields.get("configs", ())]
    infos = [{"config_name": name, "features": list(columns)} for name in names]
    fields["dataset_info"] = infos or {"features": list(columns)}
    return f"---\n{_Dumper.dump_plainly(fields)}---\n"


def forget_columns(text: str) -> str | None:
    """Return a card for `clean/` without columns, or None if it says nothing else."""
    front = FRONT_MATTER.match(text)
    fields = yaml.safe_load(front[1]) if front else {}
    fields.pop("dataset_info", None)
    return f"---\n{_Dumper.dump_plainly(fields)}---\n" if fields else None


class _Dumper(yaml.SafeDumper):
    """A dumper that writes equal lists out, without anchors, which some readers refuse."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (PyYAML's signature)
        return True

    @classmethod
    def dump_plainly(cls, fields: Mapping[str, Any]) -> str:
        """Return fields as YAML, in their order."""
        return str(yaml.dump(dict(fields), Dumper=cls, sort_keys=False, allow_unicode=True))
