"""Beam's filesystems, tested on the local one."""

import gc

import pytest
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from apache_beam.options.value_provider import RuntimeValueProvider

from transforms.files import object_stores
from transforms.files.patterns import FoundFile


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (S3ClientError("gone", 404), FileNotFoundError),
        (S3ClientError("no", 403), PermissionError),
        (S3ClientError("who?", 401), PermissionError),
        (S3ClientError("cut", None), OSError),
        (BeamIOError("failed", {"x": S3ClientError("gone", 404)}), FileNotFoundError),
        (
            BeamIOError("match", {"x": BeamIOError("list", {"x": S3ClientError("no", 403)})}),
            PermissionError,
        ),
        (BeamIOError("failed", {"x": PermissionError("no")}), PermissionError),
        (BeamIOError("failed"), OSError),
        (ValueError("path must be in the form"), OSError),
        (ConnectionResetError("reset"), ConnectionResetError),
    ],
)
def test_errors_become_os_errors(error, kind):
    """A client error becomes an OSError with its message."""
    found = object_stores.convert_error(error)
    assert isinstance(found, kind)
    assert str(found)


def test_an_error_without_a_message_is_named():
    """An exception without a message is described by its class."""
    assert str(object_stores.convert_error(RuntimeError())) == "RuntimeError()"


def test_objects_are_read_as_written(tmp_path):
    """Bytes are read back from any offset."""
    uri = str(tmp_path / "x.bin")
    object_stores.write(uri, b"0123456789" * 1000)
    with object_stores.open_object(uri) as stream:
        assert stream.read(4) == b"0123"
        stream.seek(-3, 2)
        assert stream.read() == b"789"
        assert stream.tell() == 10_000


def test_a_missing_object_is_a_missing_file(tmp_path):
    """A missing object raises FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        object_stores.open_object(str(tmp_path / "x"))


def test_large_objects_are_sent_in_parts(tmp_path, monkeypatch):
    """The client gets at most one part at a time."""
    sizes = []
    real = LocalFileSystem.create

    class Stream:
        def __init__(self, inner):
            self.inner = inner

        def write(self, data):
            sizes.append(len(data))
            return self.inner.write(data)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(object_stores, "PART", 4)
    monkeypatch.setattr(
        LocalFileSystem, "create", lambda *args, **kwargs: Stream(real(*args, **kwargs))
    )
    object_stores.write(str(tmp_path / "x"), b"0123456789")
    assert sizes == [4, 4, 2]
    assert (tmp_path / "x").read_bytes() == b"0123456789"


class Upload:
    """A client's upload that publishes its object on closing, like S3's."""

    log: list[str] = []  # noqa: RUF012

    def __init__(self, refuse: BaseException) -> None:
        self.refuse = refuse
        self.raw = None

    def write(self, _data):
        """Fail."""
        raise self.refuse

    def terminate(self):
        """Fail, as if the connection were lost."""
        self.log.append("terminated")
        raise ConnectionError("gone as well")

    def close(self):
        """Publish."""
        self.log.append("published")

    def __del__(self):
        self.close()
        self.log.append("collected")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_is_abandoned(monkeypatch, error):
    """A failed or interrupted write is never completed."""
    Upload.log.clear()
    monkeypatch.setattr(LocalFileSystem, "create", lambda *_args, **_kwargs: Upload(error("cut")))
    with pytest.raises(error):
        object_stores.write("/x", b"data")
    gc.collect()
    assert Upload.log == ["terminated", "collected"]


def test_below_and_remove(tmp_path):
    """A folder's objects are listed at any depth, and removing one leaves the others."""
    for name in ("run/a", "run/deep/b", "run2/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [item.size for item in sorted(object_stores.list_below(str(tmp_path / "run")))] == [
        5,
        10,
    ]
    assert len(object_stores.list_below(str(tmp_path / "run"), 1)) == 1
    object_stores.remove(str(tmp_path / "run" / "a"))
    object_stores.remove(str(tmp_path / "run" / "a"))
    assert object_stores.find_object(str(tmp_path / "run" / "a")) == []
    assert object_stores.find_object(str(tmp_path / "run2" / "c")) == [
        (str(tmp_path / "run2" / "c"), 6)
    ]


@pytest.mark.parametrize("folder", ["gs://bucket/run[1]", "s3://bucket/what?", "gs://bucket/*"])
def test_a_folder_with_glob_signs_is_refused(folder):
    """A folder with glob characters isn't listed."""
    with pytest.raises(OSError, match="rename it"):
        object_stores.list_below(folder)


