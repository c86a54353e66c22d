"""Object stores through Beam's filesystems: their clients' errors as the system's own, and nothing half under a final name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

PART = 16 << 20
"""Bytes that are sent at once: larger objects go up in parts, and what a bad connection costs is a part."""

GLOB_SIGNS = "*?["
KINDS: dict[int, type[OSError]] = {401: PermissionError, 403: PermissionError, 404: FileNotFoundError}


class FoundFile(NamedTuple):
    """A file that a pattern matched."""

    uri: str
    size: int


def use_options(options: PipelineOptions) -> None:
    """Reach the stores as these Beam options say (`--s3_endpoint_url` and its kin); workers are told by their runner."""
    FileSystems.set_options(options)


def _settle_options() -> None:
    """Give the filesystems default options unless they have some: without any, S3 can't be reached and Google's client reads `sys.argv`."""
    if FileSystems._pipeline_options is None and RuntimeValueProvider.runtime_options is None:  # noqa: SLF001
        use_options(PipelineOptions([]))


@contextmanager
def _speaking() -> Iterator[None]:
    """Raise whatever a store's client raises as an OSError; the clients have no exception in common.

    Raises: OSError: FileNotFoundError and PermissionError where the store says so.
    """
    _settle_options()
    try:
        yield
    except Exception as error:
        raise as_os_error(error) from error


def as_os_error(error: Exception) -> OSError:
    """Return an error of a store's client as the system would have raised it."""
    if isinstance(error, BeamIOError) and error.exception_details:
        error = next(iter(error.exception_details.values()))
    elif isinstance(error, OSError):
        return error
    return KINDS.get(getattr(error, "code", None) or 0, OSError)(str(error) or repr(error))


def matched(pattern: str, limit: int | None = None) -> list[FoundFile]:
    """List the objects that a glob matches: a star within a folder, two below it.

    Raises: OSError: The store can't be listed, or isn't known.
    """
    with _speaking():
        (result,) = FileSystems.match([pattern], [limit])
    return [FoundFile(item.path, item.size_in_bytes) for item in result.metadata_list if not item.path.endswith("/")]


def below(folder: str, limit: int | None = None) -> list[FoundFile]:
    """List the objects below a folder, at any depth.

    Raises: OSError: The store can't be listed, or the folder's name would be taken for a glob.
    """
    if odd := next((sign for sign in GLOB_SIGNS if sign in folder), None):
        raise OSError(f"{odd!r} in the name of a folder: Beam can't list it on an object store; rename it")
    return matched(f"{folder.rstrip('/')}/**", limit)


def exists(uri: str) -> bool:
    """Say whether an object of exactly this name is there.

    Raises: OSError: The store doesn't say.
    """
    with _speaking():
        return bool(FileSystems.exists(uri))


def found(uri: str) -> list[FoundFile]:
    """Return the object of exactly this name, glob signs and all, if it is there.

    Raises: OSError: The store doesn't say.
    """
    if not exists(uri):
        return []
    with _speaking():
        return [FoundFile(uri, FileSystems.get_filesystem(uri).metadata(uri).size_in_bytes)]


class _Reading(io.RawIOBase):
    """An object opened for reading, whose errors come as OSError at every step."""

    def __init__(self, uri: str) -> None:
        with _speaking():
            self._stream = FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)

    def readinto(self, buffer: Any) -> int:
        with _speaking():
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _speaking():
            return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed and hasattr(self, "_stream"):
            self._stream.close()
        super().close()


def open_reading(uri: str) -> io.BufferedReader:
    """Open an object for reading.

    Raises: OSError: It isn't there, or can't be reached; so do reads later on.
    """
    return io.BufferedReader(_Reading(uri), 1 << 20)


def write(uri: str, data: bytes) -> None:
    """Write an object, which appears under its name when its last part is there; a write that fails is given up.

    Raises: OSError: The store refuses, or the connection breaks.
    """
    with _speaking():
        stream: Any = FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED)
        try:
            for at in range(0, len(data), PART):
                stream.write(data[at : at + PART])
            stream.flush()
            stream.close()
        except BaseException:
            _give_up(stream)
            raise


def _give_up(stream: Any) -> None:
    """End an upload without finishing it: closed by `with` or by the collector, S3's would publish the parts that made it."""
    with suppress(Exception):  # the store forgets an upload that it can't be told of
        getattr(stream, "terminate", lambda: None)()
    for end in (stream, getattr(stream, "raw", None)):
        if end is not None:
            end.close = lambda: None


def remove(uri: str) -> None:
    """Delete an object and all below its name, if they are there.

    Raises: OSError: Something is left.
    """
    if exists(uri):
        with _speaking():
            FileSystems.delete([uri])
    if below(uri, 1):
        with _speaking():
            FileSystems.delete([f"{uri.rstrip('/')}/"])
        if left := below(uri, 1):  # Google's client only warns of what it couldn't delete
            raise OSError(f"{left[0].uri} is still there")
