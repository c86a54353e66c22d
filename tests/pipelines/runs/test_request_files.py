"""Requests for the prompts that wait: their form, and the files of a batch in a run."""

import json
from pathlib import Path

import orjson
import pytest

from pipelines import swap
from pipelines.runs import request_files
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.request_files import (
    SwapRequest,
    build_batch_files,
    encode_batch,
    find_changed_batches,
    list_requests,
    write_batch_files,
)
from pipelines.swap import SwapConfig, run_swap
from pipelines.verify import verify_run
from schemas.errors import RunError
from schemas.swaps import BatchRequests
from tests.support.runs import comparable_files

ASKED = BatchRequests(model="elm", reply_tokens=7)
ONE = SwapRequest("r-1", [{"role": "user", "content": "Why?"}], None)


@pytest.fixture
def requests(held):
    """Return the requests of the held run."""
    return list_requests(str(held / "run"))


@pytest.fixture
def asking(swap_config, tmp_path) -> tuple[SwapConfig, Path]:
    """Return a swap that writes requests for what still waits, and its output."""
    return swap_config(requests=ASKED), tmp_path / "swapped"


def test_every_waiting_prompt_is_a_request(requests):
    """Requests are in corpus order, and their ids are their own."""
    asked = [request.messages[0]["content"] for request in requests]
    assert asked == [f"Question {number}?" for number in range(1, 40, 5)]
    assert len({request.name for request in requests}) == len(requests)
    assert all(request.is_plain for request in requests)


def test_a_batch_has_a_line_for_every_request(requests):
    """Each line is what OpenAI's Batch API and `vllm run-batch` read."""
    lines = [json.loads(line) for line in encode_batch(requests, "elm", 50).splitlines()]
    assert len(lines) == 8
    assert lines[0] == {
        "custom_id": requests[0].name,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "elm",
            "messages": [{"role": "user", "content": "Question 1?"}],
            "max_tokens": 50,
        },
    }
    tools = [{"type": "function", "function": {"name": "f"}}]
    (line,) = encode_batch([ONE._replace(tools=tools)], "elm", 5).splitlines()
    assert json.loads(line)["body"]["tools"] == tools


@pytest.mark.parametrize(
    ("request_", "plain"),
    [
        (ONE, True),
        (ONE._replace(tools=[{"name": "f"}]), False),
        (ONE._replace(messages=[{"role": "tool", "content": "R"}]), False),
        (ONE._replace(messages=[{"role": "assistant", "content": None}]), False),
        (ONE._replace(messages=[{"role": "user", "content": "U", "name": "Ann"}]), False),
    ],
)
def test_only_texts_are_plain(request_, plain):
    """Tools, calls and names of speakers need more than texts."""
    assert request_.is_plain is plain


def test_only_a_finished_run_has_requests(tmp_path):
    """The error says what is missing."""
    with pytest.raises(RunError):
        list_requests(str(tmp_path))


def test_what_waits_is_written_as_requests(asking):
    """The new run's swap list has a batch of the rows that no donor serves, listed as an output."""
    config, run = asking
    manifest = run_swap(config)
    (path,) = (run / "swaplist").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [item.name for item in list_requests(str(run))]
    assert [line["body"]["messages"][0]["content"] for line in lines] == [
        f"Question {number}?" for number in (6, 11, 36)
    ]
    assert {(line["body"]["model"], line["body"]["max_tokens"]) for line in lines} == {("elm", 7)}
    (output,) = [
        item for item in manifest.outputs if item.path.endswith(".jsonl") and item.rows == 3
    ]
    assert output.path == "swaplist/requests-0001.jsonl"
    assert manifest.swap.requests == ASKED
    assert verify_run(str(run)) == []


def test_requests_change_no_other_file(asking, swapped_once):
    """Apart from the manifest and the requests, the run has the bytes of one without them."""
    config, run = asking
    run_swap(config)
    found, other = comparable_files(run), comparable_files(swapped_once)
    assert found.pop("swaplist/requests-0001.jsonl")
    changed = {name for name in found | other if found.get(name) != other.get(name)}
    assert {name for name in changed if not name.startswith("donors/")} == {"manifest.json"}


