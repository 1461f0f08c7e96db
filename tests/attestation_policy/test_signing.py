"""Policies that somebody signs, verified by a stranger (PyJWT), and what is refused before anything is signed."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from skrkit.attestation_policy.form import opened_policy
from skrkit.attestation_policy.signing import MAX_PEM_BYTES, UNSIGNED_RESET, parse_certificates, policy_signer
from skrkit.errors import ParseError, UsageError

TEXT = "version= 1.0;authorizationrules{=> permit();};"
RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Any, password: bytes | None = None) -> bytes:
    sealed = BestAvailableEncryption(password) if password else NoEncryption()
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)
    return made


def certificate(key: Any, name: str = "signer", *, authority: bool = True) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return made.sign(key, algorithm).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA, "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
    ],
)
def test_a_stranger_verifies_what_was_signed(key: Any, algorithm: str) -> None:
    signer = policy_signer(pem(key), certificate(key))
    jws = signer.signed_policy(TEXT)
    header = jwt.get_unverified_header(jws)
    assert header.keys() == {"alg", "x5c"}
    assert header["alg"] == algorithm
    leaf = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
    said = jwt.decode(jws, leaf.public_key(), algorithms=[algorithm])  # type: ignore[arg-type]
    assert base64.urlsafe_b64decode(said["AttestationPolicy"] + "==").decode() == TEXT
    found = opened_policy(jws)
    assert (found.text, found.signed_by) == (TEXT, {"x5c": header["x5c"]})


def test_a_reset_is_empty_and_a_change_names_a_certificate() -> None:
    signer = policy_signer(pem(RSA), certificate(RSA))
    header, payload, signature = signer.signed_reset().split(".")
    assert (payload, bool(header and signature)) == ("", True)
    assert opened_policy(UNSIGNED_RESET).text == opened_policy(signer.signed_reset()).text == ""
    other = ec.generate_private_key(ec.SECP256R1())
    (named,) = parse_certificates(certificate(other, "other"))
    said = jwt.decode(signer.signed_change(named), RSA.public_key(), algorithms=["RS256"])
    assert said["policyCertificate"]["kty"] == "EC"
    assert x509.load_der_x509_certificate(base64.b64decode(said["policyCertificate"]["x5c"][0])) == named


def test_the_key_is_not_shown() -> None:
    assert "key" not in repr(policy_signer(pem(RSA), certificate(RSA)))


@pytest.mark.parametrize(
    ("key", "chain", "error", "words"),
    [
        (pem(RSA), certificate(ec.generate_private_key(ec.SECP256R1())), UsageError, "CN=signer"),
        (pem(RSA, b"secret"), certificate(RSA), ParseError, "found an encrypted one"),
        (b"no key", certificate(RSA), ParseError, "no private key that can be read"),
        (b"x" * (MAX_PEM_BYTES + 1), certificate(RSA), ParseError, "no private key that can be read"),
        (pem(RSA), b"no certificate", ParseError, "expected certificates in PEM"),
        (pem(RSA), certificate(RSA) * 11, ParseError, "at most 10 certificates"),
        (pem(RSA), certificate(RSA, authority=False), UsageError, "flagged as an authority"),
        (pem(ed25519.Ed25519PrivateKey.generate()), certificate(RSA), UsageError, "a key of another kind"),
        (pem(ec.generate_private_key(ec.SECP256K1())), certificate(RSA), UsageError, "openssl req -x509"),
        (pem(rsa.generate_private_key(65537, 1024)), certificate(RSA), UsageError, "a key of another kind"),
    ],
)
def test_what_nobody_can_sign_with(key: bytes, chain: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as refused:
        policy_signer(key, chain)
    assert words in str(refused.value)


@pytest.mark.parametrize("jws", ["", "a.b", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.bm8."])
def test_what_is_no_policy_token(jws: str) -> None:
    with pytest.raises(ParseError):
        opened_policy(jws)


def test_a_payload_is_compact_as_the_service_makes_its_own() -> None:
    signer = policy_signer(pem(RSA), certificate(RSA))
    payload = base64.urlsafe_b64decode(signer.signed_policy(TEXT).split(".")[1] + "==")
    assert payload == json.dumps(json.loads(payload), separators=(",", ":")).encode()
