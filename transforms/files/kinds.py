"""File kinds, recognised from decompressed content after any byte order mark.

Files without rows, such as pointers and archives, raise an error that names their kind.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, Literal, NamedTuple

from schemas.corpora import FORMATS, ShardLimits
from schemas.errors import InputError
from transforms.files import storage
from transforms.files.compression import (
    SIGNATURE_BYTES,
    Compression,
    find_compression,
    open_decompressed,
)
from transforms.files.json_lines import BOM, parse_line
from transforms.files.json_values import SPACE, read_elements, read_objects, refuse_lists

Kind = Literal["parquet", "arrow", "csv", "jsonl", "array", "objects"]

KIND_NAMES: dict[Kind, str] = {
    "parquet": "Parquet",
    "arrow": "Arrow",
    "csv": "CSV",
    "jsonl": "JSON Lines",
    "array": "a JSON array",
    "objects": "JSON objects",
}

TABLES: tuple[Kind, ...] = ("parquet", "arrow", "csv")
"""Kinds that are read as tables and written as Parquet. The other kinds are JSON."""

SWEPT: tuple[Kind, ...] = ("arrow", "csv")
"""Kinds that can only be read from the beginning."""

TABULAR = re.compile(r"\.[ct]sv(?:\.[a-z0-9]+)?\Z", re.IGNORECASE)
"""The names of CSV and TSV files, whose content doesn't identify them."""

SUFFIX = re.compile(
    r"\.(?:parquet|pq|arrow|feather|jsonl|jsonlines|ndjson|json|csv|tsv)"
    r"(?:\.(?:gz|gzip|zst|zstd|bz2|xz|snappy))?\Z",
    re.IGNORECASE,
)
"""The suffixes of data files. A file named in full may have any suffix."""

HEAD_BYTES = 64 << 10

BLANK_BYTES = 1 << 20
"""How much white space a file may begin with. With more, a file counts as empty JSON Lines."""

TURNS = {frozenset(("role", "content")): "messages", frozenset(("from", "value")): "conversations"}
"""The column for a list of turns with these keys."""


class Foreign(NamedTuple):
    """A kind of file that can't be read: its first bytes, its name and the remedy."""

    pattern: re.Pattern[bytes]
    name: str
    remedy: str


UNPACK = "unpack it, and name the folder"
CONVERT = "convert it to Parquet or JSON Lines"

