"""The sandbox under load: fifty SDK clients at once, ten thousand keys, and kill -9.

`make bench` keeps the load and the kills short; `make bench-load` takes the whole minute and all hundred kills.

Fifty clients of Azure's SDK for Python cannot send without a pause on two processors: each call takes some 2 ms of the
client's own time. So each sends four requests a second, two hundred in all, and how many they can send without a pause
stands below the table. All clients run on the same processors as the sandbox.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys._shared import http_challenge_cache

from skrkit.sandbox import process
from skrkit.sandbox.endpoint import STATE_FILE, Endpoint
from skrkit.sandbox.store import Store
from skrkit.sandbox.vault.documents import Keys
from tests.bench.figures import Figures, Measured
from tests.bench.load_client import READ_KEY
from tests.bench.load_client import key_client as client_of
from tests.sandbox.running import STAGE, ask, bearer, connection, operator_token, staged

pytestmark = pytest.mark.bench

LOAD_S = float(os.environ.get("SKRKIT_BENCH_LOAD_S", "10"))
KILLS = int(os.environ.get("SKRKIT_BENCH_KILLS", "5"))
CLIENTS, PROCESSES, PAUSE_S = 50, 2, 0.25
MANY, FEW = 10_000, 1_000
WRITERS = 8
VAULT_RESOURCE = "https://vault.azure.net"
API = "api-version=7.6"


def key_client(endpoint: Endpoint, vault: str) -> KeyClient:
    """Return a client; this process has met vaults of the same name in other tenants, which the SDK remembers."""
    http_challenge_cache.clear()
    return client_of(endpoint, vault)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A sandbox with a vault and one key that everybody reads."""
    with staged(tmp_path_factory.mktemp("load")) as endpoint:
        with key_client(endpoint, STAGE.vault) as client:
            client.create_rsa_key(READ_KEY, size=2048)
        yield endpoint


# --- fifty clients


def load(endpoint: Endpoint, *, seconds: float, pause: float, first: int) -> tuple[dict[str, list[Any]], list[float]]:
    """Return what came of the clients' requests, and the sandbox's resident memory once a second, in MiB."""
    each = CLIENTS // PROCESSES
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load_client", str(endpoint.home), STAGE.vault,
             str(first + number * each), str(each), str(seconds), str(pause)],
            stdout=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    resident: list[float] = []
    readers: list[bytes] = []
    threads = [threading.Thread(target=lambda p=each: readers.append(p.communicate()[0])) for each in programs]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        resident.append(float(process.status(endpoint.home)["resident_mb"] or 0))
    came: dict[str, list[Any]] = {"gets": [], "written": [], "errors": []}
    for said in map(json.loads, readers):
        for name, found in came.items():
            found += said[name]
    return came, resident


def lost(endpoint: Endpoint, names: list[str]) -> list[str]:
    """Return which of these keys the vault does not list."""
    with key_client(endpoint, STAGE.vault) as client:
        there = {key.name for key in client.list_properties_of_keys()}
    return [name for name in names if name not in there]


