"""An object store in memory, behind Beam's filesystem interface."""

import io

import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

OBJECTS: dict[str, bytes] = {}


class Upload(io.BytesIO):
    """An upload, which publishes its object on closing."""

    def __init__(self, uri):
        super().__init__()
        self._uri = uri

    def close(self):
        """Publish the object."""
        if not self.closed:
            OBJECTS[self._uri] = self.getvalue()
        super().close()


class MemoryFileSystem(FileSystem):
    """A store without folders, with the scheme `memory`."""

    @classmethod
    def scheme(cls):
        """Return the scheme."""
        return "memory"

    def join(self, basepath, *paths):
        """Join parts of a URI."""
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        """Return an object's folder and name."""
        folder, _, name = path.rpartition("/")
        return folder, name

    def mkdirs(self, path):
        """Do nothing, since the store has no folders."""

    def has_dirs(self):
        """Return False."""
        return False

    def _list(self, dir_or_prefix):
        if dir_or_prefix.startswith("memory://closed/"):
            raise BeamIOError("no access", {dir_or_prefix: PermissionError("no right to list")})
        for uri, data in sorted(OBJECTS.items()):
            if uri.startswith(dir_or_prefix):
                yield FileMetadata(uri, len(data))

    def create(self, path, *_args, **_options):
        """Begin an upload."""
        return Upload(path)

    def open(self, path, *_args, **_options):
        """Open an object."""
        if path not in OBJECTS:
            raise BeamIOError("missing", {path: FileNotFoundError(2, "No such object")})
        return io.BytesIO(OBJECTS[path])

    def copy(self, source_file_names, destination_file_names):
        """Fail."""
        raise NotImplementedError

    rename = copy

    def exists(self, path):
        """Return whether an object exists."""
        if path.startswith("memory://closed/"):
            raise BeamIOError("no access", {path: PermissionError("no right to look")})
        return path in OBJECTS

    def size(self, path):
        """Return the size of an object."""
        return len(OBJECTS[path])

    def last_updated(self, path):
        """Fail."""
        raise NotImplementedError

    def checksum(self, path):
        """Fail."""
        raise NotImplementedError

    def metadata(self, path):
        """Return the metadata of an object."""
        return FileMetadata(path, self.size(path))

    def delete(self, paths):
        """Delete objects, and everything below a name that ends with a slash."""
        for path in paths:
            for uri in list(OBJECTS):
                if uri == path or (path.endswith("/") and uri.startswith(path)):
                    del OBJECTS[uri]


@pytest.fixture
def objects():
    """Empty the store, and return its objects, keyed by URI."""
    OBJECTS.clear()
    return OBJECTS
