"""Hashes of prompts: what makes two prompts the same."""

import numpy as np

from transforms.lot_records import read_lot_records
from transforms.prompt_hashes import NO_PROMPT, hash_prompts


def ask(prompt, answer="A heron.", *before):
    """Return a row with a question."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": [*before, *turns]}


def hash_rows(make_identified, rows):
    """Return the hash of each row's prompt."""
    shard = make_identified(rows)
    return hash_prompts(shard.segments, len(rows))


def test_the_same_prompt_has_the_same_hash(make_identified):
    """White space, answers and system prompts don't count, and other words do."""
    rows = [
        ask("Which bird?"),
        ask("Which  bird? ", "An egret."),
        ask("Which bird?", "A heron.", {"role": "system", "content": "Be brief."}),
        ask("Which fish?"),
    ]
    one, two, three, other = hash_rows(make_identified, rows).tolist()
    assert one == two == three
    assert other != one


def test_every_turn_of_users_counts(make_identified):
    """A later question makes another prompt."""
    first = [
        {"role": "user", "content": "Which bird?"},
        {"role": "assistant", "content": "A heron."},
    ]
    long = {"messages": [*first, *ask("And then?")["messages"]]}
    one, two = hash_rows(make_identified, [ask("Which bird?"), long]).tolist()
    assert one != two


def test_rows_without_a_prompt_have_none(make_identified):
    """An answer alone has no prompt, and the order of rows is kept."""
    rows = [{"messages": [{"role": "assistant", "content": "A heron."}]}, ask("Which bird?")]
    found = hash_rows(make_identified, rows)
    assert found.dtype == np.uint64
    assert found[0] == NO_PROMPT
    assert found[1] != NO_PROMPT


def test_single_prompts_have_the_keys_of_an_audit(make_identified):
    """Prompts that an audit calls the same are the same here."""
    rows = [ask("Which bird?"), ask(" Which\nfish? ")]
    keys = read_lot_records(make_identified(rows), own=True).table.column("key").to_pylist()
    assert hash_rows(make_identified, rows).tolist() == keys
