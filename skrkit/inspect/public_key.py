"""A bare public key (SubjectPublicKeyInfo), PEM or DER: what `tpm2_readpublic -f pem` writes for an AK. No trust."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from skrkit.errors import ParseError
from skrkit.wire import Json, Span

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public key. `described` is its fields."""

    kind: ClassVar[str] = "public-key"
    title: ClassVar[str] = "Public key"

    described: dict[str, Json] = field(repr=False)
    raw: bytes = field(repr=False)

    def fields(self) -> dict[str, Json]:
        """Return type, numbers (hex, big-endian) and the SHA-256 of the DER structure."""
        return dict(self.described)

    def spans(self) -> tuple[Span, ...]:
        """Return no spans: a DER or PEM structure of one value."""
        return ()


def meanings() -> dict[str, str]:
    """Return what the fields that need it mean, by field name."""
    return {"spki_sha256": "SHA-256 of the DER SubjectPublicKeyInfo", "n": "modulus", "e": "exponent"}


def parse_public_key(data: bytes) -> PublicKey:
    """Return the RSA or EC public key in PEM or DER `data`. Raises `ParseError`. Source: RFC 5280 section 4.1."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = serialization.load_pem_public_key if b"-----BEGIN" in data else serialization.load_der_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise ParseError(
            what="public key",
            where="the whole input",
            expected="a SubjectPublicKeyInfo in PEM or DER",
            found=f"{len(data)} bytes that are not ({str(cause).partition(chr(10))[0][:120]})",
            fix="Pass the key as `tpm2_readpublic -f pem` or `openssl pkey -pubout` writes it.",
            source="RFC 5280 section 4.1",
        ) from None
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    described = {"key": key_name(key), **_numbers(key), "spki_sha256": hashlib.sha256(spki).hexdigest()}
    return PublicKey(described=described, raw=data)


def key_name(key: PublicKeyTypes) -> str:
    """Return the type and size of a key: "RSA-2048", "EC-secp384r1"."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC-{key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _numbers(key: PublicKeyTypes) -> dict[str, Json]:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"n": f"{numbers.n:0{key.key_size // 4}x}", "e": numbers.e}
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        digits = -(-key.curve.key_size // 8) * 2
        return {"x": f"{point.x:0{digits}x}", "y": f"{point.y:0{digits}x}"}
    return {}
