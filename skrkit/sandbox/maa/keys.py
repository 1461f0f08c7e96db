"""The signing key of each provider: RSA-2048, self-signed certificate, made on first use and kept in the store."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.sandbox import keygen
from skrkit.sandbox.certificateparts import name_of
from skrkit.sandbox.maa.providers import find
from skrkit.sandbox.silicon import certificate_from, certificate_text, private_pem, rsa_key
from skrkit.wire import Json

if TYPE_CHECKING:
    from skrkit.sandbox.store import Document
    from skrkit.sandbox.world import World

KIND = "maa"
_making = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A provider's key. `kid` is base64 of a SHA-256, an opaque text to whoever verifies."""

    kid: str
    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate
    published: Mapping[str, Json] = field(repr=False, compare=False)


def signing_key(world: World, host: str) -> SigningKey:
    """Return the key of a provider. Raises `LookupError` for a host that is none."""
    cached = world.cache.get(f"maa/{host}")
    if isinstance(cached, SigningKey):
        return cached
    with _making:
        if find(world, host) is None:
            raise LookupError(f"{host} is not an attestation provider")
        document = world.store.get(KIND, host)
        if document is None:
            document = _make(world, host)
            world.store.put(KIND, host, document)
        certificate = certificate_from(document["certificate"])
        der = certificate.public_bytes(Encoding.DER)
        kid = base64.b64encode(hashlib.sha256(der).digest()).decode("ascii")
        made = SigningKey(
            kid=kid, key=rsa_key(document["key"]), certificate=certificate, published=_published(kid, der)
        )
        world.cache[f"maa/{host}"] = made
        return made


def _make(world: World, host: str) -> Document:
    key = keygen.rsa_key(f"maa/{host}", 2048)
    name = name_of(f"https://{host}")
    now = world.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(keygen.serial_number(f"maa/{host}/serial"))
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return {"key": private_pem(key), "certificate": certificate_text(certificate)}


def jwks_of(world: World, host: str) -> dict[str, Json]:
    """Return the JWK set that `https://<host>/certs` publishes; one without keys for a host that is no provider."""
    return {"keys": [] if find(world, host) is None else [dict(signing_key(world, host).published)]}


def _published(kid: str, der: bytes) -> dict[str, Json]:
    """Return a key's entry in the JWK set: with `x5c` and without `n` or `e`, as the real service promises no more."""
    return {"alg": "RS256", "kid": kid, "kty": "RSA", "use": "sig", "x5c": [base64.b64encode(der).decode("ascii")]}
