"""A certificate authority and a vault's signer made for the tests, so that each fault differs in one thing."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.encoding import b64url
from skrkit.release.request import Enc
from skrkit.release.response import VerifiedRelease, parse_release_response, verify_release
from tests.release.wrapping import released_key, wrapped
from tests.token.keys import numbers, rsa_key

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOST = "myvault.vault.azure.net"
KID = f"https://{HOST}/keys/k"
VERSION = "0" * 32


def certificate(
    name: str,
    issuer: str,
    *,
    key: str | None = None,
    bits: int = 2048,
    signer: str | None = None,
    ca: bool | None = None,
    path_length: int | None = None,
    sign_certificates: bool = True,
    dns: tuple[str, ...] = (),
    days: tuple[int, int] = (-1, 1),
    critical: bool = False,
) -> x509.Certificate:
    """Return a certificate of `name`; keys are named like their owner unless `key` or `signer` says otherwise."""
    builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(_name(issuer))
    builder = builder.public_key(rsa_key(key or name, bits).public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW + timedelta(days=days[0])).not_valid_after(NOW + timedelta(days=days[1]))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        builder = builder.add_extension(_usage(sign_certificates), critical=True)
    if dns:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(item) for item in dns]), critical=False
        )
    if critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    return builder.sign(rsa_key(signer or issuer), SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign_certificates, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


LEAF_NAMES = ("vault.azure.net", "*.vault.azure.net", "*.vaultcore.azure.net")


@cache
def root() -> x509.Certificate:
    return certificate("root", "root", ca=True)


@cache
def issuing() -> x509.Certificate:
    return certificate("issuing", "root", ca=True, path_length=0)


@cache
def leaf() -> x509.Certificate:
    return certificate("leaf", "issuing", dns=LEAF_NAMES)


def chain(*, leaf_: x509.Certificate | None = None, issuing_: x509.Certificate | None = None) -> list[x509.Certificate]:
    return [leaf_ or leaf(), issuing_ or issuing(), root()]


def der(item: x509.Certificate) -> bytes:
    return item.public_bytes(Encoding.DER)


def header(certificates: list[x509.Certificate], **members: Any) -> dict[str, Any]:
    first = der(certificates[0])
    return {
        "alg": "RS256",
        "kid": hashlib.sha1(first).hexdigest().upper(),
        "x5t": b64url(hashlib.sha1(first).digest()),
        "typ": "JWT",
        "x5t#S256": b64url(hashlib.sha256(first).digest()),
        "x5c": [base64.b64encode(der(item)).decode() for item in certificates],
        **members,
    }


def payload(
    *, enc: str = "RSA_AES_KEY_WRAP_256", kid: str = KID, released: str | None = None, key_hsm: str = "", **request: Any
) -> dict[str, Any]:
    key = {
        "kid": released or f"{KID}/{VERSION}",
        "kty": "RSA-HSM",
        "key_ops": ["encrypt", "decrypt"],
        **numbers(released_key()),
        "key_hsm": key_hsm or wrapped(enc=enc),
    }
    return {
        "request": {"api-version": "7.4", "enc": enc, "kid": kid, **request},
        "response": {
            "key": {"key": key, "attributes": {"enabled": True}, "tags": {}, "release_policy": {"data": "e30"}}
        },
    }


def sign(head: dict[str, Any], body: dict[str, Any], key: RSAPrivateKey | None = None) -> bytes:
    signed = f"{b64url(json.dumps(head).encode())}.{b64url(json.dumps(body).encode())}".encode()
    signature = (key or rsa_key("leaf")).sign(signed, PKCS1v15(), SHA256())
    return json.dumps({"value": f"{signed.decode()}.{b64url(signature)}"}).encode()


def check(body: bytes, **options: Any) -> VerifiedRelease:
    arguments: dict[str, Any] = {
        "roots": [root()], "host": HOST, "enc": Enc.RSA_AES_KEY_WRAP_256, "nonce": "n", "now": NOW, **options,
    }  # fmt: skip
    return verify_release(parse_release_response(body), **arguments)


def made(
    certificates: list[x509.Certificate] | None = None,
    *,
    key: str = "leaf",
    bits: int = 2048,
    head: Any = None,
    **body: Any,
) -> bytes:
    members = header(certificates or chain())
    return sign({**members, **(head or {})}, payload(**{"nonce": "n", **body}), rsa_key(key, bits))
