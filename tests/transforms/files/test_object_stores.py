"""The way through Beam's filesystems, on the one that needs no server; tests/stores has the real protocols."""

import gc

import pytest
from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions, S3Options
from apache_beam.options.value_provider import RuntimeValueProvider

from transforms.files import object_stores


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (S3ClientError("gone", 404), FileNotFoundError),
        (S3ClientError("no", 403), PermissionError),
        (S3ClientError("who?", 401), PermissionError),
        (S3ClientError("cut", None), OSError),
        (BeamIOError("failed", {"x": S3ClientError("gone", 404)}), FileNotFoundError),
        (BeamIOError("failed"), OSError),
        (ValueError("path must be in the form"), OSError),
        (ConnectionResetError("reset"), ConnectionResetError),
    ],
)
def test_every_error_is_one_of_the_systems(error, kind):
    """What a client raises comes as the system's own error of that kind, and keeps its message."""
    found = object_stores.as_os_error(error)
    assert isinstance(found, kind)
    assert str(found)


def test_an_error_without_words_is_named():
    """An exception with no message still says what it is."""
    assert str(object_stores.as_os_error(RuntimeError())) == "RuntimeError()"


def test_what_is_written_is_read(tmp_path):
    """Bytes come back as they were, from any place in them."""
    uri = str(tmp_path / "x.bin")
    object_stores.write(uri, b"0123456789" * 1000)
    with object_stores.open_reading(uri) as stream:
        assert stream.read(4) == b"0123"
        stream.seek(-3, 2)
        assert stream.read() == b"789"
        assert stream.tell() == 10_000


def test_reading_what_is_not_there(tmp_path):
    """A missing object is a missing file."""
    with pytest.raises(FileNotFoundError):
        object_stores.open_reading(str(tmp_path / "x"))


def test_large_objects_go_in_parts(tmp_path, monkeypatch):
    """No more than a part is handed to the client at once."""
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
    """A client's upload that publishes when it is closed, by anybody, as S3's does."""

    log: list[str] = []  # noqa: RUF012

    def __init__(self, refuse: BaseException) -> None:
        self.refuse = refuse
        self.raw = None

    def write(self, _data):
        """Fail."""
        raise self.refuse

    def terminate(self):
        """Fail as well, as on a line that is gone."""
        self.log.append("terminated")
        raise ConnectionError("gone as well")

    def close(self):
        """Publish."""
        self.log.append("published")

    def __del__(self):
        self.close()
        self.log.append("collected")


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_is_given_up(monkeypatch, error):
    """After an error or an interruption nothing finishes the upload, not even the collector; the store is told."""
    Upload.log.clear()
    monkeypatch.setattr(LocalFileSystem, "create", lambda *_args, **_kwargs: Upload(error("cut")))
    with pytest.raises(error):
        object_stores.write("/x", b"data")
    gc.collect()
    assert Upload.log == ["terminated", "collected"]


def test_below_and_remove(tmp_path):
    """A folder's objects are listed at any depth, and go together; those beside it stay."""
    for name in ("run/a", "run/deep/b", "run2/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [item.size for item in sorted(object_stores.below(str(tmp_path / "run")))] == [5, 10]
    assert len(object_stores.below(str(tmp_path / "run"), 1)) == 1
    object_stores.remove(str(tmp_path / "run" / "a"))
    object_stores.remove(str(tmp_path / "run" / "a"))
    assert object_stores.found(str(tmp_path / "run" / "a")) == []
    assert object_stores.found(str(tmp_path / "run2" / "c")) == [(str(tmp_path / "run2" / "c"), 6)]


@pytest.mark.parametrize("folder", ["gs://bucket/run[1]", "s3://bucket/what?", "gs://bucket/*"])
def test_a_folder_with_glob_signs_is_refused(folder):
    """Beam has no way to quote them: a folder named so would be listed wrongly, so it isn't listed at all."""
    with pytest.raises(OSError, match="rename it"):
        object_stores.below(folder)


def test_something_left_is_an_error(monkeypatch):
    """A client that only warns of what it couldn't delete isn't believed."""
    monkeypatch.setattr(object_stores, "exists", lambda _: False)
    monkeypatch.setattr(
        object_stores, "below", lambda *_: [object_stores.FoundFile("gs://bucket/run/x", 1)]
    )
    monkeypatch.setattr(LocalFileSystem, "delete", lambda *_: None)
    with pytest.raises(OSError, match="gs://bucket/run/x is still there"):
        object_stores.remove("/run")


def test_options_are_kept(monkeypatch):
    """Options that were given are used; without any, defaults are, and never a worker's overwritten."""
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
    """Calls share a client, each with a place of its own in what it reads; Beam's own way to S3 is as it was."""
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
        object_stores.filesystem(uri)._io().client for uri in ("s3://bucket/x", "s3://bucket/y")
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
        object_stores.filesystem("s3://bucket/x")._io().client.client.meta.region_name
        == "elsewhere"
    )
    assert type(FileSystems.get_filesystem("s3://bucket/x")).__name__ == "S3FileSystem"
