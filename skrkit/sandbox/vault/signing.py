"""The certificate that signs release responses, and the JWS around them."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from skrkit.encoding import b64url
from skrkit.sandbox import keygen

if TYPE_CHECKING:
    from skrkit.sandbox.vault.call import VaultResource
    from skrkit.sandbox.world import World

KIND, KEY = "vault-signing", "release"
NAMES = ("vault.azure.net", "*.vault.azure.net", "*.vaultcore.azure.net")
RENEW_BEFORE = timedelta(days=1)
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The service's signing key with its chain: leaf, issuing, root. `header` is the JWS header it writes."""

    key: rsa.RSAPrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    header: dict[str, Any] = field(repr=False)
    encoded_header: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded_header", _part(self.header))

    def sign(self, payload: dict[str, Any]) -> str:
        """Return the compact JWS over a payload, RS256."""
        covered = f"{self.encoded_header}.{_part(payload)}"
        signature = self.key.sign(covered.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())
        return f"{covered}.{b64url(signature)}"


def _part(members: dict[str, Any]) -> str:
    return b64url(json.dumps(members, separators=(",", ":")).encode())


def signer(world: World, vault: VaultResource) -> Signer:
    """Return the signer of all vaults, or of one Managed HSM, which has a certificate for its own name.

    It is made on first use, kept in the store, renewed a day before it expires.
    """
    place = vault.key_space if vault.is_hsm else KEY
    names = (f"*.{vault.host}", vault.host) if vault.is_hsm else NAMES
    with _lock:
        known = world.cache.get(f"signer {place}")
        if isinstance(known, Signer) and _fresh(known, world):
            return known
        made = _stored(world, place)
        if made is None or not _fresh(made, world):
            made = _issued(world, place, names)
        made = Signer(key=made.key, chain=made.chain, header=_hsm_header(made.header)) if vault.is_hsm else made
        world.cache[f"signer {place}"] = made
        return made


def _fresh(known: Signer, world: World) -> bool:
    return known.chain[0].not_valid_after_utc - RENEW_BEFORE > world.now() >= known.chain[0].not_valid_before_utc


def _stored(world: World, place: str) -> Signer | None:
    document = world.store.get(KIND, place)
    if document is None:
        return None
    key = load_pem_private_key(document["key"].encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return signer_of(key, tuple(x509.load_pem_x509_certificates(document["chain"].encode("ascii"))))


def _issued(world: World, place: str, names: tuple[str, ...]) -> Signer:
    key = keygen.rsa_key("release/key", 2048)
    issued = world.tls.issue(names[0], list(names), key=key, now=world.now())
    document = {
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
        "chain": b"".join(certificate.public_bytes(Encoding.PEM) for certificate in issued.chain).decode("ascii"),
    }
    world.store.put(KIND, place, document)
    return signer_of(key, tuple(issued.chain))


def signer_of(key: rsa.RSAPrivateKey, chain: tuple[x509.Certificate, ...]) -> Signer:
    """Return the signer with the header that a vault writes: kid is the leaf's SHA-1 in upper-case hex."""
    ders = [certificate.public_bytes(Encoding.DER) for certificate in chain]
    sha1 = hashlib.sha1(ders[0], usedforsecurity=False).digest()
    header = {
        "alg": "RS256",
        "kid": sha1.hex().upper(),
        "x5t": b64url(sha1),
        "typ": "JWT",
        "x5t#S256": b64url(hashlib.sha256(ders[0]).digest()),
        "x5c": [base64.b64encode(der).decode("ascii") for der in ders],
    }
    return Signer(key=key, chain=chain, header=header)


def _hsm_header(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header as a Managed HSM writes it: no `x5t` and no `typ`, its `kid` is the leaf's SHA-256."""
    written = {name: header[name] for name in ("alg", "x5c", "x5t#S256")}
    return dict(sorted((written | {"kid": header["x5t#S256"]}).items()))
