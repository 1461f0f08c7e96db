"""Key material: what can be made and imported, its public half as a JWK, its private half as PEM."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance, keygen
from skrkit.sandbox.vault import errors

RSA_SIZES = (2048, 3072, 4096)
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
    "P-256K": ec.SECP256K1,
}
OCT_SIZES = (128, 192, 256)
MAX_OCT_BYTES = 64
KEY_TYPES = ("RSA", "RSA-HSM", "EC", "EC-HSM")
HSM_KEY_TYPES = ("RSA-HSM", "EC-HSM", "oct-HSM")
_SYMMETRIC = ("-----BEGIN SYMMETRIC KEY-----", "-----END SYMMETRIC KEY-----")  # RFC 7468's form; the label is our own

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A key pair: `jwk` is the public half (n and e, or crv, x and y, in base64url), `pem` the private one.

    A symmetric key has an empty `jwk`; its bytes are in `pem`.
    """

    kty: str
    jwk: dict[str, str]
    pem: str = field(repr=False)

    @property
    def hsm(self) -> bool:
        """Whether the key lives in an HSM, as far as its type says."""
        return self.kty.endswith("-HSM")


def key_type(value: Any, *, in_hsm: bool = False) -> str:
    """Return a key type that can be made. Raises `AzureError` 400; texts (inferred).

    A Managed HSM (`in_hsm`) has HSM keys alone: it takes `RSA` for RSA-HSM, and so the others (inferred).
    """
    known = HSM_KEY_TYPES if in_hsm else KEY_TYPES
    kty = f"{value}-HSM" if in_hsm and not str(value).endswith("-HSM") else value
    if kty not in known:
        raise errors.bad_parameter(
            f"The property \"kty\" has the value '{value}', which is not supported. Supported: {', '.join(known)}."
        )
    return str(kty)


