"""Stems: the paths of sources, made safe for the names of output files.

Each file's path in `clean/` and `quarantine/` begins with its source's stem, so it keeps the split
and partition keys.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import accumulate, groupby
from urllib.parse import quote

from schemas.digests import digest_bytes
from schemas.runs import SHARD_NAME
from transforms.files.partitions import parse_folder
from transforms.files.splits import read_split_signs

SAFE_SIGNS = frozenset("-._ =+,@%()~")
"""The safe characters besides letters and digits."""

FILE_BYTES = 160
"""The longest source name that is kept whole, in bytes.

An output file's temporary name is up to 73 bytes longer, and most disks allow 255 bytes.
"""

FOLDER_BYTES = 255
HEAD_BYTES = 80
TAIL_BYTES = 40
"""How many bytes are kept at the end of a long name."""

DIGEST_HEX = 8

_FORMATS = "parquet|pq|jsonl|jsonlines|ndjson|json|arrow|arrows|feather|ipc|csv|tsv|txt"
_SUFFIX = re.compile(
    rf"(?:\.(?:{_FORMATS}))?(?:\.(?:gz|gzip|zst|zstd|bz2|xz|snappy))?", re.IGNORECASE
)
_SHARD = re.compile(rf"\.{SHARD_NAME.pattern}\Z")


def build_stem(source: str) -> str:
    """Return the path below `clean/` for a source's rows, without shard name and suffix.

    Unsafe and long names are changed. Two sources may have the same stem.
    """
    *folders, file = source.split("/")
    return "/".join(
        [*map(_make_folder_safe, folders), _make_safe(_strip_suffixes(file), FILE_BYTES)]
    )


def is_stem(path: str) -> bool:
    """Return whether every name in a path is safe."""
    *folders, file = path.split("/")
    return [*map(_make_folder_safe, folders), _make_safe(file, FILE_BYTES)] == [*folders, file]


def find_folders_alike(stems: Iterable[str]) -> tuple[str, str] | None:
    """Return two folders that are one on a disk that ignores case, or None."""
    known: dict[str, str] = {}
    for below in dict.fromkeys(stem.rpartition("/")[0] for stem in stems):
        for folder in accumulate(below.split("/"), "{}/{}".format):
            same = known.setdefault(unicodedata.normalize("NFC", folder).casefold(), folder)
            if same != folder:
                return same, folder
    return None


def _strip_suffixes(file: str) -> str:
    """Remove a file name's format, compression and earlier shard suffixes."""
    end = next(index for index in range(len(file) + 1) if _SUFFIX.fullmatch(file, index))
    earlier = _SHARD.search(file, 1, end)
    return file[: earlier.start() if earlier else end] or file


def _make_folder_safe(folder: str) -> str:
    """Make a folder's name safe. In `KEY=VALUE`, the value is percent-encoded."""
    if not parse_folder(folder):
        return _make_safe(folder, FOLDER_BYTES)
    key, _, value = folder.partition("=")
    encoded = "".join(char if _is_safe(char) else quote(char, safe="") for char in value)
    return _make_safe(f"{key}={encoded}", FOLDER_BYTES)


def _make_safe(name: str, most: int) -> str:
    """Shorten a name to `most` bytes and remove unsafe characters.

    A changed name contains a digest of the original. Split words are kept.
    """
    digest = f"~{digest_bytes(name.encode())[:DIGEST_HEX]}~"
    hidden = len(name) - len(name.lstrip("._"))
    runs = ["~"] if hidden or not name else []
    runs += ["".join(run) if safe else "~" for safe, run in groupby(name[hidden:], _is_safe)]
    if "~" in runs:
        runs[runs.index("~")] = digest
    safe = "".join(runs)
    return safe if len(safe.encode()) <= most else _shorten(safe, digest)


def _is_safe(char: str) -> bool:
    # many scripts write letters with combining marks
    return char.isalnum() or char in SAFE_SIGNS or unicodedata.category(char).startswith("M")


def _shorten(name: str, digest: str) -> str:
    """Return the beginning and the end of a name, and the split words in between."""
    data = name.encode()
    head, tail = (part.decode(errors="ignore") for part in (data[:HEAD_BYTES], data[-TAIL_BYTES:]))
    kept = read_split_signs(f"{head}{digest}{tail}.").splits
    lost = sorted(read_split_signs(f"{name}.").splits - kept)
    return "".join([head, digest, *(f"-{split}-~" for split in lost), tail])
