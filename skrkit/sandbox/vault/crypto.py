"""Crypto operations with a key of the vault: encrypt, decrypt, wrap, unwrap, sign, verify."""

from __future__ import annotations

from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    NoDigestInfo,
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from starlette.responses import JSONResponse, Response

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import keygen
from skrkit.sandbox.store import Document
from skrkit.sandbox.vault import bundle, errors, rotation, symmetric
from skrkit.sandbox.vault.call import Call
from skrkit.sandbox.vault.material import PrivateKey, private_key, secret_bytes
from skrkit.sandbox.web import AzureError

Operation = Literal["encrypt", "decrypt", "wrapKey", "unwrapKey", "sign", "verify", "release"]
ALLOWED_OUTSIDE_VALIDITY = frozenset({"decrypt", "unwrapKey", "verify", "release"})

_SHA: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_EC_ALGORITHMS: dict[str, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm]] = {
    "ES256": (ec.SECP256R1, hashes.SHA256()),
    "ES384": (ec.SECP384R1, hashes.SHA384()),
    "ES512": (ec.SECP521R1, hashes.SHA512()),
    "ES256K": (ec.SECP256K1, hashes.SHA256()),
}


def usable(call: Call, operation: Operation) -> tuple[Document, Document]:
    """Return name and version document of a key that this operation may use now. Raises `AzureError` 404 or 403."""
    named, version = rotation.found(call)
    if not version["enabled"]:
        raise errors.key_disabled(operation)
    if operation not in ALLOWED_OUTSIDE_VALIDITY:
        now = call.world.now().timestamp()
        if version["nbf"] is not None and now < version["nbf"]:
            raise errors.key_not_yet_valid(operation)
        if version["exp"] is not None and now >= version["exp"]:
            raise errors.key_expired(operation)
    if operation != "release" and operation not in version["key_ops"]:
        raise errors.operation_not_permitted(operation)
    return named, version


def _operand(call: Call, name: str) -> bytes:
    value = call.body.get(name)
    if not isinstance(value, str) or not value:
        raise errors.bad_parameter(f'The property "{name}" is required.')
    try:
        return b64url_bytes(value, what=name, where=f"/{name}")
    except ParseError:
        raise errors.bad_parameter(f'The property "{name}" is not base64url.') from None


def _algorithm(call: Call) -> str:
    value = call.body.get("alg")
    if not isinstance(value, str) or not value:
        raise errors.bad_parameter('The property "alg" is required.')
    return value


def _result(call: Call, named: Document, version: Document, value: bytes, **more: bytes) -> Response:
    kid = bundle.key_id(call.vault, named["name"], version["version"])
    return JSONResponse({"kid": kid, "value": b64url(value)} | {name: b64url(each) for name, each in more.items()})


def _unsupported(algorithm: str, kty: str) -> AzureError:
    return errors.bad_parameter(f"The algorithm '{algorithm}' is not supported for this key of type {kty}.")


def _too_long(value: bytes) -> AzureError:
    return errors.bad_parameter(f'The property "value" has {len(value)} bytes, too many for this key.')


# --- encrypt and wrap are one operation under two names; so are decrypt and unwrap


def _padding(algorithm: str, kty: str) -> padding.AsymmetricPadding:
    if algorithm == "RSA1_5":
        return padding.PKCS1v15()
    if algorithm in ("RSA-OAEP", "RSA-OAEP-256"):
        digest = hashes.SHA1() if algorithm == "RSA-OAEP" else hashes.SHA256()  # noqa: S303  # SHA-1: what the name means
        return padding.OAEP(padding.MGF1(digest), digest, None)
    raise _unsupported(algorithm, kty)


def _encrypt(call: Call, operation: Operation) -> Response:
    named, version = usable(call, operation)
    algorithm, value = _algorithm(call), _operand(call, "value")
    if version["kty"] == "oct-HSM":
        members = symmetric.encrypt(call.body, algorithm, secret_bytes(version["pem"]), value)
        return _result(call, named, version, **members)
    key = private_key(version["pem"])
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _unsupported(algorithm, version["kty"])
    scheme = _padding(algorithm, version["kty"])
    try:
        ciphertext = key.public_key().encrypt(value, scheme)
    except ValueError:
        raise _too_long(value) from None
    return _result(call, named, version, ciphertext)