def test_replies_to_the_file_are_swapped_in(asking, tmp_path):
    """The ids in the file lead the replies to their rows, in a swap of the new run."""
    config, run = asking
    run_swap(config)
    choice = {"message": {"role": "assistant", "content": "Elm."}}
    replies = tmp_path / "replies.jsonl"
    with replies.open("wb") as file:
        for line in (run / "swaplist" / "requests-0001.jsonl").read_bytes().splitlines():
            own = {"custom_id": orjson.loads(line)["custom_id"]}
            body = {"model": "elm", "choices": [choice]}
            file.write(
                orjson.dumps({**own, "response": {"status_code": 200, "body": body}}) + b"\n"
            )
    third = config.filter.model_copy(update={"output": str(tmp_path / "third")})
    again = config.model_copy(
        update={"run": str(run), "donors": (), "answers": (str(replies),), "filter": third}
    )
    manifest = run_swap(again)
    assert manifest.swap.counts.outcomes == {"replaced": 3}
    assert not list((tmp_path / "third").glob("swaplist/*"))
    assert verify_run(str(tmp_path / "third")) == []


def test_large_batches_are_cut(held, monkeypatch):
    """A file ends at the largest number of requests or bytes, and no request is lost."""
    run, manifest = str(held / "run"), load_manifest(str(held / "run"))
    whole = encode_batch(list_requests(run), "elm", 7)
    lists = [item for item in manifest.outputs if item.path.startswith("swaplist/")]
    monkeypatch.setattr(request_files, "MOST_REQUESTS", 3)
    files = list(build_batch_files(run, lists, ASKED))
    assert [(item.path[-10:], item.requests) for item in files] == [
        ("0001.jsonl", 3),
        ("0002.jsonl", 3),
        ("0003.jsonl", 2),
    ]
    assert b"".join(item.data for item in files) == whole
    monkeypatch.setattr(request_files, "MOST_BYTES", len(whole) // 4)
    files = list(build_batch_files(run, lists, ASKED))
    assert len(files) > 3
    assert all(len(item.data) <= len(whole) // 4 for item in files)
    assert b"".join(item.data for item in files) == whole


def test_without_a_model_nothing_is_written(held, tmp_path):
    """A swap without a model has no file of requests, and verify expects none."""
    manifest = load_manifest(str(held / "run"))
    assert list(write_batch_files(str(tmp_path), manifest.outputs, None)) == []
    assert list(tmp_path.iterdir()) == []
    assert list(find_changed_batches(str(held / "run"), manifest, None)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda items: items[:-1], "isn't in the manifest, although prompts wait"),
        (
            lambda items: [*items[:-1], items[-1].model_copy(update={"rows": 2})],
            "doesn't have the requests of the swap list",
        ),
        (
            lambda items: [
                *items,
                items[-1].model_copy(update={"path": "swaplist/requests-0002.jsonl"}),
            ],
            "has requests for prompts that aren't on the swap list",
        ),
    ],
)
def test_verify_compares_requests_with_the_swap_list(asking, change, problem):
    """A file of requests that the swap list doesn't call for, or that lacks some, is found."""
    config, run = asking
    manifest = run_swap(config)
    others = [item for item in manifest.outputs if "requests-" not in item.path]
    files = [item for item in manifest.outputs if "requests-" in item.path]
    forged = manifest.model_copy(update={"outputs": (*others, *change(files))})
    ((_, found),) = find_changed_batches(str(run), forged, ASKED)
    assert found == problem


def test_a_changed_file_of_requests_is_found(asking):
    """Its bytes are part of the run."""
    config, run = asking
    run_swap(config)
    path = run / "swaplist" / "requests-0001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Question 6?", b"Question 7?"))
    assert [finding.where for finding in verify_run(str(run))] == [f"swaplist/{path.name}"]


def kill(*_):
    """End a swap as a kill would, before its requests and its manifest."""
    raise RuntimeError("killed")


def test_an_earlier_attempts_requests_are_removed(asking):
    """A file of requests that this swap doesn't write is no foreign data."""
    config, run = asking
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swap, "write_batch_files", kill)
        with pytest.raises(RuntimeError, match="killed"):
            run_swap(config)
    stray = run / "swaplist" / "requests-0002.jsonl"
    stray.write_text("{}")
    run_swap(config)
    assert not stray.exists()
    assert verify_run(str(run)) == []
