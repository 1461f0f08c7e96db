"""The vTPM's commands beside the bare cryptography in them.

A new RSA-2048 primary is bound by the making of its key. Everything else is meant to stay below 0.5 ms a command; RSAES
decryption is two bare decryptions, since it must tell bad padding where the library hides it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.sandbox.vtpm import Vtpm, VtpmState
from tests.sandbox.vtpm import raw
from tests.sandbox.vtpm.corpus_keys import EPHEMERAL
from tests.sandbox.vtpm.raw import NULL_ALG, b2, command, create_primary, n, password, selection

pytestmark = pytest.mark.bench
REPORT = 0x01400001


@pytest.fixture(scope="module")
def vtpm() -> Vtpm:
    made = Vtpm(VtpmState.fresh())
    made.startup(clear=True)
    made.create_ak()
    made.platform_nv_define(REPORT, 2600, 0x42060004)
    made.platform_nv_write(REPORT, b"HCLA")
    return made


def right(response: bytes) -> bytes:
    assert raw.code_of(response) == 0, response[:10].hex()
    return response


def test_nv_read_2600(benchmark: BenchmarkFixture, vtpm: Vtpm) -> None:
    reads = [
        command(0x14E, [raw.OWNER, REPORT], n(2, min(1024, 2600 - at)) + n(2, at), [password()])
        for at in range(0, 2600, 1024)
    ]
    benchmark(lambda: [right(vtpm.transceive(each)) for each in reads])


def test_pcr_read_8(benchmark: BenchmarkFixture, vtpm: Vtpm) -> None:
    read = command(0x17E, [], selection(*range(8)))
    benchmark(lambda: right(vtpm.transceive(read)))


def test_quote(benchmark: BenchmarkFixture, vtpm: Vtpm) -> None:
    quote = command(0x158, [0x81000003], b2(b"") + NULL_ALG + selection(*range(8)), [password()])
    benchmark(lambda: right(vtpm.transceive(quote)))


def test_quote_bare_rsa_sign(benchmark: BenchmarkFixture, vtpm: Vtpm) -> None:
    key = vtpm.ak_private_key()
    benchmark(lambda: key.sign(bytes(113), padding.PKCS1v15(), hashes.SHA256()))


def test_create_primary_seen(benchmark: BenchmarkFixture, vtpm: Vtpm) -> None:
    """A template that was seen: a lookup."""

    def create() -> None:
        response = right(vtpm.transceive(create_primary(raw.OWNER, EPHEMERAL)))
        vtpm.transceive(command(0x165, [], response[10:14]))

    benchmark(create)


def test_create_primary_new(benchmark: BenchmarkFixture, vtpm: Vtpm) -> None:
    def create() -> None:
        template = raw.rsa_template(raw.EPHEMERAL_ATTRIBUTES, policy=os.urandom(32))
        response = right(vtpm.transceive(create_primary(raw.OWNER, template)))
        vtpm.transceive(command(0x165, [], response[10:14]))

    benchmark.pedantic(create, rounds=40)  # type: ignore[no-untyped-call]


def test_create_primary_bare_key_generation(benchmark: BenchmarkFixture) -> None:
    def generate() -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    benchmark.pedantic(generate, rounds=40)  # type: ignore[no-untyped-call]


def _policy(vtpm: Vtpm) -> int:
    session = raw.handle_of(right(vtpm.transceive(raw.start_session(1))))
    right(vtpm.transceive(command(0x17F, [session], b2(b"") + selection(*range(8)))))
    return session


@pytest.mark.parametrize("scheme", ["rsaes", "oaep-sha256"])
def test_policy_session_and_rsa_decrypt(benchmark: BenchmarkFixture, vtpm: Vtpm, scheme: str) -> None:
    """Three commands: StartAuthSession, PolicyPCR, RSA_Decrypt. RSAES decrypts twice, to tell bad padding."""
    created = right(vtpm.transceive(create_primary(raw.OWNER, EPHEMERAL)))
    key = raw.handle_of(created)
    wire = {"rsaes": n(2, raw.RSAES), "oaep-sha256": n(2, raw.OAEP) + n(2, raw.SHA256)}[scheme]
    ciphertext = right(vtpm.transceive(command(0x174, [key], b2(bytes(32)) + wire + b2(b""))))[12:]
    parameters = b2(ciphertext) + wire + b2(b"")

    def decrypt() -> bytes:
        auth = n(4, _policy(vtpm)) + b2(b"") + b"\0" + b2(b"")
        return right(vtpm.transceive(command(0x159, [key], parameters, [auth])))

    benchmark(decrypt)
    vtpm.transceive(command(0x165, [], n(4, key)))


@pytest.mark.parametrize("scheme", ["rsaes", "oaep-sha256"])
def test_bare_rsa_decrypt(benchmark: BenchmarkFixture, vtpm: Vtpm, scheme: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    chosen: padding.AsymmetricPadding = padding.PKCS1v15() if scheme == "rsaes" else oaep
    ciphertext = key.public_key().encrypt(bytes(32), chosen)
    benchmark(lambda: key.decrypt(ciphertext, chosen))


def _save(vtpm: Vtpm) -> Callable[[], object]:
    return lambda: vtpm._core.state.to_document()


def test_state_to_document(benchmark: BenchmarkFixture) -> None:
    """What a machine's owner pays after a command that changed the state."""
    vtpm = Vtpm(VtpmState.fresh())
    vtpm.startup(clear=True)
    vtpm.create_ak()
    vtpm.platform_nv_define(REPORT, 2600, 0x42060004)
    benchmark(_save(vtpm))
