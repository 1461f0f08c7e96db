"""What an oct-HSM key does: AES key wrap, AES-GCM, AES-CBC. The texts of its refusals are not known (inferred)."""

from __future__ import annotations

import re
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap,
    aes_key_wrap_with_padding,
)

from skrkit.encoding import b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance
from skrkit.sandbox.vault import errors
from skrkit.sandbox.web import AzureError

NONCE_BYTES, TAG_BYTES, BLOCK_BYTES = 12, 16, 16
_SIZED = re.compile(r"A(128|192|256)(KW|GCM|CBC|CBCPAD)\Z")
_ANY_SIZE = {"CKM_AES_KEY_WRAP": "KW", "CKM_AES_KEY_WRAP_PAD": "KWP"}


def _mode(algorithm: str, key: bytes) -> str:
    """Return KW, KWP, GCM, CBC or CBCPAD. Raises `AzureError` 400 for another name, and for a key of another size."""
    if algorithm in _ANY_SIZE:
        return _ANY_SIZE[algorithm]
    match = _SIZED.match(algorithm)
    if match is None:
        raise errors.bad_parameter(f"The algorithm '{algorithm}' is not supported for this key of type oct-HSM.")
    if int(match[1]) != len(key) * 8:
        raise errors.bad_parameter(f"The algorithm '{algorithm}' does not fit a key of {len(key) * 8} bits.")
    return match[2]


def encrypt(body: dict[str, Any], algorithm: str, key: bytes, value: bytes) -> dict[str, bytes]:
    """Return `value`, the ciphertext, and what AES-GCM and AES-CBC add to it: `iv`, `tag`, `aad`."""
    mode = _mode(algorithm, key)
    try:
        if mode == "GCM":
            return _gcm_sealed(body, key, value)
        if mode.startswith("CBC"):
            iv = _operand(body, "iv", BLOCK_BYTES)
            encryptor = Cipher(AES(key), CBC(iv)).encryptor()
            padded = _padded(value) if mode == "CBCPAD" else value
            return {"value": encryptor.update(padded) + encryptor.finalize(), "iv": iv}
        return {"value": (aes_key_wrap if mode == "KW" else aes_key_wrap_with_padding)(key, value)}
    except ValueError:
        raise _wrong_length(value) from None


def decrypt(body: dict[str, Any], algorithm: str, key: bytes, value: bytes) -> bytes:
    """Return the plaintext."""
    mode = _mode(algorithm, key)
    try:
        if mode == "GCM":
            iv, tag = _operand(body, "iv", NONCE_BYTES), _operand(body, "tag", TAG_BYTES)
            return AESGCM(key).decrypt(iv, value + tag, _operand(body, "aad") or None)
        if mode.startswith("CBC"):
            decryptor = Cipher(AES(key), CBC(_operand(body, "iv", BLOCK_BYTES))).decryptor()
            padded = decryptor.update(value) + decryptor.finalize()
            return _unpadded(padded) if mode == "CBCPAD" else padded
        return (aes_key_unwrap if mode == "KW" else aes_key_unwrap_with_padding)(key, value)
    except (InvalidTag, InvalidUnwrap, ValueError):
        raise errors.bad_parameter("The parameter is incorrect.") from None


def _gcm_sealed(body: dict[str, Any], key: bytes, value: bytes) -> dict[str, bytes]:
    """The HSM draws the nonce itself: two ciphertexts under one nonce would give the key away."""
    if body.get("iv") is not None:
        raise errors.bad_parameter('The property "iv" is not taken for AES-GCM: the HSM makes it.')
    iv, aad = chance.token_bytes("oct/iv", NONCE_BYTES), _operand(body, "aad")
    sealed = AESGCM(key).encrypt(iv, value, aad or None)
    members = {"value": sealed[:-TAG_BYTES], "iv": iv, "tag": sealed[-TAG_BYTES:]}
    return members | ({"aad": aad} if aad else {})


def _padded(value: bytes) -> bytes:
    padder = padding.PKCS7(BLOCK_BYTES * 8).padder()
    return padder.update(value) + padder.finalize()


def _unpadded(value: bytes) -> bytes:
    unpadder = padding.PKCS7(BLOCK_BYTES * 8).unpadder()
    return unpadder.update(value) + unpadder.finalize()


def _operand(body: dict[str, Any], name: str, size: int = 0) -> bytes:
    """Return a member of the body, of exactly `size` bytes; without a size it may be absent, and of any length."""
    value = body.get(name)
    try:
        found = b64url_bytes(value if isinstance(value, str) else "", what=name, where=f"/{name}")
    except ParseError:
        raise errors.bad_parameter(f'The property "{name}" is not base64url.') from None
    if size and len(found) != size:
        raise errors.bad_parameter(f'The property "{name}" must have {size} bytes, found {len(found)}.')
    return found


def _wrong_length(value: bytes) -> AzureError:
    return errors.bad_parameter(f'The property "value" has {len(value)} bytes, which this algorithm does not take.')
