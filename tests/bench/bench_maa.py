"""What one guest attestation costs on the server side, beside the bare cryptography that it cannot do without."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.encoding import b64url
from skrkit.release.ports import CollectedEvidence
from skrkit.sandbox.maa.attest import attest_guest
from skrkit.sandbox.machine import Machine
from skrkit.sandbox.machines import Machines
from skrkit.sandbox.silicon import Silicon
from skrkit.sandbox.store import Store
from skrkit.sandbox.world import World
from skrkit.services.maa import attestation_info
from skrkit.tpm.client import Tpm

pytestmark = pytest.mark.bench

HOST = "sharedweu.weu.attest.azure.net"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PCRS = range(8)


class Wire:
    """A machine as a transport."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def transceive(self, command: bytes) -> bytes:
        return self.machine.transceive(command)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home: Path = tmp_path_factory.mktemp("bench")
    store = Store(home / "state.db")
    silicon = Silicon(store, lambda: NOW)
    machines = Machines(store, silicon, lambda: NOW)
    return World(home=home, store=store, tls=cast("Any", None), silicon=silicon, machines=machines, now=lambda: NOW)


@pytest.fixture(scope="module")
def machine(world: World) -> Machine:
    return world.machines.create("/vm", name="vm", region="westeurope", vm_id="6506b531-1634-431e-99d2-42b7d3414ad0")


@pytest.fixture(scope="module")
def evidence(machine: Machine) -> CollectedEvidence:
    client = Tpm(Wire(machine))
    key = client.create_ephemeral_key(PCRS)
    quote, signature = client.quote(0x81000003, PCRS)
    certify, certify_signature = client.certify(key.handle, 0x81000003)
    return CollectedEvidence(
        hcl_report=client.nv_read(0x01400001),
        certificates=machine.thim(),
        ak_certificate=client.nv_read(0x01C101D0),
        ak_public=client.read_public(0x81000003).raw,
        pcrs=client.pcr_read(PCRS),
        quote=quote,
        quote_signature=signature,
        event_log=machine.event_log,
        key_public=key.public.raw,
        key_certify=certify,
        key_certify_signature=certify_signature,
    )


def bare(world: World, machine: Machine, evidence: CollectedEvidence) -> Callable[[], None]:
    """Return the calls of `cryptography` that one attestation needs, on keys and certificates already loaded."""
    report = evidence.hcl_report[0x20:0x4C0]
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    vcek_key, ak = machine.chip.vcek.public_key(), world.machines.authority.authorities().issuer_key
    assert isinstance(vcek_key, ec.EllipticCurvePublicKey)
    factory = world.silicon.factory()
    der = evidence.ak_certificate[: 4 + int.from_bytes(evidence.ak_certificate[2:4], "big")]
    ak_certificate = x509.load_der_x509_certificate(der)
    ak_key = ak_certificate.public_key()
    assert isinstance(ak_key, rsa.RSAPublicKey)
    issuer = world.machines.authority.authorities().issuer
    pkcs1 = padding.PKCS1v15()

    def calls() -> None:
        for child, parent in (
            (factory.ark, factory.ark),
            (factory.ask, factory.ark),
            (machine.chip.vcek, factory.ask),
            (ak_certificate, issuer),
        ):
            child.verify_directly_issued_by(parent)
        vcek_key.verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))
        ak_key.verify(evidence.quote_signature, evidence.quote, pkcs1, hashes.SHA256())
        ak_key.verify(evidence.key_certify_signature, evidence.key_certify, pkcs1, hashes.SHA256())
        ak.sign(b"token" * 1000, pkcs1, hashes.SHA256())
        inner = os.urandom(32)
        AESGCM(inner).encrypt(os.urandom(12), b"token" * 1000, b"Transport Key")
        ak_key.encrypt(inner, pkcs1)

    return calls


@pytest.mark.benchmark(group="one guest attestation, server side")
def test_attest_guest(benchmark: BenchmarkFixture, world: World, evidence: CollectedEvidence) -> None:
    info = attestation_info(evidence, {"nonce": "1234"})
    body: Any = {"AttestationInfo": b64url(json.dumps(info).encode())}
    benchmark(attest_guest, world, HOST, body)


@pytest.mark.benchmark(group="one guest attestation, server side")
def test_bare_cryptography(
    benchmark: BenchmarkFixture, world: World, machine: Machine, evidence: CollectedEvidence
) -> None:
    benchmark(bare(world, machine, evidence))


@pytest.mark.benchmark(group="one fresh HCL report")
def test_rebuild_report(benchmark: BenchmarkFixture, machine: Machine) -> None:
    benchmark(machine._build_report, bytes(64))


@pytest.mark.benchmark(group="one fresh HCL report")
def test_bare_p384_signature(benchmark: BenchmarkFixture, machine: Machine) -> None:
    benchmark(machine.chip.key.sign, bytes(672), ec.ECDSA(hashes.SHA384()))
