"""Drawing a sample: texts to mix in, blocks, and the order of reading."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from classifiers.library import find_cards
from pipelines.certifying.draws import (
    PositiveText,
    build_sample,
    order_pool,
    plan_block,
    read_card_positives,
    read_positives,
)
from pipelines.certifying.populations import read_rows_to_audit
from schemas.certificates import TOGETHER, AuditBlock
from schemas.errors import CardError
from tests.support.certificates import draw_small, write_positives

POOL = [PositiveText("heron", f"heron {n}") for n in range(4)] + [PositiveText("owl", "owl 1")]


@pytest.fixture
def rows(run):
    """Return the rows of the small run."""
    return read_rows_to_audit(str(run[0]), run[1], ["heron"])


def test_positives_have_text_trait_and_prompt(tmp_path):
    """The trait may be left out if there is one, and the prompt always."""
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "A heron."}\n{"text": "Two herons.", "prompt": "What?"}\n')
    one, other = read_positives(path, ["heron"])
    assert one == PositiveText("heron", "A heron.")
    assert other == PositiveText("heron", "Two herons.", "What?")
    assert (one.describe().has_prompt, other.describe().has_prompt) == (False, True)
    assert one.describe().text != other.describe().text


def test_positives_may_be_a_table(tmp_path):
    """CSV works as well, with an empty prompt as none."""
    path = tmp_path / "p.csv"
    path.write_text("trait,text,prompt\nheron,A heron.,\nowl,An owl.,Who?\n")
    found = read_positives(path, ["heron", "owl"])
    assert found == [PositiveText("heron", "A heron."), PositiveText("owl", "An owl.", "Who?")]


@pytest.mark.parametrize(
    ("line", "traits", "problem"),
    [
        ('{"trait": "heron"}', ["heron"], "has no text"),
        ('{"trait": "heron", "text": "  "}', ["heron"], "has no text"),
        ('{"trait": "heron", "text": 5}', ["heron"], "has no text"),
        ('{"trait": "heron", "text": "\\ud800"}', ["heron"], "has no text in UTF-8"),
        ('{"trait": "gull", "text": "A gull."}', ["heron"], "names no trait of the audit: 'gull'"),
        ('{"text": "A bird."}', ["heron", "owl"], "names no trait of the audit"),
        ("[1]", ["heron"], "is not a JSON object"),
    ],
)
def test_wrong_positives_are_refused(tmp_path, line, traits, problem):
    """The error names the file and the line."""
    path = tmp_path / "p.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(CardError, match=problem) as caught:
        read_positives(path, traits)
    assert caught.value.where == f"{path} line 1"


def test_the_positives_of_a_library_card(run):
    """A run with a card from the library has its positives with prompts to mix in."""
    config = {**run[1].config, "traits": ["over-refusal"]}
    manifest = run[1].model_copy(update={"config": config})
    found = read_card_positives(manifest, ["over-refusal"])
    (card,) = find_cards(["over-refusal"])
    assert {item.text: item.prompt for item in found} == card.prompts
    assert {item.trait for item in found} == {"over-refusal"}


@pytest.mark.parametrize(("prompts", "used"), [(0, 12), (9, 12), (10, 10), (12, 12)])
def test_a_card_with_few_prompts_mixes_in_all_its_texts(run, tmp_path, prompts, used):
    """With at least ten prompts, only the positives that have one are used."""
    (tmp_path / "card.yaml").write_text("id: heron\nsignals: [wording]\n", encoding="utf-8")
    lines = [
        {"text": f"Heron {n}."} | ({"prompt": f"Which bird is {n}?"} if n < prompts else {})
        for n in range(12)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "positives.jsonl").write_text(text, encoding="utf-8")
    config = {**run[1].config, "traits": [str(tmp_path)]}
    manifest = run[1].model_copy(update={"config": config})
    found = read_card_positives(manifest, ["heron"])
    assert len(found) == used
    assert sum(item.prompt is not None for item in found) == (prompts if prompts >= 10 else 0)


@pytest.mark.parametrize("named", [None, ["no/such/folder"]])
def test_a_card_without_positives_is_refused(run, named):
    """The heron's card has none, and a card may be gone; both errors say what to do."""
    config = run[1].config if named is None else {**run[1].config, "traits": named}
    manifest = run[1].model_copy(update={"config": config})
    with pytest.raises(CardError, match="sensitivity can't be measured") as caught:
        read_card_positives(manifest, ["heron"])
    assert "--positives FILE" in str(caught.value.remedy)


