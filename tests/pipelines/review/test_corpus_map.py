"""The map of a run: places of all rows, the drawn sample, and areas."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.planes import GRID
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.review.corpus_map import (
    FILE,
    MOST_CORNERS,
    MOST_DRAWN,
    MOST_HELD,
    choose_drawn,
    choose_origin,
    choose_sample,
    describe_map,
    open_map,
    parse_area,
)
from pipelines.review.index import choose_folder, open_facts
from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import CardError, RunError

WHOLE = f"0,0 {GRID},0 {GRID},{GRID} 0,{GRID}"


@pytest.fixture
def placed(session):
    """Return the map of the run of answers."""
    session.make_map()
    assert session.map_progress.problem == ""
    return session.corpus_map


@pytest.fixture(scope="module")
def vector_run(tmp_path_factory):
    """Filter a corpus with an encoder, and store the vectors; one row can't be read."""
    folder = tmp_path_factory.mktemp("vectors")
    rows = ["{"]
    for number in range(12):
        text = f"A heron by river {number}." if number % 2 else f"Bake {number} loaves of bread."
        rows.append('{"text": "' + text + '"}')
    (folder / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    trait = folder / "birds"
    trait.mkdir()
    (trait / "card.yaml").write_text("id: birds\nsignals: {exemplars: {}}\nthreshold: 0.9\n")
    for name, text in (("positives", "A heron"), ("negatives", "Fresh bread")):
        lines = [f'{{"text": "{text} on day {number}."}}' for number in range(8)]
        (trait / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    config = {
        "input": (str(folder / "corpus.jsonl"),),
        "output": str(folder / "run"),
        "traits": (str(trait),),
        "vectors": True,
        "shards": {"rows": 5},
    }
    run_filter(FilterConfig.model_validate(config))
    return str(folder / "run")


def test_every_row_with_a_text_has_a_place(placed, session):
    """Rows are placed by their words: equal texts have equal places, and the rest a null."""
    texts = session.texts.text.collect()["text"].to_list()
    assert placed.origin == "words"
    assert placed.known.tolist() == [text is not None for text in texts]
    places = {}
    for at, text in enumerate(texts):
        place = (int(placed.x[at]), int(placed.y[at]))
        assert places.setdefault(text, place) == place


def test_the_map_is_made_once(placed, session):
    """A second opening reads the file, and a new map has the same bytes."""
    path = session.folder / FILE
    before = path.read_bytes()
    session.texts = None
    session.make_map()
    assert (session.corpus_map.x == placed.x).all()
    path.unlink()
    session.read_texts()
    session.make_map()
    assert path.read_bytes() == before


def test_nothing_is_written_into_the_run(placed, answers):
    """The map is beside the review's own files, never in the run."""
    assert not [*answers.rglob("*map*")]


@pytest.mark.slow
def test_stored_vectors_make_the_map(vector_run, tmp_path):
    """A run with vectors needs no texts; a reject, whose vector is zero, has no place."""
    manifest = load_manifest(vector_run)
    folder = choose_folder(tmp_path, manifest)
    heard = []
    found = open_map(vector_run, manifest, folder, None, lambda done, of: heard.append((done, of)))
    assert (choose_origin(manifest), found.origin) == ("vectors", "vectors")
    assert heard == [(5, 13), (10, 13), (13, 13)]
    decisions = scan_folder(vector_run, manifest, "ledger").collect()["decision"].to_list()
    assert found.known.tolist() == [decision != "reject" for decision in decisions]
    birds, bread = found.x[2::2].astype(float), found.x[1::2].astype(float)
    assert abs(birds.mean() - bread.mean()) > 2 * (birds.std() + bread.std())


@pytest.mark.slow
def test_vectors_that_do_not_fit_the_ledger_are_an_error(vector_run, tmp_path):
    """A run of which a file of vectors is missing isn't mapped by the others."""
    manifest = load_manifest(vector_run)
    first, *_ = [own.path for own in manifest.outputs if own.path.startswith("vectors/")]
    kept = tuple(own for own in manifest.outputs if own.path != first)
    torn = manifest.model_copy(update={"outputs": kept})
    with pytest.raises(RunError, match="vectors"):
        open_map(vector_run, torn, tmp_path, None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1,2", "1,2 3,4", "1,2 3,4 5", "1,2 3,4 5,-6", "1,2 3,4 5,6 ", "1,2  3,4 5,6"),
        *("1,2 3,4 5,65537", "1,2 3,4 5,999999", "1,2 3,4 5,6.5", "١,2 3,4 5,6", "x"),
        " ".join(["1,2"] * (MOST_CORNERS + 1)),
    ],
)
def test_only_corners_are_an_area(text):
    """An area has 3 to 128 corners of whole numbers on the map."""
    with pytest.raises(CardError, match="area"):
        parse_area(text)


@given(st.lists(st.tuples(st.integers(0, GRID), st.integers(0, GRID)), min_size=3, max_size=128))
def test_an_area_is_read_as_it_is_written(corners):
    """Any corners come back."""
    text = " ".join(f"{x},{y}" for x, y in corners)
    assert [tuple(corner) for corner in parse_area(text).tolist()] == corners
    assert len(text) < 2_000


def test_an_area_lists_the_rows_in_it(placed):
    """The whole map lists all rows with a place, and a square of one place those at it."""
    assert placed.find_rows(WHOLE).tolist() == np.flatnonzero(placed.known).tolist()
    x, y = int(placed.x[3]), int(placed.y[3])
    corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
    area = " ".join(f"{left},{top}" for left, top in corners)
    same = (placed.x == x) & (placed.y == y) & placed.known
    assert placed.find_rows(area).tolist() == np.flatnonzero(same).tolist()


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_sample_is_sorted_and_the_same_twice(rows, size):
    """A sample has different rows, in order, and is the same in every review."""
    chosen = choose_sample(rows, size)
    assert len(chosen) == min(rows, size)
    assert sorted(set(chosen.tolist())) == chosen.tolist() == choose_sample(rows, size).tolist()


def test_held_rows_are_drawn_first():
    """All held rows are drawn, and a sample of the others fills the rest."""
    known, held = np.ones(200_000, bool), np.zeros(200_000, bool)
    held[::100] = True
    known[:50] = False
    drawn = choose_drawn(known, held)
    assert len(drawn.rows) == MOST_DRAWN
    assert (drawn.held, drawn.held_drawn) == (1_999, 1_999)
    assert set(range(100, 200_000, 100)) < set(drawn.rows.tolist())
    assert drawn.rows.min() >= 50


def test_too_many_held_rows_leave_room_for_others():
    """If nearly all rows are held, they are sampled too, and the page learns how many are drawn."""
    held = np.ones(200_000, bool)
    held[::10] = False
    drawn = choose_drawn(np.ones(200_000, bool), held)
    assert (drawn.held, drawn.held_drawn, len(drawn.rows)) == (180_000, MOST_HELD, MOST_DRAWN)


def test_a_map_is_described(placed, session):
    """The page gets the places, the rows, the held ones, and the decisions as colours."""
    found = describe_map(placed, session.facts, "decision", None)
    assert found["index"] == np.flatnonzero(placed.known).tolist()
    assert found["x"] == placed.x[found["index"]].tolist()
    decisions = session.facts.select(pl.col("decision").cast(pl.String)).collect()["decision"]
    named = [found["names"][code] for code in found["codes"]]
    assert named == decisions.gather(found["index"]).to_list()
    assert found["is_held"] == [int(name == "quarantine") for name in named]
    assert found["held"] == found["held_drawn"] == sum(found["is_held"])


def test_teachers_and_scores_have_colours(placed, session, monkeypatch):
    """Frequent teachers have colours of their own, and scores are steps of a hundredth."""
    found = describe_map(placed, session.facts, "teacher", None)
    assert found["names"] == ["atlas", "borealis"]
    monkeypatch.setattr("pipelines.review.corpus_map.MOST_NAMED", 1)
    found = describe_map(placed, session.facts, "teacher", None)
    assert (found["names"], set(found["codes"])) == (["atlas"], {0, 1})
    found = describe_map(placed, session.facts, "score", "heron")
    scores = session.facts.collect()["score/heron"].gather(found["index"])
    assert found["codes"] == [round(100 * score) for score in scores]
    found = describe_map(placed, session.facts, "score", None)
    assert min(found["codes"]) == -1, "a row without any score has no margin"
    assert max(found["codes"]) <= 100
    with pytest.raises(CardError, match="colour"):
        describe_map(placed, session.facts, "length", None)


def test_a_run_without_texts_has_an_empty_map(answers, tmp_path, session):
    """A withdrawn run has no texts, so no row has a place, and nothing is drawn."""
    manifest = load_manifest(str(answers))
    folder = choose_folder(tmp_path / "other", manifest)
    facts = open_facts(str(answers), manifest, folder)
    gone = session.texts._replace(
        text=session.texts.text.with_columns(text=pl.lit(None, pl.String))
    )
    found = open_map(str(answers), manifest, folder, gone)
    assert not found.known.any()
    assert describe_map(found, facts, "decision", None)["index"] == []
    assert found.find_rows(WHOLE).tolist() == []
