"""Keys inside the vTPM: making them, loading them, and what each can do with its private half."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from skrkit.sandbox import keygen
from skrkit.sandbox.vtpm.algorithms import digest, digest_size, kdfa
from skrkit.sandbox.vtpm.buffer import Reader, tpm2b, u16
from skrkit.sandbox.vtpm.codes import SIGN, ST_CLEAR, Alg, Rc, TpmError
from skrkit.sandbox.vtpm.structures import CURVE_BYTES, ECC_P256, MAX_COORDINATE, PublicArea, read_public_area

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
DEFAULT_EXPONENT = 65537
HASHES: Final[dict[int, hashes.HashAlgorithm]] = {
    Alg.SHA1: hashes.SHA1(),  # noqa: S303 (OAEP with SHA-1 is what Key Vault's oldest key wrap uses)
    Alg.SHA256: hashes.SHA256(),
    Alg.SHA384: hashes.SHA384(),
    Alg.SHA512: hashes.SHA512(),
}


@dataclass(kw_only=True)
class Key:
    """A loaded or persistent object. `private` is PKCS#8 DER, empty if only the public half is loaded."""

    public: PublicArea
    hierarchy: int
    qualified_name: bytes
    auth: bytes = field(default=b"", repr=False)
    seed: bytes = field(default=b"", repr=False)  # a storage key's seedValue
    private: bytes = field(default=b"", repr=False)
    external: bool = False  # loaded by TPM2_LoadExternal: of no hierarchy's own making

    @cached_property
    def name(self) -> bytes:
        """The object's name; computed once, since a public area never changes."""
        return self.public.name()

    @cached_property
    def private_key(self) -> PrivateKey:
        """The private key. Loading skips OpenSSL's validation: 27 ms for RSA-2048 against 3 microseconds."""
        key = load_der_private_key(self.private, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        return key

    @cached_property
    def public_key(self) -> PublicKey:
        """The public key, from the public area alone. TPM_RC_KEY or TPM_RC_ECC_POINT if it cannot be one."""
        return public_key(self.public)

    @property
    def public_only(self) -> bool:
        """Whether the TPM lacks the private half."""
        return not self.private

    @property
    def st_clear(self) -> bool:
        """Whether the object may not outlive a TPM Reset or Restart."""
        return self.public.has(ST_CLEAR)

    @property
    def signs(self) -> bool:
        """Whether the object may sign."""
        return self.public.has(SIGN)

    def to_document(self) -> dict[str, Any]:
        """Return the object as JSON members; bytes as base64."""
        return {
            "public": _text(self.public.marshal()),
            "hierarchy": self.hierarchy,
            "qualified_name": _text(self.qualified_name),
            "auth": _text(self.auth),
            "seed": _text(self.seed),
            "private": _text(self.private),
            "external": self.external,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Key:
        """Return the object that `to_document` wrote."""
        return cls(
            public=read_public_area(Reader(_bytes(document["public"])), null_name=True),
            hierarchy=document["hierarchy"],
            qualified_name=_bytes(document["qualified_name"]),
            auth=_bytes(document["auth"]),
            seed=_bytes(document["seed"]),
            private=_bytes(document["private"]),
            external=document["external"],
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def generate(template: PublicArea) -> bytes:
    """Return a new private key for the template, as PKCS#8 DER. RSA-2048 takes about 27 ms."""
    key: PrivateKey
    if template.type == Alg.RSA:
        if template.exponent not in (0, DEFAULT_EXPONENT):
            raise TpmError(Rc.RANGE)
        key = keygen.rsa_key("vtpm/rsa", template.bits)
    else:
        key = keygen.ec_key("vtpm/ec", ec.SECP256R1() if template.curve == ECC_P256 else ec.SECP384R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def unique_of(private: bytes) -> bytes:
    """Return the `unique` member of the public area that goes with a private key in PKCS#8 DER."""
    key = load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.public_key().public_numbers().n.to_bytes(key.key_size // 8, "big")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    size = (key.key_size + 7) // 8
    numbers = key.public_key().public_numbers()
    return tpm2b(numbers.x.to_bytes(size, "big")) + tpm2b(numbers.y.to_bytes(size, "big"))


def public_key(area: PublicArea) -> PublicKey:
    """Return the public key of a public area; TPM_RC_KEY, TPM_RC_ECC_POINT if its numbers cannot be one."""
    if area.type == Alg.RSA:
        if len(area.unique) * 8 != area.bits or area.unique[0] < 0x80:
            raise TpmError(Rc.KEY)
        try:
            return rsa.RSAPublicNumbers(
                area.exponent or DEFAULT_EXPONENT, int.from_bytes(area.unique, "big")
            ).public_key()
        except ValueError:
            raise TpmError(Rc.KEY) from None
    reader = Reader(area.unique)
    size = CURVE_BYTES[area.curve]
    x, y = reader.sized(MAX_COORDINATE), reader.sized(MAX_COORDINATE)
    if len(x) != size or len(y) != size:
        raise TpmError(Rc.KEY)
    curve: ec.EllipticCurve = ec.SECP256R1() if area.curve == ECC_P256 else ec.SECP384R1()
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve).public_key()
    except ValueError:
        raise TpmError(Rc.ECC_POINT) from None


def storage_seed(name_alg: int, hierarchy_seed: bytes, origin: bytes) -> bytes:
    """Return a primary storage key's seedValue: a function of the hierarchy's seed and the template, as its key is."""
    return kdfa(Alg.SHA256, hierarchy_seed, b"STORAGE SEED", origin, b"", digest_size(name_alg) * 8)


def qualified_name(name_alg: int, parent: bytes, name: bytes) -> bytes:
    """Return the qualified name: the digest over the parent's and the object's own. A hierarchy's is its handle."""
    return u16(name_alg) + digest(name_alg, parent, name) if name else b""
