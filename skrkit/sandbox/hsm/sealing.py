"""JWE in its compact form, as far as a security domain needs it: RSA-OAEP-256 or a shared key, and A256CBC-HS512.

Source: RFC 7516 sections 5.1 and 7.1; RFC 7518 sections 4.3, 4.5 and 5.2.5. Keys of the parts of a domain are derived
by NIST SP 800-108 in counter mode with HMAC-SHA-512.
"""

from __future__ import annotations

import hmac
import json
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance

_OAEP = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
ENC = "A256CBC-HS512"
KEY_BYTES, IV_BYTES, TAG_BYTES = 64, 16, 32
_HALF = KEY_BYTES // 2  # the first half is HMAC's key, the second AES's


class NotOpened(Exception):
    """The text is no JWE for this key."""


def derived(master: bytes, label: str) -> bytes:
    """Return the 64 bytes that a master key gives for a label."""
    return KBKDFHMAC(
        algorithm=hashes.SHA512(),
        mode=Mode.CounterMode,
        length=KEY_BYTES,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label.encode(),
        context=b"",
        fixed=None,
    ).derive(master)


def sealed_for(content: bytes, recipient: rsa.RSAPublicKey, **header: str) -> str:
    """Return a JWE that the recipient's private key opens. `header` goes into the protected header."""
    key = chance.token_bytes("hsm/jwe-key", KEY_BYTES)
    wrapped = recipient.encrypt(key, _OAEP)
    return _sealed(content, key, {"alg": "RSA-OAEP-256", "enc": ENC, **header}, wrapped)


def sealed_with(content: bytes, key: bytes, **header: str) -> str:
    """Return a JWE that the same 64 bytes open."""
    return _sealed(content, key, {"alg": "dir", "enc": ENC, **header}, b"")


def _sealed(content: bytes, key: bytes, header: dict[str, str], wrapped: bytes) -> str:
    protected = b64url(json.dumps(header, separators=(",", ":")).encode())
    iv = chance.token_bytes("hsm/jwe-iv", IV_BYTES)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key[_HALF:]), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    parts = (wrapped, iv, sealed, _tag(key, protected, iv, sealed))
    return ".".join([protected, *(b64url(part) for part in parts)])


def _tag(key: bytes, protected: str, iv: bytes, sealed: bytes) -> bytes:
    covered = protected.encode("ascii")
    message = covered + iv + sealed + struct.pack(">Q", 8 * len(covered))
    return hmac.digest(key[:_HALF], message, "sha512")[:TAG_BYTES]


def opened(text: str, key: rsa.RSAPrivateKey | bytes) -> bytes:
    """Return the content of a JWE for a private key, or for shared bytes. Raises `NotOpened`."""
    try:
        protected, *rest = text.split(".")
        wrapped, iv, sealed, tag = (b64url_bytes(part, what="JWE", where="one of its parts") for part in rest)
        header: Any = json.loads(b64url_bytes(protected, what="JWE", where="its header"))
        expected = "dir" if isinstance(key, bytes) else "RSA-OAEP-256"
        if not isinstance(header, dict) or (header.get("alg"), header.get("enc")) != (expected, ENC):
            raise NotOpened("its header names other algorithms")
        secret = key if isinstance(key, bytes) else key.decrypt(wrapped, _OAEP)
        if len(secret) != KEY_BYTES or not hmac.compare_digest(_tag(secret, protected, iv, sealed), tag):
            raise NotOpened("it is damaged, or for another key")
        decryptor = Cipher(algorithms.AES(secret[_HALF:]), modes.CBC(iv)).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        return unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize()
    except (ValueError, ParseError, RecursionError):
        raise NotOpened("it is damaged, or for another key") from None
