"""Clients of one vault, as a program of their own: each a thread with its own credential and `KeyClient`.

    python -m tests.bench.load_client HOME VAULT NUMBER CLIENTS SECONDS PAUSE [KEY=TOKEN_FILE]

Each sends a request every PAUSE seconds, or one after the other where that is 0; every eighth makes a key, the others
get one. With KEY each request is a release of it for the attestation token in the file. What came of it is printed as
JSON: seconds of each get and release, names of the keys that the vault said it had made, and what failed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from azure.core.exceptions import AzureError
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient

from skrkit.sandbox.endpoint import Endpoint, read_endpoint

READ_KEY = "read-by-all"
WRITE_EVERY = 8


@dataclass(slots=True)
class Came:
    """What came of the requests of one process. Appending to a list is safe from several threads."""

    gets: list[float] = field(default_factory=list)
    released: list[float] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def key_client(endpoint: Endpoint, vault: str) -> KeyClient:
    """Return a client as a user makes it, with the proxy and the CA file of the sandbox."""
    options: dict[str, Any] = {
        "proxies": {"http": endpoint.proxy_url, "https": endpoint.proxy_url},
        "connection_verify": str(endpoint.ca_file),
    }
    credential = ClientSecretCredential(endpoint.tenant, endpoint.client_id, endpoint.client_secret, **options)
    return KeyClient(f"https://{vault}.vault.azure.net", credential, retry_total=0, **options)


def run(client: KeyClient, number: int, end: float, pause: float, came: Came, wanted: tuple[str, str] | None) -> None:
    """Send requests until the end. `wanted` is a key to be released, and a token for it."""
    due, sent = time.monotonic() + pause * (number % 16) / 16, 0
    while (now := time.monotonic()) < end:
        if now < due:
            time.sleep(due - now)
        due += pause
        sent += 1
        start = time.perf_counter()
        try:
            if wanted:
                client.release_key(*wanted)
                came.released.append(time.perf_counter() - start)
            elif sent % WRITE_EVERY == 0:
                came.written.append(str(client.create_ec_key(f"load-{number}-{sent}").name))
            else:
                client.get_key(READ_KEY)
                came.gets.append(time.perf_counter() - start)
        except AzureError as error:
            came.errors.append(f"{type(error).__name__}: {error}"[:300])


def main(home: str, vault: str, first: str, clients: str, seconds: str, pause: str, release: str = "") -> None:
    """Run the clients, all at once from the moment when each has read a key, and print what came of it."""
    endpoint = read_endpoint(Path(home))
    assert endpoint is not None
    came, ready = Came(), threading.Barrier(int(clients))
    key, _, file = release.partition("=")
    wanted = (key, Path(file).read_text()) if key else None

    def one(number: int) -> None:
        with key_client(endpoint, vault) as client:
            client.get_key(key or READ_KEY)  # the connection, the challenge, the token
            ready.wait()
            run(client, number, time.monotonic() + float(seconds), float(pause), came, wanted)

    threads = [threading.Thread(target=one, args=(int(first) + number,)) for number in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(asdict(came), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