def test_a_remaining_object_is_an_error(monkeypatch):
    """An object that a client failed to delete is an error."""
    monkeypatch.setattr(object_stores, "exists", lambda _: False)
    monkeypatch.setattr(object_stores, "list_below", lambda *_: [FoundFile("gs://bucket/run/x", 1)])
    monkeypatch.setattr(LocalFileSystem, "delete", lambda *_: None)
    with pytest.raises(OSError, match="gs://bucket/run/x still exists"):
        object_stores.remove("/run")


def test_options_are_kept(monkeypatch):
    """Given options are used, or else defaults, and a worker's options stay."""
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    object_stores.use_options(PipelineOptions(["--s3_region_name", "somewhere"]))
    object_stores.exists("/")
    assert FileSystems._pipeline_options.view_as(S3Options).s3_region_name == "somewhere"
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", {"s3_region_name": "elsewhere"})
    object_stores.exists("/")
    assert FileSystems._pipeline_options is None
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", None)
    object_stores.exists("/")
    assert FileSystems._pipeline_options is not None


@pytest.mark.stores
def test_s3_has_one_client():
    """Calls share an S3 client but no read position."""
    object_stores.use_options(
        PipelineOptions(
            [
                "--s3_region_name=somewhere",
                "--s3_access_key_id=key",
                "--s3_secret_access_key=secret",
            ]
        )
    )
    first, second = (
        object_stores.find_filesystem(uri)._io().client
        for uri in ("s3://bucket/x", "s3://bucket/y")
    )
    assert first is not second
    assert first.client is second.client
    object_stores.use_options(
        PipelineOptions(
            [
                "--s3_region_name=elsewhere",
                "--s3_access_key_id=key",
                "--s3_secret_access_key=secret",
            ]
        )
    )
    assert (
        object_stores.find_filesystem("s3://bucket/x")._io().client.client.meta.region_name
        == "elsewhere"
    )
    assert type(FileSystems.get_filesystem("s3://bucket/x")).__name__ == "S3FileSystem"


def test_objects_are_matched_without_folders(objects):
    """Folder markers, which end with a slash, aren't files."""
    objects.update({"memory://b/run/": b"", "memory://b/run/a": b"12", "memory://b/run/c/d": b"3"})
    below = [FoundFile("memory://b/run/a", 2), FoundFile("memory://b/run/c/d", 1)]
    assert object_stores.list_below("memory://b/run") == below
    assert object_stores.match_files("memory://b/run/*") == below[:1]
    assert len(object_stores.list_below("memory://b/run", 1)) <= 1


def test_reads_in_the_middle_raise_os_errors(objects, monkeypatch):
    """An error after opening is an OSError too."""
    objects["memory://b/x"] = b"0123"
    stream = object_stores.open_object("memory://b/x")

    def fail(_size):
        raise S3ClientError("connection lost", None)

    monkeypatch.setattr(stream.raw, "_stream", type("Lost", (), {"read": staticmethod(fail)})())
    with pytest.raises(OSError, match="connection lost"):
        stream.read()


def test_a_written_object_appears_once_complete(objects, monkeypatch):
    """An object is visible only once it is complete."""
    monkeypatch.setattr(object_stores, "PART", 2)
    seen = []
    store = type(object_stores.find_filesystem("memory://b/x"))
    create = store.create

    def watch(self, path, *args, **options):
        stream = create(self, path, *args, **options)
        real = stream.write
        stream.write = lambda data: (seen.append(dict(objects)), real(data))[1]
        return stream

    monkeypatch.setattr(store, "create", watch)
    object_stores.write("memory://b/x", b"01234")
    assert seen == [{}] * 3
    assert objects == {"memory://b/x": b"01234"}


def test_an_unknown_scheme_is_an_os_error():
    """The error for an unknown scheme names the URI."""
    with pytest.raises(OSError, match="nowhere://b/x"):
        object_stores.exists("nowhere://b/x")


def test_a_closed_object_closes_its_stream(objects):
    """Closing the reader closes the client's stream, even twice."""
    objects["memory://b/x"] = b"0123"
    stream = object_stores.open_object("memory://b/x")
    inner = stream.raw._stream
    stream.close()
    stream.close()
    assert inner.closed
    assert stream.raw.closed
