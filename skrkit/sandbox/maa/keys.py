"""The signing key of each provider: RSA-2048, self-signed certificate, made on first use and kept in the store."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
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
    published: str = field(repr=False, compare=False)


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


def published_keys(world: World, host: str) -> str:
    """Return the JWK set that `https://<host>/certs` publishes, as text; one without keys for what is no provider."""
    return '{"keys":[]}' if find(world, host) is None else signing_key(world, host).published


def jwks_of(world: World, host: str) -> dict[str, Json]:
    """Return the same as a document."""
    found: dict[str, Json] = json.loads(published_keys(world, host))
    return found


def _published(kid: str, der: bytes) -> str:
    """Return the JWK set of one key: with `x5c` and without `n` or `e`, as the real service promises no more."""
    x5c = [base64.b64encode(der).decode("ascii")]
    return json.dumps({"keys": [{"alg": "RS256", "kid": kid, "kty": "RSA", "use": "sig", "x5c": x5c}]})
