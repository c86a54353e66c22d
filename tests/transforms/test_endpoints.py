"""Endpoints: limits that hold, retries, cached replies, and servers that misbehave."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CardError, EndpointError
from tests.support.endpoints import Answer, complete, serve
from transforms import endpoints
from transforms.endpoints import (
    ChatClient,
    Endpoint,
    LimitReached,
    Limits,
    Prices,
    ReplyCutOff,
    RequestFailed,
    Usage,
    estimate_tokens,
    parse_reply,
    read_key,
)

NO_LIMITS = Limits()
QUESTION = [{"role": "user", "content": "Is it raining?"}]


def ask(url, messages=QUESTION, limits=NO_LIMITS, cache=None, **settings):
    """Ask once; return the reply and the spending."""
    client = ChatClient(Endpoint(url, "m", **settings), limits, cache)
    return client.ask(messages, 20), client.spending


def test_a_question_is_sent_in_the_usual_form():
    """The request has model, messages, limit, temperature 0 and the key."""
    with serve(lambda *_: complete("Yes.")) as server:
        reply, spending = ask(server.url, key="secret")
        ((path, headers, body),) = server.requests
    assert reply == "Yes."
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {"model": "m", "messages": QUESTION, "max_tokens": 20, "temperature": 0}
    assert (spending.requests, spending.prompt_tokens, spending.reply_tokens) == (1, 10, 5)
    assert spending.cost is None


def test_a_key_from_netrc_is_never_sent(tmp_path, monkeypatch):
    """Without a key, none is sent, even if ~/.netrc has one for the host."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serve(lambda *_: complete("Yes.")) as server:
        ask(server.url)
    assert "Authorization" not in server.requests[0][1]


def test_busy_servers_are_asked_again(monkeypatch):
    """A busy server gets the request again, after the pause that it asks for, up to a limit."""
    monkeypatch.setattr(endpoints, "LONGEST_WAIT", 0.01)
    busy = [Answer(b"", 429, (("Retry-After", "3600"),)), Answer(b"", 503)]
    with serve(lambda n, _: busy[n] if n < 2 else complete("Yes.")) as server:
        reply, spending = ask(server.url)
    assert (reply, len(server.requests), spending.requests) == ("Yes.", 3, 1)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(b"not json"), "not a chat completion: not json"),
        (Answer(b'{"choices": []}'), "not a chat completion"),
        (Answer(b"[" * 100_000), "not a chat completion"),
        (Answer(b'{"choices": [{"message": {"content": null}}]}'), "has no text"),
        (Answer(b"too long for the model", 400), "status 400: too long for the model"),
        (Answer(b" " * (endpoints.MOST_BYTES + 1)), "more than 1,048,576 bytes"),
        (Answer(b"cut off", 200, (("Content-Length", "100"),)), "no reply"),
    ],
)
def test_an_unusable_reply_fails_one_request(answer, problem):
    """A reply that can't be used fails its request, and its prompt counts as spent."""
    with serve(lambda *_: answer) as server:
        client = ChatClient(Endpoint(server.url, "m", seconds=5), NO_LIMITS)
        with pytest.raises(RequestFailed, match=problem):
            client.ask(QUESTION, 20)
    assert client.spending.prompt_tokens == estimate_tokens(QUESTION)
    assert client.spending.reply_tokens == 0


@pytest.mark.parametrize(
    "answer",
    [Answer(b"who are you?", 401), Answer(b"", 404), Answer(b"", 302, (("Location", "/x"),))],
)
def test_a_refusal_stops_everything(answer):
    """A wrong key or path and a redirect, which could leak the key, are errors."""
    with serve(lambda *_: answer) as server, pytest.raises(EndpointError, match="status") as caught:
        ask(server.url)
    assert caught.value.exit_code == 7
    assert len(server.requests) == 1


def test_a_slow_reply_ends(monkeypatch):
    """A reply that drips in for longer than allowed fails its request."""
    clock = iter([0.0, 1e9])
    monkeypatch.setattr(endpoints.time, "monotonic", lambda: next(clock, 2e9))
    with pytest.raises(RequestFailed, match="took too long"):
        endpoints._read_limited(Drip(), 5.0)


class Drip:
    """A response that sends byte after byte."""

    def iter_content(self, _):
        """Yield bytes without end."""
        while True:
            yield b" "


