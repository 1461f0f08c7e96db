"""The last step: what the vault's public half seals, the released private key must open."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skrkit.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from skrkit.release.unwrap import ReleasedKey
    from skrkit.wire import Json

_JOSE_CURVES = {"P-256K": "secp256k1"}  # Key Vault's name for what RFC 8812 calls secp256k1


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was done: `operation` by the vault's public half, answered by the released private key."""

    operation: str
    message_bytes: int


UNPROVED = Proof(operation="not checked: a symmetric key has no public half to compare with", message_bytes=0)


def prove_symmetric(released: ReleasedKey, message: bytes, *, iv: bytes, ciphertext: bytes, tag: bytes) -> Proof:
    """Return the proof that a released symmetric key is the HSM's: it opens what the HSM sealed by AES-GCM.

    Raises `VerificationError`, step `release.proof`, if it does not.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        if AESGCM(released.material).decrypt(iv, ciphertext + tag, None) == message:
            operation = f"A{released.size_bits}GCM: HSM's key encrypts, released key decrypts"
            return Proof(operation=operation, message_bytes=len(message))
    except (ValueError, InvalidTag):  # no AES key, or another one
        pass
    raise VerificationError(
        what="released key",
        where="a message that the HSM encrypted",
        expected="the HSM's own symmetric key",
        found=f"{released.size_bits} bits that do not open it",
        fix="Refuse the key: it is not the one that the HSM has.",
        step="release.proof",
    )


def prove(released: ReleasedKey, public: Mapping[str, Json]) -> Proof:
    """Return the proof that the released private key answers to the vault's public half.

    `public` is the JWK as the vault shows it; the public operation uses nothing else. RSA: it encrypts 32 random bytes
    (OAEP, SHA-256) and the private key decrypts them. EC: the private key signs them (ECDSA, SHA-256) and it verifies.
    Raises `VerificationError`, step `release.proof`, if the two do not belong together, and `UsageError` for a
    symmetric key, which has no public half.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    message = secrets.token_bytes(32)
    private, theirs = released.private_key, _public_key(public)
    try:
        if isinstance(private, rsa.RSAPrivateKey) and isinstance(theirs, rsa.RSAPublicKey):
            oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
            if private.decrypt(theirs.encrypt(message, oaep), oaep) == message:
                return Proof(operation="RSA-OAEP-256: vault's key encrypts, released key decrypts", message_bytes=32)
        elif isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(theirs, ec.EllipticCurvePublicKey):
            ecdsa = ec.ECDSA(hashes.SHA256())
            theirs.verify(private.sign(message, ecdsa), message, ecdsa)
            return Proof(operation="ECDSA SHA-256: released key signs, vault's key verifies", message_bytes=32)
    except (ValueError, InvalidSignature):  # OAEP's padding and ECDSA's no: both mean another key
        pass
    raise VerificationError(
        what="released key",
        where=str(public.get("kid", "/kid")),
        expected="the private half of the vault's public key",
        found=f"a {released.kty} key that does not answer to it",
        fix="Refuse the key: it is not the one that the vault shows.",
        step="release.proof",
    )


def _public_key(public: Mapping[str, Json]) -> object:
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm

    kty = str(public.get("kty", "")).removesuffix("-HSM")
    members = {name: value for name, value in public.items() if name in ("n", "e", "crv", "x", "y")}
    if kty == "RSA":
        return RSAAlgorithm.from_jwk({"kty": kty, **members})
    if kty == "EC":
        curve = str(members.get("crv"))
        return ECAlgorithm.from_jwk({"kty": kty, **members, "crv": _JOSE_CURVES.get(curve, curve)})
    raise UsageError(
        what="proof of a released key",
        where="/kty",
        expected="RSA or EC",
        found=kty or "nothing",
        fix="A symmetric key has no public half: compare what it decrypts instead.",
    )
