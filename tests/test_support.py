"""The tools that tests share."""

import apache_beam as beam
import pytest

from schemas.errors import InputError
from tests.support.eager import EagerCollection, EagerPipeline, apply


def fail(element):
    """Raise an error of ours."""
    raise InputError(f"{element} is broken", remedy="mend it")


def test_a_transform_returns_a_list():
    """Elements go in, a list comes out, and the next transform takes it."""
    created = EagerPipeline() | beam.Create([1, 2, 3])
    assert sorted(created) == [1, 2, 3]
    assert isinstance(created, EagerCollection)
    assert sorted(created | beam.Map(lambda element: element * 2) | beam.Map(str)) == [
        "2",
        "4",
        "6",
    ]
    assert sorted(apply(beam.Map(str), range(2))) == ["0", "1"]


def test_no_elements_are_an_empty_list():
    """An empty collection runs too."""
    assert (EagerPipeline() | beam.Create([]) | beam.Map(str)) == []


def test_side_inputs_reach_a_transform():
    """A pipeline of several collections is built by a function."""

    def build(pipeline):
        side = pipeline | "Side" >> beam.Create([10])
        main = pipeline | "Main" >> beam.Create([1, 2])
        return main | beam.Map(
            lambda element, added: element + added, beam.pvalue.AsSingleton(side)
        )

    assert sorted(EagerPipeline().run(build)) == [11, 12]


def test_pipelines_do_not_share_their_results():
    """Each run collects its own elements, and one that fails leaves none behind."""
    with pytest.raises(InputError, match="7 is broken"):
        apply(beam.Map(fail), [7])
    assert apply(beam.Map(str), [8]) == ["8"]
