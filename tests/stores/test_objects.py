"""Objects on both stores: writing, reading, listing, removal and failures."""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.errors import InputError, StorageError
from transforms.files import object_stores, storage

pytestmark = pytest.mark.stores
MEGABYTE = 1 << 20


def list_uploads(store) -> list[int]:
    """Return the sizes of all uploads."""
    return [request.size for request in store.proxy.seen if request.method == "PUT"]


@pytest.mark.parametrize("size", [1, 5 * MEGABYTE + 1, 35 * MEGABYTE])
def test_bytes_come_back(store, size):
    """An object of any number of parts reads back from any offset."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    storage.write_bytes(store.uri("x.bin"), data)
    assert store.read_object("x.bin") == data
    assert storage.read_bytes(store.uri("x.bin")) == data
    assert len(list_uploads(store)) == -(-size // object_stores.PART)
    with storage.open_raw(store.uri("x.bin")) as stream:
        stream.seek(-1, 2)
        assert stream.read(10) == data[-1:]
        stream.seek(size // 2)
        assert stream.read(300) == data[size // 2 :][:300]


def test_a_write_replaces(store):
    """A second write replaces the first."""
    for data in (b"one", b"another"):
        storage.write_bytes(store.uri("x"), data)
    assert store.read_object("x") == b"another"


def test_a_fingerprint_changes_with_the_object(store):
    """A fingerprint changes with the content, even at the same size."""
    uri = store.uri("x.bin")
    storage.write_bytes(uri, b"one")
    first = storage.take_fingerprint(uri)
    assert storage.take_fingerprint(uri) == first
    storage.write_bytes(uri, b"two")
    assert storage.take_fingerprint(uri) != first
    with pytest.raises(FileNotFoundError):
        storage.take_fingerprint(store.uri("absent"))


def test_more_than_a_page_is_listed(store):
    """All objects in a folder are found and removed, over several pages."""
    names = [f"run/{number % 7}/{number:05}.jsonl" for number in range(1200)] + [
        "run/.hidden.jsonl",
        "run/_done/x.jsonl",
        "run2/x.jsonl",
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.put_objects, names))
    found = storage.find(store.uri("run"))
    assert [item.uri for item in found] == sorted(store.uri(name) for name in names[:1200])
    assert {item.size for item in found} == {1}
    pages = [request for request in store.proxy.seen if "prefix=" in request.path]
    assert len(pages) >= 2
    assert len(storage.list_tree(store.uri("run"))) == 1202
    storage.remove_tree(store.uri("run"))
    assert store.list_names() == ["run2/x.jsonl"]


def test_patterns_match_objects(store):
    """A name is tried literally before it is a pattern, and only `**` crosses folders."""
    store.put_objects("a.txt", "b[1].txt", "deep/er/c.txt")
    assert [item.uri for item in storage.find(store.uri("a.txt"))] == [store.uri("a.txt")]
    assert [item.uri for item in storage.find(store.uri("*.txt"))] == [
        store.uri("a.txt"),
        store.uri("b[1].txt"),
    ]
    assert [item.uri for item in storage.find(store.uri("**.txt"))] == [
        store.uri(n) for n in ("a.txt", "b[1].txt", "deep/er/c.txt")
    ]
    assert [item.uri for item in storage.find(store.uri("b[1].txt"))] == [store.uri("b[1].txt")]
    assert [item.uri for item in storage.find(store.uri())] == [
        store.uri(n) for n in ("a.txt", "b[1].txt", "deep/er/c.txt")
    ]
    assert storage.read_bytes(store.uri("b[1].txt")) == b"x"


def test_objects_and_their_folders_exist(store):
    """Objects and their folders exist, but a prefix of a name doesn't."""
    store.put_objects("run/clean/part.parquet")
    for name, expected in (
        ("run/clean/part.parquet", True),
        ("run/clean", True),
        ("run", True),
        ("run/cle", False),
        ("run/none", False),
    ):
        assert storage.exists(store.uri(name)) is expected, name
    assert list(storage.list_folder(store.uri("run"), "")) == []
    assert list(storage.list_folder(store.uri("run/clean"), ".parquet")) == [
        store.uri("run/clean/part.parquet")
    ]


