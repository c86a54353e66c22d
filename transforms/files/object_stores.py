"""Object stores, through Beam's filesystems.

Client errors become OSErrors, and a failed write leaves no partial object. Beam takes a second to
import, so `storage` imports this module only when a path needs it.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from apache_beam.io.aws.clients.s3.boto3_client import Client
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.options.value_provider import RuntimeValueProvider

from transforms.files.patterns import FoundFile, find_glob_sign

PART = 16 << 20
"""The size of an upload request in bytes. A broken connection loses at most one request."""

ERRORS_BY_CODE: dict[int, type[OSError]] = {
    401: PermissionError,
    403: PermissionError,
    404: FileNotFoundError,
}


def use_options(options: PipelineOptions) -> None:
    """Set this process's Beam options for stores, such as `--s3_endpoint_url`.

    On workers, the runner sets them.
    """
    FileSystems.set_options(options)


def _get_options() -> Any:
    """Return the options of this process or its runner, or None."""
    options = FileSystems._pipeline_options  # noqa: SLF001 - Beam offers no other access to them
    return RuntimeValueProvider.runtime_options if options is None else options


def _ensure_options() -> None:
    """Set default options unless some are set already.

    Without options, S3 can't be reached and Google's client parses `sys.argv`.
    """
    if _get_options() is None:
        use_options(PipelineOptions([]))


class SharedS3(S3FileSystem):
    """S3 with one client per process. Beam creates a client for each call, which takes 0.1 s."""

    _client: tuple[Any, Any] = (None, None)

    @classmethod
    def scheme(cls) -> str:
        """Return an unused scheme, because Beam allows only one filesystem for `s3`."""
        return "shared-s3"

    def _io(self) -> S3IO:
        if SharedS3._client[0] is not self._options:
            SharedS3._client = (self._options, Client(options=self._options))
        # a copy shares the connections but has its own read position
        return S3IO(client=copy.copy(SharedS3._client[1]))

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
        """Return whether an object exists."""
        return bool(self._io().exists(path))

    def metadata(self, path: str) -> FileMetadata:
        """Return the size of an object."""
        return FileMetadata(path, self._io().size(path))

    def checksum(self, path: str) -> str:
        """Return an object's entity tag."""
        return str(self._io().checksum(path))

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects. A name that ends with a slash means all objects below the name."""
        for error in self._io().delete_paths(paths).values():
            if error is not None:
                raise error


def find_filesystem(uri: str) -> FileSystem:
    """Return the filesystem for a URI.

    Raises: ValueError: no filesystem has the URI's scheme, or its package isn't installed.
    """
    if FileSystems.get_scheme(uri) == S3FileSystem.scheme():
        return SharedS3(_get_options())
    return FileSystems.get_filesystem(uri)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Convert all errors of a store's client to OSErrors.

    Raises: OSError: the client fails. If the cause is known, the error is a FileNotFoundError or a
    PermissionError.
    """
    _ensure_options()
    try:
        yield
    except Exception as error:
        raise convert_error(error) from error


def convert_error(error: Exception) -> OSError:
    """Return an OSError for an error of a store's client."""
    while isinstance(error, BeamIOError) and error.exception_details:
        error = next(iter(error.exception_details.values()))  # Beam may wrap an error twice
    if isinstance(error, OSError):
        return error
    return ERRORS_BY_CODE.get(getattr(error, "code", None) or 0, OSError)(str(error) or repr(error))


def match_files(pattern: str, limit: int | None = None) -> list[FoundFile]:
    """Return the files that a glob matches. `*` matches within a folder, and `**` at any depth.

    Raises: OSError: the store can't be listed, or the URI's scheme is unknown.
    """
    with _translate_errors():
        (result,) = find_filesystem(pattern).match([pattern], [limit])
    return [
        FoundFile(item.path, item.size_in_bytes)
        for item in result.metadata_list
        if not item.path.endswith("/")
    ]


def list_below(folder: str, limit: int | None = None) -> list[FoundFile]:
    """Return the objects below a folder, at any depth.

    Raises: OSError: the store can't be listed, or the folder's name contains a glob character,
        which can't be escaped.
    """
    if sign := find_glob_sign(folder):
        raise OSError(
            f"the name of the folder contains {sign!r}, and Beam can't list such a folder on an "
            "object store; rename it"
        )
    return match_files(f"{folder.rstrip('/')}/**", limit)


def exists(uri: str) -> bool:
    """Return whether an object with this exact name exists.

    Raises: OSError: the store doesn't answer.
    """
    with _translate_errors():
        return bool(find_filesystem(uri).exists(uri))


def find_object(uri: str) -> list[FoundFile]:
    """Return the object with this exact name, or an empty list.

    Globs aren't expanded.

    Raises: OSError: the store doesn't answer.
    """
    if not exists(uri):
        return []
    with _translate_errors():
        return [FoundFile(uri, find_filesystem(uri).metadata(uri).size_in_bytes)]


def take_fingerprint(uri: str) -> str:
    """Return an object's size and the store's checksum.

    Raises: OSError: the object doesn't exist, or the store doesn't answer.
    """
    with _translate_errors():
        filesystem = find_filesystem(uri)
        return f"{filesystem.metadata(uri).size_in_bytes} {filesystem.checksum(uri)}"


class _Reading(io.RawIOBase):
    """An object opened for reading. All its errors are OSErrors."""

    def __init__(self, uri: str) -> None:
        with _translate_errors():
            self._stream = find_filesystem(uri).open(
                uri, compression_type=CompressionTypes.UNCOMPRESSED
            )

    def readinto(self, buffer: Any) -> int:
        with _translate_errors():
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _translate_errors():
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


def open_object(uri: str) -> io.BufferedReader:
    """Open an object for reading.

    Raises: OSError: the object doesn't exist or can't be reached. Later reads may raise the error
    too.
    """
    return io.BufferedReader(_Reading(uri), 1 << 20)


def write(uri: str, data: bytes) -> None:
    """Write an object, which appears when its upload completes.

    Raises: OSError: the store refuses the object, or the connection breaks.
    """
    with _translate_errors():
        stream: Any = find_filesystem(uri).create(
            uri, compression_type=CompressionTypes.UNCOMPRESSED
        )
        try:
            for offset in range(0, len(data), PART):
                stream.write(data[offset : offset + PART])
            stream.flush()
            stream.close()
        except BaseException:
            _abandon_upload(stream)
            raise


def _abandon_upload(stream: Any) -> None:
    """End an upload without completing it.

    Closing the stream, even by garbage collection, would make S3 publish the uploaded parts.
    """
    with suppress(Exception):  # if the store can't be reached, it drops the upload itself
        getattr(stream, "terminate", lambda: None)()
    for end in (stream, getattr(stream, "raw", None)):
        if end is not None:
            end.close = lambda: None


def remove(uri: str) -> None:
    """Delete an object and everything below its name.

    Raises: OSError: the store refuses, or an object remains.
    """
    if exists(uri):
        with _translate_errors():
            find_filesystem(uri).delete([uri])
    if list_below(uri, 1):
        with _translate_errors():
            find_filesystem(uri).delete([f"{uri.rstrip('/')}/"])
        if left := list_below(uri, 1):  # Google's client only warns if it can't delete
            raise OSError(f"{left[0].uri} still exists; check that you may delete it")
