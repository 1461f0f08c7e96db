"""The key that the tenant signs access tokens with, its certificate, and how both are published.

After Entra ID's own: RSA-2048, a self-signed certificate whose SHA-1 is the key's id (`kid`, `x5t`), and `x5c`.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from skrkit.encoding import b64url
from skrkit.sandbox import keygen
from skrkit.sandbox.silicon import certificate_from, certificate_text, private_pem, rsa_key

if TYPE_CHECKING:
    from skrkit.sandbox.world import World

NAME = "accounts.accesscontrol.windows.net"
LIFETIME = timedelta(days=5 * 365)
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """The key with its certificate. One that an older version of the sandbox made has none."""

    kid: str
    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate | None = None

    def jwk(self) -> dict[str, Any]:
        """Return the public half as a JWK."""
        numbers = self.key.public_key().public_numbers()
        members = {
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "n": b64url(numbers.n.to_bytes(256, "big")),
            "e": b64url(numbers.e.to_bytes(3, "big")),
        }
        if self.certificate is None:
            return members
        der = self.certificate.public_bytes(Encoding.DER)
        return members | {"x5t": self.kid, "x5c": [base64.b64encode(der).decode("ascii")]}


def signing_key(world: World) -> SigningKey:
    """Return the tenant's key, made on first use."""
    with _LOCK:
        known = world.cache.get("entra-key")
        if known is None:
            document = world.store.get("entra", "keys")
            if document is None:
                document = _made(world)
                world.store.put("entra", "keys", document)
            key = rsa_key(document["pem"])
            certificate = certificate_from(document["certificate"]) if "certificate" in document else None
            known = world.cache["entra-key"] = SigningKey(kid=document["kid"], key=key, certificate=certificate)
    assert isinstance(known, SigningKey)
    return known


def _made(world: World) -> dict[str, str]:
    key = keygen.rsa_key("entra/key", 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = world.now()
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(keygen.serial_number("entra/serial"))
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + LIFETIME)
    certificate = keygen.signed(made, key, hashes.SHA256())
    sha1 = hashlib.sha1(certificate.public_bytes(Encoding.DER), usedforsecurity=False).digest()
    return {"kid": b64url(sha1), "pem": private_pem(key), "certificate": certificate_text(certificate)}
