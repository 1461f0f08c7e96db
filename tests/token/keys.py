"""Keys and tokens made for the tests, so that each fault is a token that differs in that one thing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.encoding import b64url

ISSUER = "https://attest-a.example"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KID = "abc+/def="


def rsa_key(name: str, bits: int = 2048) -> RSAPrivateKey:
    """The same key for the same name and size, within one run."""
    return _rsa_key(name, bits)


@cache
def _rsa_key(name: str, bits: int) -> RSAPrivateKey:
    return generate_private_key(65537, bits)


def numbers(key: RSAPrivateKey) -> dict[str, str]:
    public = key.public_key().public_numbers()
    return {"n": b64url(public.n.to_bytes(key.key_size // 8, "big")), "e": b64url(public.e.to_bytes(3, "big"))}


def jwk(key: RSAPrivateKey, kid: str = KID, **members: Any) -> dict[str, Any]:
    return {"kid": kid, "kty": "RSA", "use": "sig", "alg": "RS256", **numbers(key), **members}


def jwks(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": entries}).encode()


def header(**members: Any) -> dict[str, Any]:
    return {"alg": "RS256", "typ": "JWT", "kid": KID, "jku": f"{ISSUER}/certs", **members}


def claims(**members: Any) -> dict[str, Any]:
    issued = int(NOW.timestamp())
    return {"iss": ISSUER, "iat": issued, "nbf": issued, "exp": issued + 28800, "c": "v", **members}


def without(members: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}


def signing_input(head: dict[str, Any], body: dict[str, Any]) -> bytes:
    return f"{b64url(json.dumps(head).encode())}.{b64url(json.dumps(body).encode())}".encode()


def sign(head: dict[str, Any], body: dict[str, Any], key: RSAPrivateKey) -> bytes:
    signed = signing_input(head, body)
    padding = PSS(MGF1(SHA256()), 32) if head.get("alg") == "PS256" else PKCS1v15()
    return signed + b"." + b64url(key.sign(signed, padding, SHA256())).encode()


def self_signed(key: RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ISSUER)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)
