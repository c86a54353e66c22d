"""Vectors are remembered from one fit to the next, and damage is noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.fitting import fit_bank
from classifiers.models.remembered_vectors import pack_vectors, remember, unpack_vectors


class Store(dict):
    """A store in memory, which counts nothing and forgets nothing."""

    load = dict.get
    save = dict.__setitem__


@pytest.fixture
def counted(encoder, monkeypatch):
    """Return the encoder with a store, and a list of the number of windows in each computation."""
    computed, real = [], type(encoder).encode

    def count(self, windows, progress=None):
        computed.append(len(windows))
        return real(self, windows, progress)

    monkeypatch.setattr(type(encoder), "encode", count)
    return remember(encoder, Store()), computed


def test_windows_are_encoded_once(counted, encoder):
    """The same windows in the same order are looked up; any other group is computed."""
    remembering, computed = counted
    windows = encoder.cut_windows(["A heron stood in the reeds.", "The train left on time."])
    assert not remembering.remembers(windows)
    first = remembering.encode(windows)
    assert remembering.remembers(windows)
    np.testing.assert_array_equal(remembering.encode(windows), first)
    assert computed == [2]
    remembering.encode(windows[::-1])
    remembering.encode(windows[:1])
    assert computed == [2, 2, 1]
    assert remembering.encode([]).shape == (0, encoder.dimension)
    assert not remembering.remembers([])


def test_a_damaged_store_is_computed_again(counted, encoder):
    """Damaged vectors in the store are computed again and replaced."""
    remembering, computed = counted
    windows = encoder.cut_windows(["A heron stood in the reeds."])
    first = remembering.encode(windows)
    (key,) = remembering.store
    remembering.store[key] = remembering.store[key][:-1] + b"?"
    assert not remembering.remembers(windows)
    np.testing.assert_array_equal(remembering.encode(windows), first)
    assert computed == [1, 1]
    assert remembering.remembers(windows)


def test_other_settings_have_other_vectors(counted, encoder):
    """Vectors of an encoder with another identity aren't taken for this one's."""
    remembering, _ = counted
    windows = encoder.cut_windows(["A heron stood in the reeds."])
    remembering.encode(windows)
    remembering.config = remembering.config.__class__(window_overlap=3)
    assert not remembering.remembers(windows)


def test_a_fit_is_the_same_with_remembered_vectors(counted, small_cards, small_clean, encoder):
    """A second fit computes no vectors, reports no windows, and gives the same bank."""
    remembering, computed = counted
    plain = fit_bank(small_cards, small_clean, encoder, encoder.config)
    first = fit_bank(small_cards, small_clean, remembering, encoder.config)
    del computed[:]
    progress = Expected()
    second = fit_bank(small_cards, small_clean, remembering, encoder.config, progress=progress)
    assert computed == []
    assert plain.digest == first.digest == second.digest
    assert progress.windows == progress.done


class Expected:
    """Counts the windows that a fit announces and those that it reports as read."""

    windows = done = 0

    def expect(self, windows, tokens):
        """Count the announced windows."""
        self.windows += windows

    def batch(self, tokens, windows):
        """Count the windows of a batch."""
        self.done += windows

    def cut(self, budget):
        """Ignore a smaller budget."""


@given(st.integers(0, 5), st.integers(1, 4), st.data())
def test_any_change_of_a_byte_is_noticed(count, width, data):
    """Vectors come back as they were, or not at all if a byte has changed."""
    vectors = np.arange(count * width, dtype=np.float32).reshape(count, width)
    packed = pack_vectors(vectors)
    np.testing.assert_array_equal(unpack_vectors(packed, (count, width)), vectors)
    assert unpack_vectors(packed, (count + 1, width)) is None
    index = data.draw(st.integers(0, len(packed) - 1))
    changed = bytes([*packed[:index], packed[index] ^ 0x55, *packed[index + 1 :]])
    found = unpack_vectors(changed, (count, width))
    assert found is None or found.tobytes() == vectors.tobytes()


@pytest.mark.parametrize("data", [b"", b"\0" * 20, pack_vectors(np.zeros((1, 2)))[:9]])
def test_data_of_another_form_is_no_vectors(data):
    """Empty, cut or foreign data is the same as none."""
    assert unpack_vectors(data, (1, 2)) is None
