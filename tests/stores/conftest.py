"""Two object stores on loopback with the real protocols, behind proxies that can fail."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from apache_beam.io.filesystems import FileSystems

from tests.stores.proxy import Proxy

BUCKET = "congener-test"


@dataclass
class Store:
    """An object store behind a proxy, with direct access to the store."""

    scheme: str
    proxy: Proxy
    put: Callable[[str, bytes], Any]
    read: Callable[[str], bytes]
    names: Callable[[str], list[str]]
    folder: str = field(default_factory=lambda: uuid.uuid4().hex)

    def uri(self, *names: str) -> str:
        """Return the URI of a path in this test's folder."""
        return "/".join([f"{self.scheme}://{BUCKET}", self.folder, *names])

    def put_objects(self, *names: str, data: bytes = b"x") -> None:
        """Store the same data under each name in this test's folder."""
        for name in names:
            self.put(f"{self.folder}/{name}", data)

    def list_names(self, folder: str = "") -> list[str]:
        """List the objects in this test's folder."""
        prefix = f"{self.folder}/"
        return [name.removeprefix(prefix) for name in self.names(f"{prefix}{folder}")]

    def read_object(self, *names: str) -> bytes:
        """Read an object."""
        return self.read("/".join([self.folder, *names]))


@pytest.fixture(scope="session")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """Yield a session-wide patch of the environment for child processes."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def s3(environment: pytest.MonkeyPatch) -> Iterator[Store]:
    """Serve S3 with moto."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy()
    _, proxy.upstream = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        environment.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.upstream}")
    client.create_bucket(Bucket=BUCKET)

    def names(prefix: str) -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    yield Store(
        "s3",
        proxy,
        lambda name, data: client.put_object(Bucket=BUCKET, Key=name, Body=data),
        lambda name: client.get_object(Bucket=BUCKET, Key=name)["Body"].read(),
        names,
    )
    proxy.close()
    server.stop()


@pytest.fixture(scope="session")
def gs(
    environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Serve Google's store with fake-gcs-server, for clients with a service account.

    A local server issues the account's tokens.
    """
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    program = shutil.which(
        "fake-gcs-server", path=f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    )
    if program is None:
        pytest.fail("fake-gcs-server isn't installed: `make test-stores` builds it")
    proxy, proxy_port = Proxy(), find_free_port()
    proxy.upstream = proxy_port
    command = [
        program,
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        str(proxy_port),
        "-backend",
        "memory",
        "-external-url",
        proxy.url,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tokens = HTTPServer(("127.0.0.1", 0), Tokens)
    threading.Thread(target=tokens.serve_forever, daemon=True).start()
    account = tmp_path_factory.mktemp("account") / "account.json"
    account.write_text(
        json.dumps(make_service_account(f"http://127.0.0.1:{tokens.server_port}/token"))
    )
    environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    client = storage.Client(
        "p",
        AnonymousCredentials(),
        client_options={"api_endpoint": f"http://127.0.0.1:{proxy_port}"},
    )
    wait_for(proxy_port)
    bucket = client.create_bucket(BUCKET)
    environment.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    yield Store(
        "gs",
        proxy,
        lambda name, data: bucket.blob(name).upload_from_string(data),
        lambda name: bucket.blob(name).download_as_bytes(),
        lambda prefix: sorted(blob.name for blob in client.list_blobs(BUCKET, prefix=prefix)),
    )
    client.close()
    process.terminate()
    process.wait(10)
    tokens.shutdown()
    tokens.server_close()
    proxy.close()


def find_free_port() -> int:
    """Return a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until a server listens on a port."""
    for _ in range(100):
        with socket.socket() as line:
            if line.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"no server listens on port {port} after ten seconds")


class Tokens(BaseHTTPRequestHandler):
    """A handler that issues access tokens."""

    def do_POST(self) -> None:
        """Answer every request with a token."""
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps(
            {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def make_service_account(token_uri: str) -> dict[str, str]:
    """Make a service account with a new key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    email = "test@test.iam.gserviceaccount.com"
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": email,
        "client_id": "1",
        "token_uri": token_uri,
    }


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return each store in turn, with a reset proxy and an empty folder."""
    found: Store = request.getfixturevalue(request.param)
    found.proxy.reset()
    found.folder = uuid.uuid4().hex
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    return found
