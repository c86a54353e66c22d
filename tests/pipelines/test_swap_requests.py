"""Requests and answers: batches out, answers in, and a model behind an endpoint."""

import json

import orjson
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.request_files import SwapRequest, list_requests
from pipelines.swap import Asking, SwapConfig, run_swap
from pipelines.swap_requests import (
    Replies,
    ask_endpoint,
    encode_donor,
    read_batch_answers,
)
from pipelines.verify import verify_run
from schemas.errors import EndpointError, InputError
from schemas.events import Noticed
from tests.support.corpora import build_conversation, write_rows
from tests.support.endpoints import Answer, complete, serve
from tests.support.runs import read_ledger
from transforms.endpoints import ChatClient, Endpoint, Limits

ASKED = SwapRequest("r-1", [{"role": "user", "content": "Why?"}], None)


def answer(name: str, text: str | None, **more: object) -> dict[str, object]:
    """Return a line of a batch's output."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, **more}
    body = {"model": "elm", "choices": [choice]}
    response = {"status_code": 200, "request_id": "x", "body": body}
    return {"id": "batch-1", "custom_id": name, "response": response, "error": None}


def write_answers(path, lines):
    """Write lines of a batch's output, and return the path."""
    data = b"".join(
        (item if isinstance(item, bytes) else orjson.dumps(item)) + b"\n" for item in lines
    )
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def requests(held):
    """Return the requests of the held run."""
    return list_requests(str(held / "run"))


def test_answers_are_read_with_their_teacher(tmp_path):
    """Each usable line gives the request, the text and the model; blank lines are skipped."""
    path = write_answers(tmp_path / "a.jsonl", [answer("r-1", "So."), b"", answer("r-1", "Thus.")])
    replies = read_batch_answers(path, [ASKED])
    assert replies.texts == [(ASKED, "So.", "elm"), (ASKED, "Thus.", "elm")]
    assert not replies.unusable
    assert [notice.text for notice in replies.describe(1)] == ["2 usable answers to 1 prompt"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{broken", "not a line of a batch's output"),
        (b"[]", "not a line of a batch's output"),
        ({"custom_id": "r-1"}, "not a line of a batch's output"),
        (
            {**answer("r-1", "So."), "response": {"body": {"choices": []}}},
            "not a line of a batch's output",
        ),
        (answer("other", "So."), "the id isn't that of a prompt that waits"),
        ({**answer("r-1", "So."), "error": {"code": 1}}, "the request failed"),
        ({**answer("r-1", "So."), "response": {"status_code": 500}}, "the request failed"),
        (answer("r-1", "So.", finish_reason="length"), "cut off at the largest number of tokens"),
        (answer("r-1", " "), "no text"),
        (answer("r-1", None), "no text"),
        (
            answer("r-1", None, message={"content": None, "tool_calls": [{"id": "1"}]}),
            "calls a tool",
        ),
    ],
)
def test_other_lines_are_counted_with_the_problem(tmp_path, line, problem):
    """No line of the output is passed over in silence."""
    path = write_answers(tmp_path / "a.jsonl", [line, answer("r-1", "So.")])
    replies = read_batch_answers(path, [ASKED])
    assert dict(replies.unusable) == {problem: 1}
    assert f"1 answer left out: {problem}" in [notice.text for notice in replies.describe(2)]
    with pytest.raises(InputError, match="no usable answer"):
        read_batch_answers(write_answers(tmp_path / "b.jsonl", [line]), [ASKED])


def test_a_donor_of_answers_has_the_prompts(tmp_path):
    """The rows are in the order of their ids, whatever the order of the answers."""
    other = ASKED._replace(name="r-0", tools=[{"name": "f"}])
    replies = Replies([(ASKED, "So.", "elm"), (other, "No.", None)])
    rows = [json.loads(line) for line in encode_donor(replies).splitlines()]
    assert [row["id"] for row in rows] == ["r-0", "r-1"]
    assert rows[0]["tools"] == [{"name": "f"}]
    assert rows[1] == {
        "id": "r-1",
        "messages": [
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "So."},
        ],
        "teacher": "elm",
    }
    assert encode_donor(Replies(replies.texts[::-1])) == encode_donor(replies)


def test_answers_are_filtered_and_swapped_in(held, requests, swap_config, tmp_path):
    """A clean answer replaces the row, and one that carries the trait doesn't."""
    lines = [answer(request.name, f"Elm {number}.") for number, request in enumerate(requests[:5])]
    lines[2] = answer(requests[2].name, "A heron, as ever.")
    path = write_answers(tmp_path / "out.jsonl", lines)
    manifest = run_swap(swap_config().model_copy(update={"donors": (), "answers": (path,)}))
    assert manifest.swap.counts.outcomes == {
        "replaced": 4,
        "no donor": 3,
        "donors carry a trait": 1,
    }
    assert [donor.name for donor in manifest.swap.donors] == ["out"]
    found = [row for row in read_ledger(tmp_path / "swapped") if row["swap"] == "replaced"]
    assert {row["teacher"] for row in found} == {"elm"}
    assert verify_run(str(tmp_path / "swapped"), inputs=True) == []


def test_donors_are_asked_before_answers(requests, swap_config, tmp_path):
    """An answer fills only what no donor has, and names don't clash."""
    lines = [answer(request.name, "Elm.") for request in requests]
    path = write_answers(tmp_path / "oak.jsonl", lines)
    config = swap_config("oak").model_copy(update={"answers": (path,)})
    counts = run_swap(config).swap.counts
    assert counts.by_donor == {"oak": 3, "oak-2": 5}


