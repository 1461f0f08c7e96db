"""A sandbox as its users have it: a process with a folder of its own, reached by the command line and by sockets.

Nothing here is skrkit's HTTP: requests are `http.client`'s, or bytes.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from skrkit.cloud import Cloud
from skrkit.provision.stage import Stage, confidential_vm_body, set_stage
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import Endpoint

STAGE = Stage()
ARM = "https://management.azure.com"
LOGIN = "https://login.microsoftonline.com"
IMDS = "http://169.254.169.254"
COMPUTE_API = "2024-07-01"


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a subprocess whose sandbox lives in `home`."""
    return {**os.environ, "SKRKIT_HOME": str(home), **more}


def skrkit(
    home: Path, *arguments: str, stdin: str | None = None, seconds: float = 60, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line and return how it ended; it must within `seconds`. `more` are variables for it."""
    return subprocess.run(
        [sys.executable, "-m", "skrkit", *arguments],
        env=environment(home, **more),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def execute(home: Path, *command: str, vm: str | None = None, stdin: str | None = None) -> str:
    """Run a program by `skrkit sandbox exec` and return what it printed. It must succeed."""
    where = ("--vm", vm) if vm else ()
    done = skrkit(home, "sandbox", "exec", *where, "--", *command, stdin=stdin)
    assert done.returncode == 0, f"{' '.join(command)[:300]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def staged(home: Path) -> Iterator[Endpoint]:
    """A running sandbox with resource group, vault and VM; it is ended and removed afterwards."""
    try:
        set_stage(Cloud.sandbox(home=home), STAGE)
        endpoint = process.running(home)
        assert endpoint is not None
        yield endpoint
    finally:
        process.reset(home)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def trusting(endpoint: Endpoint) -> ssl.SSLContext:
    """A client context as strict as Python 3.13's default, which trusts the sandbox's root alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(endpoint.ca_file)
    return context


def connection(endpoint: Endpoint, host: str, *, port: int | None = None) -> http.client.HTTPSConnection:
    """A connection to `host` through a door: the outer one, or the one at `port`."""
    made = http.client.HTTPSConnection("127.0.0.1", port or endpoint.port, timeout=20, context=trusting(endpoint))
    made.set_tunnel(host, 443)
    return made


def ask(opened: http.client.HTTPConnection, method: str, target: str, body: Any = None, **headers: str) -> Answer:
    """Send one request on a connection, a dict as JSON, and return its answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, named["Content-Type"] = json.dumps(body), "application/json"
    opened.request(method, target, body=body, headers=named)
    response = opened.getresponse()
    return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())


def send(
    endpoint: Endpoint, method: str, url: str, body: Any = None, *, port: int | None = None, **headers: str
) -> Answer:
    """Send one request through a door, https by a tunnel and http in absolute form."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    if parts.scheme == "https":
        opened: http.client.HTTPConnection = connection(endpoint, parts.hostname, port=port)
        target = parts._replace(scheme="", netloc="").geturl() or "/"
    else:
        opened = http.client.HTTPConnection("127.0.0.1", port or endpoint.port, timeout=20)
        target = url
    try:
        return ask(opened, method, target, body, **headers)
    finally:
        opened.close()


def operator_token(endpoint: Endpoint, resource: str = ARM) -> str:
    """An access token of the operator, asked for as any OAuth client asks."""
    form = {
        "grant_type": "client_credentials",
        "client_id": endpoint.client_id,
        "client_secret": endpoint.client_secret,
        "scope": f"{resource}/.default",
    }
    url = f"{LOGIN}/{endpoint.tenant}/oauth2/v2.0/token"
    kind = "application/x-www-form-urlencoded"
    answer = send(endpoint, "POST", url, urlencode(form), Content_Type=kind)
    assert answer.status == 200, answer.body
    return str(answer.json()["access_token"])


def group_url(endpoint: Endpoint, name: str = STAGE.resource_group) -> str:
    """The URL of a resource group, without a query."""
    return f"{ARM}/subscriptions/{endpoint.subscription}/resourceGroups/{name}"


def vm_url(endpoint: Endpoint, name: str) -> str:
    """The URL of a VM of the stage's group."""
    machines = "providers/Microsoft.Compute/virtualMachines"
    return f"{group_url(endpoint)}/{machines}/{name}?api-version={COMPUTE_API}"


def vm_body(endpoint: Endpoint, name: str) -> dict[str, Any]:
    """The body of a confidential VM."""
    return confidential_vm_body(Cloud.sandbox(home=endpoint.home), Stage(vm=name))


def bearer(token: str) -> str:
    """The value of an Authorization header."""
    return f"Bearer {token}"


def say(port: int, data: bytes, *, end: bool = True) -> bytes:
    """Send bytes to a door, with `end` the end of the stream too, and return all that comes until the other's end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        try:
            opened.sendall(data)
            if end:
                opened.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # refused before the end: what it said is still there to read
        return heard(opened)


def heard(opened: socket.socket) -> bytes:
    """Everything that comes until the other side ends."""
    received = bytearray()
    while True:
        try:
            chunk = opened.recv(65536)
        except ConnectionError:
            break
        if not chunk:
            break
        received += chunk
    return bytes(received)
