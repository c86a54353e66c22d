"""Beam pipelines that run immediately: `|` returns a list."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

_results: dict[str, list[Any]] = {}
"""The elements of each running pipeline, which Beam's in-process workers and tests share."""


class _Collect(beam.DoFn):
    """Appends every element to one pipeline's list."""

    def __init__(self, key: str) -> None:
        self._key = key

    def process(self, element: Any) -> None:
        _results[self._key].append(element)


class EagerPipeline:
    """A pipeline that runs in this process whenever a transform is applied.

    `EagerPipeline() | beam.Create([1, 2]) | beam.Map(str)` is the list `["1", "2"]`. Each `|` runs
    a separate pipeline, so every element is encoded and decoded between transforms. Beam promises
    no order, so compare sorted lists.
    """

    def __or__(self, transform: beam.PTransform) -> EagerCollection:
        return self.run(lambda pipeline: pipeline | transform)

    def run(self, build: Callable[[beam.Pipeline], beam.PCollection]) -> EagerCollection:
        """Run a pipeline that `build` extends, and return the result's elements.

        This is for transforms with side inputs.
        """
        key = uuid.uuid4().hex
        _results[key] = []
        try:
            with beam.Pipeline("FnApiRunner", PipelineOptions([])) as pipeline:
                _ = build(pipeline) | "Collect" >> beam.ParDo(_Collect(key))
            return EagerCollection(_results[key])
        finally:
            del _results[key]


class EagerCollection(list[Any]):
    """The elements of a collection.

    `|` runs the next transform on them.
    """

    def __or__(self, transform: beam.PTransform) -> EagerCollection:
        return apply(transform, self)


def apply(transform: beam.PTransform, elements: Iterable[Any]) -> EagerCollection:
    """Run a transform on some elements, and return the results."""
    items = list(elements)
    return EagerPipeline().run(
        lambda pipeline: pipeline | "Elements" >> beam.Create(items) | "Apply" >> transform
    )
