"""Single objects and folders of them, on both stores: what arrives, what is listed, what goes, and what is left of a broken write."""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.errors import InputError, StorageError
from transforms.files import object_stores, storage

pytestmark = pytest.mark.stores
MEGABYTE = 1 << 20


def uploads(store) -> list[int]:
    """Return the sizes of the uploads that came by, of parts and of whole objects."""
    return [request.size for request in store.proxy.seen if request.method == "PUT"]


@pytest.mark.parametrize("size", [1, 5 * MEGABYTE + 1, 35 * MEGABYTE])
def test_bytes_come_back(store, size):
    """An object is read as it was written, in as many parts as it takes; read from any place in it."""
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    storage.write_bytes(store.uri("x.bin"), data)
    assert store.contents("x.bin") == data
    assert storage.read_bytes(store.uri("x.bin")) == data
    assert len(uploads(store)) == -(-size // object_stores.PART)
    with storage.open_raw(store.uri("x.bin")) as stream:
        stream.seek(-1, 2)
        assert stream.read(10) == data[-1:]
        stream.seek(size // 2)
        assert stream.read(300) == data[size // 2 :][:300]


def test_a_write_replaces(store):
    """The last write counts."""
    for data in (b"one", b"another"):
        storage.write_bytes(store.uri("x"), data)
    assert store.contents("x") == b"another"


def test_more_than_a_page_is_listed(store):
    """Of 1,203 objects none is missed, though a store lists a thousand at a time; they go in one call, neighbours stay."""
    names = [f"run/{place % 7}/{place:05}.jsonl" for place in range(1200)] + [
        "run/.hidden.jsonl",
        "run/_done/x.jsonl",
        "run2/x.jsonl",
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.fill, names))
    found = storage.find(store.uri("run"))
    assert [item.uri for item in found] == sorted(store.uri(name) for name in names[:1200])
    assert {item.size for item in found} == {1}
    pages = [request for request in store.proxy.seen if "prefix=" in request.path]
    assert len(pages) >= 2
    assert len(storage.files(store.uri("run"))) == 1202
    storage.remove_tree(store.uri("run"))
    assert store.there() == ["run2/x.jsonl"]


def test_what_patterns_match(store):
    """An object is itself, even named like a pattern; stars match within a folder, two below it."""
    store.fill("a.txt", "b[1].txt", "deep/er/c.txt")
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


def test_what_is_there(store):
    """Objects are there, and folders as long as something lies in them; a name's beginning is neither."""
    store.fill("run/clean/part.parquet")
    for name, there in (
        ("run/clean/part.parquet", True),
        ("run/clean", True),
        ("run", True),
        ("run/cle", False),
        ("run/none", False),
    ):
        assert storage.exists(store.uri(name)) is there, name
    assert list(storage.listing(store.uri("run"), "")) == []
    assert list(storage.listing(store.uri("run/clean"), ".parquet")) == [
        store.uri("run/clean/part.parquet")
    ]


def test_a_single_object_is_removed(store):
    """An object goes by its name, what only begins like it stays; one that isn't there is no error."""
    store.fill("manifest.json", "manifest.json.old")
    storage.remove_tree(store.uri("manifest.json"))
    storage.remove_tree(store.uri("manifest.json"))
    assert store.there() == ["manifest.json.old"]


@pytest.mark.parametrize("name", ["none", "none/*.jsonl"])
def test_what_is_not_there_is_named(store, name):
    """Nothing found is an error with the URI in it."""
    with pytest.raises(InputError, match="matches no file") as caught:
        storage.find(store.uri(name))
    assert caught.value.where == store.uri(name)


def test_reading_what_is_not_there(store):
    """A missing object, or bucket, can't be opened, and the message says which."""
    for uri in (store.uri("none"), f"{store.scheme}://no-such-bucket-here/x"):
        with pytest.raises(InputError, match="can't be opened") as caught:
            storage.read_bytes(uri)
        assert caught.value.where == uri


def test_a_store_that_refuses(store):
    """Without the right to, reading, looking up, writing and removing fail with one line that names the object."""
    store.fill("x")
    store.proxy.fate = lambda _: 403
    for act, kind in (
        (storage.read_bytes, InputError),
        (storage.find, InputError),
        (storage.exists, StorageError),
        (storage.files, StorageError),
        (lambda uri: storage.write_bytes(uri, b"new"), StorageError),
        (storage.remove_tree, StorageError),
    ):
        with pytest.raises(kind, match=r"403|Forbidden") as caught:
            act(store.uri("x"))
        assert caught.value.where == store.uri("x")
    store.proxy.calm()
    assert store.contents("x") == b"x"


def third_upload(store, fate):
    """Return a fate that strikes the third upload to come by, and that alone."""
    return lambda request: fate if request.method == "PUT" and len(uploads(store)) == 3 else None


def test_a_line_that_is_cut_once(store):
    """A connection that breaks in the middle of a part costs that part again, and nothing else."""
    data = b"0123456789abcdef" * (40 * MEGABYTE // 16)
    store.proxy.fate = third_upload(store, "cut")
    storage.write_bytes(store.uri("x"), data)
    assert store.contents("x") == data
    assert len(uploads(store)) == 4


def test_a_write_that_is_refused_in_the_middle(store):
    """A store that gives up on the third part leaves nothing under the name, or what stood there before."""
    data = b"x" * (40 * MEGABYTE)
    store.fill("old", data=b"old")
    for name in ("new", "old"):
        store.proxy.calm()
        store.proxy.fate = third_upload(store, 403)
        with pytest.raises(StorageError, match="can't be written"):
            storage.write_bytes(store.uri(name), data)
    gc.collect()
    store.proxy.calm()
    assert store.there() == ["old"]
    assert store.contents("old") == b"old"


def test_a_write_that_is_interrupted(store):
    """Ctrl-C in the middle of an upload leaves nothing under the name, neither at once nor when Python cleans up."""

    def interrupt(data):
        raise KeyboardInterrupt

    kind = type(object_stores.filesystem(store.uri()))
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
    assert len(uploads(store)) == 2
    assert store.there() == []
