"""Keys wrapped as the service wraps them, with `cryptography` directly: RSA-OAEP, then RFC 5649."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from skrkit.encoding import b64url
from skrkit.release.request import Enc
from tests.token.keys import rsa_key

HASHES: dict[str, HashAlgorithm] = {
    "CKM_RSA_AES_KEY_WRAP": SHA1(),
    "RSA_AES_KEY_WRAP_256": SHA256(),
    "RSA_AES_KEY_WRAP_384": SHA384(),
}
KEK = bytes(range(32))


def released_key() -> RSAPrivateKey:
    return rsa_key("released")


@cache
def ec_key() -> EllipticCurvePrivateKey:
    return generate_ec(SECP256R1())


def pkcs8(key: RSAPrivateKey | EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def oaep(enc: str) -> OAEP:
    algorithm = HASHES[enc]
    return OAEP(MGF1(algorithm), algorithm, None)


def wrapped_kek(enc: str, kek: bytes = KEK) -> bytes:
    return rsa_key("ephemeral").public_key().encrypt(kek, oaep(enc))


def envelope(ciphertext: bytes, enc: str = "RSA_AES_KEY_WRAP_256", **members: Any) -> dict[str, Any]:
    head = {"kid": "TpmEphemeralEncryptionKey", "alg": "dir", "enc": enc}
    return {"schema_version": "1.0", "header": head, "ciphertext": b64url(ciphertext), **members}


def wrapped(
    material: bytes | None = None, *, enc: str = "RSA_AES_KEY_WRAP_256", kek: bytes = KEK, wrap_with: bytes = KEK
) -> str:
    inner = aes_key_wrap_with_padding(wrap_with, pkcs8(released_key()) if material is None else material)
    return b64url(json.dumps(envelope(wrapped_kek(enc, kek) + inner, enc)).encode())


def decrypt(ciphertext: bytes, enc: Enc) -> bytes:
    return rsa_key("ephemeral").decrypt(ciphertext, oaep(enc.value))
