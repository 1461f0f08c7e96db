"""The sandbox's kdsintf.amd.com: the certificates that go with its chips, under AMD's paths."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import ASGIApp

from skrkit.sandbox import kds
from skrkit.sandbox.silicon import Chip
from skrkit.sandbox.world import World

from .asgi_call import ask
from .attested import make_world

BASE = "https://kdsintf.amd.com/vcek/v1"
TCB = "blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("kds"))
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def app(world: World) -> ASGIApp:
    return kds.app(world)


@pytest.fixture(scope="module")
def chip(world: World) -> Chip:
    return world.silicon.make_chip()


@pytest.mark.parametrize("query", [TCB, "ucodeSPL=219&snpSPL=24&teeSPL=0&blSPL=4"])
def test_vcek_is_der_by_chip_and_tcb(app: ASGIApp, chip: Chip, query: str) -> None:
    answer = ask(app, "GET", f"{BASE}/Milan/{chip.chip_id.hex()}?{query}")
    assert answer.status == 200
    assert x509.load_der_x509_certificate(answer.body) == chip.vcek


def test_chain_is_pem_ask_then_ark(app: ASGIApp, world: World) -> None:
    answer = ask(app, "GET", f"{BASE}/Milan/cert_chain")
    assert answer.body == world.silicon.chain_pem
    names = [c.subject.rfc4514_string().split(",")[0] for c in x509.load_pem_x509_certificates(answer.body)]
    assert names == ["CN=SEV-Milan", "CN=ARK-Milan"]


def test_crl(app: ASGIApp) -> None:
    assert len(x509.load_der_x509_crl(ask(app, "GET", f"{BASE}/Milan/crl").body)) == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="NO OPENSSL: AMD's chain was not verified by it.")
def test_a_stranger_verifies_chain_and_revocation_list(app: ASGIApp, world: World, chip: Chip, tmp_path: Path) -> None:
    """As AMD's own instructions do it: by OpenSSL, from what the service answers."""
    ask_, ark = x509.load_pem_x509_certificates(ask(app, "GET", f"{BASE}/Milan/cert_chain").body)
    (tmp_path / "ask.pem").write_bytes(ask_.public_bytes(Encoding.PEM))
    (tmp_path / "ark.pem").write_bytes(ark.public_bytes(Encoding.PEM))
    (tmp_path / "vcek.der").write_bytes(ask(app, "GET", f"{BASE}/Milan/{chip.chip_id.hex()}?{TCB}").body)
    (tmp_path / "crl.der").write_bytes(ask(app, "GET", f"{BASE}/Milan/crl").body)
    at = str(int(world.now().timestamp()))
    commands = (
        ["openssl", "verify", "-attime", at, "-CAfile", "ark.pem", "-untrusted", "ask.pem", "vcek.der"],
        ["openssl", "crl", "-inform", "DER", "-in", "crl.der", "-CAfile", "ark.pem", "-noout"],
    )
    for command in commands:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "OK" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"Milan/{'00' * 64}?{TCB}", 404),
        (f"Milan/CHIP?{TCB.replace('219', '211')}", 404),
        (f"Genoa/CHIP?{TCB}", 404),
        ("Genoa/cert_chain", 404),
        ("Genoa/crl", 404),
        (f"Milan/00?{TCB}", 404),
        (f"Milan/{'zz' * 64}?{TCB}", 400),
        ("Milan/CHIP", 400),
        (f"Milan/CHIP?{TCB.replace('219', '256')}", 400),
        (f"Milan/CHIP?{TCB.replace('219', '9' * 5000)}", 400),
    ],
)
def test_no(app: ASGIApp, chip: Chip, path: str, status: int) -> None:
    assert ask(app, "GET", f"{BASE}/{path.replace('CHIP', chip.chip_id.hex())}").status == status