def test_an_absent_server_fails_the_request():
    """Without a server, the request fails after its retries."""
    with serve(lambda *_: complete("Yes.")) as server:
        url = server.url
    with pytest.raises(RequestFailed, match="no reply"):
        ask(url)


def test_replies_are_remembered(tmp_path):
    """The same question to the same model is asked once; a damaged file is asked again."""
    with serve(lambda n, _: complete(f"Reply {n}.")) as server:
        assert ask(server.url, cache=tmp_path)[0] == "Reply 0."
        reply, spending = ask(server.url, cache=tmp_path)
        assert (reply, spending.requests, spending.remembered) == ("Reply 0.", 0, 1)
        other = [{"role": "user", "content": "Is it snowing?"}]
        assert ask(server.url, other, cache=tmp_path)[0] == "Reply 1."
        for path in tmp_path.glob("*.json"):
            path.write_text("{")
        assert ask(server.url, cache=tmp_path)[0] == "Reply 2."


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        (Limits(requests=3), 3),
        (Limits(tokens=4 * (estimate_tokens(QUESTION) + 20)), 4),
        (Limits(cost=2 * (estimate_tokens(QUESTION) + 2 * 20) / 1e6), 2),
        (Limits(tokens=10), 0),
    ],
)
def test_limits_hold_across_threads(limits, allowed):
    """However many threads ask, no more is spent than a limit allows."""
    used = estimate_tokens(QUESTION)
    with serve(lambda *_: complete("Yes.", used, 20)) as server:
        endpoint = Endpoint(server.url, "m", prices=Prices(1.0, 2.0))
        client = ChatClient(endpoint, limits)

        def ask_once(_):
            try:
                return client.ask(QUESTION, 20)
            except LimitReached:
                return None

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(ask_once, range(12)))
    assert len(server.requests) == allowed == sum(reply is not None for reply in replies)
    spent = client.spending
    assert spent.prompt_tokens + spent.reply_tokens == allowed * (used + 20)
    assert spent.cost == pytest.approx(allowed * (used + 40) / 1e6)


def test_tokens_that_the_server_does_not_count_are_estimated():
    """Without a usage in the reply, the most possible counts."""
    with serve(lambda *_: complete("Yes.", None)) as server:
        _, spending = ask(server.url)
    assert spending.estimated == 1
    assert spending.reply_tokens == 20


def test_mistakes_in_the_settings_are_refused(monkeypatch):
    """A URL of another kind, a cost without prices and a missing key are refused."""
    for url in ("localhost:8000/v1", "file:///etc/passwd", "http://"):
        with pytest.raises(CardError, match="isn't an address"):
            ChatClient(Endpoint(url, "m"), Limits())
    for endpoint in (Endpoint("http://a/v1", "h\udce9ron"), Endpoint("http://\udce9/v1", "m")):
        with pytest.raises(CardError, match="UTF-8"):
            ChatClient(endpoint, Limits())
    with pytest.raises(CardError, match="needs the prices"):
        ChatClient(Endpoint("http://a/v1", "m"), Limits(cost=1))
    monkeypatch.setenv("A_KEY", "k")
    assert read_key("A_KEY") == "k"
    assert read_key(None) is None
    with pytest.raises(CardError, match="isn't set"):
        read_key("ANOTHER_KEY")


def test_an_estimate_is_more_than_a_token_for_four_letters():
    """The estimate is above the usual number of tokens, in other scripts too."""
    assert estimate_tokens([{"content": "word " * 100}]) >= 250
    assert estimate_tokens([{"content": "漢字" * 100}]) >= 300


def test_a_slow_server_fails_the_request():
    """A server that takes longer than allowed fails the request, after one more try."""
    stop = threading.Event()

    def wait(*_):
        stop.wait(20)
        return complete("Yes.")

    with serve(wait) as server:
        began = time.monotonic()
        with pytest.raises(RequestFailed, match="no reply"):
            ask(server.url, seconds=0.2)
        stop.set()
        assert time.monotonic() - began < 15


def test_a_base_url_may_end_in_a_slash():
    """A slash at the end of the base URL makes no difference."""
    with serve(lambda *_: complete("Yes.")) as server:
        assert ask(f"{server.url}/")[0] == "Yes."
    assert server.requests[0][0] == "/v1/chat/completions"


def test_an_unwritable_cache_costs_only_the_cache(tmp_path):
    """If a reply can't be kept, it is used all the same."""
    (tmp_path / "file").write_text("")
    with serve(lambda *_: complete("Yes.")) as server:
        assert ask(server.url, cache=tmp_path / "file")[0] == "Yes."


