"""What the holders of a security domain do with it, by the standards: RFC 7516, RFC 7518 and NIST SP 800-108.

The Azure CLI does the same: `tests/clients/guide/azure_cli_hsm.sh` has it do so.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding

from skrkit.encoding import b64url, b64url_bytes
from skrkit.sandbox.hsm.sharing import joined

OAEP = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def raw(text: str) -> bytes:
    return b64url_bytes(text, what="a part", where="here")


def derived(master: bytes, label: str) -> bytes:
    """SP 800-108 in counter mode with HMAC-SHA-512: 512 bits are one block."""
    return hmac.digest(master, b"\0\0\0\1" + label.encode() + b"\0" + b"\0\0\2\0", hashlib.sha512)


def content_of(jwe: str, secret: bytes) -> bytes:
    """What a JWE with A256CBC-HS512 holds, for its content encryption key."""
    header, _, iv, sealed, tag = jwe.split(".")
    assert json.loads(raw(header))["enc"] == "A256CBC-HS512"
    length = (8 * len(header)).to_bytes(8, "big")
    assert hmac.digest(secret[:32], header.encode() + raw(iv) + raw(sealed) + length, "sha512")[:32] == raw(tag)
    decryptor = Cipher(algorithms.AES(secret[32:]), modes.CBC(raw(iv))).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(raw(sealed)) + decryptor.finalize()) + unpadder.finalize()


def opened(jwe: str, key: rsa.RSAPrivateKey) -> bytes:
    """What a holder reads in a JWE for the holder's certificate."""
    assert json.loads(raw(jwe.partition(".")[0]))["alg"] == "RSA-OAEP-256"
    return content_of(jwe, key.decrypt(raw(jwe.split(".")[1]), OAEP))


def sealed(content: bytes, secret: bytes, header: dict[str, str], wrapped: bytes = b"") -> str:
    """A JWE with A256CBC-HS512 under a content encryption key."""
    protected = b64url(json.dumps(header | {"enc": "A256CBC-HS512"}).encode())
    iv, padder = secrets.token_bytes(16), padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(secret[32:]), modes.CBC(iv)).encryptor()
    text = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    length = (8 * len(protected)).to_bytes(8, "big")
    tag = hmac.digest(secret[:32], protected.encode() + iv + text + length, "sha512")[:32]
    return ".".join([protected, *(b64url(part) for part in (wrapped, iv, text, tag))])


def master_of(document: dict[str, Any], keys: list[rsa.RSAPrivateKey], places: list[int]) -> bytes:
    """The master key that the holders at these places come to."""
    shares = document["SharedKeys"]["enc_shares"]
    return joined([opened(shares[place]["enc_key"], keys[place]) for place in places])


def parts_of(document: dict[str, Any], master: bytes) -> dict[str, bytes]:
    """What the domain consists of, by tag."""
    data = document["EncData"]["data"]
    return {each["tag"]: content_of(each["compact_jwe"], derived(master, each["tag"])) for each in data}


def for_upload(parts: dict[str, bytes], transfer_key: str) -> dict[str, Any]:
    """What is uploaded: the parts under a new master key, and that one for the transfer key's certificate."""
    import base64

    master, secret = secrets.token_bytes(32), secrets.token_bytes(64)
    certificate = x509.load_der_x509_certificate(base64.b64decode(json.loads(transfer_key)["x5c"][0]))
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    wrapped = sealed(master, secret, {"alg": "RSA-OAEP-256"}, public.encrypt(secret, OAEP))
    thumbprint = b64url(hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest())
    data = [
        {"compact_jwe": sealed(part, derived(master, tag), {"alg": "dir", "kid": tag}), "tag": tag}
        for tag, part in parts.items()
    ]
    return {
        "EncData": {"data": data, "kdf": "sp108_kdf"},
        "WrappedKey": {"enc_key": wrapped, "x5t_256": thumbprint},
    }
