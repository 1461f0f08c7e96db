"""How many keys fifty clients of Azure's SDK get released, beside a server that does nothing but the cryptography.

Both servers are sandboxes with the same state, doors, TLS, HTTP and clients, on the same processors, in turn; the
other one's releases are `bare_release` alone. Below the table stands how the two compare without clients and HTTP,
called from one thread: `cryptography` holds the interpreter while it signs, so that more threads bring neither side
more.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from skrkit.artefact import Collector
from skrkit.cloud import Cloud
from skrkit.provision.access import grant
from skrkit.provision.stage import Stage
from skrkit.release.flow import attest
from skrkit.sandbox import process
from skrkit.sandbox.endpoint import Endpoint
from skrkit.sandbox.maa.keys import signing_key
from skrkit.sandbox.vault.call import find_vault
from skrkit.sandbox.vault.signing import signer
from skrkit.services.attester import Attester
from skrkit.services.maa import GuestAttestation
from skrkit.services.rest import RestClient
from skrkit.walkthrough import Walk
from tests.bench.bare_release import bare_release
from tests.bench.bench_load import CLIENTS, LOAD_S, PROCESSES
from tests.bench.bench_vault import Caller, calling
from tests.bench.figures import Figures, Measured
from tests.sandbox.vault.attested import KEK, POLICY, PROVIDER, claims, encoded, token
from tests.sandbox.vault.azure import Azure

pytestmark = pytest.mark.bench

RELEASES, AT_ONCE = 100, 8
TURNS = 4


# --- fifty clients


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The folder of a sandbox with a key whose policy its VM meets, which the operator may have released."""
    folder = tmp_path / "home"
    try:
        cloud, stage = Cloud.sandbox(home=folder), Stage()
        Walk(cloud=cloud, stage=stage, steps=(3,)).run()
        grant(cloud, stage, cloud.operator)
        inside = cloud.enter(stage.vm)
        with Attester(inside) as attester, RestClient(inside) as rest:
            issuer = GuestAttestation(client=rest, issuer=stage.attestation)
            attested = attest(
                attester,
                issuer,
                nonce=secrets.token_hex(16),
                amd_roots=cloud.amd_roots(),
                now=cloud.now(),
                made=Collector(4),
            )
        (tmp_path / "token").write_bytes(attested.token.raw)
        yield folder
    finally:
        process.reset(folder)


@contextmanager
def bare_server(home: Path) -> Iterator[Endpoint]:
    """Run a sandbox whose releases are their cryptography alone."""
    program = subprocess.Popen([sys.executable, "-m", "tests.bench.bare_release", "--home", str(home)])
    try:
        end = time.monotonic() + 30
        while (endpoint := process.running(home)) is None:
            assert program.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield endpoint
    finally:
        process.down(home)
        program.wait(timeout=20)


def released_by(home: Path, seconds: float, token_file: Path) -> int:
    """Return how many releases fifty clients got, none of whom was refused one."""
    each = CLIENTS // PROCESSES
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load_client", str(home), Stage().vault, str(number * each),
             str(each), str(seconds), "0", f"{Stage().key}={token_file}"],
            stdout=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    came = [json.loads(program.communicate()[0]) for program in programs]
    assert [error for each in came for error in each["errors"]] == []
    return sum(len(each["released"]) for each in came)


@pytest.mark.figure("release-rate")
def test_fifty_clients_get_keys_released(home: Path, tmp_path: Path, figures: Figures) -> None:
    process.down(home)
    other, token_file = tmp_path / "bare", tmp_path / "token"
    shutil.copytree(home, other)
    process.up(home)
    seconds = LOAD_S / TURNS
    with bare_server(other):
        turns = [
            (released_by(home, seconds, token_file), released_by(other, seconds, token_file)) for _ in range(TURNS)
        ]
    ours, beside = ([seconds / count for count in counts] for counts in zip(*turns, strict=True))
    figures.hand_in(
        "release-rate",
        Measured(
            value=statistics.median(ours),
            beside=statistics.median(beside),
            least=min(ours),
            least_beside=min(beside),
        ),
    )


# --- without clients and HTTP


@pytest.fixture
def azure(tmp_path: Path) -> Iterator[Azure]:
    """A sandbox in this process, with one releasable RSA-2048 key."""
    made = Azure(tmp_path)
    made.make_group()
    made.make_vault("premium")
    body = {"kty": "RSA-HSM", "attributes": {"exportable": True}, "release_policy": {"data": encoded(POLICY)}}
    assert made.vault("POST", "/keys/skr/create", body).status_code == 200
    yield made
    made.world.store.close()


async def released(call: Caller, count: int) -> None:
    """Send releases, a few of them at once."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with places:
            assert await call._exchange() == 200

    await asyncio.gather(*(one() for _ in range(count)))


def test_releases_without_clients(azure: Azure, figures: Figures) -> None:
    _, stored = azure.world.store.list("vault-key", "premium/skr/")[0]
    vault = find_vault(azure.world, "premium")
    assert vault is not None
    attestation, message = signing_key(azure.world, PROVIDER).key, os.urandom(4000)
    bare = bare_release(
        pem=stored["pem"].encode(),
        attestation=attestation.public_key(),
        signed=(message, attestation.sign(message, padding.PKCS1v15(), hashes.SHA256())),
        kek=KEK.public_key(),
        service=signer(azure.world, vault).key,
    )
    body = json.dumps({"target": token(azure, claims(azure))}).encode()
    ours, beside = [], []
    with calling(azure, "POST", "/keys/skr/release", body) as call:
        for _ in range(12):
            start = time.perf_counter()
            call.loop.run_until_complete(released(call, RELEASES))
            middle = time.perf_counter()
            for _ in range(RELEASES):
                bare()
            ours.append((middle - start) / RELEASES)
            beside.append((time.perf_counter() - middle) / RELEASES)
    figures.note(
        "a release without clients and HTTP, beside its cryptography",
        Measured(value=statistics.median(ours), beside=statistics.median(beside)),
    )
