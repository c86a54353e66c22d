"""Object stores through Beam's filesystems: their clients' errors as the system's own, and nothing half under a final name."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from apache_beam.io.aws.clients.s3.boto3_client import Client
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

PART = 16 << 20
"""Bytes that are sent at once: larger objects go up in parts, and what a bad connection costs is a part."""

GLOB_SIGNS = "*?["
KINDS: dict[int, type[OSError]] = {
    401: PermissionError,
    403: PermissionError,
    404: FileNotFoundError,
}


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


class SharedS3(S3FileSystem):  # type: ignore[misc]
    """S3 through one client a process: Beam makes one for every call, which takes a tenth of a second each time."""

    _client: tuple[Any, Any] = (None, None)

    @classmethod
    def scheme(cls) -> str:
        """Return a name that no URI has: Beam looks through all filesystems for a URI's, and has one for S3."""
        return "shared-s3"

    def _io(self) -> S3IO:
        if SharedS3._client[0] is not self._options:
            SharedS3._client = (self._options, Client(options=self._options))
        return S3IO(
            client=copy.copy(SharedS3._client[1])
        )  # a copy has its own place in what it reads, and the same connections

    def _list(self, prefix: str) -> Iterator[FileMetadata]:
        for uri, size in self._io().list_files(prefix):
            yield FileMetadata(uri, size)

    def _path_open(
        self,
        path: str,
        mode: str,
        mime_type: str = "application/octet-stream",
        _compression_type: str = "",
    ) -> Any:
        return self._io().open(path, mode, mime_type=mime_type)

    def exists(self, path: str) -> bool:
        """Say whether an object is there."""
        return bool(self._io().exists(path))

    def metadata(self, path: str) -> FileMetadata:
        """Return an object's size."""
        return FileMetadata(path, self._io().size(path))

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, and folders whose names end with a slash."""
        for error in self._io().delete_paths(paths).values():
            if error is not None:
                raise error


def filesystem(uri: str) -> FileSystem:
    """Return the filesystem of a URI.

    Raises: ValueError: There is none, or the package that it needs isn't installed.
    """
    if FileSystems.get_scheme(uri) == S3FileSystem.scheme():
        return SharedS3(FileSystems._pipeline_options or RuntimeValueProvider.runtime_options)  # noqa: SLF001
    return FileSystems.get_filesystem(uri)


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
        (result,) = filesystem(pattern).match([pattern], [limit])
    return [
        FoundFile(item.path, item.size_in_bytes)
        for item in result.metadata_list
        if not item.path.endswith("/")
    ]


def below(folder: str, limit: int | None = None) -> list[FoundFile]:
    """List the objects below a folder, at any depth.

    Raises: OSError: The store can't be listed, or the folder's name would be taken for a glob.
    """
    if odd := next((sign for sign in GLOB_SIGNS if sign in folder), None):
        raise OSError(
            f"{odd!r} in the name of a folder: Beam can't list it on an object store; rename it"
        )
    return matched(f"{folder.rstrip('/')}/**", limit)


def exists(uri: str) -> bool:
    """Say whether an object of exactly this name is there.

    Raises: OSError: The store doesn't say.
    """
    with _speaking():
        return bool(filesystem(uri).exists(uri))


def found(uri: str) -> list[FoundFile]:
    """Return the object of exactly this name, glob signs and all, if it is there.

    Raises: OSError: The store doesn't say.
    """
    if not exists(uri):
        return []
    with _speaking():
        return [FoundFile(uri, filesystem(uri).metadata(uri).size_in_bytes)]


class _Reading(io.RawIOBase):
    """An object opened for reading, whose errors come as OSError at every step."""

    def __init__(self, uri: str) -> None:
        with _speaking():
            self._stream = filesystem(uri).open(uri, compression_type=CompressionTypes.UNCOMPRESSED)

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
        stream: Any = filesystem(uri).create(uri, compression_type=CompressionTypes.UNCOMPRESSED)
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
            filesystem(uri).delete([uri])
    if below(uri, 1):
        with _speaking():
            filesystem(uri).delete([f"{uri.rstrip('/')}/"])
        if left := below(uri, 1):  # Google's client only warns of what it couldn't delete
            raise OSError(f"{left[0].uri} is still there")