@pytest.mark.figure("load-failures", "get-p99", "memory")
def test_fifty_clients(sandbox: Endpoint, figures: Figures) -> None:
    came, resident = load(sandbox, seconds=LOAD_S, pause=PAUSE_S, first=0)
    gets = sorted(came["gets"])
    failures = came["errors"] + [f"lost: {name}" for name in lost(sandbox, came["written"])]
    for failure in failures[:5]:
        figures.note("a failure under load", failure)
    assert len(gets) > 100
    assert came["written"]
    figures.hand_in("load-failures", Measured(value=len(failures)))
    figures.hand_in("get-p99", Measured(value=gets[len(gets) * 99 // 100], least=gets[0]))
    figures.note("get under load, median", Measured(value=gets[len(gets) // 2]))
    figures.note(
        "requests of the fifty clients, with what they wrote", f"{len(gets)} gets, {len(came['written'])} keys"
    )
    quarter = max(len(resident) // 4, 1)
    early, late = (statistics.median(part) * 2**20 for part in (resident[quarter : 2 * quarter], resident[-quarter:]))
    figures.hand_in("memory", Measured(value=late, beside=early))


def test_fifty_clients_without_a_pause(sandbox: Endpoint, figures: Figures) -> None:
    seconds = min(LOAD_S, 10.0)
    came, _ = load(sandbox, seconds=seconds, pause=0, first=1000)
    gets = sorted(came["gets"])
    assert came["errors"] == []
    assert lost(sandbox, came["written"]) == []
    rate = (len(gets) + len(came["written"])) / seconds
    figures.note(
        "fifty clients without a pause", f"{rate:.0f} requests a second, p99 {gets[len(gets) * 99 // 100]:.3f} s"
    )


# --- ten thousand keys


def filled(home: Path, count: int) -> None:
    """Put so many keys into the vault of a sandbox that does not run, as its own documents."""
    store = Store(home / STATE_FILE)
    keys = Keys(store=store, vault=STAGE.vault)
    named, version = keys.require(READ_KEY)
    with store.transaction():
        for number in range(count):
            keys.write(named | {"name": f"many-{number:05}"}, version)
    store.close()


def listing_s(endpoint: Endpoint, expected: int) -> float:
    """Return how long it takes to read all pages of the list, one after the other on one connection."""
    given = bearer(operator_token(endpoint, VAULT_RESOURCE))
    opened = connection(endpoint, f"{STAGE.vault}.vault.azure.net")
    path, found = f"/keys?{API}", 0
    start = time.perf_counter()
    while path:
        page = ask(opened, "GET", path, Authorization=given).json()
        found += len(page["value"])
        path = (page["nextLink"] or "").partition(":443")[2]
    taken = time.perf_counter() - start
    opened.close()
    assert found == expected
    return taken


def start_s(home: Path) -> float:
    """Return how long the sandbox takes from nothing to ready."""
    process.down(home)
    start = time.perf_counter()
    process.up(home)
    return time.perf_counter() - start


@pytest.mark.figure("list-many", "list-growth", "start-many")
def test_ten_thousand_keys(tmp_path: Path, figures: Figures) -> None:
    with staged(tmp_path / "many") as endpoint:
        home = endpoint.home
        with key_client(endpoint, STAGE.vault) as client:
            client.create_rsa_key(READ_KEY, size=2048)
        listed, started = {}, {}
        for count in (FEW, MANY):
            process.down(home)
            filled(home, count)
            started[count] = [start_s(home) for _ in range(5)]
            running = process.up(home)
            listed[count] = [listing_s(running, count + 1) for _ in range(5)]
            if count == MANY:
                start = time.perf_counter()
                with key_client(running, STAGE.vault) as client:
                    assert sum(1 for _ in client.list_properties_of_keys()) == count + 1
                figures.note("the same list by Azure's SDK", Measured(value=time.perf_counter() - start))
        few, many = (statistics.median(listed[count]) for count in (FEW, MANY))
        figures.hand_in("list-many", Measured(value=many, least=min(listed[MANY])))
        figures.hand_in("list-growth", Measured(value=many / (MANY // FEW), beside=few))
        early, late = (statistics.median(started[count]) for count in (FEW, MANY))
        figures.hand_in("start-many", Measured(value=late, beside=early, least=min(started[MANY])))


# --- kill -9


def write_until_killed(endpoint: Endpoint, given: str, number: int, acknowledged: list[str]) -> None:
    """Make keys and raise the tag of each, on one connection, until it breaks."""
    opened = connection(endpoint, f"{STAGE.vault}.vault.azure.net")
    with suppress(OSError, http.client.HTTPException, ValueError):
        for each in range(10_000):
            name = f"kill-{number}-{each}"
            made = ask(opened, "POST", f"/keys/{name}/create?{API}", {"kty": "EC-HSM"}, Authorization=given)
            if made.status != 200:
                return
            acknowledged.append(f"{name} created")
            tagged = ask(opened, "PATCH", f"/keys/{name}?{API}", {"tags": {"n": str(each)}}, Authorization=given)
            if tagged.status != 200:
                return
            acknowledged.append(f"{name} tagged")
    opened.close()


def kept(endpoint: Endpoint) -> set[str]:
    """Return what is there of what was acknowledged, in the same words."""
    there = set()
    with key_client(endpoint, STAGE.vault) as client:
        for found in client.list_properties_of_keys():
            there.add(f"{found.name} created")
            if found.tags:
                there.add(f"{found.name} tagged")
    return there


@pytest.mark.figure("killed")
def test_kill_during_writes(tmp_path: Path, figures: Figures) -> None:
    """The process dies without a word while eight clients write; what it had acknowledged must be there again."""
    chosen = random.Random(9)
    acknowledged: list[str] = []
    with staged(tmp_path / "killed") as endpoint:
        given = bearer(operator_token(endpoint, VAULT_RESOURCE))
        for turn in range(KILLS):
            running = process.up(endpoint.home)
            threads = [
                threading.Thread(target=write_until_killed, args=(running, given, turn * WRITERS + each, acknowledged))
                for each in range(WRITERS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(chosen.uniform(0.05, 0.4))
            os.kill(running.pid, signal.SIGKILL)
            for thread in threads:
                thread.join()
        gone = set(acknowledged) - kept(process.up(endpoint.home))
    assert acknowledged
    figures.hand_in("killed", Measured(value=len(gone)))
    figures.note("writes acknowledged before the kills", f"{len(acknowledged)} in {KILLS} kills")
