"""One release round trip, attest to unwrap, beside the bare cryptography that it cannot do without.

What is counted was read off a trace of every call into `cryptography`, in the client's process and the sandbox's, over
one round trip. Each call that a check or a step needs stands in `Bare` as often as it is made. Left out, so that the
ratio is stricter than it need be: TLS; hashing; loading and encoding of keys and certificates where that is not itself
a check; and the second of the two decryptions by which the vTPM tells bad RSAES padding.

No ephemeral key is generated on either side. A TPM makes the same primary key of the same template until it is reset;
the sandbox's makes it at the first attestation after a boot, which is a round of warming up here. The check of the
released RSA key is by far the most that both sides have in common, so the ratio without it is printed too: it says more
of what is skrkit's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from pytest_benchmark.fixture import BenchmarkFixture

from skrkit.artefact import Collector
from skrkit.cloud import Cloud
from skrkit.provision.stage import Stage
from skrkit.release.flow import Terms, attest, open_release, request_release
from skrkit.release.request import Enc
from skrkit.sandbox import process
from skrkit.services.attester import Attester
from skrkit.services.maa import GuestAttestation
from skrkit.services.rest import RestClient
from skrkit.services.vault import Vault, key_client
from skrkit.walkthrough import Walk
from tests.bench.beside import Times, beside
from tests.bench.figures import Figures, Measured

pytestmark = pytest.mark.bench

ROUNDS = 40
VAULT = "skrkit-bench-release"  # its own: azure-keyvault-keys remembers the tenant of a vault's name, per process
PKCS1, SHA256, SHA384 = padding.PKCS1v15(), hashes.SHA256(), hashes.SHA384()
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


@dataclass(slots=True)
class Bare:
    """Keys of the kinds that a round trip uses, and the calls on them."""

    message: bytes = field(default_factory=lambda: secrets.token_bytes(672))
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    amd: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 4096))
    vcek: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))
    issuing: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def calls(self) -> Callable[[], None]:
        """Return every call of a round trip but the check of the released key."""
        message, public, authority = self.message, self.key.public_key(), self.issuing.public_key()
        amd, vcek = self.amd.public_key(), self.vcek.public_key()
        amd_signature = self.amd.sign(message, PSS, SHA384)
        chain_signature = self.issuing.sign(message, ec.ECDSA(SHA256))
        der = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

        def bare() -> None:
            report = self.vcek.sign(message, ec.ECDSA(SHA384))
            signature = b""
            for _ in range(4):  # quote, certification, token, response
                signature = self.key.sign(message, PKCS1, SHA256)
            for _ in range(2):  # the client's own appraisal, and the attestation provider's
                for _ in range(3):  # VCEK, ASK, ARK
                    amd.verify(amd_signature, message, PSS, SHA384)
                vcek.verify(report, message, ec.ECDSA(SHA384))
            for _ in range(7):  # client: quote, token, response. Provider: quote, AK certificate, certification.
                public.verify(signature, message, PKCS1, SHA256)  # Vault: attestation token; bearers are known
            for _ in range(2):  # the response's leaf and issuing certificate
                authority.verify(chain_signature, message, ec.ECDSA(SHA256))
            inner, nonce, kek = secrets.token_bytes(32), secrets.token_bytes(12), secrets.token_bytes(32)
            sealed = AESGCM(inner).encrypt(nonce, message * 20, b"Transport Key")
            AESGCM(self.key.decrypt(public.encrypt(inner, PKCS1), PKCS1)).decrypt(nonce, sealed, b"Transport Key")
            wrapped = aes_key_wrap_with_padding(kek, der)
            aes_key_unwrap_with_padding(self.key.decrypt(public.encrypt(kek, OAEP), OAEP), wrapped)
            self.key.decrypt(public.encrypt(kek, OAEP), OAEP)  # the proof

        return bare

    def key_check(self) -> Callable[[], object]:
        """Return the loading of a released key, with OpenSSL's check that it is one."""
        der = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return lambda: load_der_private_key(der, None)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home: Path = tmp_path_factory.mktemp("home")
    try:
        yield Cloud.sandbox(home=home)
    finally:
        process.down(home)


@pytest.fixture(scope="module")
def round_trip(cloud: Cloud) -> Iterator[Callable[[], None]]:
    """One release by a VM whose identity, access and key are there, with connections as a program keeps them."""
    stage = Stage(vault=VAULT)
    walk = Walk(cloud=cloud, stage=stage, steps=(3,))
    walk.run()
    key = walk._keys()[0]
    inside, url = cloud.enter(stage.vm), stage.vault_url(cloud)
    roots, amd_roots = cloud.release_roots(), cloud.amd_roots()
    with (
        Attester(inside) as attester,
        RestClient(inside) as rest,
        key_client(cloud, url) as reader,
        key_client(inside, url) as releaser,
    ):
        vault = Vault(url=url, reader=reader, releaser=releaser)
        issuer = GuestAttestation(client=rest, issuer=stage.attestation)

        def trip() -> None:
            nonce, now = secrets.token_hex(16), cloud.now()
            attested = attest(attester, issuer, nonce=nonce, amd_roots=amd_roots, now=now, made=Collector(4))
            terms = Terms(
                key=key.name,
                version=key.version,
                policy=key.policy,
                enc=Enc.RSA_AES_KEY_WRAP_256,
                nonce=nonce,
                host=url.removeprefix("https://"),
                roots=roots,
                now=now,
            )
            open_release(attester, vault, request_release(vault, attested.token, terms), terms)

        yield trip


@pytest.mark.figure("release")
@pytest.mark.benchmark(group="release round trip")
def test_one_release_round_trip(round_trip: Callable[[], None], benchmark: BenchmarkFixture, figures: Figures) -> None:
    made = Bare()
    calls, check = made.calls(), Times(made.key_check())

    def bare() -> None:
        calls()
        check()

    found = beside(benchmark, round_trip, bare, rounds=ROUNDS)
    figures.hand_in("release", found)
    if found is not None and found.beside is not None:
        without = Measured(value=found.value - check.median, beside=found.beside - check.median)
        figures.note("release round trip without the check of the released RSA key", without)


@pytest.mark.benchmark(group="release round trip")
def test_the_bare_cryptography_in_it(benchmark: BenchmarkFixture) -> None:
    benchmark(Bare().calls())


@pytest.mark.benchmark(group="release round trip")
def test_the_bare_check_of_an_rsa_key_in_it(benchmark: BenchmarkFixture) -> None:
    benchmark(Bare().key_check())