def generate(kty: str, body: dict[str, Any]) -> Material:
    """Return a fresh key of the type and size that a create request asks for. Raises `AzureError` 400."""
    if kty == "oct-HSM":
        return symmetric(chance.token_bytes("key/oct", _oct_bits(body) // 8))
    if kty.startswith("EC"):
        curve = body.get("crv") or "P-256"
        if not isinstance(curve, str) or curve not in CURVES:
            raise errors.bad_parameter(f"The property \"crv\" has the value '{curve}', which is not supported.")
        return _material(kty, keygen.ec_key("key/ec", CURVES[curve]()))
    size = body.get("key_size") or 2048
    if size not in RSA_SIZES:
        raise errors.bad_parameter(f'The property "key_size" has the value {size}, which is not supported.')
    exponent = body.get("public_exponent") or 65537
    if exponent not in (3, 65537):
        raise errors.bad_parameter(f'The property "public_exponent" has the value {exponent}, which is not supported.')
    return _material(kty, keygen.rsa_key("key/rsa", int(size), exponent))


def _oct_bits(body: dict[str, Any]) -> int:
    size = body.get("key_size") or OCT_SIZES[-1]
    if size not in OCT_SIZES:
        raise errors.bad_parameter(f'The property "key_size" has the value {size}, which is not supported.')
    return int(size)


def symmetric(secret: bytes) -> Material:
    """Return the oct-HSM key of these bytes."""
    begin, end = _SYMMETRIC
    return Material(kty="oct-HSM", jwk={}, pem=f"{begin}\n{base64.b64encode(secret).decode('ascii')}\n{end}\n")


def secret_bytes(pem: str) -> bytes:
    """Return the bytes of an oct-HSM key's stored document."""
    return base64.b64decode(pem.splitlines()[1], validate=True)


def imported(jwk: Any, *, hsm: bool, in_hsm: bool = False) -> Material:
    """Return the key of a private JWK, RSA or EC; into a Managed HSM (`in_hsm`) also oct.

    `hsm` moves it into a vault's HSM. Raises `AzureError` 400.
    """
    if not isinstance(jwk, dict):
        raise errors.bad_parameter('The property "key" is required.')
    kty = key_type(jwk.get("kty"), in_hsm=in_hsm)
    base = kty.removesuffix("-HSM")
    if base == "oct":
        return symmetric(_oct_key(jwk))
    try:
        private = _ec_key(jwk) if base == "EC" else _rsa_key(jwk)
    except (ValueError, ParseError) as cause:
        raise errors.bad_parameter(f"The key material is not a valid {base} private key: {cause}") from None
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size not in RSA_SIZES:
        raise errors.bad_parameter(f"The RSA key has {private.key_size} bits, which is not supported.")
    return _material(f"{base}-HSM" if hsm else kty, private)


def _number(jwk: dict[str, Any], name: str) -> int:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError(f"member {name} is missing")
    return int.from_bytes(b64url_bytes(value, what=f"JWK member {name}", where=f"/key/{name}"), "big")


def _oct_key(jwk: dict[str, Any]) -> bytes:
    try:
        secret = b64url_bytes(str(jwk.get("k") or ""), what="JWK member k", where="/key/k")
    except ParseError as cause:
        raise errors.bad_parameter(f"The key material is not a valid oct key: {cause}") from None
    if len(secret) > MAX_OCT_BYTES:
        raise errors.bad_parameter(f"JSON Web Key: k property of oct key is too large, maximum size is {MAX_OCT_BYTES}")
    if len(secret) * 8 not in OCT_SIZES:  # the words are not known to the letter (inferred)
        raise errors.bad_parameter(f"The oct key has {len(secret) * 8} bits, which is not supported.")
    return secret


def _rsa_key(jwk: dict[str, Any]) -> rsa.RSAPrivateKey:
    n, e, d = (_number(jwk, name) for name in ("n", "e", "d"))
    if n.bit_length() not in RSA_SIZES:
        raise ValueError(f"the modulus has {n.bit_length()} bits, which is not supported")
    p, q = (_number(jwk, "p"), _number(jwk, "q")) if "p" in jwk else rsa.rsa_recover_prime_factors(n, e, d)
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(e, n),
    )
    return numbers.private_key()


def _ec_key(jwk: dict[str, Any]) -> ec.EllipticCurvePrivateKey:
    curve = CURVES.get(str(jwk.get("crv")))
    if curve is None:
        raise ValueError(f"the curve {jwk.get('crv')!r} is not supported")
    public = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve())
    return ec.EllipticCurvePrivateNumbers(_number(jwk, "d"), public).private_key()


def _material(kty: str, private: PrivateKey) -> Material:
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.public_key().public_numbers()
        jwk = {"n": _unsigned(numbers.n, private.key_size // 8), "e": _unsigned(numbers.e)}
    else:
        point = private.public_key().public_numbers()
        size = (private.key_size + 7) // 8
        curve = next(name for name, known in CURVES.items() if isinstance(private.curve, known))
        jwk = {"crv": curve, "x": _unsigned(point.x, size), "y": _unsigned(point.y, size)}
    return Material(kty=kty, jwk=jwk, pem=pem)


def _unsigned(value: int, size: int = 0) -> str:
    return b64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def rsa_bits(jwk: dict[str, str]) -> int:
    """Return the size of an RSA key by its modulus."""
    return len(b64url_bytes(jwk["n"], what="JWK member n", where="/n")) * 8


def key_bits(version: dict[str, Any]) -> int | None:
    """Return the size of an RSA or oct key of a stored document; None for an elliptic curve, which names itself."""
    if version["kty"] == "oct-HSM":
        return len(secret_bytes(version["pem"])) * 8
    return rsa_bits(version["jwk"]) if "n" in version["jwk"] else None


def released_material(version: dict[str, Any]) -> PrivateKey | bytes:
    """Return what a release of a stored document's key hands out: the private key, or a symmetric key's bytes."""
    return secret_bytes(version["pem"]) if version["kty"] == "oct-HSM" else private_key(version["pem"])


def private_key(pem: str) -> PrivateKey:
    """Return the private key of a stored document. It was checked when it was made; a check here costs 100 ms."""
    private = load_pem_private_key(pem.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return private
