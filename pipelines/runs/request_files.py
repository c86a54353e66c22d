"""The prompts on a run's swap list as requests, and the files of a batch that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from pipelines.runs.finished import list_outputs, read_table
from pipelines.runs.manifest_file import load_manifest
from schemas.digests import digest_bytes, digest_config
from schemas.manifests import Manifest
from schemas.receipts import Output
from schemas.runs import is_requests_file, parse_path, requests_path
from schemas.swaps import BatchRequests
from transforms.files import storage

PLACE_HEX = 12
"""How many hex digits of a request's id name the row's place in the corpus."""

CHAT = "/v1/chat/completions"
"""The path that batch files name for chat requests."""

MOST_REQUESTS = 50_000
MOST_BYTES = 190_000_000
"""The largest file of a batch. OpenAI takes 50,000 requests and 200 MB."""


class SwapRequest(NamedTuple):
    """A prompt that waits for an answer: an id, messages in chat API form, and tools or None."""

    name: str
    messages: list[dict[str, Any]]
    tools: Any

    @property
    def is_plain(self) -> bool:
        """Return whether every message is text alone, without tools or calls."""
        plain = all(
            isinstance(message.get("content"), str) and set(message) <= {"role", "content"}
            for message in self.messages
        )
        return plain and not self.tools and all(item["role"] != "tool" for item in self.messages)


def list_requests(run: str) -> list[SwapRequest]:
    """Return the complete prompts on a run's swap list, in corpus order.

    Raises: RunError: the run isn't finished.
    """
    return list(read_requests(run, list_outputs(load_manifest(run), "swaplist")))


def read_requests(run: str, outputs: Iterable[Output]) -> Iterator[SwapRequest]:
    """Yield the complete prompts in files of a swap list, in the order of the files."""
    columns = ["record_id", "source", "row", "request", "complete"]
    for output in outputs:
        for row in read_table(run, output, columns).to_pylist():
            if row["complete"]:
                yield _build_request(row)


def _build_request(row: Mapping[str, Any]) -> SwapRequest:
    place = digest_config([row["source"], row["row"]])[:PLACE_HEX]
    body = orjson.loads(row["request"])
    return SwapRequest(f"{row['record_id']}-{place}", body["messages"], body.get("tools"))


def encode_request(request: SwapRequest, model: str, most_tokens: int) -> bytes:
    """Return a request as a line of a batch, for OpenAI's Batch API or `vllm run-batch`."""
    body = {
        "model": model,
        "messages": request.messages,
        **({"tools": request.tools} if request.tools else {}),
        "max_tokens": most_tokens,
    }
    line = {"custom_id": request.name, "method": "POST", "url": CHAT, "body": body}
    return orjson.dumps(line) + b"\n"


def encode_batch(requests: Iterable[SwapRequest], model: str, most_tokens: int) -> bytes:
    """Return requests as the JSON Lines of one batch."""
    return b"".join(encode_request(request, model, most_tokens) for request in requests)


class BatchFile(NamedTuple):
    """A file of a batch: its path in the run, its bytes, and the number of requests."""

    path: str
    data: bytes
    requests: int


def build_batch_files(
    run: str, outputs: Iterable[Output], asked: BatchRequests
) -> Iterator[BatchFile]:
    """Yield the requests of a swap list as files that batch APIs take, in corpus order.

    A file has at most `MOST_REQUESTS` lines and `MOST_BYTES` bytes. A swap list without a complete
    prompt gives no file.
    """
    lines: list[bytes] = []
    size, number = 0, 1
    for request in read_requests(run, outputs):
        line = encode_request(request, asked.model, asked.reply_tokens)
        if lines and (len(lines) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
            yield BatchFile(requests_path(number), b"".join(lines), len(lines))
            lines, size, number = [], 0, number + 1
        lines.append(line)
        size += len(line)
    if lines:
        yield BatchFile(requests_path(number), b"".join(lines), len(lines))


def write_batch_files(
    run: str, outputs: Sequence[Output], asked: BatchRequests | None
) -> Iterator[Output]:
    """Write the requests of a new run's swap list beside it, and return the files.

    `outputs` are those of all shards. Without `asked`, nothing is written.
    """
    lists = [item for item in outputs if parse_path(item.path).folder == "swaplist"]
    for path, data, requests in build_batch_files(run, lists, asked) if asked else ():
        storage.write_bytes(storage.join(run, path), data)
        yield Output(path=path, rows=requests, bytes=len(data), sha256=digest_bytes(data))


def find_changed_batches(
    run: str, manifest: Manifest, asked: BatchRequests | None
) -> Iterator[tuple[str, str]]:
    """Yield the files of requests that aren't those of the swap list, each with the problem."""
    stated = {item.path: item for item in manifest.outputs if is_requests_file(item.path)}
    lists = list_outputs(manifest, "swaplist")
    for path, data, requests in build_batch_files(run, lists, asked) if asked else ():
        found = stated.pop(path, None)
        if found is None:
            yield path, "isn't in the manifest, although prompts wait"
        elif (found.sha256, found.rows) != (digest_bytes(data), requests):
            yield path, "doesn't have the requests of the swap list"
    for path in stated:
        yield path, "has requests for prompts that aren't on the swap list"