def test_replies_are_kept_by_model_endpoint_and_question(tmp_path):
    """Another model, another endpoint or another length of the reply is another question."""
    with (
        serve(lambda n, _: complete(f"Reply {n}.")) as one,
        serve(lambda *_: complete("Elsewhere.")) as other,
    ):
        clients = [
            ChatClient(Endpoint(one.url, "m"), NO_LIMITS, tmp_path),
            ChatClient(Endpoint(one.url, "n"), NO_LIMITS, tmp_path),
            ChatClient(Endpoint(other.url, "m"), NO_LIMITS, tmp_path),
        ]
        replies = [client.ask(QUESTION, 20) for client in clients]
        replies.append(clients[0].ask(QUESTION, 21))
    assert replies == ["Reply 0.", "Reply 1.", "Elsewhere.", "Reply 2."]


def test_a_failed_reply_is_not_remembered(tmp_path):
    """A question that failed is sent again the next time."""
    answers = [Answer(b"", 400), complete("Yes.")]
    with serve(lambda n, _: answers[n]) as server:
        with pytest.raises(RequestFailed):
            ask(server.url, cache=tmp_path)
        assert ask(server.url, cache=tmp_path)[0] == "Yes."


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 3},
        {"prompt_tokens": "3", "completion_tokens": 4},
        {"prompt_tokens": -3, "completion_tokens": 4},
        {"prompt_tokens": 3.5, "completion_tokens": 4},
    ],
)
def test_an_odd_usage_counts_as_the_most_possible(usage):
    """Numbers of tokens that can't be used don't make a request look cheap."""
    body = {"choices": [{"message": {"content": "Yes."}}], "usage": usage}
    with serve(lambda *_: Answer(json.dumps(body).encode())) as server:
        _, spending = ask(server.url)
    assert spending.prompt_tokens == estimate_tokens(QUESTION)
    assert (spending.reply_tokens, spending.estimated) == (20, 1)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20)), max_size=12))
def test_no_honest_reply_breaks_a_limit(usages):
    """Whatever the replies use, up to what was set aside, tokens and cost stay within limits."""
    most = estimate_tokens(QUESTION)
    limits = Limits(tokens=150, cost=0.0002)
    client = ChatClient(Endpoint("http://a/v1", "m", prices=Prices(1.0, 3.0)), limits)
    for prompt, reply in usages:
        used = Usage(min(prompt, most), reply)
        client._send = lambda *_, used=used: ("Yes.", used)
        try:
            client.ask(QUESTION, 20)
        except LimitReached:
            break
        spent = client.spending
        assert spent.prompt_tokens + spent.reply_tokens <= 150
        assert spent.cost <= 0.0002
    assert client._reserved[:2] == (0, 0)


@given(st.binary(max_size=200))
def test_no_reply_is_a_surprise(data):
    """Any bytes are either a completion or a failed request."""
    with suppress(RequestFailed):
        text, usage = endpoints.parse_reply(data, Usage(1, 2, is_estimated=True))
        assert isinstance(text, str)
        assert usage.prompt >= 0


def test_half_a_character_is_replaced():
    """A text that isn't valid Unicode is sent with a question mark in place of the half."""
    with serve(lambda *_: complete("Yes.")) as server:
        ask(server.url, [{"role": "user", "content": "half \ud800."}])
    assert server.requests[0][2]["messages"][0]["content"] == "half ?."


def test_a_reply_that_is_cut_off_is_used_only_if_it_neednt_be_whole():
    """The tokens of such a reply count as spent, and it isn't remembered."""
    message = {"message": {"content": "So"}, "finish_reason": "length"}
    data = json.dumps({"choices": [message]}).encode()
    asked = Usage(10, 5)
    assert parse_reply(data, asked) == ("So", asked)
    with pytest.raises(ReplyCutOff, match="cut off"):
        parse_reply(data, asked, whole=True)
    with serve(lambda *_: Answer(data)) as server:
        client = ChatClient(Endpoint(server.url, "m"), Limits(tokens=100))
        assert client.ask(QUESTION, 5) == "So"
        with pytest.raises(ReplyCutOff):
            client.ask(QUESTION, 5, whole=True)
    assert client.spending.reply_tokens == 10
    assert client._reserved[:2] == (0, 0)