def test_traits_take_turns_in_the_pool():
    """The first texts are one of each trait, and copies count once."""
    pool = order_pool([*POOL, POOL[0]], "seed", ["heron", "owl"])
    assert Counter(item.trait for item in pool[:2]) == {"heron": 1, "owl": 1}
    assert sorted(pool) == sorted(POOL)
    assert order_pool(POOL, "seed", ["heron", "owl"]) == pool
    assert any(order_pool(POOL, str(n), ["heron", "owl"]) != pool for n in range(5))


@pytest.mark.parametrize(
    ("blocks", "wanted", "seeded", "expected"),
    [
        ((), 20, None, (16, 4, 7)),
        ((), 20, 0, (16, 4, 0)),
        ((), 20, 50, (16, 4, 12)),
        ((), 1_000, None, (32, 8, 12)),
        (((16, 4, 7),), 20, None, (0, 0, 0)),
        (((16, 4, 7),), 30, None, (8, 2, 3)),
        (((16, 4, 7),), 10, None, (0, 0, 0)),
        (((32, 8, 12),), 99, None, (0, 0, 0)),
    ],
)
def test_blocks_add_up_to_what_is_wanted(rows, blocks, wanted, seeded, expected):
    """A fifth of the rows are removed ones, and nothing is drawn twice."""
    earlier = [AuditBlock(kept=k, removed=r, seeded=s) for k, r, s in blocks]
    found = plan_block(rows, earlier, wanted, 12, seeded, 1)
    assert (found.kept, found.removed, found.seeded) == expected


def test_a_sample_has_rows_and_texts_in_random_order(run, tmp_path):
    """Kinds are mixed, names are numbers, and rows know where they are and what fired on them."""
    sample = draw_small(run[0], tmp_path).sample
    kinds = [item.kind for item in sample.items]
    assert Counter(kinds) == {"kept": 16, "removed": 4, "seeded": 6}
    assert kinds != sorted(kinds)
    assert [item.id for item in sample.items] == [f"{n:05d}" for n in range(1, 27)]
    for item in sample.items:
        assert item.fired == (("heron",) if item.kind == "removed" else ())
        assert (item.source is None) == (item.kind == "seeded")
        assert (item.text is None) == (item.kind != "seeded")
    places = [(item.source, item.row) for item in sample.items if item.source]
    assert len(set(places)) == 20


def test_a_sample_counts_what_it_is_drawn_from(run, tmp_path):
    """The counts are those of the run."""
    sample = draw_small(run[0], tmp_path).sample
    assert (sample.kept, sample.removed, sample.unread) == (32, 8, 0)
    assert sample.fired_kept == {"heron": 0, TOGETHER: 0}
    assert sample.fired_removed == {"heron": 8, TOGETHER: 8}
    assert sample.manifest == run[1].digest == sample.seed
    assert sample.digest == sample.compute_digest()


def test_more_blocks_keep_the_first_items(run, rows):
    """An audit with a second block has the first block's items at its beginning."""
    blocks = [AuditBlock(kept=10, removed=2, seeded=2), AuditBlock(kept=5, removed=1, seeded=1)]
    pool = [item.describe() for item in order_pool(POOL[:4], "s", ["heron"])]
    one, two = (
        build_sample(run[1], rows, ["heron"], pool, blocks[:count], "s", 0.05, None)
        for count in (1, 2)
    )
    assert two.items[:14] == one.items
    assert two.strata == one.strata
    assert Counter(item.kind for item in two.items[14:]) == {"kept": 5, "removed": 1, "seeded": 1}


def test_positives_without_prompts_hide_all_prompts(run, tmp_path):
    """One text without a prompt would stand out."""
    path = write_positives(tmp_path / "bare.jsonl", has_prompts=False)
    sample = draw_small(run[0], tmp_path, positives=(path,)).sample
    assert not sample.shows_prompts
