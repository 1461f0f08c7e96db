"""From `key_hsm` to the private key: the vTPM undoes the outer wrapping, RFC 5649 the inner one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

from skrkit.encoding import b64url_bytes, member
from skrkit.errors import ParseError, VerificationError
from skrkit.release.key_hsm import RSA_2048_BYTES, KeyHsm
from skrkit.release.request import Enc as Enc
from skrkit.wire import Json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

KEK_BYTES = 32  # AES-256, fresh for each release
_CURVES = {"P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1", "P-256K": "secp256k1"}
_WRAP_SOURCE = "Key Vault release, key_hsm envelope; RFC 5649"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReleasedKey:
    """The released key: a secret. Nothing of it shows but its kind, its size and a digest's first digits.

    `material` is PKCS#8 DER, or the raw bytes of an `oct` key, whose `private_key` is None.
    """

    material: bytes = field(repr=False)
    private_key: RSAPrivateKey | EllipticCurvePrivateKey | None = field(repr=False)
    kty: str
    size_bits: int

    @property
    def sha256_prefix(self) -> str:
        """The first 8 hex digits of the SHA-256 of the material: enough to tell two keys apart."""
        return hashlib.sha256(self.material).hexdigest()[:8]

    @property
    def public_key(self) -> RSAPublicKey | EllipticCurvePublicKey | None:
        """The public half; None for a symmetric key."""
        return None if self.private_key is None else self.private_key.public_key()

    def public_pem(self) -> str:
        """Return the public half as PEM text, empty for a symmetric key."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = self.public_key
        if key is None:
            return ""
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def __repr__(self) -> str:
        return f"ReleasedKey({self.kty}, {self.size_bits} bits, sha256 {self.sha256_prefix}…)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeyCheck:
    """What `check_same_public_key` did: "ok", or "not-checked" with the reason."""

    id: str
    verdict: Literal["ok", "not-checked"]
    detail: str


def unwrap(
    key_hsm: KeyHsm,
    decrypt_kek: Callable[[bytes, Enc], bytes],
    *,
    modulus_bytes: int = RSA_2048_BYTES,
    kty: str | None = None,
) -> ReleasedKey:
    """Return the private key in the envelope.

    `decrypt_kek` is the vTPM: given the first `modulus_bytes` of the ciphertext and `enc`, it returns what RSA-OAEP
    with that hash (MGF1 the same, no label) makes of them, an AES key of 32 bytes. `kty` is the key bundle's; only
    `oct` and `oct-HSM` change anything, since such material is raw bytes. What the callback raises passes through.
    Raises `VerificationError`, step `release.kek` for an AES key of another size, `release.unwrap` when RFC 5649's
    check fails, and `ParseError` for material that is no PKCS#8 key. Source: Key Vault release, key_hsm envelope.
    """
    wrapped_kek, wrapped_key = key_hsm.split(modulus_bytes)
    kek = decrypt_kek(wrapped_kek, key_hsm.enc)
    if len(kek) != KEK_BYTES:
        raise VerificationError(
            step="release.kek",
            what="AES key of key_hsm",
            where=f"/ciphertext, first {modulus_bytes} bytes, decrypted",
            expected=f"{KEK_BYTES} bytes (AES-256)",
            found=f"{len(kek)} bytes",
            fix=f"Decrypt with the ephemeral key of this attestation, RSA-OAEP with {key_hsm.enc.hash}.",
            source=_WRAP_SOURCE,
        )
    return _load(_unwrapped(kek, wrapped_key, modulus_bytes), kty)


def _unwrapped(kek: bytes, wrapped_key: bytes, modulus_bytes: int) -> bytes:
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

    try:
        return aes_key_unwrap_with_padding(kek, wrapped_key)
    except InvalidUnwrap:
        raise VerificationError(
            step="release.unwrap",
            what="integrity of the wrapped private key",
            where=f"/ciphertext from byte {modulus_bytes}",
            expected="RFC 5649's check value A65959A6, the length, and zero padding",
            found="others: the ciphertext was changed, or the AES key is not its own",
            fix="Release the key again; check that both parts of the ciphertext come from one response.",
            source=_WRAP_SOURCE,
        ) from None


def _load(material: bytes, kty: str | None) -> ReleasedKey:
    if kty in ("oct", "oct-HSM"):
        return ReleasedKey(material=material, private_key=None, kty="oct", size_bits=8 * len(material))
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    found = f"{len(material)} bytes that are none"
    try:
        key = load_der_private_key(material, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the material
        key = None
    if isinstance(key, RSAPrivateKey):
        return ReleasedKey(material=material, private_key=key, kty="RSA", size_bits=key.key_size)
    if isinstance(key, EllipticCurvePrivateKey):
        return ReleasedKey(material=material, private_key=key, kty="EC", size_bits=key.key_size)
    if key is not None:
        found = f"a key of another type, {type(key).__name__}"
    raise ParseError(
        what="released key material",
        where="/ciphertext, unwrapped",
        expected="a PKCS#8 private key, RSA or EC, in DER",
        found=found,
        fix='Pass kty="oct" for a symmetric key, whose material is raw bytes.',
        source=_WRAP_SOURCE,
    )


def check_same_public_key(released: ReleasedKey, jwk: Mapping[str, Json]) -> PublicKeyCheck:
    """Return that the released private key belongs to the public key in the bundle, `jwk`.

    `jwk` has kty, and n and e, or crv, x and y, in base64url. Raises `VerificationError`, step
    `release.public_key`, if they are two keys, and `ParseError` for a JWK that is incomplete. A symmetric key has no
    public half: the verdict is "not-checked".
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    public = released.public_key
    kty = str(member(dict(jwk), "kty", str, what="key bundle")).removesuffix("-HSM")
    if public is None and kty == "oct":
        return PublicKeyCheck(
            id="release.public_key", verdict="not-checked", detail="a symmetric key has no public half"
        )
    if kty != released.kty:
        _differ("/kty", kty, released.kty)
    if public is None:
        _differ("/kty", kty, "oct")
    if isinstance(public, RSAPublicKey):
        numbers = public.public_numbers()
        _same(jwk, {"n": numbers.n, "e": numbers.e})
    else:
        _same_curve(jwk, public.curve.name)
        point = public.public_numbers()
        _same(jwk, {"x": point.x, "y": point.y})
    detail = f"{released.kty} of {released.size_bits} bits, the bundle's own"
    return PublicKeyCheck(id="release.public_key", verdict="ok", detail=detail)


def _same_curve(jwk: Mapping[str, Json], name: str) -> None:
    crv = str(member(dict(jwk), "crv", str, what="key bundle"))
    if _CURVES.get(crv) != name:
        _differ("/crv", crv, name)


def _same(jwk: Mapping[str, Json], numbers: Mapping[str, int]) -> None:
    for name, number in numbers.items():
        text = str(member(dict(jwk), name, str, what="key bundle"))
        public = int.from_bytes(b64url_bytes(text, what=f"key bundle {name}", where=f"/{name}"), "big")
        if public != number:
            _differ(f"/{name}", _prefix(public), _prefix(number))


def _prefix(number: int) -> str:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")[:8].hex() + "…"


def _differ(where: str, bundle: str, released: str) -> NoReturn:
    raise VerificationError(
        step="release.public_key",
        what="public half of the released key",
        where=where,
        expected=f"{bundle[:80]}, the key bundle's",
        found=released,
        fix="Refuse the key: it is not the one that the vault shows. Compare the versions in both kids.",
        source="Key Vault release, client steps",
    )
