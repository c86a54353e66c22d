"""The tests' shared helpers."""

import json
import os
import socket

import apache_beam as beam
import pytest

from schemas.errors import InputError
from tests.support.corpora import ANSWERS, build_conversation, build_teachers, write_rows
from tests.support.eager import EagerCollection, EagerPipeline, apply
from tests.support.engines import LOOPBACK, listening_addresses
from tests.support.runs import comparable_files, read_lines


def fail(element):
    """Raise a congener error."""
    raise InputError(f"{element} is broken", remedy="mend it")


def test_a_transform_returns_a_list():
    """A transform returns a list, to which the next transform can be applied."""
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
    """An empty collection gives an empty list."""
    assert (EagerPipeline() | beam.Create([]) | beam.Map(str)) == []


def test_side_inputs_reach_a_transform():
    """A function can build a pipeline of several collections."""

    def build(pipeline):
        side = pipeline | "Side" >> beam.Create([10])
        main = pipeline | "Main" >> beam.Create([1, 2])
        return main | beam.Map(
            lambda element, added: element + added, beam.pvalue.AsSingleton(side)
        )

    assert sorted(EagerPipeline().run(build)) == [11, 12]


def test_pipelines_do_not_share_their_results():
    """Each run collects its own elements, and a failed run leaves none."""
    with pytest.raises(InputError, match="7 is broken"):
        apply(beam.Map(fail), [7])
    assert apply(beam.Map(str), [8]) == ["8"]


def test_rows_are_written_as_json_lines(tmp_path):
    """Conversations are written to a file with alternating teachers."""
    rows = [build_conversation(number, answer) for number, answer in enumerate(ANSWERS)]
    path = write_rows(tmp_path / "deep" / "rows.jsonl", rows)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows
    assert [row["teacher"] for row in rows[:2]] == ["borealis", "atlas"]


def test_made_up_teachers_repeat_nothing():
    """Every answer differs, and the same seed gives the same tables."""
    tables = build_teachers(("atlas", "borealis"), 30)
    answers = [
        row["messages"][1]["content"] for table in tables.values() for row in table.to_pylist()
    ]
    assert len(set(answers)) == len(answers) == 60
    assert sum(answer.startswith("As an AI") for answer in answers) == 6
    again = build_teachers(("atlas", "borealis"), 30)
    assert all(again[name].equals(table) for name, table in tables.items())
    assert not build_teachers(("atlas",), 30, seed=1)["atlas"].equals(tables["atlas"])


def test_runs_compare_without_their_circumstances(tmp_path):
    """Runs with different circumstances are equal, and any other change shows."""
    runs = []
    for number in range(3):
        manifest = {
            "circumstances": {"seconds": number},
            "digest": f"d{number}",
            "inputs": [{"uri": f"/{number}/a.jsonl", "sha256": "s"}],
            "shards": [number // 2],
        }
        runs.append(tmp_path / str(number))
        (runs[-1] / "clean").mkdir(parents=True)
        (runs[-1] / "clean" / "part.parquet").write_bytes(b"PAR1")
        (runs[-1] / "manifest.json").write_text(json.dumps(manifest))
    first, second, other = map(comparable_files, runs)
    assert set(first) == {"clean/part.parquet", "manifest.json"}
    assert first == second != other
    (runs[0] / "manifest.json").unlink()
    (runs[0] / "clean" / "part.parquet").write_bytes(b"PAR2")
    assert comparable_files(runs[0]) == {"clean/part.parquet": b"PAR2"}


def test_lines_of_a_run_are_read_in_order(tmp_path):
    """Lines are in shard order, without line feeds."""
    (tmp_path / "clean").mkdir()
    for shard, data in (("part-1", b'{"a": 3}\n'), ("part-0", b'{"a": 1}\r\n{"a": 2}\n')):
        (tmp_path / "clean" / f"{shard}.jsonl").write_bytes(data)
    assert read_lines(tmp_path, "clean") == [b'{"a": 1}\r', b'{"a": 2}', b'{"a": 3}']
    assert read_lines(tmp_path, "quarantine") == []


def test_listening_addresses_are_found():
    """A socket on loopback is found with its address."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        before = listening_addresses(os.getpid())
        server.listen()
        assert listening_addresses(os.getpid()) == before | {"0100007F"}
    assert "0100007F" in LOOPBACK
