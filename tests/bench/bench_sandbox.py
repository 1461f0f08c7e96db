"""What the sandbox's shell costs: from nothing to ready, a call through a door, memory.

Each stands beside the bare thing: an interpreter that starts, the same TLS round trip to a server without a door.
"""

from __future__ import annotations

import asyncio
import http.client
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys._shared import http_challenge_cache
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.sandbox import process
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.store import Store
from skrkit.sandbox.tls import TlsAuthority
from skrkit.sandbox.world import utc_now
from tests.bench.figures import Figures
from tests.sandbox.running import STAGE, ask, connection, staged

pytestmark = pytest.mark.bench

BODY = b'{"keys":[]}'
MAX_RESIDENT_MB = 150


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with staged(tmp_path_factory.mktemp("bench")) as endpoint:
        yield endpoint


@pytest.fixture
def resident(sandbox: Endpoint, figures: Figures) -> Iterator[None]:
    """Note the process's memory after the test, and hold it to its bound where the system says it."""
    yield
    memory = process.status(sandbox.home)["resident_mb"]
    figures.note("sandbox resident after calls of a KeyClient", f"{memory} MiB")
    assert memory is None or memory <= MAX_RESIDENT_MB


@pytest.mark.benchmark(group="start")
def test_an_interpreter_starts(benchmark: BenchmarkFixture) -> None:
    benchmark(subprocess.run, [sys.executable, "-c", ""], check=True)


@pytest.mark.benchmark(group="start")
def test_a_fresh_sandbox_is_ready(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Nothing is there: tenant, root, state are made. AMD's keys are made in the background."""
    homes: list[Path] = []

    def end() -> None:
        for home in homes[-1:]:
            process.reset(home)  # or else it still makes AMD's keys while the next one starts

    def fresh() -> tuple[tuple[Path], dict[str, Any]]:
        end()
        homes.append(Path(tempfile.mkdtemp(dir=tmp_path)))
        return (homes[-1],), {}

    benchmark.pedantic(process.up, setup=fresh, rounds=5)  # type: ignore[no-untyped-call]
    end()


@pytest.mark.benchmark(group="start")
def test_a_sandbox_with_a_vm_is_ready_again(benchmark: BenchmarkFixture, sandbox: Endpoint) -> None:
    def end() -> tuple[tuple[Path], dict[str, Any]]:
        process.down(sandbox.home)
        return (sandbox.home,), {}

    benchmark.pedantic(process.up, setup=end, rounds=5)  # type: ignore[no-untyped-call]


@pytest.mark.benchmark(group="start")
def test_a_running_sandbox_is_found(benchmark: BenchmarkFixture, sandbox: Endpoint) -> None:
    benchmark(process.up, sandbox.home)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An asyncio TLS server with no proxy, no app and no HTTP library: the least that a round trip can cost."""
    store = Store(tmp_path / "state.db")
    authority = TlsAuthority(store, utc_now)
    (tmp_path / "ca.pem").write_bytes(authority.root_pem)
    loop = asyncio.new_event_loop()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):  # how a client goes away
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def rest() -> None:
        """Let the connections end: their transports close one turn after the tasks."""
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        await asyncio.sleep(0)

    context: ssl.SSLContext = authority.server_context("localhost")
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1], tmp_path / "ca.pem"
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(rest())
    loop.close()
    store.close()


@pytest.mark.benchmark(group="call")
def test_a_bare_tls_server_answers(benchmark: BenchmarkFixture, bare: tuple[int, Path]) -> None:
    port, ca_file = bare
    opened = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=ca_file))
    assert benchmark(ask, opened, "GET", "/").body == BODY
    opened.close()


@pytest.mark.benchmark(group="call")
def test_a_kept_connection_through_the_door_answers(benchmark: BenchmarkFixture, sandbox: Endpoint) -> None:
    opened = connection(sandbox, "login.microsoftonline.com")
    assert benchmark(ask, opened, "GET", "/common/discovery/instance").status == 200
    opened.close()


@pytest.mark.benchmark(group="call")
def test_a_key_client_reads_a_key(benchmark: BenchmarkFixture, sandbox: Endpoint, resident: None) -> None:
    """Azure's own client, unmodified: most of this is the client's own time."""
    options: dict[str, Any] = {
        "proxies": {"http": sandbox.proxy_url, "https": sandbox.proxy_url},
        "connection_verify": str(sandbox.ca_file),
    }
    credential = ClientSecretCredential(sandbox.tenant, sandbox.client_id, sandbox.client_secret, **options)
    http_challenge_cache.clear()  # a process has one, and other benchmarks had a vault of this name in another tenant
    with KeyClient(f"https://{STAGE.vault}.vault.azure.net", credential, **options) as client:
        client.create_rsa_key("bench", size=2048)
        assert benchmark(client.get_key, "bench").name == "bench"


@pytest.mark.benchmark(group="connect")
def test_a_new_tunnel_is_opened(benchmark: BenchmarkFixture, sandbox: Endpoint) -> None:
    """CONNECT, and the TLS handshake in it."""

    def opened() -> None:
        made = connection(sandbox, "management.azure.com")
        made.connect()
        made.close()

    benchmark(opened)


@pytest.mark.benchmark(group="connect")
def test_a_bare_tls_handshake(benchmark: BenchmarkFixture, bare: tuple[int, Path]) -> None:
    port, ca_file = bare

    def opened() -> None:
        made = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=ca_file))
        made.connect()
        made.close()

    benchmark(opened)
