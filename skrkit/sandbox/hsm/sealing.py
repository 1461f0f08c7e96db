"""JWE in its compact form, as far as a security domain needs it: RSA-OAEP-256 or a shared key, and A256GCM.

Source: RFC 7516 sections 5.1 and 7.1; RFC 7518 sections 4.3, 4.5 and 5.3.
"""

from __future__ import annotations

import json
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from skrkit.encoding import b64url, b64url_bytes
from skrkit.errors import ParseError
from skrkit.sandbox import chance

_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16


class NotOpened(Exception):
    """The text is no JWE for this key."""


def sealed_for(content: bytes, recipient: rsa.RSAPublicKey, **header: str) -> str:
    """Return a JWE that the recipient's private key opens. `header` goes into the protected header."""
    key = chance.token_bytes("hsm/jwe-key", KEY_BYTES)
    wrapped = recipient.encrypt(key, _OAEP)
    return _sealed(content, key, {"alg": "RSA-OAEP-256", "enc": "A256GCM", **header}, wrapped)


def sealed_with(content: bytes, key: bytes) -> str:
    """Return a JWE that the same 32 bytes open."""
    return _sealed(content, key, {"alg": "dir", "enc": "A256GCM"}, b"")


def _sealed(content: bytes, key: bytes, header: dict[str, str], wrapped: bytes) -> str:
    protected = b64url(json.dumps(header, separators=(",", ":")).encode())
    nonce = chance.token_bytes("hsm/jwe-nonce", NONCE_BYTES)
    both = AESGCM(key).encrypt(nonce, content, protected.encode("ascii"))
    parts = [b64url(wrapped), b64url(nonce), b64url(both[:-TAG_BYTES]), b64url(both[-TAG_BYTES:])]
    return ".".join([protected, *parts])


def opened(text: str, key: rsa.RSAPrivateKey | bytes) -> bytes:
    """Return the content of a JWE for a private key, or for shared bytes. Raises `NotOpened`."""
    try:
        protected, *rest = text.split(".")
        wrapped, nonce, content, tag = (b64url_bytes(part, what="JWE", where="one of its parts") for part in rest)
        header: Any = json.loads(b64url_bytes(protected, what="JWE", where="its header"))
        expected = "dir" if isinstance(key, bytes) else "RSA-OAEP-256"
        if not isinstance(header, dict) or (header.get("alg"), header.get("enc")) != (expected, "A256GCM"):
            raise NotOpened("its header names other algorithms")
        secret = key if isinstance(key, bytes) else key.decrypt(wrapped, _OAEP)
        return AESGCM(secret).decrypt(nonce, content + tag, protected.encode("ascii"))
    except (ValueError, ParseError, InvalidTag, RecursionError):
        raise NotOpened("it is damaged, or for another key") from None