FOREIGN = tuple(
    Foreign(re.compile(pattern, re.DOTALL), name, remedy)
    for pattern, name, remedy in (
        (
            rb"version https://git-lfs\.github\.com/spec/",
            "is a Git LFS pointer, not the data",
            "fetch the data: git lfs pull",
        ),
        (
            rb"# xet version",
            "is a pointer of Xet, not the data",
            "fetch the data: git xet checkout, or hf download OWNER/NAME --repo-type dataset",
        ),
        (
            rb"/annex/objects/",
            "is a git-annex pointer, not the data",
            "fetch the data: git annex get FILE",
        ),
        (
            rb"(?i:\s*<(?:!doctype|html|\?xml))",
            "is a web page or XML, not data",
            "download the file itself; pages often come from a link that needs a login",
        ),
        (
            rb"PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/|xl/|mimetype)",
            "is a document of Excel or another office program",
            "save the sheet as CSV in UTF-8",
        ),
        (rb"PK\x03\x04.{26}[^/]{1,200}\.npy", "is an archive of NumPy arrays", CONVERT),
        (rb"PK\x03\x04", "is a zip archive", UNPACK),
        (rb".{257}ustar", "is a tar archive", UNPACK),
        (rb"7z\xbc\xaf'\x1c|Rar!", "is an archive", UNPACK),
        (rb"\x04\x22\x4d\x18", "is compressed with lz4", "decompress it: lz4 -d FILE"),
        (rb"\xff\x06\x00\x00sNaPpY", "is compressed with snappy", "decompress it"),
        (rb"\x1f\x9d", "is compressed with compress", "decompress it: uncompress FILE"),
        (rb"FEA1", "is a Feather file of version 1", CONVERT),
        (rb"ORC[\x00-\x1f\x80-\xff]", "is an ORC file", CONVERT),
        (rb"Obj\x01", "is an Avro file", CONVERT),
        (rb"SQLite format 3\x00", "is an SQLite database", CONVERT),
        (rb"\x89HDF\r\n", "is an HDF5 file", CONVERT),
        (rb"\x80[\x02-\x05]", "is a Python pickle, which may run code when it is read", CONVERT),
        (rb"\x93NUMPY", "is a NumPy array", CONVERT),
        (rb"%PDF", "is a PDF", CONVERT),
        (
            rb"\s*\x1e\s*[\[{]",
            "has a record separator before each JSON text",
            "remove them: tr -d '\\036' < FILE > NEW.jsonl",
        ),
        (
            rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff|\x00\x00\x00[\[{]|[\[{]\x00\x00\x00",
            "is UTF-32",
            "convert it to UTF-8: iconv -f UTF-32 -t UTF-8 FILE > NEW",
        ),
        (
            rb"\xff\xfe|\xfe\xff|\x00[\[{]|[\[{]\x00",
            "is UTF-16",
            "convert it to UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW",
        ),
    )
)


class FileKind(NamedTuple):
    """A file's kind of content and its compression."""

    kind: Kind
    compression: Compression

    def __str__(self) -> str:
        packed = "" if self.compression == "none" else f" in {self.compression}"
        return f"{KIND_NAMES[self.kind]}{packed}"


def is_data_file(uri: str) -> bool:
    """Return whether a file's name looks like data."""
    return SUFFIX.search(uri) is not None


def detect_kind(uri: str, size: int, limits: ShardLimits) -> FileKind:
    """Return the kind of a file of `size` bytes.

    Raises:
        InputError: the file can't be opened, is empty, or is of a kind that can't be read.
        OSError: the file can't be read or decompressed.
    """
    with storage.open_raw(uri) as stream:
        signature = stream.read(SIGNATURE_BYTES)
    if not signature:
        raise InputError("is empty", where=uri, remedy="leave it out")
    compression = find_compression(signature)
    max_bytes = limits.compute_max_bytes(size)
    with open_decompressed(uri, compression, max_bytes) as stream:
        head = stream.read(HEAD_BYTES)
        _refuse_foreign(head, uri, compression)
        if (binary := _detect_binary(head, uri, compression)) is not None:
            return FileKind(binary, compression)
        text = _skip_blank(head, stream)
    name = uri if storage.is_local(uri) else uri.partition("?")[0]
    if TABULAR.search(name) and not text.startswith((b"{", b"[")):
        return FileKind("csv", compression)
    if text[:1] in (b"[", b"{"):
        with open_decompressed(uri, compression, max_bytes) as stream:
            return FileKind(_detect_json(text, stream, uri), compression)
    return FileKind("jsonl", compression)


def _refuse_foreign(head: bytes, uri: str, compression: Compression) -> None:
    """Refuse a file whose first bytes show that it can't be read.

    Raises: InputError: the file is of a kind that can't be read, or is compressed twice.
    """
    inside = "" if compression == "none" else f" inside {compression}"
    if (second := find_compression(head)) != "none":
        raise InputError(
            f"is compressed twice: {second}{inside}", where=uri, remedy="decompress it once"
        )
    found = next((item for item in FOREIGN if item.pattern.match(head)), None)
    if found is not None:
        raise InputError(f"{found.name}{inside}", where=uri, remedy=found.remedy)


def _detect_binary(head: bytes, uri: str, compression: Compression) -> Kind | None:
    if head.startswith(b"PAR1"):
        if compression != "none":
            raise InputError(
                f"is Parquet inside {compression}, so the footer at its end can't be read",
                where=uri,
                remedy="decompress it; Parquet files can be compressed inside",
            )
        return "parquet"
    # A stream begins with a message: a mark, then the message's length.
    is_stream = head.startswith(b"\xff\xff\xff\xff") and int.from_bytes(head[4:8], "little") > 0
    return "arrow" if is_stream or head.startswith(b"ARROW1\0\0") else None


def _skip_blank(head: bytes, stream: Any) -> bytes:
    """Return the text after leading white space and byte order marks.

    The stream is read further if necessary.
    """
    text, read = head, 0
    while True:
        while (stripped := text.lstrip(SPACE).removeprefix(BOM)) != text:
            text = stripped
        if text or read >= BLANK_BYTES or not (text := stream.read(HEAD_BYTES)):
            return text
        read += len(text)


def _detect_json(text: bytes, stream: Any, uri: str) -> Kind:
    """Return a JSON file's kind from its first values. The stream is at the beginning.

    Raises: InputError: the rows are lists of turns.
    """
    line, _, _ = text.partition(b"\n")
    if text.startswith(b"["):
        for _, element in islice(read_elements(stream, uri), 1):
            _refuse_turns(element, uri)
        return "array"
    if parse_line(line)[1] is None:
        return "jsonl"
    try:
        (offset, value), *more = islice(read_objects(stream, uri), 2)
    except (InputError, ValueError):  # no object is complete; reading the lines gives the reason
        return "jsonl"
    if more and more[0][1].startswith(b","):
        raise InputError(
            "has commas between its objects, but no brackets around them",
            where=uri,
            remedy="make it an array: (echo '['; cat FILE; echo ']') > NEW.json",
        )
    follows = bool(more) and more[0][0] == offset + len(value)
    several = b"\n" in value or follows
    return "objects" if several and parse_line(value)[1] is None else "jsonl"


def _refuse_turns(element: bytes, uri: str) -> None:
    """Refuse an array of turns, or of lists of turns.

    Raises: InputError: the first element is a turn or a list of turns.
    """
    if element.startswith(b"["):
        raise refuse_lists(uri, each=".[] | ")
    value, error = parse_line(element)
    needed = {column for needs, _ in FORMATS.values() for column in needs}
    if error is None and not needed & set(value):
        for keys, name in TURNS.items():
            if keys <= set(value):
                raise refuse_lists(uri, name)
