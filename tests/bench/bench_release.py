"""One release round trip, attest to unwrap, beside the bare cryptography that it cannot do without."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
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
from skrkit.services.vault import Vault, key_client
from skrkit.walkthrough import Walk

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    home: Path = tmp_path_factory.mktemp("home")
    yield Cloud.sandbox(home=home)
    process.down(home)


def test_one_release_round_trip(benchmark: BenchmarkFixture, cloud: Cloud) -> None:
    stage = Stage()
    walk = Walk(cloud=cloud, stage=stage, steps=(3,))
    walk.run()
    key = walk._keys()[0]
    inside, url = cloud.enter(stage.vm), stage.vault_url(cloud)
    roots, amd_roots = cloud.release_roots(), cloud.amd_roots()
    with Attester(inside) as attester, key_client(cloud, url) as reader, key_client(inside, url) as releaser:
        vault = Vault(url=url, reader=reader, releaser=releaser)
        issuer = GuestAttestation(cloud=inside, issuer=stage.attestation)

        def round_trip() -> None:
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

        benchmark.group = "release round trip"
        benchmark.pedantic(round_trip, rounds=40, warmup_rounds=3)  # type: ignore[no-untyped-call]


def test_the_bare_cryptography_in_it(benchmark: BenchmarkFixture) -> None:
    """Counted from the flow: TLS, hashing and JSON are left out, so the ratio is stricter than it need be."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    ca_key = rsa.generate_private_key(65537, 4096)
    vcek = ec.generate_private_key(ec.SECP384R1())
    issuing = ec.generate_private_key(ec.SECP256R1())
    pkcs1, sha256, sha384 = padding.PKCS1v15(), hashes.SHA256(), hashes.SHA384()
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
    oaep = padding.OAEP(padding.MGF1(sha256), sha256, None)
    message = secrets.token_bytes(672)
    der = rsa_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    pss_signature = ca_key.sign(message, pss, sha384)
    chain_signature = issuing.sign(message, ec.ECDSA(sha256))
    digest = secrets.token_bytes(48)

    def bare() -> None:
        ephemeral = rsa.generate_private_key(65537, 2048)  # CreatePrimary: a new key for each attestation
        report = vcek.sign(digest, ec.ECDSA(Prehashed(sha384)))
        signatures = [rsa_key.sign(message, pkcs1, sha256) for _ in range(4)]  # quote, certify, MAA token, release
        for _ in range(2):  # here and at MAA
            vcek.public_key().verify(report, digest, ec.ECDSA(Prehashed(sha384)))
            for _ in range(3):
                ca_key.public_key().verify(pss_signature, message, pss, sha384)
            rsa_key.public_key().verify(signatures[0], message, pkcs1, sha256)
        for signature in (*signatures[1:3], signatures[2], signatures[3]):  # MAA; here and at the vault; here
            rsa_key.public_key().verify(signature, message, pkcs1, sha256)
        for _ in range(3):  # leaf, issuing, root of the response
            issuing.public_key().verify(chain_signature, message, ec.ECDSA(sha256))
        sealed = ephemeral.public_key().encrypt(secrets.token_bytes(32), pkcs1)
        ephemeral.decrypt(sealed, pkcs1)
        kek = secrets.token_bytes(32)
        wrapped = ephemeral.public_key().encrypt(kek, oaep)
        material = aes_key_wrap_with_padding(kek, der)
        load_der_private_key(aes_key_unwrap_with_padding(ephemeral.decrypt(wrapped, oaep), material), None)
        rsa_key.decrypt(rsa_key.public_key().encrypt(kek, oaep), oaep)  # the proof

    benchmark.group = "release round trip"
    benchmark.pedantic(bare, rounds=40, warmup_rounds=3)  # type: ignore[no-untyped-call]