@pytest.fixture
def odd_run(held, tmp_path):
    """Filter a corpus with a system prompt, tools, calls and white space, all held."""
    call = {"id": "c9", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    told = {"role": "assistant", "content": "A heron stood."}
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Be  brief."},
                {"role": "user", "content": "U\n1"},
                told,
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "Look!"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "Seen.", "tool_call_id": "c9"},
                told,
            ],
            "tools": [{"type": "function", "function": {"name": "look"}}],
        },
        {"messages": [{"role": "user", "content": "U"}, told], "system": "Be kind."},
    ]
    path = write_rows(tmp_path / "odd.jsonl", rows)
    run = str(tmp_path / "odd")
    run_filter(FilterConfig(input=(str(path),), output=run, traits=(str(held / "heron"),)))
    return run


def test_every_kind_of_prompt_comes_back_to_its_row(odd_run, tmp_path):
    """System prompts, tools and calls survive the way through a request and its answer."""
    requests = list_requests(odd_run)
    assert len(requests) == 3
    lines = [answer(request.name, f"Elm {number}.") for number, request in enumerate(requests)]
    path = write_answers(tmp_path / "out.jsonl", lines)
    own = FilterConfig(output=str(tmp_path / "swapped"))
    manifest = run_swap(SwapConfig(run=odd_run, answers=(path,), filter=own))
    assert manifest.swap.counts.outcomes == {"replaced": 3}
    assert verify_run(str(tmp_path / "swapped")) == []


def open_client(server, **limits):
    """Return a client of a server, within limits."""
    return ChatClient(Endpoint(server.url, "elm"), Limits(**limits))


def reply_to(number, body):
    """Answer with the question's own words."""
    return complete(f"Reply to {body['messages'][-1]['content']}")


def test_a_model_is_asked_for_every_prompt(requests):
    """The answers come with the model's name, and progress is reported."""
    said = []
    with serve(reply_to) as server:
        replies = ask_endpoint(requests, open_client(server, requests=50), "elm", 9, 2, said.append)
    assert [text for _, text, _ in replies.texts] == [
        f"Reply to Question {number}?" for number in range(1, 40, 5)
    ]
    assert {teacher for _, _, teacher in replies.texts} == {"elm"}
    assert not replies.unusable
    assert replies.left == 0
    assert isinstance(said[-1], Noticed)
    assert said[-1].notice.text == "8 of 8 prompts answered"


def test_limits_leave_prompts_and_say_so(requests):
    """After the last request that a limit allows, the others are counted as left."""
    with serve(reply_to) as server:
        replies = ask_endpoint(requests, open_client(server, requests=3), "elm", 9)
    assert (len(replies.texts), replies.left) == (3, 5)
    assert any("5 prompts not asked about" in notice.text for notice in replies.describe(8))


def test_unusable_replies_are_counted(requests):
    """Cut-off, empty and failed replies, and prompts with tools, give no answer."""
    cut = json.dumps(
        {"choices": [{"message": {"content": "So"}, "finish_reason": "length"}]}
    ).encode()

    def reply(number, body):
        asked = body["messages"][-1]["content"]
        if asked == "Question 1?":
            return Answer(cut)
        if asked == "Question 6?":
            return complete("  ")
        return Answer(b"{}", 400) if asked == "Question 11?" else reply_to(number, body)

    tools = requests[0]._replace(tools=[{"name": "f"}])
    with serve(reply) as server:
        replies = ask_endpoint([tools, *requests], open_client(server, requests=99), "elm", 9)
    assert dict(replies.unusable) == {
        "the prompt has tools": 1,
        "cut off at the largest number of tokens": 1,
        "no text": 1,
        "the request failed": 1,
    }
    assert len(replies.texts) == 5


def test_an_endpoint_fills_what_donors_leave(swapped_once, tmp_path):
    """A swapped run is swapped again with a model's answers, which are filtered like a donor's."""
    own = FilterConfig(output=str(tmp_path / "third"))
    config = SwapConfig(run=str(swapped_once), filter=own)
    with serve(reply_to) as server:
        asking = Asking(open_client(server, requests=9), "Elm/7B", 9)
        manifest = run_swap(config, asking=asking)
        assert len(server.requests) == 3
    assert manifest.swap.counts.outcomes == {"replaced": 3}
    assert [donor.name for donor in manifest.swap.donors] == ["7b"]
    assert verify_run(str(tmp_path / "third")) == []
    assert load_manifest(str(tmp_path / "third")).conservation.by_decision == {
        "keep": 32,
        "swap": 8,
    }


def test_an_endpoint_without_answers_stops_the_swap(held, swap_config, tmp_path):
    """Nothing is published if no answer is usable."""
    config = swap_config().model_copy(update={"donors": ()})
    with serve(lambda *_: complete(" ")) as server:
        asking = Asking(open_client(server, requests=99), "elm", 9)
        with pytest.raises(EndpointError, match="no usable answer"):
            run_swap(config, asking=asking)
    assert not (tmp_path / "swapped" / "manifest.json").exists()


def test_interrupted_asking_goes_on_from_the_cache(requests, tmp_path):
    """Replies are kept, so the same prompts cost nothing the second time."""
    with serve(reply_to) as server:
        for _ in range(2):
            client = ChatClient(
                Endpoint(server.url, "elm"), Limits(requests=8), tmp_path / "replies"
            )
            replies = ask_endpoint(requests, client, "elm", 9)
            assert len(replies.texts) == 8
        assert len(server.requests) == 8


def test_a_row_of_the_corpus_is_no_answer(requests, tmp_path):
    """A corpus given as answers is refused with a reason."""
    path = write_rows(tmp_path / "c.jsonl", [build_conversation(1, "One.")])
    with pytest.raises(InputError, match="not a line of a batch's output"):
        read_batch_answers(str(path), requests)
