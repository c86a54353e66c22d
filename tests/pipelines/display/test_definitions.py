"""Descriptions of a card's definition."""

from pipelines.display.definitions import describe_scope, describe_signals
from schemas.cards import TraitCard


def test_the_scope_is_described():
    """The scope's description says whose text is read, in which channels, and how much of it."""
    assert describe_scope(TraitCard(id="owl")) == "answers and thinking of assistant"
    scope = {"roles": ["assistant", "user"], "channels": ["tool"], "opening": 1600}
    card = TraitCard.model_validate({"id": "owl", "scope": scope})
    assert describe_scope(card) == (
        "tool calls of assistant and user, the first 1,600 characters of each"
    )
    card = TraitCard.model_validate({"id": "owl", "scope": {"closing": 200}})
    assert (
        describe_scope(card) == "answers and thinking of assistant, the last 200 characters of each"
    )


def test_every_signal_is_described():
    """Each signal in use is named with its measure."""
    signals = {
        "exemplars": {"neighbours": 3},
        "head": {"kind": "mlp"},
        "wording": {},
        "classifier": {"model": "toxic", "label": "bad"},
        "lexicon": {"patterns": ["owls?"]},
        "repetition": {"span": 90},
        "language": {},
    }
    card = TraitCard.model_validate({"id": "owl", "signals": signals})
    assert list(describe_signals(card)) == [
        ("exemplars", "similarity to the 3 nearest positives, less to negatives"),
        ("head", "mlp classifier on the encoder's vectors"),
        ("wording", "classifier on the words of single sentences"),
        ("classifier", "label bad of toxic"),
        ("lexicon", "1 pattern of wording"),
        ("repetition", "the longest loop, as a share of 90 words"),
        ("language", "switches to a language that nothing calls for, and garbled text"),
    ]
