"""Ask a model behind an OpenAI-compatible endpoint, within limits, and keep its replies."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from schemas.digests import digest_config
from schemas.errors import CardError, EndpointError, StorageError
from transforms.files import storage
from transforms.files.locations import UNUSABLE_REMEDY, describe_unusable

RETRIES = 4
"""How often a request is sent again after a lost connection or one of `BUSY`."""

BUSY = (408, 429, 500, 502, 503, 504)
"""The statuses after which a request is sent again. A `Retry-After` header is obeyed."""

REFUSED = (401, 403, 404, 405)
"""The statuses that mean that every request will fail.

Servers answer 400 to a single conversation that is too long for the model.
"""

MOST_BYTES = 1 << 20
"""The largest reply that is read, in bytes."""

LONGEST_WAIT = 60.0
"""The longest pause in seconds that a `Retry-After` header may ask for."""

SHOWN_CHARACTERS = 200


class Prices(NamedTuple):
    """What a million tokens cost, in any currency."""

    prompt: float
    reply: float

    def compute_cost(self, usage: Usage) -> float:
        """Return the cost of some tokens."""
        return (usage.prompt * self.prompt + usage.reply * self.reply) / 1e6


class Usage(NamedTuple):
    """Numbers of tokens. `is_estimated` if the endpoint didn't state them."""

    prompt: int
    reply: int
    is_estimated: bool = False


class Endpoint(NamedTuple):
    """The base URL of an endpoint (up to `/v1`), its model, and how long a reply may take."""

    url: str
    model: str
    key: str | None = None
    seconds: float = 120.0
    prices: Prices | None = None


class Limits(NamedTuple):
    """What may be spent: requests, tokens, and money. None means that there is no limit."""

    requests: int | None = None
    tokens: int | None = None
    cost: float | None = None


class Spending(NamedTuple):
    """What was spent. `remembered` replies came from earlier requests and cost nothing."""

    requests: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost: float | None = None
    remembered: int = 0
    estimated: int = 0
    """How many replies came without their number of tokens."""


class LimitReached(Exception):  # noqa: N818
    """The next request could exceed a limit, so it isn't sent."""


class RequestFailed(Exception):  # noqa: N818
    """One request failed, also after its retries; others may work."""


class ReplyCutOff(RequestFailed):
    """The reply ends where it reached the largest number of tokens."""


class _Bearer(AuthBase):
    """Sends the key. Without this, `requests` would prefer a key from ~/.netrc."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _BoundedRetry(Retry):
    """Retries that wait no longer than `LONGEST_WAIT`, whatever the server asks for."""

    def get_retry_after(self, response: Any) -> float | None:
        """Return the pause that the server asks for, up to the longest."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT)


class ChatClient:
    """Asks an endpoint from several threads.

    Before a request is sent, the most that it can cost is set aside, so no limit is ever exceeded
    by an endpoint that honours `max_tokens`. Replies are kept in `cache`, keyed by model and
    messages; a repeated question is answered from there.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits, cache: Path | None = None) -> None:
        require_endpoint(endpoint, limits)
        self._endpoint, self._limits, self._cache = endpoint, limits, cache
        self._lock = threading.Lock()
        self._spent, self._reserved = Spending(cost=0.0 if endpoint.prices else None), Usage(0, 0)
        self._local = threading.local()

    @property
    def spending(self) -> Spending:
        """Return what was spent so far."""
        return self._spent

    def ask(
        self, messages: Sequence[Mapping[str, str]], most_tokens: int, whole: bool = False
    ) -> str:
        """Return the model's reply to a conversation, of at most `most_tokens` tokens.

        The temperature is 0. With `whole`, a reply that is cut off there isn't usable.

        Raises: LimitReached: the request could exceed a limit. Raises: RequestFailed: there is no
        usable reply. Raises: EndpointError: the endpoint refuses every such request.
        """
        body = {
            "model": self._endpoint.model,
            "messages": [_replace_halves(item) for item in messages],
            "max_tokens": most_tokens,
            "temperature": 0,
        }
        name = digest_config([self._endpoint.url, body])
        if (known := self._recall(name)) is not None:
            with self._lock:
                self._spent = self._spent._replace(remembered=self._spent.remembered + 1)
            return known
        asked = Usage(estimate_tokens(messages), most_tokens, is_estimated=True)
        self._reserve(asked)
        try:
            text, usage = self._send(body, asked, whole)
        except ReplyCutOff:
            self._settle(asked, asked)
            raise
        except (RequestFailed, EndpointError):
            # the model may have read the prompt although its reply is unusable
            self._settle(asked, asked._replace(reply=0))
            raise
        self._settle(asked, usage)
        self._remember(name, text)
        return text

    def _reserve(self, asked: Usage) -> None:
        limits, spent, held = self._limits, self._spent, self._reserved
        with self._lock:
            spent, held = self._spent, self._reserved
            total = Usage(
                spent.prompt_tokens + held.prompt + asked.prompt,
                spent.reply_tokens + held.reply + asked.reply,
            )
            if limits.requests is not None and spent.requests + 1 > limits.requests:
                raise LimitReached
            if limits.tokens is not None and total.prompt + total.reply > limits.tokens:
                raise LimitReached
            prices = self._endpoint.prices
            if limits.cost is not None and prices and prices.compute_cost(total) > limits.cost:
                raise LimitReached
            self._spent = spent._replace(requests=spent.requests + 1)
            self._reserved = Usage(held.prompt + asked.prompt, held.reply + asked.reply)

    def _settle(self, asked: Usage, usage: Usage) -> None:
        """Replace what was set aside for a request by what it cost."""
        prices = self._endpoint.prices
        with self._lock:
            held, spent = self._reserved, self._spent
            self._reserved = Usage(held.prompt - asked.prompt, held.reply - asked.reply)
            cost = None if spent.cost is None or prices is None else prices.compute_cost(usage)
            self._spent = spent._replace(
                prompt_tokens=spent.prompt_tokens + usage.prompt,
                reply_tokens=spent.reply_tokens + usage.reply,
                cost=None if cost is None else (spent.cost or 0.0) + cost,
                estimated=spent.estimated + usage.is_estimated,
            )

    def _send(self, body: Mapping[str, Any], asked: Usage, whole: bool) -> tuple[str, Usage]:
        endpoint = self._endpoint
        try:
            with self._session().post(
                f"{endpoint.url.rstrip('/')}/chat/completions",
                json=body,
                timeout=(10.0, endpoint.seconds),
                stream=True,
                allow_redirects=False,  # a redirect could lead the key and the text elsewhere
            ) as response:
                data = _read_limited(response, time.monotonic() + endpoint.seconds)
                status = response.status_code
        except requests.RequestException as error:
            raise RequestFailed(f"no reply: {_shorten(str(error))}") from error
        if status in REFUSED or 300 <= status < 400:
            raise EndpointError(
                f"refuses the request with status {status}: {_shorten(_decode(data))}",
                where=endpoint.url,
                remedy="check --endpoint (its path usually ends in /v1), --model and the key",
            )
        if status != 200:
            raise RequestFailed(f"status {status}: {_shorten(_decode(data))}")
        return parse_reply(data, asked, whole)

    def _session(self) -> requests.Session:
        """Return this thread's session."""
        if not hasattr(self._local, "session"):
            session = requests.Session()
            session.auth = _Bearer(self._endpoint.key)
            retry = _BoundedRetry(
                total=RETRIES,
                read=1,  # each may take as long as a reply
                status_forcelist=BUSY,
                allowed_methods=None,
                backoff_factor=0.2,
                raise_on_status=False,
            )
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            self._local.session = session
        return self._local.session  # type: ignore[no-any-return]

    def _recall(self, name: str) -> str | None:
        if self._cache is None:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            text = json.loads((self._cache / f"{name}.json").read_bytes())["text"]
            return text if isinstance(text, str) else None
        return None

    def _remember(self, name: str, text: str) -> None:
        if self._cache is not None:
            with suppress(StorageError):  # the reply is used all the same
                data = json.dumps({"text": text}).encode()
                storage.write_bytes(str(self._cache / f"{name}.json"), data)


