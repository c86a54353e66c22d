"""The replies of a batch or an endpoint to a run's requests, as a donor's corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipelines.judge import BATCH, Failures
from pipelines.runs.request_files import SwapRequest
from schemas.errors import InputError
from schemas.events import Listener, Noticed, ignore
from schemas.notices import Notice, format_count
from transforms.endpoints import ChatClient, LimitReached, ReplyCutOff, RequestFailed
from transforms.files import storage

OK = 200


@dataclass
class Replies:
    """The usable replies to requests as texts with the teacher's name, and what is wrong elsewhere.

    `unusable` counts replies by what is wrong with them. `left` requests weren't sent, because of
    a limit.
    """

    texts: list[tuple[SwapRequest, str, str | None]] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)
    left: int = 0

    def describe(self, requests: int) -> Iterator[Notice]:
        """Say how many prompts have an answer, and why the others have none."""
        yield Notice(f"{len(self.texts):,} usable answers to {format_count(requests, 'prompt')}")
        for problem, count in sorted(self.unusable.items()):
            yield Notice(f"{format_count(count, 'answer')} left out: {problem}")
        if self.left:
            yield Notice(
                f"{format_count(self.left, 'prompt')} not asked about, because of a limit; swap "
                "the new run with a higher limit to ask about them"
            )


def read_batch_answers(path: str, requests: Sequence[SwapRequest]) -> Replies:
    """Read the output file of a batch.

    Raises: InputError: the file can't be read, or has no usable answer to the requests.
    """
    known = {request.name: request for request in requests}
    replies = Replies()
    for line in storage.read_bytes(path).splitlines():
        if not line.strip():
            continue
        found = _read_reply(line, known)
        if isinstance(found, str):
            replies.unusable[found] += 1
        else:
            replies.texts.append(found)
    if not replies.texts:
        why = ", ".join(f"{name} ({count:,})" for name, count in replies.unusable.most_common())
        raise InputError(
            f"has no usable answer to a prompt that waits{f': {why}' if why else ''}",
            where=path,
            remedy="give the output of a batch whose requests congener swap --requests wrote",
        )
    return replies


def _read_reply(
    line: bytes, known: Mapping[str, SwapRequest]
) -> tuple[SwapRequest, str, str | None] | str:
    """Return a request with its answer and the teacher's name, or what is wrong with a line."""
    try:
        reply = json.loads(line)
        request, response = known.get(reply["custom_id"]), reply.get("response") or {}
        if request is None:
            return "the id isn't that of a prompt that waits"
        if reply.get("error") or response.get("status_code", OK) != OK:
            return "the request failed"
        choice, model = response["body"]["choices"][0], response["body"].get("model")
        problem = _find_problem(choice)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "not a line of a batch's output"
    found = request, choice["message"]["content"], model if isinstance(model, str) else None
    return problem or found


def _find_problem(choice: Mapping[str, Any]) -> str | None:
    """Return why a choice isn't an answer of plain text, or None."""
    message = choice["message"]
    if message.get("tool_calls"):
        return "calls a tool"
    if choice.get("finish_reason") == "length":
        return "cut off at the largest number of tokens"
    text = message["content"]
    return None if isinstance(text, str) and text.strip() else "no text"


def ask_endpoint(
    requests: Sequence[SwapRequest],
    client: ChatClient,
    model: str,
    most_tokens: int,
    threads: int = 4,
    listener: Listener = ignore,
) -> Replies:
    """Ask an endpoint for the answers, until a limit is reached.

    Prompts with tools aren't asked about. Replies that are in the client's cache cost nothing.

    Raises: EndpointError: the endpoint refuses requests, or fails for many in a row.
    """
    plain = [request for request in requests if request.is_plain]
    replies, failures = Replies(), Failures()
    replies.unusable["the prompt has tools"] += len(requests) - len(plain)
    replies.unusable += Counter()  # drops a count of zero

    def ask(request: SwapRequest) -> str | Exception:
        try:
            reply = client.ask(request.messages, most_tokens, whole=True)
        except (LimitReached, ReplyCutOff) as error:
            return error
        except RequestFailed as error:
            failures.count(str(error))
            return error
        failures.reset()
        return reply

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for first in range(0, len(plain), BATCH):
            part = plain[first : first + BATCH]
            found = list(pool.map(ask, part))
            _sort_replies(replies, part, found, model)
            done = len(replies.texts)
            notice = f"{done:,} of {format_count(len(plain), 'prompt')} answered"
            listener(Noticed(Notice(notice, is_recorded=False)))
            if any(isinstance(item, LimitReached) for item in found):
                replies.left += len(plain) - first - len(part)
                break
    return replies


def _sort_replies(
    replies: Replies,
    requests: Sequence[SwapRequest],
    found: Sequence[str | Exception],
    model: str,
) -> None:
    for request, item in zip(requests, found, strict=True):
        if isinstance(item, LimitReached):
            replies.left += 1
        elif isinstance(item, ReplyCutOff):
            replies.unusable["cut off at the largest number of tokens"] += 1
        elif isinstance(item, Exception):
            replies.unusable["the request failed"] += 1
        elif not item.strip():
            replies.unusable["no text"] += 1
        else:
            replies.texts.append((request, item, model))


def encode_donor(replies: Replies) -> bytes:
    """Return replies as a corpus of messages, in the order of the prompts."""
    rows = sorted(replies.texts, key=lambda item: (item[0].name, item[1]))
    return b"".join(
        orjson.dumps(
            {
                "id": request.name,
                "messages": [*request.messages, {"role": "assistant", "content": text}],
                **({"tools": request.tools} if request.tools else {}),
                **({"teacher": teacher} if teacher else {}),
            }
        )
        + b"\n"
        for request, text, teacher in rows
    )