def _decrypt(call: Call, operation: Operation) -> Response:
    named, version = usable(call, operation)
    algorithm, value = _algorithm(call), _operand(call, "value")
    if version["kty"] == "oct-HSM":
        opened = symmetric.decrypt(call.body, algorithm, secret_bytes(version["pem"]), value)
        return _result(call, named, version, opened)
    key = private_key(version["pem"])
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _unsupported(algorithm, version["kty"])
    scheme = _padding(algorithm, version["kty"])
    try:
        plaintext = key.decrypt(value, scheme)
    except ValueError:
        raise errors.bad_parameter("The parameter is incorrect.") from None
    return _result(call, named, version, plaintext)


def encrypt(call: Call) -> Response:
    """Return the ciphertext of a short value."""
    return _encrypt(call, "encrypt")


def decrypt(call: Call) -> Response:
    """Return the plaintext."""
    return _decrypt(call, "decrypt")


def wrap_key(call: Call) -> Response:
    """Return a wrapped symmetric key."""
    return _encrypt(call, "wrapKey")


def unwrap_key(call: Call) -> Response:
    """Return an unwrapped symmetric key."""
    return _decrypt(call, "unwrapKey")


# --- sign and verify: the value is a digest, the signature of EC keys is r and s side by side


def _rsa_scheme(algorithm: str, digest: bytes, kty: str) -> tuple[padding.AsymmetricPadding, Any]:
    """Return padding and hash of an RSA signature. RSNULL signs the bytes as they are, with no DigestInfo."""
    if algorithm == "RSNULL":
        return padding.PKCS1v15(), NoDigestInfo()
    hashed = _SHA.get(algorithm[2:]) if algorithm[:2] in ("RS", "PS") else None
    if hashed is None:
        raise _unsupported(algorithm, kty)
    _check_digest(digest, hashed)
    scheme = padding.PKCS1v15() if algorithm[0] == "R" else padding.PSS(padding.MGF1(hashed), hashed.digest_size)
    return scheme, Prehashed(hashed)


def _check_digest(digest: bytes, hashed: hashes.HashAlgorithm) -> None:
    if len(digest) != hashed.digest_size:
        raise errors.bad_parameter(
            f"The digest has {len(digest)} bytes, the algorithm works on {hashed.digest_size} bytes."
        )


def _ec_hash(key: ec.EllipticCurvePrivateKey, algorithm: str, digest: bytes, kty: str) -> Prehashed:
    curve, hashed = _EC_ALGORITHMS.get(algorithm, (None, None))
    if curve is None or hashed is None or not isinstance(key.curve, curve):
        raise _unsupported(algorithm, kty)
    _check_digest(digest, hashed)
    return Prehashed(hashed)


def sign(call: Call) -> Response:
    """Return the signature over a digest."""
    named, version = usable(call, "sign")
    algorithm, digest = _algorithm(call), _operand(call, "value")
    signature = _signed(private_key(version["pem"]), algorithm, digest, version["kty"])
    return _result(call, named, version, signature)


def _signed(key: PrivateKey, algorithm: str, digest: bytes, kty: str) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, hashed = _rsa_scheme(algorithm, digest, kty)
        try:
            return key.sign(digest, scheme, hashed)
        except ValueError:
            raise errors.bad_parameter(
                f'The property "value" has {len(digest)} bytes, too many for this key.'
            ) from None
    prehashed = _ec_hash(key, algorithm, digest, kty)
    r, s = decode_dss_signature(key.sign(digest, keygen.ecdsa(prehashed)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def verify(call: Call) -> Response:
    """Return whether a signature over a digest is the key's: `{"value": true | false}`."""
    _, version = usable(call, "verify")
    algorithm, digest, signature = _algorithm(call), _operand(call, "digest"), _operand(call, "value")
    key = private_key(version["pem"])
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            scheme, hashed = _rsa_scheme(algorithm, digest, version["kty"])
            key.public_key().verify(signature, digest, scheme, hashed)
        else:
            prehashed = _ec_hash(key, algorithm, digest, version["kty"])
            _verify_ec(key, signature, digest, prehashed)
    except InvalidSignature:
        return JSONResponse({"value": False})
    return JSONResponse({"value": True})


def _verify_ec(key: ec.EllipticCurvePrivateKey, signature: bytes, digest: bytes, hashed: Prehashed) -> None:
    size = (key.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    key.public_key().verify(encode_dss_signature(r, s), digest, ec.ECDSA(hashed))