def test_a_single_object_is_removed(store):
    """An object is removed by its exact name, and removing it again isn't an error."""
    store.put_objects("manifest.json", "manifest.json.old")
    storage.remove_tree(store.uri("manifest.json"))
    storage.remove_tree(store.uri("manifest.json"))
    assert store.list_names() == ["manifest.json.old"]


@pytest.mark.parametrize("name", ["none", "none/*.jsonl"])
def test_a_missing_input_is_named(store, name):
    """The error for a URI that matches nothing names the URI."""
    with pytest.raises(InputError, match="matches no file") as caught:
        storage.find(store.uri(name))
    assert caught.value.where == store.uri(name)


def test_reading_a_missing_object_is_an_error(store):
    """The error for a missing object or bucket names the object."""
    for uri in (store.uri("none"), f"{store.scheme}://no-such-bucket-here/x"):
        with pytest.raises(InputError, match="can't be opened") as caught:
            storage.read_bytes(uri)
        assert caught.value.where == uri


def test_a_store_that_refuses(store):
    """Without permission, every operation's error names the object."""
    store.put_objects("x")
    store.proxy.fate = lambda _: 403
    for act, kind in (
        (storage.read_bytes, InputError),
        (storage.find, InputError),
        (storage.exists, StorageError),
        (storage.list_tree, StorageError),
        (lambda uri: storage.write_bytes(uri, b"new"), StorageError),
        (storage.remove_tree, StorageError),
    ):
        with pytest.raises(kind, match=r"403|Forbidden") as caught:
            act(store.uri("x"))
        assert caught.value.where == store.uri("x")
    store.proxy.reset()
    assert store.read_object("x") == b"x"


def strike_third_upload(store, fate):
    """Return a function that gives the third upload this fate."""
    return lambda request: (
        fate if request.method == "PUT" and len(list_uploads(store)) == 3 else None
    )


def test_a_connection_that_breaks_once(store):
    """After a broken connection, only the broken part is sent again."""
    data = b"0123456789abcdef" * (40 * MEGABYTE // 16)
    store.proxy.fate = strike_third_upload(store, "cut")
    storage.write_bytes(store.uri("x"), data)
    assert store.read_object("x") == data
    assert len(list_uploads(store)) == 4


def test_a_write_that_is_refused_halfway(store):
    """A refused part leaves no new object, and an old object is unchanged."""
    data = b"x" * (40 * MEGABYTE)
    store.put_objects("old", data=b"old")
    for name in ("new", "old"):
        store.proxy.reset()
        store.proxy.fate = strike_third_upload(store, 403)
        with pytest.raises(StorageError, match="can't be written"):
            storage.write_bytes(store.uri(name), data)
    gc.collect()
    store.proxy.reset()
    assert store.list_names() == ["old"]
    assert store.read_object("old") == b"old"


def test_a_write_that_is_interrupted(store):
    """Ctrl-C during an upload leaves no object."""

    def interrupt(data):
        raise KeyboardInterrupt

    kind = type(object_stores.find_filesystem(store.uri()))
    real = kind.create

    def create(*args, **kwargs):
        stream = real(*args, **kwargs)
        write = stream.write
        parts = iter((write, write, interrupt))

        class Interrupted:
            raw = getattr(stream, "raw", None)
            terminate = staticmethod(getattr(stream, "terminate", lambda: None))

            def write(self, data):
                return next(parts)(data)

        return Interrupted()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "create", create)
        with pytest.raises(KeyboardInterrupt):
            storage.write_bytes(store.uri("x"), b"x" * (40 * MEGABYTE))
    gc.collect()
    assert len(list_uploads(store)) == 2
    assert store.list_names() == []