def require_endpoint(endpoint: Endpoint, limits: Limits) -> None:
    """Check the settings of an endpoint.

    Raises: CardError: the URL isn't one of the web, a text isn't in UTF-8, or a cost is limited
    without prices.
    """
    parts = urlsplit(endpoint.url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise CardError(
            "isn't an address that begins with http:// or https://",
            where=f"--endpoint {endpoint.url}",
            remedy="give the base URL, such as http://localhost:8000/v1",
        )
    for option, text in (("--endpoint", endpoint.url), ("--model", endpoint.model)):
        if problem := describe_unusable(text):
            raise CardError(problem, where=f"{option} {text!a}", remedy=UNUSABLE_REMEDY)
    if limits.cost is not None and endpoint.prices is None:
        raise CardError(
            "a limit in money needs the prices of tokens",
            where="--max-cost",
            remedy="add --prices PROMPT REPLY, each per million tokens",
        )


def read_key(variable: str | None) -> str | None:
    """Return the key in an environment variable, or None without a variable.

    Raises: CardError: the variable isn't set.
    """
    if variable is None:
        return None
    if key := os.environ.get(variable):
        return key
    raise CardError(
        "isn't set",
        where=f"environment variable {variable}",
        remedy="export it, or leave --key-from out if the endpoint needs no key",
    )


def estimate_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """Return more tokens than a conversation usually has: one for every two bytes."""
    size = sum(len(text.encode("utf-8", "replace")) for item in messages for text in item.values())
    return size // 2 + 16


def parse_reply(data: bytes, asked: Usage, whole: bool = False) -> tuple[str, Usage]:
    """Return the text of a reply and its tokens. Without a usable count, `asked` counts.

    Raises: RequestFailed: the reply isn't a chat completion with a text. Raises: ReplyCutOff: with
    `whole`, the reply was cut off.
    """
    try:
        reply = json.loads(data)
        choice = reply["choices"][0]
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise RequestFailed(f"not a chat completion: {_shorten(_decode(data))}") from error
    if not isinstance(text, str):
        raise RequestFailed("the reply has no text")
    if whole and choice.get("finish_reason") == "length":
        raise ReplyCutOff("the reply was cut off at the largest number of tokens")
    return text, _read_usage(reply.get("usage")) or asked


def _read_usage(usage: object) -> Usage | None:
    """Return the stated numbers of tokens, or None if they aren't stated."""
    if not isinstance(usage, dict):
        return None
    prompt, reply = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not (isinstance(prompt, int) and isinstance(reply, int)):
        return None
    return Usage(prompt, reply) if prompt >= 0 and reply >= 0 else None


def _read_limited(response: requests.Response, end: float) -> bytes:
    """Read a reply, which may neither be too large nor drip in for too long."""
    data = bytearray()
    for chunk in response.iter_content(1 << 14):
        data += chunk
        if len(data) > MOST_BYTES:
            raise RequestFailed(f"the reply has more than {MOST_BYTES:,} bytes")
        if time.monotonic() > end:
            raise RequestFailed("the reply took too long")
    return bytes(data)


def _replace_halves(message: Mapping[str, str]) -> dict[str, str]:
    """Return a message that can be sent as UTF-8: halves of characters become question marks."""
    return {name: text.encode("utf-8", "replace").decode() for name, text in message.items()}


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"
