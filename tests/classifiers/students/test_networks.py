"""The transformer: what it sees, what its cache returns, and how it begins."""

from __future__ import annotations

import pytest
import torch

from classifiers.students.networks import Shape, compute_repeatably, initialise

SHAPE = Shape(300, context=24, width=32, layers=2, heads=4)


def draw_ids(rows: int = 2, length: int = 9) -> torch.Tensor:
    """Return random tokens."""
    return torch.randint(300, (rows, length), generator=torch.Generator().manual_seed(0))


def test_a_token_sees_only_what_comes_before():
    """A changed last token changes no logits before it."""
    network, ids = initialise(SHAPE, 0), draw_ids()
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1) % 300
    before, after = network(ids), network(changed)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_the_cache_gives_the_same_logits():
    """Reading token by token with a cache gives the logits of reading all at once."""
    network, ids = initialise(SHAPE, 0), draw_ids()
    caches = [[] for _ in network.blocks]
    parts = [network(ids[:, :4], caches)]
    parts += [network(ids[:, place : place + 1], caches) for place in range(4, 9)]
    torch.testing.assert_close(torch.cat(parts, 1), network(ids))


def test_attention_is_that_of_a_plain_formula():
    """One layer's attention equals softmax(QK/√d)V, computed head by head."""
    shape = Shape(300, context=24, width=32, layers=1, heads=2)
    block = initialise(shape, 3).blocks[0]
    states = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(1))
    query, key, value = (states[0] @ block.project.weight.T).split(32, 1)
    heads = []
    for part in (slice(0, 16), slice(16, 32)):
        scores = query[:, part] @ key[:, part].T / 4
        hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
        heads.append(torch.softmax(scores.masked_fill(hidden, -torch.inf), 1) @ value[:, part])
    expected = torch.cat(heads, 1) @ block.merge.weight.T
    torch.testing.assert_close(block._attend(states, [])[0], expected)


def test_a_number_decides_the_first_weights():
    """The same number gives the same weights, whatever was drawn before, and another number not."""
    one = initialise(SHAPE, 1).state_dict()
    torch.rand(7)
    again, other = initialise(SHAPE, 1).state_dict(), initialise(SHAPE, 2).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["tokens.weight"], other["tokens.weight"])


def test_first_weights_leave_the_random_state_alone():
    """The global random state doesn't change the weights."""
    torch.manual_seed(5)
    one = initialise(SHAPE, 1).state_dict()
    torch.manual_seed(6)
    again = initialise(SHAPE, 1).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)


def test_first_logits_prefer_no_token():
    """An untrained network's shares of tokens are nearly equal."""
    shares = torch.softmax(initialise(SHAPE, 0)(draw_ids()).detach(), -1)
    assert float(shares.max()) < 0.02


def test_weights_are_counted_once():
    """The table of tokens is the last layer too, and counts once."""
    network = initialise(SHAPE, 0)
    layer = 4 * 32 + 4 * 32 * 32 + 8 * 32 * 32 + 5 * 32
    assert network.count_parameters() == (300 + 24) * 32 + 2 * layer + 2 * 32


def test_settings_of_torch_are_restored():
    """Threads and strictness are those of before, even after an error."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with compute_repeatably(1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with pytest.raises(ZeroDivisionError), compute_repeatably(1):
        1 / 0  # noqa: B018
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
